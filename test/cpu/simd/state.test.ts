/**
 * Who may run MMX and SSE, and what MMX does to the x87. Source: Intel SDM Vol. 3A, "Intel MMX Technology System Programming", "System Programming for
 * Streaming SIMD Extensions"; Vol. 2, "Exception Conditions of Legacy SIMD Instructions Operating on MMX Registers".
 */

import { beforeEach, describe, expect, it } from 'vitest'
import { MODELS } from '../../../src/cpu/index.js'
import { OFF_FCW, OFF_FSW } from '../../../src/cpu/layout.js'
import { Machine } from '../system/machine.js'
import { CR0_EM, CR0_NE, CR0_TS, CR4_OSFXSR, DATA, SimdUnit } from './unit.js'

const UD = 6
const NM = 7
const GP = 13
const MF = 16
const unit = new SimdUnit()
const { cpu } = unit.machine
const { s } = cpu

function control(cr0: number, cr4: number): void {
  s.cr0 = (s.cr0 & ~(CR0_EM | CR0_TS)) | cr0
  s.cr4 = (s.cr4 & ~CR4_OSFXSR) | cr4
  cpu.updateMode()
}

beforeEach(() => unit.restart())

describe('availability', () => {
  // CR0, CR4 → exception of an SSE, of an MMX instruction, of one of both.
  it.each([
    [0, CR4_OSFXSR, -1, -1],
    [0, 0, UD, -1],
    [CR0_EM, CR4_OSFXSR, UD, UD],
    [CR0_TS, CR4_OSFXSR, NM, NM],
    [CR0_TS, 0, UD, NM],
    [CR0_EM | CR0_TS, CR4_OSFXSR, UD, UD],
  ])('CR0 %x, CR4 %x', (cr0, cr4, sse, mmx) => {
    for (const [source, wanted] of [
      ['paddb xmm1, xmm2', sse],
      ['movaps xmm1, [abs 0x40000]', sse],
      ['pmovmskb eax, xmm1', sse],
      ['maskmovdqu xmm1, xmm2', sse],
      ['psllw xmm1, 3', sse],
      ['movq2dq xmm1, mm2', sse],
      ['movdq2q mm1, xmm2', sse],
      ['paddb mm1, mm2', mmx],
      ['pshufw mm1, mm2, 3', mmx],
      ['movq mm1, [abs 0x40000]', mmx],
      ['psllw mm1, 3', mmx],
      ['emms', mmx],
      // These look at neither.
      ['movnti [abs 0x40000], eax', -1],
      ['prefetchnta [abs 0x40000]', -1],
      ['sfence', -1],
      ['lfence', -1],
      ['mfence', -1],
      ['pause', -1],
    ] as const) {
      unit.restart()
      control(cr0, cr4)
      s.setRegNumber(7, DATA)
      expect([source, unit.run(source)]).toEqual([source, wanted])
    }
  })

  it('the exception of the unit comes before those of the operand', () => {
    control(CR0_TS, CR4_OSFXSR)
    expect(unit.run('movaps xmm1, [abs 0x200001]')).toBe(NM)
  })

  it('a Pentium (P54C) and older do not know them', () => {
    for (const name of ['80386', '80486', 'pentium'] as const) {
      expect(MODELS[name].features.has('mmx')).toBe(false)
      const m = new Machine(name)
      m.protect('emms')
      m.handlers()
      m.step()
      expect(m.vector).toBe(UD)
    }
    const core2 = new Machine('core2')
    core2.protect('pabsb mm1, mm2\nptest xmm1, xmm2')
    core2.handlers()
    core2.cpu.s.cr4 |= CR4_OSFXSR
    core2.cpu.updateMode()
    core2.step(2)
    expect(core2.vector).toBe(UD)
    expect(core2.stack(0)).toBe(0x10004)
  })
})

