/**
 * The library's x87, MMX and SSE against a real processor: recorded single instructions in 64-, 32- and 16-bit user code. `ORACLE=full` replays every
 * case, else a sample of each form's, another one for every form.
 */
import { describe, expect, test } from 'vitest'
import type { Bits } from './forms.js'
import { FP_EXCLUDED, FP_ROWS, fpForms } from './forms-fp.js'
import { FULL, PATIENCE, replay } from './replay.js'
import { inputHash, loadVectors } from './vectors.js'

describe.each([64, 32, 16] as const)('%d-bit code', (bits: Bits) => {
  const list = fpForms(bits)
  const vectors = loadVectors('fp', bits)

  test('the vectors are those of these forms and inputs', () => {
    expect(vectors.header.forms.map(([key, cases]) => `${key}: ${cases}`)).toEqual(
      list.map(({ key, cases }) => `${key}: ${cases}`),
    )
    const stale = list.filter((form, n) => inputHash(form) !== vectors.header.forms[n]![2]).map((form) => form.key)
    expect(stale, 'the generator makes other cases for these forms: record again').toEqual([])
  })

  test('at least a hundred cases of every form', () => {
    const plain = list.filter((form) => form.special === '' && !form.lock)
    expect(plain.filter((form) => form.cases < 100).map((form) => form.key)).toEqual([])
    const asked = new Set(list.map((form) => form.row))
    const silent = FP_ROWS.filter((row) => !asked.has(row) && FP_EXCLUDED[row.mnemonic] === undefined)
    for (const row of silent) expect(bits === 64 ? row.invalid64 : row.only64, row.text).toBe(true)
  })

  test(
    'registers, flags, memory and faults agree in both engines',
    () => {
      const { failures, replayed, atEnd } = replay(list, vectors, bits)
      expect(atEnd).toBe(true)
      expect(failures).toEqual([])
      expect(replayed).toBeGreaterThan(FULL ? 80_000 : 8_000)
    },
    PATIENCE,
  )
})
