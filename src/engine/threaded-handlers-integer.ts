/** Handlers of the threaded engine for register arithmetic, shifts, bit operations and flags. */

import { OFF_FLAGS_REST } from '../cpu/layout.js'
import { UOP, UOP_A, UOP_B, UOP_C, UOP_EXT, UOP_IMM } from '../cpu/uops.js'
import { FLAG_DF } from '../isa/flags.js'
import { base, FORMS, type HandlerBuilder, WIDTHS, type Width } from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { type Code, getLocal, I32, I64, i32, i64, ifElse, select, setLocal } from './wasm-emitter.js'

/** Variants of flag-setting handlers. */
export const WITH_FLAGS = 0
export const NO_FLAGS = 1

/** Names of handlers: kind, width in bits, and `-` when flags are not kept. */
export function integerName(kind: string, w: number, flags: number): string {
  return `${kind}${8 << w}${flags === NO_FLAGS ? '-' : ''}`
}

interface BinaryOp {
  readonly name: string
  readonly kind: number
  readonly immediateKind: number
  /** Carries and borrows; logic has none. */
  readonly arithmetic: 'add' | 'sub' | undefined
  readonly carryIn: boolean
  readonly writes: boolean
  result(w: Width, x: Code, y: Code): Code
}

const binaryOps: readonly BinaryOp[] = [
  {
    name: 'ADD',
    kind: UOP.ADD,
    immediateKind: UOP.ADD_IMM,
    arithmetic: 'add',
    carryIn: false,
    writes: true,
    result: (w, x, y) => w.ops.add(x, y),
  },
  {
    name: 'OR',
    kind: UOP.OR,
    immediateKind: UOP.OR_IMM,
    arithmetic: undefined,
    carryIn: false,
    writes: true,
    result: (w, x, y) => w.ops.or(x, y),
  },
  {
    name: 'ADC',
    kind: UOP.ADC,
    immediateKind: UOP.ADC_IMM,
    arithmetic: 'add',
    carryIn: true,
    writes: true,
    result: (w, x, y) => w.ops.add(x, y),
  },
  {
    name: 'SBB',
    kind: UOP.SBB,
    immediateKind: UOP.SBB_IMM,
    arithmetic: 'sub',
    carryIn: true,
    writes: true,
    result: (w, x, y) => w.ops.sub(x, y),
  },
  {
    name: 'AND',
    kind: UOP.AND,
    immediateKind: UOP.AND_IMM,
    arithmetic: undefined,
    carryIn: false,
    writes: true,
    result: (w, x, y) => w.ops.and(x, y),
  },
  {
    name: 'SUB',
    kind: UOP.SUB,
    immediateKind: UOP.SUB_IMM,
    arithmetic: 'sub',
    carryIn: false,
    writes: true,
    result: (w, x, y) => w.ops.sub(x, y),
  },
  {
    name: 'XOR',
    kind: UOP.XOR,
    immediateKind: UOP.XOR_IMM,
    arithmetic: undefined,
    carryIn: false,
    writes: true,
    result: (w, x, y) => w.ops.xor(x, y),
  },
  {
    name: 'CMP',
    kind: UOP.CMP,
    immediateKind: UOP.CMP_IMM,
    arithmetic: 'sub',
    carryIn: false,
    writes: false,
    result: (w, x, y) => w.ops.sub(x, y),
  },
  {
    name: 'TEST',
    kind: UOP.TEST,
    immediateKind: UOP.TEST_IMM,
    arithmetic: undefined,
    carryIn: false,
    writes: false,
    result: (w, x, y) => w.ops.and(x, y),
  },
]

