import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BlockBackend } from '../../src/contracts/index.js'
import {
  FLOPPY_FORMATS,
  FloppyController,
  type FloppyControllerOptions,
  ST0_ABNORMAL,
  ST0_INVALID,
  ST0_SEEK_END,
  ST1_EN,
  ST1_MA,
  ST1_ND,
  ST1_NW,
  ST1_OR,
  ST2_WC,
} from '../../src/devices/index.js'
import { DmaPair } from '../../src/io/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Line, Memory, traffic } from './helpers.js'

const DOR = 2
const MSR = 4
const FIFO = 5
const DIR = 7
const SECTOR = 512

class Image implements BlockBackend {
  readonly bytes: Uint8Array
  readonly readOnly: boolean
  constructor(kib: number, readOnly = false) {
    this.bytes = new Uint8Array(kib * 1024)
    this.readOnly = readOnly
    for (let i = 0; i < this.bytes.length; i += SECTOR) {
      this.bytes.fill((i / SECTOR) % 251, i, i + SECTOR)
      this.bytes[i + 1] = (i / SECTOR) >> 8
    }
  }
  get size(): number {
    return this.bytes.length
  }
  read(offset: number, target: Uint8Array): void {
    if (offset + target.length > this.size) throw new Error('beyond the image')
    target.set(this.bytes.subarray(offset, offset + target.length))
  }
  write(offset: number, source: Uint8Array): void {
    if (this.readOnly || offset + source.length > this.size) throw new Error('beyond the image')
    this.bytes.set(source, offset)
  }
  flush(): void {}
}

/** DMA channel 2, as much of it as a diskette needs: it moves bytes while asked, and says when the count is over. */
class Dma {
  readonly memory = new Uint8Array(0x10000)
  at = 0
  left = 0
  enabled = true
  fdc: FloppyController | undefined
  toMemory = true
  level = false
  setRequest(level: boolean): void {
    this.level = level
    while (this.level && this.enabled && this.left > 0) {
      if (this.toMemory) this.memory[this.at++] = this.fdc!.read()
      else this.fdc!.write(this.memory[this.at++]!)
      if (--this.left === 0) this.fdc!.terminalCount()
    }
  }
  program(count: number, toMemory: boolean): void {
    this.at = 0
    this.left = count
    this.toMemory = toMemory
  }
}

function setup(kib = 1440, options: Partial<FloppyControllerOptions> & { readOnly?: boolean } = {}) {
  const clock = new ManualClock()
  const irq = new Line()
  const dma = new Dma()
  const fdc = new FloppyController({ clock, irq, dma, ...options })
  dma.fdc = fdc
  const image = new Image(kib, options.readOnly)
  fdc.insert(0, image)
  const put = (...bytes: number[]): void => {
    for (const byte of bytes) {
      expect(fdc.readPort(MSR, 1) & 0xc0).toBe(0x80)
      fdc.writePort(FIFO, 1, byte)
    }
  }
  const result = (): number[] => {
    const bytes: number[] = []
    while ((fdc.readPort(MSR, 1) & 0xd0) === 0xd0) bytes.push(fdc.readPort(FIFO, 1))
    return bytes
  }
  /** Waits for the interrupt. */
  const wait = (limit = 5e9): void => {
    const end = clock.now() + limit
    while (!irq.level && clock.now() < end && clock.nextDeadline !== undefined) clock.advanceTo(clock.nextDeadline)
    expect(irq.level).toBe(true)
  }
  const rate = FLOPPY_FORMATS.get(kib)!.rates[0]!
  fdc.writePort(DOR, 1, 0x00)
  fdc.writePort(DOR, 1, 0x1c)
  fdc.writePort(DIR, 1, rate)
  wait()
  for (let i = 0; i < 4; i++) {
    put(0x08)
    expect(result()).toEqual([0xc0 | i, 0])
  }
  put(0x03, 0xdf, 0x02)
  const seek = (track: number): void => {
    put(0x0f, 0, track)
    wait()
    put(0x08)
    expect(result()).toEqual([ST0_SEEK_END, track])
  }
  return { clock, irq, dma, fdc, image, put, result, wait, seek }
}

