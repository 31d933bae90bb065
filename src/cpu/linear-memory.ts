/**
 * Memory as instructions see it: segment checks, translation through the architectural TLB, then RAM, ROM or a device.
 *
 * The TLB is direct-mapped and split: data accesses use one half, instruction fetches the other, so that which pages are fetched alone decides
 * what the instruction half holds. An entry has an architectural part (flags, page, frame) that changes only by fills, evictions and
 * flushes, and tags derived from it: a tag equals the page's address when that kind of access may go straight to the bytes, which is what
 * compiled code tests. Dropping tags is therefore never visible to the guest; dropping entries is.
 */

import type { EventSink } from '../contracts/index.js'
import { FLAG_AC } from '../isa/flags.js'
import { SEG_FS, SEG_SS } from '../isa/instruction.js'
import { type AddressSpace, WATCH_CODE } from '../memory/index.js'
import {
  ACCESS_AC,
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_USER,
  ACCESS_WRITE,
  ATTR_DIRTY,
  ATTR_GLOBAL,
  ATTR_KEY_SHIFT,
  ATTR_LARGE,
  CONTROL_PKE,
  CR0_AM,
  CR0_PG,
  CR0_WP,
  CR4_PCIDE,
  limitOk,
  PageWalker,
  type PagingConfiguration,
  WALK_SIZE,
} from '../mmu/index.js'
import type { CpuMemory } from './cpu-types.js'
import { raiseGp, raiseWithCode, VECTOR_AC, VECTOR_PF, VECTOR_SS } from './exceptions.js'
import {
  DTLB_ENTRIES,
  FILL_A20,
  FILL_COUNT,
  FILL_FETCH_COUNT,
  FILL_FETCH_RIGHTS,
  FILL_KEYS,
  FILL_LISTED,
  FILL_PAGES,
  FILL_PCID,
  FILL_PLACES,
  FILL_RIGHTS,
  FILL_WATCH,
  FILLED_LENGTH,
  ITLB_ENTRIES,
  MODE_CODE_MASK,
  MODE_CODE64,
  OFF_DTLB,
  OFF_FILLED,
  OFF_ITLB,
  OFF_LARGE_SPANS,
  OFF_MODE,
  OFF_SEG,
  OFF_WALK,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_READ_LIMIT,
  SEG_STRIDE,
  SEG_UNUSABLE,
  SEG_WRITE_LIMIT,
  TLB_ADDEND,
  TLB_CONTEXT,
  TLB_ENTRY_SHIFT,
  TLB_ENTRY_SIZE,
  TLB_FLAGS,
  TLB_LINEAR,
  TLB_PHYSICAL,
  TLB_TAG_SUPER_READ,
  TLB_TAG_SUPER_WRITE,
  TLB_TAG_USER_READ,
  TLB_TAG_USER_WRITE,
  TLB_TAGGED,
} from './layout.js'
import type { CpuModel } from './models.js'
import type { CpuState } from './state.js'

/** In {@link TLB_FLAGS}, beside the ATTR_ bits of the translation: the entry is valid. */
export const TLBF_VALID = 0x10000

const TWO32 = 4294967296
const CANONICAL_LIMIT = 0x8000_0000_0000

/** What watches data accesses (data breakpoints). */
export interface AccessWatcher {
  dataAccess(linear: number, size: number, write: boolean): void
}

/** Counters of the TLB. A hit that compiled code finds by itself is not counted here. */
export interface TlbStatistics {
  lookups: number
  readonly fills: number
  readonly fetchFills: number
  flushes: number
}

/** Fills are counted in the CPU block: compiled code does most of them. */
class BlockStatistics implements TlbStatistics {
  lookups = 0
  flushes = 0
  private readonly s: CpuState

  constructor(s: CpuState) {
    this.s = s
    s.setNumber(FILL_COUNT, 0)
    s.setNumber(FILL_FETCH_COUNT, 0)
  }

  get fills(): number {
    return this.s.getNumber(FILL_COUNT)
  }

  get fetchFills(): number {
    return this.s.getNumber(FILL_FETCH_COUNT)
  }
}

export class LinearMemory implements CpuMemory {
  lo = 0
  hi = 0
  readonly walker: PageWalker
  readonly stats: TlbStatistics
  /** {@link fillFast} or {@link fetchFast} met a page fault, and nothing else has run since: at this address, with this error code. */
  refused = false
  refusedLinear = 0
  refusedCode = 0
  /** Set while data breakpoints are armed. */
  watcher: AccessWatcher | undefined = undefined
  /**
   * Compiled code that does what {@link translateFetch} does where nothing is unusual: (CPU block, low and high half of the linear address) → 1 when the instruction
   * TLB's entry and its tags are good now, 0 when it did nothing.
   */
  fetchFiller: ((base: number, low: number, high: number) => number) | undefined = undefined
  private sink: EventSink | undefined = undefined
  private readonly s: CpuState
  private readonly space: AddressSpace
  private readonly model: CpuModel
  private readonly view: DataView
  private readonly bytes: Uint8Array
  private cpl = 0
  private pcid = 0
  /** By number of the span modulo 256: entries of large pages may be in it. */
  private readonly largeSpans: Uint8Array
  /** Places of entries that may be valid, so that a flush need not look at all of them. */
  private readonly filled: Int32Array
  // By the low three ATTR_ bits, as FILL_RIGHTS: which tags may be set.
  private rights = 0
  private fetchRights = 0
  /** The ATTR_ bits for which `rights` does not speak. */
  private keys = 0
  // The control registers under which the tags were derived.
  private configuredCr0 = -1
  private configuredCr4 = -1
  private configuredEfer = -1
  private configuredPkru = -1
  private configuredPcid = -1

