/** The rows of the instruction table that a model has, and its decoder. */

import { type CpuModel, MODELS } from '../../src/cpu/index.js'
import { isX87Feature } from '../../src/cpu/lift-x87.js'
import { createDecoder, type Decode } from '../../src/isa/decoder.js'
import { CPU_LEVELS, decoderOptionsFor, hasRow } from '../../src/isa/decoder-models.js'
import { ROWS, type Row } from '../../src/isa/table.js'

/** What programs run on unless they name a model. */
export const DEFAULT_MODEL: CpuModel = MODELS['x86-64-v2']

const decoders = new Map<CpuModel, Decode>()
const rowLists = new Map<CpuModel, readonly Row[]>()

function levelOf(model: CpuModel): (typeof CPU_LEVELS)[number] {
  return [...CPU_LEVELS].reverse().find((name) => (model.features as ReadonlySet<string>).has(name)) ?? '8086'
}

/** What the front end decodes: x87 instructions on every model, whether or not they mean something there. */
function featuresOf(model: CpuModel): ReadonlySet<string> {
  return new Set<string>([...model.features, ...ROWS.map((row) => row.feature).filter(isX87Feature)])
}

export function decoderFor(model: CpuModel): Decode {
  let decode = decoders.get(model)
  if (!decode) {
    decode = createDecoder(decoderOptionsFor(levelOf(model), featuresOf(model)))
    decoders.set(model, decode)
  }
  return decode
}

/** The rows that a model has. */
export function rowsOf(model: CpuModel): readonly Row[] {
  let rows = rowLists.get(model)
  if (!rows) {
    const features = featuresOf(model)
    rows = ROWS.filter((row) => row.index > 0 && hasRow(row, levelOf(model), features))
    rowLists.set(model, rows)
  }
  return rows
}

/** Whether a row exists in code of this width. */
export function rowFits(row: Row, bits: number): boolean {
  return bits === 64 ? !row.invalid64 : !row.only64
}
