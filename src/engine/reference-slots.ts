/**
 * What the parts of the reference engine share: slots of the CPU block at each width, the lazy flags, and conditions.
 */

import { Alu } from '../cpu/alu.js'
import { AUX_CF, AUX_PO, PARITY_EVEN } from '../cpu/flags.js'
import { OFF_FLAG_AUX, OFF_FLAG_RESULT } from '../cpu/layout.js'
import type { CpuState } from '../cpu/state.js'
import { UOP_IMM } from '../cpu/uops.js'

const TWO32 = 4294967296

/** The CPU block as operands: the base of the engine's parts. */
export class Slots {
  protected readonly s: CpuState
  protected readonly base: number
  protected readonly alu: Alu = new Alu()

  constructor(s: CpuState) {
    this.s = s
    this.base = s.base
  }

  /** Unsigned value of a slot at width 0–2. */
  protected get(slot: number, width: number): number {
    const at = this.base + slot
    const s = this.s
    if (width === 2) return slot & 3 ? this.unaligned(at) : s.i32[at >> 2]! >>> 0
    if (width === 0) return s.u8[at]!
    return s.u8[at]! | (s.u8[at + 1]! << 8)
  }

  /** A 32-bit slot at any byte: a sign half, a selector. */
  protected unaligned(at: number): number {
    const u8 = this.s.u8
    return (u8[at]! | (u8[at + 1]! << 8) | (u8[at + 2]! << 16) | (u8[at + 3]! << 24)) >>> 0
  }

  /** Writes a slot at width 0–2; 32 bits clear the upper half. */
  protected set(slot: number, width: number, value: number): void {
    const at = this.base + slot
    const s = this.s
    if (width === 2) {
      s.i32[at >> 2] = value
      s.i32[(at >> 2) + 1] = 0
    } else {
      s.u8[at] = value
      if (width === 1) s.u8[at + 1] = value >>> 8
    }
  }

  /** A 64-bit slot. */
  protected get64(slot: number): bigint {
    return this.s.big[(this.base + slot) >> 3]!
  }

  /** Writes a 64-bit slot. */
  protected set64(slot: number, value: bigint): void {
    this.s.big[(this.base + slot) >> 3] = value
  }

  /** A 64-bit slot as a signed double: exact near the canonical range. */
  protected number(slot: number): number {
    const at = (this.base + slot) >> 2
    return this.s.i32[at + 1]! * TWO32 + (this.s.i32[at]! >>> 0)
  }

  /** Makes the outcome of the last operation of {@link alu} the CPU's flags. */
  protected storeFlags(): void {
    const at = (this.base + OFF_FLAG_RESULT) >> 2
    this.s.i32[at] = this.alu.resultLo
    this.s.i32[at + 1] = this.alu.resultHi
    this.s.i32[(this.base + OFF_FLAG_AUX) >> 2] = this.alu.aux
  }

  /** Sets CF alone. */
  protected setCarry(carry: number): void {
    const at = (this.base + OFF_FLAG_AUX) >> 2
    const aux = this.s.i32[at]!
    const overflow = ((aux >>> 31) ^ (aux >>> 30)) & 1
    this.s.i32[at] = (aux & ~(AUX_CF | AUX_PO)) | (carry << 31) | ((carry ^ overflow) << 30)
  }

  /** Conditions 0–15 of Jcc, SETcc, CMOVcc. Source: Intel SDM Vol. 1, "EFLAGS Condition Codes". */
  condition(code: number): boolean {
    const at = (this.base + OFF_FLAG_RESULT) >> 2
    const lo = this.s.i32[at]!
    const hi = this.s.i32[at + 1]!
    const aux = this.s.i32[(this.base + OFF_FLAG_AUX) >> 2]!
    const zero = (lo | hi) === 0
    const sign = ((hi >>> 31) ^ aux) & 1
    const overflow = ((aux >>> 31) ^ (aux >>> 30)) & 1
    let value: boolean
    switch (code >> 1) {
      case 0:
        value = overflow !== 0
        break
      case 1:
        value = aux < 0
        break
      case 2:
        value = zero
        break
      case 3:
        value = zero || aux < 0
        break
      case 4:
        value = sign !== 0
        break
      case 5:
        value = PARITY_EVEN[(lo ^ (aux >>> 8)) & 0xff] === 1
        break
      case 6:
        value = sign !== overflow
        break
      default:
        value = zero || sign !== overflow
    }
    return (code & 1) !== 0 ? !value : value
  }

  /** The shift count of a record, masked to 5 bits. */
  protected count(at: number, immediate: boolean, c: number, mask: number): number {
    return (immediate ? this.s.i32[(at + UOP_IMM) >> 2]! : this.s.u8[this.base + c]!) & mask
  }

  /** Rotates change CF and OF only. */
  protected rotateFlags(carry: number, overflow: number): void {
    const at = (this.base + OFF_FLAG_AUX) >> 2
    const aux = this.s.i32[at]!
    this.s.i32[at] = (aux & ~(AUX_CF | AUX_PO)) | (carry << 31) | ((carry ^ overflow) << 30)
  }
}

/** Number of one bits in the low 32 bits. */
export function ones(x: number): number {
  let n = 0
  for (let rest = x | 0; rest; rest &= rest - 1) n++
  return n
}
