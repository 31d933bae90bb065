/**
 * Sum, product, quotient, square root, comparison of 80-bit numbers, and what rounds or takes them apart. Each function reads its
 * operands completely before it writes the result, which may be one of them. When `c.stopped` is set afterwards the result must not be used.
 * Source: Intel SDM Vol. 2, the pages of FADD, FMUL, FDIV, FSQRT, FCOM, FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1.
 */

import {
  below64,
  CLASS_DENORMAL,
  CLASS_INFINITY,
  CLASS_NORMAL,
  CLASS_QNAN,
  CLASS_SNAN,
  CLASS_UNSUPPORTED,
  CLASS_ZERO,
  classify,
  EXPONENT_BIAS,
  EXPONENT_MAX,
  type Float80,
  type Float80Context,
  ROUND_DOWN,
  setInfinity,
  setZero,
  X87_DE,
  X87_IE,
  X87_PE,
  X87_ZE,
} from './float80.js'

/** Biased exponent of an operand's significand with its top bit moved to bit 63; `hi`, `lo` are that significand. */
class Normalized {
  exp = 0
  hi = 0
  lo = 0

  /** Not for zeros. */
  take(a: Float80): void {
    const { hi, lo } = a
    const exp = a.sexp & EXPONENT_MAX
    if (hi < 0) {
      this.exp = exp || 1
      this.hi = hi
      this.lo = lo
      return
    }
    const shift = hi !== 0 ? Math.clz32(hi) : 32 + Math.clz32(lo)
    this.exp = 1 - shift
    if (shift >= 32) {
      this.hi = lo << (shift - 32)
      this.lo = 0
    } else {
      this.hi = (hi << shift) | (lo >>> (32 - shift))
      this.lo = lo << shift
    }
  }
}

const na = new Normalized()
const nb = new Normalized()

/** r ← a + b, or a − b with `negate` = 1. */
export function addFloat80(c: Float80Context, a: Float80, b: Float80, negate: number, r: Float80): void {
  const classA = classify(a)
  const classB = classify(b)
  if (c.special2(a, classA, b, classB, r)) return
  const signA = a.sexp >> 15
  const signB = (b.sexp >> 15) ^ negate
  if (classA === CLASS_INFINITY) {
    if (classB === CLASS_INFINITY && signA !== signB) c.invalid(r)
    else setInfinity(r, signA)
    return
  }
  if (classB === CLASS_INFINITY) {
    setInfinity(r, signB)
    return
  }
  if (classA === CLASS_ZERO && classB === CLASS_ZERO) {
    setZero(r, signA === signB ? signA : c.rounding === ROUND_DOWN ? 1 : 0)
    return
  }
  // The larger magnitude in (hi, lo) at expL, the other one in the context, shifted to match.
  const expA = a.sexp & EXPONENT_MAX || 1
  const expB = b.sexp & EXPONENT_MAX || 1
  const aSmaller = expA < expB || (expA === expB && below64(a.hi, a.lo, b.hi, b.lo))
  const hi = aSmaller ? b.hi : a.hi
  const lo = aSmaller ? b.lo : a.lo
  const sign = aSmaller ? signB : signA
  let exp = aSmaller ? expB : expA
  c.hi = aSmaller ? a.hi : b.hi
  c.lo = aSmaller ? a.lo : b.lo
  c.ex = 0
  c.shiftRight(aSmaller ? expB - expA : expA - expB)
  if (signA === signB) {
    const sumLo = (lo >>> 0) + (c.lo >>> 0)
    const sumHi = (hi >>> 0) + (c.hi >>> 0) + (sumLo > 0xffff_ffff ? 1 : 0)
    c.hi = sumHi | 0
    c.lo = sumLo | 0
    if (sumHi > 0xffff_ffff) {
      c.shiftRight(1)
      c.hi |= 0x8000_0000
      exp++
    } else if (c.hi >= 0) exp -= c.normalize()
  } else {
    const borrow0 = c.ex !== 0 ? 1 : 0
    const difLo = (lo >>> 0) - (c.lo >>> 0) - borrow0
    const difHi = (hi >>> 0) - (c.hi >>> 0) - (difLo < 0 ? 1 : 0)
    c.ex = -c.ex | 0
    c.lo = difLo | 0
    c.hi = difHi | 0
    if ((c.hi | c.lo | c.ex) === 0) {
      setZero(r, c.rounding === ROUND_DOWN ? 1 : 0)
      return
    }
    exp -= c.normalize()
  }
  c.roundPack(r, sign, exp, c.precision)
}

