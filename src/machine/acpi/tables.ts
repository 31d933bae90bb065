/**
 * ACPI tables of an I440FX PC, as an image whose addresses are still to be filled in: for firmware, which does so by a script in fw_cfg, or for
 * memory, when a system is started without firmware.
 *
 * Source: ACPI Specification 6.0, "ACPI Software Programming Model"; IA-PC HPET Specification 1.0a, "HPET Description Table".
 */
import {
  ACPI_DISABLE_COMMAND,
  ACPI_ENABLE_COMMAND,
  APM_PORT,
  GPE0_PORT,
  GPE0_SIZE,
  HPET_BASE,
  HPET_BLOCK_ID,
  PM_TIMER,
  PM1_CONTROL,
  PM1_STATUS,
  RCR_RCPU,
  RCR_SRST,
  RTC_CENTURY,
} from '../../devices/index.js'
import { type Aml, le } from './aml.js'
import { type AcpiConfig, type CompleteAcpiConfig, completeAcpiConfig } from './config.js'
import { dsdtBody } from './dsdt.js'

/** The files of an {@link AcpiImage}. */
export type AcpiFile = 'tables' | 'rsdp'

/** A pointer in an image: `size` bytes at `offset` of `file` hold an offset in `tables` until that file's address is added. */
export interface AcpiPointer {
  readonly file: AcpiFile
  readonly offset: number
  readonly size: 4 | 8
}

/** A checksum in an image: the byte at `offset` makes the sum of `length` bytes from `start` on zero. */
export interface AcpiChecksum {
  readonly file: AcpiFile
  readonly offset: number
  readonly start: number
  readonly length: number
}

/** Tables that are not yet at an address. Checksum bytes are zero. */
export interface AcpiImage {
  /** All tables; the FACS is the first. To be aligned to 64 bytes. */
  readonly tables: Uint8Array
  /** The root pointer, revision 2. To be aligned to 16 bytes. */
  readonly rsdp: Uint8Array
  readonly pointers: readonly AcpiPointer[]
  /** In the order in which they must be computed. */
  readonly checksums: readonly AcpiChecksum[]
}

/** Bytes of the FACS. */
const FACS_SIZE = 64
const HEADER_SIZE = 36
/** MADT: level-triggered, active high. */
const LEVEL_HIGH = 0x000d
/** Interrupts that PCI wires and the SCI use: level-triggered and, unlike on a PCI bus, active high. */
const LEVEL_IRQS = [5, 9, 10, 11] as const

/** I/O APIC and local APICs. */
const IO_APIC_BASE = 0xfec00000
const LOCAL_APIC_BASE = 0xfee00000

const FADT_FLAGS = {
  wbinvd: 1 << 0,
  c1: 1 << 2,
  /** There is no sleep button among the fixed events. */
  noSleepButton: 1 << 5,
  timer32: 1 << 8,
  resetRegister: 1 << 10,
  /** The platform's timers are better than the processor's. */
  platformClock: 1 << 15,
} as const

class ImageBuilder {
  readonly bytes: number[] = []
  readonly pointers: AcpiPointer[] = []
  readonly checksums: AcpiChecksum[] = []

  /** Appends a table with its header and returns where it begins. */
  table(signature: string, revision: number, body: Aml): number {
    while (this.bytes.length % 8 !== 0) this.bytes.push(0)
    const start = this.bytes.length
    const length = HEADER_SIZE + body.length
    this.bytes.push(
      ...ascii(signature, 4),
      ...le(length, 4),
      revision,
      0,
      ...ascii('VIRTKT', 6),
      ...ascii('VIRTKTPC', 8),
    )
    this.bytes.push(...le(1, 4), ...ascii('VKIT', 4), ...le(1, 4))
    for (const byte of body) this.bytes.push(byte)
    this.checksums.push({ file: 'tables', offset: start + 9, start, length })
    return start
  }

  pointer(offset: number, size: 4 | 8): void {
    this.pointers.push({ file: 'tables', offset, size })
  }
}

/**
 * Builds the tables of a machine. `facsSpace` is the distance from the FACS to the next table: a page where the FACS
 * needs memory of its own kind. Default 64 bytes.
 */
export function buildAcpiTables(config: AcpiConfig, facsSpace: number = FACS_SIZE): AcpiImage {
  const complete = completeAcpiConfig(config)
  const image = new ImageBuilder()
  image.bytes.push(...ascii('FACS', 4), ...le(FACS_SIZE, 4))
  while (image.bytes.length < Math.max(facsSpace, FACS_SIZE)) image.bytes.push(0)
  // Version 2 of the FACS; everything else in it belongs to the running system.
  image.bytes[32] = 2

  const dsdt = image.table('DSDT', 2, dsdtBody(complete))
  const tables = [fadt(image, complete, dsdt)]
  if (complete.ioApic) tables.push(image.table('APIC', 3, madtBody(complete)))
  if (complete.hpet) tables.push(image.table('HPET', 1, hpetBody()))
  // Reading the ACPI timer once is enough: there is no errant chip behind it.
  tables.push(image.table('WAET', 1, le(2, 4)))

  const rsdt = image.table(
    'RSDT',
    1,
    tables.flatMap((at) => [...le(at, 4)]),
  )
  for (const i of tables.keys()) image.pointer(rsdt + HEADER_SIZE + 4 * i, 4)
  const xsdt = image.table(
    'XSDT',
    1,
    tables.flatMap((at) => [...le(at, 8)]),
  )
  for (const i of tables.keys()) image.pointer(xsdt + HEADER_SIZE + 8 * i, 8)

  const rsdp = [...ascii('RSD PTR ', 8), 0, ...ascii('VIRTKT', 6), 2, ...le(rsdt, 4)]
  rsdp.push(...le(36, 4), ...le(xsdt, 8), 0, 0, 0, 0)
  return {
    tables: Uint8Array.from(image.bytes),
    rsdp: Uint8Array.from(rsdp),
    pointers: [...image.pointers, { file: 'rsdp', offset: 16, size: 4 }, { file: 'rsdp', offset: 24, size: 8 }],
    checksums: [
      ...image.checksums,
      // The first covers the part that revision 0 had, the second all of it, the first checksum included.
      { file: 'rsdp', offset: 8, start: 0, length: 20 },
      { file: 'rsdp', offset: 32, start: 0, length: 36 },
    ],
  }
}

