/**
 * The transcendental instructions, in fixed-point arithmetic that is far more exact than a result can be, and then rounded once. So the result is the true
 * value's neighbour by the rounding control, where processors promise to be within one unit in the last place.
 *
 * Angles are reduced by the processors' own π of 66 bits, which makes sine and cosine of large arguments what they are there.
 * Source: Intel SDM Vol. 1, "Transcendental Instruction Accuracy", "Approximation of Pi"; Vol. 2, the pages of F2XM1, FYL2X, FYL2XP1, FPATAN, FPTAN, FSIN, FCOS, FSINCOS.
 */

import {
  CLASS_INFINITY,
  CLASS_QNAN,
  CLASS_ZERO,
  classify,
  EXPONENT_BIAS,
  EXPONENT_MAX,
  type Float80,
  type Float80Context,
  setInfinity,
  setZero,
  X87_PE,
  X87_ZE,
} from './float80.js'

/** Bits of a fixed-point fraction beyond those that a small value needs to be seen at all. */
const GUARD = 176

/** Below 2^−this, a function that is linear at 0 differs from its tangent by too little to be seen, but for the side it is on. */
const LINEAR = 90

/** π as the processors know it, × 2^66. */
const PI66 = 0xc90fdaa22168c234cn

// --- fixed point ---------------------------------------------------------------------------------------------------

function bits(value: bigint): number {
  return value.toString(16).length * 4
}

/** The significand of a finite number other than zero. */
function significand(a: Float80): bigint {
  return (BigInt(a.hi >>> 0) << 32n) | BigInt(a.lo >>> 0)
}

/** The power of two that the significand's last bit stands for. */
function scale(a: Float80): number {
  return (a.sexp & EXPONENT_MAX || 1) - EXPONENT_BIAS - 63
}

function shift(value: bigint, left: number): bigint {
  return left >= 0 ? value << BigInt(left) : value >> BigInt(-left)
}

/** The series Σ ± x^(2n+1) / (2n+1): atan with alternating signs, else atanh. `f` fraction bits; |x| well below 1. */
function arcSeries(x: bigint, f: bigint, alternating: boolean): bigint {
  const square = (x * x) >> f
  let power = x
  let sum = x
  for (let n = 3n; ; n += 2n) {
    power = (power * square) >> f
    const term = power / n
    if (term === 0n || term === -1n) return sum
    sum += alternating && n & 2n ? -term : term
  }
}

/** Constants with {@link CONSTANT_BITS} fraction bits, made when they are first needed. */
const CONSTANT_BITS = 320
let ln2 = 0n
let log2e = 0n
let pi = 0n
/** atan(k/16), at indices 0 to 16. */
let arctangents: readonly bigint[] = []

function prepare(): void {
  if (ln2 !== 0n) return
  const f = BigInt(CONSTANT_BITS + 32)
  const one = 1n << f
  const down = (value: bigint): bigint => value >> 32n
  // ln 2 = 2 atanh(1/3)
  const l2 = 2n * arcSeries(one / 3n, f, false)
  ln2 = down(l2)
  log2e = down((one << f) / l2)
  // Machin: π/4 = 4 atan(1/5) − atan(1/239)
  pi = down(4n * (4n * arcSeries(one / 5n, f, true) - arcSeries(one / 239n, f, true)))
  const table = [0n]
  let sum = 0n
  for (let k = 1n; k <= 16n; k++) {
    // atan(k/16) − atan((k−1)/16) = atan(16 / (256 + k(k−1)))
    sum += arcSeries((16n << f) / (256n + k * (k - 1n)), f, true)
    table.push(down(sum))
  }
  arctangents = table
}

/** A constant with `f` fraction bits, which may be more than it has. */
function constantAt(value: bigint, f: number): bigint {
  return shift(value, f - CONSTANT_BITS)
}

