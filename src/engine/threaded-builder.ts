/**
 * What every threaded handler is built with: the machine registers of the loop, the fields of the record it runs, and the ways to
 * leave. A handler body is written once; a {@link Dispatch} decides whether bodies become functions that tail-call
 * each other or the arms of one `br_table` loop.
 *
 * A handler implements the fast path only. Whatever is unusual *bails*: with the state as it was before the current instruction,
 * the host runs that one on the reference engine.
 */

import {
  DTLB_ENTRIES,
  OFF_DTLB,
  OFF_ENGINE,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_REMAINING,
  OFF_RIP,
  OFF_SEG,
  OFF_TAG_SELECT,
  SEG_BASE,
  SEG_READ_LIMIT,
  SEG_WRITE_LIMIT,
  SLOT_GPR,
  TLB_ADDEND,
  TLB_TAG_SUPER_READ,
  TLB_TAG_SUPER_WRITE,
} from '../cpu/layout.js'
import {
  EXT_SEG_MASK,
  EXT_SEG_SHIFT,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_IMM,
  UOP_INDEX,
  UOP_IP,
  UOP_SIZE,
} from '../cpu/uops.js'
import type { X87Functions } from './threaded-x87-functions.js'
import {
  type Code,
  call,
  getLocal,
  I32,
  I64,
  type IntegerOps,
  i32,
  i64,
  ifElse,
  type Load,
  ret,
  type Store,
  setLocal,
  teeLocal,
  type ValueType,
} from './wasm-emitter.js'

/** Parameters of every handler: the record, the CPU block, the budget, and the RIP at the start of the block. */
export const PC = 0
export const BASE = 1
export const REMAINING = 2
export const RIP = 3
export const HANDLER_PARAMS: readonly ValueType[] = [I32, I32, I32, I64]

export const pc: Code = getLocal(PC)
export const base: Code = getLocal(BASE)
export const remaining: Code = getLocal(REMAINING)
export const rip: Code = getLocal(RIP)

/** Header of a block: one record's worth of bytes before its first record. */
export const BLOCK_HEADER_SIZE: number = UOP_SIZE
/** u32: instructions. */
export const BLOCK_COUNT = 0
/** u32: bytes of code. */
export const BLOCK_BYTES = 4
/** u32: where the first code byte is in linear memory. */
export const BLOCK_PLACE = 8
/** u32: OFF_MODE for which it was lifted. */
export const BLOCK_MODE = 12
/** u32: records. */
export const BLOCK_RECORDS = 16
/** i32: instructions that the block may still run before its engine has a look at it; used by an engine that translates. */
export const BLOCK_HEAT = 20
/** u32: the next block in its hash chain, or 0. */
export const BLOCK_HASH_NEXT = 24
/** u32: the next block of its page, or 0. */
export const BLOCK_PAGE_NEXT = 28

/** i32 in the CPU block: address of the link field that an EXIT_LINK asks to be filled. */
export const OFF_LINK_SITE: number = OFF_ENGINE
/** i64 each: how often regions were left, by {@link REGION_EXITS}. */
export const OFF_REGION_EXITS: number = OFF_ENGINE + 0x10
/** The ways out of a region: for a single step, a helper, the end of the budget, through the jump cache, through a link. */
export const REGION_EXITS = ['step', 'helper', 'budget', 'jump', 'follow'] as const
export type RegionExit = (typeof REGION_EXITS)[number]
/** i64: instructions that ran in regions; counted only while a profiler measures. */
export const OFF_REGION_INSTRUCTIONS: number = OFF_ENGINE + 0x38
/** The jump cache: entries of i64 linear address, i32 block (0 = empty), i32 unused. */
export const OFF_JUMP_CACHE: number = OFF_ENGINE + 0x40
export const JUMP_CACHE_BITS = 12
/** An address's entry: the top bits of its low half times this. Plain low bits would make functions at page starts collide. */
export const JUMP_CACHE_MULTIPLIER = 0x9e3779b1
export const JUMP_CACHE_SHIFT = 4

