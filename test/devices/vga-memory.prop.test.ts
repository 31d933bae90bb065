import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MmioSize } from '../../src/contracts/index.js'
import { Vga } from '../../src/devices/vga.js'
import { runs } from '../runs.js'
import { out, outIndexed } from './vga-tools.js'

/**
 * The memory of a VGA bit by bit, written from the register descriptions: four separate planes, and for each bit of each
 * plane what the data path would put there.
 */
class Reference {
  readonly planes = [0, 1, 2, 3].map(() => new Uint8Array(0x10000))
  latch = [0, 0, 0, 0]
  gfx: number[] = new Array(9).fill(0)
  seq: number[] = new Array(5).fill(0)
  misc = 0

  #decode(offset: number): { chosen: number[]; plane: number; address: number } | undefined {
    const map = (this.gfx[6]! >> 2) & 3
    const [base, size] = [
      [0, 0x20000],
      [0, 0x10000],
      [0x10000, 0x8000],
      [0x18000, 0x8000],
    ][map]!
    if ((this.misc & 2) === 0 || offset < base! || offset >= base! + size!) return undefined
    const at = offset - base!
    let address = at
    let chosen = [0, 1, 2, 3]
    let plane = this.gfx[4]!
    if (this.seq[4]! & 8) {
      chosen = [at % 4]
      plane = at % 4
      address = (at % 0x10000) - (at % 4) + (Math.floor(at / 0x4000) % 4)
    } else {
      if (!(this.seq[4]! & 4)) chosen = at % 2 === 0 ? [0, 2] : [1, 3]
      if (this.gfx[5]! & 0x10) plane = (plane & 2) + (at % 2)
      if (this.gfx[6]! & 2) {
        const high = map === 0 ? (at >= 0x10000 ? 1 : 0) : this.misc & 0x20 ? 0 : 1
        address = at - (at % 2) + high
      }
    }
    return { chosen, plane, address: address % (this.seq[4]! & 2 ? 0x10000 : 0x4000) }
  }

  read(offset: number): number {
    const target = this.#decode(offset)
    if (target === undefined) return 0xff
    this.latch = this.planes.map((plane) => plane[target.address]!)
    if (!(this.gfx[5]! & 8)) return this.latch[target.plane]!
    let result = 0
    for (let bit = 0; bit < 8; bit++) {
      const matches = [0, 1, 2, 3].every(
        (p) => !((this.gfx[7]! >> p) & 1) || ((this.latch[p]! >> bit) & 1) === ((this.gfx[2]! >> p) & 1),
      )
      if (matches) result |= 1 << bit
    }
    return result
  }

  write(offset: number, value: number): void {
    const target = this.#decode(offset)
    if (target === undefined) return
    const mode = this.gfx[5]! & 3
    const rotate = this.gfx[3]! & 7
    for (const p of target.chosen) {
      if (!((this.seq[2]! >> p) & 1)) continue
      let byte = 0
      for (let bit = 0; bit < 8; bit++) {
        const latch = (this.latch[p]! >> bit) & 1
        const rotated = (value >> ((bit + rotate) % 8)) & 1
        const setReset = (this.gfx[0]! >> p) & 1
        let source: number
        let masked = ((this.gfx[8]! >> bit) & 1) === 1
        if (mode === 0) source = (this.gfx[1]! >> p) & 1 ? setReset : rotated
        else if (mode === 2) source = (value >> p) & 1
        else source = setReset
        if (mode === 3) masked = masked && rotated === 1
        const combined = [source, source & latch, source | latch, source ^ latch][(this.gfx[3]! >> 3) & 3]!
        const result = mode === 1 ? latch : masked ? combined : latch
        byte |= result << bit
      }
      this.planes[p]![target.address] = byte
    }
  }
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant('access' as const),
    write: fc.boolean(),
    // Few addresses, so that accesses meet.
    offset: fc
      .tuple(
        fc.constantFrom(0, 0x3ffc, 0x4000, 0x8000, 0xfffc, 0x10000, 0x17ffe, 0x18000, 0x1fffc),
        fc.integer({ min: 0, max: 7 }),
      )
      .map(([base, low]) => Math.min(base + low, 0x1ffff)),
    size: fc.constantFrom<MmioSize>(1, 2, 4),
    value: fc.nat({ max: 0xffffffff }),
  }),
  fc.record({
    kind: fc.constant('gfx' as const),
    index: fc.integer({ min: 0, max: 8 }),
    value: fc.integer({ min: 0, max: 0xff }),
  }),
  fc.record({
    kind: fc.constant('seq' as const),
    index: fc.constantFrom(2, 4),
    value: fc.integer({ min: 0, max: 0xff }),
  }),
  fc.record({ kind: fc.constant('misc' as const), value: fc.constantFrom(0x63, 0x43, 0x67, 0x61) }),
)

describe('VGA memory', () => {
  it('is what the four write modes, two read modes and all mappings say', () => {
    const bytes = new Uint8Array(0x40000)
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        bytes.fill(0)
        const vga = new Vga({ memory: bytes })
        const reference = new Reference()
        const gfxMasks = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff]
        const gfx = (index: number, value: number): void => {
          outIndexed(vga, 0x3ce, index, value)
          reference.gfx[index] = value & gfxMasks[index]!
        }
        const seq = (index: number, value: number): void => {
          outIndexed(vga, 0x3c4, index, value)
          reference.seq[index] = value & (index === 2 ? 0x0f : 0x0e)
        }
        const misc = (value: number): void => {
          out(vga, 0x3c2, value)
          reference.misc = value
        }
        misc(0x63)
        seq(2, 0x0f)
        seq(4, 0x06)
        gfx(8, 0xff)
        for (const s of steps) {
          if (s.kind === 'gfx') gfx(s.index, s.value)
          else if (s.kind === 'seq') seq(s.index, s.value)
          else if (s.kind === 'misc') misc(s.value)
          else if (s.write) {
            vga.window.writeMmio(s.offset, s.size, s.value)
            for (let i = 0; i < s.size; i++) reference.write(s.offset + i, (s.value >>> (8 * i)) & 0xff)
          } else {
            let expected = 0
            for (let i = 0; i < s.size; i++) expected += reference.read(s.offset + i) * 2 ** (8 * i)
            expect(vga.window.readMmio(s.offset, s.size)).toBe(expected)
          }
        }
        for (let p = 0; p < 4; p++) {
          for (const near of [0, 0x3ff8, 0x7ff8, 0x8000, 0xfff8]) {
            for (let a = near; a < near + 12 && a < 0x10000; a++) expect(bytes[a * 4 + p]).toBe(reference.planes[p]![a])
          }
        }
        let sum = 0
        let expectedSum = 0
        for (const byte of bytes) sum += byte
        for (const plane of reference.planes) for (const byte of plane) expectedSum += byte
        expect(sum).toBe(expectedSum)
      }),
      { numRuns: runs(100) },
    )
  })
})
