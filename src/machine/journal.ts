/**
 * The input journal: everything that the host did to a machine, and where. A machine of the same settings that replays it from the same state goes
 * through the same run, bit for bit, on either engine.
 *
 * A journal is text, one JSON value per line: the header, the inputs in order, and, if the recording was finished, its end. Bytes are written as
 * text of characters U+0000 to U+00FF.
 */

import { VirtkitError } from '../contracts/index.js'
import type { HostInput, TakenInput } from './host-inputs.js'
import type { Pc, RunResult, StopReason } from './pc.js'

/** In the header of every journal. */
export const JOURNAL_FORMAT = 'virtkit-journal'
/** Version of the format. */
export const JOURNAL_VERSION = 1

/** What has to be the same in the machine that replays. Engines may differ: they give the same runs. */
export type MachineSettings = Readonly<Record<string, string | number | boolean | null>>

/** Where and how a recording ended. */
export interface JournalEnd {
  /** Instructions retired by all processors. */
  readonly instructions: number
  /** Virtual nanoseconds. */
  readonly time: number
  readonly reason: StopReason
}

/** A journal that was read. */
export interface Journal {
  readonly settings: MachineSettings
  /** Instructions retired when recording began: 0, or where the snapshot was taken. */
  readonly start: number
  readonly inputs: readonly TakenInput[]
  /** Undefined when the recording was cut off. */
  readonly end: JournalEnd | undefined
}

function bad(line: number, message: string): never {
  throw new VirtkitError('bad-state', `journal, line ${line}: ${message}`)
}

function toText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

function toBytes(line: number, text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0xff) bad(line, 'bytes are characters up to U+00FF')
    bytes[i] = code
  }
  return bytes
}

/** One line for one input. */
function inputLine({ instructions, time, input }: TakenInput): string {
  const { kind, ...rest } = input
  const plain = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, value instanceof Uint8Array ? toText(value) : value]),
  )
  return JSON.stringify({ at: [instructions, time], kind, ...plain })
}

/** Records what the host does to a machine from now on. */
export class JournalRecorder {
  private readonly pc: Pc
  private readonly write: (line: string) => void
  private readonly lines: string[] = []
  private finished = false

  /**
   * Begins; `onLine` gets each line (without its end) as soon as it is known, so that a file holds all that happened before a crash. Throws `busy` when the
   * machine is being recorded already.
   */
  constructor(pc: Pc, onLine?: (line: string) => void) {
    if (pc.inputs.onInput !== undefined)
      throw new VirtkitError('busy', 'the inputs of this machine are already recorded')
    this.pc = pc
    this.write = (line) => {
      if (onLine) onLine(line)
      else this.lines.push(line)
    }
    this.write(
      JSON.stringify({
        format: JOURNAL_FORMAT,
        version: JOURNAL_VERSION,
        start: pc.instructions,
        settings: pc.settings,
      }),
    )
    pc.inputs.onInput = (taken) => this.write(inputLine(taken))
  }

  /** Ends the recording; `result` is how the last run went. Ending twice does nothing. */
  finish(result: RunResult): void {
    if (this.finished) return
    this.finished = true
    this.pc.inputs.onInput = undefined
    this.pc.inputs.settle()
    this.write(JSON.stringify({ end: [this.pc.instructions, this.pc.clock.now()], reason: result.reason }))
  }

  /** The journal so far, unless its lines went elsewhere. */
  get text(): string {
    return this.lines.map((line) => `${line}\n`).join('')
  }
}

type Json = Readonly<Record<string, unknown>>

function parseLine(line: number, text: string): Json {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  } catch {
    // Told below.
  }
  return bad(line, 'a JSON object was expected')
}

function field<T extends 'number' | 'string' | 'boolean'>(
  line: number,
  value: Json,
  name: string,
  type: T,
): T extends 'number' ? number : T extends 'string' ? string : boolean {
  const got = value[name]
  if (typeof got !== type) bad(line, `${name}: a ${type} was expected`)
  return got as never
}

function place(line: number, value: unknown): [number, number] {
  const ok = Array.isArray(value) && value.length === 2
  const [instructions, time] = ok ? (value as unknown[]) : []
  if (
    !Number.isSafeInteger(instructions) ||
    (instructions as number) < 0 ||
    !Number.isFinite(time) ||
    (time as number) < 0
  ) {
    bad(line, 'a place, [instructions, nanoseconds], was expected')
  }
  return [instructions as number, time as number]
}

