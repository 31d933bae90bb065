import type { Alarm, Clock, IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'
import type { CalendarFormat } from './rtc-calendar.js'
import { addSeconds, encodeField, hourField, secondsToAlarm } from './rtc-calendar.js'

// Addresses inside the chip. Source: MC146818A data sheet, "Address Map".
export const RTC_SECONDS = 0x00
export const RTC_SECONDS_ALARM = 0x01
export const RTC_MINUTES = 0x02
export const RTC_MINUTES_ALARM = 0x03
export const RTC_HOURS = 0x04
export const RTC_HOURS_ALARM = 0x05
export const RTC_DAY_OF_WEEK = 0x06
export const RTC_DAY_OF_MONTH = 0x07
export const RTC_MONTH = 0x08
export const RTC_YEAR = 0x09
export const RTC_REG_A = 0x0a
export const RTC_REG_B = 0x0b
export const RTC_REG_C = 0x0c
export const RTC_REG_D = 0x0d
/** The century, by convention of PC firmware; counted along with the year. */
export const RTC_CENTURY = 0x32

/** Register A: an update is in progress or begins within 244 µs. */
export const RTC_A_UIP = 0x80
/** Register A: the divider chain's time base and reset. */
export const RTC_A_DV = 0x70
/** Register A: {@link RTC_A_DV} for the 32.768 kHz crystal of a PC. */
export const RTC_A_DV_32768 = 0x20
/** Register A: the periodic rate. */
export const RTC_A_RS = 0x0f

/** Register B: updates are held off while the program sets the time. */
export const RTC_B_SET = 0x80
/** Register B: periodic interrupt enable. */
export const RTC_B_PIE = 0x40
/** Register B: alarm interrupt enable. */
export const RTC_B_AIE = 0x20
/** Register B: update-ended interrupt enable. */
export const RTC_B_UIE = 0x10
/** Register B: square wave enable; a PC leaves the pin open. */
export const RTC_B_SQWE = 0x08
/** Register B: data mode, 1 binary, 0 BCD. */
export const RTC_B_DM = 0x04
/** Register B: 24-hour mode. */
export const RTC_B_24H = 0x02
/** Register B: daylight saving enable; kept, without effect. */
export const RTC_B_DSE = 0x01

/** Register C: an enabled flag is set, the chip's IRQ pin is active. */
export const RTC_C_IRQF = 0x80
export const RTC_C_PF = 0x40
export const RTC_C_AF = 0x20
export const RTC_C_UF = 0x10

/** Register D: valid RAM and time. */
export const RTC_D_VRT = 0x80

/** How long UIP stays set before the registers change: 244 µs of warning and 1984 µs of update, in nanoseconds. */
export const RTC_UIP_NS = 2_228_000

const SECOND = 1e9
const NMI_MASK = 0x80
/** One period of the 32.768 kHz crystal in nanoseconds, exact as a double. */
const CRYSTAL = 1e9 / 32768

/** A date to start from. */
export interface RtcDate {
  /** Full year, 0–9999. */
  readonly year: number
  /** 1–12. */
  readonly month: number
  /** 1–31. */
  readonly day: number
  /** 0–23. Default 0. */
  readonly hour?: number
  readonly minute?: number
  readonly second?: number
}

/** What a {@link CmosRtc} is connected to. */
export interface CmosRtcOptions {
  readonly clock: Clock
  /** The IRQ 8 input. */
  readonly irq: IrqLine
  /** The date at power-on: fields, or milliseconds since 1970 UTC. Default: 2000-01-01 00:00:00. */
  readonly date?: RtcDate | number
  /** Called when bit 7 of port 0x70 changes: true keeps NMI from the processor. */
  readonly onNmiMask?: (masked: boolean) => void
}

/** Saved state of a {@link CmosRtc}. */
export interface CmosRtcState {
  readonly version: 1
  readonly registers: Uint8Array
  readonly index: number
  readonly nmiMasked: boolean
  readonly origin: number
  readonly updates: number
  readonly periods: number
}

/**
 * MC146818A real-time clock with the 128 bytes of battery-backed RAM of a PC, at ports 0x70 (index, and the NMI mask in
 * bit 7) and 0x71 (data).
 *
 * Time is computed when somebody looks or when an enabled interrupt is due; a clock nobody uses costs nothing. The registers change once a
 * second, at the end of the update cycle that UIP announces {@link RTC_UIP_NS} before. Every year divisible by four is a leap
 * year, as the chip counts. The 2¹-second stages of the divider chain run on through SET, and are held by DV = 11x.
 *
 * Source: Motorola MC146818A data sheet.
 */
export class CmosRtc implements PortDevice, Stateful<CmosRtcState> {
  readonly #clock: Clock
  readonly #irq: IrqLine
  readonly #onNmiMask: ((masked: boolean) => void) | undefined
  readonly #registers = new Uint8Array(128)
  #index = 0
  #nmiMasked = false
  /** When the divider chain stood at zero. Updates are at whole seconds from here. */
  #origin: number
  /** Whole seconds since {@link #origin} that have been taken into account. */
  #updates = 0
  /** Periods of the present rate since {@link #origin} that have been taken into account. */
  #periods = 0
  #alarm: Alarm | undefined

  constructor(options: CmosRtcOptions) {
    this.#clock = options.clock
    this.#irq = options.irq
    this.#onNmiMask = options.onNmiMask
    this.#origin = Math.floor(this.#clock.now())
    const registers = this.#registers
    registers[RTC_REG_A] = RTC_A_DV_32768 | 0x06
    registers[RTC_REG_B] = RTC_B_24H
    registers[RTC_REG_D] = RTC_D_VRT
    this.setDate(options.date ?? { year: 2000, month: 1, day: 1 })
  }

  /** True while bit 7 of port 0x70 keeps NMI from the processor. */
  get nmiMasked(): boolean {
    return this.#nmiMasked
  }

  /** Sets the time and date registers in the present format, as a setup program would. */
  setDate(date: RtcDate | number): void {
    const fields = typeof date === 'number' ? fromEpoch(date) : date
    const { year, month, day, hour = 0, minute = 0, second = 0 } = fields
    const probe = new Date(0)
    probe.setUTCFullYear(year, month - 1, day)
    probe.setUTCHours(hour, minute, second)
    const valid =
      year >= 0 &&
      year <= 9999 &&
      probe.getUTCFullYear() === year &&
      probe.getUTCMonth() === month - 1 &&
      probe.getUTCDate() === day &&
      probe.getUTCHours() === hour &&
      probe.getUTCMinutes() === minute &&
      probe.getUTCSeconds() === second
    if (!valid) throw new VirtkitError('bad-argument', 'the date of the clock is not a date of the years 0 to 9999')
    this.#sync()
    const format = this.#format()
    const registers = this.#registers
    registers[RTC_SECONDS] = encodeField(second, format)
    registers[RTC_MINUTES] = encodeField(minute, format)
    registers[RTC_HOURS] = hourField.encode(hour, format)
    registers[RTC_DAY_OF_WEEK] = encodeField(probe.getUTCDay() + 1, format)
    registers[RTC_DAY_OF_MONTH] = encodeField(day, format)
    registers[RTC_MONTH] = encodeField(month, format)
    registers[RTC_YEAR] = encodeField(year % 100, format)
    registers[RTC_CENTURY] = encodeField(Math.floor(year / 100), format)
    this.#schedule()
  }

  /** The byte at `index` (0–127) as a program would read it, without the side effect of register C. */
  cmos(index: number): number {
    this.#sync()
    const value = this.#registers[index]
    if (value === undefined) throw new VirtkitError('bad-argument', `CMOS byte ${index} does not exist; 0 to 127 do`)
    return index === RTC_REG_A ? value | (this.#updateInProgress() ? RTC_A_UIP : 0) : value
  }

  /** Sets a byte of battery-backed RAM: `index` is 14–127. */
  setCmos(index: number, value: number): void {
    if (!Number.isInteger(index) || index <= RTC_REG_D || index > 127) {
      throw new VirtkitError('bad-argument', `CMOS byte ${index} is not RAM; 14 to 127 are`)
    }
    this.#sync()
    this.#registers[index] = value
  }

  /**
   * Stores the memory size where firmware looks: 0x15/0x16 (640 KiB of base memory), 0x17/0x18 and 0x30/0x31 (KiB above 1 MiB),
   * 0x34/0x35 (units of 64 KiB above 16 MiB) and 0x5b–0x5d (units of 64 KiB above 4 GiB). Both sizes are in bytes.
   */
  setMemorySize(below4G: number, above4G = 0): void {
    const base = Math.min(640, Math.floor(below4G / 1024))
    const extended = Math.min(0xffff, Math.max(0, Math.floor((below4G - 0x100000) / 1024)))
    const above16M = Math.min(0xffff, Math.max(0, Math.floor((below4G - 0x1000000) / 0x10000)))
    const high = Math.min(0xffffff, Math.floor(above4G / 0x10000))
    this.#setWord(0x15, base)
    this.#setWord(0x17, extended)
    this.#setWord(0x30, extended)
    this.#setWord(0x34, above16M)
    this.#setWord(0x5b, high & 0xffff)
    this.setCmos(0x5d, high >>> 16)
  }

  /** The RESET pin: interrupts are disabled and forgotten; time, date and RAM live on. */
  reset(): void {
    this.#sync()
    this.#registers[RTC_REG_B]! &= ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE | RTC_B_SQWE)
    this.#registers[RTC_REG_C] = 0
    this.#index = 0
    this.#setNmiMask(false)
    this.#settle()
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this, offset, size, 2)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this, offset, size, 2, value)
  }

  /** Reads one register. */
  readByte(offset: number): number {
    if (offset !== 1) return 0xff // the index cannot be read back
    // Plain RAM needs no look at the time.
    if (this.#index > RTC_REG_D && this.#index !== RTC_CENTURY) return this.#registers[this.#index]!
    const value = this.cmos(this.#index)
    if (this.#index === RTC_REG_C) {
      this.#registers[RTC_REG_C] = 0
      this.#settle()
    }
    return value
  }

  /** Writes one register. */
  writeByte(offset: number, value: number): void {
    if (offset === 0) {
      this.#index = value & 0x7f
      this.#setNmiMask((value & NMI_MASK) !== 0)
    } else if (offset === 1) this.#write(this.#index, value)
  }

  saveState(): CmosRtcState {
    this.#sync()
    return {
      version: 1,
      registers: this.#registers.slice(),
      index: this.#index,
      nmiMasked: this.#nmiMasked,
      origin: this.#origin,
      updates: this.#updates,
      periods: this.#periods,
    }
  }

  loadState(state: CmosRtcState): void {
    const reader = new StateReader('CMOS/RTC', state, 1)
    const registers = reader.bytes('registers', 128)
    const index = reader.int('index', 0, 127)
    const nmiMasked = reader.bool('nmiMasked')
    const origin = reader.time('origin')
    const updates = reader.int('updates', 0, Number.MAX_SAFE_INTEGER)
    const periods = reader.int('periods', 0, Number.MAX_SAFE_INTEGER)
    if ((registers[RTC_REG_A]! & RTC_A_UIP) !== 0 || (registers[RTC_REG_C]! & 0x0f) !== 0) {
      throw reader.inconsistent('registers', 'those of this chip: a bit that reads zero is set')
    }
    this.#registers.set(registers)
    this.#index = index
    this.#origin = origin
    this.#updates = updates
    this.#periods = periods
    this.#setNmiMask(nmiMasked)
    this.#settle()
  }

  #setWord(index: number, value: number): void {
    this.setCmos(index, value & 0xff)
    this.setCmos(index + 1, value >>> 8)
  }

  #setNmiMask(masked: boolean): void {
    if (masked === this.#nmiMasked) return
    this.#nmiMasked = masked
    this.#onNmiMask?.(masked)
  }

  #format(): CalendarFormat {
    return this.#registers[RTC_REG_B]! & (RTC_B_DM | RTC_B_24H)
  }

  /** The divider chain runs: DV chooses a time base, not a test mode and not the reset. */
  #dividerRuns(): boolean {
    return (this.#registers[RTC_REG_A]! & RTC_A_DV) <= RTC_A_DV_32768
  }

  #counting(): boolean {
    return this.#dividerRuns() && (this.#registers[RTC_REG_B]! & RTC_B_SET) === 0
  }

  #updateInProgress(): boolean {
    if (!this.#counting()) return false
    const next = this.#origin + (this.#updates + 1) * SECOND
    return next - this.#clock.now() <= RTC_UIP_NS
  }

  /** Nanoseconds per periodic tick, or 0 for none. Source: MC146818A data sheet, "Periodic Interrupt Rates". */
  #period(): number {
    const rate = this.#registers[RTC_REG_A]! & RTC_A_RS
    if (rate === 0 || !this.#dividerRuns()) return 0
    const fastTap = (this.#registers[RTC_REG_A]! & RTC_A_DV) === RTC_A_DV_32768 && rate <= 2
    // With the 32.768 kHz crystal the taps of rates 1 and 2 do not exist: the chip uses those of 8 and 9.
    return CRYSTAL * 2 ** (fastTap ? rate + 6 : rate - 1)
  }

  /** Takes everything into account that happened up to now: seconds counted, flags set. */
  #sync(): void {
    if (!this.#dividerRuns()) return
    const elapsed = this.#clock.now() - this.#origin
    const registers = this.#registers
    const updates = Math.floor(elapsed / SECOND)
    if (updates > this.#updates) {
      const count = updates - this.#updates
      this.#updates = updates
      if ((registers[RTC_REG_B]! & RTC_B_SET) === 0) {
        const format = this.#format()
        let flags = RTC_C_UF
        if ((registers[RTC_REG_C]! & RTC_C_AF) === 0) {
          const wait = secondsToAlarm(registers, format)
          if (wait > 0 && wait <= count) flags |= RTC_C_AF
        }
        addSeconds(registers, count, format)
        registers[RTC_REG_C]! |= flags
      }
    }
    const period = this.#period()
    if (period > 0) {
      const periods = Math.floor(elapsed / period)
      if (periods > this.#periods) {
        this.#periods = periods
        registers[RTC_REG_C]! |= RTC_C_PF
      }
    }
  }

  #write(index: number, value: number): void {
    if (index > RTC_REG_D && index !== RTC_CENTURY) {
      this.#registers[index] = value
      return
    }
    this.#sync()
    if (index === RTC_REG_A) this.#writeA(value)
    else if (index === RTC_REG_B) {
      // Setting SET aborts the update and disables its interrupt.
      this.#registers[RTC_REG_B] = (value & RTC_B_SET) !== 0 ? value & ~RTC_B_UIE : value
    } else if (index !== RTC_REG_C && index !== RTC_REG_D) this.#registers[index] = value
    this.#settle()
  }

  #writeA(value: number): void {
    const now = this.#clock.now()
    const ran = this.#dividerRuns()
    this.#registers[RTC_REG_A] = value & ~RTC_A_UIP
    if (!ran && this.#dividerRuns()) {
      // The first update comes half a second after the reset of the divider is lifted.
      this.#origin = Math.floor(now) - SECOND / 2
      this.#updates = 0
    }
    const period = this.#period()
    this.#periods = period > 0 ? Math.floor((now - this.#origin) / period) : 0
  }

  /** Brings IRQF, the IRQ pin and the alarm in line with the registers. */
  #settle(): void {
    const registers = this.#registers
    const flags = registers[RTC_REG_C]! & (RTC_C_PF | RTC_C_AF | RTC_C_UF)
    const active = (flags & registers[RTC_REG_B]!) !== 0
    registers[RTC_REG_C] = flags | (active ? RTC_C_IRQF : 0)
    this.#irq.setLevel(active)
    this.#schedule()
  }

  /** An alarm is on the clock only while an enabled interrupt can still raise the pin. */
  #schedule(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
    const flags = this.#registers[RTC_REG_C]!
    if ((flags & RTC_C_IRQF) !== 0) return
    const enabled = this.#registers[RTC_REG_B]!
    let deadline = Number.POSITIVE_INFINITY
    const period = this.#period()
    if ((enabled & RTC_B_PIE) !== 0 && period > 0) {
      const target = this.#periods + 1
      deadline = Math.ceil(this.#origin + target * period)
      // Rounding must not leave the tick in the future of its own deadline.
      if (Math.floor((deadline - this.#origin) / period) < target) deadline += Math.max(1, deadline * 2 ** -50)
    }
    if (this.#counting()) {
      if ((enabled & RTC_B_UIE) !== 0) deadline = Math.min(deadline, this.#origin + (this.#updates + 1) * SECOND)
      if ((enabled & RTC_B_AIE) !== 0) {
        const wait = secondsToAlarm(this.#registers, this.#format())
        if (wait > 0) deadline = Math.min(deadline, this.#origin + (this.#updates + wait) * SECOND)
      }
    }
    if (deadline === Number.POSITIVE_INFINITY) return
    this.#alarm = this.#clock.schedule(deadline, () => {
      this.#alarm = undefined
      this.#sync()
      this.#settle()
    })
  }
}

function fromEpoch(ms: number): RtcDate {
  const date = new Date(ms)
  if (Number.isNaN(date.getTime())) throw new VirtkitError('bad-argument', 'the date of the clock is not a time')
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
  }
}
