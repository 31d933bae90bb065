/**
 * The operations of the micro-op SIMD, numbered. Each file of operations exports a {@link SimdGroup}; the groups listed here make up the table,
 * in which a name may occur once. Numbers are nobody's business but the lifter's and the engines': nothing that is saved holds one.
 */

import { SIMD_INTEGER } from './simd-integer.js'
import { SIMD_MMX } from './simd-mmx.js'
import { SIMD_MOVE } from './simd-move.js'
import { SIMD_STRING } from './simd-string.js'
import type { SimdGroup, SimdOperation } from './simd-types.js'
import { SSE_GROUPS } from './sse-groups.js'

const GROUPS: readonly SimdGroup[] = [SIMD_MMX, SIMD_MOVE, SIMD_INTEGER, SIMD_STRING, ...SSE_GROUPS]

const NAMED: readonly (readonly [string, SimdOperation])[] = /* @__PURE__ */ GROUPS.flatMap((group) =>
  Object.entries(group),
)

/** The operations, by number: the meaning of the micro-op SIMD. */
export const SIMD_OPERATIONS: readonly SimdOperation[] = /* @__PURE__ */ NAMED.map((entry) => entry[1])

const NUMBERS: ReadonlyMap<string, number> = /* @__PURE__ */ (() => {
  const numbers = new Map<string, number>()
  for (const [name] of NAMED) {
    if (numbers.has(name)) throw new Error(`two SIMD operations are called ${name}`)
    numbers.set(name, numbers.size)
  }
  return numbers
})()

/** The number of the operation called `name`. Throws where there is none: names are code. */
export function simdNumber(name: string): number {
  const number = NUMBERS.get(name)
  if (number === undefined) throw new Error(`there is no SIMD operation ${name}`)
  return number
}
