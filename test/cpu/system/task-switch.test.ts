import { describe, expect, it } from 'vitest'
import {
  CODE,
  GDT,
  HANDLER,
  IDT,
  Machine,
  SEL_CODE0,
  SEL_CODE3,
  SEL_DATA0,
  SEL_DATA3,
  SEL_LDT,
  SEL_TEST,
  SEL_TSS,
  SEL_TSS_B,
  STACK0,
  TSS,
  TSS_B,
} from './machine.js'

const ENTRY = 0x18000
const STACK_B = 0x3c000

/** Fills TSS_B with a 32-bit task at ENTRY. */
function task(m: Machine, fields: Partial<Record<number, number>> = {}): void {
  for (let n = 0; n < 26; n++) m.space.write32(TSS_B + n * 4, 0)
  const all: Record<number, number> = {
    32: ENTRY,
    36: 0x2,
    40: 0xa0,
    44: 0xc0,
    48: 0xd0,
    52: 0xb0,
    56: STACK_B,
    60: 0xbb,
    64: 0x51,
    68: 0xd1,
    72: SEL_DATA0,
    76: SEL_CODE0,
    80: SEL_DATA0,
    84: SEL_DATA0,
    88: 0,
    92: SEL_DATA3,
    96: SEL_LDT,
    ...(fields as Record<number, number>),
  }
  for (const [offset, value] of Object.entries(all)) m.space.write32(TSS_B + Number(offset), value)
}

const busy = (m: Machine, selector: number): boolean => (m.space.read8(GDT + selector + 5) & 2) !== 0

