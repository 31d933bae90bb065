import type { Stateful } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { type VirtioMemory, virtioAddress } from './virtio-memory.js'
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_F_NO_NOTIFY,
} from './virtio-registers.js'

/** Most entries of a split virtqueue. */
export const VIRTQUEUE_SIZE_MAX = 32768

/**
 * The buffers of one request: device-readable ones first, device-writable ones after them, each part to be used as one
 * stretch of bytes whatever pieces it lies in. Made once and filled by {@link Virtqueue.pop}.
 */
export class DescriptorChain {
  /** Index of the chain's first descriptor, by which the driver recognises it. */
  head = 0
  /** Device-readable bytes. */
  readable = 0
  /** Device-writable bytes. */
  writable = 0
  readonly #memory: VirtioMemory
  readonly #addresses: Float64Array
  readonly #lengths: Float64Array
  #count = 0
  #readableCount = 0

  /** `limit` is the most buffers that a chain may have. */
  constructor(memory: VirtioMemory, limit: number) {
    this.#memory = memory
    this.#addresses = new Float64Array(limit)
    this.#lengths = new Float64Array(limit)
  }

  /** Forgets the buffers; the chain that starts at descriptor `head` follows. */
  clear(head: number): void {
    this.head = head
    this.readable = this.writable = this.#count = this.#readableCount = 0
  }

  /** Appends a buffer; false when there is no room, or a readable one comes after a writable one. */
  add(address: number, length: number, writable: boolean): boolean {
    if (this.#count === this.#addresses.length) return false
    if (writable) this.writable += length
    else if (this.writable > 0) return false
    else {
      this.readable += length
      this.#readableCount++
    }
    this.#addresses[this.#count] = address
    this.#lengths[this.#count++] = length
    return true
  }

  /** Copies readable bytes from offset `from` on into `target`; returns how many there were. */
  read(from: number, target: Uint8Array): number {
    return this.#move(0, this.#readableCount, from, target, false)
  }

  /** Copies `source` into the writable bytes from offset `from` on; returns how many fitted. */
  write(from: number, source: Uint8Array): number {
    return this.#move(this.#readableCount, this.#count, from, source, true)
  }

  #move(first: number, end: number, from: number, bytes: Uint8Array, out: boolean): number {
    let skip = from
    let done = 0
    for (let i = first; i < end && done < bytes.length; i++) {
      const length = this.#lengths[i]!
      if (skip >= length) {
        skip -= length
        continue
      }
      const part = Math.min(length - skip, bytes.length - done)
      const piece = part === bytes.length ? bytes : bytes.subarray(done, done + part)
      if (out) this.#memory.write(this.#addresses[i]! + skip, piece)
      else this.#memory.read(this.#addresses[i]! + skip, piece)
      done += part
      skip = 0
    }
    return done
  }
}

/** Saved state of a {@link Virtqueue}. */
export interface VirtqueueState {
  readonly version: 1
  readonly size: number
  readonly enabled: boolean
  /** Descriptor table, driver area, device area: low and high halves. */
  readonly ring: readonly number[]
  readonly next: number
  readonly used: number
  readonly signalled: number
  readonly signalledValid: boolean
  readonly quiet: boolean
}

/** Saved queue state that was found valid. */
export type ApplyState = () => void

/**
 * A split virtqueue as the device sees it. The rings lie in guest memory and are not believed: indices, lengths and flags are
 * checked when they are read, and the first malformed one is reported to `onFault`; the owner then stops
 * using the queue. No operation looks at more descriptors than the queue's largest size.
 *
 * Malformed are: more heads available than the queue has entries; a head, `next` or indirect index out of range; a chain of
 * more buffers than the largest queue size (which a loop becomes) or of more than 2^32 bytes; a buffer of no bytes; a
 * readable buffer after a writable one; an indirect table that was not negotiated, lies in another, is chained on, or whose
 * length is not a positive multiple of 16; rings at addresses that are not aligned.
 *
 * Source: VIRTIO 1.2, "Split Virtqueues".
 */
