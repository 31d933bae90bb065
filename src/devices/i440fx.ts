import type { PortSize } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { PciFunction } from './pci.js'

/** First of the seven programmable attribute map registers. */
export const I440FX_PAM0 = 0x59
/** First of the eight DRAM row boundary registers, in units of 8 MiB. */
export const I440FX_DRB0 = 0x60
/** System management RAM control. */
export const I440FX_SMRAM = 0x72

/** PAM nibble: reads go to DRAM, not to PCI. */
export const PAM_RE = 0x1
/** PAM nibble: writes go to DRAM, not to PCI. */
export const PAM_WE = 0x2

/** SMRAM: 0xA0000–0xBFFFF shows SMRAM outside system-management mode too. */
export const SMRAM_D_OPEN = 0x40
/** SMRAM: data accesses do not reach SMRAM, not even in system-management mode; code fetches do. */
export const SMRAM_D_CLS = 0x20
/** SMRAM: locks this bit and {@link SMRAM_D_OPEN} until the next reset. */
export const SMRAM_D_LCK = 0x10
/** SMRAM: system-management RAM is enabled. */
export const SMRAM_G_SMRAME = 0x08
/** SMRAM: the segment, fixed at 0xA0000. */
export const SMRAM_C_BASE_SEG = 0x02

/** A region whose reads and writes a PAM nibble steers. */
export interface PamRegion {
  /** 0–12, ascending by address. */
  readonly index: number
  readonly base: number
  readonly size: number
}

/** The thirteen regions: 0xC0000–0xEFFFF in steps of 16 KiB, and 0xF0000–0xFFFFF. Source: 82441FX data sheet, "PAM". */
export const PAM_REGIONS: readonly PamRegion[] = Array.from({ length: 13 }, (_, index) =>
  index < 12 ? { index, base: 0xc0000 + index * 0x4000, size: 0x4000 } : { index, base: 0xf0000, size: 0x10000 },
)

/** The SMRAM control register, decoded. */
export interface SmramControl {
  readonly enabled: boolean
  readonly open: boolean
  readonly closed: boolean
  readonly locked: boolean
}

/** What the host bridge steers. Every callback is optional; each is called only when its setting changes. */
export interface I440fxOptions {
  /** Reads (writes) of `region` go to DRAM when `read` (`write`) is true, else to PCI, where the ROM answers. */
  readonly onPam?: (region: PamRegion, attributes: { readonly read: boolean; readonly write: boolean }) => void
  /** Called when SMRAM control changes. */
  readonly onSmram?: (control: SmramControl) => void
  /** Bytes of DRAM, a multiple of 8 MiB: the row boundary registers then hold what memory sizing leaves there. */
  readonly ramSize?: number
}

/**
 * Host bridge and memory controller 82441FX (8086:1237), function 0 of device 0. It steers the BIOS area (PAM) and system-
 * management RAM; DRAM timing and buffering registers hold what is written to them.
 *
 * Source: Intel 82441FX (440FX PMC) data sheet, "PCI Configuration Registers".
 */
export class I440fxHost extends PciFunction {
  readonly #onPam: I440fxOptions['onPam']
  readonly #onSmram: I440fxOptions['onSmram']
  readonly #shownPam = new Uint8Array(13)
  #shownSmram: number = SMRAM_C_BASE_SEG

