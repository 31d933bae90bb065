/**
 * Loads Multiboot 1 kernels: ELF32 images, or flat ones with address fields. Source: Multiboot Specification version 0.6.96.
 */

import { type PhysicalBus, VirtkitError } from '../contracts/index.js'

export const MULTIBOOT_HEADER_MAGIC = 0x1badb002
/** EAX when the kernel starts. */
export const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002

/** Header flags. */
export const MULTIBOOT_PAGE_ALIGN = 0x00000001
export const MULTIBOOT_MEMORY_INFO = 0x00000002
export const MULTIBOOT_VIDEO_MODE = 0x00000004
export const MULTIBOOT_AOUT_KLUDGE = 0x00010000
/** Flags 0–15 must be understood; these are. */
const UNDERSTOOD = MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO | MULTIBOOT_VIDEO_MODE

/** Information flags. */
const INFO_MEMORY = 0x001
const INFO_CMDLINE = 0x004
const INFO_MODS = 0x008
const INFO_MMAP = 0x040
const INFO_LOADER = 0x200

/** A range of the memory map: type 1 is available RAM. */
export interface MemoryMapEntry {
  readonly base: number
  readonly size: number
  /** 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 bad. */
  readonly type: number
}

/** A file that is loaded beside the kernel. */
export interface MultibootModule {
  readonly bytes: Uint8Array
  readonly commandLine: string
}

/** What a boot loader tells the kernel. */
export interface MultibootOptions {
  readonly commandLine?: string
  readonly modules?: readonly MultibootModule[]
  readonly memoryMap: readonly MemoryMapEntry[]
  /** Name in the information structure. */
  readonly loaderName?: string
}

/** Registers to start the kernel with. */
export interface MultibootEntry {
  readonly entry: number
  readonly eax: number
  readonly ebx: number
}

interface Header {
  readonly at: number
  readonly flags: number
}

function findHeader(image: DataView): Header | undefined {
  const end = Math.min(8192, image.byteLength) - 12
  for (let at = 0; at <= end; at += 4) {
    if (image.getUint32(at, true) !== MULTIBOOT_HEADER_MAGIC) continue
    const flags = image.getUint32(at + 4, true)
    if (((MULTIBOOT_HEADER_MAGIC + flags + image.getUint32(at + 8, true)) & 0xffffffff) === 0) return { at, flags }
  }
  return undefined
}

/** Whether the image carries a Multiboot 1 header within its first 8 KiB. */
export function isMultiboot(image: Uint8Array): boolean {
  return findHeader(new DataView(image.buffer, image.byteOffset, image.byteLength)) !== undefined
}

function bad(message: string): never {
  throw new VirtkitError('bad-image', `multiboot kernel: ${message}`)
}

