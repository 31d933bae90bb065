/**
 * A processor's state as plain data. Only what a guest could see is kept: registers, TLB entries, pending events. Lazy flags, tags and
 * decoded instructions are derived again, so that a state moves between engines.
 */

import { StateReader, VirtkitError } from '../contracts/index.js'
import {
  DTLB_ENTRIES,
  ITLB_ENTRIES,
  OFF_DTLB,
  OFF_FLAG_RESULT,
  OFF_FLAGS_REST,
  OFF_REMAINING,
  SLOT_TEMP,
  SLOT_VTEMP,
  TLB_CONTEXT,
  TLB_ENTRY_SIZE,
  TLB_FLAGS,
  TLB_LINEAR,
  TLB_PHYSICAL,
} from './layout.js'
import type { MsrFile } from './msr.js'
import type { CpuState } from './state.js'

/** Bytes at the start of the CPU's block that hold registers. */
const REGISTER_BYTES = 0x680
/** Numbers per TLB entry: index, flags, linear and physical address of the page, PCID. */
const TLB_FIELDS = 5
const TLB_TOTAL: number = DTLB_ENTRIES + ITLB_ENTRIES

/** What happens between instructions, and what has no register. */
export interface CpuConditions {
  readonly cpl: number
  readonly halted: boolean
  readonly shutdown: boolean
  readonly nmiBlocked: boolean
  readonly inSmm: boolean
  readonly smbase: number
  readonly pendingDebug: number
  /** Interrupt shadow (SHADOW_) that the last instruction cast, or 0. */
  readonly shadow: number
  readonly nmiPending: boolean
  readonly smiPending: boolean
  readonly initPending: boolean
  readonly waitsForStartUp: boolean
  /** Vector of a start-up IPI that arrived, or -1. */
  readonly startUp: number
}

/** See {@link CpuConditions} for the rest. */
export interface CpuSavedState extends CpuConditions {
  readonly version: 1
  readonly model: string
  /** Instructions retired. */
  readonly retired: number
  /** What software added to the time-stamp counter, 64 bits in hexadecimal. */
  readonly tscOffset: string
  /** The registers as `layout.ts` places them, with flags apart and temporaries cleared. */
  readonly registers: Uint8Array
  /** RFLAGS, bits 31–0. */
  readonly flags: number
  /** The page-directory pointers of PAE paging, as the processor holds them. */
  readonly pdptes: Uint32Array
  /** Valid TLB entries, five numbers each. */
  readonly tlb: Float64Array
  /** MSRs by number, values in hexadecimal. */
  readonly msrs: readonly (readonly [number, string])[]
}

/** The registers of `s`, with what is derived or short-lived cleared. */
export function saveRegisters(s: CpuState): Uint8Array {
  const bytes = s.u8.slice(s.base, s.base + REGISTER_BYTES)
  bytes.fill(0, SLOT_TEMP, SLOT_TEMP + 64)
  bytes.fill(0, OFF_FLAG_RESULT, OFF_FLAGS_REST + 4)
  bytes.fill(0, OFF_REMAINING, OFF_REMAINING + 4)
  bytes.fill(0, SLOT_VTEMP, SLOT_VTEMP + 64)
  return bytes
}

/** Valid TLB entries, in the order of their places. */
export function saveTlb(s: CpuState): Float64Array {
  const list: number[] = []
  for (let n = 0; n < TLB_TOTAL; n++) {
    const e = s.base + OFF_DTLB + n * TLB_ENTRY_SIZE
    const flags = s.i32[(e + TLB_FLAGS) >> 2]!
    if (flags === 0) continue
    list.push(n, flags, s.f64[(e + TLB_LINEAR) >> 3]!, s.f64[(e + TLB_PHYSICAL) >> 3]!, s.i32[(e + TLB_CONTEXT) >> 2]!)
  }
  return Float64Array.from(list)
}

/** Writes entries that {@link saveTlb} gave into an empty TLB; tags are not derived yet. */
export function loadTlb(s: CpuState, entries: Float64Array): void {
  for (let i = 0; i < entries.length; i += TLB_FIELDS) {
    const e = s.base + OFF_DTLB + entries[i]! * TLB_ENTRY_SIZE
    s.i32[(e + TLB_FLAGS) >> 2] = entries[i + 1]!
    s.f64[(e + TLB_LINEAR) >> 3] = entries[i + 2]!
    s.f64[(e + TLB_PHYSICAL) >> 3] = entries[i + 3]!
    s.i32[(e + TLB_CONTEXT) >> 2] = entries[i + 4]!
  }
}

