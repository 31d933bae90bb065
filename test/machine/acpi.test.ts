import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FwCfg, Hpet, PciBus, PciFunction, Piix3Isa } from '../../src/devices/index.js'
import {
  type AcpiConfig,
  addAcpiFiles,
  buildAcpiTables,
  buildMpTable,
  placeAcpiTables,
  RSDP_ADDRESS,
} from '../../src/machine/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { type AmlValue, AmlWalker } from './aml-walker.js'

/** Memory that remembers what was written where. */
class Sparse {
  readonly pages = new Map<number, Uint8Array>()
  writeBytes(address: number, source: Uint8Array): void {
    source.forEach((byte, i) => {
      const page = Math.floor((address + i) / 4096)
      if (!this.pages.has(page)) this.pages.set(page, new Uint8Array(4096))
      this.pages.get(page)![(address + i) % 4096] = byte
    })
  }
  bytes(address: number, length: number): Uint8Array {
    return Uint8Array.from(
      { length },
      (_, i) => this.pages.get(Math.floor((address + i) / 4096))?.[(address + i) % 4096] ?? 0xff,
    )
  }
  number(address: number, size: number): number {
    return this.bytes(address, size).reduceRight((value, byte) => value * 256 + byte, 0)
  }
  text(address: number, length: number): string {
    return String.fromCharCode(...this.bytes(address, length))
  }
  sum(address: number, length: number): number {
    return this.bytes(address, length).reduce((sum, byte) => sum + byte, 0) & 0xff
  }
}

/** Finds the tables as an operating system does, checking every sum. */
function find(memory: Sparse, rsdp: number): Map<string, { address: number; length: number }> {
  expect(memory.text(rsdp, 8)).toBe('RSD PTR ')
  expect([memory.sum(rsdp, 20), memory.sum(rsdp, 36), memory.number(rsdp + 15, 1)]).toEqual([0, 0, 2])
  const found = new Map<string, { address: number; length: number }>()
  const take = (address: number): string => {
    const signature = memory.text(address, 4)
    const length = memory.number(address + 4, 4)
    if (signature !== 'FACS') expect(memory.sum(address, length)).toBe(0)
    found.set(signature, { address, length })
    return signature
  }
  const rsdt = memory.number(rsdp + 16, 4)
  const xsdt = memory.number(rsdp + 24, 8)
  expect([take(rsdt), take(xsdt)]).toEqual(['RSDT', 'XSDT'])
  const list = (at: number, size: number) => {
    const length = memory.number(at + 4, 4)
    return Array.from({ length: (length - 36) / size }, (_, i) => memory.number(at + 36 + i * size, size))
  }
  expect(list(rsdt, 4)).toEqual(list(xsdt, 8))
  for (const address of list(rsdt, 4)) take(address)
  const fadt = found.get('FACP')!.address
  expect(memory.number(fadt + 140, 8)).toBe(memory.number(fadt + 40, 4))
  expect(take(memory.number(fadt + 40, 4))).toBe('DSDT')
  expect(take(memory.number(fadt + 36, 4))).toBe('FACS')
  return found
}

function place(config: AcpiConfig) {
  const memory = new Sparse()
  const placed = placeAcpiTables(memory, config, config.lowMemory)
  const tables = find(memory, placed.rsdp)
  const dsdt = tables.get('DSDT')!
  const bytes = memory.bytes(dsdt.address, dsdt.length)
  return { memory, placed, tables, aml: new AmlWalker(bytes, 36, bytes.length) }
}

/** An EISA identifier as the 32-bit integer that AML holds, spelled by the specification's bit numbers. */
function eisa(id: string): number {
  const letters = [...id.slice(0, 3)].map((c) => c.charCodeAt(0) - 64)
  const big = ((letters[0]! << 26) | (letters[1]! << 21) | (letters[2]! << 16) | Number.parseInt(id.slice(3), 16)) >>> 0
  return (((big & 0xff) << 24) | ((big & 0xff00) << 8) | ((big >>> 8) & 0xff00) | (big >>> 24)) >>> 0
}

