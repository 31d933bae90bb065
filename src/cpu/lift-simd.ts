/**
 * Lifting of MMX and SSE. Nearly every instruction has one shape, and {@link simd} writes it:
 *
 *     addps: simd('addps'),
 *     cvtsi2sd: simd('cvtsi2sd', { immediate: (i) => i.ops[1].size }),
 *
 * - **Checks.** An instruction with an XMM operand needs MODE_SSE, one with MMX operands alone MODE_X87; while the bit is clear, all it consists of is an
 *   operation that raises #UD or #NM. One with an MMX operand then tests for a pending x87 exception, and its last step is the change to MMX state
 *   (TOP 0, all tags valid, exponent of the register that was written all ones).
 * - **Operands** come from the decoded instruction, and their widths from the instruction table. Operand 1 is the source: a register's own slot, or
 *   memory loaded to {@link V1} (16 bytes: #GP(0) unless aligned, or with `unaligned`; 1–8 bytes: zero-extended to 16). Operand 0 is the destination:
 *   a register's own slot, or for memory {@link V0}, which the operation fills and which is then stored.
 * - **The operation** gets `a` = `b` = the destination (so `b` is the old value) and `c` = the source, `imm` = the immediate byte, unsigned (0 without
 *   one). A general register as destination: the operation writes all 64 bits. As source: it reads as many as it wants; where that
 *   depends on the operand size let `immediate` tell. An instruction without a second operand has `c` = the destination.
 * - Flags are the operation's business (`cpu.s.arithmetic = …`); so are #XM and other faults, thrown before anything changes.
 *
 * An operation is a function in a {@link SimdGroup} (simd-types.ts) that simd.ts takes into its table: the SSE floating-point groups are listed in
 * sse-groups.ts. By default it has the mnemonic's name.
 *
 * What does not fit the shape is a function of its own: {@link sseChecked} / {@link mmxChecked} begin it, `b.op(UOP.SIMD, 0, a, b, c, imm, number)`
 * with {@link simdNumber} is one operation, {@link loadVector} and {@link storeVector} move memory. A helper (FXSAVE) is emitted as in
 * lift-system.ts after its own check of the mode. Nothing that can fault follows the first change of state.
 */

import { type Instruction, OPERAND, type Operand, PREFIX_REX_W } from '../isa/instruction.js'
import { gprSlot, MODE_SSE, MODE_X87, OFF_XMM, SLOT_VTEMP, tempSlot } from './layout.js'
import { simdNumber } from './simd.js'
import { INTEGER_BOTH, INTEGER_WIDE } from './simd-integer.js'
import { mmSlot } from './simd-mmx.js'
import { STRING_WIDE_LENGTHS } from './simd-string.js'
import { type UopBuilder, widthOf } from './uop-builder.js'
import { EXT_ALIGNED, UOP } from './uops.js'

/** Emits the micro-ops of one instruction. */
export type Lift = (i: Instruction, b: UopBuilder) => void

/** The vector temporaries: a memory destination, a memory source, and two for the operation. */
export const V0: number = SLOT_VTEMP
export const V1: number = SLOT_VTEMP + 16

/** Departures from the shape. */
export interface SimdShape {
  /** Name of the operation, where it is not the mnemonic's. */
  readonly operation?: string
  /** A 16-byte memory operand may lie anywhere. */
  readonly unaligned?: boolean
  /** The operation's `imm`, where it is not the immediate byte. */
  readonly immediate?: (i: Instruction) => number
  /** It tests for x87 exceptions and changes to MMX state: default when an operand is an MMX register. */
  readonly mmx?: boolean
}

/** Emits one SIMD operation. */
export function operation(
  b: UopBuilder,
  number: number,
  a: number,
  first: number = a,
  second: number = a,
  imm = 0,
): void {
  b.op(UOP.SIMD, 0, a, first, second, imm, number)
}

const SSE_UNAVAILABLE: number = /* @__PURE__ */ simdNumber('sse-unavailable')
const MMX_UNAVAILABLE: number = /* @__PURE__ */ simdNumber('mmx-unavailable')
const MMX_CHECK: number = /* @__PURE__ */ simdNumber('mmx-check')
const MMX_DONE: number = /* @__PURE__ */ simdNumber('mmx-done')

/** Begins an SSE instruction. False: SSE is off, and what raises the exception has been emitted. */
export function sseChecked(b: UopBuilder): boolean {
  if (b.mode & MODE_SSE) return true
  operation(b, SSE_UNAVAILABLE, 0)
  return false
}

