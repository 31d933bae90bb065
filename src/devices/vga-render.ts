import type { VgaDac } from './vga-dac.js'
import type { VbeDispi } from './vga-dispi.js'
import { VBE_DISPI_INDEX_X_OFFSET } from './vga-dispi.js'
import type { VgaMemory } from './vga-memory.js'
import type { VgaRegisters } from './vga-registers.js'
import {
  ATTR_COLOR_SELECT,
  ATTR_MODE,
  ATTR_MODE_BLINK,
  ATTR_MODE_LINE_GRAPHICS,
  ATTR_MODE_P54S,
  ATTR_MODE_PELCLOCK_HALF,
  ATTR_OVERSCAN,
  ATTR_PLANE_ENABLE,
  CRTC_CURSOR_END,
  CRTC_CURSOR_OFF,
  CRTC_CURSOR_START,
  CRTC_UNDERLINE,
  GFX_MODE,
  GFX_MODE_INTERLEAVED,
  GFX_MODE_SHIFT_256,
  SEQ_CHARACTER_MAP,
  SEQ_CLOCK_HALF,
  SEQ_CLOCK_SCREEN_OFF,
  SEQ_CLOCK_SHIFT_4,
  SEQ_CLOCK_SHIFT_LOAD,
  SEQ_CLOCKING_MODE,
  SEQ_MEMORY_EXTENDED,
  SEQ_MEMORY_MODE,
} from './vga-registers.js'
import { VgaScan } from './vga-scan.js'

/** A picture: one RGBA pixel per dot and scan line. The array is reused by the next call. */
export interface VgaPicture {
  readonly width: number
  readonly height: number
  /** `width * height * 4` bytes: red, green, blue, 255. */
  readonly data: Uint8ClampedArray
}

/** Whether the blinking things are shown at the moment. */
export interface VgaBlink {
  readonly cursor: boolean
  readonly text: boolean
}

/** Spreads the eight bits of a byte over the low bits of two words of four bytes, leftmost dot in the low byte. */
const SPREAD_HIGH = new Uint32Array(256)
const SPREAD_LOW = new Uint32Array(256)
for (let byte = 0; byte < 256; byte++) {
  for (let dot = 0; dot < 4; dot++) {
    SPREAD_HIGH[byte]! |= ((byte >> (7 - dot)) & 1) << (8 * dot)
    SPREAD_LOW[byte]! |= ((byte >> (3 - dot)) & 1) << (8 * dot)
  }
}

/** Most dots that a line can have before panning: 256 character clocks of nine, and one more to pan from. */
const LINE_DOTS = 257 * 9 + 16

/**
 * Turns video memory into a picture the way the display does: the CRT controller addresses memory, the serialisers shift it
 * out as four bits per dot, the attribute controller makes eight of them, the DAC makes colours.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem".
 */
export class VgaRenderer {
  readonly #registers: VgaRegisters
  readonly #memory: VgaMemory
  readonly #dac: VgaDac
  readonly #dispi: VbeDispi
  readonly #scan: VgaScan
  /** The line in the making: four bits per dot, then DAC indices. */
  readonly #line = new Uint8Array(LINE_DOTS)
  /** DAC index for each four-bit value. */
  readonly #palette = new Uint8Array(16)
  #buffer = new ArrayBuffer(0)

  constructor(registers: VgaRegisters, memory: VgaMemory, dac: VgaDac, dispi: VbeDispi) {
    this.#registers = registers
    this.#memory = memory
    this.#dac = dac
    this.#dispi = dispi
    this.#scan = new VgaScan(registers)
  }

