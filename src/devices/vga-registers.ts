/**
 * Registers of the VGA by their names in the IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem".
 * Ports are given as offsets from {@link VGA_PORT_BASE}.
 */

/** First port of the block 0x3B0–0x3DF. */
export const VGA_PORT_BASE = 0x3b0
/** Ports in the block. */
export const VGA_PORT_COUNT = 0x30

/** Physical base of the 128 KiB window. */
export const VGA_WINDOW_BASE = 0xa0000
/** Bytes in the window 0xA0000–0xBFFFF. */
export const VGA_WINDOW_SIZE = 0x20000

// Sequencer.
export const SEQ_RESET = 0x00
export const SEQ_CLOCKING_MODE = 0x01
export const SEQ_MAP_MASK = 0x02
export const SEQ_CHARACTER_MAP = 0x03
export const SEQ_MEMORY_MODE = 0x04

/** Clocking mode: characters are 8 dots wide, not 9. */
export const SEQ_CLOCK_8_DOTS = 0x01
/** Clocking mode: serialisers load every second character clock. */
export const SEQ_CLOCK_SHIFT_LOAD = 0x04
/** Clocking mode: the dot clock is halved. */
export const SEQ_CLOCK_HALF = 0x08
/** Clocking mode: serialisers load every fourth character clock. */
export const SEQ_CLOCK_SHIFT_4 = 0x10
/** Clocking mode: screen off. */
export const SEQ_CLOCK_SCREEN_OFF = 0x20
/** Memory mode: more than 64 KiB are present; also enables the character map select. */
export const SEQ_MEMORY_EXTENDED = 0x02
/** Memory mode: sequential addresses; 0 selects odd/even. */
export const SEQ_MEMORY_SEQUENTIAL = 0x04
/** Memory mode: the low two address bits select the plane. */
export const SEQ_MEMORY_CHAIN_4 = 0x08

// Graphics controller.
export const GFX_SET_RESET = 0x00
export const GFX_ENABLE_SET_RESET = 0x01
export const GFX_COLOR_COMPARE = 0x02
export const GFX_DATA_ROTATE = 0x03
export const GFX_READ_MAP = 0x04
export const GFX_MODE = 0x05
export const GFX_MISC = 0x06
export const GFX_COLOR_DONT_CARE = 0x07
export const GFX_BIT_MASK = 0x08

/** Mode: read mode 1, colour compare. */
export const GFX_MODE_READ_COMPARE = 0x08
/** Mode: odd/even reads. */
export const GFX_MODE_ODD_EVEN = 0x10
/** Mode: interleaved shift, two bits per dot as the CGA has them. */
export const GFX_MODE_INTERLEAVED = 0x20
/** Mode: 256-colour shift, a nibble of one plane after the other. */
export const GFX_MODE_SHIFT_256 = 0x40
/** Miscellaneous: graphics mode. */
export const GFX_MISC_GRAPHICS = 0x01
/** Miscellaneous: chain odd/even, address bit 0 is replaced by a higher one. */
export const GFX_MISC_CHAIN_ODD_EVEN = 0x02

// Attribute controller.
export const ATTR_MODE = 0x10
export const ATTR_OVERSCAN = 0x11
export const ATTR_PLANE_ENABLE = 0x12
export const ATTR_PEL_PANNING = 0x13
export const ATTR_COLOR_SELECT = 0x14

/** Address register: the palette belongs to the display and not to the CPU (palette address source). */
export const ATTR_PAS = 0x20
export const ATTR_MODE_GRAPHICS = 0x01
export const ATTR_MODE_MONO = 0x02
/** Mode: dot 9 of characters 0xC0–0xDF repeats dot 8. */
export const ATTR_MODE_LINE_GRAPHICS = 0x04
/** Mode: attribute bit 7 blinks; 0 makes it the intensity of the background. */
export const ATTR_MODE_BLINK = 0x08
/** Mode: line compare ends pel panning. */
export const ATTR_MODE_PAN_COMPATIBLE = 0x20
/** Mode: two nibbles make one 8-bit pixel. */
export const ATTR_MODE_PELCLOCK_HALF = 0x40
/** Mode: bits 5 and 4 come from colour select and not from the palette. */
export const ATTR_MODE_P54S = 0x80

