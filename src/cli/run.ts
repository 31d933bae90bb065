/** `virtkit run`. */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { BlockBackend } from '../contracts/index.js'
import { MODEL_NAMES, type ModelName } from '../cpu/index.js'
import { isMultiboot, OverlayDisk, Pc, type PcOptions, type RunResult } from '../machine/index.js'
import { encodePng, FileDisk } from '../node/index.js'
import {
  CommandError,
  EXIT_HALTED,
  EXIT_IMAGE,
  EXIT_POWER_OFF,
  EXIT_TIMEOUT,
  EXIT_TRIPLE_FAULT,
  EXIT_USAGE,
} from './exit-status.js'
import { statistics } from './statistics.js'

export const RUN_USAGE = `Usage: virtkit run [options]

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
  --type TEXT                   keys to type; \\n is Enter; {ms} waits that many virtual milliseconds
  --until TEXT                  end with status 0 once TEXT is on the screen or the serial line
  --timeout SECONDS             give up after that many seconds of host time
  --date ISO                    date of the real-time clock at power-on (default 2000-01-01)
  --no-reboot                   end with status 0 when the guest resets the machine
  --stats                       say what happened, on stderr`

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
    return parseArgs({ args: [...args], options: OPTIONS, strict: true }).values
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split('\n')[0]!
    throw new CommandError(EXIT_USAGE, `run: ${message.replace(/\.? To specify.*/, '')}`)
  }
}

function usage(message: string): never {
  throw new CommandError(EXIT_USAGE, `run: ${message}`)
}

/** Reads `512M`, `1G`, `65536K` or a number of bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMG]?)$/i.exec(text)
  if (!match) return usage(`--memory: a size such as 512M was expected, got '${text}'`)
  const unit = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[match[2]!.toUpperCase()]!
  return Number(match[1]) * unit
}

function read(file: string, what: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message
    throw new CommandError(EXIT_IMAGE, `run: ${what} '${file}' cannot be read: ${reason}`)
  }
}

function choice<T extends string>(flag: string, value: string | undefined, among: readonly T[]): T | undefined {
  if (value === undefined) return undefined
  if (!among.includes(value as T)) usage(`--${flag}: one of ${among.join(', ')} was expected, got '${value}'`)
  return value as T
}

/** A drive from `FILE[,readonly]`. */
function openDrive(spec: string, snapshot: boolean): BlockBackend {
  const [file, ...words] = spec.split(',')
  for (const word of words) {
    if (word !== 'readonly' && word !== 'format=raw') usage(`--drive: '${word}' is not known; readonly was expected`)
  }
  if (snapshot) return new OverlayDisk(new FileDisk(file!, { readOnly: true }))
  return new FileDisk(file!, { readOnly: words.includes('readonly') })
}

