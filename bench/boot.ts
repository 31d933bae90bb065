/**
 * `npm run bench -- boot`: how long Debian's kernels take to reach userspace on the threaded engine, beside v86 (i686 only) and QEMU's TCG where it is
 * installed, and where the threaded engine's time goes. The guests come from `.guests/` (`scripts/linux-guests.ts`). Every run is a process of its own.
 * Options: --rounds N (default 1), --kernel 686|amd64, --only NAME, --no-profile, --out FILE without extension (default docs/benchmarks/boot).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { HELPER } from '../src/cpu/helpers.js'
import { UOP_EXT } from '../src/cpu/uops.js'
import type { ThreadedStatistics } from '../src/engine/threaded.js'
import { Pc } from '../src/machine/index.js'
import { type ProfileShare, profiled } from './boot-profile.js'
import { ConsoleWatch, type Moment } from './console-watch.js'
import {
  busyTicks,
  bytesOf,
  type Guest,
  guestFile,
  type Kernel,
  machineFacts,
  ownProcessor,
  processorOf,
  QEMU_OPTIONS,
  qemuName,
  ROOT,
  runQemu,
  runs as runsHere,
  runV86,
  V86_OPTIONS,
} from './peers.js'
import { median } from './statistics.js'

const MEMORY = 256 << 20
const COMMAND_LINE = 'console=ttyS0'
const MINUTES = 15

/** What is looked for on the serial line, in this order. */
const MARKS = [
  { name: 'first message', pattern: /Linux version/ },
  { name: 'userspace', pattern: /Run \/init as init process/ },
  { name: 'shell prompt', pattern: /# $/ },
] as const

/** When a mark was seen. */
interface Mark extends Moment {
  readonly name: string
}

/** What the child process of a contestant prints. */
interface Run {
  readonly marks: readonly Mark[]
  readonly counters?: Record<string, number>
  readonly helpers?: readonly (readonly [string, number])[]
  readonly shares?: readonly ProfileShare[]
  /** Share of the machine's processors that others used meanwhile, 0 to 1; undefined where that is not known. */
  readonly others?: number
}

/** The guest of a kernel. */
const guestOf = (kernel: Kernel): Guest => ({
  kernel: guestFile(`linux-${kernel}`),
  disk: guestFile(`initrd-${kernel}.cpio.gz`),
  commandLine: COMMAND_LINE,
  memory: MEMORY,
})

/** Collects serial output and notes the marks. */
class Watch {
  readonly marks: Mark[] = []
  private readonly console: ConsoleWatch

  constructor(processor: () => number, instructions?: () => number) {
    const started = performance.now()
    const clock = (): Moment => ({
      elapsed: (performance.now() - started) / 1000,
      processor: processor(),
      ...(instructions && { instructions: instructions() }),
    })
    this.console = new ConsoleWatch(clock, (event) => {
      if (event.kind !== 'line' && event.kind !== 'prompt') return
      const mark = MARKS[this.marks.length]
      if (mark?.pattern.test(event.text)) this.marks.push({ name: mark.name, ...event.time })
    })
  }

  get done(): boolean {
    return this.marks.length === MARKS.length
  }

  byte(value: number): void {
    this.console.byte(value)
  }
}

// --- contestants: each runs in a child process, and prints a Run ---------------------------------------------------------

async function bootVirtkit(kernel: Kernel, profile: boolean): Promise<Run> {
  const pc = new Pc({ memory: MEMORY })
  const watch = new Watch(ownProcessor, () => pc.instructions)
  pc.serial.onByte = (value) => watch.byte(value)
  const guest = guestOf(kernel)
  pc.loadLinux(bytesOf(guest.kernel), { initrd: bytesOf(guest.disk), commandLine: guest.commandLine })
  const helpers = new Float64Array(256)
  const { cpu } = pc
  if (profile) {
    const finish = cpu.finish.bind(cpu)
    cpu.finish = (at, end, length) => {
      helpers[cpu.s.i32[(at + UOP_EXT) >> 2]! & 255]!++
      finish(at, end, length)
    }
  }
  const boot = (): void => {
    while (!watch.done) {
      const { reason } = pc.runSync(2_000_000)
      if (reason !== 'budget') throw new Error(`the boot ended: ${reason}`)
      if (performance.now() > MINUTES * 60_000) throw new Error('no prompt in time')
    }
  }
  if (!profile) {
    boot()
    return { marks: watch.marks }
  }
  const shares = await profiled(boot)
  const engine = (cpu as unknown as { engine: { stats: ThreadedStatistics } }).engine.stats
  const { exceptions, interrupts } = cpu.stats
  const sum = (list: Float64Array): number => list.reduce((total, n) => total + n, 0)
  return {
    marks: watch.marks,
    shares,
    counters: {
      instructions: cpu.instructions,
      'run one at a time by the reference engine': engine.steps,
      'entries into WebAssembly': engine.entries,
      'blocks lifted': engine.blocksLifted,
      'blocks dropped': engine.blocksDropped,
      'times the store was emptied': engine.storeResets,
      'helper calls': sum(helpers),
      'data-TLB fills': cpu.mem.stats.fills,
      'instruction-TLB fills': cpu.mem.stats.fetchFills,
      'TLB flushes': cpu.mem.stats.flushes,
      exceptions: sum(exceptions),
      'of these page faults': exceptions[14]!,
      interrupts: sum(interrupts),
    },
    helpers: Object.entries(HELPER)
      .map(([name, number]) => [name, helpers[number]!] as const)
      .filter(([, count]) => count > 0)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 12),
  }
}

