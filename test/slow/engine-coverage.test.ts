/** The full comparison of the engines: every row of the instruction table in every mode, every vector, a hundred times each. */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { coveragePage, measure, measureModels } from '../engine/equality-measure.js'

it('reaches every row and vector, and agrees', () => {
  const measurement = measure(3000)
  expect(measurement.missing).toEqual([])
  expect(measurement.missingVectors).toEqual([])
  const models = measureModels(60)
  for (const count of models.values()) expect(count).toBeGreaterThan(10_000)
  // The published page tells of the same rows; its numbers are those of the run that wrote it.
  const titles = (page: string): string[] => page.split('\n').map((line) => line.split('|')[1] ?? '')
  const published = readFileSync(new URL('../../docs/coverage.md', import.meta.url), 'utf8')
  expect(titles(published)).toEqual(titles(coveragePage({ ...measurement, models })))
})

it('agrees on programs of other seeds', () => {
  const measurement = measure(300, 1_000_000)
  expect(measurement.instructions).toBeGreaterThan(100_000)
})
