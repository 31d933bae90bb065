/**
 * The state rules of MMX and SSE as operations: who may run, pending x87 exceptions, the change from x87 to MMX.
 * Source: Intel SDM Vol. 1, "Programming with Intel MMX Technology"; Vol. 3A, "Intel MMX Technology System Programming".
 */

import { CR0_EM, CR0_TS, CR4_OSFXSR } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { raise, raiseUd, VECTOR_NM } from './exceptions.js'
import { OFF_FTAG, OFF_TOP, OFF_X87 } from './layout.js'
import type { SimdGroup } from './simd-types.js'
import { ready } from './x87-state.js'

/** Operations that instructions consist of besides their arithmetic. */
export const SIMD_MMX: SimdGroup = {
  /** Raises what an SSE instruction raises while MODE_SSE is clear. */
  'sse-unavailable': (cpu: CpuCore): void => {
    const { s } = cpu
    if (s.cr0 & CR0_EM || (s.cr4 & CR4_OSFXSR) === 0) raiseUd()
    if (s.cr0 & CR0_TS) raise(VECTOR_NM)
  },
  /** Raises what an MMX instruction raises while MODE_X87 is clear. */
  'mmx-unavailable': (cpu: CpuCore): void => {
    const { s } = cpu
    if (s.cr0 & CR0_EM) raiseUd()
    if (s.cr0 & CR0_TS) raise(VECTOR_NM)
  },
  /** A pending unmasked x87 exception comes before anything an MMX instruction does: #MF; or the processor halts, and the instruction does not run now. */
  'mmx-check': (cpu: CpuCore): void => {
    ready(cpu)
  },
  /** The last step of every MMX instruction but EMMS: TOP 0, no register empty; if `a` is not 0, it was written and its sign and exponent become all ones. */
  'mmx-done': (cpu, a): void => {
    const { s } = cpu
    s.u8[s.base + OFF_TOP] = 0
    s.u8[s.base + OFF_FTAG] = 0xff
    if (a !== 0) {
      const at = (s.base + a + 8) >> 2
      s.i32[at] = 0xffff
      s.i32[at + 1] = 0
    }
  },
  /** EMMS. */
  emms: (cpu): void => {
    const { s } = cpu
    s.u8[s.base + OFF_TOP] = 0
    s.u8[s.base + OFF_FTAG] = 0
  },
}

/** Slot of MMX register `reg`: the significand of the physical x87 register of that number. */
export function mmSlot(reg: number): number {
  return OFF_X87 + (reg & 7) * 16
}
