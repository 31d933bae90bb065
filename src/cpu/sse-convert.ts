/**
 * Conversions between integers, binary32 and binary64, and rounding to integral values. NaNs and what does not fit an integer give the "integer
 * indefinite" value and the invalid flag. Source: Intel SDM Vol. 1, "SSE2 Conversion Instructions"; Vol. 2, "CVT…", "ROUND…".
 */

import { MXCSR_DE, MXCSR_IE, MXCSR_PE, MXCSR_RC, MXCSR_RC_SHIFT, outcome } from './mxcsr.js'
import { DEFAULT_NAN32, denormalAsZero32, isNaN32, isSignalling32 } from './sse-binary32.js'
import { isNaN64, isSignalling64 } from './sse-binary64.js'
import {
  FINITE,
  INFINITE,
  R,
  round32,
  round64,
  type Unpacked,
  unpack32,
  unpack64,
  unpackInteger,
  X,
  ZERO,
} from './sse-soft.js'

/** Rounding mode "towards zero". */
export const TRUNCATE = 3

/** Rounding mode that MXCSR selects. */
export function roundingMode(mxcsr: number): number {
  return (mxcsr & MXCSR_RC) >>> MXCSR_RC_SHIFT
}

// Magnitude of the last rounded number: an unsigned 64-bit integer, and whether it is inexact or too big.
let magnitudeLo = 0
let magnitudeHi = 0
let inexact = false
let tooBig = false

/** Rounds X, finite or zero, to an integer. */
function toMagnitude(u: Unpacked, mode: number): void {
  magnitudeLo = 0
  magnitudeHi = 0
  inexact = false
  tooBig = false
  if (u.kind === ZERO) return
  const { exp, hi, lo, sign } = u
  if (exp > 63) {
    tooBig = true
    return
  }
  const shift = 63 - exp
  // What is cut off: its top bit, and whether anything follows.
  let half = 0
  let rest = 0
  if (shift > 64) rest = 1
  else if (shift === 64) {
    half = 1
    rest = (hi << 1) | lo
  } else if (shift === 0) {
    magnitudeHi = hi >>> 0
    magnitudeLo = lo >>> 0
  } else if (shift > 32) {
    const n = shift - 32
    magnitudeLo = hi >>> n
    half = (hi >>> (n - 1)) & 1
    rest = lo | (n === 1 ? 0 : hi << (33 - n))
  } else if (shift === 32) {
    magnitudeLo = hi >>> 0
    half = lo >>> 31
    rest = lo << 1
  } else {
    magnitudeHi = hi >>> shift
    magnitudeLo = ((lo >>> shift) | (hi << (32 - shift))) >>> 0
    half = (lo >>> (shift - 1)) & 1
    rest = shift === 1 ? 0 : lo << (33 - shift)
  }
  inexact = half !== 0 || rest !== 0
  if (!inexact) return
  const up =
    mode === 0
      ? half !== 0 && (rest !== 0 || (magnitudeLo & 1) !== 0)
      : mode === 1
        ? sign !== 0
        : mode === 2
          ? sign === 0
          : false
  if (!up) return
  magnitudeLo = (magnitudeLo + 1) >>> 0
  if (magnitudeLo === 0) magnitudeHi = (magnitudeHi + 1) >>> 0
}

function indefinite32(): number {
  outcome.flags |= MXCSR_IE
  return 0x8000_0000 | 0
}

/** X as a signed 32-bit integer. */
function toInt32(mode: number): number {
  if (X.kind === INFINITE) return indefinite32()
  toMagnitude(X, mode)
  if (tooBig || magnitudeHi !== 0 || magnitudeLo > 0x7fff_ffff + X.sign) return indefinite32()
  if (inexact) outcome.flags |= MXCSR_PE
  return (X.sign ? -magnitudeLo : magnitudeLo) | 0
}

/** X as a signed 64-bit integer, into the outcome. */
function toInt64(mode: number): void {
  if (X.kind !== INFINITE) {
    toMagnitude(X, mode)
    const limit = magnitudeHi > 0x8000_0000 || (magnitudeHi === 0x8000_0000 && (X.sign === 0 || magnitudeLo !== 0))
    if (!tooBig && !limit) {
      if (inexact) outcome.flags |= MXCSR_PE
      outcome.lo = (X.sign ? -magnitudeLo : magnitudeLo) | 0
      outcome.hi = X.sign ? ~magnitudeHi + (magnitudeLo === 0 ? 1 : 0) : magnitudeHi | 0
      return
    }
  }
  indefinite64()
}

function indefinite64(): void {
  outcome.flags |= MXCSR_IE
  outcome.lo = 0
  outcome.hi = 0x8000_0000 | 0
}

/** binary32 → int32. */
export function float32ToInt32(bits: number, mode: number, mxcsr: number): number {
  if (isNaN32(bits)) return indefinite32()
  unpack32(X, bits, mxcsr)
  return toInt32(mode)
}

