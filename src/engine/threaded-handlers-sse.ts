/**
 * Handlers of the threaded engine for SSE floating point: the operations whose result and flags are provably what `cpu/sse-*.ts` computes. Everything else
 * bails. The conditions, for rounding to nearest with the precision exception masked:
 *
 * - Operands are normal or zero ("ordinary"), and the result is normal and above the smallest normal number, or an exact zero. Then no flag but PE can
 *   be due, and neither DAZ nor FTZ matter.
 * - PE is set already, or the operation is seen to be exact: a sum by recomputing both operands from it, a product or quotient because its parts fit half
 *   the significand.
 *
 * Comparisons, minimum and maximum round nothing: ordinary or infinite operands suffice, whatever MXCSR says.
 */

import { AUX_CF, AUX_PARITY_SHIFT, AUX_PO } from '../cpu/flags.js'
import { OFF_MXCSR } from '../cpu/layout.js'
import { MXCSR_PE, MXCSR_PM, MXCSR_RC, MXCSR_WRITABLE } from '../cpu/mxcsr.js'
import { simdNumber } from '../cpu/simd.js'
import { UOP_A, UOP_B, UOP_C } from '../cpu/uops.js'
import { base, type HandlerBuilder, WIDTHS } from './threaded-builder.js'
import { simdName } from './threaded-handlers-simd.js'
import type { Body, HandlerRegistry } from './threaded-registry.js'
import { type Code, F32, F64, I32, I64, i32, i64, ifElse, select, V128 } from './wasm-emitter.js'
import { type FloatOps, f32, f32x4, f64, f64x2 } from './wasm-floats.js'
import { v128 } from './wasm-vectors.js'

/** One format in one shape. */
interface Shape {
  readonly suffix: 'ss' | 'sd' | 'ps' | 'pd'
  readonly ops: FloatOps
  /** Smallest normal and largest number. */
  readonly min: number
  readonly max: number
}

const MIN32 = 2 ** -126
const MAX32 = (2 - 2 ** -23) * 2 ** 127
const MIN64 = 2 ** -1022

const SHAPES: readonly Shape[] = [
  { suffix: 'ss', ops: f32, min: MIN32, max: MAX32 },
  { suffix: 'sd', ops: f64, min: MIN64, max: Number.MAX_VALUE },
  { suffix: 'ps', ops: f32x4, min: MIN32, max: MAX32 },
  { suffix: 'pd', ops: f64x2, min: MIN64, max: Number.MAX_VALUE },
]

/** Normal, infinite or zero; no NaN, no denormal. */
function ordinary({ ops, min }: Shape, x: Code): Code {
  return ops.or(ops.ge(ops.abs(x), ops.const(min)), ops.eq(x, ops.const(0)))
}

function mxcsr(bits: number): Code {
  return i32.and(i32.load(base, OFF_MXCSR), i32.const(bits))
}

/** PE is set and masked: an inexact result changes nothing. */
const PRECISION_SETTLED: Code = i32.eq(mxcsr(MXCSR_PM | MXCSR_PE), i32.const(MXCSR_PM | MXCSR_PE))

/** Bails unless rounding is to nearest with PE masked, and PE is set or `exact` holds. */
function rounds(g: HandlerBuilder, exact: Code | undefined): Code {
  const [set, state] = g.keep(I32, mxcsr(MXCSR_RC | MXCSR_PM | MXCSR_PE))
  return [
    set,
    ifElse(
      i32.ne(state, i32.const(MXCSR_PM | MXCSR_PE)),
      exact === undefined ? g.bail() : [g.bailIf(i32.ne(state, i32.const(MXCSR_PM))), g.bailIf(i32.eqz(exact))],
    ),
  ]
}

type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'sqrt'

/** i32: x fits the significand of a binary32. */
function narrow(x: Code): Code {
  return f64.eq(f64.promote(f32.demote(x)), x)
}

