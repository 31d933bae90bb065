/**
 * Bits of the control registers and of IA32_EFER. Source: Intel SDM Vol. 3A, "Control Registers" and "Extended Feature Enable Register".
 * Values are positive numbers, also bit 31.
 */

/** Protection enable: protected mode. */
export const CR0_PE: number = 0x00000001
/** Monitor coprocessor: WAIT obeys TS. */
export const CR0_MP: number = 0x00000002
/** Emulation: x87 instructions raise #NM. */
export const CR0_EM: number = 0x00000004
/** Task switched. */
export const CR0_TS: number = 0x00000008
/** Extension type: 1 on everything since the 486. */
export const CR0_ET: number = 0x00000010
/** Numeric error: x87 errors raise #MF. */
export const CR0_NE: number = 0x00000020
/** Write protect: supervisor writes obey R/W. */
export const CR0_WP: number = 0x00010000
/** Alignment mask. */
export const CR0_AM: number = 0x00040000
/** Not write-through. */
export const CR0_NW: number = 0x20000000
/** Cache disable. */
export const CR0_CD: number = 0x40000000
/** Paging. */
export const CR0_PG: number = 0x80000000

/** Virtual-8086 mode extensions. */
export const CR4_VME: number = 0x00000001
/** Protected-mode virtual interrupts. */
export const CR4_PVI: number = 0x00000002
/** Time stamp disable. */
export const CR4_TSD: number = 0x00000004
/** Debugging extensions. */
export const CR4_DE: number = 0x00000008
/** Page size extensions: 4 MiB pages in 32-bit paging. */
export const CR4_PSE: number = 0x00000010
/** Physical address extension. */
export const CR4_PAE: number = 0x00000020
/** Machine-check enable. */
export const CR4_MCE: number = 0x00000040
/** Global pages. */
export const CR4_PGE: number = 0x00000080
/** RDPMC at any privilege level. */
export const CR4_PCE: number = 0x00000100
/** FXSAVE and SSE. */
export const CR4_OSFXSR: number = 0x00000200
/** Unmasked SIMD exceptions. */
export const CR4_OSXMMEXCPT: number = 0x00000400
/** User-mode instruction prevention. */
export const CR4_UMIP: number = 0x00000800
/** 57-bit linear addresses; not offered by this library. */
export const CR4_LA57: number = 0x00001000
/** VMX enable. */
export const CR4_VMXE: number = 0x00002000
/** SMX enable. */
export const CR4_SMXE: number = 0x00004000
/** RDFSBASE and its kin. */
export const CR4_FSGSBASE: number = 0x00010000
/** Process-context identifiers. */
export const CR4_PCIDE: number = 0x00020000
/** XSAVE and extended states. */
export const CR4_OSXSAVE: number = 0x00040000
/** Supervisor-mode execution prevention. */
export const CR4_SMEP: number = 0x00100000
/** Supervisor-mode access prevention. */
export const CR4_SMAP: number = 0x00200000
/** Protection keys for user pages. */
export const CR4_PKE: number = 0x00400000

/** IA32_EFER: SYSCALL enable. */
export const EFER_SCE: number = 0x001
/** IA32_EFER: long mode enable. */
export const EFER_LME: number = 0x100
/** IA32_EFER: long mode active. */
export const EFER_LMA: number = 0x400
/** IA32_EFER: execute-disable enable. */
export const EFER_NXE: number = 0x800
