/** Ways for ACPI tables into a machine: by its firmware, or straight into memory. */
import { VirtkitError } from '../../contracts/index.js'
import type { FwCfg } from '../../devices/index.js'
import type { MemoryMapEntry } from '../multiboot.js'
import type { AcpiConfig } from './config.js'
import { type AcpiFile, type AcpiImage, buildAcpiTables } from './tables.js'

/** Names of the files in fw_cfg. */
const FILES: Readonly<Record<AcpiFile, string>> = { tables: 'etc/acpi/tables', rsdp: 'etc/acpi/rsdp' }
/** The script that tells firmware how to install them. */
const LOADER_FILE = 'etc/table-loader'

// Commands of the script: 128 bytes each, names of 56 bytes. Source: QEMU documentation, "ACPI tables" and its linker/loader format.
const COMMAND_SIZE = 128
const NAME_SIZE = 56
const COMMAND = { allocate: 1, addPointer: 2, addChecksum: 3 } as const
const ZONE = { high: 1, low: 2 } as const

/**
 * Puts tables into the firmware configuration device as `etc/acpi/tables`, `etc/acpi/rsdp` and `etc/table-loader`. Firmware
 * that knows the format (SeaBIOS) then installs these instead of building its own, and moves the power-management ports to 600h.
 */
export function addAcpiFiles(fwCfg: FwCfg, config: AcpiConfig): void {
  const image = buildAcpiTables(config)
  fwCfg.addFile(FILES.tables, image.tables)
  fwCfg.addFile(FILES.rsdp, image.rsdp)
  fwCfg.addFile(LOADER_FILE, loaderScript(image))
}

function loaderScript(image: AcpiImage): Uint8Array {
  const commands: Uint8Array[] = []
  const command = (kind: number, fill: (view: DataView, name: (at: number, file: AcpiFile) => void) => void): void => {
    const bytes = new Uint8Array(COMMAND_SIZE)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, kind, true)
    fill(view, (at, file) => bytes.set(new TextEncoder().encode(FILES[file]), at))
    commands.push(bytes)
  }
  const allocate = (file: AcpiFile, alignment: number, zone: number): void =>
    command(COMMAND.allocate, (view, name) => {
      name(4, file)
      view.setUint32(4 + NAME_SIZE, alignment, true)
      view.setUint8(8 + NAME_SIZE, zone)
    })
  allocate('tables', 64, ZONE.high)
  allocate('rsdp', 16, ZONE.low)
  for (const pointer of image.pointers) {
    command(COMMAND.addPointer, (view, name) => {
      name(4, pointer.file)
      name(4 + NAME_SIZE, 'tables')
      view.setUint32(4 + 2 * NAME_SIZE, pointer.offset, true)
      view.setUint8(8 + 2 * NAME_SIZE, pointer.size)
    })
  }
  for (const checksum of image.checksums) {
    command(COMMAND.addChecksum, (view, name) => {
      name(4, checksum.file)
      view.setUint32(4 + NAME_SIZE, checksum.offset, true)
      view.setUint32(8 + NAME_SIZE, checksum.start, true)
      view.setUint32(12 + NAME_SIZE, checksum.length, true)
    })
  }
  const script = new Uint8Array(commands.length * COMMAND_SIZE)
  for (const [i, bytes] of commands.entries()) script.set(bytes, i * COMMAND_SIZE)
  return script
}

/** Memory that tables are written to. */
export interface AcpiMemory {
  /** Writes bytes at a physical address. */
  writeBytes(address: number, source: Uint8Array): void
}

/** Where {@link placeAcpiTables} put the tables. */
export interface PlacedAcpiTables {
  /** Address of the root pointer, below 1 MiB. */
  readonly rsdp: number
  /** First byte of the range: usable RAM ends here. */
  readonly base: number
  /** One past the last byte of the range. */
  readonly end: number
  /** The range for the memory map: ACPI non-volatile storage (type 4) with the FACS, then reclaimable tables (type 3). */
  readonly ranges: readonly MemoryMapEntry[]
}

/** Where {@link placeAcpiTables} puts the root pointer: the first paragraph that systems search. */
export const RSDP_ADDRESS = 0xe0000
const PAGE = 0x1000

/**
 * Writes tables to the last pages before `end` (a multiple of 4096, usually the end of low RAM) and the root pointer to `rsdp` (a
 * multiple of 16 in 0xE0000–0xFFFFF, which must be RAM now): what firmware does, when there is none. Throws `bad-range` when
 * the tables do not fit between 1 MiB and `end`.
 */
export function placeAcpiTables(
  memory: AcpiMemory,
  config: AcpiConfig,
  end: number,
  rsdp: number = RSDP_ADDRESS,
): PlacedAcpiTables {
  if (!Number.isInteger(rsdp) || rsdp < 0xe0000 || rsdp > 0xfffdc || rsdp % 16 !== 0) {
    throw new VirtkitError('bad-range', 'the root pointer lies at a multiple of 16 in 0xE0000–0xFFFFF')
  }
  const image = buildAcpiTables(config, PAGE)
  const size = Math.ceil(image.tables.length / PAGE) * PAGE
  const base = end - size
  if (!Number.isInteger(end) || end % PAGE !== 0 || base < 0x100000 || end > 2 ** 32) {
    throw new VirtkitError('bad-range', `ACPI tables of ${size} bytes do not fit before ${end}`)
  }
  const files: Readonly<Record<AcpiFile, Uint8Array>> = { tables: image.tables.slice(), rsdp: image.rsdp.slice() }
  for (const { file, offset, size: width } of image.pointers) {
    // Addresses lie below 4 GiB, so the high half of a 64-bit pointer stays zero.
    const view = new DataView(files[file].buffer, offset, width)
    view.setUint32(0, view.getUint32(0, true) + base, true)
  }
  for (const { file, offset, start, length } of image.checksums) {
    let sum = 0
    for (const byte of files[file].subarray(start, start + length)) sum += byte
    files[file][offset] = -sum
  }
  memory.writeBytes(base, files.tables)
  memory.writeBytes(rsdp, files.rsdp)
  return {
    rsdp,
    base,
    end,
    ranges: [
      { base, size: PAGE, type: 4 },
      { base: base + PAGE, size: size - PAGE, type: 3 },
    ],
  }
}
