/** What a person would see of the machine's display. */

import type { Vga } from '../devices/index.js'

/** A picture in RGBA order, 4 bytes a pixel. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Uint8ClampedArray
}

/** The machine’s monitor: its text, or its picture. */
export class Screen {
  private readonly vga: Vga

  constructor(vga: Vga) {
    this.vga = vga
  }

  /** The rows of a text mode, trailing blanks cut off; an empty list in graphics modes. */
  text(): string[] {
    return this.vga.textScreen().map((row) => row.replace(/\s+$/, ''))
  }

  /** The picture as it would be on the monitor. The data is valid until the next call. */
  render(): Picture {
    return this.vga.render()
  }
}
