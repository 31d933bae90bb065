/**
 * SSE floating point said a second time, with rational numbers in BigInt: operands become fractions, results are compared with neighbouring numbers of the
 * format. Written from the Intel SDM Vol. 1 ("Floating-Point Exception Conditions", "Operating on NaNs") and IEEE 754, not from the code.
 */

export interface Format {
  readonly bits: number
  readonly fraction: number
  readonly bias: number
}

export const SINGLE: Format = { bits: 32, fraction: 23, bias: 127 }
export const DOUBLE: Format = { bits: 64, fraction: 52, bias: 1023 }

/** numerator / denominator, the latter positive; `negativeZero` gives zero a sign. */
interface Rational {
  readonly n: bigint
  readonly d: bigint
}

export interface Answer {
  readonly bits: bigint
  readonly flags: number
}

export const IE = 1
export const DE = 2
export const ZE = 4
const OE = 8
const UE = 16
const PE = 32

const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n

function signOf(f: Format, x: bigint): boolean {
  return x >> BigInt(f.bits - 1) === 1n
}
function exponentOf(f: Format, x: bigint): number {
  return Number((x >> BigInt(f.fraction)) & mask(f.bits - 1 - f.fraction))
}
function fractionOf(f: Format, x: bigint): bigint {
  return x & mask(f.fraction)
}
const top = (f: Format): number => 2 * f.bias + 1
const isNan = (f: Format, x: bigint): boolean => exponentOf(f, x) === top(f) && fractionOf(f, x) !== 0n
const isInfinite = (f: Format, x: bigint): boolean => exponentOf(f, x) === top(f) && fractionOf(f, x) === 0n
const isZero = (f: Format, x: bigint): boolean => exponentOf(f, x) === 0 && fractionOf(f, x) === 0n
const isDenormal = (f: Format, x: bigint): boolean => exponentOf(f, x) === 0 && fractionOf(f, x) !== 0n
const quietBit = (f: Format): bigint => 1n << BigInt(f.fraction - 1)
const isSignalling = (f: Format, x: bigint): boolean => isNan(f, x) && (x & quietBit(f)) === 0n

const signed = (f: Format, negative: boolean, size: bigint): bigint => (negative ? 1n << BigInt(f.bits - 1) : 0n) | size
const infinity = (f: Format, negative: boolean): bigint => signed(f, negative, BigInt(top(f)) << BigInt(f.fraction))
const zero = (f: Format, negative: boolean): bigint => signed(f, negative, 0n)
const defaultNaN = (f: Format): bigint => infinity(f, true) | quietBit(f)
const quieted = (f: Format, x: bigint): bigint => x | quietBit(f)

const power = (e: number): Rational => (e >= 0 ? { n: 1n << BigInt(e), d: 1n } : { n: 1n, d: 1n << BigInt(-e) })

/** Value of a finite number. */
function numberOf(f: Format, x: bigint): Rational {
  const e = exponentOf(f, x)
  const size = e === 0 ? fractionOf(f, x) : fractionOf(f, x) | (1n << BigInt(f.fraction))
  const scale = power(Math.max(e, 1) - f.bias - f.fraction)
  return { n: (signOf(f, x) ? -size : size) * scale.n, d: scale.d }
}

const abs = (n: bigint): bigint => (n < 0n ? -n : n)

/** `floor(|x| / 2^e)` and whether and how much is left: 0 nothing, 1 less than half, 2 half, 3 more. */
function quotient(x: Rational, e: number): { whole: bigint; rest: number } {
  const unit = power(e)
  const n = abs(x.n) * unit.d
  const d = x.d * unit.n
  const left = n % d
  return { whole: n / d, rest: left === 0n ? 0 : left * 2n < d ? 1 : left * 2n === d ? 2 : 3 }
}

function up(mode: number, negative: boolean, whole: bigint, rest: number): boolean {
  if (rest === 0) return false
  if (mode === 0) return rest === 3 || (rest === 2 && (whole & 1n) === 1n)
  if (mode === 1) return negative
  if (mode === 2) return !negative
  return false
}

/** Exponent of |x|: the e with 2^e ≤ |x| < 2^(e+1). */
function binade(x: Rational): number {
  let e = abs(x.n).toString(2).length - x.d.toString(2).length
  const one = power(e)
  if (abs(x.n) * one.d < one.n * x.d) e--
  return e
}

