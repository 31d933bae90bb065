import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ApicBus } from '../../src/interrupts/apic-bus.js'
import * as R from '../../src/interrupts/apic-registers.js'
import { IoApic } from '../../src/interrupts/io-apic.js'
import { LocalApic } from '../../src/interrupts/local-apic.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { ModelIoApic, ModelLocalApic, ModelTimer } from './apic-model.js'

/** A command that does the same to both sides and then compares all that can be seen. */
class Step<M extends object, Q> implements fc.Command<M, Q> {
  private readonly text: string
  private readonly model: (m: M) => unknown
  private readonly real: (r: Q) => unknown
  private readonly compare: (m: M, r: Q) => void

  constructor(text: string, model: (m: M) => unknown, real: (r: Q) => unknown, compare: (m: M, r: Q) => void) {
    this.text = text
    this.model = model
    this.real = real
    this.compare = compare
  }

  check(): boolean {
    return true
  }

  run(m: M, r: Q): void {
    const expected = this.model(m)
    const got = this.real(r)
    if (expected !== undefined) expect(got).toEqual(expected)
    this.compare(m, r)
  }

  toString(): string {
    return this.text
  }
}

const bool = fc.boolean()

// ---- the local APIC

interface RealLocal {
  apic: LocalApic
  ended: number[]
}

function makeLocal(): RealLocal {
  const bus = new ApicBus()
  const ended: number[] = []
  bus.attachIoApic({ endOfInterrupt: (vector) => ended.push(vector), retry: () => {} })
  return { apic: new LocalApic({ id: 0, clock: new ManualClock(), bus, frequency: 1e9 }), ended }
}

const words = (set: ReadonlySet<number>): number[] =>
  Array.from({ length: 8 }, (_, n) =>
    [...set].filter((v) => Math.floor(v / 32) === n).reduce((sum, v) => sum + 2 ** (v % 32), 0),
  )

function compareLocal(m: ModelLocalApic, { apic, ended }: RealLocal): void {
  const read = (offset: number): number => apic.readMmio(offset, 4)
  const eight = (first: number): number[] => Array.from({ length: 8 }, (_, n) => read(first + 16 * n))
  expect({
    irr: eight(R.APIC_IRR),
    isr: eight(R.APIC_ISR),
    tmr: eight(R.APIC_TMR),
    ppr: read(R.APIC_PPR),
    pending: apic.pending,
    masked: (read(R.APIC_LVT_LINT0) & R.APIC_MASKED) !== 0,
    remote: (read(R.APIC_LVT_LINT0) & R.APIC_REMOTE_IRR) !== 0,
    esr: read(R.APIC_ESR),
    ended,
  }).toEqual({
    irr: words(m.requested),
    isr: words(m.inService),
    tmr: words(m.level),
    ppr: m.ppr,
    pending: m.pending,
    masked: m.lint0.masked,
    remote: m.lint0.remote,
    esr: m.esr,
    ended: m.ended,
  })
}

const localStep = (text: string, model: (m: ModelLocalApic) => unknown, real: (r: RealLocal) => unknown) =>
  new Step(text, model, real, compareLocal)

/** Mostly a few vectors, so that they meet. */
const vector = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0x30, 0x31, 0x3f, 0x40, 0x7f, 0xf0, 0xff) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }) },
)

