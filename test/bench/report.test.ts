import { describe, expect, it } from 'vitest'
import { drawChart, logDomain, logTicks } from '../../bench/chart.js'
import {
  BOOT,
  type ContestantResult,
  type ContestantRun,
  compare,
  failureOf,
  failures,
  type LinuxResults,
  secondsOf,
} from '../../bench/linux-results.js'
import { type LoopResults, loopSections } from '../../bench/loop-runs.js'
import type { Kernel } from '../../bench/peers.js'
import { type BenchResults, benchChart, benchMarkdown } from '../../bench/report.js'

const NAMES = ['alpha', 'beta']

function run(
  alpha: number,
  beta: number,
  boot: number,
  sums: readonly string[] = ['0000000a', '0000000b'],
): ContestantRun {
  const workload = (seconds: number, checksum: string) => ({ seconds, guest: seconds, processor: seconds, checksum })
  return {
    round: 0,
    marks: { userspace: { elapsed: boot, processor: boot } },
    workloads: { alpha: workload(alpha, sums[0]!), beta: workload(beta, sums[1]!) },
    failures: {},
  }
}

const contestant = (key: string, runs: readonly ContestantRun[], kernel: Kernel = '686'): ContestantResult => ({
  key,
  name: key.replace(':', ' '),
  kernel,
  runs,
})

/** The whole report of some results. */
const whole = (linux: LinuxResults | undefined, loops?: LoopResults): BenchResults => ({
  machine: {
    date: '2026-01-01',
    processor: 'A & B <fast>',
    processors: 2,
    memory: 4,
    system: 'linux',
    node: 'v20',
    v86: '0.5',
    qemu: '7.2',
    load: 0.1,
  },
  loadAfter: 0.2,
  command: 'npm run bench',
  ...(linux && { linux }),
  ...(loops && { loops }),
})

function sample(ours: readonly ContestantRun[]): LinuxResults {
  return {
    compiler: 'gcc 12',
    rounds: 3,
    memory: 256 << 20,
    commandLine: 'console=ttyS0',
    options: { QEMU: '-M pc' },
    workloads: NAMES.map((name) => ({ name, what: `does ${name}` })),
    results: [
      contestant('native', [run(1, 1, 0)]),
      contestant('virtkit:threaded', ours),
      contestant('v86', [run(4, 4, 20), run(2, 8, 10), run(3, 9, 30)]),
    ],
    absent: [],
  }
}

describe('results of the Linux benchmark', () => {
  const good = sample([run(2, 4, 5), run(1, 8, 10), run(3, 2, 40)])

  it('takes medians and their ratios', () => {
    const [, ours, peer] = good.results
    expect(secondsOf(good.results, ours!, 'alpha')).toBe(2)
    expect(secondsOf(good.results, ours!, BOOT)).toBe(10)
    const found = compare(good.results, NAMES, ours!, peer!)
    expect(found.ratios.get('alpha')).toBeCloseTo(2 / 3, 12)
    expect(found.ratios.get('beta')).toBe(0.5)
    expect(found.ratios.get(BOOT)).toBe(0.5)
    // The boot is no workload.
    expect(found.mean).toBeCloseTo(Math.sqrt(1 / 3), 12)
    expect(found.worst![0]).toBe('alpha')
    expect(found.lacking).toEqual([])
  })

  it('counts nothing whose checksum differs even once', () => {
    const bad = sample([run(2, 4, 5), run(1, 8, 10, ['0000000a', '0000000c'])])
    const [, ours, peer] = bad.results
    expect(failureOf(bad.results, ours!, 'beta')).toBe('checksum 0000000c, natively 0000000b')
    expect(failureOf(bad.results, ours!, 'alpha')).toBeUndefined()
    expect(compare(bad.results, NAMES, ours!, peer!).lacking).toEqual(['beta'])
    expect(failures(bad)).toEqual(['virtkit threaded, 686, beta: checksum 0000000c, natively 0000000b'])
    const text = benchMarkdown(whole(bad), 'x.svg')
    expect(text).toContain('## Failures\n\n- virtkit threaded, 686, beta: checksum')
    expect(text).toContain('(1 missing)')
    expect(text).toMatch(/\| beta \|.*failed/)
  })

  it('reports a run that did not get there, and a contestant without any', () => {
    const empty = { round: 0, marks: {}, workloads: {}, failures: { boot: 'no word for 300 s' } }
    const bad = sample([run(1, 1, 1), empty])
    expect(failures(bad)).toEqual([
      'virtkit threaded, 686, boot: no word for 300 s',
      'virtkit threaded, 686, alpha: no word for 300 s',
      'virtkit threaded, 686, beta: no word for 300 s',
    ])
    expect(failures(sample([])).every((line) => line.endsWith('did not run'))).toBe(true)
  })

  it('does not trust checksums without native ones', () => {
    const lone = { ...good, results: good.results.slice(1) }
    expect(failures(lone)).toContain('v86, 686, alpha: no native checksum to compare with')
  })

  it('says which targets are reached', () => {
    const text = benchMarkdown(whole(good), 'linux.svg')
    expect(text).toContain('every workload: at most 0.7; reached at 0.67.')
    expect(text).toContain('geometric mean: at most 0.5; **not reached** at 0.58.')
    expect(text).toContain('| alpha | 1.000 | 2.000 | 3.000 | 0.67 |')
    expect(text).toContain('![Ratios of times](linux.svg)')
    expect(text).not.toContain('## Failures')
  })

  it('draws well-formed SVG', () => {
    const bad = sample([run(2, 4, 5, ['0000000a', '0000000c'])])
    for (const svg of [benchChart(whole(good)), benchChart(whole(bad))]) {
      expectWellFormed(svg)
      expect(svg).not.toMatch(/NaN|Infinity|undefined/)
      expect(svg).toContain('A &amp; B &lt;fast&gt;')
    }
    expect(benchChart(whole(bad))).toContain('no result')
  })
})

