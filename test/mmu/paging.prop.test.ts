import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressSpace } from '../../src/memory/index.js'
import { ACCESS_PROBE, PageWalker, walk } from '../../src/mmu/index.js'
import { runs } from '../runs.js'
import { access, accessBits, configuration, mostly, rarely, setting } from './paging-settings.js'
import { goodPdptes, loadPdptes, type ReadEntry, reference, type Setting } from './reference-walk.js'

const FRAMES = 8
const INDEXES = [0, 1, 2, 3, 511, 512, 1023]

function reader(memory: AddressSpace): ReadEntry {
  return (address, size) => {
    const low = BigInt(memory.read32(address))
    return size === 4 ? low : low | (BigInt(memory.read32(address + 4)) << 32n)
  }
}

/** An entry: mostly present, mostly pointing at another table, sometimes with any of the bits that may be reserved. */
const entry = fc
  .record({
    frame: fc.nat({ max: FRAMES }),
    flags: fc.nat({ max: 0x1ff }),
    present: mostly,
    us: mostly,
    rw: fc.boolean(),
    ps: fc.nat({ max: 3 }).map((n) => n === 0),
    odd: fc.nat({ max: 7 }).map((n) => n === 0),
    oddBits: fc.nat({ max: 0xffffffff }),
    nx: fc.nat({ max: 5 }).map((n) => n === 0),
    key: fc.nat({ max: 15 }),
    keyed: rarely,
    unmapped: rarely,
    pae: fc.boolean(),
  })
  .map((e) => {
    let low = (e.flags & ~0x87) | (e.present ? 1 : 0) | (e.rw ? 2 : 0) | (e.us ? 4 : 0) | (e.ps ? 0x80 : 0)
    // Half of them would do as PAE directory pointers.
    if (e.pae) low &= ~0x1e6
    low += (e.unmapped ? 0x7ff : e.ps && !e.odd ? 0 : e.frame) * 4096
    let high = (e.nx && !e.pae ? 0x80000000 : 0) + (e.keyed ? e.key * 2 ** 27 : 0)
    if (e.odd) {
      low = (low ^ (e.oddBits & 0x3fe000)) >>> 0
      high = (high ^ ((e.oddBits >>> 12) & 0x3ff)) >>> 0
    }
    return { low: low >>> 0, high: high >>> 0 }
  })

/** The tables, as entries for the interesting indexes of each frame. */
const tables = fc.array(entry, { minLength: FRAMES * INDEXES.length, maxLength: FRAMES * INDEXES.length })

function build(s: Setting, clean: boolean, entries: readonly { low: number; high: number }[]): AddressSpace {
  const { mode, cr3 } = s
  const memory = new AddressSpace({ size: FRAMES * 4096, capacity: FRAMES * 4096 })
  entries.forEach(({ low, high }, i) => {
    const index = INDEXES[i % INDEXES.length]!
    const at = Math.floor(i / INDEXES.length) * 4096 + ((index * (mode === '32-bit' ? 4 : 8)) & 0xfff)
    memory.write32(at, low)
    if (mode !== '32-bit') memory.write32(at + 4, high)
  })
  if (mode === 'pae' && clean) {
    // Random directory pointers are nearly always malformed.
    for (let at = cr3; at < cr3 + 32; at += 8) {
      memory.write32(at, memory.read32(at) & ~0x1e6)
      memory.write32(at + 4, 0)
    }
  }
  return memory
}

const index = fc.constantFrom(0, 0, 1, 2, 3, 511)
const linear64 = fc.tuple(index, index, index, index, fc.nat({ max: 0xfff })).map(([a, b, c, d, o]) => {
  const value = a * 2 ** 39 + b * 2 ** 30 + c * 2 ** 21 + d * 2 ** 12 + o
  return value >= 2 ** 47 ? value - 2 ** 48 : value
})
const linear32 = fc
  .tuple(
    fc.constantFrom(0, 0, 1, 2, 511, 512, 1023),
    fc.constantFrom(0, 0, 1, 2, 511, 512, 1023),
    fc.nat({ max: 0xfff }),
  )
  .map(([a, b, o]) => a * 2 ** 22 + b * 2 ** 12 + o)
const linear = fc.tuple(linear32, linear64).map(([narrow, wide]) => ({ narrow, wide }))

