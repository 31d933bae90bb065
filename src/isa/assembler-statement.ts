/** Statements: what one line of plain tokens means, before symbols have values. */

import { type Expression, isVariable, parseExpression } from './assembler-expression.js'
import { isMnemonic } from './assembler-forms.js'
import { AssemblyFault, stringBytes, type Token, TokenCursor } from './assembler-lexer.js'
import {
  isVariableOperand,
  parseOperands,
  parsePrefixes,
  type SourceInstruction,
  type SourcePrefixes,
} from './assembler-operand.js'
import { REGISTERS } from './assembler-registers.js'

/** One element of a data statement. */
export type DataPart =
  | { readonly kind: 'bytes'; readonly bytes: readonly number[] }
  | { readonly kind: 'value'; readonly value: Expression }

/** One statement. */
export type Statement =
  | { readonly kind: 'label'; readonly name: string }
  | { readonly kind: 'equ'; readonly name: string; readonly value: Expression }
  | { readonly kind: 'org'; readonly value: Expression }
  | { readonly kind: 'absolute'; readonly value: Expression | undefined }
  | { readonly kind: 'data'; readonly unit: number; readonly parts: readonly DataPart[] }
  | { readonly kind: 'reserve'; readonly unit: number; readonly count: Expression }
  | { readonly kind: 'align'; readonly boundary: Expression; readonly fill: Statement }
  | { readonly kind: 'times'; readonly count: Expression; readonly body: Statement; readonly variable: boolean }
  | { readonly kind: 'instruction'; readonly instruction: SourceInstruction }

const DATA_UNITS: Readonly<Record<string, number>> = { db: 1, dw: 2, dd: 4, dq: 8, dt: 10, do: 16 }
const RESERVE_UNITS: Readonly<Record<string, number>> = { resb: 1, resw: 2, resd: 4, resq: 8, rest: 10, reso: 16 }
const DIRECTIVES = new Set([
  'times',
  'equ',
  'org',
  'bits',
  'use16',
  'use32',
  'use64',
  'align',
  'alignb',
  'default',
  'global',
  'cpu',
  'section',
  'segment',
  'extern',
  'absolute',
  'struc',
  'endstruc',
  ...Object.keys(DATA_UNITS),
  ...Object.keys(RESERVE_UNITS),
])
const PREFIX_WORDS = /^(lock|rep|repe|repz|repne|repnz|[oa](16|32|64)|[c-gs]s|es)$/
const NO_PREFIXES: SourcePrefixes = { lock: false, rep: false, repne: false, segment: -1, opSize: 0, addrSize: 0 }
const MAX_NESTED_TIMES = 8

/** Can the word start a statement? */
function isKeyword(word: string): boolean {
  return DIRECTIVES.has(word) || PREFIX_WORDS.test(word) || isMnemonic(word)
}

/** Keeps what carries over from line to line: code size, the last global label, `default rel`. */
export class StatementParser {
  bits = 16
  private defaultRelative = false
  private global = ''
  private structure = ''

  constructor(bits: number) {
    this.bits = bits
  }

  /** Full name of a symbol as written. */
  qualify = (name: string): string => (name.startsWith('.') && !name.startsWith('..') ? this.global + name : name)

  /** Parses one line and hands over its statements. */
  parse(tokens: readonly Token[], emit: (statement: Statement) => void): void {
    let list = tokens
    // The bracketed form of a directive: [bits 32].
    if (list[0]?.kind === 'punct' && list[0].text === '[' && list.at(-1)?.text === ']') list = list.slice(1, -1)
    const cursor = new TokenCursor(list)
    const label = this.takeLabel(cursor)
    if (label !== undefined) {
      const word = cursor.word()
      if (word === 'equ') {
        cursor.at++
        const name = this.define(label)
        emit({ kind: 'equ', name, value: this.lastExpression(cursor) })
        return
      }
      emit({ kind: 'label', name: this.define(label) })
    }
    if (cursor.done) return
    const statement = this.statement(cursor, emit, 0)
    if (statement) emit(statement)
  }

  private define(name: string): string {
    const full = this.qualify(name)
    if (!name.startsWith('.')) this.global = name
    return full
  }

