import { describe, expect, it } from 'vitest'
import type { VirtioPciState } from '../../../src/devices/virtio/virtio-pci.js'
import { SeededEntropy, VirtioRng } from '../../../src/devices/virtio/virtio-rng.js'
import { Driver, Machine, MSIX_TABLE, REGISTERS, ram, sameBytes } from './driver.js'

function setup(messages = true) {
  const machine = new Machine()
  const device = new VirtioRng({ memory: machine.memory, clock: machine.clock, source: new SeededEntropy(1) })
  const fn = machine.plug(device, messages)
  return { machine, device, fn, driver: new Driver(machine) }
}

describe('VirtioPci', () => {
  it('is a non-transitional device with all five structures and MSI-X', () => {
    const { fn } = setup()
    expect(fn.readConfig(0, 4)).toBe(0x10441af4)
    expect(fn.readConfig(8, 1)).toBe(1)
    expect(fn.readConfig(0x2c, 4)).toBe(0x11001af4)
    expect(fn.readConfig(0x3d, 1)).toBe(1)
    const types: number[] = []
    let msix = 0
    for (let at = fn.readConfig(0x34, 1); at !== 0; at = fn.readConfig(at + 1, 1)) {
      if (fn.readConfig(at, 1) === 9) types.push(fn.readConfig(at + 3, 1))
      else msix = fn.readConfig(at, 1)
    }
    expect(types.sort()).toEqual([1, 2, 3, 4, 5])
    expect(msix).toBe(0x11)
    expect(setup(false).fn.readConfig(0x34, 1)).toBe(0x40)
  })

  it('walks through the status bits; zero resets', () => {
    const { driver } = setup()
    expect(driver.status).toBe(0)
    // DRIVER_OK needs FEATURES_OK, and NEEDS_RESET is not the driver's.
    driver.put(0x14, 1, 0x47)
    expect(driver.status).toBe(3)
    expect(driver.negotiate()).toBe(true)
    driver.put(0x14, 1, 15)
    expect(driver.status).toBe(15)
    driver.put(0x14, 1, 1)
    expect(driver.status).toBe(15)
    driver.put(0x14, 1, 0x80)
    expect(driver.status).toBe(0x8f)
    driver.put(0x14, 1, 0)
    expect(driver.status).toBe(0)
  })

  it('refuses FEATURES_OK without VERSION_1, or with a feature that was not offered', () => {
    const { driver } = setup()
    expect(driver.offered() & (1n << 32n)).toBe(1n << 32n)
    expect(driver.negotiate([32])).toBe(false)
    expect(driver.status).toBe(3)
    driver.put(0x14, 1, 0)
    driver.put(0x14, 1, 3)
    driver.accept(driver.offered() | (1n << 50n))
    driver.put(0x14, 1, 11)
    expect(driver.status).toBe(3)
    driver.put(8, 4, 2)
    driver.accept(driver.offered())
    driver.put(8, 4, 3)
    driver.put(12, 4, 1)
    driver.put(0x14, 1, 11)
    expect(driver.status).toBe(3)
    expect(driver.negotiate()).toBe(true)
    // From then on the choice stands.
    driver.accept(0n)
    driver.put(8, 4, 1)
    expect(driver.get(12, 4) & 1).toBe(1)
  })

  it('keeps its queue registers, legal values only', () => {
    const { driver } = setup()
    driver.put(0x14, 1, 3)
    expect(driver.get(0x12, 2)).toBe(1)
    expect(driver.get(0x18, 2)).toBe(8)
    for (const [size, then] of [
      [4, 4],
      [3, 4],
      [0, 4],
      [16, 4],
      [1, 1],
    ] as const) {
      driver.put(0x18, 2, size)
      expect(driver.get(0x18, 2)).toBe(then)
    }
    driver.put(0x20, 4, 0x12345670)
    driver.put(0x26, 2, 0x1122)
    driver.put(0x24, 1, 0x77)
    expect([driver.get(0x20, 4), driver.get(0x24, 4)]).toEqual([0x12345670, 0x11220077])
    expect(driver.get(0x22, 2)).toBe(0x1234)
    // A queue that does not exist reads zeros.
    driver.put(0x16, 2, 1)
    for (let at = 0x18; at < 0x3c; at += 4) expect(driver.get(at, 4)).toBe(0)
    driver.put(0x18, 2, 4)
    driver.put(0x1c, 2, 1)
    // A doubleword write covers status, generation and queue selector.
    driver.put(0x14, 4, 0x0000ff00)
    expect([driver.status, driver.get(0x16, 2), driver.get(0x18, 2)]).toEqual([0, 0, 8])
  })

  it('interrupts by INTA# with the ISR, cleared by reading', () => {
    const { machine, driver } = setup(false)
    const [ring] = driver.start()
    ring!.offer([{ address: 0x8000, length: 16, write: true }])
    ring!.kick()
    expect(machine.intx[0]).toBe(false)
    machine.clock.advance(5000)
    expect(machine.intx[0]).toBe(true)
    expect(machine.fn.readConfig(6, 2) & 8).toBe(8)
    expect(driver.readIsr()).toBe(1)
    expect(machine.intx[0]).toBe(false)
    expect(driver.readIsr()).toBe(0)
    expect(ring!.collect()).toEqual([{ head: 0, written: 16 }])
  })

  it('interrupts by MSI-X; vectors that do not exist read back as none', () => {
    const { machine, fn, driver } = setup()
    let msix = fn.readConfig(0x34, 1)
    while (fn.readConfig(msix, 1) !== 0x11) msix = fn.readConfig(msix + 1, 1)
    expect(fn.readConfig(msix + 2, 2) & 0x7ff).toBe(1) // two vectors
    fn.writeConfig(msix + 2, 2, 0x8000)
    for (const [n, data] of [
      [0, 0x41],
      [1, 0x42],
    ] as const) {
      machine.memory.write32(MSIX_TABLE + 16 * n, 0xfee01000)
      machine.memory.write32(MSIX_TABLE + 16 * n + 8, data)
      machine.memory.write32(MSIX_TABLE + 16 * n + 12, 0)
    }
    const [ring] = driver.start()
    driver.put(0x10, 2, 0)
    driver.put(0x16, 2, 0)
    driver.put(0x1a, 2, 2)
    expect(driver.get(0x1a, 2)).toBe(0xffff)
    driver.put(0x1a, 2, 1)
    expect(driver.get(0x1a, 2)).toBe(1)
    ring!.offer([{ address: 0x8000, length: 16, write: true }])
    ring!.kick()
    machine.clock.advance(5000)
    expect(machine.messages).toEqual([{ address: 0xfee01000, data: 0x42 }])
    expect([machine.intx[0], driver.readIsr()]).toEqual([false, 0])
    // A broken ring tells by the configuration vector.
    ring!.publish(99)
    ring!.force()
    machine.clock.advance(20000)
    expect(driver.status).toBe(0x4f)
    expect(machine.messages[1]).toEqual({ address: 0xfee01000, data: 0x41 })
  })

  it('can be reached through configuration space alone', () => {
    const { fn, driver } = setup()
    driver.put(0x14, 1, 3)
    let access = fn.readConfig(0x34, 1)
    while (fn.readConfig(access, 1) !== 9 || fn.readConfig(access + 3, 1) !== 5) access = fn.readConfig(access + 1, 1)
    fn.writeConfig(4, 2, 0)
    fn.writeConfig(access + 4, 1, 4)
    fn.writeConfig(access + 8, 4, 0x14)
    fn.writeConfig(access + 12, 4, 1)
    expect(fn.readConfig(access + 16, 1)).toBe(3)
    fn.writeConfig(access + 16, 4, 0)
    fn.writeConfig(access + 12, 4, 4)
    fn.writeConfig(access + 8, 4, 0x18)
    expect(fn.readConfig(access + 16, 4)).toBe(0xffff0008)
    // What does not exist is left alone: bad length, odd offset, another BAR, beyond the window.
    for (const [bar, offset, length] of [
      [4, 0x14, 3],
      [4, 0x15, 2],
      [1, 0x14, 1],
      [4, 0x3ffe, 4],
      [4, 0xfffffffc, 4],
    ] as const) {
      fn.writeConfig(access + 4, 1, bar)
      fn.writeConfig(access + 8, 4, offset)
      fn.writeConfig(access + 12, 4, length)
      fn.writeConfig(access + 16, 4, 0x5a5a5a5a)
      expect(fn.readConfig(access + 16, 4)).toBe(0x5a5a5a5a)
    }
  })

  it('waits until it may master the bus', () => {
    const { machine, fn, driver } = setup()
    const [ring] = driver.start()
    fn.writeConfig(4, 2, 2)
    ring!.offer([{ address: 0x8000, length: 16, write: true }])
    ring!.kick()
    machine.clock.advance(1e6)
    expect(ring!.collect()).toEqual([])
    expect(machine.clock.scheduled).toBe(0)
    fn.writeConfig(4, 2, 6)
    machine.clock.advance(1e6)
    expect(ring!.collect()).toHaveLength(1)
  })

  it('does not answer itself: DMA into its own window reads ones and writes nothing', () => {
    const { machine, driver } = setup()
    const [ring] = driver.start()
    ring!.offer([{ address: REGISTERS, length: 0x3c, write: true }])
    ring!.kick()
    machine.clock.advance(5000)
    expect(driver.status).toBe(15)
    expect(ring!.collect()).toEqual([{ head: 0, written: 0x3c }])
    // A table in the window is all ones: malformed.
    ring!.offer([{ address: 0, length: 16, write: true }], REGISTERS)
    ring!.force()
    machine.clock.advance(50000)
    expect(driver.status).toBe(0x4f)
  })

  it('resets a single queue', () => {
    const { machine, driver } = setup()
    const [ring] = driver.start()
    ring!.offer([{ address: 0x8000, length: 16, write: true }])
    ring!.kick()
    driver.put(0x16, 2, 0)
    driver.put(0x3a, 2, 1)
    expect([driver.get(0x3a, 2), driver.get(0x1c, 2), driver.get(0x18, 2)]).toEqual([0, 0, 8])
    machine.clock.advance(1e6)
    expect(ring!.collect()).toEqual([])
    expect(driver.status).toBe(15)
  })

  it('saves and loads everything, and refuses what is damaged', () => {
    const a = setup()
    const ring = a.driver.start()[0]!
    ring.offer([{ address: 0x8000, length: 64, write: true }])
    ring.kick()
    a.machine.clock.advance(1000)
    const saved = structuredClone(a.fn.saveState())
    const memory = structuredClone(a.machine.memory.saveState())

    const b = setup()
    const before = structuredClone(b.fn.saveState())
    const damaged: [string, (s: Record<string, never>) => void][] = [
      ['version', (s) => Object.assign(s, { version: 2 })],
      ['isr', (s) => Object.assign(s.transport!, { isr: 1 })],
      ['vector', (s) => Object.assign(s.transport!, { configVector: 9 })],
      ['msix', (s) => Object.assign(s, { msix: null })],
      ['status', (s) => Object.assign(s.device!, { status: 0x30 })],
      ['pending', (s) => Object.assign(s.device!, { pending: 2 })],
      ['deadline', (s) => Object.assign(s.device!, { deadline: 'soon' })],
      ['accepted', (s) => Object.assign(s.device!, { accepted: [1, 1] })],
      ['type', (s) => Object.assign(s.device!, { type: 2 })],
      ['queues', (s) => Object.assign(s.device!, { queues: [] })],
      ['size', (s) => Object.assign((s.device! as { queues: object[] }).queues[0]!, { size: 3 })],
      ['config', (s) => (s.config as unknown as Uint8Array).set([0, 0], 0)],
      ['source', (s) => Object.assign((s.device! as { specific: object }).specific, { source: null })],
    ]
    for (const [name, damage] of damaged) {
      const state = structuredClone(saved)
      damage(state as unknown as Record<string, never>)
      expect(() => b.fn.loadState(state), name).toThrowError(expect.objectContaining({ code: 'bad-state' }))
      expect(b.fn.saveState(), name).toEqual(before)
    }
    b.fn.loadState(saved as VirtioPciState)
    b.machine.memory.loadState(memory)
    expect(b.fn.saveState()).toEqual(saved)
    a.machine.clock.advance(10000)
    b.machine.clock.advanceTo(a.machine.clock.now())
    expect(b.machine.intx).toEqual(a.machine.intx)
    expect(sameBytes(ram(b.machine), ram(a.machine))).toBe(true)
    expect(b.fn.saveState()).toEqual(a.fn.saveState())
  })

  it('forgets everything at a bus reset', () => {
    const { machine, fn, driver } = setup()
    const before = setup().fn
    before.reset()
    driver.start()[0]!.force()
    fn.reset()
    expect(fn.saveState()).toEqual(before.saveState())
    expect(machine.clock.scheduled).toBe(0)
  })
})
