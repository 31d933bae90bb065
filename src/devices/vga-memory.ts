import type { MmioDevice, MmioSize } from '../contracts/index.js'
import type { VgaRegisters } from './vga-registers.js'
import {
  GFX_BIT_MASK,
  GFX_COLOR_COMPARE,
  GFX_COLOR_DONT_CARE,
  GFX_DATA_ROTATE,
  GFX_ENABLE_SET_RESET,
  GFX_MISC,
  GFX_MISC_CHAIN_ODD_EVEN,
  GFX_MODE,
  GFX_MODE_ODD_EVEN,
  GFX_MODE_READ_COMPARE,
  GFX_READ_MAP,
  GFX_SET_RESET,
  MISC_PAGE,
  MISC_RAM,
  SEQ_MAP_MASK,
  SEQ_MEMORY_CHAIN_4,
  SEQ_MEMORY_EXTENDED,
  SEQ_MEMORY_MODE,
  SEQ_MEMORY_SEQUENTIAL,
} from './vga-registers.js'

/** Four plane bits spread to a byte each: plane 0 is the low byte. */
const SPREAD = Uint32Array.from({ length: 16 }, (_, bits) => {
  let word = 0
  for (let plane = 0; plane < 4; plane++) if ((bits >> plane) & 1) word |= 0xff << (8 * plane)
  return word
})

/** Where the window lies within 0xA0000–0xBFFFF, by the memory map bits. */
const MAP_BASE = [0, 0, 0x10000, 0x18000] as const
const MAP_SIZE = [0x20000, 0x10000, 0x8000, 0x8000] as const

/** Bank window of the linear modes; nothing is banked while `packed` is false and `bank` is 0. */
export interface VgaBank {
  /** Bytes are addressed one after the other instead of through the planes. */
  readonly packed: boolean
  /** Offset added to an access, in bytes of the window. */
  readonly offset: number
  /** The extended modes reach all of memory through the planes, the VGA itself 64 KiB per plane. */
  readonly wide: boolean
}

/**
 * Video memory as the CPU sees it through 0xA0000–0xBFFFF: four planes, latches, and the data path of the graphics
 * controller. The four bytes of one plane address lie next to each other, plane 0 first, so that the latches are one 32-bit
 * load; linear modes of the extensions use the same bytes in plain order.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", "Graphics Controller" and "Sequencer".
 */
export class VgaMemory implements MmioDevice {
  /** All of video memory; plane `p` of address `a` is byte `4 * a + p`. */
  readonly bytes: Uint8Array
  /** The same memory, one word per plane address. */
  readonly words: Uint32Array
  /** The four latches, plane 0 in the low byte. */
  latch = 0

  readonly #registers: VgaRegisters
  // What the registers say, worked out once per register write.
  #base = 0
  #size = 0
  #packed = false
  #offset = 0
  #mask = 0xffff
  #chain4 = false
  #oddEvenWrite = false
  #oddEvenRead = false
  #replaceA0 = false
  #wholeWindow = false
  #page = 0
  #mapMask = 0
  #readMap = 0
  #readCompare = false
  #compare = 0
  #care = 0
  #writeMode = 0
  #plain = false
  #rotate = 0
  #function = 0
  #setReset = 0
  #enableSetReset = 0
  #bitMask = 0

  /** `bytes` is the memory to use, a multiple of 256 KiB and aligned to 4. */
  constructor(registers: VgaRegisters, bytes: Uint8Array) {
    this.#registers = registers
    this.bytes = bytes
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
  }

  /** To be called after a change of the sequencer, graphics, miscellaneous output or bank registers. */
  configure(enabled: boolean, bank: VgaBank): void {
    const { sequencer, graphics, misc } = this.#registers
    const map = (graphics[GFX_MISC]! >> 2) & 3
    const visible = enabled && (misc & MISC_RAM) !== 0
    this.#base = MAP_BASE[map]!
    this.#size = visible ? MAP_SIZE[map]! : 0
    this.#packed = bank.packed
    this.#offset = bank.offset
    const memory = sequencer[SEQ_MEMORY_MODE]!
    const planeBytes = this.bytes.length >>> 2
    this.#mask = bank.wide ? planeBytes - 1 : (memory & SEQ_MEMORY_EXTENDED) !== 0 ? 0xffff : 0x3fff
    this.#chain4 = (memory & SEQ_MEMORY_CHAIN_4) !== 0
    this.#oddEvenWrite = (memory & SEQ_MEMORY_SEQUENTIAL) === 0
    const mode = graphics[GFX_MODE]!
    this.#oddEvenRead = (mode & GFX_MODE_ODD_EVEN) !== 0
    this.#replaceA0 = (graphics[GFX_MISC]! & GFX_MISC_CHAIN_ODD_EVEN) !== 0
    this.#wholeWindow = map === 0
    this.#page = (misc & MISC_PAGE) !== 0 ? 0 : 1
    this.#mapMask = sequencer[SEQ_MAP_MASK]!
    this.#readMap = graphics[GFX_READ_MAP]!
    this.#readCompare = (mode & GFX_MODE_READ_COMPARE) !== 0
    this.#compare = SPREAD[graphics[GFX_COLOR_COMPARE]!]!
    this.#care = SPREAD[graphics[GFX_COLOR_DONT_CARE]!]!
    this.#writeMode = mode & 3
    this.#rotate = graphics[GFX_DATA_ROTATE]! & 7
    this.#function = (graphics[GFX_DATA_ROTATE]! >> 3) & 3
    this.#setReset = SPREAD[graphics[GFX_SET_RESET]!]!
    this.#enableSetReset = SPREAD[graphics[GFX_ENABLE_SET_RESET]!]!
    this.#bitMask = Math.imul(graphics[GFX_BIT_MASK]!, 0x01010101)
    this.#plain =
      this.#writeMode === 0 &&
      this.#rotate === 0 &&
      this.#function === 0 &&
      graphics[GFX_ENABLE_SET_RESET] === 0 &&
      graphics[GFX_BIT_MASK] === 0xff
  }

