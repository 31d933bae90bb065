import type { PhysicalBus } from '../../contracts/index.js'

/** What a memory may offer besides a bus: moving many bytes at once. An `AddressSpace` does. */
interface BulkMemory {
  readBytes(address: number, target: Uint8Array): void
  writeBytes(address: number, source: Uint8Array): void
}

/** First address that no bus master can reach. */
const BEYOND = 2 ** 52

/** An address from its halves. What lies beyond the bus becomes one address that nothing answers. */
export function virtioAddress(low: number, high: number): number {
  return high >= 0x100000 ? BEYOND : high * 2 ** 32 + low
}

/**
 * Guest memory as a virtio device reads and writes it: any address is allowed, and where nothing answers, reads give all ones and
 * writes vanish, as on the bus.
 */
export class VirtioMemory {
  readonly #bus: PhysicalBus
  readonly #bulk: BulkMemory | undefined

  constructor(bus: PhysicalBus) {
    this.#bus = bus
    const bulk = bus as Partial<BulkMemory>
    this.#bulk = bulk.readBytes !== undefined && bulk.writeBytes !== undefined ? (bulk as BulkMemory) : undefined
  }

  /** Reads 2 bytes. */
  read16(address: number): number {
    return address + 2 > BEYOND ? 0xffff : this.#bus.read16(address)
  }

  /** Reads 4 bytes. */
  read32(address: number): number {
    return address + 4 > BEYOND ? 0xffffffff : this.#bus.read32(address)
  }

  /** Reads a 64-bit address; see `virtioAddress`. */
  readAddress(address: number): number {
    return virtioAddress(this.read32(address), this.read32(address + 4))
  }

  /** Writes 2 bytes. */
  write16(address: number, value: number): void {
    if (address + 2 <= BEYOND) this.#bus.write16(address, value)
  }

  /** Writes 4 bytes. */
  write32(address: number, value: number): void {
    if (address + 4 <= BEYOND) this.#bus.write32(address, value)
  }

  /** Fills `target` from memory. */
  read(address: number, target: Uint8Array): void {
    const reachable = Math.max(0, Math.min(target.length, BEYOND - address))
    if (reachable < target.length) target.fill(0xff, reachable)
    if (reachable === 0) return
    if (this.#bulk !== undefined) {
      this.#bulk.readBytes(address, reachable < target.length ? target.subarray(0, reachable) : target)
      return
    }
    const bus = this.#bus
    let at = 0
    for (; at < reachable && ((address + at) & 3) !== 0; at++) target[at] = bus.read8(address + at)
    for (; at + 4 <= reachable; at += 4) {
      const value = bus.read32(address + at)
      target[at] = value
      target[at + 1] = value >>> 8
      target[at + 2] = value >>> 16
      target[at + 3] = value >>> 24
    }
    for (; at < reachable; at++) target[at] = bus.read8(address + at)
  }

  /** Writes `source` to memory. */
  write(address: number, source: Uint8Array): void {
    const reachable = Math.max(0, Math.min(source.length, BEYOND - address))
    if (reachable === 0) return
    if (this.#bulk !== undefined) {
      this.#bulk.writeBytes(address, reachable < source.length ? source.subarray(0, reachable) : source)
      return
    }
    const bus = this.#bus
    let at = 0
    for (; at < reachable && ((address + at) & 3) !== 0; at++) bus.write8(address + at, source[at]!)
    for (; at + 4 <= reachable; at += 4) {
      const value = source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)
      bus.write32(address + at, value >>> 0)
    }
    for (; at < reachable; at++) bus.write8(address + at, source[at]!)
  }
}
