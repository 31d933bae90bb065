/**
 * The ACPI fixed registers of a PC chipset: power-management status, enable and control, and the timer. Writing the soft-off sleep type
 * with SLP_EN switches the machine off.
 * Source: ACPI Specification 6.0, "ACPI Register Model", "PM1 Control Registers", "Power Management Timer".
 */
import {
  type Clock,
  type IrqLine,
  type PortDevice,
  type PortSize,
  type Stateful,
  VirtkitError,
} from '../contracts/index.js'

/** Register offsets from the base (16-bit status, enable, control; 32-bit timer). */
export const PM1_STATUS = 0
export const PM1_ENABLE = 2
export const PM1_CONTROL = 4
export const PM_TIMER = 8
/** Bytes of registers. */
export const ACPI_PM_SIZE = 12

export const PM1_STS_TIMER = 0x0001
export const PM1_STS_GLOBAL = 0x0020
export const PM1_STS_POWER_BUTTON = 0x0100
export const PM1_STS_RTC = 0x0400
export const PM1_STS_WAKE = 0x8000
const PM1_STS_MASK: number = PM1_STS_TIMER | PM1_STS_GLOBAL | PM1_STS_POWER_BUTTON | PM1_STS_RTC | PM1_STS_WAKE
const PM1_EN_MASK: number = PM1_STS_TIMER | PM1_STS_GLOBAL | PM1_STS_POWER_BUTTON | PM1_STS_RTC
/** SCI_EN: power-management events raise the SCI instead of an SMI. */
export const PM1_CNT_SCI_EN = 0x0001
export const PM1_CNT_SLP_TYP_SHIFT = 10
export const PM1_CNT_SLP_EN = 0x2000
/** The sleep type that this chipset uses for S5, soft off. */
export const SLP_TYP_S5 = 0

/** The timer counts at 3.579545 MHz in 24 bits; bit 23 changing sets the timer status. */
export const PM_TIMER_HZ = 3_579_545
const TIMER_WRAP = 0x1000000

/** What an {@link AcpiPm} needs. */
export interface AcpiPmOptions {
  readonly clock: Clock
  /** The system control interrupt, level, usually IRQ 9. */
  readonly sci?: IrqLine
  /** Soft off. */
  readonly onPowerOff?: () => void
}

/** Saved state of an {@link AcpiPm}. */
export interface AcpiPmState {
  readonly version: 1
  readonly status: number
  readonly enable: number
  readonly control: number
}

export class AcpiPm implements PortDevice, Stateful<AcpiPmState> {
  readonly #options: AcpiPmOptions
  #status = 0
  #enable = 0
  #control = 0
  /** Bit 23 of the timer when the status was last brought up to date. */
  #lastHigh = 0

  constructor(options: AcpiPmOptions) {
    this.#options = options
  }

  /** The power button was pressed. */
  pressPowerButton(): void {
    this.#status |= PM1_STS_POWER_BUTTON
    this.#update()
  }

  /** A reset of the board. */
  reset(): void {
    this.#status = this.#enable = this.#control = 0
    this.#update()
  }

  get #timer(): number {
    return Math.floor((this.#options.clock.now() * PM_TIMER_HZ) / 1e9) % TIMER_WRAP
  }

  #sampleTimer(): void {
    const high = this.#timer & 0x800000
    if (high !== this.#lastHigh) this.#status |= PM1_STS_TIMER
    this.#lastHigh = high
  }

  #update(): void {
    const active = (this.#status & this.#enable) !== 0 && (this.#control & PM1_CNT_SCI_EN) !== 0
    this.#options.sci?.setLevel(active)
  }

  readPort(offset: number, size: PortSize): number {
    this.#sampleTimer()
    const words = [this.#status, this.#enable, this.#control, 0, this.#timer & 0xffff, this.#timer >>> 16]
    let value = 0
    for (let i = size - 1; i >= 0; i--) {
      const at = offset + i
      value = value * 256 + (((words[at >> 1] ?? 0xffff) >> (8 * (at & 1))) & 0xff)
    }
    return value
  }

  writePort(offset: number, size: PortSize, value: number): void {
    this.#sampleTimer()
    for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
    this.#update()
  }

  #writeByte(offset: number, byte: number): void {
    const shift = 8 * (offset & 1)
    const keep = 0xff00 >> shift
    switch (offset & ~1) {
      case PM1_STATUS:
        // Write one to clear.
        this.#status &= ~((byte << shift) & PM1_STS_MASK)
        break
      case PM1_ENABLE:
        this.#enable = ((this.#enable & keep) | (byte << shift)) & PM1_EN_MASK
        break
      case PM1_CONTROL:
        this.#control = ((this.#control & keep) | (byte << shift)) & 0x1c07
        if (((byte << shift) & PM1_CNT_SLP_EN) !== 0 && ((this.#control >> PM1_CNT_SLP_TYP_SHIFT) & 7) === SLP_TYP_S5) {
          this.#options.onPowerOff?.()
        }
        break
    }
  }

  saveState(): AcpiPmState {
    return { version: 1, status: this.#status, enable: this.#enable, control: this.#control }
  }

  loadState(state: AcpiPmState): void {
    if (
      state.version !== 1 ||
      ![state.status, state.enable, state.control].every((n) => Number.isInteger(n) && n >= 0 && n <= 0xffff)
    )
      throw new VirtkitError('bad-state', 'not the state of ACPI power management')
    this.#status = state.status & PM1_STS_MASK
    this.#enable = state.enable & PM1_EN_MASK
    this.#control = state.control & 0x1c07
    this.#lastHigh = this.#timer & 0x800000
    this.#update()
  }
}
