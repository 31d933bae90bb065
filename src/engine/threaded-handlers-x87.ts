/**
 * Handlers of the threaded engine for the x87 instructions that programs consist of, on normal numbers. Their arithmetic is in
 * threaded-x87-functions.ts. What is unusual bails: empty registers, NaNs, denormals, exceptions other than a masked inexact result.
 *
 * They hold for processors that note data pointer, opcode and selectors for unmasked exceptions only; the lifter tells which.
 */

import { auxForFlags, resultForFlags } from '../cpu/flags.js'
import { OFF_FCW, OFF_FIP, OFF_FSW, OFF_FTAG, OFF_TOP, SLOT_VTEMP } from '../cpu/layout.js'
import { UOP_A, UOP_B, UOP_IP } from '../cpu/uops.js'
import { X87_MEMORY, X87_REGISTER } from '../cpu/x87.js'
import { FLAG_CF, FLAG_ZF } from '../isa/flags.js'
import { base, FORM_COUNT, FORMS, type Form, type HandlerBuilder, WIDTHS } from './threaded-builder.js'
import { HANDLER_BAIL, type HandlerRegistry } from './threaded-registry.js'
import { VTEMP_STATUS, type X87Functions } from './threaded-x87-functions.js'
import { type Code, call, I32, I64, i32, i64, select } from './wasm-emitter.js'

/** Name of the handler of an operation on registers. */
export function x87Name(operation: number): string {
  return `X87.${operation}`
}

/** Name of the handler of an operation on memory with an address form. */
export function x87MemoryName(operation: number, form: number): string {
  return `X87M.${operation}@${form}`
}

/** The handler called `name`, if there is one. */
export function x87Handler(registry: HandlerRegistry, name: string): number {
  return registry.has(name) ? registry.id(name) : HANDLER_BAIL
}

const C1 = 0x200
const ES = 0x80
const ZERO = i32.const(0)
const temp = i32.add(base, i32.const(SLOT_VTEMP))
const status = (): Code => i32.load16U(base, OFF_FSW)
const setStatus = (value: Code): Code => i32.store16(base, value, OFF_FSW)
const clearC1 = (): Code => setStatus(i32.and(status(), i32.const(~C1)))

function functions(g: HandlerBuilder): X87Functions {
  return g.dispatch.x87
}

/** FIP ← the instruction. Outside 64-bit code RIP does not wrap inside a block, so a plain sum is right. */
function pointer(g: HandlerBuilder): Code {
  return i64.store(base, i64.add(g.rip, i64.extendU(g.field16(UOP_IP))), OFF_FIP)
}

function st(g: HandlerBuilder, i: Code): Code {
  return call(functions(g).place, base, i)
}

/** Bails unless `call` says 1. */
function must(g: HandlerBuilder, condition: Code): Code {
  return g.bailIf(i32.eqz(condition))
}

function notPending(g: HandlerBuilder): Code {
  return g.bailIf(i32.and(status(), i32.const(ES)))
}

function pop(g: HandlerBuilder): Code {
  return call(functions(g).pop, base)
}

type Kind = 'add' | 'mul' | 'sub' | 'subr' | 'div' | 'divr'
const KINDS: readonly Kind[] = ['add', 'mul', 'sub', 'subr', 'div', 'divr']

/** destination ← destination op source; 1 if it was done. */
function compute(g: HandlerBuilder, kind: Kind, destination: Code, source: Code): Code {
  const f = functions(g)
  switch (kind) {
    case 'add':
      return call(f.add, base, destination, source, destination, ZERO)
    case 'sub':
      return call(f.add, base, destination, source, destination, i32.const(0x8000))
    case 'subr':
      return call(f.add, base, source, destination, destination, i32.const(0x8000))
    case 'mul':
      return call(f.multiply, base, destination, source, destination)
    case 'div':
      return call(f.divide, base, destination, source, destination)
    case 'divr':
      return call(f.divide, base, source, destination, destination)
  }
}

function defineArithmetic(registry: HandlerRegistry): void {
  for (const kind of KINDS) {
    for (const [suffix, toI, pops] of [
      ['', false, false],
      ['.i', true, false],
      ['p.i', true, true],
    ] as const) {
      registry.named(
        x87Name(X87_REGISTER.get(`f${kind}${suffix}`)!),
        (g) => {
          const i = g.field16(UOP_B)
          const [setI, stI] = g.keep(I32, st(g, i))
          const [set0, st0] = g.keep(I32, st(g, ZERO))
          return [
            must(g, call(functions(g).ready2, base, i)),
            set0,
            setI,
            must(g, compute(g, kind, toI ? stI : st0, toI ? st0 : stI)),
            pops ? pop(g) : [],
            pointer(g),
          ]
        },
        false,
      )
    }
  }
}