/** r ← ± value × 2^power, rounded; `value` stands for a number that is never exact. */
function pack(c: Float80Context, r: Float80, negative: boolean, value: bigint, power: number, exact = false): void {
  // 96 bits with the top one set.
  const size = bits(value)
  const top = shift(value, 96 - size)
  let exp = power + size - 1 + EXPONENT_BIAS
  c.ex = Number(top & 0xffff_ffffn) | 0
  c.lo = Number((top >> 32n) & 0xffff_ffffn) | 0
  c.hi = Number((top >> 64n) & 0xffff_ffffn) | 0
  exp -= c.normalize()
  if (!exact) c.ex |= 1
  c.roundPack(r, negative ? 1 : 0, exp, 64)
}

// --- exponentials and logarithms -----------------------------------------------------------------------------------

/** Outside an instruction's range the result is undefined: the argument comes back, as inexact. */
function undefinedResult(c: Float80Context, a: Float80, r: Float80): void {
  c.flags |= X87_PE
  r.copy(a)
}

/** r ← 2^a − 1, for |a| ≤ 1. */
export function exponential(c: Float80Context, a: Float80, r: Float80): void {
  const kind = classify(a)
  if (c.special1(a, kind, r)) return
  const sign = a.sexp >> 15
  if (kind === CLASS_ZERO) {
    r.copy(a)
    return
  }
  if (kind === CLASS_INFINITY) {
    if (sign) r.set(0xbfff, 0x8000_0000, 0)
    else setInfinity(r, 0)
    return
  }
  if ((a.sexp & EXPONENT_MAX) >= EXPONENT_BIAS) {
    if ((a.sexp & EXPONENT_MAX) > EXPONENT_BIAS || ((a.hi << 1) | a.lo) !== 0) undefinedResult(c, a, r)
    else {
      // Exact, and reported as inexact all the same.
      c.flags |= X87_PE
      if (sign) r.set(0xbffe, 0x8000_0000, 0)
      else r.copy(a)
    }
    return
  }
  prepare()
  const m = significand(a)
  const power = scale(a)
  if (power + 63 < -LINEAR) {
    pack(c, r, sign !== 0, m * ln2, power - CONSTANT_BITS)
    return
  }
  const f = GUARD + Math.max(0, -(power + bits(m)))
  const wide = BigInt(f)
  let y = (shift(m, f + power) * constantAt(ln2, f)) >> wide
  if (sign) y = -y
  let sum = y
  let term = y
  for (let n = 2n; ; n++) {
    term = ((term * y) >> wide) / n
    if (term === 0n || term === -1n) break
    sum += term
  }
  pack(c, r, sum < 0n, sum < 0n ? -sum : sum, -f)
}

/** log2 of 1 + d × 2^−f (above 0), with f fraction bits: relative accuracy of {@link GUARD} bits if d has as many. */
function log2Near1(d: bigint, f: number): bigint {
  const wide = BigInt(f)
  // 2 atanh(d / (2 + d))
  const z = (d << wide) / ((2n << wide) + d)
  return (2n * arcSeries(z, wide, false) * constantAt(log2e, f)) >> wide
}