  private takeLabel(cursor: TokenCursor): string | undefined {
    const first = cursor.peek()
    if (first?.kind !== 'name') return undefined
    const second = cursor.peek(1)
    const colon = second?.kind === 'punct' && second.text === ':'
    const word = cursor.word()
    if (word !== undefined && isKeyword(word) && !colon) return undefined
    if (word !== undefined && colon && isKeyword(word) && !REGISTERS.has(word)) {
      throw new AssemblyFault(`'${first.text}' is a keyword and cannot be a label: write $${first.text}`)
    }
    if (word !== undefined && REGISTERS.has(word)) {
      throw new AssemblyFault(`expected an instruction or a label, found the register '${first.text}'`)
    }
    const next = second?.kind === 'name' && !second.escaped ? second.text.toLowerCase() : ''
    if (!colon && !isKeyword(next)) {
      if (first.text.startsWith('%')) throw new AssemblyFault(`unknown directive '${first.text}'`)
      const hint = second === undefined ? ' (a label needs a colon)' : ''
      throw new AssemblyFault(`unknown mnemonic '${first.text}'${hint}`)
    }
    cursor.at += colon ? 2 : 1
    return first.text
  }

  private expression(cursor: TokenCursor): Expression {
    return parseExpression(cursor, this.qualify)
  }

  private lastExpression(cursor: TokenCursor): Expression {
    const expression = this.expression(cursor)
    if (!cursor.done) throw new AssemblyFault(`expected the end of the line, found ${cursor.found()}`)
    return expression
  }

  private statement(cursor: TokenCursor, emit: (statement: Statement) => void, depth: number): Statement | undefined {
    const word = cursor.word()
    if (word === undefined) throw new AssemblyFault(`expected an instruction or a directive, found ${cursor.found()}`)
    const unit = DATA_UNITS[word]
    if (unit !== undefined && Object.hasOwn(DATA_UNITS, word)) {
      cursor.at++
      return { kind: 'data', unit, parts: this.dataParts(cursor, unit) }
    }
    if (Object.hasOwn(RESERVE_UNITS, word)) {
      cursor.at++
      return { kind: 'reserve', unit: RESERVE_UNITS[word]!, count: this.lastExpression(cursor) }
    }
    if (word === 'times') {
      cursor.at++
      if (depth >= MAX_NESTED_TIMES) throw new AssemblyFault(`'times' nested more than ${MAX_NESTED_TIMES} deep`)
      const count = this.expression(cursor)
      const body = this.statement(cursor, emit, depth + 1)
      if (!body || !['data', 'reserve', 'instruction', 'times'].includes(body.kind)) {
        throw new AssemblyFault("expected an instruction or data after 'times'")
      }
      return { kind: 'times', count, body, variable: isVariableStatement(body) }
    }
    if (DIRECTIVES.has(word)) {
      cursor.at++
      return this.directive(word, cursor, emit)
    }
    return { kind: 'instruction', instruction: this.instruction(cursor) }
  }

  private instruction(cursor: TokenCursor): SourceInstruction {
    const prefixes = parsePrefixes(cursor, this.bits) ?? NO_PREFIXES
    const word = cursor.word()
    if (word === undefined) throw new AssemblyFault(`expected a mnemonic, found ${cursor.found()}`)
    if (!isMnemonic(word)) throw new AssemblyFault(`unknown mnemonic '${cursor.peek()!.text}'`)
    cursor.at++
    const operands = parseOperands(cursor, this.qualify)
    const variable = operands.some(isVariableOperand) || /^(j|loop|call)/.test(word)
    return { mnemonic: word, operands, prefixes, bits: this.bits, defaultRelative: this.defaultRelative, variable }
  }

  private directive(word: string, cursor: TokenCursor, emit: (statement: Statement) => void): Statement | undefined {
    switch (word) {
      case 'bits':
      case 'use16':
      case 'use32':
      case 'use64': {
        const bits = word === 'bits' ? Number(cursor.peek()?.value ?? 0n) : Number(word.slice(3))
        if (bits !== 16 && bits !== 32 && bits !== 64)
          throw new AssemblyFault(`expected bits 16, 32 or 64, found ${cursor.found()}`)
        this.bits = bits
        return undefined
      }
      case 'default': {
        const mode = cursor.word()
        if (mode !== 'rel' && mode !== 'abs')
          throw new AssemblyFault(`expected 'default rel' or 'default abs', found ${cursor.found()}`)
        this.defaultRelative = mode === 'rel'
        return undefined
      }
      case 'org':
        return { kind: 'org', value: this.lastExpression(cursor) }
      case 'align':
      case 'alignb':
        return this.align(word, cursor, emit)
      case 'absolute':
        return { kind: 'absolute', value: this.lastExpression(cursor) }
      case 'struc': {
        const name = cursor.peek()
        if (name?.kind !== 'name' || this.structure !== '')
          throw new AssemblyFault("expected 'struc name', not inside another one")
        this.structure = name.text
        emit({ kind: 'absolute', value: { op: 'number', value: 0n } })
        return { kind: 'label', name: this.define(name.text) }
      }
      case 'endstruc': {
        if (this.structure === '') throw new AssemblyFault("'endstruc' without 'struc'")
        emit({ kind: 'equ', name: `${this.structure}_size`, value: { op: 'here' } })
        this.structure = ''
        return { kind: 'absolute', value: undefined }
      }
      case 'global':
      case 'cpu':
        return undefined
      case 'equ':
        throw new AssemblyFault("expected a name before 'equ'")
      default:
        throw new AssemblyFault(`'${word}' has no meaning here: the output is one flat image`)
    }
  }

