import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  attrDpl,
  DESC_TYPE_CALL_GATE16,
  DESC_TYPE_CALL_GATE32,
  DESC_TYPE_INTERRUPT_GATE32,
  DESC_TYPE_LDT,
  DESC_TYPE_TASK_GATE,
  DESC_TYPE_TSS32_BUSY,
  decodeDescriptor,
  descriptorAttr,
  descriptorBase,
  descriptorBase64,
  descriptorLimit,
  encodeGate,
  encodeSegment,
  gateIst,
  gateOffset16,
  gateOffset32,
  gateParamCount,
  gateSelector,
  isCanonicalHigh,
  isNullSelector,
  makeSelector,
  selectorIndex,
  selectorRpl,
  selectorTi,
} from '../../src/mmu/index.js'
import { runs } from '../runs.js'

/** The bytes of a descriptor in memory, put together field by field as the manual's figure shows them. */
function layout(f: {
  base: number
  field: number
  type: number
  s: number
  dpl: number
  p: number
  avl: number
  l: number
  db: number
  g: number
}): bigint {
  const parts: [number, number, number][] = [
    [f.field & 0xffff, 0, 16],
    [f.base & 0xffffff, 16, 24],
    [f.type, 40, 4],
    [f.s, 44, 1],
    [f.dpl, 45, 2],
    [f.p, 47, 1],
    [Math.floor(f.field / 65536), 48, 4],
    [f.avl, 52, 1],
    [f.l, 53, 1],
    [f.db, 54, 1],
    [f.g, 55, 1],
    [Math.floor(f.base / 2 ** 24), 56, 8],
  ]
  return parts.reduce((sum, [value, at]) => sum + (BigInt(value) << BigInt(at)), 0n)
}

const bit = fc.nat({ max: 1 })
const fields = fc.record({
  base: fc.nat({ max: 0xffffffff }),
  field: fc.nat({ max: 0xfffff }),
  type: fc.nat({ max: 15 }),
  s: bit,
  dpl: fc.nat({ max: 3 }),
  p: bit,
  avl: bit,
  l: bit,
  db: bit,
  g: bit,
})

describe('segment descriptors', () => {
  it('reads the well-known flat ones', () => {
    const flatCode = encodeSegment({ type: 10 })
    expect(flatCode).toEqual({ lo: 0x0000ffff, hi: 0x00cf9a00 })
    expect(encodeSegment({ type: 2, dpl: 3 })).toEqual({ lo: 0x0000ffff, hi: 0x00cff200 })
    expect(encodeSegment({ type: 10, long: true })).toEqual({ lo: 0x0000ffff, hi: 0x00af9a00 })
    expect(decodeDescriptor(flatCode.lo, flatCode.hi)).toMatchObject({
      kind: 'code',
      base: 0,
      limit: 0xffffffff,
      bits: 32,
      dpl: 0,
      readable: true,
      conforming: false,
      granular: true,
    })
  })

  it('takes the fields from where the manual puts them', () => {
    fc.assert(
      fc.property(fields, (f) => {
        const word = layout(f)
        const lo = Number(word & 0xffffffffn)
        const hi = Number(word >> 32n)
        expect(descriptorBase(lo, hi)).toBe(f.base)
        expect(descriptorLimit(lo, hi)).toBe(f.g ? f.field * 4096 + 4095 : f.field)
        const attr = descriptorAttr(hi)
        const expected =
          f.type + 16 * f.s + 32 * f.dpl + 128 * f.p + 0x1000 * f.avl + 0x2000 * f.l + 0x4000 * f.db + 0x8000 * f.g
        expect(attr).toBe(expected)
        expect(attrDpl(attr)).toBe(f.dpl)
        const again = encodeSegment({
          base: f.base,
          limit: descriptorLimit(lo, hi),
          type: f.type,
          s: f.s === 1,
          dpl: f.dpl,
          present: f.p === 1,
          avl: f.avl === 1,
          long: f.l === 1,
          big: f.db === 1,
          granular: f.g === 1,
        })
        expect(again).toEqual({ lo, hi })
      }),
      { numRuns: runs(500) },
    )
  })

  it('spells out every kind', () => {
    const kind = (attr: number, upper?: number) => decodeDescriptor(0, attr << 8, upper).kind
    const system = Array.from({ length: 16 }, (_, type) => kind(0x80 | type))
    expect(system).toEqual([
      'reserved',
      'tss',
      'ldt',
      'tss',
      'call-gate',
      'task-gate',
      'interrupt-gate',
      'trap-gate',
      'reserved',
      'tss',
      'reserved',
      'tss',
      'call-gate',
      'reserved',
      'interrupt-gate',
      'trap-gate',
    ])
    const long = Array.from({ length: 16 }, (_, type) => kind(0x80 | type, 0))
    expect(long).toEqual([
      'reserved',
      'reserved',
      'ldt',
      'reserved',
      'reserved',
      'reserved',
      'reserved',
      'reserved',
      'reserved',
      'tss',
      'reserved',
      'tss',
      'call-gate',
      'reserved',
      'interrupt-gate',
      'trap-gate',
    ])
    expect(kind(0x90)).toBe('data')
    expect(kind(0x98)).toBe('code')
    const tss = encodeSegment({ type: DESC_TYPE_TSS32_BUSY, s: false, base: 0x12345678, limit: 0x67 })
    expect(decodeDescriptor(tss.lo, tss.hi)).toMatchObject({ kind: 'tss', busy: true, bits: 32, limit: 0x67 })
    expect(decodeDescriptor(tss.lo, tss.hi, 0xffff8000)).toMatchObject({
      bits: 64,
      base: -0x8000_0000_0000 + 0x12345678,
    })
    const ldt = encodeSegment({ type: DESC_TYPE_LDT, s: false, limit: 15 })
    expect(decodeDescriptor(ldt.lo, ldt.hi)).toMatchObject({ kind: 'ldt', present: true })
  })

  it('refuses fields that do not fit', () => {
    const bad = expect.objectContaining({ code: 'bad-argument' })
    expect(() => encodeSegment({ type: 16 })).toThrow(bad)
    expect(() => encodeSegment({ type: 2, limit: 0x100000 })).toThrow(bad)
    expect(() => encodeSegment({ type: 2, limit: 0x12345fff, granular: false })).toThrow(bad)
    expect(() => encodeSegment({ type: 2, base: 2 ** 32 })).toThrow(bad)
    expect(() => encodeGate({ type: 9, selector: 8 })).toThrow(bad)
    expect(() => encodeGate({ type: DESC_TYPE_CALL_GATE16, selector: 8, offset: 0x10000 })).toThrow(bad)
    expect(() => makeSelector(8192)).toThrow(bad)
  })
})

