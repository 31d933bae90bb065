/**
 * Encodes one instruction: tries every row of the table that its mnemonic has, in every operand size, and takes the
 * shortest result. Where two are equally long the choice is NASM's.
 */

import { constant, type Value } from './assembler-expression.js'
import { describeForms, describeOperand, formsOf, isVariableWidth, meaningOf } from './assembler-forms.js'
import { AssemblyFault } from './assembler-lexer.js'
import type { Meaning } from './assembler-mnemonics.js'
import type { ImmediateOperand, SourceInstruction } from './assembler-operand.js'
import { REGISTERS } from './assembler-registers.js'
import { type BoundOperand, MISS_RANGE, MISS_SIZE, type RowContext, RowEncoding } from './assembler-row.js'
import { OPERAND } from './instruction.js'
import type { OperandSpec, Row } from './table.js'

const ZERO: Value = constant(0n)
/** Maximum length of an instruction. */
const MAX_LENGTH = 15

interface Candidate {
  readonly bytes: number[]
  readonly penalty: number
  /** Width taken for a memory operand that had none, where nothing else decided it; else 0. */
  readonly guessed: number
}

function implied(value: bigint): BoundOperand {
  const source: ImmediateOperand = {
    kind: 'immediate',
    value: { op: 'number', value },
    size: 0,
    strict: false,
    distance: '',
  }
  return { source, value: constant(value), selector: ZERO }
}

function impliedRegister(name: string): BoundOperand {
  return { source: { kind: 'register', register: REGISTERS.get(name)! }, value: ZERO, selector: ZERO }
}

/**
 * The bytes of an instruction that will stand at address `at`. `wide` forbids the short forms that depend on a value.
 * Throws {@link AssemblyFault} with what was expected.
 */
export function encodeInstruction(
  instruction: SourceInstruction,
  operands: readonly BoundOperand[],
  at: bigint,
  wide: boolean,
): number[] {
  return new Encoding(instruction, operands, at, wide).best()
}

class Encoding implements RowContext {
  readonly instruction: SourceInstruction
  readonly at: bigint
  readonly wide: boolean
  readonly bits: number
  readonly meaning: Meaning
  operands: readonly BoundOperand[]
  addrPrefix: number
  private missRank = 0
  private miss = ''
  /** A form would fit if the memory operand had a size. */
  private sizeMissing = false

  constructor(instruction: SourceInstruction, operands: readonly BoundOperand[], at: bigint, wide: boolean) {
    this.instruction = instruction
    this.at = at
    this.wide = wide
    this.bits = instruction.bits
    const sources = instruction.operands
    const farMemory = sources.some((o) => o.kind === 'memory' && o.far)
    const meaning = meaningOf(instruction.mnemonic, sources, farMemory)
    if (!meaning) throw new AssemblyFault(`unknown mnemonic '${instruction.mnemonic}'`)
    this.meaning = meaning
    this.operands = operands
    this.addrPrefix = meaning.addrSize || instruction.prefixes.addrSize
    if (instruction.prefixes.addrSize !== 0 && instruction.prefixes.addrSize !== this.addrPrefix) {
      throw new AssemblyFault(`'${instruction.mnemonic}' demands ${this.addrPrefix * 8}-bit addresses`)
    }
    const counter = sources[1]
    if (/^(loop|jcxz)/.test(meaning.mnemonic) && counter?.kind === 'register' && sources.length === 2) {
      const { register } = counter
      if (register.kind !== OPERAND.gpr || register.number !== 1 || register.size === 1) {
        throw new AssemblyFault(`expected cx, ecx or rcx as the counter, found '${register.name}'`)
      }
      this.addrPrefix = register.size
      this.operands = operands.slice(0, 1)
    }
    if (this.addrPrefix === 8 && this.bits !== 64) throw new AssemblyFault('64-bit addresses exist only in 64-bit code')
    if (this.addrPrefix === 2 && this.bits === 64)
      throw new AssemblyFault('16-bit addresses do not exist in 64-bit code')
    if (meaning.opSize === 8 && this.bits !== 64) {
      throw new AssemblyFault(`'${instruction.mnemonic}' exists only in 64-bit code`)
    }
  }

