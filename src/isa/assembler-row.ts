/**
 * One row of the instruction table in the making: operands are put where the row wants them, then the bytes are
 * written. Prefixes stand in NASM's order: WAIT, REP, LOCK, segment, 66, 67, mandatory prefix, REX.
 */

import { addressSize, type EncodedAddress, encodeAddress, fits } from './assembler-address.js'
import type { Value } from './assembler-expression.js'
import { isVariableWidth } from './assembler-forms.js'
import { AssemblyFault } from './assembler-lexer.js'
import type { Meaning } from './assembler-mnemonics.js'
import type { ImmediateOperand, MemoryOperand, SourceInstruction, SourceOperand } from './assembler-operand.js'
import type { Register } from './assembler-registers.js'
import { OPERAND } from './instruction.js'
import { type OperandSpec, type Row, widthOf } from './table.js'

/** An operand with its values in the current pass. */
export interface BoundOperand {
  readonly source: SourceOperand
  /** Address, immediate, or offset of a far pointer. */
  readonly value: Value
  /** Selector of a far pointer. */
  readonly selector: Value
}

/** What a row needs to know of the instruction that it is tried for. */
export interface RowContext {
  readonly instruction: SourceInstruction
  readonly meaning: Meaning
  readonly operands: readonly BoundOperand[]
  /** Address of the first byte. */
  readonly at: bigint
  readonly bits: number
  /** Address size asked for, or 0. */
  readonly addrPrefix: number
  /** Short forms that depend on a value are forbidden. */
  readonly wide: boolean
  /** Remembers why a row does not fit. */
  missed(rank: number, message: string): undefined
}

// How close a row came that did not fit: the closest one explains the failure.

/** The operands are of other kinds. */
const MISS_TYPE = 1
/** The kinds fit, the sizes do not or are missing. */
export const MISS_SIZE = 2
/** Everything fits but a value. */
export const MISS_RANGE = 3

const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]

interface Field {
  readonly value: bigint
  readonly size: number
}

/** Why an operand cannot go where the row wants it. */
export interface Problem {
  readonly rank: number
  readonly message: string
}

const MISMATCH: Problem = { rank: MISS_TYPE, message: '' }

function tooBig(value: bigint, width: number): Problem {
  return { rank: MISS_RANGE, message: `value ${value} does not fit in ${width * 8} bits` }
}

/** One row in the making. */
export class RowEncoding {
  private readonly job: RowContext
  private readonly row: Row
  private readonly opSize: number
  /** The operand size follows from an operand, not from the code's default. */
  pinned = false
  /** A memory operand without a size keyword is among the operands. */
  unsized = false
  unsizedWidth = 0
  private plus = 0
  private reg: number
  private rm: number
  private rexR = false
  private rexB = false
  private needRex = false
  private highByte = ''
  private rexUser = ''
  private address: EncodedAddress | undefined
  private memory: MemoryOperand | undefined
  private addrSize = 0
  private readonly fields: Field[] = []
  private target: { value: Value; size: number; source: ImmediateOperand } | undefined

  constructor(job: RowContext, row: Row, opSize: number) {
    this.job = job
    this.row = row
    this.opSize = opSize
    this.reg = Math.max(row.reg, 0)
    this.rm = Math.max(row.rm, 0)
  }

  /** Does the opcode name the register with number 0? */
  isAccumulator(): boolean {
    return this.plus === 0 && !this.rexB
  }

  private width(spec: OperandSpec, memory = false): number {
    return widthOf(memory ? spec.memWidth : spec.width, this.opSize, this.job.bits)
  }

  private pin(spec: OperandSpec): void {
    if (isVariableWidth(spec)) this.pinned = true
  }

  /** Puts an operand where the row wants it; gives a problem if it does not fit. */
  place(spec: OperandSpec, operand: BoundOperand): Problem | undefined {
    const { source } = operand
    if (source.kind === 'register') return this.placeRegister(spec, source.register)
    if (source.kind === 'memory') return this.placeMemory(spec, operand, source)
    if (source.kind === 'immediate') return this.placeImmediate(spec, operand.value, source)
    return this.placeFar(spec, operand, source.size)
  }

