/** Measures what random programs in lockstep reach, and writes it down as the page docs/coverage.md. */

import { MODELS, type ModelName } from '../../src/cpu/index.js'
import { ROWS, type Row } from '../../src/isa/table.js'
import { Coverage } from './equality-coverage.js'
import { dealer, randomProgram } from './equality-program.js'
import { Random } from './equality-random.js'
import { DEFAULT_MODEL, rowFits, rowsOf } from './equality-rows.js'
import { MODES, type ModeName } from './equality-tables.js'
import { lockstep } from './lockstep.js'

/** How often every row and every vector is to be hit. */
export const WANTED = 100

/** Vectors that this processor never raises, and why. */
export const SILENT_VECTORS: Readonly<Record<number, string>> = {
  9: 'coprocessor segment overrun: 80286 and 80387 only',
  15: 'reserved',
  18: 'machine check: the machine has no failing hardware',
  20: 'virtualization exception: no VMX yet',
  21: 'control protection: no CET',
}

/** Vectors whose cause cannot exist in some modes. */
export function vectorReason(vector: number, mode: ModeName): string {
  if (vector > 21) return 'reserved'
  const silent = SILENT_VECTORS[vector]
  if (silent) return silent
  if (mode === 'real' && (vector === 10 || vector === 11 || vector === 14 || vector === 17))
    return 'real mode has neither selectors that are checked nor pages nor privilege'
  if (vector === 17 && !mode.endsWith('3') && mode !== 'virtual-8086') return 'alignment is checked at privilege 3 only'
  if (vector === 5 && mode.startsWith('long')) return 'BOUND does not exist in 64-bit code'
  if (vector === 10 && mode.startsWith('long')) return ''
  return ''
}

/** Why a row cannot occur in code of a mode, or `''`. */
export function rowReason(row: Row, mode: ModeName): string {
  if (mode.startsWith('long')) return row.invalid64 ? 'not in 64-bit code' : ''
  return row.only64 ? 'only in 64-bit code' : ''
}

export interface Measurement {
  readonly coverage: Coverage
  readonly programs: number
  readonly instructions: number
  /** Rows of the default model below {@link WANTED}, as `row mode count`. */
  readonly missing: readonly string[]
  /** Vectors below {@link WANTED} over all modes. */
  readonly missingVectors: readonly string[]
  /** Instructions in lockstep on the other models. */
  readonly models: ReadonlyMap<ModelName, number>
}

/** Modes that a model has. */
export function modesOf(model: ModelName): readonly ModeName[] {
  if (model === '8086' || model === '80286') return ['real']
  const long = (MODELS[model].features as ReadonlySet<string>).has('lm')
  return MODES.filter((mode) => long || !/^(long|compat)/.test(mode))
}

/** Runs rounds of programs, one per mode, until everything was hit often enough or `rounds` are over. Rows that are behind are drawn more often. */
export function measure(rounds: number, firstSeed = 1, progress?: (round: number) => void): Measurement {
  const coverage = new Coverage()
  const model = DEFAULT_MODEL
  let programs = 0
  let instructions = 0
  let round = 0
  for (; round < rounds; round++) {
    let behind = 0
    for (const [column, mode] of MODES.entries()) {
      const seed = firstSeed + round
      // Every other round draws only what is behind.
      const done = round % 2
      const weight = (row: Row): number => (coverage.rows[row.index * MODES.length + column]! < WANTED ? 2 : done)
      if (round > 20 && missingRows(coverage, column).length === 0 && missingVectors(coverage).length === 0) continue
      behind++
      // Nothing stops a wild jump in real mode: its programs soon stray.
      const draws = mode === 'real' ? 4 : 1
      for (let draw = 0; draw < draws; draw++) {
        const drawn = seed + draw * 100_000
        const random = new Random(drawn)
        const program = randomProgram(mode, drawn, {
          nextRow: (bits) => dealer(model, bits, random, weight),
          // Translating costs more time than all the rest.
          ...(round % 4 === 0 ? {} : { engines: ['reference', 'threaded'] }),
        })
        programs++
        instructions += lockstep(program, {
          prepare: ([reference, ...others]) => {
            reference!.observer = coverage
            for (const board of others) board.observer = undefined
          },
        })
      }
    }
    progress?.(round)
    if (behind === 0) break
  }
  const missing = MODES.flatMap((_, column) => missingRows(coverage, column))
  return { coverage, programs, instructions, missing, missingVectors: missingVectors(coverage), models: new Map() }
}

function missingRows(coverage: Coverage, column: number): string[] {
  const mode = MODES[column]!
  const list: string[] = []
  for (const row of rowsOf(DEFAULT_MODEL)) {
    if (!rowFits(row, mode.startsWith('long') ? 64 : 32)) continue
    const count = coverage.rows[row.index * MODES.length + column]!
    if (count < WANTED) list.push(`${row.text.split('|').slice(0, 2).join('|').trim()} in ${mode}: ${count}`)
  }
  return list
}

