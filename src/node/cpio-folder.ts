/** An initial RAM disk from a folder. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { VirtkitError } from '../contracts/index.js'
import { buildCpio, type CpioEntry, type CpioKind } from '../machine/cpio.js'

/** How a folder becomes an archive. */
export interface CpioFolderOptions {
  /** Whose files they are in the archive: `root` (default), so that no root rights are needed to make a system, or as on the host. */
  readonly owner?: 'root' | 'host'
  /** Entries to add after the folder's own: device nodes, for instance, which only root can make. */
  readonly extra?: Iterable<CpioEntry>
}

/** Device numbers as Linux packs them for user space. */
function deviceNumbers(rdev: number): { major: number; minor: number } {
  const value = BigInt(rdev)
  return {
    major: Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn)),
    minor: Number((value & 0xffn) | ((value >> 12n) & 0xfff00n)),
  }
}

function entryOf(folder: string, path: string, owner: 'root' | 'host'): CpioEntry {
  const file = join(folder, path)
  const status = lstatSync(file)
  const kind: CpioKind = status.isDirectory()
    ? 'directory'
    : status.isSymbolicLink()
      ? 'symlink'
      : status.isCharacterDevice()
        ? 'character'
        : status.isBlockDevice()
          ? 'block'
          : status.isFIFO()
            ? 'fifo'
            : status.isSocket()
              ? 'socket'
              : 'file'
  return {
    path,
    kind,
    mode: status.mode & 0o7777,
    mtime: Math.min(0xffffffff, Math.max(0, Math.floor(status.mtimeMs / 1000))),
    ...(owner === 'host' ? { uid: status.uid, gid: status.gid } : {}),
    ...(kind === 'file' ? { data: readFileSync(file) } : {}),
    ...(kind === 'symlink' ? { target: readlinkSync(file) } : {}),
    ...(kind === 'character' || kind === 'block' ? deviceNumbers(status.rdev) : {}),
    ...(kind === 'file' && status.nlink > 1 ? { link: `${status.dev}:${status.ino}` } : {}),
  }
}

/**
 * Archives a folder and what is in it in the newc format, names sorted so that the same folder gives the same bytes: an initial RAM disk. Hard
 * links, symbolic links and device nodes are kept. Throws `unreadable` when the folder or something in it cannot be read.
 */
export function cpioFromFolder(folder: string, options: CpioFolderOptions = {}): Uint8Array {
  const owner = options.owner ?? 'root'
  const entries: CpioEntry[] = []
  const visit = (path: string): void => {
    for (const name of readdirSync(join(folder, path)).sort(byCodePoint)) {
      const inside = path === '' ? name : `${path}/${name}`
      const entry = entryOf(folder, inside, owner)
      entries.push(entry)
      if (entry.kind === 'directory') visit(inside)
    }
  }
  try {
    visit('')
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new VirtkitError('unreadable', `folder '${folder}': ${message}`, { cause })
  }
  return buildCpio([...entries, ...(options.extra ?? [])])
}

function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
