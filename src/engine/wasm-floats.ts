/**
 * Floating-point instructions of WebAssembly for the emitter: scalars, and vectors of them, behind one interface, so that a handler for ADDSD and one for
 * ADDPD are the same text. Source: WebAssembly Core Specification, "Numeric Instructions", "Vector Instructions".
 */

import {
  type Binary,
  binaryOp,
  type Code,
  F32,
  F64,
  i32,
  instruction,
  type Load,
  loadOp,
  type Store,
  select,
  storeOp,
  type Unary,
  unaryOp,
  V128,
  type ValueType,
} from './wasm-emitter.js'
import { v128, vectorBinary, vectorUnary } from './wasm-vectors.js'

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

function saturating(opcode: number): Unary {
  return (a) => instruction([0xfc, opcode], a)
}

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
    const: (value) => instruction([wide ? 0x44 : 0x43, ...bytesOf(value, wide)], []),
    load: loadOp(wide ? 0x2b : 0x2a),
    store: storeOp(wide ? 0x39 : 0x38),
    eq: binaryOp(test),
    lt: binaryOp(test + 2),
    gt: binaryOp(test + 3),
    le: binaryOp(test + 4),
    ge: binaryOp(test + 5),
    abs: unaryOp(math),
    sqrt: unaryOp(math + 6),
    add: binaryOp(math + 7),
    sub: binaryOp(math + 8),
    mul: binaryOp(math + 9),
    div: binaryOp(math + 10),
    and: i32.and,
    or: i32.or,
    all: same,
    select: (truth, a, b) => select(truth, a, b),
  }
}

function lanes(wide: boolean, test: number, math: number, all: number): FloatOps {
  return {
    type: V128,
    const: (value) => v128.const(new Array<number[]>(wide ? 2 : 4).fill(bytesOf(value, wide)).flat()),
    load: v128.load,
    store: v128.store,
    eq: vectorBinary(test),
    lt: vectorBinary(test + 2),
    gt: vectorBinary(test + 3),
    le: vectorBinary(test + 4),
    ge: vectorBinary(test + 5),
    abs: vectorUnary(math),
    sqrt: vectorUnary(math + 3),
    add: vectorBinary(math + 4),
    sub: vectorBinary(math + 5),
    mul: vectorBinary(math + 6),
    div: vectorBinary(math + 7),
    and: v128.and,
    or: v128.or,
    all: vectorUnary(all),
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
  demote: unaryOp(0xb6),
  fromI32: unaryOp(0xb2),
  fromI64: unaryOp(0xb4),
}

export const f64: FloatOps & {
  readonly promote: Unary
  readonly fromI32: Unary
  readonly fromI64: Unary
  readonly fromU64: Unary
  readonly ceil: Unary
  readonly floor: Unary
  readonly trunc: Unary
  readonly nearest: Unary
  readonly toI32: Unary
  readonly toI64: Unary
} = {
  ...scalar(true, 0x61, 0x99),
  /** From f32. */
  promote: unaryOp(0xbb),
  fromI32: unaryOp(0xb7),
  fromI64: unaryOp(0xb9),
  fromU64: unaryOp(0xba),
  ceil: unaryOp(0x9b),
  floor: unaryOp(0x9c),
  trunc: unaryOp(0x9d),
  /** Ties to even. */
  nearest: unaryOp(0x9e),
  /** Truncated; what does not fit becomes the nearest integer that does. */
  toI32: saturating(2),
  toI64: saturating(6),
}

export const f32x4: FloatOps & {
  readonly fromI32: Unary
  readonly toI32: Unary
} = {
  ...lanes(false, 0x41, 0xe0, 0xa3),
  fromI32: vectorUnary(0xfa),
  /** Truncated; what does not fit becomes the nearest integer that does. */
  toI32: vectorUnary(0xf8),
}

export const f64x2: FloatOps & {
  readonly promoteLow: Unary
  readonly fromLowI32: Unary
} = {
  ...lanes(true, 0x47, 0xec, 0xc3),
  /** From the lower two lanes of f32x4, of i32x4. */
  promoteLow: vectorUnary(0x5f),
  fromLowI32: vectorUnary(0xfe),
}
