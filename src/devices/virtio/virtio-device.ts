import type { Alarm, Clock, MmioSize, PhysicalBus, Plain } from '../../contracts/index.js'
import { VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { VirtioMemory } from './virtio-memory.js'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from './virtio-registers.js'
import { type ApplyState, DescriptorChain, VIRTQUEUE_SIZE_MAX, Virtqueue, type VirtqueueState } from './virtqueue.js'

/** How a device reaches its driver: what a transport offers it. */
export interface VirtioTransport {
  /** Queue `index` has used buffers for the driver. */
  queueInterrupt(index: number): void
  /** The configuration or the device's own status bits changed. */
  configInterrupt(): void
  /** The device was reset: what the transport keeps about it goes back to its reset values. */
  deviceReset(): void
}

/** What every virtio device is connected to. */
export interface VirtioDeviceOptions {
  /** Memory as a bus master sees it. */
  readonly memory: PhysicalBus
  readonly clock: Clock
}

/** What a kind of device says about itself. */
export interface VirtioDeviceKind {
  /** Device type, such as `VIRTIO_TYPE_BLOCK`. */
  readonly type: number
  /** Largest size of each queue: powers of two, at most 31 queues. */
  readonly queueSizes: readonly number[]
  /** Bit numbers of the device's own features. */
  readonly features: readonly number[]
  /** Bytes of the device-specific configuration. */
  readonly configSize: number
  /** Nanoseconds from a notification until the device looks at the queue; above 0. */
  readonly latencyNs: number
}

/** Saved state of a {@link VirtioDevice}. */
export interface VirtioDeviceState {
  readonly version: 1
  readonly type: number
  readonly status: number
  readonly accepted: readonly number[]
  readonly generation: number
  readonly queues: readonly VirtqueueState[]
  /** One bit per queue that is to be looked at. */
  readonly pending: number
  /** When the next one is looked at, or null. */
  readonly deadline: number | null
  /** The queue that was looked at last. */
  readonly turn: number
  /** What the kind of device adds. */
  readonly specific: Plain
}

const TRANSPORT_FEATURES = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET]
const DRIVER_STATUS =
  VIRTIO_STATUS_ACKNOWLEDGE |
  VIRTIO_STATUS_DRIVER |
  VIRTIO_STATUS_DRIVER_OK |
  VIRTIO_STATUS_FEATURES_OK |
  VIRTIO_STATUS_FAILED
const NOTHING_SPECIFIC: ApplyState = () => undefined

/**
 * What all virtio devices have in common, whatever the transport: status, feature negotiation, queues and the time at
 * which they are served.
 *
 * A notification only marks its queue. The queue is served `latencyNs` later, one bounded piece of work per alarm, and the
 * time that a piece is said to take passes before the next one. So the work that a guest can cause
 * without letting time pass is bounded, and devices that write to each other's registers by DMA
 * cannot nest. While it serves a queue a device is no target on the bus: {@link VirtioDevice.serving} tells the transport.
 *
 * A driver that breaks the rules of a queue gets DEVICE_NEEDS_RESET and, once DRIVER_OK was set, a configuration interrupt; the
 * device then leaves all queues alone until it is reset.
 *
 * Source: VIRTIO 1.2, "Basic Facilities of a Virtio Device".
 */
export abstract class VirtioDevice {
  /** Device type. */
  readonly type: number
  readonly queues: readonly Virtqueue[]
  /** The device-specific configuration as the driver reads it. */
  readonly config: Uint8Array
  protected readonly clock: Clock
  protected readonly memory: VirtioMemory
  /** The chain under way; one is enough, since queues are served one after another. */
  protected readonly chain: DescriptorChain
  readonly #latencyNs: number
  readonly #offered = new Uint32Array(2)
  readonly #accepted = new Uint32Array(2)
  #transport: VirtioTransport | undefined
  #status = 0
  #generation = 0
  #mastering = true
  #serving = false
  #pending = 0
  #turn = 0
  #alarm: Alarm | undefined
  /** One closure for all alarms. */
  readonly #onAlarm = (): void => this.#due()

