import { COUNTER_IN_REGIONS, type ProfilePart, type ProfileShare } from '../cpu/index.js'
import type { Pc } from '../machine/index.js'
import { exceptionName, hex } from './explanation.js'

/** How often one vector occurred. */
export interface VectorCount {
  readonly vector: number
  /** `#PF`, `vector 0x20`. */
  readonly name: string
  readonly count: number
}

/** How instructions ran: the four add up to all of them. */
export interface InstructionWays {
  /** In translated regions; undefined where they are not told from blocks, which takes a machine with the option `profile`. */
  readonly regions: number | undefined
  /** In compiled blocks, and in regions where those are not told from them. */
  readonly blocks: number
  /** One at a time: helpers, faults, and whatever compiled code leaves to the reference engine. */
  readonly stepped: number
  /** Deliveries of interrupts, traps and other events, each of which counts as one. */
  readonly events: number
}

/** What happened in a run, on all processors: plain numbers. */
export interface RunSummary {
  readonly engine: string
  /** Instructions and event deliveries. */
  readonly instructions: number
  readonly instructionWays: InstructionWays
  /** Virtual nanoseconds. */
  readonly virtualTime: number
  readonly exceptions: readonly VectorCount[]
  readonly interrupts: readonly VectorCount[]
  readonly nmis: number
  /**
   * Data accesses that the TLB answered; undefined where the engine finds hits in compiled code, which does not count
   * them.
   */
  readonly tlbHits: number | undefined
  readonly tlbMisses: number
  /** Misses of instruction fetches. */
  readonly codeTlbMisses: number
  /** Misses of data accesses per 1000 instructions. Compiled code does not count its look-ups, so that no rate of these is known. */
  readonly tlbMissRate: number
  /** Misses of instruction fetches per 1000 instructions. */
  readonly codeTlbMissRate: number
  readonly tlbFlushes: number
  readonly portReads: number
  readonly portWrites: number
  readonly unmappedPorts: number
  readonly dmaTransfers: number
  readonly resets: number
  /** What the engine did, by name. */
  readonly engineCounters: Readonly<Record<string, number>>
  /** Where the time went; undefined for a machine without the option `profile`. */
  readonly profile: readonly ProfileShare[] | undefined
}

interface Counters {
  readonly instructions: number
  readonly compiled: number
  readonly stepped: number
  readonly virtualTime: number
  readonly exceptions: Float64Array
  readonly interrupts: Float64Array
  readonly nmis: number
  readonly lookups: number
  readonly fills: number
  readonly fetchFills: number
  readonly flushes: number
  readonly portReads: number
  readonly portWrites: number
  readonly unmappedPorts: number
  readonly dmaTransfers: number
  readonly resets: number
}

/**
 * Counts what a machine does, from when it is made, or from power-on. The machine counts anyway; this reads the
 * differences, so it costs nothing while
 * the machine runs.
 *
 * ```ts
 * const statistics = new RunStatistics(pc)
 * pc.runSync(1e6)
 * console.log(statistics.summary().exceptions)
 * ```
 */
export class RunStatistics {
  readonly #pc: Pc
  #start: Counters | undefined
  #engineStart: Readonly<Record<string, number>> = {}
  #profileStart: readonly ProfileShare[] | undefined

  constructor(pc: Pc, options: { readonly since?: 'now' | 'power-on' } = {}) {
    this.#pc = pc
    if (options.since !== 'power-on') this.restart()
  }

  /** Counts from here. */
  restart(): void {
    this.#start = read(this.#pc)
    this.#engineStart = engineCounters(this.#pc)
    this.#profileStart = this.#pc.profiler?.shares()
  }

