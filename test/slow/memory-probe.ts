/**
 * How much memory an engine takes beside the guest's own, for memory.test.ts: goes on from a saved Linux that stands at its shell, gives it commands, and
 * tells what it sees meanwhile, one line of JSON each. `node --expose-gc … memory-probe.ts SNAPSHOT '{"engine": …}'`.
 */
import { readFileSync } from 'node:fs'
import { decodeSnapshot, type EngineName, Pc, type PcState } from '../../src/machine/index.js'

/** What is to be run. */
export interface ProbeOptions {
  readonly engine: EngineName
  readonly codeBytes?: number
  /** What the shell is told. */
  readonly commands: string
  /** Virtual seconds until the end, or a text on the serial line that ends the run. */
  readonly until: number | string
  /** Virtual seconds from one sample to the next. */
  readonly every: number
  readonly memory: number
}

/** What the probe saw. */
export interface MemorySample {
  /** Virtual seconds since the start. */
  readonly time: number
  readonly instructions: number
  /** Bytes beside those at the start, after a garbage collection: of the process, and of what JavaScript has. */
  readonly resident: number
  readonly script: number
  /** Bytes that the process had at most up to now, beside those at the start. */
  readonly peak: number
  /** See `Cpu.engineCounters`. */
  readonly counters: Readonly<Record<string, number>>
  /** What came on the serial line. */
  readonly output: string
}

const collect = (globalThis as { gc?: () => void }).gc!

/** Bytes of what JavaScript has. */
function scriptBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}

async function settle(): Promise<void> {
  // What the host compiles in the background, and what it frees only when nothing runs.
  for (let n = 0; n < 3; n++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function probe(file: string, options: ProbeOptions): Promise<void> {
  const { engine, codeBytes, until, memory } = options
  const translation = codeBytes === undefined ? {} : { codeBytes }
  const pc = new Pc({ memory, engine, translation })
  pc.loadState((await decodeSnapshot(readFileSync(file))) as PcState)
  // The guest's memory counts from the start, whatever it touches later.
  const { bytes } = pc.space
  for (let at = 0; at < bytes.length; at += 4096) Atomics.add(bytes, at, 0)
  await settle()
  const first = { resident: process.memoryUsage.rss(), script: scriptBytes(), time: pc.clock.now() }
  const start = pc.instructions
  let peak = 0
  const sample = async (): Promise<void> => {
    await settle()
    const seen: MemorySample = {
      time: (pc.clock.now() - first.time) / 1e9,
      instructions: pc.instructions - start,
      resident: process.memoryUsage.rss() - first.resident,
      script: scriptBytes() - first.script,
      peak,
      counters: pc.cpu.engineCounters,
      output: pc.serial.text,
    }
    console.log(JSON.stringify(seen))
  }
  pc.serial.write(options.commands)
  let next = options.every
  for (;;) {
    const { reason } = pc.runSync(20_000_000)
    if (reason !== 'budget') throw new Error(`the machine ended: ${reason}`)
    peak = Math.max(peak, process.memoryUsage.rss() - first.resident)
    const now = (pc.clock.now() - first.time) / 1e9
    const done = typeof until === 'number' ? now >= until : pc.serial.text.includes(until)
    if (done || now >= next) {
      await sample()
      next += options.every
    }
    if (done) return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

await probe(process.argv[2]!, JSON.parse(process.argv[3]!) as ProbeOptions)
process.exit()
