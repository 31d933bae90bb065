/**
 * The x87's arithmetic (x87-arithmetic.ts) as WebAssembly functions: for the handlers on addresses of registers in their 16-byte form, and for regions
 * on values. Where the arithmetic gives up, they return 0 and have changed nothing.
 */

import { OFF_FCW, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87, SLOT_VTEMP } from '../cpu/layout.js'
import {
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  type Locals,
  type ModuleBuilder,
  ret,
  select,
  setLocal,
  type ValueType,
} from './wasm-emitter.js'
import {
  addNumbers,
  compareNumbers,
  divideNumbers,
  fromBinary,
  fromInteger,
  multiplyNumbers,
  type Number80,
  rootOfNumber,
  roundShort,
  toBinary,
  toInteger,
  WORD_STATUS_SHIFT,
  type Work,
} from './x87-arithmetic.js'

/** Indices of the functions. Those with `base` return 1 when they did their work, except `pop` and `place`. */
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
  /** (base): ST(0) ← its square root. */
  readonly root: number
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
  /**
   * On values, for regions: (significand, sign and exponent, those of the other, control word) → significand and word as in x87-arithmetic.ts; the
   * word is negative where there is no result.
   */
  readonly quotient: number
  /** (significand, sign and exponent, control word) → the same. */
  readonly rootOf: number
  /** (significand, sign and exponent, anything) → the bits and a word that has the status bits alone. */
  readonly singleOf: number
  readonly doubleOf: number
  /** The same; the last parameter is the rounding control plus 256 times the integer's bits. */
  readonly integerOf: number
  /** (significand, the 64 bits below, control word) → the significand rounded to 53 or 24 bits, or 0, and the status bits of a word. */
  readonly rounded: number
}

/** i32 in the CPU block: the status word that becomes visible with a store. */
export const VTEMP_STATUS: number = SLOT_VTEMP + 8

const ZERO32 = i32.const(0)
const ONE32 = i32.const(1)
const C1 = 0x200
const base = getLocal(0)

const not = i32.eqz
const fsw = (): Code => i32.load16U(base, OFF_FSW)
const fcw = (): Code => i32.load16U(base, OFF_FCW)

/** A local as [set, get]. */
function variable(
  locals: Locals,
  type: typeof I32 | typeof I64,
): { index: number; set: (value: Code) => Code; get: Code } {
  const index = locals.add(type)
  return { index, set: (v) => setLocal(index, v), get: getLocal(index) }
}

/** Significand and the 16 bits above it of the register at `address`. */
const sigOf = (address: Code): Code => i64.load(address)
const sexpOf = (address: Code): Code => i32.load16U(address, 8)

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

/** The result of `build` at register `destination`, with the status word that it gives; 1. */
function toRegister(locals: Locals, destination: Code, build: (work: Work) => Code): Code {
  const work = workOf(locals, ret(ZERO32))
  return [
    build(work),
    i64.store(destination, getLocal(work.sig)),
    i32.store16(destination, getLocal(work.word), 8),
    i32.store16(base, statusOf(getLocal(work.word)), OFF_FSW),
    ONE32,
  ]
}

function workOf(locals: Locals, fail: Code): Work {
  return { local: (type) => locals.add(type), sig: locals.add(I64), word: locals.add(I32), fail }
}

/** The status word after a result. */
function statusOf(word: Code): Code {
  const bits = i32.and(i32.shrU(word, i32.const(WORD_STATUS_SHIFT)), i32.const(0x220))
  return i32.or(i32.and(fsw(), i32.const(~C1)), bits)
}

/** The register at an address. */
function registerAt(locals: Locals, address: Code): [Code, Number80] {
  const sig = variable(locals, I64)
  const sexp = variable(locals, I32)
  return [[sig.set(sigOf(address)), sexp.set(sexpOf(address))], { sig: sig.get, sexp: sexp.get, good: false }]
}

type Operation = typeof addNumbers

/** (base, a, b, destination), and `negate` for sums. */
function defineOperation(m: ModuleBuilder, operation: Operation, sum: boolean): number {
  const params = [I32, I32, I32, I32] as const
  return m.addFunction(sum ? [...params, I32] : params, [I32], (locals) => {
    const [setA, a] = registerAt(locals, getLocal(1))
    const [setB, b] = registerAt(locals, getLocal(2))
    const other = variable(locals, I32)
    const y = sum ? { ...b, sexp: other.get } : b
    return [
      setA,
      setB,
      sum ? other.set(i32.xor(b.sexp, getLocal(4))) : [],
      toRegister(locals, getLocal(3), (work) => operation(work, fcw(), a, y)),
    ]
  })
}

/** (base): ST(0) ← its root. */
function defineRoot(m: ModuleBuilder, place: number): number {
  return m.addFunction([I32], [I32], (locals) => {
    const at = variable(locals, I32)
    const [set, x] = registerAt(locals, at.get)
    return [at.set(call(place, base, ZERO32)), set, toRegister(locals, at.get, (work) => rootOfNumber(work, fcw(), x))]
  })
}

/** (base, a, b). */
function defineCompare(m: ModuleBuilder): number {
  return m.addFunction([I32, I32, I32], [I32], (locals) => {
    const [setA, a] = registerAt(locals, getLocal(1))
    const [setB, b] = registerAt(locals, getLocal(2))
    const outcome = variable(locals, I32)
    const work = workOf(locals, ret(i32.const(-1)))
    return [setA, setB, compareNumbers(work, a, b, outcome.index), outcome.get]
  })
}

