/**
 * Names of the registers and bits of the local APIC and the I/O APIC.
 *
 * Source: Intel SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)"; 82093AA I/O APIC data sheet.
 */

// ---- registers of the local APIC, as offsets in its page; the x2APIC MSR is 800h + offset / 16

/** Identification: xAPIC ID in bits 31–24, x2APIC ID in all 32. */
export const APIC_ID = 0x020
/** Version, number of LVT entries, EOI-broadcast suppression. */
export const APIC_VERSION = 0x030
/** Task priority. */
export const APIC_TPR = 0x080
/** Arbitration priority (not in x2APIC mode). */
export const APIC_APR = 0x090
/** Processor priority. */
export const APIC_PPR = 0x0a0
/** End of interrupt, write-only. */
export const APIC_EOI = 0x0b0
/** Remote read (not in x2APIC mode): reads 0, as in every xAPIC. */
export const APIC_RRD = 0x0c0
/** Logical destination. */
export const APIC_LDR = 0x0d0
/** Destination format (not in x2APIC mode). */
export const APIC_DFR = 0x0e0
/** Spurious-interrupt vector. */
export const APIC_SVR = 0x0f0
/** In service, eight registers of 32 vectors. */
export const APIC_ISR = 0x100
/** Trigger mode, eight registers. */
export const APIC_TMR = 0x180
/** Interrupt request, eight registers. */
export const APIC_IRR = 0x200
/** Error status. */
export const APIC_ESR = 0x280
/** LVT entry of corrected machine-check errors. */
export const APIC_LVT_CMCI = 0x2f0
/** Interrupt command, low half; in x2APIC mode the whole 64 bits. */
export const APIC_ICR = 0x300
/** Interrupt command, high half: destination in bits 31–24 (not in x2APIC mode). */
export const APIC_ICR_HIGH = 0x310
/** LVT entry of the timer. */
export const APIC_LVT_TIMER = 0x320
/** LVT entry of the thermal sensor. */
export const APIC_LVT_THERMAL = 0x330
/** LVT entry of the performance counters. */
export const APIC_LVT_PERFORMANCE = 0x340
/** LVT entry of the pin LINT0. */
export const APIC_LVT_LINT0 = 0x350
/** LVT entry of the pin LINT1. */
export const APIC_LVT_LINT1 = 0x360
/** LVT entry of APIC errors. */
export const APIC_LVT_ERROR = 0x370
/** Timer: initial count. */
export const APIC_TIMER_INITIAL = 0x380
/** Timer: current count, read-only. */
export const APIC_TIMER_CURRENT = 0x390
/** Timer: divide configuration, bits 0, 1 and 3. */
export const APIC_TIMER_DIVIDE = 0x3e0
/** SELF IPI, write-only, in x2APIC mode only. */
export const APIC_SELF_IPI = 0x3f0

/** Size of the local APIC's window in bytes. */
export const APIC_PAGE_SIZE = 0x1000
/** Where the window is after reset. */
export const APIC_DEFAULT_BASE = 0xfee00000

// ---- MSRs

/** IA32_APIC_BASE. */
export const MSR_APIC_BASE = 0x1b
/** IA32_TSC_DEADLINE. */
export const MSR_TSC_DEADLINE = 0x6e0
/** First MSR of the x2APIC register space. */
export const MSR_X2APIC_FIRST = 0x800
/** Last MSR that the architecture reserves for the x2APIC. */
export const MSR_X2APIC_LAST = 0x8ff

/** IA32_APIC_BASE: this is the bootstrap processor. */
export const APIC_BASE_BSP: number = 1 << 8
/** IA32_APIC_BASE: x2APIC mode. */
export const APIC_BASE_EXTD: number = 1 << 10
/** IA32_APIC_BASE: the APIC is enabled. */
export const APIC_BASE_EN: number = 1 << 11

// ---- bits

/** Version register: version of an xAPIC. */
export const APIC_VERSION_XAPIC = 0x14
/** Version register: SVR can suppress the EOI broadcast. */
export const APIC_VERSION_EOI_SUPPRESSION: number = 1 << 24
/** SVR: software enable. */
export const APIC_SVR_ENABLE: number = 1 << 8
/** SVR: focus processor checking is off. */
export const APIC_SVR_FOCUS_OFF: number = 1 << 9
/** SVR: no EOI messages for level-triggered interrupts. */
export const APIC_SVR_EOI_SUPPRESSION: number = 1 << 12
/** DFR: flat model in bits 31–28; 0 there is the cluster model. */
export const APIC_DFR_FLAT = 0xffffffff

