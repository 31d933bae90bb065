/** The threaded engine as an `Engine` of a `Cpu`. */

import type { Engine, EngineFactory, EngineHost } from '../cpu/engine-types.js'
import { MODE_CODE_MASK, MODE_CODE64, MODE_FLAT_CS } from '../cpu/layout.js'
import { UOP_LENGTH, UOP_SIZE } from '../cpu/uops.js'
import { FLAG_RF } from '../isa/flags.js'
import { SEG_CS } from '../isa/instruction.js'
import { ThreadedEngine, type ThreadedHost, type ThreadedStatistics, type Translator } from './threaded.js'

/** Instructions of one block; its records count them in a byte. */
const BLOCK_INSTRUCTIONS = 64
const BUDGET_LIMIT = 0x7fffffff
const CANONICAL_LIMIT = 0x8000_0000_0000
const TWO32 = 4294967296
/** A store below this size is not worth having. */
export const SMALLEST_STORE = 0x80000

/** Fits the engine to a CPU: fetches, lifts, steps, and keeps the instruction count exact. */
export class ThreadedCpuEngine implements Engine, ThreadedHost {
  readonly name: 'threaded' | 'translated'
  liftedInstructions = 0
  liftedBytes = 0
  secondPlace = 0
  tailBytes = 0
  private readonly cpu: EngineHost
  readonly engine: ThreadedEngine
  /** The remaining budget up to which `cpu` knows what was retired. */
  private accounted = 0
  /** Physical address of the last `fetchPlace`. */
  private physical = 0

  /** `translator` makes the engine 'translated'. */
  constructor(cpu: EngineHost, memory: WebAssembly.Memory, translator?: (engine: ThreadedEngine) => Translator) {
    this.name = translator ? 'translated' : 'threaded'
    this.cpu = cpu
    const { profiler } = cpu
    profiler?.time('lifting', this as ThreadedHost, 'lift', 'liftCopy', 'liftCrossing')
    profiler?.time('mmu', this as ThreadedHost, 'fill')
    this.engine = new ThreadedEngine({
      memory,
      state: cpu.s,
      storeOffset: cpu.store.offset,
      storeSize: cpu.store.size,
      host: this,
      ...(profiler && { profiler }),
      ...(translator && { translator }),
    })
    cpu.memory.fetchFiller = this.engine.exports.fetchFiller
  }

  get stats(): ThreadedStatistics {
    return this.engine.stats
  }

  // --- Engine -----------------------------------------------------------------------------------------------------

  run(budget: number): void {
    const s = this.cpu.s
    this.accounted = Math.min(budget, BUDGET_LIMIT)
    s.remaining = this.accounted
    this.cpu.noteTimeline(this.accounted)
    try {
      this.engine.run()
    } finally {
      this.account()
    }
  }

  invalidate(frame: number, from: number, to: number, kept: Uint8Array): void {
    this.engine.invalidate(frame, from, to, kept)
  }

  counters(): Readonly<Record<string, number>> {
    return this.engine.counters()
  }

  /** Jumps check the instruction TLB and the mode themselves. */
  contextChanged(): void {}

  // --- ThreadedHost -------------------------------------------------------------------------------------------------

  private account(): void {
    const left = this.cpu.s.remaining
    this.cpu.retire(this.accounted - left)
    this.accounted = left
  }

  fetchPlace(): number {
    const { cpu } = this
    const s = cpu.s
    // The instruction that comes now clears it; a fault of its fetch saves it as 1 in any case.
    if (s.flagsRest & FLAG_RF) s.flagsRest &= ~FLAG_RF
    let linear = s.rip
    if ((s.mode & MODE_CODE_MASK) === MODE_CODE64) {
      if (linear < -CANONICAL_LIMIT || linear >= CANONICAL_LIMIT) return -1
    } else {
      if (linear > s.segLimit(SEG_CS)) return -1
      linear = (linear + s.segBase(SEG_CS)) >>> 0
    }
    this.physical = cpu.memory.fetchFast(linear)
    // The step that follows raises the page fault.
    if (this.physical < 0) return -1
    const page = cpu.space.readOffset(Math.floor(this.physical / 4096))
    return page < 0 ? -1 : page + (this.physical & 0xfff)
  }

