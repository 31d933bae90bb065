import type { PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { readSplit, writeSplit } from './port-split.js'
import { StateReader } from './state-reader.js'

/** Bits of ELCR1 that exist: IRQ 0, 1 and 2 are always edge-triggered. */
export const ELCR1_MASK = 0xf8
/** Bits of ELCR2 that exist: IRQ 8 and 13 are always edge-triggered. */
export const ELCR2_MASK = 0xde

/** Saved state of an {@link Elcr}. */
export interface ElcrState {
  readonly version: 1
  readonly registers: Uint8Array
}

/**
 * The edge/level control registers at ports 0x4D0 (IRQ 0–7) and 0x4D1 (IRQ 8–15): a set bit makes a request
 * level-triggered. `onChange(controller, mask)` tells interrupt controller 0 or 1 which of its inputs are.
 *
 * Source: Intel 82371FB/82371SB data sheet, "ELCR1/ELCR2—Edge/Level Control Registers".
 */
export class Elcr implements PortDevice, Stateful<ElcrState> {
  readonly #onChange: (controller: 0 | 1, mask: number) => void
  readonly #registers = new Uint8Array(2)

  constructor(onChange: (controller: 0 | 1, mask: number) => void) {
    this.#onChange = onChange
  }

  /** Makes every input edge-triggered. */
  reset(): void {
    this.#set(0, 0)
    this.#set(1, 0)
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 2)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 2, value)
  }

  readByte(offset: number): number {
    return this.#registers[offset] ?? 0xff
  }

  writeByte(offset: number, value: number): void {
    if (offset === 0) this.#set(0, value & ELCR1_MASK)
    else if (offset === 1) this.#set(1, value & ELCR2_MASK)
  }

  saveState(): ElcrState {
    return { version: 1, registers: this.#registers.slice() }
  }

  loadState(state: ElcrState): void {
    const reader = new StateReader('ELCR', state, 1)
    const registers = reader.bytes('registers', 2)
    if ((registers[0]! & ~ELCR1_MASK) !== 0 || (registers[1]! & ~ELCR2_MASK) !== 0) {
      throw reader.inconsistent('registers', 'free of reserved bits')
    }
    this.#set(0, registers[0]!)
    this.#set(1, registers[1]!)
  }

  #set(controller: 0 | 1, mask: number): void {
    if (this.#registers[controller] === mask) return
    this.#registers[controller] = mask
    this.#onChange(controller, mask)
  }
}
