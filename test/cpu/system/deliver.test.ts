import { describe, expect, it } from 'vitest'
import { combine } from '../../../src/cpu/deliver.js'
import {
  CODE,
  HANDLER,
  IDT,
  Machine,
  SEL_CODE0,
  SEL_CODE3,
  SEL_CODE64_3,
  SEL_DATA0,
  SEL_DATA3,
  SEL_TEST,
  STACK0,
  STACK3,
  TSS,
} from './machine.js'

const IF = 0x200
const TF = 0x100
const RF = 0x10000
const VM = 0x20000

describe('real mode', () => {
  it('pushes FLAGS, CS, IP and clears IF and TF', () => {
    const m = new Machine()
    m.real('int 0x21')
    m.space.write32(0x21 * 4, 0x2345_0678)
    m.cpu.s.flags = 0x202 | 1
    m.step()
    const { s } = m.cpu
    expect(s.rip).toBe(0x678)
    expect(s.selector(1)).toBe(0x2345)
    expect(s.segBase(1)).toBe(0x23450)
    expect([m.stack16(0), m.stack16(1), m.stack16(2)]).toEqual([0x7c02, 0, 0x203])
    expect(s.flags & (IF | TF)).toBe(0)
  })

  it('faults to vector 13 beyond the limit of the table, then to 8, then shuts down', () => {
    const m = new Machine()
    m.real('int 0x21')
    m.cpu.s.setIdtr(0, 0x21 * 4 + 2)
    m.space.write32(13 * 4, 0x0000_9000)
    m.step()
    expect(m.cpu.s.rip).toBe(0x9000)
    expect(m.stack16(0)).toBe(0x7c00)
    const n = new Machine()
    n.real('int 0x21')
    n.cpu.s.setIdtr(0, 8 * 4 + 3)
    n.space.write32(8 * 4, 0x0000_9100)
    n.step()
    expect(n.cpu.s.rip).toBe(0x9100)
    const o = new Machine()
    o.real('int 0x21')
    o.cpu.s.setIdtr(0, 3)
    o.step()
    expect(o.cpu.shutdown).toBe(true)
    expect(o.cpu.s.rip).toBe(0x7c00)
  })

  it('shuts down when SP = 1 leaves no room', () => {
    const m = new Machine('80386')
    m.real('int 3')
    m.cpu.s.setReg32(4, 1)
    m.step()
    expect(m.cpu.shutdown).toBe(true)
  })
})

