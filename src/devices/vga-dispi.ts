import type { VgaBank } from './vga-memory.js'

/**
 * Index registers of the Bochs display interface. Source: Bochs, "VBE Display Interface" (vbe_spec.txt).
 */
export const VBE_DISPI_INDEX_ID = 0x0
export const VBE_DISPI_INDEX_XRES = 0x1
export const VBE_DISPI_INDEX_YRES = 0x2
export const VBE_DISPI_INDEX_BPP = 0x3
export const VBE_DISPI_INDEX_ENABLE = 0x4
export const VBE_DISPI_INDEX_BANK = 0x5
export const VBE_DISPI_INDEX_VIRT_WIDTH = 0x6
export const VBE_DISPI_INDEX_VIRT_HEIGHT = 0x7
export const VBE_DISPI_INDEX_X_OFFSET = 0x8
export const VBE_DISPI_INDEX_Y_OFFSET = 0x9
export const VBE_DISPI_INDEX_VIDEO_MEMORY_64K = 0xa

/** First port: the index register; the data register is the next one. */
export const VBE_DISPI_IOPORT_INDEX = 0x01ce

export const VBE_DISPI_ID0 = 0xb0c0
/** The newest interface this device offers. */
export const VBE_DISPI_ID5 = 0xb0c5

export const VBE_DISPI_ENABLED = 0x01
/** Resolution and depth read their maximum. */
export const VBE_DISPI_GETCAPS = 0x02
export const VBE_DISPI_8BIT_DAC = 0x20
export const VBE_DISPI_LFB_ENABLED = 0x40
/** Enabling leaves video memory as it is. */
export const VBE_DISPI_NOCLEARMEM = 0x80

/** Largest resolution and depth. */
export const VBE_DISPI_MAX_XRES = 2560
export const VBE_DISPI_MAX_YRES = 1600
export const VBE_DISPI_MAX_BPP = 32

const DEPTHS = [4, 8, 15, 16, 24, 32]

/** What the interface needs of the display adapter that carries it. */
export interface DispiHost {
  /** Bytes of video memory. */
  readonly memorySize: number
  /** The interface was switched on: program the VGA for it, clear `bytes` of memory (0: leave it). */
  dispiEnabled(bytes: number): void
  /** Any register that decides on addressing, geometry or DAC width may have changed. */
  dispiChanged(): void
}

/**
 * The extension by which Bochs' and QEMU's adapter offers resolutions and depths that a VGA does not have: an index
 * and a data register of 16 bits. Values are legalised as they are written, so what they describe always fits in memory.
 */
export class VbeDispi implements VgaBank {
  /** The registers as last written and legalised. */
  readonly registers: Uint16Array = new Uint16Array(VBE_DISPI_INDEX_VIDEO_MEMORY_64K)
  readonly #host: DispiHost
  /** The index register. */
  index = 0

  constructor(host: DispiHost) {
    this.#host = host
    this.reset()
  }

  /** Power-on state: off. */
  reset(): void {
    this.registers.fill(0)
    this.registers[VBE_DISPI_INDEX_ID] = VBE_DISPI_ID5
    this.index = 0
  }

  get enabled(): boolean {
    return (this.registers[VBE_DISPI_INDEX_ENABLE]! & VBE_DISPI_ENABLED) !== 0
  }

  get width(): number {
    return this.registers[VBE_DISPI_INDEX_XRES]!
  }

  get height(): number {
    return this.registers[VBE_DISPI_INDEX_YRES]!
  }

  /** Bits per pixel: 4 (planar), 8, 15, 16, 24 or 32. */
  get depth(): number {
    return this.registers[VBE_DISPI_INDEX_BPP]!
  }

  get dacWidth(): 6 | 8 {
    return (this.registers[VBE_DISPI_INDEX_ENABLE]! & VBE_DISPI_8BIT_DAC) !== 0 ? 8 : 6
  }

