/**
 * The meaning of ordinary instructions, written once as micro-ops. What is too rich for micro-ops is in lift-system.ts.
 *
 * A rule holds throughout: in what an instruction emits, nothing that can fault follows the first change of a register, a flag or memory. A
 * memory destination is therefore loaded with "faults as a write", after which its store cannot fail.
 */

import { type Instruction, OPERAND, PREFIX_REP, PREFIX_REPNE, SEG_ES, SEG_SS } from '../isa/instruction.js'
import { MNEMONICS } from '../isa/mnemonics.js'
import { HELPER } from './helpers.js'
import { gprSlot, SLOT_GPR, tempSlot } from './layout.js'
import { LIFT_SIMD } from './lift-simd.js'
import { LIFT_SSE } from './lift-sse.js'
import { LIFT_SYSTEM } from './lift-system.js'
import { LIFT_X87 } from './lift-x87.js'
import { COUNT_ROTATE, COUNT_ROTATE_CARRY, COUNT_SHIFT } from './miscellany.js'
import { type UopBuilder, widthOf } from './uop-builder.js'
import { UOP } from './uops.js'

/** Emits the micro-ops of one instruction. */
export type Lift = (i: Instruction, b: UopBuilder) => void

const T0 = tempSlot(0)
const T1 = tempSlot(1)
const T2 = tempSlot(2)
const RAX = gprSlot(0)
const RDX = gprSlot(2)
const RBX = gprSlot(3)
const RSP = gprSlot(4)
const RBP = gprSlot(5)

/** Fits the register form of an operand: registers are read in place. */
function isMemory(i: Instruction, n: number): boolean {
  return i.ops[n as 0].kind === OPERAND.mem
}

function destinationWidth(i: Instruction): number {
  return widthOf(i.ops[0].size)
}

/** dst ← dst op src, with flags; `writes` is false for CMP and TEST. */
function binary(kind: number, immediateKind: number, writes: boolean): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    const memory = isMemory(i, 0)
    const destination = memory ? T0 : gprSlot(i.ops[0].reg)
    if (memory) {
      b.address(i)
      b.load(width, T0, writes)
    }
    if (i.ops[1].kind === OPERAND.imm) {
      b.op(immediateKind, width, destination, destination, 0, i.imm, 0, 0, i.immHi)
    } else {
      const source = b.loadOperand(i, 1, T1)
      b.op(kind, width, destination, destination, source)
    }
    if (memory && writes) b.store(width, T0)
  }
}

/** dst ← op dst. */
function unary(kind: number): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    if (isMemory(i, 0)) {
      b.address(i)
      b.load(width, T0, true)
      b.op(kind, width, T0, T0)
      b.store(width, T0)
    } else {
      const slot = gprSlot(i.ops[0].reg)
      b.op(kind, width, slot, slot)
    }
  }
}

/** Slot of the count of a shift by CL: every processor but the 8086 masks it to 5 (6) bits, as the micro-ops do. */
function shiftCount(kind: number, width: number, b: UopBuilder): number {
  if (b.model.shiftCountMask === 0x1f) return gprSlot(1)
  const rotate = kind === UOP.ROL || kind === UOP.ROR
  const carry = kind === UOP.RCL || kind === UOP.RCR
  const which = carry ? COUNT_ROTATE_CARRY : rotate ? COUNT_ROTATE : COUNT_SHIFT
  b.helper(HELPER.count8086, { a: T1, b: which, c: 8 << width, ends: false })
  return T1
}

function shift(kind: number, immediateKind: number): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    const memory = isMemory(i, 0)
    const slot = memory ? T0 : gprSlot(i.ops[0].reg)
    if (memory) {
      b.address(i)
      b.load(width, T0, true)
    }
    const count = i.ops[1].kind
    if (count === OPERAND.gpr) b.op(kind, width, slot, slot, shiftCount(kind, width, b))
    else b.op(immediateKind, width, slot, slot, 0, count === OPERAND.one ? 1 : i.imm & 0xff)
    if (memory) b.store(width, T0)
  }
}