describe('protected mode, 32-bit gates', () => {
  it('same privilege: EFLAGS CS EIP; interrupt gates clear IF, trap gates do not', () => {
    for (const [type, left] of [
      [14, 0],
      [15, IF],
    ] as const) {
      const m = new Machine()
      m.protect('nop\nint 0x40')
      m.handler(0x40, { type })
      m.cpu.s.flags = 0x202 | 0x4000
      m.step(2)
      expect(m.vector).toBe(0x40)
      expect([m.stack(0), m.stack(1), m.stack(2)]).toEqual([CODE + 3, SEL_CODE0, 0x4202])
      expect(m.cpu.s.flags & (IF | TF | 0x4000 | RF | VM)).toBe(left)
      expect(m.cpu.s.reg32(4)).toBe(STACK0 - 12)
    }
  })

  it('inner privilege: stack from the TSS, SS ESP EFLAGS CS EIP and error code', () => {
    const m = new Machine()
    m.protect('hlt', 3)
    m.handlers()
    m.step()
    expect(m.vector).toBe(13)
    expect(m.cpu.cpl).toBe(0)
    expect(m.cpu.s.selector(1)).toBe(SEL_CODE0)
    expect(m.cpu.s.selector(2)).toBe(SEL_DATA0)
    const frame = [0, 1, 2, 3, 4, 5].map((n) => m.stack(n))
    // A fault saves RF = 1.
    expect(frame).toEqual([0, CODE, SEL_CODE3, RF | 2, STACK3, SEL_DATA3])
    expect(m.cpu.s.selector(3)).toBe(SEL_DATA3)
  })

  it('checks the gate: limit, type, DPL for software interrupts, presence', () => {
    const cases = [
      {
        source: 'int 0x50',
        prepare: (m: Machine) => m.cpu.s.setIdtr(IDT, 0x50 * 8 + 6),
        code: 0x50 * 8 + 2,
        vector: 13,
      },
      { source: 'int 0x50', prepare: () => {}, code: 0x50 * 8 + 2, vector: 13 },
      { source: 'int 0x50', prepare: (m: Machine) => m.handler(0x50, { dpl: 2 }), code: 0x50 * 8 + 2, vector: 13 },
      {
        source: 'int 0x50',
        prepare: (m: Machine) => m.handler(0x50, { dpl: 3, present: false }),
        code: 0x50 * 8 + 2,
        vector: 11,
      },
      { source: 'int 0x50', prepare: (m: Machine) => m.handler(0x50, { dpl: 3, selector: 0 }), code: 0, vector: 13 },
      {
        source: 'int 0x50',
        prepare: (m: Machine) => m.handler(0x50, { dpl: 3, selector: SEL_DATA0 }),
        code: SEL_DATA0,
        vector: 13,
      },
      {
        source: 'int 0x50',
        prepare: (m: Machine) => m.handler(0x50, { dpl: 3, selector: 0xfff8 }),
        code: 0xfff8,
        vector: 13,
      },
      { source: 'int3', prepare: (m: Machine) => m.handler(3, { dpl: 0 }), code: 3 * 8 + 2, vector: 13 },
    ]
    for (const { source, prepare, code, vector } of cases) {
      const m = new Machine()
      m.protect(source, 3)
      m.handlers()
      prepare(m)
      m.step()
      expect([m.vector, m.stack(0), m.stack(1)]).toEqual([vector, code, CODE])
    }
  })

  it('INT1 ignores the gate DPL', () => {
    const m = new Machine()
    m.protect('int1', 3)
    m.handlers()
    m.step()
    expect(m.vector).toBe(1)
    expect(m.stack(0)).toBe(CODE + 1)
  })

  it('sets EXT for faults while an external interrupt is delivered', () => {
    const m = new Machine()
    m.protect('nop', 0)
    m.handlers()
    m.cpu.s.flags = 0x202
    m.interrupt = 0x60
    m.step()
    expect([m.vector, m.stack(0)]).toEqual([13, 0x60 * 8 + 3])
  })

  it('reports a bad inner stack as #TS or #SS with its selector', () => {
    for (const [selector, vector, code] of [
      [0, 10, 0],
      [SEL_DATA3, 10, SEL_DATA3 & ~3],
      [SEL_CODE0, 10, SEL_CODE0],
      [0xff8, 10, 0xff8],
      [SEL_TEST, 12, SEL_TEST],
    ] as const) {
      const m = new Machine()
      m.protect('int 0x50', 3)
      m.handler(0x50, { dpl: 3 })
      // The faults arrive through conforming code, which stays on the user stack.
      for (const v of [10, 12]) m.handler(v, { selector: 0x38 })
      m.descriptor(SEL_TEST, { type: 2, present: false })
      m.space.write16(TSS + 8, selector)
      m.step()
      expect([m.vector, m.stack(0)]).toEqual([vector, code])
      expect(m.cpu.cpl).toBe(3)
    }
  })

  it('16-bit gates push words and use 16 bits of offset', () => {
    const m = new Machine()
    m.protect('int 0x50', 0)
    m.handler(0x50, { type: 6, selector: 0x28, offset: 0x1234 })
    m.step()
    expect(m.cpu.s.rip).toBe(0x1234)
    expect(m.cpu.s.selector(1)).toBe(0x28)
    expect([m.stack16(0), m.stack16(1), m.stack16(2)]).toEqual([(CODE + 2) & 0xffff, SEL_CODE0, 2])
  })

  it('leaves no trace when the new stack cannot be written', () => {
    const m = new Machine()
    m.protect('int 0x50', 3)
    m.handler(0x50, { dpl: 3 })
    m.handler(12, { selector: 0x38 })
    m.descriptor(SEL_TEST, { base: 0, limit: 0xfff, type: 2 })
    m.space.write16(TSS + 8, SEL_TEST)
    m.step()
    expect([m.vector, m.stack(0), m.stack(1)]).toEqual([12, SEL_TEST, CODE])
  })
})

describe('virtual-8086 mode', () => {
  it('pushes the data segments, nulls them and leaves the mode', () => {
    const m = new Machine()
    m.v86('nop', 0)
    m.handlers()
    m.handler(0x60)
    m.interrupt = 0x60
    m.step()
    expect(m.vector).toBe(0x60)
    const frame = Array.from({ length: 9 }, (_, n) => m.stack(n))
    expect(frame).toEqual([0, 0x1000, 0x20202, 0x100, 0x3800, 0x1000, 0x1000, 0x1000, 0x1000])
    expect([0, 3, 4, 5].map((seg) => m.cpu.s.selector(seg))).toEqual([0, 0, 0, 0])
    expect(m.cpu.s.v86).toBe(false)
    expect(m.cpu.cpl).toBe(0)
  })

  it('INT n needs IOPL 3 without VME; INT3 does not', () => {
    const m = new Machine()
    m.v86('int 0x21', 0)
    m.handlers()
    m.handler(0x21, { dpl: 3 })
    m.step()
    expect([m.vector, m.stack(0)]).toEqual([13, 0])
    const n = new Machine()
    n.v86('int 0x21', 3)
    n.handler(0x21, { dpl: 3 })
    n.step()
    expect(n.vector).toBe(0x21)
    const o = new Machine()
    o.v86('int3', 0)
    o.handler(3, { dpl: 3 })
    o.step()
    expect(o.vector).toBe(3)
  })

  it('VME redirects by the bitmap, with IF taken from VIF below IOPL 3', () => {
    const m = new Machine()
    m.v86('int 0x21', 0, 0x202 | 0x80000)
    m.cpu.s.cr4 = 1
    m.space.write16(TSS + 0x66, 0x100)
    m.space.write32(0x21 * 4, 0x1200_0034)
    m.step()
    const { s } = m.cpu
    expect([s.selector(1), s.rip]).toEqual([0x1200, 0x34])
    expect([m.stack16(0), m.stack16(1), m.stack16(2)]).toEqual([2, 0x1000, 0x3202])
    expect(s.flags & (0x80000 | IF)).toBe(IF)
    const n = new Machine()
    n.v86('int 0x21', 0)
    n.handlers()
    n.cpu.s.cr4 = 1
    n.space.write16(TSS + 0x66, 0x100)
    n.space.write8(TSS + 0x100 - 32 + 4, 2)
    n.step()
    expect(n.vector).toBe(13)
  })
})

