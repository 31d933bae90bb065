/**
 * Instructions that load and store segment registers and descriptor-table registers, and those that ask about descriptors.
 * Source: Intel SDM Vol. 2, the page of each; Vol. 3A, "Protected-Mode Memory Management" and "Protection".
 */

import { FLAG_ZF } from '../isa/flags.js'
import { SEG_CS, SEG_GS, SEG_SS } from '../isa/instruction.js'
import {
  ATTR_DPL_SHIFT,
  CR4_FSGSBASE,
  CR4_UMIP,
  checkDataLoad,
  checkLdtLoad,
  checkNullStackLoad,
  checkStackLoad,
  checkTaskRegisterLoad,
  isCanonicalHigh,
  larOk,
  larValue,
  lslOk,
  systemType,
  verrOk,
  verwOk,
} from '../mmu/index.js'
import { type CpuCore, SHADOW_SS } from './cpu-types.js'
import { raiseGp, raiseUd } from './exceptions.js'
import { OFF_SEG, SEG_BASE, SEG_LDTR, SEG_STRIDE, SEG_TR, SEG_UNUSABLE } from './layout.js'
import {
  Descriptor,
  highHalf,
  in64BitMode,
  loadCache,
  loadNull,
  loadSegment8086,
  markAccessed,
  number64,
  raiseIf,
  readDescriptor,
  readDescriptorUpper,
  requireCpl0,
  requireProtected,
  StackReader,
  setBusy,
  setSlot,
  setStackPointer,
  slot16,
  slot32,
} from './system-common.js'

const d = new Descriptor()
const reader = new StackReader()

/** Loads ES, SS, DS, FS or GS as MOV does, with all checks. The accessed bit in the table is set. */
export function loadSegment(cpu: CpuCore, seg: number, selector: number): void {
  const s = cpu.s
  if (!s.protectedMode) {
    loadSegment8086(s, seg, selector)
    return
  }
  if ((selector & 0xfffc) === 0) {
    if (seg === SEG_SS) {
      raiseIf(checkNullStackLoad(selector, cpu.cpl, in64BitMode(cpu)))
      s.setSegment(SEG_SS, selector, 0, 0, SEG_UNUSABLE | (cpu.cpl << ATTR_DPL_SHIFT))
      return
    }
    loadNull(s, seg, selector)
    return
  }
  if (!readDescriptor(cpu, selector, d)) raiseGp(selector & 0xfffc)
  raiseIf(seg === SEG_SS ? checkStackLoad(selector, d.attr, cpu.cpl) : checkDataLoad(selector, d.attr, cpu.cpl))
  markAccessed(cpu, d)
  loadCache(cpu, seg, selector, d)
  if (seg !== SEG_SS && (selector & 4) === 0) s.rememberSegment(seg, cpu.cpl, d.lo, d.hi)
}

/** Helper MOV Sreg: a = segment register, b = slot of the selector. */
export function movToSegment(cpu: CpuCore, a: number, b: number): void {
  loadSegment(cpu, a, slot16(cpu.s, b))
  if (a === SEG_SS) cpu.setShadow(SHADOW_SS)
  cpu.updateMode()
}

/** Helper POP Sreg: a = segment register, b = operand size. */
export function popSegment(cpu: CpuCore, a: number, b: number): void {
  reader.start(cpu)
  const selector = reader.popSelector(cpu, b)
  // The pointer is kept at the size of the stack that was popped from, also when SS itself changes.
  const { pointer, mask } = reader
  loadSegment(cpu, a, selector)
  setStackPointer(cpu.s, pointer, mask)
  if (a === SEG_SS) cpu.setShadow(SHADOW_SS)
  cpu.updateMode()
}

/** Helper POP CS of the 8086: a = operand size. */
export function popCs(cpu: CpuCore): void {
  reader.start(cpu)
  const selector = reader.pop(cpu, 2)
  setStackPointer(cpu.s, reader.pointer, reader.mask)
  loadSegment8086(cpu.s, SEG_CS, selector)
  cpu.updateMode()
}

/**
 * Helper LDS, LES, LFS, LGS, LSS: a = slot of the pointer's offset in memory, b = its segment | operand size << 4, c = destination slot,
 * imm = segment register.
 */
