import { type EventMap, type EventSink, type GuestFault, type PhysicalBus, VirtkitError } from '../contracts/index.js'
import {
  ATTR_ACCESSED,
  ATTR_P,
  ATTR_S,
  attrDpl,
  DESC_TYPE_TASK_GATE,
  DESC_TYPE_TSS_BUSY_BIT,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  gateOffset16,
  gateOffset32,
  gateSelector,
  isConforming,
  isNullSelector,
  selectorIndex,
  selectorRpl,
  selectorTi,
  systemType,
} from './descriptors.js'
import {
  checkDataLoad,
  checkFarJump,
  checkInterruptGate,
  checkInterruptTarget,
  checkLdtLoad,
  checkNullStackLoad,
  checkSegmentAccess,
  checkStackLoad,
  checkTableLimit,
  checkTaskRegisterLoad,
  idtErrorCode,
  makeFault,
  SEGMENT_READ,
  SEGMENT_WRITE,
  toGuestFault,
  VECTOR_GP,
} from './segment-checks.js'

/** The segment registers, in the order of their encoding. */
export const SEGMENT_REGISTERS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const
/** One of {@link SEGMENT_REGISTERS}. */
export type SegmentRegister = (typeof SEGMENT_REGISTERS)[number]

/** A segment register: the selector that software sees, and the descriptor that the processor keeps. */
export interface SegmentCache {
  readonly selector: number
  readonly base: number
  readonly limit: number
  /** Access rights; without P the segment is unusable, as after a null selector. */
  readonly attr: number
}

/** GDTR or IDTR. */
export interface TableRegister {
  /** Linear address, 32 bits. */
  readonly base: number
  /** Last byte of the table, 16 bits. */
  readonly limit: number
}

/** Construction options of a {@link SegmentationUnit}. */
export interface SegmentationOptions {
  /** From a linear to a physical address. Default: they are the same, as without paging. */
  readonly linearToPhysical?: (linear: number) => number
  /** Receives `translation` events. */
  readonly events?: EventSink
}

/** Where an interrupt goes, found by {@link SegmentationUnit.resolveInterrupt}. */
export interface InterruptTarget {
  readonly kind: 'interrupt' | 'trap' | 'task'
  /** Code segment, or TSS of a task gate. */
  readonly selector: number
  readonly offset: number
  /** Base of the code segment + offset; 0 for a task gate. */
  readonly linear: number
  /** Privilege level that the handler runs at. */
  readonly privilege: number
}

type Step = EventMap['translation']['detail']

const UNUSABLE: SegmentCache = { selector: 0, base: 0, limit: 0, attr: 0 }

/**
 * 32-bit protected-mode segmentation for use without a CPU: GDTR, LDTR, IDTR, TR and six segment registers with their hidden descriptor caches.
 * Tables are read when a selector is loaded; accesses use the caches, so that editing a table changes nothing before the next load.
 * Source: Intel SDM Vol. 3A, "Protected-Mode Memory Management" and "Protection".
 *
 * A method that the processor would answer with an exception returns it as a {@link GuestFault}, having changed nothing.
 */
