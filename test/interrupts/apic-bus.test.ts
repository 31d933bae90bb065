import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VirtkitError } from '../../src/contracts/errors.js'
import { ApicBus, type ApicMessage } from '../../src/interrupts/apic-bus.js'
import { decodeApicCommand } from '../../src/interrupts/apic-command.js'
import * as R from '../../src/interrupts/apic-registers.js'
import { LocalApic } from '../../src/interrupts/local-apic.js'
import { decodeMsi, MSI_BASE, MsiTarget } from '../../src/interrupts/msi.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'

interface Setting {
  readonly id: number
  readonly ldr?: number
  readonly dfr?: number
  readonly x2apic?: boolean
}

function processors(bus: ApicBus, settings: readonly Setting[]): LocalApic[] {
  const clock = new ManualClock()
  return settings.map(({ id, ldr = 0, dfr = 0xf, x2apic = false }) => {
    const apic = new LocalApic({ id, clock, bus, frequency: 1e9 })
    apic.writeMmio(R.APIC_LDR, 4, ldr * 0x1000000)
    apic.writeMmio(R.APIC_DFR, 4, dfr * 0x10000000)
    apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
    if (x2apic) apic.writeMsr(R.MSR_APIC_BASE, 0xfee00c00n)
    return apic
  })
}

const message = (fields: Partial<ApicMessage>): ApicMessage => ({
  vector: 0x50,
  deliveryMode: R.APIC_DELIVERY.FIXED,
  destination: 0,
  destinationMode: 'physical',
  level: true,
  trigger: 'edge',
  ...fields,
})

/** IDs of those who took the message. */
function takers(settings: readonly Setting[], fields: Partial<ApicMessage>): number[] {
  const bus = new ApicBus()
  const all = processors(bus, settings)
  const taken = bus.deliver(message(fields))
  const ids = all.filter((apic) => apic.requested.length > 0).map((apic) => apic.initialId)
  expect(taken).toBe(ids.length > 0)
  return ids
}

describe('destinations', () => {
  const flat = [1, 2, 4, 0x80].map((ldr, id) => ({ id, ldr }))
  const cluster = [0x11, 0x12, 0x21, 0x22].map((ldr, id) => ({ id, ldr, dfr: 0 }))

  test('physical', () => {
    expect(takers(flat, { destination: 2 })).toEqual([2])
    expect(takers(flat, { destination: 9 })).toEqual([])
    expect(takers(flat, { destination: 0xff })).toEqual([0, 1, 2, 3])
  })

  test('logical, flat', () => {
    expect(takers(flat, { destination: 0x85, destinationMode: 'logical' })).toEqual([0, 2, 3])
    expect(takers(flat, { destination: 0x08, destinationMode: 'logical' })).toEqual([])
    expect(takers([{ id: 0 }], { destination: 0xff, destinationMode: 'logical' })).toEqual([0])
  })

  test('logical, cluster', () => {
    expect(takers(cluster, { destination: 0x13, destinationMode: 'logical' })).toEqual([0, 1])
    expect(takers(cluster, { destination: 0x22, destinationMode: 'logical' })).toEqual([3])
    expect(takers(cluster, { destination: 0xff, destinationMode: 'logical' })).toEqual([0, 1, 2, 3])
    // A DFR of neither model matches nothing.
    expect(takers([{ id: 0, ldr: 0x11, dfr: 5 }], { destination: 0x11, destinationMode: 'logical' })).toEqual([])
  })

  test('x2APIC', () => {
    const far = [0x0f, 0x10, 0x11, 0x12345678].map((id) => ({ id, x2apic: true }))
    const wide = { wide: true, destinationMode: 'logical' } as const
    expect(takers(far, { ...wide, destination: 0x00010003 })).toEqual([0x10, 0x11])
    expect(takers(far, { ...wide, destination: 0x00008000 })).toEqual([0x0f])
    expect(takers(far, { ...wide, destination: 0x45670100 })).toEqual([0x12345678])
    expect(takers(far, { ...wide, destination: 0xffffffff })).toHaveLength(4)
    expect(takers(far, { wide: true, destination: 0x12345678 })).toEqual([0x12345678])
    expect(takers(far, { wide: true, destination: 0xff })).toEqual([])
    // A device's message has eight bits, where FFh is everyone.
    expect(takers(far, { destination: 0x10 })).toEqual([0x10])
    expect(takers(far, { destination: 0xff })).toHaveLength(4)
  })

  test('property: destinations agree with the definition, bit by bit', () => {
    const setting = fc.record({ ldr: fc.integer({ min: 0, max: 255 }), dfr: fc.constantFrom(0, 0xf, 7) })
    const property = fc.property(
      fc.array(setting, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 0, max: 255 }),
      fc.boolean(),
      (settings, destination, logical) => {
        const expected = settings.flatMap(({ ldr, dfr }, id) => {
          const bits = [0, 1, 2, 3, 4, 5, 6, 7].filter((n) => (ldr >> n) % 2 === 1 && (destination >> n) % 2 === 1)
          const sameCluster = Math.floor(ldr / 16) === Math.floor(destination / 16)
          const inModel = dfr === 0xf ? bits.length > 0 : dfr === 0 && sameCluster && bits.some((n) => n < 4)
          return destination === 255 || (logical ? inModel : destination === id) ? [id] : []
        })
        const all = settings.map((fields, id) => ({ id, ...fields }))
        expect(takers(all, { destination, destinationMode: logical ? 'logical' : 'physical' })).toEqual(expected)
      },
    )
    fc.assert(property, { numRuns: runs(100) })
  })
})

