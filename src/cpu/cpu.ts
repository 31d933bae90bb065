/**
 * The processor: registers, memory access, front end and engine put together, and what happens between two instructions: interrupts, traps,
 * halts. Works with any address space, port space and interrupt source; it knows nothing of a board.
 */

import { type EventSink, type InterruptSource, type PortSpace, VirtkitError } from '../contracts/index.js'
import { FLAG_AC, FLAG_IF, FLAG_RF, FLAG_TF, FLAG_VM } from '../isa/flags.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_SS } from '../isa/instruction.js'
import type { AddressSpace } from '../memory/index.js'
import { CR0_AM, CR0_EM, CR0_PE, CR0_TS, CR4_OSFXSR } from '../mmu/index.js'
import { type CpuPlatform, SHADOW_SS } from './cpu-types.js'
import { anyBreakpoint, DR6_BS, instructionBreakpoints, noteDataAccess } from './debug-registers.js'
import { deliverDebug, deliverFault, deliverInterrupt, deliverNmi } from './deliver.js'
import type { Engine, EngineFactory, EngineHost, Executor, ExecutorFactory, UopStore } from './engine-types.js'
import { isThrownFault, VECTOR_PF } from './exceptions.js'
import { FRONTEND_SIZE, Frontend } from './frontend.js'
import {
  CPU_BLOCK_SIZE,
  MODE_CODE16,
  MODE_CODE32,
  MODE_CODE64,
  MODE_FLAT_CS,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  MODE_PROTECTED,
  MODE_SSE,
  MODE_STACK32,
  MODE_USER,
  MODE_X87,
  OFF_DR,
  OFF_INTERRUPT_WAITS,
  TSC_AUX,
  TSC_COUNT,
  TSC_KNOWN,
  TSC_OFFSET,
  TSC_RATE,
  TSC_START,
} from './layout.js'
import { LinearMemory } from './linear-memory.js'
import { type CpuModel, MODELS } from './models.js'
import { MsrFile, readMsr, writeMsr } from './msr.js'
import type { Profiler } from './profiler.js'
import { initState, resetState } from './reset.js'
import { type CpuSavedState, loadTlb, readCpuState, saveMsrs, saveRegisters, saveTlb } from './saved-state.js'
import { enterSmm } from './smm.js'
import { CpuState } from './state.js'
import { UOP_SIZE } from './uops.js'

/** Bytes of linear memory that a CPU needs besides RAM, without a micro-op store for compiled engines. */
export const CPU_MEMORY_SIZE: number = CPU_BLOCK_SIZE + FRONTEND_SIZE

/** What a CPU is built from. */
export interface CpuOptions {
  /** Guest-physical memory. Its buffer must hold, from `offset` on, {@link CPU_MEMORY_SIZE} bytes for the CPU and `storeSize` for the engine. */
  readonly space: AddressSpace
  /** Where the CPU's own bytes start in the buffer: a multiple of 4096. */
  readonly offset: number
  readonly ports: PortSpace
  readonly interrupts: InterruptSource
  /** Makes the core that executes single instructions: `referenceExecutor` of `virtkit/engine`. */
  readonly executor: ExecutorFactory
  /** Makes the engine. Default: one instruction at a time with the executor. */
  readonly engine?: EngineFactory
  /** Bytes for the engine's micro-op store, after the CPU's own. Default 0. */
  readonly storeSize?: number
  readonly wasmMemory?: WebAssembly.Memory
  readonly model?: CpuModel
  readonly platform?: CpuPlatform
  readonly events?: EventSink
  /** TSC ticks per instruction. Default 1. Not used with a platform that has a `timestamp`. */
  readonly tscPerInstruction?: number
  /** The processor that runs after power-on; the others wait for a start-up IPI. Default true. */
  readonly bootstrap?: boolean
  /** Measures where time goes. */
  readonly profiler?: Profiler
}

/** Why `Cpu.run` returned. */
export type CpuStop = 'budget' | 'halted' | 'shutdown' | 'stopped'

