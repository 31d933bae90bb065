/**
 * The x87's arithmetic as WebAssembly code on values: a number is its significand in an i64 and its sign and exponent in the low 16 bits of an i32, whose
 * other bits may be anything. It knows zeros and normal numbers with normal results, under rounding to nearest at any precision and with
 * inexactness masked; for everything else it runs `fail`.
 *
 * A result comes as significand and *word*: sign and exponent, {@link WORD_INEXACT} and {@link WORD_UP}. The meaning is that of
 * cpu/float80-arithmetic.ts and float80-convert.ts.
 */

import {
  block,
  branch,
  branchIf,
  type Code,
  call,
  F64,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  label,
  loop,
  select,
  setLocal,
  type ValueType,
} from './wasm-emitter.js'
import { f64 } from './wasm-floats.js'

/** How far the bits of the status word are above their places in a result's word. */
export const WORD_STATUS_SHIFT = 16
/** PE. */
export const WORD_INEXACT: number = 0x20 << WORD_STATUS_SHIFT
/** C1: the magnitude was rounded up. */
export const WORD_UP: number = 0x200 << WORD_STATUS_SHIFT

/** A number in two locals or two pieces of code that are cheap to repeat. */
export interface Number80 {
  readonly sig: Code
  readonly sexp: Code
  /** It is known to be zero or normal. */
  readonly good: boolean
}

/** Where code takes its locals from, leaves its result, and how it gives up. */
export interface Work {
  local(type: ValueType): number
  /** Locals of the result: i64, i32. */
  readonly sig: number
  readonly word: number
  /** Never falls through. May be repeated. */
  readonly fail: Code
  /** Function that does {@link roundShort}: (significand, rest, control word) → both results. Without it the code does so itself. */
  readonly short?: number
}

const ZERO32 = i32.const(0)
const ONE32 = i32.const(1)
const ZERO64 = i64.const(0)
const MIN64 = i64.const(-0x8000_0000_0000_0000n)
const SIGN = i32.const(0x8000)
const EXPONENT = i32.const(0x7fff)
const not = i32.eqz

interface Variable {
  readonly index: number
  readonly get: Code
  set(value: Code): Code
}

function variable(work: Work, type: ValueType): Variable {
  const index = work.local(type)
  return { index, get: getLocal(index), set: (value) => setLocal(index, value) }
}

/** Is (sexp, sig) neither zero nor a normal number? */
export function oddNumber(sexp: Code, sig: Code): Code {
  const exp = i32.and(sexp, EXPONENT)
  const normal = i32.and(i64.ltS(sig, ZERO64), i32.ltU(i32.sub(exp, ONE32), i32.const(0x7ffe)))
  return not(i32.or(normal, i32.and(i64.eqz(sig), not(exp))))
}

/** Fails if one of the numbers is odd. */
function failIfOdd(work: Work, ...numbers: readonly Number80[]): Code {
  return numbers.flatMap(({ sexp, sig, good }) => (good ? [] : [ifElse(oddNumber(sexp, sig), work.fail)]))
}

/**
 * Rounds `sig` and the 64 bits `rest` below it to 53 or 24 bits: sets the i64 `rounded`, which is 0 for the next power of two, and the i32 `status`
 * to PE and C1 as in a word.
 */
export function roundShort(work: Work, control: Code, sig: Code, rest: Code, rounded: number, status: number): Code {
  const up = variable(work, I32)
  const unit = variable(work, I64)
  const low = variable(work, I64)
  const half = i64.shrU(unit.get, i64.const(1))
  return [
    unit.set(select(i32.and(control, i32.const(0x200)), i64.const(0x800), i64.const(0x100_0000_0000))),
    low.set(i64.and(sig, i64.sub(unit.get, i64.const(1)))),
    up.set(
      i32.or(
        i64.gtU(low.get, half),
        i32.and(i64.eq(low.get, half), i32.or(i64.ne(rest, ZERO64), i64.ne(i64.and(sig, unit.get), ZERO64))),
      ),
    ),
    setLocal(status, statusBits(i64.ne(i64.or(low.get, rest), ZERO64), up.get)),
    setLocal(rounded, i64.add(i64.sub(sig, low.get), select(up.get, unit.get, ZERO64))),
  ]
}

