/**
 * The instruction table: one line of text per encoding, from which the decoder, the disassembler and the assembler
 * are made.
 *
 *     opcode | mnemonic operands | attributes
 *
 * **opcode** – an optional prefix rule, the escape bytes, the opcode, and what the ModRM byte adds:
 * - `NP` none of 66, F2, F3 may be present; `66`, `F2`, `F3` that one is part of the opcode (F2 and F3 win over 66);
 *   `NFx` 66 is the operand size, F2 and F3 are not allowed; without a rule 66 is the operand size and F2, F3 are free.
 * - `40+r` eight opcodes, the low three bits name a register (operand `Z`); `70+cc` sixteen, the low four bits are
 *   a condition.
 * - `/3` ModRM.reg is 3; a second byte ≥ C0 fixes the whole ModRM byte; `C0+i` leaves its rm free.
 *
 * **operands** – a letter for where and one or two for how wide, as in Intel SDM Vol. 2, "Opcode Map":
 * `E` register or memory of ModRM, `G` register of ModRM.reg, `R` register of ModRM.rm (no memory), `M` memory only, `Z` register of the
 * opcode, `S` segment register, `C`/`D`/`T` control, debug and test register, `I` immediate, `sI` immediate that is
 * sign-extended to the operand size, `J` relative target, `A` far pointer, `O` offset without ModRM, `X`/`Y` string source and destination,
 * `P`/`N`/`Q` MMX register of reg / of rm / rm or memory, `V`/`U`/`W` the same for XMM. `Rv/Mw` is an operand whose
 * register form is wider than its memory form. Widths: `b w d q dq` 1, 2, 4, 8, 16 bytes; `t` 10; `v` operand size; `z` operand size but at
 * most 4; `y` 8 if the operand size is 8, else 4; `m` 8 in 64-bit mode, else 4; `p` far pointer (operand size + 2); `a` a pair of `v`;
 * none or `s`: the operand has no width (0). Literals: `AL CL AX DX rAX`(v) `eAX`(z) `ES`… `1 ST0 STi XMM0`.
 *
 * **attributes** – `lock` LOCK is allowed when the destination is memory; `i64` not in 64-bit mode; `o64` only there;
 * `d64` operand size 64 by default there; `f64` always; `rep`, `repz` string instruction that repeats (until ZF tells);
 * `W0`/`W1`, `B0`/`B1` REX.W, REX.B must be clear / set; `nocs` CS is not allowed; `anymod` ModRM.mod is ignored, always a register;
 * `alias` a second encoding of something that has a better one: decoded, never assembled; `cpu=X` first model or CPUID
 * feature that has it (default 8086); `until=X` last model; `only=X` that model alone; `w:` flags written (also to a constant), `r:` read,
 * `u:` left undefined, with the letters `o s z a p c d i t`.
 */
import { FLAG_AF, FLAG_CF, FLAG_DF, FLAG_IF, FLAG_OF, FLAG_PF, FLAG_SF, FLAG_TF, FLAG_ZF } from './flags.js'
import { MN } from './mnemonics.js'
import { INTEGER_ROWS } from './table-integer.js'
import { SSE_ROWS } from './table-sse.js'
import { X87_ROWS } from './table-x87.js'

/** Where an operand comes from. */
export const METHOD = {
  none: 0,
  E: 1,
  G: 2,
  R: 3,
  M: 4,
  Z: 5,
  S: 6,
  C: 7,
  D: 8,
  T: 9,
  /** Immediate, zero-extended when narrower than the operation. */
  I: 10,
  /** Immediate, sign-extended. */
  sI: 11,
  J: 12,
  A: 13,
  O: 14,
  X: 15,
  Y: 16,
  P: 17,
  N: 18,
  Q: 19,
  V: 20,
  U: 21,
  W: 22,
  /** A fixed general register: `OperandSpec.reg`. */
  reg: 23,
  /** A fixed segment register. */
  sreg: 24,
  /** The constant 1. */
  one: 25,
  /** ST(0). */
  st0: 26,
  /** ST(i) of ModRM.rm. */
  sti: 27,
  /** XMM0. */
  xmm0: 28,
} as const

/** Name of a {@link METHOD}. */
export type MethodName = keyof typeof METHOD

/** Width letters of operands; the number is the second index of {@link widthOf}. */
export const WIDTH = {
  none: 0,
  b: 1,
  w: 2,
  d: 3,
  q: 4,
  dq: 5,
  t: 6,
  v: 7,
  z: 8,
  y: 9,
  m: 10,
  p: 11,
  a: 12,
} as const

/** Name of a {@link WIDTH}. */
export type WidthName = keyof typeof WIDTH

/** Bytes of a width, for an operand size of 2, 4 or 8 and a code size of 16, 32 or 64. */
export function widthOf(width: WidthName, opSize: number, bits: number): number {
  switch (width) {
    case 'none':
      return 0
    case 'b':
      return 1
    case 'w':
      return 2
    case 'd':
      return 4
    case 'q':
      return 8
    case 'dq':
      return 16
    case 't':
      return 10
    case 'v':
      return opSize
    case 'z':
      return opSize === 2 ? 2 : 4
    case 'y':
      return opSize === 8 ? 8 : 4
    case 'm':
      return bits === 64 ? 8 : 4
    case 'p':
      return opSize + 2
    case 'a':
      return opSize * 2
  }
}

