/** Exact arithmetic on 80-bit numbers with BigInt fractions, written without a look at how the processor does it. */

import { Float80 } from '../../../src/cpu/float80.js'

/** ± numerator / denominator, the numerator above 0; `root`: its square root instead. */
export interface Exact {
  readonly negative: boolean
  readonly numerator: bigint
  readonly denominator: bigint
  readonly root?: boolean
}

const EMIN = -16382
const EMAX = 16383
const WRAP = 24576

export function float80(sexp: number, significand: bigint): Float80 {
  const f = new Float80()
  f.set(sexp, Number(significand >> 32n), Number(significand & 0xffff_ffffn))
  return f
}

export function significandOf(f: Float80): bigint {
  return (BigInt(f.hi >>> 0) << 32n) | BigInt(f.lo >>> 0)
}

/** `sexp:significand` in hexadecimal. */
export function show(f: Float80): string {
  return `${f.sexp.toString(16).padStart(4, '0')}:${significandOf(f).toString(16).padStart(16, '0')}`
}

function power(value: bigint, denominator: bigint, by: number): [bigint, bigint] {
  return by >= 0 ? [value << BigInt(by), denominator] : [value, denominator << BigInt(-by)]
}

/** The exact value of a finite number. */
export function exactOf(f: Float80): Exact {
  const exp = (f.sexp & 0x7fff || 1) - 16383 - 63
  const [numerator, denominator] = power(significandOf(f), 1n, exp)
  return { negative: f.sexp >= 0x8000, numerator, denominator }
}

function isqrt(value: bigint): bigint {
  if (value < 2n) return value
  let x = 1n << BigInt((value.toString(2).length + 1) >> 1)
  for (;;) {
    const y = (x + value / x) >> 1n
    if (y >= x) return x
    x = y
  }
}

/** ⌊value × 2^by⌋ and whether that is less than value × 2^by by: nothing (0), less than half (1), half (2), more (3). */
function floor(value: Exact, by: number): [bigint, number] {
  // One more bit, to see halves.
  const up = by + 1
  let whole: bigint
  let exact: boolean
  if (value.root) {
    const [n, d] = power(value.numerator, value.denominator, 2 * up)
    whole = isqrt(n / d)
    exact = whole * whole * d === n
  } else {
    const [n, d] = power(value.numerator, value.denominator, up)
    whole = n / d
    exact = whole * d === n
  }
  const half = (whole & 1n) !== 0n
  return [whole >> 1n, half ? (exact ? 2 : 3) : exact ? 0 : 1]
}

/** Rounds an integer with what lies below it, by rounding control. */
function rounded([whole, rest]: [bigint, number], negative: boolean, rounding: number): bigint {
  if (rest === 0) return whole
  const away = rounding === 0 ? rest === 3 || (rest === 2 && (whole & 1n) !== 0n) : rounding === (negative ? 1 : 2)
  return away ? whole + 1n : whole
}

/** ⌊log2⌋ of the value. */
function exponentOf(value: Exact): number {
  const { numerator: n, denominator: d } = value
  let e = n.toString(2).length - d.toString(2).length
  const [a, b] = power(n, d, -e)
  if (a < b) e--
  return value.root ? Math.floor(e / 2) : e
}

export interface Outcome {
  readonly bits: string
  /** Exceptions, in the places of the status word. */
  readonly flags: number
  readonly up: boolean
}

/** What an operation with that exact result gives. */
export function outcome(value: Exact, precision: number, rounding: number, masks: number): Outcome {
  const { negative } = value
  const sign = negative ? 0x8000 : 0
  let e = exponentOf(value)
  let wrap = 0
  let flags = 0
  // As if the exponent had no bounds.
  const free = floor(value, precision - 1 - e)
  let whole = rounded(free, negative, rounding)
  let rest = free
  const top = 1n << BigInt(precision)
  const carried = whole === top ? 1 : 0
  if (e + carried < EMIN) {
    if (masks & 0x10) {
      e = EMIN
      rest = floor(value, precision - 1 - EMIN)
      whole = rounded(rest, negative, rounding)
      if (rest[1] !== 0) flags |= 0x10
    } else {
      flags |= 0x10
      wrap = WRAP
    }
  } else if (e + carried > EMAX) {
    flags |= 0x08
    if (masks & 0x08) {
      const infinite = rounding === 0 || rounding === (negative ? 1 : 2)
      const largest = ((1n << 64n) - 1n) & ~((1n << BigInt(64 - precision)) - 1n)
      const result = infinite ? float80(sign | 0x7fff, 1n << 63n) : float80(sign | 0x7ffe, largest)
      return { bits: show(result), flags: flags | 0x20, up: infinite }
    }
    wrap = -WRAP
  }
  if (rest[1] !== 0) flags |= 0x20
  const up = whole > rest[0]
  let significand = whole << BigInt(64 - precision)
  if (significand >> 64n) {
    significand >>= 1n
    e++
  }
  const exp = significand >> 63n ? e + 16383 + wrap : 0
  return { bits: show(float80(sign | exp, significand)), flags, up }
}
