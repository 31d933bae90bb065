/** A million instructions of random bytes for each mode and seed. */

import { describe, expect, it } from 'vitest'
import { MODES } from '../engine/equality-tables.js'
import { boardFor, runNoise } from '../engine/fuzz-machines.js'
import { runs } from '../runs.js'

describe('random bytes as code keep to their budget', () => {
  for (const mode of MODES) {
    for (let seed = 1; seed <= 3; seed++) {
      it(`${mode}, seed ${seed}`, () => {
        const board = boardFor('threaded')
        const before = board.space.bytes.length
        const result = runNoise(board, mode, seed, runs(1_000_000))
        expect(result.instructions).toBeGreaterThanOrEqual(runs(1_000_000))
        expect(board.space.bytes.length).toBe(before)
        // What TypeScript keeps beside linear memory does not grow with what a guest did.
        expect(board.cpu.msr.size).toBeLessThan(100)
      })
    }
  }
})