const localCommands = [
  fc.tuple(vector, bool).map(([v, level]) =>
    localStep(
      `message ${v} ${level ? 'level' : 'edge'}`,
      (m) => m.receive(v, level),
      (r) => r.apic.accept(R.APIC_DELIVERY.FIXED, v, level),
    ),
  ),
  vector.map((v) =>
    localStep(
      `self IPI ${v}`,
      (m) => m.selfIpi(v),
      (r) => r.apic.writeMmio(R.APIC_ICR, 4, R.APIC_SHORTHAND_SELF | v),
    ),
  ),
  fc.integer({ min: 0, max: 255 }).map((v) =>
    localStep(
      `TPR ${v}`,
      (m) => {
        m.tpr = v
      },
      (r) => r.apic.writeMmio(R.APIC_TPR, 4, v),
    ),
  ),
  fc.integer({ min: 0, max: 5 }).map((v) =>
    localStep(
      `CR8 ${v}`,
      (m) => {
        m.tpr = v * 16
      },
      (r) => {
        r.apic.taskPriority = v
      },
    ),
  ),
  fc.constant(
    localStep(
      'acknowledge',
      (m) => m.acknowledge(),
      (r) => r.apic.acknowledge(),
    ),
  ),
  fc.constant(
    localStep(
      'EOI',
      (m) => m.eoi(),
      (r) => r.apic.writeMmio(R.APIC_EOI, 4, 0),
    ),
  ),
  fc.tuple(fc.integer({ min: 0, max: 4 }), bool, fc.constantFrom(0xff, 0x0f)).map(([enable, suppress, spurious]) =>
    localStep(
      `SVR ${enable > 0} ${suppress} ${spurious}`,
      (m) => m.setSvr(enable > 0, suppress, spurious),
      (r) => r.apic.writeMmio(R.APIC_SVR, 4, (enable > 0 ? 0x100 : 0) | (suppress ? 0x1000 : 0) | spurious),
    ),
  ),
  fc.tuple(vector, bool, bool, bool).map(([v, masked, level, low]) =>
    localStep(
      `LINT0 entry ${v} masked=${masked} level=${level} low=${low}`,
      (m) => m.setLint0(v, masked, level, low),
      (r) =>
        r.apic.writeMmio(
          R.APIC_LVT_LINT0,
          4,
          v | (masked ? R.APIC_MASKED : 0) | (level ? R.APIC_LEVEL_TRIGGERED : 0) | (low ? R.APIC_ACTIVE_LOW : 0),
        ),
    ),
  ),
  bool.map((high) =>
    localStep(
      `LINT0 ${high ? 'high' : 'low'}`,
      (m) => m.setWire(high),
      (r) => r.apic.lint0.setLevel(high),
    ),
  ),
  fc.constant(
    localStep(
      'ESR',
      (m) => m.writeEsr(),
      (r) => r.apic.writeMmio(R.APIC_ESR, 4, 0),
    ),
  ),
  fc.constant(
    localStep(
      'save and load',
      () => {},
      (r) => {
        const saved = JSON.parse(JSON.stringify(r.apic.saveState()))
        const { apic, ended } = makeLocal()
        apic.loadState(saved)
        ended.push(...r.ended)
        Object.assign(r, { apic, ended })
      },
    ),
  ),
]

test('local APIC: vectors, priorities, ends and LINT0 agree with the model', () => {
  const property = fc.property(fc.commands(localCommands, { maxCommands: 60, size: 'max' }), (commands) => {
    fc.modelRun(() => {
      const model = new ModelLocalApic()
      const real = makeLocal()
      model.setSvr(true, false, 0xff)
      real.apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
      return { model, real }
    }, commands)
  })
  fc.assert(property, { numRuns: runs(200) })
})

// ---- its timer

interface RealTimer {
  apic: LocalApic
  clock: ManualClock
  fired: number
}

function makeTimer(now: number): RealTimer {
  const clock = new ManualClock()
  clock.advanceTo(now)
  const apic = new LocalApic({ id: 0, clock, bus: new ApicBus(), frequency: 1e9 })
  apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
  return { apic, clock, fired: 0 }
}

function compareTimer(m: ModelTimer, { apic, fired }: RealTimer): void {
  const read = (offset: number): number => apic.readMmio(offset, 4)
  expect([read(R.APIC_TIMER_INITIAL), read(R.APIC_TIMER_CURRENT), fired]).toEqual([m.initial, m.count, m.fired])
}

const timerStep = (text: string, model: (m: ModelTimer) => unknown, real: (r: RealTimer) => unknown) =>
  new Step(text, model, real, compareTimer)

