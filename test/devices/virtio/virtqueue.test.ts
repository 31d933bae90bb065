import { describe, expect, it } from 'vitest'
import { VirtioMemory } from '../../../src/devices/virtio/virtio-memory.js'
import { SeededEntropy, VirtioRng } from '../../../src/devices/virtio/virtio-rng.js'
import { DescriptorChain, Virtqueue } from '../../../src/devices/virtio/virtqueue.js'
import { MemoryBus } from '../ide-tools.js'
import { Driver, Machine } from './driver.js'

const TABLE = 0x1000
const AVAILABLE = 0x2000
const USED = 0x3000
const SIZE = 8

/** A queue of eight over a memory that counts accesses. */
function setup(options: { indirect?: boolean; eventIdx?: boolean; at?: readonly number[] } = {}) {
  const bus = new MemoryBus(0x10000)
  let faults = 0
  const memory = new VirtioMemory(bus)
  const queue = new Virtqueue(memory, SIZE, () => faults++)
  const chain = new DescriptorChain(memory, SIZE)
  queue.indirect = options.indirect ?? true
  queue.eventIdx = options.eventIdx ?? false
  queue.ring.set(options.at ?? [TABLE, 0, AVAILABLE, 0, USED, 0])
  queue.enable()
  let index = 0
  return {
    bus,
    queue,
    chain,
    get faults() {
      return faults
    },
    descriptor(at: number, address: number, length: number, flags: number, next = 0) {
      bus.write32(at, address % 2 ** 32)
      bus.write32(at + 4, Math.floor(address / 2 ** 32))
      bus.write32(at + 8, length)
      bus.write16(at + 12, flags)
      bus.write16(at + 14, next)
    },
    publish(head: number) {
      bus.write16(AVAILABLE + 4 + 2 * (index % SIZE), head)
      index = (index + 1) & 0xffff
      bus.write16(AVAILABLE + 2, index)
    },
  }
}

