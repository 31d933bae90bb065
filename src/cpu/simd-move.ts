/**
 * Moves, shuffles, blends, insertions and extractions: operations that take lanes from somewhere and put them elsewhere.
 * Source: Intel SDM Vol. 2, the page of each instruction.
 */

import { FLAG_CF, FLAG_ZF } from '../isa/flags.js'
import type { CpuCore } from './cpu-types.js'
import { OFF_XMM } from './layout.js'
import type { SimdGroup, SimdOperation } from './simd-types.js'
import { R, vectorOperation, X, Y } from './simd-vector.js'

/** A general register ← a number of 32 bits, zero-extended. */
function setGeneral(cpu: CpuCore, slot: number, value: number): void {
  const at = (cpu.s.base + slot) >> 2
  cpu.s.i32[at] = value
  cpu.s.i32[at + 1] = 0
}

/** A general register ← what `compute` makes of the source {@link Y}. */
function toGeneral(compute: (imm: number) => number): SimdOperation {
  return (cpu, a, _b, c, imm) => {
    Y.load(cpu.s, c)
    setGeneral(cpu, a, compute(imm))
  }
}

/** The sign bits of `count` lanes of the source. */
function signs(lane: 'i8' | 'i32' | 'i64', count: number): SimdOperation {
  return toGeneral(() => {
    let mask = 0
    for (let n = 0; n < count; n++) if (Y[lane][n]! < 0) mask |= 1 << n
    return mask
  })
}

/** Starts from the old destination. */
function merge(compute: (imm: number) => void): SimdOperation {
  return vectorOperation(16, (imm) => {
    R.u8.set(X.u8)
    compute(imm)
  })
}

/** Starts from zero. */
function fresh(compute: (imm: number) => void): SimdOperation {
  return vectorOperation(16, (imm) => {
    R.u8.fill(0)
    compute(imm)
  })
}

/** Lanes of the second source where the immediate has a one. */
function blend(size: number): SimdOperation {
  return merge((imm) => {
    for (let n = 0; n < 16; n++) if ((imm >> (n / size)) & 1) R.u8[n] = Y.u8[n]!
  })
}

/** Lanes of the second source where the same lane of XMM0 has its sign set. */
function blendByXmm0(size: number): SimdOperation {
  return (cpu, a, b, c) => {
    const { s } = cpu
    X.load(s, b)
    Y.load(s, c)
    const mask = s.base + OFF_XMM
    for (let n = 0; n < 16; n++) R.u8[n] = s.u8[mask + (n | (size - 1))]! & 0x80 ? Y.u8[n]! : X.u8[n]!
    R.store(s, a, 16)
  }
}

/** Widens the low lanes of the source. */
function extend(from: 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32', to: 'i16' | 'i32' | 'i64'): SimdOperation {
  return vectorOperation(16, () => {
    const source = Y[from]
    if (to === 'i64') for (let n = 0; n < 2; n++) R.i64[n] = BigInt(source[n]!)
    else for (let n = 0; n < R[to].length; n++) R[to][n] = source[n]!
  })
}

/** PSHUFW, PSHUFLW, PSHUFHW: the four words from `first` on, chosen by two bits each. */
function words(first: number): (imm: number) => void {
  return (imm) => {
    R.u8.set(Y.u8)
    for (let n = 0; n < 4; n++) R.u16[first + n] = Y.u16[first + ((imm >> (2 * n)) & 3)]!
  }
}

const insertps = merge((imm) => {
  R.u32[(imm >> 4) & 3] = Y.u32[imm >> 6]!
  for (let n = 0; n < 4; n++) if ((imm >> n) & 1) R.u32[n] = 0
})

/** ZF: the source has no bit of the destination; CF: it has none outside. The other flags are cleared. */
const ptest: SimdOperation = (cpu, _a, b, c) => {
  const { s } = cpu
  X.load(s, b)
  Y.load(s, c)
  let both = 0
  let outside = 0
  for (let n = 0; n < 4; n++) {
    both |= X.i32[n]! & Y.i32[n]!
    outside |= ~X.i32[n]! & Y.i32[n]!
  }
  s.arithmetic = (both === 0 ? FLAG_ZF : 0) | (outside === 0 ? FLAG_CF : 0)
}

/**
 * MASKMOVQ, MASKMOVDQU: a = slot of the offset, b = bytes, c = mask, imm = segment | address size << 4 (2, 4, 8 bytes). Only the selected bytes are
 * accessed; none is written before all are known to be writable.
 */
function maskedStore(bytes: 8 | 16): SimdOperation {
  return (cpu, a, b, c, imm) => {
    const { s, mem } = cpu
    const seg = imm & 15
    const size = imm >> 4
    const offset = s.getNumber(a)
    const place = (n: number): number =>
      size === 2 ? (offset + n) & 0xffff : size === 4 ? (offset + n) % 4294967296 : offset + n
    for (let n = 0; n < bytes; n++) if (s.u8[s.base + c + n]! & 0x80) mem.probeWrite(seg, place(n), 1)
    for (let n = 0; n < bytes; n++) {
      if (s.u8[s.base + c + n]! & 0x80) mem.write8(seg, place(n), s.u8[s.base + b + n]!)
    }
  }
}

