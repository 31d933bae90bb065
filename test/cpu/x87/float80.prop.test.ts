import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Float80, Float80Context } from '../../../src/cpu/float80.js'
import {
  addFloat80,
  compareFloat80,
  divideFloat80,
  multiplyFloat80,
  REMAINDER_INCOMPLETE,
  remainderFloat80,
  roundToInteger,
  squareRootFloat80,
} from '../../../src/cpu/float80-arithmetic.js'
import {
  fromDouble,
  fromInteger64,
  fromSingle,
  Image,
  toDouble,
  toInteger,
  toSingle,
} from '../../../src/cpu/float80-convert.js'
import { runs } from '../../runs.js'
import { type Exact, exactOf, float80, outcome, show, significandOf } from './rational.js'

const significand = fc
  .tuple(
    fc.bigInt(0n, (1n << 64n) - 1n),
    fc.integer({ min: 0, max: 63 }),
    fc.constantFrom('plain', 'zeros', 'ones', 'edge53', 'edge24'),
  )
  .map(([bits, n, how]) => {
    const low = (1n << BigInt(n)) - 1n
    const value =
      how === 'zeros'
        ? bits & ~low
        : how === 'ones'
          ? bits | low
          : how === 'edge53'
            ? (bits & ~0x7ffn) | (0x3ffn + BigInt(n % 4))
            : how === 'edge24'
              ? (bits & ~0xff_ffff_ffffn) | (0x7f_ffff_ffffn + BigInt(n % 4))
              : bits
    return value | (1n << 63n)
  })
const exponent = fc.oneof(
  fc.integer({ min: 0x3ffa, max: 0x4004 }),
  fc.integer({ min: 0x3fb0, max: 0x4050 }),
  fc.constantFrom(
    1,
    2,
    0x40,
    0x7ffe,
    0x7ffd,
    0x2000,
    0x1fff,
    0x5fff,
    0x6000,
    0x3f6a,
    0x3f81,
    0x3bcd,
    0x3c01,
    0x407e,
    0x43fe,
  ),
  fc.integer({ min: 1, max: 0x7ffe }),
)
const normal = fc
  .tuple(fc.boolean(), exponent, significand)
  .map(([sign, exp, bits]) => float80((sign ? 0x8000 : 0) | exp, bits))
const denormal = fc
  .tuple(fc.boolean(), fc.bigInt(1n, (1n << 63n) - 1n), fc.integer({ min: 0, max: 62 }))
  .map(([sign, bits, n]) => float80(sign ? 0x8000 : 0, bits >> BigInt(n) || 1n))
const number = fc.oneof({ arbitrary: normal, weight: 8 }, { arbitrary: denormal, weight: 1 })
const control = fc.record({
  precision: fc.constantFrom(24, 53, 64),
  rounding: fc.integer({ min: 0, max: 3 }),
  masks: fc.constantFrom(0x3f, 0x3f, 0x2f, 0x37, 0x27),
})
type Control = { precision: number; rounding: number; masks: number }

function contextOf({ precision, rounding, masks }: Control): Float80Context {
  const c = new Float80Context()
  c.start((precision === 24 ? 0 : precision === 53 ? 0x200 : 0x300) | (rounding << 10) | masks)
  return c
}

/** Denormal operands set DE besides. */
function denormalFlag(...operands: Float80[]): number {
  return operands.some((f) => (f.sexp & 0x7fff) === 0 && significandOf(f) !== 0n) ? 2 : 0
}

function expectOutcome(c: Float80Context, r: Float80, exact: Exact, how: Control, ...operands: Float80[]): void {
  const expected = outcome(exact, how.precision, how.rounding, how.masks)
  expect({ bits: show(r), flags: c.flags, up: c.up === 1 }).toEqual({
    ...expected,
    flags: expected.flags | denormalFlag(...operands),
  })
}

function sum(a: Exact, b: Exact): Exact {
  const signed = (x: Exact): bigint => (x.negative ? -x.numerator : x.numerator)
  const n = signed(a) * b.denominator + signed(b) * a.denominator
  return { negative: n < 0n, numerator: n < 0n ? -n : n, denominator: a.denominator * b.denominator }
}

