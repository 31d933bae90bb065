/** The user's hands: a keyboard and a mouse on the PS/2 controller. */

import type { HostInputs } from './host-inputs.js'

/** A US keyboard. What is pressed travels to the guest at the speed of the PS/2 line, in virtual time. */
export class Keyboard {
  private readonly inputs: HostInputs

  constructor(inputs: HostInputs) {
    this.inputs = inputs
  }

  /**
   * Types text; `\n`, `\t`, `\b` and `\x1b` are Enter, Tab, Backspace and Escape. Throws `bad-argument` for a character without a key, or
   * when more than 4096 characters would wait.
   */
  type(text: string): void {
    this.inputs.submit({ kind: 'type', text })
  }

  /** Presses the key with that `KeyboardEvent.code`; throws `bad-argument` when there is none. */
  down(code: string): void {
    this.inputs.submit({ kind: 'key', code, down: true })
  }

  /** Releases a key. */
  up(code: string): void {
    this.inputs.submit({ kind: 'key', code, down: false })
  }
}

/** A wheel mouse. */
export class Mouse {
  private readonly inputs: HostInputs

  constructor(inputs: HostInputs) {
    this.inputs = inputs
  }

  /** Moves by counts; right and down are positive. */
  move(dx: number, dy: number): void {
    this.inputs.submit({ kind: 'mouse-move', dx, dy })
  }

  /** Presses or releases a button: 0 left, 1 middle, 2 right, as `MouseEvent.button` counts. */
  button(button: number, down: boolean): void {
    this.inputs.submit({ kind: 'mouse-button', button, down })
  }

  /** Turns the wheel by detents, positive towards the user. */
  wheel(detents: number): void {
    this.inputs.submit({ kind: 'mouse-wheel', detents })
  }
}
