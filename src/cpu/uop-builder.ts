/**
 * Writes micro-op records into linear memory while instructions are lifted, and knows the idioms that most instructions share: where an operand
 * is, how it is read and how it is written back.
 */

import { type Instruction, OPERAND, REG_NONE, REG_RIP, SEG_DS, SEG_ES, SEG_FS, SEG_SS } from '../isa/instruction.js'
import {
  gprSlot,
  MODE_CODE_MASK,
  MODE_CODE64,
  MODE_FLAT_CS,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  MODE_STACK32,
  OFF_RIP,
  OFF_SEG,
  SEG_SELECTOR,
  SEG_STRIDE,
  SLOT_ZERO,
  tempSlot,
} from './layout.js'
import type { CpuModel } from './models.js'
import type { CpuState } from './state.js'
import {
  EXT_ADDR_SHIFT,
  EXT_FLAT,
  EXT_FOR_WRITE,
  EXT_SEG_SHIFT,
  HELPER_ENDS_BLOCK,
  UOP,
  UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_HANDLER,
  UOP_IMM,
  UOP_IMM_HI,
  UOP_INDEX,
  UOP_IP,
  UOP_LENGTH,
  UOP_OP,
  UOP_SIZE,
  UOP_VALUE,
} from './uops.js'

/** Fields of a record that {@link UopBuilder.emit} sets; those left out are zero. */
export interface UopFields {
  a?: number
  b?: number
  c?: number
  imm?: number
  immHi?: number
  ext?: number
  value?: number
}

/** Width code of a micro-op for an operand of `size` bytes: 0–3 for 1, 2, 4, 8. */
export function widthOf(size: number): number {
  return size === 1 ? 0 : size === 2 ? 1 : size === 4 ? 2 : 3
}

export class UopBuilder {
  /** MODE_ bits that the block is lifted for. */
  mode = 0
  /** Set once something that ends the block was emitted. */
  ended = false
  /** Set when memory ran out: the instruction must be dropped. */
  full = false
  readonly model: CpuModel
  /** PAUSE means nothing to the machine. */
  readonly quietPause: boolean

  // The address of the current memory operand, as `address` left it.
  private eaB = 0
  private eaC = 0
  private eaImm = 0
  private eaImmHi = 0
  private eaExt = 0

  private readonly s: CpuState
  private at = 0
  private end = 0
  private ip = 0
  private index = 0
  private length = 0

  constructor(s: CpuState, model: CpuModel, quietPause: boolean) {
    this.s = s
    this.model = model
    this.quietPause = quietPause
  }

  /** Starts a block whose records go to byte offsets `at` to `end` of linear memory. */
  begin(at: number, end: number, mode: number): void {
    this.at = at
    this.end = end
    this.mode = mode
    this.ended = false
    this.full = false
  }

  /** Starts an instruction: its distance from the block's start, its ordinal and its length, in bytes. */
  instruction(ip: number, index: number, length: number): void {
    this.ip = ip
    this.index = index
    this.length = length
  }

  /** Where the next record will be. */
  get position(): number {
    return this.at
  }

  /** Distance of the next instruction from the block's start. */
  get nextIp(): number {
    return this.ip + this.length
  }

  /** Distance of the current instruction from the block's start. */
  get thisIp(): number {
    return this.ip
  }

  get code64(): boolean {
    return (this.mode & MODE_CODE_MASK) === MODE_CODE64
  }

  /** Appends a record. */
  op(kind: number, width: number, a = 0, b = 0, c = 0, imm = 0, ext = 0, value = 0, immHi: number = imm >> 31): void {
    const at = this.at
    if (at + UOP_SIZE > this.end) {
      this.full = true
      return
    }
    const { u8, u16, i32 } = this.s
    u16[(at + UOP_OP) >> 1] = (kind << 2) | width
    u16[(at + UOP_A) >> 1] = a
    u16[(at + UOP_B) >> 1] = b
    u16[(at + UOP_C) >> 1] = c
    i32[(at + UOP_IMM) >> 2] = imm
    i32[(at + UOP_IMM_HI) >> 2] = immHi
    i32[(at + UOP_EXT) >> 2] = ext
    i32[(at + UOP_VALUE) >> 2] = value
    u16[(at + UOP_IP) >> 1] = this.ip
    u8[at + UOP_INDEX] = this.index
    u8[at + UOP_LENGTH] = this.length
    i32[(at + UOP_HANDLER) >> 2] = 0
    this.at = at + UOP_SIZE
  }

  /** The same with named fields. */
  emit(kind: number, width: number, f: UopFields): void {
    this.op(kind, width, f.a, f.b, f.c, f.imm, f.ext, f.value, f.immHi ?? (f.imm ?? 0) >> 31)
  }

  /** Appends a call of helper `id`. `ends`: the helper may change RIP, the mode, or what memory and code mean. */
  helper(id: number, f: { a?: number; b?: number; c?: number; imm?: number; ends: boolean }): void {
    this.op(UOP.HELPER, 0, f.a, f.b, f.c, f.imm, id, f.ends ? HELPER_ENDS_BLOCK : 0)
    if (f.ends) this.ended = true
  }

  /** Slot of temporary `n`, 0–7. */
  temp(n: number): number {
    return tempSlot(n)
  }

  // --- addresses ------------------------------------------------------------------------------------------------

