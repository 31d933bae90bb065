import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import {
  buildKernel,
  decodeSnapshot,
  type EngineName,
  encodeSnapshot,
  hashState,
  MemoryDisk,
  Pc,
  type PcOptions,
  type PcState,
} from '../../src/machine/index.js'
import { runs } from '../runs.js'

const MIB = 0x100000

/** A guest with interrupts from several devices, memory traffic and a HLT: something of everything is on its way at any time. */
const BUSY = assemble(`
        org 0x7c00
        cli
        xor ax, ax
        mov ds, ax
        mov word [8*4], tick
        mov word [8*4+2], ax
        mov word [0x70*4], clock
        mov word [0x70*4+2], ax
        mov al, 0x34
        out 0x43, al
        mov al, 0x80
        out 0x40, al
        mov al, 1
        out 0x40, al
        mov al, 0x0b
        out 0x70, al
        mov al, 0x42
        out 0x71, al
        mov al, 0
        out 0x21, al
        out 0xa1, al
        fninit
        sti
        mov di, 0x1000
again:  rdtsc
        add [di], eax
        imul eax, eax, 3
        fild dword [di]
        fistp dword [di+4]
        add di, 8
        and di, 0x1fff
        or di, 0x1000
        test di, 0x100
        jz again
        hlt
        jmp again
tick:   push ax
        inc word [0x500]
        mov al, 0x20
        out 0x20, al
        pop ax
        iret
clock:  push ax
        inc word [0x502]
        mov al, 0x0c
        out 0x70, al
        in al, 0x71
        mov al, 0x20
        out 0xa0, al
        out 0x20, al
        pop ax
        iret
`).bytes

function busy(engine: EngineName, options: PcOptions = {}): Pc {
  const pc = new Pc({ memory: 2 * MIB, engine, ...options })
  pc.loadFlat(BUSY)
  return pc
}

/** Runs until exactly so many instructions are retired: budgets count sleep as well. */
function runTo(pc: Pc, instructions: number): void {
  while (pc.instructions < instructions) pc.runSync(instructions - pc.instructions)
}

describe('snapshot files', () => {
  const plain = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constant(null),
      fc.boolean(),
      fc.double(),
      fc.integer(),
      fc.string(),
      fc.uint8Array(),
      fc.uint32Array(),
      fc.float64Array(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
    ),
  })).value

  it('give back what went in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), plain), async (state) => {
        const back = await decodeSnapshot(await encodeSnapshot(state))
        expect(back).toEqual(Object.fromEntries(Object.entries(state)))
        expect(hashState(back)).toBe(hashState(state))
      }),
      { numRuns: runs(60) },
    )
  })

  it('give back many small values', async () => {
    // More than any buffer on the way holds, in steps that end at each of its last bytes.
    for (let offset = 0; offset < 9; offset++) {
      const items = Array.from({ length: 12_000 }, (_, n) => [
        n,
        n + 0.5,
        `text ${n}`,
        n % 2 === 0,
        null,
        { ['k'.repeat(n % 7)]: n },
      ])
      const state = { items, bytes: Array.from({ length: 9 }, (_, n) => new Uint8Array(3000 + offset).fill(n)) }
      expect(await decodeSnapshot(await encodeSnapshot(state))).toEqual(state)
    }
  })

  it('are compressed and sparse', async () => {
    const file = await encodeSnapshot(new Pc({ memory: 64 * MIB, engine: 'reference' }).saveState())
    expect(file.length).toBeLessThan(300_000)
  })

  it('are refused when they are something else, cut short, or damaged anywhere', async () => {
    const file = await encodeSnapshot(busy('reference').saveState())
    const refused = expect.objectContaining({ code: 'bad-state' })
    await expect(decodeSnapshot(new Uint8Array(0))).rejects.toEqual(refused)
    await expect(decodeSnapshot(new TextEncoder().encode('#!/bin/sh\necho hello world\n'))).rejects.toEqual(refused)
    const other = file.slice()
    other[8] = 2
    await expect(decodeSnapshot(other)).rejects.toThrow(/version 2/)
    await expect(decodeSnapshot(file, { limit: 1000 })).rejects.toThrow(/at most 1000/)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: file.length - 1 }), async (length) => {
        await expect(decodeSnapshot(file.slice(0, length))).rejects.toEqual(refused)
      }),
      { numRuns: runs(25) },
    )
    await fc.assert(
      fc.asyncProperty(
        // Not the ten bytes of gzip's own header: some of them (time, system) mean nothing.
        fc.integer({ min: 0, max: file.length - 1 }).filter((at) => at < 20 || at >= 30),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const damaged = file.slice()
          damaged[at]! ^= flip
          await expect(decodeSnapshot(damaged)).rejects.toEqual(refused)
        },
      ),
      { numRuns: runs(25) },
    )
  })
})

