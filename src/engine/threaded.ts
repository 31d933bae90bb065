/**
 * The threaded engine: micro-op records, prepared once per basic block, run by WebAssembly that this package emits at load. Its handlers
 * implement fast paths only; everything else leaves WebAssembly at an instruction boundary, and the host of the engine runs that one instruction
 * with the reference engine.
 */

import { MODE_CODE_MASK, MODE_CODE64, MODE_FLAT_CS, OFF_RIP, OFF_SEG, SEG_BASE, SEG_STRIDE } from '../cpu/layout.js'
import type { Profiler } from '../cpu/profiler.js'
import type { CpuState } from '../cpu/state.js'
import { UOP, UOP_HANDLER, UOP_IMM, UOP_INDEX, UOP_IP, UOP_OP, UOP_SIZE } from '../cpu/uops.js'
import { SEG_CS } from '../isa/instruction.js'
import { BlockStore } from './block-store.js'
import {
  ACCESS_RUN,
  ACCESS_WRITE,
  BLOCK_HEADER_SIZE,
  EXIT_BUDGET,
  EXIT_HOT,
  EXIT_LINK,
  EXIT_STOP,
  JUMP_CACHE_BITS,
  JUMP_CACHE_MULTIPLIER,
  JUMP_CACHE_SHIFT,
  OFF_JUMP_CACHE,
  OFF_LINK_SITE,
} from './threaded-builder.js'
import { ENTER_CROSSING, ENTER_CS } from './threaded-handlers-control.js'
import { hasVectors } from './threaded-handlers-simd.js'
import {
  type DispatchKind,
  emitThreadedModule,
  makeRegistry,
  type RegionExports,
  type ThreadedImports,
} from './threaded-module.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { HandlerSelector } from './threaded-select.js'

/** What the engine asks of the processor it runs for. */
export interface ThreadedHost {
  /**
   * Where in linear memory the first byte of the instruction at RIP is, with the instruction TLB's entry for it filled; −1 when the
   * instruction must be run by {@link step}: it faults, is not in RAM or ROM, lies beyond CS, or has a breakpoint.
   */
  fetchPlace(): number
  /** Where in linear memory the byte at a linear address is, if the instruction TLB has an entry for it with which a user or a supervisor may fetch; else −1. */
  placeOf(linear: number, user: boolean): number
  /**
   * Writes the records of the basic block at `place` for the current mode to `at`, at most up to `end`, none of its instructions
   * beyond the 4 KiB page, at most 255 instructions, and an END record where no branch ends it. From here on, writes
   * to that page must come to {@link ThreadedEngine.invalidate}. Returns the number of records; 0 when the first instruction must be
   * run by {@link step}.
   */
  lift(place: number, at: number, end: number): number
  /** The same for any mode and without the promise about writes, for code that {@link lift} has lifted and that has not changed since. */
  liftCopy(place: number, mode: number, at: number, end: number): number
  /** Instructions and bytes of the last lifted block. */
  readonly liftedInstructions: number
  readonly liftedBytes: number
  /**
   * The same for the single instruction at `place` that goes on in another page, where {@link lift} found nothing; only in modes with a flat CS. 0
   * too when the instruction TLB has no entry for the other page.
   */
  liftCrossing(place: number, at: number, end: number): number
  /** After {@link liftCrossing}: where the other page is in linear memory, and how many of its bytes belong to the instruction. */
  readonly secondPlace: number
  readonly tailBytes: number
  /**
   * Makes the data-TLB entry for a linear address good for a read or write of `size` bytes within its page. `run`: more elements of that size
   * may follow up to the end of the page. False: run the instruction by {@link step}.
   */
  fill(linearLow: number, linearHigh: number, write: boolean, size: number, run: boolean): boolean
  /**
   * Finishes the instruction at RIP, whose last record is the HELPER at `record` and whose earlier ones have run: the helper's work or its
   * fault, RIP, the remaining budget. False: the engine is to return to its caller.
   */
  helper(record: number): boolean
  /** Runs one instruction or event delivery and takes it off the remaining budget. False: the engine is to return to its caller. */
  step(): boolean
}

