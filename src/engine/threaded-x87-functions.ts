/**
 * The x87's arithmetic as WebAssembly functions, for the handlers: 64-bit significands in i64. They know zeros and normal numbers with normal results, under
 * rounding to nearest at any precision and with inexactness masked; for everything else they return 0 and have changed nothing.
 *
 * Operands are addresses of registers in their 16-byte form. The meaning is that of cpu/float80-arithmetic.ts and float80-convert.ts.
 */

import { OFF_FCW, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87, SLOT_VTEMP } from '../cpu/layout.js'
import {
  branchIf,
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  type Locals,
  label,
  loop,
  type ModuleBuilder,
  ret,
  select,
  setLocal,
  teeLocal,
} from './wasm-emitter.js'

/** Indices of the functions. All but `pop` and `place` return 1 when they did their work. */
export interface X87Functions {
  /** (base, i) → address of ST(i). */
  readonly place: number
  /** (base): nothing pends, rounding is to nearest, inexactness is masked, ST(0) is not empty. */
  readonly ready0: number
  /** (base, i): the same, and ST(i) is not empty either. */
  readonly ready2: number
  /** (base): nothing pends and there is room for a push. */
  readonly room: number
  /** (base, a, b, destination, negate): destination ← a + b, or a − b with `negate` 8000h. */
  readonly add: number
  /** (base, a, b, destination). */
  readonly multiply: number
  readonly divide: number
  /** (base, a, b): the condition codes, which are 0, 100h, 4000h; or −1. */
  readonly compare: number
  /** (base, i32) and (base, i64): SLOT_VTEMP ← the single, the double, the integer. */
  readonly fromSingle: number
  readonly fromDouble: number
  readonly fromInteger: number
  /** (base): pushes SLOT_VTEMP. */
  readonly push: number
  /** (base). */
  readonly pop: number
  /** (base): SLOT_VTEMP ← ST(0) as a single or double, and the status word that goes with it beside it ({@link VTEMP_STATUS}). */
  readonly toSingle: number
  readonly toDouble: number
  /** (base, bits, truncate): the same for an integer, under any rounding control. */
  readonly toInteger: number
}

/** i32 in the CPU block: the status word that becomes visible with a store. */
export const VTEMP_STATUS: number = SLOT_VTEMP + 8

const ZERO32 = i32.const(0)
const ONE32 = i32.const(1)
const C1 = 0x200
const base = getLocal(0)
const MIN64 = i64.const(-0x8000_0000_0000_0000n)

const not = i32.eqz
const fsw = (): Code => i32.load16U(base, OFF_FSW)
const fcw = (): Code => i32.load16U(base, OFF_FCW)
const failIf = (condition: Code): Code => ifElse(condition, ret(ZERO32))

/** A local as [set, get]. */
function variable(
  locals: Locals,
  type: typeof I32 | typeof I64,
): { set: (value: Code) => Code; get: Code; tee: (value: Code) => Code } {
  const index = locals.add(type)
  return { set: (v) => setLocal(index, v), get: getLocal(index), tee: (v) => teeLocal(index, v) }
}

/** Significand and the 16 bits above it of the register at `address`. */
const sigOf = (address: Code): Code => i64.load(address)
const sexpOf = (address: Code): Code => i32.load16U(address, 8)

/** Is (sexp, sig) neither zero nor a normal number? */
function odd(sexp: Code, sig: Code): Code {
  const exp = i32.and(sexp, i32.const(0x7fff))
  const normal = i32.and(i64.ltS(sig, i64.const(0)), i32.ltU(i32.sub(exp, ONE32), i32.const(0x7ffe)))
  return not(i32.or(normal, i32.and(i64.eqz(sig), not(exp))))
}

/** ST(i)'s bit in the tags, moved to bit 0. */
function tag(i: Code): Code {
  const register = i32.and(i32.add(i32.load8U(base, OFF_TOP), i), i32.const(7))
  return i32.and(i32.shrU(i32.load8U(base, OFF_FTAG), register), ONE32)
}

function definePlace(m: ModuleBuilder): number {
  return m.addFunction([I32, I32], [I32], () => [
    i32.add(
      i32.add(base, i32.const(OFF_X87)),
      i32.shl(i32.and(i32.add(i32.load8U(base, OFF_TOP), getLocal(1)), i32.const(7)), i32.const(4)),
    ),
  ])
}

