import { describe, expect, it } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { EVENT_NAMES, EventHub } from '../../src/debug/index.js'
import { PicPair } from '../../src/interrupts/index.js'
import { PortBus } from '../../src/io/index.js'

describe('EventHub', () => {
  it('wants an event only while someone listens to it', () => {
    const hub = new EventHub()
    for (const name of EVENT_NAMES) expect(hub.wants(name)).toBe(false)
    const stop = hub.on('tlb', () => {})
    const other = hub.on('tlb', () => {})
    expect(hub.wants('tlb')).toBe(true)
    expect(hub.wants('pic')).toBe(false)
    stop()
    stop()
    expect(hub.wants('tlb')).toBe(true)
    other()
    expect(hub.wants('tlb')).toBe(false)
  })

  it('calls listeners in the order in which they came, and lets them leave while they run', () => {
    const hub = new EventHub()
    const seen: string[] = []
    const stopFirst = hub.on('port', () => {
      seen.push('first')
      stopFirst()
    })
    hub.on('port', ({ value }) => seen.push(`second ${value}`))
    const bus = new PortBus({ events: hub })
    bus.write(0x80, 1, 7)
    bus.write(0x80, 1, 8)
    expect(seen).toEqual(['first', 'second 7', 'second 8'])
  })

  it('removes one registration at a time of a function added twice', () => {
    const hub = new EventHub()
    let calls = 0
    const listener = (): void => void calls++
    const stop = hub.on('tlb', listener)
    hub.on('tlb', listener)
    stop()
    hub.emit('tlb', { action: 'miss', page: 1 })
    expect(calls).toBe(1)
  })

  it('records what an action emits, in order, bounded, and stops listening when the action throws', () => {
    const hub = new EventHub()
    const pic = new PicPair({ events: hub })
    const events = hub.record(['pic', 'port'], () => pic.line(1).setLevel(true))
    expect(events.map(({ name }) => name)).toEqual(events.map(() => 'pic'))
    expect(events[0]?.event).toMatchObject({ action: 'request', line: 1 })
    expect(hub.record(['pic'], () => pic.line(3).setLevel(true), 1)).toHaveLength(1)
    expect(() =>
      hub.record(['pic'], () => {
        throw new Error('x')
      }),
    ).toThrow('x')
    expect(hub.wants('pic')).toBe(false)
  })

  it('refuses names that do not exist', () => {
    expect(() => new EventHub().on('exit' as 'pic', () => {})).toThrow(VirtkitError)
  })
})