/** 40 bytes in the CPU block: see threaded-memory-functions.ts. */
export const OFF_WINDOW: number = OFF_JUMP_CACHE + (1 << (JUMP_CACHE_BITS + JUMP_CACHE_SHIFT))

/**
 * What `find` is told of an access, beside its size from bit 1 on: it writes; more elements may follow up to the end of the page; it may lie across
 * two pages.
 */
export const ACCESS_WRITE = 1
export const ACCESS_RUN = 0x100
export const ACCESS_CROSS = 0x200

/** Why the loop was left. */
export const EXIT_BUDGET = 0
/** RIP was reached and no block for it is cached. */
export const EXIT_LOOKUP = 1
/** The same, and the block belongs into the link at OFF_LINK_SITE. */
export const EXIT_LINK = 2
/** The host wants to return. */
export const EXIT_STOP = 3
/** The block at OFF_LINK_SITE, which is at RIP, has run often. */
export const EXIT_HOT = 4

/** A link field: not looked up yet, or goes through the jump cache for good. Else the address of a block header. */
export const LINK_UNKNOWN = 0
export const LINK_NEVER = 1

/** The ways out that handlers share. */
export type Tail = 'bail' | 'budget' | 'jump' | 'link' | 'hot'

/** Indices of the functions of threaded-memory-functions.ts. */
export interface SharedFunctions {
  /** (base, linear, access) → the place of an access that the TLB's tags did not settle, or 0. A store with ACCESS_CROSS has to be committed. */
  readonly find: number
  /** (base, place): a store at a place that `find` gave has been made. */
  readonly commit: number
  /** (target, source, bytes, down). */
  readonly move: number
  /** (target, bytes, pattern). */
  readonly fill: number
  /** (first, second, immediate, lengths): see threaded-compare-strings.ts. */
  readonly compareStrings: number
}

/** How control gets from one record to the next. */
export interface Dispatch {
  /** Goes on with the record at PC. */
  run(): Code
  tail(which: Tail): Code
  /** A scratch local. */
  local(type: ValueType): number
  readonly shared: SharedFunctions
  /** Blocks count down their heat. */
  readonly heats: boolean
  /** Function (CPU block, linear address) → 1 when the instruction TLB's entry was made good. */
  readonly fetch: number
  /** Function indices of the imports `helper` and `step`. */
  readonly helper: number
  readonly step: number
  /** The x87's arithmetic. */
  readonly x87: X87Functions
}

/** Operand width: the operations for it, and how its values get in and out of slots. */
export interface Width {
  readonly index: 0 | 1 | 2 | 3
  readonly bits: 8 | 16 | 32 | 64
  readonly bytes: 1 | 2 | 4 | 8
  /** i32 for widths to 32 bits, else i64. */
  readonly ops: IntegerOps
  /** Zero-extended. */
  readonly load: Load
  readonly loadS: Load
  /** To guest memory. */
  readonly store: Store
  /** To a register slot: a 32-bit write clears bits 63–32. */
  readonly storeSlot: Store
  /** The i64 sign-extended from this width. */
  signed(value: Code): Code
  /** The i32 of the low 32 bits. */
  low(value: Code): Code
  /** From i64. */
  narrow(value: Code): Code
}

function makeWidth(index: 0 | 1 | 2 | 3): Width {
  const bits = (8 << index) as 8 | 16 | 32 | 64
  const bytes = (1 << index) as 1 | 2 | 4 | 8
  if (index === 3) {
    const same = (value: Code): Code => value
    return {
      index,
      bits,
      bytes,
      ops: i64,
      load: i64.load,
      loadS: i64.load,
      store: i64.store,
      storeSlot: i64.store,
      signed: same,
      low: i32.wrap,
      narrow: same,
    }
  }
  return {
    index,
    bits,
    bytes,
    ops: i32,
    load: [i32.load8U, i32.load16U, i32.load][index]!,
    loadS: [i32.load8S, i32.load16S, i32.load][index]!,
    store: [i32.store8, i32.store16, i32.store][index]!,
    storeSlot: [i32.store8, i32.store16, ((a, v, o) => i64.store(a, i64.extendU(v), o)) as Store][index]!,
    signed: (v) => i64.extendS(index === 0 ? i32.extend8S(v) : index === 1 ? i32.extend16S(v) : v),
    low: (v) => v,
    narrow: i32.wrap,
  }
}

