import type { IrqLine } from '../contracts/index.js'

/** An interrupt wire with a switch in it: while it is open, the far end sees the wire deasserted. */
export class IrqGate implements IrqLine {
  readonly #output: IrqLine
  #level = false
  #open = false

  /** Closed at first: levels pass to `output`. */
  constructor(output: IrqLine) {
    this.#output = output
  }

  setLevel(asserted: boolean): void {
    this.#level = asserted
    if (!this.#open) this.#output.setLevel(asserted)
  }

  /** Disconnects the wire, or connects it again at its present level. */
  setDisconnected(open: boolean): void {
    if (open === this.#open) return
    this.#open = open
    this.#output.setLevel(this.#level && !open)
  }
}
