import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runs } from '../../runs.js'
import { GDT, HANDLER, IDT, Machine, SEL_CODE0, SEL_TEST } from './machine.js'

const word = fc.integer({ min: 0, max: 0xffff })
const dword = fc.integer({ min: 0, max: 0xffffffff })
/** EFLAGS bits that a program may have: all but TF (which would trap), NT (a task return) and RF. */
const FLAGS = 0x24_8ed5 & ~0x8000

/** What an interrupt and its IRET must leave alone. */
function picture(m: Machine): unknown {
  const { s } = m.cpu
  return {
    rip: s.rip,
    flags: s.flags,
    cpl: m.cpu.cpl,
    regs: Array.from({ length: 16 }, (_, r) => [s.reg32(r), s.regHi(r)]),
    segs: [1, 2].map((n) => [s.selector(n), s.segBase(n), s.segLimit(n), s.segAttr(n) | 1]),
  }
}

describe('laws of control transfer', () => {
  it('IRET undoes an interrupt in every mode, through every kind of gate', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('real', 'protect0', 'protect3', 'v86', 'long0', 'long3'),
        fc.constantFrom(6, 7, 14, 15),
        fc.array(dword, { minLength: 8, maxLength: 8 }),
        dword,
        fc.integer({ min: 0, max: 3 }),
        (mode, type, regs, flags, iopl) => {
          const m = Machine.reuse('x86-64-v2')
          const long = mode.startsWith('long')
          const wide = type >= 14
          if (mode === 'real') m.real('')
          else if (mode === 'v86') m.v86('', iopl)
          else if (long) m.long('', mode === 'long0' ? 0 : 3)
          else m.protect('', mode === 'protect0' ? 0 : 3)
          const { s } = m.cpu
          regs.forEach((value, r) => {
            if (r !== 4) s.setReg32(r, value)
          })
          // 16-bit gates save 16 bits of EIP, ESP and FLAGS: only what fits comes back, so the code and stack must lie low.
          if (mode.startsWith('protect') && !wide) {
            s.rip = 0x8000
            s.setReg32(4, 0x7000)
          }
          if (long) {
            m.handler64(0x60, { type: wide ? type : 14 })
            m.load('iretq', 64, HANDLER + 0x600)
          } else if (mode === 'real') {
            m.space.write32(0x60 * 4, 0x9000)
            m.load('iret', 16, 0x9000)
          } else if (wide) {
            m.handler(0x60, { type })
            m.load('iret', 32, HANDLER + 0x600)
          } else {
            // A 16-bit handler cannot return to virtual-8086 mode: the frame has no VM.
            if (mode === 'v86') return
            m.descriptor(SEL_TEST, { base: HANDLER, limit: 0xffff, type: 10, big: false })
            m.gate(IDT + 0x60 * 8, { type, selector: SEL_TEST, offset: 0x600 })
            m.load('iret', 16, HANDLER + 0x600)
          }
          let f = (flags & FLAGS) | 0x202 | (iopl << 12)
          if (mode === 'v86') f |= 0x20000
          // Sixteen-bit frames keep the upper half of EFLAGS as it is, except that RF and VM are cleared.
          s.flags = mode === 'real' ? f & ~0x40000 : f
          m.cpu.updateMode()
          const before = picture(m)
          m.interrupt = 0x60
          m.step()
          expect(s.rip).not.toBe((before as { rip: number }).rip)
          m.step()
          expect(picture(m)).toEqual(before)
        },
      ),
      { numRuns: runs(100) },
    )
  })

  it('RETF undoes a far CALL, directly and through gates of both sizes, with any number of parameters', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0 as const, 3 as const),
        fc.boolean(),
        fc.integer({ min: 0, max: 31 }),
        fc.boolean(),
        word,
        (cpl, wide, count, gate, garbage) => {
          const m = Machine.reuse('x86-64-v2')
          const size = wide ? 4 : 2
          m.protect('', cpl)
          m.descriptor(SEL_TEST, { base: HANDLER, limit: 0xffff, type: 10, big: false, dpl: 0 })
          m.gate(GDT + SEL_TEST + 8, {
            type: wide ? 12 : 4,
            selector: wide ? SEL_CODE0 : SEL_TEST,
            offset: wide ? HANDLER : 0,
            dpl: 3,
            paramCount: count,
          })
          m.load(`${wide ? 'o32' : 'o16'} retf ${count * size}`, wide ? 32 : 16, HANDLER)
          if (gate) m.load(`${wide ? '' : 'o16'} call ${SEL_TEST + 8 + cpl}:${garbage}`, 32, 0x8000)
          else if (cpl === 0) m.load(wide ? `call ${SEL_CODE0}:${HANDLER}` : `o16 call ${SEL_TEST}:0`, 32, 0x8000)
          else return
          const { s } = m.cpu
          s.rip = 0x8000
          // A 16-bit return restores 16 bits of ESP.
          s.setReg32(4, 0x7000)
          const selectors = [1, 2].map((n) => s.selector(n))
          m.step()
          expect(m.cpu.cpl).toBe(0)
          m.step()
          expect(m.cpu.cpl).toBe(cpl)
          expect(s.reg32(4)).toBe(0x7000 + count * size)
          expect([1, 2].map((n) => s.selector(n))).toEqual(selectors)
          expect(s.rip).toBeGreaterThan(0x8000)
          expect(s.rip).toBeLessThan(0x8010)
        },
      ),
      { numRuns: runs(100) },
    )
  })
})
