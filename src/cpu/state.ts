/**
 * A CPU's registers, in the CPU's block of linear memory. The accessors speak numbers: 32-bit values are unsigned, addresses are exact
 * doubles (signed where the CPU is in 64-bit mode), 64-bit registers are read in halves or as BigInt for the public.
 */

import { FLAG_VM } from '../isa/flags.js'
import { SEG_CS } from '../isa/instruction.js'
import { AUX_CF, arithmeticFlags, auxForFlags, FLAGS_ARITHMETIC, resultForFlags } from './flags.js'
import {
  CPU_BLOCK_SIZE,
  MEMO_FLAT,
  MEMO_KEY,
  MEMO_RAW,
  OFF_CR0,
  OFF_CR2,
  OFF_CR3,
  OFF_CR4,
  OFF_CR8,
  OFF_DR,
  OFF_EFER,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_FLAGS_REST,
  OFF_FLAT,
  OFF_GDTR,
  OFF_IDTR,
  OFF_MODE,
  OFF_PKRU,
  OFF_REMAINING,
  OFF_RIP,
  OFF_SEG,
  OFF_SEGMENT_MEMO,
  OFF_TAG_SELECT,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_READ_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
  SEG_UNUSABLE,
  SEG_WRITE_LIMIT,
  SEGMENT_MEMO_ENTRIES,
} from './layout.js'

const TWO32 = 4294967296

/** Named access to the CPU block that `layout.ts` describes. */
export class CpuState {
  /** Start of the block in `buffer`. */
  readonly base: number
  /** Views over the whole linear memory; index with `(base + offset) >> 2` and so on. */
  readonly i32: Int32Array
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly f64: Float64Array
  readonly big: BigUint64Array
  /** By segment register: base 0, limit 4 GiB, present, expand-up, and (ES SS DS FS GS) writable data. */
  readonly flat: Uint8Array
  private readonly word: number

  /** `base` must be a multiple of 64 and leave room for {@link CPU_BLOCK_SIZE} bytes. */
  constructor(buffer: ArrayBufferLike, base = 0) {
    this.base = base
    const words = buffer.byteLength >>> 3
    this.i32 = new Int32Array(buffer, 0, words * 2)
    this.u8 = new Uint8Array(buffer)
    this.u16 = new Uint16Array(buffer, 0, words * 4)
    this.f64 = new Float64Array(buffer, 0, words)
    this.big = new BigUint64Array(buffer, 0, words)
    this.flat = new Uint8Array(buffer, base + OFF_FLAT, 8)
    this.word = base >> 2
    if (base + CPU_BLOCK_SIZE > buffer.byteLength) throw new RangeError('the CPU block does not fit the buffer')
  }

  // --- raw fields -----------------------------------------------------------------------------------------------

  /** The i32 at byte offset `offset` (a multiple of 4) of the block. */
  get32(offset: number): number {
    return this.i32[this.word + (offset >> 2)]!
  }
  /** Writes the i32 at `offset`. */
  set32(offset: number, value: number): void {
    this.i32[this.word + (offset >> 2)] = value
  }
  /** The i64 at `offset` as a double: exact when it is within ±2^53. */
  getNumber(offset: number): number {
    const at = this.word + (offset >> 2)
    // Most numbers fit 32 bits: then no floating-point arithmetic is needed.
    const high = this.i32[at + 1]!
    return high === 0 ? this.i32[at]! >>> 0 : high * TWO32 + (this.i32[at]! >>> 0)
  }
  /** Stores an integer double, modulo 2^64. */
  setNumber(offset: number, value: number): void {
    const at = this.word + (offset >> 2)
    this.i32[at] = value | 0
    this.i32[at + 1] = value >= 0 && value < TWO32 ? 0 : Math.floor(value / TWO32) | 0
  }
  /** The i64 at `offset`, unsigned. */
  getBig(offset: number): bigint {
    return this.big[(this.base + offset) >> 3]!
  }
  /** Writes the i64 at `offset`, modulo 2^64. */
  setBig(offset: number, value: bigint): void {
    this.big[(this.base + offset) >> 3] = value
  }

  /** Writes the f64 at `offset` (a multiple of 8). */
  setF64(offset: number, value: number): void {
    this.f64[(this.base + offset) >> 3] = value
  }

  // --- general registers ----------------------------------------------------------------------------------------

