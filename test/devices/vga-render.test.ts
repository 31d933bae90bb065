import { describe, expect, it } from 'vitest'
import { Vga } from '../../src/devices/vga.js'
import { VGA_FONT_HEIGHT, vgaFont } from '../../src/devices/vga-font.js'
import { VGA_MODE_3 } from '../../src/devices/vga-modes.js'
import { ManualClock } from '../manual-clock.js'
import { MODES, out, outAttribute, outIndexed, setColor, setMode } from './vga-tools.js'

const SMALL = 0x40000
const FONT = vgaFont()

/** The picture now, as a function that gives the pixel at (x, y) as 0xRRGGBB. */
function picture(vga: Vga): (x: number, y: number) => number {
  const { width, data } = vga.render()
  return (x, y) => {
    const at = (y * width + x) * 4
    expect(data[at + 3]).toBe(0xff)
    return (data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!
  }
}

function pixel(vga: Vga, x: number, y: number): number {
  return picture(vga)(x, y)
}

/** A VGA whose DAC shows each index `i` as red `i`, so that pixels tell their index: 6 bits widened to 8. */
function indexed(mode: Parameters<typeof setMode>[1], memory = SMALL): Vga {
  const vga = new Vga({ memory: new Uint8Array(memory), clock: new ManualClock() })
  setMode(vga, mode)
  for (let i = 0; i < 256; i++) setColor(vga, i, i & 0x3f, i >> 6, 0)
  return vga
}

/** What {@link indexed} shows for a DAC index. */
function shown(index: number): number {
  const widen = (value: number): number => (value << 2) | (value >> 4)
  return (widen(index & 0x3f) << 16) | (widen(index >> 6) << 8)
}

function write(vga: Vga, offset: number, ...bytes: number[]): void {
  bytes.forEach((byte, i) => {
    vga.window.writeMmio(offset + i, 1, byte)
  })
}

describe('VGA text', () => {
  it('shows character, colours and the ninth dot', () => {
    const vga = indexed(VGA_MODE_3)
    vga.loadFont(FONT)
    // Character 0xC4 is a horizontal line through row 7; attribute: bright yellow on blue.
    write(vga, 0x18000, 0xc4, 0x1e, 0x41, 0x1e)
    outIndexed(vga, 0x3d4, 0x0a, 0x20)
    expect(vga.render()).toMatchObject({ width: 720, height: 400 })
    const at = picture(vga)
    for (let x = 0; x < 9; x++) {
      expect(at(x, 7)).toBe(shown(0x3e))
      expect(at(x, 6)).toBe(shown(0x01))
    }
    // For other characters the ninth dot is background.
    for (let y = 0; y < 16; y++) expect(at(17, y)).toBe(shown(0x01))
    for (let y = 0; y < 16; y++) {
      for (let x = 0; x < 8; x++) {
        const set = (FONT[0x41 * VGA_FONT_HEIGHT + y]! >> (7 - x)) & 1
        expect(at(9 + x, y)).toBe(shown(set ? 0x3e : 0x01))
      }
    }
    // Without line graphics enabled the ninth dot is background everywhere.
    outAttribute(vga, 0x10, 0x08)
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 8, 7)).toBe(shown(0x01))
  })

  it('blinks characters every 16 frames, or shows sixteen backgrounds', () => {
    const clock = new ManualClock()
    const vga = new Vga({ memory: new Uint8Array(SMALL), clock, font: true })
    write(vga, 0x18000, 0xdb, 0x94)
    outIndexed(vga, 0x3d4, 0x0a, 0x20)
    // Mode 3 has 100 character clocks of nine dots and 449 lines at 28.322 MHz.
    const frame = (100 * 9 * 449 * 1000) / 28.322
    expect(pixel(vga, 0, 0)).toBe(0xaa0000)
    clock.advance(16.5 * frame)
    expect(pixel(vga, 0, 0)).toBe(0x0000aa)
    clock.advance(16 * frame)
    expect(pixel(vga, 0, 0)).toBe(0xaa0000)
    outAttribute(vga, 0x10, 0x04)
    out(vga, 0x3c0, 0x20)
    write(vga, 0x18000, 0x20)
    expect(pixel(vga, 0, 0)).toBe(0x5555ff)
  })

  it('draws the cursor between its lines, and hides it every other eight frames', () => {
    const clock = new ManualClock()
    const vga = new Vga({ memory: new Uint8Array(SMALL), clock, font: true })
    outIndexed(vga, 0x3d4, 0x0f, 82)
    const at = picture(vga)
    for (let y = 0; y < 16; y++) {
      expect(at(2 * 9 + 4, 16 + y)).toBe(y === 13 || y === 14 ? 0xaaaaaa : 0)
      expect(at(3 * 9, 16 + y)).toBe(0)
    }
    expect(vga.textCells()!.cursor).toEqual({ column: 2, row: 1 })
    clock.advance((8.5 * 100 * 9 * 449 * 1000) / 28.322)
    expect(pixel(vga, 2 * 9 + 4, 16 + 13)).toBe(0)
    outIndexed(vga, 0x3d4, 0x0a, 0x2d)
    expect(vga.textCells()!.cursor).toBeUndefined()
  })

  it('underlines where the underline location says so', () => {
    const vga = indexed(VGA_MODE_3)
    outIndexed(vga, 0x3d4, 0x14, 0x0c)
    outIndexed(vga, 0x3d4, 0x0a, 0x20)
    write(vga, 0x18000, 0x20, 0x01, 0x20, 0x02)
    expect([pixel(vga, 0, 12), pixel(vga, 8, 12), pixel(vga, 9, 12), pixel(vga, 0, 11)]).toEqual(
      [1, 1, 0, 0].map(shown),
    )
  })

  it('takes two character maps by attribute bit 3', () => {
    const vga = indexed(VGA_MODE_3)
    outIndexed(vga, 0x3d4, 0x0a, 0x20)
    const font = new Uint8Array(256 * 16)
    font[0x41 * 16] = 0x80
    vga.loadFont(font, 0)
    font[0x41 * 16] = 0x40
    vga.loadFont(font, 5)
    write(vga, 0x18000, 0x41, 0x07, 0x41, 0x0f)
    // Map B (bits 4, 1, 0) stays 0, map A (bits 5, 3, 2) becomes 5.
    outIndexed(vga, 0x3c4, 3, 0x24)
    expect([0, 1, 9, 10].map((x) => pixel(vga, x, 0))).toEqual([0x07, 0, 0, 0x3f].map(shown))
  })

  it('doubles the dots of 40 columns', () => {
    const vga = indexed(MODES.text40)
    outIndexed(vga, 0x3d4, 0x0a, 0x20)
    vga.loadFont(FONT)
    write(vga, 0x18000 + 39 * 2, 0xdb, 0x05)
    expect(vga.render()).toMatchObject({ width: 720, height: 400 })
    expect(vga.mode).toMatchObject({ kind: 'text', columns: 40, rows: 25, pixelWidth: 2, pixelHeight: 1 })
    expect([39 * 18 - 1, 39 * 18, 719].map((x) => pixel(vga, x, 0))).toEqual([0, 5, 5].map(shown))
  })

  it('reads the screen as text, with start address and split screen', () => {
    const vga = new Vga({ memory: new Uint8Array(SMALL), font: true })
    const put = (cell: number, text: string): void => {
      ;[...text].forEach((c, i) => {
        vga.window.writeMmio(0x18000 + (cell + i) * 2, 2, 0x0700 | c.charCodeAt(0))
      })
    }
    put(0, 'status')
    put(80, 'first')
    put(160, 'second \x01\xe0')
    expect(
      vga
        .textScreen()
        .slice(0, 3)
        .map((row) => row.trimEnd()),
    ).toEqual(['status', 'first', 'second ☺α'])
    expect(vga.textScreen()).toHaveLength(25)
    expect(vga.textScreen().every((row) => row.length === 80)).toBe(true)
    outIndexed(vga, 0x3d4, 0x0d, 80)
    // Line compare 383: the last row, lines 384–399, comes from address 0.
    outIndexed(vga, 0x3d4, 0x18, 383 & 0xff)
    outIndexed(vga, 0x3d4, 0x07, 0x1f)
    outIndexed(vga, 0x3d4, 0x11, 0x0e)
    outIndexed(vga, 0x3d4, 0x09, 0x0f)
    const rows = vga.textScreen().map((row) => row.trimEnd())
    expect([rows[0], rows[1], rows[24], rows.length]).toEqual(['first', 'second ☺α', 'status', 25])
  })
})

