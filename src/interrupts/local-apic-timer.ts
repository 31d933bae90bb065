import type { Alarm, Clock } from '../contracts/clock.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import { APIC_MASKED, APIC_TIMER_ONE_SHOT, APIC_TIMER_PERIODIC, APIC_TIMER_TSC_DEADLINE } from './apic-registers.js'
import type { ApicTimerState, TscSource } from './local-apic-types.js'

/** What {@link ApicTimer} is made of. */
export interface ApicTimerOptions {
  readonly clock: Clock
  /** Frequency of the input clock in Hz. */
  readonly frequency: number
  /** Needed for TSC-deadline mode. */
  readonly tsc?: TscSource
  /** The count reached zero, or the TSC its deadline, while the LVT entry was not masked. */
  readonly expired: () => void
}

/** The two mode bits of the LVT timer entry. */
const MODE_BITS = APIC_TIMER_PERIODIC | APIC_TIMER_TSC_DEADLINE

/** Bits of the divide configuration register that exist. */
export const APIC_DIVIDE_BITS = 0x0b

/** The divisor that a divide configuration selects: 1, 2, 4 … 128. */
export function apicDivisor(divide: number): number {
  return 1 << ((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7)
}

/**
 * The timer of a local APIC. Nothing is counted: the current count follows from the time at which counting started,
 * and the next expiry is an alarm on the clock, only while an interrupt can come of it.
 *
 * - Counting starts with the write of the initial count, also if it was counting before; writing 0 stops.
 * - In periodic mode the count is reloaded as it reaches zero, so a period has exactly `initial` divided clocks and the
 *   count never reads 0.
 * - A change between one-shot and periodic leaves the count running, and what the mode is when the count reaches zero
 *   decides; a change to or from TSC-deadline mode disarms. (The manual says that any change disarms; processors were
 *   observed not to, and operating systems have been written for them.)
 * - A new divisor acts at once on the count that is left.
 * - An expiry while masked is lost.
 *
 * Source: Intel SDM Vol. 3A, "APIC Timer", "TSC-Deadline Mode".
 */
export class ApicTimer implements Stateful<ApicTimerState> {
  private readonly clock: Clock
  private readonly tsc: TscSource | undefined
  private readonly expired: () => void
  /** Nanoseconds of an input clock. */
  private readonly nsPerClock: number
  /** Mode bits of the LVT entry; the reserved fourth mode never expires. */
  private mode = APIC_TIMER_ONE_SHOT
  private masked = true
  private divideBits = 0
  private initialCount = 0
  /** Time at which the count was `initialCount`, or undefined while nothing counts. */
  private epoch: number | undefined
  /** IA32_TSC_DEADLINE; 0 is disarmed. */
  private tscDeadline = 0n
  private alarm: Alarm | undefined

  constructor(options: ApicTimerOptions) {
    this.clock = options.clock
    this.tsc = options.tsc
    this.expired = options.expired
    this.nsPerClock = 1e9 / options.frequency
  }

  /**
   * Takes an expiry that is due and whose alarm has only not run yet: what is written now must not undo it. To be called
   * before the LVT timer entry changes.
   */
  catchUp(): void {
    if (this.alarm === undefined || this.alarm.deadline > this.clock.now()) return
    this.alarm.cancel()
    this.onAlarm()
  }

  /** Takes mode and mask from the LVT timer entry. */
  configure(lvt: number): void {
    const mode = lvt & MODE_BITS
    const masked = (lvt & APIC_MASKED) !== 0
    if (mode === this.mode && masked === this.masked) return
    this.settle(this.clock.now())
    this.settleTsc()
    if (mode !== this.mode && (mode === APIC_TIMER_TSC_DEADLINE || this.mode === APIC_TIMER_TSC_DEADLINE)) {
      this.epoch = undefined
      this.initialCount = 0
      this.tscDeadline = 0n
    }
    this.mode = mode
    this.masked = masked
    this.follow()
  }

  /** Initial count: 32 bits. */
  get initial(): number {
    return this.initialCount
  }

  set initial(count: number) {
    if (this.mode === APIC_TIMER_TSC_DEADLINE) return
    this.catchUp()
    this.initialCount = count
    this.epoch = count === 0 ? undefined : this.clock.now()
    this.follow()
  }

  /** Current count. 0 in TSC-deadline mode and after a single shot. */
  get current(): number {
    return this.countAt(this.clock.now())
  }

  /** Divide configuration register: bits 3, 1 and 0. */
  get divide(): number {
    return this.divideBits
  }

  set divide(value: number) {
    const bits = value & APIC_DIVIDE_BITS
    if (bits === this.divideBits) return
    this.catchUp()
    const now = this.clock.now()
    this.settle(now)
    const left = this.countAt(now)
    this.divideBits = bits
    if (this.epoch !== undefined) this.epoch = now - (this.initialCount - left) * this.tick
    this.follow()
  }

  /** IA32_TSC_DEADLINE: 0 while disarmed and in the other modes. */
  get deadline(): bigint {
    this.settleTsc()
    return this.tscDeadline
  }

  set deadline(value: bigint) {
    if (this.mode !== APIC_TIMER_TSC_DEADLINE || this.tsc === undefined) return
    this.catchUp()
    this.tscDeadline = value
    this.follow()
  }

  /** The TSC was written, or its rate changed: the deadline is at another time now. */
  tscChanged(): void {
    if (this.mode !== APIC_TIMER_TSC_DEADLINE) return
    this.follow()
  }

  /** As after reset: stopped, one-shot, masked. */
  reset(): void {
    this.mode = APIC_TIMER_ONE_SHOT
    this.masked = true
    this.divideBits = 0
    this.initialCount = 0
    this.epoch = undefined
    this.tscDeadline = 0n
    this.disarm()
  }

  saveState(): ApicTimerState {
    return {
      version: 1,
      initial: this.initialCount,
      divide: this.divideBits,
      epoch: this.epoch ?? null,
      due: this.alarm?.deadline ?? null,
      deadline: this.tscDeadline.toString(16),
    }
  }

  /** Mode and mask belong to the LVT entry: {@link restore} takes them with the state. */
  loadState(state: ApicTimerState): void {
    this.restore(validateApicTimerState(state), this.mode | (this.masked ? APIC_MASKED : 0))
  }

  /** Takes a state over that was checked, with the LVT timer entry that belongs to it. */
  restore(state: ApicTimerState, lvt: number): void {
    this.mode = lvt & MODE_BITS
    this.masked = (lvt & APIC_MASKED) !== 0
    this.initialCount = state.initial
    this.divideBits = state.divide
    this.epoch = state.epoch ?? undefined
    this.tscDeadline = BigInt(`0x${state.deadline}`)
    this.disarm()
    if (state.due !== null && !this.masked) this.schedule(state.due)
  }

  /** Nanoseconds of a divided clock. */
  private get tick(): number {
    return apicDivisor(this.divideBits) * this.nsPerClock
  }

  /** Whole periods since the epoch, by the same products that alarms are set with. */
  private periodsAt(now: number, epoch: number): number {
    const period = this.initialCount * this.tick
    let periods = Math.max(0, Math.floor((now - epoch) / period))
    if (epoch + (periods + 1) * period <= now) periods++
    else if (periods > 0 && epoch + periods * period > now) periods--
    return periods
  }

  private countAt(now: number): number {
    const { epoch, initialCount, tick } = this
    if (epoch === undefined) return 0
    const periods = this.periodsAt(now, epoch)
    if (periods > 0 && this.mode !== APIC_TIMER_PERIODIC) return 0
    const ticks = Math.floor((now - (epoch + periods * (initialCount * tick))) / tick)
    return initialCount - Math.min(Math.max(ticks, 0), initialCount - 1)
  }

  /** Lets a single shot that is over be over, and a periodic count start at its last reload. */
  private settle(now: number): void {
    if (this.epoch === undefined) return
    const periods = this.periodsAt(now, this.epoch)
    if (periods === 0) return
    if (this.mode === APIC_TIMER_PERIODIC) this.epoch += periods * (this.initialCount * this.tick)
    else this.epoch = undefined
  }

  /** A deadline that passed while masked disarmed without an interrupt. */
  private settleTsc(): void {
    if (this.masked && this.tscDeadline !== 0n && this.tsc !== undefined && this.tsc.readTsc() >= this.tscDeadline) {
      this.tscDeadline = 0n
    }
  }

  private disarm(): void {
    this.alarm?.cancel()
    this.alarm = undefined
  }

  /** Sets the alarm for the next expiry. */
  private follow(): void {
    this.disarm()
    if (this.masked) return
    if (this.mode === APIC_TIMER_TSC_DEADLINE) {
      if (this.tscDeadline !== 0n && this.tsc !== undefined) this.schedule(this.tsc.timeOfTsc(this.tscDeadline))
    } else if (this.epoch !== undefined && this.mode <= APIC_TIMER_PERIODIC) {
      const now = this.clock.now()
      const period = this.initialCount * this.tick
      const next = this.epoch + (this.periodsAt(now, this.epoch) + 1) * period
      // Where a period is less than what the clock can tell apart, an alarm at `now` would never let time pass.
      this.schedule(next > now ? next : now + Math.max(period, 1))
    }
  }

  private schedule(at: number): void {
    if (!Number.isFinite(at)) return
    this.alarm = this.clock.schedule(at, this.onAlarm)
  }

  private readonly onAlarm = (): void => {
    this.alarm = undefined
    if (this.mode === APIC_TIMER_TSC_DEADLINE) {
      if (this.tsc !== undefined && this.tsc.readTsc() < this.tscDeadline) {
        // The time was rounded down, or somebody set the counter back.
        const at = this.tsc.timeOfTsc(this.tscDeadline)
        if (at > this.clock.now()) {
          this.schedule(at)
          return
        }
      }
      this.tscDeadline = 0n
    } else if (this.mode === APIC_TIMER_ONE_SHOT) {
      this.epoch = undefined
    } else {
      // Periods that an alarm came too late for are one interrupt: IRR has one bit.
      this.follow()
    }
    this.expired()
  }
}

/** Checks a saved timer. */
export function validateApicTimerState(state: unknown): ApicTimerState {
  const fields = new StateReader('apic-timer', state, 1)
  const initial = fields.int('initial', 0, 0xffffffff)
  const divide = fields.int('divide', 0, APIC_DIVIDE_BITS)
  if ((divide & ~APIC_DIVIDE_BITS) !== 0) throw fields.inconsistent('divide', 'a divide configuration')
  const epoch = fields.timeOrNull('epoch')
  if (epoch !== null && initial === 0) throw fields.inconsistent('epoch', 'null while the initial count is 0')
  if (epoch !== null && Math.abs(epoch) > Number.MAX_SAFE_INTEGER) throw fields.inconsistent('epoch', 'a time')
  const deadline = fields.text('deadline', 16)
  if (!/^(0|[1-9a-f][0-9a-f]*)$/.test(deadline)) throw fields.inconsistent('deadline', 'a hexadecimal number')
  return { version: 1, initial, divide, epoch, due: fields.timeOrNull('due'), deadline }
}
