/**
 * IEEE 754 binary32 and binary64 in integer arithmetic: the exact meaning of SSE arithmetic for every rounding mode, denormals, flushing and
 * the six flags. `sse-float.ts` takes the host's arithmetic where that provably gives the same.
 *
 * A finite number is taken apart into sign, exponent and a 64-bit significand with its top bit set (value = significand / 2^63 × 2^exponent). An
 * operation yields such a number whose last bit is "sticky": set when anything was lost below it. Both formats leave at least eleven bits
 * below their last place, so one rounding of that is the rounding of the exact result.
 * Source: IEEE 754, "Rounding"; Intel SDM Vol. 1, "Floating-Point Exception Conditions" (tininess is detected after rounding).
 */

import {
  MXCSR_DAZ,
  MXCSR_DE,
  MXCSR_FZ,
  MXCSR_OE,
  MXCSR_OM,
  MXCSR_PE,
  MXCSR_RC,
  MXCSR_RC_SHIFT,
  MXCSR_UE,
  MXCSR_UM,
  outcome,
} from './mxcsr.js'

/** Kinds of unpacked numbers. NaNs are dealt with before unpacking. */
export const ZERO = 0
export const FINITE = 1
export const INFINITE = 2

/** A number taken apart. */
export class Unpacked {
  kind: number = ZERO
  /** 0 or 1. */
  sign = 0
  /** Of the significand's top bit. */
  exp = 0
  /** Significand, signed halves; bit 63 is set when finite. */
  hi = 0
  lo = 0
  /** It was a denormal and was not taken as zero. */
  denormal = false
}

/** Operands and result of the operation that runs. */
export const X: Unpacked = new Unpacked()
export const Y: Unpacked = new Unpacked()
export const R: Unpacked = new Unpacked()

/** `u` ← the binary32 `bits`, not a NaN. */
export function unpack32(u: Unpacked, bits: number, mxcsr: number): void {
  const field = (bits >>> 23) & 0xff
  const fraction = bits & 0x7f_ffff
  u.sign = bits >>> 31
  u.lo = 0
  u.denormal = false
  if (field === 0xff) {
    u.kind = INFINITE
  } else if (field !== 0) {
    u.kind = FINITE
    u.exp = field - 127
    u.hi = (fraction << 8) | 0x8000_0000
  } else if (fraction === 0 || mxcsr & MXCSR_DAZ) {
    u.kind = ZERO
  } else {
    const shift = Math.clz32(fraction)
    u.kind = FINITE
    u.denormal = true
    u.exp = -118 - shift
    u.hi = fraction << shift
  }
}

/** `u` ← the binary64 `hi:lo`, not a NaN. */
export function unpack64(u: Unpacked, lo: number, hi: number, mxcsr: number): void {
  const field = (hi >>> 20) & 0x7ff
  const fraction = hi & 0xf_ffff
  u.sign = hi >>> 31
  u.denormal = false
  if (field === 0x7ff) {
    u.kind = INFINITE
  } else if (field !== 0) {
    u.kind = FINITE
    u.exp = field - 1023
    u.hi = (fraction << 11) | (lo >>> 21) | 0x8000_0000
    u.lo = lo << 11
  } else if ((fraction | lo) === 0 || mxcsr & MXCSR_DAZ) {
    u.kind = ZERO
  } else {
    u.kind = FINITE
    u.denormal = true
    u.hi = fraction
    u.lo = lo
    u.exp = -1011
    normalize(u)
  }
}

/** `u` ← the 64-bit unsigned integer `hi:lo` with a sign. */
export function unpackInteger(u: Unpacked, sign: number, lo: number, hi: number): void {
  u.sign = sign
  u.denormal = false
  u.hi = hi
  u.lo = lo
  u.exp = 63
  if ((hi | lo) === 0) u.kind = ZERO
  else {
    u.kind = FINITE
    normalize(u)
  }
}

/** Moves the significand up until its top bit is set. It is not zero. */
function normalize(u: Unpacked): void {
  if (u.hi === 0) {
    u.hi = u.lo
    u.lo = 0
    u.exp -= 32
  }
  const shift = Math.clz32(u.hi)
  if (shift === 0) return
  u.hi = (u.hi << shift) | (u.lo >>> (32 - shift))
  u.lo <<= shift
  u.exp -= shift
}

