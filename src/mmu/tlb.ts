import { type EventSink, type Stateful, VirtkitError } from '../contracts/index.js'
import { ATTR_GLOBAL } from './page-permissions.js'

/** Replacement policies of a {@link Tlb}. */
export const TLB_POLICIES = ['lru', 'fifo', 'plru', 'random'] as const
/** One of {@link TLB_POLICIES}: least recently used, first in first out, tree pseudo-LRU, seeded random. */
export type TlbPolicy = (typeof TLB_POLICIES)[number]

/** Geometry and policy of a {@link Tlb}. */
export interface TlbOptions {
  /** Number of sets, 1 or more; the set is the page number modulo this. */
  readonly sets: number
  /** Entries in each set, 1 or more; a power of two for `plru`. */
  readonly ways: number
  /** Default `lru`. */
  readonly policy?: TlbPolicy
  /** Seed of the `random` policy, a 32-bit number. Default 1. */
  readonly seed?: number
  /** Receives `tlb` events. */
  readonly events?: EventSink
}

/** An entry as {@link Tlb.entries} shows it. */
export interface TlbEntry {
  /** First linear page (address / 4096, signed) of the page that is mapped. */
  readonly page: number
  /** Physical frame (address / 4096) of that first page. */
  readonly frame: number
  /** Size of the page in bytes. */
  readonly pageSize: number
  /** ATTR_ bits. */
  readonly attributes: number
  readonly pcid: number
  readonly set: number
  readonly way: number
}

/** Saved state of a {@link Tlb}. */
export interface TlbState {
  readonly version: 1
  readonly sets: number
  readonly ways: number
  readonly policy: TlbPolicy
  readonly tick: number
  readonly random: number
  readonly entries: readonly (TlbEntry & { readonly stamp: number })[]
  /** Tree bits of each set, one number per inner node. */
  readonly tree: Uint8Array
  readonly counters: readonly number[]
}

/** Pages of 4 KiB in each page size: 4 KiB, 2 MiB, 4 MiB, 1 GiB. */
const SPANS: readonly number[] = [1, 512, 1024, 262144]

/**
 * A set-associative translation lookaside buffer of any geometry, for all page sizes, with global pages and process-context identifiers.
 * It only remembers: what may be remembered and when it must be forgotten is the business of the caller (see `Mmu`). Large pages take one entry, indexed by
 * their own page number; a look-up tries each size of which there are entries. Source: Intel SDM Vol. 3A, "Translation Lookaside Buffers".
 *
 * Results of a look-up are in public fields, so that it allocates nothing.
 */
export class Tlb implements Stateful<TlbState> {
  /** After a hit: the frame (physical address / 4096) of the page that was asked for. */
  frame = 0
  /** After a hit: ATTR_ bits. */
  attributes = 0
  /** After a hit: size of the page in bytes. */
  pageSize = 4096
  /** Look-ups that hit. */
  hits = 0
  /** Look-ups that missed. */
  misses = 0
  /** Entries written. */
  fills = 0
  /** Valid entries that had to make room. */
  evictions = 0
  /** Entries invalidated. */
  invalidations = 0

  readonly sets: number
  readonly ways: number
  readonly policy: TlbPolicy
  readonly #events: EventSink | undefined
  /** Index into SPANS plus 1; 0 for an empty entry. */
  readonly #kind: Uint8Array
  readonly #page: Float64Array
  readonly #frame: Float64Array
  readonly #attributes: Uint32Array
  readonly #pcid: Uint16Array
  /** Time of last use (lru) or of the fill (fifo). */
  readonly #stamp: Float64Array
  /** Inner nodes of the pseudo-LRU trees, `ways` per set, root at 1: 0 points to the left half as the victim. */
  readonly #tree: Uint8Array
  /** Valid entries of each page size. */
  readonly #counts: Uint32Array = new Uint32Array(SPANS.length)
  #tick = 0
  #random: number

  /** @throws VirtkitError `bad-argument` for an impossible geometry */
  constructor(options: TlbOptions) {
    const { sets, ways, policy = 'lru', seed = 1, events } = options
    if (!Number.isInteger(sets) || sets < 1 || !Number.isInteger(ways) || ways < 1 || sets * ways > 2 ** 22) {
      throw new VirtkitError('bad-argument', `Tlb: sets and ways must be integers from 1, got ${sets} and ${ways}`)
    }
    if (!TLB_POLICIES.includes(policy)) throw new VirtkitError('bad-argument', `Tlb: unknown policy ${policy}`)
    if (policy === 'plru' && (ways & (ways - 1)) !== 0) {
      throw new VirtkitError('bad-argument', `Tlb: plru needs a power of two of ways, got ${ways}`)
    }
    this.sets = sets
    this.ways = ways
    this.policy = policy
    this.#events = events
    const size = sets * ways
    this.#kind = new Uint8Array(size)
    this.#page = new Float64Array(size)
    this.#frame = new Float64Array(size)
    this.#attributes = new Uint32Array(size)
    this.#pcid = new Uint16Array(size)
    this.#stamp = new Float64Array(size)
    this.#tree = new Uint8Array(size)
    // xorshift has 0 as its only fixed point.
    this.#random = seed >>> 0 || 1
  }

