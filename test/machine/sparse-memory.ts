/** Memory that holds only what was written, so that 4 GiB cost nothing. */
export class SparseMemory {
  private readonly cells = new Map<number, number>()

  read8(address: number): number {
    return this.cells.get(address) ?? 0
  }

  read16(address: number): number {
    return this.read8(address) | (this.read8(address + 1) << 8)
  }

  read32(address: number): number {
    return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0
  }

  write8(address: number, value: number): void {
    this.cells.set(address, value & 0xff)
  }

  write16(address: number, value: number): void {
    this.writeBytes(address, Uint8Array.of(value, value >>> 8))
  }

  write32(address: number, value: number): void {
    this.write16(address, value & 0xffff)
    this.write16(address + 2, value >>> 16)
  }

  writeBytes(address: number, bytes: Uint8Array): void {
    bytes.forEach((byte, n) => {
      if (byte !== 0 || this.cells.has(address + n)) this.cells.set(address + n, byte)
    })
  }

  bytes(address: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, n) => this.read8(address + n))
  }
}
