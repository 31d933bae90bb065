/**
 * IN, OUT, INS, OUTS with their permission checks. Source: Intel SDM Vol. 1, "Input/Output" (I/O privilege level, I/O permission bit map);
 * Vol. 2, the page of each instruction.
 */

import type { PortSize } from '../contracts/index.js'
import { FLAG_DF } from '../isa/flags.js'
import { SEG_ES } from '../isa/instruction.js'
import type { CpuCore } from './cpu-types.js'
import { notePortAccess } from './debug-registers.js'
import { raiseGp } from './exceptions.js'
import { SEG_TR } from './layout.js'
import { iopl, linearAddress, setSlot } from './system-common.js'
import { TSS32_IOMAP, TSS32_MIN_LIMIT } from './task-switch.js'

const RCX = 1
const RSI = 6
const RDI = 7

/** #GP(0) unless the code that runs may access `size` ports from `port` on. */
export function checkPortAccess(cpu: CpuCore, port: number, size: number): void {
  const s = cpu.s
  if ((s.cr0 & 1) === 0 || (!s.v86 && cpu.cpl <= iopl(cpu))) return
  const limit = s.segLimit(SEG_TR)
  if ((s.segAttr(SEG_TR) & 8) === 0 || limit < TSS32_MIN_LIMIT) raiseGp(0)
  const base = s.segBase(SEG_TR)
  const at = cpu.mem.lin16(linearAddress(cpu, base + TSS32_IOMAP)) + (port >> 3)
  // Two bytes are read always, so that an access that straddles a byte of the map is checked whole.
  if (at + 1 > limit) raiseGp(0)
  const bits = cpu.mem.lin16(linearAddress(cpu, base + at)) >> (port & 7)
  if (bits & ((1 << size) - 1)) raiseGp(0)
}

/** Helper IN: a = destination slot, c = size, imm = port, or -1 for DX. */
export function portIn(cpu: CpuCore, a: number, _b: number, c: number, imm: number): void {
  const port = imm < 0 ? cpu.s.reg16(2) : imm
  checkPortAccess(cpu, port, c)
  notePortAccess(cpu, port, c)
  setSlot(cpu.s, a, c, cpu.ports.read(port, c as PortSize))
}

/** Helper OUT: c = size, imm = port, or -1 for DX. */
export function portOut(cpu: CpuCore, _a: number, _b: number, c: number, imm: number): void {
  const port = imm < 0 ? cpu.s.reg16(2) : imm
  checkPortAccess(cpu, port, c)
  notePortAccess(cpu, port, c)
  const value = cpu.s.reg32(0)
  cpu.ports.write(port, c as PortSize, c === 4 ? value : c === 2 ? value & 0xffff : value & 0xff)
}

/** rSI, rDI or rCX as an address of `size` bytes. */
function indexRegister(cpu: CpuCore, reg: number, size: number): number {
  return size === 2 ? cpu.s.reg16(reg) : size === 4 ? cpu.s.reg32(reg) : cpu.s.regNumber(reg)
}

function setIndexRegister(cpu: CpuCore, reg: number, size: number, value: number): void {
  if (size === 2) cpu.s.setReg16(reg, value)
  else if (size === 4) cpu.s.setReg32(reg, value)
  else cpu.s.setRegNumber(reg, value)
}

/** Counts rCX down at the address size and says whether it is still not zero. */
function countDown(cpu: CpuCore, size: number): boolean {
  const s = cpu.s
  if (size === 2) {
    s.setReg16(RCX, s.reg16(RCX) - 1)
    return s.reg16(RCX) !== 0
  }
  if (size === 4) {
    s.setReg32(RCX, s.reg32(RCX) - 1)
    return s.reg32(RCX) !== 0
  }
  const lo = s.reg32(RCX)
  s.setReg64(RCX, lo - 1, lo === 0 ? s.regHi(RCX) - 1 : s.regHi(RCX))
  return (s.reg32(RCX) | s.regHi(RCX)) !== 0
}

function countIsZero(cpu: CpuCore, size: number): boolean {
  const s = cpu.s
  if (size === 2) return s.reg16(RCX) === 0
  return s.reg32(RCX) === 0 && (size === 4 || s.regHi(RCX) === 0)
}

function finishIteration(cpu: CpuCore, reg: number, size: number, addressSize: number, repeats: number): void {
  const step = cpu.s.flagsRest & FLAG_DF ? -size : size
  setIndexRegister(cpu, reg, addressSize, indexRegister(cpu, reg, addressSize) + step)
  // One iteration per execution: with more to do, RIP stays on the instruction, where interrupts come in.
  if (repeats && countDown(cpu, addressSize)) cpu.nextRip = cpu.s.rip
}

/** Helper INS: a = size, b = address size, imm = 1 with a repeat prefix. */
export function ins(cpu: CpuCore, a: number, b: number, _c: number, imm: number): void {
  const port = cpu.s.reg16(2)
  // Permission is checked whatever the count (as recorded from hardware).
  checkPortAccess(cpu, port, a)
  if (imm && countIsZero(cpu, b)) return
  const offset = indexRegister(cpu, RDI, b)
  // The port is read only when the write cannot fault: reading has side effects.
  cpu.mem.probeWrite(SEG_ES, offset, a)
  notePortAccess(cpu, port, a)
  const value = cpu.ports.read(port, a as PortSize)
  if (a === 1) cpu.mem.write8(SEG_ES, offset, value)
  else if (a === 2) cpu.mem.write16(SEG_ES, offset, value)
  else cpu.mem.write32(SEG_ES, offset, value)
  finishIteration(cpu, RDI, a, b, imm)
}

/** Helper OUTS: a = size, b = address size, c = segment, imm = 1 with a repeat prefix. */
export function outs(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  const port = cpu.s.reg16(2)
  // Permission is checked whatever the count (as recorded from hardware).
  checkPortAccess(cpu, port, a)
  if (imm && countIsZero(cpu, b)) return
  const offset = indexRegister(cpu, RSI, b)
  const value =
    a === 1 ? cpu.mem.read8(c, offset) : a === 2 ? cpu.mem.read16(c, offset) : cpu.mem.read32(c, offset) >>> 0
  notePortAccess(cpu, port, a)
  cpu.ports.write(port, a as PortSize, value)
  finishIteration(cpu, RSI, a, b, imm)
}
