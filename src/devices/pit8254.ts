import type { IrqLine, PortDevice, PortSize } from '../contracts/bus.js'
import type { Alarm, Clock } from '../contracts/clock.js'
import { VirtkitError } from '../contracts/errors.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import {
  PIT_READ_BACK,
  PIT_READ_BACK_NO_COUNT,
  PIT_READ_BACK_NO_STATUS,
  PitCounter,
  type PitCounterState,
  validateCounterState,
} from './pit-counter.js'

export * from './pit-counter.js'

/** The counters' input clock in Hz: 105/88 MHz, a twelfth of the board's 14.31818 MHz crystal. */
export const PIT_FREQUENCY: number = 105e6 / 88

/** Periodic channel 0 interrupts closer than this many nanoseconds are merged by default. */
export const PIT_MINIMUM_INTERVAL = 10_000

// 88 000 ns are exactly 105 ticks, so times are split there and nothing is lost to rounding.
const SPAN_NS = 88_000
const SPAN_TICKS = 105

/** Whole input clocks since time 0. */
function ticksAt(ns: number): number {
  const spans = Math.floor(ns / SPAN_NS)
  return spans * SPAN_TICKS + Math.floor(((ns - spans * SPAN_NS) * SPAN_TICKS) / SPAN_NS)
}

/** The first whole nanosecond at which {@link ticksAt} gives `ticks`. */
function timeOf(ticks: number): number {
  const spans = Math.floor(ticks / SPAN_TICKS)
  return spans * SPAN_NS + Math.ceil(((ticks - spans * SPAN_TICKS) * SPAN_NS) / SPAN_TICKS)
}

/** What a {@link Pit8254} needs. */
export interface Pit8254Options {
  readonly clock: Clock
  /** Where OUT of counter 0 goes (IRQ 0). */
  readonly irq?: IrqLine
  /** See {@link PIT_MINIMUM_INTERVAL}; in nanoseconds. */
  readonly minimumInterval?: number
}

/** Saved state of a {@link Pit8254}. */
export type Pit8254State = {
  readonly version: 1
  readonly counters: readonly PitCounterState[]
  /** The input clock up to which each counter has been brought. */
  readonly ticks: readonly number[]
  /** The input clock of the scheduled alarm, or −1. */
  readonly alarm: number
}

/**
 * An Intel 8254 programmable interval timer on the PC's 105/88 MHz: counters at offsets 0–2, control word at 3.
 *
 * Nothing happens per input clock: a counter is brought up to the present when someone looks, and an alarm is
 * set only for the next change of OUT 0. A guest that programs counter 0 in mode 2 or 3 with a period below
 * `minimumInterval` (10 µs) gets one rising edge per interval on the IRQ line instead of each one, so that the host is called at
 * most 100 000 times per virtual second; counts, status and `out` stay exact.
 *
 * Saved state holds input clocks counted from the clock's time 0: restore the clock before this.
 *
 * Source: 8254 data sheet.
 */
export class Pit8254 implements PortDevice, Stateful<Pit8254State> {
  private readonly clock: Clock
  private readonly irq: IrqLine | undefined
  private readonly minimumTicks: number
  private readonly counters = [new PitCounter(), new PitCounter(), new PitCounter()] as const
  private readonly ticks: number[]
  private alarm: Alarm | undefined
  private alarmTick = -1
  private irqLevel = false
  private readonly onAlarm = (): void => {
    this.alarm = undefined
    this.alarmTick = -1
    this.changed(0)
  }

  constructor(options: Pit8254Options) {
    const interval = options.minimumInterval ?? PIT_MINIMUM_INTERVAL
    if (!(interval >= 0 && interval < 1e9))
      throw new VirtkitError('bad-argument', `expected a minimum interval in nanoseconds, got ${interval}`)
    this.clock = options.clock
    this.irq = options.irq
    this.minimumTicks = Math.max(1, Math.ceil((interval * SPAN_TICKS) / SPAN_NS))
    const now = ticksAt(this.clock.now())
    this.ticks = [now, now, now]
  }

  /** Level of OUT of counter 0–2. */
  out(counter: number): boolean {
    return this.upToDate(counter).out
  }

  /** Level of GATE of counter 0–2. */
  gate(counter: number): boolean {
    return this.at(counter).gate
  }

  /** Drives GATE of counter 0–2. A PC ties those of 0 and 1 high and leads that of 2 to port 0x61. */
  setGate(counter: number, level: boolean): void {
    this.upToDate(counter).setGate(level)
    this.changed(counter)
  }