/** Counters for statistics and tests. */
export interface ThreadedStatistics {
  blocksLifted: number
  blocksDropped: number
  storeResets: number
  /** Instructions that ran in the reference engine. */
  steps: number
  /** Times that WebAssembly was entered. */
  entries: number
}

const modules = new Map<string, WebAssembly.Module>()
const registries = new Map<boolean, HandlerRegistry>()

/** The registry that all engines share, with or without handlers that use vectors. */
function registryOnce(vectors: boolean): HandlerRegistry {
  let registry = registries.get(vectors)
  if (registry === undefined) {
    registry = makeRegistry(vectors)
    registries.set(vectors, registry)
  }
  return registry
}

/** True when this host's WebAssembly has tail calls. */
export function hasTailCalls(): boolean {
  // (module (func return_call 0))
  const probe = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 0x12, 0, 0x0b]
  return WebAssembly.validate(Uint8Array.from(probe))
}

function moduleOnce(kind: DispatchKind, vectors: boolean, regions: boolean): WebAssembly.Module {
  const key = `${kind} ${vectors} ${regions}`
  let module = modules.get(key)
  if (!module) {
    module = new WebAssembly.Module(emitThreadedModule(registryOnce(vectors), kind, regions))
    modules.set(key, module)
  }
  return module
}

/** Makes faster code of blocks that run often. */
export interface Translator {
  /** Instructions that a new block runs before it counts as hot. */
  readonly heat: number
  /** A block has used up its heat. Gives it new heat, whatever else it does. */
  hot(block: number): void
  /** A block was dropped; its records do not bail yet. */
  dropped(block: number): void
  /** All blocks were dropped. */
  cleared(): void
  /** Code of this 4 KiB of linear memory may run without a jump from another page having looked. */
  spansPages(page: number): boolean
  /** See `Engine.counters`. */
  counters(): Readonly<Record<string, number>>
}

/** Where an engine works. */
export interface ThreadedOptions {
  /** Holds the CPU block, the micro-op store and guest memory. */
  readonly memory: WebAssembly.Memory
  readonly state: CpuState
  /** Start and size of the micro-op store, multiples of 64. */
  readonly storeOffset: number
  readonly storeSize: number
  readonly host: ThreadedHost
  /** Default: tail calls where the host has them. */
  readonly dispatch?: DispatchKind
  /** Handlers may use WebAssembly's vectors. Default: where the host has them. */
  readonly vectors?: boolean
  /** Makes a translator for hot blocks. Not used without tail calls. */
  readonly translator?: (engine: ThreadedEngine) => Translator
  /** Measures where time goes. */
  readonly profiler?: Profiler
}

/** Records that one block may have; a block that would need more ends early. */
const MAX_BLOCK_RECORDS = 4096

export class ThreadedEngine {
  readonly stats: ThreadedStatistics = { blocksLifted: 0, blocksDropped: 0, storeResets: 0, steps: 0, entries: 0 }
  readonly store: BlockStore
  readonly s: CpuState
  readonly host: ThreadedHost
  readonly registry: HandlerRegistry
  readonly memory: WebAssembly.Memory
  readonly selector: HandlerSelector
  readonly profiler: Profiler | undefined
  private readonly translator: Translator | undefined
  private readonly heat: number
  private readonly enterCs: number
  /** Handler of the first record of a block that crosses into the next page. */
  readonly enterCrossing: number
  /** With a translator also what regions need. */
  readonly exports: RegionExports
  /** Runs compiled code. */
  private readonly enter: RegionExports['enter']

