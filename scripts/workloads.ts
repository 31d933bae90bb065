/**
 * Compiles `bench/workloads` for both Linux kernels and puts it into an initial RAM disk of each, for `npm run guests`; alone: `npx tsx scripts/workloads.ts`.
 *
 *     .guests/workloads-686, workloads-amd64                 the program, linked statically; it runs on this machine as well
 *     .guests/workloads-686.cpio.gz, workloads-amd64.cpio.gz initial RAM disks whose /init it is; `workloads=NAMES` on the command line chooses
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { buildCpio } from '../src/machine/cpio.js'
import { GUESTS, Missing } from './debian.js'

const SOURCES = fileURLToPath(new URL('../bench/workloads', import.meta.url))

/** The compiler's options: what is timed depends on them. */
export const WORKLOAD_OPTIONS: Readonly<Record<'686' | 'amd64', readonly string[]>> = {
  '686': ['-m32', '-march=i686', '-O2', '-static'],
  amd64: ['-m64', '-O2', '-static'],
}

/** The program for a kernel. */
export function workloadProgram(kernel: '686' | 'amd64'): string {
  return join(GUESTS, `workloads-${kernel}`)
}

/** The initial RAM disk for a kernel. */
export function workloadDisk(kernel: '686' | 'amd64'): string {
  return join(GUESTS, `workloads-${kernel}.cpio.gz`)
}

/** Compiles the program for a kernel and packs it, unless that is there and newer. Throws {@link Missing} where no compiler can do it. */
export function makeWorkloads(kernel: '686' | 'amd64'): void {
  mkdirSync(GUESTS, { recursive: true })
  const sources = readdirSync(SOURCES).map((name) => join(SOURCES, name))
  const made = [workloadProgram(kernel), workloadDisk(kernel)]
  const changed = Math.max(...[...sources, fileURLToPath(import.meta.url)].map((path) => statSync(path).mtimeMs))
  if (made.every((path) => existsSync(path) && statSync(path).mtimeMs > changed)) return
  const options = WORKLOAD_OPTIONS[kernel]
  // A C library of the other size is a package of its own: a program of nothing tells that from a mistake in ours.
  const probe = spawnSync('gcc', [...options, '-x', 'c', '-o', '/dev/null', '-'], {
    input: '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n',
    encoding: 'utf8',
  })
  if (probe.error) throw new Missing('gcc is not on this machine')
  if (probe.status !== 0) {
    const hint = kernel === '686' ? ' (Debian: gcc-multilib)' : ''
    throw new Missing(`gcc ${options.join(' ')} does not work here${hint}: ${probe.stderr.trim().split('\n').at(-1)}`)
  }
  const part = `${workloadProgram(kernel)}.part`
  const files = sources.filter((path) => path.endsWith('.c'))
  const warnings = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-s', '-Wl,--build-id=none']
  const built = spawnSync('gcc', [...options, ...warnings, '-o', part, ...files, '-lm'], { encoding: 'utf8' })
  if (built.status !== 0) throw new Error(`gcc ended with ${built.status}:\n${built.stderr}`)
  renameSync(part, workloadProgram(kernel))
  const disk = buildCpio([
    { path: 'dev', kind: 'directory' },
    { path: 'dev/console', kind: 'character', mode: 0o600, major: 5, minor: 1 },
    { path: 'init', mode: 0o755, data: readFileSync(workloadProgram(kernel)) },
  ])
  writeFileSync(workloadDisk(kernel), gzipSync(disk, { level: 9 }))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const kernel of ['686', 'amd64'] as const) {
    try {
      makeWorkloads(kernel)
      console.log(`Workloads for linux-${kernel}: ready`)
    } catch (error) {
      if (!(error instanceof Missing)) throw error
      console.error(`workloads: ${kernel}: ${error.message}`)
      process.exitCode = 3
    }
  }
}