/** Sets SLOT_VTEMP to the number that `build` makes of the second parameter. */
function defineFrom(m: ModuleBuilder, type: ValueType, build: (work: Work, value: Code) => Code): number {
  return m.addFunction([I32, type], [I32], (locals) => {
    const work = workOf(locals, ret(ZERO32))
    return [
      build(work, getLocal(1)),
      i64.store(base, getLocal(work.sig), SLOT_VTEMP),
      i32.store(base, getLocal(work.word), SLOT_VTEMP + 8),
      ONE32,
    ]
  })
}

/** Sets SLOT_VTEMP to what `build` makes of ST(0), and the status word beside it. */
function defineTo(
  m: ModuleBuilder,
  place: number,
  params: readonly ValueType[],
  build: (work: Work, x: Number80) => Code,
): number {
  return m.addFunction(params, [I32], (locals) => {
    const at = variable(locals, I32)
    const [set, x] = registerAt(locals, at.get)
    const work = workOf(locals, ret(ZERO32))
    return [
      at.set(call(place, base, ZERO32)),
      set,
      build(work, x),
      i64.store(base, getLocal(work.sig), SLOT_VTEMP),
      i32.store(base, statusOf(getLocal(work.word)), VTEMP_STATUS),
      ONE32,
    ]
  })
}

/** (a, its sign and exponent, b, its sign and exponent, control word) → significand and word, which is negative where it fails. */
function defineOnTwo(m: ModuleBuilder, operation: Operation): number {
  return m.addFunction([I64, I32, I64, I32, I32], [I64, I32], (locals) => {
    const work = workOf(locals, ret(i64.const(0), i32.const(-1)))
    const x = { sig: getLocal(0), sexp: getLocal(1), good: false }
    const y = { sig: getLocal(2), sexp: getLocal(3), good: false }
    return [operation(work, getLocal(4), x, y), getLocal(work.sig), getLocal(work.word)]
  })
}

/** (a, its sign and exponent, something) → value and word. */
function defineOnOne(m: ModuleBuilder, build: (work: Work, x: Number80, what: Code) => Code): number {
  return m.addFunction([I64, I32, I32], [I64, I32], (locals) => {
    const work = workOf(locals, ret(i64.const(0), i32.const(-1)))
    const x = { sig: getLocal(0), sexp: getLocal(1), good: false }
    return [build(work, x, getLocal(2)), getLocal(work.sig), getLocal(work.word)]
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

/** Where the bits of the integer are in what {@link X87Functions.integerOf} gets. */
const INTEGER_BITS_SHIFT = 8

/** Adds the functions to a module. */
export function defineX87Functions(m: ModuleBuilder): X87Functions {
  const place = definePlace(m)
  const rounding = (truncate: Code): Code =>
    select(truncate, i32.const(3), i32.and(i32.shrU(fcw(), i32.const(10)), i32.const(3)))
  return {
    place,
    ready0: m.addFunction([I32], [I32], () => i32.and(plain(), tag(ZERO32))),
    ready2: m.addFunction([I32, I32], [I32], () => i32.and(plain(), i32.and(tag(ZERO32), tag(getLocal(1))))),
    room: m.addFunction([I32], [I32], () => i32.and(not(i32.and(fsw(), i32.const(0x80))), not(tag(i32.const(7))))),
    add: defineOperation(m, addNumbers, true),
    multiply: defineOperation(m, multiplyNumbers, false),
    divide: defineOperation(m, divideNumbers, false),
    root: defineRoot(m, place),
    compare: defineCompare(m),
    fromSingle: defineFrom(m, I32, (work, value) => fromBinary(work, value, false)),
    fromDouble: defineFrom(m, I64, (work, value) => fromBinary(work, value, true)),
    fromInteger: defineFrom(m, I64, fromInteger),
    push: definePush(m),
    pop: definePop(m),
    toSingle: defineTo(m, place, [I32], (work, x) => toBinary(work, x, false)),
    toDouble: defineTo(m, place, [I32], (work, x) => toBinary(work, x, true)),
    toInteger: defineTo(m, place, [I32, I32, I32], (work, x) => {
      const control = work.local(I32)
      return [setLocal(control, rounding(getLocal(2))), toInteger(work, x, getLocal(1), getLocal(control))]
    }),
    quotient: defineOnTwo(m, divideNumbers),
    rootOf: defineOnOne(m, (work, x, control) => rootOfNumber(work, control, x)),
    singleOf: defineOnOne(m, (work, x) => toBinary(work, x, false)),
    doubleOf: defineOnOne(m, (work, x) => toBinary(work, x, true)),
    rounded: m.addFunction([I64, I64, I32], [I64, I32], (locals) => {
      const work = workOf(locals, [])
      return [
        roundShort(work, getLocal(2), getLocal(0), getLocal(1), work.sig, work.word),
        getLocal(work.sig),
        getLocal(work.word),
      ]
    }),
    integerOf: defineOnOne(m, (work, x, what) => {
      const bits = work.local(I32)
      const control = work.local(I32)
      return [
        setLocal(bits, i32.shrU(what, i32.const(INTEGER_BITS_SHIFT))),
        setLocal(control, i32.and(what, i32.const(3))),
        toInteger(work, x, getLocal(bits), getLocal(control)),
      ]
    }),
  }
}
