/**
 * The x87 instructions. X87 and X87_MEM micro-ops name one of these operations by number; each does a whole instruction, its checks and
 * exceptions included.
 * Source: Intel SDM Vol. 2, the page of each instruction; Vol. 1, "x87 FPU Floating-Point Exception Handling".
 */

import { FLAG_CF, FLAG_PF, FLAG_ZF } from '../isa/flags.js'
import type { CpuCore } from './cpu-types.js'
import {
  CLASS_QNAN,
  classify,
  EXPONENT_BIAS,
  Float80,
  ROUND_NEAREST,
  ROUND_UP,
  setZero,
  X87_IE,
  X87_OE,
  X87_UE,
} from './float80.js'
import {
  addFloat80,
  COMPARE_UNORDERED,
  compareFloat80,
  divideFloat80,
  examineClass,
  extractFloat80,
  multiplyFloat80,
  REMAINDER_INCOMPLETE,
  remainderFloat80,
  roundToInteger,
  scaleFloat80,
  squareRootFloat80,
} from './float80-arithmetic.js'
import {
  fromDecimal,
  fromDouble,
  fromInteger64,
  fromSingle,
  Image,
  toDecimal,
  toDouble,
  toInteger,
  toSingle,
} from './float80-convert.js'
import {
  ANGLE_OUT_OF_RANGE,
  arctangent2,
  exponential,
  logarithm,
  logarithmPlus1,
  sineCosine,
  tangent,
} from './float80-transcendental.js'
import type { CpuState } from './state.js'
import { loadEnvironment, restoreState, saveState, storeEnvironment } from './x87-environment.js'
import {
  begin,
  context,
  end,
  FSW_C1,
  FSW_C2,
  FSW_SF,
  fcw,
  freeSt,
  fsw,
  getSt,
  initX87,
  isEmpty,
  pop,
  ready,
  setConditions,
  setControlWord,
  setFsw,
  setSt,
  setTop,
  stackFault,
  statusWord,
  top,
  underflow,
  updateSummary,
  X87_EXCEPTIONS,
} from './x87-state.js'

/** An operation on registers: `i` as in ST(i), `fop` the opcode that the environment reports, `slot` a general register's. */
type X87Operation = (cpu: CpuCore, i: number, fop: number, slot: number) => void
/** An operation with an operand in memory; `size` is the operand size in bytes where it matters. */
type X87MemoryOperation = (cpu: CpuCore, seg: number, offset: number, fop: number, size: number) => void

const a = new Float80()
const b = new Float80()
const r = new Float80()
const r2 = new Float80()
const image = new Image()
const decimal = new Uint8Array(10)
const c = context

// --- arithmetic ----------------------------------------------------------------------------------------------------

/** r ← a op b, by name; the reversed forms exchange the operands. */
type Binary = () => void
const ARITHMETIC: Readonly<Record<'add' | 'mul' | 'sub' | 'subr' | 'div' | 'divr', Binary>> = {
  add: () => addFloat80(c, a, b, 0, r),
  mul: () => multiplyFloat80(c, a, b, r),
  sub: () => addFloat80(c, a, b, 1, r),
  subr: () => addFloat80(c, b, a, 1, r),
  div: () => divideFloat80(c, a, b, r),
  divr: () => divideFloat80(c, b, a, r),
}

/** ST(0) ← ST(0) op ST(i), or the other way round, then perhaps pops. */
function arithmetic(compute: Binary, toI: boolean, pops: boolean): X87Operation {
  return (cpu, i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    const destination = toI ? i : 0
    if (isEmpty(s, 0) || isEmpty(s, i)) {
      if (underflow(cpu, destination) && pops) pop(s)
    } else {
      getSt(s, destination, a)
      getSt(s, toI ? 0 : i, b)
      compute()
      if (!c.stopped) {
        setSt(s, destination, r)
        if (pops) pop(s)
      }
    }
    end(cpu)
  }
}

/** What kinds of memory operand there are: [bytes are read (into the image), they become a number]. */
type Source = readonly [(cpu: CpuCore, seg: number, offset: number) => void, (into: Float80, operand: boolean) => void]

