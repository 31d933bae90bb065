import type { Alarm, Clock, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'

// Registers of the SMBus controller. Source: 82371AB (PIIX4) data sheet, "SMBus I/O Space Registers".
export const SMBUS_HOST_STATUS = 0x0
export const SMBUS_SLAVE_STATUS = 0x1
export const SMBUS_HOST_CONTROL = 0x2
export const SMBUS_HOST_COMMAND = 0x3
export const SMBUS_HOST_ADDRESS = 0x4
export const SMBUS_HOST_DATA0 = 0x5
export const SMBUS_HOST_DATA1 = 0x6
/** Window on the 32-byte block buffer. Reading host control starts it over. */
export const SMBUS_BLOCK_DATA = 0x7
export const SMBUS_SLAVE_CONTROL = 0x8
export const SMBUS_SHADOW_COMMAND = 0x9
export const SMBUS_SLAVE_EVENT = 0xa
export const SMBUS_SLAVE_DATA = 0xc
/** Bytes of registers. */
export const SMBUS_PORTS = 16

/** Host status: a transaction is under way. */
export const SMBUS_STATUS_BUSY = 0x01
/** Host status: the transaction completed. */
export const SMBUS_STATUS_INTERRUPT = 0x02
/** Host status: nobody acknowledged, or the command was invalid. */
export const SMBUS_STATUS_DEVICE_ERROR = 0x04
/** Host status: the bus was lost to another master. */
export const SMBUS_STATUS_COLLISION = 0x08
/** Host status: the transaction was killed. */
export const SMBUS_STATUS_FAILED = 0x10

/** Host control: interrupt when a transaction ends. */
export const SMBUS_CONTROL_INTERRUPT = 0x01
/** Host control: kill the transaction that is under way. */
export const SMBUS_CONTROL_KILL = 0x02
/** Host control: start; always reads 0. */
export const SMBUS_CONTROL_START = 0x40

const STATUS_CLEAR = SMBUS_STATUS_INTERRUPT | SMBUS_STATUS_DEVICE_ERROR | SMBUS_STATUS_COLLISION | SMBUS_STATUS_FAILED
/** Start, seven address bits, direction, acknowledge and stop at 16 kHz. */
const ADDRESS_CYCLE_NS = 687_500

/** Bits that a plain read/write register holds; the others have behaviour of their own. */
const WRITABLE: readonly number[] = [0, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0, 0x0d, 0, 0xff, 0xff, 0, 0, 0, 0]

/** Saved state of a {@link SmbusHost}. */
export interface SmbusHostState {
  readonly version: 1
  readonly registers: Uint8Array
  readonly block: Uint8Array
  readonly blockIndex: number
  /** When the transaction under way ends; null while the bus is idle. */
  readonly ends: number | null
}

/**
 * The SMBus host controller of the PIIX4 on a bus without devices: every transaction ends, after its address cycle, with a
 * device error, because nobody acknowledges. The slave side is there as registers that nobody addresses.
 *
 * Source: Intel 82371AB (PIIX4) data sheet, "SMBus I/O Space Registers".
 */
export class SmbusHost implements PortDevice, Stateful<SmbusHostState> {
  readonly #clock: Clock
  readonly #onInterrupt: (asserted: boolean) => void
  readonly #registers = new Uint8Array(SMBUS_PORTS)
  readonly #block = new Uint8Array(32)
  #blockIndex = 0
  #alarm: Alarm | undefined

  /** `onInterrupt` receives the level of the controller's interrupt request. */
  constructor(clock: Clock, onInterrupt: (asserted: boolean) => void) {
    this.#clock = clock
    this.#onInterrupt = onInterrupt
  }

  /** A reset of the board. */
  reset(): void {
    this.#stop()
    this.#registers.fill(0)
    this.#block.fill(0)
    this.#blockIndex = 0
    this.#update()
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, SMBUS_PORTS)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, SMBUS_PORTS, value)
  }

  /** Reads one register. */
  readByte(offset: number): number {
    if (offset === SMBUS_BLOCK_DATA) {
      const byte = this.#block[this.#blockIndex]!
      this.#blockIndex = (this.#blockIndex + 1) & 31
      return byte
    }
    if (offset === SMBUS_HOST_CONTROL) this.#blockIndex = 0
    return this.#registers[offset]!
  }

  /** Writes one register. */
  writeByte(offset: number, value: number): void {
    const registers = this.#registers
    if (offset === SMBUS_HOST_STATUS) {
      registers[offset]! &= ~(value & STATUS_CLEAR)
    } else if (offset === SMBUS_SLAVE_STATUS) {
      registers[offset]! &= ~(value & 0x3c)
    } else if (offset === SMBUS_BLOCK_DATA) {
      this.#block[this.#blockIndex] = value
      this.#blockIndex = (this.#blockIndex + 1) & 31
    } else {
      registers[offset] = value & WRITABLE[offset]!
      if (offset === SMBUS_HOST_CONTROL) this.#control(value)
    }
    this.#update()
  }

  saveState(): SmbusHostState {
    return {
      version: 1,
      registers: this.#registers.slice(),
      block: this.#block.slice(),
      blockIndex: this.#blockIndex,
      ends: this.#alarm?.deadline ?? null,
    }
  }

  loadState(state: SmbusHostState): void {
    const reader = new StateReader('SMBus', state, 1)
    const registers = reader.bytes('registers', SMBUS_PORTS)
    const block = reader.bytes('block', 32)
    const blockIndex = reader.int('blockIndex', 0, 31)
    const ends = reader.timeOrNull('ends')
    const busy = (registers[SMBUS_HOST_STATUS]! & SMBUS_STATUS_BUSY) !== 0
    if (busy !== (ends !== null)) throw reader.inconsistent('ends', 'set exactly while the controller is busy')
    for (let at = 0; at < SMBUS_PORTS; at++) {
      const status = at === SMBUS_HOST_STATUS ? STATUS_CLEAR | SMBUS_STATUS_BUSY : at === SMBUS_SLAVE_STATUS ? 0x3d : 0
      if ((registers[at]! & ~(WRITABLE[at]! | status)) !== 0) {
        throw reader.inconsistent('registers', 'free of reserved bits')
      }
    }
    this.#stop()
    this.#registers.set(registers)
    this.#block.set(block)
    this.#blockIndex = blockIndex
    if (ends !== null) this.#schedule(ends)
    this.#update()
  }

  #control(value: number): void {
    const busy = (this.#registers[SMBUS_HOST_STATUS]! & SMBUS_STATUS_BUSY) !== 0
    if ((value & SMBUS_CONTROL_KILL) !== 0) {
      if (!busy) return
      this.#stop()
      this.#registers[SMBUS_HOST_STATUS]! &= ~SMBUS_STATUS_BUSY
      this.#registers[SMBUS_HOST_STATUS]! |= SMBUS_STATUS_FAILED
    } else if ((value & SMBUS_CONTROL_START) !== 0 && !busy) {
      this.#registers[SMBUS_HOST_STATUS]! |= SMBUS_STATUS_BUSY
      this.#schedule(this.#clock.now() + ADDRESS_CYCLE_NS)
    }
  }

  #schedule(at: number): void {
    this.#alarm = this.#clock.schedule(at, () => {
      this.#alarm = undefined
      const status = this.#registers[SMBUS_HOST_STATUS]! & ~SMBUS_STATUS_BUSY
      this.#registers[SMBUS_HOST_STATUS] = status | SMBUS_STATUS_DEVICE_ERROR
      this.#update()
    })
  }

  #stop(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
  }

  #update(): void {
    const enabled = (this.#registers[SMBUS_HOST_CONTROL]! & SMBUS_CONTROL_INTERRUPT) !== 0
    this.#onInterrupt(enabled && (this.#registers[SMBUS_HOST_STATUS]! & STATUS_CLEAR) !== 0)
  }
}
