/**
 * Instructions that fit nowhere else: CMPXCHG8B and CMPXCHG16B, random numbers, MONITOR and MWAIT, AC for SMAP, WAIT, software interrupts.
 * Source: Intel SDM Vol. 2, the page of each.
 */

import { FLAG_AC, FLAG_CF, FLAG_IF, FLAG_OF, FLAG_ZF } from '../isa/flags.js'
import { SEG_FS } from '../isa/instruction.js'
import { CR0_EM, CR0_MP, CR0_TS } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { EVENT_INT1, EVENT_SOFTWARE, EVENT_SOFTWARE_TRAP, softwareInterrupt } from './deliver.js'
import { raise, raiseGp, raiseUd, VECTOR_BP, VECTOR_DB, VECTOR_NM, VECTOR_OF } from './exceptions.js'
import { in64BitMode, requireCpl0, setSlot } from './system-common.js'
import { ready } from './x87-state.js'

const RAX = 0
const RCX = 1
const RDX = 2
const RBX = 3

/** Helper: #UD. */
export function ud(): void {
  raiseUd()
}

/** Helper INT n: imm = vector. */
export function intN(cpu: CpuCore, _a: number, _b: number, _c: number, imm: number): void {
  softwareInterrupt(cpu, imm & 0xff, EVENT_SOFTWARE)
}

/** Helper INT3. */
export function int3(cpu: CpuCore): void {
  softwareInterrupt(cpu, VECTOR_BP, EVENT_SOFTWARE_TRAP)
}

/** Helper INT1. DR6 is not changed. */
export function int1(cpu: CpuCore): void {
  softwareInterrupt(cpu, VECTOR_DB, EVENT_INT1)
}

/** Helper INTO. */
export function into(cpu: CpuCore): void {
  if (cpu.s.arithmetic & FLAG_OF) softwareInterrupt(cpu, VECTOR_OF, EVENT_SOFTWARE_TRAP)
}

function setZf(cpu: CpuCore, on: boolean): void {
  const s = cpu.s
  const flags = s.arithmetic
  s.arithmetic = on ? flags | FLAG_ZF : flags & ~FLAG_ZF
}

/** Helper CMPXCHG8B: a = slot of the offset, b = segment. The destination is written whatever the outcome. */
export function cmpxchg8b(cpu: CpuCore, a: number, b: number): void {
  const s = cpu.s
  const at = s.getNumber(a)
  cpu.mem.probeWrite(b, at, 8)
  cpu.mem.read64(b, at)
  const { lo, hi } = cpu.mem
  const equal = lo >>> 0 === s.reg32(RAX) && hi >>> 0 === s.reg32(RDX)
  if (equal) cpu.mem.write64(b, at, s.reg32(RBX) | 0, s.reg32(RCX) | 0)
  else {
    cpu.mem.write64(b, at, lo, hi)
    s.setReg32(RAX, lo)
    s.setReg32(RDX, hi)
  }
  setZf(cpu, equal)
}

/** Helper CMPXCHG16B: a = slot of the offset, b = segment. #GP(0) unless the address is a multiple of 16. */
export function cmpxchg16b(cpu: CpuCore, a: number, b: number): void {
  const s = cpu.s
  const at = s.getNumber(a)
  if (((b >= SEG_FS ? s.get32(a) + (s.segBase(b) | 0) : s.get32(a)) & 15) !== 0) raiseGp(0)
  cpu.mem.probeWrite(b, at, 8)
  cpu.mem.read64(b, at)
  const lo0 = cpu.mem.lo
  const hi0 = cpu.mem.hi
  cpu.mem.read64(b, at + 8)
  const lo1 = cpu.mem.lo
  const hi1 = cpu.mem.hi
  const equal =
    lo0 >>> 0 === s.reg32(RAX) && (hi0 | 0) === s.regHi(RAX) && lo1 >>> 0 === s.reg32(RDX) && (hi1 | 0) === s.regHi(RDX)
  if (equal) {
    cpu.mem.write64(b, at, s.reg32(RBX) | 0, s.regHi(RBX))
    cpu.mem.write64(b, at + 8, s.reg32(RCX) | 0, s.regHi(RCX))
  } else {
    cpu.mem.write64(b, at, lo0, hi0)
    cpu.mem.write64(b, at + 8, lo1, hi1)
    s.setReg64(RAX, lo0, hi0)
    s.setReg64(RDX, lo1, hi1)
  }
  setZf(cpu, equal)
}

