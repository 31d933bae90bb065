import { describe, expect, it } from 'vitest'
import { assemble } from '../../src/isa/assembler.js'
import { decode } from '../../src/isa/decoder.js'
import { disassemble, disassembleBytes } from '../../src/isa/disassembler.js'
import { DECODE, Instruction, OPERAND } from '../../src/isa/instruction.js'
import { ROWS } from '../../src/isa/table.js'
import { runs } from '../runs.js'
import { encodeRow, seeded } from './cases.js'
import { meaningOf } from './same.js'

/** Origins from which no random displacement leaves the address space of its width. */
const ORIGIN = { 16: 0x7000, 32: 0x1000_0000, 64: 0x8000_0000 } as const
/** A 16-bit jump in 32-bit code clears the high half of EIP: it can be written only below 64 KiB. */
const ORIGIN_16 = 0x7000

/** Prefixes without effect are not printed: without them the target of a short branch may be out of its reach. */
function atTheEdge(insn: Instruction): boolean {
  const { kind, size } = insn.ops[0]
  return insn.operands === 1 && kind === OPERAND.rel && size === 1 && insn.imm > 127 - 15
}

describe('disassembler and assembler', () => {
  for (const bits of [16, 32, 64] as const) {
    it(`keep the meaning of every row as ${bits}-bit code: decode, print, assemble, decode`, () => {
      const random = seeded(bits)
      const bytes = new Uint8Array(16)
      const before = new Instruction()
      const after = new Instruction()
      const problems: string[] = []
      for (const row of ROWS) {
        if (row.index === 0 || row.until !== '') continue
        for (let i = 0; i < runs(8); i++) {
          encodeRow(row, bits, random, bytes, 0)
          if (decode(bytes, 0, 16, bits, before) !== DECODE.ok) continue
          if (atTheEdge(before)) continue
          const org = bits === 32 && before.opSize === 2 ? ORIGIN_16 : ORIGIN[bits]
          const text = disassemble(before, org)
          try {
            const again = assemble(text, { bits, org }).bytes
            const ok = decode(again, 0, again.length, bits, after) === DECODE.ok && after.length === again.length
            if (ok && meaningOf(before) === meaningOf(after)) continue
            problems.push(`${text}: ${meaningOf(before)} became ${ok ? meaningOf(after) : 'invalid'}`)
          } catch (error) {
            problems.push(`${text}: ${String(error)}`)
          }
        }
      }
      expect(problems.slice(0, 10)).toEqual([])
    })
  }

  it('cover any bytes without a gap', () => {
    const random = seeded(5)
    for (let i = 0; i < runs(300); i++) {
      const bytes = new Uint8Array(random(64)).map(() => random(256))
      for (const bits of [16, 32, 64] as const) {
        let end = 0
        for (const line of disassembleBytes(bytes, bits)) {
          expect(line.offset).toBe(end)
          end += line.length
        }
        expect(end).toBe(bytes.length)
      }
    }
  })
})
