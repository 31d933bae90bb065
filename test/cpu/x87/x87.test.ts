import { describe, expect, it } from 'vitest'
import { MODELS } from '../../../src/cpu/index.js'
import { OFF_FCW, OFF_FDP, OFF_FIP, OFF_FOP, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87 } from '../../../src/cpu/layout.js'
import { CODE, Machine } from '../system/machine.js'

const DATA = 0x50000

/** A flat 32-bit program that starts with FNINIT; steps through all of it. */
function run(source: string, prepare?: (m: Machine) => void, model: 'x86-64-v2' | 'pentium' = 'x86-64-v2'): Machine {
  const m = new Machine(model)
  m.protect(`fninit\n${source}`)
  m.handlers()
  m.cpu.s.cr0 |= 0x20
  m.cpu.updateMode()
  prepare?.(m)
  const lines = source.split('\n').filter((line) => line.trim() !== '').length
  for (let n = 0; n <= lines && m.vector < 0; n++) m.step()
  return m
}

function status(m: Machine): number {
  const { s } = m.cpu
  return (s.get32(OFF_FSW) & 0xffff) | (s.u8[s.base + OFF_TOP]! << 11)
}

/** ST(i) in hexadecimal. */
function st(m: Machine, i: number): string {
  const { s } = m.cpu
  const at = OFF_X87 + ((s.u8[s.base + OFF_TOP]! + i) & 7) * 16
  const sexp = s.get32(at + 8) & 0xffff
  return `${sexp.toString(16).padStart(4, '0')}:${s.getBig(at).toString(16).padStart(16, '0')}`
}

const INDEFINITE = 'ffff:c000000000000000'

describe('state', () => {
  it('is as the manual has it after power-on and after FNINIT', () => {
    const m = new Machine()
    const { s } = m.cpu
    expect([s.get32(OFF_FCW), s.get32(OFF_FSW), s.get32(OFF_FTAG)]).toEqual([0x40, 0, 0xff])
    const n = run('')
    expect([n.cpu.s.get32(OFF_FCW), n.cpu.s.get32(OFF_FSW), n.cpu.s.get32(OFF_FTAG)]).toEqual([0x37f, 0, 0])
  })

  it('a probe for a coprocessor finds one', () => {
    const m = run(`mov word [${DATA}], 5a5ah\nfnstsw [${DATA}]\nfnstcw [${DATA + 2}]`)
    expect(m.space.read32(DATA)).toBe(0x037f0000)
  })

  it('rounds constants by the rounding control', () => {
    // Intel SDM Vol. 2, "FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ".
    for (const [rounding, expected] of [
      [0, '4000:c90fdaa22168c235'],
      [1, '4000:c90fdaa22168c234'],
      [2, '4000:c90fdaa22168c235'],
      [3, '4000:c90fdaa22168c234'],
    ] as const) {
      const m = run(`mov word [${DATA}], ${0x37f | (rounding << 10)}\nfldcw [${DATA}]\nfldpi`)
      expect(st(m, 0)).toBe(expected)
    }
  })
})

describe('the stack', () => {
  it('overflows with C1 set and underflows with C1 clear, both as invalid with SF', () => {
    const over = run(`${'fld1\n'.repeat(9)}`)
    expect(status(over) & 0x3f7f).toBe(0x3a41)
    expect(st(over, 0)).toBe(INDEFINITE)
    const under = run('fchs')
    expect(status(under) & 0x3f7f).toBe(0x41)
    expect(st(under, 0)).toBe(INDEFINITE)
  })

  it('stays as it is when the fault is not masked', () => {
    const m = run(`mov word [${DATA}], 37eh\nfldcw [${DATA}]\nfstp st3\nfnstsw ax`)
    expect(m.vector).toBe(-1)
    expect(status(m)).toBe(0x80c1)
    expect(m.cpu.s.reg16(0)).toBe(0x80c1)
  })
})

