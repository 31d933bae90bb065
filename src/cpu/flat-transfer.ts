/**
 * The common case of event delivery and IRET, where everything is as operating systems have it: flat segments whose descriptors were accessed before, and
 * gates, descriptors, TSS and stack in pages that the data TLB lets through at once. Each function looks first, without any effect, and answers false when
 * something is different; the general code (deliver.ts, iret.ts) then begins anew, faults included. What it does in the end is the same as there.
 */

import {
  FLAG_AC,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_IOPL_SHIFT,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
} from '../isa/flags.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_SS } from '../isa/instruction.js'
import { isCanonicalHigh } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { dropDataSegments } from './far-transfer.js'
import { FLAGS_ANY_PRIVILEGE, legalizeFlags } from './flags-instructions.js'
import {
  MODE_CODE_MASK,
  MODE_CODE32,
  MODE_CODE64,
  MODE_FLAT_CS,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  MODE_PROTECTED,
  MODE_SSE,
  MODE_STACK32,
  MODE_USER,
  MODE_X87,
  OFF_EFER,
  OFF_GDTR,
  OFF_IDTR,
  OFF_SEG,
  SEG_BASE,
  SEG_STRIDE,
  SEG_TR,
  SEG_UNUSABLE,
} from './layout.js'
import type { CpuState } from './state.js'
import { highHalf, number64 } from './system-common.js'

/** Low half of a descriptor: limit 15–0, base 15–0. */
const FLAT_LOW = 0xffff
/** High half without DPL and AVL: base 31–24, G, D/B, L, limit 19–16, P, S, type, base 23–16. */
const DESCRIPTOR_MASK = ~0x0010_6000
const FLAT_CODE32 = 0x00cf_9b00
const FLAT_CODE64 = 0x00af_9b00
/** The same, execute-only. */
const READABLE = 0x200
const FLAT_DATA = 0x00cf_9300
/** A 32- or 64-bit interrupt or trap gate, present. */
const GATE_MASK = 0x9e00
const GATE = 0x8e00
const GATE_TRAP = 0x100
/** EFER.LMA */
const LMA = 0x400
const TSS_WIDE = 8
/** What no transfer changes. */
const UNITS = MODE_X87 | MODE_SSE
const FLAT_ALL = MODE_FLAT_CS | MODE_FLAT_DS | MODE_FLAT_ES | MODE_FLAT_SS
/** With one of these in play, single steps or alignment checks begin or end. */
const CARE = FLAG_TF | FLAG_AC | FLAG_VM

const OFF_TR = OFF_SEG + SEG_TR * SEG_STRIDE

/** Where the GDT's descriptor of `selector` is (an index into `s.i32`) if it can be read at once; -1 for null selectors, those of the LDT, and all else. */
function descriptorPlace(cpu: CpuCore, selector: number): number {
  const s = cpu.s
  const index = selector & 0xfff8
  if (index === 0 || selector & 4 || index + 7 > s.gdtrLimit) return -1
  return tablePlace(cpu, OFF_GDTR, index, 8)
}

/** Place of `size` bytes at `distance` from the 64-bit address in field `base`, as an index into `s.i32`; -1 where it takes more than a look. */
function tablePlace(cpu: CpuCore, base: number, distance: number, size: number): number {
  const s = cpu.s
  const start = s.get32(base)
  const low = (start + distance) | 0
  // A carry out of the low half: rare enough.
  if (low >>> 0 < start >>> 0) return -1
  const at = cpu.mem.place(low, s.get32(OFF_EFER) & LMA ? s.get32(base + 4) : 0, size, false, false)
  return at < 0 || at & 3 ? -1 : at >> 2
}

function setMode(cpu: CpuCore, mode: number, cpl: number): void {
  const s = cpu.s
  s.mode = cpl === 3 ? mode | MODE_USER : mode
  s.tagSelect = cpl === 3 ? 16 : 0
  cpu.setCpl(cpl)
}

function flatAttr(high: number): number {
  return (high >>> 8) & 0xf0ff
}

/** The mode of 32-bit code with flat CS and SS. */
function mode32(s: CpuState): number {
  const { flat } = s
  return (
    (s.mode & UNITS) |
    (MODE_PROTECTED | MODE_CODE32 | MODE_STACK32 | MODE_FLAT_CS | MODE_FLAT_SS) |
    (flat[SEG_DS] ? MODE_FLAT_DS : 0) |
    (flat[SEG_ES] ? MODE_FLAT_ES : 0)
  )
}

