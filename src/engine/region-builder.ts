/**
 * Builds the code of a region from the bodies of the threaded engine's handlers: what those read from a record at run time is known here, general
 * registers and temporaries live in locals, and flags are remembered instead of computed (region-flags.ts). Handlers of what is rare or rich
 * work on the state block as ever, between code that brings it up to date and code that reads it back.
 */

import {
  DTLB_ENTRIES,
  ITLB_ENTRIES,
  MODE_CODE_MASK,
  MODE_CODE64,
  OFF_DTLB,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_ITLB,
  OFF_MODE,
  OFF_RIP,
  SLOT_GPR,
  SLOT_TEMP,
  SLOT_ZERO,
  TLB_ADDEND,
  TLB_TAG_SUPER_READ,
  TLB_TAG_SUPER_WRITE,
} from '../cpu/layout.js'
import {
  EXT_SCALE_MASK,
  EXT_SEG_MASK,
  EXT_SEG_SHIFT,
  UOP,
  type UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_IMM,
  UOP_IMM_HI,
  UOP_INDEX,
  UOP_IP,
  UOP_OP,
} from '../cpu/uops.js'
import { carryOf, conditionOf, flagsOf, type Operands, SETTER } from './region-flags.js'
import { pageKey } from './region-pages.js'
import { RegionX87 } from './region-x87.js'
import {
  ACCESS_WRITE,
  base,
  type Dispatch,
  FORMS,
  type Form,
  gpr,
  HANDLER_PARAMS,
  HandlerBuilder,
  OFF_REGION_EXITS,
  OFF_REGION_INSTRUCTIONS,
  PC,
  pc,
  REGION_EXITS,
  REMAINING,
  type RegionExit,
  RIP,
  remaining,
  rip,
  type Tail,
  type Width,
} from './threaded-builder.js'
import {
  block,
  blockOf,
  branch,
  branchIf,
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  isConstant,
  type Label,
  Locals,
  label,
  returnCall,
  setLocal,
  teeLocal,
  unreachable,
  type ValueType,
} from './wasm-emitter.js'

/** {@link RegionBuilder.flags}: what set the flags is known at run time only, in the local of that name. */
export const SETTER_UNKNOWN = -1

/** Where the lifted records of a block are, and the block itself. */
export interface RegionBlock {
  /** Its header in the store. */
  readonly block: number
  /** Byte offset in its page. */
  readonly offset: number
  /** Linear address of that page, less that of the page of the region's first block. */
  readonly page: number
  /** Where its page is in linear memory. */
  readonly place: number
  /** Where its indirect jump went last, counted as {@link page}. */
  readonly last: number | undefined
  /** Instructions and bytes. */
  readonly count: number
  readonly bytes: number
  /** First record of its first instruction in the store, and of the copy that was lifted for translation. */
  readonly stored: number
  lifted: number
  /** Records of the copy. */
  records: number
  /** Control may arrive from outside of the region. */
  entry: boolean
}

/** Functions of the threaded module that regions call, by name; gives the function's index in the region's module. */
export type RegionImports = (name: string) => number

/** Not the address of a page. */
const NO_PAGE = -1
/** Where the description of an exit has the instructions that will not run, at most 127, and what set the flags; below them the offset in the page. */
const BACK_SHIFT = 12
const BACK_MASK = 0x7f
const SETTER_SHIFT = 19
/** Slots of registers and temporaries, 8 bytes each. */
const SLOTS = SLOT_ZERO / 8
const TEMP_FIRST = SLOT_TEMP / 8

export class RegionBuilder extends HandlerBuilder {
  /** The CPU block's address, which the code holds as a constant. */
  readonly cpu: number
  /** 0, or 16 where the code runs at privilege level 3: see OFF_TAG_SELECT. */
  readonly tagSelect: number
  readonly locals: Locals = new Locals(HANDLER_PARAMS.length)
  /** RIP where the page starts that holds the block. */
  readonly origin: number
  /** The budget at the entry, where the instructions of regions are counted. */
  private readonly entered: number | undefined
  /** The setter of the flags where it is known only at run time, and their operands. */
  readonly setter: number
  private readonly x: number
  private readonly y: number
  private readonly z: number
  /** What set the flags last, at the place where code is being built: a SETTER or {@link SETTER_UNKNOWN}. */
  flags: number = SETTER.MEMORY
  /** The x87's state. */
  readonly x87: RegionX87 = new RegionX87(this)
  /** Ways out that every exit shares. */
  readonly exits: Readonly<Record<RegionExit, Label>> = {
    step: label(),
    helper: label(),
    budget: label(),
    jump: label(),
    follow: label(),
  }

  /** Ways out that store flags first. */
  private readonly flagExits: { readonly exit: 'jump' | 'follow'; readonly flags: number; readonly target: Label }[] =
    []

