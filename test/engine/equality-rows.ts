/** The rows of the instruction table that a model has, and its decoder. */

import { type CpuModel, type Feature, MODELS } from '../../src/cpu/index.js'
import { createDecoder, type Decode } from '../../src/isa/decoder.js'
import { CPU_LEVELS, decoderOptionsFor, hasRow } from '../../src/isa/decoder-models.js'
import { ROWS, type Row } from '../../src/isa/table.js'

// biome-ignore format: a dense list reads better
const UNITS: readonly string[] = [
  'fpu', 'fpu287', 'fpu387', 'fcmov', 'mmx', 'fxsr', 'sse', 'sse2', 'sse3', 'ssse3', 'sse4.1', 'sse4.2', 'aes', 'pclmulqdq', 'pclmul',
]
/** CR4.OSFXSR and CR4.OSXMMEXCPT. */
const CR4_SSE = 0x600

/** What programs run on unless they name a model: x86-64-v2, and the extensions beyond it that the instruction table has. */
export const DEFAULT_MODEL: CpuModel = {
  ...MODELS['x86-64-v2'],
  features: new Set([...MODELS['x86-64-v2'].features, ...UNITS] as Feature[]),
  cr4Mask: MODELS['x86-64-v2'].cr4Mask | CR4_SSE,
}

const decoders = new Map<CpuModel, Decode>()
const rowLists = new Map<CpuModel, readonly Row[]>()

function levelOf(model: CpuModel): (typeof CPU_LEVELS)[number] {
  return [...CPU_LEVELS].reverse().find((name) => (model.features as ReadonlySet<string>).has(name)) ?? '8086'
}

export function decoderFor(model: CpuModel): Decode {
  let decode = decoders.get(model)
  if (!decode) {
    decode = createDecoder(decoderOptionsFor(levelOf(model), model.features))
    decoders.set(model, decode)
  }
  return decode
}

/** The rows that a model has. */
export function rowsOf(model: CpuModel): readonly Row[] {
  let rows = rowLists.get(model)
  if (!rows) {
    rows = ROWS.filter((row) => row.index > 0 && hasRow(row, levelOf(model), model.features))
    rowLists.set(model, rows)
  }
  return rows
}

/** Whether a row exists in code of this width. */
export function rowFits(row: Row, bits: number): boolean {
  return bits === 64 ? !row.invalid64 : !row.only64
}
