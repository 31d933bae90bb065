import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Pit8254 } from '../../src/devices/pit8254.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { ModelCounter } from './pit8254-model.js'

const NS_PER_TICK = 88_000 / 105

interface Edge {
  tick: number
  level: boolean
}

class Real {
  readonly clock = new ManualClock()
  readonly edges: Edge[] = []
  tick = 0
  readonly pit = new Pit8254({
    clock: this.clock,
    irq: { setLevel: (level) => this.edges.push({ tick: Math.floor(this.clock.now() / NS_PER_TICK + 1e-6), level }) },
    minimumInterval: 0,
  })

  advance(ticks: number): void {
    this.tick += ticks
    this.clock.advanceTo(Math.ceil((this.tick * 88_000) / 105))
  }
}

class Model {
  readonly counters = [new ModelCounter(), new ModelCounter(), new ModelCounter()]
  readonly edges: Edge[] = []
  tick = 0
  level = false

  note(): void {
    const out = this.counters[0]!.out
    if (out === this.level) return
    this.level = out
    this.edges.push({ tick: this.tick, level: out })
  }

  advance(ticks: number): void {
    for (let i = 0; i < ticks; i++) {
      this.tick++
      for (const counter of this.counters) counter.clock()
      this.note()
    }
  }
}

class Op implements fc.Command<Model, Real> {
  readonly text: string
  readonly onModel: (m: Model) => unknown
  readonly onReal: (r: Real) => unknown

  constructor(text: string, onModel: (m: Model) => unknown, onReal: (r: Real) => unknown) {
    this.text = text
    this.onModel = onModel
    this.onReal = onReal
  }

  check(): boolean {
    return true
  }

  run(m: Model, r: Real): void {
    const expected = this.onModel(m)
    m.note()
    const actual = this.onReal(r)
    if (expected !== undefined) expect(actual).toBe(expected)
    for (let i = 0; i < 3; i++) expect(r.pit.out(i), `OUT ${i}`).toBe(m.counters[i]!.out)
    expect(r.edges).toEqual(m.edges)
  }

  toString(): string {
    return this.text
  }
}

const bcdByte = (b: number): number => (Math.floor((b % 100) / 10) << 4) | (b % 10)
const smallByte = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 9 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }) },
)
const counter = fc.constantFrom(0, 0, 0, 0, 1, 2)

const commands = [
  fc
    .tuple(counter, fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 3 }), fc.boolean())
    .map(([n, mode, rw, bcd]) => {
      const word = (rw << 4) | (mode << 1) | (bcd ? 1 : 0)
      return new Op(
        `control ${n} 0x${word.toString(16)}`,
        (m) => void m.counters[n]!.controlWord(word),
        (r) => r.pit.writePort(3, 1, (n << 6) | word),
      )
    }),
  fc.tuple(counter, smallByte).map(([n, b]) => {
    return new Op(
      `write ${n} ${b}`,
      (m) => void m.counters[n]!.write((m.counters[n]!.control & 1) !== 0 ? bcdByte(b) : b),
      // The real thing is told in status whether it counts in BCD, without disturbing its latches.
      (r) => r.pit.writePort(n, 1, (r.pit.saveState().counters[n]!.control & 1) !== 0 ? bcdByte(b) : b),
    )
  }),
  // Program whole counts often, so that counting happens at all.
  fc
    .tuple(counter, fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 20 }), fc.boolean())
    .map(([n, mode, count, bcd]) => {
      const word = 0x30 | (mode << 1) | (bcd ? 1 : 0)
      const low = bcd ? bcdByte(count) : count
      return new Op(
        `program ${n} mode ${mode} count ${count}${bcd ? ' BCD' : ''}`,
        (m) => {
          m.counters[n]!.controlWord(word)
          m.note()
          m.counters[n]!.write(low)
          m.counters[n]!.write(0)
        },
        (r) => {
          r.pit.writePort(3, 1, (n << 6) | word)
          r.pit.writePort(n, 1, low)
          r.pit.writePort(n, 1, 0)
        },
      )
    }),
  // A new count without a control word.
  fc.tuple(counter, fc.integer({ min: 0, max: 9 })).map(
    ([n, count]) =>
      new Op(
        `recount ${n} ${count}`,
        (m) => {
          m.counters[n]!.write(count)
          m.note()
          m.counters[n]!.write(0)
        },
        (r) => {
          r.pit.writePort(n, 1, count)
          r.pit.writePort(n, 1, 0)
        },
      ),
  ),
  fc.tuple(counter, fc.boolean()).map(([n, level]) => {
    return new Op(
      `gate ${n} ${level}`,
      (m) => void m.counters[n]!.setGate(level),
      (r) => r.pit.setGate(n, level),
    )
  }),
  fc.integer({ min: 1, max: 30 }).map(
    (k) =>
      new Op(
        `advance ${k}`,
        (m) => void m.advance(k),
        (r) => r.advance(k),
      ),
  ),
  fc.integer({ min: 1, max: 3 }).map(
    (k) =>
      new Op(
        `advance ${k}`,
        (m) => void m.advance(k),
        (r) => r.advance(k),
      ),
  ),
  counter.map(
    (n) =>
      new Op(
        `read ${n}`,
        (m) => m.counters[n]!.read(),
        (r) => r.pit.readPort(n, 1),
      ),
  ),
  fc.integer({ min: 0, max: 31 }).map((bits) => {
    const word = 0xc0 | (bits << 1)
    return new Op(
      `read back 0x${word.toString(16)}`,
      (m) => {
        m.counters.forEach((c, i) => {
          if ((word & (2 << i)) === 0) return
          if ((word & 0x20) === 0) c.latchCount()
          if ((word & 0x10) === 0) c.latchStatus()
        })
      },
      (r) => r.pit.writePort(3, 1, word),
    )
  }),
  fc.constant(
    new Op(
      'save and load',
      () => undefined,
      (r) => {
        const state = r.pit.saveState()
        r.pit.loadState(state)
        expect(r.pit.saveState()).toEqual(state)
        r.edges.splice(r.edges.length - 1) // loading drives the line to where it was
      },
    ),
  ),
]

