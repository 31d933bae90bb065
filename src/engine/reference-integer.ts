/**
 * Integer micro-ops of 8, 16 and 32 bits.
 */

import { Alu, WIDTH_BITS } from '../cpu/alu.js'
import { raise, VECTOR_DE } from '../cpu/exceptions.js'
import { gprSlot } from '../cpu/layout.js'
import { UOP, UOP_EXT, UOP_IMM } from '../cpu/uops.js'
import { FLAG_AF, FLAG_CF, FLAG_DF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../isa/flags.js'
import { ones, Slots } from './reference-slots.js'

const RAX = gprSlot(0)
const RDX = gprSlot(2)
const AH = gprSlot(16)

export class IntegerUnit extends Slots {
  arithmetic(at: number, kind: number, width: number, a: number, b: number, c: number): void {
    const bits = WIDTH_BITS[width as 0]
    const alu = this.alu
    const x = this.get(b, width)
    // Kinds ADD_IMM … TEST_IMM are ADD … TEST with the immediate as second source.
    let operation = kind
    let y: number
    if (kind >= UOP.ADD_IMM && kind <= UOP.TEST_IMM) {
      operation = kind - UOP.ADD_IMM + UOP.ADD
      y = this.s.i32[(at + UOP_IMM) >> 2]!
      y = width === 2 ? y >>> 0 : y & ((1 << bits) - 1)
    } else {
      y = kind <= UOP.TEST ? this.get(c, width) : 0
    }
    switch (operation) {
      case UOP.ADD:
        this.set(a, width, alu.add(x, y, 0, bits))
        break
      case UOP.ADC:
        this.set(a, width, alu.add(x, y, this.s.carry, bits))
        break
      case UOP.SUB:
        this.set(a, width, alu.sub(x, y, 0, bits))
        break
      case UOP.SBB:
        this.set(a, width, alu.sub(x, y, this.s.carry, bits))
        break
      case UOP.CMP:
        alu.sub(x, y, 0, bits)
        break
      case UOP.AND:
        this.set(a, width, alu.logic(x & y, bits))
        break
      case UOP.OR:
        this.set(a, width, alu.logic(x | y, bits))
        break
      case UOP.XOR:
        this.set(a, width, alu.logic(x ^ y, bits))
        break
      case UOP.TEST:
        alu.logic(x & y, bits)
        break
      case UOP.INC:
        this.set(a, width, alu.inc(x, bits, this.s.carry))
        break
      case UOP.DEC:
        this.set(a, width, alu.dec(x, bits, this.s.carry))
        break
      case UOP.NEG:
        this.set(a, width, alu.sub(0, x, 0, bits))
        break
      case UOP.NOT:
        this.set(a, width, ~x)
        return
      default:
        if (kind >= UOP.SHL && kind <= UOP.RCR_IMM) this.shift(at, kind, width, bits, a, x, c)
        else if (kind >= UOP.SHLD && kind <= UOP.SHRD_IMM) this.doubleShift(at, kind, width, bits, a, x, c)
        else this.other(at, kind, width, bits, a, b, c)
        return
    }
    this.storeFlags()
  }

  private shift(at: number, kind: number, width: number, bits: number, a: number, x: number, c: number): void {
    const immediate = kind >= UOP.SHL_IMM
    const operation = immediate ? kind - UOP.SHL_IMM + UOP.SHL : kind
    const n = this.count(at, immediate, c, 31)
    const alu = this.alu
    if (n === 0) {
      this.set(a, width, x)
      return
    }
    const top = bits - 1
    switch (operation) {
      case UOP.SHL: {
        // The last bit shifted out is bit (bits − n); nothing is left of it when n exceeds the width.
        const carry = n <= bits ? (x >>> (bits - n)) & 1 : 0
        const r = n < 32 ? x << n : 0
        this.set(a, width, alu.shifted(r, bits, carry, ((r >>> top) & 1) ^ carry))
        this.storeFlags()
        return
      }
      case UOP.SHR: {
        const carry = (x >>> (n - 1)) & 1
        this.set(a, width, alu.shifted(x >>> n, bits, carry, (((x >>> n) ^ ((x >>> n) << 1)) >>> top) & 1))
        this.storeFlags()
        return
      }
      case UOP.SAR: {
        const signed = Alu.sign(x, bits)
        this.set(a, width, alu.shifted(signed >> n, bits, (signed >> (n - 1)) & 1, 0))
        this.storeFlags()
        return
      }
      case UOP.ROL: {
        const k = n % bits
        const r = k === 0 ? x : rotateLeft(x, k, bits)
        this.set(a, width, r)
        const carry = r & 1
        this.rotateFlags(carry, ((r >>> top) & 1) ^ carry)
        return
      }
      case UOP.ROR: {
        const k = n % bits
        const r = k === 0 ? x : rotateLeft(x, bits - k, bits)
        this.set(a, width, r)
        this.rotateFlags((r >>> top) & 1, ((r >>> top) ^ (r >>> (top - 1))) & 1)
        return
      }
      default:
        this.rotateThroughCarry(operation, n % (bits + 1), width, bits, a, x)
    }
  }

  /** RCL and RCR: a rotation of bits + 1 places, CF included. */
  private rotateThroughCarry(operation: number, n: number, width: number, bits: number, a: number, x: number): void {
    const carryIn = BigInt(this.s.carry)
    const whole = BigInt(x) | (carryIn << BigInt(bits))
    const size = BigInt(bits + 1)
    const k = operation === UOP.RCL ? BigInt(n) : size - BigInt(n)
    const mask = (1n << size) - 1n
    const rotated = ((whole << k) | (whole >> (size - k))) & mask
    const r = Number(rotated & ((1n << BigInt(bits)) - 1n))
    const carry = Number(rotated >> BigInt(bits))
    this.set(a, width, r)
    // With a count of 0 after reduction CF keeps its value and OF is as for any other count.
    const top = bits - 1
    const overflow = operation === UOP.RCL ? ((r >>> top) & 1) ^ carry : ((r >>> top) ^ (r >>> (top - 1))) & 1
    this.rotateFlags(carry, overflow)
  }

  private doubleShift(at: number, kind: number, width: number, bits: number, a: number, fill: number, c: number): void {
    const immediate = kind >= UOP.SHLD_IMM
    const left = kind === UOP.SHLD || kind === UOP.SHLD_IMM
    const n = this.count(at, immediate, c, 31)
    const x = this.get(a, width)
    if (n === 0) {
      this.set(a, width, x)
      return
    }
    const alu = this.alu
    let r: number
    let carry: number
    const size = BigInt(bits)
    const shift = BigInt(n)
    if (left) {
      // Counts beyond 16 at 16 bits are undefined; like current processors this takes the fill again.
      const three = (BigInt(x) << (2n * size)) | (BigInt(fill) << size) | BigInt(bits === 16 ? x : fill)
      const shifted = three << shift
      r = Number((shifted >> (2n * size)) & ((1n << size) - 1n))
      carry = Number((shifted >> (3n * size)) & 1n)
    } else {
      const three = (BigInt(bits === 16 ? x : fill) << (2n * size)) | (BigInt(fill) << size) | BigInt(x)
      r = Number((three >> shift) & ((1n << size) - 1n))
      carry = Number((three >> (shift - 1n)) & 1n)
    }
    const overflow = ((r ^ x) >>> (bits - 1)) & 1
    this.set(a, width, alu.shifted(r, bits, carry, overflow))
    this.storeFlags()
  }

  private other(at: number, kind: number, width: number, bits: number, a: number, b: number, c: number): void {
    const alu = this.alu
    switch (kind) {
      case UOP.MUL:
      case UOP.IMUL:
        this.multiplyWide(kind === UOP.IMUL, width, bits, this.get(b, width))
        return
      case UOP.IMUL2:
      case UOP.IMUL_IMM: {
        const x = Alu.sign(this.get(b, width), bits)
        const y = kind === UOP.IMUL_IMM ? this.s.i32[(at + UOP_IMM) >> 2]! : Alu.sign(this.get(c, width), bits)
        const r = Math.imul(x, y)
        const exact = BigInt(x) * BigInt(y) === BigInt(Alu.sign(r, bits))
        this.set(a, width, alu.shifted(r, bits, exact ? 0 : 1, exact ? 0 : 1))
        this.storeFlags()
        return
      }
      case UOP.DIV:
      case UOP.IDIV:
        this.divide(kind === UOP.IDIV, width, bits, this.get(b, width))
        return
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
        const index = (immediate ? this.s.i32[(at + UOP_IMM) >> 2]! : this.get(c, width)) & (bits - 1)
        const x = this.get(b, width)
        this.setCarry((x >>> index) & 1)
        const mask = 1 << index
        if (operation === UOP.BTS) this.set(a, width, x | mask)
        else if (operation === UOP.BTR) this.set(a, width, x & ~mask)
        else if (operation === UOP.BTC) this.set(a, width, x ^ mask)
        return
      }
      case UOP.BIT_OFFSET: {
        const index = Alu.sign(this.get(c, width), bits)
        this.set64(a, BigInt.asUintN(64, BigInt((index >> (width + 3)) << width)))
        return
      }
      case UOP.BSF:
      case UOP.BSR: {
        const x = this.get(b, width)
        alu.logic(x, bits)
        this.storeFlags()
        if (x !== 0) this.set(a, width, kind === UOP.BSF ? 31 - Math.clz32(x & -x) : 31 - Math.clz32(x))
        return
      }
      case UOP.POPCNT: {
        const n = ones(this.get(b, width))
        this.set(a, width, n)
        alu.logic(n === 0 ? 0 : 1, bits)
        this.s.arithmetic = n === 0 ? FLAG_ZF : 0
        return
      }
      case UOP.LZCNT:
      case UOP.TZCNT: {
        const x = this.get(b, width)
        const n = x === 0 ? bits : kind === UOP.LZCNT ? Math.clz32(x) - (32 - bits) : 31 - Math.clz32(x & -x)
        this.set(a, width, n)
        this.s.arithmetic = (x === 0 ? FLAG_CF : 0) | (n === 0 ? FLAG_ZF : 0)
        return
      }
      case UOP.BSWAP: {
        const x = this.get(b, 2)
        const r = (x << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)
        // 16-bit operand size is undefined; processors clear the register's low half.
        this.set(a, width, width === 1 ? 0 : r)
        return
      }
      case UOP.SETCC:
        this.set(a, 0, this.condition(this.s.i32[(at + UOP_EXT) >> 2]!) ? 1 : 0)
        return
      case UOP.CMOV:
        if (this.condition(this.s.i32[(at + UOP_EXT) >> 2]!)) this.set(a, width, this.get(b, width))
        else if (width === 2) this.set(a, 2, this.get(a, 2))
        return
      case UOP.XCHG: {
        const x = this.get(a, width)
        this.set(a, width, this.get(b, width))
        this.set(b, width, x)
        return
      }
      case UOP.CMPXCHG: {
        const old = this.get(b, width)
        const replacement = this.get(c, width)
        const accumulator = this.get(RAX, width)
        alu.sub(accumulator, old, 0, bits)
        this.storeFlags()
        if (accumulator === old) {
          this.set(a, width, replacement)
        } else {
          this.set(a, width, old)
          this.set(RAX, width, old)
        }
        return
      }
      default:
        this.flagOperation(kind, a)
    }
  }

  private flagOperation(kind: number, a: number): void {
    const s = this.s
    switch (kind) {
      case UOP.CLC:
        this.setCarry(0)
        return
      case UOP.STC:
        this.setCarry(1)
        return
      case UOP.CMC:
        this.setCarry(s.carry ^ 1)
        return
      case UOP.CLD:
        s.flagsRest &= ~FLAG_DF
        return
      case UOP.STD:
        s.flagsRest |= FLAG_DF
        return
      case UOP.LAHF:
        this.set(AH, 0, (s.flags & (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF)) | 2)
        return
      case UOP.SAHF: {
        const low = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF
        s.arithmetic = (s.arithmetic & ~low) | (this.get(AH, 0) & low)
        return
      }
      case UOP.SALC:
        this.set(a, 0, s.carry ? 0xff : 0)
        return
      default:
        throw new RangeError(`unknown micro-op ${kind}`)
    }
  }

  /** rDX:rAX ← rAX × x, at 8 bits AX ← AL × x. */
  private multiplyWide(signed: boolean, width: number, bits: number, x: number): void {
    const accumulator = this.get(RAX, width)
    const left = BigInt(signed ? Alu.sign(accumulator, bits) : accumulator)
    const product = left * BigInt(signed ? Alu.sign(x, bits) : x)
    const lo = Number(BigInt.asUintN(bits, product))
    const hi = Number(BigInt.asUintN(bits, product >> BigInt(bits)))
    if (width === 0) {
      this.set(RAX, 1, lo | (hi << 8))
    } else {
      this.set(RAX, width, lo)
      this.set(RDX, width, hi)
    }
    const overflow = signed ? BigInt(Alu.sign(lo, bits)) !== product : hi !== 0
    this.alu.shifted(lo, bits, overflow ? 1 : 0, overflow ? 1 : 0)
    this.storeFlags()
  }

  private divide(signed: boolean, width: number, bits: number, x: number): void {
    const high = width === 0 ? this.get(AH, 0) : this.get(RDX, width)
    const dividendBits = (BigInt(high) << BigInt(bits)) | BigInt(this.get(RAX, width))
    const dividend = signed ? BigInt.asIntN(2 * bits, dividendBits) : dividendBits
    const divisor = BigInt(signed ? Alu.sign(x, bits) : x)
    if (divisor === 0n) raise(VECTOR_DE)
    const quotient = dividend / divisor
    const remainder = dividend % divisor
    if ((signed ? BigInt.asIntN(bits, quotient) : BigInt.asUintN(bits, quotient)) !== quotient) raise(VECTOR_DE)
    const q = Number(BigInt.asUintN(bits, quotient))
    const r = Number(BigInt.asUintN(bits, remainder))
    if (width === 0) {
      this.set(RAX, 1, q | (r << 8))
    } else {
      this.set(RAX, width, q)
      this.set(RDX, width, r)
    }
  }
}

function rotateLeft(x: number, n: number, bits: number): number {
  if (bits === 32) return ((x << n) | (x >>> (32 - n))) >>> 0
  return ((x << n) | (x >>> (bits - n))) & ((1 << bits) - 1)
}
