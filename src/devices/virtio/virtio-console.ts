import { type MmioSize, type Plain, VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { VirtioDevice, type VirtioDeviceOptions } from './virtio-device.js'
import { VIRTIO_TYPE_CONSOLE } from './virtio-registers.js'
import type { ApplyState, DescriptorChain, Virtqueue } from './virtqueue.js'

// Feature bits. Source: VIRTIO 1.2, "Console Device", "Feature bits".
export const VIRTIO_CONSOLE_F_SIZE = 0
export const VIRTIO_CONSOLE_F_MULTIPORT = 1
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2

// Control messages. Source: VIRTIO 1.2, "Console Device", "Multiport Device Operation".
export const VIRTIO_CONSOLE_DEVICE_READY = 0
export const VIRTIO_CONSOLE_DEVICE_ADD = 1
export const VIRTIO_CONSOLE_PORT_READY = 3
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4
export const VIRTIO_CONSOLE_RESIZE = 5
export const VIRTIO_CONSOLE_PORT_OPEN = 6
export const VIRTIO_CONSOLE_PORT_NAME = 7

/** Offset of the emergency output register in the configuration. */
export const VIRTIO_CONSOLE_CONFIG_EMERG_WRITE = 8
/** Bytes of input that a port keeps until the driver takes them. */
export const VIRTIO_CONSOLE_INPUT_MAX = 65536
/** Most ports of a device. */
export const VIRTIO_CONSOLE_PORTS_MAX = 14

const CONTROL_RX = 2
const CONTROL_TX = 3
const CONTROL_SIZE = 8
const NAME_MAX = 64
/** Control messages that wait for the driver at most: what one start-up can cause, several times. */
const CONTROL_MAX = 256
/** Bytes that one alarm moves at most. */
const SLICE = 65536
const PIECE = 4096
const BATCH = 32

/** A port of a {@link VirtioConsole}. */
export interface VirtioConsolePort {
  /** Takes what the guest writes; the array is only good during the call. */
  output(bytes: Uint8Array): void
  /** Name by which the guest finds the port, up to 64 ASCII characters. Default none. */
  readonly name?: string
  /** Whether the port is a terminal. Default true for port 0, false for others. */
  readonly console?: boolean
}

/** What a {@link VirtioConsole} is built from. */
export interface VirtioConsoleOptions extends VirtioDeviceOptions {
  /** At least one port. With more than one, or with `multiport`, the device offers VIRTIO_CONSOLE_F_MULTIPORT. */
  readonly ports: readonly VirtioConsolePort[]
  /** Offer the control queues for a single port as well. Default false. */
  readonly multiport?: boolean
  /** Size of the terminal. Default 80 × 25. */
  readonly columns?: number
  readonly rows?: number
  /** From a notification, or input, until the device acts, in nanoseconds. Default 5000. */
  readonly latencyNs?: number
}

interface Port {
  readonly output: (bytes: Uint8Array) => void
  readonly name: Uint8Array
  readonly console: boolean
  readonly input: Uint8Array
  /** Bytes of input that wait, from the start of `input`. */
  waiting: number
  /** The driver has the port open. */
  open: boolean
  /** Bytes of the chain at the head of the transmit queue that were put out already. */
  sent: number
}

/**
 * A virtio console: terminals and other byte channels, the size of the terminal, and the emergency output register.
 *
 * Input waits in 64 KiB per port until the driver has buffers for it. Output is put out up to 64 KiB per alarm; a longer buffer goes on
 * at the next one. A receive chain with nothing to write into breaks the rules, as does a control message of less than eight bytes or
 * a control buffer too small for its message.
 *
 * Source: VIRTIO 1.2, "Console Device".
 */
export class VirtioConsole extends VirtioDevice {
  readonly #ports: readonly Port[]
  readonly #latencyNs: number
  readonly #buffer = new Uint8Array(PIECE)
  readonly #header = new Uint8Array(CONTROL_SIZE)
  /** Messages for the driver. */
  #messages: Uint8Array[] = []

  /** Throws `bad-argument` for no ports, too many, or a bad name or size. */
  constructor(options: VirtioConsoleOptions) {
    const { ports, latencyNs = 5000 } = options
    if (ports.length < 1 || ports.length > VIRTIO_CONSOLE_PORTS_MAX) {
      throw new VirtkitError('bad-argument', `a console has 1 to ${VIRTIO_CONSOLE_PORTS_MAX} ports`)
    }
    const multiport = ports.length > 1 || options.multiport === true
    super(options, {
      type: VIRTIO_TYPE_CONSOLE,
      queueSizes: new Array<number>(multiport ? 2 * (ports.length + 1) : 2).fill(128),
      features: [
        VIRTIO_CONSOLE_F_SIZE,
        VIRTIO_CONSOLE_F_EMERG_WRITE,
        ...(multiport ? [VIRTIO_CONSOLE_F_MULTIPORT] : []),
      ],
      configSize: 12,
      latencyNs,
    })
    this.#latencyNs = latencyNs
    this.#ports = ports.map((port, i) => {
      const name = port.name ?? ''
      if (name.length > NAME_MAX || !/^[\x21-\x7e]*$/.test(name)) {
        throw new VirtkitError('bad-argument', `a port's name has up to ${NAME_MAX} ASCII characters`)
      }
      return {
        output: (bytes: Uint8Array) => port.output(bytes),
        name: new TextEncoder().encode(name),
        console: port.console ?? i === 0,
        input: new Uint8Array(VIRTIO_CONSOLE_INPUT_MAX),
        waiting: 0,
        open: false,
        sent: 0,
      }
    })
    this.#setSize(options.columns ?? 80, options.rows ?? 25)
    this.config[4] = ports.length
  }

  /** Types `bytes` at a port; returns how many it could keep. They wait until the driver takes them. */
  input(port: number, bytes: Uint8Array): number {
    const target = this.#ports[port]
    if (target === undefined) throw new VirtkitError('bad-argument', `the console has no port ${port}`)
    const count = Math.min(bytes.length, VIRTIO_CONSOLE_INPUT_MAX - target.waiting)
    target.input.set(bytes.subarray(0, count), target.waiting)
    target.waiting += count
    if (count > 0) this.notify(receiveQueue(port))
    return count
  }

  /** Whether the driver has a port open; a port of a driver without multiport support counts as open. */
  isOpen(port: number): boolean {
    return this.live && (this.#ports[port]?.open === true || (port === 0 && !this.#multiport))
  }

  /** Changes the size of the terminal and tells the driver. */
  resize(columns: number, rows: number): void {
    this.#setSize(columns, rows)
    this.configChanged()
    if (!this.#multiport || !this.live) return
    this.#ports.forEach((port, i) => {
      if (port.console) this.#sendResize(i)
    })
    this.notify(CONTROL_RX)
  }

  override notify(index: number): void {
    // Buffers for input matter only while there is some.
    if ((index & 1) === 0 && !this.#hasInput(index)) return
    super.notify(index)
  }

  override writeConfig(offset: number, size: MmioSize, value: number): void {
    const at = VIRTIO_CONSOLE_CONFIG_EMERG_WRITE - offset
    // The lowest byte of the register counts, whatever the driver has negotiated: it may be in no state to do so.
    if (at >= 0 && at < size) this.#ports[0]!.output(Uint8Array.of((value >>> (8 * at)) & 0xff))
  }

  protected override onReset(): void {
    this.#messages = []
    for (const port of this.#ports) {
      port.open = false
      port.sent = 0
    }
  }

  protected override onQueueReset(index: number): void {
    const port = portOf(index)
    if ((index & 1) === 1 && port >= 0) this.#ports[port]!.sent = 0
  }

  protected override saveSpecific(): Plain {
    return {
      version: 1,
      columns: this.readConfig(0, 2),
      rows: this.readConfig(2, 2),
      messages: this.#messages.map((message) => message.slice()),
      ports: this.#ports.map(({ input, waiting, open, sent }) => ({ input: input.slice(0, waiting), open, sent })),
    }
  }

  protected override checkSpecific(state: unknown): ApplyState {
    const reader = new StateReader('virtio console', state, 1)
    const columns = reader.int('columns', 0, 0xffff)
    const rows = reader.int('rows', 0, 0xffff)
    const list = reader.nested('messages')
    if (!Array.isArray(list) || list.length > CONTROL_MAX) throw reader.inconsistent('messages', 'a list of messages')
    const messages = list.map((message: unknown) => {
      if (
        !(message instanceof Uint8Array) ||
        message.length < CONTROL_SIZE ||
        message.length > CONTROL_SIZE + NAME_MAX
      ) {
        throw reader.inconsistent('messages', 'a list of messages')
      }
      return message.slice()
    })
    const saved = reader.nested('ports')
    if (!Array.isArray(saved) || saved.length !== this.#ports.length) {
      throw reader.inconsistent('ports', 'the ports of this console')
    }
    const ports = saved.map((port: unknown) => {
      const fields = new StateReader('virtio console', { ...(port as object), version: 1 }, 1)
      return {
        input: fields.bytes('input', 0, VIRTIO_CONSOLE_INPUT_MAX),
        open: fields.bool('open'),
        sent: fields.int('sent', 0, 2 ** 32),
      }
    })
    return () => {
      this.#setSize(columns, rows)
      this.#messages = messages
      ports.forEach(({ input, open, sent }, i) => {
        const port = this.#ports[i]!
        port.input.set(input)
        port.waiting = input.length
        port.open = open
        port.sent = sent
      })
    }
  }

  protected override serve(index: number, queue: Virtqueue): number {
    const multiport = this.#multiport
    if (multiport && index === CONTROL_RX) return this.#sendMessages(index, queue)
    if (multiport && index === CONTROL_TX) return this.#takeMessages(index, queue)
    const port = this.#ports[portOf(index)]
    if (port === undefined || (index > 1 && !multiport)) return 0
    return (index & 1) === 0 ? this.#receive(index, queue, port) : this.#transmit(index, queue, port)
  }

  #hasInput(index: number): boolean {
    if (index === CONTROL_RX) return this.#messages.length > 0
    return (this.#ports[portOf(index)]?.waiting ?? 0) > 0
  }

  get #multiport(): boolean {
    return this.negotiated(VIRTIO_CONSOLE_F_MULTIPORT)
  }

  #setSize(columns: number, rows: number): void {
    for (const value of [columns, rows]) {
      if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
        throw new VirtkitError('bad-argument', `a terminal has 0 to 65535 columns and rows, not ${value}`)
      }
    }
    this.config[0] = columns
    this.config[1] = columns >> 8
    this.config[2] = rows
    this.config[3] = rows >> 8
  }

  /** Host to guest. */
  #receive(index: number, queue: Virtqueue, port: Port): number {
    const chain = this.chain
    // A port that the driver has closed keeps its input.
    if (this.#multiport && !port.open) return 0
    let from = 0
    for (let count = 0; count < BATCH && from < port.waiting && queue.pop(chain); count++) {
      if (chain.writable === 0) {
        this.needsReset()
        break
      }
      const stored = chain.write(0, port.input.subarray(from, port.waiting))
      queue.push(chain.head, stored)
      from += stored
    }
    if (from === 0) return 0
    port.input.copyWithin(0, from, port.waiting)
    port.waiting -= from
    this.announce(index)
    return this.#latencyNs
  }

  /** Guest to host. */
  #transmit(index: number, queue: Virtqueue, port: Port): number {
    const chain = this.chain
    let budget = SLICE
    let finished = 0
    while (finished < BATCH && budget > 0 && queue.pop(chain)) {
      while (budget > 0 && port.sent < chain.readable) {
        const piece = this.#buffer.subarray(0, Math.min(PIECE, budget, chain.readable - port.sent))
        chain.read(port.sent, piece)
        port.sent += piece.length
        budget -= piece.length
        port.output(piece)
      }
      if (port.sent < chain.readable) {
        queue.rewind(1)
        break
      }
      port.sent = 0
      queue.push(chain.head, 0)
      finished++
    }
    if (finished > 0) this.announce(index)
    return finished > 0 || budget < SLICE ? this.#latencyNs : 0
  }

  /** Control messages to the driver. */
  #sendMessages(index: number, queue: Virtqueue): number {
    const chain = this.chain
    let count = 0
    while (count < BATCH && this.#messages.length > 0 && queue.pop(chain)) {
      const message = this.#messages[0]!
      if (chain.writable < message.length) {
        this.needsReset()
        return 0
      }
      this.#messages.shift()
      queue.push(chain.head, chain.write(0, message))
      count++
    }
    if (count > 0) this.announce(index)
    return count > 0 ? this.#latencyNs : 0
  }

  /** Control messages from the driver. */
  #takeMessages(index: number, queue: Virtqueue): number {
    const chain = this.chain
    let count = 0
    while (count < BATCH && queue.pop(chain)) {
      if (chain.readable < CONTROL_SIZE) {
        this.needsReset()
        return 0
      }
      this.#takeMessage(chain)
      queue.push(chain.head, 0)
      count++
    }
    if (count > 0) {
      this.announce(index)
      if (this.#messages.length > 0) this.notify(CONTROL_RX)
    }
    return count > 0 ? this.#latencyNs : 0
  }

  #takeMessage(chain: DescriptorChain): void {
    chain.read(0, this.#header)
    const view = new DataView(this.#header.buffer)
    const id = view.getUint32(0, true)
    const event = view.getUint16(4, true)
    const value = view.getUint16(6, true)
    if (event === VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1) for (let i = 0; i < this.#ports.length; i++) this.#queue(i, VIRTIO_CONSOLE_DEVICE_ADD, 0)
      return
    }
    const port = this.#ports[id]
    if (port === undefined) return
    if (event === VIRTIO_CONSOLE_PORT_READY && value === 1) {
      if (port.console) {
        this.#queue(id, VIRTIO_CONSOLE_CONSOLE_PORT, 1)
        this.#sendResize(id)
      }
      if (port.name.length > 0) this.#queue(id, VIRTIO_CONSOLE_PORT_NAME, 1, port.name)
      this.#queue(id, VIRTIO_CONSOLE_PORT_OPEN, 1)
    } else if (event === VIRTIO_CONSOLE_PORT_OPEN) {
      port.open = value !== 0
      if (port.open) this.notify(receiveQueue(id))
    }
  }

  #sendResize(id: number): void {
    // In this message rows come first, other than in the configuration.
    this.#queue(id, VIRTIO_CONSOLE_RESIZE, 0, Uint8Array.of(...this.config.subarray(0, 4)))
  }

  #queue(id: number, event: number, value: number, more?: Uint8Array): void {
    // A driver that asks on and on without taking answers loses some.
    if (this.#messages.length >= CONTROL_MAX) return
    const message = new Uint8Array(CONTROL_SIZE + (more?.length ?? 0))
    const view = new DataView(message.buffer)
    view.setUint32(0, id, true)
    view.setUint16(4, event, true)
    view.setUint16(6, value, true)
    if (more !== undefined) message.set(more, CONTROL_SIZE)
    this.#messages.push(message)
  }
}

/** Port 0 has queues 0 and 1; the control queues are 2 and 3; port n has 2n + 2 and 2n + 3. */
function receiveQueue(port: number): number {
  return port === 0 ? 0 : 2 * port + 2
}

function portOf(index: number): number {
  const pair = index >> 1
  return pair === 0 ? 0 : pair - 1
}
