/**
 * What packed integer instructions compute, said a second time: on whole registers as BigInt, cut into lists of lanes, with unlimited integers
 * between the cutting and the joining. Source: Intel SDM Vol. 2, the descriptions of the instructions.
 */

/** A register of `total` bits as lanes of `bits`, lowest first. */
export function cut(value: bigint, bits: number, total: number): bigint[] {
  return Array.from({ length: total / bits }, (_, n) => BigInt.asUintN(bits, value >> BigInt(n * bits)))
}

export function join(lanes: readonly bigint[], bits: number): bigint {
  return lanes.reduce((sum, lane, n) => sum | (BigInt.asUintN(bits, lane) << BigInt(n * bits)), 0n)
}

const signedLane = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value)

/** Destination, source, width of the registers in bits, immediate byte → destination. */
export type Meaning = (d: bigint, s: bigint, total: number, imm: number) => bigint

/** Lane by lane; `f` sees unsigned or signed lanes. */
function each(bits: number, signed: boolean, f: (d: bigint, s: bigint) => bigint): Meaning {
  return (d, s, total) => {
    const read = (lane: bigint): bigint => (signed ? signedLane(lane, bits) : lane)
    const ds = cut(d, bits, total)
    const ss = cut(s, bits, total)
    return join(
      ds.map((lane, n) => f(read(lane), read(ss[n]!))),
      bits,
    )
  }
}

function clamp(value: bigint, bits: number, signed: boolean): bigint {
  const low = signed ? -(1n << BigInt(bits - 1)) : 0n
  const high = signed ? (1n << BigInt(bits - 1)) - 1n : (1n << BigInt(bits)) - 1n
  return value < low ? low : value > high ? high : value
}

function least(d: bigint, s: bigint): bigint {
  if (d < s) return d
  return s
}
function most(d: bigint, s: bigint): bigint {
  if (d < s) return s
  return d
}
const truth = (holds: boolean): bigint => (holds ? -1n : 0n)
const magnitude = (value: bigint): bigint => (value < 0n ? -value : value)

function narrow(from: number, signed: boolean): Meaning {
  return (d, s, total) => {
    const lanes = [...cut(d, from, total), ...cut(s, from, total)]
    return join(
      lanes.map((lane) => clamp(signedLane(lane, from), from / 2, signed)),
      from / 2,
    )
  }
}

function interleave(bits: number, high: boolean): Meaning {
  return (d, s, total) => {
    const half = total / bits / 2
    const from = high ? half : 0
    const ds = cut(d, bits, total).slice(from, from + half)
    const ss = cut(s, bits, total).slice(from, from + half)
    return join(
      ds.flatMap((lane, n) => [lane, ss[n]!]),
      bits,
    )
  }
}

function pairs(bits: number, saturate: boolean, f: (x: bigint, y: bigint) => bigint): Meaning {
  return (d, s, total) => {
    const lanes = [...cut(d, bits, total), ...cut(s, bits, total)].map((lane) => signedLane(lane, bits))
    const sums: bigint[] = []
    for (let n = 0; n < lanes.length; n += 2) {
      const value = f(lanes[n]!, lanes[n + 1]!)
      sums.push(saturate ? clamp(value, bits, true) : value)
    }
    return join(sums, bits)
  }
}

/** Products of pairs of lanes, added. */
function products(bits: number, unsignedFirst: boolean, saturate: boolean): Meaning {
  return (d, s, total) => {
    const ds = cut(d, bits, total).map((lane) => (unsignedFirst ? lane : signedLane(lane, bits)))
    const ss = cut(s, bits, total).map((lane) => signedLane(lane, bits))
    const sums: bigint[] = []
    for (let n = 0; n < ds.length; n += 2) {
      const value = ds[n]! * ss[n]! + ds[n + 1]! * ss[n + 1]!
      sums.push(saturate ? clamp(value, 2 * bits, true) : value)
    }
    return join(sums, 2 * bits)
  }
}

function shiftBy(
  bits: number,
  f: (lane: bigint, count: bigint) => bigint,
): (d: bigint, count: bigint, total: number) => bigint {
  return (d, count, total) =>
    join(
      cut(d, bits, total).map((lane) => f(lane, count)),
      bits,
    )
}
const left = (bits: number) => shiftBy(bits, (lane, count) => (count >= BigInt(bits) ? 0n : lane << count))
const right = (bits: number) => shiftBy(bits, (lane, count) => (count >= BigInt(bits) ? 0n : lane >> count))
const arithmetic = (bits: number) =>
  shiftBy(bits, (lane, count) => signedLane(lane, bits) >> (count > BigInt(bits) ? BigInt(bits) : count))

/** Shifts by register: the count is the low quadword of the source. */
export const SHIFTS: Readonly<Record<string, (d: bigint, count: bigint, total: number) => bigint>> = {
  psllw: left(16),
  pslld: left(32),
  psllq: left(64),
  psrlw: right(16),
  psrld: right(32),
  psrlq: right(64),
  psraw: arithmetic(16),
  psrad: arithmetic(32),
}

