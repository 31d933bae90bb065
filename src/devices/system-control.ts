import type { PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'

/** A wire that resets. `soft` is the processor's INIT, `hard` is the reset of the whole board. */
export interface ResetLine {
  /** Pulses the line. */
  reset(kind: 'soft' | 'hard'): void
}

/** System control port A: a rising edge resets the processor. */
export const SYSTEM_CONTROL_A_INIT = 0x01
/** System control port A: lets address line 20 through. */
export const SYSTEM_CONTROL_A_A20 = 0x02
/** Bits of system control port A that hold what was written: security lock and the two fixed-disk lights included. */
export const SYSTEM_CONTROL_A_MASK = 0xcb

/** Saved state of a {@link SystemControlA}. */
export interface SystemControlAState {
  readonly version: 1
  readonly value: number
}

/** What {@link SystemControlA} drives. */
export interface SystemControlAOptions {
  readonly reset?: ResetLine
  /** Address line 20 as this port drives it; the board ORs it with the keyboard controller's. Called on changes. */
  readonly onA20?: (enabled: boolean) => void
}

/**
 * System control port A at port 0x92: fast A20 and fast reset, as the PS/2 has them. The reset is the
 * processor's only, which keeps the port's other bits.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "System Control Port A"; 82371SB data sheet, "Port 92".
 */
export class SystemControlA implements PortDevice, Stateful<SystemControlAState> {
  readonly #reset: ResetLine | undefined
  readonly #onA20: ((enabled: boolean) => void) | undefined
  #value = 0

  constructor(options: SystemControlAOptions = {}) {
    this.#reset = options.reset
    this.#onA20 = options.onA20
  }

  /** A reset of the board: address line 20 is blocked as far as this port goes. */
  reset(): void {
    this.#set(0)
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 1)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 1, value)
  }

  /** Reads the register. */
  readByte(_offset: number): number {
    return this.#value
  }

  /** Writes the register. */
  writeByte(_offset: number, value: number): void {
    const rising = value & ~this.#value & SYSTEM_CONTROL_A_INIT
    this.#set(value & SYSTEM_CONTROL_A_MASK)
    if (rising !== 0) this.#reset?.reset('soft')
  }

  saveState(): SystemControlAState {
    return { version: 1, value: this.#value }
  }

  loadState(state: SystemControlAState): void {
    const reader = new StateReader('system control port A', state, 1)
    const value = reader.int('value', 0, 0xff)
    if ((value & ~SYSTEM_CONTROL_A_MASK) !== 0) throw reader.inconsistent('value', 'free of reserved bits')
    this.#set(value)
  }

  #set(value: number): void {
    const changed = (value ^ this.#value) & SYSTEM_CONTROL_A_A20
    this.#value = value
    if (changed !== 0) this.#onA20?.((value & SYSTEM_CONTROL_A_A20) !== 0)
  }
}

/** Reset control: 1 chooses a hard reset, 0 a soft one. */
export const RCR_SRST = 0x02
/** Reset control: a rising edge resets. */
export const RCR_RCPU = 0x04

/** Saved state of a {@link ResetControl}. */
export interface ResetControlState {
  readonly version: 1
  readonly value: number
}

/**
 * The reset control register at port 0xCF9; give it to the `PciBus`, whose ports surround it.
 *
 * Source: Intel 82371FB/82371SB data sheet, "RC—Reset Control Register".
 */
export class ResetControl implements PortDevice, Stateful<ResetControlState> {
  readonly #reset: ResetLine
  #value = 0

  constructor(reset: ResetLine) {
    this.#reset = reset
  }

  /** A reset of the board. */
  reset(): void {
    this.#value = 0
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 1)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 1, value)
  }

  /** Reads the register. */
  readByte(_offset: number): number {
    return this.#value
  }

  /** Writes the register. */
  writeByte(_offset: number, value: number): void {
    const rising = value & ~this.#value & RCR_RCPU
    this.#value = value & (RCR_SRST | RCR_RCPU)
    if (rising !== 0) this.#reset.reset((value & RCR_SRST) !== 0 ? 'hard' : 'soft')
  }

  saveState(): ResetControlState {
    return { version: 1, value: this.#value }
  }

  loadState(state: ResetControlState): void {
    const reader = new StateReader('reset control', state, 1)
    const value = reader.int('value', 0, 7)
    if ((value & 1) !== 0) throw reader.inconsistent('value', 'free of reserved bits')
    this.#value = value
  }
}
