/**
 * `npm run bench`: millions of guest instructions a second of the threaded engine (and, for scale, the reference engine), side by side with v86, all
 * running the identical image in this one process; then a 64-bit loop, which v86 cannot run. Options: --rounds N (default 3), --reference, --json FILE.
 * `npm run bench -- boot` boots Linux instead: see boot.ts; `npm run bench -- linux` runs workloads on it: see linux.ts.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { Pc } from '../src/machine/index.js'
import { bench as benchBoot } from './boot.js'
import { bench as benchLinux } from './linux.js'
import { bench64Image, benchImage, LOOP_64, LOOPS } from './loops.js'

if (process.argv[2] === 'boot') {
  await benchBoot(process.argv.slice(3))
  process.exit(0)
}
if (process.argv[2] === 'linux') {
  await benchLinux(process.argv.slice(3))
  process.exit()
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    reference: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const image = benchImage()

/** Seconds of processor time that each loop took between its two marks: a busy machine disturbs that less than elapsed time. */
type Times = number[]

/** Collects marks and turns them into times. */
class Stopwatch {
  private readonly started: (number | undefined)[] = LOOPS.map(() => undefined)
  readonly times: Times = []
  finished = false

  mark(letter: string): void {
    const { user, system } = process.cpuUsage()
    const now = (user + system) / 1000
    if (letter === '.') this.finished = true
    const n = letter.charCodeAt(0) - 97
    if (n < 0 || n >= LOOPS.length) return
    const start = this.started[n]
    if (start === undefined) this.started[n] = now
    else this.times[n] = (now - start) / 1000
  }
}

function runVirtkit(engine: 'threaded' | 'reference'): Times {
  return runImage(engine, image)
}

function runImage(engine: 'threaded' | 'reference', contents: Uint8Array): Times {
  const pc = new Pc({ memory: 32 << 20, engine })
  const watch = new Stopwatch()
  pc.serial.onByte = (byte) => watch.mark(String.fromCharCode(byte))
  pc.loadMultiboot(contents)
  const result = pc.runSync(2e9)
  if (!watch.finished) throw new Error(`${engine}: the image did not finish: ${result.reason}`)
  return watch.times
}

async function runV86(): Promise<Times> {
  const require = createRequire(import.meta.url)
  const { V86 } = await import('v86')
  const wasm = require.resolve('v86').replace(/[^/]*$/, 'v86.wasm')
  const watch = new Stopwatch()
  const emulator = new V86({
    wasm_path: wasm,
    memory_size: 32 << 20,
    vga_memory_size: 2 << 20,
    multiboot: { buffer: Uint8Array.from(image).buffer },
    autostart: false,
    disable_speaker: true,
  })
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error('v86: the image did not finish within 10 minutes')), 600_000)
    emulator.add_listener('serial0-output-byte', (byte: number) => {
      watch.mark(String.fromCharCode(byte))
      if (watch.finished) {
        clearTimeout(limit)
        resolve()
      }
    })
    emulator.add_listener('emulator-loaded', () => void emulator.run())
  })
  await emulator.destroy()
  return watch.times
}

function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

const contestants: { name: string; run: () => Times | Promise<Times>; results: Times[] }[] = [
  { name: 'virtkit threaded', run: () => runVirtkit('threaded'), results: [] },
  ...(values.reference ? [{ name: 'virtkit reference', run: () => runVirtkit('reference'), results: [] }] : []),
  { name: 'v86', run: runV86, results: [] },
]
for (let round = 0; round < rounds; round++) {
  for (const contestant of contestants) contestant.results.push(await contestant.run())
}

const v86Version = (
  JSON.parse(readFileSync(new URL('../node_modules/v86/package.json', import.meta.url), 'utf8')) as { version: string }
).version
const table = contestants.map(({ results }) =>
  LOOPS.map((loop, n) => loop.instructions / median(results.map((times) => times[n]!)) / 1e6),
)
const ours = contestants.filter(({ name }) => name !== 'v86').length
const long = contestants.slice(0, ours).map(({ name }) => {
  const engine = name.endsWith('threaded') ? 'threaded' : 'reference'
  const times = Array.from({ length: rounds }, () => runImage(engine, bench64Image())[0]!)
  return LOOP_64.instructions / median(times) / 1e6
})
const counted = LOOPS.map((loop, n) => ({ loop, n })).filter(({ loop }) => !loop.extra)
const geometric = table.map((list) =>
  Math.exp(counted.reduce((sum, { n }) => sum + Math.log(list[n]!), 0) / counted.length),
)
const theirs = table.at(-1)!
const load = loadavg()[0]!.toFixed(1)
console.log(
  `Millions of guest instructions a second of processor time, median of ${rounds}; Node ${process.version}, v86 ${v86Version}, ${cpus()[0]?.model ?? 'unknown processor'}, load average ${load}\n`,
)
const row = (cells: readonly (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)
row(['loop', 'instructions', ...contestants.map(({ name }) => name), 'v86 / threaded'])
console.log(`|---|${'---:|'.repeat(contestants.length + 2)}`)
const show = (loop: (typeof LOOPS)[number], n: number): void =>
  row([
    loop.name,
    loop.instructions,
    ...table.map((list) => list[n]!.toFixed(1)),
    (theirs[n]! / table[0]![n]!).toFixed(2),
  ])
for (const { loop, n } of counted) show(loop, n)
row([
  '**geometric mean**',
  '',
  ...geometric.map((value) => value.toFixed(1)),
  (geometric.at(-1)! / geometric[0]!).toFixed(2),
])
LOOPS.forEach((loop, n) => {
  if (loop.extra) show(loop, n)
})
row([LOOP_64.name, LOOP_64.instructions, ...long.map((value) => value.toFixed(1)), '–', '–'])
console.log(
  `\nv86's compiled code is ${(geometric.at(-1)! / geometric[0]!).toFixed(2)} times as fast as the threaded engine on the mean.`,
)
if (values.json !== undefined) {
  const result = {
    node: process.version,
    v86: v86Version,
    processor: cpus()[0]?.model,
    load: Number(load),
    rounds,
    loops: [
      ...LOOPS.map(({ name, what, instructions, extra }) => ({ name, what, instructions, extra: extra === true })),
      { name: LOOP_64.name, what: LOOP_64.what, instructions: LOOP_64.instructions, extra: true },
    ],
    mips: Object.fromEntries(contestants.map(({ name }, n) => [name, [...table[n]!, long[n] ?? null]])),
    geometricMean: Object.fromEntries(contestants.map(({ name }, n) => [name, geometric[n]])),
  }
  writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
}
process.exit(0)
