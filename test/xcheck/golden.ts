/** What the judges said: one line per case, `name TAB judge TAB line`, compressed. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'

/** `both`: QEMU and Bochs agree (but for RF of saved flags, which QEMU does not set). */
export type Judge = 'both' | 'bochs' | 'qemu' | 'manual'

export interface Golden {
  readonly judge: Judge
  readonly line: string
}

const FILE = fileURLToPath(new URL('golden/xcheck.txt.gz', import.meta.url))

export function readGolden(): Map<string, Golden> {
  const result = new Map<string, Golden>()
  for (const row of gunzipSync(readFileSync(FILE)).toString().trimEnd().split('\n')) {
    const [name = '', judge = '', line = ''] = row.split('\t')
    result.set(name, { judge: judge as Judge, line })
  }
  return result
}

export function writeGolden(golden: ReadonlyMap<string, Golden>): void {
  const text = [...golden].map(([name, { judge, line }]) => `${name}\t${judge}\t${line}\n`).join('')
  writeFileSync(FILE, gzipSync(text, { level: 9 }))
}
