/**
 * Hardware task switching between 16- and 32-bit TSSs, in the order of Intel SDM Vol. 3A, "Task Switching": up to the commit point faults belong
 * to the old task; after it the CPU stands in the new task, and a fault found while its segments are loaded is reported there.
 */

import { FLAG_NT, FLAG_VM } from '../isa/flags.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../isa/instruction.js'
import {
  asTaskFault,
  CR0_PG,
  CR0_TS,
  CR4_PAE,
  checkDataLoad,
  checkStackLoad,
  checkTaskCode,
  checkTaskLdt,
} from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { DR6_BT } from './debug-registers.js'
import { raiseGp, raiseWithCode, VECTOR_TS } from './exceptions.js'
import { legalizeFlags } from './flags-instructions.js'
import { SEG_LDTR, SEG_TR, SEG_UNUSABLE } from './layout.js'
import {
  Descriptor,
  linearAddress,
  loadCache,
  loadNull,
  loadV86,
  markAccessed,
  raiseIf,
  readDescriptor,
  setBusy,
} from './system-common.js'

/** What causes a switch. */
export const TASK_JMP = 0
export const TASK_CALL = 1
export const TASK_IRET = 2
/** An interrupt or exception through a task gate. */
export const TASK_EVENT = 3

// Offsets in a 32-bit TSS. Source: "32-Bit Task-State Segment (TSS)".
export const TSS32_LINK = 0x00
export const TSS32_CR3 = 0x1c
export const TSS32_EIP = 0x20
export const TSS32_EFLAGS = 0x24
export const TSS32_EAX = 0x28
export const TSS32_ES = 0x48
export const TSS32_LDT = 0x60
export const TSS32_TRAP = 0x64
export const TSS32_IOMAP = 0x66
export const TSS32_MIN_LIMIT = 0x67
// Offsets in a 16-bit TSS. Source: "16-Bit Task-State Segment (TSS)".
export const TSS16_IP = 0x0e
export const TSS16_FLAGS = 0x10
export const TSS16_AX = 0x12
export const TSS16_ES = 0x22
export const TSS16_LDT = 0x2a
export const TSS16_MIN_LIMIT = 0x2b

/** DR7: L0–L3 and LE, which a task switch clears. */
const DR7_LOCAL = 0x155

const old = new Descriptor()
const d = new Descriptor()
const gprs = new Int32Array(8)
/** In the order of the TSS: ES CS SS DS FS GS. */
const selectors = new Uint16Array(6)
/** Data segments in the order in which they are loaded. */
const DATA_SEGMENTS: readonly number[] = [SEG_DS, SEG_ES, SEG_FS, SEG_GS]

/**
 * Switches to the task of `target`, a TSS descriptor that passed the checks of its caller (type, privilege, presence). `returnRip` and `flags`
 * are what is saved for the old task. Afterwards `s.rip` and `cpu.nextRip` are the new task's.
 */
