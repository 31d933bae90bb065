/** The library's processor in the surroundings that `capture.c` makes for the real one: user mode under a long-mode system. */
import { CPU_MEMORY_SIZE, Cpu, type CpuModel, type Feature, MODELS, SEG_LDTR, SEG_TR } from '../../src/cpu/index.js'
import {
  OFF_FCS,
  OFF_FCW,
  OFF_FDP,
  OFF_FDS,
  OFF_FIP,
  OFF_FOP,
  OFF_FSW,
  OFF_FTAG,
  OFF_MXCSR,
  OFF_TOP,
  OFF_X87,
  OFF_XCR0,
  OFF_XMM,
} from '../../src/cpu/layout.js'
import { referenceExecutor, threadedEngine } from '../../src/engine/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { NO_VECTOR, type OracleCase } from './case.js'
import type { Bits } from './forms.js'
import { FP_FCW, FP_FDP, FP_FIP, FP_FOP, FP_FSW, FP_MXCSR, FP_R, FP_TAG, FP_XMM } from './fp-state.js'
import {
  CODE_16,
  CODE_32,
  CODE_64,
  DATA_BYTES,
  GDT,
  GDT_LIMIT,
  LDT,
  ldtDescriptor,
  PAGE,
  pristine,
  REGION_16,
  REGION_32,
  REGION_64,
  REGION_PAGES,
} from './layout.js'

export const ENGINES = ['reference', 'threaded'] as const
export type EngineName = (typeof ENGINES)[number]

/** The model under test: x86-64-v2, and the integer extensions that the recording processor has beyond it. */
const EXTRA: readonly Feature[] = ['bmi1', 'lzcnt', 'cet']
const BASE: CpuModel = MODELS['x86-64-v2']
const MODEL: CpuModel = { ...BASE, features: new Set<Feature>([...BASE.features, ...EXTRA]) }

// Physical addresses.
const CODE_FRAME = 0x1000
const DATA_FRAME = 0x2000
const SYSTEM_FRAME = 0x10000
const TABLES = 0x40000

/** System pages: at the bottom of the upper half, for the supervisor only. */
const SYSTEM = -0x8000_0000_0000
const GDT_AT = SYSTEM
const LDT_AT: number = SYSTEM + 0x1000
const IDT_AT: number = SYSTEM + 0x2000
const TSS_AT: number = SYSTEM + 0x3000
const STACK_TOP: number = SYSTEM + 0x6000
const HANDLERS: number = SYSTEM + 0x8000
const SYSTEM_PAGES = 10

const KERNEL_CS = 0x10

interface Cache {
  readonly base: number
  readonly limit: number
  readonly attr: number
}

/** What the processor had to say, in the terms of {@link OracleResult}. */
export interface Observed {
  vector: number
  error: number
  cr2: bigint
  rip: bigint
  rsp: bigint
  flags: number
  cs: number
  ss: number
}

export class OracleMachine {
  readonly cpu: Cpu
  readonly space: AddressSpace
  /** The three data pages. */
  readonly data: Uint8Array
  private readonly clean: Uint8Array = pristine()
  private readonly caches: Map<number, Cache> = new Map()
  private nextTable = TABLES

  constructor(engine: EngineName) {
    const storeSize = engine === 'threaded' ? 4 * 1024 * 1024 : 0
    const reserved = Math.ceil((PAGE + CPU_MEMORY_SIZE + storeSize) / PAGE) * PAGE
    const ram = 0x100000
    const wasmMemory = new WebAssembly.Memory({ initial: Math.ceil((reserved + ram + 0x10000) / 65536) })
    this.space = new AddressSpace({ buffer: wasmMemory.buffer, reserved })
    this.space.addRam(0, ram)
    this.cpu = new Cpu({
      space: this.space,
      offset: PAGE,
      ports: { read: () => 0xffff_ffff, write: () => {} },
      interrupts: { pending: false, acknowledge: () => 0 },
      executor: referenceExecutor,
      ...(engine === 'threaded' ? { engine: threadedEngine } : {}),
      storeSize,
      wasmMemory,
      model: MODEL,
    })
    const at = this.space.readOffset(DATA_FRAME / PAGE)
    this.data = this.space.bytes.subarray(at, at + DATA_BYTES)
    this.tables()
    this.descriptors()
    this.system()
  }

  // --- setting up ---------------------------------------------------------------------------------------------------

  private map(root: number, linear: number, physical: number, flags: number): void {
    let table = root
    const address = BigInt.asUintN(48, BigInt(linear))
    for (const shift of [39n, 30n, 21n]) {
      const slot = table + Number((address >> shift) & 511n) * 8
      let next = this.space.read32(slot) & ~0xfff
      if (next === 0) {
        next = this.nextTable
        this.nextTable += PAGE
        this.space.write32(slot, next | 0x67)
      }
      table = next
    }
    this.space.write32(table + Number((address >> 12n) & 511n) * 8, physical | flags)
  }

