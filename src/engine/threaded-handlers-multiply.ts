/** Handlers of the threaded engine for multiplication, division, bit scans, double shifts, rotates through carry and flag moves. */

import { UOP, UOP_A, UOP_B, UOP_C, UOP_IMM } from '../cpu/uops.js'
import { type HandlerBuilder, WIDTHS, type Width } from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { type Code, I32, I64, i32, i64, ifElse, select } from './wasm-emitter.js'

const RAX = 0
const RDX = 2

/** CF = OF = `overflow` (0 or 1), the rest from the result. */
function overflowFlags(g: HandlerBuilder, w: Width, result: Code, overflow: Code): Code {
  return [g.flagResult(w, result), g.flagAux(i32.shl(overflow, i32.const(31)))]
}

/** High half of the unsigned 128-bit product, and of the signed one. */
function highProduct(g: HandlerBuilder, signed: boolean, x: Code, y: Code): [Code, Code] {
  const mask = i64.const(0xffffffff)
  const high = (v: Code): Code => i64.shrU(v, i64.const(32))
  const low = (v: Code): Code => i64.and(v, mask)
  const [setLl, ll] = g.keep(I64, i64.mul(low(x), low(y)))
  const [setHl, hl] = g.keep(I64, i64.add(i64.mul(high(x), low(y)), high(ll)))
  const [setLh, lh] = g.keep(I64, i64.add(i64.mul(low(x), high(y)), low(hl)))
  let value = i64.add(i64.add(i64.mul(high(x), high(y)), high(hl)), high(lh))
  if (signed) {
    const sign = (v: Code): Code => i64.shrS(v, i64.const(63))
    value = i64.sub(i64.sub(value, i64.and(sign(x), y)), i64.and(sign(y), x))
  }
  const [setR, r] = g.keep(I64, value)
  return [[setLl, setHl, setLh, setR], r]
}

function defineMultiply(registry: HandlerRegistry): void {
  for (const w of WIDTHS) {
    const o = w.ops
    for (const signed of [false, true]) {
      const name = signed ? 'IMUL' : 'MUL'
      registry.define(signed ? UOP.IMUL : UOP.MUL, w.index, 0, `${name}${w.bits}`, (g) => {
        const [setX, x] = g.keep(o.type, signed ? g.readRegisterSigned(w, RAX) : g.readRegister(w, RAX))
        const [setY, y] = g.keep(o.type, signed ? g.readSigned(w, UOP_B) : g.read(w, UOP_B))
        if (w.index === 3) {
          const [setHigh, high] = highProduct(g, signed, x, y)
          const [setLow, low] = g.keep(I64, i64.mul(x, y))
          const overflow = signed ? i64.ne(high, i64.shrS(low, i64.const(63))) : i64.ne(high, i64.const(0))
          return [
            setX,
            setY,
            setHigh,
            setLow,
            overflowFlags(g, w, low, overflow),
            g.writeRegister(w, RAX, low),
            g.writeRegister(w, RDX, high),
          ]
        }
        const extend = signed ? i64.extendS : i64.extendU
        const [setP, p] = g.keep(I64, i64.mul(extend(x), extend(y)))
        const [setLow, low] = g.keep(I32, i32.wrap(p))
        const overflow = signed ? i64.ne(w.signed(low), p) : i64.ne(i64.shrU(p, i64.const(w.bits)), i64.const(0))
        const high = i32.wrap(i64.shrU(p, i64.const(w.bits)))
        return [
          setX,
          setY,
          setP,
          setLow,
          overflowFlags(g, w, low, overflow),
          w.index === 0
            ? g.writeRegister(WIDTHS[1], RAX, low)
            : [g.writeRegister(w, RAX, low), g.writeRegister(w, RDX, high)],
        ]
      })
    }
    for (const immediate of [false, true]) {
      if (w.index === 0) continue
      registry.define(
        immediate ? UOP.IMUL_IMM : UOP.IMUL2,
        w.index,
        0,
        `${immediate ? 'IMUL_IMM' : 'IMUL2.'}${w.bits}`,
        (g) => {
          const [setX, x] = g.keep(o.type, g.readSigned(w, UOP_B))
          const [setY, y] = g.keep(o.type, immediate ? g.immediate(w, true) : g.readSigned(w, UOP_C))
          if (w.index === 3) {
            const [setHigh, high] = highProduct(g, true, x, y)
            const [setLow, low] = g.keep(I64, i64.mul(x, y))
            return [
              setX,
              setY,
              setHigh,
              setLow,
              overflowFlags(g, w, low, i64.ne(high, i64.shrS(low, i64.const(63)))),
              g.write(w, UOP_A, low),
            ]
          }
          const [setP, p] = g.keep(I64, i64.mul(i64.extendS(x), i64.extendS(y)))
          const [setLow, low] = g.keep(I32, i32.wrap(p))
          return [setX, setY, setP, setLow, overflowFlags(g, w, low, i64.ne(w.signed(low), p)), g.write(w, UOP_A, low)]
        },
      )
    }
    defineDivide(registry, w)
  }
}