  constructor(options: I440fxOptions = {}) {
    super({
      vendor: 0x8086,
      device: 0x1237,
      classCode: 0x060000,
      revision: 0x02,
      command: 0x0006,
      commandMask: 0x0140,
      status: 0x0280,
    })
    this.#onPam = options.onPam
    this.#onSmram = options.onSmram
    this.define(0x0c, 1, 0, 0) // no cache line size register
    this.define(0x50, 2, 0x0000, 0xfe7f) // PMC configuration
    this.define(0x52, 1, 0x00, 0xc0) // deturbo
    this.define(0x53, 1, 0x80, 0xe3) // data buffer control
    this.define(0x54, 1, 0x00, 0x46) // auxiliary control
    this.define(0x55, 2, 0x0000, 0xffff) // DRAM row type
    this.define(0x57, 1, 0x01, 0x77) // DRAM control
    this.define(0x58, 1, 0x00, 0xff) // DRAM timing
    this.define(I440FX_PAM0, 1, 0x00, 0x30)
    for (let i = 1; i < 7; i++) this.define(I440FX_PAM0 + i, 1, 0x00, 0x33)
    const rows = rowBoundary(options.ramSize)
    for (let i = 0; i < 8; i++) this.define(I440FX_DRB0 + i, 1, rows, 0xff)
    this.define(0x68, 1, 0x00, 0xc0) // fixed DRAM hole
    this.define(0x70, 1, 0x00, 0xff) // multi-transaction timer
    this.define(0x71, 1, 0x10, 0xff) // CPU latency timer
    this.define(I440FX_SMRAM, 1, SMRAM_C_BASE_SEG, SMRAM_D_OPEN | SMRAM_D_CLS | SMRAM_D_LCK | SMRAM_G_SMRAME)
    this.define(0x90, 1, 0x00, 0xfb) // error command
    this.define(0x91, 1, 0x00, 0x00, 0x11) // error status
    this.define(0x93, 1, 0x00, 0x06) // turbo reset control
  }

  /** The SMRAM control register, decoded. */
  get smram(): SmramControl {
    const value = this.config[I440FX_SMRAM]!
    return {
      enabled: (value & SMRAM_G_SMRAME) !== 0,
      open: (value & SMRAM_D_OPEN) !== 0,
      closed: (value & SMRAM_D_CLS) !== 0,
      locked: (value & SMRAM_D_LCK) !== 0,
    }
  }

  /** {@link PAM_RE} and {@link PAM_WE} of a region (0–12). */
  pamAttributes(region: number): number {
    if (region === 12) return (this.config[I440FX_PAM0]! >> 4) & 3
    return (this.config[I440FX_PAM0 + 1 + (region >> 1)]! >> ((region & 1) * 4)) & 3
  }

  override writeConfig(register: number, size: PortSize, value: number): void {
    const before = this.config[I440FX_SMRAM]!
    let legal = value
    const shift = (I440FX_SMRAM - register) * 8
    if (shift >= 0 && shift < size * 8) {
      const written = legalizeSmram(before, (value >>> shift) & 0xff)
      legal = (value & ~(0xff << shift)) | (written << shift)
    }
    super.writeConfig(register, size, legal >>> 0)
  }

  protected override onConfigWrite(): void {
    this.#show()
  }

  protected override onConfigReset(): void {
    this.#show()
  }

  #show(): void {
    for (const region of PAM_REGIONS) {
      const attributes = this.pamAttributes(region.index)
      if (attributes === this.#shownPam[region.index]) continue
      this.#shownPam[region.index] = attributes
      this.#onPam?.(region, { read: (attributes & PAM_RE) !== 0, write: (attributes & PAM_WE) !== 0 })
    }
    const smram = this.config[I440FX_SMRAM]!
    if (smram === this.#shownSmram) return
    this.#shownSmram = smram
    this.#onSmram?.(this.smram)
  }
}

/** D_LCK clears D_OPEN and makes both read-only. Source: 82441FX data sheet, "SMRAM—System Management RAM Control". */
function legalizeSmram(old: number, written: number): number {
  const locked = SMRAM_D_LCK | SMRAM_D_OPEN
  if ((old & SMRAM_D_LCK) !== 0) return (written & ~locked) | (old & locked)
  return (written & SMRAM_D_LCK) !== 0 ? written & ~SMRAM_D_OPEN : written
}

function rowBoundary(ramSize: number | undefined): number {
  if (ramSize === undefined) return 0x01
  if (!(Number.isFinite(ramSize) && ramSize > 0)) throw new VirtkitError('bad-argument', 'ramSize is a number of bytes')
  return Math.min(0xff, Math.ceil(ramSize / 0x800000))
}