describe('FloppyController', () => {
  it('answers an unknown command and a needless sense as invalid', () => {
    const { put, result } = setup()
    put(0x1f)
    expect(result()).toEqual([ST0_INVALID])
    put(0x08)
    expect(result()).toEqual([ST0_INVALID])
    put(0x10)
    expect(result()).toEqual([0x90])
  })

  it('reads sectors by DMA until the terminal count', () => {
    const { dma, image, put, result, wait } = setup()
    dma.program(2 * SECTOR, true)
    put(0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()).toEqual([0, 0, 0, 0, 0, 3, 2])
    expect(dma.memory.subarray(0, 2 * SECTOR)).toEqual(image.bytes.subarray(0, 2 * SECTOR))
    expect(dma.level).toBe(false)
  })

  it('goes on to the other side with MT', () => {
    const { dma, image, put, result, wait, seek } = setup()
    seek(3)
    dma.program(4 * SECTOR, true)
    put(0xe6, 0x00, 3, 0, 17, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()).toEqual([0x04, 0, 0, 3, 1, 3, 2])
    const at = (3 * 36 + 16) * SECTOR
    expect(dma.memory.subarray(0, 4 * SECTOR)).toEqual(image.bytes.subarray(at, at + 4 * SECTOR))
  })

  it('stops beyond the end of the track without a terminal count', () => {
    const { dma, put, result, wait } = setup()
    dma.program(8 * SECTOR, true)
    put(0x46, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()).toEqual([ST0_ABNORMAL, ST1_EN, 0, 1, 0, 1, 2])
    expect(dma.left).toBe(6 * SECTOR)
  })

  it('names the end of the cylinder when the count ends there', () => {
    const { dma, put, result, wait } = setup()
    dma.program(SECTOR, true)
    put(0x46, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()).toEqual([0, 0, 0, 1, 0, 1, 2])
  })

  it('writes, and fills a broken-off sector with zeros', () => {
    const { dma, image, put, result, wait } = setup()
    dma.memory.fill(0xa5)
    dma.program(SECTOR + 10, false)
    put(0xc5, 0x04, 0, 1, 1, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()).toEqual([0x04, 0, 0, 0, 1, 3, 2])
    const at = 18 * SECTOR
    expect(image.bytes.subarray(at, at + SECTOR).every((byte) => byte === 0xa5)).toBe(true)
    expect([...image.bytes.subarray(at + SECTOR + 8, at + SECTOR + 12)]).toEqual([0xa5, 0xa5, 0, 0])
  })

  it('formats a track', () => {
    const { dma, image, put, result, wait, seek } = setup()
    seek(1)
    for (let s = 0; s < 18; s++) dma.memory.set([1, 0, s + 1, 2], s * 4)
    dma.program(72, false)
    put(0x4d, 0x00, 2, 18, 0x54, 0xf6)
    wait()
    expect(result()[0]).toBe(0)
    const track = image.bytes.subarray(36 * SECTOR, 54 * SECTOR)
    expect(track.every((byte) => byte === 0xf6)).toBe(true)
    expect(image.bytes[54 * SECTOR]).not.toBe(0xf6)
  })

  it('moves data without DMA, a byte at a time', () => {
    const { fdc, image, irq, put, result, wait } = setup()
    put(0x03, 0xdf, 0x03)
    put(0x46, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff)
    wait()
    expect(fdc.readPort(MSR, 1)).toBe(0xf0)
    const seen = Array.from({ length: SECTOR }, () => fdc.readPort(FIFO, 1))
    expect(seen).toEqual([...image.bytes.subarray(17 * SECTOR, 18 * SECTOR)])
    expect(irq.level).toBe(true) // the result: without TC a read ends beyond its last sector
    expect(result()).toEqual([ST0_ABNORMAL, ST1_EN, 0, 1, 0, 1, 2])
    expect(irq.level).toBe(false)
    put(0x45, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff)
    wait()
    expect(fdc.readPort(MSR, 1)).toBe(0xb0)
    for (let i = 0; i < SECTOR; i++) fdc.writePort(FIFO, 1, i & 0xff)
    expect(result()[1]).toBe(ST1_EN)
    expect(image.bytes[17 * SECTOR + 300]).toBe(300 & 0xff)
  })

  it('reports what went wrong', () => {
    const { dma, fdc, put, result, wait, seek } = setup(1440, { readOnly: true })
    dma.program(SECTOR, true)
    put(0x46, 0x00, 0, 0, 19, 2, 19, 0x1b, 0xff)
    wait()
    expect(result().slice(0, 3)).toEqual([ST0_ABNORMAL, ST1_ND, 0])
    seek(5)
    put(0x46, 0x00, 4, 0, 1, 2, 18, 0x1b, 0xff)
    wait()
    expect(result().slice(0, 3)).toEqual([ST0_ABNORMAL, ST1_ND, ST2_WC])
    put(0x45, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff)
    wait()
    expect(result().slice(0, 2)).toEqual([ST0_ABNORMAL, ST1_NW])
    put(0x04, 0x00)
    expect(result()).toEqual([0x68])
    dma.enabled = false
    put(0x46, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff)
    wait()
    expect(result().slice(0, 2)).toEqual([ST0_ABNORMAL, ST1_OR])
    fdc.writePort(DIR, 1, 2) // 250 kb/s
    put(0x4a, 0x00)
    wait()
    expect(result().slice(0, 2)).toEqual([ST0_ABNORMAL, ST1_MA])
    fdc.writePort(DIR, 1, 0)
    put(0x4a, 0x00)
    wait()
    expect(result()).toEqual([0, 0, 0, 5, 0, 1, 2])
    fdc.writePort(DOR, 1, 0x0c) // motor off
    put(0x4a, 0x00)
    wait()
    expect(result()[1]).toBe(ST1_MA)
  })

  it('shows a change of diskette until the head steps', () => {
    const { fdc, seek } = setup()
    expect(fdc.readPort(DIR, 1)).toBe(0x80)
    seek(1)
    expect(fdc.readPort(DIR, 1)).toBe(0)
    fdc.eject(0)
    expect(fdc.readPort(DIR, 1)).toBe(0x80)
    seek(0)
    expect(fdc.readPort(DIR, 1)).toBe(0x80)
    fdc.insert(0, new Image(720))
    seek(1)
    expect(fdc.readPort(DIR, 1)).toBe(0)
  })

  it('seeks in two drives at once, and an interrupt for each', () => {
    const { fdc, clock, put, result, wait, irq } = setup()
    fdc.insert(1, new Image(1440))
    put(0x0f, 0, 4)
    put(0x0f, 1, 9)
    expect(fdc.readPort(MSR, 1)).toBe(0x83)
    wait()
    expect(clock.now()).toBeGreaterThan(12e6 - 1) // four steps of 3 ms
    put(0x08)
    expect(result()).toEqual([0x20, 4])
    expect(irq.level).toBe(false)
    wait()
    put(0x08)
    expect(result()).toEqual([0x21, 9])
    put(0x07, 1)
    wait()
    put(0x08)
    expect(result()).toEqual([0x21, 0])
    put(0xcf, 0, 3) // relative, inwards
    wait()
    put(0x08)
    expect(result()).toEqual([0x20, 7])
  })

  it('keeps its configuration through a software reset when locked', () => {
    const { fdc, put, result, wait } = setup()
    put(0x13, 0, 0x4a, 5)
    put(0x12, 0x84)
    put(0x94)
    expect(result()).toEqual([0x10])
    put(0x0e)
    expect(result()).toEqual([0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x4a, 5])
    fdc.writePort(MSR, 1, 0x80)
    wait()
    for (let i = 0; i < 4; i++) {
      put(0x08)
      result()
    }
    put(0x0e)
    expect(result().slice(8)).toEqual([0x4a, 5])
    put(0x14)
    expect(result()).toEqual([0])
    fdc.writePort(MSR, 1, 0x80)
    wait()
    for (let i = 0; i < 4; i++) {
      put(0x08)
      result()
    }
    put(0x0e)
    expect(result().slice(8)).toEqual([0x20, 0])
  })

  it('verifies, reads a whole track, and seeks by itself when told to', () => {
    const { dma, image, put, result, wait } = setup()
    put(0x13, 0, 0x40, 0)
    put(0xd6, 0x80, 2, 0, 1, 2, 18, 0x1b, 3)
    wait()
    expect(result()).toEqual([0, 0, 0, 2, 0, 4, 2])
    dma.program(18 * SECTOR, true)
    put(0x42, 0x00, 2, 0, 7, 2, 18, 0x1b, 0xff)
    wait()
    expect(result()[0]).toBe(0)
    expect(dma.memory.subarray(0, 18 * SECTOR)).toEqual(image.bytes.subarray(72 * SECTOR, 90 * SECTOR))
  })

  it.each([...FLOPPY_FORMATS])('knows the %i KiB format', (kib, geometry) => {
    const { dma, fdc, image, put, result, wait, seek } = setup(kib)
    expect(geometry.cylinders * geometry.heads * geometry.sectors * SECTOR).toBe(kib * 1024)
    expect(fdc.geometry(0)).toBe(geometry)
    const { cylinders, heads, sectors } = geometry
    seek(cylinders - 1)
    dma.program(SECTOR, true)
    put(0x46, (heads - 1) << 2, cylinders - 1, heads - 1, sectors, 2, sectors, 0x1b, 0xff)
    wait()
    expect(result()[0]! & 0xc0).toBe(0)
    expect(dma.memory.subarray(0, SECTOR)).toEqual(image.bytes.subarray(image.size - SECTOR))
  })

  it.each([true, false])('works with the DMA controller of the PC (automatic: %s)', (automatic) => {
    const clock = new ManualClock()
    const irq = new Line()
    const memory = new Memory(0x20000)
    const pair = new DmaPair({ bus: memory, automatic })
    const fdc = new FloppyController({
      clock,
      irq,
      dma: { setRequest: (level) => pair.setRequest(2, level) },
      fast: true,
    })
    pair.connect(2, fdc)
    const image = new Image(1440)
    fdc.insert(0, image)
    pair.secondaryPorts.writePort(0x16, 1, 0xc0) // channel 4 cascades
    pair.secondaryPorts.writePort(0x14, 1, 0x00)
    const dma = (register: number, value: number) => pair.primaryPorts.writePort(register, 1, value)
    dma(0x0a, 0x06)
    dma(0x0c, 0)
    dma(0x0b, 0x46) // single, write, channel 2
    dma(4, 0x00)
    dma(4, 0x80)
    dma(5, 0xff)
    dma(5, 0x05) // three sectors
    pair.pages.writePort(1, 1, 1)
    dma(0x0a, 0x02)
    fdc.writePort(DIR, 1, 0)
    fdc.writePort(DOR, 1, 0x1c)
    for (const byte of [0x03, 0xdf, 0x02, 0xe6, 0, 0, 0, 5, 2, 18, 0x1b, 0xff]) fdc.writePort(FIFO, 1, byte)
    for (let i = 0; i < 100; i++) {
      clock.advance(100_000)
      if (!automatic) pair.service()
    }
    expect(irq.level).toBe(true)
    expect(Array.from({ length: 7 }, () => fdc.readPort(FIFO, 1))).toEqual([0, 0, 0, 0, 0, 8, 2])
    expect(memory.bytes.subarray(0x18000, 0x18600)).toEqual(image.bytes.subarray(4 * SECTOR, 7 * SECTOR))
  })

  it('refuses images that are no diskettes', () => {
    const fdc = new FloppyController({ clock: new ManualClock(), irq: new Line() })
    expect(() => fdc.insert(0, new Image(100))).toThrowError(expect.objectContaining({ code: 'bad-image' }))
    expect(() => fdc.insert(2, new Image(1440))).toThrowError(/0 or 1/)
    fdc.insert(1, new Image(360))
    expect(() => fdc.insert(1, new Image(360))).toThrowError(/already/)
  })

  it('property: what is written anywhere is read back there', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FLOPPY_FORMATS.keys()),
        fc.nat(),
        fc.integer({ min: 1, max: 6 }),
        (kib, where, n) => {
          const { dma, image, put, result, wait, seek } = setup(kib, { fast: true })
          const { cylinders, heads, sectors } = FLOPPY_FORMATS.get(kib)!
          const lba = where % (cylinders * heads * sectors)
          const c = Math.floor(lba / (heads * sectors))
          const h = Math.floor(lba / sectors) % heads
          const s = (lba % sectors) + 1
          // Up to the end of the cylinder.
          const count = Math.min(n, (heads - h) * sectors - s + 1)
          const mt = heads === 2 ? 0x80 : 0
          seek(c)
          const data = Uint8Array.from({ length: count * SECTOR }, (_, i) => (i * 7 + where) & 0xff)
          dma.memory.set(data)
          dma.program(data.length, false)
          put(mt | 0x45, h << 2, c, h, s, 2, sectors, 0x1b, 0xff)
          wait()
          expect(result()[0]! & 0xc0).toBe(0)
          expect(image.bytes.subarray(lba * SECTOR, (lba + count) * SECTOR)).toEqual(data)
          dma.memory.fill(0)
          dma.program(data.length, true)
          put(mt | 0x46, h << 2, c, h, s, 2, sectors, 0x1b, 0xff)
          wait()
          expect(result()[0]! & 0xc0).toBe(0)
          expect(dma.memory.subarray(0, data.length)).toEqual(data)
        },
      ),
      { numRuns: runs(60) },
    )
  })

  it('property: any traffic is survived, and the state carries on the same', () => {
    // Whole commands among the noise, so that every phase is reached.
    const byte = fc.nat(0xff)
    const command = fc.tuple(
      fc.constantFrom(0x46, 0xe6, 0x45, 0x4d, 0x42, 0x56, 0x4a, 0x0f, 0x07, 0x08, 0x13, 0x03, 0x8f),
      fc.constantFrom(0, 1, 4),
      fc.nat(2),
      fc.nat(1),
      fc.integer({ min: 1, max: 20 }),
      fc.constantFrom(2, 2, 2, 3),
      fc.constantFrom(1, 9, 18),
      byte,
      byte,
    )
    const script = fc.array(fc.tuple(command, fc.boolean(), fc.nat(2000), traffic(8, 10)), { maxLength: 8 })
    const play = (m: ReturnType<typeof setup>, list: typeof script extends fc.Arbitrary<infer T> ? T : never) => {
      const seen: number[] = []
      for (const [bytes, whole, count, steps] of list) {
        if (whole) {
          m.fdc.writePort(DOR, 1, 0x1c)
          m.dma.program(count, m.dma.toMemory)
          for (const value of bytes) m.fdc.writePort(FIFO, 1, value)
          m.clock.advance(30e6)
        }
        seen.push(...drive(m.fdc, m.clock, steps))
      }
      return seen
    }
    fc.assert(
      fc.property(script, script, (before, after) => {
        const a = setup()
        play(a, before)
        const b = setup()
        b.clock.advanceTo(a.clock.now())
        b.image.bytes.set(a.image.bytes)
        b.fdc.loadState(a.fdc.saveState())
        expect(b.irq.level).toBe(a.irq.level)
        b.dma.level = a.dma.level
        b.dma.at = a.dma.at
        b.dma.left = a.dma.left
        expect(play(b, after)).toEqual(play(a, after))
        expect(b.fdc.saveState()).toEqual(a.fdc.saveState())
        expect(b.irq.level).toBe(a.irq.level)
      }),
      { numRuns: runs(60) },
    )
  })
})