function pcOptions(flags: Flags): PcOptions {
  const snapshot = flags.snapshot === true
  const bios = flags.bios === undefined ? undefined : read(flags.bios, 'firmware')
  const vgaBios = flags['vga-bios'] === undefined ? undefined : read(flags['vga-bios'], 'video BIOS')
  const engine = choice('engine', flags.engine, ['threaded', 'reference'] as const)
  const cpu: ModelName | undefined = choice('cpu', flags.cpu, MODEL_NAMES)
  if (flags.boot !== undefined && !/^[acd]+$/.test(flags.boot)) usage(`--boot: letters a, c, d were expected, got '${flags.boot}'`)
  let date: number | undefined
  if (flags.date !== undefined) {
    date = Date.parse(flags.date)
    if (Number.isNaN(date)) usage(`--date: a date such as 2026-01-31T12:00:00Z was expected, got '${flags.date}'`)
  }
  return {
    memory: parseSize(flags.memory ?? '128M'),
    drives: (flags.drive ?? []).map((spec) => openDrive(spec, snapshot)),
    ...(engine === undefined ? {} : { engine }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(bios === undefined ? {} : { bios }),
    ...(vgaBios === undefined ? {} : { vgaBios }),
    ...(flags.floppy === undefined ? {} : { floppy: openDrive(flags.floppy, snapshot) }),
    ...(flags.boot === undefined ? {} : { bootOrder: flags.boot }),
    ...(date === undefined ? {} : { date }),
  }
}

/** Where bytes of a serial line go. */
function sink(spec: string): ((bytes: Uint8Array) => void) | undefined {
  if (spec === 'none') return undefined
  if (spec === 'stdio') return (bytes) => writeAll(1, bytes)
  let descriptor: number
  try {
    descriptor = openSync(spec, 'w')
  } catch (error) {
    throw new CommandError(EXIT_IMAGE, `run: '${spec}' cannot be written: ${(error as Error).message}`)
  }
  process.once('exit', () => closeSync(descriptor))
  return (bytes) => writeAll(descriptor, bytes)
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  let at = 0
  while (at < bytes.length) {
    try {
      at += writeSync(descriptor, bytes, at)
    } catch (error) {
      // A full pipe says EAGAIN; a reader that has gone away ends the output, not the guest.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
    }
  }
}

/** Collects bytes and hands them on in pieces. */
class Buffered {
  private bytes: number[] = []
  private readonly write: ((bytes: Uint8Array) => void) | undefined

  constructor(write: ((bytes: Uint8Array) => void) | undefined) {
    this.write = write
  }

  readonly push = (byte: number): void => {
    this.bytes.push(byte)
    if (byte === 10 || this.bytes.length > 4096) this.flush()
  }

  flush(): void {
    if (this.bytes.length > 0) this.write?.(Uint8Array.from(this.bytes))
    this.bytes = []
  }
}

function parseDisplay(spec: string): { kind: 'none' | 'text' | 'png'; file: string } {
  if (spec === 'none' || spec === 'text') return { kind: spec, file: '' }
  if (spec.startsWith('png:') && spec.length > 4) return { kind: 'png', file: spec.slice(4) }
  return usage(`--display: none, text or png:FILE was expected, got '${spec}'`)
}

/** Splits `--type` into pieces of text and pauses in virtual nanoseconds. */
function typing(text: string): (string | number)[] {
  return text
    .split(/(\{\d+\})/)
    .filter((piece) => piece !== '')
    .map((piece) => (/^\{\d+\}$/.test(piece) ? Number(piece.slice(1, -1)) * 1e6 : piece.replace(/\\n/g, '\n')))
}

function scheduleTyping(pc: Pc, text: string): void {
  let at = pc.clock.now()
  for (const piece of typing(text)) {
    if (typeof piece === 'number') at += piece
    else pc.clock.schedule(at, () => pc.board.ps2.type(piece))
  }
}

export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    console.log(RUN_USAGE)
    return EXIT_POWER_OFF
  }
  if (flags.initrd !== undefined || flags.cdrom !== undefined) {
    throw new CommandError(EXIT_USAGE, 'run: --initrd and --cdrom are for Linux and CDs, which this version does not start yet')
  }
  const seconds = flags.timeout === undefined ? Number.POSITIVE_INFINITY : Number(flags.timeout)
  if (!(seconds > 0)) usage(`--timeout: a number of seconds was expected, got '${flags.timeout}'`)
  const display = parseDisplay(flags.display ?? 'none')
  const options = pcOptions(flags)
  if (flags.kernel === undefined && flags.bios === undefined) {
    usage('nothing to start: --kernel FILE or --bios FILE is needed')
  }
  const kernel = flags.kernel === undefined ? undefined : read(flags.kernel, 'kernel')
  if (kernel !== undefined && !isMultiboot(kernel)) {
    throw new CommandError(EXIT_IMAGE, `run: kernel '${flags.kernel}': a Multiboot 1 header in the first 8 KiB was expected`)
  }
  const modules = (flags.module ?? []).map((spec) => {
    const [file, ...words] = spec.split('=')
    return { bytes: read(file!, 'module'), commandLine: words.join('=') }
  })
  const serial = new Buffered(sink(flags.serial ?? 'stdio'))
  const firmware = new Buffered(flags['firmware-log'] === undefined ? undefined : sink(flags['firmware-log']))

  const pc = new Pc({ ...options, onTripleFault: 'stop' })
  pc.serial.onByte = serial.push
  pc.firmwareLog.onByte = firmware.push
  if (kernel !== undefined) pc.loadMultiboot(kernel, { commandLine: flags.append ?? '', modules })
  if (flags.type !== undefined) scheduleTyping(pc, flags.type)

  const started = Date.now()
  const found = (): boolean =>
    flags.until !== undefined &&
    (pc.serial.text.includes(flags.until) || pc.screen.text().join('\n').includes(flags.until))
  let timedOut = false
  let satisfied = false
  const result = await pc.run({
    until: () => {
      timedOut = Date.now() - started > seconds * 1000
      satisfied = found() || (flags['no-reboot'] === true && pc.resets > 0)
      return timedOut || satisfied
    },
  })
  satisfied ||= found()
  serial.flush()
  firmware.flush()
  for (const drive of options.drives ?? []) drive?.flush()
  if (display.kind === 'text') console.log(pc.screen.text().join('\n'))
  if (display.kind === 'png') {
    try {
      writeFileSync(display.file, encodePng(pc.screen.render()))
    } catch (error) {
      throw new CommandError(EXIT_IMAGE, `run: '${display.file}' cannot be written: ${(error as Error).message}`)
    }
  }
  if (flags.stats) console.error(statistics(pc, Date.now() - started))
  return status(result, satisfied, timedOut)
}

function status(result: RunResult, satisfied: boolean, timedOut: boolean): number {
  if (satisfied) return EXIT_POWER_OFF
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
    default:
      if (timedOut) console.error('virtkit: the time limit has passed')
      return EXIT_TIMEOUT
  }
}

