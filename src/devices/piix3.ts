import type { IrqLine } from '../contracts/index.js'
import type { PciInterruptRouter } from './pci.js'
import { PciFunction } from './pci.js'

/** First of the four PIRQ route control registers. */
export const PIIX_PIRQRCA = 0x60
/** PIRQ route control: bit 7 disconnects the wire. */
export const PIRQ_DISABLE = 0x80

/** IRQs that a PIRQ can be routed to, as a mask; 0, 1, 2, 8 and 13 are reserved. */
export const PIRQ_IRQS: number = 0xdef8

/** Where {@link Piix3Isa.initialise} and firmware for this board lead the four wires. */
export const PIRQ_DEFAULTS: readonly number[] = [10, 10, 11, 11]

/** What the bridge drives. */
export interface Piix3Options {
  /**
   * The interrupt request inputs 0–15 that PCI may share; missing ones stay unconnected. Each line must be one input of a
   * wired OR where an ISA device uses the same IRQ. With an I/O APIC these are lines to both: request n of the 8259As and
   * input n of the I/O APIC see the same wire.
   */
  readonly irqLines?: readonly (IrqLine | undefined)[]
}

/**
 * PCI-to-ISA bridge 82371SB (8086:7000), function 0 of device 1: routes the wires PIRQA#–PIRQD# to interrupt requests. The
 * INTx pins of the slots are rotated onto the four wires as the reference board does: wire = (pin + device − 1) mod 4.
 *
 * Source: Intel 82371FB/82371SB (PIIX/PIIX3) data sheet, "PIRQRC[A:D]—PIRQx Route Control Registers".
 */
export class Piix3Isa extends PciFunction {
  /** Takes the interrupt wires of the bus: `bus.setRouter(piix3.router)`. */
  readonly router: PciInterruptRouter = {
    setIntx: (device, pin, asserted) => this.#route(device, pin, asserted),
  }

  readonly #irqLines: readonly (IrqLine | undefined)[]
  /** Functions that assert each wire now. */
  readonly #asserting = new Int32Array(4)
  /** The levels that were driven last, one bit per IRQ. */
  #driven = 0

  constructor(options: Piix3Options = {}) {
    super({
      vendor: 0x8086,
      device: 0x7000,
      classCode: 0x060100,
      command: 0x0007,
      commandMask: 0x0108,
      status: 0x0200,
      multiFunction: true,
    })
    this.#irqLines = options.irqLines ?? []
    this.define(0x0c, 2, 0, 0) // neither cache line size nor latency timer
    this.define(0x4c, 1, 0x4d, 0xff) // ISA I/O recovery timer
    this.define(0x4e, 2, 0x0003, 0x03ff) // X-bus chip select
    for (let i = 0; i < 4; i++) this.define(PIIX_PIRQRCA + i, 1, PIRQ_DISABLE, 0x8f)
    this.define(0x69, 1, 0x02, 0xfe) // top of memory
    this.define(0x6a, 2, 0x0000, 0x8014, 0x0000) // miscellaneous status
    this.define(0x70, 1, 0x80, 0xef) // motherboard IRQ route
    this.define(0x76, 1, 0x0c, 0x8f) // motherboard DMA
    this.define(0x77, 1, 0x0c, 0x8f)
    this.define(0x78, 2, 0x0002, 0xffff) // programmable chip select
    this.define(0x80, 1, 0x00, 0x7f) // APIC base
    this.define(0x82, 1, 0x00, 0x0f) // deterministic latency
    this.define(0xa0, 1, 0x08, 0x1f) // SMI control
    this.define(0xa2, 2, 0x0000, 0x00ff) // SMI enable
    this.define(0xa4, 4, 0x00000000, 0xe000ffff) // system event enable
    this.define(0xa8, 1, 0x0f, 0xff) // fast-off timer
    this.define(0xaa, 2, 0x0000, 0x00ff) // SMI request
    this.define(0xac, 1, 0x00, 0xff) // clock throttle low
    this.define(0xae, 1, 0x00, 0xff) // clock throttle high
  }

  /** The interrupt request that wire `pirq` (0–3) is routed to, or −1. */
  routedIrq(pirq: number): number {
    const route = this.config[PIIX_PIRQRCA + pirq]!
    if ((route & PIRQ_DISABLE) !== 0) return -1
    const irq = route & 0x0f
    return (PIRQ_IRQS & (1 << irq)) !== 0 ? irq : -1
  }

  /**
   * What firmware would have done when a guest is started without any: the wires go to interrupt requests 10, 10, 11 and 11. Those are
   * level-triggered, so the board's edge/level control registers must say so, too. Call it after a reset.
   */
  initialise(): void {
    PIRQ_DEFAULTS.forEach((irq, pirq) => {
      this.writeConfig(PIIX_PIRQRCA + pirq, 1, irq)
    })
  }

  #route(device: number, pin: number, asserted: boolean): void {
    const pirq = (pin + device - 1) & 3
    this.#asserting[pirq] = Math.max(0, this.#asserting[pirq]! + (asserted ? 1 : -1))
    this.#drive()
  }

  protected override onConfigWrite(): void {
    this.#drive()
  }

  protected override onConfigReset(): void {
    this.#drive()
  }

  #drive(): void {
    let levels = 0
    for (let pirq = 0; pirq < 4; pirq++) {
      const irq = this.routedIrq(pirq)
      if (irq >= 0 && this.#asserting[pirq]! > 0) levels |= 1 << irq
    }
    const changed = levels ^ this.#driven
    this.#driven = levels
    for (let irq = 0; irq < 16; irq++) {
      if ((changed & (1 << irq)) !== 0) this.#irqLines[irq]?.setLevel((levels & (1 << irq)) !== 0)
    }
  }
}