describe('PageWalker against a walk on BigInt', () => {
  it('agrees on address, size, rights, error code, A and D, in all modes', () => {
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(
        setting,
        mostly,
        tables,
        fc.array(fc.tuple(linear, access), { minLength: 1, maxLength: 8 }),
        (s, clean, entries, list) => {
          const memory = build(s, clean, entries)
          const walker = new PageWalker(memory, configuration(s))
          if (s.mode === 'pae') {
            expect(walker.loadPdptes(s.cr3)).toBe(goodPdptes(s, reader(memory)))
            if (!goodPdptes(s, reader(memory))) return
          }
          // The four directory pointers stay as they were loaded, whatever the walks write to memory.
          const pdptes = loadPdptes(s, reader(memory))
          for (const [{ narrow, wide }, a] of list) {
            const at = s.mode === '4-level' ? wide : narrow
            const before = memory.bytes.slice()
            const expected = reference(s, at, a, reader(memory), pdptes)
            const found = walker.walk(at, accessBits(a))
            const key = `${s.mode} ${expected.fault ?? `ok ${expected.pageSize}`}`
            seen.set(key, (seen.get(key) ?? 0) + 1)
            expect(found ? undefined : walker.errorCode).toBe(expected.fault)
            if (found) {
              expect({
                physical: walker.physical,
                frame: walker.frame,
                pageSize: walker.pageSize,
                user: walker.user,
                writable: walker.writable,
                noExecute: walker.noExecute,
                global: walker.global,
                key: walker.protectionKey,
                large: walker.large,
              }).toEqual({
                physical: Number(expected.physical),
                frame: Number(expected.physical >> 12n),
                pageSize: expected.pageSize,
                user: expected.user,
                writable: expected.writable,
                noExecute: expected.noExecute,
                global: expected.global,
                key: expected.key,
                large: expected.pageSize > 4096,
              })
              expect(walker.permits(walker.attributes, accessBits(a))).toBe(true)
              if (a.kind === 'write') expect(walker.dirty).toBe(true)
            }
            const view = new DataView(before.buffer)
            for (const [address, value] of expected.updates) {
              if (address + 4 <= before.length) view.setUint32(address, Number(value & 0xffffffffn), true)
            }
            expect(Buffer.compare(memory.bytes, before)).toBe(0)
          }
        },
      ),
      { numRuns: runs(1500) },
    )
    // The generator is worth something: successes of every size and faults of every kind occur in every mode.
    if (runs(100) < 100) return
    for (const key of ['32-bit ok 4096', '32-bit ok 4194304', 'pae ok 4096', 'pae ok 2097152', '4-level ok 4096']) {
      expect(seen.get(key) ?? 0, key).toBeGreaterThan(0)
    }
    for (const key of ['4-level ok 2097152', '4-level ok 1073741824', '32-bit 9', 'pae 9', '4-level 9']) {
      expect(seen.get(key) ?? 0, key).toBeGreaterThan(0)
    }
    // Protection keys: of reads or writes, of supervisor or user mode (each alone is too rare to be met in every run).
    const keyFaults = [33, 35, 37, 39].reduce((sum, code) => sum + (seen.get(`4-level ${code}`) ?? 0), 0)
    expect(keyFaults).toBeGreaterThan(0)
  })

  it('neither reads a fault into memory nor writes when only asked', () => {
    fc.assert(
      fc.property(setting, mostly, tables, linear, access, (s, clean, entries, { narrow, wide }, a) => {
        const memory = build(s, clean, entries)
        const before = memory.bytes.slice()
        const at = s.mode === '4-level' ? wide : narrow
        const { cr3, ...rest } = configuration(s)
        const result = walk(memory, cr3!, at, { ...rest, mode: s.mode, access: accessBits(a) })
        expect(Buffer.compare(memory.bytes, before)).toBe(0)
        if (result.badDirectoryPointers) return
        const walker = new PageWalker(memory, configuration(s))
        if (s.mode === 'pae') walker.loadPdptes(s.cr3)
        const found = walker.walk(at, accessBits(a) | ACCESS_PROBE)
        expect(result.physical).toBe(found ? walker.physical : undefined)
        expect(result.errorCode).toBe(found ? undefined : walker.errorCode)
        expect(result.steps.length).toBeGreaterThan(0)
        if (!found) expect(Buffer.compare(memory.bytes, before)).toBe(0)
      }),
      { numRuns: runs(300) },
    )
  })
})
