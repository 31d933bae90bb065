import { describe, expect, it } from 'vitest'
import type { ModelName } from '../../../src/cpu/index.js'
import {
  enterSmm,
  SMM_REVISION,
  SMM32_AUTO_HALT,
  SMM32_EAX,
  SMM32_EIP,
  SMM32_SMBASE,
  SMM64_AUTO_HALT,
  SMM64_CR0,
  SMM64_RAX,
  SMM64_RIP,
  SMM64_SMBASE,
} from '../../../src/cpu/smm.js'
import { CODE, Machine, SEL_CODE0 } from './machine.js'

const MAP = 0x38000

/** Everything of the state block that RSM must bring back. */
function picture(m: Machine): unknown {
  const { s } = m.cpu
  return {
    regs: Array.from({ length: 16 }, (_, r) => [s.reg32(r), s.regHi(r)]),
    segs: Array.from({ length: 8 }, (_, n) => [s.selector(n), s.segAttr(n), s.segBase(n), s.segLimit(n)]),
    rip: s.rip,
    flags: s.flags,
    control: [s.cr0 >>> 0, s.cr3, s.cr4, s.efer, s.dr(7), s.gdtrBase, s.gdtrLimit, s.idtrBase, s.idtrLimit, s.mode],
    cpl: m.cpu.cpl,
  }
}

describe.each(['pentium', 'x86-64-v2'] as ModelName[])('%s', (model) => {
  const wide = model !== 'pentium'

  it('enters the handler at SMBASE + 8000h and comes back to the same state', () => {
    for (const start of ['real', 'protect', 'v86', ...(wide ? ['long'] : [])]) {
      const m = new Machine(model)
      if (start === 'v86') m.v86('nop', 0)
      else m[start as 'real' | 'protect' | 'long']('nop', ...((start === 'real' ? [] : [3 as const]) as []))
      m.load('rsm', 16, MAP)
      m.cpu.s.setReg32(0, 0x1234)
      m.cpu.s.setReg32(4, 0x20000)
      const before = picture(m)
      m.cpu.raiseSmi()
      m.step()
      const { s } = m.cpu
      expect([s.selector(1), s.segBase(1), s.rip, s.cr0 & 0x8000000d, s.flags, m.cpu.inSmm]).toEqual([
        0x3000,
        0x30000,
        0x8000,
        0,
        2,
        true,
      ])
      expect(s.segLimit(3)).toBe(0xffffffff)
      expect(m.space.read32(MAP + (wide ? SMM64_RAX : SMM32_EAX))).toBe(0x1234)
      expect(m.space.read32(MAP + SMM_REVISION)).toBe(wide ? 0x20064 : 0x20000)
      m.step()
      expect(picture(m), start).toEqual(before)
      expect([m.cpu.inSmm, m.cpu.nmiBlocked, ...m.smm]).toEqual([false, false, true, false])
    }
  })

  it('relocates SMBASE and takes changed registers over', () => {
    const m = new Machine(model)
    m.protect('nop')
    m.load('rsm', 16, MAP)
    m.cpu.raiseSmi()
    m.step()
    m.space.write32(MAP + (wide ? SMM64_SMBASE : SMM32_SMBASE), 0xa0000)
    m.space.write32(MAP + (wide ? SMM64_RIP : SMM32_EIP), CODE + 0x100)
    m.step()
    expect([m.cpu.smbase, m.cpu.s.rip, m.cpu.s.selector(1)]).toEqual([0xa0000, CODE + 0x100, SEL_CODE0])
  })

  it('resumes HLT by the auto-halt field', () => {
    for (const keep of [true, false]) {
      const m = new Machine(model)
      m.protect('hlt\nnop')
      m.load('rsm', 16, MAP)
      m.step()
      enterSmm(m.cpu)
      const at = MAP + (wide ? SMM64_AUTO_HALT : SMM32_AUTO_HALT)
      expect(m.space.read8(at)).toBe(1)
      if (!keep) m.space.write8(at, 0)
      m.step()
      expect([m.cpu.halted, m.cpu.s.rip]).toEqual([keep, CODE + 1])
    }
  })

  it('shuts down on a state that cannot be', () => {
    const m = new Machine(model)
    m.protect('nop')
    m.load('rsm', 16, MAP)
    m.cpu.raiseSmi()
    m.step()
    m.space.write32(MAP + (wide ? SMM64_CR0 : 0x7ffc), 0x80000000)
    m.step()
    expect(m.cpu.shutdown).toBe(true)
  })

  it('RSM outside is #UD', () => {
    const m = new Machine(model)
    m.protect('rsm')
    m.handlers()
    m.step()
    expect(m.vector).toBe(6)
  })
})
