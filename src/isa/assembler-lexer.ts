/**
 * The assembler's words: one source line becomes a list of tokens. The notation is that of NASM: number suffixes and
 * prefixes, three kinds of quotes (back quotes with C escapes), `;` comments, `$` and `%` inside names.
 */

/** A fault in one source line, before the driver adds the line number and text. */
export class AssemblyFault extends Error {}

/** Kind of a {@link Token}. */
type TokenKind = 'name' | 'number' | 'float' | 'string' | 'punct'

/** One word of a source line. */
export interface Token {
  readonly kind: TokenKind
  /** Name as written (without an escaping `$`), operator text, or the content of a string, one character per byte. */
  readonly text: string
  /** Value of a number. */
  readonly value: bigint
  /** True if white space stands before it. */
  readonly spaced: boolean
  /** The name was written with an escaping `$`, so it is a symbol even if it is spelled like a register. */
  readonly escaped: boolean
}

const PUNCTUATION: readonly string[] = [
  '<=>',
  '<<<',
  '>>>',
  '<<',
  '>>',
  '<=',
  '>=',
  '==',
  '!=',
  '<>',
  '&&',
  '||',
  '^^',
  '//',
  '%%',
]
const NAME_START = /[A-Za-z_.?@]/
const NAME_REST = /[\w.?@$#~]*/y
const NUMBER = /[0-9][\w.]*/y
const FLOAT = /^[0-9][0-9_]*\.[0-9_]*(e[+-]?[0-9]+)?$|^[0-9][0-9_]*e[+-]?[0-9]+$/i
const EXPONENT_SIGN = /[+-][0-9]+/y

const RADIX_PREFIX: Readonly<Record<string, number>> = { x: 16, h: 16, d: 10, t: 10, o: 8, q: 8, b: 2, y: 2 }
const DIGITS: Readonly<Record<number, RegExp>> = { 2: /^[01]+$/, 8: /^[0-7]+$/, 10: /^[0-9]+$/, 16: /^[0-9a-f]+$/ }

function fromDigits(digits: string, radix: number): bigint | undefined {
  if (!DIGITS[radix]!.test(digits)) return undefined
  if (radix === 10) return BigInt(digits)
  return BigInt((radix === 16 ? '0x' : radix === 8 ? '0o' : '0b') + digits)
}

/** The value of a number as NASM spells them: 10, 0x1f, 1fh, 0b101, 101b, 17o, 17q, 0d10, 1_000. */
function parseNumber(text: string): bigint | undefined {
  const word = text.toLowerCase().replaceAll('_', '')
  const prefixed = word[0] === '0' ? RADIX_PREFIX[word[1] ?? ''] : undefined
  if (prefixed !== undefined && word.length > 2) {
    const value = fromDigits(word.slice(2), prefixed)
    if (value !== undefined) return value
  }
  const suffixed = RADIX_PREFIX[word.at(-1) ?? '']
  if (suffixed !== undefined) {
    const value = fromDigits(word.slice(0, -1), suffixed)
    if (value !== undefined) return value
  }
  return fromDigits(word, 10)
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  t: '\t',
  n: '\n',
  v: '\v',
  f: '\f',
  r: '\r',
  e: '\x1b',
}

/** Content of a back-quoted string starting after the quote; the result holds one character per byte. */
function backquoted(line: string, start: number): { text: string; end: number } | undefined {
  let text = ''
  for (let i = start; i < line.length; i++) {
    const c = line[i]!
    if (c === '`') return { text, end: i + 1 }
    if (c !== '\\') {
      const whole = String.fromCodePoint(line.codePointAt(i)!)
      text += utf8(whole)
      i += whole.length - 1
      continue
    }
    const rest = line.slice(i + 1)
    const hex = /^x([0-9a-f]{1,2})/i.exec(rest)
    const octal = /^[0-7]{1,3}/.exec(rest)
    if (hex) {
      text += String.fromCharCode(Number.parseInt(hex[1]!, 16))
      i += hex[0].length
    } else if (octal) {
      text += String.fromCharCode(Number.parseInt(octal[0], 8) & 255)
      i += octal[0].length
    } else {
      const next = line[++i] ?? ''
      text += ESCAPES[next] ?? next
    }
  }
  return undefined
}

/** Text as UTF-8, one character per byte. */
function utf8(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what ASCII is
  if (/^[\x00-\x7f]*$/.test(text)) return text
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('')
}

function token(kind: TokenKind, text: string, spaced: boolean, value = 0n, escaped = false): Token {
  return { kind, text, value, spaced, escaped }
}

/** Splits a line into tokens; the comment is dropped. Throws {@link AssemblyFault}. */
export function tokenize(line: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  let spaced = false
  const push = (t: Token, end: number): void => {
    tokens.push(t)
    at = end
    spaced = false
  }
  while (at < line.length) {
    const c = line[at]!
    if (c === ';') break
    if (c === ' ' || c === '\t' || c === '\r' || c === '\f' || c === '\v') {
      spaced = true
      at++
    } else if (c === "'" || c === '"') {
      const end = line.indexOf(c, at + 1)
      if (end < 0) throw new AssemblyFault(`string without its closing ${c}`)
      push(token('string', utf8(line.slice(at + 1, end)), spaced), end + 1)
    } else if (c === '`') {
      const string = backquoted(line, at + 1)
      if (!string) throw new AssemblyFault('string without its closing `')
      push(token('string', string.text, spaced), string.end)
    } else if (c >= '0' && c <= '9') {
      pushNumber()
    } else if (c === '$') {
      pushDollar()
    } else if (NAME_START.test(c)) {
      NAME_REST.lastIndex = at
      const name = NAME_REST.exec(line)![0]
      push(token(name === '?' ? 'punct' : 'name', name, spaced), at + name.length)
    } else if (c === '%' && /[A-Za-z]/.test(line[at + 1] ?? '') && tokens.length === 0) {
      NAME_REST.lastIndex = at + 1
      const name = NAME_REST.exec(line)![0]
      push(token('name', `%${name}`, spaced), at + 1 + name.length)
    } else {
      const operator = PUNCTUATION.find((p) => line.startsWith(p, at)) ?? c
      if (operator === c && !'+-*/%&|^~!()[]{},:<>=#\\'.includes(c)) {
        throw new AssemblyFault(`character '${c}' has no meaning here`)
      }
      push(token('punct', operator, spaced), at + operator.length)
    }
  }
  return tokens

  function pushNumber(): void {
    NUMBER.lastIndex = at
    let text = NUMBER.exec(line)![0]
    if (/^[0-9][0-9_.]*e$/i.test(text) && !/^0x/i.test(text)) {
      EXPONENT_SIGN.lastIndex = at + text.length
      text += EXPONENT_SIGN.exec(line)?.[0] ?? ''
    }
    const value = parseNumber(text)
    if (value !== undefined) push(token('number', text, spaced, BigInt.asIntN(64, value)), at + text.length)
    else if (FLOAT.test(text)) push(token('float', text.replaceAll('_', ''), spaced), at + text.length)
    else throw new AssemblyFault(`'${text}' is not a number`)
  }

  function pushDollar(): void {
    const next = line[at + 1] ?? ''
    if (next === '$') push(token('punct', '$$', spaced), at + 2)
    else if (next >= '0' && next <= '9') {
      NUMBER.lastIndex = at + 1
      const text = NUMBER.exec(line)![0]
      const value = fromDigits(text.toLowerCase().replaceAll('_', ''), 16)
      if (value === undefined) throw new AssemblyFault(`'$${text}' is not a hexadecimal number`)
      push(token('number', text, spaced, BigInt.asIntN(64, value)), at + 1 + text.length)
    } else if (NAME_START.test(next)) {
      NAME_REST.lastIndex = at + 1
      const name = NAME_REST.exec(line)![0]
      push(token('name', name, spaced, 0n, true), at + 1 + name.length)
    } else push(token('punct', '$', spaced), at + 1)
  }
}

/** The bytes of a string token. */
export function stringBytes(text: string): number[] {
  return Array.from(text, (c) => c.charCodeAt(0))
}

/** Reads a token list from left to right. */
export class TokenCursor {
  readonly tokens: readonly Token[]
  at = 0

  constructor(tokens: readonly Token[], at = 0) {
    this.tokens = tokens
    this.at = at
  }

  /** The token `ahead` places further, without consuming it. */
  peek(ahead = 0): Token | undefined {
    return this.tokens[this.at + ahead]
  }

  /** True if nothing is left. */
  get done(): boolean {
    return this.at >= this.tokens.length
  }

  /** True if the next token is this operator. */
  is(text: string): boolean {
    const t = this.tokens[this.at]
    return t !== undefined && t.kind === 'punct' && t.text === text
  }

  /** Consumes the operator if it is next. */
  take(text: string): boolean {
    if (!this.is(text)) return false
    this.at++
    return true
  }

  /** Lower-case text of the next token if it is a name that is not escaped. */
  word(ahead = 0): string | undefined {
    const t = this.tokens[this.at + ahead]
    return t?.kind === 'name' && !t.escaped ? t.text.toLowerCase() : undefined
  }

  /** Consumes the operator or faults with what was expected. */
  expect(text: string, what: string): void {
    if (!this.take(text)) throw new AssemblyFault(`expected '${text}' ${what}, found ${this.found()}`)
  }

  /** The next token for a message. */
  found(): string {
    const t = this.tokens[this.at]
    if (!t) return 'the end of the line'
    return t.kind === 'string' ? `the string '${t.text}'` : `'${t.text}'`
  }
}
