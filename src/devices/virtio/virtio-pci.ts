import type { MmioDevice, MmioSize, PortSize } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { PCI_CAP_VENDOR, PciFunction, type PciFunctionState } from '../pci.js'
import type { MessageSink } from '../pci-msi.js'
import { MsixCapability, type MsixState } from '../pci-msix.js'
import type { VirtioDevice, VirtioDeviceState, VirtioTransport } from './virtio-device.js'
import * as reg from './virtio-registers.js'
import { VIRTIO_F_RING_RESET, VIRTIO_ISR_CONFIG, VIRTIO_ISR_QUEUE, VIRTIO_MSI_NO_VECTOR } from './virtio-registers.js'

/** The windows of a {@link VirtioPci}: its registers (BAR 4), and the MSI-X table (BAR 1). */
export type VirtioWindowName = 'registers' | 'msix'

/** Where the machine puts the windows. `place` may throw `overlap` or `bad-range`: the window then does not decode. */
export interface VirtioWindowPlacer {
  /** Maps `size` bytes from physical address `base` on to `device`. */
  place(window: VirtioWindowName, base: number, size: number, device: MmioDevice): void
  /** Takes the mapping away. */
  remove(window: VirtioWindowName): void
}

/** What a {@link VirtioPci} is built from. */
export interface VirtioPciOptions {
  readonly device: VirtioDevice
  readonly placer: VirtioWindowPlacer
  /** Takes message-signalled interrupts. Without it the function has no MSI-X and interrupts by INTA# only. */
  readonly messages?: MessageSink
}

/** The base address register of the virtio structures. */
export const VIRTIO_PCI_REGISTER_BAR = 4
/** The base address register of the MSI-X table. */
export const VIRTIO_PCI_MSIX_BAR = 1
/** Offsets of the structures in the register window; each has a page. */
export const VIRTIO_PCI_COMMON_OFFSET = 0x0000
export const VIRTIO_PCI_ISR_OFFSET = 0x1000
export const VIRTIO_PCI_DEVICE_OFFSET = 0x2000
export const VIRTIO_PCI_NOTIFY_OFFSET = 0x3000
/** Bytes of the register window. */
export const VIRTIO_PCI_WINDOW_SIZE = 0x4000
/** Bytes from the notification address of one queue to that of the next. */
export const VIRTIO_PCI_NOTIFY_MULTIPLIER = 4

const PAGE = 0x1000
/** Base class, subclass and interface by device type. */
const CLASSES: Readonly<Record<number, number>> = {
  [reg.VIRTIO_TYPE_NET]: 0x020000,
  [reg.VIRTIO_TYPE_BLOCK]: 0x010000,
  [reg.VIRTIO_TYPE_CONSOLE]: 0x078000,
}

/** Saved state of a {@link VirtioPci}: configuration space, transport registers, MSI-X table and the device itself. */
export interface VirtioPciState extends PciFunctionState {
  readonly transport: {
    readonly version: 1
    readonly deviceFeatureSelect: number
    readonly driverFeatureSelect: number
    readonly queueSelect: number
    readonly configVector: number
    readonly queueVectors: readonly number[]
    readonly isr: number
  }
  readonly msix: MsixState | null
  readonly device: VirtioDeviceState
}

/**
 * A virtio device on the PCI bus, 1AF4:1040 plus its type, revision 1: the modern interface without the legacy one. BAR 4 (32-bit
 * memory, since firmware must reach it and reading the ISR has an effect) holds the structures, BAR 1 the MSI-X table, with a vector per queue and one for the configuration.
 * All fields may be read with any width; writes narrower than a field change its bytes, wider ones several fields.
 *
 * A device that may not master the bus leaves its queues alone until it may. While it moves data it does not answer on the
 * bus: DMA into its own windows reads all ones and writes nothing.
 *
 * Source: VIRTIO 1.2, "Virtio Over PCI Bus".
 */
