/**
 * The 80-bit format: what its encodings are, how a result is rounded into it, and which NaN comes out of NaNs. Everything works on 32-bit
 * halves of the significand and allocates nothing.
 * Source: Intel SDM Vol. 1, "x87 FPU Data Types", "Rounding", "x87 FPU Floating-Point Exception Conditions".
 */

/** Exception flags, in their places in the status and the control word. */
export const X87_IE = 0x01
export const X87_DE = 0x02
export const X87_ZE = 0x04
export const X87_OE = 0x08
export const X87_UE = 0x10
export const X87_PE = 0x20

/** Rounding control. */
export const ROUND_NEAREST = 0
export const ROUND_DOWN = 1
export const ROUND_UP = 2
export const ROUND_ZERO = 3

/** What an encoding is. Denormals include pseudo-denormals; unsupported are pseudo-NaN, pseudo-infinity and unnormals. */
export const CLASS_ZERO = 0
export const CLASS_NORMAL = 1
export const CLASS_DENORMAL = 2
export const CLASS_INFINITY = 3
export const CLASS_QNAN = 4
export const CLASS_SNAN = 5
export const CLASS_UNSUPPORTED = 6

export const EXPONENT_BIAS = 16383
export const EXPONENT_MAX = 0x7fff
/** What the exponent of a result is changed by when the overflow or underflow exception is unmasked. */
const EXPONENT_WRAP = 24576

/** A number as a register holds it. */
export class Float80 {
  /** Sign in bit 15, biased exponent below. */
  sexp = 0
  /** The significand's halves, signed 32-bit numbers. */
  hi = 0
  lo = 0

  /** Takes over the value of `from`. */
  copy(from: Float80): void {
    this.sexp = from.sexp
    this.hi = from.hi
    this.lo = from.lo
  }

  /** Writes sign and exponent, and both halves. */
  set(sexp: number, hi: number, lo: number): void {
    this.sexp = sexp
    this.hi = hi | 0
    this.lo = lo | 0
  }
}

/** One of the CLASS_ constants. */
export function classify(a: Float80): number {
  const exp = a.sexp & EXPONENT_MAX
  if (exp === 0) return (a.hi | a.lo) === 0 ? CLASS_ZERO : CLASS_DENORMAL
  if (a.hi >= 0) return CLASS_UNSUPPORTED
  if (exp !== EXPONENT_MAX) return CLASS_NORMAL
  if (((a.hi & 0x7fff_ffff) | a.lo) === 0) return CLASS_INFINITY
  return a.hi & 0x4000_0000 ? CLASS_QNAN : CLASS_SNAN
}

/** The real indefinite: what an invalid operation gives. */
export function setIndefinite(r: Float80): void {
  r.set(0xffff, 0xc000_0000, 0)
}

export function setZero(r: Float80, sign: number): void {
  r.set(sign << 15, 0, 0)
}

export function setInfinity(r: Float80, sign: number): void {
  r.set((sign << 15) | EXPONENT_MAX, 0x8000_0000, 0)
}

/** Is a below b, as unsigned 64-bit numbers in halves? */
export function below64(aHi: number, aLo: number, bHi: number, bLo: number): boolean {
  return aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0
}

/** Controls of an operation, the exceptions it met, and the words it works on. One object serves many operations. */
export class Float80Context {
  /** ROUND_ constant. */
  rounding: number = ROUND_NEAREST
  /** Bits of significand that results are rounded to: 24, 53 or 64. */
  precision = 64
  /** Exception masks (1 = masked), which decide what an overflow or underflow gives. */
  masks = 0x3f
  /** Exceptions met. */
  flags = 0
  /** 1 when the last rounding went away from zero. */
  up = 0
  /** The operand from memory was a denormal of its format: it counts as one although its value is normal here. */
  denormalSource = false

  /** 96 bits: significand and what lies below it, the last bit sticky. */
  hi = 0
  lo = 0
  ex = 0

  /** Starts an operation under control word `fcw`. */
  start(fcw: number): void {
    this.rounding = (fcw >> 10) & 3
    const pc = (fcw >> 8) & 3
    this.precision = pc === 0 ? 24 : pc === 2 ? 53 : 64
    this.masks = fcw & 0x3f
    this.flags = 0
    this.up = 0
    this.denormalSource = false
  }

