import { spawnSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { buildCpio, type CpioEntry, type CpioKind } from '../../src/machine/index.js'
import { cpioFromFolder } from '../../src/node/index.js'
import { runs } from '../runs.js'
import { type Archived, readCpio } from './cpio-reader.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const work = mkdtempSync(join(tmpdir(), 'virtkit-cpio-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

describe('a cpio archive', () => {
  it('has the header of the newc format, field by field', () => {
    const archive = buildCpio([{ path: 'a', mode: 0o4755, uid: 1, gid: 2, mtime: 0x12345678, data: bytes('hello') }])
    const text = new TextDecoder().decode(archive)
    // magic, inode, mode, uid, gid, links, mtime, size, device of the file (2), number of the node (2), length of the name, checksum
    const header =
      '070701 00000001 000089ED 00000001 00000002 00000001 12345678 00000005 00000000 00000000 00000000 00000000 00000002 00000000'
    expect(text.slice(0, 110)).toBe(header.replaceAll(' ', ''))
    expect(text.slice(110, 112)).toBe('a\0')
    expect(text.slice(112, 120)).toBe('hello\0\0\0')
    expect(text.slice(120, 126)).toBe('070701')
    expect(text.slice(120 + 110, 120 + 121)).toBe('TRAILER!!!\0')
    expect(archive.length % 512).toBe(0)
  })

  it('keeps links, nodes and their numbers', () => {
    const archive = readCpio(
      buildCpio([
        { path: '/dev', kind: 'directory' },
        { path: '/dev/console', kind: 'character', mode: 0o600, major: 5, minor: 1 },
        { path: '/dev/sda', kind: 'block', mode: 0o660, major: 8, minor: 0 },
        { path: './bin/sh', kind: 'symlink', target: 'busybox' },
        { path: 'pipe', kind: 'fifo' },
      ]),
    )
    expect(archive.map((e) => [e.path, e.mode.toString(8), e.major, e.minor, e.text])).toEqual([
      ['dev', '40755', 0, 0, ''],
      ['dev/console', '20600', 5, 1, ''],
      ['dev/sda', '60660', 8, 0, ''],
      ['bin', '40755', 0, 0, ''],
      ['bin/sh', '120777', 0, 0, 'busybox'],
      ['pipe', '10644', 0, 0, ''],
    ])
  })

  it('stores the contents of hard links once, with the last', () => {
    const archive = readCpio(
      buildCpio([
        { path: 'a', link: 'x', mode: 0o755, data: bytes('one') },
        { path: 'b', link: 'x', data: bytes('one') },
        { path: 'c', data: bytes('two') },
        { path: 'd', link: 'x' },
      ]),
    )
    expect(archive.map((e) => [e.path, e.inode, e.links, e.mode.toString(8), e.text])).toEqual([
      ['a', 1, 3, '100755', ''],
      ['b', 1, 3, '100755', ''],
      ['c', 2, 1, '100644', 'two'],
      ['d', 1, 3, '100755', 'one'],
    ])
  })

  it.each<[string, CpioEntry[], RegExp]>([
    ['a path that leaves it', [{ path: 'a/../../b' }], /'\.\.'/],
    ['a zero in a name', [{ path: 'a\0b' }], /zero byte/],
    ['a name twice', [{ path: 'a' }, { path: '/a' }], /given twice/],
    ['a folder after its contents', [{ path: 'a/b' }, { path: 'a', kind: 'directory' }], /given twice/],
    ['the name that ends archives', [{ path: 'TRAILER!!!' }], /ends an archive/],
    ['an endless name', [{ path: 'a/'.repeat(2100) }], /4095 bytes/],
    ['a symbolic link to nothing', [{ path: 'a', kind: 'symlink' }], /needs a target/],
    ['an empty target', [{ path: 'a', kind: 'symlink', target: '' }], /1 to 4095/],
    ['a target of a file', [{ path: 'a', target: 'b' }], /only symbolic links/],
    ['contents of a folder', [{ path: 'a', kind: 'directory', data: bytes('x') }], /only files/],
    ['a number of a file', [{ path: 'a', major: 1 }], /only devices/],
    ['a hard link to a folder', [{ path: 'a', kind: 'directory', link: 'x' }], /hard links/],
    ['a mode with a type', [{ path: 'a', mode: 0o100644 }], /mode is an integer from 0 to 4095/],
    ['a negative time', [{ path: 'a', mtime: -1 }], /mtime/],
    ['a large owner', [{ path: 'a', uid: 2 ** 32 }], /uid/],
    ['an unknown kind', [{ path: 'a', kind: 'door' as CpioKind }], /no kind 'door'/],
  ])('refuses %s', (_, entries, message) => {
    try {
      buildCpio(entries)
      expect.unreachable()
    } catch (error) {
      expect((error as { code: string }).code).toBe('bad-argument')
      expect((error as Error).message).toMatch(message)
    }
  })

  it('gives back what went in, whatever it is', () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9 ._-]{1,12}$/).filter((s) => s !== '.' && s !== '..')
    const attributes = {
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.nat(0xffffffff),
      gid: fc.nat(0xffffffff),
      mtime: fc.nat(0xffffffff),
    }
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
    const entry = fc.oneof(
      fc.record({ path, data: fc.uint8Array({ maxLength: 40 }), ...attributes }),
      fc.record({ path, kind: fc.constant('directory' as const), ...attributes }),
      fc.record({ path, kind: fc.constant('symlink' as const), target: name, ...attributes }),
      fc.record({
        path,
        kind: fc.constantFrom('character' as const, 'block' as const),
        major: fc.nat(0xfff),
        minor: fc.nat(0xfffff),
        ...attributes,
      }),
    )
    const entries = fc.uniqueArray(entry, { selector: (e) => e.path, maxLength: 20 })
    fc.assert(
      fc.property(entries, (given) => {
        // A folder has to come before what is in it.
        const list = (given as CpioEntry[]).sort((a, b) => (a.path < b.path ? -1 : 1))
        const files = new Set(list.map((e) => e.path))
        const archive = readCpio(buildCpio(list))
        const byPath = new Map(archive.map((e) => [e.path, e]))
        expect(byPath.size).toBe(archive.length)
        const types: Partial<Record<CpioKind, number>> = { directory: 4, symlink: 10, character: 2, block: 6, file: 8 }
        for (const e of list) {
          const got = byPath.get(e.path)!
          expect([got.mode >>> 12, got.mode & 0xfff]).toEqual([types[e.kind ?? 'file'], e.mode])
          expect([got.uid, got.gid, got.mtime]).toEqual([e.uid, e.gid, e.mtime])
          expect([got.major, got.minor]).toEqual([e.major ?? 0, e.minor ?? 0])
          expect(got.data).toEqual(e.data ?? bytes(e.target ?? ''))
        }
        archive.forEach((e, n) => {
          const parent = e.path.slice(0, Math.max(0, e.path.lastIndexOf('/')))
          if (parent !== '') expect(archive.findIndex((other) => other.path === parent)).toBeLessThan(n)
          if (parent !== '') expect(archive.some((other) => other.path === parent)).toBe(true)
          if (!files.has(e.path)) expect(e.mode).toBe(0o40755)
        })
      }),
      { numRuns: runs(100) },
    )
  })
})