const SOURCES: Readonly<Record<'m32' | 'm64' | 'i16' | 'i32' | 'i64' | 'm80', Source>> = {
  m32: [
    (cpu, seg, offset) => {
      image.lo = cpu.mem.read32(seg, offset) | 0
    },
    (into, operand) => fromSingle(c, image.lo, operand, into),
  ],
  m64: [read64, (into, operand) => fromDouble(c, image.hi, image.lo, operand, into)],
  i16: [
    (cpu, seg, offset) => {
      image.lo = (cpu.mem.read16(seg, offset) << 16) >> 16
    },
    (into) => fromInteger64(c, image.lo >> 31, image.lo, into),
  ],
  i32: [
    (cpu, seg, offset) => {
      image.lo = cpu.mem.read32(seg, offset) | 0
    },
    (into) => fromInteger64(c, image.lo >> 31, image.lo, into),
  ],
  i64: [read64, (into) => fromInteger64(c, image.hi, image.lo, into)],
  m80: [
    (cpu, seg, offset) => {
      read64(cpu, seg, offset)
      extended = cpu.mem.read16(seg, offset + 8)
    },
    (into) => into.set(extended, image.hi, image.lo),
  ],
}

/** Sign and exponent of an 80-bit operand that was read. */
let extended = 0

function read64(cpu: CpuCore, seg: number, offset: number): void {
  cpu.mem.read64(seg, offset)
  image.lo = cpu.mem.lo
  image.hi = cpu.mem.hi
}

function memoryArithmetic(compute: Binary, [read, convert]: Source): X87MemoryOperation {
  return (cpu, seg, offset, fop) => {
    if (!ready(cpu)) return
    read(cpu, seg, offset)
    begin(cpu, fop, seg, offset)
    const { s } = cpu
    if (isEmpty(s, 0)) underflow(cpu, 0)
    else {
      getSt(s, 0, a)
      convert(b, true)
      compute()
      if (!c.stopped) setSt(s, 0, r)
    }
    end(cpu)
  }
}

/** r ← f(ST(0)). */
function unary(compute: () => void): X87Operation {
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    if (isEmpty(s, 0)) underflow(cpu, 0)
    else {
      getSt(s, 0, a)
      compute()
      if (!c.stopped) setSt(s, 0, r)
    }
    end(cpu)
  }
}

/** ST(0) ← f(ST(0), ST(1)). */
function fscale(cpu: CpuCore, _i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  if (isEmpty(s, 0) || isEmpty(s, 1)) underflow(cpu, 0)
  else {
    getSt(s, 0, a)
    getSt(s, 1, b)
    scaleFloat80(c, a, b, r)
    if (!c.stopped) setSt(s, 0, r)
  }
  end(cpu)
}

function remainder(nearest: boolean): X87Operation {
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    setFsw(s, fsw(s) & ~FSW_C2)
    if (isEmpty(s, 0) || isEmpty(s, 1)) underflow(cpu, 0)
    else {
      getSt(s, 0, a)
      getSt(s, 1, b)
      const quotient = remainderFloat80(c, a, b, nearest, r)
      if (!c.stopped) {
        setSt(s, 0, r)
        if (quotient === REMAINDER_INCOMPLETE) setConditions(s, 2)
        else if (quotient >= 0) {
          // C0 ← Q2, C3 ← Q1, C1 ← Q0
          setConditions(s, (quotient >> 2) | ((quotient & 2) << 1))
          if (quotient & 1) setFsw(s, fsw(s) | FSW_C1)
        }
      }
    }
    end(cpu)
  }
}

function fxtract(cpu: CpuCore, _i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  if (isEmpty(s, 0)) {
    if (underflow(cpu, 0)) {
      setTop(s, top(s) - 1)
      underflow(cpu, 0)
    }
  } else if (!isEmpty(s, 7)) {
    stackFault(s, true)
    if (c.masks & X87_IE) {
      setTop(s, top(s) - 1)
      setSt(s, 0, INDEFINITE)
      setSt(s, 1, INDEFINITE)
    }
  } else {
    getSt(s, 0, a)
    extractFloat80(c, a, r2, r)
    if (!c.stopped) {
      setSt(s, 0, r2)
      setTop(s, top(s) - 1)
      setSt(s, 0, r)
    }
  }
  end(cpu)
}