  /** The count (1–65536) and mode that a counter was programmed with, for a tone generator or a debugger. */
  programmed(counter: number): { readonly mode: number; readonly count: number } {
    const c = this.at(counter)
    return { mode: c.operatingMode, count: c.count }
  }

  /** Input clocks since the clock's time 0. */
  get inputClocks(): number {
    return ticksAt(this.clock.now())
  }

  readPort(offset: number, _size: PortSize): number {
    offset &= 3
    return offset === 3 ? 0xff : this.upToDate(offset).read()
  }

  writePort(offset: number, _size: PortSize, value: number): void {
    offset &= 3
    value &= 0xff
    if (offset !== 3) {
      this.upToDate(offset).writeCount(value)
      this.changed(offset)
    } else if ((value & PIT_READ_BACK) === PIT_READ_BACK) {
      for (let i = 0; i < 3; i++) {
        if ((value & (2 << i)) === 0) continue
        const counter = this.upToDate(i)
        if ((value & PIT_READ_BACK_NO_COUNT) === 0) counter.latchCount()
        if ((value & PIT_READ_BACK_NO_STATUS) === 0) counter.latchStatus()
      }
    } else {
      this.upToDate(value >> 6).writeControl(value & 0x3f)
      this.changed(value >> 6)
    }
  }

  private at(counter: number): PitCounter {
    const found = this.counters[counter]
    if (found === undefined) throw new VirtkitError('bad-argument', `an 8254 has counters 0 to 2, not ${counter}`)
    return found
  }

  /** The counter with all input clocks up to now taken. */
  private upToDate(n: number): PitCounter {
    const counter = this.at(n)
    const now = ticksAt(this.clock.now())
    const passed = now - this.ticks[n]!
    if (passed <= 0) return counter
    this.ticks[n] = now
    const edge = n === 0 && passed >= counter.nextEdge()
    counter.skip(passed)
    if (edge) {
      // Several edges may have gone by unseen (a coarse or merged alarm): show at least the last two.
      if (counter.out === this.irqLevel) this.drive(!counter.out)
      this.drive(counter.out)
      this.setAlarm()
    }
    return counter
  }

  /** Counter `n` was programmed or its alarm went off. */
  private changed(n: number): void {
    if (n !== 0) return
    const counter = this.upToDate(0)
    this.drive(counter.out)
    this.setAlarm()
  }

  private drive(level: boolean): void {
    if (level === this.irqLevel) return
    this.irqLevel = level
    this.irq?.setLevel(level)
  }

  private setAlarm(): void {
    if (this.irq === undefined) return
    const counter = this.counters[0]
    let wait = counter.nextEdge()
    const period = counter.period
    if (period < this.minimumTicks && counter.steady) {
      const rise = counter.nextRise()
      wait = rise + Math.max(0, Math.ceil((this.minimumTicks - rise) / period)) * period
    }
    this.schedule(wait === Number.POSITIVE_INFINITY ? -1 : this.ticks[0]! + wait)
  }

  private schedule(tick: number): void {
    if (tick === this.alarmTick) return
    this.alarm?.cancel()
    this.alarmTick = tick
    this.alarm = tick < 0 ? undefined : this.clock.schedule(timeOf(tick), this.onAlarm)
  }

  saveState(): Pit8254State {
    return {
      version: 1,
      counters: this.counters.map((counter) => counter.saveState()),
      ticks: [...this.ticks],
      alarm: this.alarmTick,
    }
  }

  /** Throws `bad-state` for state that {@link saveState} cannot have returned. Drives the IRQ line to OUT 0. */
  loadState(state: Pit8254State): void {
    const f = new StateReader('pit8254', state, 1)
    const counters = f.nested('counters')
    if (!Array.isArray(counters) || counters.length !== 3)
      throw new VirtkitError('bad-state', 'pit8254: field counters should be three counters')
    const checked = counters.map(validateCounterState)
    const ticks = f.ints('ticks', 3, 0, Number.MAX_SAFE_INTEGER)
    const alarm = f.int('alarm', -1, Number.MAX_SAFE_INTEGER)
    for (let i = 0; i < 3; i++) {
      this.counters[i]!.loadState(checked[i]!)
      this.ticks[i] = ticks[i]!
    }
    this.irqLevel = this.counters[0].out
    this.irq?.setLevel(this.irqLevel)
    this.alarm?.cancel()
    this.alarm = undefined
    this.alarmTick = -1
    this.schedule(alarm)
  }
}

