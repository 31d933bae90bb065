import { describe, expect, test } from 'vitest'
import { Pc } from '../../src/machine/pc.js'
import { runs } from '../runs.js'
import { CASES, VERDICTS } from './cases.js'
import { readGolden } from './golden.js'
import { buildImage, chunks } from './image.js'
import { linesOf } from './lines.js'

const MIB = 0x100000
/** Instructions that one case may take on average. */
const BUDGET = 25_000

const golden = readGolden()

function run(engine: 'reference' | 'threaded', rom: Uint8Array, count: number): string[] {
  const pc = new Pc({ bios: rom, memory: 2 * MIB, engine, onTripleFault: 'reset' })
  pc.runSync(count * BUDGET)
  return linesOf(pc.debugPort.text)
}

describe('16-bit and privileged code against QEMU and Bochs', () => {
  test('the recorded answers are those of the cases', () => {
    expect([...golden.keys()]).toEqual(CASES.map((c) => c.name))
    const judged = new Map([...golden].filter(([, { judge }]) => judge === 'manual' || judge === 'qemu'))
    expect([...judged.keys()].sort()).toEqual(Object.keys(VERDICTS).sort())
  })

  // The reference engine takes every fourth case, all of them from FC_NUM_RUNS=400 on.
  const stride = Math.max(1, Math.round(4 / runs(1)))
  for (const engine of ['threaded', 'reference'] as const) {
    const parts = chunks(engine === 'threaded' ? CASES : CASES.filter((_, n) => n % stride === 0))
    for (const [n, cases] of parts.entries()) {
      test(`${engine}, part ${n + 1} of ${parts.length}: ${cases[0]!.name} … ${cases.at(-1)!.name}`, () => {
        const lines = run(engine, buildImage(cases), cases.length)
        const wrong = cases.flatMap((c, i) => {
          const { judge, line } = golden.get(c.name)!
          return lines[i] === line ? [] : [`${c.name}\n  ${judge}: ${line}\n  ours: ${lines[i]}`]
        })
        expect(wrong).toEqual([])
        expect(lines).toHaveLength(cases.length + 1)
        expect(lines.at(-1)).toBe('E')
      })
    }
  }
})