  private readonly imports: RegionImports
  private readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly i32s: Int32Array
  /** Locals that hold the page which accesses of a key met last, and its addend. */
  private readonly pages = new Map<number, { readonly page: number; readonly addend: number }>()
  /** Makes them forget. */
  private readonly forgetting: Code[] = []
  /** The record being built, and its block. */
  private record = 0
  private kind = 0
  private current: RegionBlock | undefined
  /** `flags` where the current record starts: what holds when it bails. */
  private flagsBefore = 0
  /** The current handler works on the state block alone. */
  private inMemory = false
  /** Locals of registers and temporaries, by slot / 8; 0 = none yet. */
  private readonly slotLocals = new Int32Array(SLOTS)
  /** Slots that are written somewhere in the region. */
  private readonly written = new Uint8Array(SLOTS)
  /** Temporaries that the current instruction has written. */
  private temporaries = 0
  private index = -1
  /** Filled in by {@link finish}: stores of all written registers. */
  private readonly flushing: Code[] = []
  /** How to go on after a handler that works on the state block and links to another block. */
  private afterLink: ((linkField: number) => Code) | undefined

  /** `counts`: the code counts its instructions. */
  constructor(buffer: ArrayBufferLike, cpu: number, tagSelect: number, imports: RegionImports, counts = false) {
    const dispatch: Dispatch = {
      run: () => {
        throw new RangeError('regions do not run records')
      },
      tail: (which) => this.leave(which),
      local: (type) => this.local(type),
      heats: false,
      shared: new Proxy({} as Dispatch['shared'], { get: (_, name) => imports(String(name)) }),
      get fetch(): number {
        throw new RangeError('regions do not fetch')
      },
      get helper(): number {
        throw new RangeError('regions leave for helpers')
      },
      get step(): number {
        throw new RangeError('regions leave for single steps')
      },
      x87: new Proxy({} as Dispatch['x87'], { get: (_, name) => imports(`x87.${String(name)}`) }),
    }
    super(dispatch)
    this.u8 = new Uint8Array(buffer)
    this.u16 = new Uint16Array(buffer, 0, buffer.byteLength >>> 1)
    this.i32s = new Int32Array(buffer, 0, buffer.byteLength >>> 2)
    this.cpu = cpu
    this.tagSelect = tagSelect
    this.imports = imports
    this.origin = this.variable(I64)
    this.entered = counts ? this.variable(I32) : undefined
    this.setter = this.variable(I32)
    this.x = this.variable(I64)
    this.y = this.variable(I64)
    this.z = this.variable(I64)
  }

  // --- locals -------------------------------------------------------------------------------------------------------

  /** A local that lives through the whole region. */
  variable(type: ValueType): number {
    return this.locals.add(type)
  }

  /** A local of the current record. */
  override local(type: ValueType): number {
    return this.locals.scratch(type)
  }

  override keep(type: ValueType, value: Code): [Code, Code] {
    return isConstant(value) ? [[], value] : super.keep(type, value)
  }

  private slotLocal(slot: number): number {
    const n = slot >> 3
    let at = this.slotLocals[n]!
    if (at === 0) {
      at = this.variable(I64)
      this.slotLocals[n] = at
    }
    return at
  }

  private noteWrite(slot: number): void {
    const n = slot >> 3
    this.written[n] = 1
    if (n >= TEMP_FIRST) this.temporaries |= 1 << (n - TEMP_FIRST)
  }

  // --- records ------------------------------------------------------------------------------------------------------

  /** Goes on to the block's record number `n` of its copy. */
  begin(block: RegionBlock, n: number): void {
    this.current = block
    this.record = block.lifted + n * 32
    this.kind = this.u16[(this.record + UOP_OP) >> 1]! >> 2
    this.locals.release()
    this.flagsBefore = this.flags
    const index = this.u8[this.record + UOP_INDEX]!
    if (index !== this.index || n === 0) this.temporaries = 0
    this.index = index
  }

  number16(field: number): number {
    return this.u16[(this.record + field) >> 1]!
  }
  number32(field: number): number {
    return this.i32s[(this.record + field) >> 2]!
  }

