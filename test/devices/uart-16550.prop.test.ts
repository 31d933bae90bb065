import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Uart16550 } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, traffic } from './helpers.js'

const CHAR = (10 * 16e9) / 1_843_200
const STOP = CHAR / 10

/**
 * The reference: a 16550A at 115200 8N1 outside loopback, told as lists and times. It is advanced by looking for the next thing to
 * happen; nothing is shared with the device.
 */
class Model {
  now = 0
  fifo = false
  trigger = 1
  ier = 0
  rx: { byte: number; bad: boolean }[] = []
  pe = false
  oe = false
  anyBad = false
  last = 0
  lastActivity = Number.POSITIVE_INFINITY
  timedOut = false
  line: { byte: number; bad: boolean }[] = []
  lineDue = Number.POSITIVE_INFINITY
  tx: number[] = []
  shifting: number | undefined
  shiftDue = Number.POSITIVE_INFINITY
  two = false
  hidden = Number.NEGATIVE_INFINITY // THRE is held back until then
  thrIrq = false
  sent: number[] = []

  thre(): boolean {
    return this.tx.length === 0 && this.hidden <= this.now
  }

  load(): void {
    if (this.tx.length === 0) return
    this.shifting = this.tx.shift()!
    this.shiftDue = this.now + CHAR
    if (this.tx.length > 0) return
    if (this.fifo && !this.two) this.hidden = this.shiftDue - STOP
    else this.empty()
  }

  empty(): void {
    this.two = false
    this.thrIrq = true
    this.hidden = Number.NEGATIVE_INFINITY
  }

  advance(ns: number): void {
    const end = this.now + ns
    for (;;) {
      const held = this.hidden > this.now ? this.hidden : Number.POSITIVE_INFINITY
      const quiet =
        this.fifo && this.rx.length > 0 && !this.timedOut ? this.lastActivity + 4 * CHAR : Number.POSITIVE_INFINITY
      const next = Math.min(held, this.shiftDue, this.lineDue, quiet)
      if (next > end) break
      this.now = next
      if (next === held) {
        if (this.tx.length === 0) this.empty()
      } else if (next === this.shiftDue) {
        this.sent.push(this.shifting!)
        this.shifting = undefined
        this.shiftDue = Number.POSITIVE_INFINITY
        this.load()
      } else if (next === this.lineDue) this.arrive()
      else this.timedOut = true
    }
    this.now = end
  }

  arrive(): void {
    const item = this.line.shift()!
    this.lineDue = this.line.length > 0 ? this.now + CHAR : Number.POSITIVE_INFINITY
    if (this.rx.length === (this.fifo ? 16 : 1)) {
      this.oe = true
      if (this.fifo) return
      this.rx = []
    }
    this.rx.push(item)
    if (item.bad && this.fifo) this.anyBad = true
    if (this.rx.length === 1) this.show()
    this.touch()
  }

  show(): void {
    if (this.rx[0]!.bad) this.pe = true
    this.rx[0]!.bad = false
  }

  touch(): void {
    this.timedOut = false
    this.lastActivity = this.now
  }

  iir(): number {
    if (this.ier & 4 && (this.pe || this.oe)) return 6
    if (this.ier & 1 && this.rx.length >= (this.fifo ? this.trigger : 1)) return 4
    if (this.ier & 1 && this.timedOut) return 12
    if (this.ier & 2 && this.thrIrq) return 2
    return 1
  }
}

interface Real {
  readonly clock: ManualClock
  readonly irq: Line
  readonly sent: number[]
  readonly uart: Uart16550
}

type Step = fc.Command<Model, Real>

function step(name: string, run: (model: Model, real: Real) => void): Step {
  return {
    check: () => true,
    run: (model, real) => {
      run(model, real)
      expect(real.irq.level, 'IRQ').toBe(model.iir() !== 1)
      expect(real.sent, 'sent').toEqual(model.sent)
    },
    toString: () => name,
  }
}

