/**
 * Lengths of VEX (C4, C5) and EVEX (62) instructions. None of them is claimed, so they decode as invalid; but a
 * disassembly can step over them as a whole.
 * Source: Intel SDM Vol. 2, "Intel AVX Encodings", "VEX Prefix", "EVEX".
 */
import { PREFIX_ADDRSIZE } from './instruction.js'

/** Opcodes of map 1 that take an immediate byte: shuffles, shifts, compares, inserts. */
function immediateInMap1(opcode: number): boolean {
  return (opcode >= 0x70 && opcode <= 0x73) || opcode === 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6)
}

/**
 * Position after the VEX or EVEX instruction whose first prefix byte is at `p`, by the general rules of the maps (every opcode
 * but VZEROUPPER has ModRM, map 3 has an immediate byte), or -1 when `limit` comes first.
 */
export function vexLength(bytes: Uint8Array, p: number, limit: number, bits: number, prefixes: number): number {
  const lead = bytes[p++]!
  let map = 1
  if (lead !== 0xc5) {
    if (p >= limit) return -1
    map = bytes[p]! & (lead === 0xc4 ? 31 : 7)
    p += lead === 0xc4 ? 2 : 3
  } else p++
  if (p >= limit) return -1
  const opcode = bytes[p++]!
  if (map !== 1 || opcode !== 0x77 || lead === 0x62) {
    if (p >= limit) return -1
    const modrm = bytes[p++]!
    const mod = modrm >> 6
    const rm = modrm & 7
    if (mod !== 3) {
      if (bits !== 64 && (bits === 16) !== ((prefixes & PREFIX_ADDRSIZE) !== 0)) {
        p += mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0
      } else {
        let base = rm
        if (rm === 4) {
          if (p >= limit) return -1
          base = bytes[p++]! & 7
        }
        p += mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0
      }
    }
    if (map === 3 || (map === 1 && immediateInMap1(opcode))) p++
  }
  return p > limit ? -1 : p
}