describe('Virtqueue', () => {
  it('gathers readable bytes and scatters writable ones over a direct and an indirect part', () => {
    const { bus, queue, chain, descriptor, publish } = setup()
    bus.bytes.set([1, 2, 3], 0x8000)
    bus.bytes.set([4, 5], 0x8101)
    descriptor(TABLE + 16 * 3, 0x8000, 3, 1, 5)
    // An indirect descriptor may end a chain; its write flag means nothing.
    descriptor(TABLE + 16 * 5, 0x9000, 64, 4 | 2)
    descriptor(0x9000, 0x8101, 2, 1, 2)
    descriptor(0x9020, 0x8203, 3, 1 | 2, 1)
    descriptor(0x9010, 0x8300, 4, 2)
    publish(3)
    expect(queue.pop(chain)).toBe(true)
    expect([chain.head, chain.readable, chain.writable]).toEqual([3, 5, 7])
    const target = new Uint8Array(8)
    expect(chain.read(1, target)).toBe(4)
    expect([...target.subarray(0, 4)]).toEqual([2, 3, 4, 5])
    expect(chain.write(2, Uint8Array.of(9, 8, 7, 6, 5, 4, 3))).toBe(5)
    expect([...bus.bytes.subarray(0x8203, 0x8206)]).toEqual([0, 0, 9])
    expect([...bus.bytes.subarray(0x8300, 0x8305)]).toEqual([8, 7, 6, 5, 0])
    queue.push(3, 7)
    expect([bus.read16(USED + 2), bus.read32(USED + 4), bus.read32(USED + 8)]).toEqual([1, 3, 7])
    expect(queue.pop(chain)).toBe(false)
  })

  const malformed: Record<string, (s: ReturnType<typeof setup>) => void> = {
    'a head out of range': (s) => s.publish(8),
    'more available than entries': (s) => s.bus.write16(AVAILABLE + 2, 9),
    'an available index that went back': (s) => s.bus.write16(AVAILABLE + 2, 0xffff),
    'a next out of range': (s) => {
      s.descriptor(TABLE, 0x8000, 1, 1, 8)
      s.publish(0)
    },
    'a loop': (s) => {
      s.descriptor(TABLE, 0x8000, 1, 1, 1)
      s.descriptor(TABLE + 16, 0x8000, 1, 1, 0)
      s.publish(0)
    },
    'a buffer of no bytes': (s) => {
      s.descriptor(TABLE, 0x8000, 0, 0)
      s.publish(0)
    },
    'writable before readable': (s) => {
      s.descriptor(TABLE, 0x8000, 1, 1 | 2, 1)
      s.descriptor(TABLE + 16, 0x8000, 1, 0)
      s.publish(0)
    },
    'more than 2^32 bytes': (s) => {
      s.descriptor(TABLE, 0x8000, 0xffffffff, 1, 1)
      s.descriptor(TABLE + 16, 0x8000, 2, 2)
      s.publish(0)
    },
    'an indirect descriptor with a next': (s) => {
      s.descriptor(TABLE, 0x9000, 16, 4 | 1, 1)
      s.descriptor(0x9000, 0x8000, 1, 0)
      s.publish(0)
    },
    'an indirect table of no whole entries': (s) => {
      s.descriptor(TABLE, 0x9000, 24, 4)
      s.descriptor(0x9000, 0x8000, 1, 0)
      s.publish(0)
    },
    'an empty indirect table': (s) => {
      s.descriptor(TABLE, 0x9000, 0, 4)
      s.publish(0)
    },
    'an indirect table in an indirect table': (s) => {
      s.descriptor(TABLE, 0x9000, 16, 4)
      s.descriptor(0x9000, 0x9100, 16, 4)
      s.descriptor(0x9100, 0x8000, 1, 0)
      s.publish(0)
    },
    'a next beyond an indirect table': (s) => {
      s.descriptor(TABLE, 0x9000, 32, 4)
      s.descriptor(0x9000, 0x8000, 1, 1, 2)
      s.publish(0)
    },
    'a loop in an enormous indirect table': (s) => {
      s.descriptor(TABLE, 0x9000, 0xfffffff0, 4)
      s.descriptor(0x9000, 0x8000, 1, 1, 0)
      s.publish(0)
    },
    'an indirect table where nothing is': (s) => {
      s.descriptor(TABLE, 2 ** 40, 16, 4)
      s.publish(0)
    },
    'an indirect table beyond the bus': (s) => {
      s.descriptor(TABLE, 2 ** 52 - 8, 16, 4)
      s.publish(0)
    },
  }
  for (const [name, prepare] of Object.entries(malformed)) {
    it(`reports ${name}, with little work`, () => {
      const s = setup()
      prepare(s)
      s.bus.accesses = 0
      expect(s.queue.pop(s.chain)).toBe(false)
      expect(s.faults).toBe(1)
      expect(s.bus.accesses).toBeLessThan(16 * 20)
      expect(s.bus.read16(USED + 2)).toBe(0)
    })
  }

  it('reports indirect tables that were not negotiated, and rings that are not aligned', () => {
    const s = setup({ indirect: false })
    s.descriptor(TABLE, 0x9000, 16, 4)
    s.descriptor(0x9000, 0x8000, 1, 0)
    s.publish(0)
    expect(s.queue.pop(s.chain)).toBe(false)
    expect(s.faults).toBe(1)
    for (const at of [
      [TABLE + 8, 0, AVAILABLE, 0, USED, 0],
      [TABLE, 0, AVAILABLE + 1, 0, USED, 0],
      [TABLE, 0, AVAILABLE, 0, USED + 2, 0],
    ]) {
      expect(setup({ at }).faults).toBe(1)
    }
  })

  it('takes chains of exactly the queue size and of 2^32 bytes', () => {
    const s = setup()
    for (let i = 0; i < 8; i++) s.descriptor(TABLE + 16 * i, 0x8000, 2 ** 29, i === 7 ? 0 : 1, i + 1)
    s.publish(0)
    expect(s.queue.pop(s.chain)).toBe(true)
    expect(s.chain.readable).toBe(2 ** 32)
  })

  it('interrupts by the flag, or when the used index passes the event', () => {
    const s = setup()
    s.descriptor(TABLE, 0x8000, 1, 0)
    const use = (): void => {
      s.publish(0)
      expect(s.queue.pop(s.chain)).toBe(true)
      s.queue.push(0, 0)
    }
    expect(s.queue.takeInterrupt()).toBe(false)
    use()
    expect(s.queue.takeInterrupt()).toBe(true)
    expect(s.queue.takeInterrupt()).toBe(false)
    s.bus.write16(AVAILABLE, 1)
    use()
    expect(s.queue.takeInterrupt()).toBe(false)

    const e = setup({ eventIdx: true })
    e.descriptor(TABLE, 0x8000, 1, 0)
    const event = (value: number): void => e.bus.write16(AVAILABLE + 4 + 2 * SIZE, value)
    const step = (): boolean => {
      e.publish(0)
      e.queue.pop(e.chain)
      e.queue.push(0, 0)
      return e.queue.takeInterrupt()
    }
    expect(step()).toBe(true) // the first is always told
    event(3)
    expect([step(), step(), step(), step()]).toEqual([false, false, true, false])
    // Across the wrap of the index.
    event(0xffff)
    let told = 0
    for (let used = 5; used < 0x10002; used++) if (step()) told = used + 1
    expect(told).toBe(0x10000)
  })

  it('asks for notifications by flag or by event index', () => {
    const s = setup()
    s.queue.expectNotifications(false)
    expect(s.bus.read16(USED)).toBe(1)
    s.queue.expectNotifications(true)
    expect(s.bus.read16(USED)).toBe(0)
    const e = setup({ eventIdx: true })
    e.descriptor(TABLE, 0x8000, 1, 0)
    for (let i = 0; i < 3; i++) e.publish(0)
    for (let i = 0; i < 3; i++) e.queue.pop(e.chain)
    e.queue.expectNotifications(true)
    expect(e.bus.read16(USED + 4 + 8 * SIZE)).toBe(3)
    expect(e.bus.read16(USED)).toBe(0)
  })

  it('makes the device ask for a reset, once, and stop until it gets one', () => {
    const machine = new Machine()
    machine.plug(new VirtioRng({ memory: machine.memory, clock: machine.clock, source: new SeededEntropy(1) }), false)
    const driver = new Driver(machine)
    let ring = driver.start()[0]!
    ring.publish(500)
    ring.force()
    machine.clock.advance(10000)
    expect(driver.status).toBe(0x4f)
    expect(driver.readIsr()).toBe(2)
    ring.offer([{ address: 0x8000, length: 16, write: true }])
    ring.force()
    machine.clock.advance(10000)
    expect([ring.collect().length, driver.readIsr(), machine.clock.scheduled]).toEqual([0, 0, 0])
    ring = driver.start()[0]!
    ring.offer([{ address: 0x8000, length: 16, write: true }])
    ring.force()
    machine.clock.advance(10000)
    expect(ring.collect()).toHaveLength(1)
    expect(driver.status).toBe(15)
  })
})
