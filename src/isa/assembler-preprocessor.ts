/**
 * The preprocessor: `%define`, `%xdefine`, `%undef`, `%assign`, `%macro`, `%imacro`, `%unmacro`, `%rep`, `%exitrep`,
 * `%rotate`, `%include`, `%error` and the family of `%if`. It turns the source into plain lines of tokens. Expansion is
 * bounded: in depth, in lines, and in the size of a line.
 */

import { constant, evaluate, parseExpression, type Scope, UNKNOWN } from './assembler-expression.js'
import { AssemblyFault, type Token, TokenCursor, tokenize } from './assembler-lexer.js'

/** Where a line comes from. */
export interface SourceLine {
  readonly text: string
  /** 1-based; inside a macro the line of the outermost call. */
  readonly number: number
  /** ` in macro NAME` or ` in FILE`, for messages. */
  readonly context: string
}

/** What the preprocessor needs and to whom it talks. */
export interface PreprocessorHost {
  /** Receives every line that is left. */
  line(tokens: Token[], source: SourceLine): void
  /** Receives a fault; the preprocessor goes on with the next line. */
  fault(message: string, source: SourceLine): void
  /** The value of an `equ` constant that is known already. */
  constant(name: string): bigint | undefined
  /** The text of an included file. */
  include(name: string): string
}

interface Define {
  readonly parameters: readonly string[] | undefined
  readonly body: readonly Token[]
}

interface Macro {
  readonly name: string
  readonly min: number
  readonly max: number
  readonly greedy: boolean
  readonly defaults: readonly string[]
  readonly lines: readonly SourceLine[]
}

/** One running macro. */
interface Frame {
  readonly id: number
  readonly arguments: string[]
  readonly depth: number
  readonly context: string
  readonly number: number
}

interface Condition {
  /** Lines are assembled. */
  active: boolean
  /** A branch was already taken, or the whole construct lies in a skipped part. */
  done: boolean
  otherwise: boolean
}

/** Limits of expansion. */
const MAX_DEPTH = 64
const MAX_LINES = 1_000_000
const MAX_LINE_TOKENS = 100_000
const MAX_LINE_LENGTH = 1_000_000
/** Steps of `%define` expansion in one line; they may also produce nothing. */
const MAX_LINE_STEPS = 200_000
const MAX_DEFINE_DEPTH = 200

const CONDITIONAL = /^%(el)?if(n?)(|def|macro|idn|idni|empty|num|id|str)$/

/** `%ifn…` and `%ifdef`-like names both parse; `%ifnum` is not `%ifn` + `um`. */
function conditional(name: string): { otherwise: boolean; negated: boolean; kind: string } | undefined {
  const direct = /^%(el)?if(def|macro|idn|idni|empty|num|id|str|)$/.exec(name)
  if (direct) return { otherwise: direct[1] !== undefined, negated: false, kind: direct[2]! }
  const match = CONDITIONAL.exec(name)
  return match ? { otherwise: match[1] !== undefined, negated: match[2] === 'n', kind: match[3]! } : undefined
}

/** The first word of a line if it is a directive. */
function directiveOf(text: string): string | undefined {
  return /^\s*(%[a-z]+)\b/i.exec(text)?.[1]?.toLowerCase()
}

/** Text behind the directive, without the comment. */
function restOf(text: string): string {
  return stripComment(text.replace(/^\s*%\w+/, '')).trim()
}

/** Calls `visit` for every character outside quotes; a visitor that returns false ends the scan there. */
function scan(text: string, visit: (c: string, at: number) => boolean): number {
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!
    if (quote !== '') {
      if (c === '\\' && quote === '`') i++
      else if (c === quote) quote = ''
    } else if (c === '"' || c === "'" || c === '`') quote = c
    else if (!visit(c, i)) return i
  }
  return text.length
}

function stripComment(text: string): string {
  return text.slice(
    0,
    scan(text, (c) => c !== ';'),
  )
}

/** Splits macro arguments at commas outside quotes and braces; outer braces are removed. */
function splitArguments(text: string): string[] {
  if (text.trim() === '') return []
  const parts: string[] = []
  let depth = 0
  let start = 0
  scan(text, (c, at) => {
    if (c === '{') depth++
    else if (c === '}') depth--
    else if (c === ',' && depth === 0) {
      parts.push(text.slice(start, at))
      start = at + 1
    }
    return true
  })
  parts.push(text.slice(start))
  return parts.map((part) => {
    const trimmed = part.trim()
    return trimmed.startsWith('{') && trimmed.endsWith('}') ? trimmed.slice(1, -1) : trimmed
  })
}