  private tables(): void {
    const root = this.nextTable
    this.nextTable += PAGE
    for (const region of [REGION_16, REGION_32, REGION_64]) {
      for (const [i, page] of REGION_PAGES.entries()) {
        if (page === undefined) continue
        this.map(root, region + i * PAGE, DATA_FRAME + page * PAGE, page === 2 ? 0x65 : 0x67)
      }
    }
    for (const code of [CODE_16, CODE_32, CODE_64]) this.map(root, code, CODE_FRAME, 0x67)
    for (let i = 0; i < SYSTEM_PAGES; i++) this.map(root, SYSTEM + i * PAGE, SYSTEM_FRAME + i * PAGE, 0x63)
    this.cpu.s.cr3 = root
  }

  private descriptors(): void {
    const write = (at: number, low: number, high: number): void => {
      this.space.write32(SYSTEM_FRAME + at - SYSTEM, low)
      this.space.write32(SYSTEM_FRAME + at - SYSTEM + 4, high)
    }
    for (const [index, low, high] of GDT) {
      write(GDT_AT + index * 8, low, high)
      this.cache(index * 8, low, high)
    }
    for (const [index, e] of LDT.entries()) {
      const [low, high] = ldtDescriptor(e)
      write(LDT_AT + index * 8, low, high)
      this.cache(index * 8 + 4, low, high)
    }
    for (let vector = 0; vector < 256; vector++) {
      const handler = HANDLERS + vector * 16
      const low = BigInt.asUintN(64, BigInt(handler))
      // Breakpoints and overflow may be raised by INT n, as under Linux.
      const access = vector === 3 || vector === 4 ? 0xee00 : 0x8e00
      const word = Number(low & 0xffff_ffffn)
      write(IDT_AT + vector * 16, (word & 0xffff) | (KERNEL_CS << 16), (word & 0xffff0000) | access)
      write(IDT_AT + vector * 16 + 8, Number(low >> 32n), 0)
    }
    const stack = BigInt.asUintN(64, BigInt(STACK_TOP))
    // No I/O permission bitmap.
    write(TSS_AT + 0x60, 0, 0x0068_0000)
    write(TSS_AT + 4, Number(stack & 0xffff_ffffn), Number(stack >> 32n))
  }

  private cache(selector: number, low: number, high: number): void {
    const base = ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0
    const raw = (low & 0xffff) | (high & 0xf0000)
    const limit = high & 0x800000 ? ((raw << 12) | 0xfff) >>> 0 : raw
    this.caches.set(selector, { base, limit, attr: (high >>> 8) & 0xf0ff })
  }

  private system(): void {
    const { cpu } = this
    const { s } = cpu
    s.efer = 0xd01
    s.cr4 = 0x506b0
    s.set32(OFF_XCR0, 3)
    s.cr0 = 0x8005_0033 | 0
    s.setGdtr(GDT_AT, GDT_LIMIT)
    s.setIdtr(IDT_AT, 0xfff)
    s.setSegment(SEG_LDTR, 0x50, LDT_AT, LDT.length * 8 - 1, 0x82)
    s.setSegment(SEG_TR, 0x40, TSS_AT, 0x67, 0x8b)
    cpu.memory.configurePaging()
    cpu.memory.flushAll()
  }

  // --- cases ----------------------------------------------------------------------------------------------------------

  private segment(seg: number, selector: number, base: number | undefined): void {
    const { s } = this.cpu
    const cache = this.caches.get(selector & ~3)
    if (selector < 4 || cache === undefined) s.setSegment(seg, selector, base ?? 0, 0, 0x10000)
    else s.setSegment(seg, selector, base ?? cache.base, cache.limit, cache.attr)
  }

  load(c: OracleCase, bits: Bits): void {
    const { cpu, space, data } = this
    const { s } = cpu
    data.set(this.clean)
    for (const { offset, bytes } of c.pokes) data.set(bytes, offset)
    const length = Math.min(c.code.length, PAGE - c.codeOffset)
    const code = new Uint8Array(Math.min(length + 16, PAGE - c.codeOffset)).fill(0xff)
    for (let i = 0; i < length; i++) code[i] = c.code[i]!
    space.writeBytes(CODE_FRAME + c.codeOffset, code)
    for (let i = 0; i < 16; i++) s.setBig(i * 8, c.reg[i]!)
    s.flags = c.flags
    s.rip = Number(c.rip)
    for (let seg = 0; seg < 6; seg++) {
      const base = bits === 64 && seg === 4 ? Number(BigInt.asIntN(64, c.fsBase)) : undefined
      const other = bits === 64 && seg === 5 ? Number(BigInt.asIntN(64, c.gsBase)) : undefined
      this.segment(seg, c.selectors[seg]!, base ?? other)
    }
    if (c.fp !== undefined) this.loadFp(c.fp.view)
    s.cr2 = 0
    cpu.halted = false
    cpu.shutdown = false
    cpu.pendingDebug = 0
    cpu.setShadow(0)
    cpu.setCpl(3)
    cpu.updateMode()
  }

