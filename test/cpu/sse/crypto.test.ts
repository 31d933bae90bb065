/** AES, PCLMULQDQ, CRC32 by published vectors, reciprocals by their bounds. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runs } from '../../runs.js'
import { A, B, pattern, Unit } from './values.js'

const unit = new Unit()

/** Sixteen bytes as they stand in memory. */
function block(hex: string): bigint {
  return BigInt(`0x${hex.replaceAll(' ', '').match(/../g)!.reverse().join('')}`)
}

function text(value: bigint): string {
  return value.toString(16).padStart(32, '0').match(/../g)!.reverse().join('')
}

function run(name: string, a: bigint, b: bigint, imm = 0): bigint {
  unit.set(A, a)
  unit.set(B, b)
  expect(unit.run(name, 0, imm)).toBe(-1)
  expect(unit.mxcsr).toBe(0)
  return unit.get(A)
}

/** The key schedule as programs compute it with AESKEYGENASSIST. */
function expandKey128(key: bigint): bigint[] {
  const keys = [key]
  for (const constant of [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36]) {
    const assist = run('aeskeygenassist', 0n, keys.at(-1)!, constant) >> 96n
    let next = prefixSums(keys.at(-1)!)
    for (let n = 0n; n < 4n; n++) next ^= assist << (32n * n)
    keys.push(next)
  }
  return keys
}

/** Each word with all before it added. */
function prefixSums(value: bigint): bigint {
  let sum = 0n
  let result = 0n
  for (let n = 0n; n < 4n; n++) {
    sum ^= BigInt.asUintN(32, value >> (32n * n))
    result |= sum << (32n * n)
  }
  return result
}

describe('AES', () => {
  it('FIPS 197, "Cipher Example" and "Key Expansion"', () => {
    const keys = expandKey128(block('2b7e151628aed2a6abf7158809cf4f3c'))
    expect(text(keys[1]!)).toBe('a0fafe1788542cb123a339392a6c7605')
    expect(text(keys[10]!)).toBe('d014f9a8c9ee2589e13f0cc8b6630ca6')
    let state = block('3243f6a8885a308d313198a2e0370734') ^ keys[0]!
    state = run('aesenc', state, keys[1]!)
    expect(text(state)).toBe('a49c7ff2689f352b6b5bea43026a5049')
    for (let n = 2; n < 10; n++) state = run('aesenc', state, keys[n]!)
    expect(text(run('aesenclast', state, keys[10]!))).toBe('3925841d02dc09fbdc118597196a0b32')
  })

  it('FIPS 197, "Example Vectors": AES-128 there and back', () => {
    const keys = expandKey128(block('000102030405060708090a0b0c0d0e0f'))
    let state = block('00112233445566778899aabbccddeeff') ^ keys[0]!
    for (let n = 1; n < 10; n++) state = run('aesenc', state, keys[n]!)
    state = run('aesenclast', state, keys[10]!)
    expect(text(state)).toBe('69c4e0d86a7b0430d8cdb78070b4c55a')
    state ^= keys[10]!
    for (let n = 9; n > 0; n--) state = run('aesdec', state, run('aesimc', 0n, keys[n]!))
    expect(text(run('aesdeclast', state, keys[0]!))).toBe('00112233445566778899aabbccddeeff')
  })
})

it('PCLMULQDQ is polynomial multiplication over GF(2)', () => {
  const words = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n })
  fc.assert(
    fc.property(words, words, fc.constantFrom(0, 1, 0x10, 0x11, 0xee), (x, y, imm) => {
      const p = BigInt.asUintN(64, imm & 1 ? x >> 64n : x)
      const q = BigInt.asUintN(64, imm & 0x10 ? y >> 64n : y)
      let product = 0n
      for (let n = 0n; n < 64n; n++) if ((q >> n) & 1n) product ^= p << n
      expect(run('pclmulqdq', x, y, imm)).toBe(product)
    }),
    { numRuns: runs(100) },
  )
})

