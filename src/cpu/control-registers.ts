/**
 * MOV to and from control, debug and test registers, and what goes with them. Each register has a `legalize`-like writer that raises #GP for
 * reserved bits and then takes the consequences: paging mode, TLB, long mode.
 * Source: Intel SDM Vol. 2, "MOV – Move to/from Control Registers" and "Debug Registers"; Vol. 3A, "Control Registers", "Initializing IA-32e
 * Mode", "Operations that Invalidate TLBs and Paging-Structure Caches".
 */

import { SEG_CS } from '../isa/instruction.js'
import {
  ATTR_L,
  CR0_CD,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
} from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { DR6_BD, DR7_GD, legalizeDr6, legalizeDr7 } from './debug-registers.js'
import { raise, raiseGp, raiseUd, VECTOR_DB } from './exceptions.js'
import { SEG_TR } from './layout.js'
import { checkUmip } from './segment-load.js'
import { in64BitMode, number64, requireCpl0, setSlot, slot16, slot32, TWO32 } from './system-common.js'

/** Helper MOV r, CRn: a = destination slot, b = register number, c = operand size. */
export function movFromControl(cpu: CpuCore, a: number, b: number, c: number): void {
  requireCpl0(cpu)
  const s = cpu.s
  let value: number
  switch (b) {
    case 0:
      value = s.cr0 >>> 0
      break
    case 2:
      value = s.cr2
      break
    case 3:
      value = s.cr3
      break
    case 4:
      if (cpu.model.cr4Mask === 0) raiseUd()
      value = s.cr4 >>> 0
      break
    case 8:
      if (!in64BitMode(cpu)) raiseUd()
      value = cpu.platform.taskPriority?.() ?? s.cr8
      break
    default:
      raiseUd()
  }
  setSlot(s, a, c, value | 0, Math.floor(value / TWO32) | 0)
}

/** Helper MOV CRn, r: a = source slot, b = register number, c = operand size. */
export function movToControl(cpu: CpuCore, a: number, b: number, c: number): void {
  requireCpl0(cpu)
  const s = cpu.s
  const lo = slot32(s, a)
  const hi = c === 8 ? s.get32(a + 4) : 0
  switch (b) {
    case 0:
      if (hi !== 0) raiseGp(0)
      writeCr0(cpu, lo)
      return
    case 2:
      s.cr2 = number64(lo, hi)
      return
    case 3:
      writeCr3(cpu, lo, hi)
      return
    case 4:
      if (cpu.model.cr4Mask === 0) raiseUd()
      if (hi !== 0) raiseGp(0)
      writeCr4(cpu, lo)
      return
    case 8:
      if (!in64BitMode(cpu)) raiseUd()
      if (hi !== 0 || lo > 15) raiseGp(0)
      s.cr8 = lo
      cpu.platform.taskPriorityChanged?.(lo)
      return
    default:
      raiseUd()
  }
}

/** CR0 as the model keeps it: bits it has not are ignored, constant ones are set. */
function legalizeCr0(cpu: CpuCore, value: number): number {
  return ((value & cpu.model.cr0Writable) | cpu.model.cr0Ones) >>> 0
}

/** MOV CR0: every check of the transition first, then the change. */
export function writeCr0(cpu: CpuCore, value: number): void {
  const s = cpu.s
  const old = s.cr0 >>> 0
  const next = legalizeCr0(cpu, value)
  if (next & CR0_PG && (next & CR0_PE) === 0) raiseGp(0)
  if (next & CR0_NW && (next & CR0_CD) === 0 && cpu.model.features.has('486')) raiseGp(0)
  const changed = old ^ next
  let efer = s.efer
  if (changed & CR0_PG) {
    if (next & CR0_PG) {
      if (efer & EFER_LME) {
        // Activating long mode: PAE must be on, CS must not be 64-bit code, TR must not hold a 16-bit TSS.
        if ((s.cr4 & CR4_PAE) === 0 || s.segAttr(SEG_CS) & ATTR_L || (s.segAttr(SEG_TR) & 0x1f) < 8) raiseGp(0)
        efer |= EFER_LMA
      }
    } else {
      // Paging cannot be switched off in 64-bit code, nor with PCIDs on.
      if (in64BitMode(cpu) || s.cr4 & CR4_PCIDE) raiseGp(0)
      efer &= ~EFER_LMA
    }
  }
  const pae = next & CR0_PG && s.cr4 & CR4_PAE && (efer & EFER_LMA) === 0
  if (pae && changed & (CR0_PG | CR0_CD | CR0_NW) && !cpu.mem.loadPdptes(s.cr3)) raiseGp(0)
  s.cr0 = next
  s.efer = efer
  if (changed & (CR0_PG | CR0_PE | CR0_WP)) {
    cpu.mem.configurePaging()
    // Changing PG drops everything; WP is looked at on every access. PE alone changes no translation, and firmware and boot loaders
    // switch it at every call between real and protected mode.
    if (changed & CR0_PG) cpu.mem.flushAll()
  }
  cpu.updateMode()
}