/** Converts what is at `place` to SLOT_VTEMP; 1 if that could be done. */
const SOURCES: readonly (readonly [string, 2 | 4 | 8, (g: HandlerBuilder, place: Code) => Code])[] = [
  ['m32', 4, (g, place) => call(functions(g).fromSingle, base, i32.load(place))],
  ['m64', 8, (g, place) => call(functions(g).fromDouble, base, i64.load(place))],
  ['i16', 2, (g, place) => call(functions(g).fromInteger, base, i64.extendS(i32.load16S(place)))],
  ['i32', 4, (g, place) => call(functions(g).fromInteger, base, i64.load32S(place))],
  ['i64', 8, (g, place) => call(functions(g).fromInteger, base, i64.load(place))],
]

function named(registry: HandlerRegistry, mnemonic: string, form: number, body: (g: HandlerBuilder) => Code): void {
  registry.named(x87MemoryName(X87_MEMORY.get(mnemonic)!, form), body, false)
}

function defineMemoryArithmetic(registry: HandlerRegistry, form: Form): void {
  for (const [type, bytes, convert] of SOURCES) {
    if (type === 'i64') continue
    const integer = type.startsWith('i')
    const operand = (g: HandlerBuilder, work: Code): Code => {
      const [find, place] = g.operand(form, bytes, false)
      return [must(g, call(functions(g).ready0, base)), find, must(g, convert(g, place)), work, pointer(g)]
    }
    for (const kind of KINDS) {
      named(registry, `f${integer ? 'i' : ''}${kind}.${bytes}`, form, (g) => {
        const [set0, st0] = g.keep(I32, st(g, ZERO))
        return operand(g, [set0, must(g, compute(g, kind, st0, temp))])
      })
    }
    for (const pops of [false, true]) {
      named(registry, `f${integer ? 'i' : ''}com${pops ? 'p' : ''}.${bytes}`, form, (g) =>
        operand(g, [compareStatus(g, st(g, ZERO), temp), pops ? pop(g) : []]),
      )
    }
  }
}

/** Condition codes ← comparison, C1 ← 0. */
function compareStatus(g: HandlerBuilder, a: Code, b: Code): Code {
  const [set, outcome] = g.keep(I32, call(functions(g).compare, base, a, b))
  return [set, g.bailIf(i32.ltS(outcome, ZERO)), setStatus(i32.or(i32.and(status(), i32.const(~0x4700)), outcome))]
}

function defineLoads(registry: HandlerRegistry, form: Form): void {
  for (const [type, bytes, convert] of SOURCES) {
    named(registry, `${type.startsWith('i') ? 'fild' : 'fld'}.${bytes}`, form, (g) => {
      const [find, place] = g.operand(form, bytes, false)
      const f = functions(g)
      return [must(g, call(f.room, base)), find, must(g, convert(g, place)), must(g, call(f.push, base)), pointer(g)]
    })
  }
  named(registry, 'fld.10', form, (g) => {
    // Sixteen bytes would be simpler, but the last six may be in another page.
    const [find, place] = g.operand(form, 10, false)
    const f = functions(g)
    return [
      must(g, call(f.room, base)),
      find,
      i64.store(base, i64.load(place), SLOT_VTEMP),
      i32.store(base, i32.load16U(place, 8), SLOT_VTEMP + 8),
      must(g, call(f.push, base)),
      pointer(g),
    ]
  })
}