  /** What happened since the start. */
  summary(): RunSummary {
    const now = read(this.#pc)
    const start = this.#start
    const since = (key: Exclude<keyof Counters, 'exceptions' | 'interrupts'>): number => now[key] - (start?.[key] ?? 0)
    const engine = this.#pc.cpu.engineName
    const counters = difference(engineCounters(this.#pc), this.#engineStart)
    const { [COUNTER_IN_REGIONS]: regions, ...others } = counters
    const instructions = since('instructions')
    const perThousand = (misses: number): number => (instructions === 0 ? 0 : (misses / instructions) * 1000)
    return {
      engine,
      instructions,
      instructionWays: {
        regions,
        blocks: since('compiled') - (regions ?? 0),
        stepped: since('stepped'),
        events: instructions - since('compiled') - since('stepped'),
      },
      virtualTime: since('virtualTime'),
      exceptions: vectors(now.exceptions, start?.exceptions, exceptionName),
      interrupts: vectors(now.interrupts, start?.interrupts, (vector) => `vector ${hex(vector, 2)}`),
      nmis: since('nmis'),
      tlbHits: engine === 'reference' ? since('lookups') - since('fills') : undefined,
      tlbMisses: since('fills'),
      codeTlbMisses: since('fetchFills'),
      tlbMissRate: perThousand(since('fills')),
      codeTlbMissRate: perThousand(since('fetchFills')),
      tlbFlushes: since('flushes'),
      portReads: since('portReads'),
      portWrites: since('portWrites'),
      unmappedPorts: since('unmappedPorts'),
      dmaTransfers: since('dmaTransfers'),
      resets: since('resets'),
      engineCounters: others,
      profile: this.#pc.profiler?.shares().map(({ part, time, entries }, n) => {
        const before = this.#profileStart?.[n]
        return { part, time: time - (before?.time ?? 0), entries: entries - (before?.entries ?? 0) }
      }),
    }
  }
}

function read(pc: Pc): Counters {
  const ports = pc.board.ports.statistics
  const sum = (count: (cpu: Pc['cpu']) => number): number => pc.cpus.reduce((total, cpu) => total + count(cpu), 0)
  const sums = (count: (cpu: Pc['cpu']) => Float64Array): Float64Array =>
    count(pc.cpu).map((_, n) => sum((cpu) => count(cpu)[n]!))
  return {
    instructions: pc.instructions,
    compiled: sum(({ stats }) => stats.compiled),
    stepped: sum(({ stats }) => stats.stepped),
    virtualTime: pc.clock.now(),
    exceptions: sums(({ stats }) => stats.exceptions),
    interrupts: sums(({ stats }) => stats.interrupts),
    nmis: sum(({ stats }) => stats.nmis),
    lookups: sum(({ memory }) => memory.stats.lookups),
    fills: sum(({ memory }) => memory.stats.fills),
    fetchFills: sum(({ memory }) => memory.stats.fetchFills),
    flushes: sum(({ memory }) => memory.stats.flushes),
    portReads: ports.reads,
    portWrites: ports.writes,
    unmappedPorts: ports.unmapped,
    dmaTransfers: pc.board.dma.transfers,
    resets: pc.resets,
  }
}

/** What the engines of all processors did. */
function engineCounters(pc: Pc): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { engineCounters } of pc.cpus) {
    for (const [name, count] of Object.entries(engineCounters)) sums[name] = (sums[name] ?? 0) + count
  }
  return sums
}

/** Counts since the start; `bytes of code now` and its like are not sums. */
function difference(
  now: Readonly<Record<string, number>>,
  start: Readonly<Record<string, number>>,
): Record<string, number> {
  const result: Record<string, number> = {}
  for (const [name, count] of Object.entries(now))
    result[name] = name.endsWith(' now') ? count : count - (start[name] ?? 0)
  return result
}

