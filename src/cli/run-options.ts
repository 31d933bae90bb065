/** What `virtkit run` was asked to do: flags read and checked, files opened. */
import { readFileSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { BlockBackend } from '../contracts/index.js'
import { MODEL_NAMES, type ModelName } from '../cpu/index.js'
import {
  isLinux,
  isMultiboot,
  type Journal,
  type MultibootModule,
  OverlayDisk,
  type PcOptions,
  parseJournal,
} from '../machine/index.js'
import { cpioFromFolder, FileDisk } from '../node/index.js'
import { CommandError, EXIT_IMAGE, EXIT_USAGE } from './exit-status.js'
import { checkWritable, reason } from './output.js'
import { parseTyping, type TypingStep } from './typing.js'

export const RUN_USAGE: string = `Usage: virtkit run [options]

  --engine translated|threaded|reference   how instructions run (default threaded)
  --cpu MODEL                   ${MODEL_NAMES.join(', ')} (default x86-64-v2)
  --smp N                       processors (default 1)
  --memory SIZE                 RAM, with suffix K, M or G (default 128M)
  --bios FILE                   firmware image
  --vga-bios FILE               option ROM of the display
  --kernel FILE                 a Linux kernel (bzImage) or a Multiboot 1 kernel
  --initrd FILE|FOLDER          Linux: its initial RAM disk, or a folder to make one of
  --append STRING               the kernel's command line
  --entry 32|64                 Linux: enter in protected mode (default) or in 64-bit mode
  --module FILE[=STRING]        a Multiboot module; may be repeated
  --drive FILE[,readonly][,if=ide|virtio]
                                a raw disk image; up to four of IDE, the default, and eight of virtio
  --cdrom FILE                  a disc in a CD-ROM drive, which takes the place of the third disk
  --snapshot                    keep writes to disks in memory only
  --floppy FILE                 a raw floppy image
  --boot LETTERS                order for the firmware: a floppy, c disk, d CD
  --serial stdio|FILE|none      where the first serial port goes (default stdio, which also gives it its input)
  --firmware-log FILE           where debug port 0x402 goes
  --display none|text|png:FILE  what to show of the screen at the end (default none)
  --type TEXT                   keys to type; \\n is Enter; {500} waits 500 virtual milliseconds, {wait:TEXT} for a text
                                on the screen or the serial line
  --until TEXT                  end with status 0 once TEXT is on the screen or the serial line
  --timeout SECONDS             give up after that many seconds of host time
  --no-acpi                     do not describe the machine by ACPI tables
  --no-hpet                     leave the high-precision event timers out
  --pace virtual|host           how idle time passes: at once, or as on a clock (default host at a terminal)
  --date ISO                    date of the real-time clock at power-on (default 2000-01-01)
  --seed N                      seed of the machine's random numbers (default 1)
  --save FILE                   save the machine as it is at the end of the run
  --load FILE                   start from a saved machine: with the options, images and disks that it was made with
  --journal FILE                record every input, so that the run can be repeated
  --replay FILE                 repeat a recorded run: with the same images and kernel, and disks as they were then
  --no-reboot                   end with status 0 when the guest resets the machine
  --stats                       say what happened and where the time went, on stderr

At a terminal every key goes to the guest; Ctrl-A x ends the run, Ctrl-A h lists what else there is. Input from a pipe or
file is passed on as the guest takes it, once it has opened the serial line; its end ends nothing.

Exit status: 0 the guest powered off, or the user ended the run; odd: the guest's own, through isa-debug-exit; 2 wrong
usage; 4 unreadable, unwritable or malformed file; 6 a device failed; 70 triple fault; 72 halted with interrupts off;
124 time limit; 130 interrupted.`

const OPTIONS = {
  engine: { type: 'string' },
  cpu: { type: 'string' },
  smp: { type: 'string' },
  memory: { type: 'string' },
  bios: { type: 'string' },
  'vga-bios': { type: 'string' },
  kernel: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  entry: { type: 'string' },
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
  pace: { type: 'string' },
  date: { type: 'string' },
  seed: { type: 'string' },
  save: { type: 'string' },
  load: { type: 'string' },
  journal: { type: 'string' },
  replay: { type: 'string' },
  'no-acpi': { type: 'boolean' },
  'no-hpet': { type: 'boolean' },
  'no-reboot': { type: 'boolean' },
  stats: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

/** The flags as they were given. */
export type Flags = {
  readonly [K in keyof typeof OPTIONS]?:
    | ((typeof OPTIONS)[K] extends { multiple: true }
        ? string[]
        : (typeof OPTIONS)[K]['type'] extends 'boolean'
          ? boolean
          : string)
    | undefined
}

/** Reads the flags; what they mean is checked later. */
export function parseFlags(args: readonly string[]): Flags {
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

/** Ends the command because of a file. */
export function badFile(message: string): never {
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

function wholeNumber(flag: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) usage(`--${flag}: a number from ${min} to ${max} was expected, got '${text}'`)
  return value
}

/** A disk from `FILE[,readonly][,format=raw][,if=ide|virtio]`. */
function openDisk(flag: string, spec: string, snapshot: boolean, readOnly = false): BlockBackend {
  const [file, ...words] = spec.replace(/^file=/, '').split(',')
  for (const word of words) {
    const known = ['readonly', 'readonly=on', 'format=raw', ...(flag === 'drive' ? ['if=ide', 'if=virtio'] : [])]
    if (!known.includes(word)) {
      usage(`--${flag}: '${word}' is not known; readonly was expected`)
    }
  }
  if (!file) usage(`--${flag}: the name of a file was expected, got '${spec}'`)
  if (snapshot) return new OverlayDisk(new FileDisk(file, { readOnly: true }))
  return new FileDisk(file, { readOnly: readOnly || words.some((word) => word.startsWith('readonly')) })
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

/** A kernel of one of the kinds that start without firmware. */
export interface Kernel {
  readonly kind: 'linux' | 'multiboot'
  readonly bytes: Uint8Array
}

function readKernel(file: string): Kernel {
  const bytes = read(file, 'kernel')
  if (isLinux(bytes)) return { kind: 'linux', bytes }
  if (isMultiboot(bytes)) return { kind: 'multiboot', bytes }
  const expected = 'a Linux kernel (bzImage), or a Multiboot 1 header in the first 8 KiB, was expected'
  if (bytes[510] === 0x55 && bytes[511] === 0xaa) {
    badFile(`kernel '${file}': ${expected}; this is a boot sector: start it with --bios and --drive or --floppy`)
  }
  return badFile(`kernel '${file}': ${expected}`)
}

/** An initial RAM disk from a file, or made of a folder. */
function readInitrd(name: string): Uint8Array {
  let isFolder = false
  try {
    isFolder = statSync(name).isDirectory()
  } catch {
    // Reading it tells why.
  }
  return isFolder ? cpioFromFolder(name) : read(name, 'initial RAM disk')
}

function parseDate(text: string): number {
  const date = Date.parse(text)
  if (Number.isNaN(date)) usage(`--date: a date such as 2026-01-31T12:00:00Z was expected, got '${text}'`)
  return date
}

const isVirtio = (spec: string): boolean => spec.split(',').slice(1).includes('if=virtio')
/** As many as the PCI bus has room for beside other devices. */
const MOST_VIRTIO_DISKS = 8

function openVirtioDisks(flags: Flags, snapshot: boolean): BlockBackend[] {
  const specs = (flags.drive ?? []).filter(isVirtio)
  if (specs.length > MOST_VIRTIO_DISKS) {
    usage(`--drive: at most ${MOST_VIRTIO_DISKS} with if=virtio were expected, got ${specs.length}`)
  }
  return specs.map((spec) => openDisk('drive', spec, snapshot))
}

/** Disks in their four places; the CD-ROM drive has the third. */
function openDrives(flags: Flags, snapshot: boolean): (BlockBackend | undefined)[] {
  const specs = (flags.drive ?? []).filter((spec) => !isVirtio(spec))
  const most = flags.cdrom === undefined ? 4 : 3
  if (specs.length > most) {
    usage(`--drive: at most ${most === 4 ? 'four' : 'three besides --cdrom'} were expected, got ${specs.length}`)
  }
  const drives: (BlockBackend | undefined)[] = specs.map((spec) => openDisk('drive', spec, snapshot))
  if (flags.cdrom !== undefined && drives.length === 3) drives.splice(2, 0, undefined)
  return drives
}

/** A number that a journal was recorded with: what counts when no flag says otherwise. */
function recorded(journal: Journal | undefined, name: string): number | undefined {
  const value = journal?.settings[name]
  return typeof value === 'number' ? value : undefined
}

function pcOptions(flags: Flags, journal: Journal | undefined): PcOptions {
  const snapshot = flags.snapshot === true
  const engine = choice('engine', flags.engine, ['translated', 'threaded', 'reference'] as const)
  const was = journal?.settings.cpu
  const cpu: ModelName | undefined = choice('cpu', flags.cpu, MODEL_NAMES) ?? MODEL_NAMES.find((name) => name === was)
  const memory =
    flags.memory === undefined ? (recorded(journal, 'memory') ?? parseSize('128M')) : parseSize(flags.memory)
  const cpus = wholeNumber('smp', flags.smp, 1, 32) ?? recorded(journal, 'cpus')
  const seed = wholeNumber('seed', flags.seed, 0, 0xffffffff) ?? recorded(journal, 'seed')
  const order = journal?.settings.bootOrder
  const boot = flags.boot ?? (typeof order === 'string' ? order : undefined)
  if (boot !== undefined && !/^[acd]{1,3}$/.test(boot)) usage(`--boot: letters a, c, d were expected, got '${boot}'`)
  const virtioDisks = openVirtioDisks(flags, snapshot)
  const acpi = flags['no-acpi'] !== true && journal?.settings.acpi !== false
  const hpet = flags['no-hpet'] !== true && journal?.settings.hpet !== false
  const date = flags.date === undefined ? recorded(journal, 'date') : parseDate(flags.date)
  return {
    memory,
    ...(engine === undefined ? {} : { engine }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(seed === undefined ? {} : { seed }),
    ...(flags.bios === undefined ? {} : { bios: readFirmware(flags.bios) }),
    ...(flags['vga-bios'] === undefined ? {} : { vgaBios: readVideoBios(flags['vga-bios']) }),
    drives: openDrives(flags, snapshot),
    ...(virtioDisks.length === 0 ? {} : { virtio: { disks: virtioDisks } }),
    ...(acpi ? {} : { acpi }),
    ...(hpet ? {} : { hpet }),
    ...(flags.cdrom === undefined ? {} : { cdrom: openDisk('cdrom', flags.cdrom, false, true) }),
    ...(flags.floppy === undefined ? {} : { floppy: openFloppy(flags.floppy, snapshot) }),
    ...(boot === undefined ? {} : { bootOrder: boot }),
    ...(date === undefined ? {} : { date }),
  }
}

function parseModule(spec: string): MultibootModule {
  const [file, ...words] = spec.split('=')
  return { bytes: read(file!, 'module'), commandLine: words.join('=') }
}

/** What to show of the screen at the end. */
export interface Display {
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

/** A run as its flags describe it, everything checked that can be before it starts. */
export interface Plan {
  readonly options: PcOptions
  readonly kernel: Kernel | undefined
  readonly commandLine: string
  readonly initrd: Uint8Array | undefined
  readonly entry: '32' | '64'
  readonly modules: readonly MultibootModule[]
  readonly typing: readonly TypingStep[]
  readonly display: Display
  readonly timeoutMs: number
  /** Undefined: as it suits the input. */
  readonly pace: 'virtual' | 'host' | undefined
  readonly replay: Journal | undefined
  /** The file of a saved machine to start from. */
  readonly snapshot: Uint8Array | undefined
}

function readJournal(file: string): Journal {
  return parseJournal(new TextDecoder().decode(read(file, 'journal')))
}

/** Flags that only make sense together, or not together. */
function checkCombinations(flags: Flags): void {
  if (flags.kernel === undefined && flags.bios === undefined && flags.load === undefined) {
    usage('nothing to start: --kernel FILE, --bios FILE or --load FILE was expected')
  }
  if (flags.kernel !== undefined && flags.load !== undefined) {
    usage('a saved machine brings its kernel: either --kernel or --load was expected, got both')
  }
  if (flags.kernel !== undefined && flags.bios !== undefined) {
    usage('--kernel starts without firmware: either --kernel or --bios was expected, got both')
  }
  if (flags.kernel === undefined) {
    for (const flag of ['append', 'module', 'initrd', 'entry'] as const) {
      if (flags[flag] !== undefined) usage(`--${flag} goes with --kernel, which is missing`)
    }
  }
  if (flags.until === '') usage('--until: a text to wait for was expected')
  if (flags.replay !== undefined) {
    if (flags.journal !== undefined) usage('either --journal or --replay was expected, got both')
    if (flags.type !== undefined) usage('--replay brings its own input: --type was not expected')
  }
}

/** Reads every file that the flags name. Throws the command's error for what cannot be. */
export function plan(flags: Flags): Plan {
  checkCombinations(flags)
  const timeoutMs = flags.timeout === undefined ? Number.POSITIVE_INFINITY : parseTimeout(flags.timeout)
  const pace = choice('pace', flags.pace, ['virtual', 'host'] as const)
  const entry = choice('entry', flags.entry, ['32', '64'] as const) ?? '32'
  const display = parseDisplay(flags.display ?? 'none')
  const typing = parseTyping(flags.type ?? '')
  const replay = flags.replay === undefined ? undefined : readJournal(flags.replay)
  const options = pcOptions(flags, replay)
  const kernel = flags.kernel === undefined ? undefined : readKernel(flags.kernel)
  if (kernel?.kind === 'linux' && flags.module !== undefined) {
    usage('--module is for Multiboot kernels; Linux takes --initrd')
  }
  if (kernel?.kind === 'multiboot') {
    if (flags.initrd !== undefined) usage('--initrd is for Linux; a Multiboot kernel takes --module')
    if (flags.entry !== undefined) usage('--entry is for Linux; Multiboot has one entry')
  }
  const initrd = flags.initrd === undefined ? undefined : readInitrd(flags.initrd)
  const modules = (flags.module ?? []).map(parseModule)
  if (display.kind === 'png') checkWritable(display.file)
  if (flags.save !== undefined) checkWritable(flags.save)
  const snapshot = flags.load === undefined ? undefined : read(flags.load, 'snapshot')
  const commandLine = flags.append ?? ''
  return { options, kernel, commandLine, initrd, entry, modules, typing, display, timeoutMs, pace, replay, snapshot }
}
