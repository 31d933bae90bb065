/**
 * System-management mode: SMI entry and RSM. Processors with long mode save the AMD64 map (as QEMU and SeaBIOS know it), others the one of the
 * Pentium and P6; both with SMBASE relocation. Source: Intel SDM Vol. 3C, "System Management Mode"; AMD64 APM Vol. 2, "SMM Save State";
 * segment fields in the 32-bit map, which Intel leaves reserved, stand where QEMU keeps them. I/O instruction restart is not offered, and the
 * revision identifier says so.
 */

import { FLAG_VM } from '../isa/flags.js'
import { SEG_CS } from '../isa/instruction.js'
import { ATTR_DPL_SHIFT, CR0_PE, CR0_PG, CR4_PAE, CR4_PCIDE, EFER_LMA, EFER_LME } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { legalizeDr6, legalizeDr7 } from './debug-registers.js'
import { raiseUd } from './exceptions.js'
import { legalizeFlags } from './flags-instructions.js'
import { OFF_SEG, SEG_BASE, SEG_LDTR, SEG_STRIDE, SEG_TR, SEG_UNUSABLE } from './layout.js'
import { highHalf, number64 } from './system-common.js'

/** SMBASE after reset. */
export const SMBASE_DEFAULT = 0x30000

// Offsets from SMBASE + 8000h. Common to both maps:
export const SMM_REVISION = 0x7efc

// The 32-bit map.
export const SMM32_CR0 = 0x7ffc
export const SMM32_CR3 = 0x7ff8
export const SMM32_EFLAGS = 0x7ff4
export const SMM32_EIP = 0x7ff0
/** EDI; ESI EBP ESP EBX EDX ECX EAX follow downwards. */
export const SMM32_EDI = 0x7fec
/** EAX, the last of the eight. */
export const SMM32_EAX = 0x7fd0
export const SMM32_DR6 = 0x7fcc
export const SMM32_DR7 = 0x7fc8
export const SMM32_TR = 0x7fc4
export const SMM32_LDTR = 0x7fc0
/** Selectors ES CS SS DS FS GS. */
export const SMM32_ES = 0x7fa8
export const SMM32_AUTO_HALT = 0x7f02
export const SMM32_CR4 = 0x7f14
export const SMM32_SMBASE = 0x7ef8

// The 64-bit map.
/** ES; CS SS DS FS GS follow every 16 bytes: selector, attributes, limit, base. */
export const SMM64_ES = 0x7e00
export const SMM64_GDTR = 0x7e60
export const SMM64_LDTR = 0x7e70
export const SMM64_IDTR = 0x7e80
export const SMM64_TR = 0x7e90
export const SMM64_AUTO_HALT = 0x7ec9
export const SMM64_EFER = 0x7ed0
export const SMM64_SMBASE = 0x7f00
export const SMM64_CR4 = 0x7f48
export const SMM64_CR3 = 0x7f50
export const SMM64_CR0 = 0x7f58
export const SMM64_DR7 = 0x7f60
export const SMM64_DR6 = 0x7f68
export const SMM64_RFLAGS = 0x7f70
export const SMM64_RIP = 0x7f78
/** RAX; RCX … R15 follow downwards every 8 bytes. */
export const SMM64_RAX = 0x7ff8

/** Where the hidden "NMI was blocked" lives between SMI and RSM: outside the range of architectural MSR numbers, so that it is saved with them. */
const HIDDEN_NMI = -1

/** General registers of the 32-bit map from EDI downwards. */
const ORDER32: readonly number[] = [7, 6, 5, 4, 3, 2, 1, 0]

/** Where segment `n` of the 32-bit map keeps attributes, limit and base. */
function hidden32(n: number): number {
  return n < 3 ? 0x7f84 + n * 12 : 0x7f2c + (n - 3) * 12
}

/**
 * Enters SMM at an instruction boundary (`s.rip` is the next instruction). `halted` tells that the processor was in HLT, which the handler may
 * have resumed.
 */