  private placeRegister(spec: OperandSpec, register: Register): Problem | undefined {
    const { kind, number, size } = register
    if (this.job.bits !== 64 && (number > 7 || (kind === OPERAND.gpr && (size === 8 || register.rex)))) {
      return { rank: MISS_SIZE, message: `register '${register.name}' exists only in 64-bit code` }
    }
    const general = kind === OPERAND.gpr && this.generalFits(spec, register)
    switch (spec.method) {
      case 'E':
      case 'R':
        if (!general) return MISMATCH
        this.setRm(register)
        break
      case 'G':
        if (!general) return MISMATCH
        this.setReg(register)
        break
      case 'Z':
        if (!general) return MISMATCH
        this.plus = number & 7
        this.rexB = number > 7
        this.noteRex(register)
        break
      case 'reg':
        if (!general || number !== spec.reg || register.high) return MISMATCH
        break
      case 'S':
        if (kind !== OPERAND.seg || (this.row.reg >= 0 && number !== this.row.reg)) return MISMATCH
        if (this.row.noCs && number === 1) return MISMATCH
        this.reg = number
        break
      case 'sreg':
        return kind === OPERAND.seg && number === spec.reg ? undefined : MISMATCH
      case 'C':
      case 'D':
      case 'T': {
        const wanted = spec.method === 'C' ? OPERAND.cr : spec.method === 'D' ? OPERAND.dr : OPERAND.tr
        if (kind !== wanted) return MISMATCH
        this.setReg(register)
        break
      }
      case 'P':
      case 'V':
        if (kind !== (spec.method === 'P' ? OPERAND.mm : OPERAND.xmm)) return MISMATCH
        this.setReg(register)
        break
      case 'N':
      case 'Q':
      case 'U':
      case 'W':
        if (kind !== (spec.method === 'N' || spec.method === 'Q' ? OPERAND.mm : OPERAND.xmm)) return MISMATCH
        this.setRm(register)
        break
      case 'st0':
        return kind === OPERAND.st && number === 0 ? undefined : MISMATCH
      case 'sti':
        if (kind !== OPERAND.st) return MISMATCH
        this.rm = number
        break
      case 'xmm0':
        return kind === OPERAND.xmm && number === 0 ? undefined : MISMATCH
      default:
        return MISMATCH
    }
    this.pin(spec)
    return undefined
  }

  /** Is a general register acceptable by size? A few instructions read 16 bits of a wider register. */
  private generalFits(spec: OperandSpec, register: Register): boolean {
    if (register.size === this.width(spec)) return true
    const { mnemonic } = this.row
    if (mnemonic === 'mov' && spec.text === 'Ew') return register.size === 4 || register.size === 8
    if (mnemonic === 'lar' || mnemonic === 'lsl') return spec.method === 'E' && register.size > 1
    return false
  }

  private noteRex(register: Register): void {
    if (register.high) this.highByte = register.name
    if (register.rex) {
      this.needRex = true
      this.rexUser = register.name
    }
  }

  private setReg(register: Register): void {
    this.reg = register.number & 7
    this.rexR = register.number > 7
    this.noteRex(register)
  }

  private setRm(register: Register): void {
    this.rm = register.number & 7
    this.rexB = register.number > 7
    this.noteRex(register)
  }

  private placeMemory(spec: OperandSpec, operand: BoundOperand, source: MemoryOperand): Problem | undefined {
    if (!'EMQWO'.includes(spec.method)) return MISMATCH
    if (this.row.mod === 'reg' || this.row.mod === 'ignored') return MISMATCH
    const width = this.width(spec, true)
    if (source.size === 0) {
      this.unsized = true
      this.unsizedWidth = width
    } else if (!this.memorySizeFits(spec, source.size, width)) {
      return MISMATCH
    } else this.pin(spec)
    if (this.memory) return MISMATCH
    this.memory = source
    if (spec.method === 'O') return this.placeOffset(operand.value, source)
    try {
      this.address = encodeAddress(
        source,
        operand.value,
        this.job.bits,
        this.job.addrPrefix,
        this.job.instruction.defaultRelative,
        this.job.wide,
      )
    } catch (error) {
      if (error instanceof AssemblyFault) return { rank: MISS_RANGE, message: error.message }
      throw error
    }
    this.addrSize = this.address.addrSize
    return undefined
  }

  private memorySizeFits(spec: OperandSpec, size: number, width: number): boolean {
    if (spec.memWidth === 'none') return true
    if (spec.memWidth === 'p') return size === this.opSize
    if (spec.memWidth === 'a') return size === this.opSize || size === width
    return size === width
  }

  private placeOffset(value: Value, source: MemoryOperand): Problem | undefined {
    if (value.terms?.length || source.relative === 'rel' || source.dispSize === 1) return MISMATCH
    const size = addressSize(source, value, this.job.bits, this.job.addrPrefix)
    const implicitRelative = this.job.instruction.defaultRelative && source.relative === 'default'
    if (this.job.bits === 64 && size === 8 && (source.dispSize !== 8 || implicitRelative)) return MISMATCH
    if (!value.unknown && !fits(value.n, size)) return tooBig(value.n, size)
    this.addrSize = size
    this.fields.push({ value: value.n, size })
    return undefined
  }