/** ST(1) ← f(a = ST(0), b = ST(1)), then pops. */
function ofTwo(compute: () => void): X87Operation {
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    if (isEmpty(s, 0) || isEmpty(s, 1)) {
      if (underflow(cpu, 1)) pop(s)
    } else {
      getSt(s, 0, a)
      getSt(s, 1, b)
      compute()
      if (!c.stopped) {
        setSt(s, 1, r)
        pop(s)
      }
    }
    end(cpu)
  }
}

/** What FPTAN and FSINCOS push after their first result. */
const FPTAN = 1
const FSINCOS = 2

/** FSIN, FCOS, FSINCOS, FPTAN: C2 tells that the argument was too large. */
function angle(compute: () => number, pushes: number): X87Operation {
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    setFsw(s, fsw(s) & ~FSW_C2)
    if (isEmpty(s, 0)) {
      if (underflow(cpu, 0) && pushes) push(s, INDEFINITE)
    } else if (pushes && !isEmpty(s, 7)) {
      stackFault(s, true)
      if (c.masks & X87_IE) {
        setSt(s, 0, INDEFINITE)
        push(s, INDEFINITE)
      }
    } else {
      getSt(s, 0, a)
      if (compute() === ANGLE_OUT_OF_RANGE) setFsw(s, fsw(s) | FSW_C2)
      else if (!c.stopped) {
        setSt(s, 0, r)
        if (pushes === FSINCOS) push(s, r2)
        else if (pushes === FPTAN) {
          // A NaN goes to both places.
          if (classify(r) < CLASS_QNAN) r.set(EXPONENT_BIAS, 0x8000_0000, 0)
          push(s, r)
        }
      }
    }
    end(cpu)
  }
}

// --- comparisons ---------------------------------------------------------------------------------------------------

/** Condition codes C3, C2, C0 by outcome: greater, less, equal, unordered. */
const COMPARE_CODES = [0, 1, 4, 7] as const
const COMPARE_FLAGS = [0, FLAG_CF, FLAG_ZF, FLAG_ZF | FLAG_PF | FLAG_CF] as const

function popTimes(s: CpuState, times: number): void {
  for (let n = 0; n < times; n++) pop(s)
}

/** Compares a with b, or finds the stack underflown; `flags` writes EFLAGS instead of the condition codes. */
function conclude(s: CpuState, empty: boolean, quiet: boolean, flags: boolean, pops: number): void {
  let outcome = COMPARE_UNORDERED
  if (empty) stackFault(s, false)
  else outcome = compareFloat80(c, a, b, quiet)
  if (flags) s.arithmetic = COMPARE_FLAGS[outcome as 0]
  else setConditions(s, COMPARE_CODES[outcome as 0])
  if (!c.stopped) popTimes(s, pops)
}

function compare(quiet: boolean, flags: boolean, pops: number): X87Operation {
  return (cpu, i, fop) => {
    if (!ready(cpu)) return
    const { s } = cpu
    // Those that write EFLAGS leave C1 alone, but for a stack fault.
    const c1 = flags ? fsw(s) & FSW_C1 : 0
    begin(cpu, fop)
    const empty = isEmpty(s, 0) || isEmpty(s, i)
    getSt(s, 0, a)
    getSt(s, i, b)
    conclude(s, empty, quiet, flags, pops)
    if (!empty) setFsw(s, fsw(s) | c1)
    end(cpu)
  }
}

function memoryCompare([read, convert]: Source, pops: number): X87MemoryOperation {
  return (cpu, seg, offset, fop) => {
    if (!ready(cpu)) return
    read(cpu, seg, offset)
    begin(cpu, fop, seg, offset)
    const { s } = cpu
    const empty = isEmpty(s, 0)
    getSt(s, 0, a)
    convert(b, true)
    conclude(s, empty, false, false, pops)
    end(cpu)
  }
}

function ftst(cpu: CpuCore, _i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  getSt(cpu.s, 0, a)
  setZero(b, 0)
  conclude(cpu.s, isEmpty(cpu.s, 0), false, false, 0)
  end(cpu)
}

function fxam(cpu: CpuCore, _i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  getSt(s, 0, a)
  setConditions(s, isEmpty(s, 0) ? 5 : examineClass(a))
  if (a.sexp & 0x8000) setFsw(s, fsw(s) | FSW_C1)
}

// --- loads and stores ----------------------------------------------------------------------------------------------

const INDEFINITE = new Float80()
INDEFINITE.set(0xffff, 0xc000_0000, 0)