/** Moves and rearrangements. */
export const SIMD_MOVE: SimdGroup = {
  /** All 16 bytes; the low 8 or 4 with the rest kept, or cleared. */
  'move.16': vectorOperation(16, () => R.u8.set(Y.u8)),
  'move.8': merge(() => {
    R.u64[0] = Y.u64[0]!
  }),
  'move.4': merge(() => {
    R.u32[0] = Y.u32[0]!
  }),
  'move.8z': fresh(() => {
    R.u64[0] = Y.u64[0]!
  }),
  'move.4z': fresh(() => {
    R.u32[0] = Y.u32[0]!
  }),
  'move.mm': vectorOperation(8, () => {
    R.u64[0] = Y.u64[0]!
  }),
  'move.4z.mm': vectorOperation(8, () => {
    R.u64[0] = BigInt(Y.u32[0]!)
  }),
  movhlps: merge(() => {
    R.u64[0] = Y.u64[1]!
  }),
  movlhps: merge(() => {
    R.u64[1] = Y.u64[0]!
  }),
  movddup: vectorOperation(16, () => {
    R.u64[0] = Y.u64[0]!
    R.u64[1] = Y.u64[0]!
  }),
  movsldup: vectorOperation(16, () => {
    for (let n = 0; n < 4; n++) R.u32[n] = Y.u32[n & 2]!
  }),
  movshdup: vectorOperation(16, () => {
    for (let n = 0; n < 4; n++) R.u32[n] = Y.u32[n | 1]!
  }),

  pmovmskb: signs('i8', 16),
  'pmovmskb.mm': signs('i8', 8),
  movmskps: signs('i32', 4),
  movmskpd: signs('i64', 2),

  pshufd: vectorOperation(16, (imm) => {
    for (let n = 0; n < 4; n++) R.u32[n] = Y.u32[(imm >> (2 * n)) & 3]!
  }),
  pshuflw: vectorOperation(16, words(0)),
  pshufhw: vectorOperation(16, words(4)),
  'pshufw.mm': vectorOperation(8, words(0)),
  shufps: vectorOperation(16, (imm) => {
    for (let n = 0; n < 4; n++) R.u32[n] = (n < 2 ? X : Y).u32[(imm >> (2 * n)) & 3]!
  }),
  shufpd: vectorOperation(16, (imm) => {
    R.u64[0] = X.u64[imm & 1]!
    R.u64[1] = Y.u64[(imm >> 1) & 1]!
  }),

  pblendw: blend(2),
  blendps: blend(4),
  blendpd: blend(8),
  pblendvb: blendByXmm0(1),
  blendvps: blendByXmm0(4),
  blendvpd: blendByXmm0(8),

  pinsrb: merge((imm) => {
    R.u8[imm & 15] = Y.u8[0]!
  }),
  pinsrw: merge((imm) => {
    R.u16[imm & 7] = Y.u16[0]!
  }),
  'pinsrw.mm': vectorOperation(8, (imm) => {
    R.u8.set(X.u8)
    R.u16[imm & 3] = Y.u16[0]!
  }),
  pinsrd: merge((imm) => {
    R.u32[imm & 3] = Y.u32[0]!
  }),
  pinsrq: merge((imm) => {
    R.u64[imm & 1] = Y.u64[0]!
  }),
  insertps,
  pextrb: toGeneral((imm) => Y.u8[imm & 15]!),
  pextrw: toGeneral((imm) => Y.u16[imm & 7]!),
  'pextrw.mm': toGeneral((imm) => Y.u16[imm & 3]!),
  pextrd: toGeneral((imm) => Y.i32[imm & 3]!),
  pextrq: (cpu, a, _b, c, imm) => {
    const at = (cpu.s.base + c + (imm & 1) * 8) >> 3
    cpu.s.big[(cpu.s.base + a) >> 3] = cpu.s.big[at]!
  },

  pmovsxbw: extend('i8', 'i16'),
  pmovsxbd: extend('i8', 'i32'),
  pmovsxbq: extend('i8', 'i64'),
  pmovsxwd: extend('i16', 'i32'),
  pmovsxwq: extend('i16', 'i64'),
  pmovsxdq: extend('i32', 'i64'),
  pmovzxbw: extend('u8', 'i16'),
  pmovzxbd: extend('u8', 'i32'),
  pmovzxbq: extend('u8', 'i64'),
  pmovzxwd: extend('u16', 'i32'),
  pmovzxwq: extend('u16', 'i64'),
  pmovzxdq: extend('u32', 'i64'),

  ptest,
  maskmovdqu: maskedStore(16),
  'maskmovq.mm': maskedStore(8),
}