  constructor(options: ThreadedOptions) {
    const { memory, state, host, profiler } = options
    this.s = state
    this.memory = memory
    this.host = host
    this.store = new BlockStore(memory.buffer, options.storeOffset, options.storeSize)
    const vectors = options.vectors ?? hasVectors()
    const registry = registryOnce(vectors)
    this.registry = registry
    this.selector = new HandlerSelector(registry, memory.buffer)
    this.enterCs = registry.id(ENTER_CS)
    this.enterCrossing = registry.id(ENTER_CROSSING)
    const dispatch = options.dispatch ?? (hasTailCalls() ? 'tail-call' : 'br-table')
    const translates = options.translator !== undefined && dispatch === 'tail-call'
    const module = moduleOnce(dispatch, vectors, translates)
    const instance = new WebAssembly.Instance(module, {
      host: {
        memory,
        fill: (low: number, high: number, access: number): number =>
          host.fill(low, high, (access & ACCESS_WRITE) !== 0, (access >> 1) & 0x1f, (access & ACCESS_RUN) !== 0)
            ? 1
            : 0,
        helper: (record: number): number => (host.helper(record) ? 0 : 1),
        step: (): number => {
          this.stats.steps++
          return host.step() ? 0 : 1
        },
      } satisfies ThreadedImports & { memory: WebAssembly.Memory },
    })
    this.exports = instance.exports as unknown as RegionExports
    this.enter = this.exports.enter
    this.profiler = profiler
    this.translator = translates ? options.translator!(this) : undefined
    if (profiler) {
      this.enter = profiler.timed('compiled', this.enter)
      profiler.time('lifting', this.selector, 'prepare')
      if (this.translator) profiler.time('emission', this.translator, 'hot')
    }
    this.heat = this.translator?.heat ?? 0
    this.store.onDrop = (block) => this.translator?.dropped(block)
    this.flushJumpCache()
  }

  /**
   * Runs until the remaining budget in the state block is used up or the host wants to return. The state is at an instruction boundary
   * before and after.
   */
  run(): void {
    const { s, host, stats } = this
    const base = s.base
    const { enter } = this
    while (s.remaining > 0) {
      const block = this.findBlock()
      if (block !== 0) {
        stats.entries++
        const reason = enter(base, block)
        if (reason === EXIT_STOP) return
        if (reason === EXIT_LINK) {
          this.fillLink()
          continue
        }
        if (reason === EXIT_HOT) {
          this.translator!.hot(s.get32(OFF_LINK_SITE))
          continue
        }
        if (reason !== EXIT_BUDGET) continue
        if (s.remaining <= 0) return
      }
      stats.steps++
      if (!host.step()) return
    }
  }

  /**
   * Forgets the blocks made from bytes `from` to `to` of 4 KiB of linear memory, and marks the bytes of the page's others in `kept`, one bit each.
   * The block that runs, if it is one of them, ends with its current instruction.
   */
  invalidate(page: number, from: number, to: number, kept: Uint8Array): void {
    if (this.store.hasPage(page)) this.stats.blocksDropped += this.store.drop(page, from, to, kept)
  }

  /** Whether compiled code of this 4 KiB of linear memory may be entered from other pages. */
  spansPages(page: number): boolean {
    return this.translator?.spansPages(page) ?? false
  }

  /** See `Engine.counters`. */
  counters(): Readonly<Record<string, number>> {
    const { blocksLifted, blocksDropped, storeResets, steps, entries } = this.stats
    return {
      'blocks lifted': blocksLifted,
      'blocks dropped': blocksDropped,
      'stores emptied': storeResets,
      'single steps': steps,
      entries: entries,
      'bytes of blocks now': this.store.used,
      ...this.translator?.counters(),
    }
  }

  /** Forgets all blocks. Not while WebAssembly runs: a helper must use {@link invalidate}. */
  invalidateAll(): void {
    this.store.clear()
    this.translator?.cleared()
    this.flushJumpCache()
  }

  /** Forgets where jumps went. Never needed for correctness after a TLB flush: every hit is checked against the instruction TLB. */
  flushJumpCache(): void {
    const from = this.s.base + OFF_JUMP_CACHE
    this.s.u8.fill(0, from, from + (1 << (JUMP_CACHE_BITS + JUMP_CACHE_SHIFT)))
  }

