import type { BlockBackend, IrqLine } from '../../src/contracts/index.js'
import { VirtkitError } from '../../src/contracts/index.js'
import { AtaController } from '../../src/devices/ata.js'
import type { AtaChannel } from '../../src/devices/ata-channel.js'
import { ATA_STATUS_BSY, ATA_STATUS_DRQ } from '../../src/devices/ata-registers.js'
import { ManualClock } from '../manual-clock.js'

/** An interrupt line that counts its rising edges. */
export class TestLine implements IrqLine {
  level = false
  edges = 0
  setLevel(asserted: boolean): void {
    if (asserted && !this.level) this.edges++
    this.level = asserted
  }
}

/** A disk in memory that can be told to fail. */
export class TestDisk implements BlockBackend {
  readonly bytes: Uint8Array
  readOnly = false
  /** First byte that cannot be read or written. */
  badFrom = Infinity
  flushes = 0
  /** Accesses outside of the disk, which a device must never make. */
  outside = 0

  constructor(sectors: number) {
    this.bytes = new Uint8Array(sectors * 512)
    for (let i = 0; i < this.bytes.length; i++) this.bytes[i] = (i * 7 + (i >> 9) * 13) & 0xff
  }

  get size(): number {
    return this.bytes.length
  }

  read(offset: number, target: Uint8Array): void {
    if (offset + target.length > this.badFrom) throw new VirtkitError('unreadable', 'bad sector')
    this.#check(offset, target.length)
    target.set(this.bytes.subarray(offset, offset + target.length))
  }

  write(offset: number, source: Uint8Array): void {
    if (offset + source.length > this.badFrom) throw new VirtkitError('unreadable', 'bad sector')
    this.#check(offset, source.length)
    this.bytes.set(source, offset)
  }

  flush(): void {
    this.flushes++
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && offset + length <= this.bytes.length) return
    this.outside++
    throw new RangeError('outside of the disk')
  }
}

/** A controller with disks on the primary channel, and what a driver needs to talk to it. */
export class Bench {
  readonly clock = new ManualClock()
  readonly irq = new TestLine()
  readonly controller: AtaController
  readonly channel: AtaChannel

  constructor(...disks: (BlockBackend | undefined)[]) {
    this.controller = new AtaController({ clock: this.clock, primaryIrq: this.irq })
    this.channel = this.controller.primary
    disks.forEach((disk, i) => {
      if (disk !== undefined) this.controller.attachDisk(i as 0 | 1, disk)
    })
  }

  read(register: number, size: 1 | 2 | 4 = 1): number {
    return this.channel.commandBlock.readPort(register, size)
  }

  write(register: number, value: number, size: 1 | 2 | 4 = 1): void {
    this.channel.commandBlock.writePort(register, size, value)
  }

  get alternate(): number {
    return this.channel.controlBlock.readPort(0, 1)
  }

  control(value: number): void {
    this.channel.controlBlock.writePort(0, 1, value)
  }

  /** Waits until BSY is gone; gives the status. */
  settle(): number {
    for (let i = 0; i < 1000 && (this.alternate & ATA_STATUS_BSY) !== 0; i++) this.clock.advance(1000)
    return this.read(7)
  }

  /** Loads LBA28 address and count, then the command. */
  command(code: number, lba = 0, count = 1, device = 0xe0): void {
    this.write(6, device | ((lba >>> 24) & 0xf))
    this.write(2, count & 0xff)
    this.write(3, lba & 0xff)
    this.write(4, (lba >>> 8) & 0xff)
    this.write(5, (lba >>> 16) & 0xff)
    this.write(7, code)
  }

  /** Loads LBA48 address and count, then the command. */
  commandExt(code: number, lba: number, count: number, device = 0x40): void {
    this.write(6, device)
    this.write(2, count >>> 8)
    this.write(3, (lba >>> 24) & 0xff)
    this.write(4, Math.floor(lba / 2 ** 32) & 0xff)
    this.write(5, Math.floor(lba / 2 ** 40) & 0xff)
    this.write(2, count & 0xff)
    this.write(3, lba & 0xff)
    this.write(4, (lba >>> 8) & 0xff)
    this.write(5, (lba >>> 16) & 0xff)
    this.write(7, code)
  }

  /** Reads data words while the device offers them; gives bytes and the status at the end. */
  drain(size: 2 | 4 = 2): { data: Uint8Array; status: number } {
    const bytes: number[] = []
    let status = this.settle()
    while ((status & ATA_STATUS_DRQ) !== 0) {
      const value = this.read(0, size)
      for (let i = 0; i < size; i++) bytes.push((value >>> (8 * i)) & 0xff)
      if ((this.alternate & ATA_STATUS_DRQ) === 0) status = this.settle()
    }
    return { data: Uint8Array.from(bytes), status }
  }

  /** Writes data while the device asks for them; gives the status at the end. */
  feed(data: Uint8Array, size: 2 | 4 = 2): number {
    let at = 0
    let status = this.settle()
    while ((status & ATA_STATUS_DRQ) !== 0) {
      let value = 0
      for (let i = 0; i < size; i++) value += (data[at++] ?? 0) * 2 ** (8 * i)
      this.write(0, value, size)
      if ((this.alternate & ATA_STATUS_DRQ) === 0) status = this.settle()
    }
    return status
  }

  /** Word `index` of a block. */
  static word(block: Uint8Array, index: number): number {
    return block[index * 2]! | (block[index * 2 + 1]! << 8)
  }
}