export const WIDTHS: readonly [Width, Width, Width, Width] = [makeWidth(0), makeWidth(1), makeWidth(2), makeWidth(3)]

/** Address forms that handlers are specialised for. "D" has no index register. */
export const FORMS = {
  FLAT32_D: 0,
  FLAT32_X: 1,
  FLAT64_D: 2,
  FLAT64_X: 3,
  /** 16-bit offset in a segment with base and limit. */
  SEG16: 4,
  SEG32: 5,
  /** 64-bit offset plus the base of FS or GS. */
  BASE64: 6,
} as const
export type Form = (typeof FORMS)[keyof typeof FORMS]
export const FORM_COUNT = 7

/** Builds the bodies of one handler, which may consist of several records. */
export class HandlerBuilder {
  readonly dispatch: Dispatch
  /** Bytes from PC to the record whose body is being built. */
  at = 0

  constructor(dispatch: Dispatch) {
    this.dispatch = dispatch
  }

  local(type: ValueType): number {
    return this.dispatch.local(type)
  }

  // --- fields and slots -------------------------------------------------------------------------------------------

  /** Address of the first record of the handler. */
  get pc(): Code {
    return pc
  }
  /** RIP at the start of the block. */
  get rip(): Code {
    return rip
  }
  field8(offset: number): Code {
    return i32.load8U(this.pc, this.at + offset)
  }
  field16(offset: number): Code {
    return i32.load16U(this.pc, this.at + offset)
  }
  field32(offset: number): Code {
    return i32.load(this.pc, this.at + offset)
  }
  field64(offset: number): Code {
    return i64.load(this.pc, this.at + offset)
  }
  /** The i32 in a field, sign-extended to 64 bits. */
  field32S(offset: number): Code {
    return i64.load32S(this.pc, this.at + offset)
  }
  /** Address of the slot that a field names. */
  slot(field: number): Code {
    return i32.add(base, this.field16(field))
  }
  read(w: Width, field: number): Code {
    return w.load(this.slot(field))
  }
  readSigned(w: Width, field: number): Code {
    return w.loadS(this.slot(field))
  }
  write(w: Width, field: number, value: Code): Code {
    return w.storeSlot(this.slot(field), value)
  }
  /** Bits 15–8 of general register `register` ← the low byte of an i32. */
  writeHigh(register: number, value: Code): Code {
    return i32.store8(base, value, gpr(register) + 1)
  }
  /** The immediate at the op's width, zero-extended. */
  immediate(w: Width, signed = false): Code {
    return (signed ? w.loadS : w.load)(this.pc, this.at + UOP_IMM)
  }
  /** General register `register`, zero-extended. */
  readRegister(w: Width, register: number): Code {
    return w.load(base, gpr(register))
  }
  readRegisterSigned(w: Width, register: number): Code {
    return w.loadS(base, gpr(register))
  }
  writeRegister(w: Width, register: number, value: Code): Code {
    return w.storeSlot(base, value, gpr(register))
  }
  /** Keeps `value` in a new local: [the code that sets it, the code that reads it]. */
  keep(type: ValueType, value: Code): [Code, Code] {
    const index = this.local(type)
    return [setLocal(index, value), getLocal(index)]
  }

  // --- leaving ----------------------------------------------------------------------------------------------------

