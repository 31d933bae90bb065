/**
 * The instruction decoder for 16-, 32- and 64-bit code.
 * Source: Intel SDM Vol. 2, "Instruction Format" and "Opcode Map".
 *
 * Where processors differ, the decoder follows Intel: near branches in 64-bit mode ignore 66, REX.W widens far pointers in memory, F2
 * and F3 win over 66. Only the general choice is made here; what depends on mode, privilege or CPUID (SYSCALL outside
 * 64-bit mode, ARPL in real mode, instruction sets that a model lacks) is for the processor, or for `DecoderOptions.accept`.
 */
import {
  CLASS_66,
  CLASS_F2,
  CLASS_F3,
  CLASS_NONE,
  compileTables,
  type DecoderOptions,
  ENTRY_BY_MODRM,
  ENTRY_BY_PREFIX,
  ENTRY_NUMBER,
  LEAD_ADDRSIZE,
  LEAD_LOCK,
  LEAD_NONE,
  LEAD_OPSIZE,
  LEAD_REP,
  LEAD_REPNE,
  LEAD_REX,
  LEAD_SEG,
  ROW_66,
  ROW_ANYMOD,
  ROW_B1,
  ROW_CC,
  ROW_D64,
  ROW_F64,
  ROW_LOCK,
  ROW_MODRM,
  ROW_NOCS,
  ROW_W1,
  WIDTH_BYTES,
  WIDTH_STRIDE,
} from './decoder-tables.js'
import { vexLength } from './decoder-vex.js'
import {
  DECODE,
  type Instruction,
  OPERAND,
  PREFIX_ADDRSIZE,
  PREFIX_LOCK,
  PREFIX_OPSIZE,
  PREFIX_REP,
  PREFIX_REPNE,
  PREFIX_REX,
  PREFIX_REX_W,
  PREFIX_SEG,
  REG_NONE,
  REG_RIP,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from './instruction.js'
import { METHOD } from './table.js'

/**
 * Decodes the instruction at `bytes[offset]`, of which `available` bytes may be looked at, as code of size `bits` (16, 32 or 64) into
 * `insn`. Returns one of `DECODE`. Only after `DECODE.ok` are all fields of `insn` meaningful; otherwise `mnemonic` is 0 and `length` counts the
 * bytes consumed. `truncated` means that the answer depends on bytes beyond `available`.
 */
export type Decode = (
  bytes: Uint8Array,
  offset: number,
  available: number,
  bits: number,
  insn: Instruction,
) => (typeof DECODE)[keyof typeof DECODE]

/** ModRM.rm of 16-bit addressing: base and index. BX BP SI DI = 3 5 6 7. */
const BASE16: Int8Array = /* @__PURE__ */ Int8Array.of(3, 3, 5, 5, 6, 7, 5, 3)
const INDEX16: Int8Array = /* @__PURE__ */ Int8Array.of(6, 7, 6, 7, -1, -1, -1, -1)

/** Control registers that exist: 0, 2, 3, 4, 8. */
const CONTROL_REGISTERS = 0b1_0001_1101

function overrideOf(byte: number): number {
  switch (byte) {
    case 0x26:
      return SEG_ES
    case 0x2e:
      return SEG_CS
    case 0x36:
      return SEG_SS
    case 0x3e:
      return SEG_DS
    case 0x64:
      return SEG_FS
    default:
      return SEG_GS
  }
}

function signed32(bytes: Uint8Array, p: number): number {
  return bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24)
}

function signed16(bytes: Uint8Array, p: number): number {
  return ((bytes[p]! | (bytes[p + 1]! << 8)) << 16) >> 16
}

function signed8(bytes: Uint8Array, p: number): number {
  return (bytes[p]! << 24) >> 24
}

/**
 * Reads SIB and displacement of a memory operand whose ModRM byte ends before `p`. `override` is a segment or -1.
 * Returns the position after them, or -1 when `limit` comes first.
 */
