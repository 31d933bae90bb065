/**
 * Conversions between the 80-bit format and what memory holds: single and double precision, integers, packed decimal.
 * Source: Intel SDM Vol. 1, "Data Types", "Conversion of Operands"; Vol. 2, the pages of FLD, FST, FILD, FIST, FBLD, FBSTP.
 */

import {
  CLASS_INFINITY,
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
  ROUND_NEAREST,
  ROUND_UP,
  ROUND_ZERO,
  setZero,
  X87_DE,
  X87_IE,
  X87_OE,
  X87_PE,
  X87_UE,
} from './float80.js'
import { roundInteger } from './float80-arithmetic.js'

/**
 * r ← the single at `bits`. As the `operand` of an arithmetic instruction it keeps a signaling NaN, and only notes a denormal: the operation
 * finds out what becomes of them.
 */
export function fromSingle(c: Float80Context, bits: number, operand: boolean, r: Float80): void {
  fromBinary(c, bits >>> 31, (bits >>> 23) & 0xff, 0xff, 127, bits << 9, 0, operand, r)
}

/** r ← the double `hi:lo`; see {@link fromSingle}. */
export function fromDouble(c: Float80Context, hi: number, lo: number, operand: boolean, r: Float80): void {
  fromBinary(c, hi >>> 31, (hi >>> 20) & 0x7ff, 0x7ff, 1023, (hi << 12) | (lo >>> 20), lo << 12, operand, r)
}

/** `hi`, `lo`: the fraction, its first bit on top. */
function fromBinary(
  c: Float80Context,
  sign: number,
  exp: number,
  maximum: number,
  bias: number,
  hi: number,
  lo: number,
  operand: boolean,
  r: Float80,
): void {
  const fraction = (hi | lo) !== 0
  if (exp === 0) {
    if (!fraction) {
      setZero(r, sign)
      return
    }
    if (operand) c.denormalSource = true
    else c.flags |= X87_DE
    c.hi = hi
    c.lo = lo
    c.ex = 0
    const shift = c.normalize()
    r.set((sign << 15) | (EXPONENT_BIAS - bias - shift), c.hi, c.lo)
    return
  }
  const top = 0x8000_0000 | (hi >>> 1)
  const bottom = (hi << 31) | (lo >>> 1)
  if (exp === maximum) {
    if (fraction && hi >= 0 && !operand) c.flags |= X87_IE
    r.set((sign << 15) | EXPONENT_MAX, fraction && !operand ? top | 0x4000_0000 : top, bottom)
    return
  }
  r.set((sign << 15) | (exp - bias + EXPONENT_BIAS), top, bottom)
}

/** A finished conversion to memory: 64 bits, or 32 in `lo`. */
export class Image {
  lo = 0
  hi = 0
}

/** out.lo ← a as a single. After an unmasked exception nothing must be stored. */
export function toSingle(c: Float80Context, a: Float80, out: Image): void {
  toBinary(c, a, 24, 127, 0xff)
  const { hi } = c
  out.lo = ((a.sexp >> 15) << 31) | (resultExponent << 23) | ((hi >>> 8) & 0x7f_ffff)
  if (resultIndefinite) out.lo = 0xffc0_0000 | 0
}

/** out ← a as a double. */
export function toDouble(c: Float80Context, a: Float80, out: Image): void {
  toBinary(c, a, 53, 1023, 0x7ff)
  const { hi, lo } = c
  out.hi = ((a.sexp >> 15) << 31) | (resultExponent << 20) | ((hi >>> 11) & 0xf_ffff)
  out.lo = (hi << 21) | (lo >>> 11)
  if (resultIndefinite) {
    out.hi = 0xfff8_0000 | 0
    out.lo = 0
  }
}

/** Exponent field of the last {@link toBinary}. */
let resultExponent = 0
let resultIndefinite = false

/** Leaves the significand, top bit in place, in the context. */
function toBinary(c: Float80Context, a: Float80, precision: number, bias: number, maximum: number): void {
  const sign = a.sexp >> 15
  resultIndefinite = false
  c.hi = a.hi
  c.lo = a.lo
  c.ex = 0
  switch (classify(a)) {
    case CLASS_ZERO:
      resultExponent = 0
      return
    case CLASS_INFINITY:
      resultExponent = maximum
      return
    case CLASS_UNSUPPORTED:
      c.flags |= X87_IE
      resultIndefinite = true
      return
    case CLASS_SNAN:
      c.flags |= X87_IE
      c.hi |= 0x4000_0000
      resultExponent = maximum
      return
    case CLASS_QNAN:
      resultExponent = maximum
      return
  }
  let exp = a.sexp & EXPONENT_MAX || 1
  if (c.hi >= 0) exp -= c.normalize()
  exp += bias - EXPONENT_BIAS
  const { hi, lo } = c
  let carry = c.roundAt(sign, precision)
  if (exp + carry <= 0) {
    if (c.masks & X87_UE) {
      c.hi = hi
      c.lo = lo
      c.ex = 0
      c.shiftRight(1 - exp)
      carry = c.roundAt(sign, precision)
      if (c.ex !== 0) c.flags |= X87_UE | X87_PE
      resultExponent = c.hi < 0 ? 1 : 0
      return
    }
    // Nothing is stored, and nothing else said.
    c.flags |= X87_UE
    c.up = 0
    return
  }
  exp += carry
  if (exp >= maximum) {
    c.flags |= X87_OE
    if ((c.masks & X87_OE) === 0) {
      c.up = 0
      return
    }
    c.flags |= X87_PE
    const { rounding } = c
    if (rounding === ROUND_NEAREST || rounding === (sign ? ROUND_DOWN : ROUND_UP)) {
      c.up = 1
      resultExponent = maximum
      c.hi = c.lo = 0
    } else {
      c.up = 0
      resultExponent = maximum - 1
      c.hi = c.lo = -1
    }
    return
  }
  if (c.ex !== 0) c.flags |= X87_PE
  resultExponent = exp
}