  /** Whether accesses through `seg` need no segment arithmetic at all in this mode. */
  flat(seg: number): boolean {
    if (this.code64) return seg < SEG_FS
    switch (seg) {
      case SEG_ES:
        return (this.mode & MODE_FLAT_ES) !== 0
      case SEG_SS:
        return (this.mode & MODE_FLAT_SS) !== 0
      case SEG_DS:
        return (this.mode & MODE_FLAT_DS) !== 0
      default:
        return false
    }
  }

  /** `ext` of an access through `seg` with address size `addrSize` (bytes). */
  memoryExt(seg: number, addrSize: number, scale = 1): number {
    const shift = scale === 1 ? 0 : scale === 2 ? 1 : scale === 4 ? 2 : 3
    const address = addrSize === 2 ? 0 : addrSize === 4 ? 1 : 2
    return shift | (seg << EXT_SEG_SHIFT) | (address << EXT_ADDR_SHIFT) | (this.flat(seg) ? EXT_FLAT : 0)
  }

  /** Address size of the stack in bytes. */
  get stackSize(): number {
    return this.code64 ? 8 : this.mode & MODE_STACK32 ? 4 : 2
  }

  /** `ext` of a stack access. */
  get stackExt(): number {
    return this.memoryExt(SEG_SS, this.stackSize)
  }

  /** Prepares the address of the instruction's memory operand for {@link load}, {@link store} and {@link ea}. `adjust` is added to the displacement. */
  address(i: Instruction, adjust = 0): void {
    this.eaC = i.index === REG_NONE ? SLOT_ZERO : gprSlot(i.index)
    this.eaImm = (i.disp + adjust) | 0
    this.eaImmHi = i.index === REG_NONE && i.base === REG_NONE ? i.dispHi : this.eaImm >> 31
    this.eaExt = this.memoryExt(i.seg, i.addrSize, i.scale)
    if (i.base === REG_RIP) {
      // OFF_RIP holds the address of the block's start while the block runs.
      this.eaB = OFF_RIP
      this.eaImm = (i.disp + this.nextIp) | 0
      this.eaImmHi = this.eaImm >> 31
      const sum = i.disp + this.nextIp
      if (sum !== this.eaImm) this.eaImmHi = sum < 0 ? -1 : 0
    } else {
      this.eaB = i.base === REG_NONE ? SLOT_ZERO : gprSlot(i.base)
    }
  }

  /** Uses `slot` + `offsetSlot` as the address within `seg` instead of a decoded operand. */
  addressSlots(seg: number, addrSize: number, slot: number, offsetSlot: number = SLOT_ZERO, imm = 0): void {
    this.eaB = slot
    this.eaC = offsetSlot
    this.eaImm = imm
    this.eaImmHi = imm >> 31
    this.eaExt = this.memoryExt(seg, addrSize)
  }

  /** A memory micro-op at the prepared address. */
  memory(kind: number, width: number, a: number, extra = 0, value = 0): void {
    this.op(kind, width, a, this.eaB, this.eaC, this.eaImm, this.eaExt | extra, value, this.eaImmHi)
  }

  /** slot ← memory at the prepared address; `forWrite` faults as a write would. */
  load(width: number, slot: number, forWrite = false): void {
    this.memory(UOP.LOAD, width, slot, forWrite ? EXT_FOR_WRITE : 0)
  }

  /** memory at the prepared address ← slot. */
  store(width: number, slot: number): void {
    this.memory(UOP.STORE, width, slot)
  }

  /** slot (64 bits) ← effective offset of the memory operand, without segment base, truncated to the address size. */
  ea(i: Instruction, slot: number): void {
    this.address(i)
    this.memory(UOP.LEA, 3, slot)
  }

  // --- operands -------------------------------------------------------------------------------------------------

  /** Slot of a register operand (general, or a segment register's selector). */
  registerSlot(kind: number, reg: number): number {
    return kind === OPERAND.seg ? OFF_SEG + reg * SEG_STRIDE + SEG_SELECTOR : gprSlot(reg)
  }

  /** The slot that holds operand `n`'s value: the register's own, or `temp` after loading memory or an immediate into it. */
  loadOperand(i: Instruction, n: number, temp: number, forWrite = false): number {
    const o = i.ops[n as 0]
    switch (o.kind) {
      case OPERAND.mem:
        this.address(i)
        this.load(widthOf(o.size), temp, forWrite)
        return temp
      case OPERAND.imm:
        this.op(UOP.MOV_IMM, 3, temp, 0, 0, i.imm, 0, 0, i.immHi)
        return temp
      case OPERAND.imm2:
        this.op(UOP.MOV_IMM, 3, temp, 0, 0, i.imm2)
        return temp
      case OPERAND.one:
        this.op(UOP.MOV_IMM, 3, temp, 0, 0, 1)
        return temp
      default:
        return this.registerSlot(o.kind, o.reg)
    }
  }

  /** Operand `n` ← slot. A memory operand's address must not depend on registers written since. */
  storeOperand(i: Instruction, n: number, slot: number): void {
    const o = i.ops[n as 0]
    const width = widthOf(o.size)
    if (o.kind === OPERAND.mem) {
      this.address(i)
      this.store(width, slot)
    } else if (gprSlot(o.reg) !== slot || width === 2) {
      this.op(UOP.MOV, width, gprSlot(o.reg), slot)
    }
  }

  /** A relative branch must test its target against CS: the segment is limited and the offset can exceed it. */
  get checksTargets(): boolean {
    if (this.code64 || this.mode & MODE_FLAT_CS) return false
    return true
  }

  /** Marks the block as ended by control flow. */
  terminate(): void {
    this.ended = true
  }
}
