import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressSpace } from '../../src/memory/index.js'
import {
  ACCESS_PROBE,
  ACCESS_USER,
  ACCESS_WRITE,
  CR0_PE,
  CR0_PG,
  NestedWalker,
  PF_P,
  PF_U,
  PF_W,
  PTE_A,
  PTE_D,
  PTE_P,
  PTE_RW,
  PTE_US,
} from '../../src/mmu/index.js'
import { runs } from '../runs.js'
import { access, accessBits, configuration, setting } from './paging-settings.js'
import { reference } from './reference-walk.js'

const RWP = PTE_P | PTE_RW | PTE_US

/** Host tables (32-bit) at 0x1000 and 0x2000 map guest page n to frame `frames[n]`. */
function host(memory: AddressSpace, frames: readonly number[], flags: readonly number[] = []): void {
  memory.write32(0x1000, 0x2000 | RWP)
  frames.forEach((frame, page) => {
    memory.write32(0x2000 + 4 * page, frame * 4096 + (flags[page] ?? RWP))
  })
}

function nested(memory: AddressSpace): NestedWalker {
  const walker = new NestedWalker(memory)
  walker.host.configure({ cr0: CR0_PE | CR0_PG, cr3: 0x1000 })
  walker.guest.configure({ cr0: CR0_PE | CR0_PG, cr3: 0 })
  return walker
}

describe('NestedWalker', () => {
  it('translates twice, and the tables of the guest too', () => {
    const memory = new AddressSpace({ size: 0x20000 })
    // Guest pages 0 (directory), 1 (table), 2 (data) lie in frames 8, 9, 10.
    host(memory, [8, 9, 10])
    memory.write32(0x8000, 0x1000 | RWP)
    memory.write32(0x9014, 0x2000 | RWP)
    const walker = nested(memory)
    expect(walker.walk(0x5123, ACCESS_WRITE)).toBe(true)
    expect([walker.guestPhysical, walker.physical, walker.pageSize]).toEqual([0x2123, 0xa123, 4096])
    expect(memory.read32(0x9014)).toBe(0x2000 | RWP | PTE_A | PTE_D)
    expect(memory.read32(0x2008) & PTE_D).toBe(PTE_D)
  })

  it('tells a fault of the guest from one of the host', () => {
    const memory = new AddressSpace({ size: 0x20000 })
    host(memory, [8, 9, 10], [RWP, RWP, PTE_P | PTE_US])
    memory.write32(0x8000, 0x1000 | RWP)
    memory.write32(0x9014, 0x2000 | RWP)
    const walker = nested(memory)
    expect(walker.walk(0x6000, ACCESS_USER)).toBe(false)
    expect([walker.failed, walker.errorCode]).toEqual(['guest', PF_U])
    // The data page is read-only at the host; nested accesses are user ones.
    expect(walker.walk(0x5000, ACCESS_WRITE)).toBe(false)
    expect([walker.failed, walker.errorCode, walker.guestPhysical]).toEqual(['host', PF_P | PF_W | PF_U, 0x2000])
    expect(walker.walk(0x5000, 0)).toBe(true)
    // A table of the guest is missing at the host: nothing of the guest's was changed.
    memory.write32(0x2004, 0)
    memory.write32(0x8000, 0x1000 | RWP)
    expect(walker.walk(0x5000, 0)).toBe(false)
    expect([walker.failed, walker.guestPhysical]).toEqual(['host', 0x1014])
    expect(memory.read32(0x8000)).toBe(0x1000 | RWP)
  })

  it('is the guest walk over relocated memory, when the host maps everything', () => {
    const order = fc.shuffledSubarray([8, 9, 10, 11, 12, 13, 14, 15], { minLength: 8, maxLength: 8 })
    const words = fc.array(fc.nat({ max: 0x7fff }), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(setting, access, order, words, fc.nat({ max: 3 }), (given, a, frames, tables, pick) => {
        const s = { ...given, mode: '32-bit' as const, cr3: 0 }
        const memory = new AddressSpace({ size: 0x10000, capacity: 0x10000 })
        host(memory, frames)
        tables.forEach((word, i) => {
          memory.write32(frames[i >> 2]! * 4096 + 4 * (i & 3), word)
        })
        const linear = (pick & 1) * 0x400000 + (pick >> 1) * 0x1000 + 0x123
        const walker = nested(memory)
        walker.guest.configure(configuration(s))
        // Guest-physical memory, as the host arranges it.
        const flat = (address: number) =>
          address < 0x8000 ? memory.read32(frames[address >> 12]! * 4096 + (address & 0xfff)) : undefined
        let outside = false
        const expected = reference(s, linear, a, (address) => {
          const value = flat(address)
          if (value === undefined) outside = true
          return BigInt(value ?? 0)
        })
        const found = walker.walk(linear, accessBits(a))
        if (outside) {
          expect([found, walker.failed]).toEqual([false, 'host'])
        } else if (expected.fault !== undefined) {
          expect([found, walker.failed, walker.errorCode]).toEqual([false, 'guest', expected.fault])
        } else if (expected.physical >= 0x8000n) {
          expect([found, walker.failed, walker.guestPhysical]).toEqual([false, 'host', Number(expected.physical)])
        } else {
          const at = Number(expected.physical)
          expect([found, walker.physical]).toEqual([true, frames[at >> 12]! * 4096 + (at & 0xfff)])
        }
        const before = memory.bytes.slice()
        walker.walk(linear, accessBits(a) | ACCESS_PROBE)
        expect(Buffer.compare(memory.bytes, before)).toBe(0)
      }),
      { numRuns: runs(300) },
    )
  })
})