/** r ← b × log2(a). */
export function logarithm(c: Float80Context, a: Float80, b: Float80, r: Float80): void {
  const kindA = classify(a)
  const kindB = classify(b)
  const signA = a.sexp >> 15
  const signB = b.sexp >> 15
  if (kindA < CLASS_QNAN && kindB < CLASS_QNAN) {
    if (kindA !== CLASS_ZERO && signA) {
      c.invalid(r)
      return
    }
    if (kindA === CLASS_ZERO) {
      if (kindB === CLASS_ZERO) c.invalid(r)
      else {
        if (kindB !== CLASS_INFINITY) c.flags |= X87_ZE
        setInfinity(r, signB ^ 1)
      }
      return
    }
  }
  if (c.special2(a, kindA, b, kindB, r)) return
  const isOne = a.sexp === EXPONENT_BIAS && ((a.hi << 1) | a.lo) === 0
  if (kindA === CLASS_INFINITY) {
    if (kindB === CLASS_ZERO) c.invalid(r)
    else setInfinity(r, signB)
    return
  }
  const below1 = (a.sexp & EXPONENT_MAX) < EXPONENT_BIAS ? 1 : 0
  if (kindB === CLASS_INFINITY) {
    if (isOne) c.invalid(r)
    else setInfinity(r, signB ^ below1)
    return
  }
  if (kindB === CLASS_ZERO || isOne) {
    setZero(r, signB ^ below1)
    return
  }
  prepare()
  // a = x × 2^k with x between √½ and √2.
  const m = significand(a)
  const size = m.toString(2).length
  let k = scale(a) + size - 1
  const f = GUARD + 80
  const wide = BigInt(f)
  let d = shift(m, f - (size - 1)) - (1n << wide)
  // √2 − 1
  if (d > 0x6a09e667f3bcc908b2fb1366ea957d3en << (wide - 128n)) {
    k++
    d = (d - (1n << wide)) >> 1n
  }
  let value = (BigInt(k) << wide) + (d === 0n ? 0n : log2Near1(d, f))
  const negative = value < 0n
  if (negative) value = -value
  // A power of two has an exact logarithm; processors report it as inexact all the same.
  c.flags |= X87_PE
  pack(c, r, negative !== (signB !== 0), value * significand(b), scale(b) - f, d === 0n)
}

/** r ← b × log2(a + 1). */
export function logarithmPlus1(c: Float80Context, a: Float80, b: Float80, r: Float80): void {
  const kindA = classify(a)
  const kindB = classify(b)
  const signA = a.sexp >> 15
  const signB = b.sexp >> 15
  const beyond = kindA < CLASS_QNAN && signA !== 0 && (a.sexp & EXPONENT_MAX) >= EXPONENT_BIAS
  if (beyond && kindB < CLASS_QNAN && kindA === CLASS_INFINITY) {
    c.invalid(r)
    return
  }
  if (c.special2(a, kindA, b, kindB, r)) return
  if (kindA === CLASS_INFINITY) {
    if (kindB === CLASS_ZERO) c.invalid(r)
    else setInfinity(r, signB)
    return
  }
  if (kindB === CLASS_INFINITY) {
    if (kindA === CLASS_ZERO) c.invalid(r)
    else setInfinity(r, signA ^ signB)
    return
  }
  if (kindA === CLASS_ZERO || kindB === CLASS_ZERO) {
    setZero(r, signA ^ signB)
    return
  }
  if (beyond) {
    undefinedResult(c, a, r)
    return
  }
  prepare()
  const m = significand(a)
  const power = scale(a)
  if (power + 63 < -LINEAR) {
    pack(c, r, signA !== signB, m * log2e * significand(b), power + scale(b) - CONSTANT_BITS)
    return
  }
  if (signA === 0 && power + 63 > 2 * LINEAR) {
    // Here 1 more or less is nothing.
    logarithm(c, a, b, r)
    return
  }
  const f = GUARD + 80 + Math.max(0, -(power + bits(m)))
  const wide = BigInt(f)
  const one = 1n << wide
  let value: bigint
  const offset = shift(m, f + power)
  if (signA === 0 && offset >= one >> 1n) {
    // Beyond what the instruction is defined for, but clear enough.
    const x = one + offset
    const k = x.toString(2).length - 1 - f
    const d = (k >= 0 ? x >> BigInt(k) : x << BigInt(-k)) - one
    value = (BigInt(k) << wide) + (d === 0n ? 0n : log2Near1(d, f))
  } else value = log2Near1(signA ? -offset : offset, f)
  const negative = value < 0n
  if (negative) value = -value
  pack(c, r, negative !== (signB !== 0), value * significand(b), scale(b) - f)
}

// --- angles --------------------------------------------------------------------------------------------------------