  best(): number[] {
    const rows = formsOf(this.meaning)
    let best: Candidate | undefined
    let guessed = 0
    for (const row of rows) {
      for (const [variant, operands] of this.variants()) {
        const listed = this.complete(row, operands)
        if (!listed) continue
        for (const opSize of this.operandSizes(row)) {
          const candidate = this.tryRow(row, listed, opSize, variant)
          if (!candidate) continue
          if (candidate.guessed !== 0) {
            if (guessed !== 0 && guessed !== candidate.guessed) this.sizeMissing = true
            guessed = candidate.guessed
          }
          const shorter = candidate.bytes.length - (best?.bytes.length ?? 99)
          if (!best || shorter < 0 || (shorter === 0 && candidate.penalty < best.penalty)) best = candidate
        }
      }
    }
    if (this.sizeMissing && (!best || guessed !== 0)) {
      throw new AssemblyFault('operation size not specified: expected byte, word, dword … before the memory operand')
    }
    if (!best) throw this.failure(rows)
    if (best.bytes.length > MAX_LENGTH)
      throw new AssemblyFault(`instruction of ${best.bytes.length} bytes: the limit is 15`)
    return best.bytes
  }

  private failure(rows: readonly Row[]): AssemblyFault {
    const name = this.instruction.mnemonic
    if (this.missRank === MISS_RANGE || this.missRank === MISS_SIZE) return new AssemblyFault(this.miss)
    const usable = rows.some((row) => (this.bits === 64 ? !row.invalid64 : !row.only64))
    if (!usable) return new AssemblyFault(`'${name}' does not exist in ${this.bits}-bit code`)
    const found = this.operands.map((o) => describeOperand(o.source)).join(', ') || 'no operands'
    return new AssemblyFault(`'${name}' cannot take ${found}: expected ${describeForms(rows, this.bits, 8)}`)
  }

  missed(rank: number, message: string): undefined {
    if (rank > this.missRank) {
      this.missRank = rank
      this.miss = message
    }
    return undefined
  }

  /** Operand lists that mean the same. The number is the penalty among encodings of equal length. */
  private variants(): (readonly [number, readonly BoundOperand[]])[] {
    const list = this.operands
    const [a, b] = list
    const name = this.meaning.mnemonic
    if (this.meaning.element !== 0) return [[0, []]]
    if (this.meaning.predicate >= 0) return [[0, [...list, implied(BigInt(this.meaning.predicate))]]]
    if (list.length === 0 && (name === 'aam' || name === 'aad')) return [[0, [implied(10n)]]]
    if (list.length === 2 && a && b) {
      if (name === 'xchg') {
        return [
          [0, [b, a]],
          [1, list],
        ]
      }
      if (name === 'test') {
        return [
          [0, list],
          [1, [b, a]],
        ]
      }
      if (name === 'imul' && b.source.kind === 'immediate') return [[0, [a, a, b]]]
      if (name === 'mov') return [[0, this.zeroExtended(a, b) ?? list]]
    }
    return [[0, list]]
  }

  /** MOV r64, imm with an immediate of 32 unsigned bits is MOV r32, imm, which clears the upper half. */
  private zeroExtended(a: BoundOperand, b: BoundOperand): readonly BoundOperand[] | undefined {
    if (a.source.kind !== 'register' || b.source.kind !== 'immediate' || b.source.strict) return
    if (b.source.size !== 0 && b.source.size !== 8) return
    const { register } = a.source
    const { n, reloc } = b.value
    if (this.bits !== 64) return
    if (register.kind !== OPERAND.gpr || register.size !== 8 || reloc !== 0 || n < 0n || n > 0xffffffffn) return
    const name = register.number > 7 ? `${register.name}d` : `e${register.name.slice(1)}`
    return [impliedRegister(name), { source: { ...b.source, size: 0 }, value: b.value, selector: ZERO }]
  }

