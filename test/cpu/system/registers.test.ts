import { describe, expect, it } from 'vitest'
import { type CpuidResult, cpuid } from '../../../src/cpu/cpuid.js'
import { MODEL_NAMES, MODELS } from '../../../src/cpu/index.js'
import { CODE, HANDLER, Machine, PAGES, SEL_CODE64, SEL_DATA0, STACK0 } from './machine.js'

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

const eax =
  (value: number) =>
  (m: Machine): void =>
    m.cpu.s.setReg32(0, value)

describe('control registers', () => {
  it('refuses what the manual forbids', () => {
    faults('mov cr0, eax', 3, eax(1), 13, 0)
    faults('mov cr0, eax', 0, eax(0x80000000), 13, 0)
    faults('mov cr0, eax', 0, eax(0x20000001), 13, 0)
    faults('mov cr4, eax', 0, eax(0x80000000), 13, 0)
    faults('mov cr4, eax', 0, eax(0x20000), 13, 0)
    faults('db 0x0f, 0x22, 0xc8', 0, () => {}, 6)
    faults('db 0x0f, 0x20, 0xe8', 0, () => {}, 6)
    faults('mov eax, cr0', 3, () => {}, 13, 0)
  })

  it('ET stays one, reserved bits vanish', () => {
    const m = new Machine()
    m.protect('mov cr0, eax\nmov ebx, cr0')
    m.cpu.s.setReg32(0, 0x0000ffc1)
    m.step(2)
    expect(m.cpu.s.reg32(3)).toBe(0x11)
  })

  it('activates and leaves long mode', () => {
    const m = new Machine()
    m.protect(`mov eax, 0x20
      mov cr4, eax
      mov eax, ${PAGES}
      mov cr3, eax
      mov ecx, 0xc0000080
      rdmsr
      or eax, 0x100
      wrmsr
      mov eax, cr0
      or eax, 0x80000000
      mov cr0, eax
      jmp 0x40:next
      bits 64
      next: mov r8, 0x123456789abcdef0
      mov rax, cr0`)
    m.space.write32(PAGES, (PAGES + 0x1000) | 7)
    m.space.write32(PAGES + 0x1000, (PAGES + 0x2000) | 7)
    m.space.write32(PAGES + 0x2000, 0x87)
    m.step(11)
    expect(m.cpu.s.efer).toBe(0x500)
    expect(m.cpu.s.mode & 3).toBe(1)
    m.step(2)
    expect([m.cpu.s.selector(1), m.cpu.s.mode & 3]).toEqual([SEL_CODE64, 2])
    expect([m.cpu.s.reg32(8), m.cpu.s.regHi(8)]).toEqual([0x9abcdef0, 0x12345678])
  })

  it('paging cannot be switched off in 64-bit code, PAE not in long mode', () => {
    for (const source of ['mov eax, 0x11\nmov cr0, rax', 'xor eax, eax\nmov cr4, rax', 'mov eax, 0x10\nmov cr8, rax']) {
      const m = new Machine()
      m.long(source)
      m.handler64(13)
      m.step(2)
      expect(m.cpu.s.rip, source).toBe(HANDLER + 13 * 16)
    }
    const n = new Machine()
    n.long('mov eax, 9\nmov cr8, rax\nmov rbx, cr8')
    n.step(3)
    expect(n.cpu.s.regNumber(3)).toBe(9)
  })

  it('bad PAE directory pointers are #GP', () => {
    faults(
      'mov cr0, eax',
      0,
      (m) => {
        eax(0x80000011)(m)
        m.cpu.s.cr4 = 0x20
        m.cpu.s.cr3 = 0x9000
        m.space.write32(0x9000, 0x7)
      },
      13,
      0,
    )
  })

  it('LMSW sets but does not clear PE; SMSW reads it', () => {
    const m = new Machine()
    m.protect('lmsw ax\nsmsw ebx')
    m.cpu.s.setReg32(0, 8)
    m.step(2)
    expect(m.cpu.s.reg32(3) & 0xf).toBe(9)
    faults(
      'smsw eax',
      3,
      (x) => {
        x.cpu.s.cr4 = 0x800
      },
      13,
      0,
    )
  })

  it('the 80286 shows ones in the upper MSW and has no CR0', () => {
    const m = new Machine('80286')
    m.real('smsw ax')
    m.step()
    expect(m.cpu.s.reg16(0)).toBe(0xfff0)
  })
})

