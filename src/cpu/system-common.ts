/**
 * What the system instructions share: descriptors as they stand in guest memory, the stack that event delivery and far calls push on,
 * and small conversions. Everything works on preallocated objects: nothing here allocates per call.
 */

import { FLAG_IOPL, FLAG_IOPL_SHIFT } from '../isa/flags.js'
import { SEG_CS, SEG_SS } from '../isa/instruction.js'
import {
  ATTR_ACCESSED,
  ATTR_CODE,
  ATTR_DB,
  ATTR_EC,
  ATTR_G,
  ATTR_L,
  ATTR_P,
  ATTR_RW,
  attrDpl,
  checkInnerStack,
  descriptorAttr,
  descriptorBase64,
  descriptorLimit,
  faultErrorCode,
  faultVector,
  gateOffset32,
  gateSelector,
  isCanonicalHigh,
  isConforming,
  limitOk,
} from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raiseGp, raiseUd, raiseWithCode, VECTOR_SS, VECTOR_TS } from './exceptions.js'
import {
  MODE_CODE_MASK,
  MODE_CODE64,
  OFF_SEG,
  SEG_LDTR,
  SEG_READ_LIMIT,
  SEG_STRIDE,
  SEG_TR,
  SEG_UNUSABLE,
} from './layout.js'
import type { CpuState } from './state.js'

/** An instruction that is too rich for micro-ops. `a`, `b`, `c` are slots or small numbers, `imm` a signed 32-bit number. */
export type Helper = (cpu: CpuCore, a: number, b: number, c: number, imm: number) => void

export const TWO32 = 4294967296

/** A descriptor or gate, taken apart. */
export class Descriptor {
  /** The selector it was read for. */
  selector = 0
  /** Where it stands. */
  linear = 0
  lo = 0
  hi = 0
  /** Second half of a 16-byte descriptor of long mode (0 otherwise). */
  hi2 = 0
  /** `(hi >>> 8) & 0xf0ff`, as segment caches hold it. */
  attr = 0

  get type(): number {
    return this.attr & 0x1f
  }
  get dpl(): number {
    return attrDpl(this.attr)
  }
  get present(): boolean {
    return (this.attr & ATTR_P) !== 0
  }
  get conforming(): boolean {
    return isConforming(this.attr)
  }
  /** Base address; bits 63–32 only for 16-byte descriptors. */
  get base(): number {
    return descriptorBase64(this.lo, this.hi, this.hi2)
  }
  /** Limit in bytes. */
  get limit(): number {
    return descriptorLimit(this.lo, this.hi)
  }
  // As a gate:
  get gateSelector(): number {
    return gateSelector(this.lo)
  }
  /** Offset of a 32- or 64-bit gate. */
  get gateOffset(): number {
    return this.hi2 * TWO32 + gateOffset32(this.lo, this.hi)
  }

  set(selector: number, linear: number, lo: number, hi: number): void {
    this.selector = selector
    this.linear = linear
    this.lo = lo
    this.hi = hi
    this.hi2 = 0
    this.attr = descriptorAttr(hi)
  }
}

/** A linear address as the processor forms it: 32 bits outside long mode. */
export function linearAddress(cpu: CpuCore, address: number): number {
  return cpu.s.longMode ? address : address >>> 0
}

/** Whether a 48-bit linear address is canonical: bits 63–47 are equal. */
export function isCanonical(address: number): boolean {
  return address >= -0x8000_0000_0000 && address < 0x8000_0000_0000
}

/** The signed double of a 64-bit value in halves. */
export function number64(lo: number, hi: number): number {
  return hi === 0 ? lo >>> 0 : (hi | 0) * TWO32 + (lo >>> 0)
}

export function highHalf(value: number): number {
  return value >= 0 && value < TWO32 ? 0 : Math.floor(value / TWO32) | 0
}

/** The code that runs is 64-bit code. */
export function in64BitMode(cpu: CpuCore): boolean {
  return (cpu.s.mode & MODE_CODE_MASK) === MODE_CODE64
}

export function iopl(cpu: CpuCore): number {
  return (cpu.s.flagsRest & FLAG_IOPL) >> FLAG_IOPL_SHIFT
}

