import type { VgaRegisters } from './vga-registers.js'
import {
  ATTR_MODE,
  ATTR_MODE_PAN_COMPATIBLE,
  ATTR_PEL_PANNING,
  CRTC_COUNT_BY_4,
  CRTC_DOUBLE_SCAN,
  CRTC_DOUBLEWORD,
  CRTC_MAX_SCAN_LINE,
  CRTC_MODE,
  CRTC_MODE_BYTE,
  CRTC_MODE_COUNT_BY_2,
  CRTC_MODE_MAP13,
  CRTC_MODE_MAP14,
  CRTC_MODE_WRAP_15,
  CRTC_OFFSET,
  CRTC_PRESET_ROW_SCAN,
  CRTC_UNDERLINE,
} from './vga-registers.js'

/**
 * The address generation of the CRT controller, line by line from the top of the frame: `begin`, then `next` after each line.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "CRT Controller Registers"; the sharing of address bits
 * 13 and 14 with the row scan counter is that of the 6845-based adapters.
 */
export class VgaScan {
  readonly #registers: VgaRegisters
  /** The scan line shown, from 0. */
  line = 0
  /** Row scan counter: the line within a row of characters. */
  row = 0
  /** Address counter at the left edge. */
  address = 0
  /** Whether a row of characters begins on this line; the first line of the frame counts as one. */
  rowStart = true
  /** Pel panning in effect on this line. */
  panning = 0
  #half = 0
  #compare = 0
  #maximum = 0
  #double = false
  #stride = 0
  #factor = 1
  // Address translation.
  #countShift = 0
  #mode = 0
  #doubleword = false

  constructor(registers: VgaRegisters) {
    this.#registers = registers
  }

  /** Goes to the first line of a frame with the registers as they are now. */
  begin(): void {
    const { crtc, attribute } = this.#registers
    const preset = crtc[CRTC_PRESET_ROW_SCAN]!
    this.line = 0
    this.rowStart = true
    this.row = preset & 0x1f
    this.address = (this.#registers.start + ((preset >> 5) & 3)) & 0xffff
    this.panning = attribute[ATTR_PEL_PANNING]!
    this.#half = 0
    this.#factor = this.#registers.verticalFactor
    this.#compare = this.#registers.lineCompare
    this.#maximum = crtc[CRTC_MAX_SCAN_LINE]! & 0x1f
    this.#double = (crtc[CRTC_MAX_SCAN_LINE]! & CRTC_DOUBLE_SCAN) !== 0
    this.#stride = crtc[CRTC_OFFSET]! * 2
    this.#mode = crtc[CRTC_MODE]!
    const underline = crtc[CRTC_UNDERLINE]!
    this.#doubleword = (underline & CRTC_DOUBLEWORD) !== 0
    this.#countShift = (underline & CRTC_COUNT_BY_4) !== 0 ? 2 : (this.#mode & CRTC_MODE_COUNT_BY_2) !== 0 ? 1 : 0
  }

  /** Goes to the next line. */
  next(): void {
    const compared = this.line === this.#compare * this.#factor + (this.#factor - 1)
    this.line++
    this.rowStart = compared
    if (compared) {
      this.row = 0
      this.address = 0
      this.#half = 0
      if ((this.#registers.attribute[ATTR_MODE]! & ATTR_MODE_PAN_COMPATIBLE) !== 0) this.panning = 0
      return
    }
    if (this.#double && this.#half === 0) {
      this.#half = 1
      return
    }
    this.#half = 0
    if (this.row === this.#maximum) {
      this.row = 0
      this.address = (this.address + this.#stride) & 0xffff
    } else {
      this.row = (this.row + 1) & 0x1f
    }
    this.rowStart = this.row === 0
  }

  /** The address counter at character clock `character` of this line. */
  counter(character: number): number {
    return (this.address + (character >> this.#countShift)) & 0xffff
  }

  /** The plane address that the counter value `counter` reads on this line. */
  planeAddress(counter: number): number {
    let address = counter
    if (this.#doubleword) address = (counter << 2) | ((counter >> 12) & 3)
    else if ((this.#mode & CRTC_MODE_BYTE) === 0) {
      address = (counter << 1) | ((counter >> ((this.#mode & CRTC_MODE_WRAP_15) !== 0 ? 15 : 13)) & 1)
    }
    if ((this.#mode & CRTC_MODE_MAP13) === 0) address = (address & ~0x2000) | ((this.row & 1) << 13)
    if ((this.#mode & CRTC_MODE_MAP14) === 0) address = (address & ~0x4000) | ((this.row & 2) << 13)
    return address & 0xffff
  }
}
