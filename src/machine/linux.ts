/**
 * Loads Linux kernels (bzImage) as a boot loader does. Sources: Linux kernel documentation, "The Linux/x86 Boot Protocol" and "Zero Page";
 * the layout of `struct boot_params` in the kernel's user-space headers (asm/bootparam.h, linux/screen_info.h).
 */

import { type PhysicalBus, VirtkitError } from '../contracts/index.js'
import type { MemoryMapEntry } from './multiboot.js'

/** Offsets of the setup header's fields, from the start of the image and of boot_params alike. */
export const LINUX_SETUP_SECTS = 0x1f1
export const LINUX_SYSSIZE = 0x1f4
export const LINUX_BOOT_FLAG = 0x1fe
export const LINUX_JUMP = 0x200
export const LINUX_HEADER = 0x202
export const LINUX_VERSION = 0x206
export const LINUX_KERNEL_VERSION = 0x20e
export const LINUX_TYPE_OF_LOADER = 0x210
export const LINUX_LOADFLAGS = 0x211
export const LINUX_CODE32_START = 0x214
export const LINUX_RAMDISK_IMAGE = 0x218
export const LINUX_RAMDISK_SIZE = 0x21c
export const LINUX_CMD_LINE_PTR = 0x228
export const LINUX_INITRD_ADDR_MAX = 0x22c
export const LINUX_KERNEL_ALIGNMENT = 0x230
export const LINUX_RELOCATABLE = 0x234
export const LINUX_XLOADFLAGS = 0x236
export const LINUX_CMDLINE_SIZE = 0x238
export const LINUX_PREF_ADDRESS = 0x258
export const LINUX_INIT_SIZE = 0x260

/** Offsets in boot_params, the "zero page". */
export const LINUX_ACPI_RSDP = 0x070
export const LINUX_E820_ENTRIES = 0x1e8
export const LINUX_E820_TABLE = 0x2d0

/** `HdrS`. */
export const LINUX_MAGIC = 0x53726448
/** loadflags: the kernel belongs at 1 MiB, not at 64 KiB. */
export const LINUX_LOADED_HIGH = 0x01
/** xloadflags: there is a 64-bit entry point, 0x200 behind the 32-bit one. */
export const LINUX_XLF_KERNEL_64 = 0x0001
/** type_of_loader: a loader without a number of its own. */
export const LINUX_LOADER_UNDEFINED = 0xff
/** Where the 64-bit entry lies, from the load address. */
export const LINUX_ENTRY64 = 0x200
/** Selectors the kernel is entered with: flat code and flat data. */
export const LINUX_BOOT_CS = 0x10
export const LINUX_BOOT_DS = 0x18

/** Where {@link loadLinux} puts things in the first 640 KiB: none of it is used any more once the kernel has its own. */
export const LINUX_GDT_AT = 0x1000
export const LINUX_BOOT_PARAMS_AT = 0x10000
export const LINUX_CMDLINE_AT = 0x20000
export const LINUX_PAGE_TABLES_AT = 0x80000
/** GDT: null, unused, code, data. */
export const LINUX_GDT_LIMIT: number = 4 * 8 - 1

const SECTOR = 512
const PAGE = 4096
const MIB = 0x100000
const TWO32 = 0x1_0000_0000
const BOOT_PARAMS_SIZE = 4096
/** The header must not run into what follows it in boot_params. */
const HEADER_END = 0x290
const E820_MAX = 128
/** Before protocol 2.06 kernels did not say how long a command line may be. */
const OLD_CMDLINE_SIZE = 255
/** Before protocol 2.03 kernels did not say how high an initrd may lie. */
const OLD_INITRD_MAX = 0x37ffffff

/** Memory as {@link loadLinux} needs it. */
export interface LinuxMemory extends PhysicalBus {
  /** Writes many bytes at once. */
  writeBytes(address: number, bytes: Uint8Array): void
}

