/** Checks that imports between the folders of src/ point only to earlier ones, and that only node/ and cli/ touch Node. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'

const LAYERS = [
  'contracts',
  'memory',
  'mmu',
  'isa',
  'cpu',
  'engine',
  'interrupts',
  'io',
  'devices',
  'machine',
  'vmm',
  'debug',
  'node',
  'cli',
]
/** Folders that must not see the processor. */
const WITHOUT_CPU = ['interrupts', 'io', 'devices']
const problems: string[] = []

for (const path of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
  if (!path.endsWith('.ts')) continue
  const file = join('src', path)
  const from = path.includes('/') ? path.split('/')[0]! : 'index'
  const text = readFileSync(file, 'utf8')
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
    const target = match[1]!
    if (target.startsWith('node:') && from !== 'node' && from !== 'cli') problems.push(`${file}: imports ${target}`)
    if (!target.startsWith('.')) continue
    const to = relative('src', normalize(join(dirname(file), target))).split('/')[0]!
    if (from === 'index' && (to === 'node' || to === 'cli')) problems.push(`${file}: the root must not import ${to}`)
    if (from === 'index' || to === from) continue
    if (!LAYERS.includes(to)) problems.push(`${file}: imports ${target}, which is in no layer`)
    else if (LAYERS.indexOf(to) > LAYERS.indexOf(from)) problems.push(`${file}: ${from} must not import ${to}`)
    else if (WITHOUT_CPU.includes(from) && (to === 'cpu' || to === 'engine'))
      problems.push(`${file}: ${from} must not import ${to}`)
  }
  if (from !== 'node' && from !== 'cli' && from !== 'index') {
    const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    for (const word of ['Date.now', 'Math.random', 'process.', 'Buffer.']) {
      // A whole word: ArrayBuffer is at home everywhere.
      if (new RegExp(`\\b${word.replace('.', '\\.')}`).test(code)) problems.push(`${file}: uses ${word}`)
    }
  }
}

for (const problem of problems) console.error(problem)
console.log(`layers: ${problems.length === 0 ? 'in order' : `${problems.length} problems`}`)
process.exit(problems.length === 0 ? 0 : 1)
