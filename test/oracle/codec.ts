/**
 * The vectors' file format: what an instruction changed, since everything else follows from the seed.
 *
 *     u32 length of the header, header (JSON, {@link VectorHeader}), then for each form in turn its cases' results
 *
 * A result is a byte of flags that says which parts follow: 1 vector and error code (and CR2 for vector 14), 2 RIP (else
 * the next instruction, or this one after a fault), 4 flags, 8 registers, 16 memory, 32 segment registers and bases, 64 more than one step,
 * 128 x87 and SSE state ({@link writeFp}). Numbers are
 * in base 128, low digits first; a register is its new value, its difference, or the bits that changed, whichever is shortest.
 */
import { type Change, NO_VECTOR, type OracleCase, type OracleResult } from './case.js'

export interface VectorHeader {
  readonly format: 1
  readonly bits: number
  /** CPUID of the recording processor, leaf → registers. */
  readonly processor: {
    readonly vendor: string
    readonly brand: string
    readonly family: number
    readonly model: number
    readonly stepping: number
    readonly leaves: Readonly<Record<string, readonly string[]>>
  }
  readonly kernel: string
  /** Key, number of cases, and a hash of their inputs. */
  readonly forms: readonly (readonly [key: string, cases: number, inputs: number])[]
}

const PART_FAULT = 1
const PART_RIP = 2
const PART_FLAGS = 4
const PART_REGISTERS = 8
const PART_MEMORY = 16
const PART_SEGMENTS = 32
const PART_STEPS = 64
const PART_FP = 128

const MASK64 = 0xffff_ffff_ffff_ffffn

function next(c: OracleCase, vector: number): bigint {
  return vector === NO_VECTOR ? c.rip + BigInt(c.code.length) : c.rip
}

function byteLength(value: bigint): number {
  let n = 0
  while (value > 0n) {
    value >>= 8n
    n++
  }
  return n
}

/** Where the x87 and SSE state changed: runs of bytes that do not leave a register. */
function fpRuns(before: Uint8Array, after: Uint8Array): [offset: number, length: number][] {
  const runs: [number, number][] = []
  for (let i = 0; i < after.length; i++) {
    if (before[i] === after[i]) continue
    const last = runs.at(-1)
    // A gap of a few bytes costs less than another run.
    if (last !== undefined && i - (last[0] + last[1]) < 3 && i >> 4 === last[0] >> 4) last[1] = i + 1 - last[0]
    else runs.push([i, 1])
  }
  return runs
}

/** What results with x87 and SSE state may repeat: that state and the bytes that the case put into memory. */
class Dictionary {
  readonly bytes: Uint8Array

  constructor(c: OracleCase) {
    const parts = [c.fp!.bytes, ...c.pokes.map((poke) => poke.bytes)]
    this.bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      this.bytes.set(part, at)
      at += part.length
    }
  }

  /** Cuts bytes into pieces that are here (`from` ≥ 0) and pieces that are not. */
  pieces(bytes: readonly number[]): { at: number; length: number; from: number }[] {
    const list: { at: number; length: number; from: number }[] = []
    for (let at = 0; at < bytes.length; ) {
      let from = -1
      let length = 3
      for (let i = 0; i < this.bytes.length; i++) {
        let n = 0
        while (at + n < bytes.length && i + n < this.bytes.length && this.bytes[i + n] === bytes[at + n]) n++
        if (n > length) {
          length = n
          from = i
        }
      }
      if (from < 0) {
        const last = list.at(-1)
        if (last !== undefined && last.from < 0) last.length++
        else list.push({ at, length: 1, from })
        at++
      } else {
        list.push({ at, length, from })
        at += length
      }
    }
    return list
  }
}

export class ResultWriter {
  private bytes = new Uint8Array(1 << 20)
  private length = 0

  private byte(value: number): void {
    if (this.length === this.bytes.length) {
      const bigger = new Uint8Array(this.bytes.length * 2)
      bigger.set(this.bytes)
      this.bytes = bigger
    }
    this.bytes[this.length++] = value
  }

  private number(value: number): void {
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.byte(rest)
  }

