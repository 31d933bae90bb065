/**
 * The cache of translated regions: finds the blocks that belong together with a hot one, has them compiled, lets their first records run the
 * result, and drops regions whose code changed or for which there is no room any more.
 */

import { COUNTER_IN_REGIONS } from '../cpu/engine-types.js'
import { MODE_CODE_MASK, MODE_CODE16, MODE_CODE64, MODE_FLAT_CS, MODE_USER } from '../cpu/layout.js'
import { UOP_HANDLER, UOP_SIZE } from '../cpu/uops.js'
import type { RegionBlock } from './region-builder.js'
import { RegionCompiler, returns, successorsOf } from './region-compiler.js'
import type { ThreadedEngine, Translator } from './threaded.js'
import {
  BLOCK_BYTES,
  BLOCK_COUNT,
  BLOCK_HEADER_SIZE,
  BLOCK_HEAT,
  BLOCK_MODE,
  BLOCK_PLACE,
  BLOCK_RECORDS,
  OFF_REGION_EXITS,
  OFF_REGION_INSTRUCTIONS,
  REGION_EXITS,
  type RegionExit,
} from './threaded-builder.js'
import { LINK_LAST } from './threaded-handlers-control.js'

/** What may be chosen about translation. */
export interface TranslationOptions {
  /** Instructions that a block runs before it is translated. Default 100000. */
  readonly heat?: number
  /** Bytes of WebAssembly that translated code may have. Default 16 MiB; the host's machine code and bookkeeping come to several times that. */
  readonly codeBytes?: number
  /** Instructions in a region. Default 400. */
  readonly regionInstructions?: number
  /**
   * Pages of 4 KiB that the blocks of a region may be in. Default 1: with more of them calls between pages cost less, but V8 11.3 (Node 20) was seen
   * to compile such regions wrongly.
   */
  readonly regionPages?: number
  /** Hot blocks that make one WebAssembly module. Default 16. */
  readonly batch?: number
}

/** Counters for statistics and tests. */
export interface TranslationStatistics {
  regions: number
  /** WebAssembly modules that hold them. */
  modules: number
  /** Instructions in compiled regions, all told. */
  instructions: number
  bytes: number
  /** Regions dropped because their code changed, and to make room. */
  dropped: number
  evicted: number
}

const DEFAULT_HEAT = 100_000
const DEFAULT_CODE_BYTES = 16 << 20
const DEFAULT_REGION_INSTRUCTIONS = 400
const DEFAULT_BATCH = 16
const REGION_BLOCKS = 64
const DEFAULT_REGION_PAGES = 1
/** A number that no block uses up before long. */
const NEVER = 0x7fffffff
/** Numbers of handlers and regions have 16 bits. */
const SLOT_LIMIT = 0xffff
const TABLE_STEP = 256
/** What a region costs beside its code, in bytes of WebAssembly. */
const REGION_OVERHEAD = 1000
/** Records of the copies that are lifted for a region. */
const COPY_RECORDS = 8192

/** Why a region was left. */
const EXIT_NAMES: Readonly<Record<RegionExit, string>> = {
  step: 'single step',
  helper: 'helper',
  budget: 'budget',
  jump: 'jump',
  follow: 'link',
}

interface Region {
  /** Its entry of the table. */
  readonly slot: number
  /** Its number in its module. */
  readonly number: number
  readonly bytes: number
  readonly blocks: readonly number[]
  /** The 4 KiB of linear memory that they are in, where these are several. */
  readonly pages: readonly number[]
  /** Entry blocks, and the handlers that their first records had. */
  readonly entries: readonly { readonly block: number; readonly handler: number }[]
  dropped: boolean
}

export class RegionCache implements Translator {
  readonly heat: number
  readonly stats: TranslationStatistics = { regions: 0, modules: 0, instructions: 0, bytes: 0, dropped: 0, evicted: 0 }
  private readonly engine: ThreadedEngine
  private readonly compiler: RegionCompiler
  private readonly i32: Int32Array
  private readonly u16: Uint16Array
  private readonly codeBytes: number
  private readonly regionInstructions: number
  private readonly regionPages: number
  private readonly batch: number
  /** Times its first heat that a queued block runs until it cannot wait for others any more. */
  private readonly patience: number = 8
  private readonly handlers: number
  /** Hot blocks that wait to be translated together, and the linear addresses of their pages. */
  private readonly queue = new Map<number, number>()
  /** Live regions, oldest first. */
  private readonly live = new Set<Region>()
  private readonly regionsOf = new Map<number, Region[]>()
  /** How many regions with several pages have blocks in a page. */
  private readonly spanned = new Map<number, number>()
  private readonly freeSlots: number[] = []
  private nextSlot: number
  private bytes = 0
  /** How often regions of a page were dropped or evicted since the store was emptied: such pages must get hotter each time. */
  private readonly drops = new Map<number, number>()