function doubleShift(kind: number, immediateKind: number): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    const memory = isMemory(i, 0)
    const slot = memory ? T0 : gprSlot(i.ops[0].reg)
    if (memory) {
      b.address(i)
      b.load(width, T0, true)
    }
    const fill = gprSlot(i.ops[1].reg)
    if (i.ops[2].kind === OPERAND.gpr) b.op(kind, width, slot, fill, gprSlot(i.ops[2].reg))
    else b.op(immediateKind, width, slot, fill, 0, i.imm & 0xff)
    if (memory) b.store(width, T0)
  }
}

function bitTest(kind: number, immediateKind: number, writes: boolean): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    const immediate = i.ops[1].kind === OPERAND.imm
    if (!isMemory(i, 0)) {
      const slot = gprSlot(i.ops[0].reg)
      if (immediate) b.op(immediateKind, width, slot, slot, 0, i.imm & 0xff)
      else b.op(kind, width, slot, slot, gprSlot(i.ops[1].reg))
      return
    }
    if (immediate) {
      b.address(i)
      b.load(width, T0, writes)
      b.op(immediateKind, width, T0, T0, 0, i.imm & 0xff)
      if (writes) b.store(width, T0)
      return
    }
    // A register offset reaches beyond the operand: a bit string in memory.
    const offset = gprSlot(i.ops[1].reg)
    b.ea(i, T1)
    b.op(UOP.BIT_OFFSET, width, T2, 0, offset)
    b.addressSlots(i.seg, i.addrSize, T1, T2)
    b.load(width, T0, writes)
    b.op(kind, width, T0, T0, offset)
    if (writes) b.store(width, T0)
  }
}

/** dst ← f(src), dst a register. */
function toRegister(kind: number): Lift {
  return (i, b) => {
    const source = b.loadOperand(i, 1, T0)
    b.op(kind, destinationWidth(i), gprSlot(i.ops[0].reg), source)
  }
}

function multiply(kind: number): Lift {
  return (i, b) => {
    const width = destinationWidth(i)
    const source = b.loadOperand(i, 0, T0)
    b.op(kind, width, 0, source)
  }
}

const liftImul: Lift = (i, b) => {
  if (i.operands === 1) {
    multiply(UOP.IMUL)(i, b)
    return
  }
  const width = destinationWidth(i)
  const destination = gprSlot(i.ops[0].reg)
  const source = b.loadOperand(i, 1, T0)
  if (i.operands === 3) b.op(UOP.IMUL_IMM, width, destination, source, 0, i.imm)
  else b.op(UOP.IMUL2, width, destination, destination, source)
}

const liftMov: Lift = (i, b) => {
  const d = i.ops[0]
  const s = i.ops[1]
  if (d.kind >= OPERAND.seg || s.kind >= OPERAND.seg) {
    LIFT_SYSTEM.mov!(i, b)
    return
  }
  const width = widthOf(d.size)
  if (d.kind === OPERAND.mem) {
    b.address(i)
    if (s.kind === OPERAND.imm) b.memory(UOP.STORE_IMM, width, 0, 0, i.imm)
    else b.store(width, gprSlot(s.reg))
  } else if (s.kind === OPERAND.mem) {
    b.address(i)
    b.load(width, gprSlot(d.reg))
  } else if (s.kind === OPERAND.imm) {
    b.op(UOP.MOV_IMM, width, gprSlot(d.reg), 0, 0, i.imm, 0, 0, i.immHi)
  } else {
    b.op(UOP.MOV, width, gprSlot(d.reg), gprSlot(s.reg))
  }
}

/** MOVZX, MOVSX, MOVSXD: from a narrower source to a register. */
function extend(registerKind: number, memoryKind: number): Lift {
  return (i, b) => {
    const destination = gprSlot(i.ops[0].reg)
    const to = i.ops[0].size
    const from = i.ops[1].size
    const width = widthOf(from)
    if (from >= to) {
      // MOVSXD without REX.W, MOVSX r16, r/m16: a plain move.
      b.op(UOP.MOV, widthOf(to), destination, b.loadOperand(i, 1, T0))
      return
    }
    const target = to === 2 ? T0 : destination
    if (isMemory(i, 1)) {
      b.address(i)
      b.memory(memoryKind, width, target)
    } else {
      b.op(registerKind, width, target, gprSlot(i.ops[1].reg))
    }
    if (to === 2) b.op(UOP.MOV, 1, destination, T0)
  }
}

