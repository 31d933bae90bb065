import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MmioDevice, PortDevice, PortSize } from '../../src/contracts/bus.js'
import { VirtkitError } from '../../src/contracts/errors.js'
import { MmioBus } from '../../src/io/mmio-bus.js'
import { PortBus } from '../../src/io/port-bus.js'
import { runs } from '../runs.js'

/** Storage that notes the widths it is touched with. */
class Store implements PortDevice, MmioDevice {
  readonly bytes: Uint8Array
  readonly widths = new Set<number>()
  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }
  readPort(offset: number, size: PortSize): number {
    this.widths.add(size)
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.bytes[offset + i]!
    return value
  }
  writePort(offset: number, size: PortSize, value: number): void {
    this.widths.add(size)
    expect(offset + size).toBeLessThanOrEqual(this.bytes.length)
    for (let i = 0; i < size; i++) this.bytes[offset + i] = value / 256 ** i
  }
  readMmio(offset: number, size: PortSize): number {
    return this.readPort(offset, size)
  }
  writeMmio(offset: number, size: PortSize, value: number): void {
    this.writePort(offset, size, value)
  }
}

interface Range {
  base: number
  count: number
  store: Store
}

/** Byte by byte: who owns it, and what it holds. */
class Model {
  ranges: Range[] = []
  owner(address: number): Range | undefined {
    return this.ranges.find((r) => address >= r.base && address < r.base + r.count)
  }
}

interface Bus {
  register(base: number, count: number, device: Store, options: { sizes: PortSize[] }): void
  remove(base: number, count: number): void
  read(address: number, size: PortSize): number
  write(address: number, size: PortSize, value: number): void
}

type Op =
  | { readonly kind: 'register'; readonly base: number; readonly count: number; readonly sizes: PortSize[] }
  | { readonly kind: 'remove'; readonly which: number }
  | { readonly kind: 'read' | 'write'; readonly at: number; readonly size: PortSize; readonly value: number }

const size = fc.constantFrom<PortSize>(1, 2, 4)

function opsAround(first: number): fc.Arbitrary<Op[]> {
  const at = fc.integer({ min: first, max: first + 31 })
  return fc.array(
    fc.oneof(
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('register' as const),
          base: at,
          count: fc.integer({ min: 0, max: 10 }),
          sizes: fc.constantFrom<PortSize[]>([1], [1, 2], [1, 2, 4], [1, 4]),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: fc.nat(5) }) },
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constantFrom('read' as const, 'write' as const),
          at,
          size,
          value: fc.integer({ min: 0, max: 0xffffffff }),
        }),
      },
    ),
    { maxLength: 60, size: 'max' },
  )
}

function check(bus: Bus, limit: number, ops: readonly Op[]): void {
  const model = new Model()
  const bytes = new Map<number, number>()
  for (const op of ops) {
    if (op.kind === 'register') {
      const store = new Store(op.count)
      let expected: string | undefined
      if (op.count === 0 || op.base + op.count > limit) expected = 'bad-range'
      else for (let i = 0; i < op.count; i++) if (model.owner(op.base + i) !== undefined) expected = 'overlap'
      let code: string | undefined
      try {
        bus.register(op.base, op.count, store, { sizes: op.sizes })
      } catch (error) {
        code = error instanceof VirtkitError ? error.code : 'another error'
      }
      expect(code).toBe(expected)
      if (code === undefined) {
        model.ranges.push({ base: op.base, count: op.count, store })
        for (let i = 0; i < op.count; i++) bytes.set(op.base + i, 0)
      }
    } else if (op.kind === 'remove') {
      const range = model.ranges[op.which]
      if (range === undefined) continue
      bus.remove(range.base, range.count)
      model.ranges.splice(op.which, 1)
      for (let i = 0; i < range.count; i++) bytes.delete(range.base + i)
    } else if (op.kind === 'read') {
      let expected = 0
      for (let i = op.size - 1; i >= 0; i--) expected = expected * 256 + (bytes.get(op.at + i) ?? 0xff)
      expect(bus.read(op.at, op.size)).toBe(expected)
    } else {
      bus.write(op.at, op.size, op.value)
      for (let i = 0; i < op.size; i++)
        if (bytes.has(op.at + i)) bytes.set(op.at + i, Math.floor(op.value / 256 ** i) % 256)
      for (const range of model.ranges)
        for (let i = 0; i < range.count; i++) expect(range.store.bytes[i]).toBe(bytes.get(range.base + i))
    }
  }
}

for (const first of [0, 0x3f0, 0xffe0])
  test(`ports from 0x${first.toString(16)} are bytes, whatever the widths`, () => {
    fc.assert(
      fc.property(opsAround(first), (ops) => check(new PortBus(), 0x10000, ops)),
      { numRuns: runs(60) },
    )
  })

for (const first of [0, 0xfffffff0, 2 ** 52 - 32])
  test(`memory windows from ${first} are bytes, whatever the widths`, () => {
    fc.assert(
      fc.property(opsAround(first), (ops) => check(new MmioBus(), 2 ** 52, ops)),
      { numRuns: runs(60) },
    )
  })
