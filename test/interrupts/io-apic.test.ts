import { describe, expect, test } from 'vitest'
import { VirtkitError } from '../../src/contracts/errors.js'
import type { EventMap, EventSink } from '../../src/contracts/events.js'
import { ApicBus } from '../../src/interrupts/apic-bus.js'
import * as R from '../../src/interrupts/apic-registers.js'
import { IoApic, type IoApicOptions, type IoApicState } from '../../src/interrupts/io-apic.js'
import { LocalApic } from '../../src/interrupts/local-apic.js'
import { ManualClock } from '../manual-clock.js'

function make(options: Partial<IoApicOptions> = {}) {
  const bus = new ApicBus()
  const diary: string[] = []
  const apic = new LocalApic({
    id: 0,
    clock: new ManualClock(),
    bus,
    frequency: 1e9,
    core: { nmi: () => diary.push('nmi'), smi: () => diary.push('smi'), init: () => diary.push('init') },
  })
  apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
  const io = new IoApic({ bus, ...options })
  const read = (select: number): number => {
    io.writeMmio(R.IOAPIC_REGSEL, 4, select)
    return io.readMmio(R.IOAPIC_WIN, 4)
  }
  const write = (select: number, value: number): void => {
    io.writeMmio(R.IOAPIC_REGSEL, 4, select)
    io.writeMmio(R.IOAPIC_WIN, 4, value)
  }
  const entry = (n: number, low: number, high = 0): void => {
    write(R.IOAPIC_REDIRECTION + 2 * n + 1, high)
    write(R.IOAPIC_REDIRECTION + 2 * n, low)
  }
  const low = (n: number): number => read(R.IOAPIC_REDIRECTION + 2 * n)
  const eoi = (): void => apic.writeMmio(R.APIC_EOI, 4, 0)
  return { bus, apic, io, diary, read, write, entry, low, eoi }
}

describe('registers (82093AA, "I/O APIC Registers")', () => {
  test('identification, version, arbitration', () => {
    const { read, write } = make()
    expect(read(R.IOAPIC_VERSION)).toBe(0x00170020)
    expect(make({ version: 0x11 }).read(R.IOAPIC_VERSION)).toBe(0x00170011)
    write(R.IOAPIC_ID, 0xffffffff)
    expect([read(R.IOAPIC_ID), read(R.IOAPIC_ARBITRATION)]).toEqual([0x0f000000, 0x0f000000])
    write(R.IOAPIC_VERSION, 0)
    write(R.IOAPIC_ARBITRATION, 0)
    expect([read(R.IOAPIC_VERSION), read(R.IOAPIC_ARBITRATION)]).toEqual([0x00170020, 0x0f000000])
  })

  test('entries are masked after reset; reserved and read-only bits stay 0', () => {
    const { io, read, write, entry, low } = make()
    for (let n = 0; n < 24; n++) expect([low(n), read(0x11 + 2 * n)]).toEqual([0x10000, 0])
    entry(23, 0xffffffff, 0xffffffff)
    expect([low(23), read(0x3f)]).toEqual([0x1afff, 0xff000000])
    expect(io.entry(23)).toEqual({
      vector: 0xff,
      deliveryMode: 7,
      destination: 0xff,
      destinationMode: 'logical',
      trigger: 'level',
      activeLow: true,
      masked: true,
      remoteIrr: false,
      deliveryPending: false,
    })
    for (const select of [3, 0x0f, 0x40, 0xff]) {
      write(select, 0xffffffff)
      expect(read(select)).toBe(0)
    }
    write(R.IOAPIC_ID, 0x05000000)
    io.reset()
    expect([low(23), read(0x3f), io.id]).toEqual([0x10000, 0, 0])
  })

  test('window: the selector in any size, the data in dwords', () => {
    const { io } = make()
    io.writeMmio(R.IOAPIC_REGSEL, 1, 0x12)
    expect(io.readMmio(R.IOAPIC_REGSEL, 4)).toBe(0x12)
    io.writeMmio(R.IOAPIC_WIN, 1, 0)
    io.writeMmio(R.IOAPIC_WIN + 4, 4, 0)
    expect(io.readMmio(R.IOAPIC_WIN, 4)).toBe(0x10000)
    expect([io.readMmio(R.IOAPIC_WIN, 2), io.readMmio(0x20, 4), io.readMmio(R.IOAPIC_EOI, 4)]).toEqual([0, 0, 0])
  })
})