/** Descriptors of a resource template: tag and contents. */
function descriptors(value: AmlValue): { tag: number; bytes: Uint8Array }[] {
  const bytes = value as Uint8Array
  const list: { tag: number; bytes: Uint8Array }[] = []
  let at = 0
  while (bytes[at] !== 0x79) {
    const lead = bytes[at]!
    const header = (lead & 0x80) !== 0 ? 3 : 1
    const length = header === 3 ? bytes[at + 1]! | (bytes[at + 2]! << 8) : lead & 7
    list.push({ tag: header === 3 ? lead : lead >> 3, bytes: bytes.subarray(at + header, at + header + length) })
    at += header + length
    if (at >= bytes.length) throw new Error('no end tag')
  }
  expect(at + 2).toBe(bytes.length)
  return list
}

const PC: AcpiConfig = { cpus: 2, lowMemory: 0x8000000, floppy: true }

describe('ACPI tables in memory', () => {
  it('are found from the root pointer, in memory of the right kind', () => {
    const { placed, tables } = place(PC)
    expect(placed.rsdp).toBe(RSDP_ADDRESS)
    expect([...tables.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'FACS', 'HPET', 'RSDT', 'WAET', 'XSDT'])
    const [nvs, reclaimable] = placed.ranges
    expect([nvs!.type, reclaimable!.type]).toEqual([4, 3])
    expect([nvs!.base, nvs!.base + nvs!.size, reclaimable!.base + reclaimable!.size]).toEqual([
      placed.base,
      reclaimable!.base,
      PC.lowMemory,
    ])
    for (const [signature, { address, length }] of tables) {
      const range = signature === 'FACS' ? nvs! : reclaimable!
      expect(address >= range.base && address + length <= range.base + range.size).toBe(true)
      expect(address % (signature === 'FACS' ? 64 : 8)).toBe(0)
    }
  })

  it('the FADT names the ports of the board', () => {
    const { memory, tables } = place(PC)
    const { address, length } = tables.get('FACP')!
    expect([length, memory.number(address + 8, 1)]).toEqual([244, 3])
    const field = (at: number, size: number) => memory.number(address + at, size)
    expect(field(46, 2)).toBe(9) // SCI
    expect([field(48, 4), field(52, 1), field(53, 1)]).toEqual([0xb2, 0xf1, 0xf0])
    expect([field(56, 4), field(64, 4), field(76, 4), field(80, 4)]).toEqual([0x600, 0x604, 0x608, 0xafe0])
    expect([88, 89, 90, 91, 92, 93].map((at) => field(at, 1))).toEqual([4, 2, 0, 4, 4, 0])
    expect(field(108, 1)).toBe(0x32)
    expect(field(112, 4) & (1 << 10)).not.toBe(0) // reset register
    expect(field(112, 4) & (1 << 8)).toBe(0) // 24-bit timer
    // Generic addresses: space, width, offset, access size, address.
    const generic = (at: number) => [
      field(at, 1),
      field(at + 1, 1),
      field(at + 2, 1),
      field(at + 3, 1),
      field(at + 4, 8),
    ]
    expect(generic(116)).toEqual([1, 8, 0, 1, 0xcf9])
    expect(field(128, 1)).toBe(0x06)
    expect(generic(148)).toEqual([1, 32, 0, 2, 0x600])
    expect(generic(172)).toEqual([1, 16, 0, 2, 0x604])
    expect(generic(208)).toEqual([1, 32, 0, 3, 0x608])
    expect(generic(220)).toEqual([1, 32, 0, 1, 0xafe0])
  })

  it('the MADT lists processors, I/O APIC, overrides and NMI', () => {
    const { memory, tables } = place({ ...PC, cpus: 3, ioApicId: 7 })
    const { address, length } = tables.get('APIC')!
    expect([memory.number(address + 36, 4), memory.number(address + 40, 4)]).toEqual([0xfee00000, 1])
    const entries: number[][] = []
    for (let at = 44; at < length; at += memory.number(address + at + 1, 1)) {
      entries.push([...memory.bytes(address + at, memory.number(address + at + 1, 1))])
    }
    expect(entries).toEqual([
      [0, 8, 0, 0, 1, 0, 0, 0],
      [0, 8, 1, 1, 1, 0, 0, 0],
      [0, 8, 2, 2, 1, 0, 0, 0],
      [1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      ...[5, 9, 10, 11].map((n) => [2, 10, 0, n, n, 0, 0, 0, 0x0d, 0]),
      [4, 6, 0xff, 0, 0, 1],
    ])
  })

  it('the HPET table repeats what the block says of itself', () => {
    const { memory, tables } = place(PC)
    const { address, length } = tables.get('HPET')!
    const hpet = new Hpet({ clock: new ManualClock(), lines: [] })
    expect(length).toBe(56)
    expect(memory.number(address + 36, 4)).toBe(hpet.readMmio(0, 4))
    expect([memory.number(address + 40, 1), memory.number(address + 44, 8)]).toEqual([0, 0xfed00000])
  })

  it('the DSDT has the devices of the board', () => {
    const { aml } = place(PC)
    const ids: [string, string][] = [
      ['\\_SB_.PCI0', 'PNP0A03'],
      ['\\_SB_.PCI0.ISA_.RTC_', 'PNP0B00'],
      ['\\_SB_.PCI0.ISA_.KBD_', 'PNP0303'],
      ['\\_SB_.PCI0.ISA_.MOU_', 'PNP0F13'],
      ['\\_SB_.PCI0.ISA_.FDC0', 'PNP0700'],
      ['\\_SB_.PCI0.ISA_.COM1', 'PNP0501'],
      ['\\_SB_.HPET', 'PNP0103'],
      ...['A', 'B', 'C', 'D', 'S'].map((letter): [string, string] => [`\\_SB_.LNK${letter}`, 'PNP0C0F']),
    ]
    for (const [path, id] of ids) {
      expect(aml.objects.get(path)?.kind).toBe('device')
      expect(aml.objects.get(`${path}._HID`)?.value).toBe(eisa(id))
    }
    expect(eisa('PNP0A03')).toBe(0x030ad041)
    expect(aml.objects.get('\\_S5_')?.value).toEqual([0, 0, 0, 0])
    expect(aml.objects.get('\\_SB_.C001')).toEqual({ kind: 'processor', value: [1, 0, 0] })
    expect(aml.objects.get('\\_PIC')).toEqual({ kind: 'method', value: 1 })
    const com1 = descriptors(aml.objects.get('\\_SB_.PCI0.ISA_.COM1._CRS')!.value)
    expect(com1.map(({ tag, bytes }) => [tag, ...bytes])).toEqual([
      [8, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8],
      [4, 0x10, 0],
    ])
  })

  it('leaves out what the board does not have', () => {
    const { aml, tables } = place({
      cpus: 1,
      lowMemory: 0x1000000,
      hpet: false,
      ioApic: false,
      ps2: false,
      serial: [],
      fwCfg: false,
    })
    expect(tables.has('HPET') || tables.has('APIC')).toBe(false)
    for (const path of ['HPET', 'PCI0.ISA_.KBD_', 'PCI0.ISA_.MOU_', 'PCI0.ISA_.FDC0', 'PCI0.ISA_.COM1', 'PCI0.FWCF']) {
      expect(aml.objects.has(`\\_SB_.${path}`)).toBe(false)
    }
  })

  it('routes PCI interrupts as the bridge does', () => {
    const { aml } = place(PC)
    const routes = aml.objects.get('\\_SB_.PCI0._PRT')!.value as readonly (readonly AmlValue[])[]
    expect(routes).toHaveLength(128)
    for (const [address, pin, link, index] of routes) {
      const slot = (address as number) >>> 16
      expect([(address as number) & 0xffff, index]).toEqual([0xffff, 0])
      const name = (link as { ref: string }).ref
      if (slot === 1 && pin === 0) {
        expect(name).toBe('\\_SB_.LNKS')
        continue
      }
      // What the bridge does when a function in that slot asserts that pin: only one of the four routes shows it.
      const seen: number[] = []
      const lines = Array.from({ length: 16 }, (_, n) => ({
        setLevel: (level: boolean) => {
          if (level) seen.push(n)
        },
      }))
      const piix3 = new Piix3Isa({ irqLines: lines })
      for (const [wire, irq] of [3, 4, 5, 6].entries()) piix3.writeConfig(0x60 + wire, 1, irq)
      const bus = new PciBus({ router: piix3.router })
      const card = new PciFunction({ vendor: 1, device: 1, classCode: 0, interruptPin: ((pin as number) + 1) as 1 })
      bus.add(slot, 0, card)
      card.setIntx(true)
      expect(name).toBe(`\\_SB_.LNK${'ABCD'[seen[0]! - 3]}`)
    }
  })

  it('any configuration gives tables that hang together', () => {
    const MIB = 0x100000
    const config = fc.record({
      cpus: fc.integer({ min: 1, max: 255 }),
      lowMemory: fc.integer({ min: 2, max: 3072 }).map((n) => n * MIB),
      highMemory: fc.oneof(
        fc.constant(0),
        fc.integer({ min: 1, max: 65536 }).map((n) => n * MIB),
      ),
      hpet: fc.boolean(),
      ioApic: fc.boolean(),
      ioApicId: fc.nat(255),
      floppy: fc.boolean(),
      serial: fc.subarray([0x3f8, 0x2f8, 0x3e8, 0x2e8]),
      ps2: fc.boolean(),
      fwCfg: fc.boolean(),
      pmBase: fc.integer({ min: 4, max: 1023 }).map((n) => n * 64),
      timerBits: fc.constantFrom<24 | 32>(24, 32),
    })
    fc.assert(
      fc.property(config, (options) => {
        const { aml, placed, tables, memory } = place(options)
        expect(tables.has('HPET')).toBe(options.hpet)
        expect(tables.has('APIC')).toBe(options.ioApic)
        expect([...aml.objects.values()].filter((o) => o.kind === 'processor')).toHaveLength(options.cpus)
        expect(placed.base % 4096).toBe(0)
        expect(memory.number(tables.get('FACP')!.address + 76, 4)).toBe(options.pmBase + 8)
        for (const { scope, name } of aml.references) expect([name, aml.resolve(scope, name)]).not.toContain(undefined)
        for (const [path, object] of aml.objects) {
          if (/_(CRS|PRS)$/.test(path) && object.kind === 'name') descriptors(object.value)
        }
        // Windows to PCI neither overlap RAM nor wrap; lengths agree with their ends.
        for (const { tag, bytes } of descriptors(aml.objects.get('\\_SB_.PCI0._CRS')!.value)) {
          const width = ({ 136: 2, 135: 4, 138: 8 } as Record<number, number>)[tag]
          if (width === undefined) continue
          const number = (i: number) =>
            bytes.subarray(3 + i * width, 3 + (i + 1) * width).reduceRight((value, byte) => value * 256 + byte, 0)
          expect(number(4)).toBe(number(2) - number(1) + 1)
          if (tag === 0x87 && number(1) !== 0xa0000) expect(number(1)).toBe(options.lowMemory)
          if (tag === 0x8a) expect(number(1)).toBeGreaterThanOrEqual(2 ** 32 + options.highMemory)
        }
      }),
      { numRuns: runs(40) },
    )
  })

  it('refuses what no machine has', () => {
    for (const bad of [
      { ...PC, cpus: 0 },
      { ...PC, cpus: 256 },
      { ...PC, lowMemory: 0 },
      { ...PC, ioApicId: 256 },
      { ...PC, pmBase: 0x601 },
      { ...PC, serial: [0x300] },
    ]) {
      expect(() => buildAcpiTables(bad)).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
    }
    const memory = new Sparse()
    expect(() => placeAcpiTables(memory, PC, 0x100000)).toThrowError(expect.objectContaining({ code: 'bad-range' }))
    expect(() => placeAcpiTables(memory, PC, 0x8000000, 0x9fc00)).toThrowError(
      expect.objectContaining({ code: 'bad-range' }),
    )
    expect(memory.pages.size).toBe(0)
  })
})

describe('ACPI tables for firmware', () => {
  /** Reads a file through the traditional interface, as firmware does. */
  function files(fwCfg: FwCfg): Map<string, Uint8Array> {
    const next = () => fwCfg.readPort(1, 1)
    const big = (size: number) => Array.from({ length: size }, next).reduce((value, byte) => value * 256 + byte, 0)
    fwCfg.writePort(0, 2, 0x19)
    const list = Array.from({ length: big(4) }, () => {
      const [size, key] = [big(4), big(2)]
      big(2)
      const name = Array.from({ length: 56 }, next).filter((byte) => byte !== 0)
      return { size, key, name: String.fromCharCode(...name) }
    })
    return new Map(
      list.map(({ size, key, name }) => {
        fwCfg.writePort(0, 2, key)
        return [name, Uint8Array.from({ length: size }, next)]
      }),
    )
  }

  it('are installed by the script', () => {
    const fwCfg = new FwCfg({
      read8: () => 0,
      read16: () => 0,
      read32: () => 0,
      write8() {},
      write16() {},
      write32() {},
    })
    addAcpiFiles(fwCfg, PC)
    const blobs = files(fwCfg)
    const script = blobs.get('etc/table-loader')!
    expect(script.length % 128).toBe(0)
    const memory = new Sparse()
    const addresses = new Map<string, number>()
    let high = 0x7f00010
    let low = 0xf5a08
    for (let at = 0; at < script.length; at += 128) {
      const view = new DataView(script.buffer, at, 128)
      const name = (offset: number) =>
        String.fromCharCode(...script.subarray(at + offset, at + offset + 56).filter((byte) => byte !== 0))
      const u32 = (offset: number) => view.getUint32(offset, true)
      if (u32(0) === 1) {
        // ALLOCATE: file, alignment, zone (1 high, 2 the F segment).
        const blob = blobs.get(name(4))!
        const alignment = u32(60)
        const zone = view.getUint8(64)
        let address = zone === 2 ? low : high
        address = Math.ceil(address / alignment) * alignment
        if (zone === 2) low = address + blob.length
        else high = address + blob.length
        memory.writeBytes(address, blob)
        addresses.set(name(4), address)
      } else if (u32(0) === 2) {
        // ADD_POINTER: destination, source, offset, size.
        const [target, source, size] = [
          addresses.get(name(4))! + u32(116),
          addresses.get(name(60))!,
          view.getUint8(120),
        ]
        const value = memory.number(target, size) + source
        memory.writeBytes(
          target,
          Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 0xff),
        )
      } else {
        // ADD_CHECKSUM: file, offset, start, length.
        expect(u32(0)).toBe(3)
        const base = addresses.get(name(4))!
        memory.writeBytes(base + u32(60), Uint8Array.of(-memory.sum(base + u32(64), u32(68))))
      }
    }
    const tables = find(memory, addresses.get('etc/acpi/rsdp')!)
    expect([...tables.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'FACS', 'HPET', 'RSDT', 'WAET', 'XSDT'])
    expect(tables.get('FACS')!.address % 64).toBe(0)
  })
})

