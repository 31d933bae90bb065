import type { BlockBackend } from '../contracts/index.js'
import { StateReader, VirtkitError } from '../contracts/index.js'

/** Bytes of a disk sector: the unit in which disk sizes are counted. */
export const SECTOR_SIZE = 512

/** Throws `bad-image` unless `size` is a multiple of 512 greater than 0. `what` names the image in the message. */
export function checkDiskSize(size: number, what: string): void {
  if (!Number.isSafeInteger(size) || size <= 0 || size % SECTOR_SIZE !== 0) {
    throw new VirtkitError(
      'bad-image',
      `${what}: a disk has a multiple of ${SECTOR_SIZE} bytes, more than 0; got ${size}`,
    )
  }
}

/** Throws `bad-range` unless `[offset, offset + length)` lies within a disk of `size` bytes. */
export function checkDiskRange(size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > size) {
    throw new VirtkitError('bad-range', `bytes ${offset} to ${offset + length} lie outside a disk of ${size} bytes`)
  }
}

function refuseWrite(): never {
  throw new VirtkitError('bad-argument', 'the disk is read-only')
}

/** A disk in a byte array, which it reads and writes in place. */
export class MemoryDisk implements BlockBackend {
  readonly size: number
  readonly readOnly: boolean
  /** The contents. */
  readonly bytes: Uint8Array

  /** `bytes` is used, not copied; its length is a multiple of 512, else `bad-image`. */
  constructor(bytes: Uint8Array, options: { readonly readOnly?: boolean } = {}) {
    checkDiskSize(bytes.length, 'disk image')
    this.bytes = bytes
    this.size = bytes.length
    this.readOnly = options.readOnly === true
  }

  read(offset: number, target: Uint8Array): void {
    checkDiskRange(this.size, offset, target.length)
    target.set(this.bytes.subarray(offset, offset + target.length))
  }

  write(offset: number, source: Uint8Array): void {
    if (this.readOnly) refuseWrite()
    checkDiskRange(this.size, offset, source.length)
    this.bytes.set(source, offset)
  }

  flush(): void {}

  /** The contents, without stretches of zeros; null for a disk that cannot change. */
  saveState(): DiskState | null {
    if (this.readOnly) return null
    const blocks: DiskBlock[] = []
    for (let at = 0; at < this.size; at += BLOCK_SIZE) {
      const bytes = this.bytes.subarray(at, at + BLOCK_SIZE)
      if (bytes.some((byte) => byte !== 0)) blocks.push({ at, bytes: bytes.slice() })
    }
    return { version: 1, size: this.size, blocks }
  }

  /** Replaces the contents. Throws `bad-state` when the state is not that of a disk of this size. */
  loadState(state: DiskState | null): void {
    if (this.readOnly && state === null) return
    const blocks = readDiskState(state, this.size)
    this.bytes.fill(0)
    for (const { at, bytes } of blocks) this.bytes.set(bytes, at)
  }
}

/** A stretch of a disk. */
export interface DiskBlock {
  readonly at: number
  readonly bytes: Uint8Array
}

/** Saved state of a disk that keeps its contents in memory. */
export interface DiskState {
  readonly version: 1
  readonly size: number
  readonly blocks: readonly DiskBlock[]
}

/** Unit in which contents are saved. */
const BLOCK_SIZE = 4096

function readDiskState(state: DiskState | null, size: number): readonly DiskBlock[] {
  const r = new StateReader('disk', state, 1)
  if (r.int('size', 1, Number.MAX_SAFE_INTEGER) !== size) throw r.inconsistent('size', `${size} bytes`)
  const blocks = r.nested('blocks')
  if (!Array.isArray(blocks)) throw r.inconsistent('blocks', 'a list of blocks')
  for (const block of blocks as readonly Partial<DiskBlock>[]) {
    const { at, bytes } = block ?? {}
    if (!Number.isSafeInteger(at) || at! < 0 || at! % BLOCK_SIZE !== 0 || !(bytes instanceof Uint8Array)) {
      throw r.inconsistent('blocks', 'a list of blocks')
    }
    if (bytes.length === 0 || bytes.length > BLOCK_SIZE || at! + bytes.length > size) {
      throw r.inconsistent('blocks', 'within the disk')
    }
  }
  return blocks as readonly DiskBlock[]
}

/** Bytes per chunk in which asynchronous sources are read and copies are kept. */
const CHUNK_SIZE = 1024 * 1024

