/** A guest may do anything; the host gets a typed answer within the budget, and nothing else. */

import { describe, expect, it } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { assemble } from '../../src/isa/index.js'
import { Pc } from '../../src/machine/index.js'
import { runs } from '../runs.js'
import type { EngineName, EqualityBoard } from './equality-board.js'
import { DEVICE_PORT, ENGINES, MMIO_BASE } from './equality-board.js'
import { prepare } from './equality-modes.js'
import { Random } from './equality-random.js'
import { CODE, GDT, IDT, LDT, MODES, type ModeName, TSS } from './equality-tables.js'
import { boardFor, runNoise } from './fuzz-machines.js'

/** A board in a mode, with code of ours at the start. */
function started(
  engine: EngineName,
  mode: ModeName,
  source: string,
  change?: (memory: DataView) => void,
): EqualityBoard {
  const board = boardFor(engine)
  for (let seed = 1; ; seed++) {
    const program = prepare(mode, new Random(seed), (around, code, ip) => {
      code.set(assemble(source, { bits: around.bits, org: ip }).bytes, ip % CODE)
    })
    // Without the variations: no debug registers, no trap flag, no timer, paging in the plain form.
    board.reset(program.image)
    program.start(board)
    const { s } = board.cpu
    if (s.dr(7) !== 0x400 || s.flags & 0x40500 || board.clock.nextDeadline !== Number.POSITIVE_INFINITY) continue
    if ((s.cr0 & 0x8000_000e) >>> 0 !== (mode === 'real' ? 0 : 0x8000_0000) || s.cr4 & 0x320000) continue
    if (mode === 'protected32-0' && s.cr4 & 0x20) continue
    if (s.segBase(3) !== (mode === 'real' ? 0x20000 : 0)) continue
    change?.(new DataView(board.ram.buffer, board.ram.byteOffset, board.ram.length))
    return board
  }
}

describe('random bytes as code', () => {
  for (const mode of MODES) {
    it(`keep to their budget, ${mode}`, () => {
      for (const engine of ['threaded', 'translated'] as const) {
        const result = runNoise(boardFor(engine), mode, 1, runs(engine === 'threaded' ? 20_000 : 5000))
        expect(result.instructions).toBeGreaterThan(0)
      }
    })
  }
})

describe('a guest that only harms itself', () => {
  for (const engine of ENGINES) {
    it(`faults for ever in its page-fault handler, ${engine}`, () => {
      // The handler lies on a page that is not there; every fault leads to it, each time from the top of the interrupt stack.
      const board = started(engine, 'long-0', 'mov eax, [0x26000]', (memory) => {
        memory.setUint16(IDT + 14 * 16, 0x6000, true)
        memory.setUint16(IDT + 14 * 16 + 6, 0x2, true)
      })
      expect(board.run(20_000)).toBe('budget')
      expect(board.cpu.shutdown).toBe(false)
      expect(board.cpu.stats.exceptions[14]).toBeGreaterThan(15_000)
    })

    it(`has a page-fault gate that faults, ${engine}: shutdown`, () => {
      const board = started(engine, 'protected32-0', 'mov eax, [0x26000]', (memory) => {
        memory.setUint16(IDT + 14 * 8 + 2, 0x1000, true)
        memory.setUint16(IDT + 13 * 8 + 2, 0x1000, true)
        memory.setUint32(IDT + 8 * 8 + 4, 0, true)
      })
      expect(board.run(1000)).toBe('shutdown')
      // And stays there.
      const at = board.cpu.instructions
      expect(board.run(1000)).toBe('shutdown')
      expect(board.cpu.instructions).toBe(at)
    })

    it(`has page tables that point at themselves, ${engine}`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const random = new Random(seed)
        for (const mode of ['long-0', 'protected32-0'] as const) {
          const board = started(engine, mode, 'mov rax, 5\njmp $'.replace('rax', mode === 'long-0' ? 'rax' : 'eax'))
          const { s } = board.cpu
          const stride = mode === 'long-0' ? 8 : 4
          for (let n = 0; n < 512; n++) {
            if (!random.chance(70)) continue
            const to = random.chance(80) ? s.cr3 : s.cr3 + random.below(5) * 0x1000
            board.space.write32(s.cr3 + n * stride, to | (random.next() & 0x1ff) | 1)
          }
          board.cpu.mem.flushAll()
          const stop = board.run(5000)
          expect(['budget', 'shutdown', 'halted']).toContain(stop)
        }
      }
    })

    it(`loads wild descriptors, ${engine}`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const random = new Random(seed)
        for (const mode of ['protected32-0', 'long-0', 'protected16-0'] as const) {
          const source = `again:\nmov ax, [${mode === 'protected16-0' ? '' : '0x20000'}0]\nadd ax, 8\nmov ds, ax\nmov es, ax\nmov fs, ax\nlar cx, ax\nltr ax\nlldt ax\nmov ss, ax\nint 0x40\njmp again`
          const board = started(engine, mode === 'protected16-0' ? 'protected32-0' : mode, source)
          for (const table of [GDT, IDT, LDT, TSS]) {
            for (let n = 8; n < 0x800; n += 4) if (random.chance(60)) board.space.write32(table + n, random.next())
          }
          const stop = board.run(5000)
          expect(['budget', 'shutdown', 'halted']).toContain(stop)
        }
      }
    })
  }
})

