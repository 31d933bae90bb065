/** Makes the cases of x87, MMX and SSE: what {@link Generator} does, and the state of those units. */
import type { OracleCase } from './case.js'
import { isX87 } from './forms-fp.js'
import { FP_FDP, FP_FIP, FP_FOP, FP_MXCSR, FP_R, FP_TAG, FP_XMM, FpState } from './fp-state.js'
import {
  DOUBLE,
  extended,
  extendedBetween,
  extendedOf,
  extendedRelated,
  float,
  type Lanes,
  lanes,
  littleEndian,
  SINGLE,
} from './fp-values.js'
import { bytesOf, Generator, type Target } from './generate.js'

const RAX = 0
const RDX = 2
const RDI = 7

const TRIGONOMETRIC = /^(fsin|fcos|fsincos|fptan)$/
/** Instructions that push: the register above the top should mostly be empty. */
const PUSHES = /^(fld|fld1|fldl2t|fldl2e|fldpi|fldlg2|fldln2|fldz|fild|fbld|fptan|fxtract|fsincos|fdecstp)$/
/** Bits of MXCSR that every processor has: MXCSR.MM, bit 17, is AMD's. */
const MXCSR_BITS = 0xffff

/** Lanes that an instruction works on. */
function laneKind(mnemonic: string): Lanes {
  if (/^pcmp[ei]str/.test(mnemonic)) return 'string'
  if (/^cvtdq2|^cvtpi2/.test(mnemonic)) return 'd'
  if (/^cvtt?(ps|ss)2/.test(mnemonic)) return 'single'
  if (/^cvtt?(pd|sd)2/.test(mnemonic)) return 'double'
  if (/(ps|ss)$/.test(mnemonic)) return 'single'
  if (/(pd|sd)$/.test(mnemonic)) return 'double'
  if (/^(rcp|rsqrt)/.test(mnemonic)) return 'single'
  if (/^pack(ss|us)wb|^pmaddwd|^pmulh|^pmullw|phminpos/.test(mnemonic)) return 'w'
  if (/^pack(ss|us)dw/.test(mnemonic)) return 'd'
  if (/^(pmaddubsw|mpsadbw|psadbw|pshufb|pblendvb)/.test(mnemonic)) return 'b'
  const last = /^p.*?(u|s|r)?([bwdq])$/.exec(mnemonic)
  if (last !== null) return last[2] as Lanes
  return 'q'
}

export class FpGenerator extends Generator {
  private readonly fp = new FpState()
  private kind: Lanes = 'q'
  private sample: Uint8Array = new Uint8Array(16)

  override generate(): OracleCase {
    this.c.fp = this.fp
    return super.generate()
  }

  protected override get wideReg(): boolean {
    return this.form.row.operands.some((o) => o.method === 'V' || o.method === 'G')
  }

  protected override implicit(): void {
    const { c, r, form, fp } = this
    const { row, bits } = form
    const { mnemonic } = row
    this.control()
    if (isX87(row)) {
      this.kind = r.pick(['single', 'double', 'q'])
      this.x87()
    } else {
      const own = laneKind(mnemonic)
      this.kind = r.chance(90) ? own : r.pick(['single', 'double', 'b', 'w', 'd', 'q'])
      for (let i = 0; i < 8; i++) {
        if (r.chance(80)) fp.put(FP_R + i * 16, lanes(r, this.kind).subarray(0, 8))
        else fp.put(FP_R + i * 16, littleEndian(extended(r), 10))
        fp.bytes[FP_R + i * 16 + 8] = r.below(256)
        fp.bytes[FP_R + i * 16 + 9] = r.below(256)
      }
    }
    this.sample = lanes(r, this.kind)
    const count = bits === 64 ? 16 : 8
    for (let i = 0; i < count; i++) {
      const count = /^ps(ll|rl|ra)/.test(mnemonic) && r.chance(60)
      fp.put(FP_XMM + i * 16, lanes(r, this.kind, this.sample))
      // Shift counts.
      if (count) fp.put(FP_XMM + i * 16, littleEndian(BigInt(r.below(70)), 8))
    }
    if (/^ps(ll|rl|ra)/.test(mnemonic)) {
      for (let i = 0; i < 8; i++) if (r.chance(40)) fp.put(FP_R + i * 16, littleEndian(BigInt(r.below(70)), 8))
    }
    if (/^maskmov/.test(mnemonic)) {
      const size = mnemonic === 'maskmovq' ? 8 : 16
      let base = this.base
      if (r.chance(12)) base = this.override()
      const target = this.target(size, this.regionFor(base), true)
      c.reg[RDI] = this.garbage(BigInt.asUintN(64, target.linear - base), this.addressSize)
      this.pinned.add(RDI)
      if (r.chance(70)) this.poke(target, lanes(r, this.kind).subarray(0, size))
      for (let i = 0; i < 16; i++) {
        for (let j = 0; j < 16; j++) {
          if (r.chance(50)) fp.bytes[FP_XMM + i * 16 + j]! ^= 0x80
          if (i < 8 && j < 8 && r.chance(50)) fp.bytes[FP_R + i * 16 + j]! ^= 0x80
        }
      }
      if (bits !== 64) fp.bytes.fill(0, FP_XMM + 128)
    }
    if (/^pcmpestr/.test(mnemonic)) {
      const wide = row.operands.length > 0 && form.opSize === 8
      for (const register of [RAX, RDX]) {
        const length = r.chance(80) ? BigInt(r.below(37) - 18) : r.value()
        c.reg[register] =
          r.chance(70) || wide ? BigInt.asUintN(64, length) : this.garbage(BigInt.asUintN(64, length), 4)
      }
      this.pinned.add(RAX).add(RDX)
    }
    if (/^x(save|saveopt|rstor)$/.test(mnemonic)) {
      // Components that every processor has; bits 3 and 4 are in no XCR0 here.
      c.reg[RAX] = BigInt(r.below(4)) | (r.chance(20) ? 8n : 0n)
      c.reg[RDX] = 0n
      this.pinned.add(RAX).add(RDX)
    }
  }

