import { describe, expect, it } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import {
  I440fxHost,
  PAM_REGIONS,
  PCI_COMMAND_INTX_DISABLE,
  PciBus,
  PciFunction,
  Piix3Isa,
  ResetControl,
  SMRAM_D_LCK,
  SMRAM_D_OPEN,
  SMRAM_G_SMRAME,
} from '../../src/devices/index.js'
import { Line } from './helpers.js'

function select(bus: PciBus, device: number, fn: number, register: number): void {
  bus.writePort(0, 4, 0x80000000 + device * 0x800 + fn * 0x100 + (register & 0xfc))
}

function windows() {
  const mapped = new Map<string, number>()
  return {
    mapped,
    of: (name: string) => ({
      map: (base: number) => void mapped.set(name, base),
      unmap: (base: number) => {
        expect(mapped.get(name)).toBe(base)
        mapped.delete(name)
      },
    }),
  }
}

function card() {
  const w = windows()
  const fn = new PciFunction({ vendor: 0x1234, device: 0x5678, classCode: 0x020000, interruptPin: 1 })
  fn.addBar(0, { space: 'io', size: 0x20, ...w.of('io') })
  fn.addBar(1, { space: 'memory', size: 0x1000, ...w.of('memory') })
  fn.addBar(2, { space: 'memory', size: 0x10000, wide: true, prefetchable: true, ...w.of('wide') })
  fn.addRom({ size: 0x8000, ...w.of('rom') })
  return { fn, mapped: w.mapped }
}

describe('configuration mechanism 1', () => {
  it('takes the address as a doubleword only, with its reserved bits zero', () => {
    const bus = new PciBus()
    bus.writePort(0, 4, 0xffffffff)
    expect(bus.readPort(0, 4)).toBe(0x80fffffc)
    bus.writePort(0, 2, 0)
    bus.writePort(2, 1, 0)
    expect(bus.readPort(0, 4)).toBe(0x80fffffc)
    expect(bus.readPort(0, 1)).toBe(0xff)
    expect(bus.readPort(2, 2)).toBe(0xffff)
  })

  it('reads bytes, words and doublewords of a function, and all ones of nothing', () => {
    const bus = new PciBus()
    bus.add(0, 0, new I440fxHost())
    select(bus, 0, 0, 0)
    expect(bus.readPort(4, 4)).toBe(0x12378086)
    expect(bus.readPort(6, 2)).toBe(0x1237)
    expect(bus.readPort(5, 1)).toBe(0x80)
    select(bus, 5, 0, 0)
    expect(bus.readPort(4, 4)).toBe(0xffffffff)
    bus.writePort(0, 4, 0x80010000) // bus 1
    expect(bus.readPort(4, 2)).toBe(0xffff)
    bus.writePort(0, 4, 0) // not enabled
    expect(bus.readPort(4, 1)).toBe(0xff)
  })

  it('leaves port 0xCF9 to the reset control register', () => {
    const resets: string[] = []
    const bus = new PciBus({ resetControl: new ResetControl({ reset: (kind) => resets.push(kind) }) })
    bus.writePort(1, 1, 0x02)
    expect(resets).toEqual([])
    expect(bus.readPort(1, 1)).toBe(0x02)
    bus.writePort(1, 1, 0x06)
    expect(resets).toEqual(['hard'])
    bus.writePort(1, 1, 0x06) // no rising edge
    bus.writePort(1, 1, 0x00)
    bus.writePort(1, 1, 0x04)
    expect(resets).toEqual(['hard', 'soft'])
  })

  it('refuses a taken or impossible slot', () => {
    const bus = new PciBus()
    bus.add(1, 0, new PciFunction({ vendor: 1, device: 1, classCode: 0 }))
    const another = new PciFunction({ vendor: 1, device: 1, classCode: 0 })
    expect(() => bus.add(1, 0, another)).toThrowError(expect.objectContaining({ code: 'overlap' }))
    expect(() => bus.add(32, 0, another)).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
  })
})

