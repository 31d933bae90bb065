import type { MmioDevice } from '../contracts/index.js'
import { PAGE_SIZE, PHYSICAL_LIMIT } from './ranges.js'

/** What a region of the map consists of. */
export type RegionKind = 'ram' | 'rom' | 'mmio' | 'alias' | 'none'

/**
 * One configured range of the physical address map. Regions of the base layer never overlap; overlays lie above it.
 * Mutable, because the guest moves and switches overlays (PAM registers, PCI base addresses).
 */
export interface Region {
  readonly kind: RegionKind
  base: number
  readonly size: number
  /** First frame (page of the buffer) that backs a RAM or ROM region. */
  readonly frame: number
  /** Physical address that an alias shows. */
  readonly target: number
  readonly device: MmioDevice | undefined
  /** Among overlays the highest priority wins, among equals the one added last. */
  readonly priority: number
  /** Whether reads, respectively writes, see this region. */
  read: boolean
  write: boolean
}

/** An MMIO device as it appears in the map: at `base`, directly or through an alias. */
export interface Window {
  readonly region: Region
  readonly via: Region | undefined
  readonly device: MmioDevice
  base: number
}

/** Entry of a page map: nothing answers. Reads give all ones, writes vanish. */
export const ENTRY_UNMAPPED: number = -1
/** Entry of a page map: the page holds pieces of several regions. */
export const ENTRY_MIXED: number = -2
/** Entry of a page map: window `n` is `ENTRY_WINDOW - n`. */
export const ENTRY_WINDOW: number = -3

/** Which of the two maps of a page is meant: shadowed ROM reads from one place and writes to another. */
export type Direction = 'read' | 'write'

/** A stretch of physical addresses with one meaning. */
export interface Piece {
  readonly from: number
  to: number
  /** Entry of the page that holds `from`. */
  readonly entry: number
  /** True when entries count up by one from page to page (RAM and ROM), false when all are the same. */
  readonly counts: boolean
}

/**
 * Turns the layered regions into a flat list of pieces. It owns the window table, whose size depends only on
 * what the host configured: moving an overlay reuses its windows, so a guest cannot make the table grow.
 */
export class RegionMap {
  /** The base layer. */
  readonly base: Region[] = []
  /** Overlays, topmost first. */
  readonly overlays: Region[] = []
  /** MMIO devices by the index that page entries carry. */
  readonly windows: Window[] = []

  /** Puts an overlay in front of those with the same or a lower priority. */
  addOverlay(region: Region): void {
    const at = this.overlays.findIndex((other) => other.priority <= region.priority)
    this.overlays.splice(at < 0 ? this.overlays.length : at, 0, region)
  }

  /** The flat list of pieces of `[from, to)`, without gaps, in ascending order. */
  flatten(from: number, to: number, direction: Direction): Piece[] {
    const cuts = new Set<number>([from, to])
    const cut = (address: number): void => {
      if (address > from && address < to) cuts.add(address)
    }
    for (const region of [...this.overlays, ...this.base]) {
      cut(region.base)
      cut(region.base + region.size)
      if (region.kind !== 'alias') continue
      const shift = region.base - region.target
      for (const shown of this.base) {
        for (const edge of [shown.base + shift, shown.base + shown.size + shift]) {
          if (edge > region.base && edge < region.base + region.size) cut(edge)
        }
      }
    }
    const edges = [...cuts].sort((a, b) => a - b)
    const pieces: Piece[] = []
    for (let i = 0; i + 1 < edges.length; i++) {
      const start = edges[i]!
      const piece = this.#piece(start, edges[i + 1]!, direction)
      const last = pieces.at(-1)
      if (last && continues(last, piece)) last.to = piece.to
      else pieces.push(piece)
    }
    return pieces
  }

  /** The base region that holds `address`. */
  find(address: number): Region | undefined {
    return this.base.find((region) => address >= region.base && address < region.base + region.size)
  }

  #piece(from: number, to: number, direction: Direction): Piece {
    // A region that the guest has moved across 2^52 is out of sight as a whole.
    const covers = (region: Region): boolean =>
      from >= region.base && from < region.base + region.size && region.base + region.size <= PHYSICAL_LIMIT
    const top = this.overlays.find((region) => region[direction] && covers(region)) ?? this.base.find(covers)
    if (top?.kind === 'alias') {
      const address = from - top.base + top.target
      return this.#resolve(this.find(address), address, from, to, direction, top)
    }
    return this.#resolve(top, from, from, to, direction, undefined)
  }

  /** `address` is where the region is looked into, `from` where the result appears: they differ behind an alias. */
  #resolve(
    region: Region | undefined,
    address: number,
    from: number,
    to: number,
    direction: Direction,
    via: Region | undefined,
  ): Piece {
    if (region?.kind === 'ram' || (region?.kind === 'rom' && direction === 'read')) {
      return { from, to, entry: region.frame + Math.floor((address - region.base) / PAGE_SIZE), counts: true }
    }
    if (region?.kind === 'mmio') {
      return { from, to, entry: ENTRY_WINDOW - this.#window(region, region.base + from - address, via), counts: false }
    }
    return { from, to, entry: ENTRY_UNMAPPED, counts: false }
  }

  #window(region: Region, base: number, via: Region | undefined): number {
    let index = this.windows.findIndex((window) => window.region === region && window.via === via)
    if (index < 0) {
      index = this.windows.push({ region, via, device: region.device!, base }) - 1
    }
    this.windows[index]!.base = base
    return index
  }
}

/** Whether `next`, which begins where `last` ends, means the same: hidden overlays cut the list without changing it. */
function continues(last: Piece, next: Piece): boolean {
  if (last.counts !== next.counts) return false
  const pages = Math.floor(next.from / PAGE_SIZE) - Math.floor(last.from / PAGE_SIZE)
  return next.entry === (last.counts ? last.entry + pages : last.entry)
}