/** Counts of what the CPU did. */
export interface CpuStatistics {
  /** Exceptions delivered, by vector. */
  readonly exceptions: Float64Array
  /** External interrupts delivered, by vector. */
  readonly interrupts: Float64Array
  nmis: number
  smis: number
  /** Instructions that ran one at a time on the executor, those included that compiled code left to helpers. */
  stepped: number
  /** Instructions that ran in compiled code. */
  compiled: number
}

/** A processor. See {@link CpuOptions} for its surroundings. */
export class Cpu implements EngineHost {
  readonly s: CpuState
  readonly mem: LinearMemory
  readonly memory: LinearMemory
  readonly space: AddressSpace
  readonly frontend: Frontend
  readonly model: CpuModel
  readonly ports: PortSpace
  readonly interrupts: InterruptSource
  readonly events: EventSink | undefined
  readonly platform: CpuPlatform
  readonly wasmMemory: WebAssembly.Memory | undefined
  readonly store: UopStore
  readonly profiler: Profiler | undefined
  readonly msr: MsrFile = new MsrFile()
  readonly stats: CpuStatistics = {
    exceptions: new Float64Array(32),
    interrupts: new Float64Array(256),
    nmis: 0,
    smis: 0,
    stepped: 0,
    compiled: 0,
  }

  cpl = 0
  nextRip = 0
  halted = false
  shutdown = false
  nmiBlocked = false
  inSmm = false
  smbase = 0x30000
  pendingDebug = 0
  /** See EngineHost. */
  attention = false

  private retired = 0
  private shadow = 0
  /** `retired` where the shadow is over: it covers the boundary after one instruction only. */
  private shadowEnd = -1
  private nmiPending = false
  private smiPending = false
  private initPending = false
  /** INIT of a processor that is not the bootstrap one: nothing but a start-up IPI gets it going. */
  private waitsForStartUp = false
  /** Vector of a start-up IPI that arrived, or -1. */
  private startUp = -1
  private readonly bootstrap: boolean
  private stopRequested = false
  private tscOffset = 0n
  /** The same as a number; NaN where it is not exact. */
  private tscOffsetNumber = 0
  private readonly tscRate: bigint
  private readonly tscRateNumber: number
  private readonly executor: Executor
  private readonly engine: Engine
  /** Engine-visible conditions under which only single steps are right. */
  private stepping = false
  private debugging = false
  // Somebody listens to what compiled code would do inline: then every instruction is stepped.
  private observing = false
  private observingMemory = false

  constructor(options: CpuOptions) {
    const { space, offset } = options
    if (offset % 4096 !== 0)
      throw new VirtkitError('bad-argument', `the CPU's offset ${offset} is not a multiple of 4096`)
    const storeSize = options.storeSize ?? 0
    if (offset + CPU_MEMORY_SIZE + storeSize > space.bytes.length) {
      throw new VirtkitError('bad-range', 'the CPU does not fit the buffer behind its address space')
    }
    this.model = options.model ?? MODELS['x86-64-v2']
    this.space = space
    this.ports = options.ports
    this.interrupts = options.interrupts
    this.platform = options.platform ?? {}
    this.events = options.events
    this.wasmMemory = options.wasmMemory
    this.profiler = options.profiler
    this.tscRateNumber = options.tscPerInstruction ?? 1
    this.tscRate = BigInt(this.tscRateNumber)
    this.bootstrap = options.bootstrap ?? true
    this.s = new CpuState(space.bytes.buffer, offset)
    this.store = { offset: offset + CPU_MEMORY_SIZE, size: storeSize }
    this.mem = this.memory = new LinearMemory(this.s, space, this.model)
    this.frontend = new Frontend(
      this.s,
      this.mem,
      space,
      this.model,
      offset + CPU_BLOCK_SIZE,
      this.platform.spins === undefined,
      (frame, from, to, kept) => this.engine?.invalidate(frame, from, to, kept),
    )
    if (options.profiler) this.profileBy(options.profiler)
    this.executor = options.executor(this)
    this.engine = (options.engine ?? stepEngine)(this)
    space.onMapChange(() => this.engine.contextChanged())
    this.reset()
  }

