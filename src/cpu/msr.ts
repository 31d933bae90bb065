/**
 * Model-specific registers, and the counters that have instructions of their own.
 * Source: Intel SDM Vol. 4, "Architectural MSRs"; Vol. 3A, "Memory Cache Control" (MTRRs, PAT).
 */

import { SEG_FS, SEG_GS } from '../isa/instruction.js'
import { CR0_PG, CR4_PCE, CR4_PKE, CR4_TSD, EFER_LMA, EFER_LME, EFER_NXE } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raiseGp, raiseUd } from './exceptions.js'
import { OFF_SEG, SEG_BASE, SEG_STRIDE, TSC_AUX } from './layout.js'
import type { Feature } from './models.js'
import { requireCpl0, setSlot, TWO32 } from './system-common.js'

export const MSR_P5_MC_ADDR = 0x0
export const MSR_P5_MC_TYPE = 0x1
export const MSR_TSC = 0x10
export const MSR_PLATFORM_ID = 0x17
export const MSR_EBL_CR_POWERON = 0x2a
export const MSR_SPEC_CTRL = 0x48
export const MSR_PRED_CMD = 0x49
export const MSR_BIOS_UPDT_TRIG = 0x79
export const MSR_BIOS_SIGN_ID = 0x8b
export const MSR_PMC0 = 0xc1
export const MSR_PMC1 = 0xc2
export const MSR_MTRRCAP = 0xfe
export const MSR_ARCH_CAPABILITIES = 0x10a
export const MSR_SYSENTER_CS = 0x174
export const MSR_SYSENTER_ESP = 0x175
export const MSR_SYSENTER_EIP = 0x176
export const MSR_MCG_CAP = 0x179
export const MSR_MCG_STATUS = 0x17a
export const MSR_PERFEVTSEL0 = 0x186
export const MSR_PERFEVTSEL1 = 0x187
export const MSR_MISC_ENABLE = 0x1a0
export const MSR_MTRR_PHYSBASE0 = 0x200
export const MSR_MTRR_FIX64K = 0x250
export const MSR_MTRR_FIX16K_80000 = 0x258
export const MSR_MTRR_FIX16K_A0000 = 0x259
export const MSR_MTRR_FIX4K = 0x268
export const MSR_PAT = 0x277
export const MSR_MTRR_DEF_TYPE = 0x2ff
export const MSR_EFER = 0xc000_0080
export const MSR_STAR = 0xc000_0081
export const MSR_LSTAR = 0xc000_0082
export const MSR_CSTAR = 0xc000_0083
export const MSR_FMASK = 0xc000_0084
export const MSR_FS_BASE = 0xc000_0100
export const MSR_GS_BASE = 0xc000_0101
export const MSR_KERNEL_GS_BASE = 0xc000_0102
export const MSR_TSC_AUX = 0xc000_0103

/** PAT after reset: WB, WT, UC−, UC, twice. */
export const PAT_DEFAULT = 0x0007_0406_0007_0406n
/** Variable-range MTRR pairs. */
const MTRR_PAIRS = 8
/** MTRRcap: eight pairs, fixed ranges, write combining. */
const MTRRCAP = 0x508n
/**
 * IA32_ARCH_CAPABILITIES: what a processor that runs nothing ahead of time need not be protected from. RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO,
 * PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. Source: Intel SDM Vol. 4, "Model-Specific Registers".
 */
const ARCH_CAPABILITIES = 0x4000_0000_0d10_e17bn
/** IA32_SPEC_CTRL: IBRS, STIBP and BHI_DIS_S can be set; there is nothing that they would restrict. */
const SPEC_CTRL_WRITABLE = 0x403n
/** IA32_PRED_CMD: IBPB. */
const PRED_CMD_BITS = 1n
/** IA32_MISC_ENABLE: fast strings; the other bits that can be written (performance, SpeedStep, MONITOR, limit of CPUID, XD disable are fixed). */
const MISC_ENABLE_DEFAULT = 0x1n
const MISC_ENABLE_WRITABLE = 0x1n

const MASK32 = 0xffff_ffffn

