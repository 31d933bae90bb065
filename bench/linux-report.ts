/** The parts of the report that are about Linux. */
import type { Panel } from './chart.js'
import {
  BOOT,
  type Comparison,
  type ContestantResult,
  comparisons,
  type LinuxResults,
  secondsOf,
  USERSPACE,
} from './linux-results.js'
import type { Kernel } from './peers.js'
import { median } from './statistics.js'

const KERNELS: readonly Kernel[] = ['686', 'amd64']
const TITLES: Readonly<Record<Kernel, string>> = { '686': 'i686', amd64: 'x86-64' }
const COLOURS = {
  v86: ['#d9480f', '#f4a582', '#fbd5c0'],
  qemu: ['#1c5fa8', '#92c5de', '#cfe4f0'],
} as const

/** A table; all columns but the first are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|---|${'---:|'.repeat(head.length - 1)}`, ...rows.map(line)].join('\n')
}

export const ratio = (value: number | undefined): string =>
  value === undefined || Number.isNaN(value) ? '–' : value.toFixed(2)

const heading = ({ ours, peer }: Comparison): string => `${ours.name.replace('virtkit ', '')} / ${peer.name}`

/** Colours of ratios against a peer: of the newest contestant first. */
export const coloursOf = (peer: 'v86' | 'qemu'): readonly string[] => COLOURS[peer]

function secondsTable(all: LinuxResults, kernel: Kernel, list: readonly Comparison[]): string {
  const here = all.results.filter((result) => result.kernel === kernel)
  const cell = (result: ContestantResult, row: string): string => {
    if (row === BOOT && result.key === 'native') return '–'
    const seconds = secondsOf(all.results, result, row)
    if (seconds === undefined) return 'failed'
    return row === BOOT ? seconds.toFixed(1) : seconds.toFixed(3)
  }
  const rows = [...all.workloads.map(({ name }) => name), BOOT].map((row) => [
    row === BOOT ? 'boot to userspace' : row,
    ...here.map((result) => cell(result, row)),
    ...list.map((comparison) => ratio(comparison.ratios.get(row))),
  ])
  if (all.workloads.length === 0) return table(['seconds', ...here.map(({ name }) => name), ...list.map(heading)], rows)
  rows.splice(-1, 0, [
    '**geometric mean of the workloads**',
    ...here.map(() => ''),
    ...list.map(({ mean, lacking }) =>
      lacking.length === 0 ? `**${ratio(mean)}**` : `**${ratio(mean)}** (${lacking.length} missing)`,
    ),
  ])
  return table(['seconds', ...here.map(({ name }) => name), ...list.map(heading)], rows)
}

function bootTable(all: LinuxResults, kernel: Kernel): string {
  const rows = all.results
    .filter((result) => result.kernel === kernel && result.key !== 'native')
    .map((result) => {
      const values = (mark: string, pick: 'elapsed' | 'processor'): string => {
        const list = result.runs.flatMap((run) => run.marks[mark]?.[pick] ?? [])
        return list.length === 0 ? 'failed' : median(list).toFixed(1)
      }
      const counts = result.runs.flatMap((run) => run.marks[USERSPACE]?.instructions ?? [])
      return [
        result.name,
        ...['first message', USERSPACE].flatMap((mark) => [values(mark, 'elapsed'), values(mark, 'processor')]),
        counts.length === 0 ? '–' : (median(counts) / 1e6).toFixed(0),
      ]
    })
  return table(
    ['boot, seconds', 'first message', '… processor', 'userspace', '… processor', 'million instructions'],
    rows,
  )
}

