import type { MmioDevice, MmioSize, PhysicalBus, PortDevice, PortSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'

/** One past the highest physical address: 52 address bits. */
export const PHYSICAL_LIMIT: number = 2 ** 52

interface Window {
  readonly base: number
  readonly end: number
  readonly device: MmioDevice
  readonly widths: number
}

const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffffffff] as const

/** Accesses counted since the bus was made. */
export interface MmioStatistics {
  readonly reads: number
  readonly writes: number
  readonly unmapped: number
  readonly split: number
}

/**
 * Memory windows of devices, sorted by address: memory-mapped I/O without a memory. It is small on purpose, for using
 * a device alone or beside a `PortBus`; a machine with RAM has the physical address map of `virtkit/memory`.
 *
 * Wide accesses are split, and unmapped bytes read, as on a `PortBus`.
 */
export class MmioBus implements PhysicalBus {
  private readonly windows: Window[] = []
  private readCount = 0
  private writeCount = 0
  private unmappedCount = 0
  private splitCount = 0
  private pieces = 0
  private missed = false

  /**
   * Gives `length` bytes from `base` to `device`, which takes accesses of `sizes` (default: 1, 2 and 4 bytes). Throws
   * `bad-range` for an empty range or one beyond 2^52, `overlap` when part of it is taken.
   */
  register(
    base: number,
    length: number,
    device: MmioDevice,
    options: { readonly sizes?: readonly MmioSize[] } = {},
  ): void {
    checkRange(base, length)
    const end = base + length
    const at = this.firstEndingAfter(base)
    const next = this.windows[at]
    if (next !== undefined && next.base < end)
      throw new VirtkitError('overlap', `window 0x${base.toString(16)}+${length} overlaps 0x${next.base.toString(16)}`)
    let widths = 0
    for (const size of options.sizes ?? [1, 2, 4]) {
      if (size !== 1 && size !== 2 && size !== 4)
        throw new VirtkitError('bad-argument', `a memory-mapped access has 1, 2 or 4 bytes, not ${String(size)}`)
      widths |= 1 << size
    }
    if (widths === 0) throw new VirtkitError('bad-argument', 'a device must take at least one access width')
    this.windows.splice(at, 0, { base, end, device, widths })
  }

  /** Takes away a window exactly as it was registered. Throws `bad-range` when there is none such. */
  remove(base: number, length: number): void {
    checkRange(base, length)
    const at = this.firstEndingAfter(base)
    const window = this.windows[at]
    if (window === undefined || window.base !== base || window.end !== base + length)
      throw new VirtkitError('bad-range', `no window 0x${base.toString(16)}+${length} is registered`)
    this.windows.splice(at, 1)
  }

  /** The accesses so far. */
  get statistics(): MmioStatistics {
    return { reads: this.readCount, writes: this.writeCount, unmapped: this.unmappedCount, split: this.splitCount }
  }

  /** Reads `size` bytes, unsigned. */
  read(address: number, size: MmioSize): number {
    this.readCount++
    this.pieces = 0
    this.missed = false
    const value = this.readPiece(address, size)
    this.count()
    return value
  }

  /** Writes the low `size` bytes of `value`. */
  write(address: number, size: MmioSize, value: number): void {
    this.writeCount++
    this.pieces = 0
    this.missed = false
    this.writePiece(address, size, (value & ALL_ONES[size]) >>> 0)
    this.count()
  }

  read8(address: number): number {
    return this.read(address, 1)
  }
  read16(address: number): number {
    return this.read(address, 2)
  }
  read32(address: number): number {
    return this.read(address, 4)
  }
  write8(address: number, value: number): void {
    this.write(address, 1, value)
  }
  write16(address: number, value: number): void {
    this.write(address, 2, value)
  }
  write32(address: number, value: number): void {
    this.write(address, 4, value)
  }

  private count(): void {
    if (this.pieces > 1) this.splitCount++
    if (this.missed) this.unmappedCount++
  }

