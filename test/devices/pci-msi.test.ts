import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  MSIX_ENTRY_SIZE,
  MsiCapability,
  MsixCapability,
  PCI_CAP_MSI,
  PCI_CAP_MSIX,
  PCI_CAP_VENDOR,
  PciBus,
  PciFunction,
  PIRQ_DEFAULTS,
  Piix3Isa,
} from '../../src/devices/index.js'
import { runs } from '../runs.js'

const MASTER = 0x4

function card() {
  const fn = new PciFunction({ vendor: 0x1af4, device: 0x1041, classCode: 0x020000, interruptPin: 1 })
  const intx: boolean[] = []
  fn.attach(3, { setIntx: (_device, _pin, asserted) => intx.push(asserted) })
  const messages: [number, number][] = []
  const sink = { writeMessage: (address: number, data: number) => messages.push([address, data]) }
  fn.writeConfig(4, 2, MASTER)
  return { fn, intx, messages, sink }
}

describe('MSI', () => {
  it('has the four layouts', () => {
    for (const [wide, maskable, control, length] of [
      [false, false, 0x0000, 10],
      [true, false, 0x0080, 14],
      [false, true, 0x0100, 20],
      [true, true, 0x0180, 24],
    ] as const) {
      const { fn, sink } = card()
      const msi = new MsiCapability(fn, sink, { wide, maskable, vectors: 4 })
      expect(fn.readConfig(msi.offset, 4)).toBe(PCI_CAP_MSI | ((control | (2 << 1)) << 16))
      // The next capability follows at the next doubleword.
      expect(fn.addCapability(PCI_CAP_VENDOR, 4)).toBe(msi.offset + ((length + 3) & ~3))
      fn.writeConfig(msi.offset + 4, 4, 0xffffffff)
      expect(fn.readConfig(msi.offset + 4, 4)).toBe(0xfffffffc)
      if (maskable) {
        const mask = msi.offset + (wide ? 16 : 12)
        fn.writeConfig(mask, 4, 0xffffffff)
        fn.writeConfig(mask + 4, 4, 0xffffffff)
        expect([fn.readConfig(mask, 4), fn.readConfig(mask + 4, 4)]).toEqual([0xf, 0])
      }
    }
  })

  it('sends the vector in the low bits that were granted', () => {
    const { fn, sink, messages } = card()
    const msi = new MsiCapability(fn, sink, { vectors: 8 })
    fn.writeConfig(msi.offset + 4, 4, 0xfee01000)
    fn.writeConfig(msi.offset + 8, 4, 0x1)
    fn.writeConfig(msi.offset + 12, 2, 0x4035)
    msi.signal(0)
    expect(messages).toEqual([]) // not enabled
    fn.writeConfig(msi.offset + 2, 2, 0x0001 | (2 << 4))
    expect([msi.enabled, msi.granted]).toEqual([true, 4])
    for (const vector of [0, 3, 5]) msi.signal(vector)
    expect(messages).toEqual([0, 3, 1].map((n) => [0x1_fee01000, 0x4034 | n]))
    fn.writeConfig(4, 2, 0) // no bus master
    msi.signal(0)
    expect(messages).toHaveLength(3)
  })

  it('keeps masked messages pending', () => {
    const { fn, sink, messages } = card()
    const msi = new MsiCapability(fn, sink, { vectors: 2, maskable: true, wide: false })
    fn.writeConfig(msi.offset + 4, 4, 0xfee00000)
    fn.writeConfig(msi.offset + 8, 2, 0x40)
    fn.writeConfig(msi.offset + 2, 2, 0x0001 | (1 << 4))
    fn.writeConfig(msi.offset + 12, 4, 2)
    msi.signal(1)
    msi.signal(1)
    msi.signal(0)
    expect(messages).toEqual([[0xfee00000, 0x40]])
    expect(fn.readConfig(msi.offset + 16, 4)).toBe(2)
    // Pending bits are saved although the guest cannot write them.
    const other = card()
    const otherMsi = new MsiCapability(other.fn, other.sink, { vectors: 2, maskable: true, wide: false })
    other.fn.loadState(fn.saveState())
    expect(other.messages).toEqual([])
    other.fn.writeConfig(otherMsi.offset + 12, 4, 0)
    expect(other.messages).toEqual([[0xfee00000, 0x41]])
    fn.writeConfig(msi.offset + 12, 1, 0)
    expect(messages.at(-1)).toEqual([0xfee00000, 0x41])
    expect(fn.readConfig(msi.offset + 16, 4)).toBe(0)
  })

  it('silences INTx while it is enabled', () => {
    const { fn, sink, intx } = card()
    const msi = new MsiCapability(fn, sink)
    fn.setIntx(true)
    fn.writeConfig(msi.offset + 2, 2, 1)
    expect([intx, fn.messageSignalled]).toEqual([[true, false], true])
    fn.writeConfig(msi.offset + 2, 2, 0)
    expect(intx).toEqual([true, false, true])
  })

  it('refuses odd numbers of vectors', () => {
    const { fn, sink } = card()
    for (const vectors of [0, 3, 64, 1.5]) {
      expect(() => new MsiCapability(fn, sink, { vectors })).toThrowError(
        expect.objectContaining({ code: 'bad-argument' }),
      )
    }
  })
})

