import { expect } from 'vitest'
import type { Vga, VgaState } from '../../src/devices/vga.js'
import type { VgaModeRegisters } from '../../src/devices/vga-modes.js'
import { VGA_PORT_BASE } from '../../src/devices/vga-registers.js'

export function out(vga: Vga, port: number, value: number): void {
  vga.writePort(port - VGA_PORT_BASE, 1, value)
}

export function inb(vga: Vga, port: number): number {
  return vga.readPort(port - VGA_PORT_BASE, 1)
}

/** Writes an indexed register: sequencer, graphics controller or CRTC. */
export function outIndexed(vga: Vga, port: number, index: number, value: number): void {
  out(vga, port, index)
  out(vga, port + 1, value)
}

export function inIndexed(vga: Vga, port: number, index: number): number {
  out(vga, port, index)
  return inb(vga, port + 1)
}

export function outAttribute(vga: Vga, index: number, value: number): void {
  inb(vga, 0x3da)
  inb(vga, 0x3ba)
  out(vga, 0x3c0, index)
  out(vga, 0x3c0, value)
}

export function setColor(vga: Vga, index: number, red: number, green: number, blue: number): void {
  out(vga, 0x3c8, index)
  for (const component of [red, green, blue]) out(vga, 0x3c9, component)
}

/** Programs a mode through the ports, as a video BIOS does. */
export function setMode(vga: Vga, mode: VgaModeRegisters): void {
  out(vga, 0x3c2, mode.misc)
  mode.sequencer.forEach((value, i) => {
    outIndexed(vga, 0x3c4, i, value)
  })
  outIndexed(vga, 0x3d4, 0x11, mode.crtc[0x11]! & 0x7f)
  mode.crtc.forEach((value, i) => {
    outIndexed(vga, 0x3d4, i, value)
  })
  mode.graphics.forEach((value, i) => {
    outIndexed(vga, 0x3ce, i, value)
  })
  mode.attribute.forEach((value, i) => {
    outAttribute(vga, i, value)
  })
  out(vga, 0x3c0, 0x20)
}

const IDENTITY = Array.from({ length: 16 }, (_, i) => i)

/** Register values of the standard modes, as documented for the IBM VGA BIOS. */
export const MODES = {
  text40: {
    misc: 0x67,
    sequencer: [0x03, 0x08, 0x03, 0x00, 0x02],
    crtc: [
      ...[0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00],
      ...[0x9c, 0x8e, 0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff],
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff],
    attribute: [...IDENTITY, 0x0c, 0x00, 0x0f, 0x08, 0x00],
  },
  /** 320 × 200, four colours, two banks of lines. */
  cga4: {
    misc: 0x63,
    sequencer: [0x03, 0x09, 0x03, 0x00, 0x02],
    crtc: [
      ...[0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
      ...[0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff],
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x00, 0xff],
    attribute: [...IDENTITY, 0x01, 0x00, 0x03, 0x00, 0x00],
  },
  /** 640 × 200, two colours. */
  cga2: {
    misc: 0x63,
    sequencer: [0x03, 0x01, 0x01, 0x00, 0x06],
    crtc: [
      ...[0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
      ...[0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff],
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x00, 0xff],
    attribute: [...IDENTITY, 0x01, 0x00, 0x01, 0x00, 0x00],
  },
  /** 640 × 480, sixteen colours. */
  planar: {
    misc: 0xe3,
    sequencer: [0x03, 0x01, 0x0f, 0x00, 0x06],
    crtc: [
      ...[0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
      ...[0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff],
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff],
    attribute: [...IDENTITY, 0x01, 0x00, 0x0f, 0x00, 0x00],
  },
  /** 320 × 200, 256 colours. */
  mode13: {
    misc: 0x63,
    sequencer: [0x03, 0x01, 0x0f, 0x00, 0x0e],
    crtc: [
      ...[0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
      ...[0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff],
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff],
    attribute: [...IDENTITY, 0x41, 0x00, 0x0f, 0x00, 0x00],
  },
} satisfies Record<string, VgaModeRegisters>

/** Expects two saved states to be the same; large arrays are compared as a whole, which is much faster. */
export function expectSameState(actual: VgaState, expected: VgaState): void {
  expect({ ...actual, memory: undefined }).toEqual({ ...expected, memory: undefined })
  expect(Buffer.compare(actual.memory, expected.memory)).toBe(0)
}

/** Expects two VGAs to show the same picture. */
export function expectSamePicture(actual: Vga, expected: Vga): void {
  const [a, b] = [actual.render(), expected.render()]
  expect([a.width, a.height]).toEqual([b.width, b.height])
  const bytes = (data: Uint8ClampedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.length)
  expect(Buffer.compare(bytes(a.data), bytes(b.data))).toBe(0)
}