  private big(value: bigint, tag = 0): void {
    const n = byteLength(value)
    this.byte((tag << 4) | n)
    for (let i = 0; i < n; i++) this.byte(Number((value >> BigInt(i * 8)) & 0xffn))
  }

  private changed(before: bigint, after: bigint): void {
    const candidates = [after, after ^ before, (after - before) & MASK64, (before - after) & MASK64]
    let best = 0
    for (let i = 1; i < 4; i++) if (byteLength(candidates[i]!) < byteLength(candidates[best]!)) best = i
    this.big(candidates[best]!, best)
  }

  write(c: OracleCase, r: OracleResult): void {
    let parts = 0
    let registers = 0
    for (let i = 0; i < 16; i++) if (c.reg[i] !== r.reg[i]) registers |= 1 << i
    let segments = 0
    for (let i = 0; i < 6; i++) if (c.selectors[i] !== r.selectors[i]) segments |= 1 << i
    if (c.fsBase !== r.fsBase) segments |= 64
    if (c.gsBase !== r.gsBase) segments |= 128
    const flags = (c.flags ^ r.flags) >>> 0
    if (r.vector !== NO_VECTOR) parts |= PART_FAULT
    if (r.rip !== next(c, r.vector)) parts |= PART_RIP
    if (flags !== 0) parts |= PART_FLAGS
    if (registers !== 0) parts |= PART_REGISTERS
    if (r.changes.length > 0) parts |= PART_MEMORY
    if (segments !== 0) parts |= PART_SEGMENTS
    if (r.steps !== 1) parts |= PART_STEPS
    const fp = r.fp === undefined ? [] : fpRuns(c.fp!.bytes, r.fp)
    if (fp.length > 0) parts |= PART_FP
    const source = c.fp === undefined ? undefined : new Dictionary(c)
    this.byte(parts)
    if (parts & PART_FAULT) {
      this.byte(r.vector)
      this.number(r.error)
      if (r.vector === 14) this.big(r.cr2)
    }
    if (parts & PART_RIP) this.changed(c.rip, r.rip)
    if (parts & PART_FLAGS) this.number(flags)
    if (parts & PART_REGISTERS) {
      this.number(registers)
      for (let i = 0; i < 16; i++) if (registers & (1 << i)) this.changed(c.reg[i]!, r.reg[i]!)
    }
    if (parts & PART_MEMORY) {
      this.number(r.changes.length)
      for (const { offset, bytes } of r.changes) {
        this.number(offset)
        this.number(bytes.length)
        this.content(bytes, source)
      }
    }
    if (parts & PART_SEGMENTS) {
      this.byte(segments)
      for (let i = 0; i < 6; i++) if (segments & (1 << i)) this.number(r.selectors[i]!)
      if (segments & 64) this.big(r.fsBase)
      if (segments & 128) this.big(r.gsBase)
    }
    if (parts & PART_STEPS) this.number(r.steps)
    if (parts & PART_FP) {
      this.number(fp.length)
      for (const [offset, length] of fp) {
        this.number(offset)
        this.number(length)
        this.content([...r.fp!.subarray(offset, offset + length)], source)
      }
    }
  }

  /** Bytes as they are; in the suites with x87 and SSE state in pieces, each its own bytes or a place in the {@link Dictionary}. */
  private content(bytes: readonly number[], source: Dictionary | undefined): void {
    if (source === undefined) {
      for (const byte of bytes) this.byte(byte)
      return
    }
    for (const piece of source.pieces(bytes)) {
      if (piece.from >= 0) {
        this.number((piece.length << 1) | 1)
        this.number(piece.from)
      } else {
        this.number(piece.length << 1)
        for (let i = 0; i < piece.length; i++) this.byte(bytes[piece.at + i]!)
      }
    }
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
}

export class ResultReader {
  private readonly bytes: Uint8Array
  private at: number

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes
    this.at = at
  }

  get atEnd(): boolean {
    return this.at === this.bytes.length
  }

  private byte(): number {
    const value = this.bytes[this.at++]
    if (value === undefined) throw new Error('the vectors end too soon')
    return value
  }

  private number(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
  }

  private tagged(): readonly [value: bigint, tag: number] {
    const head = this.byte()
    let value = 0n
    for (let i = 0; i < (head & 15); i++) value |= BigInt(this.byte()) << BigInt(i * 8)
    return [value, head >> 4]
  }