describe('MSI-X', () => {
  function function4() {
    const c = card()
    const msix = new MsixCapability(c.fn, c.sink, { vectors: 4, bar: 1 })
    for (let n = 0; n < 4; n++) {
      msix.writeMmio(n * MSIX_ENTRY_SIZE, 4, 0xfee00000 + n * 0x1000)
      msix.writeMmio(n * MSIX_ENTRY_SIZE + 8, 4, 0x50 + n)
    }
    return { ...c, msix, control: (value: number) => c.fn.writeConfig(msix.offset + 2, 2, value) }
  }

  it('describes its table', () => {
    const { fn, msix, intx } = function4()
    expect(fn.readConfig(msix.offset, 4)).toBe(PCI_CAP_MSIX | (3 << 16))
    expect([fn.readConfig(msix.offset + 4, 4), fn.readConfig(msix.offset + 8, 4)]).toEqual([0x001, 0x801])
    expect(msix.windowSize).toBe(4096)
    expect([0, 63, 64, 0x7ff, 0x800, 0x807, 0x808].map((at) => msix.contains(at))).toEqual([
      true,
      true,
      false,
      false,
      true,
      true,
      false,
    ])
    // Every vector is masked after reset; only the mask exists in vector control.
    msix.writeMmio(12, 4, 0xffffffff)
    expect([msix.readMmio(12, 4), msix.readMmio(28, 4)]).toEqual([1, 1])
    msix.writeMmio(0, 4, 0xffffffff)
    expect(msix.readMmio(0, 4)).toBe(0xfffffffc)
    fn.setIntx(true)
    fn.writeConfig(msix.offset + 2, 2, 0x8000)
    expect(intx).toEqual([true, false])
  })

  it('sends, masks and keeps pending', () => {
    const { msix, messages, control } = function4()
    msix.signal(0)
    control(0x8000)
    msix.signal(0)
    expect([messages.length, msix.readMmio(0x800, 4)]).toEqual([0, 1])
    msix.writeMmio(12, 4, 0)
    expect([messages, msix.readMmio(0x800, 4)]).toEqual([[[0xfee00000, 0x50]], 0])
    control(0xc000)
    msix.writeMmio(3 * 16 + 12, 1, 0)
    msix.signal(3)
    msix.signal(0)
    expect([messages.length, msix.readMmio(0x800, 4)]).toEqual([1, 9])
    control(0x8000)
    expect(messages.slice(1)).toEqual([
      [0xfee00000, 0x50],
      [0xfee03000, 0x53],
    ])
    msix.signal(4) // there is no such vector
    expect(messages).toHaveLength(3)
  })

  it('a reset of the function masks everything', () => {
    const { fn, msix, control, messages } = function4()
    control(0x8000)
    msix.writeMmio(12, 4, 0)
    msix.signal(1)
    fn.reset()
    expect([msix.enabled, msix.readMmio(0, 4), msix.readMmio(12, 4), msix.readMmio(0x800, 4)]).toEqual([false, 0, 1, 0])
    expect(messages).toEqual([])
  })

  it('refuses impossible shapes and damaged state', () => {
    const { fn, sink } = card()
    for (const bad of [
      { vectors: 0, bar: 1 },
      { vectors: 2049, bar: 1 },
      { vectors: 4, bar: 6 },
      { vectors: 4, bar: 1, tableOffset: 4 },
      { vectors: 4, bar: 1, tableOffset: 0, pendingOffset: 56 },
    ]) {
      expect(() => new MsixCapability(fn, sink, bad)).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
    }
    const { msix } = function4()
    const good = msix.saveState()
    for (const bad of [
      { ...good, version: 0 },
      { ...good, table: good.table.slice(1) },
      { ...good, table: good.table.map(() => 0xff) },
      { ...good, pending: good.pending.map(() => 0xff) },
    ]) {
      expect(() => msix.loadState(bad as never)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
    }
    expect(msix.saveState()).toEqual(good)
  })

  it('no message is lost, none is made up', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('signal' as const), vector: fc.nat(3) }),
      fc.record({ kind: fc.constant('mask' as const), vector: fc.nat(3), on: fc.boolean() }),
      fc.record({ kind: fc.constant('control' as const), value: fc.constantFrom(0, 0x4000, 0x8000, 0x8000, 0xc000) }),
      fc.record({ kind: fc.constant('reload' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { fn, msix, messages, control } = function4()
        const model = { masked: [true, true, true, true], pending: [false, false, false, false], control: 0 }
        const sent: number[] = []
        const settle = (): void => {
          for (let n = 0; n < 4; n++) {
            if (model.pending[n] && model.control === 0x8000 && !model.masked[n]) {
              model.pending[n] = false
              sent.push(n)
            }
          }
        }
        for (const s of steps) {
          if (s.kind === 'signal') {
            msix.signal(s.vector)
            if ((model.control & 0x8000) !== 0) model.pending[s.vector] = true
          } else if (s.kind === 'mask') {
            msix.writeMmio(s.vector * 16 + 12, 4, s.on ? 1 : 0)
            model.masked[s.vector] = s.on
          } else if (s.kind === 'control') {
            control(s.value)
            model.control = s.value
          } else {
            fn.loadState(fn.saveState())
            msix.loadState(msix.saveState())
          }
          settle()
          expect(messages.map(([, data]) => data - 0x50)).toEqual(sent)
          expect(msix.readMmio(0x800, 4)).toBe(model.pending.reduce((bits, on, n) => bits | (on ? 1 << n : 0), 0))
        }
      }),
      { numRuns: runs(100) },
    )
  })
})

describe('Piix3Isa', () => {
  it('routes the wires as firmware would', () => {
    const levels = new Array<boolean>(16).fill(false)
    const irqLines = levels.map((_, n) => ({ setLevel: (on: boolean) => void (levels[n] = on) }))
    const piix3 = new Piix3Isa({ irqLines })
    const bus = new PciBus({ router: piix3.router })
    const fn = new PciFunction({ vendor: 1, device: 1, classCode: 0, interruptPin: 1 })
    bus.add(3, 0, fn)
    piix3.initialise()
    expect([0, 1, 2, 3].map((pirq) => piix3.routedIrq(pirq))).toEqual(PIRQ_DEFAULTS)
    fn.setIntx(true)
    // INTA of device 3 is wire C.
    expect(levels.indexOf(true)).toBe(11)
  })
})
