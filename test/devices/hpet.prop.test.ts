import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HPET_TIMERS, Hpet } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { Line } from './helpers.js'

/** The block as its specification reads: it looks at every count, with 64-bit arithmetic. */
class Model {
  counter = 0n
  enabled = false
  timers = Array.from({ length: HPET_TIMERS }, () => ({
    level: false,
    on: false,
    periodic: false,
    narrow: false,
    valueSet: false,
    comparator: 2n ** 64n - 1n,
    period: 0n,
    interrupts: 0,
    status: false,
    /** Equal already, and counted. */
    matched: false,
  }))

  look(): void {
    if (!this.enabled) return
    for (const t of this.timers) {
      const equal =
        BigInt.asUintN(t.narrow ? 32 : 64, t.comparator) === BigInt.asUintN(t.narrow ? 32 : 64, this.counter)
      if (equal && !t.matched) {
        t.matched = true
        if (t.on && t.level) t.status = true
        if (t.on && !t.level) t.interrupts++
        if (t.periodic && t.period !== 0n) {
          t.comparator = BigInt.asUintN(t.narrow ? 32 : 64, t.comparator + t.period)
          t.matched = false
        }
      } else if (!equal) t.matched = false
    }
  }

  count(ticks: number): void {
    for (let i = 0; i < ticks && this.enabled; i++) {
      this.counter = BigInt.asUintN(64, this.counter + 1n)
      for (const t of this.timers) t.matched = false
      this.look()
    }
  }
}

interface Real {
  hpet: Hpet
  clock: ManualClock
  lines: Line[]
}

function make(): Real {
  const clock = new ManualClock()
  const lines = [new Line(), new Line(), new Line()]
  // Each timer has an input of its own: 8, 9 and 10.
  const inputs: (Line | undefined)[] = new Array(8).fill(undefined)
  return { hpet: new Hpet({ clock, lines: [...inputs, ...lines], minimumInterval: 0 }), clock, lines }
}

function compare(model: Model, { hpet, lines }: Real): void {
  const read64 = (at: number) => (BigInt(hpet.readMmio(at + 4, 4)) << 32n) | BigInt(hpet.readMmio(at, 4))
  expect(read64(0xf0)).toBe(model.counter)
  const status = hpet.readMmio(0x20, 4)
  model.timers.forEach((t, n) => {
    expect(read64(0x108 + 0x20 * n)).toBe(t.comparator)
    expect((status >> n) & 1).toBe(t.status ? 1 : 0)
    if (t.level) expect(lines[n]!.level).toBe(t.status && t.on && model.enabled)
    expect(lines[n]!.edges).toBeGreaterThanOrEqual(t.interrupts)
  })
}

class Advance implements fc.Command<Model, Real> {
  readonly ticks: number
  constructor(ticks: number) {
    this.ticks = ticks
  }
  check = () => true
  run(model: Model, real: Real): void {
    const before = real.lines.map((line) => line.edges)
    const interrupts = model.timers.map((t) => t.interrupts)
    // Let alarms that are due already run before time moves.
    real.clock.advance(0)
    real.clock.advance(this.ticks * 10)
    model.count(this.ticks)
    model.timers.forEach((t, n) => {
      if (!t.level) expect(real.lines[n]!.edges - before[n]!).toBe(t.interrupts - interrupts[n]!)
    })
    compare(model, real)
  }
  toString = () => `advance ${this.ticks}`
}

class Configure implements fc.Command<Model, Real> {
  readonly timer: number
  readonly bits: number
  constructor(timer: number, bits: number) {
    this.timer = timer
    this.bits = bits
  }
  check = () => true
  run(model: Model, real: Real): void {
    real.clock.advance(0)
    model.look()
    const t = model.timers[this.timer]!
    real.hpet.writeMmio(0x100 + 0x20 * this.timer, 4, this.bits | ((8 + this.timer) << 9))
    t.level = (this.bits & 2) !== 0
    t.on = (this.bits & 4) !== 0
    t.periodic = (this.bits & 8) !== 0
    t.valueSet = (this.bits & 0x40) !== 0
    t.narrow = (this.bits & 0x100) !== 0
    if (t.narrow) {
      t.comparator = BigInt.asUintN(32, t.comparator)
      t.period = BigInt.asUintN(32, t.period)
    }
    if (!t.level) t.status = false
    t.matched = false
    finish(model, real)
  }
  toString = () => `configure ${this.timer} ${this.bits.toString(16)}`
}

/** A programmed match of the present count interrupts at once. */
function finish(model: Model, real: Real): void {
  const before = real.lines.map((line) => line.edges)
  const interrupts = model.timers.map((t) => t.interrupts)
  real.clock.advance(0)
  real.hpet.readMmio(0x20, 4)
  model.look()
  model.timers.forEach((t, n) => {
    if (!t.level) expect(real.lines[n]!.edges - before[n]!).toBe(t.interrupts - interrupts[n]!)
  })
  compare(model, real)
}

