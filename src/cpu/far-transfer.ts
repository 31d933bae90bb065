/**
 * Far JMP, CALL and RET: directly, through call gates, and to other tasks.
 * Source: Intel SDM Vol. 2, the pseudo-code of "JMP", "CALL" and "RET"; Vol. 3A, "Privilege Checking When Transferring Program Control".
 */

import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../isa/instruction.js'
import {
  ATTR_DB,
  ATTR_L,
  ATTR_S,
  checkCallGate,
  checkCallGateTarget,
  checkFarJump,
  checkFarReturn,
  checkNullReturnStack,
  checkReturnStack,
  checkTaskSwitchTss,
  checkTssAccess,
  DESC_TYPE_CALL_GATE16,
  DESC_TYPE_CALL_GATE32,
  DESC_TYPE_TASK_GATE,
  DESC_TYPE_TSS16_AVAILABLE,
  DESC_TYPE_TSS32_AVAILABLE,
  gateOffset16,
  gateParamCount,
  losesDataSegment,
  raisesPrivilege,
} from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raiseGp } from './exceptions.js'
import { SEG_UNUSABLE } from './layout.js'
import {
  checkCodeOffset,
  Descriptor,
  enterCode,
  InnerStack,
  loadCache,
  loadNull,
  loadSegment8086,
  markAccessed,
  number64,
  raiseIf,
  readDescriptor,
  readDescriptorUpper,
  StackReader,
  StackWriter,
  setStackPointer,
  slot16,
  TWO32,
} from './system-common.js'
import { TASK_CALL, TASK_JMP, taskSwitch } from './task-switch.js'

const target = new Descriptor()
const code = new Descriptor()
const stackDescriptor = new Descriptor()
const inner = new InnerStack()
const writer = new StackWriter()
const reader = new StackReader()
/** Parameters of a call gate on their way to the new stack. */
const parameters = new Float64Array(32)
/** Segment registers that lose their contents when privilege is lowered. */
const DATA_SEGMENTS: readonly number[] = [SEG_ES, SEG_DS, SEG_FS, SEG_GS]

/** Helper: far jump or call to the pointer in memory at segment `b`, offset in slot `a`; c = operand size; imm = 1 for CALL. */
export function farIndirect(cpu: CpuCore, a: number, b: number, c: number, call: number): void {
  const at = cpu.s.getNumber(a)
  let offset: number
  if (c === 2) offset = cpu.mem.read16(b, at)
  else if (c === 4) offset = cpu.mem.read32(b, at) >>> 0
  else {
    cpu.mem.read64(b, at)
    offset = number64(cpu.mem.lo, cpu.mem.hi)
  }
  const selector = cpu.mem.read16(b, at + c)
  farTransfer(cpu, selector, offset, c, call !== 0)
}

/** Helper: far jump or call to an immediate pointer: selector in slot `a`, offset = imm; c = operand size; b = 1 for CALL. */
export function farDirect(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  farTransfer(cpu, slot16(cpu.s, a), c === 2 ? imm & 0xffff : imm >>> 0, c, b !== 0)
}

export function farTransfer(cpu: CpuCore, selector: number, offset: number, size: number, call: boolean): void {
  if (!cpu.s.protectedMode) {
    transfer8086(cpu, selector, offset, size, call)
    return
  }
  if ((selector & 0xfffc) === 0) raiseGp(0)
  if (!readDescriptor(cpu, selector, target)) raiseGp(selector & 0xfffc)
  if (target.attr & ATTR_S) {
    transferDirect(cpu, selector, offset, size, call)
    return
  }
  const long = cpu.s.longMode
  switch (target.type) {
    case DESC_TYPE_CALL_GATE32:
      transferGate(cpu, selector, call)
      return
    case DESC_TYPE_CALL_GATE16:
      if (long) break
      transferGate(cpu, selector, call)
      return
    case DESC_TYPE_TASK_GATE:
      if (long) break
      raiseIf(checkCallGate(selector, target.attr, cpu.cpl))
      transferTaskGate(cpu, call)
      return
    case DESC_TYPE_TSS16_AVAILABLE:
    case DESC_TYPE_TSS32_AVAILABLE:
      if (long) break
      raiseIf(checkTssAccess(selector, target.attr, cpu.cpl))
      taskSwitch(cpu, target, call ? TASK_CALL : TASK_JMP, cpu.nextRip, cpu.s.flags)
      return
  }
  raiseGp(selector & 0xfffc)
}

