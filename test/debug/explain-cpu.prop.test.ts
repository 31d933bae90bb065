// What an explanation says must be what the processor does: both get the same tables and selectors.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { explainInterrupt, explainSegmentation, PageTableBuilder, pagingRegisters } from '../../src/debug/index.js'
import { assemble } from '../../src/isa/index.js'
import { encodeGate, encodeSegment } from '../../src/mmu/index.js'
import { runs } from '../runs.js'
import { BareCpu, CODE, GDT, IDT, LDT, STACK, TSS } from './bare-cpu.js'

/** A descriptor: mostly with these access rights and a wide limit, sometimes anything. */
function descriptor(usual: readonly number[]): fc.Arbitrary<{ lo: number; hi: number }> {
  return fc
    .record({
      attr: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...usual) },
        { weight: 1, arbitrary: fc.nat(0xff) },
        { weight: 1, arbitrary: fc.constantFrom(0x96, 0x90, 0xf0, 0x9e, 0x72, 0x1a, 0x82, 0x89) },
      ),
      base: fc.constantFrom(0, 0x10000, 0x20010, 0xfff00),
      limit: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0xfffff) },
        { weight: 1, arbitrary: fc.constantFrom(0, 0xfff, 0xffff) },
        { weight: 1, arbitrary: fc.nat(0xfffff) },
      ),
      flags: fc.constantFrom(4, 12, 0),
    })
    .map(({ attr, base, limit, flags }) => ({
      lo: ((limit & 0xffff) | (base << 16)) >>> 0,
      hi: (((base >>> 16) & 0xff) | (attr << 8) | (limit & 0xf0000) | (flags << 20) | (base & 0xff000000)) >>> 0,
    }))
}

const selector = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 4, max: 0x3f }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3, 0x100, 0xfffc) },
)
const offset = fc.oneof(
  { weight: 3, arbitrary: fc.nat(0xfff) },
  { weight: 1, arbitrary: fc.nat(0x1ffff) },
  { weight: 1, arbitrary: fc.constantFrom(0xfff, 0x1000, 0xffff, 0xfffff, 0x100000) },
)

describe('explainSegmentation', () => {
  const outcomes = { address: 0, fault: 0 }
  const load = assemble('bits 32\nmov ds, ax\nmov cl, [ebx]').bytes
  const store = assemble('bits 32\nmov es, ax\nmov [es:ebx], ecx').bytes
  const stack = assemble('bits 32\nmov ss, ax\nmov cx, [ss:ebx]').bytes
  const cases = [
    { code: load, register: 'ds', size: 1, access: 'read', seg: 3 },
    { code: store, register: 'es', size: 4, access: 'write', seg: 0 },
    { code: stack, register: 'ss', size: 2, access: 'read', seg: 2 },
  ] as const

  it('names the address or the fault of the processor, and changes nothing', () => {
    const arbitrary = fc.tuple(
      fc.array(descriptor([0x92, 0xb2, 0xd2, 0xf2, 0xf2, 0xfa]), { minLength: 8, maxLength: 8 }),
      fc.array(descriptor([0x92, 0xf2, 0xf2]), { minLength: 4, maxLength: 4 }),
      selector,
      offset,
      fc.nat(3),
      fc.constantFrom(...cases),
      fc.boolean(),
    )
    fc.assert(
      fc.property(arbitrary, ([gdt, ldt, sel, at, cpl, { code, register, size, access, seg }, ldtPresent]) => {
        const bare = new BareCpu()
        bare.space.writeBytes(CODE, code)
        bare.protect(cpl, { gdt: 0x3f, ldt: 0x1f, ldtPresent })
        gdt.forEach((words, n) => {
          bare.descriptor(GDT, n, words)
        })
        ldt.forEach((words, n) => {
          bare.descriptor(LDT, n, words)
        })
        const before = bare.snapshot(0, 0x10000)
        const explanation = explainSegmentation(bare, sel, at, { register, size, access })
        expect(Buffer.compare(bare.snapshot(0, 0x10000), before)).toBe(0)

        const { cpu, delivered } = bare
        cpu.s.setReg32(0, sel)
        cpu.s.setReg32(3, at)
        cpu.run(1)
        // The first instruction's shadow does not matter; the second one accesses.
        if (delivered.length === 0 && !cpu.shutdown) cpu.run(1)
        const fault = delivered[0]
        outcomes[fault === undefined ? 'address' : 'fault']++
        if (fault !== undefined) {
          expect(explanation.ok).toBe(false)
          expect(explanation.result).toEqual({ vector: fault.vector, errorCode: fault.errorCode })
        } else {
          expect(explanation.ok).toBe(true)
          expect(explanation.result.linear).toBe((cpu.s.segBase(seg) + at) % 2 ** 32)
        }
      }),
      { numRuns: runs(100) },
    )
    // Both kinds really occur.
    expect(Math.min(outcomes.address, outcomes.fault)).toBeGreaterThan(runs(100) / 30)
  })

  it('in real mode: segment × 16 + offset', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffff), (segment, at) => {
        const bare = new BareCpu()
        expect(explainSegmentation(bare, segment, at).result).toEqual({ linear: segment * 16 + at })
      }),
      { numRuns: runs(20) },
    )
  })
})

