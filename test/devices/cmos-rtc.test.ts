import { describe, expect, it } from 'vitest'
import type { RtcDate } from '../../src/devices/index.js'
import { CmosRtc } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { Line } from './helpers.js'

const SECOND = 1e9

function setup(date: RtcDate | number = { year: 1999, month: 12, day: 31, hour: 23, minute: 59, second: 58 }) {
  const clock = new ManualClock()
  const irq = new Line()
  const nmi: boolean[] = []
  const rtc = new CmosRtc({ clock, irq, date, onNmiMask: (masked) => nmi.push(masked) })
  const read = (index: number): number => {
    rtc.writePort(0, 1, index)
    return rtc.readPort(1, 1)
  }
  const write = (index: number, value: number): void => {
    rtc.writePort(0, 1, index)
    rtc.writePort(1, 1, value)
  }
  const time = () => [4, 2, 0].map(read)
  const date_ = () => [0x32, 9, 8, 7, 6].map(read)
  return { clock, irq, nmi, rtc, read, write, time, date: date_ }
}

describe('CmosRtc', () => {
  it('counts over the end of a century in BCD', () => {
    const { clock, time, date } = setup()
    expect(time()).toEqual([0x23, 0x59, 0x58])
    expect(date()).toEqual([0x19, 0x99, 0x12, 0x31, 6]) // 1999-12-31 was a Friday
    clock.advance(2 * SECOND)
    expect(time()).toEqual([0, 0, 0])
    expect(date()).toEqual([0x20, 0x00, 0x01, 0x01, 7])
  })

  it('takes an epoch, knows 12-hour and binary modes', () => {
    const { clock, write, read, time } = setup(Date.UTC(2024, 1, 28, 23, 30, 0))
    write(0x0b, 0x80) // SET, BCD, 12 hours
    write(4, 0x92) // 12 PM
    write(2, 0x59)
    write(0, 0x59)
    write(0x0b, 0x00)
    clock.advance(1 * SECOND)
    expect(time()).toEqual([0x81, 0, 0])
    write(0x0b, 0x84) // binary
    write(4, 0x80 | 11)
    write(2, 59)
    write(0, 59)
    write(0x0b, 0x04)
    clock.advance(1 * SECOND)
    expect(time()).toEqual([12, 0, 0]) // 12 AM of the leap day
    // Month and day were BCD bytes and are read as binary now: 0x28 is 40, which no month has; only a program that
    // forgets to set them again sees that.
    write(7, 28)
    write(8, 2)
    write(4, 0x80 | 11)
    write(2, 59)
    write(0, 59)
    clock.advance(1 * SECOND)
    expect([read(8), read(7)]).toEqual([2, 29])
  })

  it('announces an update 2228 µs ahead', () => {
    const { clock, read } = setup()
    clock.advance(SECOND - 2_228_001)
    expect(read(0x0a) & 0x80).toBe(0)
    clock.advance(1)
    expect(read(0x0a) & 0x80).toBe(0x80)
    expect(read(0)).toBe(0x58)
    clock.advance(2_228_000)
    expect(read(0x0a) & 0x80).toBe(0)
    expect(read(0)).toBe(0x59)
  })

  it('SET holds the time and clears UIE; the divider runs on', () => {
    const { clock, read, write } = setup()
    write(0x0b, 0x12)
    clock.advance(0.6 * SECOND)
    write(0x0b, 0x92)
    expect(read(0x0b)).toBe(0x82)
    clock.advance(3 * SECOND)
    expect(read(0)).toBe(0x58)
    expect(read(0x0a) & 0x80).toBe(0)
    write(0x0b, 0x02)
    clock.advance(0.39 * SECOND)
    expect(read(0)).toBe(0x58)
    clock.advance(0.01 * SECOND)
    expect(read(0)).toBe(0x59)
  })

  it('updates half a second after the divider is let go', () => {
    const { clock, read, write } = setup()
    clock.advance(0.25 * SECOND)
    write(0x0a, 0x70)
    clock.advance(10 * SECOND)
    expect(read(0)).toBe(0x58)
    write(0x0a, 0x26)
    clock.advance(0.5 * SECOND - 1)
    expect(read(0)).toBe(0x58)
    clock.advance(1)
    expect(read(0)).toBe(0x59)
    clock.advance(SECOND)
    expect(read(0)).toBe(0x00)
  })

  it.each([
    [1, 256],
    [2, 128],
    [3, 8192],
    [6, 1024],
    [12, 16],
    [15, 2],
  ])('periodic rate %i is %i Hz', (rate, hz) => {
    const { clock, irq, read, write } = setup()
    write(0x0a, 0x20 | rate)
    write(0x0b, 0x42)
    const ticks = Math.min(2 * hz, 512)
    for (let i = 0; i < ticks; i++) {
      clock.advanceTo(clock.nextDeadline!)
      expect(irq.level).toBe(true)
      const flags = read(0x0c)
      expect(flags & 0xc0).toBe(0xc0)
      expect(irq.level).toBe(false)
    }
    expect(Math.abs(clock.now() - (ticks / hz) * SECOND)).toBeLessThan(2)
  })

  it('raises the alarm at the time it names, wildcards included', () => {
    const { clock, irq, read, write } = setup({ year: 2020, month: 5, day: 5, hour: 10, minute: 20, second: 30 })
    write(5, 0x11)
    write(3, 0x21)
    write(1, 0x31)
    write(0x0b, 0x22)
    expect(clock.scheduled).toBe(1)
    expect(clock.nextDeadline).toBe((3600 + 60 + 1) * SECOND)
    clock.advanceTo(clock.nextDeadline!)
    expect(irq.level).toBe(true)
    expect(read(0x0c)).toBe(0x80 | 0x40 | 0x20 | 0x10) // the periodic flag needs no enable
    write(5, 0xff)
    write(3, 0xc0)
    clock.advance(60 * SECOND)
    expect(irq.level).toBe(true) // every minute at second 31
    read(0x0c)
    write(1, 0x77) // never
    expect(clock.scheduled).toBe(0)
  })

  it('sets flags without enabled interrupts, lazily', () => {
    const { clock, irq, read } = setup()
    expect(clock.scheduled).toBe(0)
    clock.advance(1.5 * SECOND)
    expect(clock.fired).toBe(0)
    expect(read(0x0c)).toBe(0x50) // PF and UF
    expect(read(0x0c)).toBe(0)
    expect(irq.edges).toBe(0)
  })

  it('an interrupt enabled after its flag is set comes at once', () => {
    const { clock, irq, write } = setup()
    clock.advance(SECOND)
    write(0x0b, 0x12)
    expect(irq.level).toBe(true)
    expect(clock.scheduled).toBe(0)
    write(0x0b, 0x02)
    expect(irq.level).toBe(false)
  })

  it('reset disables interrupts and keeps the rest', () => {
    const { clock, irq, rtc, read, write } = setup()
    write(0x0b, 0x7a)
    write(0x20, 0x5a)
    clock.advance(SECOND)
    expect(irq.level).toBe(true)
    rtc.reset()
    expect(irq.level).toBe(false)
    expect(read(0x0b)).toBe(0x02)
    expect(read(0x20)).toBe(0x5a)
    expect(clock.scheduled).toBe(0)
  })

  it('masks NMI with bit 7 of the index', () => {
    const { nmi, rtc } = setup()
    rtc.writePort(0, 1, 0x8f)
    rtc.writePort(0, 1, 0x8e)
    rtc.writePort(0, 1, 0x0e)
    expect(nmi).toEqual([true, false])
    expect(rtc.readPort(0, 1)).toBe(0xff)
  })

  it('tells firmware the size of memory', () => {
    const { rtc } = setup()
    rtc.setMemorySize(128 << 20, 0x80000000)
    const word = (i: number) => rtc.cmos(i) | (rtc.cmos(i + 1) << 8)
    expect(word(0x15)).toBe(640)
    expect(word(0x17)).toBe(0xffff)
    expect(word(0x30)).toBe(0xffff)
    expect(word(0x34)).toBe((112 << 20) / 0x10000)
    expect(word(0x5b) | (rtc.cmos(0x5d) << 16)).toBe(0x8000)
    rtc.setMemorySize(8 << 20)
    expect(word(0x17)).toBe(7 * 1024)
    expect(word(0x34)).toBe(0)
  })

  it('refuses dates that are none, and RAM that is none', () => {
    expect(() => setup({ year: 2023, month: 2, day: 29 })).toThrowError(/date/)
    expect(() => setup({ year: 2023, month: 13, day: 1 })).toThrowError(/date/)
    const { rtc } = setup()
    expect(() => rtc.setCmos(9, 0)).toThrowError(/RAM/)
    expect(() => rtc.cmos(128)).toThrowError(/exist/)
    const state = rtc.saveState()
    expect(() => rtc.loadState({ ...state, version: 2 as 1 })).toThrowError(/version/)
    expect(() => rtc.loadState({ ...state, registers: new Uint8Array(3) })).toThrowError(/registers/)
  })
})
