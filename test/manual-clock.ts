import type { Alarm, Clock } from '../src/contracts/clock.js'

class ManualAlarm implements Alarm {
  readonly deadline: number
  readonly order: number
  private readonly clock: ManualClock
  readonly callback: () => void

  constructor(clock: ManualClock, deadline: number, order: number, callback: () => void) {
    this.clock = clock
    this.deadline = deadline
    this.order = order
    this.callback = callback
  }

  cancel(): void {
    this.clock.remove(this)
  }
}

/**
 * A clock that moves only when a test says so. Callbacks run in deadline order, ties in the order of scheduling; while
 * one runs, `now()` is its deadline (or the present, for a deadline in the past).
 */
export class ManualClock implements Clock {
  private time = 0
  private nextOrder = 0
  private alarms: ManualAlarm[] = []
  /** Callbacks that have run so far. */
  fired = 0

  now(): number {
    return this.time
  }

  /** Alarms that are still to come. */
  get scheduled(): number {
    return this.alarms.length
  }

  /** The next deadline, or undefined when nothing is scheduled. */
  get nextDeadline(): number | undefined {
    return this.first()?.deadline
  }

  schedule(at: number, callback: () => void): Alarm {
    const alarm = new ManualAlarm(this, at, this.nextOrder++, callback)
    this.alarms.push(alarm)
    return alarm
  }

  /** Moves time on by `ns` and runs what falls due on the way. */
  advance(ns: number): void {
    this.advanceTo(this.time + ns)
  }

  /** Moves time on to `target` (never back) and runs what falls due on the way. */
  advanceTo(target: number): void {
    for (;;) {
      const alarm = this.first()
      if (alarm === undefined || alarm.deadline > target) break
      this.remove(alarm)
      if (alarm.deadline > this.time) this.time = alarm.deadline
      this.fired++
      alarm.callback()
    }
    if (target > this.time) this.time = target
  }

  /** Used by {@link Alarm.cancel}. */
  remove(alarm: ManualAlarm): void {
    const index = this.alarms.indexOf(alarm)
    if (index >= 0) this.alarms.splice(index, 1)
  }

  private first(): ManualAlarm | undefined {
    let best: ManualAlarm | undefined
    for (const alarm of this.alarms) {
      if (
        best === undefined ||
        alarm.deadline < best.deadline ||
        (alarm.deadline === best.deadline && alarm.order < best.order)
      )
        best = alarm
    }
    return best
  }
}
