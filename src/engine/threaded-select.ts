/**
 * Preparing a block: every record gets the handler for its kind, width, address form or condition; records that belong together are fused;
 * flags that nobody can see are not computed; branches get empty links.
 */

import { MODE_CODE_MASK, MODE_CODE64, MODE_FLAT_CS, SLOT_VTEMP, SLOT_ZERO } from '../cpu/layout.js'
import {
  EXT_ADDR_MASK,
  EXT_ADDR_SHIFT,
  EXT_ALIGNED,
  EXT_FLAT,
  EXT_FOR_WRITE,
  EXT_SEG_MASK,
  EXT_SEG_SHIFT,
  UOP,
  UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_HANDLER,
  UOP_IMM,
  UOP_IMM_HI,
  UOP_INDEX,
  UOP_OP,
  UOP_SIZE,
  UOP_VALUE,
  X87_QUIET,
} from '../cpu/uops.js'
import { SEG_FS } from '../isa/instruction.js'
import { FORMS, LINK_NEVER, LINK_UNKNOWN } from './threaded-builder.js'
import { LINK_NEXT, linkFields, loopVariant, TARGETS, type Target } from './threaded-handlers-control.js'
import { NO_FLAGS, WITH_FLAGS } from './threaded-handlers-integer.js'
import { FOR_WRITE, STACKS } from './threaded-handlers-memory.js'
import { ALIGNED, TEMPORARY } from './threaded-handlers-simd.js'
import { stringVariant } from './threaded-handlers-string.js'
import { helperVariant } from './threaded-handlers-system.js'
import { x87Handler, x87MemoryName, x87Name } from './threaded-handlers-x87.js'
import { HANDLER_BAIL, HANDLER_NOP, type HandlerRegistry } from './threaded-registry.js'

/** What a record does to the arithmetic flags. */
const FLAGS_NEUTRAL = 0
/** Sets all six, looks at none. */
const FLAGS_SET = 1
/** INC and DEC: sets all but CF. */
const FLAGS_SET_KEEPING_CARRY = 2
/** Looks at them, or may leave the block, so that others can. */
const FLAGS_SEEN = 3

const flagEffect = new Uint8Array(128).fill(FLAGS_SEEN)
for (const kind of [
  UOP.MOV,
  UOP.MOV_IMM,
  UOP.ZERO_EXTEND,
  UOP.SIGN_EXTEND_32,
  UOP.SIGN_EXTEND_64,
  UOP.LEA,
  UOP.NOT,
  UOP.XCHG,
  UOP.BSWAP,
  UOP.BIT_OFFSET,
  UOP.ADD_SP,
  UOP.CLD,
  UOP.STD,
  UOP.SIMD,
])
  flagEffect[kind] = FLAGS_NEUTRAL
for (const kind of [
  UOP.ADD,
  UOP.OR,
  UOP.AND,
  UOP.SUB,
  UOP.XOR,
  UOP.CMP,
  UOP.TEST,
  UOP.ADD_IMM,
  UOP.OR_IMM,
  UOP.AND_IMM,
  UOP.SUB_IMM,
  UOP.XOR_IMM,
  UOP.CMP_IMM,
  UOP.TEST_IMM,
  UOP.NEG,
  UOP.SHL_IMM,
  UOP.SHR_IMM,
  UOP.SAR_IMM,
  UOP.MUL,
  UOP.IMUL,
  UOP.IMUL2,
  UOP.IMUL_IMM,
  UOP.CMPXCHG,
  UOP.BSF,
  UOP.BSR,
  UOP.POPCNT,
  UOP.LZCNT,
  UOP.TZCNT,
])
  flagEffect[kind] = FLAGS_SET
flagEffect[UOP.INC] = FLAGS_SET_KEEPING_CARRY
flagEffect[UOP.DEC] = FLAGS_SET_KEEPING_CARRY

/** Kinds that have a handler without flags. */
const hasQuietForm = new Uint8Array(128)
for (const kind of [
  UOP.ADD,
  UOP.OR,
  UOP.ADC,
  UOP.SBB,
  UOP.AND,
  UOP.SUB,
  UOP.XOR,
  UOP.CMP,
  UOP.TEST,
  UOP.ADD_IMM,
  UOP.OR_IMM,
  UOP.ADC_IMM,
  UOP.SBB_IMM,
  UOP.AND_IMM,
  UOP.SUB_IMM,
  UOP.XOR_IMM,
  UOP.CMP_IMM,
  UOP.TEST_IMM,
  UOP.INC,
  UOP.DEC,
  UOP.NEG,
  UOP.SHL_IMM,
  UOP.SHR_IMM,
  UOP.SAR_IMM,
])
  hasQuietForm[kind] = 1

/** Records of the longest block. */
const MAX_RECORDS = 8192

export class HandlerSelector {
  private readonly registry: HandlerRegistry
  private readonly i32: Int32Array
  private readonly u16: Uint16Array
  private readonly u8: Uint8Array
  /** Result of {@link choose}: the handler of each record. */
  readonly ids: Uint16Array = new Uint16Array(MAX_RECORDS)
  /** Steps from each record to the end of the block. */
  private readonly steps = new Uint16Array(MAX_RECORDS + 1)

