import { describe, expect, it } from 'vitest'
import type { EventMap, EventName, EventSink } from '../../src/contracts/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import {
  ATTR_GLOBAL,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  Mmu,
  PTE_G,
  PTE_P,
  PTE_RW,
  Tlb,
} from '../../src/mmu/index.js'

const coded = (code: string) => expect.objectContaining({ code })

function sink(names: EventName[]): { log: string[]; events: EventSink } {
  const log: string[] = []
  const events: EventSink = {
    wants: (name) => names.includes(name),
    emit: (name, event) => {
      if (name === 'tlb') {
        const { action, page } = event as EventMap['tlb']
        log.push(`${action} ${page}`)
      } else if (name === 'translation') log.push((event as EventMap['translation']).step)
    },
  }
  return { log, events }
}

describe('Tlb', () => {
  it('holds large pages in one entry', () => {
    const tlb = new Tlb({ sets: 4, ways: 2 })
    tlb.fill(512 + 5, 0x1005, 2 ** 21, 0)
    expect(tlb.lookup(512)).toBe(true)
    expect(tlb.frame).toBe(0x1000)
    expect(tlb.lookup(1023)).toBe(true)
    expect([tlb.frame, tlb.pageSize]).toEqual([0x11ff, 2 ** 21])
    expect(tlb.lookup(1024)).toBe(false)
    tlb.invlpg(700)
    expect(tlb.entries()).toEqual([])
    tlb.fill(-1, 0x3ffff, 2 ** 30, 0)
    expect(tlb.lookup(-262144)).toBe(true)
    expect(tlb.frame).toBe(0)
    expect([tlb.hits, tlb.misses, tlb.fills, tlb.invalidations]).toEqual([3, 1, 2, 1])
  })

  it('shares global entries among PCIDs, until they are invalidated by address or altogether', () => {
    const tlb = new Tlb({ sets: 1, ways: 4 })
    tlb.fill(1, 1, 4096, ATTR_GLOBAL, 1)
    tlb.fill(2, 2, 4096, 0, 1)
    expect([tlb.lookup(1, 2), tlb.lookup(2, 2)]).toEqual([true, false])
    tlb.flushPcid(1)
    expect([tlb.lookup(1, 1), tlb.lookup(2, 1)]).toEqual([true, false])
    tlb.invalidateAddress(1, 1)
    expect(tlb.lookup(1, 1)).toBe(true)
    tlb.invlpg(1, 7)
    expect(tlb.lookup(1, 1)).toBe(false)
  })

  it('evicts by tree: the sequence of the four-way example', () => {
    const tlb = new Tlb({ sets: 1, ways: 4, policy: 'plru' })
    for (const page of [0, 1, 2, 3]) tlb.fill(page, page, 4096, 0)
    // After 0, 1, 2, 3 the root points left and the left node at way 0.
    tlb.fill(4, 4, 4096, 0)
    expect(tlb.lookup(0)).toBe(false)
    // Way 0 was used last: the root points right, whose node points at way 2.
    tlb.fill(5, 5, 4096, 0)
    expect([1, 2, 3].map((page) => tlb.lookup(page))).toEqual([true, false, true])
  })

  it('tells what it does', () => {
    const { log, events } = sink(['tlb'])
    const tlb = new Tlb({ sets: 1, ways: 1, events })
    tlb.lookup(1)
    tlb.fill(1, 9, 4096, 0)
    tlb.lookup(1)
    tlb.fill(2, 8, 4096, 0)
    tlb.flushAll()
    expect(log).toEqual(['miss 1', 'fill 1', 'hit 1', 'evict 1', 'fill 2', 'flush 2'])
  })

  it('refuses impossible geometries, pages and states', () => {
    expect(() => new Tlb({ sets: 0, ways: 1 })).toThrow(coded('bad-argument'))
    expect(() => new Tlb({ sets: 1, ways: 1.5 })).toThrow(coded('bad-argument'))
    expect(() => new Tlb({ sets: 1, ways: 3, policy: 'plru' })).toThrow(coded('bad-argument'))
    expect(() => new Tlb({ sets: 1, ways: 2, policy: 'mru' as never })).toThrow(coded('bad-argument'))
    const tlb = new Tlb({ sets: 2, ways: 2 })
    expect(() => tlb.fill(0, 0, 8192, 0)).toThrow(coded('bad-argument'))
    tlb.fill(1, 1, 4096, 0)
    const good = tlb.saveState()
    const line = good.entries[0]!
    const bad: unknown[] = [
      null,
      { ...good, version: 0 },
      { ...good, ways: 4 },
      { ...good, tree: new Uint8Array(3) },
      { ...good, tree: new Uint8Array(4).fill(2) },
      { ...good, random: 0 },
      { ...good, counters: [1] },
      { ...good, entries: [null] },
      { ...good, entries: [{ ...line, set: 0 }] },
      { ...good, entries: [{ ...line, way: 2 }] },
      { ...good, entries: [{ ...line, pageSize: 5 }] },
      { ...good, entries: [line, line] },
    ]
    for (const state of bad) expect(() => tlb.loadState(state as never)).toThrow(coded('bad-state'))
    expect(tlb.saveState()).toEqual(good)
  })
})

