/**
 * What of x87 and SSE results is not compared, or only within bounds, and why. Sources: Intel SDM Vol. 1, "Programming with the x87 FPU"; the
 * entries of Vol. 2 named below; AMD64 Architecture Programmer's Manual Vol. 2, "FXSAVE and FXRSTOR Instructions".
 */
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import type { Form } from './forms.js'
import { FP_FSW } from './fp-state.js'
import { DATA_BYTES } from './layout.js'

const C1 = 0x200
/** C0, C2, C3. */
const CODES = 0x4500
const PE = 0x20
/** ES and B. */
const SUMMARY = 0x8080

/** Transcendental instructions: vendors agree within a unit in the last place, and disagree about what is then inexact or rounded up. */
export const TRANSCENDENTAL = /^(fsin|fcos|fsincos|fptan|fpatan|f2xm1|fyl2x|fyl2xp1)$/
/** SSE approximations: relative error at most 1.5 · 2^−12. Intel SDM Vol. 2, "RCPPS", "RSQRTPS". */
export const APPROXIMATE = /^(rcp|rsqrt)[sp]s$/

/** Comparisons, which set condition codes or EFLAGS. */
const COMPARES = /^(f(u?com(p|pp)?|icomp?|tst)|fu?comip?)$/

/** An instruction of this case left an unmasked exception behind. */
export function unmasked(c: OracleCase, want: OracleResult): boolean {
  const after = new DataView(want.fp!.buffer, want.fp!.byteOffset).getUint16(FP_FSW, true)
  return want.vector === NO_VECTOR && (c.fp!.fsw & 0x80) === 0 && (after & 0x80) !== 0
}

/** A comparison that met an unmasked exception: Intel leaves condition codes and flags as they are ("FCOM", "FCOMI"), AMD sets them. */
export function comparesUnmasked(form: Form, c: OracleCase, want: OracleResult): boolean {
  return COMPARES.test(form.row.mnemonic) && unmasked(c, want)
}

/** Bits of the status word that are not compared. */
export function openStatus(form: Form, c: OracleCase, want: OracleResult): number {
  const { mnemonic } = form.row
  if (comparesUnmasked(form, c, want)) return CODES | C1
  // "FCOMI": C1 is cleared; the recording processor leaves it alone.
  if (/comip?$/.test(mnemonic)) return C1
  // "FFREE": condition codes are undefined.
  if (/^ffreep?$/.test(mnemonic)) return CODES | C1
  if (!TRANSCENDENTAL.test(mnemonic)) return 0
  // With PE unmasked, ES and B follow it.
  return c.fp!.fcw & PE ? C1 | PE : C1 | PE | SUMMARY
}

/**
 * Whether TOP and the tags are not compared. The recording processor makes the transition to MMX before it finds out about a fault. With a memory operand,
 * CVTPI2PS makes it by Intel's manual, and not on the recording processor.
 */
export function transitionOpen(form: Form, want: OracleResult): boolean {
  const { mnemonic } = form.row
  if (want.vector !== NO_VECTOR) return want.vector !== 16 && /^(cvt.*pi|cvtpi.*|maskmovq)$/.test(mnemonic)
  return mnemonic === 'cvtpi2ps' && form.memory
}

/**
 * Pointers and opcode of the last x87 instruction: the recording processor keeps them only while an unmasked exception is pending (ES), and
 * FSAVE, FSTENV, FXSAVE store zeros else; Intel's keep them always. The image of FXSAVE also holds MXCSR_MASK, in which AMD has MXCSR.MM.
 */
export function memoryExempt(
  form: Form,
  c: OracleCase,
  want: OracleResult,
  ours: Uint8Array,
  theirs: Uint8Array,
): void {
  const { mnemonic } = form.row
  if (want.vector !== NO_VECTOR || c.operandOffset < 0) return
  const ranges: (readonly [from: number, to: number])[] = []
  if (/^(fxsave|xsave|xsaveopt)$/.test(mnemonic)) ranges.push([6, 24], [28, 32])
  else if (mnemonic === 'fnsave' || mnemonic === 'fnstenv') {
    if (form.opSize === 2) ranges.push([6, 14])
    else ranges.push([12, 28])
  }
  for (const [from, to] of ranges) {
    for (let i = from; i < to; i++) {
      const at = c.operandByte(i)
      if (at >= 0 && at < DATA_BYTES) theirs[at] = ours[at]!
    }
  }
}

/** Whether the pointers after a case are the instruction's own: it left an unmasked exception behind. */
export function pointersKnown(form: Form, c: OracleCase, want: OracleResult): boolean {
  // What is inexact is open for transcendental instructions.
  if (TRANSCENDENTAL.test(form.row.mnemonic)) return false
  return unmasked(c, want) && !/^(fldenv|frstor|fldcw|fxrstor|xrstor)$/.test(form.row.mnemonic)
}
