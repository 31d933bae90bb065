import type { Alarm, Clock, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import {
  isPause,
  KEY_CODES,
  SET3_MAKE,
  SET3_MAKE_BREAK,
  SET3_TYPEMATIC,
  SET3_TYPEMATIC_MAKE_BREAK,
  set1Sequence,
  set2Sequence,
  set3Code,
  set3Default,
} from './scan-codes.js'

/** A device on a PS/2 port, as the controller sees it. */
export interface Ps2Device {
  /** True when the device has a byte to send. */
  readonly pending: boolean
  /** Takes the next byte; only while `pending`. */
  take(): number
  /** The controller sends a byte to the device. */
  receive(byte: number): void
}

/** Keys' bytes that a keyboard holds; one more place is for the overrun code. */
export const KEYBOARD_BUFFER_SIZE = 16
export const PS2_ACK = 0xfa
export const PS2_RESEND = 0xfe
export const PS2_BAT_OK = 0xaa
/** Typematic delay and rate after reset: 500 ms, 10.9 characters a second. */
export const KEYBOARD_DEFAULT_TYPEMATIC = 0x2b

/** What is connected to a keyboard or mouse. */
export interface Ps2DeviceOptions {
  readonly clock: Clock
  /** Called when `pending` may have become true. */
  readonly onPending: () => void
  /** Nanoseconds that the basic assurance test takes after a reset. */
  readonly batTime: number
  /** Called when the lights change: bit 0 scroll lock, 1 num lock, 2 caps lock. Keyboard only. */
  readonly onLeds?: (leds: number) => void
}

/** Saved state of a {@link Ps2Keyboard}. */
export interface Ps2KeyboardState {
  readonly version: 1
  readonly buffer: Uint8Array
  readonly replies: Uint8Array
  readonly down: Uint8Array
  readonly keyModes: Uint8Array
  /** Scan set, scanning, LEDs, typematic, command that awaits a parameter, last byte sent, overrun. */
  readonly registers: Uint8Array
  readonly repeatKey: number
  readonly repeatDeadline: number | null
  readonly batDeadline: number | null
}

/**
 * The 102-key keyboard: scan code sets 1, 2 and 3, typematic repeat, all commands.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)".
 */
export class Ps2Keyboard implements Ps2Device, Stateful<Ps2KeyboardState> {
  readonly #clock: Clock
  readonly #onPending: () => void
  readonly #onLeds: ((leds: number) => void) | undefined
  readonly #batTime: number
  readonly #buffer = new Uint8Array(KEYBOARD_BUFFER_SIZE + 1)
  #count = 0
  readonly #replies = new Uint8Array(8)
  #replyCount = 0
  readonly #down = new Uint8Array(KEY_CODES.length)
  readonly #keyModes = new Uint8Array(KEY_CODES.length)
  #scanSet = 2
  #scanning = true
  #leds = 0
  #typematic = KEYBOARD_DEFAULT_TYPEMATIC
  /** The command whose parameter comes next; 0 for none. */
  #command = 0
  #lastSent = 0
  #repeatKey = -1
  #repeatAlarm: Alarm | undefined
  #batAlarm: Alarm | undefined

  constructor(options: Ps2DeviceOptions) {
    this.#clock = options.clock
    this.#onPending = options.onPending
    this.#onLeds = options.onLeds
    this.#batTime = options.batTime
    this.#resetKeyModes()
  }

  get pending(): boolean {
    return this.#count > 0 || this.#replyCount > 0
  }

  /** True when keys would be taken at once: scanning is on and nothing waits. */
  get ready(): boolean {
    return this.#scanning && !this.pending && this.#batAlarm === undefined
  }

  /** The scan code set in use, 1–3. */
  get scanSet(): number {
    return this.#scanSet
  }

  /** Power-on: all settings at their defaults, no key held, nothing to send. */
  reset(): void {
    this.#defaults()
    this.#batAlarm?.cancel()
    this.#batAlarm = undefined
    this.#replyCount = 0
    this.#command = 0
    this.#scanning = true
    this.#down.fill(0)
    this.#setLeds(0)
  }

  /** A key changes its state; `key` is its number in `KEY_CODES`. Pressing a held key does nothing. */
  key(key: number, down: boolean): void {
    if (this.#down[key] === (down ? 1 : 0)) return
    this.#down[key] = down ? 1 : 0
    if (!this.#scanning || this.#batAlarm !== undefined) return
    if (down) {
      this.#emit(key, true)
      this.#startRepeat(key)
    } else {
      if (this.#repeatKey === key) this.#stopRepeat()
      if (this.#scanSet !== 3 || (this.#keyModes[key]! & SET3_MAKE_BREAK) !== 0) this.#emit(key, false)
    }
  }

  take(): number {
    if (this.#replyCount > 0) {
      this.#lastSent = this.#replies[0]!
      this.#replies.copyWithin(0, 1, this.#replyCount)
      this.#replyCount--
    } else {
      this.#lastSent = this.#buffer[0]!
      this.#buffer.copyWithin(0, 1, this.#count)
      this.#count--
    }
    return this.#lastSent
  }

  receive(byte: number): void {
    // A new byte aborts what the last command still had to say, and a running self-test.
    this.#replyCount = 0
    const command = this.#command
    this.#command = 0
    if (command !== 0 && this.#parameter(command, byte)) return
    switch (byte) {
      case 0xed:
      case 0xf0:
      case 0xf3:
      case 0xfb:
      case 0xfc:
      case 0xfd:
        this.#command = byte
        this.#reply(PS2_ACK)
        break
      case 0xee:
        this.#reply(0xee)
        break
      case 0xf2:
        this.#reply(PS2_ACK, 0xab, 0x83)
        break
      case 0xf4:
        this.#clearBuffer()
        this.#scanning = true
        this.#reply(PS2_ACK)
        break
      case 0xf5:
        this.#defaults()
        this.#scanning = false
        this.#reply(PS2_ACK)
        break
      case 0xf6:
        this.#defaults()
        this.#scanning = true
        this.#reply(PS2_ACK)
        break
      case 0xf7:
        this.#setAllKeys(SET3_TYPEMATIC)
        break
      case 0xf8:
        this.#setAllKeys(SET3_MAKE_BREAK)
        break
      case 0xf9:
        this.#setAllKeys(SET3_MAKE)
        break
      case 0xfa:
        this.#setAllKeys(SET3_TYPEMATIC_MAKE_BREAK)
        break
      case 0xfe:
        this.#reply(this.#lastSent)
        break
      case 0xff:
        this.#defaults()
        this.#setLeds(0)
        this.#scanning = true
        this.#reply(PS2_ACK)
        this.#batAlarm?.cancel()
        this.#batAlarm = this.#clock.schedule(this.#clock.now() + this.#batTime, this.#onBat)
        break
      default:
        this.#reply(PS2_RESEND)
    }
  }

  saveState(): Ps2KeyboardState {
    return {
      version: 1,
      buffer: this.#buffer.slice(0, this.#count),
      replies: this.#replies.slice(0, this.#replyCount),
      down: this.#down.slice(),
      keyModes: this.#keyModes.slice(),
      registers: Uint8Array.of(
        this.#scanSet,
        this.#scanning ? 1 : 0,
        this.#leds,
        this.#typematic,
        this.#command,
        this.#lastSent,
      ),
      repeatKey: this.#repeatKey,
      repeatDeadline: this.#repeatAlarm?.deadline ?? null,
      batDeadline: this.#batAlarm?.deadline ?? null,
    }
  }

  loadState(state: Ps2KeyboardState): void {
    this.prepareLoad(state)()
  }

  /** Checks `state` and returns what puts it in place, for parts that load several states as one. */
  prepareLoad(state: unknown): () => void {
    const reader = new StateReader('PS/2 keyboard', state, 1)
    const buffer = reader.bytes('buffer', 0, KEYBOARD_BUFFER_SIZE + 1)
    const replies = reader.bytes('replies', 0, 8)
    const down = reader.bytes('down', KEY_CODES.length)
    const keyModes = reader.bytes('keyModes', KEY_CODES.length)
    const registers = reader.bytes('registers', 6)
    const repeatKey = reader.int('repeatKey', -1, KEY_CODES.length - 1)
    const repeatDeadline = reader.timeOrNull('repeatDeadline')
    const batDeadline = reader.timeOrNull('batDeadline')
    const [scanSet, scanning, leds, typematic, command, lastSent] = registers as unknown as number[]
    if (scanSet! < 1 || scanSet! > 3 || scanning! > 1 || leds! > 7 || typematic! > 0x7f) {
      throw reader.inconsistent('registers', 'those of a keyboard')
    }
    if (down.some((value) => value > 1)) throw reader.inconsistent('down', '0 or 1 for each key')
    if (keyModes.some((value) => value > 3)) throw reader.inconsistent('keyModes', '0 to 3 for each key')
    if (repeatKey < 0 !== (repeatDeadline === null)) throw reader.inconsistent('repeatDeadline', 'that of repeatKey')
    return () => {
      this.#buffer.set(buffer)
      this.#count = buffer.length
      this.#replies.set(replies)
      this.#replyCount = replies.length
      this.#down.set(down)
      this.#keyModes.set(keyModes)
      this.#scanSet = scanSet!
      this.#scanning = scanning === 1
      this.#typematic = typematic!
      this.#command = command!
      this.#lastSent = lastSent!
      this.#stopRepeat()
      this.#batAlarm?.cancel()
      this.#repeatKey = repeatKey
      if (repeatDeadline !== null) this.#repeatAlarm = this.#clock.schedule(repeatDeadline, this.#onRepeat)
      this.#batAlarm = batDeadline === null ? undefined : this.#clock.schedule(batDeadline, this.#onBat)
      this.#setLeds(leds!)
    }
  }

  /** Handles the parameter of `command`; false when `byte` is a command instead, which cancels the first. */
  #parameter(command: number, byte: number): boolean {
    if (byte >= 0xed) return false
    switch (command) {
      case 0xed:
        this.#setLeds(byte & 7)
        this.#reply(PS2_ACK)
        return true
      case 0xf0:
        if (byte === 0) this.#reply(PS2_ACK, this.#scanSet)
        else if (byte <= 3) {
          this.#scanSet = byte
          this.#clearBuffer()
          this.#reply(PS2_ACK)
        } else this.#reply(PS2_RESEND)
        return true
      case 0xf3:
        if (byte > 0x7f) this.#reply(PS2_RESEND)
        else {
          this.#typematic = byte
          this.#reply(PS2_ACK)
        }
        return true
      default: {
        // FB, FC, FD: any number of set 3 codes, ended by the next command.
        const mode = command === 0xfb ? SET3_TYPEMATIC : command === 0xfc ? SET3_MAKE_BREAK : SET3_MAKE
        this.#command = command
        let known = false
        for (let key = 0; key < KEY_CODES.length; key++) {
          if (set3Code(key) !== byte) continue
          this.#keyModes[key] = mode
          known = true
        }
        this.#reply(known ? PS2_ACK : PS2_RESEND)
        return true
      }
    }
  }

  #reply(a: number, b = -1, c = -1): void {
    this.#replies[0] = a
    this.#replyCount = 1
    if (b >= 0) this.#replies[this.#replyCount++] = b
    if (c >= 0) this.#replies[this.#replyCount++] = c
    this.#onPending()
  }

  #setAllKeys(mode: number): void {
    this.#clearBuffer()
    this.#keyModes.fill(mode)
    this.#reply(PS2_ACK)
  }

  #setLeds(leds: number): void {
    if (leds === this.#leds) return
    this.#leds = leds
    this.#onLeds?.(leds)
  }

  #defaults(): void {
    this.#clearBuffer()
    this.#scanSet = 2
    this.#typematic = KEYBOARD_DEFAULT_TYPEMATIC
    this.#resetKeyModes()
  }

  #resetKeyModes(): void {
    for (let key = 0; key < KEY_CODES.length; key++) this.#keyModes[key] = set3Default(key)
  }

  #clearBuffer(): void {
    this.#count = 0
    this.#stopRepeat()
  }

  #emit(key: number, make: boolean): void {
    if (this.#scanSet === 3) this.#put(make ? [set3Code(key)] : [0xf0, set3Code(key)])
    else this.#put(this.#scanSet === 1 ? set1Sequence(key, make) : set2Sequence(key, make))
  }

  /** Adds a key's bytes whole, or the overrun code when they do not fit; after that, nothing until there is room. */
  #put(bytes: readonly number[]): void {
    if (bytes.length === 0 || this.#count > KEYBOARD_BUFFER_SIZE) return
    if (this.#count + bytes.length > KEYBOARD_BUFFER_SIZE) {
      const overrun = this.#scanSet === 1 ? 0xff : 0x00
      if (this.#count > 0 && this.#buffer[this.#count - 1] === overrun) return
      this.#buffer[this.#count++] = overrun
    } else for (const byte of bytes) this.#buffer[this.#count++] = byte
    this.#onPending()
  }

  #startRepeat(key: number): void {
    this.#stopRepeat()
    const repeats = this.#scanSet === 3 ? this.#keyModes[key]! % 3 === 0 : !isPause(key)
    if (!repeats) return
    this.#repeatKey = key
    const delay = ((this.#typematic >> 5) + 1) * 250e6
    this.#repeatAlarm = this.#clock.schedule(this.#clock.now() + delay, this.#onRepeat)
  }

  #stopRepeat(): void {
    this.#repeatKey = -1
    this.#repeatAlarm?.cancel()
    this.#repeatAlarm = undefined
  }

  readonly #onRepeat = (): void => {
    const { deadline } = this.#repeatAlarm!
    // Source: "Set Typematic Rate/Delay": period = (8 + A) × 2^B × 4.17 ms.
    const period = (8 + (this.#typematic & 7)) * 2 ** ((this.#typematic >> 3) & 3) * 4.17e6
    this.#repeatAlarm = this.#clock.schedule(Math.max(deadline, this.#clock.now()) + period, this.#onRepeat)
    this.#emit(this.#repeatKey, true)
  }

  readonly #onBat = (): void => {
    this.#batAlarm = undefined
    if (this.#replyCount < this.#replies.length) this.#replies[this.#replyCount++] = PS2_BAT_OK
    this.#onPending()
  }
}
