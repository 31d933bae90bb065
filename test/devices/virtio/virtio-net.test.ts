import { describe, expect, it } from 'vitest'
import { NetworkHub, NetworkLoop } from '../../../src/devices/virtio/network-hub.js'
import { VirtioNet } from '../../../src/devices/virtio/virtio-net.js'
import { ManualClock } from '../../manual-clock.js'
import { Driver, Machine, type Ring } from './driver.js'

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56)
const OTHER = [0x52, 0x54, 0, 0, 0, 1]

function frame(to: readonly number[], length = 60, fill = 0x11): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill)
  bytes.set(to)
  bytes.set(OTHER, 6)
  return bytes
}

class Wire {
  sent: Uint8Array[] = []
  receive: (frame: Uint8Array) => void = () => {}
  send(bytes: Uint8Array): void {
    this.sent.push(bytes)
  }
  attach(receive: (frame: Uint8Array) => void): void {
    this.receive = receive
  }
}

function setup(without: number[] = [], size = 16) {
  const machine = new Machine()
  const wire = new Wire()
  const device = new VirtioNet({ memory: machine.memory, clock: machine.clock, backend: wire, mac: MAC })
  machine.plug(device, false)
  const driver = new Driver(machine)
  const [rx, tx, ctrl] = driver.start({ without, size }) as [Ring, Ring, Ring]
  const bytes = (at: number, length: number): Uint8Array => {
    const target = new Uint8Array(length)
    machine.memory.readBytes(at, target)
    return target
  }
  /** Sends a control command; gives the answer. */
  const command = (kind: number, what: number, data: readonly number[]): number => {
    machine.memory.writeBytes(0x60000, Uint8Array.of(kind, what, ...data))
    machine.memory.write8(0x61000, 0xee)
    ctrl.offer([
      { address: 0x60000, length: 2 + data.length, write: false },
      { address: 0x61000, length: 1, write: true },
    ])
    ctrl.force()
    machine.clock.advance(1e5)
    expect(ctrl.collect()).toEqual([{ head: expect.any(Number), written: 1 }])
    return machine.memory.read8(0x61000)
  }
  return { machine, wire, device, driver, rx, tx, ctrl, bytes, command }
}

