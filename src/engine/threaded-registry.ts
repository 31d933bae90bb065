/**
 * Which handlers exist. A handler is found by (kind, width, variant) for a single record, or by a chain of handlers for records that
 * are fused into one step.
 */

import { UOP_SIZE } from '../cpu/uops.js'
import type { HandlerBuilder } from './threaded-builder.js'
import type { Code } from './wasm-emitter.js'

/** Code of one or more records. It falls through to the next record unless the handler `ends`. */
export type Body = (g: HandlerBuilder) => Code

export interface Handler {
  readonly name: string
  readonly body: Body
  /** Records it covers. */
  readonly records: number
  /** It leaves by itself: a branch, or a way out. */
  readonly ends: boolean
}

/** Number 0: leaves the loop before the instruction. */
export const HANDLER_BAIL = 0
/** Number 1: does nothing. */
export const HANDLER_NOP = 1

const VARIANT_BITS = 6
/** Handler numbers have so many bits: a pair of them must fit 31. */
const ID_BITS = 14

export class HandlerRegistry {
  readonly handlers: Handler[] = []
  /** By `(kind << 2 | width) << 6 | variant`. */
  private readonly single = new Int16Array(128 << (2 + VARIANT_BITS))
  /** By `first << ID_BITS | second`: the handler of both. */
  private readonly pairs = new Map<number, number>()
  private readonly byName = new Map<string, number>()
  /** Of the micro-op SIMD: by operation, or by `operation << 8 | immediate`. */
  private readonly operations = new Map<number, number>()
  private readonly immediates = new Map<number, number>()
  private readonly seeing = new Set<number>()

  private add(handler: Handler): number {
    const id = this.handlers.push(handler) - 1
    if (id >= 1 << ID_BITS) throw new RangeError('too many handlers')
    this.byName.set(handler.name, id)
    return id
  }

  /** Adds a handler under a name only. */
  named(name: string, body: Body, ends: boolean, records = 1): number {
    return this.add({ name, body, records, ends })
  }

  /** Adds the handler of one kind, width and variant. */
  define(kind: number, width: number, variant: number, name: string, body: Body, ends = false): void {
    this.single[(((kind << 2) | width) << VARIANT_BITS) | variant] = this.named(name, body, ends)
  }

  /** Adds the handler of a SIMD operation (cpu/simd.ts), or of the operation with one immediate. */
  defineSimd(operation: number, name: string, body: Body, immediate?: number): void {
    const id = this.named(name, body, false)
    if (immediate === undefined) this.operations.set(operation, id)
    else this.immediates.set((operation << 8) | immediate, id)
  }

  /** Notes that the handler of a SIMD operation may bail, so that others see the flags. */
  mayBail(operation: number): void {
    this.seeing.add(operation)
  }

  /** Whether the handler of a SIMD operation may leave the block. */
  bails(operation: number): boolean {
    return this.seeing.has(operation)
  }

  /** The handler of a SIMD operation, or {@link HANDLER_BAIL}. */
  findSimd(operation: number, immediate: number): number {
    return this.immediates.get((operation << 8) | (immediate & 0xff)) ?? this.operations.get(operation) ?? HANDLER_BAIL
  }

  /** Lets another (kind, width, variant) share the handler called `name`. */
  alias(kind: number, width: number, variant: number, name: string): void {
    this.single[(((kind << 2) | width) << VARIANT_BITS) | variant] = this.id(name)
  }

  /** The handler of a record, or {@link HANDLER_BAIL}. */
  find(kind: number, width: number, variant: number): number {
    return this.single[(((kind << 2) | width) << VARIANT_BITS) | variant]!
  }

  id(name: string): number {
    const id = this.byName.get(name)
    if (id === undefined) throw new RangeError(`no handler ${name}`)
    return id
  }

  has(name: string): boolean {
    return this.byName.has(name)
  }

  /** The handler that does `first` and then `second`, or 0. */
  findPair(first: number, second: number): number {
    return this.pairs.get((first << ID_BITS) | second) ?? 0
  }

  /** The bodies of existing handlers one after the other, for a handler that covers the records of all. */
  chained(g: HandlerBuilder, names: readonly string[]): Code {
    const start = g.at
    const code = names.map((name) => {
      const { body, records } = this.handlers[this.id(name)]!
      const one = body(g)
      g.at += records * UOP_SIZE
      return one
    })
    g.at = start
    return code
  }

  /** Makes one step of a chain of existing handlers. `body`, if given, replaces the concatenation of their bodies. */
  fuse(names: readonly string[], body?: Body): void {
    let name = names[0]!
    let id = this.id(name)
    for (let i = 1; i < names.length; i++) {
      const second = this.id(names[i]!)
      const first = id
      name += `+${names[i]}`
      const known = this.pairs.get((first << ID_BITS) | second)
      if (known !== undefined) {
        id = known
        continue
      }
      const a = this.handlers[first]!
      const b = this.handlers[second]!
      const last = i === names.length - 1
      id = this.add({
        name,
        records: a.records + b.records,
        ends: b.ends,
        body: last && body ? body : (g) => this.chained(g, [a.name, b.name]),
      })
      this.pairs.set((first << ID_BITS) | second, id)
    }
  }
}
