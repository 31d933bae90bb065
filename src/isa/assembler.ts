/**
 * The assembler: NASM's syntax, one flat image, the instruction table of this library as its only source of
 * encodings. Sizes that depend on one another (jumps, displacements, immediates) are settled by repeating the pass
 * over all statements until no symbol moves.
 *
 * Differences from NASM: values and addresses that do not fit are errors, not warnings; a lone word is an unknown
 * mnemonic, not a label; `[rel number]` is RIP-relative; a 64-bit destination of `mov r, sreg` and `sldt` keeps its
 * REX.W; short jumps of 16- and 32-bit code may wrap around the end of the code segment; there are no sections.
 */

import { VirtkitError } from '../contracts/index.js'
import { encodeInstruction } from './assembler-encoder.js'
import { constant, type Expression, evaluate, type Scope, UNKNOWN, type Value } from './assembler-expression.js'
import { AssemblyFault } from './assembler-lexer.js'
import type { SourceInstruction, SourceOperand } from './assembler-operand.js'
import { Preprocessor, type SourceLine } from './assembler-preprocessor.js'
import type { BoundOperand } from './assembler-row.js'
import { isVariableStatement, type Statement, StatementParser } from './assembler-statement.js'

/** Settings of {@link assemble}. */
export interface AssembleOptions {
  /** Address of the first byte, unless the source says `org`. Default 0. */
  readonly org?: number
  /** Code size at the start, as by `bits`. Default 16. */
  readonly bits?: 16 | 32 | 64
  /** Names with values, as by `%define`. */
  readonly defines?: Readonly<Record<string, number>>
  /** Gives the text of a file named by `%include`; throws if there is none. */
  readonly include?: (name: string) => string
}

/** One statement that produced bytes. */
export interface ListingLine {
  /** 1-based line number; inside a macro that of the call. */
  readonly line: number
  readonly address: number
  readonly bytes: Uint8Array
  /** The source text, macro parameters filled in. */
  readonly source: string
}

/** What {@link assemble} gives. */
export interface AssemblyResult {
  readonly bytes: Uint8Array
  /** Address of the first byte. */
  readonly origin: number
  /** Every label and `equ`; local labels as `global.local`. Values are signed 64-bit numbers (exact up to 2^53). */
  readonly symbols: Map<string, number>
  readonly listing: readonly ListingLine[]
}

/** One thing wrong with the source. The error that {@link assemble} throws carries the list as its `cause`. */
export interface AssemblyDiagnostic {
  readonly line: number
  readonly text: string
  readonly message: string
}

/** Limits of one assembly. */
export const MAX_OUTPUT_BYTES: number = 64 * 1024 * 1024
const MAX_PASSES = 64
const MAX_REPORTED = 20
/** Total times that statement bodies may be encoded anew in one pass. */
const MAX_STEPS = 4_000_000
/** After this pass a statement never becomes shorter, so that the passes come to an end. */
const GROWING_PASS = 12
/** After this one everything that may vary takes its longest form: enough of chains where each jump moves the next. */
const WIDE_PASS = 48

const ZERO: Value = constant(0n)

interface Item {
  readonly statement: Statement
  readonly source: SourceLine
  readonly variable: boolean
  /** Bytes that cannot change. */
  fixed: readonly number[] | undefined
  /** Bytes and address of the last pass. */
  length: number
  address: bigint
}

/**
 * Assembles a source text.
 *
 * @throws VirtkitError `bad-syntax` with the first twenty faults, each with its line; `bad-argument` for options out
 * of range.
 */
export function assemble(source: string, options: AssembleOptions = {}): AssemblyResult {
  const { org = 0, bits = 16 } = options
  if (!Number.isSafeInteger(org)) throw new VirtkitError('bad-argument', `org must be a safe integer, found ${org}`)
  if (bits !== 16 && bits !== 32 && bits !== 64) {
    throw new VirtkitError('bad-argument', `bits must be 16, 32 or 64, found ${bits}`)
  }
  for (const [name, value] of Object.entries(options.defines ?? {})) {
    if (!Number.isSafeInteger(value)) {
      throw new VirtkitError('bad-argument', `define ${name} must be a safe integer, found ${value}`)
    }
  }
  return new Assembly(source, options, org, bits).result()
}

