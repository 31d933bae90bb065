import { describe, expect, test } from 'vitest'
import type { MmioDevice, PortDevice, PortSize } from '../../src/contracts/bus.js'
import { MmioAsPort, MmioBus, PortAsMmio } from '../../src/io/mmio-bus.js'
import { PortBus } from '../../src/io/port-bus.js'

const code = (c: string): object => expect.objectContaining({ code: c })

/** A device that writes down what reaches it and reads as its offset plus one in every byte. */
class Probe implements PortDevice, MmioDevice {
  readonly seen: string[] = []
  readPort(offset: number, size: PortSize): number {
    this.seen.push(`r${offset}/${size}`)
    let value = 0
    for (let i = 0; i < size; i++) value += ((offset + i + 1) & 0xff) * 256 ** i
    return value
  }
  writePort(offset: number, size: PortSize, value: number): void {
    this.seen.push(`w${offset}/${size}=${value.toString(16)}`)
  }
  readMmio(offset: number, size: PortSize): number {
    return this.readPort(offset, size)
  }
  writeMmio(offset: number, size: PortSize, value: number): void {
    this.writePort(offset, size, value)
  }
}

describe('PortBus', () => {
  test('unmapped ports read all ones and swallow writes', () => {
    const bus = new PortBus()
    bus.write(0x80, 4, 0x12345678)
    expect([bus.read(0x80, 1), bus.read(0x80, 2), bus.read(0x80, 4), bus.read(0xffff, 4)]).toEqual([
      0xff, 0xffff, 0xffffffff, 0xffffffff,
    ])
    expect(bus.statistics).toEqual({ reads: 4, writes: 1, unmapped: 5, split: 0 })
  })

  test('a word to a byte device is two bytes, low first; the gap beyond it is ones', () => {
    const bus = new PortBus()
    const device = new Probe()
    bus.register(0x20, 2, device)
    bus.write(0x20, 2, 0xabcd)
    expect(bus.read(0x20, 4)).toBe(0xffff0201)
    expect(device.seen).toEqual(['w0/1=cd', 'w1/1=ab', 'r0/1', 'r1/1'])
    expect(bus.statistics).toEqual({ reads: 1, writes: 1, unmapped: 1, split: 2 })
  })

  test('a device gets the widths it asked for, and no others', () => {
    const bus = new PortBus()
    const words = new Probe()
    const doubles = new Probe()
    bus.register(0x1f0, 8, words, { sizes: [1, 2] })
    bus.register(0xcf8, 4, doubles, { sizes: [4] })
    bus.write(0x1f0, 4, 0x11223344)
    expect(words.seen).toEqual(['w0/2=3344', 'w2/2=1122'])
    expect([bus.read(0xcf8, 4), bus.read(0xcf8, 1), bus.read(0xcf8, 2)]).toEqual([0x04030201, 0xff, 0xffff])
    expect(doubles.seen).toEqual(['r0/4'])
  })

  test('an access across two devices reaches both', () => {
    const bus = new PortBus()
    const first = new Probe()
    const second = new Probe()
    bus.register(0x60, 1, first, { sizes: [1, 2, 4] })
    bus.register(0x61, 1, second, { sizes: [1, 2, 4] })
    bus.write(0x60, 2, 0x0201)
    expect([first.seen, second.seen]).toEqual([['w0/1=1'], ['w0/1=2']])
  })

  test('ranges are checked', () => {
    const bus = new PortBus()
    const device = new Probe()
    bus.register(0x3f8, 8, device)
    for (const [base, count] of [
      [0, 0],
      [-1, 1],
      [0xffff, 2],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const)
      expect(() => bus.register(base, count, device)).toThrowError(code('bad-range'))
    expect(() => bus.register(0x3ff, 1, device)).toThrowError(code('overlap'))
    expect(() => bus.register(0x3f0, 9, device)).toThrowError(code('overlap'))
    expect(() => bus.register(0, 1, device, { sizes: [] })).toThrowError(code('bad-argument'))
    expect(() => bus.register(0, 1, device, { sizes: [3 as 4] })).toThrowError(code('bad-argument'))
    expect(() => bus.remove(0x3f8, 4)).toThrowError(code('bad-range'))
    expect(bus.isFree(0x3f0, 8)).toBe(true)
    expect(bus.isFree(0x3f0, 9)).toBe(false)
    bus.remove(0x3f8, 8)
    expect(bus.read(0x3f8, 1)).toBe(0xff)
    bus.register(0, 0x10000, device)
    expect(bus.read(0xffff, 1)).toBe(0)
  })

  test('events tell accesses, not pieces', () => {
    const seen: unknown[] = []
    const bus = new PortBus({ events: { wants: () => true, emit: (name, event) => void seen.push([name, event]) } })
    bus.register(0x10, 4, new Probe())
    bus.read(0x10, 2)
    bus.write(0x12, 1, 0x1ff)
    expect(seen).toEqual([
      ['port', { direction: 'in', port: 0x10, size: 2, value: 0x0201 }],
      ['port', { direction: 'out', port: 0x12, size: 1, value: 0xff }],
    ])
  })
})

describe('MmioBus', () => {
  test('windows are sorted, checked and removable', () => {
    const bus = new MmioBus()
    const device = new Probe()
    bus.register(0xfee00000, 0x1000, device)
    bus.register(0xa0000, 0x20000, device)
    bus.register(0xfec00000, 0x1000, device)
    expect(() => bus.register(0xbffff, 2, device)).toThrowError(code('overlap'))
    expect(() => bus.register(0x90000, 0x10001, device)).toThrowError(code('overlap'))
    expect(() => bus.register(0, 0, device)).toThrowError(code('bad-range'))
    expect(() => bus.register(2 ** 52 - 1, 2, device)).toThrowError(code('bad-range'))
    expect(() => bus.remove(0xa0000, 1)).toThrowError(code('bad-range'))
    expect([bus.read32(0xfec00000), bus.read8(0xc0000)]).toEqual([0x04030201, 0xff])
    bus.remove(0xfec00000, 0x1000)
    expect(bus.read16(0xfec00000)).toBe(0xffff)
    bus.write32(0xbfffe, 0x44332211)
    expect(device.seen.at(-1)).toBe(`w${0x1fffe}/2=2211`)
    expect(bus.statistics).toEqual({ reads: 3, writes: 1, unmapped: 3, split: 0 })
  })

  test('the same device on either bus', () => {
    const device = new Probe()
    const ports = new PortBus()
    const memory = new MmioBus()
    ports.register(0x300, 4, new MmioAsPort(device), { sizes: [1, 2, 4] })
    memory.register(0x1000, 4, new PortAsMmio(device))
    memory.register(0x2000, 16, new PortAsMmio(device, { stride: 4 }))
    expect(ports.read(0x300, 4)).toBe(memory.read32(0x1000))
    ports.write(0x302, 2, 0xbeef)
    memory.write16(0x1002, 0xbeef)
    expect(device.seen.slice(-2)).toEqual(['w2/2=beef', 'w2/2=beef'])
    expect([memory.read8(0x2004), memory.read8(0x2005), memory.read32(0x2008)]).toEqual([2, 0xff, 0xffffff03])
    memory.write32(0x200c, 0x99887766)
    expect(device.seen.at(-1)).toBe('w3/1=66')
    expect(() => new PortAsMmio(device, { stride: 3 as 4 })).toThrowError(code('bad-argument'))
  })
})
