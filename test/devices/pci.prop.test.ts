import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { I440fxHost, PciBus, PciFunction, Piix3Isa } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, traffic } from './helpers.js'

describe('PCI properties', () => {
  it('survives any port traffic, and reads back the same through every width', () => {
    fc.assert(
      fc.property(traffic(8), fc.nat(0xfc), (list, register) => {
        const bus = new PciBus()
        bus.add(0, 0, new I440fxHost())
        bus.add(1, 0, new Piix3Isa({ irqLines: [new Line()] }))
        // Most random addresses name no function: point at one from time to time.
        list.forEach((step, i) => {
          if (i % 3 === 0) bus.writePort(0, 4, 0x80000000 + (step.value & 0x8fc))
          drive(bus, new ManualClock(), [step])
        })
        bus.writePort(0, 4, 0x80000000 + (register & 0xfc))
        const whole = bus.readPort(4, 4)
        expect(bus.readPort(4, 2) + bus.readPort(6, 2) * 0x10000).toBe(whole)
        for (let i = 0; i < 4; i++) expect(bus.readPort(4 + i, 1)).toBe((whole >>> (8 * i)) & 0xff)
      }),
      { numRuns: runs(100) },
    )
  })

  it('a window is where its register and the command register say, or nowhere', () => {
    const write = fc.record({ register: fc.constantFrom(4, 0x10, 0x14, 0x18, 0x1c), value: fc.nat(0xffffffff) })
    fc.assert(
      fc.property(fc.nat(8), fc.array(write, { maxLength: 40 }), (shift, writes) => {
        const size = 16 << shift
        const mapped = new Map<number, number>()
        const fn = new PciFunction({ vendor: 1, device: 2, classCode: 3 })
        const window = (i: number) => ({
          map: (base: number) => {
            expect(mapped.has(i)).toBe(false)
            mapped.set(i, base)
          },
          unmap: (base: number) => {
            expect(mapped.get(i)).toBe(base)
            mapped.delete(i)
          },
        })
        fn.addBar(0, { space: 'io', size, ...window(0) })
        fn.addBar(1, { space: 'memory', size, ...window(1) })
        fn.addBar(2, { space: 'memory', size, wide: true, ...window(2) })
        for (const { register, value } of writes) {
          fn.writeConfig(register, 4, value)
          const command = fn.readConfig(4, 2)
          const bar = (i: number) => {
            const raw = BigInt(fn.readConfig(0x10 + 4 * i, 4))
            return i < 2 ? raw : raw | (BigInt(fn.readConfig(0x1c, 4)) << 32n)
          }
          for (let i = 0; i < 3; i++) {
            const base = bar(i) & ~BigInt(size - 1)
            const limit = i === 0 ? 0x10000n : i === 1 ? 0xffffffffn : 1n << 52n
            const on = (command & (i === 0 ? 1 : 2)) !== 0 && base !== 0n && base + BigInt(size) <= limit
            expect(mapped.get(i)).toBe(on ? Number(base) : undefined)
          }
        }
      }),
      { numRuns: runs(200) },
    )
  })
})