  /** Adds the operands that a row may leave unwritten: ST0, ST1, XMM0, those of a string instruction. */
  private complete(row: Row, given: readonly BoundOperand[]): readonly BoundOperand[] | undefined {
    const specs = row.operands
    if (given.length === specs.length || this.meaning.element !== 0) return given
    const [a] = given
    if (specs.length === 2 && specs[0]!.method === 'st0' && specs[1]!.method === 'sti' && given.length < 2) {
      return [impliedRegister('st0'), a ?? impliedRegister('st1')]
    }
    if (specs.length === 2 && specs[0]!.method === 'sti' && row.mnemonic.endsWith('p') && given.length < 2) {
      return [a ?? impliedRegister('st1'), impliedRegister('st0')]
    }
    if (specs.at(-1)?.method === 'xmm0' && given.length === specs.length - 1) return [...given, impliedRegister('xmm0')]
    return undefined
  }

  private defaultSize(row: Row): number {
    if (this.bits === 16) return 2
    return this.bits === 64 && (row.default64 || row.force64) ? 8 : 4
  }

  private operandSizes(row: Row): readonly number[] {
    if (this.bits === 64 ? row.invalid64 : row.only64) return []
    const forced = this.meaning.opSize || this.instruction.prefixes.opSize
    const { element } = this.meaning
    if (element > 1) {
      const isPort = row.mnemonic === 'ins' || row.mnemonic === 'outs'
      return (element === 8 && this.bits !== 64) || (isPort && element === 8) ? [] : [element]
    }
    if (row.w === 1) return [8]
    if (row.w === 0) return [this.defaultSize(row)]
    if (this.bits === 64 && row.force64) return [8]
    if (forced !== 0) return this.bits === 64 && row.default64 && forced === 4 ? [] : [forced]
    if (!row.operands.some(isVariableWidth)) return [this.defaultSize(row)]
    if (this.bits !== 64) return [2, 4]
    return row.default64 ? [2, 8] : [2, 4, 8]
  }

  /** Encodes by one row in one operand size, or gives undefined. */
  private tryRow(row: Row, operands: readonly BoundOperand[], opSize: number, variant: number): Candidate | undefined {
    if (operands.length !== row.operands.length && this.meaning.element === 0) return undefined
    if (opSize === 2 && (row.prefix === '66' || row.prefix === 'NP') && this.bits !== 16) return undefined
    if (opSize === 4 && (row.prefix === '66' || row.prefix === 'NP') && this.bits === 16) return undefined
    const form = new RowEncoding(this, row, opSize)
    for (let i = 0; i < operands.length; i++) {
      const problem = form.place(row.operands[i]!, operands[i]!)
      if (problem !== undefined) return this.missed(problem.rank, problem.message)
    }
    let guessed = 0
    const forced = this.meaning.opSize !== 0 || this.instruction.prefixes.opSize !== 0 || this.meaning.element > 1
    if (!form.pinned && !forced && row.operands.some(isVariableWidth)) {
      const branch = /^(call|jmp)f?$/.test(row.mnemonic)
      if (opSize !== (this.bits === 64 && branch ? 8 : this.defaultSize(row))) return undefined
      if (form.unsized && !branch && row.operands.some((o) => isMemoryOfOperandSize(o))) {
        this.sizeMissing = true
        return undefined
      }
    }
    if (form.unsized) guessed = form.unsizedWidth
    // XCHG EAX, EAX would become NOP, which does not clear the upper half of RAX.
    if (row.text.startsWith('90+r') && this.bits === 64 && opSize === 4 && form.isAccumulator()) return undefined
    const bytes = form.assemble(this.defaultSize(row))
    if (!bytes) return undefined
    const longImmediate = row.operands.some((o) => o.method === 'I' && o.width === 'z')
    return { bytes, penalty: variant * 2 + (longImmediate || row.w === 1 ? 1 : 0), guessed }
  }
}

function isMemoryOfOperandSize(spec: OperandSpec): boolean {
  return (spec.method === 'E' || spec.method === 'M') && 'vy'.includes(spec.memWidth)
}
