import type { IrqLine, PortDevice } from '../contracts/index.js'
import { StateReader } from '../contracts/index.js'

/** Port whose writes acknowledge a coprocessor error. */
export const COPROCESSOR_PORT = 0xf0

/** Saved state of a {@link CoprocessorError}. */
export interface CoprocessorErrorState {
  readonly version: 1
  readonly ferr: boolean
  readonly requested: boolean
  readonly ignne: boolean
}

/**
 * The logic of a PC around the processor's pins FERR# and IGNNE#: an x87 error, reported outside the processor when CR0.NE is clear, requests IRQ 13.
 * A write of any value to port F0h takes the request back and asserts IGNNE#, under which the processor goes on in spite of the error, until the
 * error is gone.
 *
 * Source: Intel SDM Vol. 1, Appendix D, "Guidelines for Writing x87 FPU Exception Handlers".
 */
export class CoprocessorError implements PortDevice {
  private readonly irq: IrqLine
  private asserted = false
  private requested = false
  private ignored = false

  /** `irq`: IRQ 13. */
  constructor(irq: IrqLine) {
    this.irq = irq
  }

  /** The pin FERR#. */
  setFerr(asserted: boolean): void {
    if (asserted && !this.asserted && !this.ignored) {
      this.requested = true
      this.irq.setLevel(true)
    }
    this.asserted = asserted
    if (!asserted) this.ignored = false
  }

  /** The pin IGNNE#. */
  get ignne(): boolean {
    return this.ignored
  }

  /** Nothing drives the bus. */
  readPort(): number {
    return 0xff
  }

  writePort(offset: number): void {
    if (offset !== 0) return
    this.requested = false
    this.irq.setLevel(false)
    if (this.asserted) this.ignored = true
  }

  /** No error, and no request. */
  reset(): void {
    this.asserted = false
    this.requested = false
    this.ignored = false
    this.irq.setLevel(false)
  }

  /** The latches. */
  saveState(): CoprocessorErrorState {
    return { version: 1, ferr: this.asserted, requested: this.requested, ignne: this.ignored }
  }

  /** Takes a saved state over. */
  loadState(state: CoprocessorErrorState): void {
    const r = new StateReader('coprocessor error', state, 1)
    const asserted = r.bool('ferr')
    const requested = r.bool('requested')
    const ignored = r.bool('ignne')
    if (ignored && !asserted) throw r.inconsistent('ignne', 'asserted only while there is an error')
    this.asserted = asserted
    this.requested = requested
    this.ignored = ignored
    this.irq.setLevel(requested)
  }
}
