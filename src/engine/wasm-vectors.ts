/**
 * WebAssembly's operations on 128-bit vectors, for the emitter of wasm-emitter.ts.
 * Source: "WebAssembly Core Specification", "Vector Instructions" of the chapter "Binary Format".
 */

import {
  type Binary,
  type Code,
  instruction,
  type Load,
  memoryOffset,
  type Store,
  type Unary,
  unsignedLeb,
} from './wasm-emitter.js'

function prefixed(opcode: number): readonly number[] {
  return [0xfd, ...unsignedLeb(opcode)]
}
/** Vector instructions of one and two operands. */
export function vectorUnary(opcode: number): Unary {
  const bytes = prefixed(opcode)
  return (a) => instruction(bytes, a)
}
export function vectorBinary(opcode: number): Binary {
  const bytes = prefixed(opcode)
  return (a, b) => instruction(bytes, [a, b])
}
function vectorLoad(opcode: number): Load {
  return (address, offset = 0) => instruction([...prefixed(opcode), 0, ...memoryOffset(offset)], address)
}

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
    splat: vectorUnary(splat),
    eq: vectorBinary(test),
    gtS: vectorBinary(gtS),
    abs: vectorUnary(first),
    bitmask: vectorUnary(first + 4),
    shl: vectorBinary(first + 11),
    shrS: vectorBinary(first + 12),
    shrU: vectorBinary(first + 13),
    add: vectorBinary(first + 14),
    sub: vectorBinary(first + 17),
  }
}
function minMax(first: number): Pick<NarrowLaneOps, 'minS' | 'minU' | 'maxS' | 'maxU'> {
  return {
    minS: vectorBinary(first),
    minU: vectorBinary(first + 1),
    maxS: vectorBinary(first + 2),
    maxU: vectorBinary(first + 3),
  }
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
  addSatS: vectorBinary(0x6f),
  addSatU: vectorBinary(0x70),
  subSatS: vectorBinary(0x72),
  subSatU: vectorBinary(0x73),
  averageU: vectorBinary(0x7b),
  narrowS: vectorBinary(0x65),
  narrowU: vectorBinary(0x66),
  swizzle: vectorBinary(0x0e),
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
    extendLowS: vectorUnary(extend),
    extendLowU: vectorUnary(extend + 2),
    multiplyLowS: vectorBinary(multiply),
    multiplyHighS: vectorBinary(multiply + 1),
    multiplyLowU: vectorBinary(multiply + 2),
    multiplyHighU: vectorBinary(multiply + 3),
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
  addSatS: vectorBinary(0x8f),
  addSatU: vectorBinary(0x90),
  subSatS: vectorBinary(0x92),
  subSatU: vectorBinary(0x93),
  averageU: vectorBinary(0x9b),
  narrowS: vectorBinary(0x85),
  narrowU: vectorBinary(0x86),
  mul: vectorBinary(0x95),
  extendHighS: vectorUnary(0x88),
  extendHighU: vectorUnary(0x8a),
  pairsU: vectorUnary(0x7d),
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
  mul: vectorBinary(0xb5),
  dot: vectorBinary(0xba),
  pairsU: vectorUnary(0x7f),
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
  store: (address, value, offset = 0) => instruction([0xfd, 0x0b, 0, ...memoryOffset(offset)], [address, value]),
  load32: vectorLoad(0x5c),
  load64: vectorLoad(0x5d),
  load64Splat: vectorLoad(0x0a),
  not: vectorUnary(0x4d),
  and: vectorBinary(0x4e),
  andNot: vectorBinary(0x4f),
  or: vectorBinary(0x50),
  xor: vectorBinary(0x51),
  anyTrue: vectorUnary(0x53),
  const: (bytes) => instruction([0xfd, 0x0c, ...bytes], []),
  select: (a, b, mask) => instruction([0xfd, 0x52], [a, b, mask]),
  shuffle: (a, b, bytes) => instruction([0xfd, 0x0d, ...bytes], [a, b]),
}