describe('the state of a whole machine', () => {
  it('continues as if it had never been saved, wherever it is cut and whichever engine goes on', async () => {
    const total = 80_000
    const straight = busy('threaded')
    runTo(straight, total)
    const expected = hashState(straight.saveState())
    expect(straight.space.read16(0x500)).toBeGreaterThan(10)
    expect(straight.space.read16(0x502)).toBeGreaterThan(0)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: total - 1 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.constantFrom<EngineName>('reference', 'threaded'), { minLength: 5, maxLength: 5 }),
        async (cuts, engines) => {
          const places = [...new Set(cuts), total].sort((a, b) => a - b)
          let pc = busy(engines[0]!)
          for (const [n, place] of places.entries()) {
            runTo(pc, place)
            const state = (await decodeSnapshot(await encodeSnapshot(pc.saveState()))) as PcState
            pc = busy(engines[n + 1] ?? 'threaded')
            pc.loadState(state)
          }
          expect(hashState(pc.saveState())).toBe(expected)
        },
      ),
      { numRuns: runs(4) },
    )
  })

  it('holds several processors and whose turn it is', () => {
    const make = (): Pc => busy('reference', { cpus: 3, turn: 777 })
    const one = make()
    one.runSync(20_000)
    const two = make()
    two.loadState(one.saveState())
    one.runSync(20_000)
    two.runSync(20_000)
    expect(hashState(two.saveState())).toBe(hashState(one.saveState()))
  })

  it('holds disks that are in memory, and virtio devices', () => {
    const make = (): Pc =>
      new Pc({
        memory: 2 * MIB,
        engine: 'reference',
        drives: [new MemoryDisk(new Uint8Array(64 * 1024))],
        virtio: { disks: [new MemoryDisk(new Uint8Array(8192))], entropy: true, console: () => {} },
      })
    const one = make()
    one.board.ata.primary.saveState()
    one.random.next()
    const state = one.saveState()
    const two = make()
    two.loadState(state)
    expect(hashState(two.saveState())).toBe(hashState(state))
    expect(two.random.next()).toBe(one.random.next())
  })

  it('is refused by another machine, which stays as it was', () => {
    const state = busy('reference').saveState()
    const cases: [string, Pc][] = [
      ['memory', busy('reference', { memory: 3 * MIB })],
      ['processor', busy('reference', { cpu: '80486' })],
      ['processors', busy('reference', { cpus: 2 })],
      ['time', busy('reference', { nsPerInstruction: 5 })],
      ['devices', busy('reference', { virtio: { entropy: true } })],
      ['no timers', busy('reference', { hpet: false })],
    ]
    for (const [what, pc] of cases) {
      pc.runSync(1000)
      const before = hashState(pc.saveState())
      expect(() => pc.loadState(state), what).toThrow(expect.objectContaining({ code: 'bad-state' }))
      expect(hashState(pc.saveState()), what).toBe(before)
    }
  })

  it('is refused when a field is damaged, and the machine stays as it was', () => {
    const pc = busy('reference')
    pc.runSync(5000)
    const state = pc.saveState()
    const before = hashState(state)
    const broken: unknown[] = [
      {},
      null,
      { ...state, version: 2 },
      { ...state, cpus: [] },
      { ...state, cpus: [{ ...state.cpus[0], registers: new Uint8Array(3) }] },
      { ...state, cpus: [{ ...state.cpus[0], tlb: Float64Array.of(5000, 1, 0, 0, 0) }] },
      { ...state, board: { ...state.board, parts: { ...state.board.parts, pit: { version: 1 } } } },
      { ...state, clock: { version: 1, base: -1, instructions: 0 } },
      { ...state, space: { ...state.space, ram: [] } },
    ]
    for (const [n, damaged] of broken.entries()) {
      expect(() => pc.loadState(damaged as PcState), `case ${n}`).toThrow(
        expect.objectContaining({ code: 'bad-state' }),
      )
      expect(hashState(pc.saveState()), `case ${n}`).toBe(before)
    }
  })

  it('of the built-in kernel, in the middle of its stages, goes on to a normal end', () => {
    const one = new Pc({ memory: 16 * MIB, engine: 'threaded' })
    one.loadMultiboot(buildKernel())
    one.runSync(100_000)
    const two = new Pc({ memory: 16 * MIB, engine: 'reference' })
    two.loadState(one.saveState())
    const end = one.runSync(5_000_000)
    expect(two.runSync(5_000_000)).toEqual(end)
    expect(two.screen.text()).toEqual(one.screen.text())
    expect(end.reason).toBe('power-off')
  })

  it('can be neither taken nor loaded inside a run', () => {
    const pc = busy('reference')
    let caught: unknown
    pc.clock.schedule(10, () => {
      try {
        pc.saveState()
      } catch (error) {
        caught = error
      }
    })
    pc.runSync(100)
    expect(caught).toMatchObject({ code: 'busy' })
  })
})
