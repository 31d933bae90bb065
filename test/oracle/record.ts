/**
 * Records the vectors on the processor of this machine: `npx tsx test/oracle/record.ts [integer|fp] [64|32|16]`. Needs Linux on x86-64, gcc with -m32 (gcc-multilib), IA-32
 * emulation, modify_ldt and FSGSBASE in the kernel, and vm.mmap_min_addr ≤ 4096 or root.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'
import { CASE_BYTES, type OracleCase, type OracleResult, unpackResult } from './case.js'
import { ResultWriter, type VectorHeader } from './codec.js'
import { type Bits, forms, type Suite } from './forms.js'
import { fpForms } from './forms-fp.js'
import { FP_BYTES } from './fp-state.js'
import { generate } from './inputs.js'
import { captureHead } from './layout.js'
import { inputHash, vectorFile } from './vectors.js'

const here = fileURLToPath(new URL('.', import.meta.url))

function compile(folder: string, bits: Bits): string {
  const program = join(folder, `capture${bits}`)
  const flags = bits === 64 ? ['-m64', '-mfsgsbase'] : ['-m32']
  const common = ['-O1', '-Wall', '-static', '-fno-stack-protector', '-fcf-protection=none']
  execFileSync('gcc', [...flags, ...common, '-o', program, join(here, 'capture.c')], { stdio: 'inherit' })
  return program
}

function identify(program: string): VectorHeader['processor'] {
  const leaves: Record<string, string[]> = {}
  for (const line of execFileSync(program, ['--identify'], { encoding: 'utf8' }).trim().split('\n')) {
    const [leaf, ...registers] = line.split(' ')
    leaves[leaf!] = registers
  }
  const text = (words: readonly string[]): string =>
    words.map((word) => String.fromCharCode(...Buffer.from(word, 'hex').reverse())).join('')
  const [, b, c, d] = leaves['00000000']!
  const signature = Number.parseInt(leaves['00000001']![0]!, 16)
  const brand = text(['80000002', '80000003', '80000004'].flatMap((leaf) => leaves[leaf] ?? []))
  return {
    vendor: text([b!, d!, c!]),
    brand: brand.replace(/\0/g, '').trim(),
    family: ((signature >> 8) & 15) + ((signature >> 20) & 255),
    model: ((signature >> 4) & 15) | (((signature >> 16) & 15) << 4),
    stepping: signature & 15,
    leaves,
  }
}

/** Cases per run of the capture program. */
const CHUNK = 20_000

/** Runs cases on the processor. */
function capture(program: string, cases: readonly OracleCase[], bits: Bits): OracleResult[] {
  const floatState = cases[0]!.fp !== undefined
  const head = captureHead(cases.length, bits, floatState)
  const states = head.length + cases.length * CASE_BYTES
  const input = new Uint8Array(states + (floatState ? cases.length * FP_BYTES : 0))
  input.set(head)
  const view = new DataView(input.buffer)
  for (const [i, c] of cases.entries()) {
    c.pack(view, head.length + i * CASE_BYTES)
    if (c.fp !== undefined) input.set(c.fp.bytes, states + i * FP_BYTES)
  }
  const run = spawnSync(program, [], { input, maxBuffer: 2 ** 31 - 1 })
  if (run.status !== 0) throw new Error(`capture ended with ${run.status ?? run.signal}: ${run.stderr}`)
  const output = new DataView(run.stdout.buffer, run.stdout.byteOffset, run.stdout.length)
  const results: OracleResult[] = []
  let at = 0
  for (const c of cases) {
    const [result, next] = unpackResult(output, at, floatState)
    at = next
    if (bits !== 64) {
      result.fsBase = c.fsBase
      result.gsBase = c.gsBase
    }
    results.push(result)
  }
  return results
}

function record(folder: string, suite: Suite, bits: Bits): void {
  const program = compile(folder, bits)
  const list = suite === 'fp' ? fpForms(bits) : forms(bits)
  const cases = list.flatMap((form) => Array.from({ length: form.cases }, (_, n) => generate(form, n)))
  const writer = new ResultWriter()
  for (let first = 0; first < cases.length; first += CHUNK) {
    const some = cases.slice(first, first + CHUNK)
    for (const [i, result] of capture(program, some, bits).entries()) writer.write(some[i]!, result)
  }
  const header: VectorHeader = {
    format: 1,
    bits,
    processor: identify(program),
    kernel: `Linux ${release()}`,
    forms: list.map((form) => [form.key, form.cases, inputHash(form)]),
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  const file = Buffer.concat([length, json, writer.finish()])
  const packed = brotliCompressSync(file, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_LGWIN]: 24 },
  })
  writeFileSync(join(here, 'vectors', vectorFile(suite, bits)), packed)
  console.log(
    `${suite}, ${bits}-bit: ${list.length} forms, ${cases.length} cases, ${file.length} bytes, ${packed.length} compressed`,
  )
}

const folder = mkdtempSync(join(tmpdir(), 'oracle-'))
try {
  const words = process.argv.slice(2)
  const wanted = words.map(Number).filter((n) => n > 0)
  for (const suite of ['integer', 'fp'] as const) {
    if (words.some((word) => /^[a-z]/.test(word)) && !words.includes(suite)) continue
    for (const bits of [64, 32, 16] as const) {
      if (wanted.length === 0 || wanted.includes(bits)) record(folder, suite, bits)
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