function ascii(text: string, size: number): Aml {
  return Array.from({ length: size }, (_, i) => (i < text.length ? text.charCodeAt(i) : 0x20))
}

/** A generic address structure: `width` bits of ports, accessed in units of `unit` bits. */
function portAddress(port: number, width: number, unit: 8 | 16 | 32): Aml {
  // Access size: 1 bytes, 2 words, 3 doublewords.
  return [1, width, 0, Math.log2(unit) - 2, ...le(port, 8)]
}

/** Fixed description table, revision 3 (ACPI 2.0). */
function fadt(image: ImageBuilder, config: CompleteAcpiConfig, dsdt: number): number {
  const { pmBase } = config
  const { wbinvd, c1, noSleepButton, timer32, resetRegister, platformClock } = FADT_FLAGS
  const flags = wbinvd | c1 | noSleepButton | (config.timerBits === 32 ? timer32 : 0) | resetRegister | platformClock
  const nowhere = [0, 0, 0, 0, ...le(0, 8)]
  const body = [
    ...le(0, 4), // 36: FACS, filled in below
    ...le(dsdt, 4), // 40
    0, // 44: interrupt model, of ACPI 1.0
    0, // 45: preferred profile: unspecified
    ...le(9, 2), // 46: SCI
    ...le(APM_PORT, 4), // 48: SMI command
    ACPI_ENABLE_COMMAND, // 52
    ACPI_DISABLE_COMMAND,
    0, // 54: S4BIOS
    0, // 55: processor performance
    ...le(pmBase + PM1_STATUS, 4), // 56: PM1a event
    ...le(0, 4),
    ...le(pmBase + PM1_CONTROL, 4), // 64: PM1a control
    ...le(0, 4),
    ...le(0, 4), // 72: PM2 control
    ...le(pmBase + PM_TIMER, 4), // 76: timer
    ...le(GPE0_PORT, 4), // 80: GPE0
    ...le(0, 4),
    4, // 88: lengths of PM1 event, PM1 control, PM2 control, timer, GPE0, GPE1
    2,
    0,
    4,
    GPE0_SIZE,
    0,
    0, // 94: GPE1 base
    0, // 95: C-state control
    ...le(0xfff, 2), // 96: no C2
    ...le(0xfff, 2), // 98: no C3
    ...le(0, 4), // 100: cache flush size and stride
    0, // 104: duty cycle
    0,
    0, // 106: the RTC has neither day nor month alarms
    0,
    RTC_CENTURY, // 108
    ...le(config.ps2 ? 0x0003 : 0x0001, 2), // 109: ISA devices, keyboard controller
    0,
    ...le(flags, 4), // 112
    ...portAddress(0xcf9, 8, 8), // 116: reset register
    RCR_SRST | RCR_RCPU, // 128: reset value
    0,
    0,
    0,
    ...le(0, 8), // 132: 64-bit FACS address: unused, as the 32-bit one is there
    ...le(dsdt, 8), // 140
    ...portAddress(pmBase + PM1_STATUS, 32, 16), // 148
    ...nowhere,
    ...portAddress(pmBase + PM1_CONTROL, 16, 16), // 172
    ...nowhere,
    ...nowhere,
    ...portAddress(pmBase + PM_TIMER, 32, 32), // 208
    ...portAddress(GPE0_PORT, 8 * GPE0_SIZE, 8), // 220
    ...nowhere,
  ]
  const at = image.table('FACP', 3, body)
  image.pointer(at + 36, 4)
  image.pointer(at + 40, 4)
  image.pointer(at + 140, 8)
  return at
}

/** Multiple APIC description table. */
function madtBody(config: CompleteAcpiConfig): Aml {
  // Flag: the machine also has the two 8259As.
  const body = [...le(LOCAL_APIC_BASE, 4), ...le(1, 4)]
  for (let n = 0; n < config.cpus; n++) body.push(0, 8, n, n, ...le(1, 4))
  body.push(1, 12, config.ioApicId, 0, ...le(IO_APIC_BASE, 4), ...le(0, 4))
  // The 8254 is wired to input 2, edge-triggered as the ISA bus has it.
  body.push(2, 10, 0, 0, ...le(2, 4), ...le(0, 2))
  for (const n of LEVEL_IRQS) body.push(2, 10, 0, n, ...le(n, 4), ...le(LEVEL_HIGH, 2))
  // NMI at LINT1 of every processor.
  body.push(4, 6, 0xff, ...le(0, 2), 1)
  return body
}

function hpetBody(): Aml {
  return [...le(HPET_BLOCK_ID, 4), 0, 0, 0, 0, ...le(HPET_BASE, 8), 0, ...le(0, 2), 0]
}
