import type { Alarm, Clock } from '../contracts/index.js'
import type { StateReader } from '../contracts/state-reader.js'
import {
  ATA_COUNT,
  ATA_DEVICE,
  ATA_DIAGNOSTIC_PASSED,
  ATA_ERROR_ABRT,
  ATA_LBA_HIGH,
  ATA_LBA_LOW,
  ATA_LBA_MID,
  ATA_STATUS_BSY,
  ATA_STATUS_DRQ,
  ATA_STATUS_ERR,
} from './ata-registers.js'

/** How long a device takes, in nanoseconds of virtual time. */
export interface AtaTiming {
  /** From a command to its first data or its end. Default 2000. */
  readonly commandNs?: number
  /** Between blocks of data. Default 1000. */
  readonly blockNs?: number
  /** From the end of a reset to ready. Default 10000. */
  readonly resetNs?: number
}

/** The bus master as a device sees it. */
export interface AtaDmaEngine {
  /** Whether a transfer in this direction is started. */
  ready(toMemory: boolean): boolean
  /**
   * Moves bytes `[from, to)` of `buffer` to or from memory and returns how many; fewer than asked when the host's table
   * ended, which also stops the engine.
   */
  transfer(buffer: Uint8Array, from: number, to: number, toMemory: boolean): number
  /** The device's interrupt went up. */
  interrupt(): void
}

/** The cable as a device sees it. */
export interface AtaCable {
  readonly dma: AtaDmaEngine | undefined
  /** The device's interrupt request changed, or was raised again. */
  interruptChanged(raised: boolean): void
}

/** What a device is doing. */
export const ATA_PHASE_IDLE = 0
/** A command was written; it runs at the alarm. */
export const ATA_PHASE_COMMAND = 1
/** Data wait for the host to read them. */
export const ATA_PHASE_IN = 2
/** The next block to read is being prepared. */
export const ATA_PHASE_IN_NEXT = 3
/** The device waits for the host to write data. */
export const ATA_PHASE_OUT = 4
/** A block that the host wrote is being processed. */
export const ATA_PHASE_OUT_COMMIT = 5
/** A DMA transfer waits for the bus master. */
export const ATA_PHASE_DMA_WAIT = 6
/** The next part of a DMA transfer runs at the alarm. */
export const ATA_PHASE_DMA_STEP = 7
/** SRST is held. */
export const ATA_PHASE_RESET_HELD = 8
/** The device comes out of reset. */
export const ATA_PHASE_RESET = 9
/** As {@link ATA_PHASE_RESET}, and EXECUTE DEVICE DIAGNOSTIC ends with an interrupt. */
export const ATA_PHASE_DIAGNOSTIC = 10
/** After SLEEP: only a reset wakes the device. */
export const ATA_PHASE_SLEEP = 11

const PHASE_COUNT = 12
const ALARM_PHASES: readonly number[] = [
  ATA_PHASE_COMMAND,
  ATA_PHASE_IN_NEXT,
  ATA_PHASE_OUT_COMMIT,
  ATA_PHASE_DMA_STEP,
  ATA_PHASE_RESET,
  ATA_PHASE_DIAGNOSTIC,
]

/** Bytes in a device's buffer: the longest block, and the longest stretch of one DMA step. */
export const ATA_BUFFER_SIZE = 65536

/** The part of a device's saved state that all devices share. */
export interface AtaDeviceState {
  readonly version: 1
  readonly taskFile: Uint8Array
  readonly previous: Uint8Array
  readonly status: number
  readonly error: number
  readonly command: number
  readonly interrupt: boolean
  readonly phase: number
  /** When the present phase ends, or null. */
  readonly deadline: number | null
  /** The valid part of the buffer. */
  readonly buffer: Uint8Array
  readonly position: number
}

/** Saved state that was found valid and is still to be taken over. */
export interface CheckedAtaState {
  readonly phase: number
  readonly end: number
  /** Takes it over. */
  readonly apply: () => void
}

/**
 * What disks and packet devices have in common: the task file with its previous contents, status and error, the data
 * buffer with its two protocols, resets, and delays by the clock, so that BSY can be seen. All methods that
 * the channel calls assume that it has already decided which device is meant.
 *
 * Source: ATA/ATAPI-6, "Interface register definitions and descriptions" and "Protocol".
 */