describe('CRC32', () => {
  /** The CRC of bytes, taken in pieces of `sizes`. */
  function crc(bytes: readonly number[], sizes: readonly number[]): string {
    const { s } = unit
    s.setBig(0, 0xffff_ffffn)
    let at = 0
    for (let n = 0; at < bytes.length; n++) {
      const size = Math.min(sizes[n % sizes.length]!, 1 << Math.floor(Math.log2(bytes.length - at)))
      s.setBig(8, 0xeeee_eeee_eeee_eeeen)
      for (let k = 0; k < size; k++) s.u8[8 + k] = bytes[at + k]!
      unit.run('crc32', 0, size, 0, 8)
      at += size
    }
    return (s.getBig(0) ^ 0xffff_ffffn).toString(16).padStart(8, '0')
  }

  const pieces = [[1], [2], [4], [8], [1, 8, 2, 4]]

  it.each(pieces)('RFC 3720, "CRC Examples", in pieces of %d', (...sizes) => {
    const bytes = (value: (n: number) => number): number[] => Array.from({ length: 32 }, (_, n) => value(n))
    expect(
      crc(
        bytes(() => 0),
        sizes,
      ),
    ).toBe('8a9136aa')
    expect(
      crc(
        bytes(() => 0xff),
        sizes,
      ),
    ).toBe('62a8ab43')
    expect(
      crc(
        bytes((n) => n),
        sizes,
      ),
    ).toBe('46dd794e')
    expect(
      crc(
        bytes((n) => 31 - n),
        sizes,
      ),
    ).toBe('113fdb5c')
    expect(
      crc(
        [...'123456789'].map((c) => c.charCodeAt(0)),
        sizes,
      ),
    ).toBe('e3069283')
  })
})

describe('reciprocals', () => {
  const view = new DataView(new ArrayBuffer(4))
  const number = (bits: bigint): number => {
    view.setUint32(0, Number(bits))
    return view.getFloat32(0)
  }

  it.each([
    ['rcpss', (x: number): number => 1 / x],
    ['rsqrtss', (x: number): number => 1 / Math.sqrt(x)],
  ] as const)('%s is within 1.5 · 2^-12', (name, exact) => {
    fc.assert(
      fc.property(pattern(32), (raw) => {
        const bits = name === 'rsqrtss' && number(raw) < 0 ? BigInt.asUintN(31, raw) : raw
        const x = number(bits)
        const wanted = exact(x)
        fc.pre(Math.abs(x) >= 2 ** -126 && Number.isFinite(x) && Math.abs(wanted) >= 2 ** -126)
        const result = number(BigInt.asUintN(32, run(name, 0n, bits)))
        expect(Math.abs(result / wanted - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12)
      }),
      { numRuns: runs(500) },
    )
  })

  // Intel SDM Vol. 2, "RCPPS" and "RSQRTPS".
  it.each([
    ['rcpps', 0x0000_0000, 0x7f80_0000],
    ['rcpps', 0x8000_0000, 0xff80_0000],
    ['rcpps', 0x8000_0001, 0xff80_0000],
    ['rcpps', 0x7f80_0000, 0x0000_0000],
    ['rcpps', 0xff80_0000, 0x8000_0000],
    ['rcpps', 0x7f00_0001, 0x0000_0000],
    ['rcpps', 0xff7f_ffff, 0x8000_0000],
    ['rcpps', 0x7f80_0001, 0x7fc0_0001],
    ['rcpps', 0xffc1_2345, 0xffc1_2345],
    ['rcpps', 0x4080_0000, 0x3e80_0000],
    ['rsqrtps', 0x0000_0000, 0x7f80_0000],
    ['rsqrtps', 0x8000_0000, 0xff80_0000],
    ['rsqrtps', 0x8000_0001, 0xff80_0000],
    ['rsqrtps', 0xbf80_0000, 0xffc0_0000],
    ['rsqrtps', 0x7f80_0000, 0x0000_0000],
    ['rsqrtps', 0xff80_0000, 0xffc0_0000],
    ['rsqrtps', 0x4080_0000, 0x3f00_0000],
  ])('%s of %d', (name, operand, expected) => {
    const four = BigInt(operand) * 0x1_0000_0001_0000_0001_0000_0001n
    expect(run(name, 0n, four).toString(16)).toBe((BigInt(expected) * 0x1_0000_0001_0000_0001_0000_0001n).toString(16))
    expect(run(name.replace(/ps$/, 'ss'), 0n, four)).toBe(BigInt(expected))
  })
})
