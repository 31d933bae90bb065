/** Turns the handlers into one WebAssembly module: functions that tail-call each other, or one loop around a `br_table`. */

import { OFF_REMAINING, OFF_RIP } from '../cpu/layout.js'
import { UOP_HANDLER } from '../cpu/uops.js'
import { STORE_FLAGS_PARAMS, storeFlagsBody } from './region-flags.js'
import {
  BASE,
  BLOCK_COUNT,
  BLOCK_HEADER_SIZE,
  base,
  type Dispatch,
  EXIT_BUDGET,
  EXIT_STOP,
  followLink,
  HANDLER_PARAMS,
  HandlerBuilder,
  PC,
  pc,
  REMAINING,
  RIP,
  remaining,
  rip,
  type Tail,
} from './threaded-builder.js'
import { defineStringComparisons } from './threaded-compare-strings.js'
import { defineFusions } from './threaded-fusion.js'
import { defineControl, tailBody } from './threaded-handlers-control.js'
import { defineInteger } from './threaded-handlers-integer.js'
import { defineMemory } from './threaded-handlers-memory.js'
import { defineMultiplication } from './threaded-handlers-multiply.js'
import { defineSimd, defineVectorState, hasVectors, simdName } from './threaded-handlers-simd.js'
import { defineSse } from './threaded-handlers-sse.js'
import { defineStrings } from './threaded-handlers-string.js'
import { defineSystem } from './threaded-handlers-system.js'
import { defineX87 } from './threaded-handlers-x87.js'
import { defineSharedFunctions } from './threaded-memory-functions.js'
import { HandlerRegistry } from './threaded-registry.js'
import { defineX87Functions } from './threaded-x87-functions.js'
import {
  block,
  branch,
  branchTable,
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  type Label,
  type Locals,
  label,
  loop,
  ModuleBuilder,
  ret,
  returnCall,
  returnCallIndirect,
  setLocal,
  unreachable,
  type ValueType,
} from './wasm-emitter.js'
import { walkBody } from './wasm-walker.js'

/** How handlers reach each other. */
export type DispatchKind = 'tail-call' | 'br-table'

/** What the module imports, besides `memory`. */
export interface ThreadedImports {
  /** A data access missed: bit 0 of `access` = write, bits 1–5 = size in bytes, ACCESS_RUN. 1 when the TLB entry is good for it now. */
  fill(linearLow: number, linearHigh: number, access: number): number
  /** Finishes the instruction whose last record is the HELPER at `record`. 1: leave WebAssembly. */
  helper(record: number): number
  /** Runs the instruction at RIP on the reference engine. 1: leave WebAssembly. */
  step(): number
}

/** What it exports. */
export interface ThreadedExports {
  /** Runs from the block at `block`, which belongs to RIP, for the CPU block at `base`. Returns an EXIT_ reason. */
  enter(base: number, block: number): number
  /** See `LinearMemory.fetchFiller`. */
  fetchFiller(base: number, low: number, high: number): number
}

/** What the module for translated regions exports besides: functions that regions call, by these names, and the table in which regions are called. */
export interface RegionExports extends ThreadedExports {
  readonly table: WebAssembly.Table
  readonly [name: string]: unknown
}

type Callees = Pick<Dispatch, 'shared' | 'fetch' | 'helper' | 'step' | 'x87' | 'heats'>

/** 'bail' uses 'jump', so it comes first: in the loop form a tail can only reach those around it. */
const TAILS: readonly Tail[] = ['bail', 'jump', 'budget', 'link', 'hot']

/** All handlers, numbered. `vectors`: with those that need 128-bit vectors; default: where the host has them. */
export function makeRegistry(vectors: boolean = hasVectors()): HandlerRegistry {
  const registry = new HandlerRegistry()
  registry.named('BAIL', (g) => g.bail(), true)
  registry.named('NOP', () => [], false)
  defineInteger(registry)
  defineMultiplication(registry)
  defineMemory(registry)
  defineControl(registry)
  defineStrings(registry)
  defineSystem(registry)
  defineVectorState(registry)
  if (vectors) {
    defineSimd(registry)
    defineSse(registry)
    defineStringComparisons(registry)
  }
  defineX87(registry)
  defineFusions(registry)
  return registry
}