/** Begins an instruction on MMX registers alone: the mode, then pending x87 exceptions. */
export function mmxChecked(b: UopBuilder): boolean {
  if ((b.mode & MODE_X87) === 0) {
    operation(b, MMX_UNAVAILABLE, 0)
    return false
  }
  operation(b, MMX_CHECK, 0)
  return true
}

/** Ends an MMX instruction; `written` = slot of the MMX register that it wrote, or 0. */
export function mmxDone(b: UopBuilder, written = 0): void {
  operation(b, MMX_DONE, written)
}

/** Slot of a register operand. */
export function vectorSlot(o: Operand): number {
  return o.kind === OPERAND.xmm ? OFF_XMM + o.reg * 16 : o.kind === OPERAND.mm ? mmSlot(o.reg) : gprSlot(o.reg)
}

/** Width code of LOAD_V and STORE_V for `size` bytes: 16, 8, 4 or 2. */
function vectorWidth(size: number): number {
  return size === 16 ? 0 : widthOf(size)
}

/** slot ← the memory operand, `size` bytes, zero-extended to 16. */
export function loadVector(i: Instruction, b: UopBuilder, size: number, slot: number, aligned = true): void {
  b.address(i)
  if (size === 1) {
    b.op(UOP.MOV_IMM, 3, slot + 8)
    b.memory(UOP.LOAD_ZX, 0, slot)
  } else {
    b.memory(UOP.LOAD_V, vectorWidth(size), slot, size === 16 && aligned ? EXT_ALIGNED : 0)
  }
}

/** memory operand ← the low `size` bytes of slot. */
export function storeVector(i: Instruction, b: UopBuilder, size: number, slot: number, aligned = true): void {
  b.address(i)
  if (size === 1) b.store(0, slot)
  else b.memory(UOP.STORE_V, vectorWidth(size), slot, size === 16 && aligned ? EXT_ALIGNED : 0)
}

/** The general shape: see the head of this file. */
export function simd(name: string, shape: SimdShape = {}): Lift {
  const number = simdNumber(shape.operation ?? name)
  return shaped(number, shape)
}

function shaped(number: number, shape: SimdShape): Lift {
  const aligned = shape.unaligned !== true
  return (i, b) => {
    const [d, s] = i.ops
    const sse = d.kind === OPERAND.xmm || s.kind === OPERAND.xmm
    const mmx = shape.mmx ?? (d.kind === OPERAND.mm || s.kind === OPERAND.mm)
    if (sse && !sseChecked(b)) return
    if (mmx && !mmxChecked(b)) return
    const memory = d.kind === OPERAND.mem
    const a = memory ? V0 : vectorSlot(d)
    let c = a
    if (s.kind === OPERAND.mem) {
      c = V1
      loadVector(i, b, s.size, c, aligned)
    } else if (i.operands > 1 && s.kind !== OPERAND.imm) {
      c = vectorSlot(s)
    }
    const imm = shape.immediate !== undefined ? shape.immediate(i) : i.imm & 0xff
    operation(b, number, a, a, c, imm)
    if (memory) storeVector(i, b, d.size, a, aligned)
    if (mmx) mmxDone(b, d.kind === OPERAND.mm ? a : 0)
  }
}

/** Every mnemonic of `names` in the general shape. */
export function simdAll(names: readonly string[]): Record<string, Lift> {
  return Object.fromEntries(names.map((name) => [name, simd(name)]))
}

/** Integer operations that exist on XMM registers and, as `name.mm`, on MMX registers. */
function packed(name: string, shape: SimdShape = {}): Lift {
  const wide = simd(name, shape)
  const narrow = simd(name, { ...shape, operation: `${name}.mm` })
  return (i, b) => (i.ops[0].kind === OPERAND.mm || i.ops[1].kind === OPERAND.mm ? narrow : wide)(i, b)
}

/** Shifts: by an immediate or by the low 64 bits of the source. */
function shift(name: string): Lift {
  const bySlot = packed(name)
  const wide = simdNumber(`${name}.imm`)
  const narrow = simdNumber(`${name}.imm.mm`)
  return (i, b) => {
    const [d, s] = i.ops
    if (s.kind !== OPERAND.imm) {
      bySlot(i, b)
    } else if (d.kind === OPERAND.xmm) {
      if (sseChecked(b)) operation(b, wide, vectorSlot(d), vectorSlot(d), vectorSlot(d), i.imm & 0xff)
    } else if (mmxChecked(b)) {
      operation(b, narrow, vectorSlot(d), vectorSlot(d), vectorSlot(d), i.imm & 0xff)
      mmxDone(b, vectorSlot(d))
    }
  }
}

