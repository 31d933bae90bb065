/**
 * The front end: fetches instruction bytes through the instruction TLB, decodes them and lifts them to micro-ops. It keeps single lifted
 * instructions for the reference engine, and lifts whole blocks for the others.
 */

import { createDecoder, type Decode } from '../isa/decoder.js'
import { CPU_LEVELS, decoderOptionsFor } from '../isa/decoder-models.js'
import { DECODE, Instruction } from '../isa/instruction.js'
import { MN } from '../isa/mnemonics.js'
import { ROWS } from '../isa/table.js'
import { type AddressSpace, WATCH_CODE } from '../memory/index.js'
import type { Engine } from './engine-types.js'
import { isThrownFault, raiseGp } from './exceptions.js'
import { HELPER } from './helpers.js'
import {
  MODE_CODE_MASK,
  MODE_CODE16,
  MODE_CODE32,
  MODE_CODE64,
  OFF_SEG,
  SEG_BASE,
  SEG_LIMIT,
  SEG_STRIDE,
} from './layout.js'
import { LIFT } from './lift.js'
import { isX87Feature } from './lift-x87.js'
import type { LinearMemory } from './linear-memory.js'
import type { CpuModel } from './models.js'
import type { CpuState } from './state.js'
import { UopBuilder } from './uop-builder.js'
import { UOP, UOP_SIZE } from './uops.js'

const CACHE_ENTRIES = 8192
/** Records kept for one instruction; richer ones are lifted anew each time. */
const ENTRY_UOPS = 8
const ENTRY_BYTES: number = ENTRY_UOPS * UOP_SIZE
/** Records that any single instruction may need. */
const SCRATCH_UOPS = 64
const CS = OFF_SEG + SEG_STRIDE
const TWO32 = 4294967296
const CANONICAL_LIMIT = 0x8000_0000_0000
/** Grain in which a page knows where its instructions are. */
const CHUNK_SHIFT = 7
/** In `entryLength`: see `isInterrupt`. */
const ENTRY_INTERRUPT = 0x80
/** The longest instruction. */
const MAX_LENGTH = 15

/** Bytes of linear memory that a {@link Frontend} needs. */
export const FRONTEND_SIZE: number = CACHE_ENTRIES * ENTRY_BYTES + SCRATCH_UOPS * UOP_SIZE

/** The front ends that decode from a memory: a store beside one's instructions may hit another's. */
const frontends = new WeakMap<AddressSpace, Frontend[]>()

export class Frontend {
  // Result of `fetch`: the records of the instruction at s.rip.
  recordsAt = 0
  recordsEnd = 0
  length = 0
  /** The fetched instruction is INT n, INT3, INTO or INT1: no single-step trap follows it, its delivery cleared TF. */
  isInterrupt = false
  // Result of `liftBlock`.
  blockInstructions = 0
  blockBytes = 0
  /** Result of `liftCrossing`: bytes of the instruction on its second page. */
  tailBytes = 0
  /** The last instruction that was decoded. */
  readonly instruction: Instruction = new Instruction()

  private readonly s: CpuState
  private readonly mem: LinearMemory
  private readonly space: AddressSpace
  private readonly bytes: Uint8Array
  private readonly model: CpuModel
  private readonly builder: UopBuilder
  private readonly cacheAt: number
  private readonly scratchAt: number
  // The instruction cache: keyed by place in linear memory and mode; an entry is stale when its page's generation has moved on.
  private readonly keyPlace: Float64Array = new Float64Array(CACHE_ENTRIES).fill(-1)
  private readonly keyMode: Int32Array = new Int32Array(CACHE_ENTRIES)
  private readonly keyGeneration: Uint32Array = new Uint32Array(CACHE_ENTRIES)
  private readonly entryEnd: Int32Array = new Int32Array(CACHE_ENTRIES)
  private readonly entryLength: Uint8Array = new Uint8Array(CACHE_ENTRIES)
  private readonly generation: Uint32Array
  /** Per page: which 128-byte chunks hold bytes of decoded instructions. */
  private readonly chunks: Uint32Array
  /** Per page that ever held instructions: a bit for each byte that was decoded, looked at when a chunk is hit. */
  private readonly decoded: Map<number, Uint8Array> = new Map()
  private readonly crossing: Uint8Array = new Uint8Array(16)
  private readonly kept: Uint8Array = new Uint8Array(512)
  private readonly decode: Decode
  private readonly onInvalidate: Engine['invalidate']

