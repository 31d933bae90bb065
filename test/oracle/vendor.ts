/**
 * Outcomes that are not compared, because the manuals leave an order open or the recording processor went another way than Intel's manual, which
 * the library follows. What "the recording processor" does was inferred from the vectors, not read in AMD's manual. The rules decide 506 of 384 702 cases.
 * Whole rows and prefixes that differ are left out in `forms.ts`.
 */
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import type { Form } from './forms.js'
import { USER_CS } from './layout.js'
import { vendorDifferenceFp } from './vendor-fp.js'

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
  /** Flags. */
  readonly flags?: number
}

const NOTHING: Exempt = {}
const OUTCOME: Exempt = { outcome: true }
const ADDRESS: Exempt = { address: true }
const MEMORY: Exempt = { memory: true }

/** What not to compare, given what the two processors came to. `cs` is the library's. */
export function vendorDifference(form: Form, c: OracleCase, want: OracleResult, vector: number, cs: number): Exempt {
  if (form.suite === 'fp') return vendorDifferenceFp(form, c, want, vector)
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
      // Nor is the order in which a far return reads its stack frame; the recording processor reads the outer SS:rSP before it checks CS.
      // Nor whether a target that is not canonical, #GP(0), is found before a stack segment that cannot be loaded, #GP(selector).
      if (form.opSize === 8 && want.vector === 13 && same && want.error === 0) return ADDRESS
      return bothFault && (want.vector === 14 || vector === 14) ? (same ? ADDRESS : OUTCOME) : NOTHING
    case 'arpl':
      // The recording processor reads first and writes only what changes.
      return vector !== NO_VECTOR ? (same ? ADDRESS : OUTCOME) : NOTHING
    case 'call':
      // SDM Vol. 2, "CALL", checks the target before it pushes; the recording processor pushes first.
      return bothFault && vector === 13 ? (same ? MEMORY : OUTCOME) : NOTHING
    case 'callf':
      // The same, and from 64-bit to compatibility mode the recording processor pushes with the low half of rSP.
      if (form.bits === 64 && vector === NO_VECTOR && cs !== USER_CS) return OUTCOME
      return bothFault ? (same ? { memory: true, address: form.bits === 64 } : OUTCOME) : NOTHING
    case 'popa':
      // the recording processor has loaded some of the registers when a later one faults.
      return bothFault && same ? { registers: true, address: true } : NOTHING
    default:
      return NOTHING
  }
}