describe('the MP table', () => {
  it('describes processors, buses and routing', () => {
    const address = 0xf0000
    const bytes = buildMpTable({ cpus: 2, signature: 0x633, features: 0x0183fbff }, address)
    const memory = new Sparse()
    memory.writeBytes(address, bytes)
    expect([memory.text(address, 4), memory.sum(address, 16), memory.number(address + 9, 1)]).toEqual(['_MP_', 0, 4])
    const table = memory.number(address + 4, 4)
    const length = memory.number(table + 4, 2)
    expect([memory.text(table, 4), memory.sum(table, length)]).toEqual(['PCMP', 0])
    expect(memory.number(table + 36, 4)).toBe(0xfee00000)
    const counts = [0, 0, 0, 0, 0]
    const isa: number[][] = []
    let at = table + 44
    for (let n = memory.number(table + 34, 2); n > 0; n--) {
      const entry = [...memory.bytes(at, memory.number(at, 1) === 0 ? 20 : 8)]
      counts[entry[0]!]!++
      if (entry[0] === 3 && entry[4] === 1) isa.push([entry[5]!, entry[7]!])
      if (entry[0] === 0) expect([entry[1], entry[3]]).toEqual(counts[0] === 1 ? [0, 3] : [1, 1])
      if (entry[0] === 2) expect(entry[1]).toBe(2)
      at += entry.length
    }
    expect(at).toBe(table + length)
    expect(counts).toEqual([2, 2, 1, 128 + 13, 2])
    // The timer at input 2, everything else at its own; 10 and 11 belong to PCI.
    expect(isa).toEqual([0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15].map((n) => [n, n === 0 ? 2 : n]))
  })
})
