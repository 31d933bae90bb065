import { describe, expect, it } from 'vitest'
import { VirtioConsole } from '../../../src/devices/virtio/virtio-console.js'
import { SeededEntropy, VirtioRng } from '../../../src/devices/virtio/virtio-rng.js'
import { Driver, Machine, type Ring } from './driver.js'

const text = (bytes: Iterable<number>): string => String.fromCharCode(...bytes)
const ascii = (value: string): Uint8Array => new TextEncoder().encode(value)

function readBytes(machine: Machine, at: number, length: number): Uint8Array {
  const target = new Uint8Array(length)
  machine.memory.readBytes(at, target)
  return target
}

describe('VirtioRng', () => {
  it('fills buffers from its source, at most 4096 bytes each', () => {
    const machine = new Machine()
    machine.plug(new VirtioRng({ memory: machine.memory, clock: machine.clock, source: new SeededEntropy(7) }), false)
    const ring = new Driver(machine).start()[0]!
    ring.offer([{ address: 0x10000, length: 8192, write: true }])
    ring.offer([{ address: 0x20000, length: 10, write: true }], 0x9000)
    ring.force()
    machine.clock.advance(1e6)
    expect(ring.collect().map(({ written }) => written)).toEqual([4096, 10])
    const expected = new Uint8Array(4096)
    const source = new SeededEntropy(7)
    source.fill(expected)
    expect(readBytes(machine, 0x10000, 4096)).toEqual(expected)
    expect(machine.memory.read32(0x11000)).toBe(0)
    expect(machine.fn.readConfig(0, 4)).toBe(0x10441af4)
    expect(machine.fn.readConfig(9, 2) | (machine.fn.readConfig(11, 1) << 16)).toBe(0x00ff00)
  })

  it('asks for a reset when there is nothing to fill', () => {
    const machine = new Machine()
    machine.plug(new VirtioRng({ memory: machine.memory, clock: machine.clock, source: new SeededEntropy(7) }), false)
    const driver = new Driver(machine)
    const ring = driver.start()[0]!
    ring.offer([{ address: 0x10000, length: 8, write: false }])
    ring.force()
    machine.clock.advance(1e6)
    expect(driver.status).toBe(0x4f)
  })
})

describe('SeededEntropy', () => {
  it('repeats with its seed and its state, and looks random', () => {
    const [a, b, c] = [new SeededEntropy(1), new SeededEntropy(1), new SeededEntropy(2)]
    const [x, y, z] = [new Uint8Array(65536), new Uint8Array(65536), new Uint8Array(65536)]
    a.fill(x)
    b.fill(y)
    c.fill(z)
    expect(text(x.subarray(0, 4096))).toBe(text(y.subarray(0, 4096)))
    expect(text(x.subarray(0, 4096))).not.toBe(text(z.subarray(0, 4096)))
    const counts = new Array<number>(256).fill(0)
    for (const byte of x) counts[byte]!++
    const chi = counts.reduce((sum, count) => sum + (count - 256) ** 2 / 256, 0)
    expect(chi).toBeGreaterThan(150) // 255 degrees of freedom
    expect(chi).toBeLessThan(400)
    c.loadState(a.saveState())
    a.fill(x.subarray(0, 100))
    c.fill(z.subarray(0, 100))
    expect(text(x.subarray(0, 100))).toBe(text(z.subarray(0, 100)))
    expect(() => c.loadState({ version: 1, words: [0, 0, 0, 0] })).toThrow()
    expect(() => new SeededEntropy(-1)).toThrow()
  })
})

function terminal(options: { extra?: boolean; without?: number[] } = {}) {
  const machine = new Machine()
  const out = ['', '']
  const port = (i: number) => ({ output: (bytes: Uint8Array) => void (out[i] += text(bytes)) })
  const device = new VirtioConsole({
    memory: machine.memory,
    clock: machine.clock,
    ports: [port(0), ...(options.extra ? [{ ...port(1), name: 'org.test' }] : [])],
    columns: 100,
    rows: 40,
  })
  machine.plug(device, false)
  const driver = new Driver(machine)
  const rings = driver.start({ without: options.without ?? [], size: 16 })
  return { machine, out, device, driver, rings }
}

