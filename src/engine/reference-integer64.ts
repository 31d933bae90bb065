/**
 * Integer micro-ops of 64 bits, on BigInt.
 */

import { raise, VECTOR_DE } from '../cpu/exceptions.js'
import { gprSlot } from '../cpu/layout.js'
import { UOP, UOP_EXT, UOP_IMM } from '../cpu/uops.js'
import { FLAG_CF, FLAG_ZF } from '../isa/flags.js'
import { ones, Slots } from './reference-slots.js'

const RAX = gprSlot(0)
const RDX = gprSlot(2)
const MASK64 = 0xffff_ffff_ffff_ffffn

export class IntegerUnit64 extends Slots {
  arithmetic64(at: number, kind: number, a: number, b: number, c: number): void {
    const alu = this.alu
    const x = this.get64(b)
    let operation = kind
    let y = 0n
    if (kind >= UOP.ADD_IMM && kind <= UOP.TEST_IMM) {
      operation = kind - UOP.ADD_IMM + UOP.ADD
      y = this.s.big[(at + UOP_IMM) >> 3]!
    } else if (kind <= UOP.TEST) {
      y = this.get64(c)
    }
    switch (operation) {
      case UOP.ADD:
        this.set64(a, alu.add64(x, y, 0n))
        break
      case UOP.ADC:
        this.set64(a, alu.add64(x, y, BigInt(this.s.carry)))
        break
      case UOP.SUB:
        this.set64(a, alu.sub64(x, y, 0n))
        break
      case UOP.SBB:
        this.set64(a, alu.sub64(x, y, BigInt(this.s.carry)))
        break
      case UOP.CMP:
        alu.sub64(x, y, 0n)
        break
      case UOP.AND:
        this.set64(a, alu.logic64(x & y))
        break
      case UOP.OR:
        this.set64(a, alu.logic64(x | y))
        break
      case UOP.XOR:
        this.set64(a, alu.logic64(x ^ y))
        break
      case UOP.TEST:
        alu.logic64(x & y)
        break
      case UOP.INC:
        this.set64(a, alu.add64(x, 1n, 0n))
        alu.keepCarry(this.s.carry)
        break
      case UOP.DEC:
        this.set64(a, alu.sub64(x, 1n, 0n))
        alu.keepCarry(this.s.carry)
        break
      case UOP.NEG:
        this.set64(a, alu.sub64(0n, x, 0n))
        break
      case UOP.NOT:
        this.set64(a, ~x & MASK64)
        return
      default:
        if (kind >= UOP.SHL && kind <= UOP.RCR_IMM) this.shift64(at, kind, a, x, c)
        else if (kind >= UOP.SHLD && kind <= UOP.SHRD_IMM) this.doubleShift64(at, kind, a, x, c)
        else this.other64(at, kind, a, b, c)
        return
    }
    this.storeFlags()
  }

  private shift64(at: number, kind: number, a: number, x: bigint, c: number): void {
    const immediate = kind >= UOP.SHL_IMM
    const operation = immediate ? kind - UOP.SHL_IMM + UOP.SHL : kind
    const count = this.count(at, immediate, c, 63)
    if (count === 0) return
    const n = BigInt(count)
    const alu = this.alu
    const bit = (value: bigint, index: bigint): number => Number((value >> index) & 1n)
    switch (operation) {
      case UOP.SHL: {
        const r = (x << n) & MASK64
        const carry = bit(x, 64n - n)
        this.set64(a, alu.shifted64(r, carry, bit(r, 63n) ^ carry))
        this.storeFlags()
        return
      }
      case UOP.SHR: {
        const r = x >> n
        this.set64(a, alu.shifted64(r, bit(x, n - 1n), bit(r, 63n) ^ bit(r, 62n)))
        this.storeFlags()
        return
      }
      case UOP.SAR: {
        const signed = BigInt.asIntN(64, x)
        this.set64(a, alu.shifted64((signed >> n) & MASK64, bit(signed, n - 1n), 0))
        this.storeFlags()
        return
      }
      case UOP.ROL: {
        const r = ((x << n) | (x >> (64n - n))) & MASK64
        this.set64(a, r)
        this.rotateFlags(bit(r, 0n), bit(r, 63n) ^ bit(r, 0n))
        return
      }
      case UOP.ROR: {
        const r = ((x >> n) | (x << (64n - n))) & MASK64
        this.set64(a, r)
        this.rotateFlags(bit(r, 63n), bit(r, 63n) ^ bit(r, 62n))
        return
      }
      default: {
        const whole = x | (BigInt(this.s.carry) << 64n)
        const k = operation === UOP.RCL ? n : 65n - n
        const rotated = ((whole << k) | (whole >> (65n - k))) & ((1n << 65n) - 1n)
        const r = rotated & MASK64
        const carry = bit(rotated, 64n)
        this.set64(a, r)
        this.rotateFlags(carry, operation === UOP.RCL ? bit(r, 63n) ^ carry : bit(r, 63n) ^ bit(r, 62n))
      }
    }
  }

  private doubleShift64(at: number, kind: number, a: number, fill: bigint, c: number): void {
    const left = kind === UOP.SHLD || kind === UOP.SHLD_IMM
    const count = this.count(at, kind >= UOP.SHLD_IMM, c, 63)
    if (count === 0) return
    const n = BigInt(count)
    const x = this.get64(a)
    const r = left ? ((x << n) | (fill >> (64n - n))) & MASK64 : ((x >> n) | (fill << (64n - n))) & MASK64
    const carry = Number((left ? x >> (64n - n) : x >> (n - 1n)) & 1n)
    this.set64(a, this.alu.shifted64(r, carry, Number(((r ^ x) >> 63n) & 1n)))
    this.storeFlags()
  }

