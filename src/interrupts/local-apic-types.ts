import type { InterruptSource } from '../contracts/bus.js'
import type { Clock } from '../contracts/clock.js'
import type { EventSink } from '../contracts/events.js'
import type { ApicBus } from './apic-bus.js'

/** The processor's side of a local APIC: wires into the core. A local APIC used alone needs none of them. */
export interface LocalApicCore {
  /** `LocalApic.pending` may have changed. */
  interruptChanged?(): void
  /** A non-maskable interrupt arrives (an edge: the core latches it). */
  nmi?(): void
  /** A system-management interrupt arrives (an edge: the core latches it). */
  smi?(): void
  /**
   * An INIT arrives (an edge: the core latches it, and may have to hold it, in SMM for instance). When the core
   * performs the INIT it calls `LocalApic.init()`.
   */
  init?(): void
  /** A start-up IPI arrives; a core that does not wait for one ignores it. It starts at `vector << 12`. */
  startUp?(vector: number): void
  /** IA32_APIC_BASE changed: the window moved, or opened or closed, or the CPUID bit APIC changed. */
  baseChanged?(): void
}

/** The time-stamp counter as the TSC-deadline timer sees it. */
export interface TscSource {
  /** The counter now: unsigned, 64 bits. */
  readTsc(): bigint
  /** The time on the clock at which the counter reaches `value`, if nobody writes it; a time in the past if it has. */
  timeOfTsc(value: bigint): number
}

/** What a {@link LocalApic} is made of. */
export interface LocalApicOptions {
  /** The APIC ID from reset; 0–254, or up to FFFFFFFEh for processors that are only reached in x2APIC mode. */
  readonly id: number
  readonly clock: Clock
  readonly bus: ApicBus
  /** Frequency of the timer's input clock in Hz, before the divider. */
  readonly frequency: number
  /** This processor's IA32_APIC_BASE has the BSP flag after reset. Default false. */
  readonly bootstrap?: boolean
  /** The wires into the core. */
  readonly core?: LocalApicCore
  /** The 8259A (pair) whose INT is wired to LINT0; see `LocalApic.lint0`. */
  readonly external?: InterruptSource
  /** With it the timer has TSC-deadline mode and there is IA32_TSC_DEADLINE. */
  readonly tsc?: TscSource
  /** Whether there is x2APIC mode. Default true. */
  readonly x2apic?: boolean
  /** Whether there is an LVT entry of corrected machine checks. Default false. */
  readonly cmci?: boolean
  /** MAXPHYADDR, 32–52: how many address bits IA32_APIC_BASE has. Default 40. */
  readonly physicalAddressBits?: number
  /** Name in events. Default `lapic` and the ID. */
  readonly name?: string
  readonly events?: EventSink
}

/** Saved state of an {@link ApicTimer}. */
export type ApicTimerState = {
  readonly version: 1
  readonly initial: number
  readonly divide: number
  readonly epoch: number | null
  readonly due: number | null
  readonly deadline: string
}

/** Saved state of a {@link LocalApic}. */
export type LocalApicState = {
  readonly version: 1
  readonly base: number
  readonly id: number
  readonly tpr: number
  readonly ldr: number
  readonly dfr: number
  readonly svr: number
  readonly esr: number
  readonly errors: number
  readonly errorArmed: boolean
  readonly icrLow: number
  readonly icrHigh: number
  readonly isr: readonly number[]
  readonly tmr: readonly number[]
  readonly irr: readonly number[]
  readonly lvt: readonly number[]
  readonly lint0: boolean
  readonly lint1: boolean
  readonly externalLatched: boolean
  readonly timer: ApicTimerState
}
