import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PhysicalBus, PortDevice, PortSize } from '../../src/contracts/index.js'
import * as ata from '../../src/devices/ata-registers.js'
import { AtapiCdrom, FloppyController, FwCfg, IdeFunction, Vga, VgaFunction } from '../../src/devices/index.js'
import { DmaPair } from '../../src/io/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { runs } from '../runs.js'
import { Bench, TestDisk, TestLine } from './ata-tools.js'

const RAM = 0x100000
const HIGH = 0x1_0000_0000

/** The bus as devices see it: counts, and refuses addresses that no bus has. */
class Watched implements PhysicalBus {
  accesses = 0
  readonly target: AddressSpace
  constructor(target: AddressSpace) {
    this.target = target
  }
  #check(address: number): number {
    this.accesses++
    if (!Number.isSafeInteger(address) || address < 0 || address >= 2 ** 52) throw new Error(`DMA at ${address}`)
    return address
  }
  read8(address: number): number {
    return this.target.read8(this.#check(address))
  }
  read16(address: number): number {
    return this.target.read16(this.#check(address))
  }
  read32(address: number): number {
    return this.target.read32(this.#check(address))
  }
  write8(address: number, value: number): void {
    this.target.write8(this.#check(address), value)
  }
  write16(address: number, value: number): void {
    this.target.write16(this.#check(address), value)
  }
  write32(address: number, value: number): void {
    this.target.write32(this.#check(address), value)
  }
}

/** Everything that masters the bus in a PC, over one memory. */
class Machine extends Bench {
  readonly disk: TestDisk
  readonly diskette = new TestDisk(2880)
  readonly space = new AddressSpace({ size: RAM })
  readonly bus = new Watched(this.space)
  readonly vga: Vga
  readonly vgaFunction: VgaFunction
  readonly ide: IdeFunction
  readonly dma: DmaPair
  readonly floppy: FloppyController
  readonly fwCfg: FwCfg

  constructor(videoMemory: Uint8Array = new Uint8Array(0x40000)) {
    const disk = new TestDisk(64)
    super(disk)
    this.disk = disk
    const drive = new AtapiCdrom(this.clock)
    drive.insert(new TestDisk(64))
    this.channel.plug(1, drive)
    this.vga = new Vga({ memory: videoMemory.fill(0), clock: this.clock })
    this.vgaFunction = new VgaFunction(this.vga, { place() {}, remove() {} })
    this.space.addOverlay({ base: 0xa0000, size: 0x20000, device: this.vga.window })
    this.ide = new IdeFunction({ controller: this.controller, memory: this.bus, ports: { place() {}, remove() {} } })
    this.dma = new DmaPair({ bus: this.bus })
    this.dma.initialise()
    this.floppy = new FloppyController({
      clock: this.clock,
      irq: new TestLine(),
      fast: true,
      dma: { setRequest: (level) => this.dma.setRequest(2, level) },
    })
    this.dma.connect(2, this.floppy)
    this.floppy.insert(0, this.diskette)
    this.fwCfg = new FwCfg(this.bus)
    this.fwCfg.addFile('fixed', new Uint8Array(5000).fill(0x5a))
    this.fwCfg.addFile('writable', new Uint8Array(300), { writable: true })
  }

  master(offset: number, value: number, size: PortSize = 1): void {
    this.ide.busMasterPorts.writePort(offset, size, value)
  }

  /** Starts a transfer by a table at `table`. */
  transfer(command: number, table: number, toMemory: boolean): void {
    this.master(4, table, 4)
    this.command(command, 0, 2)
    this.master(0, toMemory ? 9 : 1)
    this.clock.advance(1e6)
  }

  fwDma(descriptor: number): void {
    this.fwCfg.writePort(4, 4, swap(Math.floor(descriptor / 2 ** 32)))
    this.fwCfg.writePort(8, 4, swap(descriptor % 2 ** 32))
  }

  descriptor(at: number, control: number, length: number, address: number): void {
    this.space.write32(at, swap(control))
    this.space.write32(at + 4, swap(length))
    this.space.write32(at + 8, swap(Math.floor(address / 2 ** 32) % 2 ** 32))
    this.space.write32(at + 12, swap(address % 2 ** 32))
  }
}

function swap(value: number): number {
  const v = value >>> 0
  return ((v >>> 24) | ((v >>> 8) & 0xff00) | ((v << 8) & 0xff0000) | (v << 24)) >>> 0
}

describe('wild ATA commands', () => {
  it('answers every command with an address beyond the disk by ready status, with an error where there is one', () => {
    const m = new Machine()
    for (let code = 0; code < 256; code++) {
      for (const device of [0xe0, 0xa0]) {
        m.controller.reset()
        m.command(code, 0xfffffff, 5, device | 0x0f)
        let status = m.settle()
        // A data phase that it may ask for is gone through.
        for (let i = 0; i < 4096 && (status & ata.ATA_STATUS_DRQ) !== 0; i++) {
          m.write(0, 0xffff, 2)
          m.read(0, 2)
          if ((m.alternate & ata.ATA_STATUS_DRQ) === 0) status = m.settle()
        }
        expect(status & (ata.ATA_STATUS_BSY | ata.ATA_STATUS_DRQ)).toBe(0)
        expect(status & ata.ATA_STATUS_DRDY).toBe(ata.ATA_STATUS_DRDY)
        const error = m.read(1)
        if ((status & ata.ATA_STATUS_ERR) !== 0) {
          expect([ata.ATA_ERROR_ABRT, ata.ATA_ERROR_IDNF]).toContain(error)
        }
        const addressed = [0x20, 0x21, 0x30, 0x31, 0x40, 0x41, 0xc8, 0xc9, 0xca, 0xcb]
        if (addressed.includes(code)) expect([code, status & 1, error]).toEqual([code, 1, ata.ATA_ERROR_IDNF])
        expect(m.disk.outside).toBe(0)
      }
    }
  })
})

describe('wild tables of the IDE bus master', () => {
  it('reads a table where nothing is as ones: one region that nothing answers', () => {
    const m = new Machine()
    for (const table of [RAM + 0x1000, 0xfffffffc, 0x80000000]) {
      m.transfer(ata.ATA_CMD_READ_DMA, table, true)
      // 65534 bytes at FFFFFFFEh and on, round to address 0: 32-bit addresses wrap.
      // The region is longer than the transfer, so that the engine stays active beside the interrupt.
      expect(m.ide.busMasterPorts.readPort(2, 1)).toBe(5)
      expect(m.settle() & 0x81).toBe(0)
      expect(m.space.read16(0)).toBe(m.disk.bytes[2]! | (m.disk.bytes[3]! << 8))
      m.space.write32(0, 0)
      m.master(0, 0)
      m.master(2, 6)
    }
  })

  it('never reaches beyond 4 GiB', () => {
    const m = new Machine()
    m.space.addRam(HIGH, 0x10000)
    m.space.write32(0x1000, 0xfffffff0)
    m.space.write32(0x1004, 0x80000400)
    m.transfer(ata.ATA_CMD_READ_DMA, 0x1000, true)
    expect(m.settle() & 0x81).toBe(0)
    const high = new Uint8Array(0x10000)
    m.space.readBytes(HIGH, high)
    expect(high.every((byte) => byte === 0)).toBe(true)
    const low = new Uint8Array(1008)
    m.space.readBytes(0, low)
    expect(low).toEqual(m.disk.bytes.slice(16, 1024))
  })

  it('writes ones to the disk from where nothing is', () => {
    const m = new Machine()
    m.space.write32(0x1000, RAM)
    m.space.write32(0x1004, 0x80000400)
    m.transfer(ata.ATA_CMD_WRITE_DMA, 0x1000, false)
    expect(m.settle() & 0x81).toBe(0)
    expect(m.disk.bytes.slice(0, 1024)).toEqual(new Uint8Array(1024).fill(0xff))
  })

  it('leaves a command waiting when the table ends early, until a reset', () => {
    const m = new Machine()
    m.space.write32(0x1000, 0x2000)
    m.space.write32(0x1004, 0x80000002)
    m.transfer(ata.ATA_CMD_READ_DMA, 0x1000, true)
    expect(m.ide.busMasterPorts.readPort(2, 1)).toBe(0)
    expect(m.alternate & ata.ATA_STATUS_BSY).toBe(ata.ATA_STATUS_BSY)
    expect(m.clock.scheduled).toBe(0)
    m.control(ata.ATA_CONTROL_SRST)
    m.control(0)
    m.clock.advance(1e6)
    expect(m.alternate).toBe(ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC)
  })

  it('follows a table without an end, and one that it overwrites, no further than the transfer', () => {
    const m = new Machine()
    for (let at = 0; at < 0x10000; at += 8) {
      m.space.write32(at, at)
      m.space.write32(at + 4, 2)
    }
    m.bus.accesses = 0
    m.transfer(ata.ATA_CMD_READ_DMA, 0, true)
    expect(m.settle() & 0x81).toBe(0)
    expect(m.bus.accesses).toBeLessThan(2048)
  })
})

describe('wild fw_cfg descriptors', () => {
  it('answers by the error bit, where the descriptor can be written at all', () => {
    const m = new Machine()
    for (const at of [RAM, RAM - 8, 2 ** 40, 2 ** 52 - 16, 2 ** 52, 2 ** 63]) {
      m.bus.accesses = 0
      m.fwDma(at)
      expect(m.bus.accesses).toBeLessThan(64)
    }
    for (const [control, length, address] of [
      [0x0020_000a, 0xffffffff, 0x2000],
      [0x0020_000a, 16, 2 ** 52 - 8],
      [0x0020_000a, 16, 2 ** 64 - 2048],
      [0x0020_0018, 16, 0x2000],
      [0x0021_0018, 301, 0x2000],
      [0x0021_0018, 16, 2 ** 60],
    ] as const) {
      m.descriptor(0x1000, control, length, address)
      m.bus.accesses = 0
      m.fwDma(0x1000)
      expect(swap(m.space.read32(0x1000))).toBe(1)
      expect(m.bus.accesses).toBeLessThan(64)
    }
    // Where nothing is, writes vanish and reads are ones.
    m.descriptor(0x1000, 0x0021_0018, 300, RAM)
    m.fwDma(0x1000)
    expect(m.space.read32(0x1000)).toBe(0)
    m.fwCfg.writePort(0, 2, 0x21)
    expect(m.fwCfg.readPort(1, 1)).toBe(0xff)
    // Into its own descriptor.
    m.descriptor(0x1000, 0x0020_000a, 64, 0x1000 - 8)
    m.fwDma(0x1000)
    expect(m.space.read32(0x1000)).toBe(0)
  })
})

const address = fc.oneof(
  fc.nat(RAM - 1),
  fc.nat(0xffffffff),
  fc.constantFrom(0xa0000, 0xbfffe, RAM - 2, RAM, 0xfffffffe, HIGH, 2 ** 52 - 4, 2 ** 63),
)

type Step = readonly [kind: string, a: number, b: number, c: number, d: number]
const KINDS = [
  'ata',
  'ata',
  'data',
  'control',
  'prd',
  'master',
  'floppy',
  'floppy',
  '8237',
  'page',
  'fwcfg',
  'vga',
  'time',
]
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom(...KINDS),
  fc.oneof(fc.nat(15), fc.nat(0xff)),
  fc.oneof(fc.nat(0xff), fc.nat(0xffffffff)),
  address,
  fc.oneof(fc.nat(0x1000), fc.nat(0xffffffff)),
)

const DMA_COMMANDS = [0xc8, 0xca, 0x25, 0x35, 0xa0, 0x20, 0x30, 0xc4, 0xc5, 0xc6, 0xef, 0xec]
const SIZES: readonly PortSize[] = [1, 2, 4]
/** Starts of diskette commands that move data. */
const FLOPPY = [0x46, 0xe6, 0x45, 0xc5, 0x42, 0x4d, 0x4c, 0x49, 0x16, 0x0f, 0x07, 0x08]

function act(m: Machine, [kind, a, b, c, d]: Step): void {
  const { space } = m
  switch (kind) {
    case 'ata': {
      const code = a < 12 ? DMA_COMMANDS[a]! : a
      m.command(code, b & 0x3f, d & 0xff, (b >>> 8) & 0xff)
      break
    }
    case 'data':
      for (let i = 0; i < (d & 0xff); i++) {
        m.write(0, b & 0xffff, 2)
        m.read(0, 4)
      }
      m.read(7)
      break
    case 'control':
      m.control(a & 0x86)
      break
    case 'prd':
      space.write32(0x1000 + (a & 0xf8), c % 2 ** 32)
      space.write32(0x1004 + (a & 0xf8), b)
      break
    case 'master':
      if ((a & 1) !== 0) m.master(4 + (a & 8), (d & 1) !== 0 ? c % 2 ** 32 : 0x1000, 4)
      m.master(a & 15, b & 0xff)
      if ((a & 4) !== 0) m.master(0, (b & 9) | 1)
      break
    case 'floppy':
      if (a < 16) m.floppy.writePort(a & 7, 1, b & 0xff)
      else {
        m.floppy.writePort(2, 1, 0x1c)
        m.clock.advance(1e6)
        const first = FLOPPY[a % 12]!
        for (const byte of [first, a & 4, b & 0xff, (b >>> 8) & 1, 1 + (d % 20), 2, d & 0xff, 0x1b, 0xff]) {
          m.floppy.writePort(5, 1, byte)
        }
      }
      m.floppy.readPort(a & 7, 1)
      break
    case '8237': {
      const ports: PortDevice = (d & 1) !== 0 ? m.dma.secondaryPorts : m.dma.primaryPorts
      ports.writePort(a & ((d & 1) !== 0 ? 31 : 15), 1, b & 0xff)
      if ((d & 2) !== 0) m.dma.primaryPorts.writePort(11, 1, 0x42 | (b & 0xfc))
      if ((d & 4) !== 0) m.dma.primaryPorts.writePort(10, 1, 2)
      break
    }
    case 'page':
      m.dma.pages.writePort(a & 15, 1, b & 0xff)
      break
    case 'fwcfg':
      m.descriptor(0x3000, (a & 1) !== 0 ? b : ((0x20 + (a & 3)) << 16) | (a & 0x1f), d, c)
      m.fwDma((a & 0x40) !== 0 ? c : 0x3000)
      m.fwCfg.readPort(1, 1)
      break
    case 'vga': {
      const size = SIZES[a % 3]!
      const value = b % 2 ** (8 * size)
      if ((d & 1) !== 0) m.vga.writePort(a % 0x30, size, value)
      else m.vgaFunction.mmio.writeMmio(d & 0xffc, size, value)
      m.vgaFunction.mmio.readMmio(d & 0xffc, size)
      m.vga.window.writeMmio(c % 0x1fffc, size, value)
      break
    }
    case 'time':
      m.clock.advance(d % 100_000)
      break
  }
}

describe('bus masters under fire', () => {
  it('never throw or reach outside of their media, and do bounded work', () => {
    const videoMemory = new Uint8Array(0x40000)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const m = new Machine(videoMemory)
        for (const s of steps) {
          m.bus.accesses = 0
          const fired = m.clock.fired
          act(m, s)
          // A run of the 8237 serves each channel to its terminal count at most; a fill of fw_cfg has a mebibyte.
          expect(m.bus.accesses).toBeLessThan(1_400_000)
          expect(m.clock.fired - fired).toBeLessThan(2000)
          const status = m.alternate
          expect(status & (ata.ATA_STATUS_BSY | ata.ATA_STATUS_DRQ)).not.toBe(ata.ATA_STATUS_BSY | ata.ATA_STATUS_DRQ)
          expect([m.disk.outside, m.diskette.outside]).toEqual([0, 0])
          expect(m.clock.scheduled).toBeLessThan(16)
        }
        // State at any point is a state, and resets make everything usable.
        m.controller.loadState(structuredClone(m.controller.saveState()))
        m.floppy.loadState(structuredClone(m.floppy.saveState()))
        m.fwCfg.loadState(structuredClone(m.fwCfg.saveState()))
        m.ide.busMasters.loadState(structuredClone(m.ide.busMasters.saveState()))
        m.controller.reset()
        m.ide.reset()
        m.command(ata.ATA_CMD_IDENTIFY)
        expect(m.settle()).toBe(ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC | ata.ATA_STATUS_DRQ)
      }),
      { numRuns: runs(150) },
    )
  })
})
