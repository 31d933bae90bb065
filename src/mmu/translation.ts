import type { EventSink, PhysicalBus } from '../contracts/index.js'
import { CR0_PG, CR4_PAE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_SMEP, EFER_LMA, EFER_LME } from './control-registers.js'
import { ACCESS_PROBE, ACCESS_WRITE, ATTR_DIRTY } from './page-permissions.js'
import { PAGING_MODES, PageWalker, type PagingConfiguration } from './paging.js'
import { Tlb } from './tlb.js'

/** Construction options of an {@link Mmu}. */
export interface MmuOptions {
  /** Default: 16 sets of 4 ways, LRU. */
  readonly tlb?: Tlb
  /** What the processor supports; also initial register values. */
  readonly configuration?: PagingConfiguration
  /** Receives `translation` events: the six steps. */
  readonly events?: EventSink
}

/**
 * Paging with a TLB in front, and the rules for when the TLB forgets: a memory-management unit for use without a CPU. Between two flushes it may
 * answer from stale entries, as hardware does. Source: Intel SDM Vol. 3A, "Caching Translation Information".
 *
 * The six steps of a translation, as `translation` events: 1 match the page number against the TLB; 2 hit or miss; on a miss
 * 3 walk the paging structures; 4 fault if the walk found no permitted page, else 5 fill the TLB; 6 frame and offset make the physical address.
 *
 * ```ts
 * const mmu = new Mmu(memory)
 * mmu.writeCr3(0x1000)
 * mmu.writeCr0(CR0_PE | CR0_PG)
 * if (mmu.translate(0x00403004, 0)) console.log(mmu.physical)
 * ```
 */
export class Mmu {
  readonly tlb: Tlb
  readonly walker: PageWalker
  /** Physical address after a translation that succeeded. */
  physical = 0
  /** Page-fault error code after one that failed. */
  errorCode = 0
  readonly #events: EventSink | undefined
  #cr0: number
  #cr3: number
  #cr4: number
  #efer: number