const absoluteDifferences = (x: readonly bigint[], y: readonly bigint[]): bigint =>
  x.reduce((sum, lane, n) => sum + magnitude(lane - y[n]!), 0n)

/** Operations with MMX and XMM registers. */
export const BOTH: Readonly<Record<string, Meaning>> = {
  paddb: each(8, false, (d, s) => d + s),
  paddw: each(16, false, (d, s) => d + s),
  paddd: each(32, false, (d, s) => d + s),
  paddq: each(64, false, (d, s) => d + s),
  psubb: each(8, false, (d, s) => d - s),
  psubw: each(16, false, (d, s) => d - s),
  psubd: each(32, false, (d, s) => d - s),
  psubq: each(64, false, (d, s) => d - s),
  paddsb: each(8, true, (d, s) => clamp(d + s, 8, true)),
  paddsw: each(16, true, (d, s) => clamp(d + s, 16, true)),
  paddusb: each(8, false, (d, s) => clamp(d + s, 8, false)),
  paddusw: each(16, false, (d, s) => clamp(d + s, 16, false)),
  psubsb: each(8, true, (d, s) => clamp(d - s, 8, true)),
  psubsw: each(16, true, (d, s) => clamp(d - s, 16, true)),
  psubusb: each(8, false, (d, s) => clamp(d - s, 8, false)),
  psubusw: each(16, false, (d, s) => clamp(d - s, 16, false)),
  pcmpeqb: each(8, false, (d, s) => truth(d === s)),
  pcmpeqw: each(16, false, (d, s) => truth(d === s)),
  pcmpeqd: each(32, false, (d, s) => truth(d === s)),
  pcmpgtb: each(8, true, (d, s) => truth(d > s)),
  pcmpgtw: each(16, true, (d, s) => truth(d > s)),
  pcmpgtd: each(32, true, (d, s) => truth(d > s)),
  pand: (d, s) => d & s,
  pandn: (d, s, total) => BigInt.asUintN(total, ~d) & s,
  por: (d, s) => d | s,
  pxor: (d, s) => d ^ s,
  pavgb: each(8, false, (d, s) => (d + s + 1n) / 2n),
  pavgw: each(16, false, (d, s) => (d + s + 1n) / 2n),
  pminub: each(8, false, least),
  pmaxub: each(8, false, most),
  pminsw: each(16, true, least),
  pmaxsw: each(16, true, most),
  pmullw: each(16, true, (d, s) => d * s),
  pmulhw: each(16, true, (d, s) => (d * s) >> 16n),
  pmulhuw: each(16, false, (d, s) => (d * s) >> 16n),
  pmulhrsw: each(16, true, (d, s) => (((d * s) >> 14n) + 1n) >> 1n),
  psignb: each(8, true, (d, s) => (s < 0n ? -d : s === 0n ? 0n : d)),
  psignw: each(16, true, (d, s) => (s < 0n ? -d : s === 0n ? 0n : d)),
  psignd: each(32, true, (d, s) => (s < 0n ? -d : s === 0n ? 0n : d)),
  pabsb: each(8, true, (_d, s) => magnitude(s)),
  pabsw: each(16, true, (_d, s) => magnitude(s)),
  pabsd: each(32, true, (_d, s) => magnitude(s)),
  phaddw: pairs(16, false, (x, y) => x + y),
  phaddd: pairs(32, false, (x, y) => x + y),
  phaddsw: pairs(16, true, (x, y) => x + y),
  phsubw: pairs(16, false, (x, y) => x - y),
  phsubd: pairs(32, false, (x, y) => x - y),
  phsubsw: pairs(16, true, (x, y) => x - y),
  packsswb: narrow(16, true),
  packuswb: narrow(16, false),
  packssdw: narrow(32, true),
  punpcklbw: interleave(8, false),
  punpcklwd: interleave(16, false),
  punpckldq: interleave(32, false),
  punpckhbw: interleave(8, true),
  punpckhwd: interleave(16, true),
  punpckhdq: interleave(32, true),
  pmaddwd: products(16, false, false),
  pmaddubsw: products(8, true, true),
  pmuludq: each(64, false, (d, s) => (d & 0xffff_ffffn) * (s & 0xffff_ffffn)),
  psadbw: each(64, false, (d, s) => absoluteDifferences(cut(d, 8, 64), cut(s, 8, 64))),
  pshufb: (d, s, total) => {
    const from = cut(d, 8, total)
    return join(
      cut(s, 8, total).map((index) => (index & 0x80n ? 0n : from[Number(index) % from.length]!)),
      8,
    )
  },
}

function extension(from: number, to: number, signed: boolean): Meaning {
  return (_d, s, total) =>
    join(
      Array.from({ length: total / to }, (_, n) => {
        const lane = cut(s, from, total)[n]!
        return signed ? signedLane(lane, from) : lane
      }),
      to,
    )
}

