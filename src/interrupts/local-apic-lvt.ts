import type { EventMap } from '../contracts/events.js'
import {
  APIC_ACTION,
  APIC_ACTIVE_LOW,
  APIC_DELIVERY,
  APIC_LEVEL_TRIGGERED,
  APIC_LVT_CMCI,
  APIC_LVT_ERROR,
  APIC_LVT_LINT0,
  APIC_LVT_LINT1,
  APIC_LVT_PERFORMANCE,
  APIC_LVT_THERMAL,
  APIC_LVT_TIMER,
  APIC_MASKED,
  APIC_REMOTE_IRR,
  APIC_TIMER_PERIODIC,
  APIC_TIMER_TSC_DEADLINE,
} from './apic-registers.js'

/** Offsets of the LVT entries in the order in which they are kept and saved. */
const OFFSETS: readonly number[] = [
  APIC_LVT_TIMER,
  APIC_LVT_THERMAL,
  APIC_LVT_PERFORMANCE,
  APIC_LVT_LINT0,
  APIC_LVT_LINT1,
  APIC_LVT_ERROR,
  APIC_LVT_CMCI,
]

/** Number of LVT entries, CMCI's included. */
export const LVT_ENTRIES: number = OFFSETS.length
/** Number of the timer's entry. */
export const LVT_TIMER = 0
/** Number of the thermal sensor's entry. */
export const LVT_THERMAL = 1
/** Number of the performance counters' entry. */
export const LVT_PERFORMANCE = 2
/** Number of LINT0's entry. */
export const LVT_LINT0 = 3
/** Number of LINT1's entry. */
export const LVT_LINT1 = 4
/** Number of the APIC errors' entry. */
export const LVT_ERROR = 5
/** Number of the corrected machine checks' entry. */
export const LVT_CMCI = 6

/** Bits of each entry that software may write; bit 18 of the timer needs TSC-deadline mode. */
const WRITABLE: readonly number[] = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff, 0x107ff]

const DELIVERY_BITS = 0x700

/** Number of the entry at a register offset, or −1. */
export function lvtEntryAt(offset: number): number {
  return OFFSETS.indexOf(offset)
}

/** Bits of an entry that software may write on an APIC with or without TSC-deadline mode. */
export function lvtWritable(entry: number, tscDeadline: boolean): number {
  const bits = WRITABLE[entry]!
  return entry === LVT_TIMER && !tscDeadline ? bits & ~APIC_TIMER_TSC_DEADLINE : bits
}

/** Whether the mode bits of a timer entry name a mode. */
export function timerModeExists(bits: number, tscDeadline: boolean): boolean {
  return (bits & APIC_TIMER_TSC_DEADLINE) === 0 || (tscDeadline && (bits & APIC_TIMER_PERIODIC) === 0)
}

/** What the local vector table asks of the APIC around it. */
export interface LvtSurroundings {
  /** The APIC is enabled in IA32_APIC_BASE. */
  readonly enabled: boolean
  /** Takes a vector into IRR; false when it is refused. */
  receive(vector: number, level: boolean): boolean
  /** Passes SMI, NMI or INIT to the core. */
  signal(deliveryMode: number, vector: number): boolean
  /** What comes through LINT0 as ExtINT may have changed. */
  externalChanged(): void
  /** Emits an `apic` event. */
  emit(action: string, vector?: number, rest?: Partial<EventMap['apic']>): void
}

/**
 * The local vector table: what becomes of the APIC's own sources, and the pins LINT0 and LINT1.
 *
 * SMI, NMI and INIT are edge-triggered, ExtINT is a level; only a fixed LINT0 has both. A source that is masked
 * when its edge comes is lost; a level that is still there when the entry is unmasked counts.
 *
 * Source: Intel SDM Vol. 3A, "Local Vector Table".
 */
export class LocalVectorTable {
  /** The entries, remote IRR of LINT0 included. */
  readonly entries: number[] = OFFSETS.map(() => APIC_MASKED)
  /** LINT0 leads through to INTR: ExtINT mode, or the APIC is disabled. */
  externalOpen = false
  /** Level of the pin LINT0. */
  lint0 = false
  /** Level of the pin LINT1. */
  lint1 = false
  private readonly around: LvtSurroundings

  constructor(around: LvtSurroundings) {
    this.around = around
  }

