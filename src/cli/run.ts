/** `virtkit run`. */
import { appendFileSync, renameSync, writeFileSync } from 'node:fs'
import { VirtkitError } from '../contracts/index.js'
import { formatRunSummary, RunStatistics } from '../debug/index.js'
import {
  decodeSnapshot,
  encodeSnapshot,
  JournalRecorder,
  Pc,
  type PcState,
  type RunResult,
  replayJournal,
} from '../machine/index.js'
import { encodePng } from '../node/index.js'
import { type InputStream, SerialInput } from './console.js'
import { EXIT_HALTED, EXIT_INTERRUPTED, EXIT_POWER_OFF, EXIT_TIMEOUT, EXIT_TRIPLE_FAULT } from './exit-status.js'
import { Output, reason } from './output.js'
import { Progress } from './progress.js'
import { badFile, type Flags, type Plan, parseFlags, plan, RUN_USAGE } from './run-options.js'
import { Typist } from './typing.js'

/** What a timer of the host can hold: some 24 days. Longer limits are none. */
const LONGEST_TIMER = 0x7fffffff

/** How a run ended beside what the machine says. */
interface Ending {
  readonly result: RunResult
  readonly satisfied: boolean
  readonly interrupted: boolean
  /** The user asked for the end. */
  readonly quit: boolean
  readonly failure: string | undefined
}

/** What is open while a machine runs. */
interface Surroundings {
  readonly outputs: readonly Output[]
  readonly input: SerialInput | undefined
  readonly progress: Progress | undefined
}

async function runToEnd(pc: Pc, flags: Flags, todo: Plan, around: Surroundings): Promise<Ending> {
  const { outputs, input } = around
  const shows = (text: string): boolean => pc.serial.text.includes(text) || pc.screen.text().join('\n').includes(text)
  const typist = new Typist(pc, todo.typing, shows)
  const satisfied = (): boolean =>
    (flags.until !== undefined && shows(flags.until)) || (flags['no-reboot'] === true && pc.resets > 0)
  const failure = (): string | undefined => outputs.find((output) => output.failure !== undefined)?.failure
  const stop = new AbortController()
  let interrupted = false
  let quit = false
  const onSignal = (): void => {
    interrupted = true
    stop.abort()
  }
  if (input !== undefined) {
    input.onQuit = () => {
      quit = true
      stop.abort()
    }
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, onSignal)
  const timer = todo.timeoutMs <= LONGEST_TIMER ? setTimeout(() => stop.abort(), todo.timeoutMs) : undefined
  const hostPace = (todo.pace ?? (input?.interactive ? 'host' : 'virtual')) === 'host'
  try {
    typist.advance()
    let result: RunResult
    do {
      result = await pc.run({
        signal: stop.signal,
        ...(hostPace ? { pace: { now: () => performance.now() } } : {}),
        until: () => {
          if (!pc.inputs.replaying) input?.pump()
          typist.advance()
          return failure() !== undefined || satisfied()
        },
      })
      // A guest that only the user can wake sleeps until there is something from the user.
    } while (result.reason === 'idle' && !satisfied() && (await input?.more(stop.signal)))
    for (const output of outputs) output.flush()
    if (result.reason === 'idle' && stop.signal.aborted) result = { ...result, reason: 'aborted' }
    return { result, satisfied: satisfied(), interrupted, quit, failure: failure() }
  } finally {
    for (const signal of signals) process.removeListener(signal, onSignal)
    clearTimeout(timer)
    input?.close()
    around.progress?.close()
    for (const output of outputs) output.close()
    const { drives = [], floppy, virtio } = todo.options
    for (const disk of [...drives, ...(virtio?.disks ?? []), floppy]) disk?.flush()
  }
}

/** Points the processor at what was loaded. */
function load(pc: Pc, todo: Plan): void {
  const { kernel, commandLine, initrd } = todo
  if (kernel?.kind === 'multiboot') pc.loadMultiboot(kernel.bytes, { commandLine, modules: todo.modules })
  if (kernel?.kind === 'linux') {
    pc.loadLinux(kernel.bytes, { commandLine, entry: todo.entry, ...(initrd === undefined ? {} : { initrd }) })
  }
}

/** Takes a saved machine over. What does not fit is reported as a fault of the file. */
async function restore(pc: Pc, file: string, snapshot: Uint8Array): Promise<void> {
  try {
    pc.loadState((await decodeSnapshot(snapshot)) as PcState)
  } catch (error) {
    if (error instanceof VirtkitError && error.code === 'bad-state') badFile(`snapshot '${file}': ${error.message}`)
    throw error
  }
}