/** One operand of a row. */
export interface OperandSpec {
  /** As written in the table. */
  readonly text: string
  readonly method: MethodName
  /** Width of the register form, or the only width. */
  readonly width: WidthName
  /** Width of the memory form: differs from `width` only in operands like `Rv/Mw`. */
  readonly memWidth: WidthName
  /** Register number of literals, else -1. */
  readonly reg: number
}

/** How F2, F3 and 66 take part in the opcode. */
export type PrefixRule = 'any' | 'NP' | 'NFx' | '66' | 'F2' | 'F3'

/** One parsed line of the table. */
export interface Row {
  /** Position in {@link ROWS}; 0 is the invalid instruction. */
  readonly index: number
  readonly text: string
  readonly prefix: PrefixRule
  /** 0 one-byte opcodes, 1 after 0F, 2 after 0F 38, 3 after 0F 3A. */
  readonly map: 0 | 1 | 2 | 3
  readonly opcode: number
  /** `'r'` = eight opcodes by register, `'cc'` = sixteen by condition. */
  readonly plus: '' | 'r' | 'cc'
  /** A ModRM byte follows. */
  readonly modrm: boolean
  /** Required ModRM.reg, or -1. */
  readonly reg: number
  /** Required ModRM.rm, or -1. */
  readonly rm: number
  /** Which ModRM.mod the row takes. `ignored`: any, and it means a register. */
  readonly mod: 'any' | 'mem' | 'reg' | 'ignored'
  readonly mnemonic: string
  /** Index into MNEMONICS. */
  readonly id: number
  readonly operands: readonly OperandSpec[]
  readonly lock: boolean
  readonly invalid64: boolean
  readonly only64: boolean
  readonly default64: boolean
  readonly force64: boolean
  readonly repeat: '' | 'rep' | 'repz'
  readonly alias: boolean
  readonly noCs: boolean
  /** Required REX.W: 0, 1, or -1 for either. */
  readonly w: number
  /** Required REX.B: 0, 1, or -1 for either. */
  readonly b: number
  /** First model (`8086`, `186`, `286`, `386`, `486`, `pentium`, `p6`) or CPUID feature that has the row. */
  readonly feature: string
  /** Last model that has the row, or `''`. Such rows are not in the default decoder. */
  readonly until: string
  /** EFLAGS bits that the result depends on. */
  readonly flagsRead: number
  /** EFLAGS bits set, cleared or loaded. */
  readonly flagsWritten: number
  /** EFLAGS bits that the manual leaves undefined. */
  readonly flagsUndefined: number
}

const FLAG_LETTERS: Readonly<Record<string, number>> = {
  o: FLAG_OF,
  s: FLAG_SF,
  z: FLAG_ZF,
  a: FLAG_AF,
  p: FLAG_PF,
  c: FLAG_CF,
  d: FLAG_DF,
  i: FLAG_IF,
  t: FLAG_TF,
}

const LITERALS: Readonly<Record<string, readonly [MethodName, WidthName, number]>> = {
  AL: ['reg', 'b', 0],
  CL: ['reg', 'b', 1],
  AX: ['reg', 'w', 0],
  DX: ['reg', 'w', 2],
  rAX: ['reg', 'v', 0],
  eAX: ['reg', 'z', 0],
  ES: ['sreg', 'w', 0],
  CS: ['sreg', 'w', 1],
  SS: ['sreg', 'w', 2],
  DS: ['sreg', 'w', 3],
  FS: ['sreg', 'w', 4],
  GS: ['sreg', 'w', 5],
  '1': ['one', 'none', 1],
  ST0: ['st0', 't', 0],
  STi: ['sti', 't', -1],
  XMM0: ['xmm0', 'dq', 0],
}

function fail(line: string, why: string): never {
  throw new Error(`instruction table: ${why} in "${line}"`)
}

function widthName(letters: string, line: string): WidthName {
  if (letters === '' || letters === 's') return 'none'
  if (!(letters in WIDTH)) fail(line, `unknown width "${letters}"`)
  return letters as WidthName
}

function parseOperand(text: string, line: string): OperandSpec {
  const literal = LITERALS[text]
  if (literal) return { text, method: literal[0], width: literal[1], memWidth: literal[1], reg: literal[2] }
  const pair = /^([RNU])([a-z]+)\/M([a-z]*)$/.exec(text)
  if (pair) {
    const method = pair[1] === 'R' ? 'E' : pair[1] === 'N' ? 'Q' : 'W'
    return { text, method, width: widthName(pair[2]!, line), memWidth: widthName(pair[3]!, line), reg: -1 }
  }
  const single = /^(sI|[A-Z])([a-z]*)$/.exec(text)
  if (!single || !(single[1]! in METHOD)) fail(line, `unknown operand "${text}"`)
  const width = widthName(single[2]!, line)
  return { text, method: single[1] as MethodName, width, memWidth: width, reg: -1 }
}