/** i32: r = x op y without rounding; `undefined` where that is not asked. */
function exactness(shape: Shape, name: Arithmetic, x: Code, y: Code, r: Code): Code | undefined {
  const { ops, suffix } = shape
  if (name === 'add') return ops.all(ops.and(ops.eq(ops.sub(r, x), y), ops.eq(ops.sub(r, y), x)))
  if (name === 'sub') return ops.all(ops.and(ops.eq(ops.sub(x, r), y), ops.eq(ops.add(r, y), x)))
  if (suffix === 'sd') {
    if (name === 'mul') return i32.and(narrow(x), narrow(y))
    const inverse = name === 'div' ? i32.and(narrow(y), f64.eq(f64.mul(r, y), x)) : f64.eq(f64.mul(r, r), x)
    return i32.and(narrow(r), inverse)
  }
  if (suffix !== 'ss') return undefined
  const wide = f64.promote
  if (name === 'mul') return f64.eq(f64.mul(wide(x), wide(y)), wide(r))
  return f64.eq(f64.mul(wide(r), wide(name === 'div' ? y : r)), wide(x))
}

/** Truth: no flag but PE is due. */
function regular(shape: Shape, name: Arithmetic, x: Code, y: Code, r: Code): Code {
  const { ops, min, max } = shape
  const zero = (v: Code): Code => ops.eq(v, ops.const(0))
  const finite = (v: Code): Code => ops.le(ops.abs(v), ops.const(max))
  const big = ops.gt(ops.abs(r), ops.const(min))
  switch (name) {
    case 'sqrt':
      return ops.or(ops.and(ops.ge(x, ops.const(min)), finite(x)), zero(x))
    case 'div':
      return ops.and(
        ops.and(ordinary(shape, x), ops.ge(ops.abs(y), ops.const(min))),
        ops.and(finite(r), ops.or(big, zero(x))),
      )
    default: {
      const exactZero = name === 'mul' ? ops.or(zero(x), zero(y)) : zero(r)
      const operands = ops.and(ordinary(shape, x), ordinary(shape, y))
      return ops.and(operands, ops.and(finite(r), ops.or(big, exactZero)))
    }
  }
}

function arithmetic(shape: Shape, name: Arithmetic): Body {
  const { ops } = shape
  return (g) => {
    const root = name === 'sqrt'
    const [setX, x] = g.keep(ops.type, ops.load(g.slot(root ? UOP_C : UOP_B)))
    const [setY, y] = root ? [[], x] : g.keep(ops.type, ops.load(g.slot(UOP_C)))
    const [setR, r] = g.keep(ops.type, root ? ops.sqrt(x) : ops[name](x, y))
    return [
      setX,
      setY,
      setR,
      rounds(g, exactness(shape, name, x, y, r)),
      g.bailIf(i32.eqz(ops.all(regular(shape, name, x, y, r)))),
      ops.store(g.slot(UOP_A), r),
    ]
  }
}

/** Both operands, after a check that they are no NaNs and no denormals. */
function compared(g: HandlerBuilder, shape: Shape): [Code, Code, Code] {
  const { ops } = shape
  const [setX, x] = g.keep(ops.type, ops.load(g.slot(UOP_B)))
  const [setY, y] = g.keep(ops.type, ops.load(g.slot(UOP_C)))
  const good = ops.all(ops.and(ordinary(shape, x), ordinary(shape, y)))
  return [[setX, setY, g.bailIf(i32.eqz(good))], x, y]
}

function extreme(shape: Shape, greatest: boolean): Body {
  const { ops } = shape
  return (g) => {
    const [begin, x, y] = compared(g, shape)
    return [begin, ops.store(g.slot(UOP_A), ops.select(greatest ? ops.gt(x, y) : ops.lt(x, y), x, y))]
  }
}

/** COMISx, UCOMISx: the representation of flags is that of `auxForFlags`. */
function ordering(shape: Shape): Body {
  const { ops } = shape
  return (g) => {
    const [begin, x, y] = compared(g, shape)
    const [setEqual, equal] = g.keep(I32, ops.eq(x, y))
    return [
      begin,
      setEqual,
      g.flagResult(WIDTHS[2], i32.eqz(equal)),
      g.flagAux(select(ops.lt(x, y), i32.const(AUX_CF | AUX_PO), i32.shl(equal, i32.const(AUX_PARITY_SHIFT)))),
    ]
  }
}

