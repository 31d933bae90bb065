import { describe, expect, it } from 'vitest'
import {
  CODE,
  GDT,
  Machine,
  SEL_CODE0,
  SEL_CONFORMING,
  SEL_DATA0,
  SEL_DATA3,
  SEL_LDT,
  SEL_TEST,
  SEL_TSS,
  SEL_TSS_B,
  STACK0,
  TSS,
} from './machine.js'

function faults(source: string, cpl: 0 | 3, prepare: (m: Machine) => void, vector: number, code?: number): void {
  const m = new Machine()
  m.protect(source, cpl)
  m.handlers()
  prepare(m)
  m.step()
  expect(m.vector, source).toBe(vector)
  if (code === undefined) expect(m.stack(0), source).toBe(CODE)
  else expect([m.stack(0), m.stack(1)], source).toEqual([code, CODE])
}

const ax =
  (value: number) =>
  (m: Machine): void =>
    m.cpu.s.setReg32(0, value)

describe('segment loads', () => {
  it('MOV DS: null, data, accessed bit', () => {
    const m = new Machine()
    m.protect('mov ds, ax\nmov ds, bx')
    m.cpu.s.setReg32(0, SEL_DATA3)
    m.step()
    expect([m.cpu.s.selector(3), m.cpu.s.segAttr(3)]).toEqual([SEL_DATA3, 0xc0f3])
    expect(m.space.read8(GDT + (SEL_DATA3 & ~7) + 5)).toBe(0xf3)
    m.step()
    expect(m.cpu.s.selector(3)).toBe(0)
    faults('mov eax, [0]', 0, (x) => x.cpu.s.setSegment(3, 0, 0, 0, 0x10000), 13, 0)
  })

  it('faults as the manual lists', () => {
    faults('mov ds, ax', 0, ax(0xff8), 13, 0xff8)
    faults('mov ds, ax', 3, ax(SEL_DATA0), 13, SEL_DATA0)
    faults('mov ds, ax', 0, ax(SEL_TSS), 13, SEL_TSS)
    faults(
      'mov ds, ax',
      0,
      (m) => {
        ax(SEL_TEST)(m)
        m.descriptor(SEL_TEST, { type: 8 })
      },
      13,
      SEL_TEST,
    )
    faults(
      'mov ds, ax',
      0,
      (m) => {
        ax(SEL_TEST)(m)
        m.descriptor(SEL_TEST, { type: 2, present: false })
      },
      11,
      SEL_TEST,
    )
    faults('mov ss, ax', 0, ax(0), 13, 0)
    faults('mov ss, ax', 0, ax(SEL_DATA3), 13, SEL_DATA3 & ~3)
    faults('mov ss, ax', 0, ax(SEL_DATA0 | 1), 13, SEL_DATA0)
    faults(
      'mov ss, ax',
      0,
      (m) => {
        ax(SEL_TEST)(m)
        m.descriptor(SEL_TEST, { type: 2, present: false })
      },
      12,
      SEL_TEST,
    )
    faults('db 0x8e, 0xc8', 0, ax(8), 6)
  })

  it('the register of LDS is written only when the segment loads', () => {
    const m = new Machine()
    m.protect('lds ebx, [0x9000]')
    m.handlers()
    m.space.write32(0x9000, 0x11223344)
    m.space.write16(0x9004, 0xff8)
    m.step()
    expect([m.vector, m.stack(0), m.cpu.s.reg32(3)]).toEqual([13, 0xff8, 0])
    const n = new Machine()
    n.protect('les ebx, [0x9000]')
    n.space.write32(0x9000, 0x11223344)
    n.space.write16(0x9004, SEL_DATA3)
    n.step()
    expect([n.cpu.s.selector(0), n.cpu.s.reg32(3)]).toEqual([SEL_DATA3, 0x11223344])
  })

  it('POP SS takes the width of the old stack and shadows interrupts', () => {
    const m = new Machine()
    m.protect('pop ss\nnop\nnop')
    m.handler(0x60)
    m.cpu.s.setReg32(4, STACK0 - 4)
    m.space.write32(STACK0 - 4, SEL_DATA0)
    m.cpu.s.flags = 0x202
    m.step()
    m.interrupt = 0x60
    m.step()
    expect(m.cpu.s.rip).toBe(CODE + 2)
    m.step()
    expect(m.vector).toBe(0x60)
  })

  it('null SS in 64-bit code below ring 3', () => {
    const m = new Machine()
    m.long('mov ss, ax\nmov ss, bx')
    m.cpu.s.setReg32(0, 0)
    m.handler64(13)
    m.cpu.s.setReg32(3, 1)
    m.step()
    expect(m.cpu.s.selector(2)).toBe(0)
    m.step()
    expect(m.stack64(0)).toBe(0)
    expect(m.stack64(1)).toBe(CODE + 2)
  })

  it('real mode keeps a large limit (unreal mode)', () => {
    const m = new Machine()
    m.real('mov ax, 0x1234\nmov ds, ax\nmov eax, [dword 0x20000]')
    m.cpu.s.setSegment(3, 0, 0, 0xffffffff, 0xc093)
    m.space.write32(0x12340 + 0x20000, 0xcafe)
    m.step(3)
    expect(m.cpu.s.reg32(0)).toBe(0xcafe)
  })
})