async function bootV86(): Promise<Run> {
  const watch = new Watch(ownProcessor)
  await runV86(
    guestOf('686'),
    (value) => watch.byte(value),
    () => watch.done,
  )
  return { marks: watch.marks }
}

async function bootQemu(kernel: Kernel): Promise<Run> {
  let pid = 0
  const watch = new Watch(() => processorOf(pid))
  await runQemu(
    kernel,
    guestOf(kernel),
    (value) => watch.byte(value),
    () => watch.done,
    (id) => {
      pid = id
    },
  )
  if (!watch.done) throw new Error('QEMU ended early')
  return { marks: watch.marks }
}

interface Contestant {
  readonly name: string
  readonly kernels: readonly Kernel[]
  readonly available: () => boolean
  readonly run: (kernel: Kernel, profile: boolean) => Promise<Run>
}

const CONTESTANTS: readonly Contestant[] = [
  { name: 'virtkit threaded', kernels: ['686', 'amd64'], available: () => true, run: bootVirtkit },
  { name: 'v86', kernels: ['686'], available: () => true, run: bootV86 },
  {
    name: 'QEMU TCG',
    kernels: ['686', 'amd64'],
    available: () => runsHere(qemuName('686')),
    run: bootQemu,
  },
]

/** Runs a contestant in a process of its own. Undefined, with a word on stderr, when it does not get there. */
function runApart(name: string, kernel: Kernel, profile: boolean): Run | undefined {
  const script = fileURLToPath(new URL('run.ts', import.meta.url))
  const before = busyTicks()
  const child = spawnSync(
    process.execPath,
    [
      ...process.execArgv,
      script,
      'boot',
      '--child',
      '--only',
      name,
      '--kernel',
      kernel,
      ...(profile ? ['--profile'] : []),
    ],
    { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'inherit'], timeout: (MINUTES + 1) * 60_000 },
  )
  const line = child.stdout?.split('\n').find((text) => text.startsWith('{"marks"'))
  if (line !== undefined) {
    const run = JSON.parse(line) as Run
    const after = busyTicks()
    if (before === undefined || after === undefined) return run
    const spent = run.marks.at(-1)!.processor * 100
    return { ...run, others: Math.max(0, (after.busy - before.busy - spent) / (after.total - before.total)) }
  }
  console.error(`${name}, ${kernel}: no result`)
  return undefined
}

// --- the report ---------------------------------------------------------------------------------------------------------

interface Result {
  readonly contestant: string
  readonly kernel: Kernel
  /** Medians; none when no run got there. */
  readonly marks: readonly Mark[]
  readonly runs: readonly Run[]
}