describe('an archive of a folder', () => {
  const folder = join(work, 'folder')
  mkdirSync(join(folder, 'etc'), { recursive: true })
  writeFileSync(join(folder, 'etc/motd'), 'hello\n', { mode: 0o640 })
  writeFileSync(join(folder, 'init'), '#!/bin/sh\n', { mode: 0o755 })
  linkSync(join(folder, 'init'), join(folder, 'etc/again'))
  symlinkSync('etc/motd', join(folder, 'motd'))
  utimesSync(join(folder, 'etc/motd'), 1_000_000_000, 1_000_000_000)

  it('keeps modes, times and links, and belongs to root', () => {
    const archive = readCpio(
      cpioFromFolder(folder, { extra: [{ path: 'dev/null', kind: 'character', major: 1, minor: 3 }] }),
    )
    expect(archive.map((e) => [e.path, (e.mode & 0o777).toString(8), e.uid, e.text])).toEqual([
      ['etc', '755', 0, ''],
      ['etc/again', '755', 0, ''],
      ['etc/motd', '640', 0, 'hello\n'],
      ['init', '755', 0, '#!/bin/sh\n'],
      ['motd', '777', 0, 'etc/motd'],
      ['dev', '755', 0, ''],
      ['dev/null', '644', 0, ''],
    ])
    const of = (path: string): Archived => archive.find((e) => e.path === path)!
    expect(of('etc/again').inode).toBe(of('init').inode)
    expect(of('init').links).toBe(2)
    expect(of('etc/motd').mtime).toBe(1_000_000_000)
  })

  it('that is not there is unreadable', () => {
    expect(() => cpioFromFolder(join(work, 'nowhere'))).toThrow(expect.objectContaining({ code: 'unreadable' }))
  })

  // GNU cpio, or BusyBox's as the guests' package holds it.
  const reader = ['/usr/bin/cpio', '/bin/cpio'].find((file) => existsSync(file))
  it.skipIf(reader === undefined)('is listed by cpio', () => {
    const listed = spawnSync(reader!, ['-it', '--quiet'], { input: cpioFromFolder(folder), encoding: 'utf8' })
    expect(listed.stdout.trim().split('\n')).toEqual(['etc', 'etc/again', 'etc/motd', 'init', 'motd'])
  })
})
