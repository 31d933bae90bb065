/**
 * Expressions of the assembler: 64-bit two's complement integers with NASM's operators, and, for addresses, sums of
 * scaled registers. A value remembers how often the address of the program is contained in it (`reloc`), because a
 * label is not a plain number: NASM never shortens an immediate or a displacement that holds one.
 *
 * Operators from the weakest: `?:`, `||`, `^^`, `&&`, comparisons (signed), `|`, `^`, `&`, shifts (`>>` logical, `>>>`
 * arithmetic), `+ -`, `* / // % %%` (`/` and `%` unsigned, `//` and `%%` signed), unary `- + ~ !`.
 */

import { AssemblyFault, stringBytes, type TokenCursor } from './assembler-lexer.js'
import { REGISTERS, type Register } from './assembler-registers.js'
import { OPERAND } from './instruction.js'

/** A parsed expression. */
export type Expression =
  | { readonly op: 'number'; readonly value: bigint }
  | { readonly op: 'symbol'; readonly name: string }
  | { readonly op: 'here' }
  | { readonly op: 'start' }
  | { readonly op: 'register'; readonly register: Register }
  | { readonly op: 'unary'; readonly text: string; readonly a: Expression }
  | { readonly op: 'binary'; readonly text: string; readonly a: Expression; readonly b: Expression }
  | { readonly op: 'choice'; readonly a: Expression; readonly b: Expression; readonly c: Expression }

/** A register times a factor inside an address. */
export interface RegisterTerm {
  readonly register: Register
  readonly factor: number
  /** Written with an explicit `*`, even `*1`: NASM then takes it as the index. */
  readonly scaled: boolean
}

/** What an expression evaluates to. */
export interface Value {
  /** Signed 64-bit. */
  readonly n: bigint
  /** How often the program's base address is contained: 1 for a label, 0 for a number or the distance of two labels. */
  readonly reloc: number
  /** It depends on a symbol whose value is not known yet. */
  readonly unknown: boolean
  /** Registers in the order written; absent for plain numbers. */
  readonly terms?: readonly RegisterTerm[]
}

/** What an expression may refer to. */
export interface Scope {
  /** The value of a symbol; reports unknown symbols itself. */
  symbol(name: string): Value
  /** `$` */
  readonly here: Value
  /** `$$` */
  readonly start: Value
}

const BINARY: readonly (readonly string[])[] = [
  ['||'],
  ['^^'],
  ['&&'],
  ['=', '==', '!=', '<>', '<', '<=', '>', '>=', '<=>'],
  ['|'],
  ['^'],
  ['&'],
  ['<<', '<<<', '>>', '>>>'],
  ['+', '-'],
  ['*', '/', '//', '%', '%%'],
]
const UNARY = ['-', '+', '~', '!']
const MAX_NESTING = 200

/** A constant as a {@link Value}. */
export function constant(n: bigint): Value {
  return { n: BigInt.asIntN(64, n), reloc: 0, unknown: false }
}

/** The value that stands for a symbol not known yet. */
export const UNKNOWN: Value = { n: 0n, reloc: 1, unknown: true }

/** Parses one expression; `qualify` turns a name as written (`.loop`) into the symbol's full name. */
export function parseExpression(cursor: TokenCursor, qualify: (name: string) => string): Expression {
  return parseChoice(0)

  function parseChoice(depth: number): Expression {
    if (depth > MAX_NESTING) throw new AssemblyFault(`expression nested more than ${MAX_NESTING} levels deep`)
    const a = parseLevel(0, depth)
    if (!cursor.take('?')) return a
    const b = parseChoice(depth + 1)
    cursor.expect(':', 'of ?:')
    return { op: 'choice', a, b, c: parseChoice(depth + 1) }
  }

  function parseLevel(level: number, depth: number): Expression {
    const operators = BINARY[level]
    if (!operators) return parseUnary(depth)
    let a = parseLevel(level + 1, depth)
    for (;;) {
      const t = cursor.peek()
      if (t?.kind !== 'punct' || !operators.includes(t.text)) return a
      cursor.at++
      a = { op: 'binary', text: t.text, a, b: parseLevel(level + 1, depth) }
    }
  }

  function parseUnary(depth: number): Expression {
    if (depth > MAX_NESTING) throw new AssemblyFault(`expression nested more than ${MAX_NESTING} levels deep`)
    const t = cursor.peek()
    if (t === undefined) throw new AssemblyFault('expected an expression, found the end of the line')
    if (t.kind === 'punct' && UNARY.includes(t.text)) {
      cursor.at++
      return { op: 'unary', text: t.text, a: parseUnary(depth + 1) }
    }
    if (cursor.take('(')) {
      const inner = parseChoice(depth + 1)
      cursor.expect(')', 'after the expression')
      return inner
    }
    if (cursor.take('$')) return { op: 'here' }
    if (cursor.take('$$')) return { op: 'start' }
    if (t.kind === 'number') {
      cursor.at++
      return { op: 'number', value: t.value }
    }
    if (t.kind === 'string') {
      cursor.at++
      const bytes = stringBytes(t.text)
      if (bytes.length > 8)
        throw new AssemblyFault(`string '${t.text}' is too long for a number: expected at most 8 bytes`)
      return { op: 'number', value: BigInt.asIntN(64, stringValue(bytes)) }
    }
    if (t.kind === 'name') {
      cursor.at++
      const register = t.escaped ? undefined : REGISTERS.get(t.text.toLowerCase())
      return register ? { op: 'register', register } : { op: 'symbol', name: qualify(t.text) }
    }
    throw new AssemblyFault(`expected an expression, found ${cursor.found()}`)
  }
}

