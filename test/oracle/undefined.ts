/**
 * What the manuals leave undefined, and the oracle therefore does not compare. The instruction table's `u:` attributes say which flags an
 * instruction leaves undefined; the rules here are those that depend on operands.
 * Sources: Intel SDM Vol. 2, the entries named; "u:" as in Vol. 1, "EFLAGS Cross-Reference".
 */
import { FLAG_AF, FLAG_CF, FLAG_OF, FLAG_ZF, FLAGS_STATUS } from '../../src/isa/index.js'
import type { OracleCase } from './case.js'
import type { Form } from './forms.js'

export interface Undefined {
  /** Flags that are not compared. */
  readonly flags: number
  /** Number of a general register, or -1, and its bits that are not compared. */
  readonly register: number
  readonly bits: bigint
  /** The memory operand is not compared. */
  readonly memory: boolean
}

const SHIFTS = /^(shl|shr|sar|rol|ror|rcl|rcr)$/

/** The count of a shift or rotate, masked as the processor masks it. */
function shiftCount(form: Form, c: OracleCase): number {
  const mask = form.opSize === 8 && form.row.operands[0]!.width !== 'b' ? 0x3f : 0x1f
  const last = form.row.operands.at(-1)!
  if (last.method === 'one') return 1
  const count = last.text === 'CL' ? Number(c.reg[1]! & 0xffn) : c.code.at(-1)!
  return count & mask
}

/** What `form` leaves undefined for case `c`, after which the flags are `flags`. */
export function undefinedAfter(form: Form, c: OracleCase, flagsAfter: number): Undefined {
  const { row, opSize } = form
  const { mnemonic } = row
  let flags = row.flagsUndefined
  let register = -1
  let bits = 0xffff_ffff_ffff_ffffn
  let memory = false
  if (SHIFTS.test(mnemonic)) {
    // "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", Flags Affected: a count of 0 affects nothing; OF is defined for a count of 1; CF is undefined for
    // SHL and SHR where the count is not below the size of the destination.
    const count = shiftCount(form, c)
    const width = row.operands[0]!.width === 'b' ? 8 : opSize * 8
    if (count === 0) flags = 0
    else if (count === 1) flags &= ~FLAG_OF
    else flags |= FLAG_OF
    if (/^sh[lr]$/.test(mnemonic) && count >= width) flags |= FLAG_CF
  } else if (mnemonic === 'shld' || mnemonic === 'shrd') {
    // "SHLD", "SHRD": a count of 0 changes nothing; above the operand size the destination and the flags are undefined; OF is defined for 1.
    const count = shiftCount(form, c)
    if (count === 0) flags = 0
    else if (count > opSize * 8) {
      flags = FLAGS_STATUS
      memory = form.memory
      register = c.rmOperand
    } else flags = count === 1 ? FLAG_AF : FLAG_AF | FLAG_OF
  } else if ((mnemonic === 'bsf' || mnemonic === 'bsr') && flagsAfter & FLAG_ZF) {
    // "BSF", "BSR": the destination is undefined where the source is 0.
    register = c.regOperand
  } else if (mnemonic === 'bswap' && opSize === 2) {
    // "BSWAP": undefined for a 16-bit register.
    register = c.opcodeOperand
  } else if (mnemonic === 'lar') {
    // "LAR": bits 19:16 of the result are undefined.
    register = c.regOperand
    bits = 0xf0000n
  }
  return { flags, register, bits, memory }
}
