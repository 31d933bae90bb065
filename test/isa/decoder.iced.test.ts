import { describe, expect, it } from 'vitest'
import { ROWS } from '../../src/isa/table.js'
import { runs } from '../runs.js'
import { encodeRow, seeded } from './cases.js'
import { compareBatch, newReport, type Report, SLOT } from './iced.js'

function expectSame(report: Report): void {
  const first = report.differences
    .slice(0, 20)
    .map((d) => `${d.bits}: ${d.bytes}\n    ours ${d.ours}\n    iced ${d.theirs}`)
  expect(first, `${report.differences.length} of ${report.compared} differ`).toEqual([])
}

describe('decoder against iced-x86', () => {
  for (const bits of [16, 32, 64] as const) {
    it(`agrees on random bytes as ${bits}-bit code`, () => {
      const report = newReport()
      const random = seeded(bits * 7919)
      const cases = new Uint8Array(SLOT * runs(25_000)).map(() => random(256))
      compareBatch(cases, bits, report)
      expectSame(report)
    })
  }

  it('agrees on every row of the table with all kinds of prefixes and ModRM bytes, at least a hundred times each', () => {
    const report = newReport()
    const random = seeded(20)
    const rows = ROWS.filter((row) => row.index > 0 && row.until === '')
    const perRow = Math.max(1, runs(135))
    for (const bits of [16, 32, 64] as const) {
      const cases = new Uint8Array(rows.length * perRow * SLOT)
      rows.forEach((row, n) => {
        for (let i = 0; i < perRow; i++) encodeRow(row, bits, random, cases, (n * perRow + i) * SLOT)
      })
      compareBatch(cases, bits, report)
    }
    expectSame(report)
    if (perRow >= 100) {
      const rare = rows.filter((row) => report.rowHits[row.index]! < 100)
      expect(rare.map((row) => `${row.text}: ${report.rowHits[row.index]}`)).toEqual([])
    }
  })
})
