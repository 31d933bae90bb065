/**
 * Writes FAT16 file systems with long names: just enough to put files on a bootable disk without any tool of the host.
 * Source: Microsoft Extensible Firmware Initiative FAT32 File System Specification, "FAT: General Overview of On-Disk Format".
 */

const SECTOR = 512
const SECTORS_PER_CLUSTER = 4
const CLUSTER = SECTOR * SECTORS_PER_CLUSTER
const ROOT_ENTRIES = 512
const ATTR_DIRECTORY = 0x10
const ATTR_ARCHIVE = 0x20
const ATTR_LONG_NAME = 0x0f
/** FAT16 is recognised by its number of clusters alone. */
const MIN_CLUSTERS = 4085
const MAX_CLUSTERS = 65524

interface Directory {
  readonly files: Map<string, Uint8Array>
  readonly directories: Map<string, Directory>
}

function emptyDirectory(): Directory {
  return { files: new Map(), directories: new Map() }
}

/** The sum over a short name that ties long entries to it. */
function checksum(short: Uint8Array): number {
  return short.reduce((sum, byte) => ((((sum & 1) << 7) | (sum >> 1)) + byte) & 0xff, 0)
}

/** An 8.3 name that no other file of the directory has: letters that carry over, then `~n`. */
function shortName(name: string, taken: Set<string>): Uint8Array {
  const dot = name.lastIndexOf('.')
  const clean = (text: string): string => text.toUpperCase().replace(/[^A-Z0-9_-]/g, '_')
  const base = clean(dot > 0 ? name.slice(0, dot) : name)
  const extension = clean(dot > 0 ? name.slice(dot + 1) : '').slice(0, 3)
  for (let n = 0; ; n++) {
    const tail = n === 0 ? '' : `~${n}`
    const short =
      base
        .slice(0, 8 - tail.length)
        .concat(tail)
        .padEnd(8) + extension.padEnd(3)
    if (taken.has(short)) continue
    taken.add(short)
    return new TextEncoder().encode(short)
  }
}

/** The directory entries of one name: its long pieces, last one first, then the short entry. */
function entries(name: string, short: Uint8Array, attributes: number, cluster: number, size: number): Uint8Array {
  const pieces = Math.ceil(name.length / 13)
  const bytes = new Uint8Array(32 * (pieces + 1))
  const view = new DataView(bytes.buffer)
  const places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
  for (let n = 0; n < pieces; n++) {
    const at = 32 * (pieces - 1 - n)
    bytes[at] = (n + 1) | (n === pieces - 1 ? 0x40 : 0)
    bytes[at + 11] = ATTR_LONG_NAME
    bytes[at + 13] = checksum(short)
    places.forEach((place, i) => {
      const index = n * 13 + i
      const unit = index < name.length ? name.charCodeAt(index) : index === name.length ? 0 : 0xffff
      view.setUint16(at + place, unit, true)
    })
  }
  const at = 32 * pieces
  bytes.set(short, at)
  bytes[at + 11] = attributes
  // 2000-01-01: the same image on every run.
  for (const field of [16, 18, 24]) view.setUint16(at + field, (20 << 9) | (1 << 5) | 1, true)
  view.setUint16(at + 26, cluster, true)
  view.setUint32(at + 28, size, true)
  return bytes
}

/**
 * Builds a file system of `sectors` sectors that lies `hidden` sectors into its disk. `files` maps paths such as
 * `/boot/grub/grub.cfg` to contents.
 */