export abstract class AtaDevice {
  /** The task file as last written, by register number 1–6. */
  readonly taskFile: Uint8Array = new Uint8Array(7)
  /** What the task file held before: the upper half of 48-bit commands. */
  readonly previous: Uint8Array = new Uint8Array(7)
  status = 0
  error = 0
  /** INTRQ, before nIEN and device selection. */
  interrupt = false

  protected readonly buffer: Uint8Array = new Uint8Array(ATA_BUFFER_SIZE)
  protected position = 0
  protected end = 0
  protected command = 0
  protected phase: number = ATA_PHASE_IDLE
  protected readonly clock: Clock
  protected cable: AtaCable | undefined
  protected second = false
  readonly #commandNs: number
  readonly #blockNs: number
  readonly #resetNs: number
  #alarm: Alarm | undefined
  /** One closure for all alarms. */
  readonly #onAlarm = (): void => this.#due()

  constructor(clock: Clock, timing: AtaTiming = {}) {
    this.clock = clock
    this.#commandNs = timing.commandNs ?? 2000
    this.#blockNs = timing.blockNs ?? 1000
    this.#resetNs = timing.resetNs ?? 10000
  }

  /** True while the device neither takes commands nor task file writes. */
  get busy(): boolean {
    return (this.status & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) !== 0
  }

  /** Called by the channel when the device is plugged in, as device 1 when `second`. */
  attach(cable: AtaCable, second: boolean): void {
    this.cable = cable
    this.second = second
    this.hardwareReset()
  }

  /** Called by the channel when the device is unplugged. */
  detach(): void {
    this.#cancel()
    this.cable = undefined
  }

  /** Power-on or RESET-: ready at once, so that firmware which does not wait finds the device. */
  hardwareReset(): void {
    this.#cancel()
    this.revertSettings(true)
    this.#finishReset()
  }

  /** SRST goes up. */
  holdReset(): void {
    this.#cancel()
    this.lowerInterrupt()
    this.status = ATA_STATUS_BSY
    this.phase = ATA_PHASE_RESET_HELD
    this.position = this.end = 0
  }

  /** SRST goes down. */
  releaseReset(): void {
    if (this.phase !== ATA_PHASE_RESET_HELD) return
    this.revertSettings(false)
    this.#wait(ATA_PHASE_RESET, this.#resetNs)
  }

  /** EXECUTE DEVICE DIAGNOSTIC, which reaches both devices whichever is selected; device 0 announces the end for both. */
  diagnose(announce: boolean): void {
    if (this.busy || this.phase === ATA_PHASE_SLEEP) return
    this.#cancel()
    this.lowerInterrupt()
    this.status = ATA_STATUS_BSY
    this.#wait(announce ? ATA_PHASE_DIAGNOSTIC : ATA_PHASE_RESET, this.#commandNs)
  }

  /** DEVICE RESET, which packet devices take even while busy; false where it is a command like any other. */
  deviceReset(): boolean {
    return false
  }

  /** State of the device; what it is depends on its kind. */
  abstract saveState(): unknown
  /** Takes a saved state over, after checking all of it. */
  abstract loadState(state: never): void

  /** Writes register 1–6 of the task file. */
  writeTaskFile(register: number, value: number): void {
    this.previous[register] = this.taskFile[register]!
    this.taskFile[register] = value
  }

  /** Reads register 2–6 of the task file; `previous` as HOB says. */
  readTaskFile(register: number, previous: boolean): number {
    return previous && register !== ATA_DEVICE ? this.previous[register]! : this.taskFile[register]!
  }

  /** Reads the status register and takes the interrupt request back. */
  acknowledge(): number {
    this.lowerInterrupt()
    return this.status
  }

  /** Writes the command register. While the device is busy or asleep nothing happens. */
  writeCommand(command: number): void {
    if (this.busy || this.phase === ATA_PHASE_SLEEP) return
    this.lowerInterrupt()
    this.command = command
    this.error = 0
    this.status = ATA_STATUS_BSY
    this.#wait(ATA_PHASE_COMMAND, this.#commandNs)
  }

