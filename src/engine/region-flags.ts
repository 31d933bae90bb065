/**
 * Arithmetic flags inside a translated region. Between instructions they are not computed but remembered: which operation set them last, at which
 * width, and on what. Only who looks at them, and a way out of the region, makes the pair of values of cpu/flags.ts from that.
 */

import { OFF_FLAG_AUX, OFF_FLAG_RESULT } from '../cpu/layout.js'
import {
  base,
  carriesOfAdd,
  carriesOfSub,
  type HandlerBuilder,
  shiftAux,
  stepAux,
  WIDTHS,
  type Width,
} from './threaded-builder.js'
import {
  block,
  branchTable,
  type Code,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  label,
  ret,
  type ValueType,
} from './wasm-emitter.js'

/**
 * What set the flags; plus the width's index for all but the first two. The operands x, y, z are i64, zero-extended.
 */
export const SETTER = {
  /** The state block holds them. */
  MEMORY: 0,
  /** x = `result`, y = `aux`, as in cpu/flags.ts. */
  COMPUTED: 1,
  /** x + y, x − y */
  ADD: 4,
  SUB: 8,
  /** x = result */
  LOGIC: 12,
  /** x ± 1; y = the CF before */
  INC: 16,
  DEC: 20,
  /** z = x ± y ± carry */
  ADC: 24,
  SBB: 28,
  /** x shifted by y ≠ 0 */
  SHL: 32,
  SHR: 36,
  SAR: 40,
} as const

/** Number of setters, widths counted apart. */
export const SETTER_COUNT = 44

/** The operands, as codes that may be used more than once. */
export interface Operands {
  readonly x: Code
  readonly y: Code
  readonly z: Code
}

/** Keeps values in locals. */
export type Keep = Pick<HandlerBuilder, 'keep' | 'auxOfCarries'>

/** Result of the operation that set the flags, at its width: the code that computes it, the code that reads it. */
export function resultOf(g: Keep, setter: number, { x, y, z }: Operands): [Code, Code] {
  const w = WIDTHS[(setter & 3) as 0]!
  const o = w.ops
  const a = w.narrow(x)
  switch (setter & ~3) {
    case SETTER.ADD:
      return g.keep(o.type, o.add(a, w.narrow(y)))
    case SETTER.SUB:
      return g.keep(o.type, o.sub(a, w.narrow(y)))
    case SETTER.LOGIC:
      return [[], a]
    case SETTER.INC:
      return g.keep(o.type, o.add(a, o.const(1)))
    case SETTER.DEC:
      return g.keep(o.type, o.sub(a, o.const(1)))
    case SETTER.ADC:
    case SETTER.SBB:
      return [[], w.narrow(z)]
    case SETTER.SHL:
      return g.keep(o.type, o.shl(a, w.narrow(y)))
    case SETTER.SHR:
      return g.keep(o.type, o.shrU(a, w.narrow(y)))
    default:
      return g.keep(o.type, o.shrS(signedOperand(w, x), w.narrow(y)))
  }
}

/** An operand sign-extended from a narrow width to the type that computes. */
export function signedOperand(w: Width, value: Code): Code {
  return w.index === 3 ? value : w.index === 2 ? i32.wrap(value) : i32.wrap(w.signed(i32.wrap(value)))
}

/** `result` and `aux` of the flags that `setter` left, after the code that computes them. */
export function flagsOf(g: Keep, setter: number, operands: Operands): { before: Code; result: Code; aux: Code } {
  const { x, y } = operands
  if (setter === SETTER.COMPUTED) return { before: [], result: x, aux: i32.wrap(y) }
  const w = WIDTHS[(setter & 3) as 0]!
  const o = w.ops
  const [setR, r] = resultOf(g, setter, operands)
  const result = w.signed(r)
  const a = w.narrow(x)
  const b = w.narrow(y)
  const one = o.const(1)
  const step = (carries: Code): Code => {
    const [setAux, aux] = g.keep(I32, g.auxOfCarries(w, carries))
    return [[setAux], stepAux(aux, i32.shl(i32.wrap(y), i32.const(31)))]
  }
  const of = (aux: Code): { before: Code; result: Code; aux: Code } => ({ before: setR, result, aux })
  switch (setter & ~3) {
    case SETTER.ADD:
    case SETTER.ADC:
      return of(g.auxOfCarries(w, carriesOfAdd(w, a, b, r)))
    case SETTER.SUB:
    case SETTER.SBB:
      return of(g.auxOfCarries(w, carriesOfSub(w, a, b, r)))
    case SETTER.LOGIC:
      return of(i32.const(0))
    case SETTER.INC:
      return of(step(carriesOfAdd(w, a, one, r)))
    case SETTER.DEC:
      return of(step(carriesOfSub(w, a, one, r)))
    case SETTER.SHL:
      return of(shiftAux(w, 'SHL', a, i32.wrap(y), r))
    case SETTER.SHR:
      return of(shiftAux(w, 'SHR', a, i32.wrap(y), r))
    default:
      return of(shiftAux(w, 'SAR', signedOperand(w, x), i32.wrap(y), r))
  }
}

