import type { Alarm, Clock, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { Ps2Device, Ps2DeviceOptions } from './ps2-keyboard.js'
import { PS2_ACK, PS2_BAT_OK, PS2_RESEND } from './ps2-keyboard.js'

/** What a mouse answers to a second wrong byte in a row. */
export const MOUSE_ERROR = 0xfc
/** Device IDs: plain, with wheel, with wheel and five buttons. */
export const MOUSE_ID_PLAIN = 0
export const MOUSE_ID_WHEEL = 3
export const MOUSE_ID_FIVE_BUTTONS = 4

const RATES: readonly number[] = [10, 20, 40, 60, 80, 100, 200]
/** Movement that may wait to be reported. */
const CARRY_MAX = 0x7fff
const SCALED: readonly number[] = [0, 1, 1, 3, 6, 9]

const REMOTE = 0x01
const WRAP = 0x02
const ENABLED = 0x04
const SCALE_2_1 = 0x08
const BAD_BYTE = 0x10
const CHANGED = 0x20
const FLAGS_ALL = 0x3f

/** Saved state of a {@link Ps2Mouse}. */
export interface Ps2MouseState {
  readonly version: 1
  readonly output: Uint8Array
  /** Flags, buttons, resolution, sample rate, device ID, pending command, last byte sent, the last two sample rates. */
  readonly registers: Uint8Array
  readonly dx: number
  readonly dy: number
  readonly dz: number
  readonly lastReport: number
  readonly sampleDeadline: number | null
  readonly batDeadline: number | null
}

/**
 * A PS/2 mouse that turns into one with a wheel (ID 3) and five buttons (ID 4) after the sample-rate sequences 200, 100, 80 and
 * 200, 200, 80. Movement beyond a packet's range is reported in the next ones, never as overflow.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft, "IntelliMouse" wheel protocol.
 */
export class Ps2Mouse implements Ps2Device, Stateful<Ps2MouseState> {
  readonly #clock: Clock
  readonly #onPending: () => void
  readonly #batTime: number
  readonly #output = new Uint8Array(16)
  #count = 0
  #flags = 0
  #buttons = 0
  #resolution = 2
  #rate = 100
  #id = MOUSE_ID_PLAIN
  #command = 0
  #lastSent = 0
  #rate1 = 0
  #rate2 = 0
  #dx = 0
  #dy = 0
  #dz = 0
  #lastReport = Number.NEGATIVE_INFINITY
  #sampleAlarm: Alarm | undefined
  #batAlarm: Alarm | undefined

  constructor(options: Ps2DeviceOptions) {
    this.#clock = options.clock
    this.#onPending = options.onPending
    this.#batTime = options.batTime
  }

  get pending(): boolean {
    return this.#count > 0
  }

  /** The device ID in use: 0, 3 or 4. */
  get id(): number {
    return this.#id
  }

  /** Power-on state. Buttons held by the user stay held. */
  reset(): void {
    this.#defaults()
    this.#id = MOUSE_ID_PLAIN
    this.#count = 0
    this.#command = 0
    this.#batAlarm?.cancel()
    this.#batAlarm = undefined
  }

  /** Movement in counts: `dx` to the right, `dy` up, `dz` towards the user. */
  move(dx: number, dy: number, dz: number): void {
    const clamp = (value: number): number => Math.max(-CARRY_MAX, Math.min(CARRY_MAX, Math.trunc(value) || 0))
    this.#dx = clamp(this.#dx + clamp(dx))
    this.#dy = clamp(this.#dy + clamp(dy))
    this.#dz = clamp(this.#dz + clamp(dz))
    this.#touch()
  }

  /** A button changes: 0 left, 1 right, 2 middle, 3 and 4 the side buttons. */
  button(button: number, down: boolean): void {
    const buttons = down ? this.#buttons | (1 << button) : this.#buttons & ~(1 << button)
    if (buttons === this.#buttons) return
    this.#buttons = buttons
    this.#touch()
  }

  take(): number {
    this.#lastSent = this.#output[0]!
    this.#output.copyWithin(0, 1, this.#count)
    this.#count--
    if (this.#count === 0) this.#arm()
    return this.#lastSent
  }

  receive(byte: number): void {
    // A command stops whatever was being sent.
    this.#count = 0
    if ((this.#flags & WRAP) !== 0 && byte !== 0xec && byte !== 0xff) {
      this.#send(byte)
      return
    }
    const command = this.#command
    this.#command = 0
    if (command === 0xe8) {
      if (byte > 3) this.#refuse()
      else {
        this.#resolution = byte
        this.#accept()
      }
      return
    }
    if (command === 0xf3) {
      this.#setRate(byte)
      return
    }
    switch (byte) {
      case 0xe6:
        this.#flags &= ~SCALE_2_1
        this.#accept()
        break
      case 0xe7:
        this.#flags |= SCALE_2_1
        this.#accept()
        break
      case 0xe8:
      case 0xf3:
        this.#command = byte
        this.#accept()
        break
      case 0xe9: {
        const flags = this.#flags
        const buttons = this.#buttons
        this.#accept()
        this.#send(
          ((flags & REMOTE) !== 0 ? 0x40 : 0) |
            ((flags & ENABLED) !== 0 ? 0x20 : 0) |
            ((flags & SCALE_2_1) !== 0 ? 0x10 : 0) |
            ((buttons & 1) !== 0 ? 4 : 0) |
            ((buttons & 4) !== 0 ? 2 : 0) |
            ((buttons & 2) !== 0 ? 1 : 0),
        )
        this.#send(this.#resolution)
        this.#send(this.#rate)
        break
      }
      case 0xea:
        this.#flags &= ~(REMOTE | WRAP)
        this.#forget()
        this.#accept()
        break
      case 0xeb:
        this.#accept()
        this.#packet(false)
        break
      case 0xec:
        this.#flags &= ~WRAP
        this.#forget()
        this.#accept()
        break
      case 0xee:
        this.#flags |= WRAP
        this.#forget()
        this.#accept()
        break
      case 0xf0:
        this.#flags |= REMOTE
        this.#forget()
        this.#accept()
        break
      case 0xf2:
        this.#accept()
        this.#send(this.#id)
        break
      case 0xf4:
        this.#flags |= ENABLED
        this.#forget()
        this.#accept()
        break
      case 0xf5:
        this.#flags &= ~ENABLED
        this.#forget()
        this.#accept()
        break
      case 0xf6:
        this.#defaults()
        this.#accept()
        break
      case 0xfe:
        this.#send(this.#lastSent)
        break
      case 0xff:
        this.reset()
        this.#accept()
        this.#batAlarm = this.#clock.schedule(this.#clock.now() + this.#batTime, this.#onBat)
        break
      default:
        this.#refuse()
    }
  }

  saveState(): Ps2MouseState {
    return {
      version: 1,
      output: this.#output.slice(0, this.#count),
      registers: Uint8Array.of(
        this.#flags,
        this.#buttons,
        this.#resolution,
        this.#rate,
        this.#id,
        this.#command,
        this.#lastSent,
        this.#rate1,
        this.#rate2,
      ),
      dx: this.#dx,
      dy: this.#dy,
      dz: this.#dz,
      lastReport: this.#lastReport === Number.NEGATIVE_INFINITY ? -1e9 : this.#lastReport,
      sampleDeadline: this.#sampleAlarm?.deadline ?? null,
      batDeadline: this.#batAlarm?.deadline ?? null,
    }
  }

  loadState(state: Ps2MouseState): void {
    this.prepareLoad(state)()
  }

  /** Checks `state` and returns what puts it in place, for parts that load several states as one. */
  prepareLoad(state: unknown): () => void {
    const reader = new StateReader('PS/2 mouse', state, 1)
    const output = reader.bytes('output', 0, 16)
    const registers = reader.bytes('registers', 9)
    const dx = reader.int('dx', -CARRY_MAX, CARRY_MAX)
    const dy = reader.int('dy', -CARRY_MAX, CARRY_MAX)
    const dz = reader.int('dz', -CARRY_MAX, CARRY_MAX)
    const lastReport = reader.time('lastReport')
    const sampleDeadline = reader.timeOrNull('sampleDeadline')
    const batDeadline = reader.timeOrNull('batDeadline')
    const [flags, buttons, resolution, rate, id, command, lastSent, rate1, rate2] = registers as unknown as number[]
    if (
      flags! > FLAGS_ALL ||
      buttons! > 31 ||
      resolution! > 3 ||
      !RATES.includes(rate!) ||
      (id !== MOUSE_ID_PLAIN && id !== MOUSE_ID_WHEEL && id !== MOUSE_ID_FIVE_BUTTONS)
    ) {
      throw reader.inconsistent('registers', 'those of a mouse')
    }
    return () => {
      this.#output.set(output)
      this.#count = output.length
      this.#flags = flags!
      this.#buttons = buttons!
      this.#resolution = resolution!
      this.#rate = rate!
      this.#id = id!
      this.#command = command!
      this.#lastSent = lastSent!
      this.#rate1 = rate1!
      this.#rate2 = rate2!
      this.#dx = dx
      this.#dy = dy
      this.#dz = dz
      this.#lastReport = lastReport
      this.#sampleAlarm?.cancel()
      this.#batAlarm?.cancel()
      this.#sampleAlarm = sampleDeadline === null ? undefined : this.#clock.schedule(sampleDeadline, this.#onSample)
      this.#batAlarm = batDeadline === null ? undefined : this.#clock.schedule(batDeadline, this.#onBat)
    }
  }

  #send(byte: number): void {
    if (this.#count < this.#output.length) this.#output[this.#count++] = byte
    this.#onPending()
  }

  #accept(): void {
    this.#flags &= ~BAD_BYTE
    this.#send(PS2_ACK)
  }

  /** The first wrong byte is asked for again, the second in a row is an error. */
  #refuse(): void {
    const again = (this.#flags & BAD_BYTE) !== 0
    this.#flags ^= BAD_BYTE
    this.#send(again ? MOUSE_ERROR : PS2_RESEND)
  }

  #setRate(rate: number): void {
    if (!RATES.includes(rate)) {
      this.#refuse()
      return
    }
    if (this.#rate1 === 200 && this.#rate2 === 100 && rate === 80 && this.#id === MOUSE_ID_PLAIN) {
      this.#id = MOUSE_ID_WHEEL
    } else if (this.#rate1 === 200 && this.#rate2 === 200 && rate === 80 && this.#id === MOUSE_ID_WHEEL) {
      this.#id = MOUSE_ID_FIVE_BUTTONS
    }
    this.#rate1 = this.#rate2
    this.#rate2 = rate
    this.#rate = rate
    this.#forget()
    this.#accept()
  }

  #defaults(): void {
    this.#flags = 0
    this.#rate = 100
    this.#resolution = 2
    this.#rate1 = 0
    this.#rate2 = 0
    this.#forget()
  }

  /** Drops movement that was not reported. */
  #forget(): void {
    this.#dx = 0
    this.#dy = 0
    this.#dz = 0
    this.#flags &= ~CHANGED
    this.#sampleAlarm?.cancel()
    this.#sampleAlarm = undefined
  }

  #streaming(): boolean {
    return (this.#flags & (REMOTE | WRAP | ENABLED)) === ENABLED && this.#batAlarm === undefined
  }

  #touch(): void {
    this.#flags |= CHANGED
    this.#arm()
  }

  /** Something to report is reported at the next sample, and only once the last packet has left. */
  #arm(): void {
    if ((this.#flags & CHANGED) === 0 || !this.#streaming() || this.#sampleAlarm !== undefined || this.#count > 0)
      return
    const at = Math.max(this.#clock.now(), this.#lastReport + 1e9 / this.#rate)
    this.#sampleAlarm = this.#clock.schedule(at, this.#onSample)
  }

  readonly #onSample = (): void => {
    this.#sampleAlarm = undefined
    if (this.#count > 0 || !this.#streaming()) return
    this.#lastReport = this.#clock.now()
    this.#packet((this.#flags & SCALE_2_1) !== 0)
  }

  readonly #onBat = (): void => {
    this.#batAlarm = undefined
    this.#send(PS2_BAT_OK)
    this.#send(MOUSE_ID_PLAIN)
  }

  #packet(scaled: boolean): void {
    const dx = Math.max(-255, Math.min(255, this.#dx))
    const dy = Math.max(-255, Math.min(255, this.#dy))
    const dz = Math.max(-8, Math.min(7, this.#dz))
    this.#dx -= dx
    this.#dy -= dy
    this.#dz = this.#id === MOUSE_ID_PLAIN ? 0 : this.#dz - dz
    if (this.#dx === 0 && this.#dy === 0 && this.#dz === 0) this.#flags &= ~CHANGED
    const x = scaled ? scale(dx) : dx
    const y = scaled ? scale(dy) : dy
    this.#send(0x08 | (this.#buttons & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0))
    this.#send(x & 0xff)
    this.#send(y & 0xff)
    if (this.#id === MOUSE_ID_WHEEL) this.#send(dz & 0xff)
    else if (this.#id === MOUSE_ID_FIVE_BUTTONS) this.#send((dz & 0x0f) | ((this.#buttons & 0x18) << 1))
  }
}

/** Scaling 2:1. Source: "Mouse", "Set Scaling 2:1": 0, 1, 1, 3, 6, 9, then twice the count. */
function scale(count: number): number {
  const size = Math.abs(count)
  const scaled = Math.min(255, SCALED[size] ?? 2 * size)
  return count < 0 ? -scaled : scaled
}
