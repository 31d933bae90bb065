/**
 * The disassembler: Intel syntax as NASM and our own assembler read it. What is printed assembles to bytes that decode
 * to the same instruction, though not always to the same bytes: prefixes without effect and longer encodings are not kept.
 */
import { type Decode, decode } from './decoder.js'
import {
  DECODE,
  Instruction,
  OPERAND,
  PREFIX_ADDRSIZE,
  PREFIX_LOCK,
  PREFIX_REP,
  PREFIX_REPNE,
  PREFIX_SEG,
  REG_NONE,
  REG_RIP,
  SEG_DS,
  SEG_FS,
  SEG_SS,
} from './instruction.js'
import { ROWS, type Row } from './table.js'

/** The sixteen conditions as Jcc, SETcc and CMOVcc spell them, by `Instruction.cond`. */
export const CONDITION_NAMES: readonly string[] = 'o no b ae e ne be a s ns p np l ge le g'.split(' ')

const WORD_REGISTERS: readonly string[] = 'ax cx dx bx sp bp si di'.split(' ')
const BYTE_REGISTERS: readonly string[] = 'al cl dl bl spl bpl sil dil'.split(' ')
const HIGH_REGISTERS: readonly string[] = 'ah ch dh bh'.split(' ')

/** Names of the segment registers by number. */
export const SEGMENT_NAMES: readonly string[] = 'es cs ss ds fs gs'.split(' ')

const SIZE_WORDS: Readonly<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  8: 'qword',
  10: 'tword',
  16: 'oword',
}

/** Name of general register `reg` (0–15; 16–19 = AH CH DH BH) with a width of 1, 2, 4 or 8 bytes. */
export function registerName(reg: number, size: number): string {
  if (reg >= 16) return HIGH_REGISTERS[reg - 16]!
  if (reg >= 8) return `r${reg}${size === 1 ? 'b' : size === 2 ? 'w' : size === 4 ? 'd' : ''}`
  if (size === 1) return BYTE_REGISTERS[reg]!
  return (size === 2 ? '' : size === 4 ? 'e' : 'r') + WORD_REGISTERS[reg]!
}

