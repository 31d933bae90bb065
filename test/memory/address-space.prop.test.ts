import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MmioDevice, MmioSize } from '../../src/contracts/index.js'
import { AddressSpace, type AddressSpaceState, type Overlay, WATCH_CODE } from '../../src/memory/index.js'
import { runs } from '../runs.js'

// The reference keeps single bytes in a Map and asks for every byte anew which range it belongs to.

const GiB4 = 2 ** 32

/** A device that is a row of bytes, and notes the shape of each access. */
class Row implements MmioDevice {
  readonly bytes: number[]
  readonly log: string[] = []
  constructor(size: number) {
    this.bytes = Array.from({ length: size }, (_, i) => (i * 7 + 3) & 0xff)
  }
  readMmio(offset: number, size: MmioSize): number {
    this.log.push(`r${size}@${offset}`)
    let value = 0
    for (let i = 0; i < size; i++) value += (this.bytes[offset + i] ?? 0) * 256 ** i
    return value
  }
  writeMmio(offset: number, size: MmioSize, value: number): void {
    this.log.push(`w${size}@${offset}`)
    for (let i = 0; i < size; i++) this.bytes[offset + i] = Math.floor(value / 256 ** i) % 256
  }
}

type Found =
  | { kind: 'ram'; at: number }
  | { kind: 'rom'; value: number }
  | { kind: 'device'; row: Row; offset: number; id: string }
  | undefined

interface Layer {
  base: number
  size: number
  priority: number
  read: boolean
  write: boolean
  show: (offset: number) => Found
}

class Model {
  ram = new Map<number, number>()
  a20 = true
  logging = false
  dirty = new Set<number>()
  watched = new Set<number>()
  layers: Layer[] = []
  rows = [new Row(0x25), new Row(0x1800)]

  base(address: number): Found {
    if (address >= 0 && address < 0x110000) return { kind: 'ram', at: address }
    if (address >= GiB4 && address < GiB4 + 0x4000) return { kind: 'ram', at: address }
    if (address >= 0xfffff000 && address < GiB4) return { kind: 'rom', value: address % 16 }
    if (address >= 0x200011 && address < 0x200036) {
      return { kind: 'device', row: this.rows[0]!, offset: address - 0x200011, id: 'base' }
    }
    return undefined
  }

  resolve(raw: number, direction: 'read' | 'write'): Found {
    const address = !this.a20 && Math.floor(raw / 2 ** 20) % 2 === 1 ? raw - 2 ** 20 : raw
    let best: Layer | undefined
    for (const layer of this.layers) {
      if (!layer[direction] || address < layer.base || address >= layer.base + layer.size) continue
      if (!best || layer.priority >= best.priority) best = layer
    }
    if (best) return best.show(address - best.base)
    if (address >= 0x300000 && address < 0x304000) return this.base(address - 0x300000 + 0x10e000)
    return this.base(address)
  }

  readByte(address: number): number {
    const found = this.resolve(address, 'read')
    if (!found) return 0xff
    if (found.kind === 'ram') return this.ram.get(found.at) ?? 0
    return found.kind === 'rom' ? found.value : (found.row.bytes[found.offset] as number)
  }

  writeByte(address: number, value: number): Set<number> {
    const hit = new Set<number>()
    const found = this.resolve(address, 'write')
    if (found?.kind === 'ram') {
      this.ram.set(found.at, value)
      if (this.logging) this.dirty.add(Math.floor(found.at / 4096))
      for (const page of this.watched) {
        const code = this.resolve(page * 4096, 'read')
        if (code?.kind === 'ram' && Math.floor(code.at / 4096) === Math.floor(found.at / 4096)) hit.add(page)
      }
    } else if (found?.kind === 'device') found.row.bytes[found.offset] = value
    return hit
  }

  /** The calls that a device should see for an access. */
  calls(address: number, size: number, direction: 'read' | 'write'): string[] {
    const parts = Array.from({ length: size }, (_, i) => this.resolve(address + i, direction))
    const first = parts[0]
    const whole =
      address % size === 0 &&
      first?.kind === 'device' &&
      parts.every((p) => p?.kind === 'device' && p.row === first.row && p.id === first.id)
    const letter = direction === 'read' ? 'r' : 'w'
    if (whole && first.kind === 'device') return [`${letter}${size}@${first.offset}`]
    return parts.flatMap((p) => (p?.kind === 'device' ? [`${letter}1@${p.offset}`] : [])).sort()
  }
}

class Real {
  memory = new AddressSpace({ capacity: 0x200000 })
  rows = [new Row(0x25), new Row(0x1800)]
  overlays: Overlay[] = []
  code = new Set<number>()
  constructor() {
    this.memory.addRam(0, 0x110000)
    this.memory.addRam(GiB4, 0x4000)
    this.memory.addRom(
      0xfffff000,
      Uint8Array.from({ length: 4096 }, (_, i) => i % 16),
    )
    this.memory.addMmio(0x200011, 0x25, this.rows[0]!)
    this.memory.addAlias(0x300000, 0x4000, 0x10e000)
    this.memory.onCodeWrite((page) => this.code.add(page))
  }
  takeLog(): string[] {
    return this.rows.flatMap((row) => row.log.splice(0)).sort()
  }
}