function decodeMemory(
  bytes: Uint8Array,
  p: number,
  limit: number,
  modrm: number,
  rex: number,
  override: number,
  insn: Instruction,
): number {
  const mod = modrm >> 6
  const rm = modrm & 7
  let width = mod === 1 ? 1 : 0
  let base: number
  if (insn.addrSize === 2) {
    if (mod === 2 || (mod === 0 && rm === 6)) width = 2
    base = mod === 0 && rm === 6 ? REG_NONE : BASE16[rm]!
    insn.index = INDEX16[rm]!
  } else {
    if (mod === 2) width = 4
    if (rm === 4) {
      if (p >= limit) return -1
      const sib = bytes[p++]!
      const index = ((sib >> 3) & 7) | ((rex & 2) << 2)
      if (index !== 4) {
        insn.index = index
        insn.scale = 1 << (sib >> 6)
      }
      base = (sib & 7) | ((rex & 1) << 3)
      if ((sib & 7) === 5 && mod === 0) {
        base = REG_NONE
        width = 4
      }
    } else if (rm === 5 && mod === 0) {
      base = insn.bits === 64 ? REG_RIP : REG_NONE
      width = 4
    } else base = rm | ((rex & 1) << 3)
  }
  insn.base = base
  insn.seg = override >= 0 ? override : base === 4 || base === 5 ? SEG_SS : SEG_DS
  if (width === 0) return p
  if (p + width > limit) return -1
  insn.disp = width === 1 ? signed8(bytes, p) : width === 2 ? signed16(bytes, p) : signed32(bytes, p)
  insn.dispHi = insn.disp >> 31
  return p + width
}