describe('descriptor-table registers', () => {
  it('LGDT with 16- and 32-bit operands, SGDT', () => {
    const m = new Machine()
    m.protect('o16 lgdt [0x9000]\nlgdt [0x9000]\nsgdt [0x9010]')
    m.space.write16(0x9000, 0x1234)
    m.space.write32(0x9002, 0x89abcdef)
    m.step()
    expect([m.cpu.s.gdtrBase, m.cpu.s.gdtrLimit]).toEqual([0xabcdef, 0x1234])
    m.step(2)
    expect(m.space.read32(0x9012) >>> 0).toBe(0x89abcdef)
    expect(m.space.read16(0x9010)).toBe(0x1234)
    faults('lgdt [0x9000]', 3, () => {}, 13, 0)
    faults(
      'sidt [0x9000]',
      3,
      (x) => {
        x.cpu.s.cr4 = 0x800
      },
      13,
      0,
    )
  })

  it('a non-canonical base is #GP', () => {
    const m = new Machine()
    m.long('lgdt [0x9000]')
    m.handler64(13)
    m.space.write32(0x9002, 0)
    m.space.write32(0x9006, 0x8000)
    m.step()
    expect([m.cpu.s.gdtrBase, m.stack64(1)]).toEqual([GDT, CODE])
  })

  it('LLDT and LTR', () => {
    const m = new Machine()
    m.protect('lldt ax\nltr bx\nsldt ecx\nstr edx')
    m.cpu.s.setReg32(0, SEL_LDT)
    m.cpu.s.setReg32(3, SEL_TSS_B)
    m.step(4)
    const { s } = m.cpu
    expect([s.reg32(1), s.reg32(2), s.segBase(7)]).toEqual([SEL_LDT, SEL_TSS_B, 0x5000])
    expect(m.space.read8(GDT + SEL_TSS_B + 5)).toBe(0x8b)
    faults('ltr ax', 0, ax(0), 13, 0)
    faults('ltr ax', 0, ax(SEL_TSS), 13, SEL_TSS)
    faults('ltr ax', 0, ax(SEL_TSS_B | 4), 13, SEL_TSS_B | 4)
    faults('lldt ax', 0, ax(SEL_DATA0), 13, SEL_DATA0)
    faults('lldt ax', 3, ax(0), 13, 0)
  })

  it('real mode does not recognise SLDT, LAR, ARPL', () => {
    for (const source of [
      'sldt ax',
      'str ax',
      'lar ax, bx',
      'lsl ax, bx',
      'verr ax',
      'arpl ax, bx',
      'lldt ax',
      'ltr ax',
    ]) {
      const m = new Machine()
      m.real(source)
      m.space.write32(6 * 4, 0x9000)
      m.step()
      expect(m.cpu.s.rip, source).toBe(0x9000)
    }
  })
})

