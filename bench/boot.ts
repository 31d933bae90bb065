/**
 * `npm run bench -- boot`: how long Debian's kernels take to reach userspace on the threaded engine, beside v86 (i686 only) and QEMU's TCG where it is
 * installed, and where the threaded engine's time goes. The guests come from `.guests/` (`scripts/linux-guests.ts`). Every run is a process of its own.
 * Options: --rounds N (default 1), --kernel 686|amd64, --only NAME, --no-profile, --out FILE without extension (default docs/benchmarks/boot).
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, loadavg } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { HELPER } from '../src/cpu/helpers.js'
import { UOP_EXT } from '../src/cpu/uops.js'
import type { ThreadedStatistics } from '../src/engine/threaded.js'
import { Pc } from '../src/machine/index.js'
import { type ProfileShare, profiled } from './boot-profile.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MEMORY = 256 << 20
const COMMAND_LINE = 'console=ttyS0'
const MINUTES = 15

type Kernel = '686' | 'amd64'

/** What is looked for on the serial line, in this order. */
const MARKS = [
  { name: 'first message', pattern: /Linux version/ },
  { name: 'userspace', pattern: /Run \/init as init process/ },
  { name: 'shell prompt', pattern: /\n[^\n]*# $/ },
] as const

/** When a mark was seen. */
interface Mark {
  readonly name: string
  /** Elapsed seconds. */
  readonly elapsed: number
  /** Seconds of processor time of the whole process, its compiler threads included. */
  readonly processor: number
  /** Guest instructions, where the contestant counts them. */
  readonly instructions?: number
}

/** What the child process of a contestant prints. */
interface Run {
  readonly marks: readonly Mark[]
  readonly counters?: Record<string, number>
  readonly helpers?: readonly (readonly [string, number])[]
  readonly shares?: readonly ProfileShare[]
}

const guest = (name: string): string => join(ROOT, '.guests', name)
const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path))

/** Collects serial output and notes the marks. */
class Watch {
  readonly marks: Mark[] = []
  private readonly started = performance.now()
  private readonly processor: () => number
  private readonly instructions: (() => number) | undefined
  private text = ''

  constructor(processor: () => number, instructions?: () => number) {
    this.processor = processor
    this.instructions = instructions
  }

  get done(): boolean {
    return this.marks.length === MARKS.length
  }

  add(text: string): void {
    for (const character of text) {
      this.text += character
      // Lines end, and the prompt has a space at its end.
      if (character !== '\n' && character !== ' ') continue
      const mark = MARKS[this.marks.length]
      if (mark === undefined || !mark.pattern.test(this.text)) continue
      this.text = '\n'
      this.marks.push({
        name: mark.name,
        elapsed: (performance.now() - this.started) / 1000,
        processor: this.processor(),
        ...(this.instructions && { instructions: this.instructions() }),
      })
    }
  }
}

function ownProcessor(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

// --- contestants: each runs in a child process, and prints a Run ---------------------------------------------------------

async function bootVirtkit(kernel: Kernel, profile: boolean): Promise<Run> {
  const pc = new Pc({ memory: MEMORY })
  const watch = new Watch(ownProcessor, () => pc.instructions)
  pc.serial.onByte = (byte) => watch.add(String.fromCharCode(byte))
  pc.loadLinux(bytesOf(guest(`linux-${kernel}`)), {
    initrd: bytesOf(guest(`initrd-${kernel}.cpio.gz`)),
    commandLine: COMMAND_LINE,
  })
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
  const { V86 } = await import('v86')
  const folder = dirname(createRequire(import.meta.url).resolve('v86'))
  const watch = new Watch(ownProcessor)
  const buffer = (path: string): { buffer: ArrayBuffer } => ({ buffer: bytesOf(path).slice().buffer as ArrayBuffer })
  const emulator = new V86({
    wasm_path: join(folder, 'v86.wasm'),
    memory_size: MEMORY,
    vga_memory_size: 8 << 20,
    bios: buffer(guest('bios.bin')),
    vga_bios: buffer(guest('vgabios-stdvga.bin')),
    bzimage: buffer(guest('linux-686')),
    initrd: buffer(guest('initrd-686.cpio.gz')),
    cmdline: COMMAND_LINE,
    acpi: true,
    autostart: false,
    disable_speaker: true,
  })
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error('v86: no prompt in time')), MINUTES * 60_000)
    emulator.add_listener('serial0-output-byte', (byte: number) => {
      watch.add(String.fromCharCode(byte))
      if (!watch.done) return
      clearTimeout(limit)
      resolve()
    })
    emulator.add_listener('emulator-loaded', () => void emulator.run())
  })
  return { marks: watch.marks }
}