  /** An exception that keeps the operation from being done was met and is not masked. */
  get stopped(): boolean {
    return (this.flags & ~this.masks & (X87_IE | X87_DE | X87_ZE)) !== 0
  }

  /** Would the rounding of a magnitude ending in a bit `odd`, with `rest` (32 bits, the last one sticky) below it, go away from zero? */
  roundsUp(sign: number, odd: number, rest: number): boolean {
    switch (this.rounding) {
      case ROUND_NEAREST:
        return rest < 0 && ((rest & 0x7fff_ffff) !== 0 || odd !== 0)
      case ROUND_DOWN:
        return sign !== 0 && rest !== 0
      case ROUND_UP:
        return sign === 0 && rest !== 0
      default:
        return false
    }
  }

  /** Shifts the 96 bits right by `count`, keeping the last bit sticky. */
  shiftRight(count: number): void {
    if (count <= 0) return
    if (count >= 96) {
      this.ex = (this.hi | this.lo | this.ex) !== 0 ? 1 : 0
      this.hi = this.lo = 0
      return
    }
    let { hi, lo, ex } = this
    let lost = 0
    while (count >= 32) {
      lost |= ex
      ex = lo
      lo = hi
      hi = 0
      count -= 32
    }
    if (count > 0) {
      const up = 32 - count
      lost |= ex << up
      ex = (ex >>> count) | (lo << up)
      lo = (lo >>> count) | (hi << up)
      hi >>>= count
    }
    this.hi = hi | 0
    this.lo = lo | 0
    this.ex = ex | (lost !== 0 ? 1 : 0)
  }

  /** Shifts the 96 bits left until the top one is set; returns by how many. Not for 0. */
  normalize(): number {
    let count = 0
    let { hi, lo, ex } = this
    while (hi === 0) {
      hi = lo
      lo = ex
      ex = 0
      count += 32
    }
    const zeros = Math.clz32(hi)
    if (zeros > 0) {
      hi = (hi << zeros) | (lo >>> (32 - zeros))
      lo = (lo << zeros) | (ex >>> (32 - zeros))
      ex <<= zeros
    }
    this.hi = hi
    this.lo = lo
    this.ex = ex
    return count + zeros
  }

  /**
   * Rounds the 96 bits to `precision` bits in place. Returns 1 when that carried out of the top (the significand is then
   * 8000…), sets `up` and leaves in `ex` what was lost.
   */
  roundAt(sign: number, precision: number): number {
    let { hi, lo } = this
    let rest: number
    let odd: number
    if (precision === 64) {
      rest = this.ex
      odd = lo & 1
    } else if (precision === 53) {
      rest = (lo << 21) | (this.ex >>> 11) | ((this.ex & 0x7ff) !== 0 ? 1 : 0)
      lo &= ~0x7ff
      odd = lo & 0x800
    } else {
      rest = (hi << 24) | (lo >>> 8) | (((lo & 0xff) | this.ex) !== 0 ? 1 : 0)
      hi &= ~0xff
      lo = 0
      odd = hi & 0x100
    }
    let carry = 0
    this.up = 0
    if (this.roundsUp(sign, odd, rest)) {
      this.up = 1
      if (precision === 24) hi = (hi + 0x100) | 0
      else {
        lo = (lo + (precision === 53 ? 0x800 : 1)) | 0
        if (lo === 0) hi = (hi + 1) | 0
      }
      if (hi === 0 && lo === 0) {
        carry = 1
        hi = 0x8000_0000 | 0
      }
    }
    this.hi = hi
    this.lo = lo
    this.ex = rest
    return carry
  }

