/**
 * MXCSR, the control and status register of SSE arithmetic, and how an operation over several elements reports its exceptions.
 * Source: Intel SDM Vol. 1, "MXCSR Control and Status Register", "SSE and SSE2 Exceptions", "SIMD Floating-Point Exception Conditions".
 */

import { CR4_OSXMMEXCPT } from '../mmu/index.js'
import { raise, raiseUd, VECTOR_XM } from './exceptions.js'
import { OFF_MXCSR, OFF_XMM } from './layout.js'
import type { CpuState } from './state.js'

/** Sticky exception flags: invalid operation, denormal operand, divide by zero, overflow, underflow, precision. */
export const MXCSR_IE = 0x0001
export const MXCSR_DE = 0x0002
export const MXCSR_ZE = 0x0004
export const MXCSR_OE = 0x0008
export const MXCSR_UE = 0x0010
export const MXCSR_PE = 0x0020
/** Denormal operands count as zeros. */
export const MXCSR_DAZ = 0x0040
/** Position of the six exception masks, in the order of the flags. */
const MXCSR_MASK_SHIFT = 7
export const MXCSR_OM = 0x0400
export const MXCSR_UM = 0x0800
export const MXCSR_PM = 0x1000
/** Rounding control: 0 nearest even, 1 down, 2 up, 3 towards zero. */
export const MXCSR_RC = 0x6000
export const MXCSR_RC_SHIFT = 13
/** Tiny results become zeros while underflow is masked. */
export const MXCSR_FZ = 0x8000
/** The bits that exist: what FXSAVE stores as MXCSR_MASK. */
export const MXCSR_WRITABLE = 0xffff
/** After reset: every exception masked, rounding to nearest. */
const MXCSR_RESET = 0x1f80

/** Flags found before the result is computed, and while it is rounded. */
const PRE_COMPUTATION = MXCSR_IE | MXCSR_DE | MXCSR_ZE
const ALL_FLAGS = 0x3f

/** What the arithmetic routines leave behind. */
interface FloatOutcome {
  /** MXCSR flags raised since the operation began. */
  flags: number
  /** A binary64 or 64-bit integer result, as signed halves. */
  lo: number
  hi: number
}

/** The outcome of the operation that runs. */
export const outcome: FloatOutcome = { flags: 0, lo: 0, hi: 0 }

/** Starts an operation and returns MXCSR. */
export function beginFloat(s: CpuState): number {
  outcome.flags = 0
  return s.get32(OFF_MXCSR)
}

/**
 * Ends the computing part of an operation, before its destination is written: adds the flags of all elements to MXCSR and raises #XM when one of
 * them is not masked (#UD while CR4.OSXMMEXCPT says that the system does not know #XM). An unmasked exception found before computing
 * suppresses the flags that computing would have raised, in all elements.
 */
export function endFloat(s: CpuState, mxcsr: number): void {
  let { flags } = outcome
  if (flags === 0) return
  const unmasked = flags & ~(mxcsr >>> MXCSR_MASK_SHIFT) & ALL_FLAGS
  if (unmasked & PRE_COMPUTATION) flags &= PRE_COMPUTATION
  s.set32(OFF_MXCSR, mxcsr | flags)
  if (unmasked === 0) return
  if ((s.cr4 & CR4_OSXMMEXCPT) === 0) raiseUd()
  raise(VECTOR_XM)
}

/** Power-on: MXCSR, and registers of zeros. INIT leaves both alone. */
export function resetSse(s: CpuState): void {
  s.set32(OFF_MXCSR, MXCSR_RESET)
  for (let n = 0; n < 256; n += 4) s.set32(OFF_XMM + n, 0)
}
