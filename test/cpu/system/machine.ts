import type { CpuPlatform } from '../../../src/cpu/index.js'
import { CPU_MEMORY_SIZE, Cpu, MODELS, type ModelName, SEG_LDTR, SEG_TR } from '../../../src/cpu/index.js'
import { referenceExecutor } from '../../../src/engine/index.js'
import { assemble } from '../../../src/isa/index.js'
import { AddressSpace } from '../../../src/memory/index.js'
import { encodeGate, encodeSegment, type GateFields, type SegmentFields } from '../../../src/mmu/index.js'

/** Where things stand in the test machine's memory. */
export const GDT = 0x1000
export const IDT = 0x2000
export const LDT = 0x3000
export const TSS = 0x4000
export const TSS_B = 0x5000
export const CODE = 0x10000
export const HANDLER = 0x20000
export const STACK0 = 0x30000
export const STACK3 = 0x38000
export const PAGES = 0x100000

// Selectors of the GDT that `Machine.protect` builds.
export const SEL_CODE0 = 0x08
export const SEL_DATA0 = 0x10
export const SEL_CODE3 = 0x1b
export const SEL_DATA3 = 0x23
export const SEL_CODE16 = 0x28
export const SEL_DATA16 = 0x30
export const SEL_CONFORMING = 0x38
export const SEL_CODE64 = 0x40
export const SEL_CODE64_3 = 0x4b
export const SEL_TSS = 0x50
export const SEL_LDT = 0x60
export const SEL_TSS_B = 0x70
/** Free for a test's gates and odd descriptors. */
export const SEL_TEST = 0x80

export interface PortAccess {
  readonly write: boolean
  readonly port: number
  readonly size: number
  readonly value: number
}

const pool = new Map<ModelName, Machine>()

/** A bare CPU with 2 MiB of RAM, recording ports and a settable interrupt. */
export class Machine {
  readonly space: AddressSpace = new AddressSpace({ size: 0x200000, reserved: CPU_MEMORY_SIZE })
  readonly ports: PortAccess[] = []
  portValue = 0xffffffff
  interrupt = -1
  readonly smm: boolean[] = []
  readonly cpu: Cpu

  constructor(model: ModelName = 'x86-64-v2', platform: CpuPlatform = {}) {
    const self = this
    this.cpu = new Cpu({
      space: this.space,
      offset: 0,
      model: MODELS[model],
      executor: referenceExecutor,
      ports: {
        read(port, size) {
          const value = size === 4 ? self.portValue >>> 0 : self.portValue & (size === 2 ? 0xffff : 0xff)
          self.ports.push({ write: false, port, size, value })
          return value
        },
        write(port, size, value) {
          self.ports.push({ write: true, port, size, value })
        },
      },
      interrupts: {
        get pending() {
          return self.interrupt >= 0
        },
        acknowledge() {
          const vector = self.interrupt
          self.interrupt = -1
          return vector
        },
      },
      platform: { smmChanged: (active) => this.smm.push(active), ...platform },
    })
  }

  /** A machine as after `new`, from a pool: for properties, where building one anew for every run takes most of the time. */
  static reuse(model: ModelName): Machine {
    const m = pool.get(model) ?? new Machine(model)
    pool.set(model, m)
    m.space.bytes.fill(0, CPU_MEMORY_SIZE, CPU_MEMORY_SIZE + 0x200000)
    m.ports.length = 0
    m.smm.length = 0
    m.interrupt = -1
    m.portValue = 0xffffffff
    m.cpu.reset()
    return m
  }

  /** Assembles `source` to `address`. */
  load(source: string, bits: 16 | 32 | 64, address: number = CODE): void {
    const { bytes } = assemble(source, { org: address, bits })
    for (let n = 0; n < bytes.length; n++) this.space.write8(address + n, bytes[n]!)
  }

  descriptor(selector: number, fields: SegmentFields, table: number = GDT): void {
    const { lo, hi } = encodeSegment(fields)
    this.space.write32(table + (selector & 0xfff8), lo)
    this.space.write32(table + (selector & 0xfff8) + 4, hi)
  }

  gate(address: number, fields: GateFields, long = false): void {
    const { lo, hi, upper } = encodeGate(fields)
    this.space.write32(address, lo)
    this.space.write32(address + 4, hi)
    if (long) {
      this.space.write32(address + 8, upper)
      this.space.write32(address + 12, 0)
    }
  }

