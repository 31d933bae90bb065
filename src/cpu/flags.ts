/**
 * Arithmetic flags, kept lazily. An instruction that sets them stores two values; the flags are computed from those only when
 * something looks:
 *
 * - `result` (64 bits): the result, sign-extended from its width. ZF = (result = 0), SF = its sign.
 * - `aux` (32 bits): bit 31 = CF; bit 30 = CF xor OF; bit 3 = AF; bit 0 inverts SF; bits 15–8 are xored into the low byte
 *   of `result` before its parity is taken.
 *
 * The last two exist so that any combination of flags (POPF, SAHF) has a representation: ZF with SF, say.
 */

import { FLAG_AF, FLAG_CF, FLAG_OF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../isa/flags.js'

export const AUX_CF: number = 1 << 31
export const AUX_PO: number = 1 << 30
export const AUX_AF: number = 1 << 3
export const AUX_SIGN_DELTA: number = 1 << 0
export const AUX_PARITY_SHIFT = 8

/** CF PF AF ZF SF OF. */
export const FLAGS_ARITHMETIC: number = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF

/** `PARITY_EVEN[b]` = 1 when byte b has an even number of ones. */
export const PARITY_EVEN: Uint8Array = (() => {
  const table = new Uint8Array(256)
  for (let b = 0; b < 256; b++) {
    let ones = 0
    for (let x = b; x; x &= x - 1) ones++
    table[b] = ones & 1 ? 0 : 1
  }
  return table
})()

/** The six arithmetic flags in their RFLAGS positions. */
export function arithmeticFlags(resultLo: number, resultHi: number, aux: number): number {
  // Shifts of single bits to CF 0, PF 2, AF 4, ZF 6, SF 7, OF 11: this runs at every PUSHF and event delivery.
  return (
    (aux >>> 31) |
    (PARITY_EVEN[(resultLo ^ (aux >>> AUX_PARITY_SHIFT)) & 0xff]! << 2) |
    ((aux & AUX_AF) << 1) |
    ((resultLo | resultHi) === 0 ? FLAG_ZF : 0) |
    (((resultHi >>> 31) ^ (aux & AUX_SIGN_DELTA)) << 7) |
    (((aux ^ (aux << 1)) >>> 31) << 11)
  )
}

function makeAux(flags: number): number {
  const cf = flags & FLAG_CF ? AUX_CF : 0
  const po = !!(flags & FLAG_CF) !== !!(flags & FLAG_OF) ? AUX_PO : 0
  const af = flags & FLAG_AF ? AUX_AF : 0
  const sign = flags & FLAG_SF ? AUX_SIGN_DELTA : 0
  const result = resultForFlags(flags)
  const parity = PARITY_EVEN[result] === (flags & FLAG_PF ? 1 : 0) ? 0 : 1 << AUX_PARITY_SHIFT
  return cf | po | af | sign | parity
}

/** `aux` by the low twelve bits of RFLAGS, which hold all arithmetic flags. */
const AUX_BY_FLAGS: Int32Array = (() => {
  const table = new Int32Array(0x1000)
  for (let flags = 0; flags < table.length; flags++) table[flags] = makeAux(flags)
  return table
})()

/** The `aux` value for given flags, when `result` will be {@link resultForFlags}. */
export function auxForFlags(flags: number): number {
  return AUX_BY_FLAGS[flags & 0xfff]!
}

/** A non-negative `result` that has the wanted ZF: SF then comes from the sign delta. */
export function resultForFlags(flags: number): number {
  return flags & FLAG_ZF ? 0 : 1
}