/** binary32 → int64, into the outcome. */
export function float32ToInt64(bits: number, mode: number, mxcsr: number): void {
  if (isNaN32(bits)) {
    indefinite64()
    return
  }
  unpack32(X, bits, mxcsr)
  toInt64(mode)
}

/** binary64 → int32. */
export function float64ToInt32(lo: number, hi: number, mode: number, mxcsr: number): number {
  if (isNaN64(lo, hi)) return indefinite32()
  unpack64(X, lo, hi, mxcsr)
  return toInt32(mode)
}

/** binary64 → int64, into the outcome. */
export function float64ToInt64(lo: number, hi: number, mode: number, mxcsr: number): void {
  if (isNaN64(lo, hi)) {
    indefinite64()
    return
  }
  unpack64(X, lo, hi, mxcsr)
  toInt64(mode)
}

/** int64 (int32 with `hi` its sign) → binary32. */
export function intToFloat32(lo: number, hi: number, mxcsr: number): number {
  setInteger(lo, hi)
  return round32(mxcsr)
}

/** int64 (int32 with `hi` its sign) → binary64, into the outcome. */
export function intToFloat64(lo: number, hi: number, mxcsr: number): void {
  setInteger(lo, hi)
  round64(mxcsr)
}

function setInteger(lo: number, hi: number): void {
  if (hi < 0) unpackInteger(R, 1, -lo | 0, lo === 0 ? -hi | 0 : ~hi)
  else unpackInteger(R, 0, lo, hi)
}

function copyOperand(): void {
  R.kind = X.kind
  R.sign = X.sign
  R.exp = X.exp
  R.hi = X.hi
  R.lo = X.lo
}

/** binary32 → binary64, into the outcome. Never inexact. */
export function float32To64(bits: number, mxcsr: number): void {
  if (isNaN32(bits)) {
    if (isSignalling32(bits)) outcome.flags |= MXCSR_IE
    outcome.lo = bits << 29
    outcome.hi = (bits & (0x8000_0000 | 0)) | 0x7ff8_0000 | ((bits >>> 3) & 0x7_ffff)
    return
  }
  unpack32(X, bits, mxcsr)
  if (X.denormal) outcome.flags |= MXCSR_DE
  copyOperand()
  round64(mxcsr)
}

/** binary64 → binary32. */
export function float64To32(lo: number, hi: number, mxcsr: number): number {
  if (isNaN64(lo, hi)) {
    if (isSignalling64(lo, hi)) outcome.flags |= MXCSR_IE
    return (hi & (0x8000_0000 | 0)) | 0x7fc0_0000 | ((hi << 3) & 0x3f_fff8) | (lo >>> 29)
  }
  unpack64(X, lo, hi, mxcsr)
  if (X.denormal) outcome.flags |= MXCSR_DE
  copyOperand()
  return round32(mxcsr)
}

/** In the immediate of ROUND…: take the mode from MXCSR; do not report inexact results. */
const ROUND_BY_MXCSR = 4
const ROUND_QUIETLY = 8

/** ROUNDSS, ROUNDPS: to an integral binary32, mode and the precision flag by `imm`. */
export function roundIntegral32(bits: number, imm: number, mxcsr: number): number {
  if (isNaN32(bits)) {
    if (isSignalling32(bits)) outcome.flags |= MXCSR_IE
    return bits | (DEFAULT_NAN32 & 0x40_0000)
  }
  unpack32(X, bits, mxcsr)
  // From 2^23 on every number is integral.
  if (X.kind !== FINITE || X.exp >= 23) return denormalAsZero32(bits, mxcsr)
  toMagnitude(X, imm & ROUND_BY_MXCSR ? roundingMode(mxcsr) : imm & 3)
  if (inexact && (imm & ROUND_QUIETLY) === 0) outcome.flags |= MXCSR_PE
  unpackInteger(R, X.sign, magnitudeLo | 0, 0)
  return round32(mxcsr)
}

/** ROUNDSD, ROUNDPD: the same for binary64, into the outcome. */
export function roundIntegral64(lo: number, hi: number, imm: number, mxcsr: number): void {
  outcome.lo = lo
  outcome.hi = hi
  if (isNaN64(lo, hi)) {
    if (isSignalling64(lo, hi)) outcome.flags |= MXCSR_IE
    outcome.hi = hi | 0x8_0000
    return
  }
  unpack64(X, lo, hi, mxcsr)
  if (X.kind === ZERO) {
    outcome.lo = 0
    outcome.hi = hi & 0x8000_0000
    return
  }
  if (X.kind !== FINITE || X.exp >= 52) return
  toMagnitude(X, imm & ROUND_BY_MXCSR ? roundingMode(mxcsr) : imm & 3)
  if (inexact && (imm & ROUND_QUIETLY) === 0) outcome.flags |= MXCSR_PE
  unpackInteger(R, X.sign, magnitudeLo | 0, magnitudeHi | 0)
  round64(mxcsr)
}
