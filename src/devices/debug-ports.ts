import type { PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'

/** What a debug console answers when it is read; firmware probes for it. */
export const DEBUG_CONSOLE_READBACK = 0xe9

/**
 * A console of one port (0x402 for firmware, 0xE9 for others): every byte written goes to `onByte`, and reading gives
 * {@link DEBUG_CONSOLE_READBACK}, which tells a guest that somebody listens. It has no state.
 */
export class DebugConsole implements PortDevice {
  readonly #onByte: (byte: number) => void

  constructor(onByte: (byte: number) => void) {
    this.#onByte = onByte
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 1)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 1, value)
  }

  /** Reads one register. */
  readByte(_offset: number): number {
    return DEBUG_CONSOLE_READBACK
  }

  /** Writes one register. */
  writeByte(_offset: number, value: number): void {
    this.#onByte(value)
  }
}

/**
 * The exit port of QEMU's isa-debug-exit (0xF4, four ports): a write ends the machine with status
 * `(value << 1) | 1`, cut to eight bits as a process exit status is. Reads give zero.
 */
export class IsaDebugExit implements PortDevice {
  readonly #onExit: (status: number) => void

  constructor(onExit: (status: number) => void) {
    this.#onExit = onExit
  }

  readPort(_offset: number, _size: PortSize): number {
    return 0
  }

  writePort(_offset: number, _size: PortSize, value: number): void {
    this.#onExit(((value << 1) | 1) & 0xff)
  }
}

/** Saved state of a {@link PostCodePort}. */
export interface PostCodePortState {
  readonly version: 1
  readonly code: number
}

/**
 * The POST code latch at port 0x80. Guests also write to it for a short delay, so values are kept, not logged, unless
 * `onCode` is given.
 */
export class PostCodePort implements PortDevice, Stateful<PostCodePortState> {
  readonly #onCode: ((code: number) => void) | undefined
  #code = 0

  constructor(onCode?: (code: number) => void) {
    this.#onCode = onCode
  }

  /** The last code written. */
  get code(): number {
    return this.#code
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 1)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 1, value)
  }

  /** Reads one register. */
  readByte(_offset: number): number {
    return this.#code
  }

  /** Writes one register. */
  writeByte(_offset: number, value: number): void {
    this.#code = value
    this.#onCode?.(value)
  }

  saveState(): PostCodePortState {
    return { version: 1, code: this.#code }
  }

  loadState(state: PostCodePortState): void {
    this.#code = new StateReader('POST code port', state, 1).int('code', 0, 0xff)
  }
}