/** Seconds of processor time that a process has used, from `/proc`; where there is none, NaN. */
function processorOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    // utime and stime, in hundredths of a second.
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return Number.NaN
  }
}

const qemuName = (kernel: Kernel): string => (kernel === '686' ? 'qemu-system-i386' : 'qemu-system-x86_64')

async function bootQemu(kernel: Kernel): Promise<Run> {
  const child = spawn(
    qemuName(kernel),
    [
      ...['-M', 'pc', '-accel', 'tcg', '-cpu', kernel === '686' ? 'qemu32' : 'Nehalem', '-m', '256'],
      ...['-display', 'none', '-net', 'none', '-no-reboot', '-monitor', 'none', '-serial', 'stdio'],
      ...['-kernel', guest(`linux-${kernel}`), '-initrd', guest(`initrd-${kernel}.cpio.gz`), '-append', COMMAND_LINE],
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  const watch = new Watch(() => processorOf(child.pid!))
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error('QEMU: no prompt in time')), MINUTES * 60_000)
    child.on('error', reject)
    child.stdout.on('data', (data: Buffer) => {
      watch.add(data.toString('latin1'))
      if (!watch.done) return
      clearTimeout(limit)
      resolve()
    })
  }).finally(() => child.kill())
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
    available: () => spawnSync(qemuName('686'), ['--version']).status === 0,
    run: bootQemu,
  },
]

/** Runs a contestant in a process of its own. Undefined, with a word on stderr, when it does not get there. */
function runApart(name: string, kernel: Kernel, profile: boolean): Run | undefined {
  const script = fileURLToPath(new URL('run.ts', import.meta.url))
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
  if (line !== undefined) return JSON.parse(line) as Run
  console.error(`${name}, ${kernel}: no result`)
  return undefined
}

// --- the report ---------------------------------------------------------------------------------------------------------

interface Result {
  readonly contestant: string
  readonly kernel: Kernel
  /** The median run by processor time up to userspace. */
  readonly marks: readonly Mark[]
  readonly runs: readonly Run[]
}

const userspace = (run: Run): number => run.marks[1]!.processor

function version(command: string): string {
  return (spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout ?? '')
    .split('\n')[0]!
    .replace(/^.*version /, '')
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|---|${'---:|'.repeat(head.length - 1)}`, ...rows.map(line)].join('\n')
}

function report(results: readonly Result[], profiles: readonly { kernel: Kernel; run: Run }[], about: string): string {
  const parts = [
    '# Booting Linux',
    `\`npm run bench -- boot\`: Debian's kernels with a BusyBox initrd, ${MEMORY >> 20} MiB, \`${COMMAND_LINE}\`, from the start of the machine to each mark. Processor time is that of the whole process with its compiler threads; a busy machine disturbs it less than elapsed time. v86 and QEMU start their firmware first; v86 follows the host's clock, so its guest waits in real time.`,
    about,
  ]
  for (const kernel of ['686', 'amd64'] as const) {
    const rows = results
      .filter((result) => result.kernel === kernel)
      .map(({ contestant, marks }) => [
        contestant,
        ...marks.flatMap(({ elapsed, processor }) => [processor.toFixed(1), elapsed.toFixed(1)]),
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
    .filter((name) => !existsSync(guest(name)))
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
    const list = (runs.get(`${contestant.name} ${kernel}`) ?? []).sort((a, b) => userspace(a) - userspace(b))
    if (list.length === 0) return []
    return [{ contestant: contestant.name, kernel, marks: list[list.length >> 1]!.marks, runs: list }]
  })
  const profiles = values['no-profile']
    ? []
    : kernels.flatMap((kernel) => {
        const run = runApart('virtkit threaded', kernel, true)
        return run === undefined ? [] : [{ kernel, run }]
      })
  const v86 = (JSON.parse(readFileSync(join(ROOT, 'node_modules/v86/package.json'), 'utf8')) as { version: string })
    .version
  const machine = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    v86,
    qemu: version(qemuName('686')),
    processor: cpus()[0]?.model ?? 'unknown processor',
    processors: cpus().length,
    load: Number(loadavg()[0]!.toFixed(1)),
    rounds: Number(values.rounds),
  }
  const about = `${machine.date}; ${machine.processors} × ${machine.processor}, load average ${machine.load}; Node ${machine.node}, v86 ${machine.v86}, QEMU ${machine.qemu}; median of ${machine.rounds}.`
  const text = report(results, profiles, about)
  console.log(text)
  writeFileSync(`${values.out}.md`, text)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, results, profiles }, null, 2)}\n`)
}
