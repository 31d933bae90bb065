/** Handlers of the threaded engine for loads, stores and the stack. */

import { SEG_STRIDE } from '../cpu/layout.js'
import { UOP, UOP_A, UOP_IMM, UOP_VALUE } from '../cpu/uops.js'
import { SEG_SS } from '../isa/instruction.js'
import {
  ACCESS_CROSS,
  base,
  FORM_COUNT,
  type Form,
  type HandlerBuilder,
  WIDTHS,
  type Width,
} from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { type Code, getLocal, I32, I64, i32, i64, setLocal } from './wasm-emitter.js'

/** Added to the form of a LOAD that faults as a write. */
export const FOR_WRITE = 8

export function memoryName(kind: string, w: number, form: number): string {
  return `${kind}${8 << w}@${form & 7}${form & FOR_WRITE ? 'w' : ''}`
}

function defineAccesses(registry: HandlerRegistry): void {
  for (let f = 0; f < FORM_COUNT; f++) {
    const form = f as Form
    for (const w of WIDTHS) {
      for (const write of [false, true]) {
        const variant = form | (write ? FOR_WRITE : 0)
        registry.define(UOP.LOAD, w.index, variant, memoryName('LOAD', w.index, variant), (g) => {
          const [find, place] = g.operand(form, w.bytes, write)
          return [find, g.write(w, UOP_A, w.load(place))]
        })
      }
      registry.define(UOP.STORE, w.index, form, memoryName('STORE', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, true)
        return [find, w.store(place, g.read(w, UOP_A))]
      })
      registry.define(UOP.STORE_IMM, w.index, form, memoryName('STORE_IMM', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, true)
        const value = w.index === 3 ? g.field32S(UOP_VALUE) : g.field32(UOP_VALUE)
        return [find, w.store(place, value)]
      })
      if (w.index === 3) continue
      registry.define(UOP.LOAD_ZX, w.index, form, memoryName('LOAD_ZX', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, false)
        return [find, g.write(WIDTHS[3], UOP_A, i64.extendU(w.load(place)))]
      })
      registry.define(UOP.LOAD_SX64, w.index, form, memoryName('LOAD_SX64.', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, false)
        return [find, g.write(WIDTHS[3], UOP_A, i64.extendS(w.loadS(place)))]
      })
      if (w.index === 2) continue
      registry.define(UOP.LOAD_SX32, w.index, form, memoryName('LOAD_SX32.', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, false)
        return [find, g.write(WIDTHS[3], UOP_A, i64.extendU(w.loadS(place)))]
      })
    }
  }
}

/** Stack forms: address size and flatness of SS. */
export const STACKS = { SEG16: 0, SEG32: 1, FLAT32: 2, FLAT64: 3 } as const
export type Stack = (typeof STACKS)[keyof typeof STACKS]
const STACK_NAMES = ['16', '32', '32f', '64'] as const
const RSP = 4

export function stackName(kind: string, w: number, stack: number): string {
  return `${kind}${8 << w}@${STACK_NAMES[stack]}`
}

/** The stack pointer plus a constant or an immediate, wrapped, as an i64. */
function stackOffset(g: HandlerBuilder, stack: Stack, distance: Code, wide: Code): Code {
  switch (stack) {
    case STACKS.SEG16:
      return i64.extendU(i32.and(i32.add(g.readRegister(WIDTHS[1], RSP), distance), i32.const(0xffff)))
    case STACKS.SEG32:
    case STACKS.FLAT32:
      return i64.extendU(i32.add(g.readRegister(WIDTHS[2], RSP), distance))
    case STACKS.FLAT64:
      return i64.add(g.readRegister(WIDTHS[3], RSP), wide)
  }
}

/** Writes the stack pointer from an i64. */
function setStackPointer(g: HandlerBuilder, stack: Stack, value: Code): Code {
  if (stack === STACKS.SEG16) return g.writeRegister(WIDTHS[1], RSP, i32.wrap(value))
  return g.writeRegister(WIDTHS[3], RSP, value)
}