/** Nothing pends, RC is nearest, PM is set. */
function plain(): Code {
  return i32.and(not(i32.and(fsw(), i32.const(0x80))), i32.eq(i32.and(fcw(), i32.const(0xc20)), i32.const(0x20)))
}

/**
 * (base, destination, sign, exponent, significand, rest): rounds to the precision control, and writes the register and the status word unless the
 * exponent leaves the normal range.
 */
function defineFinish(m: ModuleBuilder): number {
  return m.addFunction([I32, I32, I32, I32, I64, I64], [I32], (locals) => {
    const destination = getLocal(1)
    const sign = getLocal(2)
    const exp = getLocal(3)
    const sig = getLocal(4)
    const rest = getLocal(5)
    const pc = variable(locals, I32)
    const up = variable(locals, I32)
    const inexact = variable(locals, I32)
    const unit = variable(locals, I64)
    const low = variable(locals, I64)
    const half = variable(locals, I64)
    return [
      pc.set(i32.and(fcw(), i32.const(0x300))),
      ifElse(
        i32.and(pc.get, i32.const(0x100)),
        [
          inexact.set(i64.ne(rest, i64.const(0))),
          // More than half, or half and odd.
          up.set(
            i32.and(
              i32.wrap(i64.shrU(rest, i64.const(63))),
              i32.or(i64.ne(i64.shl(rest, i64.const(1)), i64.const(0)), i32.wrap(sig)),
            ),
          ),
          up.set(i32.and(up.get, ONE32)),
          setLocal(4, i64.add(sig, i64.extendU(up.get))),
        ],
        [
          unit.set(select(pc.get, i64.const(0x800), i64.const(0x100_0000_0000))),
          low.set(i64.and(sig, i64.sub(unit.get, i64.const(1)))),
          half.set(i64.shrU(unit.get, i64.const(1))),
          inexact.set(i64.ne(i64.or(low.get, rest), i64.const(0))),
          up.set(
            i32.or(
              i64.gtU(low.get, half.get),
              i32.and(
                i64.eq(low.get, half.get),
                i32.or(i64.ne(rest, i64.const(0)), i64.ne(i64.and(sig, unit.get), i64.const(0))),
              ),
            ),
          ),
          setLocal(4, i64.add(i64.sub(sig, low.get), select(up.get, unit.get, i64.const(0)))),
        ],
      ),
      // Rounded up to a power of two.
      ifElse(i64.eqz(sig), [setLocal(4, MIN64), setLocal(3, i32.add(exp, ONE32))]),
      failIf(i32.geU(i32.sub(exp, ONE32), i32.const(0x7ffe))),
      i64.store(destination, sig),
      i32.store16(destination, i32.or(sign, exp), 8),
      i32.store16(
        base,
        i32.or(
          i32.and(fsw(), i32.const(~C1)),
          i32.or(i32.shl(inexact.get, i32.const(5)), i32.shl(up.get, i32.const(9))),
        ),
        OFF_FSW,
      ),
      ONE32,
    ]
  })
}

/** destination ← zero with `sign`; C1 ← 0. */
function zero(destination: Code, sign: Code): Code {
  return [
    i64.store(destination, i64.const(0)),
    i32.store16(destination, sign, 8),
    i32.store16(base, i32.and(fsw(), i32.const(~C1)), OFF_FSW),
    ret(ONE32),
  ]
}

