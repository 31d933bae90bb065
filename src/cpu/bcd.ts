/**
 * Decimal arithmetic. Source: Intel SDM Vol. 2, "DAA", "DAS", "AAA", "AAS", "AAM", "AAD". Flags that the manual leaves undefined: OF is
 * cleared by DAA and DAS; AAA and AAS set SF, ZF and PF from AL and clear OF; AAM and AAD clear OF, AF and CF.
 */

import { FLAG_AF, FLAG_CF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../isa/flags.js'
import type { CpuCore } from './cpu-types.js'
import { raise, VECTOR_DE } from './exceptions.js'
import { PARITY_EVEN } from './flags.js'

/** SF, ZF and PF of a byte. */
function signZeroParity(byte: number): number {
  return (byte & 0x80 ? FLAG_SF : 0) | (byte === 0 ? FLAG_ZF : 0) | (PARITY_EVEN[byte] ? FLAG_PF : 0)
}

function setAl(cpu: CpuCore, value: number): void {
  cpu.s.setReg16(0, (cpu.s.reg16(0) & 0xff00) | (value & 0xff))
}

/** Helper DAA. */
export function daa(cpu: CpuCore): void {
  const s = cpu.s
  const flags = s.arithmetic
  const old = s.reg16(0) & 0xff
  let al = old
  let result = 0
  if ((old & 15) > 9 || flags & FLAG_AF) {
    al += 6
    result |= FLAG_AF
    if (flags & FLAG_CF || al > 0xff) result |= FLAG_CF
  }
  if (old > 0x99 || flags & FLAG_CF) {
    al += 0x60
    result |= FLAG_CF
  } else result &= ~FLAG_CF
  setAl(cpu, al)
  s.arithmetic = result | signZeroParity(al & 0xff)
}

/** Helper DAS. */
export function das(cpu: CpuCore): void {
  const s = cpu.s
  const flags = s.arithmetic
  const old = s.reg16(0) & 0xff
  let al = old
  let result = 0
  if ((old & 15) > 9 || flags & FLAG_AF) {
    al -= 6
    result |= FLAG_AF
    if (flags & FLAG_CF || al < 0) result |= FLAG_CF
  }
  // Unlike DAA, a borrow of the first step stays.
  if (old > 0x99 || flags & FLAG_CF) {
    al -= 0x60
    result |= FLAG_CF
  }
  setAl(cpu, al)
  s.arithmetic = result | signZeroParity(al & 0xff)
}

function asciiAdjust(cpu: CpuCore, sign: number): void {
  const s = cpu.s
  const ax = s.reg16(0)
  let next = ax
  let result = 0
  if ((ax & 15) > 9 || s.arithmetic & FLAG_AF) {
    // From the 80286 on AX is changed as a whole; before, AL and AH separately.
    next = cpu.model.features.has('286') ? ax + sign * 0x106 : (((ax >> 8) + sign) << 8) | ((ax + sign * 6) & 0xff)
    result = FLAG_AF | FLAG_CF
  }
  next &= 0xff0f
  s.setReg16(0, next)
  s.arithmetic = result | signZeroParity(next & 0xff)
}

/** Helper AAA. */
export function aaa(cpu: CpuCore): void {
  asciiAdjust(cpu, 1)
}

/** Helper AAS. */
export function aas(cpu: CpuCore): void {
  asciiAdjust(cpu, -1)
}

/** Helper AAM: imm = base, 10 unless the encoding says otherwise. #DE for 0. */
export function aam(cpu: CpuCore, _a: number, _b: number, _c: number, imm: number): void {
  const base = imm & 0xff
  if (base === 0) raise(VECTOR_DE)
  const al = cpu.s.reg16(0) & 0xff
  const low = al % base
  cpu.s.setReg16(0, (Math.floor(al / base) << 8) | low)
  cpu.s.arithmetic = signZeroParity(low)
}

/** Helper AAD: imm = base. */
export function aad(cpu: CpuCore, _a: number, _b: number, _c: number, imm: number): void {
  const ax = cpu.s.reg16(0)
  const al = ((ax & 0xff) + (ax >> 8) * (imm & 0xff)) & 0xff
  cpu.s.setReg16(0, al)
  cpu.s.arithmetic = signZeroParity(al)
}
