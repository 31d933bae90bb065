import type { PhysicalBus, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'

// Well-known items. Source: QEMU documentation, "QEMU Firmware Configuration (fw_cfg) Device".
export const FW_CFG_SIGNATURE = 0x00
export const FW_CFG_ID = 0x01
export const FW_CFG_UUID = 0x02
/** Bytes of RAM, 64 bits. */
export const FW_CFG_RAM_SIZE = 0x03
export const FW_CFG_NOGRAPHIC = 0x04
/** Processors present, 16 bits. */
export const FW_CFG_NB_CPUS = 0x05
export const FW_CFG_KERNEL_ADDR = 0x07
export const FW_CFG_KERNEL_SIZE = 0x08
export const FW_CFG_INITRD_ADDR = 0x0a
export const FW_CFG_INITRD_SIZE = 0x0b
/** 1 shows the firmware's boot menu, 16 bits. */
export const FW_CFG_BOOT_MENU = 0x0e
/** Highest APIC ID plus one, 16 bits. */
export const FW_CFG_MAX_CPUS = 0x0f
export const FW_CFG_KERNEL_ENTRY = 0x10
export const FW_CFG_KERNEL_DATA = 0x11
export const FW_CFG_INITRD_DATA = 0x12
export const FW_CFG_CMDLINE_ADDR = 0x13
export const FW_CFG_CMDLINE_SIZE = 0x14
export const FW_CFG_CMDLINE_DATA = 0x15
export const FW_CFG_SETUP_ADDR = 0x16
export const FW_CFG_SETUP_SIZE = 0x17
export const FW_CFG_SETUP_DATA = 0x18
/** The directory of named files. */
export const FW_CFG_FILE_DIR = 0x19
/** The first key of a named file. */
export const FW_CFG_FILE_FIRST = 0x20
/** Keys of one architecture carry this bit. */
export const FW_CFG_ARCH_LOCAL = 0x8000
/** 1 says that IRQ 0 reaches input 2 of the I/O APIC, 32 bits. */
export const FW_CFG_IRQ0_OVERRIDE = 0x8002

/** ID bits: the traditional interface, and DMA. */
export const FW_CFG_VERSION = 0x01
export const FW_CFG_VERSION_DMA = 0x02

export const FW_CFG_DMA_ERROR = 0x01
export const FW_CFG_DMA_READ = 0x02
export const FW_CFG_DMA_SKIP = 0x04
export const FW_CFG_DMA_SELECT = 0x08
export const FW_CFG_DMA_WRITE = 0x10

/** Longest file name, its closing zero excluded. */
export const FW_CFG_NAME_MAX = 55
/** Most named files. */
export const FW_CFG_FILES_MAX = 256
/** Zeros that one DMA read may ask for beyond the end of an item; more is answered with an error. */
export const FW_CFG_FILL_MAX = 0x100000

/** A range of guest-physical memory for the firmware's memory map. */
export interface E820Entry {
  readonly address: number
  readonly length: number
  /** 1 RAM, 2 reserved, 3 ACPI reclaimable, 4 ACPI non-volatile, 5 bad. */
  readonly type: number
}

interface Item {
  readonly bytes: Uint8Array
  readonly writable: boolean
}

/** Saved state of a {@link FwCfg}: the registers, and the contents of writable files. */
export interface FwCfgState {
  readonly version: 1
  readonly key: number
  readonly offset: number
  readonly dmaHigh: number
  readonly writable: readonly { readonly key: number; readonly bytes: Uint8Array }[]
}

const NOTHING: Item = { bytes: new Uint8Array(0), writable: false }
const SIGNATURE = [0x51, 0x45, 0x4d, 0x55, 0x20, 0x43, 0x46, 0x47] // "QEMU CFG"

/**
 * The firmware configuration device, twelve ports from 0x510 to be registered with all access widths: selector (16 bits
 * at 0), data (bytes at 1), and the DMA address in big-endian halves (at 4 and 8; writing the low one starts).
 *
 * Source: QEMU documentation, "QEMU Firmware Configuration (fw_cfg) Device".
 */
export class FwCfg implements PortDevice, Stateful<FwCfgState> {
  readonly #memory: PhysicalBus
  readonly #items = new Map<number, Item>()
  readonly #names: { readonly name: string; readonly key: number; readonly size: number }[] = []
  #key = 0
  #current: Item
  #offset = 0
  #dmaHigh = 0

  constructor(memory: PhysicalBus) {
    this.#memory = memory
    this.addKey(FW_CFG_SIGNATURE, Uint8Array.from(SIGNATURE.slice(0, 4)))
    this.addU32(FW_CFG_ID, FW_CFG_VERSION | FW_CFG_VERSION_DMA)
    this.#current = this.#items.get(0)!
    this.#buildDirectory()
  }

  /** Sets the item of `key` (0–0x18, or those with {@link FW_CFG_ARCH_LOCAL}) to a copy of `bytes`. */
  addKey(key: number, bytes: Uint8Array): void {
    const number = key & ~FW_CFG_ARCH_LOCAL
    if (!Number.isInteger(key) || key < 0 || key > 0xffff || number >= FW_CFG_FILE_DIR) {
      throw new VirtkitError('bad-argument', `fw_cfg key ${key} is not one of 0 to 0x18, with or without 0x8000`)
    }
    this.#set(key, bytes, false)
  }

  /** Sets an item to a little-endian 16-bit number. */
  addU16(key: number, value: number): void {
    this.addKey(key, littleEndian(value, 2))
  }

  /** Sets an item to a little-endian 32-bit number. */
  addU32(key: number, value: number): void {
    this.addKey(key, littleEndian(value, 4))
  }

  /** Sets an item to a little-endian 64-bit number; `value` is an exact double. */
  addU64(key: number, value: number): void {
    this.addKey(key, littleEndian(value, 8))
  }

  /**
   * Adds a named file ("etc/e820"), or replaces one of that name, with a copy of `bytes`. A `writable` file can be changed
   * by the guest through DMA, within its size. Names have up to {@link FW_CFG_NAME_MAX} ASCII characters.
   */
  addFile(name: string, bytes: Uint8Array, options: { readonly writable?: boolean } = {}): void {
    if (name.length === 0 || name.length > FW_CFG_NAME_MAX || !/^[\x20-\x7e]+$/.test(name)) {
      throw new VirtkitError('bad-argument', `a fw_cfg file name has 1 to ${FW_CFG_NAME_MAX} ASCII characters`)
    }
    const at = this.#names.findIndex((file) => file.name === name)
    const key = at >= 0 ? this.#names[at]!.key : FW_CFG_FILE_FIRST + this.#names.length
    if (at < 0 && this.#names.length === FW_CFG_FILES_MAX) {
      throw new VirtkitError('bad-argument', `fw_cfg holds at most ${FW_CFG_FILES_MAX} files`)
    }
    const file = { name, key, size: bytes.length }
    if (at >= 0) this.#names[at] = file
    else this.#names.push(file)
    this.#set(key, bytes, options.writable ?? false)
    this.#buildDirectory()
  }

  /** Adds "bootorder": Open Firmware device paths, first choice first. */
  addBootOrder(paths: readonly string[]): void {
    this.addFile('bootorder', new TextEncoder().encode(`${paths.join('\n')}\0`))
  }

  /** Adds "etc/e820", the memory map that firmware adds to what it finds out itself. */
  addE820(entries: readonly E820Entry[]): void {
    const bytes = new Uint8Array(entries.length * 20)
    entries.forEach((entry, i) => {
      bytes.set(littleEndian(entry.address, 8), i * 20)
      bytes.set(littleEndian(entry.length, 8), i * 20 + 8)
      bytes.set(littleEndian(entry.type, 4), i * 20 + 16)
    })
    this.addFile('etc/e820', bytes)
  }

  /** Selects the signature again, as after power-on. */
  reset(): void {
    this.#select(0)
    this.#dmaHigh = 0
  }

  readPort(offset: number, size: PortSize): number {
    if (offset === 1 && size === 1) return this.#next()
    if (offset < 4 || offset > 11) return 0
    let value = 0
    for (let i = 0; i < size; i++) value |= (SIGNATURE[offset - 4 + i] ?? 0) << (8 * i)
    return value >>> 0
  }

  writePort(offset: number, size: PortSize, value: number): void {
    if (offset === 0 && size === 2) this.#select(value)
    else if (offset === 4 && size === 4) this.#dmaHigh = swap32(value)
    else if (offset === 8 && size === 4) {
      const address = this.#dmaHigh * 2 ** 32 + swap32(value)
      this.#dmaHigh = 0
      // Beyond what the bus can address there is no descriptor.
      if (address + 16 <= 2 ** 52) this.#dma(address)
    }
    // Byte writes to the data port have done nothing since the interface lost them.
  }

  saveState(): FwCfgState {
    const writable: { key: number; bytes: Uint8Array }[] = []
    for (const [key, item] of this.#items) if (item.writable) writable.push({ key, bytes: item.bytes.slice() })
    return { version: 1, key: this.#key, offset: this.#offset, dmaHigh: this.#dmaHigh, writable }
  }

  loadState(state: FwCfgState): void {
    const reader = new StateReader('fw_cfg', state, 1)
    const key = reader.int('key', 0, 0xffff)
    const offset = reader.int('offset', 0, 2 ** 32)
    const dmaHigh = reader.int('dmaHigh', 0, 0xffffffff)
    const writable = reader.nested('writable')
    if (!Array.isArray(writable)) throw reader.inconsistent('writable', 'a list of files')
    for (const file of writable as readonly { key?: unknown; bytes?: unknown }[]) {
      const item = typeof file?.key === 'number' ? this.#items.get(file.key) : undefined
      if (!item?.writable || !(file.bytes instanceof Uint8Array) || file.bytes.length !== item.bytes.length) {
        throw reader.inconsistent('writable', 'the writable files of this device')
      }
    }
    for (const file of writable as FwCfgState['writable']) this.#items.get(file.key)!.bytes.set(file.bytes)
    this.#select(key)
    this.#offset = offset
    this.#dmaHigh = dmaHigh
  }

  #set(key: number, bytes: Uint8Array, writable: boolean): void {
    this.#items.set(key, { bytes: bytes.slice(), writable })
    this.#current = this.#items.get(this.#key) ?? NOTHING
  }

  /** Big-endian: the count, then for each file its size, key and name. */
  #buildDirectory(): void {
    const bytes = new Uint8Array(4 + 64 * this.#names.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, this.#names.length)
    const sorted = [...this.#names].sort((a, b) => (a.name < b.name ? -1 : 1))
    sorted.forEach((file, i) => {
      const at = 4 + 64 * i
      view.setUint32(at, file.size)
      view.setUint16(at + 4, file.key)
      bytes.set(new TextEncoder().encode(file.name), at + 8)
    })
    this.#set(FW_CFG_FILE_DIR, bytes, false)
  }

  #select(key: number): void {
    this.#key = key & 0xffff
    this.#offset = 0
    // Bit 14 was the write channel of the old interface; it selects the same item.
    this.#current = this.#items.get(this.#key & ~0x4000) ?? NOTHING
  }

  #next(): number {
    const byte = this.#current.bytes[this.#offset]
    if (byte === undefined) return 0
    this.#offset++
    return byte
  }

  #dma(descriptor: number): void {
    const memory = this.#memory
    const control = swap32(memory.read32(descriptor))
    const length = swap32(memory.read32(descriptor + 4))
    const address = swap32(memory.read32(descriptor + 8)) * 2 ** 32 + swap32(memory.read32(descriptor + 12))
    if ((control & FW_CFG_DMA_SELECT) !== 0) this.#select(control >>> 16)
    let failed = false
    // Read wins over write, and write over skip.
    if ((control & FW_CFG_DMA_READ) !== 0) failed = !this.#dmaRead(address, length)
    else if ((control & FW_CFG_DMA_WRITE) !== 0) failed = !this.#dmaWrite(address, length)
    else if ((control & FW_CFG_DMA_SKIP) !== 0) {
      this.#offset = Math.min(this.#current.bytes.length, this.#offset + length)
    }
    memory.write32(descriptor, failed ? swap32(FW_CFG_DMA_ERROR) : 0)
  }

  #dmaRead(address: number, length: number): boolean {
    const { bytes } = this.#current
    const available = Math.max(0, Math.min(length, bytes.length - this.#offset))
    if (length - available > FW_CFG_FILL_MAX || address + length > 2 ** 52) return false
    let at = address
    for (let i = 0; i < available; i++) this.#memory.write8(at++, bytes[this.#offset + i]!)
    for (let i = available; i < length; i++) this.#memory.write8(at++, 0)
    this.#offset += available
    return true
  }

  #dmaWrite(address: number, length: number): boolean {
    const { bytes, writable } = this.#current
    if (!writable || length > bytes.length - this.#offset || address + length > 2 ** 52) return false
    for (let i = 0; i < length; i++) bytes[this.#offset + i] = this.#memory.read8(address + i)
    this.#offset += length
    return true
  }
}

function swap32(value: number): number {
  return ((value >>> 24) | ((value >>> 8) & 0xff00) | ((value & 0xff00) << 8) | ((value & 0xff) << 24)) >>> 0
}

function littleEndian(value: number, size: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** Math.min(53, 8 * size)) {
    throw new VirtkitError('bad-argument', `${value} is not an unsigned ${8 * size}-bit number`)
  }
  const bytes = new Uint8Array(size)
  let rest = value
  for (let i = 0; i < size; i++) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return bytes
}