const commands = [
  fc.integer({ min: 1, max: 500_000 }).map((ns) =>
    step(`advance ${ns}`, (model, real) => {
      model.advance(ns)
      real.clock.advance(ns)
    }),
  ),
  fc.nat(255).map((byte) =>
    step(`send ${byte}`, (model, real) => {
      model.thrIrq = false
      if (model.fifo) {
        if (model.tx.length < 16) model.tx.push(byte)
        if (model.tx.length >= 2) model.two = true
      } else model.tx = [byte]
      if (model.shifting === undefined) model.load()
      real.uart.writePort(0, 1, byte)
    }),
  ),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 20 }).map((bytes) =>
    step(`receive ${bytes}`, (model, real) => {
      model.line.push(...bytes.map((byte) => ({ byte, bad: false })))
      if (model.lineDue === Number.POSITIVE_INFINITY) model.lineDue = model.now + CHAR
      real.uart.receive(bytes)
    }),
  ),
  fc.nat(255).map((byte) =>
    step(`receive bad ${byte}`, (model, real) => {
      model.line.push({ byte, bad: true })
      if (model.lineDue === Number.POSITIVE_INFINITY) model.lineDue = model.now + CHAR
      real.uart.receiveError(byte, 'parity')
    }),
  ),
  fc.constant(
    step('read data', (model, real) => {
      const top = model.rx.shift()
      if (top !== undefined) {
        model.last = top.byte
        if (model.rx.length > 0) model.show()
      }
      model.touch()
      expect(real.uart.readPort(0, 1)).toBe(model.last)
    }),
  ),
  fc.constant(
    step('read LSR', (model, real) => {
      let want = 0
      if (model.rx.length > 0) want |= 0x01
      if (model.oe) want |= 0x02
      if (model.pe) want |= 0x04
      if (model.thre()) want |= 0x20
      if (model.tx.length === 0 && model.shifting === undefined) want |= 0x40
      if (model.anyBad) want |= 0x80
      model.oe = false
      model.pe = false
      if (!model.rx.some((item) => item.bad)) model.anyBad = false
      expect(real.uart.readPort(5, 1)).toBe(want)
    }),
  ),
  fc.constant(
    step('read IIR', (model, real) => {
      const want = model.iir()
      if (want === 2) model.thrIrq = false
      expect(real.uart.readPort(2, 1)).toBe(want | (model.fifo ? 0xc0 : 0))
    }),
  ),
  fc.nat(7).map((ier) =>
    step(`IER ${ier}`, (model, real) => {
      if (ier & 2 && !(model.ier & 2) && model.thre()) model.thrIrq = true
      model.ier = ier
      real.uart.writePort(1, 1, ier)
    }),
  ),
  fc.record({ enable: fc.boolean(), clear: fc.nat(3), level: fc.nat(3) }).map(({ enable, clear, level }) =>
    step(`FCR ${enable} clear ${clear} level ${level}`, (model, real) => {
      const changed = enable !== model.fifo
      if (changed || (enable && clear & 1)) {
        model.rx = []
        model.timedOut = false
        model.anyBad = false
      }
      if (changed || (enable && clear & 2)) {
        const was = model.thre()
        model.tx = []
        if (!was) model.empty()
      }
      if (changed) model.two = true
      model.fifo = enable
      model.trigger = [1, 4, 8, 14][enable ? level : 0]!
      real.uart.writePort(2, 1, (enable ? 1 : 0) | (clear << 1) | (level << 6))
    }),
  ),
]

function make(): Real {
  const clock = new ManualClock()
  const irq = new Line()
  const sent: number[] = []
  const uart = new Uart16550({
    clock,
    irq,
    lineControl: 3,
    divisor: 1,
    queueSize: 100_000,
    sink: { byte: (byte) => sent.push(byte) },
  })
  uart.writePort(4, 1, 8)
  return { clock, irq, sent, uart }
}

describe('Uart16550 properties', () => {
  it('behaves like the model', () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 120, size: '+1' }), (list) => {
        fc.modelRun(() => ({ model: new Model(), real: make() }), list)
      }),
      { numRuns: runs(250) },
    )
  })

  it('survives any traffic, and its state carries on the same', () => {
    const fast = fc.array(fc.nat(255), { maxLength: 40 })
    fc.assert(
      fc.property(traffic(8, 120), traffic(8, 120), fast, (before, after, bytes) => {
        const a = make()
        a.uart.receive(bytes)
        drive(a.uart, a.clock, before)
        const b = make()
        b.clock.advanceTo(a.clock.now())
        b.uart.loadState(a.uart.saveState())
        expect(b.irq.level).toBe(a.irq.level)
        a.sent.length = 0
        expect(drive(b.uart, b.clock, after)).toEqual(drive(a.uart, a.clock, after))
        expect(b.sent).toEqual(a.sent)
        expect(b.uart.saveState()).toEqual(a.uart.saveState())
      }),
      { numRuns: runs(100) },
    )
  })
})
