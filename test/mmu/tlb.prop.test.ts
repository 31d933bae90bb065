import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressSpace } from '../../src/memory/index.js'
import {
  ATTR_GLOBAL,
  CR4_PCIDE,
  CR4_PGE,
  Mmu,
  PageWalker,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
  TLB_POLICIES,
  Tlb,
} from '../../src/mmu/index.js'
import { runs } from '../runs.js'
import { access, accessBits, configuration, setting } from './paging-settings.js'
import type { Setting } from './reference-walk.js'

// --- the rules of replacement, on lists -----------------------------------------------------------------------------

interface Line {
  page: number
  frame: number
  global: boolean
  pcid: number
}

/** A TLB of 4 KiB pages as lists, the next victim of each set first. `plru` and `random` have no order: only membership is known. */
class Lists {
  sets: Line[][]
  readonly count: number
  constructor(count: number) {
    this.count = count
    this.sets = Array.from({ length: count }, () => [])
  }
  set(page: number): Line[] {
    return this.sets[((page % this.count) + this.count) % this.count]!
  }
  find(page: number, pcid: number): Line | undefined {
    return this.set(page).find((l) => l.page === page && (l.pcid === pcid || l.global))
  }
}

const geometry = fc.record({
  sets: fc.integer({ min: 1, max: 5 }),
  ways: fc.constantFrom(1, 2, 4),
  policy: fc.constantFrom(...TLB_POLICIES),
})
const page = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: -6, max: -1 }))
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant('use' as const), page, pcid: fc.nat({ max: 2 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom('invlpg', 'one', 'pcid', 'nonglobal', 'all'),
      page,
      pcid: fc.nat({ max: 2 }),
    }),
  },
)

describe('Tlb', () => {
  it('keeps, replaces and forgets as lists do', () => {
    fc.assert(
      fc.property(geometry, fc.array(operation, { maxLength: 80 }), ({ sets, ways, policy }, list) => {
        let tlb = new Tlb({ sets, ways, policy, seed: 7 })
        const model = new Lists(sets)
        let frame = 100
        const keep = (good: (l: Line) => boolean) => {
          model.sets = model.sets.map((s) => s.filter(good))
        }
        list.forEach(({ op, page: p, pcid }, i) => {
          // A page is global for all or for none: anything else is an error of software's.
          const global = p % 3 === 0
          if (i % 17 === 16) {
            const copy = new Tlb({ sets, ways, policy })
            copy.loadState(structuredClone(tlb.saveState()))
            expect(copy.saveState()).toEqual(tlb.saveState())
            tlb = copy
          }
          if (op === 'use') {
            const line = model.find(p, pcid)
            expect(tlb.lookup(p, pcid)).toBe(line !== undefined)
            const set = model.set(p)
            if (line) {
              expect(tlb.frame).toBe(line.frame)
              if (policy === 'lru' || policy === 'plru') set.push(...set.splice(set.indexOf(line), 1))
              return
            }
            tlb.fill(p, ++frame, 4096, global ? ATTR_GLOBAL : 0, pcid)
            if (set.length === ways) {
              if (policy === 'lru' || policy === 'fifo') set.shift()
              else {
                const left = new Set(tlb.entries().map((e) => e.frame))
                const gone = set.findIndex((l) => !left.has(l.frame))
                expect(gone).toBeGreaterThanOrEqual(0)
                // Pseudo-LRU never evicts what was used last.
                if (policy === 'plru' && ways > 1) expect(gone).not.toBe(set.length - 1)
                set.splice(gone, 1)
              }
            }
            set.push({ page: p, frame, global, pcid })
          } else if (op === 'invlpg') {
            tlb.invlpg(p, pcid)
            keep((l) => l.page !== p || (l.pcid !== pcid && !l.global))
          } else if (op === 'one') {
            tlb.invalidateAddress(p, pcid)
            keep((l) => l.page !== p || l.pcid !== pcid || l.global)
          } else if (op === 'pcid') {
            tlb.flushPcid(pcid)
            keep((l) => l.pcid !== pcid || l.global)
          } else if (op === 'nonglobal') {
            tlb.flushNonGlobal()
            keep((l) => l.global)
          } else {
            tlb.flushAll()
            keep(() => false)
          }
          const frames = (lines: { frame: number }[]) => lines.map((l) => l.frame).sort((a, b) => a - b)
          expect(frames(tlb.entries())).toEqual(frames(model.sets.flat()))
        })
      }),
      { numRuns: runs(300) },
    )
  })
})

