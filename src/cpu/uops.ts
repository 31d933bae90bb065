/**
 * Micro-ops: what an instruction means, in the form that every engine runs. The lifter writes them as 32-byte records
 * into the machine's linear memory; `engine/reference.ts` is the readable definition of each.
 *
 * Record layout, byte offsets:
 *
 * | offset | field | meaning |
 * |---|---|---|
 * | 0  | op u16 | `kind << 2 \| width`, width 0–3 for 8, 16, 32, 64 bits |
 * | 2  | a u16 | slot written (or the value stored) |
 * | 4  | b u16 | first source slot; base register of an address |
 * | 6  | c u16 | second source slot; index register of an address |
 * | 8  | imm i64 | immediate, displacement, or branch distance |
 * | 16 | ext i32 | condition, address form (EXT_), or helper number |
 * | 20 | value i32 | value of STORE_IMM, sign-extended; else free for the lifter |
 * | 24 | ip u16 | start of the instruction, in bytes from the start of its block |
 * | 26 | index u8 | ordinal of the instruction in its block |
 * | 27 | length u8 | bytes of the instruction |
 * | 28 | handler u16, free u16 | chosen by the engine that prepares the block |
 *
 * Widths: an 8- or 16-bit write leaves the rest of the register alone, a 32-bit write clears bits 63–32.
 * Order inside an instruction: everything that can fault comes before the first change of architectural state.
 */

/** In `value` of X87 and X87_MEM: the processor notes nothing but the instruction pointer, unless an exception is unmasked. */
export const X87_QUIET = 0x100

export const UOP_SIZE = 32
export const UOP_OP = 0
export const UOP_A = 2
export const UOP_B = 4
export const UOP_C = 6
export const UOP_IMM = 8
export const UOP_IMM_HI = 12
export const UOP_EXT = 16
export const UOP_VALUE = 20
export const UOP_IP = 24
export const UOP_INDEX = 26
export const UOP_LENGTH = 27
export const UOP_HANDLER = 28

/** Address form in `ext` of a memory micro-op: `EXT_SCALE` 0–3, segment register, address size 2, 4 or 8 bytes. */
export const EXT_SCALE_MASK = 3
export const EXT_SEG_SHIFT = 4
export const EXT_SEG_MASK = 7
/** Address size: 0 = 16, 1 = 32, 2 = 64 bits. */
export const EXT_ADDR_SHIFT = 8
export const EXT_ADDR_MASK = 3
/** The segment is known to have base 0 and no limit: the offset is the linear address (64-bit: still to be found canonical). */
export const EXT_FLAT = 0x1000
/** LOAD only: fault as a write would, because the instruction stores to the same place afterwards. */
export const EXT_FOR_WRITE = 0x2000
/** The address wraps within its segment as a stack access: faults are #SS. Set when seg is SS. */

/** LOAD_V, STORE_V of 16 bytes: #GP(0) unless the linear address is a multiple of 16. */
export const EXT_ALIGNED = 0x4000

