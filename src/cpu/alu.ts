/**
 * Integer arithmetic with flags, one operation a time, at 8, 16 and 32 bits on numbers and at 64 bits on BigInt. Each function leaves the
 * flags in {@link Alu.result} and {@link Alu.aux} (cpu/flags.ts says how to read them) and returns the result, unsigned.
 *
 * This is the readable definition; the compiled engines are held to it by tests.
 */

import { AUX_AF, AUX_CF, AUX_PO } from './flags.js'

/** Keeps bits 31, 30 and 3 of a carry vector: CF, CF xor OF, AF. */
const AUX_KEPT: number = AUX_CF | AUX_PO | AUX_AF

/** Bits of an operand by width code 0–3 (the last one only for documentation: 64-bit operations are BigInt). */
export const WIDTH_BITS = [8, 16, 32, 64] as const

const MASK64 = 0xffff_ffff_ffff_ffffn

export class Alu {
  /** Result sign-extended to 64 bits: low and high half. */
  resultLo = 0
  resultHi = 0
  aux = 0

  /** Sign-extends `value` of `bits` (8, 16, 32) to 32 bits. */
  static sign(value: number, bits: number): number {
    return bits === 32 ? value | 0 : (value << (32 - bits)) >> (32 - bits)
  }

  private set(result: number, bits: number, carries: number): number {
    const signed = Alu.sign(result, bits)
    this.resultLo = signed
    this.resultHi = signed >> 31
    // The carry out of the top bit goes to bit 31, the one below it to bit 30 (as CF xor OF does: it is the carry into the top bit).
    this.aux = ((carries << (32 - bits)) & (AUX_CF | AUX_PO)) | (carries & AUX_AF)
    return bits === 32 ? result >>> 0 : result & ((1 << bits) - 1)
  }

  /** Flags of a logical operation: CF = OF = AF = 0. */
  logic(result: number, bits: number): number {
    return this.set(result, bits, 0)
  }

  add(a: number, b: number, carry: number, bits: number): number {
    const r = (a + b + carry) | 0
    return this.set(r, bits, (a & b) | ((a | b) & ~r))
  }

  sub(a: number, b: number, borrow: number, bits: number): number {
    const r = (a - b - borrow) | 0
    return this.set(r, bits, (~a & b) | ((~a | b) & r))
  }

  /** INC and DEC: CF keeps its value `carry`. */
  inc(a: number, bits: number, carry: number): number {
    const r = this.add(a, 1, 0, bits)
    this.keepCarry(carry)
    return r
  }

  dec(a: number, bits: number, carry: number): number {
    const r = this.sub(a, 1, 0, bits)
    this.keepCarry(carry)
    return r
  }

  /** Replaces CF by `carry` and leaves OF alone. */
  keepCarry(carry: number): void {
    const overflow = ((this.aux >>> 31) ^ (this.aux >>> 30)) & 1
    this.aux = (this.aux & AUX_AF) | (carry << 31) | ((carry ^ overflow) << 30)
  }

  /** CF and OF as given, AF clear; the other flags from the result. */
  shifted(result: number, bits: number, carry: number, overflow: number): number {
    const r = this.set(result, bits, 0)
    this.aux = (carry << 31) | ((carry ^ overflow) << 30)
    return r
  }

  // --- 64 bits ---------------------------------------------------------------------------------------------------

  private set64(result: bigint, carries: bigint): bigint {
    const r = result & MASK64
    this.resultLo = Number(r & 0xffff_ffffn) | 0
    this.resultHi = Number(r >> 32n) | 0
    this.aux = (Number((carries >> 32n) & 0xffff_ffffn) & (AUX_CF | AUX_PO)) | (Number(carries & 8n) & AUX_KEPT)
    return r
  }

  logic64(result: bigint): bigint {
    return this.set64(result, 0n)
  }

  add64(a: bigint, b: bigint, carry: bigint): bigint {
    const r = (a + b + carry) & MASK64
    return this.set64(r, (a & b) | ((a | b) & ~r))
  }

  sub64(a: bigint, b: bigint, borrow: bigint): bigint {
    const r = (a - b - borrow) & MASK64
    return this.set64(r, (~a & b) | ((~a | b) & r))
  }

  shifted64(result: bigint, carry: number, overflow: number): bigint {
    const r = this.set64(result, 0n)
    this.aux = (carry << 31) | ((carry ^ overflow) << 30)
    return r
  }
}
