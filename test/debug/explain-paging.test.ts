import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  explainPaging,
  explainTlb,
  explainTranslation,
  PageTableBuilder,
  type PageTableMode,
  pagingRegisters,
} from '../../src/debug/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { encodeSegment, PF_I, PF_P, PF_U, PF_W, PTE_A, PTE_D, Tlb } from '../../src/mmu/index.js'
import { runs } from '../runs.js'

const MODES: readonly PageTableMode[] = ['32-bit', 'pae', '4-level']

function machine(mode: PageTableMode) {
  const memory = new AddressSpace({ size: 0x100000 })
  const tables = new PageTableBuilder(memory, mode, 0x10000)
  return { memory, tables, source: { memory, ...pagingRegisters(mode), cr3: tables.cr3 } }
}

const numbers = (explanation: { steps: readonly { number: number }[] }): number[] =>
  explanation.steps.map(({ number }) => number)

describe('explainPaging and explainTlb', () => {
  it('agree with what was mapped, in every mode and page size, and change nothing', () => {
    const mapping = fc.record({
      page: fc.nat(0xfffff),
      frame: fc.nat(0xffff),
      large: fc.boolean(),
      offset: fc.nat(0x1fffff),
    })
    fc.assert(
      fc.property(fc.constantFrom(...MODES), fc.array(mapping, { minLength: 1, maxLength: 4 }), (mode, mappings) => {
        const { memory, tables, source } = machine(mode)
        const size = mode === '32-bit' ? 0x400000 : 0x200000
        const high = mode === '4-level' ? -(2 ** 47) : 0
        const used = new Set<number>()
        const expected: [number, number][] = []
        for (const { page, frame, large, offset } of mappings) {
          const pageSize = large ? size : 4096
          const linear = (large ? page & 0xffffc00 & -(size / 4096) : page) * 4096
          const region = Math.floor(linear / 0x400000)
          if (used.has(region)) continue
          used.add(region)
          const physical = (large ? frame & -(size / 4096) : frame) * 4096
          tables.map(linear + high, physical, { pageSize })
          expected.push([linear + high + (offset % pageSize), physical + (offset % pageSize)])
        }
        const before = memory.bytes.slice()
        for (const [linear, physical] of expected) {
          expect(explainPaging(source, linear).result).toEqual({ physical })
          const tlb = new Tlb({ sets: 2, ways: 2 })
          const miss = explainTlb(source, linear, { tlb })
          expect(miss.result).toEqual({ physical, hit: false })
          expect(numbers(miss)).toEqual([1, 2, 3, 5, 6])
          const hit = explainTlb(source, linear, { tlb })
          expect(hit.result).toEqual({ physical, hit: true })
          expect(numbers(hit)).toEqual([1, 2, 6])
        }
        expect(Buffer.compare(memory.bytes, before)).toBe(0)
      }),
      { numRuns: runs(40) },
    )
  })

  it.each(MODES)('report page faults with the error code of the manual (%s)', (mode) => {
    const { tables, source } = machine(mode)
    tables.map(0x5000, 0x8000, { writable: false, user: false, noExecute: mode !== '32-bit' })
    const result = (linear: number, options: Parameters<typeof explainPaging>[2]): unknown => {
      const { result: paging } = explainPaging(source, linear, options)
      const tlb = explainTlb(source, linear, options)
      expect(tlb.result).toEqual(paging)
      expect(numbers(tlb)).toEqual([1, 2, 3, 4])
      return paging
    }
    expect(result(0x6000, {})).toEqual({ vector: 14, errorCode: 0 })
    expect(result(0x6000, { access: 'write', user: true })).toEqual({ vector: 14, errorCode: PF_W | PF_U })
    expect(result(0x5000, { access: 'write' })).toEqual({ vector: 14, errorCode: PF_P | PF_W })
    expect(result(0x5000, { user: true })).toEqual({ vector: 14, errorCode: PF_P | PF_U })
    if (mode !== '32-bit') expect(result(0x5000, { access: 'execute' })).toEqual({ vector: 14, errorCode: PF_P | PF_I })
  })

  it('writes accessed and dirty flags only when asked to', () => {
    const { memory, tables, source } = machine('32-bit')
    tables.map(0x5000, 0x8000)
    const pte = (): number => memory.read32(0x11000 + 4 * 5)
    explainTlb(source, 0x5000, { access: 'write' })
    expect(pte() & (PTE_A | PTE_D)).toBe(0)
    explainTlb(source, 0x5000, { access: 'write', update: true })
    expect(pte() & (PTE_A | PTE_D)).toBe(PTE_A | PTE_D)
  })

  it('shows a stale entry until it is flushed', () => {
    const { tables, source } = machine('32-bit')
    const tlb = new Tlb({ sets: 1, ways: 2 })
    tables.map(0x5000, 0x8000)
    explainTlb(source, 0x5000, { tlb })
    tables.map(0x5000, 0x9000)
    expect(explainTlb(source, 0x5000, { tlb }).result).toEqual({ physical: 0x8000, hit: true })
    tlb.flushAll()
    expect(explainTlb(source, 0x5000, { tlb }).result).toEqual({ physical: 0x9000, hit: false })
  })

  it('tells addresses that are not canonical, and refuses those a mode does not have', () => {
    const { source } = machine('4-level')
    expect(explainPaging(source, 0x8000_0000_0000n).result).toEqual({ vector: 13, errorCode: 0 })
    expect(explainTlb(source, 0xffff_8000_0000_0000n).result).toEqual({ vector: 14, errorCode: 0 })
    expect(() => explainPaging(machine('32-bit').source, 2 ** 32)).toThrow(/0 to 0xffffffff/)
    expect(() => explainPaging(source, 1.5)).toThrow(/integer/)
  })

  it('without paging passes the address on', () => {
    const memory = new AddressSpace({ size: 0x1000 })
    expect(explainPaging({ memory }, 0x123456).result).toEqual({ physical: 0x123456 })
    expect(explainTlb({ memory }, 0x123456).result).toEqual({ physical: 0x123456, hit: false })
  })
})

