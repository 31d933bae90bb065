import type { PortSize } from '../contracts/index.js'

/** A device with an 8-bit data path, as ISA chips have. */
export interface BytePorts {
  readByte(offset: number): number
  writeByte(offset: number, value: number): void
}

/**
 * Reads `size` bytes from a device with an 8-bit data path as the bus converter does: one byte cycle per port, low
 * byte first. Cycles beyond `count` ports find nobody and read all ones.
 */
export function readSplit(device: BytePorts, offset: number, size: PortSize, count: number): number {
  let value = offset < count ? device.readByte(offset) & 0xff : 0xff
  for (let i = 1; i < size; i++) {
    const byte = offset + i < count ? device.readByte(offset + i) & 0xff : 0xff
    value |= byte << (8 * i)
  }
  return value >>> 0
}

/** The write counterpart of {@link readSplit}. */
export function writeSplit(device: BytePorts, offset: number, size: PortSize, count: number, value: number): void {
  for (let i = 0; i < size && offset + i < count; i++) device.writeByte(offset + i, (value >>> (8 * i)) & 0xff)
}
