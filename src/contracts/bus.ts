/** Width of a port access in bytes. */
export type PortSize = 1 | 2 | 4

/** Width of a memory-mapped access in bytes. An 8-byte access of the CPU reaches a device as two of 4, low half first. */
export type MmioSize = 1 | 2 | 4

/**
 * A device that answers on I/O ports. `offset` is relative to the base at which it was registered. A device that
 * implements only bytes may leave wider accesses to the bus, which splits them (see `PortBus`).
 */
export interface PortDevice {
  /** Returns an unsigned value of `size` bytes. */
  readPort(offset: number, size: PortSize): number
  /** Receives an unsigned value of `size` bytes. */
  writePort(offset: number, size: PortSize, value: number): void
}

/** A device that answers on memory addresses. `offset` is relative to the base of its window. */
export interface MmioDevice {
  /** Returns an unsigned value of `size` bytes. */
  readMmio(offset: number, size: MmioSize): number
  /** Receives an unsigned value of `size` bytes. */
  writeMmio(offset: number, size: MmioSize, value: number): void
}

/** Where ports are looked up: what a CPU or a DMA-less device needs of a bus. Unmapped reads give all ones. */
export interface PortSpace {
  /** Reads `size` ports from `port` on; unsigned. */
  read(port: number, size: PortSize): number
  /** Writes `size` ports from `port` on. */
  write(port: number, size: PortSize, value: number): void
}

/**
 * Guest-physical memory as a bus master sees it: addresses are bytes from 0, exact doubles up to 2^52; values are
 * unsigned; multi-byte accesses are little-endian and may be unaligned. Unmapped reads give all ones, unmapped writes vanish.
 */
export interface PhysicalBus {
  /** Reads a byte. */
  read8(address: number): number
  /** Reads 2 bytes. */
  read16(address: number): number
  /** Reads 4 bytes. */
  read32(address: number): number
  /** Writes a byte. */
  write8(address: number, value: number): void
  /** Writes 2 bytes. */
  write16(address: number, value: number): void
  /** Writes 4 bytes. */
  write32(address: number, value: number): void
}

/** A level on an interrupt request wire. An edge is `setLevel(true)` after `setLevel(false)`. */
export interface IrqLine {
  /** Drives the wire: true is the asserted level. */
  setLevel(asserted: boolean): void
}

/** What a CPU sees of an interrupt controller: the INT wire, and the acknowledge cycle that fetches the vector. */
export interface InterruptSource {
  /** True while the controller asserts INT. */
  readonly pending: boolean
  /** The INTA sequence: returns the vector (0–255) and moves the request into service. */
  acknowledge(): number
}

/** Random-access storage behind a disk. Offsets and lengths are in bytes. */
export interface BlockBackend {
  /** Size in bytes. */
  readonly size: number
  readonly readOnly: boolean
  /** Reads `target.length` bytes at `offset`; synchronous so that guest time stays deterministic. */
  read(offset: number, target: Uint8Array): void
  /** Writes `source` at `offset`. Throws a `VirtkitError` when `readOnly`. */
  write(offset: number, source: Uint8Array): void
  /** Makes earlier writes durable. */
  flush(): void
}