describe('exceptions', () => {
  it('wait for the next waiting instruction, and are #MF with CR0.NE', () => {
    const zero = `mov word [${DATA}], 37bh\nfldcw [${DATA}]\nfld1\nfldz\nfdivp st1, st0`
    expect(run(zero).vector).toBe(-1)
    for (const next of ['fld1', 'fwait', 'fldcw [50000h]', 'fnop']) expect(run(`${zero}\n${next}`).vector).toBe(16)
    for (const next of ['fnstsw ax', 'fnstcw [50000h]', 'fnclex', 'fninit', 'fnstenv [50100h]'])
      expect(run(`${zero}\n${next}`).vector).toBe(-1)
    // The operands are still there.
    const m = run(zero)
    expect([st(m, 0), st(m, 1)]).toEqual(['0000:0000000000000000', '3fff:8000000000000000'])
  })

  it('without CR0.NE assert FERR# and stop the processor until an interrupt, unless IGNNE# is asserted', () => {
    const program = `mov word [${DATA}], 37bh\nfldcw [${DATA}]\nfld1\nfldz\nfdivp st1, st0\nfld1`
    for (const ignne of [false, true]) {
      const wires: boolean[] = []
      const m = new Machine('80486', { ferr: (asserted) => void wires.push(asserted), ignne: () => ignne })
      m.protect(`fninit\n${program}\nfnclex`)
      for (let n = 0; n < 6; n++) m.step()
      expect(wires).toEqual([])
      const at = m.cpu.s.rip
      m.step()
      expect(wires).toEqual([true])
      expect(m.cpu.halted).toBe(!ignne)
      expect(m.cpu.s.rip === at).toBe(!ignne)
      if (ignne) {
        m.step()
        expect(wires).toEqual([true, false])
      }
    }
  })

  it('unmasked overflow and underflow bias the exponent of a register, and keep a store away', () => {
    const m = run(
      `mov word [${DATA}], 367h\nfldcw [${DATA}]\nfld tword [${DATA + 16}]\nfmul st0, st0\nfnclex\nfstp dword [${DATA + 64}]`,
      (o) => {
        o.space.write32(DATA + 20, 0x80000000)
        o.space.write32(DATA + 24, 0x7ffe)
      },
    )
    // 2^32766 / 2^24576
    expect(st(m, 0)).toBe('5ffd:8000000000000000')
    expect(m.space.read32(DATA + 64)).toBe(0)
    expect(status(m) & 0x88).toBe(0x88)
  })

  it('CR0.TS and CR0.EM send every x87 instruction to #NM, WAIT only TS with MP', () => {
    const set = (bits: number) => (m: Machine) => {
      m.cpu.s.cr0 |= bits
      m.cpu.updateMode()
    }
    expect(run('fld1', set(8)).vector).toBe(7)
    expect(run('fld1', set(4)).vector).toBe(7)
    for (const [bits, vector] of [
      [8, -1],
      [2, -1],
      [10, 7],
      [4, -1],
    ] as const) {
      const m = new Machine()
      m.protect('wait')
      m.handlers()
      m.cpu.s.cr0 |= bits
      m.cpu.updateMode()
      m.step()
      expect(m.vector).toBe(vector)
    }
  })
})

