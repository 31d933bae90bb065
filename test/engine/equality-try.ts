import { lockstep } from './lockstep.js'
import { randomProgram } from './equality-program.js'
import { MODES } from './equality-modes.js'
import { Coverage } from './equality-coverage.js'
const from = Number(process.argv[2] ?? 1), count = Number(process.argv[3] ?? 50)
const only = process.argv[4]
const cov = new Coverage()
let fails = 0
const t0 = process.hrtime.bigint()
let total = 0
const perMode: Record<string, number> = {}
for (let seed = from; seed < from + count; seed++) {
  for (const mode of MODES) {
    if (only && mode !== only) continue
    try {
      const n = lockstep(randomProgram(mode, seed), ([a]) => { a.observer = cov })
      total += n
      perMode[mode] = (perMode[mode] ?? 0) + n
    } catch (e) {
      console.log(`==== FAIL ${mode} ${seed}`)
      console.log(e instanceof Error ? (e.message.startsWith(mode) ? e.message.slice(0, 2500) : e.stack) : e)
      if (++fails > 3) process.exit(1)
    }
  }
}
console.log('instructions', total, 'fails', fails, Number(process.hrtime.bigint() - t0) / 1e9, 's', perMode)
let exc: string[] = []
for (let v = 0; v < 32; v++) exc.push(v + ':' + MODES.map((_, m) => cov.exceptions[v * MODES.length + m]).join(','))
console.log(exc.join('\n'))
