import type { PhysicalBus, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { AtaController } from './ata.js'
import type { AtaChannel } from './ata-channel.js'
import type { AtaDmaEngine } from './ata-device.js'
import { PCI_COMMAND_IO, PciFunction } from './pci.js'
import { readSplit, writeSplit } from './port-split.js'

// Registers of one channel. Source: "Programming Interface for Bus Master IDE Controller", revision 1.0.
export const BMIDE_COMMAND = 0
export const BMIDE_STATUS = 2
export const BMIDE_PRD_TABLE = 4
/** Bytes of registers per channel. */
export const BMIDE_CHANNEL_SIZE = 8

/** Command: start. */
export const BMIDE_COMMAND_START = 0x01
/** Command: the bus master writes to memory, the device is read. */
export const BMIDE_COMMAND_TO_MEMORY = 0x08
/** Status: a transfer is in progress. */
export const BMIDE_STATUS_ACTIVE = 0x01
/** Status: a transfer met an error on the bus; cleared by writing 1. */
export const BMIDE_STATUS_ERROR = 0x02
/** Status: the device raised its interrupt; cleared by writing 1. */
export const BMIDE_STATUS_INTERRUPT = 0x04
/** Status: set by software for each device that can do DMA. */
export const BMIDE_STATUS_DMA_CAPABLE = 0x60
/** Physical region descriptor: the last one of the table. */
export const PRD_EOT = 0x80000000

/** IDE timing register of PIIX: the channel's ports are decoded. */
export const PIIX_IDETIM_IDE = 0x8000
export const PIIX_IDETIM_PRIMARY = 0x40
export const PIIX_IDETIM_SECONDARY = 0x42

/** Saved state of a {@link BusMasterChannel}. */
export interface BusMasterState {
  readonly version: 1
  readonly command: number
  readonly status: number
  readonly table: number
  readonly next: number
  readonly address: number
  readonly left: number
  readonly last: boolean
}

/**
 * The bus master of one channel: walks the host's table of physical regions as the device delivers or asks for data. Every
 * descriptor moves at least two bytes, so the walk ends with the device's transfer wherever the table leads. Addresses have 32 bits
 * and wrap.
 *
 * Source: "Programming Interface for Bus Master IDE Controller", revision 1.0.
 */
export class BusMasterChannel implements AtaDmaEngine, Stateful<BusMasterState> {
  readonly #memory: PhysicalBus
  readonly #channel: AtaChannel
  /** PCI bus mastering is enabled. */
  #mastering = true
  #command = 0
  #status = 0
  #table = 0
  /** Address of the next descriptor. */
  #next = 0
  /** The region in use, and the bytes left of it. */
  #address = 0
  #left = 0
  #last = false

  constructor(memory: PhysicalBus, channel: AtaChannel) {
    this.#memory = memory
    this.#channel = channel
    channel.connectDma(this)
  }

  /** A reset of the board. */
  reset(): void {
    this.#command = this.#status = this.#table = this.#next = this.#address = this.#left = 0
    this.#last = false
  }

  /** Lets transfers run or holds them, as the PCI command register says. */
  setMastering(enabled: boolean): void {
    const started = enabled && !this.#mastering && (this.#status & BMIDE_STATUS_ACTIVE) !== 0
    this.#mastering = enabled
    if (started) this.#channel.dmaStarted()
  }

  ready(toMemory: boolean): boolean {
    return (
      this.#mastering &&
      (this.#status & BMIDE_STATUS_ACTIVE) !== 0 &&
      ((this.#command & BMIDE_COMMAND_TO_MEMORY) !== 0) === toMemory
    )
  }

  interrupt(): void {
    this.#status |= BMIDE_STATUS_INTERRUPT
  }

  transfer(buffer: Uint8Array, from: number, to: number, toMemory: boolean): number {
    let at = from
    while (at < to && (this.#status & BMIDE_STATUS_ACTIVE) !== 0) {
      if (this.#left === 0) this.#fetch()
      const length = Math.min(this.#left, to - at)
      if (toMemory) this.#store(buffer, at, length)
      else this.#load(buffer, at, length)
      at += length
      this.#address = (this.#address + length) >>> 0
      this.#left -= length
      if (this.#left === 0 && this.#last) this.#status &= ~BMIDE_STATUS_ACTIVE
    }
    return at - from
  }

  /** Reads one register. */
  readByte(register: number): number {
    if (register === BMIDE_COMMAND) return this.#command
    if (register === BMIDE_STATUS) return this.#status
    if (register >= BMIDE_PRD_TABLE) return (this.#table >>> (8 * (register & 3))) & 0xff
    return 0
  }

  /** Writes one register. */
  writeByte(register: number, value: number): void {
    if (register === BMIDE_COMMAND) {
      const started = (value & ~this.#command & BMIDE_COMMAND_START) !== 0
      this.#command = value & (BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
      if (started) this.#start()
      else if ((value & BMIDE_COMMAND_START) === 0) this.#status &= ~BMIDE_STATUS_ACTIVE
    } else if (register === BMIDE_STATUS) {
      const cleared = value & (BMIDE_STATUS_ERROR | BMIDE_STATUS_INTERRUPT)
      this.#status = (this.#status & ~BMIDE_STATUS_DMA_CAPABLE & ~cleared) | (value & BMIDE_STATUS_DMA_CAPABLE)
    } else if (register >= BMIDE_PRD_TABLE) {
      const shift = 8 * (register & 3)
      this.#table = ((this.#table & ~(0xff << shift)) | (value << shift)) & ~3
    }
  }

  saveState(): BusMasterState {
    return {
      version: 1,
      command: this.#command,
      status: this.#status,
      table: this.#table >>> 0,
      next: this.#next,
      address: this.#address,
      left: this.#left,
      last: this.#last,
    }
  }

  loadState(state: BusMasterState): void {
    const reader = new StateReader('IDE bus master', state, 1)
    const command = reader.int('command', 0, 0x09)
    const status = reader.int('status', 0, 0x67)
    const table = reader.int('table', 0, 0xfffffffc)
    const next = reader.int('next', 0, 0xfffffffc)
    const address = reader.int('address', 0, 0xffffffff)
    const left = reader.int('left', 0, 0x10000)
    const last = reader.bool('last')
    if ((command & ~0x09) !== 0 || (status & ~0x67) !== 0 || ((table | next) & 3) !== 0) {
      throw reader.inconsistent('command', 'a state of the bus master')
    }
    if ((left & 1) !== 0) throw reader.inconsistent('left', 'an even number')
    this.#command = command
    this.#status = status
    this.#table = table
    this.#next = next
    this.#address = address
    this.#left = left
    this.#last = last
  }

  #start(): void {
    this.#status |= BMIDE_STATUS_ACTIVE
    this.#next = this.#table >>> 0
    this.#left = 0
    this.#last = false
    this.#channel.dmaStarted()
  }

  #fetch(): void {
    const address = this.#memory.read32(this.#next)
    const control = this.#memory.read32((this.#next + 4) >>> 0)
    this.#next = (this.#next + 8) >>> 0
    this.#address = (address & ~1) >>> 0
    // A count of 0 means 64 KiB; bit 0 does not exist.
    this.#left = control & 0xfffe || 0x10000
    this.#last = (control & PRD_EOT) !== 0
  }

  #store(buffer: Uint8Array, from: number, length: number): void {
    const memory = this.#memory
    let address = this.#address
    let at = from
    const end = from + length
    if ((address & 2) !== 0 && at < end) {
      memory.write16(address, buffer[at]! | (buffer[at + 1]! << 8))
      address = (address + 2) >>> 0
      at += 2
    }
    for (; at + 4 <= end; at += 4, address = (address + 4) >>> 0) {
      const low = buffer[at]! | (buffer[at + 1]! << 8)
      memory.write32(address, (low | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24)) >>> 0)
    }
    if (at < end) memory.write16(address, buffer[at]! | (buffer[at + 1]! << 8))
  }

  #load(buffer: Uint8Array, from: number, length: number): void {
    const memory = this.#memory
    let address = this.#address
    for (let at = from; at < from + length; address = (address + 2) >>> 0) {
      const word = memory.read16(address)
      buffer[at++] = word
      buffer[at++] = word >>> 8
    }
  }
}

/** Where the bus-master registers are placed. `place` may throw `overlap` or `bad-range`: the window then does not decode. */
export interface BusMasterPortPlacer {
  /** Maps `size` ports from `base` on to the device. */
  place(base: number, size: number, ports: PortDevice): void
  /** Takes the mapping away. */
  remove(base: number, size: number): void
}

/** What an {@link IdeFunction} is built from. */
export interface IdeFunctionOptions {
  readonly controller: AtaController
  /** Memory as a bus master sees it. */
  readonly memory: PhysicalBus
  readonly ports: BusMasterPortPlacer
  /**
   * Whether a reset leaves both channels decoded, as firmware would. Default true; the hardware comes up with neither, and
   * firmware has to set {@link PIIX_IDETIM_IDE} and I/O space.
   */
  readonly decodeAtReset?: boolean
}

/** Saved state of the bus masters of an {@link IdeFunction}; its configuration space is saved as a PCI function's. */
export interface IdeBusMasterState {
  readonly version: 1
  readonly channels: readonly [BusMasterState, BusMasterState]
}

/**
 * The IDE function of the PIIX3 (8086:7010, function 1 of device 1): both channels at their legacy ports and IRQs, and a bus
 * master for each behind BAR 4.
 *
 * Source: Intel 82371FB/82371SB (PIIX/PIIX3) data sheet, "PCI Configuration Registers—IDE Interface".
 */
export class IdeFunction extends PciFunction {
  /** The bus masters, whose state is saved apart from configuration space. */
  readonly busMasters: Stateful<IdeBusMasterState> = {
    saveState: () => ({ version: 1, channels: [this.primary.saveState(), this.secondary.saveState()] }),
    loadState: (state) => this.#loadBusMasters(state),
  }
  readonly primary: BusMasterChannel
  readonly secondary: BusMasterChannel
  /** The sixteen bus-master registers. */
  readonly busMasterPorts: PortDevice
  readonly #controller: AtaController

  constructor(options: IdeFunctionOptions) {
    const decoded = options.decodeAtReset !== false
    super({
      vendor: 0x8086,
      device: 0x7010,
      classCode: 0x010180,
      command: decoded ? 0x0005 : 0x0000,
      commandMask: 0x0005,
      status: 0x0280,
    })
    this.#controller = options.controller
    this.primary = new BusMasterChannel(options.memory, options.controller.primary)
    this.secondary = new BusMasterChannel(options.memory, options.controller.secondary)
    this.define(0x0c, 1, 0, 0) // no cache line size register
    this.define(PIIX_IDETIM_PRIMARY, 2, decoded ? PIIX_IDETIM_IDE : 0, 0xffff)
    this.define(PIIX_IDETIM_SECONDARY, 2, decoded ? PIIX_IDETIM_IDE : 0, 0xffff)
    this.define(0x44, 1, 0, 0xff) // slave IDE timing
    const bytes = {
      readByte: (offset: number): number => this.#channel(offset).readByte(offset & 7),
      writeByte: (offset: number, value: number): void => this.#channel(offset).writeByte(offset & 7, value),
    }
    this.busMasterPorts = {
      readPort: (offset: number, size: PortSize): number => readSplit(bytes, offset, size, 16),
      writePort: (offset: number, size: PortSize, value: number): void => writeSplit(bytes, offset, size, 16, value),
    }
    this.addBar(4, {
      space: 'io',
      size: 16,
      map: (base) => options.ports.place(base, 16, this.busMasterPorts),
      unmap: (base) => options.ports.remove(base, 16),
    })
    this.#updateDecoding()
  }

  protected override onConfigWrite(): void {
    this.#updateDecoding()
  }

  protected override onConfigReset(): void {
    this.#updateDecoding()
  }

  override reset(): void {
    super.reset()
    this.primary.reset()
    this.secondary.reset()
  }

  #channel(offset: number): BusMasterChannel {
    return offset < BMIDE_CHANNEL_SIZE ? this.primary : this.secondary
  }

  #updateDecoding(): void {
    const io = (this.command & PCI_COMMAND_IO) !== 0
    const enabled = (register: number): boolean => (this.readConfig(register, 2) & PIIX_IDETIM_IDE) !== 0
    this.#controller.primary.decoded = io && enabled(PIIX_IDETIM_PRIMARY)
    this.#controller.secondary.decoded = io && enabled(PIIX_IDETIM_SECONDARY)
    this.primary.setMastering(this.busMaster)
    this.secondary.setMastering(this.busMaster)
  }

  #loadBusMasters(state: IdeBusMasterState): void {
    const reader = new StateReader('IDE bus masters', state, 1)
    const channels = reader.nested('channels')
    if (!Array.isArray(channels) || channels.length !== 2) throw reader.inconsistent('channels', 'a list of two')
    const before = this.primary.saveState()
    this.primary.loadState(channels[0] as BusMasterState)
    try {
      this.secondary.loadState(channels[1] as BusMasterState)
    } catch (error) {
      this.primary.loadState(before)
      throw error
    }
  }
}
