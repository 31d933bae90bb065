import { describe, expect, it } from 'vitest'
import { EventHub, formatRunSummary, formatTrace, RunStatistics, traceInstructions } from '../../src/debug/index.js'
import { assemble } from '../../src/isa/index.js'
import { type EngineName, Pc } from '../../src/machine/index.js'
import { BareCpu, CODE } from './bare-cpu.js'

const MIB = 0x100000

function boot(source: string, engine: EngineName = 'reference', events?: EventHub): Pc {
  const pc = new Pc({ memory: 16 * MIB, engine, ...(events ? { events } : {}) })
  pc.loadFlat(assemble(`org 0x7c00\n${source}`).bytes)
  return pc
}

const PROGRAM = `
  mov ax, 0x1234
  mov [0x600], ax
  add al, 0xcc        ; 0x34 + 0xcc = 0x100: CF, ZF, PF, AF
  push ax
  int 0x40
  cli
  hlt`

describe('traceInstructions', () => {
  it.each(['reference', 'threaded'] as const)('tells each instruction and what it changed (%s engine)', (engine) => {
    const pc = boot(PROGRAM, engine)
    pc.space.write16(4 * 0x40, 0x0700)
    pc.space.writeBytes(0x700, Uint8Array.of(0xcf)) // iret
    const { steps, reason } = traceInstructions(pc, 100)
    expect(reason).toBe('halted')
    expect(steps.map(({ text }) => text)).toEqual([
      'mov ax, 0x1234',
      'mov word [0x600], ax',
      'add al, 0xcc',
      'push ax',
      'int 0x40',
      'iret',
      'cli',
      'hlt',
    ])
    expect(steps[0]).toMatchObject({ kind: 'instruction', cs: 0, ip: 0x7c00, linear: 0x7c00 })
    expect(steps[0]?.bytes).toEqual(Uint8Array.of(0xb8, 0x34, 0x12))
    expect(steps[0]?.changes).toEqual([{ name: 'rax', before: 0n, after: 0x1234n }])
    expect(steps[2]?.changes.map(({ name, after }) => [name, after])).toEqual([
      ['rax', 0x1200n],
      ['flags', 0x57n],
    ])
    expect(steps[3]?.changes).toEqual([{ name: 'rsp', before: 0x7c00n, after: 0x7bfen }])
    expect(pc.space.read16(0x600)).toBe(0x1234)
  })

  it('lists data accesses, and sends events', () => {
    const hub = new EventHub()
    const pc = boot(PROGRAM)
    const recorded = hub.record(['instruction', 'memory'], () => traceInstructions(pc, 2, { events: hub }))
    expect(recorded).toEqual([
      { name: 'instruction', event: { ip: 0x7c00, linear: 0x7c00, text: 'mov ax, 0x1234' } },
      { name: 'instruction', event: { ip: 0x7c03, linear: 0x7c03, text: 'mov word [0x600], ax' } },
      { name: 'memory', event: { direction: 'write', linear: 0x600, size: 2 } },
    ])
  })

  it('runs the guest as a run without tracing would', () => {
    const source = 'mov cx, 50\nagain: add ax, cx\nmov [bx+0x600], al\ninc bx\nloop again\ncli\nhlt'
    const [traced, free] = [boot(source), boot(source)]
    traceInstructions(traced, 1000)
    free.runSync(1000)
    expect(traced.instructions).toBe(free.instructions)
    expect(traced.cpu.s.reg32(0)).toBe(free.cpu.s.reg32(0))
    const bytes = [traced, free].map((pc) => {
      const target = new Uint8Array(64)
      pc.space.readBytes(0x600, target)
      return target
    })
    expect(bytes[0]).toEqual(bytes[1])
  })

  it('names exceptions and interrupts', () => {
    const bare = new BareCpu()
    const { cpu } = bare
    cpu.s.setSegment(1, 0, 0, 0xffff, 0x9b)
    cpu.s.rip = CODE
    cpu.s.setReg32(4, 0x7000)
    cpu.s.flags = 0x202
    cpu.updateMode()
    bare.space.writeBytes(CODE, assemble('xor cl, cl\ndiv cl').bytes)
    bare.space.write16(0, 0x600)
    bare.space.write16(4 * 0x21, 0x600)
    bare.space.writeBytes(0x600, assemble('sti\nnop\nnop').bytes)
    expect(traceInstructions(bare, 2).steps.map(({ exception }) => exception)).toEqual([undefined, 0])
    bare.external = 0x21
    cpu.interruptChanged()
    const trace = traceInstructions(bare, 3)
    expect(trace.steps.map(({ kind, text }) => [kind, text])).toEqual([
      ['instruction', 'sti'],
      ['instruction', 'nop'],
      ['interrupt', '(interrupt, vector 0x21)'],
    ])
    expect(formatTrace(trace).split('\n')).toHaveLength(4)
  })

  it('refuses silly counts', () => {
    expect(() => traceInstructions(boot('hlt'), 0)).toThrow(/1 to 1000000/)
  })
})

describe('RunStatistics', () => {
  it('counts from where it was started', () => {
    const pc = boot('in al, 0x61\nud2', 'reference')
    pc.space.write16(4 * 6, 0x700)
    pc.space.writeBytes(0x700, assemble('out 0x80, al\ncli\nhlt').bytes)
    pc.runSync(1)
    const statistics = new RunStatistics(pc)
    expect(statistics.summary().instructions).toBe(0)
    pc.runSync(100)
    const summary = statistics.summary()
    expect(summary).toMatchObject({ instructions: 4, portReads: 0, portWrites: 1, interrupts: [], dmaTransfers: 0 })
    expect(summary.exceptions).toEqual([{ vector: 6, name: '#UD', count: 1 }])
    const whole = new RunStatistics(pc, { since: 'power-on' }).summary()
    expect(whole).toMatchObject({ instructions: 5, portReads: 1, portWrites: 1 })
    const text = formatRunSummary(whole, 1000)
    expect(text).toMatch(/exceptions +1 {2}\(#UD 1\)/)
    expect(text).toMatch(/speed +0\.0 MIPS/)
    statistics.restart()
    expect(statistics.summary().exceptions).toEqual([])
  })
})