/** PE and C1 of a word. */
function statusBits(inexact: Code, up: Code): Code {
  return i32.or(i32.shl(inexact, i32.const(5 + WORD_STATUS_SHIFT)), i32.shl(up, i32.const(9 + WORD_STATUS_SHIFT)))
}

/**
 * Rounds sign (8000h or 0), exponent, `sig` and the 64 bits `rest` below it to the precision that `control` asks for. Fails if the exponent
 * leaves the normal range.
 */
function round(work: Work, control: Code, sign: Code, exp: Variable, sig: Variable, rest: Code): Code {
  const up = variable(work, I32)
  const status = variable(work, I32)
  return [
    ifElse(
      i32.and(control, i32.const(0x100)),
      [
        // More than half, or half and odd.
        up.set(
          i32.and(
            i32.wrap(i64.shrU(rest, i64.const(63))),
            i32.or(i64.ne(i64.shl(rest, i64.const(1)), ZERO64), i32.wrap(sig.get)),
          ),
        ),
        status.set(statusBits(i64.ne(rest, ZERO64), up.get)),
        sig.set(i64.add(sig.get, i64.extendU(up.get))),
      ],
      work.short === undefined
        ? roundShort(work, control, sig.get, rest, sig.index, status.index)
        : [call(work.short, sig.get, rest, control), setLocal(status.index, []), setLocal(sig.index, [])],
    ),
    // Rounded up to a power of two.
    ifElse(i64.eqz(sig.get), [sig.set(MIN64), exp.set(i32.add(exp.get, ONE32))]),
    ifElse(i32.geU(i32.sub(exp.get, ONE32), i32.const(0x7ffe)), work.fail),
    setLocal(work.sig, sig.get),
    setLocal(work.word, i32.or(i32.or(sign, exp.get), status.get)),
  ]
}

/** The result is a zero. */
function zero(work: Work, sign: Code): Code {
  return [setLocal(work.sig, ZERO64), setLocal(work.word, sign)]
}

