import type { Pc } from '../machine/index.js'
import { exceptionName, hex } from './explanation.js'

/** How often one vector occurred. */
export interface VectorCount {
  readonly vector: number
  /** `#PF`, `vector 0x20`. */
  readonly name: string
  readonly count: number
}

/** What happened in a run: plain numbers. */
export interface RunSummary {
  readonly engine: string
  /** Instructions and event deliveries. */
  readonly instructions: number
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
  readonly tlbFlushes: number
  readonly portReads: number
  readonly portWrites: number
  readonly unmappedPorts: number
  readonly dmaTransfers: number
  readonly resets: number
  /** What the first processor's engine did, by name. */
  readonly engineCounters: Readonly<Record<string, number>>
}

interface Counters {
  readonly instructions: number
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

  constructor(pc: Pc, options: { readonly since?: 'now' | 'power-on' } = {}) {
    this.#pc = pc
    if (options.since !== 'power-on') this.restart()
  }

  /** Counts from here. */
  restart(): void {
    this.#start = read(this.#pc)
    this.#engineStart = this.#pc.cpu.engineCounters
  }

  /** What happened since the start. */
  summary(): RunSummary {
    const now = read(this.#pc)
    const start = this.#start
    const since = (key: Exclude<keyof Counters, 'exceptions' | 'interrupts'>): number => now[key] - (start?.[key] ?? 0)
    const engine = this.#pc.cpu.engineName
    return {
      engine,
      instructions: since('instructions'),
      virtualTime: since('virtualTime'),
      exceptions: vectors(now.exceptions, start?.exceptions, exceptionName),
      interrupts: vectors(now.interrupts, start?.interrupts, (vector) => `vector ${hex(vector, 2)}`),
      nmis: since('nmis'),
      tlbHits: engine === 'reference' ? since('lookups') - since('fills') : undefined,
      tlbMisses: since('fills'),
      codeTlbMisses: since('fetchFills'),
      tlbFlushes: since('flushes'),
      portReads: since('portReads'),
      portWrites: since('portWrites'),
      unmappedPorts: since('unmappedPorts'),
      dmaTransfers: since('dmaTransfers'),
      resets: since('resets'),
      engineCounters: difference(this.#pc.cpu.engineCounters, this.#engineStart),
    }
  }
}

function read(pc: Pc): Counters {
  const { stats } = pc.cpu
  const tlb = pc.cpu.memory.stats
  const ports = pc.board.ports.statistics
  return {
    instructions: pc.instructions,
    virtualTime: pc.clock.now(),
    exceptions: stats.exceptions.slice(),
    interrupts: stats.interrupts.slice(),
    nmis: stats.nmis,
    lookups: tlb.lookups,
    fills: tlb.fills,
    fetchFills: tlb.fetchFills,
    flushes: tlb.flushes,
    portReads: ports.reads,
    portWrites: ports.writes,
    unmappedPorts: ports.unmapped,
    dmaTransfers: pc.board.dma.transfers,
    resets: pc.resets,
  }
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

function byVector(name: string, counts: readonly VectorCount[]): string {
  const total = counts.reduce((sum, { count }) => sum + count, 0)
  const parts = counts.map((entry) => `${entry.name} ${grouped(entry.count)}`)
  return row(name, grouped(total)) + (parts.length === 0 ? '' : `  (${parts.join(', ')})`)
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
    row('TLB misses', grouped(s.tlbMisses)),
    row('TLB flushes', grouped(s.tlbFlushes)),
    row('code-page TLB misses', grouped(s.codeTlbMisses)),
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
  return lines.join('\n')
}
