/** Our assembler against NASM: the recorded corpus everywhere, random programs where NASM is installed. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assemble } from '../../src/isa/assembler.js'
import { ROWS } from '../../src/isa/table.js'
import { runs } from '../runs.js'
import { corpus } from './nasm-corpus.js'
import { runNasm } from './record-nasm.js'

interface Recorded {
  readonly bits: 16 | 32 | 64
  readonly hex: string
  readonly text: string
}

const recorded: readonly Recorded[] = gunzipSync(readFileSync(new URL('golden/nasm.txt.gz', import.meta.url)))
  .toString()
  .trimEnd()
  .split('\n')
  .map((line) => {
    const [, bits = '', hex = '', text = ''] = /^(\d+) (\S+) (.*)$/.exec(line) ?? []
    return { bits: Number(bits) as 16 | 32 | 64, hex, text }
  })

/** Where we deliberately do not do what NASM does. */
const DIFFERENCES: readonly { readonly line: RegExp; readonly why: string }[] = [
  { line: /^64 (mov|sldt) r\w+(, [c-gs]s)?$/, why: 'NASM drops REX.W: a 32-bit destination is zero-extended anyway' },
  { line: /^64 pextr[bw] r\w+, xmm/, why: 'the same' },
  { line: /^64 invpcid r/, why: 'NASM adds a REX.W that has no meaning' },
  { line: /\[ebx\+eax\+5-2\]/, why: 'NASM swaps base and index here, and only here' },
]

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

describe('recorded corpus', () => {
  test('every line gives the bytes of NASM, or is a listed difference', () => {
    const wrong: string[] = []
    let different = 0
    for (const { bits, hex: wanted, text } of recorded) {
      let found: string
      try {
        found = hex(assemble(text, { bits }).bytes)
      } catch (error) {
        found = (error as Error).message
      }
      if (found === wanted) continue
      if (DIFFERENCES.some(({ line }) => line.test(`${bits} ${text}`))) different++
      else wrong.push(`${bits} ${text}: NASM ${wanted}, here ${found}`)
    }
    expect(wrong).toEqual([])
    expect(different).toBeLessThan(20)
  })

  test('holds nearly every line that the table gives rise to (NASM refuses some)', () => {
    const known = new Set(recorded.map(({ bits, text }) => `${bits} ${text}`))
    const lines = corpus()
    const missing = lines
      .filter(({ bits, text }) => !known.has(`${bits} ${text}`))
      .map(({ bits, text }) => `${bits} ${text}`)
    // More than this: the table changed, so run record-nasm.ts again.
    expect(missing.length / lines.length, missing.slice(0, 20).join('\n')).toBeLessThan(0.03)
  })

  test('holds every mnemonic of the table', () => {
    const mnemonics = new Set(recorded.map(({ text }) => text.replace(/^(lock|rep|repe) /, '').split(' ')[0]!))
    const unheard = new Set<string>()
    for (const row of ROWS) {
      if (row.index === 0 || row.alias || row.until === '8086' || row.plus === 'cc') continue
      if (row.operands.some(({ method }) => method === 'X' || method === 'Y')) continue
      unheard.add(row.mnemonic)
    }
    for (const name of mnemonics) unheard.delete(name)
    // Names that NASM writes otherwise, has not, or gives no bytes for.
    const elsewhere =
      'callf jmpf xlat cwd iret pushf popf pusha popa jcxz vmptrld vmclear vmxon vmptrst fnsetpm fstpnce'
    for (const name of elsewhere.split(' ')) unheard.delete(name)
    expect([...unheard]).toEqual([])
  })
})

const hasNasm = 'image' in runNasm('nop\n')