/** The MSRs without a field of their own, by number; those that system-call instructions read are kept as plain numbers besides. */
export class MsrFile extends Map<number, bigint> {
  /** Bits 31–0 of SYSENTER_CS. */
  sysenterCs = 0
  /** As signed numbers. */
  sysenterEsp = 0
  sysenterEip = 0
  lstar = 0
  /** Bits 47–32 and 63–48 of STAR. */
  syscallSelector = 0
  sysretSelector = 0
  /** Bits 31–0, signed. */
  fmask = 0
  /** Bits 31–0, signed. */
  tscAux = 0

  override set(index: number, value: bigint): this {
    this.note(index, value)
    return super.set(index, value)
  }

  /** Puts `value` into an MSR of which no number is kept besides, and returns what was there. */
  exchange(index: number, value: bigint): bigint {
    const old = super.get(index) ?? 0n
    super.set(index, value)
    return old
  }

  override delete(index: number): boolean {
    this.note(index, 0n)
    return super.delete(index)
  }

  override clear(): void {
    for (const index of [...this.keys()]) this.note(index, 0n)
    super.clear()
  }

  private note(index: number, value: bigint): void {
    switch (index) {
      case MSR_SYSENTER_CS:
        this.sysenterCs = Number(BigInt.asIntN(32, value))
        break
      case MSR_SYSENTER_ESP:
        this.sysenterEsp = Number(BigInt.asIntN(64, value))
        break
      case MSR_SYSENTER_EIP:
        this.sysenterEip = Number(BigInt.asIntN(64, value))
        break
      case MSR_LSTAR:
        this.lstar = Number(BigInt.asIntN(64, value))
        break
      case MSR_STAR:
        this.syscallSelector = Number((value >> 32n) & 0xffffn)
        this.sysretSelector = Number((value >> 48n) & 0xffffn)
        break
      case MSR_FMASK:
        this.fmask = Number(BigInt.asIntN(32, value))
        break
      case MSR_TSC_AUX:
        this.tscAux = Number(BigInt.asIntN(32, value))
    }
  }
}

/** The feature without which an MSR does not exist; MSRs that are not listed do not exist anywhere (or are the platform's). */
function featureOf(index: number): Feature | undefined {
  switch (index) {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
      return 'mce'
    case MSR_TSC:
      return 'tsc'
    case MSR_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_BIOS_UPDT_TRIG:
    case MSR_BIOS_SIGN_ID:
    case MSR_MISC_ENABLE:
      return 'p6'
    case MSR_PMC0:
    case MSR_PMC1:
    case MSR_PERFEVTSEL0:
    case MSR_PERFEVTSEL1:
      return 'rdpmc'
    case MSR_MTRRCAP:
    case MSR_MTRR_DEF_TYPE:
    case MSR_MTRR_FIX64K:
    case MSR_MTRR_FIX16K_80000:
    case MSR_MTRR_FIX16K_A0000:
      return 'mtrr'
    case MSR_ARCH_CAPABILITIES:
      return 'arch-capabilities'
    case MSR_SPEC_CTRL:
    case MSR_PRED_CMD:
      return 'spec-ctrl'
    case MSR_SYSENTER_CS:
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
      return 'sep'
    case MSR_MCG_CAP:
    case MSR_MCG_STATUS:
      return 'mca'
    case MSR_PAT:
      return 'pat'
    case MSR_EFER:
    case MSR_STAR:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FMASK:
      return 'syscall'
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE:
      return 'lm'
    case MSR_TSC_AUX:
      return 'rdtscp'
  }
  if (index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_PHYSBASE0 + MTRR_PAIRS * 2) return 'mtrr'
  if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8) return 'mtrr'
  return undefined
}

/** A memory type that MTRRs may hold: UC, WC, WT, WP, WB. */
function mtrrType(type: number): boolean {
  return type === 0 || type === 1 || type === 4 || type === 5 || type === 6
}

function mtrrTypes(value: bigint): boolean {
  for (let n = 0n; n < 64n; n += 8n) if (!mtrrType(Number((value >> n) & 0xffn))) return false
  return true
}

/** PAT entries: as MTRR types, and UC−. */
function patTypes(value: bigint): boolean {
  for (let n = 0n; n < 64n; n += 8n) {
    const type = Number((value >> n) & 0xffn)
    if (!mtrrType(type) && type !== 7) return false
  }
  return true
}

function canonical(value: bigint): boolean {
  return BigInt.asIntN(48, value) === BigInt.asIntN(64, value)
}

