import { VirtkitError } from '../contracts/index.js'

/**
 * Selectors, segment descriptors and gates as they lie in memory: two 32-bit words `lo` and `hi` (and a second pair for the
 * 16-byte forms of long mode). Source: Intel SDM Vol. 3A, "Segment Selectors", "Segment Descriptors", "System Descriptor Types", "IDT Descriptors".
 *
 * Access rights are kept everywhere in one format, `attr = (hi >>> 8) & 0xf0ff`, which is also that of VMX: bits 0–3 type, 4 S, 5–6 DPL,
 * 7 P, 12 AVL, 13 L, 14 D/B, 15 G.
 */

// --- selectors ---------------------------------------------------------------------------------------------------------

/** Selector: table indicator, 1 for the LDT. */
export const SELECTOR_TI: number = 4

/** Selector: requested privilege level, 0–3. */
export function selectorRpl(selector: number): number {
  return selector & 3
}

/** Selector: index of the descriptor, 0–8191. */
export function selectorIndex(selector: number): number {
  return (selector >>> 3) & 0x1fff
}

/** Selector: whether it names the LDT. */
export function selectorTi(selector: number): boolean {
  return (selector & SELECTOR_TI) !== 0
}

/** Whether a selector is null: index 0 in the GDT, with any RPL. */
export function isNullSelector(selector: number): boolean {
  return (selector & 0xfffc) === 0
}

/** Builds a selector. */
export function makeSelector(index: number, rpl = 0, ti = false): number {
  if (!Number.isInteger(index) || index < 0 || index > 8191 || !Number.isInteger(rpl) || rpl < 0 || rpl > 3) {
    throw new VirtkitError('bad-argument', `selector: index 0–8191 and RPL 0–3 wanted, got ${index} and ${rpl}`)
  }
  return (index << 3) | (ti ? SELECTOR_TI : 0) | rpl
}

// --- access rights -----------------------------------------------------------------------------------------------------

/** Access rights: the four type bits. */
export const ATTR_TYPE: number = 0x000f
/** Access rights, code and data: accessed. */
export const ATTR_ACCESSED: number = 0x0001
/** Access rights, data: writable; code: readable. */
export const ATTR_RW: number = 0x0002
/** Access rights, data: expands down; code: conforming. */
export const ATTR_EC: number = 0x0004
/** Access rights, code and data: code. */
export const ATTR_CODE: number = 0x0008
/** Access rights: S, 1 for code and data, 0 for system descriptors. */
export const ATTR_S: number = 0x0010
/** Access rights: DPL starts at bit 5. */
export const ATTR_DPL_SHIFT: number = 5
/** Access rights: present. */
export const ATTR_P: number = 0x0080
/** Access rights: available to software. */
export const ATTR_AVL: number = 0x1000
/** Access rights: 64-bit code. */
export const ATTR_L: number = 0x2000
/** Access rights: default operation size, or big stack and upper bound. */
export const ATTR_DB: number = 0x4000
/** Access rights: the limit counts pages of 4 KiB. */
export const ATTR_G: number = 0x8000

/** System type: 286 TSS, available. */
export const DESC_TYPE_TSS16_AVAILABLE: number = 1
/** System type: LDT. */
export const DESC_TYPE_LDT: number = 2
/** System type: 286 TSS, busy. */
export const DESC_TYPE_TSS16_BUSY: number = 3
/** System type: 286 call gate. */
export const DESC_TYPE_CALL_GATE16: number = 4
/** System type: task gate. */
export const DESC_TYPE_TASK_GATE: number = 5
/** System type: 286 interrupt gate. */
export const DESC_TYPE_INTERRUPT_GATE16: number = 6
/** System type: 286 trap gate. */
export const DESC_TYPE_TRAP_GATE16: number = 7
/** System type: 386 or 64-bit TSS, available. */
export const DESC_TYPE_TSS32_AVAILABLE: number = 9
/** System type: 386 or 64-bit TSS, busy. */
export const DESC_TYPE_TSS32_BUSY: number = 11
/** System type: 386 or 64-bit call gate. */
export const DESC_TYPE_CALL_GATE32: number = 12
/** System type: 386 or 64-bit interrupt gate. */
export const DESC_TYPE_INTERRUPT_GATE32: number = 14
/** System type: 386 or 64-bit trap gate. */
export const DESC_TYPE_TRAP_GATE32: number = 15
/** In the type of a TSS: busy. */
export const DESC_TYPE_TSS_BUSY_BIT: number = 2

