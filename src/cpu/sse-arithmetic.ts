/**
 * SSE floating-point arithmetic and comparisons as SIMD operations: elements are taken from their slots, computed with all flags collected, and written
 * after it is known that no exception is raised. Source: Intel SDM Vol. 2, the page of each instruction.
 */

import { FLAG_CF, FLAG_PF, FLAG_ZF } from '../isa/flags.js'
import { beginFloat, endFloat, outcome } from './mxcsr.js'
import type { SimdGroup, SimdOperation } from './simd-types.js'
import {
  add32,
  compare32,
  div32,
  EQUAL,
  LESS,
  max32,
  min32,
  mul32,
  predicate32,
  sqrt32,
  sub32,
  UNORDERED,
} from './sse-binary32.js'
import { add64, compare64, div64, max64, min64, mul64, predicate64, sqrt64, sub64 } from './sse-binary64.js'

/** An operation on one binary32 element of each operand. */
type Lane32 = (a: number, b: number, mxcsr: number) => number
/** The same for binary64, in halves; the result is in the outcome. */
type Lane64 = (alo: number, ahi: number, blo: number, bhi: number, mxcsr: number) => void

/** …SS: the lowest element. */
function scalar32(lane: Lane32): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const mxcsr = beginFloat(s)
    const r = lane(i32[(base + b) >> 2]!, i32[(base + c) >> 2]!, mxcsr)
    endFloat(s, mxcsr)
    i32[(base + a) >> 2] = r
  }
}

/** …SD. */
function scalar64(lane: Lane64): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    lane(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, mxcsr)
    endFloat(s, mxcsr)
    const d = (base + a) >> 2
    i32[d] = outcome.lo
    i32[d + 1] = outcome.hi
  }
}

/** …PS with one operation for elements 0 and 2 and one for 1 and 3. */
function packed32(even: Lane32, odd: Lane32 = even): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const d = (base + a) >> 2
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    const r0 = even(i32[x]!, i32[y]!, mxcsr)
    const r1 = odd(i32[x + 1]!, i32[y + 1]!, mxcsr)
    const r2 = even(i32[x + 2]!, i32[y + 2]!, mxcsr)
    const r3 = odd(i32[x + 3]!, i32[y + 3]!, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
    i32[d + 2] = r2
    i32[d + 3] = r3
  }
}

/** …PD, likewise. */
function packed64(even: Lane64, odd: Lane64 = even): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const d = (base + a) >> 2
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    even(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, mxcsr)
    const { lo, hi } = outcome
    odd(i32[x + 2]!, i32[x + 3]!, i32[y + 2]!, i32[y + 3]!, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = lo
    i32[d + 1] = hi
    i32[d + 2] = outcome.lo
    i32[d + 3] = outcome.hi
  }
}

/** HADDPS, HSUBPS: neighbours of the first operand, then of the second. */
function horizontal32(lane: Lane32): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const d = (base + a) >> 2
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    const r0 = lane(i32[x]!, i32[x + 1]!, mxcsr)
    const r1 = lane(i32[x + 2]!, i32[x + 3]!, mxcsr)
    const r2 = lane(i32[y]!, i32[y + 1]!, mxcsr)
    const r3 = lane(i32[y + 2]!, i32[y + 3]!, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
    i32[d + 2] = r2
    i32[d + 3] = r3
  }
}

/** HADDPD, HSUBPD. */
function horizontal64(lane: Lane64): SimdOperation {
  return ({ s }, a, b, c) => {
    const { i32, base } = s
    const d = (base + a) >> 2
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    lane(i32[x]!, i32[x + 1]!, i32[x + 2]!, i32[x + 3]!, mxcsr)
    const { lo, hi } = outcome
    lane(i32[y]!, i32[y + 1]!, i32[y + 2]!, i32[y + 3]!, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = lo
    i32[d + 1] = hi
    i32[d + 2] = outcome.lo
    i32[d + 3] = outcome.hi
  }
}

/** Square roots: of the second operand. */
const root32: Lane32 = (_a, b, mxcsr) => sqrt32(b, mxcsr)
const root64: Lane64 = (_alo, _ahi, blo, bhi, mxcsr) => sqrt64(blo, bhi, mxcsr)

const compareScalar32: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const mxcsr = beginFloat(s)
  const r = predicate32(i32[(base + b) >> 2]!, i32[(base + c) >> 2]!, imm & 7, mxcsr)
  endFloat(s, mxcsr)
  i32[(base + a) >> 2] = r
}

const comparePacked32: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const x = (base + b) >> 2
  const y = (base + c) >> 2
  const mxcsr = beginFloat(s)
  const r0 = predicate32(i32[x]!, i32[y]!, imm & 7, mxcsr)
  const r1 = predicate32(i32[x + 1]!, i32[y + 1]!, imm & 7, mxcsr)
  const r2 = predicate32(i32[x + 2]!, i32[y + 2]!, imm & 7, mxcsr)
  const r3 = predicate32(i32[x + 3]!, i32[y + 3]!, imm & 7, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r0
  i32[d + 1] = r1
  i32[d + 2] = r2
  i32[d + 3] = r3
}

const compareScalar64: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const x = (base + b) >> 2
  const y = (base + c) >> 2
  const mxcsr = beginFloat(s)
  const r = predicate64(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, imm & 7, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r
  i32[d + 1] = r
}