export function loadFarPointer(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  const s = cpu.s
  const seg = b & 15
  const size = b >> 4
  const at = s.getNumber(a)
  let lo: number
  let hi = 0
  if (size === 2) lo = cpu.mem.read16(seg, at)
  else if (size === 4) lo = cpu.mem.read32(seg, at)
  else {
    cpu.mem.read64(seg, at)
    lo = cpu.mem.lo
    hi = cpu.mem.hi
  }
  loadSegment(cpu, imm, cpu.mem.read16(seg, at + size))
  setSlot(s, c, size, lo, hi)
  cpu.updateMode()
}

// --- descriptor-table registers ---------------------------------------------------------------------------------------

/** #GP(0) where user-mode instruction prevention forbids SGDT, SIDT, SLDT, SMSW, STR. */
export function checkUmip(cpu: CpuCore): void {
  if (cpu.cpl !== 0 && cpu.s.cr4 & CR4_UMIP) raiseGp(0)
}

/** Helper LGDT (imm 0) and LIDT (imm 1): a = slot of the offset, b = segment, c = operand size. */
export function loadTableRegister(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  requireCpl0(cpu)
  const s = cpu.s
  const at = s.getNumber(a)
  const limit = cpu.mem.read16(b, at)
  let base: number
  if (in64BitMode(cpu)) {
    cpu.mem.read64(b, at + 2)
    base = number64(cpu.mem.lo, cpu.mem.hi)
    if (!isCanonicalHigh(cpu.mem.hi)) raiseGp(0)
  } else {
    base = cpu.mem.read32(b, at + 2) >>> 0
    // A 16-bit operand size loads 24 bits; the 80286 has no more.
    if (c === 2) base &= 0xff_ffff
  }
  if (imm === 0) s.setGdtr(base, limit)
  else s.setIdtr(base, limit)
}

/** Helper SGDT (imm 0) and SIDT (imm 1): a = slot of the offset, b = segment. All of base is stored whatever the operand size (386 and later). */
export function storeTableRegister(cpu: CpuCore, a: number, b: number, _c: number, imm: number): void {
  checkUmip(cpu)
  const s = cpu.s
  const at = s.getNumber(a)
  const limit = imm === 0 ? s.gdtrLimit : s.idtrLimit
  const base = imm === 0 ? s.gdtrBase : s.idtrBase
  const wide = in64BitMode(cpu)
  cpu.mem.probeWrite(b, at, wide ? 10 : 6)
  cpu.mem.write16(b, at, limit & 0xffff)
  if (wide) cpu.mem.write64(b, at + 2, base | 0, highHalf(base))
  // The 80286 stores ones in the byte above its 24-bit base.
  else cpu.mem.write32(b, at + 2, cpu.model.features.has('386') ? base | 0 : base | 0xff00_0000)
}

/** Helper: #UD outside protected mode, and with imm = 1 #GP(0) unless CPL is 0; emitted before the operand is loaded. */
export function checkSystem(cpu: CpuCore, _a: number, _b: number, _c: number, imm: number): void {
  requireProtected(cpu)
  if (imm) requireCpl0(cpu)
}

/** Helper: #GP(0) unless CPL is 0. */
export function checkPrivileged(cpu: CpuCore): void {
  requireCpl0(cpu)
}

/** Helper LLDT: a = slot of the selector. */
export function lldt(cpu: CpuCore, a: number): void {
  const selector = slot16(cpu.s, a)
  if ((selector & 0xfffc) === 0) {
    loadNull(cpu.s, SEG_LDTR, selector)
    return
  }
  if (selector & 4 || !readDescriptor(cpu, selector, d)) raiseGp(selector & 0xfffc)
  raiseIf(checkLdtLoad(selector, d.attr))
  if (cpu.s.longMode && (!readDescriptorUpper(cpu, d) || !isCanonicalHigh(d.hi2))) raiseGp(selector & 0xfffc)
  loadCache(cpu, SEG_LDTR, selector, d)
}