  /** Measures what is measured on every engine. */
  private profileBy(profiler: Profiler): void {
    profiler.time('dispatch', this as Cpu, 'run')
    profiler.time('steps', this as Cpu, 'step')
    profiler.time('helpers', this as Cpu, 'finish')
    profiler.time('mmu', this.mem.walker, 'walk')
    this.between = profiler.timed('events', this.between)
  }

  // --- outside ---------------------------------------------------------------------------------------------------

  get instructions(): number {
    return this.retired
  }

  /** See `Engine.counters`. */
  get engineCounters(): Readonly<Record<string, number>> {
    return this.engine.counters?.() ?? {}
  }

  get engineName(): string {
    return this.engine.name
  }

  /** A hardware reset: registers and modes as after power-on; memory and the instruction count stay. */
  reset(): void {
    resetState(this)
    this.clearEvents()
    this.waitsForStartUp = !this.bootstrap
    this.mem.configurePaging()
    this.mem.flushAll()
    this.frontend.invalidateAll()
    this.updateMode()
  }

  private clearEvents(): void {
    this.halted = false
    this.shutdown = false
    this.nmiPending = false
    this.smiPending = false
    this.initPending = false
    this.startUp = -1
    this.shadowEnd = -1
    this.pendingDebug = 0
    this.attention = true
  }

  /** A rising edge on NMI. */
  raiseNmi(): void {
    this.nmiPending = true
    this.attention = true
  }

  /** A system-management interrupt. */
  raiseSmi(): void {
    this.smiPending = true
    this.attention = true
  }

  /** INIT: resets the registers, keeps caches, MSRs and FPU. */
  raiseInit(): void {
    this.initPending = true
    this.attention = true
  }

  /** A start-up IPI: gets a processor that waits for one going in real mode at `vector` × 4096; others do not notice. */
  raiseStartUp(vector: number): void {
    if (!this.waitsForStartUp && !this.initPending) return
    this.startUp = vector & 0xff
    this.attention = true
  }

  /** The interrupt controller's INT wire changed: have a look before the next instruction. */
  interruptChanged(): void {
    const { pending } = this.interrupts
    this.s.set32(OFF_INTERRUPT_WAITS, pending ? 1 : 0)
    if (pending) this.attention = true
  }

  /** Makes `run` return at the next instruction boundary. */
  requestStop(): void {
    this.stopRequested = true
    this.attention = true
  }

  interruptEngine(): void {
    this.attention = true
  }

  /** Reads an MSR as RDMSR at privilege level 0 does; undefined where that would fault. */
  readMsr(index: number): bigint | undefined {
    return readMsr(this, index)
  }

  /** Writes an MSR as WRMSR at privilege level 0 does; false where that would fault. */
  writeMsr(index: number, value: bigint): boolean {
    return writeMsr(this, index, value)
  }

  // --- saved state -------------------------------------------------------------------------------------------------

  /** The processor between two instructions, as plain data. Memory is saved by its address space. */
  saveState(): CpuSavedState {
    const { s } = this
    return {
      version: 1,
      model: this.model.name,
      retired: this.retired,
      tscOffset: BigInt.asUintN(64, this.tscOffset).toString(16),
      registers: saveRegisters(s),
      flags: s.flags,
      pdptes: this.mem.walker.pdptes.slice(),
      tlb: saveTlb(s),
      msrs: saveMsrs(this.msr),
      cpl: this.cpl,
      halted: this.halted,
      shutdown: this.shutdown,
      nmiBlocked: this.nmiBlocked,
      inSmm: this.inSmm,
      smbase: this.smbase,
      pendingDebug: this.pendingDebug,
      shadow: this.shadowNow,
      nmiPending: this.nmiPending,
      smiPending: this.smiPending,
      initPending: this.initPending,
      waitsForStartUp: this.waitsForStartUp,
      startUp: this.startUp,
    }
  }

