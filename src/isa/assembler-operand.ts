/** Operands and prefixes of one instruction, as parsed from the source and before any symbol has a value. */

import { type Expression, isVariable, parseExpression } from './assembler-expression.js'
import { AssemblyFault, type TokenCursor } from './assembler-lexer.js'
import { REGISTERS, type Register } from './assembler-registers.js'
import { OPERAND } from './instruction.js'

/** Operand size keywords and their bytes. */
const SIZE_WORDS: ReadonlyMap<string, number> = new Map([
  ['byte', 1],
  ['word', 2],
  ['dword', 4],
  ['qword', 8],
  ['tword', 10],
  ['oword', 16],
])

/** Register operand. */
interface RegisterOperand {
  readonly kind: 'register'
  readonly register: Register
}

/** Memory operand. */
export interface MemoryOperand {
  readonly kind: 'memory'
  readonly address: Expression
  /** Segment override, or -1. */
  readonly segment: number
  /** Size keyword before the bracket, or 0. */
  readonly size: number
  /** Size keyword inside the bracket, or 0. */
  readonly dispSize: number
  readonly relative: 'default' | 'rel' | 'abs'
  readonly noSplit: boolean
  readonly far: boolean
}

/** Immediate or branch target. */
export interface ImmediateOperand {
  readonly kind: 'immediate'
  readonly value: Expression
  readonly size: number
  readonly strict: boolean
  readonly distance: '' | 'short' | 'near'
}

/** Far pointer `selector:offset`. */
interface FarOperand {
  readonly kind: 'far'
  readonly selector: Expression
  readonly offset: Expression
  readonly size: number
}

/** Any operand. */
export type SourceOperand = RegisterOperand | MemoryOperand | ImmediateOperand | FarOperand

/** One instruction of the source. */
export interface SourceInstruction {
  readonly mnemonic: string
  readonly operands: readonly SourceOperand[]
  readonly prefixes: SourcePrefixes
  readonly bits: number
  readonly defaultRelative: boolean
  /** True if its bytes may differ from pass to pass. */
  readonly variable: boolean
}

/** Prefixes written before the mnemonic. */
export interface SourcePrefixes {
  lock: boolean
  rep: boolean
  repne: boolean
  /** Segment number, or -1. */
  segment: number
  /** 0, 2, 4, 8 */
  opSize: number
  /** 0, 2, 4, 8 */
  addrSize: number
}

const SIZE_PREFIXES: Readonly<Record<string, readonly ['opSize' | 'addrSize', number]>> = {
  o16: ['opSize', 2],
  o32: ['opSize', 4],
  o64: ['opSize', 8],
  a16: ['addrSize', 2],
  a32: ['addrSize', 4],
  a64: ['addrSize', 8],
}

/** Consumes prefixes; the bits say which sizes exist. Gives undefined if there is none. */
export function parsePrefixes(cursor: TokenCursor, bits: number): SourcePrefixes | undefined {
  const prefixes: SourcePrefixes = { lock: false, rep: false, repne: false, segment: -1, opSize: 0, addrSize: 0 }
  let any = false
  for (; ; any = true) {
    const word = cursor.word()
    if (word === undefined) break
    const sized = SIZE_PREFIXES[word]
    const register = REGISTERS.get(word)
    if (word === 'lock') prefixes.lock = true
    else if (word === 'rep' || word === 'repe' || word === 'repz') prefixes.rep = true
    else if (word === 'repne' || word === 'repnz') prefixes.repne = true
    else if (register?.kind === OPERAND.seg) prefixes.segment = register.number
    else if (sized) {
      if (sized[1] === 8 && bits !== 64) throw new AssemblyFault(`prefix '${word}' exists only in 64-bit code`)
      if (word === 'a16' && bits === 64) throw new AssemblyFault("prefix 'a16' does not exist in 64-bit code")
      prefixes[sized[0]] = sized[1]
    } else break
    cursor.at++
  }
  return any ? prefixes : undefined
}

/** Consumes the operands up to the end of the line. */
export function parseOperands(cursor: TokenCursor, qualify: (name: string) => string): SourceOperand[] {
  const operands: SourceOperand[] = []
  if (cursor.done) return operands
  do {
    operands.push(parseOperand(cursor, qualify))
  } while (cursor.take(','))
  if (!cursor.done) throw new AssemblyFault(`expected ',' or the end of the line, found ${cursor.found()}`)
  return operands
}

function parseOperand(cursor: TokenCursor, qualify: (name: string) => string): SourceOperand {
  let size = 0
  let strict = false
  let far = false
  let distance: ImmediateOperand['distance'] = ''
  for (; ; cursor.at++) {
    const word = cursor.word()
    if (word === undefined) break
    const bytes = SIZE_WORDS.get(word)
    if (bytes !== undefined) size = bytes
    else if (word === 'strict') strict = true
    else if (word === 'short' || word === 'near') distance = word
    else if (word === 'far') far = true
    else if (word !== 'ptr' || size === 0) break
  }
  if (cursor.take('[')) return parseMemory(cursor, qualify, size, far)
  const register = REGISTERS.get(cursor.word() ?? '')
  const next = cursor.peek(1)
  if (register?.kind === OPERAND.st && register.name === 'st' && next?.text === '(') {
    const number = cursor.peek(2)
    cursor.at += 3
    cursor.expect(')', 'after st(n')
    if (number?.kind !== 'number' || number.value < 0n || number.value > 7n) {
      throw new AssemblyFault('expected st(0) to st(7)')
    }
    return { kind: 'register', register: REGISTERS.get(`st${number.value}`)! }
  }
  if (register && (next === undefined || (next.kind === 'punct' && next.text === ','))) {
    cursor.at++
    if (size !== 0 && size !== register.size && register.kind === OPERAND.gpr) {
      throw new AssemblyFault(`register '${register.name}' has ${register.size} bytes, not ${size}`)
    }
    return { kind: 'register', register }
  }
  const value = parseExpression(cursor, qualify)
  if (cursor.take(':')) return { kind: 'far', selector: value, offset: parseExpression(cursor, qualify), size }
  if (far) throw new AssemblyFault("expected 'selector:offset' or a memory operand after 'far'")
  return { kind: 'immediate', value, size, strict, distance }
}

function parseMemory(
  cursor: TokenCursor,
  qualify: (name: string) => string,
  size: number,
  far: boolean,
): MemoryOperand {
  let segment = -1
  let dispSize = 0
  let relative: MemoryOperand['relative'] = 'default'
  let noSplit = false
  for (; ; cursor.at++) {
    const word = cursor.word()
    if (word === undefined) break
    const bytes = SIZE_WORDS.get(word)
    const register = REGISTERS.get(word)
    const next = cursor.peek(1)
    if (bytes !== undefined && bytes <= 8) dispSize = bytes
    else if (word === 'rel' || word === 'abs') relative = word
    else if (word === 'nosplit') noSplit = true
    else if (register?.kind === OPERAND.seg && next?.kind === 'punct' && next.text === ':') {
      segment = register.number
      cursor.at++
    } else break
  }
  const address = parseExpression(cursor, qualify)
  cursor.expect(']', 'after the address')
  return { kind: 'memory', address, segment, size, dispSize, relative, noSplit, far }
}

/** Do the operand's bytes depend on a symbol or on `$`? */
export function isVariableOperand(operand: SourceOperand): boolean {
  switch (operand.kind) {
    case 'register':
      return false
    case 'memory':
      return operand.relative === 'rel' || isVariable(operand.address)
    case 'immediate':
      return isVariable(operand.value)
    case 'far':
      return isVariable(operand.selector) || isVariable(operand.offset)
  }
}