// --- Mmu against fresh walks ----------------------------------------------------------------------------------------

/**
 * Two address spaces that share their lower tables but for the private part, as kernels arrange them: the top table of space `n` lies in frame
 * 1 + n; the tables below lie in frames 4 to 9, and space n uses those of its own parity for its private half. Global pages occur only
 * in the shared half, where both spaces agree.
 */
const SPACES = 2
interface Edit {
  op: 'edit'
  shared: boolean
  slot: number
  frame: number
  flags: number
  ps: boolean
  /** Edit the private tables of the space that is not current, which only a flushing CR3 load makes good. */
  elsewhere: boolean
}
type Op =
  | Edit
  | { op: 'access'; shared: boolean; slot: number; offset: number; access: Parameters<typeof accessBits>[0] }
  | { op: 'switch'; space: number; noFlush: boolean }
  | { op: 'pge' }
  | { op: 'wp' }
  | { op: 'pkru'; value: number }

const step: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      op: fc.constant('access' as const),
      shared: fc.boolean(),
      slot: fc.constantFrom(0, 1, 4, 5),
      offset: fc.nat({ max: 0xfff }),
      access,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('edit' as const),
      shared: fc.boolean(),
      slot: fc.constantFrom(0, 1, 4, 5),
      frame: fc.nat({ max: 31 }),
      flags: fc.nat({ max: 0xff }),
      ps: fc.boolean(),
      elsewhere: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('switch' as const),
      space: fc.nat({ max: SPACES - 1 }),
      noFlush: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('pge' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('wp' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('pkru' as const), value: fc.nat({ max: 0xffffffff }) }) },
)

/** Where things are in each mode: entry size, the directory entries, and the linear addresses they map. */
function layout(mode: Setting['mode']) {
  const size = mode === '32-bit' ? 4 : 8
  const span = mode === '32-bit' ? 2 ** 22 : 2 ** 21
  const high = mode === '4-level' ? -(2 ** 39) : mode === 'pae' ? 0xc0000000 : 0xc0000000
  return { size, span, high }
}

