/**
 * A host for the threaded engine without a CPU: blocks are given as records, the TLB maps linear page n to byte n · 4096 of a
 * small RAM, and instructions that bail are noted.
 */

import {
  DTLB_ENTRIES,
  ITLB_ENTRIES,
  MODE_CODE64,
  MODE_FLAT_CS,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  MODE_PROTECTED,
  OFF_DTLB,
  OFF_ITLB,
  OFF_MODE,
  TLB_ADDEND,
  TLB_TAG_SUPER_READ,
  TLB_TAG_SUPER_WRITE,
} from '../../src/cpu/layout.js'
import { CpuState } from '../../src/cpu/state.js'
import {
  UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_HANDLER,
  UOP_IMM,
  UOP_INDEX,
  UOP_IP,
  UOP_LENGTH,
  UOP_OP,
  UOP_SIZE,
  UOP_VALUE,
} from '../../src/cpu/uops.js'
import { ThreadedEngine, type ThreadedHost } from '../../src/engine/threaded.js'
import type { DispatchKind } from '../../src/engine/threaded-module.js'

export const RAM = 0x200000
export const RAM_SIZE = 0x100000
const STORE = 0x40000

export const MODE_64: number = MODE_CODE64 | MODE_FLAT_CS | MODE_FLAT_DS | MODE_FLAT_ES | MODE_FLAT_SS | MODE_PROTECTED

export interface Uop {
  kind: number
  width?: number
  a?: number
  b?: number
  c?: number
  imm?: bigint | number
  ext?: number
  value?: number
  /** Ordinal of the instruction; every instruction is 4 bytes long here. Default: one instruction per record. */
  index?: number
}

export class Harness implements ThreadedHost {
  readonly memory: WebAssembly.Memory = new WebAssembly.Memory({ initial: 48, maximum: 48 })
  readonly s: CpuState
  readonly view: DataView
  readonly engine: ThreadedEngine
  readonly programs: Map<number, Uop[]> = new Map()
  /** RIPs of the instructions that the engine handed over. */
  readonly stepped: number[] = []
  readonly helpers: number[] = []
  /** Pages that data accesses may not use directly. */
  readonly devicePages: Set<number> = new Set()
  readonly codePages: Set<number> = new Set()
  fills = 0
  liftedInstructions = 0
  liftedBytes = 0
  secondPlace = 0
  tailBytes = 0
  /** What a bailing instruction does; default: stop. */
  onStep: () => boolean = () => false

  constructor(dispatch: DispatchKind, mode: number = MODE_64, storeSize = 0x180000, vectors?: boolean) {
    this.s = new CpuState(this.memory.buffer, 0)
    this.view = new DataView(this.memory.buffer)
    this.s.set32(OFF_MODE, mode)
    this.flush()
    this.engine = new ThreadedEngine({
      memory: this.memory,
      state: this.s,
      storeOffset: STORE,
      storeSize,
      host: this,
      dispatch,
      ...(vectors === undefined ? {} : { vectors }),
    })
  }

  flush(): void {
    for (const [table, entries] of [
      [OFF_DTLB, DTLB_ENTRIES],
      [OFF_ITLB, ITLB_ENTRIES],
    ] as const)
      for (let i = 0; i < entries; i++) for (let tag = 0; tag < 4; tag++) this.s.set32(table + i * 64 + tag * 8, 1)
  }

  /** Puts a block at `rip`. */
  program(rip: number, uops: Uop[]): void {
    this.programs.set(rip, uops)
  }

  /** Runs from `rip` with `budget` instructions; returns how many were retired. */
  run(rip: number, budget: number): number {
    this.s.rip = rip
    this.s.remaining = budget
    this.engine.run()
    return budget - this.s.remaining
  }

  // --- ThreadedHost -------------------------------------------------------------------------------------------------

  fetchPlace(): number {
    const rip = this.s.rip
    if (!this.programs.has(rip) || rip >= RAM_SIZE) return -1
    this.tag(OFF_ITLB, ITLB_ENTRIES, rip, true)
    return RAM + rip
  }

  placeOf(): number {
    return -1
  }

  lift(place: number, at: number, end: number): number {
    const uops = this.programs.get(place - RAM)!
    this.codePages.add((place - RAM) >> 12)
    return this.records(uops, at, end)
  }

  liftCopy(place: number, _mode: number, at: number, end: number): number {
    return this.records(this.programs.get(place - RAM)!, at, end)
  }

  private records(uops: readonly Uop[], at: number, end: number): number {
    let record = at
    let index = -1
    uops.forEach((uop, n) => {
      index = uop.index ?? n
      const v = this.view
      for (let i = 0; i < UOP_SIZE; i += 4) v.setUint32(record + i, 0, true)
      v.setUint16(record + UOP_OP, (uop.kind << 2) | (uop.width ?? 0), true)
      v.setUint16(record + UOP_A, uop.a ?? 0, true)
      v.setUint16(record + UOP_B, uop.b ?? 0, true)
      v.setUint16(record + UOP_C, uop.c ?? 0, true)
      v.setBigInt64(record + UOP_IMM, BigInt(uop.imm ?? 0), true)
      v.setInt32(record + UOP_EXT, uop.ext ?? 0, true)
      v.setInt32(record + UOP_VALUE, uop.value ?? 0, true)
      v.setUint16(record + UOP_IP, index * 4, true)
      v.setUint8(record + UOP_INDEX, index)
      v.setUint8(record + UOP_LENGTH, 4)
      v.setUint32(record + UOP_HANDLER, 0, true)
      record += UOP_SIZE
      if (record >= end) throw new RangeError('block too long')
    })
    this.liftedInstructions = index + (uops.at(-1)?.kind === 0 ? 0 : 1)
    this.liftedBytes = this.liftedInstructions * 4
    return uops.length
  }

  /** No program of these tests crosses pages. */
  liftCrossing(): number {
    return 0
  }

  fill(low: number, high: number, write: boolean): boolean {
    this.fills++
    const linear = high * 4294967296 + (low >>> 0)
    if (linear < 0 || linear >= RAM_SIZE || this.devicePages.has(Math.floor(linear / 4096))) return false
    const writable = !this.codePages.has(Math.floor(linear / 4096))
    this.tag(OFF_DTLB, DTLB_ENTRIES, linear, writable)
    return !write || writable
  }

  private tag(table: number, entries: number, linear: number, writable: boolean): void {
    const page = linear & ~0xfff
    const entry = table + ((linear >>> 12) & (entries - 1)) * 64
    this.s.setNumber(entry + TLB_TAG_SUPER_READ, page)
    this.s.setNumber(entry + TLB_TAG_SUPER_WRITE, writable ? page : 1)
    this.s.set32(entry + TLB_ADDEND, RAM)
  }

  helper(record: number): boolean {
    this.helpers.push(this.s.rip)
    this.s.rip += this.s.u8[record + UOP_LENGTH]!
    this.s.remaining--
    return true
  }

  step(): boolean {
    this.stepped.push(this.s.rip)
    return this.onStep()
  }
}