describe('VGA graphics', () => {
  it('640 × 480 in 16 colours: a bit of each plane', () => {
    const vga = indexed(MODES.planar)
    expect(vga.render()).toMatchObject({ width: 640, height: 480 })
    expect(vga.mode).toMatchObject({ kind: 'graphics', pixelWidth: 1, pixelHeight: 1, bitsPerPixel: 4 })
    for (let plane = 0; plane < 4; plane++) {
      outIndexed(vga, 0x3c4, 2, 1 << plane)
      // Dot 8 + i of line 3 gets colour i for the first eight, via the bits of i.
      let byte = 0
      for (let dot = 0; dot < 8; dot++) byte |= (((dot + 8) >> plane) & 1) << (7 - dot)
      write(vga, 3 * 80 + 1, byte)
    }
    const at = picture(vga)
    for (let dot = 0; dot < 8; dot++) expect(at(8 + dot, 3)).toBe(shown(dot + 8))
    expect(pixel(vga, 16, 3)).toBe(shown(0))
    expect(vga.textScreen()).toEqual([])
    expect(vga.textCells()).toBeUndefined()
    // Plane 3 disabled: colours 0–7.
    outAttribute(vga, 0x12, 0x07)
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 13, 3)).toBe(shown(5))
  })

  it('composes DAC addresses from palette and colour select, and masks them', () => {
    const vga = indexed(MODES.planar)
    write(vga, 0, 0x80)
    outAttribute(vga, 0x0f, 0x2a)
    outAttribute(vga, 0x14, 0x0d)
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 0, 0)).toBe(shown(0xea))
    outAttribute(vga, 0x10, 0x81)
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 0, 0)).toBe(shown(0xda))
    out(vga, 0x3c6, 0x0f)
    expect(pixel(vga, 0, 0)).toBe(shown(0x0a))
  })

  it('pans by dots and starts at any byte', () => {
    const vga = indexed(MODES.planar)
    write(vga, 100, 0x01)
    outIndexed(vga, 0x3d4, 0x0d, 100)
    expect(pixel(vga, 7, 0)).toBe(shown(15))
    outAttribute(vga, 0x13, 3)
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 4, 0)).toBe(shown(15))
    // Byte panning moves the start by one more.
    outIndexed(vga, 0x3d4, 0x0d, 99)
    outIndexed(vga, 0x3d4, 0x08, 0x20)
    expect(pixel(vga, 4, 0)).toBe(shown(15))
  })

  it('splits the screen after line compare, without panning when told', () => {
    const vga = indexed(MODES.planar)
    write(vga, 0, 0x10)
    outIndexed(vga, 0x3d4, 0x0c, 0x80)
    outIndexed(vga, 0x3d4, 0x18, 99)
    outIndexed(vga, 0x3d4, 0x11, 0x0c)
    outIndexed(vga, 0x3d4, 0x07, 0x2e)
    outIndexed(vga, 0x3d4, 0x09, 0x00)
    outAttribute(vga, 0x13, 2)
    out(vga, 0x3c0, 0x20)
    expect([pixel(vga, 1, 99), pixel(vga, 1, 100), pixel(vga, 1, 101)]).toEqual([0, 15, 0].map(shown))
    outAttribute(vga, 0x10, 0x21)
    out(vga, 0x3c0, 0x20)
    expect([pixel(vga, 1, 100), pixel(vga, 3, 100)]).toEqual([0, 15].map(shown))
  })

  it('320 × 200 in four colours: two bits a dot, odd lines 8 KiB further on', () => {
    const vga = indexed(MODES.cga4)
    expect(vga.render()).toMatchObject({ width: 640, height: 400 })
    expect(vga.mode).toMatchObject({ pixelWidth: 2, pixelHeight: 2, bitsPerPixel: 2 })
    write(vga, 0x18000, 0b00_01_10_11, 0b11_00_00_00)
    write(vga, 0x18000 + 0x2000, 0b10_00_00_00)
    write(vga, 0x18000 + 80, 0b01_00_00_00)
    const dots = [0, 1, 2, 3, 3, 0]
    const at = picture(vga)
    dots.forEach((color, x) => {
      for (const dx of [0, 1]) for (const y of [0, 1]) expect(at(2 * x + dx, y)).toBe(shown(color))
    })
    expect([1, 2, 3, 4, 5, 6].map((y) => pixel(vga, 0, y))).toEqual([0, 2, 2, 1, 1, 0].map(shown))
  })

  it('640 × 200 in two colours', () => {
    const vga = indexed(MODES.cga2)
    expect(vga.mode).toMatchObject({ width: 640, height: 400, pixelWidth: 1, pixelHeight: 2, bitsPerPixel: 1 })
    write(vga, 0x18000, 0xa0)
    write(vga, 0x18000 + 0x2000 + 79, 0x01)
    expect([0, 1, 2, 3].map((x) => pixel(vga, x, 0))).toEqual([1, 0, 1, 0].map(shown))
    expect([pixel(vga, 639, 2), pixel(vga, 639, 3), pixel(vga, 639, 0)]).toEqual([1, 1, 0].map(shown))
  })

  it('320 × 200 in 256 colours, chained: a byte a dot', () => {
    const vga = indexed(MODES.mode13)
    expect(vga.mode).toMatchObject({ width: 640, height: 400, pixelWidth: 2, pixelHeight: 2, bitsPerPixel: 8 })
    for (const [x, y] of [
      [0, 0],
      [1, 0],
      [6, 0],
      [319, 0],
      [0, 1],
      [123, 77],
      [319, 199],
    ] as const) {
      const color = (x * 7 + y * 3 + 1) & 0xff
      write(vga, y * 320 + x, color)
      expect(pixel(vga, 2 * x, 2 * y)).toBe(shown(color))
      expect(pixel(vga, 2 * x + 1, 2 * y + 1)).toBe(shown(color))
    }
  })

  it('unchained (mode X): four dots at an address, and twice the lines without double scan', () => {
    const vga = indexed(MODES.mode13)
    outIndexed(vga, 0x3c4, 4, 0x06)
    outIndexed(vga, 0x3d4, 0x14, 0x00)
    outIndexed(vga, 0x3d4, 0x17, 0xe3)
    outIndexed(vga, 0x3d4, 0x09, 0x40)
    for (let plane = 0; plane < 4; plane++) {
      outIndexed(vga, 0x3c4, 2, 1 << plane)
      write(vga, 80 * 5 + 2, 0xa0 + plane)
    }
    for (let x = 0; x < 4; x++) {
      expect(pixel(vga, 16 + 2 * x, 5)).toBe(shown(0xa0 + x))
      expect(pixel(vga, 16 + 2 * x, 6)).toBe(shown(0))
    }
    expect(vga.mode.pixelHeight).toBe(1)
    // Panning counts half dots: 2 is one dot of 256 colours.
    outAttribute(vga, 0x13, 2)
    out(vga, 0x3c0, 0x20)
    expect([14, 15, 16].map((x) => pixel(vga, x, 5))).toEqual([0xa0, 0xa0, 0xa1].map(shown))
  })

  it('is black with the screen off, and shows the border colour while the CPU has the palette', () => {
    const vga = indexed(MODES.planar)
    write(vga, 0, 0xff)
    outIndexed(vga, 0x3c4, 1, 0x21)
    expect(pixel(vga, 0, 0)).toBe(0)
    outIndexed(vga, 0x3c4, 1, 0x01)
    outAttribute(vga, 0x11, 0x09)
    expect(pixel(vga, 0, 0)).toBe(shown(9))
    out(vga, 0x3c0, 0x20)
    expect(pixel(vga, 0, 0)).toBe(shown(15))
  })
})