function defineStores(registry: HandlerRegistry, form: Form): void {
  /** `ready` and `convert` as conditions; then the place is found, and nothing can fail any more. */
  const store = (
    name: string,
    bytes: 2 | 4 | 8 | 10,
    pops: boolean,
    convert: (g: HandlerBuilder) => Code,
    write: (g: HandlerBuilder, place: Code) => Code,
  ): void =>
    named(registry, name, form, (g) => {
      const [find, place] = g.operand(form, bytes, true)
      return [convert(g), find, write(g, place), pops ? pop(g) : [], pointer(g)]
    })
  const converted = (bytes: 2 | 4 | 8, place: Code): Code => [
    bytes === 8
      ? i64.store(place, i64.load(base, SLOT_VTEMP))
      : (bytes === 4 ? i32.store : i32.store16)(place, i32.load(base, SLOT_VTEMP)),
    setStatus(i32.load(base, VTEMP_STATUS)),
  ]
  for (const pops of [false, true]) {
    const suffix = pops ? 'p' : ''
    for (const bytes of [4, 8] as const) {
      store(
        `fst${suffix}.${bytes}`,
        bytes,
        pops,
        (g) => {
          const f = functions(g)
          return [must(g, call(f.ready0, base)), must(g, call(bytes === 8 ? f.toDouble : f.toSingle, base))]
        },
        (_g, place) => converted(bytes, place),
      )
    }
  }
  for (const [name, bytes, pops, truncate] of [
    ['fist.2', 2, false, 0],
    ['fist.4', 4, false, 0],
    ['fistp.2', 2, true, 0],
    ['fistp.4', 4, true, 0],
    ['fistp.8', 8, true, 0],
    ['fisttp.2', 2, true, 1],
    ['fisttp.4', 4, true, 1],
    ['fisttp.8', 8, true, 1],
  ] as const) {
    store(
      name,
      bytes,
      pops,
      (g) => [
        storable(g),
        // Inexactness must be masked, whatever the rounding.
        must(g, i32.and(i32.load8U(base, OFF_FCW), i32.const(0x20))),
        must(g, call(functions(g).toInteger, base, i32.const(bytes * 8), i32.const(truncate))),
      ],
      (_g, place) => converted(bytes, place),
    )
  }
  store('fstp.10', 10, true, storable, (g, place) => {
    const [set0, st0] = g.keep(I32, st(g, ZERO))
    return [set0, i64.store(place, i64.load(st0)), i32.store16(place, i32.load16U(st0, 8), 8), clearC1()]
  })
}

/** Nothing pends, ST(0) is not empty. */
function storable(g: HandlerBuilder): Code {
  return [notPending(g), must(g, full(ZERO))]
}

/** Is ST(i) not empty? */
function full(i: Code): Code {
  const register = i32.and(i32.add(i32.load8U(base, OFF_TOP), i), i32.const(7))
  return i32.and(i32.shrU(i32.load8U(base, OFF_FTAG), register), i32.const(1))
}

function defineControl(registry: HandlerRegistry, form: Form): void {
  named(registry, 'fldcw.2', form, (g) => {
    const [find, place] = g.operand(form, 2, false)
    const [setValue, value] = g.keep(I32, i32.or(i32.and(i32.load16U(place), i32.const(0x1f3f)), i32.const(0x40)))
    return [
      notPending(g),
      find,
      setValue,
      // It would unmask an exception that is noted.
      g.bailIf(i32.and(i32.and(status(), i32.const(0x3f)), i32.xor(value, i32.const(-1)))),
      i32.store16(base, value, OFF_FCW),
    ]
  })
  named(registry, 'fnstcw.2', form, (g) => {
    const [find, place] = g.operand(form, 2, true)
    return [find, i32.store16(place, i32.load16U(base, OFF_FCW))]
  })
  named(registry, 'fnstsw.2', form, (g) => {
    const [find, place] = g.operand(form, 2, true)
    return [find, i32.store16(place, statusWord())]
  })
}

function statusWord(): Code {
  return i32.or(status(), i32.shl(i32.load8U(base, OFF_TOP), i32.const(11)))
}