export function buildFat16(files: ReadonlyMap<string, Uint8Array>, sectors: number, hidden: number): Uint8Array {
  const root = emptyDirectory()
  for (const [path, contents] of files) {
    const parts = path.split('/').filter((part) => part !== '')
    const name = parts.pop()
    if (name === undefined) throw new Error(`'${path}' names no file`)
    let directory = root
    for (const part of parts) {
      let next = directory.directories.get(part)
      if (next === undefined) {
        next = emptyDirectory()
        directory.directories.set(part, next)
      }
      directory = next
    }
    directory.files.set(name, contents)
  }

  const rootSectors = (ROOT_ENTRIES * 32) / SECTOR
  const fatSectors = Math.ceil(((Math.ceil(sectors / SECTORS_PER_CLUSTER) + 2) * 2) / SECTOR)
  const dataStart = 1 + 2 * fatSectors + rootSectors
  const clusters = Math.floor((sectors - dataStart) / SECTORS_PER_CLUSTER)
  if (clusters < MIN_CLUSTERS || clusters > MAX_CLUSTERS) throw new Error(`${sectors} sectors do not make a FAT16`)
  const image = new Uint8Array(sectors * SECTOR)
  const view = new DataView(image.buffer)
  const fat = new Uint16Array(clusters + 2)
  fat[0] = 0xfff8
  fat[1] = 0xffff
  let free = 2

  /** Puts `bytes` into a chain of clusters in a row and returns the first one. */
  const store = (bytes: Uint8Array): number => {
    if (bytes.length === 0) return 0
    const count = Math.ceil(bytes.length / CLUSTER)
    const first = free
    if (first + count > clusters + 2) throw new Error('the files do not fit the file system')
    image.set(bytes, (dataStart + (first - 2) * SECTORS_PER_CLUSTER) * SECTOR)
    for (let n = 0; n < count; n++) fat[first + n] = n === count - 1 ? 0xffff : first + n + 1
    free += count
    return first
  }
  /** Reserves the clusters of a directory before its children know them. */
  const write = (directory: Directory, parent: number, isRoot: boolean): Uint8Array | number => {
    const names = [...directory.directories.keys(), ...directory.files.keys()]
    const length = 32 * names.reduce((sum, name) => sum + Math.ceil(name.length / 13) + 1, isRoot ? 0 : 2)
    const self = isRoot ? 0 : store(new Uint8Array(length).fill(1))
    const taken = new Set<string>()
    const out = new Uint8Array(length)
    let at = 0
    const add = (bytes: Uint8Array): void => {
      out.set(bytes, at)
      at += bytes.length
    }
    if (!isRoot) {
      add(entries('', new TextEncoder().encode('.'.padEnd(11)), ATTR_DIRECTORY, self, 0))
      add(entries('', new TextEncoder().encode('..'.padEnd(11)), ATTR_DIRECTORY, parent, 0))
    }
    for (const [name, child] of directory.directories) {
      add(entries(name, shortName(name, taken), ATTR_DIRECTORY, write(child, self, false) as number, 0))
    }
    for (const [name, contents] of directory.files) {
      add(entries(name, shortName(name, taken), ATTR_ARCHIVE, store(contents), contents.length))
    }
    if (isRoot) return out
    image.set(out, (dataStart + (self - 2) * SECTORS_PER_CLUSTER) * SECTOR)
    return self
  }
  const rootBytes = write(root, 0, true) as Uint8Array
  if (rootBytes.length > ROOT_ENTRIES * 32) throw new Error('too many files in the root directory')
  image.set(rootBytes, (1 + 2 * fatSectors) * SECTOR)
  for (let copy = 0; copy < 2; copy++) {
    fat.forEach((value, n) => {
      view.setUint16((1 + copy * fatSectors) * SECTOR + 2 * n, value, true)
    })
  }

  // The boot sector.
  image.set([0xeb, 0x3c, 0x90], 0)
  image.set(new TextEncoder().encode('VIRTKIT '), 3)
  view.setUint16(11, SECTOR, true)
  image[13] = SECTORS_PER_CLUSTER
  view.setUint16(14, 1, true)
  image[16] = 2
  view.setUint16(17, ROOT_ENTRIES, true)
  view.setUint16(19, sectors < 65536 ? sectors : 0, true)
  image[21] = 0xf8
  view.setUint16(22, fatSectors, true)
  view.setUint16(24, 63, true)
  view.setUint16(26, 16, true)
  view.setUint32(28, hidden, true)
  view.setUint32(32, sectors < 65536 ? 0 : sectors, true)
  image[36] = 0x80
  image[38] = 0x29
  view.setUint32(39, 0x56495254, true)
  image.set(new TextEncoder().encode('VIRTKIT    FAT16   '), 43)
  image.set([0x55, 0xaa], 510)
  return image
}
