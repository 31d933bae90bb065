import { describe, expect, it } from 'vitest'
import { KEY_CODES, Ps2Controller, type Ps2ControllerOptions } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { Line } from './helpers.js'

const MS = 1e6

function setup(options: Partial<Ps2ControllerOptions> = {}) {
  const clock = new ManualClock()
  const irq1 = new Line()
  const irq12 = new Line()
  const log: string[] = []
  const ps2 = new Ps2Controller({
    clock,
    keyboardIrq: irq1,
    mouseIrq: irq12,
    reset: { reset: (kind) => log.push(`reset ${kind}`) },
    onA20: (enabled) => log.push(`a20 ${enabled}`),
    onLeds: (leds) => log.push(`leds ${leds}`),
    ...options,
  })
  const status = (): number => ps2.command.readPort(0, 1)
  const data = (value: number): void => ps2.data.writePort(0, 1, value)
  const command = (value: number, ...parameters: number[]): void => {
    ps2.command.writePort(0, 1, value)
    for (const parameter of parameters) data(parameter)
  }
  /** Everything that arrives within `ns`, reading each byte as it comes; the mouse's bytes with bit 8. */
  const drain = (ns = 20 * MS): number[] => {
    const seen: number[] = []
    for (let t = 0; t < ns; t += 100_000) {
      while (status() & 1) {
        const aux = status() & 0x20
        seen.push(ps2.data.readPort(0, 1) | (aux ? 0x100 : 0))
      }
      clock.advance(100_000)
    }
    return seen
  }
  const mouse = (...bytes: number[]): number[] => {
    const seen: number[] = []
    for (const byte of bytes) {
      command(0xd4, byte)
      seen.push(...drain())
    }
    return seen.map((byte) => byte & 0xff)
  }
  const keyboard = (...bytes: number[]): number[] => {
    const seen: number[] = []
    for (const byte of bytes) {
      data(byte)
      seen.push(...drain())
    }
    return seen
  }
  return { clock, irq1, irq12, log, ps2, status, data, command, drain, mouse, keyboard }
}

describe('Ps2Controller', () => {
  it('passes its self-test and the interface tests', () => {
    const { command, status, ps2 } = setup()
    expect(status() & 0x05).toBe(0)
    command(0xaa)
    expect(status() & 0x0d).toBe(0x0d)
    expect(ps2.data.readPort(0, 1)).toBe(0x55)
    for (const test of [0xab, 0xa9]) {
      command(test)
      expect(ps2.data.readPort(0, 1)).toBe(0)
    }
    expect(status() & 0x01).toBe(0)
  })

  it('reads and writes its RAM', () => {
    const { command, ps2 } = setup()
    command(0x60, 0x47)
    command(0x20)
    expect(ps2.data.readPort(0, 1)).toBe(0x47)
    command(0x71, 0x99)
    command(0x31)
    expect(ps2.data.readPort(0, 1)).toBe(0x99)
    command(0xa7)
    command(0xad)
    command(0x20)
    expect(ps2.data.readPort(0, 1)).toBe(0x77)
    command(0xa8)
    command(0xae)
    command(0x20)
    expect(ps2.data.readPort(0, 1)).toBe(0x47)
  })

  it('drives A20 and reset from the output port', () => {
    const { command, log, ps2 } = setup()
    expect(ps2.a20).toBe(true)
    command(0xd1, 0xdd)
    command(0xd1, 0xdf)
    command(0xdd)
    command(0xdf)
    expect(log).toEqual(['a20 false', 'a20 true', 'a20 false', 'a20 true'])
    command(0xd0)
    expect(ps2.data.readPort(0, 1) & 0x03).toBe(3)
    log.length = 0
    command(0xfe)
    command(0xff) // pulses nothing
    command(0xd1, 0xde)
    expect(log).toEqual(['reset soft', 'reset soft'])
    expect(setup({ a20AtReset: false }).ps2.a20).toBe(false)
  })

  it('raises IRQ 1 and 12 with the byte and drops them with the read', () => {
    const { command, irq1, irq12, ps2, status } = setup()
    command(0xd2, 0x12)
    expect([irq1.level, irq12.level, status() & 0x21]).toEqual([true, false, 0x01])
    expect(ps2.data.readPort(0, 1)).toBe(0x12)
    expect(irq1.level).toBe(false)
    command(0xd3, 0x34)
    expect([irq1.level, irq12.level, status() & 0x21]).toEqual([false, true, 0x21])
    command(0xd0) // replaces the byte
    expect(ps2.data.readPort(0, 1) & 0x30).toBe(0x20)
    command(0x60, 0x00)
    command(0xd2, 0x12)
    expect(irq1.level).toBe(false)
    command(0x60, 0x01) // a byte that already waits
    expect([irq1.level, ps2.data.readPort(0, 1)]).toEqual([true, 0x12])
    expect(irq1.level).toBe(false)
  })

  it('holds a disabled device back', () => {
    const { command, drain, ps2 } = setup()
    command(0xad)
    ps2.keyDown('KeyA')
    expect(drain()).toEqual([])
    command(0xae)
    expect(drain()).toEqual([0x1c])
  })
})

