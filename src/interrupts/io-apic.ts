import type { IrqLine, MmioDevice, MmioSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventMap, EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import type { ApicBus, EoiReceiver } from './apic-bus.js'
import {
  APIC_ACTION,
  APIC_ACTIVE_LOW,
  APIC_DELIVERY,
  APIC_DELIVERY_PENDING,
  APIC_LEVEL_TRIGGERED,
  APIC_LOGICAL,
  APIC_MASKED,
  APIC_REMOTE_IRR,
  IOAPIC_ARBITRATION,
  IOAPIC_EOI,
  IOAPIC_ID,
  IOAPIC_PINS,
  IOAPIC_REDIRECTION,
  IOAPIC_REGSEL,
  IOAPIC_VERSION,
  IOAPIC_WIN,
} from './apic-registers.js'

/** What an {@link IoApic} is made of. */
export interface IoApicOptions {
  readonly bus: ApicBus
  /** 11h as the 82093AA, or 20h with an EOI register, as chipsets since. Default 20h. */
  readonly version?: 0x11 | 0x20
  /**
   * Inputs whose wires are active low on the board: they idle high, and `setLevel(true)` pulls them down. Default
   * none.
   */
  readonly activeLow?: readonly number[]
  /** Name in events. Default `ioapic`. */
  readonly name?: string
  readonly events?: EventSink
}

/** Saved state of an {@link IoApic}. */
export type IoApicState = {
  readonly version: 1
  readonly id: number
  readonly select: number
  /** Electrical levels of the inputs, a bit each. */
  readonly levels: number
  /** Low halves of the redirection entries. */
  readonly low: readonly number[]
  /** Destinations of the redirection entries. */
  readonly destinations: readonly number[]
}

/** A redirection entry in fields, for tools and lectures. */
export interface RedirectionEntry {
  readonly vector: number
  /** One of `APIC_DELIVERY`. */
  readonly deliveryMode: number
  readonly destination: number
  readonly destinationMode: 'physical' | 'logical'
  readonly trigger: 'edge' | 'level'
  readonly activeLow: boolean
  readonly masked: boolean
  /** A level-triggered request was accepted, and its end is outstanding. */
  readonly remoteIrr: boolean
  /** A level-triggered request that no local APIC has accepted yet. */
  readonly deliveryPending: boolean
}

/** Bits of the low half of a redirection entry that software may write. */
const WRITABLE = 0x1afff
const STATUS = APIC_REMOTE_IRR | APIC_DELIVERY_PENDING

/**
 * An I/O APIC with 24 inputs: the 82093AA, or with version 20h the one of later chipsets, which has 8-bit physical
 * destinations and an EOI register. Map it at FEC00000h (`IOAPIC_DEFAULT_BASE`).
 *
 * - IOREGSEL takes accesses of any size (it has 8 bits), IOWIN only dwords; what is not decoded reads 0.
 * - Edges on a masked input are ignored, not held; so are levels, but unmasking finds a level that is still there.
 * - A level-triggered entry sends once and sets remote IRR; the EOI message of its vector (from a local APIC, or by
 *   the EOI register) clears it, and the entry sends again if the input is still active. An entry that becomes
 *   edge-triggered loses remote IRR.
 * - A level-triggered request that no local APIC accepts stays pending (delivery status) and is offered again when a
 *   local APIC changes what it accepts, or the entry is written. An edge that nobody accepts is lost.
 * - SMI, NMI, INIT and ExtINT are edge-triggered whatever the entry says.
 * - The arbitration ID always equals the ID: arbitration on the bus takes no time here.
 * - Polarity is real: an entry that is active low on a wire that is active high asks while the device is quiet.
 *
 * Source: 82093AA I/O APIC data sheet; Intel ICH9 data sheet, "Advanced Programmable Interrupt Controller (APIC)".
 */
export class IoApic implements MmioDevice, EoiReceiver, Stateful<IoApicState> {
  /** Name used in events. */
  readonly name: string
  private readonly bus: ApicBus
  private readonly versionNumber: number
  private readonly events: EventSink | undefined
  private readonly inputs: readonly IrqLine[]
  private idBits = 0
  private select = 0
  /** Electrical levels. */
  private levels: number
  private readonly low: number[] = new Array<number>(IOAPIC_PINS).fill(APIC_MASKED)
  private readonly destinations: number[] = new Array<number>(IOAPIC_PINS).fill(0)

  /** Attaches itself to the bus, for ends of interrupts. Throws `bad-argument` for inputs that do not exist. */
  constructor(options: IoApicOptions) {
    this.name = options.name ?? 'ioapic'
    this.bus = options.bus
    this.versionNumber = options.version ?? 0x20
    this.events = options.events
    let wiredLow = 0
    for (const n of options.activeLow ?? []) {
      checkInput(n)
      wiredLow |= 1 << n
    }
    this.levels = wiredLow
    this.inputs = Array.from({ length: IOAPIC_PINS }, (_, n) => ({
      setLevel: (asserted: boolean) => this.setPin(n, asserted !== (((wiredLow >> n) & 1) !== 0)),
    }))
    this.bus.attachIoApic(this)
  }

  /** The wire of input `n`, 0–23. Throws `bad-argument` for another `n`. */
  line(n: number): IrqLine {
    checkInput(n)
    return this.inputs[n]!
  }

  /** The ID register, 0–15. */
  get id(): number {
    return this.idBits
  }

  /** Redirection entry `n` in fields. Throws `bad-argument` for an input that does not exist. */
  entry(n: number): RedirectionEntry {
    checkInput(n)
    const low = this.low[n]!
    return {
      vector: low & 0xff,
      deliveryMode: (low >> 8) & 7,
      destination: this.destinations[n]!,
      destinationMode: (low & APIC_LOGICAL) !== 0 ? 'logical' : 'physical',
      trigger: (low & APIC_LEVEL_TRIGGERED) !== 0 ? 'level' : 'edge',
      activeLow: (low & APIC_ACTIVE_LOW) !== 0,
      masked: (low & APIC_MASKED) !== 0,
      remoteIrr: (low & APIC_REMOTE_IRR) !== 0,
      deliveryPending: (low & APIC_DELIVERY_PENDING) !== 0,
    }
  }

  /** Reset: all entries masked, ID 0. The levels of the wires are the devices' business. */
  reset(): void {
    this.idBits = 0
    this.select = 0
    this.low.fill(APIC_MASKED)
    this.destinations.fill(0)
  }

  readMmio(offset: number, size: MmioSize): number {
    if (offset === IOAPIC_REGSEL) return this.select
    return offset === IOAPIC_WIN && size === 4 ? this.readRegister(this.select) : 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (offset === IOAPIC_REGSEL) this.select = value & 0xff
    else if (offset === IOAPIC_WIN && size === 4) this.writeRegister(this.select, value >>> 0)
    else if (offset === IOAPIC_EOI && this.versionNumber >= 0x20) this.endOfInterrupt(value & 0xff)
  }

  /** Register `select` behind IOWIN; 0 for one that does not exist. */
  readRegister(select: number): number {
    switch (select) {
      case IOAPIC_ID:
      case IOAPIC_ARBITRATION:
        return this.idBits << 24
      case IOAPIC_VERSION:
        return ((IOAPIC_PINS - 1) << 16) | this.versionNumber
    }
    const n = (select - IOAPIC_REDIRECTION) >> 1
    if (n < 0 || n >= IOAPIC_PINS) return 0
    return (select & 1) === 0 ? this.low[n]! : (this.destinations[n]! << 24) >>> 0
  }

  /** Writes register `select`; one that does not exist or is read-only stays as it is. */
  writeRegister(select: number, value: number): void {
    if (select === IOAPIC_ID) this.idBits = (value >>> 24) & 15
    const n = (select - IOAPIC_REDIRECTION) >> 1
    if (n < 0 || n >= IOAPIC_PINS) return
    if ((select & 1) !== 0) this.destinations[n] = value >>> 24
    else {
      const bits = value & WRITABLE
      this.low[n] = isLevel(bits) ? bits | (this.low[n]! & STATUS) : bits
    }
    this.follow(n)
  }

  endOfInterrupt(vector: number): void {
    for (let n = 0; n < IOAPIC_PINS; n++) {
      const low = this.low[n]!
      if ((low & APIC_REMOTE_IRR) === 0 || (low & 0xff) !== vector) continue
      this.low[n] = low & ~APIC_REMOTE_IRR
      this.emit(APIC_ACTION.EOI, n, low)
      this.follow(n)
    }
  }

  retry(): void {
    for (let n = 0; n < IOAPIC_PINS; n++) if ((this.low[n]! & APIC_DELIVERY_PENDING) !== 0) this.follow(n)
  }

  private setPin(n: number, high: boolean): void {
    const bit = 1 << n
    if (((this.levels & bit) !== 0) === high) return
    this.levels ^= bit
    const low = this.low[n]!
    if (isLevel(low)) this.follow(n)
    else if (this.isActive(n) && (low & APIC_MASKED) === 0) {
      this.emit(APIC_ACTION.REQUEST, n, low)
      this.send(n, low)
    }
  }

  private isActive(n: number): boolean {
    const high = ((this.levels >> n) & 1) !== 0
    return high !== ((this.low[n]! & APIC_ACTIVE_LOW) !== 0)
  }

  /** A level-triggered input asks while it is active, not masked, and its last request has ended. */
  private follow(n: number): void {
    const low = this.low[n]!
    if (!isLevel(low)) return
    if ((low & (APIC_MASKED | APIC_REMOTE_IRR)) !== 0 || !this.isActive(n)) {
      this.low[n] = low & ~APIC_DELIVERY_PENDING
      return
    }
    this.emit(APIC_ACTION.REQUEST, n, low)
    // The mark is set first: the end of the interrupt may come while the message is being delivered.
    this.low[n] = (low & ~APIC_DELIVERY_PENDING) | APIC_REMOTE_IRR
    if (!this.send(n, low)) this.low[n] = (low & ~APIC_REMOTE_IRR) | APIC_DELIVERY_PENDING
  }

  private send(n: number, low: number): boolean {
    const level = isLevel(low)
    const deliveryMode = (low >> 8) & 7
    if (deliveryMode === 3 || deliveryMode === APIC_DELIVERY.START_UP) return false
    this.emit(APIC_ACTION.SEND, n, low)
    return this.bus.deliver({
      vector: low & 0xff,
      deliveryMode,
      destination: this.destinations[n]!,
      destinationMode: (low & APIC_LOGICAL) !== 0 ? 'logical' : 'physical',
      level: true,
      trigger: level ? 'level' : 'edge',
    })
  }

  private emit(action: string, pin: number, low: number): void {
    const { events } = this
    if (events?.wants('apic') !== true) return
    const event: EventMap['apic'] = {
      chip: this.name,
      action,
      pin,
      vector: low & 0xff,
      deliveryMode: (low >> 8) & 7,
      destination: this.destinations[pin]!,
      destinationMode: (low & APIC_LOGICAL) !== 0 ? 'logical' : 'physical',
      trigger: isLevel(low) ? 'level' : 'edge',
    }
    events.emit('apic', event)
  }

  saveState(): IoApicState {
    return {
      version: 1,
      id: this.idBits,
      select: this.select,
      levels: this.levels,
      low: this.low.slice(),
      destinations: this.destinations.slice(),
    }
  }

  loadState(state: IoApicState): void {
    const fields = new StateReader('io-apic', state, 1)
    const id = fields.int('id', 0, 15)
    const select = fields.int('select', 0, 0xff)
    const levels = fields.int('levels', 0, 2 ** IOAPIC_PINS - 1)
    const low = fields.ints('low', IOAPIC_PINS, 0, WRITABLE | STATUS)
    for (const entry of low) {
      const known = isLevel(entry) ? WRITABLE | STATUS : WRITABLE
      if ((entry & ~known) !== 0) throw fields.inconsistent('low', 'a list of redirection entries')
    }
    const destinations = fields.ints('destinations', IOAPIC_PINS, 0, 0xff)
    this.idBits = id
    this.select = select
    this.levels = levels
    for (let n = 0; n < IOAPIC_PINS; n++) {
      this.low[n] = low[n]!
      this.destinations[n] = destinations[n]!
    }
  }
}

/** Whether an entry is level-triggered: only vectors can be. */
function isLevel(low: number): boolean {
  return (low & APIC_LEVEL_TRIGGERED) !== 0 && ((low >> 8) & 7) <= APIC_DELIVERY.LOWEST_PRIORITY
}

function checkInput(n: number): void {
  if (!Number.isInteger(n) || n < 0 || n >= IOAPIC_PINS) {
    throw new VirtkitError('bad-argument', `an I/O APIC has inputs 0 to ${IOAPIC_PINS - 1}, not ${n}`)
  }
}
