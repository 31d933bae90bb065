/**
 * Handlers of the threaded engine for MMX and SSE: moves of vectors, and the operations of cpu/simd.ts that string functions, copies, hashes and
 * kernels consist of. They use WebAssembly's 128-bit vectors; on a host without them only the state changes of MMX remain, everything else bails.
 *
 * They rely on what the lifter promises: an operation that keeps part of its destination has b = a.
 */

import { AUX_CF, AUX_PARITY_SHIFT, AUX_PO } from '../cpu/flags.js'
import { OFF_FSW, OFF_FTAG, OFF_TOP, OFF_XMM } from '../cpu/layout.js'
import { simdNumber } from '../cpu/simd.js'
import { UOP, UOP_A, UOP_B, UOP_C, UOP_IMM, UOP_SIZE } from '../cpu/uops.js'
import { ACCESS_CROSS, base, FORM_COUNT, type Form, type HandlerBuilder, WIDTHS } from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import {
  type Binary,
  type Code,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  setLocal,
  type Unary,
  V128,
} from './wasm-emitter.js'
import { i8x16, i16x8, i32x4, i64x2, type LaneOps, v128 } from './wasm-vectors.js'

/** Added to the form of a LOAD_V or STORE_V whose address must be a multiple of 16. */
export const ALIGNED = 8
/** Added to the form of a LOAD_V of 16 bytes to a temporary: the operation of its own instruction follows, and reads it as c. */
export const TEMPORARY = 16

/** True when this host's WebAssembly has 128-bit vectors. */
export function hasVectors(): boolean {
  // (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt))
  const probe = [
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0, 10, 10, 1, 8, 0, 0x41, 0, 0xfd, 15, 0xfd,
    98, 0x0b,
  ]
  return WebAssembly.validate(Uint8Array.from(probe))
}

/** Name of the handler of a vector access: width code 0 (16 bytes) to 3; form, with {@link ALIGNED} and {@link TEMPORARY}. */
export function vectorName(kind: 'LOAD_V' | 'STORE_V', w: number, form: number): string {
  return `${kind}${w === 0 ? 128 : 8 << w}@${form & 7}${form & ALIGNED ? 'a' : ''}${form & TEMPORARY ? 't' : ''}`
}

/** Name of the handler of an operation. */
export function simdName(name: string): string {
  return `SIMD.${name}`
}

// --- memory -------------------------------------------------------------------------------------------------------

/** Finds a 16-byte operand; a misaligned one bails where that faults. */
function operand16(g: HandlerBuilder, form: Form, aligned: boolean, write: boolean): [Code, Code] {
  const linear = g.local(I64)
  const place = g.local(I32)
  return [
    [
      g.address(form, linear, 16, write),
      aligned ? g.bailIf(i32.and(i32.wrap(getLocal(linear)), i32.const(15))) : [],
      g.translate(linear, place, 16, write, write || aligned ? 0 : ACCESS_CROSS),
    ],
    getLocal(place),
  ]
}

function defineAccesses(registry: HandlerRegistry): void {
  for (let f = 0; f < FORM_COUNT; f++) {
    const form = f as Form
    for (const aligned of [false, true]) {
      const variant = form | (aligned ? ALIGNED : 0)
      for (const temporary of [0, TEMPORARY]) {
        registry.define(UOP.LOAD_V, 0, variant | temporary, vectorName('LOAD_V', 0, variant | temporary), (g) => {
          const [find, place] = operand16(g, form, aligned, false)
          return [find, v128.store(g.slot(UOP_A), v128.load(place))]
        })
      }
      registry.define(UOP.STORE_V, 0, variant, vectorName('STORE_V', 0, variant), (g) => {
        const [find, place] = operand16(g, form, aligned, true)
        return [find, v128.store(place, v128.load(g.slot(UOP_A)))]
      })
    }
    for (const w of WIDTHS) {
      if (w.index === 0) continue
      registry.define(UOP.LOAD_V, w.index, form, vectorName('LOAD_V', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, false)
        if (w.index === 3) return [find, v128.store(g.slot(UOP_A), v128.load64(place))]
        if (w.index === 2) return [find, v128.store(g.slot(UOP_A), v128.load32(place))]
        const word = i64.extendU(w.load(place))
        return [find, i64.store(g.slot(UOP_A), word), i64.store(g.slot(UOP_A), i64.const(0), 8)]
      })
      registry.define(UOP.STORE_V, w.index, form, vectorName('STORE_V', w.index, form), (g) => {
        const [find, place] = g.operand(form, w.bytes, true)
        return [find, w.store(place, g.read(w, UOP_A))]
      })
    }
  }
}