export class VirtioPci extends PciFunction implements VirtioTransport {
  /** The device behind the function. */
  readonly device: VirtioDevice
  /** The register window. */
  readonly registers: MmioDevice = {
    readMmio: (offset, size) => (this.#deaf ? ONES[size] : this.#read(offset, size)),
    writeMmio: (offset, size, value) => {
      if (!this.#deaf) this.#write(offset, size, value)
    },
  }
  readonly #msix: MsixCapability | undefined
  /** Offset of the capability through which the window can be reached without a BAR. */
  readonly #access: number
  readonly #queueVectors: Uint16Array
  #deviceFeatureSelect = 0
  #driverFeatureSelect = 0
  #queueSelect = 0
  #configVector: number = VIRTIO_MSI_NO_VECTOR
  #isr = 0
  /** Messages on their way out. */
  #sending = 0

  constructor(options: VirtioPciOptions) {
    const { device, placer, messages } = options
    super({
      vendor: reg.VIRTIO_PCI_VENDOR,
      device: reg.VIRTIO_PCI_DEVICE_BASE + device.type,
      classCode: CLASSES[device.type] ?? 0x00ff00,
      revision: 1,
      subsystemVendor: reg.VIRTIO_PCI_VENDOR,
      subsystem: 0x1100,
      interruptPin: 1,
      status: 0,
    })
    this.device = device
    this.#queueVectors = new Uint16Array(device.queues.length).fill(VIRTIO_MSI_NO_VECTOR)
    if (messages !== undefined) {
      const sink: MessageSink = {
        writeMessage: (address, data) => {
          this.#sending++
          try {
            messages.writeMessage(address, data)
          } finally {
            this.#sending--
          }
        },
      }
      const msix = new MsixCapability(this, sink, { vectors: device.queues.length + 1, bar: VIRTIO_PCI_MSIX_BAR })
      this.#msix = msix
      const table: MmioDevice = {
        readMmio: (offset, size) => (this.#deaf ? ONES[size] : msix.readMmio(offset, size)),
        writeMmio: (offset, size, value) => {
          if (!this.#deaf) msix.writeMmio(offset, size, value)
        },
      }
      this.addBar(VIRTIO_PCI_MSIX_BAR, {
        space: 'memory',
        size: msix.windowSize,
        map: (base) => placer.place('msix', base, msix.windowSize, table),
        unmap: () => placer.remove('msix'),
      })
    }
    this.addBar(VIRTIO_PCI_REGISTER_BAR, {
      space: 'memory',
      size: VIRTIO_PCI_WINDOW_SIZE,
      map: (base) => placer.place('registers', base, VIRTIO_PCI_WINDOW_SIZE, this.registers),
      unmap: () => placer.remove('registers'),
    })
    this.#structure(reg.VIRTIO_PCI_CAP_COMMON_CFG, 16, VIRTIO_PCI_COMMON_OFFSET)
    this.#structure(reg.VIRTIO_PCI_CAP_ISR_CFG, 16, VIRTIO_PCI_ISR_OFFSET)
    this.#structure(reg.VIRTIO_PCI_CAP_DEVICE_CFG, 16, VIRTIO_PCI_DEVICE_OFFSET)
    const notify = this.#structure(reg.VIRTIO_PCI_CAP_NOTIFY_CFG, 20, VIRTIO_PCI_NOTIFY_OFFSET)
    this.define(notify + 16, 4, VIRTIO_PCI_NOTIFY_MULTIPLIER, 0)
    // Bar, offset, length and data of an access by configuration space.
    this.#access = this.#structure(reg.VIRTIO_PCI_CAP_PCI_CFG, 20, 0)
    this.define(this.#access + 4, 1, 0, 0xff)
    for (const field of [8, 12, 16]) this.define(this.#access + field, 4, 0, 0xffffffff)
    device.connect(this)
    device.setMastering(this.busMaster)
  }

  queueInterrupt(index: number): void {
    this.#interrupt(VIRTIO_ISR_QUEUE, this.#queueVectors[index]!)
  }

  configInterrupt(): void {
    this.#interrupt(VIRTIO_ISR_CONFIG, this.#configVector)
  }

  deviceReset(): void {
    this.#deviceFeatureSelect = this.#driverFeatureSelect = this.#queueSelect = 0
    this.#configVector = VIRTIO_MSI_NO_VECTOR
    this.#queueVectors.fill(VIRTIO_MSI_NO_VECTOR)
    this.#isr = 0
    this.setIntx(false)
  }

  override reset(): void {
    super.reset()
    this.device.reset()
  }

  override readConfig(register: number, size: PortSize): number {
    const data = this.#access + 16
    if (register < data + 4 && register + size > data) {
      const length = this.#accessLength()
      if (length !== 0) {
        const value = this.#read(super.readConfig(this.#access + 8, 4), length)
        for (let i = 0; i < length; i++) this.config[data + i] = value >>> (8 * i)
      }
    }
    return super.readConfig(register, size)
  }

  override saveState(): VirtioPciState {
    return {
      ...super.saveState(),
      transport: {
        version: 1,
        deviceFeatureSelect: this.#deviceFeatureSelect,
        driverFeatureSelect: this.#driverFeatureSelect,
        queueSelect: this.#queueSelect,
        configVector: this.#configVector,
        queueVectors: [...this.#queueVectors],
        isr: this.#isr,
      },
      msix: this.#msix?.saveState() ?? null,
      device: this.device.saveState(),
    }
  }

  override loadState(state: VirtioPciState): void {
    const whole = new StateReader('virtio PCI function', state, 1)
    const reader = new StateReader('virtio PCI function', whole.nested('transport'), 1)
    const deviceFeatureSelect = reader.int('deviceFeatureSelect', 0, 0xffffffff)
    const driverFeatureSelect = reader.int('driverFeatureSelect', 0, 0xffffffff)
    const queueSelect = reader.int('queueSelect', 0, 0xffff)
    const vectors = this.#msix?.vectors ?? 0
    const configVector = reader.int('configVector', 0, VIRTIO_MSI_NO_VECTOR)
    const queueVectors = reader.ints('queueVectors', this.#queueVectors.length, 0, VIRTIO_MSI_NO_VECTOR)
    const isr = reader.int('isr', 0, VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG)
    for (const vector of [configVector, ...queueVectors]) {
      if (vector >= vectors && vector !== VIRTIO_MSI_NO_VECTOR) throw reader.inconsistent('queueVectors', 'vectors')
    }
    if (whole.bool('intx') !== (isr !== 0)) throw reader.inconsistent('isr', 'what the interrupt pin says')
    const apply = this.device.checkState(whole.nested('device'))
    const before = this.#msix?.saveState()
    const msix = whole.nested('msix')
    if (this.#msix !== undefined) this.#msix.loadState(msix as MsixState)
    else if (msix !== null) throw whole.inconsistent('msix', 'of this function')
    try {
      super.loadState(state)
    } catch (error) {
      if (before !== undefined) this.#msix?.loadState(before)
      throw error
    }
    this.#deviceFeatureSelect = deviceFeatureSelect
    this.#driverFeatureSelect = driverFeatureSelect
    this.#queueSelect = queueSelect
    this.#configVector = configVector
    this.#queueVectors.set(queueVectors)
    this.#isr = isr
    apply()
    this.device.setMastering(this.busMaster)
  }

  protected override onConfigWrite(register: number, size: PortSize): void {
    this.device.setMastering(this.busMaster)
    const data = this.#access + 16
    const length = this.#accessLength()
    if (register < data + 4 && register + size > data && length !== 0) {
      this.#write(super.readConfig(this.#access + 8, 4), length, super.readConfig(data, length))
    }
  }

  protected override onConfigReset(): void {
    this.device.setMastering(this.busMaster)
  }

  /** Whether the function is a bus master at this very moment, and so no target. */
  get #deaf(): boolean {
    return this.#sending > 0 || this.device.serving
  }

  #structure(type: number, length: number, offset: number): number {
    const at = this.addCapability(PCI_CAP_VENDOR, length)
    const access = type === reg.VIRTIO_PCI_CAP_PCI_CFG
    this.define(at + 2, 1, length, 0)
    this.define(at + 3, 1, type, 0)
    this.define(at + 4, 1, access ? 0 : VIRTIO_PCI_REGISTER_BAR, 0)
    this.define(at + 8, 4, offset, 0)
    this.define(at + 12, 4, access ? 0 : PAGE, 0)
    return at
  }

  /** Width of the access that the last capability describes; 0 when it describes none that exists. */
  #accessLength(): 0 | MmioSize {
    const at = this.#access
    const length = super.readConfig(at + 12, 4)
    const offset = super.readConfig(at + 8, 4)
    if (this.config[at + 4] !== VIRTIO_PCI_REGISTER_BAR) return 0
    if ((length !== 1 && length !== 2 && length !== 4) || offset % length !== 0) return 0
    return offset + length <= VIRTIO_PCI_WINDOW_SIZE ? length : 0
  }

  #interrupt(cause: number, vector: number): void {
    if (this.#msix?.enabled === true) {
      if (vector !== VIRTIO_MSI_NO_VECTOR) this.#msix.signal(vector)
      return
    }
    this.#isr |= cause
    this.setIntx(true)
  }

  #read(offset: number, size: MmioSize): number {
    const within = offset % PAGE
    if (offset < VIRTIO_PCI_ISR_OFFSET) {
      let value = 0
      for (let i = 0; i < size; ) {
        const at = within + i
        const word = this.#readCommon(at & ~3)
        for (; i < size && ((within + i) & ~3) === (at & ~3); i++) {
          value |= ((word >>> (8 * ((within + i) & 3))) & 0xff) << (8 * i)
        }
      }
      return value >>> 0
    }
    if (offset < VIRTIO_PCI_DEVICE_OFFSET) {
      if (within !== 0) return 0
      const isr = this.#isr
      this.#isr = 0
      this.setIntx(false)
      return isr
    }
    return offset < VIRTIO_PCI_NOTIFY_OFFSET ? this.device.readConfig(within, size) : 0
  }

  #write(offset: number, size: MmioSize, value: number): void {
    const within = offset % PAGE
    if (offset < VIRTIO_PCI_ISR_OFFSET) {
      if (within + size <= reg.VIRTIO_COMMON_SIZE) this.#writeCommon(within, size, value)
    } else if (offset >= VIRTIO_PCI_NOTIFY_OFFSET) {
      const queue = within / VIRTIO_PCI_NOTIFY_MULTIPLIER
      if (Number.isInteger(queue)) this.device.notify(queue)
    } else if (offset >= VIRTIO_PCI_DEVICE_OFFSET) {
      this.device.writeConfig(within, size, value)
    }
  }

  /** A doubleword of the common configuration. */
  #readCommon(offset: number): number {
    const { device } = this
    const queue = device.queues[this.#queueSelect]
    switch (offset) {
      case reg.VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
        return this.#deviceFeatureSelect
      case reg.VIRTIO_COMMON_DEVICE_FEATURE:
        return device.offeredFeatures(this.#deviceFeatureSelect)
      case reg.VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
        return this.#driverFeatureSelect
      case reg.VIRTIO_COMMON_DRIVER_FEATURE:
        return device.acceptedFeatures(this.#driverFeatureSelect)
      case reg.VIRTIO_COMMON_CONFIG_VECTOR:
        return this.#configVector | (device.queues.length << 16)
      case reg.VIRTIO_COMMON_STATUS:
        return device.status | (device.generation << 8) | (this.#queueSelect << 16)
    }
    if (queue === undefined) return 0
    switch (offset) {
      case reg.VIRTIO_COMMON_QUEUE_SIZE:
        return queue.size | (this.#queueVectors[this.#queueSelect]! << 16)
      case reg.VIRTIO_COMMON_QUEUE_ENABLE:
        return (queue.enabled ? 1 : 0) | (this.#queueSelect << 16)
    }
    const ring = (offset - reg.VIRTIO_COMMON_QUEUE_DESC) >> 2
    if (ring >= 0 && ring < 6) return queue.ring[ring]!
    // The notification data is the queue's number; a reset of a queue is over as soon as it is asked for.
    return offset === reg.VIRTIO_COMMON_QUEUE_NOTIFY_DATA ? this.#queueSelect : 0
  }

  #writeCommon(offset: number, size: MmioSize, value: number): void {
    const wide = offset < reg.VIRTIO_COMMON_CONFIG_VECTOR || isRing(offset)
    const width = wide ? 4 : offset === reg.VIRTIO_COMMON_STATUS || offset === reg.VIRTIO_COMMON_GENERATION ? 1 : 2
    const start = offset - (offset % width)
    const take = Math.min(size, start + width - offset) as MmioSize
    if (take === width) this.#writeField(start, size === 4 && width === 4 ? value : value % 2 ** (8 * width))
    else {
      // Part of a field: the other bytes stay.
      const shift = 8 * (offset - start)
      const mask = (2 ** (8 * take) - 1) * 2 ** shift
      const old = (this.#readCommon(start & ~3) >>> (8 * (start & 3))) >>> 0
      this.#writeField(start, ((old & ~mask) | ((value << shift) & mask)) >>> 0)
    }
    if (take < size) {
      const rest = size - take
      for (let i = 0; i < rest; ) {
        const at = offset + take + i
        const part = rest - i >= 2 && at % 2 === 0 ? 2 : 1
        this.#writeCommon(at, part, Math.floor(value / 2 ** (8 * (take + i))) % 2 ** (8 * part))
        i += part
      }
    }
  }

  /** A whole field, with all of its bits in `value`. */
  #writeField(field: number, value: number): void {
    const { device } = this
    const index = this.#queueSelect
    const queue = device.queues[index]
    switch (field) {
      case reg.VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
        this.#deviceFeatureSelect = value
        return
      case reg.VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
        this.#driverFeatureSelect = value
        return
      case reg.VIRTIO_COMMON_DRIVER_FEATURE:
        device.acceptFeatures(this.#driverFeatureSelect, value)
        return
      case reg.VIRTIO_COMMON_CONFIG_VECTOR:
        this.#configVector = this.#legalVector(value)
        return
      case reg.VIRTIO_COMMON_STATUS:
        device.writeStatus(value & 0xff)
        return
      case reg.VIRTIO_COMMON_QUEUE_SELECT:
        this.#queueSelect = value & 0xffff
        return
    }
    if (queue === undefined) return
    switch (field) {
      case reg.VIRTIO_COMMON_QUEUE_SIZE:
        queue.setSize(value & 0xffff)
        return
      case reg.VIRTIO_COMMON_QUEUE_VECTOR:
        this.#queueVectors[index] = this.#legalVector(value)
        return
      case reg.VIRTIO_COMMON_QUEUE_ENABLE:
        // Only a reset takes a queue out of use again.
        if ((value & 0xffff) === 1) device.enableQueue(index)
        return
      case reg.VIRTIO_COMMON_QUEUE_RESET:
        if ((value & 0xffff) === 1 && device.negotiated(VIRTIO_F_RING_RESET)) device.resetQueue(index)
        return
    }
    if (isRing(field) && !queue.enabled) queue.ring[(field - reg.VIRTIO_COMMON_QUEUE_DESC) >> 2] = value
  }

  /** A vector that does not exist becomes none, which tells the driver so. */
  #legalVector(value: number): number {
    const vector = value & 0xffff
    return vector < (this.#msix?.vectors ?? 0) ? vector : VIRTIO_MSI_NO_VECTOR
  }
}

const ONES: Readonly<Record<MmioSize, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffffffff }

function isRing(offset: number): boolean {
  return offset >= reg.VIRTIO_COMMON_QUEUE_DESC && offset < reg.VIRTIO_COMMON_QUEUE_NOTIFY_DATA
}
