import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Alarm } from '../../src/contracts/index.js'
import { VirtualClock } from '../../src/machine/index.js'
import { runs } from '../runs.js'

/** One thing that happens to a clock. */
const action = fc.oneof(
  fc.record({ kind: fc.constant('schedule' as const), delay: fc.integer({ min: -50, max: 300 }) }),
  fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }),
  fc.record({ kind: fc.constant('retire' as const), count: fc.nat(20) }),
  fc.record({ kind: fc.constant('skip' as const), delay: fc.integer({ min: -50, max: 300 }) }),
)

describe('VirtualClock', () => {
  it('behaves like a sorted list of alarms', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        let instructions = 0
        const clock = new VirtualClock({ nsPerInstruction: 10, instructions: () => instructions })
        // The model: time is a sum, alarms a list in scheduling order.
        let now = 0
        let live: { at: number; id: number }[] = []
        const handles: Alarm[] = []
        const ran: number[] = []
        const expected: number[] = []
        for (const step of actions) {
          if (step.kind === 'schedule') {
            const id = handles.length
            handles.push(clock.schedule(now + step.delay, () => ran.push(id)))
            live.push({ at: now + step.delay, id })
          } else if (step.kind === 'cancel' && handles.length > 0) {
            const id = step.which % handles.length
            handles[id]!.cancel()
            live = live.filter((alarm) => alarm.id !== id)
          } else if (step.kind === 'retire') {
            instructions += step.count
            now += 10 * step.count
          } else if (step.kind === 'skip') {
            clock.skipTo(now + step.delay)
            now += Math.max(0, step.delay)
          }
          expect(clock.now()).toBe(now)
          const next = Math.min(Number.POSITIVE_INFINITY, ...live.map((alarm) => alarm.at))
          expect(clock.nextDeadline).toBe(next)
          expect(clock.instructionsToDeadline).toBe(next <= now ? 0 : Math.ceil((next - now) / 10))
          clock.runDue()
          const due = live.filter((alarm) => alarm.at <= now).sort((a, b) => a.at - b.at || a.id - b.id)
          expected.push(...due.map((alarm) => alarm.id))
          live = live.filter((alarm) => alarm.at > now)
          expect(ran).toEqual(expected)
        }
      }),
      { numRuns: runs(200) },
    )
  })

  it('runs a bounded number of alarms at a time, whatever a device asks', () => {
    const clock = new VirtualClock({ nsPerInstruction: 1, instructions: () => 0 })
    const again = (): void => void clock.schedule(0, again)
    again()
    expect(clock.runDue(100)).toBe(100)
  })

  it('does not keep what was cancelled', () => {
    const clock = new VirtualClock({ nsPerInstruction: 1, instructions: () => 0 })
    clock.schedule(5, () => {})
    for (let n = 0; n < 100_000; n++) clock.schedule(1e9, () => {}).cancel()
    expect((clock as unknown as { heap: unknown[] }).heap.length).toBeLessThan(2000)
    expect(clock.nextDeadline).toBe(5)
  })

  it('tells who runs the CPU about new alarms', () => {
    const clock = new VirtualClock({ nsPerInstruction: 1, instructions: () => 0 })
    const heard: number[] = []
    clock.onSchedule = (at) => heard.push(at)
    clock.schedule(7, () => {})
    expect(heard).toEqual([7])
  })

  it('refuses times and states that are none', () => {
    const clock = new VirtualClock({ nsPerInstruction: 1, instructions: () => 0 })
    expect(() => clock.schedule(Number.NaN, () => {})).toThrow(expect.objectContaining({ code: 'bad-argument' }))
    expect(() => new VirtualClock({ nsPerInstruction: -1, instructions: () => 0 })).toThrow(/positive/)
    for (const state of [
      { version: 2, now: 0 },
      { version: 1, now: -1 },
      { version: 1, now: Number.NaN },
    ]) {
      expect(() => clock.loadState(state as never)).toThrow(expect.objectContaining({ code: 'bad-state' }))
    }
    clock.loadState({ version: 1, base: 42, instructions: 0 })
    expect(clock.saveState()).toEqual({ version: 1, base: 42, instructions: 0 })
  })
})