  /** Leaves the loop before the current instruction. */
  bail(): Code {
    return [this.at ? setLocal(PC, i32.add(pc, i32.const(this.at))) : [], this.dispatch.tail('bail')]
  }
  bailIf(condition: Code): Code {
    return ifElse(condition, this.bail())
  }
  /** The instruction is the helper's; then on to wherever RIP is. */
  leaveForHelper(): Code {
    return [
      i64.store(base, i64.add(this.rip, i64.extendU(this.field16(UOP_IP))), OFF_RIP),
      i32.store(base, i32.add(remaining, this.field8(UOP_INDEX)), OFF_REMAINING),
      ifElse(call(this.dispatch.helper, i32.add(this.pc, i32.const(this.at))), ret(i32.const(EXIT_STOP))),
      setLocal(RIP, i64.load(base, OFF_RIP)),
      setLocal(REMAINING, i32.load(base, OFF_REMAINING)),
      this.dispatch.tail('jump'),
    ]
  }
  /** The fast path of a helper's instruction is done: goes on with the instruction at the i64 local `next`. */
  proceed(next: number): Code {
    return [
      setLocal(RIP, getLocal(next)),
      setLocal(REMAINING, i32.add(remaining, i32.sub(this.field8(UOP_INDEX), i32.const(1)))),
      this.dispatch.tail('jump'),
    ]
  }
  /** The instruction is the helper's unless `condition` holds. */
  helperUnless(condition: Code): Code {
    return ifElse(i32.eqz(condition), this.leaveForHelper())
  }
  /** Goes on with the record after the `records` that were built. */
  next(records: number): Code {
    return [setLocal(PC, i32.add(pc, i32.const(records * UOP_SIZE))), this.dispatch.run()]
  }
  /** Goes to the block at RIP, which the caller has set; the link is the i32 at `linkField` of the record. */
  follow(linkField: number): Code {
    return followLink(this.dispatch, i32.add(pc, i32.const(this.at + linkField)))
  }

  // --- flags (see cpu/flags.ts) -----------------------------------------------------------------------------------