describe('the keyboard', () => {
  it('sends set 2, and set 1 through the translation', () => {
    const { command, drain, ps2 } = setup()
    const press = (code: string) => {
      ps2.keyDown(code)
      ps2.keyUp(code)
      return drain()
    }
    expect(press('KeyA')).toEqual([0x1c, 0xf0, 0x1c])
    expect(press('ArrowUp')).toEqual([0xe0, 0x75, 0xe0, 0xf0, 0x75])
    command(0x60, 0x43)
    expect(press('KeyA')).toEqual([0x1e, 0x9e])
    expect(press('ArrowUp')).toEqual([0xe0, 0x48, 0xe0, 0xc8])
    expect(press('F7')).toEqual([0x41, 0xc1])
    expect(press('Pause')).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5])
    expect(press('PrintScreen')).toEqual([0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa])
  })

  it('sends in set 1 what the translation makes of set 2', () => {
    const translated = setup()
    translated.command(0x60, 0x43)
    const native = setup()
    expect(native.keyboard(0xf0, 1)).toEqual([0xfa, 0xfa])
    for (const code of KEY_CODES) {
      for (const { ps2 } of [translated, native]) {
        ps2.keyDown(code)
        ps2.keyUp(code)
      }
      expect(native.drain(5 * MS), code).toEqual(translated.drain(5 * MS))
    }
  })

  it('answers its commands', () => {
    const { keyboard, log, ps2 } = setup()
    expect(keyboard(0xee)).toEqual([0xee])
    expect(keyboard(0xf2)).toEqual([0xfa, 0xab, 0x83])
    expect(keyboard(0xed, 0x05)).toEqual([0xfa, 0xfa])
    expect(log).toEqual(['leds 5'])
    expect(keyboard(0xf0, 0x00)).toEqual([0xfa, 0xfa, 2])
    expect(keyboard(0xf0, 0x03)).toEqual([0xfa, 0xfa])
    expect(ps2.keyboard.scanSet).toBe(3)
    expect(keyboard(0xf0, 0x04)).toEqual([0xfa, 0xfe])
    expect(keyboard(0xf3, 0x7f)).toEqual([0xfa, 0xfa])
    expect(keyboard(0xf3, 0x80)).toEqual([0xfa, 0xfe])
    expect(keyboard(0x05)).toEqual([0xfe])
    expect(keyboard(0xee, 0xfe)).toEqual([0xee, 0xee])
    expect(keyboard(0xff)).toEqual([0xfa, 0xaa])
    expect(ps2.keyboard.scanSet).toBe(2)
    expect(log).toEqual(['leds 5', 'leds 0'])
  })

  it('translates its identification too', () => {
    const { command, keyboard } = setup()
    command(0x60, 0x43)
    expect(keyboard(0xf2)).toEqual([0xfa, 0xab, 0x41])
  })

  it('is silent while scanning is off', () => {
    const { keyboard, drain, ps2 } = setup()
    expect(keyboard(0xf5)).toEqual([0xfa])
    ps2.keyDown('KeyA')
    expect(drain()).toEqual([])
    expect(keyboard(0xf4)).toEqual([0xfa])
    ps2.keyDown('KeyB')
    expect(drain()).toEqual([0x32])
  })

  it('repeats the last key after 500 ms at 10.9 a second', () => {
    const { clock, drain, ps2 } = setup()
    ps2.keyDown('KeyA')
    expect(drain(499 * MS)).toEqual([0x1c])
    expect(drain(2 * MS)).toEqual([0x1c])
    expect(drain(1000 * MS).length).toBe(10) // one each 91.7 ms
    ps2.keyDown('KeyB')
    ps2.keyUp('KeyA')
    expect(drain(600 * MS)).toEqual([0x32, 0xf0, 0x1c, 0x32, 0x32])
    ps2.keyUp('KeyB')
    drain()
    expect(clock.scheduled).toBe(0)
  })

  it('set 3 has a mode per key', () => {
    const { keyboard, drain, ps2 } = setup()
    const press = (code: string) => {
      ps2.keyDown(code)
      const down = drain(700 * MS)
      ps2.keyUp(code)
      return [down, drain()]
    }
    keyboard(0xf0, 0x03)
    expect(press('F1')).toEqual([[0x07], []]) // make only
    expect(press('ShiftLeft')).toEqual([[0x12], [0xf0, 0x12]]) // make and break
    const [down, up] = press('KeyA') // typematic
    expect(down!.length).toBeGreaterThan(1)
    expect(up).toEqual([])
    expect(keyboard(0xfc, 0x07, 0xf4)).toEqual([0xfa, 0xfa, 0xfa])
    expect(press('F1')).toEqual([[0x07], [0xf0, 0x07]])
    expect(keyboard(0xf9)).toEqual([0xfa])
    expect(press('ShiftLeft')).toEqual([[0x12], []])
    expect(keyboard(0xfa)).toEqual([0xfa])
    expect(press('F1')[1]).toEqual([0xf0, 0x07])
  })

  it('holds sixteen bytes and then the overrun code', () => {
    const { drain, command, ps2 } = setup()
    command(0xad)
    for (const code of KEY_CODES.slice(0, 30)) ps2.keyDown(code)
    command(0xae)
    const seen = drain()
    expect(seen.length).toBe(17)
    expect(seen[16]).toBe(0)
  })

  it('types text', () => {
    const { drain, command, ps2 } = setup()
    command(0x60, 0x43)
    ps2.type('aB\n')
    expect(drain(500 * MS)).toEqual([0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa, 0x1c, 0x9c])
    expect(() => ps2.type('é')).toThrowError(/no key/)
    expect(() => ps2.type('x'.repeat(10_000))).toThrowError(/wait/)
    expect(() => ps2.keyDown('KeyÄ')).toThrowError(/no key/)
  })
})