/** #GP(0) unless CPL is 0. (Real mode runs at 0, virtual-8086 mode at 3.) */
export function requireCpl0(cpu: CpuCore): void {
  if (cpu.cpl !== 0) raiseGp(0)
}

/** #UD in real and virtual-8086 mode, where these instructions are not recognised. */
export function requireProtected(cpu: CpuCore): void {
  if (!cpu.s.protectedMode) raiseUd()
}

/**
 * Reads the descriptor of `selector` from the GDT or LDT. False when the selector points beyond the table (or there is no LDT); the caller
 * knows which fault that is. A null selector must have been dealt with.
 */
export function readDescriptor(cpu: CpuCore, selector: number, into: Descriptor): boolean {
  const s = cpu.s
  const index = selector & 0xfff8
  let base: number
  if (selector & 4) {
    if (s.segAttr(SEG_LDTR) & SEG_UNUSABLE || index + 7 > s.segLimit(SEG_LDTR)) return false
    base = s.segBase(SEG_LDTR)
  } else {
    if (index + 7 > s.gdtrLimit) return false
    base = s.gdtrBase
  }
  const linear = linearAddress(cpu, base + index)
  cpu.mem.lin64(linear)
  into.set(selector & 0xffff, linear, cpu.mem.lo, cpu.mem.hi)
  return true
}

/** Reads the second half of a 16-byte system descriptor (long mode). False when it lies beyond the table or its type field is not 0. */
export function readDescriptorUpper(cpu: CpuCore, into: Descriptor): boolean {
  const s = cpu.s
  const index = into.selector & 0xfff8
  const limit = into.selector & 4 ? s.segLimit(SEG_LDTR) : s.gdtrLimit
  if (index + 15 > limit) return false
  cpu.mem.lin64(into.linear + 8)
  if (cpu.mem.hi & 0x1f00) return false
  into.hi2 = cpu.mem.lo | 0
  return true
}

/** Sets the accessed bit of a code or data descriptor in its table, unless it is set. */
export function markAccessed(cpu: CpuCore, descriptor: Descriptor): void {
  if (descriptor.attr & ATTR_ACCESSED) return
  cpu.mem.setLin8(linearAddress(cpu, descriptor.linear + 5), (descriptor.attr & 0xff) | ATTR_ACCESSED)
  descriptor.attr |= ATTR_ACCESSED
  descriptor.hi |= 0x100
}

/** Sets or clears the busy bit of a TSS descriptor in the GDT. */
export function setBusy(cpu: CpuCore, descriptor: Descriptor, busy: boolean): void {
  descriptor.attr = busy ? descriptor.attr | 2 : descriptor.attr & ~2
  cpu.mem.setLin8(linearAddress(cpu, descriptor.linear + 5), descriptor.attr & 0xff)
}

/** Loads a segment cache from a checked descriptor. */
export function loadCache(cpu: CpuCore, seg: number, selector: number, descriptor: Descriptor): void {
  cpu.s.setSegment(seg, selector, descriptor.base, descriptor.limit, descriptor.attr)
}

/** Puts a null selector into a segment register. */
export function loadNull(s: CpuState, seg: number, selector: number): void {
  s.setSegment(seg, selector, 0, 0, SEG_UNUSABLE)
}

/**
 * Loads a segment register in real mode: only selector and base change, so that a larger limit loaded in protected mode stays (and the
 * default size bit too, for CS). The segment becomes a writable one.
 */
export function loadReal(s: CpuState, seg: number, selector: number): void {
  const old = s.segAttr(seg)
  const unusable = (old & SEG_UNUSABLE) !== 0
  const attr = (unusable ? 0 : old & (ATTR_DB | ATTR_G)) | 0x93
  s.setSegment(seg, selector, (selector & 0xffff) * 16, unusable ? 0xffff : s.segLimit(seg), attr)
}

/** Loads a segment register in virtual-8086 mode. */
export function loadV86(s: CpuState, seg: number, selector: number): void {
  s.setSegment(seg, selector, (selector & 0xffff) * 16, 0xffff, 0xf3)
}

/** Loads a segment register as real mode or virtual-8086 mode does, whichever is on. */
export function loadSegment8086(s: CpuState, seg: number, selector: number): void {
  if (s.v86) loadV86(s, seg, selector)
  else loadReal(s, seg, selector)
}