/** A character constant as a number: the first character is the lowest byte. */
function stringValue(bytes: readonly number[]): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!)
  return value
}

/** Does the expression name a symbol, `$` or `$$`, so that its value may differ from pass to pass? */
export function isVariable(e: Expression): boolean {
  switch (e.op) {
    case 'number':
    case 'register':
      return false
    case 'unary':
      return isVariable(e.a)
    case 'binary':
      return isVariable(e.a) || isVariable(e.b)
    case 'choice':
      return isVariable(e.a) || isVariable(e.b) || isVariable(e.c)
    default:
      return true
  }
}

/** Evaluates an expression in a scope. Throws {@link AssemblyFault} for operations that have no meaning. */
export function evaluate(e: Expression, scope: Scope): Value {
  switch (e.op) {
    case 'number':
      return constant(e.value)
    case 'symbol':
      return scope.symbol(e.name)
    case 'here':
      return scope.here
    case 'start':
      return scope.start
    case 'register':
      if (e.register.kind !== OPERAND.gpr || e.register.size === 1) {
        throw new AssemblyFault(`register '${e.register.name}' cannot be part of an expression or address`)
      }
      return { n: 0n, reloc: 0, unknown: false, terms: [{ register: e.register, factor: 1, scaled: false }] }
    case 'unary':
      return unary(e.text, evaluate(e.a, scope))
    case 'binary':
      return binary(e.text, evaluate(e.a, scope), evaluate(e.b, scope))
    case 'choice': {
      const a = evaluate(e.a, scope)
      scalar(a, '?:')
      return evaluate(a.n !== 0n ? e.b : e.c, scope)
    }
  }
}

function scalar(v: Value, operator: string): void {
  if (v.terms) throw new AssemblyFault(`operator '${operator}' cannot be applied to a register`)
}

function unary(text: string, a: Value): Value {
  if (text === '+') return a
  if (text === '-') return scale(a, -1n, a.terms !== undefined)
  scalar(a, text)
  const n = text === '~' ? ~a.n : a.n === 0n ? 1n : 0n
  return { n: BigInt.asIntN(64, n), reloc: 0, unknown: a.unknown }
}

function scale(a: Value, factor: bigint, scaled: boolean): Value {
  const n = BigInt.asIntN(64, a.n * factor)
  // No address has a factor beyond 9, so a clamped one is refused all the same.
  const small = Number(factor > 1000n ? 1000n : factor < -1000n ? -1000n : factor)
  const reloc = a.reloc * small
  if (!a.terms) return { n, reloc, unknown: a.unknown }
  const terms = a.terms.map((t) => ({ register: t.register, factor: t.factor * small, scaled: scaled || t.scaled }))
  return { n, reloc, unknown: a.unknown, terms: terms.filter((t) => t.factor !== 0) }
}

function add(a: Value, b: Value): Value {
  const n = BigInt.asIntN(64, a.n + b.n)
  const reloc = a.reloc + b.reloc
  const unknown = a.unknown || b.unknown
  if (!a.terms && !b.terms) return { n, reloc, unknown }
  const terms = [...(a.terms ?? [])]
  for (const t of b.terms ?? []) {
    const at = terms.findIndex((x) => x.register === t.register)
    if (at < 0) terms.push(t)
    else terms[at] = { register: t.register, factor: terms[at]!.factor + t.factor, scaled: terms[at]!.scaled }
  }
  return { n, reloc, unknown, terms: terms.filter((t) => t.factor !== 0) }
}

function binary(text: string, a: Value, b: Value): Value {
  if (text === '+') return add(a, b)
  if (text === '-') return add(a, scale(b, -1n, false))
  if (text === '*' && (a.terms || b.terms)) {
    if (a.terms && b.terms) throw new AssemblyFault('a register cannot be multiplied by a register')
    return a.terms ? scale(a, b.n, true) : scale(b, a.n, true)
  }
  scalar(a, text)
  scalar(b, text)
  const unknown = a.unknown || b.unknown
  // A difference of labels compares and masks like a number; for everything else the address is taken as it is.
  if (unknown && '/%'.includes(text[0]!)) return { n: 0n, reloc: 0, unknown }
  return { n: BigInt.asIntN(64, arithmetic(text, a.n, b.n)), reloc: 0, unknown }
}

function arithmetic(text: string, a: bigint, b: bigint): bigint {
  const ua = BigInt.asUintN(64, a)
  const ub = BigInt.asUintN(64, b)
  switch (text) {
    case '*':
      return a * b
    case '/':
    case '%':
    case '//':
    case '%%':
      if (b === 0n) throw new AssemblyFault('division by zero')
      return text === '/' ? ua / ub : text === '%' ? ua % ub : text === '//' ? a / b : a % b
    case '<<':
    case '<<<':
      return ub > 63n ? 0n : a << ub
    case '>>':
      return ub > 63n ? 0n : ua >> ub
    case '>>>':
      return a >> (ub > 63n ? 63n : ub)
    case '&':
      return a & b
    case '|':
      return a | b
    case '^':
      return a ^ b
    case '&&':
      return a !== 0n && b !== 0n ? 1n : 0n
    case '||':
      return a !== 0n || b !== 0n ? 1n : 0n
    case '^^':
      return (a !== 0n) !== (b !== 0n) ? 1n : 0n
    case '=':
    case '==':
      return a === b ? 1n : 0n
    case '!=':
    case '<>':
      return a !== b ? 1n : 0n
    case '<':
      return a < b ? 1n : 0n
    case '<=':
      return a <= b ? 1n : 0n
    case '>':
      return a > b ? 1n : 0n
    case '>=':
      return a >= b ? 1n : 0n
    default:
      return a < b ? -1n : a > b ? 1n : 0n
  }
}