describe('results of boots alone', () => {
  it('have neither workloads nor their mean', () => {
    const { workloads: _, ...rest } = sample([run(2, 4, 5)])
    const boots = { ...rest, workloads: [], results: rest.results.slice(1) }
    expect(failures(boots)).toEqual([])
    const text = benchMarkdown(whole(boots), 'x.svg')
    expect(text).toContain('| boot to userspace | 5.0 | 20.0 | 0.25 |')
    expect(text).toContain('boot to userspace: at most 0.7; reached at 0.25.')
    expect(text).not.toMatch(/geometric mean|NaN/)
    expectWellFormed(benchChart(whole(boots)))
  })
})

describe('results of loops', () => {
  const loops: LoopResults = {
    rounds: 3,
    loops: [
      { name: 'quick', what: '', instructions: 8_000_000 },
      { name: 'slow', what: '', instructions: 1_000_000 },
      { name: 'odd', what: '', instructions: 3_000_000, extra: true },
      { name: '64-bit integer', what: '', instructions: 5_000_000, extra: true },
    ],
    results: [
      {
        key: 'virtkit:translated',
        name: 'virtkit translated',
        runs: [
          [1, 2, 3, 1],
          [2, 1, 3, 5],
          [8, 2, 3, 1],
        ],
      },
      {
        key: 'v86',
        name: 'v86',
        runs: [
          [4, 4, 1, null],
          [4, 4, null, null],
          [4, 4, 1, null],
        ],
      },
    ],
  }

  it('are medians, and ratios where both have run each time', () => {
    const text = loopSections(loops).join('\n')
    expect(text).toContain('| quick | 8.0 | 4 | 2 | 0.50 |')
    expect(text).toContain('| slow | 1.0 | 1 | 0 | 0.50 |')
    expect(text).toMatch(/\| \*\*geometric mean\*\* \|.*\*\*0\.50\*\* \|\n\| odd \| 3\.0 \| 1 \| – \| – \|/)
    expect(text).toContain('| 64-bit integer | 5.0 | 5 | – | – |')
  })

  it('have a panel of their own', () => {
    const svg = benchChart(whole(undefined, loops))
    expectWellFormed(svg)
    expect(svg).not.toMatch(/NaN|Infinity|undefined|64-bit/)
    expect(benchMarkdown(whole(sample([run(2, 4, 5)]), loops), 'x.svg')).toMatch(/## Workloads on Linux.*## Loops/s)
  })
})

/** Tags are closed in order, and attributes are quoted. */
function expectWellFormed(svg: string): void {
  const open: string[] = []
  let text = ''
  let end = 0
  for (const match of svg.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<&]*")*)(\/?)>/g)) {
    text += svg.slice(end, match.index)
    end = match.index + match[0].length
    if (match[1] === '/') expect(open.pop()).toBe(match[2])
    else if (match[4] === '') open.push(match[2]!)
  }
  expect(open).toEqual([])
  expect(text).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/)
  expect(svg.slice(end).trim()).toBe('')
}

describe('logarithmic axis', () => {
  it('ends at 1, 2 or 5 times a power of ten', () => {
    expect(logDomain([0.3, 4])[0]).toBeCloseTo(0.2, 12)
    expect(logDomain([0.3, 4])[1]).toBeCloseTo(5, 12)
    expect(logDomain([])).toEqual([0.5, 2])
    expect(logTicks(0.2, 5)).toEqual([0.2, 0.5, 1, 2, 5])
  })

  it('puts bars of reciprocal ratios at the same distance from 1', () => {
    const series = [{ label: 's', colour: '#000', values: [0.25, 4] }]
    const svg = drawChart({ title: 't', note: 'n', panels: [{ title: 'p', rows: ['a', 'b'], series }] })
    const widths = [...svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="8"/g)].map((m) => m[1])
    expect(widths).toHaveLength(2)
    expect(widths[0]).toBe(widths[1])
  })
})
