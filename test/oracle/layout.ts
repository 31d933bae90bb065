/**
 * What the processor of the oracle saw in memory, and what the library's processor is shown: the same pages at the same linear addresses, the
 * same GDT and LDT. `capture.c` maps what {@link captureHead} describes.
 */
import { Random } from './random.js'

export const PAGE = 4096
/** Bytes of the data pages: two that can be written, one that cannot. */
export const DATA_BYTES: number = 3 * PAGE
/** Pages of a region, from its start: nothing, data 0, data 1, nothing, data 2 (read only), nothing. */
export const REGION_PAGES: readonly (number | undefined)[] = [undefined, 0, 1, undefined, 2, undefined]

/** Where the data pages can be seen: below 64 KiB, below 2 GiB, and beyond 32 bits. */
export const REGION_16 = 0x8000
export const REGION_32 = 0x7001_0000
export const REGION_64 = 0x5123_4568_0000
/** Where the code page can be seen: for 16-bit code, below 2 GiB, and beyond 32 bits. */
export const CODE_16 = 0x4000
export const CODE_32 = 0x7000_0000
export const CODE_64 = 0x5123_4567_0000

/** Selectors of Linux' GDT. */
export const USER32_CS = 0x23
export const USER_DS = 0x2b
export const USER_CS = 0x33

/** High and low half of the descriptors that Linux keeps in its GDT, by index; what is missing is zero. Entry 8 is a 16-byte TSS. */
export const GDT: readonly (readonly [index: number, low: number, high: number])[] = [
  [1, 0x0000ffff, 0x00cf9b00],
  [2, 0x0000ffff, 0x00af9b00],
  [3, 0x0000ffff, 0x00cf9300],
  [4, 0x0000ffff, 0x00cffb00],
  [5, 0x0000ffff, 0x00cff300],
  [6, 0x0000ffff, 0x00affb00],
]
export const GDT_LIMIT = 0x7f

export interface LdtEntry {
  readonly base: number
  readonly limit: number
  readonly is32: boolean
  /** 0 data, 1 data that grows down, 2 code. */
  readonly contents: 0 | 1 | 2
  /** Data that cannot be written, code that cannot be read. */
  readonly restricted: boolean
  readonly pages: boolean
  readonly absent: boolean
}

function entry(base: number, limit: number, options: Partial<LdtEntry> = {}): LdtEntry {
  return { base, limit, is32: true, contents: 0, restricted: false, pages: false, absent: false, ...options }
}

/** Flat from a base that is not zero. */
export const LDT_OFFSET = 0x07
/** Read only. */
export const LDT_READ_ONLY = 0x0f
/** Grows down, from the last bytes of the first writable page up to 4 GiB. */
export const LDT_DOWN = 0x17
/** The two writable pages, less 64 bytes at either end. */
export const LDT_SMALL = 0x1f
/** Code that can be read, 32 bits. */
export const LDT_CODE = 0x27
/** Code that can only be executed. */
export const LDT_EXECUTE = 0x2f
export const LDT_ABSENT = 0x37
/** 16-bit code: the code page at {@link CODE_16}. */
export const LDT_CODE16 = 0x3f
/** 16-bit data and stack. */
export const LDT_DATA16 = 0x47
/** Grows down within 64 KiB. */
export const LDT_DOWN16 = 0x4f

export const LDT: readonly LdtEntry[] = [
  entry(0x12340, 0xfffff, { pages: true }),
  entry(0, 0xfffff, { pages: true, restricted: true }),
  entry(0, Math.floor(REGION_32 / PAGE) + 1, { pages: true, contents: 1 }),
  entry(REGION_32 + PAGE + 64, 2 * PAGE - 129),
  entry(0, 0xfffff, { pages: true, contents: 2 }),
  entry(0, 0xfffff, { pages: true, contents: 2, restricted: true }),
  entry(0, 0xfffff, { pages: true, absent: true }),
  entry(CODE_32 - CODE_16, 0xffff, { is32: false, contents: 2 }),
  entry(REGION_32 - REGION_16, 0xffff, { is32: false }),
  entry(REGION_32 - REGION_16, REGION_16 + 2 * PAGE - 1, { is32: false, contents: 1 }),
]

/** The descriptor that Linux' modify_ldt makes of an entry: user privilege, accessed, available bit set. */
export function ldtDescriptor(e: LdtEntry): readonly [low: number, high: number] {
  const type = 0xf0 | (e.absent ? -0x80 : 0) | 1 | (e.restricted ? 0 : 2) | (e.contents << 2)
  const access = e.absent ? 0x70 | 1 | (e.restricted ? 0 : 2) | (e.contents << 2) : type
  const flags = (e.pages ? 8 : 0) | (e.is32 ? 4 : 0) | 1
  const low = ((e.base & 0xffff) << 16) | (e.limit & 0xffff)
  const high =
    (e.base & 0xff000000) | (flags << 20) | (e.limit & 0xf0000) | ((access & 0xff) << 8) | ((e.base >>> 16) & 0xff)
  return [low >>> 0, high >>> 0]
}

/** The data pages before each case. */
export function pristine(): Uint8Array {
  const random = new Random(0x0dac1e)
  const bytes = new Uint8Array(DATA_BYTES)
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.next() >>> 24
  return bytes
}

/** Offset in the data pages of an offset in a region, or -1 where nothing is mapped. */
export function dataOffset(regionOffset: number): number {
  const page = REGION_PAGES[Math.floor(regionOffset / PAGE)]
  return page === undefined ? -1 : page * PAGE + (regionOffset % PAGE)
}

/** The head of the capture program's input. */
export function captureHead(cases: number, bits: number, floatState: boolean): Uint8Array {
  const bytes = new Uint8Array(20 + 32 + 32 + 16 * 12 + DATA_BYTES)
  const view = new DataView(bytes.buffer)
  const regions = bits === 64 ? [REGION_16, REGION_32, REGION_64] : [REGION_16, REGION_32]
  const codes = bits === 64 ? [CODE_16, CODE_32, CODE_64] : [CODE_16, CODE_32]
  view.setUint32(0, cases, true)
  view.setUint32(4, regions.length, true)
  view.setUint32(8, codes.length, true)
  view.setUint32(12, LDT.length, true)
  view.setUint32(16, floatState ? 1 : 0, true)
  for (const [i, at] of regions.entries()) view.setBigUint64(20 + i * 8, BigInt(at), true)
  for (const [i, at] of codes.entries()) view.setBigUint64(52 + i * 8, BigInt(at), true)
  for (const [i, e] of LDT.entries()) {
    const at = 84 + i * 12
    view.setUint32(at, e.base, true)
    view.setUint32(at + 4, e.limit, true)
    const bits =
      (e.is32 ? 1 : 0) | (e.contents << 1) | (e.restricted ? 8 : 0) | (e.pages ? 16 : 0) | (e.absent ? 32 : 0)
    view.setUint32(at + 8, bits, true)
  }
  bytes.set(pristine(), 84 + 16 * 12)
  return bytes
}
