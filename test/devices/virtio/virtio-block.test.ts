import { describe, expect, it } from 'vitest'
import { VirtioBlock, type VirtioBlockOptions } from '../../../src/devices/virtio/virtio-block.js'
import { TestDisk } from '../ata-tools.js'
import { Driver, Machine, type Piece, RAM, ram, sameBytes } from './driver.js'

const HEADER = 0x8000
const STATUS = 0x8010
const DATA = 0x10000

function setup(options: Partial<VirtioBlockOptions> & { readOnly?: boolean; sectors?: number } = {}) {
  const machine = new Machine()
  const disk = new TestDisk(options.sectors ?? 4096)
  disk.readOnly = options.readOnly === true
  const device = new VirtioBlock({ memory: machine.memory, clock: machine.clock, backend: disk, ...options })
  machine.plug(device, false)
  return { machine, disk, device, driver: new Driver(machine) }
}

/** A driver of one request at a time. */
function start(options: Parameters<typeof setup>[0] & { without?: number[] } = {}) {
  const s = setup(options)
  const ring = s.driver.start({ without: options.without ?? [], size: 16 })[0]!
  const { memory } = s.machine
  const request = (type: number, sector: number, data: readonly Piece[] = [], table?: number) => {
    memory.write32(HEADER, type)
    memory.write32(HEADER + 4, 0)
    memory.write32(HEADER + 8, sector % 2 ** 32)
    memory.write32(HEADER + 12, Math.floor(sector / 2 ** 32))
    memory.write8(STATUS, 0xee)
    ring.offer(
      [{ address: HEADER, length: 16, write: false }, ...data, { address: STATUS, length: 1, write: true }],
      table,
    )
    ring.kick()
    s.machine.clock.advance(1e8)
    const used = ring.collect()
    return { status: memory.read8(STATUS), written: used[0]?.written, count: used.length }
  }
  const bytes = (at: number, length: number): Uint8Array => {
    const target = new Uint8Array(length)
    memory.readBytes(at, target)
    return target
  }
  return { ...s, ring, request, bytes, memory }
}

const ranges = (memory: { write32(at: number, value: number): void }, list: [number, number, number][]): Piece => {
  list.forEach(([sector, count, flags], i) => {
    const at = 0x9000 + 16 * i
    memory.write32(at, sector % 2 ** 32)
    memory.write32(at + 4, Math.floor(sector / 2 ** 32))
    memory.write32(at + 8, count)
    memory.write32(at + 12, flags)
  })
  return { address: 0x9000, length: 16 * list.length, write: false }
}