describe('debug registers', () => {
  it('fixed bits and aliases', () => {
    const m = new Machine()
    m.protect('mov dr6, eax\nmov dr7, ebx\nmov ecx, dr4\nmov edx, dr5')
    m.cpu.s.setReg32(0, 0xffffffff)
    m.cpu.s.setReg32(3, 0xffffdf00)
    m.step(4)
    expect(m.cpu.s.reg32(1)).toBe(0xffffefff)
    expect(m.cpu.s.reg32(2)).toBe(0xffff0700)
    faults(
      'mov eax, dr4',
      0,
      (x) => {
        x.cpu.s.cr4 = 8
      },
      6,
    )
    faults('mov eax, dr0', 3, () => {}, 13, 0)
  })

  it('general detect', () => {
    const m = new Machine()
    m.protect('mov eax, dr0')
    m.handlers()
    m.cpu.s.setDr(7, 0x2400)
    m.step()
    expect([m.vector, m.stack(0), m.cpu.s.dr(7)]).toEqual([1, CODE, 0x400])
    expect(m.cpu.s.dr(6) & 0x2000).toBe(0x2000)
  })

  it('instruction breakpoint: before the instruction, RF not saved; RF skips it', () => {
    const m = new Machine()
    m.protect('nop\nnop\nnop')
    m.handlers()
    m.cpu.s.setDr(0, CODE + 1)
    m.cpu.s.setDr(7, 0x401)
    m.cpu.updateMode()
    m.step(2)
    expect([m.vector, m.stack(0), m.cpu.s.dr(6) & 0xf]).toEqual([1, CODE + 1, 1])
    expect(m.stack(2) & 0x10000).toBe(0)
    const n = new Machine()
    n.protect('nop\nnop')
    n.handlers()
    n.cpu.s.setDr(0, CODE)
    n.cpu.s.setDr(7, 0x401)
    n.cpu.s.flags = 0x10002
    n.cpu.updateMode()
    n.step()
    expect([n.cpu.s.rip, n.cpu.s.flags & 0x10000]).toEqual([CODE + 1, 0])
  })

  it('data breakpoints trap after the access; lengths align', () => {
    for (const [rw, len, source, hit] of [
      [1, 3, 'mov [0x9002], al', true],
      [1, 3, 'mov al, [0x9002]', false],
      [3, 3, 'mov al, [0x9002]', true],
      [1, 0, 'mov [0x8ffe], eax', true],
      [1, 1, 'mov [0x9002], al', false],
    ] as const) {
      const m = new Machine()
      m.protect(source)
      m.handlers()
      m.cpu.s.setDr(1, 0x9000)
      m.cpu.s.setDr(7, 0x408 | (rw << 20) | (len << 22))
      m.cpu.updateMode()
      m.step(2)
      expect(m.vector === 1 && (m.cpu.s.dr(6) & 15) === 2, source).toBe(hit)
    }
  })

  it('I/O breakpoints need CR4.DE', () => {
    for (const de of [0, 8]) {
      const m = new Machine()
      m.protect('out 0x80, al\nnop')
      m.handlers()
      m.cpu.s.cr4 = de
      m.cpu.s.setDr(0, 0x80)
      m.cpu.s.setDr(7, 0x401 | (2 << 16))
      m.cpu.updateMode()
      m.step(2)
      expect(m.vector === 1).toBe(de !== 0)
    }
  })

  it('single step', () => {
    const m = new Machine()
    m.protect('push dword 0x102\npopf\nnop\nnop')
    m.handlers()
    m.step(4)
    expect([m.vector, m.stack(0)]).toEqual([1, CODE + 7])
    expect(m.cpu.s.dr(6) & 0x4000).toBe(0x4000)
    expect(m.stack(2) & 0x100).toBe(0x100)
  })
})

