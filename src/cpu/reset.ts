/**
 * The state after power-on and after INIT. Source: Intel SDM Vol. 3A, "Processor State After Reset" (table of IA-32 processor states
 * following power-up, reset or INIT); 80286 and 8086 manuals for theirs.
 */

import { SEG_CS } from '../isa/instruction.js'
import { CR0_CD, CR0_NW } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { DR6_ONES, DR7_ONES } from './debug-registers.js'
import { OFF_XCR0, SEG_LDTR, SEG_TR } from './layout.js'
import { cpuSignature } from './models.js'
import { resetSse } from './mxcsr.js'
import { SMBASE_DEFAULT } from './smm.js'
import { resetX87 } from './x87-state.js'
import { XCR0_X87 } from './xsave.js'

/** Power-on reset: registers, MSRs, TLB, and the processor's own states (halted, shutdown, SMM, NMI). */
export function resetState(cpu: CpuCore): void {
  cpu.msr.clear()
  cpu.smbase = SMBASE_DEFAULT
  cpu.writeTsc(0n)
  resetX87(cpu)
  resetSse(cpu.s)
  cpu.s.set32(OFF_XCR0, XCR0_X87)
  const i486 = cpu.model.features.has('486')
  common(cpu, i486 ? (CR0_CD | CR0_NW) >>> 0 : 0)
}

/** INIT: as reset, but caches, MSRs, SMBASE and time-stamp counter stay. */
export function initState(cpu: CpuCore): void {
  common(cpu, (cpu.s.cr0 & (CR0_CD | CR0_NW)) >>> 0)
}

function common(cpu: CpuCore, cr0: number): void {
  const s = cpu.s
  const { model } = cpu
  for (let reg = 0; reg < 16; reg++) s.setReg64(reg, 0, 0)
  if (model.features.has('386')) s.setReg32(2, cpuSignature(model))
  s.flags = model.flagsOnes
  s.cr0 = (cr0 & model.cr0Writable) | model.cr0Ones
  s.cr2 = 0
  s.cr3 = 0
  s.cr4 = 0
  s.cr8 = 0
  s.efer = 0
  s.pkru = 0
  for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0, 0, 0xffff, 0x93)
  if (model.features.has('386')) {
    s.setSegment(SEG_CS, 0xf000, 0xffff_0000, 0xffff, 0x93)
    s.rip = 0xfff0
  } else if (model.features.has('286')) {
    s.setSegment(SEG_CS, 0xf000, 0xff_0000, 0xffff, 0x93)
    s.rip = 0xfff0
  } else {
    s.setSegment(SEG_CS, 0xffff, 0xf_fff0, 0xffff, 0x93)
    s.rip = 0
  }
  s.setSegment(SEG_LDTR, 0, 0, 0xffff, 0x82)
  s.setSegment(SEG_TR, 0, 0, 0xffff, model.features.has('386') ? 0x8b : 0x83)
  s.setGdtr(0, 0xffff)
  s.setIdtr(0, model.features.has('386') ? 0xffff : 0x3ff)
  for (let n = 0; n < 4; n++) s.setDr(n, 0)
  s.setDr(6, DR6_ONES)
  s.setDr(7, DR7_ONES)
  cpu.halted = false
  cpu.shutdown = false
  cpu.nmiBlocked = false
  cpu.inSmm = false
  cpu.pendingDebug = 0
  cpu.nextRip = s.rip
  cpu.setCpl(0)
  cpu.mem.configurePaging()
  cpu.mem.flushAll()
  cpu.updateMode()
  cpu.interruptEngine()
}