  /** The processor's block. */
  private get block(): DataView {
    const { s } = this.cpu
    return new DataView(s.u8.buffer, s.base, 0x1000)
  }

  private loadFp(from: DataView): void {
    const { block } = this
    const fsw = from.getUint16(FP_FSW, true)
    block.setUint16(OFF_FCW, from.getUint16(FP_FCW, true), true)
    block.setUint16(OFF_FSW, fsw & ~0x3800, true)
    block.setUint8(OFF_TOP, (fsw >> 11) & 7)
    block.setUint8(OFF_FTAG, from.getUint8(FP_TAG))
    block.setUint16(OFF_FOP, from.getUint16(FP_FOP, true), true)
    block.setBigUint64(OFF_FIP, from.getBigUint64(FP_FIP, true), true)
    block.setBigUint64(OFF_FDP, from.getBigUint64(FP_FDP, true), true)
    block.setUint32(OFF_MXCSR, from.getUint32(FP_MXCSR, true), true)
    block.setUint16(OFF_FCS, 0, true)
    block.setUint16(OFF_FDS, 0, true)
    const { s } = this.cpu
    s.u8.set(new Uint8Array(from.buffer, FP_R, 128), s.base + OFF_X87)
    s.u8.set(new Uint8Array(from.buffer, FP_XMM, 256), s.base + OFF_XMM)
  }

  /** The x87 and SSE state, in the layout of `fp-state.ts`. */
  saveFp(into: DataView): void {
    const { block } = this
    into.setUint16(FP_FCW, block.getUint16(OFF_FCW, true), true)
    into.setUint16(FP_FSW, block.getUint16(OFF_FSW, true) | (block.getUint8(OFF_TOP) << 11), true)
    into.setUint16(FP_TAG, block.getUint8(OFF_FTAG), true)
    into.setUint16(FP_FOP, block.getUint16(OFF_FOP, true), true)
    into.setBigUint64(FP_FIP, block.getBigUint64(OFF_FIP, true), true)
    into.setBigUint64(FP_FDP, block.getBigUint64(OFF_FDP, true), true)
    into.setUint32(FP_MXCSR, block.getUint32(OFF_MXCSR, true), true)
    const { s } = this.cpu
    new Uint8Array(into.buffer).set(s.u8.subarray(s.base + OFF_X87, s.base + OFF_X87 + 128), FP_R)
    new Uint8Array(into.buffer).set(s.u8.subarray(s.base + OFF_XMM, s.base + OFF_XMM + 256), FP_XMM)
  }

  /** Runs the loaded case for `steps` instructions or iterations. */
  run(steps: number): Observed {
    const { cpu } = this
    const { s } = cpu
    cpu.run(steps)
    const unsigned = (offset: number): bigint => this.stackWord(offset)
    if (cpu.shutdown) return { vector: 8, error: 0, cr2: 0n, rip: 0n, rsp: 0n, flags: 0, cs: 0, ss: 0 }
    if (cpu.cpl === 3) {
      return {
        vector: NO_VECTOR,
        error: 0,
        cr2: 0n,
        rip: BigInt.asUintN(64, BigInt(s.rip)),
        rsp: s.getBig(4 * 8),
        flags: s.flags,
        cs: s.selector(1),
        ss: s.selector(2),
      }
    }
    const vector = (s.rip - HANDLERS) / 16
    const hasCode = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17
    const error = hasCode ? Number(unsigned(0) & 0xffff_ffffn) : 0
    const at = hasCode ? 8 : 0
    return {
      vector,
      error,
      cr2: vector === 14 ? BigInt.asUintN(64, BigInt(s.cr2)) : 0n,
      rip: unsigned(at),
      cs: Number(unsigned(at + 8)),
      flags: Number(unsigned(at + 16)),
      rsp: unsigned(at + 24),
      ss: Number(unsigned(at + 32)),
    }
  }

  private stackWord(offset: number): bigint {
    const at = SYSTEM_FRAME + (Number(BigInt.asIntN(64, this.cpu.s.getBig(4 * 8))) - SYSTEM) + offset
    return BigInt(this.space.read32(at)) | (BigInt(this.space.read32(at + 4)) << 32n)
  }

  /** The data pages as they were before the case. */
  before(c: OracleCase, into: Uint8Array): void {
    into.set(this.clean)
    for (const { offset, bytes } of c.pokes) into.set(bytes, offset)
  }
}