class Assembly {
  private readonly items: Item[] = []
  private readonly diagnostics: AssemblyDiagnostic[] = []
  private readonly definedAt = new Map<string, number>()
  /** Values of `equ` that were known when they were read: what the preprocessor and `org` may use. */
  private readonly constants = new Map<string, bigint>()
  private origin: bigint
  private hasOrg = false

  /** Symbols of the last and of the running pass. */
  private previous = new Map<string, Value>()
  private current = new Map<string, Value>()
  private buffer: Uint8Array = new Uint8Array(1024)
  private size = 0
  private steps = 0
  private pass = 0
  private faults: AssemblyDiagnostic[] = []
  private listing: { line: SourceLine; address: number; from: number; to: number }[] = []
  /** Location counter of an `absolute` section, or undefined in the image. */
  private absolute: bigint | undefined
  private here: Value = UNKNOWN
  /** How far the current statement has moved since the last pass. */
  private drift = 0n
  private moved = false

  constructor(source: string, options: AssembleOptions, org: number, bits: number) {
    this.origin = BigInt(org)
    const parser = new StatementParser(bits)
    const preprocessor = new Preprocessor(
      {
        line: (tokens, line) => {
          try {
            parser.parse(tokens, (statement) => {
              this.add(statement, line)
              if (statement.kind === 'equ') this.keepConstant(statement.name, statement.value)
            })
          } catch (error) {
            this.note(this.diagnostics, error, line)
          }
        },
        fault: (message, line) => {
          this.note(this.diagnostics, new AssemblyFault(message), line)
        },
        constant: (name) => this.constants.get(name),
        include: (name) => {
          if (!options.include) throw new AssemblyFault(`cannot include '${name}': no include option was given`)
          return options.include(name)
        },
      },
      options.defines ?? {},
    )
    preprocessor.run(source)
    this.fail(this.diagnostics)
  }

  private readonly scope: Scope = ((assembly: Assembly): Scope => ({
    symbol: (name) => assembly.lookup(name),
    get here() {
      return assembly.here
    },
    get start() {
      return { n: assembly.origin, reloc: 1, unknown: false }
    },
  }))(this)

  private lookup(name: string): Value {
    const value = this.current.get(name)
    if (value) return value
    const before = this.previous.get(name)
    // A label further on will move as far as this place has moved since the last pass.
    if (before) return before.reloc === 0 || this.drift === 0n ? before : { ...before, n: before.n + this.drift }
    if (this.pass > 1) throw new AssemblyFault(`undefined symbol '${name}'`)
    return UNKNOWN
  }

  private note(list: AssemblyDiagnostic[], error: unknown, line: SourceLine): void {
    if (!(error instanceof AssemblyFault)) throw error
    if (list.length < MAX_REPORTED) {
      list.push({ line: line.number, text: line.text.trim(), message: error.message + line.context })
    }
  }

  private fail(list: readonly AssemblyDiagnostic[]): void {
    if (list.length === 0) return
    const shown = list.map(({ line, text, message }) => `line ${line}: ${message}\n    ${text.slice(0, 200)}`)
    throw new VirtkitError('bad-syntax', shown.join('\n'), { cause: list })
  }

  private add(statement: Statement, source: SourceLine): void {
    if (statement.kind === 'label' || statement.kind === 'equ') {
      const before = this.definedAt.get(statement.name)
      if (before !== undefined) throw new AssemblyFault(`'${statement.name}' is already defined in line ${before}`)
      this.definedAt.set(statement.name, source.number)
    }
    if (statement.kind === 'org') {
      if (this.hasOrg) throw new AssemblyFault("second 'org': the image has one origin")
      const value = this.earlyValue(statement.value)
      if (value === undefined) throw new AssemblyFault("expected a constant after 'org'")
      this.hasOrg = true
      this.origin = value
      return
    }
    this.items.push({
      statement,
      source,
      variable: isVariableStatement(statement),
      fixed: undefined,
      length: -1,
      address: 0n,
    })
  }

  private keepConstant(name: string, expression: Expression): void {
    const value = this.earlyValue(expression)
    if (value !== undefined) this.constants.set(name, value)
  }

