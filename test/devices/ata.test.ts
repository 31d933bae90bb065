import { describe, expect, it } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { AtaController } from '../../src/devices/ata.js'
import * as ata from '../../src/devices/ata-registers.js'
import { ManualClock } from '../manual-clock.js'
import { Bench, TestDisk } from './ata-tools.js'

const READY = ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC
const DATA = READY | ata.ATA_STATUS_DRQ
const FAILED = READY | ata.ATA_STATUS_ERR

describe('ATA channel', () => {
  it('floats without devices', () => {
    const bench = new Bench()
    expect([bench.read(7), bench.alternate, bench.read(2), bench.read(0, 2)]).toEqual([0x7f, 0x7f, 0x7f, 0xff7f])
    bench.command(ata.ATA_CMD_IDENTIFY)
    bench.control(ata.ATA_CONTROL_SRST)
    bench.control(0)
    bench.clock.advance(1e6)
    expect([bench.read(7), bench.irq.edges]).toEqual([0x7f, 0])
  })

  it('has device 0 answer with status 0 for a device 1 that is not there', () => {
    const bench = new Bench(new TestDisk(8))
    bench.write(6, 0xb0)
    bench.write(2, 0x55)
    bench.write(3, 0xaa)
    expect([bench.read(2), bench.read(3), bench.read(6)]).toEqual([0x55, 0xaa, 0xb0])
    expect([bench.read(7), bench.alternate]).toEqual([0, 0])
    bench.write(7, ata.ATA_CMD_IDENTIFY)
    bench.clock.advance(1e6)
    expect([bench.read(7), bench.irq.edges]).toEqual([0, 0])
    bench.write(6, 0xa0)
    expect(bench.read(7)).toBe(READY)
  })

  it('gives nothing for device 0 when only device 1 is there', () => {
    const bench = new Bench(undefined, new TestDisk(8))
    expect(bench.read(7)).toBe(0x7f)
    bench.write(6, 0xb0)
    expect(bench.read(7)).toBe(READY)
  })

  it('shows the signature after a software reset, and BSY during it', () => {
    const bench = new Bench(new TestDisk(8), new TestDisk(8))
    bench.write(6, 0xb0)
    bench.write(2, 0x77)
    bench.control(ata.ATA_CONTROL_SRST)
    bench.clock.advance(5000)
    expect(bench.read(7)).toBe(ata.ATA_STATUS_BSY)
    bench.control(0)
    expect(bench.read(7)).toBe(ata.ATA_STATUS_BSY)
    expect(bench.settle()).toBe(READY)
    expect([1, 2, 3, 4, 5, 6].map((r) => bench.read(r))).toEqual([1, 1, 1, 0, 0, 0])
    expect(bench.irq.edges).toBe(0)
    bench.write(6, 0x10)
    expect([bench.read(2), bench.read(1)]).toEqual([1, 1])
  })

  it('runs diagnostics on both devices and interrupts once', () => {
    const bench = new Bench(new TestDisk(8), new TestDisk(8))
    bench.write(6, 0xb0)
    bench.write(7, ata.ATA_CMD_EXECUTE_DIAGNOSTIC)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    expect(bench.settle()).toBe(READY)
    expect([1, 2, 3, 4, 5, 6].map((r) => bench.read(r))).toEqual([1, 1, 1, 0, 0, 0])
    expect([bench.irq.edges, bench.irq.level]).toEqual([1, false])
    bench.write(6, 0xb0)
    expect(bench.irq.level).toBe(false)
  })

  it('shows previous contents with HOB, until the next write', () => {
    const bench = new Bench(new TestDisk(8))
    for (const register of [2, 3, 4, 5]) {
      bench.write(register, 0x10 + register)
      bench.write(register, 0x20 + register)
    }
    bench.control(ata.ATA_CONTROL_HOB)
    expect([2, 3, 4, 5].map((r) => bench.read(r))).toEqual([0x12, 0x13, 0x14, 0x15])
    bench.write(1, 0)
    expect([2, 3, 4, 5].map((r) => bench.read(r))).toEqual([0x22, 0x23, 0x24, 0x25])
  })

  it('ignores commands and task file while busy', () => {
    const disk = new TestDisk(8)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_SECTORS, 3)
    expect(bench.read(2)).toBe(ata.ATA_STATUS_BSY)
    bench.write(3, 5)
    bench.write(7, ata.ATA_CMD_IDENTIFY)
    const { data } = bench.drain()
    expect(data).toEqual(disk.bytes.slice(3 * 512, 4 * 512))
  })

  it('holds interrupts back with nIEN and gives them afterwards', () => {
    const bench = new Bench(new TestDisk(8))
    bench.control(ata.ATA_CONTROL_NIEN)
    bench.command(ata.ATA_CMD_RECALIBRATE)
    bench.clock.advance(1e5)
    expect(bench.irq.level).toBe(false)
    bench.control(0)
    expect(bench.irq.level).toBe(true)
    expect(bench.alternate).toBe(READY)
    expect(bench.irq.level).toBe(true)
    bench.read(7)
    expect(bench.irq.level).toBe(false)
  })

  it('takes the interrupt of the device that is not selected off the wire', () => {
    const bench = new Bench(new TestDisk(8), new TestDisk(8))
    bench.command(ata.ATA_CMD_RECALIBRATE)
    bench.clock.advance(1e5)
    expect(bench.irq.level).toBe(true)
    bench.write(6, 0x10)
    expect(bench.irq.level).toBe(false)
    bench.write(6, 0x00)
    expect(bench.irq.level).toBe(true)
  })

  it('reads all ones while it is not decoded', () => {
    const bench = new Bench(new TestDisk(8))
    bench.channel.decoded = false
    expect([bench.read(7), bench.read(0, 4), bench.alternate]).toEqual([0xff, 0xffffffff, 0xff])
  })
})

