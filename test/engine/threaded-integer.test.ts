/** Every integer micro-op × width on random operands, against the definitions of the Intel SDM in BigInt. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gprSlot, tempSlot } from '../../src/cpu/layout.js'
import { UOP, UOP_NAMES } from '../../src/cpu/uops.js'
import type { DispatchKind } from '../../src/engine/threaded-module.js'
import { FLAG_AF, FLAG_CF, FLAG_OF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../../src/isa/flags.js'
import { runs } from '../runs.js'
import { Harness, type Uop } from './threaded-harness.js'

const [RAX, RCX, RDX, RBX] = [gprSlot(0), gprSlot(1), gprSlot(2), gprSlot(3)]
const ARITHMETIC = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF

/** What an operation does. `flags`: those it defines; the others in `undefinedFlags` are not compared, the rest keep their value. */
interface Outcome {
  result?: bigint
  flags?: Partial<Record<'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of', boolean>>
  undefinedFlags?: number
}
interface Operands {
  x: bigint
  y: bigint
  old: bigint
  cf: boolean
  n: number
}
type Model = (o: Operands) => Outcome

const U = (v: bigint, n: number): bigint => BigInt.asUintN(n, v)
const S = (v: bigint, n: number): bigint => BigInt.asIntN(n, v)
const bit = (v: bigint, i: number): boolean => ((v >> BigInt(i)) & 1n) === 1n

function resultFlags(r: bigint, n: number): NonNullable<Outcome['flags']> {
  const ones = [...U(r, 8).toString(2)].filter((d) => d === '1').length
  return { zf: U(r, n) === 0n, sf: bit(r, n - 1), pf: ones % 2 === 0 }
}
function add(x: bigint, y: bigint, c: bigint, n: number): Outcome {
  const r = U(x + y + c, n)
  return {
    result: r,
    flags: {
      ...resultFlags(r, n),
      cf: (x + y + c) >> BigInt(n) !== 0n,
      of: S(x, n) + S(y, n) + c !== S(r, n),
      af: (x & 15n) + (y & 15n) + c > 15n,
    },
  }
}
function sub(x: bigint, y: bigint, c: bigint, n: number): Outcome {
  const r = U(x - y - c, n)
  return {
    result: r,
    flags: {
      ...resultFlags(r, n),
      cf: x < y + c,
      of: S(x, n) - S(y, n) - c !== S(r, n),
      af: (x & 15n) < (y & 15n) + c,
    },
  }
}
function logic(r: bigint, n: number): Outcome {
  return { result: U(r, n), flags: { ...resultFlags(r, n), cf: false, of: false, af: false } }
}
const flagsOnly = (o: Outcome): Outcome => ({ ...o, result: undefined as never })
function keepCarry(o: Outcome): Outcome {
  const { cf: _, ...flags } = o.flags!
  return { ...o, flags }
}

const binary: Record<string, Model> = {
  ADD: ({ x, y, n }) => add(x, y, 0n, n),
  ADC: ({ x, y, n, cf }) => add(x, y, cf ? 1n : 0n, n),
  SUB: ({ x, y, n }) => sub(x, y, 0n, n),
  SBB: ({ x, y, n, cf }) => sub(x, y, cf ? 1n : 0n, n),
  CMP: ({ x, y, n }) => flagsOnly(sub(x, y, 0n, n)),
  AND: ({ x, y, n }) => logic(x & y, n),
  OR: ({ x, y, n }) => logic(x | y, n),
  XOR: ({ x, y, n }) => logic(x ^ y, n),
  TEST: ({ x, y, n }) => flagsOnly(logic(x & y, n)),
}
const unary: Record<string, Model> = {
  INC: ({ x, n }) => keepCarry(add(x, 1n, 0n, n)),
  DEC: ({ x, n }) => keepCarry(sub(x, 1n, 0n, n)),
  NEG: ({ x, n }) => sub(0n, x, 0n, n),
  NOT: ({ x, n }) => ({ result: U(~x, n) }),
  MOV: ({ x }) => ({ result: x }),
}