  /** The value of an expression while the source is still being read, if that is known already. */
  private earlyValue(expression: Expression): bigint | undefined {
    let known = true
    const missing = (): Value => {
      known = false
      return UNKNOWN
    }
    const symbol = (name: string): Value => {
      const value = this.constants.get(name)
      return value === undefined ? missing() : constant(value)
    }
    const scope: Scope = {
      symbol,
      get here() {
        return missing()
      },
      get start() {
        return missing()
      },
    }
    const value = evaluate(expression, scope)
    return known && !value.terms ? value.n : undefined
  }

  result(): AssemblyResult {
    for (this.pass = 1; ; this.pass++) {
      this.runPass()
      const settled = this.isSettled()
      // A fault in an early pass may come from a symbol that is still moving.
      if (settled) break
      if (this.pass === MAX_PASSES) {
        const item = this.items.find((i) => i.variable) ?? this.items[0]!
        this.fail(this.faults)
        this.note(this.faults, new AssemblyFault(`sizes do not settle after ${MAX_PASSES} passes`), item.source)
        break
      }
      if (this.faults.some((f) => f.message.startsWith('output'))) break
      this.previous = this.current
      this.current = new Map()
    }
    this.fail(this.faults)
    const bytes = this.buffer.slice(0, this.size)
    const symbols = new Map<string, number>()
    for (const [name, value] of this.current) symbols.set(name, Number(value.n))
    const listing = this.listing.map(({ line, address, from, to }) => ({
      line: line.number,
      address,
      bytes: bytes.subarray(from, to),
      source: line.text,
    }))
    return { bytes, origin: Number(this.origin), symbols, listing }
  }

  /** Nothing moved, neither a symbol nor a statement: what this pass wrote is consistent. */
  private isSettled(): boolean {
    return this.pass > 1 && !this.moved && this.sameSymbols()
  }

  private sameSymbols(): boolean {
    if (this.current.size !== this.previous.size) return false
    for (const [name, value] of this.current) if (this.previous.get(name)?.n !== value.n) return false
    return true
  }

  private runPass(): void {
    this.size = 0
    this.steps = 0
    this.moved = false
    this.faults = []
    this.listing = []
    this.absolute = undefined
    for (const item of this.items) {
      const from = this.size
      const at = this.address()
      this.drift = this.pass === 1 || this.absolute !== undefined ? 0n : at - item.address
      if (this.drift !== 0n) this.moved = true
      item.address = at
      this.here = { n: at, reloc: this.absolute === undefined ? 1 : 0, unknown: false }
      try {
        this.place(item)
      } catch (error) {
        this.note(this.faults, error, item.source)
        if (error instanceof AssemblyFault && error.message.startsWith('output')) return
        // What does not assemble keeps its place, so that it moves no label and causes no further faults.
        if (this.size === from && item.length > 0 && this.absolute === undefined) this.zero(item.length)
      }
      if (this.size > from) this.listing.push({ line: item.source, address: Number(at), from, to: this.size })
    }
  }

  private address(): bigint {
    return this.absolute ?? BigInt.asIntN(64, this.origin + BigInt(this.size))
  }

  private place(item: Item): void {
    const { statement } = item
    switch (statement.kind) {
      case 'label':
        this.current.set(statement.name, this.here)
        return
      case 'equ': {
        const value = this.value(statement.value)
        if (!value.unknown) this.current.set(statement.name, value)
        return
      }
      case 'absolute':
        this.absolute = statement.value === undefined ? undefined : this.value(statement.value).n
        return
      default:
        this.produce(statement, item)
    }
  }

  private value(expression: Expression): Value {
    const value = evaluate(expression, this.scope)
    if (value.terms && value.terms.length > 0) {
      throw new AssemblyFault(`expected a number, found the register '${value.terms[0]!.register.name}'`)
    }
    return value
  }

  private produce(statement: Statement, item: Item | undefined): void {
    if (++this.steps > MAX_STEPS) throw new AssemblyFault(`output of more than ${MAX_STEPS} statements`)
    switch (statement.kind) {
      case 'instruction': {
        if (item?.fixed) {
          this.write(item.fixed)
          return
        }
        const bytes = this.encode(statement.instruction, item)
        if (item && !item.variable) item.fixed = bytes
        this.write(bytes)
        return
      }
      case 'data':
        for (const part of statement.parts) {
          this.write(part.kind === 'bytes' ? part.bytes : this.dataBytes(this.value(part.value), statement.unit))
        }
        return
      case 'reserve': {
        const count = this.count(statement.count, 'size')
        this.zero(count * statement.unit)
        return
      }
      case 'times':
        this.repeat(statement.body, this.count(statement.count, 'repeat count'), statement.variable)
        return
      case 'align': {
        const boundary = this.count(statement.boundary, 'boundary')
        if (boundary < 1 || (boundary & (boundary - 1)) !== 0) {
          throw new AssemblyFault(`alignment ${boundary} is not a power of two`)
        }
        const position = Number(this.absolute ?? BigInt(this.size))
        const missing = (boundary - (position % boundary)) % boundary
        if (this.absolute !== undefined) this.absolute += BigInt(missing)
        else this.repeat(statement.fill, missing, isVariableStatement(statement.fill))
        return
      }
    }
  }