/** MOV CR3. Bit 63 with PCIDs on keeps the entries of the new PCID. */
export function writeCr3(cpu: CpuCore, lo: number, hi: number): void {
  const s = cpu.s
  const pcid = (s.cr4 & CR4_PCIDE) !== 0
  const keep = pcid && hi < 0
  let high = keep ? hi & 0x7fff_ffff : hi
  if (s.longMode) {
    const bits = cpu.model.physicalBits
    if (bits < 64 && high >>> Math.max(0, bits - 32)) raiseGp(0)
  } else high = 0
  const value = number64(lo, high)
  if (s.cr0 & CR0_PG && s.cr4 & CR4_PAE && !s.longMode && !cpu.mem.loadPdptes(value)) raiseGp(0)
  s.cr3 = value
  cpu.mem.cr3Changed()
  if (keep) return
  if (pcid) cpu.mem.flushPcid(lo & 0xfff)
  else cpu.mem.flushNonGlobal()
}

/** MOV CR4. */
export function writeCr4(cpu: CpuCore, value: number): void {
  const s = cpu.s
  if (value & ~cpu.model.cr4Mask) raiseGp(0)
  const old = s.cr4 >>> 0
  const changed = old ^ value
  if (s.longMode && (value & CR4_PAE) === 0) raiseGp(0)
  if (changed & value & CR4_PCIDE && (!s.longMode || s.cr3 % 4096 !== 0)) raiseGp(0)
  const paging = (s.cr0 & CR0_PG) !== 0
  if (paging && !s.longMode && value & CR4_PAE && changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) {
    // The PDPTEs are loaded under the new CR4.
    if (!cpu.mem.loadPdptes(s.cr3)) raiseGp(0)
  }
  s.cr4 = value
  cpu.mem.configurePaging()
  if (changed & (CR4_PGE | CR4_PAE | CR4_PSE | CR4_PKE) || (changed & CR4_PCIDE && !(value & CR4_PCIDE))) {
    cpu.mem.flushAll()
  } else if (changed & (CR4_SMEP | CR4_SMAP) & value) cpu.mem.flushNonGlobal()
  if (changed & CR4_DE) cpu.interruptEngine()
  cpu.updateMode()
}

/** Helper CLTS. */
export function clts(cpu: CpuCore): void {
  requireCpl0(cpu)
  cpu.s.cr0 &= ~CR0_TS
  cpu.updateMode()
}

/** Helper LMSW: a = slot of the source. PE can be set, not cleared. */
export function lmsw(cpu: CpuCore, a: number): void {
  const s = cpu.s
  const value = slot16(s, a)
  writeCr0(cpu, ((s.cr0 & ~0xe) | (value & 0xe) | (value & CR0_PE)) >>> 0)
}

/** Helper SMSW: a = destination slot, 64 bits written. */
export function smsw(cpu: CpuCore, a: number): void {
  checkUmip(cpu)
  setSlot(cpu.s, a, 8, cpu.s.cr0, 0)
}

// --- debug and test registers -------------------------------------------------------------------------------------------

/** The register that `number` names, or #UD; then #GP by privilege, then #DB by DR7.GD. */
function debugRegister(cpu: CpuCore, number: number): number {
  const s = cpu.s
  let n = number
  if (n > 7) raiseUd()
  if (n === 4 || n === 5) {
    if (s.cr4 & CR4_DE) raiseUd()
    n += 2
  }
  requireCpl0(cpu)
  if (s.dr(7) & DR7_GD) {
    s.setDr(6, (s.dr(6) | DR6_BD) >>> 0)
    s.setDr(7, (s.dr(7) & ~DR7_GD) >>> 0)
    raise(VECTOR_DB)
  }
  return n
}