/** Shifts. `count` is masked already; flags after a count of 0 do not change. */
function shift(name: string, { x, n }: Operands, count: number): Outcome {
  if (count === 0) return { result: x }
  const c = BigInt(count)
  const undefinedFlags = (count > 1 ? FLAG_OF : 0) | FLAG_AF
  switch (name) {
    case 'SHL': {
      const r = U(x << c, n)
      const cf = count <= n && bit(x, n - count)
      return {
        result: r,
        flags: { ...resultFlags(r, n), cf, of: bit(r, n - 1) !== cf },
        undefinedFlags: undefinedFlags | (count > n ? FLAG_CF : 0),
      }
    }
    case 'SHR': {
      const r = x >> c
      return {
        result: r,
        flags: { ...resultFlags(r, n), cf: bit(x, count - 1), of: bit(x, n - 1) },
        undefinedFlags: undefinedFlags | (count > n ? FLAG_CF : 0),
      }
    }
    case 'SAR': {
      const r = U(S(x, n) >> c, n)
      return {
        result: r,
        flags: { ...resultFlags(r, n), cf: bit(S(x, n) >> (c - 1n), 0), of: false },
        undefinedFlags,
      }
    }
    default: {
      const left = name === 'ROL'
      const k = BigInt(count % n)
      const size = BigInt(n)
      const r = U(left ? (x << k) | (x >> (size - k)) : (x >> k) | (x << (size - k)), n)
      const cf = left ? bit(r, 0) : bit(r, n - 1)
      const of = left ? bit(r, n - 1) !== cf : bit(r, n - 1) !== bit(r, n - 2)
      return { result: r, flags: { cf, of }, undefinedFlags: count > 1 ? FLAG_OF : 0 }
    }
  }
}

const ALL_ONES = (1n << 64n) - 1n
const operand = fc.oneof(
  fc.bigInt({ min: 0n, max: ALL_ONES }),
  fc.bigInt({ min: 0n, max: 3n }),
  fc.constantFrom(ALL_ONES, 0x80n, 0x7fn, 0x8000n, 0x7fffn, 0x80000000n, 0x7fffffffn, 1n << 63n, (1n << 63n) - 1n),
)
const flagBits = fc.integer({ min: 0, max: 63 }).map((n) => {
  let flags = 2
  ;[FLAG_CF, FLAG_PF, FLAG_AF, FLAG_ZF, FLAG_SF, FLAG_OF].forEach((f, i) => {
    if (n & (1 << i)) flags |= f
  })
  return flags
})

/** The destination's 64 bits after a write of `n` bits. */
function merged(old: bigint, value: bigint, n: number): bigint {
  if (n === 64) return value
  if (n === 32) return U(value, 32)
  return (old & ~((1n << BigInt(n)) - 1n)) | U(value, n)
}

function expectedFlags(before: number, o: Outcome): number {
  let flags = before
  for (const [name, mask] of [
    ['cf', FLAG_CF],
    ['pf', FLAG_PF],
    ['af', FLAG_AF],
    ['zf', FLAG_ZF],
    ['sf', FLAG_SF],
    ['of', FLAG_OF],
  ] as const) {
    const value = o.flags?.[name]
    if (value !== undefined) flags = value ? flags | mask : flags & ~mask
  }
  return flags
}