  /** Reads a word of the data register; 0 while there is none to read. */
  readData(): number {
    if (this.phase !== ATA_PHASE_IN) return 0
    const value = this.buffer[this.position]! | (this.buffer[this.position + 1]! << 8)
    this.position += 2
    if (this.position >= this.end) {
      this.position = this.end = 0
      this.blockRead()
    }
    return value
  }

  /** Writes a word of the data register; lost while the device does not ask for data. */
  writeData(value: number): void {
    if (this.phase !== ATA_PHASE_OUT) return
    this.buffer[this.position] = value
    this.buffer[this.position + 1] = value >>> 8
    this.position += 2
    if (this.position >= this.end) {
      this.status = ATA_STATUS_BSY
      this.#wait(ATA_PHASE_OUT_COMMIT, this.#blockNs)
    }
  }

  /** The bus master was started. */
  dmaStarted(): void {
    if (this.phase === ATA_PHASE_DMA_WAIT) this.startDma()
  }

  /** Status outside of a command. */
  protected abstract get readyStatus(): number
  /** The two bytes that LBA mid and high show after a reset, low byte first. */
  protected abstract get signature(): number
  /** Runs `command` after its delay. */
  protected abstract execute(): void
  /** The host has read a whole block. */
  protected abstract blockRead(): void
  /** The next block may be offered. */
  protected abstract prepareBlock(): void
  /** The host has written a whole block: `buffer` up to `end`. */
  protected abstract commitBlock(): void
  /** Moves the next part of a DMA transfer. */
  protected abstract dmaStep(): void
  /** Settings go back to their defaults: always on a hardware reset, by choice of the host on a software reset. */
  protected abstract revertSettings(hardware: boolean): void

  /** Asserts the device's interrupt; the channel minds nIEN. */
  protected raiseInterrupt(): void {
    this.interrupt = true
    this.cable?.interruptChanged(true)
  }

  /** Takes the interrupt request back. */
  protected lowerInterrupt(): void {
    if (!this.interrupt) return
    this.interrupt = false
    this.cable?.interruptChanged(false)
  }

  /** Offers `buffer` up to `length` bytes (rounded up to a word) to the host. */
  protected offer(length: number): void {
    this.position = 0
    this.end = (length + 1) & ~1
    this.phase = ATA_PHASE_IN
    this.status = this.readyStatus | ATA_STATUS_DRQ
    this.raiseInterrupt()
  }

  /** Asks the host for `length` bytes; `announce` with an interrupt, as for all blocks but a command's first. */
  protected ask(length: number, announce: boolean): void {
    this.position = 0
    this.end = length
    this.phase = ATA_PHASE_OUT
    this.status = this.readyStatus | ATA_STATUS_DRQ
    if (announce) this.raiseInterrupt()
  }

  /** Lets time pass before the next block is offered. */
  protected prepareNext(): void {
    this.status = ATA_STATUS_BSY
    this.#wait(ATA_PHASE_IN_NEXT, this.#blockNs)
  }

  /** Begins or resumes a DMA transfer; waits when the bus master has not been started. */
  protected startDma(): void {
    this.status = ATA_STATUS_BSY
    if (this.cable?.dma?.ready(this.dmaToMemory) === true) this.#wait(ATA_PHASE_DMA_STEP, this.#blockNs)
    else this.phase = ATA_PHASE_DMA_WAIT
  }

  /** Direction of the present DMA transfer. */
  protected abstract get dmaToMemory(): boolean

  /** Ends a command well. */
  protected complete(): void {
    this.finish()
    this.raiseInterrupt()
  }

  /** Ends a command without an interrupt: the host has just read the last data. */
  protected finish(): void {
    this.phase = ATA_PHASE_IDLE
    this.status = this.readyStatus
    this.position = this.end = 0
  }

  /** Ends a command with an error. */
  protected fail(error: number, extraStatus = 0): void {
    this.finish()
    this.error = error
    this.status |= ATA_STATUS_ERR | extraStatus
    this.raiseInterrupt()
  }

  /** Ends the command with ABRT. */
  protected abort(): void {
    this.fail(ATA_ERROR_ABRT)
  }