/** a + b. For a difference the caller turns the sign of b. */
export function addNumbers(work: Work, control: Code, x: Number80, y: Number80): Code {
  const as = variable(work, I32)
  const bs = variable(work, I32)
  const exp = variable(work, I32)
  const distance = variable(work, I32)
  const swap = variable(work, I32)
  const a = variable(work, I64)
  const b = variable(work, I64)
  const hold = variable(work, I64)
  const rest = variable(work, I64)
  const zeros = variable(work, I64)
  const done = label()
  return [
    failIfOdd(work, x, y),
    as.set(x.sexp),
    bs.set(y.sexp),
    a.set(x.sig),
    b.set(y.sig),
    distance.set(i32.sub(i32.and(as.get, EXPONENT), i32.and(bs.get, EXPONENT))),
    ifElse(i32.or(i32.ltS(distance.get, ZERO32), i32.and(not(distance.get), i64.ltU(a.get, b.get))), [
      swap.set(as.get),
      as.set(bs.get),
      bs.set(swap.get),
      hold.set(a.get),
      a.set(b.get),
      b.set(hold.get),
      distance.set(i32.sub(ZERO32, distance.get)),
    ]),
    exp.set(i32.and(as.get, EXPONENT)),
    rest.set(ZERO64),
    ifElse(distance.get, [
      ifElse(
        i32.ltU(distance.get, i32.const(64)),
        [
          rest.set(i64.shl(b.get, i64.extendU(i32.sub(i32.const(64), distance.get)))),
          b.set(i64.shrU(b.get, i64.extendU(distance.get))),
        ],
        [
          // A power of two less something below loses a place: what is 65 places below is still to be known to a bit.
          rest.set(
            select(
              i32.eq(distance.get, i32.const(64)),
              b.get,
              select(
                i32.eq(distance.get, i32.const(65)),
                i64.or(i64.shrU(b.get, i64.const(1)), i64.and(b.get, i64.const(1))),
                i64.extendU(i64.ne(b.get, ZERO64)),
              ),
            ),
          ),
          b.set(ZERO64),
        ],
      ),
    ]),
    block(done, [
      ifElse(
        i32.and(i32.xor(as.get, bs.get), SIGN),
        [
          a.set(i64.sub(i64.sub(a.get, b.get), i64.extendU(i64.ne(rest.get, ZERO64)))),
          rest.set(i64.sub(ZERO64, rest.get)),
          ifElse(i64.geS(a.get, ZERO64), [
            ifElse(i64.eqz(a.get), [
              ifElse(i64.eqz(rest.get), [zero(work, ZERO32), branch(done)]),
              a.set(rest.get),
              rest.set(ZERO64),
              exp.set(i32.sub(exp.get, i32.const(64))),
            ]),
            zeros.set(i64.clz(a.get)),
            ifElse(i64.ne(zeros.get, ZERO64), [
              a.set(i64.or(i64.shl(a.get, zeros.get), i64.shrU(rest.get, i64.sub(i64.const(64), zeros.get)))),
              rest.set(i64.shl(rest.get, zeros.get)),
              exp.set(i32.sub(exp.get, i32.wrap(zeros.get))),
            ]),
          ]),
        ],
        [
          b.set(i64.add(a.get, b.get)),
          ifElse(
            i64.ltU(b.get, a.get),
            [
              rest.set(
                i64.or(
                  i64.shl(b.get, i64.const(63)),
                  i64.or(i64.shrU(rest.get, i64.const(1)), i64.and(rest.get, i64.const(1))),
                ),
              ),
              a.set(i64.or(i64.shrU(b.get, i64.const(1)), MIN64)),
              exp.set(i32.add(exp.get, ONE32)),
            ],
            [ifElse(i64.eqz(b.get), [zero(work, i32.and(as.get, SIGN)), branch(done)]), a.set(b.get)],
          ),
        ],
      ),
      round(work, control, i32.and(as.get, SIGN), exp, a, rest.get),
    ]),
  ]
}

const LOW32 = i64.const(0xffff_ffff)
const lowHalf = (v: Code): Code => i64.and(v, LOW32)
const highHalf = (v: Code): Code => i64.shrU(v, i64.const(32))

/** a · b. */
export function multiplyNumbers(work: Work, control: Code, x: Number80, y: Number80): Code {
  const as = variable(work, I32)
  const exp = variable(work, I32)
  const aHigh = variable(work, I64)
  const aLow = variable(work, I64)
  const bHigh = variable(work, I64)
  const bLow = variable(work, I64)
  const low = variable(work, I64)
  const cross = variable(work, I64)
  const cross2 = variable(work, I64)
  const middle = variable(work, I64)
  const high = variable(work, I64)
  const done = label()
  return block(done, [
    failIfOdd(work, x, y),
    as.set(i32.and(i32.xor(x.sexp, y.sexp), SIGN)),
    exp.set(i32.sub(i32.add(i32.and(x.sexp, EXPONENT), i32.and(y.sexp, EXPONENT)), i32.const(16382))),
    aHigh.set(highHalf(x.sig)),
    aLow.set(lowHalf(x.sig)),
    bHigh.set(highHalf(y.sig)),
    bLow.set(lowHalf(y.sig)),
    low.set(i64.mul(aLow.get, bLow.get)),
    cross.set(i64.mul(aLow.get, bHigh.get)),
    cross2.set(i64.mul(aHigh.get, bLow.get)),
    middle.set(i64.add(highHalf(low.get), i64.add(lowHalf(cross.get), lowHalf(cross2.get)))),
    high.set(
      i64.add(
        i64.add(i64.mul(aHigh.get, bHigh.get), highHalf(middle.get)),
        i64.add(highHalf(cross.get), highHalf(cross2.get)),
      ),
    ),
    low.set(i64.or(i64.shl(middle.get, i64.const(32)), lowHalf(low.get))),
    ifElse(i64.geS(high.get, ZERO64), [
      ifElse(i64.eqz(high.get), [zero(work, as.get), branch(done)]),
      high.set(i64.or(i64.shl(high.get, i64.const(1)), i64.shrU(low.get, i64.const(63)))),
      low.set(i64.shl(low.get, i64.const(1))),
      exp.set(i32.sub(exp.get, ONE32)),
    ]),
    round(work, control, as.get, exp, high, low.get),
  ])
}

