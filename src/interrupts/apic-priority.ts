import { VectorSet } from './vector-set.js'

/**
 * The vectors of a local APIC and what decides among them: IRR, ISR and TMR, the task priority and the two priorities
 * that follow. The priority class of a vector is its bits 7–4; within a class the higher vector goes first.
 *
 * Source: Intel SDM Vol. 3A, "Interrupt, Task, and Processor Priority", "Interrupt Acceptance for Fixed Interrupts",
 * "Arbitration Priority Register (APR)".
 */
export class ApicPriority {
  /** Requested: accepted and not yet given to the processor. */
  readonly irr: VectorSet = new VectorSet()
  /** In service: given to the processor and not yet ended. */
  readonly isr: VectorSet = new VectorSet()
  /** Those whose last request was level-triggered. */
  readonly tmr: VectorSet = new VectorSet()
  /** Task priority, 8 bits. */
  tpr = 0
  /** A requested vector is of a higher class than the processor priority. */
  pending = false
  private readonly changed: () => void

  /** `changed` is called when `pending` has changed. */
  constructor(changed: () => void) {
    this.changed = changed
  }

  /** Processor priority: the higher class of task priority and what is in service. */
  get ppr(): number {
    const inService = this.isr.highest < 0 ? 0 : this.isr.highest & 0xf0
    return (this.tpr & 0xf0) >= inService ? this.tpr : inService
  }

  /** Arbitration priority: with it an APIC competes for messages of lowest priority. */
  get apr(): number {
    const task = this.tpr >> 4
    const requested = this.irr.highest < 0 ? 0 : this.irr.highest >> 4
    const inService = this.isr.highest < 0 ? 0 : this.isr.highest >> 4
    if (task >= requested && task > inService) return this.tpr
    return Math.max(task & inService, requested) << 4
  }

  /** Accepts a request. */
  request(vector: number, level: boolean): void {
    this.irr.add(vector)
    if (level) this.tmr.add(vector)
    else this.tmr.remove(vector)
    this.update()
  }

  /** Moves the highest request into service; only while `pending`. */
  dispense(): number {
    const vector = this.irr.highest
    this.irr.remove(vector)
    this.isr.add(vector)
    this.update()
    return vector
  }

  /** Ends the highest vector in service and returns it; −1 when there is none. */
  end(): number {
    const vector = this.isr.highest
    if (vector >= 0) {
      this.isr.remove(vector)
      this.update()
    }
    return vector
  }

  /** Sets the task priority. */
  setTpr(value: number): void {
    this.tpr = value
    this.update()
  }

  /** Nothing requested or in service, task priority 0. */
  clear(): void {
    this.irr.clear()
    this.isr.clear()
    this.tmr.clear()
    this.setTpr(0)
  }

  /** Takes saved registers over. */
  restore(tpr: number, irr: readonly number[], isr: readonly number[], tmr: readonly number[]): void {
    this.irr.setList(irr)
    this.isr.setList(isr)
    this.tmr.setList(tmr)
    this.setTpr(tpr)
  }

  private update(): void {
    const { highest } = this.irr
    const pending = highest >= 0 && highest >> 4 > this.ppr >> 4
    if (pending === this.pending) return
    this.pending = pending
    this.changed()
  }
}