export function enterSmm(cpu: CpuCore, halted: boolean = cpu.halted): void {
  const s = cpu.s
  cpu.inSmm = true
  cpu.platform.smmChanged?.(true)
  const base = cpu.smbase + 0x8000
  if (cpu.model.features.has('lm')) save64(cpu, base, halted)
  else save32(cpu, base, halted)
  cpu.msr.set(HIDDEN_NMI, cpu.nmiBlocked ? 1n : 0n)
  cpu.nmiBlocked = true
  cpu.halted = false
  cpu.pendingDebug = 0

  s.flags = legalizeFlags(cpu, 2)
  s.cr0 = s.cr0 & ~(0xd | CR0_PG)
  s.cr4 = 0
  s.efer = 0
  s.setDr(7, 0x400)
  for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0, 0, 0xffff_ffff, 0x8093)
  s.setSegment(SEG_CS, (cpu.smbase >>> 4) & 0xffff, cpu.smbase, 0xffff_ffff, 0x8093)
  s.rip = 0x8000
  cpu.nextRip = 0x8000
  cpu.setCpl(0)
  cpu.mem.configurePaging()
  cpu.mem.flushAll()
  cpu.updateMode()
  cpu.interruptEngine()
}

function put64(cpu: CpuCore, at: number, lo: number, hi: number): void {
  cpu.mem.setPhys32(at, lo >>> 0)
  cpu.mem.setPhys32(at + 4, hi >>> 0)
}

function putNumber(cpu: CpuCore, at: number, value: number): void {
  put64(cpu, at, value | 0, highHalf(value))
}

function getNumber(cpu: CpuCore, at: number): number {
  return number64(cpu.mem.phys32(at), cpu.mem.phys32(at + 4))
}

function save32(cpu: CpuCore, base: number, halted: boolean): void {
  const s = cpu.s
  const put = (offset: number, value: number): void => cpu.mem.setPhys32(base + offset, value >>> 0)
  put(SMM32_CR0, s.cr0)
  put(SMM32_CR3, s.cr3)
  put(SMM32_EFLAGS, s.flags)
  put(SMM32_EIP, s.rip)
  for (let n = 0; n < 8; n++) put(SMM32_EDI - n * 4, s.reg32(ORDER32[n]!))
  put(SMM32_DR6, s.dr(6))
  put(SMM32_DR7, s.dr(7))
  put(SMM32_TR, s.selector(SEG_TR))
  put(0x7f64, s.segBase(SEG_TR))
  put(0x7f60, s.segLimit(SEG_TR))
  put(0x7f5c, s.segAttr(SEG_TR))
  put(SMM32_LDTR, s.selector(SEG_LDTR))
  put(0x7f80, s.segBase(SEG_LDTR))
  put(0x7f7c, s.segLimit(SEG_LDTR))
  put(0x7f78, s.segAttr(SEG_LDTR))
  put(0x7f74, s.gdtrBase)
  put(0x7f70, s.gdtrLimit)
  put(0x7f58, s.idtrBase)
  put(0x7f54, s.idtrLimit)
  for (let n = 0; n < 6; n++) {
    put(SMM32_ES + n * 4, s.selector(n))
    put(hidden32(n) + 8, s.segBase(n))
    put(hidden32(n) + 4, s.segLimit(n))
    put(hidden32(n), s.segAttr(n))
  }
  put(SMM32_CR4, s.cr4)
  cpu.mem.setPhys16(base + SMM32_AUTO_HALT, halted ? 1 : 0)
  put(SMM_REVISION, cpu.model.smmRevision)
  put(SMM32_SMBASE, cpu.smbase)
}

