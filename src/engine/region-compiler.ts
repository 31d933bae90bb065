/**
 * Makes WebAssembly of regions. Several of them make one module, since a module costs a host more than what is in it: {@link RegionCompiler.add}
 * them one by one, then {@link RegionCompiler.take} the module.
 */

import { MODE_CODE_MASK, MODE_CODE64 } from '../cpu/layout.js'
import {
  UOP,
  UOP_A,
  UOP_B,
  UOP_C,
  UOP_EXT,
  UOP_HANDLER,
  UOP_IMM,
  UOP_IMM_HI,
  UOP_IP,
  UOP_LENGTH,
  UOP_OP,
  UOP_SIZE,
  UOP_VALUE,
  X87_QUIET,
} from '../cpu/uops.js'
import { type RegionBlock, RegionBuilder, SETTER_UNKNOWN } from './region-builder.js'
import { SETTER, STORE_FLAGS_PARAMS } from './region-flags.js'
import { structure } from './region-flow.js'
import { planPages } from './region-pages.js'
import {
  BLOCK_COUNT,
  BLOCK_HEADER_SIZE,
  type Form,
  HANDLER_PARAMS,
  pc,
  REMAINING,
  RIP,
  remaining,
  WIDTHS,
} from './threaded-builder.js'
import { LINK_NEXT, LINK_STRING, LINK_TAKEN } from './threaded-handlers-control.js'
import { helperVariant } from './threaded-handlers-system.js'
import { SHARED_TYPES } from './threaded-memory-functions.js'
import type { HandlerRegistry } from './threaded-registry.js'
import type { HandlerSelector } from './threaded-select.js'
import {
  ByteSink,
  type Code,
  flattenFunction,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  type Locals,
  setLocal,
  unsignedLeb,
  type ValueType,
} from './wasm-emitter.js'

/** Where the successors of a block are: byte offsets from its start, from its last record. */
export interface Successors {
  /** Distances of direct jumps and of falling through; none for indirect jumps and helpers. */
  readonly direct: readonly number[]
  /** The block ends with a call, whose return address is where the block ends. */
  readonly call: boolean
  /** The block ends with an indirect jump or a return. */
  readonly indirect: boolean
  /** The block ends with a helper's instruction; where that has a fast path, falling through is among the direct ways. */
  readonly helper: boolean
}

/** What the last record of a block says about where control goes. `record`: the address of that record, prepared or not. */
export function successorsOf(
  i32s: Int32Array,
  u16: Uint16Array,
  record: number,
  records: number,
  mode: number,
): Successors {
  const kind = u16[(record + UOP_OP) >> 1]! >> 2
  const before = records > 1 ? u16[(record - UOP_SIZE + UOP_OP) >> 1]! >> 2 : -1
  const call = before === UOP.PUSH_RIP
  const taken = i32s[(record + UOP_IMM) >> 2]!
  const near = i32s[(record + UOP_IMM_HI) >> 2] === taken >> 31
  const none = { direct: [], call, indirect: kind === UOP.JMP_SLOT, helper: kind === UOP.HELPER }
  switch (kind) {
    case UOP.JMP:
    case UOP.END:
      return { direct: near ? [taken] : [], call, indirect: false, helper: false }
    case UOP.JCC:
    case UOP.LOOP:
    case UOP.JCXZ:
      return {
        direct: [...(near ? [taken] : []), i32s[(record + UOP_VALUE) >> 2]!],
        call: false,
        indirect: false,
        helper: false,
      }
    case UOP.MOVS:
    case UOP.CMPS:
    case UOP.STOS:
    case UOP.LODS:
    case UOP.SCAS:
      return { direct: near ? [taken] : [], call: false, indirect: false, helper: false }
    case UOP.HELPER:
      return hasFastPath(i32s, u16, record, mode) ? { ...none, direct: [endOf(u16, record)] } : none
    default:
      return none
  }
}

/** The block whose last record this is ends with a return. */
export function returns(u16: Uint16Array, record: number): boolean {
  return u16[(record - UOP_SIZE + UOP_OP) >> 1]! >> 2 === UOP.ADD_SP
}

function hasFastPath(i32s: Int32Array, u16: Uint16Array, record: number, mode: number): boolean {
  const helper = i32s[(record + UOP_EXT) >> 2]!
  return helperVariant(helper, u16[(record + UOP_A) >> 1]!, u16[(record + UOP_B) >> 1]!, mode) !== 0
}

