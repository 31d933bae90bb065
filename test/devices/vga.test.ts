import { describe, expect, it } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { PciBus } from '../../src/devices/pci.js'
import { Vga } from '../../src/devices/vga.js'
import { VGA_FONT_HEIGHT, vgaFont } from '../../src/devices/vga-font.js'
import { VGA_MODE_3 } from '../../src/devices/vga-modes.js'
import { VgaFunction } from '../../src/devices/vga-pci.js'
import {
  CRTC_PROTECT,
  CRTC_V_RETRACE_END,
  STATUS1_DISABLED,
  STATUS1_V_RETRACE,
} from '../../src/devices/vga-registers.js'
import { ManualClock } from '../manual-clock.js'
import {
  expectSamePicture,
  expectSameState,
  inb,
  inIndexed,
  MODES,
  out,
  outAttribute,
  outIndexed,
  setColor,
  setMode,
} from './vga-tools.js'

function vgaIn(mode = VGA_MODE_3, clock = new ManualClock()): Vga {
  const vga = new Vga({ memory: new Uint8Array(0x40000), clock })
  setMode(vga, mode)
  return vga
}

describe('VGA registers', () => {
  it('protects CRTC 0–7 but for line compare', () => {
    const vga = vgaIn()
    expect(inIndexed(vga, 0x3d4, CRTC_V_RETRACE_END) & CRTC_PROTECT).toBe(CRTC_PROTECT)
    outIndexed(vga, 0x3d4, 0, 0x12)
    outIndexed(vga, 0x3d4, 7, 0x00)
    expect([inIndexed(vga, 0x3d4, 0), inIndexed(vga, 0x3d4, 7)]).toEqual([0x5f, 0x0f])
    outIndexed(vga, 0x3d4, CRTC_V_RETRACE_END, 0x0e)
    outIndexed(vga, 0x3d4, 0, 0x12)
    expect(inIndexed(vga, 0x3d4, 0)).toBe(0x12)
  })

  it('decodes the CRTC at one of its two places', () => {
    const vga = vgaIn()
    expect([inb(vga, 0x3b4), inb(vga, 0x3ba)]).toEqual([0xff, 0xff])
    out(vga, 0x3c2, 0x66)
    expect(inb(vga, 0x3d4)).toBe(0xff)
    outIndexed(vga, 0x3b4, 0x0f, 0x77)
    expect(inIndexed(vga, 0x3b4, 0x0f)).toBe(0x77)
    expect(inb(vga, 0x3cc)).toBe(0x66)
  })

  it('takes index and data in one word', () => {
    const vga = vgaIn()
    vga.writePort(0x3c4 - 0x3b0, 2, 0x0502)
    expect(inIndexed(vga, 0x3c4, 2)).toBe(0x05)
    expect(vga.readPort(0x3c4 - 0x3b0, 2)).toBe(0x0502)
  })

  it('drops bits that do not exist', () => {
    const vga = vgaIn()
    outIndexed(vga, 0x3ce, 5, 0xff)
    outIndexed(vga, 0x3c4, 2, 0xff)
    outIndexed(vga, 0x3ce, 0x55, 0xff)
    outAttribute(vga, 0x13, 0xff)
    expect([inIndexed(vga, 0x3ce, 5), inIndexed(vga, 0x3c4, 2), inIndexed(vga, 0x3ce, 0x55)]).toEqual([0x7b, 0x0f, 0])
    out(vga, 0x3c0, 0x33)
    expect(inb(vga, 0x3c1)).toBe(0x0f)
  })

  it('toggles between attribute index and data, and resets that with input status 1', () => {
    const vga = vgaIn()
    inb(vga, 0x3da)
    out(vga, 0x3c0, 0x21)
    expect(inIndexed(vga, 0x3d4, 0x24)).toBe(0x80)
    inb(vga, 0x3da)
    expect(inIndexed(vga, 0x3d4, 0x24)).toBe(0)
    out(vga, 0x3c0, 0x22)
    out(vga, 0x3c0, 0x15)
    expect([inb(vga, 0x3c0), inb(vga, 0x3c1), inIndexed(vga, 0x3d4, 0x26)]).toEqual([0x22, 0x15, 0x22])
  })

  it('has a DAC whose address register moves on by itself', () => {
    const vga = vgaIn()
    out(vga, 0x3c8, 0xfe)
    for (const value of [1, 2, 0xff, 4, 5, 6, 7, 8, 9]) out(vga, 0x3c9, value)
    expect([inb(vga, 0x3c7), inb(vga, 0x3c8)]).toEqual([0, 1])
    out(vga, 0x3c7, 0xff)
    expect([inb(vga, 0x3c7), inb(vga, 0x3c8)]).toEqual([3, 0])
    expect(Array.from({ length: 6 }, () => inb(vga, 0x3c9))).toEqual([4, 5, 6, 7, 8, 9])
    out(vga, 0x3c7, 0xfe)
    expect(Array.from({ length: 3 }, () => inb(vga, 0x3c9))).toEqual([1, 2, 0x3f])
  })

  it('changes a colour only with its third component', () => {
    const vga = vgaIn()
    setColor(vga, 5, 1, 2, 3)
    out(vga, 0x3c8, 5)
    out(vga, 0x3c9, 0x3f)
    out(vga, 0x3c9, 0x3f)
    out(vga, 0x3c7, 5)
    expect([inb(vga, 0x3c9), inb(vga, 0x3c9), inb(vga, 0x3c9)]).toEqual([1, 2, 3])
  })

  it('answers to nothing but its enable port while disabled', () => {
    const vga = vgaIn()
    out(vga, 0x3c3, 0)
    expect([inb(vga, 0x3c4), inb(vga, 0x3c3), vga.window.readMmio(0x18000, 1)]).toEqual([0xff, 0, 0xff])
    out(vga, 0x3c3, 1)
    expect(inb(vga, 0x3c4)).toBe(inb(vga, 0x3c4))
    expect(inb(vga, 0x3cc)).toBe(0x67)
  })
})

