/**
 * Virtual time: a fixed number of nanoseconds per retired instruction, plus what was skipped while the processor was halted. Nothing here looks at
 * the host's clock, so the same inputs give the same run.
 */

import { type Alarm, type Clock, VirtkitError } from '../contracts/index.js'

class QueuedAlarm implements Alarm {
  readonly deadline: number
  /** Who asked, for equal deadlines. */
  readonly rank: number
  /** Scheduling order, for equal ranks. */
  readonly order: number
  /** Undefined once it ran or was cancelled. */
  callback: (() => void) | undefined

  constructor(deadline: number, rank: number, order: number, callback: () => void) {
    this.deadline = deadline
    this.rank = rank
    this.order = order
    this.callback = callback
  }

  cancel(): void {
    this.callback = undefined
  }
}

/** Saved state: alarms belong to their devices, which schedule them again. */
export interface VirtualClockState {
  readonly version: 1
  /** The time, in nanoseconds, at which time last jumped. */
  readonly base: number
  /** Instructions since then. */
  readonly instructions: number
}

export class VirtualClock implements Clock {
  /** Nanoseconds per instruction. */
  readonly nsPerInstruction: number
  /** Called when an alarm is scheduled, with its deadline: whoever runs the CPU may have to stop earlier than planned. */
  onSchedule: ((deadline: number) => void) | undefined = undefined
  private readonly instructions: () => number
  private baseTime = 0
  private baseInstructions: number
  private order = 0
  /** A binary heap by (deadline, order). */
  private readonly heap: QueuedAlarm[] = []

  /** `instructions` tells how many instructions have retired so far; it must never decrease. */
  constructor(options: { nsPerInstruction: number; instructions: () => number }) {
    if (!(options.nsPerInstruction > 0)) throw new VirtkitError('bad-argument', 'nsPerInstruction must be positive')
    this.nsPerInstruction = options.nsPerInstruction
    this.instructions = options.instructions
    this.baseInstructions = options.instructions()
  }

  now(): number {
    return this.baseTime + this.elapsed * this.nsPerInstruction
  }

  /** When time last jumped; the time is this plus {@link elapsed} times {@link perInstruction}. */
  get start(): number {
    return this.baseTime
  }

  /** Instructions since {@link start}. */
  get elapsed(): number {
    return this.instructions() - this.baseInstructions
  }

  /** See {@link nsPerInstruction}. */
  get perInstruction(): number {
    return this.nsPerInstruction
  }

  schedule(at: number, callback: () => void): Alarm {
    return this.scheduleRanked(at, 0, callback)
  }

  /**
   * The same clock for one device of a machine: of alarms that are due at the same time, those of a lower rank run first. That makes the
   * order a property of the machine, so that it is the same after a saved state was loaded.
   */
  ranked(rank: number): Clock {
    return {
      now: () => this.now(),
      schedule: (at, callback) => this.scheduleRanked(at, rank, callback),
    }
  }

  private scheduleRanked(at: number, rank: number, callback: () => void): Alarm {
    if (Number.isNaN(at)) throw new VirtkitError('bad-argument', 'an alarm needs a time')
    const alarm = new QueuedAlarm(at, rank, this.order++, callback)
    this.push(alarm)
    this.onSchedule?.(at)
    return alarm
  }

  /** Deadline of the next alarm, or Infinity. */
  get nextDeadline(): number {
    this.dropCancelled()
    return this.heap[0]?.deadline ?? Number.POSITIVE_INFINITY
  }

  /** How many instructions may run before the next alarm is due: 0 if it is due now. */
  get instructionsToDeadline(): number {
    const wait = this.nextDeadline - this.now()
    return wait <= 0 ? 0 : Math.ceil(wait / this.nsPerInstruction)
  }

  /** Runs what is due, in order; at most `limit` callbacks, so that a device that always asks again cannot hold the host. Returns how many ran. */
  runDue(limit = 1000): number {
    let count = 0
    while (count < limit) {
      this.dropCancelled()
      const first = this.heap[0]
      if (first === undefined || first.deadline > this.now()) break
      this.pop()
      const callback = first.callback
      first.callback = undefined
      count++
      callback?.()
    }
    return count
  }

  /** Lets time pass while the processor is halted: to `time`, if that is later than now. */
  skipTo(time: number): void {
    const now = this.now()
    if (time > now) {
      this.baseTime = time
      this.baseInstructions = this.instructions()
    }
  }

  /** The time; alarms belong to their devices. */
  saveState(): VirtualClockState {
    return { version: 1, base: this.baseTime, instructions: this.instructions() - this.baseInstructions }
  }

  /** Sets the time and forgets all alarms: devices load their state afterwards, and schedule theirs again. */
  loadState(state: VirtualClockState): void {
    if (
      state.version !== 1 ||
      !(state.base >= 0) ||
      !(Number.isSafeInteger(state.instructions) && state.instructions >= 0)
    )
      throw new VirtkitError('bad-state', 'not the state of a virtual clock')
    this.heap.length = 0
    this.baseTime = state.base
    this.baseInstructions = this.instructions() - state.instructions
  }

  private dropCancelled(): void {
    while (this.heap.length > 0 && this.heap[0]!.callback === undefined) this.pop()
  }

  private push(alarm: QueuedAlarm): void {
    const heap = this.heap
    // Cancelled alarms deep in the heap would pile up under a device that reschedules often.
    if (heap.length > 1024) this.compact()
    let i = heap.length
    heap.push(alarm)
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (before(heap[parent]!, alarm)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = alarm
  }

  private compact(): void {
    const live = this.heap.filter((alarm) => alarm.callback !== undefined)
    live.sort((a, b) => a.deadline - b.deadline || a.rank - b.rank || a.order - b.order)
    this.heap.length = 0
    this.heap.push(...live)
  }

  private pop(): void {
    const heap = this.heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (before(last, heap[child]!)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
  }
}

function before(a: QueuedAlarm, b: QueuedAlarm): boolean {
  if (a.deadline !== b.deadline) return a.deadline < b.deadline
  return a.rank !== b.rank ? a.rank < b.rank : a.order < b.order
}