export class Virtqueue implements Stateful<VirtqueueState> {
  /** Largest number of entries, which the queue has after a reset. A power of two. */
  readonly maxSize: number
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  eventIdx = false
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  indirect = false
  /** Addresses as the driver wrote them: descriptor table, driver area, device area, each low half first. */
  readonly ring: Uint32Array = new Uint32Array(6)
  readonly #memory: VirtioMemory
  readonly #onFault: () => void
  #size: number
  #enabled = false
  #table = 0
  #available = 0
  #usedRing = 0
  /** Position in the available ring of the next chain to take, modulo 2^16. */
  #next = 0
  /** Entries ever used, modulo 2^16. */
  #used = 0
  /** `#used` when the driver's wish for interrupts was last looked at. */
  #signalled = 0
  #signalledValid = false
  /** Whether the used ring's flags ask the driver not to notify. */
  #quiet = false

  /** `onFault` is called when the driver broke the rules. */
  constructor(memory: VirtioMemory, maxSize: number, onFault: () => void) {
    this.#memory = memory
    this.maxSize = maxSize
    this.#size = maxSize
    this.#onFault = onFault
  }

  /** Entries. */
  get size(): number {
    return this.#size
  }

  /** Whether the driver has put the queue to use. */
  get enabled(): boolean {
    return this.#enabled
  }

