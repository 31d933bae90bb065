import type { Alarm, Clock } from '../contracts/index.js'

/** The ACPI timer's clock in Hz: a quarter of the board's 14.31818 MHz crystal, 315/88 MHz, nominally 3.579545 MHz. */
export const PM_TIMER_FREQUENCY: number = 315e6 / 88

// 88 000 ns are exactly 315 ticks, so times are split there and nothing is lost to rounding.
const SPAN_NS = 88_000
const SPAN_TICKS = 315

/**
 * The free-running ACPI power-management timer. It counts from the clock's time 0, in 24 or 32 bits; its overflow is the
 * highest bit changing, either way. Nothing happens per tick: reading computes the count, and an alarm exists only
 * while somebody waits for an overflow.
 *
 * Source: ACPI Specification 6.0, "Power Management Timer".
 */
export class AcpiTimer {
  readonly #clock: Clock
  readonly #onOverflow: () => void
  readonly #wrap: number
  /** Changes of the highest bit since time 0 that have been reported. */
  #seen: number
  #alarm: Alarm | undefined

  /** `onOverflow` is called by the alarm of {@link AcpiTimer.watch}. */
  constructor(clock: Clock, bits: 24 | 32, onOverflow: () => void) {
    this.#clock = clock
    this.#onOverflow = onOverflow
    this.#wrap = 2 ** bits
    this.#seen = this.#overflows
  }

  /** The count. */
  get count(): number {
    return this.#ticks % this.#wrap
  }

  /** Whether the highest bit has changed since this was asked last. */
  overflowed(): boolean {
    const overflows = this.#overflows
    const changed = overflows !== this.#seen
    this.#seen = overflows
    return changed
  }

  /** Starts or stops calling back at the next overflow (once). */
  watch(enabled: boolean): void {
    if (!enabled) {
      this.#alarm?.cancel()
      this.#alarm = undefined
      return
    }
    if (this.#alarm !== undefined) return
    const ticks = (this.#overflows + 1) * (this.#wrap / 2)
    const spans = Math.floor(ticks / SPAN_TICKS)
    const at = spans * SPAN_NS + Math.ceil(((ticks - spans * SPAN_TICKS) * SPAN_NS) / SPAN_TICKS)
    this.#alarm = this.#clock.schedule(at, () => {
      this.#alarm = undefined
      this.#onOverflow()
    })
  }

  /** Forgets overflows so far and any alarm: after the clock was set. */
  restart(): void {
    this.watch(false)
    this.#seen = this.#overflows
  }

  get #ticks(): number {
    const now = this.#clock.now()
    const spans = Math.floor(now / SPAN_NS)
    return spans * SPAN_TICKS + Math.floor(((now - spans * SPAN_NS) * SPAN_TICKS) / SPAN_NS)
  }

  get #overflows(): number {
    return Math.floor(this.#ticks / (this.#wrap / 2))
  }
}