describe("a user's device that throws", () => {
  const accesses: readonly (readonly [string, string, ModeName])[] = [
    ['a port', `mov dx, ${DEVICE_PORT}\nmov cx, 5\nin ax, dx\nmov bx, 7`, 'real'],
    ['a port', `mov dx, ${DEVICE_PORT}\nmov ecx, 5\nout dx, eax\nmov ebx, 7`, 'long-0'],
    ['memory', `mov dx, 1\nmov ecx, 5\nmov eax, [${MMIO_BASE}]\nmov ebx, 7`, 'protected32-0'],
    ['memory', `mov dx, 1\nmov ecx, 5\nadd [abs ${MMIO_BASE}], eax\nmov ebx, 7`, 'long-0'],
    ['a string', `mov edi, ${MMIO_BASE}\nmov ecx, 5\nrep stosb\nmov ebx, 7`, 'protected32-0'],
    ['a stack', `mov ecx, 5\nmov esp, ${MMIO_BASE + 0x100}\npush eax\nmov ebx, 7`, 'protected32-0'],
    ['a stack that an exception needs', `mov ecx, 5\nmov esp, ${MMIO_BASE + 0x100}\nud2\nmov ebx, 7`, 'protected32-0'],
  ]
  for (const engine of ENGINES) {
    for (const [what, source, mode] of accesses) {
      it(`behind ${what}: ${mode}, ${engine}`, () => {
        const board = started(engine, mode, source)
        board.deviceError = new Error('out of paper')
        const { s } = board.cpu
        const from = board.cpu.instructions
        let caught: unknown
        try {
          board.run(100)
        } catch (error) {
          caught = error
        }
        expect(caught).toBeInstanceOf(VirtkitError)
        expect((caught as VirtkitError).code).toBe('device-failed')
        expect((caught as VirtkitError).cause).toBe(board.deviceError)
        // At the boundary before the access: two instructions are done, the third has not happened.
        expect(board.cpu.instructions - from).toBe(2)
        expect(s.reg32(1) & 0xffff).toBe(5)
        // A device that works again lets the guest go on from there.
        board.deviceError = undefined
        if (what.startsWith('a stack that')) {
          expect(board.run(1)).toBe('budget')
          expect(board.cpu.stats.exceptions[6]).toBeGreaterThan(0)
          return
        }
        board.run(what === 'a string' ? 6 : 2)
        expect(s.reg32(3) & 0xffff).toBe(7)
      })
    }
  }
})

describe('a whole machine', () => {
  it('survives floods of every port', () => {
    // A linear congruential generator picks port, width, direction and value.
    const source = `
      cli
      mov ax, 0x2000
      mov es, ax
    again:
      imul esi, esi, 1103515245
      add esi, 12345
      mov eax, esi
      shr eax, 9
      mov edx, esi
      shr edx, 13
      test esi, 0x100
      jz narrow
      and dx, 0x7ff
    narrow:
      cmp dx, 0xf4
      je again
      cmp dx, 0x92
      je again
      cmp dx, 0x64
      je again
      cmp dx, 0xcf9
      je again
      cmp dx, 0x604
      je again
      mov di, si
      test esi, 0x10000
      jz read
      out dx, al
      test esi, 0x20000
      jz again
      out dx, eax
      jmp again
    read:
      in al, dx
      in ax, dx
      in eax, dx
      mov cx, 8
      rep insb
      jmp again`
    const pc = new Pc({ memory: 0x200000, engine: 'translated' })
    try {
      pc.loadFlat(assemble(source, { bits: 16, org: 0x7c00 }).bytes)
      let ran = 0
      for (let turn = 0; turn < 20 && ran < runs(400_000); turn++) {
        const result = pc.runSync(20_000)
        expect(result.instructions).toBeLessThanOrEqual(20_000)
        ran += result.instructions
        if (result.reason !== 'budget') break
      }
      expect(ran).toBeGreaterThan(0)
      expect(pc.serial.text.length).toBeLessThan(0x400000)
    } finally {
      pc.dispose()
    }
  })

  it('does not hang when the guest halts for an interrupt that never comes', () => {
    const pc = new Pc({ memory: 0x100000, engine: 'threaded' })
    try {
      // The timer runs, and its line is masked.
      const source =
        'mov al, 0x34\nout 0x43, al\nmov al, 20\nout 0x40, al\nmov al, 0\nout 0x40, al\nmov al, 0xff\nout 0x21, al\nout 0xa1, al\nagain: sti\nhlt\njmp again'
      pc.loadFlat(assemble(source, { bits: 16, org: 0x7c00 }).bytes)
      const result = pc.runSync(10_000)
      expect(['budget', 'halted']).toContain(result.reason)
    } finally {
      pc.dispose()
    }
  })
})