/** High and low half of the last {@link multiply32}. */
let productHi = 0
let productLo = 0

function multiply32(a: number, b: number): void {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const low = a0 * b0
  const cross = a0 * b1
  const cross2 = a1 * b0
  const middle = (low >>> 16) + (cross & 0xffff) + (cross2 & 0xffff)
  productLo = (low & 0xffff) | (middle << 16)
  productHi = (a1 * b1 + (cross >>> 16) + (cross2 >>> 16) + (middle >>> 16)) | 0
}

/** r ← a × b. */
export function multiplyFloat80(c: Float80Context, a: Float80, b: Float80, r: Float80): void {
  const classA = classify(a)
  const classB = classify(b)
  if (c.special2(a, classA, b, classB, r)) return
  const sign = (a.sexp ^ b.sexp) >> 15
  if (classA === CLASS_INFINITY || classB === CLASS_INFINITY) {
    if (classA === CLASS_ZERO || classB === CLASS_ZERO) c.invalid(r)
    else setInfinity(r, sign)
    return
  }
  if (classA === CLASS_ZERO || classB === CLASS_ZERO) {
    setZero(r, sign)
    return
  }
  na.take(a)
  nb.take(b)
  let exp = na.exp + nb.exp - EXPONENT_BIAS + 1
  multiply32(na.lo, nb.lo)
  const w0 = productLo
  let w1 = productHi >>> 0
  multiply32(na.hi, nb.lo)
  w1 += productLo >>> 0
  let w2 = productHi >>> 0
  multiply32(na.lo, nb.hi)
  w1 += productLo >>> 0
  w2 += productHi >>> 0
  multiply32(na.hi, nb.hi)
  w2 += (productLo >>> 0) + Math.floor(w1 / 0x1_0000_0000)
  const w3 = (productHi >>> 0) + Math.floor(w2 / 0x1_0000_0000)
  c.hi = w3 | 0
  c.lo = w2 | 0
  c.ex = w1 | 0
  let rest = w0
  if (c.hi >= 0) {
    c.hi = (c.hi << 1) | (c.lo >>> 31)
    c.lo = (c.lo << 1) | (c.ex >>> 31)
    c.ex = (c.ex << 1) | (rest >>> 31)
    rest <<= 1
    exp--
  }
  if (rest !== 0) c.ex |= 1
  c.roundPack(r, sign, exp, c.precision)
}

/** r ← a / b. */
export function divideFloat80(c: Float80Context, a: Float80, b: Float80, r: Float80): void {
  const classA = classify(a)
  const classB = classify(b)
  const sign = (a.sexp ^ b.sexp) >> 15
  if (classB === CLASS_ZERO && (classA === CLASS_DENORMAL || (c.denormalSource && classA === CLASS_NORMAL))) {
    // Dividing by zero comes before the denormal.
    c.flags |= X87_ZE
    setInfinity(r, sign)
    return
  }
  if (c.special2(a, classA, b, classB, r)) return
  if (classA === CLASS_INFINITY) {
    if (classB === CLASS_INFINITY) c.invalid(r)
    else setInfinity(r, sign)
    return
  }
  if (classB === CLASS_INFINITY) {
    setZero(r, sign)
    return
  }
  if (classB === CLASS_ZERO) {
    if (classA === CLASS_ZERO) c.invalid(r)
    else {
      c.flags |= X87_ZE
      setInfinity(r, sign)
    }
    return
  }
  if (classA === CLASS_ZERO) {
    setZero(r, sign)
    return
  }
  na.take(a)
  nb.take(b)
  let exp = na.exp - nb.exp + EXPONENT_BIAS
  let remHi = na.hi
  let remLo = na.lo
  // The remainder's bit 64.
  let over = 0
  if (below64(remHi, remLo, nb.hi, nb.lo)) {
    over = 1
    remHi = (remHi << 1) | (remLo >>> 31)
    remLo <<= 1
    exp--
  }
  const { hi: bHi, lo: bLo } = nb
  let word = 0
  for (let n = 0; n < 66; n++) {
    word <<= 1
    if (over !== 0 || !below64(remHi, remLo, bHi, bLo)) {
      const lo = (remLo >>> 0) - (bLo >>> 0)
      remLo = lo | 0
      remHi = (remHi - bHi - (lo < 0 ? 1 : 0)) | 0
      word |= 1
    }
    over = remHi >>> 31
    remHi = (remHi << 1) | (remLo >>> 31)
    remLo <<= 1
    if (n === 31) c.hi = word
    else if (n === 63) c.lo = word
  }
  c.ex = (word << 30) | ((over | remHi | remLo) !== 0 ? 1 : 0)
  c.roundPack(r, sign, exp, c.precision)
}

