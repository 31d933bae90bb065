/**
 * SSE arithmetic on binary64 elements, given as signed halves and returned in `outcome.lo` and `outcome.hi`; flags are added to the outcome. Where
 * rounding is to nearest and operands and result are ordinary, the host's arithmetic gives the result, and an error-free transformation
 * says whether it is exact. All else is integer arithmetic; NaNs never pass through host numbers.
 * Source: Intel SDM Vol. 1, "Operating on NaNs", "SIMD Floating-Point Exception Conditions"; Vol. 2, the page of each instruction. Error-free
 * transformations: T. J. Dekker, "A floating-point technique for extending the available precision"; D. E. Knuth, TAOCP Vol. 2, 4.2.2.
 */

import { MXCSR_DAZ, MXCSR_DE, MXCSR_IE, MXCSR_PE, MXCSR_PM, MXCSR_RC, MXCSR_ZE, outcome } from './mxcsr.js'
import { EQUAL, GREATER, holds, isQuietPredicate, LESS, UNORDERED } from './sse-binary32.js'
import {
  FINITE,
  INFINITE,
  noteDenormals,
  round64,
  softAdd,
  softDivide,
  softMultiply,
  softSquareRoot,
  unpack64,
  X,
  Y,
  ZERO,
} from './sse-soft.js'

/** Upper half of the NaN that invalid operations give; its lower half is 0. */
const DEFAULT_NAN64: number = 0xfff8_0000 | 0

const QUIET = 0x8_0000
const SIGN: number = 0x8000_0000 | 0
const MIN_NORMAL = 2 ** -1022
/** Between these the error of a product is a binary64 number and splitting a factor does not overflow. */
const SMALL = 2 ** -960
const LARGE = 2 ** 990
const SPLITTER = 2 ** 27 + 1

const doubles = new Float64Array(1)
const words = new Int32Array(doubles.buffer)

/** Value of a bit pattern that is not a NaN. */
function numberOf(lo: number, hi: number): number {
  words[0] = lo
  words[1] = hi
  return doubles[0]!
}

function give(lo: number, hi: number): void {
  outcome.lo = lo
  outcome.hi = hi
}

function giveValue(value: number): void {
  doubles[0] = value
  outcome.lo = words[0]!
  outcome.hi = words[1]!
}

export function isNaN64(lo: number, hi: number): boolean {
  const top = hi & 0x7fff_ffff
  return top > 0x7ff0_0000 || (top === 0x7ff0_0000 && lo !== 0)
}

/** Whether a NaN is signalling. */
export function isSignalling64(lo: number, hi: number): boolean {
  return isNaN64(lo, hi) && (hi & QUIET) === 0
}

/** Neither denormal nor infinite nor a NaN. */
function ordinary(lo: number, hi: number): boolean {
  const field = hi & 0x7ff0_0000
  return field === 0 ? ((hi << 1) | lo) === 0 : field !== 0x7ff0_0000
}

/** Rounding is to nearest, and an inexact result is no exception. */
function plain(mxcsr: number): boolean {
  return (mxcsr & (MXCSR_RC | MXCSR_PM)) === MXCSR_PM
}

/** The result when at least one operand is a NaN: the first one, made quiet. */
function nan(alo: number, ahi: number, blo: number, bhi: number): void {
  if (isSignalling64(alo, ahi) || isSignalling64(blo, bhi)) outcome.flags |= MXCSR_IE
  if (isNaN64(alo, ahi)) give(alo, ahi | QUIET)
  else give(blo, bhi | QUIET)
}

function invalid(): void {
  outcome.flags |= MXCSR_IE
  give(0, DEFAULT_NAN64)
}

/** x × y − product, exactly, where {@link productErrorKnown}. */
function productError(x: number, y: number, product: number): number {
  const cx = SPLITTER * x
  const xh = cx - (cx - x)
  const xl = x - xh
  const cy = SPLITTER * y
  const yh = cy - (cy - y)
  const yl = y - yh
  return xh * yh - product + xh * yl + xl * yh + xl * yl
}