/** a / b. */
export function divideNumbers(work: Work, control: Code, x: Number80, y: Number80): Code {
  const sign = variable(work, I32)
  const exp = variable(work, I32)
  const high = variable(work, I64)
  const low = variable(work, I64)
  const b = variable(work, I64)
  const bHigh = variable(work, I64)
  const digit = variable(work, I64)
  const left = variable(work, I64)
  const quotient = variable(work, I64)
  const rest = variable(work, I64)
  const done = label()
  // One 32-bit digit of the quotient of high:next by b, in `digit`; `high` becomes the remainder.
  const step = (next: Code): Code => {
    const top = label()
    return [
      digit.set(i64.divU(high.get, bHigh.get)),
      left.set(i64.sub(high.get, i64.mul(digit.get, bHigh.get))),
      loop(top, [
        ifElse(
          i32.or(
            i64.ne(highHalf(digit.get), ZERO64),
            i64.gtU(i64.mul(digit.get, lowHalf(b.get)), i64.or(i64.shl(left.get, i64.const(32)), next)),
          ),
          [
            digit.set(i64.sub(digit.get, i64.const(1))),
            left.set(i64.add(left.get, bHigh.get)),
            branchIf(top, i64.eqz(highHalf(left.get))),
          ],
        ),
      ]),
      high.set(i64.sub(i64.or(i64.shl(high.get, i64.const(32)), next), i64.mul(digit.get, b.get))),
    ]
  }
  return block(done, [
    ifElse(i64.eqz(y.sig), work.fail),
    failIfOdd(work, x, y),
    sign.set(i32.and(i32.xor(x.sexp, y.sexp), SIGN)),
    ifElse(i64.eqz(x.sig), [zero(work, sign.get), branch(done)]),
    exp.set(i32.add(i32.sub(i32.and(x.sexp, EXPONENT), i32.and(y.sexp, EXPONENT)), i32.const(16382))),
    high.set(x.sig),
    b.set(y.sig),
    low.set(ZERO64),
    rest.set(ZERO64),
    ifElse(i64.geU(high.get, b.get), [
      low.set(i64.shl(high.get, i64.const(63))),
      high.set(i64.shrU(high.get, i64.const(1))),
      exp.set(i32.add(exp.get, ONE32)),
    ]),
    bHigh.set(highHalf(b.get)),
    step(highHalf(low.get)),
    quotient.set(i64.shl(digit.get, i64.const(32))),
    step(lowHalf(low.get)),
    quotient.set(i64.or(quotient.get, digit.get)),
    // Less than half, half, or more.
    ifElse(i64.ne(high.get, ZERO64), [
      left.set(i64.sub(b.get, high.get)),
      rest.set(
        select(i64.eq(high.get, left.get), MIN64, select(i64.gtU(high.get, left.get), i64.const(-1), i64.const(1))),
      ),
    ]),
    round(work, control, sign.get, exp, quotient, rest.get),
  ])
}

/**
 * The square root, of a zero or a positive number. The 128-bit radicand's root is found as Zimmermann, "Karatsuba Square Root", does: the root of
 * the upper half, then one division.
 */