/** Division. Bails where #DE may be due; at 64 bits also when the dividend needs more than 64 bits. */
function defineDivide(registry: HandlerRegistry, w: Width): void {
  for (const signed of [false, true]) {
    registry.define(signed ? UOP.IDIV : UOP.DIV, w.index, 0, `${signed ? 'IDIV' : 'DIV'}${w.bits}`, (g) => {
      const value = signed ? g.readSigned(w, UOP_B) : g.read(w, UOP_B)
      const [setY, y] = g.keep(I64, w.index === 3 ? value : signed ? i64.extendS(value) : i64.extendU(value))
      const [setX, x] = g.keep(I64, dividend(g, w, signed))
      const checks: Code[] = [g.bailIf(i64.eqz(y))]
      if (w.index === 3) {
        const high = g.readRegister(w, RDX)
        checks.push(g.bailIf(i64.ne(high, signed ? i64.shrS(x, i64.const(63)) : i64.const(0))))
      }
      // The most negative dividend by −1 traps in WebAssembly, and is #DE at every width anyway.
      if (signed) checks.push(g.bailIf(i32.and(i64.eq(y, i64.const(-1)), i64.eq(x, i64.const(-0x8000000000000000n)))))
      const [setQ, q] = g.keep(I64, signed ? i64.divS(x, y) : i64.divU(x, y))
      const [setR, r] = g.keep(I64, signed ? i64.remS(x, y) : i64.remU(x, y))
      if (w.index === 3) return [setY, setX, checks, setQ, setR, g.writeRegister(w, RAX, q), g.writeRegister(w, RDX, r)]
      const fits = signed ? i64.ne(w.signed(i32.wrap(q)), q) : i64.ne(i64.shrU(q, i64.const(w.bits)), i64.const(0))
      const store =
        w.index === 0
          ? [g.writeRegister(w, RAX, i32.wrap(q)), g.writeHigh(RAX, i32.wrap(r))]
          : [g.writeRegister(w, RAX, i32.wrap(q)), g.writeRegister(w, RDX, i32.wrap(r))]
      return [setY, setX, checks, setQ, g.bailIf(fits), setR, store]
    })
  }
}

/** rDX:rAX (AX at width 8, RAX alone at 64) as an i64. */
function dividend(g: HandlerBuilder, w: Width, signed: boolean): Code {
  switch (w.index) {
    case 0:
      return signed ? i64.extendS(g.readRegisterSigned(WIDTHS[1], RAX)) : i64.extendU(g.readRegister(WIDTHS[1], RAX))
    case 1: {
      const both = i32.or(i32.shl(g.readRegister(w, RDX), i32.const(16)), g.readRegister(w, RAX))
      return signed ? i64.extendS(both) : i64.extendU(both)
    }
    case 2:
      return i64.or(i64.shl(i64.extendU(g.readRegister(w, RDX)), i64.const(32)), i64.extendU(g.readRegister(w, RAX)))
    case 3:
      return g.readRegister(w, RAX)
  }
}

function defineScans(registry: HandlerRegistry): void {
  for (const w of WIDTHS) {
    if (w.index === 0) continue
    const o = w.ops
    for (const forward of [true, false]) {
      registry.define(forward ? UOP.BSF : UOP.BSR, w.index, 0, `${forward ? 'BSF' : 'BSR'}${w.bits}`, (g) => {
        const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
        const at = forward ? o.ctz(x) : o.sub(o.const(o.size - 1), o.clz(x))
        return [setX, g.flagResult(w, x), g.flagAux(i32.const(0)), ifElse(o.ne(x, o.const(0)), g.write(w, UOP_A, at))]
      })
    }
    registry.define(UOP.POPCNT, w.index, 0, `POPCNT${w.bits}`, (g) => {
      const [setN, n] = g.keep(o.type, o.popcnt(g.read(w, UOP_B)))
      return [setN, zeroFlag(g, o.eqz(n), i32.const(0)), g.write(w, UOP_A, n)]
    })
    for (const leading of [true, false]) {
      registry.define(leading ? UOP.LZCNT : UOP.TZCNT, w.index, 0, `${leading ? 'LZCNT' : 'TZCNT'}${w.bits}`, (g) => {
        const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
        const count = leading
          ? o.sub(o.clz(x), o.const(o.size - w.bits))
          : o.ctz(w.index === 1 ? o.or(x, o.const(0x10000)) : x)
        const [setN, n] = g.keep(o.type, count)
        return [setX, setN, zeroFlag(g, o.eqz(n), o.eqz(x)), g.write(w, UOP_A, n)]
      })
    }
  }
}

/** ZF and CF as given, the others clear, in the representation that `CpuState.arithmetic` chooses. */
function zeroFlag(g: HandlerBuilder, zero: Code, carry: Code): Code {
  const [setZ, z] = g.keep(I32, zero)
  return [
    setZ,
    g.flagResult(WIDTHS[2], i32.eqz(z)),
    // Bit 8 undoes the parity of a zero result; CF without OF is bits 31 and 30.
    g.flagAux(i32.or(i32.shl(z, i32.const(8)), select(carry, i32.const(0xc0000000), i32.const(0)))),
  ]
}