/** Is there room for a push? If not, and that is masked, the indefinite is pushed. */
function room(s: CpuState): boolean {
  if (isEmpty(s, 7)) return true
  stackFault(s, true)
  if (c.masks & X87_IE) push(s, INDEFINITE)
  return false
}

function push(s: CpuState, value: Float80): void {
  setTop(s, top(s) - 1)
  setSt(s, 0, value)
}

function load([read, convert]: Source): X87MemoryOperation {
  return (cpu, seg, offset, fop) => {
    if (!ready(cpu)) return
    read(cpu, seg, offset)
    begin(cpu, fop, seg, offset)
    const { s } = cpu
    if (room(s)) {
      convert(r, false)
      // A denormal is loaded whether or not that is masked.
      if ((c.flags & ~c.masks & X87_IE) === 0) push(s, r)
    }
    end(cpu)
  }
}

function fbld(cpu: CpuCore, seg: number, offset: number, fop: number): void {
  if (!ready(cpu)) return
  const { mem, s } = cpu
  mem.read64(seg, offset)
  const { lo, hi } = mem
  const high = mem.read16(seg, offset + 8)
  for (let n = 0; n < 4; n++) {
    decimal[n] = lo >>> (n * 8)
    decimal[n + 4] = hi >>> (n * 8)
  }
  decimal[8] = high
  decimal[9] = high >> 8
  begin(cpu, fop, seg, offset)
  if (room(s)) {
    fromDecimal(c, decimal, 0, r)
    push(s, r)
  }
  end(cpu)
}

function fldSt(cpu: CpuCore, i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  if (isEmpty(s, i)) {
    stackFault(s, false)
    if (c.masks & X87_IE) push(s, INDEFINITE)
  } else if (room(s)) {
    getSt(s, i, r)
    push(s, r)
  }
  end(cpu)
}

/** Constants: sign and exponent, halves; whether nearest rounds up to the value with the last bit as given. */
function constant(sexp: number, hi: number, lo: number, down: boolean): X87Operation {
  // `lo` is the value rounded to nearest; `down`: that was downwards.
  const value = new Float80()
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    if (room(cpu.s)) {
      let last = lo
      if (hi !== (0x8000_0000 | 0) && (sexp & 0x7fff) !== 0) {
        if (down ? c.rounding === ROUND_UP : c.rounding !== ROUND_UP && c.rounding !== ROUND_NEAREST)
          last = down ? lo + 1 : lo - 1
      }
      value.set(sexp, hi, last)
      push(cpu.s, value)
    }
    end(cpu)
  }
}

const UNSTORED = X87_IE | X87_OE | X87_UE

/** How a number gets to memory: bytes to look at first, what becomes of a, the store. */
interface Target {
  readonly probe: (cpu: CpuCore, seg: number, offset: number) => void
  readonly convert: () => void
  readonly store: (cpu: CpuCore, seg: number, offset: number) => void
}

function word(bytes: 2 | 4 | 8, convert: () => void): Target {
  return {
    probe: (cpu, seg, offset) => cpu.mem.probeWrite(seg, offset, bytes),
    convert,
    store: (cpu, seg, offset) => {
      if (bytes === 8) cpu.mem.write64(seg, offset, image.lo, image.hi)
      else if (bytes === 4) cpu.mem.write32(seg, offset, image.lo)
      else cpu.mem.write16(seg, offset, image.lo & 0xffff)
    },
  }
}

function integer(bytes: 2 | 4 | 8, truncate: boolean): Target {
  return word(bytes, () => toInteger(c, a, bytes * 8, truncate, image))
}

function probe80(cpu: CpuCore, seg: number, offset: number): void {
  cpu.mem.probeWrite(seg, offset, 8)
  cpu.mem.probeWrite(seg, offset + 8, 2)
}

