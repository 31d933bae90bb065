/**
 * The table by which systems without ACPI find processors and interrupt routing.
 *
 * Source: Intel MultiProcessor Specification 1.4, "MP Configuration Table".
 */
import { PIRQ_DEFAULTS } from '../../devices/index.js'
import { type Aml, le } from './aml.js'

/** What the MP table of a machine says. */
export interface MpConfig {
  /** Processors; local APIC IDs 0 to `cpus − 1`; the first one boots. */
  readonly cpus: number
  /** ID of the I/O APIC, which must differ from those of the processors where they share a bus. Default: `cpus`. */
  readonly ioApicId?: number
  /** CPUID leaf 1, EAX: family, model, stepping. Default 0x000006F1. */
  readonly signature?: number
  /** CPUID leaf 1, EDX. Default: FPU and APIC. */
  readonly features?: number
  /** The interrupt that each of the wires PIRQA–D is routed to; default: what `Piix3Isa.initialise` sets. */
  readonly pirqs?: readonly number[]
}

const IO_APIC_BASE = 0xfec00000
const LOCAL_APIC_BASE = 0xfee00000
/** Versions of the two APIC kinds, as their registers read. */
const LOCAL_APIC_VERSION = 0x14
const IO_APIC_VERSION = 0x11
const PCI_BUS = 0
const ISA_BUS = 1
/** Entry types. */
const ENTRY = { processor: 0, bus: 1, ioApic: 2, interrupt: 3, localInterrupt: 4 } as const
/** Kinds of interrupt. */
const KIND = { int: 0, nmi: 1, extInt: 3 } as const
/** Flags: as the bus has it; and level-triggered, active high. */
const CONFORMS = 0
const LEVEL_HIGH = 0x0d

/**
 * Builds the floating pointer structure with the configuration table behind it, to be written at `address`: a multiple of 16 in
 * 0xF0000–0xFFFFF, the last KiB of base memory or the extended BIOS data area.
 */
export function buildMpTable(config: MpConfig, address: number): Uint8Array {
  const { cpus } = config
  const ioApicId = config.ioApicId ?? cpus
  const pirqs = config.pirqs ?? PIRQ_DEFAULTS
  const entries: Aml[] = []
  for (let n = 0; n < cpus; n++) {
    const flags = n === 0 ? 3 : 1 // enabled; the first is the bootstrap processor
    entries.push([
      ENTRY.processor,
      n,
      LOCAL_APIC_VERSION,
      flags,
      ...le(config.signature ?? 0x6f1, 4),
      ...le(config.features ?? 0x201, 4),
      ...le(0, 8),
    ])
  }
  const bus = (id: number, name: string): Aml => [ENTRY.bus, id, ...Array.from(name.padEnd(6), (c) => c.charCodeAt(0))]
  entries.push(bus(PCI_BUS, 'PCI'), bus(ISA_BUS, 'ISA'))
  entries.push([ENTRY.ioApic, ioApicId, IO_APIC_VERSION, 1, ...le(IO_APIC_BASE, 4)])
  const interrupt = (kind: number, flags: number, from: number, source: number, pin: number): void => {
    entries.push([ENTRY.interrupt, kind, ...le(flags, 2), from, source, ioApicId, pin])
  }
  for (let slot = 0; slot < 32; slot++) {
    for (let pin = 0; pin < 4; pin++) {
      // INTA of device 1 is the SCI, which is fixed.
      const target = slot === 1 && pin === 0 ? 9 : pirqs[(slot + pin + 3) & 3]!
      interrupt(KIND.int, LEVEL_HIGH, PCI_BUS, (slot << 2) | pin, target)
    }
  }
  for (let irq = 0; irq < 16; irq++) {
    // The 8254 is wired to input 2; input 0 has nothing, and IRQ 2 is the cascade. PCI's interrupts are not ISA's.
    if (irq === 2 || pirqs.includes(irq)) continue
    interrupt(KIND.int, irq === 9 ? LEVEL_HIGH : CONFORMS, ISA_BUS, irq, irq === 0 ? 2 : irq)
  }
  const local = (kind: number, lint: number): Aml => [ENTRY.localInterrupt, kind, 0, 0, ISA_BUS, 0, 0xff, lint]
  entries.push(local(KIND.extInt, 0), local(KIND.nmi, 1))

  const body = entries.flat()
  const length = 44 + body.length
  const ascii = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0))
  const table = [
    ...ascii('PCMP'),
    ...le(length, 2),
    4, // version 1.4
    0,
    ...ascii('VIRTKIT '),
    ...ascii('PC          '),
    ...le(0, 4),
    ...le(0, 2),
    ...le(entries.length, 2),
    ...le(LOCAL_APIC_BASE, 4),
    ...le(0, 4),
    ...body,
  ]
  // One paragraph long; default configuration 0, so there is a table; the interrupt mode register does not exist.
  const pointer = [...ascii('_MP_'), ...le(address + 16, 4), 1, 4, 0, 0, 0, 0, 0, 0]
  table[7] = checksum(table)
  pointer[10] = checksum(pointer)
  return Uint8Array.from([...pointer, ...table])
}

function checksum(bytes: readonly number[]): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff
}