/** Notes the denormal-operand exception. */
export function noteDenormals(): void {
  if (X.denormal || Y.denormal) outcome.flags |= MXCSR_DE
}

/** Moves `u`'s significand down by `count` ≥ 0 bits and keeps what falls out as the sticky bit. */
function shiftDown(u: Unpacked, count: number): void {
  let { hi, lo } = u
  if (count >= 64) {
    u.hi = 0
    u.lo = (hi | lo) === 0 ? 0 : 1
    return
  }
  let lost = 0
  if (count >= 32) {
    lost = lo
    lo = hi
    hi = 0
  }
  const n = count & 31
  if (n !== 0) {
    lost |= lo << (32 - n)
    lo = (lo >>> n) | (hi << (32 - n))
    hi >>>= n
  }
  u.hi = hi
  u.lo = lost === 0 ? lo : lo | 1
}

function copy(to: Unpacked, from: Unpacked): void {
  to.kind = from.kind
  to.sign = from.sign
  to.exp = from.exp
  to.hi = from.hi
  to.lo = from.lo
}

/** Sign of an exact zero that is the sum of numbers with different signs. */
function zeroSign(mxcsr: number): number {
  return (mxcsr & MXCSR_RC) >>> MXCSR_RC_SHIFT === 1 ? 1 : 0
}

/** R ← X + Y, of which neither is infinite. */
export function softAdd(mxcsr: number): void {
  if (X.kind === ZERO || Y.kind === ZERO) {
    const other = X.kind === ZERO ? Y : X
    copy(R, other)
    if (other.kind === ZERO && X.sign !== Y.sign) R.sign = zeroSign(mxcsr)
    return
  }
  const swap = Y.exp > X.exp
  const big = swap ? Y : X
  const small = swap ? X : Y
  copy(R, big)
  shiftDown(small, big.exp - small.exp)
  if (X.sign === Y.sign) {
    const low = (big.lo >>> 0) + (small.lo >>> 0)
    const high = (big.hi >>> 0) + (small.hi >>> 0) + (low > 0xffff_ffff ? 1 : 0)
    R.lo = low | 0
    R.hi = high | 0
    if (high > 0xffff_ffff) {
      const sticky = R.lo & 1
      R.lo = (R.lo >>> 1) | (R.hi << 31) | sticky
      R.hi = (R.hi >>> 1) | 0x8000_0000
      R.exp++
    }
    return
  }
  let low = (big.lo >>> 0) - (small.lo >>> 0)
  let high = (big.hi >>> 0) - (small.hi >>> 0) - (low < 0 ? 1 : 0)
  if (high < 0) {
    // Equal exponents: the other one was bigger, and nothing was lost.
    R.sign ^= 1
    low = (small.lo >>> 0) - (big.lo >>> 0)
    high = (small.hi >>> 0) - (big.hi >>> 0) - (low < 0 ? 1 : 0)
  }
  R.lo = low | 0
  R.hi = high | 0
  if ((R.lo | R.hi) === 0) {
    R.kind = ZERO
    R.sign = zeroSign(mxcsr)
  } else normalize(R)
}

/** High half of the product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const al = a & 0xffff
  const ah = a >>> 16
  const bl = b & 0xffff
  const bh = b >>> 16
  const cross = ah * bl
  const other = al * bh
  const middle = ((al * bl) >>> 16) + (cross & 0xffff) + (other & 0xffff)
  return (ah * bh + (cross >>> 16) + (other >>> 16) + (middle >>> 16)) >>> 0
}

/** R ← X × Y, both finite and not zero. */
export function softMultiply(): void {
  const { hi: xh, lo: xl } = X
  const { hi: yh, lo: yl } = Y
  // Partial products, the lowest word first.
  const lost = Math.imul(xl, yl)
  const a = multiplyHigh(xl, yl) + (Math.imul(xh, yl) >>> 0) + (Math.imul(xl, yh) >>> 0)
  const b = Math.floor(a / 4294967296) + multiplyHigh(xh, yl) + multiplyHigh(xl, yh) + (Math.imul(xh, yh) >>> 0)
  const c = Math.floor(b / 4294967296) + multiplyHigh(xh, yh)
  R.kind = FINITE
  R.sign = X.sign ^ Y.sign
  R.exp = X.exp + Y.exp + 1
  R.hi = c | 0
  R.lo = b | 0
  const sticky = (lost | a) === 0 ? 0 : 1
  if (R.hi >= 0) {
    R.hi = (R.hi << 1) | (R.lo >>> 31)
    R.lo = (R.lo << 1) | ((a | 0) < 0 ? 1 : 0)
    R.exp--
  }
  R.lo |= sticky
}

