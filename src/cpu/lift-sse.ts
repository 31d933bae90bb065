/**
 * Lifting of the floating-point part of SSE, of AES, PCLMULQDQ and CRC32, and of the instructions that save and restore state, by mnemonic.
 * See lift-simd.ts for how.
 */

import type { Instruction } from '../isa/instruction.js'
import { HELPER } from './helpers.js'
import { OFF_MXCSR, tempSlot } from './layout.js'
import { type Lift, loadVector, operation, simd, sseChecked, storeVector, V1 } from './lift-simd.js'
import { simdNumber } from './simd.js'

const T0 = tempSlot(0)

/** Everything of the usual shape. */
// biome-ignore format: a dense list reads better
const USUAL = [
  'addss', 'addsd', 'addps', 'addpd', 'subss', 'subsd', 'subps', 'subpd', 'mulss', 'mulsd', 'mulps', 'mulpd',
  'divss', 'divsd', 'divps', 'divpd', 'minss', 'minsd', 'minps', 'minpd', 'maxss', 'maxsd', 'maxps', 'maxpd',
  'sqrtss', 'sqrtsd', 'sqrtps', 'sqrtpd', 'addsubps', 'addsubpd', 'haddps', 'haddpd', 'hsubps', 'hsubpd',
  'cmpss', 'cmpsd', 'cmpps', 'cmppd', 'comiss', 'comisd', 'ucomiss', 'ucomisd', 'dpps', 'dppd',
  'cvtss2sd', 'cvtsd2ss', 'cvtps2pd', 'cvtpd2ps', 'cvtdq2ps', 'cvtdq2pd', 'cvtps2dq', 'cvttps2dq', 'cvtpd2dq',
  'cvttpd2dq', 'cvtps2pi', 'cvttps2pi', 'cvtpd2pi', 'cvttpd2pi', 'roundss', 'roundsd', 'roundps', 'roundpd',
  'rcpss', 'rcpps', 'rsqrtss', 'rsqrtps',
  'aesenc', 'aesenclast', 'aesdec', 'aesdeclast', 'aesimc', 'aeskeygenassist', 'pclmulqdq',
] as const

const sourceSize = (i: Instruction): number => i.ops[1].size
const destinationSize = (i: Instruction): number => i.ops[0].size

/** A helper on an area of memory: slot of its offset, segment, operand size. Other code may be in it. */
function onArea(id: number, imm = 0): Lift {
  return (i, b) => {
    b.ea(i, T0)
    b.helper(id, { a: T0, b: i.seg, c: i.opSize, imm, ends: true })
  }
}

/** Mnemonics of floating-point SSE instructions and how they are lifted. */
export const LIFT_SSE: Readonly<Record<string, Lift>> = {
  ...Object.fromEntries(USUAL.map((name) => [name, simd(name)])),
  cvtsi2ss: simd('cvtsi2ss', { immediate: sourceSize }),
  cvtsi2sd: simd('cvtsi2sd', { immediate: sourceSize }),
  cvtss2si: simd('cvtss2si', { immediate: destinationSize }),
  cvttss2si: simd('cvttss2si', { immediate: destinationSize }),
  cvtsd2si: simd('cvtsd2si', { immediate: destinationSize }),
  cvttsd2si: simd('cvttsd2si', { immediate: destinationSize }),
  // With a memory operand CVTPI2PD leaves the x87 alone, CVTPI2PS does not.
  cvtpi2ps: simd('cvtpi2ps', { mmx: true }),
  cvtpi2pd: simd('cvtpi2pd'),
  crc32: simd('crc32', { immediate: sourceSize }),
  ldmxcsr: (i, b) => {
    if (!sseChecked(b)) return
    loadVector(i, b, 4, V1)
    operation(b, simdNumber('ldmxcsr'), V1)
  },
  stmxcsr: (i, b) => {
    if (sseChecked(b)) storeVector(i, b, 4, OFF_MXCSR)
  },
  fxsave: onArea(HELPER.fxsave),
  fxrstor: onArea(HELPER.fxrstor),
  xsave: onArea(HELPER.xsave, 0),
  xsaveopt: onArea(HELPER.xsave, 1),
  xrstor: onArea(HELPER.xrstor),
  xgetbv: (_i, b) => b.helper(HELPER.xgetbv, { ends: false }),
  xsetbv: (_i, b) => b.helper(HELPER.xsetbv, { ends: true }),
}