/** Whether {@link productError} is exact. */
function productErrorKnown(x: number, y: number, product: number): boolean {
  return Math.abs(x) < LARGE && Math.abs(y) < LARGE && Math.abs(product) > SMALL && Math.abs(product) < LARGE
}

function normal(value: number): boolean {
  const size = Math.abs(value)
  return size > MIN_NORMAL && size <= Number.MAX_VALUE
}

/** a + b. */
export function add64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (plain(mxcsr) && ordinary(alo, ahi) && ordinary(blo, bhi)) {
    const x = numberOf(alo, ahi)
    const y = numberOf(blo, bhi)
    const sum = x + y
    if (normal(sum) || sum === 0) {
      const part = sum - x
      if (x - (sum - part) + (y - part) !== 0) outcome.flags |= MXCSR_PE
      giveValue(sum)
      return
    }
  }
  if (isNaN64(alo, ahi) || isNaN64(blo, bhi)) {
    nan(alo, ahi, blo, bhi)
    return
  }
  unpack64(X, alo, ahi, mxcsr)
  unpack64(Y, blo, bhi, mxcsr)
  if (X.kind === INFINITE || Y.kind === INFINITE) {
    if (X.kind === Y.kind && X.sign !== Y.sign) {
      invalid()
      return
    }
    noteDenormals()
    if (X.kind === INFINITE) give(alo, ahi)
    else give(blo, bhi)
    return
  }
  noteDenormals()
  softAdd(mxcsr)
  round64(mxcsr)
}

/** a − b. */
export function sub64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (isNaN64(blo, bhi)) nan(alo, ahi, blo, bhi)
  else add64(alo, ahi, blo, bhi ^ SIGN, mxcsr)
}

/** a × b. */
export function mul64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (plain(mxcsr) && ordinary(alo, ahi) && ordinary(blo, bhi)) {
    const x = numberOf(alo, ahi)
    const y = numberOf(blo, bhi)
    const product = x * y
    if (x === 0 || y === 0) {
      giveValue(product)
      return
    }
    if (normal(product) && (mxcsr & MXCSR_PE || productErrorKnown(x, y, product))) {
      if ((mxcsr & MXCSR_PE) === 0 && productError(x, y, product) !== 0) outcome.flags |= MXCSR_PE
      giveValue(product)
      return
    }
  }
  if (isNaN64(alo, ahi) || isNaN64(blo, bhi)) {
    nan(alo, ahi, blo, bhi)
    return
  }
  unpack64(X, alo, ahi, mxcsr)
  unpack64(Y, blo, bhi, mxcsr)
  if (X.kind === FINITE && Y.kind === FINITE) {
    noteDenormals()
    softMultiply()
    round64(mxcsr)
    return
  }
  if (X.kind !== Y.kind && X.kind !== FINITE && Y.kind !== FINITE) {
    invalid()
    return
  }
  noteDenormals()
  give(0, ((ahi ^ bhi) & SIGN) | (X.kind === INFINITE || Y.kind === INFINITE ? 0x7ff0_0000 : 0))
}

/** a ÷ b. */
export function div64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (plain(mxcsr) && ordinary(alo, ahi) && ordinary(blo, bhi) && ((bhi << 1) | blo) !== 0) {
    const x = numberOf(alo, ahi)
    const y = numberOf(blo, bhi)
    const quotient = x / y
    if (x === 0) {
      giveValue(quotient)
      return
    }
    if (normal(quotient) && (mxcsr & MXCSR_PE || productErrorKnown(quotient, y, x))) {
      if ((mxcsr & MXCSR_PE) === 0) {
        const product = quotient * y
        if (product !== x || productError(quotient, y, product) !== 0) outcome.flags |= MXCSR_PE
      }
      giveValue(quotient)
      return
    }
  }
  if (isNaN64(alo, ahi) || isNaN64(blo, bhi)) {
    nan(alo, ahi, blo, bhi)
    return
  }
  unpack64(X, alo, ahi, mxcsr)
  unpack64(Y, blo, bhi, mxcsr)
  if (X.kind === Y.kind && X.kind !== FINITE) {
    invalid()
    return
  }
  if (X.kind === FINITE && Y.kind === FINITE) {
    noteDenormals()
    softDivide()
    round64(mxcsr)
    return
  }
  const sign = (ahi ^ bhi) & SIGN
  if (X.kind === FINITE && Y.kind === ZERO) {
    outcome.flags |= MXCSR_ZE
    give(0, sign | 0x7ff0_0000)
    return
  }
  noteDenormals()
  give(0, sign | (X.kind === INFINITE || Y.kind === ZERO ? 0x7ff0_0000 : 0))
}