describe('Mmu', () => {
  it('goes through the six steps', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    memory.write32(0x1000, 0x2000 | PTE_P | PTE_RW)
    memory.write32(0x2004, 0x5000 | PTE_P)
    const { log, events } = sink(['translation'])
    const mmu = new Mmu(memory, { events, tlb: new Tlb({ sets: 2, ways: 1 }) })
    mmu.writeCr3(0x1000)
    mmu.writeCr0(CR0_PE | CR0_PG)
    expect(mmu.translate(0x1abc, 0)).toBe(true)
    expect(mmu.physical).toBe(0x5abc)
    expect(log.splice(0)).toEqual(['1 match', '2 miss', '3 walk', '3 walk', '5 fill', '6 address'])
    mmu.translate(0x1abd, 0)
    expect(log.splice(0)).toEqual(['1 match', '2 hit', '6 address'])
    expect(mmu.translate(0x2000, 0)).toBe(false)
    expect(log.splice(0)).toEqual(['1 match', '2 miss', '3 walk', '3 walk', '4 fault'])
  })

  it('forgets on CR3, CR4, CR0 and INVPCID exactly what the manual says', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    // PML4 at 0x1000 and 0x2000, shared below: page 1 private, page 2 global.
    for (const root of [0x1000, 0x2000]) memory.write32(root, 0x3000 | PTE_P | PTE_RW)
    memory.write32(0x3000, 0x4000 | PTE_P | PTE_RW)
    memory.write32(0x4000, 0x5000 | PTE_P | PTE_RW)
    memory.write32(0x5008, 0x6000 | PTE_P)
    memory.write32(0x5010, 0x7000 | PTE_P | PTE_G)
    const cr4 = CR4_PAE | CR4_PCIDE | CR4_PGE
    const cached = (mmu: Mmu) =>
      mmu.tlb
        .entries()
        .map((e) => `${e.page}:${e.pcid}`)
        .sort()
        .join(' ')
    const fresh = (registers = cr4) => {
      const mmu = new Mmu(memory, {
        configuration: { cr0: CR0_PE | CR0_PG, cr3: 0x1000, cr4: registers, efer: EFER_LME | EFER_LMA },
      })
      const both = () => {
        mmu.translate(0x1000, 0)
        mmu.translate(0x2000, 0)
      }
      both()
      if (registers & CR4_PCIDE) {
        mmu.writeCr3(0x2001, true)
        both()
        expect(cached(mmu)).toBe('1:0 1:1 2:0')
      }
      return mmu
    }
    const left = (action: (mmu: Mmu) => unknown, registers = cr4) => {
      const mmu = fresh(registers)
      action(mmu)
      return cached(mmu)
    }
    expect(left((m) => m.writeCr3(0x1000, true))).toBe('1:0 1:1 2:0')
    expect(left((m) => m.writeCr3(0x1000))).toBe('1:1 2:0')
    expect(left((m) => m.writeCr3(0x2001))).toBe('1:0 2:0')
    expect(left((m) => m.writeCr3(0x1000), CR4_PAE | CR4_PGE)).toBe('2:0')
    expect(left((m) => m.writeCr3(0x1000), CR4_PAE)).toBe('')
    expect(left((m) => m.writeCr4(cr4 & ~CR4_PGE))).toBe('')
    expect(left((m) => m.writeCr4(cr4 & ~CR4_PCIDE))).toBe('')
    expect(left((m) => m.writeCr4(cr4 | CR4_SMEP))).toBe('')
    expect(left((m) => m.writeCr4(cr4 | CR4_SMAP))).toBe('1:0 1:1 2:0')
    expect(left((m) => m.writeCr0(CR0_PE))).toBe('')
    expect(left((m) => m.writeCr0(CR0_PE | CR0_PG | CR0_WP))).toBe('1:0 1:1 2:0')
    expect(left((m) => m.invlpg(0x1000))).toBe('1:0 2:0')
    expect(left((m) => m.invlpg(0x2000))).toBe('1:0 1:1')
    expect(left((m) => m.invpcid(0, 0, 0x1000))).toBe('1:1 2:0')
    expect(left((m) => m.invpcid(0, 0, 0x2000))).toBe('1:0 1:1 2:0')
    expect(left((m) => m.invpcid(1, 1))).toBe('1:0 2:0')
    expect(left((m) => m.invpcid(2))).toBe('')
    expect(left((m) => m.invpcid(3))).toBe('2:0')
  })
})