/** CS and SS were loaded with flat segments of privilege `cpl`: takes the mode over. `flags`: every RFLAGS bit that was set before or is set now. */
export function takeFlatMode(cpu: CpuCore, cpl: number, long: boolean, flags: number): void {
  const s = cpu.s
  if (flags & CARE) {
    cpu.setCpl(cpl)
    cpu.updateMode()
  } else if (long) setMode(cpu, (s.mode & UNITS) | MODE_PROTECTED | MODE_CODE64 | FLAT_ALL, cpl)
  else setMode(cpu, mode32(s), cpl)
}

/**
 * Delivers an event through the IDT: `software` for those that check the gate's privilege, `errorCode` -1 for none, `rf` to save RF as 1. Afterwards
 * `cpu.nextRip` is the handler. False: nothing has happened.
 */
export function deliverFlat(
  cpu: CpuCore,
  vector: number,
  software: boolean,
  errorCode: number,
  returnRip: number,
  rf: boolean,
): boolean {
  const s = cpu.s
  if ((s.cr0 & 1) === 0 || s.flagsRest & CARE) return false
  return s.get32(OFF_EFER) & LMA
    ? deliverFlat64(cpu, vector, software, errorCode, returnRip, rf)
    : deliverFlat32(cpu, vector, software, errorCode, returnRip, rf)
}

function deliverFlat32(
  cpu: CpuCore,
  vector: number,
  software: boolean,
  errorCode: number,
  returnRip: number,
  rf: boolean,
): boolean {
  const s = cpu.s
  const { i32 } = s
  const { cpl } = cpu
  if (vector * 8 + 7 > s.idtrLimit) return false
  const gate = tablePlace(cpu, OFF_IDTR, vector * 8, 8)
  if (gate < 0) return false
  const gateLow = i32[gate]!
  const gateHigh = i32[gate + 1]!
  if ((gateHigh & GATE_MASK) !== GATE || (software && ((gateHigh >> 13) & 3) < cpl)) return false
  const selector = gateLow >>> 16
  const code = descriptorPlace(cpu, selector)
  if (code < 0) return false
  const codeHigh = i32[code + 1]!
  const level = (codeHigh >> 13) & 3
  if (i32[code] !== FLAT_LOW || ((codeHigh | READABLE) & DESCRIPTOR_MASK) !== FLAT_CODE32 || level > cpl) return false
  const inner = level < cpl
  const extra = errorCode < 0 ? 0 : 4
  let pointer: number
  let stackSelector = 0
  let stackHigh = 0
  let bytes: number
  if (inner) {
    const at = level * 8 + 4
    if ((s.segAttr(SEG_TR) & TSS_WIDE) === 0 || at + 5 > s.segLimit(SEG_TR)) return false
    const tss = tablePlace(cpu, OFF_TR + SEG_BASE, at, 8)
    if (tss < 0) return false
    pointer = i32[tss]! >>> 0
    stackSelector = i32[tss + 1]! & 0xffff
    const stack = descriptorPlace(cpu, stackSelector)
    if (stack < 0) return false
    stackHigh = i32[stack + 1]!
    if (
      (stackSelector & 3) !== level ||
      i32[stack] !== FLAT_LOW ||
      (stackHigh & DESCRIPTOR_MASK) !== FLAT_DATA ||
      ((stackHigh >> 13) & 3) !== level
    )
      return false
    bytes = 20 + extra
  } else {
    if ((s.mode & (MODE_FLAT_SS | MODE_STACK32)) !== (MODE_FLAT_SS | MODE_STACK32)) return false
    pointer = s.reg32(4)
    bytes = 12 + extra
  }
  const low = pointer - bytes
  if (low < 0 || pointer & 3) return false
  const place = cpu.mem.runAt(low | 0, 0, bytes, true, level === 3)
  if (place < 0 || place & 3) return false

  let to = place >> 2
  if (extra !== 0) i32[to++] = errorCode
  i32[to] = returnRip | 0
  i32[to + 1] = s.selector(SEG_CS)
  i32[to + 2] = rf ? s.flags | FLAG_RF : s.flags
  if (inner) {
    i32[to + 3] = s.reg32(4)
    i32[to + 4] = s.selector(SEG_SS)
    s.setSegment(SEG_SS, stackSelector, 0, 0xffff_ffff, flatAttr(stackHigh))
  }
  s.setReg32(4, low)
  s.flagsRest &= ~(gateHigh & GATE_TRAP ? FLAG_NT | FLAG_RF : FLAG_NT | FLAG_RF | FLAG_IF)
  s.setSegment(SEG_CS, (selector & ~3) | level, 0, 0xffff_ffff, flatAttr(codeHigh))
  cpu.nextRip = ((gateHigh & 0xffff_0000) | (gateLow & 0xffff)) >>> 0
  setMode(cpu, mode32(s), level)
  return true
}

