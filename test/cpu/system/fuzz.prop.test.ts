import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MODEL_NAMES, type ModelName } from '../../../src/cpu/index.js'
import { runs } from '../../runs.js'
import { CODE, GDT, IDT, LDT, Machine, SEL_TEST, TSS, TSS_B } from './machine.js'

/** Opcodes of system instructions, so that random code reaches them often. */
const SYSTEM: readonly (readonly number[])[] = [
  [0x0f, 0x00],
  [0x0f, 0x01],
  [0x0f, 0x20],
  [0x0f, 0x21],
  [0x0f, 0x22],
  [0x0f, 0x23],
  [0x0f, 0x30],
  [0x0f, 0x32],
  [0x0f, 0x34],
  [0x0f, 0x35],
  [0x0f, 0x05],
  [0x0f, 0x07],
  [0x0f, 0xaa],
  [0x0f, 0xa2],
  [0x8e],
  [0x8c],
  [0x9a],
  [0xea],
  [0xcb],
  [0xca],
  [0xcf],
  [0xcd],
  [0xcc],
  [0xce],
  [0xc4],
  [0xc5],
  [0x0f, 0xb2],
  [0xc8],
  [0xc9],
  [0x60],
  [0x61],
  [0x62],
  [0x63],
  [0x9c],
  [0x9d],
  [0xfa],
  [0xfb],
  [0x6c],
  [0x6e],
  [0xf3, 0x6d],
  [0xe4],
  [0xe6],
  [0xff],
  [0x0f, 0x02],
  [0x0f, 0x03],
  [0x0f, 0xc7],
  [0x1f],
  [0x17],
  [0x07],
  [0xf1],
  [0x27],
  [0x2f],
  [0x37],
  [0x3f],
  [0xd4],
  [0xd5],
]

const byte = fc.integer({ min: 0, max: 255 })
const piece = fc
  .tuple(fc.constantFrom(...SYSTEM), fc.array(byte, { minLength: 1, maxLength: 5 }))
  .map(([op, rest]) => [...op, ...rest])
const program = fc.array(
  fc.oneof({ weight: 3, arbitrary: piece }, { weight: 1, arbitrary: fc.array(byte, { maxLength: 6 }) }),
  { minLength: 4, maxLength: 40 },
)
const mode = fc.constantFrom('real', 'protect0', 'protect3', 'v86', 'long0', 'long3')
/** Selectors near those that mean something. */
const selectors = fc.array(fc.integer({ min: 0, max: 0xa8 }), { minLength: 8, maxLength: 8 })

describe('random system code', () => {
  it('never throws, keeps its counts, and is repeatable', () => {
    fc.assert(
      fc.property(
        mode,
        fc.constantFrom<ModelName>(...MODEL_NAMES.slice(2)),
        program,
        selectors,
        fc.array(fc.tuple(fc.integer({ min: 0, max: 0x6ff }), byte), { maxLength: 40 }),
        (start, model, code, registers, damage) => {
          const once = (): unknown => {
            const long = start.startsWith('long')
            const m = Machine.reuse(long ? 'x86-64-v2' : model)
            if (start === 'real') m.real('nop')
            else if (start === 'v86') m.v86('nop', registers[0]! & 3)
            else if (long) m.long('nop', start === 'long0' ? 0 : 3)
            else m.protect('nop', start === 'protect0' ? 0 : 3)
            if (long) for (let v = 0; v < 32; v++) m.handler64(v, { offset: CODE })
            else if (start !== 'real')
              for (let v = 0; v < 64; v++)
                m.handler(
                  v,
                  v % 5 === 0 ? { offset: 0, type: 5, selector: 0x70, dpl: v & 3 } : { offset: CODE, dpl: v & 3 },
                )
            m.gate(GDT + SEL_TEST, { type: 12, selector: 8, offset: CODE, dpl: 3, paramCount: 3 })
            for (const [at, value] of damage)
              m.space.write8([GDT, IDT, LDT, TSS, TSS_B, TSS, GDT][at >> 8]! + (at & 0xff), value)
            const at = start === 'real' ? 0x7c00 : CODE
            for (const [n, value] of code.flat().entries()) m.space.write8(at + n, value)
            registers.forEach((value, r) => {
              if (r !== 4) m.cpu.s.setReg32(r, value)
            })
            const before = m.cpu.instructions
            m.cpu.run(300)
            const done = m.cpu.instructions - before
            expect(done).toBeLessThanOrEqual(300)
            expect(m.cpu.cpl).toBeLessThanOrEqual(3)
            expect(m.cpu.msr.size).toBeLessThan(64)
            const { s } = m.cpu
            return [
              s.rip,
              s.flags,
              done,
              s.cr0,
              ...Array.from({ length: 16 }, (_, r) => s.reg32(r)),
              ...Array.from({ length: 8 }, (_, n) => s.selector(n)),
            ]
          }
          expect(once()).toEqual(once())
        },
      ),
      { numRuns: runs(40) },
    )
  })
})
