import type { BlockBackend, Clock, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { AtaDeviceState, AtaTiming } from './ata-device.js'
import {
  ATA_BUFFER_SIZE,
  ATA_PHASE_DMA_STEP,
  ATA_PHASE_DMA_WAIT,
  ATA_PHASE_IN,
  ATA_PHASE_IN_NEXT,
  ATA_PHASE_OUT,
  ATA_PHASE_OUT_COMMIT,
  ATA_PHASE_SLEEP,
  AtaDevice,
} from './ata-device.js'
import { putAtaChecksum, putAtaString } from './ata-identify.js'
import * as ata from './ata-registers.js'
import {
  ATA_COUNT,
  ATA_ERROR_ABRT,
  ATA_FEATURES,
  ATA_LBA_HIGH,
  ATA_LBA_MID,
  ATAPI_REASON_CD,
  ATAPI_REASON_IO,
} from './ata-registers.js'

// Commands. Source: SFF-8020i "ATA Packet Interface for CD-ROMs" and SCSI MMC-3.
export const SCSI_TEST_UNIT_READY = 0x00
export const SCSI_REQUEST_SENSE = 0x03
export const SCSI_INQUIRY = 0x12
export const SCSI_START_STOP_UNIT = 0x1b
export const SCSI_PREVENT_ALLOW = 0x1e
export const SCSI_READ_CAPACITY = 0x25
export const SCSI_READ_10 = 0x28
export const SCSI_SEEK_10 = 0x2b
export const SCSI_READ_TOC = 0x43
export const SCSI_GET_CONFIGURATION = 0x46
export const SCSI_GET_EVENT_STATUS = 0x4a
export const SCSI_MODE_SENSE_10 = 0x5a
export const SCSI_READ_12 = 0xa8
export const SCSI_SET_CD_SPEED = 0xbb
export const SCSI_MECHANISM_STATUS = 0xbd

// Sense keys, and additional sense codes with their qualifiers as `code << 8 | qualifier`.
export const SENSE_NONE = 0x0
export const SENSE_NOT_READY = 0x2
export const SENSE_MEDIUM_ERROR = 0x3
export const SENSE_ILLEGAL_REQUEST = 0x5
export const SENSE_UNIT_ATTENTION = 0x6
export const ASC_INVALID_COMMAND = 0x2000
export const ASC_LBA_OUT_OF_RANGE = 0x2100
export const ASC_INVALID_FIELD = 0x2400
export const ASC_MEDIUM_CHANGED = 0x2800
export const ASC_RESET = 0x2900
export const ASC_UNRECOVERED_READ = 0x1100
export const ASC_NO_MEDIUM = 0x3a00
export const ASC_REMOVAL_PREVENTED = 0x5302

/** Bytes of a CD-ROM sector's user data. */
export const CD_SECTOR_SIZE = 2048
const PACKET_SIZE = 12
const REPLY_SIZE = 256

// What the command in progress transfers.
const SOURCE_NONE = 0
const SOURCE_REPLY = 1
const SOURCE_DISC = 2
/** The packet itself comes in. */
const SOURCE_PACKET = 3
const SOURCE_IDENTIFY = 4

/** Settings of an {@link AtapiCdrom}. */
export interface AtapiCdromOptions {
  /** Up to 40 ASCII characters; INQUIRY shows the first 16. */
  readonly model?: string
  readonly serial?: string
  readonly timing?: AtaTiming
}

/** Saved state of an {@link AtapiCdrom}; the disc itself is not part of it. */
export interface AtapiCdromState {
  readonly version: 1
  readonly device: AtaDeviceState
  readonly source: number
  /** Bytes still to come after those in the buffer. */
  readonly left: number
  /** Where in the reply or on the disc they come from. */
  readonly from: number
  readonly dma: boolean
  /** Largest block of data that the host takes. */
  readonly limit: number
  readonly reply: Uint8Array
  readonly senseKey: number
  readonly senseCode: number
  /** A unit attention that the next command reports, or 0. */
  readonly attention: number
  readonly locked: boolean
  readonly trayOpen: boolean
  readonly mediaEvent: number
}

/**
 * A CD-ROM drive with the packet interface, as device on an `AtaChannel`. Discs are block backends with one data track
 * of 2048-byte sectors; a length that is no multiple of those is padded with zeros.
 *
 * Source: ATA/ATAPI-6, "PACKET feature set"; SFF-8020i; MMC-3.
 */
export class AtapiCdrom extends AtaDevice implements Stateful<AtapiCdromState> {
  readonly #model: string
  readonly #serial: string
  readonly #reply = new Uint8Array(REPLY_SIZE)
  #disc: BlockBackend | undefined
  #source: number = SOURCE_NONE
  #left = 0
  #from = 0
  #dma = false
  #limit = 0
  #senseKey: number = SENSE_NONE
  #senseCode = 0
  #attention: number = ASC_RESET
  #locked = false
  #trayOpen = false
  /** For GET EVENT STATUS: 0 nothing new, 1 eject requested, 2 new medium, 3 medium removed. */
  #mediaEvent = 0

  constructor(clock: Clock, options: AtapiCdromOptions = {}) {
    super(clock, options.timing)
    this.#model = options.model ?? 'virtkit CD-ROM'
    this.#serial = options.serial ?? 'VK00000001'
  }

  /** The disc in the drive. */
  get disc(): BlockBackend | undefined {
    return this.#disc
  }

  /** Sectors of the disc; 0 without one. */
  get capacity(): number {
    return this.#disc === undefined ? 0 : Math.ceil(this.#disc.size / CD_SECTOR_SIZE)
  }

  /** Puts a disc in and closes the tray. The guest learns of it through a unit attention. */
  insert(disc: BlockBackend): void {
    if (!Number.isSafeInteger(disc.size) || disc.size <= 0 || disc.size > CD_SECTOR_SIZE * 0xfffffffe) {
      throw new VirtkitError('bad-image', `a disc has 1 byte to 8 TiB; got ${disc.size} bytes`)
    }
    this.#disc = disc
    this.#trayOpen = false
    this.#attention = ASC_MEDIUM_CHANGED
    this.#mediaEvent = 2
  }

  /** Takes the disc out. */
  eject(): void {
    if (this.#disc === undefined) return
    this.#disc = undefined
    this.#mediaEvent = 3
  }

  override deviceReset(): boolean {
    if (this.phase !== ATA_PHASE_SLEEP) {
      this.revertSettings(false)
      this.resetNow()
    }
    return true
  }

  saveState(): AtapiCdromState {
    return {
      version: 1,
      device: this.saveCommon(),
      source: this.#source,
      left: this.#left,
      from: this.#from,
      dma: this.#dma,
      limit: this.#limit,
      reply: this.#reply.slice(),
      senseKey: this.#senseKey,
      senseCode: this.#senseCode,
      attention: this.#attention,
      locked: this.#locked,
      trayOpen: this.#trayOpen,
      mediaEvent: this.#mediaEvent,
    }
  }

  loadState(state: AtapiCdromState): void {
    const reader = new StateReader('ATAPI CD-ROM', state, 1)
    const common = this.checkCommon(new StateReader('ATAPI CD-ROM', reader.nested('device'), 1))
    const source = reader.int('source', 0, SOURCE_IDENTIFY)
    const left = reader.int('left', 0, 2 ** 43)
    const from = reader.int('from', 0, 2 ** 43)
    const dma = reader.bool('dma')
    const limit = reader.int('limit', 0, 0xfffe)
    const reply = reader.bytes('reply', REPLY_SIZE)
    const senseKey = reader.int('senseKey', 0, 0xf)
    const senseCode = reader.int('senseCode', 0, 0xffff)
    const attention = reader.int('attention', 0, 0xffff)
    const locked = reader.bool('locked')
    const trayOpen = reader.bool('trayOpen')
    const mediaEvent = reader.int('mediaEvent', 0, 3)
    const dataPhase = common.phase >= ATA_PHASE_IN && common.phase <= ATA_PHASE_DMA_STEP
    if (dataPhase) {
      const out = common.phase === ATA_PHASE_OUT || common.phase === ATA_PHASE_OUT_COMMIT
      const dmaPhase = common.phase === ATA_PHASE_DMA_WAIT || common.phase === ATA_PHASE_DMA_STEP
      const bulk = source === SOURCE_REPLY || source === SOURCE_DISC
      const fits = out
        ? source === SOURCE_PACKET && common.end === PACKET_SIZE
        : dmaPhase
          ? bulk && dma
          : common.phase === ATA_PHASE_IN_NEXT
            ? bulk && limit >= 2
            : bulk || source === SOURCE_IDENTIFY
      if (!fits) throw reader.inconsistent('source', 'what the phase needs')
    }
    if (source === SOURCE_REPLY && from + left > REPLY_SIZE) throw reader.inconsistent('left', 'within the reply')
    common.apply()
    this.#source = source
    this.#left = left
    this.#from = from
    this.#dma = dma
    this.#limit = limit
    this.#reply.set(reply)
    this.#senseKey = senseKey
    this.#senseCode = senseCode
    this.#attention = attention
    this.#locked = locked
    this.#trayOpen = trayOpen
    this.#mediaEvent = mediaEvent
  }

  protected override get readyStatus(): number {
    return ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC
  }

  /** A packet device does not say it is ready until it was identified: that is how it is told from a disk. */
  protected override get resetStatus(): number {
    return 0
  }

  protected override get signature(): number {
    return 0xeb14
  }

  protected override get dmaToMemory(): boolean {
    return true
  }

  protected override revertSettings(hardware: boolean): void {
    this.#source = SOURCE_NONE
    this.#left = 0
    this.#locked = false
    this.#senseKey = SENSE_NONE
    this.#senseCode = 0
    if (hardware) this.#attention = ASC_RESET
  }

  protected override execute(): void {
    switch (this.command) {
      case ata.ATA_CMD_PACKET:
        this.#beginPacket()
        return
      case ata.ATA_CMD_IDENTIFY_PACKET:
        this.#identify()
        return
      case ata.ATA_CMD_IDENTIFY:
      case ata.ATA_CMD_READ_SECTORS:
        // Aborted with the signature in place, by which software recognises a packet device.
        this.showSignature()
        this.abort()
        return
      case ata.ATA_CMD_SET_FEATURES: {
        const feature = this.taskFile[ATA_FEATURES]!
        if (feature === ata.ATA_FEATURE_TRANSFER_MODE) this.complete()
        else if (feature === ata.ATA_FEATURE_REVERT_OFF || feature === ata.ATA_FEATURE_REVERT_ON) this.complete()
        else this.abort()
        return
      }
      case ata.ATA_CMD_CHECK_POWER_MODE:
        this.taskFile[ATA_COUNT] = 0xff
        this.complete()
        return
      case ata.ATA_CMD_STANDBY_IMMEDIATE:
      case ata.ATA_CMD_IDLE_IMMEDIATE:
      case ata.ATA_CMD_FLUSH_CACHE:
        this.complete()
        return
      case ata.ATA_CMD_SLEEP:
        this.complete()
        this.phase = ATA_PHASE_SLEEP
        return
      default:
        this.abort()
    }
  }

  protected override blockRead(): void {
    if (this.#source === SOURCE_IDENTIFY) this.finish()
    else if (this.#left > 0) this.prepareNext()
    else this.#good()
  }

  protected override prepareBlock(): void {
    const length = Math.min(this.#limit, this.#left)
    if (!this.#fill(length)) return
    this.taskFile[ATA_LBA_MID] = length
    this.taskFile[ATA_LBA_HIGH] = length >> 8
    this.#reason(ATAPI_REASON_IO)
    this.offer(length)
  }

  protected override commitBlock(): void {
    this.position = this.end = 0
    this.#runPacket()
  }

  protected override dmaStep(): void {
    const dma = this.cable?.dma
    if (dma === undefined) return
    if (this.position === this.end) {
      const length = Math.min(ATA_BUFFER_SIZE, this.#left)
      if (!this.#fill(length)) return
      this.position = 0
      this.end = (length + 1) & ~1
    }
    this.position += dma.transfer(this.buffer, this.position, this.end, true)
    if (this.position < this.end) {
      this.phase = ATA_PHASE_DMA_WAIT
      return
    }
    this.position = this.end = 0
    if (this.#left > 0) this.startDma()
    else this.#good()
  }

  #reason(bits: number): void {
    this.taskFile[ATA_COUNT] = (this.taskFile[ATA_COUNT]! & 0xf8) | bits
  }

  #beginPacket(): void {
    const features = this.taskFile[ATA_FEATURES]!
    this.#dma = (features & 1) !== 0
    if ((features & 2) !== 0 || (this.#dma && this.cable?.dma === undefined)) {
      this.abort()
      return
    }
    const limit = this.taskFile[ATA_LBA_MID]! | (this.taskFile[ATA_LBA_HIGH]! << 8)
    // A limit of 0 or 0xFFFF stands for the largest even one; odd limits are rounded down, since words are moved.
    this.#limit = limit < 2 || limit === 0xffff ? 0xfffe : limit & 0xfffe
    this.#source = SOURCE_PACKET
    this.#reason(ATAPI_REASON_CD)
    this.ask(PACKET_SIZE, false)
  }

  #good(): void {
    this.#source = SOURCE_NONE
    this.#reason(ATAPI_REASON_CD | ATAPI_REASON_IO)
    this.complete()
  }

  #check(key: number, code: number): void {
    this.#source = SOURCE_NONE
    this.#left = 0
    this.#senseKey = key
    this.#senseCode = code
    this.#reason(ATAPI_REASON_CD | ATAPI_REASON_IO)
    this.fail((key << 4) | ATA_ERROR_ABRT)
  }

  /** Copies the next `length` bytes to the buffer; false when the command has failed. */
  #fill(length: number): boolean {
    if (this.#source === SOURCE_REPLY) {
      this.buffer.set(this.#reply.subarray(this.#from, this.#from + length))
    } else {
      const disc = this.#disc
      if (disc === undefined) {
        this.#check(SENSE_NOT_READY, ASC_NO_MEDIUM)
        return false
      }
      const present = Math.max(0, Math.min(length, disc.size - this.#from))
      this.buffer.fill(0, present, length)
      try {
        disc.read(this.#from, this.buffer.subarray(0, present))
      } catch {
        this.#check(SENSE_MEDIUM_ERROR, ASC_UNRECOVERED_READ)
        return false
      }
    }
    if ((length & 1) !== 0) this.buffer[length] = 0
    this.#from += length
    this.#left -= length
    return true
  }

  #send(source: number, from: number, length: number): void {
    this.#source = source
    this.#from = from
    this.#left = length
    if (length === 0) this.#good()
    else if (this.#dma) this.startDma()
    else this.prepareBlock()
  }

  /** Sends the first bytes of the reply, as many as both sides agree to. */
  #sendReply(length: number, allocation: number): void {
    this.#send(SOURCE_REPLY, 0, Math.min(length, allocation))
  }

  #runPacket(): void {
    const packet = this.buffer
    const operation = packet[0]!
    const word = (at: number): number => (packet[at]! << 8) | packet[at + 1]!
    const long = (at: number): number => word(at) * 0x10000 + word(at + 2)
    const quiet = operation === SCSI_INQUIRY || operation === SCSI_REQUEST_SENSE || operation === SCSI_GET_EVENT_STATUS
    if (this.#attention !== 0 && !quiet) {
      const code = this.#attention
      this.#attention = 0
      this.#check(SENSE_UNIT_ATTENTION, code)
      return
    }
    if (operation !== SCSI_REQUEST_SENSE) {
      this.#senseKey = SENSE_NONE
      this.#senseCode = 0
    }
    this.#reply.fill(0)
    switch (operation) {
      case SCSI_TEST_UNIT_READY:
        if (this.#ready()) this.#good()
        return
      case SCSI_REQUEST_SENSE:
        this.#requestSense(packet[4]!)
        return
      case SCSI_INQUIRY:
        this.#inquiry(word(3), (packet[1]! & 3) !== 0 || packet[2] !== 0)
        return
      case SCSI_START_STOP_UNIT:
        this.#startStop(packet[4]! & 3)
        return
      case SCSI_PREVENT_ALLOW:
        this.#locked = (packet[4]! & 1) !== 0
        this.#good()
        return
      case SCSI_READ_CAPACITY:
        if (!this.#ready()) return
        putLong(this.#reply, 0, this.capacity - 1)
        putLong(this.#reply, 4, CD_SECTOR_SIZE)
        this.#sendReply(8, 8)
        return
      case SCSI_READ_10:
        this.#read(long(2), word(7))
        return
      case SCSI_READ_12:
        this.#read(long(2), long(6))
        return
      case SCSI_SEEK_10:
        if (!this.#ready()) return
        if (long(2) >= this.capacity) this.#check(SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE)
        else this.#good()
        return
      case SCSI_READ_TOC:
        // Older drivers put the format into the upper bits of the control byte.
        this.#readToc((packet[1]! & 2) !== 0, packet[2]! & 0xf || packet[9]! >> 6, packet[6]!, word(7))
        return
      case SCSI_GET_CONFIGURATION:
        this.#getConfiguration(word(7))
        return
      case SCSI_GET_EVENT_STATUS:
        this.#eventStatus((packet[1]! & 1) !== 0, packet[4]!, word(7))
        return
      case SCSI_MODE_SENSE_10:
        this.#modeSense(packet[2]!, word(7))
        return
      case SCSI_SET_CD_SPEED:
        this.#good()
        return
      case SCSI_MECHANISM_STATUS:
        this.#reply[1] = this.#trayOpen ? 0x10 : 0
        this.#sendReply(8, word(8))
        return
      default:
        this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_COMMAND)
    }
  }

  #ready(): boolean {
    if (this.#disc !== undefined && !this.#trayOpen) return true
    this.#check(SENSE_NOT_READY, this.#trayOpen ? ASC_NO_MEDIUM | 2 : ASC_NO_MEDIUM)
    return false
  }

  #read(lba: number, count: number): void {
    if (!this.#ready()) return
    if (lba + count > this.capacity) {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE)
      return
    }
    this.#send(SOURCE_DISC, lba * CD_SECTOR_SIZE, count * CD_SECTOR_SIZE)
  }

  #requestSense(allocation: number): void {
    const reply = this.#reply
    // An attention that no command has reported yet is reported here.
    if (this.#senseKey === SENSE_NONE && this.#attention !== 0) {
      this.#senseKey = SENSE_UNIT_ATTENTION
      this.#senseCode = this.#attention
      this.#attention = 0
    }
    reply[0] = 0x70
    reply[2] = this.#senseKey
    reply[7] = 10
    reply[12] = this.#senseCode >> 8
    reply[13] = this.#senseCode
    this.#senseKey = SENSE_NONE
    this.#senseCode = 0
    this.#sendReply(18, allocation)
  }

  #inquiry(allocation: number, vital: boolean): void {
    if (vital) {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD)
      return
    }
    const reply = this.#reply
    reply[0] = 0x05 // CD-ROM
    reply[1] = 0x80 // removable medium
    reply[2] = 0x00
    reply[3] = 0x21 // ATAPI version 2, response format 1
    reply[4] = 31
    putText(reply, 8, 8, 'VIRTKIT')
    putText(reply, 16, 16, this.#model)
    putText(reply, 32, 4, '1.0')
    this.#sendReply(36, allocation)
  }

  #startStop(action: number): void {
    if ((action & 2) === 0) {
      this.#good()
      return
    }
    if ((action & 1) !== 0) {
      this.#trayOpen = false
    } else if (this.#locked) {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED)
      return
    } else {
      if (this.#disc !== undefined) this.#mediaEvent = 3
      this.#trayOpen = true
    }
    this.#good()
  }

  #readToc(msf: boolean, format: number, track: number, allocation: number): void {
    if (!this.#ready()) return
    const reply = this.#reply
    const address = (at: number, lba: number): void => {
      if (!msf) {
        putLong(reply, at, lba)
        return
      }
      const frames = lba + 150
      reply[at + 1] = Math.floor(frames / (75 * 60))
      reply[at + 2] = Math.floor(frames / 75) % 60
      reply[at + 3] = frames % 75
    }
    reply[2] = 1
    reply[3] = 1
    let length = 4
    const descriptor = (number: number, lba: number): void => {
      reply[length + 1] = 0x14 // data track
      reply[length + 2] = number
      address(length + 4, lba)
      length += 8
    }
    if (format === 0) {
      if (track > 1 && track !== 0xaa) {
        this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD)
        return
      }
      if (track <= 1) descriptor(1, 0)
      descriptor(0xaa, this.capacity)
    } else if (format === 1) {
      descriptor(1, 0)
    } else if (format === 2) {
      // Raw entries of the lead-in: first track, last track, start of the lead-out, and the track itself.
      const entry = (point: number, put: (at: number) => void): void => {
        reply[length] = 1
        reply[length + 1] = 0x14
        reply[length + 3] = point
        put(length + 8)
        length += 11
      }
      const time = (lba: number) => (at: number) => {
        const frames = lba + 150
        reply[at] = Math.floor(frames / (75 * 60))
        reply[at + 1] = Math.floor(frames / 75) % 60
        reply[at + 2] = frames % 75
      }
      const first = (at: number): void => {
        reply[at] = 1
      }
      entry(0xa0, first)
      entry(0xa1, first)
      entry(0xa2, time(this.capacity))
      entry(1, time(0))
    } else {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD)
      return
    }
    reply[0] = (length - 2) >> 8
    reply[1] = length - 2
    this.#sendReply(length, allocation)
  }

  #getConfiguration(allocation: number): void {
    const reply = this.#reply
    const present = this.#disc !== undefined && !this.#trayOpen
    reply[7] = present ? 0x08 : 0 // current profile: CD-ROM
    // Profile list with the one profile.
    reply[10] = 0x03 // persistent and current
    reply[11] = 4
    reply[13] = 0x08
    reply[14] = present ? 1 : 0
    // Core feature: ATAPI.
    reply[17] = 0x01
    reply[18] = 0x03
    reply[19] = 4
    reply[23] = 2
    putLong(reply, 0, 20)
    this.#sendReply(24, allocation)
  }

  #eventStatus(polled: boolean, classes: number, allocation: number): void {
    if (!polled) {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD)
      return
    }
    const reply = this.#reply
    reply[3] = 0x10 // media events are what there is
    if ((classes & 0x10) === 0) {
      reply[1] = 2
      reply[2] = 0x80 // no event of the classes asked for
      this.#sendReply(4, allocation)
      return
    }
    reply[1] = 6
    reply[2] = 4
    reply[4] = this.#mediaEvent
    reply[5] = (this.#trayOpen ? 1 : 0) | (this.#disc !== undefined && !this.#trayOpen ? 2 : 0)
    if (allocation > 4) this.#mediaEvent = 0
    this.#sendReply(8, allocation)
  }

  #modeSense(page: number, allocation: number): void {
    const reply = this.#reply
    const wanted = page & 0x3f
    // There are no saved values.
    if (page >> 6 === 3) {
      this.#check(SENSE_ILLEGAL_REQUEST, 0x3900)
      return
    }
    let length = 8
    const changeable = page >> 6 === 1
    const add = (code: number, values: readonly number[]): void => {
      if (wanted !== code && wanted !== 0x3f) return
      reply[length] = code
      reply[length + 1] = values.length
      if (!changeable) reply.set(values, length + 2)
      length += 2 + values.length
    }
    add(0x01, [0x00, 0x05, 0, 0, 0, 0]) // error recovery: five retries
    add(0x0e, [0x04, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff, 0, 0, 0, 0]) // audio control
    const lock = this.#locked ? 0x2b : 0x29 // tray, may eject and lock, locked now
    // Capabilities: reads CD-R and CD-RW; no audio; 50 × 176 KB/s; 512 KiB of buffer.
    add(0x2a, [0x03, 0x00, 0x70, 0x00, lock, 0x00, 0x22, 0x3a, 0x01, 0x00, 0x02, 0x00, 0x22, 0x3a, 0, 0, 0, 0])
    if (length === 8) {
      this.#check(SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD)
      return
    }
    reply[1] = length - 2
    reply[2] = this.#trayOpen ? 0x71 : this.#disc === undefined ? 0x70 : 0x01
    this.#sendReply(length, allocation)
  }

  #identify(): void {
    const block = this.buffer
    block.fill(0, 0, 512)
    const put = (word: number, value: number): void => {
      block[word * 2] = value
      block[word * 2 + 1] = value >>> 8
    }
    const dma = this.cable?.dma !== undefined
    put(0, 0x85c0) // packet device, CD-ROM, removable, DRQ within 50 µs, 12-byte packets
    putAtaString(block, 10, 10, this.#serial)
    putAtaString(block, 23, 4, '1.0')
    putAtaString(block, 27, 20, this.#model)
    put(49, 0x0e00 | (dma ? 0x0100 : 0))
    put(50, 0x4000)
    put(53, 0x0006)
    put(63, dma ? 0x0007 : 0)
    put(64, 0x0003)
    for (let word = 65; word <= 68; word++) put(word, 120)
    put(80, 0x007e)
    put(82, 0x4218) // NOP, DEVICE RESET, PACKET, power management
    put(83, 0x4000)
    put(84, 0x4000)
    put(85, 0x4218)
    put(87, 0x4000)
    put(88, dma ? 0x003f : 0)
    put(93, this.second ? 0x6b00 : 0x600b)
    putAtaChecksum(block)
    this.#source = SOURCE_IDENTIFY
    this.#reason(ATAPI_REASON_IO)
    this.offer(512)
  }
}

function putLong(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

function putText(bytes: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x20
    bytes[at + i] = code >= 0x20 && code < 0x7f ? code : 0x20
  }
}
