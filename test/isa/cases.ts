/** Sources of test bytes for the decoder: a seeded generator, and encodings guided by the instruction table. */
import type { Row } from '../../src/isa/table.js'
import { SLOT } from './iced.js'

/** A small deterministic generator (xorshift32); returns a function that gives integers below its argument. */
export function seeded(seed: number): (below: number) => number {
  let state = seed | 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66, 0x67, 0x67, 0xf2, 0xf3, 0xf0]

/** Writes one encoding of `row` at `at`: random prefixes (often none), the opcode, a random fitting ModRM, random rest. */
export function encodeRow(
  row: Row,
  bits: 16 | 32 | 64,
  random: (below: number) => number,
  out: Uint8Array,
  at: number,
): void {
  const bytes: number[] = []
  const count = random(8) < 4 ? 0 : random(4)
  for (let i = 0; i < count; i++) bytes.push(PREFIXES[random(PREFIXES.length)]!)
  const mandatory = { any: 0, NP: 0, NFx: 0, '66': 0x66, F2: 0xf2, F3: 0xf3 }[row.prefix]
  if (mandatory) bytes.push(mandatory)
  const rex = row.w === 1 ? 0x48 : 0x40
  if (bits === 64 && (row.w === 1 || row.b === 1 || random(3) === 0))
    bytes.push(rex | random(16) | (row.b === 1 ? 1 : 0))
  if (row.map > 0) bytes.push(0x0f)
  if (row.map > 1) bytes.push(row.map === 2 ? 0x38 : 0x3a)
  bytes.push(row.opcode + (row.plus === 'r' ? random(8) : row.plus === 'cc' ? random(16) : 0))
  if (row.modrm) {
    const mod = row.mod === 'reg' ? 3 : row.mod === 'mem' ? random(3) : random(4)
    const reg = row.reg >= 0 ? row.reg : random(8)
    const rm = row.rm >= 0 ? row.rm : random(8)
    bytes.push((mod << 6) | (reg << 3) | rm)
  }
  for (let i = 0; i < SLOT; i++) out[at + i] = i < bytes.length ? bytes[i]! : random(256)
}
