/** Structured code must visit the nodes that a walk over the graph visits, whatever the graph: loops in loops, loops with several entries, nodes without a way out. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { components, structure } from '../../src/engine/region-flow.js'
import { getLocal, I32, i32, ifElse, ModuleBuilder, ret, setLocal, unreachable } from '../../src/engine/wasm-emitter.js'
import { runs } from '../runs.js'

interface Graph {
  readonly successors: number[][]
  readonly entries: number[]
}

const graphs: fc.Arbitrary<Graph> = fc.integer({ min: 1, max: 14 }).chain((size) => {
  const node = fc.nat(size - 1)
  return fc.record({
    successors: fc.array(fc.uniqueArray(node, { maxLength: 3 }), { minLength: size, maxLength: size }),
    entries: fc.uniqueArray(node, { minLength: 1, maxLength: 4 }),
  })
})

const STEPS = 60
/** What a node does to the state that choices depend on. */
const mix = (state: number, node: number): number => (Math.imul(state, 0x9e3779b1) + node + 1) | 0

function walk({ successors }: Graph, entry: number, seed: number): number {
  let node = entry
  let state = seed
  for (let steps = STEPS; ; steps--) {
    state = mix(state, node)
    const next = successors[node]!
    if (steps === 0 || next.length === 0) return state
    node = next[Math.min((state >>> 13) & 3, next.length - 1)]!
  }
}

/** A function of the entry and the seed. */
function compile({ successors, entries }: Graph): (entry: number, seed: number) => number {
  const m = new ModuleBuilder()
  const emitted: number[] = []
  const run = m.addFunction([I32, I32], [I32], (locals) => {
    const steps = locals.add(I32)
    const state = 1
    const body = structure({
      successors,
      entries,
      target: 0,
      emit: (node, goTo) => {
        emitted.push(node)
        const next = successors[node]!
        const mixed = i32.add(i32.mul(getLocal(state), i32.const(0x9e3779b1 | 0)), i32.const(node + 1))
        const leave = ret(getLocal(state))
        if (next.length === 0) return [setLocal(state, mixed), leave]
        const choice = i32.and(i32.shrU(getLocal(state), i32.const(13)), i32.const(3))
        return [
          setLocal(state, mixed),
          ifElse(i32.eqz(getLocal(steps)), leave),
          setLocal(steps, i32.sub(getLocal(steps), i32.const(1))),
          next.slice(0, -1).map((to, n) => ifElse(i32.eq(choice, i32.const(n)), goTo(to))),
          goTo(next.at(-1)!),
        ]
      },
    })
    return [setLocal(steps, i32.const(STEPS)), body, unreachable]
  })
  m.exportFunction('run', run)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()))
  // Every node once, and no more.
  expect(new Set(emitted).size).toBe(emitted.length)
  return exports.run as (entry: number, seed: number) => number
}

describe('structured control flow', () => {
  it('visits the nodes that a walk visits', () => {
    fc.assert(
      fc.property(graphs, fc.array(fc.integer(), { minLength: 1, maxLength: 5 }), (graph, seeds) => {
        const run = compile(graph)
        for (const entry of graph.entries)
          for (const seed of seeds) expect(run(entry, seed)).toBe(walk(graph, entry, seed))
      }),
      { numRuns: runs(300) },
    )
  })

  it.each<[string, Graph]>([
    ['a node that goes to itself', { successors: [[0]], entries: [0] }],
    ['a loop with two entries', { successors: [[1, 2], [2], [1]], entries: [0] }],
    ['a loop entered at both nodes from outside', { successors: [[1], [0]], entries: [0, 1] }],
    ['three loops around one node', { successors: [[1], [2], [0, 1, 2]], entries: [0] }],
    ['an irreducible loop in a loop', { successors: [[1, 2], [2, 3], [1, 3], [0]], entries: [0, 3] }],
    ['entries out of order', { successors: [[], [0], [1]], entries: [2, 0] }],
  ])('%s', (_, graph) => {
    const run = compile(graph)
    for (const entry of graph.entries)
      for (let seed = 0; seed < 50; seed++) expect(run(entry, seed * 77777)).toBe(walk(graph, entry, seed * 77777))
  })

  it('finds strongly connected components in topological order', () => {
    fc.assert(
      fc.property(graphs, ({ successors }) => {
        const all = successors.map((_, n) => n)
        const reach = all.map((from) => {
          const seen = new Set<number>()
          const pending = [from]
          for (let v = pending.pop(); v !== undefined; v = pending.pop())
            for (const w of successors[v]!) {
              if (seen.has(w)) continue
              seen.add(w)
              pending.push(w)
            }
          return seen
        })
        const parts = components(all, successors, new Set())
        expect(parts.flat().sort((a, b) => a - b)).toEqual(all)
        parts.forEach((part, n) => {
          for (const v of part) {
            for (const w of part) expect(v === w || reach[v]!.has(w)).toBe(true)
            for (const earlier of parts.slice(0, n)) for (const w of earlier) expect(reach[v]!.has(w)).toBe(false)
          }
        })
      }),
      { numRuns: runs(200) },
    )
  })
})
