import type { Alarm, Clock, IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'
import {
  FCR_CLEAR_RX,
  FCR_CLEAR_TX,
  FCR_ENABLE,
  FCR_TRIGGER_LEVELS,
  IER_ALL,
  IER_EDSSI,
  IER_ELSI,
  IER_ERBFI,
  IER_ETBEI,
  IIR_FIFOS,
  IIR_LINE_STATUS,
  IIR_MODEM_STATUS,
  IIR_NONE,
  IIR_RECEIVED,
  IIR_THR_EMPTY,
  IIR_TIMEOUT,
  LCR_BREAK,
  LCR_DLAB,
  LCR_PEN,
  LCR_STB,
  LCR_WLS,
  LSR_BI,
  LSR_DR,
  LSR_FE,
  LSR_FIFO_ERROR,
  LSR_OE,
  LSR_PE,
  LSR_TEMT,
  LSR_THRE,
  MCR_ALL,
  MCR_DTR,
  MCR_LOOP,
  MCR_OUT1,
  MCR_OUT2,
  MCR_RTS,
  MSR_CTS,
  MSR_DCD,
  MSR_DSR,
  MSR_RI,
  MSR_TERI,
  UART_FCR,
  UART_IER,
  UART_LCR,
  UART_LSR,
  UART_MCR,
  UART_MSR,
  UART_RBR,
} from './uart-registers.js'

/** Crystal of a PC's serial ports in hertz. */
export const UART_CLOCK_HZ = 1_843_200
/** Depth of both FIFOs in bytes. */
export const UART_FIFO_SIZE = 16
/** Nanoseconds per character with `instant` pacing. */
export const UART_INSTANT_NS = 200

/** The wires that come in from the modem or the other end. True is asserted. */
export interface ModemLines {
  readonly cts: boolean
  readonly dsr: boolean
  readonly ri: boolean
  readonly dcd: boolean
}

/** What leaves the serial port. Every callback is optional. */
export interface UartSink {
  /** A character of 5 to 8 bits was sent. */
  byte?(byte: number): void
  /** A break condition began or ended. */
  break?(active: boolean): void
  /** DTR or RTS changed. */
  modem?(lines: { readonly dtr: boolean; readonly rts: boolean }): void
}

/** What a {@link Uart16550} is connected to, and how it is paced. */
export interface Uart16550Options {
  readonly clock: Clock
  readonly irq: IrqLine
  readonly sink?: UartSink
  /**
   * The sink gets each character when it is written and the transmitter takes {@link UART_INSTANT_NS} for it, whatever the
   * rate: guests print fast. Default false: the programmed rate.
   */
  readonly instant?: boolean
  /** The other end waits while the receiver is full or in loopback, so nothing is lost. Default false, as on a plain cable. */
  readonly lossless?: boolean
  /** Characters from the host that may wait for the line. Default 4096. */
  readonly queueSize?: number
  /** Line control at power-on. Default 0 (five data bits), as after master reset; firmware leaves 0x03 (8N1). */
  readonly lineControl?: number
  /** Divisor latch at power-on. Default 12 (9600 baud). */
  readonly divisor?: number
  /** Input clock in hertz. Default {@link UART_CLOCK_HZ}. */
  readonly clockHz?: number
}

/** Saved state of a {@link Uart16550}. */
export interface Uart16550State {
  readonly version: 1
  /** IER, FCR, LCR, MCR, MSR deltas, scratch, LSR errors, transmitter flags, RBR, TSR. */
  readonly registers: Uint8Array
  readonly divisor: number
  readonly modem: number
  readonly rx: Uint8Array
  readonly rxFlags: Uint8Array
  readonly tx: Uint8Array
  /** Characters from the host: low byte and flag byte in turn. */
  readonly queue: Uint8Array
  readonly txDeadline: number | null
  readonly threDeadline: number | null
  readonly lineDeadline: number | null
  readonly timeoutDeadline: number | null
}

const ERRORS = LSR_PE | LSR_FE | LSR_BI
/** Internal flags of the transmitter and the interrupt logic. */
const TX_THRE_PENDING = 0x01
const TX_SHIFTING = 0x02
const TX_THRE_HELD = 0x04
/** The transmit FIFO has held two characters at once since it was last empty. */
const TX_HELD_TWO = 0x08
const RX_TIMEOUT = 0x10
const FIFO_ERROR = 0x20
const TX_ALL = 0x3f

/**
 * 16550A serial port: eight ports (0x3F8 for COM1), FIFOs of 16 characters with trigger levels and the character timeout, line
 * errors kept with their characters, prioritised interrupts, modem lines and loopback. Characters take their time at the programmed
 * rate, both ways. As on a PC, the interrupt leaves the chip through a gate that OUT2 opens; in loopback that pin is inactive.
 *
 * Source: National Semiconductor PC16550D data sheet.
 */
export class Uart16550 implements PortDevice, Stateful<Uart16550State> {
  readonly #clock: Clock
  readonly #irq: IrqLine
  readonly #sink: UartSink
  readonly #instant: boolean
  readonly #lossless: boolean
  readonly #clockHz: number

  readonly #rx = new Uint8Array(UART_FIFO_SIZE)
  readonly #rxFlags = new Uint8Array(UART_FIFO_SIZE)
  #rxCount = 0
  readonly #tx = new Uint8Array(UART_FIFO_SIZE)
  #txCount = 0
  /** Characters on their way from the host, a ring; the flags in the high byte. */
  readonly #queue: Uint16Array
  #queueHead = 0
  #queueCount = 0

  #ier = 0
  #fcr = 0
  #lcr: number
  #mcr = 0
  #scratch = 0
  #divisor: number
  /** OE, PE, FE and BI as they await reading. */
  #lsrErrors = 0
  #msrDeltas = 0
  /** The incoming modem lines in their MSR places. */
  #modem = MSR_CTS | MSR_DSR | MSR_DCD
  #flags = 0
  /** The character that was read last; an empty receiver shows it again. */
  #rbr = 0
  /** The character being shifted out. */
  #tsr = 0
  #level = false

  #txAlarm: Alarm | undefined
  #threAlarm: Alarm | undefined
  #lineAlarm: Alarm | undefined
  #timeoutAlarm: Alarm | undefined

  constructor(options: Uart16550Options) {
    this.#clock = options.clock
    this.#irq = options.irq
    this.#sink = options.sink ?? {}
    this.#instant = options.instant ?? false
    this.#lossless = options.lossless ?? false
    this.#clockHz = options.clockHz ?? UART_CLOCK_HZ
    const queueSize = options.queueSize ?? 4096
    if (!Number.isInteger(queueSize) || queueSize < 1 || queueSize > 2 ** 20) {
      throw new VirtkitError('bad-argument', 'queueSize is an integer of 1 to 1048576')
    }
    if (!(this.#clockHz > 0)) throw new VirtkitError('bad-argument', 'clockHz is positive')
    this.#queue = new Uint16Array(queueSize)
    this.#lcr = (options.lineControl ?? 0) & 0xff
    this.#divisor = (options.divisor ?? 12) & 0xffff
  }

  /** Nanoseconds that one character takes on the line at the programmed format and rate. */
  get characterTime(): number {
    const lcr = this.#lcr
    const dataBits = 5 + (lcr & LCR_WLS)
    const stopBits = (lcr & LCR_STB) === 0 ? 1 : dataBits === 5 ? 1.5 : 2
    return (1 + dataBits + ((lcr & LCR_PEN) !== 0 ? 1 : 0) + stopBits) * this.#bitTime()
  }

  /** Characters from the host that still wait for the line. */
  get queued(): number {
    return this.#queueCount
  }

  /** Whether the guest has opened the line: DTR and RTS are asserted, as seen by the other end. */
  get open(): boolean {
    return (this.#mcr & (MCR_DTR | MCR_RTS | MCR_LOOP)) === (MCR_DTR | MCR_RTS)
  }

  /** Whether received data would interrupt: the enable bit and the OUT2 gate. */
  get interruptsOnData(): boolean {
    return (this.#ier & IER_ERBFI) !== 0 && (this.#mcr & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2
  }

  /** The interrupt output after the OUT2 gate. */
  get interrupt(): boolean {
    return this.#level
  }

  /** Queues bytes from the other end of the line; returns how many fitted. They arrive at the programmed rate. */
  receive(bytes: Uint8Array | readonly number[]): number {
    let accepted = 0
    while (accepted < bytes.length && this.#enqueue(bytes[accepted]! & 0xff)) accepted++
    this.#startLine()
    return accepted
  }

  /** Queues a character that arrives with a parity or framing error; false when the queue is full. */
  receiveError(byte: number, error: 'parity' | 'framing'): boolean {
    const accepted = this.#enqueue((byte & 0xff) | ((error === 'parity' ? LSR_PE : LSR_FE) << 8))
    this.#startLine()
    return accepted
  }

  /** Queues a break: one zero character with BI, and FE since its stop bit is missing. False when the queue is full. */
  receiveBreak(): boolean {
    const accepted = this.#enqueue((LSR_BI | LSR_FE) << 8)
    this.#startLine()
    return accepted
  }

  /** Changes the incoming modem lines; those left out stay. */
  setModemLines(lines: Partial<ModemLines>): void {
    let modem = this.#modem
    if (lines.cts !== undefined) modem = lines.cts ? modem | MSR_CTS : modem & ~MSR_CTS
    if (lines.dsr !== undefined) modem = lines.dsr ? modem | MSR_DSR : modem & ~MSR_DSR
    if (lines.ri !== undefined) modem = lines.ri ? modem | MSR_RI : modem & ~MSR_RI
    if (lines.dcd !== undefined) modem = lines.dcd ? modem | MSR_DCD : modem & ~MSR_DCD
    const before = this.#modemStatus()
    this.#modem = modem
    this.#latchDeltas(before)
    this.#update()
  }

  /** Master reset. The divisor, the scratch register, the received data and the host's queue stay. */
  reset(): void {
    const before = this.#mcr
    this.#ier = 0
    this.#fcr = 0
    this.#setLcr(0)
    this.#mcr = 0
    this.#clearRx()
    this.#txCount = 0
    this.#lsrErrors = 0
    this.#msrDeltas = 0
    this.#flags = 0
    this.#stopTransmitter()
    this.#showModem(before)
    this.#startLine()
    this.#update()
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 8)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 8, value)
  }

  /** Reads one register. */
  readByte(offset: number): number {
    const dlab = (this.#lcr & LCR_DLAB) !== 0
    switch (offset) {
      case UART_RBR:
        return dlab ? this.#divisor & 0xff : this.#readRbr()
      case UART_IER:
        return dlab ? this.#divisor >>> 8 : this.#ier
      case UART_FCR: {
        const iir = this.#identify()
        if (iir === IIR_THR_EMPTY) {
          this.#flags &= ~TX_THRE_PENDING
          this.#update()
        }
        return iir | ((this.#fcr & FCR_ENABLE) !== 0 ? IIR_FIFOS : 0)
      }
      case UART_LCR:
        return this.#lcr
      case UART_MCR:
        return this.#mcr
      case UART_LSR:
        return this.#readLsr()
      case UART_MSR: {
        const value = this.#modemStatus() | this.#msrDeltas
        this.#msrDeltas = 0
        this.#update()
        return value
      }
      default:
        return this.#scratch
    }
  }

  /** Writes one register. */
  writeByte(offset: number, value: number): void {
    const dlab = (this.#lcr & LCR_DLAB) !== 0
    switch (offset) {
      case UART_RBR:
        if (dlab) this.#divisor = (this.#divisor & 0xff00) | value
        else this.#writeThr(value)
        break
      case UART_IER:
        if (dlab) this.#divisor = (this.#divisor & 0x00ff) | (value << 8)
        else {
          // Enabling the interrupt while the register is already empty raises it at once.
          const enabled = value & ~this.#ier & IER_ETBEI
          this.#ier = value & IER_ALL
          if (enabled !== 0 && this.#threReady()) this.#flags |= TX_THRE_PENDING
          this.#update()
        }
        break
      case UART_FCR:
        this.#writeFcr(value)
        break
      case UART_LCR:
        this.#setLcr(value)
        break
      case UART_MCR:
        this.#writeMcr(value)
        break
      case UART_LSR:
      case UART_MSR:
        // Writing these is a factory test; nothing changes.
        break
      default:
        this.#scratch = value
    }
  }

  saveState(): Uart16550State {
    const queue = new Uint8Array(this.#queueCount * 2)
    for (let i = 0; i < this.#queueCount; i++) {
      const item = this.#queue[(this.#queueHead + i) % this.#queue.length]!
      queue[2 * i] = item & 0xff
      queue[2 * i + 1] = item >>> 8
    }
    return {
      version: 1,
      registers: Uint8Array.of(
        this.#ier,
        this.#fcr,
        this.#lcr,
        this.#mcr,
        this.#msrDeltas,
        this.#scratch,
        this.#lsrErrors,
        this.#flags,
        this.#rbr,
        this.#tsr,
      ),
      divisor: this.#divisor,
      modem: this.#modem,
      rx: this.#rx.slice(0, this.#rxCount),
      rxFlags: this.#rxFlags.slice(0, this.#rxCount),
      tx: this.#tx.slice(0, this.#txCount),
      queue,
      txDeadline: this.#txAlarm?.deadline ?? null,
      threDeadline: this.#threAlarm?.deadline ?? null,
      lineDeadline: this.#lineAlarm?.deadline ?? null,
      timeoutDeadline: this.#timeoutAlarm?.deadline ?? null,
    }
  }

  loadState(state: Uart16550State): void {
    const reader = new StateReader('16550 UART', state, 1)
    const registers = reader.bytes('registers', 10)
    const divisor = reader.int('divisor', 0, 0xffff)
    const modem = reader.int('modem', 0, 0xff)
    const rx = reader.bytes('rx', 0, UART_FIFO_SIZE)
    const rxFlags = reader.bytes('rxFlags', rx.length)
    const tx = reader.bytes('tx', 0, UART_FIFO_SIZE)
    const queue = reader.bytes('queue', 0, this.#queue.length * 2)
    const txDeadline = reader.timeOrNull('txDeadline')
    const threDeadline = reader.timeOrNull('threDeadline')
    const lineDeadline = reader.timeOrNull('lineDeadline')
    const timeoutDeadline = reader.timeOrNull('timeoutDeadline')
    const [ier, fcr, lcr, mcr, deltas, scratch, errors, flags, rbr, tsr] = registers as unknown as number[]
    const depth = (fcr! & FCR_ENABLE) !== 0 ? UART_FIFO_SIZE : 1
    if (
      (ier! & ~IER_ALL) !== 0 ||
      (mcr! & ~MCR_ALL) !== 0 ||
      (deltas! & 0xf0) !== 0 ||
      (errors! & ~(ERRORS | LSR_OE)) !== 0 ||
      (flags! & ~TX_ALL) !== 0
    ) {
      throw reader.inconsistent('registers', 'those of this chip: a bit that reads zero is set')
    }
    if (rx.length > depth || tx.length > depth) throw reader.inconsistent('rx and tx', `at most ${depth} characters`)
    if (queue.length % 2 !== 0) throw reader.inconsistent('queue', 'pairs of bytes')
    if ((txDeadline !== null) !== ((flags! & TX_SHIFTING) !== 0)) {
      throw reader.inconsistent('txDeadline', 'set while a character is shifted out')
    }
    this.#ier = ier!
    this.#fcr = fcr!
    this.#lcr = lcr!
    this.#mcr = mcr!
    this.#msrDeltas = deltas!
    this.#scratch = scratch!
    this.#lsrErrors = errors!
    this.#flags = flags!
    this.#rbr = rbr!
    this.#tsr = tsr!
    this.#divisor = divisor
    this.#modem = modem & 0xf0
    this.#rx.set(rx)
    this.#rxFlags.set(rxFlags)
    this.#rxCount = rx.length
    this.#tx.set(tx)
    this.#txCount = tx.length
    this.#queueHead = 0
    this.#queueCount = queue.length / 2
    for (let i = 0; i < this.#queueCount; i++) this.#queue[i] = queue[2 * i]! | (queue[2 * i + 1]! << 8)
    this.#txAlarm?.cancel()
    this.#threAlarm?.cancel()
    this.#lineAlarm?.cancel()
    this.#timeoutAlarm?.cancel()
    const at = (deadline: number | null, callback: () => void): Alarm | undefined =>
      deadline === null ? undefined : this.#clock.schedule(deadline, callback)
    this.#txAlarm = at(txDeadline, this.#onShifted)
    this.#threAlarm = at(threDeadline, this.#onThreDelay)
    this.#lineAlarm = at(lineDeadline, this.#onLine)
    this.#timeoutAlarm = at(timeoutDeadline, this.#onTimeout)
    this.#update()
  }

  // --- Interrupts -------------------------------------------------------------------------------------------------

  /** The highest pending source. Source: PC16550D data sheet, "Interrupt Control Functions". */
  #identify(): number {
    if ((this.#ier & IER_ELSI) !== 0 && this.#lsrErrors !== 0) return IIR_LINE_STATUS
    if ((this.#ier & IER_ERBFI) !== 0) {
      if (this.#rxCount >= this.#trigger()) return IIR_RECEIVED
      if ((this.#flags & RX_TIMEOUT) !== 0) return IIR_TIMEOUT
    }
    if ((this.#ier & IER_ETBEI) !== 0 && (this.#flags & TX_THRE_PENDING) !== 0) return IIR_THR_EMPTY
    if ((this.#ier & IER_EDSSI) !== 0 && this.#msrDeltas !== 0) return IIR_MODEM_STATUS
    return IIR_NONE
  }

  #trigger(): number {
    return (this.#fcr & FCR_ENABLE) !== 0 ? FCR_TRIGGER_LEVELS[this.#fcr >>> 6]! : 1
  }

  #update(): void {
    const gate = (this.#mcr & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2
    const level = gate && this.#identify() !== IIR_NONE
    if (level === this.#level) return
    this.#level = level
    this.#irq.setLevel(level)
  }

  // --- Registers --------------------------------------------------------------------------------------------------

  #bitTime(): number {
    // A divisor of zero counts through all 16 bits.
    return ((this.#divisor === 0 ? 0x10000 : this.#divisor) * 16e9) / this.#clockHz
  }

  #readLsr(): number {
    let value = this.#lsrErrors
    if (this.#rxCount > 0) value |= LSR_DR
    if (this.#threReady()) value |= LSR_THRE
    if (this.#txCount === 0 && (this.#flags & TX_SHIFTING) === 0) value |= LSR_TEMT
    if ((this.#flags & FIFO_ERROR) !== 0) value |= LSR_FIFO_ERROR
    this.#lsrErrors = 0
    // Errors of the character on top have now been seen; only later ones keep the summary bit set.
    let errors = 0
    for (let i = 1; i < this.#rxCount; i++) errors |= this.#rxFlags[i]!
    if (errors === 0) this.#flags &= ~FIFO_ERROR
    this.#update()
    return value
  }

  #writeFcr(value: number): void {
    const enable = value & FCR_ENABLE
    if (enable !== (this.#fcr & FCR_ENABLE)) {
      this.#clearRx()
      this.#clearTx()
      // "The first transmitter interrupt after changing FCR0 will be immediate."
      this.#flags |= TX_HELD_TWO
    }
    // The other bits are programmed only together with the enable bit.
    if (enable === 0) this.#fcr = 0
    else {
      if ((value & FCR_CLEAR_RX) !== 0) this.#clearRx()
      if ((value & FCR_CLEAR_TX) !== 0) this.#clearTx()
      this.#fcr = value & ~(FCR_CLEAR_RX | FCR_CLEAR_TX | 0x30)
    }
    this.#startLine()
    this.#update()
  }

  #setLcr(value: number): void {
    const before = this.#lcr
    this.#lcr = value
    if (((before ^ value) & LCR_BREAK) === 0) return
    const active = (value & LCR_BREAK) !== 0
    if ((this.#mcr & MCR_LOOP) === 0) this.#sink.break?.(active)
    else if (active) {
      this.#arrive(0, LSR_BI | LSR_FE)
      this.#update()
    }
  }

  #writeMcr(value: number): void {
    const before = this.#mcr
    const status = this.#modemStatus()
    this.#mcr = value & MCR_ALL
    this.#latchDeltas(status)
    this.#showModem(before)
    this.#startLine()
    this.#update()
  }

  /** DTR and RTS as the other end sees them: inactive in loopback. */
  #showModem(before: number): void {
    const lines = (mcr: number): number => ((mcr & MCR_LOOP) !== 0 ? 0 : mcr & (MCR_DTR | MCR_RTS))
    const now = lines(this.#mcr)
    if (now !== lines(before)) this.#sink.modem?.({ dtr: (now & MCR_DTR) !== 0, rts: (now & MCR_RTS) !== 0 })
  }

  /** The upper half of the MSR; in loopback it shows the outputs. */
  #modemStatus(): number {
    const mcr = this.#mcr
    if ((mcr & MCR_LOOP) === 0) return this.#modem
    return (
      ((mcr & MCR_RTS) !== 0 ? MSR_CTS : 0) |
      ((mcr & MCR_DTR) !== 0 ? MSR_DSR : 0) |
      ((mcr & MCR_OUT1) !== 0 ? MSR_RI : 0) |
      ((mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0)
    )
  }

  /** Each delta bit lies four below its line; RI counts only when it goes away. */
  #latchDeltas(before: number): void {
    const now = this.#modemStatus()
    this.#msrDeltas |= ((before ^ now) >>> 4) & ~MSR_TERI
    if ((before & ~now & MSR_RI) !== 0) this.#msrDeltas |= MSR_TERI
  }

  // --- Transmitter ------------------------------------------------------------------------------------------------

  #threReady(): boolean {
    return this.#txCount === 0 && (this.#flags & TX_THRE_HELD) === 0
  }

  #writeThr(value: number): void {
    const fifo = (this.#fcr & FCR_ENABLE) !== 0
    this.#flags &= ~TX_THRE_PENDING
    const byte = value & (0xff >>> (3 - (this.#lcr & LCR_WLS)))
    const direct = this.#instant && (this.#mcr & MCR_LOOP) === 0
    if (fifo) {
      // Writing to a full FIFO loses the character.
      if (this.#txCount < UART_FIFO_SIZE) {
        this.#tx[this.#txCount++] = byte
        if (this.#txCount >= 2) this.#flags |= TX_HELD_TWO
        if (direct) this.#sink.byte?.(byte)
      }
    } else {
      // Writing to a full holding register replaces the character.
      this.#tx[0] = byte
      this.#txCount = 1
      if (direct) this.#sink.byte?.(byte)
    }
    if ((this.#flags & TX_SHIFTING) === 0) this.#load()
    this.#update()
  }

  /** Moves the next character into the shift register. */
  #load(): void {
    if (this.#txCount === 0) return
    this.#tsr = this.#tx[0]!
    this.#tx.copyWithin(0, 1, this.#txCount)
    this.#txCount--
    this.#flags |= TX_SHIFTING
    const now = this.#clock.now()
    const time = this.#instant ? UART_INSTANT_NS : this.characterTime
    this.#txAlarm = this.#clock.schedule(now + time, this.#onShifted)
    if (this.#txCount > 0) return
    // A FIFO that never held two characters reports empty one character time less the stop bit later.
    if ((this.#fcr & FCR_ENABLE) !== 0 && (this.#flags & TX_HELD_TWO) === 0) {
      this.#flags |= TX_THRE_HELD
      this.#threAlarm?.cancel()
      const stop = this.#instant ? 0 : this.#bitTime()
      this.#threAlarm = this.#clock.schedule(now + time - stop, this.#onThreDelay)
    } else this.#becomeEmpty()
  }

  #becomeEmpty(): void {
    this.#flags = (this.#flags & ~(TX_THRE_HELD | TX_HELD_TWO)) | TX_THRE_PENDING
    this.#threAlarm?.cancel()
    this.#threAlarm = undefined
  }

  readonly #onThreDelay = (): void => {
    this.#threAlarm = undefined
    if ((this.#flags & TX_THRE_HELD) !== 0) {
      if (this.#txCount === 0) this.#becomeEmpty()
      else this.#flags &= ~TX_THRE_HELD
    }
    this.#update()
  }

  readonly #onShifted = (): void => {
    this.#txAlarm = undefined
    this.#flags &= ~TX_SHIFTING
    const byte = this.#tsr
    const loop = (this.#mcr & MCR_LOOP) !== 0
    if ((this.#flags & TX_THRE_HELD) !== 0 && this.#txCount === 0) this.#becomeEmpty()
    this.#load()
    if (loop) this.#arrive(byte, 0)
    this.#update()
    if (!loop && !this.#instant) this.#sink.byte?.(byte)
  }

  #clearTx(): void {
    const ready = this.#threReady()
    this.#txCount = 0
    if (!ready) this.#becomeEmpty()
  }

  #stopTransmitter(): void {
    this.#txAlarm?.cancel()
    this.#txAlarm = undefined
    this.#threAlarm?.cancel()
    this.#threAlarm = undefined
  }

  // --- Receiver ---------------------------------------------------------------------------------------------------

  #readRbr(): number {
    if (this.#rxCount > 0) {
      this.#rbr = this.#rx[0]!
      this.#rx.copyWithin(0, 1, this.#rxCount)
      this.#rxFlags.copyWithin(0, 1, this.#rxCount)
      this.#rxCount--
      if (this.#rxCount > 0) this.#reveal()
    }
    this.#restartTimeout()
    this.#startLine()
    this.#update()
    return this.#rbr
  }

  /** The errors of a character show when it comes to the top. */
  #reveal(): void {
    this.#lsrErrors |= this.#rxFlags[0]!
    this.#rxFlags[0] = 0
  }

  /** A character has been shifted in. */
  #arrive(byte: number, errors: number): void {
    const fifo = (this.#fcr & FCR_ENABLE) !== 0
    if (this.#rxCount === (fifo ? UART_FIFO_SIZE : 1)) {
      this.#lsrErrors |= LSR_OE
      // Without a FIFO the new character destroys the old one; with it the new one stays in the shift register and is lost.
      if (fifo) return
      this.#rxCount = 0
    }
    this.#rx[this.#rxCount] = byte
    this.#rxFlags[this.#rxCount] = errors
    this.#rxCount++
    if (fifo && errors !== 0) this.#flags |= FIFO_ERROR
    if (this.#rxCount === 1) this.#reveal()
    this.#restartTimeout()
  }

  #clearRx(): void {
    this.#rxCount = 0
    this.#flags &= ~(RX_TIMEOUT | FIFO_ERROR)
    this.#timeoutAlarm?.cancel()
    this.#timeoutAlarm = undefined
  }

  /** Four character times without a character received or read, and with some in the FIFO, raise the timeout. */
  #restartTimeout(): void {
    this.#flags &= ~RX_TIMEOUT
    this.#timeoutAlarm?.cancel()
    this.#timeoutAlarm = undefined
    if ((this.#fcr & FCR_ENABLE) === 0 || this.#rxCount === 0) return
    this.#timeoutAlarm = this.#clock.schedule(this.#clock.now() + 4 * this.characterTime, this.#onTimeout)
  }

  readonly #onTimeout = (): void => {
    this.#timeoutAlarm = undefined
    this.#flags |= RX_TIMEOUT
    this.#update()
  }

  #enqueue(item: number): boolean {
    const size = this.#queue.length
    if (this.#queueCount === size) return false
    this.#queue[(this.#queueHead + this.#queueCount) % size] = item
    this.#queueCount++
    return true
  }

  #startLine(): void {
    if (this.#lineAlarm !== undefined || this.#queueCount === 0 || this.#held()) return
    this.#lineAlarm = this.#clock.schedule(this.#clock.now() + this.characterTime, this.#onLine)
  }

  #held(): boolean {
    if (!this.#lossless) return false
    const room = (this.#fcr & FCR_ENABLE) !== 0 ? UART_FIFO_SIZE : 1
    return (this.#mcr & MCR_LOOP) !== 0 || this.#rxCount >= room
  }

  readonly #onLine = (): void => {
    this.#lineAlarm = undefined
    if (this.#held()) return
    const item = this.#queue[this.#queueHead]!
    this.#queueHead = (this.#queueHead + 1) % this.#queue.length
    this.#queueCount--
    // In loopback the input pin is disconnected: the character is lost.
    if ((this.#mcr & MCR_LOOP) === 0) {
      this.#arrive(item & 0xff & (0xff >>> (3 - (this.#lcr & LCR_WLS))), item >>> 8)
    }
    this.#startLine()
    this.#update()
  }
}