  /** Real mode at 0000:CODE16 address 0x7c00 with a stack below it. */
  real(source: string): void {
    const { s } = this.cpu
    this.load(source, 16, 0x7c00)
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0, 0, 0xffff, 0x93)
    s.rip = 0x7c00
    s.setReg32(4, 0x7000)
    this.cpu.updateMode()
  }

  private tables(long: boolean): void {
    const { s } = this.cpu
    const flat = { base: 0, limit: 0xffffffff }
    this.descriptor(SEL_CODE0, { ...flat, type: 10, dpl: 0 })
    this.descriptor(SEL_DATA0, { ...flat, type: 2, dpl: 0 })
    this.descriptor(SEL_CODE3, { ...flat, type: 10, dpl: 3 })
    this.descriptor(SEL_DATA3, { ...flat, type: 2, dpl: 3 })
    this.descriptor(SEL_CODE16, { base: 0x10000, limit: 0xffff, type: 10, big: false })
    this.descriptor(SEL_DATA16, { base: 0x30000, limit: 0xffff, type: 2, big: false })
    this.descriptor(SEL_CONFORMING, { ...flat, type: 14, dpl: 0 })
    this.descriptor(SEL_CODE64, { ...flat, type: 10, dpl: 0, long: true })
    this.descriptor(SEL_CODE64_3, { ...flat, type: 10, dpl: 3, long: true })
    this.descriptor(SEL_TSS, { base: TSS, limit: 0x2067, type: 11, s: false })
    this.descriptor(SEL_LDT, { base: LDT, limit: 0xff, type: 2, s: false })
    this.descriptor(SEL_TSS_B, { base: TSS_B, limit: 0x67, type: 9, s: false })
    s.setGdtr(GDT, 0xff)
    s.setIdtr(IDT, long ? 0xfff : 0x7ff)
    s.setSegment(SEG_TR, SEL_TSS, TSS, 0x2067, 0x8b)
    s.setSegment(SEG_LDTR, SEL_LDT, LDT, 0xff, 0x82)
  }

  /** 32-bit protected mode at privilege `cpl`, flat segments, with GDT, IDT (empty) and a TSS whose inner stack is at STACK0. */
  protect(source: string, cpl: 0 | 3 = 0): void {
    const { s } = this.cpu
    this.tables(false)
    this.load(source, 32)
    this.space.write32(TSS + 4, STACK0)
    this.space.write16(TSS + 8, SEL_DATA0)
    this.space.write16(TSS + 0x66, 0x68)
    s.cr0 = (s.cr0 & ~0x60000000) | 1
    const code = cpl === 0 ? SEL_CODE0 : SEL_CODE3
    const data = cpl === 0 ? SEL_DATA0 : SEL_DATA3
    s.setSegment(1, code, 0, 0xffffffff, 0xc09b | (cpl << 5))
    for (const seg of [0, 2, 3, 4, 5]) s.setSegment(seg, data, 0, 0xffffffff, 0xc093 | (cpl << 5))
    s.rip = CODE
    s.setReg32(4, cpl === 0 ? STACK0 : STACK3)
    this.cpu.setCpl(cpl)
    this.cpu.mem.configurePaging()
    this.cpu.mem.flushAll()
    this.cpu.updateMode()
  }

  /** 64-bit mode with the first 2 MiB mapped to themselves for everybody. */
  long(source: string, cpl: 0 | 3 = 0): void {
    const { s } = this.cpu
    this.tables(true)
    this.load(source, 64)
    this.space.write32(PAGES, (PAGES + 0x1000) | 7)
    this.space.write32(PAGES + 0x1000, (PAGES + 0x2000) | 7)
    this.space.write32(PAGES + 0x2000, 0x87)
    this.space.write32(TSS + 4, STACK0)
    s.cr0 = 0x80000011
    s.cr4 = 0x20
    s.cr3 = PAGES
    s.efer = 0x501
    s.setSegment(SEG_TR, SEL_TSS, TSS, 0x2067, 0x8b)
    s.setSegment(1, cpl === 0 ? SEL_CODE64 : SEL_CODE64_3, 0, 0xffffffff, 0xa09b | (cpl << 5))
    for (const seg of [0, 2, 3, 4, 5])
      s.setSegment(seg, cpl === 0 ? SEL_DATA0 : SEL_DATA3, 0, 0xffffffff, 0xc093 | (cpl << 5))
    s.rip = CODE
    s.setReg32(4, cpl === 0 ? STACK0 : STACK3)
    this.cpu.setCpl(cpl)
    this.cpu.mem.configurePaging()
    this.cpu.mem.flushAll()
    this.cpu.updateMode()
  }

  /** Virtual-8086 mode at 1000:0000 with the given IOPL. */
  v86(source: string, iopl = 0, flags = 0x202): void {
    this.protect('', 3)
    const { s } = this.cpu
    const { bytes } = assemble(source, { org: 0, bits: 16 })
    for (let n = 0; n < bytes.length; n++) this.space.write8(CODE + n, bytes[n]!)
    s.flags = flags | 0x20000 | (iopl << 12)
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0x1000, 0x10000, 0xffff, 0xf3)
    s.setSegment(2, 0x3800, 0x38000, 0xffff, 0xf3)
    s.rip = 0
    s.setReg32(4, 0x100)
    this.cpu.setCpl(3)
    this.cpu.updateMode()
  }

  /** An interrupt gate for `vector` to a handler at HANDLER + vector * 16 in ring 0. */
  handler(vector: number, fields: Partial<GateFields> = {}): void {
    this.gate(IDT + vector * 8, { type: 14, selector: SEL_CODE0, offset: HANDLER + vector * 16, ...fields })
  }

  handler64(vector: number, fields: Partial<GateFields> = {}): void {
    this.gate(
      IDT + vector * 16,
      { type: 14, selector: SEL_CODE64, offset: HANDLER + vector * 16, offsetHigh: 0, ...fields },
      true,
    )
  }

  /** Gates for every exception. */
  handlers(): void {
    for (let vector = 0; vector < 32; vector++) this.handler(vector)
  }

  /** Runs `count` instructions or deliveries. */
  step(count = 1): void {
    this.cpu.run(count)
  }

  /** The 32-bit word `n` places up from the current stack pointer. */
  stack(n: number): number {
    return this.space.read32((this.cpu.s.segBase(2) + this.cpu.s.reg32(4) + n * 4) >>> 0) >>> 0
  }

  stack16(n: number): number {
    const sp = this.cpu.s.segAttr(2) & 0x4000 ? this.cpu.s.reg32(4) : this.cpu.s.reg16(4)
    return this.space.read16(this.cpu.s.segBase(2) + sp + n * 2)
  }

  stack64(n: number): number {
    const at = this.cpu.s.regNumber(4) + n * 8
    return this.space.read32(at) + this.space.read32(at + 4) * 2 ** 32
  }

  /** After a step: the vector whose ring-0 handler was entered, or -1. */
  get vector(): number {
    const offset = this.cpu.s.rip - HANDLER
    return offset >= 0 && offset < 0x1000 && offset % 16 === 0 ? offset / 16 : -1
  }
}
