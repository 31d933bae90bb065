/**
 * Exceptions on their way from the place that detects them to delivery. Inside `cpu/` a fault is thrown (a preallocated object,
 * never an `Error`), so that semantics read like the manual's pseudo-code; `Cpu` catches it at the instruction boundary.
 */

import type { GuestFault } from '../contracts/index.js'

export const VECTOR_DE = 0
export const VECTOR_DB = 1
export const VECTOR_NMI = 2
export const VECTOR_BP = 3
export const VECTOR_OF = 4
export const VECTOR_BR = 5
export const VECTOR_UD = 6
export const VECTOR_NM = 7
export const VECTOR_DF = 8
export const VECTOR_TS = 10
export const VECTOR_NP = 11
export const VECTOR_SS = 12
export const VECTOR_GP = 13
export const VECTOR_PF = 14
export const VECTOR_MF = 16
export const VECTOR_AC = 17
export const VECTOR_XM = 19

/** The one object thrown for guest faults. Its fields are overwritten by the next fault. */
export class ThrownFault implements GuestFault {
  vector = 0
  /** `undefined` for vectors without one. */
  errorCode: number | undefined = undefined
}

const thrown = new ThrownFault()

/** Throws `vector` without an error code. */
export function raise(vector: number): never {
  thrown.vector = vector
  thrown.errorCode = undefined
  throw thrown
}

/** Throws `vector` with an error code. */
export function raiseWithCode(vector: number, errorCode: number): never {
  thrown.vector = vector
  thrown.errorCode = errorCode
  throw thrown
}

/** #GP(errorCode). */
export function raiseGp(errorCode: number): never {
  raiseWithCode(VECTOR_GP, errorCode)
}

/** #UD. */
export function raiseUd(): never {
  raise(VECTOR_UD)
}

/** True for what {@link raise} and its kin throw, and nothing else. */
export function isThrownFault(value: unknown): value is ThrownFault {
  return value instanceof ThrownFault
}
