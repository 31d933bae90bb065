import type { Alarm, Clock, IrqLine, MmioDevice, MmioSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'

/** Where a PC has its event timers. */
export const HPET_BASE = 0xfed00000
/** Bytes of registers. */
export const HPET_SIZE = 0x400
/** Timers of the block. */
export const HPET_TIMERS = 3
/** One count of the main counter, in femtoseconds: 100 MHz. */
export const HPET_PERIOD_FS = 10_000_000

// Registers. Source: IA-PC HPET Specification 1.0a, "Register Definitions".
export const HPET_CAPABILITIES = 0x000
export const HPET_CONFIGURATION = 0x010
export const HPET_INTERRUPT_STATUS = 0x020
export const HPET_COUNTER = 0x0f0
export const HPET_TIMER0 = 0x100
/** Distance between the registers of two timers. */
export const HPET_TIMER_STRIDE = 0x20
/** Offsets from a timer's first register. */
export const HPET_TIMER_CONFIGURATION = 0x00
export const HPET_TIMER_COMPARATOR = 0x08
export const HPET_TIMER_FSB_ROUTE = 0x10

/** Capabilities, low half: revision 1, three timers, 64 bits, legacy replacement, vendor 8086h. */
export const HPET_BLOCK_ID = 0x8086a201

/** Configuration: the counter runs and timers may interrupt. */
export const HPET_ENABLE = 0x1
/** Configuration: timers 0 and 1 take the places of the 8254 and the real-time clock. */
export const HPET_LEGACY_REPLACEMENT = 0x2

/** Timer: level-triggered. */
export const HPET_TN_LEVEL = 0x0002
/** Timer: interrupts are enabled. */
export const HPET_TN_ENABLE = 0x0004
/** Timer: periodic. */
export const HPET_TN_PERIODIC = 0x0008
/** Timer: can be periodic. */
export const HPET_TN_PERIODIC_CAPABLE = 0x0010
/** Timer: has 64 bits. */
export const HPET_TN_64BIT_CAPABLE = 0x0020
/** Timer: the next write to the comparator of a periodic timer sets it, not only the period. Reads 0. */
export const HPET_TN_VALUE_SET = 0x0040
/** Timer: compares 32 bits only. */
export const HPET_TN_32BIT = 0x0100
/** Timer: the interrupt input, from bit 9 on. */
export const HPET_TN_ROUTE_SHIFT = 9

const TN_WRITABLE = HPET_TN_LEVEL | HPET_TN_ENABLE | HPET_TN_PERIODIC | HPET_TN_32BIT
const TN_ROUTE_MASK = 0x1f << HPET_TN_ROUTE_SHIFT
const TN_FIXED = HPET_TN_PERIODIC_CAPABLE | HPET_TN_64BIT_CAPABLE
/** Nanoseconds per count. */
const COUNT_NS = 10
const NEVER = Number.POSITIVE_INFINITY

/** Periodic interrupts closer than this many nanoseconds are merged by default. */
export const HPET_MINIMUM_INTERVAL = 10_000

/** What a {@link Hpet} is connected to. */
export interface HpetOptions {
  readonly clock: Clock
  /**
   * The interrupt inputs 0–31 of the I/O APIC that timers can be routed to, each an input of a wired OR that belongs to
   * this block; the capability registers offer exactly those that are present. A PC with the I440FX offers input 2.
   */
  readonly lines: readonly (IrqLine | undefined)[]
  /** IRQ 0 and IRQ 8 for timers 0 and 1 under legacy replacement; inputs of a wired OR. */
  readonly legacyLines?: readonly [IrqLine, IrqLine]
  /**
   * Legacy replacement was switched: while it is on, the board disconnects the 8254 from IRQ 0 and the real-time clock
   * from IRQ 8 (see `IrqGate`).
   */
  readonly onLegacyReplacement?: (enabled: boolean) => void
  /** See {@link HPET_MINIMUM_INTERVAL}; in nanoseconds. */
  readonly minimumInterval?: number
}

/** Saved state of one timer of an {@link Hpet}. 64-bit numbers are two halves, low one first. */
export interface HpetTimerState {
  readonly configuration: number
  readonly comparator: readonly [number, number]
  readonly period: readonly [number, number]
  /** The count since time 0 at which the comparator matches next; null when that is years away. */
  readonly match: number | null
  /** The count since time 0 of the last interrupt; null before the first. */
  readonly fired: number | null
  readonly owed: boolean
  readonly edge: boolean
}

/** Saved state of an {@link Hpet}. */
export interface HpetState {
  readonly version: 1
  readonly configuration: number
  readonly status: number
  readonly counter: readonly [number, number]
  readonly timers: readonly HpetTimerState[]
}

/** A 64-bit register in halves, so that nothing is allocated when it is used. */
class Halves {
  low = 0
  high = 0

  /** The value, exact below 2^53. */
  get number(): number {
    return this.high * 2 ** 32 + this.low
  }

  copy(other: Halves): void {
    this.low = other.low
    this.high = other.high
  }

  /** Adds an unsigned number below 2^53, modulo 2^64. */
  add(value: number): void {
    const sum = this.low + (value >>> 0)
    this.low = sum >>> 0
    this.high = (this.high + Math.floor(value / 2 ** 32) + (sum > 0xffffffff ? 1 : 0)) >>> 0
  }

  /** Replaces the bits of `mask` in one half. */
  write(high: boolean, value: number, mask: number): void {
    if (high) this.high = ((this.high & ~mask) | (value & mask)) >>> 0
    else this.low = ((this.low & ~mask) | (value & mask)) >>> 0
  }
}

class Timer {
  configuration = TN_FIXED
  readonly comparator = new Halves()
  readonly period = new Halves()
  /** Count since time 0 of the next match; {@link NEVER} when it is out of reach. */
  match: number = NEVER
  /** Count since time 0 of the last interrupt. */
  fired: number = -NEVER
  /** A match has happened whose interrupt is held back by the minimum interval. */
  owed = false
  /** Edge-triggered output is high. */
  edge = false
  /** VAL_SET covered the low half just written, and would cover the high half of the same 64-bit write. */
  setHigh = false
  line: IrqLine | undefined
  level = false
  alarm: Alarm | undefined

  get periodic(): boolean {
    return (this.configuration & HPET_TN_PERIODIC) !== 0
  }

  get narrow(): boolean {
    return (this.configuration & HPET_TN_32BIT) !== 0
  }

  /** Counts from one match to the next. */
  get step(): number {
    const wrap = this.narrow ? 2 ** 32 : NEVER
    if (!this.periodic) return wrap
    const period = this.narrow ? this.period.low : this.period.number
    return period === 0 || period >= 2 ** 52 ? wrap : period
  }
}

/**
 * A block of high-precision event timers: a 64-bit counter at 100 MHz and three timers, all of which can be periodic, compare
 * 32 or 64 bits, trigger edges or levels, and be routed to the inputs that the board offers; timers 0 and 1 can replace the 8254
 * and the real-time clock. Message-signalled (FSB) delivery is not offered.
 *
 * Nothing happens per count: registers are computed when someone looks, and there is an alarm only for an interrupt that is enabled. A match
 * that is more than 2^52 counts (521 days) away is out of reach. An edge holds its line high until the next one or until the
 * timer is programmed, because an 8259A wants to see its request at the acknowledge cycle. A periodic timer interrupts at most once per
 * `minimumInterval` (10 µs), so that a guest cannot occupy the host; counter and comparators stay exact.
 *
 * Writes to the counter while it runs, which the specification leaves undefined, are ignored. Saved state counts from the clock's time
 * 0: restore the clock before this.
 *
 * Source: IA-PC HPET (High Precision Event Timers) Specification 1.0a.
 */
export class Hpet implements MmioDevice, Stateful<HpetState> {
  readonly #clock: Clock
  readonly #lines: readonly (IrqLine | undefined)[]
  readonly #legacyLines: readonly [IrqLine, IrqLine] | undefined
  readonly #onLegacy: ((enabled: boolean) => void) | undefined
  readonly #routes: number
  readonly #minimum: number
  readonly #timers: readonly Timer[] = Array.from({ length: HPET_TIMERS }, () => new Timer())
  readonly #counter = new Halves()
  /** What the counter stood at {@link #start}. */
  readonly #base = new Halves()
  #start = 0
  #configuration = 0
  #status = 0
  #legacy = false

  constructor(options: HpetOptions) {
    const interval = options.minimumInterval ?? HPET_MINIMUM_INTERVAL
    if (!(interval >= 0 && interval < 1e9)) {
      throw new VirtkitError('bad-argument', `expected a minimum interval in nanoseconds, got ${interval}`)
    }
    this.#clock = options.clock
    this.#lines = options.lines
    this.#legacyLines = options.legacyLines
    this.#onLegacy = options.onLegacyReplacement
    this.#minimum = Math.ceil(interval / COUNT_NS)
    let routes = 0
    options.lines.forEach((line, n) => {
      if (line !== undefined && n < 32) routes |= 1 << n
    })
    this.#routes = routes >>> 0
    this.reset()
  }

  /** A reset of the board: the counter stands at 0, nothing is routed. */
  reset(): void {
    this.#configuration = this.#status = 0
    this.#base.low = this.#base.high = 0
    this.#start = this.#now()
    for (const timer of this.#timers) {
      timer.configuration = TN_FIXED
      timer.comparator.low = timer.comparator.high = 0xffffffff
      timer.period.low = timer.period.high = 0
      timer.match = NEVER
      timer.fired = -NEVER
      timer.owed = timer.edge = timer.setHigh = false
    }
    this.#driveAll()
  }

  readMmio(offset: number, size: MmioSize): number {
    const shift = (offset & 3) * 8
    let value = this.#read(offset & ~3) >>> shift
    // An access that crosses a doubleword is none that the block defines; it reads as two.
    if (shift + size * 8 > 32) value |= this.#read((offset & ~3) + 4) << (32 - shift)
    return (size === 4 ? value : value & (2 ** (8 * size) - 1)) >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    const shift = (offset & 3) * 8
    const mask = size === 4 ? 0xffffffff : 2 ** (8 * size) - 1
    this.#write(offset & ~3, (value << shift) >>> 0, (mask << shift) >>> 0)
    if (shift + size * 8 > 32) this.#write((offset & ~3) + 4, value >>> (32 - shift), mask >>> (32 - shift))
  }

  saveState(): HpetState {
    this.#catchUp()
    const counter = this.#readCounter()
    return {
      version: 1,
      configuration: this.#configuration,
      status: this.#status,
      counter: [counter.low, counter.high],
      timers: this.#timers.map((timer) => ({
        configuration: timer.configuration,
        comparator: [timer.comparator.low, timer.comparator.high],
        period: [timer.period.low, timer.period.high],
        match: timer.match === NEVER ? null : timer.match,
        fired: timer.fired === -NEVER ? null : timer.fired,
        owed: timer.owed,
        edge: timer.edge,
      })),
    }
  }

  loadState(state: HpetState): void {
    const reader = new StateReader('HPET', state, 1)
    const configuration = reader.int('configuration', 0, 3)
    const status = reader.int('status', 0, 7)
    const counter = reader.ints('counter', 2, 0, 0xffffffff)
    const saved = reader.nested('timers')
    if (!Array.isArray(saved) || saved.length !== HPET_TIMERS) throw reader.inconsistent('timers', 'a list of three')
    const now = this.#now()
    const timers = saved.map((entry: unknown) => {
      const timer = new StateReader('HPET timer', { ...(entry as object), version: 1 }, 1)
      const match = timer.timeOrNull('match')
      const fired = timer.timeOrNull('fired')
      const fields = {
        configuration: timer.int('configuration', 0, 0xffff),
        comparator: timer.ints('comparator', 2, 0, 0xffffffff),
        period: timer.ints('period', 2, 0, 0xffffffff),
        match: match ?? NEVER,
        fired: fired ?? -NEVER,
        owed: timer.bool('owed'),
        edge: timer.bool('edge'),
      }
      const route = (fields.configuration & TN_ROUTE_MASK) >>> HPET_TN_ROUTE_SHIFT
      const bits = fields.configuration & ~(TN_WRITABLE | HPET_TN_VALUE_SET | TN_ROUTE_MASK)
      if (bits !== TN_FIXED || (route !== 0 && (this.#routes & (1 << route)) === 0)) {
        throw timer.inconsistent('configuration', 'one that this board offers')
      }
      const integers = [fields.match, fields.fired].every((n) => !Number.isFinite(n) || Number.isInteger(n))
      if (!integers || fields.fired > now || fields.match < 0) throw timer.inconsistent('match', 'a count')
      return fields
    })
    this.#configuration = configuration
    this.#status = status
    this.#base.low = counter[0]!
    this.#base.high = counter[1]!
    this.#start = now
    this.#timers.forEach((timer, n) => {
      const from = timers[n]!
      timer.configuration = from.configuration
      timer.comparator.low = from.comparator[0]!
      timer.comparator.high = from.comparator[1]!
      timer.period.low = from.period[0]!
      timer.period.high = from.period[1]!
      timer.match = from.match
      timer.fired = from.fired
      timer.owed = from.owed
      timer.edge = from.edge
      timer.setHigh = false
    })
    this.#driveAll()
  }

  /** Whole counts since the clock's time 0. */
  #now(): number {
    return Math.floor(this.#clock.now() / COUNT_NS)
  }

  get #running(): boolean {
    return (this.#configuration & HPET_ENABLE) !== 0
  }

  #readCounter(): Halves {
    this.#counter.copy(this.#base)
    if (this.#running) this.#counter.add(this.#now() - this.#start)
    return this.#counter
  }

  #read(register: number): number {
    if (register === HPET_COUNTER) return this.#readCounter().low
    if (register === HPET_COUNTER + 4) return this.#readCounter().high
    if (register === HPET_CAPABILITIES) return HPET_BLOCK_ID
    if (register === HPET_CAPABILITIES + 4) return HPET_PERIOD_FS
    if (register === HPET_CONFIGURATION) return this.#configuration
    this.#catchUp()
    if (register === HPET_INTERRUPT_STATUS) return this.#status
    const timer = this.#timers[((register - HPET_TIMER0) / HPET_TIMER_STRIDE) | 0]
    if (register < HPET_TIMER0 || timer === undefined) return 0
    switch (register & (HPET_TIMER_STRIDE - 1)) {
      case HPET_TIMER_CONFIGURATION:
        return timer.configuration & ~HPET_TN_VALUE_SET
      case HPET_TIMER_CONFIGURATION + 4:
        return this.#routes
      case HPET_TIMER_COMPARATOR:
        return timer.comparator.low
      case HPET_TIMER_COMPARATOR + 4:
        return timer.narrow ? 0 : timer.comparator.high
      default:
        return 0
    }
  }

  #write(register: number, value: number, mask: number): void {
    this.#catchUp()
    const index = ((register - HPET_TIMER0) / HPET_TIMER_STRIDE) | 0
    const timer = register < HPET_TIMER0 ? undefined : this.#timers[index]
    for (const other of this.#timers) {
      if (other !== timer || (register & (HPET_TIMER_STRIDE - 1)) !== HPET_TIMER_COMPARATOR + 4) other.setHigh = false
    }
    if (timer !== undefined) this.#writeTimer(timer, index, register & (HPET_TIMER_STRIDE - 1), value, mask)
    else if (register === HPET_CONFIGURATION) this.#configure((this.#configuration & ~mask) | (value & mask & 3))
    else if (register === HPET_INTERRUPT_STATUS) {
      this.#status &= ~(value & mask)
      this.#driveAll()
    } else if ((register === HPET_COUNTER || register === HPET_COUNTER + 4) && !this.#running) {
      this.#base.write(register !== HPET_COUNTER, value, mask)
    }
  }

  #configure(configuration: number): void {
    const changed = this.#configuration ^ configuration
    if ((changed & HPET_ENABLE) !== 0) {
      if (this.#running) this.#base.copy(this.#readCounter())
      this.#start = this.#now()
    }
    this.#configuration = configuration
    if ((changed & HPET_ENABLE) !== 0) {
      for (const timer of this.#timers) {
        timer.edge = timer.owed = false
        this.#aim(timer)
      }
    }
    this.#driveAll()
  }

  #writeTimer(timer: Timer, index: number, register: number, value: number, mask: number): void {
    switch (register) {
      case HPET_TIMER_CONFIGURATION: {
        const written = (timer.configuration & ~mask) | (value & mask)
        let route = (written & TN_ROUTE_MASK) >>> HPET_TN_ROUTE_SHIFT
        // An input that does not exist is not accepted, which is how software finds out.
        if ((this.#routes & (1 << route)) === 0) route = (timer.configuration & TN_ROUTE_MASK) >>> HPET_TN_ROUTE_SHIFT
        const kept = written & (TN_WRITABLE | (mask & HPET_TN_VALUE_SET))
        timer.configuration = TN_FIXED | kept | (route << HPET_TN_ROUTE_SHIFT)
        timer.edge = timer.owed = false
        if (timer.narrow) timer.comparator.high = timer.period.high = 0
        if ((timer.configuration & HPET_TN_LEVEL) === 0) this.#status &= ~(1 << index)
        break
      }
      case HPET_TIMER_COMPARATOR:
      case HPET_TIMER_COMPARATOR + 4: {
        const high = register !== HPET_TIMER_COMPARATOR
        if (high && timer.narrow) return
        const set = (timer.configuration & HPET_TN_VALUE_SET) !== 0 || (high && timer.setHigh)
        if (!timer.periodic || set) timer.comparator.write(high, value, mask)
        timer.period.write(high, value, mask)
        timer.setHigh = set && !high
        timer.configuration &= ~HPET_TN_VALUE_SET
        timer.edge = timer.owed = false
        break
      }
      default:
        return
    }
    this.#aim(timer)
    this.#drive(timer, index)
  }

  /** Computes when a timer's comparator matches next; the present count counts. */
  #aim(timer: Timer): void {
    timer.match = NEVER
    if (!this.#running) return
    const { low, high } = this.#readCounter()
    const { comparator } = timer
    const lowDistance = (comparator.low - low) >>> 0
    if (timer.narrow) {
      timer.match = this.#now() + lowDistance
      return
    }
    const highDistance = (comparator.high - high - (comparator.low < low ? 1 : 0)) >>> 0
    if (highDistance < 2 ** 20) timer.match = this.#now() + highDistance * 2 ** 32 + lowDistance
  }

  /** Brings comparators and interrupts up to the present. */
  #catchUp(): void {
    if (!this.#running) return
    const now = this.#now()
    for (let n = 0; n < HPET_TIMERS; n++) {
      const timer = this.#timers[n]!
      if (timer.match > now && !timer.owed) continue
      if (timer.match <= now) this.#advance(timer, n, now)
      this.#fire(timer, n, now)
    }
  }

  /** The comparator matched, maybe more than once. */
  #advance(timer: Timer, index: number, now: number): void {
    const { step } = timer
    const matches = step === NEVER ? 1 : Math.floor((now - timer.match) / step) + 1
    timer.match = step === NEVER ? NEVER : timer.match + matches * step
    if (timer.periodic && step !== NEVER) {
      timer.comparator.add(matches * step)
      if (timer.narrow) timer.comparator.high = 0
    } else if (timer.periodic && timer.period.number >= 2 ** 52) {
      // A period of years: the comparator moves on, out of reach.
      const { comparator, period } = timer
      const sum = comparator.low + period.low
      comparator.low = sum >>> 0
      comparator.high = (comparator.high + period.high + (sum > 0xffffffff ? 1 : 0)) >>> 0
    }
    if ((timer.configuration & HPET_TN_ENABLE) === 0) return
    if ((timer.configuration & HPET_TN_LEVEL) !== 0) this.#status |= 1 << index
    else timer.owed = true
  }

  /** Lets out an interrupt that is due, unless the last one was only just now. */
  #fire(timer: Timer, index: number, now: number): void {
    if (timer.owed && now >= this.#earliest(timer)) {
      timer.owed = false
      timer.fired = now
      timer.edge = false
      this.#drive(timer, index)
      timer.edge = true
    }
    this.#drive(timer, index)
  }

  /** The count before which a timer may not interrupt again. */
  #earliest(timer: Timer): number {
    return timer.periodic ? timer.fired + this.#minimum : -NEVER
  }

  #driveAll(): void {
    const legacy = (this.#configuration & HPET_LEGACY_REPLACEMENT) !== 0
    if (legacy !== this.#legacy) {
      this.#legacy = legacy
      // Whoever leaves the wire goes first, so that no edge is made up.
      for (let n = 0; n < 2; n++) this.#connect(this.#timers[n]!, undefined)
      this.#onLegacy?.(legacy)
    }
    for (let n = 0; n < HPET_TIMERS; n++) this.#drive(this.#timers[n]!, n)
  }

  #connect(timer: Timer, line: IrqLine | undefined): void {
    if (line === timer.line) return
    if (timer.level) timer.line?.setLevel(false)
    timer.level = false
    timer.line = line
  }

  #drive(timer: Timer, index: number): void {
    const { configuration } = timer
    const replaced = this.#legacy && index < 2
    this.#connect(
      timer,
      replaced ? this.#legacyLines?.[index] : this.#lines[(configuration & TN_ROUTE_MASK) >>> HPET_TN_ROUTE_SHIFT],
    )
    const isLevel = (configuration & HPET_TN_LEVEL) !== 0
    const active = isLevel ? (this.#status & (1 << index)) !== 0 : timer.edge
    const level = active && this.#running && (configuration & HPET_TN_ENABLE) !== 0
    if (level !== timer.level) {
      timer.level = level
      timer.line?.setLevel(level)
    }
    this.#schedule(timer, index)
  }

  #schedule(timer: Timer, index: number): void {
    const enabled = this.#running && (timer.configuration & HPET_TN_ENABLE) !== 0
    // A level that is up already has nothing to add until it is taken down.
    const up = (timer.configuration & HPET_TN_LEVEL) !== 0 && (this.#status & (1 << index)) !== 0
    const due = timer.owed ? -NEVER : timer.match
    const at = enabled && !up && due !== NEVER ? Math.max(due, this.#earliest(timer), 0) * COUNT_NS : NEVER
    if (timer.alarm !== undefined) {
      if (timer.alarm.deadline === at) return
      timer.alarm.cancel()
      timer.alarm = undefined
    }
    if (at === NEVER) return
    timer.alarm = this.#clock.schedule(at, () => {
      timer.alarm = undefined
      this.#catchUp()
      this.#drive(timer, index)
    })
  }
}