describe('questions about descriptors', () => {
  const ask = (source: string, selector: number, cpl: 0 | 3 = 0): [number, number] => {
    const m = new Machine()
    m.protect(source, cpl)
    m.cpu.s.setReg32(3, selector)
    m.step()
    return [m.cpu.s.reg32(0), (m.cpu.s.flags >> 6) & 1]
  }

  it('LAR and LSL', () => {
    expect(ask('lar eax, ebx', SEL_DATA0)).toEqual([0xc09200, 1])
    expect(ask('lsl eax, ebx', SEL_DATA0)).toEqual([0xffffffff, 1])
    expect(ask('lsl eax, ebx', SEL_TSS_B)).toEqual([0x67, 1])
    expect(ask('lar eax, ebx', 0)[1]).toBe(0)
    expect(ask('lar eax, ebx', 0xff8)[1]).toBe(0)
    expect(ask('lar eax, ebx', SEL_DATA0, 3)[1]).toBe(0)
    expect(ask('lar eax, ebx', SEL_CONFORMING | 3, 3)[1]).toBe(1)
  })

  it('VERR and VERW', () => {
    expect(ask('verr bx', SEL_CODE0)[1]).toBe(1)
    expect(ask('verw bx', SEL_CODE0)[1]).toBe(0)
    expect(ask('verw bx', SEL_DATA0)[1]).toBe(1)
    expect(ask('verw bx', SEL_DATA0, 3)[1]).toBe(0)
    expect(ask('verr bx', SEL_TSS)[1]).toBe(0)
  })

  it('ARPL', () => {
    const m = new Machine()
    m.protect('arpl ax, bx\narpl ax, bx')
    m.cpu.s.setReg32(0, 0xffff0010)
    m.cpu.s.setReg32(3, 3)
    m.step()
    expect([m.cpu.s.reg32(0), m.cpu.s.flags & 0x40]).toEqual([0xffff0013, 0x40])
    m.step()
    expect([m.cpu.s.reg32(0), m.cpu.s.flags & 0x40]).toEqual([0xffff0013, 0])
  })

  it('SWAPGS and the base instructions', () => {
    const m = new Machine()
    m.long('swapgs\nwrfsbase rax\nrdgsbase rbx')
    m.cpu.msr.set(0xc0000102, 0xffff_8000_1234_5678n)
    m.cpu.s.cr4 = 0x10020
    m.cpu.s.setReg64(0, 0x1000, 0x7fff)
    m.step(3)
    expect(m.cpu.s.segBase(5)).toBe(-0x8000_0000_0000 + 0x12345678)
    expect([m.cpu.s.reg32(3), m.cpu.s.regHi(3)]).toEqual([0x12345678, -0x8000])
    expect(m.cpu.s.segBase(4)).toBe(0x7fff_0000_1000)
    expect(m.cpu.msr.get(0xc0000102)).toBe(0n)
  })
})

describe('port access', () => {
  it('IOPL and the permission bitmap', () => {
    const m = new Machine()
    m.protect('in al, dx\nout dx, eax', 3)
    m.handlers()
    m.cpu.s.setReg32(2, 0x3f)
    m.space.write16(TSS + 0x66, 0x68)
    for (let n = 0; n < 32; n++) m.space.write8(TSS + 0x68 + n, 0)
    m.space.write8(TSS + 0x68 + 8, 2)
    m.step()
    expect(m.ports).toEqual([{ write: false, port: 0x3f, size: 1, value: 0xff }])
    // Ports 3Fh–42h: bit 1 of byte 8 is port 41h.
    m.step()
    expect([m.vector, m.stack(0)]).toEqual([13, 0])
    expect(m.ports).toHaveLength(1)
    faults('in al, 0x60', 3, (x) => x.cpu.s.setSegment(7, SEL_TSS, TSS, 0x67, 0x8b), 13, 0)
    const n = new Machine()
    n.protect('out 0x20, al', 3)
    n.cpu.s.flags = 0x3002
    n.cpu.s.setReg32(0, 0x1ff)
    n.step()
    expect(n.ports).toEqual([{ write: true, port: 0x20, size: 1, value: 0xff }])
  })

  it('INS checks its destination before it reads the port, and repeats one iteration at a time', () => {
    const m = new Machine()
    m.protect('rep insw')
    m.handlers()
    m.portValue = 0xbeef
    m.cpu.s.setReg32(1, 2)
    m.cpu.s.setReg32(7, 0x9000)
    m.step()
    expect([m.cpu.s.rip, m.cpu.s.reg32(1), m.cpu.s.reg32(7)]).toEqual([CODE, 1, 0x9002])
    m.step()
    expect([m.cpu.s.rip, m.cpu.s.reg32(1), m.space.read32(0x9000) >>> 0]).toEqual([CODE + 3, 0, 0xbeefbeef])
    const n = new Machine()
    n.protect('insb')
    n.handlers()
    n.cpu.s.setSegment(0, SEL_DATA0, 0, 0xfff, 0x4091)
    n.step()
    expect([n.vector, n.ports.length]).toEqual([13, 0])
  })

  it('OUTS takes a segment override', () => {
    const m = new Machine()
    m.protect('fs outsd')
    m.cpu.s.setSegment(4, SEL_DATA0, 0x9000, 0xffff, 0x4093)
    m.space.write32(0x9010, 0x12345678)
    m.cpu.s.setReg32(6, 0x10)
    m.cpu.s.setReg32(2, 0xcf8)
    m.step()
    expect(m.ports).toEqual([{ write: true, port: 0xcf8, size: 4, value: 0x12345678 }])
    expect(m.cpu.s.reg32(6)).toBe(0x14)
  })
})
