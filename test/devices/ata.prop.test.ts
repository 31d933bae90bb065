import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PortSize } from '../../src/contracts/index.js'
import { AtapiCdrom } from '../../src/devices/ata-packet.js'
import * as ata from '../../src/devices/ata-registers.js'
import { IdeFunction } from '../../src/devices/ide.js'
import { runs } from '../runs.js'
import { Bench, TestDisk } from './ata-tools.js'
import { MemoryBus } from './ide-tools.js'

/** What a disk is, seen from outside: an array of sectors, the translation, and the block size. */
interface Model {
  readonly bytes: Uint8Array
  readonly sectors: number
  multiple: number
  heads: number
  perTrack: number
}

type Addressing = 'chs' | 'lba28' | 'lba48'
type Command = fc.Command<Model, Bench>

const READY = ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC

/** Whether the model has these sectors, and how the bench addresses them. */
function issue(
  m: Model,
  bench: Bench,
  how: Addressing,
  lba: number,
  count: number,
  codes: { plain: number; ext: number },
): boolean {
  if (how === 'lba48') {
    bench.commandExt(codes.ext, lba, count)
  } else if (how === 'lba28') {
    bench.command(codes.plain, lba, count)
  } else {
    const sector = (lba % m.perTrack) + 1
    const head = Math.floor(lba / m.perTrack) % m.heads
    const cylinder = Math.floor(lba / m.perTrack / m.heads)
    bench.command(codes.plain, sector | (cylinder << 8), count, 0xa0 | head)
  }
  return lba + count <= m.sectors
}

class Read implements Command {
  readonly how: Addressing
  readonly lba: number
  readonly count: number
  readonly multiple: boolean
  readonly wide: boolean
  constructor(how: Addressing, lba: number, count: number, multiple: boolean, wide: boolean) {
    this.how = how
    this.lba = lba
    this.count = count
    this.multiple = multiple
    this.wide = wide
  }
  check(m: Readonly<Model>): boolean {
    return !this.multiple || m.multiple > 0
  }
  run(m: Model, bench: Bench): void {
    const codes = this.multiple
      ? { plain: ata.ATA_CMD_READ_MULTIPLE, ext: ata.ATA_CMD_READ_MULTIPLE_EXT }
      : { plain: ata.ATA_CMD_READ_SECTORS, ext: ata.ATA_CMD_READ_SECTORS_EXT }
    const edges = bench.irq.edges
    const inside = issue(m, bench, this.how, this.lba, this.count, codes)
    const { data, status } = bench.drain(this.wide ? 4 : 2)
    if (!inside) {
      expect([data.length, status, bench.read(1)]).toEqual([0, READY | 1, ata.ATA_ERROR_IDNF])
      return
    }
    expect(status).toBe(READY)
    expect(data).toEqual(m.bytes.slice(this.lba * 512, (this.lba + this.count) * 512))
    expect(bench.irq.edges - edges).toBe(Math.ceil(this.count / (this.multiple ? m.multiple : 1)))
  }
  toString(): string {
    return `read ${this.how} ${this.lba}+${this.count}${this.multiple ? ' multiple' : ''}`
  }
}

class Write implements Command {
  readonly how: Addressing
  readonly lba: number
  readonly count: number
  readonly seed: number
  readonly multiple: boolean
  constructor(how: Addressing, lba: number, count: number, seed: number, multiple: boolean) {
    this.how = how
    this.lba = lba
    this.count = count
    this.seed = seed
    this.multiple = multiple
  }
  check(m: Readonly<Model>): boolean {
    return !this.multiple || m.multiple > 0
  }
  run(m: Model, bench: Bench): void {
    const codes = this.multiple
      ? { plain: ata.ATA_CMD_WRITE_MULTIPLE, ext: ata.ATA_CMD_WRITE_MULTIPLE_EXT }
      : { plain: ata.ATA_CMD_WRITE_SECTORS, ext: ata.ATA_CMD_WRITE_SECTORS_EXT }
    const data = Uint8Array.from({ length: this.count * 512 }, (_, i) => (i * 31 + this.seed + (i >> 8)) & 0xff)
    const edges = bench.irq.edges
    const inside = issue(m, bench, this.how, this.lba, this.count, codes)
    const status = bench.feed(data)
    expect(status).toBe(inside ? READY : READY | 1)
    if (!inside) return
    m.bytes.set(data, this.lba * 512)
    expect(bench.irq.edges - edges).toBe(Math.ceil(this.count / (this.multiple ? m.multiple : 1)))
  }
  toString(): string {
    return `write ${this.how} ${this.lba}+${this.count}${this.multiple ? ' multiple' : ''}`
  }
}

