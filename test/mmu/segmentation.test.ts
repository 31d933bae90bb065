import { describe, expect, it } from 'vitest'
import type { EventMap, EventSink } from '../../src/contracts/index.js'
import { AddressSpace } from '../../src/memory/index.js'
import { encodeGate, encodeSegment, SegmentationUnit } from '../../src/mmu/index.js'

const GDT = 0x1000
const LDT = 0x2000
const IDT = 0x3000

function setup(events?: EventSink) {
  const memory = new AddressSpace({ size: 0x10000 })
  const put = (table: number, index: number, words: { lo: number; hi: number }) => {
    memory.write32(table + 8 * index, words.lo)
    memory.write32(table + 8 * index + 4, words.hi)
  }
  put(GDT, 1, encodeSegment({ type: 10 }))
  put(GDT, 2, encodeSegment({ type: 2 }))
  put(GDT, 3, encodeSegment({ type: 2, base: 0x12340000, limit: 0xfff, dpl: 3 }))
  put(GDT, 4, encodeSegment({ type: 2, s: false, base: LDT, limit: 0x0f }))
  put(GDT, 5, encodeSegment({ type: 9, s: false, base: 0x5000, limit: 0x67 }))
  put(GDT, 6, encodeSegment({ type: 2, present: false }))
  put(LDT, 1, encodeSegment({ type: 2, base: 0x00700000, limit: 0x1ff, dpl: 3 }))
  put(IDT, 0x80, encodeGate({ type: 15, selector: 8, offset: 0x1234, dpl: 3 }))
  put(IDT, 0x0e, encodeGate({ type: 14, selector: 8, offset: 0x4321 }))
  put(IDT, 0x20, encodeGate({ type: 5, selector: 0x28 }))
  // LGDT's operand at 0x100.
  memory.write16(0x100, 0x37)
  memory.write32(0x102, GDT)
  memory.write16(0x110, 0x7ff)
  memory.write32(0x112, IDT)
  const unit = new SegmentationUnit(memory, events ? { events } : {})
  unit.lgdt(0x100)
  unit.lidt(0x110)
  return { memory, unit, put }
}

