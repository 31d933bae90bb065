/**
 * SSE arithmetic on binary32 elements, given and returned as bit patterns (signed 32-bit numbers); flags are added to the outcome. Where rounding
 * is to nearest and operands and result are ordinary, the host's binary64 arithmetic gives the result: it has more than twice the
 * precision, so rounding a second time changes nothing. All else is integer arithmetic; NaNs never pass through host numbers.
 * Source: Intel SDM Vol. 1, "Operating on NaNs", "SIMD Floating-Point Exception Conditions"; Vol. 2, the page of each instruction.
 */

import { MXCSR_DAZ, MXCSR_DE, MXCSR_IE, MXCSR_PE, MXCSR_PM, MXCSR_RC, MXCSR_ZE, outcome } from './mxcsr.js'
import {
  FINITE,
  INFINITE,
  noteDenormals,
  round32,
  softAdd,
  softDivide,
  softMultiply,
  softSquareRoot,
  unpack32,
  X,
  Y,
  ZERO,
} from './sse-soft.js'

/** The NaN that invalid operations give. */
export const DEFAULT_NAN32: number = 0xffc0_0000 | 0

const QUIET = 0x40_0000
const SIGN: number = 0x8000_0000 | 0
const MIN_NORMAL = 2 ** -126
const MAX = (2 - 2 ** -23) * 2 ** 127

const floats = new Float32Array(1)
const words = new Int32Array(floats.buffer)

/** Value of a bit pattern that is not a NaN. */
function numberOf(bits: number): number {
  words[0] = bits
  return floats[0]!
}

function bitsOf(value: number): number {
  floats[0] = value
  return words[0]!
}

export function isNaN32(bits: number): boolean {
  return (bits & 0x7fff_ffff) > 0x7f80_0000
}

/** Whether a NaN is signalling. */
export function isSignalling32(bits: number): boolean {
  return isNaN32(bits) && (bits & QUIET) === 0
}

/** Neither denormal nor infinite nor a NaN. */
function ordinary(bits: number): boolean {
  const field = bits & 0x7f80_0000
  return field === 0 ? bits << 1 === 0 : field !== 0x7f80_0000
}

/** Rounding is to nearest, and an inexact result is no exception. */
function plain(mxcsr: number): boolean {
  return (mxcsr & (MXCSR_RC | MXCSR_PM)) === MXCSR_PM
}

/** The result when at least one operand is a NaN: the first one, made quiet. */
function nan(a: number, b: number): number {
  if (isSignalling32(a) || isSignalling32(b)) outcome.flags |= MXCSR_IE
  return (isNaN32(a) ? a : b) | QUIET
}

function invalid(): number {
  outcome.flags |= MXCSR_IE
  return DEFAULT_NAN32
}

/** a + b. */
export function add32(a: number, b: number, mxcsr: number): number {
  if (plain(mxcsr) && ordinary(a) && ordinary(b)) {
    const x = numberOf(a)
    const y = numberOf(b)
    const sum = x + y
    const result = Math.fround(sum)
    const size = Math.abs(result)
    if ((size > MIN_NORMAL && size <= MAX) || result === 0) {
      const part = sum - x
      if (result !== sum || x - (sum - part) + (y - part) !== 0) outcome.flags |= MXCSR_PE
      return bitsOf(result)
    }
  }
  if (isNaN32(a) || isNaN32(b)) return nan(a, b)
  unpack32(X, a, mxcsr)
  unpack32(Y, b, mxcsr)
  if (X.kind === INFINITE || Y.kind === INFINITE) {
    if (X.kind === Y.kind && X.sign !== Y.sign) return invalid()
    noteDenormals()
    return X.kind === INFINITE ? a : b
  }
  noteDenormals()
  softAdd(mxcsr)
  return round32(mxcsr)
}

/** a − b. */
export function sub32(a: number, b: number, mxcsr: number): number {
  return isNaN32(b) ? nan(a, b) : add32(a, b ^ SIGN, mxcsr)
}

/** a × b. */
export function mul32(a: number, b: number, mxcsr: number): number {
  if (plain(mxcsr) && ordinary(a) && ordinary(b)) {
    const product = numberOf(a) * numberOf(b)
    const result = Math.fround(product)
    const size = Math.abs(result)
    if ((size > MIN_NORMAL && size <= MAX) || product === 0) {
      if (result !== product) outcome.flags |= MXCSR_PE
      return bitsOf(result)
    }
  }
  if (isNaN32(a) || isNaN32(b)) return nan(a, b)
  unpack32(X, a, mxcsr)
  unpack32(Y, b, mxcsr)
  if (X.kind === FINITE && Y.kind === FINITE) {
    noteDenormals()
    softMultiply()
    return round32(mxcsr)
  }
  if (X.kind !== Y.kind && X.kind !== FINITE && Y.kind !== FINITE) return invalid()
  noteDenormals()
  return ((a ^ b) & SIGN) | (X.kind === INFINITE || Y.kind === INFINITE ? 0x7f80_0000 : 0)
}