/** Helper RDRAND, RDSEED: a = destination slot, c = size. Without a source of random bits CF stays clear and the result is 0. */
export function random(cpu: CpuCore, a: number, _b: number, c: number): void {
  const source = cpu.platform.random32
  if (source === undefined) {
    setSlot(cpu.s, a, c, 0)
    cpu.s.arithmetic = 0
    return
  }
  const lo = cpu.platform.random32!() | 0
  setSlot(cpu.s, a, c, lo, c === 8 ? cpu.platform.random32!() | 0 : 0)
  cpu.s.arithmetic = FLAG_CF
}

/** Helper MONITOR: a = segment. Touches the byte at rAX; b = address size. */
export function monitor(cpu: CpuCore, a: number, b: number): void {
  if (cpu.cpl !== 0) raiseUd()
  const s = cpu.s
  if (s.reg32(RCX) !== 0 || (in64BitMode(cpu) && s.regHi(RCX) !== 0)) raiseGp(0)
  cpu.mem.read8(a, b === 2 ? s.reg16(RAX) : b === 4 ? s.reg32(RAX) : s.regNumber(RAX))
}

/**
 * Helper MWAIT. A write to the monitored line comes from an interrupt handler here (one processor), so with interrupts open waiting is
 * halting; with interrupts shut (or ECX bit 0, which lets masked interrupts end the wait) it falls through, as the manual allows at any time.
 */
export function mwait(cpu: CpuCore): void {
  if (cpu.cpl !== 0) raiseUd()
  const ecx = cpu.s.reg32(RCX)
  if (ecx & ~1) raiseGp(0)
  if (cpu.s.flagsRest & FLAG_IF && ecx === 0) cpu.halted = true
}

/** Helper CLAC (imm 0), STAC (imm 1): #UD above CPL 0. */
export function setAc(cpu: CpuCore, _a: number, _b: number, _c: number, imm: number): void {
  if (cpu.cpl !== 0) raiseUd()
  if (imm) cpu.s.flagsRest |= FLAG_AC
  else cpu.s.flagsRest &= ~FLAG_AC
  cpu.updateMode()
}

/** Helper WAIT, while CR0.EM or CR0.TS is set. */
export function wait(cpu: CpuCore): void {
  if ((cpu.s.cr0 & (CR0_MP | CR0_TS)) === (CR0_MP | CR0_TS)) raise(VECTOR_NM)
  ready(cpu)
}

/**
 * Helper ESC: an x87 instruction that does not run, for want of an x87 or because of CR0. CR0.EM and CR0.TS send it to an emulator by #NM; otherwise processors up to the
 * 80486 go on as if it had run (nobody answers on the coprocessor bus), later ones do not know it.
 */
export function coprocessorEscape(cpu: CpuCore): void {
  if (cpu.s.cr0 & (CR0_EM | CR0_TS)) raise(VECTOR_NM)
  if (cpu.model.features.has('pentium')) raiseUd()
}

/** Which count {@link count8086} prepares. */
export const COUNT_SHIFT = 0
export const COUNT_ROTATE = 1
export const COUNT_ROTATE_CARRY = 2

/**
 * Helper for shifts by CL on the 8086, which uses all eight bits of the count: a = slot for a count of at most 31 with the same outcome,
 * b = COUNT_ kind, c = operand width in bits.
 */
export function count8086(cpu: CpuCore, a: number, b: number, c: number): void {
  const s = cpu.s
  let count = s.get32(8) & 0xff
  if (count > 31) {
    if (b === COUNT_SHIFT) count = 31
    else if (b === COUNT_ROTATE) count = 16 + (count & 15)
    else count = count % (c + 1) || c + 1
  }
  s.set32(a, count)
}

/** Helper PAUSE: nothing but a hint, for a machine that runs several processors in turns. */
export function pause(cpu: CpuCore): void {
  cpu.platform.spins?.()
}

/** Helper WBINVD, INVD: caches are not modelled. */
export function wbinvd(cpu: CpuCore): void {
  requireCpl0(cpu)
}