  /** Takes a saved state over; memory must have been loaded before. Throws `bad-state` and changes nothing when it does not fit. */
  loadState(state: CpuSavedState): void {
    const saved = readCpuState(state, this.model.name)
    const { s } = this
    this.mem.flushAll()
    s.u8.set(saved.registers, s.base)
    s.flags = saved.flags
    this.retired = saved.retired
    this.setTscOffset(BigInt(`0x${saved.tscOffset}`))
    this.msr.clear()
    for (const [index, value] of saved.msrs) this.msr.set(index, BigInt(`0x${value}`))
    this.halted = saved.halted
    this.shutdown = saved.shutdown
    this.nmiBlocked = saved.nmiBlocked
    this.smbase = saved.smbase
    this.inSmm = saved.inSmm
    this.pendingDebug = saved.pendingDebug
    this.shadow = saved.shadow
    this.shadowEnd = saved.shadow === 0 ? -1 : saved.retired
    this.nmiPending = saved.nmiPending
    this.smiPending = saved.smiPending
    this.initPending = saved.initPending
    this.waitsForStartUp = saved.waitsForStartUp
    this.startUp = saved.startUp
    this.nextRip = s.rip
    this.frontend.invalidateAll()
    this.mem.configurePaging()
    this.mem.walker.pdptes.set(saved.pdptes)
    loadTlb(s, saved.tlb)
    this.mem.entriesLoaded()
    this.setCpl(saved.cpl)
    this.updateMode()
    this.attention = true
  }

  // --- CpuCore ---------------------------------------------------------------------------------------------------

  /** See CpuCore. */
  setCpl(cpl: number): void {
    this.cpl = cpl
    this.mem.setCpl(cpl)
  }

  setShadow(kind: number): void {
    this.shadow = kind
    // The instruction that casts it is counted after this.
    this.shadowEnd = this.retired + 1
    if (this.interrupts.pending || this.nmiPending || this.smiPending) this.attention = true
  }

  /** The shadow on the instruction that comes next. */
  private get shadowNow(): number {
    return this.retired === this.shadowEnd ? this.shadow : 0
  }

  readTsc(): bigint {
    return BigInt.asUintN(64, this.timestamp() + this.tscOffset)
  }

  /** See CpuCore. */
  readTscNumber(): number {
    const count = this.platform.timestamp ? this.platform.timestamp() : this.retired * this.tscRateNumber
    const sum = count + this.tscOffsetNumber
    return count <= Number.MAX_SAFE_INTEGER && sum >= 0 && sum <= Number.MAX_SAFE_INTEGER ? sum : -1
  }

  /** See CpuCore. */
  writeTsc(value: bigint): void {
    this.setTscOffset(value - this.timestamp())
    this.platform.timestampWritten?.()
  }

  private setTscOffset(value: bigint): void {
    this.tscOffset = value
    const signed = Number(BigInt.asIntN(64, value))
    this.tscOffsetNumber = Number.isSafeInteger(signed) ? signed : Number.NaN
    this.s.setBig(TSC_OFFSET, this.tscOffset)
  }

  /** See EngineHost. */
  noteTimeline(budget: number): void {
    const { s, platform } = this
    const { timeline } = platform
    const start = timeline === undefined ? 0 : timeline.start
    const rate = timeline === undefined ? this.tscRateNumber : timeline.perInstruction
    const count = (timeline === undefined ? this.retired : timeline.elapsed) + budget
    const known = timeline !== undefined || platform.timestamp === undefined
    s.setF64(TSC_START, start)
    s.setF64(TSC_COUNT, count)
    s.setF64(TSC_RATE, rate)
    s.set32(TSC_AUX, this.msr.tscAux)
    s.set32(TSC_KNOWN, known && start + count * rate < Number.MAX_SAFE_INTEGER ? 1 : 0)
  }

  /** What the time-stamp counter counts, before software's offset. */
  private timestamp(): bigint {
    return this.platform.timestamp ? BigInt(this.platform.timestamp()) : BigInt(this.retired) * this.tscRate
  }

