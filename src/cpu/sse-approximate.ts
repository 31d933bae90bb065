/**
 * RCPSS, RCPPS, RSQRTSS, RSQRTPS. The architecture allows a relative error of 1.5 · 2^-12 and leaves the bits to the processor; here they are the exact
 * value rounded to 13 significant bits, so at most 2^-13 off, and exact for powers of two (of four). Denormal operands count as
 * zeros and tiny results become zeros, whatever MXCSR says, and nothing is reported.
 * Source: Intel SDM Vol. 2, "RCPPS", "RSQRTPS".
 */

import { DEFAULT_NAN32, isNaN32 } from './sse-binary32.js'

const SIGN: number = 0x8000_0000 | 0
const INFINITY32 = 0x7f80_0000

const floats = new Float32Array(1)
const words = new Int32Array(floats.buffer)

/** `value` (positive, normal in binary32) rounded to 13 significant bits. */
function rounded(value: number): number {
  floats[0] = value
  return (words[0]! + 0x400) & ~0x7ff
}

/** About 1 ÷ the binary32 `bits`. */
export function reciprocal32(bits: number): number {
  if (isNaN32(bits)) return bits | 0x40_0000
  const sign = bits & SIGN
  const size = bits & 0x7fff_ffff
  if (size < 0x80_0000) return sign | INFINITY32
  if (size === INFINITY32) return sign
  words[0] = size
  const value = 1 / floats[0]!
  return value < 2 ** -126 ? sign : sign | rounded(value)
}

/** About 1 ÷ the square root of the binary32 `bits`. */
export function reciprocalRoot32(bits: number): number {
  if (isNaN32(bits)) return bits | 0x40_0000
  const sign = bits & SIGN
  const size = bits & 0x7fff_ffff
  if (size < 0x80_0000) return sign | INFINITY32
  if (sign !== 0) return DEFAULT_NAN32
  if (size === INFINITY32) return 0
  words[0] = size
  return rounded(1 / Math.sqrt(floats[0]!))
}
