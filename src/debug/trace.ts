import { type EventSink, VirtkitError } from '../contracts/index.js'
import { type Cpu, MODE_CODE_MASK, MODE_CODE16, MODE_CODE32 } from '../cpu/index.js'
import { DECODE, decode, disassemble, Instruction, SEGMENT_NAMES } from '../isa/index.js'
import { exceptionName, hex } from './explanation.js'
import { catchPageFault, processorView, TableReader } from './processor-view.js'

/** A machine that can be single-stepped: `Pc` is one. */
export interface Steppable {
  readonly cpu: Cpu
  /** Runs up to `budget` instructions. Without it the bare CPU runs, and no device sees time pass. */
  runSync?(budget: number): { readonly reason: string }
}

/** A register that a step changed. */
export interface RegisterChange {
  /** `rax`, `flags`, `cs`, `cr3`, …: 64-bit names in every mode. */
  readonly name: string
  readonly before: bigint
  readonly after: bigint
}

/** A data access of a step. */
export interface TracedAccess {
  readonly linear: number
  readonly size: number
  readonly write: boolean
}

/** One step of a trace: an instruction, or the delivery of an interrupt between two of them. */
export interface TraceStep {
  readonly kind: 'instruction' | 'interrupt'
  /** Selector and offset at which the step began. */
  readonly cs: number
  readonly ip: number
  readonly linear: number
  /** The instruction's bytes; empty for an interrupt, or when they cannot be read. */
  readonly bytes: Uint8Array
  /** Intel syntax, or what interrupted. */
  readonly text: string
  /** The exception that the instruction raised, if any. */
  readonly exception: number | undefined
  readonly changes: readonly RegisterChange[]
  readonly accesses: readonly TracedAccess[]
}

/** A trace. */
export interface Trace {
  readonly steps: readonly TraceStep[]
  /** Why it ended: `count`, or what ended the run (`halted`, `power-off`, `triple-fault`, `shutdown`, …). */
  readonly reason: string
}

/** Options of {@link traceInstructions}. */
export interface TraceOptions {
  /** Receives `instruction` and `memory` events as well. */
  readonly events?: EventSink
}

const GENERAL: readonly string[] = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ')
const MAX_LENGTH = 15

/**
 * Runs `count` instructions one at a time and tells what each was and changed. The guest sees nothing of it: code is
 * looked at without touching
 * accessed flags, TLBs or devices.
 * @throws VirtkitError `bad-argument` for a count below 1 or above a million
 */
export function traceInstructions(machine: Steppable, count: number, options: TraceOptions = {}): Trace {
  if (!Number.isInteger(count) || count < 1 || count > 1_000_000) {
    throw new VirtkitError('bad-argument', `a trace has 1 to 1000000 steps, got ${count}`)
  }
  const steps: TraceStep[] = []
  for (let i = 0; i < count; i++) {
    const retired = machine.cpu.instructions
    const { step, reason } = traceStep(machine, options.events)
    if (machine.cpu.instructions !== retired) steps.push(step)
    else return { steps, reason }
    if (reason !== 'budget') return { steps, reason }
  }
  return { steps, reason: 'count' }
}

