import { describe, expect, it } from 'vitest'
import { AddressSpace } from '../../src/memory/index.js'
import {
  ACCESS_USER,
  ACCESS_WRITE,
  CR0_PE,
  CR0_PG,
  CR4_PAE,
  CR4_PSE,
  EFER_LMA,
  EFER_NXE,
  PAGING_MODES,
  PageWalker,
  PF_P,
  PF_RSVD,
  PF_U,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_HI_NX,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
  walk,
} from '../../src/mmu/index.js'

const RWP = PTE_P | PTE_RW | PTE_US

describe('PageWalker', () => {
  it('is the identity without paging', () => {
    const walker = new PageWalker(new AddressSpace())
    expect(walker.mode).toBe(PAGING_MODES.none)
    expect(walker.walk(0xfffff123, ACCESS_WRITE | ACCESS_USER)).toBe(true)
    expect(walker.physical).toBe(0xfffff123)
    expect(walker.permits(0, ACCESS_WRITE | ACCESS_USER)).toBe(true)
  })

  it('walks two levels and sets A and D', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    memory.write32(0x1000 + 4 * 1, 0x2000 | RWP)
    memory.write32(0x2000 + 4 * 3, 0x5000 | RWP)
    const walker = new PageWalker(memory, { cr0: CR0_PE | CR0_PG, cr3: 0x1000 })
    expect(walker.walk(0x00403abc, ACCESS_USER)).toBe(true)
    expect([walker.physical, walker.frame, walker.dirty]).toEqual([0x5abc, 5, false])
    expect(memory.read32(0x1004)).toBe(0x2000 | RWP | PTE_A)
    expect(memory.read32(0x200c)).toBe(0x5000 | RWP | PTE_A)
    expect(walker.walk(0x00403abc, ACCESS_USER | ACCESS_WRITE)).toBe(true)
    expect(memory.read32(0x1004)).toBe(0x2000 | RWP | PTE_A)
    expect(memory.read32(0x200c)).toBe(0x5000 | RWP | PTE_A | PTE_D)
    expect(walker.walk(0x00404000, ACCESS_USER)).toBe(false)
    expect(walker.errorCode).toBe(PF_U)
  })

  it('maps 4 MiB above 4 GiB with PSE-36', () => {
    const memory = new AddressSpace({ size: 0x2000 })
    memory.write32(0x1000, 0x00c00000 | (0x05 << 13) | PTE_PS | PTE_P)
    const setting = { cr0: CR0_PE | CR0_PG, cr3: 0x1000, cr4: CR4_PSE, maxPhysicalBits: 36 }
    const walker = new PageWalker(memory, setting)
    expect(walker.walk(0x123456, 0)).toBe(true)
    expect(walker.physical).toBe(5 * 2 ** 32 + 0xc00000 + 0x123456)
    walker.configure({ pse36: false })
    expect(walker.walk(0x123456, 0)).toBe(false)
    expect(walker.errorCode).toBe(PF_P | PF_RSVD)
    walker.configure({ cr4: 0 })
    // Without PSE the bit means nothing and the entry names a table, in memory that is not there.
    expect(walker.walk(0x123456, 0)).toBe(true)
    expect(walker.physical).toBe(0xfffff456)
  })

  it('keeps the PAE directory pointers until they are loaded again', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    memory.write32(0x1020, 0x2000 | PTE_P)
    memory.write32(0x2000, 0x00200000 | PTE_PS | RWP | PTE_G)
    memory.write32(0x2004, PTE_HI_NX)
    const walker = new PageWalker(memory, { cr0: CR0_PE | CR0_PG, cr3: 0x1020, cr4: CR4_PAE, efer: EFER_NXE })
    expect(walker.walk(0, 0)).toBe(false)
    expect(walker.loadPdptes(0x1020)).toBe(true)
    expect(walker.walk(0x1234, 0)).toBe(true)
    expect([walker.physical, walker.noExecute, walker.global, walker.large]).toEqual([0x201234, true, false, true])
    memory.write32(0x1020, 0)
    expect(walker.walk(0x1234, 0)).toBe(true)
    memory.write32(0x1020, 0x2000 | PTE_P | PTE_RW)
    expect(walker.loadPdptes(0x1020)).toBe(false)
    expect(walker.walk(0x1234, 0)).toBe(true)
  })

  it('survives tables that name themselves or nothing', () => {
    const memory = new AddressSpace({ size: 0x2000 })
    const four = { cr0: CR0_PE | CR0_PG, cr4: CR4_PAE, efer: EFER_LMA | EFER_NXE }
    const walker = new PageWalker(memory, { ...four, cr3: 0x1000 })
    memory.write32(0x1000 + 8 * 511, 0x1000 | RWP)
    expect(walker.walk(-1, ACCESS_WRITE)).toBe(true)
    expect(walker.physical).toBe(0x1fff)
    expect(memory.read32(0x1ff8)).toBe(0x1000 | RWP | PTE_A | PTE_D)
    walker.configure({ cr3: 0xff000 })
    expect(walker.walk(0, 0)).toBe(false)
    expect(walker.errorCode).toBe(PF_P | PF_RSVD)
  })

  it('refuses an impossible MAXPHYADDR', () => {
    const bad = expect.objectContaining({ code: 'bad-argument' })
    expect(() => new PageWalker(new AddressSpace(), { maxPhysicalBits: 31 })).toThrow(bad)
    expect(() => new PageWalker(new AddressSpace(), { maxPhysicalBits: 53 })).toThrow(bad)
  })
})

describe('walk', () => {
  it('tells every level', () => {
    const memory = new AddressSpace({ size: 0x10000 })
    memory.write32(0x1000 + 8 * 256, 0x2000 | RWP)
    memory.write32(0x2000, 0x3000 | RWP)
    memory.write32(0x3000, 0x4000 | RWP)
    memory.write32(0x4008, 0x7000 | RWP)
    const result = walk(memory, 0x1000, -0x8000_0000_0000 + 0x1234)
    expect(result.physical).toBe(0x7234)
    expect(result.steps.map(({ name, index, address, decision }) => [name, index, address, decision])).toEqual([
      ['PML4E', 256, 0x1800, 'refers to the table at 0x2000'],
      ['PDPTE', 0, 0x2000, 'refers to the table at 0x3000'],
      ['PDE', 0, 0x3000, 'refers to the table at 0x4000'],
      ['PTE', 1, 0x4008, 'maps 4 KiB at 0x7000'],
    ])
    expect(walk(memory, 0x1000, 0x1234).steps.map((s) => s.decision)).toEqual(['is not present'])
    memory.write32(0x300c, 1)
    memory.write32(0x3008, 0x1000 | PTE_PS | RWP | 0x2000)
    expect(walk(memory, 0x1000, -0x8000_0000_0000 + 0x200000).steps.at(-1)?.decision).toBe('has a reserved bit set')
    memory.write32(0x4008, 0x7000 | PTE_P)
    const denied = walk(memory, 0x1000, -0x8000_0000_0000 + 0x1234, { access: ACCESS_USER })
    expect(denied.steps.at(-1)?.decision).toBe('maps a page that does not permit the access')
    expect(denied.errorCode).toBe(PF_P | PF_U)
  })
})
