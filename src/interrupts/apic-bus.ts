import { VirtkitError } from '../contracts/errors.js'
import { APIC_DELIVERY } from './apic-registers.js'

/** An interrupt message on the bus between the APICs. */
export interface ApicMessage {
  /** 0–255. Only {@link APIC_DELIVERY}.FIXED, LOWEST_PRIORITY and START_UP look at it. */
  readonly vector: number
  /** One of {@link APIC_DELIVERY}; the reserved 3 reaches nobody. */
  readonly deliveryMode: number
  /** Eight bits; 32 bits when `wide`. */
  readonly destination: number
  /** Whether `destination` is an APIC ID or a set of logical ones. */
  readonly destinationMode: 'physical' | 'logical'
  /** True for assert, which is all that edge-triggered messages can be. */
  readonly level: boolean
  readonly trigger: 'edge' | 'level'
  /** The destination has 32 bits: the sender is a local APIC in x2APIC mode. Default false. */
  readonly wide?: boolean
}

/** What the bus asks of a local APIC. */
export interface ApicReceiver {
  /** The APIC ID from reset, unique on the bus: the order in which receivers are served. */
  readonly initialId: number
  /** The arbitration priority, 0–255. */
  readonly arbitrationPriority: number
  /** Whether it takes vectors now (enabled by hardware and software). */
  readonly acceptsVectors: boolean
  /** Whether the message is for this APIC. */
  matches(destination: number, logical: boolean, wide: boolean): boolean
  /** Whether it is the focus processor of a vector: requested or in service there, and focus checking on. */
  isFocusOf(vector: number): boolean
  /** Takes a message that is for it; false when it refuses. */
  accept(deliveryMode: number, vector: number, level: boolean): boolean
}

/** What the bus tells an I/O APIC. */
export interface EoiReceiver {
  /** A local APIC ended a level-triggered interrupt of this vector. */
  endOfInterrupt(vector: number): void
  /** A local APIC changed what it accepts: level-triggered requests that nobody took may be offered again. */
  retry(): void
}

/** An 8-bit destination that means every local APIC. */
export const APIC_BROADCAST = 0xff
/** A 32-bit destination that means every local APIC. */
export const X2APIC_BROADCAST = 0xffffffff

/**
 * The bus that joins local APICs and I/O APICs: the three-wire APIC bus of the P6, or messages on the system bus.
 * Messages arrive at once. Receivers are served in the order of their initial APIC IDs, so a run is reproducible.
 *
 * **Lowest priority.** Of the addressed APICs that accept vectors, the focus processor takes the message (the one
 * that already has this vector requested or in service and has focus checking on); without one, that of the lowest
 * arbitration priority, and of several equal ones that of the lowest initial APIC ID. Hardware breaks the tie by
 * rotating arbitration IDs, or as the chipset likes; the fixed rule keeps the bus without a state of its own.
 *
 * Source: Intel SDM Vol. 3A, "Determining IPI Destination", "Bus Message Formats", "Lowest Priority Delivery Mode".
 */
export class ApicBus {
  private readonly receivers: ApicReceiver[] = []
  private readonly ioApics: EoiReceiver[] = []

  /**
   * Puts a local APIC on the bus; `LocalApic` does so itself when constructed.
   * Throws `overlap` when the initial ID is taken.
   */
  attach(receiver: ApicReceiver): void {
    const { receivers } = this
    if (receivers.some((other) => other.initialId === receiver.initialId)) {
      throw new VirtkitError('overlap', `there is already a local APIC with ID ${receiver.initialId}`)
    }
    receivers.push(receiver)
    receivers.sort((a, b) => a.initialId - b.initialId)
  }

  /** Puts an I/O APIC on the bus, to hear of ends of interrupts; `IoApic` does so itself when constructed. */
  attachIoApic(receiver: EoiReceiver): void {
    this.ioApics.push(receiver)
  }

  /** Number of local APICs. */
  get size(): number {
    return this.receivers.length
  }

  /** Sends a message to where its destination says. Returns whether an APIC took it. */
  deliver(message: ApicMessage): boolean {
    return this.send(message, undefined, false)
  }

  /** Sends a message to every APIC but `except`, whatever its destination says: the shorthands of ICR. */
  broadcast(message: ApicMessage, except?: ApicReceiver): boolean {
    return this.send(message, except, true)
  }

  /** Tells the I/O APICs that a level-triggered interrupt of this vector ended. */
  endOfInterrupt(vector: number): void {
    for (const ioApic of this.ioApics) ioApic.endOfInterrupt(vector)
  }

  /** A local APIC calls this when it may now take what it refused before. */
  retry(): void {
    for (const ioApic of this.ioApics) ioApic.retry()
  }

  private send(message: ApicMessage, except: ApicReceiver | undefined, everyone: boolean): boolean {
    // All fields are read before anything happens: a receiver may send in turn, and a sender may reuse its message.
    const { vector, deliveryMode, destination, level, trigger } = message
    const wide = message.wide === true
    const logical = message.destinationMode === 'logical'
    const levelTriggered = trigger === 'level'
    // A level that goes away is no message for anyone: INIT level de-assert only synchronised arbitration IDs.
    if (levelTriggered && !level) return false
    if (deliveryMode === APIC_DELIVERY.LOWEST_PRIORITY) {
      const winner = this.arbitrate(vector, destination, logical, wide, except, everyone)
      return winner?.accept(APIC_DELIVERY.FIXED, vector, levelTriggered) ?? false
    }
    let taken = false
    for (const receiver of this.receivers) {
      if (receiver === except || !(everyone || receiver.matches(destination, logical, wide))) continue
      if (receiver.accept(deliveryMode, vector, levelTriggered)) taken = true
    }
    return taken
  }

  private arbitrate(
    vector: number,
    destination: number,
    logical: boolean,
    wide: boolean,
    except: ApicReceiver | undefined,
    everyone: boolean,
  ): ApicReceiver | undefined {
    let winner: ApicReceiver | undefined
    let lowest = 0x100
    for (const receiver of this.receivers) {
      if (receiver === except || !receiver.acceptsVectors) continue
      if (!everyone && !receiver.matches(destination, logical, wide)) continue
      if (receiver.isFocusOf(vector)) return receiver
      const priority = receiver.arbitrationPriority
      if (priority < lowest) {
        lowest = priority
        winner = receiver
      }
    }
    return winner
  }
}
