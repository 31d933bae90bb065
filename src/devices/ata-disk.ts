import type { BlockBackend, Clock, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { AtaDeviceState, AtaTiming } from './ata-device.js'
import {
  ATA_BUFFER_SIZE,
  ATA_PHASE_DMA_STEP,
  ATA_PHASE_DMA_WAIT,
  ATA_PHASE_IDLE,
  ATA_PHASE_IN,
  ATA_PHASE_IN_NEXT,
  ATA_PHASE_OUT,
  ATA_PHASE_OUT_COMMIT,
  ATA_PHASE_SLEEP,
  AtaDevice,
} from './ata-device.js'
import type { AtaGeometry } from './ata-identify.js'
import { ATA_LBA28_LIMIT, defaultGeometry, identifyDisk } from './ata-identify.js'
import * as ata from './ata-registers.js'
import {
  ATA_COUNT,
  ATA_DEVICE,
  ATA_DEVICE_LBA,
  ATA_ERROR_ABRT,
  ATA_ERROR_IDNF,
  ATA_ERROR_UNC,
  ATA_FEATURES,
  ATA_LBA_HIGH,
  ATA_LBA_LOW,
  ATA_LBA_MID,
  ATA_MAX_MULTIPLE,
  ATA_SECTOR_SIZE,
} from './ata-registers.js'

/** Settings of an {@link AtaDisk}. */
export interface AtaDiskOptions {
  /** Up to 40 ASCII characters. */
  readonly model?: string
  /** Up to 20 ASCII characters. */
  readonly serial?: string
  /** Up to 8 ASCII characters. */
  readonly firmware?: string
  readonly timing?: AtaTiming
}

/** Saved state of an {@link AtaDisk}; the contents of the disk are the backend's affair. */
export interface AtaDiskState {
  readonly version: 1
  readonly device: AtaDeviceState
  readonly lba: number
  readonly left: number
  readonly block: number
  readonly extended: boolean
  readonly transfer: number
  readonly heads: number
  readonly sectors: number
  readonly multiple: number
  readonly transferMode: number
  /** Bit 0 write cache, 1 look-ahead, 2 settings survive a software reset. */
  readonly features: number
  readonly power: number
}

// What the command in progress transfers.
const TRANSFER_NONE = 0
const TRANSFER_READ = 1
const TRANSFER_WRITE = 2
const TRANSFER_DMA_READ = 3
const TRANSFER_DMA_WRITE = 4
/** READ BUFFER, IDENTIFY: one block that is not on the disk. */
const TRANSFER_REPLY = 5
/** WRITE BUFFER. */
const TRANSFER_BUFFER = 6

const FEATURE_WRITE_CACHE = 1
const FEATURE_LOOK_AHEAD = 2
const FEATURE_KEEP_SETTINGS = 4

/** Power modes as CHECK POWER MODE reports them. */
const POWER_ACTIVE = 0xff
const POWER_IDLE = 0x80
const POWER_STANDBY = 0x00

/** Most sectors that one step of a DMA transfer moves. */
const DMA_SECTORS = ATA_BUFFER_SIZE / ATA_SECTOR_SIZE
const PIO_4 = 0x0c

/**
 * A hard disk with the general feature set of ATA/ATAPI-6: CHS, 28- and 48-bit addresses, PIO, READ and WRITE MULTIPLE, DMA
 * where the channel has a bus master, power management, and the host's choice of translation.
 *
 * A command that would leave the disk transfers nothing and ends with IDNF, the address registers showing the first sector that
 * is not there. A backend that throws while reading gives UNC at the sector it throws for; one that throws while writing
 * gives a device fault. On a read-only backend writes are aborted.
 *
 * Source: ATA/ATAPI-6 (T13/1410D), "Command descriptions".
 */
export class AtaDisk extends AtaDevice implements Stateful<AtaDiskState> {
  readonly backend: BlockBackend
  /** Sectors. */
  readonly capacity: number
  readonly #options: AtaDiskOptions
  readonly #geometry: AtaGeometry
  #heads = 16
  #sectors = 63
  #lba = 0
  #left = 0
  #block = 1
  #extended = false
  #transfer: number = TRANSFER_NONE
  #multiple = 0
  #transferMode = PIO_4
  #features: number = FEATURE_WRITE_CACHE | FEATURE_LOOK_AHEAD
  #power = POWER_ACTIVE
  /** The sector that WRITE BUFFER fills and READ BUFFER gives back. */
  readonly #scratch = new Uint8Array(ATA_SECTOR_SIZE)

  /** The backend's size is a multiple of 512 and at least 512, else `bad-image`. */
  constructor(backend: BlockBackend, clock: Clock, options: AtaDiskOptions = {}) {
    super(clock, options.timing)
    if (
      !Number.isSafeInteger(backend.size) ||
      backend.size < 512 ||
      backend.size % 512 !== 0 ||
      backend.size > 2 ** 52
    ) {
      throw new VirtkitError('bad-image', `a disk has a multiple of 512 bytes, more than 0; got ${backend.size}`)
    }
    this.backend = backend
    this.capacity = backend.size / ATA_SECTOR_SIZE
    this.#options = options
    this.#geometry = defaultGeometry(this.capacity)
  }

  saveState(): AtaDiskState {
    return {
      version: 1,
      device: this.saveCommon(),
      lba: this.#lba,
      left: this.#left,
      block: this.#block,
      extended: this.#extended,
      transfer: this.#transfer,
      heads: this.#heads,
      sectors: this.#sectors,
      multiple: this.#multiple,
      transferMode: this.#transferMode,
      features: this.#features,
      power: this.#power,
    }
  }

  loadState(state: AtaDiskState): void {
    const reader = new StateReader('ATA disk', state, 1)
    const common = this.checkCommon(new StateReader('ATA disk', reader.nested('device'), 1))
    const lba = reader.int('lba', 0, this.capacity)
    const left = reader.int('left', 0, 65536)
    const block = reader.int('block', 1, DMA_SECTORS)
    const extended = reader.bool('extended')
    const transfer = reader.int('transfer', 0, TRANSFER_BUFFER)
    const heads = reader.int('heads', 1, 16)
    const sectors = reader.int('sectors', 1, 255)
    const multiple = reader.int('multiple', 0, ATA_MAX_MULTIPLE)
    const transferMode = reader.int('transferMode', 0, 0xff)
    const features = reader.int('features', 0, 7)
    const power = reader.int('power', 0, 0xff)
    if (lba + left > this.capacity) throw reader.inconsistent('left', 'within the disk')
    const expected = PHASES[transfer]!
    const dataPhase = common.phase >= ATA_PHASE_IN && common.phase <= ATA_PHASE_DMA_STEP
    if (dataPhase && !expected.includes(common.phase)) throw reader.inconsistent('transfer', 'what the phase needs')
    if (dataPhase) {
      const writes = transfer === TRANSFER_WRITE || transfer === TRANSFER_DMA_WRITE
      const whole = common.end % ATA_SECTOR_SIZE === 0 && (!writes || common.end / ATA_SECTOR_SIZE <= left)
      if (!whole) throw reader.inconsistent('device', 'a number of sectors that the command transfers')
      if (common.end === 0 && (common.phase === ATA_PHASE_OUT_COMMIT || left + common.end === 0)) {
        throw reader.inconsistent('device', 'a command with something to transfer')
      }
    }
    common.apply()
    this.#lba = lba
    this.#left = left
    this.#block = block
    this.#extended = extended
    this.#transfer = transfer
    this.#heads = heads
    this.#sectors = sectors
    this.#multiple = multiple
    this.#transferMode = transferMode
    this.#features = features
    this.#power = power
  }

  protected override get readyStatus(): number {
    return ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC
  }

  protected override get signature(): number {
    return 0
  }

  protected override get dmaToMemory(): boolean {
    return this.#transfer === TRANSFER_DMA_READ
  }

  protected override revertSettings(hardware: boolean): void {
    this.#transfer = TRANSFER_NONE
    this.#left = 0
    this.#power = POWER_ACTIVE
    if (!hardware && (this.#features & FEATURE_KEEP_SETTINGS) !== 0) return
    this.#features = FEATURE_WRITE_CACHE | FEATURE_LOOK_AHEAD
    this.#multiple = 0
    this.#heads = this.#geometry.heads
    this.#sectors = this.#geometry.sectors
    // The transfer mode belongs to the timing of both ends and survives a software reset.
    if (hardware) this.#transferMode = PIO_4
  }

  protected override execute(): void {
    const { command } = this
    switch (command) {
      case ata.ATA_CMD_READ_SECTORS:
      case ata.ATA_CMD_READ_SECTORS_NORETRY:
        this.#beginRead(false, 1)
        return
      case ata.ATA_CMD_READ_SECTORS_EXT:
        this.#beginRead(true, 1)
        return
      case ata.ATA_CMD_READ_MULTIPLE:
      case ata.ATA_CMD_READ_MULTIPLE_EXT:
        if (this.#multiple === 0) this.abort()
        else this.#beginRead(command === ata.ATA_CMD_READ_MULTIPLE_EXT, this.#multiple)
        return
      case ata.ATA_CMD_WRITE_SECTORS:
      case ata.ATA_CMD_WRITE_SECTORS_NORETRY:
        this.#beginWrite(false, 1)
        return
      case ata.ATA_CMD_WRITE_SECTORS_EXT:
        this.#beginWrite(true, 1)
        return
      case ata.ATA_CMD_WRITE_MULTIPLE:
      case ata.ATA_CMD_WRITE_MULTIPLE_EXT:
        if (this.#multiple === 0) this.abort()
        else this.#beginWrite(command === ata.ATA_CMD_WRITE_MULTIPLE_EXT, this.#multiple)
        return
      case ata.ATA_CMD_READ_DMA:
      case ata.ATA_CMD_READ_DMA_NORETRY:
      case ata.ATA_CMD_READ_DMA_EXT:
        this.#beginDma(command === ata.ATA_CMD_READ_DMA_EXT, TRANSFER_DMA_READ)
        return
      case ata.ATA_CMD_WRITE_DMA:
      case ata.ATA_CMD_WRITE_DMA_NORETRY:
      case ata.ATA_CMD_WRITE_DMA_EXT:
        this.#beginDma(command === ata.ATA_CMD_WRITE_DMA_EXT, TRANSFER_DMA_WRITE)
        return
      case ata.ATA_CMD_READ_VERIFY:
      case ata.ATA_CMD_READ_VERIFY_NORETRY:
      case ata.ATA_CMD_READ_VERIFY_EXT:
        this.#verify(command === ata.ATA_CMD_READ_VERIFY_EXT)
        return
      case ata.ATA_CMD_IDENTIFY:
        this.#identify()
        return
      case ata.ATA_CMD_READ_BUFFER:
        this.buffer.set(this.#scratch)
        this.#transfer = TRANSFER_REPLY
        this.offer(ATA_SECTOR_SIZE)
        return
      case ata.ATA_CMD_WRITE_BUFFER:
        this.#transfer = TRANSFER_BUFFER
        this.ask(ATA_SECTOR_SIZE, false)
        return
      case ata.ATA_CMD_SET_MULTIPLE:
        this.#setMultiple()
        return
      case ata.ATA_CMD_INITIALIZE_PARAMETERS:
        this.#initializeParameters()
        return
      case ata.ATA_CMD_SET_FEATURES:
        this.#setFeatures()
        return
      case ata.ATA_CMD_FLUSH_CACHE:
      case ata.ATA_CMD_FLUSH_CACHE_EXT:
        this.#flush()
        return
      case ata.ATA_CMD_READ_NATIVE_MAX:
      case ata.ATA_CMD_READ_NATIVE_MAX_EXT:
        this.#readNativeMax(command === ata.ATA_CMD_READ_NATIVE_MAX_EXT)
        return
      // Second of each pair: the command codes of ATA-1 for the same.
      case ata.ATA_CMD_STANDBY_IMMEDIATE:
      case 0x94:
      case ata.ATA_CMD_STANDBY:
      case 0x96:
        this.#setPower(POWER_STANDBY)
        return
      case ata.ATA_CMD_IDLE_IMMEDIATE:
      case 0x95:
      case ata.ATA_CMD_IDLE:
      case 0x97:
        this.#setPower(POWER_IDLE)
        return
      case ata.ATA_CMD_CHECK_POWER_MODE:
      case 0x98:
        this.taskFile[ATA_COUNT] = this.#power
        this.complete()
        return
      case ata.ATA_CMD_SLEEP:
      case 0x99:
        this.#setPower(POWER_STANDBY)
        this.phase = ATA_PHASE_SLEEP
        return
      case ata.ATA_CMD_PACKET:
      case ata.ATA_CMD_IDENTIFY_PACKET:
      case ata.ATA_CMD_DEVICE_RESET:
        this.abort()
        return
    }
    // RECALIBRATE and SEEK ignore the low digit of their codes.
    if ((command & 0xf0) === ata.ATA_CMD_RECALIBRATE) this.#recalibrate()
    else if ((command & 0xf0) === ata.ATA_CMD_SEEK) this.#seek()
    else this.abort()
  }

  protected override blockRead(): void {
    if (this.#transfer === TRANSFER_READ && this.#left > 0) this.prepareNext()
    else this.finish()
  }

  protected override prepareBlock(): void {
    const count = Math.min(this.#block, this.#left)
    if (this.#readSectors(count)) this.offer(count * ATA_SECTOR_SIZE)
  }

  protected override commitBlock(): void {
    if (this.#transfer === TRANSFER_BUFFER) {
      this.#scratch.set(this.buffer.subarray(0, ATA_SECTOR_SIZE))
      this.complete()
      return
    }
    if (!this.#writeSectors(this.end / ATA_SECTOR_SIZE)) return
    if (this.#left > 0) this.ask(Math.min(this.#block, this.#left) * ATA_SECTOR_SIZE, true)
    else this.complete()
  }

  protected override dmaStep(): void {
    const dma = this.cable?.dma
    if (dma === undefined) return
    const reads = this.#transfer === TRANSFER_DMA_READ
    if (this.position === this.end) {
      const count = Math.min(DMA_SECTORS, this.#left)
      if (reads && !this.#readSectors(count)) return
      this.position = 0
      this.end = count * ATA_SECTOR_SIZE
    }
    this.position += dma.transfer(this.buffer, this.position, this.end, reads)
    if (this.position < this.end) {
      this.phase = ATA_PHASE_DMA_WAIT
      return
    }
    if (!reads && !this.#writeSectors(this.end / ATA_SECTOR_SIZE)) return
    this.position = this.end = 0
    if (this.#left > 0) this.startDma()
    else this.complete()
  }

  /** Reads the address registers: the first sector, or −1 for a CHS address that does not exist. */
  #address(extended: boolean): number {
    const { taskFile, previous } = this
    const low = taskFile[ATA_LBA_LOW]!
    const cylinder = taskFile[ATA_LBA_MID]! | (taskFile[ATA_LBA_HIGH]! << 8)
    const device = taskFile[ATA_DEVICE]!
    if (extended) {
      const high = previous[ATA_LBA_LOW]! | (previous[ATA_LBA_MID]! << 8) | (previous[ATA_LBA_HIGH]! << 16)
      return high * 2 ** 24 + (low | (cylinder << 8))
    }
    const head = device & 0x0f
    if ((device & ATA_DEVICE_LBA) !== 0) return low | (cylinder << 8) | (head << 24)
    if (low === 0 || low > this.#sectors || head >= this.#heads) return -1
    return (cylinder * this.#heads + head) * this.#sectors + low - 1
  }

  /** Writes the address registers, in the form that the command used. */
  #showAddress(lba: number): void {
    const { taskFile, previous } = this
    if (!this.#extended && (taskFile[ATA_DEVICE]! & ATA_DEVICE_LBA) === 0) {
      const track = Math.floor(lba / this.#sectors)
      const cylinder = Math.floor(track / this.#heads)
      taskFile[ATA_LBA_LOW] = (lba % this.#sectors) + 1
      taskFile[ATA_LBA_MID] = cylinder
      taskFile[ATA_LBA_HIGH] = cylinder >> 8
      taskFile[ATA_DEVICE] = (taskFile[ATA_DEVICE]! & 0xf0) | (track % this.#heads)
      return
    }
    taskFile[ATA_LBA_LOW] = lba
    taskFile[ATA_LBA_MID] = lba >>> 8
    taskFile[ATA_LBA_HIGH] = lba >>> 16
    if (this.#extended) {
      const high = Math.floor(lba / 2 ** 24)
      previous[ATA_LBA_LOW] = high
      previous[ATA_LBA_MID] = high >>> 8
      previous[ATA_LBA_HIGH] = high >>> 16
    } else {
      taskFile[ATA_DEVICE] = (taskFile[ATA_DEVICE]! & 0xf0) | ((lba >>> 24) & 0x0f)
    }
  }

  #showCount(): void {
    this.taskFile[ATA_COUNT] = this.#left
    if (this.#extended) this.previous[ATA_COUNT] = this.#left >>> 8
  }

  /** Takes address and count from the task file; false when the command has failed over them. */
  #locate(extended: boolean): boolean {
    this.#transfer = TRANSFER_NONE
    this.#left = 0
    this.#extended = extended
    this.#power = POWER_ACTIVE
    if (extended && (this.taskFile[ATA_DEVICE]! & ATA_DEVICE_LBA) === 0) {
      this.abort()
      return false
    }
    const lba = this.#address(extended)
    const low = this.taskFile[ATA_COUNT]!
    const count = extended ? low | (this.previous[ATA_COUNT]! << 8) || 65536 : low || 256
    if (lba < 0 || lba + count > this.capacity) {
      if (lba >= 0 && lba < this.capacity) this.#showAddress(this.capacity)
      this.fail(ATA_ERROR_IDNF)
      return false
    }
    this.#lba = lba
    this.#left = count
    return true
  }

  #beginRead(extended: boolean, block: number): void {
    if (!this.#locate(extended)) return
    this.#transfer = TRANSFER_READ
    this.#block = block
    this.prepareBlock()
  }

  #beginWrite(extended: boolean, block: number): void {
    if (!this.#writable() || !this.#locate(extended)) return
    this.#transfer = TRANSFER_WRITE
    this.#block = block
    this.ask(Math.min(block, this.#left) * ATA_SECTOR_SIZE, false)
  }

  #beginDma(extended: boolean, transfer: number): void {
    if (this.cable?.dma === undefined) {
      this.abort()
      return
    }
    if (transfer === TRANSFER_DMA_WRITE && !this.#writable()) return
    if (!this.#locate(extended)) return
    this.#transfer = transfer
    this.position = this.end = 0
    this.startDma()
  }

  #writable(): boolean {
    if (!this.backend.readOnly) return true
    this.abort()
    return false
  }

  /** Reads `count` sectors into the buffer and moves on; false when the command has failed. */
  #readSectors(count: number): boolean {
    const from = this.#lba * ATA_SECTOR_SIZE
    if (!this.#attemptRead(from, count * ATA_SECTOR_SIZE)) {
      // One sector after the other, to find the one to report.
      let good = 0
      while (good < count - 1 && this.#attemptRead(from + good * ATA_SECTOR_SIZE, ATA_SECTOR_SIZE)) good++
      this.#advance(good)
      this.#showAddress(this.#lba)
      this.#showCount()
      this.#left = 0
      this.fail(ATA_ERROR_UNC)
      return false
    }
    this.#advance(count)
    this.#showAddress(this.#lba - 1)
    this.#showCount()
    return true
  }

  #attemptRead(from: number, length: number): boolean {
    try {
      this.backend.read(from, this.buffer.subarray(0, length))
      return true
    } catch {
      return false
    }
  }

  /** Writes the first `count` sectors of the buffer and moves on; false when the command has failed. */
  #writeSectors(count: number): boolean {
    try {
      this.backend.write(this.#lba * ATA_SECTOR_SIZE, this.buffer.subarray(0, count * ATA_SECTOR_SIZE))
    } catch {
      this.#showAddress(this.#lba)
      this.#showCount()
      this.#left = 0
      this.fail(ATA_ERROR_ABRT, ata.ATA_STATUS_DF)
      return false
    }
    this.#advance(count)
    this.#showAddress(this.#lba - 1)
    this.#showCount()
    return true
  }

  #advance(count: number): void {
    this.#lba += count
    this.#left -= count
  }

  #verify(extended: boolean): void {
    if (!this.#locate(extended)) return
    while (this.#left > 0) if (!this.#readSectors(Math.min(DMA_SECTORS, this.#left))) return
    this.complete()
  }

  #seek(): void {
    this.#extended = false
    this.#power = POWER_ACTIVE
    const lba = this.#address(false)
    if (lba < 0 || lba >= this.capacity) this.fail(ATA_ERROR_IDNF)
    else this.complete()
  }

  #recalibrate(): void {
    this.#extended = false
    this.#power = POWER_ACTIVE
    this.#showAddress(0)
    this.complete()
  }

  #identify(): void {
    this.#transfer = TRANSFER_REPLY
    const current = this.#currentGeometry()
    identifyDisk(this.buffer, {
      model: this.#options.model ?? 'virtkit disk',
      serial: this.#options.serial ?? 'VK00000001',
      firmware: this.#options.firmware ?? '1.0',
      capacity: this.capacity,
      geometry: this.#geometry,
      current,
      multiple: this.#multiple,
      dma: this.cable?.dma !== undefined,
      transferMode: this.#transferMode,
      writeCache: (this.#features & FEATURE_WRITE_CACHE) !== 0,
      lookAhead: (this.#features & FEATURE_LOOK_AHEAD) !== 0,
      second: this.second,
    })
    this.offer(ATA_SECTOR_SIZE)
  }

  #currentGeometry(): AtaGeometry {
    const perCylinder = this.#heads * this.#sectors
    const cylinders = Math.min(65535, Math.max(1, Math.floor(Math.min(this.capacity, 16514064) / perCylinder)))
    return { cylinders, heads: this.#heads, sectors: this.#sectors }
  }

  #setMultiple(): void {
    const count = this.taskFile[ATA_COUNT]!
    // A count that is not a power of two, or too large, leaves multiple mode off.
    const legal = count <= ATA_MAX_MULTIPLE && (count & (count - 1)) === 0
    this.#multiple = legal ? count : 0
    if (legal) this.complete()
    else this.abort()
  }

  #initializeParameters(): void {
    const sectors = this.taskFile[ATA_COUNT]!
    if (sectors === 0) {
      this.abort()
      return
    }
    this.#sectors = sectors
    this.#heads = (this.taskFile[ATA_DEVICE]! & 0x0f) + 1
    this.complete()
  }

  #setFeatures(): void {
    const set = (bit: number, on: boolean): void => {
      this.#features = on ? this.#features | bit : this.#features & ~bit
      this.complete()
    }
    switch (this.taskFile[ATA_FEATURES]) {
      case ata.ATA_FEATURE_WRITE_CACHE_ON:
        set(FEATURE_WRITE_CACHE, true)
        return
      case ata.ATA_FEATURE_WRITE_CACHE_OFF:
        set(FEATURE_WRITE_CACHE, false)
        return
      case ata.ATA_FEATURE_LOOK_AHEAD_ON:
        set(FEATURE_LOOK_AHEAD, true)
        return
      case ata.ATA_FEATURE_LOOK_AHEAD_OFF:
        set(FEATURE_LOOK_AHEAD, false)
        return
      case ata.ATA_FEATURE_REVERT_OFF:
        set(FEATURE_KEEP_SETTINGS, true)
        return
      case ata.ATA_FEATURE_REVERT_ON:
        set(FEATURE_KEEP_SETTINGS, false)
        return
      case ata.ATA_FEATURE_TRANSFER_MODE:
        if (!this.#setTransferMode(this.taskFile[ATA_COUNT]!)) this.abort()
        else this.complete()
        return
      default:
        this.abort()
    }
  }

  #setTransferMode(mode: number): boolean {
    const number = mode & 7
    const dma = this.cable?.dma !== undefined
    switch (mode >> 3) {
      case 0: // PIO default mode, with or without IORDY: changes no DMA mode
        return number <= 1
      case 1:
        return number <= 4
      case 4:
        if (!dma || number > 2) return false
        break
      case 8:
        if (!dma || number > 5) return false
        break
      default:
        return false
    }
    this.#transferMode = mode
    return true
  }

  #flush(): void {
    try {
      this.backend.flush()
    } catch {
      this.fail(ATA_ERROR_ABRT, ata.ATA_STATUS_DF)
      return
    }
    this.complete()
  }

  #readNativeMax(extended: boolean): void {
    if ((this.taskFile[ATA_DEVICE]! & ATA_DEVICE_LBA) === 0) {
      this.abort()
      return
    }
    this.#extended = extended
    this.#showAddress((extended ? this.capacity : Math.min(this.capacity, ATA_LBA28_LIMIT)) - 1)
    this.complete()
  }

  #setPower(mode: number): void {
    if (mode === POWER_STANDBY && !this.backend.readOnly) {
      try {
        this.backend.flush()
      } catch {
        this.fail(ATA_ERROR_ABRT, ata.ATA_STATUS_DF)
        return
      }
    }
    this.#power = mode
    this.complete()
  }
}

/** The data phases that each kind of transfer goes through. */
const PHASES: readonly (readonly number[])[] = [
  [ATA_PHASE_IDLE],
  [ATA_PHASE_IN, ATA_PHASE_IN_NEXT],
  [ATA_PHASE_OUT, ATA_PHASE_OUT_COMMIT],
  [ATA_PHASE_DMA_WAIT, ATA_PHASE_DMA_STEP],
  [ATA_PHASE_DMA_WAIT, ATA_PHASE_DMA_STEP],
  [ATA_PHASE_IN],
  [ATA_PHASE_OUT, ATA_PHASE_OUT_COMMIT],
]