  constructor(s: CpuState, space: AddressSpace, model: CpuModel) {
    this.s = s
    this.space = space
    this.model = model
    this.bytes = space.bytes
    this.view = new DataView(space.bytes.buffer, space.bytes.byteOffset, space.bytes.byteLength)
    const { buffer } = s.u8
    this.walker = new PageWalker(space, {}, new Uint32Array(buffer, s.base + OFF_WALK, WALK_SIZE / 4))
    this.largeSpans = new Uint8Array(buffer, s.base + OFF_LARGE_SPANS, 256)
    this.filled = new Int32Array(buffer, s.base + OFF_FILLED, FILLED_LENGTH)
    this.stats = new BlockStatistics(s)
    this.largeSpans.fill(0)
    space.onMapChange(() => {
      this.publishMap()
      this.dropTags()
    })
    space.onWatchChange?.(() => this.dropWriteTags())
    this.publishMap()
    this.deriveRights()
    this.invalidateEverything()
  }

  /** Hears of every look-up, fill and flush while it is set. */
  get events(): EventSink | undefined {
    return this.sink
  }
  set events(events: EventSink | undefined) {
    this.sink = events
    this.publishMap()
  }

  private get filledCount(): number {
    return this.s.get32(FILL_LISTED)
  }
  private set filledCount(count: number) {
    this.s.set32(FILL_LISTED, count)
  }

  /** Tells compiled code where physical pages are; that there are none when it must not fill the TLB. */
  private publishMap(): void {
    const { s } = this
    const { places } = this.space
    // Fills that somebody wants to hear of, and those of processors with fewer address lines, are done here.
    const use = places !== undefined && this.sink === undefined && this.model.physicalBits >= 32
    s.set32(FILL_PAGES, use ? places.pages : 0)
    s.set32(FILL_PLACES, use ? places.offset : 0)
    s.set32(FILL_WATCH, use ? places.watchOffset : 0)
    s.set32(FILL_A20, this.space.a20 ? -1 : ~0x100)
  }

  /** Works out, for every combination of attributes, which tags an entry may have. */
  private deriveRights(): void {
    const { walker } = this
    let data = 0
    let fetch = 0
    for (let attributes = 7; attributes >= 0; attributes--) {
      data <<= 4
      fetch <<= 4
      if (walker.permits(attributes, 0)) data |= 1
      if (walker.permits(attributes, ACCESS_WRITE)) data |= 2
      if (walker.permits(attributes, ACCESS_USER)) data |= 4
      if (walker.permits(attributes, ACCESS_WRITE | ACCESS_USER)) data |= 8
      if (walker.permits(attributes, ACCESS_FETCH)) fetch |= 1
      if (walker.permits(attributes, ACCESS_FETCH | ACCESS_USER)) fetch |= 4
    }
    this.rights = data
    this.fetchRights = fetch
    this.keys = walker.controls & CONTROL_PKE ? 15 << ATTR_KEY_SHIFT : 0
    this.s.set32(FILL_RIGHTS, data)
    this.s.set32(FILL_FETCH_RIGHTS, fetch)
    this.s.set32(FILL_KEYS, this.keys)
  }

  /** Empties every entry, whatever memory held before. */
  private invalidateEverything(): void {
    const end = this.s.base + OFF_ITLB + ITLB_ENTRIES * TLB_ENTRY_SIZE
    for (let e = this.s.base + OFF_DTLB; e < end; e += TLB_ENTRY_SIZE) this.invalidate(e)
    this.filledCount = 0
  }

  /** The privilege at which instructions access memory. Only `Cpu.setCpl` calls this. */
  setCpl(cpl: number): void {
    this.cpl = cpl
  }

  // --- segmentation ---------------------------------------------------------------------------------------------

  /** Linear address of `size` bytes at seg:offset, or #GP / #SS. */
  linear(seg: number, offset: number, size: number, write: boolean): number {
    const s = this.s
    const at = OFF_SEG + seg * SEG_STRIDE
    if ((s.get32(OFF_MODE) & MODE_CODE_MASK) === MODE_CODE64) {
      const linear = seg >= SEG_FS ? wrap64(offset + s.getNumber(at + SEG_BASE)) : offset
      if (linear < -CANONICAL_LIMIT || linear + size > CANONICAL_LIMIT) {
        // An access that starts canonical and ends beyond wraps to the hole as well.
        if (seg === SEG_SS) raiseWithCode(VECTOR_SS, 0)
        raiseGp(0)
      }
      return linear
    }
    const limit = s.getNumber(at + (write ? SEG_WRITE_LIMIT : SEG_READ_LIMIT))
    if (offset + size - 1 > limit) this.checkSegment(seg, offset, size, write)
    return (s.getNumber(at + SEG_BASE) + offset) >>> 0
  }

  /** The checks that the fast limit could not answer: rights, expand-down segments, null selectors, and real violations. */
  private checkSegment(seg: number, offset: number, size: number, write: boolean): void {
    const s = this.s
    const at = OFF_SEG + seg * SEG_STRIDE
    const attr = s.get32(at + SEG_ATTR)
    const limit = s.get32(at + SEG_LIMIT) >>> 0
    const code = (attr & 8) !== 0
    const usable = (attr & SEG_UNUSABLE) === 0 && (write ? !code && (attr & 2) !== 0 : !code || (attr & 2) !== 0)
    if (usable && limitOk(attr, limit, offset, size)) return
    if (usable && this.model.offsetWraps) return
    if (seg === SEG_SS) raiseWithCode(VECTOR_SS, 0)
    raiseGp(0)
  }