/** What a kernel image says about itself. */
export interface LinuxImage {
  /** Boot protocol, 0x020F for 2.15. */
  readonly protocol: number
  /** The kernel's own version string, empty when it has none. */
  readonly version: string
  /** Bytes of boot sector and real-mode code before the protected-mode kernel. */
  readonly setupSize: number
  /** Whether it can run at other addresses than {@link preferred}. */
  readonly relocatable: boolean
  /** Alignment that a relocatable kernel needs; 1 when it does not matter. */
  readonly alignment: number
  /** Where it likes to be loaded. */
  readonly preferred: number
  /** Bytes of memory from its run-time start that it needs before it can look for memory itself. */
  readonly initSize: number
  /** The longest command line, in bytes. */
  readonly commandLineSize: number
  /** The highest address of an initrd's last byte. */
  readonly initrdMax: number
  /** Whether it can be entered in 64-bit mode. */
  readonly has64: boolean
}

/** How to start a kernel. */
export interface LinuxOptions {
  readonly memoryMap: readonly MemoryMapEntry[]
  readonly commandLine?: string
  readonly initrd?: Uint8Array
  /** Entry in protected mode (default) or in 64-bit mode. */
  readonly entry?: '32' | '64'
  /** Physical address of ACPI's root pointer, when it is known; else the kernel searches for it. */
  readonly acpiRsdp?: number
}

/** How the processor has to start. */
export interface LinuxEntry {
  /** Instruction pointer, flat. */
  readonly entry: number
  /** For ESI or RSI: the address of boot_params. */
  readonly bootParams: number
  readonly gdtBase: number
  readonly gdtLimit: number
  /** With a 64-bit entry: the page tables, which map the first 4 GiB to themselves. */
  readonly cr3: number | undefined
  /** Where the kernel and the initrd lie. */
  readonly kernelAt: number
  readonly initrdAt: number | undefined
}

function bad(message: string): never {
  throw new VirtkitError('bad-image', `Linux kernel: ${message}`)
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

function viewOf(image: Uint8Array): DataView {
  return new DataView(image.buffer, image.byteOffset, image.byteLength)
}

/** Whether the image has the marks of a Linux kernel that follows the boot protocol 2.00 or later. */
export function isLinux(image: Uint8Array): boolean {
  const view = viewOf(image)
  return (
    image.length >= LINUX_VERSION + 2 &&
    view.getUint16(LINUX_BOOT_FLAG, true) === 0xaa55 &&
    view.getUint32(LINUX_HEADER, true) === LINUX_MAGIC
  )
}

/** Reads the setup header. Throws `bad-image` when the image is no bzImage, is truncated or contradicts itself. */
export function parseLinux(image: Uint8Array): LinuxImage {
  if (!isLinux(image)) bad("no setup header: 55 AA at 0x1fe and 'HdrS' at 0x202 were expected")
  const view = viewOf(image)
  const protocol = view.getUint16(LINUX_VERSION, true)
  const name = `${protocol >>> 8}.${String(protocol & 0xff).padStart(2, '0')}`
  if (protocol < 0x0202) bad(`boot protocol ${name} is older than 2.02`)
  const headerEnd = LINUX_HEADER + image[LINUX_JUMP + 1]!
  const needed =
    protocol >= 0x020a ? LINUX_INIT_SIZE + 4 : protocol >= 0x0206 ? 0x23c : protocol >= 0x0205 ? 0x238 : 0x230
  if (image.length < needed) bad(`the image of ${image.length} bytes ends inside the setup header`)
  if (headerEnd < needed) bad(`the setup header ends at ${hex(headerEnd)}, protocol ${name} needs ${hex(needed)}`)
  if ((image[LINUX_LOADFLAGS]! & LINUX_LOADED_HIGH) === 0) bad('a zImage, which belongs below 1 MiB, is not supported')
  const setupSize = ((image[LINUX_SETUP_SECTS] || 4) + 1) * SECTOR
  const body = image.length - setupSize
  // Since 2.04 the size is trustworthy; it counts units of 16 bytes, rounded up.
  const size = protocol >= 0x0204 ? view.getUint32(LINUX_SYSSIZE, true) * 16 : 16
  if (body <= 0 || body + 15 < size) {
    bad(`the image is truncated: ${setupSize + size} bytes were expected, got ${image.length}`)
  }
  const relocatable = protocol >= 0x0205 && image[LINUX_RELOCATABLE] !== 0
  const alignment = relocatable ? view.getUint32(LINUX_KERNEL_ALIGNMENT, true) : 1
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0) bad(`its alignment ${hex(alignment)} is no power of two`)
  const preferred =
    protocol >= 0x020a
      ? view.getUint32(LINUX_PREF_ADDRESS, true) + view.getUint32(LINUX_PREF_ADDRESS + 4, true) * TWO32
      : view.getUint32(LINUX_CODE32_START, true)
  const versionAt = view.getUint16(LINUX_KERNEL_VERSION, true) + LINUX_JUMP
  return {
    protocol,
    version: versionAt === LINUX_JUMP || versionAt >= setupSize ? '' : textAt(image, versionAt),
    setupSize,
    relocatable,
    alignment,
    preferred,
    initSize: protocol >= 0x020a ? view.getUint32(LINUX_INIT_SIZE, true) : 0,
    commandLineSize: protocol >= 0x0206 ? view.getUint32(LINUX_CMDLINE_SIZE, true) : OLD_CMDLINE_SIZE,
    initrdMax: protocol >= 0x0203 ? view.getUint32(LINUX_INITRD_ADDR_MAX, true) : OLD_INITRD_MAX,
    has64: protocol >= 0x020c && (view.getUint16(LINUX_XLOADFLAGS, true) & LINUX_XLF_KERNEL_64) !== 0,
  }
}

