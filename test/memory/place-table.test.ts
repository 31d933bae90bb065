/** The table of places says what the address space says. */

import { describe, expect, it } from 'vitest'
import { AddressSpace, PLACE_WRITE, placeTableRoom, WATCH_CODE, WATCH_DIRTY } from '../../src/memory/index.js'

/** Whether every word and every watch byte of the table agrees with the address space's answers. */
function agrees(space: AddressSpace): boolean {
  const { places } = space
  if (!places) return false
  const words = new Int32Array(space.bytes.buffer, places.offset, places.pages)
  return words.every((word, page) => {
    const reads = space.readOffset(page)
    if (reads < 0) return word === 0
    const direct = space.writeOffset(page) === reads
    if (word === 0 || (word & ~0xfff) >>> 0 !== reads || ((word & PLACE_WRITE) !== 0) !== direct) return false
    return !direct || space.bytes[places.watchOffset + reads / 4096] === space.watch(page)
  })
}

describe('the table of places', () => {
  it('follows RAM, ROM, devices, aliases and overlays', () => {
    const space = new AddressSpace({ size: 0x100000, placeTable: true })
    expect(agrees(space)).toBe(true)
    space.addRom(0x110000, new Uint8Array(0x2000))
    space.addMmio(0x100800, 4, { readMmio: () => 0, writeMmio: () => {} })
    space.addAlias(0x120000, 0x4000, 0x8000)
    expect(agrees(space)).toBe(true)
    const shadow = space.addOverlay({ base: 0xc000, size: 0x2000, rom: new Uint8Array(0x2000), write: false })
    const window = space.addOverlay({ base: 0x5000, size: 0x1000, device: { readMmio: () => 0, writeMmio: () => {} } })
    expect(agrees(space)).toBe(true)
    shadow.setEnabled({ read: false })
    window.move(0x9000)
    expect(agrees(space)).toBe(true)
    window.move(2 ** 51)
    shadow.remove()
    expect(agrees(space)).toBe(true)
  })

  it('holds the watch bits themselves', () => {
    const space = new AddressSpace({ size: 0x10000, placeTable: true })
    space.setWatch(3, WATCH_CODE)
    space.startDirtyLog()
    space.write8(0x4000, 1)
    expect(agrees(space)).toBe(true)
    expect(space.watch(3)).toBe(WATCH_CODE | WATCH_DIRTY)
    expect(space.watch(4)).toBe(0)
    space.loadState(space.saveState())
    expect(agrees(space)).toBe(true)
  })

  it('fits into the room that is reckoned for it', () => {
    for (const other of [0x10000, 0x123000, 0x4000000, 0x7ff0000]) {
      const buffer = new ArrayBuffer(other + placeTableRoom(other))
      const space = new AddressSpace({ buffer, placeTable: true })
      space.addRam(0, other)
      expect(agrees(space)).toBe(true)
    }
  })

  it('is not there unless asked for', () => {
    expect(new AddressSpace({ size: 0x1000 }).places).toBeUndefined()
  })
})
