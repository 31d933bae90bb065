/**
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM against the manual's description with the whole matrix of comparisons. Source: Intel SDM Vol. 2,
 * "Source Data Format", "Aggregation Operation", "Valid/Invalid Override of Comparisons".
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FLAG_CF, FLAG_OF, FLAG_SF, FLAG_ZF } from '../../../src/isa/flags.js'
import { runs } from '../../runs.js'
import { cut } from './model.js'
import { DATA, SimdUnit } from './unit.js'

const unit = new SimdUnit()
const ARITHMETIC = 0x8d5

interface Outcome {
  readonly index: number
  readonly mask: bigint
  readonly flags: number
}

/** `first`: xmm1, `second`: xmm2/m128, with how many of their elements are valid. */
function compare(first: bigint, second: bigint, imm: number, firstLength: number, secondLength: number): Outcome {
  const bits = imm & 1 ? 16 : 8
  const count = 128 / bits
  const read = (lane: bigint): bigint => (imm & 2 ? BigInt.asIntN(bits, lane) : lane)
  const x = cut(first, bits, 128).map(read)
  const y = cut(second, bits, 128).map(read)
  const method = (imm >> 2) & 3
  // BoolRes[j][i]: element j of the second operand, element i of the first.
  const matrix = y.map((right, j) =>
    x.map((left, i) => {
      const validLeft = i < firstLength
      const validRight = j < secondLength
      if (!validLeft || !validRight) {
        if (method === 2) return !validLeft && !validRight
        if (method === 3) return !validLeft
        return false
      }
      if (method === 1) return i % 2 === 0 ? right >= left : right <= left
      return left === right
    }),
  )
  let result = 0
  for (let j = 0; j < count; j++) {
    let holds: boolean
    if (method === 0) holds = matrix[j]!.some((b) => b)
    else if (method === 1) holds = matrix[j]!.some((b, i) => i % 2 === 0 && b && matrix[j]![i + 1]!)
    else if (method === 2) holds = matrix[j]![j]!
    else holds = Array.from({ length: count - j }, (_, i) => matrix[j + i]![i]!).every((b) => b)
    if (holds) result |= 1 << j
  }
  const all = (1 << count) - 1
  if ((imm & 0x30) === 0x10) result ^= all
  else if ((imm & 0x30) === 0x30) result ^= (1 << Math.min(secondLength, count)) - 1
  const found = Array.from({ length: count }, (_, n) => n).filter((n) => (result >> n) & 1)
  const index = found.length === 0 ? count : imm & 0x40 ? found.at(-1)! : found[0]!
  const ones = (1n << BigInt(bits)) - 1n
  const mask = imm & 0x40 ? found.reduce((sum, n) => sum | (ones << BigInt(n * bits)), 0n) : BigInt(result)
  const flags =
    (result ? FLAG_CF : 0) |
    (secondLength < count ? FLAG_ZF : 0) |
    (firstLength < count ? FLAG_SF : 0) |
    (result & 1 ? FLAG_OF : 0)
  return { index, mask, flags }
}

const letter = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0x61, 0x62, 0x63) },
  { weight: 1, arbitrary: fc.constantFrom(0, 0x7f, 0x80, 0xff) },
)
const text = fc
  .array(letter, { minLength: 16, maxLength: 16 })
  .map((bytes) => bytes.reduce((sum, value, n) => sum | (BigInt(value) << BigInt(8 * n)), 0n))
const control = fc.integer({ min: 0, max: 255 })

function implicit(value: bigint, imm: number): number {
  const lanes = cut(value, imm & 1 ? 16 : 8, 128)
  const end = lanes.indexOf(0n)
  return end < 0 ? lanes.length : end
}

describe('string comparisons', () => {
  it('implicit lengths', () => {
    fc.assert(
      fc.property(text, text, control, fc.boolean(), (x, y, imm, memory) => {
        const wanted = compare(x, y, imm, implicit(x, imm), implicit(y, imm))
        const { s } = unit.machine.cpu
        unit.setXmm(1, x)
        unit.setXmm(2, y)
        // No alignment is asked for.
        unit.poke(DATA + 3, 16, y)
        const source = memory ? `[abs ${DATA + 3}]` : 'xmm2'
        s.setBig(8, 0x1234_5678_9abc_def0n)
        expect(unit.run(`pcmpistri xmm1, ${source}, 0xcc`, imm)).toBe(-1)
        expect(s.getBig(8)).toBe(BigInt(wanted.index))
        expect(s.flags & ARITHMETIC).toBe(wanted.flags)
        s.flags = 2
        unit.run(`pcmpistrm xmm1, ${source}, 0xcc`, imm)
        expect(unit.xmm(0)).toBe(wanted.mask)
        expect(s.flags & ARITHMETIC).toBe(wanted.flags)
      }),
      { numRuns: runs(300) },
    )
  })

  it('explicit lengths, which are magnitudes and saturate', () => {
    const length = fc.oneof(fc.integer({ min: -20, max: 20 }), fc.constantFrom(-0x8000_0000, 0x7fff_ffff))
    fc.assert(
      fc.property(text, text, control, length, length, fc.boolean(), (x, y, imm, eax, edx, wide) => {
        const count = imm & 1 ? 8 : 16
        const { s } = unit.machine.cpu
        unit.setXmm(1, x)
        unit.setXmm(2, y)
        const upper = wide
          ? (n: number): bigint => BigInt.asUintN(64, BigInt(n))
          : (n: number) => (0x77n << 32n) | BigInt(n >>> 0)
        s.setBig(0, upper(eax))
        s.setBig(16, upper(edx))
        const wanted = compare(x, y, imm, Math.min(Math.abs(eax), count), Math.min(Math.abs(edx), count))
        // With REX.W the lengths are RAX and RDX.
        const code = (opcode: number): string => `db 0x66, ${wide ? '0x48, ' : ''}0x0f, 0x3a, ${opcode}, 0xca, 0xcc`
        expect(unit.run(code(0x61), imm)).toBe(-1)
        expect(s.getBig(8)).toBe(BigInt(wanted.index))
        expect(s.flags & ARITHMETIC).toBe(wanted.flags)
        unit.run(code(0x60), imm)
        expect(unit.xmm(0)).toBe(wanted.mask)
        expect(s.flags & ARITHMETIC).toBe(wanted.flags)
      }),
      { numRuns: runs(300) },
    )
  })
})