  /**
   * r ← ± the 96 bits × 2^(exp − bias − 63 − 32), rounded to `precision` bits. The top bit must be set. Overflow and underflow as the masks
   * say; tininess is detected after rounding.
   */
  roundPack(r: Float80, sign: number, exp: number, precision: number): void {
    const { hi, lo, ex } = this
    const carry = this.roundAt(sign, precision)
    if (exp + carry <= 0) {
      if (this.masks & X87_UE) {
        this.hi = hi
        this.lo = lo
        this.ex = ex
        this.shiftRight(1 - exp)
        this.roundAt(sign, precision)
        if (this.ex !== 0) this.flags |= X87_UE | X87_PE
        r.set((sign << 15) | (this.hi < 0 ? 1 : 0), this.hi, this.lo)
        return
      }
      this.flags |= X87_UE
      exp += EXPONENT_WRAP
      if (exp + carry <= 0) {
        // Even the biased exponent is out of range (FSCALE).
        this.flags |= X87_PE
        this.up = 0
        setZero(r, sign)
        return
      }
    }
    exp += carry
    if (exp >= EXPONENT_MAX) {
      this.flags |= X87_OE
      if (this.masks & X87_OE) {
        this.flags |= X87_PE
        this.overflow(r, sign, precision)
        return
      }
      if (exp - EXPONENT_WRAP >= EXPONENT_MAX) {
        this.flags |= X87_PE
        this.up = 1
        setInfinity(r, sign)
        return
      }
      exp -= EXPONENT_WRAP
    }
    if (this.ex !== 0) this.flags |= X87_PE
    r.set((sign << 15) | exp, this.hi, this.lo)
  }

  /** r ← infinity or the largest number, by the rounding control. */
  overflow(r: Float80, sign: number, precision: number): void {
    const { rounding } = this
    if (rounding === ROUND_NEAREST || rounding === (sign ? ROUND_DOWN : ROUND_UP)) {
      this.up = 1
      setInfinity(r, sign)
    } else {
      this.up = 0
      const exp = (sign << 15) | (EXPONENT_MAX - 1)
      if (precision === 24) r.set(exp, 0xffff_ff00, 0)
      else r.set(exp, 0xffff_ffff, precision === 53 ? 0xffff_f800 : 0xffff_ffff)
    }
  }

  /** r ← the outcome of an invalid operation. */
  invalid(r: Float80): void {
    this.flags |= X87_IE
    setIndefinite(r)
  }

  /** Settles an operand that is no number: r and flags are set, and true returned. A denormal sets DE, and is settled only if that stops the operation. */
  special1(a: Float80, classA: number, r: Float80): boolean {
    if (classA === CLASS_DENORMAL) return this.denormal()
    if (classA < CLASS_QNAN) return false
    if (classA === CLASS_UNSUPPORTED) this.invalid(r)
    else {
      if (classA === CLASS_SNAN) this.flags |= X87_IE
      r.set(a.sexp, a.hi | 0x4000_0000, a.lo)
    }
    return true
  }

  /** The same for two operands. */
  special2(a: Float80, classA: number, b: Float80, classB: number, r: Float80): boolean {
    if (classA < CLASS_DENORMAL && classB < CLASS_DENORMAL) return this.denormalSource && this.denormal()
    if (classA === CLASS_UNSUPPORTED || classB === CLASS_UNSUPPORTED) {
      this.invalid(r)
      return true
    }
    if (classA >= CLASS_QNAN || classB >= CLASS_QNAN) {
      if (classA === CLASS_SNAN || classB === CLASS_SNAN) this.flags |= X87_IE
      const from = chooseNaN(a, classA, b, classB) ? a : b
      r.set(from.sexp, from.hi | 0x4000_0000, from.lo)
      return true
    }
    if (classA === CLASS_DENORMAL || classB === CLASS_DENORMAL || this.denormalSource) return this.denormal()
    return false
  }

  /** Notes a denormal operand; true when that stops the operation. */
  private denormal(): boolean {
    this.flags |= X87_DE
    return (this.masks & X87_DE) === 0
  }
}

/** Whether `a` rather than `b` becomes the result; at least one is a NaN (Intel SDM Vol. 1, "Rules for Handling NaNs"). */
function chooseNaN(a: Float80, classA: number, b: Float80, classB: number): boolean {
  if (classA < CLASS_QNAN) return false
  if (classB < CLASS_QNAN) return true
  if (classA !== classB) return classA === CLASS_QNAN
  if (a.hi !== b.hi || a.lo !== b.lo) return below64(b.hi, b.lo, a.hi, a.lo)
  return a.sexp <= b.sexp
}
