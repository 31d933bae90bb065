import type { Clock, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { readSplit, writeSplit } from './port-split.js'
import { VgaDac } from './vga-dac.js'
import { VBE_DISPI_INDEX_VIDEO_MEMORY_64K, VbeDispi } from './vga-dispi.js'
import { vgaFont } from './vga-font.js'
import { VgaLinearFramebuffer, VgaMemory } from './vga-memory.js'
import { applyModeRegisters, applyTextPalette, VGA_MODE_3 } from './vga-modes.js'
import {
  ATTR_MASKS,
  ATTR_MODE,
  ATTR_MODE_PELCLOCK_HALF,
  ATTR_OVERSCAN,
  ATTR_PAS,
  ATTR_PLANE_ENABLE,
  CRTC_ATTR_INDEX,
  CRTC_CLEAR_INTERRUPT_N,
  CRTC_DISABLE_INTERRUPT,
  CRTC_DOUBLE_SCAN,
  CRTC_FLIP_FLOP,
  CRTC_H_DISPLAY_END,
  CRTC_LATCH,
  CRTC_MASKS,
  CRTC_MAX_SCAN_LINE,
  CRTC_MODE,
  CRTC_MODE_MAP13,
  CRTC_MODE_MAP14,
  CRTC_OFFSET,
  CRTC_OVERFLOW,
  CRTC_PROTECT,
  CRTC_V_DISPLAY_END,
  CRTC_V_RETRACE_END,
  GFX_MASKS,
  GFX_MISC,
  GFX_MISC_GRAPHICS,
  GFX_MODE,
  GFX_MODE_INTERLEAVED,
  GFX_MODE_SHIFT_256,
  GFX_READ_MAP,
  MISC_COLOR,
  SEQ_CLOCK_HALF,
  SEQ_CLOCKING_MODE,
  SEQ_MAP_MASK,
  SEQ_MASKS,
  SEQ_MEMORY_CHAIN_4,
  SEQ_MEMORY_EXTENDED,
  SEQ_MEMORY_MODE,
  SEQ_MEMORY_SEQUENTIAL,
  STATUS0_INTERRUPT,
  STATUS0_SENSE,
  STATUS1_DISABLED,
  VGA_PORT_BASE,
  VGA_PORT_COUNT,
  VgaRegisters,
} from './vga-registers.js'
import type { VgaPicture } from './vga-render.js'
import { VgaRenderer } from './vga-render.js'
import type { VgaTextCells } from './vga-text.js'
import { readTextCells, textRows } from './vga-text.js'
import { VGA_CURSOR_BLINK_FRAMES, VGA_TEXT_BLINK_FRAMES, VgaTiming } from './vga-timing.js'

/** Bytes of video memory unless chosen otherwise. */
export const VGA_MEMORY_SIZE: number = 16 * 1024 * 1024

/** What a {@link Vga} is built from. */
export interface VgaOptions {
  /** Drives retrace, display enable and blinking. Without it each read of input status 1 lets a microsecond pass. */
  readonly clock?: Clock
  /** Video memory to use, for instance a part of a larger buffer: a power of two of 256 KiB to 64 MiB, 4-aligned. Default: 16 MiB of its own. */
  readonly memory?: Uint8Array
  /** Start in mode 3 with a font and the usual colours, as a video BIOS would leave it. Default: registers cleared. */
  readonly font?: boolean
}

/** What is on the screen, in words of the video BIOS. */
export interface VgaMode {
  readonly kind: 'text' | 'graphics'
  /** Size of what `render` draws. */
  readonly width: number
  readonly height: number
  /** Dots and lines of `render` per pixel of the mode: 2 × 2 for 320 × 200 in 256 colours. */
  readonly pixelWidth: number
  readonly pixelHeight: number
  /** Colour depth; for text 4. */
  readonly bitsPerPixel: number
  /** Characters per row and rows; 0 in graphics. */
  readonly columns: number
  readonly rows: number
  /** The mode was set through the Bochs display interface. */
  readonly extended: boolean
}

/** Saved state of a {@link Vga}. */
export interface VgaState {
  readonly version: 1
  readonly misc: number
  readonly feature: number
  readonly enable: number
  readonly crtc: Uint8Array
  readonly sequencer: Uint8Array
  readonly graphics: Uint8Array
  readonly attribute: Uint8Array
  /** CRTC, sequencer, graphics and attribute index. */
  readonly indices: readonly number[]
  readonly flipFlop: boolean
  readonly latch: number
  readonly palette: Uint8Array
  /** Pixel mask, address, component, reading, and the three holding registers of the DAC. */
  readonly dac: readonly number[]
  /** Dispi registers and index. */
  readonly dispi: readonly number[]
  readonly ownTime: number
  /** Retraces seen when the vertical interrupt was last cleared. */
  readonly cleared: number
  /** Video memory up to its last byte that is not 0. */
  readonly memory: Uint8Array
}

/**
 * A VGA with the linear modes of the Bochs display interface, as the firmware image vgabios-stdvga drives it. It is the
 * port device for 0x3B0–0x3DF; {@link Vga.window} answers at 0xA0000–0xBFFFF, {@link Vga.dispiPorts} at 0x1CE, and
 * {@link Vga.framebuffer} shows all of video memory.
 *
 * Ports that the miscellaneous output register switches off (0x3B4 in colour, 0x3D4 in monochrome) read all ones. The
 * vertical interrupt is only visible in input status 0: like other adapters than IBM's, this one has no interrupt wire.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem".
 */
export class Vga implements PortDevice, Stateful<VgaState> {
  readonly registers: VgaRegisters = new VgaRegisters()
  readonly dac: VgaDac = new VgaDac()
  /** The 128 KiB window at 0xA0000. */
  readonly window: VgaMemory
  /** All of video memory in plain order. */
  readonly framebuffer: VgaLinearFramebuffer
  /** The registers of the Bochs display interface. */
  readonly dispi: VbeDispi
  /** Index, data and (for buses that want it aligned) data again, from port 0x1CE. */
  readonly dispiPorts: PortDevice = {
    readPort: (offset, size) => this.#readDispiPort(offset, size),
    writePort: (offset, size, value) => this.#writeDispiPort(offset, size, value),
  }

  readonly #clock: Clock | undefined
  readonly #font: boolean
  readonly #timing: VgaTiming
  readonly #renderer: VgaRenderer
  readonly #bytePorts = {
    readByte: (offset: number): number => this.#readByte(offset),
    writeByte: (offset: number, value: number): void => this.#writeByte(offset, value),
  }
  #enable = 1
  #crtcIndex = 0
  #sequencerIndex = 0
  #graphicsIndex = 0
  #attributeIndex = 0
  /** True while the next write to 0x3C0 is data. */
  #flipFlop = false
  #ownTime = 0
  #cleared = 0

  constructor(options: VgaOptions = {}) {
    const memory = options.memory ?? new Uint8Array(VGA_MEMORY_SIZE)
    const { length } = memory
    if (length < 0x40000 || length > 0x4000000 || (length & (length - 1)) !== 0 || (memory.byteOffset & 3) !== 0) {
      throw new VirtkitError('bad-argument', 'video memory is a power of two of 256 KiB to 64 MiB, aligned to 4 bytes')
    }
    this.#clock = options.clock
    this.#font = options.font === true
    this.window = new VgaMemory(this.registers, memory)
    this.framebuffer = new VgaLinearFramebuffer(memory)
    this.dispi = new VbeDispi({
      memorySize: length,
      dispiEnabled: (bytes) => this.#programDispiMode(bytes),
      dispiChanged: () => this.#dispiChanged(),
    })
    this.#timing = new VgaTiming(this.registers)
    this.#renderer = new VgaRenderer(this.registers, this.window, this.dac, this.dispi)
    this.reset()
  }

  /** Video memory: plane `p` of plane address `a` is byte `4 * a + p`; the linear modes have it in plain order. */
  get memory(): Uint8Array {
    return this.window.bytes
  }

  /** Power-on: registers cleared (or mode 3, see {@link VgaOptions.font}), memory cleared, extension off. */
  reset(): void {
    const { registers } = this
    registers.crtc.fill(0)
    registers.sequencer.fill(0)
    registers.graphics.fill(0)
    registers.attribute.fill(0)
    registers.misc = 0
    registers.feature = 0
    this.dac.reset()
    this.dispi.reset()
    this.memory.fill(0)
    this.window.latch = 0
    this.#enable = 1
    this.#crtcIndex = this.#sequencerIndex = this.#graphicsIndex = this.#attributeIndex = 0
    this.#flipFlop = false
    this.#cleared = 0
    if (this.#font) {
      applyModeRegisters(registers, VGA_MODE_3)
      applyTextPalette(this.dac)
      this.#attributeIndex = ATTR_PAS
      this.loadFont(vgaFont())
      for (let cell = 0; cell < 0x4000; cell += 2)
        this.window.words[cell] = 0x0720 | (this.window.words[cell]! & ~0xffff)
    }
    this.#configure()
  }

  /**
   * Puts a font of 256 characters into plane 2 as character map `map` (0–7). `font` has the same number of bytes, 1 to 32,
   * for each character.
   */
  loadFont(font: Uint8Array, map = 0): void {
    const height = font.length / 256
    if (!Number.isInteger(height) || height < 1 || height > 32) {
      throw new VirtkitError('bad-argument', `a font has 256 characters of 1 to 32 bytes; got ${font.length} bytes`)
    }
    if (!Number.isInteger(map) || map < 0 || map > 7) {
      throw new VirtkitError('bad-argument', `character map ${map} does not exist; 0 to 7 do`)
    }
    const base = ((map & 3) << 14) | ((map & 4) << 11)
    for (let code = 0; code < 256; code++) {
      for (let row = 0; row < height; row++) {
        this.memory[(base + code * 32 + row) * 4 + 2] = font[code * height + row]!
      }
    }
  }

  readPort(offset: number, size: PortSize): number {
    return readSplit(this.#bytePorts, offset, size, VGA_PORT_COUNT)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    writeSplit(this.#bytePorts, offset, size, VGA_PORT_COUNT, value)
  }

  /** The picture on the screen at this moment; the pixel array is reused by the next call. */
  render(): VgaPicture {
    const frame = this.#timing.frame(this.#now())
    const blink = {
      cursor: Math.floor(frame / VGA_CURSOR_BLINK_FRAMES) % 2 === 0,
      text: Math.floor(frame / VGA_TEXT_BLINK_FRAMES) % 2 === 0,
    }
    return this.#renderer.render(blink, (this.#attributeIndex & ATTR_PAS) !== 0)
  }

  /** The characters on the screen, or undefined in graphics. */
  textCells(): VgaTextCells | undefined {
    if (this.dispi.enabled || this.registers.isGraphics) return undefined
    return readTextCells(this.registers, this.window)
  }

  /** The screen as rows of Unicode characters, every one as long as the screen is wide; empty in graphics. */
  textScreen(): string[] {
    const cells = this.textCells()
    return cells === undefined ? [] : textRows(cells)
  }

  get mode(): VgaMode {
    const { registers, dispi } = this
    const { width, height } = this.#renderer
    const extended = dispi.enabled
    if (extended) {
      const shape = { pixelWidth: 1, pixelHeight: 1, columns: 0, rows: 0 }
      return { kind: 'graphics', width, height, ...shape, bitsPerPixel: dispi.depth, extended }
    }
    const halfClock = (registers.sequencer[SEQ_CLOCKING_MODE]! & SEQ_CLOCK_HALF) !== 0 ? 2 : 1
    const maximum = registers.crtc[CRTC_MAX_SCAN_LINE]!
    const repeat = (maximum & CRTC_DOUBLE_SCAN) !== 0 ? 2 : 1
    const rowLines = ((maximum & 0x1f) + 1) * repeat
    if (!registers.isGraphics) {
      const shape = { pixelWidth: halfClock, pixelHeight: repeat, columns: registers.visibleCharacters }
      return {
        kind: 'text',
        width,
        height,
        ...shape,
        rows: Math.ceil(height / rowLines),
        bitsPerPixel: 4,
        extended,
      }
    }
    const wide = (registers.attribute[ATTR_MODE]! & ATTR_MODE_PELCLOCK_HALF) !== 0
    const crtcMode = registers.crtc[CRTC_MODE]!
    // Where the row scan counter takes part in addressing, the lines of a row differ instead of repeating.
    const interleaved = (crtcMode & CRTC_MODE_MAP13) === 0 ? 2 : 1
    const banks = (crtcMode & CRTC_MODE_MAP14) === 0 ? 2 * interleaved : interleaved
    const planes = registers.attribute[ATTR_PLANE_ENABLE]! & 0xf
    return {
      kind: 'graphics',
      width,
      height,
      pixelWidth: halfClock * (wide ? 2 : 1),
      pixelHeight: Math.max(1, Math.floor(rowLines / banks)),
      bitsPerPixel: wide ? 8 : planes > 7 ? 4 : planes > 3 ? 3 : planes > 1 ? 2 : 1,
      columns: 0,
      rows: 0,
      extended,
    }
  }

  saveState(): VgaState {
    const { registers, dac, dispi, memory } = this
    let used = memory.length
    while (used > 0 && this.window.words[(used >>> 2) - 1] === 0) used -= 4
    const dacState = dac.saveState()
    return {
      version: 1,
      misc: registers.misc,
      feature: registers.feature,
      enable: this.#enable,
      crtc: registers.crtc.slice(),
      sequencer: registers.sequencer.slice(),
      graphics: registers.graphics.slice(),
      attribute: registers.attribute.slice(),
      indices: [this.#crtcIndex, this.#sequencerIndex, this.#graphicsIndex, this.#attributeIndex],
      flipFlop: this.#flipFlop,
      latch: this.window.latch >>> 0,
      palette: dacState.palette,
      dac: [dacState.mask, dacState.address, dacState.component, dacState.reading ? 1 : 0, ...dacState.holding],
      dispi: [...dispi.registers, dispi.index],
      ownTime: this.#ownTime,
      cleared: this.#cleared,
      memory: memory.slice(0, used),
    }
  }

  loadState(state: VgaState): void {
    const reader = new StateReader('VGA', state, 1)
    const misc = reader.int('misc', 0, 0xff)
    const feature = reader.int('feature', 0, 0xff)
    const enable = reader.int('enable', 0, 1)
    const crtc = reader.bytes('crtc', 0x19)
    const sequencer = reader.bytes('sequencer', 5)
    const graphics = reader.bytes('graphics', 9)
    const attribute = reader.bytes('attribute', 0x15)
    const legal = (key: string, values: Uint8Array, masks: (index: number) => number): void => {
      if (values.some((value, i) => (value & ~masks(i)) !== 0)) throw reader.inconsistent(key, 'within its masks')
    }
    legal('crtc', crtc, (i) => CRTC_MASKS[i]!)
    legal('sequencer', sequencer, (i) => SEQ_MASKS[i]!)
    legal('graphics', graphics, (i) => GFX_MASKS[i]!)
    legal('attribute', attribute, attributeMask)
    const indices = reader.ints('indices', 4, 0, 0xff)
    const flipFlop = reader.bool('flipFlop')
    const latch = reader.int('latch', 0, 0xffffffff)
    const palette = reader.bytes('palette', 768)
    const dac = reader.ints('dac', 7, 0, 0xff)
    if (dac[2]! > 2 || dac[3]! > 1) throw reader.inconsistent('dac', 'a state of the DAC')
    const dispi = reader.ints('dispi', VBE_DISPI_INDEX_VIDEO_MEMORY_64K + 1, 0, 0xffff)
    if (!this.dispi.isLegal(dispi.slice(0, -1))) throw reader.inconsistent('dispi', 'a mode that fits in memory')
    const ownTime = reader.time('ownTime')
    const cleared = reader.time('cleared')
    const memory = reader.bytes('memory', 0, this.memory.length)

    const { registers } = this
    registers.misc = misc
    registers.feature = feature
    registers.crtc.set(crtc)
    registers.sequencer.set(sequencer)
    registers.graphics.set(graphics)
    registers.attribute.set(attribute)
    this.#enable = enable
    this.#crtcIndex = indices[0]!
    this.#sequencerIndex = indices[1]!
    this.#graphicsIndex = indices[2]!
    this.#attributeIndex = indices[3]! & 0x3f
    this.#flipFlop = flipFlop
    this.window.latch = latch
    this.dispi.registers.set(dispi.slice(0, -1))
    this.dispi.index = dispi.at(-1)!
    const [mask, address, component, reading, ...holding] = dac as [number, number, number, number, ...number[]]
    this.dac.loadState({ palette, mask, address, component, reading: reading === 1, holding }, this.dispi.dacWidth)
    this.#ownTime = ownTime
    this.#cleared = cleared
    this.memory.set(memory)
    this.memory.fill(0, memory.length)
    this.#configure()
  }

  #now(): number {
    return this.#clock === undefined ? this.#ownTime : this.#clock.now()
  }

  #configure(): void {
    this.window.configure(this.#enable !== 0, this.dispi)
    this.#timing.configure()
  }

  #readByte(offset: number): number {
    const { registers } = this
    const port = VGA_PORT_BASE + offset
    if (this.#enable === 0 && port !== 0x3c3) return 0xff
    switch (port) {
      case 0x3c0:
        return this.#attributeIndex
      case 0x3c1:
        return registers.attribute[this.#attributeIndex & 0x1f] ?? 0
      case 0x3c2:
        return STATUS0_SENSE | (this.#interruptPending() ? STATUS0_INTERRUPT : 0)
      case 0x3c3:
        return this.#enable
      case 0x3c4:
        return this.#sequencerIndex
      case 0x3c5:
        return registers.sequencer[this.#sequencerIndex] ?? 0
      case 0x3c6:
        return this.dac.mask
      case 0x3c7:
        return this.dac.readState()
      case 0x3c8:
        return this.dac.readAddress()
      case 0x3c9:
        return this.dac.readData()
      case 0x3ca:
        return registers.feature
      case 0x3cc:
        return registers.misc
      case 0x3ce:
        return this.#graphicsIndex
      case 0x3cf:
        return registers.graphics[this.#graphicsIndex] ?? 0
    }
    switch (this.#crtcPort(port)) {
      case 0x4:
        return this.#crtcIndex
      case 0x5:
        return this.#readCrtc()
      case 0xa:
        return this.#readStatus1()
      default:
        return 0xff
    }
  }

  #writeByte(offset: number, value: number): void {
    const { registers } = this
    const port = VGA_PORT_BASE + offset
    if (this.#enable === 0 && port !== 0x3c3) return
    switch (port) {
      case 0x3c0:
        this.#writeAttribute(value)
        return
      case 0x3c2:
        registers.misc = value
        this.#configure()
        return
      case 0x3c3:
        this.#enable = value & 1
        this.#configure()
        return
      case 0x3c4:
        this.#sequencerIndex = value
        return
      case 0x3c5:
        if (this.#sequencerIndex >= SEQ_MASKS.length) return
        registers.sequencer[this.#sequencerIndex] = value & SEQ_MASKS[this.#sequencerIndex]!
        this.#configure()
        return
      case 0x3c6:
        this.dac.writeMask(value)
        return
      case 0x3c7:
        this.dac.writeReadAddress(value)
        return
      case 0x3c8:
        this.dac.writeWriteAddress(value)
        return
      case 0x3c9:
        this.dac.writeData(value)
        return
      case 0x3ce:
        this.#graphicsIndex = value
        return
      case 0x3cf:
        if (this.#graphicsIndex >= GFX_MASKS.length) return
        registers.graphics[this.#graphicsIndex] = value & GFX_MASKS[this.#graphicsIndex]!
        this.window.configure(true, this.dispi)
        return
    }
    switch (this.#crtcPort(port)) {
      case 0x4:
        this.#crtcIndex = value
        return
      case 0x5:
        this.#writeCrtc(value)
        return
      case 0xa:
        registers.feature = value
    }
  }

  /** The low digit of a port that is decoded in both colour and monochrome, or −1 where the other one is selected. */
  #crtcPort(port: number): number {
    const color = (this.registers.misc & MISC_COLOR) !== 0
    return port >> 4 === (color ? 0x3d : 0x3b) ? port & 0xf : -1
  }

  #readCrtc(): number {
    const index = this.#crtcIndex
    if (index === CRTC_LATCH) return (this.window.latch >>> (8 * this.registers.graphics[GFX_READ_MAP]!)) & 0xff
    if (index === CRTC_FLIP_FLOP) return this.#flipFlop ? 0x80 : 0
    if (index === CRTC_ATTR_INDEX) return this.#attributeIndex
    return this.registers.crtc[index] ?? 0
  }

  #writeCrtc(value: number): void {
    const { crtc } = this.registers
    const index = this.#crtcIndex
    if (index >= CRTC_MASKS.length) return
    if (index <= CRTC_OVERFLOW && (crtc[CRTC_V_RETRACE_END]! & CRTC_PROTECT) !== 0) {
      // Line compare stays writable, since programs for the EGA expect it to be.
      if (index === CRTC_OVERFLOW) crtc[index] = (crtc[index]! & ~0x10) | (value & 0x10)
      return
    }
    // While the clear bit is 0 nothing is latched, so that time does not count either.
    if (index === CRTC_V_RETRACE_END && (value & crtc[index]! & CRTC_CLEAR_INTERRUPT_N) === 0) {
      this.#cleared = this.#timing.retraces(this.#now())
    }
    crtc[index] = value & CRTC_MASKS[index]!
    this.#timing.configure()
  }

  #writeAttribute(value: number): void {
    const { attribute } = this.registers
    if (this.#flipFlop) {
      const index = this.#attributeIndex & 0x1f
      if (index < attribute.length) attribute[index] = value & attributeMask(index)
    } else {
      this.#attributeIndex = value & 0x3f
    }
    this.#flipFlop = !this.#flipFlop
  }

  #readStatus1(): number {
    this.#flipFlop = false
    if (this.#clock === undefined) this.#ownTime += 1000
    const status = this.#timing.status(this.#now())
    // Bits 5 and 4 show two bits of what goes to the DAC; outside of the picture that is the border colour.
    const { attribute } = this.registers
    const color = (status & STATUS1_DISABLED) !== 0 ? attribute[ATTR_OVERSCAN]! : 0
    const high = DIAGNOSTIC_HIGH[(attribute[ATTR_PLANE_ENABLE]! >> 4) & 3]!
    const low = DIAGNOSTIC_LOW[(attribute[ATTR_PLANE_ENABLE]! >> 4) & 3]!
    return status | (((color >> high) & 1) << 5) | (((color >> low) & 1) << 4)
  }

  #interruptPending(): boolean {
    const end = this.registers.crtc[CRTC_V_RETRACE_END]!
    if ((end & CRTC_CLEAR_INTERRUPT_N) === 0 || (end & CRTC_DISABLE_INTERRUPT) !== 0) return false
    return this.#timing.retraces(this.#now()) > this.#cleared
  }

  #dispiChanged(): void {
    this.dac.setWidth(this.dispi.dacWidth)
    if (this.dispi.enabled) this.#programDispiGeometry()
    this.#configure()
  }

  /** Puts the VGA's own registers into agreement with the extension, for programs that read them back. */
  #programDispiGeometry(): void {
    const { crtc } = this.registers
    const { width, height, pitch } = this.dispi
    crtc[CRTC_H_DISPLAY_END] = (width >> 3) - 1
    crtc[CRTC_OFFSET] = pitch >> 3
    const last = height - 1
    crtc[CRTC_V_DISPLAY_END] = last
    crtc[CRTC_OVERFLOW] = (crtc[CRTC_OVERFLOW]! & ~0x42) | ((last >> 7) & 0x02) | ((last >> 3) & 0x40)
  }

  #programDispiMode(bytes: number): void {
    const { registers, dispi } = this
    const { crtc, sequencer, graphics } = registers
    this.memory.fill(0, 0, bytes)
    graphics[GFX_MISC] = 0x04 | GFX_MISC_GRAPHICS
    crtc[CRTC_MODE] = crtc[CRTC_MODE]! | CRTC_MODE_MAP13 | CRTC_MODE_MAP14
    crtc[CRTC_MAX_SCAN_LINE] = crtc[CRTC_MAX_SCAN_LINE]! & ~0x9f
    graphics[GFX_MODE] = graphics[GFX_MODE]! & ~(GFX_MODE_INTERLEAVED | GFX_MODE_SHIFT_256)
    if (dispi.depth === 4) {
      sequencer[SEQ_MEMORY_MODE] = SEQ_MEMORY_EXTENDED | SEQ_MEMORY_SEQUENTIAL
    } else {
      graphics[GFX_MODE] = graphics[GFX_MODE]! | GFX_MODE_SHIFT_256
      sequencer[SEQ_MEMORY_MODE] = sequencer[SEQ_MEMORY_MODE]! | SEQ_MEMORY_CHAIN_4
      sequencer[SEQ_MAP_MASK] = 0x0f
    }
  }

  #readDispiPort(offset: number, size: PortSize): number {
    const value =
      offset === 0 ? this.dispi.index : offset <= 2 && size !== 1 ? this.dispi.read(this.dispi.index) : 0xffff
    if (size === 4) return ((offset === 0 ? this.dispi.read(this.dispi.index) << 16 : 0xffff0000) | value) >>> 0
    return size === 1 ? value & 0xff : value
  }

  #writeDispiPort(offset: number, size: PortSize, value: number): void {
    if (size === 1) return
    if (offset === 0) this.dispi.index = value & 0xffff
    else if (offset <= 2) this.dispi.write(this.dispi.index, value & 0xffff)
  }
}

/** Which bits of the colour input status 1 shows as bits 5 and 4, by the video status multiplexer. */
const DIAGNOSTIC_HIGH = [2, 5, 3, 7] as const
const DIAGNOSTIC_LOW = [0, 4, 1, 6] as const

function attributeMask(index: number): number {
  return index < 0x10 ? 0x3f : ATTR_MASKS[index - 0x10]!
}
