import { describe, expect, it } from 'vitest'
import type { PortDevice } from '../../src/contracts/index.js'
import * as ata from '../../src/devices/ata-registers.js'
import {
  BMIDE_COMMAND_START,
  BMIDE_COMMAND_TO_MEMORY,
  BMIDE_STATUS_ACTIVE,
  BMIDE_STATUS_INTERRUPT,
  IdeFunction,
  PIIX_IDETIM_PRIMARY,
} from '../../src/devices/ide.js'
import { PciBus } from '../../src/devices/pci.js'
import { Bench, TestDisk } from './ata-tools.js'
import { MemoryBus } from './ide-tools.js'

const READY = ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC
const TABLE = 0x8000

class IdeBench extends Bench {
  readonly memory = new MemoryBus(0x40000)
  readonly ide: IdeFunction
  constructor(disk: TestDisk) {
    super(disk)
    this.ide = new IdeFunction({ controller: this.controller, memory: this.memory, ports: { place() {}, remove() {} } })
  }

  table(...regions: [address: number, count: number][]): void {
    regions.forEach(([address, count], i) => {
      this.memory.write32(TABLE + i * 8, address)
      this.memory.write32(TABLE + i * 8 + 4, ((count & 0xffff) | (i === regions.length - 1 ? 0x80000000 : 0)) >>> 0)
    })
    this.master(4, TABLE, 4)
  }

  master(offset: number, value: number, size: 1 | 4 = 1): void {
    this.ide.busMasterPorts.writePort(offset, size, value)
  }

  get masterStatus(): number {
    return this.ide.busMasterPorts.readPort(2, 1)
  }
}

describe('bus master IDE', () => {
  it('reads into scattered regions and says so', () => {
    const disk = new TestDisk(64)
    const bench = new IdeBench(disk)
    bench.table([0x10002, 0x1fe], [0x20000, 0x202], [0x30000, 512])
    bench.command(ata.ATA_CMD_READ_DMA, 5, 3)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    expect(bench.masterStatus).toBe(BMIDE_STATUS_ACTIVE)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    bench.clock.advance(1e6)
    expect(bench.masterStatus).toBe(BMIDE_STATUS_INTERRUPT)
    expect([bench.irq.edges, bench.read(7)]).toEqual([1, READY])
    const { bytes } = bench.memory
    const got = Uint8Array.of(...bytes.slice(0x10002, 0x10200), ...bytes.slice(0x20000, 0x20202))
    expect(got).toEqual(disk.bytes.slice(5 * 512, 7 * 512))
    expect(bytes.slice(0x30000, 0x30200)).toEqual(disk.bytes.slice(7 * 512, 8 * 512))
    expect([bytes[0x10001], bytes[0x10200], bytes[0x30200]]).toEqual([0, 0, 0])
    bench.master(2, BMIDE_STATUS_INTERRUPT)
    expect(bench.masterStatus).toBe(0)
  })

  it('writes from memory, and starts when both sides are ready, in either order', () => {
    const disk = new TestDisk(64)
    const bench = new IdeBench(disk)
    for (let i = 0; i < 1024; i++) bench.memory.bytes[0x10000 + i] = i * 3
    bench.table([0x10000, 1024])
    bench.master(0, BMIDE_COMMAND_START)
    bench.commandExt(ata.ATA_CMD_WRITE_DMA_EXT, 9, 2)
    bench.clock.advance(1e6)
    expect([bench.masterStatus, bench.read(7)]).toEqual([BMIDE_STATUS_INTERRUPT, READY])
    expect(disk.bytes.slice(9 * 512, 11 * 512)).toEqual(bench.memory.bytes.slice(0x10000, 0x10400))
    bench.master(0, 0)
    bench.commandExt(ata.ATA_CMD_WRITE_DMA_EXT, 20, 2)
    bench.clock.advance(1e6)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    bench.master(0, BMIDE_COMMAND_START)
    bench.clock.advance(1e6)
    expect(bench.read(7)).toBe(READY)
    expect(disk.bytes.slice(20 * 512, 22 * 512)).toEqual(bench.memory.bytes.slice(0x10000, 0x10400))
  })

  it('moves more than a buffer, with regions of 64 KiB', () => {
    const disk = new TestDisk(300)
    const bench = new IdeBench(disk)
    bench.table([0x10000, 0], [0x20000, 0])
    bench.command(ata.ATA_CMD_READ_DMA, 1, 0)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect(bench.read(7)).toBe(READY)
    expect(Buffer.compare(bench.memory.bytes.subarray(0x10000, 0x30000), disk.bytes.subarray(512, 257 * 512))).toBe(0)
  })

  it('stays active when the table is longer than the transfer', () => {
    const bench = new IdeBench(new TestDisk(8))
    bench.table([0x10000, 4096])
    bench.command(ata.ATA_CMD_READ_DMA, 0, 1)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect(bench.masterStatus).toBe(BMIDE_STATUS_INTERRUPT | BMIDE_STATUS_ACTIVE)
    bench.master(0, 0)
    expect(bench.masterStatus).toBe(BMIDE_STATUS_INTERRUPT)
  })

  it('stops without an interrupt when the table is shorter, and goes on with another one', () => {
    const disk = new TestDisk(8)
    const bench = new IdeBench(disk)
    bench.table([0x10000, 700])
    bench.command(ata.ATA_CMD_READ_DMA, 0, 2)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect([bench.masterStatus, bench.irq.edges]).toEqual([0, 0])
    bench.master(0, 0)
    bench.table([0x10000 + 700, 324])
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect(bench.read(7)).toBe(READY)
    expect(bench.memory.bytes.slice(0x10000, 0x10400)).toEqual(disk.bytes.slice(0, 1024))
  })

  it('survives tables and regions that lie nowhere', () => {
    const bench = new IdeBench(new TestDisk(300))
    bench.master(4, 0xfffffffc, 4)
    bench.commandExt(ata.ATA_CMD_READ_DMA_EXT, 0, 256)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e9)
    expect(bench.clock.scheduled).toBe(0)
    // A table of the smallest regions, without an end.
    for (let i = 0; i < 0x8000; i += 8) bench.memory.write32(i + 4, 2)
    bench.control(ata.ATA_CONTROL_SRST)
    bench.control(0)
    bench.settle()
    bench.master(0, 0)
    bench.master(4, 0, 4)
    bench.command(ata.ATA_CMD_READ_DMA, 0, 4)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.memory.accesses = 0
    bench.clock.advance(1e9)
    expect(bench.settle()).toBe(READY)
    expect(bench.memory.accesses).toBeLessThan(20_000)
  })

  it('ends with an error of the disk, and waits while bus mastering is off', () => {
    const disk = new TestDisk(64)
    const bench = new IdeBench(disk)
    disk.badFrom = 512
    bench.table([0x10000, 1024])
    bench.command(ata.ATA_CMD_READ_DMA, 0, 2)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect([bench.read(7), bench.read(1)]).toEqual([READY | ata.ATA_STATUS_ERR, ata.ATA_ERROR_UNC])
    bench.master(0, 0)
    disk.badFrom = Infinity
    bench.ide.writeConfig(4, 2, 1)
    bench.command(ata.ATA_CMD_READ_DMA, 0, 2)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(1e6)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    bench.ide.writeConfig(4, 2, 5)
    bench.clock.advance(1e6)
    expect(bench.read(7)).toBe(READY)
  })

  it('goes on from saved state in the middle of a transfer', () => {
    const disk = new TestDisk(300)
    const bench = new IdeBench(disk)
    bench.table([0x10000, 0], [0x20000, 0])
    bench.command(ata.ATA_CMD_READ_DMA, 1, 0)
    bench.master(0, BMIDE_COMMAND_START | BMIDE_COMMAND_TO_MEMORY)
    bench.clock.advance(3500)
    const states = structuredClone([bench.controller.saveState(), bench.ide.busMasters.saveState()] as const)
    const other = new IdeBench(disk)
    other.clock.advanceTo(bench.clock.now())
    other.memory.bytes.set(bench.memory.bytes)
    other.ide.busMasters.loadState(states[1])
    other.controller.loadState(states[0])
    other.clock.advance(1e6)
    expect(other.read(7)).toBe(READY)
    expect(Buffer.compare(other.memory.bytes.subarray(0x10000, 0x30000), disk.bytes.subarray(512, 257 * 512))).toBe(0)
  })

  it('says in IDENTIFY what a bus master makes possible', () => {
    const bench = new IdeBench(new TestDisk(8))
    bench.write(1, ata.ATA_FEATURE_TRANSFER_MODE)
    bench.command(ata.ATA_CMD_SET_FEATURES, 0, 0x42)
    expect(bench.settle()).toBe(READY)
    bench.command(ata.ATA_CMD_IDENTIFY)
    const { data } = bench.drain()
    expect([Bench.word(data, 49) & 0x100, Bench.word(data, 63), Bench.word(data, 88)]).toEqual([0x100, 7, 0x043f])
  })
})

