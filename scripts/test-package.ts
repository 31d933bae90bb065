/**
 * Tests what is published, not the source tree: packs the built package, installs the tarball into an empty project, imports every
 * subpath in Node, checks the types of the README's programs and runs them, looks at the command, and holds what a part alone loads
 * against a budget. Needs `npm run build` first, and the network or npm's cache for the package's own dependencies.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { snippets } from '../test/docs/snippets.js'

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin: Readonly<Record<string, string>>
}

/**
 * The most a subpath may load when it is imported alone, in KiB of JavaScript that is neither minified nor compressed; and what it must not load.
 */
const BUDGETS: Readonly<Record<string, number>> = {
  './contracts': 8,
  './memory': 56,
  './interrupts': 96,
  './io': 56,
  './mmu': 100,
  './isa': 240,
  './devices': 500,
}
/** Words that only the processor's and the engines' code holds. */
const PROCESSOR = ['class Cpu ', 'class Frontend ', 'class ReferenceEngine ', 'class UopBuilder ']

const failures: string[] = []

function check(what: string, test: () => void): void {
  try {
    test()
    console.log(`ok    ${what}`)
  } catch (error) {
    failures.push(what)
    console.log(`FAIL  ${what}\n      ${String((error as Error).message).replaceAll('\n', '\n      ')}`)
  }
}

/** Runs a program and returns its stdout; throws what it said when it fails. */
function run(file: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(file, args, { cwd, encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`${file} ${args.join(' ')} ended with status ${status}\n${stdout}${stderr}`)
  return stdout
}

/** The files that importing `entry` loads: itself and everything it imports statically. */
function closure(entry: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(entry)) return seen
  seen.add(entry)
  const text = readFileSync(entry, 'utf8')
  for (const match of text.matchAll(/^(?:import|.*\bfrom) ?["'](\.[^"']+)["'];?$/gm)) {
    closure(resolve(dirname(entry), match[1]!), seen)
  }
  return seen
}

const root = process.cwd()
const project = mkdtempSync(join(tmpdir(), 'virtkit-package-'))
try {
  if (!existsSync('dist/index.js')) throw new Error('there is no dist/index.js: run npm run build first')
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
  const subpaths = Object.keys(manifest.exports).filter((name) => name !== './package.json')

  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [{ filename, size, files }] = JSON.parse(packed) as [
    { filename: string; size: number; files: { path: string }[] },
  ]
  console.log(`${filename}: ${Math.round(size / 1024)} KiB, ${files.length} files`)
  check('the tarball holds the build, the README and the licence, and nothing else', () => {
    const strange = files.filter(
      ({ path }) => !/^(dist\/.*|README\.md|LICENSE|CHANGELOG\.md|package\.json)$/.test(path),
    )
    if (strange.length > 0) throw new Error(strange.map(({ path }) => path).join('\n'))
    for (const name of [
      'README.md',
      'LICENSE',
      'dist/index.js',
      'dist/index.d.ts',
      manifest.bin.virtkit!.replace('./', ''),
    ])
      if (!files.some(({ path }) => path === name)) throw new Error(`${name} is missing`)
  })

  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'reader', private: true, type: 'module' }))
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', `./${filename}`], project)
  const installed = join(project, 'node_modules', 'virtkit')

  for (const subpath of subpaths) {
    const name = `virtkit${subpath.slice(1)}`
    check(`import '${name}'`, () => {
      const code = `const m = await import('${name}'); if (Object.keys(m).length === 0 && '${name}' !== 'virtkit/contracts') throw new Error('it exports nothing')`
      run(process.execPath, ['--input-type=module', '-e', code], project)
    })
  }

  for (const [subpath, budget] of Object.entries(BUDGETS)) {
    check(`virtkit${subpath.slice(1)} alone is at most ${budget} KiB and brings no processor`, () => {
      const loaded = [...closure(join(installed, 'dist', subpath, 'index.js'))]
      const bytes = loaded.reduce((sum, file) => sum + statSync(file).size, 0)
      const text = loaded.map((file) => readFileSync(file, 'utf8')).join('\n')
      const strange = PROCESSOR.filter((word) => text.includes(word))
      if (strange.length > 0) throw new Error(`it loads ${strange.join(', ')}`)
      if (bytes > budget * 1024) throw new Error(`it loads ${Math.ceil(bytes / 1024)} KiB`)
      console.log(`      ${Math.ceil(bytes / 1024)} KiB in ${loaded.length} files`)
    })
  }

  check('only virtkit/node and the command import Node', () => {
    for (const subpath of subpaths) {
      if (subpath === './node') continue
      for (const file of closure(join(installed, 'dist', subpath, 'index.js'))) {
        if (/\b(?:from|import) ?\(?["']node:/.test(readFileSync(file, 'utf8')))
          throw new Error(`${subpath} loads ${file}`)
      }
    }
  })

  const programs = snippets(readFileSync('README.md', 'utf8'))
  mkdirSync(join(project, 'programs'))
  for (const [n, { code }] of programs.entries()) writeFileSync(join(project, 'programs', `${n}.ts`), code)
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'ES2022',
        module: 'NodeNext',
        moduleResolution: 'NodeNext',
        lib: ['ES2023', 'DOM'],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        outDir: 'out',
      },
      include: ['programs'],
    }),
  )
  check("the README's programs agree with the published types", () => {
    run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'], project)
  })
  programs.forEach(({ line, output }, n) => {
    check(`the README's program in line ${line} prints what the page says`, () => {
      const printed = run(process.execPath, [join('out', `${n}.js`)], project)
      if (output !== undefined && printed !== output) throw new Error(`it prints\n${printed}`)
    })
  })

  const command = join(project, 'node_modules', '.bin', 'virtkit')
  check('virtkit help', () => {
    if (!run(command, ['help'], project).startsWith('Usage: virtkit')) throw new Error('no usage')
  })
  check('virtkit demo', () => {
    if (!run(command, ['demo', '--engine', 'threaded'], project).includes('[ok] end'))
      throw new Error('it does not end well')
  })
} finally {
  rmSync(project, { recursive: true, force: true })
}
console.log(failures.length === 0 ? 'the package is in order' : `${failures.length} checks of the package failed`)
process.exitCode = failures.length === 0 ? 0 : 1
