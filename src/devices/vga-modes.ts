import type { VgaDac } from './vga-dac.js'
import type { VgaRegisters } from './vga-registers.js'

/** Register values of a mode, in the order of their indices. */
export interface VgaModeRegisters {
  readonly misc: number
  readonly sequencer: readonly number[]
  readonly crtc: readonly number[]
  readonly graphics: readonly number[]
  readonly attribute: readonly number[]
}

/** Mode 3: text, 80 × 25, nine dots, 400 lines. Source: IBM VGA BIOS parameter table as documented for the PS/2. */
export const VGA_MODE_3: VgaModeRegisters = {
  misc: 0x67,
  sequencer: [0x03, 0x00, 0x03, 0x00, 0x02],
  crtc: [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f,
    0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
  ],
  graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff],
  attribute: [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f,
    0x08, 0x00,
  ],
}

/** Puts the values of `mode` into the register file, past the protect bit. */
export function applyModeRegisters(registers: VgaRegisters, mode: VgaModeRegisters): void {
  registers.misc = mode.misc
  registers.sequencer.set(mode.sequencer)
  registers.crtc.set(mode.crtc)
  registers.graphics.set(mode.graphics)
  registers.attribute.set(mode.attribute)
}

/** The first 64 colours of the text modes: bits 2–0 are red, green and blue at two thirds, bits 5–3 at one third. */
export function applyTextPalette(dac: VgaDac): void {
  for (let index = 0; index < 64; index++) {
    const component = (bit: number): number => ((index >> bit) & 1) * 0x2a + ((index >> (bit + 3)) & 1) * 0x15
    dac.setColor(index, component(2), component(1), component(0))
  }
}
