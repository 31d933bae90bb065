/**
 * The reference engine: one instruction at a time, one micro-op after the other, in plain TypeScript. It is the definition of every
 * micro-op, and the slow path of the faster engines, which hand it each instruction that needs care.
 */

import { Alu, WIDTH_BITS } from '../cpu/alu.js'
import type { CpuCore } from '../cpu/cpu-types.js'
import { raise, raiseGp, VECTOR_DE } from '../cpu/exceptions.js'
import { AUX_CF, AUX_PO, PARITY_EVEN } from '../cpu/flags.js'
import { HELPERS } from '../cpu/helpers.js'
import { gprSlot, MODE_CODE_MASK, MODE_CODE64, OFF_FLAG_AUX, OFF_FLAG_RESULT } from '../cpu/layout.js'
import type { CpuState } from '../cpu/state.js'
import {
  EXT_ADDR_MASK,
  EXT_ADDR_SHIFT,
  EXT_FOR_WRITE,
  EXT_SCALE_MASK,
  EXT_SEG_MASK,
  EXT_SEG_SHIFT,
  UOP,
  UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_IMM,
  UOP_IMM_HI,
  UOP_OP,
  UOP_SIZE,
  UOP_VALUE,
} from '../cpu/uops.js'
import { FLAG_AF, FLAG_CF, FLAG_DF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../isa/flags.js'
import { SEG_ES, SEG_SS } from '../isa/instruction.js'

const RAX = gprSlot(0)
const RCX = gprSlot(1)
const RDX = gprSlot(2)
const RSP = gprSlot(4)
const RSI = gprSlot(6)
const RDI = gprSlot(7)
const AH = gprSlot(16)
const TWO32 = 4294967296
const MASK64 = 0xffff_ffff_ffff_ffffn
const CANONICAL_LIMIT = 0x8000_0000_0000

/** Executes micro-op records for one CPU. Source of each operation: Intel SDM Vol. 2, the page of the instruction. */
export class ReferenceEngine {
  private readonly cpu: CpuCore
  private readonly s: CpuState
  private readonly base: number
  private readonly alu: Alu = new Alu()

  constructor(cpu: CpuCore) {
    this.cpu = cpu
    this.s = cpu.s
    this.base = cpu.s.base
  }

  // --- slots ----------------------------------------------------------------------------------------------------

  /** Unsigned value of a slot at width 0–2. */
  private get(slot: number, width: number): number {
    const at = this.base + slot
    const s = this.s
    if (width === 2) return slot & 3 ? this.unaligned(at) : s.i32[at >> 2]! >>> 0
    if (width === 0) return s.u8[at]!
    return s.u8[at]! | (s.u8[at + 1]! << 8)
  }

  private unaligned(at: number): number {
    const u8 = this.s.u8
    return (u8[at]! | (u8[at + 1]! << 8) | (u8[at + 2]! << 16) | (u8[at + 3]! << 24)) >>> 0
  }

  /** Writes a slot at width 0–2; 32 bits clear the upper half. */
  private set(slot: number, width: number, value: number): void {
    const at = this.base + slot
    const s = this.s
    if (width === 2) {
      s.i32[at >> 2] = value
      s.i32[(at >> 2) + 1] = 0
    } else {
      s.u8[at] = value
      if (width === 1) s.u8[at + 1] = value >>> 8
    }
  }

  private get64(slot: number): bigint {
    return this.s.big[(this.base + slot) >> 3]!
  }

  private set64(slot: number, value: bigint): void {
    this.s.big[(this.base + slot) >> 3] = value
  }

  /** A 64-bit slot as a signed double: exact near the canonical range. */
  private number(slot: number): number {
    const at = (this.base + slot) >> 2
    return this.s.i32[at + 1]! * TWO32 + (this.s.i32[at]! >>> 0)
  }

  private storeFlags(): void {
    const at = (this.base + OFF_FLAG_RESULT) >> 2
    this.s.i32[at] = this.alu.resultLo
    this.s.i32[at + 1] = this.alu.resultHi
    this.s.i32[(this.base + OFF_FLAG_AUX) >> 2] = this.alu.aux
  }

  /** Sets CF alone. */
  private setCarry(carry: number): void {
    const at = (this.base + OFF_FLAG_AUX) >> 2
    const aux = this.s.i32[at]!
    const overflow = ((aux >>> 31) ^ (aux >>> 30)) & 1
    this.s.i32[at] = (aux & ~(AUX_CF | AUX_PO)) | (carry << 31) | ((carry ^ overflow) << 30)
  }

  /** Conditions 0–15 of Jcc, SETcc, CMOVcc. Source: Intel SDM Vol. 1, "EFLAGS Condition Codes". */
  condition(code: number): boolean {
    const at = (this.base + OFF_FLAG_RESULT) >> 2
    const lo = this.s.i32[at]!
    const hi = this.s.i32[at + 1]!
    const aux = this.s.i32[(this.base + OFF_FLAG_AUX) >> 2]!
    const zero = (lo | hi) === 0
    const sign = ((hi >>> 31) ^ aux) & 1
    const overflow = ((aux >>> 31) ^ (aux >>> 30)) & 1
    let value: boolean
    switch (code >> 1) {
      case 0:
        value = overflow !== 0
        break
      case 1:
        value = aux < 0
        break
      case 2:
        value = zero
        break
      case 3:
        value = zero || aux < 0
        break
      case 4:
        value = sign !== 0
        break
      case 5:
        value = PARITY_EVEN[(lo ^ (aux >>> 8)) & 0xff] === 1
        break
      case 6:
        value = sign !== overflow
        break
      default:
        value = zero || sign !== overflow
    }
    return (code & 1) !== 0 ? !value : value
  }

  // --- memory ---------------------------------------------------------------------------------------------------

  private seg(at: number): number {
    return (this.s.i32[(at + UOP_EXT) >> 2]! >> EXT_SEG_SHIFT) & EXT_SEG_MASK
  }

  /** Effective offset of the record's address: unsigned; a signed double at address size 64. */
  private offset(at: number): number {
    const { i32, u16 } = this.s
    const ext = i32[(at + UOP_EXT) >> 2]!
    const b = u16[(at + UOP_B) >> 1]!
    const c = u16[(at + UOP_C) >> 1]!
    const imm = i32[(at + UOP_IMM) >> 2]!
    switch ((ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK) {
      case 0:
        return (this.get(b, 1) + (this.get(c, 1) << (ext & EXT_SCALE_MASK)) + imm) & 0xffff
      case 1:
        return (i32[(this.base + b) >> 2]! + (i32[(this.base + c) >> 2]! << (ext & EXT_SCALE_MASK)) + imm) >>> 0
      default: {
        const scale = 1 << (ext & EXT_SCALE_MASK)
        const displacement = i32[(at + UOP_IMM_HI) >> 2]! * TWO32 + (imm >>> 0)
        const base = this.number(b)
        const index = this.number(c) * scale
        const sum = base + index + displacement
        // Doubles are exact up to 2^53; beyond, compute modulo 2^64.
        if (Math.abs(base) < 2 ** 50 && Math.abs(index) < 2 ** 50 && Math.abs(displacement) < 2 ** 50) return sum
        return Number(
          BigInt.asIntN(64, this.get64(b) + (this.get64(c) << BigInt(ext & EXT_SCALE_MASK)) + BigInt(displacement)),
        )
      }
    }
  }

  /** The same as BigInt, for LEA, modulo 2^64. */
  private offset64(at: number): bigint {
    const { i32, u16 } = this.s
    const ext = i32[(at + UOP_EXT) >> 2]!
    if (((ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK) !== 2) return BigInt(this.offset(at))
    const displacement = this.s.big[(at + UOP_IMM) >> 3]!
    const base = this.get64(u16[(at + UOP_B) >> 1]!)
    return (base + (this.get64(u16[(at + UOP_C) >> 1]!) << BigInt(ext & EXT_SCALE_MASK)) + displacement) & MASK64
  }

  /** slot ← memory, at width 0–3. */
  private load(seg: number, offset: number, width: number, slot: number): void {
    const mem = this.cpu.mem
    switch (width) {
      case 0:
        this.set(slot, 0, mem.read8(seg, offset))
        break
      case 1:
        this.set(slot, 1, mem.read16(seg, offset))
        break
      case 2:
        this.set(slot, 2, mem.read32(seg, offset))
        break
      default: {
        mem.read64(seg, offset)
        const at = (this.base + slot) >> 2
        this.s.i32[at] = mem.lo
        this.s.i32[at + 1] = mem.hi
      }
    }
  }

  private loadNumber(seg: number, offset: number, width: number): number {
    const mem = this.cpu.mem
    return width === 0 ? mem.read8(seg, offset) : width === 1 ? mem.read16(seg, offset) : mem.read32(seg, offset)
  }

  private storeNumber(seg: number, offset: number, width: number, value: number): void {
    const mem = this.cpu.mem
    if (width === 0) mem.write8(seg, offset, value & 0xff)
    else if (width === 1) mem.write16(seg, offset, value & 0xffff)
    else mem.write32(seg, offset, value >>> 0)
  }

  /** memory ← slot, at width 0–3. */
  private store(seg: number, offset: number, width: number, slot: number): void {
    if (width === 3) {
      const at = (this.base + slot) >> 2
      this.cpu.mem.write64(seg, offset, this.s.i32[at]!, this.s.i32[at + 1]!)
    } else {
      this.storeNumber(seg, offset, width, this.get(slot, width))
    }
  }

  /** Stack pointer at the stack's address size. */
  private stackPointer(ext: number): number {
    switch ((ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK) {
      case 0:
        return this.get(RSP, 1)
      case 1:
        return this.get(RSP, 2)
      default:
        return this.number(RSP)
    }
  }

  /** An offset from the stack pointer, wrapped at the stack's address size. */
  private stackOffset(ext: number, distance: number): number {
    const sum = this.stackPointer(ext) + distance
    switch ((ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK) {
      case 0:
        return sum & 0xffff
      case 1:
        return sum >>> 0
      default:
        return sum
    }
  }

  private addToStackPointer(ext: number, distance: number): void {
    const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
    if (size === 2) this.set64(RSP, (this.get64(RSP) + BigInt(distance)) & MASK64)
    else this.set(RSP, size + 1, this.get(RSP, size + 1) + distance)
  }

  /** Stores below the stack pointer, then moves it. */
  private push(ext: number, width: number, lo: number, hi: number): void {
    const size = 1 << width
    const offset = this.stackOffset(ext, -size)
    if (width === 3) this.cpu.mem.write64(SEG_SS, offset, lo, hi)
    else this.storeNumber(SEG_SS, offset, width, lo)
    this.addToStackPointer(ext, -size)
  }

  // --- control flow ----------------------------------------------------------------------------------------------

  /** A near-branch target `distance` bytes from the current instruction, truncated to the operand width. */
  private relativeTarget(distance: number, width: number): number {
    const target = this.s.rip + distance
    if ((this.s.mode & MODE_CODE_MASK) === MODE_CODE64 && width !== 1) return target
    return width === 1 ? target & 0xffff : target >>> 0
  }

  private slotTarget(slot: number, width: number): number {
    if (width === 3) return this.number(slot)
    return this.get(slot, width)
  }

  private checkTarget(target: number): void {
    if ((this.s.mode & MODE_CODE_MASK) === MODE_CODE64) {
      if (target < -CANONICAL_LIMIT || target >= CANONICAL_LIMIT) raiseGp(0)
    } else if (target > this.s.segLimit(1)) {
      raiseGp(0)
    }
  }

  // --- execution -------------------------------------------------------------------------------------------------

  /**
   * Runs the records from `at` up to `end`, which belong to one instruction at `s.rip`. `cpu.nextRip` must hold the next instruction's
   * address; a branch changes it. Faults are thrown.
   */
  execute(at: number, end: number): void {
    const { u16 } = this.s
    for (; at < end; at += UOP_SIZE) {
      if (u16[(at + UOP_OP) >> 1]! >> 2 === UOP.HELPER) this.helper(at)
      else this.micro(at)
    }
  }

  private helper(at: number): void {
    const { i32, u16 } = this.s
    HELPERS[i32[(at + UOP_EXT) >> 2]!]!(
      this.cpu,
      u16[(at + UOP_A) >> 1]!,
      u16[(at + UOP_B) >> 1]!,
      u16[(at + UOP_C) >> 1]!,
      i32[(at + UOP_IMM) >> 2]!,
    )
  }

  private micro(at: number): void {
    const { i32, u16 } = this.s
    const op = u16[(at + UOP_OP) >> 1]!
    const width = op & 3
    const kind = op >> 2
    const a = u16[(at + UOP_A) >> 1]!
    const b = u16[(at + UOP_B) >> 1]!
    const c = u16[(at + UOP_C) >> 1]!
    switch (kind) {
      case UOP.END:
        return
      case UOP.MOV:
        if (width === 3) this.set64(a, this.get64(b))
        else this.set(a, width, this.get(b, width))
        return
      case UOP.MOV_IMM:
        if (width === 3) this.set64(a, this.s.big[(at + UOP_IMM) >> 3]!)
        else this.set(a, width, i32[(at + UOP_IMM) >> 2]!)
        return
      case UOP.ZERO_EXTEND:
        this.set64(a, BigInt(this.get(b, width)))
        return
      case UOP.SIGN_EXTEND_32:
        this.set(a, 2, Alu.sign(this.get(b, width), WIDTH_BITS[width as 0]))
        return
      case UOP.SIGN_EXTEND_64:
        this.set64(a, BigInt.asUintN(64, BigInt(Alu.sign(this.get(b, width), WIDTH_BITS[width as 0]))))
        return
      case UOP.LEA:
        if (width === 3) this.set64(a, this.offset64(at))
        else this.set(a, width, Number(this.offset64(at) & 0xffff_ffffn))
        return
      case UOP.LOAD:
        if (i32[(at + UOP_EXT) >> 2]! & EXT_FOR_WRITE)
          this.cpu.mem.probeWrite(this.seg(at), this.offset(at), 1 << width)
        this.load(this.seg(at), this.offset(at), width, a)
        return
      case UOP.LOAD_ZX:
        this.set64(a, BigInt(this.loadNumber(this.seg(at), this.offset(at), width)))
        return
      case UOP.LOAD_SX32:
        this.set(a, 2, Alu.sign(this.loadNumber(this.seg(at), this.offset(at), width), WIDTH_BITS[width as 0]))
        return
      case UOP.LOAD_SX64: {
        const value = Alu.sign(this.loadNumber(this.seg(at), this.offset(at), width), WIDTH_BITS[width as 0])
        this.set64(a, BigInt.asUintN(64, BigInt(value)))
        return
      }
      case UOP.STORE:
        this.store(this.seg(at), this.offset(at), width, a)
        return
      case UOP.STORE_IMM: {
        const value = i32[(at + UOP_VALUE) >> 2]!
        if (width === 3) this.cpu.mem.write64(this.seg(at), this.offset(at), value, value >> 31)
        else this.storeNumber(this.seg(at), this.offset(at), width, value)
        return
      }
      default:
        if (kind >= UOP.PUSH) this.stackAndFlow(at, kind, width, a, b)
        else if (width === 3) this.arithmetic64(at, kind, a, b, c)
        else this.arithmetic(at, kind, width, a, b, c)
    }
  }

  private stackAndFlow(at: number, kind: number, width: number, a: number, b: number): void {
    const { i32 } = this.s
    const ext = i32[(at + UOP_EXT) >> 2]!
    const imm = i32[(at + UOP_IMM) >> 2]!
    switch (kind) {
      case UOP.PUSH:
        if (width === 3) {
          const from = (this.base + a) >> 2
          this.push(ext, 3, i32[from]!, i32[from + 1]!)
        } else {
          this.push(ext, width, this.get(a, width), 0)
        }
        return
      case UOP.PUSH_IMM:
        this.push(ext, width, imm, i32[(at + UOP_IMM_HI) >> 2]!)
        return
      case UOP.PUSH_RIP: {
        const rip = this.s.rip + imm
        this.push(ext, width, rip | 0, Math.floor(rip / TWO32) | 0)
        return
      }
      case UOP.POP: {
        const offset = this.stackOffset(ext, 0)
        if (width === 3) {
          this.cpu.mem.read64(SEG_SS, offset)
          this.addToStackPointer(ext, 8)
          const to = (this.base + a) >> 2
          i32[to] = this.cpu.mem.lo
          i32[to + 1] = this.cpu.mem.hi
        } else {
          const value = this.loadNumber(SEG_SS, offset, width)
          this.addToStackPointer(ext, 1 << width)
          this.set(a, width, value)
        }
        return
      }
      case UOP.LOAD_STACK:
        this.load(SEG_SS, this.stackOffset(ext, imm), width, a)
        return
      case UOP.ADD_SP:
        this.addToStackPointer(ext, imm)
        return
      case UOP.JMP:
        this.cpu.nextRip = this.relativeTarget(imm, width)
        return
      case UOP.JCC:
        if (this.condition(ext)) this.cpu.nextRip = this.relativeTarget(imm, width)
        return
      case UOP.JMP_SLOT:
        this.cpu.nextRip = this.slotTarget(a, width)
        return
      case UOP.CHECK_IP:
        this.checkTarget(this.slotTarget(a, width))
        return
      case UOP.CHECK_REL:
        if (ext === -1 || this.condition(ext)) this.checkTarget(this.relativeTarget(imm, width))
        return
      case UOP.JCXZ:
      case UOP.LOOP:
        this.loop(at, kind, width, b, ext)
        return
      case UOP.MOVS:
      case UOP.CMPS:
      case UOP.STOS:
      case UOP.LODS:
      case UOP.SCAS:
        this.string(at, kind, width, b, ext)
        return
      default:
        throw new RangeError(`unknown micro-op ${kind}`)
    }
  }

  /** rCX at address size 0, 1, 2 is zero. */
  private counterIsZero(size: number): boolean {
    return size === 2 ? this.get64(RCX) === 0n : this.get(RCX, size + 1) === 0
  }

  private decrementCounter(size: number): void {
    if (size === 2) this.set64(RCX, (this.get64(RCX) - 1n) & MASK64)
    else this.set(RCX, size + 1, this.get(RCX, size + 1) - 1)
  }

  private loop(at: number, kind: number, width: number, condition: number, ext: number): void {
    const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
    const target = this.relativeTarget(this.s.i32[(at + UOP_IMM) >> 2]!, width)
    if (kind === UOP.JCXZ) {
      if (!this.counterIsZero(size)) return
      this.checkTarget(target)
      this.cpu.nextRip = target
      return
    }
    const last = size === 2 ? this.get64(RCX) === 1n : this.get(RCX, size + 1) === 1
    const taken = !last && (condition === 0 || this.condition(4) === (condition === 1))
    if (taken) this.checkTarget(target)
    this.decrementCounter(size)
    if (taken) this.cpu.nextRip = target
  }

  /** One iteration of a string instruction. Source: Intel SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ". */
  private string(at: number, kind: number, width: number, repeat: number, ext: number): void {
    const size = (ext >> EXT_ADDR_SHIFT) & EXT_ADDR_MASK
    if (repeat && this.counterIsZero(size)) return
    const step = (this.s.flagsRest & FLAG_DF ? -1 : 1) << width
    const sourceSeg = this.seg(at)
    const source = this.index(RSI, size)
    const destination = this.index(RDI, size)
    const mem = this.cpu.mem
    switch (kind) {
      case UOP.MOVS:
        if (width === 3) {
          mem.read64(sourceSeg, source)
          mem.write64(SEG_ES, destination, mem.lo, mem.hi)
        } else {
          this.storeNumber(SEG_ES, destination, width, this.loadNumber(sourceSeg, source, width))
        }
        this.advance(RSI, size, step)
        this.advance(RDI, size, step)
        break
      case UOP.STOS:
        this.store(SEG_ES, destination, width, RAX)
        this.advance(RDI, size, step)
        break
      case UOP.LODS:
        this.load(sourceSeg, source, width, RAX)
        this.advance(RSI, size, step)
        break
      case UOP.CMPS:
      case UOP.SCAS:
        this.compareString(kind, width, sourceSeg, source, destination)
        if (kind === UOP.CMPS) this.advance(RSI, size, step)
        this.advance(RDI, size, step)
        break
    }
    if (!repeat) return
    this.decrementCounter(size)
    if (this.counterIsZero(size)) return
    const compares = kind === UOP.CMPS || kind === UOP.SCAS
    if (!compares || this.condition(4) === (repeat === 1)) this.cpu.nextRip = this.s.rip
  }

  private compareString(kind: number, width: number, sourceSeg: number, source: number, destination: number): void {
    const mem = this.cpu.mem
    if (width === 3) {
      let left = this.get64(RAX)
      if (kind === UOP.CMPS) {
        mem.read64(sourceSeg, source)
        left = pair(mem.lo, mem.hi)
      }
      mem.read64(SEG_ES, destination)
      this.alu.sub64(left, pair(mem.lo, mem.hi), 0n)
    } else {
      const left = kind === UOP.CMPS ? this.loadNumber(sourceSeg, source, width) : this.get(RAX, width)
      this.alu.sub(left, this.loadNumber(SEG_ES, destination, width), 0, WIDTH_BITS[width as 0])
    }
    this.storeFlags()
  }

  /** rSI or rDI at the address size. */
  private index(slot: number, size: number): number {
    return size === 2 ? this.number(slot) : this.get(slot, size + 1)
  }

  private advance(slot: number, size: number, step: number): void {
    if (size === 2) this.set64(slot, (this.get64(slot) + BigInt(step)) & MASK64)
    else this.set(slot, size + 1, this.get(slot, size + 1) + step)
  }

  // --- arithmetic, 8 to 32 bits -----------------------------------------------------------------------------------

  private arithmetic(at: number, kind: number, width: number, a: number, b: number, c: number): void {
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

  /** The shift count of a record, masked to 5 bits. */
  private count(at: number, immediate: boolean, c: number, mask: number): number {
    return (immediate ? this.s.i32[(at + UOP_IMM) >> 2]! : this.s.u8[this.base + c]!) & mask
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

  /** Rotates change CF and OF only. */
  private rotateFlags(carry: number, overflow: number): void {
    const at = (this.base + OFF_FLAG_AUX) >> 2
    const aux = this.s.i32[at]!
    this.s.i32[at] = (aux & ~(AUX_CF | AUX_PO)) | (carry << 31) | ((carry ^ overflow) << 30)
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

  // --- arithmetic, 64 bits ----------------------------------------------------------------------------------------

  private arithmetic64(at: number, kind: number, a: number, b: number, c: number): void {
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

  // --- multiplication, division, bits, moves -----------------------------------------------------------------------

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

function rotateLeft(x: number, n: number, bits: number): number {
  if (bits === 32) return ((x << n) | (x >>> (32 - n))) >>> 0
  return ((x << n) | (x >>> (bits - n))) & ((1 << bits) - 1)
}

function ones(x: number): number {
  let n = 0
  for (let rest = x | 0; rest; rest &= rest - 1) n++
  return n
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

function pair(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}