  /** Control and status words, tags, pointers. */
  private control(): void {
    const { r, fp, form } = this
    const { row } = form
    const { mnemonic } = row
    const x87 = isX87(row)
    const masks = r.chance(60) ? 0x3f : r.next() & 0x3f
    const precision = r.pick([3, 3, 3, 2, 0, r.below(4)])
    const fcw = masks | 0x40 | (precision << 8) | (r.below(4) << 10) | (r.chance(10) ? 0x1000 : 0)
    const top = r.below(8)
    let fsw = (top << 11) | (r.next() & 0x4700)
    if (r.chance(30)) fsw |= r.next() & masks
    if (r.chance(10)) fsw |= 0x40
    // Unmasked exceptions that are pending: #MF instead of most instructions.
    if (r.chance(4)) fsw |= r.next() & 0x3f
    fp.setWords(fcw, fsw)
    let tag = r.chance(78) ? 0xff : r.chance(70) ? r.next() & 0xff : 0
    if (x87 && PUSHES.test(mnemonic) && r.chance(85)) tag &= ~(1 << ((top + 7) & 7))
    fp.view.setUint16(FP_TAG, tag, true)
    fp.view.setUint16(FP_FOP, r.next() & 0x7ff, true)
    fp.view.setUint32(FP_FIP, r.next(), true)
    fp.view.setUint32(FP_FDP, r.next(), true)
    const masksSse = r.chance(60) ? 0x1f80 : r.next() & 0x1f80
    let mxcsr = masksSse | (r.below(4) << 13)
    if (r.chance(25)) mxcsr |= 0x8000
    if (r.chance(25)) mxcsr |= 0x40
    if (r.chance(40)) mxcsr |= r.next() & 0x3f
    fp.view.setUint32(FP_MXCSR, mxcsr, true)
  }

  private setStack(i: number, value: bigint): void {
    this.fp.put(this.fp.stack(i), littleEndian(value, 10))
  }

