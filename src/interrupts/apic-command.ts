import type { ApicMessage } from './apic-bus.js'
import {
  APIC_ASSERT,
  APIC_DELIVERY,
  APIC_LEVEL_TRIGGERED,
  APIC_LOGICAL,
  APIC_SHORTHAND_ALL,
  APIC_SHORTHAND_NONE,
  APIC_SHORTHAND_OTHERS,
  APIC_SHORTHAND_SELF,
} from './apic-registers.js'

/** What a write of the interrupt command register asks for. */
export interface ApicCommand {
  /** Who is meant; the destination of the message counts with `destination` only. */
  readonly target: 'destination' | 'self' | 'all' | 'others'
  readonly message: ApicMessage
  /** The vector is one of 0–15, which no message may carry: an error instead of an interrupt. */
  readonly illegalVector: boolean
}

const TARGETS: Readonly<Record<number, ApicCommand['target']>> = {
  [APIC_SHORTHAND_NONE]: 'destination',
  [APIC_SHORTHAND_SELF]: 'self',
  [APIC_SHORTHAND_ALL]: 'all',
  [APIC_SHORTHAND_OTHERS]: 'others',
}

/**
 * Decodes an interrupt command: `low` is the low half of ICR, `destination` has 8 bits, or 32 when `wide` (x2APIC
 * mode). Undefined when there is nothing to send:
 * - A de-assert. Only INIT had one, and it did no more than synchronise arbitration IDs.
 * - A reserved delivery mode; remote read is one, and ExtINT is none for IPIs.
 * - SMI, NMI, INIT, start-up or lowest priority to self or to all including self, which the manual declares invalid.
 *
 * IPIs are always edge-triggered.
 *
 * Source: Intel SDM Vol. 3A, "Interrupt Command Register (ICR)", "Valid Combinations for the Pentium 4 and Intel Xeon
 * Processors' Local xAPIC Interrupt Command Register".
 */
export function decodeApicCommand(low: number, destination: number, wide: boolean): ApicCommand | undefined {
  if ((low & APIC_LEVEL_TRIGGERED) !== 0 && (low & APIC_ASSERT) === 0) return undefined
  const vector = low & 0xff
  const deliveryMode = (low >>> 8) & 7
  if (deliveryMode === 3 || deliveryMode === APIC_DELIVERY.EXT_INT) return undefined
  const target = TARGETS[low & APIC_SHORTHAND_OTHERS]!
  if ((target === 'self' || target === 'all') && deliveryMode !== APIC_DELIVERY.FIXED) return undefined
  const destinationMode = (low & APIC_LOGICAL) !== 0 ? 'logical' : 'physical'
  const hasVector = deliveryMode === APIC_DELIVERY.FIXED || deliveryMode === APIC_DELIVERY.LOWEST_PRIORITY
  return {
    target,
    message: { vector, deliveryMode, destination, destinationMode, level: true, trigger: 'edge', wide },
    illegalVector: hasVector && vector < 16,
  }
}
