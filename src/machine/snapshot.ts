/**
 * Snapshots as files: plain data (what every `saveState` returns) in a binary form, compressed with gzip, which also brings a checksum.
 *
 * A file is the 8 bytes `virtkit\x1a`, a format version and the length of the payload (32 and 64 bits, little-endian), then the payload in
 * gzip. The payload is one value: a tag byte, then what the tag says; see {@link TAG}. Memory is sparse because `AddressSpace` saves
 * only what is not zero.
 */

import { VirtkitError } from '../contracts/index.js'

const MAGIC: readonly number[] = [0x76, 0x69, 0x72, 0x74, 0x6b, 0x69, 0x74, 0x1a]
const FORMAT = 1
const HEADER_SIZE = 20
const CHUNK = 0x10000
/** Values nested deeper than any saved state are refused. */
const DEEPEST = 32
/** What a payload may hold besides memory, when nothing else is asked for. */
const DEFAULT_LIMIT: number = 2 ** 32

/** Tags of values. */
const TAG = {
  null: 0,
  false: 1,
  true: 2,
  /** Signed 32 bits. */
  int: 3,
  /** A double. */
  number: 4,
  /** Length (u32), UTF-8. */
  string: 5,
  /** Count (u32), values. */
  array: 6,
  /** Count (u32), then key (as a string without its tag) and value, in turn. */
  object: 7,
  /** Index in {@link ARRAYS}, length in bytes (u32), padding-free contents, little-endian. */
  typed: 8,
} as const

/** Kinds of typed arrays that saved states hold; their places in this list are part of the format. */
const ARRAYS = [
  Uint8Array,
  Uint16Array,
  Uint32Array,
  Int8Array,
  Int16Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
] as const

/** Collects small values in a buffer and hands large ones through. */
class Writer {
  readonly pieces: Uint8Array<ArrayBuffer>[] = []
  length = 0
  private buffer: Uint8Array<ArrayBuffer> = new Uint8Array(CHUNK)
  private view: DataView = new DataView(this.buffer.buffer)
  private used = 0

  /** Makes room; to be called before `buffer` and `view` are looked at, which it may replace. */
  private room(bytes: number): number {
    if (this.used + bytes > this.buffer.length) this.flush()
    const at = this.used
    this.used += bytes
    this.length += bytes
    return at
  }

  flush(): void {
    if (this.used === 0) return
    this.pieces.push(this.buffer.subarray(0, this.used))
    this.buffer = new Uint8Array(CHUNK)
    this.view = new DataView(this.buffer.buffer)
    this.used = 0
  }

  u8(value: number): void {
    const at = this.room(1)
    this.view.setUint8(at, value)
  }

  u32(value: number): void {
    const at = this.room(4)
    this.view.setUint32(at, value, true)
  }

  bytes(bytes: Uint8Array): void {
    this.u32(bytes.length)
    if (bytes.length < CHUNK / 4) {
      const at = this.room(bytes.length)
      this.buffer.set(bytes, at)
      return
    }
    this.flush()
    this.pieces.push(bytes.slice())
    this.length += bytes.length
  }

  value(value: unknown, path: string): void {
    if (value === null) this.u8(TAG.null)
    else if (typeof value === 'boolean') this.u8(value ? TAG.true : TAG.false)
    else if (typeof value === 'number') this.number(value)
    else if (typeof value === 'string') {
      this.u8(TAG.string)
      this.bytes(new TextEncoder().encode(value))
    } else if (Array.isArray(value)) {
      this.u8(TAG.array)
      this.u32(value.length)
      for (const [n, item] of value.entries()) this.value(item, `${path}[${n}]`)
    } else if (ArrayBuffer.isView(value)) this.typed(value, path)
    else if (typeof value === 'object') {
      const entries = Object.entries(value as object).filter(([, item]) => item !== undefined)
      this.u8(TAG.object)
      this.u32(entries.length)
      for (const [key, item] of entries) {
        this.bytes(new TextEncoder().encode(key))
        this.value(item, `${path}.${key}`)
      }
    } else throw new VirtkitError('bad-argument', `${path} cannot be saved: it is a ${typeof value}`)
  }

  private number(value: number): void {
    if (value === (value | 0) && !Object.is(value, -0)) {
      this.u8(TAG.int)
      this.u32(value >>> 0)
    } else {
      this.u8(TAG.number)
      const at = this.room(8)
      this.view.setFloat64(at, value, true)
    }
  }

  private typed(value: ArrayBufferView, path: string): void {
    const kind = ARRAYS.findIndex((type) => value instanceof type)
    if (kind < 0) throw new VirtkitError('bad-argument', `${path} cannot be saved: its kind of array is unknown`)
    this.u8(TAG.typed)
    this.u8(kind)
    this.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  }
}

function damaged(why: string): VirtkitError {
  return new VirtkitError('bad-state', `not a usable snapshot: ${why}`)
}

class Reader {
  private readonly data: Uint8Array
  private readonly view: DataView
  private at = 0

