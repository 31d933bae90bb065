import type { MmioSize } from '../../../src/contracts/index.js'
import { PciBus } from '../../../src/devices/pci.js'
import type { VirtioDevice } from '../../../src/devices/virtio/virtio-device.js'
import { VirtioPci } from '../../../src/devices/virtio/virtio-pci.js'
import { AddressSpace, type Overlay } from '../../../src/memory/index.js'
import { ManualClock } from '../../manual-clock.js'

/** Bytes of RAM of a test machine. */
export const RAM = 0x100000
// Low, so that the page maps of the many machines of these tests stay small.
export const REGISTERS = 0x400000
export const MSIX_TABLE = 0x410000

/** Memory, a clock and a PCI bus, to put devices into. */
export class Machine {
  readonly clock = new ManualClock()
  readonly memory = new AddressSpace({ size: RAM })
  readonly bus = new PciBus()
  /** Level of INTA#–INTD# of device 5. */
  readonly intx = [false, false, false, false]
  /** Messages sent, outside of RAM. */
  readonly messages: { address: number; data: number }[] = []
  fn!: VirtioPci

  constructor() {
    this.bus.setRouter({ setIntx: (_device, pin, asserted) => (this.intx[pin] = asserted) })
  }

  /** Plugs a device in, with its windows assigned. */
  plug(device: VirtioDevice, messages = true): VirtioPci {
    const overlays = new Map<string, Overlay>()
    this.fn = new VirtioPci({
      device,
      placer: {
        place: (window, base, size, target) =>
          overlays.set(window, this.memory.addOverlay({ base, size, device: target })),
        remove: (window) => {
          overlays.get(window)?.remove()
          overlays.delete(window)
        },
      },
      ...(messages
        ? {
            messages: {
              writeMessage: (address: number, data: number) => {
                if (address >>> 20 === 0xfee) this.messages.push({ address, data })
                else this.memory.write32(address, data)
              },
            },
          }
        : {}),
    })
    this.bus.add(5, 0, this.fn)
    this.fn.writeConfig(0x14, 4, MSIX_TABLE)
    this.fn.writeConfig(0x20, 4, REGISTERS)
    this.fn.writeConfig(4, 2, 6)
    return this.fn
  }
}

/** One buffer of a chain. */
export interface Piece {
  readonly address: number
  readonly length: number
  readonly write: boolean
}

const NEXT = 1
const WRITE = 2
const INDIRECT = 4

/** A virtqueue from the driver's side, written after the specification and not after the device. */
export class Ring {
  readonly driver: Driver
  readonly index: number
  readonly size: number
  readonly descriptors: number
  readonly available: number
  readonly used: number
  readonly notifyAddress: number
  private free: number[]
  private availableIndex = 0
  private usedIndex = 0
  /** Descriptors of each chain in flight, by head. */
  readonly flying = new Map<number, number[]>()
  eventIdx = false

  constructor(driver: Driver, index: number, size: number, base: number) {
    this.driver = driver
    this.index = index
    this.size = size
    this.descriptors = base
    this.available = base + 16 * size
    this.used = (this.available + 4 + 2 * size + 2 + 3) & ~3
    this.free = Array.from({ length: size }, (_, i) => size - 1 - i)
    const { machine } = driver
    for (let at = base; at < this.end; at += 4) machine.memory.write32(at, 0)
    driver.put(0x16, 2, index)
    driver.put(0x18, 2, size)
    driver.put(0x20, 4, base)
    driver.put(0x24, 4, 0)
    driver.put(0x28, 4, this.available)
    driver.put(0x2c, 4, 0)
    driver.put(0x30, 4, this.used)
    driver.put(0x34, 4, 0)
    this.notifyAddress = driver.notify + driver.get(0x1e, 2) * driver.notifyMultiplier
  }

  get end(): number {
    return this.used + 4 + 8 * this.size + 2
  }

  enable(): void {
    this.driver.put(0x16, 2, this.index)
    this.driver.put(0x1c, 2, 1)
  }

  descriptor(at: number, address: number, length: number, flags: number, next: number): void {
    const { memory } = this.driver.machine
    memory.write32(at, address % 2 ** 32)
    memory.write32(at + 4, Math.floor(address / 2 ** 32))
    memory.write32(at + 8, length)
    memory.write16(at + 12, flags)
    memory.write16(at + 14, next)
  }

  /** Makes a chain available; with `table`, through an indirect table there. Returns its head, or −1 when the queue is full. */
  offer(pieces: readonly Piece[], table?: number): number {
    const needed = table === undefined ? pieces.length : 1
    if (this.free.length < needed) return -1
    const taken = Array.from({ length: needed }, () => this.free.pop()!)
    const write = (i: number, at: number, next: number): void => {
      const { address, length, write } = pieces[i]!
      const last = i === pieces.length - 1
      this.descriptor(at, address, length, (write ? WRITE : 0) | (last ? 0 : NEXT), last ? 0 : next)
    }
    if (table === undefined) {
      pieces.forEach((_, i) => {
        write(i, this.descriptors + 16 * taken[i]!, taken[i + 1] ?? 0)
      })
    } else {
      pieces.forEach((_, i) => {
        write(i, table + 16 * i, i + 1)
      })
      // The write flag of an indirect descriptor means nothing.
      this.descriptor(this.descriptors + 16 * taken[0]!, table, 16 * pieces.length, INDIRECT | WRITE, 0)
    }
    this.publish(taken[0]!)
    this.flying.set(taken[0]!, taken)
    return taken[0]!
  }

