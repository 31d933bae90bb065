/**
 * Where the generations differ in documented ways, and the code by which real software tells them apart. Expectations: 8086 Family User's Manual;
 * 80286 and 80386 Programmer's Reference Manuals; Intel SDM Vol. 3B, "Architecture Compatibility"; Intel AP-485.
 */
import { describe, expect, test } from 'vitest'
import { MODEL_NAMES, MODELS, type ModelName } from '../../src/cpu/index.js'
import { assemble } from '../../src/isa/index.js'
import { Machine } from './system/machine.js'

const HANDLERS = 0x5000
const at = (name: ModelName): number => MODEL_NAMES.indexOf(name)
const since =
  (first: ModelName): ((name: ModelName) => boolean) =>
  (name) =>
    at(name) >= at(first)

/** A machine in real mode with every vector pointing to HANDLERS + 16 * vector. */
function real(model: ModelName, source: string): Machine {
  const m = Machine.reuse(model)
  m.real(source)
  for (let vector = 0; vector < 32; vector++) m.space.write32(vector * 4, HANDLERS + vector * 16)
  return m
}

/** Vector whose handler was entered, or -1. */
function entered(m: Machine): number {
  const place = m.cpu.s.rip - HANDLERS
  return m.cpu.s.selector(1) === 0 && place >= 0 && place < 512 ? place / 16 : -1
}

/** Runs one instruction; the vector it raised, or -1. */
function one(model: ModelName, source: string): number {
  const m = real(model, source)
  m.step()
  return entered(m)
}

/** The sequence that Intel's application note AP-485 describes, written anew: leaves 0, 2, 3, 4 or 5 (has CPUID) in BX. */
const IDENTIFY = `
  xor bx, bx
  pushf
  pop ax
  and ax, 0x0fff
  push ax
  popf
  pushf
  pop ax
  and ax, 0xf000
  cmp ax, 0xf000
  je .found            ; bits 12-15 stuck at one
  mov bl, 2
  pushf
  pop ax
  or ax, 0xf000
  push ax
  popf
  pushf
  pop ax
  and ax, 0xf000
  jz .found            ; stuck at zero in real mode
  mov bl, 3
  pushfd
  pop eax
  mov ecx, eax
  xor eax, 1 << 18     ; AC
  push eax
  popfd
  pushfd
  pop eax
  cmp eax, ecx
  je .found
  push ecx
  popfd
  mov bl, 4
  mov eax, ecx
  xor eax, 1 << 21     ; ID
  push eax
  popfd
  pushfd
  pop eax
  cmp eax, ecx
  je .found
  mov bl, 5
  xor eax, eax
  cpuid
.found:
  jmp $
`

describe('telling processors apart', () => {
  test.each(MODEL_NAMES)('by the flags: %s', (name) => {
    const m = real(name, IDENTIFY)
    m.step(80)
    const expected = { '8086': 0, '80286': 2, '80386': 3 }[name as '8086'] ?? 5
    if (expected < 5) expect(m.cpu.s.reg16(3)).toBe(expected)
    else {
      // CPUID put the vendor's first letters into EBX.
      expect(m.cpu.s.reg32(3)).toBe(0x756e6547)
      expect(m.cpu.s.reg32(2)).toBe(0x49656e69)
      expect(m.cpu.s.reg32(1)).toBe(0x6c65746e)
    }
  })

  test.each(MODEL_NAMES)('by PUSH SP: %s', (name) => {
    const m = real(name, 'push sp\npop ax')
    m.step(2)
    expect(m.cpu.s.reg16(0)).toBe(name === '8086' ? 0x6ffe : 0x7000)
  })

  test.each(MODEL_NAMES)('by the shift count: %s', (name) => {
    // 33 is 1 where five bits count.
    const m = real(name, 'mov ax, 1\nmov cl, 33\nshl ax, cl\nmov dx, 0x8001\nmov cl, 32\nshr dx, cl')
    m.step(3)
    expect(m.cpu.s.reg16(0)).toBe(name === '8086' ? 0 : 2)
    m.step(3)
    expect(m.cpu.s.reg16(2)).toBe(name === '8086' ? 0 : 0x8001)
  })

  test('CPUID leaf 1 and DX after reset carry the signature', () => {
    for (const name of MODEL_NAMES.filter(since('80486'))) {
      const m = real(name, 'mov eax, 1\ncpuid')
      m.step(2)
      const signature = m.cpu.s.reg32(0)
      const fresh = new Machine(name)
      expect(fresh.cpu.s.reg32(2)).toBe(signature)
      expect((signature >> 8) & 15).toBe(MODELS[name].family)
    }
    expect(new Machine('80386').cpu.s.reg32(2)).toBe(0x308)
  })
})