describe('the mouse', () => {
  it('answers its commands', () => {
    const { mouse } = setup()
    expect(mouse(0xff)).toEqual([0xfa, 0xaa, 0x00])
    expect(mouse(0xf2)).toEqual([0xfa, 0x00])
    expect(mouse(0xe9)).toEqual([0xfa, 0x00, 0x02, 0x64])
    expect(mouse(0xe8, 0x03, 0xf3, 40, 0xe7, 0xf4)).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa])
    expect(mouse(0xe9)).toEqual([0xfa, 0x30, 0x03, 40])
    expect(mouse(0xf0, 0xe6, 0xf5, 0xe9)).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0x40, 0x03, 40])
    expect(mouse(0xf6, 0xe9)).toEqual([0xfa, 0xfa, 0x00, 0x02, 0x64])
    expect(mouse(0x55, 0x55)).toEqual([0xfe, 0xfc])
    expect(mouse(0xf3, 77)).toEqual([0xfa, 0xfe])
  })

  it('reports movement and buttons in the stream', () => {
    const { mouse, drain, irq12, ps2 } = setup()
    mouse(0xf4)
    const edges = irq12.edges
    ps2.mouseMove(5, 3)
    expect(drain().map((byte) => byte & 0xff)).toEqual([0x28, 5, 0xfd])
    expect(irq12.edges - edges).toBe(3)
    ps2.mouseButton(0, true)
    ps2.mouseButton(2, true)
    expect(drain().map((byte) => byte & 0xff)).toEqual([0x0b, 0, 0])
    ps2.mouseMove(-300, 0) // more than one packet
    expect(drain(50 * MS).map((byte) => byte & 0xff)).toEqual([0x1b, 0x01, 0, 0x1b, 0xd3, 0])
  })

  it('keeps to the sample rate', () => {
    const { clock, mouse, drain, ps2 } = setup()
    mouse(0xf3, 10, 0xf4)
    ps2.mouseMove(1, 0)
    drain()
    for (let i = 0; i < 10; i++) {
      ps2.mouseMove(1, 0)
      clock.advance(1 * MS)
    }
    expect(drain(60 * MS)).toEqual([])
    expect(drain(30 * MS).map((byte) => byte & 0xff)).toEqual([0x08, 10, 0])
  })

  it('scales 2:1 in the stream only', () => {
    const { mouse, drain, ps2 } = setup()
    mouse(0xe7, 0xf4)
    const seen: number[] = []
    for (const count of [1, 2, 3, 4, 5, 6]) {
      ps2.mouseMove(count, 0)
      seen.push(drain(30 * MS)[1]! & 0xff)
    }
    expect(seen).toEqual([1, 1, 3, 6, 9, 12])
    mouse(0xf0)
    ps2.mouseMove(3, 0)
    expect(mouse(0xeb)).toEqual([0xfa, 0x08, 3, 0])
  })

  it('grows a wheel and five buttons when it is asked to', () => {
    const { mouse, drain, ps2 } = setup()
    mouse(0xf3, 200, 0xf3, 100, 0xf3, 80)
    expect(mouse(0xf2)).toEqual([0xfa, 3])
    mouse(0xf4)
    ps2.wheel(-1)
    expect(drain(30 * MS).map((byte) => byte & 0xff)).toEqual([0x08, 0, 0, 0xff])
    mouse(0xf3, 200, 0xf3, 200, 0xf3, 80)
    expect(mouse(0xf2)).toEqual([0xfa, 4])
    ps2.mouseButton(3, true)
    ps2.wheel(2)
    expect(drain(30 * MS).map((byte) => byte & 0xff)).toEqual([0x08, 0, 0, 0x12])
    mouse(0xff)
    expect(mouse(0xf2)).toEqual([0xfa, 0])
  })

  it('echoes in wrap mode', () => {
    const { mouse } = setup()
    expect(mouse(0xee, 0x12, 0xf4, 0xe9)).toEqual([0xfa, 0x12, 0xf4, 0xe9])
    expect(mouse(0xec, 0xe9)).toEqual([0xfa, 0xfa, 0x00, 0x02, 0x64])
    expect(mouse(0xee, 0xff)).toEqual([0xfa, 0xfa, 0xaa, 0x00])
  })

  it('waits for the host in remote mode', () => {
    const { mouse, drain, ps2 } = setup()
    mouse(0xf0, 0xf4)
    ps2.mouseMove(1, -1)
    expect(drain(50 * MS)).toEqual([])
    expect(mouse(0xeb)).toEqual([0xfa, 0x08, 1, 1])
  })
})