  /** Puts the signature of the device into the task file. */
  protected showSignature(): void {
    this.taskFile[ATA_COUNT] = 1
    this.taskFile[ATA_LBA_LOW] = 1
    this.taskFile[ATA_LBA_MID] = this.signature & 0xff
    this.taskFile[ATA_LBA_HIGH] = this.signature >> 8
  }

  /** The state that disks and CD drives share. */
  protected saveCommon(): AtaDeviceState {
    return {
      version: 1,
      taskFile: this.taskFile.slice(),
      previous: this.previous.slice(),
      status: this.status,
      error: this.error,
      command: this.command,
      interrupt: this.interrupt,
      phase: this.phase,
      deadline: this.#alarm?.deadline ?? null,
      buffer: this.buffer.slice(0, this.end),
      position: this.position,
    }
  }

  /** Checks the common part; the function it returns takes it over. */
  protected checkCommon(reader: StateReader): CheckedAtaState {
    const taskFile = reader.bytes('taskFile', 7)
    const previous = reader.bytes('previous', 7)
    const status = reader.int('status', 0, 0xff)
    const error = reader.int('error', 0, 0xff)
    const command = reader.int('command', 0, 0xff)
    const interrupt = reader.bool('interrupt')
    const phase = reader.int('phase', 0, PHASE_COUNT - 1)
    const deadline = reader.timeOrNull('deadline')
    const buffer = reader.bytes('buffer', 0, ATA_BUFFER_SIZE)
    const end = buffer.length
    const position = reader.int('position', 0, end)
    if (ALARM_PHASES.includes(phase) !== (deadline !== null))
      throw reader.inconsistent('deadline', 'what the phase needs')
    const data = phase === ATA_PHASE_IN || phase === ATA_PHASE_OUT
    if (data !== ((status & ATA_STATUS_DRQ) !== 0)) throw reader.inconsistent('status', 'what the phase needs')
    if (data && (position >= end || ((position | end) & 1) !== 0))
      throw reader.inconsistent('position', 'within the buffer')
    const busy = phase !== ATA_PHASE_IDLE && phase !== ATA_PHASE_SLEEP && !data
    if (busy !== ((status & ATA_STATUS_BSY) !== 0)) throw reader.inconsistent('status', 'what the phase needs')
    const apply = (): void => {
      this.#cancel()
      this.taskFile.set(taskFile)
      this.previous.set(previous)
      this.status = status
      this.error = error
      this.command = command
      this.interrupt = interrupt
      this.phase = phase
      this.buffer.set(buffer)
      this.end = end
      this.position = position
      if (deadline !== null) this.#alarm = this.clock.schedule(deadline, this.#onAlarm)
    }
    return { phase, end, apply }
  }

  /** What a reset does to the task file and the command in progress. */
  protected resetNow(): void {
    this.#cancel()
    this.#finishReset()
  }

  #cancel(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
  }

  #wait(phase: number, ns: number): void {
    this.phase = phase
    this.#alarm = this.clock.schedule(this.clock.now() + ns, this.#onAlarm)
  }

  #due(): void {
    this.#alarm = undefined
    switch (this.phase) {
      case ATA_PHASE_COMMAND:
        this.execute()
        return
      case ATA_PHASE_IN_NEXT:
        this.prepareBlock()
        return
      case ATA_PHASE_OUT_COMMIT:
        this.commitBlock()
        return
      case ATA_PHASE_DMA_STEP:
        // The host may have stopped the bus master meanwhile.
        if (this.cable?.dma?.ready(this.dmaToMemory) === true) this.dmaStep()
        else this.phase = ATA_PHASE_DMA_WAIT
        return
      case ATA_PHASE_RESET:
        this.#finishReset()
        return
      case ATA_PHASE_DIAGNOSTIC:
        this.#finishReset()
        this.raiseInterrupt()
    }
  }

  #finishReset(): void {
    this.lowerInterrupt()
    this.taskFile.fill(0)
    this.previous.fill(0)
    this.showSignature()
    this.finish()
    this.status = this.resetStatus
    this.error = ATA_DIAGNOSTIC_PASSED
  }

  /** Status after a reset. */
  protected get resetStatus(): number {
    return this.readyStatus
  }
}
