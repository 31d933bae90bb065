/**
 * The library's processor against a real one: recorded single instructions in 64-, 32- and 16-bit user code. `ORACLE=full` replays every case, else a
 * sample of each form's, another one for every form.
 */
import { describe, expect, test } from 'vitest'
import { compare } from './compare.js'
import { type Bits, excluded, forms, INTEGER } from './forms.js'
import { generate } from './generate.js'
import { ENGINES, OracleMachine } from './machine.js'
import { hash } from './random.js'
import { inputHash, loadVectors } from './vectors.js'

const FULL = process.env.ORACLE === 'full'
/** Of how many cases one is replayed by default. */
const SAMPLE = 10
/** Enough of a failing form to understand it. */
const MAX_LISTED = 20

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

describe.each([64, 32, 16] as const)('%d-bit code', (bits: Bits) => {
  const list = forms(bits)
  const vectors = loadVectors(bits)

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

  test('registers, flags, memory and faults agree in both engines', () => {
    const machines = ENGINES.map((engine) => new OracleMachine(engine))
    const { reader } = vectors
    const failures: string[] = []
    let replayed = 0
    for (const form of list) {
      const first = hash(form.key) % SAMPLE
      for (let n = 0; n < form.cases; n++) {
        if (!FULL && n % SAMPLE !== first && !(form.cases < SAMPLE && n === 0)) {
          reader.skip()
          continue
        }
        const c = generate(form, n)
        const want = reader.read(c)
        replayed++
        for (const [i, machine] of machines.entries()) {
          machine.load(c, bits)
          const differences = compare(machine, form, c, want)
          if (differences.length > 0 && failures.length < MAX_LISTED) {
            failures.push(`${ENGINES[i]}: ${form.key} #${n} [${hex(c.code)}]: ${differences.join('; ')}`)
          }
        }
      }
    }
    expect(reader.atEnd).toBe(true)
    expect(failures).toEqual([])
    expect(replayed).toBeGreaterThan(FULL ? 100_000 : 10_000)
  })
})