/**
 * The module for `registry`, in binary form. With `regions` its blocks count down their heat, and it exports what {@link RegionExports} says; only
 * with tail calls.
 */
export function emitThreadedModule(
  registry: HandlerRegistry,
  kind: DispatchKind,
  regions = false,
): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder()
  const fill = m.importFunction('host', 'fill', [I32, I32, I32], [I32])
  const helper = m.importFunction('host', 'helper', [I32], [I32])
  const step = m.importFunction('host', 'step', [], [I32])
  m.importMemory('host', 'memory', 1)
  const walk = m.addFunction([I32, I64, I32], [I32], (locals) => {
    const linear = getLocal(1)
    return walkBody(
      'data',
      locals,
      call(fill, i32.wrap(linear), i32.wrap(i64.shrS(linear, i64.const(32))), getLocal(2)),
    )
  })
  const shared = defineSharedFunctions(m, walk, registry.has(simdName('pcmpistri')))
  const missFetch = m.addFunction([I32, I64], [I32], (locals) => walkBody('fetch', locals, i32.const(0)))
  m.exportFunction(
    'fetchFiller',
    m.addFunction([I32, I32, I32], [I32], () =>
      call(missFetch, getLocal(0), i64.or(i64.shl(i64.extendU(getLocal(2)), i64.const(32)), i64.extendU(getLocal(1)))),
    ),
  )
  const x87 = defineX87Functions(m)
  const callees = { shared, fetch: missFetch, helper, step, x87, heats: regions }
  if (kind === 'tail-call') emitTailCalls(m, registry, callees)
  else emitLoop(m, registry, callees)
  return m.toBytes()
}

/** Body of `enter`, up to running the record at PC. */
function entryBody(): Code {
  return [
    setLocal(RIP, i64.load(base, OFF_RIP)),
    setLocal(REMAINING, i32.load(base, OFF_REMAINING)),
    ifElse(i32.ltS(remaining, i32.load(pc, BLOCK_COUNT)), ret(i32.const(EXIT_BUDGET))),
    setLocal(REMAINING, i32.sub(remaining, i32.load(pc, BLOCK_COUNT))),
    setLocal(PC, i32.add(pc, i32.const(BLOCK_HEADER_SIZE))),
  ]
}

function emitTailCalls(m: ModuleBuilder, registry: HandlerRegistry, callees: Callees): void {
  const type = m.type(HANDLER_PARAMS, [I32])
  const tails = new Map<Tail, number>()
  for (const tail of TAILS) tails.set(tail, m.declareFunction(HANDLER_PARAMS, [I32]))
  const dispatchFor = (locals: Locals): Dispatch => ({
    run: () => returnCallIndirect(type, i32.load16U(pc, UOP_HANDLER), pc, base, remaining, rip),
    tail: (which) => returnCall(tails.get(which)!, pc, base, remaining, rip),
    local: (t) => locals.add(t),
    ...callees,
  })
  for (const tail of TAILS) {
    m.defineFunction(tails.get(tail)!, HANDLER_PARAMS.length, (locals) => [
      tailBody(tail, dispatchFor(locals)),
      unreachable,
    ])
  }
  m.setTable(
    registry.handlers.map((handler) =>
      m.addFunction(HANDLER_PARAMS, [I32], (locals) => {
        const g = new HandlerBuilder(dispatchFor(locals))
        const body = handler.body(g)
        g.at = 0
        return [body, handler.ends ? [] : g.next(handler.records), unreachable]
      }),
    ),
  )
  const enter = m.addFunction([I32, I32], [I32], (locals) => {
    // The parameters come as (base, block); handlers want (pc, base, remaining, rip).
    locals.add(I32)
    locals.add(I64)
    const swap = locals.add(I32)
    return [
      setLocal(swap, getLocal(0)),
      setLocal(PC, getLocal(1)),
      setLocal(BASE, getLocal(swap)),
      entryBody(),
      returnCallIndirect(type, i32.load16U(pc, UOP_HANDLER), pc, base, remaining, rip),
      unreachable,
    ]
  })
  m.exportFunction('enter', enter)
  if (callees.heats) exportForRegions(m, callees, tails, dispatchFor)
}

