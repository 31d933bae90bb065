/**
 * Compiles `test/guests/fp-digest` for 32 and 64 bits and records what it prints on this machine's processor, for `npm run guests`; alone:
 * `npx tsx scripts/fp-digest.ts`.
 *
 *     .guests/fp-digest-32, fp-digest-64                        programs without a C library
 *     .guests/fp-digest-32.native.txt, fp-digest-64.native.txt  what they print here
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GUESTS, Missing } from './debian.js'

const SOURCE = fileURLToPath(new URL('../test/guests/fp-digest/fp-digest.c', import.meta.url))

// biome-ignore format: a dense list reads better
const OPTIONS = [
  '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-ffreestanding', '-nostdlib', '-static', '-fno-pie', '-no-pie', '-s',
  '-fno-stack-protector', '-fno-tree-loop-distribute-patterns', '-fno-asynchronous-unwind-tables', '-mgeneral-regs-only',
  '-fcf-protection=none', '-Wl,--build-id=none',
]

/** What the program uses, in Linux's spelling. */
const NEEDED = [
  'fpu',
  'cmov',
  'mmx',
  'fxsr',
  'sse',
  'sse2',
  'pni',
  'ssse3',
  'sse4_1',
  'sse4_2',
  'aes',
  'pclmulqdq',
  'popcnt',
]

function checkHost(): void {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Missing('this is not Linux on an x86-64 processor')
  const flags = new Set(/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '))
  const lacking = NEEDED.filter((name) => !flags.has(name))
  if (lacking.length > 0) throw new Missing(`this machine's processor lacks ${lacking.join(', ')}`)
}

/** Compiles both programs and records what they print. Throws {@link Missing} where that cannot be done on this machine. */
export function makeFpDigest(): void {
  mkdirSync(GUESTS, { recursive: true })
  const file = (bits: number): string => join(GUESTS, `fp-digest-${bits}`)
  const record = (bits: number): string => join(GUESTS, `fp-digest-${bits}.native.txt`)
  for (const bits of [32, 64]) rmSync(record(bits), { force: true })
  checkHost()
  for (const bits of [32, 64]) {
    const part = `${file(bits)}.part`
    const made = spawnSync('gcc', [`-m${bits}`, ...OPTIONS, '-o', part, SOURCE], { encoding: 'utf8' })
    if (made.error) throw new Missing('gcc is not on this machine')
    // Nothing but the compiler itself is used: no headers and no libraries of either size.
    if (made.status !== 0) throw new Error(`gcc -m${bits} ended with ${made.status}:\n${made.stderr}`)
    renameSync(part, file(bits))
    const run = spawnSync(file(bits), { encoding: 'utf8', maxBuffer: 1 << 24, timeout: 60_000 })
    if (run.error) throw new Missing(`${bits}-bit programs do not run here: ${run.error.message}`)
    if (run.status !== 0) throw new Error(`${file(bits)} ended with ${run.status ?? run.signal}`)
    writeFileSync(record(bits), run.stdout)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    makeFpDigest()
  } catch (error) {
    if (!(error instanceof Missing)) throw error
    console.error(`fp-digest: ${error.message}`)
    process.exitCode = 3
  }
}
