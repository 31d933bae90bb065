/** Operands of x87 and SSE instructions: every class of values, and what lies at the edges between them. */
import type { Random } from './random.js'

/** Little-endian bytes of a number. */
export function littleEndian(value: bigint, size: number): number[] {
  const bytes: number[] = []
  for (let i = 0; i < size; i++) bytes.push(Number((value >> BigInt(i * 8)) & 0xffn))
  return bytes
}

/** A significand of `bits` bits, the leading one set: random, with few bits, with long runs, near ties of narrower formats. */
function significand(r: Random, bits: number): bigint {
  const top = 1n << BigInt(bits - 1)
  const mask = (top << 1n) - 1n
  const random = ((r.big() << 64n) | r.big()) & mask
  switch (r.below(8)) {
    case 0:
      return top
    case 1:
      return mask
    case 2:
      return top | (1n << BigInt(r.below(bits)))
    case 3:
      return top | ((((1n << BigInt(1 + r.below(bits))) - 1n) << BigInt(r.below(bits))) & mask)
    case 4: {
      // A tie, or a neighbour of one, where a narrower format ends.
      const cut = BigInt(bits === 64 ? r.pick([40, 11, 12, 41, 49, 48]) : bits === 53 ? r.pick([29, 30]) : 1)
      const tie = ((random >> cut) << cut) | (1n << (cut - 1n))
      return (((tie | top) + BigInt(r.below(3) - 1)) & mask) | top
    }
    case 5:
      return (((random >> BigInt(r.below(bits))) << BigInt(r.below(8))) & mask) | top
    default:
      return random | top
  }
}

/** Shape of a format: bits of the exponent, of the fraction without the leading one. */
interface Format {
  readonly size: number
  readonly exponent: number
  readonly fraction: number
}

export const SINGLE: Format = { size: 4, exponent: 8, fraction: 23 }
export const DOUBLE: Format = { size: 8, exponent: 11, fraction: 52 }

/** Integers that conversions trip over, scaled by 4: .00, .25, .50 or .75 beside a power of two. */
function nearInteger(r: Random): readonly [magnitude: bigint, shift: number] {
  const power = r.pick([0, 1, 2, 7, 8, 15, 16, 23, 24, 31, 32, 52, 53, 62, 63])
  const around = (1n << BigInt(power + 2)) + BigInt(r.below(17) - 8)
  return [around < 0n ? -around : around, 2]
}

/** Sign, biased exponent, fraction of a finite non-zero number n / 2^shift, truncated to the format. */
function encode(format: Format, magnitude: bigint, shift: number): bigint {
  if (magnitude === 0n) return 0n
  let length = 0
  while (magnitude >> BigInt(length) !== 0n) length++
  const bias = (1 << (format.exponent - 1)) - 1
  const fractionBits = BigInt(format.fraction)
  const aligned =
    length - 1 <= format.fraction
      ? magnitude << (fractionBits - BigInt(length - 1))
      : magnitude >> (BigInt(length - 1) - fractionBits)
  const exponent = BigInt(length - 1 - shift + bias)
  return (exponent << fractionBits) | (aligned & ((1n << fractionBits) - 1n))
}

