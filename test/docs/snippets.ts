/** Finds the programs in a page and runs them as a reader would: one after the other, each alone. */
import { format } from 'node:util'
import ts from 'typescript'

/** A program in a page, and the output block that follows it. */
export interface Snippet {
  readonly line: number
  readonly code: string
  /** What the page says it prints; undefined where it does not say. */
  readonly output: string | undefined
  /** Offsets of that text in the page. */
  readonly outputAt: readonly [number, number] | undefined
}

const FENCE = /^```(\w*)[^\n]*\n([\s\S]*?)^```[^\S\n]*$/gm

/** The `ts` blocks of a page. A `text` block that comes next, with no other block between, is what the program prints. */
export function snippets(page: string): Snippet[] {
  const blocks = [...page.matchAll(FENCE)].map((match) => {
    const start = match.index + match[0].indexOf('\n') + 1
    return { language: match[1]!, body: match[2]!, start }
  })
  return blocks.flatMap((block, n) => {
    if (block.language !== 'ts') return []
    const next = blocks[n + 1]
    const prints = next?.language === 'text' ? next : undefined
    return {
      line: page.slice(0, block.start).split('\n').length,
      code: block.body,
      output: prints?.body,
      outputAt: prints && ([prints.start, prints.start + prints.body.length] as const),
    }
  })
}

const SOURCES: Readonly<Record<string, () => Promise<object>>> = {
  virtkit: () => import('../../src/index.js'),
  'virtkit/contracts': () => import('../../src/contracts/index.js'),
  'virtkit/memory': () => import('../../src/memory/index.js'),
  'virtkit/mmu': () => import('../../src/mmu/index.js'),
  'virtkit/isa': () => import('../../src/isa/index.js'),
  'virtkit/cpu': () => import('../../src/cpu/index.js'),
  'virtkit/engine': () => import('../../src/engine/index.js'),
  'virtkit/interrupts': () => import('../../src/interrupts/index.js'),
  'virtkit/io': () => import('../../src/io/index.js'),
  'virtkit/devices': () => import('../../src/devices/index.js'),
  'virtkit/machine': () => import('../../src/machine/index.js'),
  'virtkit/debug': () => import('../../src/debug/index.js'),
  'virtkit/node': () => import('../../src/node/index.js'),
}

async function load(name: string, names: readonly string[]): Promise<object> {
  const source = SOURCES[name]
  if (source === undefined) throw new Error(`a snippet imports '${name}', which is no subpath of the package`)
  const module = await source()
  for (const key of names) if (!(key in module)) throw new Error(`'${name}' does not export ${key}`)
  return module
}

type Program = (load: (name: string, names: readonly string[]) => Promise<object>, console: object) => Promise<void>
const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => Program

/** Runs a program on the source and returns what it prints. */
export async function runSnippet(code: string): Promise<string> {
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }
  const plain = ts.transpileModule(code, { compilerOptions: options }).outputText
  const body = plain.replace(/^import \{([^}]*)\} from '([^']+)';?$/gm, (_, list: string, name: string) => {
    const names = list.split(',').map((item) => item.trim().split(' as '))
    const keys = JSON.stringify(names.map(([key]) => key))
    return `const { ${names.map((pair) => pair.join(': ')).join(', ')} } = await load('${name}', ${keys});`
  })
  const lines: string[] = []
  const print = (...values: unknown[]): void => void lines.push(`${format(...values)}\n`)
  await new AsyncFunction('load', 'console', body)(load, { log: print, error: print })
  return lines.join('')
}
