/** The shape of the operations that the micro-op SIMD names. */

import type { CpuCore } from './cpu-types.js'

/**
 * One operation of MMX or SSE: a ← operation (b, c, imm). `a`, `b` and `c` are slots (byte offsets in the CPU's block, multiples of 16 for vector
 * operands, of 8 for general registers) and may be the same; every source is read before the first byte of `a` is written. An operation that can fault
 * throws (exceptions.ts) before it changes anything.
 */
export type SimdOperation = (cpu: CpuCore, a: number, b: number, c: number, imm: number) => void

/** Operations by name. */
export type SimdGroup = Readonly<Record<string, SimdOperation>>
