/** Measures loops (loops.ts): one Multiboot image that runs in virtkit and in v86, and one of 64-bit code, which v86 cannot run. */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { type EngineName, Pc } from '../src/machine/index.js'
import type { Panel } from './chart.js'
import { coloursOf, ratio, table } from './linux-report.js'
import { bench64Image, benchImage, LOOP_64, LOOPS, type Loop } from './loops.js'
import { geometricMean, median, rotated } from './statistics.js'

const MEMORY = 32 << 20
const LIMIT_MS = 600_000

/** All loops, that of 64-bit code last. */
export const ALL_LOOPS: readonly Loop[] = [...LOOPS, { ...LOOP_64, extra: true }]

/** What may be chosen: see run.ts. */
export interface LoopOptions {
  readonly engines: readonly string[]
  readonly contestants: readonly string[]
  readonly rounds: number
  /** Undefined: all. */
  readonly only: readonly string[] | undefined
}

/** Everything that is measured on loops. */
export interface LoopResults {
  readonly rounds: number
  readonly loops: readonly Pick<Loop, 'name' | 'what' | 'instructions' | 'extra'>[]
  /** `runs`: seconds of each loop, null where it did not run. */
  readonly results: readonly {
    readonly key: string
    readonly name: string
    readonly runs: readonly (readonly (number | null)[])[]
  }[]
}

const chosen = (only: readonly string[] | undefined): Loop[] =>
  ALL_LOOPS.filter(({ name }) => only?.includes(name) ?? true)

// --- in the child: one run of one contestant ----------------------------------------------------------------------------

/** Notes when the letters of marks arrive. */
class Stopwatch {
  readonly times: number[] = []
  finished = false
  private readonly started: number[] = []

  mark(byte: number): void {
    const now = performance.now()
    if (byte === 0x2e) this.finished = true
    const n = byte - 0x61
    if (n < 0 || n > 25) return
    const start = this.started[n]
    if (start === undefined) this.started[n] = now
    else this.times[n] = (now - start) / 1000
  }
}

function runVirtkit(engine: EngineName, image: Uint8Array): number[] {
  const pc = new Pc({ memory: MEMORY, engine })
  const watch = new Stopwatch()
  pc.serial.onByte = (byte) => watch.mark(byte)
  pc.loadMultiboot(image)
  const { reason } = pc.runSync(4e9)
  if (!watch.finished) throw new Error(`${engine}: the image did not finish: ${reason}`)
  return watch.times
}

async function runV86(image: Uint8Array): Promise<number[]> {
  const { V86 } = await import('v86')
  const watch = new Stopwatch()
  const emulator = new V86({
    wasm_path: createRequire(import.meta.url)
      .resolve('v86')
      .replace(/[^/]*$/, 'v86.wasm'),
    memory_size: MEMORY,
    vga_memory_size: 2 << 20,
    multiboot: { buffer: Uint8Array.from(image).buffer },
    autostart: false,
    disable_speaker: true,
  })
  await new Promise<void>((resolve) => {
    emulator.add_listener('serial0-output-byte', (byte: number) => {
      watch.mark(byte)
      if (watch.finished) resolve()
    })
    emulator.add_listener('emulator-loaded', () => void emulator.run())
  })
  return watch.times
}

/** One run of a contestant; prints the seconds of each chosen loop. */
export async function loopChild(key: string, only: readonly string[] | undefined): Promise<void> {
  const loops = chosen(only)
  const narrow = loops.filter(({ name }) => name !== LOOP_64.name)
  const engine = key.replace('virtkit:', '') as EngineName
  const image = benchImage(narrow)
  const times = narrow.length === 0 ? [] : key === 'v86' ? await runV86(image) : runVirtkit(engine, image)
  const wide = key === 'v86' ? [null] : runVirtkit(engine, bench64Image())
  console.log(JSON.stringify([...times, ...(narrow.length < loops.length ? wide : [])]))
}

// --- in the parent ------------------------------------------------------------------------------------------------------

