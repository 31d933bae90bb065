import type { MmioDevice, MmioSize } from '../contracts/bus.js'
import type { ApicBus, ApicMessage } from './apic-bus.js'
import { APIC_ASSERT, APIC_DELIVERY, APIC_LEVEL_TRIGGERED } from './apic-registers.js'

/** First address whose writes are interrupt messages. */
export const MSI_BASE = 0xfee00000
/** Size of the range of interrupt messages in bytes: FEE00000h–FEEFFFFFh. */
export const MSI_SIZE = 0x100000
/** MSI address: redirection hint, the message may go to the target of lowest priority. */
export const MSI_REDIRECTION_HINT: number = 1 << 3
/** MSI address: logical destination mode. */
export const MSI_LOGICAL: number = 1 << 2

/**
 * What a write of `data` (32 bits) at `address` says as an interrupt message, or undefined if the address is outside
 * FEE00000h–FEEFFFFFh or the delivery mode is reserved.
 *
 * A redirection hint makes a fixed message one of lowest priority. The manual leaves the destination mode without the
 * hint open ("ignored"); chipsets look at it nevertheless, operating systems count on that, and so it is here.
 *
 * Source: Intel SDM Vol. 3A, "Message Signalled Interrupts"; PCI Local Bus Specification 3.0, "MSI and MSI-X
 * Operation".
 */
export function decodeMsi(address: number, data: number): ApicMessage | undefined {
  if (address < MSI_BASE || address >= MSI_BASE + MSI_SIZE) return undefined
  const offset = address - MSI_BASE
  let deliveryMode = (data >>> 8) & 7
  if (deliveryMode === 3 || deliveryMode === APIC_DELIVERY.START_UP) return undefined
  if (deliveryMode === APIC_DELIVERY.FIXED && (offset & MSI_REDIRECTION_HINT) !== 0) {
    deliveryMode = APIC_DELIVERY.LOWEST_PRIORITY
  }
  const levelTriggered = (data & APIC_LEVEL_TRIGGERED) !== 0
  return {
    vector: data & 0xff,
    deliveryMode,
    destination: (offset >>> 12) & 0xff,
    destinationMode: (offset & MSI_LOGICAL) !== 0 ? 'logical' : 'physical',
    level: !levelTriggered || (data & APIC_ASSERT) !== 0,
    trigger: levelTriggered ? 'level' : 'edge',
  }
}

/**
 * The window FEE00000h–FEEFFFFFh as bus masters see it: a write of 4 bytes is an interrupt message. Map it at
 * {@link MSI_BASE} in the address space of DMA and PCI devices, not of processors, whose local APICs answer there.
 * Other sizes and unaligned writes are dropped (the PCI specification allows only aligned dwords); reads give all
 * ones.
 */
export class MsiTarget implements MmioDevice {
  private readonly bus: ApicBus

  constructor(bus: ApicBus) {
    this.bus = bus
  }

  readMmio(_offset: number, size: MmioSize): number {
    return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) return
    this.send(MSI_BASE + offset, value)
  }

  /** The message of one MSI or MSI-X vector. Returns whether a local APIC took it; false for a write that is none. */
  send(address: number, data: number): boolean {
    const message = decodeMsi(address, data)
    return message !== undefined && this.bus.deliver(message)
  }
}
