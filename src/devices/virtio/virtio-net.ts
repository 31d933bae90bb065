import { type MmioSize, type Plain, VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { FRAME_MAX, FRAME_MIN, type NetworkBackend } from './network-hub.js'
import { VirtioDevice, type VirtioDeviceOptions } from './virtio-device.js'
import { VIRTIO_TYPE_NET } from './virtio-registers.js'
import type { ApplyState, DescriptorChain, Virtqueue } from './virtqueue.js'

// Feature bits. Source: VIRTIO 1.2, "Network Device", "Feature bits".
export const VIRTIO_NET_F_MAC = 5
export const VIRTIO_NET_F_MRG_RXBUF = 15
export const VIRTIO_NET_F_STATUS = 16
export const VIRTIO_NET_F_CTRL_VQ = 17
export const VIRTIO_NET_F_CTRL_RX = 18
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23

/** Status in the configuration: the link is up. */
export const VIRTIO_NET_S_LINK_UP = 1
/** Bytes of the header before each frame. */
export const VIRTIO_NET_HEADER = 12

export const VIRTIO_NET_RX_QUEUE = 0
export const VIRTIO_NET_TX_QUEUE = 1
export const VIRTIO_NET_CTRL_QUEUE = 2

// Control commands. Source: VIRTIO 1.2, "Network Device", "Control Virtqueue".
export const VIRTIO_NET_CTRL_RX = 0
export const VIRTIO_NET_CTRL_RX_PROMISC = 0
export const VIRTIO_NET_CTRL_RX_ALLMULTI = 1
export const VIRTIO_NET_CTRL_RX_ALLUNI = 2
export const VIRTIO_NET_CTRL_RX_NOMULTI = 3
export const VIRTIO_NET_CTRL_RX_NOUNI = 4
export const VIRTIO_NET_CTRL_RX_NOBCAST = 5
export const VIRTIO_NET_CTRL_MAC = 1
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1
export const VIRTIO_NET_OK = 0
export const VIRTIO_NET_ERR = 1

/** Addresses that each filter table holds; a longer table lets all addresses of its kind in. */
export const VIRTIO_NET_MAC_TABLE = 64

const BATCH = 32
const RX_FRAMES = 256
const RX_BYTES = 1 << 22
const ADDRESS = 6
/** Receive modes that are on before the driver says anything. */
const MODES_AT_RESET = 1 << VIRTIO_NET_CTRL_RX_PROMISC

/** What a {@link VirtioNet} is built from. */
export interface VirtioNetOptions extends VirtioDeviceOptions {
  readonly backend: NetworkBackend
  /** Six bytes, not a group address. */
  readonly mac: Uint8Array
  /** From a notification, or a frame's arrival, until the device acts, in nanoseconds. Default 5000. */
  readonly latencyNs?: number
  /** Entries of the receive and transmit queues, a power of two. Default 256. */
  readonly queueSize?: number
}

/**
 * A virtio network adapter: receive and transmit queue, mergeable receive buffers, link status, and a control queue for receive
 * modes, address filters and the adapter's own address. Checksums and segmentation are not offered.
 *
 * Frames from the wire wait in a queue of 256 frames and 4 MiB until the driver has buffers; more are lost, as are frames that come while no driver is ready or the link
 * is down. Without mergeable buffers a frame that does not fit into the next buffer is lost and the buffer kept. Up to 32
 * frames move per alarm. A transmitted frame shorter than 14 or longer than 65550 bytes, or one that asks for
 * segmentation, goes nowhere. A transmit chain too short for its header, and a control command without room for the answer, break the rules.
 *
 * Source: VIRTIO 1.2, "Network Device".
 */
export class VirtioNet extends VirtioDevice {
  readonly #backend: NetworkBackend
  readonly #latencyNs: number
  readonly #permanentMac: Uint8Array
  readonly #header = new Uint8Array(VIRTIO_NET_HEADER)
  readonly #command = new Uint8Array(ADDRESS)
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #lost = 0
  #linkUp = true
  /** One bit per VIRTIO_NET_CTRL_RX command. */
  #modes: number = MODES_AT_RESET
  /** Filter tables, unicast and multicast: addresses as numbers; `undefined` lets everything in. */
  #tables: [readonly number[] | undefined, readonly number[] | undefined] = [[], []]

  /** Throws `bad-argument` when `mac` is no individual address. */
  constructor(options: VirtioNetOptions) {
    const { mac, latencyNs = 5000, queueSize = 256 } = options
    if (mac.length !== ADDRESS || (mac[0]! & 1) !== 0) {
      throw new VirtkitError('bad-argument', 'an adapter has an individual address of six bytes')
    }
    super(options, {
      type: VIRTIO_TYPE_NET,
      queueSizes: [queueSize, queueSize, 64],
      features: [
        VIRTIO_NET_F_MAC,
        VIRTIO_NET_F_MRG_RXBUF,
        VIRTIO_NET_F_STATUS,
        VIRTIO_NET_F_CTRL_VQ,
        VIRTIO_NET_F_CTRL_RX,
        VIRTIO_NET_F_CTRL_RX_EXTRA,
        VIRTIO_NET_F_CTRL_MAC_ADDR,
      ],
      configSize: 12,
      latencyNs,
    })
    this.#backend = options.backend
    this.#latencyNs = latencyNs
    this.#permanentMac = mac.slice()
    this.config.set(mac)
    this.config[6] = VIRTIO_NET_S_LINK_UP
    this.config[8] = 1 // queue pairs
    options.backend.attach((frame) => this.receive(frame))
  }

  /** Frames from the wire that were lost, filtered ones not counted. */
  get lost(): number {
    return this.#lost
  }

  /** Plugs the cable in or pulls it out. The driver is told. */
  setLink(up: boolean): void {
    if (up === this.#linkUp) return
    this.#linkUp = up
    this.config[6] = up ? VIRTIO_NET_S_LINK_UP : 0
    this.configChanged()
  }

  /** A frame from the wire; kept, not copied. */
  receive(frame: Uint8Array): void {
    if (frame.length < FRAME_MIN || frame.length > FRAME_MAX || !this.live || !this.#linkUp) {
      this.#lost++
      return
    }
    if (!this.#wanted(frame)) return
    if (this.#waiting.length >= RX_FRAMES || this.#waitingBytes + frame.length > RX_BYTES) {
      this.#lost++
      return
    }
    this.#waiting.push(frame)
    this.#waitingBytes += frame.length
    this.notify(VIRTIO_NET_RX_QUEUE)
  }

  override notify(index: number): void {
    // Buffers for frames matter only while one waits.
    if (index !== VIRTIO_NET_RX_QUEUE || this.#waiting.length > 0) super.notify(index)
  }

  /** The address and the status are read-only; the address is set through the control queue. */
  override writeConfig(_offset: number, _size: MmioSize, _value: number): void {}

  protected override featuresAcceptable(): boolean {
    const control = [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_MAC_ADDR]
    return this.negotiated(VIRTIO_NET_F_CTRL_VQ) || !control.some((bit) => this.negotiated(bit))
  }

  protected override onReset(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#modes = MODES_AT_RESET
    this.#tables = [[], []]
    this.config.set(this.#permanentMac)
  }

  protected override saveSpecific(): Plain {
    return {
      version: 1,
      waiting: this.#waiting.map((frame) => frame.slice()),
      lost: this.#lost,
      linkUp: this.#linkUp,
      modes: this.#modes,
      unicast: this.#tables[0] === undefined ? null : [...this.#tables[0]],
      multicast: this.#tables[1] === undefined ? null : [...this.#tables[1]],
      mac: this.config.slice(0, ADDRESS),
    }
  }

  protected override checkSpecific(state: unknown): ApplyState {
    const reader = new StateReader('virtio network device', state, 1)
    const list = reader.nested('waiting')
    if (!Array.isArray(list) || list.length > RX_FRAMES) throw reader.inconsistent('waiting', 'a list of frames')
    let total = 0
    const waiting = list.map((frame: unknown) => {
      if (!(frame instanceof Uint8Array) || frame.length < FRAME_MIN || frame.length > FRAME_MAX) {
        throw reader.inconsistent('waiting', 'a list of frames')
      }
      total += frame.length
      return frame.slice()
    })
    if (total > RX_BYTES) throw reader.inconsistent('waiting', 'within the capacity')
    const lost = reader.int('lost', 0, Number.MAX_SAFE_INTEGER)
    const linkUp = reader.bool('linkUp')
    const modes = reader.int('modes', 0, 0x3f)
    const table = (key: string): number[] | undefined => {
      const addresses = reader.nested(key)
      if (addresses === null) return undefined
      const length = Array.isArray(addresses) ? Math.min(addresses.length, VIRTIO_NET_MAC_TABLE) : 0
      return reader.ints(key, length, 0, 2 ** 48 - 1)
    }
    const tables: [readonly number[] | undefined, readonly number[] | undefined] = [
      table('unicast'),
      table('multicast'),
    ]
    const mac = reader.bytes('mac', ADDRESS)
    return () => {
      this.#waiting = waiting
      this.#waitingBytes = total
      this.#lost = lost
      this.#linkUp = linkUp
      this.#modes = modes
      this.#tables = tables
      this.config.set(mac)
      this.config[6] = linkUp ? VIRTIO_NET_S_LINK_UP : 0
    }
  }

  protected override serve(index: number, queue: Virtqueue): number {
    let count = 0
    if (index === VIRTIO_NET_RX_QUEUE) {
      while (count < BATCH && this.#waiting.length > 0 && this.#deliver(queue)) count++
    } else {
      const chain = this.chain
      while (count < BATCH && queue.pop(chain)) {
        if (index === VIRTIO_NET_TX_QUEUE ? !this.#transmit(chain, queue) : !this.#control(chain, queue)) {
          this.needsReset()
          return 0
        }
        count++
      }
    }
    if (count > 0) this.announce(index)
    return count > 0 ? this.#latencyNs : 0
  }

  /** Puts the first waiting frame into buffers of the driver; false while there are too few. */
  #deliver(queue: Virtqueue): boolean {
    const frame = this.#waiting[0]!
    const chain = this.chain
    const mergeable = this.negotiated(VIRTIO_NET_F_MRG_RXBUF)
    if (!mergeable) {
      if (!queue.pop(chain)) return false
      if (chain.writable < VIRTIO_NET_HEADER + frame.length) {
        queue.rewind(1)
        this.#lost++
      } else {
        this.#putHeader(chain, 1)
        chain.write(VIRTIO_NET_HEADER, frame)
        queue.push(chain.head, VIRTIO_NET_HEADER + frame.length)
      }
      this.#drop()
      return true
    }
    // First it is seen whether there is room, so that a frame takes its buffers all at once.
    let buffers = 0
    let room = -VIRTIO_NET_HEADER
    while (room < frame.length && queue.pop(chain)) {
      buffers++
      if (chain.writable < (buffers === 1 ? VIRTIO_NET_HEADER : 1)) {
        this.needsReset()
        return false
      }
      room += chain.writable
    }
    if (!this.live) return false
    queue.rewind(buffers)
    if (room < frame.length) {
      // With every entry of the queue in use there will never be more room: the frame cannot be taken.
      if (buffers < queue.size) return false
      this.#lost++
      this.#drop()
      return true
    }
    let at = 0
    for (let i = 0; i < buffers; i++) {
      if (!queue.pop(chain)) return false
      const skip = i === 0 ? VIRTIO_NET_HEADER : 0
      if (i === 0) this.#putHeader(chain, buffers)
      const part = chain.write(skip, at === 0 ? frame : frame.subarray(at))
      at += part
      queue.stage(i, chain.head, skip + part)
    }
    queue.commit(buffers)
    this.#drop()
    return true
  }

  #putHeader(chain: DescriptorChain, buffers: number): void {
    this.#header.fill(0)
    this.#header[10] = buffers
    this.#header[11] = buffers >> 8
    chain.write(0, this.#header)
  }

  #drop(): void {
    this.#waitingBytes -= this.#waiting.shift()!.length
  }

  /** Sends the frame in `chain`; false when it is too short for its header. */
  #transmit(chain: DescriptorChain, queue: Virtqueue): boolean {
    const length = chain.readable - VIRTIO_NET_HEADER
    if (length < 0) return false
    chain.read(0, this.#header)
    const segmented = this.#header[1] !== 0
    const sound = length >= FRAME_MIN && length <= FRAME_MAX && !segmented && this.#linkUp
    let frame: Uint8Array | undefined
    if (sound) {
      frame = new Uint8Array(length)
      chain.read(VIRTIO_NET_HEADER, frame)
    }
    queue.push(chain.head, 0)
    if (frame !== undefined) this.#backend.send(frame)
    return true
  }

  /** Runs a control command; false when there is no room for the answer. */
  #control(chain: DescriptorChain, queue: Virtqueue): boolean {
    if (chain.writable < 1) return false
    let status: number = VIRTIO_NET_ERR
    const command = this.#command
    if (chain.read(0, command.subarray(0, 2)) === 2) {
      const kind = command[0]!
      const what = command[1]!
      const length = chain.readable - 2
      if (kind === VIRTIO_NET_CTRL_RX) status = this.#setMode(chain, what, length)
      else if (kind === VIRTIO_NET_CTRL_MAC && what === VIRTIO_NET_CTRL_MAC_TABLE_SET) {
        status = this.#setTables(chain, length)
      } else if (kind === VIRTIO_NET_CTRL_MAC && what === VIRTIO_NET_CTRL_MAC_ADDR_SET) {
        status = this.#setAddress(chain, length)
      }
    }
    chain.write(0, Uint8Array.of(status))
    queue.push(chain.head, 1)
    return true
  }

  #setMode(chain: DescriptorChain, mode: number, length: number): number {
    const feature = mode <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA
    if (mode > VIRTIO_NET_CTRL_RX_NOBCAST || length !== 1 || !this.negotiated(feature)) return VIRTIO_NET_ERR
    chain.read(2, this.#command.subarray(0, 1))
    const bit = 1 << mode
    this.#modes = this.#command[0] === 0 ? this.#modes & ~bit : this.#modes | bit
    return VIRTIO_NET_OK
  }

  #setTables(chain: DescriptorChain, length: number): number {
    if (!this.negotiated(VIRTIO_NET_F_CTRL_RX)) return VIRTIO_NET_ERR
    const tables: [readonly number[] | undefined, readonly number[] | undefined] = [undefined, undefined]
    const end = 2 + length
    let at = 2
    for (let table = 0; table < 2; table++) {
      if (at + 4 > end) return VIRTIO_NET_ERR
      chain.read(at, this.#command.subarray(0, 4))
      const count =
        this.#command[0]! + this.#command[1]! * 2 ** 8 + this.#command[2]! * 2 ** 16 + this.#command[3]! * 2 ** 24
      at += 4
      if (at + count * ADDRESS > end) return VIRTIO_NET_ERR
      if (count <= VIRTIO_NET_MAC_TABLE) {
        const addresses: number[] = []
        for (let i = 0; i < count; i++) {
          chain.read(at + i * ADDRESS, this.#command)
          addresses.push(addressAt(this.#command, 0))
        }
        tables[table] = addresses
      }
      at += count * ADDRESS
    }
    if (at !== end) return VIRTIO_NET_ERR
    this.#tables = tables
    return VIRTIO_NET_OK
  }

  #setAddress(chain: DescriptorChain, length: number): number {
    if (length !== ADDRESS || !this.negotiated(VIRTIO_NET_F_CTRL_MAC_ADDR)) return VIRTIO_NET_ERR
    chain.read(2, this.#command)
    if ((this.#command[0]! & 1) !== 0) return VIRTIO_NET_ERR
    this.config.set(this.#command)
    return VIRTIO_NET_OK
  }

  /** Whether the receive filter lets a frame in. */
  #wanted(frame: Uint8Array): boolean {
    const on = (mode: number): boolean => (this.#modes & (1 << mode)) !== 0
    if (on(VIRTIO_NET_CTRL_RX_PROMISC)) return true
    const address = addressAt(frame, 0)
    if (address === 2 ** 48 - 1) return !on(VIRTIO_NET_CTRL_RX_NOBCAST)
    if ((frame[0]! & 1) !== 0) {
      if (on(VIRTIO_NET_CTRL_RX_NOMULTI)) return false
      return on(VIRTIO_NET_CTRL_RX_ALLMULTI) || this.#tables[1]?.includes(address) !== false
    }
    if (on(VIRTIO_NET_CTRL_RX_NOUNI)) return false
    if (on(VIRTIO_NET_CTRL_RX_ALLUNI) || address === addressAt(this.config, 0)) return true
    return this.#tables[0]?.includes(address) !== false
  }
}

function addressAt(bytes: Uint8Array, at: number): number {
  let address = 0
  for (let i = 0; i < ADDRESS; i++) address = address * 256 + bytes[at + i]!
  return address
}
