/**
 * Packed integer arithmetic of MMX and SSE2 to SSE4.2, lane by lane. `name` is the XMM form, `name.mm` the MMX form; shifts by an immediate
 * are `name.imm`. Source: Intel SDM Vol. 2, the page of each instruction.
 */

import type { SimdGroup, SimdOperation } from './simd-types.js'
import { R, vectorOperation, X, Y } from './simd-vector.js'

type Width = 8 | 16
type NumberLane = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32'
type BigLane = 'u64' | 'i64'
/** Makes an operation for one register width. */
type Maker = (bytes: Width) => SimdOperation

/** Every lane of the result from the same lane of both sources; the result is truncated to the lane. */
function lanes(lane: NumberLane, f: (x: number, y: number) => number): Maker {
  return (bytes) => {
    const xs = X[lane]
    const ys = Y[lane]
    const rs = R[lane]
    const count = bytes / xs.BYTES_PER_ELEMENT
    return vectorOperation(bytes, () => {
      for (let n = 0; n < count; n++) rs[n] = f(xs[n]!, ys[n]!)
    })
  }
}

/** The same for lanes of 64 bits. */
function quads(lane: BigLane, f: (x: bigint, y: bigint) => bigint): Maker {
  return (bytes) => {
    const xs = X[lane]
    const ys = Y[lane]
    const rs = R[lane]
    return vectorOperation(bytes, () => {
      rs[0] = f(xs[0]!, ys[0]!)
      if (bytes === 16) rs[1] = f(xs[1]!, ys[1]!)
    })
  }
}

/** A comparison: all ones where it holds. */
function compare(lane: NumberLane, f: (x: number, y: number) => boolean): Maker {
  return lanes(lane, (x, y) => (f(x, y) ? -1 : 0))
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high)
}

/** `value` brought into the range of the lane, then truncated to it. */
function saturate(low: number, high: number, f: (x: number, y: number) => number): (x: number, y: number) => number {
  return (x, y) => clamp(f(x, y), low, high)
}

const add = (x: number, y: number): number => x + y
const subtract = (x: number, y: number): number => x - y
const equal = (x: number, y: number): boolean => x === y
const greater = (x: number, y: number): boolean => x > y
const least = (x: number, y: number): number => Math.min(x, y)
const most = (x: number, y: number): number => Math.max(x, y)
const average = (x: number, y: number): number => (x + y + 1) >> 1
const sign = (x: number, y: number): number => (y < 0 ? -x : y === 0 ? 0 : x)
const magnitude = (_x: number, y: number): number => (y < 0 ? -y : y)

/** Results of adjacent pairs: first those of the first source, then those of the second. */
function horizontal(lane: 'i16' | 'i32', f: (x: number, y: number) => number): Maker {
  return (bytes) => {
    const half = bytes / R[lane].BYTES_PER_ELEMENT / 2
    return vectorOperation(bytes, () => {
      const [xs, ys, rs] = [X[lane], Y[lane], R[lane]]
      for (let n = 0; n < half; n++) {
        rs[n] = f(xs[2 * n]!, xs[2 * n + 1]!)
        rs[half + n] = f(ys[2 * n]!, ys[2 * n + 1]!)
      }
    })
  }
}

/** Narrows both sources with saturation, the first into the low half. */
function pack(from: 'i16' | 'i32', to: 'i8' | 'u8' | 'i16' | 'u16', low: number, high: number): Maker {
  return (bytes) => {
    const half = bytes / R[from].BYTES_PER_ELEMENT
    return vectorOperation(bytes, () => {
      const [xs, ys, rs] = [X[from], Y[from], R[to]]
      for (let n = 0; n < half; n++) {
        rs[n] = clamp(xs[n]!, low, high)
        rs[half + n] = clamp(ys[n]!, low, high)
      }
    })
  }
}

/** Interleaves the low or high halves of both sources, lanes of `size` bytes. */
function unpack(size: number, high: boolean): Maker {
  return (bytes) =>
    vectorOperation(bytes, () => {
      const from = high ? bytes / 2 : 0
      for (let n = 0; n < bytes / 2; n++) {
        const at = (n - (n % size)) * 2 + (n % size)
        R.u8[at] = X.u8[from + n]!
        R.u8[at + size] = Y.u8[from + n]!
      }
    })
}

/** How far a shift goes: a count of 64 bits of which any that is too large clears (or fills) everything. */
function shiftCount(): number {
  return Y.u32[1] !== 0 ? 0xffff_ffff : Y.u32[0]!
}

type Direction = 'left' | 'right' | 'arithmetic'