  /** The record in the store that the current one is a copy of. */
  override get pc(): Code {
    if (this.current === undefined) return pc
    return i32.const(this.current.stored + this.record - this.current.lifted)
  }
  override get rip(): Code {
    const offset = this.current?.offset ?? 0
    return i64.add(getLocal(this.origin), i64.const(offset))
  }
  override field8(offset: number): Code {
    // In a prepared record the ordinal counts from the end.
    if (offset === UOP_INDEX) return i32.const(this.back)
    return i32.const(this.u8[this.record + offset]!)
  }
  override field16(offset: number): Code {
    return i32.const(this.number16(offset))
  }
  override field32(offset: number): Code {
    return i32.const(this.number32(offset))
  }
  override field32S(offset: number): Code {
    return i64.const(this.number32(offset))
  }
  override field64(offset: number): Code {
    return i64.const(this.number64(offset))
  }
  private number64(offset: number): number | bigint {
    const low = this.number32(offset)
    const high = this.number32(offset + 4)
    if (high === low >> 31) return low
    return (BigInt(high) << 32n) | BigInt(low >>> 0)
  }
  override immediate(w: Width, signed = false): Code {
    const low = this.number32(UOP_IMM)
    switch (w.index) {
      case 0:
        return i32.const(signed ? (low << 24) >> 24 : low & 0xff)
      case 1:
        return i32.const(signed ? (low << 16) >> 16 : low & 0xffff)
      case 2:
        return i32.const(low)
      case 3:
        return this.field64(UOP_IMM)
    }
  }

  // --- slots --------------------------------------------------------------------------------------------------------

  /** Address of a slot in memory; of a register only while the handler works there. */
  override slot(field: number): Code {
    return i32.const(this.cpu + this.number16(field))
  }
  override read(w: Width, field: number): Code {
    if (this.inMemory) return super.read(w, field)
    return this.readSlot(w, this.number16(field), false)
  }
  override readSigned(w: Width, field: number): Code {
    if (this.inMemory) return super.readSigned(w, field)
    return this.readSlot(w, this.number16(field), true)
  }
  override write(w: Width, field: number, value: Code): Code {
    if (this.inMemory) return super.write(w, field, value)
    return this.writeSlot(w, this.number16(field), value)
  }
  override readRegister(w: Width, register: number): Code {
    return this.inMemory ? super.readRegister(w, register) : this.readSlot(w, gpr(register), false)
  }
  override readRegisterSigned(w: Width, register: number): Code {
    return this.inMemory ? super.readRegisterSigned(w, register) : this.readSlot(w, gpr(register), true)
  }
  override writeRegister(w: Width, register: number, value: Code): Code {
    return this.inMemory ? super.writeRegister(w, register, value) : this.writeSlot(w, gpr(register), value)
  }
  override writeHigh(register: number, value: Code): Code {
    if (this.inMemory) return super.writeHigh(register, value)
    return this.writeByte(gpr(register) + 1, value)
  }

  private readSlot(w: Width, slot: number, signed: boolean): Code {
    if (slot === SLOT_ZERO) return w.ops.const(0)
    if (slot === OFF_RIP) return w.index === 3 ? this.rip : i32.wrap(this.rip)
    if (slot > SLOT_ZERO) return (signed ? w.loadS : w.load)(i32.const(0), this.cpu + slot)
    let value = getLocal(this.slotLocal(slot))
    // AH and its like, and parts of temporaries.
    if (slot & 7) value = i64.shrU(value, i64.const((slot & 7) * 8))
    if (w.index === 3) return value
    const low = i32.wrap(value)
    if (w.index === 2) return low
    if (w.index === 1) return signed ? i32.extend16S(low) : i32.and(low, i32.const(0xffff))
    return signed ? i32.extend8S(low) : i32.and(low, i32.const(0xff))
  }

  private writeSlot(w: Width, slot: number, value: Code): Code {
    if (slot >= SLOT_ZERO) return w.storeSlot(i32.const(0), value, this.cpu + slot)
    if ((slot & 7) > (w.index === 0 ? 1 : 0)) throw new RangeError('a write into the middle of a register')
    this.noteWrite(slot)
    const at = this.slotLocal(slot)
    if (w.index === 3) return setLocal(at, value)
    // V8 11.3 was seen to lose the upper half of other values in the local where this was the extension alone.
    if (w.index === 2) return setLocal(at, i64.and(i64.extendU(value), i64.const(0xffffffff)))
    if (w.index === 0) return this.writeByte(slot, value)
    const rest = i64.and(getLocal(at), i64.const(-0x10000))
    return setLocal(at, i64.or(rest, i64.extendU(i32.and(value, i32.const(0xffff)))))
  }

  private writeByte(slot: number, value: Code): Code {
    this.noteWrite(slot)
    const at = this.slotLocal(slot)
    const byte = i32.and(value, i32.const(0xff))
    if ((slot & 1) === 0) return setLocal(at, i64.or(i64.and(getLocal(at), i64.const(-0x100)), i64.extendU(byte)))
    const rest = i64.and(getLocal(at), i64.const(-0xff01))
    return setLocal(at, i64.or(rest, i64.extendU(i32.shl(byte, i32.const(8)))))
  }