describe('MSRs', () => {
  it('unknown ones and bad values are #GP', () => {
    const wrmsr =
      (index: number, lo: number, hi: number) =>
      (m: Machine): void => {
        m.cpu.s.setReg32(1, index)
        m.cpu.s.setReg32(0, lo)
        m.cpu.s.setReg32(2, hi)
      }
    faults('rdmsr', 0, wrmsr(0x12345, 0, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0x12345, 0, 0), 13, 0)
    faults('rdmsr', 3, wrmsr(0x10, 0, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0xc0000080, 0x2, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0xc0000082, 0, 0x8000), 13, 0)
    faults('wrmsr', 0, wrmsr(0x277, 2, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0x2ff, 0x1000, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0xfe, 0, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0x200, 2, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0x201, 0x800, 0x100), 13, 0)
    // SPEC_CTRL: SSBD is not enumerated; PRED_CMD: write-only, IBPB alone.
    faults('wrmsr', 0, wrmsr(0x48, 4, 0), 13, 0)
    faults('rdmsr', 0, wrmsr(0x49, 0, 0), 13, 0)
    faults('wrmsr', 0, wrmsr(0x49, 2, 0), 13, 0)
  })

  it('speculation control is there, with nothing to control', () => {
    const m = new Machine()
    m.protect('wrmsr\nrdmsr\nmov ecx, 0x49\nmov eax, 1\nwrmsr\nmov ecx, 0x10a\nrdmsr\nmov esi, eax\nmov edi, edx')
    m.cpu.s.setReg32(1, 0x48)
    m.cpu.s.setReg32(0, 0x403)
    m.cpu.s.setReg32(2, 0)
    m.step(2)
    expect([m.cpu.s.reg32(0), m.cpu.s.reg32(2)]).toEqual([0x403, 0])
    m.step(7)
    // RDCL_NO, IBRS_ALL, BHI_NO, PBRSB_NO; ITS_NO.
    expect(m.cpu.s.reg32(6) & 0x0110_0003).toBe(0x0110_0003)
    expect(m.cpu.s.reg32(7)).toBe(1 << 30)
    const out = { eax: 0, ebx: 0, ecx: 0, edx: 0 }
    cpuid(MODELS['x86-64-v2'], 7, 0, 0, false, out)
    expect([out.eax, (out.edx >>> 26) & 3]).toEqual([2, 3])
    cpuid(MODELS['x86-64-v2'], 7, 2, 0, false, out)
    expect(out.edx).toBe(1 << 4)
  })

  it('the TSC counts instructions and can be written', () => {
    const m = new Machine()
    m.protect('wrmsr\nnop\nrdtsc')
    m.cpu.s.setReg32(1, 0x10)
    m.cpu.s.setReg32(0, 1000)
    m.cpu.s.setReg32(2, 7)
    m.step(3)
    expect([m.cpu.s.reg32(0), m.cpu.s.reg32(2)]).toEqual([1002, 7])
    faults(
      'rdtsc',
      3,
      (x) => {
        x.cpu.s.cr4 = 4
      },
      13,
      0,
    )
  })

  it('FS.base lives in the segment', () => {
    const m = new Machine()
    m.long('wrmsr\nmov rax, [fs:0]')
    m.cpu.s.setReg32(1, 0xc0000100)
    m.cpu.s.setReg32(0, 0x9000)
    m.cpu.s.setReg32(2, 0)
    m.space.write32(0x9000, 77)
    m.step(2)
    expect(m.cpu.s.regNumber(0)).toBe(77)
  })
})