/** Makes a decoder for one processor model. */
export function createDecoder(options: DecoderOptions = {}): Decode {
  const tables = compileTables(options)
  const { slots, byPrefix, byModrm, lead, rowFlags, rowRex, rowMnemonic, rowOperands } = tables
  const { opMethod, opWidth, opMemWidth, opReg, escapes, lockAnywhere, maxLength } = tables

  return function decode(bytes, offset, available, bits, insn) {
    const room = Math.min(available, bytes.length - offset)
    const cut = room < maxLength ? DECODE.truncated : DECODE.tooLong
    const limit = offset + Math.min(room, maxLength)
    const long = bits === 64
    const leadBase = long ? 256 : 0
    let p = offset
    let rex = 0
    let prefixes = 0
    let override = -1
    let prefixClass: number = CLASS_NONE

    insn.mnemonic = 0
    insn.row = 0
    insn.bits = bits
    insn.operands = 0
    insn.modrm = -1
    insn.length = limit - offset

    if (p >= limit) return cut
    let op = bytes[p++]!
    for (let kind = lead[leadBase + op]!; kind !== LEAD_NONE; kind = lead[leadBase + op]!) {
      if (kind === LEAD_REX) rex = op
      else {
        // A REX prefix that anything but the opcode follows has no effect.
        rex = 0
        switch (kind) {
          case LEAD_SEG:
            override = overrideOf(op)
            prefixes |= PREFIX_SEG
            break
          case LEAD_OPSIZE:
            prefixes |= PREFIX_OPSIZE
            if (prefixClass === CLASS_NONE) prefixClass = CLASS_66
            break
          case LEAD_ADDRSIZE:
            prefixes |= PREFIX_ADDRSIZE
            break
          case LEAD_LOCK:
            prefixes |= PREFIX_LOCK
            break
          case LEAD_REP:
            prefixes = (prefixes & ~PREFIX_REPNE) | PREFIX_REP
            prefixClass = CLASS_F3
            break
          case LEAD_REPNE:
            prefixes = (prefixes & ~PREFIX_REP) | PREFIX_REPNE
            prefixClass = CLASS_F2
            break
          default:
            // An override that 64-bit mode ignores.
            prefixes |= PREFIX_SEG
        }
      }
      if (p >= limit) return cut
      op = bytes[p++]!
    }
    if (rex !== 0) prefixes |= rex & 8 ? PREFIX_REX | PREFIX_REX_W : PREFIX_REX

    let slot = (long ? 1024 : 0) | op
    if (op === 0x0f && escapes) {
      if (p >= limit) return cut
      op = bytes[p++]!
      slot = (long ? 1280 : 256) | op
      if (op === 0x38 || op === 0x3a) {
        slot = (long ? 1536 : 512) | (op === 0x38 ? 0 : 256)
        if (p >= limit) return cut
        op = bytes[p++]!
        slot |= op
      }
    } else if (op === 0xc4 || op === 0xc5 || op === 0x62) {
      if (!long && p >= limit) return cut
      if (long || bytes[p]! >= 0xc0) {
        const end = vexLength(bytes, p - 1, limit, bits, prefixes)
        if (end < 0) return cut
        insn.length = end - offset
        return DECODE.invalid
      }
    }

    let row = slots[slot]!
    let modrm = -1
    if (row & ENTRY_BY_PREFIX) row = byPrefix[((row & ENTRY_NUMBER) << 2) + prefixClass]!
    if (row & ENTRY_BY_MODRM) {
      if (p >= limit) return cut
      modrm = bytes[p++]!
      row = byModrm[((row & ENTRY_NUMBER) << 7) + (modrm >= 0xc0 ? 64 : 0) + (modrm & 63)]!
    }
    insn.length = p - offset
    insn.modrm = modrm
    if (row === 0) return DECODE.invalid
    let flags = rowFlags[row]!
    if (rowRex[row] !== 0 && rex !== 0) {
      const other = rowRex[row]!
      const otherFlags = rowFlags[other]!
      if ((otherFlags & ROW_W1 && rex & 8) || (otherFlags & ROW_B1 && rex & 1)) {
        row = other
        flags = otherFlags
      }
    }
    if (flags & ROW_MODRM && modrm < 0) {
      if (p >= limit) {
        insn.length = limit - offset
        return cut
      }
      modrm = bytes[p++]!
      insn.modrm = modrm
    }

    let opSize: number
    const operandPrefix = prefixes & PREFIX_OPSIZE && !(flags & ROW_66)
    if (long) {
      if (flags & ROW_F64 || rex & 8) opSize = 8
      else if (operandPrefix) opSize = 2
      else opSize = flags & ROW_D64 ? 8 : 4
    } else opSize = (bits === 32) === !operandPrefix ? 4 : 2
    insn.opSize = opSize
    insn.addrSize = prefixes & PREFIX_ADDRSIZE ? (bits === 32 ? 2 : 4) : bits >> 3
    insn.prefixes = prefixes
    insn.seg = override >= 0 ? override : SEG_DS
    insn.base = REG_NONE
    insn.index = REG_NONE
    insn.scale = 1
    insn.disp = 0
    insn.dispHi = 0
    insn.imm = 0
    insn.immHi = 0
    insn.imm2 = 0
    insn.cond = flags & ROW_CC ? op & 15 : 0

    const memory = modrm >= 0 && modrm < 0xc0 && !(flags & ROW_ANYMOD)
    if (memory) {
      p = decodeMemory(bytes, p, limit, modrm, rex, override, insn)
      if (p < 0) {
        insn.length = limit - offset
        return cut
      }
    }

    const widths = ((long ? 3 : 0) + (opSize >> 2)) * WIDTH_STRIDE
    const count = rowOperands[row]!
    let immediates = 0
    for (let i = 0; i < count; i++) {
      const at = (row << 2) + i
      const operand = insn.ops[i]!
      let size = WIDTH_BYTES[widths + opWidth[at]!]!
      let kind: number
      let reg = 0
      switch (opMethod[at]) {
        case METHOD.E:
          if (memory) {
            kind = OPERAND.mem
            size = WIDTH_BYTES[widths + opMemWidth[at]!]!
          } else {
            kind = OPERAND.gpr
            reg = (modrm & 7) | ((rex & 1) << 3)
            // Without REX the byte registers 4-7 are AH, CH, DH, BH.
            if (size === 1 && rex === 0 && reg >= 4) reg += 12
          }
          break
        case METHOD.G:
          kind = OPERAND.gpr
          reg = ((modrm >> 3) & 7) | ((rex & 4) << 1)
          if (size === 1 && rex === 0 && reg >= 4) reg += 12
          break
        case METHOD.Z:
          kind = OPERAND.gpr
          reg = (op & 7) | ((rex & 1) << 3)
          if (size === 1 && rex === 0 && reg >= 4) reg += 12
          break
        case METHOD.R:
          kind = OPERAND.gpr
          reg = (modrm & 7) | ((rex & 1) << 3)
          break
        case METHOD.M:
          kind = OPERAND.mem
          break
        case METHOD.I:
        case METHOD.sI:
          if (p + size > limit) {
            insn.length = limit - offset
            return cut
          }
          if (immediates++ > 0) {
            kind = OPERAND.imm2
            insn.imm2 = size === 1 ? bytes[p]! : signed16(bytes, p) & 0xffff
          } else {
            kind = OPERAND.imm
            if (size === 1) insn.imm = opMethod[at] === METHOD.I ? bytes[p]! : signed8(bytes, p)
            else insn.imm = size === 2 ? signed16(bytes, p) : signed32(bytes, p)
            insn.immHi = size === 8 ? signed32(bytes, p + 4) : insn.imm >> 31
          }
          p += size
          break
        case METHOD.J:
          if (p + size > limit) {
            insn.length = limit - offset
            return cut
          }
          kind = OPERAND.rel
          insn.imm = size === 1 ? signed8(bytes, p) : size === 2 ? signed16(bytes, p) : signed32(bytes, p)
          insn.immHi = insn.imm >> 31
          p += size
          break
        case METHOD.A:
          if (p + size > limit) {
            insn.length = limit - offset
            return cut
          }
          kind = OPERAND.far
          insn.imm = size === 4 ? signed16(bytes, p) & 0xffff : signed32(bytes, p)
          insn.immHi = 0
          insn.imm2 = signed16(bytes, p + size - 2) & 0xffff
          p += size
          break
        case METHOD.O:
          kind = OPERAND.mem
          if (p + insn.addrSize > limit) {
            insn.length = limit - offset
            return cut
          }
          insn.disp = insn.addrSize === 2 ? signed16(bytes, p) : signed32(bytes, p)
          insn.dispHi = insn.addrSize === 8 ? signed32(bytes, p + 4) : insn.disp >> 31
          p += insn.addrSize
          break
        case METHOD.X:
          kind = OPERAND.strSrc
          break
        case METHOD.Y:
          kind = OPERAND.strDst
          break
        case METHOD.S:
          kind = OPERAND.seg
          reg = (modrm >> 3) & 7
          if (reg > SEG_GS || (flags & ROW_NOCS && reg === SEG_CS)) return DECODE.invalid
          break
        case METHOD.C:
          kind = OPERAND.cr
          reg = ((modrm >> 3) & 7) | ((rex & 4) << 1)
          if (!((CONTROL_REGISTERS >> reg) & 1)) return DECODE.invalid
          break
        case METHOD.D:
          kind = OPERAND.dr
          reg = (modrm >> 3) & 7
          if (rex & 4) return DECODE.invalid
          break
        case METHOD.T:
          kind = OPERAND.tr
          reg = (modrm >> 3) & 7
          break
        case METHOD.reg:
          kind = OPERAND.gpr
          reg = opReg[at]!
          break
        case METHOD.sreg:
          kind = OPERAND.seg
          reg = opReg[at]!
          break
        case METHOD.one:
          kind = OPERAND.one
          insn.imm = 1
          break
        case METHOD.st0:
          kind = OPERAND.st
          break
        case METHOD.sti:
          kind = OPERAND.st
          reg = modrm & 7
          break
        case METHOD.P:
          kind = OPERAND.mm
          reg = (modrm >> 3) & 7
          break
        case METHOD.N:
          kind = OPERAND.mm
          reg = modrm & 7
          break
        case METHOD.V:
          kind = OPERAND.xmm
          reg = ((modrm >> 3) & 7) | ((rex & 4) << 1)
          break
        case METHOD.U:
          kind = OPERAND.xmm
          reg = (modrm & 7) | ((rex & 1) << 3)
          break
        case METHOD.Q:
        case METHOD.W:
          if (memory) {
            kind = OPERAND.mem
            size = WIDTH_BYTES[widths + opMemWidth[at]!]!
          } else if (opMethod[at] === METHOD.Q) {
            kind = OPERAND.mm
            reg = modrm & 7
          } else {
            kind = OPERAND.xmm
            reg = (modrm & 7) | ((rex & 1) << 3)
          }
          break
        default:
          kind = OPERAND.xmm
      }
      operand.kind = kind
      operand.size = size
      operand.reg = reg
    }
    insn.length = p - offset
    if (prefixes & PREFIX_LOCK && !lockAnywhere && !(flags & ROW_LOCK && memory)) return DECODE.invalid
    insn.operands = count
    insn.row = row
    insn.mnemonic = rowMnemonic[row]!
    return DECODE.ok
  }
}

/** The decoder for every instruction in the table that a current processor has. */
export const decode: Decode = /* @__PURE__ */ createDecoder()
