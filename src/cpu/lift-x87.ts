/**
 * Lifting of x87 instructions: one micro-op each, with its memory operand's address where it has one. Where CR0.EM or CR0.TS is set the
 * instruction raises #NM instead; the block is lifted for that.
 */

import { type Instruction, OPERAND } from '../isa/instruction.js'
import { MNEMONICS } from '../isa/mnemonics.js'
import { ROWS } from '../isa/table.js'
import { HELPER } from './helpers.js'
import { gprSlot, MODE_X87 } from './layout.js'
import { type UopBuilder, widthOf } from './uop-builder.js'
import { UOP, X87_QUIET } from './uops.js'
import { X87_MEMORY, X87_REGISTER } from './x87.js'

/** Whether a feature name of the instruction table belongs to the x87. */
export function isX87Feature(feature: string): boolean {
  return feature.startsWith('fpu') || feature === 'fcmov'
}

/** What the environment reports as the opcode: the low three bits of the first byte, and the second. */
function fopOf(i: Instruction): number {
  return ((ROWS[i.row]!.opcode & 7) << 8) | (i.modrm & 0xff)
}

const liftX87 = (i: Instruction, b: UopBuilder): void => {
  const { features } = b.model
  if (!features.has('fpu') || (b.mode & MODE_X87) === 0) {
    b.helper(HELPER.coprocessorEscape, { ends: false })
    return
  }
  if (ROWS[i.row]!.feature === 'fcmov' && !features.has('cmov')) {
    b.helper(HELPER.ud, { ends: true })
    return
  }
  const quiet = b.model.x87PointersOnException ? X87_QUIET : 0
  const name = MNEMONICS[i.mnemonic]!
  const o = i.ops[0]
  if (i.operands > 0 && o.kind === OPERAND.mem) {
    b.address(i)
    b.memory(UOP.X87_MEM, widthOf(i.opSize), fopOf(i), 0, X87_MEMORY.get(`${name}.${o.size}`)! | quiet)
    return
  }
  if (i.operands > 0 && o.kind === OPERAND.gpr) {
    b.op(UOP.X87, 0, gprSlot(o.reg), 0, 0, 0, X87_REGISTER.get(name)!, quiet)
    return
  }
  // ST0,STi and STi and STi,ST0; the pairs of popping compares name ST(1) without an operand.
  const toI = i.operands === 2 && o.reg !== 0 && X87_REGISTER.has(`${name}.i`)
  let register = 0
  if (i.operands === 2) register = toI ? o.reg : i.ops[1].reg
  else if (i.operands === 1) register = o.reg
  else if (name === 'fcompp' || name === 'fucompp') register = 1
  const operation = X87_REGISTER.get(toI || !X87_REGISTER.has(name) ? `${name}.i` : name)!
  b.op(UOP.X87, 0, 0, register, fopOf(i), 0, operation, quiet)
}

const liftWait = (_i: Instruction, b: UopBuilder): void => {
  if (b.model.features.has('fpu') && b.mode & MODE_X87)
    b.op(UOP.X87, 0, 0, 0, 0, 0, X87_REGISTER.get('fwait')!, X87_QUIET)
  else b.helper(HELPER.wait, { ends: false })
}

/** x87 instructions and WAIT, by mnemonic. */
export const LIFT_X87: Readonly<Record<string, (i: Instruction, b: UopBuilder) => void>> = {
  ...Object.fromEntries(
    ROWS.filter((row) => isX87Feature(row.feature) || row.mnemonic === 'fisttp').map((row) => [row.mnemonic, liftX87]),
  ),
  wait: liftWait,
}
