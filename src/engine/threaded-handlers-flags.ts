/**
 * Handlers for PUSHF, POPF, STAC and CLAC in their common cases: flat stacks of protected and 64-bit code, and at privilege level 0 a POPF that changes
 * no more than the arithmetic flags, DF and IF.
 */

import { HELPER } from '../cpu/helpers.js'
import {
  MODE_CODE_MASK,
  MODE_CODE64,
  MODE_FLAT_SS,
  MODE_PROTECTED,
  MODE_STACK32,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_FLAGS_REST,
  OFF_INTERRUPT_WAITS,
  OFF_MODE,
} from '../cpu/layout.js'
import { UOP, UOP_IMM } from '../cpu/uops.js'
import { FLAG_AC, FLAG_DF, FLAG_ID, FLAG_IF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_TF, FLAG_VM } from '../isa/flags.js'
import { base, gpr, type HandlerBuilder } from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { csRpl, orHelper } from './threaded-system-common.js'
import { type Code, getLocal, I32, I64, i32, i64, ifElse, setLocal } from './wasm-emitter.js'

const VARIANT_PUSHF = 32
const VARIANT_POPF = 34
/** Plus this for 64-bit code. */
const LONG = 1
const VARIANT_SET_AC = 36
const RSP = gpr(4)

/** The variant for a HELPER record, or 0: as in threaded-handlers-system.ts. */
export function flagVariant(helper: number, size: number, mode: number): number {
  if (helper === HELPER.setAc) return VARIANT_SET_AC
  if (helper !== HELPER.pushf && helper !== HELPER.popf) return 0
  const variant = helper === HELPER.pushf ? VARIANT_PUSHF : VARIANT_POPF
  if ((mode & MODE_CODE_MASK) === MODE_CODE64) return size === 8 ? variant + LONG : 0
  const flat32 = MODE_STACK32 | MODE_FLAT_SS
  return size === 4 && (mode & flat32) === flat32 ? variant : 0
}

const rest: Code = i32.load(base, OFF_FLAGS_REST)

/** Bit `from` of an i32 at position `to`. */
function bit(value: Code, from: number, to: number): Code {
  return i32.shl(i32.and(i32.shrU(value, i32.const(from)), i32.const(1)), i32.const(to))
}

/** 1 when PF is clear. */
function parityOdd(result: Code, aux: Code): Code {
  return i32.and(
    i32.popcnt(i32.and(i32.xor(i32.wrap(result), i32.shrU(aux, i32.const(8))), i32.const(0xff))),
    i32.const(1),
  )
}

/** SF as 0 or 1. */
function sign(result: Code, aux: Code): Code {
  return i32.xor(i32.wrap(i64.shrU(result, i64.const(63))), i32.and(aux, i32.const(1)))
}

function sum(first: Code, ...others: readonly Code[]): Code {
  return others.reduce((a, b) => i32.or(a, b), first)
}

/** The arithmetic flags at their places in RFLAGS. See cpu/flags.ts. */
function arithmetic(): Code {
  const result = i64.load(base, OFF_FLAG_RESULT)
  const aux = i32.load(base, OFF_FLAG_AUX)
  return sum(
    i32.shrU(aux, i32.const(31)),
    i32.shl(i32.xor(parityOdd(result, aux), i32.const(1)), i32.const(2)),
    bit(aux, 3, 4),
    i32.shl(i64.eqz(result), i32.const(6)),
    i32.shl(sign(result, aux), i32.const(7)),
    i32.shl(i32.shrU(i32.xor(aux, i32.shl(aux, i32.const(1))), i32.const(31)), i32.const(11)),
  )
}

/** Stores arithmetic flags; `notZero` is ZF inverted, the others are 0 or 1 and (`carries`) bits 31, 30 and 3 of aux. */
function storeArithmetic(notZero: Code, carries: Code, signBit: Code, odd: Code): Code {
  return [
    i32.store(base, sum(carries, signBit, i32.shl(i32.xor(odd, notZero), i32.const(8))), OFF_FLAG_AUX),
    i64.store(base, i64.extendU(notZero), OFF_FLAG_RESULT),
  ]
}

/** ZF ← the i32 local `equal` (0 or 1); the other arithmetic flags stay. */
export function setZero(g: HandlerBuilder, equal: number): Code {
  const notZero = g.local(I32)
  const result = i64.load(base, OFF_FLAG_RESULT)
  const aux = i32.load(base, OFF_FLAG_AUX)
  return [
    setLocal(notZero, i32.xor(getLocal(equal), i32.const(1))),
    storeArithmetic(getLocal(notZero), i32.and(aux, i32.const(0xc0000008)), sign(result, aux), parityOdd(result, aux)),
  ]
}

