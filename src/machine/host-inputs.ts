/**
 * The one door through which the host's inputs reach a machine. Each is taken at a definite place of the run: between two instructions, after the
 * alarms that are due have run. So a place is named by the count of retired instructions and the virtual time, and a run that gets the same
 * inputs at the same places is the same run.
 */

import { VirtkitError } from '../contracts/index.js'

/** Something that the host does to a machine. */
export type HostInput =
  | { readonly kind: 'serial'; readonly bytes: Uint8Array }
  | { readonly kind: 'type'; readonly text: string }
  | { readonly kind: 'key'; readonly code: string; readonly down: boolean }
  | { readonly kind: 'mouse-move'; readonly dx: number; readonly dy: number }
  | { readonly kind: 'mouse-button'; readonly button: number; readonly down: boolean }
  | { readonly kind: 'mouse-wheel'; readonly detents: number }
  | { readonly kind: 'network'; readonly port: number; readonly frame: Uint8Array }
  | { readonly kind: 'power-button' }
  | { readonly kind: 'reset' }
  /** Ends the run with reason `aborted`. */
  | { readonly kind: 'stop' }

/** An input and the place where the machine took it. */
export interface TakenInput {
  /** Instructions retired by all processors. */
  readonly instructions: number
  /** Virtual nanoseconds. */
  readonly time: number
  readonly input: HostInput
}

/** What takes inputs inside the machine. */
export interface InputTargets {
  /** Gives the input to its device. Returns how many bytes were accepted, with serial input and network frames; throws when it cannot be an input. */
  apply(input: HostInput): number
  /** How many more bytes the serial line would accept. */
  serialRoom(): number
  /** Instructions retired so far. */
  instructions(): number
  /** Virtual nanoseconds. */
  now(): number
  /** Runs the alarms that are due. */
  settle(): void
  /** Makes the processor come to the next instruction boundary. */
  interrupt(): void
}

/** Takes inputs in order, tells a recorder, and replays recorded ones. */
export class HostInputs {
  /** Called with each input as the machine takes it. */
  onInput: ((taken: TakenInput) => void) | undefined = undefined
  /** Called before an input is taken between turns: whoever lets time pass while the processor sleeps brings the clock up to date. */
  onArrival: (() => void) | undefined = undefined
  /** Whether the machine is inside a turn: inputs then wait for the next instruction boundary. */
  inTurn = false
  private readonly targets: InputTargets
  private waiting: HostInput[] = []
  private waitingSerial = 0
  private script: readonly TakenInput[] = []
  private next = 0

  constructor(targets: InputTargets) {
    this.targets = targets
  }

  /**
   * Gives an input to the machine: at once, or at the next instruction boundary when it comes from a callback of the running machine. Returns
   * how many bytes of serial input were accepted. Throws `busy` while recorded inputs are being replayed, and what the device throws.
   */
  submit(input: HostInput): number {
    if (this.replaying) {
      throw new VirtkitError('busy', 'a journal is being replayed: the machine takes no other input until its end')
    }
    if (!this.inTurn) {
      this.onArrival?.()
      this.targets.settle()
      return this.take(input)
    }
    this.targets.interrupt()
    if (input.kind !== 'serial') {
      this.waiting.push(input)
      return 0
    }
    const room = Math.max(0, this.targets.serialRoom() - this.waitingSerial)
    const bytes = input.bytes.slice(0, room)
    this.waitingSerial += bytes.length
    if (bytes.length > 0) this.waiting.push({ kind: 'serial', bytes })
    return bytes.length
  }

  /** Takes inputs at their recorded places from now on. Throws `bad-state` when the machine is already beyond the first. */
  replay(script: readonly TakenInput[]): void {
    const first = script[0]
    if (first !== undefined && (first.instructions < this.targets.instructions() || first.time < this.targets.now())) {
      throw new VirtkitError('bad-state', 'journal: the machine is already beyond the place of the first input')
    }
    this.script = script
    this.next = 0
  }

  /** Whether recorded inputs are left. */
  get replaying(): boolean {
    return this.next < this.script.length
  }

  /** How many instructions may run before the next recorded input: Infinity when there is none. */
  get distance(): number {
    const next = this.script[this.next]
    return next === undefined ? Number.POSITIVE_INFINITY : next.instructions - this.targets.instructions()
  }

  /** Virtual time of the next recorded input if no instruction comes before it, else Infinity. */
  get timeHere(): number {
    const next = this.script[this.next]
    return next !== undefined && next.instructions === this.targets.instructions()
      ? next.time
      : Number.POSITIVE_INFINITY
  }

  /** Takes what waits and what the script has for this place; to be called between instructions, when no alarm is due. */
  takeDue(): void {
    const { targets } = this
    while (this.waiting.length > 0) {
      const input = this.waiting.shift()!
      if (input.kind === 'serial') this.waitingSerial -= input.bytes.length
      this.take(input)
      targets.settle()
    }
    for (let due = this.script[this.next]; due !== undefined; due = this.script[this.next]) {
      const at = targets.instructions()
      const now = targets.now()
      if (now < due.time && at <= due.instructions) return
      if (at !== due.instructions || now !== due.time) {
        this.diverged(`which this machine passed at instruction ${at}, ${now} ns`)
      }
      this.next++
      this.take(due.input)
      targets.settle()
    }
  }

  /** The machine sleeps for ever, although recorded inputs are left. */
  unreachable(): never {
    this.diverged(`but this machine sleeps for ever after instruction ${this.targets.instructions()}`)
  }

  private diverged(how: string): never {
    const due = this.script[this.next]!
    const message = `input ${this.next + 1} came at instruction ${due.instructions}, ${due.time} ns, ${how}`
    this.script = []
    throw new VirtkitError('bad-state', `journal: this run is not the recorded one: ${message}`)
  }

  /** Brings the machine to the state in which it would take an input: the alarms that are due have run. */
  settle(): void {
    this.targets.settle()
  }

  private take(input: HostInput): number {
    const instructions = this.targets.instructions()
    const time = this.targets.now()
    const accepted = this.targets.apply(input)
    if (input.kind === 'serial') {
      if (accepted > 0)
        this.onInput?.({ instructions, time, input: { ...input, bytes: input.bytes.slice(0, accepted) } })
    } else this.onInput?.({ instructions, time, input })
    return accepted
  }
}
