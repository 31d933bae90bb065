import { VirtkitError } from '../contracts/index.js'
import { checkPageAligned, hex, PAGE_SIZE } from './ranges.js'

/** The one buffer in which RAM and ROM bytes live, handed out in frames of 4 KiB. */
export class FrameStore {
  readonly bytes: Uint8Array
  /** Whole frames in the buffer. */
  readonly frames: number
  readonly #words: Uint32Array
  readonly #reserved: number
  /** Taken extents, ascending by first frame. */
  readonly #taken: { readonly first: number; readonly end: number }[] = []

  constructor(buffer: ArrayBufferLike, reserved: number) {
    this.bytes = new Uint8Array(buffer)
    this.frames = Math.floor(buffer.byteLength / PAGE_SIZE)
    this.#words = new Uint32Array(buffer, 0, this.frames * (PAGE_SIZE / 4))
    this.#reserved = Math.ceil(reserved / PAGE_SIZE)
  }

  /**
   * Takes frames for `size` bytes (a multiple of 4096) at the byte offset, or in the first gap; returns the first frame.
   * @throws VirtkitError `bad-range` (no room, or outside the buffer), `overlap`
   */
  take(what: string, size: number, offset: number | undefined): number {
    const count = size / PAGE_SIZE
    const first = offset === undefined ? this.#gap(count) : this.#fixed(what, offset)
    if (first < 0 || first + count > this.frames) {
      throw new VirtkitError(
        'bad-range',
        `${what}: ${hex(size)} bytes do not fit into the buffer of ${hex(this.bytes.length)}`,
      )
    }
    if (this.#taken.some((extent) => first < extent.end && extent.first < first + count)) {
      throw new VirtkitError('overlap', `${what}: the buffer at ${hex(first * PAGE_SIZE)} is taken`)
    }
    this.#taken.push({ first, end: first + count })
    this.#taken.sort((a, b) => a.first - b.first)
    return first
  }

  /** Gives an extent back by its first frame. */
  release(first: number): void {
    const at = this.#taken.findIndex((extent) => extent.first === first)
    if (at >= 0) this.#taken.splice(at, 1)
  }

  /** Copies of the stretches of pages that are not all zero, of `size` bytes from a frame on. */
  stretches(first: number, size: number): { offset: number; bytes: Uint8Array }[] {
    const result: { offset: number; bytes: Uint8Array }[] = []
    const end = first + size / PAGE_SIZE
    for (let frame = first; frame < end; frame++) {
      if (this.#zero(frame)) continue
      const start = frame
      while (frame < end && !this.#zero(frame)) frame++
      result.push({
        offset: (start - first) * PAGE_SIZE,
        bytes: this.bytes.slice(start * PAGE_SIZE, frame * PAGE_SIZE),
      })
    }
    return result
  }

  #zero(frame: number): boolean {
    const words = this.#words
    const end = (frame + 1) * (PAGE_SIZE / 4)
    for (let i = frame * (PAGE_SIZE / 4); i < end; i++) if (words[i] !== 0) return false
    return true
  }

  #fixed(what: string, offset: number): number {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new VirtkitError('bad-range', `${what}: the offset must be an integer from 0, got ${offset}`)
    }
    checkPageAligned(`${what}: the offset`, offset)
    return offset / PAGE_SIZE
  }

  #gap(count: number): number {
    let first = this.#reserved
    for (const extent of this.#taken) {
      if (first + count <= extent.first) break
      first = Math.max(first, extent.end)
    }
    return first
  }
}