class Compare implements fc.Command<Model, Real> {
  readonly timer: number
  readonly distance: number
  readonly wide: boolean
  constructor(timer: number, distance: number, wide: boolean) {
    this.timer = timer
    this.distance = distance
    this.wide = wide
  }
  check = () => true
  run(model: Model, real: Real): void {
    real.clock.advance(0)
    model.look()
    const t = model.timers[this.timer]!
    // A period, or a match in the near future: never near the present count by accident of a half-written register.
    const plain = t.periodic && !t.valueSet
    const value = BigInt.asUintN(64, plain ? BigInt(this.distance) : model.counter + BigInt(this.distance))
    const at = 0x108 + 0x20 * this.timer
    const low = Number(value & 0xffffffffn)
    const high = Number(value >> 32n)
    const wide = this.wide && !t.narrow
    const mask = wide ? 2n ** 64n - 1n : 0xffffffffn
    const merge = (old: bigint) => (old & ~mask) | (value & mask)
    if (!plain) t.comparator = merge(t.comparator)
    t.period = merge(t.period)
    t.valueSet = false
    t.matched = false
    // High half first would lose VAL_SET; the counter is far from wrapping, so the halves do not match by accident.
    real.hpet.writeMmio(at, 4, low)
    if (wide) real.hpet.writeMmio(at + 4, 4, high)
    finish(model, real)
  }
  toString = () => `compare ${this.timer} ${this.distance} ${this.wide}`
}

class Enable implements fc.Command<Model, Real> {
  readonly on: boolean
  constructor(on: boolean) {
    this.on = on
  }
  check = () => true
  run(model: Model, real: Real): void {
    real.clock.advance(0)
    model.look()
    real.hpet.writeMmio(0x10, 4, this.on ? 1 : 0)
    if (model.enabled !== this.on) for (const t of model.timers) t.matched = false
    model.enabled = this.on
    finish(model, real)
  }
  toString = () => `enable ${this.on}`
}

class SetCounter implements fc.Command<Model, Real> {
  readonly value: bigint
  constructor(value: bigint) {
    this.value = value
  }
  check = (model: Readonly<Model>) => !model.enabled
  run(model: Model, real: Real): void {
    real.hpet.writeMmio(0xf0, 4, Number(this.value & 0xffffffffn))
    real.hpet.writeMmio(0xf4, 4, Number(this.value >> 32n))
    model.counter = this.value
    compare(model, real)
  }
  toString = () => `counter ${this.value.toString(16)}`
}

class Acknowledge implements fc.Command<Model, Real> {
  readonly bits: number
  constructor(bits: number) {
    this.bits = bits
  }
  check = () => true
  run(model: Model, real: Real): void {
    real.clock.advance(0)
    model.look()
    real.hpet.writeMmio(0x20, 4, this.bits)
    model.timers.forEach((t, n) => {
      if (((this.bits >> n) & 1) !== 0) t.status = false
    })
    compare(model, real)
  }
  toString = () => `acknowledge ${this.bits}`
}

class Reload implements fc.Command<Model, Real> {
  check = () => true
  run(model: Model, real: Real): void {
    const state = real.hpet.saveState()
    real.hpet.reset()
    for (const line of real.lines) line.edges = 0
    real.hpet.loadState(state)
    for (const t of model.timers) t.interrupts = 0
    compare(model, real)
    expect(real.hpet.saveState()).toEqual(state)
  }
  toString = () => 'reload'
}

describe('Hpet', () => {
  it('behaves as a block that looks at every count', () => {
    const timer = fc.nat(2)
    const commands = [
      fc.oneof(fc.nat(3), fc.nat(600)).map((ticks) => new Advance(ticks)),
      fc.tuple(timer, fc.nat(0x1ff)).map(([n, bits]) => new Configure(n, bits & 0x14e)),
      fc.tuple(timer, fc.constantFrom(0x04, 0x0c, 0x4c, 0x14c, 0x104, 0x4e)).map(([n, bits]) => new Configure(n, bits)),
      fc.tuple(timer, fc.oneof(fc.nat(5), fc.nat(400)), fc.boolean()).map(([n, d, wide]) => new Compare(n, d, wide)),
      fc.constantFrom(true, true, true, false).map((on) => new Enable(on)),
      fc
        .tuple(fc.constantFrom(0n, 0xffffff00n, 0x7_ffffff80n, 2n ** 64n - 256n), fc.nat(255))
        .map(([base, more]) => new SetCounter(base + BigInt(more))),
      fc.nat(7).map((bits) => new Acknowledge(bits)),
      fc.constant(new Reload()),
    ]
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 40 }), (list) => {
        fc.modelRun(() => ({ model: new Model(), real: make() }), list)
      }),
      { numRuns: runs(300) },
    )
  })

  it('survives any traffic with few alarms', () => {
    const access = fc.record({
      write: fc.boolean(),
      offset: fc.oneof(
        fc.nat(0x3fc),
        fc.constantFrom(0x10, 0x100, 0x108, 0x10c, 0x120, 0x128, 0x140, 0x148, 0xf0, 0xf4),
      ),
      size: fc.constantFrom<1 | 2 | 4>(1, 2, 4, 4, 4),
      value: fc.oneof(fc.nat(0xff), fc.nat(0xffffffff)),
      advance: fc.oneof(fc.constant(0), fc.nat(100_000)),
    })
    fc.assert(
      fc.property(fc.array(access, { maxLength: 100 }), (list) => {
        const clock = new ManualClock()
        const hpet = new Hpet({
          clock,
          lines: [undefined, undefined, new Line()],
          legacyLines: [new Line(), new Line()],
        })
        for (const step of list) {
          const limit = 2 ** (8 * step.size)
          if (step.write) hpet.writeMmio(step.offset, step.size, step.value % limit)
          else {
            const value = hpet.readMmio(step.offset, step.size)
            expect(Number.isInteger(value) && value >= 0 && value < limit).toBe(true)
          }
          const fired = clock.fired
          clock.advance(step.advance)
          expect(clock.fired - fired).toBeLessThanOrEqual(3 * (step.advance / 10_000 + 2))
          expect(clock.scheduled).toBeLessThanOrEqual(3)
        }
      }),
      { numRuns: runs(200) },
    )
  })
})