function hex(value: bigint | number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`
}

function unsigned(value: bigint, bytes: number): bigint {
  return BigInt.asUintN(bytes * 8, value)
}

function wide(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low >>> 0)
}

/** String instructions: the width is a letter of the mnemonic, the operands are not written. */
const STRINGS = new Set(['movs', 'cmps', 'stos', 'lods', 'scas', 'ins', 'outs'])

/** Mnemonics with a letter for the operand size. */
const SIZE_SUFFIXED = new Set(['pusha', 'popa', 'pushf', 'popf', 'iret'])

/** The operand size matters and no operand shows it: written as a prefix where it is not the default. */
const SIZE_HIDDEN = new Set([
  'ret',
  'retf',
  'enter',
  'leave',
  'lgdt',
  'lidt',
  'sgdt',
  'sidt',
  'fldenv',
  'fnstenv',
  'fnsave',
  'frstor',
  'sysret',
  'sysexit',
  'loop',
  'loope',
  'loopne',
  'jcxz',
  'j',
])

/** Use a memory operand or counter that is not written: address size and segment stand before the mnemonic. */
const ADDRESS_HIDDEN = new Set(['xlat', 'maskmovq', 'maskmovdqu', 'monitor', 'loop', 'loope', 'loopne'])

/** Names with `64` appended under REX.W. */
const WIDE_STATE = new Set(['fxsave', 'fxrstor', 'xsave', 'xsaveopt', 'xrstor'])

/** The operand size that the row has without prefixes in code of this size. */
function defaultSize(insn: Instruction, row: Row): number {
  if (insn.bits !== 64) return insn.bits >> 3
  return row.default64 || row.force64 ? 8 : 4
}

function mnemonicText(insn: Instruction, row: Row): string {
  const name = row.mnemonic
  const letter = insn.opSize === 2 ? 'w' : insn.opSize === 4 ? 'd' : 'q'
  switch (name) {
    case 'j':
    case 'set':
    case 'cmov':
      return name + CONDITION_NAMES[insn.cond]!
    case 'jcxz':
      return insn.addrSize === 2 ? 'jcxz' : insn.addrSize === 4 ? 'jecxz' : 'jrcxz'
    case 'cbw':
      return insn.opSize === 2 ? 'cbw' : insn.opSize === 4 ? 'cwde' : 'cdqe'
    case 'cwd':
      return insn.opSize === 2 ? 'cwd' : insn.opSize === 4 ? 'cdq' : 'cqo'
    case 'callf':
      return 'call'
    case 'jmpf':
      return 'jmp'
  }
  if (STRINGS.has(name)) {
    const size = insn.ops[name === 'outs' ? 1 : 0].size
    return name + (size === 1 ? 'b' : size === 2 ? 'w' : size === 4 ? 'd' : 'q')
  }
  if (SIZE_SUFFIXED.has(name)) return insn.bits === 16 && insn.opSize === 2 ? name : name + letter
  if (WIDE_STATE.has(name) && insn.opSize === 8) return `${name}64`
  return name
}

function sizePrefix(insn: Instruction, row: Row): string {
  if (insn.opSize === defaultSize(insn, row)) return ''
  const rel = row.operands[0]?.method === 'J'
  // A near branch shows it before its target, as NASM reads it.
  if (rel && row.operands[0]!.width === 'z') return ''
  const hidden =
    SIZE_HIDDEN.has(row.mnemonic) ||
    (rel && (row.mnemonic === 'jmp' || row.mnemonic === 'call')) ||
    ((row.mnemonic === 'push' || row.mnemonic === 'pop') && row.operands[0]!.method === 'sreg') ||
    (row.mnemonic === 'push' && row.operands[0]!.method === 'sI')
  return hidden ? `o${insn.opSize * 8} ` : ''
}

function prefixText(insn: Instruction, row: Row): string {
  let text = ''
  if (insn.prefixes & PREFIX_LOCK) text += 'lock '
  if (row.repeat !== '') {
    if (insn.prefixes & PREFIX_REPNE) text += 'repne '
    else if (insn.prefixes & PREFIX_REP) text += row.repeat === 'repz' ? 'repe ' : 'rep '
  }
  const string = STRINGS.has(row.mnemonic)
  if (insn.prefixes & PREFIX_ADDRSIZE) {
    // An absolute or RIP-relative address names no register that would show the address size.
    const absolute = hasMemory(insn) && insn.index === REG_NONE && (insn.base === REG_NONE || insn.base === REG_RIP)
    if (string || ADDRESS_HIDDEN.has(row.mnemonic) || absolute) text += `a${insn.addrSize * 8} `
  }
  text += sizePrefix(insn, row)
  const source = row.operands.some(({ method }) => method === 'X') || /^(xlat|maskmov|monitor)/.test(row.mnemonic)
  if (source && overridden(insn, SEG_DS)) text += `${SEGMENT_NAMES[insn.seg]} `
  return text
}

function hasMemory(insn: Instruction): boolean {
  for (let i = 0; i < insn.operands; i++) if (insn.ops[i]!.kind === OPERAND.mem) return true
  return false
}

/** Is there a segment override that changes something? */
function overridden(insn: Instruction, usual: number): boolean {
  if (!(insn.prefixes & PREFIX_SEG) || insn.seg === usual) return false
  return insn.bits !== 64 || insn.seg >= SEG_FS
}

function memoryText(insn: Instruction, address: bigint): string {
  const usual = insn.base === 4 || insn.base === 5 ? SEG_SS : SEG_DS
  const segment = overridden(insn, usual) ? `${SEGMENT_NAMES[insn.seg]}:` : ''
  const disp = wide(insn.dispHi, insn.disp)
  if (insn.base === REG_RIP) {
    const target = unsigned(address + BigInt(insn.length) + disp, insn.addrSize)
    return `[rel ${segment}${hex(target)}]`
  }
  if (insn.base === REG_NONE && insn.index === REG_NONE) {
    if (insn.bits !== 64) return `[${segment}${hex(unsigned(disp, insn.addrSize))}]`
    // Only MOV between memory and the accumulator can hold 64 address bits.
    const far = disp !== BigInt.asIntN(32, disp)
    const size = far ? 'qword ' : ''
    return `[${far ? '' : 'abs '}${size}${segment}${hex(far ? unsigned(disp, 8) : insn.addrSize === 4 ? unsigned(disp, 4) : disp)}]`
  }
  let text = ''
  if (insn.base !== REG_NONE) text = registerName(insn.base, insn.addrSize)
  if (insn.index !== REG_NONE) {
    // In 16-bit addresses base and index are fixed pairs; elsewhere the factor tells which is the index.
    const factor = insn.addrSize === 2 && insn.scale === 1 ? '' : `*${insn.scale}`
    text += `${text === '' ? '' : '+'}${registerName(insn.index, insn.addrSize)}${factor}`
  }
  const whole = insn.base === REG_NONE ? 'nosplit ' : ''
  if (disp !== 0n) text += disp < 0n ? `-${hex(-disp)}` : `+${hex(disp)}`
  return `[${whole}${segment}${text}]`
}

function immediateText(insn: Instruction, row: Row, i: number): string {
  const value = wide(insn.immHi, insn.imm)
  const { method, width } = row.operands[i]!
  if (method === 'sI') return row.mnemonic === 'push' ? `byte ${hex(value)}` : hex(value)
  if (row.mnemonic === 'push')
    return `${SIZE_WORDS[insn.opSize]} ${hex(insn.opSize === 8 ? value : unsigned(value, insn.opSize))}`
  if (width === 'b' || width === 'w') return hex(unsigned(value, width === 'b' ? 1 : 2))
  if (insn.opSize !== 8) return hex(unsigned(value, insn.opSize))
  // MOV r64 has two forms; the assembler would take a shorter one, which writes the 32-bit register.
  if (row.mnemonic === 'mov') {
    if (width === 'v') return `strict qword ${hex(unsigned(value, 8))}`
    if (insn.ops[0].kind === OPERAND.gpr) return `strict dword ${hex(value)}`
  }
  return hex(value)
}

/** The size keyword of a memory operand: none where the mnemonic or another operand leaves no doubt, as NASM demands. */
function memoryWord(insn: Instruction, row: Row, i: number): string {
  const { method, width } = row.operands[i]!
  if (width === 'p') return row.mnemonic === 'callf' || row.mnemonic === 'jmpf' ? `${SIZE_WORDS[insn.opSize]} far` : ''
  if (width === 'a' || method === 'W' || method === 'Q' || /^vm(ptr|clear|xon)/.test(row.mnemonic)) return ''
  if (method === 'M' && row.operands.some((other) => other.method === 'V' || other.method === 'P')) return ''
  return SIZE_WORDS[insn.ops[i]!.size] ?? ''
}

function operandText(insn: Instruction, row: Row, i: number, address: bigint): string {
  const operand = insn.ops[i]!
  switch (operand.kind) {
    case OPERAND.gpr:
      return registerName(operand.reg, operand.size)
    case OPERAND.mem: {
      const word = memoryWord(insn, row, i)
      return `${word === '' ? '' : `${word} `}${memoryText(insn, address)}`
    }
    case OPERAND.imm:
      return immediateText(insn, row, i)
    case OPERAND.imm2:
      return hex(insn.imm2)
    case OPERAND.one:
      return '1'
    case OPERAND.rel: {
      const target = unsigned(
        address + BigInt(insn.length) + wide(insn.immHi, insn.imm),
        insn.bits === 64 ? 8 : insn.opSize,
      )
      if (row.operands[i]!.width === 'z') {
        const word = insn.opSize === defaultSize(insn, row) ? '' : `${SIZE_WORDS[insn.opSize]} `
        return `${row.mnemonic === 'call' ? '' : 'near '}${word}${hex(target)}`
      }
      return row.mnemonic === 'j' || row.mnemonic === 'jmp' ? `short ${hex(target)}` : hex(target)
    }
    case OPERAND.far:
      return `${SIZE_WORDS[insn.opSize]} ${hex(insn.imm2)}:${hex(unsigned(wide(insn.immHi, insn.imm), insn.opSize))}`
    case OPERAND.seg:
      return SEGMENT_NAMES[operand.reg]!
    case OPERAND.cr:
      return `cr${operand.reg}`
    case OPERAND.dr:
      return `dr${operand.reg}`
    case OPERAND.tr:
      return `tr${operand.reg}`
    case OPERAND.st:
      return `st${operand.reg}`
    case OPERAND.mm:
      return `mm${operand.reg}`
    case OPERAND.xmm:
      return `xmm${operand.reg}`
    default:
      return ''
  }
}

/**
 * The text of a decoded instruction. `address` is where it stands: branch targets and RIP-relative operands are printed as absolute addresses,
 * wrapped as the processor wraps them. An instruction whose decoding failed gives `(invalid)`.
 */
export function disassemble(insn: Instruction, address: number | bigint = 0): string {
  if (insn.mnemonic === 0) return '(invalid)'
  const row = ROWS[insn.row]!
  const at = BigInt(address)
  const operands: string[] = []
  if (!STRINGS.has(row.mnemonic)) {
    for (let i = 0; i < insn.operands; i++) operands.push(operandText(insn, row, i, at))
  }
  const head = prefixText(insn, row) + mnemonicText(insn, row)
  return operands.length === 0 ? head : `${head} ${operands.join(', ')}`
}

/** One line of a listing. */
export interface DisassembledLine {
  /** Address of the first byte. */
  readonly address: number
  /** Position of the first byte in the input. */
  readonly offset: number
  readonly length: number
  /** Instruction, or `db …` for bytes that are none. */
  readonly text: string
}

/**
 * Disassembles all of `bytes` as code of `bits` (16, 32, 64) that stands at `address`. Bytes that are no instruction become
 * a `db` line as long as what the decoder recognised of them (a whole VEX instruction, an undefined opcode, a cut-off tail).
 */
export function disassembleBytes(
  bytes: Uint8Array,
  bits: 16 | 32 | 64,
  address = 0,
  decoder: Decode = decode,
): DisassembledLine[] {
  const lines: DisassembledLine[] = []
  const insn = new Instruction()
  for (let offset = 0; offset < bytes.length; ) {
    const ok = decoder(bytes, offset, bytes.length - offset, bits, insn) === DECODE.ok
    const length = Math.max(1, insn.length)
    const text = ok
      ? disassemble(insn, address + offset)
      : `db ${Array.from(bytes.subarray(offset, offset + length), (byte) => hex(byte)).join(', ')}`
    lines.push({ address: address + offset, offset, length, text })
    offset += length
  }
  return lines
}