function missingVectors(coverage: Coverage): string[] {
  const list: string[] = []
  for (let vector = 0; vector < 22; vector++) {
    if (SILENT_VECTORS[vector]) continue
    const total = MODES.reduce((sum, _, column) => sum + coverage.exceptions[vector * MODES.length + column]!, 0)
    if (total < WANTED) list.push(`vector ${vector}: ${total}`)
  }
  return list
}

const VECTOR_NAMES = '#DE #DB NMI #BP #OF #BR #UD #NM #DF - #TS #NP #SS #GP #PF - #MF #AC #MC #XM #VE #CP'.split(' ')

/** The page. */
export function coveragePage(m: Measurement): string {
  const { coverage } = m
  const lines: string[] = []
  const head = `| | ${MODES.join(' | ')} |\n|---|${MODES.map(() => '--:').join('|')}|`
  lines.push(
    '# What the engines were compared on',
    '',
    'Written by `npx tsx scripts/coverage.ts`; `npm run test:slow` repeats the measurement and fails when a number below its',
    `target appears. ${m.programs.toLocaleString('en')} random programs, ${m.instructions.toLocaleString('en')} instructions, each on the reference and on the threaded engine,`,
    'whose whole state (registers, segment caches, control and model-specific registers, flags, both halves of the TLB, memory, devices, time)',
    'was the same at every comparison. A number counts executions by the reference engine; in each mode that has the row the target is',
    `${WANTED}. The last digit of a mode is the privilege level (0: levels 0 to 2).`,
    '',
    '## Exceptions, by the mode of the interrupted code',
    '',
    head,
  )
  const notes = new Map<string, string>()
  const note = (reason: string): string => {
    let mark = notes.get(reason)
    if (!mark) {
      mark = String.fromCharCode(97 + notes.size)
      notes.set(reason, mark)
    }
    return mark
  }
  for (let vector = 0; vector < 22; vector++) {
    const cells = MODES.map((mode, column) => {
      const count = coverage.exceptions[vector * MODES.length + column]!
      if (count > 0) return String(count)
      const reason = vectorReason(vector, mode)
      return reason ? note(reason) : '0'
    })
    lines.push(`| ${vector} ${VECTOR_NAMES[vector]} | ${cells.join(' | ')} |`)
  }
  lines.push(`| external interrupts | ${[...coverage.external].join(' | ')} |`)
  lines.push(`| INT n | ${[...coverage.software].join(' | ')} |`)
  lines.push('', '## Rows of the instruction table', '', head)
  const present = new Set(rowsOf(DEFAULT_MODEL))
  const absent = new Map<string, string[]>()
  for (const row of ROWS) {
    if (row.index === 0) continue
    const title = row.text
      .split('|')
      .slice(0, 2)
      .map((s) => s.trim())
      .join(' · ')
    if (!present.has(row)) {
      const feature = row.until !== '' ? `until ${row.until}` : row.feature
      absent.set(feature, [...(absent.get(feature) ?? []), title])
      continue
    }
    const cells = MODES.map((mode, column) => {
      const count = coverage.rows[row.index * MODES.length + column]!
      const reason = rowReason(row, mode)
      return count > 0 ? String(count) : reason ? note(reason) : '0'
    })
    lines.push(`| ${title} | ${cells.join(' | ')} |`)
  }
  lines.push('', '## Why a cell has a letter', '')
  for (const [reason, mark] of notes) lines.push(`- ${mark}: ${reason}`)
  lines.push('', '## Rows that the default model (x86-64-v2) does not have yet, or has no more', '')
  for (const [feature, rows] of absent) lines.push(`- ${feature}: ${rows.length} rows`)
  if (m.models.size > 0) {
    lines.push('', '## The other models', '', '| model | instructions in lockstep |', '|---|--:|')
    for (const [name, count] of m.models) lines.push(`| ${name} | ${count.toLocaleString('en')} |`)
  }
  return `${lines.join('\n')}\n`
}

/** Programs on every other model; returns the instructions that ran. */
export function measureModels(rounds: number, firstSeed = 1): Map<ModelName, number> {
  const result = new Map<ModelName, number>()
  for (const name of Object.keys(MODELS) as ModelName[]) {
    if (name === 'x86-64-v2') continue
    let instructions = 0
    for (let n = 0; n < rounds; n++) {
      for (const mode of modesOf(name))
        instructions += lockstep(randomProgram(mode, firstSeed + n, { model: MODELS[name] }))
    }
    result.set(name, instructions)
  }
  return result
}
