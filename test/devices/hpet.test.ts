import { describe, expect, it } from 'vitest'
import {
  HPET_BLOCK_ID,
  HPET_CAPABILITIES,
  HPET_CONFIGURATION,
  HPET_COUNTER,
  HPET_ENABLE,
  HPET_INTERRUPT_STATUS,
  HPET_LEGACY_REPLACEMENT,
  HPET_PERIOD_FS,
  HPET_TIMER_COMPARATOR,
  HPET_TIMER_CONFIGURATION,
  HPET_TIMER_STRIDE,
  HPET_TIMER0,
  HPET_TN_32BIT,
  HPET_TN_ENABLE,
  HPET_TN_LEVEL,
  HPET_TN_PERIODIC,
  HPET_TN_ROUTE_SHIFT,
  HPET_TN_VALUE_SET,
  Hpet,
  IrqGate,
} from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { Line } from './helpers.js'

function block(options: { minimumInterval?: number } = {}) {
  const clock = new ManualClock()
  const line = new Line()
  const legacy = [new Line(), new Line()] as const
  const switched: boolean[] = []
  const hpet = new Hpet({
    clock,
    lines: [undefined, undefined, line],
    legacyLines: legacy,
    onLegacyReplacement: (on) => switched.push(on),
    ...options,
  })
  const write = (register: number, value: number) => hpet.writeMmio(register, 4, value)
  const read = (register: number) => hpet.readMmio(register, 4)
  return { clock, line, legacy, switched, hpet, write, read }
}

const timer = (n: number, register: number) => HPET_TIMER0 + n * HPET_TIMER_STRIDE + register
const ROUTE2 = 2 << HPET_TN_ROUTE_SHIFT

