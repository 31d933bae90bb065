/** Which sequences of records run as one step, besides compare-and-branch. Dispatch is what costs, so whole instructions are one step where they are frequent. */

import { FORMS, type Form, WIDTHS } from './threaded-builder.js'
import { branchName, TARGETS } from './threaded-handlers-control.js'
import { FOR_WRITE, memoryName, STACKS, stackName } from './threaded-handlers-memory.js'
import { ALIGNED, FROM_MEMORY, loadedOperation, simdName, TEMPORARY, vectorName } from './threaded-handlers-simd.js'
import type { HandlerRegistry } from './threaded-registry.js'

const FLAT_FORMS = [FORMS.FLAT32_D, FORMS.FLAT32_X, FORMS.FLAT64_D, FORMS.FLAT64_X] as const
const SEGMENT_FORMS = [FORMS.SEG16, FORMS.SEG32] as const

function fuseReturnsAndCalls(r: HandlerRegistry): void {
  for (const [stack, w, checks] of [
    [STACKS.FLAT32, 2, ['NOP', 'CHECK_LIMIT32']],
    [STACKS.SEG32, 2, ['NOP', 'CHECK_LIMIT32']],
    [STACKS.FLAT64, 3, ['CHECK_CANONICAL']],
    [STACKS.SEG16, 1, ['CHECK_LIMIT16']],
  ] as const) {
    const slot = `JMP_SLOT${8 << w}`
    const pushRip = stackName('PUSH_RIP', w, stack)
    for (const check of checks) {
      r.fuse([stackName('LOAD_STACK', w, stack), check, stackName('ADD_SP', 0, stack), slot])
      r.fuse([check, pushRip, slot])
      r.fuse([check, slot])
    }
  }
  for (const [stack, w, target] of [
    [STACKS.FLAT32, 2, TARGETS.W32],
    [STACKS.SEG32, 2, TARGETS.W32],
    [STACKS.SEG16, 1, TARGETS.W16],
    [STACKS.FLAT64, 3, TARGETS.W64],
  ] as const) {
    const push = stackName('PUSH_RIP', w, stack)
    const jump = branchName('JMP', target)
    r.fuse([push, jump])
    if (target !== TARGETS.W64) r.fuse([branchName('CHECK_REL', target), push, jump])
  }
  for (const target of [TARGETS.W16, TARGETS.W32]) {
    const check = branchName('CHECK_REL', target)
    r.fuse([check, branchName('JMP', target)])
    for (let code = 0; code < 16; code++) r.fuse([check, branchName(`JCC.${code}`, target)])
  }
}

function fuseLoads(r: HandlerRegistry): void {
  for (const form of [...FLAT_FORMS, ...SEGMENT_FORMS]) {
    const segmented = form === FORMS.SEG16 || form === FORMS.SEG32
    for (const w of WIDTHS) {
      if (w.index === 3 && form < FORMS.FLAT64_D) continue
      if (segmented && w.index === 3) continue
      if (w.index === 1 && !segmented) continue
      const load = memoryName('LOAD', w.index, form)
      for (const op of ['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP', 'TEST', 'CMP_IMM', 'TEST_IMM']) {
        r.fuse([load, `${op}${w.bits}`])
        if (segmented || op === 'ADC' || op === 'SBB' || /^CMP|^TEST/.test(op)) continue
        r.fuse([load, `${op}${w.bits}-`])
      }
      const update = memoryName('LOAD', w.index, form | FOR_WRITE)
      const store = memoryName('STORE', w.index, form)
      for (const op of [
        'ADD',
        'OR',
        'AND',
        'SUB',
        'XOR',
        'ADD_IMM',
        'OR_IMM',
        'AND_IMM',
        'SUB_IMM',
        'XOR_IMM',
        'INC',
        'DEC',
      ]) {
        r.fuse([update, `${op}${w.bits}`, store])
        if (!segmented) r.fuse([update, `${op}${w.bits}-`, store])
      }
    }
  }
}

