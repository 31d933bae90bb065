/** Reads newc archives, after cpio(5); knows nothing of how ours are written. */

/** One member. */
export interface Archived {
  readonly path: string
  readonly inode: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly links: number
  readonly mtime: number
  readonly major: number
  readonly minor: number
  readonly data: Uint8Array
  readonly text: string
}

/** The members up to the trailer; throws when something is malformed or follows it. */
export function readCpio(archive: Uint8Array): Archived[] {
  const members: Archived[] = []
  const decoder = new TextDecoder()
  let at = 0
  for (;;) {
    const header = decoder.decode(archive.subarray(at, at + 110))
    if (!/^070701[0-9A-F]{104}$/.test(header)) throw new Error(`no header at ${at}: ${JSON.stringify(header)}`)
    const [inode, mode, uid, gid, links, mtime, size, , , major, minor, nameSize, check] = Array.from(
      { length: 13 },
      (_, n) => Number.parseInt(header.slice(6 + 8 * n, 14 + 8 * n), 16),
    ) as [number, number, number, number, number, number, number, number, number, number, number, number, number]
    if (check !== 0) throw new Error('newc has no checksum')
    if (archive[at + 110 + nameSize - 1] !== 0) throw new Error('a name does not end with zero')
    const path = decoder.decode(archive.subarray(at + 110, at + 110 + nameSize - 1))
    at = (at + 110 + nameSize + 3) & ~3
    const data = archive.slice(at, at + size)
    if (data.length !== size) throw new Error(`${path} is truncated`)
    at = (at + size + 3) & ~3
    if (path === 'TRAILER!!!') {
      if (archive.subarray(at).some((byte) => byte !== 0)) throw new Error('something follows the trailer')
      return members
    }
    members.push({ path, inode, mode, uid, gid, links, mtime, major, minor, data, text: decoder.decode(data) })
  }
}