  /** Takes an entry's writable bits; `masked` forces the mask. */
  write(entry: number, bits: number, masked: boolean): void {
    let value = masked ? bits | APIC_MASKED : bits
    if (entry === LVT_LINT0 && isLevelFixed(value)) value |= this.entries[entry]! & APIC_REMOTE_IRR
    this.entries[entry] = value
    if (entry !== LVT_LINT0) return
    this.updateExternal()
    this.followLint0()
  }

  /** The APIC is disabled by software: masks all entries. */
  maskAll(): void {
    for (let entry = 0; entry < LVT_ENTRIES; entry++) this.entries[entry]! |= APIC_MASKED
    this.updateExternal()
  }

  /** As after reset; the pins keep their levels. */
  reset(): void {
    this.entries.fill(APIC_MASKED)
    this.updateExternal()
  }

  /** A source makes an edge: its entry decides what becomes of it. */
  raise(entry: number): void {
    const bits = this.entries[entry]!
    if ((bits & APIC_MASKED) !== 0) return
    const deliveryMode = (bits & DELIVERY_BITS) >> 8
    const isPin = entry === LVT_LINT0 || entry === LVT_LINT1
    const { around } = this
    around.emit(APIC_ACTION.REQUEST, bits & 0xff, { deliveryMode, ...(isPin ? { pin: entry - LVT_LINT0 } : {}) })
    if (deliveryMode === APIC_DELIVERY.FIXED) around.receive(bits & 0xff, false)
    else if (deliveryMode === APIC_DELIVERY.SMI || deliveryMode === APIC_DELIVERY.NMI) around.signal(deliveryMode, 0)
    // INIT exists for the pins only, and ExtINT is a matter of level.
    else if (deliveryMode === APIC_DELIVERY.INIT && isPin) around.signal(deliveryMode, 0)
  }

  setLint0(level: boolean): void {
    const changed = level !== this.lint0
    this.lint0 = level
    if (this.externalOpen) this.around.externalChanged()
    else if (!changed) return
    else if (isLevelFixed(this.entries[LVT_LINT0]!)) this.followLint0()
    else if (this.isActive(LVT_LINT0, level)) this.raise(LVT_LINT0)
  }

  setLint1(level: boolean): void {
    if (level === this.lint1) return
    this.lint1 = level
    if (!this.around.enabled) {
      if (level) this.around.signal(APIC_DELIVERY.NMI, 0)
      // A level-triggered LINT1 does not exist.
    } else if (this.isActive(LVT_LINT1, level)) this.raise(LVT_LINT1)
  }

  /** A level-triggered vector ended: LINT0 may ask again. */
  end(vector: number): void {
    const bits = this.entries[LVT_LINT0]!
    if ((bits & APIC_REMOTE_IRR) === 0 || (bits & 0xff) !== vector) return
    this.entries[LVT_LINT0] = bits & ~APIC_REMOTE_IRR
    this.followLint0()
  }

  /** Follows the enable bit of IA32_APIC_BASE and LINT0's entry. */
  updateExternal(): void {
    const bits = this.entries[LVT_LINT0]!
    const open = !this.around.enabled || (bits & (APIC_MASKED | DELIVERY_BITS)) === APIC_DELIVERY.EXT_INT << 8
    if (open === this.externalOpen) return
    this.externalOpen = open
    this.around.externalChanged()
  }

  private isActive(entry: number, level: boolean): boolean {
    return level !== ((this.entries[entry]! & APIC_ACTIVE_LOW) !== 0)
  }

  /** A level-triggered fixed LINT0 asks while it is active and its last request has ended. */
  private followLint0(): void {
    const bits = this.entries[LVT_LINT0]!
    const { around } = this
    if (!isLevelFixed(bits) || (bits & (APIC_MASKED | APIC_REMOTE_IRR)) !== 0) return
    if (!around.enabled || !this.isActive(LVT_LINT0, this.lint0)) return
    const vector = bits & 0xff
    around.emit(APIC_ACTION.REQUEST, vector, { deliveryMode: APIC_DELIVERY.FIXED, pin: 0, trigger: 'level' })
    if (around.receive(vector, true)) this.entries[LVT_LINT0] = bits | APIC_REMOTE_IRR
  }
}

/** Whether LINT0's entry makes it a level-triggered request of a vector. */
function isLevelFixed(bits: number): boolean {
  return (bits & (APIC_LEVEL_TRIGGERED | DELIVERY_BITS)) === APIC_LEVEL_TRIGGERED
}