/** Reads an MSR as RDMSR does. `undefined`: it does not exist. */
export function readMsr(cpu: CpuCore, index: number): bigint | undefined {
  const s = cpu.s
  const feature = featureOf(index)
  if (feature === undefined || !cpu.model.features.has(feature)) return cpu.platform.readMsr?.(index)
  switch (index) {
    case MSR_TSC:
      return cpu.readTsc()
    case MSR_EFER:
      return BigInt(s.efer >>> 0)
    case MSR_FS_BASE:
      return s.getBig(OFF_SEG + SEG_FS * SEG_STRIDE + SEG_BASE)
    case MSR_GS_BASE:
      return s.getBig(OFF_SEG + SEG_GS * SEG_STRIDE + SEG_BASE)
    case MSR_MTRRCAP:
      return MTRRCAP
    case MSR_ARCH_CAPABILITIES:
      return ARCH_CAPABILITIES
    case MSR_PRED_CMD:
      return undefined
    case MSR_PAT:
      return cpu.msr.get(index) ?? PAT_DEFAULT
    case MSR_MISC_ENABLE:
      return cpu.msr.get(index) ?? MISC_ENABLE_DEFAULT
    default:
      return cpu.msr.get(index) ?? 0n
  }
}

/** Writes an MSR as WRMSR does. False: it does not exist, or does not take this value. */
export function writeMsr(cpu: CpuCore, index: number, value: bigint): boolean {
  const s = cpu.s
  const feature = featureOf(index)
  if (feature === undefined || !cpu.model.features.has(feature)) return cpu.platform.writeMsr?.(index, value) ?? false
  switch (index) {
    case MSR_TSC:
      cpu.writeTsc(value)
      return true
    case MSR_EFER:
      return writeEfer(cpu, value)
    case MSR_FS_BASE:
    case MSR_GS_BASE:
      if (!canonical(value)) return false
      s.setBig(OFF_SEG + (index === MSR_FS_BASE ? SEG_FS : SEG_GS) * SEG_STRIDE + SEG_BASE, value)
      cpu.updateMode()
      return true
    case MSR_KERNEL_GS_BASE:
    case MSR_LSTAR:
    case MSR_CSTAR:
      if (!canonical(value)) return false
      break
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
      if (!cpu.model.features.has('lm')) {
        cpu.msr.set(index, value & MASK32)
        return true
      }
      if (!canonical(value)) return false
      break
    case MSR_SYSENTER_CS:
      cpu.msr.set(index, value & MASK32)
      return true
    case MSR_FMASK:
    case MSR_TSC_AUX:
      if (value > MASK32) return false
      break
    case MSR_PLATFORM_ID:
    case MSR_MTRRCAP:
    case MSR_MCG_CAP:
    case MSR_ARCH_CAPABILITIES:
      return false
    case MSR_SPEC_CTRL:
      if (value & ~SPEC_CTRL_WRITABLE) return false
      break
    case MSR_PRED_CMD:
      // A barrier for predictions, of which there are none.
      return (value & ~PRED_CMD_BITS) === 0n
    case MSR_BIOS_UPDT_TRIG:
      // Loading a microcode update: accepted, and nothing changes.
      return true
    case MSR_BIOS_SIGN_ID:
      // Software writes 0 before CPUID puts the revision here; there is none.
      cpu.msr.set(index, 0n)
      return true
    case MSR_MCG_STATUS:
      if (value !== 0n) return false
      break
    case MSR_PAT:
      if (!patTypes(value)) return false
      break
    case MSR_MTRR_DEF_TYPE:
      if (value & ~0xcffn || !mtrrType(Number(value & 0xffn))) return false
      break
    case MSR_MISC_ENABLE:
      cpu.msr.set(index, (MISC_ENABLE_DEFAULT & ~MISC_ENABLE_WRITABLE) | (value & MISC_ENABLE_WRITABLE))
      return true
    default:
      if (index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_PHYSBASE0 + MTRR_PAIRS * 2) {
        if (value >> BigInt(cpu.model.physicalBits)) return false
        if (index & 1 ? value & 0x7ffn : value & 0xf00n || !mtrrType(Number(value & 0xffn))) return false
      } else if (index >= MSR_MTRR_FIX64K && index < MSR_MTRR_FIX4K + 8 && !mtrrTypes(value)) return false
  }
  cpu.msr.set(index, value)
  return true
}