function pushFlags(g: HandlerBuilder, long: boolean): Code {
  const linear = g.local(I64)
  const place = g.local(I32)
  const image = i32.or(i32.and(rest, i32.const(~FLAG_RF)), arithmetic())
  const pointer = long
    ? i64.sub(i64.load(base, RSP), i64.const(8))
    : i64.extendU(i32.sub(i32.load(base, RSP), i32.const(4)))
  return orHelper(g, (next) =>
    ifElse(i32.eqz(i32.and(rest, i32.const(FLAG_VM))), [
      setLocal(linear, pointer),
      g.translate(linear, place, long ? 8 : 4, true),
      long ? i64.store(getLocal(place), i64.extendU(image)) : i32.store(getLocal(place), image),
      i64.store(base, getLocal(linear), RSP),
      g.proceed(next),
    ]),
  )
}

/** Bits outside the arithmetic ones that POPF writes at privilege level 0. */
const WRITTEN = FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID

function popFlags(g: HandlerBuilder, long: boolean): Code {
  const linear = g.local(I64)
  const place = g.local(I32)
  const image = g.local(I32)
  const after = g.local(I32)
  const value = getLocal(image)
  const changed = i32.xor(getLocal(after), rest)
  const own = i32.and(
    i32.ne(i32.and(i32.load(base, OFF_MODE), i32.const(MODE_PROTECTED)), i32.const(0)),
    i32.eqz(csRpl()),
  )
  const opens = i32.and(i32.and(changed, getLocal(after)), i32.const(FLAG_IF))
  return orHelper(g, (next) =>
    ifElse(own, [
      setLocal(linear, long ? i64.load(base, RSP) : i64.load32U(base, RSP)),
      g.translate(linear, place, long ? 8 : 4, false),
      setLocal(image, i32.load(getLocal(place))),
      setLocal(after, i32.or(i32.and(rest, i32.const(~WRITTEN)), i32.and(value, i32.const(WRITTEN)))),
      ifElse(
        i32.and(
          i32.eqz(i32.and(changed, i32.const(~(FLAG_IF | FLAG_DF)))),
          i32.or(i32.eqz(opens), i32.eqz(i32.load(base, OFF_INTERRUPT_WAITS))),
        ),
        [
          i32.store(base, getLocal(after), OFF_FLAGS_REST),
          storeArithmetic(
            i32.xor(bit(value, 6, 0), i32.const(1)),
            sum(bit(value, 0, 31), bit(i32.xor(value, i32.shrU(value, i32.const(11))), 0, 30), bit(value, 4, 3)),
            bit(value, 7, 0),
            i32.xor(bit(value, 2, 0), i32.const(1)),
          ),
          i64.store(
            base,
            long
              ? i64.add(getLocal(linear), i64.const(8))
              : i64.extendU(i32.add(i32.wrap(getLocal(linear)), i32.const(4))),
            RSP,
          ),
          g.proceed(next),
        ],
      ),
    ]),
  )
}

/** Adds all handlers of this file. */
export function defineFlagInstructions(registry: HandlerRegistry): void {
  for (const long of [false, true]) {
    const name = long ? 64 : 32
    const add = long ? LONG : 0
    registry.define(UOP.HELPER, 0, VARIANT_PUSHF + add, `PUSHF${name}`, (g) => pushFlags(g, long), true)
    registry.define(UOP.HELPER, 0, VARIANT_POPF + add, `POPF${name}`, (g) => popFlags(g, long), true)
  }
  // AC has no say in what may go straight to memory while CPL is 0: the processor's tags never rely on it.
  registry.define(
    UOP.HELPER,
    0,
    VARIANT_SET_AC,
    'SET_AC',
    (g) => {
      const own = i32.and(
        i32.ne(i32.and(i32.load(base, OFF_MODE), i32.const(MODE_PROTECTED)), i32.const(0)),
        i32.eqz(csRpl()),
      )
      const ac = i32.mul(i32.ne(g.field32(UOP_IMM), i32.const(0)), i32.const(FLAG_AC))
      return orHelper(g, (next) =>
        ifElse(own, [i32.store(base, i32.or(i32.and(rest, i32.const(~FLAG_AC)), ac), OFF_FLAGS_REST), g.proceed(next)]),
      )
    },
    true,
  )
}
