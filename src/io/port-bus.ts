import type { PortDevice, PortSize, PortSpace } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventSink } from '../contracts/events.js'

/** Number of I/O ports of an x86. */
export const PORT_COUNT = 0x10000

/** How a range of ports is registered. */
export interface PortRangeOptions {
  /**
   * The access widths that the device handles itself; wider ones are split. Default: bytes only. A device that lists no
   * bytes does not answer to them: such accesses read all ones and write nothing.
   */
  readonly sizes?: readonly PortSize[]
}

/** Accesses counted since the bus was made. Splitting an access does not count twice. */
export interface PortStatistics {
  readonly reads: number
  readonly writes: number
  /** Accesses of which at least one byte went to no device. */
  readonly unmapped: number
  /** Accesses that reached devices in more than one piece. */
  readonly split: number
}

const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffffffff] as const

/**
 * The I/O port space: 65 536 ports, each looked up in one typed-array read.
 *
 * An access that the device behind its first port does not take at its width, or that reaches beyond that device's
 * range, is cut in halves, low half first, until a piece fits: what an ISA bridge does with a wide cycle to a narrow
 * device. A byte nobody answers reads 0xff. Bytes beyond port 0xffff belong to nobody.
 */
export class PortBus implements PortSpace {
  /** Slot number per port; 0 is nobody. */
  private readonly slotOf = new Uint16Array(PORT_COUNT)
  private readonly bases: number[] = [0]
  private readonly counts: number[] = [0]
  private readonly devices: (PortDevice | undefined)[] = [undefined]
  /** Bit n is set when the device takes accesses of n bytes. */
  private readonly widths: number[] = [0]
  private readonly freeSlots: number[] = []
  private readonly events: EventSink | undefined
  private readCount = 0
  private writeCount = 0
  private unmappedCount = 0
  private splitCount = 0
  private pieces = 0
  private missed = false

  /** `events` receives a 'port' event per access (not per piece). */
  constructor(options: { readonly events?: EventSink } = {}) {
    this.events = options.events
  }

  /**
   * Gives `count` ports from `base` to `device`, which sees offsets from 0. Throws `bad-range` for an empty range or
   * one beyond port 0xffff, `overlap` when one of the ports is taken, `bad-argument` for an impossible width.
   */
  register(base: number, count: number, device: PortDevice, options: PortRangeOptions = {}): void {
    checkRange(base, count)
    for (let port = base; port < base + count; port++)
      if (this.slotOf[port] !== 0)
        throw new VirtkitError('overlap', `port ${hex(port)} of ${hex(base)}+${count} is already taken`)
    let widths = 0
    for (const size of options.sizes ?? [1]) {
      if (size !== 1 && size !== 2 && size !== 4)
        throw new VirtkitError('bad-argument', `a port access has 1, 2 or 4 bytes, not ${String(size)}`)
      widths |= 1 << size
    }
    if (widths === 0) throw new VirtkitError('bad-argument', 'a device must take at least one access width')
    const slot = this.freeSlots.pop() ?? this.devices.length
    if (slot >= PORT_COUNT) throw new VirtkitError('unsupported', 'a port bus carries at most 65535 ranges')
    this.bases[slot] = base
    this.counts[slot] = count
    this.devices[slot] = device
    this.widths[slot] = widths
    this.slotOf.fill(slot, base, base + count)
  }

  /** Takes away a range exactly as it was registered. Throws `bad-range` when there is none such. */
  remove(base: number, count: number): void {
    checkRange(base, count)
    const slot = this.slotOf[base]!
    if (slot === 0 || this.bases[slot] !== base || this.counts[slot] !== count)
      throw new VirtkitError('bad-range', `no range ${hex(base)}+${count} is registered`)
    this.slotOf.fill(0, base, base + count)
    this.devices[slot] = undefined
    this.freeSlots.push(slot)
  }

  /** Whether nobody answers on any of `count` ports from `base`: for devices whose ranges a guest moves. */
  isFree(base: number, count: number): boolean {
    checkRange(base, count)
    for (let port = base; port < base + count; port++) if (this.slotOf[port] !== 0) return false
    return true
  }

  /** The accesses so far. */
  get statistics(): PortStatistics {
    return { reads: this.readCount, writes: this.writeCount, unmapped: this.unmappedCount, split: this.splitCount }
  }

  read(port: number, size: PortSize): number {
    port &= 0xffff
    this.readCount++
    this.pieces = 0
    this.missed = false
    const value = this.readPiece(port, size)
    this.count()
    if (this.events?.wants('port') === true) this.events.emit('port', { direction: 'in', port, size, value })
    return value
  }

  write(port: number, size: PortSize, value: number): void {
    port &= 0xffff
    value = (value & ALL_ONES[size]) >>> 0
    this.writeCount++
    if (this.events?.wants('port') === true) this.events.emit('port', { direction: 'out', port, size, value })
    this.pieces = 0
    this.missed = false
    this.writePiece(port, size, value)
    this.count()
  }

  private count(): void {
    if (this.pieces > 1) this.splitCount++
    if (this.missed) this.unmappedCount++
  }

  private readPiece(port: number, size: PortSize): number {
    const slot = port < PORT_COUNT ? this.slotOf[port]! : 0
    const last = port + size - 1
    if (slot !== 0 && (this.widths[slot]! & (1 << size)) !== 0 && (size === 1 || this.slotOf[last] === slot)) {
      this.pieces++
      return (this.devices[slot]!.readPort(port - this.bases[slot]!, size) & ALL_ONES[size]) >>> 0
    }
    if (size === 1) {
      this.missed = true
      return 0xff
    }
    const half = (size >> 1) as PortSize
    const low = this.readPiece(port, half)
    return (low | (this.readPiece(port + half, half) << (8 * half))) >>> 0
  }

  private writePiece(port: number, size: PortSize, value: number): void {
    const slot = port < PORT_COUNT ? this.slotOf[port]! : 0
    const last = port + size - 1
    if (slot !== 0 && (this.widths[slot]! & (1 << size)) !== 0 && (size === 1 || this.slotOf[last] === slot)) {
      this.pieces++
      this.devices[slot]!.writePort(port - this.bases[slot]!, size, value)
      return
    }
    if (size === 1) {
      this.missed = true
      return
    }
    const half = (size >> 1) as PortSize
    this.writePiece(port, half, (value & ALL_ONES[half]!) >>> 0)
    this.writePiece(port + half, half, value >>> (8 * half))
  }
}

function checkRange(base: number, count: number): void {
  if (!Number.isInteger(base) || !Number.isInteger(count) || base < 0 || count < 1 || base + count > PORT_COUNT)
    throw new VirtkitError('bad-range', `ports ${base}+${count} are not a range within 0 to 0xffff`)
}

function hex(port: number): string {
  return `0x${port.toString(16)}`
}
