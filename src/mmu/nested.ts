import type { PhysicalBus } from '../contracts/index.js'
import {
  ACCESS_AC,
  ACCESS_FETCH,
  ACCESS_PROBE,
  ACCESS_USER,
  ACCESS_WRITE,
  accessErrorCode,
} from './page-permissions.js'
import { PAGING_MODES, PageWalker } from './paging.js'

/**
 * Physical memory as a guest sees it: every address goes through the host's walker first. An access for which that fails reads as
 * ones or vanishes, and is remembered in {@link fault}. Source: AMD64 Architecture Programmer's Manual Vol. 2, "Nested Paging":
 * guest table accesses count as user-mode writes at the nested level.
 */
export class NestedBus implements PhysicalBus {
  /** Guest-physical address of the first access that failed since {@link clear}, or -1. */
  fault = -1
  /** Error code of that failure, as the host's walk gave it. */
  errorCode = 0
  /** Access bits used for the host's walk. */
  access: number = ACCESS_USER | ACCESS_WRITE
  readonly #memory: PhysicalBus
  readonly #host: PageWalker

  constructor(memory: PhysicalBus, host: PageWalker) {
    this.#memory = memory
    this.#host = host
  }

  /** Forgets a failure. */
  clear(): void {
    this.fault = -1
    this.errorCode = 0
  }

  read8(address: number): number {
    return this.#translate(address) ? this.#memory.read8(this.#host.physical) : 0xff
  }

  read16(address: number): number {
    if (crosses(address, 2)) return this.read8(address) | (this.read8(address + 1) << 8)
    return this.#translate(address) ? this.#memory.read16(this.#host.physical) : 0xffff
  }

  read32(address: number): number {
    if (crosses(address, 4)) return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0
    return this.#translate(address) ? this.#memory.read32(this.#host.physical) : 0xffffffff
  }

  write8(address: number, value: number): void {
    if (this.#translate(address)) this.#memory.write8(this.#host.physical, value & 0xff)
  }

  write16(address: number, value: number): void {
    if (crosses(address, 2)) {
      this.write8(address, value)
      this.write8(address + 1, value >>> 8)
    } else if (this.#translate(address)) this.#memory.write16(this.#host.physical, value & 0xffff)
  }

  write32(address: number, value: number): void {
    if (crosses(address, 4)) {
      this.write16(address, value)
      this.write16(address + 2, value >>> 16)
    } else if (this.#translate(address)) this.#memory.write32(this.#host.physical, value >>> 0)
  }

  /** Once something failed nothing more is done: the walk that uses this bus is already void. */
  #translate(address: number): boolean {
    if (this.fault >= 0) return false
    if (hostWalk(this.#host, address, this.access)) return true
    this.fault = address
    this.errorCode = this.#host.errorCode
    return false
  }
}

/**
 * The two-dimensional walk of nested paging: the guest's tables translate linear to guest-physical addresses, the host's translate those,
 * and the addresses of the guest's tables too. Configure {@link guest} and {@link host} like any `PageWalker`.
 */
export class NestedWalker {
  readonly guest: PageWalker
  readonly host: PageWalker
  /** Physical address after a walk that succeeded. */
  physical = 0
  /** Guest-physical address after a walk that succeeded or met a nested fault. */
  guestPhysical = 0
  /** Size of the page that a TLB may cache: the smaller of both. */
  pageSize = 4096
  /** Which level faulted: the guest's own page fault, or a nested one that the host must handle. */
  failed: 'none' | 'guest' | 'host' = 'none'
  /** Page-fault error code of that level. */
  errorCode = 0
  readonly #bus: NestedBus

  constructor(memory: PhysicalBus) {
    this.host = new PageWalker(memory)
    this.#bus = new NestedBus(memory, this.host)
    this.guest = new PageWalker(this.#bus)
  }

  /** Translates a guest-linear address; `access` as for `PageWalker.walk`. */
  walk(linear: number, access: number): boolean {
    const probe = access & ACCESS_PROBE
    this.#bus.clear()
    this.#bus.access = ACCESS_USER | (probe ? probe : ACCESS_WRITE)
    const found = this.guest.walk(linear, access)
    if (this.#bus.fault >= 0) return this.#fail('host', this.#bus.errorCode, this.#bus.fault)
    if (!found) return this.#fail('guest', this.guest.errorCode, 0)
    const kind = access & (ACCESS_WRITE | ACCESS_FETCH | ACCESS_PROBE | ACCESS_AC)
    if (!hostWalk(this.host, this.guest.physical, ACCESS_USER | kind)) {
      return this.#fail('host', this.host.errorCode, this.guest.physical)
    }
    this.failed = 'none'
    this.errorCode = 0
    this.guestPhysical = this.guest.physical
    this.physical = this.host.physical
    this.pageSize = Math.min(this.guest.pageSize, this.host.pageSize)
    return true
  }

  #fail(level: 'guest' | 'host', errorCode: number, guestPhysical: number): boolean {
    this.failed = level
    this.errorCode = errorCode
    this.guestPhysical = guestPhysical
    return false
  }
}

/** The host's walk of a guest-physical address. One wider than its paging mode can translate is not present. */
function hostWalk(host: PageWalker, address: number, access: number): boolean {
  const limit = host.mode === PAGING_MODES.none ? 2 ** 52 : host.mode === PAGING_MODES.level4 ? 2 ** 48 : 2 ** 32
  if (address < limit) return host.walk(address, access)
  host.errorCode = accessErrorCode(access, host.controls)
  return false
}

function crosses(address: number, size: number): boolean {
  return (address & 0xfff) > 4096 - size
}