/** out ← a as an integer of 16, 32 or 64 bits; `truncate` rounds toward zero whatever the control word says. */
export function toInteger(c: Float80Context, a: Float80, bits: number, truncate: boolean, out: Image): void {
  const sign = a.sexp >> 15
  const exp = a.sexp & EXPONENT_MAX
  const kind = classify(a)
  if (kind === CLASS_ZERO) {
    out.lo = out.hi = 0
    return
  }
  if (kind < CLASS_INFINITY && exp <= EXPONENT_BIAS + 63) {
    c.hi = a.hi
    c.lo = a.lo
    c.ex = 0
    c.shiftRight(EXPONENT_BIAS + 63 - exp)
    const { rounding } = c
    if (truncate) c.rounding = ROUND_ZERO
    const { hi: before, flags } = c
    roundInteger(c, sign)
    c.rounding = rounding
    const { hi, lo } = c
    let fits: boolean
    if (bits === 64) {
      const wrapped = before !== 0 && hi === 0
      fits = !wrapped && (hi >= 0 || (sign !== 0 && hi === (0x8000_0000 | 0) && lo === 0))
    } else {
      const limit = bits === 32 ? 0x8000_0000 : 0x8000
      fits = hi === 0 && lo >>> 0 < limit + sign
    }
    if (fits) {
      out.lo = sign ? -lo | 0 : lo
      out.hi = sign ? (~hi + (lo === 0 ? 1 : 0)) | 0 : hi
      return
    }
    c.flags = flags
    c.up = 0
  }
  c.flags |= X87_IE
  out.lo = bits === 64 ? 0 : bits === 32 ? 0x8000_0000 | 0 : 0x8000
  out.hi = 0x8000_0000 | 0
}

/** r ← the signed integer `hi:lo`. */
export function fromInteger64(c: Float80Context, hi: number, lo: number, r: Float80): void {
  if ((hi | lo) === 0) {
    setZero(r, 0)
    return
  }
  const sign = hi >>> 31
  c.lo = sign ? -lo | 0 : lo
  c.hi = sign ? (~hi + (lo === 0 ? 1 : 0)) | 0 : hi
  c.ex = 0
  const shift = c.normalize()
  r.set((sign << 15) | (EXPONENT_BIAS + 63 - shift), c.hi, c.lo)
}

const DECIMAL_LIMIT = 10n ** 18n

/** r ← the packed decimal of ten bytes: 18 digits, the lowest first, and the sign. Digits above 9 are taken as they come. */
export function fromDecimal(c: Float80Context, bytes: Uint8Array, at: number, r: Float80): void {
  let value = 0n
  for (let n = 8; n >= 0; n--) {
    const byte = bytes[at + n]!
    value = value * 100n + BigInt((byte >> 4) * 10 + (byte & 15))
  }
  const lo = Number(BigInt.asIntN(32, value))
  fromInteger64(c, Number(value >> 32n), lo, r)
  if (bytes[at + 9]! & 0x80) r.sexp |= 0x8000
}

/** Writes a as packed decimal to ten bytes. */
export function toDecimal(c: Float80Context, a: Float80, bytes: Uint8Array, at: number): void {
  const sign = a.sexp >> 15
  const exp = a.sexp & EXPONENT_MAX
  const kind = classify(a)
  if (kind === CLASS_ZERO || (kind < CLASS_INFINITY && exp < EXPONENT_BIAS + 63)) {
    c.hi = a.hi
    c.lo = a.lo
    c.ex = 0
    if (kind !== CLASS_ZERO) c.shiftRight(EXPONENT_BIAS + 63 - exp)
    const { flags } = c
    roundInteger(c, sign)
    let value = (BigInt(c.hi >>> 0) << 32n) | BigInt(c.lo >>> 0)
    if (value < DECIMAL_LIMIT) {
      for (let n = 0; n < 9; n++) {
        const pair = Number(value % 100n)
        value /= 100n
        bytes[at + n] = Math.floor(pair / 10) * 16 + (pair % 10)
      }
      bytes[at + 9] = sign << 7
      return
    }
    c.flags = flags
    c.up = 0
  }
  c.flags |= X87_IE
  bytes.fill(0, at, at + 7)
  bytes[at + 7] = 0xc0
  bytes[at + 8] = 0xff
  bytes[at + 9] = 0xff
}
