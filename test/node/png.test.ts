import { decode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { encodePng } from '../../src/node/png.js'

describe('encodePng', () => {
  it('keeps every pixel, and the alpha channel only where it is needed', () => {
    const opaque = Uint8ClampedArray.of(1, 2, 3, 255, 4, 5, 6, 255)
    const first = decode(encodePng({ width: 2, height: 1, data: opaque }))
    expect([first.width, first.height, first.channels, ...first.data]).toEqual([2, 1, 3, 1, 2, 3, 4, 5, 6])
    const second = decode(encodePng({ width: 1, height: 1, data: Uint8Array.of(9, 8, 7, 6) }))
    expect([second.channels, ...second.data]).toEqual([4, 9, 8, 7, 6])
  })

  it('refuses sizes that disagree', () => {
    expect(() => encodePng({ width: 2, height: 2, data: new Uint8Array(15) })).toThrow(/16 bytes; got 15/)
    expect(() => encodePng({ width: 0, height: 2, data: new Uint8Array(0) })).toThrow(/at least 1/)
  })
})
