/** What {@link vendorDifference} says of x87, MMX and SSE. State of those units is in `fp-exempt.ts`. */
import { FLAGS_STATUS } from '../../src/isa/index.js'
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import type { Form } from './forms.js'
import { comparesUnmasked } from './fp-exempt.js'
import type { Exempt } from './vendor.js'

const NOTHING: Exempt = {}
const OUTCOME: Exempt = { outcome: true }
const ADDRESS: Exempt = { address: true }

/** Bytes that are read or written piece by piece, in an order that is not architected. */
const PIECEWISE = /^(fnstenv|fnsave|fldenv|frstor|fxsave|fxrstor|xsave|xsaveopt|xrstor|maskmovq|maskmovdqu)$/

export function vendorDifferenceFp(form: Form, c: OracleCase, want: OracleResult, vector: number): Exempt {
  const { mnemonic } = form.row
  const bothFault = want.vector !== NO_VECTOR && vector !== NO_VECTOR
  if (bothFault && want.vector !== vector) {
    // Intel SDM Vol. 2, "FXSAVE", "FXRSTOR": with EFLAGS.AC set, whether a misaligned image is #AC or #GP varies.
    if (/^fx(save|rstor)$/.test(mnemonic) && want.vector === 17 && vector === 13) return OUTCOME
    // Which comes first of an address that is not canonical, #SS through rSP or rBP, and one that is misaligned, #GP.
    if (want.vector === 13 && vector === 12 && form.bits === 64) return OUTCOME
  }
  // By Intel's manual CVTPI2PS looks for pending x87 errors whatever its source is, on the recording processor only with an MMX register.
  if (mnemonic === 'cvtpi2ps' && form.memory && vector === 16) return OUTCOME
  // "MASKMOVQ": whether bytes that are not selected fault varies.
  if (/^maskmov/.test(mnemonic) && want.vector === 14 && vector === NO_VECTOR) return OUTCOME
  if (bothFault && PIECEWISE.test(mnemonic)) return ADDRESS
  if (/comip?$/.test(mnemonic) && comparesUnmasked(form, c, want)) return { flags: FLAGS_STATUS }
  return NOTHING
}
