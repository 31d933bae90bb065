/**
 * Writes cpio archives in the "new ASCII" format (newc): what Linux unpacks into its first root file system.
 * Sources: Linux kernel documentation, "initramfs buffer format"; cpio(5), "New ASCII Format".
 */

import { VirtkitError } from '../contracts/index.js'

/** What a name of an archive can stand for. */
export type CpioKind = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket'

/** File types as they stand in bits 15–12 of a mode. */
export const CPIO_TYPES: Readonly<Record<CpioKind, number>> = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
}

/** One name of an archive. */
export interface CpioEntry {
  /** Path inside the archive; a leading `/` or `./` is dropped. */
  readonly path: string
  /** Default `file`. */
  readonly kind?: CpioKind
  /** Permissions, set-id and sticky bits: 12 bits. Default 0755 for directories, 0777 for symbolic links, else 0644. */
  readonly mode?: number
  /** Owner. Default 0. */
  readonly uid?: number
  /** Group. Default 0. */
  readonly gid?: number
  /** Seconds since 1970 UTC. Default 0. */
  readonly mtime?: number
  /** Contents of a file. */
  readonly data?: Uint8Array
  /** Where a symbolic link points. */
  readonly target?: string
  /** Device number of a device node. Default 0. */
  readonly major?: number
  /** Device number of a device node. Default 0. */
  readonly minor?: number
  /** Files with the same key are names of one file (hard links); contents and attributes are those of the first that has `data`. */
  readonly link?: string
}

const HEADER = 110
const MAGIC = '070701'
const TRAILER = 'TRAILER!!!'
/** Linux refuses longer names: PATH_MAX with the final zero byte. */
const LONGEST_PATH = 4095
const MAX32 = 0xffffffff
/** Archives fill blocks of this size. */
const BLOCK = 512

interface ArchiveRecord {
  readonly path: Uint8Array
  readonly inode: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly links: number
  readonly mtime: number
  readonly major: number
  readonly minor: number
  data: Uint8Array
}

const NOTHING: Uint8Array = new Uint8Array(0)

function bad(path: string, message: string): never {
  throw new VirtkitError('bad-argument', `cpio entry '${path}': ${message}`)
}

/** The path as it is stored: relative, without empty and `.` components. */
function normalise(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) bad(path, "'..' would leave the archive")
  if (path.includes('\0')) bad(path, 'a name cannot hold a zero byte')
  return parts.length === 0 ? '.' : parts.join('/')
}

function number(path: string, name: string, value: number | undefined, fallback: number, max: number): number {
  if (value === undefined) return fallback
  if (!Number.isInteger(value) || value < 0 || value > max) {
    bad(path, `${name} is an integer from 0 to ${max}; got ${value}`)
  }
  return value
}

/**
 * Builds an archive. Entries keep their order; directories that no entry names before its contents do are added with mode 0755, since Linux
 * does not make them. Hard links share an inode number, and the last of them carries the contents. The bytes depend on nothing but `entries`.
 * Throws `bad-argument` for names and numbers that the format or Linux cannot take, and for a path that is given twice.
 */
export function buildCpio(entries: Iterable<CpioEntry>): Uint8Array {
  const list = withParents(entries)
  const groups = new Map<string, CpioEntry[]>()
  for (const entry of list) {
    if (entry.link === undefined) continue
    if ((entry.kind ?? 'file') !== 'file') bad(entry.path, 'only files can be hard links')
    const group = groups.get(entry.link)
    if (group === undefined) groups.set(entry.link, [entry])
    else group.push(entry)
  }
  const inodes = new Map<string, number>()
  let nextInode = 1
  const records = list.map((entry) => {
    const group = entry.link === undefined ? undefined : groups.get(entry.link)!
    let inode = entry.link === undefined ? undefined : inodes.get(entry.link)
    if (inode === undefined) {
      inode = nextInode++
      if (entry.link !== undefined) inodes.set(entry.link, inode)
    }
    const source = group?.find((other) => other.data !== undefined) ?? group?.[0] ?? entry
    const carries = group === undefined || group[group.length - 1] === entry
    return toRecord(entry, source, inode, group?.length, carries)
  })
  return write(records)
}