  constructor(memory: PhysicalBus, options: MmuOptions = {}) {
    const configuration = options.configuration ?? {}
    this.tlb = options.tlb ?? new Tlb({ sets: 16, ways: 4 })
    this.walker = new PageWalker(memory, configuration)
    this.#events = options.events
    this.#cr0 = configuration.cr0 ?? 0
    this.#cr3 = configuration.cr3 ?? 0
    this.#cr4 = configuration.cr4 ?? 0
    this.#efer = configuration.efer ?? 0
    if (this.walker.mode === PAGING_MODES.pae) this.walker.loadPdptes(this.#cr3)
  }

  /** The current process-context identifier: CR3 bits 11–0 while CR4.PCIDE is 1, else 0. */
  get pcid(): number {
    return this.#cr4 & CR4_PCIDE ? this.#cr3 & 0xfff : 0
  }

  /** MOV to CR0. Turning paging off flushes everything. Returns false, having changed nothing, for #GP(0) (bad PAE directory pointers). */
  writeCr0(cr0: number): boolean {
    const efer = cr0 & CR0_PG && this.#efer & EFER_LME ? this.#efer | EFER_LMA : this.#efer & ~EFER_LMA
    const pae = cr0 & CR0_PG && this.#cr4 & CR4_PAE && !(efer & EFER_LMA)
    if (pae && !(this.#cr0 & CR0_PG) && !this.walker.loadPdptes(this.#cr3)) return false
    if (this.#cr0 & CR0_PG && !(cr0 & CR0_PG)) this.tlb.flushAll()
    this.#cr0 = cr0
    this.#efer = efer
    this.walker.configure({ cr0, efer })
    return true
  }

  /**
   * MOV to CR3. Forgets the non-global entries of the new PCID, unless `noFlush` (bit 63, with PCIDE). Returns false for #GP(0).
   */
  writeCr3(cr3: number, noFlush = false): boolean {
    if (this.walker.mode === PAGING_MODES.pae && !this.walker.loadPdptes(cr3)) return false
    this.#cr3 = cr3
    this.walker.setCr3(cr3)
    if (!(this.#cr4 & CR4_PCIDE)) this.tlb.flushNonGlobal()
    else if (!noFlush) this.tlb.flushPcid(this.pcid)
    return true
  }

  /** MOV to CR4. Changes of PGE, PAE, PSE, clearing PCIDE and setting SMEP flush everything. Returns false for #GP(0). */
  writeCr4(cr4: number): boolean {
    const changed = cr4 ^ this.#cr4
    const pae = this.#cr0 & CR0_PG && cr4 & CR4_PAE && !(this.#efer & EFER_LMA)
    if (pae && changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP) && !this.walker.loadPdptes(this.#cr3)) return false
    const flush = changed & (CR4_PGE | CR4_PAE | CR4_PSE) || changed & this.#cr4 & CR4_PCIDE || changed & cr4 & CR4_SMEP
    if (flush) this.tlb.flushAll()
    this.#cr4 = cr4
    this.walker.configure({ cr4 })
    return true
  }

  /** WRMSR to IA32_EFER. LMA follows LME and CR0.PG. */
  writeEfer(efer: number): void {
    this.#efer = efer & EFER_LME && this.#cr0 & CR0_PG ? efer | EFER_LMA : efer & ~EFER_LMA
    this.walker.configure({ efer: this.#efer })
  }

  /** WRPKRU. Keys are checked at each access, so nothing is flushed. */
  writePkru(pkru: number): void {
    this.walker.setPkru(pkru)
  }

  /** INVLPG. */
  invlpg(linear: number): void {
    this.tlb.invlpg(Math.floor(linear / 4096), this.pcid)
  }

  /** INVPCID: 0 one address of a PCID, 1 a PCID, 2 everything, 3 everything but global pages. */
  invpcid(type: 0 | 1 | 2 | 3, pcid = 0, linear = 0): void {
    if (type === 0) this.tlb.invalidateAddress(Math.floor(linear / 4096), pcid)
    else if (type === 1) this.tlb.flushPcid(pcid)
    else if (type === 2) this.tlb.flushAll()
    else this.tlb.flushNonGlobal()
  }

  /**
   * Translates one byte's address. `linear` and `access` are those of `PageWalker.walk`. True: {@link physical}; false: a page fault with
   * {@link errorCode}. An entry that does not allow the access, and a write to one whose D flag is not known to be set, walk again;
   * a page fault forgets the page's entries.
   */
  translate(linear: number, access: number): boolean {
    const walker = this.walker
    if (walker.mode === PAGING_MODES.none) {
      this.physical = linear
      return true
    }
    const events = this.#events?.wants('translation') ? this.#events : undefined
    const page = Math.floor(linear / 4096)
    const offset = linear - page * 4096
    const pcid = this.pcid
    events?.emit('translation', { step: '1 match', detail: { linear, page, offset, pcid } })
    if (this.tlb.lookup(page, pcid)) {
      const permitted = walker.permits(this.tlb.attributes, access)
      const needsDirty = access & ACCESS_WRITE && !(access & ACCESS_PROBE) && !(this.tlb.attributes & ATTR_DIRTY)
      if (permitted && !needsDirty) {
        events?.emit('translation', { step: '2 hit', detail: { frame: this.tlb.frame, pageSize: this.tlb.pageSize } })
        return this.#finish(this.tlb.frame, offset, events)
      }
      const why = permitted
        ? 'first write to the page: the dirty flag must be set'
        : 'the entry does not permit the access'
      events?.emit('translation', { step: '2 hit', detail: { frame: this.tlb.frame, rejected: why } })
      this.tlb.invlpg(page, pcid)
    } else events?.emit('translation', { step: '2 miss', detail: { page } })

    if (events) {
      walker.observer = {
        entry: (level, index, address, low, high) =>
          events.emit('translation', { step: '3 walk', detail: { level, index, address, low, high } }),
      }
    }
    const found = walker.walk(linear, access)
    if (events) walker.observer = undefined
    if (!found) {
      this.errorCode = walker.errorCode
      this.tlb.invlpg(page, pcid)
      events?.emit('translation', { step: '4 fault', detail: { linear, errorCode: this.errorCode } })
      return false
    }
    const { frame, pageSize, attributes } = walker
    // A probe leaves the A flags alone, and the processor caches nothing whose A flag is not set.
    if (!(access & ACCESS_PROBE)) {
      this.tlb.fill(page, frame, pageSize, attributes, pcid)
      events?.emit('translation', { step: '5 fill', detail: { page, frame, pageSize, attributes } })
    }
    return this.#finish(frame, offset, events)
  }

  #finish(frame: number, offset: number, events: EventSink | undefined): boolean {
    this.physical = frame * 4096 + offset
    this.errorCode = 0
    events?.emit('translation', { step: '6 address', detail: { frame, offset, physical: this.physical } })
    return true
  }
}