  constructor(engine: ThreadedEngine, options: TranslationOptions = {}) {
    this.engine = engine
    this.heat = options.heat ?? DEFAULT_HEAT
    this.codeBytes = options.codeBytes ?? DEFAULT_CODE_BYTES
    this.regionInstructions = options.regionInstructions ?? DEFAULT_REGION_INSTRUCTIONS
    this.regionPages = options.regionPages ?? DEFAULT_REGION_PAGES
    this.batch = options.batch ?? DEFAULT_BATCH
    const { s } = engine
    this.i32 = s.i32
    this.u16 = s.u16
    const { profiler } = engine
    this.compiler = new RegionCompiler(engine.registry, engine.selector, s.u8.buffer, profiler !== undefined)
    profiler?.time('modules', this as RegionCache, 'instantiate')
    this.handlers = engine.registry.handlers.length
    this.nextSlot = this.handlers
  }

  /** Bytes of WebAssembly in live regions. */
  get size(): number {
    return this.bytes
  }

  hot(block: number): void {
    // It runs a region already, or was queued.
    if (this.u16[(block + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1]! >= this.handlers || !this.translatable(block)) {
      this.i32[(block + BLOCK_HEAT) >> 2] = NEVER
      return
    }
    if (this.queue.has(block)) {
      this.flush()
      return
    }
    this.queue.set(block, Math.floor(this.engine.s.rip / 4096) * 4096)
    this.i32[(block + BLOCK_HEAT) >> 2] = this.heat * this.patience
    if (this.queue.size >= this.batch) this.flush()
  }

  private translatable(block: number): boolean {
    const mode = this.i32[(block + BLOCK_MODE) >> 2]!
    return (mode & MODE_FLAT_CS) !== 0 && (mode & MODE_CODE_MASK) !== MODE_CODE16
  }

  /** Translates what waits, as one module. */
  private flush(): void {
    const made: Region[] = []
    for (const [block, page] of this.queue) {
      this.i32[(block + BLOCK_HEAT) >> 2] = NEVER
      if (this.u16[(block + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1]! >= this.handlers) continue
      const region = this.translate(block, page)
      if (region !== undefined) made.push(region)
    }
    this.queue.clear()
    if (this.compiler.waiting === 0) return
    const { bytes, imports } = this.compiler.take()
    const { exports, memory } = this.engine
    const host: Record<string, WebAssembly.ImportValue> = { memory }
    for (const name of imports) host[name] = exports[name] as WebAssembly.ImportValue
    try {
      const functions = this.instantiate(bytes, { host })
      for (const { slot, number, dropped } of made) if (!dropped) exports.table.set(slot, functions[String(number)])
    } catch (error) {
      if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) throw error
      // The host refuses (no more memory, or no modules of this size on this thread): the blocks go on in the threaded engine.
      for (const region of made) this.drop(region)
      return
    }
    this.stats.modules++
  }

  /** Has the host compile a module; returns its exports. */
  instantiate(bytes: Uint8Array<ArrayBuffer>, imports: WebAssembly.Imports): WebAssembly.Exports {
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports
  }

  /** Compiles the region around a hot block, and lets its entries run it: from the end of {@link flush} on there is something in its slot. */
  private translate(block: number, linear: number): Region | undefined {
    const mode = this.i32[(block + BLOCK_MODE) >> 2]!
    // Dropped while it waited.
    if (mode < 0) return undefined
    const blocks = this.collect(block, mode, linear)
    if (!this.liftCopies(blocks, mode)) return undefined
    const slot = this.takeSlot()
    if (slot < 0) return undefined
    const number = this.compiler.waiting
    const size = this.compiler.add(blocks, mode, this.engine.s.base, mode & MODE_USER ? 16 : 0)
    return this.add(blocks, size + REGION_OVERHEAD, slot, number)
  }

  private add(blocks: readonly RegionBlock[], bytes: number, slot: number, number: number): Region {
    while (this.bytes + bytes > this.codeBytes && this.live.size > 0) {
      const [oldest] = this.live
      this.cool(oldest!.blocks[0]!)
      this.drop(oldest!)
      this.stats.evicted++
    }
    const entries: { block: number; handler: number }[] = []
    blocks.forEach((block, n) => {
      if (!block.entry) return
      const at = (block.block + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1
      entries.push({ block: block.block, handler: this.originalHandler(block.block) })
      this.u16[at] = slot
      this.u16[at + 1] = n
      this.i32[(block.block + BLOCK_HEAT) >> 2] = NEVER
    })
    const pages = [...new Set(blocks.map(({ place }) => place >>> 12))]
    const made: Region = {
      slot,
      number,
      bytes,
      blocks: blocks.map((block) => block.block),
      pages: pages.length > 1 ? pages : [],
      entries,
      dropped: false,
    }
    for (const page of made.pages) this.spanned.set(page, (this.spanned.get(page) ?? 0) + 1)
    for (const block of made.blocks) {
      const list = this.regionsOf.get(block)
      if (list === undefined) this.regionsOf.set(block, [made])
      else list.push(made)
    }
    this.live.add(made)
    this.bytes += bytes
    this.stats.regions++
    this.stats.bytes += bytes
    for (const block of blocks) this.stats.instructions += block.count
    return made
  }

  /** The handler that a block's first record has without regions. */
  private originalHandler(block: number): number {
    const now = this.u16[(block + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1]!
    if (now < this.handlers) return now
    for (const region of this.regionsOf.get(block) ?? [])
      for (const entry of region.entries) if (entry.block === block) return entry.handler
    throw new RangeError('a block runs a region that does not know it')
  }

  private takeSlot(): number {
    const free = this.freeSlots.pop()
    if (free !== undefined) return free
    const { table } = this.engine.exports
    if (this.nextSlot >= SLOT_LIMIT) return -1
    if (this.nextSlot >= table.length) table.grow(Math.min(TABLE_STEP, SLOT_LIMIT - table.length))
    return this.nextSlot++
  }

  dropped(block: number): void {
    this.queue.delete(block)
    const regions = this.regionsOf.get(block)
    if (regions === undefined) return
    this.cool(block)
    for (const region of [...regions]) {
      this.drop(region)
      this.stats.dropped++
    }
  }

  /** The next regions of a block's page must get hotter. */
  private cool(block: number): void {
    const page = this.i32[(block + BLOCK_PLACE) >> 2]! >>> 12
    this.drops.set(page, Math.min(12, (this.drops.get(page) ?? 0) + 1))
  }

  /** Forgets a region; its entries run in the threaded engine again, and may become hot again. */
  private drop(region: Region): void {
    if (region.dropped) return
    region.dropped = true
    this.live.delete(region)
    this.bytes -= region.bytes
    for (const page of region.pages) this.spanned.set(page, this.spanned.get(page)! - 1)
    for (const { block, handler } of region.entries) {
      const at = (block + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1
      // Another region may have taken the entry over.
      if (this.u16[at] !== region.slot) continue
      this.u16[at] = handler
      const page = this.i32[(block + BLOCK_PLACE) >> 2]! >>> 12
      this.i32[(block + BLOCK_HEAT) >> 2] = Math.min(NEVER, this.heat * 2 ** (this.drops.get(page) ?? 0))
    }
    for (const block of region.blocks) {
      const list = this.regionsOf.get(block)
      if (list === undefined) continue
      const left = list.filter((other) => other !== region)
      if (left.length === 0) this.regionsOf.delete(block)
      else this.regionsOf.set(block, left)
    }
    this.engine.exports.table.set(region.slot, null)
    this.freeSlots.push(region.slot)
  }

  spansPages(page: number): boolean {
    return (this.spanned.get(page) ?? 0) > 0
  }

  cleared(): void {
    this.queue.clear()
    this.spanned.clear()
    const { table } = this.engine.exports
    for (const region of this.live) {
      table.set(region.slot, null)
      this.freeSlots.push(region.slot)
      region.dropped = true
    }
    this.live.clear()
    this.regionsOf.clear()
    this.drops.clear()
    this.bytes = 0
  }

  counters(): Readonly<Record<string, number>> {
    const { regions, modules, instructions, dropped, evicted } = this.stats
    const { s } = this.engine
    const count = (at: number): number => (s.get32(at) >>> 0) + s.get32(at + 4) * 2 ** 32
    const exits = REGION_EXITS.map((exit, n) => [`left: ${EXIT_NAMES[exit]}`, count(OFF_REGION_EXITS + n * 8)] as const)
    return {
      regions: regions,
      modules: modules,
      'instructions in them': instructions,
      'bytes of code now': this.bytes,
      'regions now': this.live.size,
      'table entries now': this.engine.exports.table.length,
      'regions dropped': dropped,
      'regions evicted': evicted,
      ...Object.fromEntries(exits),
      ...(this.engine.profiler && { [COUNTER_IN_REGIONS]: count(OFF_REGION_INSTRUCTIONS) }),
    }
  }

  // --- what belongs together ----------------------------------------------------------------------------------------

  /**
   * The blocks around a hot one: what it reaches by direct jumps, and by indirect ones as they went last, and where calls on the way return to. The hot
   * one, whose page is at the address `linear`, comes first.
   */
  private collect(start: number, mode: number, linear: number): RegionBlock[] {
    const { i32, u16 } = this
    const { store, host, enterCrossing } = this.engine
    const wraps = (mode & MODE_CODE_MASK) !== MODE_CODE64
    const places = new Map<number, number>([[0, i32[(start + BLOCK_PLACE) >> 2]! & ~0xfff]])
    const found: RegionBlock[] = []
    const known = new Map<number, RegionBlock>()
    let instructions = 0
    /** The block at a distance from the first one's page, or 0. */
    const find = (to: number): number => {
      const page = Math.floor(to / 4096) * 4096
      let place = places.get(page)
      if (place === undefined) {
        if (places.size >= this.regionPages) return 0
        const at = linear + page
        place = host.placeOf(wraps ? at >>> 0 : at, (mode & MODE_USER) !== 0)
        if (place < 0) return 0
        places.set(page, place)
      }
      const at = store.find(place + (to - page), mode)
      if (at === 0 || u16[(at + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1] === enterCrossing) return 0
      // Code of other pages has to be hot itself: more of it would cost more to compile than its jumps do.
      return (page === 0 ? this.warm(at) : this.provenHot(at)) ? at : 0
    }
    const take = (at: number, to: number, entry: boolean): void => {
      const old = known.get(to)
      if (old !== undefined) {
        if (entry) old.entry = true
        return
      }
      const count = i32[(at + BLOCK_COUNT) >> 2]!
      if (found.length > 0 && (found.length >= REGION_BLOCKS || instructions + count > this.regionInstructions)) return
      instructions += count
      const place = i32[(at + BLOCK_PLACE) >> 2]!
      const stored = at + BLOCK_HEADER_SIZE
      const records = i32[(at + BLOCK_RECORDS) >> 2]!
      const low = i32[(stored + (records - 1) * UOP_SIZE + LINK_LAST) >> 2]!
      const block: RegionBlock = {
        block: at,
        offset: place & 0xfff,
        page: to - (place & 0xfff),
        place: place & ~0xfff,
        last: low === 0 ? undefined : (low - (linear | 0)) | 0,
        count,
        bytes: i32[(at + BLOCK_BYTES) >> 2]!,
        stored,
        lifted: 0,
        records,
        entry,
      }
      known.set(to, block)
      found.push(block)
    }
    take(start, i32[(start + BLOCK_PLACE) >> 2]! & 0xfff, true)
    for (let n = 0; n < found.length; n++) {
      const { offset, page, bytes, stored, records, last } = found[n]!
      const from = page + offset
      const end = stored + (records - 1) * UOP_SIZE
      const { direct, call, helper, indirect } = successorsOf(i32, u16, end, records, mode)
      for (const distance of direct) {
        const at = find(from + distance)
        if (at !== 0) take(at, from + distance, false)
      }
      if (indirect && last !== undefined && !returns(u16, end)) {
        const at = find(last)
        if (at !== 0) take(at, last, false)
      }
      // Where a call returns, and what follows a helper.
      if (call || helper) {
        const at = find(from + bytes)
        if (at !== 0) take(at, from + bytes, u16[(at + BLOCK_HEADER_SIZE + UOP_HANDLER) >> 1]! < this.handlers)
      }
    }
    return found
  }

  /** The block has run a few times since it was lifted. */
  private warm(block: number): boolean {
    const left = this.i32[(block + BLOCK_HEAT) >> 2]!
    return left > this.heat || left <= this.heat - (this.heat >> 3)
  }

  /** The block waits for its translation or has it. */
  private provenHot(block: number): boolean {
    return this.i32[(block + BLOCK_HEAT) >> 2]! > this.heat
  }

  /** Lifts each block once more, as records that are not prepared, behind the blocks in the store. */
  private liftCopies(blocks: readonly RegionBlock[], mode: number): boolean {
    const { store, host } = this.engine
    let at = store.next
    const limit = Math.min(store.limit, at + COPY_RECORDS * UOP_SIZE)
    for (const block of blocks) {
      const place = this.i32[(block.block + BLOCK_PLACE) >> 2]!
      const records = host.liftCopy(place, mode, at, limit)
      // Blocks that cross pages, and those for which the store has no room, stay untranslated.
      if (records !== block.records || host.liftedInstructions !== block.count) return false
      block.lifted = at
      at += records * UOP_SIZE
    }
    return true
  }
}
