import type { Alarm, Clock, IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { Ps2KeyboardState } from './ps2-keyboard.js'
import { Ps2Keyboard } from './ps2-keyboard.js'
import type { Ps2MouseState } from './ps2-mouse.js'
import { Ps2Mouse } from './ps2-mouse.js'
import { KEY_CODES, keyForCharacter, keyNumber, translateScanCode } from './scan-codes.js'
import type { ResetLine } from './system-control.js'

/** Status: output buffer full, a byte waits at port 0x60. */
export const PS2_STATUS_OBF = 0x01
/** Status: input buffer full; the controller is never that slow here. */
export const PS2_STATUS_IBF = 0x02
/** Status: self-test passed (system flag). */
export const PS2_STATUS_SYS = 0x04
/** Status: the last write was a command (port 0x64). */
export const PS2_STATUS_A2 = 0x08
/** Status: the keyboard lock is open. */
export const PS2_STATUS_UNLOCKED = 0x10
/** Status: the byte that waits is the mouse's. */
export const PS2_STATUS_AUX = 0x20

/** Command byte: IRQ 1 when the keyboard's byte waits. */
export const PS2_MODE_INT = 0x01
/** Command byte: IRQ 12 when the mouse's byte waits. */
export const PS2_MODE_INT2 = 0x02
/** Command byte: the system flag. */
export const PS2_MODE_SYS = 0x04
/** Command byte: the keyboard's clock is held low. */
export const PS2_MODE_DISABLE_KEYBOARD = 0x10
/** Command byte: the mouse's clock is held low. */
export const PS2_MODE_DISABLE_MOUSE = 0x20
/** Command byte: scan codes are translated to set 1. */
export const PS2_MODE_TRANSLATE = 0x40

/** Output port: low resets the processor. */
export const PS2_OUTPUT_RESET = 0x01
/** Output port: address line 20. */
export const PS2_OUTPUT_A20 = 0x02
const OUTPUT_OBF = 0x10
const OUTPUT_AUX = 0x20

/** Characters that {@link Ps2Controller.type} may hold. */
export const TYPE_QUEUE_SIZE = 4096
const TYPE_INTERVAL = 5e6

/** What a {@link Ps2Controller} is connected to. */
export interface Ps2ControllerOptions {
  readonly clock: Clock
  /** IRQ 1. */
  readonly keyboardIrq: IrqLine
  /** IRQ 12. */
  readonly mouseIrq: IrqLine
  readonly reset?: ResetLine
  /** Address line 20 as this controller drives it; the board ORs it with port 0x92's. Called on changes. */
  readonly onA20?: (enabled: boolean) => void
  /** Keyboard lights: bit 0 scroll lock, 1 num lock, 2 caps lock. */
  readonly onLeds?: (leds: number) => void
  /** Whether the output port lets address line 20 through after reset; its pins float high. Default true. */
  readonly a20AtReset?: boolean
  /** Nanoseconds a byte takes from a device to port 0x60. Default 200 µs (a real one: about 900). */
  readonly byteTime?: number
  /** Nanoseconds of a device's self-test. Default 2 ms (a real one: 500). */
  readonly batTime?: number
}

/** Saved state of a {@link Ps2Controller} with its keyboard and mouse. */
export interface Ps2ControllerState {
  readonly version: 1
  readonly ram: Uint8Array
  /** Output buffer, status, output port, pending command, release prefix seen. */
  readonly registers: Uint8Array
  /** Key events that {@link Ps2Controller.type} has yet to make: key number times two, plus one for a release. */
  readonly typing: Uint8Array
  readonly byteDeadline: number | null
  readonly typeDeadline: number | null
  readonly keyboard: Ps2KeyboardState
  readonly mouse: Ps2MouseState
}

/**
 * The 8042 keyboard controller of a PS/2 at ports 0x60 (offset 0) and 0x64 (offset 4), with a keyboard and a mouse plugged in:
 * register it at 0x60 and 0x64 separately, or through {@link Ps2Controller.data} and {@link Ps2Controller.command}.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard/Auxiliary Device Controller".
 */
export class Ps2Controller implements Stateful<Ps2ControllerState> {
  /** Port 0x60. */
  readonly data: PortDevice
  /** Port 0x64. */
  readonly command: PortDevice
  readonly keyboard: Ps2Keyboard
  readonly mouse: Ps2Mouse
  readonly #clock: Clock
  readonly #keyboardIrq: IrqLine
  readonly #mouseIrq: IrqLine
  readonly #reset: ResetLine | undefined
  readonly #onA20: ((enabled: boolean) => void) | undefined
  readonly #byteTime: number
  readonly #outputAtReset: number
  /** The controller's RAM; byte 0 is the command byte. */
  readonly #ram = new Uint8Array(32)
  #buffer = 0
  #status = PS2_STATUS_UNLOCKED
  #outputPort: number
  /** The command of port 0x64 whose parameter comes at port 0x60; 0 for none. */
  #pending = 0
  /** The translation has seen 0xF0: the next code is a release. */
  #release = 0
  #byteAlarm: Alarm | undefined
  readonly #typing = new Uint8Array(TYPE_QUEUE_SIZE * 4)
  #typingHead = 0
  #typingCount = 0
  #typeAlarm: Alarm | undefined

  constructor(options: Ps2ControllerOptions) {
    this.#clock = options.clock
    this.#keyboardIrq = options.keyboardIrq
    this.#mouseIrq = options.mouseIrq
    this.#reset = options.reset
    this.#onA20 = options.onA20
    this.#byteTime = options.byteTime ?? 200_000
    const batTime = options.batTime ?? 2_000_000
    if (!(this.#byteTime >= 0 && batTime >= 0)) throw new VirtkitError('bad-argument', 'byteTime and batTime are ≥ 0')
    this.#outputAtReset = 0xcd | (options.a20AtReset === false ? 0 : PS2_OUTPUT_A20)
    this.#outputPort = this.#outputAtReset
    this.#ram[0] = PS2_MODE_INT | PS2_MODE_INT2
    const onPending = (): void => this.#pump()
    this.keyboard = new Ps2Keyboard({
      clock: options.clock,
      onPending,
      batTime,
      ...(options.onLeds ? { onLeds: options.onLeds } : {}),
    })
    this.mouse = new Ps2Mouse({ clock: options.clock, onPending, batTime })
    this.data = {
      readPort: (offset, size) => widen(offset === 0 ? this.#readData() : 0xff, size),
      writePort: (offset, _size, value) => {
        if (offset === 0) this.#writeData(value & 0xff)
      },
    }
    this.command = {
      readPort: (offset, size) => widen(offset === 0 ? this.#status : 0xff, size),
      writePort: (offset, _size, value) => {
        if (offset === 0) this.#writeCommand(value & 0xff)
      },
    }
  }

  /** Address line 20 as the output port drives it. */
  get a20(): boolean {
    return (this.#outputPort & PS2_OUTPUT_A20) !== 0
  }

  /** A reset of the board: controller, keyboard and mouse as at power-on. */
  reset(): void {
    this.#ram.fill(0)
    this.#ram[0] = PS2_MODE_INT | PS2_MODE_INT2
    this.#buffer = 0
    this.#status = PS2_STATUS_UNLOCKED
    this.#pending = 0
    this.#release = 0
    this.#byteAlarm?.cancel()
    this.#byteAlarm = undefined
    this.keyboard.reset()
    this.mouse.reset()
    this.#setOutputPort(this.#outputAtReset)
    this.#updateIrqs()
  }

  // --- The user's side --------------------------------------------------------------------------------------------

  /** Presses the key with that `KeyboardEvent.code`. Throws `bad-argument` for a key this keyboard does not have. */
  keyDown(code: string): void {
    this.keyboard.key(keyOf(code), true)
  }

  /** Releases a key. */
  keyUp(code: string): void {
    this.keyboard.key(keyOf(code), false)
  }

  /**
   * Types `text` on a US keyboard, key by key as fast as the guest takes it; `\n`, `\t`, `\b` and `\x1b` are Enter, Tab,
   * Backspace and Escape. Throws `bad-argument` for a character without a key, or when more than
   * {@link TYPE_QUEUE_SIZE} characters would wait; nothing is typed then.
   */
  type(text: string): void {
    const events: number[] = []
    const shift = keyNumber('ShiftLeft') * 2
    for (const character of text) {
      const found = keyForCharacter(character)
      if (found === undefined) {
        throw new VirtkitError('bad-argument', `no key of a US keyboard types ${JSON.stringify(character)}`)
      }
      if (found.shift) events.push(shift)
      events.push(found.key * 2, found.key * 2 + 1)
      if (found.shift) events.push(shift + 1)
    }
    if (this.#typingCount + events.length > this.#typing.length) {
      throw new VirtkitError('bad-argument', `more than ${TYPE_QUEUE_SIZE} characters would wait to be typed`)
    }
    for (const event of events) {
      this.#typing[(this.#typingHead + this.#typingCount++) % this.#typing.length] = event
    }
    this.#armTyping()
  }

  /** Moves the mouse by counts, in screen directions: right and down are positive. */
  mouseMove(dx: number, dy: number): void {
    this.mouse.move(dx, -dy, 0)
  }

  /** Presses or releases a button: 0 left, 1 middle, 2 right, 3 back, 4 forward, as `MouseEvent.button` counts. */
  mouseButton(button: number, down: boolean): void {
    if (!Number.isInteger(button) || button < 0 || button > 4) {
      throw new VirtkitError('bad-argument', `mouse button ${button} does not exist; 0 to 4 do`)
    }
    this.mouse.button(button === 1 ? 2 : button === 2 ? 1 : button, down)
  }

  /** Turns the wheel by detents, positive towards the user (down). */
  wheel(detents: number): void {
    this.mouse.move(0, 0, detents)
  }

  // --- State ------------------------------------------------------------------------------------------------------

  saveState(): Ps2ControllerState {
    const typing = new Uint8Array(this.#typingCount)
    for (let i = 0; i < typing.length; i++) typing[i] = this.#typing[(this.#typingHead + i) % this.#typing.length]!
    return {
      version: 1,
      ram: this.#ram.slice(),
      registers: Uint8Array.of(this.#buffer, this.#status, this.#outputPort, this.#pending, this.#release),
      typing,
      byteDeadline: this.#byteAlarm?.deadline ?? null,
      typeDeadline: this.#typeAlarm?.deadline ?? null,
      keyboard: this.keyboard.saveState(),
      mouse: this.mouse.saveState(),
    }
  }

  loadState(state: Ps2ControllerState): void {
    const reader = new StateReader('PS/2 controller', state, 1)
    const ram = reader.bytes('ram', 32)
    const registers = reader.bytes('registers', 5)
    const typing = reader.bytes('typing', 0, this.#typing.length)
    const byteDeadline = reader.timeOrNull('byteDeadline')
    const typeDeadline = reader.timeOrNull('typeDeadline')
    if (typing.length > 0 !== (typeDeadline !== null)) throw reader.inconsistent('typeDeadline', 'that of typing')
    if (typing.some((event) => event >> 1 >= KEY_CODES.length)) throw reader.inconsistent('typing', 'key events')
    const loadKeyboard = this.keyboard.prepareLoad(reader.nested('keyboard'))
    const loadMouse = this.mouse.prepareLoad(reader.nested('mouse'))
    loadKeyboard()
    loadMouse()
    this.#ram.set(ram)
    this.#buffer = registers[0]!
    this.#status = registers[1]!
    this.#pending = registers[3]!
    this.#release = registers[4]! & 0x80
    this.#typing.set(typing)
    this.#typingHead = 0
    this.#typingCount = typing.length
    this.#byteAlarm?.cancel()
    this.#typeAlarm?.cancel()
    this.#byteAlarm = byteDeadline === null ? undefined : this.#clock.schedule(byteDeadline, this.#onByte)
    this.#typeAlarm = typeDeadline === null ? undefined : this.#clock.schedule(typeDeadline, this.#onType)
    this.#setOutputPort(registers[2]!)
    this.#updateIrqs()
  }

  // --- Ports ------------------------------------------------------------------------------------------------------

  #readData(): number {
    this.#status &= ~(PS2_STATUS_OBF | PS2_STATUS_AUX)
    this.#updateIrqs()
    this.#pump()
    return this.#buffer
  }

  #writeData(value: number): void {
    const pending = this.#pending
    this.#pending = 0
    this.#status &= ~PS2_STATUS_A2
    if (pending >= 0x60 && pending <= 0x7f) {
      this.#ram[pending & 0x1f] = value
      if (pending === 0x60) {
        this.#status = (this.#status & ~PS2_STATUS_SYS) | (value & PS2_MODE_SYS)
        this.#updateIrqs()
        this.#pump()
      }
      return
    }
    switch (pending) {
      case 0xd1:
        this.#setOutputPort(value)
        if ((value & PS2_OUTPUT_RESET) === 0) this.#reset?.reset('soft')
        break
      case 0xd2:
        this.#put(value, false)
        break
      case 0xd3:
        this.#put(value, true)
        break
      case 0xd4:
        // Sending to a device lets its clock go.
        this.#ram[0]! &= ~PS2_MODE_DISABLE_MOUSE
        this.mouse.receive(value)
        break
      default:
        this.#ram[0]! &= ~PS2_MODE_DISABLE_KEYBOARD
        this.#release = 0
        this.keyboard.receive(value)
    }
  }

  #writeCommand(value: number): void {
    this.#pending = 0
    this.#status |= PS2_STATUS_A2
    if (value >= 0x20 && value <= 0x3f) this.#put(this.#ram[value & 0x1f]!, false)
    else if (value >= 0x60 && value <= 0x7f) this.#pending = value
    else if (value >= 0xf0) {
      // Each 0 among bits 0–3 pulses that output pin for about 6 µs.
      if ((value & PS2_OUTPUT_RESET) === 0) this.#reset?.reset('soft')
    } else this.#control(value)
  }

  #control(value: number): void {
    switch (value) {
      case 0xa4: // is a password installed? no
        this.#put(0xf1, false)
        break
      case 0xa7:
        this.#setMode(this.#ram[0]! | PS2_MODE_DISABLE_MOUSE)
        break
      case 0xa8:
        this.#setMode(this.#ram[0]! & ~PS2_MODE_DISABLE_MOUSE)
        break
      case 0xa9: // mouse interface test
      case 0xab: // keyboard interface test
        this.#put(0x00, false)
        break
      case 0xaa:
        this.#status |= PS2_STATUS_SYS
        this.#ram[0]! |= PS2_MODE_SYS
        this.#put(0x55, false)
        break
      case 0xad:
        this.#setMode(this.#ram[0]! | PS2_MODE_DISABLE_KEYBOARD)
        break
      case 0xae:
        this.#setMode(this.#ram[0]! & ~PS2_MODE_DISABLE_KEYBOARD)
        break
      case 0xc0: // input port: lock open, no manufacturing jumper, colour display
        this.#put(0x80, false)
        break
      case 0xd0:
        this.#put(this.#readOutputPort(), false)
        break
      case 0xd1:
      case 0xd2:
      case 0xd3:
      case 0xd4:
        this.#pending = value
        break
      case 0xdd: // A20 off and on without a parameter, as later controllers have it
        this.#setOutputPort(this.#outputPort & ~PS2_OUTPUT_A20)
        break
      case 0xdf:
        this.#setOutputPort(this.#outputPort | PS2_OUTPUT_A20)
        break
      case 0xe0: // test inputs: a held clock reads low
        this.#put(
          ((this.#ram[0]! & PS2_MODE_DISABLE_KEYBOARD) === 0 ? 1 : 0) |
            ((this.#ram[0]! & PS2_MODE_DISABLE_MOUSE) === 0 ? 2 : 0),
          false,
        )
        break
      default: // reserved commands do nothing
    }
  }

  #setMode(mode: number): void {
    this.#ram[0] = mode
    this.#pump()
  }

  #readOutputPort(): number {
    const waits = this.#status & (PS2_STATUS_OBF | PS2_STATUS_AUX)
    const level = waits === PS2_STATUS_OBF ? OUTPUT_OBF : waits === (PS2_STATUS_OBF | PS2_STATUS_AUX) ? OUTPUT_AUX : 0
    return (this.#outputPort & ~(OUTPUT_OBF | OUTPUT_AUX)) | level
  }

  #setOutputPort(value: number): void {
    const changed = (value ^ this.#outputPort) & PS2_OUTPUT_A20
    this.#outputPort = value | PS2_OUTPUT_RESET
    if (changed !== 0) this.#onA20?.((value & PS2_OUTPUT_A20) !== 0)
  }

  // --- From the devices to port 0x60 ------------------------------------------------------------------------------

  #put(byte: number, aux: boolean): void {
    // The line drops between two bytes so that an edge-triggered controller sees the second.
    this.#status &= ~(PS2_STATUS_OBF | PS2_STATUS_AUX)
    this.#updateIrqs()
    this.#buffer = byte
    this.#status |= PS2_STATUS_OBF | (aux ? PS2_STATUS_AUX : 0)
    this.#updateIrqs()
  }

  #updateIrqs(): void {
    const full = (this.#status & PS2_STATUS_OBF) !== 0
    const aux = (this.#status & PS2_STATUS_AUX) !== 0
    this.#keyboardIrq.setLevel(full && !aux && (this.#ram[0]! & PS2_MODE_INT) !== 0)
    this.#mouseIrq.setLevel(full && aux && (this.#ram[0]! & PS2_MODE_INT2) !== 0)
  }

  #keyboardReady(): boolean {
    return (this.#ram[0]! & PS2_MODE_DISABLE_KEYBOARD) === 0 && this.keyboard.pending
  }

  #mouseReady(): boolean {
    return (this.#ram[0]! & PS2_MODE_DISABLE_MOUSE) === 0 && this.mouse.pending
  }

  /** Starts the transfer of the next byte once port 0x60 is free. */
  #pump(): void {
    if (this.#byteAlarm !== undefined || (this.#status & PS2_STATUS_OBF) !== 0) return
    if (!this.#keyboardReady() && !this.#mouseReady()) return
    this.#byteAlarm = this.#clock.schedule(this.#clock.now() + this.#byteTime, this.#onByte)
  }

  readonly #onByte = (): void => {
    this.#byteAlarm = undefined
    if ((this.#status & PS2_STATUS_OBF) !== 0) return
    if (this.#keyboardReady()) {
      const byte = this.keyboard.take()
      if ((this.#ram[0]! & PS2_MODE_TRANSLATE) === 0) this.#put(byte, false)
      else if (byte === 0xf0) {
        this.#release = 0x80
        this.#pump()
      } else {
        this.#put(translateScanCode(byte) | this.#release, false)
        this.#release = 0
      }
    } else if (this.#mouseReady()) this.#put(this.mouse.take(), true)
  }

  // --- Typing -----------------------------------------------------------------------------------------------------

  #armTyping(): void {
    if (this.#typeAlarm !== undefined || this.#typingCount === 0) return
    this.#typeAlarm = this.#clock.schedule(this.#clock.now() + TYPE_INTERVAL, this.#onType)
  }

  readonly #onType = (): void => {
    this.#typeAlarm = undefined
    const taken =
      this.keyboard.ready && (this.#status & PS2_STATUS_OBF) === 0 && (this.#ram[0]! & PS2_MODE_DISABLE_KEYBOARD) === 0
    if (taken && this.#typingCount > 0) {
      const event = this.#typing[this.#typingHead]!
      this.#typingHead = (this.#typingHead + 1) % this.#typing.length
      this.#typingCount--
      this.keyboard.key(event >> 1, (event & 1) === 0)
    }
    this.#armTyping()
  }
}

function keyOf(code: string): number {
  const key = keyNumber(code)
  if (key < 0) throw new VirtkitError('bad-argument', `this keyboard has no key ${JSON.stringify(code)}`)
  return key
}

/** A byte at one port of a wider read; nobody answers at the others. */
function widen(byte: number, size: PortSize): number {
  return size === 1 ? byte : size === 2 ? byte | 0xff00 : (byte | 0xffffff00) >>> 0
}