function vectors(now: Float64Array, start: Float64Array | undefined, name: (vector: number) => string): VectorCount[] {
  const counts: VectorCount[] = []
  now.forEach((total, vector) => {
    const count = total - (start?.[vector] ?? 0)
    if (count > 0) counts.push({ vector, name: name(vector), count })
  })
  return counts
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(22)}${value.padStart(16)}`
}

const grouped = (value: number): string =>
  Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ')

const perThousand = (rate: number): string => `  (${rate.toFixed(3)} per 1000 instructions)`

function byVector(name: string, counts: readonly VectorCount[]): string {
  const total = counts.reduce((sum, { count }) => sum + count, 0)
  const parts = counts.map((entry) => `${entry.name} ${grouped(entry.count)}`)
  return row(name, grouped(total)) + (parts.length === 0 ? '' : `  (${parts.join(', ')})`)
}

/** What the table calls the parts, in its order. */
const PART_NAMES: Readonly<Record<ProfilePart, string>> = {
  compiled: 'compiled code',
  dispatch: 'between blocks',
  lifting: 'lifting',
  emission: 'translation: emission',
  modules: 'translation: modules',
  mmu: 'MMU slow path',
  helpers: 'helpers',
  steps: 'single steps',
  events: 'interrupts, events',
  devices: 'devices',
  machine: 'other: the machine',
  outside: 'other: the host',
}

function timeTable(shares: readonly ProfileShare[]): string[] {
  const total = shares.reduce((sum, { time }) => sum + time, 0)
  const line = (name: string, time: number, rest: string): string => {
    const share = total === 0 ? 0 : (time / total) * 100
    return `${row(name, `${(time / 1000).toFixed(3)} s`)}${`${share.toFixed(1)} %`.padStart(9)}${rest}`
  }
  const byPart = new Map(shares.map((share) => [share.part, share]))
  return [
    'where the time went:',
    ...Object.entries(PART_NAMES).map(([part, name]) => {
      const { time, entries } = byPart.get(part as ProfilePart)!
      return line(name, time, part === 'outside' ? '' : `${grouped(entries).padStart(14)} times`)
    }),
    line('sum', total, ''),
  ]
}

function waysTable(summary: RunSummary): string[] {
  const { regions, blocks, stepped, events } = summary.instructionWays
  const line = (name: string, count: number): string => {
    const share = summary.instructions === 0 ? 0 : (count / summary.instructions) * 100
    return `${row(name, grouped(count))}${`${share.toFixed(1)} %`.padStart(9)}`
  }
  return [
    'how instructions ran:',
    ...(regions === undefined ? [] : [line('in regions', regions)]),
    line('in blocks', blocks),
    line('one at a time', stepped),
    line('events', events),
  ]
}

/** A table of a run; `hostMs` is the host time that it took, in milliseconds. */
export function formatRunSummary(summary: RunSummary, hostMs?: number): string {
  const s = summary
  const lines = [
    `what happened (${s.engine} engine):`,
    row('instructions', grouped(s.instructions)),
    row('virtual time', `${(s.virtualTime / 1e6).toFixed(1)} ms`),
    byVector('exceptions', s.exceptions),
    byVector('interrupts', s.interrupts),
    row('TLB hits', s.tlbHits === undefined ? 'not counted' : grouped(s.tlbHits)),
    row('TLB misses', grouped(s.tlbMisses)) + perThousand(s.tlbMissRate),
    row('TLB flushes', grouped(s.tlbFlushes)),
    row('code-page TLB misses', grouped(s.codeTlbMisses)) + perThousand(s.codeTlbMissRate),
    row('port reads', grouped(s.portReads)),
    row('port writes', grouped(s.portWrites)),
    row('DMA transfers', grouped(s.dmaTransfers)),
  ]
  if (s.nmis > 0) lines.push(row('NMIs', grouped(s.nmis)))
  if (s.resets > 0) lines.push(row('resets', grouped(s.resets)))
  for (const [name, count] of Object.entries(s.engineCounters)) lines.push(row(name, grouped(count)))
  if (hostMs !== undefined) {
    lines.push(row('host time', `${(hostMs / 1000).toFixed(2)} s`))
    lines.push(row('speed', `${(s.instructions / hostMs / 1000).toFixed(1)} MIPS`))
  }
  if (s.profile !== undefined) lines.push(...waysTable(s), ...timeTable(s.profile))
  return lines.join('\n')
}
