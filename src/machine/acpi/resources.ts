/**
 * Resource descriptors, as _CRS and _PRS list them.
 *
 * Source: ACPI Specification 6.0, "Resource Data Types for ACPI".
 */
import { type Aml, buffer, le } from './aml.js'

const RANGE = { memory: 0, io: 1, bus: 2 } as const
/** Minimum and maximum are fixed; decoded positively; produced for children. */
const PRODUCED_FIXED = 0x0c

/** `ResourceTemplate () { descriptors }`, with its end tag. */
export function resources(...descriptors: readonly Aml[]): Aml {
  return buffer([...descriptors.flat(), 0x79, 0])
}

/** Ports, decoded with 16 address bits. */
export function io(base: number, length: number): Aml {
  return [0x47, 0x01, ...le(base, 2), ...le(base, 2), 0x01, length]
}

/** An edge-triggered ISA interrupt. */
export function irq(n: number): Aml {
  return [0x22, ...le(1 << n, 2)]
}

/** An 8-bit ISA DMA channel. */
export function dma(channel: number): Aml {
  return [0x2a, 1 << channel, 0x00]
}

/** Interrupts, level-triggered, active high and shared, as the PCI wires of this board are; the list begins at byte 5. */
export function sharedInterrupts(...numbers: readonly number[]): Aml {
  return [0x89, ...le(2 + 4 * numbers.length, 2), 0x09, numbers.length, ...numbers.flatMap((n) => [...le(n, 4)])]
}

/** A fixed range of memory below 4 GiB. */
export function memory32(base: number, length: number, writable: boolean): Aml {
  return [0x86, ...le(9, 2), writable ? 1 : 0, ...le(base, 4), ...le(length, 4)]
}

function range(tag: number, width: number, type: number, flags: number, first: number, last: number): Aml {
  const numbers = [0, first, last, 0, last - first + 1]
  const body = [type, PRODUCED_FIXED, flags, ...numbers.flatMap((n) => [...le(n, width)])]
  return [tag, ...le(body.length, 2), ...body]
}

/** Bus numbers that a bridge hands on. */
export function buses(first: number, last: number): Aml {
  return range(0x88, 2, RANGE.bus, 0, first, last)
}

/** Ports that a bridge hands on. */
export function ioWindow(first: number, last: number): Aml {
  return range(0x88, 2, RANGE.io, 0x03, first, last)
}

/** Memory below 4 GiB that a bridge hands on, read and write. */
export function memoryWindow32(first: number, last: number, cacheable: boolean): Aml {
  return range(0x87, 4, RANGE.memory, cacheable ? 0x03 : 0x01, first, last)
}

/** Memory anywhere that a bridge hands on, read and write, cacheable. */
export function memoryWindow64(first: number, last: number): Aml {
  return range(0x8a, 8, RANGE.memory, 0x03, first, last)
}
