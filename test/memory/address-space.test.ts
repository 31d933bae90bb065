import { describe, expect, it } from 'vitest'
import type { MmioDevice, MmioSize } from '../../src/contracts/index.js'
import { AddressSpace, type MapChange, PAGE_SIZE, WATCH_CODE, WATCH_DIRTY } from '../../src/memory/index.js'

const MiB = 1024 * 1024

class Recorder implements MmioDevice {
  readonly log: string[] = []
  value = 0x12345678
  readMmio(offset: number, size: MmioSize): number {
    this.log.push(`r${size}@${offset}`)
    return this.value
  }
  writeMmio(offset: number, size: MmioSize, value: number): void {
    this.log.push(`w${size}@${offset}=${value.toString(16)}`)
  }
}

const coded = (code: string) => expect.objectContaining({ name: 'VirtkitError', code })

describe('AddressSpace', () => {
  it('is a little-endian memory with one line', () => {
    const memory = new AddressSpace({ size: 16 * MiB })
    memory.write32(0x1001, 0xdeadbeef)
    expect(memory.read8(0x1001)).toBe(0xef)
    expect(memory.read16(0x1003)).toBe(0xdead)
    memory.write32(0x1ffe, 0x11223344)
    expect(memory.read32(0x1ffe)).toBe(0x11223344)
    expect(memory.read16(0x1fff)).toBe(0x2233)
    expect(memory.read16(16 * MiB - 1)).toBe(0xff00)
  })

  it('reads ones where nothing answers, at any address', () => {
    const memory = new AddressSpace({ size: PAGE_SIZE })
    for (const address of [PAGE_SIZE, 0xffffffff, 2 ** 32, 2 ** 40 + 5, 2 ** 52 - 1, 2 ** 52, 2 ** 53]) {
      expect(memory.read8(address)).toBe(0xff)
      expect(memory.read16(address)).toBe(0xffff)
      expect(memory.read32(address)).toBe(0xffffffff)
      memory.write32(address, 0)
    }
    expect(memory.readOffset(2 ** 40 - 1)).toBe(-1)
    expect(memory.writeOffset(2 ** 40 - 1)).toBe(-1)
  })

  it('keeps RAM in the buffer it was given', () => {
    const buffer = new ArrayBuffer(MiB)
    const memory = new AddressSpace({ buffer, reserved: 0x10000 })
    memory.addRam(0, 0x8000, { offset: 0x40000 })
    memory.addRam(2 ** 32, 0x2000)
    memory.write8(3, 7)
    memory.write8(2 ** 32 + 0x1fff, 9)
    expect(new Uint8Array(buffer)[0x40003]).toBe(7)
    expect(new Uint8Array(buffer)[0x11fff]).toBe(9)
    expect(memory.readOffset(1)).toBe(0x41000)
    expect(memory.writeOffset(0x100001)).toBe(0x11000)
    expect(memory.writeOffset(0x100002)).toBe(-1)
  })

  it('maps ROM that swallows writes', () => {
    const memory = new AddressSpace({ capacity: MiB })
    memory.addRom(0xfffff000, Uint8Array.of(0xea, 0x5b))
    memory.write8(0xfffff000, 1)
    expect(memory.read32(0xfffff000)).toBe(0xffff5bea)
    expect(memory.readOffset(0xfffff)).toBeGreaterThanOrEqual(0)
    expect(memory.writeOffset(0xfffff)).toBe(-1)
  })

  it('gives a device aligned accesses whole and others as bytes', () => {
    const memory = new AddressSpace({ size: 0x2000 })
    const device = new Recorder()
    memory.addMmio(0xfee00004, 0x10, device)
    expect(memory.read32(0xfee00004)).toBe(0x12345678)
    expect(memory.read16(0xfee00006)).toBe(0x5678)
    expect(memory.read8(0xfee00013)).toBe(0x78)
    memory.write32(0xfee00008, 0xffffffff)
    memory.write16(0xfee00005, 0xaabb)
    expect(device.log).toEqual(['r4@0', 'r2@2', 'r1@15', 'w4@4=ffffffff', 'w1@1=bb', 'w1@2=aa'])
    device.log.length = 0
    expect(memory.read32(0xfee00012)).toBe(0xffff7878)
    expect(memory.read8(0xfee00003)).toBe(0xff)
    expect(device.log).toEqual(['r1@14', 'r1@15'].reverse())
  })

  it('coerces what a device returns to the width of the access', () => {
    const memory = new AddressSpace({ size: 0x1000 })
    const device = new Recorder()
    memory.addMmio(0x10000, 4, device)
    device.value = -1
    expect(memory.read32(0x10000)).toBe(0xffffffff)
    expect(memory.read8(0x10000)).toBe(0xff)
    device.value = Number.NaN
    expect(memory.read32(0x10000)).toBe(0)
  })

  it('lets an exception of a device through', () => {
    const memory = new AddressSpace({ size: 0x1000 })
    const device: MmioDevice = {
      readMmio: () => {
        throw new Error('broken')
      },
      writeMmio: () => {},
    }
    memory.addMmio(0x10000, 4, device)
    expect(() => memory.read32(0x10000)).toThrow('broken')
  })

  it('shadows ROM with RAM as a PAM register does', () => {
    const memory = new AddressSpace({ size: MiB })
    const rom = memory.addOverlay({ base: 0xf0000, size: 0x10000, rom: new Uint8Array(0x10000).fill(0x55) })
    memory.write8(0xf1234, 1)
    expect(memory.read8(0xf1234)).toBe(0x55)
    // Read ROM, write RAM: the state in which firmware copies itself.
    rom.setEnabled({ write: false })
    for (let a = 0xf0000; a < 0x100000; a += 4) memory.write32(a, memory.read32(a) ^ 0xffffffff)
    expect(memory.read8(0xf1234)).toBe(0x55)
    rom.setEnabled({ read: false, write: true })
    expect(memory.read8(0xf1234)).toBe(0xaa)
    memory.write8(0xf1234, 0)
    expect(memory.read8(0xf1234)).toBe(0xaa)
    rom.remove()
    memory.write8(0xf1234, 0)
    expect(memory.read8(0xf1234)).toBe(0)
  })

  it('shows aliases, also through them devices and ROM', () => {
    const memory = new AddressSpace({ size: MiB })
    const device = new Recorder()
    memory.addMmio(0x200000, 0x1000, device)
    memory.addRom(0xfffe0000, new Uint8Array(0x20000).fill(3))
    memory.addAlias(0x300000, 0x3000, 0x1ff000)
    memory.addOverlay({ base: 0xe0000, size: 0x20000, alias: 0xfffe0000 })
    expect(memory.read8(0x300000)).toBe(0xff)
    memory.read32(0x301010)
    expect(device.log).toEqual(['r4@16'])
    expect(memory.read8(0xe0000)).toBe(3)
    expect(memory.readOffset(0xe0)).toBe(memory.readOffset(0xfffe0))
  })

  it('follows a target that is mapped after its alias', () => {
    const memory = new AddressSpace({ capacity: MiB })
    memory.addAlias(0x10000, 0x1000, 0x5000)
    memory.addRam(0x4000, 0x4000)
    memory.write8(0x10001, 5)
    expect(memory.read8(0x5001)).toBe(5)
  })

  it('moves overlays, also out of sight', () => {
    const memory = new AddressSpace({ size: MiB })
    const device = new Recorder()
    const bar = memory.addOverlay({ base: 0x80000000, size: 0x100, device })
    bar.move(0x1080)
    expect(memory.read32(0x80000000)).toBe(0xffffffff)
    memory.read32(0x1084)
    memory.read32(0x117c)
    memory.read32(0x1180)
    bar.move(2 ** 40)
    memory.read32(2 ** 40 + 0xfc)
    bar.move(2 ** 63)
    memory.read32(2 ** 40)
    expect(memory.read32(0x1084)).toBe(0)
    expect(device.log).toEqual(['r4@4', 'r4@252', 'r4@252'])
    expect(() => bar.move(-4)).toThrow(coded('bad-range'))
  })

  it('orders overlays by priority, then by age', () => {
    const memory = new AddressSpace({ size: MiB })
    const rom = (value: number, priority: number) =>
      memory.addOverlay({ base: 0x1000, size: 0x1000, rom: new Uint8Array(0x1000).fill(value), priority })
    const high = rom(3, 5)
    rom(1, 0)
    const young = rom(2, 0)
    expect(memory.read8(0x1000)).toBe(3)
    high.setEnabled({ read: false })
    expect(memory.read8(0x1000)).toBe(2)
    young.remove()
    expect(memory.read8(0x1000)).toBe(1)
    expect(() => young.setEnabled({ read: false })).toThrow(coded('bad-argument'))
  })

  it('masks address bit 20 while the A20 gate is closed', () => {
    const memory = new AddressSpace({ size: 4 * MiB })
    const changes: MapChange[] = []
    memory.onMapChange((change) => changes.push(change))
    memory.write8(0x0, 1)
    memory.write8(0x100000, 2)
    memory.a20 = false
    memory.a20 = false
    expect(changes).toEqual(['a20'])
    expect(memory.read8(0x100000)).toBe(1)
    expect(memory.readOffset(0x100)).toBe(memory.readOffset(0))
    memory.write32(0xffffe, 0xaabbccdd)
    expect(memory.read16(0)).toBe(0xaabb)
    expect(memory.read8(0x300000)).toBe(memory.read8(0x200000))
    memory.a20 = true
    expect(memory.read8(0x100000)).toBe(2)
  })

  it('reports writes to watched code, under every address by which it was watched', () => {
    const memory = new AddressSpace({ size: MiB })
    memory.addAlias(0x200000, 0x1000, 0x3000)
    const seen: number[][] = []
    memory.onCodeWrite((page, offset, length) => {
      seen.push([page, offset, length])
      memory.clearWatch(page, WATCH_CODE)
    })
    memory.setWatch(3, WATCH_CODE)
    memory.setWatch(0x200, WATCH_CODE)
    expect(memory.watch(3)).toBe(WATCH_CODE)
    memory.write32(0x3010, 1)
    expect(seen.sort((a, b) => b[0]! - a[0]!)).toEqual([
      [0x200, 0x10, 4],
      [3, 0x10, 4],
    ])
    expect(memory.watch(3)).toBe(0)
    memory.write32(0x3010, 1)
    expect(seen.length).toBe(2)
  })

  it('does not take a write to shadowed RAM for a write to the ROM that is executed', () => {
    const memory = new AddressSpace({ size: MiB })
    memory.addOverlay({ base: 0xf0000, size: 0x10000, rom: new Uint8Array(0x10000), write: false })
    let writes = 0
    memory.onCodeWrite(() => writes++)
    memory.setWatch(0xf0, WATCH_CODE)
    expect(memory.watch(0xf0)).toBe(0)
    memory.write8(0xf0000, 1)
    expect(writes).toBe(0)
  })

  it('logs dirty pages', () => {
    const memory = new AddressSpace({ size: MiB })
    memory.addRam(2 ** 32, 0x2000)
    memory.addAlias(0x200000, 0x1000, 0x3000)
    const changes: MapChange[] = []
    memory.onMapChange((change) => changes.push(change))
    memory.startDirtyLog()
    expect(memory.watch(5)).toBe(WATCH_DIRTY)
    memory.write16(0x5fff, 1)
    memory.write8(0x200000, 1)
    memory.writeBytes(2 ** 32 + 0xffe, new Uint8Array(4))
    expect(memory.watch(5)).toBe(0)
    expect(memory.collectDirty()).toEqual([3, 5, 6, 0x100000, 0x100001])
    expect(memory.watch(5)).toBe(WATCH_DIRTY)
    expect(memory.collectDirty()).toEqual([])
    memory.bytes[memory.writeOffset(7)] = 1
    memory.noteWrite(7, 0, 1)
    expect(memory.collectDirty()).toEqual([7])
    memory.stopDirtyLog()
    expect(memory.watch(5)).toBe(0)
    expect(changes).toEqual(['dirty-log', 'dirty-log', 'dirty-log', 'dirty-log'])
  })

  it('reads and writes in bulk across everything', () => {
    const memory = new AddressSpace({ size: 0x2000 })
    const device = new Recorder()
    memory.addMmio(0x2000, 2, device)
    memory.writeBytes(0x1ffe, Uint8Array.of(1, 2, 3, 4, 5))
    expect(device.log).toEqual(['w1@0=3', 'w1@1=4'])
    const target = new Uint8Array(5)
    memory.readBytes(0x1ffe, target)
    expect([...target]).toEqual([1, 2, 0x78, 0x78, 0xff])
  })

  it.each([
    ['empty', 0x10000, 0],
    ['negative size', 0x10000, -4096],
    ['fraction', 0x10000, 4096.5],
    ['negative base', -4096, 4096],
    ['not a number', Number.NaN, 4096],
    ['beyond 2^52', 2 ** 52 - 4096, 8192],
    ['infinite', 0, Number.POSITIVE_INFINITY],
  ])('refuses a bad range: %s', (_, base, size) => {
    const memory = new AddressSpace({ capacity: MiB })
    const device = new Recorder()
    expect(() => memory.addRam(base, size)).toThrow(coded('bad-range'))
    expect(() => memory.addMmio(base, size, device)).toThrow(coded('bad-range'))
    expect(() => memory.addAlias(base, size, 0)).toThrow(coded('bad-range'))
    expect(() => memory.addOverlay({ base, size, device })).toThrow(coded('bad-range'))
  })

  it('refuses overlaps, misalignment and what does not fit', () => {
    const memory = new AddressSpace({ size: MiB, capacity: 2 * MiB })
    const device = new Recorder()
    expect(() => memory.addMmio(MiB - 1, 1, device)).toThrow(coded('overlap'))
    expect(() => memory.addRam(0, 0x1000)).toThrow(coded('overlap'))
    expect(() => memory.addRom(0x1000, new Uint8Array(1))).toThrow(coded('overlap'))
    expect(() => memory.addRom(MiB, new Uint8Array(0))).toThrow(coded('bad-range'))
    expect(() => memory.addRam(MiB + 1, 0x1000)).toThrow(coded('bad-range'))
    expect(() => memory.addRam(MiB, 2 * MiB)).toThrow(coded('bad-range'))
    expect(() => memory.addRam(MiB, 0x1000, { offset: 0 })).toThrow(coded('overlap'))
    expect(() => memory.addRam(MiB, 0x1000, { offset: 12 })).toThrow(coded('bad-range'))
    expect(() => memory.addAlias(MiB, 0x2000, MiB + 0x1000)).toThrow(coded('overlap'))
    memory.addAlias(4 * MiB, 0x1000, 0)
    expect(() => memory.addAlias(5 * MiB, 0x1000, 4 * MiB)).toThrow(coded('overlap'))
    expect(() => memory.addOverlay({ base: 0, size: 0x1000, device, alias: 0 })).toThrow(coded('bad-argument'))
    expect(() => new AddressSpace({ size: -1 })).toThrow(coded('bad-range'))
    expect(() => new AddressSpace({ size: 2 ** 52 })).toThrow(coded('bad-range'))
  })

  it('saves and loads, leaving zero pages out', () => {
    const make = () => {
      const memory = new AddressSpace({ size: MiB })
      const overlay = memory.addOverlay({ base: 0xa0000, size: 0x20000, device: new Recorder() })
      return { memory, overlay }
    }
    const { memory, overlay } = make()
    memory.write8(0x5000, 1)
    memory.write8(0x6fff, 2)
    memory.a20 = false
    overlay.setEnabled({ read: false })
    memory.startDirtyLog()
    memory.write8(0x9000, 3)
    const state = memory.saveState()
    expect(state.chunks.map((c) => [c.address, c.bytes.length])).toEqual([
      [0x5000, 0x2000],
      [0x9000, 0x1000],
    ])
    const copy = make()
    copy.memory.write8(0x70000, 9)
    copy.memory.setWatch(0x70, WATCH_CODE)
    const written: number[] = []
    copy.memory.onCodeWrite((page) => written.push(page))
    copy.memory.loadState(structuredClone(state))
    expect(written).toEqual([0x70])
    expect(copy.memory.saveState()).toEqual(state)
    expect(copy.memory.read8(0x70000)).toBe(0)
    expect(copy.memory.read8(0xa0000)).toBe(0)
    expect(copy.memory.collectDirty()).toEqual([9])
  })

  it('refuses damaged state and changes nothing', () => {
    const memory = new AddressSpace({ size: MiB })
    memory.write8(0, 1)
    const good = memory.saveState()
    const bad: unknown[] = [
      null,
      {},
      { ...good, version: 2 },
      { ...good, a20: 1 },
      { ...good, ram: [] },
      { ...good, overlays: [{ base: 0, size: 1, read: true, write: true }] },
      { ...good, chunks: [{ address: MiB - 1, bytes: new Uint8Array(2) }] },
      { ...good, chunks: [{ address: -1, bytes: new Uint8Array(2) }] },
      { ...good, chunks: [{ address: 0, bytes: [1] }] },
      { ...good, chunks: [null] },
      { ...good, dirty: [256] },
      { ...good, dirty: ['1'] },
      { ...good, dirty: 3 },
    ]
    for (const state of bad) expect(() => memory.loadState(state as never)).toThrow(coded('bad-state'))
    expect(memory.saveState()).toEqual(good)
  })
})