  /** Looks a linear page (address / 4096, signed) up. On a hit the result fields hold the translation. */
  lookup(page: number, pcid = 0): boolean {
    for (let kind = 0; kind < SPANS.length; kind++) {
      if (this.#counts[kind] === 0) continue
      const span = SPANS[kind]!
      const number = Math.floor(page / span)
      const slot = this.#find(number * span, number, kind, pcid)
      if (slot < 0) continue
      this.#touch(slot)
      this.hits++
      this.frame = this.#frame[slot]! + page - number * span
      this.attributes = this.#attributes[slot]!
      this.pageSize = span * 4096
      if (this.#events?.wants('tlb')) this.#events.emit('tlb', { action: 'hit', page, frame: this.frame })
      return true
    }
    this.misses++
    if (this.#events?.wants('tlb')) this.#events.emit('tlb', { action: 'miss', page })
    return false
  }

  /**
   * Remembers a translation, in place of an equal entry, an empty one, or the policy's victim. `page` and `frame` may be any 4 KiB part of the
   * page, as long as they belong together.
   * @throws VirtkitError `bad-argument` when `pageSize` is none of 4 KiB, 2 MiB, 4 MiB, 1 GiB
   */
  fill(page: number, frame: number, pageSize: number, attributes: number, pcid = 0): void {
    const kind = SPANS.indexOf(pageSize / 4096)
    if (kind < 0) throw new VirtkitError('bad-argument', `Tlb: no page has ${pageSize} bytes`)
    const span = SPANS[kind]!
    const number = Math.floor(page / span)
    const first = number * span
    let slot = this.#find(first, number, kind, pcid)
    if (slot < 0) slot = this.#victim(number)
    if (this.#kind[slot] !== 0) this.#counts[this.#kind[slot]! - 1]!--
    this.#counts[kind]!++
    this.#kind[slot] = kind + 1
    this.#page[slot] = first
    this.#frame[slot] = frame - (page - first)
    this.#attributes[slot] = attributes
    this.#pcid[slot] = pcid
    this.#stamp[slot] = ++this.#tick
    if (this.policy === 'plru') this.#pointAway(slot)
    this.fills++
    if (this.#events?.wants('tlb')) this.#events.emit('tlb', { action: 'fill', page, frame })
  }

  /** INVLPG: forgets every entry, of any size, that translates the page for this PCID, and global ones for any. */
  invlpg(page: number, pcid = 0): void {
    this.#invalidatePage(page, pcid, true)
  }

  /** INVPCID type 0: forgets the entries of one page for one PCID, global ones excepted. */
  invalidateAddress(page: number, pcid: number): void {
    this.#invalidatePage(page, pcid, false)
  }

  /** Forgets everything, global entries too. */
  flushAll(): void {
    this.#invalidate(() => true)
  }

  /** Forgets all but global entries, of every PCID. */
  flushNonGlobal(): void {
    this.#invalidate((slot) => (this.#attributes[slot]! & ATTR_GLOBAL) === 0)
  }

  /** Forgets the entries of one PCID, global ones excepted. */
  flushPcid(pcid: number): void {
    this.#invalidate((slot) => this.#pcid[slot] === pcid && (this.#attributes[slot]! & ATTR_GLOBAL) === 0)
  }

  /** What it holds, by set and way. */
  entries(): TlbEntry[] {
    const result: TlbEntry[] = []
    for (let slot = 0; slot < this.#kind.length; slot++) if (this.#kind[slot] !== 0) result.push(this.#entry(slot))
    return result
  }

  saveState(): TlbState {
    const entries: (TlbEntry & { stamp: number })[] = []
    for (let slot = 0; slot < this.#kind.length; slot++) {
      if (this.#kind[slot] !== 0) entries.push({ ...this.#entry(slot), stamp: this.#stamp[slot]! })
    }
    const { sets, ways, policy, hits, misses, fills, evictions, invalidations } = this
    const counters = [hits, misses, fills, evictions, invalidations]
    return {
      version: 1,
      sets,
      ways,
      policy,
      tick: this.#tick,
      random: this.#random,
      entries,
      tree: this.#tree.slice(),
      counters,
    }
  }

  loadState(state: TlbState): void {
    this.#check(state)
    this.#kind.fill(0)
    this.#counts.fill(0)
    for (const entry of state.entries) {
      const slot = entry.set * this.ways + entry.way
      const kind = SPANS.indexOf(entry.pageSize / 4096)
      this.#kind[slot] = kind + 1
      this.#counts[kind]!++
      this.#page[slot] = entry.page
      this.#frame[slot] = entry.frame
      this.#attributes[slot] = entry.attributes
      this.#pcid[slot] = entry.pcid
      this.#stamp[slot] = entry.stamp
    }
    this.#tree.set(state.tree)
    this.#tick = state.tick
    this.#random = state.random
    ;[this.hits, this.misses, this.fills, this.evictions, this.invalidations] = state.counters as [
      number,
      number,
      number,
      number,
      number,
    ]
  }

  #entry(slot: number): TlbEntry {
    return {
      page: this.#page[slot]!,
      frame: this.#frame[slot]!,
      pageSize: SPANS[this.#kind[slot]! - 1]! * 4096,
      attributes: this.#attributes[slot]!,
      pcid: this.#pcid[slot]!,
      set: Math.floor(slot / this.ways),
      way: slot % this.ways,
    }
  }

  /** First slot of the set of a page number (in units of its own size), which may be negative. */
  #setStart(number: number): number {
    const set = number % this.sets
    return (set < 0 ? set + this.sets : set) * this.ways
  }

  #find(first: number, number: number, kind: number, pcid: number): number {
    const start = this.#setStart(number)
    for (let slot = start; slot < start + this.ways; slot++) {
      if (this.#kind[slot] !== kind + 1 || this.#page[slot] !== first) continue
      if (this.#pcid[slot] === pcid || this.#attributes[slot]! & ATTR_GLOBAL) return slot
    }
    return -1
  }

  #touch(slot: number): void {
    if (this.policy === 'lru') this.#stamp[slot] = ++this.#tick
    else if (this.policy === 'plru') this.#pointAway(slot)
  }

  /** Makes every node on the way to a leaf point to the other half. */
  #pointAway(slot: number): void {
    const start = slot - (slot % this.ways)
    let node = (slot - start) | this.ways
    while (node > 1) {
      this.#tree[start + (node >> 1)] = (node & 1) ^ 1
      node >>= 1
    }
  }

  #victim(number: number): number {
    const start = this.#setStart(number)
    for (let slot = start; slot < start + this.ways; slot++) if (this.#kind[slot] === 0) return slot
    let slot = start
    if (this.policy === 'plru') {
      let node = 1
      while (node < this.ways) node = node * 2 + this.#tree[start + node]!
      slot = start + node - this.ways
    } else if (this.policy === 'random') {
      let x = this.#random
      x ^= x << 13
      x ^= x >>> 17
      x ^= x << 5
      this.#random = x >>> 0
      slot = start + (this.#random % this.ways)
    } else {
      for (let other = start + 1; other < start + this.ways; other++) {
        if (this.#stamp[other]! < this.#stamp[slot]!) slot = other
      }
    }
    this.evictions++
    if (this.#events?.wants('tlb')) {
      this.#events.emit('tlb', { action: 'evict', page: this.#page[slot]!, frame: this.#frame[slot]! })
    }
    return slot
  }

  #invalidatePage(page: number, pcid: number, globals: boolean): void {
    this.#invalidate((slot) => {
      const first = this.#page[slot]!
      if (page < first || page >= first + SPANS[this.#kind[slot]! - 1]!) return false
      return this.#attributes[slot]! & ATTR_GLOBAL ? globals : this.#pcid[slot] === pcid
    })
  }

  #invalidate(chosen: (slot: number) => boolean): void {
    for (let slot = 0; slot < this.#kind.length; slot++) {
      if (this.#kind[slot] === 0 || !chosen(slot)) continue
      this.#counts[this.#kind[slot]! - 1]!--
      this.#kind[slot] = 0
      this.invalidations++
      if (this.#events?.wants('tlb')) {
        this.#events.emit('tlb', { action: 'flush', page: this.#page[slot]!, frame: this.#frame[slot]! })
      }
    }
  }

  #check(state: TlbState): void {
    const bad = (why: string): never => {
      throw new VirtkitError('bad-state', `Tlb: ${why}`)
    }
    if (typeof state !== 'object' || state === null || state.version !== 1) bad('not a state of version 1')
    if (state.sets !== this.sets || state.ways !== this.ways || state.policy !== this.policy) bad('another geometry')
    if (!(state.tree instanceof Uint8Array) || state.tree.length !== this.#tree.length) bad('damaged tree')
    if (state.tree.some((bit) => bit > 1)) bad('damaged tree')
    const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
    if (!count(state.tick) || !count(state.random) || state.random === 0 || state.random > 0xffffffff)
      bad('damaged counters')
    if (!Array.isArray(state.counters) || state.counters.length !== 5 || !state.counters.every(count))
      bad('damaged counters')
    if (!Array.isArray(state.entries)) bad('no entries')
    const taken = new Set<number>()
    for (const entry of state.entries) {
      if (typeof entry !== 'object' || entry === null) bad('damaged entry')
      const { page, frame, pageSize, attributes, pcid, set, way, stamp } = entry
      const span = pageSize / 4096
      if (!SPANS.includes(span) || !Number.isSafeInteger(page) || page % span !== 0) bad('damaged entry')
      if (![frame, attributes, pcid, set, way, stamp].every(count)) bad('damaged entry')
      if (pcid > 0xfff || attributes > 0xffffffff || way >= this.ways || set >= this.sets) bad('damaged entry')
      if (this.#setStart(page / span) !== set * this.ways) bad('an entry in the wrong set')
      if (taken.has(set * this.ways + way)) bad('two entries in one place')
      taken.add(set * this.ways + way)
    }
  }
}
