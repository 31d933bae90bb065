import type { Alarm, BlockBackend, Clock, IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { FloppyGeometry } from './floppy-media.js'
import { floppyGeometry } from './floppy-media.js'
import {
  DIR_DSKCHG,
  DOR_DMAGATE,
  DOR_RESET,
  DSR_RESET,
  FDC_CONFIGURE,
  FDC_DIR,
  FDC_DOR,
  FDC_DUMPREG,
  FDC_FIFO,
  FDC_FORMAT,
  FDC_LOCK,
  FDC_MSR,
  FDC_MT,
  FDC_PERPENDICULAR,
  FDC_READ,
  FDC_READ_DELETED,
  FDC_READ_ID,
  FDC_READ_TRACK,
  FDC_RECALIBRATE,
  FDC_SEEK,
  FDC_SENSE_DRIVE,
  FDC_SENSE_INTERRUPT,
  FDC_SPECIFY,
  FDC_TDR,
  FDC_VERIFY,
  FDC_VERSION,
  FDC_WRITE,
  FDC_WRITE_DELETED,
  MSR_CMD_BUSY,
  MSR_DIO,
  MSR_NON_DMA,
  MSR_RQM,
  ST0_ABNORMAL,
  ST0_INVALID,
  ST0_READY_CHANGED,
  ST0_SEEK_END,
  ST1_EN,
  ST1_MA,
  ST1_ND,
  ST1_NW,
  ST1_OR,
  ST2_CM,
  ST2_WC,
  ST3_READY,
  ST3_TRACK0,
  ST3_TWO_SIDED,
  ST3_WP,
} from './floppy-registers.js'
import { readSplit, writeSplit } from './port-split.js'

/** The DREQ wire of DMA channel 2. Raising it may call back into the controller at once. */
export interface DmaPort {
  /** DREQ. */
  setRequest(level: boolean): void
}

/** What a {@link FloppyController} is connected to. */
export interface FloppyControllerOptions {
  readonly clock: Clock
  /** IRQ 6. */
  readonly irq: IrqLine
  /** Left out, only non-DMA mode moves data. */
  readonly dma?: DmaPort
  /** Sectors and steps take {@link FLOPPY_FAST_NS} each instead of their mechanical time. Default false. */
  readonly fast?: boolean
}

/** Nanoseconds per sector and step with the `fast` option. */
export const FLOPPY_FAST_NS = 10_000
const RESET_NS = 50_000
const SECTOR = 512

const PHASE_RESET = 0
const PHASE_COMMAND = 1
const PHASE_BUSY = 2
const PHASE_DATA_OUT = 3 // to the processor
const PHASE_DATA_IN = 4 // from the processor
const PHASE_RESULT = 5

/** Bytes of each command, the first included; 0 for an invalid one. */
const LENGTHS = new Uint8Array(32)
for (const command of [FDC_READ, FDC_WRITE, FDC_READ_DELETED, FDC_WRITE_DELETED, FDC_READ_TRACK, FDC_VERIFY]) {
  LENGTHS[command] = 9
}
LENGTHS[FDC_FORMAT] = 6
LENGTHS[FDC_CONFIGURE] = 4
LENGTHS[FDC_SPECIFY] = 3
LENGTHS[FDC_SEEK] = 3
for (const command of [FDC_SENSE_DRIVE, FDC_RECALIBRATE, FDC_READ_ID, FDC_PERPENDICULAR]) LENGTHS[command] = 2
for (const command of [FDC_SENSE_INTERRUPT, FDC_DUMPREG, FDC_VERSION, FDC_LOCK]) LENGTHS[command] = 1

const REGISTERS = 18
type Media = { readonly backend: BlockBackend; readonly geometry: FloppyGeometry }

/** Saved state of a {@link FloppyController}; the diskettes are the host's to put back first. */
export interface FloppyControllerState {
  readonly version: 1
  /** The single-byte registers in the order of the source. */
  readonly registers: Uint8Array
  readonly tracks: Uint8Array
  readonly command: Uint8Array
  readonly result: Uint8Array
  readonly data: Uint8Array
  readonly dataAt: number
  readonly dataLength: number
  readonly terminalCount: boolean
  readonly alarm: 'none' | 'reset' | 'sector' | 'done' | 'late' | 'absent'
  readonly deadline: number | null
  /** ST0 of each drive's last seek, and when a running seek ends (−1: none runs). */
  readonly seekStatus: Uint8Array
  readonly seekDeadlines: readonly number[]
}

/**
 * Floppy disk controller 82077AA in AT mode with two drives, at ports 0x3F0–0x3F5 and 0x3F7 (0x3F6 is the hard disk's: register
 * {@link FloppyController.changePort} at 0x3F7). Data moves sector by sector: a sector that is not taken while the
 * next one passes under the head is an overrun. The scan commands are not there (the chip was hardly ever asked for them) and are answered as invalid.
 *
 * Source: Intel 82077AA data sheet.
 */
export class FloppyController implements PortDevice, Stateful<FloppyControllerState> {
  /** DIR and CCR, the one register beyond the hard disk's 0x3F6. */
  readonly changePort: PortDevice
  readonly #clock: Clock
  readonly #irq: IrqLine
  readonly #dma: DmaPort | undefined
  readonly #fast: boolean
  readonly #media: (Media | undefined)[] = [undefined, undefined]

  #dor = DOR_RESET | DOR_DMAGATE
  #tdr = 0
  #rate = 2
  #precompensation = 0
  #phase = PHASE_COMMAND
  /** The interrupt request before the DMAGATE bit. */
  #interrupt = false
  /** Drives (a mask) whose changed line is set. */
  #changed = 3
  /** SENSE INTERRUPT answers that are due: ready-change after a reset (low nibble), ends of seeks (high). */
  #sense = 0
  readonly #seekStatus = new Uint8Array(4)
  readonly #seekAlarms: (Alarm | undefined)[] = [undefined, undefined, undefined, undefined]
  readonly #onSeekEnd: readonly (() => void)[] = [0, 1, 2, 3].map((drive) => (): void => {
    this.#seekAlarms[drive] = undefined
    this.#sense |= 0x10 << drive
    this.#setInterrupt(true)
  })
  #specify1 = 0
  #specify2 = 0
  #configure = 0x20
  #pretrack = 0
  #lock = 0
  #perpendicular = 0
  #lastEot = 0
  /** Where the next sector of READ ID is. */
  #idSector = 1
  readonly #tracks = new Uint8Array(4)

  readonly #command = new Uint8Array(9)
  #commandCount = 0
  readonly #result = new Uint8Array(10)
  #resultCount = 0
  #resultAt = 0

  readonly #data = new Uint8Array(SECTOR)
  #dataAt = 0
  #dataLength = 0
  #terminalCount = false
  #serving = false

  #alarm: Alarm | undefined
  #alarmKind: FloppyControllerState['alarm'] = 'none'

  constructor(options: FloppyControllerOptions) {
    this.#clock = options.clock
    this.#irq = options.irq
    this.#dma = options.dma
    this.#fast = options.fast ?? false
    this.changePort = {
      readPort: (offset, size) =>
        readSplit({ readByte: () => this.readByte(FDC_DIR), writeByte: () => {} }, offset, size, 1),
      writePort: (offset, _size, value) => {
        if (offset === 0) this.writeByte(FDC_DIR, value & 0xff)
      },
    }
  }

  /** Puts a diskette into drive 0 or 1; throws `bad-image` when its size is no format, `overlap` when one is there. */
  insert(drive: number, backend: BlockBackend): void {
    this.#checkDrive(drive)
    if (this.#media[drive] !== undefined) throw new VirtkitError('overlap', `drive ${drive} already holds a diskette`)
    this.#media[drive] = { backend, geometry: floppyGeometry(backend) }
    this.#changed |= 1 << drive
  }

  /** Takes the diskette out of a drive; an empty drive stays empty. */
  eject(drive: number): void {
    this.#checkDrive(drive)
    this.#media[drive] = undefined
    this.#changed |= 1 << drive
  }

  /** The geometry of the diskette in a drive, if there is one. */
  geometry(drive: number): FloppyGeometry | undefined {
    return this.#media[drive]?.geometry
  }

  /** The RESET pin. */
  reset(): void {
    this.#dor = 0
    this.#tdr = 0
    this.#lock = 0
    this.#specify1 = 0
    this.#specify2 = 0
    this.#tracks.fill(0)
    this.#enterReset()
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 8)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 8, value)
  }

  /** Reads one register. */
  readByte(offset: number): number {
    switch (offset) {
      case FDC_DOR:
        return this.#dor
      case FDC_TDR:
        return this.#tdr
      case FDC_MSR:
        return this.#mainStatus()
      case FDC_FIFO:
        return this.#readFifo()
      case FDC_DIR:
        return this.#changeLine() ? DIR_DSKCHG : 0
      default:
        return 0xff // the status registers A and B do not exist in AT mode
    }
  }

  /** Writes one register. */
  writeByte(offset: number, value: number): void {
    switch (offset) {
      case FDC_DOR: {
        const before = this.#dor
        this.#dor = value
        if ((value & DOR_RESET) === 0) this.#enterReset()
        else if ((before & DOR_RESET) === 0) this.#leaveReset()
        this.#updateIrq()
        break
      }
      case FDC_TDR:
        this.#tdr = value & 3
        break
      case FDC_MSR:
        this.#rate = value & 3
        this.#precompensation = value & 0x1c
        if ((value & DSR_RESET) !== 0 && (this.#dor & DOR_RESET) !== 0) {
          this.#enterReset()
          this.#leaveReset() // the bit clears itself
        }
        break
      case FDC_FIFO:
        this.#writeFifo(value)
        break
      case FDC_DIR:
        this.#rate = value & 3
        break
      default:
    }
  }

  // --- DMA channel 2 ----------------------------------------------------------------------------------------------

  /** The DMA controller takes a byte for memory. */
  read(): number {
    if (this.#phase !== PHASE_DATA_OUT || this.#dataAt >= this.#dataLength) return 0xff
    const byte = this.#data[this.#dataAt++]!
    if (this.#dataAt === this.#dataLength) this.#settle()
    return byte
  }

  /** The DMA controller brings a byte from memory. */
  write(value: number): void {
    if (this.#phase !== PHASE_DATA_IN || this.#dataAt >= this.#dataLength) return
    this.#data[this.#dataAt++] = value
    if (this.#dataAt === this.#dataLength) this.#settle()
  }

  /** The TC pin: the command ends with this sector. */
  terminalCount(): void {
    if (this.#phase !== PHASE_DATA_OUT && this.#phase !== PHASE_DATA_IN) return
    this.#terminalCount = true
    this.#settle()
  }

  /** No more bytes of this sector. TC follows the last byte, so what comes next is decided after this DMA cycle. */
  #settle(): void {
    this.#dma?.setRequest(false)
    if (!this.#serving) this.#schedule('done', 0)
  }

  // --- State ------------------------------------------------------------------------------------------------------

  saveState(): FloppyControllerState {
    return {
      version: 1,
      registers: Uint8Array.of(
        this.#dor,
        this.#tdr,
        this.#rate,
        this.#precompensation,
        this.#phase,
        this.#interrupt ? 1 : 0,
        this.#changed,
        this.#sense,
        this.#specify1,
        this.#specify2,
        this.#configure,
        this.#pretrack,
        this.#lock,
        this.#perpendicular,
        this.#lastEot,
        this.#idSector,
        this.#commandCount,
        this.#resultAt,
      ),
      tracks: this.#tracks.slice(),
      command: this.#command.slice(),
      result: this.#result.slice(0, this.#resultCount),
      data: this.#data.slice(),
      dataAt: this.#dataAt,
      dataLength: this.#dataLength,
      terminalCount: this.#terminalCount,
      alarm: this.#alarmKind,
      deadline: this.#alarm?.deadline ?? null,
      seekStatus: this.#seekStatus.slice(),
      seekDeadlines: this.#seekAlarms.map((alarm) => alarm?.deadline ?? -1),
    }
  }

  loadState(state: FloppyControllerState): void {
    const reader = new StateReader('floppy controller', state, 1)
    const registers = reader.bytes('registers', REGISTERS)
    const tracks = reader.bytes('tracks', 4)
    const command = reader.bytes('command', 9)
    const result = reader.bytes('result', 0, 10)
    const data = reader.bytes('data', SECTOR)
    const dataLength = reader.int('dataLength', 0, SECTOR)
    const dataAt = reader.int('dataAt', 0, dataLength)
    const terminalCount = reader.bool('terminalCount')
    const kind = reader.oneOf('alarm', ['none', 'reset', 'sector', 'done', 'late', 'absent'])
    const deadline = reader.timeOrNull('deadline')
    const seekStatus = reader.bytes('seekStatus', 4)
    const seekDeadlines = reader.nested('seekDeadlines')
    if (!isTimes(seekDeadlines)) throw reader.inconsistent('seekDeadlines', 'four times')
    const r = registers as unknown as readonly number[]
    if ((kind === 'none') !== (deadline === null)) throw reader.inconsistent('deadline', 'that of the alarm')
    if (r[2]! > 3 || r[4]! > PHASE_RESULT || r[5]! > 1 || r[16]! > 8 || r[17]! > result.length) {
      throw reader.inconsistent('registers', 'those of a floppy controller')
    }
    this.#dor = r[0]!
    this.#tdr = r[1]! & 3
    this.#rate = r[2]!
    this.#precompensation = r[3]!
    this.#phase = r[4]!
    this.#interrupt = r[5] === 1
    this.#changed = r[6]! & 3
    this.#sense = r[7]!
    this.#specify1 = r[8]!
    this.#specify2 = r[9]!
    this.#configure = r[10]!
    this.#pretrack = r[11]!
    this.#lock = r[12]! & 1
    this.#perpendicular = r[13]!
    this.#lastEot = r[14]!
    this.#idSector = r[15]!
    this.#commandCount = r[16]!
    this.#resultAt = r[17]!
    this.#tracks.set(tracks)
    this.#command.set(command)
    this.#result.set(result)
    this.#resultCount = result.length
    this.#data.set(data)
    this.#dataAt = dataAt
    this.#dataLength = dataLength
    this.#terminalCount = terminalCount
    this.#cancel()
    if (deadline !== null) this.#scheduleAt(kind, deadline)
    this.#seekStatus.set(seekStatus)
    this.#cancelSeeks()
    seekDeadlines.forEach((at, drive) => {
      if (at >= 0) this.#seekAlarms[drive] = this.#clock.schedule(at, this.#onSeekEnd[drive]!)
    })
    this.#updateIrq()
  }

  // --- Registers --------------------------------------------------------------------------------------------------

  #checkDrive(drive: number): void {
    if (drive !== 0 && drive !== 1) throw new VirtkitError('bad-argument', `floppy drive ${drive} is not 0 or 1`)
  }

  #mainStatus(): number {
    switch (this.#phase) {
      case PHASE_RESET:
        return 0
      case PHASE_COMMAND:
        return MSR_RQM | (this.#commandCount > 0 ? MSR_CMD_BUSY : 0) | this.#seeking()
      case PHASE_BUSY:
        return MSR_CMD_BUSY | this.#seeking()
      case PHASE_RESULT:
        return MSR_RQM | MSR_DIO | MSR_CMD_BUSY
      default: {
        if (!this.#nonDma()) return MSR_CMD_BUSY
        const ready = this.#dataAt < this.#dataLength ? MSR_RQM : 0
        return ready | (this.#phase === PHASE_DATA_OUT ? MSR_DIO : 0) | MSR_NON_DMA | MSR_CMD_BUSY
      }
    }
  }

  #seeking(): number {
    let drives = 0
    for (let drive = 0; drive < 4; drive++) if (this.#seekAlarms[drive] !== undefined) drives |= 1 << drive
    return drives
  }

  #nonDma(): boolean {
    return (this.#specify2 & 1) !== 0
  }

  #changeLine(): boolean {
    const drive = this.#dor & 3
    return drive > 1 || this.#media[drive] === undefined || (this.#changed & (1 << drive)) !== 0
  }

  #setInterrupt(level: boolean): void {
    this.#interrupt = level
    this.#updateIrq()
  }

  #updateIrq(): void {
    this.#irq.setLevel(this.#interrupt && (this.#dor & DOR_DMAGATE) !== 0)
  }

  #cancelSeeks(): void {
    for (let drive = 0; drive < 4; drive++) {
      this.#seekAlarms[drive]?.cancel()
      this.#seekAlarms[drive] = undefined
    }
  }

  #enterReset(): void {
    this.#cancel()
    this.#cancelSeeks()
    this.#dma?.setRequest(false)
    this.#phase = PHASE_RESET
    this.#commandCount = 0
    this.#resultCount = 0
    this.#resultAt = 0
    this.#dataAt = 0
    this.#dataLength = 0
    this.#sense = 0
    this.#perpendicular &= 0x3c
    if (this.#lock === 0) {
      this.#configure = 0x20
      this.#pretrack = 0
    }
    this.#setInterrupt(false)
  }

  #leaveReset(): void {
    this.#schedule('reset', RESET_NS)
  }

  #schedule(kind: FloppyControllerState['alarm'], delay: number): void {
    this.#scheduleAt(kind, this.#clock.now() + delay)
  }

  #scheduleAt(kind: FloppyControllerState['alarm'], at: number): void {
    this.#cancel()
    this.#alarmKind = kind
    this.#alarm = this.#clock.schedule(at, this.#onAlarm)
  }

  #cancel(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#alarmKind = 'none'
  }

  readonly #onAlarm = (): void => {
    const kind = this.#alarmKind
    this.#alarm = undefined
    this.#alarmKind = 'none'
    switch (kind) {
      case 'reset':
        this.#phase = PHASE_COMMAND
        // Polling finds all four drives' ready lines changed.
        if ((this.#configure & 0x10) === 0) {
          this.#sense = 0x0f
          this.#setInterrupt(true)
        }
        break
      case 'done':
        this.#checkSector()
        break
      case 'sector':
        this.#sector()
        break
      case 'late':
        this.#dma?.setRequest(false)
        this.#finish(ST0_ABNORMAL, ST1_OR, 0)
        break
      case 'absent':
        this.#finish(ST0_ABNORMAL, ST1_MA, 0)
        break
      default:
    }
  }

  // --- Command and result phases ----------------------------------------------------------------------------------

  #readFifo(): number {
    if (this.#phase === PHASE_RESULT) {
      this.#setInterrupt(false)
      const byte = this.#result[this.#resultAt++]!
      if (this.#resultAt >= this.#resultCount) {
        this.#resultAt = 0
        this.#resultCount = 0
        this.#phase = PHASE_COMMAND
        // Each end of a seek is an interrupt of its own.
        if ((this.#sense & 0xf0) !== 0) this.#setInterrupt(true)
      }
      return byte
    }
    if (this.#phase !== PHASE_DATA_OUT || !this.#nonDma() || this.#dataAt >= this.#dataLength) return 0
    const byte = this.#data[this.#dataAt++]!
    if (this.#dataAt === this.#dataLength) {
      this.#setInterrupt(false)
      this.#checkSector()
    }
    return byte
  }

  #writeFifo(value: number): void {
    if (this.#phase === PHASE_DATA_IN && this.#nonDma() && this.#dataAt < this.#dataLength) {
      this.#data[this.#dataAt++] = value
      if (this.#dataAt === this.#dataLength) {
        this.#setInterrupt(false)
        this.#checkSector()
      }
      return
    }
    if (this.#phase !== PHASE_COMMAND) return
    this.#command[this.#commandCount++] = value
    const length = this.#commandLength()
    if (length === 0) {
      this.#commandCount = 0
      this.#answer(ST0_INVALID)
    } else if (this.#commandCount >= length) {
      this.#commandCount = 0
      this.#execute()
    }
  }

  #commandLength(): number {
    const first = this.#command[0]!
    const command = first & 0x1f
    // Only the data commands have modifiers; RELATIVE SEEK and LOCK use the upper bits themselves.
    if (command === FDC_LOCK) return (first & 0x60) === 0 ? 1 : 0
    if (command === FDC_SEEK) return first === FDC_SEEK || (first & 0xbf) === 0x8f ? 3 : 0
    const modifiers = LENGTHS[command] === 9 ? 0xe0 : command === FDC_READ_ID || command === FDC_FORMAT ? 0x40 : 0
    return (first & 0xe0 & ~modifiers) === 0 ? LENGTHS[command]! : 0
  }

  #answer(...bytes: number[]): void {
    this.#result.set(bytes)
    this.#resultCount = bytes.length
    this.#resultAt = 0
    this.#phase = PHASE_RESULT
  }

  #execute(): void {
    const [first, a, b, c] = this.#command as unknown as [number, number, number, number]
    switch (first & 0x1f) {
      case FDC_SPECIFY:
        this.#specify1 = a
        this.#specify2 = b
        break
      case FDC_SENSE_DRIVE:
        this.#answer(this.#driveStatus(a))
        break
      case FDC_SENSE_INTERRUPT:
        this.#senseInterrupt()
        break
      case FDC_RECALIBRATE:
        this.#seek(a & 3, 0)
        break
      case FDC_SEEK:
        if ((first & 0x80) === 0) this.#seek(a & 7, b)
        else {
          const track = this.#tracks[a & 3]!
          this.#seek(a & 7, (first & 0x40) !== 0 ? Math.min(255, track + b) : Math.max(0, track - b))
        }
        break
      case FDC_VERSION:
        this.#answer(0x90)
        break
      case FDC_CONFIGURE:
        this.#configure = b & 0x7f
        this.#pretrack = c
        break
      case FDC_PERPENDICULAR:
        // Without OW only GAP and WGATE change.
        this.#perpendicular = (a & 0x80) !== 0 ? a & 0x3f : (this.#perpendicular & 0x3c) | (a & 3)
        break
      case FDC_LOCK:
        this.#lock = first >> 7
        this.#answer(this.#lock << 4)
        break
      case FDC_DUMPREG:
        this.#answer(
          ...this.#tracks,
          this.#specify1,
          this.#specify2,
          this.#lastEot,
          (this.#lock << 7) | this.#perpendicular,
          this.#configure,
          this.#pretrack,
        )
        break
      default:
        this.#startData()
    }
  }

  #driveStatus(select: number): number {
    const drive = select & 3
    const media = this.#media[drive]
    const side = media === undefined || media.geometry.heads === 2 ? ST3_TWO_SIDED : 0
    const protect = media?.backend.readOnly === true ? ST3_WP : 0
    const track0 = drive < 2 && this.#tracks[drive] === 0 ? ST3_TRACK0 : 0
    return (select & 7) | ST3_READY | side | protect | track0
  }

  #senseInterrupt(): void {
    this.#setInterrupt(false)
    for (let drive = 0; drive < 4; drive++) {
      if ((this.#sense & (1 << drive)) === 0) continue
      this.#sense &= ~(1 << drive)
      this.#answer(ST0_READY_CHANGED | drive, this.#tracks[drive]!)
      return
    }
    for (let drive = 0; drive < 4; drive++) {
      if ((this.#sense & (0x10 << drive)) === 0) continue
      this.#sense &= ~(0x10 << drive)
      this.#answer(this.#seekStatus[drive]!, this.#tracks[drive]!)
      return
    }
    this.#answer(ST0_INVALID)
  }

  #seek(select: number, track: number): void {
    const drive = select & 3
    const target = this.#media[drive] === undefined ? track : Math.min(track, 83)
    const steps = Math.abs(target - this.#tracks[drive]!)
    this.#tracks[drive] = target
    // The changed line falls with a step, when there is a diskette.
    if (steps > 0 && this.#media[drive] !== undefined) this.#changed &= ~(1 << drive)
    this.#seekStatus[drive] = ST0_SEEK_END | select
    // Step rate: 16 less SRT, in milliseconds at 500 kb/s.
    const rate = [500, 300, 250, 1000][this.#rate]!
    const step = this.#fast ? FLOPPY_FAST_NS : ((16 - (this.#specify1 >> 4)) * 500e6) / rate
    this.#sense &= ~(0x10 << drive)
    this.#seekAlarms[drive]?.cancel()
    const at = this.#clock.now() + Math.max(1, steps) * step
    this.#seekAlarms[drive] = this.#clock.schedule(at, this.#onSeekEnd[drive]!)
  }

  // --- Data commands ----------------------------------------------------------------------------------------------

  #sectorTime(media: Media): number {
    return this.#fast ? FLOPPY_FAST_NS : media.geometry.revolution / media.geometry.sectors
  }

  #startData(): void {
    const select = this.#command[1]! & 7
    const command = this.#command[0]! & 0x1f
    const media = this.#media[select & 3]
    this.#terminalCount = false
    this.#dataAt = 0
    this.#dataLength = 0
    this.#phase = PHASE_BUSY
    if (LENGTHS[command] === 9) {
      this.#lastEot = this.#command[6]!
      // EIS: the controller seeks by itself.
      if ((this.#configure & 0x40) !== 0 && media !== undefined && this.#tracks[select & 3] !== this.#command[2]) {
        this.#tracks[select & 3] = Math.min(this.#command[2]!, 83)
        this.#changed &= ~(1 << (select & 3))
      }
      if (command === FDC_READ_TRACK) this.#command[4] = 1
    }
    const motor = (this.#dor & (0x10 << (select & 3))) !== 0
    if (media === undefined || !motor || !media.geometry.rates.includes(this.#rate)) {
      // Two index pulses without an address mark, or none at all.
      this.#schedule('absent', this.#fast ? FLOPPY_FAST_NS : 400e6)
      return
    }
    this.#schedule('sector', this.#sectorTime(media))
  }

  /** The head stands before the next sector. */
  #sector(): void {
    const command = this.#command[0]! & 0x1f
    const select = this.#command[1]! & 7
    const drive = select & 3
    const media = this.#media[drive]
    if (media === undefined) {
      this.#finish(ST0_ABNORMAL, ST1_MA, 0)
      return
    }
    const { geometry, backend } = media
    const track = this.#tracks[drive]!
    const head = (select >> 2) & 1
    if (track >= geometry.cylinders || head >= geometry.heads) {
      this.#finish(ST0_ABNORMAL, ST1_MA, 0)
      return
    }
    if (command === FDC_READ_ID) {
      const sector = ((this.#idSector - 1) % geometry.sectors) + 1
      this.#idSector = (sector % geometry.sectors) + 1
      this.#command.set([track, head, sector, 2], 2)
      this.#finish(0, 0, 0)
      return
    }
    const writes = command === FDC_WRITE || command === FDC_WRITE_DELETED || command === FDC_FORMAT
    if (writes && backend.readOnly) {
      this.#finish(ST0_ABNORMAL, ST1_NW, 0)
      return
    }
    if (command === FDC_FORMAT) {
      if (this.#command[3] === 0) {
        this.#finishFormat(0, 0)
        return
      }
      this.#transfer(PHASE_DATA_IN, 4, media)
      return
    }
    const [, , cylinder, id, sector, size] = this.#command as unknown as number[]
    if (cylinder !== track) {
      this.#finish(ST0_ABNORMAL, ST1_ND, ST2_WC)
      return
    }
    if (id !== head || sector! < 1 || sector! > geometry.sectors || size !== 2) {
      this.#finish(ST0_ABNORMAL, ST1_ND, 0)
      return
    }
    if (command === FDC_WRITE || command === FDC_WRITE_DELETED) {
      this.#data.fill(0)
      this.#transfer(PHASE_DATA_IN, SECTOR, media)
      return
    }
    backend.read(this.#position(media, track, head, sector!), this.#data)
    if (command === FDC_VERIFY) {
      // The sector is only checked. With EC set the count in DTL ends the command, else the end of the track.
      this.#dataAt = SECTOR
      this.#dataLength = SECTOR
      if ((this.#command[1]! & 0x80) !== 0) {
        this.#command[8] = (this.#command[8]! - 1) & 0xff
        this.#terminalCount = this.#command[8] === 0
      }
      this.#phase = PHASE_DATA_OUT
      this.#checkSector()
      return
    }
    this.#transfer(PHASE_DATA_OUT, SECTOR, media)
  }

  #position(media: Media, track: number, head: number, sector: number): number {
    const { geometry } = media
    return ((track * geometry.heads + head) * geometry.sectors + sector - 1) * SECTOR
  }

  /** Asks for the bytes of one sector; they must have moved before the head is past the next one. */
  #transfer(phase: number, length: number, media: Media): void {
    this.#phase = phase
    this.#dataAt = 0
    this.#dataLength = length
    this.#schedule('late', media.geometry.revolution / media.geometry.sectors)
    if (this.#nonDma()) this.#setInterrupt(true)
    else if ((this.#dor & DOR_DMAGATE) !== 0 && this.#dma !== undefined) {
      this.#serving = true
      this.#dma.setRequest(true)
      this.#serving = false
      this.#checkSector()
    }
  }

  /** Goes on once the bytes have moved, or no more will come. */
  #checkSector(): void {
    if (this.#phase !== PHASE_DATA_OUT && this.#phase !== PHASE_DATA_IN) return
    if (this.#dataAt < this.#dataLength && !this.#terminalCount) return
    this.#cancel()
    const command = this.#command[0]! & 0x1f
    const select = this.#command[1]! & 7
    const media = this.#media[select & 3]
    if (media === undefined) {
      this.#finish(ST0_ABNORMAL, ST1_MA, 0)
      return
    }
    const writes = this.#phase === PHASE_DATA_IN
    this.#phase = PHASE_BUSY
    if (command === FDC_FORMAT) {
      this.#formatSector(media)
      return
    }
    if (writes) {
      // A terminal count in mid-sector leaves the rest as zeros.
      this.#data.fill(0, this.#dataAt)
      const head = (select >> 2) & 1
      media.backend.write(this.#position(media, this.#command[2]!, head, this.#command[4]!), this.#data)
    }
    // READ DELETED meets ordinary data marks only: it says so and stops.
    const mark = command === FDC_READ_DELETED ? ST2_CM : 0
    const atEnd = this.#advance()
    if (this.#terminalCount || mark !== 0) this.#finish(0, 0, mark)
    else if (atEnd) this.#finish(ST0_ABNORMAL, ST1_EN, 0)
    else this.#schedule('sector', this.#sectorTime(media))
  }

  /** Moves on to the next sector ID; true past the last one. Source: 82077AA data sheet, "Result Phase Table". */
  #advance(): boolean {
    const command = this.#command
    if (command[4] !== command[6]) {
      command[4] = (command[4]! + 1) & 0xff
      return false
    }
    command[4] = 1
    if ((command[0]! & FDC_MT) !== 0 && (command[0]! & 0x1f) !== FDC_READ_TRACK) {
      const upper = (command[1]! & 4) !== 0
      command[1]! ^= 4
      command[3]! ^= 1
      if (!upper) return false
    }
    command[2] = (command[2]! + 1) & 0xff
    return true
  }

  #formatSector(media: Media): void {
    const select = this.#command[1]! & 7
    const head = (select >> 2) & 1
    const [cylinder, id, sector, size] = this.#data as unknown as [number, number, number, number]
    const track = this.#tracks[select & 3]!
    const fits = cylinder === track && id === head && sector >= 1 && sector <= media.geometry.sectors && size === 2
    // Sector IDs that a raw image cannot hold: the address mark would not verify.
    if (this.#dataAt === 4 && (!fits || this.#command[2] !== 2)) {
      this.#finishFormat(ST0_ABNORMAL, ST1_ND)
      return
    }
    if (this.#dataAt === 4) {
      this.#data.fill(this.#command[5]!)
      media.backend.write(this.#position(media, track, head, sector), this.#data)
      this.#command[3]!--
    }
    if (this.#terminalCount || this.#command[3] === 0) this.#finishFormat(0, 0)
    else this.#schedule('sector', this.#sectorTime(media))
  }

  #finishFormat(st0: number, st1: number): void {
    // The ID in the result has no meaning after FORMAT; what was programmed stays.
    this.#finish(st0, st1, 0)
  }

  /** Enters the result phase: ST0–ST2 and the sector ID. */
  #finish(st0: number, st1: number, st2: number): void {
    this.#cancel()
    const command = this.#command
    this.#answer(st0 | (command[1]! & 7), st1, st2, command[2]!, command[3]!, command[4]!, command[5]!)
    this.#dataAt = 0
    this.#dataLength = 0
    this.#setInterrupt(true)
  }
}

function isTimes(value: unknown): value is number[] {
  return (
    Array.isArray(value) && value.length === 4 && value.every((at) => typeof at === 'number' && Number.isFinite(at))
  )
}
