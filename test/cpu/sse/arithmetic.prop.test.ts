/** SSE floating point against the rational model, one element and several. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VECTOR_XM } from '../../../src/cpu/exceptions.js'
import { runs } from '../../runs.js'
import {
  type Answer,
  arithmetic,
  compare,
  convert,
  DE,
  DOUBLE,
  extreme,
  type Format,
  fromInteger,
  IE,
  integral,
  SINGLE,
  toInteger,
  ZE,
} from './model.js'
import { A, anyMxcsr, B, pattern, Unit } from './values.js'

const unit = new Unit()
const NONE = 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00n

/** Flags of all elements together: an unmasked exception found before computing keeps back what computing would have found. */
function combine(mxcsr: number, flags: number): { mxcsr: number; fault: boolean } {
  const unmasked = flags & ~(mxcsr >> 7) & 0x3f
  const seen = unmasked & (IE | DE | ZE) ? flags & (IE | DE | ZE) : flags
  return { mxcsr: mxcsr | seen, fault: unmasked !== 0 }
}

/** Runs `name` and compares with `answers`, the elements of the result from the lowest on; what is above keeps its value. */
function check(
  name: string,
  imm: number,
  mxcsr: number,
  x: bigint,
  y: bigint,
  answers: readonly Answer[],
  width: number,
): void {
  unit.set(A, x)
  unit.set(B, y)
  const vector = unit.run(name, mxcsr, imm)
  const expected = combine(
    mxcsr,
    answers.reduce((sum, answer) => sum | answer.flags, 0),
  )
  expect([vector, unit.mxcsr.toString(16)]).toEqual([expected.fault ? VECTOR_XM : -1, expected.mxcsr.toString(16)])
  let result = x
  if (!expected.fault) {
    answers.forEach(({ bits }, n) => {
      const shift = BigInt(n * width)
      result = (result & ~(((1n << BigInt(width)) - 1n) << shift)) | (bits << shift)
    })
  }
  expect(unit.get(A).toString(16)).toBe(result.toString(16))
  expect(unit.get(B)).toBe(y)
}

function elements(bits: number, value: bigint): bigint[] {
  return Array.from({ length: 128 / bits }, (_, n) => BigInt.asUintN(bits, value >> BigInt(n * bits)))
}

function vector(bits: 32 | 64): fc.Arbitrary<bigint> {
  const count = 128 / bits
  return fc
    .array(pattern(bits), { minLength: count, maxLength: count })
    .map((list) => list.reduce((sum, value, n) => sum | (value << BigInt(bits * n)), 0n))
}

const FORMATS: readonly (readonly [string, 32 | 64, Format])[] = [
  ['s', 32, SINGLE],
  ['d', 64, DOUBLE],
]

