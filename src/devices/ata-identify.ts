import { ATA_MAX_MULTIPLE } from './ata-registers.js'

/** Sectors per track and heads of the default translation. */
export interface AtaGeometry {
  readonly cylinders: number
  readonly heads: number
  readonly sectors: number
}

/** What IDENTIFY DEVICE tells of a disk. */
export interface AtaIdentity {
  readonly model: string
  readonly serial: string
  readonly firmware: string
  /** Sectors of 512 bytes. */
  readonly capacity: number
  readonly geometry: AtaGeometry
  /** The translation that INITIALIZE DEVICE PARAMETERS chose. */
  readonly current: AtaGeometry
  /** Sectors per block of READ MULTIPLE; 0 for off. */
  readonly multiple: number
  /** A bus master is there. */
  readonly dma: boolean
  /** Transfer mode as SET FEATURES encodes it: 0x08 | n for PIO, 0x20 | n for multiword DMA, 0x40 | n for Ultra DMA. */
  readonly transferMode: number
  readonly writeCache: boolean
  readonly lookAhead: boolean
  /** Device 1 on its cable. */
  readonly second: boolean
}

/** Most sectors that a 28-bit command can address. */
export const ATA_LBA28_LIMIT = 0x0fffffff

/** The translation a disk of `capacity` sectors starts with: 16 heads and 63 sectors, at most 16383 cylinders. */
export function defaultGeometry(capacity: number): AtaGeometry {
  const cylinders = Math.min(16383, Math.max(1, Math.floor(capacity / (16 * 63))))
  return { cylinders, heads: 16, sectors: 63 }
}

/** Writes an ATA string: padded with spaces, the first character of each pair in the high byte of the word. */
export function putAtaString(block: Uint8Array, word: number, words: number, text: string): void {
  for (let i = 0; i < words * 2; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x20
    block[(word * 2 + i) ^ 1] = code >= 0x20 && code < 0x7f ? code : 0x20
  }
}

/** Sets word 255: the signature and the checksum that makes all bytes sum to 0. */
export function putAtaChecksum(block: Uint8Array): void {
  block[510] = 0xa5
  block[511] = 0
  let sum = 0
  for (let i = 0; i < 511; i++) sum += block[i]!
  block[511] = -sum & 0xff
}

/** Fills the first 512 bytes of `block` with IDENTIFY DEVICE data. Source: ATA/ATAPI-6, "IDENTIFY DEVICE". */
export function identifyDisk(block: Uint8Array, identity: AtaIdentity): void {
  block.fill(0, 0, 512)
  const put = (word: number, value: number): void => {
    block[word * 2] = value
    block[word * 2 + 1] = value >>> 8
  }
  const put32 = (word: number, value: number): void => {
    put(word, value & 0xffff)
    put(word + 1, value >>> 16)
  }
  const { geometry, current, transferMode } = identity
  const mode = (kind: number): number => ((transferMode & 0xf8) === kind ? 1 << (transferMode & 7) : 0)
  put(0, 0x0040) // fixed disk
  put(1, geometry.cylinders)
  put(3, geometry.heads)
  put(6, geometry.sectors)
  putAtaString(block, 10, 10, identity.serial)
  put(20, 3) // dual-ported buffer with read caching, of older standards
  put(21, 512) // buffer of 256 KiB, likewise
  put(22, 4)
  putAtaString(block, 23, 4, identity.firmware)
  putAtaString(block, 27, 20, identity.model)
  put(47, 0x8000 | ATA_MAX_MULTIPLE)
  put(48, 1) // 32-bit data port, of older standards
  put(49, 0x0e00 | (identity.dma ? 0x0100 : 0)) // IORDY, may be disabled; LBA; DMA
  put(50, 0x4000)
  put(51, 0x0200) // PIO mode 2
  put(52, 0x0200)
  put(53, 0x0007) // words 54–58, 64–70 and 88 are valid
  put(54, current.cylinders)
  put(55, current.heads)
  put(56, current.sectors)
  put32(57, Math.min(current.cylinders * current.heads * current.sectors, identity.capacity))
  put(59, identity.multiple > 0 ? 0x0100 | identity.multiple : 0)
  put32(60, Math.min(identity.capacity, ATA_LBA28_LIMIT))
  put(63, identity.dma ? 0x0007 | (mode(0x20) << 8) : 0)
  put(64, 0x0003) // PIO modes 3 and 4
  for (let word = 65; word <= 68; word++) put(word, 120) // cycle times in nanoseconds
  put(80, 0x007e) // ATA-1 to ATA/ATAPI-6
  put(81, 0x0019) // T13 1410D revision 3a
  put(82, 0x7068) // NOP, READ and WRITE BUFFER, look-ahead, write cache, power management
  put(83, 0x7400) // FLUSH CACHE (EXT), 48-bit addresses
  put(84, 0x4000)
  put(85, 0x7008 | (identity.writeCache ? 0x20 : 0) | (identity.lookAhead ? 0x40 : 0))
  put(86, 0x3400)
  put(87, 0x4000)
  put(88, identity.dma ? 0x003f | (mode(0x40) << 8) : 0)
  put(93, identity.second ? 0x6b00 : 0x600b) // 80-wire cable, device number by jumper, diagnostics passed
  const high = Math.floor(identity.capacity / 2 ** 32)
  put32(100, identity.capacity >>> 0)
  put32(102, high)
  putAtaChecksum(block)
}