  private other64(at: number, kind: number, a: number, b: number, c: number): void {
    const alu = this.alu
    switch (kind) {
      case UOP.MUL:
      case UOP.IMUL: {
        const signed = kind === UOP.IMUL
        const read = (slot: number): bigint => (signed ? BigInt.asIntN(64, this.get64(slot)) : this.get64(slot))
        const product = read(RAX) * read(b)
        const lo = product & MASK64
        this.set64(RAX, lo)
        this.set64(RDX, (product >> 64n) & MASK64)
        const overflow = (signed ? BigInt.asIntN(64, product) !== product : product >> 64n !== 0n) ? 1 : 0
        alu.shifted64(lo, overflow, overflow)
        this.storeFlags()
        return
      }
      case UOP.IMUL2:
      case UOP.IMUL_IMM: {
        const x = BigInt.asIntN(64, this.get64(b))
        const y = BigInt.asIntN(64, kind === UOP.IMUL_IMM ? this.s.big[(at + UOP_IMM) >> 3]! : this.get64(c))
        const product = x * y
        const overflow = BigInt.asIntN(64, product) === product ? 0 : 1
        this.set64(a, alu.shifted64(product & MASK64, overflow, overflow))
        this.storeFlags()
        return
      }
      case UOP.DIV:
      case UOP.IDIV: {
        const signed = kind === UOP.IDIV
        const bits = (this.get64(RDX) << 64n) | this.get64(RAX)
        const dividend = signed ? BigInt.asIntN(128, bits) : bits
        const divisor = signed ? BigInt.asIntN(64, this.get64(b)) : this.get64(b)
        if (divisor === 0n) raise(VECTOR_DE)
        const quotient = dividend / divisor
        if ((signed ? BigInt.asIntN(64, quotient) : quotient & MASK64) !== quotient) raise(VECTOR_DE)
        this.set64(RAX, quotient & MASK64)
        this.set64(RDX, (dividend % divisor) & MASK64)
        return
      }
      case UOP.BT:
      case UOP.BTS:
      case UOP.BTR:
      case UOP.BTC:
      case UOP.BT_IMM:
      case UOP.BTS_IMM:
      case UOP.BTR_IMM:
      case UOP.BTC_IMM: {
        const immediate = kind >= UOP.BT_IMM
        const operation = immediate ? kind - UOP.BT_IMM + UOP.BT : kind
        const index = (immediate ? this.s.i32[(at + UOP_IMM) >> 2]! : this.s.u8[this.base + c]!) & 63
        const x = this.get64(b)
        const mask = 1n << BigInt(index)
        this.setCarry(x & mask ? 1 : 0)
        if (operation === UOP.BTS) this.set64(a, x | mask)
        else if (operation === UOP.BTR) this.set64(a, x & ~mask)
        else if (operation === UOP.BTC) this.set64(a, x ^ mask)
        return
      }
      case UOP.BIT_OFFSET:
        this.set64(a, BigInt.asUintN(64, (BigInt.asIntN(64, this.get64(c)) >> 6n) << 3n))
        return
      case UOP.BSF:
      case UOP.BSR: {
        const x = this.get64(b)
        alu.logic64(x)
        this.storeFlags()
        if (x !== 0n) this.set64(a, BigInt(kind === UOP.BSF ? trailingZeros(x) : 63 - leadingZeros(x)))
        return
      }
      case UOP.POPCNT: {
        const x = this.get64(b)
        const n = ones(Number(x & 0xffff_ffffn)) + ones(Number(x >> 32n))
        this.set64(a, BigInt(n))
        this.s.arithmetic = n === 0 ? FLAG_ZF : 0
        return
      }
      case UOP.LZCNT:
      case UOP.TZCNT: {
        const x = this.get64(b)
        const n = x === 0n ? 64 : kind === UOP.LZCNT ? leadingZeros(x) : trailingZeros(x)
        this.set64(a, BigInt(n))
        this.s.arithmetic = (x === 0n ? FLAG_CF : 0) | (n === 0 ? FLAG_ZF : 0)
        return
      }
      case UOP.BSWAP: {
        let x = this.get64(b)
        let r = 0n
        for (let i = 0; i < 8; i++) {
          r = (r << 8n) | (x & 0xffn)
          x >>= 8n
        }
        this.set64(a, r)
        return
      }
      case UOP.CMOV:
        if (this.condition(this.s.i32[(at + UOP_EXT) >> 2]!)) this.set64(a, this.get64(b))
        return
      case UOP.XCHG: {
        const x = this.get64(a)
        this.set64(a, this.get64(b))
        this.set64(b, x)
        return
      }
      case UOP.CMPXCHG: {
        const old = this.get64(b)
        const replacement = this.get64(c)
        const accumulator = this.get64(RAX)
        alu.sub64(accumulator, old, 0n)
        this.storeFlags()
        if (accumulator === old) {
          this.set64(a, replacement)
        } else {
          this.set64(a, old)
          this.set64(RAX, old)
        }
        return
      }
      default:
        throw new RangeError(`unknown micro-op ${kind}`)
    }
  }
}

function trailingZeros(x: bigint): number {
  const lo = Number(x & 0xffff_ffffn) | 0
  if (lo !== 0) return 31 - Math.clz32(lo & -lo)
  const hi = Number(x >> 32n) | 0
  return 63 - Math.clz32(hi & -hi)
}

function leadingZeros(x: bigint): number {
  const hi = Number(x >> 32n)
  return hi !== 0 ? Math.clz32(hi) : 32 + Math.clz32(Number(x & 0xffff_ffffn))
}