function defineAdd(m: ModuleBuilder, finish: number): number {
  return m.addFunction([I32, I32, I32, I32, I32], [I32], (locals) => {
    const destination = getLocal(3)
    const as = variable(locals, I32)
    const bs = variable(locals, I32)
    const exp = variable(locals, I32)
    const distance = variable(locals, I32)
    const swap = variable(locals, I32)
    const a = variable(locals, I64)
    const b = variable(locals, I64)
    const hold = variable(locals, I64)
    const rest = variable(locals, I64)
    const zeros = variable(locals, I64)
    const exponent = (s: Code): Code => i32.and(s, i32.const(0x7fff))
    return [
      as.set(sexpOf(getLocal(1))),
      bs.set(i32.xor(sexpOf(getLocal(2)), getLocal(4))),
      a.set(sigOf(getLocal(1))),
      b.set(sigOf(getLocal(2))),
      failIf(i32.or(odd(as.get, a.get), odd(bs.get, b.get))),
      distance.set(i32.sub(exponent(as.get), exponent(bs.get))),
      ifElse(i32.or(i32.ltS(distance.get, ZERO32), i32.and(not(distance.get), i64.ltU(a.get, b.get))), [
        swap.set(as.get),
        as.set(bs.get),
        bs.set(swap.get),
        hold.set(a.get),
        a.set(b.get),
        b.set(hold.get),
        distance.set(i32.sub(ZERO32, distance.get)),
      ]),
      exp.set(exponent(as.get)),
      ifElse(distance.get, [
        ifElse(
          i32.ltU(distance.get, i32.const(64)),
          [
            rest.set(i64.shl(b.get, i64.extendU(i32.sub(i32.const(64), distance.get)))),
            b.set(i64.shrU(b.get, i64.extendU(distance.get))),
          ],
          [
            // A power of two less something below loses a place: what is 65 places below is still to be known to a bit.
            rest.set(
              select(
                i32.eq(distance.get, i32.const(64)),
                b.get,
                select(
                  i32.eq(distance.get, i32.const(65)),
                  i64.or(i64.shrU(b.get, i64.const(1)), i64.and(b.get, i64.const(1))),
                  i64.extendU(i64.ne(b.get, i64.const(0))),
                ),
              ),
            ),
            b.set(i64.const(0)),
          ],
        ),
      ]),
      ifElse(
        i32.and(i32.xor(as.get, bs.get), i32.const(0x8000)),
        [
          a.set(i64.sub(i64.sub(a.get, b.get), i64.extendU(i64.ne(rest.get, i64.const(0))))),
          rest.set(i64.sub(i64.const(0), rest.get)),
          ifElse(i64.eqz(i64.or(a.get, rest.get)), zero(destination, ZERO32)),
          ifElse(i64.eqz(a.get), [a.set(rest.get), rest.set(i64.const(0)), exp.set(i32.sub(exp.get, i32.const(64)))]),
          zeros.set(i64.clz(a.get)),
          ifElse(i64.ne(zeros.get, i64.const(0)), [
            a.set(i64.or(i64.shl(a.get, zeros.get), i64.shrU(rest.get, i64.sub(i64.const(64), zeros.get)))),
            rest.set(i64.shl(rest.get, zeros.get)),
            exp.set(i32.sub(exp.get, i32.wrap(zeros.get))),
          ]),
        ],
        [
          b.set(i64.add(a.get, b.get)),
          // A sum of 0 with an a other than 0 is a carry.
          ifElse(i64.eqz(i64.or(a.get, b.get)), zero(destination, i32.and(as.get, i32.const(0x8000)))),
          ifElse(
            i64.ltU(b.get, a.get),
            [
              rest.set(
                i64.or(
                  i64.shl(b.get, i64.const(63)),
                  i64.or(i64.shrU(rest.get, i64.const(1)), i64.and(rest.get, i64.const(1))),
                ),
              ),
              a.set(i64.or(i64.shrU(b.get, i64.const(1)), MIN64)),
              exp.set(i32.add(exp.get, ONE32)),
            ],
            a.set(b.get),
          ),
        ],
      ),
      call(finish, base, destination, i32.and(as.get, i32.const(0x8000)), exp.get, a.get, rest.get),
    ]
  })
}

const LOW32 = i64.const(0xffff_ffff)
const lowHalf = (v: Code): Code => i64.and(v, LOW32)
const highHalf = (v: Code): Code => i64.shrU(v, i64.const(32))