/** The median of each mark. */
function medians(runs: readonly Run[]): Mark[] {
  if (runs.length === 0) return []
  return MARKS.map(({ name }, n) => {
    const of = (pick: (mark: Mark) => number): number => median(runs.map((run) => pick(run.marks[n]!)))
    const counted = runs.every((run) => run.marks[n]!.instructions !== undefined)
    return {
      name,
      elapsed: of(({ elapsed }) => elapsed),
      processor: of(({ processor }) => processor),
      ...(counted && { instructions: of(({ instructions }) => instructions!) }),
    }
  })
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|---|${'---:|'.repeat(head.length - 1)}`, ...rows.map(line)].join('\n')
}

function report(results: readonly Result[], profiles: readonly { kernel: Kernel; run: Run }[], about: string): string {
  const parts = [
    '# Booting Linux',
    `\`npm run bench -- boot\`: Debian's kernels with a BusyBox initrd, ${MEMORY >> 20} MiB, \`${COMMAND_LINE}\`, from the start of the machine to each mark. Processor time is that of the whole process with its compiler threads; a busy machine disturbs it less than elapsed time. v86 and QEMU start their firmware first (0.6 s of v86's time); v86 follows the host's clock, so its guest waits in real time, and it compiles on other threads, so that its elapsed time doubles where another program keeps a second processor busy. v86's options: \`${JSON.stringify(V86_OPTIONS)}\`; QEMU's: \`${QEMU_OPTIONS.join(' ')}\`.`,
    about,
  ]
  for (const kernel of ['686', 'amd64'] as const) {
    const rows = results
      .filter((result) => result.kernel === kernel)
      .map(({ contestant, marks }) => [
        contestant,
        ...(marks.length === 0
          ? MARKS.flatMap(() => ['failed', 'failed'])
          : marks.flatMap(({ elapsed, processor }) => [processor.toFixed(1), elapsed.toFixed(1)])),
        marks.at(-1)?.instructions === undefined ? '–' : (marks.at(-1)!.instructions! / 1e6).toFixed(0),
        marks.at(-1)?.instructions === undefined
          ? '–'
          : (marks.at(-1)!.instructions! / 1e6 / marks.at(-1)!.processor).toFixed(0),
      ])
    if (rows.length === 0) continue
    parts.push(
      `## linux-${kernel}`,
      table(
        ['seconds', ...MARKS.flatMap(({ name }) => [`${name}, processor`, 'elapsed']), 'million instructions', 'MIPS'],
        rows,
      ),
    )
    const profile = profiles.find((item) => item.kernel === kernel)?.run
    if (profile === undefined) continue
    parts.push(
      "### Where the threaded engine's time goes",
      'Samples of the whole boot, one a millisecond, by the part of the source that was running.',
      table(
        ['part', 'share'],
        profile.shares!.map(({ part, share }) => [part, `${(share * 100).toFixed(1)} %`]),
      ),
      table(
        ['event', 'count'],
        Object.entries(profile.counters!).map(([name, count]) => [name, count]),
      ),
      `Helpers called most: ${profile.helpers!.map(([name, count]) => `${name} ${count}`).join(', ')}.`,
    )
  }
  return `${parts.join('\n\n')}\n`
}

/** The command. */
export async function bench(argv: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      rounds: { type: 'string', default: '1' },
      kernel: { type: 'string' },
      only: { type: 'string' },
      child: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      'no-profile': { type: 'boolean', default: false },
      out: { type: 'string', default: join(ROOT, 'docs/benchmarks/boot') },
    },
  })
  const kernels = (['686', 'amd64'] as const).filter((name) => values.kernel === undefined || values.kernel === name)
  const chosen = CONTESTANTS.filter(({ name }) => values.only === undefined || values.only === name)
  if (values.child) {
    console.log(JSON.stringify(await chosen[0]!.run(kernels[0]!, values.profile)))
    return
  }
  const missing = kernels
    .flatMap((k) => [`linux-${k}`, `initrd-${k}.cpio.gz`])
    .filter((name) => !existsSync(guestFile(name)))
  if (missing.length > 0) throw new Error(`.guests lacks ${missing.join(', ')}`)
  const runs = new Map<string, Run[]>()
  const fields: { contestant: Contestant; kernel: Kernel }[] = chosen
    .filter(({ available }) => available())
    .flatMap((contestant) =>
      contestant.kernels.filter((k) => kernels.includes(k)).map((kernel) => ({ contestant, kernel })),
    )
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const { contestant, kernel } of fields) {
      const run = runApart(contestant.name, kernel, false)
      if (run === undefined) continue
      const key = `${contestant.name} ${kernel}`
      runs.set(key, [...(runs.get(key) ?? []), run])
      console.error(`${key}: ${run.marks.map(({ name, processor }) => `${name} ${processor.toFixed(1)} s`).join(', ')}`)
    }
  }
  const results = fields.flatMap(({ contestant, kernel }) => {
    const list = runs.get(`${contestant.name} ${kernel}`) ?? []
    return [{ contestant: contestant.name, kernel, marks: medians(list), runs: list }]
  })
  const profiles = values['no-profile']
    ? []
    : kernels.flatMap((kernel) => {
        const run = runApart('virtkit threaded', kernel, true)
        return run === undefined ? [] : [{ kernel, run }]
      })
  const machine = { ...machineFacts(), rounds: Number(values.rounds) }
  const others = median([...runs.values()].flat().flatMap((run) => run.others ?? []))
  const share = Number.isNaN(others) ? '' : `, other programs used ${(others * 100).toFixed(0)} % of the processors`
  const about = `${machine.date}; ${machine.processors} × ${machine.processor}, load average ${machine.load}${share}; Node ${machine.node}, v86 ${machine.v86}, QEMU ${machine.qemu}; median of ${machine.rounds}.`
  const text = report(results, profiles, about)
  console.log(text)
  writeFileSync(`${values.out}.md`, text)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, results, profiles }, null, 2)}\n`)
}
