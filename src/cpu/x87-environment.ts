/**
 * FNSTENV, FLDENV, FNSAVE, FRSTOR: the x87's state in memory, in four layouts, by operand size and by whether the processor is in protected
 * mode (virtual-8086 mode counts as real mode).
 * Source: Intel SDM Vol. 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE".
 */

import type { CpuCore } from './cpu-types.js'
import { CLASS_NORMAL, CLASS_ZERO, classify, Float80 } from './float80.js'
import { OFF_FCS, OFF_FDP, OFF_FDS, OFF_FIP, OFF_FOP, OFF_FTAG, OFF_X87 } from './layout.js'
import type { CpuState } from './state.js'
import {
  fcw,
  getSt,
  initX87,
  isEmpty,
  ready,
  setControlWord,
  setStatusWord,
  statusWord,
  top,
  X87_EXCEPTIONS,
} from './x87-state.js'

const image = new Uint8Array(112)
const view = new DataView(image.buffer)
const value = new Float80()

const TAG_VALID = 0
const TAG_ZERO = 1
const TAG_SPECIAL = 2
const TAG_EMPTY = 3

/** The full tag word, two bits for each physical register. */
function tagWord(s: CpuState): number {
  let word = 0
  const first = top(s)
  for (let i = 0; i < 8; i++) {
    let tag = TAG_EMPTY
    if (!isEmpty(s, i)) {
      getSt(s, i, value)
      const kind = classify(value)
      tag = kind === CLASS_NORMAL ? TAG_VALID : kind === CLASS_ZERO ? TAG_ZERO : TAG_SPECIAL
    }
    word |= tag << (((first + i) & 7) * 2)
  }
  return word
}

function setTagWord(s: CpuState, word: number): void {
  let tags = 0
  for (let n = 0; n < 8; n++) if (((word >> (n * 2)) & 3) !== TAG_EMPTY) tags |= 1 << n
  s.set32(OFF_FTAG, tags)
}

function get16(s: CpuState, offset: number): number {
  return s.u16[(s.base + offset) >> 1]!
}

function set16(s: CpuState, offset: number, word: number): void {
  s.u16[(s.base + offset) >> 1] = word
}

/** A pointer as real mode saves it: linear. */
function linear(s: CpuState, selector: number, offset: number): number {
  return (get16(s, selector) * 16 + s.get32(offset)) >>> 0
}

/** Bytes of an environment at operand size `size`. */
function environmentSize(size: number): number {
  return size === 2 ? 14 : 28
}

function packEnvironment(s: CpuState, size: number): void {
  const real = !s.protectedMode
  const fop = get16(s, OFF_FOP) & 0x7ff
  const fip = real ? linear(s, OFF_FCS, OFF_FIP) : s.get32(OFF_FIP)
  const fdp = real ? linear(s, OFF_FDS, OFF_FDP) : s.get32(OFF_FDP)
  if (size === 2) {
    view.setUint16(0, fcw(s), true)
    view.setUint16(2, statusWord(s), true)
    view.setUint16(4, tagWord(s), true)
    view.setUint16(6, fip & 0xffff, true)
    view.setUint16(8, real ? fop | ((fip >>> 4) & 0xf000) : get16(s, OFF_FCS), true)
    view.setUint16(10, fdp & 0xffff, true)
    view.setUint16(12, real ? (fdp >>> 4) & 0xf000 : get16(s, OFF_FDS), true)
    return
  }
  view.setUint32(0, 0xffff_0000 | fcw(s), true)
  view.setUint32(4, 0xffff_0000 | statusWord(s), true)
  view.setUint32(8, 0xffff_0000 | tagWord(s), true)
  if (real) {
    view.setUint32(12, 0xffff_0000 | (fip & 0xffff), true)
    view.setUint32(16, fop | ((fip >>> 16) << 12), true)
    view.setUint32(20, 0xffff_0000 | (fdp & 0xffff), true)
    view.setUint32(24, (fdp >>> 16) << 12, true)
  } else {
    view.setUint32(12, fip, true)
    view.setUint32(16, get16(s, OFF_FCS) | (fop << 16), true)
    view.setUint32(20, fdp, true)
    view.setUint32(24, 0xffff_0000 | get16(s, OFF_FDS), true)
  }
}