class World {
  memory = new AddressSpace({ size: 40 * 4096, capacity: 40 * 4096 })
  mmu: Mmu
  space = 0
  /** The tables of the other space were edited without an invalidation. */
  stale = false
  s: Setting
  pcide: boolean
  constructor(s: Setting, pcide: boolean, tlb: Tlb) {
    this.s = { ...s, cr3: this.root(0), pse: true }
    this.pcide = pcide && s.mode === '4-level'
    const { size } = layout(s.mode)
    const link = (at: number, frame: number, bits = PTE_P | PTE_RW | PTE_US | PTE_A) =>
      this.memory.write32(at, frame * 4096 + bits)
    for (let n = 0; n < SPACES; n++) {
      const root = this.root(n)
      if (s.mode === '32-bit') {
        // Directory entries 0, 1 private; 768, 769 shared; each to a table, entry 1 and 769 may become large.
        for (let i = 0; i < 2; i++) {
          link(root + size * i, 4 + 2 * n + i)
          link(root + size * (768 + i), 8 + i)
        }
      } else {
        let private_ = root
        let shared = root
        if (s.mode === '4-level') {
          link(root, 10 + n)
          link(root + 8 * 511, 12)
          private_ = (10 + n) * 4096
          shared = 12 * 4096
        }
        const top = s.mode === 'pae' ? PTE_P : PTE_P | PTE_RW | PTE_US | PTE_A
        link(private_, 14 + n, top)
        link(shared + (s.mode === 'pae' ? 24 : 0), 16, top)
        for (let i = 0; i < 2; i++) {
          link((14 + n) * 4096 + 8 * i, 4 + 2 * n + i)
          link(16 * 4096 + 8 * i, 8 + i)
        }
      }
    }
    // Everything is mapped at first.
    for (let table = 4; table < 10; table++) {
      for (let slot = 0; slot < 4; slot++) link(table * 4096 + size * slot, 20 + table + slot, PTE_P | PTE_RW | PTE_US)
    }
    const { cr4 = 0, ...rest } = configuration(this.s)
    this.mmu = new Mmu(this.memory, { tlb, configuration: { ...rest, cr4: cr4 | (this.pcide ? CR4_PCIDE : 0) } })
  }
  root(n: number): number {
    return (1 + n) * 4096
  }
  /** Slots 0–3 are the first pages under directory entry 0, slots 4–7 under entry 1. */
  linear(shared: boolean, slot: number): number {
    const { span, high } = layout(this.s.mode)
    return (shared ? high : 0) + (slot >> 2) * span + (slot & 3) * 4096
  }
  /** Physical addresses of the entry that maps a slot: page-table entry and directory entry. */
  entries(shared: boolean, slot: number): { pte: number; pde: number } {
    const { size } = layout(this.s.mode)
    const i = slot >> 2
    const table = shared ? 8 + i : 4 + 2 * this.space + i
    const pte = table * 4096 + size * (slot & 3)
    if (this.s.mode === '32-bit') return { pte, pde: this.root(this.space) + size * ((shared ? 768 : 0) + i) }
    return { pte, pde: (shared ? 16 : 14 + this.space) * 4096 + 8 * i }
  }
  /** Every space's copy of the directory entry. */
  directories(shared: boolean, slot: number): number[] {
    const pde = this.entries(shared, slot).pde
    if (this.s.mode !== '32-bit' || !shared) return [pde]
    return Array.from({ length: SPACES }, (_, n) => pde - this.root(this.space) + this.root(n))
  }
}

