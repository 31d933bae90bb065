/** The user's hands: a keyboard and a mouse on the PS/2 controller. */

import type { Ps2Controller } from '../devices/index.js'

/** A US keyboard. What is pressed travels to the guest at the speed of the PS/2 line, in virtual time. */
export class Keyboard {
  private readonly controller: Ps2Controller

  constructor(controller: Ps2Controller) {
    this.controller = controller
  }

  /**
   * Types text; `\n`, `\t`, `\b` and `\x1b` are Enter, Tab, Backspace and Escape. Throws `bad-argument` for a character without a key, or
   * when more than 4096 characters would wait.
   */
  type(text: string): void {
    this.controller.type(text)
  }

  /** Presses the key with that `KeyboardEvent.code`; throws `bad-argument` when there is none. */
  down(code: string): void {
    this.controller.keyDown(code)
  }

  /** Releases a key. */
  up(code: string): void {
    this.controller.keyUp(code)
  }
}

/** A wheel mouse. */
export class Mouse {
  private readonly controller: Ps2Controller

  constructor(controller: Ps2Controller) {
    this.controller = controller
  }

  /** Moves by counts; right and down are positive. */
  move(dx: number, dy: number): void {
    this.controller.mouseMove(dx, dy)
  }

  /** Presses or releases a button: 0 left, 1 middle, 2 right, as `MouseEvent.button` counts. */
  button(button: number, down: boolean): void {
    this.controller.mouseButton(button, down)
  }

  /** Turns the wheel by detents, positive towards the user. */
  wheel(detents: number): void {
    this.controller.wheel(detents)
  }
}