describe('memory', () => {
  it('a fault of a store comes before the pop, one of a load before the push', () => {
    for (const source of ['fstp tword [gs:0]', 'fistp dword [gs:0]', 'fld qword [gs:0]', 'fbstp [gs:0]']) {
      const m = run(`fld1\n${source}`, (o) => o.cpu.s.setSegment(5, 0, 0, 0, 0x10000))
      expect(m.vector).toBe(13)
      expect(m.cpu.s.u8[m.cpu.s.base + OFF_TOP]).toBe(7)
      expect(st(m, 0)).toBe('3fff:8000000000000000')
    }
  })

  it('FNSAVE and FRSTOR carry everything, and FNSAVE initialises', () => {
    const m = run(`fld1\nfldpi\nfnsave [${DATA}]\nfldz\nfrstor [${DATA}]`)
    expect([st(m, 0), st(m, 1)]).toEqual(['4000:c90fdaa22168c235', '3fff:8000000000000000'])
    // Control, status, tags: R7 and R6 valid, the rest empty.
    expect([0, 4, 8].map((n) => m.space.read32(DATA + n))).toEqual([0xffff037f, 0xffff3000, 0xffff0fff])
    expect(m.space.read32(DATA + 12)).toBe(CODE + 4)
  })

  it('the environment has the four layouts', () => {
    const source = 'fninit\nfld dword [bx]\nfnstenv [si]'
    // 16 bits in protected mode: offsets and selectors.
    const m = run(`fld dword [${DATA}]\no16 fnstenv [${DATA + 0x40}]`, undefined, 'pentium')
    const words = (o: Machine, at: number, count: number): number[] =>
      Array.from({ length: count }, (_, n) => o.space.read16(at + n * 2))
    expect(words(m, DATA + 0x40, 7)).toEqual([
      0x37f,
      0x3800,
      0x7fff,
      (CODE + 2) & 0xffff,
      m.cpu.s.selector(1),
      DATA & 0xffff,
      m.cpu.s.selector(3),
    ])
    // Real mode: linear addresses, and the opcode D9 /0 [bx].
    const r = new Machine('pentium')
    r.real(source)
    r.cpu.s.setReg32(3, 0x100)
    r.cpu.s.setReg32(6, 0x200)
    for (let n = 0; n < 3; n++) r.step()
    const base = r.cpu.s.segBase(3)
    const [control, state, tags, ip, high, data, dataHigh] = words(r, base + 0x200, 7)
    const code = r.cpu.s.segBase(1)
    expect([control, state, tags]).toEqual([0x37f, 0x3800, 0x7fff])
    expect(ip! | ((high! >> 12) << 16)).toBe(code + (r.cpu.s.rip - 4))
    expect(high! & 0x7ff).toBe(0x107)
    expect(data! | ((dataHigh! >> 12) << 16)).toBe(base + 0x100)
  })

  it('data pointer and opcode are noted for unmasked exceptions only, where CPUID says so', () => {
    const load = `fld dword [${DATA}]`
    const plain = run(load)
    expect([OFF_FDP, OFF_FOP].map((at) => plain.cpu.s.get32(at))).toEqual([0, 0])
    expect(plain.cpu.s.get32(OFF_FIP)).toBe(CODE + 2)
    const faulty = run(`mov word [${DATA + 8}], 37eh\nfldcw [${DATA + 8}]\n${load}`, (m) =>
      m.space.write32(DATA, 0x7f800001),
    )
    expect(faulty.cpu.s.get32(OFF_FDP)).toBe(DATA)
    expect(faulty.cpu.s.get32(OFF_FOP)).toBe(0x105)
    expect(MODELS['x86-64-v2'].features.has('fdp-excptn-only')).toBe(true)
  })
})

