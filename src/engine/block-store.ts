/**
 * Where prepared blocks live: a region of linear memory filled from the bottom, a hash from (place of the code, mode) to the block, and for
 * every page of memory the list of its blocks. A full store is emptied; nothing is evicted one by one.
 */

import { UOP_HANDLER, UOP_INDEX, UOP_IP, UOP_LENGTH, UOP_OP, UOP_SIZE } from '../cpu/uops.js'
import {
  BLOCK_BYTES,
  BLOCK_COUNT,
  BLOCK_HASH_NEXT,
  BLOCK_HEADER_SIZE,
  BLOCK_HEAT,
  BLOCK_MODE,
  BLOCK_PAGE_NEXT,
  BLOCK_PLACE,
  BLOCK_RECORDS,
  LINK_NEVER,
  LINK_UNKNOWN,
} from './threaded-builder.js'
import { linkFields } from './threaded-handlers-control.js'
import { HANDLER_BAIL } from './threaded-registry.js'

const HASH_BITS = 14

/** A mode that no CPU is ever in: jumps do not find a dropped block. */
const MODE_DROPPED = -1

/** Mode of the headers that stand for what a block has on a second page. */
const MODE_TAIL = -2
/** In such a header: the block. */
const TAIL_OF = BLOCK_COUNT

export class BlockStore {
  private readonly i32: Int32Array
  private readonly u16: Uint16Array
  private readonly u8: Uint8Array
  private readonly hash = new Int32Array(1 << HASH_BITS)
  /** First block of every 4 KiB of linear memory. */
  private readonly pages: Int32Array
  private readonly start: number
  private readonly end: number
  private top: number
  /** Hears of blocks that are dropped one by one. */
  onDrop: ((block: number) => void) | undefined

  /** Uses the bytes `start` to `start + size` of `buffer`; both multiples of 64. */
  constructor(buffer: ArrayBufferLike, start: number, size: number) {
    this.i32 = new Int32Array(buffer, 0, buffer.byteLength >>> 2)
    this.u16 = new Uint16Array(buffer, 0, buffer.byteLength >>> 1)
    this.u8 = new Uint8Array(buffer)
    this.pages = new Int32Array(Math.ceil(buffer.byteLength / 4096))
    this.start = start
    this.end = start + size
    this.top = start
  }

  /** Bytes that blocks occupy. */
  get used(): number {
    return this.top - this.start
  }

  /** Where the next block's header would be. */
  get next(): number {
    return this.top
  }

  /** End of the store. */
  get limit(): number {
    return this.end
  }

  /** Drops everything. */
  clear(): void {
    this.hash.fill(0)
    this.pages.fill(0)
    this.top = this.start
  }

  private bucket(place: number, mode: number): number {
    return (Math.imul(place ^ (mode << 20), 0x9e3779b1) >>> (32 - HASH_BITS)) & ((1 << HASH_BITS) - 1)
  }

  /** The block for the code at `place` in `mode`, or 0. */
  find(place: number, mode: number): number {
    const { i32 } = this
    let at = this.hash[this.bucket(place, mode)]!
    while (at !== 0 && (i32[(at + BLOCK_PLACE) >> 2] !== (place | 0) || i32[(at + BLOCK_MODE) >> 2] !== mode))
      at = i32[(at + BLOCK_HASH_NEXT) >> 2]!
    return at
  }

  /** Makes a block of the `records` records that follow a header at `next`; `heat` is what it starts with. Returns the header. */
  add(place: number, mode: number, records: number, instructions: number, bytes: number, heat: number): number {
    const { i32 } = this
    const at = this.top
    const word = at >> 2
    const bucket = this.bucket(place, mode)
    const page = place >>> 12
    i32[word + (BLOCK_COUNT >> 2)] = instructions
    i32[word + (BLOCK_BYTES >> 2)] = bytes
    i32[word + (BLOCK_PLACE >> 2)] = place
    i32[word + (BLOCK_MODE >> 2)] = mode
    i32[word + (BLOCK_RECORDS >> 2)] = records
    i32[word + (BLOCK_HEAT >> 2)] = heat
    i32[word + (BLOCK_HASH_NEXT >> 2)] = this.hash[bucket]!
    i32[word + (BLOCK_PAGE_NEXT >> 2)] = this.pages[page]!
    this.hash[bucket] = at
    this.pages[page] = at
    this.top = at + BLOCK_HEADER_SIZE + records * UOP_SIZE
    return at
  }

  /** Notes that the newest block goes on in the first `bytes` bytes of the page at `place`: whoever writes there drops it. */
  addTail(place: number, bytes: number, block: number): void {
    const { i32 } = this
    const at = this.top
    const word = at >> 2
    const page = place >>> 12
    i32.fill(0, word, word + (BLOCK_HEADER_SIZE >> 2))
    i32[word + (BLOCK_BYTES >> 2)] = bytes
    i32[word + (BLOCK_PLACE >> 2)] = place
    i32[word + (BLOCK_MODE >> 2)] = MODE_TAIL
    i32[word + (TAIL_OF >> 2)] = block
    i32[word + (BLOCK_PAGE_NEXT >> 2)] = this.pages[page]!
    this.pages[page] = at
    this.top = at + BLOCK_HEADER_SIZE
  }

