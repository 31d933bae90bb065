/**
 * FXSAVE, FXRSTOR and the XSAVE family: the x87, MMX, SSE and protection-key registers in one area of memory. The area is probed, or read and checked,
 * as a whole before the first change. State components are kept in the standard form only.
 * Source: Intel SDM Vol. 1, "FXSAVE Area", "Managing State Using the XSAVE Feature Set"; Vol. 2, "FXSAVE", "FXRSTOR", "XSAVE", "XSAVEOPT",
 * "XRSTOR", "XGETBV", "XSETBV".
 */

import { SEG_FS } from '../isa/instruction.js'
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raise, raiseGp, raiseUd, VECTOR_NM } from './exceptions.js'
import {
  MODE_CODE_MASK,
  MODE_CODE64,
  OFF_FCS,
  OFF_FCW,
  OFF_FDP,
  OFF_FDS,
  OFF_FIP,
  OFF_FOP,
  OFF_FTAG,
  OFF_MXCSR,
  OFF_X87,
  OFF_XCR0,
  OFF_XMM,
} from './layout.js'
import type { CpuModel } from './models.js'
import { MXCSR_WRITABLE } from './mxcsr.js'
import type { CpuState } from './state.js'
import { in64BitMode, requireCpl0 } from './system-common.js'
import { initX87, setControlWord, setStatusWord, statusWord, top } from './x87-state.js'

/** State components, by their bits in XCR0. */
export const XCR0_X87 = 1
const XCR0_SSE = 2
export const XCR0_PKRU = 0x200
/** Number of the PKRU component. */
export const PKRU_COMPONENT = 9

/** Bytes of the legacy area, and of it with the XSAVE header. */
const LEGACY_SIZE = 512
const HEADER_END = 576
/** Where the PKRU component stands: behind the room of AVX, as on processors that have both. */
export const PKRU_OFFSET = 832
export const PKRU_SIZE = 8

const RAX = 0
const RCX = 1
const RDX = 2
/** Offsets in the legacy area. */
const AT_MXCSR = 24
const AT_REGISTERS = 32
const AT_XMM = 160
/** Operand size of the forms with REX.W, which keep pointers of 64 bits. */
const WIDE = 8

/** The area of FXRSTOR and XRSTOR as it was read. */
const area = new DataView(new ArrayBuffer(HEADER_END))

/** The components that a model has: the bits that XCR0 can have. */
export function xsaveComponents(model: CpuModel): number {
  return XCR0_X87 | XCR0_SSE | (model.features.has('pku') ? XCR0_PKRU : 0)
}

/** Bytes of an area that holds `components`. */
export function xsaveSize(components: number): number {
  return components & XCR0_PKRU ? PKRU_OFFSET + PKRU_SIZE : HEADER_END
}

/** CR0.EM or TS: #NM. */
function checkFx(cpu: CpuCore): void {
  if (cpu.s.cr0 & (CR0_EM | CR0_TS)) raise(VECTOR_NM)
}

/** CR4.OSXSAVE clear: #UD; CR0.TS: #NM. */
function checkXsave(cpu: CpuCore): void {
  if ((cpu.s.cr4 & CR4_OSXSAVE) === 0) raiseUd()
  if (cpu.s.cr0 & CR0_TS) raise(VECTOR_NM)
}

function code64(s: CpuState): boolean {
  return (s.mode & MODE_CODE_MASK) === MODE_CODE64
}

/** #GP(0) unless the linear address is a multiple of `unit`. */
function checkAligned(s: CpuState, slot: number, seg: number, unit: number): void {
  // In 64-bit code ES, CS, SS and DS have base 0, whatever their caches hold.
  const base = code64(s) && seg < SEG_FS ? 0 : s.segBase(seg) | 0
  if (((s.get32(slot) + base) & (unit - 1)) !== 0) raiseGp(0)
}

/** Segment, alignment and page checks of a write of `size` bytes. An area is at most two pages long and never starts inside a quadword. */
function probe(cpu: CpuCore, seg: number, at: number, size: number): void {
  cpu.mem.probeWrite(seg, at, 8)
  cpu.mem.probeWrite(seg, at + size - 8, 8)
}

// --- saving ------------------------------------------------------------------------------------------------------------

/** How many XMM registers the code that runs can name. */
function xmmCount(cpu: CpuCore): number {
  return in64BitMode(cpu) ? 16 : 8
}