/** One clock after the other, the interrupt taken at once. */
function clocks(r: RealTimer, count: number): void {
  for (let n = 0; n < count; n++) {
    r.clock.advance(1)
    if (!r.apic.pending) continue
    r.fired++
    r.apic.acknowledge()
    r.apic.writeMmio(R.APIC_EOI, 4, 0)
  }
}

const timerCommands = [
  fc.integer({ min: 1, max: 60 }).map((count) =>
    timerStep(
      `${count} clocks`,
      (m) => {
        for (let n = 0; n < count; n++) m.clock()
      },
      (r) => clocks(r, count),
    ),
  ),
  fc.integer({ min: 0, max: 12 }).map((count) =>
    timerStep(
      `initial ${count}`,
      (m) => m.setInitial(count),
      (r) => r.apic.writeMmio(R.APIC_TIMER_INITIAL, 4, count),
    ),
  ),
  fc
    .constantFrom<readonly [number, number]>([0b1011, 1], [0b0000, 2], [0b0001, 4], [0b0010, 8])
    .map(([bits, divisor]) =>
      timerStep(
        `divisor ${divisor}`,
        (m) => m.setDivisor(divisor),
        (r) => r.apic.writeMmio(R.APIC_TIMER_DIVIDE, 4, bits),
      ),
    ),
  fc.tuple(bool, fc.integer({ min: 0, max: 3 })).map(([periodic, mask]) =>
    timerStep(
      `${periodic ? 'periodic' : 'one shot'}${mask === 0 ? ' masked' : ''}`,
      (m) => {
        m.periodic = periodic
        m.masked = mask === 0
      },
      (r) => r.apic.writeMmio(R.APIC_LVT_TIMER, 4, 0x80 | (periodic ? 0x20000 : 0) | (mask === 0 ? 0x10000 : 0)),
    ),
  ),
  fc.constant(
    timerStep(
      'save and load',
      () => {},
      (r) => {
        const { apic, clock } = makeTimer(r.clock.now())
        apic.loadState(JSON.parse(JSON.stringify(r.apic.saveState())))
        Object.assign(r, { apic, clock })
      },
    ),
  ),
]

test('APIC timer: counts and interrupts agree with one that counts every clock', () => {
  const property = fc.property(fc.commands(timerCommands, { maxCommands: 30, size: 'max' }), (commands) => {
    fc.modelRun(() => ({ model: new ModelTimer(), real: makeTimer(0) }), commands)
  })
  fc.assert(property, { numRuns: runs(200) })
})

// ---- the I/O APIC

interface RealIo {
  io: IoApic
  bus: ApicBus
  accepting: boolean
  sent: string[]
}

const PINS = [0, 9, 23]

function makeIo(): RealIo {
  const bus = new ApicBus()
  const real: RealIo = { bus, io: new IoApic({ bus }), accepting: true, sent: [] }
  bus.attach({
    initialId: 0,
    arbitrationPriority: 0,
    acceptsVectors: true,
    matches: () => true,
    isFocusOf: () => false,
    accept: (_mode, v, level) => {
      real.sent.push(`${v} ${level ? 'level' : 'edge'}`)
      return real.accepting
    },
  })
  return real
}

function compareIo(m: ModelIoApic, { io, sent }: RealIo): void {
  expect(sent).toEqual(m.sent)
  for (const [index, n] of PINS.entries()) {
    const { vector: v, level, low, masked, remote, waiting } = m.entries[index]!
    const expected =
      v |
      (level ? R.APIC_LEVEL_TRIGGERED : 0) |
      (low ? R.APIC_ACTIVE_LOW : 0) |
      (masked ? R.APIC_MASKED : 0) |
      (remote ? R.APIC_REMOTE_IRR : 0) |
      (waiting ? R.APIC_DELIVERY_PENDING : 0)
    expect(io.readRegister(R.IOAPIC_REDIRECTION + 2 * n)).toBe(expected)
  }
}

const ioStep = (text: string, model: (m: ModelIoApic) => unknown, real: (r: RealIo) => unknown) =>
  new Step(text, model, real, compareIo)