const movzx = extend(UOP.ZERO_EXTEND, UOP.LOAD_ZX)
const movsx32 = extend(UOP.SIGN_EXTEND_32, UOP.LOAD_SX32)
const movsx64 = extend(UOP.SIGN_EXTEND_64, UOP.LOAD_SX64)
const liftMovsx: Lift = (i, b) => (i.ops[0].size === 8 ? movsx64 : movsx32)(i, b)

const liftXchg: Lift = (i, b) => {
  const width = destinationWidth(i)
  const memoryAt = isMemory(i, 0) ? 0 : isMemory(i, 1) ? 1 : -1
  if (memoryAt < 0) {
    b.op(UOP.XCHG, width, gprSlot(i.ops[0].reg), gprSlot(i.ops[1].reg))
    return
  }
  const register = gprSlot(i.ops[(1 - memoryAt) as 0].reg)
  b.address(i)
  b.load(width, T0, true)
  b.store(width, register)
  b.op(UOP.MOV, width, register, T0)
}

const liftXadd: Lift = (i, b) => {
  const width = destinationWidth(i)
  const source = gprSlot(i.ops[1].reg)
  if (isMemory(i, 0)) {
    b.address(i)
    b.load(width, T0, true)
    b.op(UOP.ADD, width, T1, T0, source)
    b.store(width, T1)
    b.op(UOP.MOV, width, source, T0)
  } else {
    const destination = gprSlot(i.ops[0].reg)
    b.op(UOP.MOV, width, T0, destination)
    b.op(UOP.ADD, width, T1, T0, source)
    b.op(UOP.MOV, width, source, T0)
    b.op(UOP.MOV, width, destination, T1)
  }
}

const liftCmpxchg: Lift = (i, b) => {
  const width = destinationWidth(i)
  const source = gprSlot(i.ops[1].reg)
  if (isMemory(i, 0)) {
    const throughRax = i.base === 0 || i.index === 0
    // The comparison may change rAX before the store: the address is kept.
    if (throughRax) {
      b.ea(i, T2)
      b.addressSlots(i.seg, i.addrSize, T2)
    } else b.address(i)
    b.load(width, T0, true)
    b.op(UOP.CMPXCHG, width, T1, T0, source)
    b.store(width, T1)
  } else if (width === 2) {
    // Without a match the register is not written at all, and keeps bits 63–32.
    const destination = gprSlot(i.ops[0].reg)
    b.op(UOP.MOV, 3, T0, destination)
    b.op(UOP.ZERO_EXTEND, 2, T2, source)
    b.op(UOP.CMPXCHG, 2, T1, T0, source)
    b.op(UOP.CMOV, 3, destination, T2, 0, 0, 4)
  } else {
    const destination = gprSlot(i.ops[0].reg)
    b.op(UOP.MOV, width, T0, destination)
    b.op(UOP.CMPXCHG, width, destination, T0, source)
  }
}

const liftPush: Lift = (i, b) => {
  const o = i.ops[0]
  if (o.kind === OPERAND.seg) {
    LIFT_SYSTEM.push!(i, b)
    return
  }
  const width = widthOf(i.opSize)
  if (o.kind === OPERAND.imm) {
    b.op(UOP.PUSH_IMM, width, 0, 0, 0, i.imm, b.stackExt)
  } else if (o.kind === OPERAND.gpr && gprSlot(o.reg) === RSP && b.model.pushSpDecremented) {
    b.addressSlots(SEG_SS, 2, RSP, undefined, -2)
    b.memory(UOP.LEA, 1, T0)
    b.op(UOP.PUSH, width, T0, 0, 0, 0, b.stackExt)
  } else {
    const slot = b.loadOperand(i, 0, T0)
    b.op(UOP.PUSH, width, slot, 0, 0, 0, b.stackExt)
  }
}