/** Bits of a quotient or root that are computed: more than any format has, and few enough that remainders fit 64 bits. */
const STEPS = 58

/** R ← X ÷ Y, both finite and not zero. */
export function softDivide(): void {
  // One bit of room: the last eleven bits are zeros.
  let nh = X.hi >>> 1
  let nl = ((X.lo >>> 1) | (X.hi << 31)) >>> 0
  const dh = Y.hi >>> 1
  const dl = ((Y.lo >>> 1) | (Y.hi << 31)) >>> 0
  R.kind = FINITE
  R.sign = X.sign ^ Y.sign
  R.exp = X.exp - Y.exp
  if (nh < dh || (nh === dh && nl < dl)) {
    nh = ((nh << 1) | (nl >>> 31)) >>> 0
    nl = (nl << 1) >>> 0
    R.exp--
  }
  let qh = 0
  let ql = 0
  for (let n = 0; n < STEPS; n++) {
    qh = (qh << 1) | (ql >>> 31)
    ql <<= 1
    if (nh > dh || (nh === dh && nl >= dl)) {
      ql |= 1
      nh -= dh
      if (nl < dl) nh--
      nl = (nl - dl) >>> 0
    }
    nh = ((nh << 1) | (nl >>> 31)) >>> 0
    nl = (nl << 1) >>> 0
  }
  R.hi = (qh << (64 - STEPS)) | (ql >>> (STEPS - 32))
  R.lo = (ql << (64 - STEPS)) | ((nh | nl) === 0 ? 0 : 1)
}

/** R ← √X, X finite and positive. */
export function softSquareRoot(): void {
  const odd = (X.exp & 1) !== 0
  // Two bits of the radicand at each step, the first two being its integer part.
  let sh = odd ? X.hi : X.hi >>> 1
  let sl = odd ? X.lo : (X.lo >>> 1) | (X.hi << 31)
  let remHi = 0
  let remLo = 0
  let rootHi = 0
  let rootLo = 0
  for (let n = 0; n < STEPS; n++) {
    remHi = ((remHi << 2) | (remLo >>> 30)) >>> 0
    remLo = ((remLo << 2) | (sh >>> 30)) >>> 0
    sh = (sh << 2) | (sl >>> 30)
    sl <<= 2
    const tryHi = ((rootHi << 2) | (rootLo >>> 30)) >>> 0
    const tryLo = ((rootLo << 2) | 1) >>> 0
    rootHi = (rootHi << 1) | (rootLo >>> 31)
    rootLo <<= 1
    if (remHi > tryHi || (remHi === tryHi && remLo >= tryLo)) {
      remHi -= tryHi
      if (remLo < tryLo) remHi--
      remLo = (remLo - tryLo) >>> 0
      rootLo |= 1
    }
  }
  R.kind = FINITE
  R.sign = 0
  R.exp = (X.exp - (odd ? 1 : 0)) / 2
  R.hi = (rootHi << (64 - STEPS)) | (rootLo >>> (STEPS - 32))
  R.lo = (rootLo << (64 - STEPS)) | ((remHi | remLo) === 0 ? 0 : 1)
}

/** Whether a significand that ends in bit 0 and was cut is rounded up: `rest` compared with `half` says what was cut. */
function roundsUp(mode: number, sign: number, last: number, rest: number, half: number): boolean {
  switch (mode) {
    case 0:
      return rest > half || (rest === half && (last & 1) !== 0)
    case 1:
      return sign !== 0 && rest !== 0
    case 2:
      return sign === 0 && rest !== 0
    default:
      return false
  }
}

/** Whether overflow gives an infinity (else the largest finite number). */
function overflowsToInfinity(mode: number, sign: number): boolean {
  return mode === 0 || mode === (sign ? 1 : 2)
}