  /** Stores the registers and temporaries that the record names into the state block. */
  private flushSlot(slot: number): Code {
    return slot < SLOT_ZERO ? i64.store(i32.const(0), getLocal(this.slotLocal(slot)), this.cpu + (slot & ~7)) : []
  }
  private reloadSlot(slot: number): Code {
    if (slot >= SLOT_ZERO) return []
    this.noteWrite(slot)
    return setLocal(this.slotLocal(slot), i64.load(i32.const(0), this.cpu + (slot & ~7)))
  }

  // --- flags --------------------------------------------------------------------------------------------------------

  private get operands(): Operands {
    return { x: getLocal(this.x), y: getLocal(this.y), z: getLocal(this.z) }
  }

  private setFlags(setter: number, w: Width, x: Code | undefined, y?: Code, z?: Code): Code {
    this.flags = setter | (setter >= SETTER.ADD ? w.index : 0)
    const wide = (value: Code): Code => (w.index === 3 ? value : i64.extendU(value))
    return [
      x === undefined ? [] : setLocal(this.x, wide(x)),
      y === undefined ? [] : setLocal(this.y, wide(y)),
      z === undefined ? [] : setLocal(this.z, wide(z)),
    ]
  }

  /** Makes the flags COMPUTED. */
  normalise(): Code {
    const { flags } = this
    if (flags === SETTER.COMPUTED) return []
    this.flags = SETTER.COMPUTED
    // The same flags as before, in other locals: what still bails finds them there.
    this.flagsBefore = SETTER.COMPUTED
    const fromMemory: Code = [
      setLocal(this.x, i64.load(i32.const(0), this.cpu + OFF_FLAG_RESULT)),
      setLocal(this.y, i64.load32U(i32.const(0), this.cpu + OFF_FLAG_AUX)),
    ]
    if (flags === SETTER.MEMORY) return fromMemory
    if (flags === SETTER_UNKNOWN) return [this.storeUnknownFlags(), fromMemory]
    const { before, result, aux } = flagsOf(this, flags, this.operands)
    const [setAux, keptAux] = this.keep(I64, i64.extendU(aux))
    return [before, setAux, setLocal(this.x, result), setLocal(this.y, keptAux)]
  }

  private storeUnknownFlags(): Code {
    const { x, y, z } = this.operands
    return call(this.imports('flags'), getLocal(this.setter), base, x, y, z)
  }

  /** Brings the flags in the state block up to date. Afterwards they are MEMORY. */
  storeFlags(): Code {
    const { flags } = this
    this.flags = SETTER.MEMORY
    if (flags === SETTER.MEMORY) return []
    if (flags === SETTER_UNKNOWN) return this.storeUnknownFlags()
    const { before, result, aux } = flagsOf(this, flags, this.operands)
    return [before, i64.store(base, result, OFF_FLAG_RESULT), i32.store(base, aux, OFF_FLAG_AUX)]
  }

  /** Lets the local say what set the flags, where `flags` knows. */
  noteSetter(flags: number): Code {
    return flags === SETTER_UNKNOWN ? [] : setLocal(this.setter, i32.const(flags))
  }

  override flagResult(w: Width, value: Code): Code {
    if (this.inMemory) return super.flagResult(w, value)
    this.flags = SETTER.COMPUTED
    return setLocal(this.x, w.signed(value))
  }
  override flagAux(value: Code): Code {
    if (this.inMemory) return super.flagAux(value)
    return setLocal(this.y, i64.extendU(value))
  }
  override readAux(): Code {
    if (this.inMemory) return super.readAux()
    return i32.wrap(getLocal(this.y))
  }
  override readResult(): Code {
    if (this.inMemory) return super.readResult()
    return getLocal(this.x)
  }
  override carry(): Code {
    if (this.inMemory) return super.carry()
    if (this.flags >= SETTER.ADD) {
      const known = carryOf(this, this.flags, this.operands)
      if (known !== undefined) return known
    }
    const before = this.normalise()
    return [before, super.carry()]
  }
  override condition(code: number): Code {
    if (this.inMemory) return super.condition(code)
    const known = conditionOf(this, this.flags, code, this.operands)
    if (known !== undefined) return known
    const before = this.normalise()
    return [before, super.condition(code)]
  }
  override arithmeticFlags(w: Width, op: 'add' | 'sub', x: Code, y: Code, r: Code): Code {
    if (this.inMemory) return super.arithmeticFlags(w, op, x, y, r)
    switch (this.kind) {
      case UOP.ADC:
      case UOP.ADC_IMM:
        return this.setFlags(SETTER.ADC, w, x, y, r)
      case UOP.SBB:
      case UOP.SBB_IMM:
        return this.setFlags(SETTER.SBB, w, x, y, r)
      default:
        return this.setFlags(op === 'add' ? SETTER.ADD : SETTER.SUB, w, x, y)
    }
  }
  override logicFlags(w: Width, r: Code): Code {
    if (this.inMemory) return super.logicFlags(w, r)
    return this.setFlags(SETTER.LOGIC, w, r)
  }
  override stepFlags(w: Width, up: boolean, x: Code, r: Code): Code {
    if (this.inMemory) return super.stepFlags(w, up, x, r)
    const [setCarry, carry] = this.keep(I64, i64.extendU(this.carry()))
    return [setCarry, this.setFlags(up ? SETTER.INC : SETTER.DEC, w, x), setLocal(this.y, carry)]
  }
  override shiftFlags(w: Width, op: 'SHL' | 'SHR' | 'SAR', x: Code, n: Code, r: Code): Code {
    const immediate = this.kind === UOP.SHL_IMM || this.kind === UOP.SHR_IMM || this.kind === UOP.SAR_IMM
    if (this.inMemory || !immediate) return super.shiftFlags(w, op, x, n, r)
    return [this.setFlags(SETTER[op], w, x), setLocal(this.y, i64.extendU(n))]
  }