describe('PciFunction', () => {
  it('shows the size of a window to the sizing write', () => {
    const { fn } = card()
    for (const [register, want] of [
      [0x10, 0xffffffe1],
      [0x14, 0xfffff000],
      [0x18, 0xffff000c],
      [0x1c, 0xffffffff],
      [0x20, 0],
      [0x30, 0xffff8001],
    ] as const) {
      fn.writeConfig(register, 4, 0xffffffff)
      expect(fn.readConfig(register, 4)).toBe(want)
    }
  })

  it('maps windows as the command register enables them, and moves them', () => {
    const { fn, mapped } = card()
    fn.writeConfig(0x10, 4, 0xc001)
    fn.writeConfig(0x14, 4, 0xfe000000)
    fn.writeConfig(0x18, 4, 0x10000)
    fn.writeConfig(0x1c, 4, 0x2)
    expect(mapped.size).toBe(0)
    fn.writeConfig(0x04, 2, 1)
    expect([...mapped]).toEqual([['io', 0xc000]])
    fn.writeConfig(0x04, 2, 3)
    expect(mapped.get('memory')).toBe(0xfe000000)
    expect(mapped.get('wide')).toBe(0x200010000)
    expect(mapped.has('rom')).toBe(false)
    fn.writeConfig(0x30, 4, 0xfd000001)
    expect(mapped.get('rom')).toBe(0xfd000000)
    fn.writeConfig(0x11, 1, 0xd0)
    expect(mapped.get('io')).toBe(0xd000)
    expect(fn.barBase(0)).toBe(0xd000)
    // What sizing writes is not decoded.
    fn.writeConfig(0x14, 4, 0xffffffff)
    expect(mapped.has('memory')).toBe(false)
    fn.reset()
    expect(mapped.size).toBe(0)
  })

  it('leaves a window that collides undecoded until it is moved', () => {
    let taken = 0xc000
    const unmapped: number[] = []
    const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0 })
    fn.addBar(0, {
      space: 'io',
      size: 16,
      map: (base) => {
        if (base === taken) throw new VirtkitError('overlap', 'taken')
      },
      unmap: (base) => void unmapped.push(base),
    })
    fn.writeConfig(4, 2, 1)
    fn.writeConfig(0x10, 4, 0xc000)
    expect(fn.barBase(0)).toBe(-1)
    fn.writeConfig(0x10, 4, 0xc010)
    expect(fn.barBase(0)).toBe(0xc010)
    expect(unmapped).toEqual([])
    taken = 0
  })

  it('keeps read-only bytes and clears error bits by writing one', () => {
    const { fn } = card()
    fn.writeConfig(0, 4, 0)
    expect(fn.readConfig(0, 4)).toBe(0x56781234)
    fn.config[7] = 0xf9
    fn.writeConfig(6, 2, 0x1000)
    expect(fn.config[7]).toBe(0xe9)
    fn.writeConfig(0x3c, 2, 0x050b)
    expect(fn.readConfig(0x3c, 2)).toBe(0x010b)
  })

  it('chains capabilities', () => {
    const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0 })
    expect(fn.readConfig(6, 2) & 0x10).toBe(0)
    const first = fn.addCapability(0x01, 6)
    const second = fn.addCapability(0x05, 10)
    expect(fn.config[0x34]).toBe(first)
    expect([fn.config[first], fn.config[first + 1]]).toEqual([0x01, second])
    expect([fn.config[second], fn.config[second + 1]]).toEqual([0x05, 0])
    expect(second % 4).toBe(0)
    expect(fn.readConfig(6, 2) & 0x10).toBe(0x10)
    expect(() => fn.addCapability(1, 0xf0)).toThrowError(expect.objectContaining({ code: 'bad-range' }))
  })

  it('restores its state, windows included, and refuses that of another function', () => {
    const a = card()
    a.fn.writeConfig(0x10, 4, 0xc001)
    a.fn.writeConfig(0x04, 2, 1)
    const state = a.fn.saveState()
    const b = card()
    b.fn.loadState(state)
    expect(b.mapped.get('io')).toBe(0xc000)
    expect(b.fn.saveState()).toEqual(state)
    expect(() => new I440fxHost().loadState(state)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
  })

  it('refuses impossible windows', () => {
    const { fn } = card()
    const none = { map: () => {}, unmap: () => {} }
    expect(() => fn.addBar(3, { space: 'memory', size: 16, ...none })).toThrowError(/taken/)
    expect(() => fn.addBar(5, { space: 'memory', size: 32, wide: true, ...none })).toThrow()
    expect(() => fn.addBar(4, { space: 'io', size: 24, ...none })).toThrow()
  })
})

