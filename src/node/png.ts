import { encode } from 'fast-png'
import { VirtkitError } from '../contracts/index.js'

/** A picture as `Vga.render` gives it: RGBA, 8 bits each. */
export interface PngPicture {
  readonly width: number
  readonly height: number
  /** `width * height * 4` bytes. */
  readonly data: Uint8Array | Uint8ClampedArray
}

/** Encodes `picture` as a PNG file, without its alpha channel when it is opaque. Throws `bad-argument` when sizes disagree. */
export function encodePng(picture: PngPicture): Uint8Array {
  const { width, height, data } = picture
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new VirtkitError('bad-argument', `a picture is at least 1 by 1; got ${width} by ${height}`)
  }
  const count = width * height
  if (data.length !== count * 4) {
    throw new VirtkitError('bad-argument', `${width} by ${height} RGBA are ${count * 4} bytes; got ${data.length}`)
  }
  let opaque = true
  for (let i = 3; opaque && i < data.length; i += 4) opaque = data[i] === 0xff
  if (!opaque) return encode({ width, height, data: Uint8Array.from(data), channels: 4, depth: 8 })
  const rgb = new Uint8Array(count * 3)
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from]!
    rgb[to + 1] = data[from + 1]!
    rgb[to + 2] = data[from + 2]!
  }
  return encode({ width, height, data: rgb, channels: 3, depth: 8 })
}