  /** Sets the number of entries; one that is no power of two up to `maxSize`, or comes after enabling, is ignored. */
  setSize(size: number): void {
    if (this.#enabled || size === 0 || size > this.maxSize || (size & (size - 1)) !== 0) return
    this.#size = size
  }

  /** Puts the queue to use at the addresses in `ring`, from the beginning. */
  enable(): void {
    if (this.#enabled) return
    this.#enabled = true
    this.#next = this.#used = this.#signalled = 0
    this.#signalledValid = this.#quiet = false
    this.#locate()
    if (((this.ring[0]! & 15) | (this.ring[2]! & 1) | (this.ring[4]! & 3)) !== 0) this.#onFault()
  }

  /** As after a reset of the device. */
  reset(): void {
    this.#enabled = false
    this.#size = this.maxSize
    this.ring.fill(0)
    this.#next = this.#used = this.#signalled = 0
    this.#signalledValid = this.#quiet = false
  }

  /** Chains that the driver has made available and the device has not taken; 0 when that number is malformed. */
  available(): number {
    if (!this.#enabled) return 0
    const count = (this.#memory.read16(this.#available + 2) - this.#next) & 0xffff
    if (count <= this.#size) return count
    this.#onFault()
    return 0
  }

  /** Takes the next chain; false when there is none or it is malformed. */
  pop(chain: DescriptorChain): boolean {
    if (this.available() === 0) return false
    const head = this.#memory.read16(this.#available + 4 + 2 * (this.#next & (this.#size - 1)))
    chain.clear(head)
    if (head >= this.#size || !this.#collect(chain)) {
      this.#onFault()
      return false
    }
    this.#next = (this.#next + 1) & 0xffff
    return true
  }

  /** Puts the last `count` chains taken back, to be taken again. */
  rewind(count: number): void {
    this.#next = (this.#next - count) & 0xffff
  }

  /** Gives the chain that starts at `head` back to the driver, with `written` bytes of its writable part filled. */
  push(head: number, written: number): void {
    this.stage(0, head, written)
    this.commit(1)
  }

  /** Writes the `index`-th used entry from now without showing it. */
  stage(index: number, head: number, written: number): void {
    const entry = this.#usedRing + 4 + 8 * ((this.#used + index) & (this.#size - 1))
    this.#memory.write32(entry, head)
    this.#memory.write32(entry + 4, written)
  }

  /** Shows `count` staged entries to the driver at once. */
  commit(count: number): void {
    this.#used = (this.#used + count) & 0xffff
    this.#memory.write16(this.#usedRing + 2, this.#used)
  }

  /** Whether the driver wants an interrupt for what was given back since the last call. */
  takeInterrupt(): boolean {
    const old = this.#signalled
    const valid = this.#signalledValid
    const used = this.#used
    if (valid ? old === used : used === 0) return false
    this.#signalled = used
    this.#signalledValid = true
    if (!this.eventIdx) return (this.#memory.read16(this.#available) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const event = this.#memory.read16(this.#available + 4 + 2 * this.#size)
    return !valid || ((used - event - 1) & 0xffff) < ((used - old) & 0xffff)
  }

  /** Tells the driver whether the next buffer that it makes available is to be notified. */
  expectNotifications(wanted: boolean): void {
    if (!this.#enabled) return
    if (this.eventIdx) {
      // Beyond what is there already: a device may have left buffers alone because they are too few.
      if (wanted) this.#memory.write16(this.#usedRing + 4 + 8 * this.#size, this.#memory.read16(this.#available + 2))
    } else if (this.#quiet === wanted) {
      this.#quiet = !wanted
      this.#memory.write16(this.#usedRing, wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY)
    }
  }

  saveState(): VirtqueueState {
    return {
      version: 1,
      size: this.#size,
      enabled: this.#enabled,
      ring: [...this.ring],
      next: this.#next,
      used: this.#used,
      signalled: this.#signalled,
      signalledValid: this.#signalledValid,
      quiet: this.#quiet,
    }
  }

  loadState(state: VirtqueueState): void {
    this.checkState(state)()
  }

  /** Checks saved state; the function it returns takes it over. */
  checkState(state: unknown): ApplyState {
    const reader = new StateReader('virtqueue', state, 1)
    const size = reader.int('size', 1, this.maxSize)
    if ((size & (size - 1)) !== 0) throw reader.inconsistent('size', 'a power of two')
    const enabled = reader.bool('enabled')
    const ring = reader.ints('ring', 6, 0, 0xffffffff)
    const next = reader.int('next', 0, 0xffff)
    const used = reader.int('used', 0, 0xffff)
    const signalled = reader.int('signalled', 0, 0xffff)
    const signalledValid = reader.bool('signalledValid')
    const quiet = reader.bool('quiet')
    return () => {
      this.#size = size
      this.#enabled = enabled
      this.ring.set(ring)
      this.#next = next
      this.#used = used
      this.#signalled = signalled
      this.#signalledValid = signalledValid
      this.#quiet = quiet
      this.#locate()
    }
  }

  #locate(): void {
    this.#table = virtioAddress(this.ring[0]!, this.ring[1]!)
    this.#available = virtioAddress(this.ring[2]!, this.ring[3]!)
    this.#usedRing = virtioAddress(this.ring[4]!, this.ring[5]!)
  }

  /** Follows the chain from its head; false when it is malformed. */
  #collect(chain: DescriptorChain): boolean {
    const memory = this.#memory
    let table = this.#table
    let entries = this.#size
    let index = chain.head
    let inTable = false
    for (;;) {
      const at = table + VIRTQ_DESC_SIZE * index
      const address = memory.readAddress(at)
      const length = memory.read32(at + 8)
      const flags = memory.read16(at + 12)
      if (length === 0) return false
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.indirect || inTable || (flags & VIRTQ_DESC_F_NEXT) !== 0 || length % VIRTQ_DESC_SIZE !== 0) {
          return false
        }
        inTable = true
        table = address
        entries = length / VIRTQ_DESC_SIZE
        index = 0
        continue
      }
      if (!chain.add(address, length, (flags & VIRTQ_DESC_F_WRITE) !== 0)) return false
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return chain.readable + chain.writable <= 2 ** 32
      index = memory.read16(at + 14)
      if (index >= entries) return false
    }
  }
}
