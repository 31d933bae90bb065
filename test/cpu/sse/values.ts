/** Numbers worth computing with, and a CPU block to compute on. */

import fc from 'fast-check'
import type { CpuCore } from '../../../src/cpu/cpu-types.js'
import { isThrownFault } from '../../../src/cpu/exceptions.js'
import { CPU_BLOCK_SIZE, OFF_CR4, OFF_MXCSR, OFF_XMM } from '../../../src/cpu/layout.js'
import { SIMD_OPERATIONS, simdNumber } from '../../../src/cpu/simd.js'
import { CpuState } from '../../../src/cpu/state.js'

/** A bit pattern of a binary format of 32 or 64 bits, edges more often than not. */
export function pattern(bits: 32 | 64): fc.Arbitrary<bigint> {
  const fraction = bits === 32 ? 23 : 52
  const top = (1 << (bits - 1 - fraction)) - 1
  const bias = top >> 1
  const exponent = fc.oneof(
    fc.constantFrom(
      0,
      0,
      1,
      2,
      top,
      top - 1,
      bias - 1,
      bias,
      bias + 1,
      bias + fraction,
      bias >> 1,
      bias + 31,
      bias + 63,
    ),
    fc.integer({ min: bias - 70, max: bias + 70 }),
    // Where a binary64 leaves the range of a binary32.
    fc.integer({ min: bias - 152, max: bias - 124 }).map((e) => Math.max(e, 0)),
    fc.integer({ min: 0, max: top }),
  )
  const ones = (1n << BigInt(fraction)) - 1n
  const significand = fc.oneof(
    fc.constantFrom(0n, 1n, 2n, ones, ones - 1n, 1n << BigInt(fraction - 1), (1n << BigInt(fraction - 1)) + 1n),
    fc.bigInt({ min: 0n, max: ones }),
    // Few bits: exact results.
    fc
      .tuple(fc.bigInt({ min: 0n, max: ones }), fc.integer({ min: 0, max: fraction }))
      .map(([value, low]) => (value >> BigInt(low)) << BigInt(low)),
  )
  return fc
    .tuple(fc.boolean(), exponent, significand)
    .map(([sign, e, f]) => (sign ? 1n << BigInt(bits - 1) : 0n) | (BigInt(e) << BigInt(fraction)) | f)
}

/** MXCSR: any rounding, FZ, DAZ and flags; mostly with every exception masked. */
export const anyMxcsr: fc.Arbitrary<number> = fc
  .tuple(
    fc.constantFrom(0, 0, 0x2000, 0x4000, 0x6000),
    fc.constantFrom(0, 0, 0x40, 0x8000, 0x8040),
    fc.constantFrom(0, 0x20, 0x3f, 0x15),
    fc.oneof({ weight: 3, arbitrary: fc.constant(0x3f) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x3f }) }),
  )
  .map(([rounding, modes, flags, masks]) => rounding | modes | flags | (masks << 7))

/** Slots that {@link Unit.run} uses. */
export const A: number = OFF_XMM
export const B: number = OFF_XMM + 16

/** One CPU block and its operations. */
export class Unit {
  readonly s: CpuState = new CpuState(new ArrayBuffer(CPU_BLOCK_SIZE + 64), 0)
  readonly cpu: CpuCore = { s: this.s } as unknown as CpuCore

  /** All 128 bits of a slot. */
  get(slot: number): bigint {
    return this.s.getBig(slot) | (this.s.getBig(slot + 8) << 64n)
  }

  /** Writes all 128 bits of a slot. */
  set(slot: number, value: bigint): void {
    this.s.setBig(slot, BigInt.asUintN(64, value))
    this.s.setBig(slot + 8, BigInt.asUintN(64, value >> 64n))
  }

  get mxcsr(): number {
    return this.s.get32(OFF_MXCSR)
  }

  /** Runs an operation on A and B with the result in `to`. Gives the vector raised, or −1. */
  run(name: string, mxcsr: number, imm = 0, to = A, from = B): number {
    this.s.set32(OFF_MXCSR, mxcsr)
    this.s.set32(OFF_CR4, 0x600)
    try {
      SIMD_OPERATIONS[simdNumber(name)]!(this.cpu, to, to, from, imm)
      return -1
    } catch (error) {
      if (!isThrownFault(error)) throw error
      return error.vector
    }
  }
}