function saveX87(cpu: CpuCore, seg: number, at: number, wide: boolean): void {
  const { s, mem } = cpu
  const { u8, u16, i32, base } = s
  const word = (offset: number): number => u16[(base + offset) >> 1]!
  mem.write64(seg, at, word(OFF_FCW) | (statusWord(s) << 16), u8[base + OFF_FTAG]! | (word(OFF_FOP) << 16))
  if (wide) {
    mem.write64(seg, at + 8, s.get32(OFF_FIP), s.get32(OFF_FIP + 4))
    mem.write64(seg, at + 16, s.get32(OFF_FDP), s.get32(OFF_FDP + 4))
  } else {
    mem.write64(seg, at + 8, s.get32(OFF_FIP), word(OFF_FCS))
    mem.write64(seg, at + 16, s.get32(OFF_FDP), word(OFF_FDS))
  }
  for (let n = 0; n < 8; n++) {
    const from = (base + OFF_X87 + (((top(s) + n) & 7) << 4)) >> 2
    mem.write64(seg, at + AT_REGISTERS + 16 * n, i32[from]!, i32[from + 1]!)
    mem.write64(seg, at + AT_REGISTERS + 16 * n + 8, i32[from + 2]! & 0xffff, 0)
  }
}

function saveMxcsr(cpu: CpuCore, seg: number, at: number): void {
  cpu.mem.write64(seg, at + AT_MXCSR, cpu.s.get32(OFF_MXCSR), MXCSR_WRITABLE)
}

function saveXmm(cpu: CpuCore, seg: number, at: number): void {
  const { s, mem } = cpu
  for (let n = 0; n < xmmCount(cpu) * 2; n++) {
    mem.write64(seg, at + AT_XMM + 8 * n, s.get32(OFF_XMM + 8 * n), s.get32(OFF_XMM + 8 * n + 4))
  }
}

/** Helper FXSAVE: a = slot of the offset, b = segment, c = operand size. Without CR4.OSFXSR the SSE part is not written. */
export function fxsave(cpu: CpuCore, a: number, b: number, c: number): void {
  const { s } = cpu
  checkFx(cpu)
  const at = s.getNumber(a)
  checkAligned(s, a, b, 16)
  probe(cpu, b, at, LEGACY_SIZE)
  saveX87(cpu, b, at, c === WIDE)
  if ((s.cr4 & CR4_OSFXSR) === 0) return
  saveMxcsr(cpu, b, at)
  saveXmm(cpu, b, at)
}

// --- restoring ---------------------------------------------------------------------------------------------------------

function read(cpu: CpuCore, seg: number, at: number, size: number): void {
  for (let n = 0; n < size; n += 8) {
    cpu.mem.read64(seg, at + n)
    area.setInt32(n, cpu.mem.lo, true)
    area.setInt32(n + 4, cpu.mem.hi, true)
  }
}

function restoreX87(cpu: CpuCore, wide: boolean): void {
  const { s } = cpu
  const { u8, u16, i32, base } = s
  setControlWord(cpu, area.getUint16(0, true))
  setStatusWord(cpu, area.getUint16(2, true))
  u8[base + OFF_FTAG] = area.getUint8(4)
  u16[(base + OFF_FOP) >> 1] = area.getUint16(6, true) & 0x7ff
  s.set32(OFF_FIP, area.getInt32(8, true))
  s.set32(OFF_FIP + 4, wide ? area.getInt32(12, true) : 0)
  s.set32(OFF_FDP, area.getInt32(16, true))
  s.set32(OFF_FDP + 4, wide ? area.getInt32(20, true) : 0)
  u16[(base + OFF_FCS) >> 1] = wide ? 0 : area.getUint16(12, true)
  u16[(base + OFF_FDS) >> 1] = wide ? 0 : area.getUint16(20, true)
  for (let n = 0; n < 8; n++) {
    const to = (base + OFF_X87 + (((top(s) + n) & 7) << 4)) >> 2
    const from = AT_REGISTERS + 16 * n
    i32[to] = area.getInt32(from, true)
    i32[to + 1] = area.getInt32(from + 4, true)
    i32[to + 2] = area.getUint16(from + 8, true)
    i32[to + 3] = 0
  }
}

function restoreXmm(cpu: CpuCore): void {
  for (let n = 0; n < xmmCount(cpu) * 16; n += 4) cpu.s.set32(OFF_XMM + n, area.getInt32(AT_XMM + n, true))
}

/** The MXCSR of the area; reserved bits are #GP(0). */
function checkedMxcsr(): number {
  const value = area.getUint32(AT_MXCSR, true)
  if (value & ~MXCSR_WRITABLE) raiseGp(0)
  return value
}

/** Helper FXRSTOR: as {@link fxsave}. */
export function fxrstor(cpu: CpuCore, a: number, b: number, c: number): void {
  const { s } = cpu
  checkFx(cpu)
  const at = s.getNumber(a)
  checkAligned(s, a, b, 16)
  read(cpu, b, at, LEGACY_SIZE)
  const sse = (s.cr4 & CR4_OSFXSR) !== 0
  const mxcsr = sse ? checkedMxcsr() : 0
  restoreX87(cpu, c === WIDE)
  if (!sse) return
  s.set32(OFF_MXCSR, mxcsr)
  restoreXmm(cpu)
}

// --- XSAVE -------------------------------------------------------------------------------------------------------------