  /** Width of the picture in dots. */
  get width(): number {
    if (this.#dispi.enabled) return this.#dispi.width
    const registers = this.#registers
    return registers.visibleCharacters * this.#dotsPerCharacter * (this.#halfClock ? 2 : 1)
  }

  /** Height of the picture in scan lines. */
  get height(): number {
    return this.#dispi.enabled ? this.#dispi.height : this.#registers.visibleLines
  }

  /** Draws the frame. `displayed` is false while the palette belongs to the CPU: then the screen shows the border colour. */
  render(blink: VgaBlink, displayed: boolean): VgaPicture {
    const { width, height } = this
    const length = width * height
    if (this.#buffer.byteLength < length * 4) this.#buffer = new ArrayBuffer(length * 4)
    const pixels = new Uint32Array(this.#buffer, 0, length)
    const off = (this.#registers.sequencer[SEQ_CLOCKING_MODE]! & SEQ_CLOCK_SCREEN_OFF) !== 0
    if (off) pixels.fill(BLACK)
    else if (!displayed) pixels.fill(this.#dac.colors()[this.#registers.attribute[ATTR_OVERSCAN]!]!)
    else if (this.#dispi.enabled) this.#renderDispi(pixels, width, height)
    else this.#renderVga(pixels, width, height, blink)
    return { width, height, data: new Uint8ClampedArray(this.#buffer, 0, length * 4) }
  }

  get #halfClock(): boolean {
    return (this.#registers.sequencer[SEQ_CLOCKING_MODE]! & SEQ_CLOCK_HALF) !== 0
  }

  get #dotsPerCharacter(): number {
    return this.#registers.isGraphics ? 8 : this.#registers.dotsPerCharacter
  }

  #renderVga(pixels: Uint32Array, width: number, height: number, blink: VgaBlink): void {
    const registers = this.#registers
    const attributeMode = registers.attribute[ATTR_MODE]!
    const eightBits = (attributeMode & ATTR_MODE_PELCLOCK_HALF) !== 0
    const colors = this.#dac.colors()
    const half = this.#halfClock
    const dots = this.#dotsPerCharacter
    // One character more than is shown, for panning to move in.
    const characters = registers.visibleCharacters + 1
    const line = this.#line
    const scan = this.#scan
    this.#preparePalette()
    scan.begin()
    let at = 0
    for (let y = 0; y < height; y++, scan.next()) {
      if (registers.isGraphics) this.#shiftGraphics(characters, blink)
      else this.#shiftText(characters, dots, blink)
      this.#applyPalette(characters * dots, eightBits)
      // With nine dots, a panning of 8 is none and 0 moves the picture by one dot already.
      const panning = scan.panning
      let from = dots === 9 ? (panning >= 8 ? 0 : panning + 1) : panning & 7
      if (half) {
        for (const end = at + width; at < end; at += 2, from++) {
          const color = colors[line[from]!]!
          pixels[at] = color
          pixels[at + 1] = color
        }
      } else {
        for (const end = at + width; at < end; at++, from++) pixels[at] = colors[line[from]!]!
      }
    }
  }

  /** What the attribute controller makes of each four-bit value outside of the 8-bit mode. */
  #preparePalette(): void {
    const attribute = this.#registers.attribute
    const select = attribute[ATTR_COLOR_SELECT]!
    const fixed54 = (attribute[ATTR_MODE]! & ATTR_MODE_P54S) !== 0
    for (let i = 0; i < 16; i++) {
      const entry = attribute[i & attribute[ATTR_PLANE_ENABLE]! & 0xf]!
      const low = fixed54 ? (entry & 0x0f) | ((select & 3) << 4) : entry
      this.#palette[i] = low | ((select & 0x0c) << 4)
    }
  }

  #applyPalette(count: number, eightBits: boolean): void {
    const line = this.#line
    const palette = this.#palette
    if (!eightBits) {
      for (let i = 0; i < count; i++) line[i] = palette[line[i]! & 0xf]!
      return
    }
    // Two dots make one pixel of eight bits; each nibble still goes through the palette.
    for (let i = 0; i < count; i += 2) {
      const pixel = ((palette[line[i]! & 0xf]! & 0xf) << 4) | (palette[line[i + 1]! & 0xf]! & 0xf)
      line[i] = pixel
      line[i + 1] = pixel
    }
  }

  #shiftGraphics(characters: number, blink: VgaBlink): void {
    const registers = this.#registers
    const scan = this.#scan
    const line = this.#line
    const words = this.#memory.words
    const mode = registers.graphics[GFX_MODE]!
    const clocking = registers.sequencer[SEQ_CLOCKING_MODE]!
    const loadMask = (clocking & SEQ_CLOCK_SHIFT_4) !== 0 ? 3 : (clocking & SEQ_CLOCK_SHIFT_LOAD) !== 0 ? 1 : 0
    let loaded = 0
    let at = 0
    for (let character = 0; character < characters; character++, at += 8) {
      if ((character & loadMask) === 0) loaded = words[scan.planeAddress(scan.counter(character))]!
      // Between loads the serialisers go on with what the next planes' ones pass to them.
      else loaded >>>= 8
      if ((mode & GFX_MODE_SHIFT_256) !== 0) {
        for (let plane = 0; plane < 4; plane++) {
          const byte = (loaded >>> (8 * plane)) & 0xff
          line[at + plane * 2] = byte >> 4
          line[at + plane * 2 + 1] = byte & 0xf
        }
      } else if ((mode & GFX_MODE_INTERLEAVED) !== 0) {
        for (let dot = 0; dot < 8; dot++) {
          const low = (loaded >>> (dot < 4 ? 6 - 2 * dot : 22 - 2 * dot)) & 3
          const high = (loaded >>> (dot < 4 ? 22 - 2 * dot : 38 - 2 * dot)) & 3
          line[at + dot] = low | (high << 2)
        }
      } else {
        const p0 = loaded & 0xff
        const p1 = (loaded >>> 8) & 0xff
        const p2 = (loaded >>> 16) & 0xff
        const p3 = loaded >>> 24
        const left = SPREAD_HIGH[p0]! | (SPREAD_HIGH[p1]! << 1) | (SPREAD_HIGH[p2]! << 2) | (SPREAD_HIGH[p3]! << 3)
        const right = SPREAD_LOW[p0]! | (SPREAD_LOW[p1]! << 1) | (SPREAD_LOW[p2]! << 2) | (SPREAD_LOW[p3]! << 3)
        line[at] = left & 0xf
        line[at + 1] = (left >>> 8) & 0xf
        line[at + 2] = (left >>> 16) & 0xf
        line[at + 3] = left >>> 24
        line[at + 4] = right & 0xf
        line[at + 5] = (right >>> 8) & 0xf
        line[at + 6] = (right >>> 16) & 0xf
        line[at + 7] = right >>> 24
      }
    }
    // Blinking in graphics switches plane 3 of the dots that have it set.
    const blinks = (registers.attribute[ATTR_MODE]! & ATTR_MODE_BLINK) !== 0
    if (blinks && !blink.text) for (let i = 0; i < at; i++) line[i] = line[i]! & 7
  }

  #shiftText(characters: number, dots: number, blink: VgaBlink): void {
    const registers = this.#registers
    const { crtc, attribute } = registers
    const scan = this.#scan
    const line = this.#line
    const words = this.#memory.words
    const bytes = this.#memory.bytes
    const row = scan.row
    const mode = attribute[ATTR_MODE]!
    const blinks = (mode & ATTR_MODE_BLINK) !== 0
    const lineGraphics = (mode & ATTR_MODE_LINE_GRAPHICS) !== 0
    const extended = (registers.sequencer[SEQ_MEMORY_MODE]! & SEQ_MEMORY_EXTENDED) !== 0
    const map = extended ? registers.sequencer[SEQ_CHARACTER_MAP]! : 0
    const mapA = fontOffset(((map >> 2) & 3) | ((map >> 3) & 4)) + row
    const mapB = fontOffset((map & 3) | ((map >> 2) & 4)) + row
    const underlined = row === (crtc[CRTC_UNDERLINE]! & 0x1f)
    const cursorStart = crtc[CRTC_CURSOR_START]!
    const cursorEnd = crtc[CRTC_CURSOR_END]!
    const cursorHere =
      blink.cursor && (cursorStart & CRTC_CURSOR_OFF) === 0 && row >= (cursorStart & 0x1f) && row <= (cursorEnd & 0x1f)
    const skew = (cursorEnd >> 5) & 3
    const cursor = registers.cursor
    let at = 0
    for (let column = 0; column < characters; column++) {
      const counter = scan.counter(column)
      const word = words[scan.planeAddress(counter)]!
      const code = word & 0xff
      const attributes = (word >>> 8) & 0xff
      let foreground = attributes & 0x0f
      let background = attributes >> 4
      let shape = bytes[(((attributes & 8) !== 0 ? mapA : mapB) + code * 32) * 4 + 2]!
      if (blinks) {
        background &= 7
        if ((attributes & 0x80) !== 0 && !blink.text) foreground = background
      }
      if (underlined && (attributes & 7) === 1) shape = 0xff
      const underCursor = cursorHere && column >= skew && scan.counter(column - skew) === cursor
      if (underCursor) {
        shape = 0xff
        // The cursor shows in the foreground colour also where the character is blinked away.
        foreground = attributes & 0x0f
      }
      const repeats =
        underCursor || (underlined && (attributes & 7) === 1) || (lineGraphics && code >= 0xc0 && code <= 0xdf)
      for (let bit = 7; bit >= 0; bit--) line[at++] = ((shape >> bit) & 1) !== 0 ? foreground : background
      if (dots === 9) line[at++] = repeats && (shape & 1) !== 0 ? foreground : background
    }
  }

  #renderDispi(pixels: Uint32Array, width: number, height: number): void {
    const dispi = this.#dispi
    const { pitch, start, depth } = dispi
    const bytes = this.#memory.bytes
    const colors = this.#dac.colors()
    if (depth === 4) this.#preparePalette()
    let at = 0
    for (let y = 0; y < height; y++) {
      let from = start + y * pitch
      const end = at + width
      switch (depth) {
        case 4:
          for (let x = dispi.registers[VBE_DISPI_INDEX_X_OFFSET]! & 7, stop = x + width; x < stop; x++) {
            const byte = from + (x >> 3) * 4
            const shift = 7 - (x & 7)
            let dot = 0
            for (let plane = 0; plane < 4; plane++) dot |= ((bytes[byte + plane]! >> shift) & 1) << plane
            pixels[at++] = colors[this.#palette[dot]!]!
          }
          break
        case 8:
          while (at < end) pixels[at++] = colors[bytes[from++]!]!
          break
        case 15:
          for (; at < end; from += 2) {
            const pixel = bytes[from]! | (bytes[from + 1]! << 8)
            pixels[at++] = pack(widen5(pixel >> 10), widen5(pixel >> 5), widen5(pixel))
          }
          break
        case 16:
          for (; at < end; from += 2) {
            const pixel = bytes[from]! | (bytes[from + 1]! << 8)
            const green = (pixel >> 5) & 0x3f
            pixels[at++] = pack(widen5(pixel >> 11), (green << 2) | (green >> 4), widen5(pixel))
          }
          break
        default:
          for (const step = depth >> 3; at < end; from += step) {
            pixels[at++] = pack(bytes[from + 2]!, bytes[from + 1]!, bytes[from]!)
          }
      }
    }
  }
}

const BLACK = 0xff000000

/** Plane 2 offset of one of the eight character maps; maps 4–7 lie between the first four. */
function fontOffset(map: number): number {
  return ((map & 3) << 14) | ((map & 4) << 11)
}

function widen5(value: number): number {
  const component = value & 0x1f
  return (component << 3) | (component >> 2)
}

function pack(red: number, green: number, blue: number): number {
  return red | (green << 8) | (blue << 16) | BLACK
}
