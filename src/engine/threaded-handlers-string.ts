/**
 * Handlers of the threaded engine for string operations. A repeated one stays in its handler while the budget lasts: every iteration counts as
 * one instruction, and before each the state is exact. MOVS and STOS move as much as fits the page at once.
 */

import {
  DTLB_ENTRIES,
  OFF_DTLB,
  OFF_FLAGS_REST,
  OFF_SEG,
  SEG_BASE,
  SEG_READ_LIMIT,
  SEG_STRIDE,
  SEG_WRITE_LIMIT,
  TLB_LINEAR,
} from '../cpu/layout.js'
import { EXT_SEG_MASK, EXT_SEG_SHIFT, UOP, UOP_EXT, UOP_IMM, UOP_IP } from '../cpu/uops.js'
import { FLAG_DF } from '../isa/flags.js'
import { SEG_ES, SEG_FS } from '../isa/instruction.js'
import {
  ACCESS_CROSS,
  ACCESS_RUN,
  base,
  gpr,
  type HandlerBuilder,
  REMAINING,
  RIP,
  remaining,
  tlbEntry,
  WIDTHS,
  type Width,
} from './threaded-builder.js'
import { goTo, LINK_STRING, TARGETS } from './threaded-handlers-control.js'
import type { HandlerRegistry } from './threaded-registry.js'
import {
  branch,
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  label,
  loop,
  select,
  setLocal,
} from './wasm-emitter.js'
import { f64 } from './wasm-floats.js'

const RAX = gpr(0)
const RCX = gpr(1)
const RSI = gpr(6)
const RDI = gpr(7)

/** Variant: address size 0–2, repeat prefix 0–2. */
export function stringVariant(size: number, repeat: number): number {
  return size * 3 + repeat
}

type Operation = 'MOVS' | 'CMPS' | 'STOS' | 'LODS' | 'SCAS'

function readIndex(size: number, register: number): Code {
  return size === 0 ? i64.load16U(base, register) : size === 1 ? i64.load32U(base, register) : i64.load(base, register)
}

function writeIndex(size: number, register: number, value: Code): Code {
  if (size === 0) return i64.store16(base, value, register)
  return i64.store(base, size === 1 ? i64.and(value, i64.const(0xffffffff)) : value, register)
}

/** One side of the operation: an offset register in a segment. */
class Side {
  readonly offset: number
  readonly linear: number
  readonly place: number
  /** Bytes from `offset` to the end of what the segment allows, as an i64 expression; undefined without a limit. */
  readonly room: Code | undefined
  readonly find: Code

  constructor(
    g: HandlerBuilder,
    size: number,
    register: number,
    segment: Code,
    extraSegment: boolean,
    bytes: number,
    write: boolean,
  ) {
    this.offset = g.local(I64)
    this.linear = g.local(I64)
    this.place = g.local(I32)
    const setOffset = setLocal(this.offset, readIndex(size, register))
    if (size === 2) {
      // 64-bit code: only FS and GS have a base.
      const withBase = extraSegment
        ? setLocal(this.linear, getLocal(this.offset))
        : setLocal(
            this.linear,
            i64.add(
              getLocal(this.offset),
              select(
                i32.geU(
                  i32.and(g.field32(UOP_EXT), i32.const(EXT_SEG_MASK << EXT_SEG_SHIFT)),
                  i32.const(SEG_FS << EXT_SEG_SHIFT),
                ),
                i64.load(segment, OFF_SEG + SEG_BASE),
                i64.const(0),
              ),
            ),
          )
      this.room = undefined
      this.find = [setOffset, withBase, g.translate(this.linear, this.place, bytes, write, ACCESS_RUN | ACCESS_CROSS)]
      return
    }
    const limit = i64.load(segment, OFF_SEG + (write ? SEG_WRITE_LIMIT : SEG_READ_LIMIT))
    const highest = size === 0 ? select(i64.ltS(limit, i64.const(0xffff)), limit, i64.const(0xffff)) : limit
    this.room = i64.sub(i64.add(highest, i64.const(1)), getLocal(this.offset))
    this.find = [
      setOffset,
      g.throughSegment(segment, getLocal(this.offset), this.linear, bytes, write),
      g.translate(this.linear, this.place, bytes, write, ACCESS_RUN | ACCESS_CROSS),
    ]
  }
}