describe('explainInterrupt', () => {
  const outcomes = { handler: 0, fault: 0 }
  const gate = fc
    .record({
      type: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(6, 7, 14, 15) }, { weight: 1, arbitrary: fc.nat(31) }),
      dpl: fc.constantFrom(3, 3, 3, 0, 1),
      absent: fc.constantFrom(0, 0, 0, 0, 0x80),
      selector,
      offset,
    })
    .map(({ type, dpl, absent, selector: sel, offset: at }) => ({
      lo: ((at & 0xffff) | (sel << 16)) >>> 0,
      hi: ((at & 0xffff0000) | ((type | (dpl << 5) | (0x80 ^ absent)) << 8)) >>> 0,
    }))

  it('finds the handler that the processor runs, or its fault, in protected mode', () => {
    const arbitrary = fc.tuple(
      fc.array(descriptor([0x9a, 0x9a, 0x9e, 0xfa]), { minLength: 8, maxLength: 8 }),
      gate,
      fc.constantFrom(0, 0, 0, 3, 3, 1),
      fc.boolean(),
      fc.constantFrom(0x40, 0x41, 0x40, 0x41, 0xff),
    )
    fc.assert(
      fc.property(arbitrary, ([gdt, words, cpl, software, vector]) => {
        // Task gates lead to a task switch, which is another story.
        fc.pre(((words.hi >>> 8) & 0x1f) !== 5)
        const bare = new BareCpu()
        bare.space.writeBytes(CODE, Uint8Array.of(0xcd, vector))
        bare.protect(cpl, { idt: 8 * 0x42 - 1 })
        gdt.forEach((entry, n) => {
          bare.descriptor(GDT, n, entry)
          bare.descriptor(LDT, n, entry)
        })
        bare.descriptor(IDT, vector, words)
        const explanation = explainInterrupt(bare, vector, { software })

        const { cpu, delivered } = bare
        if (!software) {
          cpu.s.flags = 0x202
          bare.external = vector
          cpu.interruptChanged()
        }
        cpu.run(1)
        expect(delivered[0]).toMatchObject({ vector, kind: software ? 'software' : 'external' })
        const fault = delivered[1]
        outcomes[fault === undefined ? 'handler' : 'fault']++
        if (fault !== undefined) {
          expect(explanation.ok).toBe(false)
          expect(explanation.result).toEqual({ vector: fault.vector, errorCode: fault.errorCode })
        } else {
          expect(explanation.ok).toBe(true)
          expect(explanation.result.linear).toBe((cpu.s.segBase(1) + cpu.s.rip) % 2 ** 32)
          expect(explanation.result.privilege).toBe(cpu.cpl)
          expect((cpu.s.flags & 0x200) === 0 || explanation.result.kind === 'trap').toBe(true)
        }
        expect(explanation.steps.map(({ number }) => number)).toEqual([1, 2, 3].slice(0, explanation.steps.length))
        if (explanation.ok) expect(explanation.steps).toHaveLength(3)
      }),
      { numRuns: runs(120) },
    )
    expect(Math.min(outcomes.handler, outcomes.fault)).toBeGreaterThan(runs(120) / 30)
  })

  it('finds the handler in the vector table of real mode', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.nat(0xffff), fc.nat(0xffff), (vector, segment, at) => {
        const bare = new BareCpu()
        const { cpu } = bare
        cpu.s.setSegment(1, 0, 0, 0xffff, 0x9b)
        cpu.s.rip = CODE
        cpu.s.setReg32(4, 0x7000)
        cpu.updateMode()
        bare.space.writeBytes(CODE, Uint8Array.of(0xcd, vector))
        bare.space.write16(4 * vector, at)
        bare.space.write16(4 * vector + 2, segment)
        const { result, steps } = explainInterrupt(bare, vector)
        expect(steps).toHaveLength(3)
        cpu.run(1)
        expect(result.linear).toBe(cpu.s.segBase(1) + cpu.s.rip)
      }),
      { numRuns: runs(20) },
    )
  })

  it('finds the handler in long mode: 16-byte gates, 64-bit code, canonical offsets', () => {
    const arbitrary = fc.tuple(
      fc.constantFrom(0x0e, 0x0f, 0x0e, 0x0f, 0x0c, 0x06),
      fc.nat(3),
      fc.boolean(),
      fc.constantFrom(0x08, 0x10, 0x18, 0x20, 0x0c, 0, 0x100),
      fc.constantFrom(0, 0x7fff, 0x8000, 0xffff8000, 0xffffffff, 0xffff7fff),
      fc.nat(0xffffffff),
      fc.constantFrom(0, 3),
      fc.constantFrom(0x41, 0x42),
    )
    fc.assert(
      fc.property(arbitrary, ([type, dpl, present, sel, high, low, cpl, vector]) => {
        const bare = new BareCpu()
        const { cpu, space, delivered } = bare
        bare.protect(cpl, { gdt: 0x7f, idt: 16 * 0x42 - 1 })
        const tables = new PageTableBuilder(space, '4-level', 0x40000)
        tables.mapRange(0, 0, 256)
        const code64 = { type: 10, long: true, big: false }
        bare.descriptor(GDT, 1, encodeSegment(code64))
        bare.descriptor(GDT, 2, encodeSegment({ type: 10 }))
        bare.descriptor(GDT, 3, encodeSegment({ ...code64, dpl: 3 }))
        bare.descriptor(GDT, 4, encodeSegment({ ...code64, type: 14 }))
        bare.descriptor(LDT, 1, encodeSegment(code64))
        // The stacks of inner levels in a 64-bit TSS.
        for (const at of [4, 12, 20]) {
          space.write32(TSS + at, STACK)
          space.write32(TSS + at + 4, 0)
        }
        const gate64 = { type, selector: sel, offset: type < 8 ? low & 0xffff : low, dpl, present, offsetHigh: high }
        const { lo, hi, upper } = encodeGate(gate64)
        const at = IDT + 16 * vector
        ;[lo, hi, upper, 0].forEach((word, n) => {
          space.write32(at + 4 * n, word)
        })
        space.writeBytes(CODE, Uint8Array.of(0xcd, vector))
        Object.assign(cpu.s, { ...pagingRegisters('4-level'), cr3: tables.cr3 })
        cpu.s.setSegment(1, 0x08 | cpl, 0, 0xffffffff, 0xa09b | (cpl << 5))
        cpu.memory.configurePaging()
        cpu.memory.flushAll()
        cpu.updateMode()
        const explanation = explainInterrupt(bare, vector, { software: true })
        cpu.run(1)
        const fault = delivered[1]
        if (fault !== undefined) {
          expect(explanation.result).toEqual({ vector: fault.vector, errorCode: fault.errorCode })
        } else {
          expect(explanation.result).toMatchObject({ linear: cpu.s.rip, privilege: cpu.cpl })
        }
      }),
      { numRuns: runs(60) },
    )
  })
})