  constructor(data: Uint8Array) {
    this.data = data
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  get done(): boolean {
    return this.at === this.data.length
  }

  private take(bytes: number): number {
    if (bytes > this.data.length - this.at) throw damaged('a value reaches beyond its end')
    const at = this.at
    this.at += bytes
    return at
  }

  private u8(): number {
    return this.view.getUint8(this.take(1))
  }

  private u32(): number {
    return this.view.getUint32(this.take(4), true)
  }

  /** A count of values of which each takes at least `bytes`. */
  private count(bytes: number): number {
    const count = this.u32()
    if (count * bytes > this.data.length - this.at) throw damaged('a list reaches beyond its end')
    return count
  }

  private bytes(): Uint8Array<ArrayBuffer> {
    const length = this.u32()
    const at = this.take(length)
    return this.data.slice(at, at + length)
  }

  private text(): string {
    return new TextDecoder().decode(this.bytes())
  }

  value(depth = 0): unknown {
    if (depth > DEEPEST) throw damaged('values are nested too deeply')
    const tag = this.u8()
    switch (tag) {
      case TAG.null:
        return null
      case TAG.false:
        return false
      case TAG.true:
        return true
      case TAG.int:
        return this.u32() | 0
      case TAG.number:
        return this.view.getFloat64(this.take(8), true)
      case TAG.string:
        return this.text()
      case TAG.array: {
        const items: unknown[] = []
        for (let left = this.count(1); left > 0; left--) items.push(this.value(depth + 1))
        return items
      }
      case TAG.object: {
        const entries: [string, unknown][] = []
        for (let left = this.count(5); left > 0; left--) entries.push([this.text(), this.value(depth + 1)])
        // Not by assignment: a key such as __proto__ would do more than add a field.
        return Object.fromEntries(entries)
      }
      case TAG.typed: {
        const type = ARRAYS[this.u8()]
        const bytes = this.bytes()
        if (type === undefined || bytes.length % type.BYTES_PER_ELEMENT !== 0) throw damaged('an array of unknown kind')
        return new type(bytes.buffer)
      }
      default:
        throw damaged(`there is no tag ${tag}`)
    }
  }
}

/** The parts of a saved state in the order in which a hash or a file takes them. */
export function encodeState(state: unknown): readonly Uint8Array<ArrayBuffer>[] {
  const writer = new Writer()
  writer.value(state, 'state')
  writer.flush()
  return writer.pieces
}

async function pump(
  pieces: readonly Uint8Array<ArrayBuffer>[],
  stream: GenericTransform,
  limit: number,
): Promise<Uint8Array[]> {
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece)
      controller.close()
    },
  })
  const reader = source.pipeThrough(stream).getReader()
  const output: Uint8Array[] = []
  let total = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return output
    total += value.length
    if (total > limit) {
      await reader.cancel()
      throw damaged('it is longer than it says')
    }
    output.push(value)
  }
}

type GenericTransform = ReadableWritablePair<Uint8Array, Uint8Array<ArrayBuffer>>

function join(pieces: readonly Uint8Array[], start = 0): Uint8Array {
  let length = start
  for (const piece of pieces) length += piece.length
  const joined = new Uint8Array(length)
  let at = start
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}

/** A saved state as the contents of a snapshot file. Throws `bad-argument` for what is not plain data. */
export async function encodeSnapshot(state: object): Promise<Uint8Array> {
  const pieces = encodeState(state)
  let length = 0
  for (const piece of pieces) length += piece.length
  const compressed = await pump(pieces, new CompressionStream('gzip') as GenericTransform, Number.POSITIVE_INFINITY)
  const file = join(compressed, HEADER_SIZE)
  file.set(MAGIC)
  const view = new DataView(file.buffer)
  view.setUint32(8, FORMAT, true)
  view.setUint32(12, length >>> 0, true)
  view.setUint32(16, Math.floor(length / 2 ** 32), true)
  return file
}

/**
 * The state in a snapshot file, still to be validated by the `loadState` that takes it. Throws `bad-state` for foreign, truncated and damaged
 * files, for other versions of the format, and for payloads of more than `limit` bytes (default 4 GiB).
 */
export async function decodeSnapshot(file: Uint8Array, options: { readonly limit?: number } = {}): Promise<object> {
  if (file.length < HEADER_SIZE || MAGIC.some((byte, n) => file[n] !== byte))
    throw damaged('the file is something else')
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const format = view.getUint32(8, true)
  if (format !== FORMAT) throw damaged(`its format is version ${format}; this program reads version ${FORMAT}`)
  const length = view.getUint32(12, true) + view.getUint32(16, true) * 2 ** 32
  const limit = options.limit ?? DEFAULT_LIMIT
  if (length > limit) throw damaged(`it holds ${length} bytes; at most ${limit} were expected`)
  let pieces: Uint8Array[]
  try {
    const input = [file.slice(HEADER_SIZE) as Uint8Array<ArrayBuffer>]
    pieces = await pump(input, new DecompressionStream('gzip') as GenericTransform, length)
  } catch (cause) {
    if (cause instanceof VirtkitError) throw cause
    throw new VirtkitError('bad-state', 'not a usable snapshot: its contents are truncated or damaged', { cause })
  }
  const payload = join(pieces)
  if (payload.length !== length) throw damaged('its contents are truncated')
  const reader = new Reader(payload)
  const state = reader.value()
  if (!reader.done || typeof state !== 'object' || state === null) throw damaged('its contents are malformed')
  return state
}

/** A 64-bit hash of a state as 16 hexadecimal digits: equal states give equal hashes in every engine and on every host. */
export function hashState(state: unknown): string {
  // Two FNV-1a streams of 32 bits over the same bytes, with different seeds, taken word by word.
  let a = 0x811c9dc5
  let b = 0x9747b28c
  for (const piece of encodeState(state)) {
    const words = piece.length >>> 2
    const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength)
    for (let n = 0; n < words; n++) {
      const word = view.getUint32(n * 4, true)
      a = Math.imul(a ^ word, 0x01000193)
      b = Math.imul(b ^ word, 0x85ebca6b)
      a ^= a >>> 15
      b ^= b >>> 13
    }
    for (let n = words * 4; n < piece.length; n++) {
      a = Math.imul(a ^ piece[n]!, 0x01000193)
      b = Math.imul(b ^ piece[n]!, 0x85ebca6b)
    }
  }
  const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')
  return hex(a) + hex(b)
}