export function rootOfNumber(work: Work, control: Code, x: Number80): Code {
  const unbiased = variable(work, I32)
  const exp = variable(work, I32)
  const high = variable(work, I64)
  const low = variable(work, I64)
  const half = variable(work, I64)
  const over = variable(work, I64)
  const quotient = variable(work, I64)
  const root = variable(work, I64)
  const square = variable(work, I64)
  const rest = variable(work, I64)
  const restHigh = variable(work, I64)
  const estimate = variable(work, F64)
  const done = label()
  const one = i64.const(1)
  return block(done, [
    failIfOdd(work, x),
    ifElse(i64.eqz(x.sig), [zero(work, i32.and(x.sexp, SIGN)), branch(done)]),
    ifElse(i32.and(x.sexp, SIGN), work.fail),
    unbiased.set(i32.sub(i32.and(x.sexp, EXPONENT), i32.const(16383))),
    exp.set(i32.add(i32.shrS(unbiased.get, ONE32), i32.const(16383))),
    high.set(x.sig),
    low.set(ZERO64),
    ifElse(not(i32.and(unbiased.get, ONE32)), [
      low.set(i64.shl(high.get, i64.const(63))),
      high.set(i64.shrU(high.get, one)),
    ]),
    // The root of the upper half, whose double is near enough to be wrong by one at most; `over` is what it leaves.
    estimate.set(f64.sqrt(f64.fromU64(high.get))),
    half.set(f64.toI64(estimate.get)),
    half.set(select(i64.gtU(half.get, LOW32), LOW32, half.get)),
    over.set(i64.sub(high.get, i64.mul(half.get, half.get))),
    ifElse(i64.ltS(over.get, ZERO64), [
      half.set(i64.sub(half.get, one)),
      over.set(i64.add(over.get, i64.add(i64.shl(half.get, one), one))),
    ]),
    ifElse(i64.gtS(over.get, i64.shl(half.get, one)), [
      over.set(i64.sub(over.get, i64.add(i64.shl(half.get, one), one))),
      half.set(i64.add(half.get, one)),
    ]),
    // The lower 32 bits of the root: (over · 2^32 + next) / (2 · half), without the bit for which there is no room.
    square.set(i64.or(i64.shl(over.get, i64.const(31)), i64.shrU(low.get, i64.const(33)))),
    quotient.set(i64.divU(square.get, half.get)),
    over.set(i64.sub(square.get, i64.mul(quotient.get, half.get))),
    over.set(i64.or(i64.shl(over.get, one), i64.and(i64.shrU(low.get, i64.const(32)), one))),
    root.set(i64.add(i64.shl(half.get, i64.const(32)), quotient.get)),
    // over · 2^32 + what is left of the radicand − quotient², in 128 bits.
    square.set(i64.mul(quotient.get, quotient.get)),
    rest.set(i64.or(i64.shl(over.get, i64.const(32)), lowHalf(low.get))),
    restHigh.set(
      i64.sub(i64.sub(highHalf(over.get), highHalf(quotient.get)), i64.extendU(i64.ltU(rest.get, square.get))),
    ),
    rest.set(i64.sub(rest.get, square.get)),
    ifElse(i64.ltS(restHigh.get, ZERO64), [
      // Add 2 · root − 1: at most 65 bits.
      root.set(i64.sub(root.get, one)),
      square.set(i64.or(i64.shl(root.get, one), one)),
      restHigh.set(i64.add(restHigh.get, i64.shrU(root.get, i64.const(63)))),
      rest.set(i64.add(rest.get, square.get)),
      restHigh.set(i64.add(restHigh.get, i64.extendU(i64.ltU(rest.get, square.get)))),
    ]),
    // A root is never half-way: the remainder says on which side of it.
    rest.set(
      select(
        i32.or(i64.ne(restHigh.get, ZERO64), i64.gtU(rest.get, root.get)),
        i64.const(-1),
        i64.extendU(i64.ne(rest.get, ZERO64)),
      ),
    ),
    round(work, control, ZERO32, exp, root, rest.get),
  ])
}