const USES_MODRM = new Set<MethodName>(['E', 'G', 'R', 'M', 'S', 'C', 'D', 'T', 'P', 'N', 'Q', 'V', 'U', 'W', 'sti'])

/** Parses one line of the table. Throws on anything it does not know: the table is code. */
export function parseRow(line: string, index: number): Row {
  const columns = line.split('|').map((column) => column.trim())
  const codes = columns[0]!.split(/\s+/)
  let prefix: PrefixRule = 'any'
  if (/^(NP|NFx)$/.test(codes[0]!) || (/^(66|F2|F3)$/.test(codes[0]!) && codes.length > 1)) {
    prefix = codes.shift() as PrefixRule
  }
  let map: 0 | 1 | 2 | 3 = 0
  if (codes[0] === '0F' && codes.length > 1 && /^[0-9A-F]/.test(codes[1]!)) {
    map = 1
    codes.shift()
    const second: string = codes[0] ?? ''
    if (/^3[8A]$/.test(second) && codes.length > 1) map = codes.shift() === '38' ? 2 : 3
  }
  const opcode = /^([0-9A-F]{2})(?:\+(r|cc))?$/.exec(codes.shift() ?? '')
  if (!opcode) fail(line, 'bad opcode')
  let reg = -1
  let rm = -1
  let mod: Row['mod'] = 'any'
  let modrm = false
  const extra = codes.shift()
  if (extra !== undefined) {
    modrm = true
    const slash = /^\/([0-7])$/.exec(extra)
    const full = /^([C-F][0-9A-F])(\+i)?$/.exec(extra)
    if (slash) reg = Number(slash[1])
    else if (full) {
      const byte = Number.parseInt(full[1]!, 16)
      reg = (byte >> 3) & 7
      if (!full[2]) rm = byte & 7
      mod = 'reg'
    } else fail(line, `bad ModRM "${extra}"`)
  }
  const [mnemonic = '', list = ''] = (columns[1] ?? '').split(/\s+/)
  const operands = list === '' ? [] : list.split(',').map((text) => parseOperand(text, line))
  for (const { method } of operands) {
    if (USES_MODRM.has(method)) modrm = true
    if (method === 'M') mod = 'mem'
    if (method === 'R' || method === 'N' || method === 'U') mod = 'reg'
  }
  const flags = { r: 0, w: 0, u: 0 }
  const words = new Set<string>()
  let feature = '8086'
  let until = ''
  for (const word of (columns[2] ?? '').split(/\s+/)) {
    const mask = /^([rwu]):([oszapcdit]+)$/.exec(word)
    const level = /^(cpu|until|only)=(.+)$/.exec(word)
    if (mask) for (const letter of mask[2]!) flags[mask[1] as 'r' | 'w' | 'u'] |= FLAG_LETTERS[letter]!
    else if (level) {
      if (level[1] !== 'until') feature = level[2]!
      if (level[1] !== 'cpu') until = level[2]!
    } else if (/^(lock|i64|o64|d64|f64|rep|repz|alias|nocs|anymod|[WB][01]|)$/.test(word)) words.add(word)
    else fail(line, `unknown attribute "${word}"`)
  }
  const id = MN[mnemonic as keyof typeof MN]
  if (id === undefined) fail(line, `mnemonic "${mnemonic}" is not listed`)
  return {
    index,
    text: line,
    prefix,
    map,
    opcode: Number.parseInt(opcode[1]!, 16),
    plus: (opcode[2] ?? '') as Row['plus'],
    modrm,
    reg,
    rm,
    mod: words.has('anymod') ? 'ignored' : mod,
    mnemonic,
    id,
    operands,
    lock: words.has('lock'),
    invalid64: words.has('i64'),
    only64: words.has('o64'),
    default64: words.has('d64'),
    force64: words.has('f64'),
    repeat: words.has('rep') ? 'rep' : words.has('repz') ? 'repz' : '',
    alias: words.has('alias'),
    noCs: words.has('nocs'),
    w: words.has('W0') ? 0 : words.has('W1') ? 1 : -1,
    b: words.has('B0') ? 0 : words.has('B1') ? 1 : -1,
    feature,
    until,
    flagsRead: flags.r,
    flagsWritten: flags.w,
    flagsUndefined: flags.u,
  }
}

function parseTable(): Row[] {
  const lines = `FF /7 | invalid\n${INTEGER_ROWS}\n${X87_ROWS}\n${SSE_ROWS}`.split('\n')
  return lines.filter((line) => line.trim() !== '').map((line, index) => parseRow(line.trim(), index))
}

/** Every row. `ROWS[0]` stands for the invalid instruction and is never decoded. */
export const ROWS: readonly Row[] = /* @__PURE__ */ parseTable()

/** The first model or the CPUID feature that row number `row` belongs to; `'8086'` for what always existed. */
export function rowFeature(row: number): string {
  return ROWS[row]!.feature
}