/** The DPL, 0–3. */
export function attrDpl(attr: number): number {
  return (attr >>> ATTR_DPL_SHIFT) & 3
}

/** Whether the rights are of a code segment. */
export function isCode(attr: number): boolean {
  return (attr & (ATTR_S | ATTR_CODE)) === (ATTR_S | ATTR_CODE)
}

/** Whether the rights are of a data segment. */
export function isData(attr: number): boolean {
  return (attr & (ATTR_S | ATTR_CODE)) === ATTR_S
}

/** Whether the rights are of a writable data segment. */
export function isWritableData(attr: number): boolean {
  return (attr & (ATTR_S | ATTR_CODE | ATTR_RW)) === (ATTR_S | ATTR_RW)
}

/** Whether the rights are of a conforming code segment. */
export function isConforming(attr: number): boolean {
  return (attr & (ATTR_S | ATTR_CODE | ATTR_EC)) === (ATTR_S | ATTR_CODE | ATTR_EC)
}

/** Whether the rights are of a data segment that expands down. */
export function isExpandDown(attr: number): boolean {
  return (attr & (ATTR_S | ATTR_CODE | ATTR_EC)) === (ATTR_S | ATTR_EC)
}

/** The system type (DESC_TYPE_), or -1 for code and data. */
export function systemType(attr: number): number {
  return attr & ATTR_S ? -1 : attr & ATTR_TYPE
}

// --- fields of a segment descriptor -------------------------------------------------------------------------------------

/** Base address from the first two words, unsigned. */
export function descriptorBase(lo: number, hi: number): number {
  return ((lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000)) >>> 0
}

/** Limit in bytes: the 20-bit field, or with G = 1 the last byte of its last page. Unsigned. */
export function descriptorLimit(lo: number, hi: number): number {
  const limit = (lo & 0xffff) | (hi & 0xf0000)
  return hi & 0x800000 ? ((limit << 12) | 0xfff) >>> 0 : limit
}

/** Access rights in the project's format. */
export function descriptorAttr(hi: number): number {
  return (hi >>> 8) & 0xf0ff
}

/**
 * Base address of a 16-byte system descriptor of long mode, whose third word holds bits 63–32. Given as a signed number; exact for
 * canonical addresses, others lose low bits and must be refused by {@link isCanonicalHigh} first.
 */
export function descriptorBase64(lo: number, hi: number, upper: number): number {
  return upper === 0 ? descriptorBase(lo, hi) : (upper | 0) * 2 ** 32 + descriptorBase(lo, hi)
}

/** Whether the upper half of a 64-bit address makes it canonical for 48 bits (bits 63–47 all equal). */
export function isCanonicalHigh(upper: number): boolean {
  const top = (upper | 0) >> 15
  return top === 0 || top === -1
}

// --- fields of a gate ---------------------------------------------------------------------------------------------------

/** Code-segment selector of a gate, or TSS selector of a task gate. */
export function gateSelector(lo: number): number {
  return lo >>> 16
}

/** Offset of a 286 gate: 16 bits. */
export function gateOffset16(lo: number): number {
  return lo & 0xffff
}

/** Offset of a 386 gate: 32 bits; also the lower half of a 64-bit gate's offset. */
export function gateOffset32(lo: number, hi: number): number {
  return ((lo & 0xffff) | (hi & 0xffff0000)) >>> 0
}

/** Number of parameters that a 16- or 32-bit call gate copies, 0–31. */
export function gateParamCount(hi: number): number {
  return hi & 31
}

/** Interrupt-stack-table index of a 64-bit gate, 0 for none. */
export function gateIst(hi: number): number {
  return hi & 7
}

// --- encoding -----------------------------------------------------------------------------------------------------------

/** A descriptor as two words. */
export interface DescriptorWords {
  readonly lo: number
  readonly hi: number
}

