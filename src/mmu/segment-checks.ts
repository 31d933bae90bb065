/**
 * Every check that protected mode makes on a selector and its descriptor, as pure functions in the order of the manual's
 * pseudo-code. Each returns 0 when all is well, else a packed fault; the caller, which alone can read memory, has fetched the descriptor before, with
 * {@link checkTableLimit} and {@link isNullSelector} as the manual orders them. Source: Intel SDM Vol. 2, the instructions named at each
 * function, and Vol. 3A, "Protection".
 *
 * Access rights are in the format of descriptors.ts. `long` means IA-32e mode (EFER.LMA = 1).
 */
import type { GuestFault } from '../contracts/index.js'
import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_L,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  attrDpl,
  DESC_TYPE_CALL_GATE16,
  DESC_TYPE_CALL_GATE32,
  DESC_TYPE_INTERRUPT_GATE16,
  DESC_TYPE_INTERRUPT_GATE32,
  DESC_TYPE_LDT,
  DESC_TYPE_TASK_GATE,
  DESC_TYPE_TRAP_GATE16,
  DESC_TYPE_TRAP_GATE32,
  DESC_TYPE_TSS16_AVAILABLE,
  DESC_TYPE_TSS16_BUSY,
  DESC_TYPE_TSS32_AVAILABLE,
  DESC_TYPE_TSS32_BUSY,
  isCode,
  isConforming,
  isExpandDown,
  isNullSelector,
  isWritableData,
  SELECTOR_TI,
  systemType,
} from './descriptors.js'

/** Vector of an invalid-TSS exception, #TS. */
export const VECTOR_TS: number = 10
/** Vector of a segment-not-present exception, #NP. */
export const VECTOR_NP: number = 11
/** Vector of a stack-segment fault, #SS. */
export const VECTOR_SS: number = 12
/** Vector of a general-protection exception, #GP. */
export const VECTOR_GP: number = 13

/** Set in every packed fault, so that none is 0. Low 16 bits: error code; bits 16–23: vector. */
export const FAULT_FLAG: number = 1 << 24
/** Error code: the event was external to the program (EXT). */
export const ERROR_EXT: number = 1
/** Error code: the index is into the IDT. */
export const ERROR_IDT: number = 2

/** Packs a fault. */
export function makeFault(vector: number, errorCode: number): number {
  return FAULT_FLAG | (vector << 16) | (errorCode & 0xffff)
}

/** Vector of a packed fault. */
export function faultVector(fault: number): number {
  return (fault >>> 16) & 0xff
}

/** Error code of a packed fault. */
export function faultErrorCode(fault: number): number {
  return fault & 0xffff
}

/** A packed fault as an object, for code off the hot paths. */
export function toGuestFault(fault: number): GuestFault {
  return { vector: faultVector(fault), errorCode: faultErrorCode(fault) }
}

/** The same fault, met while an external event was delivered: EXT is set. 0 stays 0. */
export function withExt(fault: number): number {
  return fault === 0 ? 0 : fault | ERROR_EXT
}

/** The same failure during a task switch: what is #GP elsewhere is #TS. Not-present faults stay as they are. 0 stays 0. */
export function asTaskFault(fault: number): number {
  return faultVector(fault) === VECTOR_GP ? makeFault(VECTOR_TS, faultErrorCode(fault)) : fault
}

function selectorFault(vector: number, selector: number): number {
  return FAULT_FLAG | (vector << 16) | (selector & 0xfffc)
}

function gp(selector: number): number {
  return selectorFault(VECTOR_GP, selector)
}

function presence(vector: number, selector: number, attr: number): number {
  return attr & ATTR_P ? 0 : selectorFault(vector, selector)
}

function rplOf(selector: number): number {
  return selector & 3
}

// --- tables --------------------------------------------------------------------------------------------------------------

/** Whether a descriptor of `bytes` (8, or 16 for system descriptors in 64-bit mode) lies within the limit of its table: #GP(selector) if not. */
export function checkTableLimit(selector: number, tableLimit: number, bytes = 8): number {
  return (selector & 0xfff8) + bytes - 1 > tableLimit ? gp(selector) : 0
}

/** The fourth word of a 16-byte descriptor of IA-32e mode: its type field must be 0, #GP(selector) if not. */
export function checkUpperWord(selector: number, word: number): number {
  return word & 0x1f00 ? gp(selector) : 0
}