  flagResult(w: Width, value: Code): Code {
    return i64.store(base, w.signed(value), OFF_FLAG_RESULT)
  }
  flagAux(value: Code): Code {
    return i32.store(base, value, OFF_FLAG_AUX)
  }
  /** Flags of x ± y, or with a carry going in: r is the result. */
  arithmeticFlags(w: Width, op: 'add' | 'sub', x: Code, y: Code, r: Code): Code {
    const carries = op === 'add' ? carriesOfAdd(w, x, y, r) : carriesOfSub(w, x, y, r)
    return [this.flagResult(w, r), this.flagAux(this.auxOfCarries(w, carries))]
  }
  /** Flags of a logical operation with result r. */
  logicFlags(w: Width, r: Code): Code {
    return [this.flagResult(w, r), this.flagAux(i32.const(0))]
  }
  /** Flags of r = x ± 1 with CF kept. CF xor OF is stored, so it follows the old CF. */
  stepFlags(w: Width, up: boolean, x: Code, r: Code): Code {
    const one = w.ops.const(1)
    const [setAux, aux] = this.keep(
      I32,
      this.auxOfCarries(w, up ? carriesOfAdd(w, x, one, r) : carriesOfSub(w, x, one, r)),
    )
    const [setCarry, carry] = this.keep(I32, i32.and(this.readAux(), i32.const(0x80000000)))
    return [setAux, setCarry, this.flagResult(w, r), this.flagAux(stepAux(aux, carry))]
  }
  /** Flags of a left shift, or of a right shift that fills with zeros or with the sign, of x by n, which is not 0. */
  shiftFlags(w: Width, op: 'SHL' | 'SHR' | 'SAR', x: Code, n: Code, r: Code): Code {
    const [setAux, aux] = this.keep(I32, shiftAux(w, op, x, n, r))
    return [setAux, this.flagResult(w, r), this.flagAux(aux)]
  }
  readAux(): Code {
    return i32.load(base, OFF_FLAG_AUX)
  }
  readResult(): Code {
    return i64.load(base, OFF_FLAG_RESULT)
  }
  carry(): Code {
    return i32.shrU(this.readAux(), i32.const(31))
  }
  /** `aux` from the vector of carries out of every bit of an operation of width `w`. */
  auxOfCarries(w: Width, carries: Code): Code {
    if (w.index === 2) return i32.and(carries, i32.const(0xc0000008))
    if (w.index === 3) {
      const [set, get] = this.keep(I64, carries)
      return [
        set,
        i32.or(
          i32.and(i32.wrap(i64.shrU(get, i64.const(32))), i32.const(0xc0000000)),
          i32.and(i32.wrap(get), i32.const(8)),
        ),
      ]
    }
    const [set, get] = this.keep(I32, carries)
    const up = i32.const(32 - w.bits)
    return [set, i32.or(i32.and(i32.shl(get, up), i32.const(0xc0000000)), i32.and(get, i32.const(8)))]
  }
  /** Condition code 0–15 of the instruction encodings, as 0 or 1. */
  condition(code: number): Code {
    const aux = this.readAux()
    const zero = i64.eqz(this.readResult())
    const below = i32.shrU(aux, i32.const(31))
    const sign = i32.xor(i32.wrap(i64.shrU(this.readResult(), i64.const(63))), i32.and(aux, i32.const(1)))
    const overflow = i32.shrU(i32.xor(aux, i32.shl(aux, i32.const(1))), i32.const(31))
    const parityOdd = i32.and(
      i32.popcnt(i32.and(i32.xor(i32.wrap(this.readResult()), i32.shrU(aux, i32.const(8))), i32.const(0xff))),
      i32.const(1),
    )
    const less = i32.xor(sign, overflow)
    const positive: readonly Code[] = [
      overflow,
      below,
      zero,
      i32.or(below, zero),
      sign,
      i32.eqz(parityOdd),
      less,
      i32.or(less, zero),
    ]
    const value = positive[code >> 1]!
    return code & 1 ? i32.eqz(value) : value
  }

  // --- memory -----------------------------------------------------------------------------------------------------

  /** Sets `linear` (an i64 local) to the linear address of the record's operand; checks the segment's limit for `bytes`. */
  address(form: Form, linear: number, bytes: number, write: boolean): Code {
    const scale = i32.and(this.field32(UOP_EXT), i32.const(3))
    const narrow = (load: Load, indexed: boolean): Code => {
      const start = i32.add(load(this.slot(UOP_B)), this.field32(UOP_IMM))
      return indexed ? i32.add(start, i32.shl(load(this.slot(UOP_C)), scale)) : start
    }
    const wide = (indexed: boolean): Code => {
      const start = i64.add(i64.load(this.slot(UOP_B)), this.field64(UOP_IMM))
      return indexed ? i64.add(start, i64.shl(i64.load(this.slot(UOP_C)), i64.extendU(scale))) : start
    }
    switch (form) {
      case FORMS.FLAT32_D:
        return setLocal(linear, i64.extendU(narrow(i32.load, false)))
      case FORMS.FLAT32_X:
        return setLocal(linear, i64.extendU(narrow(i32.load, true)))
      case FORMS.FLAT64_D:
        return setLocal(linear, wide(false))
      case FORMS.FLAT64_X:
        return setLocal(linear, wide(true))
      case FORMS.BASE64:
        return setLocal(linear, i64.add(wide(true), i64.load(this.segment(), OFF_SEG + SEG_BASE)))
      case FORMS.SEG16:
        return this.throughSegment(
          this.segment(),
          i64.extendU(i32.and(narrow(i32.load16U, true), i32.const(0xffff))),
          linear,
          bytes,
          write,
        )
      case FORMS.SEG32:
        return this.throughSegment(this.segment(), i64.extendU(narrow(i32.load, true)), linear, bytes, write)
    }
  }