function transfer8086(cpu: CpuCore, selector: number, offset: number, size: number, call: boolean): void {
  const s = cpu.s
  if (call) {
    writer.startCurrent(cpu)
    writer.reserve(cpu, 2, size)
  }
  if (offset > s.segLimit(SEG_CS)) raiseGp(0)
  if (call) {
    writer.push(cpu, s.selector(SEG_CS), size)
    writer.push(cpu, cpu.nextRip, size)
    setStackPointer(s, writer.pointer, writer.mask)
  }
  loadSegment8086(s, SEG_CS, selector)
  cpu.nextRip = offset
  cpu.updateMode()
}

function transferDirect(cpu: CpuCore, selector: number, offset: number, size: number, call: boolean): void {
  const s = cpu.s
  raiseIf(checkFarJump(selector, target.attr, cpu.cpl, s.longMode))
  if (call) {
    writer.startCurrent(cpu)
    writer.reserve(cpu, 2, size)
  }
  checkCodeOffset(cpu, target, offset)
  markAccessed(cpu, target)
  if (call) {
    writer.push(cpu, s.selector(SEG_CS), size)
    writer.push(cpu, cpu.nextRip, size)
    setStackPointer(s, writer.pointer, writer.mask)
  }
  enterCode(cpu, target, cpu.cpl, offset)
  cpu.updateMode()
}

function transferTaskGate(cpu: CpuCore, call: boolean): void {
  const selector = target.gateSelector
  if ((selector & 0xfffc) === 0) raiseGp(0)
  if (selector & 4 || !readDescriptor(cpu, selector, code)) raiseGp(selector & 0xfffc)
  raiseIf(checkTaskSwitchTss(selector, code.attr))
  taskSwitch(cpu, code, call ? TASK_CALL : TASK_JMP, cpu.nextRip, cpu.s.flags)
}

function transferGate(cpu: CpuCore, selector: number, call: boolean): void {
  const s = cpu.s
  const long = s.longMode
  raiseIf(checkCallGate(selector, target.attr, cpu.cpl))
  if (long && !readDescriptorUpper(cpu, target)) raiseGp(selector & 0xfffc)
  const codeSelector = target.gateSelector
  code.set(codeSelector, 0, 0, 0)
  if ((codeSelector & 0xfffc) !== 0 && !readDescriptor(cpu, codeSelector, code)) raiseGp(codeSelector & 0xfffc)
  raiseIf(checkCallGateTarget(codeSelector, code.attr, cpu.cpl, !call, long))
  const size = long ? 8 : target.attr & 8 ? 4 : 2
  const offset = size === 2 ? gateOffset16(target.lo) : target.gateOffset
  if (!call) {
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
    enterCode(cpu, code, cpu.cpl, offset)
    cpu.updateMode()
  } else if (raisesPrivilege(code.attr, cpu.cpl)) {
    callInner(cpu, offset, size)
  } else {
    writer.startCurrent(cpu)
    // In compatibility mode the pushes of a 64-bit gate go to the 64-bit stack.
    if (long) writer.start(0, 0, 0, s.regNumber(4), 0, cpu.cpl === 3, 0)
    writer.reserve(cpu, 2, size)
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
    writer.push(cpu, s.selector(SEG_CS), size)
    writer.push(cpu, cpu.nextRip, size)
    setStackPointer(s, writer.pointer, writer.mask)
    enterCode(cpu, code, cpu.cpl, offset)
    cpu.updateMode()
  }
}

/** CALL through a gate to a more privileged level: the stack comes from the TSS, parameters are copied. */
function callInner(cpu: CpuCore, offset: number, size: number): void {
  const s = cpu.s
  const long = s.longMode
  const cpl = code.dpl
  const count = long ? 0 : gateParamCount(target.hi)
  const d = inner.descriptor
  if (long) {
    inner.loadLong(cpu, 4 + cpl * 8)
    writer.start(0, 0, 0, inner.pointer, 0, false, 0)
  } else {
    inner.loadLegacy(cpu, cpl)
    const mask = d.attr & ATTR_DB ? 0xffff_ffff : 0xffff
    writer.start(d.base, d.limit, d.attr, inner.pointer, mask, false, d.selector & 0xfffc)
  }
  writer.reserve(cpu, 4 + count, size)
  checkCodeOffset(cpu, code, offset)
  reader.start(cpu)
  for (let n = 0; n < count; n++) parameters[n] = reader.pop(cpu, size)
  markAccessed(cpu, code)
  if (!long) markAccessed(cpu, d)
  writer.push(cpu, s.selector(SEG_SS), size)
  writer.pushRegister(cpu, 4, size)
  for (let n = count - 1; n >= 0; n--) writer.push(cpu, parameters[n]!, size)
  writer.push(cpu, s.selector(SEG_CS), size)
  writer.push(cpu, cpu.nextRip, size)

  if (long) loadNull(s, SEG_SS, cpl)
  else loadCache(cpu, SEG_SS, (d.selector & ~3) | cpl, d)
  setStackPointer(s, writer.pointer, writer.mask)
  enterCode(cpu, code, cpl, offset)
  cpu.updateMode()
}