describe('IDE as PCI function', () => {
  it('is a PIIX3 with bus master registers behind BAR 4', () => {
    const placed: [number, PortDevice | undefined][] = []
    const bench = new Bench(new TestDisk(8))
    const ide = new IdeFunction({
      controller: bench.controller,
      memory: new MemoryBus(16),
      ports: {
        place: (base, _size, ports) => void placed.push([base, ports]),
        remove: (base) => void placed.push([-base, undefined]),
      },
    })
    new PciBus().add(1, 1, ide)
    expect([ide.readConfig(0, 4), ide.readConfig(8, 4)]).toEqual([0x70108086, 0x01018000])
    ide.writeConfig(0x20, 4, 0xffffffff)
    expect(ide.readConfig(0x20, 4)).toBe(0xfffffff1)
    ide.writeConfig(0x20, 4, 0xc040)
    expect(placed.at(-1)).toEqual([0xc040, ide.busMasterPorts])
    ide.writeConfig(4, 2, 0)
    expect(placed.at(-1)).toEqual([-0xc040, undefined])
  })

  it('decodes the legacy ports as timing register and I/O space say', () => {
    const bench = new Bench(new TestDisk(8))
    const options = { controller: bench.controller, memory: new MemoryBus(16), ports: { place() {}, remove() {} } }
    const ide = new IdeFunction({ ...options, decodeAtReset: false })
    expect(bench.read(7)).toBe(0xff)
    ide.writeConfig(PIIX_IDETIM_PRIMARY, 2, 0x8000)
    expect(bench.read(7)).toBe(0xff)
    ide.writeConfig(4, 2, 1)
    expect(bench.read(7)).toBe(READY)
    ide.reset()
    expect(bench.read(7)).toBe(0xff)
  })
})