describe('CPUID and models', () => {
  const out: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 }
  it('identifies itself honestly', () => {
    const m = new Machine()
    m.protect('cpuid')
    m.step()
    const name = [3, 2, 1].map((r) => m.cpu.s.reg32(r))
    expect(name).toEqual([0x756e6547, 0x49656e69, 0x6c65746e])
    let brand = ''
    for (let leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
      cpuid(MODELS['x86-64-v2'], leaf, 0, 0, true, out)
      for (const word of [out.eax, out.ebx, out.ecx, out.edx]) {
        for (let n = 0; n < 4; n++) brand += String.fromCharCode((word >>> (n * 8)) & 0xff)
      }
    }
    expect(brand.replaceAll('\0', '')).toBe('virtkit x86-64-v2 virtual CPU')
  })

  it('claims the units of each generation', () => {
    const claimed = (name: (typeof MODEL_NAMES)[number]): readonly number[] => {
      cpuid(MODELS[name], 1, 0, 0, false, out)
      // EDX: SSE2 SSE FXSR MMX FPU. ECX: XSAVE AES SSE4.2 SSE4.1 SSSE3 PCLMULQDQ SSE3.
      return [out.edx & 0x0780_0001, out.ecx & 0x0618_0203]
    }
    expect(claimed('80486')).toEqual([1, 0])
    expect(claimed('pentium')).toEqual([1, 0])
    expect(claimed('core2')).toEqual([0x0780_0001, 0x0000_0201])
    expect(claimed('x86-64-v2')).toEqual([0x0780_0001, 0x0618_0203])
  })

  it('family, model, stepping', () => {
    cpuid(MODELS['x86-64-v2'], 1, 0, 0, false, out)
    expect(out.eax).toBe(0x106a3)
    cpuid(MODELS.pentium, 1, 0, 0, false, out)
    expect([out.eax, out.edx]).toEqual([0x52c, 0x1bf])
    cpuid(MODELS.pentium, 7, 0, 0, false, out)
    expect(out.eax).toBe(0x52c)
  })

  it('gates instructions by generation', () => {
    const first = (bytes: string): string | undefined =>
      MODEL_NAMES.find((name) => {
        const m = Machine.reuse(name)
        m.real(`db ${bytes}`)
        for (let v = 0; v < 32; v++) m.space.write32(v * 4, 0x9000 + v)
        m.step()
        // The 8086 has no #UD: what it does not know does nothing, so it is left out of the question.
        return name !== '8086' && m.cpu.s.rip !== 0x9006
      })
    expect(first('0x60')).toBe('80286') // pusha
    expect(first('0x0f, 0xb6, 0xc0')).toBe('80386') // movzx
    expect(first('0x66, 0x0f, 0xc8')).toBe('80486') // bswap
    expect(first('0x0f, 0x31')).toBe('pentium') // rdtsc
    expect(first('0x0f, 0x44, 0xc0')).toBe('core2') // cmov
    expect(first('0xf3, 0x0f, 0xb8, 0xc0')).toBe('x86-64-v2') // popcnt
    expect(first('0x0f, 0xa7, 0xc0')).toBe(undefined)
  })

  it('reads newer encodings of old opcodes as the old ones', () => {
    const m = new Machine()
    // pause, endbr64, prefetchnta [0], tzcnt ecx, eax (BSF here, which leaves ecx alone for 0)
    m.protect('db 0xf3, 0x90, 0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x18, 0x05, 0, 0, 0, 0, 0xf3, 0x0f, 0xbc, 0xc8')
    m.handlers()
    m.cpu.s.setReg32(0, 0)
    m.cpu.s.setReg32(1, 77)
    m.step(4)
    expect([m.cpu.s.rip, m.cpu.s.reg32(1)]).toEqual([CODE + 17, 77])
  })

  it('flags that each generation lets toggle', () => {
    for (const [name, expected] of [
      ['80386', 0x7002],
      ['80486', 0x247002],
      ['pentium', 0x247002],
    ] as const) {
      const m = new Machine(name)
      m.real('push dword 0x247002\npopfd\npushfd\npop eax')
      m.step(4)
      expect(m.cpu.s.reg32(0), name).toBe(expected)
    }
    const i286 = new Machine('80286')
    i286.real('push word 0xffff\npopf\npushf\npop ax')
    i286.cpu.s.flags = 2
    i286.step(2)
    expect(i286.cpu.s.flags & 0xf000).toBe(0)
    const i86 = new Machine('8086')
    i86.real('mov ax, 0\npush ax\npopf\npushf\npop ax')
    i86.step(5)
    expect(i86.cpu.s.reg16(0)).toBe(0xf002)
  })

  it('reset state', () => {
    const m = new Machine()
    m.cpu.reset()
    const { s } = m.cpu
    expect([s.selector(1), s.segBase(1), s.rip, s.cr0 >>> 0, s.reg32(2), s.flags]).toEqual([
      0xf000, 0xffff0000, 0xfff0, 0x60000010, 0x106a3, 2,
    ])
    expect([s.dr(6), s.dr(7)]).toEqual([0xffff0ff0, 0x400])
    const old = new Machine('8086').cpu.s
    expect([old.selector(1), old.segBase(1), old.rip]).toEqual([0xffff, 0xffff0, 0])
  })
})

