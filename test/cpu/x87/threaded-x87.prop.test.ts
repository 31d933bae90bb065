import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87 } from '../../../src/cpu/layout.js'
import { assembled, type Machine, makeMachine } from '../../engine/threaded-machine.js'
import { runs } from '../../runs.js'

const DATA = 0x9000
const OPERATIONS = [
  'faddp st1, st0',
  'fsubp st1, st0',
  'fsubrp st1, st0',
  'fmulp st1, st0',
  'fdivp st1, st0',
  'fdivrp st1, st0',
  'fadd st0, st0',
  'fadd qword [9020h]',
  'fsubr dword [9020h]',
  'fmul dword [9020h]',
  'fdivr qword [9020h]',
  'fidiv word [9020h]',
  'fiadd dword [9020h]',
  'fcompp\nfnstsw ax',
  'fucomip st0, st1',
  'fxch st0, st1',
  'fsqrt',
  'fchs\nfabs',
  'fst qword [9040h]\nfstp dword [9048h]',
  'fistp dword [9040h]\nfistp qword [9048h]',
  'fist word [9040h]\nfstp tword [9048h]',
  'fild qword [9020h]\nfild dword [9020h]\nfild word [9020h]',
  'fld st1\nfst st2\nfld1\nfldz',
]

/** A program for each operation, in a loop, so that its block is entered after the first round; both engines. */
const machines = new Map<string, readonly [Machine, Machine]>()

function machinesFor(operation: string): readonly [Machine, Machine] {
  let pair = machines.get(operation)
  if (pair === undefined) {
    const code = assembled(
      32,
      `again: fninit\nfldcw [${DATA + 32 + 16}]\nfld tword [${DATA}]\nfld tword [${DATA + 16}]\nmov ecx, 1\n${operation}\njmp again`,
    )
    pair = [makeMachine('reference', 32, code), makeMachine('threaded', 32, code)]
    machines.set(operation, pair)
  }
  return pair
}

const word = fc.integer({ min: 0, max: 0xffff_ffff })
const exponent = fc.oneof(
  fc.integer({ min: 0x3ff8, max: 0x4006 }),
  fc.integer({ min: 0x3fc0, max: 0x403e }),
  fc.integer({ min: 0x3c00, max: 0x4400 }),
  fc.constantFrom(0, 1, 0x7ffe, 0x7fff),
)
const lowWord = fc.oneof(word, fc.constantFrom(0, 0x400, 0x7ff, 0x800, 0xffff_ffff))
const highWord = fc.oneof(word, fc.constantFrom(0x8000_0000, 0xffff_ffff))
const number = fc.record({ negative: fc.boolean(), exponent, hi: highWord, lo: lowWord })
/** The same, and some as far apart as there are places in a significand. */
const numbers = fc.oneof(
  fc.tuple(number, number),
  fc
    .tuple(number, number, fc.integer({ min: 62, max: 67 }))
    .map(([a, b, distance]) => [a, { ...b, exponent: Math.max(1, a.exponent - distance) }] as const),
)

describe('x87 handlers of the threaded engine', () => {
  it('leave what the reference engine leaves', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...OPERATIONS),
        numbers,
        fc.constantFrom(0x37f, 0x27f, 0x07f, 0xf7f, 0xb7f, 0x35f),
        fc.tuple(word, word),
        (operation, [a, b], control, memory) => {
          const states = machinesFor(operation).map(({ cpu, space }) => {
            const { s } = cpu
            for (const [n, x] of [a, b].entries()) {
              space.write32(DATA + n * 16, x.lo)
              space.write32(DATA + n * 16 + 4, x.exponent === 0 ? 0 : (x.hi | 0x80000000) >>> 0)
              space.write32(DATA + n * 16 + 8, x.exponent | (x.negative ? 0x8000 : 0))
            }
            space.write32(DATA + 0x20, memory[0])
            space.write32(DATA + 0x24, memory[1])
            space.write32(DATA + 0x30, control)
            s.rip = 0x8000
            s.flags = 2
            s.setReg32(0, 0)
            // Up to the jump.
            cpu.run(7 + operation.split('\n').length)
            const registers = Array.from({ length: 20 }, (_, n) =>
              (n & 3) === 3 ? 0 : s.get32(OFF_X87 + ((n >> 2) + 3) * 16 + (n & 3) * 4),
            )
            const stored = Array.from({ length: 6 }, (_, n) => space.read32(DATA + 0x40 + n * 4))
            return [
              registers,
              stored,
              s.get32(OFF_FSW) & 0xffff,
              s.get32(OFF_FTAG),
              s.u8[s.base + OFF_TOP],
              s.flags,
              s.reg32(0),
              s.rip,
            ]
          })
          expect(states[1]).toEqual(states[0])
        },
      ),
      {
        numRuns: runs(1500),
        examples: [
          // A power of two loses a place, and what is 65 places below it decides the rounding: 2^63 − 1/3.
          [
            'faddp st1, st0',
            [
              { negative: true, exponent: 0x403e, hi: 0x8000_0000, lo: 0 },
              { negative: false, exponent: 0x3ffd, hi: 0xaaaa_aaaa, lo: 0xaaaa_aaab },
            ],
            0x37f,
            [0, 0],
          ],
        ],
      },
    )
  })

  it('do so without leaving compiled code', () => {
    const [, { cpu, space }] = machinesFor('fmulp st1, st0')
    for (const at of [0, 16]) {
      space.write32(DATA + at, 1)
      space.write32(DATA + at + 4, 0xc0000000)
      space.write32(DATA + at + 8, 0x3fff)
    }
    space.write32(DATA + 0x30, 0x37f)
    cpu.s.rip = 0x8000
    cpu.run(70)
    const before = cpu.stats.stepped
    cpu.run(7000)
    // FNINIT is not among the handlers.
    expect(cpu.stats.stepped - before).toBeLessThan(1100)
  })
})
