/**
 * Delivery of interrupts and exceptions: from a vector to the first instruction of its handler.
 * Sources: Intel SDM Vol. 2, "INT n/INTO/INT3/INT1" (the pseudo-code), Vol. 3A, "Interrupt and Exception Handling" and
 * "64-bit mode stack frame", "Interrupt 8 – Double Fault Exception".
 */

import { FLAG_AC, FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VIF, FLAG_VM } from '../isa/flags.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../isa/instruction.js'
import {
  ATTR_DB,
  CR4_VME,
  checkInterruptGate,
  checkInterruptTarget,
  checkTaskSwitchTss,
  DESC_TYPE_TASK_GATE,
  gateIst,
  gateOffset16,
  idtErrorCode,
  isCanonicalHigh,
  raisesPrivilege,
} from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import {
  isThrownFault,
  raiseGp,
  VECTOR_DB,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NMI,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_SS,
  VECTOR_TS,
} from './exceptions.js'
import { deliverFlat } from './flat-transfer.js'
import { SEG_TR } from './layout.js'
import {
  checkCodeOffset,
  Descriptor,
  enterCode,
  InnerStack,
  iopl,
  isCanonical,
  linearAddress,
  loadCache,
  loadNull,
  loadSegment8086,
  markAccessed,
  raiseIf,
  readDescriptor,
  StackWriter,
  setStackPointer,
} from './system-common.js'
import { TASK_EVENT, taskSwitch } from './task-switch.js'

/** Where an event comes from: that decides privilege checks, the EXT bit and the saved RF. */
export const EVENT_EXTERNAL = 0
export const EVENT_NMI = 1
/** A fault or abort: the saved flags have RF set. */
export const EVENT_FAULT = 2
/** A trap (single step, data breakpoint), or an instruction breakpoint: RF is saved as it is. */
export const EVENT_TRAP = 3
/** INT n. */
export const EVENT_SOFTWARE = 4
/** INT3 and INTO: gate privilege is checked, virtual-8086 IOPL is not. */
export const EVENT_SOFTWARE_TRAP = 5
/** INT1: no privilege check at all. */
export const EVENT_INT1 = 6

/** DR7: general detect. */
const DR7_GD = 0x2000

const gate = new Descriptor()
const code = new Descriptor()
const tss = new Descriptor()
const inner = new InnerStack()
const stack = new StackWriter()

/** Vectors whose error code is a selector and takes the EXT bit. */
function codeHasExt(vector: number): boolean {
  return vector === VECTOR_TS || vector === VECTOR_NP || vector === VECTOR_SS || vector === VECTOR_GP
}

/**
 * Delivers one event; on return `cpu.nextRip` is the handler's first instruction. Faults met on the way are thrown, with EXT in their error
 * code unless the event is INT n, INT3 or INTO, and leave everything but descriptor accessed bits and memory below the stack pointer as it was
 * (a task switch that fails late excepted: then the CPU stands in the new task).
 */
export function deliver(
  cpu: CpuCore,
  vector: number,
  kind: number,
  errorCode: number | undefined,
  returnRip: number,
): void {
  try {
    if ((cpu.s.cr0 & 1) === 0) deliverReal(cpu, vector, returnRip)
    else if (kind === EVENT_SOFTWARE && cpu.s.v86 && redirected(cpu, vector)) deliverRedirected(cpu, vector, returnRip)
    else deliverProtected(cpu, vector, kind, errorCode, returnRip)
  } catch (fault) {
    if (isThrownFault(fault) && kind !== EVENT_SOFTWARE && kind !== EVENT_SOFTWARE_TRAP && codeHasExt(fault.vector)) {
      fault.errorCode = (fault.errorCode ?? 0) | 1
    }
    throw fault
  }
}

/** Real mode: the interrupt vector table. */
function deliverReal(cpu: CpuCore, vector: number, returnRip: number): void {
  const s = cpu.s
  const at = vector * 4
  if (at + 3 > s.idtrLimit) raiseGp(0)
  const base = linearAddress(cpu, s.idtrBase + at)
  stack.startCurrent(cpu)
  stack.reserve(cpu, 3, 2)
  const offset = cpu.mem.lin16(base)
  const selector = cpu.mem.lin16(linearAddress(cpu, base + 2))
  stack.push(cpu, s.flags, 2)
  stack.push(cpu, s.selector(SEG_CS), 2)
  stack.push(cpu, returnRip, 2)
  enterVector8086(cpu, selector, offset, s.flags & ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF))
}

