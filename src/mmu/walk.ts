import type { PhysicalBus } from '../contracts/index.js'
import { CR0_PE, CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, EFER_LMA, EFER_LME, EFER_NXE } from './control-registers.js'
import { ACCESS_PROBE, PF_P, PF_RSVD } from './page-permissions.js'
import { PageWalker, type PagingConfiguration } from './paging.js'

/** Options of {@link walk}. Register values given here replace those that `mode` stands for. */
export interface WalkOptions extends Omit<PagingConfiguration, 'cr3'> {
  /** Which paging mode the tables are for. Default `4-level`. */
  readonly mode?: '32-bit' | 'pae' | '4-level'
  /** ACCESS_ bits. Default 0: a supervisor read. */
  readonly access?: number
  /** Whether accessed and dirty flags are written to memory. Default false. */
  readonly update?: boolean
}

/** One paging-structure entry of a walk. */
export interface WalkStep {
  /** 4 to 1. */
  readonly level: number
  /** PML4E, PDPTE, PDE or PTE. */
  readonly name: string
  readonly index: number
  /** Physical address of the entry. */
  readonly address: number
  /** The entry: bits 31–0 and, in PAE and 4-level paging, 63–32. */
  readonly low: number
  readonly high: number
  /** What the walk concluded from it. */
  readonly decision: string
}

/** A walk, spelled out. */
export interface WalkResult {
  readonly steps: readonly WalkStep[]
  /** The physical address, or undefined for a page fault. */
  readonly physical: number | undefined
  /** Page-fault error code, or undefined. */
  readonly errorCode: number | undefined
  /** Set when PAE's directory-pointer table itself is malformed, which CR3 loads refuse with #GP(0). */
  readonly badDirectoryPointers: boolean
  readonly pageSize: number | undefined
  readonly user: boolean
  readonly writable: boolean
  readonly noExecute: boolean
  readonly dirty: boolean
  readonly global: boolean
}

const NAMES: readonly string[] = ['', 'PTE', 'PDE', 'PDPTE', 'PML4E']

const REGISTERS = {
  '32-bit': { cr4: CR4_PSE, efer: 0 },
  pae: { cr4: CR4_PAE, efer: EFER_NXE },
  '4-level': { cr4: CR4_PAE, efer: EFER_LME | EFER_LMA | EFER_NXE },
} as const

/**
 * Walks the paging structures that start at `cr3` for one linear address and tells what it read and decided at every level.
 *
 * ```ts
 * const { steps, physical } = walk(memory, 0x1000, 0x7fff_0000_1234)
 * ```
 * @throws VirtkitError `bad-argument` for an impossible configuration
 */
export function walk(memory: PhysicalBus, cr3: number, address: number, options: WalkOptions = {}): WalkResult {
  const { mode = '4-level', access = 0, update = false, ...given } = options
  const walker = new PageWalker(memory, { cr0: CR0_PE | CR0_WP | CR0_PG, ...REGISTERS[mode], cr3, ...given })
  const read: Omit<WalkStep, 'decision'>[] = []
  walker.observer = {
    entry: (level, index, at, low, high) => read.push({ level, name: NAMES[level]!, index, address: at, low, high }),
  }
  const badDirectoryPointers = mode === 'pae' && !walker.loadPdptes(cr3)
  const found = !badDirectoryPointers && walker.walk(address, update ? access : access | ACCESS_PROBE)
  const steps = read.map((entry, i): WalkStep => {
    const table = (entry.high & 0xfffff) * 2 ** 32 + ((entry.low & 0xfffff000) >>> 0)
    const last = i === read.length - 1
    return { ...entry, decision: last ? conclusion(walker, found) : `refers to the table at 0x${table.toString(16)}` }
  })
  return {
    steps,
    physical: found ? walker.physical : undefined,
    errorCode: found || badDirectoryPointers ? undefined : walker.errorCode,
    badDirectoryPointers,
    pageSize: found ? walker.pageSize : undefined,
    user: found && walker.user,
    writable: found && walker.writable,
    noExecute: found && walker.noExecute,
    dirty: found && walker.dirty,
    global: found && walker.global,
  }
}

function conclusion(walker: PageWalker, found: boolean): string {
  if (found)
    return `maps ${walker.pageSize / 1024} KiB at 0x${(walker.physical - (walker.physical % walker.pageSize)).toString(16)}`
  if (!(walker.errorCode & PF_P)) return 'is not present'
  return walker.errorCode & PF_RSVD ? 'has a reserved bit set' : 'maps a page that does not permit the access'
}