  /** Index of the first window that ends beyond `address`: the one that holds it, or the next one up. */
  private firstEndingAfter(address: number): number {
    let low = 0
    let high = this.windows.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.windows[middle]!.end > address) high = middle
      else low = middle + 1
    }
    return low
  }

  /** The window that takes all of the access at its width, or undefined. */
  private windowFor(address: number, size: MmioSize): Window | undefined {
    const window = this.windows[this.firstEndingAfter(address)]
    if (window === undefined || window.base > address || address + size > window.end) return undefined
    return (window.widths & (1 << size)) !== 0 ? window : undefined
  }

  private readPiece(address: number, size: MmioSize): number {
    const window = this.windowFor(address, size)
    if (window !== undefined) {
      this.pieces++
      return (window.device.readMmio(address - window.base, size) & ALL_ONES[size]) >>> 0
    }
    if (size === 1) {
      this.missed = true
      return 0xff
    }
    const half = (size >> 1) as MmioSize
    const low = this.readPiece(address, half)
    return (low | (this.readPiece(address + half, half) << (8 * half))) >>> 0
  }

  private writePiece(address: number, size: MmioSize, value: number): void {
    const window = this.windowFor(address, size)
    if (window !== undefined) {
      this.pieces++
      window.device.writeMmio(address - window.base, size, value)
      return
    }
    if (size === 1) {
      this.missed = true
      return
    }
    const half = (size >> 1) as MmioSize
    this.writePiece(address, half, (value & ALL_ONES[half]!) >>> 0)
    this.writePiece(address + half, half, value >>> (8 * half))
  }
}

/**
 * A port device reached through memory: its register `r` sits at byte `r × stride` of the window, as boards wire
 * 8-bit peripherals to wide buses. Bytes between the registers read all ones. Throws `bad-argument` for a stride other than
 * 1, 2, 4 or 8. With a stride of 1 accesses pass at their own width, so register the window with the device's `sizes`.
 */
export class PortAsMmio implements MmioDevice {
  private readonly device: PortDevice
  private readonly stride: number

  constructor(device: PortDevice, options: { readonly stride?: 1 | 2 | 4 | 8 } = {}) {
    const stride = options.stride ?? 1
    if (stride !== 1 && stride !== 2 && stride !== 4 && stride !== 8)
      throw new VirtkitError('bad-argument', `a register stride is 1, 2, 4 or 8, not ${String(stride)}`)
    this.device = device
    this.stride = stride
  }

  readMmio(offset: number, size: MmioSize): number {
    if (this.stride === 1) return this.device.readPort(offset, size)
    let value = 0
    for (let i = 0; i < size; i++) {
      const at = offset + i
      const byte = at % this.stride === 0 ? this.device.readPort(at / this.stride, 1) & 0xff : 0xff
      value |= byte << (8 * i)
    }
    return value >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (this.stride === 1) {
      this.device.writePort(offset, size, value)
      return
    }
    for (let i = 0; i < size; i++) {
      const at = offset + i
      if (at % this.stride === 0) this.device.writePort(at / this.stride, 1, (value >>> (8 * i)) & 0xff)
    }
  }
}

/** A memory-mapped device reached through ports: port offset and window offset are the same. */
export class MmioAsPort implements PortDevice {
  private readonly device: MmioDevice

  constructor(device: MmioDevice) {
    this.device = device
  }

  readPort(offset: number, size: PortSize): number {
    return this.device.readMmio(offset, size)
  }

  writePort(offset: number, size: PortSize, value: number): void {
    this.device.writeMmio(offset, size, value)
  }
}

function checkRange(base: number, length: number): void {
  if (!Number.isInteger(base) || !Number.isInteger(length) || base < 0 || length < 1 || base + length > PHYSICAL_LIMIT)
    throw new VirtkitError('bad-range', `addresses ${base}+${length} are not a range below 2^52`)
}