function enterVector8086(cpu: CpuCore, selector: number, offset: number, flags: number): void {
  const s = cpu.s
  setStackPointer(s, stack.pointer, stack.mask)
  s.flags = flags
  loadSegment8086(s, SEG_CS, selector)
  cpu.nextRip = offset
  cpu.updateMode()
}

/**
 * INT n in virtual-8086 mode: true when the redirection bitmap sends it to the 8086 program's own handler.
 * Source: Intel SDM Vol. 3B, "Handling Software Interrupts" (table of the six methods).
 */
function redirected(cpu: CpuCore, vector: number): boolean {
  const s = cpu.s
  if (s.cr4 & CR4_VME) {
    const limit = s.segLimit(SEG_TR)
    if ((s.segAttr(SEG_TR) & 8) === 0 || limit < 0x67) raiseGp(0)
    const base = s.segBase(SEG_TR)
    const at = cpu.mem.lin16(linearAddress(cpu, base + 0x66)) - 32 + (vector >> 3)
    if (at < 0 || at > limit) raiseGp(0)
    if ((cpu.mem.lin8(linearAddress(cpu, base + at)) & (1 << (vector & 7))) === 0) return true
  }
  if (iopl(cpu) < 3) raiseGp(0)
  return false
}

function deliverRedirected(cpu: CpuCore, vector: number, returnRip: number): void {
  const s = cpu.s
  const offset = cpu.mem.lin16(vector * 4)
  const selector = cpu.mem.lin16(vector * 4 + 2)
  const flags = s.flags
  let pushed = flags
  // NT stays, as in an 8086 program's own INT.
  let cleared = FLAG_TF | FLAG_RF
  if (iopl(cpu) < 3) {
    pushed = (flags & ~FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0)
    cleared |= FLAG_VIF
  } else cleared |= FLAG_IF
  stack.startCurrent(cpu)
  stack.reserve(cpu, 3, 2)
  stack.push(cpu, pushed, 2)
  stack.push(cpu, s.selector(SEG_CS), 2)
  stack.push(cpu, returnRip, 2)
  enterVector8086(cpu, selector, offset, flags & ~cleared)
}

function deliverProtected(
  cpu: CpuCore,
  vector: number,
  kind: number,
  errorCode: number | undefined,
  returnRip: number,
): void {
  const s = cpu.s
  const long = s.longMode
  const entry = long ? 16 : 8
  if (vector * entry + entry - 1 > s.idtrLimit) raiseGp(idtErrorCode(vector))
  const at = linearAddress(cpu, s.idtrBase + vector * entry)
  cpu.mem.lin64(at)
  gate.set(0, at, cpu.mem.lo, cpu.mem.hi)
  const software = kind === EVENT_SOFTWARE || kind === EVENT_SOFTWARE_TRAP
  raiseIf(checkInterruptGate(vector, gate.attr, cpu.cpl, software, long))
  if (long) {
    cpu.mem.lin64(at + 8)
    gate.hi2 = cpu.mem.lo | 0
  }
  let flags = s.flags
  if (kind === EVENT_FAULT) flags |= FLAG_RF
  if (gate.type === DESC_TYPE_TASK_GATE) deliverTask(cpu, errorCode, returnRip, flags)
  else deliverGate(cpu, errorCode, returnRip, flags)
}

function deliverTask(cpu: CpuCore, errorCode: number | undefined, returnRip: number, flags: number): void {
  const s = cpu.s
  const selector = gate.gateSelector
  if ((selector & 0xfffc) === 0) raiseGp(0)
  if (selector & 4 || !readDescriptor(cpu, selector, tss)) raiseGp(selector & 0xfffc)
  raiseIf(checkTaskSwitchTss(selector, tss.attr))
  const wide = (tss.attr & 8) !== 0
  taskSwitch(cpu, tss, TASK_EVENT, returnRip, flags)
  if (errorCode !== undefined) {
    stack.startCurrent(cpu)
    stack.push(cpu, errorCode, wide ? 4 : 2)
    setStackPointer(s, stack.pointer, stack.mask)
  }
}