const liftPop: Lift = (i, b) => {
  const o = i.ops[0]
  if (o.kind === OPERAND.seg) {
    LIFT_SYSTEM.pop!(i, b)
    return
  }
  const width = widthOf(i.opSize)
  if (o.kind === OPERAND.mem) {
    // The address is computed with the incremented stack pointer (Intel SDM Vol. 2, "POP").
    b.op(UOP.LOAD_STACK, width, T0, 0, 0, 0, b.stackExt)
    b.address(i, i.base === 4 ? i.opSize : 0)
    b.store(width, T0)
    b.op(UOP.ADD_SP, width, 0, 0, 0, i.opSize, b.stackExt)
  } else {
    b.op(UOP.POP, width, gprSlot(o.reg), 0, 0, 0, b.stackExt)
  }
}

const liftLeave: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  const stack = widthOf(b.stackSize)
  b.addressSlots(SEG_SS, b.stackSize, RBP)
  b.load(width, T0)
  b.op(UOP.MOV, stack, RSP, RBP)
  b.op(UOP.ADD_SP, width, 0, 0, 0, i.opSize, b.stackExt)
  b.op(UOP.MOV, width, RBP, T0)
}

// --- control flow ------------------------------------------------------------------------------------------------

/** Distance of a relative branch's target from the block's start. */
function target(i: Instruction, b: UopBuilder): number {
  return (b.nextIp + i.imm) | 0
}

const liftJmp: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  if (i.ops[0].kind === OPERAND.rel) {
    if (b.checksTargets) b.op(UOP.CHECK_REL, width, 0, 0, 0, target(i, b), -1)
    b.op(UOP.JMP, width, 0, 0, 0, target(i, b))
  } else {
    const slot = b.loadOperand(i, 0, T0)
    b.op(UOP.CHECK_IP, width, slot)
    b.op(UOP.JMP_SLOT, width, slot)
  }
  b.terminate()
}

const liftCall: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  if (i.ops[0].kind === OPERAND.rel) {
    if (b.checksTargets) b.op(UOP.CHECK_REL, width, 0, 0, 0, target(i, b), -1)
    b.op(UOP.PUSH_RIP, width, 0, 0, 0, b.nextIp, b.stackExt)
    b.op(UOP.JMP, width, 0, 0, 0, target(i, b))
  } else {
    let slot = b.loadOperand(i, 0, T0)
    if (slot === RSP) {
      b.op(UOP.MOV, 3, T0, RSP)
      slot = T0
    }
    b.op(UOP.CHECK_IP, width, slot)
    b.op(UOP.PUSH_RIP, width, 0, 0, 0, b.nextIp, b.stackExt)
    b.op(UOP.JMP_SLOT, width, slot)
  }
  b.terminate()
}

const liftRet: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  const extra = i.operands > 0 ? i.imm & 0xffff : 0
  b.op(UOP.LOAD_STACK, width, T0, 0, 0, 0, b.stackExt)
  b.op(UOP.CHECK_IP, width, T0)
  b.op(UOP.ADD_SP, width, 0, 0, 0, i.opSize + extra, b.stackExt)
  b.op(UOP.JMP_SLOT, width, T0)
  b.terminate()
}

const liftJcc: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  if (b.checksTargets) b.op(UOP.CHECK_REL, width, 0, 0, 0, target(i, b), i.cond)
  b.op(UOP.JCC, width, 0, 0, 0, target(i, b), i.cond, b.nextIp)
  b.terminate()
}

const liftJcxz: Lift = (i, b) => {
  b.op(UOP.JCXZ, widthOf(i.opSize), 0, 0, 0, target(i, b), b.memoryExt(0, i.addrSize), b.nextIp)
  b.terminate()
}

function loop(condition: number): Lift {
  return (i, b) => {
    b.op(UOP.LOOP, widthOf(i.opSize), 0, condition, 0, target(i, b), b.memoryExt(0, i.addrSize), b.nextIp)
    b.terminate()
  }
}