/** √a. */
export function sqrt64(lo: number, hi: number, mxcsr: number): void {
  if (plain(mxcsr) && ordinary(lo, hi) && hi >= 0) {
    const x = numberOf(lo, hi)
    const root = Math.sqrt(x)
    if (x === 0) {
      giveValue(root)
      return
    }
    if (mxcsr & MXCSR_PE || productErrorKnown(root, root, x)) {
      if ((mxcsr & MXCSR_PE) === 0) {
        const product = root * root
        if (product !== x || productError(root, root, product) !== 0) outcome.flags |= MXCSR_PE
      }
      giveValue(root)
      return
    }
  }
  if (isNaN64(lo, hi)) {
    nan(lo, hi, lo, hi)
    return
  }
  unpack64(X, lo, hi, mxcsr)
  if (X.kind === ZERO) {
    give(0, hi & SIGN)
    return
  }
  if (X.sign) {
    invalid()
    return
  }
  if (X.kind === INFINITE) {
    give(lo, hi)
    return
  }
  if (X.denormal) outcome.flags |= MXCSR_DE
  softSquareRoot()
  round64(mxcsr)
}

function isDenormal(lo: number, hi: number): boolean {
  return (hi & 0x7ff0_0000) === 0 && ((hi << 1) | lo) !== 0
}

/** Order of a and b. `quiet`: only signalling NaNs are invalid. */
export function compare64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number, quiet: boolean): number {
  if (isNaN64(alo, ahi) || isNaN64(blo, bhi)) {
    if (!quiet || isSignalling64(alo, ahi) || isSignalling64(blo, bhi)) outcome.flags |= MXCSR_IE
    return UNORDERED
  }
  let x = numberOf(alo, ahi)
  let y = numberOf(blo, bhi)
  if (isDenormal(alo, ahi)) {
    if (mxcsr & MXCSR_DAZ) x = 0
    else outcome.flags |= MXCSR_DE
  }
  if (isDenormal(blo, bhi)) {
    if (mxcsr & MXCSR_DAZ) y = 0
    else outcome.flags |= MXCSR_DE
  }
  return x < y ? LESS : x > y ? GREATER : EQUAL
}

/** Gives the number, or a zero of its sign when it is a denormal that counts as zero. */
function giveOperand(lo: number, hi: number, mxcsr: number): void {
  if (mxcsr & MXCSR_DAZ && isDenormal(lo, hi)) give(0, hi & SIGN)
  else give(lo, hi)
}

/** a if a < b, else b. */
export function min64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (compare64(alo, ahi, blo, bhi, mxcsr, false) === LESS) giveOperand(alo, ahi, mxcsr)
  else giveOperand(blo, bhi, mxcsr)
}

/** a if a > b, else b. */
export function max64(alo: number, ahi: number, blo: number, bhi: number, mxcsr: number): void {
  if (compare64(alo, ahi, blo, bhi, mxcsr, false) === GREATER) giveOperand(alo, ahi, mxcsr)
  else giveOperand(blo, bhi, mxcsr)
}

/** Comparison with predicate 0–7: all ones or zero. */
export function predicate64(
  alo: number,
  ahi: number,
  blo: number,
  bhi: number,
  predicate: number,
  mxcsr: number,
): number {
  return holds(compare64(alo, ahi, blo, bhi, mxcsr, isQuietPredicate(predicate)), predicate) ? -1 : 0
}