const pin = fc.integer({ min: 0, max: PINS.length - 1 })
const few = fc.constantFrom(0x31, 0x32, 0x99)

const ioCommands = [
  fc.tuple(pin, bool).map(([n, high]) =>
    ioStep(
      `pin ${n} ${high}`,
      (m) => m.setWire(n, high),
      (r) => r.io.line(PINS[n]!).setLevel(high),
    ),
  ),
  fc.tuple(pin, few, bool, bool, fc.integer({ min: 0, max: 2 })).map(([n, v, level, low, mask]) =>
    ioStep(
      `entry ${n} ${v} level=${level} low=${low} masked=${mask === 0}`,
      (m) => m.write(n, v, level, low, mask === 0),
      (r) => {
        r.io.writeMmio(R.IOAPIC_REGSEL, 4, R.IOAPIC_REDIRECTION + 2 * PINS[n]!)
        const bits = (level ? R.APIC_LEVEL_TRIGGERED : 0) | (low ? R.APIC_ACTIVE_LOW : 0)
        // Read-only bits are written as ones and must not matter.
        r.io.writeMmio(R.IOAPIC_WIN, 4, v | bits | (mask === 0 ? R.APIC_MASKED : 0) | 0x5000)
      },
    ),
  ),
  fc.tuple(few, bool).map(([v, byRegister]) =>
    ioStep(
      `EOI ${v}`,
      (m) => m.eoi(v),
      (r) => (byRegister ? r.io.writeMmio(R.IOAPIC_EOI, 4, v) : r.bus.endOfInterrupt(v)),
    ),
  ),
  bool.map((accepting) =>
    ioStep(
      `accepting ${accepting}`,
      (m) => {
        m.accepting = accepting
        m.retry()
      },
      (r) => {
        r.accepting = accepting
        r.bus.retry()
      },
    ),
  ),
  fc.constant(
    ioStep(
      'save and load',
      () => {},
      (r) => r.io.loadState(JSON.parse(JSON.stringify(r.io.saveState()))),
    ),
  ),
]

test('I/O APIC: messages and entries agree with the model', () => {
  const property = fc.property(fc.commands(ioCommands, { maxCommands: 60, size: 'max' }), (commands) => {
    fc.modelRun(() => ({ model: new ModelIoApic(PINS.length), real: makeIo() }), commands)
  })
  fc.assert(property, { numRuns: runs(200) })
})

// ---- anything a guest may write

test('no write makes an APIC throw, hang or take state that it would not load', () => {
  const operation = fc.tuple(
    fc.integer({ min: 0, max: 0x3f }),
    fc.integer({ min: 0, max: 0xffffffff }),
    fc.integer({ min: 0, max: 4 }),
  )
  const property = fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
    const clock = new ManualClock()
    const bus = new ApicBus()
    const tsc = { readTsc: () => BigInt(Math.floor(clock.now())), timeOfTsc: (value: bigint) => Number(value) }
    const apics = [0, 1].map((id) => new LocalApic({ id, clock, bus, frequency: 1e9, tsc, cmci: true }))
    const io = new IoApic({ bus })
    for (const apic of apics) apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
    for (const [register, value, kind] of operations) {
      const apic = apics[value & 1]!
      if (kind === 0) io.writeRegister(register, value)
      else if (kind === 1) io.line(register % 24).setLevel((value & 2) !== 0)
      else if (kind === 2) apic.writeMsr(0x800 + register, BigInt(value & 0x4cfff))
      else if (kind === 3 && register < 8) apic.writeMsr(R.MSR_APIC_BASE, 0xfee00000n | BigInt(value & 0xd00))
      else apic.writeMmio(register * 16, 4, value)
      if (apic.pending) apic.acknowledge()
      clock.advance(50)
      for (const other of apics) other.loadState(other.saveState())
      io.loadState(io.saveState())
    }
  })
  fc.assert(property, { numRuns: runs(200) })
})