/** Functions with the handlers' parameters that regions leave through, and what they call. */
function exportForRegions(
  m: ModuleBuilder,
  callees: Callees,
  tails: ReadonlyMap<Tail, number>,
  dispatchFor: (locals: Locals) => Dispatch,
): void {
  for (const tail of ['jump', 'budget'] as const) m.exportFunction(tail, tails.get(tail)!)
  const add = (name: string, build: (locals: Locals) => Code): void =>
    m.exportFunction(
      name,
      m.addFunction(HANDLER_PARAMS, [I32], (locals) => [build(locals), unreachable]),
    )
  add('follow', (locals) => followLink(dispatchFor(locals), pc))
  // The parameters describe the instruction, not its block.
  const afterwards = (dispatch: Dispatch): Code => [
    setLocal(RIP, i64.load(base, OFF_RIP)),
    setLocal(REMAINING, i32.load(base, OFF_REMAINING)),
    dispatch.tail('jump'),
  ]
  const describe: Code = [i64.store(base, rip, OFF_RIP), i32.store(base, remaining, OFF_REMAINING)]
  add('step', (locals) => [
    describe,
    ifElse(call(callees.step), ret(i32.const(EXIT_STOP))),
    afterwards(dispatchFor(locals)),
  ])
  add('helper', (locals) => [
    describe,
    ifElse(call(callees.helper, pc), ret(i32.const(EXIT_STOP))),
    afterwards(dispatchFor(locals)),
  ])
  for (const [name, index] of Object.entries(callees.shared)) m.exportFunction(name, index)
  for (const [name, index] of Object.entries(callees.x87)) m.exportFunction(`x87.${name}`, index)
  const storeFlags = m.addFunction(STORE_FLAGS_PARAMS, [], (locals) =>
    storeFlagsBody(new HandlerBuilder(dispatchFor(locals))),
  )
  m.exportFunction('flags', storeFlags)
  m.exportTable('table')
}

function emitLoop(m: ModuleBuilder, registry: HandlerRegistry, callees: Callees): void {
  const enter = m.addFunction([I32, I32], [I32], (locals) => {
    locals.add(I32)
    locals.add(I64)
    // Scratch locals are shared by all handlers.
    const pools = new Map<ValueType, number[]>()
    const used = new Map<ValueType, number>()
    const local = (t: ValueType): number => {
      const pool = pools.get(t) ?? []
      pools.set(t, pool)
      const n = used.get(t) ?? 0
      used.set(t, n + 1)
      if (n === pool.length) pool.push(locals.add(t))
      return pool[n]!
    }
    const top = label()
    const tails = new Map<Tail, Label>()
    for (const tail of TAILS) tails.set(tail, label())
    const dispatch: Dispatch = {
      run: () => branch(top),
      tail: (which) => branch(tails.get(which)!),
      local,
      ...callees,
    }
    const labels = registry.handlers.map(() => label())
    let nest: Code = branchTable(i32.load16U(pc, UOP_HANDLER), labels, labels[0]!)
    registry.handlers.forEach((handler, id) => {
      used.clear()
      const g = new HandlerBuilder(dispatch)
      const body = handler.body(g)
      g.at = 0
      nest = [block(labels[id]!, nest), body, handler.ends ? [] : g.next(handler.records)]
    })
    for (const tail of TAILS) {
      used.clear()
      nest = [block(tails.get(tail)!, nest), tailBody(tail, dispatch)]
    }
    const swap = local(I32)
    return [
      setLocal(swap, getLocal(0)),
      setLocal(PC, getLocal(1)),
      setLocal(BASE, getLocal(swap)),
      entryBody(),
      loop(top, nest),
      unreachable,
    ]
  })
  m.exportFunction('enter', enter)
}