describe('I440fxHost', () => {
  it('has the reset values of the data sheet', () => {
    const host = new I440fxHost()
    expect(host.readConfig(0, 4)).toBe(0x12378086)
    expect(host.readConfig(4, 4)).toBe(0x02800006)
    expect(host.readConfig(8, 4)).toBe(0x06000002)
    expect(host.readConfig(0x72, 1)).toBe(0x02)
    expect(host.readConfig(0x59, 1)).toBe(0)
  })

  it('reports each PAM region once per change', () => {
    const seen: string[] = []
    const host = new I440fxHost({
      onPam: (region, { read, write }) =>
        seen.push(`${region.base.toString(16)}:${read ? 'r' : ''}${write ? 'w' : ''}`),
    })
    host.writeConfig(0x59, 1, 0x30)
    host.writeConfig(0x5a, 1, 0x21)
    host.writeConfig(0x5a, 1, 0x21)
    host.writeConfig(0x5f, 1, 0xff)
    expect(seen).toEqual(['f0000:rw', 'c0000:r', 'c4000:w', 'e8000:rw', 'ec000:rw'])
    expect(host.readConfig(0x5f, 1)).toBe(0x33)
    expect(PAM_REGIONS.reduce((sum, region) => sum + region.size, 0)).toBe(0x40000)
    host.reset()
    expect(seen.slice(5)).toEqual(['c0000:', 'c4000:', 'e8000:', 'ec000:', 'f0000:'])
  })

  it('locks SMRAM', () => {
    let shown = ''
    const host = new I440fxHost({ onSmram: (c) => (shown = JSON.stringify(c)) })
    host.writeConfig(0x72, 1, SMRAM_G_SMRAME | SMRAM_D_OPEN)
    expect(JSON.parse(shown)).toEqual({ enabled: true, open: true, closed: false, locked: false })
    expect(host.readConfig(0x72, 1)).toBe(0x4a)
    host.writeConfig(0x70, 4, (SMRAM_G_SMRAME | SMRAM_D_OPEN | SMRAM_D_LCK) << 16)
    expect(host.smram).toEqual({ enabled: true, open: false, closed: false, locked: true })
    host.writeConfig(0x72, 1, SMRAM_D_OPEN)
    expect(host.smram.open).toBe(false)
    expect(host.smram.locked).toBe(true)
    host.reset()
    expect(host.smram.locked).toBe(false)
  })
})

describe('Piix3Isa', () => {
  it('routes the slots’ pins over PIRQ to IRQ lines', () => {
    const lines = Array.from({ length: 16 }, () => new Line())
    const piix = new Piix3Isa({ irqLines: lines })
    const bus = new PciBus()
    bus.setRouter(piix.router)
    const make = (pin: 1 | 2) => new PciFunction({ vendor: 1, device: 1, classCode: 0, interruptPin: pin })
    const a = make(1) // device 3 pin A: wire (0 + 3 - 1) & 3 = 2
    const b = make(2) // device 2 pin B: wire (1 + 2 - 1) & 3 = 2
    bus.add(1, 0, piix)
    bus.add(3, 0, a)
    bus.add(2, 0, b)
    a.setIntx(true)
    expect(lines.some((line) => line.level)).toBe(false) // not routed yet
    piix.writeConfig(0x62, 1, 11)
    expect(lines[11]!.level).toBe(true)
    b.setIntx(true)
    a.setIntx(false)
    expect(lines[11]!.level).toBe(true)
    piix.writeConfig(0x62, 1, 10)
    expect([lines[10]!.level, lines[11]!.level]).toEqual([true, false])
    piix.writeConfig(0x62, 1, 8) // reserved
    expect(lines.some((line) => line.level)).toBe(false)
    piix.writeConfig(0x62, 1, 5)
    b.writeConfig(4, 2, PCI_COMMAND_INTX_DISABLE)
    expect(lines[5]!.level).toBe(false)
    expect(b.readConfig(6, 2) & 8).toBe(8)
    b.writeConfig(4, 2, 0)
    expect(lines[5]!.level).toBe(true)
    b.setIntx(false)
    expect(lines[5]!.level).toBe(false)
  })

  it('is the first of several functions', () => {
    const piix = new Piix3Isa()
    expect(piix.readConfig(0, 4)).toBe(0x70008086)
    expect(piix.readConfig(0x0a, 2)).toBe(0x0601)
    expect(piix.readConfig(0x0e, 1)).toBe(0x80)
    expect(piix.readConfig(0x60, 4)).toBe(0x80808080)
  })
})
