/**
 * The processors of a machine, which run in turns on one host thread. A turn is a number of instructions, so the interleaving is the same in every
 * run; it ends early when the processor halts or says that it only spins (PAUSE). Virtual time passes with every instruction of every
 * processor: two busy processors each run at half the speed of one.
 */

import { StateReader } from '../contracts/index.js'
import type { Cpu } from '../cpu/index.js'
import { FLAG_IF } from '../isa/index.js'

/** Instructions of one turn, when nothing else is asked for. */
export const DEFAULT_TURN = 5000

/** Whose turn it is, and for how long. */
export interface ProcessorsState {
  readonly version: 1
  readonly current: number
  readonly left: number
}

export class Processors {
  readonly cpus: readonly Cpu[]
  /** Index of the processor whose turn it is. Devices that belong to one processor (its local APIC) look here. */
  current = 0
  private readonly turn: number
  private readonly onSwitch: (cpu: Cpu) => void
  /** Instructions left of the turn. */
  private left: number

  /** `turn`: instructions of one turn, at least 1. `onSwitch` hears whose turn begins when it was another's. */
  constructor(cpus: readonly Cpu[], turn: number, onSwitch: (cpu: Cpu) => void = () => {}) {
    this.cpus = cpus
    this.onSwitch = onSwitch
    this.turn = turn
    this.left = turn
  }

  /** Instructions retired by all. */
  get instructions(): number {
    let sum = 0
    for (const cpu of this.cpus) sum += cpu.instructions
    return sum
  }

  /** Makes the next processor that is awake the current one, if the turn is over. Returns it, or undefined when all are asleep. */
  next(): Cpu | undefined {
    const { cpus } = this
    const count = cpus.length
    if (this.left > 0 && !cpus[this.current]!.asleep) return cpus[this.current]
    for (let n = 1; n <= count; n++) {
      const index = (this.current + n) % count
      const cpu = cpus[index]!
      if (cpu.asleep) continue
      this.left = this.turn
      if (index !== this.current) {
        this.current = index
        this.onSwitch(cpu)
      }
      return cpu
    }
    return undefined
  }

  /** How many of `budget` instructions the current processor may run now. */
  limit(budget: number): number {
    return this.cpus.length === 1 ? budget : Math.min(budget, this.left)
  }

  /** Takes instructions that the current processor ran off its turn. */
  used(instructions: number): void {
    if (this.cpus.length > 1) this.left -= instructions
  }

  /** The current processor only spins: its turn is over, if another is awake. */
  spins(): void {
    const { cpus, current } = this
    let others = false
    for (let n = 0; n < cpus.length; n++) if (n !== current && !cpus[n]!.asleep) others = true
    if (!others) return
    this.left = 0
    this.cpus[this.current]!.requestStop()
  }

  /** Whether an interrupt could still wake one of them: false when all have halted with interrupts off, or wait for a start-up IPI. */
  get wakable(): boolean {
    return this.cpus.some((cpu) => cpu.halted && (cpu.s.flagsRest & FLAG_IF) !== 0)
  }

  /** Ends the run of whichever processor runs. */
  requestStop(): void {
    this.cpus[this.current]!.requestStop()
  }

  saveState(): ProcessorsState {
    return { version: 1, current: this.current, left: this.left }
  }

  /** Takes over whose turn it is; the processors are loaded apart. */
  loadState(state: ProcessorsState): void {
    const r = new StateReader('processors', state, 1)
    const current = r.int('current', 0, this.cpus.length - 1)
    const left = r.int('left', -1000, this.turn)
    this.current = current
    this.left = left
  }
}