describe('edges', () => {
  test('one message per rise; ignored while masked', () => {
    const { apic, io, entry } = make()
    const line = io.line(4)
    line.setLevel(true)
    entry(4, 0x34)
    expect(apic.requested).toEqual([])
    line.setLevel(false)
    line.setLevel(true)
    line.setLevel(true)
    expect(apic.acknowledge()).toBe(0x34)
    expect(apic.pending).toBe(false)
    entry(4, 0x10034)
    line.setLevel(false)
    line.setLevel(true)
    entry(4, 0x34)
    expect(apic.pending).toBe(false)
  })

  test('active low: the message goes out on the fall', () => {
    const { apic, io, entry } = make()
    entry(4, 0x2034)
    io.line(4).setLevel(true)
    expect(apic.requested).toEqual([])
    io.line(4).setLevel(false)
    expect(apic.requested).toEqual([0x34])
  })

  test('SMI, NMI, INIT and ExtINT; reserved modes reach nobody', () => {
    const { apic, io, entry, diary } = make()
    for (const [n, mode] of [2, 4, 5, 3, 6, 7].entries()) {
      entry(n, (mode << 8) | 0x8000)
      io.line(n).setLevel(true)
    }
    expect(diary).toEqual(['smi', 'nmi', 'init'])
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0xff)
    expect(apic.requested).toEqual([])
  })
})

describe('levels', () => {
  test('remote IRR until the EOI, then again while the wire is active', () => {
    const { apic, io, entry, low, eoi } = make()
    entry(10, 0x80a1)
    io.line(10).setLevel(true)
    expect(low(10)).toBe(0xc0a1)
    expect(apic.acknowledge()).toBe(0xa1)
    expect(apic.pending).toBe(false)
    eoi()
    expect(low(10)).toBe(0xc0a1)
    expect(apic.acknowledge()).toBe(0xa1)
    io.line(10).setLevel(false)
    eoi()
    expect(low(10)).toBe(0x80a1)
    expect(apic.pending).toBe(false)
  })

  test('two inputs with one vector are both ended and both ask again', () => {
    const { apic, io, entry, low, eoi } = make()
    for (const n of [10, 11]) {
      entry(n, 0x80a1)
      io.line(n).setLevel(true)
    }
    apic.acknowledge()
    io.line(10).setLevel(false)
    // Both messages fell into one bit of IRR.
    expect(apic.requested).toEqual([])
    eoi()
    expect([low(10), low(11)]).toEqual([0x80a1, 0xc0a1])
    expect(apic.requested).toEqual([0xa1])
  })

  test('masked levels are not seen; unmasking finds one that is still there', () => {
    const { apic, io, entry } = make()
    entry(10, 0x180a1)
    io.line(10).setLevel(true)
    io.line(10).setLevel(false)
    entry(10, 0x80a1)
    expect(apic.requested).toEqual([])
    entry(10, 0x180a1)
    io.line(10).setLevel(true)
    entry(10, 0x80a1)
    expect(apic.requested).toEqual([0xa1])
  })

  test('polarity is real, and a wire can be active low on the board', () => {
    const { apic, io, entry, eoi } = make({ activeLow: [16] })
    entry(16, 0xa0b0)
    expect(apic.requested).toEqual([])
    io.line(16).setLevel(true)
    expect(apic.acknowledge()).toBe(0xb0)
    io.line(16).setLevel(false)
    eoi()
    expect(apic.requested).toEqual([])
    // An active-high wire under an active-low entry asks while it is quiet.
    entry(17, 0xa0b1)
    expect(apic.requested).toEqual([0xb1])
  })

  test('the EOI register ends by vector, without a broadcast', () => {
    const { apic, io, entry, low } = make()
    apic.writeMmio(R.APIC_SVR, 4, 0x11ff)
    entry(10, 0x80a1)
    io.line(10).setLevel(true)
    apic.acknowledge()
    apic.writeMmio(R.APIC_EOI, 4, 0)
    io.line(10).setLevel(false)
    expect(low(10)).toBe(0xc0a1)
    io.writeMmio(R.IOAPIC_EOI, 4, 0xa0)
    expect(low(10)).toBe(0xc0a1)
    io.writeMmio(R.IOAPIC_EOI, 4, 0xa1)
    expect(low(10)).toBe(0x80a1)
  })

  test('version 11h has no EOI register; turning an entry to edge and back clears remote IRR', () => {
    const { io, entry, low } = make({ version: 0x11 })
    entry(10, 0x80a1)
    io.line(10).setLevel(true)
    io.line(10).setLevel(false)
    io.writeMmio(R.IOAPIC_EOI, 4, 0xa1)
    entry(10, 0x180a1)
    expect(low(10)).toBe(0x1c0a1)
    entry(10, 0x100a1)
    entry(10, 0x80a1)
    expect(low(10)).toBe(0x80a1)
  })

  test('what nobody accepts stays pending and is offered again', () => {
    const { apic, io, entry, low } = make()
    apic.writeMmio(R.APIC_SVR, 4, 0xff)
    entry(10, 0x80a1)
    io.line(10).setLevel(true)
    expect(low(10)).toBe(0x90a1)
    apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
    expect(low(10)).toBe(0xc0a1)
    expect(apic.requested).toEqual([0xa1])
    // By ID and by logical ID, too.
    entry(11, 0x88a2, 0x04000000)
    entry(12, 0x80a3, 0x09000000)
    for (const n of [11, 12]) io.line(n).setLevel(true)
    expect([low(11), low(12)]).toEqual([0x98a2, 0x90a3])
    apic.writeMmio(R.APIC_LDR, 4, 0x04000000)
    apic.writeMmio(R.APIC_ID, 4, 0x09000000)
    expect([low(11), low(12)]).toEqual([0xc8a2, 0xc0a3])
    // A request that is withdrawn before is none.
    entry(13, 0x80a4, 0x33000000)
    io.line(13).setLevel(true)
    io.line(13).setLevel(false)
    expect(low(13)).toBe(0x80a4)
  })
})