function deliverFlat64(
  cpu: CpuCore,
  vector: number,
  software: boolean,
  errorCode: number,
  returnRip: number,
  rf: boolean,
): boolean {
  const s = cpu.s
  const { i32 } = s
  const { cpl } = cpu
  if (vector * 16 + 15 > s.idtrLimit) return false
  const gate = tablePlace(cpu, OFF_IDTR, vector * 16, 16)
  if (gate < 0) return false
  const gateLow = i32[gate]!
  const gateHigh = i32[gate + 1]!
  const gateTop = i32[gate + 2]!
  if ((gateHigh & GATE_MASK) !== GATE || (software && ((gateHigh >> 13) & 3) < cpl) || !isCanonicalHigh(gateTop))
    return false
  const selector = gateLow >>> 16
  const code = descriptorPlace(cpu, selector)
  if (code < 0) return false
  const codeHigh = i32[code + 1]!
  const level = (codeHigh >> 13) & 3
  if (i32[code] !== FLAT_LOW || ((codeHigh | READABLE) & DESCRIPTOR_MASK) !== FLAT_CODE64 || level > cpl) return false
  const inner = level < cpl
  const ist = gateHigh & 7
  let low = i32[(s.base >> 2) + 8]!
  let high = i32[(s.base >> 2) + 9]!
  if (ist !== 0 || inner) {
    const at = ist !== 0 ? 0x1c + ist * 8 : 4 + level * 8
    if (at + 7 > s.segLimit(SEG_TR)) return false
    const tss = tablePlace(cpu, OFF_TR + SEG_BASE, at, 8)
    if (tss < 0) return false
    low = i32[tss]!
    high = i32[tss + 1]!
  }
  if (!isCanonicalHigh(high)) return false
  const top = low & ~15
  const bytes = errorCode < 0 ? 40 : 48
  low = (top - bytes) | 0
  if (top >>> 0 < bytes) high--
  if (!isCanonicalHigh(high)) return false
  const place = cpu.mem.runAt(low, high, bytes, true, level === 3)
  if (place < 0 || place & 3) return false

  let to = place >> 2
  if (errorCode >= 0) {
    i32[to] = errorCode
    i32[to + 1] = 0
    to += 2
  }
  i32[to] = returnRip | 0
  i32[to + 1] = highHalf(returnRip)
  i32[to + 2] = s.selector(SEG_CS)
  i32[to + 3] = 0
  i32[to + 4] = rf ? s.flags | FLAG_RF : s.flags
  i32[to + 5] = 0
  i32[to + 6] = i32[(s.base >> 2) + 8]!
  i32[to + 7] = i32[(s.base >> 2) + 9]!
  i32[to + 8] = s.selector(SEG_SS)
  i32[to + 9] = 0
  s.flagsRest &= ~(gateHigh & GATE_TRAP ? FLAG_NT | FLAG_RF : FLAG_NT | FLAG_RF | FLAG_IF)
  if (inner) s.setSegment(SEG_SS, level, 0, 0, SEG_UNUSABLE)
  s.setReg64(4, low, high)
  s.setSegment(SEG_CS, (selector & ~3) | level, 0, 0xffff_ffff, flatAttr(codeHigh))
  cpu.nextRip = number64((gateHigh & 0xffff_0000) | (gateLow & 0xffff), gateTop)
  setMode(cpu, (s.mode & UNITS) | MODE_PROTECTED | MODE_CODE64 | FLAT_ALL, level)
  return true
}

/** What IRET may change at privilege `cpl`, with an operand size of 4 or 8. */
function returnMask(cpu: CpuCore): number {
  const { cpl } = cpu
  let mask = FLAGS_ANY_PRIVILEGE | FLAG_RF | FLAG_AC | FLAG_ID
  if (cpl <= (cpu.s.flagsRest & FLAG_IOPL) >> FLAG_IOPL_SHIFT) mask |= FLAG_IF
  if (cpl === 0) mask |= FLAG_IOPL | FLAG_VIF | FLAG_VIP
  return mask
}

/** IRET in protected mode, operand size in bytes. False: nothing has happened. */
export function iretFlat(cpu: CpuCore, size: number): boolean {
  const s = cpu.s
  if ((s.cr0 & 1) === 0 || s.flagsRest & (CARE | FLAG_NT)) return false
  if (s.get32(OFF_EFER) & LMA) return size === 8 && (s.mode & MODE_CODE_MASK) === MODE_CODE64 && iretFlat64(cpu)
  return size === 4 && iretFlat32(cpu)
}

