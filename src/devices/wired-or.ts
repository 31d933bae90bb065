import type { IrqLine } from '../contracts/index.js'

/** One interrupt request that several devices share: asserted while any of its inputs is. */
export class WiredOr {
  readonly #output: IrqLine
  #asserted = 0

  constructor(output: IrqLine) {
    this.#output = output
  }

  /** True while any input is asserted. */
  get level(): boolean {
    return this.#asserted > 0
  }

  /** A new input, deasserted. */
  input(): IrqLine {
    let level = false
    return {
      setLevel: (asserted) => {
        if (asserted === level) return
        level = asserted
        this.#asserted += asserted ? 1 : -1
        if (this.#asserted === (asserted ? 1 : 0)) this.#output.setLevel(asserted)
      },
    }
  }
}