function writeEfer(cpu: CpuCore, value: bigint): boolean {
  const s = cpu.s
  if (value > MASK32) return false
  const next = Number(value)
  if (next & ~cpu.model.eferMask) return false
  // LME cannot change while paging is on. LMA is the processor's: what is written to it does not count.
  if ((next ^ s.efer) & EFER_LME && s.cr0 & CR0_PG) return false
  const changed = next ^ s.efer
  s.efer = (next & ~EFER_LMA) | (s.efer & EFER_LMA)
  if (changed & EFER_NXE) {
    cpu.mem.configurePaging()
    cpu.mem.flushAll()
  }
  cpu.updateMode()
  return true
}

function setEdxEax(cpu: CpuCore, value: bigint): void {
  cpu.s.setReg32(0, Number(BigInt.asIntN(32, value)))
  cpu.s.setReg32(2, Number(BigInt.asIntN(32, value >> 32n)))
}

/** Helper RDMSR. */
export function rdmsr(cpu: CpuCore): void {
  requireCpl0(cpu)
  const value = readMsr(cpu, cpu.s.reg32(1))
  if (value === undefined) raiseGp(0)
  setEdxEax(cpu, value)
}

/** Helper WRMSR. */
export function wrmsr(cpu: CpuCore): void {
  requireCpl0(cpu)
  const s = cpu.s
  const value = (BigInt(s.reg32(2)) << 32n) | BigInt(s.reg32(0))
  if (!writeMsr(cpu, s.reg32(1), value)) raiseGp(0)
  s.set32(TSC_AUX, cpu.msr.tscAux)
}

function checkTsc(cpu: CpuCore): void {
  if (cpu.s.cr4 & CR4_TSD && cpu.cpl !== 0) raiseGp(0)
}

/** Puts the time-stamp counter into EDX:EAX. Kernels read it at every turn of a delay loop, so it goes without BigInt where it can. */
function tscToEdxEax(cpu: CpuCore): void {
  const { s } = cpu
  const tsc = cpu.readTscNumber()
  if (tsc < 0) {
    setEdxEax(cpu, cpu.readTsc())
    return
  }
  s.setReg32(0, tsc | 0)
  s.setReg32(2, Math.floor(tsc / TWO32) | 0)
}

/** Helper RDTSC. */
export function rdtsc(cpu: CpuCore): void {
  checkTsc(cpu)
  tscToEdxEax(cpu)
}

/** Helper RDTSCP. */
export function rdtscp(cpu: CpuCore): void {
  checkTsc(cpu)
  tscToEdxEax(cpu)
  cpu.s.setReg32(1, cpu.msr.tscAux)
}

/** Helper RDPID: a = destination slot, c = its size. */
export function rdpid(cpu: CpuCore, a: number, _b: number, c: number): void {
  setSlot(cpu.s, a, c, Number(cpu.msr.get(MSR_TSC_AUX) ?? 0n) | 0)
}

/** Helper RDPMC. The two counters hold what was written to them: events are not counted. */
export function rdpmc(cpu: CpuCore): void {
  if (cpu.cpl !== 0 && (cpu.s.cr4 & CR4_PCE) === 0) raiseGp(0)
  const index = cpu.s.reg32(1)
  if (index > 1) raiseGp(0)
  setEdxEax(cpu, (cpu.msr.get(MSR_PMC0 + index) ?? 0n) & 0xff_ffff_ffffn)
}

/** What RDPKRU and WRPKRU check first: #UD unless CR4.PKE is set, #GP(0) unless ECX is 0. */
function checkPkru(cpu: CpuCore): void {
  if ((cpu.s.cr4 & CR4_PKE) === 0) raiseUd()
  if (cpu.s.reg32(1) !== 0) raiseGp(0)
}

/** Helper RDPKRU. */
export function rdpkru(cpu: CpuCore): void {
  checkPkru(cpu)
  cpu.s.setReg32(0, cpu.s.pkru)
  cpu.s.setReg32(2, 0)
}

/** Helper WRPKRU. Takes effect on the next access without any flush. */
export function wrpkru(cpu: CpuCore): void {
  checkPkru(cpu)
  if (cpu.s.reg32(2) !== 0) raiseGp(0)
  cpu.s.pkru = cpu.s.reg32(0)
  cpu.mem.configurePaging()
}