/** Saves the machine; the file is complete or not there. */
async function save(pc: Pc, file: string): Promise<void> {
  const bytes = await encodeSnapshot(pc.saveState())
  try {
    writeFileSync(`${file}.part`, bytes)
    renameSync(`${file}.part`, file)
  } catch (error) {
    badFile(`snapshot '${file}' cannot be written: ${reason(error)}`)
  }
}

/** Starts to record into a file, line by line. */
function record(pc: Pc, file: string): JournalRecorder {
  try {
    writeFileSync(file, '')
    return new JournalRecorder(pc, (line) => appendFileSync(file, `${line}\n`))
  } catch (error) {
    return badFile(`journal '${file}' cannot be written: ${reason(error)}`)
  }
}

/** What the command is connected to. */
export interface RunStreams {
  /** Default: standard input. */
  readonly input?: InputStream
}

/** Runs the command; returns its exit status. */
export async function run(args: readonly string[], streams: RunStreams = {}): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    console.log(RUN_USAGE)
    return EXIT_POWER_OFF
  }
  const todo = plan(flags)
  const pc = new Pc({ ...todo.options, onTripleFault: 'stop', ...(flags.stats && { profile: performance }) })
  load(pc, todo)
  if (todo.snapshot !== undefined) await restore(pc, flags.load!, todo.snapshot)
  if (todo.replay !== undefined) replayJournal(pc, todo.replay)
  const recorder = flags.journal === undefined ? undefined : record(pc, flags.journal)
  const serial = new Output(flags.serial ?? 'stdio')
  const firmware = new Output(flags['firmware-log'] ?? 'none')
  const usesStdin = (flags.serial ?? 'stdio') === 'stdio' && todo.replay === undefined
  const input = usesStdin ? openInput(pc, todo, streams.input) : undefined
  const progress = process.stderr.isTTY ? new Progress(pc) : undefined
  if (input !== undefined) input.onHelp = (text) => serial.text(text.replaceAll('\n', '\r\n'))
  if (progress !== undefined) serial.onWrite = (last) => progress.noteOutput(last)
  pc.serial.onByte = serial.push
  pc.firmwareLog.onByte = firmware.push
  const statistics = flags.stats ? new RunStatistics(pc) : undefined
  const started = performance.now()
  const ending = await runToEnd(pc, flags, todo, { outputs: [serial, firmware], input, progress })
  const happened = statistics && formatRunSummary(statistics.summary(), performance.now() - started)
  recorder?.finish(ending.result)
  if (flags.save !== undefined) await save(pc, flags.save)
  if (todo.display.kind === 'text') new Output('stdio').text(`${pc.screen.text().join('\n')}\n`)
  if (todo.display.kind === 'png') {
    try {
      writeFileSync(todo.display.file, encodePng(pc.screen.render()))
    } catch (error) {
      badFile(`'${todo.display.file}' cannot be written: ${reason(error)}`)
    }
  }
  if (happened !== undefined) console.error(happened)
  return status(ending)
}

function openInput(pc: Pc, todo: Plan, stream: InputStream | undefined): SerialInput | undefined {
  try {
    // A Multiboot kernel may do without a driver that opens the line.
    return new SerialInput(pc, stream ?? process.stdin, todo.kernel?.kind !== 'multiboot')
  } catch {
    // Standard input is closed, or something that cannot be read: no input, then.
    return undefined
  }
}

function status(ending: Ending): number {
  const { result } = ending
  if (ending.failure !== undefined) badFile(ending.failure)
  if (ending.satisfied || ending.quit) return EXIT_POWER_OFF
  switch (result.reason) {
    case 'power-off':
      return EXIT_POWER_OFF
    case 'exit':
      return (result.status ?? 1) & 0xff
    case 'triple-fault':
      console.error('virtkit: the guest caused a triple fault')
      return EXIT_TRIPLE_FAULT
    case 'halted':
      console.error('virtkit: the guest halted for good (HLT with interrupts off)')
      return EXIT_HALTED
    case 'idle':
      console.error('virtkit: the guest halted for good (HLT, and nothing is left that could wake it)')
      return EXIT_HALTED
    default:
      if (ending.interrupted) {
        console.error('virtkit: interrupted')
        return EXIT_INTERRUPTED
      }
      console.error('virtkit: the time limit has passed')
      return EXIT_TIMEOUT
  }
}