describe('virtual interrupt flag', () => {
  it('CLI and STI in virtual-8086 mode', () => {
    const m = new Machine()
    m.v86('sti\ncli', 0)
    m.cpu.s.cr4 = 1
    m.step()
    expect(m.cpu.s.flags & 0x80200).toBe(0x80200)
    m.step()
    expect(m.cpu.s.flags & 0x80200).toBe(0x200)
    const n = new Machine()
    n.v86('sti', 0, 0x100202)
    n.handlers()
    n.cpu.s.cr4 = 1
    n.step()
    expect(n.vector).toBe(13)
    const o = new Machine()
    o.v86('cli', 0)
    o.handlers()
    o.step()
    expect(o.vector).toBe(13)
  })

  it('PUSHF and POPF in virtual-8086 mode', () => {
    const m = new Machine()
    m.v86('pushf\npop ax\npush word 0x0002\npopf', 0, 0x80002)
    m.cpu.s.cr4 = 1
    m.step(2)
    expect(m.cpu.s.reg16(0)).toBe(0x3202)
    m.step(2)
    expect(m.cpu.s.flags & 0x80000).toBe(0)
    const n = new Machine()
    n.v86('pushfd', 0)
    n.handlers()
    n.cpu.s.cr4 = 1
    n.step()
    expect(n.vector).toBe(13)
  })

  it('PVI in ring 3 of protected mode', () => {
    const m = new Machine()
    m.protect('sti\ncli', 3)
    m.cpu.s.cr4 = 2
    m.step()
    expect(m.cpu.s.flags & 0x80200).toBe(0x80000)
    m.step()
    expect(m.cpu.s.flags & 0x80200).toBe(0)
    faults('cli', 3, () => {}, 13, 0)
    faults(
      'popf',
      3,
      (x) => {
        x.cpu.s.setReg32(4, 0xfffffffe)
        x.cpu.s.setSegment(2, SEL_DATA0, 0, 0xffff, 0x4093)
      },
      12,
      0,
    )
  })

  it('STI opens interrupts one instruction later', () => {
    const m = new Machine()
    m.protect('sti\nnop\nnop')
    m.handler(0x60)
    m.interrupt = 0x60
    m.step(2)
    expect(m.cpu.s.rip).toBe(CODE + 2)
    m.step()
    expect(m.vector).toBe(0x60)
    expect(m.stack(0)).toBe(CODE + 2)
    expect(m.cpu.s.reg32(4)).toBe(STACK0 - 12)
  })
})