  /** Address of the record's segment cache, less OFF_SEG. */
  segment(): Code {
    // (ext >> 4 & 7) * 64
    const shifted = i32.shl(
      i32.and(this.field32(UOP_EXT), i32.const(EXT_SEG_MASK << EXT_SEG_SHIFT)),
      i32.const(6 - EXT_SEG_SHIFT),
    )
    return i32.add(base, shifted)
  }

  /** linear ← segment base + offset, modulo 2^32, after the limit check. */
  throughSegment(segment: Code, offset: Code, linear: number, bytes: number, write: boolean): Code {
    const at = this.local(I32)
    return [
      setLocal(at, segment),
      setLocal(linear, offset),
      this.bailIf(
        i64.gtS(
          i64.add(getLocal(linear), i64.const(bytes - 1)),
          i64.load(getLocal(at), OFF_SEG + (write ? SEG_WRITE_LIMIT : SEG_READ_LIMIT)),
        ),
      ),
      setLocal(
        linear,
        i64.and(i64.add(getLocal(linear), i64.load(getLocal(at), OFF_SEG + SEG_BASE)), i64.const(0xffffffff)),
      ),
    ]
  }

  /** Sets `place` (an i32 local) to where `bytes` bytes at `linear` are in memory, or bails. `kind`: ACCESS_RUN, ACCESS_CROSS. */
  translate(linear: number, place: number, bytes: number, write: boolean, kind = 0): Code {
    const access = (write ? ACCESS_WRITE : 0) | (bytes << 1) | kind
    const entry = this.local(I32)
    const tagOffset = OFF_DTLB + (write ? TLB_TAG_SUPER_WRITE : TLB_TAG_SUPER_READ)
    const last = bytes === 1 ? getLocal(linear) : i64.add(getLocal(linear), i64.const(bytes - 1))
    return [
      setLocal(entry, tlbEntry(i32.wrap(getLocal(linear)), DTLB_ENTRIES)),
      ifElse(
        i64.ne(
          i64.load(i32.add(getLocal(entry), i32.load(base, OFF_TAG_SELECT)), tagOffset),
          i64.and(last, i64.const(-4096)),
        ),
        [
          setLocal(place, call(this.dispatch.shared.find, base, getLocal(linear), i32.const(access))),
          this.bailIf(i32.eqz(getLocal(place))),
        ],
        setLocal(place, i32.add(i32.load(getLocal(entry), OFF_DTLB + TLB_ADDEND), i32.wrap(getLocal(linear)))),
      ),
    ]
  }

  /** The operand's place in memory as [code that finds it, code that reads it]. What is read may lie across two pages. */
  operand(form: Form, bytes: number, write: boolean): [Code, Code] {
    const linear = this.local(I64)
    const place = this.local(I32)
    const find = this.translate(linear, place, bytes, write, write ? 0 : ACCESS_CROSS)
    return [[this.address(form, linear, bytes, write), find], getLocal(place)]
  }
}

/** Carries out of every bit of x + y + c = r. */
export function carriesOfAdd(w: Width, x: Code, y: Code, r: Code): Code {
  const o = w.ops
  return o.or(o.and(x, y), o.and(o.or(x, y), o.xor(r, o.const(-1))))
}
/** Borrows out of every bit of x − y − c = r. */
export function carriesOfSub(w: Width, x: Code, y: Code, r: Code): Code {
  const o = w.ops
  const notX = o.xor(x, o.const(-1))
  return o.or(o.and(notX, y), o.and(o.or(notX, y), r))
}

/** `aux` of x ± 1, from that of the plain sum and the old CF in bit 31. */
export function stepAux(aux: Code, carry: Code): Code {
  // OF = bit 31 ^ bit 30 of the sum's aux; CF = the old one.
  const overflow = i32.and(i32.xor(i32.shrU(aux, i32.const(1)), aux), i32.const(0x40000000))
  return i32.or(i32.or(carry, i32.and(aux, i32.const(8))), i32.xor(i32.shrU(carry, i32.const(1)), overflow))
}