describe('special cases', () => {
  const INF = [0, 0x80000000, 0x7fff]
  const NEG_INF = [0, 0x80000000, 0xffff]
  const ZERO = [0, 0, 0]
  const NEG_ZERO = [0, 0, 0x8000]
  const ONE = [0, 0x80000000, 0x3fff]
  const NEG_ONE = [0, 0x80000000, 0xbfff]
  const PSEUDO_INF = [0, 0, 0x7fff]
  const UNNORMAL = [0, 0x40000000, 0x3fff]
  const QNAN = [1, 0xc0000000, 0x7fff]
  const QNAN_2 = [2, 0xc0000000, 0xffff]
  const SNAN = [9, 0x80000000, 0x7fff]

  /** ST(0) and the exceptions after an instruction on ST(0) = a, ST(1) = b. */
  function of(instruction: string, a: readonly number[], b: readonly number[] = ONE): [string, number] {
    const m = run(`fld tword [${DATA + 16}]\nfld tword [${DATA}]\n${instruction}`, (o) => {
      for (const [n, word] of a.entries()) o.space.write32(DATA + n * 4, word >>> 0)
      for (const [n, word] of b.entries()) o.space.write32(DATA + 16 + n * 4, word >>> 0)
    })
    return [st(m, 0), status(m) & 0x3f]
  }

  it('invalid operations give the indefinite', () => {
    for (const [instruction, a, b] of [
      ['faddp st1, st0', INF, NEG_INF],
      ['fmulp st1, st0', INF, ZERO],
      ['fdivp st1, st0', ZERO, NEG_ZERO],
      ['fdivp st1, st0', INF, INF],
      ['fsqrt', NEG_ONE, ONE],
      ['fprem', INF, ONE],
      ['fprem1', ONE, ZERO],
      ['fsin', INF, ONE],
      ['fyl2x', NEG_ONE, ONE],
      ['fyl2x', ONE, INF],
      ['fyl2x', ZERO, ZERO],
      ['fscale', ZERO, INF],
      ['faddp st1, st0', PSEUDO_INF, ONE],
      ['fmulp st1, st0', UNNORMAL, QNAN],
    ] as const)
      expect([instruction, ...of(instruction, a, b)]).toEqual([instruction, INDEFINITE, 1])
  })

  it('NaNs: the larger significand, signaling ones after quiet ones', () => {
    expect(of('faddp st1, st0', QNAN, QNAN_2)).toEqual(['ffff:c000000000000002', 0])
    expect(of('fmulp st1, st0', SNAN, QNAN)).toEqual(['7fff:c000000000000001', 1])
    expect(of('fdivp st1, st0', SNAN, ONE)).toEqual(['7fff:c000000000000009', 1])
  })

  it('FPATAN by its table of infinities and zeros', () => {
    const pi = 'c90fdaa22168c235'
    // a is the cosine side, b the sine side.
    for (const [a, b, expected] of [
      [INF, INF, `3ffe:${pi}`],
      [NEG_INF, INF, '4000:96cbe3f9990e91a8'],
      [ONE, NEG_INF, `bfff:${pi}`],
      [NEG_ONE, ZERO, `4000:${pi}`],
      [NEG_ZERO, NEG_ZERO, `c000:${pi}`],
      [ONE, NEG_ZERO, '8000:0000000000000000'],
      [NEG_ZERO, ONE, `3fff:${pi}`],
      [ONE, ONE, `3ffe:${pi}`],
    ] as const)
      expect(of('fpatan', a, b)[0]).toBe(expected)
  })

  it('other tables', () => {
    expect(of('fdivp st1, st0', ZERO, NEG_ONE)).toEqual(['ffff:8000000000000000', 4])
    expect(of('fyl2x', ZERO, ONE)).toEqual(['ffff:8000000000000000', 4])
    expect(of('fyl2x', ONE, NEG_ONE)[0]).toBe('8000:0000000000000000')
    expect(of('f2xm1', NEG_ONE)[0]).toBe('bffe:8000000000000000')
    expect(of('f2xm1', NEG_INF)[0]).toBe('bfff:8000000000000000')
    expect(of('fsqrt', NEG_ZERO)).toEqual(['8000:0000000000000000', 0])
    expect(of('fcos', ZERO)).toEqual(['3fff:8000000000000000', 0])
    expect(of('fxtract', ZERO)).toEqual(['0000:0000000000000000', 4])
  })

  it('FXAM by class', () => {
    // C3 C2 C0: Intel SDM Vol. 2, "FXAM".
    for (const [a, code] of [
      [PSEUDO_INF, 0],
      [UNNORMAL, 0],
      [QNAN, 0x100],
      [ONE, 0x400],
      [INF, 0x500],
      [ZERO, 0x4000],
      [[1, 0, 0], 0x4400],
      [[0, 0x80000000, 0], 0x4400],
    ] as const) {
      const m = run(`fld tword [${DATA}]\nfxam`, (o) => {
        for (const [n, word] of a.entries()) o.space.write32(DATA + n * 4, word >>> 0)
      })
      expect(status(m) & 0x4500).toBe(code)
    }
    expect(status(run('fxam')) & 0x4500).toBe(0x4100)
  })
})