  // --- memory -------------------------------------------------------------------------------------------------------

  override segment(): Code {
    return i32.const(this.cpu + (((this.number32(UOP_EXT) >> EXT_SEG_SHIFT) & EXT_SEG_MASK) << 6))
  }

  override address(form: Form, linear: number, bytes: number, write: boolean): Code {
    if (form === FORMS.BASE64 || form === FORMS.SEG16 || form === FORMS.SEG32)
      return this.segmented(form, linear, bytes, write)
    const wide = form === FORMS.FLAT64_D || form === FORMS.FLAT64_X
    const indexed = form === FORMS.FLAT32_X || form === FORMS.FLAT64_X
    return setLocal(linear, wide ? this.wideSum(indexed) : i64.extendU(this.narrowSum(indexed)))
  }

  private segmented(form: Form, linear: number, bytes: number, write: boolean): Code {
    if (form === FORMS.BASE64) return setLocal(linear, i64.add(this.wideSum(true), i64.load(this.segment(), 0x100 + 8)))
    const sum = this.narrowSum(true)
    const offset = i64.extendU(form === FORMS.SEG16 ? i32.and(sum, i32.const(0xffff)) : sum)
    return this.throughSegment(this.segment(), offset, linear, bytes, write)
  }

  /** Base + (index << scale) + displacement, modulo 2^32. */
  private narrowSum(indexed: boolean): Code {
    const part = (field: number): Code | undefined => {
      const slot = this.number16(field)
      if (slot === SLOT_ZERO) return undefined
      if (slot === OFF_RIP) return i32.wrap(this.rip)
      return slot < SLOT_ZERO ? i32.wrap(getLocal(this.slotLocal(slot))) : i32.load(i32.const(0), this.cpu + slot)
    }
    let sum = part(UOP_B)
    const index = indexed ? part(UOP_C) : undefined
    if (index !== undefined) {
      const scale = this.number32(UOP_EXT) & EXT_SCALE_MASK
      const scaled = scale === 0 ? index : i32.shl(index, i32.const(scale))
      sum = sum === undefined ? scaled : i32.add(sum, scaled)
    }
    const displacement = this.number32(UOP_IMM)
    if (sum === undefined) return i32.const(displacement)
    return displacement === 0 ? sum : i32.add(sum, i32.const(displacement))
  }

  /** The same modulo 2^64. */
  private wideSum(indexed: boolean): Code {
    const part = (field: number): Code | undefined => {
      const slot = this.number16(field)
      if (slot === SLOT_ZERO) return undefined
      if (slot === OFF_RIP) return this.rip
      return slot < SLOT_ZERO ? getLocal(this.slotLocal(slot)) : i64.load(i32.const(0), this.cpu + slot)
    }
    let sum = part(UOP_B)
    const index = indexed ? part(UOP_C) : undefined
    if (index !== undefined) {
      const scale = this.number32(UOP_EXT) & EXT_SCALE_MASK
      const scaled = scale === 0 ? index : i64.shl(index, i64.const(scale))
      sum = sum === undefined ? scaled : i64.add(sum, scaled)
    }
    if (sum === undefined) return this.field64(UOP_IMM)
    if (this.number32(UOP_IMM) === 0 && this.number32(UOP_IMM_HI) === 0) return sum
    return i64.add(sum, this.field64(UOP_IMM))
  }

