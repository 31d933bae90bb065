/**
 * ENTER, PUSHA, POPA, BOUND. Source: Intel SDM Vol. 2, the page of each.
 */

import { SEG_SS } from '../isa/instruction.js'
import type { CpuCore } from './cpu-types.js'
import { raise, VECTOR_BR } from './exceptions.js'
import { StackReader, StackWriter, setStackPointer, slot16, slot32 } from './system-common.js'

const writer = new StackWriter()
const reader = new StackReader()
const RSP = 4
const RBP = 5

function wrap(value: number, mask: number): number {
  return mask === 0 ? value : mask === 0xffff ? value & 0xffff : value >>> 0
}

/** Helper ENTER: a = operand size, b = nesting level (0–31), imm = bytes of locals. Registers change only when nothing can fault any more. */
export function enter(cpu: CpuCore, a: number, b: number, _c: number, imm: number): void {
  const s = cpu.s
  const level = b & 31
  writer.startCurrent(cpu)
  const { mask } = writer
  writer.pushRegister(cpu, RBP, a)
  // FrameTemp is ESP, not SP, at an operand size of 32 (SDM Vol. 2, "ENTER"), also on a 16-bit stack.
  const frame = mask === 0xffff ? ((s.reg32(RSP) & ~0xffff) | writer.pointer) >>> 0 : writer.pointer
  if (level > 0) {
    let display = mask === 0 ? s.regNumber(RBP) : wrap(s.reg32(RBP), mask)
    for (let n = 1; n < level; n++) {
      display = wrap(display - a, mask)
      if (a === 2) writer.push(cpu, cpu.mem.read16(SEG_SS, display), 2)
      else if (a === 4) writer.push(cpu, cpu.mem.read32(SEG_SS, display), 4)
      else {
        cpu.mem.read64(SEG_SS, display)
        writer.pushHalves(cpu, cpu.mem.lo, cpu.mem.hi, 8)
      }
    }
    writer.push(cpu, frame, a)
  }
  const pointer = wrap(writer.pointer - (imm & 0xffff), mask)
  // The processor checks that the new top of stack could be written.
  cpu.mem.probeWrite(SEG_SS, pointer, a)
  if (a === 2) s.setReg16(RBP, frame)
  else if (a === 4) s.setReg32(RBP, frame)
  else s.setRegNumber(RBP, frame)
  setStackPointer(s, pointer, mask)
}

/** Helper PUSHA: a = operand size (2 or 4). */
export function pusha(cpu: CpuCore, a: number): void {
  writer.startCurrent(cpu)
  writer.reserve(cpu, 8, a)
  for (let reg = 0; reg < 8; reg++) writer.pushRegister(cpu, reg, a)
  setStackPointer(cpu.s, writer.pointer, writer.mask)
}

const values = new Int32Array(8)

/** Helper POPA: a = operand size (2 or 4). The image of SP is skipped. */
export function popa(cpu: CpuCore, a: number): void {
  const s = cpu.s
  reader.start(cpu)
  for (let reg = 7; reg >= 0; reg--) {
    if (reg === RSP) reader.skip(a)
    else values[reg] = reader.pop(cpu, a)
  }
  for (let reg = 0; reg < 8; reg++) {
    if (reg === RSP) continue
    if (a === 2) s.setReg16(reg, values[reg]!)
    else s.setReg32(reg, values[reg]!)
  }
  setStackPointer(s, reader.pointer, reader.mask)
}

/** Helper BOUND: a = slot of the bounds' offset, b = segment, c = slot of the index, imm = operand size. #BR outside the bounds (both inclusive). */
export function bound(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  const s = cpu.s
  const at = s.getNumber(a)
  if (imm === 2) {
    const index = (slot16(s, c) << 16) >> 16
    const lower = (cpu.mem.read16(b, at) << 16) >> 16
    const upper = (cpu.mem.read16(b, at + 2) << 16) >> 16
    if (index < lower || index > upper) raise(VECTOR_BR)
    return
  }
  const index = slot32(s, c) | 0
  const lower = cpu.mem.read32(b, at) | 0
  const upper = cpu.mem.read32(b, at + 4) | 0
  if (index < lower || index > upper) raise(VECTOR_BR)
}
