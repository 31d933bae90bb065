import { type MmioDevice, VirtkitError } from '../contracts/index.js'
import { PAGE_SIZE } from './ranges.js'
import type { Region, RegionMap } from './regions.js'

/** Construction options of an `AddressSpace`. */
export interface AddressSpaceOptions {
  /** Where RAM and ROM bytes live. It must never be detached or grow. Default: a buffer of its own, of `capacity` bytes. */
  readonly buffer?: ArrayBufferLike
  /** Bytes of RAM to map at address 0 straight away: the short way to a memory to play with. */
  readonly size?: number
  /** Bytes of the own buffer. Default: `size` and 2 MiB for ROMs. */
  readonly capacity?: number
  /** Bytes at the start of the buffer that automatic placement leaves alone. Default 0. */
  readonly reserved?: number
  /**
   * Keep a table of pages and the watch bits in the buffer itself, for compiled code that fills a TLB; it takes 5 bytes per 4096 bytes of buffer, in the first
   * gap. Default false.
   */
  readonly placeTable?: boolean
}

/** Where the bytes of a RAM or ROM range lie in the buffer. */
export interface Placement {
  /** Byte offset in the buffer, a multiple of 4096. Default: the first gap that fits. */
  readonly offset?: number
}

/** A range laid over the map. Exactly one of `device`, `rom` and `alias` says what it shows; with none of them it is a hole. */
export interface OverlayOptions extends Placement {
  readonly base: number
  readonly size: number
  /** Among overlapping overlays the highest priority wins, among equals the one added last. Default 0. */
  readonly priority?: number
  /** A device, at any byte address and size. */
  readonly device?: MmioDevice
  /** Contents of a ROM (page-aligned; the rest of `size` reads as ones). Writes to it vanish. */
  readonly rom?: Uint8Array
  /** Shows what the map without overlays holds at this address (page-aligned). */
  readonly alias?: number
  /** Whether reads see the overlay. Default true. */
  readonly read?: boolean
  /** Whether writes see the overlay. Default true. */
  readonly write?: boolean
}

/** Control of an overlay at run time. A change that changes nothing notifies nobody. */
export interface Overlay {
  readonly base: number
  readonly size: number
  readonly read: boolean
  readonly write: boolean
  /** Shows or hides the overlay for reads and for writes apart: RAM that shadows a ROM reads from one and writes to the other. */
  setEnabled(enabled: { readonly read?: boolean; readonly write?: boolean }): void
  /** Moves the overlay. A base from which it does not fit below 2^52 takes it out of sight: a guest may write that into a base address register. */
  move(base: number): void
  /** Takes the overlay off the map for good. */
  remove(): void
}

/** Why cached translations of physical pages are stale. */
export type MapChange = 'map' | 'a20' | 'dirty-log' | 'state'

/** Saved state of an `AddressSpace`: what the guest can change. The layout itself is the host's configuration. */
export interface AddressSpaceState {
  readonly version: 1
  readonly a20: boolean
  /** The RAM ranges, to recognise a state of a different machine. */
  readonly ram: readonly { readonly base: number; readonly size: number }[]
  /** RAM contents, as stretches of pages that are not all zero. */
  readonly chunks: readonly { readonly address: number; readonly bytes: Uint8Array }[]
  /** Position and visibility of the overlays, in order of creation; null when the parts that own them restore them. */
  readonly overlays:
    | readonly {
        readonly base: number
        readonly size: number
        readonly read: boolean
        readonly write: boolean
      }[]
    | null
  /** Physical pages in the dirty log, or null when it is off. */
  readonly dirty: readonly number[] | null
}

/**
 * Validates saved state against a configured map.
 * @throws VirtkitError `bad-state`
 */
export function checkAddressSpaceState(
  state: AddressSpaceState,
  regions: RegionMap,
  overlays: readonly Region[],
): void {
  const bad = (why: string): never => {
    throw new VirtkitError('bad-state', `AddressSpace: ${why}`)
  }
  if (typeof state !== 'object' || state === null || state.version !== 1) bad('not a state of version 1')
  if (typeof state.a20 !== 'boolean') bad('a20 is not a boolean')
  if (!Array.isArray(state.ram) || !Array.isArray(state.chunks)) bad('a list is missing')
  if (state.overlays !== null && !Array.isArray(state.overlays)) bad('a list is missing')
  const ram = regions.base.filter((region) => region.kind === 'ram')
  const sameRam =
    ram.length === state.ram.length &&
    ram.every((r, i) => r.base === state.ram[i]?.base && r.size === state.ram[i]?.size)
  if (!sameRam) bad('it was saved with other RAM ranges')
  for (const chunk of state.chunks) {
    if (!(chunk?.bytes instanceof Uint8Array) || !Number.isSafeInteger(chunk.address) || chunk.address < 0)
      bad('a damaged chunk')
    const region = regions.find(chunk.address)
    if (region?.kind !== 'ram' || chunk.address + chunk.bytes.length > region.base + region.size)
      bad('a chunk outside RAM')
  }
  if (state.overlays !== null && state.overlays.length !== overlays.length) bad('it was saved with other overlays')
  state.overlays?.forEach((saved, i) => {
    const { size, kind } = overlays[i]!
    if (saved?.size !== size || typeof saved.read !== 'boolean' || typeof saved.write !== 'boolean')
      bad('a damaged overlay')
    if (!Number.isInteger(saved.base) || saved.base < 0) bad('a damaged overlay')
    if ((kind === 'rom' || kind === 'alias') && saved.base % PAGE_SIZE !== 0) bad('a damaged overlay')
  })
  if (state.dirty === null) return
  if (!Array.isArray(state.dirty)) bad('a damaged dirty log')
  for (const page of state.dirty) {
    if (!Number.isSafeInteger(page) || regions.find(page * PAGE_SIZE)?.kind !== 'ram') bad('a dirty page outside RAM')
  }
}