/** `aux` of a shift of x by n ≠ 0 with result r. Undefined flags: OF as the one-bit rule applied to the result, AF clear. */
export function shiftAux(w: Width, op: 'SHL' | 'SHR' | 'SAR', x: Code, n: Code, r: Code): Code {
  const o = w.ops
  const count = w.index === 3 ? i64.extendU(n) : n
  const bit = (value: Code, at: Code): Code => w.low(o.and(o.shrU(value, at), o.const(1)))
  const top = w.bits - 1
  if (op === 'SHL') {
    // The last bit out: bit (bits − n) of x. OF = MSB of the result xor CF, so CF xor OF = that MSB.
    const out = w.index <= 1 ? bit(r, o.const(w.bits)) : bit(x, o.sub(o.const(w.bits), count))
    return i32.or(i32.shl(out, i32.const(31)), i32.shl(bit(r, o.const(top)), i32.const(30)))
  }
  const shift = op === 'SAR' ? o.shrS : o.shrU
  const out = w.low(o.and(shift(x, o.sub(count, o.const(1))), o.const(1)))
  // SHR: OF = the two top bits of the result differ (for n = 1: the old MSB). SAR: OF = 0.
  const po = op === 'SAR' ? out : i32.xor(out, i32.xor(bit(r, o.const(top)), bit(r, o.const(top - 1))))
  return i32.or(i32.shl(out, i32.const(31)), i32.shl(po, i32.const(30)))
}

/** Goes to the block at RIP, which the caller has set; `site` is the address of the link. */
export function followLink(dispatch: Dispatch, site: Code): Code {
  const at = dispatch.local(I32)
  const block = dispatch.local(I32)
  const count = dispatch.local(I32)
  return [
    setLocal(block, i32.load(teeLocal(at, site))),
    ifElse(i32.leU(getLocal(block), i32.const(LINK_NEVER)), [
      ifElse(getLocal(block), dispatch.tail('jump')),
      i32.store(base, getLocal(at), OFF_LINK_SITE),
      dispatch.tail('link'),
    ]),
    ifElse(i32.ltS(remaining, teeLocal(count, i32.load(getLocal(block), BLOCK_COUNT))), dispatch.tail('budget')),
    enterBlock(dispatch, getLocal(block), getLocal(count)),
  ]
}

/** Runs `block`, whose instructions, `count` many, the budget covers. */
export function enterBlock(dispatch: Dispatch, block: Code, count: Code): Code {
  return [
    dispatch.heats ? heat(dispatch, block, count) : [],
    // RIP-relative operands and helpers find the block's start there.
    i64.store(base, rip, OFF_RIP),
    setLocal(REMAINING, i32.sub(remaining, count)),
    setLocal(PC, i32.add(block, i32.const(BLOCK_HEADER_SIZE))),
    dispatch.run(),
  ]
}

/** Takes the block's instructions off its heat, and leaves when that is used up. */
function heat(dispatch: Dispatch, block: Code, count: Code): Code {
  const left = dispatch.local(I32)
  return [
    i32.store(block, teeLocal(left, i32.sub(i32.load(block, BLOCK_HEAT), count)), BLOCK_HEAT),
    ifElse(i32.ltS(getLocal(left), i32.const(0)), [i32.store(base, block, OFF_LINK_SITE), dispatch.tail('hot')]),
  ]
}

/** Base of the CPU block plus the offset of the entry for a page: (linear >> 12 & (entries − 1)) << 6, less the table's offset. */
export function tlbEntry(linear: Code, entries: number): Code {
  return i32.add(base, i32.and(i32.shrU(linear, i32.const(6)), i32.const((entries - 1) << 6)))
}

/** Address of general register `reg`, to be added to an offset of 0. */
export function gpr(reg: number): number {
  return SLOT_GPR + reg * 8
}