  private align(word: string, cursor: TokenCursor, emit: (statement: Statement) => void): Statement {
    const boundary = this.expression(cursor)
    let fill: Statement | undefined
    if (cursor.take(',')) {
      const next = cursor.word()
      fill =
        next !== undefined && isKeyword(next)
          ? this.statement(cursor, emit, MAX_NESTED_TIMES)
          : { kind: 'data', unit: 1, parts: [{ kind: 'value', value: this.lastExpression(cursor) }] }
    }
    if (!cursor.done && !fill)
      throw new AssemblyFault(`expected ', fill' or the end of the line, found ${cursor.found()}`)
    const byte = word === 'align' ? 0x90n : 0n
    fill ??= { kind: 'data', unit: 1, parts: [{ kind: 'value', value: { op: 'number', value: byte } }] }
    return { kind: 'align', boundary, fill }
  }

  private dataParts(cursor: TokenCursor, unit: number): DataPart[] {
    const parts: DataPart[] = []
    do {
      const token = cursor.peek()
      const next = cursor.peek(1)
      const alone = next === undefined || (next.kind === 'punct' && next.text === ',')
      const negative = token?.kind === 'punct' && token.text === '-' && next?.kind === 'float'
      if (token?.kind === 'string' && alone) {
        cursor.at++
        const bytes = stringBytes(token.text)
        while (bytes.length % unit !== 0) bytes.push(0)
        parts.push({ kind: 'bytes', bytes })
      } else if (token?.kind === 'float' || negative) {
        if (negative) cursor.at++
        parts.push({ kind: 'bytes', bytes: floatBytes(Number(cursor.peek()!.text), negative, unit) })
        cursor.at++
      } else if (token?.kind === 'punct' && token.text === '?' && alone) {
        cursor.at++
        parts.push({ kind: 'bytes', bytes: new Array<number>(unit).fill(0) })
      } else {
        if (unit > 8) throw new AssemblyFault(`expected a floating-point number or a string, found ${cursor.found()}`)
        parts.push({ kind: 'value', value: this.expression(cursor) })
      }
    } while (cursor.take(','))
    if (!cursor.done) throw new AssemblyFault(`expected ',' or the end of the line, found ${cursor.found()}`)
    return parts
  }
}

/** IEEE 754 bytes of a number; 80-bit ones have the precision of a double. */
function floatBytes(magnitude: number, negative: boolean, unit: number): number[] {
  const value = negative ? -magnitude : magnitude
  const view = new DataView(new ArrayBuffer(8))
  if (unit === 4) {
    view.setFloat32(0, value, true)
    return Array.from({ length: 4 }, (_, i) => view.getUint8(i))
  }
  view.setFloat64(0, value, true)
  if (unit === 8) return Array.from({ length: 8 }, (_, i) => view.getUint8(i))
  if (unit !== 10) throw new AssemblyFault('expected dd, dq or dt for a floating-point number')
  const bits = view.getBigUint64(0, true)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  if (exponent === 0 && fraction !== 0n) throw new AssemblyFault('a denormal double cannot be written with dt')
  const wide = exponent === 0 ? 0 : exponent === 0x7ff ? 0x7fff : exponent - 1023 + 16383
  const significand = exponent === 0 ? 0n : (1n << 63n) | (fraction << 11n)
  const top = wide | (negative ? 0x8000 : 0)
  const bytes = Array.from({ length: 8 }, (_, i) => Number((significand >> BigInt(i * 8)) & 255n))
  return [...bytes, top & 255, top >> 8]
}

/** May the bytes of the statement differ from one repetition or pass to the next? */
export function isVariableStatement(statement: Statement): boolean {
  switch (statement.kind) {
    case 'data':
      return statement.parts.some((part) => part.kind === 'value' && isVariable(part.value))
    case 'reserve':
      return isVariable(statement.count)
    case 'instruction':
      return statement.instruction.variable
    default:
      return true
  }
}
