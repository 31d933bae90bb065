import {
  APIC_BASE_BSP,
  APIC_BASE_EN,
  APIC_BASE_EXTD,
  APIC_DELIVERY_PENDING,
  APIC_EOI,
  APIC_ESR,
  APIC_ICR,
  APIC_ID,
  APIC_IRR,
  APIC_ISR,
  APIC_LDR,
  APIC_PPR,
  APIC_REMOTE_IRR,
  APIC_SELF_IPI,
  APIC_SVR,
  APIC_TIMER_CURRENT,
  APIC_TIMER_DIVIDE,
  APIC_TIMER_INITIAL,
  APIC_TMR,
  APIC_TPR,
  APIC_VERSION,
} from './apic-registers.js'
import { LVT_LINT0, LVT_LINT1, lvtEntryAt, lvtWritable } from './local-apic-lvt.js'

/** No bit at all: only zero may be written. */
const ZERO = 0

/**
 * Bits of the low half that WRMSR may set, by the register's offset. LVT entries are not here; what is missing
 * otherwise cannot be written.
 */
const WRITABLE = new Map<number, number>([
  [APIC_TPR, 0xff],
  [APIC_EOI, ZERO],
  [APIC_SVR, 0x13ff],
  [APIC_ESR, ZERO],
  [APIC_ICR, 0xcdfff],
  [APIC_TIMER_INITIAL, 0xffffffff],
  [APIC_TIMER_DIVIDE, 0x0b],
  [APIC_SELF_IPI, 0xff],
])

const READABLE = new Set<number>([
  APIC_ID,
  APIC_VERSION,
  APIC_TPR,
  APIC_PPR,
  APIC_LDR,
  APIC_SVR,
  APIC_ESR,
  APIC_ICR,
  APIC_TIMER_INITIAL,
  APIC_TIMER_CURRENT,
  APIC_TIMER_DIVIDE,
  ...[APIC_ISR, APIC_TMR, APIC_IRR].flatMap((first) => Array.from({ length: 8 }, (_, n) => first + n * 16)),
])

/**
 * Whether RDMSR of the x2APIC register at `offset` (the MSR less 800h, times 16) is allowed.
 *
 * Source: Intel SDM Vol. 3A, "x2APIC Register Address Space".
 */
export function x2apicReadable(offset: number): boolean {
  return READABLE.has(offset) || lvtEntryAt(offset) >= 0
}

/** Which bits of the low half WRMSR may set; undefined when the register cannot be written. */
export function x2apicWritable(offset: number, tscDeadline: boolean): number | undefined {
  const entry = lvtEntryAt(offset)
  if (entry < 0) return WRITABLE.get(offset)
  // The read-only status bits are not reserved: what RDMSR gave may be written back.
  const status = entry === LVT_LINT0 || entry === LVT_LINT1 ? APIC_REMOTE_IRR : 0
  return lvtWritable(entry, tscDeadline) | APIC_DELIVERY_PENDING | status
}

/** What of a processor decides which values IA32_APIC_BASE can have. */
export interface ApicBaseShape {
  /** MAXPHYADDR. */
  readonly physicalAddressBits: number
  /** There is x2APIC mode. */
  readonly x2apic: boolean
}

/**
 * Whether `base` is a value that IA32_APIC_BASE can have: no reserved bit, and x2APIC mode only with the enable bit.
 */
export function isApicBase(base: number, shape: ApicBaseShape): boolean {
  if (base >= 2 ** shape.physicalAddressBits) return false
  const flags = base & 0xfff
  const known = APIC_BASE_BSP | APIC_BASE_EN | (shape.x2apic ? APIC_BASE_EXTD : 0)
  return (flags & ~known) === 0 && (flags & (APIC_BASE_EN | APIC_BASE_EXTD)) !== APIC_BASE_EXTD
}

/**
 * What WRMSR of `value` makes of IA32_APIC_BASE, or undefined for #GP(0). x2APIC mode is entered from xAPIC mode and
 * left by disabling the APIC: disabled to x2APIC and x2APIC to xAPIC are refused.
 *
 * Source: Intel SDM Vol. 3A, "x2APIC State Transitions".
 */
export function nextApicBase(from: number, value: bigint, shape: ApicBaseShape): number | undefined {
  const base = Number(BigInt.asUintN(64, value))
  if (!isApicBase(base, shape)) return undefined
  const enable = (base & APIC_BASE_EN) !== 0
  const extend = (base & APIC_BASE_EXTD) !== 0
  if (extend && (from & APIC_BASE_EN) === 0) return undefined
  if (enable && !extend && (from & APIC_BASE_EXTD) !== 0) return undefined
  return base
}