  private changed(before: bigint): bigint {
    const [value, tag] = this.tagged()
    switch (tag) {
      case 0:
        return value
      case 1:
        return value ^ before
      case 2:
        return (before + value) & MASK64
      default:
        return (before - value) & MASK64
    }
  }

  /** Passes over one result. */
  skip(floatState = false): void {
    const parts = this.byte()
    if (parts & PART_FAULT) {
      const vector = this.byte()
      this.number()
      if (vector === 14) this.tagged()
    }
    if (parts & PART_RIP) this.tagged()
    if (parts & PART_FLAGS) this.number()
    if (parts & PART_REGISTERS) for (let set = this.number(); set !== 0; set &= set - 1) this.tagged()
    if (parts & PART_MEMORY) {
      for (let n = this.number(); n > 0; n--) {
        this.number()
        this.skipContent(this.number(), floatState)
      }
    }
    if (parts & PART_SEGMENTS) {
      const segments = this.byte()
      for (let i = 0; i < 6; i++) if (segments & (1 << i)) this.number()
      if (segments & 64) this.tagged()
      if (segments & 128) this.tagged()
    }
    if (parts & PART_STEPS) this.number()
    if (parts & PART_FP) {
      for (let n = this.number(); n > 0; n--) {
        this.number()
        this.skipContent(this.number(), true)
      }
    }
  }

  private skipContent(length: number, pieces: boolean): void {
    if (!pieces) {
      this.at += length
      return
    }
    for (let left = length; left > 0; ) {
      const head = this.number()
      if (head & 1) this.number()
      else this.at += head >>> 1
      left -= head >>> 1
    }
  }

  private content(length: number, source: Dictionary | undefined): number[] {
    const bytes: number[] = []
    if (source === undefined) {
      for (let i = 0; i < length; i++) bytes.push(this.byte())
      return bytes
    }
    while (bytes.length < length) {
      const head = this.number()
      const from = head & 1 ? this.number() : -1
      for (let i = 0; i < head >>> 1; i++) bytes.push(from < 0 ? this.byte() : source.bytes[from + i]!)
    }
    return bytes
  }

  read(c: OracleCase): OracleResult {
    const parts = this.byte()
    const result: OracleResult = {
      vector: NO_VECTOR,
      error: 0,
      cr2: 0n,
      rip: 0n,
      reg: c.reg.slice(),
      fsBase: c.fsBase,
      gsBase: c.gsBase,
      flags: c.flags,
      selectors: c.selectors.slice(),
      steps: 1,
      changes: [],
      fp: c.fp?.bytes.slice(),
    }
    const source = c.fp === undefined ? undefined : new Dictionary(c)
    if (parts & PART_FAULT) {
      result.vector = this.byte()
      result.error = this.number()
      if (result.vector === 14) result.cr2 = this.tagged()[0]
    }
    result.rip = parts & PART_RIP ? this.changed(c.rip) : next(c, result.vector)
    if (parts & PART_FLAGS) result.flags = (c.flags ^ this.number()) >>> 0
    if (parts & PART_REGISTERS) {
      const registers = this.number()
      for (let i = 0; i < 16; i++) if (registers & (1 << i)) result.reg[i] = this.changed(c.reg[i]!)
    }
    if (parts & PART_MEMORY) {
      const changes: Change[] = []
      for (let n = this.number(); n > 0; n--) {
        const offset = this.number()
        changes.push({ offset, bytes: this.content(this.number(), source) })
      }
      result.changes = changes
    }
    if (parts & PART_SEGMENTS) {
      const segments = this.byte()
      for (let i = 0; i < 6; i++) if (segments & (1 << i)) result.selectors[i] = this.number()
      if (segments & 64) result.fsBase = this.tagged()[0]
      if (segments & 128) result.gsBase = this.tagged()[0]
    }
    if (parts & PART_STEPS) result.steps = this.number()
    if (parts & PART_FP) {
      for (let n = this.number(); n > 0; n--) {
        const offset = this.number()
        result.fp!.set(this.content(this.number(), source), offset)
      }
    }
    return result
  }
}
