import type { MmioDevice, MmioSize, PortSize } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { PciFunction } from './pci.js'
import type { Vga } from './vga.js'
import { VBE_DISPI_INDEX_VIDEO_MEMORY_64K } from './vga-dispi.js'
import { VGA_PORT_BASE } from './vga-registers.js'

/** The windows of a {@link VgaFunction}: BAR 0, BAR 2 and the expansion ROM. */
export type VgaWindowName = 'framebuffer' | 'registers' | 'rom'

/** Where the machine puts the windows. `place` may throw `overlap` or `bad-range`: the window then does not decode. */
export interface VgaWindowPlacer {
  /** Maps a window at a physical address. */
  place(window: VgaWindowName, base: number): void
  /** Takes it away. */
  remove(window: VgaWindowName): void
}

/** Bytes of the register window. */
export const VGA_MMIO_SIZE = 0x1000
/** Offset in the register window of ports 0x3C0–0x3DF. */
export const VGA_MMIO_PORTS = 0x400
/** Offset in the register window of the Bochs display interface, two bytes per register. */
export const VGA_MMIO_DISPI = 0x500
/** Offset in the register window of the extension block: its size, then the framebuffer's byte order. */
export const VGA_MMIO_EXTENSION = 0x600
/** Byte order register: little-endian. */
export const VGA_EXTENSION_LITTLE_ENDIAN = 0x1e1e1e1e

/**
 * The registers of a {@link Vga} in memory, as QEMU's adapter offers them for systems without ports. Source: QEMU, "QEMU
 * Standard VGA" (docs/specs/standard-vga).
 */
export class VgaMmioRegisters implements MmioDevice {
  readonly #vga: Vga

  constructor(vga: Vga) {
    this.#vga = vga
  }

  readMmio(offset: number, size: MmioSize): number {
    if (offset >= VGA_MMIO_PORTS && offset < VGA_MMIO_PORTS + 0x20) {
      return this.#vga.readPort(offset - VGA_MMIO_PORTS + 0x3c0 - VGA_PORT_BASE, size)
    }
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (offset >= VGA_MMIO_PORTS && offset < VGA_MMIO_PORTS + 0x20) {
      this.#vga.writePort(offset - VGA_MMIO_PORTS + 0x3c0 - VGA_PORT_BASE, size as PortSize, value)
      return
    }
    // The interface's registers are words: bytes and accesses across words have nothing to write to.
    const index = (offset - VGA_MMIO_DISPI) >> 1
    if ((offset & 1) !== 0 || size === 1 || index < 0 || index > VBE_DISPI_INDEX_VIDEO_MEMORY_64K) return
    this.#vga.dispi.write(index, value & 0xffff)
    if (size === 4) this.#vga.dispi.write(index + 1, value >>> 16)
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 1)
    const index = (offset - VGA_MMIO_DISPI) >> 1
    if (index >= 0 && index <= VBE_DISPI_INDEX_VIDEO_MEMORY_64K) return (this.#vga.dispi.read(index) >> shift) & 0xff
    const extension = offset - VGA_MMIO_EXTENSION
    if (extension >= 0 && extension < 8) {
      const word = extension < 4 ? 8 : VGA_EXTENSION_LITTLE_ENDIAN
      return (word >>> (8 * (extension & 3))) & 0xff
    }
    return 0
  }
}

/**
 * The PCI function of the adapter, 1234:1111: BAR 0 is the framebuffer, BAR 2 the register window; an expansion ROM holds
 * the video BIOS. Ports and the window at 0xA0000 do not depend on it.
 */
export class VgaFunction extends PciFunction {
  /** The device behind BAR 2. */
  readonly mmio: VgaMmioRegisters

  /** `romSize` is 0 for no ROM, or a power of two from 2 KiB. */
  constructor(vga: Vga, placer: VgaWindowPlacer, romSize = 0) {
    super({
      vendor: 0x1234,
      device: 0x1111,
      classCode: 0x030000,
      revision: 0x02,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
    })
    if (romSize !== 0 && (romSize < 2048 || (romSize & (romSize - 1)) !== 0)) {
      throw new VirtkitError('bad-argument', `a ROM window has a power of two of at least 2 KiB; got ${romSize}`)
    }
    this.mmio = new VgaMmioRegisters(vga)
    const at = (window: VgaWindowName, size: number) => ({
      size,
      map: (base: number): void => placer.place(window, base),
      unmap: (): void => placer.remove(window),
    })
    this.addBar(0, { space: 'memory', prefetchable: true, ...at('framebuffer', vga.memory.length) })
    this.addBar(2, { space: 'memory', ...at('registers', VGA_MMIO_SIZE) })
    if (romSize > 0) this.addRom(at('rom', romSize))
  }
}
