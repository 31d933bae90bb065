/** Handlers for CMPXCHG8B and CMPXCHG16B on memory that is written straight. */

import { HELPER } from '../cpu/helpers.js'
import {
  MODE_CODE_MASK,
  MODE_CODE64,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  OFF_SEG,
  SEG_BASE,
} from '../cpu/layout.js'
import { UOP, UOP_A, UOP_B } from '../cpu/uops.js'
import { SEG_DS, SEG_ES, SEG_FS, SEG_SS } from '../isa/instruction.js'
import { base, gpr, type HandlerBuilder } from './threaded-builder.js'
import { setZero } from './threaded-handlers-flags.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { orHelper } from './threaded-system-common.js'
import { type Code, getLocal, I32, I64, i32, i64, ifElse, setLocal } from './wasm-emitter.js'

const VARIANT_EXCHANGE = 40
/** How the address comes about. */
const FLAT = 0
const SEGMENT = 1
const BASE64 = 2
/** Plus this for CMPXCHG16B. */
const WIDE = 3

const RAX = gpr(0)
const RCX = gpr(1)
const RDX = gpr(2)
const RBX = gpr(3)

/** The variant for a HELPER record whose memory operand is in segment `seg`. */
export function exchangeVariant(helper: number, seg: number, mode: number): number {
  const wide = helper === HELPER.cmpxchg16b ? WIDE : 0
  if ((mode & MODE_CODE_MASK) === MODE_CODE64) return VARIANT_EXCHANGE + wide + (seg >= SEG_FS ? BASE64 : FLAT)
  const bit = seg === SEG_DS ? MODE_FLAT_DS : seg === SEG_ES ? MODE_FLAT_ES : seg === SEG_SS ? MODE_FLAT_SS : 0
  return VARIANT_EXCHANGE + wide + (mode & bit ? FLAT : SEGMENT)
}

/** Address of the segment cache that field B names, less OFF_SEG. */
function segment(g: HandlerBuilder): Code {
  return i32.add(base, i32.shl(g.field16(UOP_B), i32.const(6)))
}

function address(g: HandlerBuilder, form: number, linear: number, bytes: number): Code {
  const offset = i64.load(g.slot(UOP_A))
  switch (form) {
    case FLAT:
      return setLocal(linear, offset)
    case SEGMENT:
      return g.throughSegment(segment(g), offset, linear, bytes, true)
    default:
      return setLocal(linear, i64.add(offset, i64.load(segment(g), OFF_SEG + SEG_BASE)))
  }
}

function pair(low: number, high: number): Code {
  return i64.or(i64.load32U(base, low), i64.shl(i64.load32U(base, high), i64.const(32)))
}

/** The loads may be straight, too: what may be written there may be read there. */
function exchange8(g: HandlerBuilder, form: number): Code {
  const linear = g.local(I64)
  const place = g.local(I32)
  const old = g.local(I64)
  const equal = g.local(I32)
  return orHelper(g, (next) => [
    address(g, form, linear, 8),
    g.translate(linear, place, 8, true),
    setLocal(old, i64.load(getLocal(place))),
    setLocal(equal, i64.eq(getLocal(old), pair(RAX, RDX))),
    setZero(g, equal),
    ifElse(getLocal(equal), i64.store(getLocal(place), pair(RBX, RCX)), [
      i64.store(base, i64.and(getLocal(old), i64.const(0xffffffff)), RAX),
      i64.store(base, i64.shrU(getLocal(old), i64.const(32)), RDX),
    ]),
    g.proceed(next),
  ])
}

function exchange16(g: HandlerBuilder, form: number): Code {
  const linear = g.local(I64)
  const place = g.local(I32)
  const low = g.local(I64)
  const high = g.local(I64)
  const equal = g.local(I32)
  return orHelper(g, (next) => [
    address(g, form, linear, 16),
    ifElse(i32.eqz(i32.and(i32.wrap(getLocal(linear)), i32.const(15))), [
      g.translate(linear, place, 16, true),
      setLocal(low, i64.load(getLocal(place))),
      setLocal(high, i64.load(getLocal(place), 8)),
      setLocal(equal, i32.and(i64.eq(getLocal(low), i64.load(base, RAX)), i64.eq(getLocal(high), i64.load(base, RDX)))),
      setZero(g, equal),
      ifElse(
        getLocal(equal),
        [i64.store(getLocal(place), i64.load(base, RBX)), i64.store(getLocal(place), i64.load(base, RCX), 8)],
        [i64.store(base, getLocal(low), RAX), i64.store(base, getLocal(high), RDX)],
      ),
      g.proceed(next),
    ]),
  ])
}

/** Adds all handlers of this file. */
export function defineExchanges(registry: HandlerRegistry): void {
  for (const form of [FLAT, SEGMENT, BASE64]) {
    registry.define(UOP.HELPER, 0, VARIANT_EXCHANGE + form, `CMPXCHG8B.${form}`, (g) => exchange8(g, form), true)
    registry.define(
      UOP.HELPER,
      0,
      VARIANT_EXCHANGE + WIDE + form,
      `CMPXCHG16B.${form}`,
      (g) => exchange16(g, form),
      true,
    )
  }
}
