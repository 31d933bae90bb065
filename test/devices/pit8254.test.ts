import { describe, expect, test } from 'vitest'
import {
  PIT_FREQUENCY,
  PIT_READ_BACK,
  PIT_READ_BACK_NO_COUNT,
  Pit8254,
  PORT_B_GATE2,
  PORT_B_IOCHK,
  PORT_B_IOCHK_OFF,
  PORT_B_OUT2,
  PORT_B_REFRESH,
  PORT_B_SPEAKER,
  SystemControlB,
} from '../../src/devices/pit8254.js'
import { ManualClock } from '../manual-clock.js'

/** Runs `clocks` input clocks one by one and draws OUT of counter 1 as a waveform. */
function wave(setup: (pit: Pit8254) => void, clocks: number, at: Record<number, (pit: Pit8254) => void> = {}): string {
  const clock = new ManualClock()
  const pit = new Pit8254({ clock })
  setup(pit)
  let drawn = pit.out(1) ? '#' : '_'
  for (let i = 1; i <= clocks; i++) {
    clock.advanceTo(Math.ceil((i * 88_000) / 105))
    drawn += pit.out(1) ? '#' : '_'
    at[i]?.(pit)
  }
  return drawn
}

const program =
  (mode: number, count: number) =>
  (pit: Pit8254): void => {
    pit.writePort(3, 1, 0x50 | (mode << 1))
    pit.writePort(1, 1, count)
  }

const pulse = (pit: Pit8254): void => {
  pit.setGate(1, false)
  pit.setGate(1, true)
}

describe('waveforms of the data sheet (one character per clock, the first before any)', () => {
  test('mode 0: OUT rises N + 1 clocks after the write, and GATE holds counting', () => {
    expect(wave(program(0, 4), 7)).toBe('_____###')
    expect(wave(program(0, 3), 8, { 2: (p) => p.setGate(1, false), 4: (p) => p.setGate(1, true) })).toBe('______###')
    // A new count starts over, OUT falling at once.
    expect(wave(program(0, 2), 7, { 4: (p) => p.writePort(1, 1, 1) })).toBe('___##_##')
  })

  test('mode 1: a one-shot of N clocks from the clock after the trigger, retriggerable', () => {
    expect(wave(program(1, 3), 6)).toBe('#######')
    expect(wave(program(1, 3), 8, { 1: pulse })).toBe('##___####')
    expect(wave(program(1, 3), 8, { 1: pulse, 3: pulse })).toBe('##_____##')
  })

  test('mode 2: low for one clock in N', () => {
    expect(wave(program(2, 3), 10)).toBe('###_##_##_#')
    // GATE's rise starts the period again; GATE low ends a pulse at once and stops.
    expect(wave(program(2, 3), 9, { 2: pulse })).toBe('#####_##_#')
    expect(wave(program(2, 3), 9, { 3: (p) => p.setGate(1, false) })).toBe('###_######')
  })

  test('mode 3: even counts are square, odd ones a clock longer high', () => {
    expect(wave(program(3, 4), 9)).toBe('###__##__#')
    expect(wave(program(3, 5), 11)).toBe('####__###__#')
    expect(wave(program(3, 2), 6)).toBe('##_#_#_')
    expect(wave(program(3, 3), 7)).toBe('###_##_#')
  })

  test('mode 4: a strobe of one clock N + 1 clocks after the write', () => {
    expect(wave(program(4, 3), 7)).toBe('####_###')
    // The counter wraps and goes on, but does not strobe again.
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    program(4, 3)(pit)
    clock.advance(838.1 * 10)
    expect(pit.out(1)).toBe(true)
    clock.advanceTo(Math.ceil(((4 + 0x10000) * 88_000) / 105))
    expect([pit.out(1), pit.readPort(1, 1)]).toEqual([true, 0])
  })

  test('mode 5: a strobe N + 1 clocks after the trigger', () => {
    expect(wave(program(5, 3), 8, { 1: pulse })).toBe('#####_###')
  })
})