export function taskSwitch(cpu: CpuCore, target: Descriptor, cause: number, returnRip: number, flags: number): void {
  const s = cpu.s
  const mem = cpu.mem
  const wide = (target.attr & 8) !== 0
  const oldWide = (s.segAttr(SEG_TR) & 8) !== 0
  if (target.limit < (wide ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT)) raiseWithCode(VECTOR_TS, target.selector & 0xfffc)
  const nests = cause === TASK_CALL || cause === TASK_EVENT
  const newBase = target.base
  const oldBase = s.segBase(SEG_TR)
  const oldSelector = s.selector(SEG_TR)

  // Everything that will be touched must be there before the first change: a TSS spans at most two pages.
  const size = wide ? TSS32_MIN_LIMIT + 1 : TSS16_MIN_LIMIT + 1
  mem.lin8(linearAddress(cpu, newBase))
  mem.lin8(linearAddress(cpu, newBase + size - 1))
  if (nests) mem.probeLinWrite(linearAddress(cpu, newBase), 2)
  mem.probeLinWrite(linearAddress(cpu, oldBase), oldWide ? TSS32_MIN_LIMIT + 1 : TSS16_MIN_LIMIT + 1)
  if (cause !== TASK_IRET) mem.probeLinWrite(linearAddress(cpu, target.linear + 5), 1)
  if (!nests) {
    if (!readDescriptor(cpu, oldSelector & 0xfff8, old)) raiseWithCode(VECTOR_TS, oldSelector & 0xfffc)
    mem.probeLinWrite(linearAddress(cpu, old.linear + 5), 1)
    setBusy(cpu, old, false)
  }

  saveTask(cpu, oldBase, oldWide, returnRip, cause === TASK_IRET ? flags & ~FLAG_NT : flags)

  // Reading comes after saving: the two may be the same TSS.
  const at = (offset: number): number => linearAddress(cpu, newBase + offset)
  let newCr3 = 0
  let newRip: number
  let newFlags: number
  let trap = 0
  let ldt: number
  if (wide) {
    newCr3 = mem.lin32(at(TSS32_CR3)) >>> 0
    newRip = mem.lin32(at(TSS32_EIP)) >>> 0
    newFlags = mem.lin32(at(TSS32_EFLAGS)) | 0
    for (let n = 0; n < 8; n++) gprs[n] = mem.lin32(at(TSS32_EAX + n * 4))
    for (let n = 0; n < 6; n++) selectors[n] = mem.lin16(at(TSS32_ES + n * 4))
    ldt = mem.lin16(at(TSS32_LDT))
    trap = mem.lin8(at(TSS32_TRAP)) & 1
  } else {
    newRip = mem.lin16(at(TSS16_IP))
    newFlags = mem.lin16(at(TSS16_FLAGS))
    // The upper halves of the registers are not in a 16-bit TSS; processors fill them with ones.
    for (let n = 0; n < 8; n++) gprs[n] = mem.lin16(at(TSS16_AX + n * 2)) | 0xffff_0000
    for (let n = 0; n < 4; n++) selectors[n] = mem.lin16(at(TSS16_ES + n * 2))
    selectors[SEG_FS] = 0
    selectors[SEG_GS] = 0
    ldt = mem.lin16(at(TSS16_LDT))
  }
  if (nests) {
    mem.setLin16(at(TSS32_LINK), oldSelector)
    newFlags |= FLAG_NT
  }
  if (cause !== TASK_IRET) setBusy(cpu, target, true)

  // The commit point: from here on everything happens in the new task.
  target.attr |= 2
  s.setSegment(SEG_TR, target.selector, newBase, target.limit, target.attr)
  s.cr0 |= CR0_TS
  s.setDr(7, (s.dr(7) & ~DR7_LOCAL) >>> 0)
  for (let n = 0; n < 8; n++) s.setReg32(n, gprs[n]!)
  s.flags = legalizeFlags(cpu, newFlags)
  s.rip = newRip
  cpu.nextRip = newRip
  const v86 = (s.flagsRest & FLAG_VM) !== 0
  for (let seg = 0; seg < 6; seg++) s.setSegment(seg, selectors[seg]!, 0, 0, SEG_UNUSABLE)
  s.setSegment(SEG_LDTR, ldt, 0, 0, SEG_UNUSABLE)
  cpu.setCpl(v86 ? 3 : selectors[SEG_CS]! & 3)
  if (trap) cpu.pendingDebug |= DR6_BT
  cpu.interruptEngine()
  if (wide && s.cr0 & CR0_PG) loadCr3(cpu, newCr3)
  cpu.updateMode()
  loadTaskSegments(cpu, ldt, v86)
  cpu.updateMode()
  if (newRip > s.segLimit(SEG_CS)) raiseGp(0)
}

