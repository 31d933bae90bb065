/**
 * AES rounds, carry-less multiplication and CRC-32C as SIMD operations.
 * Source: FIPS 197, "Advanced Encryption Standard"; Intel SDM Vol. 2, "AESENC" and its kin, "PCLMULQDQ", "CRC32"; RFC 3720, "CRC32C".
 */

import type { SimdGroup, SimdOperation } from './simd-types.js'
import type { CpuState } from './state.js'

/** Twice `x` in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function double(x: number): number {
  return ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff
}

/** SubBytes: the inverse in GF(2^8), then an affine map. */
const SBOX: Uint8Array = /* @__PURE__ */ (() => {
  const box = new Uint8Array(256)
  // p runs through all units as powers of 3, q through their inverses.
  let p = 1
  let q = 1
  do {
    p ^= double(p)
    q ^= q << 1
    q ^= q << 2
    q = (q ^ (q << 4)) & 0xff
    if (q & 0x80) q ^= 9
    box[p] = q ^ rotateByte(q, 1) ^ rotateByte(q, 2) ^ rotateByte(q, 3) ^ rotateByte(q, 4) ^ 0x63
  } while (p !== 1)
  box[0] = 0x63
  return box
})()

function rotateByte(x: number, by: number): number {
  return ((x << by) | (x >> (8 - by))) & 0xff
}

const INVERSE_SBOX: Uint8Array = /* @__PURE__ */ (() => {
  const box = new Uint8Array(256)
  for (let n = 0; n < 256; n++) box[SBOX[n]!] = n
  return box
})()

/** One column of MixColumns for a byte in row 0: (2, 1, 1, 3) × byte, row 0 in bits 7–0. */
const MIX: Int32Array = /* @__PURE__ */ (() => {
  const table = new Int32Array(256)
  for (let n = 0; n < 256; n++) {
    const two = double(n)
    table[n] = two | (n << 8) | (n << 16) | ((two ^ n) << 24)
  }
  return table
})()

/** The same for InvMixColumns: (14, 9, 13, 11) × byte. */
const UNMIX: Int32Array = /* @__PURE__ */ (() => {
  const table = new Int32Array(256)
  for (let n = 0; n < 256; n++) {
    const two = double(n)
    const four = double(two)
    const eight = double(four)
    table[n] = (eight ^ four ^ two) | ((eight ^ n) << 8) | ((eight ^ four ^ n) << 16) | ((eight ^ two ^ n) << 24)
  }
  return table
})()

function rotate(x: number, by: number): number {
  return by === 0 ? x : (x << by) | (x >>> (32 - by))
}

/** A column through a table of {@link MIX}'s kind. */
function mixColumn(table: Int32Array, column: number): number {
  return (
    table[column & 0xff]! ^
    rotate(table[(column >>> 8) & 0xff]!, 8) ^
    rotate(table[(column >>> 16) & 0xff]!, 16) ^
    rotate(table[column >>> 24]!, 24)
  )
}

/** Four bytes through a substitution box. */
function substitute(box: Uint8Array, word: number): number {
  return (
    box[word & 0xff]! |
    (box[(word >>> 8) & 0xff]! << 8) |
    (box[(word >>> 16) & 0xff]! << 16) |
    (box[word >>> 24]! << 24)
  )
}

/** Column `n` of the state at word index `x` after ShiftRows (`step` 1) or InvShiftRows (3). */
function shiftedColumn(i32: Int32Array, x: number, n: number, step: number): number {
  return (
    (i32[x + n]! & 0xff) |
    (i32[x + ((n + step) & 3)]! & 0xff00) |
    (i32[x + ((n + 2 * step) & 3)]! & 0xff_0000) |
    (i32[x + ((n + 3 * step) & 3)]! & (0xff00_0000 | 0))
  )
}