function withParents(entries: Iterable<CpioEntry>): CpioEntry[] {
  const seen = new Set<string>(['.'])
  const list: CpioEntry[] = []
  for (const given of entries) {
    const path = normalise(given.path)
    const parts = path.split('/')
    for (let n = 1; n < parts.length; n++) {
      const parent = parts.slice(0, n).join('/')
      if (seen.has(parent)) continue
      seen.add(parent)
      list.push({ path: parent, kind: 'directory' })
    }
    if (path !== '.' && seen.has(path)) bad(given.path, 'the path is given twice, or after something inside it')
    seen.add(path)
    list.push({ ...given, path })
  }
  return list
}

function toRecord(
  entry: CpioEntry,
  source: CpioEntry,
  inode: number,
  names: number | undefined,
  carries: boolean,
): ArchiveRecord {
  const { path } = entry
  const kind = entry.kind ?? 'file'
  const type = Object.hasOwn(CPIO_TYPES, kind) ? CPIO_TYPES[kind] : bad(path, `there is no kind '${String(kind)}'`)
  if (kind !== 'file' && entry.data !== undefined) bad(path, 'only files have contents')
  if ((kind === 'symlink') !== (entry.target !== undefined)) {
    bad(path, kind === 'symlink' ? 'a symbolic link needs a target' : 'only symbolic links have a target')
  }
  const device = kind === 'character' || kind === 'block'
  if (!device && (entry.major !== undefined || entry.minor !== undefined)) bad(path, 'only devices have numbers')
  const name = new TextEncoder().encode(path)
  if (name.length > LONGEST_PATH) bad(`${path.slice(0, 40)}…`, `names have at most ${LONGEST_PATH} bytes`)
  if (path === TRAILER) bad(path, 'this name ends an archive')
  const data = kind === 'symlink' ? new TextEncoder().encode(entry.target) : (source.data ?? NOTHING)
  if (kind === 'symlink' && (data.length === 0 || data.length > LONGEST_PATH || data.includes(0))) {
    bad(path, `a target has 1 to ${LONGEST_PATH} bytes, none of them zero`)
  }
  if (data.length > MAX32) bad(path, 'a file has at most 4 GiB')
  const permissions = kind === 'directory' ? 0o755 : kind === 'symlink' ? 0o777 : 0o644
  return {
    path: name,
    inode,
    mode: type | number(path, 'mode', source.mode, permissions, 0o7777),
    uid: number(path, 'uid', source.uid, 0, MAX32),
    gid: number(path, 'gid', source.gid, 0, MAX32),
    links: names ?? (kind === 'directory' ? 2 : 1),
    mtime: number(path, 'mtime', source.mtime, 0, MAX32),
    major: number(path, 'major', entry.major, 0, 0xfff),
    minor: number(path, 'minor', entry.minor, 0, 0xfffff),
    data: carries ? data : NOTHING,
  }
}

function align4(value: number): number {
  return Math.ceil(value / 4) * 4
}

function write(records: readonly ArchiveRecord[]): Uint8Array {
  const trailer: ArchiveRecord = {
    path: new TextEncoder().encode(TRAILER),
    ...{ inode: 0, mode: 0, uid: 0, gid: 0, links: 1, mtime: 0, major: 0, minor: 0 },
    data: NOTHING,
  }
  const all = [...records, trailer]
  const size = all.reduce((sum, r) => sum + align4(HEADER + r.path.length + 1) + align4(r.data.length), 0)
  const out = new Uint8Array(Math.ceil(size / BLOCK) * BLOCK)
  const encoder = new TextEncoder()
  let at = 0
  for (const r of all) {
    const fields = [
      ...[r.inode, r.mode, r.uid, r.gid, r.links, r.mtime, r.data.length],
      // The device that held the archived file is of no use; then the node's own number.
      ...[0, 0, r.major, r.minor],
      r.path.length + 1,
      // Checksum: only the format "crc" has one.
      0,
    ]
    const header = MAGIC + fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('')
    encoder.encodeInto(header, out.subarray(at))
    out.set(r.path, at + HEADER)
    at += align4(HEADER + r.path.length + 1)
    out.set(r.data, at)
    at += align4(r.data.length)
  }
  return out
}
