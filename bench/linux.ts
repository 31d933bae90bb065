/**
 * `npm run bench -- linux`: boots Debian's kernels and runs `bench/workloads` in virtkit, v86 (i686 only), QEMU's TCG where it is installed, and natively.
 * Writes a Markdown report, an SVG picture and the numbers. The guests come from `npm run guests`. Exit status 1 when anything failed or a checksum differs.
 *
 * Options: --kernel 686|amd64|both, --engines LIST (default threaded), --contestants LIST of native, virtkit, v86, qemu; --only NAMES of workloads;
 * --rounds N (default 3); --append TEXT to the kernel's command line; --limit SECONDS without a word before a run is given up (default 300);
 * --patience SECONDS to wait for a quiet machine before each run (default 20); --out FILE without extension (default docs/benchmarks/linux).
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { WORKLOAD_OPTIONS, workloadDisk, workloadProgram } from '../scripts/workloads.js'
import { Pc, type PcOptions } from '../src/machine/index.js'
import { type ConsoleEvent, ConsoleWatch, type Moment } from './console-watch.js'
import { linuxChart, linuxMarkdown } from './linux-report.js'
import {
  BOOT,
  type ContestantRun,
  comparisons,
  failures,
  type LinuxResults,
  USERSPACE,
  type WorkloadRun,
} from './linux-results.js'
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
  runs,
  runV86,
  V86_OPTIONS,
} from './peers.js'
import { rotated } from './statistics.js'

const MEMORY = 256 << 20
/** Instructions between two breaths of the host, in which an engine may take over what it compiled in the background. */
const BREATH = 5_000_000
const MARKS = [
  { name: 'first message', pattern: /Linux version/ },
  { name: USERSPACE, pattern: /Run \/init as init process/ },
] as const

// --- in the child: one run, told as lines of JSON -----------------------------------------------------------------------

/** What a child tells. */
type Told =
  | ConsoleEvent
  | { readonly kind: 'mark'; readonly name: string; readonly time: Moment }
  | { readonly kind: 'spent'; readonly processor: number }
  | { readonly kind: 'error'; readonly message: string }

const tell = (what: Told): void => console.log(JSON.stringify(what))

/** Watches a console until it is done. */
function watchConsole(clock: () => Moment): { watch: ConsoleWatch; done: () => boolean } {
  let done = false
  const watch = new ConsoleWatch(clock, (event) => {
    if (event.kind === 'prompt') return
    if (event.kind !== 'line') {
      done ||= event.kind === 'done'
      tell(event)
      return
    }
    const mark = MARKS.find(({ pattern }) => pattern.test(event.text))
    if (mark !== undefined) tell({ kind: 'mark', name: mark.name, time: event.time })
    else if (/Kernel panic|BUG:|Oops/.test(event.text)) tell({ kind: 'error', message: event.text })
  })
  return { watch, done: () => done }
}

const seconds = (): number => performance.now() / 1000