function textAt(image: Uint8Array, at: number): string {
  const end = image.indexOf(0, at)
  return new TextDecoder('latin1').decode(image.subarray(at, end < 0 ? at : Math.min(end, at + 256)))
}

/** RAM below 4 GiB, the highest first. */
function ramRanges(map: readonly MemoryMapEntry[]): { from: number; to: number }[] {
  return map
    .filter((range) => range.type === 1 && range.base < TWO32)
    .map((range) => ({ from: range.base, to: Math.min(range.base + range.size, TWO32) }))
    .sort((a, b) => b.from - a.from)
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

/** Chooses where the kernel goes, and says which memory it then needs for itself. */
function placeKernel(
  kernel: LinuxImage,
  size: number,
  map: readonly MemoryMapEntry[],
): { at: number; from: number; to: number } {
  const ranges = ramRanges(map)
  const need = (at: number): { at: number; from: number; to: number } => {
    // A relocatable kernel never runs below the address it was made for: it moves itself there.
    const start = kernel.relocatable
      ? Math.max(alignUp(at, kernel.alignment), alignUp(kernel.preferred, kernel.alignment))
      : kernel.preferred
    return { at, from: Math.min(at, start), to: Math.max(at + size, start + kernel.initSize) }
  }
  const fits = (place: { at: number; from: number; to: number }): boolean =>
    ranges.some((range) => place.from >= range.from && place.to <= range.to)
  const preferred = need(kernel.preferred)
  if (kernel.preferred >= MIB && fits(preferred)) return preferred
  if (kernel.relocatable) {
    for (const range of [...ranges].reverse()) {
      if (range.to <= MIB) continue
      const place = need(alignUp(Math.max(range.from, MIB), kernel.alignment))
      if (fits(place)) return place
    }
  }
  return bad(
    `it wants bytes ${hex(preferred.from)}–${hex(preferred.to - 1)}, which are not all RAM of this machine: give it more memory`,
  )
}

function placeInitrd(
  kernel: LinuxImage,
  size: number,
  map: readonly MemoryMapEntry[],
  taken: { from: number; to: number },
): number {
  const limit = kernel.initrdMax + 1
  let largest = 0
  for (const range of ramRanges(map)) {
    if (range.to <= MIB) continue
    // Above the kernel if there is room, else below.
    for (const part of [
      { from: Math.max(range.from, MIB, taken.to), to: Math.min(range.to, limit) },
      { from: Math.max(range.from, MIB), to: Math.min(range.to, limit, taken.from) },
    ]) {
      largest = Math.max(largest, part.to - part.from)
      const at = Math.floor((part.to - size) / PAGE) * PAGE
      if (at >= part.from) return at
    }
  }
  throw new VirtkitError(
    'bad-image',
    `initial RAM disk: its ${size} bytes do not fit beside the kernel, where ${Math.max(0, largest)} are free: give the machine more memory`,
  )
}

/**
 * Loads a bzImage, its command line and its initial RAM disk into `memory`, with the tables that the entry needs, and says how the processor has
 * to start: interrupts off, segments from {@link LINUX_BOOT_CS} and {@link LINUX_BOOT_DS}. The display is announced as VGA in its text mode of 80 by 25. Throws `bad-image` when the
 * kernel is malformed or does not fit the machine, `bad-argument` for a command line that is too long, and `unsupported` for a 64-bit entry that the kernel lacks;
 * memory may then be partly written.
 */
export function loadLinux(memory: LinuxMemory, image: Uint8Array, options: LinuxOptions): LinuxEntry {
  const kernel = parseLinux(image)
  const entry = options.entry ?? '32'
  if (entry !== '32' && entry !== '64') throw new VirtkitError('bad-argument', `there is no entry '${String(entry)}'`)
  if (entry === '64' && !kernel.has64) throw new VirtkitError('unsupported', 'Linux kernel: it has no 64-bit entry')
  const map = options.memoryMap
  const low = map.find((range) => range.type === 1 && range.base === 0)
  if (low === undefined || low.size < LINUX_PAGE_TABLES_AT + 0x10000) bad('576 KiB of RAM at address 0 were expected')
  const line = encodeCommandLine(options.commandLine ?? '', kernel)
  const body = image.subarray(kernel.setupSize)
  const place = placeKernel(kernel, body.length, map)
  const { initrd } = options
  const initrdAt =
    initrd === undefined || initrd.length === 0 ? undefined : placeInitrd(kernel, initrd.length, map, place)

  memory.writeBytes(place.at, body)
  if (initrdAt !== undefined) memory.writeBytes(initrdAt, initrd!)
  memory.writeBytes(LINUX_CMDLINE_AT, line)
  const params = bootParams(image, map)
  const view = viewOf(params)
  params[LINUX_TYPE_OF_LOADER] = LINUX_LOADER_UNDEFINED
  view.setUint32(LINUX_CODE32_START, place.at, true)
  view.setUint32(LINUX_CMD_LINE_PTR, LINUX_CMDLINE_AT, true)
  view.setUint32(LINUX_RAMDISK_IMAGE, initrdAt ?? 0, true)
  view.setUint32(LINUX_RAMDISK_SIZE, initrdAt === undefined ? 0 : initrd!.length, true)
  view.setUint32(LINUX_ACPI_RSDP, options.acpiRsdp ?? 0, true)
  memory.writeBytes(LINUX_BOOT_PARAMS_AT, params)

  memory.writeBytes(LINUX_GDT_AT, gdt(entry === '64'))
  const cr3 = entry === '64' ? identityTables(memory) : undefined
  return {
    entry: entry === '64' ? place.at + LINUX_ENTRY64 : place.at,
    bootParams: LINUX_BOOT_PARAMS_AT,
    gdtBase: LINUX_GDT_AT,
    gdtLimit: LINUX_GDT_LIMIT,
    cr3,
    kernelAt: place.at,
    initrdAt,
  }
}

function encodeCommandLine(text: string, kernel: LinuxImage): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\0`)
  const room = Math.min(kernel.commandLineSize, LINUX_PAGE_TABLES_AT - LINUX_CMDLINE_AT - 1)
  if (bytes.indexOf(0) !== bytes.length - 1) {
    throw new VirtkitError('bad-argument', 'a command line cannot hold a zero character')
  }
  if (bytes.length - 1 > room) {
    throw new VirtkitError(
      'bad-argument',
      `the command line has ${bytes.length - 1} bytes; this kernel takes at most ${room}`,
    )
  }
  return bytes
}

/** The zero page: what real-mode code of the kernel would have asked the firmware for. */
function bootParams(image: Uint8Array, map: readonly MemoryMapEntry[]): Uint8Array {
  const params = new Uint8Array(BOOT_PARAMS_SIZE)
  const view = viewOf(params)
  // screen_info: video mode 3 of a VGA with 256 KiB, cursor at the top left, characters of 16 rows.
  params[0x06] = 3
  params[0x07] = 80
  view.setUint16(0x0a, 3, true)
  params[0x0e] = 25
  params[0x0f] = 1
  view.setUint16(0x10, 16, true)
  const extended = map.find((range) => range.type === 1 && range.base === MIB)
  const kib = Math.floor((extended?.size ?? 0) / 1024)
  view.setUint16(0x02, Math.min(kib, 0xfc00), true)
  view.setUint32(0x1e0, kib, true)
  const end = Math.min(LINUX_HEADER + image[LINUX_JUMP + 1]!, HEADER_END, image.length)
  params.set(image.subarray(LINUX_SETUP_SECTS, end), LINUX_SETUP_SECTS)
  if (map.length > E820_MAX) {
    throw new VirtkitError('bad-argument', `a memory map has at most ${E820_MAX} ranges; got ${map.length}`)
  }
  params[LINUX_E820_ENTRIES] = map.length
  map.forEach((range, n) => {
    const at = LINUX_E820_TABLE + 20 * n
    put64(view, at, range.base)
    put64(view, at + 8, range.size)
    view.setUint32(at + 16, range.type, true)
  })
  return params
}

function put64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO32, true)
  view.setUint32(at + 4, Math.floor(value / TWO32), true)
}

/** Flat descriptors at 10h and 18h. */
function gdt(long: boolean): Uint8Array {
  const table = new Uint8Array(LINUX_GDT_LIMIT + 1)
  const view = viewOf(table)
  view.setUint32(LINUX_BOOT_CS, 0x0000ffff, true)
  view.setUint32(LINUX_BOOT_CS + 4, long ? 0x00af9b00 : 0x00cf9b00, true)
  view.setUint32(LINUX_BOOT_DS, 0x0000ffff, true)
  view.setUint32(LINUX_BOOT_DS + 4, 0x00cf9300, true)
  return table
}

/** Maps the first 4 GiB to themselves with pages of 2 MiB; returns the root. */
function identityTables(memory: LinuxMemory): number {
  const PRESENT_WRITABLE = 0x03
  const LARGE = 0x80
  const tables = new Uint8Array(6 * PAGE)
  const view = viewOf(tables)
  view.setUint32(0, (LINUX_PAGE_TABLES_AT + PAGE) | PRESENT_WRITABLE, true)
  for (let n = 0; n < 4; n++) {
    view.setUint32(PAGE + 8 * n, (LINUX_PAGE_TABLES_AT + (2 + n) * PAGE) | PRESENT_WRITABLE, true)
  }
  for (let n = 0; n < 2048; n++) {
    view.setUint32(2 * PAGE + 8 * n, n * 0x200000 + (PRESENT_WRITABLE | LARGE), true)
  }
  memory.writeBytes(LINUX_PAGE_TABLES_AT, tables)
  return LINUX_PAGE_TABLES_AT
}
