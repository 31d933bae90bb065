/** `virtkit run`. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { BlockBackend } from '../contracts/index.js'
import { MODEL_NAMES, type ModelName } from '../cpu/index.js'
import { isMultiboot, type MultibootModule, OverlayDisk, Pc, type PcOptions, type RunResult } from '../machine/index.js'
import { encodePng, FileDisk } from '../node/index.js'
import {
  CommandError,
  EXIT_HALTED,
  EXIT_IMAGE,
  EXIT_INTERRUPTED,
  EXIT_POWER_OFF,
  EXIT_TIMEOUT,
  EXIT_TRIPLE_FAULT,
  EXIT_USAGE,
} from './exit-status.js'
import { checkWritable, Output, reason } from './output.js'
import { statistics } from './statistics.js'
import { parseTyping, type TypingStep, Typist } from './typing.js'

const RUN_USAGE: string = `Usage: virtkit run [options]

  --engine threaded|reference   how instructions run (default threaded)
  --cpu MODEL                   ${MODEL_NAMES.join(', ')} (default x86-64-v2)
  --memory SIZE                 RAM, with suffix K, M or G (default 128M)
  --bios FILE                   firmware image
  --vga-bios FILE               option ROM of the display
  --kernel FILE                 a Multiboot 1 kernel
  --append STRING               its command line
  --module FILE[=STRING]        a Multiboot module; may be repeated
  --drive FILE[,readonly]       a raw disk image; up to four
  --snapshot                    keep writes to disks in memory only
  --floppy FILE                 a raw floppy image
  --boot LETTERS                order for the firmware: a floppy, c disk, d CD
  --serial stdio|FILE|none      where the first serial port goes (default stdio)
  --firmware-log FILE           where debug port 0x402 goes
  --display none|text|png:FILE  what to show of the screen at the end (default none)
  --type TEXT                   keys to type; \\n is Enter; {500} waits 500 virtual milliseconds, {wait:TEXT} for a text
                                on the screen or the serial line
  --until TEXT                  end with status 0 once TEXT is on the screen or the serial line
  --timeout SECONDS             give up after that many seconds of host time
  --date ISO                    date of the real-time clock at power-on (default 2000-01-01)
  --no-reboot                   end with status 0 when the guest resets the machine
  --stats                       say what happened, on stderr

Exit status: 0 the guest powered off; odd: the guest's own, through isa-debug-exit; 2 wrong usage; 4 unreadable,
unwritable or malformed file; 6 a device failed; 70 triple fault; 72 halted with interrupts off; 124 time limit;
130 interrupted.`

const OPTIONS = {
  engine: { type: 'string' },
  cpu: { type: 'string' },
  memory: { type: 'string' },
  bios: { type: 'string' },
  'vga-bios': { type: 'string' },
  kernel: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  module: { type: 'string', multiple: true },
  drive: { type: 'string', multiple: true },
  cdrom: { type: 'string' },
  snapshot: { type: 'boolean' },
  floppy: { type: 'string' },
  boot: { type: 'string' },
  serial: { type: 'string' },
  'firmware-log': { type: 'string' },
  display: { type: 'string' },
  type: { type: 'string' },
  until: { type: 'string' },
  timeout: { type: 'string' },
  date: { type: 'string' },
  'no-reboot': { type: 'boolean' },
  stats: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

type Flags = ReturnType<typeof parseFlags>

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false }).values
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split('\n')[0]!
    return usage(`${message.replace(/\.? To specify.*|\. This command.*/, '')}; see 'virtkit help run'`)
  }
}

function usage(message: string): never {
  throw new CommandError(EXIT_USAGE, `run: ${message}`)
}

function badFile(message: string): never {
  throw new CommandError(EXIT_IMAGE, `run: ${message}`)
}

/** Reads `512M`, `1G`, `65536K` or a number of bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMG]?)$/i.exec(text)
  if (!match) return usage(`--memory: a size such as 512M was expected, got '${text}'`)
  const unit = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[match[2]!.toUpperCase()]!
  const size = Number(match[1]) * unit
  if (size < 1024 ** 2 || size % 1024 ** 2 !== 0) {
    usage(`--memory: a multiple of 1M, at least 1M, was expected, got '${text}'`)
  }
  return size
}

/** Larger files are no kernels, modules or firmware. */
const LARGEST_FILE = 1024 ** 3

function read(file: string, what: string): Uint8Array {
  try {
    const status = statSync(file)
    if (!status.isFile()) badFile(`${what} '${file}': a regular file was expected`)
    if (status.size === 0) badFile(`${what} '${file}': the file is empty`)
    if (status.size > LARGEST_FILE) badFile(`${what} '${file}': at most 1 GiB was expected, got ${status.size} bytes`)
    return readFileSync(file)
  } catch (error) {
    if (error instanceof CommandError) throw error
    return badFile(`${what} '${file}' cannot be read: ${reason(error)}`)
  }
}

function choice<T extends string>(flag: string, value: string | undefined, among: readonly T[]): T | undefined {
  if (value === undefined) return undefined
  if (!among.includes(value as T)) usage(`--${flag}: one of ${among.join(', ')} was expected, got '${value}'`)
  return value as T
}

/** A disk from `FILE[,readonly]`. */
function openDisk(flag: string, spec: string, snapshot: boolean): BlockBackend {
  const [file, ...words] = spec.replace(/^file=/, '').split(',')
  for (const word of words) {
    if (word !== 'readonly' && word !== 'format=raw') usage(`--${flag}: '${word}' is not known; readonly was expected`)
  }
  if (!file) usage(`--${flag}: the name of a file was expected, got '${spec}'`)
  if (snapshot) return new OverlayDisk(new FileDisk(file, { readOnly: true }))
  return new FileDisk(file, { readOnly: words.includes('readonly') })
}

/** Sizes of floppies that exist, in KiB. */
const FLOPPY_SIZES = [160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880]

function openFloppy(spec: string, snapshot: boolean): BlockBackend {
  const disk = openDisk('floppy', spec, snapshot)
  if (!FLOPPY_SIZES.includes(disk.size / 1024)) {
    badFile(`floppy '${spec}': an image of ${FLOPPY_SIZES.join(', ')} KiB was expected, got ${disk.size} bytes`)
  }
  return disk
}

function readFirmware(file: string): Uint8Array {
  const bytes = read(file, 'firmware')
  if (bytes.length % 4096 !== 0 || bytes.length > 16 * 1024 ** 2) {
    badFile(`firmware '${file}': a multiple of 4096 bytes up to 16 MiB was expected, got ${bytes.length} bytes`)
  }
  return bytes
}

function readVideoBios(file: string): Uint8Array {
  const bytes = read(file, 'video BIOS')
  // The PCI Firmware Specification's expansion ROM header: 55h AAh, then the length in units of 512 bytes.
  if (bytes[0] !== 0x55 || bytes[1] !== 0xaa || bytes.length > 0x10000) {
    badFile(`video BIOS '${file}': an option ROM of at most 64 KiB that starts with 55 AA was expected`)
  }
  if (bytes.length < (bytes[2] ?? 0) * 512) {
    badFile(`video BIOS '${file}': its header promises ${bytes[2]! * 512} bytes, got ${bytes.length}`)
  }
  return bytes
}

function readKernel(file: string): Uint8Array {
  const bytes = read(file, 'kernel')
  if (isMultiboot(bytes)) return bytes
  const text = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4))
  const expected = 'a Multiboot 1 header in the first 8 KiB was expected'
  if (text(0x202) === 'HdrS')
    badFile(`kernel '${file}': ${expected}; this is a Linux kernel, which cannot be started yet`)
  if (bytes[510] === 0x55 && bytes[511] === 0xaa) {
    badFile(`kernel '${file}': ${expected}; this is a boot sector: start it with --bios and --drive or --floppy`)
  }
  return badFile(`kernel '${file}': ${expected}`)
}

function parseDate(text: string): number {
  const date = Date.parse(text)
  if (Number.isNaN(date)) usage(`--date: a date such as 2026-01-31T12:00:00Z was expected, got '${text}'`)
  return date
}

function pcOptions(flags: Flags): PcOptions {
  const snapshot = flags.snapshot === true
  const engine = choice('engine', flags.engine, ['threaded', 'reference'] as const)
  const cpu: ModelName | undefined = choice('cpu', flags.cpu, MODEL_NAMES)
  const memory = parseSize(flags.memory ?? '128M')
  const boot = flags.boot
  if (boot !== undefined && !/^[acd]{1,3}$/.test(boot)) usage(`--boot: letters a, c, d were expected, got '${boot}'`)
  const date = flags.date === undefined ? undefined : parseDate(flags.date)
  const drives = flags.drive ?? []
  if (drives.length > 4) usage(`--drive: at most four were expected, got ${drives.length}`)
  return {
    memory,
    ...(engine === undefined ? {} : { engine }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(flags.bios === undefined ? {} : { bios: readFirmware(flags.bios) }),
    ...(flags['vga-bios'] === undefined ? {} : { vgaBios: readVideoBios(flags['vga-bios']) }),
    drives: drives.map((spec) => openDisk('drive', spec, snapshot)),
    ...(flags.floppy === undefined ? {} : { floppy: openFloppy(flags.floppy, snapshot) }),
    ...(boot === undefined ? {} : { bootOrder: boot }),
    ...(date === undefined ? {} : { date }),
  }
}

function parseModule(spec: string): MultibootModule {
  const [file, ...words] = spec.split('=')
  return { bytes: read(file!, 'module'), commandLine: words.join('=') }
}

interface Display {
  readonly kind: 'none' | 'text' | 'png'
  readonly file: string
}

function parseDisplay(spec: string): Display {
  if (spec === 'none' || spec === 'text') return { kind: spec, file: '' }
  if (spec.startsWith('png:') && spec.length > 4) return { kind: 'png', file: spec.slice(4) }
  return usage(`--display: none, text or png:FILE was expected, got '${spec}'`)
}

function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0
  if (!(seconds > 0)) usage(`--timeout: a positive number of seconds was expected, got '${text}'`)
  return seconds * 1000
}

/** What a timer of the host can hold: some 24 days. Longer limits are none. */
const LONGEST_TIMER = 0x7fffffff

/** A run as its flags describe it, everything checked that can be before it starts. */
interface Plan {
  readonly options: PcOptions
  readonly kernel: Uint8Array | undefined
  readonly modules: readonly MultibootModule[]
  readonly typing: readonly TypingStep[]
  readonly display: Display
  readonly timeoutMs: number
}

function plan(flags: Flags): Plan {
  if (flags.initrd !== undefined || flags.cdrom !== undefined) {
    usage('--initrd and --cdrom are for Linux and CDs, which this version does not start yet')
  }
  if (flags.kernel === undefined && flags.bios === undefined) {
    usage('nothing to start: --kernel FILE or --bios FILE was expected')
  }
  if (flags.kernel !== undefined && flags.bios !== undefined) {
    usage('--kernel starts without firmware: either --kernel or --bios was expected, got both')
  }
  if (flags.kernel === undefined && (flags.append !== undefined || flags.module !== undefined)) {
    usage('--append and --module go with --kernel, which is missing')
  }
  if (flags.until === '') usage('--until: a text to wait for was expected')
  const timeoutMs = flags.timeout === undefined ? Number.POSITIVE_INFINITY : parseTimeout(flags.timeout)
  const display = parseDisplay(flags.display ?? 'none')
  const typing = parseTyping(flags.type ?? '')
  const options = pcOptions(flags)
  const kernel = flags.kernel === undefined ? undefined : readKernel(flags.kernel)
  const modules = (flags.module ?? []).map(parseModule)
  if (display.kind === 'png') checkWritable(display.file)
  return { options, kernel, modules, typing, display, timeoutMs }
}

/** How a run ended beside what the machine says. */
interface Ending {
  readonly result: RunResult
  readonly satisfied: boolean
  readonly interrupted: boolean
  readonly failure: string | undefined
}

async function runToEnd(pc: Pc, flags: Flags, plan: Plan, outputs: readonly Output[]): Promise<Ending> {
  const shows = (text: string): boolean => pc.serial.text.includes(text) || pc.screen.text().join('\n').includes(text)
  const typist = new Typist(pc, plan.typing, shows)
  const satisfied = (): boolean =>
    (flags.until !== undefined && shows(flags.until)) || (flags['no-reboot'] === true && pc.resets > 0)
  const failure = (): string | undefined => outputs.find((output) => output.failure !== undefined)?.failure
  const stop = new AbortController()
  let interrupted = false
  const onSignal = (): void => {
    interrupted = true
    stop.abort()
  }
  process.once('SIGINT', onSignal)
  const timer = plan.timeoutMs <= LONGEST_TIMER ? setTimeout(() => stop.abort(), plan.timeoutMs) : undefined
  try {
    typist.advance()
    const result = await pc.run({
      signal: stop.signal,
      until: () => {
        typist.advance()
        return failure() !== undefined || satisfied()
      },
    })
    for (const output of outputs) output.flush()
    return { result, satisfied: satisfied(), interrupted, failure: failure() }
  } finally {
    process.removeListener('SIGINT', onSignal)
    clearTimeout(timer)
    for (const output of outputs) output.close()
    for (const disk of [...(plan.options.drives ?? []), plan.options.floppy]) disk?.flush()
  }
}

/** Runs the command; returns its exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    console.log(RUN_USAGE)
    return EXIT_POWER_OFF
  }
  const todo = plan(flags)
  const pc = new Pc({ ...todo.options, onTripleFault: 'stop' })
  if (todo.kernel !== undefined) {
    pc.loadMultiboot(todo.kernel, { commandLine: flags.append ?? '', modules: todo.modules })
  }
  const serial = new Output(flags.serial ?? 'stdio')
  const firmware = new Output(flags['firmware-log'] ?? 'none')
  pc.serial.onByte = serial.push
  pc.firmwareLog.onByte = firmware.push
  const started = Date.now()
  const ending = await runToEnd(pc, flags, todo, [serial, firmware])
  if (todo.display.kind === 'text') new Output('stdio').text(`${pc.screen.text().join('\n')}\n`)
  if (todo.display.kind === 'png') {
    try {
      writeFileSync(todo.display.file, encodePng(pc.screen.render()))
    } catch (error) {
      badFile(`'${todo.display.file}' cannot be written: ${reason(error)}`)
    }
  }
  if (flags.stats) console.error(statistics(pc, Date.now() - started))
  return status(ending)
}

function status(ending: Ending): number {
  const { result } = ending
  if (ending.failure !== undefined) badFile(ending.failure)
  if (ending.satisfied) return EXIT_POWER_OFF
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
