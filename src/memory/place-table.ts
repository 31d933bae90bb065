import type { PageMap } from './page-map.js'
import { PAGE_SIZE } from './ranges.js'

/** In a word of a {@link PlaceTable}: reads of the page find memory at the place in the word's upper 20 bits. Set in every word that is not 0. */
export const PLACE_READ: number = 1
/** In a word of a {@link PlaceTable}: writes go to the same place. */
export const PLACE_WRITE: number = 2

/**
 * What compiled code needs to know of physical pages, in the buffer itself: for each of the first pages of the physical address space where its
 * bytes lie, and for each frame of the buffer its watch bits. The A20 gate is not taken into account: whoever looks masks the page.
 */
export class PlaceTable {
  /** Byte offset of the table in the buffer: one 32-bit word per physical page, 0 where {@link AddressSpace} must be asked. */
  readonly offset: number
  /** Number of pages that have a word. */
  readonly pages: number
  /** Byte offset in the buffer of the watch bits, a byte per frame. */
  readonly watchOffset: number
  /** The watch bits. */
  readonly watch: Uint8Array
  readonly #words: Int32Array

  /** A table at byte offset `offset` for a buffer of `frames` frames: of {@link PlaceTable.size} bytes there. */
  constructor(buffer: ArrayBufferLike, offset: number, frames: number) {
    this.offset = offset
    this.pages = frames
    this.watchOffset = offset + 4 * frames
    this.#words = new Int32Array(buffer, offset, frames)
    this.watch = new Uint8Array(buffer, this.watchOffset, frames)
    this.#words.fill(0)
    this.watch.fill(0)
  }

  /** Bytes that the table of a buffer of `frames` frames takes, a multiple of 4096. */
  static size(frames: number): number {
    return Math.ceil((5 * frames) / PAGE_SIZE) * PAGE_SIZE
  }

  /**
   * Takes over what the maps say of `[from, to)`.
   * @internal
   */
  update(reads: PageMap, writes: PageMap, from: number, to: number): void {
    const end = Math.min(Math.ceil(to / PAGE_SIZE), this.pages)
    for (let page = Math.floor(from / PAGE_SIZE); page < end; page++) {
      const frame = reads.entry(page)
      this.#words[page] =
        frame < 0 ? 0 : (frame * PAGE_SIZE) | PLACE_READ | (writes.entry(page) === frame ? PLACE_WRITE : 0)
    }
  }
}

/** Bytes to add to a buffer of `bytes` bytes so that there is room for the table of the whole. */
export function placeTableRoom(bytes: number): number {
  return PlaceTable.size(Math.ceil(bytes / (PAGE_SIZE - 5)) + 2) + PAGE_SIZE
}