/** Micro-op kinds. "a ← b + c" reads slots b and c at the op's width and writes slot a. */
export const UOP = {
  /** The end of a block without a branch: RIP ← block start + imm. */
  END: 0,
  /** a ← b */
  MOV: 1,
  /** a ← imm */
  MOV_IMM: 2,
  /** a (64 bits) ← zero-extended b of the op's width (8, 16, 32) */
  ZERO_EXTEND: 3,
  /** a (32 bits, upper half cleared) ← sign-extended b of width 8 or 16 */
  SIGN_EXTEND_32: 4,
  /** a (64 bits) ← sign-extended b of width 8, 16 or 32 */
  SIGN_EXTEND_64: 5,
  /** a ← effective address (b, c, imm, ext), computed at ext's address size, then written at the op's width */
  LEA: 6,

  // Arithmetic with flags. CMP and TEST write flags only. _IMM forms take imm for c.
  ADD: 8,
  OR: 9,
  ADC: 10,
  SBB: 11,
  AND: 12,
  SUB: 13,
  XOR: 14,
  CMP: 15,
  TEST: 16,
  ADD_IMM: 24,
  OR_IMM: 25,
  ADC_IMM: 26,
  SBB_IMM: 27,
  AND_IMM: 28,
  SUB_IMM: 29,
  XOR_IMM: 30,
  CMP_IMM: 31,
  TEST_IMM: 32,
  /** a ← b ± 1; CF unchanged */
  INC: 36,
  DEC: 37,
  /** a ← −b; CF ← b ≠ 0 */
  NEG: 38,
  /** a ← ~b; no flags */
  NOT: 39,

  // Shifts: a ← b shifted by c (slot, its low byte) or imm. The count is masked to 5 bits (6 at width 64); 0 changes nothing, not even flags (a 32-bit form still clears bits 63–32).
  SHL: 40,
  SHR: 41,
  SAR: 42,
  ROL: 43,
  ROR: 44,
  RCL: 45,
  RCR: 46,
  SHL_IMM: 48,
  SHR_IMM: 49,
  SAR_IMM: 50,
  ROL_IMM: 51,
  ROR_IMM: 52,
  RCL_IMM: 53,
  RCR_IMM: 54,
  /** a ← a shifted, filled from b; count in c's low byte, or imm. Widths 16, 32, 64. */
  SHLD: 56,
  SHRD: 57,
  SHLD_IMM: 58,
  SHRD_IMM: 59,

  /** rDX:rAX ← rAX × b (AX ← AL × b at width 8), unsigned / signed */
  MUL: 60,
  IMUL: 61,
  /** a ← b × c, signed, truncated; CF = OF = overflow */
  IMUL2: 62,
  /** a ← b × imm */
  IMUL_IMM: 63,
  /** rAX, rDX ← quotient and remainder of rDX:rAX / b; #DE on zero or overflow */
  DIV: 64,
  IDIV: 65,

  /** CF ← bit (c mod width) of b; a ← b with that bit set / reset / complemented. _IMM: imm for c. Other flags unchanged. */
  BT: 66,
  BTS: 67,
  BTR: 68,
  BTC: 69,
  BT_IMM: 70,
  BTS_IMM: 71,
  BTR_IMM: 72,
  BTC_IMM: 73,
  /** a (64 bits) ← byte offset of the bit string element: (c as signed at the op's width >> (3,4,5,6 by width)) × width bytes */
  BIT_OFFSET: 74,
  /** a ← index of the lowest / highest set bit of b; ZF ← b = 0, then a keeps its value */
  BSF: 75,
  BSR: 76,
  POPCNT: 77,
  LZCNT: 78,
  TZCNT: 79,
  /** a ← b with bytes reversed (width 32, 64; at 16: zero) */
  BSWAP: 80,

  /** a (8 bits) ← condition ext */
  SETCC: 81,
  /** a ← b if condition ext (at width 32 bits 63–32 are cleared either way) */
  CMOV: 82,
  /** swaps a and b */
  XCHG: 83,
  /** flags of rAX − b; if equal a ← c, else rAX ← b. (b = the old destination value, a = where the new one goes.) When not equal a ← b. */
  CMPXCHG: 84,

  // Flags
  CLC: 88,
  STC: 89,
  CMC: 90,
  CLD: 91,
  STD: 92,
  /** AH ← SF ZF 0 AF 0 PF 1 CF, and back */
  LAHF: 93,
  SAHF: 94,
  /** a (8 bits) ← CF ? 0xff : 0 */
  SALC: 95,

  // Memory. Address: b + (c << scale) + imm at ext's address size, in ext's segment.
  /** a ← memory at the op's width */
  LOAD: 96,
  /** a (64 bits) ← zero-extended memory of width 8, 16, 32 */
  LOAD_ZX: 97,
  /** a (32 bits, upper half cleared) ← sign-extended memory of width 8, 16 */
  LOAD_SX32: 98,
  /** a (64 bits) ← sign-extended memory of width 8, 16, 32 */
  LOAD_SX64: 99,
  /** memory ← a */
  STORE: 100,
  /** memory ← `value` */
  STORE_IMM: 101,
  /** The stack's address size and flatness are in ext as for a memory operand with seg SS. Width = operand width. */
  /** [SS:rSP − w] ← a (value read before rSP changes); rSP −= w */
  PUSH: 102,
  /** same, with imm */
  PUSH_IMM: 103,
  /** same, with block start RIP + imm (truncated to the width): the return address of a near call */
  PUSH_RIP: 104,
  /** a ← [SS:rSP]; rSP += w, before a is written (POP rSP gets the loaded value) */
  POP: 105,
  /** a ← [SS:rSP + imm], rSP unchanged */
  LOAD_STACK: 106,
  /** rSP += imm at the stack's address size */
  ADD_SP: 107,

  // Control flow; each ends its block. Distances are from the start of the block; width = operand size (16: IP is truncated to 16 bits; 32: to 32).
  /** RIP ← start + imm */
  JMP: 108,
  /** RIP ← condition ext ? start + imm : start + value */
  JCC: 109,
  /** RIP ← a at the op's width (after CHECK_IP) */
  JMP_SLOT: 110,
  /** #GP(0) unless a, as a near-branch target of the op's width, lies within CS (64-bit: is canonical). Ends nothing. */
  CHECK_IP: 111,
  /** the same for block start + imm (branches under a CS that is not flat) */
  CHECK_REL: 112,
  /** RIP ← rCX (at ext's address size) = 0 ? start + imm : start + value */
  JCXZ: 113,
  /** rCX (at ext's address size) −= 1; RIP ← rCX ≠ 0 and (b: 0 always, 1 ZF set, 2 ZF clear) ? start + imm : start + value */
  LOOP: 114,

  // String operations, one iteration a time. ext: address size, segment of the source; b: 0 plain, 1 REP/REPE, 2 REPNE. Each ends its block.
  // With a repeat prefix and rCX = 0 the instruction is over; after an iteration that leaves rCX ≠ 0 (and the condition true) RIP stays on the instruction. imm = distance of the next instruction, value = distance of this one.
  MOVS: 116,
  CMPS: 117,
  STOS: 118,
  LODS: 119,
  SCAS: 120,

  // MMX and SSE: 16-byte slots. The width code of LOAD_V and STORE_V is 0 for 16 bytes, else 1–3 for 2, 4, 8; addresses as for LOAD.
  /** a (16 bytes) ← memory, zero-extended */
  LOAD_V: 121,
  /** memory ← the low bytes of a */
  STORE_V: 122,
  /** a ← operation ext (b, c, imm): see cpu/simd.ts */
  SIMD: 123,

  /** x87 operation ext on registers: b = i of ST(i), c = its opcode for the environment, a = slot of AX. See cpu/x87.ts. */
  X87: 125,
  /** x87 operation `value` with an operand in memory, whose address is as for LOAD; a = its opcode for the environment, width = operand size. */
  X87_MEM: 126,

  /** Calls helper number ext with (a, b, c, imm). A helper that may change RIP or what instructions mean ends its block (bit 31 of `value`). */
  HELPER: 124,
} as const

/** In `value` of a HELPER: it ends the block. RIP afterwards is `cpu.nextRip`. */
export const HELPER_ENDS_BLOCK: number = 1 << 31

/** A name for each kind, for traces and tests. */
export const UOP_NAMES: readonly string[] = (() => {
  const names: string[] = []
  for (const [name, kind] of Object.entries(UOP)) names[kind] = name
  return names
})()
