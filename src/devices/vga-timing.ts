import type { VgaRegisters } from './vga-registers.js'
import {
  CRTC_H_TOTAL,
  CRTC_V_RETRACE_END,
  MISC_CLOCK,
  SEQ_CLOCK_HALF,
  SEQ_CLOCKING_MODE,
  STATUS1_DISABLED,
  STATUS1_V_RETRACE,
} from './vga-registers.js'

/** Nanoseconds per dot for the two crystals, 25.175 and 28.322 MHz. */
const DOT_NS = [1000 / 25.175, 1000 / 28.322] as const

/** Frames for which the cursor is shown and then hidden; characters blink at half that rate. */
export const VGA_CURSOR_BLINK_FRAMES = 8
/** Frames for which blinking characters are shown and then hidden. */
export const VGA_TEXT_BLINK_FRAMES = 16

/**
 * Where the beam is. The CRT controller's counters are not run: their values follow from the time that has passed since
 * power-on and the programmed totals.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "CRT Controller Registers".
 */
export class VgaTiming {
  readonly #registers: VgaRegisters
  #lineNs = 1
  #shownNs = 1
  #frameNs = 1
  #visibleLines = 1
  #retraceStart = 0
  #retraceLines = 1

  constructor(registers: VgaRegisters) {
    this.#registers = registers
    this.configure()
  }

  /** Nanoseconds from one frame to the next. */
  get frameNs(): number {
    return this.#frameNs
  }

  /** To be called after a change of the CRTC, the clocking mode or miscellaneous output register. */
  configure(): void {
    const registers = this.#registers
    const clock = (registers.misc & MISC_CLOCK) >> 2
    const half = (registers.sequencer[SEQ_CLOCKING_MODE]! & SEQ_CLOCK_HALF) !== 0 ? 2 : 1
    // Clock selects 2 and 3 name inputs that nothing drives; the first crystal stands in so that time goes on.
    const characterNs = DOT_NS[clock === 1 ? 1 : 0] * registers.dotsPerCharacter * half
    const characters = registers.crtc[CRTC_H_TOTAL]! + 5
    this.#lineNs = characters * characterNs
    this.#shownNs = Math.min(registers.visibleCharacters, characters) * characterNs
    const factor = registers.verticalFactor
    const lines = (registers.verticalTotal + 2) * factor
    this.#frameNs = lines * this.#lineNs
    this.#visibleLines = Math.min(registers.visibleLines, lines)
    this.#retraceStart = registers.verticalRetraceStart * factor
    const length = (registers.crtc[CRTC_V_RETRACE_END]! - registers.verticalRetraceStart) & 0x0f
    this.#retraceLines = (length === 0 ? 16 : length) * factor
  }

  /** The bits of input status 1 that follow the beam. */
  status(now: number): number {
    const inFrame = now % this.#frameNs
    const line = Math.floor(inFrame / this.#lineNs)
    const retrace = line >= this.#retraceStart && line < this.#retraceStart + this.#retraceLines
    if (retrace) return STATUS1_DISABLED | STATUS1_V_RETRACE
    const shown = line < this.#visibleLines && inFrame - line * this.#lineNs < this.#shownNs
    return shown ? 0 : STATUS1_DISABLED
  }

  /** Vertical retraces that have begun by `now`. */
  retraces(now: number): number {
    const first = this.#retraceStart * this.#lineNs
    if (first >= this.#frameNs || now < first) return 0
    return Math.floor((now - first) / this.#frameNs) + 1
  }

  /** Frames completed by `now`. */
  frame(now: number): number {
    return Math.floor(now / this.#frameNs)
  }
}
