import type { EventMap } from '../../src/contracts/index.js'
import { CPU_MEMORY_SIZE, Cpu, SEG_LDTR, SEG_TR } from '../../src/cpu/index.js'
import { EventHub } from '../../src/debug/index.js'
import { referenceExecutor } from '../../src/engine/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { type DescriptorWords, encodeSegment } from '../../src/mmu/index.js'

export const GDT = 0x1000
export const LDT = 0x2000
export const IDT = 0x3000
export const TSS = 0x5000
export const CODE = 0x8000
export const STACK = 0xf000

/** A processor with 1 MiB and nothing else; its `interrupt` events are kept. */
export class BareCpu {
  readonly space: AddressSpace = new AddressSpace({ size: 0x100000, reserved: CPU_MEMORY_SIZE })
  readonly hub: EventHub = new EventHub()
  readonly delivered: EventMap['interrupt'][] = []
  /** Vector of an external interrupt to be delivered next. */
  external = -1
  readonly cpu: Cpu

  constructor() {
    const self = this
    this.hub.on('interrupt', (event) => this.delivered.push(event))
    this.cpu = new Cpu({
      space: this.space,
      offset: 0,
      executor: referenceExecutor,
      events: this.hub,
      ports: { read: () => 0, write: () => {} },
      interrupts: {
        get pending() {
          return self.external >= 0
        },
        acknowledge() {
          const vector = self.external
          self.external = -1
          return vector
        },
      },
    })
  }

  descriptor(table: number, index: number, { lo, hi }: DescriptorWords): void {
    this.space.write32(table + 8 * index, lo)
    this.space.write32(table + 8 * index + 4, hi)
  }

  /**
   * Protected mode at a privilege level, in flat segments, with an LDT, and a TSS that has a stack for every inner
   * level.
   */
  protect(cpl: number, limits: { gdt?: number; ldt?: number; idt?: number; ldtPresent?: boolean } = {}): void {
    const { cpu } = this
    const { s } = cpu
    s.cr0 = 0x11
    s.setGdtr(GDT, limits.gdt ?? 0xff)
    s.setIdtr(IDT, limits.idt ?? 0)
    const flat = (type: number): number => type | 0x10 | (cpl << 5) | 0x80 | 0x4000 | 0x8000
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0xf8 | cpl, 0, 0xffffffff, flat(seg === 1 ? 0xb : 0x3))
    s.setSegment(SEG_LDTR, 0x28, LDT, limits.ldt ?? 0x3f, limits.ldtPresent === false ? 0x10000 : 0x82)
    // Stacks of the inner levels: descriptors 20 to 22 of the GDT.
    for (let level = 0; level < 3; level++) {
      this.descriptor(GDT, 20 + level, encodeSegment({ type: 2, dpl: level }))
      this.space.write32(TSS + 4 + 8 * level, STACK)
      this.space.write32(TSS + 8 + 8 * level, ((20 + level) << 3) | level)
    }
    s.setSegment(SEG_TR, 0x30, TSS, 0x67, 0x8b)
    s.setReg32(4, STACK)
    s.rip = CODE
    s.flags = 2
    cpu.setCpl(cpl)
    cpu.memory.configurePaging()
    cpu.memory.flushAll()
    cpu.updateMode()
  }

  /** Bytes of RAM, to see that nothing changed. */
  snapshot(from: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.space.readBytes(from, bytes)
    return bytes
  }
}
