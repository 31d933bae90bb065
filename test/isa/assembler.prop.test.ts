import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { assemble } from '../../src/isa/assembler.js'
import { decode } from '../../src/isa/decoder.js'
import { disassemble } from '../../src/isa/disassembler.js'
import { DECODE, Instruction } from '../../src/isa/instruction.js'
import { runs } from '../runs.js'
import { corpus } from './nasm-corpus.js'
import { meaningOf } from './same.js'

const lines = corpus().filter(
  ({ text }) => !/^(d[bwdqt]|times|fst?init|f(init|stcw|stsw|stenv|save|clex))\b/.test(text),
)

describe('round trips', () => {
  test('assemble → decode → print → assemble gives the same instruction', () => {
    const first = new Instruction()
    const second = new Instruction()
    fc.assert(
      fc.property(fc.constantFrom(...lines), fc.nat({ max: 0xffff }), ({ bits, text }, place) => {
        const org = 0x10000 + place
        const bytes = bits === 16 ? assemble(text, { bits, org: place }).bytes : assemble(text, { bits, org }).bytes
        const at = bits === 16 ? place : org
        // Test registers, MOV CS and POP CS exist on old models only.
        fc.pre(!/\btr[0-7]\b|(mov|pop) cs/.test(text))
        expect(decode(bytes, 0, bytes.length, bits, first), text).toBe(DECODE.ok)
        expect(first.length).toBe(bytes.length)
        const printed = disassemble(first, at)
        const again = assemble(printed, { bits, org: at }).bytes
        expect(decode(again, 0, again.length, bits, second), printed).toBe(DECODE.ok)
        expect(meaningOf(second), `${text} → ${printed}`).toBe(meaningOf(first))
      }),
      { numRuns: runs(1000) },
    )
  })
})

/** An expression as text and its value, worked out by an evaluator of the test's own. */
interface Sample {
  readonly text: string
  readonly value: bigint
}

const wrap = (n: bigint): bigint => BigInt.asIntN(64, n)
const u = (n: bigint): bigint => BigInt.asUintN(64, n)
const OPERATORS: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => u(a) / u(b),
  '%': (a, b) => u(a) % u(b),
  '//': (a, b) => a / b,
  '%%': (a, b) => a % b,
  '&': (a, b) => a & b,
  '|': (a, b) => a | b,
  '^': (a, b) => a ^ b,
  '<<': (a, b) => a << (b & 63n),
  '>>': (a, b) => u(a) >> (b & 63n),
  '==': (a, b) => (a === b ? 1n : 0n),
  '<': (a, b) => (a < b ? 1n : 0n),
  '>=': (a, b) => (a >= b ? 1n : 0n),
  '&&': (a, b) => (a !== 0n && b !== 0n ? 1n : 0n),
  '||': (a, b) => (a !== 0n || b !== 0n ? 1n : 0n),
}

const { sample } = fc.letrec<{ sample: Sample }>((tie) => ({
  sample: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map((n) => ({
      text: n < 0n ? `(-${-n})` : n % 2n === 0n ? `${n}` : `0x${n.toString(16)}`,
      value: n,
    })),
    fc.nat({ max: 70 }).map((n) => ({ text: `${n}`, value: BigInt(n) })),
    fc
      .tuple(fc.constantFrom(...Object.keys(OPERATORS)), tie('sample'), tie('sample'))
      .filter(([op, , b]) => (op !== '/' && op !== '%' && op !== '//' && op !== '%%') || b.value !== 0n)
      .filter(([op, , b]) => (op !== '<<' && op !== '>>') || (b.value >= 0n && b.value < 64n))
      .map(([op, a, b]) => ({ text: `(${a.text}) ${op} (${b.text})`, value: wrap(OPERATORS[op]!(a.value, b.value)) })),
    fc.tuple(fc.constantFrom('-', '~', '!'), tie('sample')).map(([op, a]) => ({
      text: `${op} (${a.text})`,
      value: wrap(op === '-' ? -a.value : op === '~' ? ~a.value : a.value === 0n ? 1n : 0n),
    })),
  ),
}))

describe('expressions', () => {
  test('wrap at 64 bits like the hardware', () => {
    fc.assert(
      fc.property(sample, ({ text, value }) => {
        const { bytes } = assemble(`dq ${text}`)
        expect(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0, true)).toBe(value)
      }),
      { numRuns: runs(300) },
    )
  })

  test('operators bind in their documented order', () => {
    const levels = [['||'], ['&&'], ['==', '<'], ['|'], ['^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/', '%']]
    const level = fc.nat({ max: levels.length - 1 })
    fc.assert(
      fc.property(
        fc.tuple(level, level),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 3, maxLength: 3 }),
        ([i, j], [x, y, z]) => {
          const a = levels[i]![0]!
          const b = levels[j]![0]!
          const grouped = i >= j ? `((${x} ${a} ${y}) ${b} ${z})` : `(${x} ${a} (${y} ${b} ${z}))`
          expect(assemble(`dq ${x} ${a} ${y} ${b} ${z}`).bytes).toEqual(assemble(`dq ${grouped}`).bytes)
        },
      ),
      { numRuns: runs(200) },
    )
  })
})

describe('bad input', () => {
  const words = fc.constantFrom(
    ...'mov add jmp lock rep ax eax rax [ ] ( ) , : + - * 5 0x 1h $ $$ % %% %1 %macro %endmacro %if %endif %rep %else db dw times equ org bits 32 64 align a: a .b: "x" \' ` ; \\ \n \n \n byte dword short far rel es: ? ! ~ << // %define %assign st ( 0.5 struc endstruc absolute'.split(
      ' ',
    ),
  )
  const soup = fc.array(words, { maxLength: 40 }).map((list) => list.join(' '))
  test('ends in bytes or in a syntax error with a line, never in anything else', () => {
    fc.assert(
      fc.property(
        fc.oneof(soup, fc.string(), fc.string({ unit: 'binary' })),
        fc.constantFrom(16, 32, 64),
        (source, bits) => {
          try {
            assemble(source, { bits: bits as 16 | 32 | 64 })
          } catch (error) {
            expect(error).toBeInstanceOf(VirtkitError)
            expect((error as VirtkitError).code).toBe('bad-syntax')
            expect((error as VirtkitError).message).toMatch(/^line \d+: /)
          }
        },
      ),
      { numRuns: runs(1000) },
    )
  })
})