describe('Mmu', () => {
  it('gives what a fresh walk gives, as long as software flushes what the manual tells it to', () => {
    let hits = 0
    fc.assert(
      fc.property(
        setting,
        fc.boolean(),
        geometry,
        fc.array(step, { maxLength: 60, size: 'max' }),
        (given, pcide, shape, list) => {
          const w = new World(given, pcide, new Tlb(shape))
          const { mmu, memory } = w
          for (const o of list) {
            if (o.op === 'edit') {
              const { pte } = w.entries(o.shared, o.slot)
              const flags = (o.flags & 0x67) | (o.frame & 3 ? PTE_P : 0) | (o.shared && o.flags & 0x80 ? PTE_G : 0)
              if (o.elsewhere && !o.shared) {
                const other = pte + (w.space === 0 ? 2 : -2) * 4096
                memory.write32(other, o.frame * 4096 + flags)
                w.stale = true
                continue
              }
              // Under entry 1 a large page may replace the table, and go again.
              if (o.ps && o.slot >= 4) {
                const global = o.shared ? PTE_G : 0
                // A hit on a global entry sets nothing in the other space's copy of the directory entry.
                const seen = o.shared ? PTE_A | PTE_D : 0
                const large = memory.read32(w.entries(o.shared, o.slot).pde) & PTE_PS
                const table = (o.shared ? 9 : 5 + 2 * w.space) * 4096
                for (const pde of w.directories(o.shared, o.slot)) {
                  memory.write32(
                    pde,
                    large ? table | PTE_P | PTE_RW | PTE_US | PTE_A : PTE_PS | global | seen | (o.flags & 0x67),
                  )
                }
                // One page at a time would need an INVLPG for each of them.
                for (let slot = 4; slot < 8; slot++) mmu.invlpg(w.linear(o.shared, slot))
              } else memory.write32(pte, o.frame * 4096 + flags)
              mmu.invlpg(w.linear(o.shared, o.slot))
              // INVLPG reaches this PCID and global entries only: shared tables concern the other PCID too.
              if (o.shared && w.pcide) {
                for (let slot = 0; slot < 8; slot++) mmu.invpcid(0, mmu.pcid ^ 1, w.linear(true, slot))
              }
            } else if (o.op === 'switch') {
              // Without a flush only with PCIDs, whose tables were edited and flushed while they were current.
              const noFlush = w.pcide && o.noFlush && !(w.stale && o.space !== w.space)
              if (o.space !== w.space) w.stale = false
              w.space = o.space
              w.s.cr3 = w.root(o.space)
              expect(mmu.writeCr3(w.root(o.space) + (w.pcide ? o.space : 0), noFlush)).toBe(true)
            } else if (o.op === 'pge') {
              w.s.pge = !w.s.pge
              mmu.writeCr4((configuration(w.s).cr4! & ~CR4_PGE) | (w.s.pge ? CR4_PGE : 0) | (w.pcide ? CR4_PCIDE : 0))
            } else if (o.op === 'wp') {
              w.s.wp = !w.s.wp
              mmu.writeCr0(configuration(w.s).cr0!)
            } else if (o.op === 'pkru') {
              w.s.pkru = o.value
              mmu.writePkru(o.value)
            } else {
              const linear = w.linear(o.shared, o.slot) + o.offset
              const bits = accessBits(o.access)
              const before = memory.bytes.slice()
              const fresh = new PageWalker(memory, configuration(w.s))
              if (w.s.mode === 'pae') expect(fresh.loadPdptes(w.s.cr3)).toBe(true)
              const expected = fresh.walk(linear, bits)
              const after = memory.bytes.slice()
              memory.bytes.set(before)
              const found = mmu.translate(linear, bits)
              expect(found).toBe(expected)
              if (found) expect(mmu.physical).toBe(fresh.physical)
              else expect(mmu.errorCode).toBe(fresh.errorCode)
              // Software of this test never clears A or D without a flush, so memory agrees too.
              expect(Buffer.compare(memory.bytes, after)).toBe(0)
            }
          }
          hits += mmu.tlb.hits
        },
      ),
      { numRuns: runs(200) },
    )
    if (runs(100) >= 100) expect(hits).toBeGreaterThan(300)
  })

  it('answers from a stale entry until it is told', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    memory.write32(0x1000, 0x2000 | PTE_P | PTE_RW)
    memory.write32(0x2000, 0x5000 | PTE_P | PTE_RW)
    const mmu = new Mmu(memory)
    mmu.writeCr3(0x1000)
    mmu.writeCr0(0x80000001)
    expect(mmu.translate(0x10, 0)).toBe(true)
    memory.write32(0x2000, 0x6000 | PTE_P | PTE_RW)
    expect(mmu.translate(0x10, 0)).toBe(true)
    expect(mmu.physical).toBe(0x5010)
    // Clearing A goes unseen; a first write sets D although the entry was cached.
    memory.write32(0x2000, 0x5000 | PTE_P | PTE_RW)
    mmu.translate(0x10, 0)
    expect(memory.read32(0x2000) & PTE_A).toBe(0)
    mmu.translate(0x10, 2)
    expect(memory.read32(0x2000) & PTE_D).toBe(PTE_D)
    memory.write32(0x2000, 0x6000 | PTE_P | PTE_RW)
    mmu.invlpg(0x10)
    mmu.translate(0x10, 0)
    expect(mmu.physical).toBe(0x6010)
  })
})