  readMmio(offset: number, size: MmioSize): number {
    let value = this.#readByte(offset)
    for (let i = 1; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    this.#writeByte(offset, value & 0xff)
    for (let i = 1; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #planeAddress(at: number): number {
    // In chain 4 the two bits that choose the plane make room for address bits 14 and 15, which is where doubleword
    // addressing has the CRT controller look for them.
    if (this.#chain4) return ((at & 0xfffc) | ((at >>> 14) & 3) | (this.#offset >>> 2)) & this.#mask
    if (this.#replaceA0) at = (at & ~1) | (this.#wholeWindow ? (at >>> 16) & 1 : this.#page)
    return (at + this.#offset) & this.#mask
  }

  #readByte(offset: number): number {
    const at = offset - this.#base
    if (at < 0 || at >= this.#size) return 0xff
    if (this.#packed) return this.bytes[at + this.#offset] ?? 0xff
    const latch = this.words[this.#planeAddress(at)]!
    this.latch = latch
    if (this.#readCompare) {
      let differs = (latch ^ this.#compare) & this.#care
      differs |= differs >>> 16
      return ~(differs | (differs >>> 8)) & 0xff
    }
    let plane = this.#readMap
    if (this.#chain4) plane = at & 3
    else if (this.#oddEvenRead) plane = (plane & 2) | (at & 1)
    return (latch >>> (8 * plane)) & 0xff
  }

  #writeByte(offset: number, value: number): void {
    const at = offset - this.#base
    if (at < 0 || at >= this.#size) return
    if (this.#packed) {
      const linear = at + this.#offset
      if (linear < this.bytes.length) this.bytes[linear] = value
      return
    }
    let planes = this.#mapMask
    if (this.#chain4) planes &= 1 << (at & 3)
    else if (this.#oddEvenWrite) planes &= (at & 1) !== 0 ? 0b1010 : 0b0101
    const select = SPREAD[planes]!
    const address = this.#planeAddress(at)
    const data = this.#plain ? Math.imul(value, 0x01010101) : this.#combine(value)
    this.words[address] = (this.words[address]! & ~select) | (data & select)
  }

  /** The data path of the graphics controller: what would be written to each plane. */
  #combine(value: number): number {
    if (this.#writeMode === 1) return this.latch
    let mask = this.#bitMask
    let data: number
    if (this.#writeMode === 2) {
      data = SPREAD[value & 0xf]!
    } else {
      const rotated = ((value >>> this.#rotate) | (value << (8 - this.#rotate))) & 0xff
      const spread = Math.imul(rotated, 0x01010101)
      if (this.#writeMode === 3) {
        mask &= spread
        data = this.#setReset
      } else {
        data = (spread & ~this.#enableSetReset) | (this.#setReset & this.#enableSetReset)
      }
    }
    if (this.#function === 1) data &= this.latch
    else if (this.#function === 2) data |= this.latch
    else if (this.#function === 3) data ^= this.latch
    return (data & mask) | (this.latch & ~mask)
  }
}

/** The linear framebuffer: video memory in plain order. Accesses beyond the end read all ones and write nothing. */
export class VgaLinearFramebuffer implements MmioDevice {
  readonly #bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  readMmio(offset: number, size: MmioSize): number {
    if (offset + size > this.#bytes.length) return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff
    if (size === 4) return this.#view.getUint32(offset, true)
    return size === 2 ? this.#view.getUint16(offset, true) : this.#bytes[offset]!
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (offset + size > this.#bytes.length) return
    if (size === 4) this.#view.setUint32(offset, value, true)
    else if (size === 2) this.#view.setUint16(offset, value, true)
    else this.#bytes[offset] = value
  }
}