  private placeImmediate(spec: OperandSpec, value: Value, source: ImmediateOperand): Problem | undefined {
    const { n, reloc } = value
    if (value.terms) return MISMATCH
    switch (spec.method) {
      case 'J':
        return this.placeTarget(spec, value, source)
      case 'one':
        return n === 1n && reloc === 0 && source.size === 0 && !source.strict ? undefined : MISMATCH
      case 'sI':
        return this.placeSigned(value, source)
      case 'I':
        break
      default:
        return MISMATCH
    }
    const width = this.width(spec)
    if (source.size !== 0) {
      if (source.size !== width && source.size !== this.opSize && !this.isWidePush(source)) return MISMATCH
      if (source.size === 1 && width !== 1) return MISMATCH
      if (width !== 1 && (source.size === this.opSize || this.isWidePush(source))) this.pin(spec)
    }
    const signExtended = this.opSize === 8 && spec.width === 'z'
    if (this.row.mnemonic === 'mov' && signExtended) {
      // NASM takes the full 64 bits for an address, and where a qword is insisted on.
      if ((reloc !== 0 && source.size !== 4) || (source.strict && source.size !== 4)) return MISMATCH
    }
    if (!value.unknown) {
      if (signExtended && BigInt.asIntN(32, n) !== n) {
        return { rank: MISS_RANGE, message: `value ${n} does not fit in 32 signed bits` }
      }
      if (!fits(n, width)) return tooBig(n, width)
    }
    this.fields.push({ value: n, size: width })
    return undefined
  }

  /** PUSH dword in 64-bit code pushes 64 bits from a 32-bit immediate. */
  private isWidePush(source: ImmediateOperand): boolean {
    return this.row.mnemonic === 'push' && this.opSize === 8 && source.size === 4
  }

  private placeSigned(value: Value, source: ImmediateOperand): Problem | undefined {
    const byte = source.size === 1
    // An unknown value counts as a big one, as in NASM.
    if (!byte && (source.strict || value.reloc !== 0 || value.unknown || this.job.wide)) return MISMATCH
    if (source.size > 1) {
      if (source.size !== this.opSize && !(this.opSize === 8 && source.size === 4)) return MISMATCH
      if (this.row.mnemonic === 'push') this.pinned = true
    }
    if (!value.unknown) {
      if (!fits(value.n, this.opSize)) return MISMATCH
      const n = BigInt.asIntN(this.opSize * 8, value.n)
      if (n < -128n || n > 127n) {
        return byte ? { rank: MISS_RANGE, message: `value ${value.n} does not fit in a signed byte` } : MISMATCH
      }
    }
    this.fields.push({ value: value.n, size: 1 })
    return undefined
  }

  private placeTarget(spec: OperandSpec, value: Value, source: ImmediateOperand): Problem | undefined {
    const short = spec.width === 'b'
    if (source.distance !== '' && (source.distance === 'short') !== short) return MISMATCH
    if (source.size !== 0) {
      if (short && source.size !== 1) return MISMATCH
      if (!short && source.size !== this.opSize && source.size !== 4) return MISMATCH
      if (!short && source.size !== this.opSize && this.job.bits !== 64) return MISMATCH
      this.pin(spec)
    }
    const alternatives = this.row.mnemonic === 'j' || this.row.mnemonic === 'jmp'
    if (short && alternatives && this.job.wide && source.distance === '') return MISMATCH
    this.target = { value, size: this.width(spec), source }
    return undefined
  }

  private placeFar(spec: OperandSpec, operand: BoundOperand, size: number): Problem | undefined {
    if (spec.method !== 'A') return MISMATCH
    if (size !== 0) {
      if (size !== this.opSize) return MISMATCH
      this.pinned = true
    }
    const { value, selector } = operand
    if (!value.unknown && !fits(value.n, this.opSize)) return tooBig(value.n, this.opSize)
    if (!selector.unknown && !fits(selector.n, 2)) return tooBig(selector.n, 2)
    this.fields.push({ value: value.n, size: this.opSize }, { value: selector.n, size: 2 })
    return undefined
  }