  /**
   * `offset`: where the front end's {@link FRONTEND_SIZE} bytes start. `quietPause`: nobody wants to know of PAUSE. `onInvalidate` hears of instructions that
   * changed.
   */
  constructor(
    s: CpuState,
    mem: LinearMemory,
    space: AddressSpace,
    model: CpuModel,
    offset: number,
    quietPause: boolean,
    onInvalidate: Engine['invalidate'],
  ) {
    this.s = s
    this.mem = mem
    this.space = space
    this.bytes = space.bytes
    this.model = model
    this.builder = new UopBuilder(s, model, quietPause)
    this.cacheAt = offset
    this.scratchAt = offset + CACHE_ENTRIES * ENTRY_BYTES
    const frames = Math.ceil(space.bytes.length / 4096)
    this.generation = new Uint32Array(frames)
    this.chunks = new Uint32Array(frames)
    const level = [...CPU_LEVELS].reverse().find((name) => model.features.has(name)) ?? '8086'
    // x87 instructions decode everywhere: what becomes of them where there is none is lifted like any other meaning.
    const features = new Set<string>([...model.features, ...ROWS.map((row) => row.feature).filter(isX87Feature)])
    this.decode = createDecoder(decoderOptionsFor(level, features))
    this.onInvalidate = onInvalidate
    space.onCodeWrite((page, at, length) => this.codeWritten(page, at, length))
    const others = frontends.get(space)
    if (others === undefined) frontends.set(space, [this])
    else others.push(this)
  }

  // --- invalidation ---------------------------------------------------------------------------------------------

  private codeWritten(page: number, offset: number, length: number): void {
    const place = this.space.readOffset(page)
    if (place < 0) return
    const frame = place / 4096
    const first = offset >> CHUNK_SHIFT
    const last = Math.min(4095, offset + length - 1) >> CHUNK_SHIFT
    let hit = 0
    for (let chunk = first; chunk <= last; chunk++) hit |= 1 << chunk
    if ((this.chunks[frame]! & hit) === 0) return
    if (!this.holdsCode(frame, offset, Math.min(length, 4096 - offset))) return
    this.invalidate(frame, offset, Math.min(4096, offset + length))
    if (this.chunks[frame] !== 0) return
    // Another processor may have decoded instructions of this page, and still relies on hearing of writes.
    for (const other of frontends.get(this.space)!) if (other.chunks[frame] !== 0) return
    this.space.clearWatch(page, WATCH_CODE)
  }

  /** Whether any of these bytes was decoded. Variables often lie between the instructions of firmware and boot loaders. */
  private holdsCode(frame: number, offset: number, length: number): boolean {
    const bits = this.decoded.get(frame)
    if (bits === undefined) return true
    for (let at = offset; at < offset + length; at++) if (bits[at >> 3]! & (1 << (at & 7))) return true
    return false
  }

  /** Whether a store of `length` bytes (within a page) at `place` in linear memory would change bytes that any CPU decoded. */
  storeMeetsCode(place: number, length: number): boolean {
    for (const frontend of frontends.get(this.space)!) {
      const chunks = frontend.chunks[place >>> 12]!
      const first = (place & 0xfff) >> CHUNK_SHIFT
      const last = ((place & 0xfff) + length - 1) >> CHUNK_SHIFT
      if (((chunks >>> first) | (chunks >>> last)) & 1 && frontend.holdsCode(place >>> 12, place & 0xfff, length))
        return true
    }
    return false
  }

  /** Bytes of a page changed: single instructions of the whole page go, blocks only where they meet the change. */
  private invalidate(frame: number, from: number, to: number): void {
    this.generation[frame]!++
    const { kept } = this
    kept.fill(0)
    this.onInvalidate(frame, from, to, kept)
    let chunks = 0
    // A chunk has 128 bytes, that is 16 bytes of bits.
    for (let n = 0; n < 512; n++) if (kept[n] !== 0) chunks |= 1 << (n >> 4)
    this.chunks[frame] = chunks
    this.decoded.get(frame)?.set(kept)
  }