function defineBinary(registry: HandlerRegistry): void {
  for (const op of binaryOps) {
    for (const w of WIDTHS) {
      for (const immediate of [false, true]) {
        const kind = immediate ? op.immediateKind : op.kind
        const kindName = immediate ? `${op.name}_IMM` : op.name
        for (const flags of [WITH_FLAGS, NO_FLAGS]) {
          if (flags === NO_FLAGS && !op.writes) {
            registry.alias(kind, w.index, NO_FLAGS, 'NOP')
            continue
          }
          registry.define(kind, w.index, flags, integerName(kindName, w.index, flags), (g) => {
            const [setX, x] = g.keep(w.ops.type, g.read(w, UOP_B))
            const [setY, y] = g.keep(w.ops.type, immediate ? g.immediate(w) : g.read(w, UOP_C))
            let value = op.result(w, x, y)
            if (op.carryIn) {
              const carry = w.index === 3 ? i64.extendU(g.carry()) : g.carry()
              value = op.arithmetic === 'add' ? w.ops.add(value, carry) : w.ops.sub(value, carry)
            }
            const [setR, r] = g.keep(w.ops.type, value)
            const store = op.writes ? g.write(w, UOP_A, r) : []
            if (flags === NO_FLAGS) return [setX, setY, setR, store]
            const keepFlags = op.arithmetic ? g.arithmeticFlags(w, op.arithmetic, x, y, r) : g.logicFlags(w, r)
            return [setX, setY, setR, keepFlags, store]
          })
        }
      }
    }
  }
}

function defineUnary(registry: HandlerRegistry): void {
  for (const w of WIDTHS) {
    const o = w.ops
    const one = o.const(1)
    for (const flags of [WITH_FLAGS, NO_FLAGS]) {
      for (const [name, kind, up] of [
        ['INC', UOP.INC, true],
        ['DEC', UOP.DEC, false],
      ] as const) {
        registry.define(kind, w.index, flags, integerName(name, w.index, flags), (g) => {
          const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
          const [setR, r] = g.keep(o.type, up ? o.add(x, one) : o.sub(x, one))
          if (flags === NO_FLAGS) return [setX, setR, g.write(w, UOP_A, r)]
          return [setX, setR, g.stepFlags(w, up, x, r), g.write(w, UOP_A, r)]
        })
      }
      registry.define(UOP.NEG, w.index, flags, integerName('NEG', w.index, flags), (g) => {
        const [setY, y] = g.keep(o.type, g.read(w, UOP_B))
        const [setR, r] = g.keep(o.type, o.sub(o.const(0), y))
        if (flags === NO_FLAGS) return [setY, setR, g.write(w, UOP_A, r)]
        return [setY, setR, g.arithmeticFlags(w, 'sub', o.const(0), y, r), g.write(w, UOP_A, r)]
      })
    }
    registry.define(UOP.NOT, w.index, 0, integerName('NOT', w.index, 0), (g) =>
      g.write(w, UOP_A, o.xor(g.read(w, UOP_B), o.const(-1))),
    )
  }
}

