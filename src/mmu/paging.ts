import { type PhysicalBus, VirtkitError } from '../contracts/index.js'
import { CR0_PG, CR4_PAE, CR4_PGE, CR4_PSE, EFER_LMA, EFER_NXE } from './control-registers.js'
import {
  ACCESS_PROBE,
  ACCESS_WRITE,
  ATTR_DIRTY,
  ATTR_GLOBAL,
  ATTR_KEY_SHIFT,
  ATTR_LARGE,
  ATTR_NO_EXECUTE,
  ATTR_USER,
  ATTR_WRITABLE,
  accessErrorCode,
  accessFault,
  PF_P,
  PF_RSVD,
  pageControls,
} from './page-permissions.js'
import {
  WALK_ASK,
  WALK_GLOBAL,
  WALK_LARGE32,
  WALK_MODE,
  WALK_PDPTES,
  WALK_RESERVED,
  WALK_RESERVED_1G,
  WALK_RESERVED_4M,
  WALK_ROOT,
  WALK_SIZE,
} from './walk-parameters.js'

/** Paging-structure entry: present. */
export const PTE_P: number = 0x001
/** Paging-structure entry: writable. */
export const PTE_RW: number = 0x002
/** Paging-structure entry: user-mode access allowed. */
export const PTE_US: number = 0x004
/** Paging-structure entry: page-level write-through. */
export const PTE_PWT: number = 0x008
/** Paging-structure entry: page-level cache disable. */
export const PTE_PCD: number = 0x010
/** Paging-structure entry: accessed. */
export const PTE_A: number = 0x020
/** Paging-structure entry that maps a page: dirty. */
export const PTE_D: number = 0x040
/** Paging-structure entry above the last level: maps a large page. */
export const PTE_PS: number = 0x080
/** Paging-structure entry of a 4 KiB page: PAT (the place of PS). */
export const PTE_PAT: number = 0x080
/** Paging-structure entry that maps a page: global. */
export const PTE_G: number = 0x100
/** Paging-structure entry of a large page: PAT. */
export const PTE_PAT_LARGE: number = 0x1000
/** High half of a 64-bit paging-structure entry: execute disable (bit 63). */
export const PTE_HI_NX: number = 0x80000000
/** High half of a 64-bit paging-structure entry: the protection key starts at bit 27 (bits 62–59). */
export const PTE_HI_KEY_SHIFT: number = 27

/** Paging modes. Source: Intel SDM Vol. 3A, "Four Paging Modes". */
export const PAGING_MODES = { none: 0, bits32: 2, pae: 3, level4: 4 } as const
/** One of {@link PAGING_MODES}: its value is the number of levels. */
export type PagingMode = (typeof PAGING_MODES)[keyof typeof PAGING_MODES]

/** What the control registers and the processor model say about paging. Everything left out keeps its value (see the defaults). */
export interface PagingConfiguration {
  /** Default 0: paging off. */
  readonly cr0?: number
  /** Default 0. As a number: bits above 51 (no-flush) must not be in it. */
  readonly cr3?: number
  /** Default 0. */
  readonly cr4?: number
  /** Default 0. LMA decides for 4-level paging, NXE for the execute-disable bit. */
  readonly efer?: number
  /** Protection-key rights register. Default 0. */
  readonly pkru?: number
  /** MAXPHYADDR, 32–52. Default 40. */
  readonly maxPhysicalBits?: number
  /** 1 GiB pages. Default true. */
  readonly gigabytePages?: boolean
  /** PSE-36: 4 MiB pages above 4 GiB. Default true. */
  readonly pse36?: boolean
}

/** Receives each paging-structure entry as the walk reads it: for lectures and statistics. */
export interface WalkObserver {
  /** `level` is 4 (PML4E) to 1 (PTE); the entry is given as two halves, `high` 0 in 32-bit paging. */
  entry(level: number, index: number, address: number, low: number, high: number): void
}

const PAGE_4K = 0x1000
const PAGE_2M = 0x200000
const PAGE_4M = 0x400000
const PAGE_1G = 0x40000000
/** Reserved bits in the low half of an entry of a 1 GiB page. */
const RESERVED_1G = 0x3fffe000
/** Reserved bits in the high half of an entry of PAE paging, besides those beyond MAXPHYADDR. */
const RESERVED_PAE_HIGH = 0x7ff00000