export class SegmentationUnit {
  /** GDTR. */
  gdtr: TableRegister = { base: 0, limit: 0xffff }
  /** IDTR. */
  idtr: TableRegister = { base: 0, limit: 0xffff }
  /** LDTR with its cache. */
  ldtr: SegmentCache = UNUSABLE
  /** TR with its cache. */
  tr: SegmentCache = UNUSABLE
  /** Current privilege level, 0–3. Loading CS sets it from the code segment. */
  cpl = 0
  readonly #memory: PhysicalBus
  readonly #toPhysical: (linear: number) => number
  readonly #events: EventSink | undefined
  readonly #registers: Record<SegmentRegister, SegmentCache> = {
    es: UNUSABLE,
    cs: UNUSABLE,
    ss: UNUSABLE,
    ds: UNUSABLE,
    fs: UNUSABLE,
    gs: UNUSABLE,
  }

  constructor(memory: PhysicalBus, options: SegmentationOptions = {}) {
    this.#memory = memory
    this.#toPhysical = options.linearToPhysical ?? ((linear) => linear)
    this.#events = options.events
  }

  /** A segment register as it is. */
  register(name: SegmentRegister): SegmentCache {
    return this.#registers[name]
  }

  /** LGDT: takes limit (2 bytes) and base (4 bytes) from a linear address. */
  lgdt(linear: number): void {
    this.gdtr = this.#readTableRegister(linear)
  }

  /** SGDT: stores limit and base at a linear address. */
  sgdt(linear: number): void {
    this.#writeTableRegister(linear, this.gdtr)
  }

  /** LIDT: takes limit (2 bytes) and base (4 bytes) from a linear address. */
  lidt(linear: number): void {
    this.idtr = this.#readTableRegister(linear)
  }

  /** SIDT: stores limit and base at a linear address. */
  sidt(linear: number): void {
    this.#writeTableRegister(linear, this.idtr)
  }

  /** LLDT: loads LDTR through the GDT. A null selector makes the LDT unusable. */
  lldt(selector: number): GuestFault | undefined {
    if (this.cpl !== 0) return toGuestFault(makeFault(VECTOR_GP, 0))
    if (isNullSelector(selector)) {
      this.ldtr = { ...UNUSABLE, selector: selector & 0xffff }
      return undefined
    }
    return this.#system(
      selector,
      (sel, attr) => checkLdtLoad(sel, attr),
      (cache) => {
        this.ldtr = cache
      },
    )
  }

  /** SLDT. */
  sldt(): number {
    return this.ldtr.selector
  }

  /** LTR: loads TR through the GDT and marks the TSS busy. */
  ltr(selector: number): GuestFault | undefined {
    if (this.cpl !== 0 || isNullSelector(selector)) return toGuestFault(makeFault(VECTOR_GP, 0))
    return this.#system(
      selector,
      (sel, attr) => checkTaskRegisterLoad(sel, attr, false),
      (cache, address, hi) => {
        this.#write32(address + 4, hi | (DESC_TYPE_TSS_BUSY_BIT << 8))
        this.tr = { ...cache, attr: cache.attr | DESC_TYPE_TSS_BUSY_BIT }
      },
    )
  }

  /** STR. */
  str(): number {
    return this.tr.selector
  }

  /**
   * Loads a segment register as MOV does; CS as a far JMP to a code segment does.
   * @throws VirtkitError `bad-argument` for an unknown register
   */
  load(name: SegmentRegister, selector: number): GuestFault | undefined {
    if (!SEGMENT_REGISTERS.includes(name)) throw new VirtkitError('bad-argument', `no segment register ${name}`)
    selector &= 0xffff
    this.#step('selector', {
      register: name,
      selector,
      index: selectorIndex(selector),
      ti: Number(selectorTi(selector)),
      rpl: selectorRpl(selector),
    })
    if (isNullSelector(selector)) {
      const fault =
        name === 'cs' ? makeFault(VECTOR_GP, 0) : name === 'ss' ? checkNullStackLoad(selector, this.cpl, false) : 0
      if (fault !== 0) return this.#fault(fault)
      this.#registers[name] = { ...UNUSABLE, selector }
      this.#step('null', { register: name, usable: false })
      return undefined
    }
    const address = this.#locate(selector)
    if (address < 0) return this.#fault(makeFault(VECTOR_GP, selector & 0xfffc))
    const lo = this.#read32(address)
    const hi = this.#read32(address + 4)
    const attr = descriptorAttr(hi)
    const fault =
      name === 'cs'
        ? checkFarJump(selector, attr, this.cpl, false)
        : name === 'ss'
          ? checkStackLoad(selector, attr, this.cpl)
          : checkDataLoad(selector, attr, this.cpl)
    if (fault !== 0) return this.#fault(fault)
    if (!(attr & ATTR_ACCESSED)) this.#write32(address + 4, hi | (ATTR_ACCESSED << 8))
    const cache = {
      // A direct far jump never changes the privilege level; the selector's RPL in CS is the CPL.
      selector: name === 'cs' ? (selector & 0xfffc) | this.cpl : selector,
      base: descriptorBase(lo, hi),
      limit: descriptorLimit(lo, hi),
      attr: attr | ATTR_ACCESSED,
    }
    this.#registers[name] = cache
    this.#step('cached', { register: name, base: cache.base, limit: cache.limit, attr: cache.attr })
    return undefined
  }

  /** Puts values into a segment register without any check, as a reset, a task or a loader would. */
  setRegister(name: SegmentRegister, cache: SegmentCache): void {
    this.#registers[name] = { ...cache }
  }

  /**
   * From a logical to a linear address, for `size` bytes: type and limit against the cached descriptor, then base + offset (modulo 2^32).
   */
  translate(
    name: SegmentRegister,
    offset: number,
    size: number,
    access: 'read' | 'write' | 'execute' = 'read',
  ): number | GuestFault {
    const { selector, base, limit, attr } = this.#registers[name]
    // Instructions are fetched from execute-only code too: only the limit counts.
    const kind = access === 'write' ? SEGMENT_WRITE : SEGMENT_READ
    const rights = access === 'execute' ? attr | 2 : attr
    const fault = checkSegmentAccess(rights, limit, offset >>> 0, size, kind, name === 'ss')
    this.#step('check', { register: name, selector, offset, size, access, limit, ok: fault === 0 })
    if (fault !== 0) return this.#fault(fault)
    const linear = (base + offset) >>> 0
    this.#step('linear', { base, offset, linear })
    return linear
  }

  /**
   * How an interrupt's handler is found: the gate in the IDT, the descriptor its selector names, base + offset. `software` is true for INT n, INT3 and INTO.
   */
  resolveInterrupt(vector: number, software = false): InterruptTarget | GuestFault {
    if (!Number.isInteger(vector) || vector < 0 || vector > 255) {
      throw new VirtkitError('bad-argument', `an interrupt vector is 0 to 255, got ${vector}`)
    }
    if (8 * vector + 7 > this.idtr.limit) return this.#fault(makeFault(VECTOR_GP, idtErrorCode(vector)))
    const address = (this.idtr.base + 8 * vector) >>> 0
    const lo = this.#read32(address)
    const hi = this.#read32(address + 4)
    const gate = descriptorAttr(hi)
    const selector = gateSelector(lo)
    this.#step('gate', { vector, idt: this.idtr.base, address, selector, type: gate & 15, dpl: attrDpl(gate) })
    const gateFault = checkInterruptGate(vector, gate, this.cpl, software, false)
    if (gateFault !== 0) return this.#fault(gateFault)
    const type = systemType(gate)
    if (type === DESC_TYPE_TASK_GATE) return { kind: 'task', selector, offset: 0, linear: 0, privilege: this.cpl }
    if (isNullSelector(selector)) return this.#fault(makeFault(VECTOR_GP, 0))
    const at = this.#locate(selector)
    if (at < 0) return this.#fault(makeFault(VECTOR_GP, selector & 0xfffc))
    const codeLo = this.#read32(at)
    const codeHi = this.#read32(at + 4)
    const attr = descriptorAttr(codeHi)
    const fault = checkInterruptTarget(selector, attr, this.cpl, false)
    if (fault !== 0) return this.#fault(fault)
    const offset = type < 8 ? gateOffset16(lo) : gateOffset32(lo, hi)
    const base = descriptorBase(codeLo, codeHi)
    const linear = (base + offset) >>> 0
    this.#step('handler', { base, offset, linear })
    const privilege = isConforming(attr) ? this.cpl : attrDpl(attr)
    return { kind: (type & 1) === 1 ? 'trap' : 'interrupt', selector, offset, linear, privilege }
  }

  /** Linear address of the descriptor that a selector names, or -1 when it is beyond its table or the LDT is unusable. */
  #locate(selector: number): number {
    const local = selectorTi(selector)
    const table = local ? this.ldtr : this.gdtr
    this.#step('table', { table: local ? 'LDT' : 'GDT', base: table.base, limit: table.limit })
    if (local && !(this.ldtr.attr & ATTR_P)) return -1
    if (checkTableLimit(selector, table.limit) !== 0) return -1
    const address = (table.base + (selector & 0xfff8)) >>> 0
    this.#step('descriptor', { address, lo: this.#read32(address), hi: this.#read32(address + 4) })
    return address
  }

  #system(
    selector: number,
    check: (selector: number, attr: number) => number,
    accept: (cache: SegmentCache, address: number, hi: number) => void,
  ): GuestFault | undefined {
    selector &= 0xffff
    if (selectorTi(selector)) return this.#fault(makeFault(VECTOR_GP, selector & 0xfffc))
    const address = this.#locate(selector)
    if (address < 0) return this.#fault(makeFault(VECTOR_GP, selector & 0xfffc))
    const lo = this.#read32(address)
    const hi = this.#read32(address + 4)
    const attr = descriptorAttr(hi)
    const fault = attr & ATTR_S ? makeFault(VECTOR_GP, selector & 0xfffc) : check(selector, attr)
    if (fault !== 0) return this.#fault(fault)
    const cache = { selector, base: descriptorBase(lo, hi), limit: descriptorLimit(lo, hi), attr }
    accept(cache, address, hi)
    this.#step('cached', { register: 'system', base: cache.base, limit: cache.limit, attr })
    return undefined
  }

  #fault(fault: number): GuestFault {
    const result = toGuestFault(fault)
    this.#step('fault', { vector: result.vector, errorCode: result.errorCode ?? 0 })
    return result
  }

  #step(step: string, detail: Step): void {
    if (this.#events?.wants('translation')) this.#events.emit('translation', { step, detail })
  }

  #readTableRegister(linear: number): TableRegister {
    const limit = this.#read8(linear) | (this.#read8(linear + 1) << 8)
    return { base: this.#read32(linear + 2), limit }
  }

  #writeTableRegister(linear: number, { base, limit }: TableRegister): void {
    this.#write8(linear, limit)
    this.#write8(linear + 1, limit >>> 8)
    this.#write32(linear + 2, base)
  }

  #read8(linear: number): number {
    return this.#memory.read8(this.#toPhysical(linear >>> 0))
  }

  #write8(linear: number, value: number): void {
    this.#memory.write8(this.#toPhysical(linear >>> 0), value & 0xff)
  }

  // Bytes of a word that crosses a page may lie in frames apart.
  #read32(linear: number): number {
    if ((linear & 0xfff) <= 0xffc) return this.#memory.read32(this.#toPhysical(linear >>> 0))
    let value = 0
    for (let i = 3; i >= 0; i--) value = ((value << 8) | this.#read8(linear + i)) >>> 0
    return value
  }

  #write32(linear: number, value: number): void {
    if ((linear & 0xfff) <= 0xffc) this.#memory.write32(this.#toPhysical(linear >>> 0), value >>> 0)
    else for (let i = 0; i < 4; i++) this.#write8(linear + i, value >>> (8 * i))
  }
}