const TARGETS = {
  m32: word(4, () => toSingle(c, a, image)),
  m64: word(8, () => toDouble(c, a, image)),
  m80: {
    probe: probe80,
    convert: () => {},
    store: (cpu, seg, offset) => {
      cpu.mem.write64(seg, offset, a.lo, a.hi)
      cpu.mem.write16(seg, offset + 8, a.sexp)
    },
  },
  bcd: {
    probe: probe80,
    convert: () => toDecimal(c, a, decimal, 0),
    store: (cpu, seg, offset) => {
      const lo = decimal[0]! | (decimal[1]! << 8) | (decimal[2]! << 16) | (decimal[3]! << 24)
      const hi = decimal[4]! | (decimal[5]! << 8) | (decimal[6]! << 16) | (decimal[7]! << 24)
      cpu.mem.write64(seg, offset, lo, hi)
      cpu.mem.write16(seg, offset + 8, decimal[8]! | (decimal[9]! << 8))
    },
  },
  i16: integer(2, false),
  i32: integer(4, false),
  i64: integer(8, false),
  t16: integer(2, true),
  t32: integer(4, true),
  t64: integer(8, true),
} as const satisfies Readonly<Record<string, Target>>

function store({ probe, convert, store: write }: Target, pops: boolean): X87MemoryOperation {
  return (cpu, seg, offset, fop) => {
    if (!ready(cpu)) return
    probe(cpu, seg, offset)
    begin(cpu, fop, seg, offset)
    const { s } = cpu
    if (isEmpty(s, 0)) {
      stackFault(s, false)
      a.copy(INDEFINITE)
      const { flags } = c
      convert()
      c.flags = flags
    } else {
      getSt(s, 0, a)
      convert()
    }
    if ((c.flags & ~c.masks & UNSTORED) === 0) {
      write(cpu, seg, offset)
      if (pops) pop(s)
    }
    end(cpu)
  }
}

/** FSTPNCE: as FSTP, but an empty register is popped without a word. */
function fstpnce(cpu: CpuCore, i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  if (isEmpty(s, 0)) {
    setTop(s, top(s) + 1)
    return
  }
  getSt(s, 0, r)
  setSt(s, i, r)
  pop(s)
}

function fst(pops: boolean): X87Operation {
  return (cpu, i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    const { s } = cpu
    if (isEmpty(s, 0)) {
      if (underflow(cpu, i) && pops) pop(s)
    } else {
      getSt(s, 0, r)
      setSt(s, i, r)
      if (pops) pop(s)
    }
    end(cpu)
  }
}

// --- the rest ------------------------------------------------------------------------------------------------------

function fxch(cpu: CpuCore, i: number, fop: number): void {
  if (!ready(cpu)) return
  begin(cpu, fop)
  const { s } = cpu
  const empty0 = isEmpty(s, 0)
  const emptyI = isEmpty(s, i)
  getSt(s, 0, a)
  getSt(s, i, b)
  if (empty0 || emptyI) {
    stackFault(s, false)
    if (empty0) a.copy(INDEFINITE)
    if (emptyI) b.copy(INDEFINITE)
  }
  if (!c.stopped) {
    setSt(s, i, a)
    setSt(s, 0, b)
  }
  end(cpu)
}

/** FCMOVcc: `mask` of EFLAGS, moved if any is set, or if none is. */
function conditionalMove(mask: number, set: boolean): X87Operation {
  return (cpu, i, fop) => {
    if (!ready(cpu)) return
    const { s } = cpu
    const c1 = fsw(s) & FSW_C1
    begin(cpu, fop)
    if (isEmpty(s, 0) || isEmpty(s, i)) underflow(cpu, 0)
    else if (((s.arithmetic & mask) !== 0) === set) {
      getSt(s, i, r)
      setSt(s, 0, r)
    }
    if (c.flags === 0) setFsw(s, fsw(s) | c1)
    end(cpu)
  }
}

/** FINCSTP, FDECSTP. */
function rotate(step: number): X87Operation {
  return (cpu, _i, fop) => {
    if (!ready(cpu)) return
    begin(cpu, fop)
    setTop(cpu.s, top(cpu.s) + step)
  }
}

function ffree(pops: boolean): X87Operation {
  return (cpu, i, fop) => {
    if (!ready(cpu)) return
    const { s } = cpu
    begin(cpu, fop)
    freeSt(s, i)
    if (pops) pop(s)
  }
}

function fnop(cpu: CpuCore, _i: number, fop: number): void {
  if (!ready(cpu)) return
  const status = fsw(cpu.s)
  begin(cpu, fop)
  setFsw(cpu.s, status)
}

function fnclex(cpu: CpuCore): void {
  const { s } = cpu
  setFsw(s, fsw(s) & ~(X87_EXCEPTIONS | FSW_SF))
  updateSummary(cpu)
}