/** Helper MOV r, DRn: a = destination slot, b = register number, c = operand size. */
export function movFromDebug(cpu: CpuCore, a: number, b: number, c: number): void {
  const s = cpu.s
  const value = s.dr(debugRegister(cpu, b))
  setSlot(s, a, c, value | 0, Math.floor(value / TWO32) | 0)
}

/** Helper MOV DRn, r: a = source slot, b = register number, c = operand size. */
export function movToDebug(cpu: CpuCore, a: number, b: number, c: number): void {
  const s = cpu.s
  const n = debugRegister(cpu, b)
  const lo = slot32(s, a)
  const hi = c === 8 ? s.get32(a + 4) : 0
  if (n >= 6) {
    if (hi !== 0) raiseGp(0)
    s.setDr(n, n === 6 ? legalizeDr6(lo) : legalizeDr7(lo))
  } else s.setDr(n, number64(lo, hi))
  cpu.updateMode()
  cpu.interruptEngine()
}

/** First MSR number of the shadow in which TR3–TR7 are kept: outside every architectural range. */
const TEST_REGISTERS = -8

/** Helper MOV r, TRn: a = destination slot, b = register. The test registers hold what was written and act on nothing. */
export function movFromTest(cpu: CpuCore, a: number, b: number): void {
  if (b < firstTestRegister(cpu)) raiseUd()
  requireCpl0(cpu)
  setSlot(cpu.s, a, 4, Number(cpu.msr.get(TEST_REGISTERS + b) ?? 0n) | 0)
}

/** Helper MOV TRn, r: a = source slot, b = register. */
export function movToTest(cpu: CpuCore, a: number, b: number): void {
  if (b < firstTestRegister(cpu)) raiseUd()
  requireCpl0(cpu)
  cpu.msr.set(TEST_REGISTERS + b, BigInt(slot32(cpu.s, a)))
}

/** TR6 and TR7 from the 80386, TR3–TR5 (cache) from the 80486. */
function firstTestRegister(cpu: CpuCore): number {
  return cpu.model.features.has('486') ? 3 : 6
}

// --- invalidation ----------------------------------------------------------------------------------------------------------

/** Helper INVLPG: a = slot of the offset, b = segment. No limit check and no fault for a non-canonical address. */
export function invlpg(cpu: CpuCore, a: number, b: number): void {
  requireCpl0(cpu)
  const s = cpu.s
  const offset = s.getNumber(a)
  if (in64BitMode(cpu)) cpu.mem.flushPage(b >= 4 ? offset + s.segBase(b) : offset)
  else cpu.mem.flushPage((offset + s.segBase(b)) % TWO32)
}

/** Helper INVPCID: a = slot of the type, b = slot of the descriptor's offset, c = its segment. */
export function invpcid(cpu: CpuCore, a: number, b: number, c: number): void {
  requireCpl0(cpu)
  const s = cpu.s
  const type = slot32(s, a)
  const at = s.getNumber(b)
  cpu.mem.read64(c, at)
  const pcid = cpu.mem.lo & 0xfff
  const reserved = (cpu.mem.lo & ~0xfff) | cpu.mem.hi
  cpu.mem.read64(c, at + 8)
  const linear = number64(cpu.mem.lo, cpu.mem.hi)
  if ((in64BitMode(cpu) && s.get32(a + 4) !== 0) || type > 3) raiseGp(0)
  if (type !== 2 && type !== 3 && reserved !== 0) raiseGp(0)
  if (type < 2 && (s.cr4 & CR4_PCIDE) === 0 && pcid !== 0) raiseGp(0)
  switch (type) {
    case 0:
      if (linear < -0x8000_0000_0000 || linear >= 0x8000_0000_0000) raiseGp(0)
      // The page of another PCID goes with all of that PCID: more may always be dropped.
      if (!(s.cr4 & CR4_PCIDE) || pcid === s.cr3 % 4096) cpu.mem.flushPage(linear)
      else cpu.mem.flushPcid(pcid)
      return
    case 1:
      cpu.mem.flushPcid(pcid)
      return
    case 2:
      cpu.mem.flushAll()
      return
    default:
      cpu.mem.flushNonGlobal()
  }
}