describe('linear modes', () => {
  function dispi(vga: Vga, index: number, value: number): void {
    vga.dispiPorts.writePort(0, 2, index)
    vga.dispiPorts.writePort(1, 2, value)
  }

  function linear(width: number, height: number, depth: number, flags = 0x41): Vga {
    const vga = indexed(VGA_MODE_3, 0x400000)
    dispi(vga, 4, 0)
    dispi(vga, 1, width)
    dispi(vga, 2, height)
    dispi(vga, 3, depth)
    dispi(vga, 4, flags)
    return vga
  }

  it.each([
    [15, 2, 0b0_10101_00001_11111, 0xad08ff],
    [16, 2, 0b10101_000001_11111, 0xad04ff],
    [24, 3, 0x123456, 0x123456],
    [32, 4, 0xff123456, 0x123456],
    [8, 1, 0xc5, shown(0xc5)],
  ])('%i bits per pixel', (depth, bytes, value, expected) => {
    const vga = linear(64, 32, depth)
    const at = (3 * 64 + 5) * bytes
    for (let i = 0; i < bytes; i++) vga.framebuffer.writeMmio(at + i, 1, (value >>> (8 * i)) & 0xff)
    expect(vga.render()).toMatchObject({ width: 64, height: 32 })
    expect(pixel(vga, 5, 3)).toBe(expected)
    expect(pixel(vga, 4, 3)).toBe(pixel(vga, 6, 3))
    expect(vga.mode).toMatchObject({ kind: 'graphics', extended: true, bitsPerPixel: depth })
  })

  it('4 bits per pixel go through the planes', () => {
    const vga = linear(800, 600, 4)
    expect(vga.render()).toMatchObject({ width: 800, height: 600 })
    outIndexed(vga, 0x3c4, 2, 0x05)
    outIndexed(vga, 0x3c4, 4, 0x06)
    write(vga, 599 * 100 + 99, 0x01)
    expect([pixel(vga, 799, 599), pixel(vga, 798, 599)]).toEqual([5, 0].map(shown))
  })

  it('pans over a larger virtual screen', () => {
    const vga = linear(64, 32, 8)
    dispi(vga, 6, 128)
    dispi(vga, 8, 3)
    dispi(vga, 9, 2)
    vga.framebuffer.writeMmio(2 * 128 + 3, 1, 7)
    expect(pixel(vga, 0, 0)).toBe(shown(7))
  })

  it('banks the window at 0xA0000', () => {
    const vga = linear(640, 480, 8)
    dispi(vga, 5, 2)
    write(vga, 0x0123, 0x42)
    expect(vga.framebuffer.readMmio(0x20123, 1)).toBe(0x42)
    expect(vga.window.readMmio(0x0123, 1)).toBe(0x42)
    expect(vga.window.readMmio(0x10000, 1)).toBe(0xff)
  })

  it('has 8 bits per colour component when asked', () => {
    const vga = linear(64, 32, 8, 0x61)
    setColor(vga, 9, 0x81, 0x42, 0xff)
    vga.framebuffer.writeMmio(0, 1, 9)
    expect(pixel(vga, 0, 0)).toBe(0x8142ff)
  })

  it('clears memory on enabling unless told not to', () => {
    const vga = linear(64, 32, 8)
    vga.framebuffer.writeMmio(0, 4, 0x01020304)
    dispi(vga, 4, 0)
    dispi(vga, 4, 0xc1)
    expect(vga.framebuffer.readMmio(0, 4)).toBe(0x01020304)
    dispi(vga, 4, 0)
    dispi(vga, 4, 0x41)
    expect(vga.framebuffer.readMmio(0, 4)).toBe(0)
  })
})