const MOVE_16: number = /* @__PURE__ */ simdNumber('move.16')
const EMMS: number = /* @__PURE__ */ simdNumber('emms')

/** MOVAPS and its kin: 16 bytes between registers, or register and memory. */
function move(aligned: boolean): Lift {
  return (i, b) => {
    if (!sseChecked(b)) return
    const [d, s] = i.ops
    if (d.kind === OPERAND.mem) storeVector(i, b, 16, vectorSlot(s), aligned)
    else if (s.kind === OPERAND.mem) loadVector(i, b, 16, vectorSlot(d), aligned)
    else operation(b, MOVE_16, vectorSlot(d), vectorSlot(d), vectorSlot(s))
  }
}

/** MOVSS and MOVSD: loads clear the rest of the register, moves between registers keep it. */
function moveScalar(size: 4 | 8): Lift {
  const between = simdNumber(`move.${size}`)
  return (i, b) => {
    if (!sseChecked(b)) return
    const [d, s] = i.ops
    if (d.kind === OPERAND.mem) storeVector(i, b, size, vectorSlot(s))
    else if (s.kind === OPERAND.mem) loadVector(i, b, size, vectorSlot(d))
    else operation(b, between, vectorSlot(d), vectorSlot(d), vectorSlot(s))
  }
}

/** MOVLPS, MOVHPS and their kin: half a register, from `at` on, and memory; the other half is kept. */
function moveHalf(at: 0 | 8): Lift {
  return (i, b) => {
    if (!sseChecked(b)) return
    const [d, s] = i.ops
    b.address(i)
    if (d.kind === OPERAND.mem) b.store(3, vectorSlot(s) + at)
    else b.load(3, vectorSlot(d) + at)
  }
}

/** MOVD, MOVQ, MOVNTQ: 4 or 8 bytes between an MMX or XMM register and a general one, another of its kind, or memory. */
function moveWord(size: 4 | 8): Lift {
  const toXmm = simdNumber(`move.${size}z`)
  const toMm = simdNumber(size === 8 ? 'move.mm' : 'move.4z.mm')
  return (i, b) => {
    const [d, s] = i.ops
    const sse = d.kind === OPERAND.xmm || s.kind === OPERAND.xmm
    if (sse ? !sseChecked(b) : !mmxChecked(b)) return
    if (d.kind === OPERAND.mem) {
      storeVector(i, b, size, vectorSlot(s))
    } else if (d.kind === OPERAND.gpr) {
      b.op(UOP.MOV, widthOf(size), vectorSlot(d), vectorSlot(s))
    } else if (s.kind === OPERAND.mem && sse) {
      loadVector(i, b, size, vectorSlot(d))
    } else if (s.kind === OPERAND.mem) {
      b.address(i)
      b.memory(size === 8 ? UOP.LOAD : UOP.LOAD_ZX, widthOf(size), vectorSlot(d))
    } else {
      operation(b, sse ? toXmm : toMm, vectorSlot(d), vectorSlot(d), vectorSlot(s))
    }
    if (!sse) mmxDone(b, d.kind === OPERAND.mm ? vectorSlot(d) : 0)
  }
}

const T0: number = tempSlot(0)
const RDI: number = gprSlot(7)

/** MASKMOVQ, MASKMOVDQU: to DS:rDI or where a segment prefix says. */
function maskedMove(name: string): Lift {
  const number = simdNumber(name)
  return (i, b) => {
    const [data, mask] = i.ops
    const sse = data.kind === OPERAND.xmm
    if (sse ? !sseChecked(b) : !mmxChecked(b)) return
    b.addressSlots(i.seg, i.addrSize, RDI)
    b.memory(UOP.LEA, 3, T0)
    operation(b, number, T0, vectorSlot(data), vectorSlot(mask), i.seg | (i.addrSize << 4))
    if (!sse) mmxDone(b)
  }
}

/** A memory source of INSERTPS is one number: there is nothing to choose from. */
function insertedFrom(i: Instruction): number {
  return i.ops[1].kind === OPERAND.mem ? i.imm & 0x3f : i.imm & 0xff
}