describe('32-bit tasks', () => {
  it('JMP: saves the old task, loads the new one, moves the busy bit', () => {
    const m = new Machine()
    m.protect(`jmp ${SEL_TSS_B}:0`)
    task(m)
    m.cpu.s.setReg32(0, 0x1234)
    m.cpu.s.flags = 0x246
    m.step()
    const { s } = m.cpu
    expect(s.rip).toBe(ENTRY)
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((r) => s.reg32(r))).toEqual([0xa0, 0xc0, 0xd0, 0xb0, STACK_B, 0xbb, 0x51, 0xd1])
    expect([0, 1, 2, 3, 4, 5].map((n) => s.selector(n))).toEqual([
      SEL_DATA0,
      SEL_CODE0,
      SEL_DATA0,
      SEL_DATA0,
      0,
      SEL_DATA3,
    ])
    expect(s.selector(7)).toBe(SEL_TSS_B)
    expect(s.cr0 & 8).toBe(8)
    expect([busy(m, SEL_TSS), busy(m, SEL_TSS_B)]).toEqual([false, true])
    expect(m.space.read32(TSS + 0x20)).toBe(CODE + 7)
    expect(m.space.read32(TSS + 0x24)).toBe(0x246)
    expect(m.space.read32(TSS + 0x28)).toBe(0x1234)
    expect(m.space.read16(TSS + 0x4c)).toBe(SEL_CODE0)
    expect(s.flags & 0x4000).toBe(0)
  })

  it('CALL nests: link, NT, both busy; IRET comes back with NT clear in the task that ends', () => {
    const m = new Machine()
    m.protect(`call ${SEL_TSS_B}:0\nnop`)
    task(m)
    m.load('iret', 32, ENTRY)
    m.step()
    const { s } = m.cpu
    expect(s.flags & 0x4000).toBe(0x4000)
    expect(m.space.read16(TSS_B)).toBe(SEL_TSS)
    expect([busy(m, SEL_TSS), busy(m, SEL_TSS_B)]).toEqual([true, true])
    m.step()
    expect(s.rip).toBe(CODE + 7)
    expect(s.selector(7)).toBe(SEL_TSS)
    expect(m.space.read32(TSS_B + 0x24) & 0x4000).toBe(0)
    expect(m.space.read32(TSS_B + 0x20)).toBe(ENTRY + 1)
    expect([busy(m, SEL_TSS), busy(m, SEL_TSS_B)]).toEqual([true, false])
    expect(s.flags & 0x4000).toBe(0)
  })

  it('a task gate in the IDT pushes the error code on the new stack', () => {
    const m = new Machine()
    m.protect('hlt', 3)
    task(m)
    m.gate(IDT + 13 * 8, { type: 5, selector: SEL_TSS_B })
    m.step()
    expect(m.cpu.s.rip).toBe(ENTRY)
    expect(m.cpu.s.reg32(4)).toBe(STACK_B - 4)
    expect(m.stack(0)).toBe(0)
    expect(m.space.read32(TSS + 0x20)).toBe(CODE)
    expect(m.space.read32(TSS + 0x24) & 0x10000).toBe(0x10000)
  })

  it('checks before the switch leave the old task as it was', () => {
    for (const [prepare, vector, code] of [
      [(m: Machine) => m.descriptor(SEL_TSS_B, { base: TSS_B, limit: 0x66, type: 9, s: false }), 10, SEL_TSS_B],
      [
        (m: Machine) => m.descriptor(SEL_TSS_B, { base: TSS_B, limit: 0x67, type: 9, s: false, present: false }),
        11,
        SEL_TSS_B,
      ],
      [(m: Machine) => m.descriptor(SEL_TSS_B, { base: TSS_B, limit: 0x67, type: 11, s: false }), 13, SEL_TSS_B],
    ] as const) {
      const m = new Machine()
      m.protect(`jmp ${SEL_TSS_B}:0`)
      m.handlers()
      task(m)
      prepare(m)
      m.step()
      expect([m.vector, m.stack(0), m.stack(1)]).toEqual([vector, code, CODE])
      expect(m.cpu.s.selector(7)).toBe(SEL_TSS)
    }
  })

  it('faults while segments load are the new task’s', () => {
    for (const [fields, vector, code] of [
      [{ 96: SEL_DATA0 }, 10, SEL_DATA0],
      [{ 76: SEL_DATA0 }, 10, SEL_DATA0],
      [{ 80: SEL_DATA3 }, 10, SEL_DATA3 & ~3],
      [{ 84: SEL_TEST }, 11, SEL_TEST],
      [{ 88: 0xff8 }, 10, 0xff8],
    ] as const) {
      const m = new Machine()
      m.protect(`jmp ${SEL_TSS_B}:0`)
      // A ring-3 CS makes the handler take its stack from the new TSS, whatever SS holds.
      task(m, { 76: SEL_CODE3, 80: SEL_DATA3, 72: SEL_DATA3, 84: SEL_DATA3, 4: STACK0, 8: SEL_DATA0, ...fields })
      if (0x50 in fields) m.space.write32(TSS_B + 0x4c, SEL_CODE0)
      m.handlers()
      m.descriptor(SEL_TEST, { type: 2, dpl: 3, present: false })
      for (const v of [10, 11]) m.gate(IDT + v * 8, { type: 14, selector: SEL_CODE0, offset: HANDLER + v * 16 })
      m.step()
      // With CS or SS unusable in ring 0 the handler cannot push: that ends in a double fault or shutdown, as on hardware.
      if (m.cpu.shutdown || m.vector === 8) continue
      expect([m.vector, m.stack(0), m.stack(1)], JSON.stringify(fields)).toEqual([vector, code, ENTRY])
      expect(m.cpu.s.selector(7)).toBe(SEL_TSS_B)
    }
  })

  it('the T bit raises #DB with DR6.BT before the first instruction, and local breakpoints are cleared', () => {
    const m = new Machine()
    m.protect(`jmp ${SEL_TSS_B}:0`)
    task(m, { 100: 1 })
    m.handlers()
    m.cpu.s.setDr(7, 0x403)
    m.step(2)
    expect(m.vector).toBe(1)
    expect(m.cpu.s.dr(6) & 0x8000).toBe(0x8000)
    expect(m.stack(0)).toBe(ENTRY)
    expect(m.cpu.s.dr(7)).toBe(0x402)
  })

  it('goes to virtual-8086 tasks', () => {
    const m = new Machine()
    m.protect(`jmp ${SEL_TSS_B}:0`)
    task(m, { 36: 0x20002, 76: 0x1800, 80: 0x3000, 84: 0x1111, 72: 0x2222, 32: 0x10 })
    m.step()
    const { s } = m.cpu
    expect(s.v86).toBe(true)
    expect(m.cpu.cpl).toBe(3)
    expect([s.segBase(1), s.segBase(3), s.rip]).toEqual([0x18000, 0x11110, 0x10])
  })

  it('loads CR3 only with paging on', () => {
    const m = new Machine()
    m.protect(`jmp ${SEL_TSS_B}:0`)
    task(m, { 28: 0x7000 })
    m.step()
    expect(m.cpu.s.cr3).toBe(0)
  })
})

describe('16-bit tasks', () => {
  it('switch with 16-bit fields', () => {
    const m = new Machine('80286')
    m.protect(`jmp ${SEL_TSS_B}:0`)
    m.descriptor(SEL_TSS_B, { base: TSS_B, limit: 0x2b, type: 1, s: false })
    const words = [
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0x1234,
      2,
      1,
      2,
      3,
      4,
      0x3ff0,
      6,
      7,
      8,
      SEL_DATA0,
      0x28,
      SEL_DATA0,
      SEL_DATA0,
      0,
    ]
    for (const [n, value] of words.entries()) m.space.write16(TSS_B + n * 2, value)
    m.step()
    const { s } = m.cpu
    expect(s.rip).toBe(0x1234)
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((r) => s.reg16(r))).toEqual([1, 2, 3, 4, 0x3ff0, 6, 7, 8])
    expect(s.selector(1)).toBe(0x28)
  })
})