const comparePacked64: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const x = (base + b) >> 2
  const y = (base + c) >> 2
  const mxcsr = beginFloat(s)
  const r0 = predicate64(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, imm & 7, mxcsr)
  const r1 = predicate64(i32[x + 2]!, i32[x + 3]!, i32[y + 2]!, i32[y + 3]!, imm & 7, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r0
  i32[d + 1] = r0
  i32[d + 2] = r1
  i32[d + 3] = r1
}

/** EFLAGS that say how a compares with b. */
function orderFlags(order: number): number {
  if (order === UNORDERED) return FLAG_ZF | FLAG_PF | FLAG_CF
  return order === LESS ? FLAG_CF : order === EQUAL ? FLAG_ZF : 0
}

/** COMISS, UCOMISS. */
function ordered32(quiet: boolean): SimdOperation {
  return ({ s }, _a, b, c) => {
    const { i32, base } = s
    const mxcsr = beginFloat(s)
    const order = compare32(i32[(base + b) >> 2]!, i32[(base + c) >> 2]!, mxcsr, quiet)
    endFloat(s, mxcsr)
    s.arithmetic = orderFlags(order)
  }
}

/** COMISD, UCOMISD. */
function ordered64(quiet: boolean): SimdOperation {
  return ({ s }, _a, b, c) => {
    const { i32, base } = s
    const x = (base + b) >> 2
    const y = (base + c) >> 2
    const mxcsr = beginFloat(s)
    const order = compare64(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, mxcsr, quiet)
    endFloat(s, mxcsr)
    s.arithmetic = orderFlags(order)
  }
}

/** DPPS. Each multiplication and addition rounds and reports by itself; imm: which elements take part, and where the sum goes. */
const dotProduct32: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const x = (base + b) >> 2
  const y = (base + c) >> 2
  let mxcsr = beginFloat(s)
  const p0 = imm & 0x10 ? mul32(i32[x]!, i32[y]!, mxcsr) : 0
  const p1 = imm & 0x20 ? mul32(i32[x + 1]!, i32[y + 1]!, mxcsr) : 0
  const p2 = imm & 0x40 ? mul32(i32[x + 2]!, i32[y + 2]!, mxcsr) : 0
  const p3 = imm & 0x80 ? mul32(i32[x + 3]!, i32[y + 3]!, mxcsr) : 0
  endFloat(s, mxcsr)
  mxcsr = beginFloat(s)
  const low = add32(p0, p1, mxcsr)
  const high = add32(p2, p3, mxcsr)
  endFloat(s, mxcsr)
  mxcsr = beginFloat(s)
  const sum = add32(low, high, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = imm & 1 ? sum : 0
  i32[d + 1] = imm & 2 ? sum : 0
  i32[d + 2] = imm & 4 ? sum : 0
  i32[d + 3] = imm & 8 ? sum : 0
}

/** DPPD. */
const dotProduct64: SimdOperation = ({ s }, a, b, c, imm) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const x = (base + b) >> 2
  const y = (base + c) >> 2
  let mxcsr = beginFloat(s)
  let lo = 0
  let hi = 0
  if (imm & 0x10) {
    mul64(i32[x]!, i32[x + 1]!, i32[y]!, i32[y + 1]!, mxcsr)
    lo = outcome.lo
    hi = outcome.hi
  }
  outcome.lo = 0
  outcome.hi = 0
  if (imm & 0x20) mul64(i32[x + 2]!, i32[x + 3]!, i32[y + 2]!, i32[y + 3]!, mxcsr)
  endFloat(s, mxcsr)
  mxcsr = beginFloat(s)
  add64(lo, hi, outcome.lo, outcome.hi, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = imm & 1 ? outcome.lo : 0
  i32[d + 1] = imm & 1 ? outcome.hi : 0
  i32[d + 2] = imm & 2 ? outcome.lo : 0
  i32[d + 3] = imm & 2 ? outcome.hi : 0
}

/** Arithmetic and comparisons. */
export const SSE_ARITHMETIC: SimdGroup = {
  addss: scalar32(add32),
  subss: scalar32(sub32),
  mulss: scalar32(mul32),
  divss: scalar32(div32),
  minss: scalar32(min32),
  maxss: scalar32(max32),
  sqrtss: scalar32(root32),
  addsd: scalar64(add64),
  subsd: scalar64(sub64),
  mulsd: scalar64(mul64),
  divsd: scalar64(div64),
  minsd: scalar64(min64),
  maxsd: scalar64(max64),
  sqrtsd: scalar64(root64),
  addps: packed32(add32),
  subps: packed32(sub32),
  mulps: packed32(mul32),
  divps: packed32(div32),
  minps: packed32(min32),
  maxps: packed32(max32),
  sqrtps: packed32(root32),
  addpd: packed64(add64),
  subpd: packed64(sub64),
  mulpd: packed64(mul64),
  divpd: packed64(div64),
  minpd: packed64(min64),
  maxpd: packed64(max64),
  sqrtpd: packed64(root64),
  addsubps: packed32(sub32, add32),
  addsubpd: packed64(sub64, add64),
  haddps: horizontal32(add32),
  hsubps: horizontal32(sub32),
  haddpd: horizontal64(add64),
  hsubpd: horizontal64(sub64),
  cmpss: compareScalar32,
  cmpps: comparePacked32,
  cmpsd: compareScalar64,
  cmppd: comparePacked64,
  comiss: ordered32(false),
  ucomiss: ordered32(true),
  comisd: ordered64(false),
  ucomisd: ordered64(true),
  dpps: dotProduct32,
  dppd: dotProduct64,
}