function defineMultiply(m: ModuleBuilder, finish: number): number {
  return m.addFunction([I32, I32, I32, I32], [I32], (locals) => {
    const destination = getLocal(3)
    const as = variable(locals, I32)
    const bs = variable(locals, I32)
    const exp = variable(locals, I32)
    const a = variable(locals, I64)
    const b = variable(locals, I64)
    const low = variable(locals, I64)
    const cross = variable(locals, I64)
    const cross2 = variable(locals, I64)
    const middle = variable(locals, I64)
    const high = variable(locals, I64)
    const sign = i32.and(i32.xor(as.get, bs.get), i32.const(0x8000))
    return [
      as.set(sexpOf(getLocal(1))),
      bs.set(sexpOf(getLocal(2))),
      a.set(sigOf(getLocal(1))),
      b.set(sigOf(getLocal(2))),
      failIf(i32.or(odd(as.get, a.get), odd(bs.get, b.get))),
      ifElse(i32.or(i64.eqz(a.get), i64.eqz(b.get)), zero(destination, sign)),
      exp.set(
        i32.sub(i32.add(i32.and(as.get, i32.const(0x7fff)), i32.and(bs.get, i32.const(0x7fff))), i32.const(16382)),
      ),
      low.set(i64.mul(lowHalf(a.get), lowHalf(b.get))),
      cross.set(i64.mul(lowHalf(a.get), highHalf(b.get))),
      cross2.set(i64.mul(highHalf(a.get), lowHalf(b.get))),
      middle.set(i64.add(highHalf(low.get), i64.add(lowHalf(cross.get), lowHalf(cross2.get)))),
      high.set(
        i64.add(
          i64.add(i64.mul(highHalf(a.get), highHalf(b.get)), highHalf(middle.get)),
          i64.add(highHalf(cross.get), highHalf(cross2.get)),
        ),
      ),
      low.set(i64.or(i64.shl(middle.get, i64.const(32)), lowHalf(low.get))),
      ifElse(i64.geS(high.get, i64.const(0)), [
        high.set(i64.or(i64.shl(high.get, i64.const(1)), i64.shrU(low.get, i64.const(63)))),
        low.set(i64.shl(low.get, i64.const(1))),
        exp.set(i32.sub(exp.get, ONE32)),
      ]),
      call(finish, base, destination, sign, exp.get, high.get, low.get),
    ]
  })
}

function defineDivide(m: ModuleBuilder, finish: number): number {
  return m.addFunction([I32, I32, I32, I32], [I32], (locals) => {
    const destination = getLocal(3)
    const as = variable(locals, I32)
    const bs = variable(locals, I32)
    const exp = variable(locals, I32)
    const high = variable(locals, I64)
    const low = variable(locals, I64)
    const b = variable(locals, I64)
    const bHigh = variable(locals, I64)
    const digit = variable(locals, I64)
    const left = variable(locals, I64)
    const quotient = variable(locals, I64)
    const rest = variable(locals, I64)
    const sign = i32.and(i32.xor(as.get, bs.get), i32.const(0x8000))
    // One 32-bit digit of the quotient of high:next by b, in `digit`; `high` becomes the remainder.
    const step = (next: Code): Code => {
      const top = label()
      return [
        digit.set(i64.divU(high.get, bHigh.get)),
        left.set(i64.sub(high.get, i64.mul(digit.get, bHigh.get))),
        loop(top, [
          ifElse(
            i32.or(
              i64.ne(highHalf(digit.get), i64.const(0)),
              i64.gtU(i64.mul(digit.get, lowHalf(b.get)), i64.or(i64.shl(left.get, i64.const(32)), next)),
            ),
            [
              digit.set(i64.sub(digit.get, i64.const(1))),
              left.set(i64.add(left.get, bHigh.get)),
              branchIf(top, i64.eqz(highHalf(left.get))),
            ],
          ),
        ]),
        high.set(i64.sub(i64.or(i64.shl(high.get, i64.const(32)), next), i64.mul(digit.get, b.get))),
      ]
    }
    return [
      as.set(sexpOf(getLocal(1))),
      bs.set(sexpOf(getLocal(2))),
      high.set(sigOf(getLocal(1))),
      b.set(sigOf(getLocal(2))),
      failIf(i32.or(i64.eqz(b.get), i32.or(odd(as.get, high.get), odd(bs.get, b.get)))),
      ifElse(i64.eqz(high.get), zero(destination, sign)),
      exp.set(
        i32.add(i32.sub(i32.and(as.get, i32.const(0x7fff)), i32.and(bs.get, i32.const(0x7fff))), i32.const(16382)),
      ),
      ifElse(i64.geU(high.get, b.get), [
        low.set(i64.shl(high.get, i64.const(63))),
        high.set(i64.shrU(high.get, i64.const(1))),
        exp.set(i32.add(exp.get, ONE32)),
      ]),
      bHigh.set(highHalf(b.get)),
      step(highHalf(low.get)),
      quotient.set(i64.shl(digit.get, i64.const(32))),
      step(lowHalf(low.get)),
      quotient.set(i64.or(quotient.get, digit.get)),
      // Less than half, half, or more.
      ifElse(i64.ne(high.get, i64.const(0)), [
        left.set(i64.sub(b.get, high.get)),
        rest.set(
          select(i64.eq(high.get, left.get), MIN64, select(i64.gtU(high.get, left.get), i64.const(-1), i64.const(1))),
        ),
      ]),
      call(finish, base, destination, sign, exp.get, quotient.get, rest.get),
    ]
  })
}