/** CMPxx with predicate 0–7: without NaNs, UNORD is false, ORD is true, and the others are what they seem. */
function predicate(shape: Shape, which: number): Body {
  const { ops, suffix } = shape
  const truth = (x: Code, y: Code): Code =>
    (which & 3) === 0
      ? ops.eq(x, y)
      : (which & 3) === 1
        ? ops.lt(x, y)
        : (which & 3) === 2
          ? ops.le(x, y)
          : ops.lt(x, x)
  return (g) => {
    const [begin, x, y] = compared(g, shape)
    const value = truth(x, y)
    const negated = (which & 4) !== 0
    if (suffix === 'ps' || suffix === 'pd') {
      return [begin, v128.store(g.slot(UOP_A), negated ? v128.not(value) : value)]
    }
    // All ones or zero.
    const word = negated ? i32.sub(value, i32.const(1)) : i32.sub(i32.const(0), value)
    return [begin, suffix === 'ss' ? i32.store(g.slot(UOP_A), word) : i64.store(g.slot(UOP_A), i64.extendS(word))]
  }
}

// --- conversions --------------------------------------------------------------------------------------------------------

const TWO31 = 2 ** 31
const TWO63 = 2 ** 63

/** Bails unless the conversion was exact, or its rounding is to nearest and reported already. */
function converts(g: HandlerBuilder, exact: Code): Code {
  return g.bailIf(i32.eqz(i32.or(exact, i32.eq(mxcsr(MXCSR_RC | MXCSR_PM | MXCSR_PE), i32.const(MXCSR_PM | MXCSR_PE)))))
}

/** CVTSI2SS, CVTSI2SD of `size` bytes. */
function fromInteger(single: boolean, size: number): Body {
  const ops = single ? f32 : f64
  return (g) => {
    if (size === 4) {
      const [setX, x] = g.keep(I32, i32.load(g.slot(UOP_C)))
      if (!single) return [setX, f64.store(g.slot(UOP_A), f64.fromI32(x))]
      const [setR, r] = g.keep(F32, f32.fromI32(x))
      return [setX, setR, converts(g, f64.eq(f64.promote(r), f64.fromI32(x))), f32.store(g.slot(UOP_A), r)]
    }
    const [setX, x] = g.keep(I64, i64.load(g.slot(UOP_C)))
    const [setR, r] = g.keep(ops.type, ops.fromI64(x))
    const [setWide, wide] = g.keep(F64, single ? f64.promote(r) : r)
    const exact = i32.and(f64.lt(wide, f64.const(TWO63)), i64.eq(f64.toI64(wide), x))
    return [setX, setR, setWide, converts(g, exact), ops.store(g.slot(UOP_A), r)]
  }
}

/** CVTSS2SI, CVTSD2SI and their truncating forms, to `size` bytes. */
function toInteger(single: boolean, truncate: boolean, size: number): Body {
  return (g) => {
    const [setX, x] = g.keep(F64, single ? f64.promote(f32.load(g.slot(UOP_C))) : f64.load(g.slot(UOP_C)))
    const [setR, r] = g.keep(F64, truncate ? f64.trunc(x) : f64.nearest(x))
    const limit = size === 4 ? TWO31 : TWO63
    // A NaN satisfies neither.
    const fits = i32.and(f64.ge(r, f64.const(-limit)), f64.lt(r, f64.const(limit)))
    const exact = f64.eq(r, x)
    return [
      setX,
      setR,
      g.bailIf(i32.eqz(fits)),
      truncate ? g.bailIf(i32.eqz(i32.or(exact, PRECISION_SETTLED))) : converts(g, exact),
      i64.store(g.slot(UOP_A), size === 4 ? i64.extendU(f64.toI32(r)) : f64.toI64(r)),
    ]
  }
}

const singleToDouble: Body = (g) => {
  const [setX, x] = g.keep(F32, f32.load(g.slot(UOP_C)))
  return [setX, g.bailIf(i32.eqz(ordinary(SHAPES[0]!, x))), f64.store(g.slot(UOP_A), f64.promote(x))]
}

const doubleToSingle: Body = (g) => {
  const [setX, x] = g.keep(F64, f64.load(g.slot(UOP_C)))
  const [setR, r] = g.keep(F32, f32.demote(x))
  const size = f32.abs(r)
  const fits = i32.and(f32.gt(size, f32.const(MIN32)), f32.le(size, f32.const(MAX32)))
  return [
    setX,
    setR,
    g.bailIf(i32.eqz(i32.or(fits, f64.eq(x, f64.const(0))))),
    converts(g, f64.eq(f64.promote(r), x)),
    f32.store(g.slot(UOP_A), r),
  ]
}