/** What string functions, hashes and parity computations do with vectors in memory, as one step with the load. */
export const FROM_MEMORY: Readonly<Record<string, Binary>> = {
  pcmpeqb: i8x16.eq,
  pcmpeqd: i32x4.eq,
  pminub: i8x16.minU,
  psubb: i8x16.sub,
  pand: v128.and,
  por: v128.or,
  pxor: v128.xor,
  paddd: i32x4.add,
  paddq: i64x2.add,
}

/** A {@link TEMPORARY} load and a ← op(b, the temporary), without the way through the temporary: nothing else reads it. */
export function loadedOperation(g: HandlerBuilder, form: Form, aligned: boolean, op: Binary): Code {
  const start = g.at
  const [find, place] = operand16(g, form, aligned, false)
  g.at = start + UOP_SIZE
  const compute = v128.store(g.slot(UOP_A), op(v128.load(g.slot(UOP_B)), v128.load(place)))
  g.at = start
  return [find, compute]
}

// --- the shapes of operations -------------------------------------------------------------------------------------

/** Code of a whole operation. */
type Operation = (g: HandlerBuilder) => Code

/** a ← compute(b, c); both may be used several times. */
function both(compute: (b: Code, c: Code) => Code): Operation {
  return (g) => {
    const b = g.local(V128)
    const c = g.local(V128)
    return [
      setLocal(b, v128.load(g.slot(UOP_B))),
      setLocal(c, v128.load(g.slot(UOP_C))),
      v128.store(g.slot(UOP_A), compute(getLocal(b), getLocal(c))),
    ]
  }
}

/** a ← op(b, c) */
function binary(op: Binary): Operation {
  return (g) => v128.store(g.slot(UOP_A), op(v128.load(g.slot(UOP_B)), v128.load(g.slot(UOP_C))))
}

/** a ← op(c) */
function unary(op: Unary): Operation {
  return (g) => v128.store(g.slot(UOP_A), op(v128.load(g.slot(UOP_C))))
}

/** A general register ← an i32 from c. */
function toGeneral(compute: (c: Code, g: HandlerBuilder) => Code): Operation {
  return (g) => i64.store(g.slot(UOP_A), i64.extendU(compute(v128.load(g.slot(UOP_C)), g)))
}

const ZERO: Code = v128.const(new Array(16).fill(0))

/** Bytes of b and c in the order that `at` gives. */
function shuffled(at: (n: number) => number): Operation {
  const order = Array.from({ length: 16 }, (_, n) => at(n))
  return binary((b, c) => v128.shuffle(b, c, order))
}

/** Interleaves lanes of `size` bytes. */
function interleaved(size: number, high: boolean): Operation {
  return shuffled((n) => {
    const lane = Math.floor(n / size)
    return (lane & 1) * 16 + (high ? 8 : 0) + (lane >> 1) * size + (n % size)
  })
}

/** The lanes of `size` bytes of b and then of c whose number is even or odd. */
function alternate(b: Code, c: Code, size: number, odd: number): Code {
  const order = Array.from({ length: 16 }, (_, n) => (Math.floor(n / size) * 2 + odd) * size + (n % size))
  return v128.shuffle(b, c, order)
}

/** The upper words of the products of words. */
function highWords(low: Binary, high: Binary): Operation {
  return both((b, c) => alternate(low(b, c), high(b, c), 2, 1))
}

/** Pairs of neighbours. */
function horizontal(op: Binary, size: number): Operation {
  return both((b, c) => op(alternate(b, c, size, 0), alternate(b, c, size, 1)))
}

/** Every lane of b negated, cleared or kept as c's is negative, zero or positive. */
function signed(lanes: LaneOps): Operation {
  return both((b, c) => {
    const negative = lanes.shrS(c, i32.const(lanes.size - 1))
    return v128.andNot(lanes.sub(v128.xor(b, negative), negative), lanes.eq(c, ZERO))
  })
}