/** Distance from the block's start to the end of a record's instruction. */
function endOf(u16: Uint16Array, record: number): number {
  const length = (u16[(record + (UOP_LENGTH & ~1)) >> 1]! >> ((UOP_LENGTH & 1) * 8)) & 0xff
  return u16[(record + UOP_IP) >> 1]! + length
}

/** Linear address of a block, less that of the page of the block that comes first. */
export function placeIn({ page, offset }: RegionBlock): number {
  return page + offset
}

export function truncate(mode: number, value: Code): Code {
  return (mode & MODE_CODE_MASK) === MODE_CODE64 ? value : i64.and(value, i64.const(0xffffffff))
}

/**
 * Blocks with whose addresses indirect jumps are compared: those where they went last, and for returns those where calls of their function return to.
 */
function indirectTargets(
  blocks: readonly RegionBlock[],
  ends: readonly Successors[],
  direct: readonly (readonly number[])[],
  nodes: ReadonlyMap<number, number>,
): number[][] {
  const found: number[][] = blocks.map(() => [])
  const add = (n: number, node: number | undefined): void => {
    if (node !== undefined && !found[n]!.includes(node) && found[n]!.length < MAX_TARGETS) found[n]!.push(node)
  }
  const last = blocks.map((block, n) =>
    ends[n]!.indirect && block.last !== undefined ? nodes.get(block.last) : undefined,
  )
  const siteOf = (n: number): number | undefined =>
    ends[n]!.call ? nodes.get(placeIn(blocks[n]!) + blocks[n]!.bytes) : undefined
  blocks.forEach((_, n) => {
    const site = siteOf(n)
    const callee = ends[n]!.indirect ? last[n] : direct[n]![0]
    if (site === undefined || callee === undefined) return
    // The returns of the function that is called: calls in it come back behind themselves.
    const seen = new Set([callee])
    for (const at of seen) {
      if (ends[at]!.indirect && !ends[at]!.call) add(at, site)
      const ways = ends[at]!.call ? [siteOf(at)] : [...direct[at]!, last[at]]
      for (const way of ways) if (way !== undefined) seen.add(way)
    }
  })
  last.forEach((node, n) => {
    add(n, node)
  })
  return found
}

/** Addresses that an indirect jump in a region is compared with. */
const MAX_TARGETS = 4
const RAX = 0
const RCX = 1
const RDX = 2
const RSP = 4
const RSI = 6
const RDI = 7

/** Types of the functions that regions import. */
function importType(name: string): Signature {
  const shared = SHARED_TYPES[name]
  if (shared !== undefined) return shared
  switch (name) {
    case 'flags':
      return { params: STORE_FLAGS_PARAMS, results: [] }
    default: {
      const x87 = X87_PARAMS[name.slice(4)]
      if (name.startsWith('x87.') && x87 !== undefined) return x87
      return { params: HANDLER_PARAMS, results: [I32] }
    }
  }
}

interface Signature {
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

const onOne: Signature = { params: [I64, I32, I32], results: [I64, I32] }
const onTwo: Signature = { params: [I64, I32, I64, I32, I32], results: [I64, I32] }
/** Types of the x87's functions on values: see threaded-x87-functions.ts. */
const X87_PARAMS: Readonly<Record<string, Signature>> = {
  quotient: onTwo,
  rootOf: onOne,
  singleOf: onOne,
  doubleOf: onOne,
  integerOf: onOne,
  rounded: { params: [I64, I64, I32], results: [I64, I32] },
}

export class RegionCompiler {
  private readonly registry: HandlerRegistry
  private readonly selector: HandlerSelector
  private readonly buffer: ArrayBufferLike
  readonly u16: Uint16Array
  readonly i32s: Int32Array
  private imports: string[] = []
  private bodies: Uint8Array[] = []

  private readonly counts: boolean

  /** `counts`: regions count their instructions, at OFF_REGION_INSTRUCTIONS. */
  constructor(registry: HandlerRegistry, selector: HandlerSelector, buffer: ArrayBufferLike, counts = false) {
    this.counts = counts
    this.registry = registry
    this.selector = selector
    this.buffer = buffer
    this.u16 = new Uint16Array(buffer, 0, buffer.byteLength >>> 1)
    this.i32s = new Int32Array(buffer, 0, buffer.byteLength >>> 2)
  }

