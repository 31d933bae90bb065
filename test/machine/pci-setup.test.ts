import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PciBus, PciFunction } from '../../src/devices/index.js'
import { assignPciResources } from '../../src/machine/index.js'
import { runs } from '../runs.js'

describe('assignPciResources', () => {
  it('gives every window a place of its own', () => {
    const bar = fc.record({
      io: fc.boolean(),
      log: fc.integer({ min: 4, max: 20 }),
      wide: fc.boolean(),
    })
    const card = fc.record({ bars: fc.array(bar, { maxLength: 3 }), pin: fc.integer({ min: 0, max: 4 }) })
    fc.assert(
      fc.property(fc.array(card, { maxLength: 8 }), (cards) => {
        const bus = new PciBus()
        const mapped: { io: boolean; base: number; size: number }[] = []
        let windows = 0
        const functions = cards.map(({ bars, pin }, n) => {
          const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0, interruptPin: pin as 1 })
          bars.forEach(({ io, log, wide }, i) => {
            const size = 2 ** (io ? Math.min(log, 8) : log)
            windows++
            fn.addBar(2 * i, {
              space: io ? 'io' : 'memory',
              size,
              wide: wide && !io,
              map: (base) => void mapped.push({ io, base, size }),
              unmap: (base) =>
                mapped.splice(
                  mapped.findIndex((w) => w.io === io && w.base === base),
                  1,
                ),
            })
          })
          bus.add(n + 2, 0, fn)
          return fn
        })
        assignPciResources(bus, 0x8000000)
        expect(mapped).toHaveLength(windows)
        for (const [i, a] of mapped.entries()) {
          expect(a.base % a.size).toBe(0)
          expect(a.base).toBeGreaterThanOrEqual(a.io ? 0xc000 : 0x8000000)
          expect(a.base + a.size).toBeLessThanOrEqual(a.io ? 0x10000 : 0xfec00000)
          for (const b of mapped.slice(i + 1)) {
            expect(a.io !== b.io || a.base + a.size <= b.base || b.base + b.size <= a.base).toBe(true)
          }
        }
        // Slot 2 INTA is wire B (10), slot 3 wire C (11), and so on.
        functions.forEach((fn, n) => {
          const pin = cards[n]!.pin
          expect(fn.readConfig(0x3c, 1)).toBe(pin === 0 ? 0 : [10, 10, 11, 11][(n + 2 + pin - 2) & 3])
        })
      }),
      { numRuns: runs(60) },
    )
  })

  it('leaves a window alone for which there is no room', () => {
    const bus = new PciBus()
    const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0 })
    fn.addBar(0, { space: 'memory', size: 2 ** 31, map: () => expect.unreachable(), unmap() {} })
    bus.add(2, 0, fn)
    assignPciResources(bus, 0xc0000000)
    expect([fn.readConfig(4, 2), fn.readConfig(0x10, 4)]).toEqual([0, 0])
  })
})
