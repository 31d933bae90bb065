import { type BlockBackend, type MmioSize, type Plain, VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { VirtioDevice, type VirtioDeviceOptions } from './virtio-device.js'
import { VIRTIO_TYPE_BLOCK } from './virtio-registers.js'
import type { ApplyState, DescriptorChain, Virtqueue } from './virtqueue.js'

// Feature bits. Source: VIRTIO 1.2, "Block Device", "Feature bits".
export const VIRTIO_BLK_F_SEG_MAX = 2
export const VIRTIO_BLK_F_GEOMETRY = 4
export const VIRTIO_BLK_F_RO = 5
export const VIRTIO_BLK_F_BLK_SIZE = 6
export const VIRTIO_BLK_F_FLUSH = 9
export const VIRTIO_BLK_F_TOPOLOGY = 10
export const VIRTIO_BLK_F_CONFIG_WCE = 11
export const VIRTIO_BLK_F_DISCARD = 13
export const VIRTIO_BLK_F_WRITE_ZEROES = 14

// Request types. Source: VIRTIO 1.2, "Block Device", "Device Operation".
export const VIRTIO_BLK_T_IN = 0
export const VIRTIO_BLK_T_OUT = 1
export const VIRTIO_BLK_T_FLUSH = 4
export const VIRTIO_BLK_T_GET_ID = 8
export const VIRTIO_BLK_T_DISCARD = 11
export const VIRTIO_BLK_T_WRITE_ZEROES = 13

export const VIRTIO_BLK_S_OK = 0
export const VIRTIO_BLK_S_IOERR = 1
export const VIRTIO_BLK_S_UNSUPP = 2

/** Bytes of a sector, whatever the block size. */
export const VIRTIO_BLK_SECTOR = 512
/** Bytes of the answer to GET_ID. */
export const VIRTIO_BLK_ID_BYTES = 20
/** Offset of the write-back mode in the configuration. */
export const VIRTIO_BLK_CONFIG_WRITEBACK = 32
/** Most sectors of one discard segment. */
export const VIRTIO_BLK_MAX_DISCARD = 0x400000
/** Most sectors of one write-zeroes segment. */
export const VIRTIO_BLK_MAX_ZEROES = 0x8000
/** Most segments of a discard or write-zeroes request. */
export const VIRTIO_BLK_MAX_SEGMENTS = 16

const HEADER = 16
const SEGMENT = 16
const CONFIG_SIZE = 60
/** Bytes that move through the device at once. */
const PIECE = 65536
/** Bytes that one alarm moves at most. */
const SLICE = 1 << 20
/** Requests that one alarm finishes at most. */
const BATCH = 16
const FLAG_UNMAP = 1

/** What a {@link VirtioBlock} is built from. */
export interface VirtioBlockOptions extends VirtioDeviceOptions {
  readonly backend: BlockBackend
  /** What GET_ID answers: up to 20 ASCII characters. Default "virtkit". */
  readonly id?: string
  /** Entries of the request queue, a power of two. Default 128. */
  readonly queueSize?: number
  /** From a notification to the completion of the first requests, in nanoseconds. Default 10000. */
  readonly latencyNs?: number
  /** Nanoseconds per byte moved. Default 0.5: two gigabytes a second. */
  readonly nsPerByte?: number
}

/**
 * A virtio disk: one request queue; read, write, flush, get-id, discard (a hint that is checked and then ignored) and write-zeroes. Reads and writes may have
 * any length and any number of segments, framed in any way.
 *
 * Time: the device looks at the queue `latencyNs` after a notification and then finishes up to 16 requests, or moves up to a mebibyte;
 * a longer request goes on at the next alarm. The next look follows after `latencyNs` and `nsPerByte` for what was moved. An error of the backend is IOERR, an unknown request UNSUPP;
 * a request without room for header or status breaks the rules (DEVICE_NEEDS_RESET). The used length counts data and status,
 * or after an error just the data that were stored.
 *
 * Source: VIRTIO 1.2, "Block Device".
 */
export class VirtioBlock extends VirtioDevice {
  readonly #backend: BlockBackend
  readonly #id = new Uint8Array(VIRTIO_BLK_ID_BYTES)
  readonly #latencyNs: number
  readonly #nsPerByte: number
  readonly #sectors: number
  readonly #header = new Uint8Array(HEADER)
  readonly #view = new DataView(this.#header.buffer)
  readonly #buffer = new Uint8Array(PIECE)
  readonly #statusByte = new Uint8Array(1)
  /** Bytes of the request at the head of the queue that are done; for zeroing, of its present segment. */
  #progress = 0
  /** Segments of a write-zeroes request that are done. */
  #segment = 0

  /** Throws `bad-image` when the backend is no whole number of sectors. */
  constructor(options: VirtioBlockOptions) {
    const { backend, id = 'virtkit', queueSize = 128, latencyNs = 10000, nsPerByte = 0.5 } = options
    super(options, {
      type: VIRTIO_TYPE_BLOCK,
      queueSizes: [queueSize],
      features: [
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_GEOMETRY,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_FLUSH,
        VIRTIO_BLK_F_TOPOLOGY,
        VIRTIO_BLK_F_CONFIG_WCE,
        ...(backend.readOnly ? [VIRTIO_BLK_F_RO] : [VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES]),
      ],
      configSize: CONFIG_SIZE,
      latencyNs,
    })
    if (!Number.isSafeInteger(backend.size) || backend.size <= 0 || backend.size % VIRTIO_BLK_SECTOR !== 0) {
      throw new VirtkitError('bad-image', `a disk has whole sectors of 512 bytes; got ${backend.size} bytes`)
    }
    if (!/^[\x20-\x7e]{0,20}$/.test(id)) throw new VirtkitError('bad-argument', 'an ID has up to 20 ASCII characters')
    if (queueSize < 4) throw new VirtkitError('bad-argument', 'a request queue has at least 4 entries')
    if (!(nsPerByte >= 0 && nsPerByte < 1e6)) throw new VirtkitError('bad-argument', 'nsPerByte is 0 or more')
    this.#backend = backend
    this.#latencyNs = latencyNs
    this.#nsPerByte = nsPerByte
    this.#sectors = backend.size / VIRTIO_BLK_SECTOR
    for (let i = 0; i < id.length; i++) this.#id[i] = id.charCodeAt(i)
    this.#describe(queueSize, !backend.readOnly)
  }

  /** Whether writes may stay in the backend's cache until a flush. */
  get writeBack(): boolean {
    if (!this.negotiated(VIRTIO_BLK_F_FLUSH)) return false
    return !this.negotiated(VIRTIO_BLK_F_CONFIG_WCE) || this.config[VIRTIO_BLK_CONFIG_WRITEBACK] === 1
  }

  override writeConfig(offset: number, size: MmioSize, value: number): void {
    const at = VIRTIO_BLK_CONFIG_WRITEBACK - offset
    if (at < 0 || at >= size || !this.negotiated(VIRTIO_BLK_F_CONFIG_WCE)) return
    const before = this.writeBack
    this.config[VIRTIO_BLK_CONFIG_WRITEBACK] = ((value >>> (8 * at)) & 0xff) === 0 ? 0 : 1
    if (before && !this.writeBack) this.#attempt(() => this.#backend.flush())
  }

  protected override onReset(): void {
    this.#progress = this.#segment = 0
    this.config[VIRTIO_BLK_CONFIG_WRITEBACK] = 1
  }

  protected override onQueueReset(): void {
    this.#progress = this.#segment = 0
  }

  protected override saveSpecific(): Plain {
    return {
      version: 1,
      progress: this.#progress,
      segment: this.#segment,
      writeBack: this.config[VIRTIO_BLK_CONFIG_WRITEBACK] === 1,
    }
  }

  protected override checkSpecific(state: unknown): ApplyState {
    const reader = new StateReader('virtio block device', state, 1)
    const progress = reader.int('progress', 0, 2 ** 32)
    const segment = reader.int('segment', 0, VIRTIO_BLK_MAX_SEGMENTS)
    const writeBack = reader.bool('writeBack')
    if (progress % VIRTIO_BLK_SECTOR !== 0) throw reader.inconsistent('progress', 'a multiple of 512')
    return () => {
      this.#progress = progress
      this.#segment = segment
      this.config[VIRTIO_BLK_CONFIG_WRITEBACK] = writeBack ? 1 : 0
    }
  }

  protected override serve(index: number, queue: Virtqueue): number {
    const chain = this.chain
    let finished = 0
    let budget = SLICE
    while (finished < BATCH && budget > 0 && queue.pop(chain)) {
      const moved = this.#request(chain, queue, budget)
      if (moved < 0) break
      budget -= moved
      if (this.#progress === 0 && this.#segment === 0) finished++
      else queue.rewind(1)
    }
    if (finished > 0) this.announce(index)
    const moved = SLICE - budget
    return finished > 0 || moved > 0 ? this.#latencyNs + moved * this.#nsPerByte : 0
  }

  #describe(queueSize: number, writable: boolean): void {
    const view = new DataView(this.config.buffer)
    view.setUint32(0, this.#sectors % 2 ** 32, true)
    view.setUint32(4, Math.floor(this.#sectors / 2 ** 32), true)
    view.setUint32(12, queueSize - 2, true) // header and status take two descriptors
    view.setUint16(16, Math.min(65535, Math.floor(this.#sectors / (16 * 63))), true)
    view.setUint8(18, 16)
    view.setUint8(19, 63)
    view.setUint32(20, VIRTIO_BLK_SECTOR, true)
    view.setUint16(26, 1, true) // least I/O size: one block
    view.setUint8(VIRTIO_BLK_CONFIG_WRITEBACK, 1)
    view.setUint16(34, 1, true) // queues
    if (!writable) return
    view.setUint32(36, VIRTIO_BLK_MAX_DISCARD, true)
    view.setUint32(40, VIRTIO_BLK_MAX_SEGMENTS, true)
    view.setUint32(44, 1, true) // discard alignment, in sectors
    view.setUint32(48, VIRTIO_BLK_MAX_ZEROES, true)
    view.setUint32(52, VIRTIO_BLK_MAX_SEGMENTS, true)
    view.setUint8(56, 1) // write-zeroes may unmap
  }

  /** Works on the request in `chain`, `budget` bytes at most; returns the bytes moved, or −1 when the driver broke the rules. */
  #request(chain: DescriptorChain, queue: Virtqueue, budget: number): number {
    if (chain.readable < HEADER || chain.writable < 1) {
      this.needsReset()
      return -1
    }
    chain.read(0, this.#header)
    const view = this.#view
    const sector = view.getUint32(12, true) * 2 ** 32 + view.getUint32(8, true)
    const room = chain.writable - 1
    switch (view.getUint32(0, true)) {
      case VIRTIO_BLK_T_IN:
        return this.#transfer(chain, queue, sector, room, budget, false)
      case VIRTIO_BLK_T_OUT:
        return this.#transfer(chain, queue, sector, chain.readable - HEADER, budget, true)
      case VIRTIO_BLK_T_FLUSH:
        this.#finish(
          chain,
          queue,
          this.#attempt(() => this.#backend.flush()),
          0,
        )
        return 0
      case VIRTIO_BLK_T_GET_ID:
        this.#finish(chain, queue, VIRTIO_BLK_S_OK, chain.write(0, this.#id.subarray(0, Math.min(room, 20))))
        return 0
      case VIRTIO_BLK_T_DISCARD:
        if (this.negotiated(VIRTIO_BLK_F_DISCARD)) return this.#ranges(chain, queue, budget, false)
        break
      case VIRTIO_BLK_T_WRITE_ZEROES:
        if (this.negotiated(VIRTIO_BLK_F_WRITE_ZEROES)) return this.#ranges(chain, queue, budget, true)
        break
    }
    this.#finish(chain, queue, VIRTIO_BLK_S_UNSUPP, 0)
    return 0
  }

  #transfer(
    chain: DescriptorChain,
    queue: Virtqueue,
    sector: number,
    length: number,
    budget: number,
    out: boolean,
  ): number {
    const size = this.#backend.size
    const from = this.#progress
    // Far sectors are not exact, but too large all the same.
    const offset = sector * VIRTIO_BLK_SECTOR
    if (length % VIRTIO_BLK_SECTOR !== 0 || offset + length > size || (out && this.#backend.readOnly)) {
      this.#finish(chain, queue, VIRTIO_BLK_S_IOERR, 0)
      return 0
    }
    const to = Math.min(length, from + Math.max(VIRTIO_BLK_SECTOR, budget))
    let at = from
    const status = this.#attempt(() => {
      while (at < to) {
        const piece = this.#buffer.subarray(0, Math.min(PIECE, to - at))
        if (out) {
          chain.read(HEADER + at, piece)
          this.#backend.write(offset + at, piece)
        } else {
          this.#backend.read(offset + at, piece)
          chain.write(at, piece)
        }
        at += piece.length
      }
      if (out && at >= length && !this.writeBack) this.#backend.flush()
    })
    this.#progress = at
    // The driver may have shortened the request since the last step.
    if (status !== VIRTIO_BLK_S_OK || at >= length) this.#finish(chain, queue, status, out ? 0 : Math.min(at, length))
    return Math.max(0, at - from)
  }

  /** Discard and write-zeroes: a list of ranges. */
  #ranges(chain: DescriptorChain, queue: Virtqueue, budget: number, zero: boolean): number {
    const length = chain.readable - HEADER
    const count = length / SEGMENT
    if (length === 0 || length % SEGMENT !== 0 || count > VIRTIO_BLK_MAX_SEGMENTS) {
      this.#finish(chain, queue, VIRTIO_BLK_S_IOERR, 0)
      return 0
    }
    const most = zero ? VIRTIO_BLK_MAX_ZEROES : VIRTIO_BLK_MAX_DISCARD
    const view = this.#view
    // Nothing is touched before all ranges are known to be good.
    for (let i = 0; i < count; i++) {
      chain.read(HEADER + i * SEGMENT, this.#header)
      const sector = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)
      const sectors = view.getUint32(8, true)
      const flags = view.getUint32(12, true)
      const good = sectors <= most && sector + sectors <= this.#sectors
      const known = (flags & ~(zero ? FLAG_UNMAP : 0)) === 0
      if (!known || !good) {
        this.#finish(chain, queue, known ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_UNSUPP, 0)
        return 0
      }
    }
    let moved = 0
    const status = this.#attempt(() => {
      if (zero) moved = this.#zero(chain, count, budget)
      if ((!zero || this.#segment >= count) && !this.writeBack) this.#backend.flush()
    })
    if (!zero || this.#segment >= count || status !== VIRTIO_BLK_S_OK) this.#finish(chain, queue, status, 0)
    return moved
  }

  /** Zeroes from where the last step stopped; returns the bytes written. */
  #zero(chain: DescriptorChain, count: number, budget: number): number {
    const view = this.#view
    let moved = 0
    while (this.#segment < count && moved < budget) {
      chain.read(HEADER + this.#segment * SEGMENT, this.#header)
      const offset = (view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)) * VIRTIO_BLK_SECTOR
      const length = view.getUint32(8, true) * VIRTIO_BLK_SECTOR
      // Read again, since a range may lie where the device itself writes: what was checked need not hold any more.
      if (offset + length > this.#backend.size) throw new VirtkitError('bad-range', 'a range that changed')
      const part = Math.max(0, Math.min(PIECE, length - this.#progress))
      this.#buffer.fill(0, 0, part)
      if (part > 0) this.#backend.write(offset + this.#progress, this.#buffer.subarray(0, part))
      moved += part
      this.#progress += part
      if (this.#progress >= length) {
        this.#progress = 0
        this.#segment++
      }
    }
    return moved
  }

  /** Ends the request, with `stored` bytes of data in the writable part. */
  #finish(chain: DescriptorChain, queue: Virtqueue, status: number, stored: number): void {
    this.#progress = this.#segment = 0
    this.#statusByte[0] = status
    chain.write(chain.writable - 1, this.#statusByte)
    queue.push(chain.head, stored === chain.writable - 1 ? chain.writable : stored)
  }

  /** Runs `action`; what the backend throws is an I/O error of the disk. */
  #attempt(action: () => void): number {
    try {
      action()
      return VIRTIO_BLK_S_OK
    } catch {
      return VIRTIO_BLK_S_IOERR
    }
  }
}