/**
 * Translates linear into physical addresses by walking the paging structures in memory: 32-bit, PAE and 4-level paging, with every
 * reserved-bit and permission check. Source: Intel SDM Vol. 3A, "Paging".
 *
 * Results are in public fields, so that a walk allocates nothing. Accessed and dirty flags: they are written only by a walk
 * that succeeds, from the top level down, each with a 32-bit write of the entry's low half. (The manual lets a processor set A in entries
 * it used even when the access then faults; this model never does.) A not-present or reserved-bit fault at any level comes
 * before permission faults, since permissions are known only when all levels have been read.
 */
export class PageWalker {
  /** Physical address of the byte asked for. After a failed walk: undefined contents. */
  physical = 0
  /** Page-frame number: `physical` divided by 4096. */
  frame = 0
  /** Size of the page in bytes: 4 KiB, 2 MiB, 4 MiB or 1 GiB. */
  pageSize: number = PAGE_4K
  /** Page-fault error code after a failed walk, else 0. */
  errorCode = 0
  /** ATTR_ bits of the translation, for a TLB and {@link permits}. */
  attributes = 0
  /** Current paging mode. */
  mode: PagingMode = PAGING_MODES.none

  readonly #memory: PhysicalBus
  #cr0 = 0
  #cr3 = 0
  #cr4 = 0
  #efer = 0
  #pkru = 0
  #maxPhysicalBits = 40
  #gigabytePages = true
  #pse36 = true
  /** CONTROL_ bits. */
  #controls = 0
  #nxe = false
  #pge = false
  #pse = false
  /** In the high half of an entry: the bits from MAXPHYADDR to 51. */
  #reservedHigh = 0
  /** In a 32-bit entry of a 4 MiB page: reserved bits. */
  #reserved4M = 0
  /** The four page-directory-pointer-table entries that PAE paging keeps in the processor, low and high halves. */
  readonly #pdptes: Uint32Array
  /** See walk-parameters.ts. */
  readonly #words: Uint32Array
  #observer: WalkObserver | undefined = undefined
  // Addresses and low halves of the entries used, by level, for the A and D updates at the end.
  readonly #entryAddress: Float64Array = new Float64Array(5)
  readonly #entryLow: Uint32Array = new Uint32Array(5)
  #user = false
  #writable = false
  #noExecute = false

  /** `words`: where to keep what walk-parameters.ts describes, for a walker in compiled code. */
  constructor(
    memory: PhysicalBus,
    configuration: PagingConfiguration = {},
    words: Uint32Array = new Uint32Array(WALK_SIZE / 4),
  ) {
    this.#memory = memory
    this.#words = words
    this.#pdptes = words.subarray(WALK_PDPTES / 4, WALK_PDPTES / 4 + 8)
    this.#pdptes.fill(0)
    this.configure(configuration)
  }

  /** Receives the entries of each walk. */
  get observer(): WalkObserver | undefined {
    return this.#observer
  }
  set observer(observer: WalkObserver | undefined) {
    this.#observer = observer
    this.#publish()
  }

