import type { PhysicalBus, PortDevice, PortSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import { DMA_ALL_MASK, DMA_MODE, DMA_MODE_CASCADE, type DmaDevice, type DmaPages } from './dma-registers.js'
import { Dma8237, type Dma8237State, validateDmaState } from './dma8237.js'

/** First port of the 8-bit controller (channels 0–3); 16 ports. */
export const DMA_PRIMARY_PORT = 0x00
/** First port of the 16-bit controller (channels 4–7); 32 ports, two per register. */
export const DMA_SECONDARY_PORT = 0xc0
/** First port of the page registers; 16 ports. */
export const DMA_PAGE_PORT = 0x80

/**
 * Offset of each channel's page register. That of channel 4, which is the cascade, holds the refresh page instead.
 * Source: IBM PC/AT Technical Reference, "DMA Page Registers".
 */
export const DMA_PAGE_OFFSET: readonly number[] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa]

/** The sixteen page registers at 0x80. All can be read back; the ones without a channel (0x80: POST codes) just store. */
export class DmaPageRegisters implements PortDevice {
  private readonly bytes = new Uint8Array(16)

  readPort(offset: number, _size: PortSize): number {
    return this.bytes[offset & 15]!
  }

  writePort(offset: number, _size: PortSize, value: number): void {
    this.bytes[offset & 15] = value
  }

  /** Address bits 23–16 of a channel (0–7). */
  page(channel: number): number {
    return this.bytes[DMA_PAGE_OFFSET[channel & 7]!]!
  }

  /** The last POST code written to port 0x80. */
  get postCode(): number {
    return this.bytes[0]!
  }

  /** The registers as plain numbers. */
  save(): number[] {
    return [...this.bytes]
  }

  /** Puts back what {@link save} returned; the caller has checked that it is sixteen bytes. */
  load(bytes: readonly number[]): void {
    this.bytes.set(bytes)
  }
}

/** What a {@link DmaPair} needs. */
export interface DmaPairOptions {
  readonly bus: PhysicalBus
  /** Whether requests are served at once (default), or only by {@link DmaPair.service}. */
  readonly automatic?: boolean
  readonly events?: EventSink
}

/** Saved state of a {@link DmaPair}. */
export type DmaPairState = {
  readonly version: 1
  readonly primary: Dma8237State
  readonly secondary: Dma8237State
  readonly pages: readonly number[]
}

/**
 * The DMA system of a PC/AT: channels 0–3 move bytes within 64 KiB pages, channels 5–7 move words within 128 KiB, and
 * channel 4 is where the first controller's HRQ enters the second. As on the board nothing moves on channels 0–3
 * until channel 4 is in cascade mode and unmasked; firmware does that, or {@link initialise}.
 *
 * Map `primaryPorts` at 0x00 (16 ports), `secondaryPorts` at 0xc0 (32 ports) and `pages` at 0x80 (16 ports).
 *
 * Source: IBM PC/AT Technical Reference, "Direct Memory Access"; PIIX3 data sheet, "DMA Controller".
 */
export class DmaPair implements Stateful<DmaPairState> {
  /** Channels 0–3. */
  readonly primary: Dma8237
  /** Channels 4–7. */
  readonly secondary: Dma8237
  readonly pages: DmaPageRegisters
  readonly primaryPorts: PortDevice
  /** Registers two ports apart: address line A0 is not connected. */
  readonly secondaryPorts: PortDevice

  constructor(options: DmaPairOptions) {
    const pages = new DmaPageRegisters()
    this.pages = pages
    const upperPages: DmaPages = { page: (channel) => pages.page(channel + 4) }
    const common = {
      bus: options.bus,
      automatic: options.automatic ?? true,
      ...(options.events === undefined ? {} : { events: options.events }),
    }
    const primary = new Dma8237({ ...common, pages, name: 'dma1' })
    const secondary = new Dma8237({ ...common, pages: upperPages, width: 2, name: 'dma2' })
    secondary.connectCascade(0, primary)
    this.primary = primary
    this.secondary = secondary
    this.primaryPorts = primary
    this.secondaryPorts = {
      readPort: (offset, size) => secondary.readPort(offset >> 1, size),
      writePort: (offset, size, value) => secondary.writePort(offset >> 1, size, value),
    }
  }

  /** Puts a device on channel 0–3 or 5–7. Throws `bad-argument` for another channel. */
  connect(channel: number, device: DmaDevice): void {
    checkChannel(channel)
    if (channel < 4) this.primary.connect(channel, device)
    else this.secondary.connect(channel - 4, device)
  }

  /** Drives DREQ of channel 0–3 or 5–7. Throws `bad-argument` for another channel. */
  setRequest(channel: number, level: boolean): void {
    checkChannel(channel)
    if (channel < 4) this.primary.setRequest(channel, level)
    else this.secondary.setRequest(channel - 4, level)
  }

  /** Grants the bus for up to `maxTransfers` units; returns how many moved. See `Dma8237.service`. */
  service(maxTransfers?: number): number {
    return this.secondary.service(maxTransfers)
  }

  /** Transfers of both controllers so far. */
  get transfers(): number {
    return this.primary.transfers + this.secondary.transfers
  }

  /** What firmware does at power-on: channel 4 in cascade mode and unmasked, all others masked. */
  initialise(): void {
    this.secondary.writePort(DMA_MODE, 1, DMA_MODE_CASCADE)
    this.secondary.writePort(DMA_ALL_MASK, 1, 0x0e)
  }

  saveState(): DmaPairState {
    return {
      version: 1,
      primary: this.primary.saveState(),
      secondary: this.secondary.saveState(),
      pages: this.pages.save(),
    }
  }

  loadState(state: DmaPairState): void {
    const fields = new StateReader('dma-pair', state, 1)
    const primary = validateDmaState(fields.nested('primary'))
    const secondary = validateDmaState(fields.nested('secondary'))
    const pages = fields.ints('pages', 16, 0, 0xff)
    this.primary.loadState(primary)
    this.secondary.loadState(secondary)
    this.pages.load(pages)
  }
}

function checkChannel(channel: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > 7 || channel === 4)
    throw new VirtkitError('bad-argument', `devices sit on DMA channels 0 to 3 and 5 to 7, not ${channel}`)
}
