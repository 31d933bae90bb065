import type { InterruptSource, IrqLine, PortDevice, PortSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import { Pic8259, type Pic8259State, validatePicState } from './pic8259.js'

/** Port of the master's first register in a PC. */
export const PIC_MASTER_PORT = 0x20
/** Port of the slave's first register in a PC. */
export const PIC_SLAVE_PORT = 0xa0
/** Port of the first of the two edge/level control registers (PIIX). */
export const ELCR_PORT = 0x4d0
/** The master's input that the slave's INT drives. */
export const PIC_CASCADE_LEVEL = 2
/** ELCR bits of the master that can be set: timer, keyboard and cascade are edge-triggered for good. */
export const ELCR_MASTER_WRITABLE = 0xf8
/** ELCR bits of the slave that can be set: the RTC (IRQ 8) and the coprocessor (IRQ 13) are edge-triggered for good. */
export const ELCR_SLAVE_WRITABLE = 0xde

/** What the bus shows when no chip drives it during INTA. */
const FLOATING_BUS = 0xff

/** Saved state of a {@link PicPair}. */
export type PicPairState = { readonly version: 1; readonly master: Pic8259State; readonly slave: Pic8259State }

/** What {@link PicPair} is made of; everything is optional. */
export interface PicPairOptions {
  /** The INT wire to the processor. */
  readonly int?: IrqLine
  readonly events?: EventSink
}

/**
 * The two cascaded 8259As of a PC/AT: IRQ 0–7 on the master, IRQ 8–15 on the slave, whose INT drives the master's IR2.
 * Map `master` at 0x20, `slave` at 0xa0 and `elcr` at 0x4d0, two byte-wide ports each.
 *
 * The cascade is the wires, not a shortcut: during INTA the master puts the level on CAS0–2, and the slave answers if
 * that is its identity. A guest that programs no slave at IR2 gets the master's own vector for it; one that gives
 * the slave another identity gets a floating bus (0xff), as on the board.
 *
 * Source: 8259A data sheet, "Cascade Mode"; PIIX3 data sheet, "Interrupt Controller".
 */
export class PicPair implements InterruptSource, Stateful<PicPairState> {
  readonly master: Pic8259
  readonly slave: Pic8259
  /** The edge/level control registers: offset 0 for IRQ 0–7, offset 1 for IRQ 8–15. */
  readonly elcr: PortDevice

  constructor(options: PicPairOptions = {}) {
    const events = options.events === undefined ? {} : { events: options.events }
    const int = options.int === undefined ? {} : { int: options.int }
    this.master = new Pic8259({ role: 'master', ...int, ...events })
    this.slave = new Pic8259({ role: 'slave', int: this.master.line(PIC_CASCADE_LEVEL), ...events })
    const { master, slave } = this
    this.elcr = {
      readPort(offset: number, _size: PortSize): number {
        return (offset & 1) === 0 ? master.elcr : slave.elcr
      },
      writePort(offset: number, _size: PortSize, value: number): void {
        if ((offset & 1) === 0) master.setElcr(value & ELCR_MASTER_WRITABLE)
        else slave.setElcr(value & ELCR_SLAVE_WRITABLE)
      },
    }
  }

  /**
   * The wire of IRQ `n` (0–15). IRQ 2 is taken by the cascade; the AT leads that bus pin to IRQ 9, and so does this.
   * Throws `bad-argument` for another `n`.
   */
  line(n: number): IrqLine {
    if (!Number.isInteger(n) || n < 0 || n > 15)
      throw new VirtkitError('bad-argument', `a PC has IRQ 0 to 15, not ${n}`)
    if (n === PIC_CASCADE_LEVEL) return this.slave.line(1)
    return n < 8 ? this.master.line(n) : this.slave.line(n - 8)
  }

  /** True while the master asserts INT. */
  get pending(): boolean {
    return this.master.pending
  }

  /**
   * The INTA sequence across the cascade; returns the vector. With nothing pending it is the master's spurious level 7;
   * when only the slave's request has gone, the slave's level 7 (IRQ 15) with the master's IR2 in service.
   */
  acknowledge(): number {
    const { master, slave } = this
    master.inta()
    const level = master.acknowledgedLevel
    if (!master.hasSlaveAt(level)) return master.acknowledge()
    const answered = level === PIC_CASCADE_LEVEL && slave.slaveId === level
    const vector = answered ? slave.acknowledge() : FLOATING_BUS
    master.acknowledge()
    return vector
  }

  /** The ICW sequences a PC's firmware writes: both chips in 8086 mode, cascaded at IR2, nothing masked. */
  initialise(masterBase = 0x08, slaveBase = 0x70): void {
    this.master.initialise({ base: masterBase, slaves: 1 << PIC_CASCADE_LEVEL })
    this.slave.initialise({ base: slaveBase, id: PIC_CASCADE_LEVEL })
  }

  saveState(): PicPairState {
    return { version: 1, master: this.master.saveState(), slave: this.slave.saveState() }
  }

  loadState(state: PicPairState): void {
    const fields = new StateReader('pic-pair', state, 1)
    const master = validatePicState(fields.nested('master'))
    const slave = validatePicState(fields.nested('slave'))
    // The slave first: loading it moves the master's IR2, which the master's own state then sets right.
    this.slave.loadState(slave)
    this.master.loadState(master)
  }
}
