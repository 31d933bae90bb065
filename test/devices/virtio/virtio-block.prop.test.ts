import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtioBlock } from '../../../src/devices/virtio/virtio-block.js'
import { runs } from '../../runs.js'
import { TestDisk } from '../ata-tools.js'
import { Driver, Machine, type Piece, type Ring, ram, sameBytes } from './driver.js'

const SECTORS = 64
const SLOT = 0x4000
const SLOTS = 16
const SLOT_BASE = 0x10000

/** What the disk must hold, and what each request in flight must answer. */
interface Model {
  disk: Uint8Array
  /** By head, in order. */
  flying: Flying[]
}

interface Flying {
  readonly head: number
  readonly slot: number
  readonly type: number
  readonly sector: number
  readonly length: number
  readonly data: Uint8Array
  readonly target: readonly Piece[]
  readonly statusAt: number
}

interface Real {
  machine: Machine
  disk: TestDisk
  driver: Driver
  ring: Ring
  readonly without: readonly number[]
}

function power(without: readonly number[]): Real {
  const machine = new Machine()
  const disk = new TestDisk(SECTORS)
  machine.plug(new VirtioBlock({ memory: machine.memory, clock: machine.clock, backend: disk, queueSize: 16 }), false)
  const driver = new Driver(machine)
  return { machine, disk, driver, ring: driver.start({ without, size: 16 })[0]!, without }
}

/** Cuts `length` bytes at `address` into pieces at the given places, leaving gaps between them. */
function cut(address: number, length: number, cuts: readonly number[], write: boolean): Piece[] {
  const ends = [...new Set(cuts.map((at) => at % length))].filter((at) => at > 0).sort((a, b) => a - b)
  const pieces: Piece[] = []
  let from = 0
  let at = address
  for (const end of [...ends, length]) {
    pieces.push({ address: at, length: end - from, write })
    at += end - from + 3
    from = end
  }
  return pieces
}

interface Request {
  readonly type: number
  readonly sector: number
  readonly sectors: number
  readonly odd: number
  readonly cuts: readonly number[]
  readonly headerCut: number
  readonly indirect: boolean
  readonly fill: number
  readonly kick: boolean
}

class Submit implements fc.Command<Model, Real> {
  readonly request: Request
  constructor(request: Request) {
    this.request = request
  }
  check(model: Readonly<Model>): boolean {
    return model.flying.length < SLOTS
  }
  run(model: Model, real: Real): void {
    const { type, sector, sectors, odd, cuts, headerCut, fill, kick } = this.request
    const indirect = this.request.indirect && !real.without.includes(28)
    const { memory } = real.machine
    const used = new Set(model.flying.map(({ slot }) => slot))
    const slot = Array.from({ length: SLOTS }, (_, i) => i).find((i) => !used.has(i))!
    const base = SLOT_BASE + slot * SLOT
    const table = base
    const headerAt = base + 0x400
    const statusAt = base + 0x420
    const dataAt = base + 0x500
    memory.write32(headerAt, type)
    memory.write32(headerAt + 4, 0)
    memory.write32(headerAt + 8, sector)
    memory.write32(headerAt + 12, 0)
    memory.write8(statusAt, 0xee)
    let length = type === 8 ? 20 : type === 4 ? 0 : sectors * 512 + odd
    let data = Uint8Array.from({ length }, (_, i) => (i * fill) & 0xff)
    if (type === 13) {
      length = 16
      data = new Uint8Array(16)
      const view = new DataView(data.buffer)
      view.setUint32(0, sector, true)
      view.setUint32(8, sectors, true)
    }
    const write = type === 0 || type === 8
    const target = length === 0 ? [] : cut(dataAt, length, cuts, write)
    let from = 0
    for (const piece of target) {
      memory.writeBytes(piece.address, write ? new Uint8Array(piece.length) : data.subarray(from, from + piece.length))
      from += piece.length
    }
    const header: Piece[] =
      headerCut === 0
        ? [{ address: headerAt, length: 16, write: false }]
        : [
            { address: headerAt, length: headerCut, write: false },
            { address: headerAt + headerCut, length: 16 - headerCut, write: false },
          ]
    const pieces = [...header, ...target, { address: statusAt, length: 1, write: true }]
    const head = real.ring.offer(pieces, indirect ? table : undefined)
    if (head < 0) return
    model.flying.push({ head, slot, type, sector, length, data, target, statusAt })
    if (kick) real.ring.kick(1)
    else this.pendingKick(real)
  }
  /** The driver may notify later, but then for all since the last time. */
  private pendingKick(real: Real): void {
    real.machine.clock.advance(1)
    real.ring.kick(1)
  }
  toString(): string {
    return `submit ${JSON.stringify(this.request)}`
  }
}