  constructor(options: VirtioDeviceOptions, kind: VirtioDeviceKind) {
    const { queueSizes, latencyNs } = kind
    for (const size of queueSizes) {
      if (!(size >= 1 && size <= VIRTQUEUE_SIZE_MAX) || (size & (size - 1)) !== 0) {
        throw new VirtkitError(
          'bad-argument',
          `a virtqueue has a power of two up to ${VIRTQUEUE_SIZE_MAX}, not ${size}`,
        )
      }
    }
    if (queueSizes.length > 31) throw new VirtkitError('bad-argument', 'a device has at most 31 virtqueues')
    if (!(latencyNs > 0 && latencyNs < 1e12)) throw new VirtkitError('bad-argument', 'a latency is above 0')
    this.type = kind.type
    this.clock = options.clock
    this.memory = new VirtioMemory(options.memory)
    this.config = new Uint8Array(kind.configSize)
    this.#latencyNs = latencyNs
    this.queues = queueSizes.map((size) => new Virtqueue(this.memory, size, () => this.needsReset()))
    this.chain = new DescriptorChain(this.memory, Math.max(1, ...queueSizes))
    for (const bit of [...TRANSPORT_FEATURES, ...kind.features]) this.#offered[bit >> 5]! |= 1 << (bit & 31)
  }