describe('reset', () => {
  test('where execution starts', () => {
    const start = (name: ModelName): [number, number] => {
      const { s } = new Machine(name).cpu
      return [s.selector(1), s.segBase(1) + s.rip]
    }
    expect(start('8086')).toEqual([0xffff, 0xffff0])
    expect(start('80286')).toEqual([0xf000, 0xfffff0])
    for (const name of MODEL_NAMES.filter(since('80386'))) expect(start(name)).toEqual([0xf000, 0xfffffff0])
  })

  test('the machine status word of a 80286', () => {
    const m = real('80286', 'smsw ax\nmov ax, 1\nlmsw ax\nmov ax, 0\nlmsw ax\nsmsw ax')
    m.step()
    expect(m.cpu.s.reg16(0)).toBe(0xfff0)
    m.step(5)
    expect(m.cpu.s.reg16(0)).toBe(0xfff1)
  })
})

describe('addresses', () => {
  test.each(MODEL_NAMES)('FFFF:0010 is 0 on the 8086, 100000h later: %s', (name) => {
    const m = real(name, 'mov ax, 0xffff\nmov ds, ax\nmov bl, [0x10]')
    m.space.write8(0, 0x11)
    m.space.write8(0x100000, 0x22)
    m.step(3)
    expect(m.cpu.s.reg32(3) & 0xff).toBe(name === '8086' ? 0x11 : 0x22)
  })

  test('the 80286 has 24 address lines', () => {
    const m = new Machine('80286')
    m.real('mov bl, [0x7f0]')
    m.space.write8(0x7e0, 0x33)
    m.cpu.s.setSegment(3, 0x1234, 0xfffff0, 0xffff, 0x93)
    m.step()
    expect(m.cpu.s.reg32(3) & 0xff).toBe(0x33)
  })

  test.each(MODEL_NAMES)('with A20 closed every model wraps: %s', (name) => {
    const m = real(name, 'mov ax, 0xffff\nmov ds, ax\nmov bl, [0x10]')
    m.space.write8(0, 0x11)
    m.space.write8(0x100000, 0x22)
    m.space.a20 = false
    m.step(3)
    m.space.a20 = true
    expect(m.cpu.s.reg32(3) & 0xff).toBe(0x11)
  })

  test.each(MODEL_NAMES)('a word at FFFFh wraps on the 8086, else #GP: %s', (name) => {
    const m = real(name, 'mov si, 0xffff\nmov bx, [si]')
    m.space.write8(0xffff, 0x34)
    m.space.write8(0, 0x12)
    m.step(2)
    if (name === '8086') expect(m.cpu.s.reg16(3)).toBe(0x1234)
    else expect(entered(m)).toBe(13)
  })

  test.each(MODEL_NAMES)(
    'a push with SP = 1 wraps on the 8086; else #SS, with no room for that shutdown: %s',
    (name) => {
      const m = real(name, 'mov sp, 1\npush ax')
      m.step(3)
      if (name === '8086') expect(m.cpu.s.reg16(4)).toBe(0xffff)
      else expect(m.cpu.shutdown).toBe(true)
    },
  )
})

