/**
 * The interrupt wires of a board: every ISA request goes to the 8259As and, where there is one, to the I/O APIC's input of the same number. The timer's request
 * is the exception: it is wired to input 2, whose own request is taken by the cascade of the 8259As.
 */

import type { IrqLine } from '../contracts/index.js'
import { WiredOr } from '../devices/index.js'
import type { IoApic, PicPair } from '../interrupts/index.js'

/** The I/O APIC's input that the timer is wired to. */
export const TIMER_GSI = 2

export class IrqWiring {
  private readonly requests: readonly WiredOr[]
  private readonly timerInput: WiredOr | undefined

  constructor(pic: PicPair, ioApic: IoApic | undefined) {
    this.timerInput = ioApic && new WiredOr(ioApic.line(TIMER_GSI))
    const timer = this.timerInput?.input()
    this.requests = Array.from({ length: 16 }, (_, n) => {
      const toPic = pic.line(n)
      const toApic = n === 0 ? timer : n === TIMER_GSI ? undefined : ioApic?.line(n)
      return new WiredOr({
        setLevel: (level) => {
          toPic.setLevel(level)
          toApic?.setLevel(level)
        },
      })
    })
  }

  /** A new input of ISA request `n`, 0–15. */
  isa(n: number): IrqLine {
    return this.requests[n]!.input()
  }

  /** A new input of the I/O APIC's timer input alone; undefined where there is no I/O APIC. */
  timerGsi(): IrqLine | undefined {
    return this.timerInput?.input()
  }
}
