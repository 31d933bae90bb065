import type { IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { AtaCable, AtaDevice, AtaDmaEngine } from './ata-device.js'
import {
  ATA_CMD_DEVICE_RESET,
  ATA_CMD_EXECUTE_DIAGNOSTIC,
  ATA_COMMAND,
  ATA_CONTROL_HOB,
  ATA_CONTROL_NIEN,
  ATA_CONTROL_SRST,
  ATA_DATA,
  ATA_DEVICE,
  ATA_DEVICE_DEV,
  ATA_ERROR,
  ATA_STATUS,
  ATA_STATUS_BSY,
} from './ata-registers.js'

/** Saved state of an {@link AtaChannel}. */
export interface AtaChannelState {
  readonly version: 1
  readonly control: number
  readonly selected: number
  /** State of device 0 and 1, or null where there is none. */
  readonly devices: readonly unknown[]
}

/** What the floating bus reads: pulled up but for D7, so that nobody seems busy. Source: ATA/ATAPI-6, "Signal descriptions". */
const FLOATING = 0x7f

/**
 * One ATA channel: two connectors on a cable. Both devices hear every write to the task file; the one that the device
 * register selects answers. Where only device 0 is there it answers for device 1 with a status of 0.
 *
 * The ports are {@link AtaChannel.commandBlock} (eight, at 0x1F0 or 0x170; the data register takes words and
 * doublewords) and {@link AtaChannel.controlBlock} (one, at 0x3F6 or 0x376).
 *
 * Source: ATA/ATAPI-6, "Device 0 only configurations", "Interface register definitions and descriptions".
 */
export class AtaChannel implements Stateful<AtaChannelState> {
  /** Command block registers, offsets 0–7. */
  readonly commandBlock: PortDevice = {
    readPort: (offset, size) => this.#readCommandBlock(offset, size),
    writePort: (offset, size, value) => this.#writeCommandBlock(offset, size, value),
  }
  /** Alternate status when read, device control when written; offset 0. */
  readonly controlBlock: PortDevice = {
    readPort: (offset, size) => this.#readControlBlock(offset, size),
    writePort: (offset, _size, value) => this.#writeControlBlock(offset, value),
  }
  /** False while the bridge does not decode the channel's ports: they then read all ones. */
  decoded = true

  readonly #irq: IrqLine | undefined
  readonly #devices: (AtaDevice | undefined)[] = [undefined, undefined]
  #dma: AtaDmaEngine | undefined
  #control = 0
  #selected = 0
  #level = false

  constructor(irq?: IrqLine) {
    this.#irq = irq
  }

  /** The bus master of the channel; to be connected before devices are plugged in and guests run. */
  connectDma(dma: AtaDmaEngine): void {
    this.#dma = dma
  }

  /** Device 0 or 1. */
  device(index: 0 | 1): AtaDevice | undefined {
    return this.#devices[index]
  }

  /** The level on the interrupt wire. */
  get interruptLevel(): boolean {
    return this.#level
  }

  /** Plugs `device` in as device 0 or 1. Throws `overlap` when there is one. */
  plug(index: 0 | 1, device: AtaDevice): void {
    if (this.#devices[index] !== undefined) throw new VirtkitError('overlap', `device ${index} is already plugged in`)
    const channel = this
    const cable: AtaCable = {
      get dma() {
        return channel.#dma
      },
      interruptChanged: (raised) => channel.#interruptChanged(index, raised),
    }
    this.#devices[index] = device
    device.attach(cable, index === 1)
  }

  /** Takes a device out. */
  unplug(index: 0 | 1): void {
    this.#devices[index]?.detach()
    this.#devices[index] = undefined
    this.#updateIrq()
  }

  /** RESET- on the cable. */
  reset(): void {
    this.#control = 0
    this.#selected = 0
    for (const device of this.#devices) device?.hardwareReset()
    this.#updateIrq()
  }

  /** To be called by the bus master when the host has started it. */
  dmaStarted(): void {
    for (const device of this.#devices) device?.dmaStarted()
  }

  saveState(): AtaChannelState {
    return {
      version: 1,
      control: this.#control,
      selected: this.#selected,
      devices: this.#devices.map((device) => device?.saveState() ?? null),
    }
  }

  loadState(state: AtaChannelState): void {
    const reader = new StateReader('ATA channel', state, 1)
    const control = reader.int('control', 0, 0xff)
    const selected = reader.int('selected', 0, 1)
    const devices = reader.nested('devices')
    if (!Array.isArray(devices) || devices.length !== 2) throw reader.inconsistent('devices', 'a list of two')
    this.#devices.forEach((device, i) => {
      if ((device === undefined) !== (devices[i] === null)) throw reader.inconsistent('devices', 'what is plugged in')
    })
    // A damaged second device must not leave the first one changed.
    const before = this.#devices.map((device) => device?.saveState())
    let loaded = 0
    try {
      for (; loaded < 2; loaded++) this.#devices[loaded]?.loadState(devices[loaded] as never)
    } catch (error) {
      while (--loaded >= 0) this.#devices[loaded]?.loadState(before[loaded] as never)
      throw error
    }
    this.#control = control
    this.#selected = selected
    this.#updateIrq()
  }

  #readCommandBlock(offset: number, size: PortSize): number {
    if (!this.decoded) return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff
    if (offset === ATA_DATA) return this.#readData(size)
    let value = this.#readRegister(offset)
    for (let i = 1; i < size; i++) value |= (offset + i < 8 ? this.#readRegister(offset + i) : 0xff) << (8 * i)
    return value >>> 0
  }

  #writeCommandBlock(offset: number, size: PortSize, value: number): void {
    if (!this.decoded) return
    if (offset === ATA_DATA) {
      const device = this.#devices[this.#selected]
      device?.writeData(value & 0xffff)
      if (size === 4) device?.writeData(value >>> 16)
      return
    }
    for (let i = 0; i < size && offset + i < 8; i++) this.#writeRegister(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #readData(size: PortSize): number {
    const device = this.#devices[this.#selected]
    if (device === undefined) {
      if (this.#answering() !== undefined) return 0
      return size === 4 ? 0xff7fff7f : size === 2 ? 0xff7f : FLOATING
    }
    const word = device.readData()
    if (size === 1) return word & 0xff
    return size === 2 ? word : (word | (device.readData() << 16)) >>> 0
  }

  /** The device that drives the bus: the selected one, or device 0 in the place of a device 1 that is not there. */
  #answering(): AtaDevice | undefined {
    return this.#devices[this.#selected] ?? (this.#selected === 1 ? this.#devices[0] : undefined)
  }

  #readRegister(register: number): number {
    const device = this.#answering()
    if (device === undefined) return FLOATING
    const stoodIn = device !== this.#devices[this.#selected]
    if (register === ATA_STATUS) return stoodIn ? 0 : device.acknowledge()
    // A busy device shows its status in all registers.
    if ((device.status & ATA_STATUS_BSY) !== 0) return stoodIn ? 0 : device.status
    if (register === ATA_ERROR) return device.error
    return device.readTaskFile(register, (this.#control & ATA_CONTROL_HOB) !== 0)
  }

  #writeRegister(register: number, value: number): void {
    this.#control &= ~ATA_CONTROL_HOB
    const selected = this.#devices[this.#selected]
    if (register === ATA_COMMAND) {
      if (value === ATA_CMD_EXECUTE_DIAGNOSTIC && selected?.busy !== true) {
        this.#selected = 0
        this.#devices[0]?.diagnose(true)
        this.#devices[1]?.diagnose(false)
        this.#updateIrq()
      } else if (value !== ATA_CMD_DEVICE_RESET || selected?.deviceReset() !== true) {
        selected?.writeCommand(value)
      }
      return
    }
    if (selected?.busy === true) return
    for (const device of this.#devices) if (device?.busy === false) device.writeTaskFile(register, value)
    if (register === ATA_DEVICE) {
      this.#selected = (value & ATA_DEVICE_DEV) !== 0 ? 1 : 0
      this.#updateIrq()
    }
  }

  #readControlBlock(offset: number, size: PortSize): number {
    const ones = size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff
    if (!this.decoded || offset !== 0) return ones
    const device = this.#answering()
    const status = device === undefined ? FLOATING : device === this.#devices[this.#selected] ? device.status : 0
    return ((ones & ~0xff) | status) >>> 0
  }

  #writeControlBlock(offset: number, value: number): void {
    if (!this.decoded || offset !== 0) return
    const before = this.#control
    this.#control = value & (ATA_CONTROL_HOB | ATA_CONTROL_SRST | ATA_CONTROL_NIEN)
    const rising = (this.#control & ~before & ATA_CONTROL_SRST) !== 0
    const falling = (before & ~this.#control & ATA_CONTROL_SRST) !== 0
    if (rising) {
      this.#selected = 0
      for (const device of this.#devices) device?.holdReset()
    }
    if (falling) for (const device of this.#devices) device?.releaseReset()
    this.#updateIrq()
  }

  #interruptChanged(index: number, raised: boolean): void {
    const wasUp = this.#level
    this.#updateIrq()
    // The bus master notes every request that reaches the wire, also one that follows another without a gap.
    if (raised && wasUp && this.#level && index === this.#selected) this.#dma?.interrupt()
  }

  #updateIrq(): void {
    const pending = this.#devices[this.#selected]?.interrupt === true
    const level = pending && (this.#control & ATA_CONTROL_NIEN) === 0
    if (level === this.#level) return
    this.#level = level
    if (level) this.#dma?.interrupt()
    this.#irq?.setLevel(level)
  }
}