function defineOne(
  registry: HandlerRegistry,
  kind: number,
  name: Operation,
  w: Width,
  size: number,
  repeat: number,
): void {
  const build = (g: HandlerBuilder): Code => {
    const compares = name === 'CMPS' || name === 'SCAS'
    const again = label()
    const step = g.local(I64)
    const count = g.local(I64)
    const elements = g.local(I64)
    const es = i32.add(base, i32.const(SEG_ES * SEG_STRIDE))
    const source =
      name === 'MOVS' || name === 'CMPS' || name === 'LODS'
        ? new Side(g, size, RSI, g.segment(), false, w.bytes, false)
        : undefined
    const target = name === 'LODS' ? undefined : new Side(g, size, RDI, es, true, w.bytes, !compares)
    // 64-bit addressing exists in 64-bit code only, and nothing else is compiled there; elsewhere EIP wraps at 4 GiB.
    const finish = goTo(g, size === 2 ? TARGETS.W64 : TARGETS.W32, g.field64(UOP_IMM), LINK_STRING)

    const down = i64.ltS(getLocal(step), i64.const(0))
    const advance = (side: Side | undefined, register: number): Code =>
      side
        ? writeIndex(size, register, i64.add(getLocal(side.offset), i64.mul(getLocal(step), getLocal(elements))))
        : []
    const bulk = repeat && !compares && name !== 'LODS' ? bulkCount(g, w, source, target!, down, count, elements) : []
    const many = i64.gtU(getLocal(elements), i64.const(1))
    const length = i32.shl(i32.wrap(getLocal(elements)), i32.const(w.index))
    // Read before the target is found: the walk for that may set bits in page tables, and those may be the source.
    const [readSource, read] = source && target ? g.keep(w.ops.type, w.load(getLocal(source.place))) : [[], []]

    // One that lies across pages was made beside them.
    const commit = w.bytes > 1 ? call(g.dispatch.shared.commit, base, getLocal(target?.place ?? 0)) : []
    let work: Code
    if (name === 'MOVS') {
      // The first element is what was read before the target was found; the others follow, or precede it.
      const from = (place: Code): Code => i32.add(place, select(down, i32.const(0), i32.const(w.bytes)))
      const rest = call(
        g.dispatch.shared.move,
        from(getLocal(target!.place)),
        from(getLocal(source!.place)),
        i32.sub(length, i32.const(w.bytes)),
        down,
      )
      work = [w.store(getLocal(target!.place), read), repeat ? ifElse(many, rest, commit) : commit]
    } else if (name === 'STOS') {
      const one = [w.store(getLocal(target!.place), w.load(base, RAX)), commit]
      const lowest = i32.sub(getLocal(target!.place), select(down, i32.sub(length, i32.const(w.bytes)), i32.const(0)))
      work = repeat ? ifElse(many, call(g.dispatch.shared.fill, lowest, length, pattern(w)), one) : one
    } else if (name === 'LODS') {
      work = w.storeSlot(base, w.load(getLocal(source!.place)), RAX)
    } else {
      const [setX, x] = name === 'CMPS' ? [[], read] : g.keep(w.ops.type, w.load(base, RAX))
      const [setY, y] = g.keep(w.ops.type, w.load(getLocal(target!.place)))
      const [setR, r] = g.keep(w.ops.type, w.ops.sub(x, y))
      work = [setX, setY, setR, g.arithmeticFlags(w, 'sub', x, y, r)]
    }
    const iteration: Code = [
      source?.find ?? [],
      readSource,
      target?.find ?? [],
      setLocal(elements, i64.const(1)),
      bulk,
      work,
      advance(source, RSI),
      advance(target, RDI),
    ]
    const setStep = setLocal(
      step,
      select(i32.and(i32.load(base, OFF_FLAGS_REST), i32.const(FLAG_DF)), i64.const(-w.bytes), i64.const(w.bytes)),
    )
    if (!repeat) return [setStep, iteration, finish]
    const wanted = g.condition(repeat === 1 ? 4 : 5)
    return [
      setStep,
      setLocal(count, readIndex(size, RCX)),
      ifElse(i64.ne(getLocal(count), i64.const(0)), [
        loop(again, [
          iteration,
          setLocal(count, i64.sub(getLocal(count), getLocal(elements))),
          writeIndex(size, RCX, getLocal(count)),
          // The first element of this turn was paid for.
          setLocal(REMAINING, i32.sub(remaining, i32.sub(i32.wrap(getLocal(elements)), i32.const(1)))),
          ifElse(i32.and(i64.ne(getLocal(count), i64.const(0)), compares ? wanted : i32.const(1)), [
            ifElse(i32.leS(remaining, i32.const(0)), [
              setLocal(RIP, i64.add(g.rip, i64.extendU(g.field16(UOP_IP)))),
              g.dispatch.tail('budget'),
            ]),
            setLocal(REMAINING, i32.sub(remaining, i32.const(1))),
            branch(again),
          ]),
        ]),
      ]),
      finish,
    ]
  }
  registry.define(kind, w.index, stringVariant(size, repeat), `${name}${w.bits}@${16 << size}r${repeat}`, build, true)
}