/** Begins a write, hands over part of it, and resets: whole sectors that were handed over are on the disk, others not. */
class Interrupted implements Command {
  readonly lba: number
  readonly words: number
  constructor(lba: number, words: number) {
    this.lba = lba
    this.words = words
  }
  check(m: Readonly<Model>): boolean {
    return this.lba + 4 <= m.sectors
  }
  run(m: Model, bench: Bench): void {
    bench.command(ata.ATA_CMD_WRITE_SECTORS, this.lba, 4)
    for (let i = 0; i < this.words; i++) {
      if ((bench.alternate & ata.ATA_STATUS_DRQ) === 0) bench.settle()
      bench.write(0, 0xabcd, 2)
    }
    bench.settle()
    bench.control(ata.ATA_CONTROL_SRST)
    bench.control(0)
    expect(bench.settle()).toBe(READY)
    expect(bench.irq.level).toBe(false)
    m.multiple = 0
    m.heads = 16
    m.perTrack = 63
    for (let i = 0; i < Math.floor(this.words / 256) * 256; i++) {
      m.bytes[this.lba * 512 + i * 2] = 0xcd
      m.bytes[this.lba * 512 + i * 2 + 1] = 0xab
    }
  }
  toString(): string {
    return `write ${this.lba} broken off after ${this.words} words`
  }
}

class SetMultiple implements Command {
  readonly count: number
  constructor(count: number) {
    this.count = count
  }
  check(): boolean {
    return true
  }
  run(m: Model, bench: Bench): void {
    const legal = [0, 1, 2, 4, 8, 16].includes(this.count)
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, this.count)
    expect(bench.settle()).toBe(legal ? READY : READY | 1)
    m.multiple = legal ? this.count : 0
  }
  toString(): string {
    return `set multiple ${this.count}`
  }
}

class Translate implements Command {
  readonly heads: number
  readonly perTrack: number
  constructor(heads: number, perTrack: number) {
    this.heads = heads
    this.perTrack = perTrack
  }
  check(): boolean {
    return true
  }
  run(m: Model, bench: Bench): void {
    bench.command(ata.ATA_CMD_INITIALIZE_PARAMETERS, 0, this.perTrack, 0xa0 | (this.heads - 1))
    expect(bench.settle()).toBe(READY)
    m.heads = this.heads
    m.perTrack = this.perTrack
  }
  toString(): string {
    return `translate ${this.heads} heads ${this.perTrack} sectors`
  }
}

/** Takes the state out of the controller and puts it back. */
class Reload implements Command {
  check(): boolean {
    return true
  }
  run(_m: Model, bench: Bench): void {
    bench.controller.loadState(structuredClone(bench.controller.saveState()))
  }
  toString(): string {
    return 'reload'
  }
}

const SECTORS = 80
const how = fc.constantFrom<Addressing>('chs', 'lba28', 'lba48')
const lba = fc.integer({ min: 0, max: SECTORS })
const count = fc.integer({ min: 1, max: 20 })
const commands = [
  fc.tuple(how, lba, count, fc.boolean(), fc.boolean()).map((args) => new Read(...args)),
  fc.tuple(how, lba, count, fc.nat({ max: 255 }), fc.boolean()).map((args) => new Write(...args)),
  fc.tuple(lba, fc.integer({ min: 0, max: 1023 })).map((args) => new Interrupted(...args)),
  fc.integer({ min: 0, max: 20 }).map((n) => new SetMultiple(n)),
  fc.tuple(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 255 })).map((args) => new Translate(...args)),
  fc.constant(new Reload()),
]

