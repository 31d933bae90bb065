/** What robustness tests share: a guest that does anything, and what a host may expect of it all the same. */

import type { CpuModel } from '../../src/cpu/index.js'
import { MODELS } from '../../src/cpu/index.js'
import { type BoardStop, type EngineName, EqualityBoard } from './equality-board.js'
import { prepare } from './equality-modes.js'
import { Random } from './equality-random.js'
import type { ModeName } from './equality-tables.js'

const boards = new Map<string, EqualityBoard>()

/** A board from a pool: building one takes longer than most runs. */
export function boardFor(engine: EngineName, model: CpuModel = MODELS['x86-64-v2']): EqualityBoard {
  const key = `${engine} ${model.name}`
  let board = boards.get(key)
  if (!board) {
    board = new EqualityBoard(engine, model)
    boards.set(key, board)
  }
  return board
}

/** Starts noise: random bytes as code, with everything else in place. */
export function startNoise(board: EqualityBoard, mode: ModeName, seed: number): void {
  const random = new Random(seed)
  const program = prepare(
    mode,
    random,
    (_around, code) => {
      const words = new Uint32Array(code.buffer, code.byteOffset, code.length >> 2)
      for (let n = 0; n < words.length; n++) words[n] = random.next()
    },
    board.cpu.model,
  )
  board.reset(program.image)
  program.start(board)
}

/** What a run of noise did. */
export interface NoiseResult {
  readonly instructions: number
  readonly restarts: number
}

/**
 * Runs `instructions` instructions of noise in a mode, started anew with other bytes whenever the guest shuts down, halts, or settles into a loop.
 * Checks that every call of `run` keeps to its budget.
 */
export function runNoise(board: EqualityBoard, mode: ModeName, seed: number, instructions: number): NoiseResult {
  let total = 0
  let restarts = 0
  while (total < instructions) {
    startNoise(board, mode, seed * 65536 + restarts++)
    let stop: BoardStop = 'budget'
    // Most noise soon loops for ever: give it its time, then take other bytes.
    for (let turn = 0; turn < 3 && stop === 'budget' && total < instructions; turn++) {
      const budget = Math.min(turn === 2 ? 1000 : 250, instructions - total)
      const before = board.cpu.instructions
      stop = board.run(budget)
      const ran = board.cpu.instructions - before
      if (ran > budget || ran < 0)
        throw new Error(`${mode}, seed ${seed}: ${ran} instructions in a budget of ${budget}`)
      if (stop === 'budget' && ran !== budget)
        throw new Error(`${mode}, seed ${seed}: stopped after ${ran} of ${budget}`)
      total += ran
    }
    // A guest that stops at once must not keep this loop busy for ever.
    total += 1
  }
  return { instructions: total, restarts }
}
