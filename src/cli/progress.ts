/** A line on a terminal that shows that a silent guest is at work. */
import { writeSync } from 'node:fs'
import type { Pc } from '../machine/index.js'

/** How long the guest has to be silent, in milliseconds. */
export const SILENCE_MS = 2000
const INTERVAL_MS = 500
/** Slower than this the guest mostly sleeps: nothing to report. */
const BUSY_MIPS = 0.5
const STDERR = 2

/** What the line says: instructions so far, speed, and the guest's own time. */
export function progressText(instructions: number, perSecond: number, virtualNs: number): string {
  const millions = instructions / 1e6
  const count =
    millions < 10_000 ? `${millions.toFixed(0)} million` : `${(millions / 1000).toFixed(1)} thousand million`
  return `[${count} instructions, ${(perSecond / 1e6).toFixed(0)} MIPS, ${(virtualNs / 1e9).toFixed(1)} s of virtual time]`
}

/** Shows the line while the guest is silent, and takes it away before anything else is written. */
export class Progress {
  private readonly pc: Pc
  private readonly timer: NodeJS.Timeout
  private quietSince: number
  private shown = false
  private midLine = false
  private before: { readonly at: number; readonly instructions: number }
  private readonly write: (text: string) => void

  /** `write` puts text on the terminal. */
  constructor(pc: Pc, write: (text: string) => void = (text) => void writeSync(STDERR, text)) {
    this.pc = pc
    this.write = write
    this.quietSince = performance.now()
    this.before = { at: this.quietSince, instructions: pc.instructions }
    this.timer = setInterval(() => this.tick(), INTERVAL_MS)
    this.timer.unref()
  }

  private tick(): void {
    const at = performance.now()
    const { instructions } = this.pc
    const perSecond = ((instructions - this.before.instructions) / (at - this.before.at)) * 1000
    this.before = { at, instructions }
    if (at - this.quietSince < SILENCE_MS || this.midLine) return
    if (perSecond / 1e6 < BUSY_MIPS) this.clear()
    else {
      this.write(`\r\x1b[K${progressText(instructions, perSecond, this.pc.clock.now())}`)
      this.shown = true
    }
  }

  /** Something else is about to be written, which ends with this byte. */
  noteOutput(last: number): void {
    this.clear()
    this.quietSince = performance.now()
    this.midLine = last !== 10 && last !== 13
  }

  private clear(): void {
    if (!this.shown) return
    this.write('\r\x1b[K')
    this.shown = false
  }

  /** Takes the line away for good. */
  close(): void {
    clearInterval(this.timer)
    this.clear()
  }
}