/** Shifts R = X by `count`, lanes of `bits`. */
function shiftLanes(bits: 16 | 32 | 64, direction: Direction, count: number): void {
  if (bits === 64) {
    for (let n = 0; n < 2; n++) {
      const x = X.u64[n]!
      R.u64[n] = count > 63 ? 0n : direction === 'left' ? x << BigInt(count) : x >> BigInt(count)
    }
  } else if (direction === 'arithmetic') {
    const by = Math.min(count, bits - 1)
    const lane = bits === 16 ? 'i16' : 'i32'
    for (let n = 0; n < 128 / bits; n++) R[lane][n] = X[lane][n]! >> by
  } else {
    const lane = bits === 16 ? 'u16' : 'u32'
    for (let n = 0; n < 128 / bits; n++) {
      const x = X[lane][n]!
      R[lane][n] = count >= bits ? 0 : direction === 'left' ? x << count : x >>> count
    }
  }
}

function shifts(name: string, bits: 16 | 32 | 64, direction: Direction): SimdGroup {
  const bySlot = (): void => shiftLanes(bits, direction, shiftCount())
  const byImmediate = (imm: number): void => shiftLanes(bits, direction, imm)
  return {
    [name]: vectorOperation(16, bySlot),
    [`${name}.mm`]: vectorOperation(8, bySlot),
    [`${name}.imm`]: vectorOperation(16, byImmediate),
    [`${name}.imm.mm`]: vectorOperation(8, byImmediate),
  }
}

/** Sum of the absolute differences of `count` bytes. */
function differences(xAt: number, yAt: number, count: number): number {
  let sum = 0
  for (let n = 0; n < count; n++) sum += Math.abs(X.u8[xAt + n]! - Y.u8[yAt + n]!)
  return sum
}

const psadbw: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    R.u64[0] = BigInt(differences(0, 0, 8))
    R.u64[1] = BigInt(differences(8, 8, 8))
  })

const pmaddwd: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    for (let n = 0; n < bytes / 4; n++) {
      R.i32[n] = X.i16[2 * n]! * Y.i16[2 * n]! + X.i16[2 * n + 1]! * Y.i16[2 * n + 1]!
    }
  })

const pmaddubsw: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    for (let n = 0; n < bytes / 2; n++) {
      const sum = X.u8[2 * n]! * Y.i8[2 * n]! + X.u8[2 * n + 1]! * Y.i8[2 * n + 1]!
      R.i16[n] = clamp(sum, -32768, 32767)
    }
  })

const pmuludq: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    R.u64[0] = BigInt(X.u32[0]!) * BigInt(Y.u32[0]!)
    R.u64[1] = BigInt(X.u32[2]!) * BigInt(Y.u32[2]!)
  })

const pmuldq: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    R.i64[0] = BigInt(X.i32[0]!) * BigInt(Y.i32[0]!)
    R.i64[1] = BigInt(X.i32[2]!) * BigInt(Y.i32[2]!)
  })

const pshufb: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    for (let n = 0; n < bytes; n++) R.u8[n] = Y.i8[n]! < 0 ? 0 : X.u8[Y.u8[n]! & (bytes - 1)]!
  })

/** The bytes from `imm` on of the second source with the first above it. */
const palignr: Maker = (bytes) =>
  vectorOperation(bytes, (imm) => {
    for (let n = 0; n < bytes; n++) {
      const at = n + imm
      R.u8[n] = at < bytes ? Y.u8[at]! : at < 2 * bytes ? X.u8[at - bytes]! : 0
    }
  })

const phminposuw: Maker = (bytes) =>
  vectorOperation(bytes, () => {
    let at = 0
    for (let n = 1; n < 8; n++) if (Y.u16[n]! < Y.u16[at]!) at = n
    R.u64[0] = BigInt(Y.u16[at]! | (at << 16))
    R.u64[1] = 0n
  })

const mpsadbw: Maker = (bytes) =>
  vectorOperation(bytes, (imm) => {
    for (let n = 0; n < 8; n++) R.u16[n] = differences((imm & 4) + n, (imm & 3) * 4, 4)
  })