function setup(): { model: Model; real: Real } {
  const model = new Model()
  const real = new Real()
  const add = (options: Parameters<AddressSpace['addOverlay']>[0], show: Layer['show']) => {
    real.overlays.push(real.memory.addOverlay(options))
    const { base, size, priority = 0 } = options
    model.layers.push({ base, size, priority, read: true, write: true, show })
  }
  add({ base: 0xa0800, size: 0x1800, device: real.rows[1]! }, (offset) => {
    return { kind: 'device', row: model.rows[1]!, offset, id: 'overlay' }
  })
  add({ base: 0xa1000, size: 0x2000, priority: 1, rom: new Uint8Array(0x2000).fill(0x5a) }, () => ({
    kind: 'rom',
    value: 0x5a,
  }))
  add({ base: 0xa2000, size: 0x2000, priority: 1, alias: GiB4 + 0x3000 }, (offset) =>
    model.base(GiB4 + 0x3000 + offset),
  )
  add({ base: 0x2ff000, size: 0x2000, alias: 0x200000 }, (offset) => {
    const found = model.base(0x200000 + offset)
    return found?.kind === 'device' ? { ...found, id: 'alias' } : found
  })
  add({ base: 0x107ffd, size: 9, priority: -1 }, () => undefined)
  return { model, real }
}

const anchors = [
  0,
  0x1000,
  0xa0000,
  0xa0800,
  0xa1000,
  0xa2000,
  0xa3000,
  0xa4000,
  0xff000,
  0x100000,
  0x107ffd,
  0x108000,
  0x10e000,
  0x110000,
  0x200010,
  0x200030,
  0x2ff010,
  0x300000,
  0x302000,
  0x304000,
  0xfffff000,
  GiB4,
  GiB4 + 0x3000,
  GiB4 + 0x4000,
  2 ** 40,
  2 ** 52 - 4,
]
const address = fc
  .tuple(fc.constantFrom(...anchors), fc.integer({ min: -8, max: 0x28 }))
  .map(([a, d]) => Math.max(0, a + d))
const size = fc.constantFrom(1, 2, 4)
const pages = fc.constantFrom(0, 1, 0xa1, 0xa2, 0xa3, 0x100, 0x10e, 0x10f, 0x300, 0x301, 0x100000, 0x100003, 0xfffff)

type Command = fc.Command<Model, Real>
const always = () => true

const read = fc.tuple(address, size).map(
  ([at, n]): Command => ({
    check: always,
    run(m, r) {
      let expected = 0
      for (let i = 0; i < n; i++) expected += m.readByte(at + i) * 256 ** i
      const calls = m.calls(at, n, 'read')
      const value = n === 1 ? r.memory.read8(at) : n === 2 ? r.memory.read16(at) : r.memory.read32(at)
      expect(value).toBe(expected)
      expect(r.takeLog()).toEqual(calls)
    },
    toString: () => `read${n}(0x${at.toString(16)})`,
  }),
)

const write = fc.tuple(address, size, fc.nat({ max: 0xffffffff })).map(
  ([at, n, value]): Command => ({
    check: always,
    run(m, r) {
      const calls = m.calls(at, n, 'write')
      const hit = new Set<number>()
      for (let i = 0; i < n; i++)
        for (const page of m.writeByte(at + i, Math.floor(value / 256 ** i) % 256)) hit.add(page)
      r.code.clear()
      if (n === 1) r.memory.write8(at, value)
      else if (n === 2) r.memory.write16(at, value)
      else r.memory.write32(at, value)
      expect(r.takeLog()).toEqual(calls)
      expect([...r.code].sort()).toEqual([...hit].sort())
    },
    toString: () => `write${n}(0x${at.toString(16)}, 0x${value.toString(16)})`,
  }),
)

const bulk = fc.tuple(address, fc.uint8Array({ minLength: 1, maxLength: 40 })).map(
  ([at, bytes]): Command => ({
    check: always,
    run(m, r) {
      bytes.forEach((byte, i) => {
        m.writeByte(at + i, byte)
      })
      r.memory.writeBytes(at, bytes)
      const target = new Uint8Array(bytes.length)
      r.memory.readBytes(at, target)
      expect([...target]).toEqual([...bytes].map((_, i) => m.readByte(at + i)))
      r.takeLog()
    },
    toString: () => `bulk(0x${at.toString(16)}, ${bytes.length})`,
  }),
)