// CRT controller.
export const CRTC_H_TOTAL = 0x00
export const CRTC_H_DISPLAY_END = 0x01
export const CRTC_H_BLANK_START = 0x02
export const CRTC_H_BLANK_END = 0x03
export const CRTC_H_RETRACE_START = 0x04
export const CRTC_H_RETRACE_END = 0x05
export const CRTC_V_TOTAL = 0x06
export const CRTC_OVERFLOW = 0x07
export const CRTC_PRESET_ROW_SCAN = 0x08
export const CRTC_MAX_SCAN_LINE = 0x09
export const CRTC_CURSOR_START = 0x0a
export const CRTC_CURSOR_END = 0x0b
export const CRTC_START_HIGH = 0x0c
export const CRTC_START_LOW = 0x0d
export const CRTC_CURSOR_HIGH = 0x0e
export const CRTC_CURSOR_LOW = 0x0f
export const CRTC_V_RETRACE_START = 0x10
export const CRTC_V_RETRACE_END = 0x11
export const CRTC_V_DISPLAY_END = 0x12
export const CRTC_OFFSET = 0x13
export const CRTC_UNDERLINE = 0x14
export const CRTC_V_BLANK_START = 0x15
export const CRTC_V_BLANK_END = 0x16
export const CRTC_MODE = 0x17
export const CRTC_LINE_COMPARE = 0x18
/** Read-only, undocumented by IBM and common to all VGAs: the latch of the plane that read map select names. */
export const CRTC_LATCH = 0x22
/** Read-only, likewise: bit 7 is the flip-flop of the attribute controller. */
export const CRTC_FLIP_FLOP = 0x24
/** Read-only, likewise: the address register of the attribute controller. */
export const CRTC_ATTR_INDEX = 0x26

/** Maximum scan line: every scan line is shown twice. */
export const CRTC_DOUBLE_SCAN = 0x80
/** Cursor start: cursor off. */
export const CRTC_CURSOR_OFF = 0x20
/** Vertical retrace end: registers 0–7 are write-protected, save for the line compare bit. */
export const CRTC_PROTECT = 0x80
/** Vertical retrace end: 0 clears the vertical interrupt. */
export const CRTC_CLEAR_INTERRUPT_N = 0x10
/** Vertical retrace end: 1 disables the vertical interrupt. */
export const CRTC_DISABLE_INTERRUPT = 0x20
/** Underline location: count by 4. */
export const CRTC_COUNT_BY_4 = 0x20
/** Underline location: doubleword addressing. */
export const CRTC_DOUBLEWORD = 0x40
/** Mode: 0 puts row scan bit 0 on address bit 13. */
export const CRTC_MODE_MAP13 = 0x01
/** Mode: 0 puts row scan bit 1 on address bit 14. */
export const CRTC_MODE_MAP14 = 0x02
/** Mode: the vertical counters run at half rate. */
export const CRTC_MODE_V_DOUBLE = 0x04
/** Mode: count by 2. */
export const CRTC_MODE_COUNT_BY_2 = 0x08
/** Mode: address bit 15, not 13, wraps to bit 0 in word addressing. */
export const CRTC_MODE_WRAP_15 = 0x20
/** Mode: byte addressing; 0 is word addressing. */
export const CRTC_MODE_BYTE = 0x40
/** Mode: retraces enabled. */
export const CRTC_MODE_SYNC = 0x80

// Miscellaneous output.
/** Colour addressing: the CRTC is at 0x3D4 and not at 0x3B4. */
export const MISC_COLOR = 0x01
/** The CPU may access video memory. */
export const MISC_RAM = 0x02
/** Clock select, bits 2 and 3. */
export const MISC_CLOCK = 0x0c
/** Odd/even page: 0 selects the odd addresses of a chained pair. */
export const MISC_PAGE = 0x20

// Input status.
/** Status 0: the vertical interrupt is pending. */
export const STATUS0_INTERRUPT = 0x80
/** Status 0: switch sense. */
export const STATUS0_SENSE = 0x10
/** Status 1: the display is blanked, horizontally or vertically. */
export const STATUS1_DISABLED = 0x01
/** Status 1: vertical retrace. */
export const STATUS1_V_RETRACE = 0x08

