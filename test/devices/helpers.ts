import fc from 'fast-check'
import type { IrqLine, PhysicalBus, PortDevice, PortSize } from '../../src/contracts/index.js'
import type { ManualClock } from '../manual-clock.js'

/** An interrupt line that remembers its level and counts its rising edges. */
export class Line implements IrqLine {
  level = false
  edges = 0
  setLevel(asserted: boolean): void {
    if (asserted && !this.level) this.edges++
    this.level = asserted
  }
}

/** A small guest memory; beyond it, nothing answers. */
export class Memory implements PhysicalBus {
  readonly bytes: Uint8Array
  writes = 0
  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }
  read8(address: number): number {
    return this.bytes[address] ?? 0xff
  }
  read16(address: number): number {
    return this.read8(address) | (this.read8(address + 1) << 8)
  }
  read32(address: number): number {
    return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0
  }
  write8(address: number, value: number): void {
    this.writes++
    if (address < this.bytes.length) this.bytes[address] = value
  }
  write16(address: number, value: number): void {
    this.write8(address, value & 0xff)
    this.write8(address + 1, (value >>> 8) & 0xff)
  }
  write32(address: number, value: number): void {
    this.write16(address, value & 0xffff)
    this.write16(address + 2, value >>> 16)
  }
}

/** Random traffic: accesses of every size at offsets of a device, and passing time. */
export interface Traffic {
  readonly write: boolean
  readonly offset: number
  readonly size: PortSize
  readonly value: number
  readonly advance: number
}

export function traffic(ports: number, maxLength = 200): fc.Arbitrary<Traffic[]> {
  return fc.array(
    fc.record({
      write: fc.boolean(),
      offset: fc.nat(ports - 1),
      size: fc.constantFrom<PortSize>(1, 1, 1, 2, 4),
      value: fc.oneof(fc.nat(0xff), fc.nat(0xffffffff)),
      advance: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(20_000_000)),
    }),
    { maxLength },
  )
}

/** Runs the traffic and returns what was read; fails when a value does not fit its size or alarms pile up. */
export function drive(device: PortDevice, clock: ManualClock, list: readonly Traffic[]): number[] {
  const seen: number[] = []
  for (const step of list) {
    const limit = 2 ** (8 * step.size)
    if (step.write) device.writePort(step.offset, step.size, step.value % limit)
    else {
      const value = device.readPort(step.offset, step.size)
      if (!Number.isInteger(value) || value < 0 || value >= limit) throw new Error(`read ${value} of size ${step.size}`)
      seen.push(value)
    }
    if (step.advance > 0) clock.advance(step.advance)
    if (clock.scheduled > 12) throw new Error(`${clock.scheduled} alarms`)
  }
  return seen
}