/** Helper LTR: a = slot of the selector. Marks the TSS busy. */
export function ltr(cpu: CpuCore, a: number): void {
  const s = cpu.s
  const selector = slot16(s, a)
  if ((selector & 0xfffc) === 0) raiseGp(0)
  if (selector & 4 || !readDescriptor(cpu, selector, d)) raiseGp(selector & 0xfffc)
  raiseIf(checkTaskRegisterLoad(selector, d.attr, s.longMode))
  if (s.longMode && (!readDescriptorUpper(cpu, d) || !isCanonicalHigh(d.hi2))) raiseGp(selector & 0xfffc)
  setBusy(cpu, d, true)
  loadCache(cpu, SEG_TR, selector, d)
}

/** Helper SLDT (imm 0), STR (imm 1): a = destination slot, 64 bits written, zero-extended. */
export function storeSystemSelector(cpu: CpuCore, a: number, _b: number, _c: number, imm: number): void {
  requireProtected(cpu)
  checkUmip(cpu)
  setSlot(cpu.s, a, 8, cpu.s.selector(imm === 0 ? SEG_LDTR : SEG_TR), 0)
}

// --- questions about descriptors --------------------------------------------------------------------------------------

function setZf(cpu: CpuCore, on: boolean): void {
  const s = cpu.s
  const flags = s.arithmetic
  s.arithmetic = on ? flags | FLAG_ZF : flags & ~FLAG_ZF
}

/** Helper VERR (imm 0), VERW (imm 1): a = slot of the selector. */
export function verify(cpu: CpuCore, a: number, _b: number, _c: number, imm: number): void {
  requireProtected(cpu)
  const selector = slot16(cpu.s, a)
  const there = (selector & 0xfffc) !== 0 && readDescriptor(cpu, selector, d)
  setZf(cpu, there && (imm === 0 ? verrOk(selector, d.attr, cpu.cpl) : verwOk(selector, d.attr, cpu.cpl)))
}

/** Helper LAR (imm 0), LSL (imm 1): a = destination slot, b = slot of the selector, c = operand size. */
export function loadRights(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  requireProtected(cpu)
  const s = cpu.s
  const selector = slot16(s, b)
  if ((selector & 0xfffc) === 0 || !readDescriptor(cpu, selector, d)) {
    setZf(cpu, false)
    return
  }
  const long = s.longMode
  let ok = imm === 0 ? larOk(selector, d.attr, cpu.cpl, long) : lslOk(selector, d.attr, cpu.cpl, long)
  // System descriptors of long mode are 16 bytes; a type field other than 0 in the upper half makes them invalid.
  if (ok && long && systemType(d.attr) >= 0) ok = readDescriptorUpper(cpu, d)
  setZf(cpu, ok)
  if (ok) setSlot(s, a, c, imm === 0 ? larValue(d.hi) : d.limit)
}

/** Helper ARPL: a = slot of the destination's value, changed in place; b = slot of the source. */
export function arpl(cpu: CpuCore, a: number, b: number): void {
  const s = cpu.s
  const destination = slot16(s, a)
  const source = slot16(s, b)
  const raises = (destination & 3) < (source & 3)
  setZf(cpu, raises)
  if (raises) setSlot(s, a, 2, (destination & ~3) | (source & 3))
}

// --- bases of FS and GS -----------------------------------------------------------------------------------------------

/** Helper SWAPGS. */
export function swapgs(cpu: CpuCore): void {
  requireCpl0(cpu)
  const s = cpu.s
  const at = OFF_SEG + SEG_GS * SEG_STRIDE + SEG_BASE
  s.setBig(at, cpu.msr.exchange(0xc000_0102, s.getBig(at)))
}

/** Helper RDFSBASE, RDGSBASE: a = destination slot, b = segment, c = operand size. */
export function readBase(cpu: CpuCore, a: number, b: number, c: number): void {
  if ((cpu.s.cr4 & CR4_FSGSBASE) === 0) raiseUd()
  const base = cpu.s.segBase(b)
  setSlot(cpu.s, a, c, base | 0, highHalf(base))
}

/** Helper WRFSBASE, WRGSBASE: a = source slot, b = segment, c = operand size. */
export function writeBase(cpu: CpuCore, a: number, b: number, c: number): void {
  const s = cpu.s
  if ((s.cr4 & CR4_FSGSBASE) === 0) raiseUd()
  const hi = c === 8 ? s.get32(a + 4) : 0
  if (!isCanonicalHigh(hi)) raiseGp(0)
  s.setNumber(OFF_SEG + b * SEG_STRIDE + SEG_BASE, number64(slot32(s, a), hi))
}