/** How a preloaded disk reports on its loading. */
export interface LoadOptions {
  /** Aborts the loading: the promise then rejects with code `aborted`. */
  readonly signal?: AbortSignal
  /** Called after every chunk. */
  readonly onProgress?: (loaded: number, total: number) => void
  /** Refuse to load more bytes than this. Default 2 GiB. */
  readonly maxBytes?: number
}

const DEFAULT_MAX_BYTES = 2 * 1024 ** 3

/** Asked anew after every await: the signal may have fired meanwhile. */
function isAborted(options: LoadOptions): boolean {
  return options.signal?.aborted === true
}

async function load(
  total: number,
  what: string,
  options: LoadOptions,
  fetchChunk: (from: number, to: number) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  checkDiskSize(total, what)
  const most = options.maxBytes ?? DEFAULT_MAX_BYTES
  if (total > most) throw new VirtkitError('bad-image', `${what}: ${total} bytes are more than the ${most} allowed`)
  const bytes = new Uint8Array(total)
  for (let from = 0; from < total; from += CHUNK_SIZE) {
    if (isAborted(options)) throw new VirtkitError('aborted', `${what}: loading was aborted`)
    const to = Math.min(from + CHUNK_SIZE, total)
    let chunk: Uint8Array
    try {
      chunk = await fetchChunk(from, to)
    } catch (cause) {
      if (cause instanceof VirtkitError) throw cause
      if (isAborted(options)) throw new VirtkitError('aborted', `${what}: loading was aborted`, { cause })
      throw new VirtkitError('unreadable', `${what}: bytes ${from} to ${to} could not be read`, { cause })
    }
    if (chunk.length !== to - from) {
      throw new VirtkitError('unreadable', `${what}: got ${chunk.length} bytes from ${from}; expected ${to - from}`)
    }
    bytes.set(chunk, from)
    options.onProgress?.(to, total)
  }
  return bytes
}

/** A disk that was loaded from a Blob (a file that a user picked, for instance). Writes stay in memory. */
export class BlobDisk extends MemoryDisk {
  /** Loads all of `blob`. Rejects with `bad-image`, `unreadable` or `aborted`. */
  static async open(blob: Blob, options: LoadOptions = {}): Promise<BlobDisk> {
    const bytes = await load(
      blob.size,
      'blob',
      options,
      async (from, to) => new Uint8Array(await blob.slice(from, to).arrayBuffer()),
    )
    return new BlobDisk(bytes)
  }
}

/** Options of {@link HttpRangeDisk.open}. */
export interface HttpRangeOptions extends LoadOptions {
  /** The `fetch` to use. Default: the global one. */
  readonly fetch?: typeof globalThis.fetch
}

/**
 * A disk that was loaded over HTTP in ranges of 1 MiB; a server that does not do ranges gives everything in the first
 * answer. Writes stay in memory.
 */
export class HttpRangeDisk extends MemoryDisk {
  /** Loads all of `url`. Rejects with `bad-image`, `unreadable` or `aborted`. */
  static async open(url: string | URL, options: HttpRangeOptions = {}): Promise<HttpRangeDisk> {
    const what = String(url)
    const get = options.fetch ?? globalThis.fetch
    const request = async (from: number, to: number): Promise<Response> => {
      if (isAborted(options)) throw new VirtkitError('aborted', `${what}: loading was aborted`)
      const init: RequestInit = { headers: { Range: `bytes=${from}-${to - 1}` } }
      if (options.signal !== undefined) init.signal = options.signal
      let response: Response
      try {
        response = await get(url, init)
      } catch (cause) {
        if (isAborted(options)) throw new VirtkitError('aborted', `${what}: loading was aborted`, { cause })
        throw new VirtkitError('unreadable', `${what}: the request failed`, { cause })
      }
      if (response.status !== 200 && response.status !== 206) {
        throw new VirtkitError('unreadable', `${what}: the server answered ${response.status}; expected 206 or 200`)
      }
      return response
    }
    const body = async (response: Response): Promise<Uint8Array> => new Uint8Array(await response.arrayBuffer())
    const unreadable = (cause: unknown): VirtkitError => {
      if (cause instanceof VirtkitError) return cause
      return new VirtkitError(isAborted(options) ? 'aborted' : 'unreadable', `${what}: the answer broke off`, { cause })
    }

    const first = await request(0, CHUNK_SIZE)
    const declared = /^bytes 0-\d+\/(\d+)$/.exec(first.headers.get('content-range') ?? '')
    if (first.status === 206 && declared === null) {
      throw new VirtkitError('unreadable', `${what}: the server did not say how long the image is`)
    }
    const firstBytes = await body(first).catch((cause: unknown) => {
      throw unreadable(cause)
    })
    const whole = first.status === 200
    const total = whole ? firstBytes.length : Number(declared![1])
    const bytes = await load(total, what, options, async (from, to) => {
      if (whole || from === 0) return firstBytes.subarray(from, to)
      const response = await request(from, to)
      const chunk = await body(response)
      // A server may stop honouring ranges midway.
      return response.status === 200 ? chunk.subarray(from, to) : chunk
    })
    return new HttpRangeDisk(bytes)
  }
}

