/** A handle to a scheduled callback. */
export interface Alarm {
  /** Absolute time in nanoseconds at which the callback is due. */
  readonly deadline: number
  /** Takes the callback off the clock. Cancelling twice, or after it has run, does nothing. */
  cancel(): void
}

/** Virtual time. Callbacks due at the same time run in the order in which they were scheduled. */
export interface Clock {
  /** Nanoseconds since power-on: an exact, never decreasing double; it may have a fractional part. */
  now(): number
  /** Runs `callback` once, as soon as `now() >= at`. A time in the past means as soon as possible. */
  schedule(at: number, callback: () => void): Alarm
}
