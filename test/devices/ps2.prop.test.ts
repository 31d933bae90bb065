import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PortDevice } from '../../src/contracts/index.js'
import { KEY_CODES, Ps2Controller } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, type Traffic, traffic } from './helpers.js'

function make() {
  const clock = new ManualClock()
  const irq1 = new Line()
  const irq12 = new Line()
  const ps2 = new Ps2Controller({ clock, keyboardIrq: irq1, mouseIrq: irq12 })
  const ports: PortDevice = {
    readPort: (offset, size) => (offset < 2 ? ps2.data : ps2.command).readPort(0, size),
    writePort: (offset, size, value) => (offset < 2 ? ps2.data : ps2.command).writePort(0, size, value),
  }
  return { clock, irq1, irq12, ps2, ports }
}

const user = fc.oneof(
  fc.record({ key: fc.constantFrom(...KEY_CODES), down: fc.boolean() }),
  fc.record({ dx: fc.integer({ min: -1000, max: 1000 }), dy: fc.integer({ min: -1000, max: 1000 }) }),
  fc.record({ button: fc.nat(4), down: fc.boolean() }),
  fc.record({ text: fc.constantFrom('a', 'Hello', '~!\n') }),
)

type User = typeof user extends fc.Arbitrary<infer T> ? T : never

function act(ps2: Ps2Controller, event: User): void {
  if ('key' in event) event.down ? ps2.keyDown(event.key) : ps2.keyUp(event.key)
  else if ('dx' in event) ps2.mouseMove(event.dx, event.dy)
  else if ('button' in event) ps2.mouseButton(event.button, event.down)
  else ps2.type(event.text)
}

const script = fc.array(fc.tuple(user, traffic(4, 12)), { maxLength: 15 })

function play(machine: ReturnType<typeof make>, list: readonly [User, Traffic[]][]): number[] {
  const seen: number[] = []
  for (const [event, steps] of list) {
    act(machine.ps2, event)
    seen.push(...drive(machine.ports, machine.clock, steps))
    expect(machine.irq1.level && machine.irq12.level).toBe(false)
  }
  return seen
}

describe('Ps2Controller properties', () => {
  it('survives any traffic with any user, and its state carries on the same', () => {
    fc.assert(
      fc.property(script, script, (before, after) => {
        const a = make()
        play(a, before)
        const b = make()
        b.clock.advanceTo(a.clock.now())
        b.ps2.loadState(a.ps2.saveState())
        expect([b.irq1.level, b.irq12.level, b.ps2.a20]).toEqual([a.irq1.level, a.irq12.level, a.ps2.a20])
        expect(play(b, after)).toEqual(play(a, after))
        expect(b.ps2.saveState()).toEqual(a.ps2.saveState())
      }),
      { numRuns: runs(150) },
    )
  })

  it('every movement arrives, whatever the pace', () => {
    const moves = fc.array(
      fc.tuple(fc.integer({ min: -400, max: 400 }), fc.integer({ min: -400, max: 400 }), fc.nat(40_000_000)),
      { maxLength: 20 },
    )
    fc.assert(
      fc.property(moves, (list) => {
        const { clock, ps2 } = make()
        ps2.command.writePort(0, 1, 0xd4)
        ps2.data.writePort(0, 1, 0xf4)
        const bytes: number[] = []
        const run = (ns: number): void => {
          for (let t = 0; t < ns; t += 200_000) {
            clock.advance(200_000)
            while (ps2.command.readPort(0, 1) & 1) bytes.push(ps2.data.readPort(0, 1))
          }
        }
        run(1e6)
        expect(bytes.splice(0)).toEqual([0xfa])
        let x = 0
        let y = 0
        for (const [dx, dy, ns] of list) {
          ps2.mouseMove(dx, dy)
          x += dx
          y -= dy
          run(ns)
        }
        run(600e6)
        expect(bytes.length % 3).toBe(0)
        for (let i = 0; i < bytes.length; i += 3) {
          expect(bytes[i]! & 0xc8).toBe(0x08)
          x -= bytes[i + 1]! - (bytes[i]! & 0x10 ? 256 : 0)
          y -= bytes[i + 2]! - (bytes[i]! & 0x20 ? 256 : 0)
        }
        expect([x, y]).toEqual([0, 0])
      }),
      { numRuns: runs(40) },
    )
  })
})
