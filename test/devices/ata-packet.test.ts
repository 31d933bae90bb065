import { describe, expect, it } from 'vitest'
import * as packet from '../../src/devices/ata-packet.js'
import { AtapiCdrom } from '../../src/devices/ata-packet.js'
import * as ata from '../../src/devices/ata-registers.js'
import { IdeFunction } from '../../src/devices/ide.js'
import { Bench, TestDisk } from './ata-tools.js'
import { MemoryBus } from './ide-tools.js'

const READY = ata.ATA_STATUS_DRDY | ata.ATA_STATUS_DSC
const FAILED = READY | ata.ATA_STATUS_ERR

class PacketBench extends Bench {
  readonly cdrom = new AtapiCdrom(this.clock)
  /** Largest DRQ block seen. */
  blocks: number[] = []
  constructor() {
    super()
    this.channel.plug(0, this.cdrom)
  }

  /** Sends a packet and takes the data. */
  send(bytes: readonly number[], limit = 0xfffe): { data: Uint8Array; status: number } {
    this.write(6, 0)
    this.write(1, 0)
    this.write(4, limit & 0xff)
    this.write(5, limit >> 8)
    this.write(7, ata.ATA_CMD_PACKET)
    expect(this.settle()).toBe(READY | ata.ATA_STATUS_DRQ)
    expect(this.read(2) & 3).toBe(ata.ATAPI_REASON_CD)
    for (let i = 0; i < 12; i += 2) this.write(0, (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8), 2)
    const data: number[] = []
    this.blocks = []
    let status = this.settle()
    while ((status & ata.ATA_STATUS_DRQ) !== 0) {
      expect(this.read(2) & 3).toBe(ata.ATAPI_REASON_IO)
      const length = this.read(4) | (this.read(5) << 8)
      this.blocks.push(length)
      for (let i = 0; i < length; i += 2) {
        const word = this.read(0, 2)
        data.push(word & 0xff)
        if (i + 1 < length) data.push(word >> 8)
      }
      status = this.settle()
    }
    expect(this.read(2) & 3).toBe(ata.ATAPI_REASON_CD | ata.ATAPI_REASON_IO)
    return { data: Uint8Array.from(data), status }
  }

  sense(): [key: number, code: number] {
    const { data } = this.send([packet.SCSI_REQUEST_SENSE, 0, 0, 0, 18])
    return [data[2]! & 0xf, (data[12]! << 8) | data[13]!]
  }

  /** Reports what happened before, so that the next command is carried out. */
  quiet(): this {
    while (this.sense()[0] !== 0);
    return this
  }
}

/** A disc of `sectors` sectors of 2048 bytes. */
function withDisc(sectors = 20): { bench: PacketBench; disc: TestDisk } {
  const bench = new PacketBench()
  const disc = new TestDisk(sectors * 4)
  bench.cdrom.insert(disc)
  return { bench: bench.quiet(), disc }
}