/** CF, 0 or 1, without the rest; undefined where computing all is as good. */
export function carryOf(_g: Keep, setter: number, operands: Operands): [Code, Code] | undefined {
  const { x, y, z } = operands
  const w = WIDTHS[(setter & 3) as 0]!
  const o = w.ops
  switch (setter & ~3) {
    case SETTER.ADD: {
      // Narrow sums carry into the bits above.
      if (w.index < 2) {
        const sum = i32.add(w.narrow(x), w.narrow(y))
        return [[], i32.and(i32.shrU(sum, i32.const(w.bits)), i32.const(1))]
      }
      return [[], o.ltU(o.add(w.narrow(x), w.narrow(y)), w.narrow(x))]
    }
    case SETTER.SUB:
      return [[], o.ltU(w.narrow(x), w.narrow(y))]
    case SETTER.LOGIC:
      return [[], i32.const(0)]
    case SETTER.INC:
    case SETTER.DEC:
      return [[], i32.wrap(y)]
    case SETTER.ADC:
    case SETTER.SBB: {
      const carries = ((setter & ~3) === SETTER.ADC ? carriesOfAdd : carriesOfSub)(
        w,
        w.narrow(x),
        w.narrow(y),
        w.narrow(z),
      )
      return [[], i32.and(w.low(o.shrU(carries, o.const(w.bits - 1))), i32.const(1))]
    }
    default:
      return undefined
  }
}

/** Condition `code` of the encodings straight from the operands; undefined where the computed flags do as well. */
export function conditionOf(g: Keep, setter: number, code: number, operands: Operands): [Code, Code] | undefined {
  if (setter <= SETTER.COMPUTED) return undefined
  const positive = positiveCondition(g, setter, code & 14, operands)
  if (positive === undefined || (code & 1) === 0) return positive
  return [positive[0], i32.eqz(positive[1])]
}

function positiveCondition(g: Keep, setter: number, code: number, operands: Operands): [Code, Code] | undefined {
  const { x, y } = operands
  const w = WIDTHS[(setter & 3) as 0]!
  const o = w.ops
  const kind = setter & ~3
  const zero = o.const(0)
  if (code === 2) return carryOf(g, setter, operands)
  if (code === 4 && kind === SETTER.SUB) return [[], o.eq(w.narrow(x), w.narrow(y))]
  if (code === 4 || code === 8) {
    const [setR, r] = resultOf(g, setter, operands)
    const shifted = w.index <= 1 ? o.shl(r, o.const(32 - w.bits)) : r
    return [setR, code === 4 ? o.eqz(shifted) : o.ltS(shifted, zero)]
  }
  const signed = (v: Code): Code => signedOperand(w, v)
  switch (kind) {
    case SETTER.SUB:
      if (code === 6) return [[], o.leU(w.narrow(x), w.narrow(y))]
      if (code === 12) return [[], o.ltS(signed(x), signed(y))]
      if (code === 14) return [[], o.leS(signed(x), signed(y))]
      return undefined
    case SETTER.LOGIC:
      if (code === 0) return [[], i32.const(0)]
      if (code === 6) return positiveCondition(g, setter, 4, operands)
      if (code === 12) return [[], o.ltS(signed(x), zero)]
      if (code === 14) return [[], o.leS(signed(x), zero)]
      return undefined
    case SETTER.DEC:
      if (code === 12) return [[], o.ltS(signed(x), o.const(1))]
      if (code === 14) return [[], o.leS(signed(x), o.const(1))]
      return undefined
    default:
      return undefined
  }
}

/** Body of the shared function that stores what a setter left: see {@link STORE_FLAGS_PARAMS}. */
export function storeFlagsBody(g: Keep): Code {
  const operands = { x: getLocal(2), y: getLocal(3), z: getLocal(4) }
  const labels = Array.from({ length: SETTER_COUNT }, () => label())
  let nest: Code = branchTable(getLocal(0), labels, labels[0]!)
  for (let setter = 0; setter < SETTER_COUNT; setter++) {
    let work: Code = []
    if (setter === SETTER.COMPUTED || setter >= SETTER.ADD) {
      const { before, result, aux } = flagsOf(g, setter, operands)
      work = [before, i64.store(base, result, OFF_FLAG_RESULT), i32.store(base, aux, OFF_FLAG_AUX)]
    }
    nest = [block(labels[setter]!, nest), work, ret()]
  }
  return nest
}

/** Parameters of {@link storeFlagsBody}: (setter, base, x, y, z). The CPU block is where handlers have it. */
export const STORE_FLAGS_PARAMS: readonly ValueType[] = [I32, I32, I64, I64, I64]