/** Helper RETF: a = operand size, imm = bytes of parameters to release. */
export function retFar(cpu: CpuCore, size: number, _b: number, _c: number, imm: number): void {
  const s = cpu.s
  const release = imm & 0xffff
  reader.start(cpu)
  const offset = reader.pop(cpu, size)
  const selector = reader.popSelector(cpu, size)
  if (!s.protectedMode) {
    if (offset > s.segLimit(SEG_CS)) raiseGp(0)
    reader.skip(release)
    setStackPointer(s, reader.pointer, reader.mask)
    loadSegment8086(s, SEG_CS, selector)
    cpu.nextRip = offset
    cpu.updateMode()
    return
  }
  readReturnCode(cpu, selector, code)
  reader.skip(release)
  if ((selector & 3) === cpu.cpl) {
    checkCodeOffset(cpu, code, offset)
    markAccessed(cpu, code)
    setStackPointer(s, reader.pointer, reader.mask)
    enterCode(cpu, code, cpu.cpl, offset)
    cpu.updateMode()
    return
  }
  reader.pop(cpu, size)
  const { lo, hi } = reader
  const ss = reader.popSelector(cpu, size)
  const stackUsable = readReturnStack(cpu, code, ss, stackDescriptor)
  checkCodeOffset(cpu, code, offset)
  const sum = (lo >>> 0) + release
  finishOuter(cpu, code, offset, ss, sum | 0, sum >= TWO32 ? hi + 1 : hi, stackUsable, stackDescriptor)
}

/** Reads and checks the code segment of a far return or IRET. */
export function readReturnCode(cpu: CpuCore, selector: number, into: Descriptor): void {
  into.set(selector, 0, 0, 0)
  if ((selector & 0xfffc) !== 0 && !readDescriptor(cpu, selector, into)) raiseGp(selector & 0xfffc)
  raiseIf(checkFarReturn(selector, into.attr, cpu.cpl, cpu.s.longMode))
}

/** Reads and checks the SS that a far return or IRET takes over; a null one leaves `stackDescriptor` unused. False = null. */
export function readReturnStack(cpu: CpuCore, to: Descriptor, ss: number, into: Descriptor): boolean {
  const cpl = to.selector & 3
  if ((ss & 0xfffc) === 0) {
    raiseIf(checkNullReturnStack(cpl, cpu.s.longMode && (to.attr & ATTR_L) !== 0))
    // In 64-bit mode a null SS must carry the new privilege level (SDM Vol. 2, "RET", RETURN-OUTER-PRIVILEGE-LEVEL).
    if ((ss & 3) !== cpl) raiseGp(0)
    return false
  }
  if (!readDescriptor(cpu, ss, into)) raiseGp(ss & 0xfffc)
  raiseIf(checkReturnStack(ss, into.attr, cpl))
  return true
}

/** Takes over a checked outer (or, for a 64-bit IRET, any) CS:RIP and SS:RSP, and drops data segments that the new level may not use. */
export function finishOuter(
  cpu: CpuCore,
  to: Descriptor,
  offset: number,
  ss: number,
  pointerLo: number,
  pointerHi: number,
  stackUsable: boolean,
  stack: Descriptor,
): void {
  const s = cpu.s
  const cpl = to.selector & 3
  markAccessed(cpu, to)
  if (stackUsable) markAccessed(cpu, stack)
  const lowers = cpl > cpu.cpl
  const code64 = s.longMode && (to.attr & ATTR_L) !== 0
  if (stackUsable) loadCache(cpu, SEG_SS, ss, stack)
  else loadNull(s, SEG_SS, ss)
  enterCode(cpu, to, cpl, offset)
  if (code64) s.setReg64(4, pointerLo, pointerHi)
  else setStackPointer(s, pointerLo, stack.attr & ATTR_DB ? 0xffff_ffff : 0xffff)
  if (lowers) dropDataSegments(cpu, cpl)
  cpu.updateMode()
}

/** ES, DS, FS, GS become null where data or nonconforming code is more privileged than `cpl`. */
export function dropDataSegments(cpu: CpuCore, cpl: number): void {
  const s = cpu.s
  for (const seg of DATA_SEGMENTS) {
    const attr = s.segAttr(seg)
    if ((attr & SEG_UNUSABLE) === 0 && losesDataSegment(attr, cpl)) loadNull(s, seg, 0)
  }
}
