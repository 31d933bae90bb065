import { describe, expect, it } from 'vitest'
import { aaa, aad, aam, aas, daa, das } from '../../../src/cpu/bcd.js'
import { CODE, Machine, SEL_DATA0, STACK0 } from './machine.js'

const CF = 1
const AF = 0x10

const bcd = (n: number): number => (Math.floor(n / 10) << 4) | (n % 10)

describe('decimal arithmetic', () => {
  it('DAA after ADD and DAS after SUB give decimal results for all packed operands', () => {
    const { cpu } = new Machine()
    const { s } = cpu
    for (let a = 0; a < 100; a++) {
      for (let b = 0; b < 100; b++) {
        const x = bcd(a)
        const y = bcd(b)
        s.setReg32(0, (x + y) & 0xff)
        s.arithmetic = (x + y > 0xff ? CF : 0) | ((x & 15) + (y & 15) > 15 ? AF : 0)
        daa(cpu)
        expect([s.reg16(0), s.arithmetic & CF]).toEqual([bcd((a + b) % 100), a + b > 99 ? CF : 0])
        s.setReg32(0, (x - y) & 0xff)
        s.arithmetic = (x < y ? CF : 0) | ((x & 15) < (y & 15) ? AF : 0)
        das(cpu)
        expect([s.reg16(0), s.arithmetic & CF]).toEqual([bcd((a - b + 100) % 100), a < b ? CF : 0])
      }
    }
  })

  it('AAA, AAS on unpacked digits; AAM and AAD are inverse', () => {
    const { cpu } = new Machine()
    const { s } = cpu
    for (let a = 0; a < 10; a++) {
      for (let b = 0; b < 10; b++) {
        s.setReg32(0, 0x0500 | (a + b))
        s.arithmetic = a + b > 15 ? AF : 0
        aaa(cpu)
        expect(s.reg16(0)).toBe((a + b > 9 ? 0x600 : 0x500) | ((a + b) % 10))
        expect(s.arithmetic & (AF | CF)).toBe(a + b > 9 ? AF | CF : 0)
        s.setReg32(0, 0x0500 | ((a - b) & 0xff))
        s.arithmetic = a < b ? AF | CF : 0
        aas(cpu)
        // The borrow of the subtraction went into AL only: AH is one less after the adjustment.
        if (a >= b) expect(s.reg16(0)).toBe(0x500 | (a - b))
        else expect(s.reg16(0) & 0xff).toBe(a - b + 10)
      }
    }
    for (let n = 0; n < 100; n++) {
      s.setReg32(0, n)
      aam(cpu, 0, 0, 0, 10)
      expect(s.reg16(0)).toBe((Math.floor(n / 10) << 8) | (n % 10))
      aad(cpu, 0, 0, 0, 10)
      expect(s.reg16(0)).toBe(n)
    }
  })

  it('AAM 0 is #DE', () => {
    const m = new Machine()
    m.protect('aam 0')
    m.handlers()
    m.step()
    expect([m.vector, m.stack(0)]).toEqual([0, CODE])
  })
})

describe('frames', () => {
  it('ENTER of level 0, 1 and 3', () => {
    const m = new Machine()
    m.protect('enter 8, 0\nenter 0, 1\nenter 16, 3')
    m.cpu.s.setReg32(5, 0x2f000)
    const { s } = m.cpu
    m.step()
    expect([s.reg32(5), s.reg32(4), m.space.read32(STACK0 - 4)]).toEqual([STACK0 - 4, STACK0 - 12, 0x2f000])
    m.step()
    const frame1 = STACK0 - 16
    expect([s.reg32(5), s.reg32(4), m.space.read32(frame1), m.space.read32(frame1 - 4)]).toEqual([
      frame1,
      frame1 - 4,
      STACK0 - 4,
      frame1,
    ])
    m.step()
    const frame3 = frame1 - 8
    expect(s.reg32(5)).toBe(frame3)
    expect(s.reg32(4)).toBe(frame3 - 12 - 16)
    // Display: two pointers copied from below the old frame (the second is where EBP was just saved), then this frame's own.
    expect([m.space.read32(frame3 - 4), m.space.read32(frame3 - 8), m.space.read32(frame3 - 12)]).toEqual([
      frame1,
      frame1,
      frame3,
    ])
  })

  it('ENTER changes no register when the final stack pointer cannot be written', () => {
    const m = new Machine()
    m.protect('enter 0x100, 0')
    m.handlers()
    m.handler(12, { selector: 0x38 })
    m.cpu.s.setSegment(2, SEL_DATA0, 0, 0xffffffff, 0xc093)
    m.cpu.s.setSegment(2, SEL_DATA0, 0, STACK0 - 0x80, 0x4097)
    m.cpu.s.setReg32(5, 0x77)
    m.cpu.updateMode()
    m.step()
    expect([m.vector, m.cpu.s.reg32(5), m.cpu.s.reg32(4)]).toEqual([12, 0x77, STACK0 - 16])
  })

  it('PUSHA and POPA', () => {
    const m = new Machine()
    m.protect('pusha\nmov eax, 1\nmov edi, 2\nmov dword [esp+12], 0x5555\npopa')
    for (const r of [0, 1, 2, 3, 5, 6, 7]) m.cpu.s.setReg32(r, 0x100 + r)
    m.step()
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((n) => m.stack(n))).toEqual([
      0x107,
      0x106,
      0x105,
      STACK0,
      0x103,
      0x102,
      0x101,
      0x100,
    ])
    m.step(4)
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((r) => m.cpu.s.reg32(r))).toEqual([
      0x100,
      0x101,
      0x102,
      0x103,
      STACK0,
      0x105,
      0x106,
      0x107,
    ])
  })

  it('BOUND', () => {
    for (const [value, hit] of [
      [-5, false],
      [10, false],
      [-6, true],
      [11, true],
    ] as const) {
      const m = new Machine()
      m.protect('bound eax, [0x9000]')
      m.handlers()
      m.space.write32(0x9000, -5 >>> 0)
      m.space.write32(0x9004, 10)
      m.cpu.s.setReg32(0, value)
      m.step()
      expect(m.vector).toBe(hit ? 5 : -1)
    }
  })
})