/** By a count in c's low 64 bits. */
function shiftBySlot(lanes: LaneOps, op: Binary, arithmetic: boolean): Operation {
  return (g) => {
    const count = g.local(I64)
    const by = (n: Code): Code => v128.store(g.slot(UOP_A), op(v128.load(g.slot(UOP_B)), n))
    return [
      setLocal(count, i64.load(g.slot(UOP_C))),
      ifElse(
        i64.ltU(getLocal(count), i64.const(lanes.size)),
        by(i32.wrap(getLocal(count))),
        arithmetic ? by(i32.const(lanes.size - 1)) : v128.store(g.slot(UOP_A), ZERO),
      ),
    ]
  }
}

/** By the immediate. */
function shiftByImmediate(lanes: LaneOps, op: Binary, arithmetic: boolean): Operation {
  return (g) => {
    const by = (n: Code): Code => v128.store(g.slot(UOP_A), op(v128.load(g.slot(UOP_B)), n))
    return ifElse(
      i32.ltU(g.field32(UOP_IMM), i32.const(lanes.size)),
      by(g.field32(UOP_IMM)),
      arithmetic ? by(i32.const(lanes.size - 1)) : v128.store(g.slot(UOP_A), ZERO),
    )
  }
}

/** Address of the lane of `size` bytes that bits `bits` of the immediate, from bit `from` on, choose in the slot of `field`. */
function chosen(g: HandlerBuilder, field: number, from: number, bits: number, size: number): Code {
  const shift = Math.log2(size) - from
  const imm = g.field32(UOP_IMM)
  const moved = shift >= 0 ? i32.shl(imm, i32.const(shift)) : i32.shrU(imm, i32.const(-shift))
  return i32.add(g.slot(field), i32.and(moved, i32.const(((1 << bits) - 1) * size)))
}

/** Four lanes chosen by two bits of the immediate each: all are read before the first is written. */
function fourChosen(size: 2 | 4, from: number, fields: readonly [number, number, number, number]): Operation {
  return (g) => {
    const load = size === 4 ? i32.load : i32.load16U
    const store = size === 4 ? i32.store : i32.store16
    const lanes = fields.map((field, n) => ({
      local: g.local(I32),
      value: load(chosen(g, field, 2 * n, 2, size), from),
      n,
    }))
    return [
      lanes.map(({ local, value }) => setLocal(local, value)),
      // The words that are not shuffled come from the source as well.
      size === 2 ? v128.store(g.slot(UOP_A), v128.load(g.slot(UOP_C))) : [],
      lanes.map(({ local, n }) => store(g.slot(UOP_A), getLocal(local), from + n * size)),
    ]
  }
}

/** Bits of c where the lanes of XMM0 have their sign set. */
function blendByXmm0(lanes: LaneOps): Operation {
  return (g) =>
    v128.store(
      g.slot(UOP_A),
      v128.select(
        v128.load(g.slot(UOP_C)),
        v128.load(g.slot(UOP_B)),
        lanes.shrS(v128.load(base, OFF_XMM), i32.const(lanes.size - 1)),
      ),
    )
}

const psadbw = both((b, c) => {
  const difference = i8x16.sub(i8x16.maxU(b, c), i8x16.minU(b, c))
  // Sums of four bytes fit a lane of 32 bits; the two of each half are added.
  return v128.and(
    foldHalves(i32x4.pairsU(i16x8.pairsU(difference))),
    v128.const([255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]),
  )
})

/** Adds the upper 32-bit lane of each half to the lower one. */
function foldHalves(sums: Code): Code {
  return i32x4.add(sums, v128.shuffle(sums, sums, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]))
}

const pmaddubsw = both((b, c) => {
  // A product of an unsigned and a signed byte fits 16 bits.
  const low = i16x8.mul(i16x8.extendLowU(b), i16x8.extendLowS(c))
  const high = i16x8.mul(i16x8.extendHighU(b), i16x8.extendHighS(c))
  return i16x8.addSatS(alternate(low, high, 2, 0), alternate(low, high, 2, 1))
})

