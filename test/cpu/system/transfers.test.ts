import { describe, expect, it } from 'vitest'
import {
  CODE,
  GDT,
  HANDLER,
  Machine,
  SEL_CODE0,
  SEL_CODE3,
  SEL_CODE16,
  SEL_CODE64,
  SEL_CODE64_3,
  SEL_CONFORMING,
  SEL_DATA0,
  SEL_DATA3,
  SEL_TEST,
  SEL_TSS,
  STACK0,
  STACK3,
  TSS,
} from './machine.js'

const RF = 0x10000

/** Expects fault `vector` with `code` for one instruction of 32-bit protected code. */
function faults(source: string, cpl: 0 | 3, prepare: (m: Machine) => void, vector: number, code: number): void {
  const m = new Machine()
  m.protect(source, cpl)
  m.handlers()
  prepare(m)
  m.step()
  expect([m.vector, m.stack(0), m.stack(1)], source).toEqual([vector, code, CODE])
}

describe('far JMP and CALL to code', () => {
  it('loads CS with RPL = CPL and sets the accessed bit', () => {
    const m = new Machine()
    m.protect(`jmp 0x3a:0x12345`, 3)
    m.step()
    expect(m.cpu.s.rip).toBe(0x12345)
    expect(m.cpu.s.selector(1)).toBe(SEL_CONFORMING | 3)
    expect(m.cpu.cpl).toBe(3)
    expect(m.space.read8(GDT + SEL_CONFORMING + 5) & 1).toBe(1)
  })

  it('pushes CS and the next EIP', () => {
    const m = new Machine()
    m.protect(`call 0x8:0x12345`)
    m.step()
    expect([m.stack(0), m.stack(1)]).toEqual([CODE + 7, SEL_CODE0])
  })

  it('faults as the manual lists', () => {
    faults('jmp 0:0x10', 0, () => {}, 13, 0)
    faults('jmp 0xffc:0x10', 0, () => {}, 13, 0xffc)
    faults('jmp 0x1008:0x10', 0, () => {}, 13, 0x1008)
    faults('jmp 0x10:0x10', 0, () => {}, 13, 0x10)
    faults('jmp 0x8:0x10', 3, () => {}, 13, 8)
    faults('jmp 0x1b:0x10', 0, () => {}, 13, 0x18)
    faults('jmp 0x28:0x10000', 0, () => {}, 13, 0)
    faults('jmp 0x80:0', 0, (m) => m.descriptor(SEL_TEST, { type: 10, present: false }), 11, SEL_TEST)
  })

  it('real mode: IP beyond the limit is #GP', () => {
    const m = new Machine()
    m.real('o32 jmp 0x100:0x10000')
    m.space.write32(13 * 4, 0x9000)
    m.step()
    expect(m.cpu.s.rip).toBe(0x9000)
    const n = new Machine()
    n.real('call 0x1234:0x10')
    n.step()
    expect([n.cpu.s.segBase(1), n.cpu.s.rip, n.stack16(0), n.stack16(1)]).toEqual([0x12340, 0x10, 0x7c05, 0])
  })
})

describe('call gates', () => {
  const gateTo = (m: Machine, fields: object): void =>
    m.gate(GDT + SEL_TEST, { type: 12, selector: SEL_CODE0, offset: 0x23456, dpl: 3, ...fields })

  it('to ring 0: new stack, parameters copied in order', () => {
    const m = new Machine()
    m.protect('push dword 11\npush dword 22\npush dword 33\ncall 0x83:0', 3)
    gateTo(m, { paramCount: 2 })
    m.step(4)
    expect(m.cpu.s.rip).toBe(0x23456)
    expect(m.cpu.cpl).toBe(0)
    const frame = [0, 1, 2, 3, 4, 5].map((n) => m.stack(n))
    expect(frame).toEqual([CODE + 13, SEL_CODE3, 33, 22, STACK3 - 12, SEL_DATA3])
    expect(m.cpu.s.reg32(4)).toBe(STACK0 - 24)
  })

  it('RETF n gives both stacks back and drops data segments of ring 0', () => {
    const m = new Machine()
    m.protect('push dword 11\npush dword 22\ncall 0x83:0', 3)
    gateTo(m, { paramCount: 2 })
    m.load('mov ax, 0x10\nmov ds, ax\nretf 8', 32, 0x23456)
    m.step(6)
    expect(m.cpu.cpl).toBe(3)
    expect(m.cpu.s.rip).toBe(CODE + 11)
    expect(m.cpu.s.reg32(4)).toBe(STACK3)
    expect(m.cpu.s.selector(2)).toBe(SEL_DATA3)
    expect(m.cpu.s.selector(3)).toBe(0)
    expect(m.cpu.s.selector(0)).toBe(SEL_DATA3)
  })

  it('16-bit gates push words', () => {
    const m = new Machine()
    m.protect('call 0x83:0', 3)
    gateTo(m, { type: 4, offset: 0x3456, selector: SEL_CODE16 })
    m.step()
    expect(m.cpu.s.rip).toBe(0x3456)
    expect([0, 1, 2, 3].map((n) => m.stack16(n))).toEqual([(CODE + 7) & 0xffff, SEL_CODE3, STACK3 & 0xffff, SEL_DATA3])
  })

  it('checks privilege, presence and target', () => {
    faults('call 0x83:0', 3, (m) => gateTo(m, { dpl: 2 }), 13, SEL_TEST)
    faults('call 0x83:0', 3, (m) => gateTo(m, { present: false }), 11, SEL_TEST)
    faults('call 0x83:0', 3, (m) => gateTo(m, { selector: 0 }), 13, 0)
    faults('call 0x83:0', 3, (m) => gateTo(m, { selector: SEL_DATA0 }), 13, SEL_DATA0)
    faults('jmp 0x83:0', 3, (m) => gateTo(m, {}), 13, SEL_CODE0)
    faults(
      'call 0x83:0',
      3,
      (m) => {
        gateTo(m, {})
        m.space.write16(TSS + 8, 0)
        m.handler(10, { selector: SEL_CONFORMING })
      },
      10,
      0,
    )
  })

  it('64-bit gates push SS:RSP and null SS', () => {
    const m = new Machine()
    m.long('db 0xff, 0x1d\ndd 0\ndd 0\ndw 0x83', 3)
    m.gate(GDT + SEL_TEST, { type: 12, selector: SEL_CODE64, offset: 0x23456, dpl: 3, offsetHigh: 0 }, true)
    m.step()
    expect(m.cpu.s.rip).toBe(0x23456)
    expect([0, 1, 2, 3].map((n) => m.stack64(n))).toEqual([CODE + 6, SEL_CODE64_3, STACK3, SEL_DATA3])
    expect(m.cpu.s.selector(2)).toBe(0)
    expect(m.cpu.cpl).toBe(0)
  })
})

