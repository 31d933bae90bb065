/**
 * Floating-point instructions of WebAssembly for the emitter: scalars, and vectors of them, behind one interface, so that a handler for ADDSD and one for
 * ADDPD are the same text. Source: WebAssembly Core Specification, "Numeric Instructions", "Vector Instructions".
 */

import {
  type Binary,
  type Code,
  F32,
  F64,
  i32,
  type Load,
  loadOp,
  type Store,
  storeOp,
  type Unary,
  unsignedLeb,
  V128,
  type ValueType,
} from './wasm-emitter.js'
import { v128 } from './wasm-vectors.js'

/** Arithmetic on one number or on each lane. A comparison gives a *truth*: an i32, or lanes of all ones or zeros. */
export interface FloatOps {
  readonly type: ValueType
  const(value: number): Code
  readonly load: Load
  readonly store: Store
  readonly add: Binary
  readonly sub: Binary
  readonly mul: Binary
  readonly div: Binary
  readonly sqrt: Unary
  readonly abs: Unary
  readonly eq: Binary
  readonly lt: Binary
  readonly gt: Binary
  readonly le: Binary
  readonly ge: Binary
  readonly and: Binary
  readonly or: Binary
  /** i32: the truth holds in every lane. */
  readonly all: Unary
  /** `a` where the truth holds, else `b`. */
  select(truth: Code, a: Code, b: Code): Code
}

const unary =
  (opcode: number): Unary =>
  (a) => [a, opcode]
const binary =
  (opcode: number): Binary =>
  (a, b) => [a, b, opcode]
const vector1 =
  (opcode: number): Unary =>
  (a) => [a, 0xfd, unsignedLeb(opcode)]
const vector2 =
  (opcode: number): Binary =>
  (a, b) => [a, b, 0xfd, unsignedLeb(opcode)]
const saturating =
  (opcode: number): Unary =>
  (a) => [a, 0xfc, opcode]

function bytesOf(value: number, wide: boolean): number[] {
  const array = wide ? new Float64Array([value]) : new Float32Array([value])
  return [...new Uint8Array(array.buffer)]
}

function same(code: Code): Code {
  return code
}

/** `test`, `math`: opcodes of EQ and ABS; the others follow in a fixed order. */
function scalar(wide: boolean, test: number, math: number): FloatOps {
  return {
    type: wide ? F64 : F32,
    const: (value) => [wide ? 0x44 : 0x43, bytesOf(value, wide)],
    load: loadOp(wide ? 0x2b : 0x2a),
    store: storeOp(wide ? 0x39 : 0x38),
    eq: binary(test),
    lt: binary(test + 2),
    gt: binary(test + 3),
    le: binary(test + 4),
    ge: binary(test + 5),
    abs: unary(math),
    sqrt: unary(math + 6),
    add: binary(math + 7),
    sub: binary(math + 8),
    mul: binary(math + 9),
    div: binary(math + 10),
    and: i32.and,
    or: i32.or,
    all: same,
    select: (truth, a, b) => [a, b, truth, 0x1b],
  }
}

function lanes(wide: boolean, test: number, math: number, all: number): FloatOps {
  return {
    type: V128,
    const: (value) => v128.const(new Array<number[]>(wide ? 2 : 4).fill(bytesOf(value, wide)).flat()),
    load: v128.load,
    store: v128.store,
    eq: vector2(test),
    lt: vector2(test + 2),
    gt: vector2(test + 3),
    le: vector2(test + 4),
    ge: vector2(test + 5),
    abs: vector1(math),
    sqrt: vector1(math + 3),
    add: vector2(math + 4),
    sub: vector2(math + 5),
    mul: vector2(math + 6),
    div: vector2(math + 7),
    and: v128.and,
    or: v128.or,
    all: vector1(all),
    select: (truth, a, b) => v128.select(a, b, truth),
  }
}

export const f32: FloatOps & {
  readonly demote: Unary
  readonly fromI32: Unary
  readonly fromI64: Unary
} = {
  ...scalar(false, 0x5b, 0x8b),
  /** From f64. */
  demote: unary(0xb6),
  fromI32: unary(0xb2),
  fromI64: unary(0xb4),
}

export const f64: FloatOps & {
  readonly promote: Unary
  readonly fromI32: Unary
  readonly fromI64: Unary
  readonly ceil: Unary
  readonly floor: Unary
  readonly trunc: Unary
  readonly nearest: Unary
  readonly toI32: Unary
  readonly toI64: Unary
} = {
  ...scalar(true, 0x61, 0x99),
  /** From f32. */
  promote: unary(0xbb),
  fromI32: unary(0xb7),
  fromI64: unary(0xb9),
  ceil: unary(0x9b),
  floor: unary(0x9c),
  trunc: unary(0x9d),
  /** Ties to even. */
  nearest: unary(0x9e),
  /** Truncated; what does not fit becomes the nearest integer that does. */
  toI32: saturating(2),
  toI64: saturating(6),
}

export const f32x4: FloatOps & {
  readonly fromI32: Unary
  readonly toI32: Unary
} = {
  ...lanes(false, 0x41, 0xe0, 0xa3),
  fromI32: vector1(0xfa),
  /** Truncated; what does not fit becomes the nearest integer that does. */
  toI32: vector1(0xf8),
}

export const f64x2: FloatOps & {
  readonly promoteLow: Unary
  readonly fromLowI32: Unary
} = {
  ...lanes(true, 0x47, 0xec, 0xc3),
  /** From the lower two lanes of f32x4, of i32x4. */
  promoteLow: vector1(0x5f),
  fromLowI32: vector1(0xfe),
}