test('saved state', () => {
  const { apic, io, entry, low, eoi } = make()
  entry(10, 0x80a1)
  io.line(10).setLevel(true)
  io.line(3).setLevel(true)
  const saved = structuredClone(io.saveState())
  const other = make()
  other.io.loadState(saved)
  other.apic.loadState(apic.saveState())
  expect(other.io.saveState()).toEqual(saved)
  for (const machine of [{ apic, low, eoi }, other]) {
    machine.apic.acknowledge()
    machine.eoi()
    expect(machine.low(10)).toBe(0xc0a1)
    expect(machine.apic.requested).toEqual([0xa1])
  }
  const bad: Partial<Record<keyof IoApicState, unknown>>[] = [
    { version: 0 },
    { id: 16 },
    { levels: 1 << 24 },
    { low: saved.low.slice(1) },
    { low: saved.low.map(() => 0x20000) },
    { low: saved.low.map(() => 0x4000) },
    { destinations: saved.destinations.map(() => 256) },
  ]
  const before = io.saveState()
  for (const change of bad) {
    expect(() => io.loadState({ ...saved, ...change } as IoApicState)).toThrow(VirtkitError)
    expect(io.saveState()).toEqual(before)
  }
})

test('events and misuse', () => {
  const seen: EventMap['apic'][] = []
  const events: EventSink = {
    wants: (name) => name === 'apic',
    emit: (_name, event) => seen.push(event as EventMap['apic']),
  }
  const { apic, io, entry, eoi } = make({ events })
  entry(10, 0x80a1)
  io.line(10).setLevel(true)
  io.line(10).setLevel(false)
  apic.acknowledge()
  eoi()
  expect(seen.map(({ action, pin, vector }) => [action, pin, vector])).toEqual([
    [R.APIC_ACTION.REQUEST, 10, 0xa1],
    [R.APIC_ACTION.SEND, 10, 0xa1],
    [R.APIC_ACTION.EOI, 10, 0xa1],
  ])
  for (const n of [-1, 24, 1.5]) expect(() => io.line(n)).toThrow(VirtkitError)
  expect(() => make({ activeLow: [24] })).toThrow(VirtkitError)
})