describe.each(FORMATS)('binary of %s%d', (letter, bits, format) => {
  it.each(['add', 'sub', 'mul', 'div', 'sqrt'] as const)('%s', (op) => {
    fc.assert(
      fc.property(vector(bits), vector(bits), anyMxcsr, (x, y, mxcsr) => {
        const [xs, ys] = [elements(bits, x), elements(bits, y)]
        const answers = xs.map((a, n) => arithmetic(op, format, a, ys[n]!, mxcsr))
        check(`${op}s${letter}`, 0, mxcsr, x, y, answers.slice(0, 1), bits)
        check(`${op}p${letter}`, 0, mxcsr, x, y, answers, bits)
      }),
      { numRuns: runs(op === 'sqrt' ? 60 : 400) },
    )
  })

  it('min, max', () => {
    fc.assert(
      fc.property(vector(bits), vector(bits), anyMxcsr, (x, y, mxcsr) => {
        const [xs, ys] = [elements(bits, x), elements(bits, y)]
        for (const [name, wanted] of [
          ['min', -1],
          ['max', 1],
        ] as const) {
          const answers = xs.map((a, n) => extreme(format, wanted, a, ys[n]!, mxcsr))
          check(`${name}s${letter}`, 0, mxcsr, x, y, answers.slice(0, 1), bits)
          check(`${name}p${letter}`, 0, mxcsr, x, y, answers, bits)
        }
      }),
      { numRuns: runs(200) },
    )
  })

  it('comparisons', () => {
    const ones = (1n << BigInt(bits)) - 1n
    const holds = [
      (o: number) => o === 0,
      (o: number) => o === -1,
      (o: number) => o === -1 || o === 0,
      (o: number) => o === 2,
    ]
    fc.assert(
      fc.property(
        vector(bits),
        vector(bits),
        anyMxcsr,
        fc.integer({ min: 0, max: 7 }),
        fc.boolean(),
        (x, y0, mxcsr, imm, same) => {
          const y = same ? x : y0
          const [xs, ys] = [elements(bits, x), elements(bits, y)]
          const answers = xs.map((a, n): Answer => {
            const { order, flags } = compare(format, a, ys[n]!, mxcsr, [0, 3, 4, 7].includes(imm))
            return { bits: holds[imm & 3]!(order) !== imm >= 4 ? ones : 0n, flags }
          })
          check(`cmps${letter}`, imm, mxcsr, x, y, answers.slice(0, 1), bits)
          check(`cmpp${letter}`, imm, mxcsr, x, y, answers, bits)
          for (const quiet of [false, true]) {
            unit.set(A, x)
            unit.set(B, y)
            unit.s.flags = 0x8d7
            const raised = unit.run(`${quiet ? 'u' : ''}comis${letter}`, mxcsr)
            const { order, flags } = compare(format, xs[0]!, ys[0]!, mxcsr, quiet)
            const expected = combine(mxcsr, flags)
            // ZF PF CF by order: less, equal, greater, unordered.
            const eflags = expected.fault ? 0x8d7 : 2 | [1, 0x40, 0, 0x45][order + 1]!
            expect([raised, unit.mxcsr, unit.s.flags]).toEqual([
              expected.fault ? VECTOR_XM : -1,
              expected.mxcsr,
              eflags,
            ])
          }
        },
      ),
      { numRuns: runs(300) },
    )
  })

  it('ADDSUB, HADD, HSUB', () => {
    fc.assert(
      fc.property(vector(bits), vector(bits), anyMxcsr, (x, y, mxcsr) => {
        const [xs, ys] = [elements(bits, x), elements(bits, y)]
        const alternating = xs.map((a, n) => arithmetic(n & 1 ? 'add' : 'sub', format, a, ys[n]!, mxcsr))
        check(`addsubp${letter}`, 0, mxcsr, x, y, alternating, bits)
        const both = [...xs, ...ys]
        for (const op of ['add', 'sub'] as const) {
          const pairs = xs.map((_, n) => arithmetic(op, format, both[2 * n]!, both[2 * n + 1]!, mxcsr))
          check(`h${op}p${letter}`, 0, mxcsr, x, y, pairs, bits)
        }
      }),
      { numRuns: runs(150) },
    )
  })

  it('ROUND', () => {
    fc.assert(
      fc.property(vector(bits), vector(bits), anyMxcsr, fc.integer({ min: 0, max: 15 }), (x, y, mxcsr, imm) => {
        const answers = elements(bits, y).map((b) => integral(format, b, imm, mxcsr))
        check(`rounds${letter}`, imm, mxcsr, x, y, answers.slice(0, 1), bits)
        check(`roundp${letter}`, imm, mxcsr, x, y, answers, bits)
      }),
      { numRuns: runs(300) },
    )
  })

  it('to and from integers of general registers', () => {
    fc.assert(
      fc.property(
        vector(bits),
        fc.constantFrom(4, 8),
        anyMxcsr,
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (y, size, mxcsr, raw) => {
          for (const truncate of [false, true]) {
            unit.set(B, y)
            unit.s.setBig(0, NONE & 0xffff_ffff_ffff_ffffn)
            const answer = toInteger(format, elements(bits, y)[0]!, size * 8, truncate ? 3 : (mxcsr >> 13) & 3, mxcsr)
            const expected = combine(mxcsr, answer.flags)
            const raised = unit.run(`cvt${truncate ? 't' : ''}s${letter}2si`, mxcsr, size, 0)
            const value = expected.fault ? NONE & 0xffff_ffff_ffff_ffffn : answer.bits
            expect([raised, unit.mxcsr, unit.s.getBig(0)]).toEqual([
              expected.fault ? VECTOR_XM : -1,
              expected.mxcsr,
              value,
            ])
          }
          for (const shift of [0n, 11n, 33n, 40n]) {
            const value = BigInt.asIntN(size * 8, raw >> shift)
            check(
              `cvtsi2s${letter}`,
              size,
              mxcsr,
              NONE,
              BigInt.asUintN(64, value),
              [fromInteger(format, value, mxcsr)],
              bits,
            )
          }
        },
      ),
      { numRuns: runs(200) },
    )
  })
})