  /** Forgets every instruction, as when memory was replaced from outside. */
  invalidateAll(): void {
    for (let frame = 0; frame < this.chunks.length; frame++) if (this.chunks[frame]) this.invalidate(frame, 0, 4096)
    if (frontends.get(this.space)!.length === 1) this.space.clearCodeWatch()
  }

  /** Notes that instructions were decoded from `length` bytes at `place` of the page of physical address `physical`. */
  private noteCode(physical: number, place: number, length: number): void {
    const frame = place >>> 12
    if (this.chunks[frame] === 0) this.space.setWatch(Math.floor(physical / 4096), WATCH_CODE)
    const first = (place & 0xfff) >> CHUNK_SHIFT
    const last = Math.min(0xfff, (place & 0xfff) + length - 1) >> CHUNK_SHIFT
    let mask = 0
    for (let chunk = first; chunk <= last; chunk++) mask |= 1 << chunk
    this.chunks[frame] = this.chunks[frame]! | mask
    let bits = this.decoded.get(frame)
    if (bits === undefined) {
      bits = new Uint8Array(512)
      this.decoded.set(frame, bits)
    }
    const end = Math.min(0x1000, (place & 0xfff) + length)
    for (let at = place & 0xfff; at < end; at++) bits[at >> 3]! |= 1 << (at & 7)
  }

  // --- one instruction --------------------------------------------------------------------------------------------

  /** Linear address of the instruction pointer, after the checks on it. Sets `room`, the bytes up to the segment's end. */
  private room = 0
  private fetchAddress(): number {
    const s = this.s
    const rip = s.rip
    if ((s.mode & MODE_CODE_MASK) === MODE_CODE64) {
      if (rip < -CANONICAL_LIMIT || rip >= CANONICAL_LIMIT) raiseGp(0)
      this.room = MAX_LENGTH
      return rip
    }
    const limit = s.get32(CS + SEG_LIMIT) >>> 0
    if (rip > limit) raiseGp(0)
    this.room = limit - rip + 1
    return (s.getNumber(CS + SEG_BASE) + rip) >>> 0
  }

  /** Physical address of the last {@link place}. */
  placePhysical = 0

  /**
   * For an engine that keeps blocks: where in linear memory the instruction at `s.rip` starts, its instruction-TLB entry filled; -1 when fetching
   * faults or the bytes are not RAM or ROM.
   */
  place(): number {
    let physical: number
    try {
      physical = this.mem.translateFetch(this.fetchAddress())
    } catch (error) {
      if (isThrownFault(error)) return -1
      throw error
    }
    this.placePhysical = physical
    const page = this.space.readOffset(Math.floor(physical / 4096))
    return page < 0 ? -1 : page + (physical % 4096)
  }

  /** Fetches, decodes and lifts the instruction at `s.rip`. Throws the faults of the fetch. */
  fetch(): void {
    const linear = this.fetchAddress()
    const direct = this.mem.fetchDirect(linear)
    if (direct >= 0 && this.cached(direct)) return
    const physical = this.mem.translateFetch(linear)
    const pageAt = this.space.readOffset(Math.floor(physical / 4096))
    if (pageAt < 0) {
      this.fetchFromDevice(linear)
      return
    }
    const offset = physical & 0xfff
    const place = pageAt + offset
    if (this.cached(place)) return
    const mode = this.s.mode
    const entry = (place ^ (place >>> 13)) & (CACHE_ENTRIES - 1)
    const available = Math.min(this.room, 4096 - offset, MAX_LENGTH)
    const result = this.decodeAt(this.bytes, place, available)
    if (result === DECODE.truncated && this.room > available && available < MAX_LENGTH) {
      this.fetchCrossing(linear, physical, available)
      return
    }
    this.checkDecoded(result)
    // A verdict other than ok may rest on bytes beyond those consumed.
    this.noteCode(physical, place, result === DECODE.ok ? this.length : available)
    const at = this.cacheAt + entry * ENTRY_BYTES
    const end = this.lift(result, at, at + ENTRY_BYTES, 0, 0, mode)
    if (end < 0) {
      this.recordsAt = this.scratchAt
      this.recordsEnd = this.lift(result, this.scratchAt, this.scratchAt + SCRATCH_UOPS * UOP_SIZE, 0, 0, mode)
      // The entry's records were overwritten half-way.
      this.keyPlace[entry] = -1
      return
    }
    this.recordsAt = at
    this.recordsEnd = end
    this.keyPlace[entry] = place
    this.keyMode[entry] = mode
    this.keyGeneration[entry] = this.generation[place >>> 12]!
    this.entryEnd[entry] = end
    this.entryLength[entry] = this.length | (this.isInterrupt ? ENTRY_INTERRUPT : 0)
  }

