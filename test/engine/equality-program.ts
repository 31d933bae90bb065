/** Programs for lockstep runs: random code in its surroundings, and random ways of cutting the run. */

import type { CpuModel } from '../../src/cpu/index.js'
import type { Row } from '../../src/isa/table.js'
import type { EngineName, EqualityBoard } from './equality-board.js'
import { Generator } from './equality-generator.js'
import { prepare } from './equality-modes.js'
import { Random } from './equality-random.js'
import { DEFAULT_MODEL, rowFits, rowsOf } from './equality-rows.js'
import { CODE, CODE_END, HANDLERS, HANDLERS_END, type ModeName } from './equality-tables.js'
import type { Program, Stretch } from './lockstep.js'

/** Deals the rows of a model out evenly: every row once before any row twice; `weight` makes some come more often. */
export function dealer(
  model: CpuModel,
  bits: number,
  random: Random,
  weight: (row: Row) => number = () => 1,
): () => Row {
  const rows = rowsOf(model).filter((row) => rowFits(row, bits))
  let deck: Row[] = []
  return () => {
    if (deck.length === 0) {
      deck = rows.flatMap((row) => new Array<Row>(weight(row)).fill(row))
      if (deck.length === 0) deck = [...rows]
      for (let n = deck.length - 1; n > 0; n--) {
        const k = random.below(n + 1)
        const t = deck[n]!
        deck[n] = deck[k]!
        deck[k] = t
      }
    }
    return deck.pop()!
  }
}

export function cuts(random: Random): number[] {
  const kind = random.below(4)
  if (kind === 0) return []
  const most = kind === 1 ? 3 : kind === 2 ? 40 : 500
  return Array.from({ length: 1 + random.below(4) }, () => 1 + random.below(most))
}

/** Something from outside: wires, nothing, or a direct memory access into code and data. */
export function outside(random: Random): ((board: EqualityBoard) => void) | undefined {
  const kind = random.below(10)
  const at = 0x10000 + random.below(0x1d000)
  const bytes = Uint8Array.from({ length: 1 + random.below(8) }, () => random.next())
  switch (kind) {
    case 0:
      return (board) => board.cpu.raiseNmi()
    case 1:
      return (board) => board.cpu.raiseSmi()
    case 2:
      return (board) => {
        board.pic.line(5).setLevel(false)
        board.pic.line(5).setLevel(true)
      }
    case 3:
      return (board) => board.space.writeBytes(at, bytes)
    default:
      return undefined
  }
}

/** In the code area or a handler. */
export function contains(board: EqualityBoard): boolean {
  const { s } = board.cpu
  const linear = s.longMode && s.segAttr(1) & 0x2000 ? s.rip : s.segBase(1) + s.rip
  return (linear >= HANDLERS && linear < HANDLERS_END) || (linear >= CODE && linear < CODE_END)
}

export interface RandomProgramOptions {
  readonly model?: CpuModel
  /** Rows to draw from; default all of the mode, evenly. */
  readonly nextRow?: (bits: number) => () => Row
  /** Instructions at most. Default 600. */
  readonly length?: number
  /** Default: all that can differ in the mode. */
  readonly engines?: readonly EngineName[]
}

/** 16-bit code is not translated; the programs of these modes hardly leave it. */
const UNTRANSLATED: readonly ModeName[] = ['real', 'protected16-0', 'protected16-3']

export function randomProgram(mode: ModeName, seed: number, options: RandomProgramOptions = {}): Program {
  const model = options.model ?? DEFAULT_MODEL
  const random = new Random(seed)
  const prepared = prepare(
    mode,
    random,
    (around, code, ip) => {
      const nextRow = options.nextRow?.(around.bits) ?? dealer(model, around.bits, random)
      new Generator(around, random, ip, nextRow).fill(code)
    },
    model,
  )
  const stretches: { instructions: number; cuts: Record<EngineName, number[]>; before?: Stretch['before'] }[] = []
  let left = options.length ?? 600
  while (left > 0) {
    const instructions = Math.min(left, random.pick([1, 7, 30, 60, 100, 200]))
    const before = outside(random)
    stretches.push({
      instructions,
      cuts: { reference: cuts(random), threaded: cuts(random), translated: [] },
      ...(before ? { before } : {}),
    })
    left -= instructions
  }
  for (const stretch of stretches) stretch.cuts.translated = cuts(random)
  const engines = options.engines ?? (UNTRANSLATED.includes(mode) ? (['reference', 'threaded'] as const) : undefined)
  return {
    name: `${mode}, ${model.name}, seed ${seed}`,
    model,
    image: prepared.image,
    start: prepared.start,
    contains,
    stretches: stretches as readonly Stretch[],
    ...(engines && { engines }),
  }
}