  /** Whether blocks were made from the 4 KiB of linear memory numbered `page`. */
  hasPage(page: number): boolean {
    return this.pages[page] !== 0
  }

  /**
   * Drops the blocks of a page that hold any of its bytes `from` to `to` (exclusive), and sets the bits of the bytes of its other blocks in
   * `kept`. A dropped block that runs right now bails at its next instruction. Returns how many were dropped.
   */
  drop(page: number, from: number, to: number, kept: Uint8Array): number {
    const { i32 } = this
    let at = this.pages[page]!
    let last = 0
    let dropped = 0
    this.pages[page] = 0
    while (at !== 0) {
      const word = at >> 2
      const next = i32[word + (BLOCK_PAGE_NEXT >> 2)]!
      const start = i32[word + (BLOCK_PLACE >> 2)]! & 0xfff
      const end = start + i32[word + (BLOCK_BYTES >> 2)]!
      if (start < to && end > from) {
        this.dropBlock(at)
        dropped++
      } else {
        for (let byte = start; byte < end; byte++) kept[byte >> 3]! |= 1 << (byte & 7)
        if (last === 0) this.pages[page] = at
        else i32[(last + BLOCK_PAGE_NEXT) >> 2] = at
        i32[word + (BLOCK_PAGE_NEXT >> 2)] = 0
        last = at
      }
      at = next
    }
    if (dropped > 0) this.unlink(page)
    return dropped
  }

  /** Makes links of a page's blocks forget dropped blocks, which would bail each time. Links do not leave their page. */
  private unlink(page: number): void {
    const { i32, u16 } = this
    for (let at = this.pages[page]!; at !== 0; at = i32[(at + BLOCK_PAGE_NEXT) >> 2]!) {
      if (i32[(at + BLOCK_MODE) >> 2]! < 0) continue
      const last = at + BLOCK_HEADER_SIZE + (i32[(at + BLOCK_RECORDS) >> 2]! - 1) * UOP_SIZE
      for (const field of linkFields(u16[(last + UOP_OP) >> 1]! >> 2)) {
        const to = i32[(last + field) >> 2]! >>> 0
        if (to > LINK_NEVER && i32[(to + BLOCK_MODE) >> 2] === MODE_DROPPED) i32[(last + field) >> 2] = LINK_UNKNOWN
      }
    }
  }

  private dropBlock(at: number): void {
    const { i32, u8, u16 } = this
    const word = at >> 2
    if (i32[word + (BLOCK_MODE >> 2)] === MODE_TAIL) {
      this.dropBlock(i32[word + (TAIL_OF >> 2)]!)
      return
    }
    // A block that crosses pages may be dropped from both sides.
    if (i32[word + (BLOCK_MODE >> 2)] === MODE_DROPPED) return
    this.unhash(at)
    i32[word + (BLOCK_MODE >> 2)] = MODE_DROPPED
    this.onDrop?.(at)
    const end = at + BLOCK_HEADER_SIZE + i32[word + (BLOCK_RECORDS >> 2)]! * UOP_SIZE
    // Links still lead here, and instructions without records (NOP) may lie before one that bails: it bails at the first of them.
    let from = 0
    let left = i32[word + (BLOCK_COUNT >> 2)]!
    let last = -1
    for (let record = at + BLOCK_HEADER_SIZE; record < end; record += UOP_SIZE) {
      const index = u8[record + UOP_INDEX]!
      const length = u8[record + UOP_LENGTH]!
      if (index === last) continue
      const ip = u16[(record + UOP_IP) >> 1]!
      u16[(record + UOP_HANDLER) >> 1] = HANDLER_BAIL
      u16[(record + UOP_IP) >> 1] = from
      u8[record + UOP_INDEX] = left
      // The check before the first instruction has no length.
      if (length === 0) continue
      last = index
      from = ip + length
      left = index - 1
    }
  }

  private unhash(block: number): void {
    const { i32 } = this
    const bucket = this.bucket(i32[(block + BLOCK_PLACE) >> 2]!, i32[(block + BLOCK_MODE) >> 2]!)
    let at = this.hash[bucket]!
    if (at === block) {
      this.hash[bucket] = i32[(block + BLOCK_HASH_NEXT) >> 2]!
      return
    }
    while (at !== 0) {
      const next = i32[(at + BLOCK_HASH_NEXT) >> 2]!
      if (next === block) {
        i32[(at + BLOCK_HASH_NEXT) >> 2] = i32[(block + BLOCK_HASH_NEXT) >> 2]!
        return
      }
      at = next
    }
  }
}
