import { type PhysicalBus, VirtkitError } from '../contracts/index.js'
import { PTE_G, PTE_HI_NX, PTE_P, PTE_PS, PTE_RW, PTE_US } from '../mmu/index.js'

/** Which paging structures to write. */
export type PageTableMode = '32-bit' | 'pae' | '4-level'

/** Rights and size of a mapping. */
export interface MapOptions {
  /** Bytes: 4 KiB (default), 4 MiB in 32-bit mode, 2 MiB in the others, 1 GiB in 4-level mode. */
  readonly pageSize?: number
  /** R/W. Default true. */
  readonly writable?: boolean
  /** U/S. Default true. */
  readonly user?: boolean
  /** Default false. */
  readonly global?: boolean
  /** XD; not in 32-bit mode. Default false. */
  readonly noExecute?: boolean
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/**
 * Writes paging structures into memory, as a small kernel would: for lectures, examples and tests. Tables are taken one
 * page after the other
 * from `tables` on; the first is the top one, which belongs into CR3 ({@link PageTableBuilder.cr3}).
 *
 * ```ts
 * const tables = new PageTableBuilder(memory, '4-level', 0x100000)
 * tables.map(0x400000, 0x9000)
 * walk(memory, tables.cr3, 0x400123).physical // 0x9123
 * ```
 */
export class PageTableBuilder {
  readonly mode: PageTableMode
  /** Physical address of the top table. */
  readonly cr3: number
  readonly #memory: PhysicalBus
  #next: number

  /** @throws VirtkitError `bad-argument` when `tables` is not page-aligned below 4 GiB, or the mode is unknown */
  constructor(memory: PhysicalBus, mode: PageTableMode, tables: number) {
    if (!['32-bit', 'pae', '4-level'].includes(mode)) {
      throw new VirtkitError('bad-argument', `a paging mode is 32-bit, pae or 4-level; got '${String(mode)}'`)
    }
    if (!Number.isInteger(tables) || tables < 0 || tables >= 4 * GIB || tables % 4096 !== 0) {
      throw new VirtkitError('bad-argument', `tables start at a page below 4 GiB, got ${tables}`)
    }
    this.#memory = memory
    this.mode = mode
    this.#next = tables
    this.cr3 = this.#table()
    // PAE's four directory pointers are checked for reserved bits when CR3 is loaded; absent ones pass.
  }

  /** First physical address after the tables written so far. */
  get end(): number {
    return this.#next
  }

  /**
   * Maps the page at `linear` to the frame at `physical`.
   * @throws VirtkitError `bad-argument` when they are not aligned to the page size, out of range, or the mode has no
   * such pages
   */
  map(linear: number, physical: number, options: MapOptions = {}): void {
    const { pageSize = 4 * KIB, writable = true, user = true, global = false, noExecute = false } = options
    const narrow = this.mode === '32-bit'
    const levels = narrow ? 2 : this.mode === 'pae' ? 3 : 4
    const large = narrow ? 4 * MIB : 2 * MIB
    const leaf = pageSize === 4 * KIB ? 1 : pageSize === large ? 2 : pageSize === GIB && levels === 4 ? 3 : 0
    if (leaf === 0) throw new VirtkitError('bad-argument', `${this.mode} paging has no pages of ${pageSize} bytes`)
    if (linear % pageSize !== 0 || physical % pageSize !== 0 || physical < 0) {
      throw new VirtkitError('bad-argument', `a page of ${pageSize} bytes starts at a multiple of its size`)
    }
    const limit = levels === 4 ? 2 ** 47 : 2 ** 32
    if (linear >= limit || linear < (levels === 4 ? -limit : 0) || physical >= (narrow ? 2 ** 32 : 2 ** 52)) {
      throw new VirtkitError('bad-argument', `an address is out of the range of ${this.mode} paging`)
    }
    let table = this.cr3
    for (let level = levels; level > leaf; level--) table = this.#descend(table, linear, level)
    const rights = (writable ? PTE_RW : 0) | (user ? PTE_US : 0)
    const low = PTE_P | rights | (leaf > 1 ? PTE_PS : 0) | (global ? PTE_G : 0)
    const high = Math.floor(physical / 2 ** 32) + (noExecute && !narrow ? PTE_HI_NX : 0)
    this.#write(this.#entry(table, linear, leaf), (physical % 2 ** 32) + low, high)
  }

  /** Maps `pages` pages in a row. */
  mapRange(linear: number, physical: number, pages: number, options: MapOptions = {}): void {
    const size = options.pageSize ?? 4 * KIB
    for (let i = 0; i < pages; i++) this.map(linear + i * size, physical + i * size, options)
  }

  #descend(table: number, linear: number, level: number): number {
    const entry = this.#entry(table, linear, level)
    const low = this.#memory.read32(entry)
    if (low & PTE_P) return (low & 0xfffff000) >>> 0
    const next = this.#table()
    // Upper levels allow everything; PAE's directory pointers carry no rights (reserved bits there would fault).
    const rights = this.mode === 'pae' && level === 3 ? 0 : PTE_RW | PTE_US
    this.#write(entry, next + PTE_P + rights, 0)
    return next
  }

  #entry(table: number, linear: number, level: number): number {
    if (this.mode === '32-bit') return table + 4 * (Math.floor(linear / (level === 2 ? 4 * MIB : 4 * KIB)) & 0x3ff)
    const index = Math.floor(linear / 2 ** (3 + 9 * level))
    return table + 8 * (((index % 512) + 512) % 512)
  }

  #write(entry: number, low: number, high: number): void {
    this.#memory.write32(entry, low >>> 0)
    if (this.mode !== '32-bit') this.#memory.write32(entry + 4, high >>> 0)
  }

  #table(): number {
    const table = this.#next
    this.#next += 4096
    for (let at = table; at < table + 4096; at += 4) this.#memory.write32(at, 0)
    return table
  }
}