function defineRegisters(registry: HandlerRegistry): void {
  const register = (mnemonic: string, body: (g: HandlerBuilder) => Code): void => {
    registry.named(x87Name(X87_REGISTER.get(mnemonic)!), body, false)
  }
  for (const [mnemonic, pops] of [
    ['fcom', 0],
    ['fcomp', 1],
    ['fcompp', 2],
    ['fucom', 0],
    ['fucomp', 1],
    ['fucompp', 2],
  ] as const) {
    register(mnemonic, (g) => {
      const i = g.field16(UOP_B)
      return [
        must(g, call(functions(g).ready2, base, i)),
        compareStatus(g, st(g, ZERO), st(g, i)),
        pops > 0 ? pop(g) : [],
        pops > 1 ? pop(g) : [],
        pointer(g),
      ]
    })
  }
  for (const [mnemonic, pops] of [
    ['fcomi', false],
    ['fucomi', false],
    ['fcomip', true],
    ['fucomip', true],
  ] as const) {
    register(mnemonic, (g) => {
      const i = g.field16(UOP_B)
      const [set, outcome] = g.keep(I32, call(functions(g).compare, base, st(g, ZERO), st(g, i)))
      const equal = i32.eq(outcome, i32.const(0x4000))
      const pick = (of: (flags: number) => number): Code =>
        select(equal, i32.const(of(FLAG_ZF)), select(outcome, i32.const(of(FLAG_CF)), i32.const(of(0))))
      return [
        must(g, call(functions(g).ready2, base, i)),
        set,
        g.bailIf(i32.ltS(outcome, ZERO)),
        g.flagResult(WIDTHS[2], pick(resultForFlags)),
        g.flagAux(pick(auxForFlags)),
        pops ? pop(g) : [],
        pointer(g),
      ]
    })
  }
  register('fld', (g) => {
    const i = g.field16(UOP_B)
    const [setI, stI] = g.keep(I32, st(g, i))
    return [
      must(g, full(i)),
      must(g, call(functions(g).room, base)),
      setI,
      i64.store(base, i64.load(stI), SLOT_VTEMP),
      i32.store(base, i32.load16U(stI, 8), SLOT_VTEMP + 8),
      must(g, call(functions(g).push, base)),
      pointer(g),
    ]
  })
  for (const pops of [false, true]) {
    register(pops ? 'fstp' : 'fst', (g) => {
      const i = g.field16(UOP_B)
      const [setI, stI] = g.keep(I32, st(g, i))
      const [set0, st0] = g.keep(I32, st(g, ZERO))
      const number = i32.and(i32.add(i32.load8U(base, OFF_TOP), i), i32.const(7))
      return [
        storable(g),
        setI,
        set0,
        i64.store(stI, i64.load(st0)),
        i32.store16(stI, i32.load16U(st0, 8), 8),
        i32.store8(base, i32.or(i32.load8U(base, OFF_FTAG), i32.shl(i32.const(1), number)), OFF_FTAG),
        clearC1(),
        pops ? pop(g) : [],
        pointer(g),
      ]
    })
  }
  register('fxch', (g) => {
    const i = g.field16(UOP_B)
    const [setI, stI] = g.keep(I32, st(g, i))
    const [set0, st0] = g.keep(I32, st(g, ZERO))
    const [setSig, sig] = g.keep(I64, i64.load(st0))
    const [setExp, exp] = g.keep(I32, i32.load16U(st0, 8))
    return [
      notPending(g),
      must(g, i32.and(full(ZERO), full(i))),
      setI,
      set0,
      setSig,
      setExp,
      i64.store(st0, i64.load(stI)),
      i32.store16(st0, i32.load16U(stI, 8), 8),
      i64.store(stI, sig),
      i32.store16(stI, exp, 8),
      clearC1(),
      pointer(g),
    ]
  })
  for (const [mnemonic, change] of [
    ['fchs', (sexp: Code): Code => i32.xor(sexp, i32.const(0x8000))],
    ['fabs', (sexp: Code): Code => i32.and(sexp, i32.const(0x7fff))],
  ] as const) {
    register(mnemonic, (g) => {
      const [set0, st0] = g.keep(I32, st(g, ZERO))
      return [storable(g), set0, i32.store16(st0, change(i32.load16U(st0, 8)), 8), clearC1(), pointer(g)]
    })
  }
  register('fsqrt', (g) => [
    must(g, call(functions(g).ready0, base)),
    must(g, call(functions(g).root, base)),
    pointer(g),
  ])
  for (const [mnemonic, sexp, sig] of [
    ['fldz', 0, 0n],
    ['fld1', 0x3fff, -0x8000_0000_0000_0000n],
  ] as const) {
    register(mnemonic, (g) => [
      must(g, call(functions(g).room, base)),
      i64.store(base, i64.const(sig), SLOT_VTEMP),
      i32.store(base, i32.const(sexp), SLOT_VTEMP + 8),
      must(g, call(functions(g).push, base)),
      pointer(g),
    ])
  }
  register('fnstsw', (g) => i32.store16(g.slot(UOP_A), statusWord()))
  register('fwait', notPending)
}

/** Adds all handlers of this file. */
export function defineX87(registry: HandlerRegistry): void {
  defineArithmetic(registry)
  defineRegisters(registry)
  for (let f = 0; f < FORM_COUNT; f++) {
    // Operands relative to FS and GS in 64-bit code are rare.
    if (f === FORMS.BASE64) continue
    const form = f as Form
    defineMemoryArithmetic(registry, form)
    defineLoads(registry, form)
    defineStores(registry, form)
    defineControl(registry, form)
  }
}
