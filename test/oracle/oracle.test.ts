/**
 * The library's processor against a real one: recorded single instructions in 64-, 32- and 16-bit user code. `ORACLE=full` replays every case, else a
 * sample of each form's, another one for every form.
 */
import { describe, expect, test } from 'vitest'
import { type Bits, excluded, forms, INTEGER } from './forms.js'
import { FULL, PATIENCE, replay } from './replay.js'
import { inputHash, loadVectors } from './vectors.js'

describe.each([64, 32, 16] as const)('%d-bit code', (bits: Bits) => {
  const list = forms(bits)
  const vectors = loadVectors('integer', bits)

  test('the vectors are those of these forms and inputs', () => {
    expect(vectors.header.forms.map(([key, cases]) => `${key}: ${cases}`)).toEqual(
      list.map(({ key, cases }) => `${key}: ${cases}`),
    )
    const stale = list.filter((form, n) => inputHash(form) !== vectors.header.forms[n]![2]).map((form) => form.key)
    expect(stale, 'the generator makes other cases for these forms: record again').toEqual([])
  })

  test('at least a hundred cases of every form that has operands to vary', () => {
    const plain = list.filter((form) => form.special === '' && !form.lock && !(bits === 64 && form.row.invalid64))
    const few = plain.filter((form) => form.cases < 100 && !form.row.only64)
    expect(few.map((form) => form.key)).toEqual([])
    const asked = new Set(list.map((form) => form.row))
    const silent = INTEGER.filter((row) => !asked.has(row) && excluded(row) === undefined)
    // What is not asked in this mode has another meaning there, or none.
    for (const row of silent) expect(bits === 64 ? row.invalid64 : row.only64 || row.invalid64, row.text).toBe(true)
  })

  test(
    'registers, flags, memory and faults agree in both engines',
    () => {
      const { failures, replayed, atEnd } = replay(list, vectors, bits)
      expect(atEnd).toBe(true)
      expect(failures).toEqual([])
      expect(replayed).toBeGreaterThan(FULL ? 100_000 : 10_000)
    },
    PATIENCE,
  )
})
