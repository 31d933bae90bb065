import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MmioSize, PhysicalBus } from '../../../src/contracts/index.js'
import { NetworkLoop } from '../../../src/devices/virtio/network-hub.js'
import { VirtioBlock } from '../../../src/devices/virtio/virtio-block.js'
import { VirtioConsole } from '../../../src/devices/virtio/virtio-console.js'
import type { VirtioDevice, VirtioDeviceOptions } from '../../../src/devices/virtio/virtio-device.js'
import { VirtioNet } from '../../../src/devices/virtio/virtio-net.js'
import { SeededEntropy, VirtioRng } from '../../../src/devices/virtio/virtio-rng.js'
import { runs } from '../../runs.js'
import { TestDisk } from '../ata-tools.js'
import { Driver, Machine, MSIX_TABLE, RAM, REGISTERS } from './driver.js'

/** The machine's memory with a count of accesses; bytes moved in bulk count too. */
class Counting implements PhysicalBus {
  accesses = 0
  readonly target: Machine['memory']
  constructor(target: Machine['memory']) {
    this.target = target
  }
  read8(address: number): number {
    this.accesses++
    return this.target.read8(check(address))
  }
  read16(address: number): number {
    this.accesses++
    return this.target.read16(check(address))
  }
  read32(address: number): number {
    this.accesses++
    return this.target.read32(check(address))
  }
  write8(address: number, value: number): void {
    this.accesses++
    this.target.write8(check(address), value)
  }
  write16(address: number, value: number): void {
    this.accesses++
    this.target.write16(check(address), value)
  }
  write32(address: number, value: number): void {
    this.accesses++
    this.target.write32(check(address), value)
  }
}

function check(address: number): number {
  if (!Number.isSafeInteger(address) || address < 0 || address >= 2 ** 52) throw new Error(`DMA at ${address}`)
  return address
}

const KINDS: Record<string, (options: VirtioDeviceOptions) => VirtioDevice> = {
  block: (options) => new VirtioBlock({ ...options, backend: new TestDisk(256) }),
  console: (options) =>
    new VirtioConsole({ ...options, ports: [{ output: () => {} }, { output: () => {}, name: 'second' }] }),
  entropy: (options) => new VirtioRng({ ...options, source: new SeededEntropy(5) }),
  network: (options) => new VirtioNet({ ...options, backend: new NetworkLoop(), mac: Uint8Array.of(2, 0, 0, 0, 0, 1) }),
}

interface Descriptor {
  readonly slot: number
  readonly address: number
  readonly length: number
  readonly flags: number
  readonly next: number
}

/** Interesting addresses: in the rings, in RAM, in the device's own windows, beyond RAM and beyond the bus. */
const address = fc.oneof(
  fc.nat(0x3fff).map((at) => 0x1000 + at),
  fc.nat(RAM + 0x1000),
  fc.constantFrom(REGISTERS, REGISTERS + 0x14, REGISTERS + 0x3000, MSIX_TABLE + 12, 0xffffffff, 2 ** 40, 2 ** 52 - 4),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(Number),
)
const length = fc.oneof(fc.nat(64), fc.nat(0x2000), fc.constantFrom(0, 1, 16, 512, 0x100000, 0x7fffffff, 0xffffffff))
const descriptor: fc.Arbitrary<Descriptor> = fc.record({
  slot: fc.nat(15),
  address,
  length,
  flags: fc.oneof(fc.nat(7), fc.nat(0xffff)),
  next: fc.oneof(fc.nat(7), fc.nat(0xffff)),
})

type Step =
  | { readonly kind: 'descriptor'; readonly value: Descriptor; readonly table: number }
  | {
      readonly kind: 'request'
      readonly queue: number
      readonly type: number
      readonly sector: number
      readonly at: number
    }
  | { readonly kind: 'publish'; readonly queue: number; readonly head: number; readonly jump: number }
  | { readonly kind: 'register'; readonly offset: number; readonly size: MmioSize; readonly value: number }
  | { readonly kind: 'config'; readonly register: number; readonly size: MmioSize; readonly value: number }
  | { readonly kind: 'memory'; readonly at: number; readonly value: number }
  | { readonly kind: 'kick'; readonly queue: number }
  | { readonly kind: 'time'; readonly ns: number }
  | { readonly kind: 'restart' }