describe('conversions', () => {
  it('between the formats', () => {
    fc.assert(
      fc.property(vector(32), vector(64), anyMxcsr, (singles, doubles, mxcsr) => {
        const wide = elements(32, singles).map((x) => convert(SINGLE, DOUBLE, x, mxcsr))
        check('cvtss2sd', 0, mxcsr, NONE, singles, wide.slice(0, 1), 64)
        check('cvtps2pd', 0, mxcsr, NONE, singles, wide.slice(0, 2), 64)
        const small = elements(64, doubles).map((x) => convert(DOUBLE, SINGLE, x, mxcsr))
        const empty: Answer = { bits: 0n, flags: 0 }
        check('cvtsd2ss', 0, mxcsr, NONE, doubles, small.slice(0, 1), 32)
        check('cvtpd2ps', 0, mxcsr, NONE, doubles, [...small, empty, empty], 32)
      }),
      { numRuns: runs(300) },
    )
  })

  it('of packed integers', () => {
    fc.assert(
      fc.property(vector(32), vector(64), anyMxcsr, (singles, doubles, mxcsr) => {
        const ints = elements(32, singles).map((x) => BigInt.asIntN(32, x))
        const asSingles = ints.map((x) => fromInteger(SINGLE, x, mxcsr))
        const asDoubles = ints.map((x) => fromInteger(DOUBLE, x, mxcsr))
        check('cvtdq2ps', 0, mxcsr, NONE, singles, asSingles, 32)
        check('cvtpi2ps', 0, mxcsr, NONE, singles, asSingles.slice(0, 2), 32)
        check('cvtdq2pd', 0, mxcsr, NONE, singles, asDoubles.slice(0, 2), 64)
        check('cvtpi2pd', 0, mxcsr, NONE, singles, asDoubles.slice(0, 2), 64)
        for (const t of ['', 't']) {
          const mode = t ? 3 : (mxcsr >> 13) & 3
          const fromSingles = elements(32, singles).map((x) => toInteger(SINGLE, x, 32, mode, mxcsr))
          const fromDoubles = elements(64, doubles).map((x) => toInteger(DOUBLE, x, 32, mode, mxcsr))
          const empty: Answer = { bits: 0n, flags: 0 }
          check(`cvt${t}ps2dq`, 0, mxcsr, NONE, singles, fromSingles, 32)
          check(`cvt${t}ps2pi`, 0, mxcsr, NONE, singles, fromSingles.slice(0, 2), 32)
          check(`cvt${t}pd2dq`, 0, mxcsr, NONE, doubles, [...fromDoubles, empty, empty], 32)
          check(`cvt${t}pd2pi`, 0, mxcsr, NONE, doubles, fromDoubles, 32)
        }
      }),
      { numRuns: runs(200) },
    )
  })
})

/** Steps of a dot product: each is an operation with exceptions of its own. */
function dot(
  format: Format,
  x: bigint,
  y: bigint,
  imm: number,
  mxcsr: number,
): { bits: bigint; mxcsr: number; fault: boolean } {
  const [xs, ys] = [elements(format.bits, x), elements(format.bits, y)]
  let state = { mxcsr, fault: false }
  const stage = (answers: Answer[]): bigint[] => {
    if (!state.fault) {
      const next = combine(
        state.mxcsr,
        answers.reduce((sum, answer) => sum | answer.flags, 0),
      )
      state = next
    }
    return answers.map((answer) => answer.bits)
  }
  const none: Answer = { bits: 0n, flags: 0 }
  let sums = stage(xs.map((a, n) => (imm & (0x10 << n) ? arithmetic('mul', format, a, ys[n]!, mxcsr) : none)))
  while (sums.length > 1 && !state.fault) {
    const pairs: Answer[] = []
    for (let n = 0; n < sums.length; n += 2) pairs.push(arithmetic('add', format, sums[n]!, sums[n + 1]!, mxcsr))
    sums = stage(pairs)
  }
  return { bits: sums[0]!, ...state }
}

it.each([
  ['dpps', 32, SINGLE],
  ['dppd', 64, DOUBLE],
] as const)('%s', (name, bits, format) => {
  fc.assert(
    fc.property(vector(bits), vector(bits), anyMxcsr, fc.integer({ min: 0, max: 255 }), (x, y, mxcsr, imm) => {
      unit.set(A, x)
      unit.set(B, y)
      const raised = unit.run(name, mxcsr, imm)
      const expected = dot(format, x, y, imm, mxcsr)
      expect([raised, unit.mxcsr]).toEqual([expected.fault ? VECTOR_XM : -1, expected.mxcsr])
      const result = elements(bits, x).reduce(
        (sum, _, n) => sum | (imm & (1 << n) ? expected.bits << BigInt(n * bits) : 0n),
        0n,
      )
      expect(unit.get(A)).toBe(expected.fault ? x : result)
    }),
    { numRuns: runs(300) },
  )
})