describe('80-bit arithmetic against exact fractions', () => {
  it('adds and subtracts', () => {
    fc.assert(
      fc.property(number, number, fc.boolean(), control, (a, b, subtract, how) => {
        const c = contextOf(how)
        const r = new Float80()
        addFloat80(c, a, b, subtract ? 1 : 0, r)
        const y = exactOf(b)
        const exact = sum(exactOf(a), subtract ? { ...y, negative: !y.negative } : y)
        if (exact.numerator === 0n)
          expect(show(r)).toBe(how.rounding === 1 ? '8000:0000000000000000' : '0000:0000000000000000')
        else expectOutcome(c, r, exact, how, a, b)
      }),
      { numRuns: runs(1500) },
    )
  })

  it('adds neighbours, where everything cancels but the last bits', () => {
    fc.assert(
      fc.property(
        normal,
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -2, max: 2 }),
        control,
        (a, step, move, how) => {
          const exp = Math.min(0x7ffe, Math.max(1, (a.sexp & 0x7fff) + move))
          const bits = BigInt.asUintN(64, significandOf(a) + BigInt(step)) | (1n << 63n)
          const b = float80((a.sexp & 0x8000) | exp, bits)
          const c = contextOf(how)
          const r = new Float80()
          addFloat80(c, a, b, 1, r)
          const y = exactOf(b)
          const exact = sum(exactOf(a), { ...y, negative: !y.negative })
          if (exact.numerator !== 0n) expectOutcome(c, r, exact, how)
        },
      ),
      { numRuns: runs(500) },
    )
  })

  it('multiplies and divides', () => {
    fc.assert(
      fc.property(number, number, control, (a, b, how) => {
        const x = exactOf(a)
        const y = exactOf(b)
        const negative = x.negative !== y.negative
        const r = new Float80()
        const c = contextOf(how)
        multiplyFloat80(c, a, b, r)
        expectOutcome(
          c,
          r,
          { negative, numerator: x.numerator * y.numerator, denominator: x.denominator * y.denominator },
          how,
          a,
          b,
        )
        const d = contextOf(how)
        divideFloat80(d, a, b, r)
        expectOutcome(
          d,
          r,
          { negative, numerator: x.numerator * y.denominator, denominator: x.denominator * y.numerator },
          how,
          a,
          b,
        )
      }),
      { numRuns: runs(600) },
    )
  })

  it('takes square roots', () => {
    fc.assert(
      fc.property(number, control, (a, how) => {
        const positive = float80(a.sexp & 0x7fff, significandOf(a))
        const c = contextOf(how)
        const r = new Float80()
        squareRootFloat80(c, positive, r)
        expectOutcome(c, r, { ...exactOf(positive), root: true }, how, positive)
      }),
      { numRuns: runs(300) },
    )
  })

  it('compares', () => {
    fc.assert(
      fc.property(number, number, fc.boolean(), (a, b, same) => {
        const c = contextOf({ precision: 64, rounding: 0, masks: 0x3f })
        const y = same ? a : b
        const difference = sum(exactOf(a), { ...exactOf(y), negative: y.sexp < 0x8000 })
        const expected = difference.numerator === 0n ? 2 : difference.negative ? 1 : 0
        expect(compareFloat80(c, a, y, false)).toBe(expected)
      }),
      { numRuns: runs(500) },
    )
  })

  it('finds remainders, truncated and to nearest', () => {
    fc.assert(
      fc.property(normal, normal, fc.integer({ min: -3, max: 62 }), fc.boolean(), (a, b, gap, nearest) => {
        const exp = Math.max(1, Math.min(0x7ffe, (b.sexp & 0x7fff) + gap))
        const x = float80((a.sexp & 0x8000) | exp, significandOf(a))
        const c = contextOf({ precision: 64, rounding: 0, masks: 0x3f })
        const r = new Float80()
        const code = remainderFloat80(c, x, b, nearest, r)
        expect(code).not.toBe(REMAINDER_INCOMPLETE)
        // Both as integers of one scale.
        const low = Math.min(exp, b.sexp & 0x7fff)
        const n = significandOf(x) << BigInt(exp - low)
        const d = significandOf(b) << BigInt((b.sexp & 0x7fff) - low)
        let q = n / d
        let rest = n % d
        if (nearest && (2n * rest > d || (2n * rest === d && q & 1n))) {
          q++
          rest -= d
        }
        expect(code).toBe(Number(q & 7n))
        const negative = x.sexp >= 0x8000 !== rest < 0n
        if (rest === 0n) expect(show(r)).toBe(show(float80(x.sexp & 0x8000, 0n)))
        else {
          const exact = exactOf(float80(low, 1n))
          const value = { ...exact, negative, numerator: exact.numerator * (rest < 0n ? -rest : rest) }
          expect(show(r)).toBe(outcome(value, 64, 0, 0x3f).bits)
        }
      }),
      { numRuns: runs(600) },
    )
  })
})

