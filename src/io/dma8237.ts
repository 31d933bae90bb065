import type { IrqLine, PhysicalBus, PortDevice, PortSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import {
  DMA_ACTION,
  DMA_ALL_MASK,
  DMA_CLEAR_FLIP_FLOP,
  DMA_CLEAR_MASK,
  DMA_COMMAND,
  DMA_COMMAND_DISABLE,
  DMA_COMMAND_DREQ_LOW,
  DMA_COMMAND_HOLD,
  DMA_COMMAND_MEMORY,
  DMA_COMMAND_ROTATE,
  DMA_MASTER_CLEAR,
  DMA_MAX_TRANSFERS,
  DMA_MODE,
  DMA_MODE_AUTOINIT,
  DMA_MODE_BLOCK,
  DMA_MODE_CASCADE,
  DMA_MODE_DECREMENT,
  DMA_MODE_DEMAND,
  DMA_MODE_READ,
  DMA_MODE_SINGLE,
  DMA_MODE_WRITE,
  DMA_REQUEST,
  DMA_SINGLE_MASK,
  DMA_STATUS,
  DMA_TEMPORARY,
  type DmaDevice,
  type DmaPages,
} from './dma-registers.js'

/** What a {@link Dma8237} needs. */
export interface Dma8237Options {
  readonly bus: PhysicalBus
  /** Bytes per transfer: 1, or 2 with the address lines shifted by one as for a PC's channels 5–7. Default 1. */
  readonly width?: 1 | 2
  /** Default: page 0 for every channel. */
  readonly pages?: DmaPages
  /** The HRQ output, for watching. */
  readonly hold?: IrqLine
  /** Whether requests are served at once (default), or only by {@link Dma8237.service}. */
  readonly automatic?: boolean
  /** Name in events. Default `dma`. */
  readonly name?: string
  readonly events?: EventSink
}

/** Saved state of a {@link Dma8237}. */
export type Dma8237State = {
  readonly version: 1
  readonly baseAddress: readonly number[]
  readonly baseCount: readonly number[]
  readonly address: readonly number[]
  readonly count: readonly number[]
  readonly mode: readonly number[]
  readonly command: number
  readonly mask: number
  readonly request: number
  readonly terminal: number
  readonly temporary: number
  readonly flipFlop: boolean
  readonly dreq: number
  readonly driven: number
  readonly lowest: number
  readonly tenure: number
}

const NONE = -1

/**
 * An Intel 8237A DMA controller: four channels, registers at offsets 0–15.
 *
 * Timing: the bus is granted as soon as it is asked for and transfers take no time. When a request appears (or the mask, mode or
 * command register lets one through) the controller serves channels in order of priority until none asks any more.
 * That is bounded whatever a device does: in one run a channel is served at most to its terminal count, 65 536
 * transfers; one that keeps asking (autoinitialise, DREQ stuck) goes on at the next trigger. With `automatic: false`
 * nothing moves until the host calls {@link service}, which can stop after any number of transfers.
 *
 * The address counts within 16 bits, so a block wraps within its page. Transfer type 3 is illegal and acts as verify.
 * Software requests are served in block mode only, and regardless of the mask.
 *
 * Source: 8237A data sheet, "DMA Operation", "Register Description", "Programming".
 */
export class Dma8237 implements PortDevice, Stateful<Dma8237State> {
  /** Name used in events. */
  readonly name: string
  private readonly bus: PhysicalBus
  private readonly width: 1 | 2
  private readonly pages: DmaPages | undefined
  private readonly hold: IrqLine | undefined
  private readonly automatic: boolean
  private readonly events: EventSink | undefined
  private readonly devices: (DmaDevice | undefined)[] = [undefined, undefined, undefined, undefined]
  private readonly cascaded: (Dma8237 | undefined)[] = [undefined, undefined, undefined, undefined]
  private parent: Dma8237 | undefined
  private parentChannel = 0

  private readonly baseAddress = new Uint16Array(4)
  private readonly baseCount = new Uint16Array(4)
  private readonly address = new Uint16Array(4)
  private readonly count = new Uint16Array(4)
  private readonly mode = new Uint8Array(4)
  private command = 0
  private mask = 0xf
  private request = 0
  /** Status bits 3–0: terminal counts since the last read. */
  private terminal = 0
  private temporary = 0
  /** False: the low byte comes next. */
  private flipFlop = false
  /** Levels on the DREQ pins. */
  private dreq = 0
  /** Pins that something drives; a floating one never asks, even when DREQ is active low. */
  private driven = 0
  private lowest = 3
  /** The channel whose block or demand transfer is under way between two calls of service, or NONE. */
  private tenure = NONE
  private hrq = false
  private running = false
  /** EOP came in from outside during a transfer. */
  private endOfProcess = false
  /** Channels that reached their end in the present run. */
  private exhausted = 0
  private transferCount = 0

  constructor(options: Dma8237Options) {
    this.bus = options.bus
    this.width = options.width ?? 1
    if (this.width !== 1 && this.width !== 2)
      throw new VirtkitError('bad-argument', `a DMA controller moves 1 or 2 bytes, not ${String(options.width)}`)
    this.pages = options.pages
    this.hold = options.hold
    this.automatic = options.automatic ?? true
    this.name = options.name ?? 'dma'
    this.events = options.events
  }

  // ---- the device side

  /** Puts a device on a channel. Throws `bad-argument` for a channel outside 0–3. */
  connect(channel: number, device: DmaDevice): void {
    checkChannel(channel)
    this.devices[channel] = device
    this.driven |= 1 << channel
  }

  /** Puts another controller behind a channel: its HRQ drives this DREQ, this DACK is its HLDA. */
  connectCascade(channel: number, child: Dma8237): void {
    checkChannel(channel)
    for (let above: Dma8237 | undefined = this; above !== undefined; above = above.parent)
      if (above === child) throw new VirtkitError('bad-argument', 'a controller cannot sit behind itself')
    if (child.parent !== undefined || this.cascaded[channel] !== undefined)
      throw new VirtkitError('bad-argument', 'a controller sits behind one channel of one other controller')
    this.cascaded[channel] = child
    child.parent = this
    child.parentChannel = channel
    this.setPin(channel, child.hrq)
  }

  /** Drives the DREQ pin of a channel. Throws `bad-argument` for a channel outside 0–3. */
  setRequest(channel: number, level: boolean): void {
    checkChannel(channel)
    this.setPin(channel, level)
    this.trigger()
  }

  private setPin(channel: number, level: boolean): void {
    const bit = 1 << channel
    const before = this.active & bit
    this.driven |= bit
    if (level) this.dreq |= bit
    else this.dreq &= ~bit
    if (before !== 0 || (this.active & bit) === 0) return
    this.emit(DMA_ACTION.request, channel)
    if ((this.mask & bit) !== 0) this.emit(DMA_ACTION.masked, channel)
  }

  /** Pulses the EOP pin: the service under way ends after the present transfer as if by terminal count. */
  externalEop(): void {
    if (this.tenure === NONE || this.isCascade(this.tenure)) return
    if (this.running) {
      this.endOfProcess = true
    } else {
      this.finish(this.isMemoryToMemory(this.tenure) ? 1 : this.tenure)
      this.endTenure(this.tenure)
      this.drive()
    }
  }

  /** The HRQ output. */
  get holdRequest(): boolean {
    return this.hrq
  }

  /** Transfers since the controller was made (a memory-to-memory unit counts once). */
  get transfers(): number {
    return this.transferCount
  }

  /** The current registers of a channel, as a debugger shows them. */
  channel(n: number): { address: number; count: number; mode: number; masked: boolean; requested: boolean } {
    checkChannel(n)
    return {
      address: this.physical(n),
      count: this.count[n]!,
      mode: this.mode[n]!,
      masked: ((this.mask >> n) & 1) !== 0,
      requested: (((this.active | this.request) >> n) & 1) !== 0,
    }
  }

  // ---- the processor side

  readPort(offset: number, _size: PortSize): number {
    offset &= 15
    if (offset < 8) {
      const register = (offset & 1) === 0 ? this.address : this.count
      return this.toggle() ? register[offset >> 1]! >> 8 : register[offset >> 1]! & 0xff
    }
    switch (offset) {
      case DMA_STATUS: {
        const status = ((this.active | this.request) << 4) | this.terminal
        this.terminal = 0
        return status
      }
      case DMA_TEMPORARY:
        return this.temporary
      case DMA_ALL_MASK:
        return this.mask
      default:
        return 0xff // write-only registers leave the bus floating
    }
  }

  writePort(offset: number, _size: PortSize, value: number): void {
    offset &= 15
    value &= 0xff
    if (offset < 8) {
      const channel = offset >> 1
      const base = (offset & 1) === 0 ? this.baseAddress : this.baseCount
      const current = (offset & 1) === 0 ? this.address : this.count
      const high = this.toggle()
      base[channel] = high ? (base[channel]! & 0xff) | (value << 8) : (base[channel]! & 0xff00) | value
      current[channel] = high ? (current[channel]! & 0xff) | (value << 8) : (current[channel]! & 0xff00) | value
      return
    }
    const bit = 1 << (value & 3)
    switch (offset) {
      case DMA_COMMAND:
        this.command = value
        if ((value & DMA_COMMAND_ROTATE) === 0) this.lowest = 3
        break
      case DMA_REQUEST:
        if ((value & 4) !== 0) {
          this.request |= bit
          this.emit(DMA_ACTION.request, value & 3)
        } else {
          this.request &= ~bit
        }
        break
      case DMA_SINGLE_MASK:
        if ((value & 4) !== 0) this.mask |= bit
        else this.mask &= ~bit
        break
      case DMA_MODE:
        this.mode[value & 3] = value & 0xfc
        break
      case DMA_CLEAR_FLIP_FLOP:
        this.flipFlop = false
        break
      case DMA_MASTER_CLEAR:
        this.masterClear()
        break
      case DMA_CLEAR_MASK:
        this.mask = 0
        break
      default:
        this.mask = value & 0xf
        break
    }
    this.trigger()
  }

  /** What the RESET pin and the master clear command do: addresses, counts and modes stay. */
  masterClear(): void {
    this.command = 0
    this.request = 0
    this.terminal = 0
    this.temporary = 0
    this.flipFlop = false
    this.mask = 0xf
    this.lowest = 3
    this.tenure = NONE
    this.drive()
  }

  /** The state of the flip-flop before this access, which turns it over. */
  private toggle(): boolean {
    const high = this.flipFlop
    this.flipFlop = !high
    return high
  }

  // ---- requests and priority

  /** Channels whose DREQ is at its active level. */
  private get active(): number {
    const level = (this.command & DMA_COMMAND_DREQ_LOW) !== 0 ? ~this.dreq : this.dreq
    return level & this.driven & 0xf
  }

  /** Channels that ask for service: unmasked DREQs, and software requests that the mode allows. */
  private get asking(): number {
    if ((this.command & DMA_COMMAND_DISABLE) !== 0) return 0
    let bits = this.active & ~this.mask
    // A block once begun needs no DREQ any more, and a software request knows no mask.
    const held = this.tenure === NONE ? this.request : this.request | (1 << this.tenure)
    for (let channel = 0; held >> channel !== 0; channel++)
      if (this.isBlock(channel) || this.isMemoryToMemory(channel)) bits |= held & (1 << channel)
    return bits
  }

  /** Channels that can be served in this run: those that ask, without those served to their end already. */
  private get candidates(): number {
    let bits = this.asking & ~this.exhausted
    for (let channel = 0; bits >> channel !== 0; channel++)
      if (this.isCascade(channel) && this.cascaded[channel]?.candidates === 0) bits &= ~(1 << channel)
    return bits
  }

  private isBlock(channel: number): boolean {
    return (this.mode[channel]! & 0xc0) === DMA_MODE_BLOCK
  }

  private isCascade(channel: number): boolean {
    return (this.mode[channel]! & 0xc0) === DMA_MODE_CASCADE
  }

  /** Memory-to-memory belongs to channel 0, whose own mode then only matters when it is cascade. */
  private isMemoryToMemory(channel: number): boolean {
    return channel === 0 && (this.command & DMA_COMMAND_MEMORY) !== 0 && !this.isCascade(0)
  }

  /** The channel to serve among `bits`: the one under way, else by priority. */
  private arbitrate(bits: number): number {
    if (bits === 0) return NONE
    if (this.tenure !== NONE && ((bits >> this.tenure) & 1) !== 0) return this.tenure
    const lowest = (this.command & DMA_COMMAND_ROTATE) !== 0 ? this.lowest : 3
    for (let i = 1; i <= 4; i++) {
      const channel = (lowest + i) & 3
      if (((bits >> channel) & 1) !== 0) return channel
    }
    return NONE
  }

  /** Sets HRQ to what the requests make of it. */
  private drive(): void {
    const asking = this.asking
    const hrq = asking !== 0
    if (hrq === this.hrq) return
    this.hrq = hrq
    if (hrq) this.emit(DMA_ACTION.hold, this.arbitrate(asking))
    this.hold?.setLevel(hrq)
    this.parent?.setPin(this.parentChannel, hrq)
  }

  /** Something changed that may let a request through. */
  private trigger(): void {
    if (this.running) return
    this.drive()
    if (this.parent !== undefined) this.parent.trigger()
    else if (this.automatic && this.hrq) this.service()
  }

  // ---- transfers

  /**
   * Grants the bus until `maxTransfers` units have moved or nobody asks, each channel at most to its terminal count.
   * Returns the number of units moved. Throws `bad-argument` unless `maxTransfers` is a whole number from 1.
   * A controller behind another one is served through that one only.
   */
  service(maxTransfers: number = 8 * DMA_MAX_TRANSFERS): number {
    if (!Number.isInteger(maxTransfers) || maxTransfers < 1)
      throw new VirtkitError('bad-argument', `expected a positive number of transfers, got ${maxTransfers}`)
    if (this.parent !== undefined || this.running) return 0
    let moved = 0
    this.enterRun(true)
    try {
      while (moved < maxTransfers) {
        const units = this.serveOne(maxTransfers - moved)
        if (units === NONE) break
        moved += units
      }
    } finally {
      this.enterRun(false)
    }
    return moved
  }

  private enterRun(running: boolean): void {
    this.running = running
    this.exhausted = 0
    for (const child of this.cascaded) child?.enterRun(running)
    this.drive()
  }

  /** One bus tenure for whoever is first. Returns the number of units moved, or NONE when nobody asks. */
  private serveOne(budget: number): number {
    const candidates = this.candidates
    if (this.tenure !== NONE && ((candidates >> this.tenure) & 1) === 0) this.endTenure(this.tenure)
    const channel = this.arbitrate(candidates)
    if (channel === NONE) return NONE
    if (this.tenure !== channel) {
      this.tenure = channel
      this.emit(DMA_ACTION.resolve, channel)
      this.emit(DMA_ACTION.granted, channel)
      this.emit(DMA_ACTION.acknowledge, channel)
    }
    const units = this.isCascade(channel) ? this.serveCascade(channel, budget) : this.serveChannel(channel, budget)
    this.drive()
    return units
  }

  private serveChannel(channel: number, budget: number): number {
    const memory = this.isMemoryToMemory(channel)
    const mode = memory ? DMA_MODE_BLOCK : this.mode[channel]! & 0xc0
    let moved = 0
    for (;;) {
      const ended = memory ? this.memoryUnit() : this.unit(channel)
      moved++
      if (this.tenure !== channel) return moved // the device's callback cleared the controller
      if (ended) this.exhausted |= 1 << channel
      if (ended || mode === DMA_MODE_SINGLE) break
      if (mode === DMA_MODE_DEMAND && ((this.active >> channel) & 1) === 0) break
      if (moved >= budget) return moved
    }
    this.endTenure(channel)
    return moved
  }

  private endTenure(channel: number): void {
    this.tenure = NONE
    this.endOfProcess = false
    if ((this.command & DMA_COMMAND_ROTATE) !== 0) this.lowest = channel
    this.emit(DMA_ACTION.release, channel)
  }

  /** DACK of a cascade channel is the HLDA of the controller behind it, for one tenure of that one. */
  private serveCascade(channel: number, budget: number): number {
    const child = this.cascaded[channel]
    const units = child === undefined ? NONE : child.serveOne(budget)
    if (units === NONE) this.exhausted |= 1 << channel // a bus master of which this controller knows nothing more
    if (child === undefined || child.tenure === NONE) this.endTenure(channel)
    return Math.max(units, 0)
  }

  /** The byte address that a channel is at. */
  private physical(channel: number): number {
    const page = (this.pages?.page(channel) ?? 0) & 0xff
    return this.width === 1
      ? page * 0x10000 + this.address[channel]!
      : (page & 0xfe) * 0x10000 + this.address[channel]! * 2
  }

  /** Moves one unit; true at the end of the block. */
  private unit(channel: number): boolean {
    const device = this.devices[channel]
    const address = this.physical(channel)
    const type = this.mode[channel]! & 0x0c
    this.emit(DMA_ACTION.transfer, channel, address, this.count[channel]!)
    if (type === DMA_MODE_WRITE) {
      const value = device === undefined ? 0xffff : device.read()
      if (this.width === 1) this.bus.write8(address, value & 0xff)
      else this.bus.write16(address, value & 0xffff)
    } else if (type === DMA_MODE_READ) {
      const value = this.width === 1 ? this.bus.read8(address) : this.bus.read16(address)
      device?.write(value)
    }
    this.transferCount++
    this.step(channel, false)
    const last = this.count[channel] === 0
    this.count[channel]!--
    if (!last && !this.endOfProcess) return false
    this.finish(channel)
    if (last) device?.terminalCount()
    return true
  }

  /** Moves one byte from channel 0's address to channel 1's; true when channel 1's count ends. */
  private memoryUnit(): boolean {
    const source = this.physical(0)
    this.emit(DMA_ACTION.transfer, 0, source, this.count[0]!)
    this.temporary = this.bus.read8(source) & 0xff
    const target = this.physical(1)
    this.emit(DMA_ACTION.transfer, 1, target, this.count[1]!)
    this.bus.write8(target, this.temporary)
    this.transferCount++
    this.step(0, (this.command & DMA_COMMAND_HOLD) !== 0)
    this.step(1, false)
    // Channel 0's count ending is no terminal count; it only reloads channel 0 when that is set to autoinitialise.
    if (this.count[0]!-- === 0 && (this.mode[0]! & DMA_MODE_AUTOINIT) !== 0) this.reload(0)
    const last = this.count[1] === 0
    this.count[1]!--
    if (!last && !this.endOfProcess) return false
    this.finish(1)
    if (last) this.devices[1]?.terminalCount()
    return true
  }

  private step(channel: number, held: boolean): void {
    if (held) return
    if ((this.mode[channel]! & DMA_MODE_DECREMENT) !== 0) this.address[channel]!--
    else this.address[channel]!++
  }

  /** Terminal count or EOP: the request ends, and the channel is reloaded or masked. */
  private finish(channel: number): void {
    const bit = 1 << channel
    this.terminal |= bit
    this.request &= channel === 1 && this.isMemoryToMemory(0) ? ~3 : ~bit
    this.emit(DMA_ACTION.terminalCount, channel, this.physical(channel), this.count[channel]!)
    if ((this.mode[channel]! & DMA_MODE_AUTOINIT) !== 0) this.reload(channel)
    else this.mask |= bit
  }

  private reload(channel: number): void {
    this.address[channel] = this.baseAddress[channel]!
    this.count[channel] = this.baseCount[channel]!
    this.emit(DMA_ACTION.reload, channel, this.physical(channel), this.count[channel]!)
  }

  private emit(action: string, channel: number, address?: number, count?: number): void {
    const events = this.events
    if (events?.wants('dma') !== true) return
    if (address === undefined || count === undefined) events.emit('dma', { chip: this.name, channel, action })
    else events.emit('dma', { chip: this.name, channel, action, address, count })
  }

  // ---- state

  saveState(): Dma8237State {
    return {
      version: 1,
      baseAddress: [...this.baseAddress],
      baseCount: [...this.baseCount],
      address: [...this.address],
      count: [...this.count],
      mode: [...this.mode],
      command: this.command,
      mask: this.mask,
      request: this.request,
      terminal: this.terminal,
      temporary: this.temporary,
      flipFlop: this.flipFlop,
      dreq: this.dreq,
      driven: this.driven,
      lowest: this.lowest,
      tenure: this.tenure,
    }
  }

  /** Throws `bad-state` for state that {@link saveState} cannot have returned. Starts no transfer. */
  loadState(state: Dma8237State): void {
    const s = validateDmaState(state)
    this.baseAddress.set(s.baseAddress)
    this.baseCount.set(s.baseCount)
    this.address.set(s.address)
    this.count.set(s.count)
    this.mode.set(s.mode)
    this.command = s.command
    this.mask = s.mask
    this.request = s.request
    this.terminal = s.terminal
    this.temporary = s.temporary
    this.flipFlop = s.flipFlop
    this.dreq = s.dreq
    this.driven = s.driven
    this.lowest = s.lowest
    this.tenure = s.tenure
    this.drive()
  }
}

/** Checks saved state of one controller and returns it; throws `bad-state`. */
export function validateDmaState(state: unknown): Dma8237State {
  const f = new StateReader('dma8237', state, 1)
  return {
    version: 1,
    baseAddress: f.ints('baseAddress', 4, 0, 0xffff),
    baseCount: f.ints('baseCount', 4, 0, 0xffff),
    address: f.ints('address', 4, 0, 0xffff),
    count: f.ints('count', 4, 0, 0xffff),
    mode: f.ints('mode', 4, 0, 0xfc),
    command: f.int('command', 0, 0xff),
    mask: f.int('mask', 0, 0xf),
    request: f.int('request', 0, 0xf),
    terminal: f.int('terminal', 0, 0xf),
    temporary: f.int('temporary', 0, 0xff),
    flipFlop: f.bool('flipFlop'),
    dreq: f.int('dreq', 0, 0xf),
    driven: f.int('driven', 0, 0xf),
    lowest: f.int('lowest', 0, 3),
    tenure: f.int('tenure', -1, 3),
  }
}

function checkChannel(channel: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > 3)
    throw new VirtkitError('bad-argument', `an 8237 has channels 0 to 3, not ${channel}`)
}
