/**
 * Fast system calls: SYSENTER, SYSEXIT, SYSCALL, SYSRET. Source: Intel SDM Vol. 2, the page of each (SYSCALL and SYSRET exist in 64-bit mode
 * only, as on Intel processors).
 */

import { FLAG_IF, FLAG_RF, FLAG_VM } from '../isa/flags.js'
import { SEG_CS, SEG_SS } from '../isa/instruction.js'
import { EFER_SCE, isCanonicalHigh } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raiseGp, raiseUd } from './exceptions.js'
import { takeFlatMode } from './flat-transfer.js'
import { highHalf, in64BitMode, number64 } from './system-common.js'

/** Code, readable, accessed, S, present; granular. */
const FLAT_CODE = 0x809b
/** Data, writable, accessed, S, present; granular, big. */
const FLAT_DATA = 0xc093
const LONG = 0x2000
const BIG = 0x4000

/** RFLAGS bits that SYSRET takes from R11: all but RF and VM. */
const SYSRET_FLAGS = 0x3c_7fd7

/** CS and SS become flat without a look at any table. `flags`: those before the instruction. */
function loadFlat(cpu: CpuCore, cs: number, ss: number, cpl: number, long: boolean, flags: number): void {
  const s = cpu.s
  const dpl = cpl << 5
  s.setSegment(SEG_CS, cs, 0, 0xffff_ffff, FLAT_CODE | dpl | (long ? LONG : BIG))
  s.setSegment(SEG_SS, ss, 0, 0xffff_ffff, FLAT_DATA | dpl)
  takeFlatMode(cpu, cpl, long, flags | s.flagsRest)
}

/** Helper SYSENTER. */
export function sysenter(cpu: CpuCore): void {
  const s = cpu.s
  const cs = cpu.msr.sysenterCs & 0xfffc
  if ((s.cr0 & 1) === 0 || cs === 0) raiseGp(0)
  const long = s.longMode
  const flags = s.flagsRest
  s.flagsRest &= ~(FLAG_VM | FLAG_IF | FLAG_RF)
  const rsp = cpu.msr.sysenterEsp
  const rip = cpu.msr.sysenterEip
  if (long) s.setRegNumber(4, rsp)
  else s.setReg32(4, rsp)
  cpu.nextRip = long ? rip : rip >>> 0
  loadFlat(cpu, cs, cs + 8, 0, long, flags)
}

/** Helper SYSEXIT: a = operand size; 8 returns to 64-bit code. */
export function sysexit(cpu: CpuCore, a: number): void {
  const s = cpu.s
  const cs = cpu.msr.sysenterCs & 0xfffc
  if ((s.cr0 & 1) === 0 || cpu.cpl !== 0 || cs === 0) raiseGp(0)
  if (a === 8) {
    if (!isCanonicalHigh(s.regHi(1)) || !isCanonicalHigh(s.regHi(2))) raiseGp(0)
    cpu.nextRip = s.regNumber(2)
    s.setRegNumber(4, s.regNumber(1))
    loadFlat(cpu, (cs + 32) | 3, (cs + 40) | 3, 3, true, 0)
  } else {
    cpu.nextRip = s.reg32(2)
    s.setReg32(4, s.reg32(1))
    loadFlat(cpu, (cs + 16) | 3, (cs + 24) | 3, 3, false, 0)
  }
}

/** Helper SYSCALL. */
export function syscall(cpu: CpuCore): void {
  const s = cpu.s
  if (!in64BitMode(cpu) || (s.efer & EFER_SCE) === 0) raiseUd()
  const rip = cpu.nextRip
  const flags = s.flags
  s.setReg64(1, rip | 0, highHalf(rip))
  s.setReg64(11, flags, 0)
  s.flags = flags & ~(cpu.msr.fmask | FLAG_RF)
  cpu.nextRip = cpu.msr.lstar
  const cs = cpu.msr.syscallSelector & 0xfffc
  loadFlat(cpu, cs, cs + 8, 0, true, flags)
}

/** Helper SYSRET: a = operand size; 8 returns to 64-bit code. */
export function sysret(cpu: CpuCore, a: number): void {
  const s = cpu.s
  if (!in64BitMode(cpu) || (s.efer & EFER_SCE) === 0) raiseUd()
  if (cpu.cpl !== 0) raiseGp(0)
  const base = cpu.msr.sysretSelector
  if (a === 8) {
    if (!isCanonicalHigh(s.regHi(1))) raiseGp(0)
    cpu.nextRip = number64(s.reg32(1), s.regHi(1))
  } else cpu.nextRip = s.reg32(1)
  const before = s.flagsRest
  s.flags = (s.reg32(11) & SYSRET_FLAGS) | 2
  loadFlat(cpu, ((a === 8 ? base + 16 : base) & 0xffff) | 3, ((base + 8) & 0xffff) | 3, 3, a === 8, before)
}
