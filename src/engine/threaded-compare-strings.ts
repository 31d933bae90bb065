/**
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM with WebAssembly's vectors: all forms of cpu/simd-string.ts, which is the definition, in a function.
 * Source: Intel SDM Vol. 1, "Operand Setup and Result for PCMPESTRI / …"; Vol. 2, "Imm8 Control Byte Operation".
 */

import { AUX_CF, AUX_PARITY_SHIFT, AUX_PO } from '../cpu/flags.js'
import { OFF_XMM } from '../cpu/layout.js'
import { simdNumber } from '../cpu/simd.js'
import {
  STRING_AGGREGATION_SHIFT,
  STRING_MASKED,
  STRING_NEGATIVE,
  STRING_OUTPUT,
  STRING_SIGNED,
  STRING_WIDE_LENGTHS,
  STRING_WORDS,
} from '../cpu/simd-string.js'
import { UOP_B, UOP_C, UOP_IMM } from '../cpu/uops.js'
import { base, type HandlerBuilder, WIDTHS } from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import {
  block,
  branch,
  branchIf,
  branchTable,
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
  select,
  setLocal,
  V128,
  type ValueType,
} from './wasm-emitter.js'
import { i8x16, i16x8, v128 } from './wasm-vectors.js'

/** (addresses of the strings, immediate, lengths): the lengths are below 32, the second from bit 8 on, or both together −1 where a zero ends a string. */
export const COMPARE_STRINGS_PARAMS: readonly ValueType[] = [I32, I32, I32, I32]

/** Its result: bits of the elements, whether the second and the first string end before the vector does, and the index. */
const SECOND_ENDS = 16
const FIRST_ENDS = 17
const INDEX_SHIFT = 18

const RAX = 0
const RCX = 1
const RDX = 2
const ZERO: Code = v128.const(new Array(16).fill(0))

/** What depends on the size of elements. */
class Elements {
  readonly count: number
  readonly all: number
  private readonly words: boolean
  private readonly lanes: typeof i8x16 | typeof i16x8

  constructor(words: boolean) {
    this.words = words
    this.count = words ? 8 : 16
    this.all = (1 << this.count) - 1
    this.lanes = words ? i16x8 : i8x16
  }

  eq(a: Code, b: Code): Code {
    return this.lanes.eq(a, b)
  }

  gtS(a: Code, b: Code): Code {
    return this.lanes.gtS(a, b)
  }

  bitmask(a: Code): Code {
    return this.lanes.bitmask(a)
  }

  /** All elements like that with number `n` (and `after` more) of the string at an address, with the bits of `flip` inverted. */
  splat(address: Code, n: Code, after: number, flip?: Code): Code {
    const at = i32.add(address, this.words ? i32.shl(n, i32.const(1)) : n)
    const value = this.words ? i32.load16U(at, 2 * after) : i32.load8U(at, after)
    return this.lanes.splat(flip === undefined ? value : i32.xor(value, flip))
  }

  splatValue(value: Code): Code {
    return this.lanes.splat(value)
  }

  /** Elements before the first zero. */
  length(v: Code): Code {
    return i32.ctz(i32.or(this.bitmask(this.eq(v, ZERO)), i32.const(1 << this.count)))
  }
}