  /** x87 registers: ST(0) and ST(1) as the instruction likes them, the others of any class. */
  private x87(): void {
    const { r, form } = this
    const { mnemonic } = form.row
    let first = extended(r)
    let second = r.chance(40) ? extendedRelated(r, first) : extended(r)
    const one = 0x3fffn << 64n
    if (r.chance(85)) {
      if (TRIGONOMETRIC.test(mnemonic)) {
        const kind = r.below(10)
        if (kind < 6) first = extendedBetween(r, -10, 4)
        else if (kind < 7) first = extendedBetween(r, -70, -10)
        else if (kind < 8) first = extendedBetween(r, 4, 20)
        else if (kind < 9) first = extendedBetween(r, 60, 67)
      } else if (mnemonic === 'f2xm1') {
        if (r.chance(80)) first = extendedBetween(r, r.chance(50) ? -4 : -68, 0)
        else first = one | (1n << 63n) | (BigInt(r.below(2)) << 79n)
      } else if (mnemonic === 'fyl2x') {
        const kind = r.below(10)
        if (kind < 4) first = extendedBetween(r, -3, 3) & ~(1n << 79n)
        else if (kind < 6) first = extendedOf(1n << BigInt(r.below(20)), r.below(20))
        else if (kind < 7) first = one | (1n << 63n) | BigInt(r.below(1000))
        else first &= ~(1n << 79n)
        if (r.chance(60)) second = extendedBetween(r, -5, 5)
      } else if (mnemonic === 'fyl2xp1') {
        if (r.chance(85)) first = extendedBetween(r, r.chance(50) ? -8 : -70, -2)
        if (r.chance(60)) second = extendedBetween(r, -5, 5)
      } else if (mnemonic === 'fpatan') {
        if (r.chance(60)) {
          first = extendedBetween(r, -8, 8)
          second = extendedBetween(r, -8, 8)
        }
      } else if (mnemonic === 'fscale') {
        const kind = r.below(10)
        if (kind < 4) second = extendedBetween(r, -2, 8)
        else if (kind < 8) second = extendedBetween(r, 8, 17)
      } else if (/^fprem1?$/.test(mnemonic)) {
        if (r.chance(50)) second = extendedRelated(r, first)
      } else if (mnemonic === 'fbstp' && r.chance(70)) {
        first = extendedBetween(r, r.chance(50) ? -2 : 40, r.chance(70) ? 59 : 62)
        if (r.chance(15)) first = extendedOf(10n ** 18n * 4n + BigInt(r.below(9) - 4), 2)
      }
    }
    for (let i = 2; i < 8; i++) this.setStack(i, r.chance(40) ? extendedRelated(r, first) : extended(r))
    this.setStack(0, first)
    this.setStack(1, second)
  }

  protected override operandSize(): number {
    const { row, opSize, bits } = this.form
    switch (row.mnemonic) {
      case 'fldenv':
      case 'fnstenv':
        return opSize === 2 ? 14 : 28
      case 'frstor':
      case 'fnsave':
        return opSize === 2 ? 94 : 108
      case 'fxsave':
      case 'fxrstor':
        return 512
      case 'xsave':
      case 'xsaveopt':
      case 'xrstor':
        return 576
      default:
    }
    const widths: Readonly<Record<string, number>> = { b: 1, w: 2, d: 4, q: 8, dq: 16, t: 10 }
    for (const o of row.operands) {
      if (!['E', 'M', 'Q', 'W'].includes(o.method)) continue
      const width = widths[o.memWidth]
      if (width !== undefined) return width
      if (o.memWidth === 'y') return opSize === 8 ? 8 : 4
      return bits === 64 ? opSize : Math.min(4, opSize)
    }
    return 1
  }

  protected override operandValues(target: Target | undefined, rm: number): void {
    const { r, form, c } = this
    const { row } = form
    const { mnemonic } = row
    const size = this.operandSize()
    if (target === undefined) {
      if (row.operands.some((o) => o.method === 'E') && !this.pinned.has(rm)) c.reg[rm] = r.value()
      return
    }
    if (!target.wild) c.operandOffset = target.offset
    if (r.chance(3)) return
    if (isX87(row)) {
      this.x87Memory(target, size)
      return
    }
    if (mnemonic === 'ldmxcsr') {
      const value = r.next() & (r.chance(80) ? MXCSR_BITS : -0x20001)
      this.poke(target, Uint8Array.from(bytesOf(BigInt(value >>> 0), 4)))
    } else if (mnemonic === 'fxrstor' || mnemonic === 'xrstor') this.image(target)
    else if (/^cvtsi2/.test(mnemonic) || mnemonic === 'crc32' || /^(pinsr|mov[dq]$)/.test(mnemonic))
      this.poke(target, Uint8Array.from(bytesOf(r.value(), size)))
    else {
      const bytes = lanes(r, this.kind, this.sample)
      if (/^ps(ll|rl|ra)/.test(mnemonic) && r.chance(60)) bytes.set(littleEndian(BigInt(r.below(70)), 8))
      this.poke(target, bytes.subarray(0, Math.min(16, size)))
    }
  }

  /** An image for FXRSTOR: its head, and three pieces of its registers. */
  private image(target: Target): void {
    const { r } = this
    const head = new Uint8Array(32)
    const view = new DataView(head.buffer)
    view.setUint16(0, r.chance(70) ? (r.next() & 0x1f3f) | 0x40 : r.next(), true)
    view.setUint16(2, r.chance(70) ? r.next() & 0x7f40 : r.next(), true)
    view.setUint16(4, r.next() & 0xff, true)
    view.setUint16(6, r.next() & 0x7ff, true)
    for (let i = 8; i < 24; i++) head[i] = r.below(256)
    // The pointers are canonical.
    head[14] = head[15] = head[22] = head[23] = 0
    head[13]! &= 0x7f
    head[21]! &= 0x7f
    view.setUint32(24, r.next() & (r.chance(85) ? MXCSR_BITS : -0x20001), true)
    this.poke(target, head)
    const at = (offset: number): Target => ({ ...target, offset: target.offset + offset })
    if (this.form.row.mnemonic === 'xrstor') {
      const header = new Uint8Array(32)
      header[0] = r.below(4) | (r.chance(10) ? r.pick([8, 16, 24]) : 0)
      if (r.chance(5)) header[8 + r.below(16)] = r.below(4)
      this.poke(at(512), header)
      this.poke(at(544), new Uint8Array(32))
    }
    for (let i = 0; i < 3; i++) {
      const bytes = new Uint8Array(32)
      bytes.set(littleEndian(extended(r), 10))
      bytes.set(littleEndian(extended(r), 10), 16)
      if (r.chance(50)) this.poke(at(32 + 32 * r.below(4)), bytes)
      else this.poke(at(160 + 32 * r.below(8)), bytes)
    }
  }