describe('the rest', () => {
  it('CMPXCHG8B writes even when it fails', () => {
    const m = new Machine()
    m.protect('cmpxchg8b [0x9000]\ncmpxchg8b [0x9000]')
    const { s } = m.cpu
    m.space.write32(0x9000, 1)
    m.space.write32(0x9004, 2)
    s.setReg32(3, 0x33)
    s.setReg32(1, 0x44)
    s.setReg32(2, 0)
    m.step()
    expect([s.reg32(0), s.reg32(2), s.flags & 0x40]).toEqual([1, 2, 0])
    m.step()
    expect([m.space.read32(0x9000), m.space.read32(0x9004), s.flags & 0x40]).toEqual([0x33, 0x44, 0x40])
    const n = new Machine()
    n.protect('cmpxchg8b [0x9000]')
    n.handlers()
    n.cpu.s.setSegment(3, SEL_DATA0, 0, 0xffffffff, 0xc091)
    n.cpu.updateMode()
    n.step()
    expect([n.vector, n.stack(0)]).toEqual([13, 0])
  })

  it('CMPXCHG16B wants alignment', () => {
    const m = new Machine()
    m.long('cmpxchg16b [0x9008]')
    m.handler64(13)
    m.step()
    expect(m.stack64(1)).toBe(CODE)
    const n = new Machine()
    n.long('cmpxchg16b [0x9000]')
    n.cpu.s.setReg32(2, 0)
    n.cpu.s.setReg64(3, 0x11, 0x22)
    n.cpu.s.setReg64(1, 0x33, 0x44)
    n.step()
    expect([0, 4, 8, 12].map((o) => n.space.read32(0x9000 + o))).toEqual([0x11, 0x22, 0x33, 0x44])
  })

  it('RDRAND draws from the platform, or reports failure', () => {
    const m = new Machine('x86-64-v2', { random32: () => 0xdeadbeef })
    m.protect('rdrand eax')
    m.step()
    expect([m.cpu.s.reg32(0), m.cpu.s.flags & 0x8d5]).toEqual([0xdeadbeef, 1])
    const n = new Machine()
    n.protect('rdrand eax')
    n.cpu.s.arithmetic = 1
    n.step()
    expect([n.cpu.s.reg32(0), n.cpu.s.flags & 1]).toEqual([0, 0])
  })

  it('HLT, WAIT, INTO', () => {
    const m = new Machine()
    m.protect('hlt')
    m.step()
    expect([m.cpu.halted, m.cpu.s.rip]).toEqual([true, CODE + 1])
    const w = new Machine()
    w.protect('wait')
    w.handlers()
    w.cpu.s.cr0 |= 0xa
    w.cpu.updateMode()
    w.step()
    expect(w.vector).toBe(7)
    const o = new Machine()
    o.protect('into\ninto')
    o.handlers()
    o.step()
    expect(o.vector).toBe(-1)
    o.cpu.s.arithmetic = 0x800
    o.step()
    expect([o.vector, o.stack(0)]).toEqual([4, CODE + 2])
  })

  it('8086: POP CS, and no #UD', () => {
    const m = new Machine('8086')
    m.real('mov ax, 0x800\npush ax\ndb 0x0f')
    m.step(3)
    expect(m.cpu.s.selector(1)).toBe(0x800)
  })
})

describe('pushes of rich instructions', () => {
  it('are seen by data breakpoints and alignment checks', () => {
    for (const source of ['pushf', 'pusha', 'enter 0, 0', 'call 8:0x20000']) {
      const m = new Machine()
      m.protect(source)
      m.handlers()
      m.cpu.s.setDr(0, STACK0 - 4)
      m.cpu.s.setDr(7, 0x401 | (1 << 16) | (3 << 18))
      m.cpu.updateMode()
      m.step(2)
      expect([m.vector, m.cpu.s.dr(6) & 15], source).toEqual([1, 1])
    }
    const n = new Machine()
    n.protect('pushf', 3)
    n.handlers()
    n.cpu.s.cr0 |= 0x40000
    n.cpu.s.flags = 0x40002
    n.cpu.s.setReg32(4, STACK0 + 0x8001)
    n.cpu.updateMode()
    n.step()
    expect([n.vector, n.stack(0), n.stack(1)]).toEqual([17, 0, CODE])
  })
})
