import type { BlockBackend, Clock, IrqLine, Stateful } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import type { AtaChannelState } from './ata-channel.js'
import { AtaChannel } from './ata-channel.js'
import type { AtaTiming } from './ata-device.js'
import { AtaDisk } from './ata-disk.js'

/** The ports of the two channels of a PC. */
export const ATA_PRIMARY_COMMAND = 0x1f0
export const ATA_PRIMARY_CONTROL = 0x3f6
export const ATA_PRIMARY_IRQ = 14
export const ATA_SECONDARY_COMMAND = 0x170
export const ATA_SECONDARY_CONTROL = 0x376
export const ATA_SECONDARY_IRQ = 15

/** What an {@link AtaController} is built from. */
export interface AtaControllerOptions {
  readonly clock: Clock
  /** IRQ 14. */
  readonly primaryIrq?: IrqLine
  /** IRQ 15. */
  readonly secondaryIrq?: IrqLine
  /** Delays of the disks that {@link AtaController.attachDisk} makes. */
  readonly timing?: AtaTiming
}

/** Saved state of an {@link AtaController}. */
export interface AtaControllerState {
  readonly version: 1
  readonly channels: readonly [AtaChannelState, AtaChannelState]
}

/** The two ATA channels of a PC: ports 0x1F0–0x1F7 and 0x3F6 with IRQ 14, ports 0x170–0x177 and 0x376 with IRQ 15. */
export class AtaController implements Stateful<AtaControllerState> {
  readonly primary: AtaChannel
  readonly secondary: AtaChannel
  readonly #clock: Clock
  readonly #timing: AtaTiming

  constructor(options: AtaControllerOptions) {
    this.#clock = options.clock
    this.#timing = options.timing ?? {}
    this.primary = new AtaChannel(options.primaryIrq)
    this.secondary = new AtaChannel(options.secondaryIrq)
  }

  /**
   * Plugs a hard disk in as number 0 (primary master), 1 (primary slave), 2 (secondary master) or 3 (secondary slave).
   * Throws `overlap` when that place is taken and `bad-image` when the backend is no whole number of sectors.
   */
  attachDisk(number: 0 | 1 | 2 | 3, backend: BlockBackend): AtaDisk {
    const disk = new AtaDisk(backend, this.#clock, {
      timing: this.#timing,
      serial: `VK${String(number + 1).padStart(8, '0')}`,
    })
    this.channel(number).plug((number & 1) as 0 | 1, disk)
    return disk
  }

  /** The channel that device 0–3 sits on. */
  channel(number: 0 | 1 | 2 | 3): AtaChannel {
    return number < 2 ? this.primary : this.secondary
  }

  /** Hardware reset of both channels. */
  reset(): void {
    this.primary.reset()
    this.secondary.reset()
  }

  saveState(): AtaControllerState {
    return { version: 1, channels: [this.primary.saveState(), this.secondary.saveState()] }
  }

  loadState(state: AtaControllerState): void {
    const reader = new StateReader('ATA controller', state, 1)
    const channels = reader.nested('channels')
    if (!Array.isArray(channels) || channels.length !== 2) throw reader.inconsistent('channels', 'a list of two')
    const before = this.primary.saveState()
    this.primary.loadState(channels[0] as AtaChannelState)
    try {
      this.secondary.loadState(channels[1] as AtaChannelState)
    } catch (error) {
      this.primary.loadState(before)
      throw error
    }
  }
}