/** A single or double of some class. */
export function float(r: Random, format: Format): bigint {
  const fractionBits = BigInt(format.fraction)
  const top = (1n << BigInt(format.exponent)) - 1n
  const bias = top >> 1n
  const fraction = significand(r, format.fraction + 1) & ((1n << fractionBits) - 1n)
  const sign = BigInt(r.below(2)) << BigInt(format.size * 8 - 1)
  const make = (exponent: bigint, low: bigint): bigint => sign | (exponent << fractionBits) | low
  switch (r.below(20)) {
    case 0:
      return sign
    case 1: // denormal
      return make(0n, fraction >> BigInt(r.below(format.fraction)) || 1n)
    case 2:
      return make(0n, r.pick([1n, (1n << fractionBits) - 1n, 1n << (fractionBits - 1n), fraction || 1n]))
    case 3: // smallest normal numbers
      return make(BigInt(1 + r.below(3)), r.chance(50) ? BigInt(r.below(3)) : fraction)
    case 4: // largest
      return make(
        top - 1n - BigInt(r.below(3)),
        r.chance(50) ? (1n << fractionBits) - 1n - BigInt(r.below(3)) : fraction,
      )
    case 5:
      return make(top, 0n)
    case 6: // QNaN
      return make(top, (1n << (fractionBits - 1n)) | (r.chance(40) ? 0n : fraction))
    case 7: // SNaN
      return make(top, fraction & ((1n << (fractionBits - 1n)) - 1n) || 1n)
    case 8:
    case 9: {
      const [magnitude, shift] = nearInteger(r)
      return sign | encode(format, magnitude, shift)
    }
    case 10:
      return make(bias, r.chance(50) ? 0n : fraction)
    case 11: // halves of the smallest and largest exponents: products and quotients leave the range
      return make((r.chance(50) ? bias / 2n : bias + bias / 2n) + BigInt(r.below(5) - 2), fraction)
    case 12:
    case 13:
      return make(BigInt(1 + r.below(Number(top) - 1)), fraction)
    case 14:
      return make(bias - BigInt(r.below(format.fraction * 2)), fraction)
    default:
      return make(bias + BigInt(r.below(40) - 20), fraction)
  }
}

/** A relative of `other`: the same, its negative, a neighbour, or one with a near exponent. */
export function related(r: Random, format: Format, other: bigint): bigint {
  const mask = (1n << BigInt(format.size * 8)) - 1n
  const sign = 1n << BigInt(format.size * 8 - 1)
  switch (r.below(5)) {
    case 0:
      return other
    case 1:
      return other ^ sign
    case 2:
      return (other + BigInt(r.below(5) - 2)) & mask
    case 3:
      return ((other ^ (r.chance(50) ? sign : 0n)) + (BigInt(r.below(7) - 3) << BigInt(format.fraction))) & mask
    default:
      return (other & ~((1n << BigInt(r.below(format.fraction))) - 1n)) ^ (r.chance(50) ? sign : 0n)
  }
}

/** An extended number: bits 0–63 the significand, 64–78 the exponent, 79 the sign. */
export function extended(r: Random): bigint {
  const s = significand(r, 64)
  const sign = BigInt(r.below(2)) << 79n
  const make = (exponent: number, low: bigint): bigint => sign | (BigInt(exponent) << 64n) | low
  const integer = 1n << 63n
  switch (r.below(28)) {
    case 0:
      return sign
    case 1: // denormal
      return make(0, (s & (integer - 1n)) >> BigInt(r.below(62)) || 1n)
    case 2: // pseudo-denormal
      return make(0, s)
    case 3:
      return make(0x7fff, integer)
    case 4: // QNaN
      return make(0x7fff, (3n << 62n) | (r.chance(40) ? 0n : s))
    case 5: // SNaN
      return make(0x7fff, integer | (s & ((1n << 62n) - 1n) || 1n))
    case 6: // unnormal
      return make(1 + r.below(0x7ffe), s & (integer - 1n))
    case 7: // pseudo-infinity, pseudo-NaN
      return make(0x7fff, r.chance(40) ? 0n : s & (integer - 1n))
    case 8:
      return make(1 + r.below(3), r.chance(50) ? integer + BigInt(r.below(3)) : s)
    case 9:
      return make(0x7ffe - r.below(3), r.chance(50) ? (1n << 64n) - 1n - BigInt(r.below(3)) : s)
    case 10:
    case 11:
    case 12: {
      const [magnitude, shift] = nearInteger(r)
      return sign | extendedOf(magnitude, shift)
    }
    case 13: // limits of double
      return make(0x3fff + r.pick([1023, 1024, 1022, -1022, -1023, -1024, -1074, -1075]), s)
    case 14: // limits of single
      return make(0x3fff + r.pick([127, 128, 126, -126, -127, -128, -149, -150]), s)
    case 15:
      return make((r.chance(50) ? 0x1fff : 0x5fff) + r.below(5) - 2, s)
    case 16:
    case 17:
      return make(1 + r.below(0x7ffe), s)
    case 18:
      return make(0x3fff, r.chance(50) ? integer : s)
    case 19:
      return make(0x3fff - r.below(130), s)
    default:
      return make(0x3fff + r.below(60) - 25, s)
  }
}

