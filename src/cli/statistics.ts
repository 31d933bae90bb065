/** A table of what happened in a run. */
import type { Pc } from '../machine/index.js'

const EXCEPTION_NAMES = [
  '#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', '', '#TS', '#NP', '#SS', '#GP', '#PF', '', '#MF', '#AC', '#MC', '#XM',
]

function row(name: string, value: string): string {
  return `  ${name.padEnd(22)}${value.padStart(16)}`
}

const grouped = (value: number): string => Math.round(value).toLocaleString('en-US').replace(/,/g, ' ')

function byNumber(counts: Float64Array, name: (n: number) => string): string {
  const parts: string[] = []
  counts.forEach((count, n) => {
    if (count > 0) parts.push(`${name(n)} ${grouped(count)}`)
  })
  return parts.length === 0 ? '' : `  (${parts.join(', ')})`
}

const sum = (counts: Float64Array): number => counts.reduce((total, count) => total + count, 0)

/** The table; `hostMs` is the host time the run took. */
export function statistics(pc: Pc, hostMs?: number): string {
  const { stats } = pc.cpu
  const tlb = pc.cpu.memory.stats
  const ports = pc.board.ports.statistics
  const lines = [
    row('instructions', grouped(pc.instructions)),
    row('virtual time', `${(pc.clock.now() / 1e6).toFixed(1)} ms`),
    row('exceptions', grouped(sum(stats.exceptions))) +
      byNumber(stats.exceptions, (n) => EXCEPTION_NAMES[n] || `vector ${n}`),
    row('interrupts', grouped(sum(stats.interrupts))) +
      byNumber(stats.interrupts, (n) => `vector 0x${n.toString(16)}`),
    row('TLB hits', pc.cpu.engineName === 'reference' ? grouped(tlb.lookups - tlb.fills) : 'not counted'),
    row('TLB misses', grouped(tlb.fills)),
    row('TLB flushes', grouped(tlb.flushes)),
    row('code-page TLB misses', grouped(tlb.fetchFills)),
    row('port reads', grouped(ports.reads)),
    row('port writes', grouped(ports.writes)),
    row('DMA transfers', grouped(pc.board.dma.transfers)),
  ]
  if (hostMs !== undefined) {
    lines.push(row('host time', `${(hostMs / 1000).toFixed(2)} s`))
    lines.push(row('speed', `${(pc.instructions / hostMs / 1000).toFixed(1)} MIPS`))
  }
  return [`what happened (${pc.cpu.engineName} engine):`, ...lines].join('\n')
}