const pmulhrsw = both((b, c) => {
  const rounded = (product: Code): Code =>
    i32x4.shrS(i32x4.add(i32x4.shrS(product, i32.const(14)), i32x4.splat(i32.const(1))), i32.const(1))
  return alternate(rounded(i32x4.multiplyLowS(b, c)), rounded(i32x4.multiplyHighS(b, c)), 2, 0)
})

const ptest: Operation = (g) => {
  const zero = g.local(I32)
  const b = v128.load(g.slot(UOP_B))
  const c = v128.load(g.slot(UOP_C))
  return [
    setLocal(zero, i32.eqz(v128.anyTrue(v128.and(b, c)))),
    g.flagResult(WIDTHS[2], i32.eqz(getLocal(zero))),
    // SF, OF, AF and PF are 0: the result has one bit or none, and PF of none would be 1.
    g.flagAux(
      i32.or(
        i32.shl(getLocal(zero), i32.const(AUX_PARITY_SHIFT)),
        i32.mul(i32.eqz(v128.anyTrue(v128.andNot(c, b))), i32.const(AUX_CF | AUX_PO)),
      ),
    ),
  ]
}

const low64 = i64.load

// biome-ignore format: one operation a line reads better
const OPERATIONS: Readonly<Record<string, Operation>> = {
  'move.16': unary((c) => c),
  'move.8': (g) => i64.store(g.slot(UOP_A), low64(g.slot(UOP_C))),
  'move.4': (g) => i32.store(g.slot(UOP_A), i32.load(g.slot(UOP_C))),
  'move.8z': (g) => v128.store(g.slot(UOP_A), v128.load64(g.slot(UOP_C))),
  'move.4z': (g) => v128.store(g.slot(UOP_A), v128.load32(g.slot(UOP_C))),
  movhlps: (g) => i64.store(g.slot(UOP_A), low64(g.slot(UOP_C), 8)),
  movlhps: (g) => i64.store(g.slot(UOP_A), low64(g.slot(UOP_C)), 8),
  movddup: (g) => v128.store(g.slot(UOP_A), v128.load64Splat(g.slot(UOP_C))),
  movsldup: shuffled((n) => 16 + (n & 11)),
  movshdup: shuffled((n) => 16 + (n | 4)),

  pand: binary(v128.and),
  pandn: binary((b, c) => v128.andNot(c, b)),
  por: binary(v128.or),
  pxor: binary(v128.xor),
  ptest,

  paddb: binary(i8x16.add),
  paddw: binary(i16x8.add),
  paddd: binary(i32x4.add),
  paddq: binary(i64x2.add),
  psubb: binary(i8x16.sub),
  psubw: binary(i16x8.sub),
  psubd: binary(i32x4.sub),
  psubq: binary(i64x2.sub),
  paddsb: binary(i8x16.addSatS),
  paddsw: binary(i16x8.addSatS),
  paddusb: binary(i8x16.addSatU),
  paddusw: binary(i16x8.addSatU),
  psubsb: binary(i8x16.subSatS),
  psubsw: binary(i16x8.subSatS),
  psubusb: binary(i8x16.subSatU),
  psubusw: binary(i16x8.subSatU),
  pavgb: binary(i8x16.averageU),
  pavgw: binary(i16x8.averageU),
  pcmpeqb: binary(i8x16.eq),
  pcmpeqw: binary(i16x8.eq),
  pcmpeqd: binary(i32x4.eq),
  pcmpeqq: binary(i64x2.eq),
  pcmpgtb: binary(i8x16.gtS),
  pcmpgtw: binary(i16x8.gtS),
  pcmpgtd: binary(i32x4.gtS),
  pcmpgtq: binary(i64x2.gtS),
  pminsb: binary(i8x16.minS),
  pminub: binary(i8x16.minU),
  pmaxsb: binary(i8x16.maxS),
  pmaxub: binary(i8x16.maxU),
  pminsw: binary(i16x8.minS),
  pminuw: binary(i16x8.minU),
  pmaxsw: binary(i16x8.maxS),
  pmaxuw: binary(i16x8.maxU),
  pminsd: binary(i32x4.minS),
  pminud: binary(i32x4.minU),
  pmaxsd: binary(i32x4.maxS),
  pmaxud: binary(i32x4.maxU),
  pabsb: unary(i8x16.abs),
  pabsw: unary(i16x8.abs),
  pabsd: unary(i32x4.abs),
  psignb: signed(i8x16),
  psignw: signed(i16x8),
  psignd: signed(i32x4),
  pmullw: binary(i16x8.mul),
  pmulld: binary(i32x4.mul),
  pmulhw: highWords(i32x4.multiplyLowS, i32x4.multiplyHighS),
  pmulhuw: highWords(i32x4.multiplyLowU, i32x4.multiplyHighU),
  pmulhrsw,
  pmaddwd: binary(i32x4.dot),
  pmaddubsw,
  pmuludq: both((b, c) => i64x2.multiplyLowU(alternate(b, b, 4, 0), alternate(c, c, 4, 0))),
  pmuldq: both((b, c) => i64x2.multiplyLowS(alternate(b, b, 4, 0), alternate(c, c, 4, 0))),
  psadbw,
  phaddw: horizontal(i16x8.add, 2),
  phaddd: horizontal(i32x4.add, 4),
  phaddsw: horizontal(i16x8.addSatS, 2),
  phsubw: horizontal(i16x8.sub, 2),
  phsubd: horizontal(i32x4.sub, 4),
  phsubsw: horizontal(i16x8.subSatS, 2),

  packsswb: binary(i8x16.narrowS),
  packuswb: binary(i8x16.narrowU),
  packssdw: binary(i16x8.narrowS),
  packusdw: binary(i16x8.narrowU),
  punpcklbw: interleaved(1, false),
  punpcklwd: interleaved(2, false),
  punpckldq: interleaved(4, false),
  punpcklqdq: interleaved(8, false),
  punpckhbw: interleaved(1, true),
  punpckhwd: interleaved(2, true),
  punpckhdq: interleaved(4, true),
  punpckhqdq: interleaved(8, true),
  pshufb: both((b, c) => i8x16.swizzle(b, v128.and(c, i8x16.splat(i32.const(0x8f))))),
  pshufd: fourChosen(4, 0, [UOP_C, UOP_C, UOP_C, UOP_C]),
  shufps: fourChosen(4, 0, [UOP_B, UOP_B, UOP_C, UOP_C]),
  pshuflw: fourChosen(2, 0, [UOP_C, UOP_C, UOP_C, UOP_C]),
  pshufhw: fourChosen(2, 8, [UOP_C, UOP_C, UOP_C, UOP_C]),
  shufpd: (g) => {
    const [setLow, low] = g.keep(I64, i64.load(chosen(g, UOP_B, 0, 1, 8)))
    const [setHigh, high] = g.keep(I64, i64.load(chosen(g, UOP_C, 1, 1, 8)))
    return [setLow, setHigh, i64.store(g.slot(UOP_A), low), i64.store(g.slot(UOP_A), high, 8)]
  },
  pblendvb: blendByXmm0(i8x16),
  blendvps: blendByXmm0(i32x4),
  blendvpd: blendByXmm0(i64x2),

  pmovmskb: toGeneral(i8x16.bitmask),
  movmskps: toGeneral(i32x4.bitmask),
  movmskpd: toGeneral(i64x2.bitmask),
  pinsrb: (g) => i32.store8(chosen(g, UOP_A, 0, 4, 1), i32.load8U(g.slot(UOP_C))),
  pinsrw: (g) => i32.store16(chosen(g, UOP_A, 0, 3, 2), i32.load16U(g.slot(UOP_C))),
  pinsrd: (g) => i32.store(chosen(g, UOP_A, 0, 2, 4), i32.load(g.slot(UOP_C))),
  pinsrq: (g) => i64.store(chosen(g, UOP_A, 0, 1, 8), i64.load(g.slot(UOP_C))),
  pextrb: (g) => i64.store(g.slot(UOP_A), i64.extendU(i32.load8U(chosen(g, UOP_C, 0, 4, 1)))),
  pextrw: (g) => i64.store(g.slot(UOP_A), i64.extendU(i32.load16U(chosen(g, UOP_C, 0, 3, 2)))),
  pextrd: (g) => i64.store(g.slot(UOP_A), i64.extendU(i32.load(chosen(g, UOP_C, 0, 2, 4)))),
  pextrq: (g) => i64.store(g.slot(UOP_A), i64.load(chosen(g, UOP_C, 0, 1, 8))),

  pmovsxbw: unary(i16x8.extendLowS),
  pmovsxbd: unary((c) => i32x4.extendLowS(i16x8.extendLowS(c))),
  pmovsxbq: unary((c) => i64x2.extendLowS(i32x4.extendLowS(i16x8.extendLowS(c)))),
  pmovsxwd: unary(i32x4.extendLowS),
  pmovsxwq: unary((c) => i64x2.extendLowS(i32x4.extendLowS(c))),
  pmovsxdq: unary(i64x2.extendLowS),
  pmovzxbw: unary(i16x8.extendLowU),
  pmovzxbd: unary((c) => i32x4.extendLowU(i16x8.extendLowU(c))),
  pmovzxbq: unary((c) => i64x2.extendLowU(i32x4.extendLowU(i16x8.extendLowU(c)))),
  pmovzxwd: unary(i32x4.extendLowU),
  pmovzxwq: unary((c) => i64x2.extendLowU(i32x4.extendLowU(c))),
  pmovzxdq: unary(i64x2.extendLowU),
}

