/**
 * Conversions, ROUND…, reciprocals and LDMXCSR as SIMD operations. A general register as source or destination is 4 or 8 bytes by `imm`.
 * Source: Intel SDM Vol. 2, the page of each instruction.
 */

import { raiseGp } from './exceptions.js'
import { OFF_MXCSR } from './layout.js'
import { beginFloat, endFloat, MXCSR_WRITABLE, outcome } from './mxcsr.js'
import type { SimdGroup, SimdOperation } from './simd-types.js'
import { reciprocal32, reciprocalRoot32 } from './sse-approximate.js'
import {
  float32To64,
  float32ToInt32,
  float32ToInt64,
  float64To32,
  float64ToInt32,
  float64ToInt64,
  intToFloat32,
  intToFloat64,
  roundIntegral32,
  roundIntegral64,
  roundingMode,
  TRUNCATE,
} from './sse-convert.js'

/** CVTSI2SS, CVTSI2SD. */
const intToSingle: SimdOperation = ({ s }, a, _b, c, imm) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const mxcsr = beginFloat(s)
  const r = intToFloat32(i32[x]!, imm === 8 ? i32[x + 1]! : i32[x]! >> 31, mxcsr)
  endFloat(s, mxcsr)
  i32[(base + a) >> 2] = r
}

const intToDouble: SimdOperation = ({ s }, a, _b, c, imm) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  intToFloat64(i32[x]!, imm === 8 ? i32[x + 1]! : i32[x]! >> 31, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = outcome.lo
  i32[d + 1] = outcome.hi
}

/** CVTSS2SI, CVTTSS2SI, CVTSD2SI, CVTTSD2SI. */
function toRegister(double: boolean, truncate: boolean): SimdOperation {
  return ({ s }, a, _b, c, imm) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    const mxcsr = beginFloat(s)
    const mode = truncate ? TRUNCATE : roundingMode(mxcsr)
    if (imm === 8) {
      if (double) float64ToInt64(i32[x]!, i32[x + 1]!, mode, mxcsr)
      else float32ToInt64(i32[x]!, mode, mxcsr)
    } else {
      outcome.lo = double ? float64ToInt32(i32[x]!, i32[x + 1]!, mode, mxcsr) : float32ToInt32(i32[x]!, mode, mxcsr)
      outcome.hi = 0
    }
    endFloat(s, mxcsr)
    i32[d] = outcome.lo
    i32[d + 1] = outcome.hi
  }
}

const singleToDouble: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  float32To64(i32[(base + c) >> 2]!, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = outcome.lo
  i32[d + 1] = outcome.hi
}

const doubleToSingle: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const mxcsr = beginFloat(s)
  const r = float64To32(i32[x]!, i32[x + 1]!, mxcsr)
  endFloat(s, mxcsr)
  i32[(base + a) >> 2] = r
}

/** CVTPS2PD. */
const singlesToDoubles: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  float32To64(i32[x]!, mxcsr)
  const { lo, hi } = outcome
  float32To64(i32[x + 1]!, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = lo
  i32[d + 1] = hi
  i32[d + 2] = outcome.lo
  i32[d + 3] = outcome.hi
}

/** CVTPD2PS: the upper half becomes zero. */
const doublesToSingles: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  const r0 = float64To32(i32[x]!, i32[x + 1]!, mxcsr)
  const r1 = float64To32(i32[x + 2]!, i32[x + 3]!, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r0
  i32[d + 1] = r1
  i32[d + 2] = 0
  i32[d + 3] = 0
}

/** CVTDQ2PS. */
const intsToSingles: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  const r0 = intToFloat32(i32[x]!, i32[x]! >> 31, mxcsr)
  const r1 = intToFloat32(i32[x + 1]!, i32[x + 1]! >> 31, mxcsr)
  const r2 = intToFloat32(i32[x + 2]!, i32[x + 2]! >> 31, mxcsr)
  const r3 = intToFloat32(i32[x + 3]!, i32[x + 3]! >> 31, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r0
  i32[d + 1] = r1
  i32[d + 2] = r2
  i32[d + 3] = r3
}

/** CVTPI2PS: two elements; the upper half stays. */
const twoIntsToSingles: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  const r0 = intToFloat32(i32[x]!, i32[x]! >> 31, mxcsr)
  const r1 = intToFloat32(i32[x + 1]!, i32[x + 1]! >> 31, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = r0
  i32[d + 1] = r1
}

/** CVTDQ2PD, CVTPI2PD: always exact. */
const intsToDoubles: SimdOperation = ({ s }, a, _b, c) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const second = i32[x + 1]!
  intToFloat64(i32[x]!, i32[x]! >> 31, 0)
  i32[d] = outcome.lo
  i32[d + 1] = outcome.hi
  intToFloat64(second, second >> 31, 0)
  i32[d + 2] = outcome.lo
  i32[d + 3] = outcome.hi
}

/** CVTPS2DQ, CVTTPS2DQ. */
function singlesToInts(truncate: boolean): SimdOperation {
  return ({ s }, a, _b, c) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    const mxcsr = beginFloat(s)
    const mode = truncate ? TRUNCATE : roundingMode(mxcsr)
    const r0 = float32ToInt32(i32[x]!, mode, mxcsr)
    const r1 = float32ToInt32(i32[x + 1]!, mode, mxcsr)
    const r2 = float32ToInt32(i32[x + 2]!, mode, mxcsr)
    const r3 = float32ToInt32(i32[x + 3]!, mode, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
    i32[d + 2] = r2
    i32[d + 3] = r3
  }
}

