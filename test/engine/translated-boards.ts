/** Boards of all engines that run a program in paged 32-bit code and must agree. */

import { expect } from 'vitest'
import type { TranslationOptions, TranslationStatistics } from '../../src/engine/index.js'
import { assemble } from '../../src/isa/index.js'
import { ENGINES, EqualityBoard, RAM_BYTES } from './equality-board.js'
import { DEFAULT_MODEL } from './equality-rows.js'
import { differences, same } from './lockstep.js'

/** 32-bit paging from 40000h: the first 1 MiB as it is, and the page at 20000h once more at 120000h. */
export function image(source: string): Uint8Array {
  const bytes = new Uint8Array(RAM_BYTES)
  bytes.set(assemble(`bits 32\norg 0x20000\n${source}`).bytes, 0x20000)
  const view = new DataView(bytes.buffer)
  for (const [at, value] of [
    [0x1008, 0xffff],
    [0x100c, 0xcf9b00],
    [0x1010, 0xffff],
    [0x1014, 0xcf9300],
    // #DB to 9000h, which counts and returns.
    [0x2008, 0x89000],
    [0x200c, 0x8e00],
  ] as const)
    view.setUint32(at, value, true)
  bytes.set(assemble('bits 32\norg 0x9000\ninc dword [0x30ff0]\niretd').bytes, 0x9000)
  view.setUint32(0x40000, 0x41003, true)
  for (let n = 0; n < 1024; n++) view.setUint32(0x41000 + n * 4, ((n & 255) << 12) | 3, true)
  view.setUint32(0x41000 + 0x120 * 4, 0x20003, true)
  return bytes
}

export function start(board: EqualityBoard, memory: Uint8Array, at = 0x20000): void {
  board.reset(memory)
  const { s, mem } = board.cpu
  s.cr0 |= 0x80000001
  s.cr3 = 0x40000
  s.setGdtr(0x1000, 23)
  s.setIdtr(0x2000, 0x7ff)
  for (let seg = 0; seg < 6; seg++) s.setSegment(seg, seg === 1 ? 8 : 16, 0, 0xffffffff, seg === 1 ? 0xc09b : 0xc093)
  s.setReg32(4, 0x8000)
  s.rip = at
  mem.configurePaging()
  mem.flushAll()
  board.cpu.updateMode()
}

export function statistics(board: EqualityBoard): TranslationStatistics {
  const inner = board.cpu as unknown as { engine: { engine: { translator: { stats: TranslationStatistics } } } }
  return inner.engine.engine.translator.stats
}

export function expectSame(a: EqualityBoard, b: EqualityBoard): void {
  if (!same(a, b)) expect(differences(a, b)).toEqual([])
}

const pool = new Map<string, EqualityBoard[]>()

/** One board of each engine. Building one takes longer than most runs. */
export function boardsFor(translation: TranslationOptions): EqualityBoard[] {
  const key = JSON.stringify(translation)
  const boards = pool.get(key) ?? ENGINES.map((engine) => new EqualityBoard(engine, DEFAULT_MODEL, { translation }))
  pool.set(key, boards)
  return boards
}

/** Runs a source on all engines, in steps of `step`; all must agree after each. Returns the translated board. */
export function agree(
  source: string,
  options: {
    instructions?: number
    step?: number
    translation?: TranslationOptions
    change?: (b: EqualityBoard) => void
  } = {},
): EqualityBoard {
  const { instructions = 4000, step = 997, translation = { heat: 20, batch: 1 } } = options
  const memory = image(source)
  const boards = boardsFor(translation)
  for (const board of boards) {
    start(board, memory)
    options.change?.(board)
  }
  for (let done = 0; done < instructions; done += step) {
    for (const board of boards) board.run(step)
    for (const board of boards.slice(1)) expectSame(boards[0]!, board)
  }
  return boards.at(-1)!
}