  private repeat(body: Statement, count: number, variable: boolean): void {
    if (count === 0) return
    const from = this.size
    const before = this.absolute
    this.produce(body, undefined)
    if (before !== undefined && this.absolute !== undefined) {
      this.absolute = before + (this.absolute - before) * BigInt(count)
      return
    }
    if (variable) {
      for (let n = 1; n < count; n++) this.produce(body, undefined)
      return
    }
    const length = this.size - from
    if (length === 0) return
    // The same bytes again and again: double what is there already.
    const total = length * count
    this.room(total - length)
    for (let done = length; done < total; ) {
      const chunk = Math.min(done, total - done)
      this.buffer.copyWithin(from + done, from, from + chunk)
      done += chunk
    }
    this.size = from + total
  }

  private count(expression: Expression, what: string): number {
    const value = this.value(expression)
    if (value.unknown) return 0
    // Early passes may see a distance that is not final.
    if (value.n < 0n) throw new AssemblyFault(`${what} ${value.n} is negative`)
    if (value.n > BigInt(MAX_OUTPUT_BYTES)) throw tooLarge()
    return Number(value.n)
  }

  private encode(instruction: SourceInstruction, item: Item | undefined): readonly number[] {
    const operands = instruction.operands.map((source) => this.bind(source))
    const at = this.address()
    let bytes = encodeInstruction(instruction, operands, at, this.pass > WIDE_PASS)
    if (item) {
      if (this.pass > GROWING_PASS && bytes.length < item.length) {
        bytes = encodeInstruction(instruction, operands, at, true)
      }
      item.length = bytes.length
    }
    return bytes
  }

  private bind(source: SourceOperand): BoundOperand {
    switch (source.kind) {
      case 'register':
        return { source, value: ZERO, selector: ZERO }
      case 'memory':
        return { source, value: evaluate(source.address, this.scope), selector: ZERO }
      case 'immediate':
        return { source, value: this.value(source.value), selector: ZERO }
      case 'far':
        return { source, value: this.value(source.offset), selector: this.value(source.selector) }
    }
  }

  private dataBytes(value: Value, unit: number): number[] {
    const { n } = value
    if (!value.unknown && unit < 8) {
      const range = 1n << BigInt(unit * 8)
      if (n < -(range >> 1n) || n >= range) throw new AssemblyFault(`value ${n} does not fit in ${unit * 8} bits`)
    }
    const bytes: number[] = []
    for (let i = 0; i < unit; i++) bytes.push(Number((n >> BigInt(i * 8)) & 255n))
    return bytes
  }

  private zero(count: number): void {
    if (this.absolute !== undefined) {
      this.absolute += BigInt(count)
      return
    }
    this.room(count)
    this.buffer.fill(0, this.size, this.size + count)
    this.size += count
  }

  private write(bytes: readonly number[]): void {
    if (this.absolute !== undefined) throw new AssemblyFault("only reservations (resb …) are possible after 'absolute'")
    this.room(bytes.length)
    for (const byte of bytes) this.buffer[this.size++] = byte
  }

  /** Makes room for more bytes. */
  private room(more: number): void {
    const wanted = this.size + more
    if (wanted > MAX_OUTPUT_BYTES) throw tooLarge()
    if (wanted <= this.buffer.length) return
    const bigger = new Uint8Array(Math.min(MAX_OUTPUT_BYTES, Math.max(wanted, this.buffer.length * 2)))
    bigger.set(this.buffer.subarray(0, this.size))
    this.buffer = bigger
  }
}

function tooLarge(): AssemblyFault {
  return new AssemblyFault(`output of more than ${MAX_OUTPUT_BYTES / 1024 / 1024} MiB`)
}
