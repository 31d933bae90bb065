/**
 * The x87's registers in the CPU block, and what instructions do with them besides arithmetic: the stack with its faults, exceptions and
 * their report, the pointers to the last instruction.
 * Source: Intel SDM Vol. 1, "x87 FPU Execution Environment", "x87 FPU Exception Handling", "Handling x87 FPU Exceptions in Software".
 */

import { SEG_CS } from '../isa/instruction.js'
import { CR0_NE } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raise, VECTOR_MF } from './exceptions.js'
import { Float80, Float80Context, setIndefinite, X87_IE } from './float80.js'
import {
  OFF_FCS,
  OFF_FCW,
  OFF_FDP,
  OFF_FDS,
  OFF_FIP,
  OFF_FOP,
  OFF_FSW,
  OFF_FTAG,
  OFF_RIP,
  OFF_TOP,
  OFF_X87,
} from './layout.js'
import type { CpuState } from './state.js'

/** Bits of the status word. */
export const FSW_SF = 0x0040
const FSW_ES = 0x0080
const FSW_C0 = 0x0100
export const FSW_C1 = 0x0200
export const FSW_C2 = 0x0400
const FSW_C3 = 0x4000
const FSW_B = 0x8000
const FSW_CONDITIONS: number = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3
/** The exceptions, in both words. */
export const X87_EXCEPTIONS = 0x3f
/** Bits of the control word that can be written, and the one that always reads one. */
const FCW_WRITABLE = 0x1f3f
const FCW_ONES = 0x0040
const FCW_INITIAL = 0x037f

/** The operation in flight. */
export const context: Float80Context = new Float80Context()
/** Its memory operand, for the data pointer: segment, or −1, and offset. */
let operandSeg = -1
let operandOffset = 0
let operandFop = 0

/** The control word. */
export function fcw(s: CpuState): number {
  return s.u16[(s.base + OFF_FCW) >> 1]!
}

/** The status word without TOP. */
export function fsw(s: CpuState): number {
  return s.u16[(s.base + OFF_FSW) >> 1]!
}

export function setFsw(s: CpuState, value: number): void {
  s.u16[(s.base + OFF_FSW) >> 1] = value
}

export function top(s: CpuState): number {
  return s.u8[s.base + OFF_TOP]!
}

export function setTop(s: CpuState, value: number): void {
  s.u8[s.base + OFF_TOP] = value & 7
}

/** The status word as programs see it. */
export function statusWord(s: CpuState): number {
  return fsw(s) | (top(s) << 11)
}

/** Makes ES and B say whether an unmasked exception is pending. */
export function updateSummary(cpu: CpuCore): void {
  const { s } = cpu
  const status = fsw(s)
  const pending = (status & ~fcw(s) & X87_EXCEPTIONS) !== 0
  if (!pending && status & FSW_ES) cpu.platform.ferr?.(false)
  setFsw(s, pending ? status | FSW_ES | FSW_B : status & ~(FSW_ES | FSW_B))
}

/** Writes the status word as FLDENV, FRSTOR and FXRSTOR do: TOP as well; ES and B follow from the exceptions and masks. */
export function setStatusWord(cpu: CpuCore, value: number): void {
  setTop(cpu.s, value >> 11)
  const old = fsw(cpu.s) & FSW_ES
  setFsw(cpu.s, (value & (X87_EXCEPTIONS | FSW_SF | FSW_CONDITIONS)) | old)
  updateSummary(cpu)
}

/** Writes the control word; reserved bits keep their values. */
export function setControlWord(cpu: CpuCore, value: number): void {
  const { s } = cpu
  s.u16[(s.base + OFF_FCW) >> 1] = (value & FCW_WRITABLE) | FCW_ONES
  updateSummary(cpu)
}

/** FNINIT. Registers keep their contents, as empty ones. */
export function initX87(cpu: CpuCore): void {
  const { s } = cpu
  if (fsw(s) & FSW_ES) cpu.platform.ferr?.(false)
  s.set32(OFF_FCW, FCW_INITIAL)
  s.set32(OFF_FSW, 0)
  s.set32(OFF_FTAG, 0)
  s.set32(OFF_TOP, 0)
  s.set32(OFF_FOP, 0)
  s.set32(OFF_FCS, 0)
  s.setNumber(OFF_FIP, 0)
  s.setNumber(OFF_FDP, 0)
}

/** Power-on: as after FNINIT but with the exceptions unmasked, every register +0 and valid (Intel SDM Vol. 3A, "Processor State After Reset"). */
export function resetX87(cpu: CpuCore): void {
  const { s } = cpu
  initX87(cpu)
  s.set32(OFF_FCW, 0x0040)
  s.set32(OFF_FTAG, 0xff)
  for (let at = OFF_X87; at < OFF_X87 + 128; at += 4) s.set32(at, 0)
}

// --- the stack -----------------------------------------------------------------------------------------------------

/** Byte offset in memory of ST(i). */
function place(s: CpuState, i: number): number {
  return s.base + OFF_X87 + (((s.u8[s.base + OFF_TOP]! + i) & 7) << 4)
}