function save64(cpu: CpuCore, base: number, halted: boolean): void {
  const s = cpu.s
  const segment = (offset: number, seg: number): void => {
    cpu.mem.setPhys16(base + offset, s.selector(seg))
    // The unusable mark takes a bit that attributes do not use.
    cpu.mem.setPhys16(base + offset + 2, (s.segAttr(seg) & 0xf0ff) | (s.segAttr(seg) & SEG_UNUSABLE ? 0x100 : 0))
    cpu.mem.setPhys32(base + offset + 4, s.segLimit(seg))
    putNumber(cpu, base + offset + 8, s.segBase(seg))
  }
  for (let n = 0; n < 6; n++) segment(SMM64_ES + n * 16, n)
  segment(SMM64_LDTR, SEG_LDTR)
  segment(SMM64_TR, SEG_TR)
  cpu.mem.setPhys32(base + SMM64_GDTR + 4, s.gdtrLimit)
  putNumber(cpu, base + SMM64_GDTR + 8, s.gdtrBase)
  cpu.mem.setPhys32(base + SMM64_IDTR + 4, s.idtrLimit)
  putNumber(cpu, base + SMM64_IDTR + 8, s.idtrBase)
  cpu.mem.setPhys8(base + SMM64_AUTO_HALT, halted ? 1 : 0)
  putNumber(cpu, base + SMM64_EFER, s.efer >>> 0)
  for (let n = 0; n < 16; n++) put64(cpu, base + SMM64_RAX - n * 8, s.reg32(n), s.regHi(n))
  putNumber(cpu, base + SMM64_RIP, s.rip)
  putNumber(cpu, base + SMM64_RFLAGS, s.flags)
  putNumber(cpu, base + SMM64_DR6, s.dr(6))
  putNumber(cpu, base + SMM64_DR7, s.dr(7))
  putNumber(cpu, base + SMM64_CR0, s.cr0 >>> 0)
  putNumber(cpu, base + SMM64_CR3, s.cr3)
  putNumber(cpu, base + SMM64_CR4, s.cr4 >>> 0)
  cpu.mem.setPhys32(base + SMM_REVISION, cpu.model.smmRevision)
  cpu.mem.setPhys32(base + SMM64_SMBASE, cpu.smbase)
}

/** Whether the processor can be in a mode with these registers; if not, RSM shuts it down. */
function validState(cpu: CpuCore, cr0: number, cr4: number, efer: number): boolean {
  if (cr4 & ~cpu.model.cr4Mask || efer & ~cpu.model.eferMask) return false
  if (cr0 & CR0_PG && (cr0 & CR0_PE) === 0) return false
  // NW without CD
  if ((cr0 & 0x6000_0000) === 0x2000_0000) return false
  const active = (efer & EFER_LMA) !== 0
  if (active !== ((efer & EFER_LME) !== 0 && (cr0 & CR0_PG) !== 0)) return false
  if (active && (cr4 & CR4_PAE) === 0) return false
  return active || (cr4 & CR4_PCIDE) === 0
}

/** Helper RSM: #UD outside SMM. A state that cannot be entered ends in shutdown. */
export function rsm(cpu: CpuCore): void {
  if (!cpu.inSmm) raiseUd()
  const base = cpu.smbase + 0x8000
  const ok = cpu.model.features.has('lm') ? load64(cpu, base) : load32(cpu, base)
  const smbase = cpu.mem.phys32(base + (cpu.model.features.has('lm') ? SMM64_SMBASE : SMM32_SMBASE)) >>> 0
  if (!ok) {
    cpu.shutdown = true
    return
  }
  cpu.smbase = smbase
  cpu.inSmm = false
  cpu.nmiBlocked = cpu.msr.get(HIDDEN_NMI) === 1n
  cpu.msr.delete(HIDDEN_NMI)
  cpu.platform.smmChanged?.(false)
  const s = cpu.s
  cpu.nextRip = s.rip
  cpu.setCpl(s.flagsRest & FLAG_VM ? 3 : s.cr0 & CR0_PE ? (s.segAttr(2) >> ATTR_DPL_SHIFT) & 3 : 0)
  cpu.mem.configurePaging()
  cpu.mem.flushAll()
  cpu.updateMode()
  cpu.interruptEngine()
}

