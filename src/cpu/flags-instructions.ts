/**
 * Instructions on system flags: CLI, STI, PUSHF, POPF, HLT, with the virtual-interrupt extensions of virtual-8086 (CR4.VME) and protected mode
 * (CR4.PVI). Source: Intel SDM Vol. 2, the pages of these instructions; Vol. 3B, "Virtual-8086 Mode Extensions".
 */

import {
  FLAG_AC,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
} from '../isa/flags.js'
import { CR4_PVI, CR4_VME } from '../mmu/index.js'
import { type CpuCore, SHADOW_STI } from './cpu-types.js'
import { raiseGp } from './exceptions.js'
import { iopl, requireCpl0, StackReader, StackWriter, setStackPointer } from './system-common.js'

const writer = new StackWriter()
const reader = new StackReader()

/** What FLAGS becomes when `value` is written: bits that this model has not are dropped, its constant bits are set. */
export function legalizeFlags(cpu: CpuCore, value: number): number {
  const model = cpu.model
  let mask = model.flagsMask
  // The 80286 keeps NT and IOPL clear in real mode (80386 manual, "Differences from 80286 real-address mode").
  if ((cpu.s.cr0 & 1) === 0 && !model.features.has('386')) mask &= ~(FLAG_NT | FLAG_IOPL)
  return (value & mask) | model.flagsOnes
}

/** Status and control bits that POPF and IRET write at any privilege and operand size: CF PF AF ZF SF TF DF OF NT. */
export const FLAGS_ANY_PRIVILEGE = 0x4dd5

/** Replaces the bits of `mask` in RFLAGS by those of `value`, and clears RF unless it is in the mask. */
export function writeFlags(cpu: CpuCore, value: number, mask: number): void {
  const s = cpu.s
  const before = s.flags
  const after = legalizeFlags(cpu, (before & ~(mask | FLAG_RF)) | (value & mask))
  s.flags = after
  if ((before ^ after) & (FLAG_VM | FLAG_AC | FLAG_TF)) cpu.updateMode()
}

/** Who may change the interrupt flag, and how. */
const IF_DENIED = 0
const IF_REAL = 1
const IF_VIRTUAL = 2

function interruptFlagAccess(cpu: CpuCore): number {
  const s = cpu.s
  if ((s.cr0 & 1) === 0 || iopl(cpu) >= cpu.cpl) return IF_REAL
  if (s.v86) return s.cr4 & CR4_VME ? IF_VIRTUAL : IF_DENIED
  return cpu.cpl === 3 && s.cr4 & CR4_PVI ? IF_VIRTUAL : IF_DENIED
}

/** CLI */
export function cli(cpu: CpuCore): void {
  const access = interruptFlagAccess(cpu)
  if (access === IF_DENIED) raiseGp(0)
  cpu.s.flagsRest &= access === IF_REAL ? ~FLAG_IF : ~FLAG_VIF
}

/** STI: interrupts stay shut for one more instruction when IF was clear. */
export function sti(cpu: CpuCore): void {
  const s = cpu.s
  const access = interruptFlagAccess(cpu)
  if (access === IF_REAL) {
    if ((s.flagsRest & FLAG_IF) === 0) {
      s.flagsRest |= FLAG_IF
      cpu.setShadow(SHADOW_STI)
    }
    return
  }
  if (access === IF_DENIED || s.flagsRest & FLAG_VIP) raiseGp(0)
  s.flagsRest |= FLAG_VIF
}

/** PUSHF: a = operand size in bytes. */
export function pushf(cpu: CpuCore, size: number): void {
  const s = cpu.s
  let image = s.flags & ~(FLAG_VM | FLAG_RF)
  if (s.v86 && iopl(cpu) < 3) {
    if ((s.cr4 & CR4_VME) === 0 || size !== 2) raiseGp(0)
    image = (image & ~FLAG_IF) | FLAG_IOPL | (image & FLAG_VIF ? FLAG_IF : 0)
  }
  writer.startCurrent(cpu)
  writer.push(cpu, image, size)
  setStackPointer(s, writer.pointer, writer.mask)
}

/** POPF: a = operand size in bytes. */
export function popf(cpu: CpuCore, size: number): void {
  const s = cpu.s
  const virtual = s.v86 && iopl(cpu) < 3
  if (virtual && ((s.cr4 & CR4_VME) === 0 || size !== 2)) raiseGp(0)
  reader.start(cpu)
  const image = reader.popFlags(cpu, size)
  if (virtual) {
    popVirtualFlags(cpu, image, FLAGS_ANY_PRIVILEGE)
  } else {
    let mask = FLAGS_ANY_PRIVILEGE
    if ((s.cr0 & 1) === 0 || cpu.cpl === 0) mask |= FLAG_IOPL
    if ((s.cr0 & 1) === 0 || iopl(cpu) >= cpu.cpl) mask |= FLAG_IF
    if (size !== 2) mask |= FLAG_AC | FLAG_ID
    writeFlags(cpu, image, mask)
  }
  setStackPointer(s, reader.pointer, reader.mask)
}

/**
 * The flags part of a 16-bit POPF or IRET in virtual-8086 mode with IOPL < 3 and CR4.VME: IF goes to VIF. #GP(0) when that would enable a
 * pending virtual interrupt, or set TF.
 */
export function popVirtualFlags(cpu: CpuCore, image: number, mask: number): void {
  checkVirtualFlags(cpu, image)
  writeFlags(cpu, (image & ~FLAG_VIF) | (image & FLAG_IF ? FLAG_VIF : 0), mask | FLAG_VIF)
}

/** The check of {@link popVirtualFlags} alone. */
export function checkVirtualFlags(cpu: CpuCore, image: number): void {
  if ((image & FLAG_IF && cpu.s.flagsRest & FLAG_VIP) || image & FLAG_TF) raiseGp(0)
}

/** HLT */
export function hlt(cpu: CpuCore): void {
  requireCpl0(cpu)
  cpu.halted = true
}