function defineShifts(registry: HandlerRegistry): void {
  for (const [letter, lanes] of [
    ['w', i16x8],
    ['d', i32x4],
    ['q', i64x2],
  ] as const) {
    for (const [stem, op] of [
      ['psll', lanes.shl],
      ['psrl', lanes.shrU],
      ['psra', lanes.shrS],
    ] as const) {
      const arithmetic = stem === 'psra'
      if (arithmetic && letter === 'q') continue
      define(registry, `${stem}${letter}`, shiftBySlot(lanes, op, arithmetic))
      define(registry, `${stem}${letter}.imm`, shiftByImmediate(lanes, op, arithmetic))
    }
  }
  // By whole bytes: the order of a shuffle is a constant, so there is a handler for each distance.
  const zeroAnd = (order: (n: number) => number): Operation => {
    const bytes = Array.from({ length: 16 }, (_, n) => order(n))
    return (g) => v128.store(g.slot(UOP_A), v128.shuffle(v128.load(g.slot(UOP_B)), ZERO, bytes))
  }
  for (let by = 1; by < 16; by++) {
    define(
      registry,
      'pslldq.imm',
      zeroAnd((n) => (n < by ? 16 : n - by)),
      by,
    )
    define(
      registry,
      'psrldq.imm',
      zeroAnd((n) => (n + by > 15 ? 16 : n + by)),
      by,
    )
    define(
      registry,
      'palignr',
      shuffled((n) => (n + by < 16 ? 16 + n + by : n + by - 16)),
      by,
    )
  }
}