  /** `buffer` is the linear memory that holds the records. */
  constructor(registry: HandlerRegistry, buffer: ArrayBufferLike) {
    this.registry = registry
    this.i32 = new Int32Array(buffer, 0, buffer.byteLength >>> 2)
    this.u16 = new Uint16Array(buffer, 0, buffer.byteLength >>> 1)
    this.u8 = new Uint8Array(buffer)
  }

  /**
   * Prepares `records` records from `at`, which are `instructions` instructions lifted for `mode` from code that starts `pageOffset` bytes into its
   * page. At most {@link MAX_RECORDS} records.
   */
  prepare(at: number, records: number, instructions: number, mode: number, pageOffset: number): void {
    this.choose(at, records, mode)
    const { u8, u16, ids } = this
    // Chains of records that make the fewest steps; of equal ones the shorter first, so that branches keep their compare.
    const { steps } = this
    steps[records] = 0
    for (let i = records - 1; i >= 0; i--) {
      const record = at + i * UOP_SIZE
      let id = ids[i]!
      let best = id
      let fewest = steps[i + 1]!
      for (let j = i + 1; j < records; j++) {
        id = this.registry.findPair(id, ids[j]!)
        if (!id) break
        if (steps[j + 1]! < fewest) {
          fewest = steps[j + 1]!
          best = id
        }
      }
      steps[i] = fewest + 1
      u16[(record + UOP_HANDLER) >> 1] = best
      u8[record + UOP_INDEX] = instructions - u8[record + UOP_INDEX]!
      this.clearLinks(record, pageOffset)
    }
  }

  /** Chooses the handler of each of `records` lifted records from `at` by itself, and leaves the records alone. */
  choose(at: number, records: number, mode: number): void {
    const { u8, u16, ids } = this
    let seen = true
    for (let i = records - 1; i >= 0; i--) {
      const record = at + i * UOP_SIZE
      const op = u16[(record + UOP_OP) >> 1]!
      const kind = op >> 2
      let effect = flagEffect[kind & 127]!
      const last = i === records - 1 || u8[record + UOP_INDEX] !== u8[record + UOP_SIZE + UOP_INDEX]
      let id = this.select(record, kind, op & 3, mode, seen, last)
      if (id === HANDLER_BAIL) effect = FLAGS_SEEN
      else if (kind === UOP.SIMD && this.registry.bails(this.i32[(record + UOP_EXT) >> 2]!)) effect = FLAGS_SEEN
      else if (id === HANDLER_NOP && kind === UOP.CHECK_IP) effect = FLAGS_NEUTRAL
      else if (kind === UOP.STORE && this.probed(at, record)) effect = FLAGS_NEUTRAL
      if (kind >= UOP.SHL_IMM && kind <= UOP.RCR_IMM && id !== HANDLER_BAIL) {
        // A masked count of zero changes nothing, except that 32-bit writes clear the upper half.
        const count = this.i32[(record + UOP_IMM) >> 2]! & ((op & 3) === 3 ? 63 : 31)
        if (count === 0) {
          id = this.registry.find(UOP.MOV, op & 3, 0)
          effect = FLAGS_NEUTRAL
        }
      }
      if (effect === FLAGS_SEEN) seen = true
      else if (effect === FLAGS_SET) seen = false
      ids[i] = id
    }
  }

  /** True when an earlier record of the same instruction made sure that the store at `record` will not bail. */
  private probed(first: number, record: number): boolean {
    const index = this.u8[record + UOP_INDEX]
    for (let at = record - UOP_SIZE; at >= first && this.u8[at + UOP_INDEX] === index; at -= UOP_SIZE) {
      const kind = this.u16[(at + UOP_OP) >> 1]! >> 2
      if (kind === UOP.LOAD && this.i32[(at + UOP_EXT) >> 2]! & EXT_FOR_WRITE) return true
    }
    return false
  }

  private clearLinks(record: number, pageOffset: number): void {
    const kind = this.u16[(record + UOP_OP) >> 1]! >> 2
    const { i32 } = this
    for (const field of linkFields(kind))
      i32[(record + field) >> 2] =
        field === LINK_NEXT ? inPage(pageOffset + i32[(record + UOP_VALUE) >> 2]!) : this.link(record, pageOffset)
  }

  private link(record: number, pageOffset: number): number {
    const distance = this.i32[(record + UOP_IMM) >> 2]!
    if (this.i32[(record + UOP_IMM_HI) >> 2] !== distance >> 31) return LINK_NEVER
    return inPage(pageOffset + distance)
  }