describe('ATA disk against a plain array', () => {
  it('reads back what was written, whatever the addressing, block size, and resets', () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 25 }), (cmds) => {
        const disk = new TestDisk(SECTORS)
        const model: Model = { bytes: disk.bytes.slice(), sectors: SECTORS, multiple: 0, heads: 16, perTrack: 63 }
        fc.modelRun(() => ({ model, real: new Bench(disk) }), cmds)
        expect(Buffer.compare(disk.bytes, model.bytes)).toBe(0)
      }),
      { numRuns: runs(60) },
    )
  })
})

const access = fc.record({
  where: fc.constantFrom('command', 'command', 'code', 'code', 'data', 'control', 'master', 'time', 'time'),
  offset: fc.nat({ max: 15 }),
  size: fc.constantFrom<PortSize>(1, 2, 4),
  value: fc.oneof(fc.nat({ max: 0xff }), fc.nat({ max: 0xffffffff }), fc.constantFrom(0, 1, 0x40, 0xa0, 0xb0, 0x09)),
  write: fc.boolean(),
})
const CODES = [
  0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0xa0, 0xa1, 0xc4, 0xc6, 0xc8, 0xca, 0xec, 0xef, 0x08, 0x90, 0xe6, 0xe8,
]

describe('ATA under random accesses', () => {
  it('never throws, hangs or lets a backend be used outside of its size, and can be saved at any time', () => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 150 }), (accesses) => {
        const disk = new TestDisk(40)
        const bench = new Bench(disk)
        const memory = new MemoryBus(0x10000)
        const cdrom = new AtapiCdrom(bench.clock)
        const disc = new TestDisk(9)
        cdrom.insert(disc)
        bench.channel.plug(1, cdrom)
        const ide = new IdeFunction({ controller: bench.controller, memory, ports: { place() {}, remove() {} } })
        for (const { where, offset, size, value, write } of accesses) {
          const sized = value % 2 ** (8 * size)
          let read = 0
          if (where === 'time') bench.clock.advance(value % 10_000)
          else if (where === 'code') bench.write(7, CODES[value % CODES.length]!)
          else if (where === 'control') bench.control(value & 0xff)
          else if (where === 'data') {
            for (let i = 0; i < 64; i++) {
              if (write) bench.write(0, (sized * (i + 1)) % 2 ** (8 * size), size)
              else read = bench.read(0, size)
            }
          } else {
            const device = where === 'master' ? ide.busMasterPorts : bench.channel.commandBlock
            const at = where === 'master' ? offset : offset & 7
            if (write) device.writePort(at, size, sized)
            else read = device.readPort(at, size)
          }
          expect(read >= 0 && read < 2 ** (8 * size)).toBe(true)
        }
        const state = bench.controller.saveState()
        bench.controller.loadState(state)
        expect(bench.controller.saveState()).toEqual(state)
        const masters = ide.busMasters.saveState()
        ide.busMasters.loadState(masters)
        expect(ide.busMasters.saveState()).toEqual(masters)
        // Whatever was going on comes to rest, and a reset brings the disk back.
        bench.clock.advance(1e9)
        expect(bench.clock.scheduled).toBe(0)
        bench.control(ata.ATA_CONTROL_SRST)
        bench.control(0)
        expect(bench.settle()).toBe(READY)
        bench.command(ata.ATA_CMD_READ_SECTORS, 39)
        expect(bench.drain().data).toEqual(disk.bytes.slice(39 * 512))
        expect([disk.outside, disc.outside]).toEqual([0, 0])
      }),
      { numRuns: runs(80) },
    )
  })
})