describe('conversions', () => {
  it('to integers and back', () => {
    fc.assert(
      fc.property(
        number,
        fc.constantFrom(16, 32, 64),
        fc.integer({ min: 0, max: 3 }),
        fc.boolean(),
        (a, bits, rounding, truncate) => {
          const c = contextOf({ precision: 64, rounding, masks: 0x3f })
          const image = new Image()
          toInteger(c, a, bits, truncate, image)
          const { negative, numerator, denominator } = exactOf(a)
          const mode = truncate ? 3 : rounding
          let whole = numerator / denominator
          const rest = numerator % denominator
          const half = 2n * rest
          const away =
            rest !== 0n &&
            (mode === 0
              ? half > denominator || (half === denominator && (whole & 1n) !== 0n)
              : mode === (negative ? 1 : 2))
          if (away) whole++
          const signed = negative ? -whole : whole
          const value = bits === 64 ? (BigInt(image.hi) << 32n) | BigInt(image.lo >>> 0) : BigInt(image.lo)
          if (BigInt.asIntN(bits, signed) === signed) {
            expect(BigInt.asIntN(bits, value)).toBe(signed)
            expect(c.flags).toBe(rest !== 0n ? 0x20 : 0)
            expect(c.up === 1).toBe(away)
            const back = new Float80()
            fromInteger64(c, Number(signed >> 32n) | 0, Number(BigInt.asIntN(32, signed)), back)
            if (signed !== 0n) expect(exactOf(back)).toMatchObject({ negative: signed < 0n })
            const rounded = new Float80()
            c.start(0x37f | (mode << 10))
            roundToInteger(c, a, rounded)
            if (signed !== 0n) expect(show(rounded)).toBe(show(back))
          } else {
            expect(c.flags).toBe(1)
            expect(BigInt.asIntN(bits, value)).toBe(-(1n << BigInt(bits - 1)))
          }
        },
      ),
      { numRuns: runs(1000) },
    )
  })

  it('singles and doubles come back as they were, and are what the host makes of them', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (x) => {
        const view = new DataView(new ArrayBuffer(8))
        const c = contextOf({ precision: 64, rounding: 0, masks: 0x3f })
        const r = new Float80()
        const image = new Image()
        view.setFloat64(0, x)
        fromDouble(c, view.getInt32(0), view.getInt32(4), false, r)
        toDouble(c, r, image)
        expect([image.hi, image.lo]).toEqual([view.getInt32(0), view.getInt32(4)])
        c.flags = 0
        toSingle(c, r, image)
        view.setFloat32(0, x)
        expect(image.lo).toBe(view.getInt32(0))
        const exact = Number.isFinite(x) && Math.fround(x) === x
        expect((c.flags & 0x20) === 0).toBe(exact || !Number.isFinite(x))
        fromSingle(c, image.lo, false, r)
        toDouble(c, r, image)
        view.setFloat64(0, Math.fround(x))
        expect([image.hi, image.lo]).toEqual([view.getInt32(0), view.getInt32(4)])
      }),
      { numRuns: runs(1000) },
    )
  })
})