  private select(record: number, kind: number, width: number, mode: number, seen: boolean, last: boolean): number {
    const { registry } = this
    const ext = this.i32[(record + UOP_EXT) >> 2]!
    const code64 = (mode & MODE_CODE_MASK) === MODE_CODE64
    switch (kind) {
      case UOP.LOAD:
      case UOP.LOAD_ZX:
      case UOP.LOAD_SX32:
      case UOP.LOAD_SX64:
      case UOP.STORE:
      case UOP.STORE_IMM: {
        const form = this.form(record, ext, code64)
        if (form < 0) return HANDLER_BAIL
        return registry.find(kind, width, form | (kind === UOP.LOAD && ext & EXT_FOR_WRITE ? FOR_WRITE : 0))
      }
      case UOP.LOAD_V:
      case UOP.STORE_V: {
        const form = this.form(record, ext, code64)
        if (form < 0) return HANDLER_BAIL
        const aligned = ext & EXT_ALIGNED ? ALIGNED : 0
        const temporary = kind === UOP.LOAD_V && width === 0 && this.u16[(record + UOP_A) >> 1]! >= SLOT_VTEMP
        return registry.find(kind, width, form | aligned | (temporary ? TEMPORARY : 0))
      }
      case UOP.SIMD:
        return registry.findSimd(ext, this.i32[(record + UOP_IMM) >> 2]!)
      case UOP.LEA: {
        const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
        const indexed = this.u16[(record + UOP_C) >> 1] === SLOT_ZERO ? 0 : 1
        return registry.find(kind, width, size === 0 ? 0 : size * 2 - 1 + indexed)
      }
      case UOP.PUSH:
      case UOP.PUSH_IMM:
      case UOP.PUSH_RIP:
      case UOP.POP:
      case UOP.LOAD_STACK:
      case UOP.ADD_SP: {
        const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
        const stack =
          size === 2 ? STACKS.FLAT64 : size === 0 ? STACKS.SEG16 : ext & EXT_FLAT ? STACKS.FLAT32 : STACKS.SEG32
        return registry.find(kind, width, stack)
      }
      case UOP.JMP:
      case UOP.CHECK_REL:
        return registry.find(kind, 0, targetOf(width, code64))
      case UOP.JCC:
        return registry.find(kind, 0, (ext & 15) | (targetOf(width, code64) << 4))
      case UOP.JCXZ:
      case UOP.LOOP: {
        const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
        const condition = kind === UOP.LOOP ? this.u16[(record + UOP_B) >> 1]! : 0
        return registry.find(kind, 0, loopVariant(size, targetOf(width, code64), condition))
      }
      case UOP.CHECK_IP:
        return registry.find(kind, width, code64 ? 1 : mode & MODE_FLAT_CS ? 0 : 2)
      case UOP.END:
        return registry.find(kind, 0, code64 ? 1 : 0)
      case UOP.HELPER:
        // What follows it in its instruction would not run.
        if (!last) return HANDLER_BAIL
        return registry.find(
          kind,
          0,
          helperVariant(ext, this.u16[(record + UOP_A) >> 1]!, this.u16[(record + UOP_B) >> 1]!, mode),
        )
      case UOP.X87:
        if (this.i32[(record + UOP_VALUE) >> 2] === 0) return HANDLER_BAIL
        return x87Handler(registry, x87Name(ext))
      case UOP.X87_MEM: {
        const form = this.form(record, ext, code64)
        const operation = this.i32[(record + UOP_VALUE) >> 2]!
        if (form < 0 || (operation & X87_QUIET) === 0) return HANDLER_BAIL
        return x87Handler(registry, x87MemoryName(operation & ~X87_QUIET, form))
      }
      case UOP.SETCC:
      case UOP.CMOV:
        return registry.find(kind, width, ext & 15)
      case UOP.MOVS:
      case UOP.CMPS:
      case UOP.STOS:
      case UOP.LODS:
      case UOP.SCAS: {
        const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
        if (code64 && size !== 2) return HANDLER_BAIL
        return registry.find(kind, width, stringVariant(size, this.u16[(record + UOP_B) >> 1]!))
      }
      default:
        if (hasQuietForm[kind & 127]) return registry.find(kind, width, seen ? WITH_FLAGS : NO_FLAGS)
        return registry.find(kind, width, 0)
    }
  }

  /** FORMS of a memory record, or −1. */
  private form(record: number, ext: number, code64: boolean): number {
    const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
    const indexed = this.u16[(record + UOP_C) >> 1] !== SLOT_ZERO
    if (ext & EXT_FLAT) {
      if (size === 1) return indexed ? FORMS.FLAT32_X : FORMS.FLAT32_D
      if (size === 2) return indexed ? FORMS.FLAT64_X : FORMS.FLAT64_D
    }
    if (code64) {
      const segment = (ext >> EXT_SEG_SHIFT) & EXT_SEG_MASK
      return size === 2 && segment >= SEG_FS ? FORMS.BASE64 : -1
    }
    return size === 0 ? FORMS.SEG16 : size === 1 ? FORMS.SEG32 : -1
  }
}

function inPage(offset: number): number {
  return offset >= 0 && offset < 4096 ? LINK_UNKNOWN : LINK_NEVER
}

function targetOf(width: number, code64: boolean): Target {
  return width === 1 ? TARGETS.W16 : code64 ? TARGETS.W64 : TARGETS.W32
}