const singlesToDoubles: Body = (g) => {
  const [setX, x] = g.keep(V128, v128.load64(g.slot(UOP_C)))
  return [setX, g.bailIf(i32.eqz(f32x4.all(ordinary(SHAPES[2]!, x)))), v128.store(g.slot(UOP_A), f64x2.promoteLow(x))]
}

const intsToSingles: Body = (g) => [
  rounds(g, undefined),
  v128.store(g.slot(UOP_A), f32x4.fromI32(v128.load(g.slot(UOP_C)))),
]

const singlesToInts: Body = (g) => {
  const [setX, x] = g.keep(V128, v128.load(g.slot(UOP_C)))
  return [
    setX,
    g.bailIf(i32.eqz(PRECISION_SETTLED)),
    g.bailIf(i32.eqz(f32x4.all(f32x4.lt(f32x4.abs(x), f32x4.const(TWO31))))),
    v128.store(g.slot(UOP_A), f32x4.toI32(x)),
  ]
}

const ROUNDINGS = [f64.nearest, f64.floor, f64.ceil, f64.trunc] as const

/** ROUNDSS, ROUNDSD with a mode of their own; `quiet` = bit 3 of the immediate. */
function integral(single: boolean, mode: number, quiet: boolean): Body {
  const shape = SHAPES[single ? 0 : 1]!
  return (g) => {
    const [setX, x] = g.keep(shape.ops.type, shape.ops.load(g.slot(UOP_C)))
    const [setWide, wide] = g.keep(F64, single ? f64.promote(x) : x)
    const [setR, r] = g.keep(F64, ROUNDINGS[mode]!(wide))
    return [
      setX,
      g.bailIf(i32.eqz(ordinary(shape, x))),
      setWide,
      setR,
      quiet ? [] : g.bailIf(i32.eqz(i32.or(f64.eq(r, wide), PRECISION_SETTLED))),
      shape.ops.store(g.slot(UOP_A), single ? f32.demote(r) : r),
    ]
  }
}

function define(registry: HandlerRegistry, name: string, body: Body, immediate?: number): void {
  const number = simdNumber(name)
  registry.defineSimd(number, simdName(immediate === undefined ? name : `${name}.${immediate}`), body, immediate)
  registry.mayBail(number)
}

/** Adds the handlers. They need a host with 128-bit vectors. */
export function defineSse(registry: HandlerRegistry): void {
  for (const shape of SHAPES) {
    const { suffix } = shape
    for (const name of ['add', 'sub', 'mul', 'div', 'sqrt'] as const) {
      define(registry, name + suffix, arithmetic(shape, name))
    }
    define(registry, `min${suffix}`, extreme(shape, false))
    define(registry, `max${suffix}`, extreme(shape, true))
    for (let which = 0; which < 8; which++) define(registry, `cmp${suffix}`, predicate(shape, which), which)
    if (suffix === 'ss' || suffix === 'sd') {
      const single = suffix === 'ss'
      define(registry, `comi${suffix}`, ordering(shape))
      define(registry, `ucomi${suffix}`, ordering(shape))
      for (const size of [4, 8]) {
        define(registry, `cvtsi2${suffix}`, fromInteger(single, size), size)
        define(registry, `cvt${suffix}2si`, toInteger(single, false, size), size)
        define(registry, `cvtt${suffix}2si`, toInteger(single, true, size), size)
      }
      for (let mode = 0; mode < 4; mode++) {
        define(registry, `round${suffix}`, integral(single, mode, false), mode)
        define(registry, `round${suffix}`, integral(single, mode, true), mode | 8)
      }
    }
  }
  define(registry, 'cvtss2sd', singleToDouble)
  define(registry, 'cvtsd2ss', doubleToSingle)
  define(registry, 'cvtps2pd', singlesToDoubles)
  define(registry, 'cvtdq2ps', intsToSingles)
  define(registry, 'cvttps2dq', singlesToInts)
  define(registry, 'cvtdq2pd', (g) => v128.store(g.slot(UOP_A), f64x2.fromLowI32(v128.load(g.slot(UOP_C)))))
  define(registry, 'ldmxcsr', (g) => {
    const [setX, x] = g.keep(I32, i32.load(g.slot(UOP_A)))
    return [setX, g.bailIf(i32.shrU(x, i32.const(Math.log2(MXCSR_WRITABLE + 1)))), i32.store(base, x, OFF_MXCSR)]
  })
}
