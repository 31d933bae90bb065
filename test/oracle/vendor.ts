/**
 * Where processors of different vendors are known to differ, or the manuals leave an order open, and the recording one went the other way than
 * the library, which follows Intel. Whole rows and prefixes that differ are left out in `forms.ts`.
 */
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import type { Form } from './forms.js'
import { USER_CS } from './layout.js'

/** What of a case is not compared. */
export interface Exempt {
  /** Everything. */
  readonly outcome?: boolean
  /** CR2, the error code: which of several faults was met first. */
  readonly address?: boolean
  /** Memory below the stack pointer after a fault. */
  readonly memory?: boolean
  /** General registers after a fault, rSP excepted. */
  readonly registers?: boolean
}

const NOTHING: Exempt = {}
const OUTCOME: Exempt = { outcome: true }
const ADDRESS: Exempt = { address: true }

/** What not to compare, given what the two processors came to. `cs` is the library's. */
export function vendorDifference(form: Form, c: OracleCase, want: OracleResult, vector: number, cs: number): Exempt {
  const { mnemonic } = form.row
  const faulted = want.vector !== NO_VECTOR
  const bothFault = faulted && vector !== NO_VECTOR
  const same = want.vector === vector
  switch (mnemonic) {
    case 'cmps':
      // Which operand is read first when both fault is not architected: Intel SDM Vol. 2, "CMPS", names no order.
      return bothFault ? (same ? ADDRESS : OUTCOME) : NOTHING
    case 'retf':
    case 'iret':
      // Nor is the order in which a far return reads its stack frame; AMD processors read the outer SS:rSP before they check CS.
      return bothFault && (want.vector === 14 || vector === 14) ? (same ? ADDRESS : OUTCOME) : NOTHING
    case 'cmpxchg':
      // "the destination operand receives a write cycle without regard to the result of the comparison" (SDM Vol. 2, "CMPXCHG"); without LOCK, AMD
      // processors write only after a match.
      return !form.lock && vector !== NO_VECTOR && (!faulted || bothFault) ? (faulted ? ADDRESS : OUTCOME) : NOTHING
    case 'arpl':
      // The same: AMD processors read first and write only what changes.
      return vector !== NO_VECTOR ? (same ? ADDRESS : faulted ? NOTHING : OUTCOME) : NOTHING
    case 'ins':
    case 'outs':
      // With a count of zero, AMD processors check the I/O permission all the same; SDM Vol. 2, "REP", does not start an iteration.
      return form.repeat !== 0 && !faulted !== (vector === NO_VECTOR) && (c.reg[1]! & 0xffffn) === 0n ? OUTCOME : NOTHING
    case 'call':
      // SDM Vol. 2, "CALL", checks the target before it pushes; AMD processors push first.
      return bothFault && want.vector === 14 && vector === 13 ? OUTCOME : bothFault && vector === 13 ? { memory: true } : NOTHING
    case 'callf':
      // The same, and from 64-bit to compatibility mode AMD processors push with the low half of rSP.
      if (form.bits === 64 && vector === NO_VECTOR && cs !== USER_CS) return OUTCOME
      return bothFault ? (same ? { memory: true } : OUTCOME) : NOTHING
    case 'popa':
      // AMD processors have loaded some of the registers when a later one faults.
      return bothFault && same ? { registers: true, address: true } : NOTHING
    default:
      return NOTHING
  }
}