/** Expands one source text. */
export class Preprocessor {
  private readonly host: PreprocessorHost
  private readonly defines = new Map<string, Define>()
  private readonly macros = new Map<string, Macro[]>()
  private lineCount = 0
  private macroCount = 0
  private stopped = false
  private steps = 0

  constructor(host: PreprocessorHost, defines: Readonly<Record<string, number>>) {
    this.host = host
    for (const [name, value] of Object.entries(defines)) {
      this.defines.set(name, { parameters: undefined, body: tokenize(String(value)) })
    }
  }

  /** Processes a whole source. */
  run(source: string): void {
    this.process(splitLines(source, ''), { id: 0, arguments: [], depth: 0, context: '', number: 0 })
  }

  private process(lines: readonly SourceLine[], frame: Frame): 'end' | 'exitrep' {
    const conditions: Condition[] = []
    for (let i = 0; i < lines.length && !this.stopped; i++) {
      const line = lines[i]!
      this.countLine(line)
      if (this.stopped) break
      const directive = directiveOf(line.text)
      try {
        const condition = directive === undefined ? undefined : conditional(directive)
        if (condition) {
          this.branch(condition, line, conditions, frame)
          continue
        }
        if (directive === '%else' || directive === '%endif') {
          const top = conditions.at(-1)
          if (!top) throw new AssemblyFault(`'${directive}' without %if`)
          if (directive === '%endif') conditions.pop()
          else {
            if (top.otherwise) throw new AssemblyFault("second '%else' of one %if")
            top.active = !top.done
            top.done = true
            top.otherwise = true
          }
          continue
        }
        if (conditions.length > 0 && !conditions.at(-1)!.active) continue
        if (directive === '%macro' || directive === '%imacro') {
          const end = closing(lines, i, /^%i?macro$/, '%endmacro')
          this.defineMacro(restOf(line.text), lines.slice(i + 1, end), directive === '%imacro')
          i = end
        } else if (directive === '%rep') {
          const end = closing(lines, i, /^%rep$/, '%endrep')
          const count = this.number(this.substitute(restOf(line.text), frame))
          const body = lines.slice(i + 1, end)
          for (let n = 0n; n < count && !this.stopped; n++) {
            this.countLine(line)
            if (this.process(body, frame) === 'exitrep') break
          }
          i = end
        } else if (directive === '%exitrep') {
          return 'exitrep'
        } else if (directive !== undefined)
          this.directive(directive, this.substitute(restOf(line.text), frame), line, frame)
        else this.plain(line, frame)
      } catch (error) {
        if (!(error instanceof AssemblyFault)) throw error
        this.host.fault(error.message, this.located(line, frame))
        if (/without its %end/.test(error.message)) break
      }
    }
    const last = lines.at(-1)
    if (conditions.length > 0 && last && !this.stopped)
      this.host.fault('%if without its %endif', this.located(last, frame))
    return 'end'
  }

  private countLine(line: SourceLine): void {
    if (++this.lineCount <= MAX_LINES || this.stopped) return
    this.stopped = true
    this.host.fault(`more than ${MAX_LINES} lines after expansion: expected a macro or %rep that ends`, line)
  }

  private located(line: SourceLine, frame: Frame): SourceLine {
    if (frame.number === 0) return line
    return { text: line.text, number: frame.number, context: `${frame.context}${line.context}` }
  }

  private branch(
    what: { otherwise: boolean; negated: boolean; kind: string },
    line: SourceLine,
    conditions: Condition[],
    frame: Frame,
  ): void {
    const top = conditions.at(-1)
    if (what.otherwise) {
      if (!top || top.otherwise) throw new AssemblyFault("'%elif' without %if")
      if (top.done) {
        top.active = false
        return
      }
      top.active = this.holds(what.kind, this.substitute(restOf(line.text), frame)) !== what.negated
      top.done = top.active
      return
    }
    const outer = top === undefined || top.active
    const condition: Condition = { active: false, done: true, otherwise: false }
    conditions.push(condition)
    if (!outer) return
    condition.active = this.holds(what.kind, this.substitute(restOf(line.text), frame)) !== what.negated
    condition.done = condition.active
  }