/** The function. */
export function compareStringsBody(locals: Locals): Code {
  const [first, second, imm, lengths] = [0, 1, 2, 3].map(getLocal) as [Code, Code, Code, Code]
  const xLength = locals.add(I32)
  const yLength = locals.add(I32)
  /** Bits of the elements that the strings have. */
  const xValid = locals.add(I32)
  const yValid = locals.add(I32)
  const result = locals.add(I32)
  const all = locals.add(I32)
  const n = locals.add(I32)
  const flip = locals.add(I32)
  const x = locals.add(V128)
  const y = locals.add(V128)
  const found = locals.add(V128)
  const r = getLocal(result)
  const up = (by: number): Code => setLocal(n, i32.add(getLocal(n), i32.const(by)))
  const bits = (length: number): Code => i32.sub(i32.shl(i32.const(1), getLocal(length)), i32.const(1))

  const aggregate = (e: Elements): Code => {
    const done = label()
    const [any, ranges, each, ordered] = [label(), label(), label(), label()] as const
    const anyAgain = label()
    const rangesAgain = label()
    const orderedAgain = label()
    const equalAny: Code = [
      ifElse(getLocal(xLength), [
        loop(anyAgain, [
          setLocal(found, v128.or(getLocal(found), e.eq(getLocal(y), e.splat(first, getLocal(n), 0)))),
          up(1),
          branchIf(anyAgain, i32.ltU(getLocal(n), getLocal(xLength))),
        ]),
      ]),
      setLocal(result, i32.and(e.bitmask(getLocal(found)), getLocal(yValid))),
    ]
    const below = e.gtS(e.splat(first, getLocal(n), 0, getLocal(flip)), getLocal(y))
    const above = e.gtS(getLocal(y), e.splat(first, getLocal(n), 1, getLocal(flip)))
    const inRanges: Code = [
      // Unsigned numbers are compared as signed ones with the upper bit inverted.
      ifElse(i32.eqz(i32.and(imm, i32.const(STRING_SIGNED))), [
        setLocal(flip, i32.const(e.count === 8 ? 0x8000 : 0x80)),
        setLocal(y, v128.xor(getLocal(y), e.splatValue(getLocal(flip)))),
      ]),
      ifElse(i32.gtU(getLocal(xLength), i32.const(1)), [
        loop(rangesAgain, [
          setLocal(found, v128.or(getLocal(found), v128.not(v128.or(below, above)))),
          up(2),
          branchIf(rangesAgain, i32.ltU(i32.add(getLocal(n), i32.const(1)), getLocal(xLength))),
        ]),
      ]),
      setLocal(result, i32.and(e.bitmask(getLocal(found)), getLocal(yValid))),
    ]
    // Beyond the end of both strings elements are equal, beyond the end of one they differ.
    const equalEach: Code = setLocal(
      result,
      i32.or(
        i32.and(i32.and(e.bitmask(e.eq(getLocal(x), getLocal(y))), getLocal(xValid)), getLocal(yValid)),
        i32.and(getLocal(all), i32.xor(i32.or(getLocal(xValid), getLocal(yValid)), i32.const(-1))),
      ),
    )
    // Where element n + j of the second string is element n of the first, for all n that both vectors have.
    const matches = i32.and(e.bitmask(e.eq(getLocal(y), e.splat(first, getLocal(n), 0))), getLocal(yValid))
    const equalOrdered: Code = [
      setLocal(result, getLocal(all)),
      ifElse(getLocal(xLength), [
        loop(orderedAgain, [
          setLocal(
            result,
            i32.and(
              r,
              i32.or(i32.shrU(matches, getLocal(n)), i32.xor(i32.shrU(getLocal(all), getLocal(n)), i32.const(-1))),
            ),
          ),
          up(1),
          branchIf(orderedAgain, i32.ltU(getLocal(n), getLocal(xLength))),
        ]),
      ]),
    ]
    const aggregation = i32.and(i32.shrU(imm, i32.const(STRING_AGGREGATION_SHIFT)), i32.const(3))
    return [
      setLocal(all, i32.const(e.all)),
      ifElse(
        i32.eq(lengths, i32.const(-1)),
        [setLocal(xLength, e.length(getLocal(x))), setLocal(yLength, e.length(getLocal(y)))],
        [setLocal(xLength, i32.and(lengths, i32.const(0xff))), setLocal(yLength, i32.shrU(lengths, i32.const(8)))],
      ),
      setLocal(xValid, bits(xLength)),
      setLocal(yValid, bits(yLength)),
      block(done, [
        block(ordered, [
          block(each, [
            block(ranges, [block(any, branchTable(aggregation, [any, ranges, each], ordered)), equalAny, branch(done)]),
            inRanges,
            branch(done),
          ]),
          equalEach,
          branch(done),
        ]),
        equalOrdered,
      ]),
    ]
  }

  const count = select(i32.and(imm, i32.const(STRING_WORDS)), i32.const(8), i32.const(16))
  return [
    setLocal(x, v128.load(first)),
    setLocal(y, v128.load(second)),
    ifElse(i32.and(imm, i32.const(STRING_WORDS)), aggregate(new Elements(true)), aggregate(new Elements(false))),
    ifElse(
      i32.and(imm, i32.const(STRING_NEGATIVE)),
      setLocal(result, i32.xor(r, select(i32.and(imm, i32.const(STRING_MASKED)), getLocal(yValid), getLocal(all)))),
    ),
    i32.or(
      i32.or(r, i32.shl(i32.ltU(getLocal(yLength), count), i32.const(SECOND_ENDS))),
      i32.or(
        i32.shl(i32.ltU(getLocal(xLength), count), i32.const(FIRST_ENDS)),
        i32.shl(
          // Without a bit the index is the number of elements.
          select(
            i32.and(i32.ne(i32.and(imm, i32.const(STRING_OUTPUT)), i32.const(0)), i32.ne(r, i32.const(0))),
            i32.sub(i32.const(31), i32.clz(r)),
            i32.ctz(i32.or(r, i32.add(getLocal(all), i32.const(1)))),
          ),
          i32.const(INDEX_SHIFT),
        ),
      ),
    ),
  ]
}

