/**
 * IRET in every mode. Source: Intel SDM Vol. 2, "IRET/IRETD/IRETQ", whose labels name the functions here.
 */

import { FLAG_AC, FLAG_ID, FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_VIF, FLAG_VIP, FLAG_VM } from '../isa/flags.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../isa/instruction.js'
import { CR4_VME, checkTaskReturnTss } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raiseGp, raiseWithCode, VECTOR_TS } from './exceptions.js'
import { finishOuter, readReturnCode, readReturnStack } from './far-transfer.js'
import {
  checkVirtualFlags,
  FLAGS_ANY_PRIVILEGE,
  legalizeFlags,
  popVirtualFlags,
  writeFlags,
} from './flags-instructions.js'
import { iretFlat } from './flat-transfer.js'
import {
  checkCodeOffset,
  Descriptor,
  enterCode,
  in64BitMode,
  iopl,
  loadSegment8086,
  loadV86,
  markAccessed,
  raiseIf,
  readDescriptor,
  StackReader,
  setStackPointer,
} from './system-common.js'
import { TASK_IRET, taskLink, taskSwitch } from './task-switch.js'

const reader = new StackReader()
const code = new Descriptor()
const stack = new Descriptor()
const tss = new Descriptor()

/** Helper IRET: a = operand size in bytes. */
export function iret(cpu: CpuCore, size: number): void {
  const s = cpu.s
  // Also when the instruction faults (SDM Vol. 3A, "Handling Multiple NMIs").
  if (cpu.nmiBlocked) {
    cpu.nmiBlocked = false
    cpu.interruptEngine()
  }
  if (iretFlat(cpu, size)) return
  if ((s.cr0 & 1) === 0) iretReal(cpu, size)
  else if (s.v86) iretFromV86(cpu, size)
  else if (s.flagsRest & FLAG_NT) iretTask(cpu)
  else iretProtected(cpu, size)
}

function iretReal(cpu: CpuCore, size: number): void {
  const s = cpu.s
  reader.start(cpu)
  const offset = reader.pop(cpu, size)
  const selector = reader.popSelector(cpu, size)
  const image = reader.popFlags(cpu, size)
  if (offset > s.segLimit(SEG_CS)) raiseGp(0)
  setStackPointer(s, reader.pointer, reader.mask)
  loadSegment8086(s, SEG_CS, selector)
  const mask = FLAGS_ANY_PRIVILEGE | FLAG_IF | FLAG_IOPL | (size === 2 ? 0 : FLAG_RF | FLAG_AC | FLAG_ID)
  writeFlags(cpu, image, mask)
  cpu.nextRip = offset
  cpu.updateMode()
}

/** RETURN-FROM-VIRTUAL-8086-MODE */
function iretFromV86(cpu: CpuCore, size: number): void {
  const s = cpu.s
  const virtual = iopl(cpu) < 3
  if (virtual && ((s.cr4 & CR4_VME) === 0 || size !== 2)) raiseGp(0)
  reader.start(cpu)
  const offset = reader.pop(cpu, size)
  const selector = reader.popSelector(cpu, size)
  const image = reader.popFlags(cpu, size)
  if (offset > s.segLimit(SEG_CS)) raiseGp(0)
  if (virtual) checkVirtualFlags(cpu, image)
  setStackPointer(s, reader.pointer, reader.mask)
  loadSegment8086(s, SEG_CS, selector)
  if (virtual) popVirtualFlags(cpu, image, FLAGS_ANY_PRIVILEGE)
  else writeFlags(cpu, image, FLAGS_ANY_PRIVILEGE | FLAG_IF | (size === 2 ? 0 : FLAG_RF | FLAG_AC | FLAG_ID))
  cpu.nextRip = offset
  cpu.updateMode()
}

/** TASK-RETURN */
function iretTask(cpu: CpuCore): void {
  if (cpu.s.longMode) raiseGp(0)
  const link = taskLink(cpu)
  if (link & 4 || (link & 0xfffc) === 0 || !readDescriptor(cpu, link, tss)) raiseWithCode(VECTOR_TS, link & 0xfffc)
  raiseIf(checkTaskReturnTss(link, tss.attr))
  taskSwitch(cpu, tss, TASK_IRET, cpu.nextRip, cpu.s.flags)
}

function iretProtected(cpu: CpuCore, size: number): void {
  const s = cpu.s
  const from64 = in64BitMode(cpu)
  reader.start(cpu)
  const offset = reader.pop(cpu, size)
  const selector = reader.popSelector(cpu, size)
  const image = reader.popFlags(cpu, size)
  if (image & FLAG_VM && cpu.cpl === 0 && size === 4 && !s.longMode) {
    iretToV86(cpu, offset, selector, image)
    return
  }
  readReturnCode(cpu, selector, code)
  // IOPL and CPL before the return decide which flags change.
  let mask = FLAGS_ANY_PRIVILEGE
  if (size !== 2) mask |= FLAG_RF | FLAG_AC | FLAG_ID
  if (cpu.cpl <= iopl(cpu)) mask |= FLAG_IF
  if (cpu.cpl === 0) mask |= FLAG_IOPL | (size === 2 ? 0 : FLAG_VIF | FLAG_VIP)
  if ((selector & 3) === cpu.cpl && !from64) {
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
    setStackPointer(s, reader.pointer, reader.mask)
    enterCode(cpu, code, cpu.cpl, offset)
  } else {
    reader.pop(cpu, size)
    const { lo, hi } = reader
    const ss = reader.popSelector(cpu, size)
    const usable = readReturnStack(cpu, code, ss, stack)
    checkCodeOffset(cpu, code, offset)
    finishOuter(cpu, code, offset, ss, lo, hi, usable, stack)
  }
  writeFlags(cpu, image, mask)
  cpu.updateMode()
}

/** RETURN-TO-VIRTUAL-8086-MODE */
function iretToV86(cpu: CpuCore, offset: number, cs: number, image: number): void {
  const s = cpu.s
  const pointer = reader.pop(cpu, 4)
  const ss = reader.pop(cpu, 4)
  const es = reader.pop(cpu, 4)
  const ds = reader.pop(cpu, 4)
  const fs = reader.pop(cpu, 4)
  const gs = reader.pop(cpu, 4)
  if (offset > 0xffff) raiseGp(0)
  s.flags = legalizeFlags(cpu, image)
  loadV86(s, SEG_CS, cs)
  loadV86(s, SEG_SS, ss)
  loadV86(s, SEG_ES, es)
  loadV86(s, SEG_DS, ds)
  loadV86(s, SEG_FS, fs)
  loadV86(s, SEG_GS, gs)
  s.setReg32(4, pointer)
  cpu.setCpl(3)
  cpu.nextRip = offset
  cpu.updateMode()
  cpu.interruptEngine()
}