function define(registry: HandlerRegistry, name: string, body: Operation, immediate?: number): void {
  const handler = simdName(immediate === undefined ? name : `${name}.${immediate}`)
  registry.defineSimd(simdNumber(name), handler, body, immediate)
}

/** Adds what needs no vectors: the state changes around every MMX instruction. */
export function defineVectorState(registry: HandlerRegistry): void {
  define(registry, 'mmx-check', (g) => g.bailIf(i32.and(i32.load16U(base, OFF_FSW), i32.const(0x80))))
  registry.mayBail(simdNumber('mmx-check'))
  define(registry, 'mmx-done', (g) => [
    i32.store8(base, i32.const(0), OFF_TOP),
    i32.store8(base, i32.const(0xff), OFF_FTAG),
    ifElse(g.field16(UOP_A), i64.store(g.slot(UOP_A), i64.const(0xffff), 8)),
  ])
  define(registry, 'emms', () => [i32.store8(base, i32.const(0), OFF_TOP), i32.store8(base, i32.const(0), OFF_FTAG)])
  define(registry, 'move.mm', (g) => i64.store(g.slot(UOP_A), i64.load(g.slot(UOP_C))))
  define(registry, 'move.4z.mm', (g) => i64.store(g.slot(UOP_A), i64.load32U(g.slot(UOP_C))))
}

/** Adds what needs vectors. */
export function defineSimd(registry: HandlerRegistry): void {
  defineAccesses(registry)
  for (const [name, body] of Object.entries(OPERATIONS)) define(registry, name, body)
  defineShifts(registry)
}