describe('VirtioNet', () => {
  it('shows its address and link', () => {
    const { machine, device, driver, bytes } = setup()
    expect(machine.fn.readConfig(0, 4)).toBe(0x10411af4)
    expect(machine.fn.readConfig(8, 4)).toBe(0x02000001)
    expect(bytes(driver.config, 6)).toEqual(MAC)
    expect(machine.memory.read16(driver.config + 6)).toBe(1)
    const generation = driver.get(0x15, 1)
    device.setLink(false)
    expect(machine.memory.read16(driver.config + 6)).toBe(0)
    expect([driver.readIsr(), driver.get(0x15, 1)]).toEqual([2, (generation + 1) & 0xff])
  })

  it('sends frames without their header', () => {
    const { machine, wire, tx } = setup()
    const data = frame([255, 255, 255, 255, 255, 255], 100)
    machine.memory.writeBytes(0x10000, new Uint8Array(12))
    machine.memory.writeBytes(0x1000c, data)
    tx.offer([{ address: 0x10000, length: 112, write: false }])
    tx.offer([
      { address: 0x10000, length: 5, write: false },
      { address: 0x10005, length: 27, write: false },
    ])
    tx.kick(2)
    machine.clock.advance(1e5)
    expect(wire.sent).toEqual([data, data.slice(0, 20)])
    expect(tx.collect().map(({ written }) => written)).toEqual([0, 0])
  })

  it('sends nothing for frames that are too short, too long or want segmentation, or without link', () => {
    const { machine, wire, tx, device, driver } = setup()
    machine.memory.writeBytes(0x10000, new Uint8Array(200))
    const send = (length: number): void => {
      tx.offer([{ address: 0x10000, length, write: false }])
      tx.force()
      machine.clock.advance(1e5)
      expect(tx.collect()).toHaveLength(1)
    }
    send(12 + 13)
    send(12 + 65551)
    machine.memory.write8(0x10001, 1)
    send(100)
    machine.memory.write8(0x10001, 0)
    device.setLink(false)
    send(100)
    expect(wire.sent).toEqual([])
    device.setLink(true)
    send(100)
    expect(wire.sent).toHaveLength(1)
    expect(driver.status).toBe(15)
    tx.offer([{ address: 0x10000, length: 11, write: false }])
    tx.force()
    machine.clock.advance(1e5)
    expect(driver.status).toBe(0x4f)
  })

  it('merges receive buffers', () => {
    const { machine, wire, rx, bytes } = setup()
    const data = frame([...MAC], 100)
    wire.receive(data)
    rx.offer([{ address: 0x20000, length: 40, write: true }])
    rx.kick()
    machine.clock.advance(1e5)
    expect(rx.collect()).toEqual([])
    rx.offer([
      { address: 0x21000, length: 10, write: true },
      { address: 0x22000, length: 30, write: true },
    ])
    rx.offer([{ address: 0x23000, length: 100, write: true }])
    rx.kick(2)
    machine.clock.advance(1e5)
    expect(rx.collect()).toEqual([
      { head: 0, written: 40 },
      { head: 1, written: 40 },
      { head: 3, written: 32 },
    ])
    expect([...bytes(0x20000, 12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0])
    expect([...bytes(0x2000c, 28), ...bytes(0x21000, 10), ...bytes(0x22000, 30), ...bytes(0x23000, 32)]).toEqual([
      ...data,
    ])
  })

  it('loses frames that do not fit a buffer of a driver without merging', () => {
    const { machine, wire, rx, device, bytes } = setup([15])
    rx.offer([{ address: 0x20000, length: 80, write: true }])
    rx.kick()
    wire.receive(frame([...MAC], 100))
    wire.receive(frame([...MAC], 60, 0x22))
    machine.clock.advance(1e5)
    expect(rx.collect()).toEqual([{ head: 0, written: 72 }])
    expect(device.lost).toBe(1)
    expect(bytes(0x20000, 12)[10]).toBe(1)
    expect(bytes(0x2000c, 60)).toEqual(frame([...MAC], 60, 0x22))
  })

  it('keeps a bounded number of frames', () => {
    const { wire, device, machine } = setup()
    for (let i = 0; i < 300; i++) wire.receive(frame([...MAC]))
    expect(device.lost).toBe(44)
    wire.receive(new Uint8Array(13))
    wire.receive(new Uint8Array(70000))
    device.setLink(false)
    wire.receive(frame([...MAC]))
    expect(device.lost).toBe(47)
    const state = structuredClone(machine.fn.saveState())
    const other = setup()
    other.machine.fn.loadState(state)
    expect(other.machine.fn.saveState()).toEqual(state)
  })

  it('gives up a frame for which a full queue has no room', () => {
    const { machine, wire, rx, device } = setup([], 4)
    for (let i = 0; i < 4; i++) rx.offer([{ address: 0x20000 + 64 * i, length: 13, write: true }])
    rx.force()
    wire.receive(frame([...MAC]))
    machine.clock.advance(1e5)
    expect([rx.collect().length, device.lost]).toEqual([0, 1])
  })

  it('filters by mode, table and address', () => {
    const { machine, wire, rx, command, driver } = setup()
    let next = 0
    const comes = (to: readonly number[]): boolean => {
      rx.offer([{ address: 0x20000, length: 100, write: true }])
      next++
      rx.force()
      wire.receive(frame(to))
      machine.clock.advance(1e5)
      const got = rx.collect().length
      next -= got
      // What was not used is used up by a broadcast or by what comes next: the ring holds 16.
      return got > 0
    }
    const broadcast = [255, 255, 255, 255, 255, 255]
    const group = [1, 0, 0x5e, 0, 0, 1]
    expect(comes(OTHER)).toBe(true)
    expect(command(0, 0, [0])).toBe(0)
    expect([comes(OTHER), comes([...MAC]), comes(broadcast), comes(group)]).toEqual([false, true, true, false])
    expect(command(0, 1, [1])).toBe(0)
    expect(comes(group)).toBe(true)
    expect(command(0, 3, [1])).toBe(0)
    expect(comes(group)).toBe(false)
    expect([command(0, 3, [0]), command(0, 1, [0])]).toEqual([0, 0])
    expect(command(1, 0, [1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...group])).toBe(0)
    expect([comes(OTHER), comes(group)]).toEqual([true, true])
    expect(command(0, 5, [1])).toBe(0)
    expect(comes(broadcast)).toBe(false)
    expect(command(0, 4, [1])).toBe(0)
    expect(comes([...MAC])).toBe(false)
    expect(command(0, 4, [0])).toBe(0)
    expect(command(1, 1, [2, 0, 0, 0, 0, 9])).toBe(0)
    expect([comes([...MAC]), comes([2, 0, 0, 0, 0, 9])]).toEqual([false, true])
    // A table that is too long lets everything in.
    const long = [65, 0, 0, 0, ...new Array<number>(65 * 6).fill(2)]
    expect(command(1, 0, [...long, 0, 0, 0, 0])).toBe(0)
    expect(comes([4, 4, 4, 4, 4, 4])).toBe(true)
    // Errors.
    expect(command(0, 6, [1])).toBe(1)
    expect(command(0, 0, [])).toBe(1)
    expect(command(1, 0, [255, 255, 255, 255])).toBe(1)
    expect(command(1, 0, [0, 0, 0, 0, 0, 0, 0])).toBe(1)
    expect(command(1, 1, [1, 0, 0, 0, 0, 9])).toBe(1)
    expect(command(7, 0, [])).toBe(1)
    expect(driver.status).toBe(15)
    expect(next).toBeGreaterThan(0)
  })

  it('refuses control features without a control queue', () => {
    const { driver } = setup()
    expect(driver.negotiate([17])).toBe(false)
    expect(driver.negotiate([17, 18, 20, 23])).toBe(true)
  })
})

describe('NetworkHub', () => {
  it('joins adapters of several machines, in time and in order', () => {
    const clock = new ManualClock()
    const hub = new NetworkHub({ clock, latencyNs: 1000, capacity: 3 })
    const got: string[] = []
    const ports = [0, 1, 2].map((n) => {
      const port = hub.port()
      port.attach((bytes) => got.push(`${n}:${bytes[13]}@${clock.now()}`))
      return port
    })
    const send = (n: number, mark: number): void => {
      const bytes = frame(OTHER)
      bytes[13] = mark
      ports[n]!.send(bytes)
    }
    send(0, 1)
    clock.advance(500)
    send(1, 2)
    const state = structuredClone(hub.saveState())
    clock.advance(1000)
    expect(got.splice(0)).toEqual(['1:1@1000', '2:1@1000', '0:2@1500', '2:2@1500'])
    hub.loadState(state)
    clock.advance(0)
    expect(got.splice(0)).toEqual(['1:1@1500', '2:1@1500', '0:2@1500', '2:2@1500'])
    for (let i = 0; i < 5; i++) send(2, i)
    ports[0]!.send(new Uint8Array(3))
    expect(hub.lost).toBe(3)
    expect(() => ports[0]!.attach(() => {})).toThrowError(expect.objectContaining({ code: 'overlap' }))
    expect(() => hub.loadState({ version: 1, frames: [{ at: 0, port: 9, bytes: frame(OTHER) }] })).toThrowError(
      expect.objectContaining({ code: 'bad-state' }),
    )
  })

  it('carries a frame from one virtual adapter to another', () => {
    const machine = new Machine()
    const hub = new NetworkHub({ clock: machine.clock })
    const wire = hub.port()
    const got: Uint8Array[] = []
    wire.attach((bytes) => got.push(bytes))
    machine.plug(new VirtioNet({ memory: machine.memory, clock: machine.clock, backend: hub.port(), mac: MAC }), false)
    const [rx, tx] = new Driver(machine).start({ size: 16 }) as [Ring, Ring]
    machine.memory.writeBytes(0x1000c + 0x8000, frame(OTHER))
    tx.offer([{ address: 0x18000, length: 72, write: false }])
    tx.force()
    rx.offer([{ address: 0x20000, length: 1526, write: true }])
    rx.force()
    wire.send(frame([...MAC], 64))
    machine.clock.advance(1e6)
    expect(got).toEqual([frame(OTHER)])
    expect(rx.collect()).toEqual([{ head: 0, written: 76 }])
  })

  it('has a loop', () => {
    const machine = new Machine()
    const backend = new NetworkLoop()
    machine.plug(new VirtioNet({ memory: machine.memory, clock: machine.clock, backend, mac: MAC }), false)
    const [rx, tx] = new Driver(machine).start({ size: 16 }) as [Ring, Ring]
    machine.memory.writeBytes(0x1800c, frame(OTHER))
    rx.offer([{ address: 0x20000, length: 1526, write: true }])
    tx.offer([{ address: 0x18000, length: 72, write: false }])
    tx.force()
    machine.clock.advance(1e6)
    expect(rx.collect()).toEqual([{ head: 0, written: 72 }])
  })
})