  /** Bits 31–0 of register `reg` (0–15), unsigned. */
  reg32(reg: number): number {
    return this.i32[this.word + reg * 2]! >>> 0
  }
  /** Writes bits 31–0 and clears 63–32. */
  setReg32(reg: number, value: number): void {
    const at = this.word + reg * 2
    this.i32[at] = value
    this.i32[at + 1] = 0
  }
  /** Bits 63–32, signed. */
  regHi(reg: number): number {
    return this.i32[this.word + reg * 2 + 1]!
  }
  /** Writes all of register `reg`, as two halves. */
  setReg64(reg: number, lo: number, hi: number): void {
    const at = this.word + reg * 2
    this.i32[at] = lo
    this.i32[at + 1] = hi
  }
  /** Bits 15–0 of register `reg`. */
  reg16(reg: number): number {
    return this.i32[this.word + reg * 2]! & 0xffff
  }
  /** Writes bits 15–0 and leaves the rest. */
  setReg16(reg: number, value: number): void {
    const at = this.word + reg * 2
    this.i32[at] = (this.i32[at]! & ~0xffff) | (value & 0xffff)
  }
  /** The register as a signed double; exact within ±2^53, beyond that rounded (and certainly not canonical). */
  regNumber(reg: number): number {
    return this.getNumber(reg * 8)
  }
  /** Writes all of register `reg` from a signed double, modulo 2^64. */
  setRegNumber(reg: number, value: number): void {
    this.setNumber(reg * 8, value)
  }

  // --- instruction pointer and flags ----------------------------------------------------------------------------

  /** RIP: unsigned outside 64-bit code, a signed double in it. */
  get rip(): number {
    return this.getNumber(OFF_RIP)
  }
  set rip(value: number) {
    this.setNumber(OFF_RIP, value)
  }

  /** RFLAGS, all bits, computed. */
  get flags(): number {
    const at = this.word + (OFF_FLAG_RESULT >> 2)
    return (
      arithmeticFlags(this.i32[at]!, this.i32[at + 1]!, this.i32[this.word + (OFF_FLAG_AUX >> 2)]!) |
      this.i32[this.word + (OFF_FLAGS_REST >> 2)]!
    )
  }
  /** Writes every bit as given (bit 1 is set, reserved bits are the caller's business). Call `Cpu.updateMode` after VM or AC changed. */
  set flags(value: number) {
    this.arithmetic = value
    this.i32[this.word + (OFF_FLAGS_REST >> 2)] = (value & ~FLAGS_ARITHMETIC) | 2
  }
  /** Replaces the six arithmetic flags by those in `value`. */
  set arithmetic(value: number) {
    const at = this.word + (OFF_FLAG_RESULT >> 2)
    this.i32[at] = resultForFlags(value)
    this.i32[at + 1] = 0
    this.i32[this.word + (OFF_FLAG_AUX >> 2)] = auxForFlags(value)
  }
  /** The six arithmetic flags. */
  get arithmetic(): number {
    const at = this.word + (OFF_FLAG_RESULT >> 2)
    return arithmeticFlags(this.i32[at]!, this.i32[at + 1]!, this.i32[this.word + (OFF_FLAG_AUX >> 2)]!)
  }
  /** CF alone, 0 or 1. */
  get carry(): number {
    return this.i32[this.word + (OFF_FLAG_AUX >> 2)]! & AUX_CF ? 1 : 0
  }
  /** RFLAGS without the arithmetic flags: IF, DF, TF, IOPL, NT, RF, VM, AC, VIF, VIP, ID (and bit 1). */
  get flagsRest(): number {
    return this.i32[this.word + (OFF_FLAGS_REST >> 2)]!
  }
  set flagsRest(value: number) {
    this.i32[this.word + (OFF_FLAGS_REST >> 2)] = value
  }

  // --- segments (0–5 ES CS SS DS FS GS, 6 LDTR, 7 TR) -----------------------------------------------------------

  /** The visible selector. */
  selector(seg: number): number {
    return this.get32(OFF_SEG + seg * SEG_STRIDE + SEG_SELECTOR)
  }
  /** Writes the visible selector alone. */
  setSelector(seg: number, value: number): void {
    this.set32(OFF_SEG + seg * SEG_STRIDE + SEG_SELECTOR, value & 0xffff)
  }
  /** Attributes of a segment cache, in the layout of SEG_ATTR. */
  segAttr(seg: number): number {
    return this.get32(OFF_SEG + seg * SEG_STRIDE + SEG_ATTR)
  }
  /** Base of a segment cache. */
  segBase(seg: number): number {
    return this.getNumber(OFF_SEG + seg * SEG_STRIDE + SEG_BASE)
  }
  /** In bytes, unsigned. */
  segLimit(seg: number): number {
    return this.get32(OFF_SEG + seg * SEG_STRIDE + SEG_LIMIT) >>> 0
  }
  /** Writes a whole segment cache and the limits that fast accesses test. `limit` is in bytes. */
  setSegment(seg: number, selector: number, base: number, limit: number, attr: number): void {
    const { i32 } = this
    const low = limit | 0
    const at = this.word + ((OFF_SEG + seg * SEG_STRIDE) >> 2)
    i32[at + (SEG_SELECTOR >> 2)] = selector & 0xffff
    i32[at + (SEG_ATTR >> 2)] = attr
    i32[at + (SEG_BASE >> 2)] = base | 0
    i32[at + (SEG_BASE >> 2) + 1] = base >= 0 && base < TWO32 ? 0 : Math.floor(base / TWO32) | 0
    i32[at + (SEG_LIMIT >> 2)] = low
    const usable = (attr & SEG_UNUSABLE) === 0 && (attr & 0x80) !== 0
    const code = (attr & 8) !== 0
    const readable = usable && (code ? (attr & 2) !== 0 : (attr & 4) === 0)
    const writable = usable && !code && (attr & 6) === 2
    // 64-bit limits: the segment's, or -1.
    i32[at + (SEG_READ_LIMIT >> 2)] = readable ? low : -1
    i32[at + (SEG_READ_LIMIT >> 2) + 1] = readable ? 0 : -1
    i32[at + (SEG_WRITE_LIMIT >> 2)] = writable ? low : -1
    i32[at + (SEG_WRITE_LIMIT >> 2) + 1] = writable ? 0 : -1
    this.flat[seg] = base === 0 && low === -1 && (seg === SEG_CS || writable) ? 1 : 0
  }