describe('VGA timing', () => {
  // Mode 3: 100 character clocks of 9 dots, 449 lines; 400 lines shown, retrace on 412 and 413.
  const line = (900 * 1000) / 28.322

  it('shows display enable and vertical retrace by the clock', () => {
    const clock = new ManualClock()
    const vga = vgaIn(VGA_MODE_3, clock)
    const at = (lines: number): number => {
      clock.advanceTo(lines * line)
      return inb(vga, 0x3da) & (STATUS1_DISABLED | STATUS1_V_RETRACE)
    }
    expect(at(0.1)).toBe(0)
    expect(at(0.9)).toBe(STATUS1_DISABLED)
    expect(at(399.1)).toBe(0)
    expect(at(400.1)).toBe(STATUS1_DISABLED)
    expect(at(411.5)).toBe(STATUS1_DISABLED)
    expect(at(412.5)).toBe(STATUS1_DISABLED | STATUS1_V_RETRACE)
    expect(at(413.5)).toBe(STATUS1_DISABLED | STATUS1_V_RETRACE)
    expect(at(414.5)).toBe(STATUS1_DISABLED)
    expect(at(449.1)).toBe(0)
    // 28.322 MHz over 900 × 449 dots: 70.09 frames a second.
    expect(1e9 / (line * 449)).toBeCloseTo(70.09, 1)
  })

  it('latches the vertical interrupt until it is cleared', () => {
    const clock = new ManualClock()
    const vga = vgaIn(VGA_MODE_3, clock)
    const pending = (): number => inb(vga, 0x3c2) & 0x80
    outIndexed(vga, 0x3d4, 0x11, 0x8e)
    clock.advance(460 * line)
    expect(pending()).toBe(0)
    outIndexed(vga, 0x3d4, 0x11, 0x9e)
    expect(pending()).toBe(0)
    clock.advance(449 * line)
    expect(pending()).toBe(0x80)
    outIndexed(vga, 0x3d4, 0x11, 0xbe)
    expect(pending()).toBe(0)
    outIndexed(vga, 0x3d4, 0x11, 0x8e)
    outIndexed(vga, 0x3d4, 0x11, 0x9e)
    expect(pending()).toBe(0)
  })

  it('lets time pass by itself without a clock', () => {
    const vga = new Vga({ memory: new Uint8Array(0x40000), font: true })
    const seen = new Set<number>()
    for (let i = 0; i < 20000; i++) seen.add(inb(vga, 0x3da) & 9)
    expect([...seen].sort()).toEqual([0, 1, 9])
  })
})

describe('Bochs display interface', () => {
  const io = (vga: Vga) => ({
    get: (index: number): number => {
      vga.dispiPorts.writePort(0, 2, index)
      return vga.dispiPorts.readPort(1, 2)
    },
    set: (index: number, value: number): void => {
      vga.dispiPorts.writePort(0, 2, index)
      vga.dispiPorts.writePort(1, 2, value)
    },
  })

  it('negotiates its version and tells its limits', () => {
    const { get, set } = io(new Vga())
    expect(get(0)).toBe(0xb0c5)
    set(0, 0xb0c2)
    expect(get(0)).toBe(0xb0c2)
    set(0, 0xb0c6)
    expect(get(0)).toBe(0xb0c2)
    expect(get(10)).toBe(256)
    set(4, 2)
    expect([get(1), get(2), get(3)]).toEqual([2560, 1600, 32])
  })

  it('keeps what it is asked within memory', () => {
    const vga = new Vga({ memory: new Uint8Array(0x100000) })
    const { get, set } = io(vga)
    set(1, 1024)
    set(2, 768)
    set(3, 32)
    set(4, 0x41)
    expect([get(1), get(2), get(6), get(7)]).toEqual([1024, 256, 1024, 256])
    set(9, 1)
    expect(get(9)).toBe(0)
    set(6, 0xffff)
    expect(vga.render().height * get(6) * 4).toBeLessThanOrEqual(0x100000)
    set(4, 0)
    expect(vga.mode.extended).toBe(false)
  })

  it('mirrors its geometry in the VGA registers', () => {
    const vga = new Vga()
    setMode(vga, MODES.planar)
    const { set } = io(vga)
    set(1, 800)
    set(2, 600)
    set(3, 8)
    set(4, 0x41)
    expect(vga.registers.visibleCharacters).toBe(100)
    expect(vga.registers.verticalDisplayEnd).toBe(599)
    expect(inIndexed(vga, 0x3c4, 4) & 8).toBe(8)
  })
})