/**
 * elements ← how many can go at once: all that rCX, the budget, both pages and both segments allow; 1 for one across pages, and where elements overlap
 * their own source.
 */
function bulkCount(
  g: HandlerBuilder,
  w: Width,
  source: Side | undefined,
  target: Side,
  down: Code,
  count: number,
  elements: number,
): Code {
  const n = getLocal(elements)
  const atMost = (limit: Code): Code => {
    const [set, value] = g.keep(I64, limit)
    return [set, ifElse(i64.gtU(n, value), setLocal(elements, value))]
  }
  /** By the number of bytes before an element where it goes down, by that of those from its start on where it goes up. */
  const within = (before: Code, from: Code): Code =>
    atMost(i64.shrU(select(down, i64.add(before, i64.const(w.bytes)), from), i64.const(w.index)))
  const inPage = (side: Side): Code => i64.and(getLocal(side.linear), i64.const(4095))
  const sides = source ? [source, target] : [target]
  const code: Code[] = [
    setLocal(elements, getLocal(count)),
    atMost(i64.add(i64.extendU(remaining), i64.const(1))),
    sides.map((side) => within(inPage(side), i64.sub(i64.const(4096), inPage(side)))),
    sides.map((side) => (side.room ? within(getLocal(side.offset), side.room) : [])),
  ]
  const single: Code[] = sides.map((side) => i64.gtU(inPage(side), i64.const(4096 - w.bytes)))
  // One that reaches beyond a 16-bit offset's end, in a segment that goes on there.
  single.push(i64.eqz(n))
  if (source) {
    const ahead = select(
      down,
      i32.sub(getLocal(source.place), getLocal(target.place)),
      i32.sub(getLocal(target.place), getLocal(source.place)),
    )
    if (w.index > 0) single.push(i32.ltU(i32.sub(ahead, i32.const(1)), i32.const(w.bytes - 1)))
    // Filling the target's TLB entry may have evicted the source's: then every element takes both misses.
    single.push(
      i32.eqz(
        f64.eq(
          f64.load(tlbEntry(i32.wrap(getLocal(source.linear)), DTLB_ENTRIES), OFF_DTLB + TLB_LINEAR),
          f64.fromI64(i64.and(getLocal(source.linear), i64.const(-4096))),
        ),
      ),
    )
  }
  return [code, ifElse(single.reduce(i32.or), setLocal(elements, i64.const(1)))]
}

/** Eight bytes of rAX at a width. */
function pattern(w: Width): Code {
  if (w.index === 3) return i64.load(base, RAX)
  const ones = [0x0101010101010101n, 0x0001000100010001n, 0x0000000100000001n][w.index]!
  return i64.mul(i64.extendU(w.load(base, RAX)), i64.const(ones))
}

/** Adds all handlers of this file. */
export function defineStrings(registry: HandlerRegistry): void {
  const kinds: readonly [Operation, number][] = [
    ['MOVS', UOP.MOVS],
    ['CMPS', UOP.CMPS],
    ['STOS', UOP.STOS],
    ['LODS', UOP.LODS],
    ['SCAS', UOP.SCAS],
  ]
  for (const [name, kind] of kinds)
    for (const w of WIDTHS)
      for (let size = 0; size < 3; size++)
        for (let repeat = 0; repeat < 3; repeat++) defineOne(registry, kind, name, w, size, repeat)
}