  /** Puts a head into the available ring, good or not. */
  publish(head: number): void {
    const { memory } = this.driver.machine
    memory.write16(this.available + 4 + 2 * (this.availableIndex % this.size), head)
    this.availableIndex = (this.availableIndex + 1) % 65536
    memory.write16(this.available + 2, this.availableIndex)
  }

  /** Notifies the device if it wants to be for the last `count` chains offered; returns whether it did. */
  kick(count = 1): boolean {
    const { memory } = this.driver.machine
    if (this.eventIdx) {
      const event = memory.read16(this.used + 4 + 8 * this.size)
      const old = (this.availableIndex - count) & 0xffff
      if (((this.availableIndex - event - 1) & 0xffff) >= ((this.availableIndex - old) & 0xffff)) return false
    } else if ((memory.read16(this.used) & 1) !== 0) return false
    this.force()
    return true
  }

  force(): void {
    this.driver.machine.memory.write16(this.notifyAddress, this.index)
  }

  /** Asks for an interrupt when `after` more chains than were taken so far have been used. */
  wantInterrupt(after: number): void {
    const event = (this.usedIndex + after - 1) & 0xffff
    this.driver.machine.memory.write16(this.available + 4 + 2 * this.size, event)
  }

  /** Takes what the device has used. */
  collect(): { head: number; written: number }[] {
    const { memory } = this.driver.machine
    const list: { head: number; written: number }[] = []
    while (memory.read16(this.used + 2) !== this.usedIndex) {
      const at = this.used + 4 + 8 * (this.usedIndex % this.size)
      const head = memory.read32(at)
      const taken = this.flying.get(head)
      if (taken === undefined) throw new Error(`the device used ${head}, which was not offered`)
      this.flying.delete(head)
      this.free.push(...taken)
      this.usedIndex = (this.usedIndex + 1) % 65536
      list.push({ head, written: memory.read32(at + 4) })
    }
    return list
  }
}

/** A minimal driver: finds the structures by the capability list, and brings a device up. */
export class Driver {
  readonly machine: Machine
  common = 0
  notify = 0
  notifyMultiplier = 0
  isr = 0
  config = 0
  readonly rings: Ring[] = []

  constructor(machine: Machine) {
    this.machine = machine
    const { fn } = machine
    for (let at = fn.readConfig(0x34, 1); at !== 0; at = fn.readConfig(at + 1, 1)) {
      if (fn.readConfig(at, 1) !== 9) continue
      const bar = fn.readConfig(at + 4, 1)
      const base = (fn.readConfig(0x10 + 4 * bar, 4) & ~15) >>> 0
      const address = base + fn.readConfig(at + 8, 4)
      const type = fn.readConfig(at + 3, 1)
      if (type === 1) this.common = address
      if (type === 2) {
        this.notify = address
        this.notifyMultiplier = fn.readConfig(at + 16, 4)
      }
      if (type === 3) this.isr = address
      if (type === 4) this.config = address
    }
  }

  get(offset: number, size: MmioSize): number {
    const { memory } = this.machine
    const at = this.common + offset
    return size === 1 ? memory.read8(at) : size === 2 ? memory.read16(at) : memory.read32(at)
  }

  put(offset: number, size: MmioSize, value: number): void {
    const { memory } = this.machine
    const at = this.common + offset
    if (size === 1) memory.write8(at, value)
    else if (size === 2) memory.write16(at, value)
    else memory.write32(at, value)
  }

  get status(): number {
    return this.get(0x14, 1)
  }

  offered(): bigint {
    let features = 0n
    for (let word = 0; word < 2; word++) {
      this.put(0, 4, word)
      features |= BigInt(this.get(4, 4)) << BigInt(32 * word)
    }
    return features
  }

  accept(features: bigint): void {
    for (let word = 0; word < 2; word++) {
      this.put(8, 4, word)
      this.put(12, 4, Number((features >> BigInt(32 * word)) & 0xffffffffn))
    }
  }

  /** Negotiates everything offered but `without`; returns whether the device agreed. */
  negotiate(without: readonly number[] = []): boolean {
    this.put(0x14, 1, 0)
    this.put(0x14, 1, 1)
    this.put(0x14, 1, 3)
    let features = this.offered()
    for (const bit of without) features &= ~(1n << BigInt(bit))
    this.accept(features)
    this.put(0x14, 1, 11)
    return (this.status & 8) !== 0
  }

  /** Brings the device up with queues of `size` entries, laid out from `base` on. */
  start(options: { without?: readonly number[]; size?: number; base?: number; queues?: number } = {}): Ring[] {
    const { without = [], size = 8, base = 0x1000 } = options
    if (!this.negotiate(without)) throw new Error('the device refused the features')
    this.rings.length = 0
    let at = base
    for (let i = 0; i < (options.queues ?? this.get(0x12, 2)); i++) {
      const ring = new Ring(this, i, size, at)
      ring.eventIdx = !without.includes(29)
      ring.enable()
      this.rings.push(ring)
      at = (ring.end + 15) & ~15
    }
    this.put(0x14, 1, 15)
    return this.rings
  }

  /** Reads and so clears the interrupt status. */
  readIsr(): number {
    return this.machine.memory.read8(this.isr)
  }
}

/** Whether two byte arrays are equal; the test runner's own comparison is slow on large ones. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** All of RAM. */
export function ram(machine: Machine): Uint8Array {
  const bytes = new Uint8Array(RAM)
  machine.memory.readBytes(0, bytes)
  return bytes
}