describe('VirtioBlock', () => {
  it('describes the disk', () => {
    const { machine, driver } = setup({ sectors: 4096 })
    const at = driver.config
    const { memory } = machine
    expect(memory.read32(at)).toBe(4096)
    expect(memory.read32(at + 4)).toBe(0)
    expect(memory.read32(at + 12)).toBe(126)
    expect([memory.read16(at + 16), memory.read8(at + 18), memory.read8(at + 19)]).toEqual([4, 16, 63])
    expect(memory.read32(at + 20)).toBe(512)
    expect(memory.read8(at + 32)).toBe(1)
    expect(machine.fn.readConfig(0, 4)).toBe(0x10421af4)
    expect(machine.fn.readConfig(8, 4)).toBe(0x01000001)
    expect(driver.offered() & 0x20n).toBe(0n)
    expect(setup({ readOnly: true }).driver.offered() & 0x6020n).toBe(0x20n)
  })

  it('reads and writes whatever the framing', () => {
    const { request, bytes, disk, memory } = start()
    expect(request(0, 3, [{ address: DATA, length: 1024, write: true }])).toEqual({
      status: 0,
      written: 1025,
      count: 1,
    })
    expect(bytes(DATA, 1024)).toEqual(disk.bytes.slice(3 * 512, 5 * 512))
    const pieces = [
      { address: DATA + 1, length: 7, write: true },
      { address: DATA + 0x1003, length: 504, write: true },
      { address: DATA + 0x20ff, length: 1, write: true },
    ]
    expect(request(0, 9, pieces, 0xa000)).toEqual({ status: 0, written: 513, count: 1 })
    expect([...bytes(DATA + 1, 7), ...bytes(DATA + 0x1003, 504), ...bytes(DATA + 0x20ff, 1)]).toEqual([
      ...disk.bytes.slice(9 * 512, 10 * 512),
    ])
    memory.writeBytes(
      DATA,
      Uint8Array.from({ length: 512 }, (_, i) => i ^ 0x5a),
    )
    const split = [
      { address: DATA, length: 500, write: false },
      { address: DATA + 500, length: 12, write: false },
    ]
    expect(request(1, 4095, split)).toEqual({ status: 0, written: 1, count: 1 })
    expect(disk.bytes.slice(4095 * 512)).toEqual(Uint8Array.from({ length: 512 }, (_, i) => i ^ 0x5a))
    expect(disk.outside).toBe(0)
  })

  it('takes header and status in one piece with the data', () => {
    const { ring, memory, machine, disk, bytes } = start()
    memory.write32(DATA, 1)
    memory.write32(DATA + 4, 0)
    memory.write32(DATA + 8, 2)
    memory.write32(DATA + 12, 0)
    memory.writeBytes(DATA + 16, new Uint8Array(512).fill(7))
    ring.offer([
      { address: DATA, length: 16 + 512, write: false },
      { address: STATUS, length: 1, write: true },
    ])
    ring.kick()
    machine.clock.advance(1e6)
    expect(disk.bytes.slice(1024, 1536)).toEqual(new Uint8Array(512).fill(7))
    memory.write32(DATA, 0)
    ring.offer([
      { address: DATA, length: 9, write: false },
      { address: DATA + 9, length: 7, write: false },
      { address: DATA + 0x1000, length: 513, write: true },
    ])
    ring.force()
    machine.clock.advance(1e6)
    expect(bytes(DATA + 0x1000, 513)).toEqual(Uint8Array.of(...new Uint8Array(512).fill(7), 0))
  })

  it('takes its time, more for more bytes', () => {
    const { ring, machine, memory } = start({ sectors: 16384, latencyNs: 1000, nsPerByte: 1 })
    memory.write32(HEADER, 0)
    memory.write32(HEADER + 8, 0)
    memory.write32(HEADER + 12, 0)
    ring.offer([
      { address: HEADER, length: 16, write: false },
      { address: DATA, length: 0x80000, write: true },
      { address: DATA, length: 0x80000, write: true },
      { address: DATA, length: 0x80000, write: true },
      { address: STATUS, length: 1, write: true },
    ])
    ring.kick()
    machine.clock.advance(999)
    expect(memory.read16(ring.used + 2)).toBe(0)
    machine.clock.advance(2)
    // A mebibyte has moved, the rest follows when it has gone over the wire.
    expect(memory.read16(ring.used + 2)).toBe(0)
    machine.clock.advance(0x100000)
    expect(memory.read16(ring.used + 2)).toBe(0)
    machine.clock.advance(1000)
    expect(ring.collect()).toEqual([{ head: 0, written: 0x180001 }])
  })

  it('answers errors by the status byte', () => {
    const { request, disk, driver } = start()
    const data = (length: number, write: boolean): Piece[] => [{ address: DATA, length, write }]
    expect(request(0, 4096, data(512, true))).toMatchObject({ status: 1, written: 0 })
    expect(request(0, 4095, data(1024, true)).status).toBe(1)
    expect(request(1, 4096, data(512, false)).status).toBe(1)
    expect(request(0, 2 ** 63, data(512, true)).status).toBe(1)
    expect(request(0, 2 ** 55 - 1, data(512, true)).status).toBe(1)
    expect(request(0, 0, data(511, true)).status).toBe(1)
    expect(request(1, 0, data(513, false)).status).toBe(1)
    expect(request(99, 0).status).toBe(2)
    disk.badFrom = 100 * 512
    expect(request(0, 99, data(512, true)).status).toBe(0)
    expect(request(0, 100, data(512, true)).status).toBe(1)
    expect(request(1, 100, data(512, false)).status).toBe(1)
    expect([driver.status, disk.outside]).toEqual([15, 0])
    const ro = start({ readOnly: true })
    const before = ro.disk.bytes.slice()
    expect(ro.request(1, 0, data(512, false)).status).toBe(1)
    expect(ro.request(13, 0, [ranges(ro.memory, [[0, 1, 0]])]).status).toBe(2)
    expect(sameBytes(ro.disk.bytes, before)).toBe(true)
  })

  it('flushes, and writes through when told to', () => {
    const { request, disk, machine, driver } = start()
    const data = [{ address: DATA, length: 512, write: false }]
    request(1, 0, data)
    expect(disk.flushes).toBe(0)
    expect(request(4, 0).status).toBe(0)
    expect(disk.flushes).toBe(1)
    machine.memory.write8(driver.config + 32, 0)
    expect(disk.flushes).toBe(2)
    request(1, 0, data)
    expect(disk.flushes).toBe(3)
    machine.memory.write8(driver.config + 32, 2)
    expect(machine.memory.read8(driver.config + 32)).toBe(1)
    request(1, 0, data)
    expect(disk.flushes).toBe(3)
    // A driver that cannot flush gets a disk without a cache.
    const plain = start({ without: [9, 11] })
    plain.request(1, 0, data)
    expect(plain.disk.flushes).toBe(1)
    plain.machine.memory.write8(plain.driver.config + 32, 0)
    expect(plain.machine.memory.read8(plain.driver.config + 32)).toBe(1)
  })

  it('tells its name', () => {
    const { request, bytes } = start({ id: 'a-disk-of-twenty-chr' })
    const expected = [...'a-disk-of-twenty-chr'].map((c) => c.charCodeAt(0))
    expect(request(8, 0, [{ address: DATA, length: 20, write: true }])).toMatchObject({ status: 0, written: 21 })
    expect([...bytes(DATA, 21)]).toEqual([...expected, 0])
    expect(request(8, 0, [{ address: DATA + 64, length: 3, write: true }])).toMatchObject({ status: 0, written: 4 })
    expect([...bytes(DATA + 64, 4)]).toEqual([...expected.slice(0, 3), 0])
  })

  it('zeroes and discards ranges that are all good, else none', () => {
    const { request, disk, memory } = start()
    const before = disk.bytes.slice()
    expect(
      request(13, 0, [
        ranges(memory, [
          [1, 2, 0],
          [4095, 1, 1],
        ]),
      ]).status,
    ).toBe(0)
    expect(disk.bytes.slice(512, 1536)).toEqual(new Uint8Array(1024))
    expect(disk.bytes.slice(4095 * 512)).toEqual(new Uint8Array(512))
    expect(sameBytes(disk.bytes.slice(1536, 4095 * 512), before.slice(1536, 4095 * 512))).toBe(true)
    const then = disk.bytes.slice()
    for (const [type, list, status] of [
      [
        13,
        [
          [5, 1, 0],
          [4096, 1, 0],
        ],
        1,
      ],
      [13, [[5, 1, 2]], 2],
      [13, [[5, 0x8001, 0]], 1],
      [13, [[2 ** 63, 1, 0]], 1],
      [11, [[5, 1, 1]], 2],
      [11, [[4090, 7, 0]], 1],
      [11, [[5, 1, 0]], 0],
      [11, [[5, 0x400001, 0]], 1],
    ] as const) {
      expect(
        request(type, 0, [
          ranges(
            memory,
            list.map((x) => [...x] as [number, number, number]),
          ),
        ]).status,
      ).toBe(status)
    }
    expect(request(13, 0).status).toBe(1)
    expect(request(13, 0, [{ address: 0x9000, length: 24, write: false }]).status).toBe(1)
    expect(request(13, 0, [{ address: 0x9000, length: 17 * 16, write: false }]).status).toBe(1)
    expect(sameBytes(disk.bytes, then)).toBe(true)
    const plain = start({ without: [13, 14] })
    expect(plain.request(13, 0, [ranges(plain.memory, [[1, 1, 0]])]).status).toBe(2)
    expect(plain.request(11, 0, [ranges(plain.memory, [[1, 1, 0]])]).status).toBe(2)
  })

  it('zeroes a long range in steps, over a saved state', () => {
    const a = start({ sectors: 16384 })
    a.memory.write32(HEADER, 13)
    a.ring.offer([
      { address: HEADER, length: 16, write: false },
      ranges(a.memory, [
        [1, 16000, 0],
        [16100, 5, 0],
      ]),
      { address: STATUS, length: 1, write: true },
    ])
    a.ring.kick()
    a.machine.clock.advance(10000 + 2 * 10000 + 2 * 0x80000)
    expect(a.ring.collect()).toEqual([])
    expect(a.disk.bytes.slice(512, 0x200000).every((byte) => byte === 0)).toBe(true)
    const b = setup({ sectors: 16384 })
    b.disk.bytes.set(a.disk.bytes)
    b.machine.clock.advance(a.machine.clock.now())
    b.machine.fn.loadState(structuredClone(a.machine.fn.saveState()))
    b.machine.memory.loadState(structuredClone(a.machine.memory.saveState()))
    for (const { machine } of [a, b]) machine.clock.advance(1e9)
    expect(sameBytes(b.disk.bytes, a.disk.bytes)).toBe(true)
    expect(sameBytes(ram(b.machine), ram(a.machine))).toBe(true)
    expect(b.machine.fn.saveState()).toEqual(a.machine.fn.saveState())
    expect(a.ring.collect()).toEqual([{ head: 0, written: 1 }])
    expect(a.disk.bytes.slice(512, 16001 * 512).every((byte) => byte === 0)).toBe(true)
    expect(a.disk.bytes[16001 * 512 + 1]).toBe((7 + 16001 * 13) & 0xff)
  })

  it('asks for a reset when there is no room for header or status', () => {
    for (const pieces of [
      [{ address: HEADER, length: 16, write: false }],
      [
        { address: HEADER, length: 15, write: false },
        { address: STATUS, length: 1, write: true },
      ],
      [{ address: STATUS, length: 64, write: true }],
    ]) {
      const { ring, machine, driver } = start()
      ring.offer(pieces)
      ring.kick()
      machine.clock.advance(1e6)
      expect(driver.status).toBe(0x4f)
      expect(driver.readIsr()).toBe(2)
    }
  })

  it('reads ones from addresses where nothing is, and loses what it writes there', () => {
    const { request, disk, driver } = start()
    const wild = [RAM + 0x1000, 2 ** 40, 2 ** 52 - 256, 2 ** 63, 0xffffffff00]
    for (const address of wild) {
      expect(request(0, 1, [{ address, length: 512, write: true }]).status).toBe(0)
      expect(request(1, 2, [{ address, length: 512, write: false }]).status).toBe(0)
      expect(disk.bytes.slice(1024, 1536)).toEqual(new Uint8Array(512).fill(0xff))
      disk.bytes.fill(0, 1024, 1536)
    }
    expect(driver.status).toBe(15)
  })

  it('serves a queue of one interrupt for many requests by event index', () => {
    const { ring, machine, memory, driver } = start()
    memory.write32(HEADER, 0)
    memory.write32(HEADER + 8, 0)
    ring.wantInterrupt(3)
    for (let i = 0; i < 4; i++) {
      ring.offer([
        { address: HEADER, length: 16, write: false },
        { address: DATA, length: 512, write: true },
        { address: STATUS, length: 1, write: true },
      ])
      ring.kick()
      machine.clock.advance(1e6)
      // The first is always told; then not before the third.
      expect(driver.readIsr()).toBe(i === 0 || i === 2 ? 1 : 0)
    }
    expect(ring.collect()).toHaveLength(4)
  })

  it('refuses what it cannot be built from', () => {
    const machine = new Machine()
    const base = { memory: machine.memory, clock: machine.clock, backend: new TestDisk(8) }
    for (const bad of [{ queueSize: 100 }, { queueSize: 2 }, { id: 'é' }, { latencyNs: 0 }, { nsPerByte: -1 }]) {
      expect(() => new VirtioBlock({ ...base, ...bad })).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
    }
    const odd = { size: 700, readOnly: false, read() {}, write() {}, flush() {} }
    expect(() => new VirtioBlock({ ...base, backend: odd })).toThrowError(
      expect.objectContaining({ code: 'bad-image' }),
    )
  })
})