describe('lowest priority', () => {
  const lowest = { deliveryMode: R.APIC_DELIVERY.LOWEST_PRIORITY, destination: 0xff, vector: 0x60 }
  const winner = (all: readonly LocalApic[]): number[] =>
    all.filter((apic) => apic.requested.includes(0x60)).map((apic) => apic.id)

  test('the lowest arbitration priority, then the lowest ID, whatever the order on the bus', () => {
    const bus = new ApicBus()
    const all = processors(bus, [{ id: 3 }, { id: 1 }, { id: 2 }])
    bus.deliver(message(lowest))
    expect(winner(all)).toEqual([1])
    for (const apic of all) apic.writeMmio(R.APIC_SVR, 4, 0x3ff)
    const [three, one, two] = all as [LocalApic, LocalApic, LocalApic]
    three.taskPriority = 2
    two.taskPriority = 3
    one.taskPriority = 4
    bus.deliver(message({ ...lowest, vector: 0x61 }))
    expect(three.requested).toEqual([0x61])
  })

  test('the focus processor first; those disabled by software never', () => {
    const bus = new ApicBus()
    const all = processors(bus, [{ id: 0 }, { id: 1 }, { id: 2 }])
    const [zero, one, two] = all as [LocalApic, LocalApic, LocalApic]
    zero.writeMmio(R.APIC_SVR, 4, 0xff)
    two.accept(0, 0x60, false)
    two.acknowledge()
    bus.deliver(message(lowest))
    expect(winner(all)).toEqual([2])
    two.writeMmio(R.APIC_SVR, 4, 0x3ff)
    two.writeMmio(R.APIC_EOI, 4, 0)
    bus.deliver(message(lowest))
    expect(one.requested).toEqual([0x60])
  })

  test('nobody', () => {
    const bus = new ApicBus()
    const [apic] = processors(bus, [{ id: 0 }])
    apic!.writeMmio(R.APIC_SVR, 4, 0xff)
    expect(bus.deliver(message(lowest))).toBe(false)
    expect(bus.deliver(message({}))).toBe(false)
    expect(bus.deliver(message({ deliveryMode: 3, destination: 0xff }))).toBe(false)
  })
})

test('a level that is not asserted is no message', () => {
  expect(takers([{ id: 0 }], { trigger: 'level', level: false })).toEqual([])
})

test('one ID, one APIC', () => {
  const bus = new ApicBus()
  processors(bus, [{ id: 1 }])
  expect(() => processors(bus, [{ id: 1 }])).toThrow(VirtkitError)
  expect(bus.size).toBe(1)
})

test('decodeApicCommand', () => {
  expect(decodeApicCommand(0x4923, 0x12, false)).toEqual({
    target: 'destination',
    message: message({
      vector: 0x23,
      deliveryMode: 1,
      destination: 0x12,
      destinationMode: 'logical',
      wide: false,
    } as ApicMessage),
    illegalVector: false,
  })
  expect(decodeApicCommand(0xc000f, 0, false)).toMatchObject({ target: 'others', illegalVector: true })
  // The vector of a start-up is a page number and may be anything; a de-assert is nothing.
  expect(decodeApicCommand(0xc4608, 0, false)).toMatchObject({ illegalVector: false })
  expect(decodeApicCommand(0xc8500, 0, false)).toBeUndefined()
})

describe('MSI', () => {
  test('fields of address and data', () => {
    expect(decodeMsi(0xfee12000, 0x0041)).toEqual(message({ vector: 0x41, destination: 0x12 }))
    expect(decodeMsi(0xfee0f004, 0xc444)).toEqual(
      message({ vector: 0x44, deliveryMode: 4, destination: 0x0f, destinationMode: 'logical', trigger: 'level' }),
    )
    expect(decodeMsi(0xfeeff000, 0x8050)).toEqual(message({ destination: 0xff, trigger: 'level', level: false }))
    // A redirection hint.
    expect(decodeMsi(0xfee0300c, 0x50)).toEqual(
      message({ deliveryMode: 1, destination: 3, destinationMode: 'logical' }),
    )
    expect(decodeMsi(0xfee00008, 0x450)?.deliveryMode).toBe(4)
  })

  test('what is no message', () => {
    expect(decodeMsi(0xfedfffff, 0x41)).toBeUndefined()
    expect(decodeMsi(0xfef00000, 0x41)).toBeUndefined()
    expect(decodeMsi(0x1fee00000, 0x41)).toBeUndefined()
    for (const mode of [3, 6]) expect(decodeMsi(MSI_BASE, mode << 8)).toBeUndefined()
  })

  test('the window', () => {
    const bus = new ApicBus()
    const [apic] = processors(bus, [{ id: 7 }])
    const target = new MsiTarget(bus)
    target.writeMmio(0x7000, 2, 0x42)
    target.writeMmio(0x7002, 4, 0x42)
    expect(apic!.requested).toEqual([])
    target.writeMmio(0x7000, 4, 0x42)
    expect(apic!.requested).toEqual([0x42])
    expect([target.readMmio(0, 1), target.readMmio(0, 2), target.readMmio(0, 4)]).toEqual([0xff, 0xffff, 0xffffffff])
    expect(target.send(0x1000, 0x43)).toBe(false)
  })
})