/** Finds the place of an access at `offset` (an i64 local) in the stack segment. */
function stackPlace(g: HandlerBuilder, stack: Stack, offset: number, bytes: number, write: boolean): [Code, Code] {
  const place = g.local(I32)
  if (stack === STACKS.FLAT32 || stack === STACKS.FLAT64)
    return [g.translate(offset, place, bytes, write, write ? 0 : ACCESS_CROSS), getLocal(place)]
  const linear = g.local(I64)
  return [
    [
      g.throughSegment(i32.add(base, i32.const(SEG_SS * SEG_STRIDE)), getLocal(offset), linear, bytes, write),
      g.translate(linear, place, bytes, write, write ? 0 : ACCESS_CROSS),
    ],
    getLocal(place),
  ]
}

function push(g: HandlerBuilder, stack: Stack, w: Width, value: Code): Code {
  const offset = g.local(I64)
  const [find, place] = stackPlace(g, stack, offset, w.bytes, true)
  return [
    setLocal(offset, stackOffset(g, stack, i32.const(-w.bytes), i64.const(-w.bytes))),
    find,
    w.store(place, value),
    setStackPointer(g, stack, getLocal(offset)),
  ]
}

function defineStack(registry: HandlerRegistry): void {
  for (const stack of Object.values(STACKS)) {
    for (const w of WIDTHS) {
      if (w.index === 0) continue
      const at = stack === STACKS.FLAT64
      registry.define(UOP.PUSH, w.index, stack, stackName('PUSH', w.index, stack), (g) =>
        push(g, stack, w, g.read(w, UOP_A)),
      )
      registry.define(UOP.PUSH_IMM, w.index, stack, stackName('PUSH_IMM', w.index, stack), (g) =>
        push(g, stack, w, g.immediate(w)),
      )
      registry.define(UOP.PUSH_RIP, w.index, stack, stackName('PUSH_RIP', w.index, stack), (g) =>
        push(g, stack, w, w.narrow(i64.add(g.rip, g.field64(UOP_IMM)))),
      )
      registry.define(UOP.POP, w.index, stack, stackName('POP', w.index, stack), (g) => {
        const offset = g.local(I64)
        const [find, place] = stackPlace(g, stack, offset, w.bytes, false)
        const [setValue, value] = g.keep(w.ops.type, w.load(place))
        const after = stackOffset(g, stack, i32.const(w.bytes), i64.const(w.bytes))
        return [
          setLocal(offset, stackOffset(g, stack, i32.const(0), i64.const(0))),
          find,
          setValue,
          setStackPointer(g, stack, after),
          g.write(w, UOP_A, value),
        ]
      })
      registry.define(UOP.LOAD_STACK, w.index, stack, stackName('LOAD_STACK', w.index, stack), (g) => {
        const offset = g.local(I64)
        const [find, place] = stackPlace(g, stack, offset, w.bytes, false)
        const distance = at ? i32.const(0) : g.field32(UOP_IMM)
        return [
          setLocal(offset, stackOffset(g, stack, distance, g.field64(UOP_IMM))),
          find,
          g.write(w, UOP_A, w.load(place)),
        ]
      })
    }
    // Its width does not matter.
    registry.define(UOP.ADD_SP, 0, stack, stackName('ADD_SP', 0, stack), (g) =>
      setStackPointer(g, stack, stackOffset(g, stack, g.field32(UOP_IMM), g.field64(UOP_IMM))),
    )
    for (const w of WIDTHS) if (w.index) registry.alias(UOP.ADD_SP, w.index, stack, stackName('ADD_SP', 0, stack))
  }
}

/** Adds all handlers of this file. */
export function defineMemory(registry: HandlerRegistry): void {
  defineAccesses(registry)
  defineStack(registry)
}