// Port 0x61. Source: IBM PC/AT Technical Reference, "System Control Port B"; PIIX3 data sheet, "NMI Status and Control".

/** Port of {@link SystemControlB}. */
export const PORT_B = 0x61
/** Read/write: GATE of counter 2. */
export const PORT_B_GATE2 = 0x01
/** Read/write: speaker data. */
export const PORT_B_SPEAKER = 0x02
/** Read/write: system error (parity) check off. */
export const PORT_B_PARITY_OFF = 0x04
/** Read/write: I/O channel check off. */
export const PORT_B_IOCHK_OFF = 0x08
/** Read: turns over with every refresh request. */
export const PORT_B_REFRESH = 0x10
/** Read: OUT of counter 2. */
export const PORT_B_OUT2 = 0x20
/** Read: I/O channel check has raised NMI. */
export const PORT_B_IOCHK = 0x40
/** Read: a system error has raised NMI. */
export const PORT_B_PARITY = 0x80

/** Input clocks between refresh requests: the 15.09 µs of the PC's DRAM. */
const REFRESH_CLOCKS = 18

/** Saved state of a {@link SystemControlB}. */
export type SystemControlBState = { readonly version: 1; readonly control: number; readonly errors: number }

/**
 * System control port B (0x61): GATE and OUT of counter 2, the speaker, the refresh toggle, and the two memory-error
 * NMI sources. Refresh runs by itself every 18 input clocks, as on chip sets, not by counter 1 as on the first PCs.
 */
export class SystemControlB implements PortDevice, Stateful<SystemControlBState> {
  private readonly pit: Pit8254
  private readonly nmi: IrqLine | undefined
  private control = 0
  private errors = 0

  /** `nmi` is raised while {@link reportError} stands and is not switched off. Drives GATE 2 low. */
  constructor(pit: Pit8254, nmi?: IrqLine) {
    this.pit = pit
    this.nmi = nmi
    pit.setGate(2, false)
  }

  readPort(_offset: number, _size: PortSize): number {
    return (
      this.control |
      this.errors |
      (this.pit.out(2) ? PORT_B_OUT2 : 0) |
      (Math.floor(this.pit.inputClocks / REFRESH_CLOCKS) % 2 !== 0 ? PORT_B_REFRESH : 0)
    )
  }

  writePort(_offset: number, _size: PortSize, value: number): void {
    this.control = value & 0x0f
    if ((value & PORT_B_PARITY_OFF) !== 0) this.errors &= ~PORT_B_PARITY
    if ((value & PORT_B_IOCHK_OFF) !== 0) this.errors &= ~PORT_B_IOCHK
    this.pit.setGate(2, (value & PORT_B_GATE2) !== 0)
    this.nmi?.setLevel(this.errors !== 0)
  }

  /** A parity error or an I/O channel check: latched, and an NMI, unless that check is switched off. */
  reportError(kind: 'parity' | 'iochk'): void {
    const off = kind === 'parity' ? PORT_B_PARITY_OFF : PORT_B_IOCHK_OFF
    if ((this.control & off) !== 0) return
    this.errors |= kind === 'parity' ? PORT_B_PARITY : PORT_B_IOCHK
    this.nmi?.setLevel(true)
  }

  /** The level on the loudspeaker now. */
  get speaker(): boolean {
    return (this.control & PORT_B_SPEAKER) !== 0 && this.pit.out(2)
  }

  /** The tone on the loudspeaker in Hz, 0 for silence, for hosts that play it. */
  get tone(): number {
    const on = PORT_B_GATE2 | PORT_B_SPEAKER
    const { mode, count } = this.pit.programmed(2)
    return (this.control & on) === on && (mode === 2 || mode === 3) && count > 1 ? PIT_FREQUENCY / count : 0
  }

  saveState(): SystemControlBState {
    return { version: 1, control: this.control, errors: this.errors }
  }

  /** The gate itself is part of the timer's state. */
  loadState(state: SystemControlBState): void {
    const f = new StateReader('system control port B', state, 1)
    const control = f.int('control', 0, 0x0f)
    const errors = f.int('errors', 0, 0xff)
    if ((errors & 0x3f) !== 0) throw new VirtkitError('bad-state', 'system control port B: errors has undefined bits')
    this.control = control
    this.errors = errors
    this.nmi?.setLevel(errors !== 0)
  }
}