  /** The finished bytes, or undefined if the pieces do not go together. */
  assemble(defaultSize: number): number[] | undefined {
    const { row, job, opSize } = this
    const { prefixes } = job.instruction
    if (row.b === 1 && !this.rexB) return undefined
    const bytes: number[] = []
    if (job.meaning.wait) bytes.push(0x9b)
    if (prefixes.repne) bytes.push(0xf2)
    if (prefixes.rep) bytes.push(0xf3)
    if (prefixes.lock) bytes.push(0xf0)
    const segment = this.memory && this.memory.segment >= 0 ? this.memory.segment : prefixes.segment
    if (segment >= 0) bytes.push(SEGMENT_PREFIXES[segment]!)
    const wantsW = opSize === 8 && row.w !== 0 && !row.default64 && !row.force64 && this.usesSize()
    if (opSize !== 8 && opSize !== defaultSize) bytes.push(0x66)
    const addrSize = this.addrSize || job.addrPrefix || job.bits / 8
    if (addrSize !== job.bits / 8) bytes.push(0x67)
    if (row.prefix === '66' || row.prefix === 'F2' || row.prefix === 'F3') bytes.push(Number.parseInt(row.prefix, 16))
    const rexX = this.address?.rexX ?? false
    const rexB = this.rexB || (this.address?.rexB ?? false)
    const rex = (wantsW ? 8 : 0) | (this.rexR ? 4 : 0) | (rexX ? 2 : 0) | (rexB ? 1 : 0)
    if (rex !== 0 || this.needRex) {
      if (job.bits !== 64) return undefined
      if (this.highByte !== '') {
        const user = this.rexUser || 'a 64-bit operand'
        throw new AssemblyFault(`register '${this.highByte}' cannot be used together with ${user}: REX hides it`)
      }
      bytes.push(0x40 | rex)
    }
    if (row.map > 0) bytes.push(0x0f)
    if (row.map > 1) bytes.push(row.map === 2 ? 0x38 : 0x3a)
    bytes.push(row.opcode + (row.plus === 'r' ? this.plus : row.plus === 'cc' ? job.meaning.condition : 0))
    const immediates = this.fields.reduce((sum, field) => sum + field.size, 0)
    if (row.modrm) this.pushModrm(bytes, immediates)
    if (this.target && !this.pushTarget(bytes)) return undefined
    for (const field of this.fields) pushValue(bytes, field.value, field.size)
    return bytes
  }

  /** REX.W is of use if the size shows in an operand or the source asked for it. */
  private usesSize(): boolean {
    const { meaning, instruction } = this.job
    return (
      this.row.w === 1 ||
      meaning.opSize === 8 ||
      meaning.element === 8 ||
      instruction.prefixes.opSize === 8 ||
      this.row.operands.some(isVariableWidth)
    )
  }

  private pushModrm(bytes: number[], immediates: number): void {
    const { address } = this
    if (!address) {
      bytes.push(0xc0 | (this.reg << 3) | this.rm)
      return
    }
    bytes.push((address.mod << 6) | (this.reg << 3) | address.rm)
    if (address.sib >= 0) bytes.push(address.sib)
    if (address.dispSize === 0) return
    let { disp } = address
    if (address.ripRelative) {
      disp -= this.job.at + BigInt(bytes.length + 4 + immediates)
      // With 32-bit addresses the sum wraps, so that every target is within reach.
      if (address.addrSize === 8 && !this.isUnknown() && BigInt.asIntN(32, disp) !== disp) {
        throw new AssemblyFault(`target ${address.disp} is out of reach of a RIP-relative address`)
      }
    }
    pushValue(bytes, disp, address.dispSize)
  }

  private isUnknown(): boolean {
    return this.job.operands.some((o) => o.value.unknown)
  }

  private pushTarget(bytes: number[]): boolean {
    const { value, size } = this.target!
    const straight = value.n - (this.job.at + BigInt(bytes.length + size))
    // The instruction pointer wraps at its width.
    const distance = this.job.bits === 64 ? straight : BigInt.asIntN(this.opSize * 8, straight)
    if (value.unknown) {
      pushValue(bytes, 0n, size)
      return true
    }
    if (size === 1 && (distance < -128n || distance > 127n)) {
      this.job.missed(MISS_RANGE, `target is ${distance} bytes away: a short jump reaches -128 to 127`)
      return false
    }
    if (size === 4 && this.job.bits === 64 && BigInt.asIntN(32, distance) !== distance) {
      this.job.missed(MISS_RANGE, `target is ${distance} bytes away: a near jump reaches 2 GiB`)
      return false
    }
    if (this.opSize === 2 && (straight < -0x10000n || straight > 0xffffn)) {
      this.job.missed(MISS_RANGE, `target is ${straight} bytes away: a 16-bit jump stays in 64 KiB`)
      return false
    }
    pushValue(bytes, distance, size)
    return true
  }
}

function pushValue(bytes: number[], value: bigint, size: number): void {
  const low = Number(BigInt.asUintN(32, value))
  for (let i = 0; i < Math.min(size, 4); i++) bytes.push((low >>> (i * 8)) & 255)
  if (size <= 4) return
  const high = Number(BigInt.asUintN(32, value >> 32n))
  for (let i = 0; i < size - 4; i++) bytes.push((high >>> (i * 8)) & 255)
}
