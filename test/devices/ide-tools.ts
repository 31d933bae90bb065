import type { PhysicalBus } from '../../src/contracts/index.js'

/** Memory of `size` bytes from address 0; reads beyond give all ones, writes there vanish. */
export class MemoryBus implements PhysicalBus {
  readonly bytes: Uint8Array
  /** Accesses so far. */
  accesses = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  read8(address: number): number {
    this.accesses++
    return this.bytes[address] ?? 0xff
  }
  read16(address: number): number {
    return this.read8(address) | (this.read8(address + 1) << 8)
  }
  read32(address: number): number {
    return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0
  }
  write8(address: number, value: number): void {
    this.accesses++
    if (address < this.bytes.length) this.bytes[address] = value
  }
  write16(address: number, value: number): void {
    this.write8(address, value & 0xff)
    this.write8(address + 1, value >>> 8)
  }
  write32(address: number, value: number): void {
    this.write16(address, value & 0xffff)
    this.write16(address + 2, value >>> 16)
  }
}