  placeOf(linear: number, user: boolean): number {
    return this.cpu.memory.fetchDirect(linear, user)
  }

  lift(place: number, at: number, end: number): number {
    const { frontend } = this.cpu
    const limit = frontend.liftBlock(this.physical, place, this.cpu.s.mode, at, end, BLOCK_INSTRUCTIONS)
    if (limit < 0) return 0
    this.liftedInstructions = frontend.blockInstructions
    this.liftedBytes = frontend.blockBytes
    return (limit - at) / UOP_SIZE
  }

  liftCopy(place: number, mode: number, at: number, end: number): number {
    const { frontend } = this.cpu
    const limit = frontend.liftCopy(place, mode, at, end, BLOCK_INSTRUCTIONS)
    if (limit < 0) return 0
    this.liftedInstructions = frontend.blockInstructions
    this.liftedBytes = frontend.blockBytes
    return (limit - at) / UOP_SIZE
  }

  liftCrossing(place: number, at: number, end: number): number {
    const { frontend, memory, space, s } = this.cpu
    const linear = Math.floor(s.rip / 4096) * 4096 + 4096
    // Only when the instruction TLB knows the second page: filling it is for the instruction itself to do.
    const second = memory.fetchDirect(linear)
    if (second < 0) return 0
    const physical = memory.translateFetch(linear)
    if (space.readOffset(Math.floor(physical / 4096)) !== second) return 0
    const limit = frontend.liftCrossing(this.physical, place, physical, second, s.mode, at, end)
    if (limit < 0) return 0
    this.liftedInstructions = 1
    this.liftedBytes = frontend.blockBytes
    this.secondPlace = second
    this.tailBytes = frontend.tailBytes
    return (limit - at) / UOP_SIZE
  }

  fill(low: number, high: number, write: boolean, size: number, run: boolean): boolean {
    const { memory, frontend, space, s } = this.cpu
    const linear = high === 0 ? low >>> 0 : high * TWO32 + (low >>> 0)
    try {
      if (memory.fillFast(linear, write)) return true
      if (!write) return false
      const place = memory.watchedPlace(linear)
      if (place < 0) return false
      // Variables beside instructions: the store may pass when it meets none of them.
      if (!run) return !frontend.storeMeetsCode(place, size)
      // A page that held code is filled or copied over, unless it is the one that runs.
      const here = memory.fetchDirect(s.mode & MODE_FLAT_CS ? s.rip : (s.segBase(SEG_CS) + s.rip) >>> 0)
      if (here < 0 || here >>> 12 === place >>> 12 || this.engine.spansPages(place >>> 12)) return false
      space.forgetCode(place >>> 12)
      return memory.fillFast(linear, write)
    } catch {
      // Page tables in a device that throws: the step that follows meets it again, at an instruction boundary.
      return false
    }
  }

  step(): boolean {
    this.account()
    this.cpu.step()
    return this.stepped()
  }

  helper(record: number): boolean {
    const { cpu } = this
    this.account()
    cpu.finish(record, record + UOP_SIZE, cpu.s.u8[record + UOP_LENGTH]!)
    return this.stepped()
  }

  /** The CPU counted one instruction. */
  private stepped(): boolean {
    const { s } = this.cpu
    this.accounted--
    s.remaining = this.accounted
    if (this.cpu.attention) return false
    if (s.flagsRest & FLAG_RF) {
      if (this.accounted <= 0) return false
      // Nothing comes between, and no breakpoint is armed: the next instruction clears it first of all.
      s.flagsRest &= ~FLAG_RF
    }
    return true
  }
}

/** Makes the threaded engine. A CPU without a `WebAssembly.Memory` or a store runs one instruction at a time instead. */
export const threadedEngine: EngineFactory = (host) => {
  if (host.wasmMemory && host.store.size >= SMALLEST_STORE) return new ThreadedCpuEngine(host, host.wasmMemory)
  return singleSteps(host)
}

/** What is left where compiled engines cannot work. */
export function singleSteps(host: EngineHost): Engine {
  return {
    name: 'reference',
    run(budget: number): void {
      do host.step()
      while (--budget > 0 && !host.attention)
    },
    invalidate(): void {},
    contextChanged(): void {},
  }
}