/** atan(x × 2^−f) for x from 0 to 1. */
function arctangent(x: bigint, f: number): bigint {
  const wide = BigInt(f)
  const k = Number((x * 16n + (1n << (wide - 1n))) >> wide)
  if (k === 0) return arcSeries(x, wide, true)
  // (x − k/16) / (1 + x k/16)
  const step = BigInt(k)
  const rest = ((x * 16n - (step << wide)) << wide) / ((16n << wide) + x * step)
  return constantAt(arctangents[k]!, f) + arcSeries(rest, wide, true)
}

/** r ← ± π × numerator / 4. */
function quarterTurns(c: Float80Context, r: Float80, sign: number, quarters: number): void {
  prepare()
  pack(c, r, sign !== 0, pi * BigInt(quarters), -CONSTANT_BITS - 2)
}

/** r ← the angle of the point (x, y): atan(y / x) in the quadrant of the point. */
export function arctangent2(c: Float80Context, x: Float80, y: Float80, r: Float80): void {
  const kindX = classify(x)
  const kindY = classify(y)
  if (c.special2(x, kindX, y, kindY, r)) return
  const signX = x.sexp >> 15
  const signY = y.sexp >> 15
  if (kindY === CLASS_INFINITY) {
    quarterTurns(c, r, signY, kindX === CLASS_INFINITY ? (signX ? 3 : 1) : 2)
    return
  }
  if (kindX === CLASS_INFINITY || kindY === CLASS_ZERO) {
    if (signX) quarterTurns(c, r, signY, 4)
    else setZero(r, signY)
    return
  }
  if (kindX === CLASS_ZERO) {
    quarterTurns(c, r, signY, 2)
    return
  }
  prepare()
  let over = significand(y)
  let under = significand(x)
  let power = scale(y) - scale(x)
  // The quotient of the smaller by the larger.
  const sizeOver = over.toString(2).length + power
  const sizeUnder = under.toString(2).length
  const distance = Math.abs(sizeOver - sizeUnder)
  const steep =
    sizeOver > sizeUnder ||
    (sizeOver === sizeUnder &&
      (power >= 0 ? over << BigInt(power) : over) > (power >= 0 ? under : under << BigInt(-power)))
  if (distance > LINEAR) {
    const right = pi >> 1n
    if (steep) pack(c, r, signY !== 0, signX ? right : right - 1n, -CONSTANT_BITS)
    else if (signX) pack(c, r, signY !== 0, pi - 1n, -CONSTANT_BITS)
    else {
      // The tangent, less next to nothing.
      const ratio = (over << BigInt(GUARD)) / under
      pack(c, r, signY !== 0, ratio * under === over << BigInt(GUARD) ? ratio - 1n : ratio, power - GUARD)
    }
    return
  }
  const f = GUARD + distance
  if (steep) {
    const swap = over
    over = under
    under = swap
    power = -power
  }
  const quotient = f + power >= 0 ? (over << BigInt(f + power)) / under : over / (under << BigInt(-f - power))
  let angle = arctangent(quotient, f)
  if (steep) {
    const half = constantAt(pi, f) >> 1n
    angle = signX ? half + angle : half - angle
  } else if (signX) angle = constantAt(pi, f) - angle
  pack(c, r, signY !== 0, angle, -f)
}

/** Sine and cosine of the last reduced angle, with `fraction` bits. A cosine of 0 stands for 1: the angle is tiny. */
let sine = 0n
let cosine = 0n
let fraction = 0