/** CVTPS2PI, CVTTPS2PI: two elements to an MMX register. */
function twoSinglesToInts(truncate: boolean): SimdOperation {
  return ({ s }, a, _b, c) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    const mxcsr = beginFloat(s)
    const mode = truncate ? TRUNCATE : roundingMode(mxcsr)
    const r0 = float32ToInt32(i32[x]!, mode, mxcsr)
    const r1 = float32ToInt32(i32[x + 1]!, mode, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
  }
}

/** CVTPD2DQ, CVTTPD2DQ (the upper half becomes zero); CVTPD2PI, CVTTPD2PI (`mmx`). */
function doublesToInts(truncate: boolean, mmx: boolean): SimdOperation {
  return ({ s }, a, _b, c) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    const mxcsr = beginFloat(s)
    const mode = truncate ? TRUNCATE : roundingMode(mxcsr)
    const r0 = float64ToInt32(i32[x]!, i32[x + 1]!, mode, mxcsr)
    const r1 = float64ToInt32(i32[x + 2]!, i32[x + 3]!, mode, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
    if (mmx) return
    i32[d + 2] = 0
    i32[d + 3] = 0
  }
}

/** ROUNDSS (1 element), ROUNDPS (4). */
function round32s(elements: number): SimdOperation {
  return ({ s }, a, _b, c, imm) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    const mxcsr = beginFloat(s)
    const r0 = roundIntegral32(i32[x]!, imm, mxcsr)
    if (elements === 1) {
      endFloat(s, mxcsr)
      i32[d] = r0
      return
    }
    const r1 = roundIntegral32(i32[x + 1]!, imm, mxcsr)
    const r2 = roundIntegral32(i32[x + 2]!, imm, mxcsr)
    const r3 = roundIntegral32(i32[x + 3]!, imm, mxcsr)
    endFloat(s, mxcsr)
    i32[d] = r0
    i32[d + 1] = r1
    i32[d + 2] = r2
    i32[d + 3] = r3
  }
}

const roundScalar64: SimdOperation = ({ s }, a, _b, c, imm) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  roundIntegral64(i32[x]!, i32[x + 1]!, imm, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = outcome.lo
  i32[d + 1] = outcome.hi
}

const roundPacked64: SimdOperation = ({ s }, a, _b, c, imm) => {
  const { i32, base } = s
  const x = (base + c) >> 2
  const d = (base + a) >> 2
  const mxcsr = beginFloat(s)
  roundIntegral64(i32[x]!, i32[x + 1]!, imm, mxcsr)
  const { lo, hi } = outcome
  roundIntegral64(i32[x + 2]!, i32[x + 3]!, imm, mxcsr)
  endFloat(s, mxcsr)
  i32[d] = lo
  i32[d + 1] = hi
  i32[d + 2] = outcome.lo
  i32[d + 3] = outcome.hi
}

/** RCP…, RSQRT…: neither look at MXCSR nor raise anything. */
function approximation(approximate: (bits: number) => number, elements: number): SimdOperation {
  return ({ s }, a, _b, c) => {
    const { i32, base } = s
    const x = (base + c) >> 2
    const d = (base + a) >> 2
    for (let n = 0; n < elements; n++) i32[d + n] = approximate(i32[x + n]!)
  }
}

/** Conversions and what is like them. */
export const SSE_CONVERSIONS: SimdGroup = {
  cvtsi2ss: intToSingle,
  cvtsi2sd: intToDouble,
  cvtss2si: toRegister(false, false),
  cvttss2si: toRegister(false, true),
  cvtsd2si: toRegister(true, false),
  cvttsd2si: toRegister(true, true),
  cvtss2sd: singleToDouble,
  cvtsd2ss: doubleToSingle,
  cvtps2pd: singlesToDoubles,
  cvtpd2ps: doublesToSingles,
  cvtdq2ps: intsToSingles,
  cvtpi2ps: twoIntsToSingles,
  cvtdq2pd: intsToDoubles,
  cvtpi2pd: intsToDoubles,
  cvtps2dq: singlesToInts(false),
  cvttps2dq: singlesToInts(true),
  cvtps2pi: twoSinglesToInts(false),
  cvttps2pi: twoSinglesToInts(true),
  cvtpd2dq: doublesToInts(false, false),
  cvttpd2dq: doublesToInts(true, false),
  cvtpd2pi: doublesToInts(false, true),
  cvttpd2pi: doublesToInts(true, true),
  roundss: round32s(1),
  roundps: round32s(4),
  roundsd: roundScalar64,
  roundpd: roundPacked64,
  rcpss: approximation(reciprocal32, 1),
  rcpps: approximation(reciprocal32, 4),
  rsqrtss: approximation(reciprocalRoot32, 1),
  rsqrtps: approximation(reciprocalRoot32, 4),
  /** a = slot of the new value. Setting a bit that does not exist is #GP(0). */
  ldmxcsr: ({ s }, a) => {
    const value = s.get32(a)
    if (value & ~MXCSR_WRITABLE) raiseGp(0)
    s.set32(OFF_MXCSR, value)
  },
}
