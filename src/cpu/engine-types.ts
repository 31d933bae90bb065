/** What the CPU asks of an engine, and what an engine is given. */

import type { AddressSpace } from '../memory/index.js'
import type { CpuCore } from './cpu-types.js'
import type { Frontend } from './frontend.js'
import type { LinearMemory } from './linear-memory.js'
import type { Profiler } from './profiler.js'

/** Where an engine may keep its micro-op records: byte offsets in the machine's linear memory. */
export interface UopStore {
  readonly offset: number
  readonly size: number
}

/** The CPU from an engine's side. */
export interface EngineHost extends CpuCore {
  readonly memory: LinearMemory
  readonly space: AddressSpace
  readonly frontend: Frontend
  /** The `WebAssembly.Memory` around the linear memory, where the machine has one. */
  readonly wasmMemory: WebAssembly.Memory | undefined
  readonly store: UopStore
  /** Where the engine's parts are to be measured. */
  readonly profiler: Profiler | undefined
  /** True while an event, a trap or a stop request waits: the engine must return at the next instruction boundary. */
  readonly attention: boolean
  /** Runs the instruction at `s.rip` on the reference engine, delivers its fault if it raises one, and counts it. */
  step(): void
  /** As {@link step}, for the instruction of `length` bytes at `s.rip` of which the records from `at` to `end` are still to run. */
  finish(at: number, end: number, length: number): void
  /** Writes down what the time-stamp counter is made of, for an engine that is about to run at most `budget` instructions. */
  noteTimeline(budget: number): void
  /** Adds instructions that the engine retired by itself. */
  retire(count: number): void
}

/** Name of the counter of instructions that ran in regions; there is one only while a profiler measures. */
export const COUNTER_IN_REGIONS = 'instructions run in regions'

/** Runs instructions. */
export interface Engine {
  readonly name: 'reference' | 'threaded' | 'translated'
  /** Retires at most `budget` instructions from `s.rip` on and returns at an instruction boundary; sooner when `attention` is set, or whenever it likes after the first one. */
  run(budget: number): void
  /**
   * Bytes `from` to `to` (exclusive) of page `frame` of linear memory (byte offset / 4096) changed: what was made from instructions there is
   * stale. `kept`, one bit per byte of the page and all clear, is where the engine marks the bytes of what it keeps from that page.
   */
  invalidate(frame: number, from: number, to: number, kept: Uint8Array): void
  /** What the engine did since it was made, by name: for people, so names and number may change. */
  counters?(): Readonly<Record<string, number>>
  /** Everything that depends on translation, segment bases or modes must be looked up again. */
  contextChanged(): void
}

/** Makes an engine for a CPU. */
export type EngineFactory = (host: EngineHost) => Engine

/** What executes the micro-ops of a single instruction: the reference engine's core. */
export interface Executor {
  /** Runs the records from `at` to `end` for the instruction at `s.rip`; throws its fault. */
  execute(at: number, end: number): void
  /** The same for the one HELPER record at `at`. */
  helper(at: number): void
}

/** Makes the executor of a CPU. */
export type ExecutorFactory = (cpu: CpuCore) => Executor