// --- strings -----------------------------------------------------------------------------------------------------

function string(kind: number): Lift {
  return (i, b) => {
    const repeat = i.prefixes & PREFIX_REP ? 1 : i.prefixes & PREFIX_REPNE ? 2 : 0
    const source = kind === UOP.STOS || kind === UOP.SCAS ? SEG_ES : i.seg
    b.op(kind, widthOf(i.ops[0].size), 0, repeat, 0, b.nextIp, b.memoryExt(source, i.addrSize), b.thisIp)
    b.terminate()
  }
}

// --- the rest ----------------------------------------------------------------------------------------------------

const liftCbw: Lift = (i, b) => {
  if (i.opSize === 2) {
    b.op(UOP.SIGN_EXTEND_32, 0, T0, RAX)
    b.op(UOP.MOV, 1, RAX, T0)
  } else if (i.opSize === 4) {
    b.op(UOP.SIGN_EXTEND_32, 1, RAX, RAX)
  } else {
    b.op(UOP.SIGN_EXTEND_64, 2, RAX, RAX)
  }
}

const liftCwd: Lift = (i, b) => {
  // Sign-extended to 64 bits, the upper half is all sign.
  if (i.opSize === 8) {
    b.op(UOP.SIGN_EXTEND_64, 2, T0, RAX + 4)
    b.op(UOP.SIGN_EXTEND_64, 2, RDX, T0 + 4)
  } else {
    b.op(UOP.SIGN_EXTEND_64, widthOf(i.opSize), T0, RAX)
    b.op(UOP.MOV, widthOf(i.opSize), RDX, T0 + 4)
  }
}

const liftXlat: Lift = (i, b) => {
  b.op(UOP.ZERO_EXTEND, 0, T0, RAX)
  b.addressSlots(i.seg, i.addrSize, RBX, T0)
  b.load(0, RAX)
}

const liftLea: Lift = (i, b) => {
  b.address(i)
  b.memory(UOP.LEA, destinationWidth(i), gprSlot(i.ops[0].reg))
}

const liftSetcc: Lift = (i, b) => {
  if (isMemory(i, 0)) {
    b.op(UOP.SETCC, 0, T0, 0, 0, 0, i.cond)
    b.address(i)
    b.store(0, T0)
  } else {
    b.op(UOP.SETCC, 0, gprSlot(i.ops[0].reg), 0, 0, 0, i.cond)
  }
}

const liftCmov: Lift = (i, b) => {
  const source = b.loadOperand(i, 1, T0)
  b.op(UOP.CMOV, destinationWidth(i), gprSlot(i.ops[0].reg), source, 0, 0, i.cond)
}

const liftBswap: Lift = (i, b) => {
  const slot = gprSlot(i.ops[0].reg)
  b.op(UOP.BSWAP, widthOf(i.opSize), slot, slot)
}

const liftMovbe: Lift = (i, b) => {
  const width = widthOf(i.opSize)
  if (isMemory(i, 0)) {
    b.op(UOP.BSWAP, width === 1 ? 2 : width, T0, gprSlot(i.ops[1].reg))
    b.address(i)
    b.store(width, width === 1 ? T0 + 2 : T0)
  } else {
    b.address(i)
    b.load(width, T0)
    b.op(UOP.BSWAP, width === 1 ? 2 : width, T0, T0)
    b.op(UOP.MOV, width, gprSlot(i.ops[0].reg), width === 1 ? T0 + 2 : T0)
  }
}

function flag(kind: number): Lift {
  return (_i, b) => b.op(kind, 0, SLOT_GPR)
}

const nothing: Lift = () => {}