function traceStep(machine: Steppable, events: EventSink | undefined): { step: TraceStep; reason: string } {
  const { cpu } = machine
  const { s } = cpu
  const cs = s.selector(1)
  const ip = s.rip
  const linear = (s.mode & MODE_CODE_MASK) <= MODE_CODE32 ? (s.segBase(1) + ip) % 2 ** 32 : ip
  const { bytes, text } = look(cpu, linear, ip)
  const before = registers(cpu)
  const counts = eventCounts(cpu)
  if (events?.wants('instruction')) events.emit('instruction', { ip, linear, text })
  const accesses: TracedAccess[] = []
  // Data breakpoints have the same hook; they stay served.
  const previous = cpu.mem.watcher
  cpu.mem.watcher = {
    dataAccess(at, size, write) {
      if (accesses.length < 4096) accesses.push({ linear: at, size, write })
      previous?.dataAccess(at, size, write)
    },
  }
  const own = cpu.mem.watcher
  let reason: string
  try {
    reason = machine.runSync ? machine.runSync(1).reason : cpu.run(1)
  } finally {
    if (cpu.mem.watcher === own) cpu.mem.watcher = previous
  }
  if (events?.wants('memory')) {
    for (const { linear: at, size, write } of accesses) {
      events.emit('memory', { direction: write ? 'write' : 'read', linear: at, size })
    }
  }
  const after = registers(cpu)
  const changes: RegisterChange[] = []
  before.forEach(([name, value], n) => {
    const now = after[n]![1]
    if (name !== 'rip' && now !== value) changes.push({ name, before: value, after: now })
  })
  const now = eventCounts(cpu)
  const interrupt = now.interrupts.findIndex((n, vector) => n !== counts.interrupts[vector])
  const nmi = now.nmis !== counts.nmis
  const raised = now.exceptions.findIndex((n, vector) => n !== counts.exceptions[vector])
  const common = { cs, ip, linear, changes, accesses }
  if (interrupt >= 0 || nmi) {
    const what = nmi ? 'NMI' : `interrupt, vector ${hex(interrupt, 2)}`
    return {
      reason,
      step: { kind: 'interrupt', ...common, bytes: new Uint8Array(0), text: `(${what})`, exception: undefined },
    }
  }
  return { reason, step: { kind: 'instruction', ...common, bytes, text, exception: raised < 0 ? undefined : raised } }
}

/** The instruction at a linear address. */
function look(cpu: Cpu, linear: number, ip: number): { bytes: Uint8Array; text: string } {
  const reader = new TableReader(processorView({ cpu }))
  const window: number[] = []
  catchPageFault(() => {
    for (let i = 0; i < MAX_LENGTH; i++) window.push(reader.read8(linear + i))
  })
  const bytes = Uint8Array.from(window)
  if (bytes.length === 0) return { bytes, text: '(not readable)' }
  const mode = cpu.s.mode & MODE_CODE_MASK
  const insn = new Instruction()
  const ok =
    decode(bytes, 0, bytes.length, mode === MODE_CODE16 ? 16 : mode === MODE_CODE32 ? 32 : 64, insn) === DECODE.ok
  return {
    bytes: bytes.slice(0, insn.length),
    text: ok ? disassemble(insn, ip) : '(invalid)',
  }
}

function registers(cpu: Cpu): [string, bigint][] {
  const { s } = cpu
  const result: [string, bigint][] = GENERAL.map((name, n) => [name, s.getBig(n * 8)])
  result.push(['rip', BigInt(s.rip)], ['flags', BigInt(s.flags >>> 0)])
  SEGMENT_NAMES.forEach((name, n) => {
    result.push([name, BigInt(s.selector(n))])
  })
  result.push(
    ['cr0', BigInt(s.cr0 >>> 0)],
    ['cr2', BigInt(s.cr2)],
    ['cr3', BigInt(s.cr3)],
    ['cr4', BigInt(s.cr4 >>> 0)],
  )
  return result
}

function eventCounts(cpu: Cpu): { interrupts: Float64Array; exceptions: Float64Array; nmis: number } {
  const { interrupts, exceptions, nmis } = cpu.stats
  return { interrupts: interrupts.slice(), exceptions: exceptions.slice(), nmis }
}

/** One line per step: address, bytes, instruction, changes. */
export function formatTrace(trace: Trace): string {
  const lines = trace.steps.map(({ cs, ip, bytes, text, changes, exception }) => {
    const code = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const at = `${cs.toString(16).padStart(4, '0')}:${hex(ip, 8).slice(2)}`
    const changed = changes.map(({ name, after }) => `${name}=${BigInt.asUintN(64, after).toString(16)}`)
    if (exception !== undefined) changed.unshift(exceptionName(exception))
    return `${at}  ${code.padEnd(24)} ${text.padEnd(32)} ${changed.join(' ')}`.trimEnd()
  })
  return [...lines, `(${trace.reason})`].join('\n')
}