/** #GP(0) unless `offset` lies within the limit of code segment `code` (canonical, where that is 64-bit code). */
export function checkCodeOffset(cpu: CpuCore, code: Descriptor, offset: number): void {
  if (cpu.s.longMode && code.attr & ATTR_L) {
    if (!isCanonical(offset)) raiseGp(0)
  } else if (offset < 0 || offset > code.limit) raiseGp(0) // negative: a 64-bit offset for a compatibility-mode segment
}

/** Loads CS with a checked descriptor for privilege `cpl` and takes the mode over. */
export function enterCode(cpu: CpuCore, code: Descriptor, cpl: number, rip: number): void {
  loadCache(cpu, SEG_CS, (code.selector & ~3) | cpl, code)
  cpu.setCpl(cpl)
  cpu.nextRip = rip
}

/** The mask of the stack pointer: 0 means 64 bits. */
export function stackMask(cpu: CpuCore): number {
  if (in64BitMode(cpu)) return 0
  return cpu.s.segAttr(SEG_SS) & ATTR_DB ? 0xffff_ffff : 0xffff
}

/** rSP as the stack's address size sees it. */
export function stackPointer(cpu: CpuCore): number {
  const mask = stackMask(cpu)
  if (mask === 0) return cpu.s.regNumber(4)
  return mask === 0xffff ? cpu.s.reg16(4) : cpu.s.reg32(4)
}

/** Writes rSP at a stack address size given as by {@link stackMask}. */
export function setStackPointer(s: CpuState, value: number, mask: number): void {
  if (mask === 0) s.setRegNumber(4, value)
  else if (mask === 0xffff) s.setReg16(4, value)
  else s.setReg32(4, value)
}

function wrapStack(value: number, mask: number): number {
  return mask === 0 ? value : mask === 0xffff ? value & 0xffff : value >>> 0
}

/**
 * Reads the stack through SS without changing rSP, as RET and IRET do: `start`, some `pop`s, and at the end the caller writes the new
 * pointer.
 */
export class StackReader {
  pointer = 0
  mask = 0
  /** Halves of the last item, exact also where the number that `pop` returns is not. */
  lo = 0
  hi = 0

  /** Index in `s.i32` of the next item while whole words may be read straight from there, and where that ends. */
  private next = 0
  private end = 0

  start(cpu: CpuCore): void {
    const s = cpu.s
    const mask = stackMask(cpu)
    const pointer = stackPointer(cpu)
    this.mask = mask
    this.pointer = pointer
    this.next = this.end = 0
    if (mask === 0xffff || pointer & 3) return
    let room = 4096
    let linear = pointer
    if (mask !== 0) {
      const limit = s.getNumber(OFF_SEG + SEG_SS * SEG_STRIDE + SEG_READ_LIMIT)
      room = limit - pointer + 1
      linear = (s.segBase(SEG_SS) + pointer) >>> 0
    }
    const size = Math.min(room, 4096 - (linear & 0xfff)) & ~3
    if (size < 4) return
    const at = cpu.mem.run(linear, size, false, cpu.cpl === 3)
    if (at < 0 || at & 3) return
    this.next = at >> 2
    this.end = (at + size) >> 2
  }
  /** The next item of `size` bytes (2, 4 or 8) as an unsigned number, at size 8 a signed double. */
  pop(cpu: CpuCore, size: number): number {
    const at = this.pointer
    const next = this.next
    this.pointer = wrapStack(at + size, this.mask)
    this.hi = 0
    if (size >= 4 && next + (size >> 2) <= this.end) {
      const { i32 } = cpu.s
      this.next = next + (size >> 2)
      this.lo = i32[next]!
      if (size === 4) return this.lo >>> 0
      this.hi = i32[next + 1]!
      return number64(this.lo, this.hi)
    }
    this.end = 0
    if (size === 2) this.lo = cpu.mem.read16(SEG_SS, at)
    else if (size === 4) this.lo = cpu.mem.read32(SEG_SS, at)
    else {
      cpu.mem.read64(SEG_SS, at)
      this.lo = cpu.mem.lo
      this.hi = cpu.mem.hi
    }
    return number64(this.lo, this.hi)
  }
  /** The low 16 bits of the next item, whatever its upper ones hold: at size 8 the number that `pop` returns may not be exact. */
  popSelector(cpu: CpuCore, size: number): number {
    this.pop(cpu, size)
    return this.lo & 0xffff
  }
  /** The low 32 bits of the next item. */
  popFlags(cpu: CpuCore, size: number): number {
    this.pop(cpu, size)
    return this.lo | 0
  }
  skip(bytes: number): void {
    if (bytes & 3) this.end = 0
    this.next += bytes >> 2
    this.pointer = wrapStack(this.pointer + bytes, this.mask)
  }
}