  private x87Memory(target: Target, size: number): void {
    const { r, form } = this
    const { row } = form
    const { mnemonic } = row
    const put = (value: bigint): void => this.poke(target, Uint8Array.from(littleEndian(value, size)))
    switch (mnemonic) {
      case 'fldcw':
        put(BigInt(r.chance(70) ? (r.next() & 0x1f3f) | 0x40 : r.next() & 0xffff))
        return
      case 'fldenv':
      case 'frstor': {
        const wide = form.opSize === 4
        const bytes = new Uint8Array(32)
        for (let i = 0; i < bytes.length; i++) bytes[i] = r.below(256)
        const view = new DataView(bytes.buffer)
        const step = wide ? 4 : 2
        if (r.chance(70)) {
          view.setUint16(0, (r.next() & 0x1f3f) | 0x40, true)
          view.setUint16(step, r.next() & (r.chance(60) ? 0x7f40 : 0x7f7f), true)
        }
        this.poke(target, bytes.subarray(0, Math.min(size, 32)))
        const first = wide ? 28 : 14
        for (let i = 0; mnemonic === 'frstor' && i < 3; i++) {
          const registers = [
            ...littleEndian(extended(r), 10),
            ...littleEndian(extended(r), 10),
            ...littleEndian(extended(r), 10),
          ]
          this.poke({ ...target, offset: target.offset + first + 10 * r.below(6) }, Uint8Array.from(registers))
        }
        return
      }
      case 'fbld': {
        let value = 0n
        const digits = r.below(20)
        for (let i = 0; i < digits; i++) value |= BigInt(r.chance(10) ? 9 : r.below(10)) << BigInt(i * 4)
        value &= (1n << 72n) - 1n
        if (r.chance(10)) value |= BigInt(r.below(16)) << BigInt(4 * r.below(18))
        value |= BigInt(r.chance(80) ? r.pick([0, 0x80]) : r.below(256)) << 72n
        put(value)
        return
      }
      default:
    }
    const operand = row.operands[0]!
    if (/^fi/.test(mnemonic)) {
      put(BigInt.asUintN(size * 8, r.value()))
      return
    }
    if (operand.memWidth === 't') {
      put(extended(r))
      return
    }
    const format = size === 4 ? SINGLE : DOUBLE
    const value = float(r, format)
    put(value)
    if (r.chance(30)) this.same(format, value)
  }

  /** Makes ST(0) the value of a normal single or double, or a relative of it. */
  private same(format: typeof SINGLE, value: bigint): void {
    const fractionBits = BigInt(format.fraction)
    const top = (1n << BigInt(format.exponent)) - 1n
    const exponent = (value >> fractionBits) & top
    if (exponent === 0n || exponent === top) return
    const significand = ((value & ((1n << fractionBits) - 1n)) | (1n << fractionBits)) << (63n - fractionBits)
    const sign = (value >> BigInt(format.size * 8 - 1)) << 79n
    const equal = sign | ((exponent - (top >> 1n) + 0x3fffn) << 64n) | significand
    this.setStack(0, this.r.chance(40) ? equal : extendedRelated(this.r, equal))
  }

  protected override immediate(width: string, opSize: number, before: number): number[] {
    const { r, form } = this
    const { mnemonic } = form.row
    if (width !== 'b') return super.immediate(width, opSize, before)
    if (/^ps(ll|rl|ra)/.test(mnemonic)) return [r.chance(85) ? r.below(70) : r.below(256)]
    if (/^cmp[ps][sd]$/.test(mnemonic)) return [r.below(8)]
    if (/^round/.test(mnemonic)) return [r.below(16)]
    if (mnemonic === 'palignr') return [r.chance(85) ? r.below(36) : r.below(256)]
    if (/^pcmp[ei]str/.test(mnemonic)) return [r.chance(90) ? r.below(128) : r.below(256)]
    return [r.below(256)]
  }
}