  /** Bytes of video memory from one line to the next; for 4 bits per pixel those of all four planes together. */
  get pitch(): number {
    return (this.registers[VBE_DISPI_INDEX_VIRT_WIDTH]! * this.#storedBits) / 8
  }

  /** Offset of the first pixel shown, in bytes of video memory. */
  get start(): number {
    const x = this.registers[VBE_DISPI_INDEX_X_OFFSET]!
    const inLine = this.depth === 4 ? (x >> 3) * 4 : (x * this.#storedBits) >> 3
    return this.registers[VBE_DISPI_INDEX_Y_OFFSET]! * this.pitch + inLine
  }

  get packed(): boolean {
    return this.enabled && this.depth > 4
  }

  get wide(): boolean {
    return this.enabled
  }

  get offset(): number {
    return this.enabled ? this.registers[VBE_DISPI_INDEX_BANK]! * 0x10000 : 0
  }

  get #storedBits(): number {
    return this.depth === 15 ? 16 : this.depth
  }

  /** Reads the data register for `index`. Registers that do not exist read 0. */
  read(index: number): number {
    if (index === VBE_DISPI_INDEX_VIDEO_MEMORY_64K) return this.#host.memorySize >>> 16
    if ((this.registers[VBE_DISPI_INDEX_ENABLE]! & VBE_DISPI_GETCAPS) !== 0) {
      if (index === VBE_DISPI_INDEX_XRES) return VBE_DISPI_MAX_XRES
      if (index === VBE_DISPI_INDEX_YRES) return VBE_DISPI_MAX_YRES
      if (index === VBE_DISPI_INDEX_BPP) return VBE_DISPI_MAX_BPP
    }
    return this.registers[index] ?? 0
  }

  /** Writes the data register for `index`. */
  write(index: number, value: number): void {
    const registers = this.registers
    switch (index) {
      case VBE_DISPI_INDEX_ID:
        // Software offers the newest version it knows and reads back which one the adapter accepts.
        if (value >= VBE_DISPI_ID0 && value <= VBE_DISPI_ID5) registers[index] = value
        return
      case VBE_DISPI_INDEX_XRES:
      case VBE_DISPI_INDEX_YRES:
      case VBE_DISPI_INDEX_BPP:
      case VBE_DISPI_INDEX_VIRT_WIDTH:
      case VBE_DISPI_INDEX_X_OFFSET:
      case VBE_DISPI_INDEX_Y_OFFSET:
        registers[index] = value
        break
      case VBE_DISPI_INDEX_BANK:
        registers[index] = value % this.#banks
        break
      case VBE_DISPI_INDEX_ENABLE: {
        const wasEnabled = this.enabled
        registers[index] =
          value &
          (VBE_DISPI_ENABLED | VBE_DISPI_GETCAPS | VBE_DISPI_8BIT_DAC | VBE_DISPI_LFB_ENABLED | VBE_DISPI_NOCLEARMEM)
        if (this.enabled && !wasEnabled) {
          registers[VBE_DISPI_INDEX_VIRT_WIDTH] = 0
          registers[VBE_DISPI_INDEX_X_OFFSET] = 0
          registers[VBE_DISPI_INDEX_Y_OFFSET] = 0
          registers[VBE_DISPI_INDEX_BANK] = 0
          this.#legalize()
          this.#host.dispiEnabled((value & VBE_DISPI_NOCLEARMEM) === 0 ? this.pitch * this.height : 0)
        }
        break
      }
      default:
        return
    }
    if (this.enabled) this.#legalize()
    this.#host.dispiChanged()
  }

  /** Whether `registers` could have come from {@link write}: for loading saved state. */
  isLegal(registers: ArrayLike<number>): boolean {
    const trial = new VbeDispi(this.#host)
    trial.registers.set(registers)
    if (trial.enabled) trial.#legalize()
    const id = registers[VBE_DISPI_INDEX_ID]!
    const bank = registers[VBE_DISPI_INDEX_BANK]!
    return (
      id >= VBE_DISPI_ID0 &&
      id <= VBE_DISPI_ID5 &&
      bank < trial.#banks &&
      trial.registers.every((value, i) => value === registers[i])
    )
  }

  /** Banks of 64 KiB that the window can show; with four planes behind every byte there are a quarter as many. */
  get #banks(): number {
    const all = this.#host.memorySize >>> 16
    return this.enabled && this.depth === 4 ? all >>> 2 : all
  }

  /** Makes the geometry fit: depths that exist, widths of whole bytes in every plane, and all of it within memory. */
  #legalize(): void {
    const registers = this.registers
    const memory = this.#host.memorySize
    const depth = registers[VBE_DISPI_INDEX_BPP]!
    if (!DEPTHS.includes(depth)) registers[VBE_DISPI_INDEX_BPP] = 8
    const bits = this.#storedBits
    const width = Math.min(registers[VBE_DISPI_INDEX_XRES]! & ~7, VBE_DISPI_MAX_XRES)
    registers[VBE_DISPI_INDEX_XRES] = Math.max(width, 8)
    const widest = Math.min(0xfff8, Math.floor((memory * 8) / bits) & ~7)
    const virtual = Math.min(registers[VBE_DISPI_INDEX_VIRT_WIDTH]! & ~7, widest)
    registers[VBE_DISPI_INDEX_VIRT_WIDTH] = Math.max(virtual, this.width)
    const lines = Math.min(Math.floor(memory / this.pitch), 0xffff)
    const height = Math.min(registers[VBE_DISPI_INDEX_YRES]!, VBE_DISPI_MAX_YRES, lines)
    registers[VBE_DISPI_INDEX_YRES] = Math.max(height, 1)
    registers[VBE_DISPI_INDEX_VIRT_HEIGHT] = lines
    registers[VBE_DISPI_INDEX_BANK] = registers[VBE_DISPI_INDEX_BANK]! % this.#banks
    // An offset that would show memory beyond the end is refused: first vertically, then horizontally.
    const shown = this.pitch * this.height
    if (this.start + shown > memory) registers[VBE_DISPI_INDEX_Y_OFFSET] = 0
    if (this.start + shown > memory) registers[VBE_DISPI_INDEX_X_OFFSET] = 0
  }
}
