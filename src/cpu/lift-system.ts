/**
 * Lifting of the instructions whose meaning is in helpers. Operands that can fault are loaded after the checks that come first on hardware
 * (a helper of their own where need be). A helper that may change RIP, the mode, what memory or code means, or memory itself ends its block.
 */

import {
  type Instruction,
  OPERAND,
  PREFIX_REP,
  PREFIX_REPNE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from '../isa/instruction.js'
import { HELPER } from './helpers.js'
import { gprSlot, OFF_SEG, SEG_SELECTOR, SEG_STRIDE, tempSlot } from './layout.js'
import { type UopBuilder, widthOf } from './uop-builder.js'
import { UOP } from './uops.js'

type Lift = (i: Instruction, b: UopBuilder) => void

const T0 = tempSlot(0)
const T1 = tempSlot(1)

function selectorSlot(seg: number): number {
  return OFF_SEG + seg * SEG_STRIDE + SEG_SELECTOR
}

/** A helper without operands. */
function plain(id: number, ends: boolean): Lift {
  return (_i, b) => b.helper(id, { ends })
}

/** A helper that gets the operand size in `a`. */
function sized(id: number): Lift {
  return (i, b) => b.helper(id, { a: i.opSize, ends: true })
}

const liftMov: Lift = (i, b) => {
  const [d, s] = i.ops
  if (d.kind === OPERAND.seg) {
    const source = b.loadOperand(i, 1, T0)
    b.helper(HELPER.movToSegment, { a: d.reg, b: source, ends: true })
  } else if (s.kind === OPERAND.seg) {
    // A selector is 16 bits; a wider register gets it zero-extended.
    b.op(UOP.ZERO_EXTEND, 1, T0, selectorSlot(s.reg))
    b.storeOperand(i, 0, T0)
  } else if (s.kind === OPERAND.cr) {
    b.helper(HELPER.movFromControl, { a: gprSlot(d.reg), b: s.reg, c: d.size, ends: false })
  } else if (d.kind === OPERAND.cr) {
    b.helper(HELPER.movToControl, { a: gprSlot(s.reg), b: d.reg, c: s.size, ends: true })
  } else if (s.kind === OPERAND.dr) {
    b.helper(HELPER.movFromDebug, { a: gprSlot(d.reg), b: s.reg, c: d.size, ends: false })
  } else if (d.kind === OPERAND.dr) {
    b.helper(HELPER.movToDebug, { a: gprSlot(s.reg), b: d.reg, c: s.size, ends: true })
  } else if (s.kind === OPERAND.tr) {
    b.helper(HELPER.movFromTest, { a: gprSlot(d.reg), b: s.reg, ends: false })
  } else {
    b.helper(HELPER.movToTest, { a: gprSlot(s.reg), b: d.reg, ends: true })
  }
}

const liftPush: Lift = (i, b) => {
  b.op(UOP.ZERO_EXTEND, 1, T0, selectorSlot(i.ops[0].reg))
  b.op(UOP.PUSH, widthOf(i.opSize), T0, 0, 0, 0, b.stackExt)
}

const liftPop: Lift = (i, b) => {
  if (i.ops[0].reg === SEG_CS) b.helper(HELPER.popCs, { a: i.opSize, ends: true })
  else b.helper(HELPER.popSegment, { a: i.ops[0].reg, b: i.opSize, ends: true })
}

/** LDS, LES, LFS, LGS, LSS. */
function farPointer(seg: number): Lift {
  return (i, b) => {
    b.ea(i, T0)
    b.helper(HELPER.loadFarPointer, {
      a: T0,
      b: i.seg | (i.opSize << 4),
      c: gprSlot(i.ops[0].reg),
      imm: seg,
      ends: true,
    })
  }
}

/** Far JMP and CALL. */
function far(call: number): Lift {
  return (i, b) => {
    if (i.ops[0].kind === OPERAND.far) {
      b.op(UOP.MOV_IMM, 3, T0, 0, 0, i.imm2 & 0xffff)
      b.helper(HELPER.farDirect, { a: T0, b: call, c: i.opSize, imm: i.imm, ends: true })
    } else {
      b.ea(i, T0)
      b.helper(HELPER.farIndirect, { a: T0, b: i.seg, c: i.opSize, imm: call, ends: true })
    }
  }
}

/** A helper that works on memory: offset in slot `a`, segment in `b`, operand size in `c`. */
function onMemory(id: number, imm = 0): Lift {
  return (i, b) => {
    b.ea(i, T0)
    b.helper(id, { a: T0, b: i.seg, c: i.opSize, imm, ends: true })
  }
}

/** LLDT, LTR, VERR, VERW, LMSW: `check` before the 16-bit operand is read. */
function selectorOperand(id: number, check: number, checkImm: number, imm: number, ends: boolean): Lift {
  return (i, b) => {
    b.helper(check, { imm: checkImm, ends: false })
    const slot = b.loadOperand(i, 0, T0)
    b.helper(id, { a: slot, imm, ends })
  }
}

/** SLDT, STR, SMSW. */
function storeWord(id: number, imm: number): Lift {
  return (i, b) => {
    b.helper(id, { a: T0, imm, ends: false })
    b.storeOperand(i, 0, T0)
  }
}

/** LAR, LSL. */
function rights(imm: number): Lift {
  return (i, b) => {
    b.helper(HELPER.checkSystem, { ends: false })
    const slot = b.loadOperand(i, 1, T0)
    b.helper(HELPER.loadRights, { a: gprSlot(i.ops[0].reg), b: slot, c: i.opSize, imm, ends: false })
  }
}

const liftArpl: Lift = (i, b) => {
  b.helper(HELPER.checkSystem, { ends: false })
  const slot = b.loadOperand(i, 0, T0, true)
  b.helper(HELPER.arpl, { a: slot, b: gprSlot(i.ops[1].reg), ends: false })
  if (i.ops[0].kind === OPERAND.mem) b.storeOperand(i, 0, T0)
}

/** The port of IN and OUT: an immediate, or -1 for DX. */
function port(i: Instruction, n: 0 | 1): number {
  return i.ops[n].kind === OPERAND.imm ? i.imm & 0xff : -1
}

const liftIn: Lift = (i, b) => {
  b.helper(HELPER.portIn, { a: gprSlot(i.ops[0].reg), c: i.ops[0].size, imm: port(i, 1), ends: true })
}

const liftOut: Lift = (i, b) => {
  b.helper(HELPER.portOut, { c: i.ops[1].size, imm: port(i, 0), ends: true })
}

function repeats(i: Instruction): number {
  return i.prefixes & (PREFIX_REP | PREFIX_REPNE) ? 1 : 0
}

const liftIns: Lift = (i, b) => {
  b.helper(HELPER.ins, { a: i.ops[0].size, b: i.addrSize, imm: repeats(i), ends: true })
}

const liftOuts: Lift = (i, b) => {
  b.helper(HELPER.outs, { a: i.ops[1].size, b: i.addrSize, c: i.seg, imm: repeats(i), ends: true })
}

/** A helper that writes register operand 0: slot in `a`, size in `c`. */
function toRegister(id: number): Lift {
  return (i, b) => b.helper(id, { a: gprSlot(i.ops[0].reg), c: i.ops[0].size, ends: false })
}

function baseOf(id: number, seg: number): Lift {
  return (i, b) => b.helper(id, { a: gprSlot(i.ops[0].reg), b: seg, c: i.ops[0].size, ends: id === HELPER.writeBase })
}

const liftBound: Lift = (i, b) => {
  b.ea(i, T0)
  b.helper(HELPER.bound, { a: T0, b: i.seg, c: gprSlot(i.ops[0].reg), imm: i.opSize, ends: false })
}

const liftInvpcid: Lift = (i, b) => {
  b.ea(i, T1)
  b.helper(HELPER.invpcid, { a: gprSlot(i.ops[0].reg), b: T1, c: i.seg, ends: true })
}

/** CLFLUSH touches its line as a byte read does. */
const liftClflush: Lift = (i, b) => {
  b.address(i)
  b.load(0, T0)
}

const undefinedOpcode: Lift = plain(HELPER.ud, true)

/** System instructions by mnemonic. `mov`, `push` and `pop` are for operands that are segment, control, debug or test registers. */
export const LIFT_SYSTEM: Readonly<Record<string, Lift>> = {
  mov: liftMov,
  push: liftPush,
  pop: liftPop,
  lds: farPointer(SEG_DS),
  les: farPointer(SEG_ES),
  lfs: farPointer(SEG_FS),
  lgs: farPointer(SEG_GS),
  lss: farPointer(SEG_SS),
  jmpf: far(0),
  callf: far(1),
  retf: (i, b) => b.helper(HELPER.retFar, { a: i.opSize, imm: i.operands > 0 ? i.imm & 0xffff : 0, ends: true }),
  iret: sized(HELPER.iret),
  int: (i, b) => b.helper(HELPER.intN, { imm: i.imm & 0xff, ends: true }),
  pause: (_i, b) => {
    if (!b.quietPause) b.helper(HELPER.pause, { ends: false })
  },
  int3: plain(HELPER.int3, true),
  int1: plain(HELPER.int1, true),
  into: plain(HELPER.into, true),
  ud0: undefinedOpcode,
  ud1: undefinedOpcode,
  ud2: undefinedOpcode,

  cli: plain(HELPER.cli, true),
  sti: plain(HELPER.sti, true),
  pushf: sized(HELPER.pushf),
  popf: sized(HELPER.popf),
  hlt: plain(HELPER.hlt, true),
  clac: (_i, b) => b.helper(HELPER.setAc, { imm: 0, ends: true }),
  stac: (_i, b) => b.helper(HELPER.setAc, { imm: 1, ends: true }),

  lgdt: onMemory(HELPER.loadTableRegister, 0),
  lidt: onMemory(HELPER.loadTableRegister, 1),
  sgdt: onMemory(HELPER.storeTableRegister, 0),
  sidt: onMemory(HELPER.storeTableRegister, 1),
  lldt: selectorOperand(HELPER.lldt, HELPER.checkSystem, 1, 0, true),
  ltr: selectorOperand(HELPER.ltr, HELPER.checkSystem, 1, 0, true),
  sldt: storeWord(HELPER.storeSystemSelector, 0),
  str: storeWord(HELPER.storeSystemSelector, 1),
  verr: selectorOperand(HELPER.verify, HELPER.checkSystem, 0, 0, false),
  verw: selectorOperand(HELPER.verify, HELPER.checkSystem, 0, 1, false),
  lar: rights(0),
  lsl: rights(1),
  arpl: liftArpl,
  lmsw: selectorOperand(HELPER.lmsw, HELPER.checkPrivileged, 0, 0, true),
  smsw: storeWord(HELPER.smsw, 0),
  clts: plain(HELPER.clts, true),
  invlpg: onMemory(HELPER.invlpg),
  invpcid: liftInvpcid,
  invd: plain(HELPER.wbinvd, false),
  wbinvd: plain(HELPER.wbinvd, false),
  clflush: liftClflush,

  swapgs: plain(HELPER.swapgs, true),
  rdfsbase: baseOf(HELPER.readBase, SEG_FS),
  rdgsbase: baseOf(HELPER.readBase, SEG_GS),
  wrfsbase: baseOf(HELPER.writeBase, SEG_FS),
  wrgsbase: baseOf(HELPER.writeBase, SEG_GS),
  syscall: plain(HELPER.syscall, true),
  sysret: sized(HELPER.sysret),
  sysenter: plain(HELPER.sysenter, true),
  sysexit: sized(HELPER.sysexit),
  rdmsr: plain(HELPER.rdmsr, false),
  wrmsr: plain(HELPER.wrmsr, true),
  rdtsc: plain(HELPER.rdtsc, false),
  rdtscp: plain(HELPER.rdtscp, false),
  rdpmc: plain(HELPER.rdpmc, false),
  rdpid: toRegister(HELPER.rdpid),
  rdpkru: plain(HELPER.rdpkru, false),
  wrpkru: plain(HELPER.wrpkru, true),
  cpuid: plain(HELPER.cpuid, false),
  rsm: plain(HELPER.rsm, true),

  in: liftIn,
  out: liftOut,
  ins: liftIns,
  outs: liftOuts,

  daa: plain(HELPER.daa, false),
  das: plain(HELPER.das, false),
  aaa: plain(HELPER.aaa, false),
  aas: plain(HELPER.aas, false),
  aam: (i, b) => b.helper(HELPER.aam, { imm: i.imm & 0xff, ends: false }),
  aad: (i, b) => b.helper(HELPER.aad, { imm: i.imm & 0xff, ends: false }),

  bound: liftBound,
  enter: (i, b) => b.helper(HELPER.enter, { a: i.opSize, b: i.imm2 & 31, imm: i.imm & 0xffff, ends: true }),
  pusha: sized(HELPER.pusha),
  popa: sized(HELPER.popa),

  cmpxchg8b: onMemory(HELPER.cmpxchg8b),
  cmpxchg16b: onMemory(HELPER.cmpxchg16b),
  rdrand: toRegister(HELPER.random),
  rdseed: toRegister(HELPER.random),
  monitor: (i, b) => b.helper(HELPER.monitor, { a: i.seg, b: i.addrSize, ends: false }),
  mwait: plain(HELPER.mwait, true),
}
