/**
 * What an explanation needs to know of a processor: its tables and control registers, taken from a running machine or
 * given by hand, and memory that can be looked at without being changed.
 */
import { type PhysicalBus, VirtkitError } from '../contracts/index.js'
import { type Cpu, SEG_LDTR, SEG_TR, SEG_UNUSABLE } from '../cpu/index.js'
import { AddressSpace } from '../memory/index.js'
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_PROBE,
  ACCESS_USER,
  ACCESS_WRITE,
  ATTR_L,
  ATTR_P,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  EFER_LMA,
  PAGING_MODES,
  PageWalker,
  type PagingConfiguration,
  SEGMENT_REGISTERS,
  type SegmentCache,
  type SegmentRegister,
  type TableRegister,
} from '../mmu/index.js'

/** The registers that address translation and interrupt delivery depend on. */
export interface ProcessorView {
  readonly memory: PhysicalBus
  readonly gdtr: TableRegister
  readonly idtr: TableRegister
  /** LDTR with its cache, or only a selector: then the explanation loads it first, as LLDT does. */
  readonly ldtr: SegmentCache | number
  readonly tr: SegmentCache
  /** Segment registers with their caches. */
  readonly segments: Readonly<Record<SegmentRegister, SegmentCache>>
  readonly cpl: number
  readonly cr0: number
  readonly cr3: number
  readonly cr4: number
  readonly efer: number
  readonly pkru: number
  /** EFLAGS.VM. */
  readonly v86: boolean
  /** MAXPHYADDR. */
  readonly maxPhysicalBits: number
  readonly gigabytePages: boolean
  /** The PAE directory-pointer entries that the processor holds; default: as CR3 names them in memory. */
  readonly pdptes: Uint32Array | undefined
}

/**
 * What explanations start from: a machine (anything with a `cpu`), or memory and the registers that matter. Registers
 * left out are: protected mode
 * (with paging if `cr3` is given), CPL 0, empty tables.
 */
export type ExplainSource = { readonly cpu: Cpu } | (Partial<ProcessorView> & { readonly memory: PhysicalBus })

/** How memory is accessed. */
export type AccessKind = 'read' | 'write' | 'execute'

const EMPTY_TABLE: TableRegister = { base: 0, limit: 0 }
const UNUSABLE: SegmentCache = { selector: 0, base: 0, limit: 0, attr: 0 }

/** Reads a machine's registers, or completes given ones. */
export function processorView(source: ExplainSource): ProcessorView {
  if ('cpu' in source) return viewOfCpu(source.cpu)
  const none = Object.fromEntries(SEGMENT_REGISTERS.map((name) => [name, UNUSABLE])) as ProcessorView['segments']
  return {
    gdtr: EMPTY_TABLE,
    idtr: EMPTY_TABLE,
    ldtr: UNUSABLE,
    tr: UNUSABLE,
    cpl: source.v86 ? 3 : 0,
    cr0: source.cr3 === undefined ? CR0_PE : CR0_PE | CR0_WP | CR0_PG,
    cr3: 0,
    cr4: 0,
    efer: 0,
    pkru: 0,
    v86: false,
    maxPhysicalBits: 40,
    gigabytePages: true,
    pdptes: undefined,
    ...source,
    segments: { ...none, ...source.segments },
  }
}

function viewOfCpu(cpu: Cpu): ProcessorView {
  const { s } = cpu
  const cache = (seg: number): SegmentCache => {
    const attr = s.segAttr(seg)
    return {
      selector: s.selector(seg),
      base: s.segBase(seg),
      limit: s.segLimit(seg),
      attr: attr & SEG_UNUSABLE ? attr & 0xffff & ~ATTR_P : attr & 0xffff,
    }
  }
  return {
    memory: cpu.space,
    gdtr: { base: s.gdtrBase, limit: s.gdtrLimit },
    idtr: { base: s.idtrBase, limit: s.idtrLimit },
    ldtr: cache(SEG_LDTR),
    tr: cache(SEG_TR),
    segments: Object.fromEntries(SEGMENT_REGISTERS.map((name, n) => [name, cache(n)])) as ProcessorView['segments'],
    cpl: cpu.cpl,
    cr0: s.cr0 >>> 0,
    cr3: s.cr3,
    cr4: s.cr4 >>> 0,
    efer: s.efer,
    pkru: s.pkru,
    v86: s.v86,
    maxPhysicalBits: Math.max(32, cpu.model.physicalBits),
    gigabytePages: cpu.model.features.has('pdpe1gb'),
    pdptes: cpu.mem.walker.pdptes,
  }
}

/** Real-address mode or virtual-8086 mode: segments are selectors times 16. */
export function is8086(view: ProcessorView): boolean {
  return (view.cr0 & CR0_PE) === 0 || view.v86
}