describe('VirtioConsole', () => {
  it('carries text both ways', () => {
    const { machine, out, device, driver, rings } = terminal()
    expect(rings).toHaveLength(2)
    const [rx, tx] = rings as [Ring, Ring]
    machine.memory.writeBytes(0x10000, ascii('hello, world'))
    tx.offer([
      { address: 0x10000, length: 7, write: false },
      { address: 0x10007, length: 5, write: false },
    ])
    expect(tx.kick()).toBe(true)
    machine.clock.advance(5000)
    expect(out[0]).toBe('hello, world')
    expect(tx.collect()).toEqual([{ head: 0, written: 0 }])
    expect(driver.readIsr()).toBe(1)
    // Input waits for buffers, and fills several.
    expect(device.input(0, ascii('abcdefgh'))).toBe(8)
    machine.clock.advance(1e6)
    for (let i = 0; i < 3; i++) rx.offer([{ address: 0x20000 + 16 * i, length: 3, write: true }])
    rx.kick(3)
    machine.clock.advance(1e6)
    expect(rx.collect().map(({ written }) => written)).toEqual([3, 3, 2])
    expect(text(readBytes(machine, 0x20000, 3)) + text(readBytes(machine, 0x20010, 3))).toBe('abcdef')
    rx.offer([{ address: 0x20000, length: 100, write: true }])
    rx.kick()
    machine.clock.advance(1e6)
    device.input(0, ascii('x'))
    machine.clock.advance(1e6)
    expect(rx.collect()).toEqual([{ head: expect.any(Number), written: 1 }])
    expect(device.input(0, new Uint8Array(100000))).toBe(65536)
    expect(device.isOpen(0)).toBe(true)
  })

  it('puts out a long buffer in steps', () => {
    const { machine, out, rings } = terminal()
    machine.memory.writeBytes(0x10000, new Uint8Array(0x18000).fill(65))
    rings[1]!.offer([{ address: 0x10000, length: 0x18000, write: false }])
    rings[1]!.kick()
    machine.clock.advance(5000)
    expect(out[0]).toHaveLength(65536)
    expect(rings[1]!.collect()).toEqual([])
    const state = structuredClone(machine.fn.saveState())
    machine.clock.advance(5000)
    expect(out[0]).toHaveLength(0x18000)
    expect(rings[1]!.collect()).toHaveLength(1)
    const other = terminal()
    other.machine.fn.loadState(state)
    expect(other.machine.fn.saveState()).toEqual(state)
  })

  it('tells and changes its size', () => {
    const { machine, device, driver } = terminal()
    expect([machine.memory.read16(driver.config), machine.memory.read16(driver.config + 2)]).toEqual([100, 40])
    const before = driver.get(0x15, 1)
    device.resize(132, 50)
    expect([machine.memory.read16(driver.config), machine.memory.read16(driver.config + 2)]).toEqual([132, 50])
    expect(driver.get(0x15, 1)).not.toBe(before)
    expect(driver.readIsr()).toBe(2)
    expect(() => device.resize(-1, 3)).toThrow()
  })

  it('has an emergency output', () => {
    const { machine, out, driver } = terminal()
    driver.put(0x14, 1, 0)
    machine.memory.write32(driver.config + 8, 0x21)
    machine.memory.write8(driver.config + 8, 0x3f)
    expect(out[0]).toBe('!?')
  })

  it('introduces its ports over the control queues', () => {
    const { machine, out, device, rings } = terminal({ extra: true })
    expect(rings).toHaveLength(6)
    const [, , control, toDevice, rx1, tx1] = rings as [Ring, Ring, Ring, Ring, Ring, Ring]
    const messages: string[] = []
    const heads = new Map<number, number>()
    const refill = (): void => {
      for (let i = heads.size; i < 8; i++) {
        const at = 0x30000 + 256 * [0, 1, 2, 3, 4, 5, 6, 7].find((slot) => ![...heads.values()].includes(slot))!
        heads.set(control.offer([{ address: at, length: 128, write: true }]), (at - 0x30000) / 256)
      }
      control.force()
    }
    const run = (): void => {
      for (let i = 0; i < 4; i++) {
        refill()
        machine.clock.advance(1e5)
        for (const { head, written } of control.collect()) {
          const bytes = readBytes(machine, 0x30000 + 256 * heads.get(head)!, written)
          heads.delete(head)
          const view = new DataView(bytes.buffer)
          const more = [...bytes.subarray(8)]
          messages.push(
            `${view.getUint32(0, true)} ${view.getUint16(4, true)} ${view.getUint16(6, true)} ${more}`.trim(),
          )
        }
        toDevice.collect()
      }
    }
    const say = (id: number, event: number, value: number): void => {
      machine.memory.write32(0x40000, id)
      machine.memory.write16(0x40004, event)
      machine.memory.write16(0x40006, value)
      toDevice.offer([{ address: 0x40000, length: 8, write: false }])
      toDevice.force()
      run()
    }
    say(0, 0, 1)
    expect(messages.splice(0)).toEqual(['0 1 0', '1 1 0'])
    say(0, 3, 1)
    expect(messages.splice(0)).toEqual(['0 4 1', '0 5 0 100,0,40,0', '0 6 1'])
    say(1, 3, 1)
    expect(messages.splice(0)).toEqual([`1 7 1 ${[...ascii('org.test')]}`, '1 6 1'])
    say(9, 3, 1)
    expect(messages.splice(0)).toEqual([])
    // A port that is not open keeps its input.
    device.input(1, ascii('in'))
    rx1.offer([{ address: 0x50000, length: 8, write: true }])
    rx1.force()
    run()
    expect([rx1.collect().length, device.isOpen(1)]).toEqual([0, false])
    say(1, 6, 1)
    expect([rx1.collect(), device.isOpen(1)]).toEqual([[{ head: 0, written: 2 }], true])
    machine.memory.writeBytes(0x50000, ascii('out'))
    tx1.offer([{ address: 0x50000, length: 3, write: false }])
    tx1.force()
    run()
    expect(out).toEqual(['', 'out'])
    device.resize(80, 24)
    run()
    expect(messages.splice(0)).toEqual(['0 5 0 80,0,24,0'])
  })

  it('gives a driver without multiport a single port', () => {
    const { machine, device, rings } = terminal({ extra: true, without: [1] })
    expect(device.isOpen(0)).toBe(true)
    rings[0]!.offer([{ address: 0x20000, length: 8, write: true }])
    rings[0]!.force()
    device.input(0, ascii('k'))
    machine.clock.advance(1e6)
    expect(rings[0]!.collect()).toEqual([{ head: 0, written: 1 }])
  })

  it('refuses what it cannot be built from', () => {
    const { memory, clock } = new Machine()
    const output = (): void => {}
    for (const bad of [
      { ports: [] },
      { ports: new Array(15).fill({ output }) },
      { ports: [{ output, name: 'a b' }] },
      { ports: [{ output }], columns: 70000 },
    ]) {
      expect(() => new VirtioConsole({ memory, clock, ...bad })).toThrowError(
        expect.objectContaining({ code: 'bad-argument' }),
      )
    }
  })
})