  updateMode(): void {
    const s = this.s
    const { flat } = s
    const cs = s.segAttr(SEG_CS)
    const rest = s.flagsRest
    const protectedMode = (s.cr0 & CR0_PE) !== 0 && (rest & FLAG_VM) === 0
    let mode: number
    if (protectedMode && cs & 0x2000 && s.longMode) {
      mode = MODE_CODE64 | MODE_FLAT_CS | MODE_FLAT_DS | MODE_FLAT_ES | MODE_FLAT_SS
    } else {
      mode = cs & 0x4000 ? MODE_CODE32 : MODE_CODE16
      if (s.segAttr(SEG_SS) & 0x4000) mode |= MODE_STACK32
      if (flat[SEG_CS]) mode |= MODE_FLAT_CS
      if (flat[SEG_DS]) mode |= MODE_FLAT_DS
      if (flat[SEG_ES]) mode |= MODE_FLAT_ES
      if (flat[SEG_SS]) mode |= MODE_FLAT_SS
    }
    if (protectedMode) mode |= MODE_PROTECTED
    if (this.cpl === 3) mode |= MODE_USER
    if ((s.cr0 & (CR0_EM | CR0_TS)) === 0) mode |= s.cr4 & CR4_OSFXSR ? MODE_X87 | MODE_SSE : MODE_X87
    s.mode = mode
    s.tagSelect = this.cpl === 3 ? 16 : 0
    this.mem.setCpl(this.cpl)
    const debugging = anyBreakpoint(s.get32(OFF_DR + 7 * 8))
    this.debugging = debugging
    this.mem.watcher = debugging || this.observingMemory ? this : undefined
    this.stepping =
      debugging ||
      this.observing ||
      (rest & FLAG_TF) !== 0 ||
      (this.cpl === 3 && (rest & FLAG_AC) !== 0 && (s.cr0 & CR0_AM) !== 0)
    if (this.stepping) this.attention = true
  }

  /** AccessWatcher: data breakpoints. */
  dataAccess(linear: number, size: number, write: boolean): void {
    if (this.debugging) noteDataAccess(this, linear, size, write)
    if (this.observingMemory) this.events?.emit('memory', { direction: write ? 'write' : 'read', linear, size })
  }

  retire(count: number): void {
    this.retired += count
    this.stats.compiled += count
  }

  // --- execution -------------------------------------------------------------------------------------------------

  /**
   * Runs up to `budget` instructions; each delivery of an event counts as one. Returns early when the processor halts, shuts down or
   * is asked to stop.
   */
  run(budget: number): CpuStop {
    try {
      return this.loop(this.retired + budget)
    } catch (error) {
      // Whatever escapes comes from a device, an interrupt controller or a listener, also while an event is delivered.
      throw this.deviceFailed(error)
    }
  }

  private loop(end: number): CpuStop {
    this.attention = true
    this.observe()
    this.stopRequested = false
    while (this.retired < end) {
      if (this.attention) {
        if (this.between()) {
          if (this.stopRequested) return 'stopped'
          continue
        }
        if (this.stopRequested) return 'stopped'
        if (this.shutdown) return 'shutdown'
        if (this.halted || this.waitsForStartUp) return 'halted'
        if (this.attention) {
          // A shadow, a trap flag or a breakpoint: one instruction, then look again.
          this.step()
          continue
        }
      }
      this.engine.run(end - this.retired)
    }
    return this.shutdown && !this.wakes && !this.initPending ? 'shutdown' : this.asleep ? 'halted' : 'budget'
  }

  /** An SMI or NMI waits that even a processor in shutdown accepts. */
  private get wakes(): boolean {
    return !this.inSmm && (this.smiPending || (this.nmiPending && !this.nmiBlocked))
  }

  /** Halted or waiting for a start-up IPI, and nothing that has already happened will wake the processor: the answer must not depend on where a budget ends. */
  get asleep(): boolean {
    if (this.waitsForStartUp) return this.startUp < 0 && !this.initPending
    if (!this.halted || this.pendingDebug !== 0 || this.initPending) return false
    if (this.wakes) return false
    return (this.s.flagsRest & FLAG_IF) === 0 || !this.interrupts.pending
  }

