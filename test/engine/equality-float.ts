/** x87, MMX and SSE in random programs: the state they start from, and numbers worth computing with. */

import { OFF_FCW, OFF_FSW, OFF_FTAG, OFF_MXCSR, OFF_TOP, OFF_X87, OFF_XMM } from '../../src/cpu/layout.js'
import type { EqualityBoard } from './equality-board.js'
import type { Random } from './equality-random.js'

/** From {@link OFF_X87} to the end of MXCSR. */
const STATE_BYTES = OFF_MXCSR + 4 - OFF_X87

/** Exponents at the edges of a format whose largest is `top`. */
function exponent(random: Random, top: number): number {
  const bias = top >> 1
  return random.pick([
    0,
    1,
    2,
    top,
    top,
    top - 1,
    bias,
    bias + random.below(20),
    bias - random.below(70),
    random.below(top),
  ])
}

/** Sixteen bytes: singles, doubles, an extended number, decimal digits, integers at their limits, or noise. */
export function floatWords(random: Random): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let n = 0; n < 16; n += 4) {
    view.setUint32(n, random.pick([0, 1, 0x80000000, 0xffffffff, 0x7fffffff, random.next(), random.next()]), true)
  }
  switch (random.below(6)) {
    case 0:
    case 1:
      for (let n = 0; n < 16; n += 4) {
        const fraction = view.getUint32(n, true) & 0x7fffff
        view.setUint32(n, ((random.below(2) << 31) | (exponent(random, 0xff) << 23) | fraction) >>> 0, true)
      }
      break
    case 2:
    case 3:
      for (let n = 0; n < 16; n += 8) {
        const fraction = view.getUint32(n + 4, true) & 0xfffff
        view.setUint32(n + 4, ((random.below(2) << 31) | (exponent(random, 0x7ff) << 20) | fraction) >>> 0, true)
      }
      break
    case 4:
      if (random.chance(85)) bytes[7]! |= 0x80
      view.setUint16(8, (random.below(2) << 15) | exponent(random, 0x7fff), true)
      break
    default:
      if (random.chance(40)) for (let n = 0; n < 9; n++) bytes[n] = (random.below(10) << 4) | random.below(10)
  }
  return bytes
}

/** A control word: mostly everything masked, any precision and rounding. */
function controlWord(random: Random): number {
  return 0x40 | (random.chance(60) ? 0x3f : random.below(64)) | (random.below(4) << 8) | (random.below(4) << 10)
}

/** A value for MXCSR without reserved bits. */
function mxcsr(random: Random): number {
  return (
    (random.chance(60) ? 0x1f80 : random.next() & 0x1f80) |
    (random.next() & (random.chance(50) ? 0xe040 : 0x6000)) |
    random.below(64)
  )
}

/** Fills 4 KiB: four FXSAVE images, then words for LDMXCSR and FLDCW. */
export function controlImages(bytes: Uint8Array, random: Random): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length; at += 16) bytes.set(floatWords(random), at)
  for (let at = 0; at < 0x800; at += 0x200) {
    view.setUint16(at, controlWord(random), true)
    view.setUint16(at + 2, random.next() & (random.chance(70) ? 0x7f00 : 0xffff), true)
    view.setUint16(at + 4, random.below(256), true)
    view.setUint32(at + 24, random.chance(90) ? mxcsr(random) : random.next(), true)
  }
  for (let at = 0x800; at < 0xc00; at += 4) view.setUint32(at, random.chance(90) ? mxcsr(random) : random.next(), true)
  for (let at = 0xc00; at < bytes.length; at += 2) view.setUint16(at, controlWord(random), true)
}

/** Draws the units' state; what is returned puts it into a board that has them. */
export function floatState(random: Random): (board: EqualityBoard) => void {
  const bytes = new Uint8Array(STATE_BYTES)
  const view = new DataView(bytes.buffer)
  for (let n = 0; n < 24; n++) {
    const words = floatWords(random)
    if (n < 8) words.fill(0, 10)
    bytes.set(words, n < 8 ? n * 16 : OFF_XMM - OFF_X87 + (n - 8) * 16)
  }
  const fcw = controlWord(random)
  let fsw = random.next() & 0x4700
  if (random.chance(30)) fsw |= random.next() & (random.chance(80) ? fcw & 0x3f : 0x3f)
  if (fsw & ~fcw & 0x3f) fsw |= 0x8080
  view.setUint16(OFF_FCW - OFF_X87, fcw, true)
  view.setUint16(OFF_FSW - OFF_X87, fsw, true)
  view.setUint8(OFF_TOP - OFF_X87, random.below(8))
  view.setUint8(OFF_FTAG - OFF_X87, random.pick([0, 0, 0xff, random.below(256), random.below(256)]))
  view.setUint32(OFF_MXCSR - OFF_X87, mxcsr(random), true)
  return ({ cpu }) => {
    const has = cpu.model.features as ReadonlySet<string>
    const { s } = cpu
    if (!has.has('fpu')) return
    if (has.has('sse')) s.u8.set(bytes, s.base + OFF_X87)
    else {
      s.u8.set(bytes.subarray(0, 128), s.base + OFF_X87)
      s.u8.set(bytes.subarray(OFF_FCW - OFF_X87, OFF_TOP + 1 - OFF_X87), s.base + OFF_FCW)
    }
  }
}