const toggle = fc.tuple(fc.nat({ max: 4 }), fc.boolean(), fc.boolean()).map(
  ([i, readable, writable]): Command => ({
    check: always,
    run(m, r) {
      // A CPU drops what it decoded when the map changes; so does this test.
      Object.assign(m.layers[i]!, { read: readable, write: writable })
      r.overlays[i]!.setEnabled({ read: readable, write: writable })
      r.memory.clearCodeWatch()
      m.watched.clear()
    },
    toString: () => `toggle(${i}, ${readable}, ${writable})`,
  }),
)

const move = fc
  .tuple(fc.nat({ max: 4 }), fc.constantFrom(0, 0xa1000, 0x300000, GiB4 - 0x1000, GiB4, 2 ** 52 - 0x1000, 2 ** 60))
  .map(
    ([i, base]): Command => ({
      check: always,
      run(m, r) {
        const layer = m.layers[i]!
        layer.base = base + layer.size > 2 ** 52 ? Number.POSITIVE_INFINITY : base
        r.overlays[i]!.move(base)
        r.memory.clearCodeWatch()
        m.watched.clear()
      },
      toString: () => `move(${i}, 0x${base.toString(16)})`,
    }),
  )

const gate = fc.boolean().map(
  (open): Command => ({
    check: always,
    run(m, r) {
      m.a20 = open
      r.memory.a20 = open
      r.memory.clearCodeWatch()
      m.watched.clear()
    },
    toString: () => `a20(${open})`,
  }),
)

const log = fc.constantFrom('start', 'collect', 'stop').map(
  (action): Command => ({
    check: always,
    run(m, r) {
      if (action === 'start') {
        r.memory.startDirtyLog()
        m.logging = true
        m.dirty.clear()
      } else if (action === 'stop') {
        r.memory.stopDirtyLog()
        m.logging = false
        m.dirty.clear()
      } else {
        expect(r.memory.collectDirty()).toEqual([...m.dirty].sort((a, b) => a - b))
        m.dirty.clear()
      }
    },
    toString: () => `dirtyLog(${action})`,
  }),
)

const watch = fc.tuple(pages, fc.boolean()).map(
  ([page, on]): Command => ({
    check: always,
    run(m, r) {
      const code = m.resolve(page * 4096, 'read')
      const whole = r.memory.readOffset(page) >= 0
      if (on) r.memory.setWatch(page, WATCH_CODE)
      else r.memory.clearWatch(page, WATCH_CODE)
      if (!on) m.watched.delete(page)
      else if (code && whole) m.watched.add(page)
    },
    toString: () => `watch(${page}, ${on})`,
  }),
)

const look = pages.map(
  (page): Command => ({
    check: always,
    run(m, r) {
      // Where the map offers direct access, the bytes there are those of the model.
      const offset = r.memory.readOffset(page)
      const kinds = new Set([0, 0x7ff, 0x800, 0xfff].map((o) => m.resolve(page * 4096 + o, 'read')?.kind))
      if (offset >= 0) {
        for (const o of [0, 5, 0xfff]) expect(r.memory.bytes[offset + o]).toBe(m.readByte(page * 4096 + o))
      } else expect([...kinds].some((kind) => kind !== 'ram' && kind !== 'rom')).toBe(true)
      if (r.memory.writeOffset(page) >= 0) expect(m.resolve(page * 4096, 'write')?.kind).toBe('ram')
      // A page that a store may bypass is neither watched nor waiting in the dirty log.
      const target = m.resolve(page * 4096, 'write')
      if (r.memory.writeOffset(page) >= 0 && r.memory.watch(page) === 0 && target?.kind === 'ram') {
        const home = Math.floor(target.at / 4096)
        expect(!m.logging || m.dirty.has(home)).toBe(true)
        for (const w of m.watched) {
          const code = m.resolve(w * 4096, 'read')
          expect(code?.kind === 'ram' && Math.floor(code.at / 4096) === home).toBe(false)
        }
      }
    },
    toString: () => `look(${page})`,
  }),
)

const save = fc.constant<Command>({
  check: always,
  run(m, r) {
    const state = r.memory.saveState()
    r.memory.loadState(state)
    m.watched.clear()
    const again = r.memory.saveState()
    // Contents are compared as a whole: a deep comparison of typed arrays takes most of the test's time.
    expect(
      Buffer.compare(Buffer.concat(again.chunks.map((c) => c.bytes)), Buffer.concat(state.chunks.map((c) => c.bytes))),
    ).toBe(0)
    const outline = (s: AddressSpaceState) => ({ ...s, chunks: s.chunks.map((c) => [c.address, c.bytes.length]) })
    expect(outline(again)).toEqual(outline(state))
  },
  toString: () => 'save',
})

describe('AddressSpace against a map of bytes', () => {
  it('behaves alike under any sequence of accesses and changes', () => {
    const commands = fc.commands([read, write, read, write, bulk, toggle, move, gate, log, watch, look, save], {
      maxCommands: 60,
      size: 'max',
    })
    fc.assert(
      fc.property(commands, (list) => fc.modelRun(setup, list)),
      { numRuns: runs(120) },
    )
  })
})