/** A non-zero number, rounded: IEEE 754 with tininess after rounding, FZ and masks of MXCSR. */
export function round(f: Format, x: Rational, mxcsr: number): Answer {
  const mode = (mxcsr >> 13) & 3
  const negative = x.n < 0n
  const e = binade(x)
  // As if the exponent were unbounded.
  const free = quotient(x, e - f.fraction)
  const freeUp = free.whole + (up(mode, negative, free.whole, free.rest) ? 1n : 0n)
  const freeExponent = freeUp > mask(f.fraction + 1) ? e + 1 : e
  if (freeExponent < 1 - f.bias) {
    const inexact = free.rest !== 0
    if ((mxcsr & 0x800) === 0) return { bits: 0n, flags: UE | (inexact ? PE : 0) }
    if (mxcsr & 0x8000) return { bits: zero(f, negative), flags: UE | PE }
    const part = quotient(x, 1 - f.bias - f.fraction)
    const size = part.whole + (up(mode, negative, part.whole, part.rest) ? 1n : 0n)
    return { bits: signed(f, negative, size), flags: part.rest === 0 ? 0 : UE | PE }
  }
  if (e < 1 - f.bias) {
    // Not tiny because rounding reaches the smallest normal number.
    return { bits: signed(f, negative, 1n << BigInt(f.fraction)), flags: PE }
  }
  const precision = free.rest === 0 ? 0 : PE
  if (freeExponent > f.bias) {
    const infinite = mode === 0 || mode === (negative ? 1 : 2)
    const bits = infinite ? infinity(f, negative) : infinity(f, negative) - 1n
    return { bits, flags: OE | (mxcsr & 0x400 ? PE : precision) }
  }
  const fraction = freeUp > mask(f.fraction + 1) ? 0n : freeUp & mask(f.fraction)
  return {
    bits: signed(f, negative, (BigInt(freeExponent + f.bias) << BigInt(f.fraction)) | fraction),
    flags: precision,
  }
}

function flushed(f: Format, x: bigint, mxcsr: number): bigint {
  return mxcsr & 0x40 && isDenormal(f, x) ? zero(f, signOf(f, x)) : x
}

/** The square root of n/d as a fraction that rounds as the root does: 200 bits, with a last bit that says "and a little more". */
function root(x: Rational): Rational {
  const shift = 1200n
  const scaled = (x.n << (2n * shift)) / x.d
  let low = 0n
  let high = 1n << BigInt(Math.ceil(scaled.toString(2).length / 2) + 1)
  while (high - low > 1n) {
    const middle = (low + high) >> 1n
    if (middle * middle <= scaled) low = middle
    else high = middle
  }
  const exact = low * low === scaled && (x.n << (2n * shift)) % x.d === 0n
  return { n: low * 2n + (exact ? 0n : 1n), d: 1n << (shift + 1n) }
}

/** a op b, one element. */
export function arithmetic(
  op: 'add' | 'sub' | 'mul' | 'div' | 'sqrt',
  f: Format,
  a: bigint,
  b: bigint,
  mxcsr: number,
): Answer {
  const operands = op === 'sqrt' ? [b] : [a, b]
  const nan = operands.find((x) => isNan(f, x))
  if (nan !== undefined) return { bits: quieted(f, nan), flags: operands.some((x) => isSignalling(f, x)) ? IE : 0 }
  const x = flushed(f, a, mxcsr)
  const raw = flushed(f, b, mxcsr)
  const y = op === 'sub' ? raw ^ (1n << BigInt(f.bits - 1)) : raw
  const invalid: Answer = { bits: defaultNaN(f), flags: IE }
  const denormal = (op === 'sqrt' ? isDenormal(f, y) : isDenormal(f, x) || isDenormal(f, y)) ? DE : 0
  const negative = signOf(f, x) !== signOf(f, y)
  const down = ((mxcsr >> 13) & 3) === 1
  const rounded = (value: Rational, zeroSign: boolean): Answer => {
    if (value.n === 0n) return { bits: zero(f, zeroSign), flags: denormal }
    const { bits, flags } = round(f, value, mxcsr)
    return { bits, flags: flags | denormal }
  }
  switch (op) {
    case 'add':
    case 'sub': {
      if (isInfinite(f, x) && isInfinite(f, y) && negative) return invalid
      if (isInfinite(f, x)) return { bits: x, flags: denormal }
      if (isInfinite(f, y)) return { bits: y, flags: denormal }
      const [p, q] = [numberOf(f, x), numberOf(f, y)]
      return rounded({ n: p.n * q.d + q.n * p.d, d: p.d * q.d }, negative ? down : signOf(f, x))
    }
    case 'mul': {
      if ((isInfinite(f, x) && isZero(f, y)) || (isZero(f, x) && isInfinite(f, y))) return invalid
      if (isInfinite(f, x) || isInfinite(f, y)) return { bits: infinity(f, negative), flags: denormal }
      const [p, q] = [numberOf(f, x), numberOf(f, y)]
      return rounded({ n: p.n * q.n, d: p.d * q.d }, negative)
    }
    case 'div': {
      if ((isInfinite(f, x) && isInfinite(f, y)) || (isZero(f, x) && isZero(f, y))) return invalid
      if (isInfinite(f, x)) return { bits: infinity(f, negative), flags: denormal }
      // Division by zero comes before the denormal operand.
      if (isZero(f, y)) return { bits: infinity(f, negative), flags: ZE }
      if (isInfinite(f, y)) return { bits: zero(f, negative), flags: denormal }
      const [p, q] = [numberOf(f, x), numberOf(f, y)]
      const sign = q.n < 0n ? -1n : 1n
      return rounded({ n: p.n * q.d * sign, d: p.d * abs(q.n) }, negative)
    }
    case 'sqrt':
      if (isZero(f, y)) return { bits: y, flags: 0 }
      if (signOf(f, y)) return invalid
      if (isInfinite(f, y)) return { bits: y, flags: 0 }
      return rounded(root(numberOf(f, y)), false)
  }
}