/** Measures. */
export async function benchLoops(options: LoopOptions, quiet: () => Promise<void>): Promise<LoopResults> {
  const loops = chosen(options.only)
  const wants = (key: string): boolean => options.contestants.includes(key)
  const fields = [
    ...(wants('virtkit')
      ? options.engines.map((engine) => ({ key: `virtkit:${engine}`, name: `virtkit ${engine}` }))
      : []),
    ...(wants('v86') ? [{ key: 'v86', name: 'v86' }] : []),
  ].map((contestant) => ({ ...contestant, runs: [] as (number | null)[][] }))
  const script = fileURLToPath(new URL('run.ts', import.meta.url))
  for (let round = 0; round < options.rounds; round++) {
    for (const { key, name, runs } of rotated(fields, round)) {
      await quiet()
      const args = [script, 'loops', '--child', key, ...(options.only ? ['--only', options.only.join(',')] : [])]
      const child = spawnSync(process.execPath, [...process.execArgv, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: LIMIT_MS,
      })
      const line = child.stdout?.split('\n').find((text) => text.startsWith('['))
      const times = line === undefined ? loops.map(() => null) : (JSON.parse(line) as (number | null)[])
      runs.push(times)
      const shown = times.map((time, n) => `${loops[n]!.name} ${time?.toFixed(3) ?? '–'}`)
      console.error(`${name}, loops, round ${round + 1}: ${shown.join(', ')}`)
    }
  }
  return {
    rounds: options.rounds,
    loops: loops.map(({ name, what, instructions, extra }) => ({ name, what, instructions, extra: extra === true })),
    results: fields,
  }
}

// --- the report ---------------------------------------------------------------------------------------------------------

/** Median seconds of loop `n`; undefined where a run has none. */
function secondsOf(result: LoopResults['results'][number], n: number): number | undefined {
  const times = result.runs.map((run) => run[n] ?? null)
  return times.length === 0 || times.includes(null) ? undefined : median(times as number[])
}

/** Our contestants against v86: the ratio of times for each loop, and their mean over those that count. */
function ratiosOf(all: LoopResults): { name: string; ratios: (number | undefined)[]; mean: number }[] {
  const peer = all.results.find(({ key }) => key === 'v86')
  if (peer === undefined) return []
  return all.results
    .filter(({ key }) => key !== 'v86')
    .map((ours) => {
      const ratios = all.loops.map((_, n) => {
        const [a, b] = [secondsOf(ours, n), secondsOf(peer, n)]
        return a === undefined || b === undefined ? undefined : a / b
      })
      const counted = ratios.filter((value, n): value is number => value !== undefined && all.loops[n]!.extra !== true)
      return { name: `${ours.name.replace('virtkit ', '')} / v86`, ratios, mean: geometricMean(counted) }
    })
}

/** The table of the loops. */
export function loopSections(all: LoopResults): string[] {
  const comparisons = ratiosOf(all)
  const rows = all.loops.map(({ name, instructions }, n) => [
    name,
    (instructions / 1e6).toFixed(1),
    ...all.results.map((result) => {
      const seconds = secondsOf(result, n)
      return seconds === undefined ? '–' : (instructions / seconds / 1e6).toFixed(0)
    }),
    ...comparisons.map(({ ratios }) => ratio(ratios[n])),
  ])
  const mean = [
    '**geometric mean**',
    '',
    ...all.results.map(() => ''),
    ...comparisons.map((item) => `**${ratio(item.mean)}**`),
  ]
  const counted = all.loops.filter(({ extra }) => extra !== true).length
  rows.splice(counted, 0, ...(counted > 0 ? [mean] : []))
  const head = [...all.results.map(({ name }) => name), ...comparisons.map(({ name }) => name)]
  return [
    '## Loops',
    `One Multiboot image of loops, whose instructions follow from their source (\`bench/loops.ts\`; \`bench/count.ts\` checks them on the reference engine and on QEMU): millions of guest instructions a second of elapsed time, compiling included, and ratios of times, below 1 where virtkit is faster. Medians of ${all.rounds}, every run in a process of its own. Loops below the mean are no part of it; in *strings* every iteration of a repeated instruction counts. v86 has no 64-bit mode.`,
    table(['loop', 'million instructions', ...head], rows),
  ]
}

/** What the picture shows of the loops. */
export function loopPanels(all: LoopResults): Panel[] {
  const shades = coloursOf('v86')
  const shown = all.loops.flatMap((loop, n) => (loop.name === LOOP_64.name ? [] : [{ name: loop.name, n }]))
  const series = ratiosOf(all)
    .reverse()
    .map(({ name, ratios, mean }, k) => ({
      label: name,
      colour: shades[Math.min(k, shades.length - 1)]!,
      values: [...shown.map(({ n }) => ratios[n]), Number.isNaN(mean) ? undefined : mean],
    }))
  if (series.length === 0 || shown.length === 0) return []
  return [{ title: 'Loops', rows: [...shown.map(({ name }) => name), 'geometric mean'], series }]
}