function load32(cpu: CpuCore, base: number): boolean {
  const s = cpu.s
  const get = (offset: number): number => cpu.mem.phys32(base + offset) >>> 0
  const cr0 = get(SMM32_CR0)
  const cr4 = get(SMM32_CR4)
  const cr3 = get(SMM32_CR3)
  if (!validState(cpu, cr0, cr4, 0)) return false
  if (cr0 & CR0_PG && cr4 & CR4_PAE && !cpu.mem.loadPdptes(cr3)) return false
  s.cr0 = (cr0 & cpu.model.cr0Writable) | cpu.model.cr0Ones
  s.cr4 = cr4
  s.cr3 = cr3
  s.efer = 0
  s.flags = legalizeFlags(cpu, get(SMM32_EFLAGS) | 0)
  s.rip = get(SMM32_EIP)
  for (let n = 0; n < 8; n++) s.setReg32(ORDER32[n]!, get(SMM32_EDI - n * 4))
  s.setDr(6, legalizeDr6(get(SMM32_DR6)))
  s.setDr(7, legalizeDr7(get(SMM32_DR7)))
  s.setSegment(SEG_TR, get(SMM32_TR), get(0x7f64), get(0x7f60), get(0x7f5c) & 0x1_f0ff)
  s.setSegment(SEG_LDTR, get(SMM32_LDTR), get(0x7f80), get(0x7f7c), get(0x7f78) & 0x1_f0ff)
  s.setGdtr(get(0x7f74), get(0x7f70))
  s.setIdtr(get(0x7f58), get(0x7f54))
  for (let n = 0; n < 6; n++) {
    const at = hidden32(n)
    s.setSegment(n, get(SMM32_ES + n * 4), get(at + 8), get(at + 4), get(at) & 0x1_f0ff)
  }
  if (cpu.mem.phys16(base + SMM32_AUTO_HALT) & 1) cpu.halted = true
  return true
}

function load64(cpu: CpuCore, base: number): boolean {
  const s = cpu.s
  const get = (offset: number): number => cpu.mem.phys32(base + offset) >>> 0
  const cr0 = get(SMM64_CR0)
  const cr4 = get(SMM64_CR4)
  const efer = get(SMM64_EFER)
  const cr3 = getNumber(cpu, base + SMM64_CR3)
  if (!validState(cpu, cr0, cr4, efer)) return false
  if (cr3 < 0 || cr3 >= 2 ** cpu.model.physicalBits) return false
  if (cr0 & CR0_PG && cr4 & CR4_PAE && (efer & EFER_LMA) === 0 && !cpu.mem.loadPdptes(cr3)) return false
  const segment = (offset: number, seg: number): void => {
    const rights = cpu.mem.phys16(base + offset + 2)
    const attr = (rights & 0xf0ff) | (rights & 0x100 ? SEG_UNUSABLE : 0)
    s.setSegment(seg, cpu.mem.phys16(base + offset), 0, get(offset + 4), attr)
    s.set32(OFF_SEG + seg * SEG_STRIDE + SEG_BASE, get(offset + 8))
    // Bases are kept canonical, whatever the handler wrote.
    s.set32(OFF_SEG + seg * SEG_STRIDE + SEG_BASE + 4, (get(offset + 12) << 16) >> 16)
  }
  s.cr0 = (cr0 & cpu.model.cr0Writable) | cpu.model.cr0Ones
  s.cr4 = cr4
  s.cr3 = cr3
  s.efer = efer
  for (let n = 0; n < 6; n++) segment(SMM64_ES + n * 16, n)
  segment(SMM64_LDTR, SEG_LDTR)
  segment(SMM64_TR, SEG_TR)
  s.setGdtr(number64(get(SMM64_GDTR + 8), (get(SMM64_GDTR + 12) << 16) >> 16), get(SMM64_GDTR + 4))
  s.setIdtr(number64(get(SMM64_IDTR + 8), (get(SMM64_IDTR + 12) << 16) >> 16), get(SMM64_IDTR + 4))
  for (let n = 0; n < 16; n++) s.setReg64(n, get(SMM64_RAX - n * 8) | 0, get(SMM64_RAX - n * 8 + 4) | 0)
  s.rip = efer & EFER_LMA ? number64(get(SMM64_RIP), (get(SMM64_RIP + 4) << 16) >> 16) : get(SMM64_RIP)
  s.flags = legalizeFlags(cpu, get(SMM64_RFLAGS) | 0)
  s.setDr(6, legalizeDr6(get(SMM64_DR6)))
  s.setDr(7, legalizeDr7(get(SMM64_DR7)))
  if (cpu.mem.phys8(base + SMM64_AUTO_HALT) & 1) cpu.halted = true
  return true
}
