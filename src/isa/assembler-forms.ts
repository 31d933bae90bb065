/** The instruction table as the assembler looks it up: by the name in the source, with words for messages. */

import { INCOMPLETE, type Meaning, plainMeaning, SYNONYM_TABLE } from './assembler-mnemonics.js'
import type { SourceOperand } from './assembler-operand.js'
import { type OperandSpec, ROWS, type Row } from './table.js'

/** x87 arithmetic whose form without operands is the popping one. */
const POPPING = new Set(['fadd', 'fmul', 'fsub', 'fsubr', 'fdiv', 'fdivr'])

const STRING_METHODS = new Set<string>(['X', 'Y'])

/** Rows that can be assembled, by mnemonic. */
const FORMS: ReadonlyMap<string, readonly Row[]> = /* @__PURE__ */ buildForms()

function buildForms(): Map<string, Row[]> {
  const map = new Map<string, Row[]>()
  for (const row of ROWS) {
    if (row.index === 0 || row.alias) continue
    // Of the many hint opcodes that do nothing, 0F 1F is the one meant for code.
    if (row.mnemonic === 'nop' && row.map === 1 && row.opcode !== 0x1f) continue
    const list = map.get(row.mnemonic)
    if (list) list.push(row)
    else map.set(row.mnemonic, [row])
  }
  return map
}

/** Is this a name that an instruction can have? The name is in lower case. */
export function isMnemonic(name: string): boolean {
  return SYNONYM_TABLE.has(name) || (FORMS.has(name) && !INCOMPLETE.has(name))
}

/** What a mnemonic stands for; string moves and SSE share the names MOVSD and CMPSD, which the operands tell apart. */
export function meaningOf(name: string, operands: readonly SourceOperand[], farMemory: boolean): Meaning | undefined {
  const synonym = SYNONYM_TABLE.get(name)
  if (operands.length === 0 && POPPING.has(name)) return plainMeaning(`${name}p`)
  if (synonym && !(synonym.element !== 0 && operands.length > 0 && FORMS.has(name))) return synonym
  if (!FORMS.has(name) || INCOMPLETE.has(name)) return undefined
  if (name === 'movsx' && widthOfSource(operands[1]) === 4) return plainMeaning('movsxd')
  if ((name === 'jmp' || name === 'call') && (farMemory || operands[0]?.kind === 'far')) return plainMeaning(`${name}f`)
  return plainMeaning(name)
}

function widthOfSource(operand: SourceOperand | undefined): number {
  if (operand?.kind === 'register') return operand.register.size
  return operand?.kind === 'memory' ? operand.size : 0
}

/** The rows of a meaning. A string instruction written without operands has exactly one. */
export function formsOf(meaning: Meaning): readonly Row[] {
  const rows = FORMS.get(meaning.mnemonic) ?? []
  if (meaning.element === 0) return rows
  return rows.filter((row) =>
    row.operands.some((o) => STRING_METHODS.has(o.method) && (o.width === 'b') === (meaning.element === 1)),
  )
}

const VARIABLE_WIDTHS = new Set<string>(['v', 'z', 'y', 'p', 'a'])

/** Does the operand's width depend on the operand size? A sign-extended immediate is extended to it. */
export function isVariableWidth(spec: OperandSpec): boolean {
  return VARIABLE_WIDTHS.has(spec.width) || VARIABLE_WIDTHS.has(spec.memWidth) || spec.method === 'sI'
}

const KIND_WORDS: Readonly<Record<string, string>> = {
  E: 'r/m',
  G: 'r',
  R: 'r',
  Z: 'r',
  M: 'm',
  I: 'imm',
  sI: 'imm',
  J: 'target',
  A: 'selector:offset',
  O: '[offset',
  S: 'segment register',
  C: 'control register',
  D: 'debug register',
  T: 'test register',
  P: 'mm',
  N: 'mm',
  Q: 'mm/m',
  V: 'xmm',
  U: 'xmm',
  W: 'xmm/m',
}
const WIDTH_WORDS: Readonly<Record<string, string>> = {
  b: '8',
  w: '16',
  d: '32',
  q: '64',
  dq: '128',
  t: '80',
  v: '16/32/64',
  z: '16/32',
  y: '32/64',
  m: '32/64',
  p: ' (far pointer)',
  a: ' (pair)',
}
const BARE = new Set(['J', 'A', 'S', 'C', 'D', 'T', 'P', 'N', 'V', 'U'])

function describeSpec(spec: OperandSpec): string {
  const word = KIND_WORDS[spec.method]
  if (word === undefined) return spec.text.toLowerCase()
  if (BARE.has(spec.method)) return word
  if (spec.method === 'O') return `${word}]`
  const memory = spec.memWidth === spec.width ? '' : `/m${WIDTH_WORDS[spec.memWidth] ?? ''}`
  return `${memory === '' ? word : word.replace('/m', '')}${WIDTH_WORDS[spec.width] ?? ''}${memory}`
}

/** The forms of a mnemonic for a message, at most `limit` of them. */
export function describeForms(rows: readonly Row[], bits: number, limit: number): string {
  const texts = new Set<string>()
  for (const row of rows) {
    if (bits === 64 ? row.invalid64 : row.only64) continue
    texts.add(row.operands.map(describeSpec).join(', ') || 'no operands')
  }
  const list = [...texts]
  return list.slice(0, limit).join('; ') + (list.length > limit ? '; …' : '')
}

const SIZE_NAMES: Readonly<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  8: 'qword',
  10: 'tword',
  16: 'oword',
}

/** An operand for a message. */
export function describeOperand(operand: SourceOperand): string {
  switch (operand.kind) {
    case 'register':
      return operand.register.name
    case 'memory':
      return operand.size === 0 ? 'memory' : `${SIZE_NAMES[operand.size]} memory`
    case 'immediate':
      return operand.size === 0 ? 'number' : `${SIZE_NAMES[operand.size]} number`
    case 'far':
      return 'selector:offset'
  }
}