  /** Regions that wait for {@link take}. */
  get waiting(): number {
    return this.bodies.length
  }

  /**
   * Adds the function of a region for the CPU block at `cpu`: to be run as the handler of the first
   * record of its entry blocks. The number of the entry in `blocks` is in the 16 bits after the record's handler. Returns its size in bytes.
   */
  add(blocks: readonly RegionBlock[], mode: number, cpu: number, tagSelect: number): number {
    const { imports } = this
    const importOf = (name: string): number => {
      const known = imports.indexOf(name)
      return known >= 0 ? known : imports.push(name) - 1
    }
    const g = new RegionBuilder(this.buffer, cpu, tagSelect, importOf, this.counts)
    const target = g.variable(I32)
    const nodes = new Map(blocks.map((block, n) => [placeIn(block), n]))
    const ends = blocks.map((block) =>
      successorsOf(this.i32s, this.u16, block.lifted + (block.records - 1) * UOP_SIZE, block.records, mode),
    )
    const successors = blocks.map((block, n) => {
      const found: number[] = []
      for (const distance of ends[n]!.direct) {
        const node = nodes.get(placeIn(block) + distance)
        if (node !== undefined && !found.includes(node)) found.push(node)
      }
      return found
    })
    const targets = indirectTargets(blocks, ends, successors, nodes)
    targets.forEach((list, n) => {
      for (const node of list) if (!successors[n]!.includes(node)) successors[n]!.push(node)
    })
    const predecessors = new Int32Array(blocks.length)
    for (const list of successors) for (const node of list) predecessors[node]!++
    const entries = blocks.flatMap((block, n) => (block.entry ? [n] : []))
    for (const node of entries) predecessors[node]!++
    /** What set the flags at the start of a block, where there is only one way to it. */
    const flagsAt = new Map<number, number>()
    const several = entries.length > 1
    g.rememberPages(planPages(blocks, successors, this))

    const body = structure({
      successors,
      entries,
      target,
      emit: (n, goTo) => {
        const block = blocks[n]!
        g.flags = predecessors[n]! > 1 ? SETTER_UNKNOWN : (flagsAt.get(n) ?? SETTER.MEMORY)
        g.x87.enter(n, predecessors[n]! <= 1)
        const edge = (distance: number, link?: number): Code => {
          const node = nodes.get(placeIn(block) + distance)
          const record = block.stored + (block.records - 1) * UOP_SIZE
          const flags = g.flags
          if (node === undefined) {
            const leave: Code =
              link !== undefined && block.offset + distance >= 0 && block.offset + distance < 4096
                ? g.leaveByLink(block.offset + distance, record + link)
                : [setLocal(RIP, truncate(mode, i64.add(g.rip, i64.const(distance)))), g.leaveByJump()]
            g.flags = flags
            return leave
          }
          return toNode(node)
        }
        const toNode = (node: number): Code => {
          const pages = blocks[node]!.page - block.page
          const turn = pages === 0 ? [] : g.turnPage(pages, blocks[node]!, mode)
          return [turn, this.toNode(g, node, predecessors, flagsAt, goTo)]
        }
        return [
          g.takeFromBudget(block.offset, block.count),
          this.block(g, block, mode, edge, () =>
            targets[n]!.map((node) => {
              const { page, offset } = blocks[node]!
              const there = i64.add(getLocal(g.origin), i64.const(page - block.page + offset))
              return ifElse(i64.eq(getLocal(RIP), page === block.page ? there : truncate(mode, there)), toNode(node))
            }),
          ),
        ]
      },
    })
    const code: Code = [
      several ? setLocal(target, i32.load16U(pc, UOP_HANDLER + 2)) : setLocal(target, i32.const(entries[0]!)),
      // The caller took the entry's instructions off; here every block does so itself.
      setLocal(REMAINING, i32.add(remaining, i32.load(i32.sub(pc, i32.const(BLOCK_HEADER_SIZE)), BLOCK_COUNT))),
      setLocal(g.setter, i32.const(SETTER.MEMORY)),
    ]
    const bytes = functionBytes([code, g.finish(body), 0x00], g.locals)
    this.bodies.push(bytes)
    return bytes.length
  }