function deliverGate(cpu: CpuCore, errorCode: number | undefined, returnRip: number, flags: number): void {
  const s = cpu.s
  const long = s.longMode
  const v86 = s.v86
  const selector = gate.gateSelector
  const wide = (gate.attr & 8) !== 0
  const size = long ? 8 : wide ? 4 : 2
  code.set(selector, 0, 0, 0)
  if ((selector & 0xfffc) !== 0 && !readDescriptor(cpu, selector, code)) raiseGp(selector & 0xfffc)
  raiseIf(checkInterruptTarget(selector, code.attr, cpu.cpl, long, v86))
  const offset = long || wide ? gate.gateOffset : gateOffset16(gate.lo)
  const toInner = raisesPrivilege(code.attr, cpu.cpl)
  const cpl = toInner ? code.dpl : cpu.cpl
  const oldSs = s.selector(SEG_SS)
  const oldCs = s.selector(SEG_CS)
  const extra = errorCode === undefined ? 0 : 1

  if (long) {
    const ist = gateIst(gate.hi)
    let pointer = s.regNumber(4)
    if (ist !== 0) {
      inner.loadLong(cpu, 0x1c + ist * 8)
      pointer = inner.pointer
    } else if (toInner) {
      inner.loadLong(cpu, 4 + cpl * 8)
      pointer = inner.pointer
    }
    pointer = pointer - (((pointer % 16) + 16) % 16)
    stack.start(0, 0, 0, pointer, 0, cpl === 3, 0)
    stack.reserve(cpu, 5 + extra, 8)
    if (!isCanonicalHigh(gate.hi2) || !isCanonical(offset)) raiseGp(0)
    markAccessed(cpu, code)
    stack.push(cpu, oldSs, 8)
    stack.pushRegister(cpu, 4, 8)
  } else if (toInner) {
    inner.loadLegacy(cpu, cpl)
    const d = inner.descriptor
    stack.start(
      d.base,
      d.limit,
      d.attr,
      inner.pointer,
      d.attr & ATTR_DB ? 0xffff_ffff : 0xffff,
      false,
      d.selector & 0xfffc,
    )
    stack.reserve(cpu, (v86 ? 9 : 5) + extra, size)
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
    markAccessed(cpu, d)
    if (v86) {
      stack.push(cpu, s.selector(SEG_GS), size)
      stack.push(cpu, s.selector(SEG_FS), size)
      stack.push(cpu, s.selector(SEG_DS), size)
      stack.push(cpu, s.selector(SEG_ES), size)
    }
    stack.push(cpu, oldSs, size)
    stack.pushRegister(cpu, 4, size)
  } else {
    stack.startCurrent(cpu)
    stack.reserve(cpu, 3 + extra, size)
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
  }
  stack.push(cpu, flags, size)
  stack.push(cpu, oldCs, size)
  stack.push(cpu, returnRip, size)
  if (errorCode !== undefined) stack.push(cpu, errorCode, size)

  // Nothing below can fault.
  let cleared = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM
  if ((gate.attr & 1) === 0) cleared |= FLAG_IF
  s.flags = s.flags & ~cleared
  if (long) {
    if (toInner) loadNull(s, SEG_SS, cpl)
    s.setRegNumber(4, stack.pointer)
  } else {
    if (toInner) {
      loadCache(cpu, SEG_SS, (inner.descriptor.selector & ~3) | cpl, inner.descriptor)
      if (v86) for (const seg of [SEG_ES, SEG_DS, SEG_FS, SEG_GS]) loadNull(s, seg, 0)
    }
    setStackPointer(s, stack.pointer, stack.mask)
  }
  enterCode(cpu, code, cpl, offset)
  cpu.updateMode()
}

// --- combinations of exceptions --------------------------------------------------------------------------------------

const BENIGN = 0
const CONTRIBUTORY = 1
const PAGE_FAULT = 2

function classOf(vector: number): number {
  if (vector === VECTOR_PF) return PAGE_FAULT
  return vector === 0 || (vector >= VECTOR_TS && vector <= VECTOR_GP) ? CONTRIBUTORY : BENIGN
}

/** What becomes of `second`, met while `first` was delivered: the vector to deliver, or -1 for shutdown. */
export function combine(first: number, second: number): number {
  const a = classOf(first)
  const b = classOf(second)
  if (first === VECTOR_DF) return b === BENIGN ? second : -1
  if ((a === CONTRIBUTORY && b === CONTRIBUTORY) || (a === PAGE_FAULT && b !== BENIGN)) return VECTOR_DF
  return second
}

/** Deliveries in a row before the processor gives up; real chains (benign, contributory, page fault, double fault) end before. */
const MAX_CHAIN = 8