describe('gates', () => {
  it('round-trip', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4, 5, 6, 7, 12, 14, 15),
        fc.nat({ max: 0xffff }),
        fc.nat({ max: 0xffffffff }),
        fc.nat({ max: 3 }),
        fc.boolean(),
        fc.nat({ max: 7 }),
        (type, selector, wide, dpl, present, low) => {
          const offset = type < 8 ? wide % 65536 : wide
          const call = type === DESC_TYPE_CALL_GATE16 || type === DESC_TYPE_CALL_GATE32
          const gate = encodeGate({
            type,
            selector,
            offset,
            dpl,
            present,
            ...(call ? { paramCount: low } : { ist: low }),
          })
          expect(gateSelector(gate.lo)).toBe(selector)
          expect(type < 8 ? gateOffset16(gate.lo) : gateOffset32(gate.lo, gate.hi)).toBe(offset)
          expect(call ? gateParamCount(gate.hi) : gateIst(gate.hi)).toBe(low)
          expect(descriptorAttr(gate.hi) & 0xff).toBe(type + 32 * dpl + (present ? 128 : 0))
        },
      ),
      { numRuns: runs(300) },
    )
  })

  it('reads the long form', () => {
    const type = DESC_TYPE_INTERRUPT_GATE32
    const gate = encodeGate({ type, selector: 8, offset: 0x80001234, ist: 3, offsetHigh: 0xffffffff })
    expect(decodeDescriptor(gate.lo, gate.hi, gate.upper)).toMatchObject({
      kind: 'interrupt-gate',
      bits: 64,
      ist: 3,
      offset: -0x7fffedcc,
      selector: 8,
    })
    const task = encodeGate({ type: DESC_TYPE_TASK_GATE, selector: 0x28 })
    expect(decodeDescriptor(task.lo, task.hi)).toMatchObject({ kind: 'task-gate', selector: 0x28, offset: 0 })
  })
})

describe('selectors', () => {
  it('come apart and go together', () => {
    for (let selector = 0; selector < 0x10000; selector += 7) {
      expect(makeSelector(selectorIndex(selector), selectorRpl(selector), selectorTi(selector))).toBe(selector)
    }
    expect([0, 1, 2, 3, 4, 8].map(isNullSelector)).toEqual([true, true, true, true, false, false])
  })

  it('know canonical upper halves', () => {
    expect([0, 0x7fff, 0x8000, 0xffff7fff, 0xffff8000, 0xffffffff].map(isCanonicalHigh)).toEqual([
      true,
      true,
      false,
      false,
      true,
      true,
    ])
    expect(descriptorBase64(0x56780000, 0x12000034, 0x7fff)).toBe(0x7fff_1234_5678)
  })
})
