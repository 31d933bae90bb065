import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FW_CFG_FILE_DIR, FW_CFG_NB_CPUS, FW_CFG_RAM_SIZE, FwCfg } from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { drive, Memory, traffic } from './helpers.js'

function setup() {
  const memory = new Memory(0x10000)
  const cfg = new FwCfg(memory)
  const read = (key: number, count: number): number[] => {
    cfg.writePort(0, 2, key)
    return Array.from({ length: count }, () => cfg.readPort(1, 1))
  }
  const view = new DataView(memory.bytes.buffer)
  /** Runs a descriptor at 0x100 and returns the control field afterwards. */
  const dma = (control: number, length: number, address: number): number => {
    view.setUint32(0x100, control)
    view.setUint32(0x104, length)
    view.setBigUint64(0x108, BigInt(address))
    cfg.writePort(4, 4, 0)
    cfg.writePort(8, 4, 0x00010000) // 0x100, big-endian
    return view.getUint32(0x100)
  }
  return { memory, cfg, read, dma, view }
}

const text = (bytes: number[]): string => String.fromCharCode(...bytes)

describe('FwCfg', () => {
  it('shows its signature and both interfaces', () => {
    const { cfg, read } = setup()
    expect(text(read(0, 4))).toBe('QEMU')
    expect(read(1, 5)).toEqual([3, 0, 0, 0, 0])
    // The DMA address register reads "QEMU CFG", big-endian.
    expect(cfg.readPort(4, 4)).toBe(0x554d4551)
    expect(cfg.readPort(8, 4)).toBe(0x47464320)
  })

  it('serves numbers in little-endian', () => {
    const { cfg, read } = setup()
    cfg.addU64(FW_CFG_RAM_SIZE, 0x180000000)
    cfg.addU16(FW_CFG_NB_CPUS, 2)
    expect(read(FW_CFG_RAM_SIZE, 8)).toEqual([0, 0, 0, 0x80, 1, 0, 0, 0])
    expect(read(FW_CFG_NB_CPUS, 3)).toEqual([2, 0, 0])
    expect(read(0x1234, 2)).toEqual([0, 0])
  })

  it('lists files by name in the big-endian directory', () => {
    const { cfg, read } = setup()
    cfg.addE820([{ address: 0x100000000, length: 0x1000, type: 1 }])
    cfg.addBootOrder(['/pci@i0cf8/ide@1,1/drive@0/disk@0', '/rom@genroms/x'])
    const dir = read(FW_CFG_FILE_DIR, 4 + 2 * 64)
    expect(dir.slice(0, 4)).toEqual([0, 0, 0, 2])
    expect(text(dir.slice(12, 22))).toBe('bootorder\0')
    expect(dir.slice(8, 12)).toEqual([0, 0x21, 0, 0])
    expect(text(dir.slice(76, 85))).toBe('etc/e820\0')
    expect(dir.slice(68, 74)).toEqual([0, 0, 0, 20, 0, 0x20])
    expect(read(0x20, 20)).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    expect(text(read(0x21, 34)).endsWith('disk@0\n')).toBe(true)
  })

  it('copies by DMA: select, read, skip, zeros beyond the end', () => {
    const { cfg, dma, memory } = setup()
    cfg.addFile('a', Uint8Array.of(1, 2, 3, 4, 5))
    memory.bytes.fill(0xee, 0x200, 0x210)
    expect(dma(0x0020_000a, 2, 0x200)).toBe(0)
    expect(dma(0x04, 1, 0)).toBe(0)
    expect(dma(0x02, 4, 0x202)).toBe(0)
    expect([...memory.bytes.subarray(0x200, 0x208)]).toEqual([1, 2, 4, 5, 0, 0, 0xee, 0xee])
  })

  it('writes writable files only, within their size', () => {
    const { cfg, dma, memory, read } = setup()
    cfg.addFile('r', Uint8Array.of(1, 2))
    cfg.addFile('w', Uint8Array.of(1, 2), { writable: true })
    memory.bytes.set([9, 8, 7], 0x300)
    expect(dma(0x0020_0018, 2, 0x300)).toBe(1)
    expect(dma(0x0021_0018, 3, 0x300)).toBe(1)
    expect(dma(0x0021_0018, 2, 0x300)).toBe(0)
    expect(read(0x20, 2)).toEqual([1, 2])
    expect(read(0x21, 2)).toEqual([9, 8])
    const state = cfg.saveState()
    const other = setup()
    other.cfg.addFile('r', Uint8Array.of(1, 2))
    other.cfg.addFile('w', Uint8Array.of(0, 0), { writable: true })
    other.cfg.loadState(state)
    expect(other.read(0x21, 2)).toEqual([9, 8])
    expect(() => setup().cfg.loadState(state)).toThrowError(/writable/)
  })

  it('answers absurd lengths with an error, not with work', () => {
    const { dma, memory } = setup()
    const before = memory.writes
    expect(dma(0x02, 0xffffffff, 0)).toBe(1)
    expect(memory.writes - before).toBeLessThan(10)
    expect(dma(0x04, 0xffffffff, 0)).toBe(0)
  })

  it('refuses what firmware could not read', () => {
    const { cfg } = setup()
    expect(() => cfg.addFile('', new Uint8Array(0))).toThrowError(/name/)
    expect(() => cfg.addFile('x'.repeat(56), new Uint8Array(0))).toThrowError(/name/)
    expect(() => cfg.addKey(0x19, new Uint8Array(0))).toThrowError(/key/)
    expect(() => cfg.addU16(5, 0x10000)).toThrowError(/16-bit/)
  })

  it('property: DMA and the data port read the same, and any traffic is survived', () => {
    const files = fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(files, fc.nat(60), traffic(12, 60), (list, length, steps) => {
        const { cfg, dma, memory, read } = setup()
        list.forEach((bytes, i) => {
          cfg.addFile(`file ${i}`, bytes, { writable: i % 2 === 0 })
        })
        // Most wild descriptors lie beyond memory and read all ones; these lie in it.
        memory.bytes.fill(0x03, 0x100, 0x8000)
        drive(cfg, new ManualClock(), steps)
        list.forEach((bytes, i) => {
          const key = 0x20 + i
          const viaPort = read(key, length)
          expect(dma(key * 0x10000 + 0x0a, length, 0x9000)).toBe(0)
          expect([...memory.bytes.subarray(0x9000, 0x9000 + length)]).toEqual(viaPort)
          if (i % 2 !== 0) expect(viaPort).toEqual([...bytes, ...new Array(60).fill(0)].slice(0, length))
        })
      }),
      { numRuns: runs(100) },
    )
  })
})