/** r ← √a. */
export function squareRootFloat80(c: Float80Context, a: Float80, r: Float80): void {
  const classA = classify(a)
  if (classA === CLASS_ZERO) {
    r.copy(a)
    return
  }
  // A negative number is invalid whether denormal or not.
  if (a.sexp >> 15 && classA <= CLASS_INFINITY) {
    c.invalid(r)
    return
  }
  if (c.special1(a, classA, r)) return
  if (classA === CLASS_INFINITY) {
    setInfinity(r, 0)
    return
  }
  na.take(a)
  const unbiased = na.exp - EXPONENT_BIAS
  const odd = unbiased & 1
  // The radicand's 128 bits, of which two come down each step: hi:lo:0:0, halved where the exponent is even.
  let d3 = odd ? na.hi : na.hi >>> 1
  let d2 = odd ? na.lo : (na.hi << 31) | (na.lo >>> 1)
  let d1 = odd ? 0 : na.lo << 31
  let rootHi = 0
  let rootLo = 0
  let r2 = 0
  let r1 = 0
  let r0 = 0
  for (let n = 0; n < 64; n++) {
    r2 = (r2 << 2) | (r1 >>> 30)
    r1 = (r1 << 2) | (r0 >>> 30)
    r0 = (r0 << 2) | (d3 >>> 30)
    d3 = (d3 << 2) | (d2 >>> 30)
    d2 = (d2 << 2) | (d1 >>> 30)
    d1 <<= 2
    const t2 = rootHi >>> 30
    const t1 = (rootHi << 2) | (rootLo >>> 30)
    const t0 = (rootLo << 2) | 1
    rootHi = (rootHi << 1) | (rootLo >>> 31)
    rootLo <<= 1
    if (r2 > t2 || (r2 === t2 && !below64(r1, r0, t1, t0))) {
      const s0 = (r0 >>> 0) - (t0 >>> 0)
      const s1 = (r1 >>> 0) - (t1 >>> 0) - (s0 < 0 ? 1 : 0)
      r2 = r2 - t2 - (s1 < 0 ? 1 : 0)
      r1 = s1 | 0
      r0 = s0 | 0
      rootLo |= 1
    }
  }
  c.hi = rootHi
  c.lo = rootLo
  // A square root is never half-way: the next bit is one exactly if the remainder exceeds the root.
  const more = r2 !== 0 || below64(rootHi, rootLo, r1, r0)
  c.ex = (more ? 0x8000_0000 : 0) | ((r2 | r1 | r0) !== 0 ? 1 : 0)
  c.roundPack(r, 0, ((unbiased - odd) >> 1) + EXPONENT_BIAS, c.precision)
}

const COMPARE_GREATER = 0
const COMPARE_LESS = 1
const COMPARE_EQUAL = 2
export const COMPARE_UNORDERED = 3

/** Compares; a quiet NaN is invalid unless `quiet`. */
export function compareFloat80(c: Float80Context, a: Float80, b: Float80, quiet: boolean): number {
  const classA = classify(a)
  const classB = classify(b)
  if (classA >= CLASS_QNAN || classB >= CLASS_QNAN) {
    if (!quiet || classA >= CLASS_SNAN || classB >= CLASS_SNAN) c.flags |= X87_IE
    return COMPARE_UNORDERED
  }
  if (classA === CLASS_DENORMAL || classB === CLASS_DENORMAL || c.denormalSource) c.flags |= X87_DE
  if (classA === CLASS_ZERO && classB === CLASS_ZERO) return COMPARE_EQUAL
  const signA = a.sexp >> 15
  const signB = b.sexp >> 15
  if (classA === CLASS_ZERO) return signB ? COMPARE_GREATER : COMPARE_LESS
  if (classB === CLASS_ZERO || signA !== signB) return signA ? COMPARE_LESS : COMPARE_GREATER
  const expA = a.sexp & EXPONENT_MAX || 1
  const expB = b.sexp & EXPONENT_MAX || 1
  if (expA === expB && a.hi === b.hi && a.lo === b.lo) return COMPARE_EQUAL
  const smaller = expA < expB || (expA === expB && below64(a.hi, a.lo, b.hi, b.lo))
  return smaller === (signA === 0) ? COMPARE_LESS : COMPARE_GREATER
}