function fnstswAx(cpu: CpuCore, _i: number, _fop: number, slot: number): void {
  cpu.s.u16[(cpu.s.base + slot) >> 1] = statusWord(cpu.s)
}

function fldcw(cpu: CpuCore, seg: number, offset: number): void {
  if (ready(cpu)) setControlWord(cpu, cpu.mem.read16(seg, offset))
}

// --- the tables ----------------------------------------------------------------------------------------------------

const FCHS: X87Operation = unary(() => r.set(a.sexp ^ 0x8000, a.hi, a.lo))
const FABS: X87Operation = unary(() => r.set(a.sexp & 0x7fff, a.hi, a.lo))

function arithmeticRows(): Record<string, X87Operation> {
  const rows: Record<string, X87Operation> = {}
  for (const [name, compute] of Object.entries(ARITHMETIC)) {
    rows[`f${name}`] = arithmetic(compute, false, false)
    rows[`f${name}.i`] = arithmetic(compute, true, false)
    rows[`f${name}p.i`] = arithmetic(compute, true, true)
  }
  return rows
}

/** By name: the mnemonic, with `.i` where the destination is ST(i). */
const REGISTER_BY_NAME: Readonly<Record<string, X87Operation>> = {
  ...arithmeticRows(),
  fcom: compare(false, false, 0),
  fcomp: compare(false, false, 1),
  fcompp: compare(false, false, 2),
  fucom: compare(true, false, 0),
  fucomp: compare(true, false, 1),
  fucompp: compare(true, false, 2),
  fcomi: compare(false, true, 0),
  fcomip: compare(false, true, 1),
  fucomi: compare(true, true, 0),
  fucomip: compare(true, true, 1),
  ftst,
  fxam,
  fld: fldSt,
  fst: fst(false),
  fstp: fst(true),
  fstpnce,
  fxch,
  fchs: FCHS,
  fabs: FABS,
  fld1: constant(0x3fff, 0x8000_0000 | 0, 0, false),
  fldl2t: constant(0x4000, 0xd49a_784b, 0xcd1b_8afe, true),
  fldl2e: constant(0x3fff, 0xb8aa_3b29, 0x5c17_f0bc, false),
  fldpi: constant(0x4000, 0xc90f_daa2, 0x2168_c235, false),
  fldlg2: constant(0x3ffd, 0x9a20_9a84, 0xfbcf_f799, false),
  fldln2: constant(0x3ffe, 0xb172_17f7, 0xd1cf_79ac, false),
  fldz: constant(0, 0, 0, false),
  fsqrt: unary(() => squareRootFloat80(c, a, r)),
  frndint: unary(() => roundToInteger(c, a, r)),
  f2xm1: unary(() => exponential(c, a, r)),
  fyl2x: ofTwo(() => logarithm(c, a, b, r)),
  fyl2xp1: ofTwo(() => logarithmPlus1(c, a, b, r)),
  fpatan: ofTwo(() => arctangent2(c, a, b, r)),
  fptan: angle(() => tangent(c, a, r), FPTAN),
  fsin: angle(() => sineCosine(c, a, r, undefined), 0),
  fcos: angle(() => sineCosine(c, a, undefined, r), 0),
  fsincos: angle(() => sineCosine(c, a, r, r2), FSINCOS),
  fscale,
  fxtract,
  fprem: remainder(false),
  fprem1: remainder(true),
  ffree: ffree(false),
  ffreep: ffree(true),
  fincstp: rotate(1),
  fdecstp: rotate(-1),
  fnop,
  fcmovb: conditionalMove(FLAG_CF, true),
  fcmove: conditionalMove(FLAG_ZF, true),
  fcmovbe: conditionalMove(FLAG_CF | FLAG_ZF, true),
  fcmovu: conditionalMove(FLAG_PF, true),
  fcmovnb: conditionalMove(FLAG_CF, false),
  fcmovne: conditionalMove(FLAG_ZF, false),
  fcmovnbe: conditionalMove(FLAG_CF | FLAG_ZF, false),
  fcmovnu: conditionalMove(FLAG_PF, false),
  fninit: initX87,
  fnclex,
  fnstsw: fnstswAx,
  // Instructions of the 8087 and 80287 that later processors take and ignore.
  fneni: () => {},
  fndisi: () => {},
  fnsetpm: () => {},
  fwait: (cpu) => {
    ready(cpu)
  },
}