/** MSRs in the order of their numbers. */
export function saveMsrs(msr: MsrFile): (readonly [number, string])[] {
  return [...msr].sort(([a], [b]) => a - b).map(([index, value]) => [index, value.toString(16)] as const)
}

/** Everything of a saved state, validated: throws `bad-state` for anything that `Cpu.saveState` of that model cannot have given. */
export function readCpuState(state: unknown, model: string): CpuSavedState {
  const r = new StateReader('CPU', state, 1)
  const name = r.text('model', 32)
  if (name !== model) throw new VirtkitError('bad-state', `CPU: the state is that of a ${name}, this is a ${model}`)
  const tlb = r.nested('tlb')
  if (!(tlb instanceof Float64Array) || tlb.length % TLB_FIELDS !== 0 || tlb.length > TLB_TOTAL * TLB_FIELDS) {
    throw r.inconsistent('tlb', 'a list of TLB entries')
  }
  for (let i = 0; i < tlb.length; i += TLB_FIELDS) {
    const index = tlb[i]!
    const previous = i === 0 ? -1 : tlb[i - TLB_FIELDS]!
    const page = tlb[i + 2]!
    if (!Number.isInteger(index) || index <= previous || index >= TLB_TOTAL || !Number.isInteger(page / 4096)) {
      throw r.inconsistent('tlb', 'a list of TLB entries')
    }
    const half = index < DTLB_ENTRIES ? DTLB_ENTRIES : ITLB_ENTRIES
    if ((((page / 4096) % half) + half) % half !== index % DTLB_ENTRIES) {
      throw r.inconsistent('tlb', 'a list of TLB entries in their places')
    }
    const physical = tlb[i + 3]!
    if (!Number.isInteger(physical / 4096) || physical < 0 || physical >= 2 ** 52) {
      throw r.inconsistent('tlb', 'a list of TLB entries of physical pages')
    }
  }
  const pdptes = r.nested('pdptes')
  if (!(pdptes instanceof Uint32Array) || pdptes.length !== 8) throw r.inconsistent('pdptes', 'eight 32-bit numbers')
  const msrs = r.nested('msrs')
  if (!Array.isArray(msrs) || msrs.length > 4096) throw r.inconsistent('msrs', 'a list of MSRs')
  for (const item of msrs as readonly unknown[]) {
    if (!Array.isArray(item) || !Number.isInteger(item[0]) || !isHex64(item[1])) {
      throw r.inconsistent('msrs', 'a list of MSRs')
    }
  }
  const tscOffset = r.text('tscOffset', 17)
  if (!isHex64(tscOffset)) throw r.inconsistent('tscOffset', 'a hexadecimal number of 64 bits')
  return {
    version: 1,
    model: name,
    retired: r.int('retired', 0, Number.MAX_SAFE_INTEGER),
    tscOffset,
    registers: r.bytes('registers', REGISTER_BYTES),
    flags: r.int('flags', -(2 ** 31), 2 ** 32 - 1),
    pdptes: pdptes.slice(),
    tlb: tlb.slice(),
    msrs: msrs as readonly (readonly [number, string])[],
    cpl: r.int('cpl', 0, 3),
    halted: r.bool('halted'),
    shutdown: r.bool('shutdown'),
    nmiBlocked: r.bool('nmiBlocked'),
    inSmm: r.bool('inSmm'),
    smbase: r.int('smbase', -(2 ** 31), 2 ** 32 - 1),
    pendingDebug: r.int('pendingDebug', 0, 0xffff),
    shadow: r.int('shadow', 0, 2),
    nmiPending: r.bool('nmiPending'),
    smiPending: r.bool('smiPending'),
    initPending: r.bool('initPending'),
    waitsForStartUp: r.bool('waitsForStartUp'),
    startUp: r.int('startUp', -1, 255),
  }
}

function isHex64(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{1,16}$/.test(value)
}