describe('exceptions', () => {
  test.each(MODEL_NAMES)('the divide error saves the next instruction on the 8086, else the DIV: %s', (name) => {
    const m = real(name, 'xor cx, cx\ndiv cx\nnop')
    m.step(2)
    expect(entered(m)).toBe(0)
    expect(m.stack16(0)).toBe(name === '8086' ? 0x7c04 : 0x7c02)
  })

  test('the most negative quotient: #DE on the 8086, a result later', () => {
    for (const name of MODEL_NAMES) {
      const m = real(name, 'mov ax, 0xff80\nmov cl, 1\nidiv cl')
      m.step(3)
      if (name !== '8086') expect([name, m.cpu.s.reg16(0)]).toEqual([name, 0x0080])
    }
  })

  test('an instruction may have 10 bytes on the 80286, 15 from the 80386 on', () => {
    const padded = (n: number): string => `times ${n - 1} db 0x2e\nnop`
    expect(one('80286', padded(10))).toBe(-1)
    expect(one('80286', padded(11))).toBe(13)
    for (const name of MODEL_NAMES.filter(since('80386'))) {
      expect(one(name, padded(15))).toBe(-1)
      expect(one(name, padded(16))).toBe(13)
    }
  })

  test('the 8086 has no invalid opcode: it goes on, the others raise #UD', () => {
    for (const name of MODEL_NAMES) {
      const m = real(name, 'db 0xfe, 0xf8\nnop')
      m.step()
      expect([name, entered(m)]).toEqual([name, name === '8086' ? -1 : 6])
      if (name === '8086') expect(m.cpu.s.rip).toBe(0x7c02)
    }
  })
})

describe('the flags register', () => {
  test.each(MODEL_NAMES)('which bits POPF can set in real mode: %s', (name) => {
    const m = real(name, 'mov ax, 0xfeff\npush ax\npopf\npushf\npop ax\nxor bx, bx\npush bx\npopf\npushf\npop bx')
    m.cpu.run(5)
    const ones = { '8086': 0xfed7, '80286': 0x0ed7 }[name as '8086'] ?? 0x7ed7
    expect(m.cpu.s.reg16(0)).toBe(ones)
    m.cpu.run(5)
    expect(m.cpu.s.reg16(3)).toBe(name === '8086' ? 0xf002 : 0x0002)
  })
})

describe('opcodes that only the 8086 has', () => {
  test('POP CS', () => {
    const m = real('8086', 'mov ax, 0x20\npush ax\ndb 0x0f')
    m.step(3)
    expect(m.cpu.s.selector(1)).toBe(0x20)
    expect(m.cpu.s.segBase(1)).toBe(0x200)
  })

  test('MOV CS', () => {
    const m = real('8086', 'mov ax, 0x30\ndb 0x8e, 0xc8')
    m.step(2)
    expect(m.cpu.s.selector(1)).toBe(0x30)
    for (const name of MODEL_NAMES.filter(since('80286'))) expect(one(name, 'db 0x8e, 0xc8')).toBe(6)
  })

  test('60h–6Fh are 70h–7Fh', () => {
    const m = real('8086', 'stc\ndb 0x62, 0x10')
    m.step(2)
    expect(m.cpu.s.rip).toBe(0x7c13)
  })

  test('C0h, C1h, C8h, C9h are RET and RETF', () => {
    const m = real('8086', 'mov ax, 0x1234\npush ax\ndb 0xc1')
    m.step(3)
    expect(m.cpu.s.rip).toBe(0x1234)
  })
})