/** The components that EDX:EAX asks for and XCR0 has. */
function requested(s: CpuState): number {
  return s.get32(OFF_XCR0) & s.reg32(RAX)
}

/** The components that are not in their initial configuration: XINUSE. */
function inUse(cpu: CpuCore): number {
  const { s } = cpu
  const { i32, u16, base } = s
  let used = s.pkru === 0 ? 0 : XCR0_PKRU
  let bits =
    (u16[(base + OFF_FCW) >> 1]! ^ 0x037f) | statusWord(s) | s.u8[base + OFF_FTAG]! | u16[(base + OFF_FOP) >> 1]!
  for (let n = OFF_FCS; n < OFF_MXCSR; n += 4) bits |= s.get32(n)
  for (let n = OFF_X87; n < OFF_XMM; n += 4) bits |= i32[(base + n) >> 2]!
  if (bits !== 0) used |= XCR0_X87
  for (let n = 0; n < xmmCount(cpu) * 16; n += 4) if (i32[(base + OFF_XMM + n) >> 2] !== 0) return used | XCR0_SSE
  return used
}

/** Helper XSAVE (imm 0), XSAVEOPT (imm 1): a = slot of the offset, b = segment, c = operand size. XSAVEOPT leaves out what is in its initial state. */
export function xsave(cpu: CpuCore, a: number, b: number, c: number, imm: number): void {
  const { s, mem } = cpu
  checkXsave(cpu)
  checkAligned(s, a, b, 64)
  const at = s.getNumber(a)
  const asked = requested(s)
  probe(cpu, b, at, xsaveSize(asked))
  mem.read64(b, at + LEGACY_SIZE)
  const { lo, hi } = mem
  const used = inUse(cpu)
  const stored = imm === 0 ? asked : asked & used
  if (stored & XCR0_X87) saveX87(cpu, b, at, c === WIDE)
  if (asked & XCR0_SSE) saveMxcsr(cpu, b, at)
  if (stored & XCR0_SSE) saveXmm(cpu, b, at)
  if (stored & XCR0_PKRU) mem.write64(b, at + PKRU_OFFSET, s.pkru, 0)
  mem.write64(b, at + LEGACY_SIZE, (lo & ~asked) | (used & asked), hi)
}

/** Helper XRSTOR: a = slot of the offset, b = segment, c = operand size. */
export function xrstor(cpu: CpuCore, a: number, b: number, c: number): void {
  const { s, mem } = cpu
  checkXsave(cpu)
  checkAligned(s, a, b, 64)
  const at = s.getNumber(a)
  const asked = requested(s)
  read(cpu, b, at, HEADER_END)
  const present = area.getInt32(LEGACY_SIZE, true)
  // Components that XCR0 has not, or the compacted form.
  if (present & ~s.get32(OFF_XCR0) || area.getInt32(LEGACY_SIZE + 4, true) !== 0) raiseGp(0)
  for (let n = LEGACY_SIZE + 8; n < LEGACY_SIZE + 24; n += 4) if (area.getInt32(n, true) !== 0) raiseGp(0)
  const mxcsr = asked & XCR0_SSE ? checkedMxcsr() : 0
  let pkru = 0
  if (asked & present & XCR0_PKRU) {
    mem.read64(b, at + PKRU_OFFSET)
    pkru = mem.lo
  }
  if (asked & XCR0_X87) {
    if (present & XCR0_X87) restoreX87(cpu, c === WIDE)
    else {
      initX87(cpu)
      for (let n = OFF_X87; n < OFF_XMM; n += 4) s.set32(n, 0)
    }
  }
  if (asked & XCR0_SSE) {
    s.set32(OFF_MXCSR, mxcsr)
    if (present & XCR0_SSE) restoreXmm(cpu)
    else for (let n = 0; n < xmmCount(cpu) * 16; n += 4) s.set32(OFF_XMM + n, 0)
  }
  if (asked & XCR0_PKRU) {
    s.pkru = pkru
    mem.configurePaging()
  }
}

/** Helper XGETBV. */
export function xgetbv(cpu: CpuCore): void {
  const { s } = cpu
  if ((s.cr4 & CR4_OSXSAVE) === 0) raiseUd()
  if (s.reg32(RCX) !== 0) raiseGp(0)
  s.setReg32(RAX, s.get32(OFF_XCR0))
  s.setReg32(RDX, 0)
}

/** Helper XSETBV. x87 state cannot be left out. */
export function xsetbv(cpu: CpuCore): void {
  const { s } = cpu
  if ((s.cr4 & CR4_OSXSAVE) === 0) raiseUd()
  requireCpl0(cpu)
  const value = s.reg32(RAX)
  if (s.reg32(RCX) !== 0 || s.reg32(RDX) !== 0 || value & ~xsaveComponents(cpu.model)) raiseGp(0)
  if ((value & XCR0_X87) === 0) raiseGp(0)
  s.set32(OFF_XCR0, value)
}