  /** Notes that `seg` was loaded, all checks passed, at privilege `cpl` from the GDT's descriptor `hi:lo`. See {@link OFF_SEGMENT_MEMO}. */
  rememberSegment(seg: number, cpl: number, lo: number, hi: number): void {
    const { i32 } = this
    const from = this.word + ((OFF_SEG + seg * SEG_STRIDE) >> 2)
    const selector = i32[from + (SEG_SELECTOR >> 2)]!
    const to = this.word + ((OFF_SEGMENT_MEMO + ((selector >> 3) & (SEGMENT_MEMO_ENTRIES - 1)) * SEG_STRIDE) >> 2)
    for (let n = 0; n < MEMO_RAW >> 2; n++) i32[to + n] = i32[from + n]!
    i32[to + (MEMO_RAW >> 2)] = lo
    i32[to + (MEMO_RAW >> 2) + 1] = hi
    i32[to + (MEMO_KEY >> 2)] = selector | (cpl << 16) | (1 << 31)
    i32[to + (MEMO_FLAT >> 2)] = this.flat[seg]!
  }

  // --- control registers ----------------------------------------------------------------------------------------

  get cr0(): number {
    return this.get32(OFF_CR0)
  }
  set cr0(value: number) {
    this.set32(OFF_CR0, value)
  }
  get cr4(): number {
    return this.get32(OFF_CR4)
  }
  set cr4(value: number) {
    this.set32(OFF_CR4, value)
  }
  get efer(): number {
    return this.get32(OFF_EFER)
  }
  set efer(value: number) {
    this.set32(OFF_EFER, value)
  }
  get pkru(): number {
    return this.get32(OFF_PKRU)
  }
  set pkru(value: number) {
    this.set32(OFF_PKRU, value)
  }
  /** The faulting linear address. */
  get cr2(): number {
    return this.getNumber(OFF_CR2)
  }
  set cr2(value: number) {
    this.setNumber(OFF_CR2, value)
  }
  get cr3(): number {
    return this.getNumber(OFF_CR3)
  }
  set cr3(value: number) {
    this.setNumber(OFF_CR3, value)
  }
  get cr8(): number {
    return this.get32(OFF_CR8)
  }
  set cr8(value: number) {
    this.set32(OFF_CR8, value)
  }
  /** Bits 31–0 of debug register `n`, unsigned. */
  dr(n: number): number {
    return this.getNumber(OFF_DR + n * 8)
  }
  /** Writes debug register `n`. */
  setDr(n: number, value: number): void {
    this.setNumber(OFF_DR + n * 8, value)
  }
  get gdtrBase(): number {
    return this.getNumber(OFF_GDTR)
  }
  get gdtrLimit(): number {
    return this.get32(OFF_GDTR + 8)
  }
  /** Loads GDTR. */
  setGdtr(base: number, limit: number): void {
    this.setNumber(OFF_GDTR, base)
    this.set32(OFF_GDTR + 8, limit & 0xffff)
  }
  get idtrBase(): number {
    return this.getNumber(OFF_IDTR)
  }
  get idtrLimit(): number {
    return this.get32(OFF_IDTR + 8)
  }
  /** Loads IDTR. */
  setIdtr(base: number, limit: number): void {
    this.setNumber(OFF_IDTR, base)
    this.set32(OFF_IDTR + 8, limit & 0xffff)
  }

  // --- derived --------------------------------------------------------------------------------------------------

  get mode(): number {
    return this.get32(OFF_MODE)
  }
  set mode(value: number) {
    this.set32(OFF_MODE, value)
  }
  get tagSelect(): number {
    return this.get32(OFF_TAG_SELECT)
  }
  set tagSelect(value: number) {
    this.set32(OFF_TAG_SELECT, value)
  }
  get remaining(): number {
    return this.get32(OFF_REMAINING)
  }
  set remaining(value: number) {
    this.set32(OFF_REMAINING, value)
  }
  /** CR0.PE and not virtual-8086. */
  get protectedMode(): boolean {
    return (this.get32(OFF_CR0) & 1) !== 0 && (this.flagsRest & FLAG_VM) === 0
  }
  get v86(): boolean {
    return (this.flagsRest & FLAG_VM) !== 0
  }
  /** EFER.LMA: long mode (64-bit or compatibility). */
  get longMode(): boolean {
    return (this.get32(OFF_EFER) & 0x400) !== 0
  }
}