/** First model of an instruction, by its manual. `bytes` in 16-bit code; BX points at RAM, other registers are 0. */
const FIRST: readonly (readonly [string, ModelName | 'none'])[] = [
  ['add ax, bx', '8086'],
  ['pusha', '80286'],
  ['push 5', '80286'],
  ['imul ax, bx, 3', '80286'],
  ['shl ax, 3', '80286'],
  ['enter 4, 0', '80286'],
  ['bound ax, [bx]', '80286'],
  ['smsw ax', '80286'],
  ['clts', '80286'],
  ['sgdt [bx]', '80286'],
  ['movzx ax, bl', '80386'],
  ['bt ax, 1', '80386'],
  ['setc al', '80386'],
  ['shld ax, bx, 1', '80386'],
  ['bsf ax, bx', '80386'],
  ['mov eax, ebx', '80386'],
  ['mov al, [fs:bx]', '80386'],
  ['mov al, [ebx]', '80386'],
  ['mov eax, cr0', '80386'],
  ['push gs', '80386'],
  ['lss ax, [bx]', '80386'],
  ['jc near $', '80386'],
  ['bswap eax', '80486'],
  ['xadd ax, bx', '80486'],
  ['cmpxchg ax, bx', '80486'],
  ['invlpg [bx]', '80486'],
  ['wbinvd', '80486'],
  ['cpuid', '80486'],
  ['rdtsc', 'pentium'],
  ['cmpxchg8b [bx]', 'pentium'],
  ['mov eax, cr4', 'pentium'],
  ['cmovc ax, bx', 'core2'],
  ['nop word [bx]', 'core2'],
  ['ud2', 'none'],
  ['clflush [bx]', 'core2'],
  ['popcnt ax, bx', 'x86-64-v2'],
  ['rdrand ax', 'x86-64-v2'],
  ['rdtscp', 'x86-64-v2'],
  ['movnti [bx], eax', 'core2'],
  ['mfence', 'core2'],
  ['movbe ax, [bx]', 'x86-64-v2'],
  ['crc32 eax, bl', 'x86-64-v2'],
  // Needs CR4.PKE; what no model has.
  ['rdpkru', 'none'],
  ['vmcall', 'none'],
]

describe('feature gating', () => {
  test.each(FIRST)('%s: first on %s', (text, first) => {
    const { bytes } = assemble(text, { bits: 16, org: 0x7c00 })
    for (const name of MODEL_NAMES.filter(since('80286'))) {
      const m = real(name, `db ${[...bytes].join(',')}`)
      m.cpu.s.setReg32(3, 0x600)
      m.space.write16(0x600, 0)
      m.space.write16(0x602, 10)
      m.step()
      const has = first !== 'none' && at(name) >= at(first)
      expect([name, entered(m)]).toEqual([name, has ? -1 : 6])
    }
  })

  test('MSRs begin with the Pentium', () => {
    for (const name of MODEL_NAMES.filter(since('80286'))) {
      const m = real(name, 'mov cx, 0x10\ndb 0x0f, 0x32')
      m.step(2)
      expect([name, entered(m)]).toEqual([name, since('pentium')(name) ? -1 : 6])
    }
  })

  test('PAUSE is a NOP everywhere', () => {
    for (const name of MODEL_NAMES) expect([name, one(name, 'db 0xf3, 0x90')]).toEqual([name, -1])
  })

  test('test registers end with the 80486', () => {
    for (const name of MODEL_NAMES.filter(since('80386'))) {
      expect([name, one(name, 'db 0x0f, 0x24, 0xf0')]).toEqual([name, since('pentium')(name) ? 6 : -1])
    }
  })

  test('LOCK before an instruction that does not write is #UD from the 80386 on', () => {
    for (const name of MODEL_NAMES) {
      expect([name, one(name, 'db 0xf0, 0x90')]).toEqual([name, since('80386')(name) ? 6 : -1])
    }
  })
})

describe('protection keys', () => {
  test('RDPKRU and WRPKRU need CR4.PKE, ECX = 0 and EDX = 0', () => {
    const run = (cr4: number, source: string, steps = 1): [number, number] => {
      const m = new Machine()
      m.long(source)
      for (const vector of [6, 13]) m.handler64(vector)
      m.cpu.s.cr4 |= cr4
      m.cpu.mem.configurePaging()
      m.cpu.s.setReg32(0, 0x1234)
      m.cpu.s.setReg32(2, 0)
      m.step(steps)
      return [m.vector, m.cpu.s.pkru]
    }
    const PKE = 0x400000
    expect(run(0, 'rdpkru')).toEqual([6, 0])
    expect(run(0, 'wrpkru')).toEqual([6, 0])
    expect(run(PKE, 'wrpkru')).toEqual([-1, 0x1234])
    expect(run(PKE, 'mov ecx, 1\nwrpkru', 2)).toEqual([13, 0])
    expect(run(PKE, 'mov ecx, 1\nrdpkru', 2)).toEqual([13, 0])
    expect(run(PKE, 'mov edx, 1\nwrpkru', 2)).toEqual([13, 0])
  })
})