describe('SegmentationUnit', () => {
  it('loads and stores the table registers', () => {
    const { memory, unit } = setup()
    expect(unit.gdtr).toEqual({ base: GDT, limit: 0x37 })
    unit.sgdt(0xffe)
    expect(memory.read16(0xffe)).toBe(0x37)
    expect(memory.read32(0x1000)).toBe(GDT)
    unit.sidt(0x200)
    expect(memory.read32(0x202)).toBe(IDT)
  })

  it('goes through the GDT to a linear address', () => {
    const { memory, unit } = setup()
    expect(unit.load('ds', 0x1b)).toBeUndefined()
    expect(unit.translate('ds', 0x10, 4)).toBe(0x12340010)
    expect(unit.translate('ds', 0xffd, 4)).toEqual({ vector: 13, errorCode: 0 })
    // The accessed bit was set in memory.
    expect(memory.read32(GDT + 0x1c) & 0x100).toBe(0x100)
  })

  it('uses the cache until the selector is loaded again', () => {
    const { unit, put } = setup()
    unit.load('es', 0x1b)
    put(GDT, 3, encodeSegment({ type: 2, base: 0x55550000, dpl: 3 }))
    expect(unit.translate('es', 0, 1)).toBe(0x12340000)
    unit.load('es', 0x1b)
    expect(unit.translate('es', 0, 1)).toBe(0x55550000)
  })

  it('goes through the LDT once LDTR is loaded', () => {
    const { unit } = setup()
    expect(unit.load('fs', 0x0f)).toEqual({ vector: 13, errorCode: 0x0c })
    expect(unit.lldt(0x20)).toBeUndefined()
    expect(unit.sldt()).toBe(0x20)
    expect(unit.load('fs', 0x0f)).toBeUndefined()
    expect(unit.translate('fs', 4, 4)).toBe(0x00700004)
    expect(unit.load('fs', 0x17)).toEqual({ vector: 13, errorCode: 0x14 })
    expect(unit.lldt(0)).toBeUndefined()
    expect(unit.load('gs', 0x0f)).toEqual({ vector: 13, errorCode: 0x0c })
    expect(unit.lldt(0x10)).toEqual({ vector: 13, errorCode: 0x10 })
  })

  it('faults as the manual says and then changes nothing', () => {
    const { unit } = setup()
    expect(unit.load('ds', 0x30)).toEqual({ vector: 11, errorCode: 0x30 })
    expect(unit.load('ss', 0x30)).toEqual({ vector: 12, errorCode: 0x30 })
    expect(unit.load('ds', 0x38)).toEqual({ vector: 13, errorCode: 0x38 })
    expect(unit.load('ss', 0)).toEqual({ vector: 13, errorCode: 0 })
    expect(unit.load('cs', 0)).toEqual({ vector: 13, errorCode: 0 })
    expect(unit.load('cs', 0x10)).toEqual({ vector: 13, errorCode: 0x10 })
    expect(unit.register('ds').selector).toBe(0)
    expect(unit.load('ds', 3)).toBeUndefined()
    expect(unit.translate('ds', 0, 1)).toEqual({ vector: 13, errorCode: 0 })
    unit.load('ss', 0x10)
    unit.load('cs', 0x08)
    expect(unit.translate('ss', 0xfffffff0, 4, 'write')).toBe(0xfffffff0)
    expect(unit.translate('cs', 0, 4, 'write')).toEqual({ vector: 13, errorCode: 0 })
    expect(unit.translate('cs', 7, 4, 'execute')).toBe(7)
    unit.cpl = 3
    expect(unit.load('ds', 0x13)).toEqual({ vector: 13, errorCode: 0x10 })
    expect(unit.lldt(0x20)).toEqual({ vector: 13, errorCode: 0 })
    expect(() => unit.load('xs' as never, 0)).toThrow(expect.objectContaining({ code: 'bad-argument' }))
  })

  it('loads TR once', () => {
    const { memory, unit } = setup()
    expect(unit.ltr(0x28)).toBeUndefined()
    expect(unit.str()).toBe(0x28)
    expect((memory.read32(GDT + 0x2c) >>> 8) & 15).toBe(11)
    expect(unit.ltr(0x28)).toEqual({ vector: 13, errorCode: 0x28 })
  })

  it('finds a handler in three steps', () => {
    const { unit } = setup()
    expect(unit.resolveInterrupt(0x0e)).toEqual({
      kind: 'interrupt',
      selector: 8,
      offset: 0x4321,
      linear: 0x4321,
      privilege: 0,
    })
    unit.cpl = 3
    expect(unit.resolveInterrupt(0x80, true)).toMatchObject({ kind: 'trap', linear: 0x1234, privilege: 0 })
    expect(unit.resolveInterrupt(0x0e, true)).toEqual({ vector: 13, errorCode: 0x0e * 8 + 2 })
    expect(unit.resolveInterrupt(0x21)).toEqual({ vector: 13, errorCode: 0x21 * 8 + 2 })
    expect(unit.resolveInterrupt(0x20)).toMatchObject({ kind: 'task', selector: 0x28 })
    unit.idtr = { base: IDT, limit: 0x7f }
    expect(unit.resolveInterrupt(0x80)).toEqual({ vector: 13, errorCode: 0x80 * 8 + 2 })
  })

  it('tells its steps', () => {
    const steps: string[] = []
    const sink: EventSink = {
      wants: (name) => name === 'translation',
      emit: (_, event) => {
        steps.push((event as EventMap['translation']).step)
      },
    }
    const { unit } = setup(sink)
    unit.load('ds', 0x1b)
    unit.translate('ds', 0, 1)
    expect(steps).toEqual(['selector', 'table', 'descriptor', 'cached', 'check', 'linear'])
  })
})