  // --- translation ----------------------------------------------------------------------------------------------

  /** Byte offset of the data-TLB entry for a linear address. */
  private dtlbEntry(linear: number): number {
    return this.s.base + OFF_DTLB + ((Math.floor(linear / 4096) & (DTLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
  }

  private itlbEntry(linear: number): number {
    return this.s.base + OFF_ITLB + ((Math.floor(linear / 4096) & (ITLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
  }

  private accessFlags(write: boolean, user: boolean): number {
    return (write ? ACCESS_WRITE : 0) | (user ? ACCESS_USER : 0) | (this.s.flagsRest & FLAG_AC ? ACCESS_AC : 0)
  }

  /** True when entry `e` is valid for the page that holds `linear` in the current context. */
  private matches(e: number, page: number): boolean {
    const flags = this.s.i32[(e + TLB_FLAGS) >> 2]!
    return (
      (flags & TLBF_VALID) !== 0 &&
      this.s.f64[(e + TLB_LINEAR) >> 3] === page &&
      ((flags & ATTR_GLOBAL) !== 0 || (this.s.i32[(e + TLB_CONTEXT) >> 2]! & 0xfff) === this.pcid)
    )
  }

  /** Looks `linear` up in entry `e`, walking and filling on a miss or when the entry does not permit the access. False: page fault, `walker.errorCode` says which. */
  private lookup(e: number, linear: number, access: number): boolean {
    const s = this.s
    const page = linear >= 0 && linear < TWO32 ? (linear & ~0xfff) >>> 0 : Math.floor(linear / 4096) * 4096
    if (this.matches(e, page)) {
      const flags = s.i32[(e + TLB_FLAGS) >> 2]!
      if (((access & ACCESS_WRITE) === 0 || (flags & ATTR_DIRTY) !== 0) && this.walker.permits(flags, access)) {
        this.sink?.emit('tlb', { action: 'hit', page, frame: s.f64[(e + TLB_PHYSICAL) >> 3]! })
        // Whoever comes here found no tag; deriving them again is what makes the next access fast, unless they were derived already.
        if (s.i32[(e + TLB_TAGGED) >> 2] === 0 || (access & ACCESS_WRITE && this.unwatched(e))) this.retag(e, access)
        return true
      }
    }
    this.sink?.emit('tlb', { action: 'miss', page })
    if (!this.walker.walk(linear, access)) {
      // A page fault drops what was cached for the page (Intel SDM Vol. 3A, "Operations that Invalidate TLBs").
      if (this.matches(e, page)) this.invalidate(e)
      return false
    }
    this.fill(e, page, access)
    return true
  }

  private fill(e: number, page: number, access: number): void {
    const s = this.s
    const w = this.walker
    const flags = w.attributes | TLBF_VALID
    if (flags & ATTR_LARGE) this.largeSpans[largeSpan(page) & 0xff] = 1
    if (s.i32[(e + TLB_FLAGS) >> 2] === 0) this.noteFilled(e)
    else if (this.sink && s.f64[(e + TLB_LINEAR) >> 3] !== page) {
      this.sink.emit('tlb', { action: 'evict', page: s.f64[(e + TLB_LINEAR) >> 3]! })
    }
    let frame = Math.floor(w.physical / 4096) * 4096
    // FFFF:0010 reaches past the 20 (80286: 24) address lines and wraps.
    if (this.model.physicalBits < 32) frame &= 2 ** this.model.physicalBits - 1
    this.sink?.emit('tlb', { action: 'fill', page, frame })
    const count = access & ACCESS_FETCH ? FILL_FETCH_COUNT : FILL_COUNT
    s.i32[(e + TLB_FLAGS) >> 2] = flags
    s.f64[(e + TLB_LINEAR) >> 3] = page
    s.f64[(e + TLB_PHYSICAL) >> 3] = frame
    s.i32[(e + TLB_CONTEXT) >> 2] = this.pcid
    s.setNumber(count, s.getNumber(count) + 1)
    this.retag(e, access)
  }

  /** The page of a valid entry may be written straight: a watch that kept its write tags away may have gone. */
  private unwatched(e: number): boolean {
    const frame = this.s.f64[(e + TLB_PHYSICAL) >> 3]! / 4096
    return this.space.watch(frame) === 0 && this.space.writeOffset(frame) >= 0
  }

  /** Derives the tags of a valid entry. */
  private retag(e: number, access: number): void {
    const s = this.s
    const flags = s.i32[(e + TLB_FLAGS) >> 2]!
    const page = s.f64[(e + TLB_LINEAR) >> 3]!
    const frame = s.f64[(e + TLB_PHYSICAL) >> 3]! / 4096
    const offset = this.space.readOffset(frame)
    const fetch = access & ACCESS_FETCH
    let rights = 0
    if (offset >= 0) {
      rights = this.rightsOf(flags, fetch)
      const writable =
        !fetch &&
        (flags & ATTR_DIRTY) !== 0 &&
        this.space.writeOffset(frame) === offset &&
        this.space.frameWatch[offset / 4096] === 0
      if (!writable) rights &= 5
    }
    const low = page | 0
    const high = page >= 0 && page < TWO32 ? 0 : Math.floor(page / TWO32) | 0
    const { i32 } = s
    let at = e >> 2
    for (let tag = 1; tag <= 8; tag <<= 1) {
      const valid = (rights & tag) !== 0
      i32[at] = valid ? low : 1
      i32[at + 1] = valid ? high : 0
      at += 2
    }
    i32[(e + TLB_ADDEND) >> 2] = (offset - low) | 0
    i32[(e + TLB_TAGGED) >> 2] = 1
  }

  /** Which tags of an entry with these attributes may be set, as in FILL_RIGHTS. `fetch`: ACCESS_FETCH, or 0 for data. */
  private rightsOf(flags: number, fetch: number): number {
    if ((flags & this.keys) === 0) return ((fetch ? this.fetchRights : this.rights) >>> ((flags & 7) << 2)) & 15
    const { walker } = this
    let rights = walker.permits(flags, fetch) ? 1 : 0
    if (walker.permits(flags, fetch | ACCESS_USER)) rights |= 4
    if (fetch) return rights
    if (walker.permits(flags, ACCESS_WRITE)) rights |= 2
    if (walker.permits(flags, ACCESS_WRITE | ACCESS_USER)) rights |= 8
    return rights
  }

  private invalidate(e: number): void {
    const { i32 } = this.s
    i32[(e + TLB_FLAGS) >> 2] = 0
    i32[(e + TLB_TAGGED) >> 2] = 0
    i32[(e + TLB_TAG_SUPER_READ) >> 2] = 1
    i32[(e + TLB_TAG_SUPER_WRITE) >> 2] = 1
    i32[(e + TLB_TAG_USER_READ) >> 2] = 1
    i32[(e + TLB_TAG_USER_WRITE) >> 2] = 1
  }

  private pageFault(linear: number): never {
    this.s.cr2 = linear
    raiseWithCode(VECTOR_PF, this.walker.errorCode)
  }

  /** Physical address of one byte for a data access; #PF. */
  private translate(linear: number, write: boolean, user: boolean, implicit = false): number {
    this.stats.lookups++
    const e = this.dtlbEntry(linear)
    const access = this.accessFlags(write, user) | (implicit ? ACCESS_IMPLICIT : 0)
    if (!this.lookup(e, linear, implicit ? access & ~ACCESS_AC : access)) this.pageFault(linear)
    return this.s.f64[(e + TLB_PHYSICAL) >> 3]! + (linear & 0xfff)
  }

  /**
   * For an engine: makes the TLB entry of a data access good for the fast path. False: the access faults, meets a device or
   * needs care; nothing that the reference engine would not do too has happened. `linear` as in {@link linear}.
   */
  fillFast(linear: number, write: boolean): boolean {
    const user = this.cpl === 3
    const e = this.dtlbEntry(linear)
    const tag = e + (user ? TLB_TAG_USER_READ : TLB_TAG_SUPER_READ) + (write ? 8 : 0)
    this.refused = false
    if (linear < -CANONICAL_LIMIT || linear >= CANONICAL_LIMIT) return false
    if (!this.lookup(e, linear, this.accessFlags(write, user))) {
      this.refuse(linear)
      return false
    }
    return (this.s.i32[tag >> 2]! & 1) === 0
  }

  /**
   * For an engine, after {@link fillFast} refused a write: the byte's place in linear memory if nothing but a watch for decoded instructions
   * stands against storing there; else -1.
   */
  watchedPlace(linear: number): number {
    const e = this.dtlbEntry(linear)
    if (!this.matches(e, Math.floor(linear / 4096) * 4096)) return -1
    const flags = this.s.i32[(e + TLB_FLAGS) >> 2]!
    if ((flags & ATTR_DIRTY) === 0 || !this.walker.permits(flags, this.accessFlags(true, this.cpl === 3))) return -1
    const frame = this.s.f64[(e + TLB_PHYSICAL) >> 3]! / 4096
    const offset = this.space.writeOffset(frame)
    if (offset < 0 || offset !== this.space.readOffset(frame) || this.space.watch(frame) !== WATCH_CODE) return -1
    return offset + (linear & 0xfff)
  }

  /** Byte offset in linear memory of the instruction byte at `linear` if the instruction TLB says so at once, else -1. */
  fetchDirect(linear: number, user: boolean = this.cpl === 3): number {
    const lo = linear | 0
    const e = this.s.base + OFF_ITLB + (((lo >>> 12) & (ITLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
    const tag = (e + (user ? TLB_TAG_USER_READ : TLB_TAG_SUPER_READ)) >> 2
    const i32 = this.s.i32
    const hi = linear >= 0 && linear < TWO32 ? 0 : Math.floor(linear / TWO32)
    if (i32[tag] !== (lo & ~0xfff) || i32[tag + 1] !== hi) return -1
    return (i32[(e + TLB_ADDEND) >> 2]! + lo) >>> 0
  }

  private refuse(linear: number): void {
    this.refused = true
    this.refusedLinear = linear
    this.refusedCode = this.walker.errorCode
  }

  /** For an engine: {@link translateFetch}, or -1 for a page fault, which `Cpu.step` raises if it comes next. */
  fetchFast(linear: number): number {
    this.refused = false
    const e = this.itlbEntry(linear)
    if (this.fetchFiller !== undefined && this.sink === undefined) {
      const low = linear | 0
      const high = linear >= 0 && linear < TWO32 ? 0 : Math.floor(linear / TWO32)
      const tag = (e + (this.cpl === 3 ? TLB_TAG_USER_READ : TLB_TAG_SUPER_READ)) >> 2
      const { i32, f64 } = this.s
      if ((i32[tag] === (low & ~0xfff) && i32[tag + 1] === high) || this.fetchFiller(this.s.base, low, high) !== 0)
        return f64[(e + TLB_PHYSICAL) >> 3]! + (low & 0xfff)
    }
    if (this.lookup(e, linear, ACCESS_FETCH | (this.cpl === 3 ? ACCESS_USER : 0)))
      return this.s.f64[(e + TLB_PHYSICAL) >> 3]! + (linear & 0xfff)
    this.refuse(linear)
    return -1
  }

  /** Physical address of a fetched byte; #PF. */
  translateFetch(linear: number): number {
    const physical = this.fetchFast(linear)
    if (physical >= 0) return physical
    this.refused = false
    this.pageFault(linear)
  }

  // --- flushing -------------------------------------------------------------------------------------------------

  private noteFlush(): void {
    this.stats.flushes++
    this.sink?.emit('tlb', { action: 'flush', page: -1 })
  }

  flushAll(): void {
    this.noteFlush()
    for (let n = 0; n < this.filledCount; n++) this.invalidate(this.filled[n]!)
    this.filledCount = 0
    this.largeSpans.fill(0)
  }

  flushNonGlobal(): void {
    this.noteFlush()
    let kept = 0
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      if ((this.s.i32[(e + TLB_FLAGS) >> 2]! & ATTR_GLOBAL) === 0) this.invalidate(e)
      else this.filled[kept++] = e
    }
    this.filledCount = kept
  }

  flushPcid(pcid: number): void {
    this.noteFlush()
    let kept = 0
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      const flags = this.s.i32[(e + TLB_FLAGS) >> 2]!
      // Emptied already; its next fill notes it again.
      if (flags === 0) continue
      if ((flags & ATTR_GLOBAL) === 0 && (this.s.i32[(e + TLB_CONTEXT) >> 2]! & 0xfff) === pcid) this.invalidate(e)
      else this.filled[kept++] = e
    }
    this.filledCount = kept
  }

  /** INVLPG: the page's entries, global or not; all of a large page's. */
  flushPage(linear: number): void {
    const page = Math.floor(linear / 4096) * 4096
    const data = this.dtlbEntry(linear)
    if (this.s.f64[(data + TLB_LINEAR) >> 3] === page) this.invalidate(data)
    const code = this.itlbEntry(linear)
    if (this.s.f64[(code + TLB_LINEAR) >> 3] === page) this.invalidate(code)
    // The size of the large page is not kept, so every fragment of any within the widest span goes.
    const span = largeSpan(linear)
    if (this.largeSpans[span & 0xff] === 0) return
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      const large = (this.s.i32[(e + TLB_FLAGS) >> 2]! & ATTR_LARGE) !== 0
      if (large && largeSpan(this.s.f64[(e + TLB_LINEAR) >> 3]!) === span) this.invalidate(e)
    }
  }

  configurePaging(): void {
    const s = this.s
    const m = this.model
    const configuration: PagingConfiguration = {
      cr0: s.cr0,
      cr3: s.cr3,
      cr4: s.cr4,
      efer: s.efer,
      pkru: s.pkru,
      maxPhysicalBits: Math.max(32, m.physicalBits),
      gigabytePages: m.features.has('pdpe1gb'),
      pse36: m.features.has('pse36'),
    }
    this.walker.configure(configuration)
    this.takeConfiguration()
  }

  /** CR3 alone was written. */
  cr3Changed(): void {
    this.walker.setCr3(this.s.cr3)
    this.takeConfiguration()
  }

  private takeConfiguration(): void {
    const { s } = this
    this.pcid = s.cr4 & CR4_PCIDE ? s.cr3 & 0xfff : 0
    s.set32(FILL_PCID, this.pcid)
    // Another CR3 alone changes no right: its entries are flushed, global ones stay as they are.
    const sameRights =
      ((s.cr0 ^ this.configuredCr0) & (CR0_PG | CR0_WP)) === 0 &&
      s.cr4 === this.configuredCr4 &&
      s.efer === this.configuredEfer &&
      s.pkru === this.configuredPkru
    if (sameRights && this.pcid === this.configuredPcid) return
    this.configuredPcid = this.pcid
    if (sameRights) {
      this.dropContextTags()
      return
    }
    this.deriveRights()
    this.configuredCr0 = s.cr0
    this.configuredCr4 = s.cr4
    this.configuredEfer = s.efer
    this.configuredPkru = s.pkru
    this.dropTags()
  }

  loadPdptes(cr3: number): boolean {
    return this.walker.loadPdptes(cr3)
  }

  /** Forgets which accesses may be fast; the entries stay. */
  dropTags(): void {
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      for (let tag = 0; tag < 4; tag++) this.s.i32[(e + tag * 8) >> 2] = 1
      this.s.i32[(e + TLB_TAGGED) >> 2] = 0
    }
  }

  /** The same for entries of one address space only. */
  private dropContextTags(): void {
    const { i32 } = this.s
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      if (i32[(e + TLB_FLAGS) >> 2]! & ATTR_GLOBAL) continue
      for (let tag = 0; tag < 4; tag++) i32[(e + tag * 8) >> 2] = 1
      i32[(e + TLB_TAGGED) >> 2] = 0
    }
  }

  /** A page became watched: no store may go straight to memory before it has been looked at again. */
  dropWriteTags(): void {
    for (let n = 0; n < this.filledCount; n++) {
      const e = this.filled[n]!
      this.s.i32[(e + TLB_TAG_SUPER_WRITE) >> 2] = 1
      this.s.i32[(e + TLB_TAG_USER_WRITE) >> 2] = 1
      this.s.i32[(e + TLB_TAGGED) >> 2] = 0
    }
  }

  private noteFilled(e: number): void {
    if (this.filledCount === this.filled.length) this.findFilled()
    this.filled[this.filledCount++] = e
  }

  /** Entries were written from outside, without tags: takes stock of them. */
  entriesLoaded(): void {
    this.findFilled()
    this.largeSpans.fill(1)
    this.dropTags()
  }

  /** Builds the list of valid entries anew. */
  private findFilled(): void {
    this.filledCount = 0
    const end = this.s.base + OFF_ITLB + ITLB_ENTRIES * TLB_ENTRY_SIZE
    for (let e = this.s.base + OFF_DTLB; e < end; e += TLB_ENTRY_SIZE) {
      if (this.s.i32[(e + TLB_FLAGS) >> 2] !== 0) this.filled[this.filledCount++] = e
    }
  }

  // --- data -----------------------------------------------------------------------------------------------------

  /**
   * Byte offset in linear memory of `size` bytes at `linear` if a tag allows the access directly, else -1.
   */
  private direct(linear: number, size: number, write: boolean, user: boolean): number {
    const lo = linear | 0
    const hi = linear >= 0 && linear < TWO32 ? 0 : Math.floor(linear / TWO32) | 0
    if ((lo & 0xfff) + size > 4096 || this.sink !== undefined) return -1
    const e = this.s.base + OFF_DTLB + (((lo >>> 12) & (DTLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
    const tag = (e + (user ? TLB_TAG_USER_READ : TLB_TAG_SUPER_READ) + (write ? 8 : 0)) >> 2
    const i32 = this.s.i32
    if (i32[tag] !== (lo & ~0xfff) || i32[tag + 1] !== hi) return -1
    this.stats.lookups++
    return (i32[(e + TLB_ADDEND) >> 2]! + lo) >>> 0
  }

  /**
   * Byte offset in linear memory of `size` bytes at `linear` if accesses to any part of them may go straight there, nobody watching and no
   * alignment checked; else -1. For runs of pushes and pops.
   */
  run(linear: number, size: number, write: boolean, user: boolean): number {
    if (this.watcher !== undefined || this.s.flagsRest & FLAG_AC) return -1
    return this.direct(linear, size, write, user)
  }

  /** As {@link run} for an address in halves, whose upper one is 0 outside long mode. */
  runAt(low: number, high: number, size: number, write: boolean, user: boolean): number {
    return this.watcher === undefined ? this.place(low, high, size, write, user) : -1
  }

  /** Byte offset in linear memory of `size` bytes, none of them in another page, where a tag lets the access pass straight to them; else -1. Has no effect. */
  place(low: number, high: number, size: number, write: boolean, user: boolean): number {
    if ((low & 0xfff) + size > 4096 || this.sink !== undefined) return -1
    const e = this.s.base + OFF_DTLB + (((low >>> 12) & (DTLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
    const tag = (e + (user ? TLB_TAG_USER_READ : TLB_TAG_SUPER_READ) + (write ? 8 : 0)) >> 2
    const i32 = this.s.i32
    if (i32[tag] !== (low & ~0xfff) || i32[tag + 1] !== high) return -1
    return (i32[(e + TLB_ADDEND) >> 2]! + low) >>> 0
  }

  private checkAlignment(linear: number, size: number): void {
    if (this.cpl === 3 && this.s.flagsRest & FLAG_AC && this.s.cr0 & CR0_AM && linear % size !== 0)
      raiseWithCode(VECTOR_AC, 0)
  }

  private get user(): boolean {
    return this.cpl === 3
  }

  read8(seg: number, offset: number): number {
    const linear = this.linear(seg, offset, 1, false)
    if (this.watcher) this.watcher.dataAccess(linear, 1, false)
    return this.readLinear8(linear, this.user, false)
  }

  private readLinear8(linear: number, user: boolean, implicit: boolean): number {
    const at = this.direct(linear, 1, false, user)
    if (at >= 0) return this.bytes[at]!
    return this.space.read8(this.translate(linear, false, user, implicit))
  }

  read16(seg: number, offset: number): number {
    if (this.wraps(seg, offset, 2)) return this.read8(seg, offset) | (this.read8(seg, (offset + 1) & 0xffff) << 8)
    const linear = this.linear(seg, offset, 2, false)
    if (this.watcher) this.watcher.dataAccess(linear, 2, false)
    this.checkAlignment(linear, 2)
    return this.readLinear16(linear, this.user, false)
  }

  private readLinear16(linear: number, user: boolean, implicit: boolean): number {
    const at = this.direct(linear, 2, false, user)
    if (at >= 0) return this.view.getUint16(at, true)
    const first = this.translate(linear, false, user, implicit)
    if (!crosses(linear, 2)) return this.space.read16(first)
    const second = this.translate(this.next(linear, 1), false, user, implicit)
    return this.space.read8(first) | (this.space.read8(second) << 8)
  }

  read32(seg: number, offset: number): number {
    const linear = this.linear(seg, offset, 4, false)
    if (this.watcher) this.watcher.dataAccess(linear, 4, false)
    this.checkAlignment(linear, 4)
    return this.readLinear32(linear, this.user, false)
  }

  private readLinear32(linear: number, user: boolean, implicit: boolean): number {
    const at = this.direct(linear, 4, false, user)
    if (at >= 0) return this.view.getUint32(at, true)
    const first = this.translate(linear, false, user, implicit)
    if (!crosses(linear, 4)) return this.space.read32(first)
    return this.readCrossing(linear, first, 4, user, implicit)
  }

  /** Bytes on both sides of a page boundary; at most 4, as an unsigned number. */
  private readCrossing(linear: number, first: number, size: number, user: boolean, implicit: boolean): number {
    const head = pageRest(linear)
    const second = this.translate(this.next(linear, head), false, user, implicit)
    let value = 0
    for (let i = size - 1; i >= 0; i--) {
      value = value * 256 + this.space.read8(i < head ? first + i : second + i - head)
    }
    return value
  }

  read64(seg: number, offset: number): void {
    const linear = this.linear(seg, offset, 8, false)
    if (this.watcher) this.watcher.dataAccess(linear, 8, false)
    this.checkAlignment(linear, 8)
    this.readLinear64(linear, this.user, false)
  }

  private readLinear64(linear: number, user: boolean, implicit: boolean): void {
    const at = this.direct(linear, 8, false, user)
    if (at >= 0) {
      this.lo = this.view.getInt32(at, true)
      this.hi = this.view.getInt32(at + 4, true)
      return
    }
    const first = this.translate(linear, false, user, implicit)
    if (!crosses(linear, 8)) {
      this.lo = this.space.read32(first) | 0
      this.hi = this.space.read32(first + 4) | 0
      return
    }
    this.translate(this.next(linear, pageRest(linear)), false, user, implicit)
    this.lo = this.readLinear32(linear, user, implicit) | 0
    this.hi = this.readLinear32(this.next(linear, 4), user, implicit) | 0
  }

  write8(seg: number, offset: number, value: number): void {
    const linear = this.linear(seg, offset, 1, true)
    if (this.watcher) this.watcher.dataAccess(linear, 1, true)
    this.writeLinear8(linear, value, this.user, false)
  }

  private writeLinear8(linear: number, value: number, user: boolean, implicit: boolean): void {
    const at = this.direct(linear, 1, true, user)
    if (at >= 0) this.bytes[at] = value
    else this.space.write8(this.translate(linear, true, user, implicit), value & 0xff)
  }

  write16(seg: number, offset: number, value: number): void {
    if (this.wraps(seg, offset, 2)) {
      this.write8(seg, offset, value & 0xff)
      this.write8(seg, (offset + 1) & 0xffff, (value >>> 8) & 0xff)
      return
    }
    const linear = this.linear(seg, offset, 2, true)
    if (this.watcher) this.watcher.dataAccess(linear, 2, true)
    this.checkAlignment(linear, 2)
    this.writeLinear16(linear, value, this.user, false)
  }

  private writeLinear16(linear: number, value: number, user: boolean, implicit: boolean): void {
    const at = this.direct(linear, 2, true, user)
    if (at >= 0) {
      this.view.setUint16(at, value, true)
      return
    }
    const first = this.translate(linear, true, user, implicit)
    if (!crosses(linear, 2)) {
      this.space.write16(first, value & 0xffff)
      return
    }
    const second = this.translate(this.next(linear, 1), true, user, implicit)
    this.space.write8(first, value & 0xff)
    this.space.write8(second, (value >>> 8) & 0xff)
  }

  write32(seg: number, offset: number, value: number): void {
    const linear = this.linear(seg, offset, 4, true)
    if (this.watcher) this.watcher.dataAccess(linear, 4, true)
    this.checkAlignment(linear, 4)
    this.writeLinear32(linear, value, this.user, false)
  }

  private writeLinear32(linear: number, value: number, user: boolean, implicit: boolean): void {
    const at = this.direct(linear, 4, true, user)
    if (at >= 0) {
      this.view.setUint32(at, value, true)
      return
    }
    const first = this.translate(linear, true, user, implicit)
    if (!crosses(linear, 4)) this.space.write32(first, value >>> 0)
    else this.writeCrossing(linear, first, 4, value, 0, user, implicit)
  }

  /** Translates both pages before the first byte changes. */
  private writeCrossing(
    linear: number,
    first: number,
    size: number,
    lo: number,
    hi: number,
    user: boolean,
    implicit: boolean,
  ): void {
    const head = pageRest(linear)
    const second = this.translate(this.next(linear, head), true, user, implicit)
    for (let i = 0; i < size; i++) {
      const byte = ((i < 4 ? lo : hi) >>> ((i & 3) * 8)) & 0xff
      this.space.write8(i < head ? first + i : second + i - head, byte)
    }
  }

  write64(seg: number, offset: number, lo: number, hi: number): void {
    const linear = this.linear(seg, offset, 8, true)
    if (this.watcher) this.watcher.dataAccess(linear, 8, true)
    this.checkAlignment(linear, 8)
    this.writeLinear64(linear, lo, hi, this.user, false)
  }

  private writeLinear64(linear: number, lo: number, hi: number, user: boolean, implicit: boolean): void {
    const at = this.direct(linear, 8, true, user)
    if (at >= 0) {
      this.view.setInt32(at, lo, true)
      this.view.setInt32(at + 4, hi, true)
      return
    }
    const first = this.translate(linear, true, user, implicit)
    if (crosses(linear, 8)) {
      this.writeCrossing(linear, first, 8, lo, hi, user, implicit)
      return
    }
    this.space.write32(first, lo >>> 0)
    this.space.write32(first + 4, hi >>> 0)
  }

  /** The linear address of a 16-byte operand, after the checks that come before translation. */
  private linear128(seg: number, offset: number, aligned: boolean, write: boolean): number {
    const linear = this.linear(seg, offset, 16, write)
    if (aligned) {
      if (linear % 16 !== 0) raiseGp(0)
    } else {
      this.checkAlignment(linear, 16)
    }
    if (this.watcher) this.watcher.dataAccess(linear, 16, write)
    return linear
  }

  read128(seg: number, offset: number, to: number, aligned: boolean): void {
    const linear = this.linear128(seg, offset, aligned, false)
    const { i32 } = this.s
    const at = this.direct(linear, 16, false, this.user)
    if (at >= 0) {
      const { view } = this
      i32[to >> 2] = view.getInt32(at, true)
      i32[(to >> 2) + 1] = view.getInt32(at + 4, true)
      i32[(to >> 2) + 2] = view.getInt32(at + 8, true)
      i32[(to >> 2) + 3] = view.getInt32(at + 12, true)
      return
    }
    // Both pages are translated before anything is read: a device must not see half an access.
    const first = this.translate(linear, false, this.user)
    const head = pageRest(linear)
    const second = head < 16 ? this.translate(this.next(linear, head), false, this.user) : 0
    if (head >= 16) {
      for (let n = 0; n < 4; n++) i32[(to >> 2) + n] = this.space.read32(first + 4 * n)
      return
    }
    for (let n = 0; n < 16; n++) this.s.u8[to + n] = this.space.read8(n < head ? first + n : second + n - head)
  }

  write128(seg: number, offset: number, from: number, aligned: boolean): void {
    const linear = this.linear128(seg, offset, aligned, true)
    const { i32 } = this.s
    const at = this.direct(linear, 16, true, this.user)
    if (at >= 0) {
      const { view } = this
      for (let n = 0; n < 4; n++) view.setInt32(at + 4 * n, i32[(from >> 2) + n]!, true)
      return
    }
    const first = this.translate(linear, true, this.user)
    const head = pageRest(linear)
    const second = head < 16 ? this.translate(this.next(linear, head), true, this.user) : 0
    if (head >= 16) {
      for (let n = 0; n < 4; n++) this.space.write32(first + 4 * n, i32[(from >> 2) + n]! >>> 0)
      return
    }
    for (let n = 0; n < 16; n++) this.space.write8(n < head ? first + n : second + n - head, this.s.u8[from + n]!)
  }

  probeWrite(seg: number, offset: number, size: number): void {
    const linear = this.linear(seg, offset, size, true)
    this.checkAlignment(linear, size)
    this.probe(linear, size, this.user, false)
  }

  /** Raises what a read-modify-write of `size` bytes at seg:offset would raise on its write half. */
  private probe(linear: number, size: number, user: boolean, implicit: boolean): void {
    this.translate(linear, true, user, implicit)
    if (crosses(linear, size)) this.translate(this.next(linear, pageRest(linear)), true, user, implicit)
  }

  // Implicit supervisor accesses. The supervisor tags hold for them too: a tag never relies on EFLAGS.AC, the only thing they treat differently.

  lin8(linear: number, user = false): number {
    return this.readLinear8(linear, user, !user)
  }
  lin16(linear: number, user = false): number {
    return this.readLinear16(linear, user, !user)
  }
  lin32(linear: number, user = false): number {
    return this.readLinear32(linear, user, !user)
  }
  lin64(linear: number, user = false): void {
    this.readLinear64(linear, user, !user)
  }
  setLin8(linear: number, value: number, user = false): void {
    this.writeLinear8(linear, value, user, !user)
  }
  setLin16(linear: number, value: number, user = false): void {
    this.writeLinear16(linear, value, user, !user)
  }
  setLin32(linear: number, value: number, user = false): void {
    this.writeLinear32(linear, value, user, !user)
  }
  setLin64(linear: number, lo: number, hi: number, user = false): void {
    this.writeLinear64(linear, lo, hi, user, !user)
  }
  probeLinWrite(linear: number, size: number, user = false): void {
    this.probe(linear, size, user, !user)
  }

  phys8(address: number): number {
    return this.space.read8(address)
  }
  phys16(address: number): number {
    return this.space.read16(address)
  }
  phys32(address: number): number {
    return this.space.read32(address)
  }
  setPhys8(address: number, value: number): void {
    this.space.write8(address, value)
  }
  setPhys16(address: number, value: number): void {
    this.space.write16(address, value)
  }
  setPhys32(address: number, value: number): void {
    this.space.write32(address, value)
  }

  // --- small print ----------------------------------------------------------------------------------------------

  /** The 8086 wraps a word at offset FFFFh within its segment. */
  private wraps(_seg: number, offset: number, size: number): boolean {
    return this.model.offsetWraps && offset + size > 0x10000
  }

  /** `linear + step` as the processor computes it: modulo 2^32 outside 64-bit code. */
  private next(linear: number, step: number): number {
    const sum = linear + step
    if ((this.s.get32(OFF_MODE) & MODE_CODE_MASK) === MODE_CODE64 || this.s.longMode) return sum
    return sum % TWO32
  }
}

/** Number of the span of 1 GiB, the widest page, that holds `linear`. */
function largeSpan(linear: number): number {
  return Math.floor(linear / 0x40000000)
}

function crosses(linear: number, size: number): boolean {
  return (linear & 0xfff) + size > 4096
}

/** Bytes from `linear` to the end of its page. */
function pageRest(linear: number): number {
  return 4096 - (linear & 0xfff)
}

const TWO63 = 2 ** 63

/** Modulo 2^64 into the signed range; exact where it matters (results near the canonical range). */
function wrap64(value: number): number {
  if (value >= TWO63) return value - 2 * TWO63
  if (value < -TWO63) return value + 2 * TWO63
  return value
}