/** Writable bits of the sequencer registers. */
export const SEQ_MASKS: Uint8Array = Uint8Array.of(0x03, 0x3d, 0x0f, 0x3f, 0x0e)
/** Writable bits of the graphics controller registers. */
export const GFX_MASKS: Uint8Array = Uint8Array.of(0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff)
/** Writable bits of the attribute controller registers 0x10–0x14; palette registers have 6 bits. */
export const ATTR_MASKS: Uint8Array = Uint8Array.of(0xef, 0xff, 0x3f, 0x0f, 0x0f)
/** Writable bits of the CRTC registers 0x00–0x18. */
export const CRTC_MASKS: Uint8Array = Uint8Array.of(
  ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0x3f, 0x7f, 0xff],
  ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xef, 0xff],
)

/** The register file of a VGA, as plain storage that its blocks share. */
export class VgaRegisters {
  readonly crtc: Uint8Array = new Uint8Array(0x19)
  readonly sequencer: Uint8Array = new Uint8Array(5)
  readonly graphics: Uint8Array = new Uint8Array(9)
  readonly attribute: Uint8Array = new Uint8Array(0x15)
  misc = 0
  feature = 0

  /** Start address, in units of the address counter. */
  get start(): number {
    return (this.crtc[CRTC_START_HIGH]! << 8) | this.crtc[CRTC_START_LOW]!
  }

  /** Cursor location, in units of the address counter. */
  get cursor(): number {
    return (this.crtc[CRTC_CURSOR_HIGH]! << 8) | this.crtc[CRTC_CURSOR_LOW]!
  }

  /** Vertical total as programmed, 10 bits. */
  get verticalTotal(): number {
    const overflow = this.crtc[CRTC_OVERFLOW]!
    return this.crtc[CRTC_V_TOTAL]! | ((overflow & 0x01) << 8) | ((overflow & 0x20) << 4)
  }

  /** Vertical display end as programmed, 10 bits: the last line shown. */
  get verticalDisplayEnd(): number {
    const overflow = this.crtc[CRTC_OVERFLOW]!
    return this.crtc[CRTC_V_DISPLAY_END]! | ((overflow & 0x02) << 7) | ((overflow & 0x40) << 3)
  }

  /** Vertical retrace start as programmed, 10 bits. */
  get verticalRetraceStart(): number {
    const overflow = this.crtc[CRTC_OVERFLOW]!
    return this.crtc[CRTC_V_RETRACE_START]! | ((overflow & 0x04) << 6) | ((overflow & 0x80) << 2)
  }

  /** Line compare, 10 bits: the split screen begins on the line after it. */
  get lineCompare(): number {
    const overflow = this.crtc[CRTC_OVERFLOW]!
    const maximum = this.crtc[CRTC_MAX_SCAN_LINE]!
    return this.crtc[CRTC_LINE_COMPARE]! | ((overflow & 0x10) << 4) | ((maximum & 0x40) << 3)
  }

  /** 2 when the vertical counters run at half rate, else 1. */
  get verticalFactor(): number {
    return (this.crtc[CRTC_MODE]! & CRTC_MODE_V_DOUBLE) !== 0 ? 2 : 1
  }

  /** Scan lines shown. */
  get visibleLines(): number {
    return (this.verticalDisplayEnd + 1) * this.verticalFactor
  }

  /** Character clocks shown per line. */
  get visibleCharacters(): number {
    return this.crtc[CRTC_H_DISPLAY_END]! + 1
  }

  /** Dots per character clock in text; graphics always shifts out the same number. */
  get dotsPerCharacter(): number {
    return (this.sequencer[SEQ_CLOCKING_MODE]! & SEQ_CLOCK_8_DOTS) !== 0 ? 8 : 9
  }

  /** Whether memory is shown as pixels and not as characters. */
  get isGraphics(): boolean {
    return (this.graphics[GFX_MISC]! & GFX_MISC_GRAPHICS) !== 0
  }
}