function defineMoves(registry: HandlerRegistry): void {
  for (const w of WIDTHS) {
    registry.define(UOP.MOV, w.index, 0, integerName('MOV', w.index, 0), (g) => g.write(w, UOP_A, g.read(w, UOP_B)))
    registry.define(UOP.MOV_IMM, w.index, 0, integerName('MOV_IMM', w.index, 0), (g) =>
      g.write(w, UOP_A, g.immediate(w)),
    )
    registry.define(UOP.XCHG, w.index, 0, integerName('XCHG', w.index, 0), (g) => {
      const [setX, x] = g.keep(w.ops.type, g.read(w, UOP_A))
      const [setY, y] = g.keep(w.ops.type, g.read(w, UOP_B))
      return [setX, setY, g.write(w, UOP_A, y), g.write(w, UOP_B, x)]
    })
    registry.define(UOP.CMPXCHG, w.index, 0, integerName('CMPXCHG', w.index, 0), (g) => {
      const [setX, x] = g.keep(w.ops.type, g.readRegister(w, 0))
      const [setY, y] = g.keep(w.ops.type, g.read(w, UOP_B))
      const [setC, c] = g.keep(w.ops.type, g.read(w, UOP_C))
      const [setR, r] = g.keep(w.ops.type, w.ops.sub(x, y))
      return [
        setX,
        setY,
        setC,
        setR,
        g.arithmeticFlags(w, 'sub', x, y, r),
        ifElse(w.ops.eq(x, y), g.write(w, UOP_A, c), [g.write(w, UOP_A, y), g.writeRegister(w, 0, y)]),
      ]
    })
    for (let code = 0; code < 16; code++) {
      registry.define(UOP.CMOV, w.index, code, `CMOV${8 << w.index}.${code}`, (g) => {
        // At 32 bits the upper half is cleared either way: the old value is written back.
        if (w.index === 2) return g.write(w, UOP_A, select(g.condition(code), g.read(w, UOP_B), g.read(w, UOP_A)))
        return ifElse(g.condition(code), g.write(w, UOP_A, g.read(w, UOP_B)))
      })
    }
  }
  for (let code = 0; code < 16; code++)
    registry.define(UOP.SETCC, 0, code, `SETCC.${code}`, (g) => g.write(WIDTHS[0], UOP_A, g.condition(code)))
  const [w8, w16, w32] = WIDTHS
  for (const w of [w8, w16, w32]) {
    registry.define(UOP.ZERO_EXTEND, w.index, 0, `ZERO_EXTEND${w.bits}`, (g) =>
      g.write(WIDTHS[3], UOP_A, i64.extendU(g.read(w, UOP_B))),
    )
    registry.define(UOP.SIGN_EXTEND_64, w.index, 0, `SIGN_EXTEND_64.${w.bits}`, (g) =>
      g.write(WIDTHS[3], UOP_A, i64.extendS(g.readSigned(w, UOP_B))),
    )
    if (w !== w32) {
      registry.define(UOP.SIGN_EXTEND_32, w.index, 0, `SIGN_EXTEND_32.${w.bits}`, (g) =>
        g.write(WIDTHS[3], UOP_A, i64.extendU(g.readSigned(w, UOP_B))),
      )
    }
  }
}

/** LEA variants: address size and whether there is an index. */
export const LEA_FORMS = ['16', '32D', '32X', '64D', '64X'] as const

function defineLea(registry: HandlerRegistry): void {
  LEA_FORMS.forEach((form, variant) => {
    for (const w of WIDTHS) {
      if (w.index === 0) continue
      registry.define(UOP.LEA, w.index, variant, `LEA${w.bits}.${form}`, (g) => {
        const linear = g.local(I64)
        const value = getLocal(linear)
        const scale = i32.and(g.field32(UOP_EXT), i32.const(3))
        if (variant === 0) {
          const sum = i32.add(
            i32.add(g.read(WIDTHS[1], UOP_B), g.field32(UOP_IMM)),
            i32.shl(g.read(WIDTHS[1], UOP_C), scale),
          )
          return [setLocal(linear, i64.extendU(i32.and(sum, i32.const(0xffff)))), g.write(w, UOP_A, w.narrow(value))]
        }
        const forms = [FORMS.FLAT32_D, FORMS.FLAT32_X, FORMS.FLAT64_D, FORMS.FLAT64_X]
        return [g.address(forms[variant - 1]!, linear, 1, false), g.write(w, UOP_A, w.narrow(value))]
      })
    }
  })
}