/** Operations with an XMM and an MMX form. */
const BOTH: Readonly<Record<string, Maker>> = {
  paddb: lanes('u8', add),
  paddw: lanes('u16', add),
  paddd: lanes('i32', add),
  paddq: quads('u64', (x, y) => x + y),
  psubb: lanes('u8', subtract),
  psubw: lanes('u16', subtract),
  psubd: lanes('i32', subtract),
  psubq: quads('u64', (x, y) => x - y),
  paddsb: lanes('i8', saturate(-128, 127, add)),
  paddsw: lanes('i16', saturate(-32768, 32767, add)),
  paddusb: lanes('u8', saturate(0, 255, add)),
  paddusw: lanes('u16', saturate(0, 65535, add)),
  psubsb: lanes('i8', saturate(-128, 127, subtract)),
  psubsw: lanes('i16', saturate(-32768, 32767, subtract)),
  psubusb: lanes('u8', saturate(0, 255, subtract)),
  psubusw: lanes('u16', saturate(0, 65535, subtract)),
  pcmpeqb: compare('u8', equal),
  pcmpeqw: compare('u16', equal),
  pcmpeqd: compare('u32', equal),
  pcmpgtb: compare('i8', greater),
  pcmpgtw: compare('i16', greater),
  pcmpgtd: compare('i32', greater),
  pand: lanes('i32', (x, y) => x & y),
  pandn: lanes('i32', (x, y) => ~x & y),
  por: lanes('i32', (x, y) => x | y),
  pxor: lanes('i32', (x, y) => x ^ y),
  pavgb: lanes('u8', average),
  pavgw: lanes('u16', average),
  pminub: lanes('u8', least),
  pmaxub: lanes('u8', most),
  pminsw: lanes('i16', least),
  pmaxsw: lanes('i16', most),
  pmullw: lanes('i16', (x, y) => x * y),
  pmulhw: lanes('i16', (x, y) => (x * y) >> 16),
  pmulhuw: lanes('u16', (x, y) => (x * y) >>> 16),
  pmulhrsw: lanes('i16', (x, y) => (((x * y) >> 14) + 1) >> 1),
  psignb: lanes('i8', sign),
  psignw: lanes('i16', sign),
  psignd: lanes('i32', sign),
  pabsb: lanes('i8', magnitude),
  pabsw: lanes('i16', magnitude),
  pabsd: lanes('i32', magnitude),
  phaddw: horizontal('i16', add),
  phaddd: horizontal('i32', add),
  phaddsw: horizontal('i16', saturate(-32768, 32767, add)),
  phsubw: horizontal('i16', subtract),
  phsubd: horizontal('i32', subtract),
  phsubsw: horizontal('i16', saturate(-32768, 32767, subtract)),
  packsswb: pack('i16', 'i8', -128, 127),
  packuswb: pack('i16', 'u8', 0, 255),
  packssdw: pack('i32', 'i16', -32768, 32767),
  punpcklbw: unpack(1, false),
  punpcklwd: unpack(2, false),
  punpckldq: unpack(4, false),
  punpckhbw: unpack(1, true),
  punpckhwd: unpack(2, true),
  punpckhdq: unpack(4, true),
  psadbw,
  pmaddwd,
  pmaddubsw,
  pmuludq,
  pshufb,
  palignr,
}

/** Operations on XMM registers alone. */
const WIDE: Readonly<Record<string, Maker>> = {
  pcmpeqq: quads('u64', (x, y) => (x === y ? 0xffff_ffff_ffff_ffffn : 0n)),
  pcmpgtq: quads('i64', (x, y) => (x > y ? -1n : 0n)),
  pminsb: lanes('i8', least),
  pmaxsb: lanes('i8', most),
  pminuw: lanes('u16', least),
  pmaxuw: lanes('u16', most),
  pminsd: lanes('i32', least),
  pmaxsd: lanes('i32', most),
  pminud: lanes('u32', least),
  pmaxud: lanes('u32', most),
  pmulld: lanes('i32', Math.imul),
  packusdw: pack('i32', 'u16', 0, 65535),
  punpcklqdq: unpack(8, false),
  punpckhqdq: unpack(8, true),
  pmuldq,
  phminposuw,
  mpsadbw,
}

/** Shift of the whole register by bytes. */
function shiftBytes(left: boolean): SimdOperation {
  return vectorOperation(16, (imm) => {
    for (let n = 0; n < 16; n++) R.u8[n] = X.u8[left ? n - imm : n + imm] ?? 0
  })
}

function instances(): Record<string, SimdOperation> {
  const group: Record<string, SimdOperation> = {}
  for (const [name, make] of Object.entries(BOTH)) {
    group[name] = make(16)
    group[`${name}.mm`] = make(8)
  }
  for (const [name, make] of Object.entries(WIDE)) group[name] = make(16)
  return group
}

/** Names of the operations with an XMM and an MMX form, shifts left aside. */
export const INTEGER_BOTH: readonly string[] = /* @__PURE__ */ Object.keys(BOTH)

/** Names of the operations on XMM registers alone. */
export const INTEGER_WIDE: readonly string[] = /* @__PURE__ */ Object.keys(WIDE)

/** Packed integer operations. */
export const SIMD_INTEGER: SimdGroup = {
  .../* @__PURE__ */ instances(),
  .../* @__PURE__ */ shifts('psllw', 16, 'left'),
  .../* @__PURE__ */ shifts('pslld', 32, 'left'),
  .../* @__PURE__ */ shifts('psllq', 64, 'left'),
  .../* @__PURE__ */ shifts('psrlw', 16, 'right'),
  .../* @__PURE__ */ shifts('psrld', 32, 'right'),
  .../* @__PURE__ */ shifts('psrlq', 64, 'right'),
  .../* @__PURE__ */ shifts('psraw', 16, 'arithmetic'),
  .../* @__PURE__ */ shifts('psrad', 32, 'arithmetic'),
  'pslldq.imm': shiftBytes(true),
  'psrldq.imm': shiftBytes(false),
}
