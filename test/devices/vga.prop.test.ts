import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PortSize } from '../../src/contracts/index.js'
import { Vga } from '../../src/devices/vga.js'
import { ManualClock } from '../manual-clock.js'
import { runs } from '../runs.js'
import { expectSamePicture, expectSameState } from './vga-tools.js'

const access = fc.record({
  where: fc.constantFrom('port', 'port', 'indexed', 'window', 'lfb', 'dispi', 'dispi', 'time'),
  offset: fc.nat({ max: 0x3ffff }),
  size: fc.constantFrom<PortSize>(1, 2, 4),
  // Registers matter most at their ends.
  value: fc.oneof(fc.nat({ max: 0xffffffff }), fc.nat({ max: 0xff }), fc.constant(0xffffffff), fc.constant(0)),
  write: fc.boolean(),
})

describe('VGA under random accesses', () => {
  it('never throws, answers within the access width, draws what it announces, and saves all of its state', () => {
    const memory = new Uint8Array(0x40000)
    const otherMemory = new Uint8Array(0x40000)
    fc.assert(
      fc.property(fc.boolean(), fc.array(access, { maxLength: 120 }), (font, accesses) => {
        const clock = new ManualClock()
        const vga = new Vga({ memory, clock, font })
        for (const { where, offset, size, value, write } of accesses) {
          const limit = 2 ** (8 * size)
          const sized = value % limit
          let read = 0
          if (where === 'time') clock.advance(value)
          else if (where === 'port') {
            if (write) vga.writePort(offset % 0x30, size, sized)
            else read = vga.readPort(offset % 0x30, size)
          } else if (where === 'indexed') {
            const port = [0x14, 0x1e, 0x24][offset % 3]!
            vga.writePort(port, 2, ((value & 0xff) << 8) | ((offset >> 2) % 0x19))
          } else if (where === 'window') {
            if (write) vga.window.writeMmio(offset % 0x20000, size, sized)
            else read = vga.window.readMmio(offset % 0x20000, size)
          } else if (where === 'lfb') {
            if (write) vga.framebuffer.writeMmio(offset, size, sized)
            else read = vga.framebuffer.readMmio(offset, size)
          } else if (write) {
            vga.dispiPorts.writePort(0, 2, offset % 12)
            vga.dispiPorts.writePort(1, 2, value & 0xffff)
          } else read = vga.dispiPorts.readPort(offset % 3, size)
          expect(read >= 0 && read < limit).toBe(true)
        }
        // Drawing the largest pictures takes most of the time and shows nothing new.
        if (vga.mode.width * vga.mode.height > 1e6) return
        const { width, height, data } = vga.render()
        expect(data.length).toBe(width * height * 4)
        expect([vga.mode.width, vga.mode.height]).toEqual([width, height])
        const rows = vga.textScreen()
        if (vga.mode.kind === 'graphics') expect(rows).toEqual([])
        const other = new Vga({ memory: otherMemory, clock })
        const state = vga.saveState()
        other.loadState(state)
        expectSameState(other.saveState(), state)
        expectSamePicture(other, vga)
      }),
      { numRuns: runs(60) },
    )
  })
})
