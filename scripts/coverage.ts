/** Writes docs/coverage.md: what random programs in lockstep on both engines reach. Usage: `npx tsx scripts/coverage.ts [rounds]`. */

import { writeFileSync } from 'node:fs'
import { coveragePage, measure, measureModels } from '../test/engine/equality-measure.js'

const rounds = Number(process.argv[2] ?? 3000)
const measurement = measure(rounds, 1, (round) => {
  if (round % 50 === 49) console.error(`round ${round + 1}`)
})
const page = coveragePage({ ...measurement, models: measureModels(60) })
writeFileSync(new URL('../docs/coverage.md', import.meta.url), page)
for (const line of [...measurement.missing, ...measurement.missingVectors]) console.error(`below target: ${line}`)
console.error(`${measurement.programs} programs, ${measurement.instructions} instructions`)
if (measurement.missing.length + measurement.missingVectors.length > 0) process.exitCode = 1