/** Is ST(i) empty? */
export function isEmpty(s: CpuState, i: number): boolean {
  return ((s.u8[s.base + OFF_FTAG]! >> ((s.u8[s.base + OFF_TOP]! + i) & 7)) & 1) === 0
}

/** r ← ST(i). */
export function getSt(s: CpuState, i: number, r: Float80): void {
  const at = place(s, i)
  r.lo = s.i32[at >> 2]!
  r.hi = s.i32[(at >> 2) + 1]!
  r.sexp = s.u16[(at >> 1) + 4]!
}

/** ST(i) ← r, which makes it valid. */
export function setSt(s: CpuState, i: number, r: Float80): void {
  const at = place(s, i)
  s.i32[at >> 2] = r.lo
  s.i32[(at >> 2) + 1] = r.hi
  s.u16[(at >> 1) + 4] = r.sexp
  s.u8[s.base + OFF_FTAG] = s.u8[s.base + OFF_FTAG]! | (1 << ((s.u8[s.base + OFF_TOP]! + i) & 7))
}

/** Marks ST(i) empty. */
export function freeSt(s: CpuState, i: number): void {
  s.u8[s.base + OFF_FTAG] = s.u8[s.base + OFF_FTAG]! & ~(1 << ((s.u8[s.base + OFF_TOP]! + i) & 7))
}

/** ST(0) leaves the stack. */
export function pop(s: CpuState): void {
  freeSt(s, 0)
  setTop(s, top(s) + 1)
}

const indefinite = new Float80()
setIndefinite(indefinite)

/** Notes a stack fault of the operation in flight; C1 tells an overflow from an underflow. */
export function stackFault(s: CpuState, overflow: boolean): void {
  context.flags |= X87_IE
  context.up = 0
  setFsw(s, (fsw(s) & ~FSW_C1) | FSW_SF | (overflow ? FSW_C1 : 0))
}

/** ST(i) ← what a stack underflow gives, if it is masked. Returns whether it is. */
export function underflow(cpu: CpuCore, i: number): boolean {
  stackFault(cpu.s, false)
  if ((context.masks & X87_IE) === 0) return false
  setSt(cpu.s, i, indefinite)
  return true
}

// --- instructions --------------------------------------------------------------------------------------------------

/**
 * What a waiting instruction does first: reports an unmasked exception that is pending. With CR0.NE that is #MF; without, FERR# is
 * asserted, and unless IGNNE# is, the processor waits for the interrupt that this causes. False: the instruction does not run (now).
 */
export function ready(cpu: CpuCore): boolean {
  if ((fsw(cpu.s) & FSW_ES) === 0) return true
  if (cpu.s.cr0 & CR0_NE) raise(VECTOR_MF)
  const { platform } = cpu
  platform.ferr?.(true)
  if (platform.ignne?.()) return true
  cpu.nextRip = cpu.s.rip
  cpu.halted = true
  return false
}

function setPointer(s: CpuState, offset: number, value: number): void {
  s.u16[(s.base + offset) >> 1] = value
}

/** Starts an instruction that no fault can keep away any more. `fop`: its opcode for the environment; `seg`: of its memory operand, or −1. */
export function begin(cpu: CpuCore, fop: number, seg = -1, offset = 0): void {
  const { s, model } = cpu
  const from = (s.base + OFF_RIP) >> 2
  const to = (s.base + OFF_FIP) >> 2
  s.i32[to] = s.i32[from]!
  s.i32[to + 1] = s.i32[from + 1]!
  operandSeg = seg
  operandOffset = offset
  operandFop = fop
  if (!model.x87PointersOnException) {
    setPointer(s, OFF_FCS, s.selector(SEG_CS))
    setPointer(s, OFF_FOP, fop)
    noteOperand(s, true)
  }
  context.start(s.u16[(s.base + OFF_FCW) >> 1]!)
  const status = (s.base + OFF_FSW) >> 1
  s.u16[status] = s.u16[status]! & ~FSW_C1
}

function noteOperand(s: CpuState, selector: boolean): void {
  if (operandSeg < 0) return
  s.setNumber(OFF_FDP, operandOffset)
  if (selector) setPointer(s, OFF_FDS, s.selector(operandSeg))
}

/** Ends it: its exceptions become visible. */
export function end(cpu: CpuCore): void {
  const { flags, masks } = context
  if ((flags | context.up) === 0) return
  const { s } = cpu
  let status = fsw(s) | flags
  if (context.up) status |= FSW_C1
  if (flags & ~masks) {
    status |= FSW_ES | FSW_B
    if (cpu.model.x87PointersOnException) {
      setPointer(s, OFF_FOP, operandFop)
      noteOperand(s, false)
    }
  }
  setFsw(s, status)
}

/** C3, C2, C0 ← bits 2, 1, 0 of `code`. */
export function setConditions(s: CpuState, code: number): void {
  const bits = (code & 4 ? FSW_C3 : 0) | (code & 2 ? FSW_C2 : 0) | (code & 1 ? FSW_C0 : 0)
  setFsw(s, (fsw(s) & ~(FSW_C3 | FSW_C2 | FSW_C0)) | bits)
}