/** One line of a random program; labels are L0 to L9, all of them defined somewhere. */
const registers = { 16: ['ax', 'bx', 'cx', 'si'], 32: ['eax', 'ebx', 'ecx', 'esi'], 64: ['rax', 'rbx', 'r9', 'r13'] }
// A distance whose own encoding decides whether it fits in a byte has two solutions; NASM may find either, so such
// distances are kept away from the limit.
const label = fc.integer({ min: 0, max: 9 }).map((n) => `L${n}`)
function lineFor(bits: 16 | 32 | 64): fc.Arbitrary<string> {
  const register = fc.constantFrom(...registers[bits])
  const number = fc.constantFrom(0, 1, 5, 127, 128, 255, 256, 1000, -1, -128, -129)
  return fc.oneof(
    {
      weight: 5,
      arbitrary: fc.tuple(fc.constantFrom('jmp', 'je', 'jnc', 'call', 'jg'), label).map((p) => p.join(' ')),
    },
    { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 0, max: 90 })).map(([n]) => `times ${n} nop`) },
    fc
      .tuple(fc.constantFrom('add', 'cmp', 'mov', 'imul', 'test'), register, number)
      .map(([m, r, n]) => `${m} ${r}, ${n}`),
    fc.tuple(fc.constantFrom('add', 'mov', 'sub'), register, label).map(([m, r, l]) => `${m} ${r}, ${l}`),
    fc
      .tuple(fc.constantFrom('add', 'mov', 'and'), register, label, label)
      .map(([m, r, a, b]) => `${m} ${r}, ${m === 'mov' ? `${a}-${b}` : `(${a}-${b} & 63 | 1) + 1000`}`),
    fc
      .tuple(fc.constantFrom('mov', 'add'), register, fc.constantFrom('bx', 'si', 'ebx', 'ecx*4'), label, label)
      .map(
        ([m, r, b, x, y]) =>
          `${m} ${r}, [${bits === 64 ? b.replace(/^e?([bcs][xi])/, 'r$1') : b}+${y < 'L5' ? `(${x}-${y} & 63 | 1)` : `${x}-${y}+1000`}]`,
      ),
    fc.tuple(register, label).map(([r, l]) => `mov ${r}, [${l}]`),
    fc.tuple(register, label).map(([r, l]) => `lea ${r}, [${bits === 64 ? 'rel ' : ''}${l}+4]`),
    label.map((l) => `d${bits === 16 ? 'w' : 'd'} ${l}, $-$$, 'ab'`),
    fc.constantFrom(1, 2, 4, 16, 64).map((n) => `align ${n}`),
    fc.tuple(label, label).map(([a, b]) => `dd ${a}-${b}`),
    fc.integer({ min: 0, max: 40 }).map((n) => `resb ${n}`),
    fc
      .constantFrom('push 5', 'push 300', 'inc ax', 'rep movsd', 'lock inc dword [bx+si]', 'jmp $', '.x: jmp short .x')
      .map((l) => (bits === 64 ? l.replace('[bx+si]', '[rbx+rsi]') : l)),
  )
}

describe.skipIf(!hasNasm)('random programs', () => {
  test.each([16, 32, 64] as const)('of %i bits give the image of NASM', (bits) => {
    const program = fc.array(lineFor(bits), { minLength: 5, maxLength: 120 }).chain((lines) =>
      fc.array(fc.nat({ max: lines.length }), { minLength: 10, maxLength: 10 }).map((places) => {
        const out: string[] = []
        for (let i = 0; i <= lines.length; i++) {
          places.forEach((place, n) => {
            if (place === i) out.push(`L${n}:`)
          })
          if (i < lines.length) out.push(lines[i]!.startsWith('.x') ? `G${i}:\n${lines[i]}` : lines[i]!)
        }
        return `bits ${bits}\norg 0x7c00\n${out.join('\n')}\n`
      }),
    )
    fc.assert(
      fc.property(program, (source) => {
        const theirs = runNasm(source)
        if (!('image' in theirs)) throw new Error(theirs.errors)
        expect(hex(assemble(source).bytes)).toBe(theirs.image.toString('hex'))
      }),
      { numRuns: runs(40) },
    )
  })
})