function memoryArithmeticRows(): Record<string, X87MemoryOperation> {
  const rows: Record<string, X87MemoryOperation> = {}
  for (const [name, compute] of Object.entries(ARITHMETIC)) {
    rows[`f${name}.4`] = memoryArithmetic(compute, SOURCES.m32)
    rows[`f${name}.8`] = memoryArithmetic(compute, SOURCES.m64)
    rows[`fi${name}.2`] = memoryArithmetic(compute, SOURCES.i16)
    rows[`fi${name}.4`] = memoryArithmetic(compute, SOURCES.i32)
  }
  return rows
}

/** By mnemonic and bytes of the operand. */
const MEMORY_BY_NAME: Readonly<Record<string, X87MemoryOperation>> = {
  ...memoryArithmeticRows(),
  'fcom.4': memoryCompare(SOURCES.m32, 0),
  'fcom.8': memoryCompare(SOURCES.m64, 0),
  'fcomp.4': memoryCompare(SOURCES.m32, 1),
  'fcomp.8': memoryCompare(SOURCES.m64, 1),
  'ficom.2': memoryCompare(SOURCES.i16, 0),
  'ficom.4': memoryCompare(SOURCES.i32, 0),
  'ficomp.2': memoryCompare(SOURCES.i16, 1),
  'ficomp.4': memoryCompare(SOURCES.i32, 1),
  'fld.4': load(SOURCES.m32),
  'fld.8': load(SOURCES.m64),
  'fld.10': load(SOURCES.m80),
  'fild.2': load(SOURCES.i16),
  'fild.4': load(SOURCES.i32),
  'fild.8': load(SOURCES.i64),
  'fbld.10': fbld,
  'fst.4': store(TARGETS.m32, false),
  'fst.8': store(TARGETS.m64, false),
  'fstp.4': store(TARGETS.m32, true),
  'fstp.8': store(TARGETS.m64, true),
  'fstp.10': store(TARGETS.m80, true),
  'fist.2': store(TARGETS.i16, false),
  'fist.4': store(TARGETS.i32, false),
  'fistp.2': store(TARGETS.i16, true),
  'fistp.4': store(TARGETS.i32, true),
  'fistp.8': store(TARGETS.i64, true),
  'fisttp.2': store(TARGETS.t16, true),
  'fisttp.4': store(TARGETS.t32, true),
  'fisttp.8': store(TARGETS.t64, true),
  'fbstp.10': store(TARGETS.bcd, true),
  'fldcw.2': fldcw,
  'fnstcw.2': (cpu, seg, offset) => cpu.mem.write16(seg, offset, fcw(cpu.s)),
  'fnstsw.2': (cpu, seg, offset) => cpu.mem.write16(seg, offset, statusWord(cpu.s)),
  'fnstenv.0': (cpu, seg, offset, _fop, size) => storeEnvironment(cpu, seg, offset, size),
  'fldenv.0': (cpu, seg, offset, _fop, size) => loadEnvironment(cpu, seg, offset, size),
  'fnsave.0': (cpu, seg, offset, _fop, size) => saveState(cpu, seg, offset, size),
  'frstor.0': (cpu, seg, offset, _fop, size) => restoreState(cpu, seg, offset, size),
}

function numbersOf(table: Readonly<Record<string, unknown>>): ReadonlyMap<string, number> {
  return new Map(Object.keys(table).map((name, number) => [name, number]))
}

/** Number of each operation of an X87 micro-op: the mnemonic, with `.i` where the destination is ST(i). */
export const X87_REGISTER: ReadonlyMap<string, number> = /* @__PURE__ */ numbersOf(REGISTER_BY_NAME)
/** Number of each operation of an X87_MEM micro-op: the mnemonic, a dot, and the operand's size in bytes. */
export const X87_MEMORY: ReadonlyMap<string, number> = /* @__PURE__ */ numbersOf(MEMORY_BY_NAME)
/** What X87 micro-ops mean. */
export const X87_OPERATIONS: readonly X87Operation[] = /* @__PURE__ */ Object.values(REGISTER_BY_NAME)
/** What X87_MEM micro-ops mean. */
export const X87_MEMORY_OPERATIONS: readonly X87MemoryOperation[] = /* @__PURE__ */ Object.values(MEMORY_BY_NAME)
