import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GPE0_SIZE, Piix4Pm, PM_PORTS, SMBUS_PORTS } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, traffic } from './helpers.js'

const NOWHERE = { place: () => {}, remove: () => {} }

function machine() {
  const clock = new ManualClock()
  const devices = new Map<number, import('../../src/contracts/index.js').PortDevice>()
  const sci = new Line()
  const pm = new Piix4Pm({
    clock,
    sci,
    ports: { ...NOWHERE, place: (_base, size, device) => void devices.set(size, device) },
  })
  pm.initialise()
  return { clock, pm, sci, acpi: devices.get(PM_PORTS)!, smbus: devices.get(SMBUS_PORTS)! }
}

describe('Piix4Pm', () => {
  it('status and SCI follow the enables, whatever is written', () => {
    const access = fc.record({
      offset: fc.constantFrom(0, 1, 2, 3, 4, 5),
      value: fc.nat(0xff),
      press: fc.boolean(),
      wait: fc.oneof(fc.constant(0), fc.nat(3_000_000_000)),
    })
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (list) => {
        const { clock, pm, sci, acpi } = machine()
        // The model: ACPI's fixed events, with the timer's highest bit sampled at each step.
        let status = 0
        let enable = 0
        let sciEnabled = true
        let half = 0
        const settle = (): void => {
          const now = Math.floor(Number((BigInt(Math.floor(clock.now())) * 315n) / 88_000n) / 2 ** 23)
          if (now !== half) status |= 1
          half = now
        }
        for (const step of list) {
          clock.advance(step.wait)
          settle()
          if (step.press) {
            pm.pressPowerButton()
            status |= 0x100
          }
          acpi.writePort(step.offset, 1, step.value)
          const shift = 8 * (step.offset & 1)
          const word = step.value << shift
          if (step.offset < 2) status &= ~word
          else if (step.offset < 4) enable = ((enable & (0xff00 >> shift)) | word) & 0x0521
          else if (step.offset === 4) sciEnabled = (step.value & 1) !== 0
          expect(acpi.readPort(0, 4)).toBe((status | (enable << 16)) >>> 0)
          expect(sci.level).toBe((status & enable) !== 0 && sciEnabled)
        }
      }),
      { numRuns: runs(100) },
    )
  })

  it('survives any traffic, and a saved state continues alike', () => {
    const config = fc.array(fc.tuple(fc.nat(0xff), fc.nat(0xffffffff)), { maxLength: 10 })
    fc.assert(
      fc.property(
        traffic(PM_PORTS, 60),
        traffic(SMBUS_PORTS, 60),
        config,
        traffic(PM_PORTS, 30),
        (a, b, writes, rest) => {
          const one = machine()
          drive(one.acpi, one.clock, a)
          drive(one.smbus, one.clock, b)
          for (const [register, value] of writes) one.pm.writeConfig(register, 4, value)
          drive(
            one.pm.gpePorts,
            one.clock,
            a.map((step) => ({ ...step, offset: step.offset % GPE0_SIZE })),
          )
          drive(
            one.pm.apmPorts,
            one.clock,
            a.map((step) => ({ ...step, offset: step.offset % 2 })),
          )
          const other = machine()
          other.clock.advanceTo(one.clock.now())
          other.pm.loadState(one.pm.saveState())
          other.pm.registers.loadState(one.pm.registers.saveState())
          expect(drive(other.acpi, other.clock, rest)).toEqual(drive(one.acpi, one.clock, rest))
          expect(other.pm.registers.saveState()).toEqual(one.pm.registers.saveState())
          expect(other.sci.level).toBe(one.sci.level)
        },
      ),
      { numRuns: runs(100) },
    )
  })
})