function iretFlat32(cpu: CpuCore): boolean {
  const s = cpu.s
  const { i32 } = s
  const { cpl } = cpu
  if ((s.mode & (MODE_FLAT_SS | MODE_STACK32)) !== (MODE_FLAT_SS | MODE_STACK32)) return false
  const pointer = s.reg32(4)
  if (pointer & 3) return false
  const user = cpl === 3
  let place = cpu.mem.runAt(pointer | 0, 0, 12, false, user)
  if (place < 0 || place & 3) return false
  place >>= 2
  const selector = i32[place + 1]! & 0xffff
  const image = i32[place + 2]!
  const level = selector & 3
  if (image & CARE || level < cpl) return false
  const code = descriptorPlace(cpu, selector)
  if (code < 0) return false
  const codeHigh = i32[code + 1]!
  if (
    i32[code] !== FLAT_LOW ||
    ((codeHigh | READABLE) & DESCRIPTOR_MASK) !== FLAT_CODE32 ||
    ((codeHigh >> 13) & 3) !== level
  )
    return false
  const mask = returnMask(cpu)
  if (level === cpl) s.setReg32(4, pointer + 12)
  else {
    if (cpu.mem.runAt(pointer | 0, 0, 20, false, user) < 0) return false
    const stackSelector = i32[place + 4]! & 0xffff
    if ((stackSelector & 3) !== level) return false
    const stack = descriptorPlace(cpu, stackSelector)
    if (stack < 0) return false
    const stackHigh = i32[stack + 1]!
    if (i32[stack] !== FLAT_LOW || (stackHigh & DESCRIPTOR_MASK) !== FLAT_DATA || ((stackHigh >> 13) & 3) !== level)
      return false
    s.setSegment(SEG_SS, stackSelector, 0, 0xffff_ffff, flatAttr(stackHigh))
    s.setReg32(4, i32[place + 3]!)
    dropDataSegments(cpu, level)
  }
  cpu.nextRip = i32[place]! >>> 0
  s.setSegment(SEG_CS, selector, 0, 0xffff_ffff, flatAttr(codeHigh))
  s.flags = legalizeFlags(cpu, (s.flags & ~(mask | FLAG_RF)) | (image & mask))
  setMode(cpu, mode32(s), level)
  return true
}

function iretFlat64(cpu: CpuCore): boolean {
  const s = cpu.s
  const { i32 } = s
  const { cpl } = cpu
  const low = i32[(s.base >> 2) + 8]!
  if (low & 3) return false
  let place = cpu.mem.runAt(low, i32[(s.base >> 2) + 9]!, 40, false, cpl === 3)
  if (place < 0 || place & 3) return false
  place >>= 2
  const selector = i32[place + 2]! & 0xffff
  const image = i32[place + 4]!
  const level = selector & 3
  if (image & CARE || level < cpl || !isCanonicalHigh(i32[place + 1]!)) return false
  const code = descriptorPlace(cpu, selector)
  if (code < 0) return false
  const codeHigh = i32[code + 1]!
  if (
    i32[code] !== FLAT_LOW ||
    ((codeHigh | READABLE) & DESCRIPTOR_MASK) !== FLAT_CODE64 ||
    ((codeHigh >> 13) & 3) !== level
  )
    return false
  const stackSelector = i32[place + 8]! & 0xffff
  if ((stackSelector & 3) !== level) return false
  if ((stackSelector & 0xfffc) === 0) {
    if (level === 3) return false
    s.setSegment(SEG_SS, stackSelector, 0, 0, SEG_UNUSABLE)
  } else {
    const stack = descriptorPlace(cpu, stackSelector)
    if (stack < 0) return false
    const stackHigh = i32[stack + 1]!
    if (i32[stack] !== FLAT_LOW || (stackHigh & DESCRIPTOR_MASK) !== FLAT_DATA || ((stackHigh >> 13) & 3) !== level)
      return false
    s.setSegment(SEG_SS, stackSelector, 0, 0xffff_ffff, flatAttr(stackHigh))
  }
  const mask = returnMask(cpu)
  cpu.nextRip = number64(i32[place]!, i32[place + 1]!)
  s.setReg64(4, i32[place + 6]!, i32[place + 7]!)
  s.setSegment(SEG_CS, selector, 0, 0xffff_ffff, flatAttr(codeHigh))
  if (level > cpl) dropDataSegments(cpu, level)
  s.flags = legalizeFlags(cpu, (s.flags & ~(mask | FLAG_RF)) | (image & mask))
  setMode(cpu, (s.mode & UNITS) | MODE_PROTECTED | MODE_CODE64 | FLAT_ALL, level)
  return true
}