/** LLDT: not in the LDT, an LDT descriptor, present. (A null selector is fine and makes the LDT unusable: do not call.) */
export function checkLdtLoad(selector: number, attr: number): number {
  if (selector & SELECTOR_TI || systemType(attr) !== DESC_TYPE_LDT) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** LTR: not null, in the GDT, an available TSS (in IA-32e mode the 64-bit one only), present. */
export function checkTaskRegisterLoad(selector: number, attr: number, long: boolean): number {
  if (isNullSelector(selector)) return gp(0)
  if (selector & SELECTOR_TI) return gp(selector)
  const type = systemType(attr)
  if (type !== DESC_TYPE_TSS32_AVAILABLE && (long || type !== DESC_TYPE_TSS16_AVAILABLE)) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

// --- data and stack segments -----------------------------------------------------------------------------------------------

/** MOV and POP to DS, ES, FS, GS with a selector that is not null: data or readable code, privilege unless conforming, present. */
export function checkDataLoad(selector: number, attr: number, cpl: number): number {
  if (!(attr & ATTR_S) || (attr & (ATTR_CODE | ATTR_RW)) === ATTR_CODE) return gp(selector)
  if (!isConforming(attr) && (rplOf(selector) > attrDpl(attr) || cpl > attrDpl(attr))) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** MOV and POP to SS with a null selector: allowed in 64-bit mode below CPL 3, with RPL = CPL. */
export function checkNullStackLoad(selector: number, cpl: number, in64BitMode: boolean): number {
  return in64BitMode && cpl < 3 && rplOf(selector) === cpl ? 0 : gp(0)
}

/** MOV and POP to SS with a selector that is not null: RPL = CPL, writable data, DPL = CPL; not present is #SS. */
export function checkStackLoad(selector: number, attr: number, cpl: number): number {
  if (rplOf(selector) !== cpl || !isWritableData(attr) || attrDpl(attr) !== cpl) return gp(selector)
  return presence(VECTOR_SS, selector, attr)
}

/** The null SS of a far return or IRET to an outer level: allowed only when returning to 64-bit code below privilege level 3. */
export function checkNullReturnStack(newCpl: number, to64BitCode: boolean): number {
  return to64BitCode && newCpl !== 3 ? 0 : gp(0)
}

/** The SS of a far return or IRET to an outer level: as a load of SS at the new privilege level. */
export function checkReturnStack(selector: number, attr: number, newCpl: number): number {
  return checkStackLoad(selector, attr, newCpl)
}

/** The SS that a TSS gives for an inner privilege level: #TS for everything but absence, which is #SS. Null is refused too. */
export function checkInnerStack(selector: number, attr: number, newCpl: number): number {
  if (isNullSelector(selector)) return selectorFault(VECTOR_TS, selector)
  return asTaskFault(checkStackLoad(selector, attr, newCpl))
}

// --- code segments -----------------------------------------------------------------------------------------------------------

function badLong(attr: number, long: boolean): boolean {
  return long && (attr & (ATTR_L | ATTR_DB)) === (ATTR_L | ATTR_DB)
}

/** JMP and CALL far to a code segment: conforming needs DPL <= CPL, nonconforming RPL <= CPL and DPL = CPL; present. Any other descriptor is #GP. */
export function checkFarJump(selector: number, attr: number, cpl: number, long: boolean): number {
  if (isNullSelector(selector)) return gp(0)
  if (!isCode(attr) || badLong(attr, long)) return gp(selector)
  if (isConforming(attr)) {
    if (attrDpl(attr) > cpl) return gp(selector)
  } else if (rplOf(selector) > cpl || attrDpl(attr) !== cpl) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** RET far and IRET: the new privilege level is the selector's RPL, which may not be more privileged; conforming needs DPL <= RPL, nonconforming DPL = RPL. */
export function checkFarReturn(selector: number, attr: number, cpl: number, long: boolean): number {
  if (isNullSelector(selector)) return gp(0)
  const rpl = rplOf(selector)
  if (!isCode(attr) || badLong(attr, long) || rpl < cpl) return gp(selector)
  if (isConforming(attr) ? attrDpl(attr) > rpl : attrDpl(attr) !== rpl) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** CS of a task being switched to: code whose DPL fits the RPL, #TS if not; absent is #NP. */
export function checkTaskCode(selector: number, attr: number): number {
  return asTaskFault(checkFarReturn(selector, attr, 0, false))
}

/** LDT of a task being switched to (not null): everything wrong with it, absence too, is #TS. */
export function checkTaskLdt(selector: number, attr: number): number {
  return checkLdtLoad(selector, attr) === 0 ? 0 : selectorFault(VECTOR_TS, selector)
}

/** A data segment taken when privilege is lowered by RET or IRET: whether it must be made null (data or nonconforming code with DPL < CPL). */
export function losesDataSegment(attr: number, newCpl: number): boolean {
  return !isConforming(attr) && attrDpl(attr) < newCpl
}

// --- gates ---------------------------------------------------------------------------------------------------------------------

/** JMP and CALL through a call or task gate: DPL of the gate against CPL and RPL, present. */
export function checkCallGate(selector: number, gateAttr: number, cpl: number): number {
  const dpl = attrDpl(gateAttr)
  if (dpl < cpl || dpl < rplOf(selector)) return gp(selector)
  return presence(VECTOR_NP, selector, gateAttr)
}

/**
 * The code segment behind a call gate. CALL may go inward to nonconforming code, JMP only to DPL = CPL. In IA-32e mode it must be 64-bit
 * code. The RPL of the gate's selector does not matter.
 */
export function checkCallGateTarget(selector: number, attr: number, cpl: number, jump: boolean, long: boolean): number {
  if (isNullSelector(selector)) return gp(0)
  if (!isCode(attr) || attrDpl(attr) > cpl) return gp(selector)
  if (long && (attr & (ATTR_L | ATTR_DB)) !== ATTR_L) return gp(selector)
  if (jump && !isConforming(attr) && attrDpl(attr) !== cpl) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** Whether a call through a gate to this code raises privilege, so that the stack is switched. */
export function raisesPrivilege(attr: number, cpl: number): boolean {
  return !isConforming(attr) && attrDpl(attr) < cpl
}

/** JMP and CALL straight to a TSS: privilege as for a gate, then {@link checkTaskSwitchTss}. Not in IA-32e mode. */
export function checkTssAccess(selector: number, attr: number, cpl: number): number {
  const dpl = attrDpl(attr)
  if (dpl < cpl || dpl < rplOf(selector)) return gp(selector)
  return checkTaskSwitchTss(selector, attr)
}

/** The TSS that a JMP, CALL, or task gate switches to: in the GDT, an available TSS, present. */
export function checkTaskSwitchTss(selector: number, attr: number): number {
  const type = systemType(attr)
  if (selector & SELECTOR_TI) return gp(selector)
  if (type !== DESC_TYPE_TSS16_AVAILABLE && type !== DESC_TYPE_TSS32_AVAILABLE) return gp(selector)
  return presence(VECTOR_NP, selector, attr)
}

/** The TSS that IRET with NT = 1 returns to: in the GDT, a busy TSS, #TS if not; absent is #NP. */
export function checkTaskReturnTss(selector: number, attr: number): number {
  const type = systemType(attr)
  if (selector & SELECTOR_TI || (type !== DESC_TYPE_TSS16_BUSY && type !== DESC_TYPE_TSS32_BUSY)) {
    return selectorFault(VECTOR_TS, selector)
  }
  return presence(VECTOR_NP, selector, attr)
}

/** The error code that names an entry of the IDT. */
export function idtErrorCode(vector: number): number {
  return (vector << 3) | ERROR_IDT
}

/**
 * The gate of an interrupt or exception: its type (interrupt, trap, task; in IA-32e mode the 64-bit interrupt and trap gates only), its DPL
 * for INT n, INT3 and INTO, presence. The IDT's limit is checked before, with the same error code.
 */
export function checkInterruptGate(
  vector: number,
  gateAttr: number,
  cpl: number,
  software: boolean,
  long: boolean,
): number {
  const type = systemType(gateAttr)
  const ok =
    type === DESC_TYPE_INTERRUPT_GATE32 ||
    type === DESC_TYPE_TRAP_GATE32 ||
    (!long && (type === DESC_TYPE_INTERRUPT_GATE16 || type === DESC_TYPE_TRAP_GATE16 || type === DESC_TYPE_TASK_GATE))
  if (!ok || (software && attrDpl(gateAttr) < cpl)) return makeFault(VECTOR_GP, idtErrorCode(vector))
  return gateAttr & ATTR_P ? 0 : makeFault(VECTOR_NP, idtErrorCode(vector))
}

/**
 * The code segment of an interrupt or trap gate: not null, code with DPL <= CPL, 64-bit code in IA-32e mode, present. From virtual-8086
 * mode it must be nonconforming and of level 0.
 */
export function checkInterruptTarget(selector: number, attr: number, cpl: number, long: boolean, v86 = false): number {
  if (isNullSelector(selector)) return gp(0)
  if (!isCode(attr) || attrDpl(attr) > cpl) return gp(selector)
  if (long && (attr & (ATTR_L | ATTR_DB)) !== ATTR_L) return gp(selector)
  const absent = presence(VECTOR_NP, selector, attr)
  if (absent !== 0) return absent
  return v86 && (isConforming(attr) || attrDpl(attr) !== 0) ? gp(selector) : 0
}

// --- accesses --------------------------------------------------------------------------------------------------------------------

/**
 * Whether `size` bytes at `offset` (unsigned, 32 bits) lie within a segment. Expand-down data is valid above the limit, up to 64 KiB or
 * 4 GiB by B. With the limit at 4 GiB an access that wraps is allowed: the manual leaves that case to the implementation.
 */
export function limitOk(attr: number, limit: number, offset: number, size: number): boolean {
  if (isExpandDown(attr)) return offset > limit && offset + size - 1 <= (attr & ATTR_DB ? 0xffffffff : 0xffff)
  return offset + size - 1 <= limit || limit === 0xffffffff
}

/** Kinds of access that {@link checkSegmentAccess} tells apart. */
export const SEGMENT_READ: number = 0
/** A write. */
export const SEGMENT_WRITE: number = 1

/**
 * An access through a loaded segment register outside 64-bit mode: usable (P, which a null selector clears), type, limit. The fault is #SS(0)
 * through SS and #GP(0) otherwise.
 */
export function checkSegmentAccess(
  attr: number,
  limit: number,
  offset: number,
  size: number,
  access: number,
  stack: boolean,
): number {
  const usable = (attr & ATTR_P) !== 0
  const typed = access === SEGMENT_WRITE ? isWritableData(attr) : (attr & (ATTR_CODE | ATTR_RW)) !== ATTR_CODE
  if (usable && typed && limitOk(attr, limit, offset, size)) return 0
  return makeFault(stack ? VECTOR_SS : VECTOR_GP, 0)
}

// --- LAR, LSL, VERR, VERW ----------------------------------------------------------------------------------------------------------

function visible(selector: number, attr: number, cpl: number): boolean {
  return isConforming(attr) || (cpl <= attrDpl(attr) && rplOf(selector) <= attrDpl(attr))
}

/** VERR of a selector that is not null and within its table: readable at this privilege. Presence is not looked at. */
export function verrOk(selector: number, attr: number, cpl: number): boolean {
  if (!(attr & ATTR_S) || (attr & (ATTR_CODE | ATTR_RW)) === ATTR_CODE) return false
  return visible(selector, attr, cpl)
}

/** VERW of a selector that is not null and within its table: writable at this privilege. */
export function verwOk(selector: number, attr: number, cpl: number): boolean {
  return isWritableData(attr) && visible(selector, attr, cpl)
}

// Bit n: system type n is valid. Source: Intel SDM Vol. 2, LAR and LSL, the tables of valid types.
const LAR_TYPES =
  (1 << DESC_TYPE_TSS16_AVAILABLE) |
  (1 << DESC_TYPE_LDT) |
  (1 << DESC_TYPE_TSS16_BUSY) |
  (1 << DESC_TYPE_CALL_GATE16) |
  (1 << DESC_TYPE_TASK_GATE) |
  (1 << DESC_TYPE_TSS32_AVAILABLE) |
  (1 << DESC_TYPE_TSS32_BUSY) |
  (1 << DESC_TYPE_CALL_GATE32)
const LAR_TYPES_LONG =
  (1 << DESC_TYPE_LDT) | (1 << DESC_TYPE_TSS32_AVAILABLE) | (1 << DESC_TYPE_TSS32_BUSY) | (1 << DESC_TYPE_CALL_GATE32)
const GATES = (1 << DESC_TYPE_CALL_GATE16) | (1 << DESC_TYPE_TASK_GATE) | (1 << DESC_TYPE_CALL_GATE32)

/** LAR of a selector that is not null and within its table: a valid type, visible at this privilege. */
export function larOk(selector: number, attr: number, cpl: number, long: boolean): boolean {
  const type = systemType(attr)
  if (type >= 0 && !(((long ? LAR_TYPES_LONG : LAR_TYPES) >>> type) & 1)) return false
  return visible(selector, attr, cpl)
}

/** LSL of a selector that is not null and within its table: a type that has a limit, visible at this privilege. */
export function lslOk(selector: number, attr: number, cpl: number, long: boolean): boolean {
  const type = systemType(attr)
  if (type >= 0 && !((((long ? LAR_TYPES_LONG : LAR_TYPES) & ~GATES) >>> type) & 1)) return false
  return visible(selector, attr, cpl)
}

/** The value that LAR gives: the access rights byte and flags in their place in the descriptor's second word. */
export function larValue(hi: number): number {
  return (hi & 0x00f0ff00) >>> 0
}