/** Lifting by mnemonic. Mnemonics found in neither table are not implemented and raise #UD. */
const LIFT_ORDINARY: Readonly<Record<string, Lift>> = {
  add: binary(UOP.ADD, UOP.ADD_IMM, true),
  or: binary(UOP.OR, UOP.OR_IMM, true),
  adc: binary(UOP.ADC, UOP.ADC_IMM, true),
  sbb: binary(UOP.SBB, UOP.SBB_IMM, true),
  and: binary(UOP.AND, UOP.AND_IMM, true),
  sub: binary(UOP.SUB, UOP.SUB_IMM, true),
  xor: binary(UOP.XOR, UOP.XOR_IMM, true),
  cmp: binary(UOP.CMP, UOP.CMP_IMM, false),
  test: binary(UOP.TEST, UOP.TEST_IMM, false),
  inc: unary(UOP.INC),
  dec: unary(UOP.DEC),
  neg: unary(UOP.NEG),
  not: unary(UOP.NOT),
  shl: shift(UOP.SHL, UOP.SHL_IMM),
  sal: shift(UOP.SHL, UOP.SHL_IMM),
  shr: shift(UOP.SHR, UOP.SHR_IMM),
  sar: shift(UOP.SAR, UOP.SAR_IMM),
  rol: shift(UOP.ROL, UOP.ROL_IMM),
  ror: shift(UOP.ROR, UOP.ROR_IMM),
  rcl: shift(UOP.RCL, UOP.RCL_IMM),
  rcr: shift(UOP.RCR, UOP.RCR_IMM),
  shld: doubleShift(UOP.SHLD, UOP.SHLD_IMM),
  shrd: doubleShift(UOP.SHRD, UOP.SHRD_IMM),
  mul: multiply(UOP.MUL),
  imul: liftImul,
  div: multiply(UOP.DIV),
  idiv: multiply(UOP.IDIV),
  bt: bitTest(UOP.BT, UOP.BT_IMM, false),
  bts: bitTest(UOP.BTS, UOP.BTS_IMM, true),
  btr: bitTest(UOP.BTR, UOP.BTR_IMM, true),
  btc: bitTest(UOP.BTC, UOP.BTC_IMM, true),
  bsf: toRegister(UOP.BSF),
  bsr: toRegister(UOP.BSR),
  popcnt: toRegister(UOP.POPCNT),
  lzcnt: toRegister(UOP.LZCNT),
  tzcnt: toRegister(UOP.TZCNT),
  bswap: liftBswap,
  movbe: liftMovbe,
  mov: liftMov,
  movzx: movzx,
  movsx: liftMovsx,
  movsxd: liftMovsx,
  lea: liftLea,
  xchg: liftXchg,
  xadd: liftXadd,
  cmpxchg: liftCmpxchg,
  push: liftPush,
  pop: liftPop,
  leave: liftLeave,
  jmp: liftJmp,
  call: liftCall,
  ret: liftRet,
  j: liftJcc,
  jcxz: liftJcxz,
  loop: loop(0),
  loope: loop(1),
  loopne: loop(2),
  movs: string(UOP.MOVS),
  cmps: string(UOP.CMPS),
  stos: string(UOP.STOS),
  lods: string(UOP.LODS),
  scas: string(UOP.SCAS),
  cbw: liftCbw,
  cwd: liftCwd,
  xlat: liftXlat,
  set: liftSetcc,
  cmov: liftCmov,
  clc: flag(UOP.CLC),
  stc: flag(UOP.STC),
  cmc: flag(UOP.CMC),
  cld: flag(UOP.CLD),
  std: flag(UOP.STD),
  lahf: flag(UOP.LAHF),
  sahf: flag(UOP.SAHF),
  salc: flag(UOP.SALC),
  nop: nothing,
  lfence: nothing,
  mfence: nothing,
  sfence: nothing,
  prefetch: nothing,
  prefetchw: nothing,
  prefetchnta: nothing,
  prefetcht0: nothing,
  prefetcht1: nothing,
  prefetcht2: nothing,
  endbr32: nothing,
  endbr64: nothing,
}

/** The lifting function of each mnemonic number; `undefined` where nothing is implemented. */
export const LIFT: readonly (Lift | undefined)[] = MNEMONICS.map(
  (name) => LIFT_ORDINARY[name] ?? LIFT_SYSTEM[name] ?? LIFT_X87[name] ?? LIFT_SIMD[name] ?? LIFT_SSE[name],
)