describe('ATA disk', () => {
  it('identifies itself', () => {
    const bench = new Bench(new TestDisk(0x12345))
    bench.command(ata.ATA_CMD_IDENTIFY)
    const { data, status } = bench.drain()
    expect(status).toBe(READY)
    expect(data).toHaveLength(512)
    const word = (i: number): number => Bench.word(data, i)
    expect([word(0) & 0x8000, word(1), word(3), word(6)]).toEqual([0, Math.floor(0x12345 / 1008), 16, 63])
    expect([word(60), word(61), word(100), word(101), word(102)]).toEqual([0x2345, 1, 0x2345, 1, 0])
    expect(word(49) & 0x0300).toBe(0x0200) // LBA, no DMA without a bus master
    expect(word(83) & 0xc400).toBe(0x4400) // valid, 48-bit addresses
    expect([word(47), word(59)]).toEqual([0x8010, 0])
    expect(data.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0)
    expect(data[510]).toBe(0xa5)
    let model = ''
    for (let i = 27; i < 47; i++) model += String.fromCharCode(word(i) >> 8, word(i) & 0xff)
    expect(model.trim()).toBe('virtkit disk')
    expect(bench.irq.edges).toBe(1)
  })

  it('interrupts once per sector of a read, and shows BSY between', () => {
    const disk = new TestDisk(16)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_SECTORS, 2, 3)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    for (let sector = 0; sector < 3; sector++) {
      expect(bench.settle()).toBe(DATA)
      expect(bench.irq.edges).toBe(sector + 1)
      for (let i = 0; i < 256; i++) bench.read(0, 2)
      expect(bench.alternate).toBe(sector < 2 ? ata.ATA_STATUS_BSY : READY)
    }
    bench.clock.advance(1e6)
    expect(bench.irq.edges).toBe(3)
    expect([bench.read(2), bench.read(3)]).toEqual([0, 4])
  })

  it('interrupts after each sector of a write, not before the first', () => {
    const disk = new TestDisk(16)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_WRITE_SECTORS, 5, 2)
    expect(bench.settle()).toBe(DATA)
    expect(bench.irq.edges).toBe(0)
    for (let i = 0; i < 256; i++) bench.write(0, 0x1111, 2)
    expect(bench.alternate).toBe(ata.ATA_STATUS_BSY)
    expect(bench.settle()).toBe(DATA)
    expect(bench.irq.edges).toBe(1)
    for (let i = 0; i < 128; i++) bench.write(0, 0x22222222, 4)
    expect(bench.settle()).toBe(READY)
    expect(bench.irq.edges).toBe(2)
    expect([disk.bytes[5 * 512], disk.bytes[6 * 512 - 1], disk.bytes[6 * 512]]).toEqual([0x11, 0x11, 0x22])
  })

  it('moves blocks with READ and WRITE MULTIPLE', () => {
    const disk = new TestDisk(32)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_MULTIPLE, 0, 4)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, 3)
    expect(bench.settle()).toBe(FAILED)
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, 4)
    expect(bench.settle()).toBe(READY)
    const before = bench.irq.edges
    bench.command(ata.ATA_CMD_READ_MULTIPLE, 1, 10)
    const { data } = bench.drain(4)
    expect(data).toEqual(disk.bytes.slice(512, 11 * 512))
    // Blocks of four, four and two.
    expect(bench.irq.edges - before).toBe(3)
    const fresh = Uint8Array.from({ length: 6 * 512 }, (_, i) => i & 0xff)
    bench.commandExt(ata.ATA_CMD_WRITE_MULTIPLE_EXT, 20, 6)
    expect(bench.feed(fresh)).toBe(READY)
    expect(disk.bytes.slice(20 * 512, 26 * 512)).toEqual(fresh)
    expect(bench.irq.edges - before).toBe(5)
  })

  it('takes a count of 0 as 256', () => {
    const disk = new TestDisk(300)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_SECTORS, 7, 0)
    expect(bench.drain(4).data).toEqual(disk.bytes.slice(7 * 512, 263 * 512))
  })

  it('translates CHS by default and as the host chose', () => {
    const disk = new TestDisk(3000)
    const bench = new Bench(disk)
    const chs = (cylinder: number, head: number, sector: number): Uint8Array => {
      bench.command(ata.ATA_CMD_READ_SECTORS, (cylinder << 8) | sector, 1, 0xa0 | head)
      return bench.drain().data
    }
    const lba = (n: number): Uint8Array => disk.bytes.slice(n * 512, n * 512 + 512)
    expect(chs(1, 2, 3)).toEqual(lba((16 + 2) * 63 + 2))
    bench.command(ata.ATA_CMD_INITIALIZE_PARAMETERS, 0, 17, 0xa3)
    expect(bench.settle()).toBe(READY)
    expect(chs(2, 3, 17)).toEqual(lba((2 * 4 + 3) * 17 + 16))
    expect(chs(0, 4, 1)).toHaveLength(0)
    expect([bench.read(7), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_IDNF])
    expect(chs(0, 0, 0)).toHaveLength(0)
    bench.command(ata.ATA_CMD_IDENTIFY)
    const identity = bench.drain().data
    expect([54, 55, 56].map((i) => Bench.word(identity, i))).toEqual([Math.floor(3000 / 68), 4, 17])
  })

  it('refuses what lies beyond its end', () => {
    const bench = new Bench(new TestDisk(100))
    for (const [lba, count] of [
      [100, 1],
      [99, 2],
      [0x0fffffff, 1],
    ] as const) {
      for (const code of [ata.ATA_CMD_READ_SECTORS, ata.ATA_CMD_WRITE_SECTORS, ata.ATA_CMD_READ_VERIFY]) {
        bench.command(code, lba, count)
        expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_IDNF])
      }
    }
    bench.command(ata.ATA_CMD_READ_SECTORS, 99, 2)
    bench.settle()
    expect([bench.read(3), bench.read(4)]).toEqual([100, 0])
    bench.commandExt(ata.ATA_CMD_READ_SECTORS_EXT, 2 ** 40, 1)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_IDNF])
    bench.commandExt(ata.ATA_CMD_READ_SECTORS_EXT, 5, 1, 0x00)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
  })

  it('reports the sector that cannot be read', () => {
    const disk = new TestDisk(100)
    disk.badFrom = 42 * 512
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, 8)
    bench.settle()
    bench.command(ata.ATA_CMD_READ_MULTIPLE, 40, 8)
    const { data, status } = bench.drain()
    expect([data.length, status, bench.read(1)]).toEqual([0, FAILED, ata.ATA_ERROR_UNC])
    expect([bench.read(3), bench.read(2)]).toEqual([42, 6])
    bench.commandExt(ata.ATA_CMD_READ_VERIFY_EXT, 0, 100)
    expect([bench.settle(), bench.read(1), bench.read(3)]).toEqual([FAILED, ata.ATA_ERROR_UNC, 42])
  })

  it('reports a failed write as a device fault, and refuses writes when read-only', () => {
    const disk = new TestDisk(100)
    disk.badFrom = 42 * 512
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_WRITE_SECTORS, 50)
    expect(bench.feed(new Uint8Array(512))).toBe(FAILED | ata.ATA_STATUS_DF)
    disk.readOnly = true
    bench.command(ata.ATA_CMD_WRITE_SECTORS, 5)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
  })

  it('keeps multiple mode over a software reset only when told', () => {
    const bench = new Bench(new TestDisk(100))
    const reset = (): number => {
      bench.control(ata.ATA_CONTROL_SRST)
      bench.control(0)
      bench.settle()
      bench.command(ata.ATA_CMD_IDENTIFY)
      return Bench.word(bench.drain().data, 59)
    }
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, 16)
    bench.settle()
    expect(reset()).toBe(0)
    bench.command(ata.ATA_CMD_SET_MULTIPLE, 0, 16)
    bench.settle()
    bench.write(1, ata.ATA_FEATURE_REVERT_OFF)
    bench.command(ata.ATA_CMD_SET_FEATURES)
    bench.settle()
    expect(reset()).toBe(0x110)
  })

  it('knows its power modes, and wakes from sleep by a reset only', () => {
    const bench = new Bench(new TestDisk(100))
    const mode = (): number => {
      bench.command(ata.ATA_CMD_CHECK_POWER_MODE)
      expect(bench.settle()).toBe(READY)
      return bench.read(2)
    }
    expect(mode()).toBe(0xff)
    for (const [code, expected] of [
      [ata.ATA_CMD_IDLE_IMMEDIATE, 0x80],
      [ata.ATA_CMD_STANDBY_IMMEDIATE, 0],
      [ata.ATA_CMD_IDLE, 0x80],
      [ata.ATA_CMD_STANDBY, 0],
      [ata.ATA_CMD_READ_VERIFY, 0xff],
    ] as const) {
      bench.command(code, 0, 1)
      expect(bench.settle()).toBe(READY)
      expect(mode()).toBe(expected)
    }
    bench.command(ata.ATA_CMD_SLEEP)
    expect(bench.settle()).toBe(READY)
    const edges = bench.irq.edges
    bench.command(ata.ATA_CMD_IDENTIFY)
    bench.clock.advance(1e6)
    expect(bench.irq.edges).toBe(edges)
    bench.control(ata.ATA_CONTROL_SRST)
    bench.control(0)
    bench.settle()
    expect(mode()).toBe(0xff)
  })

  it('answers the rest of its commands', () => {
    const disk = new TestDisk(0x12345)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_NATIVE_MAX)
    expect(bench.settle()).toBe(READY)
    expect([bench.read(3), bench.read(4), bench.read(5), bench.read(6) & 0xf]).toEqual([0x44, 0x23, 0x01, 0])
    bench.commandExt(ata.ATA_CMD_READ_NATIVE_MAX_EXT, 0, 0)
    expect(bench.settle()).toBe(READY)
    expect([bench.read(3), bench.read(4), bench.read(5)]).toEqual([0x44, 0x23, 0x01])
    bench.command(ata.ATA_CMD_FLUSH_CACHE)
    expect(bench.settle()).toBe(READY)
    bench.command(ata.ATA_CMD_FLUSH_CACHE_EXT)
    expect(bench.settle()).toBe(READY)
    expect(disk.flushes).toBe(2)
    for (const code of [
      ata.ATA_CMD_NOP,
      ata.ATA_CMD_IDENTIFY_PACKET,
      ata.ATA_CMD_PACKET,
      ata.ATA_CMD_DEVICE_RESET,
      0xff,
    ]) {
      bench.command(code)
      expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
    }
    bench.command(ata.ATA_CMD_READ_DMA)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
    bench.command(ata.ATA_CMD_SEEK, 0x12344)
    expect(bench.settle()).toBe(READY)
    bench.command(ata.ATA_CMD_SEEK, 0x12345)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_IDNF])
    const block = Uint8Array.from({ length: 512 }, (_, i) => i ^ 0x5a)
    bench.command(ata.ATA_CMD_WRITE_BUFFER)
    expect(bench.feed(block)).toBe(READY)
    bench.command(ata.ATA_CMD_READ_BUFFER)
    expect(bench.drain().data).toEqual(block)
  })

  it('sets the modes it has', () => {
    const bench = new Bench(new TestDisk(100))
    for (const [mode, expected] of [
      [0x00, READY],
      [0x01, READY],
      [0x0c, READY],
      [0x0d, FAILED],
      [0x22, FAILED], // no bus master here
      [0x45, FAILED],
      [0x30, FAILED],
    ] as const) {
      bench.write(1, ata.ATA_FEATURE_TRANSFER_MODE)
      bench.command(ata.ATA_CMD_SET_FEATURES, 0, mode)
      expect(bench.settle()).toBe(expected)
    }
    bench.write(1, ata.ATA_FEATURE_WRITE_CACHE_OFF)
    bench.command(ata.ATA_CMD_SET_FEATURES)
    bench.settle()
    bench.command(ata.ATA_CMD_IDENTIFY)
    expect(Bench.word(bench.drain().data, 85) & 0x60).toBe(0x40)
  })

  it('goes on from saved state in the middle of a transfer', () => {
    const disk = new TestDisk(16)
    const bench = new Bench(disk)
    bench.command(ata.ATA_CMD_READ_SECTORS, 1, 3)
    bench.settle()
    for (let i = 0; i < 300; i++) {
      if ((bench.alternate & ata.ATA_STATUS_DRQ) === 0) bench.settle()
      bench.read(0, 2)
    }
    const state = structuredClone(bench.controller.saveState())
    const other = new Bench(disk)
    other.clock.advanceTo(bench.clock.now())
    other.controller.loadState(state)
    expect(other.controller.saveState()).toEqual(state)
    expect(other.drain().data).toEqual(disk.bytes.slice(512 + 600, 4 * 512))
  })

  it('refuses damaged state and leaves everything as it was', () => {
    const bench = new Bench(new TestDisk(16), new TestDisk(16))
    bench.command(ata.ATA_CMD_WRITE_SECTORS, 1, 3)
    bench.settle()
    const good = bench.controller.saveState()
    const [first, second] = good.channels[0].devices as [Record<string, unknown>, Record<string, unknown>]
    const withDevices = (a: unknown, b: unknown): unknown => ({
      version: 1,
      channels: [{ ...good.channels[0], devices: [a, b] }, good.channels[1]],
    })
    const device = first.device as Record<string, unknown>
    for (const bad of [
      withDevices({ ...first, lba: 15 }, second),
      withDevices({ ...first, transfer: 1 }, second),
      withDevices({ ...first, device: { ...device, buffer: new Uint8Array(100) } }, second),
      withDevices({ ...first, device: { ...device, phase: 5 } }, second),
      withDevices({ ...first, device: { ...device, status: 0x50 } }, second),
      withDevices({ ...first, multiple: 8 }, { ...second, version: 9 }),
      withDevices(first, null),
      { version: 1, channels: [good.channels[0]] },
    ]) {
      expect(() => bench.controller.loadState(bad as never)).toThrow(VirtkitError)
      expect(bench.controller.saveState()).toEqual(good)
    }
  })

  it('is refused with a size that is no number of sectors, or where one is already', () => {
    const controller = new AtaController({ clock: new ManualClock() })
    const odd = { size: 513, readOnly: false, read() {}, write() {}, flush() {} }
    expect(() => controller.attachDisk(0, odd)).toThrow(/multiple of 512/)
    controller.attachDisk(2, new TestDisk(1))
    expect(() => controller.attachDisk(2, new TestDisk(1))).toThrow(/already/)
    expect(controller.secondary.device(0)).toBeDefined()
  })
})