async function childVirtkit(guest: Guest, engine: string): Promise<void> {
  const started = seconds()
  const pc = new Pc({ memory: guest.memory, engine: engine as NonNullable<PcOptions['engine']> })
  const { watch, done } = watchConsole(() => ({
    elapsed: seconds() - started,
    processor: ownProcessor(),
    instructions: pc.instructions,
  }))
  pc.serial.onByte = (value) => watch.byte(value)
  pc.loadLinux(bytesOf(guest.kernel), { initrd: bytesOf(guest.disk), commandLine: guest.commandLine })
  while (!done()) {
    const { reason } = pc.runSync(BREATH)
    if (reason !== 'budget' && !done()) throw new Error(`the machine ended: ${reason}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
  tell({ kind: 'spent', processor: ownProcessor() })
}

async function childV86(guest: Guest): Promise<void> {
  const started = seconds()
  const { watch, done } = watchConsole(() => ({ elapsed: seconds() - started, processor: ownProcessor() }))
  await runV86(guest, (value) => watch.byte(value), done)
  tell({ kind: 'spent', processor: ownProcessor() })
}

async function childQemu(guest: Guest, kernel: Kernel): Promise<void> {
  const started = seconds()
  let pid = 0
  let spent = 0
  const { watch, done } = watchConsole(() => {
    spent = processorOf(pid)
    return { elapsed: seconds() - started, processor: spent }
  })
  await runQemu(
    kernel,
    guest,
    (value) => watch.byte(value),
    done,
    (id) => {
      pid = id
    },
  )
  if (!done()) throw new Error('QEMU ended early')
  tell({ kind: 'spent', processor: spent + ownProcessor() })
}

async function childNative(kernel: Kernel, names: string): Promise<void> {
  const started = seconds()
  const { watch, done } = watchConsole(() => ({ elapsed: seconds() - started, processor: Number.NaN }))
  const folder = existsSync('/dev/shm') ? { TMPDIR: '/dev/shm' } : {}
  const child = spawn(workloadProgram(kernel), [names], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...folder },
  })
  child.stdout.on('data', (data: Buffer) => watch.text(data))
  await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (!done()) throw new Error('the program ended early')
  tell({ kind: 'spent', processor: Number.NaN })
}

async function child(key: string, kernel: Kernel, names: string, append: string): Promise<void> {
  const guest = {
    kernel: guestFile(`linux-${kernel}`),
    disk: workloadDisk(kernel),
    commandLine: `${commandLine(append)} workloads=${names}`,
    memory: MEMORY,
  }
  try {
    if (key === 'native') await childNative(kernel, names)
    else if (key === 'v86') await childV86(guest)
    else if (key === 'qemu') await childQemu(guest, kernel)
    else await childVirtkit(guest, key.replace('virtkit:', ''))
  } catch (error) {
    tell({ kind: 'error', message: error instanceof Error ? error.message : String(error) })
  }
}

const commandLine = (append: string): string => `console=ttyS0${append === '' ? '' : ` ${append}`}`

// --- in the parent ------------------------------------------------------------------------------------------------------

interface Contestant {
  readonly key: string
  readonly name: string
}

/** How a run is made. */
interface RunOptions {
  readonly names: readonly string[]
  readonly round: number
  readonly append: string
  readonly limit: number
}

/** One process of a contestant: fills in what it tells. Returns why it ended early, or undefined. */
async function runProcess(
  key: string,
  kernel: Kernel,
  names: readonly string[],
  { append, limit }: RunOptions,
  take: (told: Told) => void,
): Promise<string | undefined> {
  const script = fileURLToPath(new URL('run.ts', import.meta.url))
  const options = ['--child', key, '--kernel', kernel, '--only', names.join(','), `--append=${append}`]
  // A group of its own, so that giving up takes an emulator that the child started along.
  const runner = spawn(process.execPath, [...process.execArgv, script, 'linux', ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const end = (): void => {
    try {
      process.kill(-runner.pid!, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
  process.once('exit', end)
  let why: string | undefined
  let timer: NodeJS.Timeout | undefined
  const alarm = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      why = `no word for ${limit} s`
      end()
    }, limit * 1000)
  }
  alarm()
  createInterface(runner.stdout).on('line', (line) => {
    if (!line.startsWith('{"kind"')) return
    alarm()
    const told = JSON.parse(line) as Told
    if (told.kind === 'error') why ??= told.message
    take(told)
  })
  const status = await new Promise<number | string | null>((resolve) => {
    runner.on('close', (code, signal) => resolve(code ?? signal))
  })
  clearTimeout(timer)
  process.off('exit', end)
  return why ?? (status === 0 ? undefined : `the process ended with ${status}`)
}

/** A whole run. After a hang or a crash the rest goes on in a new process. */
async function runContestant(key: string, kernel: Kernel, options: RunOptions): Promise<ContestantRun> {
  const marks: Record<string, Moment> = {}
  const workloads: Record<string, WorkloadRun> = {}
  const failed: Record<string, string> = {}
  let left = [...options.names]
  let spent = 0
  const before = busyTicks()
  while (left.length > 0) {
    let current: string | undefined
    const why = await runProcess(key, kernel, left, options, (told) => {
      if (told.kind === 'mark') marks[told.name] ??= told.time
      else if (told.kind === 'begun') current = told.name
      else if (told.kind === 'failed') failed[told.name] ??= told.why
      else if (told.kind === 'spent') spent += told.processor
      else if (told.kind === 'ended') {
        current = undefined
        workloads[told.name] = {
          seconds: key === 'native' ? told.guest : told.host,
          guest: told.guest,
          processor: told.processor,
          checksum: told.checksum,
          ...(told.instructions !== undefined && { instructions: told.instructions }),
        }
      }
    })
    left = left.filter((name) => workloads[name] === undefined && failed[name] === undefined)
    if (left.length === 0) break
    if (current === undefined) {
      // It did not get to a workload, or stopped between two.
      for (const name of left) failed[name] = why ?? 'not reached'
      if (marks[USERSPACE] === undefined && key !== 'native') failed[BOOT] = why ?? 'did not reach userspace'
      break
    }
    failed[current] = why ?? 'did not end'
    left = left.filter((name) => name !== current)
  }
  const after = busyTicks()
  const known = before !== undefined && after !== undefined && key !== 'native' && spent > 0
  const others = known
    ? Math.max(0, (after.busy - before.busy - spent * 100) / (after.total - before.total))
    : undefined
  return {
    round: options.round,
    marks,
    workloads,
    failures: failed,
    ...(others !== undefined && { others: Number(others.toFixed(3)) }),
  }
}

/** Waits until others leave the machine alone, but not longer than `patience` seconds. */
async function quiet(patience: number): Promise<void> {
  for (let n = 0; n < patience; n++) {
    const before = busyTicks()
    if (before === undefined) return
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const after = busyTicks()!
    if ((after.busy - before.busy) / (after.total - before.total) < 0.1) return
  }
}

/** Names and descriptions, as a program tells them. */
function listWorkloads(kernel: Kernel): { name: string; what: string }[] {
  const { stdout, error } = spawnSync(workloadProgram(kernel), ['--list'], { encoding: 'utf8' })
  if (error) throw new Error(`${workloadProgram(kernel)} does not run on this machine: ${error.message}`)
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [name, what] = line.split('\t')
      return { name: name!, what: what! }
    })
}

/** The command. */
export async function bench(argv: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      kernel: { type: 'string', default: 'both' },
      engines: { type: 'string', default: 'threaded' },
      contestants: { type: 'string', default: 'native,virtkit,v86,qemu' },
      only: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      append: { type: 'string', default: '' },
      limit: { type: 'string', default: '300' },
      patience: { type: 'string', default: '20' },
      out: { type: 'string', default: join(ROOT, 'docs/benchmarks/linux') },
      child: { type: 'string' },
    },
  })
  if (values.child !== undefined) {
    await child(values.child, values.kernel as Kernel, values.only!, values.append)
    return
  }
  const absent: string[] = []
  const kernels = (['686', 'amd64'] as const).filter((kernel) => {
    if (values.kernel !== 'both' && values.kernel !== kernel) return false
    const missing = [guestFile(`linux-${kernel}`), workloadDisk(kernel)].filter((path) => !existsSync(path))
    if (missing.length > 0) absent.push(`${kernel}: there is no ${missing.join(', ')}; \`npm run guests\` makes it`)
    return missing.length === 0
  })
  if (kernels.length === 0) throw new Error(`no kernel to run: ${absent.join('; ') || `unknown '${values.kernel}'`}`)
  const chosen = values.only?.split(',')
  const listed = listWorkloads(kernels.at(-1)!)
  const unknown = (chosen ?? []).filter((name) => !listed.some((item) => item.name === name))
  if (unknown.length > 0)
    throw new Error(`no workload ${unknown.join(', ')}; there are ${listed.map(({ name }) => name).join(', ')}`)
  const workloads = listed.filter(({ name }) => chosen?.includes(name) ?? true)
  const wanted = values.contestants.split(',')
  const contestants: Contestant[] = [
    // The others' checksums are compared with the native ones, so this one is always there.
    { key: 'native', name: 'native' },
    ...(wanted.includes('virtkit')
      ? values.engines.split(',').map((engine) => ({ key: `virtkit:${engine}`, name: `virtkit ${engine}` }))
      : []),
    ...(wanted.includes('v86') ? [{ key: 'v86', name: 'v86' }] : []),
    ...(wanted.includes('qemu') ? [{ key: 'qemu', name: 'QEMU TCG' }] : []),
  ]
  const fields = kernels.flatMap((kernel) =>
    contestants.flatMap((contestant) => {
      // v86 has no 64-bit mode.
      if (contestant.key === 'v86' && kernel !== '686') return []
      if (contestant.key === 'qemu' && !runs(qemuName(kernel))) {
        absent.push(`${qemuName(kernel)} is not installed`)
        return []
      }
      return [{ contestant, kernel, runs: [] as ContestantRun[] }]
    }),
  )
  // By default these end the process without the event that ends the child.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const machine = machineFacts()
  const rounds = Number(values.rounds)
  /** Everything up to now. */
  const collect = (done: number): LinuxResults => ({
    machine,
    loadAfter: Number(loadavg()[0]!.toFixed(2)),
    compiler: spawnSync('gcc', ['--version'], { encoding: 'utf8' }).stdout?.split('\n')[0] ?? 'gcc',
    rounds: done,
    memory: MEMORY,
    commandLine: `${commandLine(values.append)} workloads=…`,
    options: {
      'i686 program': `gcc ${WORKLOAD_OPTIONS['686'].join(' ')}`,
      'x86-64 program': `gcc ${WORKLOAD_OPTIONS.amd64.join(' ')}`,
      virtkit: `new Pc({ memory, engine }), engines ${values.engines}`,
      v86: `memory_size, SeaBIOS, bzimage, initrd, cmdline, ${JSON.stringify(V86_OPTIONS)}`,
      QEMU: `${QEMU_OPTIONS.join(' ')} -m ${MEMORY >> 20}`,
    },
    workloads,
    results: fields.map(({ contestant, kernel, runs: list }) => ({ ...contestant, kernel, runs: [...list] })),
    absent,
  })
  let all = collect(0)
  for (let round = 0; round < rounds; round++) {
    for (const { contestant, kernel, runs: list } of rotated(fields, round)) {
      await quiet(Number(values.patience))
      const run = await runContestant(contestant.key, kernel, {
        names: workloads.map(({ name }) => name),
        round,
        append: values.append,
        limit: Number(values.limit),
      })
      list.push(run)
      const times = Object.entries(run.workloads).map(([name, { seconds }]) => `${name} ${seconds.toFixed(3)}`)
      const boot = run.marks[USERSPACE]?.elapsed
      const wrong = Object.entries(run.failures).map(([name, why]) => `${name} FAILED (${why})`)
      const head = `${contestant.name}, ${kernel}, round ${round + 1}${run.others === undefined ? '' : `, others ${(run.others * 100).toFixed(0)} %`}`
      console.error(
        `${head}: ${[...(boot === undefined ? [] : [`boot ${boot.toFixed(1)}`]), ...times, ...wrong].join(', ')}`,
      )
    }
    // After every round, so that little is lost when the next one does not end.
    all = collect(round + 1)
    writeFileSync(`${values.out}.md`, linuxMarkdown(all, `${basename(values.out)}.svg`))
    writeFileSync(`${values.out}.svg`, linuxChart(all))
    writeFileSync(`${values.out}.json`, `${JSON.stringify(all, null, 1)}\n`)
  }
  console.log(linuxMarkdown(all, `${basename(values.out)}.svg`))
  const bad = failures(all)
  const lacking = kernels.flatMap((kernel) => comparisons(all, kernel).filter((item) => item.lacking.length > 0))
  if (bad.length > 0 || lacking.length > 0) {
    console.error(`failed:\n${bad.join('\n')}`)
    process.exitCode = 1
  }
}