/** r ← a rounded to an integer. */
export function roundToInteger(c: Float80Context, a: Float80, r: Float80): void {
  const classA = classify(a)
  if (c.special1(a, classA, r)) return
  const exp = a.sexp & EXPONENT_MAX
  if (classA === CLASS_ZERO || exp >= EXPONENT_BIAS + 63) {
    r.copy(a)
    return
  }
  const sign = a.sexp >> 15
  c.hi = a.hi
  c.lo = a.lo
  c.ex = 0
  c.shiftRight(EXPONENT_BIAS + 63 - exp)
  roundInteger(c, sign)
  if ((c.hi | c.lo) === 0) {
    setZero(r, sign)
    return
  }
  c.ex = 0
  const shift = c.normalize()
  r.set((sign << 15) | (EXPONENT_BIAS + 63 - shift), c.hi, c.lo)
}

/** Rounds the context's 64 + 32 bits to an integer of 64 bits (at most one bit longer than before). */
export function roundInteger(c: Float80Context, sign: number): void {
  if (c.ex === 0) return
  c.flags |= X87_PE
  if (!c.roundsUp(sign, c.lo & 1, c.ex)) return
  c.up = 1
  c.lo = (c.lo + 1) | 0
  if (c.lo === 0) c.hi = (c.hi + 1) | 0
}

/** The integer that FSCALE takes from ST(1): truncated, and within ±65536. */
function scaleOf(b: Float80): number {
  const exp = (b.sexp & EXPONENT_MAX) - EXPONENT_BIAS
  if (exp < 0) return 0
  const size = exp >= 16 ? 0x10000 : b.hi >>> (31 - exp)
  return b.sexp >> 15 ? -size : size
}

/** r ← a × 2^trunc(b). */
export function scaleFloat80(c: Float80Context, a: Float80, b: Float80, r: Float80): void {
  const classA = classify(a)
  const classB = classify(b)
  if (c.special2(a, classA, b, classB, r)) return
  const sign = a.sexp >> 15
  if (classB === CLASS_INFINITY) {
    const down = b.sexp >> 15
    if (down ? classA === CLASS_INFINITY : classA === CLASS_ZERO) c.invalid(r)
    else if (down) setZero(r, sign)
    else setInfinity(r, sign)
    return
  }
  if (classA === CLASS_INFINITY || classA === CLASS_ZERO) {
    r.copy(a)
    return
  }
  const distance = classB === CLASS_ZERO ? 0 : scaleOf(b)
  na.take(a)
  c.hi = na.hi
  c.lo = na.lo
  c.ex = 0
  c.roundPack(r, sign, na.exp + distance, 64)
}

/** exponent ← the exponent of a, as a number; r ← a with exponent 0. */
export function extractFloat80(c: Float80Context, a: Float80, exponent: Float80, r: Float80): void {
  const classA = classify(a)
  if (c.special1(a, classA, r)) {
    exponent.copy(r)
    return
  }
  const sign = a.sexp >> 15
  if (classA === CLASS_ZERO) {
    c.flags |= X87_ZE
    r.copy(a)
    setInfinity(exponent, 1)
    return
  }
  if (classA === CLASS_INFINITY) {
    r.copy(a)
    setInfinity(exponent, 0)
    return
  }
  na.take(a)
  fromInteger(na.exp - EXPONENT_BIAS, exponent)
  r.set((sign << 15) | EXPONENT_BIAS, na.hi, na.lo)
}

/** r ← a signed 32-bit integer. */
export function fromInteger(value: number, r: Float80): void {
  if (value === 0) {
    setZero(r, 0)
    return
  }
  const size = Math.abs(value)
  const zeros = Math.clz32(size)
  r.set((value < 0 ? 0x8000 : 0) | (EXPONENT_BIAS + 31 - zeros), size << zeros, 0)
}

/** What {@link remainderFloat80} says besides the remainder: the quotient's low three bits, and whether the reduction is complete. */
export const REMAINDER_INCOMPLETE = 8