const REASONS: readonly StopReason[] = ['power-off', 'exit', 'triple-fault', 'halted', 'idle', 'budget', 'aborted']

function parseInput(line: number, value: Json): HostInput {
  const kind = field(line, value, 'kind', 'string') as HostInput['kind']
  switch (kind) {
    case 'serial':
      return { kind, bytes: toBytes(line, field(line, value, 'bytes', 'string')) }
    case 'type':
      return { kind, text: field(line, value, 'text', 'string') }
    case 'key':
      return { kind, code: field(line, value, 'code', 'string'), down: field(line, value, 'down', 'boolean') }
    case 'mouse-move':
      return { kind, dx: field(line, value, 'dx', 'number'), dy: field(line, value, 'dy', 'number') }
    case 'mouse-button':
      return { kind, button: field(line, value, 'button', 'number'), down: field(line, value, 'down', 'boolean') }
    case 'mouse-wheel':
      return { kind, detents: field(line, value, 'detents', 'number') }
    case 'network':
      return {
        kind,
        port: field(line, value, 'port', 'number'),
        frame: toBytes(line, field(line, value, 'frame', 'string')),
      }
    case 'power-button':
    case 'reset':
    case 'stop':
      return { kind }
    default:
      return bad(line, `there is no input '${String(kind)}'`)
  }
}

/**
 * Reads a journal. Throws `bad-state` when it is none, is of another version, or is damaged; a last line that was cut off in the middle is
 * ignored, since a recording may end at any moment.
 */
export function parseJournal(text: string): Journal {
  const lines = text.split('\n')
  // After the last line end comes nothing, or what was being written when the recording was cut off.
  lines.pop()
  const header = parseLine(1, lines[0] ?? text)
  if (header.format !== JOURNAL_FORMAT) bad(1, `the header of a ${JOURNAL_FORMAT} was expected`)
  if (header.version !== JOURNAL_VERSION) {
    bad(1, `version ${JOURNAL_VERSION} was expected, got ${JSON.stringify(header.version)}`)
  }
  const { settings } = header
  if (typeof settings !== 'object' || settings === null) bad(1, 'settings: an object was expected')
  const start = field(1, header, 'start', 'number')
  const inputs: TakenInput[] = []
  let end: JournalEnd | undefined
  let last: readonly [number, number] = [start, 0]
  lines.slice(1).forEach((written, n) => {
    const line = n + 2
    if (end !== undefined) bad(line, 'something follows the end')
    const value = parseLine(line, written)
    const [instructions, time] = place(line, value.at ?? value.end)
    if (instructions < last[0] || time < last[1]) bad(line, 'its place lies before that of the line before')
    last = [instructions, time]
    if (value.at !== undefined) inputs.push({ instructions, time, input: parseInput(line, value) })
    else {
      const reason = field(line, value, 'reason', 'string') as StopReason
      if (!REASONS.includes(reason)) bad(line, `a run does not end with '${reason}'`)
      end = { instructions, time, reason }
    }
  })
  return { settings: settings as MachineSettings, start, inputs, end }
}

/**
 * Makes a machine take a journal's inputs at their places as it runs. It must be set up as the recorded one was: from the same images, with the same
 * settings, loaded with the same kernel or snapshot. Where the recorded run was ended by its host, the replaying one ends with reason `aborted`. Throws `bad-state` when settings or the place in the run differ.
 */
export function replayJournal(pc: Pc, journal: Journal): void {
  const { settings } = pc
  const names = new Set([...Object.keys(settings), ...Object.keys(journal.settings)])
  for (const name of names) {
    const [was, is] = [journal.settings[name], settings[name]]
    if (was !== is) {
      throw new VirtkitError(
        'bad-state',
        `journal: it was recorded with ${name} ${JSON.stringify(was ?? null)}, this machine has ${JSON.stringify(is ?? null)}`,
      )
    }
  }
  if (pc.instructions !== journal.start) {
    throw new VirtkitError(
      'bad-state',
      `journal: it begins after ${journal.start} instructions, this machine has run ${pc.instructions}`,
    )
  }
  const { end } = journal
  // A run that the host ended is ended at the same place; others end by themselves.
  const stopped = end !== undefined && (end.reason === 'aborted' || end.reason === 'budget')
  pc.inputs.replay(
    stopped
      ? [...journal.inputs, { instructions: end.instructions, time: end.time, input: { kind: 'stop' } }]
      : journal.inputs,
  )
}
