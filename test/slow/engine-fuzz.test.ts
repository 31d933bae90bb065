/** A million instructions of random bytes for each mode and seed; FUZZ_SEEDS says how many seeds (default 1: each takes minutes). */

import { describe, expect, it } from 'vitest'
import { MODES } from '../engine/equality-tables.js'
import { boardFor, runNoise } from '../engine/fuzz-machines.js'
import { runs } from '../runs.js'

const SEEDS = Math.max(1, Number(process.env.FUZZ_SEEDS ?? 1) || 1)

describe('random bytes as code keep to their budget', () => {
  for (const mode of MODES) {
    for (let seed = 1; seed <= SEEDS; seed++) {
      it(`${mode}, seed ${seed}`, () => {
        for (const [engine, instructions] of [
          ['threaded', runs(1_000_000)],
          ['translated', runs(200_000)],
        ] as const) {
          const board = boardFor(engine)
          const before = board.space.bytes.length
          const result = runNoise(board, mode, seed, instructions)
          expect(result.instructions).toBeGreaterThanOrEqual(instructions)
          expect(board.space.bytes.length).toBe(before)
          // What TypeScript keeps beside linear memory does not grow with what a guest did.
          expect(board.cpu.msr.size).toBeLessThan(100)
        }
      })
    }
  }
})
