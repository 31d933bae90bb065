import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DebugConsole,
  IsaDebugExit,
  PostCodePort,
  ResetControl,
  SystemControlA,
  WiredOr,
} from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, traffic } from './helpers.js'

describe('SystemControlA', () => {
  it('gates A20 and resets on the rising edge', () => {
    const log: string[] = []
    const port = new SystemControlA({
      reset: { reset: (kind) => log.push(kind) },
      onA20: (enabled) => log.push(`a20 ${enabled}`),
    })
    port.writePort(0, 1, 0x02)
    port.writePort(0, 1, 0x03)
    port.writePort(0, 1, 0x03)
    port.writePort(0, 1, 0xff)
    expect(log).toEqual(['a20 true', 'soft'])
    expect(port.readPort(0, 1)).toBe(0xcb)
    port.reset()
    expect(log.at(-1)).toBe('a20 false')
  })

  it('restores its state', () => {
    let a20 = false
    const port = new SystemControlA({ onA20: (enabled) => (a20 = enabled) })
    port.loadState({ version: 1, value: 0x02 })
    expect(a20).toBe(true)
    expect(() => port.loadState({ version: 1, value: 0x04 })).toThrowError(/reserved/)
  })
})

describe('debug ports', () => {
  it('the console answers the probe and hands bytes over', () => {
    const seen: number[] = []
    const port = new DebugConsole((byte) => seen.push(byte))
    expect(port.readPort(0, 1)).toBe(0xe9)
    port.writePort(0, 1, 0x41)
    port.writePort(0, 2, 0x4342)
    expect(seen).toEqual([0x41, 0x42])
  })

  it('the exit port gives an odd status', () => {
    const seen: number[] = []
    const port = new IsaDebugExit((status) => seen.push(status))
    port.writePort(0, 1, 0)
    port.writePort(0, 4, 0x10)
    port.writePort(0, 4, 0xffffffff)
    expect(seen).toEqual([1, 0x21, 0xff])
  })

  it('the POST port keeps the last code', () => {
    const port = new PostCodePort()
    port.writePort(0, 1, 0x55)
    expect([port.code, port.readPort(0, 1)]).toEqual([0x55, 0x55])
    const other = new PostCodePort()
    other.loadState(port.saveState())
    expect(other.code).toBe(0x55)
  })
})

describe('WiredOr', () => {
  it('is asserted while any input is', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.boolean())), (steps) => {
        const line = new Line()
        const or = new WiredOr(line)
        const inputs = [0, 1, 2, 3].map(() => or.input())
        const levels = [false, false, false, false]
        for (const [input, level] of steps) {
          inputs[input]!.setLevel(level)
          levels[input] = level
          expect(line.level).toBe(levels.includes(true))
          expect(or.level).toBe(line.level)
        }
      }),
      { numRuns: runs(100) },
    )
  })
})

it('board ports survive any traffic', () => {
  fc.assert(
    fc.property(traffic(4), (steps) => {
      const clock = new ManualClock()
      for (const device of [
        new SystemControlA(),
        new ResetControl({ reset: () => {} }),
        new DebugConsole(() => {}),
        new IsaDebugExit(() => {}),
        new PostCodePort(),
      ]) {
        drive(device, clock, steps)
      }
    }),
    { numRuns: runs(50) },
  )
})
