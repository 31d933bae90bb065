/** The engines against each other on random programs in every mode. The numbers of the full run are in docs/coverage.md. */

import { describe, expect, it } from 'vitest'
import { MODELS } from '../../src/cpu/index.js'
import { runs } from '../runs.js'
import { measureModels, modesOf } from './equality-measure.js'
import { randomProgram } from './equality-program.js'
import { MODES } from './equality-tables.js'
import { lockstep } from './lockstep.js'

describe('both engines leave the same state', () => {
  for (const mode of MODES) {
    it(`after random programs, ${mode}`, () => {
      let instructions = 0
      for (let seed = 1; seed <= runs(12); seed++) instructions += lockstep(randomProgram(mode, seed))
      expect(instructions).toBeGreaterThan(200)
    })
  }

  it('on every model', () => {
    const counts = measureModels(runs(2), 7)
    for (const [name, count] of counts) {
      expect(modesOf(name).length).toBeGreaterThan(0)
      expect(count).toBeGreaterThan(10)
    }
    expect(counts.size).toBe(Object.keys(MODELS).length - 1)
  })
})
