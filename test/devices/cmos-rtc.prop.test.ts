import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CmosRtc } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, traffic } from './helpers.js'

function make(date: number, registerB = 2) {
  const clock = new ManualClock()
  const irq = new Line()
  const rtc = new CmosRtc({ clock, irq, date })
  rtc.writePort(0, 1, 0x0b)
  rtc.writePort(1, 1, registerB)
  rtc.setDate(date)
  return { clock, irq, rtc }
}

const bcd = (byte: number): number => (byte >> 4) * 10 + (byte & 15)

describe('CmosRtc properties', () => {
  it('agrees with the calendar of the 20th and 21st century in every mode', () => {
    // 1901–2099: there the chip's leap years are the calendar's.
    const start = fc.integer({ min: Date.UTC(1901, 0, 1) / 1000, max: Date.UTC(2060, 0, 1) / 1000 })
    fc.assert(
      fc.property(start, fc.nat(39 * 365 * 86400), fc.constantFrom(0, 2, 4, 6), (from, seconds, mode) => {
        const { clock, rtc } = make(from * 1000, mode)
        clock.advance(seconds * 1e9)
        const number = (mode & 4) !== 0 ? (byte: number) => byte : bcd
        const field = (index: number) => number(rtc.cmos(index))
        let hour = field(4)
        if ((mode & 2) === 0) {
          const byte = rtc.cmos(4)
          hour = (number(byte & 0x7f) % 12) + (byte & 0x80 ? 12 : 0)
        }
        const want = new Date((from + seconds) * 1000)
        expect([field(0x32) * 100 + field(9), field(8), field(7), hour, field(2), field(0), field(6)]).toEqual([
          want.getUTCFullYear(),
          want.getUTCMonth() + 1,
          want.getUTCDate(),
          want.getUTCHours(),
          want.getUTCMinutes(),
          want.getUTCSeconds(),
          want.getUTCDay() + 1,
        ])
      }),
      { numRuns: runs(300) },
    )
  })

  it('looking often and looking once give the same', () => {
    const steps = fc.array(fc.integer({ min: 1, max: 5_000_000_000 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(steps, fc.array(fc.nat(0xff), { minLength: 3, maxLength: 3 }), (list, alarm) => {
        const often = make(1e12)
        const once = make(1e12)
        for (const { rtc } of [often, once]) {
          alarm.forEach((value, i) => {
            rtc.writePort(0, 1, 1 + 2 * i)
            rtc.writePort(1, 1, i === 0 ? value : 0xc0 | value)
          })
        }
        for (const step of list) {
          often.clock.advance(step)
          often.rtc.cmos(0)
          once.clock.advance(step)
        }
        expect(often.rtc.saveState()).toEqual(once.rtc.saveState())
      }),
      { numRuns: runs(100) },
    )
  })

  it('an enabled alarm fires exactly when polling would see the flag', () => {
    fc.assert(
      fc.property(fc.nat(86399), fc.nat(23), fc.nat(59), fc.nat(59), fc.nat(7), (start, h, m, s, wild) => {
        const { clock, irq, rtc } = make(start * 1000, 6)
        const set = (index: number, value: number) => {
          rtc.writePort(0, 1, index)
          rtc.writePort(1, 1, value)
        }
        set(5, wild & 4 ? 0xff : h)
        set(3, wild & 2 ? 0xff : m)
        set(1, wild & 1 ? 0xff : s)
        set(0x0b, 0x26)
        let expected = 0
        for (let i = 1; i <= 86400 && expected === 0; i++) {
          const t = (start + i) % 86400
          if (wild & 4 || Math.floor(t / 3600) === h)
            if (wild & 2 || Math.floor(t / 60) % 60 === m) if (wild & 1 || t % 60 === s) expected = i
        }
        expect(clock.nextDeadline).toBe(expected * 1e9)
        clock.advance(expected * 1e9 - 1)
        expect(irq.level).toBe(false)
        clock.advance(1)
        expect(irq.level).toBe(true)
      }),
      { numRuns: runs(60) },
    )
  })

  it('survives any traffic, and its state carries on the same', () => {
    fc.assert(
      fc.property(traffic(2), traffic(2), (before, after) => {
        const a = make(1.7e12)
        drive(a.rtc, a.clock, before)
        const b = make(0)
        b.clock.advanceTo(a.clock.now())
        b.rtc.loadState(a.rtc.saveState())
        expect(b.irq.level).toBe(a.irq.level)
        expect(drive(b.rtc, b.clock, after)).toEqual(drive(a.rtc, a.clock, after))
        expect(b.rtc.saveState()).toEqual(a.rtc.saveState())
        expect(b.irq.level).toBe(a.irq.level)
      }),
      { numRuns: runs(100) },
    )
  })
})
