/**
 * Vectors in plain TypeScript: three 16-byte registers of scratch seen at every lane width, through which the operations of the reference
 * engine go. Sources are copied in first, so that an operation may write a register that it reads.
 */

import type { SimdOperation } from './simd-types.js'
import type { CpuState } from './state.js'

/** Sixteen bytes, as lanes. */
export class Vector {
  readonly u8: Uint8Array
  readonly i8: Int8Array
  readonly u16: Uint16Array
  readonly i16: Int16Array
  readonly u32: Uint32Array
  readonly i32: Int32Array
  readonly u64: BigUint64Array
  readonly i64: BigInt64Array

  constructor() {
    const buffer = new ArrayBuffer(16)
    this.u8 = new Uint8Array(buffer)
    this.i8 = new Int8Array(buffer)
    this.u16 = new Uint16Array(buffer)
    this.i16 = new Int16Array(buffer)
    this.u32 = new Uint32Array(buffer)
    this.i32 = new Int32Array(buffer)
    this.u64 = new BigUint64Array(buffer)
    this.i64 = new BigInt64Array(buffer)
  }

  /** Copies a slot in, all 16 bytes of it. */
  load(s: CpuState, slot: number): void {
    const at = (s.base + slot) >> 2
    const { i32 } = this
    i32[0] = s.i32[at]!
    i32[1] = s.i32[at + 1]!
    i32[2] = s.i32[at + 2]!
    i32[3] = s.i32[at + 3]!
  }

  /** Copies the low `bytes` (8 or 16) bytes out. */
  store(s: CpuState, slot: number, bytes: number): void {
    const at = (s.base + slot) >> 2
    const { i32 } = this
    s.i32[at] = i32[0]!
    s.i32[at + 1] = i32[1]!
    if (bytes === 8) return
    s.i32[at + 2] = i32[2]!
    s.i32[at + 3] = i32[3]!
  }
}

/** First source, second source, result. */
export const X: Vector = /* @__PURE__ */ new Vector()
export const Y: Vector = /* @__PURE__ */ new Vector()
export const R: Vector = /* @__PURE__ */ new Vector()

/** An operation of `bytes` bytes (8: MMX) that computes {@link R} from {@link X} and {@link Y}. */
export function vectorOperation(bytes: 8 | 16, compute: (imm: number) => void): SimdOperation {
  return (cpu, a, b, c, imm) => {
    X.load(cpu.s, b)
    Y.load(cpu.s, c)
    compute(imm)
    R.store(cpu.s, a, bytes)
  }
}
