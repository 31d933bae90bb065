/**
 * The debug registers: which accesses match a breakpoint. Source: Intel SDM Vol. 3B, "Debug Registers" and "Breakpoint Field Recognition".
 */

import { CR4_DE } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'

/** DR6: condition of breakpoint 0 (1–3 follow). */
export const DR6_B0 = 0x0001
/** DR6: debug register access detected (DR7.GD). */
export const DR6_BD = 0x2000
/** DR6: single step. */
export const DR6_BS = 0x4000
/** DR6: task switch. */
export const DR6_BT = 0x8000
/** DR6 bits that read as one. */
export const DR6_ONES = 0xffff_0ff0
/** DR7: general detect enable. */
export const DR7_GD = 0x2000
/** DR7: local and global enables of the four breakpoints. */
export const DR7_ENABLES = 0x00ff
/** DR7 bit that reads as one. */
export const DR7_ONES = 0x0400

/** R/W fields of DR7. */
export const DR7_RW_EXECUTE = 0
export const DR7_RW_WRITE = 1
/** I/O with CR4.DE, undefined without. */
export const DR7_RW_IO = 2
export const DR7_RW_ACCESS = 3

/** DR6 after a write: reserved bits keep their fixed values. */
export function legalizeDr6(value: number): number {
  return ((value & 0xe00f) | DR6_ONES) >>> 0
}

/** DR7 after a write: bits 10 fixed to one, 11, 12, 14, 15 to zero. */
export function legalizeDr7(value: number): number {
  return ((value & 0xffff_27ff) | DR7_ONES) >>> 0
}

/** Whether any breakpoint is enabled in `dr7`. */
export function anyBreakpoint(dr7: number): boolean {
  return (dr7 & DR7_ENABLES) !== 0
}

function enabled(dr7: number, n: number): boolean {
  return ((dr7 >>> (n * 2)) & 3) !== 0
}

function condition(dr7: number, n: number): number {
  return (dr7 >>> (16 + n * 4)) & 3
}

/** Length of breakpoint `n` in bytes. LEN = 2 means 8 bytes where long mode exists; earlier models leave it undefined, here 4. */
function length(cpu: CpuCore, dr7: number, n: number): number {
  const len = (dr7 >>> (18 + n * 4)) & 3
  return len === 2 ? (cpu.model.features.has('lm') ? 8 : 4) : len + 1
}

/** The address of DRn as it is compared: 32 bits outside long mode. */
function breakpointAddress(cpu: CpuCore, n: number): number {
  const address = cpu.s.dr(n)
  return cpu.s.longMode ? address : address >>> 0
}

/**
 * DR6 bits of the breakpoints that match an instruction fetch at linear address `linear`, enabled ones and, as on hardware, disabled ones whose
 * condition holds beside an enabled one. 0 when no enabled breakpoint matches. RF and the shadow of MOV SS are the caller's business.
 */
export function instructionBreakpoints(cpu: CpuCore, linear: number): number {
  const dr7 = cpu.s.dr(7)
  let hit = 0
  let armed = false
  for (let n = 0; n < 4; n++) {
    // LEN must be 0 for instruction breakpoints; other values are undefined and do not match here.
    if (condition(dr7, n) !== DR7_RW_EXECUTE || ((dr7 >>> (18 + n * 4)) & 3) !== 0) continue
    if (breakpointAddress(cpu, n) !== linear) continue
    hit |= DR6_B0 << n
    if (enabled(dr7, n)) armed = true
  }
  return armed ? hit : 0
}

function overlaps(a: number, aSize: number, b: number, bSize: number): boolean {
  return a < b + bSize && b < a + aSize
}

/** Notes the data breakpoints that an access touches, for a #DB trap after the instruction. */
export function noteDataAccess(cpu: CpuCore, linear: number, size: number, write: boolean): void {
  const dr7 = cpu.s.dr(7)
  if (!anyBreakpoint(dr7)) return
  let hit = 0
  let armed = false
  for (let n = 0; n < 4; n++) {
    const rw = condition(dr7, n)
    if (rw !== DR7_RW_ACCESS && !(rw === DR7_RW_WRITE && write)) continue
    const bytes = length(cpu, dr7, n)
    // The low address bits below the length are ignored.
    const address = breakpointAddress(cpu, n)
    if (!overlaps(address - (((address % bytes) + bytes) % bytes), bytes, linear, size)) continue
    hit |= DR6_B0 << n
    if (enabled(dr7, n)) armed = true
  }
  if (armed) cpu.pendingDebug |= hit
}

/** Notes the I/O breakpoints (CR4.DE) that a port access touches, for a #DB trap after the instruction. */
export function notePortAccess(cpu: CpuCore, port: number, size: number): void {
  const dr7 = cpu.s.dr(7)
  if (!anyBreakpoint(dr7) || (cpu.s.cr4 & CR4_DE) === 0) return
  let hit = 0
  let armed = false
  for (let n = 0; n < 4; n++) {
    if (condition(dr7, n) !== DR7_RW_IO) continue
    const bytes = length(cpu, dr7, n)
    const address = cpu.s.dr(n) & 0xffff & ~(bytes - 1)
    if (!overlaps(address, bytes, port, size)) continue
    hit |= DR6_B0 << n
    if (enabled(dr7, n)) armed = true
  }
  if (armed) cpu.pendingDebug |= hit
}