  override translate(linear: number, place: number, bytes: number, write: boolean, kind = 0): Code {
    const access = (write ? ACCESS_WRITE : 0) | (bytes << 1) | kind
    const entry = this.local(I32)
    const tag = OFF_DTLB + (write ? TLB_TAG_SUPER_WRITE : TLB_TAG_SUPER_READ) + this.tagSelect
    const low = i32.wrap(getLocal(linear))
    const last = bytes === 1 ? getLocal(linear) : i64.add(getLocal(linear), i64.const(bytes - 1))
    const lastPage = i64.and(last, i64.const(-4096))
    const findEntry = setLocal(entry, i32.and(i32.shrU(low, i32.const(6)), i32.const((DTLB_ENTRIES - 1) << 6)))
    const addend = i32.load(getLocal(entry), this.cpu + OFF_DTLB + TLB_ADDEND)
    const differs = i64.ne(i64.load(getLocal(entry), this.cpu + tag), lastPage)
    const miss: Code = [
      setLocal(place, call(this.dispatch.shared.find, base, getLocal(linear), i32.const(access))),
      this.bailIf(i32.eqz(getLocal(place))),
      this.forgetting,
    ]
    const known = this.inMemory
      ? undefined
      : this.pages.get(pageKey(this, this.record, this.current!.page + this.current!.offset))
    if (known === undefined) return [findEntry, ifElse(differs, miss, setLocal(place, i32.add(addend, low)))]
    // An access that is not aligned looks into the TLB each time: it may cross pages.
    const aligned = i64.and(getLocal(linear), i64.const(-4096 | (bytes - 1)))
    return [
      ifElse(
        i64.ne(aligned, getLocal(known.page)),
        [
          findEntry,
          ifElse(differs, miss, [
            setLocal(known.page, lastPage),
            setLocal(known.addend, addend),
            setLocal(place, i32.add(getLocal(known.addend), low)),
          ]),
        ],
        setLocal(place, i32.add(getLocal(known.addend), low)),
      ),
    ]
  }

  /** Lets accesses with these keys remember their page: see region-pages.ts. */
  rememberPages(keys: readonly number[]): void {
    for (const key of keys) {
      const page = this.variable(I64)
      this.pages.set(key, { page, addend: this.variable(I32) })
      this.forgetting.push(setLocal(page, i64.const(NO_PAGE)))
    }
  }

  // --- leaving ------------------------------------------------------------------------------------------------------

  /** Instructions of the block from the current one on. */
  private get back(): number {
    return this.current!.count - this.u8[this.record + UOP_INDEX]!
  }

  /** What the shared exits for a step and at the end of the budget want to know: where, how many instructions of the block will not run, and what set the flags. */
  private describe(offset: number, back: number, flags: number): Code {
    return i32.const(offset | (back << BACK_SHIFT) | ((flags - SETTER_UNKNOWN) << SETTER_SHIFT))
  }

  /** Byte offset of the current instruction in the page. */
  get instructionOffset(): number {
    return this.current!.offset + this.number16(UOP_IP)
  }

  /** Stores the flags by a description in PC. */
  private describedFlags(): Code {
    const setter = i32.shrU(pc, i32.const(SETTER_SHIFT))
    return [ifElse(setter, setLocal(this.setter, i32.add(setter, i32.const(SETTER_UNKNOWN)))), this.storeUnknownFlags()]
  }

  /** Sets RIP and the budget by a description in PC. */
  private describedPosition(): Code {
    const back = i32.and(i32.shrU(pc, i32.const(BACK_SHIFT)), i32.const(BACK_MASK))
    return [
      setLocal(RIP, i64.add(i64.extendU(i32.and(pc, i32.const(0xfff))), getLocal(this.origin))),
      setLocal(REMAINING, i32.add(remaining, back)),
    ]
  }

  /** Sets them to the current instruction. */
  private position(): Code {
    return [
      setLocal(RIP, i64.add(getLocal(this.origin), i64.const(this.instructionOffset))),
      setLocal(REMAINING, i32.add(remaining, i32.const(this.back))),
    ]
  }

  override bail(): Code {
    if (this.inMemory) return [this.position(), this.tailCall('step')]
    return branch(this.exits.step, this.describe(this.instructionOffset, this.back, this.flagsBefore))
  }
  override bailIf(condition: Code): Code {
    if (this.inMemory) return super.bailIf(condition)
    return branchIf(this.exits.step, condition, this.describe(this.instructionOffset, this.back, this.flagsBefore))
  }

  private tailCall(name: string): Code {
    return [this.countInstructions(), returnCall(this.imports(name), pc, base, remaining, rip)]
  }

  /** Counts what has been taken off the budget since the entry. */
  private countInstructions(): Code {
    if (this.entered === undefined) return []
    const at = this.cpu + OFF_REGION_INSTRUCTIONS
    const ran = i64.extendU(i32.sub(getLocal(this.entered), remaining))
    return i64.store(i32.const(0), i64.add(i64.load(i32.const(0), at), ran), at)
  }