/** Pushes onto a stack that need not be the current one. Nothing of the CPU's state changes until the caller takes `pointer` over. */
export class StackWriter {
  pointer = 0
  mask = 0
  private base = 0
  private limit = 0
  private attr = 0
  private user = false
  private code = 0
  private current = false
  /** Index in `s.i32` just above the next item while words may be stored straight there, and the index where that ends. */
  private top = 0
  private bottom = 0

  /** The stack that SS:rSP names; pushes at the current privilege. */
  startCurrent(cpu: CpuCore): void {
    const s = cpu.s
    this.start(
      s.segBase(SEG_SS),
      s.segLimit(SEG_SS),
      s.segAttr(SEG_SS),
      stackPointer(cpu),
      stackMask(cpu),
      cpu.cpl === 3,
      0,
    )
    this.current = true
  }
  /** Any stack. `errorCode` goes with a #SS; `mask` as in {@link stackMask}. */
  start(
    base: number,
    limit: number,
    attr: number,
    pointer: number,
    mask: number,
    user: boolean,
    errorCode: number,
  ): void {
    this.base = base
    this.limit = limit
    this.attr = attr
    this.pointer = wrapStack(pointer, mask)
    this.mask = mask
    this.user = user
    this.code = errorCode
    this.current = false
    this.top = this.bottom = 0
  }

  private within(offset: number, size: number): boolean {
    if (this.mask === 0) return isCanonical(offset) && isCanonical(offset + size - 1)
    if (this.attr & SEG_UNUSABLE) return false
    return limitOk(this.attr, this.limit, offset, size)
  }

  /** #SS unless `count` pushes of `size` bytes stay within the stack segment. */
  reserve(cpu: CpuCore, count: number, size: number): void {
    if (this.reserveRun(cpu, count * size)) return
    let pointer = this.pointer
    for (let n = 0; n < count; n++) {
      pointer = wrapStack(pointer - size, this.mask)
      if (!this.within(pointer, size) && !cpu.model.offsetWraps) raiseWithCode(VECTOR_SS, this.code)
    }
  }

  /** {@link reserve} where all the pushes go to one page that may be written straight. False: look at each. */
  private reserveRun(cpu: CpuCore, bytes: number): boolean {
    const { mask, pointer } = this
    const low = pointer - bytes
    if (mask === 0xffff || pointer & 3 || bytes & 3) return false
    if (mask === 0) {
      if (!isCanonical(low) || !isCanonical(pointer - 1)) return false
    } else if (low < 0 || pointer - 1 > this.limit) return false
    // Writable, expand-up, present data.
    else if ((this.attr & (SEG_UNUSABLE | ATTR_P | ATTR_CODE | ATTR_EC | ATTR_RW)) !== (ATTR_P | ATTR_RW)) return false
    const at = cpu.mem.run(mask === 0 ? low : linearAddress(cpu, this.base + low), bytes, true, this.user)
    if (at < 0 || at & 3) return false
    this.bottom = at >> 2
    this.top = (at + bytes) >> 2
    return true
  }

  /** Pushes an item; `value` is an exact number whose low `size` bytes are stored. */
  push(cpu: CpuCore, value: number, size: number): void {
    this.pushHalves(cpu, value | 0, highHalf(value), size)
  }

  /** Pushes general register `reg`. */
  pushRegister(cpu: CpuCore, reg: number, size: number): void {
    this.pushHalves(cpu, cpu.s.reg32(reg) | 0, cpu.s.regHi(reg), size)
  }