describe('VGA as PCI function', () => {
  it('places framebuffer and registers where its BARs say', () => {
    const calls: string[] = []
    const vga = new Vga()
    const placer = {
      place: (window: string, base: number) => void calls.push(`${window} ${base.toString(16)}`),
      remove: (window: string) => void calls.push(`-${window}`),
    }
    const card = new VgaFunction(vga, placer, 0x10000)
    const bus = new PciBus()
    bus.add(2, 0, card)
    expect(card.readConfig(0, 4)).toBe(0x11111234)
    expect(card.readConfig(8, 4)).toBe(0x03000002)
    card.writeConfig(0x10, 4, 0xffffffff)
    card.writeConfig(0x18, 4, 0xffffffff)
    expect([card.readConfig(0x10, 4), card.readConfig(0x18, 4)]).toEqual([0xff000008, 0xfffff000])
    card.writeConfig(0x10, 4, 0xfd000000)
    card.writeConfig(0x18, 4, 0xfebf0000)
    card.writeConfig(4, 2, 2)
    expect(calls).toEqual(['framebuffer fd000000', 'registers febf0000'])
    card.writeConfig(4, 2, 0)
    expect(calls.slice(2).sort()).toEqual(['-framebuffer', '-registers'])
  })

  it('offers ports and display interface in memory', () => {
    const vga = new Vga({ font: true })
    const { mmio } = new VgaFunction(vga, { place() {}, remove() {} })
    expect(mmio.readMmio(0x40c, 1)).toBe(0x67)
    mmio.writeMmio(0x404, 2, 0x0302)
    expect(inIndexed(vga, 0x3c4, 2)).toBe(3)
    expect([mmio.readMmio(0x500, 2), mmio.readMmio(0x514, 2)]).toEqual([0xb0c5, 256])
    mmio.writeMmio(0x502, 2, 640)
    expect(mmio.readMmio(0x502, 2)).toBe(640)
    expect([mmio.readMmio(0x600, 4), mmio.readMmio(0x604, 4)]).toEqual([8, 0x1e1e1e1e])
  })
})

describe('VGA state', () => {
  it('survives a round trip with its picture', () => {
    const clock = new ManualClock()
    const vga = new Vga({ memory: new Uint8Array(0x40000), clock, font: true })
    vga.window.writeMmio(0x18000, 4, 0x1e421e41)
    outIndexed(vga, 0x3d4, 0x0e, 1)
    out(vga, 0x3c8, 9)
    out(vga, 0x3c9, 9)
    const other = new Vga({ memory: new Uint8Array(0x40000), clock })
    const state = vga.saveState()
    other.loadState(structuredClone(state))
    expectSameState(other.saveState(), state)
    expectSamePicture(other, vga)
    expect(other.textScreen()).toEqual(vga.textScreen())
  })

  it('refuses damaged state without changing anything', () => {
    const vga = new Vga({ memory: new Uint8Array(0x40000), font: true })
    const good = vga.saveState()
    const dispi = [...good.dispi]
    dispi[4] = 1
    for (const bad of [
      { ...good, version: 2 },
      { ...good, crtc: new Uint8Array(3) },
      { ...good, graphics: new Uint8Array(9).fill(0xff) },
      { ...good, dac: [0, 0, 3, 0, 0, 0, 0] },
      { ...good, dispi },
      { ...good, memory: new Uint8Array(0x40001) },
      { ...good, flipFlop: 1 },
    ]) {
      expect(() => vga.loadState(bad as never)).toThrow(VirtkitError)
      expectSameState(vga.saveState(), good)
    }
  })

  it('rejects memory of a wrong size', () => {
    for (const size of [0, 0x20000, 0x50000]) {
      expect(() => new Vga({ memory: new Uint8Array(size) })).toThrow(/power of two/)
    }
    expect(() => new Vga({ memory: new Uint8Array(new ArrayBuffer(0x40002), 2, 0x40000) })).toThrow(/aligned/)
  })
})

describe('the font', () => {
  it('has a different glyph for every printable ASCII character, inside the cell', () => {
    const font = vgaFont()
    const glyph = (code: number): string => font.slice(code * VGA_FONT_HEIGHT, (code + 1) * VGA_FONT_HEIGHT).join()
    const seen = new Set<string>()
    for (let code = 0x20; code < 0x7f; code++) seen.add(glyph(code))
    expect(seen.size).toBe(95)
    // The last column is free, so that characters do not touch with eight dots.
    for (let code = 0x21; code < 0x7f; code++) {
      for (let row = 0; row < 16; row++) {
        if (code !== 0x5f) expect(font[code * 16 + row]! & 1, String.fromCharCode(code)).toBe(0)
      }
    }
  })
})