function defineDoubleShifts(registry: HandlerRegistry): void {
  for (const w of [WIDTHS[2], WIDTHS[3]]) {
    const o = w.ops
    for (const left of [true, false]) {
      for (const immediate of [false, true]) {
        const kind = left ? (immediate ? UOP.SHLD_IMM : UOP.SHLD) : immediate ? UOP.SHRD_IMM : UOP.SHRD
        const name = `${left ? 'SHLD' : 'SHRD'}${immediate ? '_IMM' : ''}${w.bits}`
        registry.define(kind, w.index, 0, name, (g) => {
          const count = immediate ? g.field8(UOP_IMM) : g.read(WIDTHS[0], UOP_C)
          const [setN, small] = g.keep(I32, i32.and(count, i32.const(w.bits - 1)))
          const n = w.index === 3 ? i64.extendU(small) : small
          const back = o.sub(o.const(w.bits), n)
          const [setX, x] = g.keep(o.type, g.read(w, UOP_A))
          const [setY, y] = g.keep(o.type, g.read(w, UOP_B))
          const [setR, r] = g.keep(
            o.type,
            left ? o.or(o.shl(x, n), o.shrU(y, back)) : o.or(o.shrU(x, n), o.shl(y, back)),
          )
          const out = w.low(o.and(o.shrU(x, left ? back : o.sub(n, o.const(1))), o.const(1)))
          const [setOut, carry] = g.keep(I32, out)
          const overflow = w.low(o.shrU(o.xor(r, x), o.const(w.bits - 1)))
          return [
            setN,
            setX,
            ifElse(
              small,
              [
                setY,
                setR,
                setOut,
                g.flagResult(w, r),
                g.flagAux(i32.or(i32.shl(carry, i32.const(31)), i32.shl(i32.xor(carry, overflow), i32.const(30)))),
                g.write(w, UOP_A, r),
              ],
              g.write(w, UOP_A, x),
            ),
          ]
        })
      }
    }
  }
}

/** RCL and RCR by one, in chains the way to shift long numbers; other counts bail. */
function defineRotateCarry(registry: HandlerRegistry): void {
  for (const w of WIDTHS) {
    const o = w.ops
    for (const left of [true, false]) {
      registry.define(left ? UOP.RCL_IMM : UOP.RCR_IMM, w.index, 0, `${left ? 'RCL1' : 'RCR1'}.${w.bits}`, (g) => {
        const top = o.const(w.bits - 1)
        const bit = (v: Code, n: Code): Code => w.low(o.and(o.shrU(v, n), o.const(1)))
        const [setX, x] = g.keep(o.type, g.read(w, UOP_B))
        const [setC, c] = g.keep(o.type, w.index === 3 ? i64.extendU(g.carry()) : g.carry())
        const [setR, r] = g.keep(
          o.type,
          left ? o.or(o.shl(x, o.const(1)), c) : o.or(o.shrU(x, o.const(1)), o.shl(c, top)),
        )
        const carry = left ? bit(x, top) : bit(x, o.const(0))
        const overflow = left ? i32.xor(bit(r, top), carry) : i32.xor(bit(r, top), bit(r, o.const(w.bits - 2)))
        const po = left ? bit(r, top) : i32.xor(carry, overflow)
        return [
          g.bailIf(i32.ne(i32.and(g.field8(UOP_IMM), i32.const(w.index === 3 ? 63 : 31)), i32.const(1))),
          setX,
          setC,
          setR,
          g.flagAux(
            i32.or(
              i32.and(g.readAux(), i32.const(0x3fffffff)),
              i32.or(i32.shl(carry, i32.const(31)), i32.shl(po, i32.const(30))),
            ),
          ),
          g.write(w, UOP_A, r),
        ]
      })
    }
  }
}

function defineFlagMoves(registry: HandlerRegistry): void {
  registry.define(UOP.SALC, 0, 0, 'SALC', (g) => g.write(WIDTHS[0], UOP_A, i32.sub(i32.const(0), g.carry())))
  registry.define(UOP.LAHF, 0, 0, 'LAHF', (g) => {
    const at = (value: Code, bit: number): Code => (bit ? i32.shl(value, i32.const(bit)) : value)
    const af = i32.and(i32.shrU(g.readAux(), i32.const(3)), i32.const(1))
    const flags = [
      at(g.condition(2), 0),
      at(g.condition(10), 2),
      at(af, 4),
      at(g.condition(4), 6),
      at(g.condition(8), 7),
    ]
    return g.writeHigh(
      RAX,
      flags.reduce((all, one) => i32.or(all, one), i32.const(2)),
    )
  })
}

/** Adds all handlers of this file. */
export function defineMultiplication(registry: HandlerRegistry): void {
  defineMultiply(registry)
  defineScans(registry)
  defineDoubleShifts(registry)
  defineRotateCarry(registry)
  defineFlagMoves(registry)
}
