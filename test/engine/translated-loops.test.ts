/** Programs of loops on all engines; and on each engine in one go and in pieces. */

import { describe, expect, it } from 'vitest'
import { runs } from '../runs.js'
import type { EngineName } from './equality-board.js'
import { EqualityBoard } from './equality-board.js'
import { cuts, randomProgram } from './equality-program.js'
import { Random } from './equality-random.js'
import { differences, type LockstepOptions, lockstep, type Program } from './lockstep.js'
import { FLAVOURS, LOOP_MODES, loopProgram } from './translated-programs.js'

describe('all engines leave the same state', () => {
  describe.each(LOOP_MODES)('after loops, %s', (mode) => {
    it.each(FLAVOURS)('of %s', (flavour) => {
      let instructions = 0
      for (let seed = 1; seed <= runs(1); seed++) instructions += lockstep(loopProgram(mode, seed, { flavour }))
      expect(instructions).toBeGreaterThan(0)
    })
  })

  // What waits for others, regions of many blocks, hardly any room for code, and a store that is emptied again and again.
  it.each<[string, LockstepOptions]>([
    ['in batches', { translation: { heat: 30, batch: 4 } }],
    ['with small regions', { translation: { heat: 20, batch: 1, regionInstructions: 12 } }],
    ['with room for hardly any code', { translation: { heat: 60, batch: 1, codeBytes: 6000 } }],
    ['with room for no code at all', { translation: { heat: 200, batch: 3, codeBytes: 1 } }],
    ['with a small store', { translation: { heat: 1, batch: 1 }, storeSize: 0x80000 }],
  ])('%s', (_, options) => {
    for (let seed = 100; seed < 100 + runs(1); seed++) {
      for (const mode of ['protected32-0', 'long-0'] as const)
        for (const flavour of ['memory', 'system', 'code'] as const)
          lockstep(loopProgram(mode, seed, { flavour, engines: ['reference', 'translated'] }), options)
    }
  })
})

/** Runs a program to its end in one go, or in pieces of which a generator says the lengths. */
function run(board: EqualityBoard, program: Program, length: number, random: Random | undefined): void {
  board.reset(program.image)
  program.start(board)
  let list: number[] = []
  for (let left = length; left > 0; ) {
    if (list.length === 0) list = random === undefined ? [] : cuts(random)
    const before = board.cpu.instructions
    const stop = board.run(Math.min(left, list.pop() ?? left))
    left -= board.cpu.instructions - before
    if (stop !== 'budget') return
  }
}

describe.each<EngineName>(['reference', 'threaded', 'translated'])('%s', (engine) => {
  it('ends in the same state in one go and in pieces', () => {
    const model = loopProgram('long-0', 1, { flavour: 'system' }).model
    const [whole, pieces] = [new EqualityBoard(engine, model), new EqualityBoard(engine, model)]
    const check = (program: Program, seed: number): void => {
      run(whole, program, 1500, undefined)
      run(pieces, program, 1500, new Random(seed))
      if (differences(whole, pieces).length > 0)
        expect.fail(`${program.name}\n${differences(whole, pieces).join('\n')}`)
    }
    for (let seed = 1; seed <= runs(1); seed++) {
      for (const mode of ['protected32-0', 'long-3'] as const) {
        check(loopProgram(mode, seed + 1000, { flavour: 'system' }), seed)
        check(randomProgram(mode, seed + 1000), seed)
      }
    }
  })
})
