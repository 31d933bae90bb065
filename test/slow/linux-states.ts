/**
 * Both Linux kernels, booted once on the threaded engine, and saved at places that tests start from. The files lie in `.guests/states/` under a name that changes
 * with the sources, so that no test starts from what an older version saved. `vitest.slow.config.ts` has them made before any test runs.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decodeSnapshot, type EngineName, Pc, type PcOptions, type PcState } from '../../src/machine/index.js'
import { guestFile, needs } from './real-guest.js'

export const KERNELS = ['686', 'amd64'] as const
export type Kernel = (typeof KERNELS)[number]

/** Places in a boot: the banner is printed, `/init` starts, the shell's prompt is there, and in the middle of a workload. */
export const MILESTONES = ['banner', 'first-process', 'shell', 'workload'] as const
export type Milestone = (typeof MILESTONES)[number]

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const GUESTS: string = join(ROOT, '.guests')

/** What the boots need. */
export const linuxFiles: readonly string[] = KERNELS.flatMap((kernel) => [
  `linux-${kernel}`,
  `initrd-${kernel}.cpio.gz`,
])
export const linuxNeeds: ReturnType<typeof needs> = needs(...linuxFiles)

/** Instructions in which a kernel must have reached its shell. */
export const BOOT_LIMIT = 9_000_000_000

/** Something for the processor to do: files, pipes, processes, floating point. */
export const WORKLOAD =
  'i=0; while [ $i -lt 200 ]; do i=$((i+1)); sha256sum /bin/busybox | md5sum > /tmp/x$i; gzip -c /tmp/x$i | zcat | awk "{print length * 1.5}"; done\n'

export function makePc(engine: EngineName = 'threaded', options: PcOptions = {}): Pc {
  return new Pc({ memory: 256 << 20, engine, ...options })
}

export function startLinux(pc: Pc, kernel: Kernel, append = ''): void {
  pc.loadLinux(guestFile(`linux-${kernel}`), {
    initrd: guestFile(`initrd-${kernel}.cpio.gz`),
    commandLine: `console=ttyS0 ${append}`.trim(),
  })
}

function sources(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name)
      return statSync(path).isDirectory() ? sources(path) : name.endsWith('.ts') ? [path] : []
    })
}

/** Where the states of these sources and guests are. */
export function statesFolder(): string {
  const hash = createHash('sha256')
  for (const path of [...sources(join(ROOT, 'src')), fileURLToPath(import.meta.url)]) hash.update(readFileSync(path))
  for (const kernel of KERNELS) {
    for (const name of [`linux-${kernel}`, `initrd-${kernel}.cpio.gz`]) {
      const { size, mtimeMs } = statSync(join(GUESTS, name))
      hash.update(`${name} ${size} ${mtimeMs}`)
    }
  }
  return join(GUESTS, 'states', hash.digest('hex').slice(0, 16))
}

export function stateFile(folder: string, kernel: Kernel, milestone: Milestone): string {
  return join(folder, `${kernel}-${milestone}.snapshot`)
}

/** The state of a kernel at a milestone. */
export async function linuxState(kernel: Kernel, milestone: Milestone): Promise<PcState> {
  return (await decodeSnapshot(readFileSync(stateFile(statesFolder(), kernel, milestone)))) as PcState
}

/** A machine that stands at a milestone. */
export async function linuxAt(kernel: Kernel, milestone: Milestone, engine: EngineName = 'threaded'): Promise<Pc> {
  const pc = makePc(engine)
  pc.loadState(await linuxState(kernel, milestone))
  return pc
}