function defineShifts(registry: HandlerRegistry): void {
  const kinds = [
    ['SHL', UOP.SHL, UOP.SHL_IMM],
    ['SHR', UOP.SHR, UOP.SHR_IMM],
    ['SAR', UOP.SAR, UOP.SAR_IMM],
    ['ROL', UOP.ROL, UOP.ROL_IMM],
    ['ROR', UOP.ROR, UOP.ROR_IMM],
  ] as const
  for (const w of WIDTHS) {
    for (const [name, kind, immediateKind] of kinds) {
      const rotate = name === 'ROL' || name === 'ROR'
      for (const immediate of [false, true]) {
        for (const flags of rotate || !immediate ? [WITH_FLAGS] : [WITH_FLAGS, NO_FLAGS]) {
          const handlerName = integerName(immediate ? `${name}_IMM` : name, w.index, flags)
          registry.define(immediate ? immediateKind : kind, w.index, flags, handlerName, (g) => {
            const [setN, n] = g.keep(
              I32,
              i32.and(immediate ? g.field8(UOP_IMM) : g.read(WIDTHS[0], UOP_C), i32.const(w.index === 3 ? 63 : 31)),
            )
            const work = shiftBody(g, w, name, n, flags === WITH_FLAGS)
            // Immediate counts of zero never get here: `prepare` makes moves of them.
            if (immediate) return [setN, work]
            return [
              setN,
              ifElse(
                n,
                work,
                w.index === 2 ? g.write(w, UOP_A, g.read(w, UOP_B)) : g.write(w, UOP_A, g.read(w, UOP_B)),
              ),
            ]
          })
        }
      }
    }
  }
}

/** a ← b shifted by n ≠ 0. Undefined flags: OF as the one-bit rule applied to the result, AF clear. */
function shiftBody(
  g: HandlerBuilder,
  w: Width,
  name: 'SHL' | 'SHR' | 'SAR' | 'ROL' | 'ROR',
  n: Code,
  flags: boolean,
): Code {
  const o = w.ops
  const count = w.index === 3 ? i64.extendU(n) : n
  const [setX, x] = g.keep(o.type, name === 'SAR' ? g.readSigned(w, UOP_B) : g.read(w, UOP_B))
  const bit = (value: Code, at: number | Code): Code =>
    w.low(o.and(o.shrU(value, typeof at === 'number' ? o.const(at) : at), o.const(1)))
  const top = w.bits - 1
  if (name === 'ROL' || name === 'ROR') {
    const left = name === 'ROL'
    let value: Code
    if (w.index >= 2) value = left ? o.rotl(x, count) : o.rotr(x, count)
    else {
      const m = o.and(count, o.const(top))
      const back = o.and(o.sub(o.const(w.bits), m), o.const(top))
      value = o.or(left ? o.shl(x, m) : o.shrU(x, m), left ? o.shrU(x, back) : o.shl(x, back))
      value = o.and(value, o.const(w.index === 0 ? 0xff : 0xffff))
    }
    const [setR, r] = g.keep(o.type, value)
    const carry = left ? bit(r, 0) : bit(r, top)
    const po = left ? bit(r, top) : bit(r, top - 1) // CF xor OF
    return [
      setX,
      setR,
      g.flagAux(
        i32.or(
          i32.and(g.readAux(), i32.const(0x3fffffff)),
          i32.or(i32.shl(carry, i32.const(31)), i32.shl(po, i32.const(30))),
        ),
      ),
      g.write(w, UOP_A, r),
    ]
  }
  const shift = name === 'SHL' ? o.shl : name === 'SAR' ? o.shrS : o.shrU
  const [setR, r] = g.keep(o.type, shift(x, count))
  return [setX, setR, flags ? g.shiftFlags(w, name, x, n, r) : [], g.write(w, UOP_A, r)]
}