/** a and b in order: −1, 0, 1, or 2 when unordered. */
export function compare(
  f: Format,
  a: bigint,
  b: bigint,
  mxcsr: number,
  quiet: boolean,
): { order: number; flags: number } {
  if (isNan(f, a) || isNan(f, b)) {
    return { order: 2, flags: !quiet || isSignalling(f, a) || isSignalling(f, b) ? IE : 0 }
  }
  const [x, y] = [flushed(f, a, mxcsr), flushed(f, b, mxcsr)]
  const flags = isDenormal(f, x) || isDenormal(f, y) ? DE : 0
  const key = (v: bigint): bigint => (signOf(f, v) ? -(v & mask(f.bits - 1)) : v)
  return { order: key(x) < key(y) ? -1 : key(x) > key(y) ? 1 : 0, flags }
}

/** MIN (`wanted` −1), MAX (1): the second operand unless the first is the one. */
export function extreme(f: Format, wanted: number, a: bigint, b: bigint, mxcsr: number): Answer {
  const { order, flags } = compare(f, a, b, mxcsr, false)
  return { bits: flushed(f, order === wanted ? a : b, mxcsr), flags }
}

/** Rounding to an integer in rounding mode `mode`; undefined for NaNs and infinities. */
function integer(f: Format, x: bigint, mode: number): { value: bigint; inexact: boolean } | undefined {
  if (isNan(f, x) || isInfinite(f, x)) return undefined
  const value = numberOf(f, x)
  const negative = value.n < 0n
  const { whole, rest } = quotient(value, 0)
  const size = whole + (up(mode, negative, whole, rest) ? 1n : 0n)
  return { value: negative ? -size : size, inexact: rest !== 0 }
}

/** A number as a signed integer of `bits` bits. */
export function toInteger(f: Format, x: bigint, bits: number, mode: number, mxcsr: number): Answer {
  const whole = integer(f, flushed(f, x, mxcsr), mode)
  const limit = 1n << BigInt(bits - 1)
  if (whole === undefined || whole.value < -limit || whole.value >= limit) return { bits: limit, flags: IE }
  return { bits: BigInt.asUintN(bits, whole.value), flags: whole.inexact ? PE : 0 }
}

/** A signed integer as a number. */
export function fromInteger(f: Format, value: bigint, mxcsr: number): Answer {
  return value === 0n ? { bits: 0n, flags: 0 } : round(f, { n: value, d: 1n }, mxcsr)
}

/** A number of one format in another. */
export function convert(from: Format, to: Format, x: bigint, mxcsr: number): Answer {
  if (isNan(from, x)) {
    const shift = BigInt(Math.abs(from.fraction - to.fraction))
    const payload = from.fraction > to.fraction ? fractionOf(from, x) >> shift : fractionOf(from, x) << shift
    return { bits: quieted(to, infinity(to, signOf(from, x)) | payload), flags: isSignalling(from, x) ? IE : 0 }
  }
  if (isInfinite(from, x)) return { bits: infinity(to, signOf(from, x)), flags: 0 }
  const y = flushed(from, x, mxcsr)
  if (isZero(from, y)) return { bits: zero(to, signOf(from, y)), flags: 0 }
  const { bits, flags } = round(to, numberOf(from, y), mxcsr)
  return { bits, flags: flags | (isDenormal(from, y) ? DE : 0) }
}

/** ROUNDSS, ROUNDSD. */
export function integral(f: Format, x: bigint, imm: number, mxcsr: number): Answer {
  if (isNan(f, x)) return { bits: quieted(f, x), flags: isSignalling(f, x) ? IE : 0 }
  if (isInfinite(f, x)) return { bits: x, flags: 0 }
  const { value, inexact } = integer(f, flushed(f, x, mxcsr), imm & 4 ? (mxcsr >> 13) & 3 : imm & 3)!
  const flags = inexact && (imm & 8) === 0 ? PE : 0
  return { bits: value === 0n ? zero(f, signOf(f, x)) : round(f, { n: value, d: 1n }, 0x1f80).bits, flags }
}