function deliverChain(cpu: CpuCore, vector: number, kind: number, errorCode: number | undefined, rip: number): void {
  const s = cpu.s
  let currentVector = vector
  let currentKind = kind
  let currentCode = errorCode
  // External interrupts and NMI are benign whatever their number.
  let comparable = kind === EVENT_FAULT || kind === EVENT_TRAP ? vector : VECTOR_NMI
  let returnRip = rip
  for (let n = 0; n < MAX_CHAIN; n++) {
    try {
      announce(cpu, currentVector, currentKind, currentCode, returnRip)
      deliver(cpu, currentVector, currentKind, currentCode, returnRip)
      s.rip = cpu.nextRip
      return
    } catch (error) {
      if (!isThrownFault(error)) throw error
      const next = combine(comparable, error.vector)
      if (next < 0) break
      currentVector = next
      currentCode = next === VECTOR_DF ? 0 : error.errorCode
      currentKind = EVENT_FAULT
      comparable = next
      // A task switch that failed in the new task has moved RIP.
      returnRip = s.rip
      cpu.nextRip = s.rip
    }
  }
  cpu.shutdown = true
  cpu.nextRip = s.rip
}

/**
 * Delivers `vector` if that is as simple as can be (see flat-transfer.ts), and an error code if it is not -1. False: nothing has happened.
 */
function deliverSimple(cpu: CpuCore, vector: number, errorCode: number, fault: boolean): boolean {
  const s = cpu.s
  if (cpu.events?.wants('interrupt') || !deliverFlat(cpu, vector, false, errorCode, s.rip, fault)) return false
  s.rip = cpu.nextRip
  return true
}

function announce(cpu: CpuCore, vector: number, kind: number, code: number | undefined, ip: number): void {
  const events = cpu.events
  if (events === undefined || !events.wants('interrupt')) return
  const name =
    kind === EVENT_EXTERNAL
      ? 'external'
      : kind === EVENT_NMI
        ? 'nmi'
        : kind >= EVENT_SOFTWARE
          ? 'software'
          : 'exception'
  events.emit('interrupt', { vector, kind: name, ip, ...(code === undefined ? {} : { errorCode: code }) })
}

/**
 * Delivers an exception that an instruction raised: `s.rip` is the instruction. Combines with faults of the delivery itself, up to double fault
 * and shutdown (`cpu.shutdown`). Never throws a guest fault. Afterwards `s.rip` and `cpu.nextRip` are the handler. True: it was simple, and
 * `Cpu.updateMode` need not be called.
 */
export function deliverFault(cpu: CpuCore, vector: number, errorCode: number | undefined): boolean {
  if (deliverSimple(cpu, vector, errorCode ?? -1, true)) return true
  deliverChain(cpu, vector, EVENT_FAULT, errorCode, cpu.s.rip)
  return false
}

/**
 * #DB: adds `dr6` to DR6 (its condition bits are sticky), clears DR7.GD, and delivers. `fault` is false for traps (single step, data breakpoint, task
 * switch) and for instruction breakpoints, whose saved flags do not get RF.
 */
export function deliverDebug(cpu: CpuCore, dr6: number, fault = false): void {
  const s = cpu.s
  s.setDr(6, (s.dr(6) | dr6) >>> 0)
  s.setDr(7, (s.dr(7) & ~DR7_GD) >>> 0)
  deliverChain(cpu, VECTOR_DB, fault ? EVENT_FAULT : EVENT_TRAP, undefined, s.rip)
}

/** A maskable interrupt, at an instruction boundary; `midRepeat`: between two iterations of a repeated string instruction, where RF is saved as 1. True as from {@link deliverFault}. */
export function deliverInterrupt(cpu: CpuCore, vector: number, midRepeat = false): boolean {
  const s = cpu.s
  if (midRepeat) s.flagsRest |= FLAG_RF
  if (deliverSimple(cpu, vector, -1, false)) return true
  deliverChain(cpu, vector, EVENT_EXTERNAL, undefined, s.rip)
  return false
}

/** A non-maskable interrupt: further ones are blocked until IRET. */
export function deliverNmi(cpu: CpuCore): void {
  cpu.nmiBlocked = true
  deliverChain(cpu, VECTOR_NMI, EVENT_NMI, undefined, cpu.s.rip)
}

/** INT n, INT3, INTO and INT1 from the instruction's helper: the return address is the next instruction, faults are the instruction's own. */
export function softwareInterrupt(cpu: CpuCore, vector: number, kind: number): void {
  const software = kind !== EVENT_INT1
  if (!cpu.events?.wants('interrupt') && deliverFlat(cpu, vector, software, -1, cpu.nextRip, false)) return
  announce(cpu, vector, kind, undefined, cpu.nextRip)
  deliver(cpu, vector, kind, undefined, cpu.nextRip)
}