describe('ATAPI device', () => {
  it('is told from a disk by its signature, which aborted disk commands show as well', () => {
    const { bench } = withDisc()
    bench.control(ata.ATA_CONTROL_SRST)
    bench.control(0)
    expect(bench.settle()).toBe(0)
    expect([2, 3, 4, 5].map((r) => bench.read(r))).toEqual([1, 1, 0x14, 0xeb])
    bench.write(4, 0)
    bench.write(5, 0)
    bench.write(7, ata.ATA_CMD_IDENTIFY)
    expect([bench.settle(), bench.read(1)]).toEqual([FAILED, ata.ATA_ERROR_ABRT])
    expect([bench.read(4), bench.read(5)]).toEqual([0x14, 0xeb])
  })

  it('identifies itself as CD-ROM with 12-byte packets', () => {
    const { bench } = withDisc()
    bench.write(7, ata.ATA_CMD_IDENTIFY_PACKET)
    const { data } = bench.drain()
    expect([Bench.word(data, 0) >> 14, (Bench.word(data, 0) >> 8) & 0x1f, Bench.word(data, 0) & 3]).toEqual([2, 5, 0])
    expect(data.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0)
  })

  it('takes DEVICE RESET while it waits for a packet', () => {
    const { bench } = withDisc()
    bench.write(7, ata.ATA_CMD_PACKET)
    expect(bench.settle() & ata.ATA_STATUS_DRQ).not.toBe(0)
    bench.write(7, ata.ATA_CMD_DEVICE_RESET)
    expect([bench.read(7), bench.read(4), bench.read(5)]).toEqual([0, 0x14, 0xeb])
  })

  it('reports reset and change of medium once', () => {
    const bench = new PacketBench()
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_UNIT_ATTENTION, packet.ASC_RESET])
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_NOT_READY, packet.ASC_NO_MEDIUM])
    bench.cdrom.insert(new TestDisk(4))
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_UNIT_ATTENTION, packet.ASC_MEDIUM_CHANGED])
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(READY)
    expect(bench.sense()).toEqual([0, 0])
  })

  it('reads sectors in blocks of the size that the host takes', () => {
    const { bench, disc } = withDisc()
    const ten = bench.send([packet.SCSI_READ_10, 0, 0, 0, 0, 3, 0, 0, 2], 1500)
    expect(ten.status).toBe(READY)
    expect(ten.data).toEqual(disc.bytes.slice(3 * 2048, 5 * 2048))
    expect(bench.blocks).toEqual([1500, 1500, 1096])
    const twelve = bench.send([packet.SCSI_READ_12, 0, 0, 0, 0, 0, 0, 0, 0, 20], 0)
    expect(twelve.data).toEqual(disc.bytes)
    expect(bench.send([packet.SCSI_READ_10, 0, 0, 0, 0, 3, 0, 0, 0]).status).toBe(READY)
    expect(bench.send([packet.SCSI_READ_10, 0, 0, 0, 0, 19, 0, 0, 2]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_ILLEGAL_REQUEST, packet.ASC_LBA_OUT_OF_RANGE])
    disc.badFrom = 4096
    expect(bench.send([packet.SCSI_READ_10, 0, 0, 0, 0, 2, 0, 0, 1]).status).toBe(FAILED)
    expect(bench.sense()[0]).toBe(packet.SENSE_MEDIUM_ERROR)
  })

  it('reads by DMA', () => {
    const { bench, disc } = withDisc(50)
    const memory = new MemoryBus(0x40000)
    const ide = new IdeFunction({ controller: bench.controller, memory, ports: { place() {}, remove() {} } })
    memory.write32(0x100, 0x10000)
    memory.write32(0x104, 0)
    memory.write32(0x108, 0x20000)
    memory.write32(0x10c, (0x80000000 | (50 * 2048 - 0x10000)) >>> 0)
    ide.busMasterPorts.writePort(4, 4, 0x100)
    ide.busMasterPorts.writePort(0, 1, 9)
    bench.write(1, 1)
    bench.write(7, ata.ATA_CMD_PACKET)
    bench.settle()
    for (const word of [0x0028, 0, 0, 0, 0x0032, 0]) bench.write(0, word === 0x32 ? 0x0032 : word, 2)
    bench.clock.advance(1e7)
    expect([bench.read(7), ide.busMasterPorts.readPort(2, 1)]).toEqual([READY, 4])
    expect(Buffer.compare(memory.bytes.subarray(0x10000, 0x10000 + 50 * 2048), disc.bytes)).toBe(0)
  })

  it('gives capacity and table of contents', () => {
    const { bench } = withDisc(20)
    expect([...bench.send([packet.SCSI_READ_CAPACITY]).data]).toEqual([0, 0, 0, 19, 0, 0, 8, 0])
    const toc = [...bench.send([packet.SCSI_READ_TOC, 0, 0, 0, 0, 0, 0, 0, 100]).data]
    expect(toc).toEqual([0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 20])
    // In minutes, seconds and frames the data begin two seconds into the disc.
    const msf = [...bench.send([packet.SCSI_READ_TOC, 2, 0, 0, 0, 0, 0xaa, 0, 12]).data]
    expect(msf.slice(4)).toEqual([0, 0x14, 0xaa, 0, 0, 0, 2, 20])
    expect(bench.send([packet.SCSI_READ_TOC, 0, 1, 0, 0, 0, 0, 0, 12]).data).toHaveLength(12)
    expect(bench.send([packet.SCSI_READ_TOC, 0, 5, 0, 0, 0, 0, 0, 12]).status).toBe(FAILED)
  })

  it('answers inquiries, mode sense and event status, no longer than asked for', () => {
    const { bench } = withDisc()
    const inquiry = bench.send([packet.SCSI_INQUIRY, 0, 0, 0, 36]).data
    expect([inquiry.length, inquiry[0], inquiry[1]]).toEqual([36, 5, 0x80])
    expect(String.fromCharCode(...inquiry.slice(8, 16))).toBe('VIRTKIT ')
    expect(bench.send([packet.SCSI_INQUIRY, 0, 0, 0, 5]).data).toHaveLength(5)
    const mode = bench.send([packet.SCSI_MODE_SENSE_10, 0, 0x2a, 0, 0, 0, 0, 0, 200]).data
    expect([(mode[0]! << 8) | mode[1]!, mode[8], mode[9]]).toEqual([mode.length - 2, 0x2a, mode.length - 10])
    expect(bench.send([packet.SCSI_MODE_SENSE_10, 0, 0x3f, 0, 0, 0, 0, 0, 200]).data.length).toBeGreaterThan(
      mode.length,
    )
    expect(bench.send([packet.SCSI_MODE_SENSE_10, 0, 0x11, 0, 0, 0, 0, 0, 200]).status).toBe(FAILED)
    const event = [packet.SCSI_GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8]
    expect([...bench.send(event).data]).toEqual([0, 6, 4, 0x10, 2, 2, 0, 0])
    expect([...bench.send(event).data].slice(4)).toEqual([0, 2, 0, 0])
    expect(bench.send([0xff]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_ILLEGAL_REQUEST, packet.ASC_INVALID_COMMAND])
  })

  it('opens the tray unless it is locked', () => {
    const { bench } = withDisc()
    bench.send([packet.SCSI_PREVENT_ALLOW, 0, 0, 0, 1])
    expect(bench.send([packet.SCSI_START_STOP_UNIT, 0, 0, 0, 2]).status).toBe(FAILED)
    expect(bench.sense()).toEqual([packet.SENSE_ILLEGAL_REQUEST, packet.ASC_REMOVAL_PREVENTED])
    bench.send([packet.SCSI_PREVENT_ALLOW])
    expect(bench.send([packet.SCSI_START_STOP_UNIT, 0, 0, 0, 2]).status).toBe(READY)
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(FAILED)
    expect(bench.send([packet.SCSI_START_STOP_UNIT, 0, 0, 0, 3]).status).toBe(READY)
    expect(bench.send([packet.SCSI_TEST_UNIT_READY]).status).toBe(READY)
  })

  it('goes on from saved state in the middle of a read', () => {
    const { bench, disc } = withDisc()
    bench.write(4, 0)
    bench.write(5, 2)
    bench.write(7, ata.ATA_CMD_PACKET)
    bench.settle()
    for (const word of [0x0028, 0, 0, 0, 0x0001, 0]) bench.write(0, word, 2)
    bench.settle()
    for (let i = 0; i < 300; i++) {
      if ((bench.alternate & ata.ATA_STATUS_DRQ) === 0) bench.settle()
      bench.read(0, 2)
    }
    const state = structuredClone(bench.cdrom.saveState())
    const other = new PacketBench()
    other.clock.advanceTo(bench.clock.now())
    other.cdrom.insert(disc)
    other.cdrom.loadState(state)
    expect(other.cdrom.saveState()).toEqual(state)
    expect(other.drain().data).toEqual(disc.bytes.slice(600, 2048))
    expect(() => other.cdrom.loadState({ ...state, source: 4, device: { ...state.device, phase: 3 } })).toThrow()
  })
})