  /**
   * The module of the regions added since the last call, and what it imports from `host` beside `memory`. It exports the function of each by its
   * number in the order in which they were added, from 0 on. It does not import the table: hosts let a table keep all instances alive that do, so
   * that no code would ever be freed.
   */
  take(): { bytes: Uint8Array<ArrayBuffer>; imports: readonly string[] } {
    const { imports, bodies } = this
    this.imports = []
    this.bodies = []
    return { bytes: moduleBytes(bodies, imports), imports }
  }

  private toNode(
    g: RegionBuilder,
    node: number,
    predecessors: Int32Array,
    flagsAt: Map<number, number>,
    goTo: (node: number) => Code,
  ): Code {
    g.x87.edge(node)
    if (predecessors[node]! > 1) return [g.noteSetter(g.flags), goTo(node)]
    flagsAt.set(node, g.flags)
    return goTo(node)
  }

  /** The records of a block. `edge` goes to the block at a distance; `returns` looks whether RIP is a block of the region. */
  private block(
    g: RegionBuilder,
    block: RegionBlock,
    mode: number,
    edge: (distance: number, link?: number) => Code,
    returns: () => Code,
  ): Code {
    this.selector.choose(block.lifted, block.records, mode)
    const ids = this.selector.ids
    const code: Code[] = []
    for (let n = 0; n < block.records; n++) {
      g.begin(block, n)
      const record = block.lifted + n * UOP_SIZE
      code.push(this.recordCode(g, record, ids[n]!, edge, returns))
      if (this.u16[(record + UOP_OP) >> 1]! >> 2 !== UOP.HELPER) continue
      // What follows a helper without a fast path is a block of its own.
      if (!hasFastPath(this.i32s, this.u16, record, mode)) break
      if (this.registry.handlers[ids[n]!]!.name.includes('SEGMENT'))
        code.push(g.leaveUnlessMode(mode, endOf(this.u16, record)))
      if (n === block.records - 1) code.push(edge(endOf(this.u16, record)))
    }
    return code
  }