/** Applies one finished request to the model and compares what the driver sees. */
function finish(model: Model, real: Real, flying: Flying, written: number): void {
  const { type, sector, length, data, target, statusAt } = flying
  const { memory } = real.machine
  const inRange = (bytes: number): boolean => bytes % 512 === 0 && sector * 512 + bytes <= model.disk.length
  let status = 0
  let expected = 1
  if (type === 0) {
    if (inRange(length)) {
      expected = length + 1
      const got = new Uint8Array(length)
      let from = 0
      for (const piece of target) {
        memory.readBytes(piece.address, got.subarray(from, from + piece.length))
        from += piece.length
      }
      expect(sameBytes(got, model.disk.subarray(sector * 512, sector * 512 + length))).toBe(true)
    } else {
      status = 1
      expected = 0
    }
  } else if (type === 1) {
    if (inRange(length)) model.disk.set(data, sector * 512)
    else status = 1
  } else if (type === 13) {
    const sectors = new DataView(data.buffer).getUint32(8, true)
    if (sector + sectors <= SECTORS) model.disk.fill(0, sector * 512, (sector + sectors) * 512)
    else status = 1
  } else if (type === 8) expected = 21
  else if (type !== 4) {
    status = 2
    // A request that is not known has its data in the readable part here.
  }
  expect([type, memory.read8(statusAt), written]).toEqual([type, status, expected])
}

class Wait implements fc.Command<Model, Real> {
  readonly ns: number
  constructor(ns: number) {
    this.ns = ns
  }
  check(): boolean {
    return true
  }
  run(model: Model, real: Real): void {
    real.machine.clock.advance(this.ns)
    // Notifications were sent whenever they were asked for, so enough time finishes everything.
    const all = this.ns >= 1_000_000
    for (const { head, written } of real.ring.collect()) {
      const next = model.flying.shift()
      if (next === undefined) throw new Error('used without a request')
      expect(head).toBe(next.head)
      finish(model, real, next, written)
    }
    if (all) expect(model.flying).toEqual([])
    expect(real.driver.status).toBe(15)
    expect(real.disk.outside).toBe(0)
    if (model.flying.length === 0) expect(sameBytes(real.disk.bytes, model.disk)).toBe(true)
  }
  toString(): string {
    return `wait ${this.ns}`
  }
}

/** Carries everything over into another machine. */
class Move implements fc.Command<Model, Real> {
  check(): boolean {
    return true
  }
  run(_model: Model, real: Real): void {
    const old = real.machine
    const next = power(real.without)
    next.disk.bytes.set(real.disk.bytes)
    next.machine.clock.advanceTo(old.clock.now())
    next.machine.fn.loadState(structuredClone(old.fn.saveState()))
    next.machine.memory.writeBytes(0, ram(old))
    expect(next.machine.fn.saveState()).toEqual(old.fn.saveState())
    real.machine = next.machine
    real.disk = next.disk
    // The driver's own state goes with the machine.
    real.driver = next.driver
    Object.assign(real.ring, { driver: next.driver })
  }
  toString(): string {
    return 'move'
  }
}

const request = fc.record<Request>({
  type: fc.constantFrom(0, 0, 0, 1, 1, 1, 4, 8, 13, 7),
  sector: fc.oneof({ weight: 8, arbitrary: fc.nat(SECTORS - 5) }, { weight: 1, arbitrary: fc.nat(SECTORS + 2) }),
  sectors: fc.integer({ min: 1, max: 5 }),
  odd: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 511 }) }),
  cuts: fc.array(fc.nat(3000), { maxLength: 6 }),
  headerCut: fc.constantFrom(0, 0, 1, 8, 15),
  indirect: fc.boolean(),
  fill: fc.integer({ min: 1, max: 255 }),
  kick: fc.boolean(),
})

describe('VirtioBlock, against a model disk', () => {
  for (const without of [[], [29], [28, 29]]) {
    it(`serves random requests in order, without features ${without.join(', ') || 'missing'}`, () => {
      fc.assert(
        fc.property(
          fc.commands(
            [
              request.map((r) => new Submit(r)),
              request.map((r) => new Submit(r)),
              request.map((r) => new Submit(r)),
              fc.constantFrom(0, 500, 10_000, 25_000, 1_000_000).map((ns) => new Wait(ns)),
              fc.constant(new Move()),
            ],
            { maxCommands: 60 },
          ),
          (commands) => {
            const real = power(without)
            const model: Model = { disk: real.disk.bytes.slice(), flying: [] }
            fc.modelRun(() => ({ model, real }), [...commands, new Wait(1_000_000)])
          },
        ),
        { numRuns: runs(40) },
      )
    })
  }
})
