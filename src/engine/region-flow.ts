/**
 * Structured control flow from any graph of blocks. Strongly connected parts become loops; what is left has no cycles and becomes nested blocks, whose
 * ends are the places to jump to. A loop that can be entered at several blocks starts with a table on the block that is wanted.
 *
 * Source of the idea: Tarjan, "Depth-First Search and Linear Graph Algorithms" (the components), and the way in which WebAssembly's
 * "structured control instructions" compose.
 */

import {
  block,
  branch,
  branchTable,
  type Code,
  getLocal,
  i32,
  type Label,
  label,
  loop,
  setLocal,
} from './wasm-emitter.js'

/** A graph of blocks, numbered from 0. */
export interface FlowGraph {
  /** For each node, the nodes that it may go to. */
  readonly successors: readonly (readonly number[])[]
  /** Nodes at which control arrives from outside. */
  readonly entries: readonly number[]
  /** Number of an i32 local that holds the wanted node: at entry, if there is more than one. */
  readonly target: number
  /**
   * The code of a node. It goes on to a successor with `goTo(node)`, and never falls through. Called once for every node that can be reached, after
   * all of its predecessors that do not lie behind it in a loop.
   */
  emit(node: number, goTo: (node: number) => Code): Code
}

/** The strongly connected components of the subgraph of `nodes`, in topological order; edges to `cut` nodes do not count. */
export function components(
  nodes: readonly number[],
  successors: readonly (readonly number[])[],
  cut: ReadonlySet<number>,
): number[][] {
  const inside = new Set(nodes)
  const index = new Map<number, number>()
  const low = new Map<number, number>()
  const onStack = new Set<number>()
  const stack: number[] = []
  const found: number[][] = []
  const visit = (v: number): void => {
    const order = index.size
    index.set(v, order)
    let lowest = order
    stack.push(v)
    onStack.add(v)
    for (const w of successors[v]!) {
      if (!inside.has(w) || cut.has(w)) continue
      if (!index.has(w)) {
        visit(w)
        lowest = Math.min(lowest, low.get(w)!)
      } else if (onStack.has(w)) lowest = Math.min(lowest, index.get(w)!)
    }
    low.set(v, lowest)
    if (lowest !== order) return
    const component: number[] = []
    for (;;) {
      const w = stack.pop()!
      onStack.delete(w)
      component.push(w)
      if (w === v) break
    }
    found.push(component)
  }
  for (const v of nodes) if (!index.has(v)) visit(v)
  // Tarjan's algorithm finds a component after everything that can be reached from it.
  return found.reverse()
}

/** The nodes that can be reached from the entries. */
function reachable(graph: FlowGraph): number[] {
  const seen = new Set<number>(graph.entries)
  const pending = [...graph.entries]
  for (;;) {
    const v = pending.pop()
    if (v === undefined) return [...seen]
    for (const w of graph.successors[v]!) {
      if (seen.has(w)) continue
      seen.add(w)
      pending.push(w)
    }
  }
}

class Structurer {
  private readonly graph: FlowGraph
  /** How to get to a node from where code is being emitted. */
  private readonly ways = new Map<number, () => Code>()

  constructor(graph: FlowGraph) {
    this.graph = graph
  }

  private readonly goTo = (node: number): Code => {
    const way = this.ways.get(node)
    if (way === undefined) throw new RangeError(`no way to node ${node}`)
    return way()
  }

  /** Code of `nodes`, which control enters at `entries`; `cut`: the entries, where edges to them start the loop around again. */
  group(nodes: readonly number[], entries: readonly number[], cut: ReadonlySet<number>): Code {
    const { successors, target } = this.graph
    const parts = components(nodes, successors, cut)
    const labels: Label[] = parts.map(() => label())
    const partOf = new Map<number, number>()
    const headers: (readonly number[])[] = parts.map((part, n) => {
      for (const node of part) partOf.set(node, n)
      const loops = part.length > 1 || (successors[part[0]!]!.includes(part[0]!) && !cut.has(part[0]!))
      return loops ? this.headersOf(part, nodes, entries) : []
    })
    // Edges to cut nodes keep the way that the loop around has set.
    const saved = new Map(this.ways)
    parts.forEach((part, n) => {
      const several = headers[n]!.length > 1
      for (const node of part) {
        if (cut.has(node)) continue
        this.ways.set(
          node,
          several ? () => [setLocal(target, i32.const(node)), branch(labels[n]!)] : () => branch(labels[n]!),
        )
      }
    })
    let code: Code = []
    const first = parts.length > 0 ? partOf.get(entries[0]!) : 0
    if (entries.length > 1 || first !== 0 || headers[0]!.length > 1) {
      const cases: Label[] = []
      const highest = Math.max(...entries)
      for (let node = 0; node <= highest; node++)
        cases.push(labels[entries.includes(node) ? partOf.get(node)! : first!]!)
      code = entries.length > 1 ? branchTable(getLocal(target), cases, labels[first!]!) : branch(labels[first!]!)
    }
    parts.forEach((part, n) => {
      const body = headers[n]!.length > 0 ? this.loopOf(part, headers[n]!) : this.graph.emit(part[0]!, this.goTo)
      code = [block(labels[n]!, code), body]
    })
    this.ways.clear()
    for (const [node, way] of saved) this.ways.set(node, way)
    return code
  }

  /** The nodes of a component that control reaches from outside of it. */
  private headersOf(part: readonly number[], nodes: readonly number[], entries: readonly number[]): number[] {
    const { successors } = this.graph
    const inside = new Set(part)
    const found = new Set<number>(entries.filter((node) => inside.has(node)))
    for (const v of nodes) {
      if (inside.has(v)) continue
      for (const w of successors[v]!) if (inside.has(w)) found.add(w)
    }
    return [...found]
  }

  private loopOf(part: readonly number[], headers: readonly number[]): Code {
    const top = label()
    const before = headers.map((node) => this.ways.get(node)!)
    for (const node of headers) {
      this.ways.set(
        node,
        headers.length > 1 ? () => [setLocal(this.graph.target, i32.const(node)), branch(top)] : () => branch(top),
      )
    }
    const body = this.group(part, headers, new Set(headers))
    headers.forEach((node, n) => {
      this.ways.set(node, before[n]!)
    })
    return loop(top, body)
  }
}

/** The graph as structured code, which never falls through. */
export function structure(graph: FlowGraph): Code {
  const entries = [...new Set(graph.entries)]
  return new Structurer(graph).group(reachable(graph), entries, new Set())
}
