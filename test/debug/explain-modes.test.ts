import { describe, expect, it } from 'vitest'
import { explainInterrupt, explainSegmentation, type ProcessorView, pagingRegisters } from '../../src/debug/index.js'
import { Pc } from '../../src/machine/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { EFER_LMA, encodeGate, encodeSegment } from '../../src/mmu/index.js'

const GDT = 0x1000
const IDT = 0x2000

function tables(): AddressSpace {
  const memory = new AddressSpace({ size: 0x10000 })
  const put = (at: number, { lo, hi }: { lo: number; hi: number }): void => {
    memory.write32(at, lo)
    memory.write32(at + 4, hi)
  }
  put(GDT + 8, encodeSegment({ type: 10 }))
  put(GDT + 16, encodeSegment({ type: 10, dpl: 3 }))
  put(GDT + 24, encodeSegment({ type: 9, s: false, base: 0x5000, limit: 0x67 }))
  put(IDT + 0x40 * 8, encodeGate({ type: 14, selector: 8, offset: 0x1234 }))
  put(IDT + 0x41 * 8, encodeGate({ type: 14, selector: 16 | 3, offset: 0x1234 }))
  put(IDT + 0x42 * 8, encodeGate({ type: 5, selector: 24 }))
  return memory
}

const registers = { gdtr: { base: GDT, limit: 31 }, idtr: { base: IDT, limit: 0x7ff } }

describe('modes', () => {
  it('virtual-8086: paragraphs; interrupts only to ring 0', () => {
    const source = { memory: tables(), ...registers, v86: true }
    expect(explainSegmentation(source, 0x1234, 0x10).result).toEqual({ linear: 0x12350 })
    expect(explainInterrupt(source, 0x40).result).toMatchObject({ linear: 0x1234, privilege: 0 })
    // Intel SDM Vol. 3B, "Virtual-8086 Mode": the handler must be non-conforming code of DPL 0, else #GP(selector);
    // here with EXT.
    expect(explainInterrupt(source, 0x41).result).toEqual({ vector: 13, errorCode: 0x11 })
  })

  it('a task gate has no offset', () => {
    const { result, steps } = explainInterrupt({ memory: tables(), ...registers }, 0x42)
    expect(result).toMatchObject({ kind: 'task', selector: 24 })
    expect(steps.map(({ number }) => number)).toEqual([1, 2, 3])
  })

  it('64-bit mode: base 0 but for FS and GS, canonical addresses only', () => {
    const cache = { selector: 0, base: 0x5000, limit: 0, attr: 0x93 }
    const view: Partial<ProcessorView> & { memory: AddressSpace } = {
      memory: tables(),
      ...registers,
      ...pagingRegisters('4-level'),
      segments: {
        es: cache,
        cs: { selector: 8, base: 0, limit: 0, attr: 0x209b },
        ss: cache,
        ds: cache,
        fs: cache,
        gs: { ...cache, base: -0x1000 },
      },
    }
    expect((view.efer ?? 0) & EFER_LMA).toBe(EFER_LMA)
    expect(explainSegmentation(view, 'ds', 0x10).result).toEqual({ linear: 0x10 })
    expect(explainSegmentation(view, 'fs', 0x10).result).toEqual({ linear: 0x5010 })
    expect(explainSegmentation(view, 'gs', 0x10).result).toEqual({ linear: -0xff0 })
    expect(explainSegmentation(view, 'gs', 0x1000).result).toEqual({ linear: 0 })
    expect(explainSegmentation(view, 'ds', 0x8000_0000_0000n).result).toEqual({ vector: 13, errorCode: 0 })
    expect(explainSegmentation(view, 'ss', 0x8000_0000_0000n).result).toEqual({ vector: 12, errorCode: 0 })
  })

  it('a machine in real mode: registers as they are', () => {
    const pc = new Pc({ memory: 16 * 0x100000, engine: 'reference' })
    // After reset CS keeps a base that its selector does not give (Intel SDM Vol. 3A, "First Instruction Executed").
    expect(explainSegmentation(pc, 'cs', 0xfff0, { access: 'execute' }).result).toEqual({ linear: 0xfffffff0 })
    pc.loadFlat(Uint8Array.of(0xf4))
    expect(explainSegmentation(pc, 'ds', 0x7c00).result).toEqual({ linear: 0x7c00 })
    pc.space.write16(4 * 0x10, 0x1111)
    pc.space.write16(4 * 0x10 + 2, 0xf000)
    expect(explainInterrupt(pc, 0x10).result).toMatchObject({ selector: 0xf000, offset: 0x1111, linear: 0xf1111 })
  })

  it('refuses what is no selector, register, size, offset or vector', () => {
    const source = { memory: tables() }
    expect(() => explainSegmentation(source, 0x10000, 0)).toThrow(/selector/)
    expect(() => explainSegmentation(source, 'xs' as 'ds', 0)).toThrow(/segment register/)
    expect(() => explainSegmentation(source, 8, 0, { size: 0 })).toThrow(/1 to 64/)
    expect(() => explainSegmentation(source, 8, -1)).toThrow(/offset/)
    expect(() => explainInterrupt(source, 256)).toThrow(/vector/)
  })
})