/** (base, a, b). */
function defineCompare(m: ModuleBuilder): number {
  return m.addFunction([I32, I32, I32], [I32], (locals) => {
    const as = variable(locals, I32)
    const bs = variable(locals, I32)
    const a = variable(locals, I64)
    const b = variable(locals, I64)
    const less = i32.const(0x100)
    const aExp = i32.and(as.get, i32.const(0x7fff))
    const bExp = i32.and(bs.get, i32.const(0x7fff))
    return [
      as.set(sexpOf(getLocal(1))),
      bs.set(sexpOf(getLocal(2))),
      a.set(sigOf(getLocal(1))),
      b.set(sigOf(getLocal(2))),
      ifElse(i32.or(odd(as.get, a.get), odd(bs.get, b.get)), ret(i32.const(-1))),
      ifElse(i64.eqz(a.get), [
        ifElse(i64.eqz(b.get), ret(i32.const(0x4000))),
        ret(select(i32.and(bs.get, i32.const(0x8000)), ZERO32, less)),
      ]),
      ifElse(
        i32.or(i64.eqz(b.get), i32.and(i32.xor(as.get, bs.get), i32.const(0x8000))),
        ret(select(i32.and(as.get, i32.const(0x8000)), less, ZERO32)),
      ),
      ifElse(i32.and(i32.eq(as.get, bs.get), i64.eq(a.get, b.get)), ret(i32.const(0x4000))),
      select(
        i32.eq(
          i32.or(i32.ltU(aExp, bExp), i32.and(i32.eq(aExp, bExp), i64.ltU(a.get, b.get))),
          not(i32.and(as.get, i32.const(0x8000))),
        ),
        less,
        ZERO32,
      ),
    ]
  })
}

/** SLOT_VTEMP ← a number given by its 16 bits of sign and exponent, and its significand. */
function setTemp(sexp: Code, sig: Code): Code {
  return [i64.store(base, sig, SLOT_VTEMP), i32.store(base, sexp, SLOT_VTEMP + 8)]
}

function defineFromSingle(m: ModuleBuilder): number {
  return m.addFunction([I32, I32], [I32], (locals) => {
    const value = getLocal(1)
    const exp = variable(locals, I32)
    const sign = i32.and(i32.shrU(value, i32.const(16)), i32.const(0x8000))
    return [
      exp.set(i32.and(i32.shrU(value, i32.const(23)), i32.const(0xff))),
      ifElse(i32.geU(i32.sub(exp.get, ONE32), i32.const(0xfe)), [
        failIf(i32.shl(value, ONE32)),
        setTemp(sign, i64.const(0)),
        ret(ONE32),
      ]),
      setTemp(
        i32.or(sign, i32.add(exp.get, i32.const(16383 - 127))),
        i64.or(i64.shl(i64.extendU(value), i64.const(40)), MIN64),
      ),
      ONE32,
    ]
  })
}

function defineFromDouble(m: ModuleBuilder): number {
  return m.addFunction([I32, I64], [I32], (locals) => {
    const value = getLocal(1)
    const exp = variable(locals, I32)
    const sign = i32.and(i32.wrap(i64.shrU(value, i64.const(48))), i32.const(0x8000))
    return [
      exp.set(i32.and(i32.wrap(i64.shrU(value, i64.const(52))), i32.const(0x7ff))),
      ifElse(i32.geU(i32.sub(exp.get, ONE32), i32.const(0x7fe)), [
        failIf(i64.ne(i64.shl(value, i64.const(1)), i64.const(0))),
        setTemp(sign, i64.const(0)),
        ret(ONE32),
      ]),
      setTemp(i32.or(sign, i32.add(exp.get, i32.const(16383 - 1023))), i64.or(i64.shl(value, i64.const(11)), MIN64)),
      ONE32,
    ]
  })
}

