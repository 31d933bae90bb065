/** What is measured on Linux, and what is computed from it. */
import type { Moment } from './console-watch.js'
import type { Kernel } from './peers.js'
import { geometricMean, median } from './statistics.js'

/** One workload in one run. */
export interface WorkloadRun {
  /** Seconds as the host saw them; natively by the clock of the program. */
  readonly seconds: number
  /** Seconds by the guest's clock. */
  readonly guest: number
  readonly processor: number
  readonly checksum: string
  /** Millions. */
  readonly instructions?: number
}

/** One run of one contestant: a boot and all workloads, in a process of its own. */
export interface ContestantRun {
  readonly round: number
  /** By name: `first message`, `userspace`. */
  readonly marks: Readonly<Record<string, Moment>>
  readonly workloads: Readonly<Record<string, WorkloadRun>>
  /** By workload, or by `boot`: what went wrong. */
  readonly failures: Readonly<Record<string, string>>
  /** Share of the machine's processors that others used meanwhile, 0 to 1; undefined where that is not known. */
  readonly others?: number
}

/** All runs of one contestant with one kernel. */
export interface ContestantResult {
  readonly key: string
  readonly name: string
  readonly kernel: Kernel
  readonly runs: readonly ContestantRun[]
}

/** Everything that is measured on Linux. */
export interface LinuxResults {
  readonly compiler: string
  readonly rounds: number
  readonly memory: number
  readonly commandLine: string
  readonly options: Readonly<Record<string, string>>
  /** Names and descriptions, in the order of the program. */
  readonly workloads: readonly { readonly name: string; readonly what: string }[]
  readonly results: readonly ContestantResult[]
  /** Contestants that could not be asked, and why. */
  readonly absent: readonly string[]
}

/** Name of the row that stands for the boot. */
export const BOOT = 'boot'
/** The mark that ends the boot. */
export const USERSPACE = 'userspace'

/** The checksum that the native program gave; undefined when it did not run or was not the same each time. */
export function nativeChecksum(results: readonly ContestantResult[], kernel: Kernel, name: string): string | undefined {
  const native = results.find((result) => result.key === 'native' && result.kernel === kernel)
  const found = new Set(native?.runs.flatMap((run) => run.workloads[name]?.checksum ?? []))
  return found.size === 1 ? [...found][0] : undefined
}

/** Why a row of a contestant does not count; undefined when it does. One bad run spoils it. */
export function failureOf(
  results: readonly ContestantResult[],
  result: ContestantResult,
  row: string,
): string | undefined {
  if (result.runs.length === 0) return 'did not run'
  const expected = nativeChecksum(results, result.kernel, row)
  for (const run of result.runs) {
    const failure = run.failures[row]
    if (failure !== undefined) return failure
    if (row === BOOT) {
      if (run.marks[USERSPACE] === undefined) return run.failures[BOOT] ?? 'did not reach userspace'
      continue
    }
    const one = run.workloads[row]
    if (one === undefined) return run.failures[BOOT] ?? 'no result'
    if (expected === undefined) return 'no native checksum to compare with'
    if (one.checksum !== expected) return `checksum ${one.checksum}, natively ${expected}`
  }
  return undefined
}

/** Median seconds of a row; undefined when it failed. */
export function secondsOf(
  results: readonly ContestantResult[],
  result: ContestantResult,
  row: string,
): number | undefined {
  if (failureOf(results, result, row) !== undefined) return undefined
  return median(result.runs.map((run) => (row === BOOT ? run.marks[USERSPACE]!.elapsed : run.workloads[row]!.seconds)))
}

/** One contestant of ours against one peer. */
export interface Comparison {
  readonly ours: ContestantResult
  readonly peer: ContestantResult
  /** By row: our time by theirs. */
  readonly ratios: ReadonlyMap<string, number | undefined>
  /** Of the workloads that have a ratio. */
  readonly mean: number
  /** The largest ratio of a workload and its name. */
  readonly worst: readonly [string, number] | undefined
  /** Workloads without a ratio. */
  readonly lacking: readonly string[]
}

/** Compares on all workloads and the boot. */
export function compare(
  results: readonly ContestantResult[],
  names: readonly string[],
  ours: ContestantResult,
  peer: ContestantResult,
): Comparison {
  const ratios = new Map<string, number | undefined>()
  for (const row of [BOOT, ...names]) {
    const [a, b] = [secondsOf(results, ours, row), secondsOf(results, peer, row)]
    ratios.set(row, a === undefined || b === undefined ? undefined : a / b)
  }
  const known = names.flatMap((name) => {
    const ratio = ratios.get(name)
    return ratio === undefined ? [] : [[name, ratio] as const]
  })
  return {
    ours,
    peer,
    ratios,
    mean: geometricMean(known.map(([, ratio]) => ratio)),
    worst: [...known].sort((a, b) => b[1] - a[1])[0],
    lacking: names.filter((name) => ratios.get(name) === undefined),
  }
}

/** Our contestants against every peer with the same kernel. */
export function comparisons(all: LinuxResults, kernel: Kernel): Comparison[] {
  const here = all.results.filter((result) => result.kernel === kernel)
  const names = all.workloads.map(({ name }) => name)
  return here
    .filter(({ key }) => key.startsWith('virtkit:'))
    .flatMap((ours) =>
      here.filter(({ key }) => key === 'v86' || key === 'qemu').map((peer) => compare(all.results, names, ours, peer)),
    )
}

/** All failures, as sentences. */
export function failures(all: LinuxResults): string[] {
  const rows = [BOOT, ...all.workloads.map(({ name }) => name)]
  return all.results.flatMap((result) =>
    rows
      .filter((row) => row !== BOOT || result.key !== 'native')
      .flatMap((row) => {
        const why = failureOf(all.results, result, row)
        return why === undefined ? [] : [`${result.name}, ${result.kernel}, ${row}: ${why}`]
      }),
  )
}