/** What {@link encodeSegment} builds. */
export interface SegmentFields {
  /** 32-bit base. Default 0. */
  readonly base?: number
  /** Limit in bytes as {@link descriptorLimit} gives it. Default 0xffffffff. */
  readonly limit?: number
  /** Type bits, 0–15. */
  readonly type: number
  /** S: false for a system descriptor (LDT, TSS). Default true. */
  readonly s?: boolean
  /** Default 0. */
  readonly dpl?: number
  /** Default true. */
  readonly present?: boolean
  /** Available to software. Default false. */
  readonly avl?: boolean
  /** L: 64-bit code. Default false. */
  readonly long?: boolean
  /** D/B. Default true, and false with `long`. */
  readonly big?: boolean
  /** G. Default: set when the limit needs it. */
  readonly granular?: boolean
}

/**
 * Encodes a code, data, LDT or TSS descriptor.
 * @throws VirtkitError `bad-argument` when a field does not fit, or the limit cannot be expressed (above 1 MiB it must end with a page)
 */
export function encodeSegment(fields: SegmentFields): DescriptorWords {
  const { base = 0, limit = 0xffffffff, type, s = true, dpl = 0, present = true, avl = false, long = false } = fields
  const big = fields.big ?? (s && !long)
  const granular = fields.granular ?? limit > 0xfffff
  check('base', base, 0xffffffff)
  check('limit', limit, 0xffffffff)
  check('type', type, 15)
  check('dpl', dpl, 3)
  if (granular ? (limit & 0xfff) !== 0xfff : limit > 0xfffff) {
    throw new VirtkitError(
      'bad-argument',
      `descriptor: the limit 0x${limit.toString(16)} cannot be expressed with G = ${Number(granular)}`,
    )
  }
  const field = granular ? limit >>> 12 : limit
  const attr =
    type |
    (s ? ATTR_S : 0) |
    (dpl << ATTR_DPL_SHIFT) |
    (present ? ATTR_P : 0) |
    (avl ? ATTR_AVL : 0) |
    (long ? ATTR_L : 0) |
    (big ? ATTR_DB : 0) |
    (granular ? ATTR_G : 0)
  return {
    lo: ((field & 0xffff) | (base << 16)) >>> 0,
    hi: (((base >>> 16) & 0xff) | (attr << 8) | (field & 0xf0000) | (base & 0xff000000)) >>> 0,
  }
}

/** What {@link encodeGate} builds. */
export interface GateFields {
  /** One of the DESC_TYPE_ gate types. */
  readonly type: number
  readonly selector: number
  /** Default 0 (a task gate has none). Up to 16 bits for 286 gates, 32 bits otherwise. */
  readonly offset?: number
  /** Default 0. */
  readonly dpl?: number
  /** Default true. */
  readonly present?: boolean
  /** Call gates: parameters to copy, 0–31. Default 0. */
  readonly paramCount?: number
  /** 64-bit interrupt and trap gates: stack-table index, 0–7. Default 0. */
  readonly ist?: number
  /** 64-bit gates: bits 63–32 of the offset; makes the result three words (the fourth is 0). */
  readonly offsetHigh?: number
}

/**
 * Encodes a gate. `upper` is the third word of the 16-byte form, 0 when `offsetHigh` was not given.
 * @throws VirtkitError `bad-argument` when a field does not fit or the type is no gate
 */
export function encodeGate(fields: GateFields): DescriptorWords & { readonly upper: number } {
  const { type, selector, offset = 0, dpl = 0, present = true, paramCount = 0, ist = 0, offsetHigh = 0 } = fields
  if (!isGateType(type)) throw new VirtkitError('bad-argument', `descriptor: type ${type} is no gate`)
  check('selector', selector, 0xffff)
  check('offset', offset, type < 8 ? 0xffff : 0xffffffff)
  check('dpl', dpl, 3)
  check('paramCount', paramCount, 31)
  check('ist', ist, 7)
  check('offsetHigh', offsetHigh, 0xffffffff)
  const low = type === DESC_TYPE_CALL_GATE16 || type === DESC_TYPE_CALL_GATE32 ? paramCount : ist
  return {
    lo: ((offset & 0xffff) | (selector << 16)) >>> 0,
    hi: (low | ((type | (dpl << ATTR_DPL_SHIFT) | (present ? ATTR_P : 0)) << 8) | (offset & 0xffff0000)) >>> 0,
    upper: offsetHigh,
  }
}

// --- for people ---------------------------------------------------------------------------------------------------------

