/**
 * Where a machine's time goes, by a clock of the host: each part's own time, without that of the parts that it calls. Parts are measured by functions
 * that take the place of others when a machine is built; one that is built without a profiler has the plain functions and pays nothing.
 */

/**
 * What time is charged to. `outside`: between runs of the machine. `machine`: the loop of the machine. `dispatch`: the processor's loop, and
 * looking for blocks. `compiled`: compiled code, blocks and regions. `lifting`: decoding blocks and making records of them. `emission`: choosing regions and writing
 * their code. `modules`: the host makes machine code of that, as far as it does so on this thread. `mmu`: TLB misses that compiled code leaves to TypeScript, and
 * all walks of page tables there. `helpers`: instructions that compiled code leaves to a function. `steps`: instructions run one at a time. `events`: interrupts
 * and what else comes between instructions. `devices`: ports, memory-mapped registers, alarms, input and what the host does with output.
 */
export const PROFILE_PARTS = [
  'outside',
  'machine',
  'dispatch',
  'compiled',
  'lifting',
  'emission',
  'modules',
  'mmu',
  'helpers',
  'steps',
  'events',
  'devices',
] as const
/** One of {@link PROFILE_PARTS}. */
export type ProfilePart = (typeof PROFILE_PARTS)[number]

/** What was charged to one part. */
export interface ProfileShare {
  readonly part: ProfilePart
  /** In the clock's unit: milliseconds, where that is `performance.now()`. */
  readonly time: number
  /** How often it was entered. */
  readonly entries: number
}

/** Any function. */
export type Callable = (...args: never[]) => unknown

/** Names of a type's members that are functions. */
export type MethodsOf<T> = { [K in keyof T]-?: T[K] extends Callable ? K : never }[keyof T]

/** Measures. Starts with `outside`, when it is made. */
export class Profiler {
  private readonly clock: () => number
  private readonly times = new Float64Array(PROFILE_PARTS.length)
  private readonly entries = new Float64Array(PROFILE_PARTS.length)
  /** The part that runs, and since when its time has not been charged. */
  private current = 0
  private since: number

  /** `clock` gives a time that never goes back. */
  constructor(clock: () => number) {
    this.clock = clock
    this.since = clock()
  }

  /** `work`, with its time charged to a part. */
  timed<F extends Callable>(part: ProfilePart, work: F): F {
    const number = PROFILE_PARTS.indexOf(part)
    const profiler = this
    return function (this: unknown, ...args: never[]): unknown {
      const before = profiler.switchTo(number)
      profiler.entries[number]!++
      try {
        return work.apply(this, args)
      } finally {
        profiler.switchTo(before)
      }
    } as F
  }

  /** Puts {@link timed} functions in the place of an object's methods. */
  time<T extends object>(part: ProfilePart, object: T, ...methods: readonly MethodsOf<T>[]): void {
    for (const name of methods) object[name] = this.timed(part, object[name] as Callable) as T[typeof name]
  }

  /** What was charged up to now: the times of all parts make up the time since the profiler was made. */
  shares(): ProfileShare[] {
    this.switchTo(this.current)
    return PROFILE_PARTS.map((part, n) => ({ part, time: this.times[n]!, entries: this.entries[n]! }))
  }

  /** Charges the part that ran, and goes on with another. Returns the one that ran. */
  private switchTo(part: number): number {
    const before = this.current
    const now = this.clock()
    this.times[before]! += now - this.since
    this.since = now
    this.current = part
    return before
  }
}