const size = fc.constantFrom<MmioSize>(1, 2, 4)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('descriptor' as const), value: descriptor, table: fc.nat(3) }),
  fc.record({
    kind: fc.constant('request' as const),
    queue: fc.nat(3),
    type: fc.oneof(fc.constantFrom(0, 1, 4, 8, 11, 13), fc.nat(0xffffffff)),
    sector: fc.oneof(fc.nat(300), fc.nat(0xffffffff)),
    at: fc.nat(0xffff),
  }),
  fc.record({
    kind: fc.constant('publish' as const),
    queue: fc.nat(3),
    head: fc.oneof({ weight: 6, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    jump: fc.oneof(
      { weight: 8, arbitrary: fc.constant(1) },
      { weight: 2, arbitrary: fc.nat(8) },
      { weight: 1, arbitrary: fc.nat(0xffff) },
    ),
  }),
  fc.record({
    kind: fc.constant('register' as const),
    offset: fc.oneof(fc.nat(0x3f), fc.nat(0x3fff)),
    size,
    value: fc.nat(0xffffffff),
  }),
  fc.record({ kind: fc.constant('config' as const), register: fc.nat(0xff), size, value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('memory' as const), at: fc.nat(0x3fff), value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('kick' as const), queue: fc.nat(5) }),
  fc.record({ kind: fc.constant('kick' as const), queue: fc.nat(2) }),
  fc.record({ kind: fc.constant('time' as const), ns: fc.constantFrom(1, 6000, 50_000) }),
  fc.constant<Step>({ kind: 'restart' }),
)

describe('virtio devices under fire', () => {
  for (const [name, make] of Object.entries(KINDS)) {
    it(`${name}: random rings and registers never throw, and work is bounded`, () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
          const machine = new Machine()
          const bus = new Counting(machine.memory)
          const device = make({ memory: bus, clock: machine.clock })
          const fn = machine.plug(device)
          let driver = new Driver(machine)
          driver.start()
          const indices = [0, 0, 0, 0, 0, 0]
          const { memory } = machine
          const rings = [...driver.rings]
          for (const s of steps) {
            const ring = 'queue' in s ? rings[s.queue % rings.length]! : rings[0]!
            switch (s.kind) {
              case 'descriptor': {
                const { slot, address, length, flags, next } = s.value
                const tables = [...rings.map((r) => r.descriptors), 0x3000]
                const at = tables[s.table % tables.length]! + 16 * slot
                memory.write32(at, address % 2 ** 32)
                memory.write32(at + 4, Math.floor(address / 2 ** 32) % 2 ** 32)
                memory.write32(at + 8, length)
                memory.write16(at + 12, flags)
                memory.write16(at + 14, next)
                break
              }
              case 'request': {
                // A chain that is nearly right, so that the device gets beyond the ring.
                const at = 0x8000 + s.at
                memory.write32(at, s.type)
                memory.write32(at + 8, s.sector)
                memory.write32(at + 12, 0)
                ring.descriptor(ring.descriptors, at, 16, 1, 1)
                ring.descriptor(ring.descriptors + 16, s.at * 7, 512 * (1 + (s.sector % 5)), s.type === 1 ? 1 : 3, 2)
                ring.descriptor(ring.descriptors + 32, at + 16, 1, 2, 0)
                break
              }
              case 'publish': {
                const index = indices[ring.index]!
                memory.write16(ring.available + 4 + 2 * (index & 7), s.head)
                indices[ring.index] = (index + s.jump) & 0xffff
                memory.write16(ring.available + 2, indices[ring.index]!)
                ring.force()
                break
              }
              case 'register':
                if (s.size === 1) memory.write8(REGISTERS + s.offset, s.value & 0xff)
                else if (s.size === 2) memory.write16(REGISTERS + s.offset, s.value & 0xffff)
                else memory.write32(REGISTERS + s.offset, s.value)
                memory.read32((REGISTERS + s.offset) & ~3)
                break
              case 'config':
                // The base addresses stay, so that what follows still reaches the device.
                if (s.register < 0x10 || s.register >= 0x28) fn.writeConfig(s.register, s.size, s.value)
                fn.readConfig(s.register, s.size)
                fn.writeConfig(4, 2, 6)
                break
              case 'memory':
                memory.write32(0x1000 + s.at, s.value)
                break
              case 'kick':
                memory.write16(REGISTERS + 0x3000 + 4 * s.queue, s.queue)
                break
              case 'restart':
                driver = new Driver(machine)
                driver.start()
                rings.splice(0, rings.length, ...driver.rings)
                indices.fill(0)
                break
              case 'time': {
                const fired = machine.clock.fired
                bus.accesses = 0
                machine.clock.advance(s.ns)
                // A mebibyte as bytes would be 2^20 accesses; chains and rings come on top.
                expect(bus.accesses).toBeLessThanOrEqual((machine.clock.fired - fired) * 1_200_000)
                expect(machine.clock.fired - fired).toBeLessThan(64)
                break
              }
            }
            expect(machine.clock.scheduled).toBeLessThanOrEqual(1)
          }
          // Whatever happened, saved state is valid and a reset makes the device whole.
          fn.loadState(structuredClone(fn.saveState()))
          fn.reset()
          fn.writeConfig(0x14, 4, MSIX_TABLE)
          fn.writeConfig(0x20, 4, REGISTERS)
          fn.writeConfig(4, 2, 6)
          new Driver(machine).start()
          machine.clock.advance(1e6)
          expect(device.status).toBe(15)
        }),
        { numRuns: runs(100) },
      )
    })
  }

  it('survives messages aimed at its own registers and table', () => {
    const machine = new Machine()
    const device = new VirtioRng({ memory: machine.memory, clock: machine.clock, source: new SeededEntropy(5) })
    const fn = machine.plug(device)
    const driver = new Driver(machine)
    let msix = fn.readConfig(0x34, 1)
    while (fn.readConfig(msix, 1) !== 0x11) msix = fn.readConfig(msix + 1, 1)
    for (const [target, data] of [
      [REGISTERS + 0x14, 0],
      [REGISTERS + 0x3000, 0],
      [MSIX_TABLE + 12, 1],
      [MSIX_TABLE + 28, 0],
    ] as const) {
      const ring = driver.start()[0]!
      fn.writeConfig(msix + 2, 2, 0x8000)
      driver.put(0x10, 2, 1)
      driver.put(0x16, 2, 0)
      driver.put(0x1a, 2, 0)
      for (const vector of [0, 1]) {
        machine.memory.write32(MSIX_TABLE + 16 * vector, target)
        machine.memory.write32(MSIX_TABLE + 16 * vector + 8, data)
        machine.memory.write32(MSIX_TABLE + 16 * vector + 12, 0)
      }
      ring.offer([{ address: 0x8000, length: 4, write: true }])
      ring.force()
      machine.clock.advance(1e5)
      expect([ring.collect().length, driver.status]).toEqual([1, 15])
      ring.publish(99)
      ring.force()
      machine.clock.advance(1e5)
      expect(driver.status).toBe(0x4f)
    }
  })
})
