import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { FileDisk } from '../../src/node/file-disk.js'

const folder = mkdtempSync(join(tmpdir(), 'virtkit-disk-'))
afterAll(() => rmSync(folder, { recursive: true }))

function image(name: string, length: number): string {
  const path = join(folder, name)
  writeFileSync(
    path,
    Uint8Array.from({ length }, (_, i) => i & 0xff),
  )
  return path
}

describe('FileDisk', () => {
  it('reads and writes the file', () => {
    const path = image('disk.img', 2048)
    const disk = new FileDisk(path)
    const sector = new Uint8Array(512)
    disk.read(512, sector)
    expect(sector[3]).toBe(3)
    disk.write(1000, Uint8Array.of(0xaa, 0xbb))
    disk.flush()
    disk.close()
    disk.close()
    expect([...readFileSync(path).subarray(999, 1003)]).toEqual([231, 0xaa, 0xbb, 234])
    expect(() => disk.read(0, sector)).toThrow(expect.objectContaining({ code: 'disposed' }))
  })

  it('leaves a read-only file alone', () => {
    const disk = new FileDisk(image('ro.img', 512), { readOnly: true })
    expect(() => disk.write(0, new Uint8Array(1))).toThrow(/read-only/)
    disk.flush()
    disk.close()
  })

  it('says clearly what is wrong', () => {
    const unreadable = (path: string) => () => new FileDisk(path, { readOnly: true })
    expect(unreadable(join(folder, 'missing.img'))).toThrow(/missing\.img: no such file/)
    expect(unreadable(folder)).toThrow(expect.objectContaining({ code: 'unreadable' }))
    expect(unreadable(image('odd.img', 700))).toThrow(expect.objectContaining({ code: 'bad-image' }))
    expect(unreadable(image('empty.img', 0))).toThrow(/more than 0; got 0/)
    const path = image('short.img', 1024)
    const disk = new FileDisk(path)
    expect(() => disk.read(1023, new Uint8Array(2))).toThrow(expect.objectContaining({ code: 'bad-range' }))
    truncateSync(path, 512)
    expect(() => disk.read(512, new Uint8Array(8))).toThrow(/became shorter/)
    disk.close()
  })
})