/** Operations with XMM registers only. */
export const WIDE: Readonly<Record<string, Meaning>> = {
  pcmpeqq: each(64, false, (d, s) => truth(d === s)),
  pcmpgtq: each(64, true, (d, s) => truth(d > s)),
  pminsb: each(8, true, least),
  pmaxsb: each(8, true, most),
  pminuw: each(16, false, least),
  pmaxuw: each(16, false, most),
  pminsd: each(32, true, least),
  pmaxsd: each(32, true, most),
  pminud: each(32, false, least),
  pmaxud: each(32, false, most),
  pmulld: each(32, true, (d, s) => d * s),
  pmuldq: each(64, false, (d, s) => signedLane(d, 32) * signedLane(s, 32)),
  packusdw: narrow(32, false),
  punpcklqdq: interleave(64, false),
  punpckhqdq: interleave(64, true),
  phminposuw: (_d, s) => {
    const lanes = cut(s, 16, 128)
    const found = lanes.reduce(least)
    return found | (BigInt(lanes.indexOf(found)) << 16n)
  },
  andps: (d, s) => d & s,
  andnpd: (d, s) => BigInt.asUintN(128, ~d) & s,
  orps: (d, s) => d | s,
  xorpd: (d, s) => d ^ s,
  unpcklps: interleave(32, false),
  unpckhps: interleave(32, true),
  unpcklpd: interleave(64, false),
  unpckhpd: interleave(64, true),
  pmovsxbw: extension(8, 16, true),
  pmovsxbd: extension(8, 32, true),
  pmovsxbq: extension(8, 64, true),
  pmovsxwd: extension(16, 32, true),
  pmovsxwq: extension(16, 64, true),
  pmovsxdq: extension(32, 64, true),
  pmovzxbw: extension(8, 16, false),
  pmovzxbd: extension(8, 32, false),
  pmovzxbq: extension(8, 64, false),
  pmovzxwd: extension(16, 32, false),
  pmovzxwq: extension(16, 64, false),
  pmovzxdq: extension(32, 64, false),
  movddup: (_d, s) => join([s, s], 64),
  movsldup: (_d, s) =>
    join(
      [0, 0, 2, 2].map((n) => cut(s, 32, 128)[n]!),
      32,
    ),
  movshdup: (_d, s) =>
    join(
      [1, 1, 3, 3].map((n) => cut(s, 32, 128)[n]!),
      32,
    ),
}

/** `count` lanes chosen by two bits of the immediate each. */
const chosen = (lanes: readonly bigint[], imm: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, n) => lanes[(imm >> (2 * n)) & 3]!)

/** Takes lane n of the source where bit n of the immediate is set. */
function blend(bits: number): Meaning {
  return (d, s, total, imm) => {
    const ss = cut(s, bits, total)
    return join(
      cut(d, bits, total).map((lane, n) => ((imm >> n) & 1 ? ss[n]! : lane)),
      bits,
    )
  }
}

const align: Meaning = (d, s, total, imm) => BigInt.asUintN(total, ((d << BigInt(total)) | s) >> BigInt(imm * 8))

/** Operations with an immediate, XMM registers. */
export const IMMEDIATE: Readonly<Record<string, Meaning>> = {
  palignr: align,
  pshufd: (_d, s, _total, imm) => join(chosen(cut(s, 32, 128), imm, 4), 32),
  pshuflw: (_d, s, _total, imm) => {
    const lanes = cut(s, 16, 128)
    return join([...chosen(lanes, imm, 4), ...lanes.slice(4)], 16)
  },
  pshufhw: (_d, s, _total, imm) => {
    const lanes = cut(s, 16, 128)
    return join([...lanes.slice(0, 4), ...chosen(lanes.slice(4), imm, 4)], 16)
  },
  shufps: (d, s, _total, imm) =>
    join([...chosen(cut(d, 32, 128), imm, 2), ...chosen(cut(s, 32, 128), imm >> 4, 2)], 32),
  shufpd: (d, s, _total, imm) => join([cut(d, 64, 128)[imm & 1]!, cut(s, 64, 128)[(imm >> 1) & 1]!], 64),
  pblendw: blend(16),
  blendps: blend(32),
  blendpd: blend(64),
  mpsadbw: (d, s, _total, imm) => {
    const ds = cut(d, 8, 128)
    const block = cut(s, 8, 128).slice((imm & 3) * 4, (imm & 3) * 4 + 4)
    const from = imm & 4
    return join(
      Array.from({ length: 8 }, (_, n) => absoluteDifferences(ds.slice(from + n, from + n + 4), block)),
      16,
    )
  },
}

/** Operations with an immediate, MMX registers. */
export const IMMEDIATE_MMX: Readonly<Record<string, Meaning>> = {
  palignr: align,
  pshufw: (_d, s, _total, imm) => join(chosen(cut(s, 16, 64), imm, 4), 16),
}
