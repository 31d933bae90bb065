/**
 * The string comparisons of SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
 * Source: Intel SDM Vol. 1, "Operand Setup and Result for PCMPESTRI / …"; Vol. 2, "Imm8 Control Byte Operation".
 */

import { FLAG_CF, FLAG_OF, FLAG_SF, FLAG_ZF } from '../isa/flags.js'
import type { CpuCore } from './cpu-types.js'
import { gprSlot, OFF_XMM } from './layout.js'
import type { SimdGroup, SimdOperation } from './simd-types.js'
import { R, X, Y } from './simd-vector.js'

const RAX = 0
const RDX = 2
const RCX: number = gprSlot(1)

/** Fields of the immediate: elements of 16 bits, signed ones. */
export const STRING_WORDS = 0x01
export const STRING_SIGNED = 0x02
export const STRING_AGGREGATION_SHIFT = 2
const EQUAL_ANY = 0
const RANGES = 1
const EQUAL_EACH = 2
export const STRING_NEGATIVE = 0x10
export const STRING_MASKED = 0x20
/** Index of the last instead of the first, a mask of lanes instead of bits. */
export const STRING_OUTPUT = 0x40
/** Beside the immediate byte: explicit lengths are 64-bit registers. */
export const STRING_WIDE_LENGTHS = 0x100

function lane(v: typeof X, imm: number, n: number): number {
  if (imm & STRING_WORDS) return imm & STRING_SIGNED ? v.i16[n]! : v.u16[n]!
  return imm & STRING_SIGNED ? v.i8[n]! : v.u8[n]!
}

/** Elements before the first zero. */
function implicitLength(v: typeof X, imm: number, count: number): number {
  let n = 0
  while (n < count && lane(v, imm, n) !== 0) n++
  return n
}

/** The magnitude of rAX or rDX, at most `count`. */
function explicitLength(cpu: CpuCore, reg: number, imm: number, count: number): number {
  const value = imm & STRING_WIDE_LENGTHS ? cpu.s.regNumber(reg) : cpu.s.reg32(reg) | 0
  return Math.min(Math.abs(value), count)
}

/** One bit of the first intermediate result: what element `j` of the second string is to the first string. */
function aggregate(imm: number, j: number, count: number, xLength: number, yLength: number): boolean {
  switch ((imm >> STRING_AGGREGATION_SHIFT) & 3) {
    case EQUAL_ANY:
      if (j >= yLength) return false
      for (let i = 0; i < xLength; i++) if (lane(X, imm, i) === lane(Y, imm, j)) return true
      return false
    case RANGES: {
      if (j >= yLength) return false
      const value = lane(Y, imm, j)
      for (let i = 0; i + 1 < xLength; i += 2) {
        if (lane(X, imm, i) <= value && value <= lane(X, imm, i + 1)) return true
      }
      return false
    }
    case EQUAL_EACH:
      if (j >= xLength || j >= yLength) return j >= xLength && j >= yLength
      return lane(X, imm, j) === lane(Y, imm, j)
    default:
      // Equal ordered: the first string, as far as it is valid and fits, occurs at j.
      for (let i = 0; i < xLength && i + j < count; i++) {
        if (i + j >= yLength || lane(X, imm, i) !== lane(Y, imm, i + j)) return false
      }
      return true
  }
}

function comparison(explicit: boolean, index: boolean): SimdOperation {
  return (cpu, _a, b, c, imm) => {
    const { s } = cpu
    X.load(s, b)
    Y.load(s, c)
    const count = imm & STRING_WORDS ? 8 : 16
    const xLength = explicit ? explicitLength(cpu, RAX, imm, count) : implicitLength(X, imm, count)
    const yLength = explicit ? explicitLength(cpu, RDX, imm, count) : implicitLength(Y, imm, count)
    let result = 0
    for (let j = 0; j < count; j++) {
      const inverted = (imm & STRING_NEGATIVE) !== 0 && ((imm & STRING_MASKED) === 0 || j < yLength)
      if (aggregate(imm, j, count, xLength, yLength) !== inverted) result |= 1 << j
    }
    if (index) {
      let position = count
      if (result !== 0) position = imm & STRING_OUTPUT ? 31 - Math.clz32(result) : 31 - Math.clz32(result & -result)
      const at = (s.base + RCX) >> 2
      s.i32[at] = position
      s.i32[at + 1] = 0
    } else {
      R.u8.fill(0)
      if ((imm & STRING_OUTPUT) === 0) R.u32[0] = result
      else if (imm & STRING_WORDS) for (let n = 0; n < 8; n++) R.i16[n] = (result >> n) & 1 ? -1 : 0
      else for (let n = 0; n < 16; n++) R.i8[n] = (result >> n) & 1 ? -1 : 0
      R.store(s, OFF_XMM, 16)
    }
    s.arithmetic =
      (result !== 0 ? FLAG_CF : 0) |
      (yLength < count ? FLAG_ZF : 0) |
      (xLength < count ? FLAG_SF : 0) |
      (result & 1 ? FLAG_OF : 0)
  }
}

/** String comparisons: b and c are the strings; the result goes to ECX or XMM0 and the flags. */
export const SIMD_STRING: SimdGroup = {
  pcmpestri: comparison(true, true),
  pcmpestrm: comparison(true, false),
  pcmpistri: comparison(false, true),
  pcmpistrm: comparison(false, false),
}