test('every mode, gate and read as the clock-by-clock model, with every edge of OUT 0 in its place', () => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 60, size: 'max' }), (cmds) => {
      fc.modelRun(() => ({ model: new Model(), real: new Real() }), cmds)
    }),
    { numRuns: runs(400) },
  )
})

test('long skips land where single clocks do', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0, max: 0xffff }),
      fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 5 }),
      (mode, bcd, first, second, steps) => {
        const toBcd = (v: number): number => Number.parseInt(String(v % 10_000), 16)
        const m = new Model()
        const r = new Real()
        const word = 0x30 | (mode << 1) | (bcd ? 1 : 0)
        const program = (count: number): void => {
          const value = bcd ? toBcd(count) : count
          for (const byte of [value & 0xff, value >> 8]) {
            m.counters[1]!.write(byte)
            r.pit.writePort(1, 1, byte)
          }
        }
        m.counters[1]!.controlWord(word)
        r.pit.writePort(3, 1, 0x40 | word)
        program(first)
        for (const level of [false, true]) {
          m.counters[1]!.setGate(level)
          r.pit.setGate(1, level)
        }
        steps.forEach((step, i) => {
          for (let k = 0; k < step; k++) m.counters[1]!.clock()
          r.advance(step)
          expect(r.pit.out(1)).toBe(m.counters[1]!.out)
          expect(r.pit.readPort(1, 1) | (r.pit.readPort(1, 1) << 8)).toBe(m.counters[1]!.ce)
          if (i === 1) program(second)
        })
      },
    ),
    { numRuns: runs(60) },
  )
})

test('whatever a guest writes, the host is called at most twice per minimum interval, and still hears the timer', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 3 }), fc.integer({ min: 1, max: 40 }), (mode, count) => {
      const clock = new ManualClock()
      let rises = 0
      const pit = new Pit8254({ clock, irq: { setLevel: (level) => void (rises += level ? 1 : 0) } })
      pit.writePort(3, 1, 0x10 | (mode << 1))
      pit.writePort(0, 1, count)
      const calls = clock.fired
      rises = 0
      clock.advance(10_000_000) // 10 ms: 1000 intervals
      expect(clock.fired - calls).toBeLessThanOrEqual(2001)
      const ticks = (10_000_000 * 105) / 88_000
      if (count === 1) expect(rises).toBe(0)
      else if (count >= 12) expect(Math.abs(rises - ticks / count)).toBeLessThanOrEqual(1)
      else expect(rises).toBeGreaterThan(400)
    }),
    { numRuns: runs(80) },
  )
})