function unpackEnvironment(cpu: CpuCore, size: number): void {
  const { s } = cpu
  const real = !s.protectedMode
  const step = size === 2 ? 2 : 4
  const word = (n: number): number => view.getUint16(n * step, true)
  setTagWord(s, word(2))
  let fip = size === 2 ? word(3) : view.getUint32(12, true)
  let fdp = size === 2 ? word(5) : view.getUint32(20, true)
  if (real) {
    const high = size === 2 ? word(4) : view.getUint32(16, true)
    const dataHigh = size === 2 ? word(6) : view.getUint32(24, true)
    fip = (fip & 0xffff) | ((high >>> 12) << 16)
    fdp = (fdp & 0xffff) | ((dataHigh >>> 12) << 16)
    set16(s, OFF_FOP, high & 0x7ff)
    set16(s, OFF_FCS, 0)
    set16(s, OFF_FDS, 0)
  } else {
    if (size !== 2) set16(s, OFF_FOP, view.getUint16(18, true) & 0x7ff)
    const keep = cpu.model.x87PointersOnException
    set16(s, OFF_FCS, keep ? 0 : word(4))
    set16(s, OFF_FDS, keep ? 0 : word(6))
  }
  s.setNumber(OFF_FIP, fip >>> 0)
  s.setNumber(OFF_FDP, fdp >>> 0)
  // Masks first: ES depends on them.
  setControlWord(cpu, word(0))
  setStatusWord(cpu, word(1))
}

/** Memory ← the first `bytes` bytes of the image, after a look at whether all of it can be written. */
function storeImage(cpu: CpuCore, seg: number, offset: number, size: number, bytes: number): void {
  const { mem } = cpu
  const step = size === 2 ? 2 : 4
  for (let n = 0; n < bytes; n += step) mem.probeWrite(seg, offset + n, step)
  for (let n = 0; n < bytes; n += step) {
    if (step === 2) mem.write16(seg, offset + n, view.getUint16(n, true))
    else mem.write32(seg, offset + n, view.getUint32(n, true))
  }
}

function loadImage(cpu: CpuCore, seg: number, offset: number, size: number, bytes: number): void {
  const { mem } = cpu
  const step = size === 2 ? 2 : 4
  for (let n = 0; n < bytes; n += step) {
    if (step === 2) view.setUint16(n, mem.read16(seg, offset + n), true)
    else view.setUint32(n, mem.read32(seg, offset + n), true)
  }
}

/** FNSTENV; afterwards every exception is masked. `size`: operand size. */
export function storeEnvironment(cpu: CpuCore, seg: number, offset: number, size: number): void {
  packEnvironment(cpu.s, size)
  storeImage(cpu, seg, offset, size, environmentSize(size))
  setControlWord(cpu, fcw(cpu.s) | X87_EXCEPTIONS)
}

/** FLDENV. */
export function loadEnvironment(cpu: CpuCore, seg: number, offset: number, size: number): void {
  if (!ready(cpu)) return
  loadImage(cpu, seg, offset, size, environmentSize(size))
  unpackEnvironment(cpu, size)
}

/** FNSAVE: environment, then ST(0) to ST(7) in ten bytes each; then as FNINIT. */
export function saveState(cpu: CpuCore, seg: number, offset: number, size: number): void {
  const { s } = cpu
  packEnvironment(s, size)
  const start = environmentSize(size)
  for (let i = 0; i < 8; i++) {
    getSt(s, i, value)
    const at = start + i * 10
    view.setInt32(at, value.lo, true)
    view.setInt32(at + 4, value.hi, true)
    view.setUint16(at + 8, value.sexp, true)
  }
  storeImage(cpu, seg, offset, size, start + 80)
  initX87(cpu)
}

/** FRSTOR. */
export function restoreState(cpu: CpuCore, seg: number, offset: number, size: number): void {
  if (!ready(cpu)) return
  const { s } = cpu
  const start = environmentSize(size)
  loadImage(cpu, seg, offset, size, start + 80)
  unpackEnvironment(cpu, size)
  for (let i = 0; i < 8; i++) {
    const from = start + i * 10
    const to = s.base + OFF_X87 + (((top(s) + i) & 7) << 4)
    s.i32[to >> 2] = view.getInt32(from, true)
    s.i32[(to >> 2) + 1] = view.getInt32(from + 4, true)
    s.u16[(to >> 1) + 4] = view.getUint16(from + 8, true)
  }
}