  private recordCode(
    g: RegionBuilder,
    record: number,
    id: number,
    edge: (distance: number, link?: number) => Code,
    returns: () => Code,
  ): Code {
    const op = this.u16[(record + UOP_OP) >> 1]!
    const kind = op >> 2
    const imm = this.i32s[(record + UOP_IMM) >> 2]!
    const value = this.i32s[(record + UOP_VALUE) >> 2]!
    const handler = this.registry.handlers[id]!
    // Branches that truncate IP to 16 bits leave the page.
    const bails = id === 0 || (BRANCHES.has(kind) && (op & 3) === 1)
    switch (kind) {
      case UOP.END:
      case UOP.JMP:
        if (bails) break
        return edge(imm, LINK_TAKEN)
      case UOP.JCC: {
        if (bails) break
        const condition = g.condition(this.i32s[(record + UOP_EXT) >> 2]! & 15)
        return ifElse(condition, edge(imm, LINK_TAKEN), edge(value, LINK_NEXT))
      }
      case UOP.JMP_SLOT: {
        if (bails) break
        const width = op & 3
        const target = g.read(WIDTHS[width as 0]!, UOP_A)
        return [setLocal(RIP, width === 3 ? target : i64.extendU(target)), returns(), g.leaveByJump()]
      }
      case UOP.HELPER:
        if (handler.name === 'HELPER') return g.leaveForHelper()
        if (bails) break
        return handler.ends
          ? g.orHelper(() => handler.body(g), CHANGES[handler.name.replace(/[.\d]+$/, '')]!)
          : handler.body(g)
      case UOP.LOOP:
      case UOP.JCXZ:
        if (bails) break
        return g.linking(
          (field) => edge(field === LINK_TAKEN ? imm : value, field),
          () => handler.body(g),
        )
      case UOP.MOVS:
      case UOP.CMPS:
      case UOP.STOS:
      case UOP.LODS:
      case UOP.SCAS:
        if (bails) break
        return g.inStateBlock(
          () => handler.body(g),
          [RAX, RCX, RSI, RDI],
          () => edge(imm, LINK_STRING),
        )
      case UOP.STORE_V:
        if (bails) break
        return g.throughMemory(g.slotNumbers(UOP_A), [], () => handler.body(g))
      case UOP.SIMD:
        if (bails) break
        return [
          handler.name.startsWith('SIMD.mmx') || handler.name === 'SIMD.emms' ? g.x87.flush() : [],
          g.throughMemory(g.slotNumbers(UOP_A, UOP_B, UOP_C), g.slotNumbers(UOP_A), () => handler.body(g)),
        ]
      case UOP.X87:
        if (bails) break
        return g.x87.record(this.i32s[(record + UOP_EXT) >> 2]!, undefined) ?? g.bail()
      case UOP.X87_MEM: {
        if (bails) break
        const form = Number(handler.name.slice(handler.name.indexOf('@') + 1)) as Form
        return g.x87.record(value & ~X87_QUIET, form) ?? g.bail()
      }
      default:
    }
    if (bails) return g.bail()
    return [NEEDS_COMPUTED.has(kind) ? g.normalise() : [], handler.body(g)]
  }
}

/** Registers that the fast paths of helpers' instructions change, by the names of their handlers. */
const CHANGES: Readonly<Record<string, readonly number[]>> = {
  CLI: [],
  STI: [],
  SET_AC: [],
  MOV_SEGMENT: [],
  POP_SEGMENT: [RSP],
  PUSHF: [RSP],
  POPF: [RSP],
  CMPXCHG8B: [RAX, RDX],
  CMPXCHG16B: [RAX, RDX],
}

const BRANCHES: ReadonlySet<number> = new Set([UOP.JMP, UOP.JCC, UOP.LOOP, UOP.JCXZ])

/** Operations that change some flags, or change them only sometimes, or look at how they are computed. */
const NEEDS_COMPUTED: ReadonlySet<number> = new Set([
  UOP.SHL,
  UOP.SHR,
  UOP.SAR,
  UOP.ROL,
  UOP.ROR,
  UOP.RCL,
  UOP.RCR,
  UOP.ROL_IMM,
  UOP.ROR_IMM,
  UOP.RCL_IMM,
  UOP.RCR_IMM,
  UOP.SHLD,
  UOP.SHRD,
  UOP.SHLD_IMM,
  UOP.SHRD_IMM,
  UOP.BT,
  UOP.BTS,
  UOP.BTR,
  UOP.BTC,
  UOP.BT_IMM,
  UOP.BTS_IMM,
  UOP.BTR_IMM,
  UOP.BTC_IMM,
  UOP.CLC,
  UOP.STC,
  UOP.CMC,
  UOP.LAHF,
  UOP.SAHF,
])

/** A function's locals and code, as the code section has them. */
function functionBytes(code: Code, locals: Locals): Uint8Array {
  const body = new ByteSink()
  flattenFunction(code, locals, body)
  return body.take()
}

/** A module of functions with the handlers' parameters, each exported by its number. */
function moduleBytes(bodies: readonly Uint8Array[], imports: readonly string[]): Uint8Array<ArrayBuffer> {
  const signatures: string[] = []
  const signatureBytes: number[][] = []
  const typeOf = ({ params, results }: Signature): number => {
    const bytes = [0x60, ...unsignedLeb(params.length), ...params, ...unsignedLeb(results.length), ...results]
    const key = bytes.join()
    const known = signatures.indexOf(key)
    if (known >= 0) return known
    signatureBytes.push(bytes)
    return signatures.push(key) - 1
  }
  const own = unsignedLeb(typeOf({ params: HANDLER_PARAMS, results: [I32] }))
  const importBytes: number[] = []
  for (const name of imports) importBytes.push(...HOST, ...text(name), 0x00, ...unsignedLeb(typeOf(importType(name))))
  importBytes.push(...HOST, ...text('memory'), 0x02, 0, 1)
  const out = new ByteSink()
  const section = (id: number, count: number, parts: readonly ArrayLike<number>[]): void => {
    const head = unsignedLeb(count)
    out.push(id)
    out.append(unsignedLeb(parts.reduce((sum, part) => sum + part.length, head.length)))
    out.append(head)
    for (const part of parts) out.append(part)
  }
  out.append([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
  section(1, signatureBytes.length, signatureBytes)
  section(2, imports.length + 1, [importBytes])
  section(
    3,
    bodies.length,
    bodies.map(() => own),
  )
  section(
    7,
    bodies.length,
    bodies.map((_, n) => [...text(String(n)), 0x00, ...unsignedLeb(imports.length + n)]),
  )
  section(
    10,
    bodies.length,
    bodies.flatMap((bytes) => [unsignedLeb(bytes.length), bytes]),
  )
  return out.take()
}

function text(value: string): number[] {
  return [...unsignedLeb(value.length), ...[...value].map((letter) => letter.charCodeAt(0))]
}

const HOST: readonly number[] = text('host')