/** a ÷ b. */
export function div32(a: number, b: number, mxcsr: number): number {
  if (plain(mxcsr) && ordinary(a) && ordinary(b) && b << 1 !== 0) {
    const x = numberOf(a)
    const y = numberOf(b)
    const result = Math.fround(x / y)
    const size = Math.abs(result)
    if ((size > MIN_NORMAL && size <= MAX) || x === 0) {
      // Both have 24 bits: the product is exact.
      if (result * y !== x) outcome.flags |= MXCSR_PE
      return bitsOf(result)
    }
  }
  if (isNaN32(a) || isNaN32(b)) return nan(a, b)
  unpack32(X, a, mxcsr)
  unpack32(Y, b, mxcsr)
  if (X.kind === Y.kind && X.kind !== FINITE) return invalid()
  if (X.kind === FINITE && Y.kind === FINITE) {
    noteDenormals()
    softDivide()
    return round32(mxcsr)
  }
  const sign = (a ^ b) & SIGN
  if (X.kind === FINITE && Y.kind === ZERO) {
    outcome.flags |= MXCSR_ZE
    return sign | 0x7f80_0000
  }
  noteDenormals()
  return sign | (X.kind === INFINITE || Y.kind === ZERO ? 0x7f80_0000 : 0)
}

/** √a. */
export function sqrt32(a: number, mxcsr: number): number {
  if (plain(mxcsr) && ordinary(a) && (a >= 0 || a === SIGN)) {
    const x = numberOf(a)
    const result = Math.fround(Math.sqrt(x))
    if (result * result !== x) outcome.flags |= MXCSR_PE
    return bitsOf(result)
  }
  if (isNaN32(a)) return nan(a, a)
  unpack32(X, a, mxcsr)
  if (X.kind === ZERO) return a & SIGN
  if (X.sign) return invalid()
  if (X.kind === INFINITE) return a
  if (X.denormal) outcome.flags |= MXCSR_DE
  softSquareRoot()
  return round32(mxcsr)
}

/** How {@link compare32} and its binary64 sibling answer. */
export const LESS = -1
export const EQUAL = 0
export const GREATER = 1
export const UNORDERED = 2

/** A key by which non-NaN patterns sort as their values do. */
function key(bits: number): number {
  return bits < 0 ? SIGN - bits : bits
}

/** Order of a and b. `quiet`: only signalling NaNs are invalid. */
export function compare32(a: number, b: number, mxcsr: number, quiet: boolean): number {
  if (isNaN32(a) || isNaN32(b)) {
    if (!quiet || isSignalling32(a) || isSignalling32(b)) outcome.flags |= MXCSR_IE
    return UNORDERED
  }
  let x = a
  let y = b
  if ((x & 0x7f80_0000) === 0 && x << 1 !== 0) {
    if (mxcsr & MXCSR_DAZ) x = 0
    else outcome.flags |= MXCSR_DE
  }
  if ((y & 0x7f80_0000) === 0 && y << 1 !== 0) {
    if (mxcsr & MXCSR_DAZ) y = 0
    else outcome.flags |= MXCSR_DE
  }
  const left = key(x)
  const right = key(y)
  return left < right ? LESS : left > right ? GREATER : EQUAL
}

/** `bits`, or a zero of its sign when it is a denormal that counts as zero. */
export function denormalAsZero32(bits: number, mxcsr: number): number {
  return mxcsr & MXCSR_DAZ && (bits & 0x7f80_0000) === 0 ? bits & SIGN : bits
}

/** a if a < b, else b. */
export function min32(a: number, b: number, mxcsr: number): number {
  return denormalAsZero32(compare32(a, b, mxcsr, false) === LESS ? a : b, mxcsr)
}

/** a if a > b, else b. */
export function max32(a: number, b: number, mxcsr: number): number {
  return denormalAsZero32(compare32(a, b, mxcsr, false) === GREATER ? a : b, mxcsr)
}

/** Comparison with predicate 0–7 (EQ LT LE UNORD NEQ NLT NLE ORD): all ones or zero. */
export function predicate32(a: number, b: number, predicate: number, mxcsr: number): number {
  return holds(compare32(a, b, mxcsr, isQuietPredicate(predicate)), predicate) ? -1 : 0
}

/** EQ, UNORD, NEQ and ORD take quiet NaNs without complaint. */
export function isQuietPredicate(predicate: number): boolean {
  return (predicate & 3) === 0 || (predicate & 3) === 3
}

/** Whether an order satisfies predicate 0–7. */
export function holds(order: number, predicate: number): boolean {
  let yes: boolean
  switch (predicate & 3) {
    case 0:
      yes = order === EQUAL
      break
    case 1:
      yes = order === LESS
      break
    case 2:
      yes = order === LESS || order === EQUAL
      break
    default:
      yes = order === UNORDERED
  }
  return predicate & 4 ? !yes : yes
}