  /** Counts a way out. */
  private count(exit: RegionExit): Code {
    const at = this.cpu + OFF_REGION_EXITS + REGION_EXITS.indexOf(exit) * 8
    return i64.store(i32.const(0), i64.add(i64.load(i32.const(0), at), i64.const(1)), at)
  }

  /** Ways out of handlers that work on the state block. */
  private leave(which: Tail): Code {
    if (!this.inMemory) throw new RangeError(`a way out (${which}) that leaves registers behind`)
    if (which !== 'jump' && which !== 'budget') throw new RangeError(`no way out ${which}`)
    return this.tailCall(which)
  }

  override follow(linkField: number): Code {
    return this.afterLink!(linkField)
  }

  /** A body that links to other blocks: `after` goes on with the link at a field. */
  linking(after: (linkField: number) => Code, body: () => Code): Code {
    this.afterLink = after
    const code = body()
    this.afterLink = undefined
    return code
  }

  /** The code after the region's body: one exit of each kind, around `body`. */
  finish(body: Code): Code {
    this.x87.finish()
    for (let n = 0; n < TEMP_FIRST; n++) {
      if (this.written[n]) this.flushing.push(i64.store(base, getLocal(this.slotLocals[n]!), SLOT_GPR + n * 8))
    }
    const leave = (exit: RegionExit): Code => [this.flushing, this.x87.exit, this.count(exit)]
    // The description that a branch brings.
    const described = (exit: RegionExit, inner: Code): Code => [
      setLocal(PC, blockOf(I32, this.exits[exit], inner)),
      leave(exit),
      this.describedFlags(),
      this.describedPosition(),
      this.tailCall(exit),
    ]
    let code: Code = [block(this.exits.jump, this.withFlagExits('jump', body)), leave('jump'), this.tailCall('jump')]
    code = this.withFlagExits('follow', code)
    code = [
      setLocal(RIP, i64.add(i64.extendU(blockOf(I32, this.exits.follow, code)), getLocal(this.origin))),
      leave('follow'),
      this.tailCall('follow'),
    ]
    code = [block(this.exits.helper, code), leave('helper'), this.tailCall('helper')]
    code = described('step', described('budget', code))
    return [this.prologue(), code]
  }

  private prologue(): Code {
    const loads: Code[] = []
    for (let n = 0; n < TEMP_FIRST; n++) {
      const at = this.slotLocals[n]!
      if (at !== 0) loads.push(setLocal(at, i64.load(i32.const(0), this.cpu + SLOT_GPR + n * 8)))
    }
    const entered = this.entered === undefined ? [] : setLocal(this.entered, remaining)
    return [entered, setLocal(this.origin, i64.and(rip, i64.const(-4096))), this.forgetting, loads]
  }

  /** Takes the instructions of the block at `offset` off the budget; leaves if that does not cover them. */
  takeFromBudget(offset: number, count: number): Code {
    const left = teeLocal(REMAINING, i32.sub(remaining, i32.const(count)))
    return branchIf(this.exits.budget, i32.ltS(left, i32.const(0)), this.describe(offset, count, this.flags))
  }

  /** The label of the way out that stores what `flags` says first. Afterwards they are MEMORY. */
  private exitWithFlags(exit: 'jump' | 'follow'): Label {
    const { flags } = this
    this.flags = SETTER.MEMORY
    if (flags === SETTER.MEMORY) return this.exits[exit]
    const known = this.flagExits.find((other) => other.exit === exit && other.flags === flags)
    if (known !== undefined) return known.target
    const target = label()
    this.flagExits.push({ exit, flags, target })
    return target
  }

  /** What is at the labels of {@link exitWithFlags}, around `inner`. */
  private withFlagExits(exit: 'jump' | 'follow', inner: Code): Code {
    let code = inner
    for (const { exit: other, flags, target } of this.flagExits) {
      if (other !== exit) continue
      this.locals.release()
      this.flags = flags
      const store = this.storeFlags()
      code =
        exit === 'jump'
          ? [block(target, code), store, branch(this.exits.jump)]
          : branch(this.exits.follow, [blockOf(I32, target, code), store])
    }
    return code
  }

  /** Leaves for the block at the RIP that the caller has set, through the cache of jumps. */
  leaveByJump(): Code {
    return branch(this.exitWithFlags('jump'))
  }

  /** Leaves for the block at `offset` of the page, through the link field at `site`. */
  leaveByLink(offset: number, site: number): Code {
    return [setLocal(PC, i32.const(site)), branch(this.exitWithFlags('follow'), i32.const(offset))]
  }