  private holds(kind: string, text: string): boolean {
    if (kind === 'def') return this.defines.has(text)
    if (kind === 'macro') return this.macros.has(text.split(/\s/)[0]!)
    if (kind === '') return this.number(text) !== 0n
    const tokens = this.expand(tokenize(text))
    if (kind === 'empty') return tokens.length === 0
    if (kind === 'idn' || kind === 'idni') {
      const comma = tokens.findIndex((t) => t.kind === 'punct' && t.text === ',')
      if (comma < 0) throw new AssemblyFault(`%if${kind} expects two texts with a comma between them`)
      const join = (list: readonly Token[]): string => list.map((t) => `${t.kind}:${t.text}`).join(' ')
      const a = join(tokens.slice(0, comma))
      const b = join(tokens.slice(comma + 1))
      return kind === 'idn' ? a === b : a.toLowerCase() === b.toLowerCase()
    }
    const wanted = kind === 'num' ? 'number' : kind === 'str' ? 'string' : 'name'
    const first = tokens[0]?.text === '-' && kind === 'num' ? tokens[1] : tokens[0]
    return first?.kind === wanted
  }

  private directive(name: string, rest: string, line: SourceLine, frame: Frame): void {
    switch (name) {
      case '%define':
      case '%xdefine':
        this.define(rest, name === '%xdefine')
        return
      case '%undef':
        this.defines.delete(rest)
        return
      case '%assign': {
        const [, symbol, text] = /^([A-Za-z_.?@][\w.?@$#~]*)\s+(.*)$/.exec(rest) ?? []
        if (symbol === undefined) throw new AssemblyFault("expected '%assign name expression'")
        const value = this.number(text!)
        const body = tokenize(value < 0n ? `(${value})` : `${value}`)
        this.defines.set(symbol, { parameters: undefined, body })
        return
      }
      case '%unmacro':
        this.macros.delete(rest.split(/\s/)[0]!)
        return
      case '%rotate': {
        const list = frame.arguments
        if (list.length === 0) return
        const by = Number(this.number(rest) % BigInt(list.length))
        list.push(...list.splice(0, (by + list.length) % list.length))
        return
      }
      case '%include': {
        const file = /^["'`](.*)["'`]$/.exec(rest)?.[1]
        if (file === undefined) throw new AssemblyFault('expected a file name in quotes after %include')
        this.enter(frame.depth + 1)
        const text = this.host.include(file)
        const number = frame.number || line.number
        const context = ` in ${file}`
        this.process(splitLines(text, ''), { ...frame, depth: frame.depth + 1, number, context })
        return
      }
      case '%error':
      case '%fatal':
        throw new AssemblyFault(rest.replace(/^["'`](.*)["'`]$/, '$1') || '%error')
      case '%warning':
      case '%pragma':
      case '%note':
      case '%line':
        return
      default:
        throw new AssemblyFault(`unknown directive '${name}'`)
    }
  }

  private enter(depth: number): void {
    if (depth <= MAX_DEPTH) return
    this.stopped = true
    throw new AssemblyFault(`macros or includes nested more than ${MAX_DEPTH} levels deep`)
  }

  private define(rest: string, now: boolean): void {
    const [head, name] = /^([A-Za-z_.?@][\w.?@$#~]*)/.exec(rest) ?? []
    if (head === undefined || name === undefined) throw new AssemblyFault("expected '%define name value'")
    let text = rest.slice(head.length)
    let parameters: string[] | undefined
    const list = /^\(([^)]*)\)/.exec(text)
    if (list) {
      parameters = list[1]!.split(',').map((p) => p.trim())
      text = text.slice(list[0].length)
    }
    const body = tokenize(text)
    this.defines.set(name, { parameters, body: now ? this.expand(body) : body })
  }

  private defineMacro(head: string, lines: readonly SourceLine[], insensitive: boolean): void {
    const match = /^([A-Za-z_.?@][\w.?@$#~]*)\s+(\d+)(?:-(\d+|\*))?(\+)?(?:\s+(?!\.nolist)(.*))?/.exec(head)
    if (!match) throw new AssemblyFault("expected '%macro name count'")
    const name = insensitive ? match[1]!.toLowerCase() : match[1]!
    const min = Number(match[2])
    const max = match[3] === undefined ? min : match[3] === '*' ? Number.POSITIVE_INFINITY : Number(match[3])
    const macro = { name, min, max, greedy: match[4] === '+', defaults: splitArguments(match[5] ?? ''), lines }
    const others = (this.macros.get(name) ?? []).filter((m) => m.min !== min || m.max !== max)
    this.macros.set(name, [...others, macro])
  }

  /** A constant expression of the preprocessor. */
  private number(text: string): bigint {
    const cursor = new TokenCursor(this.expand(tokenize(text)))
    const expression = parseExpression(cursor, (name) => name)
    if (!cursor.done) throw new AssemblyFault(`expected the end of the expression, found ${cursor.found()}`)
    const missing = (what: string): never => {
      throw new AssemblyFault(`'${what}' is not known yet: the preprocessor needs a constant`)
    }
    const scope: Scope = {
      symbol: (name) => {
        const value = this.host.constant(name)
        return value === undefined ? missing(name) : constant(value)
      },
      get here() {
        return missing('$') ?? UNKNOWN
      },
      get start() {
        return missing('$$') ?? UNKNOWN
      },
    }
    const value = evaluate(expression, scope)
    if (value.terms) throw new AssemblyFault('expected a number, found a register')
    return value.n
  }

  /** Puts a macro's arguments into a line of its body. */
  private substitute(text: string, frame: Frame): string {
    if (frame.id === 0 || !text.includes('%')) return text
    let out = ''
    let from = 0
    let skip = 0
    const argument = (n: number): string => frame.arguments[n - 1] ?? ''
    scan(text, (c, at) => {
      if (c !== '%' || at < skip) return true
      const rest = text.slice(at)
      const local = /^%%([A-Za-z_.?@][\w.?@$#~]*)|^%\{%([A-Za-z_.?@][\w.?@$#~]*)\}/.exec(rest)
      const numbered = /^%(\d+)|^%\{(\d+)\}/.exec(rest)
      const match = local ?? numbered
      if (!match) return true
      const word = match[1] ?? match[2]!
      const value = local
        ? `..@${frame.id}.${word}`
        : word === '0'
          ? `${frame.arguments.length}`
          : argument(Number(word))
      out += text.slice(from, at) + value
      if (out.length > MAX_LINE_LENGTH)
        throw new AssemblyFault(`line of more than ${MAX_LINE_LENGTH} characters after expansion`)
      from = at + match[0].length
      skip = from
      return true
    })
    return (out + text.slice(from)).replace(/\s*%\+\s*/g, '')
  }

  private plain(line: SourceLine, frame: Frame): void {
    const text = this.substitute(line.text, frame)
    const located = this.located({ ...line, text }, frame)
    if (text.length > MAX_LINE_LENGTH) throw new AssemblyFault(`line of more than ${MAX_LINE_LENGTH} characters`)
    const call = this.findCall(text)
    if (!call) {
      const tokens = this.expand(tokenize(text))
      if (tokens.length > 0) this.host.line(tokens, located)
      return
    }
    if (call.label !== '') this.host.line(tokenize(call.label), located)
    this.enter(frame.depth + 1)
    const context = ` in macro ${call.macro.name}`
    const number = located.number
    const id = ++this.macroCount
    this.process(call.macro.lines, { id, arguments: call.arguments, depth: frame.depth + 1, context, number })
  }

  /** Is the line `[label:] macro arguments`? */
  private findCall(text: string): { label: string; macro: Macro; arguments: string[] } | undefined {
    if (this.macros.size === 0) return undefined
    const match = /^(\s*[A-Za-z_.?@][\w.?@$#~]*\s*:)?\s*([A-Za-z_.?@][\w.?@$#~]*)(.*)$/s.exec(text)
    if (!match) return undefined
    const name = match[2]!
    const list = this.macros.get(name) ?? this.macros.get(name.toLowerCase())
    if (!list) return undefined
    const given = splitArguments(stripComment(match[3]!))
    const macro = list.find((m) => given.length >= m.min && (given.length <= m.max || m.greedy))
    if (!macro) {
      const counts = list.map((m) => (m.min === m.max ? `${m.min}` : `${m.min}-${m.max}`)).join(' or ')
      throw new AssemblyFault(`macro '${name}' takes ${counts} arguments, found ${given.length}`)
    }
    if (macro.greedy && given.length > macro.max) {
      given.splice(macro.max - 1, given.length, given.slice(macro.max - 1).join(','))
    }
    const limit = Number.isFinite(macro.max) ? macro.max : macro.min + macro.defaults.length
    for (let n = given.length; n < limit; n++) {
      const value = macro.defaults[n - macro.min]
      if (value !== undefined) given.push(value)
    }
    return { label: match[1] ?? '', macro, arguments: given }
  }

  /** Replaces defined names. */
  private expand(tokens: readonly Token[]): Token[] {
    const out: Token[] = []
    this.steps = 0
    this.expandInto(out, tokens, new Set())
    return out
  }

  private expandInto(out: Token[], tokens: readonly Token[], hidden: Set<string>): void {
    for (let i = 0; i < tokens.length; i++) {
      const t = tokens[i]!
      if (++this.steps > MAX_LINE_STEPS) throw new AssemblyFault(`%define expands to more than ${MAX_LINE_STEPS} steps`)
      const define = t.kind === 'name' && !t.escaped && !hidden.has(t.text) ? this.defines.get(t.text) : undefined
      if (!define) {
        out.push(t)
        if (out.length > MAX_LINE_TOKENS)
          throw new AssemblyFault(`more than ${MAX_LINE_TOKENS} words in one line after expansion`)
        continue
      }
      if (hidden.size >= MAX_DEFINE_DEPTH)
        throw new AssemblyFault(`%define nested more than ${MAX_DEFINE_DEPTH} levels deep`)
      if (!define.parameters) {
        hidden.add(t.text)
        this.expandInto(out, define.body, hidden)
        hidden.delete(t.text)
        continue
      }
      const call = argumentTokens(tokens, i + 1)
      if (!call) {
        out.push(t)
        continue
      }
      if (call.list.length !== define.parameters.length) {
        throw new AssemblyFault(`'${t.text}' takes ${define.parameters.length} arguments, found ${call.list.length}`)
      }
      const body: Token[] = []
      for (const part of define.body) {
        const at = part.kind === 'name' ? define.parameters.indexOf(part.text) : -1
        if (at < 0) body.push(part)
        else this.expandInto(body, call.list[at]!, hidden)
        if (body.length > MAX_LINE_TOKENS)
          throw new AssemblyFault(`more than ${MAX_LINE_TOKENS} words in one line after expansion`)
      }
      hidden.add(t.text)
      this.expandInto(out, body, hidden)
      hidden.delete(t.text)
      i = call.end
    }
  }
}

/** Arguments in parentheses starting at `at`. */
function argumentTokens(tokens: readonly Token[], at: number): { list: Token[][]; end: number } | undefined {
  if (tokens[at]?.kind !== 'punct' || tokens[at]?.text !== '(') return undefined
  const list: Token[][] = [[]]
  let depth = 0
  for (let i = at; i < tokens.length; i++) {
    const t = tokens[i]!
    const text = t.kind === 'punct' ? t.text : ''
    if (text === '(' && depth++ === 0) continue
    if (text === ')' && --depth === 0) return { list, end: i }
    if (text === ',' && depth === 1) list.push([])
    else list.at(-1)!.push(t)
  }
  throw new AssemblyFault("expected ')' after the arguments")
}

/** Index of the directive that closes the one at `start`. */
function closing(lines: readonly SourceLine[], start: number, open: RegExp, close: string): number {
  let depth = 0
  for (let i = start; i < lines.length; i++) {
    const directive = directiveOf(lines[i]!.text)
    if (directive === undefined) continue
    if (open.test(directive)) depth++
    else if (directive === close && --depth === 0) return i
  }
  throw new AssemblyFault(`'${directiveOf(lines[start]!.text)}' without its ${close}`)
}

function splitLines(source: string, context: string): SourceLine[] {
  const lines: SourceLine[] = []
  let pending = ''
  let first = 0
  const parts = source.split(/\r\n|\n|\r/)
  parts.forEach((text, i) => {
    if (pending === '') first = i
    if (text.endsWith('\\') && i + 1 < parts.length) {
      pending += `${text.slice(0, -1)} `
      return
    }
    lines.push({ text: pending + text, number: first + 1, context })
    pending = ''
  })
  return lines
}
