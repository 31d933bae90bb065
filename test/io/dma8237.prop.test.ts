import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PhysicalBus } from '../../src/contracts/bus.js'
import { Dma8237 } from '../../src/io/dma8237.js'
import { runs } from '../runs.js'
import { ModelDma } from './dma8237-model.js'

/** A controller whose channel n lives in page n; copies go from page 0 to page 1, as in the model. */
class Real {
  readonly log: string[] = []
  readonly memory = new Map<number, number>()
  readonly budget = [0, 0, 0, 0]
  private nextByte = 1
  readonly dma: Dma8237

  constructor(automatic: boolean) {
    const bus: Partial<PhysicalBus> = {
      read8: (address) => this.memory.get(address) ?? 0,
      write8: (address, value) => void this.memory.set(address, value),
    }
    this.dma = new Dma8237({ bus: bus as PhysicalBus, pages: { page: (channel) => channel }, automatic })
    for (let n = 0; n < 4; n++)
      this.dma.connect(n, {
        read: () => {
          const value = this.nextByte
          this.nextByte = (value + 1) & 0xff
          this.log.push(`in ${n} ${value}`)
          this.used(n)
          return value
        },
        write: (value) => {
          this.log.push(`out ${n} ${value}`)
          this.used(n)
        },
        terminalCount: () => void this.log.push(`tc ${n}`),
      })
  }

  private used(n: number): void {
    if (--this.budget[n]! <= 0) this.dma.setRequest(n, false)
  }
}

class Command implements fc.Command<ModelDma, Real> {
  readonly text: string
  readonly model: (m: ModelDma) => unknown
  readonly real: (r: Real) => unknown
  readonly automatic: boolean
  constructor(text: string, automatic: boolean, model: (m: ModelDma) => unknown, real: (r: Real) => unknown) {
    this.text = text
    this.automatic = automatic
    this.model = model
    this.real = real
  }
  check(): boolean {
    return true
  }
  run(m: ModelDma, r: Real): void {
    const expected = this.model(m)
    const actual = this.real(r)
    if (expected !== undefined) expect(actual).toBe(expected)
    expect(r.log.join()).toBe(m.log.filter((line) => !line.startsWith('copy')).join())
    m.channels.forEach((c, n) => {
      expect(r.dma.channel(n), `channel ${n}`).toMatchObject({
        address: n * 0x10000 + c.address,
        count: c.count,
        masked: c.masked,
        requested: m.active(n) || c.asked,
      })
    })
    expect(r.memory.size).toBe(m.memory.size)
    for (const [address, value] of m.memory)
      if (r.memory.get(address) !== value) expect([address, r.memory.get(address)]).toEqual([address, value])
    if (!this.automatic) expect(r.dma.holdRequest).toBe([0, 1, 2, 3].some((n) => m.wants(n)))
  }
  toString(): string {
    return this.text
  }
}

const channel = fc.integer({ min: 0, max: 3 })
const byte = fc.integer({ min: 0, max: 255 })

/** Registers whose writes may start transfers; in automatic mode the model serves after each of them. */
function commandsFor(automatic: boolean): fc.Arbitrary<Command>[] {
  const settle = (m: ModelDma): void => {
    if (automatic) m.service(1e6)
  }
  const write = (register: number, value: number): Command =>
    new Command(
      `write ${register} 0x${value.toString(16)}`,
      automatic,
      (m) => {
        m.write(register, value)
        if (register >= 8) settle(m)
      },
      (r) => r.dma.writePort(register, 1, value),
    )
  const program = fc
    .tuple(
      channel,
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 0, max: 63 }),
    )
    .map(([n, address, count, mode]) => {
      const writes: (readonly [number, number])[] = [
        [10, 4 | n],
        [12, 0],
        [11, (mode << 2) | n],
        [n * 2, address & 0xff],
        [n * 2, address >> 8],
        [n * 2 + 1, count],
        [n * 2 + 1, 0],
        [10, n],
      ]
      return new Command(
        `program ${n} at ${address} count ${count} mode 0x${(mode << 2).toString(16)}`,
        automatic,
        (m) => {
          for (const [register, value] of writes) {
            m.write(register, value)
            if (register >= 8) settle(m)
          }
        },
        (r) => {
          for (const [register, value] of writes) r.dma.writePort(register, 1, value)
        },
      )
    })
  const request = fc.tuple(channel, fc.integer({ min: 0, max: 20 })).map(
    ([n, units]) =>
      new Command(
        `device ${n} wants ${units}`,
        automatic,
        (m) => {
          m.budget[n] = units
          m.channels[n]!.pin = units > 0
          settle(m)
        },
        (r) => {
          r.budget[n] = units
          r.dma.setRequest(n, units > 0)
        },
      ),
  )
  const list: fc.Arbitrary<Command>[] = [
    program,
    program,
    request,
    request,
    fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 3 })).map(([r, v]) => write(r, v)),
    fc.tuple(fc.constantFrom(9, 9, 10, 11, 12, 14, 15), byte).map(([r, v]) => write(r, v)),
    fc.constantFrom(0, 0, 0x10, 0x10, 1, 3, 4, 0x11, 0x40, 0xa8).map((v) => write(8, v)),
    fc.constant(write(13, 0)),
    fc.integer({ min: 0, max: 15 }).map(
      (n) =>
        new Command(
          `read ${n}`,
          automatic,
          (m) => m.read(n),
          (r) => r.dma.readPort(n, 1),
        ),
    ),
    fc.constant(
      new Command(
        'save and load',
        automatic,
        () => undefined,
        (r) => {
          const state = r.dma.saveState()
          r.dma.loadState(state)
          expect(r.dma.saveState()).toEqual(state)
        },
      ),
    ),
  ]
  if (!automatic) {
    const serve = fc.integer({ min: 1, max: 12 }).map(
      (max) =>
        new Command(
          `serve ${max}`,
          automatic,
          (m) => m.service(max),
          (r) => r.dma.service(max),
        ),
    )
    list.push(serve, serve)
  }
  return list
}

/** Small counts everywhere, so that blocks end within a test. */
const seed = new Command(
  'short blocks',
  false,
  (m) => {
    for (const c of m.channels) c.count = c.baseCount = 3
    for (let i = 0; i < 64; i++) m.memory.set(i * 7, (i * 31) & 0xff)
  },
  (r) => {
    for (let n = 0; n < 4; n++) {
      r.dma.writePort(2 * n + 1, 1, 3)
      r.dma.writePort(2 * n + 1, 1, 0)
    }
    for (let i = 0; i < 64; i++) r.memory.set(i * 7, (i * 31) & 0xff)
  },
)

test('served by hand, unit by unit, as the model', () => {
  fc.assert(
    fc.property(fc.commands(commandsFor(false), { maxCommands: 60, size: 'max' }), (commands) => {
      fc.modelRun(() => {
        const model = new ModelDma()
        const real = new Real(false)
        for (let n = 0; n < 4; n++) real.dma.setRequest(n, false)
        seed.run(model, real)
        return { model, real }
      }, commands)
    }),
    { numRuns: runs(300) },
  )
})

test('served at once, as the model', () => {
  // Without writes that could make counts long: blocks of 64 KiB are tested elsewhere.
  const all = commandsFor(true).filter((_, i) => i !== 4)
  fc.assert(
    fc.property(fc.commands(all, { maxCommands: 25, size: 'max' }), (commands) => {
      fc.modelRun(() => {
        const model = new ModelDma()
        const real = new Real(true)
        seed.run(model, real)
        return { model, real }
      }, commands)
    }),
    { numRuns: runs(15) },
  )
})
