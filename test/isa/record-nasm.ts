/**
 * Records what NASM makes of the corpus: `npx tsx test/isa/record-nasm.ts` writes `golden/nasm.txt.gz`, one line
 * `bits hex text` each. Lines that NASM refuses are left out. Needs `nasm` in the path; the tests do not.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { type CorpusLine, corpus } from './nasm-corpus.js'

/** Bytes that end a line's output: no instruction of the corpus contains them. */
const MARK = 'd7b3a1f0c9e8552a'

/** Runs NASM on a source; gives the image or the error text. */
export function runNasm(source: string): { image: Buffer } | { errors: string } {
  const folder = mkdtempSync(join(tmpdir(), 'nasm-'))
  try {
    const input = join(folder, 'in.asm')
    const output = join(folder, 'out.bin')
    writeFileSync(input, source)
    try {
      execFileSync('nasm', ['-f', 'bin', '-w-all', '-o', output, input], { stdio: ['ignore', 'ignore', 'pipe'] })
    } catch (error) {
      return { errors: String((error as { stderr?: Buffer }).stderr ?? error) }
    }
    return { image: readFileSync(output) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What NASM makes of each line: hex, or '-' if it refuses it. */
function nasmLines(lines: readonly CorpusLine[]): string[] {
  const result = new Array<string>(lines.length).fill('-')
  for (const bits of [16, 32, 64]) {
    let numbers = lines.flatMap((line, n) => (line.bits === bits ? [n] : []))
    for (;;) {
      const mark = `db ${MARK.match(/../g)!
        .map((byte) => `0x${byte}`)
        .join(',')}`
      const source = [`bits ${bits}`, ...numbers.flatMap((n) => [lines[n]!.text, mark]), ''].join('\n')
      const run = runNasm(source)
      if ('image' in run) {
        const parts = run.image.toString('hex').split(MARK)
        if (parts.length !== numbers.length + 1) throw new Error('a line of the corpus contains the mark')
        numbers.forEach((n, i) => {
          if (parts[i] !== '') result[n] = parts[i]!
        })
        break
      }
      // Source line 2k+2 holds the k-th text; refused lines are dropped and the rest is assembled again.
      const refused = new Set([...run.errors.matchAll(/in\.asm:(\d+): error/g)].map((m) => (Number(m[1]) - 2) / 2))
      if (refused.size === 0) throw new Error(run.errors)
      numbers = numbers.filter((_, k) => !refused.has(k))
    }
  }
  return result
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lines = corpus()
  const bytes = nasmLines(lines)
  const kept = lines.flatMap(({ bits, text }, n) => (bytes[n] === '-' ? [] : [`${bits} ${bytes[n]} ${text}\n`]))
  writeFileSync(fileURLToPath(new URL('golden/nasm.txt.gz', import.meta.url)), gzipSync(kept.join(''), { level: 9 }))
  process.stdout.write(`${kept.length} lines; refused by NASM:\n`)
  lines.forEach(({ bits, text }, n) => {
    if (bytes[n] === '-') process.stdout.write(`  ${bits} ${text}\n`)
  })
}
