import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { explainDma, explainDmaEvents, explainPic, explainPicEvents, formatExplanation } from '../../src/debug/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { runs } from '../runs.js'

const IRQS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
/** IRQs from the highest priority to the lowest: the slave takes the place of the master's level 2. */
const PRIORITY = [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7]

describe('explainPic', () => {
  it('follows the sequence of the data sheet for every IRQ and situation', () => {
    const scenario = fc.record({
      irq: fc.constantFrom(...IRQS),
      masked: fc.boolean(),
      autoEoi: fc.boolean(),
      withdraw: fc.boolean(),
      inService: fc.option(fc.constantFrom(...IRQS), { nil: undefined }),
    })
    fc.assert(
      fc.property(scenario, ({ irq, masked, autoEoi, withdraw, inService }) => {
        fc.pre(irq !== inService)
        const given = { irq, masked, autoEoi, withdraw, ...(inService === undefined ? {} : { inService }) }
        const { steps, result, ok } = explainPic(given)
        const numbers = steps.map(({ number }) => number)
        // A service with automatic EOI ends at its second INTA. Another slave IRQ waits on the master's level 2 even if
        // it is higher: no special
        // fully nested mode here.
        const blocked =
          inService !== undefined &&
          !autoEoi &&
          (PRIORITY.indexOf(inService) < PRIORITY.indexOf(irq) || (inService > 7 && irq > 7))
        expect(steps[0]?.values).toMatchObject({ line: irq & 7 })
        if (masked || blocked) {
          expect(result).toEqual({})
          expect(numbers).toEqual([1, 2])
          return
        }
        expect(numbers).toEqual([1, 2, 3, 4, 5, 6])
        expect(ok).toBe(!withdraw)
        const vector = withdraw ? 0x27 : irq < 8 ? 0x20 + irq : 0x28 + irq - 8
        expect(result).toEqual({ vector, spurious: withdraw })
      }),
      { numRuns: runs(200) },
    )
  })

  it('latches a masked request in IRR', () => {
    expect(explainPic({ irq: 5, masked: true }).steps[0]?.values).toMatchObject({ irr: 0x20, isr: 0, imr: 0x20 })
  })

  it('refuses what a PC does not have', () => {
    expect(() => explainPic({ irq: 2 })).toThrow(/except the cascade/)
    expect(() => explainPic({ irq: 16 })).toThrow(/0 to 15/)
    expect(() => explainPic({ irq: 1, inService: 1 })).toThrow(/at once/)
    expect(() => explainPic({ irq: 1, masterBase: 3 })).toThrow(/multiple of 8/)
  })

  it('says so when there are no events', () => {
    expect(explainPicEvents([]).steps).toHaveLength(1)
  })
})

describe('explainDma', () => {
  it('moves what it says, in the four steps, as often as the mode takes the bus', () => {
    const scenario = fc.record({
      channel: fc.constantFrom(0, 1, 2, 3, 5, 6, 7),
      page: fc.nat(7),
      start: fc.nat(0x3fff),
      count: fc.integer({ min: 1, max: 64 }),
      mode: fc.constantFrom('single' as const, 'block' as const, 'demand' as const),
      autoinitialise: fc.boolean(),
    })
    const memory = new AddressSpace({ size: 0x100000 })
    fc.assert(
      fc.property(scenario, ({ channel, page, start, count, mode, autoinitialise }) => {
        const unit = channel > 3 ? 2 : 1
        const address = page * 0x20000 + start * unit
        const { result, steps } = explainDma({ channel, address, count, mode, autoinitialise, memory })
        expect(result).toEqual({ transfers: count, terminalCount: true, masked: false })
        expect(steps.map(({ number }) => number)).toEqual([1, 2, 3, 4])
        expect(steps[2]?.values).toEqual({
          transfers: count,
          tenures: mode === 'single' ? count : 1,
          first: address,
          last: address + (count - 1) * unit,
        })
        for (let n = 0; n < count; n++) {
          const at = address + n * unit
          expect(unit === 2 ? memory.read16(at) : memory.read8(at)).toBe(n & 0xff)
        }
        expect(steps[3]?.text.includes('reloaded')).toBe(autoinitialise)
      }),
      { numRuns: runs(60) },
    )
  })

  it('moves nothing while the channel is masked', () => {
    const { result, steps, ok } = explainDma({ channel: 3, masked: true })
    expect({ result, ok }).toEqual({ ok: false, result: { transfers: 0, terminalCount: false, masked: true } })
    expect(steps.map(({ number }) => number)).toEqual([1])
  })

  it('refuses what the controllers do not have', () => {
    expect(() => explainDma({ channel: 4 })).toThrow(/0 to 3 or 5 to 7/)
    expect(() => explainDma({ channel: 5, address: 1 })).toThrow(/even/)
    expect(() => explainDma({ channel: 1, count: 0 })).toThrow(/1 to 65536/)
    expect(explainDmaEvents([]).ok).toBe(false)
  })

  it('prints steps, outcome and notes', () => {
    const explanation = explainDma({ channel: 1, count: 1 })
    const lines = formatExplanation(explanation).split('\n')
    expect(lines[0]).toBe('8237A: channel 1, 1 byte, write, single mode: a DMA transfer')
    expect(lines).toContain('  => 1 transfer, ended by terminal count')
    expect(formatExplanation(explanation, { notes: false })).not.toContain('Note:')
  })
})
