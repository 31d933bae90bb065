/**
 * A decoded instruction: what the decoder writes and what the lifter and the disassembler read. One object is reused
 * for many instructions, so it consists of numbers and preallocated operands only.
 */

/** What an operand is. */
export const OPERAND = {
  none: 0,
  /** General register; `reg` 0–15, with `highByte` registers AH–BH as 16–19. */
  gpr: 1,
  /** Memory at segment : base + index * scale + displacement. */
  mem: 2,
  /** Immediate in `Instruction.imm` / `immHi` (or `imm2` for the second one). */
  imm: 3,
  /** Second immediate (ENTER, EXTRQ): `Instruction.imm2`. */
  imm2: 4,
  /** Branch displacement in `Instruction.imm` (sign-extended), relative to the next instruction. */
  rel: 5,
  /** Far pointer: offset in `Instruction.imm`, selector in `Instruction.imm2`. */
  far: 6,
  /** Segment register; `reg` 0–5 = ES CS SS DS FS GS. */
  seg: 7,
  /** Control register CR0–CR15. */
  cr: 8,
  /** Debug register DR0–DR15. */
  dr: 9,
  /** x87 stack register ST(reg). */
  st: 10,
  /** MMX register. */
  mm: 11,
  /** XMM register. */
  xmm: 12,
  /** The constant 1 of the D0/D1 shifts. */
  one: 13,
  /** Memory addressed by rSI (`seg` overridable). */
  strSrc: 14,
  /** Memory addressed by rDI in ES. */
  strDst: 15,
  /** Test register TR0-TR7 (80386, 80486). */
  tr: 16,
} as const

/** Segment register numbers in instruction encoding order. */
export const SEG_ES = 0
export const SEG_CS = 1
export const SEG_SS = 2
export const SEG_DS = 3
export const SEG_FS = 4
export const SEG_GS = 5

/** `base` or `index` of a memory operand that has none. */
export const REG_NONE = -1
/** `base` of a RIP-relative memory operand. */
export const REG_RIP = 16

/** Prefix bits in `Instruction.prefixes`. */
export const PREFIX_LOCK = 1
export const PREFIX_REPNE = 2
export const PREFIX_REP = 4
export const PREFIX_OPSIZE = 8
export const PREFIX_ADDRSIZE = 16
export const PREFIX_SEG = 32
export const PREFIX_REX = 64
export const PREFIX_REX_W = 128

/** An operand of a decoded instruction. */
export class Operand {
  /** One of {@link OPERAND}. */
  kind = 0
  /** Width in bytes: 1, 2, 4, 8, 10, 16 …; 0 where the operand has none (LEA, INVLPG, descriptor-table and state-area operands). */
  size = 0
  /** Register number, in the numbering that `kind` implies. */
  reg = 0
}

/** A decoded instruction. One object is filled again and again, so that decoding allocates nothing. */
export class Instruction {
  /** Index into `MNEMONICS` (isa/table). Kept at `MN_INVALID` (0) when decoding failed. */
  mnemonic = 0
  /** Index of the row in the instruction table. */
  row = 0
  /** Bytes, 1–15. After a failed decode: the bytes consumed so far. */
  length = 0
  /** Code size of the segment: 16, 32 or 64. */
  bits: number = 16
  /** Effective operand size in bytes: 2, 4 or 8 (never 1: byte forms say so in their operands). */
  opSize = 2
  /** Effective address size in bytes: 2, 4 or 8. */
  addrSize = 2
  /** PREFIX_ bits that were present. PREFIX_REP and PREFIX_REPNE stay set even where they are mandatory prefixes of the opcode. */
  prefixes = 0
  /** The segment that a memory operand uses: the override if present, else the default (SS for rBP/rSP bases). In 64-bit mode ES/CS/SS/DS overrides are ignored. */
  seg: number = SEG_DS
  /** Memory operand: base register 0–15, REG_NONE or REG_RIP. */
  base: number = REG_NONE
  /** Memory operand: index register 0–15 or REG_NONE. */
  index: number = REG_NONE
  /** Memory operand: 1, 2, 4 or 8. */
  scale = 1
  /** Memory operand: displacement, sign-extended to a signed 32-bit number; for 64-bit moffs the low half (signed). */
  disp = 0
  /** High half of a 64-bit moffs displacement (signed); else the sign of `disp`. */
  dispHi = 0
  /** Immediate, sign-extended as the instruction extends it, low 32 bits as a signed number. */
  imm = 0
  /** High 32 bits of the immediate: sign of `imm` except for MOV r64, imm64. */
  immHi = 0
  /** Second immediate: selector of a far pointer, nesting level of ENTER. */
  imm2 = 0
  /** ModRM byte, or -1 where the instruction has none. */
  modrm = -1
  /** Condition code 0–15 of Jcc, SETcc, CMOVcc; else 0. */
  cond = 0
  /** Number of operands in `ops`. */
  operands = 0
  readonly ops: readonly [Operand, Operand, Operand, Operand] = [
    new Operand(),
    new Operand(),
    new Operand(),
    new Operand(),
  ]
}

/** Why decoding failed. */
export const DECODE = {
  ok: 0,
  /** Undefined opcode or an operand form that raises #UD. */
  invalid: 1,
  /** More than 15 bytes: #GP. */
  tooLong: 2,
  /** The supplied bytes ended first. */
  truncated: 3,
} as const