describe('RETF and IRET in protected mode', () => {
  it('IRET to ring 3 restores stack and flags', () => {
    const m = new Machine()
    m.protect(`push dword 0x23\npush dword 0x38000\npush dword 0x3202\npush dword 0x1b\npush dword 0x12345\niret`)
    m.step(6)
    const { s } = m.cpu
    expect([s.rip, s.selector(1), s.selector(2), s.reg32(4), m.cpu.cpl]).toEqual([
      0x12345,
      SEL_CODE3,
      SEL_DATA3,
      0x38000,
      3,
    ])
    expect(s.flags).toBe(0x3202)
    // Ring-0 data segments are gone.
    expect([0, 3, 4, 5].map((n) => s.selector(n))).toEqual([0, 0, 0, 0])
  })

  it('IRET in ring 3 cannot change IF and IOPL', () => {
    const m = new Machine()
    m.protect(`push dword 0x3602\npush dword 0x1b\npush dword 0x12345\niret`, 3)
    m.step(4)
    expect(m.cpu.s.flags & 0x3e00).toBe(0x0400)
  })

  it('IRET to virtual-8086 mode', () => {
    const m = new Machine()
    m.protect(
      [0x55, 0x44, 0x33, 0x22, 0x11, 0xfffe, 0x23202, 0x66, 0x1234]
        .map((v) => `push dword ${v}`)
        .join('\n')
        .concat('\niret'),
    )
    m.step(10)
    const { s } = m.cpu
    expect(s.v86).toBe(true)
    expect(m.cpu.cpl).toBe(3)
    expect([s.rip, s.selector(1), s.selector(2), s.reg32(4)]).toEqual([0x1234, 0x66, 0x11, 0xfffe])
    expect([s.selector(0), s.selector(3), s.selector(4), s.selector(5)]).toEqual([0x22, 0x33, 0x44, 0x55])
    expect(s.segBase(1)).toBe(0x660)
    expect(s.segAttr(1)).toBe(0xf3)
  })

  it('faults by selector', () => {
    const push3 =
      (cs: number) =>
      (m: Machine): void => {
        m.cpu.s.setReg32(4, STACK0 - 12)
        m.space.write32(STACK0 - 12, 0x1000)
        m.space.write32(STACK0 - 8, cs)
        m.space.write32(STACK0 - 4, 2)
        m.space.write32(STACK0, 0x38000)
        m.space.write32(STACK0 + 4, SEL_DATA0)
      }
    for (const source of ['iret', 'retf']) {
      faults(source, 0, push3(0), 13, 0)
      faults(source, 0, push3(SEL_DATA0), 13, SEL_DATA0)
      faults(source, 0, push3(0xfff8), 13, 0xfff8)
      faults(source, 0, push3(SEL_CODE0 | 3), 13, SEL_CODE0)
    }
    faults('iret', 0, push3(SEL_CODE3), 13, SEL_DATA0)
  })

  it('64-bit IRET always pops SS:RSP and takes a null SS below ring 3', () => {
    const m = new Machine()
    m.long(`push 0\npush 0x33000\npush 2\npush ${SEL_CODE64}\npush 0x12345\niretq`)
    m.step(6)
    expect([m.cpu.s.rip, m.cpu.s.regNumber(4), m.cpu.s.selector(2)]).toEqual([0x12345, 0x33000, 0])
    const n = new Machine()
    n.long(`push 0\npush 0x33000\npush 2\npush ${SEL_CODE64_3}\npush 0x12345\niretq`)
    n.handler64(13)
    n.step(6)
    expect(n.cpu.s.rip).toBe(HANDLER + 13 * 16)
    expect(n.stack64(0)).toBe(0)
  })

  it('64-bit IRET to compatibility mode', () => {
    const m = new Machine()
    m.long(`push ${SEL_DATA3}\npush 0x33000\npush 2\npush ${SEL_CODE3}\npush 0x12345\niretq`)
    m.step(6)
    expect([m.cpu.s.rip, m.cpu.s.reg32(4), m.cpu.cpl, m.cpu.s.mode & 3]).toEqual([0x12345, 0x33000, 3, 1])
  })

  it('IRET with NT in long mode is #GP(0)', () => {
    const m = new Machine()
    m.long('iretq')
    m.handler64(13)
    m.cpu.s.flags = 0x4002
    m.step()
    expect(m.stack64(0)).toBe(0)
    expect(m.stack64(3)).toBe(RF | 0x4002)
  })
})