/** AESENC and AESDEC (with `table`) and their LAST forms: rows shifted, bytes substituted, columns mixed, round key c added. */
function round(step: number, box: Uint8Array, table: Int32Array | undefined): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const x = (base + b) >> 2
    const k = (base + c) >> 2
    const d = (base + a) >> 2
    let c0 = substitute(box, shiftedColumn(i32, x, 0, step))
    let c1 = substitute(box, shiftedColumn(i32, x, 1, step))
    let c2 = substitute(box, shiftedColumn(i32, x, 2, step))
    let c3 = substitute(box, shiftedColumn(i32, x, 3, step))
    if (table !== undefined) {
      c0 = mixColumn(table, c0)
      c1 = mixColumn(table, c1)
      c2 = mixColumn(table, c2)
      c3 = mixColumn(table, c3)
    }
    c0 ^= i32[k]!
    c1 ^= i32[k + 1]!
    c2 ^= i32[k + 2]!
    c3 ^= i32[k + 3]!
    i32[d] = c0
    i32[d + 1] = c1
    i32[d + 2] = c2
    i32[d + 3] = c3
  }
}

const inverseMix: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  for (let n = 0; n < 4; n++) i32[d + n] = mixColumn(UNMIX, i32[x + n]!)
}

const keyAssist: SimdOperation = ({ s }, a, _b, c, imm) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const one = substitute(SBOX, i32[x + 1]!)
  const three = substitute(SBOX, i32[x + 3]!)
  i32[d] = one
  i32[d + 1] = rotate(one, 24) ^ imm
  i32[d + 2] = three
  i32[d + 3] = rotate(three, 24) ^ imm
}

/** Carry-less product of the quadwords that bits 0 (first operand) and 4 (second) of imm choose. */
const carrylessProduct: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const x = ((base + b) >> 2) + (imm & 1 ? 2 : 0)
  const y = ((base + c) >> 2) + (imm & 0x10 ? 2 : 0)
  const d = (base + a) >> 2
  const xl = i32[x]!
  const xh = i32[x + 1]!
  const yl = i32[y]!
  const yh = i32[y + 1]!
  let r0 = 0
  let r1 = 0
  let r2 = 0
  let r3 = 0
  // From the top bit of y down: the product moves up by one, and x is added for each set bit.
  for (let n = 63; n >= 0; n--) {
    r3 = (r3 << 1) | (r2 >>> 31)
    r2 = (r2 << 1) | (r1 >>> 31)
    r1 = (r1 << 1) | (r0 >>> 31)
    r0 <<= 1
    if (((n >= 32 ? yh : yl) >>> (n & 31)) & 1) {
      r0 ^= xl
      r1 ^= xh
    }
  }
  i32[d] = r0
  i32[d + 1] = r1
  i32[d + 2] = r2
  i32[d + 3] = r3
}

/** CRC-32C by byte: the polynomial 1EDC6F41h, bits reflected. */
const CRC: Int32Array = /* @__PURE__ */ (() => {
  const table = new Int32Array(256)
  for (let n = 0; n < 256; n++) {
    let value = n
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0x82f6_3b78 : 0)
    table[n] = value
  }
  return table
})()

function crcBytes(s: CpuState, crc: number, slot: number, size: number): number {
  let value = crc
  for (let n = 0; n < size; n++) value = (value >>> 8) ^ CRC[(value ^ s.u8[s.base + slot + n]!) & 0xff]!
  return value
}

/** Operations on bits. */
export const SSE_CRYPTO: SimdGroup = {
  aesenc: round(1, SBOX, MIX),
  aesenclast: round(1, SBOX, undefined),
  aesdec: round(3, INVERSE_SBOX, UNMIX),
  aesdeclast: round(3, INVERSE_SBOX, undefined),
  aesimc: inverseMix,
  aeskeygenassist: keyAssist,
  pclmulqdq: carrylessProduct,
  /** b = general register with the sum so far, c = the data, imm = its bytes. Bits 63–32 of the result are zero. */
  crc32: ({ s }, a, b, c, imm) => {
    const value = crcBytes(s, s.get32(b), c, imm)
    s.set32(a, value)
    s.set32(a + 4, 0)
  },
}