  /** Connects the transport; done by it. */
  connect(transport: VirtioTransport): void {
    if (this.#transport !== undefined) throw new VirtkitError('bad-argument', 'the device already has a transport')
    this.#transport = transport
  }

  /** The device status field. */
  get status(): number {
    return this.#status
  }

  /** Changes whenever the device-specific configuration may have. 8 bits. */
  get generation(): number {
    return this.#generation
  }

  /** True while the device moves data: it does not answer on the bus then. */
  get serving(): boolean {
    return this.#serving
  }

  /** Whether the driver is ready and the device works. */
  get live(): boolean {
    return (this.#status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) === VIRTIO_STATUS_DRIVER_OK
  }

  /** Features 32 × `word` and on that the device offers. */
  offeredFeatures(word: number): number {
    return this.#offered[word] ?? 0
  }

  /** Features 32 × `word` and on that the driver accepts. */
  acceptedFeatures(word: number): number {
    return this.#accepted[word] ?? 0
  }

  /** The driver accepts features; without effect after FEATURES_OK. */
  acceptFeatures(word: number, bits: number): void {
    if ((this.#status & VIRTIO_STATUS_FEATURES_OK) !== 0) return
    if (word < 2) this.#accepted[word] = bits
    // A feature beyond those that exist was not offered either: remembered as a refusal.
    else if (bits !== 0) this.#accepted[1] = this.#accepted[1]! | (~this.#offered[1]! & 0x80000000)
  }

  /** Whether feature `bit` was offered and accepted. */
  negotiated(bit: number): boolean {
    return ((this.#accepted[bit >> 5]! >>> (bit & 31)) & 1) !== 0 && this.#offers(bit)
  }

  /**
   * The driver writes the status field: 0 resets the device; otherwise bits are added, never taken away. FEATURES_OK stays clear
   * when the accepted features are not a valid choice, DRIVER_OK while FEATURES_OK is.
   */
  writeStatus(value: number): void {
    if (value === 0) {
      this.reset()
      return
    }
    let added = value & DRIVER_STATUS & ~this.#status
    if ((added & VIRTIO_STATUS_FEATURES_OK) !== 0 && !this.#negotiate()) added &= ~VIRTIO_STATUS_FEATURES_OK
    if (((this.#status | added) & VIRTIO_STATUS_FEATURES_OK) === 0) added &= ~VIRTIO_STATUS_DRIVER_OK
    this.#status |= added
    if ((added & VIRTIO_STATUS_DRIVER_OK) === 0) return
    if ((this.#status & VIRTIO_STATUS_NEEDS_RESET) !== 0) this.#transport?.configInterrupt()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
    this.onDriverReady()
  }

  /** Puts queue `index` to use. */
  enableQueue(index: number): void {
    const queue = this.queues[index]
    if (queue === undefined || queue.enabled) return
    queue.eventIdx = this.negotiated(VIRTIO_F_EVENT_IDX)
    queue.indirect = this.negotiated(VIRTIO_F_INDIRECT_DESC)
    queue.enable()
    this.notify(index)
  }

  /** Takes queue `index` out of use, when VIRTIO_F_RING_RESET was negotiated. */
  resetQueue(index: number): void {
    if (!this.negotiated(VIRTIO_F_RING_RESET) || this.queues[index] === undefined) return
    this.queues[index]!.reset()
    this.#pending &= ~(1 << index)
    this.onQueueReset(index)
  }

  /** The driver has made buffers of queue `index` available, or the device has something to put into them. */
  notify(index: number): void {
    if (!this.live || this.queues[index]?.enabled !== true) return
    this.#pending |= 1 << index
    this.#arm(this.#latencyNs)
  }

  /** Lets the device act as a bus master, or holds it. */
  setMastering(enabled: boolean): void {
    this.#mastering = enabled
    if (enabled && this.#pending !== 0) this.#arm(this.#latencyNs)
  }

  /** Reads `size` bytes of the device-specific configuration; beyond it, zeros. */
  readConfig(offset: number, size: MmioSize): number {
    let value = 0
    for (let i = 0; i < size; i++) value |= (this.config[offset + i] ?? 0) << (8 * i)
    return value >>> 0
  }

  /** Writes to the device-specific configuration; ignored where it is read-only. */
  writeConfig(_offset: number, _size: MmioSize, _value: number): void {}

  /** Everything as after power-on: queues out of use, nothing negotiated, status 0. */
  reset(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#pending = this.#turn = this.#status = 0
    this.#accepted.fill(0)
    for (const queue of this.queues) queue.reset()
    this.onReset()
    this.#transport?.deviceReset()
  }

  /** The driver broke the rules: stops until the next reset, and says so. */
  needsReset(): void {
    if ((this.#status & VIRTIO_STATUS_NEEDS_RESET) !== 0) return
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#pending = 0
    const ready = (this.#status & VIRTIO_STATUS_DRIVER_OK) !== 0
    this.#status |= VIRTIO_STATUS_NEEDS_RESET
    if (ready) this.#transport?.configInterrupt()
  }

  /** All of the device's state. */
  saveState(): VirtioDeviceState {
    return {
      version: 1,
      type: this.type,
      status: this.#status,
      accepted: [...this.#accepted],
      generation: this.#generation,
      queues: this.queues.map((queue) => queue.saveState()),
      pending: this.#pending,
      deadline: this.#alarm?.deadline ?? null,
      turn: this.#turn,
      specific: this.saveSpecific(),
    }
  }

  /** Takes saved state over. Throws `bad-state`, and changes nothing, when it is not a valid one of such a device. */
  loadState(state: VirtioDeviceState): void {
    this.checkState(state)()
  }

  /** Checks saved state; the function it returns takes it over. */
  checkState(state: unknown): ApplyState {
    const reader = new StateReader('virtio device', state, 1)
    reader.int('type', this.type, this.type)
    const status = reader.int('status', 0, 0xff)
    const accepted = reader.ints('accepted', 2, 0, 0xffffffff)
    const generation = reader.int('generation', 0, 0xff)
    const queues = reader.nested('queues')
    if (!Array.isArray(queues) || queues.length !== this.queues.length) {
      throw reader.inconsistent('queues', 'the queues of this device')
    }
    const applyQueues = this.queues.map((queue, i) => queue.checkState(queues[i]))
    const pending = reader.int('pending', 0, 2 ** this.queues.length - 1)
    const deadline = reader.timeOrNull('deadline')
    const turn = reader.int('turn', 0, Math.max(0, this.queues.length - 1))
    if ((status & ~(DRIVER_STATUS | VIRTIO_STATUS_NEEDS_RESET)) !== 0) throw reader.inconsistent('status', 'a status')
    if ((status & VIRTIO_STATUS_FEATURES_OK) !== 0) {
      if (accepted.some((bits, i) => (bits & ~this.#offered[i]!) !== 0)) {
        throw reader.inconsistent('accepted', 'a choice of the features offered')
      }
    } else if ((status & VIRTIO_STATUS_DRIVER_OK) !== 0) throw reader.inconsistent('status', 'a status')
    const live = (status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) === VIRTIO_STATUS_DRIVER_OK
    if ((pending !== 0 && !live) || (deadline !== null && pending === 0)) {
      throw reader.inconsistent('pending', 'what the status allows')
    }
    const applySpecific = this.checkSpecific(reader.nested('specific'))
    const has = (bit: number): boolean => (accepted[bit >> 5]! & this.#offered[bit >> 5]! & (1 << (bit & 31))) !== 0
    return () => {
      this.#alarm?.cancel()
      this.#alarm = undefined
      this.#status = status
      this.#accepted.set(accepted)
      this.#generation = generation
      for (const apply of applyQueues) apply()
      for (const queue of this.queues) {
        queue.eventIdx = has(VIRTIO_F_EVENT_IDX)
        queue.indirect = has(VIRTIO_F_INDIRECT_DESC)
      }
      this.#pending = pending
      this.#turn = turn
      if (deadline !== null) this.#alarm = this.clock.schedule(deadline, this.#onAlarm)
      applySpecific()
    }
  }

  /**
   * Does one bounded piece of work on queue `index`, which is enabled. Returns the nanoseconds after which to go on, or 0 when
   * there is nothing to do until the next notification.
   */
  protected abstract serve(index: number, queue: Virtqueue): number

  /** Hook: the device was reset. */
  protected onReset(): void {}

  /** Hook: queue `index` was taken out of use. */
  protected onQueueReset(_index: number): void {}

  /** Hook: the driver has set DRIVER_OK. */
  protected onDriverReady(): void {}

  /** Hook: whether the accepted features, all of them offered, can go together. */
  protected featuresAcceptable(): boolean {
    return true
  }

  /** What this kind of device adds to saved state. */
  protected saveSpecific(): Plain {
    return null
  }

  /** Checks what this kind of device added; the function it returns takes it over. */
  protected checkSpecific(_state: unknown): ApplyState {
    return NOTHING_SPECIFIC
  }

  /** Interrupts the driver for what queue `index` has used, if it wants that. */
  protected announce(index: number): void {
    if (this.live && this.queues[index]!.takeInterrupt()) this.#transport?.queueInterrupt(index)
  }

  /** The device-specific configuration has changed by itself: tells the driver. */
  protected configChanged(): void {
    this.#generation = (this.#generation + 1) & 0xff
    if ((this.#status & VIRTIO_STATUS_DRIVER_OK) !== 0) this.#transport?.configInterrupt()
  }

  #offers(bit: number): boolean {
    return ((this.#offered[bit >> 5]! >>> (bit & 31)) & 1) !== 0
  }

  #negotiate(): boolean {
    const subset = this.#accepted.every((bits, i) => (bits & ~this.#offered[i]!) === 0)
    return subset && this.negotiated(VIRTIO_F_VERSION_1) && this.featuresAcceptable()
  }

  #arm(ns: number): void {
    this.#alarm ??= this.clock.schedule(this.clock.now() + ns, this.#onAlarm)
  }

  #due(): void {
    this.#alarm = undefined
    if (!this.live || !this.#mastering) return
    let ns = 0
    this.#serving = true
    try {
      // A queue with nothing to do costs no time, so the next one follows at once; each gets one look at most.
      for (let looks = this.queues.length; looks > 0 && ns === 0 && this.#pending !== 0; looks--) ns = this.#serveNext()
    } finally {
      // Also when a host's part of the device threw: the other queues go on.
      this.#serving = false
      if (this.#pending !== 0) this.#arm(ns > 0 ? ns : this.#latencyNs)
    }
  }

  #serveNext(): number {
    let index = this.#turn
    do index = index + 1 >= this.queues.length ? 0 : index + 1
    while (((this.#pending >>> index) & 1) === 0)
    this.#turn = index
    this.#pending &= ~(1 << index)
    const queue = this.queues[index]!
    const ns = this.serve(index, queue)
    if (!this.live) return 0
    queue.expectNotifications(ns === 0)
    if (ns > 0) this.#pending |= 1 << index
    return ns
  }
}