function fuseVectors(r: HandlerRegistry): void {
  const found = [simdName('pcmpeqb'), simdName('pmovmskb')]
  if (!r.has(found[0]!)) return
  r.fuse(found)
  for (const form of FLAT_FORMS) {
    for (const aligned of [0, ALIGNED]) {
      const load = vectorName('LOAD_V', 0, form | aligned | TEMPORARY)
      for (const [name, op] of Object.entries(FROM_MEMORY)) {
        r.fuse([load, simdName(name)], (g) => loadedOperation(g, form, aligned !== 0, op))
      }
      // A register that is loaded, then compared.
      r.fuse([vectorName('LOAD_V', 0, form | aligned), ...found])
      r.fuse([load, ...found])
    }
  }
}

/** What floating-point loops do with a number in memory. */
const FLOAT_LOADED = ['add', 'sub', 'mul', 'div', 'comi', 'ucomi'] as const

function fuseFloats(r: HandlerRegistry): void {
  if (!r.has(simdName('addsd'))) return
  for (const form of FLAT_FORMS) {
    for (const name of FLOAT_LOADED) {
      r.fuse([vectorName('LOAD_V', 2, form), simdName(`${name}ss`)])
      r.fuse([vectorName('LOAD_V', 3, form), simdName(`${name}sd`)])
    }
  }
}

/**
 * Neighbours in straight-line code. Which ones are worth a step of their own was measured while Linux unpacked itself and multiplied large numbers: moves,
 * sums, shifts and plain loads and stores in every order.
 */
function fuseNeighbours(r: HandlerRegistry): void {
  const quiet = (names: readonly string[], bits: number): string[] => names.map((name) => `${name}${bits}-`)
  const common = (bits: 32 | 64): string[] => [
    `MOV${bits}`,
    `MOV_IMM${bits}`,
    `ADD${bits}`,
    `CMP${bits}`,
    `IMUL2.${bits}`,
    `LEA${bits}.${bits}D`,
    `LEA${bits}.${bits}X`,
    ...quiet(['ADD', 'SUB', 'AND', 'XOR', 'ADD_IMM', 'SHL_IMM', 'SHR_IMM', 'SAR_IMM'], bits),
  ]
  const accesses = (forms: readonly Form[], widths: readonly number[]): string[] =>
    widths.flatMap((w) => forms.flatMap((form) => [memoryName('LOAD', w, form), memoryName('STORE', w, form)]))
  const groups = [
    [...common(32), 'ZERO_EXTEND16', ...accesses([FORMS.FLAT32_D, FORMS.FLAT32_X], [2])],
    [...common(32), ...accesses([FORMS.FLAT64_D, FORMS.FLAT64_X], [2])],
    [...common(64), ...accesses([FORMS.FLAT64_D, FORMS.FLAT64_X], [3])],
  ]
  for (const names of groups) {
    for (const first of names) for (const second of names) r.fuse([first, second])
  }
}

/** A compare with memory and the branch on it, and the other ways in which loops end. */
function fuseBranches(r: HandlerRegistry): void {
  for (const [forms, target] of [
    [[FORMS.FLAT32_D, FORMS.FLAT32_X], TARGETS.W32],
    [[FORMS.FLAT64_D, FORMS.FLAT64_X], TARGETS.W64],
  ] as const) {
    for (const w of WIDTHS) {
      if (w.index === 1 || (w.index === 3 && target === TARGETS.W32)) continue
      for (const code of [2, 3, 4, 5, 6, 7, 12, 13, 14, 15]) {
        const branch = branchName(`JCC.${code}`, target)
        for (const op of ['CMP', 'CMP_IMM', 'TEST', 'TEST_IMM']) {
          const compare = `${op}${w.bits}`
          if (!r.has(`${compare}+${branch}`)) continue
          for (const form of forms) {
            const load = memoryName('LOAD', w.index, form)
            r.fuse([load, compare, branch], (g) => r.chained(g, [load, `${compare}+${branch}`]))
          }
        }
        if (code === 4 || code === 5)
          for (const op of ['ADD', 'ADD_IMM', 'SUB', 'AND', 'OR']) r.fuse([`${op}${w.bits}`, branch])
      }
    }
  }
}

/** Adds the fused handlers; the plain ones must be there. */
export function defineFusions(registry: HandlerRegistry): void {
  fuseReturnsAndCalls(registry)
  fuseLoads(registry)
  fuseVectors(registry)
  fuseFloats(registry)
  fuseNeighbours(registry)
  fuseBranches(registry)
}