describe('explainTranslation', () => {
  it('joins segmentation and paging, with steps numbered through', () => {
    const { memory, tables, source } = machine('32-bit')
    const { lo, hi } = encodeSegment({ type: 2, base: 0x40000, limit: 0xfff })
    memory.write32(0x2008, lo)
    memory.write32(0x200c, hi)
    tables.map(0x2000, 0x2000)
    tables.map(0x40000, 0x7000)
    const view = { ...source, gdtr: { base: 0x2000, limit: 15 } }
    const whole = explainTranslation(view, 0x08, 0x321)
    expect(whole.result).toEqual({ linear: 0x40321, physical: 0x7321 })
    expect(numbers(whole)).toEqual(whole.steps.map((_, n) => n + 1))
    // The GDT's own page is not mapped: the load of the selector faults.
    const fault = explainTranslation({ ...view, gdtr: { base: 0x9000, limit: 15 } }, 0x08, 0)
    expect(fault.result).toEqual({ vector: 14, errorCode: 0 })
  })
})

describe('PageTableBuilder', () => {
  it('refuses what cannot be mapped', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    expect(() => new PageTableBuilder(memory, 'flat' as 'pae', 0)).toThrow(/paging mode/)
    expect(() => new PageTableBuilder(memory, 'pae', 100)).toThrow(/start at a page/)
    const tables = new PageTableBuilder(memory, 'pae', 0)
    expect(() => tables.map(0x1001, 0)).toThrow(/multiple/)
    expect(() => tables.map(0, 0, { pageSize: 0x400000 })).toThrow(/no pages/)
    expect(() => tables.map(2 ** 32, 0)).toThrow(/out of the range/)
  })
})