function defineFromInteger(m: ModuleBuilder): number {
  return m.addFunction([I32, I64], [I32], (locals) => {
    const value = getLocal(1)
    const zeros = variable(locals, I64)
    const sign = variable(locals, I32)
    return [
      ifElse(i64.eqz(value), [setTemp(ZERO32, i64.const(0)), ret(ONE32)]),
      ifElse(i64.ltS(value, i64.const(0)), [sign.set(i32.const(0x8000)), setLocal(1, i64.sub(i64.const(0), value))]),
      zeros.set(i64.clz(value)),
      setTemp(i32.or(sign.get, i32.sub(i32.const(16383 + 63), i32.wrap(zeros.get))), i64.shl(value, zeros.get)),
      ONE32,
    ]
  })
}

function definePush(m: ModuleBuilder): number {
  return m.addFunction([I32], [I32], (locals) => {
    const top = variable(locals, I32)
    const place = variable(locals, I32)
    return [
      top.set(i32.and(i32.sub(i32.load8U(base, OFF_TOP), ONE32), i32.const(7))),
      place.set(i32.add(base, i32.shl(top.get, i32.const(4)))),
      i64.store(place.get, i64.load(base, SLOT_VTEMP), OFF_X87),
      i32.store16(place.get, i32.load16U(base, SLOT_VTEMP + 8), OFF_X87 + 8),
      i32.store8(base, top.get, OFF_TOP),
      i32.store8(base, i32.or(i32.load8U(base, OFF_FTAG), i32.shl(ONE32, top.get)), OFF_FTAG),
      i32.store16(base, i32.and(fsw(), i32.const(~C1)), OFF_FSW),
      ONE32,
    ]
  })
}

function definePop(m: ModuleBuilder): number {
  return m.addFunction([I32], [], (locals) => {
    const top = variable(locals, I32)
    return [
      top.set(i32.load8U(base, OFF_TOP)),
      i32.store8(base, i32.and(i32.load8U(base, OFF_FTAG), i32.xor(i32.shl(ONE32, top.get), i32.const(-1))), OFF_FTAG),
      i32.store8(base, i32.and(i32.add(top.get, ONE32), i32.const(7)), OFF_TOP),
    ]
  })
}

/** (base): `bits` of precision, fraction on top of a double's or single's bits. */
function defineToBinary(m: ModuleBuilder, place: number, wide: boolean): number {
  const dropped = wide ? 11 : 40
  const unit = 1n << BigInt(dropped)
  const maximum = wide ? 0x7fe : 0xfe
  const bias = wide ? 16383 - 1023 : 16383 - 127
  return m.addFunction([I32], [I32], (locals) => {
    const at = variable(locals, I32)
    const sexp = variable(locals, I32)
    const sig = variable(locals, I64)
    const low = variable(locals, I64)
    const up = variable(locals, I32)
    const exp = variable(locals, I32)
    const store = (value: Code): Code => i64.store(base, value, SLOT_VTEMP)
    const sign = i64.shl(i64.extendU(i32.shrU(sexp.get, i32.const(15))), i64.const(wide ? 63 : 31))
    return [
      at.set(call(place, base, ZERO32)),
      sexp.set(sexpOf(at.get)),
      sig.set(sigOf(at.get)),
      failIf(odd(sexp.get, sig.get)),
      ifElse(i64.eqz(sig.get), [
        store(sign),
        i32.store(base, i32.and(fsw(), i32.const(~C1)), VTEMP_STATUS),
        ret(ONE32),
      ]),
      low.set(i64.and(sig.get, i64.const(unit - 1n))),
      up.set(
        i32.or(
          i64.gtU(low.get, i64.const(unit >> 1n)),
          i32.and(i64.eq(low.get, i64.const(unit >> 1n)), i64.ne(i64.and(sig.get, i64.const(unit)), i64.const(0))),
        ),
      ),
      exp.set(i32.sub(i32.and(sexp.get, i32.const(0x7fff)), i32.const(bias))),
      sig.set(i64.add(i64.sub(sig.get, low.get), select(up.get, i64.const(unit), i64.const(0)))),
      ifElse(i64.eqz(sig.get), exp.set(i32.add(exp.get, ONE32))),
      failIf(i32.geU(i32.sub(exp.get, ONE32), i32.const(maximum))),
      store(
        i64.or(
          sign,
          i64.or(
            i64.shl(i64.extendU(exp.get), i64.const(wide ? 52 : 23)),
            i64.shrU(i64.shl(sig.get, i64.const(1)), i64.const(dropped + 1)),
          ),
        ),
      ),
      i32.store(
        base,
        i32.or(
          i32.and(fsw(), i32.const(~C1)),
          i32.or(i32.shl(i64.ne(low.get, i64.const(0)), i32.const(5)), i32.shl(up.get, i32.const(9))),
        ),
        VTEMP_STATUS,
      ),
      ONE32,
    ]
  })
}