/** magnitude / 2^shift as an extended number. */
export function extendedOf(magnitude: bigint, shift: number): bigint {
  if (magnitude === 0n) return 0n
  let length = 0
  while (magnitude >> BigInt(length) !== 0n) length++
  const aligned = length <= 64 ? magnitude << BigInt(64 - length) : magnitude >> BigInt(length - 64)
  return (BigInt(0x3fff + length - 1 - shift) << 64n) | aligned
}

/** A finite number with an exponent between two powers of two. */
export function extendedBetween(r: Random, low: number, high: number): bigint {
  return (BigInt(r.below(2)) << 79n) | (BigInt(0x3fff + low + r.below(high - low)) << 64n) | significand(r, 64)
}

/** A relative of an extended number; see {@link related}. */
export function extendedRelated(r: Random, other: bigint): bigint {
  const sign = 1n << 79n
  switch (r.below(5)) {
    case 0:
      return other
    case 1:
      return other ^ sign
    case 2:
      return (other & ~0xffff_ffff_ffff_ffffn) | BigInt.asUintN(64, other + BigInt(r.below(5) - 2))
    case 3:
      return (
        (BigInt.asUintN(16, (other >> 64n) + BigInt(r.below(9) - 4) + (r.chance(50) ? 0x8000n : 0n)) << 64n) |
        (other & 0xffff_ffff_ffff_ffffn)
      )
    default:
      return (BigInt.asUintN(16, (other >> 64n) + BigInt(r.below(141) - 70)) << 64n) | significand(r, 64)
  }
}

/** Sixteen bytes of one kind of lanes. */
export type Lanes = 'single' | 'double' | 'b' | 'w' | 'd' | 'q' | 'string'

const BYTES = { b: 1, w: 2, d: 4, q: 8 } as const

/** A register full of lanes; with `other`, often lane by lane related to it. */
export function lanes(r: Random, kind: Lanes, other?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16)
  const similar = other !== undefined && r.chance(40)
  if (kind === 'single' || kind === 'double') {
    const format = kind === 'single' ? SINGLE : DOUBLE
    for (let i = 0; i < 16; i += format.size) {
      let value: bigint
      if (similar) {
        let given = 0n
        for (let j = 0; j < format.size; j++) given |= BigInt(other[i + j]!) << BigInt(j * 8)
        value = related(r, format, given)
      } else value = float(r, format)
      bytes.set(littleEndian(value, format.size), i)
    }
    return bytes
  }
  if (kind === 'string') {
    // Few different characters, a terminator somewhere or not.
    const wide = r.chance(50)
    const letters = r.pick([2, 3, 8])
    const first = r.pick([0x41, 0x7e, 0xfe, 1])
    for (let i = 0; i < 16; i++) bytes[i] = wide && i & 1 ? (r.chance(90) ? 0 : 0xff) : first + r.below(letters)
    if (similar) bytes.set(other)
    if (r.chance(70)) {
      const end = r.below(17)
      if (end < 16) bytes[end] = 0
      if (wide && (end | 1) < 16) bytes[end | 1] = bytes[end & ~1] = 0
    }
    return bytes
  }
  const size = BYTES[kind]
  const bits = size * 8
  const top = 1n << BigInt(bits - 1)
  const mask = (top << 1n) - 1n
  for (let i = 0; i < 16; i += size) {
    let value: bigint
    switch (r.below(similar ? 10 : 6)) {
      case 0:
        value = r.pick([0n, 1n, mask, top, top - 1n, top + 1n])
        break
      case 1:
        value = BigInt(r.below(33))
        break
      case 2:
        value = top + BigInt(r.below(33) - 16)
        break
      case 6:
      case 7:
      case 8:
        value = 0n
        for (let j = 0; j < size; j++) value |= BigInt(other![i + j]!) << BigInt(j * 8)
        if (r.chance(30)) value = (value + BigInt(r.below(3) - 1)) & mask
        break
      default:
        value = r.big() & mask
    }
    bytes.set(littleEndian(value & mask, size), i)
  }
  return bytes
}