  /** Takes the instruction at `place` from the cache. False: it is not there. */
  private cached(place: number): boolean {
    const entry = (place ^ (place >>> 13)) & (CACHE_ENTRIES - 1)
    if (
      this.keyPlace[entry] !== place ||
      this.keyMode[entry] !== this.s.mode ||
      this.keyGeneration[entry] !== this.generation[place >>> 12]
    )
      return false
    const info = this.entryLength[entry]!
    this.length = info & 15
    this.isInterrupt = (info & ENTRY_INTERRUPT) !== 0
    if (this.length > this.room) raiseGp(0)
    this.recordsAt = this.cacheAt + entry * ENTRY_BYTES
    this.recordsEnd = this.entryEnd[entry]!
    return true
  }

  private get bits(): 16 | 32 | 64 {
    const mode = this.s.mode & MODE_CODE_MASK
    return mode === MODE_CODE16 ? 16 : mode === MODE_CODE32 ? 32 : 64
  }

  private decodeAt(bytes: Uint8Array, at: number, available: number): number {
    const result = this.decode(bytes, at, available, this.bits, this.instruction)
    this.length = this.instruction.length
    const mnemonic = this.instruction.mnemonic
    this.isInterrupt = mnemonic === MN.int || mnemonic === MN.int3 || mnemonic === MN.into || mnemonic === MN.int1
    return result
  }

  private checkDecoded(result: number): void {
    // Beyond the segment limit, or longer than an instruction may be.
    if (result === DECODE.truncated || result === DECODE.tooLong) raiseGp(0)
  }

  /** The instruction's first `head` bytes end its page: the rest comes from the next one, which may fault. */
  private fetchCrossing(linear: number, physical: number, head: number): void {
    const next = this.bits === 64 ? linear + head : (linear + head) % TWO32
    const second = this.mem.translateFetch(next)
    const available = Math.min(MAX_LENGTH, this.room)
    for (let i = 0; i < available; i++) {
      this.crossing[i] = this.space.read8(i < head ? physical + i : second + i - head)
    }
    const result = this.decodeAt(this.crossing, 0, available)
    this.checkDecoded(result)
    this.liftScratch(result)
  }

  /** Executing from a device or from nowhere: byte by byte, never kept. */
  private fetchFromDevice(linear: number): void {
    const available = Math.min(MAX_LENGTH, this.room)
    let result: number = DECODE.truncated
    for (let n = 1; n <= available && result === DECODE.truncated; n++) {
      const at = this.bits === 64 ? linear + n - 1 : (linear + n - 1) % TWO32
      this.crossing[n - 1] = this.space.read8(this.mem.translateFetch(at))
      result = this.decodeAt(this.crossing, 0, n)
    }
    this.checkDecoded(result)
    this.liftScratch(result)
  }

  private liftScratch(result: number): void {
    const end = this.scratchAt + SCRATCH_UOPS * UOP_SIZE
    this.recordsAt = this.scratchAt
    this.recordsEnd = this.lift(result, this.scratchAt, end, 0, 0, this.s.mode)
  }

  /** Lifts the decoded instruction alone. Returns the end of its records, or -1 if they do not fit. */
  private lift(result: number, at: number, end: number, ip: number, index: number, mode: number): number {
    const b = this.builder
    b.begin(at, end, mode)
    b.instruction(ip, index, this.length)
    this.emit(result)
    return b.full ? -1 : b.position
  }

  private emit(result: number): void {
    const b = this.builder
    const i = this.instruction
    const lift = LIFT[i.mnemonic]
    if (result !== DECODE.ok || lift === undefined) {
      // The 8086 has no invalid-opcode exception: what it does not know passes.
      if (this.model.undefinedOpcodeFaults) b.helper(HELPER.ud, { ends: true })
      return
    }
    lift(i, b)
  }

