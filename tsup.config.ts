import { defineConfig } from 'tsup'

/** One entry per folder of src/ that is a subpath of the package, the root, and the command. */
const subpaths = [
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
  'debug',
  'node',
]

const library = {
  index: 'src/index.ts',
  ...Object.fromEntries(subpaths.map((name) => [`${name}/index`, `src/${name}/index.ts`])),
}

export default defineConfig({
  entry: { ...library, 'cli/main': 'src/cli/main.ts' },
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  external: [/^node:/, 'fast-png'],
  // Nobody imports the command.
  dts: { entry: library },
  splitting: true,
  sourcemap: true,
  clean: true,
})