/**
 * Copy-on-write: reads come from `base` until a block was written, writes stay in memory and never reach `base`. Memory grows
 * with the blocks written, by at most the size of the disk.
 */
export class OverlayDisk implements BlockBackend {
  readonly size: number
  readonly readOnly: boolean = false
  readonly #base: BlockBackend
  readonly #blocks = new Map<number, Uint8Array>()
  readonly #blockSize = 4096

  constructor(base: BlockBackend) {
    checkDiskSize(base.size, 'base disk')
    this.#base = base
    this.size = base.size
  }

  /** Bytes held in memory. */
  get copied(): number {
    return this.#blocks.size * this.#blockSize
  }

  /** Forgets all writes. */
  discard(): void {
    this.#blocks.clear()
  }

  /** Writes what was changed to `target` (by default the base) and forgets it here when that is the base. */
  commit(target: BlockBackend = this.#base): void {
    if (target.readOnly) refuseWrite()
    for (const [index, block] of this.#blocks) {
      const from = index * this.#blockSize
      target.write(from, block.subarray(0, Math.min(this.#blockSize, this.size - from)))
    }
    target.flush()
    if (target === this.#base) this.#blocks.clear()
  }

  read(offset: number, target: Uint8Array): void {
    checkDiskRange(this.size, offset, target.length)
    let at = 0
    while (at < target.length) {
      const index = Math.floor((offset + at) / this.#blockSize)
      const within = offset + at - index * this.#blockSize
      let length = Math.min(this.#blockSize - within, target.length - at)
      const block = this.#blocks.get(index)
      if (block !== undefined) {
        target.set(block.subarray(within, within + length), at)
      } else {
        // One read of the base for all blocks in a row that were never written.
        for (let next = index + 1; at + length < target.length && !this.#blocks.has(next); next++) {
          length = Math.min(length + this.#blockSize, target.length - at)
        }
        this.#base.read(offset + at, target.subarray(at, at + length))
      }
      at += length
    }
  }

  write(offset: number, source: Uint8Array): void {
    checkDiskRange(this.size, offset, source.length)
    let at = 0
    while (at < source.length) {
      const index = Math.floor((offset + at) / this.#blockSize)
      const within = offset + at - index * this.#blockSize
      const length = Math.min(this.#blockSize - within, source.length - at)
      let block = this.#blocks.get(index)
      if (block === undefined) {
        block = new Uint8Array(this.#blockSize)
        const from = index * this.#blockSize
        const present = Math.min(this.#blockSize, this.size - from)
        if (length < present) this.#base.read(from, block.subarray(0, present))
        this.#blocks.set(index, block)
      }
      block.set(source.subarray(at, at + length), within)
      at += length
    }
  }

  flush(): void {}

  /** What was written; the disk below is not saved. */
  saveState(): DiskState {
    const blocks = [...this.#blocks]
      .sort(([a], [b]) => a - b)
      .map(([index, bytes]) => {
        const at = index * this.#blockSize
        return { at, bytes: bytes.slice(0, Math.min(this.#blockSize, this.size - at)) }
      })
    return { version: 1, size: this.size, blocks }
  }

  /** Replaces what was written. Throws `bad-state` when the state is not that of a disk of this size. */
  loadState(state: DiskState): void {
    const blocks = readDiskState(state, this.size)
    this.#blocks.clear()
    for (const { at, bytes } of blocks) {
      const block = new Uint8Array(this.#blockSize)
      block.set(bytes)
      this.#blocks.set(at / this.#blockSize, block)
    }
  }
}
