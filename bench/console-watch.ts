/** Reads the console of a guest that boots Linux and runs `bench/workloads`, and notes when what happened. */

/** What a console told. Times are as the clock given to {@link ConsoleWatch} counts. */
export type ConsoleEvent =
  | { readonly kind: 'line'; readonly text: string; readonly time: Moment }
  | { readonly kind: 'prompt'; readonly text: string; readonly time: Moment }
  | { readonly kind: 'begun'; readonly name: string }
  | {
      readonly kind: 'ended'
      readonly name: string
      /** Eight hexadecimal digits. */
      readonly checksum: string
      /** Seconds as the host saw them. */
      readonly host: number
      /** Seconds by the guest's clock. */
      readonly guest: number
      /** Seconds of the contestant's processor time. */
      readonly processor: number
      /** Millions of guest instructions, where the contestant counts them. */
      readonly instructions?: number
    }
  | { readonly kind: 'failed'; readonly name: string; readonly why: string }
  | { readonly kind: 'done' }

/** A point in time. */
export interface Moment {
  /** Elapsed seconds. */
  readonly elapsed: number
  /** Seconds of processor time of the whole contestant, its compiler threads included. */
  readonly processor: number
  /** Guest instructions, where the contestant counts them. */
  readonly instructions?: number
}

const BEGIN = 2
const END = 3
const LINE_FEED = 10
const SPACE = 32
/** Longer lines are not ours. */
const LONGEST = 4096

/** Takes the bytes of a console, one by one. */
export class ConsoleWatch {
  private readonly clock: () => Moment
  private readonly report: (event: ConsoleEvent) => void
  private line = ''
  private begun: Moment | undefined
  private ended: Moment | undefined

  constructor(clock: () => Moment, report: (event: ConsoleEvent) => void) {
    this.clock = clock
    this.report = report
  }

  byte(value: number): void {
    // The two marks come at the moment itself, before their lines are written or after: nothing is parsed in between.
    if (value === BEGIN) {
      this.ended = undefined
      this.begun = this.clock()
    } else if (value === END) this.ended ??= this.clock()
    else if (value === LINE_FEED) this.endLine()
    else if (this.line.length < LONGEST) {
      this.line += String.fromCharCode(value)
      if (value === SPACE && this.line.endsWith('# ')) {
        this.report({ kind: 'prompt', text: this.line, time: this.clock() })
      }
    }
  }

  text(data: Uint8Array): void {
    for (const value of data) this.byte(value)
  }

  private endLine(): void {
    const text = this.line.replace(/\r$/, '')
    this.line = ''
    // A message of the kernel may stand on the same line.
    const ended = /@E (\S+) ([0-9a-f]{8}) (\d+)/.exec(text)
    const failed = /@F (\S+) (\S+)/.exec(text)
    const begun = /@B (\S+)/.exec(text)
    if (ended !== null) this.endWorkload(ended[1]!, ended[2]!, Number(ended[3]) / 1e9)
    else if (failed !== null) this.report({ kind: 'failed', name: failed[1]!, why: `status ${failed[2]}` })
    else if (begun !== null) {
      this.begun = this.ended = undefined
      this.report({ kind: 'begun', name: begun[1]! })
    } else if (/@D\b/.test(text)) this.report({ kind: 'done' })
    else this.report({ kind: 'line', text, time: this.clock() })
  }

  private endWorkload(name: string, checksum: string, guest: number): void {
    const { begun, ended } = this
    this.begun = this.ended = undefined
    if (begun === undefined || ended === undefined) {
      this.report({ kind: 'failed', name, why: 'its marks are missing' })
      return
    }
    this.report({
      kind: 'ended',
      name,
      checksum,
      host: ended.elapsed - begun.elapsed,
      guest,
      processor: ended.processor - begun.processor,
      ...(ended.instructions !== undefined && {
        instructions: (ended.instructions - (begun.instructions ?? 0)) / 1e6,
      }),
    })
  }
}
