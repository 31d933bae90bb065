import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlobDisk, HttpRangeDisk, MemoryDisk, OverlayDisk } from '../../src/machine/disks.js'
import { runs } from '../runs.js'

const MIB = 1024 * 1024

function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 10)) & 0xff)
}

function readAll(disk: { readonly size: number; read(offset: number, target: Uint8Array): void }): Uint8Array {
  const bytes = new Uint8Array(disk.size)
  disk.read(0, bytes)
  return bytes
}

/** A web server with one image. */
function server(image: Uint8Array<ArrayBuffer>, ranges = true, requests: string[] = []): typeof fetch {
  return async (_url, init) => {
    const header = new Headers(init?.headers).get('range') ?? ''
    requests.push(header)
    const match = /^bytes=(\d+)-(\d+)$/.exec(header)
    if (!ranges || match === null) return new Response(image.slice())
    const [from, to] = [Number(match[1]), Math.min(Number(match[2]), image.length - 1)]
    return new Response(image.slice(from, to + 1), {
      status: 206,
      headers: { 'Content-Range': `bytes ${from}-${to}/${image.length}` },
    })
  }
}

describe('MemoryDisk', () => {
  it('refuses sizes that are no number of sectors', () => {
    for (const size of [0, 1, 511, 513]) {
      expect(() => new MemoryDisk(new Uint8Array(size))).toThrow(expect.objectContaining({ code: 'bad-image' }))
    }
  })

  it('reads and writes in place, within its bounds, and not when read-only', () => {
    const bytes = new Uint8Array(1024)
    const disk = new MemoryDisk(bytes)
    disk.write(510, Uint8Array.of(1, 2, 3))
    expect([...bytes.slice(509, 514)]).toEqual([0, 1, 2, 3, 0])
    for (const offset of [-1, 1023, 0.5, Number.NaN]) {
      expect(() => disk.read(offset, new Uint8Array(2))).toThrow(expect.objectContaining({ code: 'bad-range' }))
    }
    expect(() => new MemoryDisk(bytes, { readOnly: true }).write(0, new Uint8Array(1))).toThrow(/read-only/)
  })
})

describe('OverlayDisk', () => {
  it('behaves as a copy of its base, which it never changes', () => {
    const image = pattern(10 * 4096 + 512)
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ offset: fc.nat({ max: image.length }), length: fc.nat({ max: 9000 }), write: fc.boolean() }),
          { maxLength: 30 },
        ),
        (steps) => {
          const base = new MemoryDisk(image.slice())
          const overlay = new OverlayDisk(base)
          const model = image.slice()
          for (const [i, { offset, length, write }] of steps.entries()) {
            const fit = Math.min(length, image.length - offset)
            const data = new Uint8Array(fit).fill(i + 1)
            if (write) {
              overlay.write(offset, data)
              model.set(data, offset)
            } else {
              overlay.read(offset, data)
              expect(data).toEqual(model.slice(offset, offset + fit))
            }
          }
          expect(Buffer.compare(readAll(overlay), model)).toBe(0)
          expect(Buffer.compare(base.bytes, image)).toBe(0)
          expect(overlay.copied).toBeLessThanOrEqual(11 * 4096)
          overlay.commit()
          expect(Buffer.compare(base.bytes, model)).toBe(0)
          expect(overlay.copied).toBe(0)
        },
      ),
      { numRuns: runs(50) },
    )
  })

  it('forgets its writes on discard, and does not commit to a read-only base', () => {
    const base = new MemoryDisk(pattern(1024), { readOnly: true })
    const overlay = new OverlayDisk(base)
    overlay.write(0, Uint8Array.of(0xee))
    expect(() => overlay.commit()).toThrow(/read-only/)
    overlay.discard()
    expect(readAll(overlay)).toEqual(pattern(1024))
  })
})

describe('preloaded disks', () => {
  it('loads a Blob', async () => {
    const image = pattern(MIB + 512)
    const progress: number[] = []
    const disk = await BlobDisk.open(new Blob([image]), { onProgress: (loaded) => void progress.push(loaded) })
    expect(Buffer.compare(disk.bytes, image)).toBe(0)
    expect(progress).toEqual([MIB, MIB + 512])
    await expect(BlobDisk.open(new Blob([image.slice(1)]))).rejects.toMatchObject({ code: 'bad-image' })
    await expect(BlobDisk.open(new Blob([image]), { maxBytes: 512 })).rejects.toMatchObject({ code: 'bad-image' })
  })

  it('loads over HTTP in ranges, or in one piece', async () => {
    const image = pattern(2 * MIB + 1024)
    const requests: string[] = []
    const disk = await HttpRangeDisk.open('http://disk/', { fetch: server(image, true, requests) })
    expect(Buffer.compare(disk.bytes, image)).toBe(0)
    expect(requests).toEqual([
      `bytes=0-${MIB - 1}`,
      `bytes=${MIB}-${2 * MIB - 1}`,
      `bytes=${2 * MIB}-${2 * MIB + 1023}`,
    ])
    const whole = await HttpRangeDisk.open('http://disk/', { fetch: server(image, false) })
    expect(Buffer.compare(whole.bytes, image)).toBe(0)
  })

  it('says what went wrong', async () => {
    const answer = (response: Response) => ({ fetch: async () => response })
    const open = (options: Parameters<typeof HttpRangeDisk.open>[1]) => HttpRangeDisk.open('http://disk/', options)
    await expect(open(answer(new Response('', { status: 404 })))).rejects.toMatchObject({ code: 'unreadable' })
    await expect(open(answer(new Response('x', { status: 206 })))).rejects.toMatchObject({ code: 'unreadable' })
    await expect(open(answer(new Response('abc')))).rejects.toMatchObject({ code: 'bad-image' })
    const failing = async (): Promise<Response> => {
      throw new TypeError('network')
    }
    await expect(open({ fetch: failing })).rejects.toMatchObject({ code: 'unreadable' })
    const abort = new AbortController()
    const fetch = server(pattern(3 * MIB))
    const stopping: typeof globalThis.fetch = (url, init) => {
      abort.abort()
      return fetch(url, init)
    }
    await expect(open({ fetch: stopping, signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' })
  })
})