  /** Looks who listens: to single instructions, memory accesses or the TLB, which only single steps report. */
  private observe(): void {
    const { events } = this
    if (events === undefined) return
    this.observingMemory = events.wants('memory')
    const tlb = events.wants('tlb')
    this.mem.events = tlb ? events : undefined
    const observing = this.observingMemory || tlb || events.wants('instruction')
    if (observing || this.observing) {
      this.observing = observing
      this.updateMode()
    }
  }

  /**
   * What the processor does between two instructions, by priority (Intel SDM Vol. 3A, "Priority Among Concurrent Events"). Returns true if an event was
   * delivered. Leaves `attention` set while the next instruction must be single-stepped.
   */
  private between(): boolean {
    const s = this.s
    this.attention = false
    s.set32(OFF_INTERRUPT_WAITS, this.interrupts.pending ? 1 : 0)
    if (this.initPending) {
      this.initPending = false
      if (this.platform.smmChanged && this.inSmm) this.platform.smmChanged(false)
      const { startUp } = this
      initState(this)
      this.platform.initialised?.()
      this.clearEvents()
      this.startUp = startUp
      this.waitsForStartUp = !this.bootstrap
      this.mem.configurePaging()
      this.updateMode()
      return true
    }
    if (this.waitsForStartUp) {
      if (this.startUp < 0) return false
      s.setSegment(SEG_CS, this.startUp << 8, this.startUp << 12, 0xffff, 0x9b)
      s.rip = this.nextRip = 0
      this.startUp = -1
      this.waitsForStartUp = false
      this.retired++
      this.updateMode()
      this.attention = true
      return true
    }
    if (this.shutdown) {
      // NMI and SMI leave shutdown as well (Intel SDM Vol. 3A, "Interrupt 8—Double Fault Exception").
      if (!this.wakes) return false
      this.shutdown = false
      this.pendingDebug = 0
    }
    const shadow = this.shadowNow
    if (shadow !== SHADOW_SS && this.pendingDebug !== 0) {
      const cause = this.pendingDebug
      this.pendingDebug = 0
      this.delivered(() => deliverDebug(this, cause))
      this.stats.exceptions[1]!++
      return true
    }
    if (this.smiPending && !this.inSmm && shadow !== SHADOW_SS) {
      this.smiPending = false
      this.stats.smis++
      const halted = this.halted
      this.delivered(() => enterSmm(this, halted))
      return true
    }
    if (this.nmiPending && !this.nmiBlocked && !this.inSmm && shadow !== SHADOW_SS) {
      this.nmiPending = false
      this.stats.nmis++
      this.delivered(() => deliverNmi(this))
      return true
    }
    if (s.flagsRest & FLAG_IF && shadow === 0 && this.interrupts.pending) {
      const vector = this.interrupts.acknowledge() & 0xff
      this.stats.interrupts[vector]!++
      this.halted = false
      this.nextRip = s.rip
      const simple = deliverInterrupt(this, vector)
      this.eventDone(simple)
      this.attention = true
      return true
    }
    // What the shadow keeps out comes after one more instruction.
    if (shadow !== 0 && (this.interrupts.pending || this.nmiPending || this.smiPending || this.pendingDebug !== 0))
      this.attention = true
    if (this.stepping) this.attention = true
    return false
  }

  private delivered(action: () => void): void {
    this.halted = false
    this.nextRip = this.s.rip
    action()
    this.eventDone(false)
    this.attention = true
  }

  /** The delivery of an event is an instruction of its own. `simple`: the mode is up to date. */
  private eventDone(simple: boolean): void {
    this.s.rip = this.nextRip
    this.retired++
    if (!simple) this.updateMode()
  }