describe.each(['tail-call', 'br-table'] as DispatchKind[])('integer handlers, %s', (dispatch) => {
  const h = new Harness(dispatch)
  const END: Uop = { kind: UOP.END, imm: 4, index: 1 }
  let at = 0

  /** Runs one record as a block of its own; the last operand's immediate is baked in. */
  function runOne(uop: Uop, flags: number): void {
    at = (at + 16) % 0x80000
    if (at === 0) h.engine.invalidateAll()
    h.program(at, [{ ...uop, index: 0 }, END])
    h.s.flags = flags
    expect(h.run(at, 1)).toBe(1)
    expect(h.stepped, UOP_NAMES[uop.kind]!).toEqual([])
    expect(h.s.rip).toBe(at + 4)
  }

  function check(name: string, uop: Uop, o: Outcome, flags: number, old: bigint, n: number): void {
    runOne(uop, flags)
    const ignored = o.undefinedFlags ?? 0
    expect((h.s.flags & ARITHMETIC & ~ignored).toString(2), `${name} flags`).toBe(
      (expectedFlags(flags, o) & ARITHMETIC & ~ignored).toString(2),
    )
    expect(h.s.getBig(RBX).toString(16), `${name} result`).toBe(
      (o.result === undefined ? old : merged(old, o.result, n)).toString(16),
    )
  }

  for (const width of [0, 1, 2, 3]) {
    const n = 8 << width
    it(`arithmetic and moves, ${n} bits`, () => {
      fc.assert(
        fc.property(operand, operand, operand, flagBits, (a, b, old, flags) => {
          const [x, y] = [U(a, n), U(b, n)]
          const o: Operands = { x, y, old, n, cf: (flags & FLAG_CF) !== 0 }
          h.s.setBig(RAX, a)
          h.s.setBig(RCX, b)
          for (const [name, model] of Object.entries(binary)) {
            const outcome = model(o)
            h.s.setBig(RBX, old)
            check(name, { kind: UOP[name as 'ADD'], width, a: RBX, b: RAX, c: RCX }, outcome, flags, old, n)
            h.s.setBig(RBX, old)
            // Immediates are sign-extended to 64 bits; at smaller widths only the low part counts.
            const imm = S(b, 64)
            check(
              `${name}_IMM`,
              { kind: UOP[`${name}_IMM` as 'ADD_IMM'], width, a: RBX, b: RAX, imm },
              outcome,
              flags,
              old,
              n,
            )
          }
          for (const [name, model] of Object.entries(unary)) {
            h.s.setBig(RBX, old)
            check(name, { kind: UOP[name as 'INC'], width, a: RBX, b: RAX }, model(o), flags, old, n)
          }
          h.s.setBig(RBX, old)
          check('MOV_IMM', { kind: UOP.MOV_IMM, width, a: RBX, imm: S(a, 64) }, { result: x }, flags, old, n)
        }),
        { numRuns: runs(25) },
      )
    })

    it(`shifts and rotates, ${n} bits`, () => {
      fc.assert(
        fc.property(operand, fc.integer({ min: 0, max: 255 }), operand, flagBits, (a, rawCount, old, flags) => {
          const count = rawCount & (n === 64 ? 63 : 31)
          const o: Operands = { x: U(a, n), y: 0n, old, n, cf: false }
          h.s.setBig(RAX, a)
          for (const name of ['SHL', 'SHR', 'SAR', 'ROL', 'ROR']) {
            const outcome = shift(name, o, count)
            h.s.setBig(RCX, BigInt(rawCount) | 0xabcd00n)
            h.s.setBig(RBX, old)
            check(name, { kind: UOP[name as 'SHL'], width, a: RBX, b: RAX, c: RCX }, outcome, flags, old, n)
            h.s.setBig(RBX, old)
            check(
              `${name}_IMM ${count}`,
              { kind: UOP[`${name}_IMM` as 'SHL_IMM'], width, a: RBX, b: RAX, imm: rawCount },
              outcome,
              flags,
              old,
              n,
            )
          }
          for (const left of [true, false]) {
            const cf = (flags & FLAG_CF) !== 0
            const r = U(left ? (o.x << 1n) | (cf ? 1n : 0n) : (o.x >> 1n) | (cf ? 1n << BigInt(n - 1) : 0n), n)
            const out = left ? bit(o.x, n - 1) : bit(o.x, 0)
            const of = left ? bit(r, n - 1) !== out : bit(r, n - 1) !== bit(r, n - 2)
            h.s.setBig(RBX, old)
            check(
              left ? 'RCL' : 'RCR',
              { kind: left ? UOP.RCL_IMM : UOP.RCR_IMM, width, a: RBX, b: RAX, imm: 1 },
              { result: r, flags: { cf: out, of } },
              flags,
              old,
              n,
            )
          }
        }),
        { numRuns: runs(25) },
      )
    })

    it(`multiplication and division, ${n} bits`, () => {
      fc.assert(
        fc.property(operand, operand, operand, flagBits, (a, b, old, flags) => {
          const size = BigInt(n)
          const undefinedFlags = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF
          for (const signed of [false, true]) {
            const take = signed ? S : U
            const product = take(a, n) * take(b, n)
            const overflow = take(product, n) !== product
            h.s.setBig(RAX, a)
            h.s.setBig(RDX, old)
            h.s.setBig(RBX, old)
            h.s.setBig(RCX, b)
            const outcome = { flags: { cf: overflow, of: overflow }, undefinedFlags }
            check(signed ? 'IMUL' : 'MUL', { kind: signed ? UOP.IMUL : UOP.MUL, width, b: RCX }, outcome, flags, old, n)
            if (n === 8) {
              expect(h.s.getBig(RAX)).toBe(merged(a, U(product, 16), 16))
            } else {
              expect(h.s.getBig(RAX)).toBe(merged(a, U(product, n), n))
              expect(h.s.getBig(RDX).toString(16)).toBe(merged(old, U(product >> size, n), n).toString(16))
            }
          }
          if (width > 0) {
            const product = S(a, n) * S(b, n)
            const overflow = S(product, n) !== product
            const outcome = { result: U(product, n), flags: { cf: overflow, of: overflow }, undefinedFlags }
            h.s.setBig(RAX, a)
            h.s.setBig(RBX, old)
            check('IMUL2', { kind: UOP.IMUL2, width, a: RBX, b: RAX, c: RCX }, outcome, flags, old, n)
            h.s.setBig(RBX, old)
            check('IMUL_IMM', { kind: UOP.IMUL_IMM, width, a: RBX, b: RAX, imm: S(b, 64) }, outcome, flags, old, n)
          }
          divide(false, a, b, flags)
          divide(true, a, b, flags)
        }),
        { numRuns: runs(40) },
      )

      /** Divides something near a × b by b, so that quotients fit often; overflow and zero must bail. */
      function divide(signed: boolean, a: bigint, b: bigint, flags: number): void {
        const take = signed ? S : U
        const divisor = take(b, n)
        const dividend = take(take(a, n) * divisor + (take(a, n) % 3n), 2 * n)
        h.s.setBig(RCX, b)
        const low = U(dividend, n)
        const high = U(dividend >> BigInt(n), n)
        if (n === 8) h.s.setBig(RAX, low | (high << 8n))
        else {
          h.s.setBig(RAX, low)
          h.s.setBig(RDX, high)
        }
        const before = [h.s.getBig(RAX), h.s.getBig(RDX)]
        const q = divisor === 0n ? 0n : dividend / divisor
        const fits = divisor !== 0n && take(q, n) === q
        at = (at + 16) % 0x80000
        if (at === 0) h.engine.invalidateAll()
        h.program(at, [{ kind: signed ? UOP.IDIV : UOP.DIV, width, b: RCX }, END])
        h.s.flags = flags
        const retired = h.run(at, 1)
        const wide = n === 64 && U(dividend, 128) !== U(signed ? S(dividend, 64) : U(dividend, 64), 128)
        if (!fits) expect(h.stepped).toEqual([at])
        if (h.stepped.length) {
          expect(fits && !wide).toBe(false)
          expect(retired).toBe(0)
          expect([h.s.getBig(RAX), h.s.getBig(RDX)]).toEqual(before)
          expect(h.s.rip).toBe(at)
          h.stepped.length = 0
          return
        }
        const r = U(dividend % divisor, n)
        if (n === 8) expect(h.s.getBig(RAX)).toBe(U(q, 8) | (r << 8n))
        else {
          expect(h.s.getBig(RAX)).toBe(merged(before[0]!, U(q, n), n))
          expect(h.s.getBig(RDX)).toBe(merged(before[1]!, r, n))
        }
      }
    })
  }

  for (const width of [1, 2, 3]) {
    const n = 8 << width
    it(`bits, ${n} bits`, () => {
      fc.assert(
        fc.property(operand, operand, operand, flagBits, (a, b, old, flags) => {
          const x = U(a, n)
          const index = Number(b & BigInt(n - 1))
          const mask = 1n << BigInt(index)
          h.s.setBig(RAX, a)
          h.s.setBig(RCX, b)
          const outcomes: Record<string, bigint | undefined> = {
            BT: undefined,
            BTS: x | mask,
            BTR: x & ~mask,
            BTC: x ^ mask,
          }
          for (const [name, result] of Object.entries(outcomes)) {
            for (const immediate of [false, true]) {
              h.s.setBig(RBX, old)
              const outcome: Outcome = { flags: { cf: bit(x, index) } }
              if (result !== undefined) outcome.result = result
              const kind = UOP[`${name}${immediate ? '_IMM' : ''}` as 'BT']
              check(name, { kind, width, a: RBX, b: RAX, c: RCX, imm: immediate ? S(b, 8) : 0 }, outcome, flags, old, n)
            }
          }
          h.s.setBig(RBX, old)
          check(
            'BIT_OFFSET',
            { kind: UOP.BIT_OFFSET, width, a: RBX, c: RCX },
            { result: U((S(b, n) >> BigInt(3 + width)) << BigInt(width), 64) },
            flags,
            old,
            64,
          )
          const bits = x.toString(2)
          const undefinedScan = ARITHMETIC & ~FLAG_ZF
          const low = BigInt(bits.length - 1 - bits.lastIndexOf('1'))
          for (const [name, value] of [
            ['BSF', low],
            ['BSR', BigInt(bits.length - 1)],
          ] as const) {
            h.s.setBig(RBX, old)
            const outcome: Outcome = { flags: { zf: x === 0n }, undefinedFlags: undefinedScan }
            if (x !== 0n) outcome.result = value
            check(name, { kind: UOP[name], width, a: RBX, b: RAX }, outcome, flags, old, n)
          }
          const ones = BigInt([...bits].filter((d) => d === '1').length)
          h.s.setBig(RBX, old)
          check(
            'POPCNT',
            { kind: UOP.POPCNT, width, a: RBX, b: RAX },
            { result: ones, flags: { zf: ones === 0n, cf: false, of: false, sf: false, af: false, pf: false } },
            flags,
            old,
            n,
          )
          for (const [name, count] of [
            ['LZCNT', x === 0n ? n : n - bits.length],
            ['TZCNT', x === 0n ? n : Number(low)],
          ] as const) {
            h.s.setBig(RBX, old)
            check(
              name,
              { kind: UOP[name], width, a: RBX, b: RAX },
              {
                result: BigInt(count),
                flags: { zf: count === 0, cf: x === 0n },
                undefinedFlags: ARITHMETIC & ~(FLAG_ZF | FLAG_CF),
              },
              flags,
              old,
              n,
            )
          }
          if (width >= 2) {
            const hex = x.toString(16).padStart(n / 4, '0')
            const swapped = BigInt(`0x${hex.match(/../g)!.reverse().join('')}`)
            h.s.setBig(RBX, old)
            check('BSWAP', { kind: UOP.BSWAP, width, a: RBX, b: RAX }, { result: swapped }, flags, old, n)
            const count = Number(old & 0xffn) & (n - 1)
            const c = BigInt(count)
            for (const left of [true, false]) {
              const y = U(b, n)
              const r = U(left ? (x << c) | (y >> (BigInt(n) - c)) : (x >> c) | (y << (BigInt(n) - c)), n)
              const cf = count > 0 && (left ? bit(x, n - count) : bit(x, count - 1))
              const outcome: Outcome =
                count === 0
                  ? { result: x }
                  : {
                      result: r,
                      flags: { ...resultFlags(r, n), cf, of: bit(r, n - 1) !== bit(x, n - 1) },
                      undefinedFlags: FLAG_AF | (count > 1 ? FLAG_OF : 0),
                    }
              h.s.setBig(RBX, a)
              check(
                'double shift',
                { kind: left ? UOP.SHLD_IMM : UOP.SHRD_IMM, width, a: RBX, b: RCX, imm: Number(old & 0xffn) },
                outcome,
                flags,
                a,
                n,
              )
              h.s.setBig(RBX, a)
              h.s.setBig(RDX, old)
              check(
                'double shift',
                { kind: left ? UOP.SHLD : UOP.SHRD, width, a: RBX, b: RCX, c: RDX },
                outcome,
                flags,
                a,
                n,
              )
            }
          }
        }),
        { numRuns: runs(25) },
      )
    })
  }

  it('extensions, exchanges, flag operations', () => {
    fc.assert(
      fc.property(operand, operand, flagBits, (a, old, flags) => {
        for (const width of [0, 1, 2]) {
          const n = 8 << width
          h.s.setBig(RAX, a)
          check('ZERO_EXTEND', { kind: UOP.ZERO_EXTEND, width, a: RBX, b: RAX }, { result: U(a, n) }, flags, 0n, 64)
          check(
            'SIGN_EXTEND_64',
            { kind: UOP.SIGN_EXTEND_64, width, a: RBX, b: RAX },
            { result: U(S(a, n), 64) },
            flags,
            0n,
            64,
          )
          if (width < 2)
            check(
              'SIGN_EXTEND_32',
              { kind: UOP.SIGN_EXTEND_32, width, a: RBX, b: RAX },
              { result: U(S(a, n), 32) },
              flags,
              0n,
              64,
            )
        }
        for (const width of [0, 1, 2, 3]) {
          const n = 8 << width
          h.s.setBig(RAX, a)
          h.s.setBig(RBX, old)
          check('XCHG', { kind: UOP.XCHG, width, a: RBX, b: RAX }, { result: U(a, n) }, flags, old, n)
          expect(h.s.getBig(RAX)).toBe(merged(a, U(old, n), n))
          for (const accumulator of [a, old]) {
            h.s.setBig(RAX, accumulator)
            h.s.setBig(RCX, 0x1122334455667788n)
            h.s.setBig(RDX, a)
            h.s.setBig(RBX, old)
            const equal = U(accumulator, n) === U(a, n)
            const outcome = sub(U(accumulator, n), U(a, n), 0n, n)
            check(
              'CMPXCHG',
              { kind: UOP.CMPXCHG, width, a: RBX, b: RDX, c: RCX },
              { ...outcome, result: equal ? U(0x1122334455667788n, n) : U(a, n) },
              flags,
              old,
              n,
            )
            expect(h.s.getBig(RAX)).toBe(equal ? accumulator : merged(accumulator, U(a, n), n))
          }
        }
        h.s.setBig(RBX, old)
        check('CLC', { kind: UOP.CLC }, { flags: { cf: false } }, flags, old, 64)
        check('STC', { kind: UOP.STC }, { flags: { cf: true } }, flags, old, 64)
        check('CMC', { kind: UOP.CMC }, { flags: { cf: (flags & FLAG_CF) === 0 } }, flags, old, 64)
        check('SALC', { kind: UOP.SALC, a: RBX }, { result: flags & FLAG_CF ? 0xffn : 0n }, flags, old, 8)
        h.s.setBig(RAX, a)
        runOne({ kind: UOP.LAHF }, flags)
        expect(h.s.getBig(RAX)).toBe((a & ~0xff00n) | (BigInt((flags & 0xd5) | 2) << 8n))
        runOne({ kind: UOP.STD }, flags)
        expect(h.s.flags).toBe(flags | 0x400)
        runOne({ kind: UOP.CLD }, flags | 0x400)
        expect(h.s.flags).toBe(flags)
      }),
      { numRuns: runs(25) },
    )
  })

  it('conditions', () => {
    const truth: ((f: number) => boolean)[] = [
      (f) => !!(f & FLAG_OF),
      (f) => !!(f & FLAG_CF),
      (f) => !!(f & FLAG_ZF),
      (f) => !!(f & (FLAG_CF | FLAG_ZF)),
      (f) => !!(f & FLAG_SF),
      (f) => !!(f & FLAG_PF),
      (f) => !!(f & FLAG_SF) !== !!(f & FLAG_OF),
      (f) => !!(f & FLAG_ZF) || !!(f & FLAG_SF) !== !!(f & FLAG_OF),
    ]
    for (let n = 0; n < 64; n++) {
      let flags = 2
      ;[FLAG_CF, FLAG_PF, FLAG_AF, FLAG_ZF, FLAG_SF, FLAG_OF].forEach((f, i) => {
        if (n & (1 << i)) flags |= f
      })
      for (let code = 0; code < 16; code++) {
        const holds = truth[code >> 1]!(flags) !== ((code & 1) !== 0)
        h.s.setBig(RBX, ALL_ONES)
        check(`SETCC ${code}`, { kind: UOP.SETCC, a: RBX, ext: code }, { result: holds ? 1n : 0n }, flags, ALL_ONES, 8)
        for (const width of [1, 2, 3]) {
          h.s.setBig(RBX, ALL_ONES)
          h.s.setBig(tempSlot(0), 0x1234567890n)
          check(
            'CMOV',
            { kind: UOP.CMOV, width, a: RBX, b: tempSlot(0), ext: code },
            { result: U(holds ? 0x1234567890n : ALL_ONES, 8 << width) },
            flags,
            ALL_ONES,
            8 << width,
          )
        }
        h.program(0x90000, [{ kind: UOP.JCC, width: 3, imm: 0x40, value: 4, ext: code }])
        h.engine.invalidate((0x200000 + 0x90000) >> 12, 0, 4096, new Uint8Array(512))
        h.s.flags = flags
        h.run(0x90000, 1)
        expect(h.s.rip).toBe(holds ? 0x90040 : 0x90004)
      }
    }
  })
})
