/** When two encodings are the same instruction: what a round trip through text must keep. */
import { type Instruction, OPERAND, REG_NONE } from '../../src/isa/instruction.js'
import { MNEMONICS } from '../../src/isa/mnemonics.js'
import { ROWS } from '../../src/isa/table.js'

/** Mnemonics on which the operand size acts though no operand has it. */
const SIZED = new Set(
  'ret retf iret enter leave pusha popa pushf popf cbw cwd call callf jmp jmpf j loop loope loopne jcxz push pop fldenv fnstenv fnsave frstor fxsave fxrstor xsave xsaveopt xrstor sysret sysexit lgdt lidt sgdt sidt'.split(
    ' ',
  ),
)

/** Registers whose access width is the instruction's business, not the operand's. */
function hasWidth(kind: number): boolean {
  return kind !== OPERAND.xmm && kind !== OPERAND.mm && kind !== OPERAND.st && kind !== OPERAND.one
}

/** A canonical text of everything about an instruction that a program could notice. */
export function meaningOf(insn: Instruction): string {
  const name = MNEMONICS[insn.mnemonic]!
  const parts: (string | number)[] = [name, insn.cond]
  if (SIZED.has(name)) parts.push(`size ${insn.opSize}`)
  if (insn.prefixes & 1) parts.push('lock')
  if (ROWS[insn.row]!.repeat !== '') parts.push(`rep ${insn.prefixes & 6}`)
  if (/^(loop|jcxz|xlat|monitor|maskmov)/.test(name)) parts.push(`address ${insn.addrSize}`)
  const flat = (segment: number): number => (insn.bits === 64 && segment < 4 ? -1 : segment)
  if (/^(xlat|monitor|maskmov)/.test(name)) parts.push(`segment ${flat(insn.seg)}`)
  const operands: string[] = []
  const first = insn.ops[0].size
  for (let i = 0; i < insn.operands; i++) {
    const { kind, size, reg } = insn.ops[i]!
    let text = `${kind}`
    if (hasWidth(kind) && kind !== OPERAND.imm) text += ` ${name === 'nop' ? 0 : size}`
    switch (kind) {
      case OPERAND.imm: {
        const value = (BigInt(insn.immHi) << 32n) | BigInt(insn.imm >>> 0)
        const width = name === 'push' ? insn.opSize : first === 0 || first > 8 || insn.ops[0].kind > 2 ? 1 : first
        text = `#${BigInt.asUintN(8 * (/^(int|out|aam|aad)$/.test(name) ? 1 : width), value)}`
        break
      }
      case OPERAND.one:
        text = '#1'
        break
      case OPERAND.imm2:
        text += `#${insn.imm2}`
        break
      case OPERAND.rel: {
        const target = insn.length + insn.imm
        text = `=>${insn.bits === 64 ? target : insn.opSize === 2 ? target & 0xffff : target | 0}`
        break
      }
      case OPERAND.far:
        text += `${insn.imm2}:${insn.imm}`
        break
      case OPERAND.strSrc:
        text += ` ${flat(insn.seg)} ${insn.addrSize}`
        break
      case OPERAND.strDst:
        text += ` ${insn.addrSize}`
        break
      case OPERAND.mem: {
        // A RIP-relative address counts from the end of the instruction.
        const disp = insn.base === 16 ? insn.disp + insn.length : insn.disp
        const cut = insn.addrSize === 2 ? disp & 0xffff : disp
        const full = insn.base === REG_NONE && insn.index === REG_NONE && insn.addrSize === 4 ? cut >>> 0 : cut
        text += ` [${flat(insn.seg)}:${insn.base}+${insn.index}*${insn.scale}+${insn.dispHi}:${full}] ${insn.addrSize}`
        break
      }
      default:
        text += ` r${reg}`
    }
    operands.push(text)
  }
  // The register forms of XCHG and TEST are symmetrical.
  if ((name === 'xchg' || name === 'test') && insn.ops[0].kind === 1 && insn.ops[1].kind === 1) operands.sort()
  return [...parts, ...operands].join(', ')
}