  /**
   * Takes new register values. Under PAE paging the page-directory-pointer-table entries stay as they are: call {@link loadPdptes} where the
   * processor would load them.
   * @throws VirtkitError `bad-argument` when maxPhysicalBits is not 32–52
   */
  configure(configuration: PagingConfiguration): void {
    const bits = configuration.maxPhysicalBits ?? this.#maxPhysicalBits
    if (!Number.isInteger(bits) || bits < 32 || bits > 52) {
      throw new VirtkitError('bad-argument', `maxPhysicalBits must be 32 to 52, got ${bits}`)
    }
    this.#maxPhysicalBits = bits
    this.#cr0 = configuration.cr0 ?? this.#cr0
    this.#cr3 = configuration.cr3 ?? this.#cr3
    this.#cr4 = configuration.cr4 ?? this.#cr4
    this.#efer = configuration.efer ?? this.#efer
    this.#pkru = configuration.pkru ?? this.#pkru
    this.#gigabytePages = configuration.gigabytePages ?? this.#gigabytePages
    this.#pse36 = configuration.pse36 ?? this.#pse36
    this.#controls = pageControls(this.#cr0, this.#cr4, this.#efer)
    this.#nxe = (this.#efer & EFER_NXE) !== 0
    this.#pge = (this.#cr4 & CR4_PGE) !== 0
    this.#pse = (this.#cr4 & CR4_PSE) !== 0
    this.#reservedHigh = (0xfffff & ~(2 ** (bits - 32) - 1)) >>> 0
    // Bits 20–13 of a 4 MiB entry are address bits 39–32 as far as MAXPHYADDR reaches; bit 21 is always reserved.
    const extra = this.#pse36 ? Math.min(bits, 40) - 32 : 0
    this.#reserved4M = 0x3fe000 & ~((2 ** extra - 1) << 13)
    if (!(this.#cr0 & CR0_PG)) this.mode = PAGING_MODES.none
    else if (!(this.#cr4 & CR4_PAE)) this.mode = PAGING_MODES.bits32
    else this.mode = this.#efer & EFER_LMA ? PAGING_MODES.level4 : PAGING_MODES.pae
    this.#publish()
  }

  /** Writes the parameters for a walker in compiled code. */
  #publish(): void {
    const words = this.#words
    const high = this.#reservedHigh | (this.#nxe ? 0 : PTE_HI_NX)
    words[WALK_MODE >> 2] = this.#observer ? WALK_ASK : this.mode
    words[WALK_GLOBAL >> 2] = this.#pge ? PTE_G : 0
    words[WALK_LARGE32 >> 2] = this.#pse ? PTE_PS : 0
    words[WALK_RESERVED_4M >> 2] = this.#reserved4M
    words[WALK_RESERVED_1G >> 2] = this.#gigabytePages ? RESERVED_1G : PTE_PS
    words[WALK_RESERVED >> 2] = 0
    words[(WALK_RESERVED >> 2) + 1] = this.mode === PAGING_MODES.pae ? high | RESERVED_PAE_HIGH : high
    this.#publishRoot()
  }

  #publishRoot(): void {
    // 32-bit paging ignores the bits of CR3 above 31, which the processor then has cleared anyway.
    const address = this.mode === PAGING_MODES.bits32 ? tableAddress32(this.#cr3) : tableAddressOf(this.#cr3)
    this.#words[WALK_ROOT >> 2] = Math.min(address / PAGE_4K, 0xffffffff)
  }

  /** Only CR3 changes: the frequent case. Under PAE paging call {@link loadPdptes} too. */
  setCr3(cr3: number): void {
    this.#cr3 = cr3
    this.#publishRoot()
  }

  /** Only PKRU changes. */
  setPkru(pkru: number): void {
    this.#pkru = pkru >>> 0
  }

  /** CR3 as configured. */
  get cr3(): number {
    return this.#cr3
  }

  /** The protection-key rights in force. */
  get pkru(): number {
    return this.#pkru
  }

  /** CONTROL_ bits in force: with {@link pkru} and {@link attributes} what `accessFault` needs. */
  get controls(): number {
    return this.#controls
  }

  // The attribute bits one by one, for readers.

  /** U/S is 1 in every entry used. */
  get user(): boolean {
    return (this.attributes & ATTR_USER) !== 0
  }

  /** R/W is 1 in every entry used. */
  get writable(): boolean {
    return (this.attributes & ATTR_WRITABLE) !== 0
  }

  /** XD is 1 in some entry used. */
  get noExecute(): boolean {
    return (this.attributes & ATTR_NO_EXECUTE) !== 0
  }

  /** D is 1 in memory (after this walk). */
  get dirty(): boolean {
    return (this.attributes & ATTR_DIRTY) !== 0
  }

  /** The translation is global. */
  get global(): boolean {
    return (this.attributes & ATTR_GLOBAL) !== 0
  }

  /** The page is larger than 4 KiB. */
  get large(): boolean {
    return (this.attributes & ATTR_LARGE) !== 0
  }

  /** Protection key of the page, 0 where keys do not exist. */
  get protectionKey(): number {
    return (this.attributes >>> ATTR_KEY_SHIFT) & 15
  }

  /**
   * Reads the four PAE page-directory-pointer-table entries that CR3 names, as MOV to CR0, CR3 and CR4 do. Returns false, having changed
   * nothing, when a present one has reserved bits set: the processor raises #GP(0).
   */
  loadPdptes(cr3: number): boolean {
    const base = (cr3 & 0xffffffe0) >>> 0
    const values = new Uint32Array(8)
    for (let i = 0; i < 8; i++) values[i] = this.#memory.read32(base + 4 * i)
    for (let i = 0; i < 4; i++) {
      const low = values[2 * i]!
      const high = values[2 * i + 1]!
      if (low & PTE_P && (low & 0x1e6 || high & (this.#reservedHigh | 0xfff00000))) return false
    }
    this.#pdptes.set(values)
    return true
  }

  /** The PAE page-directory-pointer-table entries held, as four pairs of low and high half: part of the processor's state. */
  get pdptes(): Uint32Array {
    return this.#pdptes
  }

  /** Whether a cached translation with these attributes allows an access: the walk's own check, without a walk. */
  permits(attributes: number, access: number): boolean {
    return this.mode === PAGING_MODES.none || accessFault(attributes, access, this.#controls, this.#pkru) === 0
  }

  /**
   * Translates. `linear` is 0 to 2^32 − 1, under 4-level paging a canonical address as a signed number; `access` is made of ACCESS_
   * bits. Returns false for a page fault, with {@link errorCode}.
   */
  walk(linear: number, access: number): boolean {
    this.errorCode = 0
    switch (this.mode) {
      case PAGING_MODES.none:
        this.physical = linear
        this.frame = Math.floor(linear / PAGE_4K)
        this.pageSize = PAGE_4K
        this.attributes = ATTR_USER | ATTR_WRITABLE | ATTR_DIRTY
        return true
      case PAGING_MODES.bits32:
        return this.#walk32(linear, access)
      case PAGING_MODES.pae:
        return this.#walkPae(linear, access)
      default:
        return this.#walk4(linear, access)
    }
  }

  #walk32(linear: number, access: number): boolean {
    const address = tableAddress32(this.#cr3) + 4 * (linear >>> 22)
    const pde = this.#memory.read32(address)
    this.#observer?.entry(2, linear >>> 22, address, pde, 0)
    this.#start()
    if (!this.#use(2, address, pde, 0)) return this.#fail(access, 0)
    if (pde & PTE_PS && this.#pse) {
      if (pde & this.#reserved4M) return this.#fail(access, PF_P | PF_RSVD)
      const base = ((pde >>> 13) & 0xff) * 2 ** 32 + ((pde & 0xffc00000) >>> 0)
      return this.#finish(2, base, linear & 0x3fffff, PAGE_4M, pde, 0, access)
    }
    const index = (linear >>> 12) & 0x3ff
    const at = tableAddress32(pde) + 4 * index
    const pte = this.#memory.read32(at)
    this.#observer?.entry(1, index, at, pte, 0)
    if (!this.#use(1, at, pte, 0)) return this.#fail(access, 0)
    return this.#finish(1, tableAddress32(pte), linear & 0xfff, PAGE_4K, pte, 0, access)
  }

  #walkPae(linear: number, access: number): boolean {
    const top = linear >>> 30
    const low = this.#pdptes[2 * top]!
    const high = this.#pdptes[2 * top + 1]!
    this.#observer?.entry(3, top, ((this.#cr3 & 0xffffffe0) >>> 0) + 8 * top, low, high)
    this.#start()
    if (!(low & PTE_P)) return this.#fail(access, 0)
    // PAE directory-pointer entries carry neither rights nor an A flag, and were checked when they were loaded.
    return this.#walkDirectory(tableAddress64(low, high), linear, access, this.#reservedHigh | RESERVED_PAE_HIGH)
  }

  #walk4(linear: number, access: number): boolean {
    // 48-bit two's complement: the upper part as a number of 512 GiB, 0–511.
    const upper = Math.floor(linear / 2 ** 32)
    const lower = linear >>> 0
    const reserved = this.#reservedHigh
    this.#start()

    let index = (upper >> 7) & 0x1ff
    let address = tableAddressOf(this.#cr3) + 8 * index
    let low = this.#memory.read32(address)
    let high = this.#memory.read32(address + 4)
    this.#observer?.entry(4, index, address, low, high)
    if (!this.#use(4, address, low, high)) return this.#fail(access, 0)
    if (high & reserved || low & PTE_PS || (high & PTE_HI_NX && !this.#nxe)) return this.#fail(access, PF_P | PF_RSVD)

    index = ((upper << 2) | (lower >>> 30)) & 0x1ff
    address = tableAddress64(low, high) + 8 * index
    low = this.#memory.read32(address)
    high = this.#memory.read32(address + 4)
    this.#observer?.entry(3, index, address, low, high)
    if (!this.#use(3, address, low, high)) return this.#fail(access, 0)
    if (high & reserved || (high & PTE_HI_NX && !this.#nxe)) return this.#fail(access, PF_P | PF_RSVD)
    if (low & PTE_PS) {
      if (!this.#gigabytePages || low & RESERVED_1G) return this.#fail(access, PF_P | PF_RSVD)
      const base = tableAddress64(low & 0xc0000000, high)
      return this.#finish(3, base, lower & 0x3fffffff, PAGE_1G, low, high, access)
    }
    return this.#walkDirectory(tableAddress64(low, high), lower, access, reserved)
  }

  /** The last two levels, which PAE and 4-level paging share but for the reserved bits in the high half. */
  #walkDirectory(directory: number, linear: number, access: number, reserved: number): boolean {
    let index = (linear >>> 21) & 0x1ff
    let address = directory + 8 * index
    let low = this.#memory.read32(address)
    let high = this.#memory.read32(address + 4)
    this.#observer?.entry(2, index, address, low, high)
    if (!this.#use(2, address, low, high)) return this.#fail(access, 0)
    if (high & reserved || (high & PTE_HI_NX && !this.#nxe)) return this.#fail(access, PF_P | PF_RSVD)
    if (low & PTE_PS) {
      if (low & 0x1fe000) return this.#fail(access, PF_P | PF_RSVD)
      const base = tableAddress64(low & 0xffe00000, high)
      return this.#finish(2, base, linear & 0x1fffff, PAGE_2M, low, high, access)
    }
    index = (linear >>> 12) & 0x1ff
    address = tableAddress64(low, high) + 8 * index
    low = this.#memory.read32(address)
    high = this.#memory.read32(address + 4)
    this.#observer?.entry(1, index, address, low, high)
    if (!this.#use(1, address, low, high)) return this.#fail(access, 0)
    if (high & reserved || (high & PTE_HI_NX && !this.#nxe)) return this.#fail(access, PF_P | PF_RSVD)
    return this.#finish(1, tableAddress64(low, high), linear & 0xfff, PAGE_4K, low, high, access)
  }

  #start(): void {
    this.#user = true
    this.#writable = true
    this.#noExecute = false
    this.#entryAddress.fill(-1)
  }

  /** Takes an entry's rights into account. False if it is not present. */
  #use(level: number, address: number, low: number, high: number): boolean {
    if (!(low & PTE_P)) return false
    this.#entryAddress[level] = address
    this.#entryLow[level] = low
    if (!(low & PTE_US)) this.#user = false
    if (!(low & PTE_RW)) this.#writable = false
    if (high & PTE_HI_NX) this.#noExecute = true
    return true
  }

  #fail(access: number, code: number): boolean {
    this.errorCode = code | accessErrorCode(access, this.#controls)
    return false
  }

  #finish(
    leaf: number,
    base: number,
    offset: number,
    pageSize: number,
    low: number,
    high: number,
    access: number,
  ): boolean {
    let attributes = 0
    if (this.#user) attributes |= ATTR_USER
    if (this.#writable) attributes |= ATTR_WRITABLE
    if (this.#noExecute) attributes |= ATTR_NO_EXECUTE
    if (low & PTE_D) attributes |= ATTR_DIRTY
    if (low & PTE_G && this.#pge) attributes |= ATTR_GLOBAL
    if (pageSize !== PAGE_4K) attributes |= ATTR_LARGE
    if (this.mode === PAGING_MODES.level4) attributes |= ((high >>> PTE_HI_KEY_SHIFT) & 15) << ATTR_KEY_SHIFT
    const fault = accessFault(attributes, access, this.#controls, this.#pkru)
    if (fault !== 0) {
      this.errorCode = fault
      this.attributes = attributes
      return false
    }
    if (!(access & ACCESS_PROBE)) {
      const dirty = access & ACCESS_WRITE ? PTE_A | PTE_D : PTE_A
      for (let level = 4; level >= leaf; level--) {
        const address = this.#entryAddress[level]!
        if (address < 0) continue
        const value = this.#entryLow[level]!
        const updated = (value | (level === leaf ? dirty : PTE_A)) >>> 0
        if (updated !== value) this.#memory.write32(address, updated)
      }
      if (access & ACCESS_WRITE) attributes |= ATTR_DIRTY
    }
    this.attributes = attributes
    this.physical = base + offset
    this.frame = Math.floor(this.physical / PAGE_4K)
    this.pageSize = pageSize
    return true
  }
}

/** Bits 31–12 of an entry or of CR3. */
function tableAddress32(value: number): number {
  return (value & 0xfffff000) >>> 0
}

/** Bits 51–12 of an entry given as two halves. */
function tableAddress64(low: number, high: number): number {
  return (high & 0xfffff) * 2 ** 32 + ((low & 0xfffff000) >>> 0)
}

/** Bits 51–12 of CR3 as one number. */
function tableAddressOf(cr3: number): number {
  return Math.floor(cr3 / 2 ** 32) * 2 ** 32 + tableAddress32(cr3)
}
