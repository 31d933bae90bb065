/**
 * Boots Debian's kernels and runs `bench/workloads` in virtkit, v86 (i686 only), QEMU's TCG where it is installed, and natively. The guests come from
 * `npm run guests`. See run.ts for the options.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WORKLOAD_OPTIONS, workloadDisk, workloadProgram } from '../scripts/workloads.js'
import { Pc, type PcOptions } from '../src/machine/index.js'
import { type ConsoleEvent, ConsoleWatch, type Moment } from './console-watch.js'
import { BOOT, type ContestantRun, type LinuxResults, USERSPACE, type WorkloadRun } from './linux-results.js'
import {
  busyTicks,
  bytesOf,
  type Guest,
  guestFile,
  type Kernel,
  ownProcessor,
  processorOf,
  QEMU_OPTIONS,
  qemuName,
  runQemu,
  runs,
  runV86,
  V86_OPTIONS,
} from './peers.js'
import { rotated } from './statistics.js'

/** What may be chosen: see run.ts. */
export interface LinuxOptions {
  readonly kernel: string
  readonly engines: readonly string[]
  readonly contestants: readonly string[]
  /** Names of workloads, and `boot`, which is always there; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly rounds: number
  readonly append: string
  readonly limit: number
  readonly patience: number
}

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

/** Watches a console until it is done; `bootOnly`: until userspace is reached. */
function watchConsole(clock: () => Moment, bootOnly = false): { watch: ConsoleWatch; done: () => boolean } {
  let done = false
  const watch = new ConsoleWatch(clock, (event) => {
    if (event.kind === 'prompt') return
    if (event.kind !== 'line') {
      done ||= event.kind === 'done'
      tell(event)
      return
    }
    const mark = MARKS.find(({ pattern }) => pattern.test(event.text))
    if (mark !== undefined) {
      tell({ kind: 'mark', name: mark.name, time: event.time })
      done ||= bootOnly && mark.name === USERSPACE
    } else if (/Kernel panic|BUG:|Oops/.test(event.text)) tell({ kind: 'error', message: event.text })
  })
  return { watch, done: () => done }
}

const seconds = (): number => performance.now() / 1000

async function childVirtkit(guest: Guest, engine: string, bootOnly: boolean): Promise<void> {
  const started = seconds()
  const pc = new Pc({ memory: guest.memory, engine: engine as NonNullable<PcOptions['engine']> })
  const clock = (): Moment => ({
    elapsed: seconds() - started,
    processor: ownProcessor(),
    instructions: pc.instructions,
  })
  const { watch, done } = watchConsole(clock, bootOnly)
  pc.serial.onByte = (value) => watch.byte(value)
  pc.loadLinux(bytesOf(guest.kernel), { initrd: bytesOf(guest.disk), commandLine: guest.commandLine })
  while (!done()) {
    const { reason } = pc.runSync(BREATH)
    if (reason !== 'budget' && !done()) throw new Error(`the machine ended: ${reason}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
  tell({ kind: 'spent', processor: ownProcessor() })
}

async function childV86(guest: Guest, bootOnly: boolean): Promise<void> {
  const started = seconds()
  const { watch, done } = watchConsole(() => ({ elapsed: seconds() - started, processor: ownProcessor() }), bootOnly)
  await runV86(guest, (value) => watch.byte(value), done)
  tell({ kind: 'spent', processor: ownProcessor() })
}

async function childQemu(guest: Guest, kernel: Kernel, bootOnly: boolean): Promise<void> {
  const started = seconds()
  let pid = 0
  let spent = 0
  const { watch, done } = watchConsole(() => {
    spent = processorOf(pid)
    return { elapsed: seconds() - started, processor: spent }
  }, bootOnly)
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

/** One run of a contestant, told on standard output: of workloads by their names, or of the boot alone when there are none. */
export async function linuxChild(key: string, kernel: Kernel, names: string, append: string): Promise<void> {
  const bootOnly = names === ''
  const guest = {
    kernel: guestFile(`linux-${kernel}`),
    disk: workloadDisk(kernel),
    commandLine: `${commandLine(append)} workloads=${names}`.replace(/ workloads=$/, ''),
    memory: MEMORY,
  }
  try {
    if (key === 'native') await childNative(kernel, names)
    else if (key === 'v86') await childV86(guest, bootOnly)
    else if (key === 'qemu') await childQemu(guest, kernel, bootOnly)
    else await childVirtkit(guest, key.replace('virtkit:', ''), bootOnly)
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
  do {
    let current: string | undefined
    const why = await runProcess(key, kernel, left, options, (told) => {
      if (told.kind === 'mark') marks[told.name] ??= told.time
      // What began before the host noticed that userspace was reached is of no interest.
      else if (options.names.length === 0 && told.kind !== 'spent') return
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
    if (left.length === 0 && options.names.length > 0) break
    if (current === undefined) {
      // It did not get to a workload, or stopped between two.
      for (const name of left) failed[name] = why ?? 'not reached'
      if (marks[USERSPACE] === undefined && key !== 'native') failed[BOOT] = why ?? 'did not reach userspace'
      break
    }
    failed[current] = why ?? 'did not end'
    left = left.filter((name) => name !== current)
  } while (left.length > 0)
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
export async function quiet(patience: number): Promise<void> {
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

/** Names and descriptions of all workloads, as far as a kernel's program runs here. */
export function linuxWorkloads(): readonly { name: string; what: string }[] {
  const kernel = (['amd64', '686'] as const).find((name) => existsSync(workloadProgram(name)))
  return kernel === undefined ? [] : listWorkloads(kernel)
}

/** Measures. `onRound` hears of everything up to now after each round, so that little is lost when the next one does not end. */
export async function benchLinux(
  options: LinuxOptions,
  onRound: (results: LinuxResults) => void,
): Promise<LinuxResults> {
  const absent: string[] = []
  const kernels = (['686', 'amd64'] as const).filter((kernel) => {
    if (options.kernel !== 'both' && options.kernel !== kernel) return false
    const missing = [guestFile(`linux-${kernel}`), workloadDisk(kernel)].filter((path) => !existsSync(path))
    if (missing.length > 0) absent.push(`${kernel}: there is no ${missing.join(', ')}; \`npm run guests\` makes it`)
    return missing.length === 0
  })
  if (kernels.length === 0) throw new Error(`no kernel to run: ${absent.join('; ') || `unknown '${options.kernel}'`}`)
  const workloads = listWorkloads(kernels.at(-1)!).filter(({ name }) => options.only?.includes(name) ?? true)
  const wants = (key: string): boolean => options.contestants.includes(key)
  const contestants: Contestant[] = [
    // The others' checksums are compared with the native ones, so this one is there whenever something is run.
    ...(workloads.length > 0 ? [{ key: 'native', name: 'native' }] : []),
    ...(wants('virtkit')
      ? options.engines.map((engine) => ({ key: `virtkit:${engine}`, name: `virtkit ${engine}` }))
      : []),
    ...(wants('v86') ? [{ key: 'v86', name: 'v86' }] : []),
    ...(wants('qemu') ? [{ key: 'qemu', name: 'QEMU TCG' }] : []),
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
  /** Everything up to now. */
  const collect = (done: number): LinuxResults => ({
    compiler: spawnSync('gcc', ['--version'], { encoding: 'utf8' }).stdout?.split('\n')[0] ?? 'gcc',
    rounds: done,
    memory: MEMORY,
    commandLine: `${commandLine(options.append)} workloads=…`,
    options: {
      'i686 program': `gcc ${WORKLOAD_OPTIONS['686'].join(' ')}`,
      'x86-64 program': `gcc ${WORKLOAD_OPTIONS.amd64.join(' ')}`,
      virtkit: `new Pc({ memory, engine }), engines ${options.engines.join(', ')}`,
      v86: `memory_size, SeaBIOS, bzimage, initrd, cmdline, ${JSON.stringify(V86_OPTIONS)}`,
      QEMU: `${QEMU_OPTIONS.join(' ')} -m ${MEMORY >> 20}`,
    },
    workloads,
    results: fields.map(({ contestant, kernel, runs: list }) => ({ ...contestant, kernel, runs: [...list] })),
    absent,
  })
  let all = collect(0)
  for (let round = 0; round < options.rounds; round++) {
    for (const { contestant, kernel, runs: list } of rotated(fields, round)) {
      await quiet(options.patience)
      const run = await runContestant(contestant.key, kernel, {
        names: workloads.map(({ name }) => name),
        round,
        append: options.append,
        limit: options.limit,
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
    all = collect(round + 1)
    onRound(all)
  }
  return all
}
