/**
 * Which local APIC a logical destination names.
 *
 * Source: Intel SDM Vol. 3A, "Logical Destination Mode", "Logical Destination Mode in x2APIC Mode".
 */

/** DFR bits 31–28: eight APICs, a bit of the destination for each. */
const FLAT = 15
/** DFR bits 31–28: bits 7–4 of the destination number a cluster, bits 3–0 are four APICs of it. */
const CLUSTER = 0

/**
 * Whether an 8-bit logical `destination` names an xAPIC with these LDR and DFR. A DFR of neither model matches nothing;
 * FFh, which means everyone, is not looked at here.
 */
export function matchesXapicLogical(destination: number, ldr: number, dfr: number): boolean {
  const own = ldr >>> 24
  switch (dfr >>> 28) {
    case FLAT:
      return (destination & own) !== 0
    case CLUSTER:
      return destination >> 4 === own >> 4 && (destination & own & 15) !== 0
  }
  return false
}

/** The logical x2APIC ID that follows from an x2APIC ID: a cluster of sixteen in bits 31–16, a bit of 15–0 in it. */
export function x2apicLogicalId(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0
}

/** Whether a 32-bit logical `destination` names the APIC with this x2APIC ID. */
export function matchesX2apicLogical(destination: number, id: number): boolean {
  const own = x2apicLogicalId(id)
  return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0
}