  /** See EngineHost. */
  step(): void {
    this.stats.stepped++
    if (this.mem.refused) {
      // The engine just met this instruction's page fault.
      this.mem.refused = false
      if (!this.stepping) {
        this.s.cr2 = this.mem.refusedLinear
        this.fault(VECTOR_PF, this.mem.refusedCode)
        return
      }
    }
    try {
      if (this.stepping && this.instructionBreakpoint()) return
      const f = this.frontend
      f.fetch()
      if (this.observing && this.events?.wants('instruction')) {
        this.events.emit('instruction', { ip: this.s.rip, linear: this.s.segBase(SEG_CS) + this.s.rip })
      }
      this.execute(f.recordsAt, f.recordsEnd, f.length, f.isInterrupt)
    } catch (error) {
      if (!isThrownFault(error)) throw error
      this.fault(error.vector, error.errorCode)
    }
  }

  /** See EngineHost. */
  finish(at: number, end: number, length: number): void {
    this.stats.stepped++
    const s = this.s
    this.nextRip = this.advance(s.rip, length)
    try {
      // Engines run whole blocks only while TF and RF are clear, and one helper is what they leave to do.
      if (end - at === UOP_SIZE) this.executor.helper(at)
      else this.executor.execute(at, end)
      s.rip = this.nextRip
      this.retired++
      if (this.pendingDebug !== 0 || this.stepping || this.halted || this.shutdown || this.opensInterrupt)
        this.attention = true
    } catch (error) {
      if (!isThrownFault(error)) throw error
      this.fault(error.vector, error.errorCode)
    }
  }

  private execute(at: number, end: number, length: number, isInterrupt: boolean): void {
    const s = this.s
    const before = s.flagsRest
    this.nextRip = this.advance(s.rip, length)
    if (before & FLAG_RF) s.flagsRest = before & ~FLAG_RF
    this.executor.execute(at, end)
    s.rip = this.nextRip
    this.retired++
    // An instruction that began under TF traps when it is done, unless an event delivery took its place.
    if (before & FLAG_TF && !isInterrupt) this.pendingDebug |= DR6_BS
    if (this.pendingDebug !== 0 || this.stepping || this.halted || this.shutdown) this.attention = true
    else if (this.opensInterrupt) this.attention = true
  }

  private advance(rip: number, length: number): number {
    const next = rip + length
    switch (this.s.mode & 3) {
      case MODE_CODE64:
        return next
      case MODE_CODE32:
        return next >>> 0
      default:
        // Beyond FFFFh the next fetch meets the segment limit, except on the 8086, which wraps.
        return this.model.offsetWraps ? next & 0xffff : next >>> 0
    }
  }

  private instructionBreakpoint(): boolean {
    if (this.s.flagsRest & FLAG_RF) return false
    const hit = instructionBreakpoints(this, this.s.segBase(SEG_CS) + this.s.rip)
    if (hit === 0) return false
    this.nextRip = this.s.rip
    deliverDebug(this, hit, false)
    this.stats.exceptions[1]!++
    this.s.rip = this.nextRip
    this.retired++
    this.updateMode()
    this.attention = true
    return true
  }

  private fault(vector: number, errorCode: number | undefined): void {
    this.stats.exceptions[vector & 31]!++
    if (this.model.divideErrorIsFault || vector !== 0) this.nextRip = this.s.rip
    else this.s.rip = this.nextRip
    const simple = deliverFault(this, vector, errorCode)
    this.eventDone(simple)
    if (!simple || this.stepping || this.pendingDebug !== 0 || this.opensInterrupt) this.attention = true
  }

  /** An interrupt waits that nothing but a shadow keeps out. */
  private get opensInterrupt(): boolean {
    return (this.s.flagsRest & FLAG_IF) !== 0 && this.interrupts.pending
  }

  private deviceFailed(cause: unknown): VirtkitError {
    if (cause instanceof VirtkitError) return cause
    const message = cause instanceof Error ? cause.message : String(cause)
    return new VirtkitError('device-failed', `a device failed: ${message}`, { cause })
  }
}

/** The engine of a CPU that has no other: one instruction at a time. */
const stepEngine: EngineFactory = (host) => ({
  name: 'reference',
  run(budget: number): void {
    do host.step()
    while (--budget > 0 && !host.attention)
  },
  invalidate(): void {},
  contextChanged(): void {},
})