describe('programming', () => {
  test('a two-byte count in mode 0 stops counting between its bytes', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    pit.writePort(3, 1, 0x30)
    pit.writePort(0, 1, 5)
    pit.writePort(0, 1, 0)
    clock.advance(2000) // 2 clocks
    pit.writePort(0, 1, 9)
    clock.advance(100_000)
    expect(pit.out(0)).toBe(false)
    pit.writePort(0, 1, 0)
    clock.advance(838.1 * 9)
    expect(pit.out(0)).toBe(false)
    clock.advance(838.1)
    expect(pit.out(0)).toBe(true)
  })

  test('read-back latches status and count at once; status comes first', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    pit.writePort(3, 1, 0xb6) // counter 2, both bytes, mode 3
    pit.writePort(3, 1, PIT_READ_BACK | PIT_READ_BACK_NO_COUNT | 0x08)
    expect(pit.readPort(2, 1)).toBe(0x80 | 0x40 | 0x36) // OUT high, null count
    pit.writePort(2, 1, 0x00)
    pit.writePort(2, 1, 0x10)
    clock.advance(839)
    pit.writePort(3, 1, PIT_READ_BACK | 0x08)
    clock.advance(50_000)
    expect(pit.readPort(2, 1)).toBe(0x80 | 0x36)
    expect(pit.readPort(2, 1)).toBe(0x00)
    expect(pit.readPort(2, 1)).toBe(0x10)
  })

  test('a latched count stays until both bytes are read, and BCD counts in decades', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    pit.writePort(3, 1, 0x35) // mode 2, BCD
    pit.writePort(0, 1, 0x00)
    pit.writePort(0, 1, 0x10) // one thousand
    clock.advance(838.1 * 2)
    pit.writePort(3, 1, 0x00)
    clock.advance(50_000)
    expect(pit.readPort(0, 1)).toBe(0x99)
    pit.writePort(3, 1, 0x00) // ignored: still latched
    expect(pit.readPort(0, 1)).toBe(0x09)
  })

  test('the control port cannot be read', () => {
    expect(new Pit8254({ clock: new ManualClock() }).readPort(3, 1)).toBe(0xff)
  })
})

describe('counter 0 and time', () => {
  test('count 0 in mode 3 gives 18.2 interrupts a second, with exact times for ten minutes', () => {
    const clock = new ManualClock()
    const times: number[] = []
    const pit = new Pit8254({ clock, irq: { setLevel: (level) => level && times.push(clock.now()) } })
    pit.writePort(3, 1, 0x36)
    pit.writePort(0, 1, 0)
    pit.writePort(0, 1, 0)
    times.length = 0
    clock.advance(600e9)
    expect(times.length).toBe(Math.floor((600 * PIT_FREQUENCY - 1) / 65_536))
    times.forEach((time, i) => {
      expect(time).toBe(Math.ceil(((1 + (i + 1) * 65_536) * 88_000) / 105))
    })
  })

  test('counters without an IRQ line set no alarm', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    pit.writePort(3, 1, 0x14)
    pit.writePort(0, 1, 100)
    expect(clock.scheduled).toBe(0)
  })

  test('bad state is refused and changes nothing', () => {
    const pit = new Pit8254({ clock: new ManualClock() })
    const state = pit.saveState()
    for (const bad of [null, { ...state, version: 2 }, { ...state, ticks: [0, 0] }, { ...state, counters: [] }])
      expect(() => pit.loadState(bad as never)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
    const counters = [state.counters[0]!, state.counters[1]!, { ...state.counters[2]!, element: 70_000 }]
    expect(() => pit.loadState({ ...state, counters })).toThrowError(/element/)
    expect(pit.saveState()).toEqual(state)
  })
})

describe('port 0x61', () => {
  test('gates counter 2 and shows its OUT, as the usual delay loop wants', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    const port = new SystemControlB(pit)
    port.writePort(0, 1, PORT_B_GATE2)
    pit.writePort(3, 1, 0xb0) // mode 0
    pit.writePort(2, 1, 0xff)
    pit.writePort(2, 1, 0x00)
    clock.advance(838.1 * 255)
    expect(port.readPort(0, 1) & PORT_B_OUT2).toBe(0)
    clock.advance(839)
    expect(port.readPort(0, 1) & PORT_B_OUT2).toBe(PORT_B_OUT2)
  })

  test('refresh turns over every 15.09 µs', () => {
    const clock = new ManualClock()
    const port = new SystemControlB(new Pit8254({ clock }))
    let last = 0
    let turns = 0
    for (let i = 0; i < 1000; i++) {
      clock.advance(1000)
      const bit = port.readPort(0, 1) & PORT_B_REFRESH
      if (bit !== last) turns++
      last = bit
    }
    expect(turns).toBe(66) // 1 ms / 15.0857 µs
  })

  test('the speaker needs gate and data', () => {
    const clock = new ManualClock()
    const pit = new Pit8254({ clock })
    const port = new SystemControlB(pit)
    pit.writePort(3, 1, 0xb6)
    pit.writePort(2, 1, 0xa9)
    pit.writePort(2, 1, 0x04) // 1193
    expect(port.tone).toBe(0)
    port.writePort(0, 1, PORT_B_GATE2 | PORT_B_SPEAKER)
    expect(port.tone).toBeCloseTo(1000.15, 1)
    expect(port.speaker).toBe(true)
  })

  test('memory errors latch and raise NMI until acknowledged', () => {
    let nmi = false
    const port = new SystemControlB(new Pit8254({ clock: new ManualClock() }), {
      setLevel: (level) => void (nmi = level),
    })
    port.reportError('iochk')
    expect([nmi, port.readPort(0, 1) & PORT_B_IOCHK]).toEqual([true, PORT_B_IOCHK])
    port.writePort(0, 1, PORT_B_IOCHK_OFF)
    expect([nmi, port.readPort(0, 1) & PORT_B_IOCHK]).toEqual([false, 0])
    port.reportError('iochk')
    expect(nmi).toBe(false)
  })
})