  /**
   * On to a block `distance` bytes of pages away from the current one, if the instruction TLB still maps its page to the bytes it was made from;
   * otherwise leaves for it.
   */
  turnPage(distance: number, to: RegionBlock, mode: number): Code {
    const entry = this.local(I32)
    const origin = getLocal(this.origin)
    const low = i32.wrap(origin)
    const { flags } = this
    const leave: Code = [setLocal(RIP, i64.add(origin, i64.const(to.offset))), this.leaveByJump()]
    this.flags = flags
    const there = i64.add(origin, i64.const(distance))
    return [
      setLocal(this.origin, (mode & MODE_CODE_MASK) === MODE_CODE64 ? there : i64.and(there, i64.const(0xffffffff))),
      setLocal(entry, i32.and(i32.shrU(low, i32.const(6)), i32.const((ITLB_ENTRIES - 1) << 6))),
      ifElse(
        i32.or(
          i64.ne(i64.load(getLocal(entry), this.cpu + OFF_ITLB + this.tagSelect), origin),
          i32.ne(i32.add(i32.load(getLocal(entry), this.cpu + OFF_ITLB + TLB_ADDEND), low), i32.const(to.place)),
        ),
        leave,
      ),
    ]
  }

  /** Leaves for the instruction at `distance` from the block's start unless the mode is still `mode`. */
  leaveUnlessMode(mode: number, distance: number): Code {
    const { flags } = this
    const code = ifElse(i32.ne(i32.load(i32.const(0), this.cpu + OFF_MODE), i32.const(mode)), [
      setLocal(RIP, i64.add(this.rip, i64.const(distance))),
      setLocal(REMAINING, i32.add(remaining, i32.const(this.back - 1))),
      this.leaveByJump(),
    ])
    this.flags = flags
    return code
  }

  /** The current record is a helper's: leaves for it. */
  override leaveForHelper(): Code {
    if (this.inMemory) return [this.position(), setLocal(PC, this.pc), this.tailCall('helper')]
    const temporaries: Code[] = []
    for (let n = 0; n < 8; n++) if (this.temporaries & (1 << n)) temporaries.push(this.flushSlot(SLOT_TEMP + n * 8))
    return [temporaries, this.storeFlags(), this.position(), setLocal(PC, this.pc), branch(this.exits.helper)]
  }

  override helperUnless(condition: Code): Code {
    if (this.inMemory) return super.helperUnless(condition)
    const { flags } = this
    const code = super.helperUnless(condition)
    this.flags = flags
    return code
  }

  /** Where {@link proceed} goes while a body is built that may go on in the region. */
  private proceeding: Label | undefined

  override proceed(next: number): Code {
    return this.proceeding === undefined ? super.proceed(next) : branch(this.proceeding)
  }

  // --- handlers that work on the state block --------------------------------------------------------------------------

  /** A body that reads and writes some slots in memory, and is otherwise like others. */
  throughMemory(reads: readonly number[], writes: readonly number[], body: () => Code): Code {
    return [
      reads.filter((slot) => slot < SLOT_ZERO).map((slot) => this.flushSlot(slot)),
      body(),
      writes.map((slot) => this.reloadSlot(slot)),
    ]
  }

  /** A body that finds all of the state in memory. It leaves by itself, or goes on with `after` when it links to the next block. */
  inStateBlock(body: () => Code, changes: readonly number[], after: () => Code): Code {
    const temporaries: Code[] = []
    for (let n = 0; n < 8; n++) if (this.temporaries & (1 << n)) temporaries.push(this.flushSlot(SLOT_TEMP + n * 8))
    const before: Code = [
      temporaries,
      this.storeFlags(),
      this.flushing,
      this.x87.flush(),
      // Who is asked about a page wants to know which one runs.
      i64.store(i32.const(0), this.rip, this.cpu + OFF_RIP),
    ]
    this.afterLink = () => {
      this.inMemory = false
      const code = [changes.map((register) => this.reloadSlot(gpr(register))), after()]
      this.inMemory = true
      return code
    }
    this.inMemory = true
    const code = body()
    this.inMemory = false
    this.afterLink = undefined
    return [before, code]
  }

  /** A helper's instruction with a fast path, which changes the registers `changes` and the flags; {@link finish} is told the ways out. */
  orHelper(body: () => Code, changes: readonly number[]): Code {
    const fast = label()
    this.proceeding = fast
    const code = this.inStateBlock(body, [], () => [])
    this.proceeding = undefined
    return [block(fast, [code, unreachable]), changes.map((register) => this.reloadSlot(gpr(register)))]
  }

  /** The value of the record's slot field, in case it names a register: for {@link throughMemory}. */
  slotNumbers(...fields: readonly (typeof UOP_A | typeof UOP_B | typeof UOP_C)[]): number[] {
    return fields.map((field) => this.number16(field))
  }
}
