/** One question to the processor, and its answer, in the layouts of `capture.c`. */

import { FP_BYTES, type FpState } from './fp-state.js'
import { dataOffset } from './layout.js'

export const OPTION_NO_TRAP = 1
export const OPTION_REPEAT = 2
export const OPTION_BREAKPOINT = 4

export const POKES = 4
export const POKE_BYTES = 32
export const CASE_BYTES: number = 4 + 4 + 8 + 128 + 16 + 12 + 2 + 2 + 16 + POKES * (4 + POKE_BYTES)
export const RESULT_BYTES: number = 4 + 4 + 8 + 8 + 128 + 16 + 4 + 12 + 4
/** `vector` of an instruction that ended without one. */
export const NO_VECTOR = 255

export interface Poke {
  /** In the data pages. */
  offset: number
  bytes: Uint8Array
}

/** State before the instruction. */
export class OracleCase {
  options = 0
  flags = 0
  rip = 0n
  readonly reg: BigUint64Array = new BigUint64Array(16)
  fsBase = 0n
  gsBase = 0n
  /** ES CS SS DS FS GS. */
  readonly selectors: Uint16Array = new Uint16Array(6)
  /** Where the code starts in its page; bytes beyond the page's end are not written. */
  codeOffset = 0
  code: number[] = []
  pokes: Poke[] = []
  /** What the generator encoded, for the comparison: register numbers of ModRM.reg, ModRM.rm and the opcode's low bits; -1 where there is none. */
  regOperand = -1
  rmOperand = -1
  opcodeOperand = -1
  /** Where in its region the memory operand lies, in the suite with x87 and SSE; -1 without one, or where nothing is. */
  operandOffset = -1
  /** x87 and SSE state, in the suites that have it. */
  fp: FpState | undefined = undefined

  /** Place in the data pages of byte `i` of the memory operand, or -1. */
  operandByte(i: number): number {
    return this.operandOffset < 0 ? -1 : dataOffset(this.operandOffset + i)
  }

  pack(view: DataView, at: number): void {
    view.setUint32(at, this.options, true)
    view.setUint32(at + 4, this.flags, true)
    view.setBigUint64(at + 8, this.rip, true)
    for (let i = 0; i < 16; i++) view.setBigUint64(at + 16 + i * 8, this.reg[i]!, true)
    view.setBigUint64(at + 144, this.fsBase, true)
    view.setBigUint64(at + 152, this.gsBase, true)
    for (let i = 0; i < 6; i++) view.setUint16(at + 160 + i * 2, this.selectors[i]!, true)
    view.setUint16(at + 172, this.codeOffset, true)
    view.setUint8(at + 174, Math.min(16, this.code.length))
    view.setUint8(at + 175, this.pokes.length)
    for (let i = 0; i < 16; i++) view.setUint8(at + 176 + i, this.code[i] ?? 0)
    for (let i = 0; i < POKES; i++) {
      const to = at + 192 + i * (4 + POKE_BYTES)
      const poke = this.pokes[i]
      view.setUint16(to, poke?.offset ?? 0, true)
      view.setUint16(to + 2, poke?.bytes.length ?? 0, true)
      for (let j = 0; j < POKE_BYTES; j++) view.setUint8(to + 4 + j, poke?.bytes[j] ?? 0)
    }
  }
}

/** A run of bytes of the data pages that changed. */
export interface Change {
  offset: number
  bytes: number[]
}

/** State after the instruction, or as its exception found it. */
export interface OracleResult {
  vector: number
  error: number
  cr2: bigint
  rip: bigint
  reg: BigUint64Array
  fsBase: bigint
  gsBase: bigint
  flags: number
  selectors: Uint16Array
  /** Iterations of a repeated string instruction, else 1. */
  steps: number
  changes: Change[]
  /** x87 and SSE state, where the case has it. */
  fp: Uint8Array | undefined
}

/** Reads one result of the capture program; returns it and where the next one starts. */
export function unpackResult(
  view: DataView,
  at: number,
  floatState: boolean,
): readonly [result: OracleResult, next: number] {
  const reg = new BigUint64Array(16)
  for (let i = 0; i < 16; i++) reg[i] = view.getBigUint64(at + 24 + i * 8, true)
  const selectors = new Uint16Array(6)
  for (let i = 0; i < 6; i++) selectors[i] = view.getUint16(at + 172 + i * 2, true)
  const count = view.getUint16(at + 186, true)
  const changes: Change[] = []
  let next = at + RESULT_BYTES
  let fp: Uint8Array | undefined
  if (floatState) {
    fp = new Uint8Array(view.buffer.slice(view.byteOffset + next, view.byteOffset + next + FP_BYTES) as ArrayBuffer)
    next += FP_BYTES
  }
  for (let i = 0; i < count; i++, next += 4) {
    const offset = view.getUint16(next, true)
    const last = changes.at(-1)
    if (last !== undefined && last.offset + last.bytes.length === offset) last.bytes.push(view.getUint8(next + 2))
    else changes.push({ offset, bytes: [view.getUint8(next + 2)] })
  }
  return [
    {
      vector: view.getUint32(at, true),
      error: view.getUint32(at + 4, true),
      cr2: view.getBigUint64(at + 8, true),
      rip: view.getBigUint64(at + 16, true),
      reg,
      fsBase: view.getBigUint64(at + 152, true),
      gsBase: view.getBigUint64(at + 160, true),
      flags: view.getUint32(at + 168, true),
      selectors,
      steps: view.getUint16(at + 184, true),
      changes,
      fp,
    },
    next,
  ]
}