/**
 * r ← the partial remainder of a by b: FPREM truncates the quotient, FPREM1 (`nearest`) rounds it to nearest. Returns the quotient's low three
 * bits, or {@link REMAINDER_INCOMPLETE}.
 */
export function remainderFloat80(c: Float80Context, a: Float80, b: Float80, nearest: boolean, r: Float80): number {
  const classA = classify(a)
  const classB = classify(b)
  // An invalid operation comes before a denormal operand.
  if ((classA === CLASS_INFINITY && classB < CLASS_QNAN) || (classB === CLASS_ZERO && classA < CLASS_QNAN)) {
    c.invalid(r)
    return -1
  }
  if (c.special2(a, classA, b, classB, r)) return -1
  if (classA === CLASS_ZERO || classB === CLASS_INFINITY) {
    if (classA === CLASS_DENORMAL) {
      // Comes back normalised, if that is possible: as it was.
      na.take(a)
      c.hi = na.hi
      c.lo = na.lo
      c.ex = 0
      c.roundPack(r, a.sexp >> 15, na.exp, 64)
    } else r.copy(a)
    return 0
  }
  const signA = a.sexp >> 15
  na.take(a)
  nb.take(b)
  const { hi: bHi, lo: bLo } = nb
  let distance = na.exp - nb.exp
  let exp = nb.exp
  let remHi = na.hi
  let remLo = na.lo
  let quotient = 0
  let incomplete = false
  if (distance >= 64) {
    // 32 to 63 bits at a time (Intel SDM Vol. 2, "FPREM").
    const step = 32 + (distance & 31)
    exp += distance - step
    distance = step
    incomplete = true
  }
  if (distance < 0) {
    if (!nearest || distance < -1) {
      c.hi = na.hi
      c.lo = na.lo
      c.ex = 0
      c.roundPack(r, signA, na.exp, 64)
      return 0
    }
    exp = na.exp
  } else {
    let over = 0
    for (let n = 0; ; n++) {
      quotient <<= 1
      if (over !== 0 || !below64(remHi, remLo, bHi, bLo)) {
        const lo = (remLo >>> 0) - (bLo >>> 0)
        remLo = lo | 0
        remHi = (remHi - bHi - (lo < 0 ? 1 : 0)) | 0
        quotient |= 1
      }
      if (n === distance) break
      over = remHi >>> 31
      remHi = (remHi << 1) | (remLo >>> 31)
      remLo <<= 1
    }
  }
  let sign = signA
  if (nearest && !incomplete) {
    // With distance −1 the remainder is a itself, at half the scale of b.
    let twiceHi = remHi
    let twiceLo = remLo
    let twiceOver = 0
    if (distance >= 0) {
      twiceOver = remHi >>> 31
      twiceHi = (remHi << 1) | (remLo >>> 31)
      twiceLo = remLo << 1
    }
    const more = twiceOver !== 0 || below64(bHi, bLo, twiceHi, twiceLo)
    const half = twiceOver === 0 && twiceHi === bHi && twiceLo === bLo
    if (more || (half && quotient & 1)) {
      quotient++
      sign ^= 1
      // b − rem; at distance −1 that is 2b − rem at the scale of a.
      const topHi = distance >= 0 ? bHi : (bHi << 1) | (bLo >>> 31)
      const topLo = distance >= 0 ? bLo : bLo << 1
      const lo = (topLo >>> 0) - (remLo >>> 0)
      remHi = (topHi - remHi - (lo < 0 ? 1 : 0)) | 0
      remLo = lo | 0
    }
  }
  if ((remHi | remLo) === 0) {
    setZero(r, signA)
  } else {
    c.hi = remHi
    c.lo = remLo
    c.ex = 0
    const shift = c.normalize()
    c.roundPack(r, sign, exp - shift, 64)
  }
  return incomplete ? REMAINDER_INCOMPLETE : quotient & 7
}

/** FXAM: C3, C2, C0 as bits 2, 1, 0 for a register that is not empty. */
export function examineClass(a: Float80): number {
  switch (classify(a)) {
    case CLASS_ZERO:
      return 4
    case CLASS_DENORMAL:
      return 6
    case CLASS_INFINITY:
      return 3
    case CLASS_QNAN:
    case CLASS_SNAN:
      return 1
    case CLASS_UNSUPPORTED:
      return 0
    default:
      return 2
  }
}