describe('long mode', () => {
  it('always pushes SS:RSP, aligned, and nulls SS on a privilege change', () => {
    const m = new Machine()
    m.long('hlt', 3)
    m.handler64(13)
    m.space.write32(TSS + 4, STACK0 - 4)
    m.step()
    expect(m.cpu.s.rip).toBe(HANDLER + 13 * 16)
    expect(m.cpu.s.regNumber(4)).toBe(STACK0 - 16 - 48)
    expect([0, 1, 2, 3, 4, 5].map((n) => m.stack64(n))).toEqual([0, CODE, SEL_CODE64_3, RF | 2, STACK3, SEL_DATA3])
    expect(m.cpu.s.selector(2)).toBe(0)
  })

  it('same privilege keeps SS, and IST switches stacks', () => {
    const m = new Machine()
    m.long('int 0x50')
    m.handler64(0x50)
    m.cpu.s.setReg32(4, STACK0 - 3)
    m.step()
    expect(m.cpu.s.regNumber(4)).toBe(STACK0 - 16 - 40)
    expect(m.stack64(3)).toBe(STACK0 - 3)
    expect(m.cpu.s.selector(2)).toBe(SEL_DATA0)
    const n = new Machine()
    n.long('int 0x50')
    n.handler64(0x50, { ist: 2 })
    n.space.write32(TSS + 0x1c + 16, 0x34000)
    n.step()
    expect(n.cpu.s.regNumber(4)).toBe(0x34000 - 40)
  })

  it('pushes a garbage user RSP exactly', () => {
    const m = new Machine()
    m.long('hlt', 3)
    m.handler64(13)
    m.cpu.s.setReg64(4, 0x89abcdef | 0, 0x12345677)
    m.step()
    const at = m.cpu.s.regNumber(4) + 32
    expect([m.space.read32(at) >>> 0, m.space.read32(at + 4) >>> 0]).toEqual([0x89abcdef, 0x12345677])
  })

  it('refuses 16-bit gates and gates to 32-bit code', () => {
    for (const [fields, code] of [
      [{ type: 6, offset: 0 }, 0x50 * 8 + 2],
      [{ selector: SEL_CODE0 }, SEL_CODE0],
    ] as const) {
      const m = new Machine()
      m.long('int 0x50')
      m.handler64(13)
      m.handler64(0x50, fields)
      m.step()
      expect(m.cpu.s.rip).toBe(HANDLER + 13 * 16)
      expect(m.stack64(0)).toBe(code)
    }
  })
})

describe('combinations of exceptions', () => {
  it('follows the double-fault table', () => {
    const contributory = [0, 10, 11, 12, 13]
    for (const a of contributory) for (const b of contributory) expect(combine(a, b)).toBe(8)
    for (const a of contributory) expect(combine(a, 14)).toBe(14)
    for (const b of [...contributory, 14]) expect(combine(14, b)).toBe(8)
    for (const b of [...contributory, 14]) expect(combine(8, b)).toBe(-1)
    for (const a of [1, 2, 3, 4, 5, 6, 7, 16, 17, 19]) expect(combine(a, 13)).toBe(13)
    expect(combine(13, 17)).toBe(17)
  })

  it('goes from #GP over #DF to shutdown', () => {
    const m = new Machine()
    m.protect('hlt', 3)
    m.handler(8)
    m.step()
    expect([m.vector, m.stack(0), m.stack(1)]).toEqual([8, 0, CODE])
    const n = new Machine()
    n.protect('hlt', 3)
    n.step()
    expect(n.cpu.shutdown).toBe(true)
    n.step(10)
    expect(n.cpu.s.rip).toBe(CODE)
  })

  it('NMI is blocked until IRET, also one that faults', () => {
    const m = new Machine()
    m.protect('nop')
    m.handlers()
    m.load('nop\niret', 32, HANDLER + 2 * 16)
    m.cpu.raiseNmi()
    m.step()
    expect(m.vector).toBe(2)
    m.cpu.raiseNmi()
    m.step()
    expect(m.cpu.s.rip).toBe(HANDLER + 33)
    expect(m.cpu.nmiBlocked).toBe(true)
    m.step(2)
    expect(m.vector).toBe(2)
  })
})