describe('Hpet', () => {
  it('says what it is', () => {
    const { read } = block()
    expect(read(HPET_CAPABILITIES)).toBe(HPET_BLOCK_ID)
    expect(read(HPET_CAPABILITIES + 4)).toBe(HPET_PERIOD_FS)
    for (let n = 0; n < 3; n++) {
      // Periodic and 64 bits, no FSB delivery, input 2 only; the comparator is all ones after reset.
      expect(read(timer(n, HPET_TIMER_CONFIGURATION))).toBe(0x30)
      expect(read(timer(n, HPET_TIMER_CONFIGURATION + 4))).toBe(1 << 2)
      expect(read(timer(n, HPET_TIMER_COMPARATOR))).toBe(0xffffffff)
      expect(read(timer(n, HPET_TIMER_COMPARATOR + 4))).toBe(0xffffffff)
    }
    expect(read(timer(3, 0))).toBe(0)
  })

  it('counts at 100 MHz while it is enabled, through 32 bits, and can be set while it is not', () => {
    const { clock, read, write } = block()
    clock.advance(1000)
    expect(read(HPET_COUNTER)).toBe(0)
    write(HPET_COUNTER, 0xfffffff0)
    write(HPET_COUNTER + 4, 7)
    write(HPET_CONFIGURATION, HPET_ENABLE)
    clock.advance(159)
    expect([read(HPET_COUNTER), read(HPET_COUNTER + 4)]).toEqual([0xffffffff, 7])
    clock.advance(1)
    expect([read(HPET_COUNTER), read(HPET_COUNTER + 4)]).toEqual([0, 8])
    write(HPET_COUNTER, 5) // ignored while running
    expect(read(HPET_COUNTER)).toBe(0)
    write(HPET_CONFIGURATION, 0)
    clock.advance(1e9)
    expect(read(HPET_COUNTER)).toBe(0)
    expect(clock.scheduled).toBe(0)
  })

  it('reads parts of registers', () => {
    const { hpet } = block()
    expect(hpet.readMmio(1, 1)).toBe(0xa2)
    expect(hpet.readMmio(2, 2)).toBe(0x8086)
    expect(hpet.readMmio(2, 4)).toBe((((HPET_PERIOD_FS & 0xffff) << 16) | 0x8086) >>> 0)
  })

  it('raises an edge when the comparator matches, to the nanosecond', () => {
    const { clock, line, write } = block()
    write(HPET_CONFIGURATION, HPET_ENABLE)
    write(timer(0, HPET_TIMER_CONFIGURATION), HPET_TN_ENABLE | HPET_TN_32BIT | ROUTE2)
    write(timer(0, HPET_TIMER_COMPARATOR), 100)
    clock.advance(999)
    expect(line.edges).toBe(0)
    clock.advance(1)
    expect(line.edges).toBe(1)
    // 32 bits come round again.
    clock.advance(2 ** 32 * 10 - 1)
    expect(line.edges).toBe(1)
    clock.advance(1)
    expect(line.edges).toBe(2)
  })

  it('a comparator that was passed waits for the counter to come round', () => {
    const { clock, line, write } = block()
    write(HPET_CONFIGURATION, HPET_ENABLE)
    clock.advance(10_000)
    write(timer(1, HPET_TIMER_CONFIGURATION), HPET_TN_ENABLE | ROUTE2)
    write(timer(1, HPET_TIMER_COMPARATOR), 999)
    write(timer(1, HPET_TIMER_COMPARATOR + 4), 0)
    clock.advance(1e12)
    expect(line.edges).toBe(0)
  })

  it('is programmed periodic as Linux does: VAL_SET, first match, then the period', () => {
    const { clock, legacy, write, read } = block()
    write(HPET_CONFIGURATION, HPET_ENABLE | HPET_LEGACY_REPLACEMENT)
    write(timer(0, HPET_TIMER_CONFIGURATION), HPET_TN_ENABLE | HPET_TN_PERIODIC | HPET_TN_VALUE_SET | HPET_TN_32BIT)
    write(timer(0, HPET_TIMER_COMPARATOR), 5000)
    write(timer(0, HPET_TIMER_COMPARATOR), 400_000)
    expect(read(timer(0, HPET_TIMER_CONFIGURATION)) & HPET_TN_VALUE_SET).toBe(0)
    expect(read(timer(0, HPET_TIMER_COMPARATOR))).toBe(5000)
    clock.advance(50_000)
    expect(legacy[0].edges).toBe(1)
    expect(read(timer(0, HPET_TIMER_COMPARATOR))).toBe(405_000)
    clock.advance(10 * 4_000_000)
    expect(legacy[0].edges).toBe(11)
  })

  it('VAL_SET covers a 64-bit write, which comes as two halves', () => {
    const { write, read } = block()
    write(timer(0, HPET_TIMER_CONFIGURATION), HPET_TN_PERIODIC | HPET_TN_VALUE_SET)
    write(timer(0, HPET_TIMER_COMPARATOR), 0x11)
    write(timer(0, HPET_TIMER_COMPARATOR + 4), 0x22)
    expect([read(timer(0, HPET_TIMER_COMPARATOR)), read(timer(0, HPET_TIMER_COMPARATOR + 4))]).toEqual([0x11, 0x22])
    write(timer(0, HPET_TIMER_COMPARATOR), 0x33) // the period
    write(timer(0, HPET_TIMER_COMPARATOR + 4), 0)
    expect([read(timer(0, HPET_TIMER_COMPARATOR)), read(timer(0, HPET_TIMER_COMPARATOR + 4))]).toEqual([0x11, 0x22])
  })

  it('level: the status bit holds the line until it is cleared', () => {
    const { clock, line, write, read } = block()
    write(HPET_CONFIGURATION, HPET_ENABLE)
    write(
      timer(2, HPET_TIMER_CONFIGURATION),
      HPET_TN_ENABLE | HPET_TN_LEVEL | HPET_TN_PERIODIC | HPET_TN_32BIT | ROUTE2,
    )
    write(
      timer(2, HPET_TIMER_CONFIGURATION),
      HPET_TN_ENABLE | HPET_TN_LEVEL | HPET_TN_PERIODIC | HPET_TN_VALUE_SET | HPET_TN_32BIT | ROUTE2,
    )
    write(timer(2, HPET_TIMER_COMPARATOR), 2000)
    clock.advance(20_000)
    expect([line.level, read(HPET_INTERRUPT_STATUS)]).toEqual([true, 4])
    expect(clock.scheduled).toBe(0)
    clock.advance(100_000)
    write(HPET_INTERRUPT_STATUS, 3)
    expect(line.level).toBe(true)
    write(HPET_INTERRUPT_STATUS, 4)
    expect([line.level, read(HPET_INTERRUPT_STATUS)]).toEqual([false, 0])
    clock.advance(20_000)
    expect(line.level).toBe(true)
    write(timer(2, HPET_TIMER_CONFIGURATION), HPET_TN_LEVEL | ROUTE2)
    expect(line.level).toBe(false)
  })

  it('accepts only inputs that it offers', () => {
    const { write, read } = block()
    write(timer(0, HPET_TIMER_CONFIGURATION), 5 << HPET_TN_ROUTE_SHIFT)
    expect(read(timer(0, HPET_TIMER_CONFIGURATION))).toBe(0x30)
    write(timer(0, HPET_TIMER_CONFIGURATION), 0xffff0000 | ROUTE2)
    expect(read(timer(0, HPET_TIMER_CONFIGURATION))).toBe(0x30 | ROUTE2)
  })

  it('under legacy replacement disconnects the old timers', () => {
    const { write, switched, hpet } = block()
    write(HPET_CONFIGURATION, HPET_LEGACY_REPLACEMENT)
    write(HPET_CONFIGURATION, HPET_LEGACY_REPLACEMENT | HPET_ENABLE)
    hpet.reset()
    expect(switched).toEqual([true, false])
    const out = new Line()
    const gate = new IrqGate(out)
    gate.setLevel(true)
    gate.setDisconnected(true)
    expect(out.level).toBe(false)
    gate.setLevel(false)
    gate.setLevel(true)
    expect(out.edges).toBe(1)
    gate.setDisconnected(false)
    expect(out.level).toBe(true)
  })

  it('merges interrupts of a period shorter than the minimum, and loses no count', () => {
    const { clock, line, write, read } = block({ minimumInterval: 10_000 })
    write(HPET_CONFIGURATION, HPET_ENABLE)
    write(timer(0, HPET_TIMER_CONFIGURATION), HPET_TN_ENABLE | HPET_TN_PERIODIC | HPET_TN_VALUE_SET | ROUTE2)
    write(timer(0, HPET_TIMER_COMPARATOR), 1)
    write(timer(0, HPET_TIMER_COMPARATOR + 4), 0)
    clock.advance(10_000_000)
    expect(clock.fired).toBeLessThanOrEqual(1001)
    expect(line.edges).toBeGreaterThanOrEqual(999)
    expect(read(timer(0, HPET_TIMER_COMPARATOR))).toBe(1_000_001)
  })

  it('refuses damaged state and leaves its own alone', () => {
    const { hpet } = block()
    const good = hpet.saveState()
    for (const bad of [
      { ...good, version: 2 },
      { ...good, status: 8 },
      { ...good, counter: [0] },
      { ...good, timers: good.timers.slice(1) },
      { ...good, timers: good.timers.map((t) => ({ ...t, configuration: 0x4030 })) },
      { ...good, timers: good.timers.map((t) => ({ ...t, match: -1 })) },
      { ...good, timers: good.timers.map((t) => ({ ...t, fired: 1e9 })) },
      { ...good, timers: [null, null, null] },
    ]) {
      expect(() => hpet.loadState(bad as never)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
      expect(hpet.saveState()).toEqual(good)
    }
  })
})