/** The string comparisons, whose explicit lengths are 64-bit registers with REX.W. */
function stringControl(i: Instruction): number {
  return (i.imm & 0xff) | (i.prefixes & PREFIX_REX_W ? STRING_WIDE_LENGTHS : 0)
}

function named(names: readonly string[], lift: (name: string) => Lift): Record<string, Lift> {
  return Object.fromEntries(names.map((name) => [name, lift(name)]))
}

// biome-ignore format: a dense list reads better
const GENERAL = [
  'punpcklqdq', 'punpckhqdq', 'movhlps', 'movlhps', 'movddup', 'movsldup', 'movshdup', 'movmskps', 'movmskpd', 'pshufd', 'pshuflw', 'pshufhw',
  'shufps', 'shufpd', 'pblendw', 'blendps', 'blendpd', 'pblendvb', 'blendvps', 'blendvpd', 'pinsrb', 'pinsrd', 'pinsrq',
  'pextrb', 'pextrd', 'pextrq', 'pmovsxbw', 'pmovsxbd', 'pmovsxbq', 'pmovsxwd', 'pmovsxwq', 'pmovsxdq', 'pmovzxbw',
  'pmovzxbd', 'pmovzxbq', 'pmovzxwd', 'pmovzxwq', 'pmovzxdq', 'ptest',
]

/** MMX and integer SSE instructions by mnemonic. */
export const LIFT_SIMD: Readonly<Record<string, Lift>> = {
  ...named(INTEGER_BOTH, packed),
  ...named(['psllw', 'pslld', 'psllq', 'psrlw', 'psrld', 'psrlq', 'psraw', 'psrad'], shift),
  ...named(['pslldq', 'psrldq'], (name) => simd(name, { operation: `${name}.imm` })),
  ...simdAll([...INTEGER_WIDE, ...GENERAL]),
  ...named(['pmovmskb', 'pinsrw', 'pextrw'], packed),
  pshufw: simd('pshufw', { operation: 'pshufw.mm' }),
  insertps: simd('insertps', { immediate: insertedFrom }),
  extractps: simd('extractps', { operation: 'pextrd' }),
  ...named(['pcmpestri', 'pcmpestrm', 'pcmpistri', 'pcmpistrm'], (name) =>
    simd(name, { unaligned: true, immediate: stringControl }),
  ),

  // Bits are bits: these differ from their integer counterparts in name only.
  andps: simd('andps', { operation: 'pand' }),
  andpd: simd('andpd', { operation: 'pand' }),
  andnps: simd('andnps', { operation: 'pandn' }),
  andnpd: simd('andnpd', { operation: 'pandn' }),
  orps: simd('orps', { operation: 'por' }),
  orpd: simd('orpd', { operation: 'por' }),
  xorps: simd('xorps', { operation: 'pxor' }),
  xorpd: simd('xorpd', { operation: 'pxor' }),
  unpcklps: simd('unpcklps', { operation: 'punpckldq' }),
  unpcklpd: simd('unpcklpd', { operation: 'punpcklqdq' }),
  unpckhps: simd('unpckhps', { operation: 'punpckhdq' }),
  unpckhpd: simd('unpckhpd', { operation: 'punpckhqdq' }),

  ...named(['movaps', 'movapd', 'movdqa', 'movntps', 'movntpd', 'movntdq', 'movntdqa'], () => move(true)),
  ...named(['movups', 'movupd', 'movdqu', 'lddqu'], () => move(false)),
  movss: moveScalar(4),
  movsd: moveScalar(8),
  movlps: moveHalf(0),
  movlpd: moveHalf(0),
  movhps: moveHalf(8),
  movhpd: moveHalf(8),
  movd: moveWord(4),
  movq: moveWord(8),
  movntq: moveWord(8),
  movq2dq: simd('movq2dq', { operation: 'move.8z' }),
  movdq2q: simd('movdq2q', { operation: 'move.mm' }),
  maskmovq: maskedMove('maskmovq.mm'),
  maskmovdqu: maskedMove('maskmovdqu'),
  movnti: (i, b) => {
    b.address(i)
    b.store(widthOf(i.ops[1].size), gprSlot(i.ops[1].reg))
  },
  emms: (_i, b) => {
    if (mmxChecked(b)) operation(b, EMMS, 0)
  },
}
