/**
 * The reference engine: one instruction at a time, one micro-op after the other, in plain TypeScript. It is the definition of every
 * micro-op, and the slow path of the faster engines, which hand it each instruction that needs care.
 */

import { Alu, WIDTH_BITS } from '../cpu/alu.js'
import type { CpuCore } from '../cpu/cpu-types.js'
import { raiseGp } from '../cpu/exceptions.js'
import { HELPERS } from '../cpu/helpers.js'
import { gprSlot, MODE_CODE_MASK, MODE_CODE64 } from '../cpu/layout.js'
import { SIMD_OPERATIONS } from '../cpu/simd.js'
import {
  EXT_ADDR_MASK,
  EXT_ADDR_SHIFT,
  EXT_ALIGNED,
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
import { X87_MEMORY_OPERATIONS, X87_OPERATIONS } from '../cpu/x87.js'
import { FLAG_DF } from '../isa/flags.js'
import { SEG_ES, SEG_SS } from '../isa/instruction.js'
import { IntegerUnit } from './reference-integer.js'
import { IntegerUnit64 } from './reference-integer64.js'
import { Slots } from './reference-slots.js'

const RAX = gprSlot(0)
const RCX = gprSlot(1)
const RSP = gprSlot(4)
const RSI = gprSlot(6)
const RDI = gprSlot(7)
const TWO32 = 4294967296
const MASK64 = 0xffff_ffff_ffff_ffffn
const CANONICAL_LIMIT = 0x8000_0000_0000

/** Executes micro-op records for one CPU. Source of each operation: Intel SDM Vol. 2, the page of the instruction. */
export class ReferenceEngine extends Slots {
  private readonly cpu: CpuCore
  private readonly integers: IntegerUnit
  private readonly integers64: IntegerUnit64

  constructor(cpu: CpuCore) {
    super(cpu.s)
    this.cpu = cpu
    this.integers = new IntegerUnit(cpu.s)
    this.integers64 = new IntegerUnit64(cpu.s)
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
      const kind = u16[(at + UOP_OP) >> 1]! >> 2
      if (kind === UOP.HELPER) {
        this.helper(at)
      } else if (kind === UOP.SIMD) {
        this.simd(at)
        // An x87 error that is reported through FERR# keeps an MMX instruction from running.
        if (this.cpu.halted) return
      } else {
        this.micro(at)
      }
    }
  }

  private simd(at: number): void {
    const { i32, u16 } = this.s
    const a = u16[(at + UOP_A) >> 1]!
    const b = u16[(at + UOP_B) >> 1]!
    const c = u16[(at + UOP_C) >> 1]!
    SIMD_OPERATIONS[i32[(at + UOP_EXT) >> 2]!]!(this.cpu, a, b, c, i32[(at + UOP_IMM) >> 2]!)
  }

  helper(at: number): void {
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
      case UOP.X87:
        X87_OPERATIONS[i32[(at + UOP_EXT) >> 2]!]!(this.cpu, b, c, a)
        return
      case UOP.X87_MEM:
        X87_MEMORY_OPERATIONS[i32[(at + UOP_VALUE) >> 2]! & 0xff]!(
          this.cpu,
          this.seg(at),
          this.offset(at),
          a,
          1 << width,
        )
        return
      case UOP.STORE_IMM: {
        const value = i32[(at + UOP_VALUE) >> 2]!
        if (width === 3) this.cpu.mem.write64(this.seg(at), this.offset(at), value, value >> 31)
        else this.storeNumber(this.seg(at), this.offset(at), width, value)
        return
      }
      case UOP.LOAD_V:
      case UOP.STORE_V:
        this.vector(at, kind, width, a)
        return
      default:
        if (kind >= UOP.PUSH) this.stackAndFlow(at, kind, width, a, b)
        else if (width === 3) this.integers64.arithmetic64(at, kind, a, b, c)
        else this.integers.arithmetic(at, kind, width, a, b, c)
    }
  }

  /** LOAD_V, STORE_V. */
  private vector(at: number, kind: number, width: number, slot: number): void {
    const { i32 } = this.s
    const seg = this.seg(at)
    const offset = this.offset(at)
    const aligned = (i32[(at + UOP_EXT) >> 2]! & EXT_ALIGNED) !== 0
    const to = this.base + slot
    if (kind === UOP.STORE_V) {
      if (width === 0) this.cpu.mem.write128(seg, offset, to, aligned)
      else this.store(seg, offset, width, slot)
    } else if (width === 0) {
      this.cpu.mem.read128(seg, offset, to, aligned)
    } else {
      this.load(seg, offset, width, slot)
      if (width < 3) i32[(to >> 2) + 1] = 0
      if (width === 1) this.s.u16[(to >> 1) + 1] = 0
      i32[(to >> 2) + 2] = 0
      i32[(to >> 2) + 3] = 0
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
}

function pair(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}
