/**
 * Every program in the README and in docs/ runs, and prints what the page says it prints. `UPDATE_DOCS=1` writes the
 * real output into the pages instead.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runSnippet, snippets } from './snippets.js'

const UPDATE = process.env.UPDATE_DOCS === '1'
const pages = ['README.md', ...readdirSync('docs').flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : []))]

/** Puts `text` where the page has other output. */
function replace(page: string, at: readonly [number, number], text: string): void {
  const old = readFileSync(page, 'utf8')
  writeFileSync(page, old.slice(0, at[0]) + text + old.slice(at[1]))
}

for (const page of pages) {
  // From the end, so that an updated output does not move the ones still to come.
  const programs = snippets(readFileSync(page, 'utf8')).reverse()
  if (programs.length === 0) continue
  describe(page, () => {
    for (const { line, code, output, outputAt } of programs) {
      test(`the program in line ${line}`, async () => {
        const printed = await runSnippet(code)
        if (UPDATE && outputAt) replace(page, outputAt, printed)
        else if (output !== undefined) expect(printed).toBe(output)
      })
    }
  })
}

describe('README.md', () => {
  test('shows what npm start prints', () => {
    const run = spawnSync(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'demo'], { encoding: 'utf8' })
    expect(run.status, run.stderr).toBe(0)
    const text = readFileSync('README.md', 'utf8')
    const start = text.indexOf('```text\n') + 8
    const end = text.indexOf('```', start)
    // How long it took depends on the host.
    const steady = (printed: string): string => printed.replace(/^ {2}(host time|speed) .*\n?/gm, '')
    if (UPDATE) replace('README.md', [start, end], run.stdout)
    else expect(text.slice(start, end)).toContain(steady(run.stdout))
  })
})