  // --- blocks -----------------------------------------------------------------------------------------------------

  /**
   * Lifts a block of instructions that starts at `place` (a byte offset in linear memory, in the page of physical address `physical`)
   * for `mode`, into records from `at` to `end`. A block ends after a branch or a helper that may change what follows, before an instruction
   * that leaves the page, that does not decode or whose records do not fit, or after `maximum` instructions; without a branch an END record
   * closes it. Returns the end of the records, or -1 if not even one instruction could be lifted.
   */
  liftBlock(physical: number, place: number, mode: number, at: number, end: number, maximum: number): number {
    const limit = this.liftCopy(place, mode, at, end, maximum)
    if (limit >= 0) this.noteCode(physical, place, this.blockBytes)
    return limit
  }

  /** The same for code that {@link liftBlock} has lifted before: nothing is noted about the page. */
  liftCopy(place: number, mode: number, at: number, end: number, maximum: number): number {
    const b = this.builder
    const bits = (mode & MODE_CODE_MASK) === MODE_CODE16 ? 16 : (mode & MODE_CODE_MASK) === MODE_CODE64 ? 64 : 32
    b.begin(at, end - UOP_SIZE, mode)
    let distance = 0
    let count = 0
    let position = at
    while (count < maximum && !b.ended) {
      const available = Math.min(MAX_LENGTH, 4096 - ((place + distance) & 0xfff))
      const i = this.instruction
      const result = this.decode(this.bytes, place + distance, available, bits, i)
      if (result !== DECODE.ok || LIFT[i.mnemonic] === undefined) break
      b.instruction(distance, count, i.length)
      LIFT[i.mnemonic]!(i, b)
      if (b.full) break
      position = b.position
      distance += i.length
      count++
      if (((place + distance) & 0xfff) === 0) break
    }
    if (count === 0) return -1
    const ended = b.ended && !b.full
    const bEnd = position
    this.blockInstructions = count
    this.blockBytes = distance
    return ended ? bEnd : this.closeBlock(bEnd, end, mode, distance, count)
  }

  /** Writes the END record of a block without a branch. Returns the end of the records. */
  private closeBlock(at: number, end: number, mode: number, distance: number, count: number): number {
    const b = this.builder
    b.begin(at, end, mode)
    b.instruction(distance, count, 0)
    b.op(UOP.END, 0, 0, 0, 0, distance)
    return b.position
  }

  /**
   * Lifts the one instruction that starts at `place` and goes on at `second`, the first byte of the page that follows in linear addresses; both are
   * byte offsets in linear memory, `physical` and `secondPhysical` the addresses they belong to. The rest is as in {@link liftBlock}; afterwards
   * `blockBytes` is the number of the instruction's bytes on the first page, {@link tailBytes} that on the second.
   */
  liftCrossing(
    physical: number,
    place: number,
    secondPhysical: number,
    second: number,
    mode: number,
    at: number,
    end: number,
  ): number {
    const b = this.builder
    const bits = (mode & MODE_CODE_MASK) === MODE_CODE16 ? 16 : (mode & MODE_CODE_MASK) === MODE_CODE64 ? 64 : 32
    const head = 4096 - (place & 0xfff)
    if (head >= MAX_LENGTH) return -1
    for (let n = 0; n < MAX_LENGTH; n++) this.crossing[n] = this.bytes[n < head ? place + n : second + n - head]!
    const i = this.instruction
    if (this.decode(this.crossing, 0, MAX_LENGTH, bits, i) !== DECODE.ok) return -1
    const lift = LIFT[i.mnemonic]
    if (i.length <= head || lift === undefined) return -1
    b.begin(at, end - UOP_SIZE, mode)
    b.instruction(0, 0, i.length)
    lift(i, b)
    if (b.full) return -1
    this.blockInstructions = 1
    this.blockBytes = head
    this.tailBytes = i.length - head
    this.noteCode(physical, place, head)
    this.noteCode(secondPhysical, second, this.tailBytes)
    return b.ended ? b.position : this.closeBlock(b.position, end, mode, i.length, 1)
  }
}
