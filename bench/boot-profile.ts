/** Samples this process while something runs, and says which parts of the source the time went to. */
import { Session } from 'node:inspector'

export interface ProfileShare {
  readonly part: string
  /** 0 to 1. */
  readonly share: number
}

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Parts by what the address of the source matches; the first that does. */
const PARTS: readonly (readonly [string, RegExp])[] = [
  [
    'lifting: decoder, micro-ops, handler selection',
    /\/(isa\/|cpu\/(frontend|lift|uop-builder)|engine\/(threaded-select|threaded-registry|block-store))/,
  ],
  ['TLB misses and page walks', /\/(mmu\/|cpu\/linear-memory)/],
  ['making the WebAssembly module', /\/engine\/(wasm-|threaded-(builder|handlers|module|fusion|x87))/],
  ['entering, leaving, jumping between blocks', /\/engine\/threaded/],
  ['reference engine: single steps', /\/(engine\/reference|cpu\/(alu|state|flags)\.)/],
  ['exceptions and interrupts', /\/(interrupts\/|cpu\/(deliver|exceptions|iret|task-switch))/],
  ['x87 and SSE', /\/cpu\/(x87|float80|sse|simd|mxcsr)/],
  ['the processor between instructions', /\/cpu\/cpu\./],
  ['helpers', /\/cpu\//],
  ['devices, buses, clock', /\/(devices|io|machine|memory|contracts)\//],
]

function partOf(name: string, url: string): string {
  if (url.startsWith('wasm:') || name.startsWith('wasm-')) return 'threaded WebAssembly'
  if (/^(js-to-wasm|wasm-to-js)/.test(name)) return 'entering, leaving, jumping between blocks'
  if (name === '(garbage collector)') return 'garbage collection'
  return PARTS.find(([, pattern]) => pattern.test(url))?.[0] ?? 'other'
}

/** Runs `work` under the profiler of Node. */
export async function profiled(work: () => void): Promise<ProfileShare[]> {
  const session = new Session()
  session.connect()
  const post = (method: string, parameters: object = {}): Promise<unknown> =>
    new Promise((resolve, reject) =>
      session.post(method, parameters, (error, result) => (error ? reject(error) : resolve(result))),
    )
  await post('Profiler.enable')
  await post('Profiler.setSamplingInterval', { interval: 1000 })
  await post('Profiler.start')
  work()
  const { profile } = (await post('Profiler.stop')) as { profile: Profile }
  session.disconnect()
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, partOf(callFrame.functionName, callFrame.url)]))
  const times = new Map<string, number>()
  profile.samples.forEach((id, n) => {
    const part = frames.get(id) ?? 'other'
    times.set(part, (times.get(part) ?? 0) + profile.timeDeltas[n]! / 1e6)
  })
  const total = [...times.values()].reduce((sum, time) => sum + time, 0)
  return [...times].map(([part, seconds]) => ({ part, share: seconds / total })).sort((a, b) => b.share - a.share)
}
