/**
 * WebAssembly's operations on 128-bit vectors, for the emitter of wasm-emitter.ts.
 * Source: "WebAssembly Core Specification", "Vector Instructions" of the chapter "Binary Format".
 */

import { type Binary, type Code, type Load, memoryOffset, type Store, type Unary, unsignedLeb } from './wasm-emitter.js'

const vector1 =
  (opcode: number): Unary =>
  (a) => [a, 0xfd, unsignedLeb(opcode)]
const vector2 =
  (opcode: number): Binary =>
  (a, b) => [a, b, 0xfd, unsignedLeb(opcode)]
const vectorLoad =
  (opcode: number): Load =>
  (address, offset = 0) => [address, 0xfd, unsignedLeb(opcode), 0, memoryOffset(offset)]

/** What all integer lane shapes have in common. Shift counts are i32, taken modulo the lane's width; comparisons give lanes of all ones or zeros. */
export interface LaneOps {
  /** Bits of a lane. */
  readonly size: number
  readonly splat: Unary
  readonly eq: Binary
  readonly gtS: Binary
  readonly abs: Unary
  /** The sign bits of the lanes, as an i32. */
  readonly bitmask: Unary
  readonly shl: Binary
  readonly shrS: Binary
  readonly shrU: Binary
  readonly add: Binary
  readonly sub: Binary
}

/** Lanes that have minimum and maximum as well. */
interface NarrowLaneOps extends LaneOps {
  readonly minS: Binary
  readonly minU: Binary
  readonly maxS: Binary
  readonly maxU: Binary
}

/** Arithmetic opcodes lie in parallel from `first` on, comparisons from `test` on. */
function laneOps(size: number, splat: number, test: number, gtS: number, first: number): LaneOps {
  return {
    size,
    splat: vector1(splat),
    eq: vector2(test),
    gtS: vector2(gtS),
    abs: vector1(first),
    bitmask: vector1(first + 4),
    shl: vector2(first + 11),
    shrS: vector2(first + 12),
    shrU: vector2(first + 13),
    add: vector2(first + 14),
    sub: vector2(first + 17),
  }
}
function minMax(first: number): Pick<NarrowLaneOps, 'minS' | 'minU' | 'maxS' | 'maxU'> {
  return { minS: vector2(first), minU: vector2(first + 1), maxS: vector2(first + 2), maxU: vector2(first + 3) }
}

export const i8x16: NarrowLaneOps & {
  readonly addSatS: Binary
  readonly addSatU: Binary
  readonly subSatS: Binary
  readonly subSatU: Binary
  readonly averageU: Binary
  /** From i16x8, with saturation. */
  readonly narrowS: Binary
  readonly narrowU: Binary
  /** Lanes of `a` by the indexes in `b`; 0 for those of 16 and more. */
  readonly swizzle: Binary
} = {
  ...laneOps(8, 0x0f, 0x23, 0x27, 0x60),
  ...minMax(0x76),
  addSatS: vector2(0x6f),
  addSatU: vector2(0x70),
  subSatS: vector2(0x72),
  subSatU: vector2(0x73),
  averageU: vector2(0x7b),
  narrowS: vector2(0x65),
  narrowU: vector2(0x66),
  swizzle: vector2(0x0e),
}
/** Lanes made from lanes of half their width. */
interface Extensions {
  readonly extendLowS: Unary
  readonly extendLowU: Unary
  readonly multiplyLowS: Binary
  readonly multiplyHighS: Binary
  readonly multiplyLowU: Binary
  readonly multiplyHighU: Binary
}
function extensions(extend: number, multiply: number): Extensions {
  return {
    extendLowS: vector1(extend),
    extendLowU: vector1(extend + 2),
    multiplyLowS: vector2(multiply),
    multiplyHighS: vector2(multiply + 1),
    multiplyLowU: vector2(multiply + 2),
    multiplyHighU: vector2(multiply + 3),
  }
}
export const i16x8: NarrowLaneOps &
  Extensions & {
    readonly addSatS: Binary
    readonly addSatU: Binary
    readonly subSatS: Binary
    readonly subSatU: Binary
    readonly averageU: Binary
    /** From i32x4, with saturation. */
    readonly narrowS: Binary
    readonly narrowU: Binary
    readonly mul: Binary
    readonly extendHighS: Unary
    readonly extendHighU: Unary
    /** Sums of pairs of bytes. */
    readonly pairsU: Unary
  } = {
  ...laneOps(16, 0x10, 0x2d, 0x31, 0x80),
  ...minMax(0x96),
  ...extensions(0x87, 0x9c),
  addSatS: vector2(0x8f),
  addSatU: vector2(0x90),
  subSatS: vector2(0x92),
  subSatU: vector2(0x93),
  averageU: vector2(0x9b),
  narrowS: vector2(0x85),
  narrowU: vector2(0x86),
  mul: vector2(0x95),
  extendHighS: vector1(0x88),
  extendHighU: vector1(0x8a),
  pairsU: vector1(0x7d),
}
export const i32x4: NarrowLaneOps &
  Extensions & {
    readonly mul: Binary
    /** Sums of products of pairs of signed words. */
    readonly dot: Binary
    /** Sums of pairs of words. */
    readonly pairsU: Unary
  } = {
  ...laneOps(32, 0x11, 0x37, 0x3b, 0xa0),
  ...minMax(0xb6),
  ...extensions(0xa7, 0xbc),
  mul: vector2(0xb5),
  dot: vector2(0xba),
  pairsU: vector1(0x7f),
}
export const i64x2: LaneOps & Extensions = {
  ...laneOps(64, 0x12, 0xd6, 0xd9, 0xc0),
  ...extensions(0xc7, 0xdc),
}
export const v128: {
  readonly load: Load
  readonly store: Store
  /** The rest is 0. */
  readonly load32: Load
  readonly load64: Load
  /** Both halves. */
  readonly load64Splat: Load
  readonly not: Unary
  readonly and: Binary
  /** a and not b */
  readonly andNot: Binary
  readonly or: Binary
  readonly xor: Binary
  /** An i32: whether any bit is set. */
  readonly anyTrue: Unary
  const(bytes: readonly number[]): Code
  /** Bits of `a` where `mask` has ones, else of `b`. */
  select(a: Code, b: Code, mask: Code): Code
  /** Bytes of `a` (0–15) and `b` (16–31). */
  shuffle(a: Code, b: Code, bytes: readonly number[]): Code
} = {
  load: vectorLoad(0x00),
  store: (address, value, offset = 0) => [address, value, 0xfd, 0x0b, 0, memoryOffset(offset)],
  load32: vectorLoad(0x5c),
  load64: vectorLoad(0x5d),
  load64Splat: vectorLoad(0x0a),
  not: vector1(0x4d),
  and: vector2(0x4e),
  andNot: vector2(0x4f),
  or: vector2(0x50),
  xor: vector2(0x51),
  anyTrue: vector1(0x53),
  const: (bytes) => [0xfd, 0x0c, bytes],
  select: (a, b, mask) => [a, b, mask, 0xfd, 0x52],
  shuffle: (a, b, bytes) => [a, b, 0xfd, 0x0d, bytes],
}