  /** Pushes the low `size` bytes of `hi:lo`. */
  pushHalves(cpu: CpuCore, lo: number, hi: number, size: number): void {
    const offset = wrapStack(this.pointer - size, this.mask)
    const place = this.top - (size >> 2)
    if (size >= 4 && place >= this.bottom && this.bottom !== 0) {
      const { i32 } = cpu.s
      i32[place] = lo
      if (size === 8) i32[place + 1] = hi
      this.top = place
      this.pointer = offset
      return
    }
    this.bottom = 0
    if (this.current) {
      // An ordinary access: data breakpoints and alignment checks see it.
      if (size === 2) cpu.mem.write16(SEG_SS, offset, lo & 0xffff)
      else if (size === 4) cpu.mem.write32(SEG_SS, offset, lo)
      else cpu.mem.write64(SEG_SS, offset, lo, hi)
    } else {
      if (!this.within(offset, size)) raiseWithCode(VECTOR_SS, this.code)
      // 64-bit code ignores the base of SS.
      const linear = this.mask === 0 ? offset : linearAddress(cpu, this.base + offset)
      if (size === 2) cpu.mem.setLin16(linear, lo & 0xffff, this.user)
      else if (size === 4) cpu.mem.setLin32(linear, lo, this.user)
      else cpu.mem.setLin64(linear, lo, hi, this.user)
    }
    this.pointer = offset
  }
}

/** The stack of an inner privilege level, from the TSS. */
export class InnerStack {
  readonly descriptor: Descriptor = new Descriptor()
  pointer = 0

  /**
   * Legacy mode: SS:ESP of privilege `dpl` from a 16- or 32-bit TSS, with every check of Intel SDM Vol. 2, "CALL" (label
   * MORE-PRIVILEGE) and "INT n" (label INTER-PRIVILEGE-LEVEL-INTERRUPT).
   */
  loadLegacy(cpu: CpuCore, dpl: number): void {
    const s = cpu.s
    const tr = s.selector(SEG_TR) & 0xfffc
    const wide = (s.segAttr(SEG_TR) & 8) !== 0
    const at = wide ? dpl * 8 + 4 : dpl * 4 + 2
    if (at + (wide ? 5 : 3) > s.segLimit(SEG_TR)) raiseWithCode(VECTOR_TS, tr)
    const base = linearAddress(cpu, s.segBase(SEG_TR) + at)
    this.pointer = wide ? cpu.mem.lin32(base) >>> 0 : cpu.mem.lin16(base)
    const selector = cpu.mem.lin16(linearAddress(cpu, base + (wide ? 4 : 2)))
    const d = this.descriptor
    d.set(selector, 0, 0, 0)
    if ((selector & 0xfffc) !== 0 && !readDescriptor(cpu, selector, d)) raiseWithCode(VECTOR_TS, selector & 0xfffc)
    raiseIf(checkInnerStack(selector, d.attr, dpl))
  }

  /** Long mode: the 64-bit pointer at `offset` of the TSS. */
  loadLong(cpu: CpuCore, offset: number): void {
    const s = cpu.s
    if (offset + 7 > s.segLimit(SEG_TR)) raiseWithCode(VECTOR_TS, s.selector(SEG_TR) & 0xfffc)
    cpu.mem.lin64(s.segBase(SEG_TR) + offset)
    this.pointer = number64(cpu.mem.lo, cpu.mem.hi)
    if (!isCanonicalHigh(cpu.mem.hi)) raiseWithCode(VECTOR_SS, 0)
  }
}

/** The value of a slot as an unsigned 16-bit number. */
export function slot16(s: CpuState, slot: number): number {
  return s.u16[(s.base + slot) >> 1]!
}
/** The value of a slot as an unsigned 32-bit number. */
export function slot32(s: CpuState, slot: number): number {
  return s.get32(slot) >>> 0
}
/** Writes a slot as an instruction of `size` bytes (1, 2, 4, 8) does: 4 clears the upper half, 1 and 2 leave the rest. */
export function setSlot(s: CpuState, slot: number, size: number, lo: number, hi = 0): void {
  if (size === 1) s.u8[s.base + slot] = lo
  else if (size === 2) s.u16[(s.base + slot) >> 1] = lo
  else {
    s.set32(slot, lo)
    s.set32(slot + 4, size === 8 ? hi : 0)
  }
}

/** Raises a packed fault of mmu/segment-checks, unless it is 0. */
export function raiseIf(fault: number): void {
  if (fault !== 0) raiseWithCode(faultVector(fault), faultErrorCode(fault))
}