function saveTask(cpu: CpuCore, base: number, wide: boolean, rip: number, flags: number): void {
  const s = cpu.s
  const mem = cpu.mem
  if (wide) {
    mem.setLin32(linearAddress(cpu, base + TSS32_EIP), rip | 0)
    mem.setLin32(linearAddress(cpu, base + TSS32_EFLAGS), flags)
    for (let n = 0; n < 8; n++) mem.setLin32(linearAddress(cpu, base + TSS32_EAX + n * 4), s.reg32(n))
    for (let n = 0; n < 6; n++) mem.setLin16(linearAddress(cpu, base + TSS32_ES + n * 4), s.selector(n))
  } else {
    mem.setLin16(linearAddress(cpu, base + TSS16_IP), rip & 0xffff)
    mem.setLin16(linearAddress(cpu, base + TSS16_FLAGS), flags & 0xffff)
    for (let n = 0; n < 8; n++) mem.setLin16(linearAddress(cpu, base + TSS16_AX + n * 2), s.reg16(n))
    for (let n = 0; n < 4; n++) mem.setLin16(linearAddress(cpu, base + TSS16_ES + n * 2), s.selector(n))
  }
}

function loadCr3(cpu: CpuCore, cr3: number): void {
  const s = cpu.s
  if (s.cr4 & CR4_PAE && !cpu.mem.loadPdptes(cr3)) raiseGp(0)
  s.cr3 = cr3
  cpu.mem.configurePaging()
  cpu.mem.flushNonGlobal()
}

/** LDTR, then SS, CS and the data segments (Intel SDM Vol. 3A, "Task Switching", table of exception conditions), each checked as a load in the new task; what is #GP elsewhere is #TS here. */
function loadTaskSegments(cpu: CpuCore, ldt: number, v86: boolean): void {
  const s = cpu.s
  if ((ldt & 0xfffc) !== 0) {
    if (ldt & 4 || !readDescriptor(cpu, ldt, d)) raiseWithCode(VECTOR_TS, ldt & 0xfffc)
    raiseIf(checkTaskLdt(ldt, d.attr))
    loadCache(cpu, SEG_LDTR, ldt, d)
  }
  if (v86) {
    for (let seg = 0; seg < 6; seg++) loadV86(s, seg, s.selector(seg))
    return
  }
  // SS before CS: a fault of CS then has a stack to be delivered on.
  const ss = s.selector(SEG_SS)
  if ((ss & 0xfffc) === 0) raiseWithCode(VECTOR_TS, 0)
  if (!readDescriptor(cpu, ss, d)) raiseWithCode(VECTOR_TS, ss & 0xfffc)
  raiseIf(asTaskFault(checkStackLoad(ss, d.attr, cpu.cpl)))
  markAccessed(cpu, d)
  loadCache(cpu, SEG_SS, ss, d)

  const cs = s.selector(SEG_CS)
  if ((cs & 0xfffc) === 0) raiseWithCode(VECTOR_TS, 0)
  if (!readDescriptor(cpu, cs, d)) raiseWithCode(VECTOR_TS, cs & 0xfffc)
  raiseIf(checkTaskCode(cs, d.attr))
  markAccessed(cpu, d)
  loadCache(cpu, SEG_CS, cs, d)
  cpu.updateMode()

  for (const seg of DATA_SEGMENTS) {
    const selector = s.selector(seg)
    if ((selector & 0xfffc) === 0) {
      loadNull(s, seg, selector)
      continue
    }
    if (!readDescriptor(cpu, selector, d)) raiseWithCode(VECTOR_TS, selector & 0xfffc)
    raiseIf(asTaskFault(checkDataLoad(selector, d.attr, cpu.cpl)))
    markAccessed(cpu, d)
    loadCache(cpu, seg, selector, d)
  }
}

/** Selector of the previous task in the current TSS, for IRET with NT. */
export function taskLink(cpu: CpuCore): number {
  return cpu.mem.lin16(linearAddress(cpu, cpu.s.segBase(SEG_TR) + TSS32_LINK))
}