describe('IRET in real and virtual-8086 mode', () => {
  it('real mode restores all of FLAGS, IOPL and NT included', () => {
    const m = new Machine()
    m.real('push word 0x7ed7\npush word 0x100\npush word 0x20\niret')
    m.step(4)
    expect([m.cpu.s.rip, m.cpu.s.selector(1)]).toEqual([0x20, 0x100])
    expect(m.cpu.s.flags).toBe(0x7ed7)
  })

  it('v86 with IOPL 3 keeps IOPL; below, VME maps IF to VIF', () => {
    const m = new Machine()
    m.v86('push word 0x0202\npush word 0x2000\npush word 0x30\niret', 3)
    m.step(4)
    expect([m.cpu.s.rip, m.cpu.s.selector(1), m.cpu.s.flags]).toEqual([0x30, 0x2000, 0x23202])
    const n = new Machine()
    n.v86('push word 0x0202\npush word 0x2000\npush word 0x30\niret', 0, 2)
    n.cpu.s.cr4 = 1
    n.step(4)
    expect([n.cpu.s.rip, n.cpu.s.flags]).toEqual([0x30, 0x20002 | 0x80000])
    const o = new Machine()
    o.v86('iret', 0)
    o.handlers()
    o.step()
    expect([o.vector, o.stack(0)]).toEqual([13, 0])
  })
})

describe('fast system calls', () => {
  it('SYSENTER and SYSEXIT', () => {
    const m = new Machine()
    m.protect('sysenter', 3)
    m.cpu.msr.set(0x174, 8n)
    m.cpu.msr.set(0x175, 0x31000n)
    m.cpu.msr.set(0x176, 0x22222n)
    m.load('sysexit', 32, 0x22222)
    m.cpu.s.flags = 0x202
    m.step()
    const { s } = m.cpu
    expect([s.rip, s.reg32(4), s.selector(1), s.selector(2), m.cpu.cpl, s.flags]).toEqual([
      0x22222, 0x31000, 8, 16, 0, 2,
    ])
    s.setReg32(1, STACK3)
    s.setReg32(2, CODE)
    m.step()
    expect([s.rip, s.reg32(4), s.selector(1), s.selector(2), m.cpu.cpl]).toEqual([CODE, STACK3, 0x1b, 0x23, 3])
    faults('sysenter', 3, () => {}, 13, 0)
    faults('sysexit', 3, (x) => x.cpu.msr.set(0x174, 8n), 13, 0)
  })

  it('SYSCALL and SYSRET', () => {
    const m = new Machine()
    m.long('syscall', 3)
    const { s } = m.cpu
    m.load('o64 sysret', 64, 0x22220)
    m.cpu.msr.set(0xc0000081, 0x0013_0008_0000_0000n)
    m.cpu.msr.set(0xc0000082, 0x22220n)
    m.cpu.msr.set(0xc0000084, 0x300n)
    s.flags = 0x247
    m.step()
    expect([s.rip, s.regNumber(1), s.regNumber(11), s.flags, m.cpu.cpl]).toEqual([0x22220, CODE + 2, 0x247, 0x47, 0])
    expect([s.selector(1), s.selector(2)]).toEqual([8, 16])
    m.step()
    expect([s.rip, s.flags, m.cpu.cpl, s.selector(1), s.selector(2)]).toEqual([CODE + 2, 0x247, 3, 0x23, 0x1b])
    const n = new Machine()
    n.protect('db 0x0f, 0x05', 0)
    n.handlers()
    n.step()
    expect(n.vector).toBe(6)
  })
})

describe('TSS selectors in far transfers', () => {
  it('a busy TSS is #GP', () => {
    faults(`jmp ${SEL_TSS}:0`, 0, () => {}, 13, SEL_TSS)
  })
})