/** R rounded to binary32, with the flags. */
export function round32(mxcsr: number): number {
  const { sign } = R
  const top = sign ? 0x8000_0000 | 0 : 0
  if (R.kind === ZERO) return top
  if (R.kind === INFINITE) return top | 0x7f80_0000
  const mode = (mxcsr & MXCSR_RC) >>> MXCSR_RC_SHIFT
  let tiny = false
  if (R.exp < -126) {
    const rest = ((R.hi & 0xff) << 1) | (R.lo === 0 ? 0 : 1)
    // Rounded with an unbounded exponent it may just reach the smallest normal number.
    tiny = !(R.exp === -127 && R.hi >>> 8 === 0xff_ffff && roundsUp(mode, sign, 1, rest, 0x100))
    if (tiny && (mxcsr & (MXCSR_FZ | MXCSR_UM)) === (MXCSR_FZ | MXCSR_UM)) {
      outcome.flags |= MXCSR_UE | MXCSR_PE
      return top
    }
    if (tiny && (mxcsr & MXCSR_UM) === 0) {
      // #XM: nobody sees the result, and whether it was inexact is asked as if the exponent were unbounded.
      outcome.flags |= rest === 0 ? MXCSR_UE : MXCSR_UE | MXCSR_PE
      return top
    }
    shiftDown(R, -126 - R.exp)
    R.exp = -126
  }
  const rest = ((R.hi & 0xff) << 1) | (R.lo === 0 ? 0 : 1)
  let significand = R.hi >>> 8
  if (rest !== 0) {
    outcome.flags |= MXCSR_PE
    if (roundsUp(mode, sign, significand, rest, 0x100)) significand++
  }
  if (tiny && rest !== 0) outcome.flags |= MXCSR_UE
  if (R.exp > 127 || (R.exp === 127 && significand === 0x100_0000)) {
    outcome.flags |= mxcsr & MXCSR_OM ? MXCSR_OE | MXCSR_PE : MXCSR_OE
    return top | (overflowsToInfinity(mode, sign) ? 0x7f80_0000 : 0x7f7f_ffff)
  }
  // The integer bit of a normal significand is added to an exponent field one too small; that of a denormal is clear.
  return top | (((R.exp + 126) << 23) + significand)
}

/** R rounded to binary64, into the outcome, with the flags. */
export function round64(mxcsr: number): void {
  const { sign } = R
  const top = sign ? 0x8000_0000 | 0 : 0
  outcome.lo = 0
  if (R.kind !== FINITE) {
    outcome.hi = R.kind === ZERO ? top : top | 0x7ff0_0000
    return
  }
  const mode = (mxcsr & MXCSR_RC) >>> MXCSR_RC_SHIFT
  let tiny = false
  if (R.exp < -1022) {
    const ones = R.hi === -1 && R.lo >>> 11 === 0x1f_ffff
    tiny = !(R.exp === -1023 && ones && roundsUp(mode, sign, 1, R.lo & 0x7ff, 0x400))
    if (tiny && (mxcsr & (MXCSR_FZ | MXCSR_UM)) === (MXCSR_FZ | MXCSR_UM)) {
      outcome.flags |= MXCSR_UE | MXCSR_PE
      outcome.hi = top
      return
    }
    if (tiny && (mxcsr & MXCSR_UM) === 0) {
      outcome.flags |= (R.lo & 0x7ff) === 0 ? MXCSR_UE : MXCSR_UE | MXCSR_PE
      outcome.hi = top
      return
    }
    shiftDown(R, -1022 - R.exp)
    R.exp = -1022
  }
  const rest = R.lo & 0x7ff
  let lo = ((R.lo >>> 11) | (R.hi << 21)) >>> 0
  let hi = R.hi >>> 11
  if (rest !== 0) {
    outcome.flags |= MXCSR_PE
    if (roundsUp(mode, sign, lo, rest, 0x400)) {
      lo = (lo + 1) >>> 0
      if (lo === 0) hi++
    }
  }
  if (tiny && rest !== 0) outcome.flags |= MXCSR_UE
  if (R.exp > 1023 || (R.exp === 1023 && hi === 0x20_0000)) {
    outcome.flags |= mxcsr & MXCSR_OM ? MXCSR_OE | MXCSR_PE : MXCSR_OE
    const infinite = overflowsToInfinity(mode, sign)
    outcome.hi = top | (infinite ? 0x7ff0_0000 : 0x7fef_ffff)
    outcome.lo = infinite ? 0 : -1
    return
  }
  outcome.lo = lo | 0
  outcome.hi = top | (((R.exp + 1022) << 20) + hi)
}