/** ESR: a message of ours has a vector of 0–15. */
export const APIC_ESR_SEND_ILLEGAL_VECTOR: number = 1 << 5
/** ESR: a message or a local source brought a vector of 0–15. */
export const APIC_ESR_RECEIVE_ILLEGAL_VECTOR: number = 1 << 6
/** ESR: access to a reserved register of the page. */
export const APIC_ESR_ILLEGAL_REGISTER: number = 1 << 7

/** LVT and redirection entries: not yet accepted (read-only). */
export const APIC_DELIVERY_PENDING: number = 1 << 12
/** LVT LINT and redirection entries: the input is active low. */
export const APIC_ACTIVE_LOW: number = 1 << 13
/** LVT LINT0 and redirection entries: a level interrupt was accepted and its EOI is outstanding (read-only). */
export const APIC_REMOTE_IRR: number = 1 << 14
/** LVT LINT and redirection entries, ICR, MSI data: level-triggered. */
export const APIC_LEVEL_TRIGGERED: number = 1 << 15
/** LVT and redirection entries: masked. */
export const APIC_MASKED: number = 1 << 16
/** ICR, redirection entries: logical destination mode. */
export const APIC_LOGICAL: number = 1 << 11
/** ICR, MSI data: level assert. */
export const APIC_ASSERT: number = 1 << 14
/** LVT timer: one-shot in bits 18–17. */
export const APIC_TIMER_ONE_SHOT = 0
/** LVT timer: periodic in bits 18–17. */
export const APIC_TIMER_PERIODIC: number = 1 << 17
/** LVT timer: TSC-deadline in bits 18–17. */
export const APIC_TIMER_TSC_DEADLINE: number = 1 << 18

/** ICR shorthand in bits 19–18: none, use the destination field. */
export const APIC_SHORTHAND_NONE = 0
/** ICR shorthand: self. */
export const APIC_SHORTHAND_SELF: number = 1 << 18
/** ICR shorthand: all including self. */
export const APIC_SHORTHAND_ALL: number = 2 << 18
/** ICR shorthand: all excluding self. */
export const APIC_SHORTHAND_OTHERS: number = 3 << 18

/** Delivery modes: bits 10–8 of ICR, LVT and redirection entries, and MSI data. */
export const APIC_DELIVERY = {
  /** The vector, to every target. */
  FIXED: 0,
  /** The vector, to the one target of lowest priority. */
  LOWEST_PRIORITY: 1,
  /** System-management interrupt. */
  SMI: 2,
  /** Non-maskable interrupt. */
  NMI: 4,
  /** INIT. */
  INIT: 5,
  /** Start-up IPI: the vector is the page of the start address. ICR only. */
  START_UP: 6,
  /** An 8259A has the vector. LVT, redirection entries and MSI only. */
  EXT_INT: 7,
} as const

// ---- I/O APIC

/** Offset of the register selector. */
export const IOAPIC_REGSEL = 0x00
/** Offset of the window on the selected register. */
export const IOAPIC_WIN = 0x10
/** Offset of the EOI register (version 20h). */
export const IOAPIC_EOI = 0x40
/** Selector of the identification register: ID in bits 27–24. */
export const IOAPIC_ID = 0x00
/** Selector of the version register. */
export const IOAPIC_VERSION = 0x01
/** Selector of the arbitration register: arbitration ID in bits 27–24. */
export const IOAPIC_ARBITRATION = 0x02
/** Selector of the low half of redirection entry 0; entry n is at 2n from here, its high half one further. */
export const IOAPIC_REDIRECTION = 0x10
/** Inputs of the 82093AA. */
export const IOAPIC_PINS = 24
/** Where the first I/O APIC of a PC is. */
export const IOAPIC_DEFAULT_BASE = 0xfec00000
/** Size of the I/O APIC's window in bytes. */
export const IOAPIC_WINDOW_SIZE = 0x1000

/** The `action` of `apic` events. */
export const APIC_ACTION = {
  /** An input of an I/O APIC or an LVT source asks. */
  REQUEST: 'request',
  /** A message goes out on the bus. */
  SEND: 'send',
  /** A local APIC takes a vector into IRR. */
  ACCEPT: 'accept',
  /** A local APIC passes NMI, SMI, INIT, a start-up or an 8259A's request on to its processor. */
  SIGNAL: 'signal',
  /** The processor takes the vector: from IRR to ISR. */
  DELIVER: 'deliver',
  /** The processor asks for a vector and there is none any more. */
  SPURIOUS: 'spurious',
  /** End of interrupt: at a local APIC, then at an I/O APIC. */
  EOI: 'eoi',
  /** The local APIC notes an error in ESR. */
  ERROR: 'error',
} as const
