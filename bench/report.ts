/** The report of `npm run bench`: Markdown and a picture. */
import { drawChart } from './chart.js'
import { linuxPanels, linuxSections, linuxTargets, othersOf } from './linux-report.js'
import { failures, type LinuxResults } from './linux-results.js'
import { type LoopResults, loopPanels, loopSections } from './loop-runs.js'
import type { MachineFacts } from './peers.js'

/** Everything: what the JSON file holds. */
export interface BenchResults {
  readonly machine: MachineFacts
  /** Load average at the end. */
  readonly loadAfter: number
  /** How the benchmark was started. */
  readonly command: string
  readonly linux?: LinuxResults
  readonly loops?: LoopResults
}

/** The page; `picture` is the name of the picture's file. */
export function benchMarkdown(all: BenchResults, picture: string): string {
  const { machine, linux, loops } = all
  const others = linux === undefined ? '' : `; ${othersOf(linux)}`
  const parts = [
    '# Benchmarks',
    `\`${all.command}\`, ${machine.date}; ${machine.processors} × ${machine.processor}, ${machine.memory} GiB, ${machine.system}; load average ${machine.load} before and ${all.loadAfter} after${others}. Node ${machine.node}, v86 ${machine.v86}, QEMU ${machine.qemu}.`,
    `![Ratios of times](${picture})`,
  ]
  const bad = linux === undefined ? [] : [...failures(linux), ...linux.absent]
  if (bad.length > 0) parts.push('## Failures', bad.map((text) => `- ${text}`).join('\n'))
  const goals = linux === undefined ? [] : linuxTargets(linux)
  if (goals.length > 0) parts.push('## Targets', goals.join('\n'))
  if (linux !== undefined) parts.push(...linuxSections(linux))
  if (loops !== undefined) parts.push(...loopSections(loops))
  return `${parts.join('\n\n')}\n`
}

/** The picture. */
export function benchChart({ machine, linux, loops }: BenchResults): string {
  const rounds = linux?.rounds ?? loops?.rounds ?? 0
  return drawChart({
    title: 'Time of virtkit by time of the peer',
    note: `Left of 1: virtkit is faster. Median of ${rounds}; ${machine.processor}, Node ${machine.node}, v86 ${machine.v86}, QEMU ${machine.qemu.split(' ')[0]}.`,
    panels: [...(linux === undefined ? [] : linuxPanels(linux)), ...(loops === undefined ? [] : loopPanels(loops))],
  })
}
