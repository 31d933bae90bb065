/** Runs recorded cases on the library's processor, with both engines, and collects what differs. */
import { compare } from './compare.js'
import type { Bits, Form } from './forms.js'
import { generate } from './inputs.js'
import { ENGINES, OracleMachine } from './machine.js'
import { hash } from './random.js'
import type { Vectors } from './vectors.js'

/** Every case, not a sample. */
export const FULL: boolean = process.env.ORACLE === 'full'
/** Milliseconds after which a replay is taken to hang: all cases take minutes on a busy machine. */
export const PATIENCE = 1_800_000
/** Of how many cases one is replayed by default. */
const SAMPLE = 10
/** Enough of a failing form to understand it. */
const MAX_LISTED = 20

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

export interface Replay {
  readonly failures: readonly string[]
  readonly replayed: number
  /** No vectors were left over. */
  readonly atEnd: boolean
}

/** Replays the cases of `list`, in the order of the vectors. */
export function replay(list: readonly Form[], vectors: Vectors, bits: Bits): Replay {
  const machines = ENGINES.map((engine) => new OracleMachine(engine))
  const { reader } = vectors
  const failures: string[] = []
  let replayed = 0
  for (const form of list) {
    const first = hash(form.key) % SAMPLE
    for (let n = 0; n < form.cases; n++) {
      if (!FULL && n % SAMPLE !== first && !(form.cases < SAMPLE && n === 0)) {
        reader.skip(form.suite === 'fp')
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
  return { failures, replayed, atEnd: reader.atEnd }
}