  /** The block at RIP, lifted if need be, noted in the jump cache; 0 when there can be none. */
  private findBlock(): number {
    const place = this.host.fetchPlace()
    if (place < 0) return 0
    const block = this.blockAt(place)
    if (block !== 0) this.noteJump(block)
    return block
  }

  private blockAt(place: number): number {
    const mode = this.s.mode
    return this.store.find(place, mode) || this.liftBlock(place, mode)
  }

  private liftBlock(place: number, mode: number): number {
    const { store, host } = this
    if (store.next + BLOCK_HEADER_SIZE + MAX_BLOCK_RECORDS * UOP_SIZE > store.limit) {
      this.invalidateAll()
      this.stats.storeResets++
    }
    const flat = (mode & MODE_FLAT_CS) !== 0
    const first = store.next + BLOCK_HEADER_SIZE
    const at = flat ? first : first + UOP_SIZE
    const end = Math.min(store.limit, at + (MAX_BLOCK_RECORDS - 1) * UOP_SIZE)
    const records = host.lift(place, at, end)
    if (records === 0) return flat ? this.liftCrossing(place, mode, end) : 0
    const instructions = host.liftedInstructions
    this.selector.prepare(at, records, instructions, mode, place & 4095)
    if (!flat) this.writeEntry(first, instructions, this.enterCs)
    this.stats.blocksLifted++
    return store.add(place, mode, flat ? records : records + 1, instructions, host.liftedBytes, this.heat)
  }

  /** A block of the one instruction at `place`, which goes on in the next page: its first record checks that the page is still where it was. */
  private liftCrossing(place: number, mode: number, end: number): number {
    const { store, host } = this
    const first = store.next + BLOCK_HEADER_SIZE
    const records = host.liftCrossing(place, first + UOP_SIZE, end)
    if (records === 0) return 0
    this.selector.prepare(first + UOP_SIZE, records, 1, mode, place & 4095)
    this.writeEntry(first, 1, this.enterCrossing)
    this.s.i32[(first + UOP_IMM) >> 2] = host.secondPlace
    this.stats.blocksLifted++
    const block = store.add(place, mode, records + 1, 1, host.liftedBytes, this.heat)
    store.addTail(host.secondPlace, host.tailBytes, block)
    return block
  }

  /** Writes a block's first record, which checks something and is part of no instruction. */
  private writeEntry(record: number, instructions: number, handler: number): void {
    const { u8, u16 } = this.s
    u8.fill(0, record, record + UOP_SIZE)
    u16[(record + UOP_OP) >> 1] = UOP.CHECK_REL << 2
    u16[(record + UOP_IP) >> 1] = 0
    u8[record + UOP_INDEX] = instructions
    u16[(record + UOP_HANDLER) >> 1] = handler
  }

  private noteJump(block: number): void {
    const s = this.s
    let low = s.i32[(s.base + OFF_RIP) >> 2]!
    let high = s.i32[(s.base + OFF_RIP + 4) >> 2]!
    if ((s.mode & MODE_FLAT_CS) === 0 && (s.mode & MODE_CODE_MASK) !== MODE_CODE64) {
      low = (low + s.get32(OFF_SEG + SEG_CS * SEG_STRIDE + SEG_BASE)) | 0
      high = 0
    }
    const index = Math.imul(low, JUMP_CACHE_MULTIPLIER) >>> (32 - JUMP_CACHE_BITS)
    const entry = s.base + OFF_JUMP_CACHE + (index << JUMP_CACHE_SHIFT)
    s.i32[entry >> 2] = low
    s.i32[(entry + 4) >> 2] = high
    s.i32[(entry + 8) >> 2] = block
  }

  /** Writes the block at RIP into the link that asked for it. */
  private fillLink(): void {
    const resets = this.stats.storeResets
    const site = this.s.get32(OFF_LINK_SITE)
    const place = this.host.fetchPlace()
    if (place < 0) return
    const block = this.blockAt(place)
    // Making the block may have emptied the store, the link's own block included.
    if (block === 0 || this.stats.storeResets !== resets) return
    this.s.i32[site >> 2] = block
  }
}
