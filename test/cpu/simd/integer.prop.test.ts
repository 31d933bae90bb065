/** Packed integer instructions against the model in model.ts: every instruction in every register and memory form, on operands with many edges. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runs } from '../../runs.js'
import { BOTH, IMMEDIATE, IMMEDIATE_MMX, type Meaning, SHIFTS, WIDE } from './model.js'
import { DATA, SimdUnit } from './unit.js'

const unit = new SimdUnit()

/** Lanes of every width at their limits, equal lanes, and noise. */
const byte = fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }))
const vector = fc
  .array(byte, { minLength: 16, maxLength: 16 })
  .map((bytes) => bytes.reduce((sum, value, n) => sum | (BigInt(value) << BigInt(8 * n)), 0n))
const immediate = fc.oneof(fc.integer({ min: 0, max: 33 }), fc.integer({ min: 0, max: 255 }))
/** Destination and source, often alike. */
const operands = fc.oneof(
  fc.tuple(vector, vector),
  vector.map((v): [bigint, bigint] => [v, v]),
  fc.tuple(vector, byte).map(([v, b]): [bigint, bigint] => [v, v ^ BigInt(b)]),
)
const low = (value: bigint): bigint => BigInt.asUintN(64, value)

/** Width of the memory operand of the instructions that widen, else the whole register. */
function memoryBytes(name: string, total: number): number {
  const widening = /^pmov[sz]x(bw|wd|dq|bd|wq|bq)$/.exec(name)?.[1]
  if (widening) return widening === 'bq' ? 2 : widening === 'bd' || widening === 'wq' ? 4 : 8
  if (name === 'movddup') return 8
  if (total === 64 && /^punpckl/.test(name)) return 4
  return total / 8
}

function check(name: string, meaning: Meaning, total: 64 | 128, hasImmediate: boolean): void {
  const r = total === 128 ? 'xmm' : 'mm'
  const [d, s] = total === 128 ? [3, 12] : [3, 6]
  const tail = hasImmediate ? ', 0xcc' : ''
  const set = (reg: number, value: bigint): void =>
    total === 128 ? unit.setXmm(reg, value) : unit.setMm(reg, low(value))
  const get = (reg: number): bigint => (total === 128 ? unit.xmm(reg) : unit.mm(reg))
  const mask = (1n << BigInt(total)) - 1n
  fc.assert(
    fc.property(operands, immediate, ([x, y], imm) => {
      const patch = hasImmediate ? imm : undefined
      const a = x & mask
      const b = y & mask
      const wanted = meaning(a, b, total, imm) & mask
      set(d!, a)
      set(s!, b)
      expect(unit.run(`${name} ${r}${d}, ${r}${s}${tail}`, patch)).toBe(-1)
      expect(get(d!)).toBe(wanted)
      expect(get(s!)).toBe(b)
      // The same register twice.
      set(d!, a)
      unit.run(`${name} ${r}${d}, ${r}${d}${tail}`, patch)
      expect(get(d!)).toBe(meaning(a, a, total, imm) & mask)
      // Memory, of which no byte too many counts.
      const bytes = memoryBytes(name, total)
      set(d!, a)
      unit.poke(DATA, 16, b)
      unit.run(`${name} ${r}${d}, [abs ${DATA}]${tail}`, patch)
      const source = bytes * 8 === total ? b : BigInt.asUintN(bytes * 8, b)
      expect(get(d!)).toBe(meaning(a, source, total, imm) & mask)
    }),
    { numRuns: runs(8) },
  )
}

describe('packed integers', () => {
  it.each(Object.keys(BOTH))('%s', (name) => {
    check(name, BOTH[name]!, 128, false)
    check(name, BOTH[name]!, 64, false)
  })
  it.each(Object.keys(WIDE))('%s', (name) => check(name, WIDE[name]!, 128, false))
  it.each(Object.keys(IMMEDIATE))('%s, immediate', (name) => check(name, IMMEDIATE[name]!, 128, true))
  it.each(Object.keys(IMMEDIATE_MMX))('%s of MMX, immediate', (name) => check(name, IMMEDIATE_MMX[name]!, 64, true))

  it.each(Object.keys(SHIFTS))('%s', (name) => {
    const shift = SHIFTS[name]!
    const count = fc.oneof(
      fc.integer({ min: 0, max: 70 }).map(BigInt),
      vector,
      fc.constantFrom(1n << 32n, 1n << 63n, (7n << 64n) | 3n),
    )
    fc.assert(
      fc.property(vector, count, immediate, (x, by, imm) => {
        unit.setXmm(1, x)
        unit.setXmm(2, by)
        unit.run(`${name} xmm1, xmm2`)
        expect(unit.xmm(1)).toBe(shift(x, low(by), 128))
        unit.setXmm(9, x)
        unit.run(`${name} xmm9, 0xcc`, imm)
        expect(unit.xmm(9)).toBe(shift(x, BigInt(imm), 128))
        unit.setMm(1, low(x))
        unit.setMm(2, low(by))
        unit.run(`${name} mm1, mm2`)
        expect(unit.mm(1)).toBe(shift(low(x), low(by), 64))
        unit.setMm(7, low(x))
        unit.run(`${name} mm7, 0xcc`, imm)
        expect(unit.mm(7)).toBe(shift(low(x), BigInt(imm), 64))
      }),
      { numRuns: runs(25) },
    )
  })

  it('PSLLDQ and PSRLDQ by every count', () => {
    fc.assert(
      fc.property(vector, immediate, (x, imm) => {
        unit.setXmm(1, x)
        unit.run('pslldq xmm1, 0xcc', imm)
        expect(unit.xmm(1)).toBe(BigInt.asUintN(128, x << BigInt(8 * imm)))
        unit.setXmm(1, x)
        unit.run('psrldq xmm1, 0xcc', imm)
        expect(unit.xmm(1)).toBe(x >> BigInt(8 * imm))
      }),
      { numRuns: runs(100) },
    )
  })
})
