/**
 * The fast handlers of SSE floating point against the operations they stand for: whatever the operands and MXCSR, a handler either bails with everything
 * as before, or leaves the result, MXCSR and flags that the operation leaves, which then raises nothing.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OFF_MXCSR, OFF_XMM } from '../../src/cpu/layout.js'
import { simdNumber } from '../../src/cpu/simd.js'
import { UOP } from '../../src/cpu/uops.js'
import { hasVectors } from '../../src/engine/threaded-handlers-simd.js'
import type { DispatchKind } from '../../src/engine/threaded-module.js'
import { anyMxcsr, pattern, Unit } from '../cpu/sse/values.js'
import { runs } from '../runs.js'
import { Harness, type Uop } from './threaded-harness.js'

type Case = readonly [name: string, imm: number, bits: 32 | 64, to: 'xmm' | 'gpr', from: 'xmm' | 'gpr']

function cases(): Case[] {
  const list: Case[] = []
  for (const suffix of ['ss', 'ps', 'sd', 'pd']) {
    const bits = suffix[1] === 's' ? 32 : 64
    for (const stem of ['add', 'sub', 'mul', 'div', 'sqrt', 'min', 'max'])
      list.push([stem + suffix, 0, bits, 'xmm', 'xmm'])
    for (let imm = 0; imm < 8; imm++) list.push([`cmp${suffix}`, imm, bits, 'xmm', 'xmm'])
    if (suffix[0] === 'p') continue
    list.push([`comi${suffix}`, 0, bits, 'xmm', 'xmm'], [`ucomi${suffix}`, 0, bits, 'xmm', 'xmm'])
    for (let imm = 0; imm < 12; imm++) list.push([`round${suffix}`, imm, bits, 'xmm', 'xmm'])
    for (const size of [4, 8]) {
      list.push([`cvtsi2${suffix}`, size, bits, 'xmm', 'gpr'])
      list.push([`cvt${suffix}2si`, size, bits, 'gpr', 'xmm'], [`cvtt${suffix}2si`, size, bits, 'gpr', 'xmm'])
    }
  }
  list.push(
    ['cvtss2sd', 0, 32, 'xmm', 'xmm'],
    ['cvtsd2ss', 0, 64, 'xmm', 'xmm'],
    ['cvtps2pd', 0, 32, 'xmm', 'xmm'],
    ['cvtdq2ps', 0, 32, 'xmm', 'xmm'],
    ['cvtdq2pd', 0, 32, 'xmm', 'xmm'],
    ['cvttps2dq', 0, 32, 'xmm', 'xmm'],
    ['ldmxcsr', 0, 32, 'xmm', 'xmm'],
  )
  return list
}

/** A number whose exponent is near that of 1. */
function tame(bits: 32 | 64): fc.Arbitrary<bigint> {
  const fraction = bits === 32 ? 23n : 52n
  const bias = bits === 32 ? 127n : 1023n
  return fc
    .tuple(fc.boolean(), fc.bigInt({ min: -8n, max: 8n }), fc.bigInt({ min: 0n, max: (1n << fraction) - 1n }))
    .map(([sign, e, f]) => (sign ? 1n << BigInt(bits - 1) : 0n) | ((bias + e) << fraction) | f)
}

function vector(bits: 32 | 64): fc.Arbitrary<bigint> {
  return fc.oneof(lanesOf(bits, tame(bits)), lanesOf(bits, fc.oneof(pattern(bits), fc.constantFrom(0n, 3n, 0x1234n))))
}

function lanesOf(bits: 32 | 64, lane: fc.Arbitrary<bigint>): fc.Arbitrary<bigint> {
  const lanes = 128 / bits
  return fc
    .array(lane, { minLength: lanes, maxLength: lanes })
    .map((list) => list.reduce((sum, value, n) => sum | (value << BigInt(bits * n)), 0n))
}

/** 2.25 in every lane. */
function repeated(bits: 32 | 64): bigint {
  return bits === 32 ? 0x40100000_40100000_40100000_40100000n : 0x40020000_00000000_40020000_00000000n
}

const RAX = 0
const XMM0 = OFF_XMM
const XMM1 = OFF_XMM + 16

describe.skipIf(!hasVectors()).each(['tail-call', 'br-table'] as DispatchKind[])('%s', (dispatch) => {
  const h = new Harness(dispatch)
  const unit = new Unit()
  const ran = new Map<string, number>()
  let at = 0

  it.each(cases())('%s %d', (name, imm, bits, to, from) => {
    const rip = (at += 16)
    const [a, c] = [to === 'gpr' ? RAX : XMM0, from === 'gpr' ? RAX : XMM1]
    const uop: Uop = { kind: UOP.SIMD, a, b: a, c, imm, ext: simdNumber(name), index: 0 }
    h.program(rip, [uop, { kind: UOP.END, imm: 4, index: 1 }])
    let taken = 0
    const operand = from === 'gpr' ? fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((v) => v >> 37n) : vector(bits)
    fc.assert(
      fc.property(vector(bits), operand, anyMxcsr, fc.boolean(), (x, y, mxcsr, plain) => {
        // Half of the time the state in which most programs run.
        const state = plain ? 0x1fa0 : mxcsr
        for (const s of [h.s, unit.s]) {
          s.setBig(RAX, BigInt.asUintN(64, y))
          s.setBig(XMM0, BigInt.asUintN(64, x))
          s.setBig(XMM0 + 8, x >> 64n)
          s.setBig(XMM1, BigInt.asUintN(64, y))
          s.setBig(XMM1 + 8, y >> 64n)
          s.set32(OFF_MXCSR, state)
          s.flags = 0x8d7
        }
        const seen = (s: typeof h.s): unknown => [
          s.getBig(RAX),
          s.getBig(XMM0),
          s.getBig(XMM0 + 8),
          s.getBig(XMM1),
          s.getBig(XMM1 + 8),
          s.get32(OFF_MXCSR),
          s.flags,
        ]
        const before = seen(h.s)
        h.stepped.length = 0
        h.run(rip, 1)
        if (h.stepped.length > 0) {
          expect(seen(h.s)).toEqual(before)
          return
        }
        taken++
        expect(unit.run(name, state, imm, a, c)).toBe(-1)
        expect(seen(h.s)).toEqual(seen(unit.s))
      }),
      { numRuns: runs(50), examples: [[repeated(bits), from === 'gpr' ? 5n : repeated(bits), 0x1fa0, true]] },
    )
    ran.set(`${name} ${imm}`, taken)
  })

  it('are fast on ordinary numbers', () => {
    // ROUND by the mode of MXCSR has no handler.
    const slow = [...ran].filter(([, taken]) => taken === 0).map(([name]) => name)
    expect(slow).toEqual(
      [4, 5, 6, 7].flatMap((imm) => [`roundss ${imm}`]).concat([4, 5, 6, 7].map((imm) => `roundsd ${imm}`)),
    )
  })
})
