/**
 * The APICs of a board: one local APIC per processor, one I/O APIC, the bus between them, and the windows in which processors see them. Every processor
 * finds its own local APIC at the same address, so accesses there go to that of the processor whose turn it is.
 */

import type { Clock, EventSink, InterruptSource, IrqLine, MmioDevice, MmioSize } from '../contracts/index.js'
import { ApicBus, IoApic, LocalApic, MSI_BASE, MsiTarget, type TscSource } from '../interrupts/index.js'
import { type AddressSpace, type Overlay, PAGE_SIZE } from '../memory/index.js'

/** Where the I/O APIC lies. */
export const IOAPIC_BASE = 0xfec00000
/** Where local APICs lie after reset. */
export const LOCAL_APIC_BASE: number = MSI_BASE
/** Frequency of the local APICs' timers before their dividers, in Hz. */
export const LOCAL_APIC_FREQUENCY = 1_000_000_000

/** The wires into one processor, and its time-stamp counter. */
export interface ProcessorPins extends TscSource {
  /** The interrupt source of the processor may have changed its mind. */
  interruptChanged(): void
  /** A non-maskable interrupt. */
  nmi(): void
  /** A system-management interrupt. */
  smi(): void
  /** INIT. */
  init(): void
  /** A start-up IPI. */
  startUp(vector: number): void
}

/** What {@link Apics} is made of. */
export interface ApicsOptions {
  readonly space: AddressSpace
  /** One clock per local APIC. */
  readonly clock: (n: number) => Clock
  readonly processors: readonly ProcessorPins[]
  /** Index of the processor whose turn it is. */
  readonly current: () => number
  /** The 8259As, wired to every LINT0. */
  readonly pic: InterruptSource
  readonly x2apic: boolean
  readonly physicalAddressBits: number
  readonly events?: EventSink
}

/** A page of local APICs: that of the current processor answers, if it is there. */
class LocalApicWindow implements MmioDevice {
  private readonly base: number
  private readonly find: (base: number) => LocalApic | undefined

  constructor(base: number, find: (base: number) => LocalApic | undefined) {
    this.base = base
    this.find = find
  }

  readMmio(offset: number, size: MmioSize): number {
    return this.find(this.base)?.readMmio(offset, size) ?? (size === 4 ? 0xffffffff : (1 << (size * 8)) - 1)
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    this.find(this.base)?.writeMmio(offset, size, value)
  }
}

/** See the head of this file: local APICs, I/O APIC, their bus and their windows. */
export class Apics {
  readonly bus: ApicBus = new ApicBus()
  readonly local: readonly LocalApic[]
  readonly io: IoApic
  /** Where the messages of MSI and MSI-X go. */
  readonly msi: MsiTarget
  /** To be driven by the 8259As' INT. */
  readonly int: IrqLine
  private readonly space: AddressSpace
  private readonly windows: Map<number, Overlay> = new Map()
  private readonly current: () => number

  constructor(options: ApicsOptions) {
    const { space, processors, pic } = options
    const events = options.events === undefined ? {} : { events: options.events }
    this.space = space
    this.current = options.current
    this.local = processors.map(
      (pins, id) =>
        new LocalApic({
          id,
          clock: options.clock(id),
          bus: this.bus,
          frequency: LOCAL_APIC_FREQUENCY,
          bootstrap: id === 0,
          external: pic,
          tsc: pins,
          x2apic: options.x2apic,
          physicalAddressBits: options.physicalAddressBits,
          core: {
            interruptChanged: () => pins.interruptChanged(),
            nmi: () => pins.nmi(),
            smi: () => pins.smi(),
            init: () => pins.init(),
            startUp: (vector) => pins.startUp(vector),
            baseChanged: () => this.place(),
          },
          ...events,
        }),
    )
    this.io = new IoApic({ bus: this.bus, ...events })
    this.msi = new MsiTarget(this.bus)
    const { local } = this
    this.int = {
      setLevel: (level) => {
        for (const apic of local) apic.lint0.setLevel(level)
      },
    }
    space.addOverlay({ base: IOAPIC_BASE, size: PAGE_SIZE, device: this.io })
    this.place()
  }

  /** Puts a window where any enabled local APIC lies, and takes away those that none lies at. */
  private place(): void {
    // The first reset comes while the list is being made.
    const wanted = new Set((this.local ?? []).filter((apic) => apic.mode === 'xapic').map((apic) => apic.baseAddress))
    for (const [base, overlay] of this.windows) {
      if (wanted.has(base)) continue
      overlay.remove()
      this.windows.delete(base)
    }
    for (const base of wanted) {
      if (this.windows.has(base)) continue
      const device = new LocalApicWindow(base, (at) => {
        const apic = this.local[this.current()]!
        return apic.mode === 'xapic' && apic.baseAddress === at ? apic : undefined
      })
      this.windows.set(base, this.space.addOverlay({ base, size: PAGE_SIZE, device }))
    }
  }

  /** As firmware leaves them: the bootstrap processor takes the 8259As' interrupts through LINT0. */
  initialise(): void {
    this.local[0]!.virtualWire()
  }

  /** Power-up: every local APIC as after reset, the I/O APIC masked. */
  reset(): void {
    for (const apic of this.local) apic.reset()
    this.io.reset()
  }
}