/** Prepares {@link sine} and {@link cosine} of a, |a| < 2^63. */
function circular(a: Float80): void {
  const m = significand(a)
  const power = scale(a)
  if (power + 63 < -LINEAR) {
    // A sine is smaller than its angle, also where that does not show; the significand is at the scale of the argument.
    sine = (m << BigInt(GUARD)) - 1n
    if (a.sexp >> 15) sine = -sine
    cosine = 0n
    fraction = GUARD - power
    return
  }
  const f0 = Math.max(67, -power)
  const x = m << BigInt(f0 + power)
  const quarter = PI66 << BigInt(f0 - 67)
  let q = 0n
  let rest = x
  if (power + bits(m) >= -2) {
    q = (2n * x + quarter) / (2n * quarter)
    rest = x - q * quarter
  }
  const size = bits(rest < 0n ? -rest : rest)
  // As many bits as the smallest of both needs.
  const f = Math.max(f0, f0 - size + GUARD)
  const wide = BigInt(f)
  const angle = rest << BigInt(f - f0)
  const square = (angle * angle) >> wide
  let term = angle
  let s = angle
  for (let n = 2n; ; n += 2n) {
    term = -((term * square) >> wide) / (n * (n + 1n))
    if (term === 0n) break
    s += term
  }
  // A sine is smaller than its angle, also where that does not show.
  if (s === angle) s += s > 0n ? -1n : 1n
  const one = 1n << wide
  term = one
  let k = one
  for (let n = 1n; ; n += 2n) {
    term = -((term * square) >> wide) / (n * (n + 1n))
    if (term === 0n) break
    k += term
  }
  if (k === one) k--
  switch (Number(q & 3n)) {
    case 0:
      sine = s
      cosine = k
      break
    case 1:
      sine = k
      cosine = -s
      break
    case 2:
      sine = -s
      cosine = -k
      break
    default:
      sine = -k
      cosine = s
  }
  if (a.sexp >> 15) sine = -sine
  fraction = f
}

/** An argument that {@link sineCosine} and {@link tangent} leave alone. */
export const ANGLE_OUT_OF_RANGE = 1

/** Is it beyond ±2^63? */
function outOfRange(a: Float80, kind: number): boolean {
  return kind < CLASS_INFINITY && (a.sexp & EXPONENT_MAX) >= EXPONENT_BIAS + 63
}

/** `sin` and `cos`, either of which may be absent, ← those of a. Returns {@link ANGLE_OUT_OF_RANGE} or 0. */
export function sineCosine(c: Float80Context, a: Float80, sin: Float80 | undefined, cos: Float80 | undefined): number {
  const kind = classify(a)
  if (outOfRange(a, kind)) return ANGLE_OUT_OF_RANGE
  const target = sin ?? cos!
  if (kind === CLASS_INFINITY) c.invalid(target)
  if (kind === CLASS_INFINITY || c.special1(a, kind, target)) {
    if (sin !== undefined) cos?.copy(sin)
    return 0
  }
  if (kind === CLASS_ZERO) {
    sin?.copy(a)
    cos?.set(EXPONENT_BIAS, 0x8000_0000, 0)
    return 0
  }
  circular(a)
  if (cos !== undefined) {
    if (cosine === 0n) pack(c, cos, false, (1n << 128n) - 1n, -128)
    else pack(c, cos, cosine < 0n, cosine < 0n ? -cosine : cosine, -fraction)
  }
  if (sin !== undefined) pack(c, sin, sine < 0n, sine < 0n ? -sine : sine, -fraction)
  return 0
}

/** r ← tan(a); the caller pushes 1, or what became of an operand that is no angle. */
export function tangent(c: Float80Context, a: Float80, r: Float80): number {
  const kind = classify(a)
  if (outOfRange(a, kind)) return ANGLE_OUT_OF_RANGE
  if (kind === CLASS_INFINITY) {
    c.invalid(r)
    return 0
  }
  if (c.special1(a, kind, r)) return 0
  if (kind === CLASS_ZERO) {
    r.copy(a)
    return 0
  }
  circular(a)
  if (cosine === 0n) {
    // The tangent of a tiny angle is a little larger than the angle.
    pack(c, r, sine < 0n, (sine < 0n ? -sine : sine) + 2n, -fraction)
    return 0
  }
  const negative = sine < 0n !== cosine < 0n
  const s = sine < 0n ? -sine : sine
  const k = cosine < 0n ? -cosine : cosine
  // Where a tiny angle's cosine is 1, the tangent is the sine, but a little larger than the angle.
  const quotient = (s << BigInt(fraction)) / k
  pack(c, r, negative, quotient + 1n, -fraction)
  return 0
}