describe('alignment', () => {
  it.each([
    ['movaps xmm1, [abs 0x40008]', GP],
    ['movapd [abs 0x40001], xmm1', GP],
    ['movdqa xmm1, [abs 0x40008]', GP],
    ['movntps [abs 0x40008], xmm1', GP],
    ['movntdqa xmm1, [abs 0x40008]', GP],
    ['paddb xmm1, [abs 0x40008]', GP],
    ['andps xmm1, [abs 0x40004]', GP],
    ['pshufd xmm1, [abs 0x40008], 3', GP],
    ['movsldup xmm1, [abs 0x40008]', GP],
    ['mpsadbw xmm1, [abs 0x40008], 3', GP],
    ['movups xmm1, [abs 0x40001]', -1],
    ['movupd [abs 0x40fff], xmm1', -1],
    ['movdqu xmm1, [abs 0x40ff9]', -1],
    ['lddqu xmm1, [abs 0x40ff9]', -1],
    ['pcmpistri xmm1, [abs 0x40001], 3', -1],
    ['pcmpestrm xmm1, [abs 0x40ff1], 3', -1],
    ['movq xmm1, [abs 0x40ffd]', -1],
    ['movss xmm1, [abs 0x40ffd]', -1],
    ['movhps xmm1, [abs 0x40001]', -1],
    ['movddup xmm1, [abs 0x40001]', -1],
    ['pmovsxbw xmm1, [abs 0x40001]', -1],
    ['paddb mm1, [abs 0x40001]', -1],
    ['pinsrw xmm1, [abs 0x40fff], 1', -1],
  ])('%s', (source, wanted) => expect(unit.run(source)).toBe(wanted))

  it('#GP comes before a page fault, a segment violation before it', () => {
    expect(unit.run('movaps xmm1, [abs 0x200008]')).toBe(GP)
    unit.restart()
    expect(unit.run('movaps xmm1, [abs 0x200000]')).toBe(14)
    unit.restart()
    s.setBig(5 * 8, 0x8000_0000_0000_0001n)
    expect(unit.run('movaps xmm1, [rbp]')).toBe(12)
  })
})

describe('MMX and the x87', () => {
  it.each([
    ['paddb mm3, mm4', 3],
    ['movq mm3, [abs 0x40000]', 3],
    ['movd mm3, eax', 3],
    ['movdq2q mm3, xmm1', 3],
    ['psrlq mm3, 3', 3],
    ['pinsrw mm3, eax, 1', 3],
    ['movq [abs 0x40000], mm3', -1],
    ['movd eax, mm3', -1],
    ['pmovmskb eax, mm3', -1],
    ['movq2dq xmm1, mm3', -1],
    ['maskmovq mm3, mm4', -1],
  ])('%s: TOP 0, all valid, the exponent of what is written all ones', (source, written) => {
    unit.top = 5
    unit.tags = 0x24
    for (let n = 0; n < 8; n++) s.setBig(0x400 + n * 16 + 8, 0x4000n)
    s.setRegNumber(7, DATA)
    expect(unit.run(source)).toBe(-1)
    expect([unit.top, unit.tags]).toEqual([0, 0xff])
    for (let n = 0; n < 8; n++) expect(unit.exponent(n)).toBe(n === written ? 0xffff : 0x4000)
  })

  it('EMMS empties the stack', () => {
    unit.top = 3
    unit.tags = 0xff
    unit.run('emms')
    expect([unit.top, unit.tags]).toEqual([0, 0])
  })

  it('SSE leaves it alone', () => {
    unit.top = 3
    unit.tags = 0x11
    unit.run('paddb xmm1, xmm2')
    expect([unit.top, unit.tags]).toEqual([3, 0x11])
  })

  it('a fault of the operand comes before any change', () => {
    unit.top = 3
    unit.tags = 0x11
    expect(unit.run('paddb mm1, [abs 0x200000]')).toBe(14)
    expect([unit.top, unit.tags]).toEqual([3, 0x11])
    unit.restart()
    expect(unit.run('movq [abs 0x200000], mm1')).toBe(14)
    expect([unit.top, unit.tags]).toEqual([3, 0x11])
  })

  it.each(['paddb mm1, [abs 0x200000]', 'emms', 'movq2dq xmm1, mm2'])(
    '%s reports a pending x87 exception',
    (source) => {
      // Zero divide, unmasked: ES and B.
      s.u16[(s.base + OFF_FCW) >> 1] = 0x037b
      s.u16[(s.base + OFF_FSW) >> 1] = 0x8084
      unit.top = 3
      expect(unit.run(source)).toBe(MF)
      expect(unit.top).toBe(3)
      s.u16[(s.base + OFF_FSW) >> 1] = 0
    },
  )

  it('… through FERR# while CR0.NE is clear: the instruction waits', () => {
    const signals: boolean[] = []
    const m = new Machine('x86-64-v2', { ferr: (asserted) => signals.push(asserted) })
    m.protect('paddb mm1, mm2')
    m.cpu.s.u16[(m.cpu.s.base + OFF_FSW) >> 1] = 0x8084
    m.cpu.s.setBig(0x410, 1n)
    m.cpu.s.setBig(0x420, 1n)
    m.cpu.s.cr0 &= ~CR0_NE
    m.step()
    expect(signals).toEqual([true])
    expect(m.cpu.halted).toBe(true)
    expect(m.cpu.s.getBig(0x410)).toBe(1n)
    expect(m.cpu.s.rip).toBe(0x10000)
  })
})