/** Sets the i32 local `outcome` to the condition codes: 0, 100h (a is less), 4000h (equal). */
export function compareNumbers(work: Work, x: Number80, y: Number80, outcome: number): Code {
  const order = variable(work, I32)
  const aExp = i32.and(x.sexp, EXPONENT)
  const bExp = i32.and(y.sexp, EXPONENT)
  return [
    failIfOdd(work, x, y),
    ifElse(
      i64.eqz(i64.or(x.sig, y.sig)),
      setLocal(outcome, i32.const(0x4000)),
      ifElse(
        i32.and(i32.xor(x.sexp, y.sexp), SIGN),
        // Signs differ, and one of them is not zero.
        setLocal(outcome, i32.shrU(i32.and(x.sexp, SIGN), i32.const(7))),
        [
          // −1, 0, 1 for magnitudes; zeros have the least exponent.
          order.set(
            i32.sub(
              i32.or(i32.gtU(aExp, bExp), i32.and(i32.eq(aExp, bExp), i64.gtU(x.sig, y.sig))),
              i32.or(i32.ltU(aExp, bExp), i32.and(i32.eq(aExp, bExp), i64.ltU(x.sig, y.sig))),
            ),
          ),
          setLocal(
            outcome,
            select(
              order.get,
              i32.shl(i32.eq(i32.ltS(order.get, ZERO32), not(i32.and(x.sexp, SIGN))), i32.const(8)),
              i32.const(0x4000),
            ),
          ),
        ],
      ),
    ),
  ]
}

/** The number in the i32 `bits` of a single, or the i64 of a double. */
export function fromBinary(work: Work, bits: Code, wide: boolean): Code {
  const exp = variable(work, I32)
  const sign = i32.and(wide ? i32.wrap(i64.shrU(bits, i64.const(48))) : i32.shrU(bits, i32.const(16)), SIGN)
  const magnitude = wide ? i64.ne(i64.shl(bits, i64.const(1)), ZERO64) : i32.shl(bits, ONE32)
  const maximum = wide ? 0x7ff : 0xff
  return [
    exp.set(
      i32.and(wide ? i32.wrap(i64.shrU(bits, i64.const(52))) : i32.shrU(bits, i32.const(23)), i32.const(maximum)),
    ),
    ifElse(
      i32.geU(i32.sub(exp.get, ONE32), i32.const(maximum - 1)),
      [ifElse(magnitude, work.fail), zero(work, sign)],
      [
        setLocal(work.sig, i64.or(i64.shl(wide ? bits : i64.extendU(bits), i64.const(wide ? 11 : 40)), MIN64)),
        setLocal(work.word, i32.or(sign, i32.add(exp.get, i32.const(16383 - (maximum >> 1))))),
      ],
    ),
  ]
}

/** The number that an i64 is. `value` is read more than once. */
export function fromInteger(work: Work, value: Code): Code {
  const zeros = variable(work, I64)
  const mask = i64.shrS(value, i64.const(63))
  return [
    setLocal(work.sig, i64.sub(i64.xor(value, mask), mask)),
    zeros.set(i64.clz(getLocal(work.sig))),
    setLocal(work.sig, i64.shl(getLocal(work.sig), zeros.get)),
    setLocal(
      work.word,
      select(
        i64.eqz(value),
        ZERO32,
        i32.or(i32.and(i32.wrap(mask), SIGN), i32.sub(i32.const(16383 + 63), i32.wrap(zeros.get))),
      ),
    ),
  ]
}

