/**
 * `npm run bench`: virtkit beside its peers. Everything in one run, or a part of it: `npm run bench -- linux`, boots of Debian's kernels and workloads on
 * them; `boot`, the boots alone; `loops`, small loops without an operating system. Writes a Markdown report, an SVG picture and the numbers.
 * Exit status 1 when anything failed or a checksum differs.
 *
 * Options: --rounds N (default 3); --only NAMES of workloads, of loops, or `boot`; --engines LIST (default threaded,translated); --contestants LIST of
 * native, virtkit, v86, qemu; --kernel 686|amd64|both; --append TEXT to the kernel's command line; --limit SECONDS without a word before a run on Linux
 * is given up (default 300); --patience SECONDS to wait for a quiet machine before each run (default 20); --out FILE without extension (default
 * docs/benchmarks/report).
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { benchLinux, linuxChild, linuxWorkloads, quiet } from './linux.js'
import { BOOT, comparisons, failures, type LinuxResults } from './linux-results.js'
import { ALL_LOOPS, benchLoops, type LoopResults, loopChild } from './loop-runs.js'
import { type Kernel, machineFacts, ROOT } from './peers.js'
import { type BenchResults, benchChart, benchMarkdown } from './report.js'

const PARTS = ['linux', 'boot', 'loops'] as const

const part = PARTS.find((name) => name === process.argv[2])
const { values } = parseArgs({
  args: process.argv.slice(part === undefined ? 2 : 3),
  options: {
    kernel: { type: 'string', default: 'both' },
    engines: { type: 'string', default: 'threaded,translated' },
    contestants: { type: 'string', default: 'native,virtkit,v86,qemu' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    append: { type: 'string', default: '' },
    limit: { type: 'string', default: '300' },
    patience: { type: 'string', default: '20' },
    out: { type: 'string', default: join(ROOT, 'docs/benchmarks/report') },
    // A run of one contestant, in a process of its own.
    child: { type: 'string' },
  },
})
const only = values.only?.split(',').filter((name) => name !== '')

async function main(): Promise<void> {
  const workloads = part === 'loops' ? [] : linuxWorkloads().map(({ name }) => name)
  const loops = ALL_LOOPS.map(({ name }) => name)
  const known = [BOOT, ...workloads, ...loops]
  const unknown = (only ?? []).filter((name) => !known.includes(name))
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join(', ')}; there are ${known.join(', ')}`)
  const wants = (names: readonly string[]): boolean => only?.some((name) => names.includes(name)) ?? true
  const doesLoops = (part ?? 'loops') === 'loops' && wants(loops)
  const doesLinux = part !== 'loops' && wants([BOOT, ...workloads])

  const machine = machineFacts()
  const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ')
  let linux: LinuxResults | undefined
  let measured: LoopResults | undefined
  const all = (): BenchResults => ({
    machine,
    loadAfter: Number(loadavg()[0]!.toFixed(2)),
    command,
    ...(linux && { linux }),
    ...(measured && { loops: measured }),
  })
  const write = (): string => {
    const results = all()
    const text = benchMarkdown(results, `${basename(values.out)}.svg`)
    writeFileSync(`${values.out}.md`, text)
    writeFileSync(`${values.out}.svg`, benchChart(results))
    writeFileSync(`${values.out}.json`, `${JSON.stringify(results, null, 1)}\n`)
    return text
  }
  const shared = {
    engines: values.engines.split(','),
    contestants: values.contestants.split(','),
    rounds: Number(values.rounds),
  }
  const patience = Number(values.patience)
  // The short part first.
  if (doesLoops) {
    const names = only?.filter((name) => loops.includes(name))
    measured = await benchLoops({ ...shared, only: names }, () => quiet(patience))
    write()
  }
  if (doesLinux) {
    const options = {
      ...shared,
      kernel: values.kernel,
      only: part === 'boot' ? [BOOT] : only,
      append: values.append,
      limit: Number(values.limit),
      patience,
    }
    linux = await benchLinux(options, (results) => {
      linux = results
      write()
    })
  }
  console.log(write())
  const bad = linux === undefined ? [] : failures(linux)
  const kernels: readonly Kernel[] = ['686', 'amd64']
  const lacking = kernels.some((kernel) => linux && comparisons(linux, kernel).some((item) => item.lacking.length > 0))
  const stopped = measured?.results.some(({ runs }) => runs.some((run) => run.every((time) => time === null)))
  if (bad.length > 0 || lacking || stopped) {
    console.error(`failed:\n${bad.join('\n')}`)
    process.exitCode = 1
  }
}

// By default these end the process without the event that ends its children.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
if (values.child === undefined) await main()
else if (part === 'loops') await loopChild(values.child, only)
else await linuxChild(values.child, values.kernel as Kernel, only?.join(',') ?? '', values.append)
// A v86 that is not needed any more would go on.
process.exit()