/** 64-bit mode: long mode with L = 1 in CS. */
export function is64Bit(view: ProcessorView): boolean {
  return (view.efer & EFER_LMA) !== 0 && (view.segments.cs.attr & ATTR_L) !== 0
}

/** Paging registers for a walker. */
export function pagingOf(view: ProcessorView): PagingConfiguration {
  const { cr0, cr3, cr4, efer, pkru, maxPhysicalBits, gigabytePages } = view
  return { cr0, cr3, cr4, efer, pkru, maxPhysicalBits, gigabytePages }
}

/** ACCESS_ bits for an access; `user` defaults to CPL 3. */
export function accessBits(access: AccessKind, user: boolean): number {
  return (access === 'write' ? ACCESS_WRITE : access === 'execute' ? ACCESS_FETCH : 0) | (user ? ACCESS_USER : 0)
}

/**
 * Memory to try things on: reads see the real one, writes are kept to itself. Device windows are not touched, since
 * reading a device can change it:
 * they read as ones.
 */
export class ScratchMemory implements PhysicalBus {
  readonly #memory: PhysicalBus
  readonly #written: Map<number, number> = new Map()

  constructor(memory: PhysicalBus) {
    this.#memory = memory
  }

  read8(address: number): number {
    const own = this.#written.get(address)
    if (own !== undefined) return own
    const memory = this.#memory
    if (memory instanceof AddressSpace && memory.readOffset(Math.floor(address / 4096)) < 0) return 0xff
    return memory.read8(address)
  }

  read16(address: number): number {
    return this.read8(address) | (this.read8(address + 1) << 8)
  }

  read32(address: number): number {
    return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0
  }

  write8(address: number, value: number): void {
    this.#written.set(address, value & 0xff)
  }

  write16(address: number, value: number): void {
    this.write8(address, value)
    this.write8(address + 1, value >>> 8)
  }

  write32(address: number, value: number): void {
    this.write16(address, value)
    this.write16(address + 2, value >>> 16)
  }
}

/**
 * A page fault met while a table was read. Thrown inside an explanation and turned into its outcome; never leaves this
 * folder.
 */
export class TablePageFault {
  readonly vector = 14
  readonly linear: number
  readonly errorCode: number

  constructor(linear: number, errorCode: number) {
    this.linear = linear
    this.errorCode = errorCode
  }
}

/** Runs `action`; a page fault on a table becomes a value. */
export function catchPageFault<T>(action: () => T): T | TablePageFault {
  try {
    return action()
  } catch (error) {
    if (error instanceof TablePageFault) return error
    throw error
  }
}

/** Reads memory at linear addresses as the processor reads its tables: implicit supervisor accesses through paging. */
export class TableReader {
  readonly #memory: PhysicalBus
  readonly #walker: PageWalker

  constructor(view: ProcessorView, memory: PhysicalBus = new ScratchMemory(view.memory)) {
    this.#memory = memory
    this.#walker = new PageWalker(memory, pagingOf(view))
    if (this.#walker.mode === PAGING_MODES.pae) {
      if (view.pdptes !== undefined) this.#walker.pdptes.set(view.pdptes)
      else this.#walker.loadPdptes(view.cr3)
    }
  }

  /** Throws {@link TablePageFault}. */
  physical(linear: number): number {
    if (!this.#walker.walk(linear, ACCESS_PROBE | ACCESS_IMPLICIT)) {
      throw new TablePageFault(linear, this.#walker.errorCode)
    }
    return this.#walker.physical
  }

  read8(linear: number): number {
    return this.#memory.read8(this.physical(linear))
  }

  read16(linear: number): number {
    return this.read8(linear) | (this.read8(linear + 1) << 8)
  }

  read32(linear: number): number {
    return (this.read16(linear) | (this.read16(linear + 2) << 16)) >>> 0
  }
}

/**
 * Brings an address that a caller gave into the form that the mode uses: 0 to 2^32 − 1, in long mode a canonical
 * address as a signed
 * number, or undefined when it is not canonical.
 * @throws VirtkitError `bad-argument` for a fraction, or more than the mode has
 */
export function linearAddressOf(view: ProcessorView, address: number | bigint): number | undefined {
  if (typeof address === 'number' && !Number.isSafeInteger(address)) {
    throw new VirtkitError('bad-argument', `an address is an integer; beyond 2^53 give a bigint, got ${address}`)
  }
  const value = BigInt(address)
  if ((view.efer & EFER_LMA) === 0) {
    if (value < 0n || value > 0xffff_ffffn) {
      throw new VirtkitError('bad-argument', `a linear address is 0 to 0xffffffff outside long mode, got ${address}`)
    }
    return Number(value)
  }
  if (value < -(1n << 63n) || value >= 1n << 64n) {
    throw new VirtkitError('bad-argument', `a linear address has 64 bits, got ${address}`)
  }
  const signed = BigInt.asIntN(64, value)
  return BigInt.asIntN(48, value) === signed ? Number(signed) : undefined
}