/** The magnitude of a register, at most the number of elements. */
function explicitLength(g: HandlerBuilder, register: number): Code {
  const value = g.local(I64)
  const sign = i64.shrS(getLocal(value), i64.const(63))
  const magnitude = i64.sub(i64.xor(getLocal(value), sign), sign)
  const count = i32.sub(i32.const(16), i32.shl(i32.and(g.field32(UOP_IMM), i32.const(STRING_WORDS)), i32.const(3)))
  const result = g.local(I32)
  return [
    ifElse(
      i32.and(g.field32(UOP_IMM), i32.const(STRING_WIDE_LENGTHS)),
      setLocal(value, g.readRegister(WIDTHS[3], register)),
      setLocal(value, i64.extendS(g.readRegister(WIDTHS[2], register))),
    ),
    setLocal(result, count),
    ifElse(i64.ltU(magnitude, i64.extendU(getLocal(result))), setLocal(result, i32.wrap(magnitude))),
    getLocal(result),
  ]
}

function bit(value: Code, from: number, to: number): Code {
  const moved = from > to ? i32.shrU(value, i32.const(from - to)) : i32.shl(value, i32.const(to - from))
  return i32.and(moved, i32.const(1 << to))
}

/** Bits as lanes of ones or zeros. */
function lanesOf(result: Code, words: boolean): Code {
  const order = Array.from({ length: 16 }, (_, n) => (words ? n & 1 : n >> 3))
  const spread = v128.shuffle(i16x8.splat(result), ZERO, order)
  const own = v128.const(Array.from({ length: 16 }, (_, n) => (words ? (n & 1 ? 0 : 1 << (n >> 1)) : 1 << (n & 7))))
  return (words ? i16x8 : i8x16).eq(v128.and(spread, own), own)
}

function comparison(explicit: boolean, index: boolean): (g: HandlerBuilder) => Code {
  return (g) => {
    const imm = g.field32(UOP_IMM)
    const lengths = explicit
      ? i32.or(explicitLength(g, RAX), i32.shl(explicitLength(g, RDX), i32.const(8)))
      : i32.const(-1)
    const [set, result] = g.keep(
      I32,
      call(g.dispatch.shared.compareStrings, g.slot(UOP_B), g.slot(UOP_C), imm, lengths),
    )
    const [setBits, bits] = g.keep(I32, i32.and(result, i32.const(0xffff)))
    const output: Code = index
      ? g.writeRegister(WIDTHS[2], RCX, i32.shrU(result, i32.const(INDEX_SHIFT)))
      : ifElse(
          i32.and(imm, i32.const(STRING_OUTPUT)),
          ifElse(
            i32.and(imm, i32.const(STRING_WORDS)),
            v128.store(base, lanesOf(bits, true), OFF_XMM),
            v128.store(base, lanesOf(bits, false), OFF_XMM),
          ),
          [i64.store(base, i64.extendU(bits), OFF_XMM), i64.store(base, i64.const(0), OFF_XMM + 8)],
        )
    const carry = i32.ne(bits, i32.const(0))
    return [
      set,
      setBits,
      output,
      // ZF is that the second string ends. The result is then 0, and else 1: PF is to be 0 in both cases.
      g.flagResult(WIDTHS[2], i32.eqz(bit(result, SECOND_ENDS, 0))),
      g.flagAux(
        i32.or(
          // OF is the lowest bit, and implies CF: CF xor OF is the one without the other.
          i32.xor(i32.mul(carry, i32.const(AUX_CF | AUX_PO)), bit(result, 0, Math.log2(AUX_PO))),
          i32.or(bit(result, FIRST_ENDS, 0), bit(result, SECOND_ENDS, AUX_PARITY_SHIFT)),
        ),
      ),
    ]
  }
}

/** Adds the handlers of this file. */
export function defineStringComparisons(registry: HandlerRegistry): void {
  for (const [name, explicit, index] of [
    ['pcmpestri', true, true],
    ['pcmpestrm', true, false],
    ['pcmpistri', false, true],
    ['pcmpistrm', false, false],
  ] as const)
    registry.defineSimd(simdNumber(name), `SIMD.${name}`, comparison(explicit, index))
}