/** As a single or double, whose bits go to the result's i64; the word has the status bits alone. */
export function toBinary(work: Work, x: Number80, wide: boolean): Code {
  const dropped = wide ? 11 : 40
  const unit = 1n << BigInt(dropped)
  const maximum = wide ? 0x7fe : 0xfe
  const sig = variable(work, I64)
  const low = variable(work, I64)
  const up = variable(work, I32)
  const exp = variable(work, I32)
  const sign = i64.shl(i64.extendU(i32.and(x.sexp, SIGN)), i64.const(wide ? 48 : 16))
  return [
    failIfOdd(work, x),
    ifElse(
      i64.eqz(x.sig),
      [setLocal(work.sig, sign), setLocal(work.word, ZERO32)],
      [
        low.set(i64.and(x.sig, i64.const(unit - 1n))),
        up.set(
          i32.or(
            i64.gtU(low.get, i64.const(unit >> 1n)),
            i32.and(i64.eq(low.get, i64.const(unit >> 1n)), i64.ne(i64.and(x.sig, i64.const(unit)), ZERO64)),
          ),
        ),
        exp.set(i32.sub(i32.and(x.sexp, EXPONENT), i32.const(16383 - (maximum >> 1)))),
        sig.set(i64.add(i64.sub(x.sig, low.get), i64.shl(i64.extendU(up.get), i64.const(dropped)))),
        ifElse(i64.eqz(sig.get), exp.set(i32.add(exp.get, ONE32))),
        ifElse(i32.geU(i32.sub(exp.get, ONE32), i32.const(maximum)), work.fail),
        setLocal(
          work.sig,
          i64.or(
            sign,
            i64.or(
              i64.shl(i64.extendU(exp.get), i64.const(wide ? 52 : 23)),
              i64.shrU(i64.shl(sig.get, i64.const(1)), i64.const(dropped + 1)),
            ),
          ),
        ),
        setLocal(work.word, statusBits(i64.ne(low.get, ZERO64), up.get)),
      ],
    ),
  ]
}

/** As an integer of `bits` bits, in the result's i64, under the `rounding` control 0–3; the word has the status bits alone. */
export function toInteger(work: Work, x: Number80, bits: Code, rounding: Code): Code {
  const distance = variable(work, I32)
  const up = variable(work, I32)
  const value = variable(work, I64)
  const rest = variable(work, I64)
  const sign = i32.and(i32.shrU(x.sexp, i32.const(15)), ONE32)
  return [
    failIfOdd(work, x),
    value.set(x.sig),
    up.set(ZERO32),
    // Bits below the integer's last one.
    distance.set(i32.sub(i32.const(16383 + 63), i32.and(x.sexp, EXPONENT))),
    ifElse(i32.leS(distance.get, ZERO32), work.fail),
    ifElse(
      i32.geU(distance.get, i32.const(64)),
      [
        rest.set(select(i32.eq(distance.get, i32.const(64)), value.get, i64.extendU(i64.ne(value.get, ZERO64)))),
        value.set(ZERO64),
      ],
      [
        rest.set(i64.shl(value.get, i64.extendU(i32.sub(i32.const(64), distance.get)))),
        value.set(i64.shrU(value.get, i64.extendU(distance.get))),
      ],
    ),
    ifElse(i64.ne(rest.get, ZERO64), [
      ifElse(
        rounding,
        // Down for negative numbers, up for others; never toward zero.
        up.set(i32.eq(rounding, i32.sub(i32.const(2), sign))),
        up.set(
          i32.and(
            i32.wrap(i64.shrU(rest.get, i64.const(63))),
            i32.or(i64.ne(i64.shl(rest.get, i64.const(1)), ZERO64), i32.and(i32.wrap(value.get), ONE32)),
          ),
        ),
      ),
      value.set(i64.add(value.get, i64.extendU(up.get))),
    ]),
    // The magnitude must be below 2^(bits − 1), or equal to it if negative.
    ifElse(
      i64.geU(value.get, i64.add(i64.shl(i64.const(1), i64.extendU(i32.sub(bits, ONE32))), i64.extendU(sign))),
      work.fail,
    ),
    setLocal(work.sig, select(sign, i64.sub(ZERO64, value.get), value.get)),
    setLocal(work.word, statusBits(i64.ne(rest.get, ZERO64), up.get)),
  ]
}
