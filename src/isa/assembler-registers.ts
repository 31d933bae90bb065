/** Register names as the assembler reads them. */

import { OPERAND, SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from './instruction.js'

/** A register written in the source. */
export interface Register {
  readonly name: string
  /** One of `OPERAND`. */
  readonly kind: number
  /** Number in the encoding, 0–15; AH CH DH BH are 4–7 with `high` set. */
  readonly number: number
  /** Bytes. */
  readonly size: number
  /** AH, CH, DH, BH: not encodable together with REX. */
  readonly high: boolean
  /** Exists only with a REX prefix: SPL, BPL, SIL, DIL, and everything numbered 8–15. */
  readonly rex: boolean
}

const NAMES_8 = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil']
const NAMES_8_HIGH = ['ah', 'ch', 'dh', 'bh']
const NAMES_16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
const SEGMENTS: readonly (readonly [string, number])[] = [
  ['es', SEG_ES],
  ['cs', SEG_CS],
  ['ss', SEG_SS],
  ['ds', SEG_DS],
  ['fs', SEG_FS],
  ['gs', SEG_GS],
]

/** Every register name in lower case. */
export const REGISTERS: ReadonlyMap<string, Register> = buildRegisters()

function buildRegisters(): Map<string, Register> {
  const map = new Map<string, Register>()
  const add = (name: string, kind: number, number: number, size: number, high = false, rex = number > 7): void => {
    map.set(name, { name, kind, number, size, high, rex })
  }
  NAMES_8.forEach((name, n) => {
    add(name, OPERAND.gpr, n, 1, false, n > 3)
  })
  NAMES_8_HIGH.forEach((name, n) => {
    add(name, OPERAND.gpr, n + 4, 1, true)
  })
  NAMES_16.forEach((name, n) => {
    add(name, OPERAND.gpr, n, 2)
    add(`e${name}`, OPERAND.gpr, n, 4)
    add(`r${name}`, OPERAND.gpr, n, 8)
  })
  for (let n = 8; n < 16; n++) {
    add(`r${n}b`, OPERAND.gpr, n, 1)
    add(`r${n}w`, OPERAND.gpr, n, 2)
    add(`r${n}d`, OPERAND.gpr, n, 4)
    add(`r${n}`, OPERAND.gpr, n, 8)
  }
  for (const [name, n] of SEGMENTS) add(name, OPERAND.seg, n, 2)
  for (let n = 0; n < 16; n++) {
    add(`cr${n}`, OPERAND.cr, n, 8)
    add(`dr${n}`, OPERAND.dr, n, 8)
    add(`xmm${n}`, OPERAND.xmm, n, 16)
  }
  for (let n = 0; n < 8; n++) {
    add(`tr${n}`, OPERAND.tr, n, 4)
    add(`st${n}`, OPERAND.st, n, 10)
    add(`mm${n}`, OPERAND.mm, n, 8)
  }
  add('st', OPERAND.st, 0, 10)
  return map
}