/** Writes `bytes` and `zeros` zero bytes at `address`, all of which must be RAM of the map. */
function place(
  memory: PhysicalBus,
  map: readonly MemoryMapEntry[],
  address: number,
  bytes: Uint8Array,
  zeros: number,
): number {
  const end = address + bytes.length + zeros
  const inside = map.some((r) => r.type === 1 && address >= r.base && end <= r.base + r.size)
  if (!inside && end > address) {
    bad(`it wants bytes ${hex(address)}–${hex(end - 1)}, which are not RAM of this machine`)
  }
  for (let i = 0; i < bytes.length; i++) memory.write8(address + i, bytes[i]!)
  for (let i = 0; i < zeros; i++) memory.write8(address + bytes.length + i, 0)
  return end
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** Loads the ELF32 program segments; returns entry point and the end of what was loaded. */
function loadElf(
  memory: PhysicalBus,
  map: readonly MemoryMapEntry[],
  image: Uint8Array,
): { entry: number; end: number } {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (image.length < 52) bad('the ELF header is truncated')
  if (image[4] !== 1 || image[5] !== 1) bad('its ELF file is not 32-bit little-endian')
  if (view.getUint16(18, true) !== 3) bad('its ELF file is not for the 80386')
  const entry = view.getUint32(24, true)
  const table = view.getUint32(28, true)
  const size = view.getUint16(42, true)
  const count = view.getUint16(44, true)
  if (count === 0) bad('its ELF file has no program headers')
  if (size < 32 || table + size * count > image.length) bad('the ELF program headers are truncated')
  let end = 0
  let physicalEntry = -1
  const taken: { from: number; to: number; n: number }[] = []
  for (let n = 0; n < count; n++) {
    const at = table + n * size
    if (view.getUint32(at, true) !== 1) continue
    const offset = view.getUint32(at + 4, true)
    const virtual = view.getUint32(at + 8, true)
    const physical = view.getUint32(at + 12, true)
    const fileSize = view.getUint32(at + 16, true)
    const memorySize = view.getUint32(at + 20, true)
    if (offset + fileSize > image.length) bad(`segment ${n} is truncated`)
    if (memorySize < fileSize) bad(`segment ${n} is larger in the file than in memory`)
    const clash = taken.find((other) => physical < other.to && other.from < physical + memorySize)
    if (clash) bad(`segments ${clash.n} and ${n} overlap in memory`)
    taken.push({ from: physical, to: physical + memorySize, n })
    if (entry >= virtual && entry < virtual + memorySize) physicalEntry = entry - virtual + physical
    const bytes = image.subarray(offset, offset + fileSize)
    end = Math.max(end, place(memory, map, physical, bytes, memorySize - fileSize))
  }
  if (end === 0) bad('its ELF file has nothing to load')
  if (physicalEntry < 0) bad(`its entry point ${hex(entry)} lies in no segment`)
  return { entry: physicalEntry, end }
}

function loadFlat(
  memory: PhysicalBus,
  map: readonly MemoryMapEntry[],
  image: Uint8Array,
  header: Header,
): { entry: number; end: number } {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (header.at + 32 > image.length) bad('the address fields are truncated')
  const field = (n: number): number => view.getUint32(header.at + 12 + 4 * n, true)
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = [field(0), field(1), field(2), field(3), field(4)]
  if (loadAddress > headerAddress) bad('load_addr lies above header_addr')
  const start = header.at - (headerAddress - loadAddress)
  if (start < 0) bad('load_addr lies before the start of the file')
  const length = loadEnd === 0 ? image.length - start : loadEnd - loadAddress
  if (length < 0) bad('load_end_addr lies below load_addr')
  if (start + length > image.length) bad('the image is shorter than load_end_addr says')
  const loaded = loadAddress + length
  if (bssEnd !== 0 && bssEnd < loaded) bad('bss_end_addr lies below the end of the data')
  const zeros = bssEnd === 0 ? 0 : bssEnd - loaded
  return { entry, end: place(memory, map, loadAddress, image.subarray(start, start + length), zeros) }
}

/**
 * Loads `image` and its modules into `memory` and writes the information structure. Throws a `VirtkitError` with code `bad-image` when the image
 * is not a Multiboot kernel, is truncated, asks for something unknown or does not fit the memory map; memory may then be partly written.
 */
export function loadMultiboot(memory: PhysicalBus, image: Uint8Array, options: MultibootOptions): MultibootEntry {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const header = findHeader(view)
  if (header === undefined) bad('no Multiboot header in the first 8 KiB')
  const unknown = header.flags & 0xffff & ~UNDERSTOOD
  if (unknown !== 0) bad(`its header requires unknown features (flags ${hex(unknown)})`)
  const map = options.memoryMap
  const isElf = image.length >= 4 && view.getUint32(0, false) === 0x7f454c46
  const loaded =
    header.flags & MULTIBOOT_AOUT_KLUDGE || !isElf
      ? header.flags & MULTIBOOT_AOUT_KLUDGE
        ? loadFlat(memory, map, image, header)
        : bad('it is neither ELF nor does its header carry addresses')
      : loadElf(memory, map, image)

  let next = align(Math.max(loaded.end, 0x100000))
  const modules = (options.modules ?? []).map((module) => {
    const start = next
    next = align(place(memory, map, start, module.bytes, 0))
    return { start, end: start + module.bytes.length, commandLine: module.commandLine }
  })

  // The information structure and what it points at follow the modules.
  const info = next
  let heap = info + 120
  const text = (value: string): number => {
    const at = heap
    const bytes = new TextEncoder().encode(value)
    heap = place(memory, map, at, bytes, 1)
    return at
  }
  place(memory, map, info, new Uint8Array(0), 120)
  const lower = map.find((r) => r.type === 1 && r.base === 0)
  const upper = map.find((r) => r.type === 1 && r.base === 0x100000)
  memory.write32(info, INFO_MEMORY | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_LOADER)
  memory.write32(info + 4, Math.floor(Math.min(lower?.size ?? 0, 0xa0000) / 1024))
  memory.write32(info + 8, Math.floor((upper?.size ?? 0) / 1024))
  memory.write32(info + 16, text(options.commandLine ?? ''))
  memory.write32(info + 64, text(options.loaderName ?? 'virtkit'))
  const moduleTexts = modules.map((module) => text(module.commandLine))
  heap = (heap + 3) & ~3
  memory.write32(info + 20, modules.length)
  memory.write32(info + 24, heap)
  modules.forEach((module, n) => {
    place(memory, map, heap, new Uint8Array(0), 16)
    memory.write32(heap, module.start)
    memory.write32(heap + 4, module.end)
    memory.write32(heap + 8, moduleTexts[n]!)
    heap += 16
  })
  memory.write32(info + 44, map.length * 24)
  memory.write32(info + 48, heap)
  for (const entry of map) {
    place(memory, map, heap, new Uint8Array(0), 24)
    memory.write32(heap, 20)
    write64(memory, heap + 4, entry.base)
    write64(memory, heap + 12, entry.size)
    memory.write32(heap + 20, entry.type)
    heap += 24
  }
  return { entry: loaded.entry, eax: MULTIBOOT_BOOTLOADER_MAGIC, ebx: info }
}

function align(address: number): number {
  return Math.ceil(address / 4096) * 4096
}

function write64(memory: PhysicalBus, address: number, value: number): void {
  memory.write32(address, value % 4294967296)
  memory.write32(address + 4, Math.floor(value / 4294967296))
}
