/** Reads the recorded vectors. */
import { readFileSync } from 'node:fs'
import { brotliDecompressSync } from 'node:zlib'
import { CASE_BYTES } from './case.js'
import { ResultReader, type VectorHeader } from './codec.js'
import type { Bits, Form, Suite } from './forms.js'
import { generate } from './inputs.js'

/** A hash of everything that a form's cases hand to the processor: shows when the generator no longer makes the recorded inputs. */
export function inputHash(form: Form): number {
  const bytes = new Uint8Array(CASE_BYTES)
  const view = new DataView(bytes.buffer)
  let h = 0x811c9dc5
  for (const n of new Set([0, 1, form.cases - 1])) {
    const c = generate(form, n)
    c.pack(view, 0)
    for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193)
    if (c.fp !== undefined) for (const byte of c.fp.bytes) h = Math.imul(h ^ byte, 0x01000193)
  }
  return h >>> 0
}

export interface Vectors {
  readonly header: VectorHeader
  readonly reader: ResultReader
}

/** Name of the file that holds a suite's vectors for a code size. */
export function vectorFile(suite: Suite, bits: Bits): string {
  return suite === 'integer' ? `${bits}.bin.br` : `${suite}-${bits}.bin.br`
}

/** A suite's vectors for a code size. */
export function loadVectors(suite: Suite, bits: Bits): Vectors {
  const path = new URL(`vectors/${vectorFile(suite, bits)}`, import.meta.url)
  const file = brotliDecompressSync(readFileSync(path))
  const length = file.readUInt32LE(0)
  const header = JSON.parse(file.toString('utf8', 4, 4 + length)) as VectorHeader
  return { header, reader: new ResultReader(file, 4 + length) }
}