/** What the project set out to reach, and where it is. */
export function linuxTargets(all: LinuxResults): string[] {
  const lines: string[] = []
  const line = (what: string, limit: number, value: number | undefined, detail = ''): void => {
    const state =
      value === undefined || Number.isNaN(value) ? 'not measured' : value <= limit ? 'reached' : '**not reached**'
    lines.push(`- ${what}: at most ${limit}; ${state}${value === undefined ? '' : ` at ${ratio(value)}`}${detail}.`)
  }
  for (const kernel of KERNELS) {
    for (const comparison of comparisons(all, kernel)) {
      const { peer, ours, mean, worst, lacking } = comparison
      const who = `${ours.name} against ${peer.name}, ${TITLES[kernel]}`
      const missing = lacking.length === 0 ? '' : ` without ${lacking.join(', ')}`
      if (peer.key === 'v86') {
        const above = [...comparison.ratios].filter(
          ([row, value]) => row !== BOOT && value !== undefined && value > 0.7,
        )
        const names = above.map(([row]) => row).join(', ')
        if (all.workloads.length > 0) {
          line(`${who}, every workload`, 0.7, worst?.[1], above.length === 0 ? '' : ` (above it: ${names})`)
          line(`${who}, geometric mean`, 0.5, mean, missing)
        }
        line(`${who}, boot to userspace`, 0.7, comparison.ratios.get(BOOT))
      } else {
        if (all.workloads.length > 0) line(`${who}, geometric mean`, 1.5, mean, missing)
        if (kernel === 'amd64') line(`${who}, boot to userspace`, 1.5, comparison.ratios.get(BOOT))
      }
    }
  }
  return lines
}

/** What others used of the machine meanwhile. */
export function othersOf(all: LinuxResults): string {
  const shares = all.results.flatMap((result) => result.runs.flatMap((run) => run.others ?? []))
  if (shares.length === 0) return 'what else the machine did meanwhile is not known'
  const percent = (n: number): string => `${(n * 100).toFixed(0)} %`
  return `other programs used ${percent(median(shares))} of the processors during a run in the median, at most ${percent(Math.max(...shares))}`
}

/** The tables of both kernels. */
export function linuxSections(all: LinuxResults): string[] {
  const boots = all.workloads.length === 0
  const parts = [
    boots ? '## Booting Linux' : '## Workloads on Linux',
    [
      "Debian's kernels boot with an initial RAM disk whose only program is `bench/workloads`",
      boots ? '.' : '; every workload runs in a process of its own. ',
      boots
        ? ''
        : "Times are elapsed seconds on the host from the byte that the guest sends as a workload begins to the one as it ends, natively those of the program's clock. The checksums of all workloads that are shown equal the native ones.",
      ' Boot times run from the start of the machine to "Run /init"; processor time is that of the whole process with its compiler threads. v86 and QEMU start their firmware first, and v86\'s guest waits in real time.',
      ` Medians of ${all.rounds}; every run is a process of its own, the contestants take turns in going first. A ratio below 1 says that virtkit is faster. Guests: ${all.memory >> 20} MiB, one processor, \`${all.commandLine}\`; ${all.compiler}.`,
    ].join(''),
  ]
  for (const kernel of KERNELS) {
    if (!all.results.some((result) => result.kernel === kernel)) continue
    parts.push(`### ${TITLES[kernel]}`, secondsTable(all, kernel, comparisons(all, kernel)), bootTable(all, kernel))
  }
  if (!boots) {
    const rows = all.workloads.map(({ name, what }) => [name, what])
    parts.push('### The workloads', table(['name', 'what it does'], rows).replace('---:', '---'))
  }
  const options = Object.entries(all.options).map(([name, value]) => `- ${name}: \`${value}\``)
  return [...parts, '### Options', options.join('\n')]
}

/** What the picture shows of Linux. */
export function linuxPanels(all: LinuxResults): Panel[] {
  return KERNELS.flatMap((kernel): Panel[] => {
    const list = comparisons(all, kernel)
    if (list.length === 0) return []
    const names = all.workloads.map(({ name }) => name)
    // The engine named last has the full colour.
    const seen = { v86: 0, qemu: 0 }
    const series = [...list].reverse().map((comparison) => {
      const peer = comparison.peer.key === 'v86' ? 'v86' : 'qemu'
      const shades = coloursOf(peer)
      const mean = Number.isNaN(comparison.mean) ? undefined : comparison.mean
      return {
        label: heading(comparison),
        colour: shades[Math.min(seen[peer]++, shades.length - 1)]!,
        values: [
          ...names.map((name) => comparison.ratios.get(name)),
          ...(names.length > 0 ? [mean] : []),
          comparison.ratios.get(BOOT),
        ],
      }
    })
    const means = names.length > 0 ? ['geometric mean'] : []
    return [{ title: `Linux, ${TITLES[kernel]}`, rows: [...names, ...means, 'boot'], series }]
  })
}