/** (base, bits, truncate). */
function defineToInteger(m: ModuleBuilder, place: number): number {
  return m.addFunction([I32, I32, I32], [I32], (locals) => {
    const at = variable(locals, I32)
    const sexp = variable(locals, I32)
    const distance = variable(locals, I32)
    const control = variable(locals, I32)
    const up = variable(locals, I32)
    const value = variable(locals, I64)
    const rest = variable(locals, I64)
    const sign = i32.shrU(sexp.get, i32.const(15))
    return [
      at.set(call(place, base, ZERO32)),
      sexp.set(sexpOf(at.get)),
      value.set(sigOf(at.get)),
      failIf(odd(sexp.get, value.get)),
      // Bits below the integer's last one.
      distance.set(i32.sub(i32.const(16383 + 63), i32.and(sexp.get, i32.const(0x7fff)))),
      failIf(i32.leS(distance.get, ZERO32)),
      ifElse(
        i32.geU(distance.get, i32.const(64)),
        [
          rest.set(
            select(i32.eq(distance.get, i32.const(64)), value.get, i64.extendU(i64.ne(value.get, i64.const(0)))),
          ),
          value.set(i64.const(0)),
        ],
        [
          rest.set(i64.shl(value.get, i64.extendU(i32.sub(i32.const(64), distance.get)))),
          value.set(i64.shrU(value.get, i64.extendU(distance.get))),
        ],
      ),
      control.set(select(getLocal(2), i32.const(3), i32.and(i32.shrU(fcw(), i32.const(10)), i32.const(3)))),
      ifElse(i64.ne(rest.get, i64.const(0)), [
        ifElse(
          control.get,
          // Down for negative numbers, up for others; never toward zero.
          up.set(i32.eq(control.get, i32.sub(i32.const(2), sign))),
          up.set(
            i32.and(
              i32.wrap(i64.shrU(rest.get, i64.const(63))),
              i32.or(i64.ne(i64.shl(rest.get, i64.const(1)), i64.const(0)), i32.and(i32.wrap(value.get), ONE32)),
            ),
          ),
        ),
        value.set(i64.add(value.get, i64.extendU(up.get))),
      ]),
      // The magnitude must be below 2^(bits − 1), or equal to it if negative.
      failIf(
        i64.geU(value.get, i64.add(i64.shl(i64.const(1), i64.extendU(i32.sub(getLocal(1), ONE32))), i64.extendU(sign))),
      ),
      i64.store(base, select(sign, i64.sub(i64.const(0), value.get), value.get), SLOT_VTEMP),
      i32.store(
        base,
        i32.or(
          i32.and(fsw(), i32.const(~C1)),
          i32.or(i32.shl(i64.ne(rest.get, i64.const(0)), i32.const(5)), i32.shl(up.get, i32.const(9))),
        ),
        VTEMP_STATUS,
      ),
      ONE32,
    ]
  })
}

/** Adds the functions to a module. */
export function defineX87Functions(m: ModuleBuilder): X87Functions {
  const place = definePlace(m)
  const finish = defineFinish(m)
  return {
    place,
    ready0: m.addFunction([I32], [I32], () => i32.and(plain(), tag(ZERO32))),
    ready2: m.addFunction([I32, I32], [I32], () => i32.and(plain(), i32.and(tag(ZERO32), tag(getLocal(1))))),
    room: m.addFunction([I32], [I32], () => i32.and(not(i32.and(fsw(), i32.const(0x80))), not(tag(i32.const(7))))),
    add: defineAdd(m, finish),
    multiply: defineMultiply(m, finish),
    divide: defineDivide(m, finish),
    compare: defineCompare(m),
    fromSingle: defineFromSingle(m),
    fromDouble: defineFromDouble(m),
    fromInteger: defineFromInteger(m),
    push: definePush(m),
    pop: definePop(m),
    toSingle: defineToBinary(m, place, false),
    toDouble: defineToBinary(m, place, true),
    toInteger: defineToInteger(m, place),
  }
}