/** A descriptor spelled out. */
export type DecodedDescriptor =
  | {
      readonly kind: 'code' | 'data'
      readonly base: number
      readonly limit: number
      readonly dpl: number
      readonly present: boolean
      readonly accessed: boolean
      /** Code: readable; data: always true. */
      readonly readable: boolean
      /** Data: writable; code: always false. */
      readonly writable: boolean
      readonly conforming: boolean
      readonly expandDown: boolean
      /** Operand size of code, or of a stack: 64 only for code with L = 1. */
      readonly bits: 16 | 32 | 64
      readonly granular: boolean
      readonly avl: boolean
      readonly attr: number
    }
  | {
      readonly kind: 'ldt' | 'tss'
      readonly base: number
      readonly limit: number
      readonly dpl: number
      readonly present: boolean
      readonly bits: 16 | 32 | 64
      readonly busy: boolean
      readonly granular: boolean
      readonly avl: boolean
      readonly attr: number
    }
  | {
      readonly kind: 'call-gate' | 'interrupt-gate' | 'trap-gate' | 'task-gate'
      readonly selector: number
      readonly offset: number
      readonly dpl: number
      readonly present: boolean
      readonly bits: 16 | 32 | 64
      readonly paramCount: number
      readonly ist: number
      readonly attr: number
    }
  | {
      readonly kind: 'reserved'
      readonly type: number
      readonly dpl: number
      readonly present: boolean
      readonly attr: number
    }

/** Spells a descriptor out. With `upper`, the third word, system descriptors are read in their 16-byte form of long mode. */
export function decodeDescriptor(lo: number, hi: number, upper?: number): DecodedDescriptor {
  const attr = descriptorAttr(hi)
  const common = { dpl: attrDpl(attr), present: (attr & ATTR_P) !== 0, attr }
  const type = systemType(attr)
  const long = upper !== undefined
  const segment = {
    base: long && type >= 0 ? descriptorBase64(lo, hi, upper) : descriptorBase(lo, hi),
    limit: descriptorLimit(lo, hi),
    granular: (attr & ATTR_G) !== 0,
    avl: (attr & ATTR_AVL) !== 0,
  }
  if (type < 0) {
    const code = isCode(attr)
    return {
      kind: code ? 'code' : 'data',
      ...segment,
      ...common,
      accessed: (attr & ATTR_ACCESSED) !== 0,
      readable: !code || (attr & ATTR_RW) !== 0,
      writable: isWritableData(attr),
      conforming: isConforming(attr),
      expandDown: isExpandDown(attr),
      bits: code && attr & ATTR_L ? 64 : attr & ATTR_DB ? 32 : 16,
    }
  }
  const bits = type < 8 ? 16 : long ? 64 : 32
  if (long && (type === 1 || type === 3 || (type >= 4 && type <= 7))) return { kind: 'reserved', type, ...common }
  if (type === DESC_TYPE_LDT) return { kind: 'ldt', ...segment, ...common, bits: long ? 64 : 32, busy: false }
  if ((type & 5) === 1) {
    return { kind: 'tss', ...segment, ...common, bits, busy: (type & DESC_TYPE_TSS_BUSY_BIT) !== 0 }
  }
  if (!isGateType(type)) return { kind: 'reserved', type, ...common }
  const kinds = ['call-gate', 'task-gate', 'interrupt-gate', 'trap-gate'] as const
  const kind = kinds[type & 3]!
  const offset = kind === 'task-gate' ? 0 : type < 8 ? gateOffset16(lo) : gateOffset32(lo, hi)
  return {
    kind,
    selector: gateSelector(lo),
    offset: long ? (upper | 0) * 2 ** 32 + offset : offset,
    ...common,
    bits,
    paramCount: kind === 'call-gate' && !long ? gateParamCount(hi) : 0,
    ist: long && kind !== 'call-gate' ? gateIst(hi) : 0,
  }
}

/** Whether a system type is one of the gates: 4–7, 12, 14 or 15. */
export function isGateType(type: number): boolean {
  return (type >= 4 && type <= 7) || type === 12 || type === 14 || type === 15
}

function check(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new VirtkitError('bad-argument', `descriptor: ${name} must be 0 to 0x${max.toString(16)}, got ${value}`)
  }
}