function defineBits(registry: HandlerRegistry): void {
  const kinds = [
    ['BT', UOP.BT, UOP.BT_IMM],
    ['BTS', UOP.BTS, UOP.BTS_IMM],
    ['BTR', UOP.BTR, UOP.BTR_IMM],
    ['BTC', UOP.BTC, UOP.BTC_IMM],
  ] as const
  for (const w of WIDTHS) {
    const o = w.ops
    if (w.index === 0) continue
    for (const [name, kind, immediateKind] of kinds) {
      for (const immediate of [false, true]) {
        registry.define(
          immediate ? immediateKind : kind,
          w.index,
          0,
          `${name}${immediate ? '_IMM' : ''}${w.bits}`,
          (g) => {
            const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
            const [setN, n] = g.keep(o.type, o.and(immediate ? g.immediate(w) : g.read(w, UOP_C), o.const(w.bits - 1)))
            const mask = o.shl(o.const(1), n)
            const changed =
              name === 'BTS' ? o.or(x, mask) : name === 'BTR' ? o.and(x, o.xor(mask, o.const(-1))) : o.xor(x, mask)
            return [
              setX,
              setN,
              replaceCarry(g, w.low(o.and(o.shrU(x, n), o.const(1)))),
              name === 'BT' ? [] : g.write(w, UOP_A, changed),
            ]
          },
        )
      }
    }
    const log = 2 + w.index + 1
    registry.define(UOP.BIT_OFFSET, w.index, 0, `BIT_OFFSET${w.bits}`, (g) => {
      const element = o.shrS(g.readSigned(w, UOP_C), o.const(log))
      return g.write(WIDTHS[3], UOP_A, i64.shl(w.index === 3 ? element : i64.extendS(element), i64.const(w.index)))
    })
  }
  for (const w of [WIDTHS[2], WIDTHS[3]]) {
    registry.define(UOP.BSWAP, w.index, 0, `BSWAP${w.bits}`, (g) => {
      const o = w.ops
      // Swap bytes within 16, then halves; rotl by 8 and 24 under masks does 32 bits at once.
      const swap32 = (v: Code): Code =>
        i32.or(
          i32.and(i32.rotl(v, i32.const(8)), i32.const(0x00ff00ff)),
          i32.and(i32.rotr(v, i32.const(8)), i32.const(0xff00ff00)),
        )
      const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
      if (w.index === 2) return [setX, g.write(w, UOP_A, swap32(x))]
      const low = swap32(i32.wrap(x))
      const high = swap32(i32.wrap(i64.shrU(x, i64.const(32))))
      return [setX, g.write(w, UOP_A, i64.or(i64.shl(i64.extendU(low), i64.const(32)), i64.extendU(high)))]
    })
  }
}

/** CF ← `carry` (0 or 1), the other flags unchanged. CF xor OF changes along with CF. */
export function replaceCarry(g: HandlerBuilder, carry: Code): Code {
  const [setAux, aux] = g.keep(I32, g.readAux())
  const [setCarry, value] = g.keep(I32, i32.shl(carry, i32.const(31)))
  // Flip bits 31 and 30 where the new CF differs from the old.
  const [setFlip, flip] = g.keep(I32, i32.and(i32.xor(aux, value), i32.const(0x80000000)))
  return [setAux, setCarry, setFlip, g.flagAux(i32.xor(aux, i32.or(flip, i32.shrU(flip, i32.const(1)))))]
}

function defineFlagOps(registry: HandlerRegistry): void {
  registry.define(UOP.CLC, 0, 0, 'CLC', (g) => replaceCarry(g, i32.const(0)))
  registry.define(UOP.STC, 0, 0, 'STC', (g) => replaceCarry(g, i32.const(1)))
  registry.define(UOP.CMC, 0, 0, 'CMC', (g) => g.flagAux(i32.xor(g.readAux(), i32.const(0xc0000000))))
  registry.define(UOP.CLD, 0, 0, 'CLD', () =>
    i32.store(base, i32.and(i32.load(base, OFF_FLAGS_REST), i32.const(~FLAG_DF)), OFF_FLAGS_REST),
  )
  registry.define(UOP.STD, 0, 0, 'STD', () =>
    i32.store(base, i32.or(i32.load(base, OFF_FLAGS_REST), i32.const(FLAG_DF)), OFF_FLAGS_REST),
  )
}

/** Adds all handlers of this file. */
export function defineInteger(registry: HandlerRegistry): void {
  defineBinary(registry)
  defineUnary(registry)
  defineMoves(registry)
  defineLea(registry)
  defineShifts(registry)
  defineBits(registry)
  defineFlagOps(registry)
}
