/**
 * From trees of code to bytes: what becomes of the locals of a function, and the encoding of its body. A value that is set and read only
 * once, at once, stays on the stack without a local.
 */

import { type Code, KIND, type Label, Node } from './wasm-nodes.js'
import type { ValueType } from './wasm-emitter.js'

// --- integers in LEB128 -------------------------------------------------------------------------------------------

const SMALL: readonly (readonly number[])[] = Array.from({ length: 0x80 }, (_, n) => [n])

/** Unsigned LEB128 of 0 … 2^32 − 1. */
export function unsignedLeb(value: number): readonly number[] {
  if (value >= 0 && value < 0x80) return SMALL[value]!
  const bytes: number[] = []
  let rest = value >>> 0
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return bytes
}

/** Signed LEB128 of any integer up to 64 bits; numbers must be exact. */
export function signedLeb(value: number | bigint): readonly number[] {
  const bytes: number[] = []
  if (typeof value === 'number' && (value | 0) === value) {
    let small = value
    while (small < -0x40 || small > 0x3f) {
      bytes.push((small & 0x7f) | 0x80)
      small >>= 7
    }
    bytes.push(small & 0x7f)
    return bytes
  }
  let rest = BigInt(value)
  for (;;) {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    if ((rest === 0n && low < 0x40) || (rest === -1n && low >= 0x40)) {
      bytes.push(low)
      return bytes
    }
    bytes.push(low | 0x80)
  }
}

/** A growing run of bytes. */
export class ByteSink {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256)
  length = 0

  push(byte: number): void {
    if (this.length === this.bytes.length) this.reserve(1)
    this.bytes[this.length++] = byte
  }

  append(bytes: ArrayLike<number>): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** Makes room for `more` bytes. */
  reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    larger.set(this.bytes)
    this.bytes = larger
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length)
  }
}

// --- locals -------------------------------------------------------------------------------------------------------

/** Hands out the locals of one function while its body is built. Numbers are not those of the binary: that has only the ones which are needed. */
export class Locals {
  readonly types: ValueType[] = []
  /** For each one, the first one that shares its place. */
  readonly homes: number[] = []
  /** Number of parameters, which come first. */
  readonly first: number
  private readonly pools = new Map<ValueType, number[]>()
  private readonly used = new Map<ValueType, number>()

  /** `first` = number of parameters. */
  constructor(first: number) {
    this.first = first
  }

  /** The index of a new local, zero at entry. */
  add(type: ValueType): number {
    this.homes.push(this.types.length)
    return this.first + this.types.push(type) - 1
  }

  /** A local that nobody wants any more after the next {@link release}; not zero. */
  scratch(type: ValueType): number {
    let pool = this.pools.get(type)
    if (pool === undefined) {
      pool = []
      this.pools.set(type, pool)
    }
    const n = this.used.get(type) ?? 0
    this.used.set(type, n + 1)
    if (n === pool.length) pool.push(this.types.length)
    this.homes.push(pool[n]!)
    return this.first + this.types.push(type) - 1
  }

  /** Lets others have the places of the scratch locals. */
  release(): void {
    this.used.clear()
  }
}

/** Places of locals that have none. */
const ON_STACK = -1
const UNREAD = -2

/** Of the function being flattened: its parameters, then how often each local is read, is set, and is read right after. */
let parameters = 0
let reads = new Int32Array(1024)
let writes = new Int32Array(1024)
let adjacent = new Int32Array(1024)
/** The local that was set just before, or −1. */
let justSet = -1
/** Index in the binary of each local, or ON_STACK or UNREAD; undefined: all are where they say. */
let places: Int32Array | undefined
let placeStore = new Int32Array(1024)

/** Counts the uses of locals in the order of execution. */
function survey(code: Code): void {
  if (typeof code === 'number') {
    justSet = -1
    return
  }
  if (Array.isArray(code)) {
    for (let i = 0; i < code.length; i++) survey(code[i] as Code)
    return
  }
  const node = code as Node
  switch (node.kind) {
    case KIND.GET: {
      const n = node.n - parameters
      if (n >= 0) {
        reads[n]!++
        if (justSet === n) adjacent[n]!++
      }
      break
    }
    case KIND.SET: {
      survey(node.a)
      justSet = node.n - parameters
      if (justSet >= 0) writes[justSet]!++
      return
    }
    case KIND.TEE: {
      survey(node.a)
      const n = node.n - parameters
      if (n >= 0) writes[n]!++
      break
    }
    case KIND.UNARY:
    case KIND.LOAD:
    case KIND.BRANCH:
    case KIND.TABLE:
    case KIND.BYTES:
      survey(node.a)
      break
    case KIND.BINARY:
    case KIND.STORE:
      survey(node.a)
      survey(node.b)
      break
    case KIND.SELECT:
      survey(node.a)
      survey(node.b)
      survey(node.c)
      break
    case KIND.BLOCK:
      surveyBlock(node)
      break
    default:
  }
  justSet = -1
}

function surveyBlock(outer: Node): void {
  const nest = spineOf(outer)
  for (const node of nest) {
    survey(node.a)
    justSet = -1
  }
  for (let i = nest.length - 1; i >= 0; i--) {
    const { b, c } = nest[i]!
    if (i === nest.length - 1) survey(b)
    else for (let j = 1; j < (b as readonly Code[]).length; j++) survey((b as readonly Code[])[j]!)
    justSet = -1
    survey(c)
    justSet = -1
  }
}

/** A block, the block that its body begins with, and so on: a dispatch loop nests thousands of them, too deep for recursion. */
function spineOf(node: Node): Node[] {
  const nest = [node]
  for (let body = node.b; Array.isArray(body) && body.length > 0; ) {
    const first = body[0] as Node
    if (first.kind !== KIND.BLOCK || first.op === IF) break
    nest.push(first)
    body = first.b
  }
  return nest
}

/** Finds out which locals need a place. Returns how many there are of each type, in the order of their indexes. */
function planLocals(code: Code, locals: Locals): readonly (readonly [number, ValueType])[] {
  const { types, homes, first } = locals
  const count = types.length
  if (count > reads.length) {
    reads = new Int32Array(count * 2)
    writes = new Int32Array(count * 2)
    adjacent = new Int32Array(count * 2)
    placeStore = new Int32Array(count * 2)
  } else {
    reads.fill(0, 0, count)
    writes.fill(0, 0, count)
    adjacent.fill(0, 0, count)
  }
  parameters = first
  justSet = -1
  survey(code)
  const wanted = new Uint8Array(count)
  for (let n = 0; n < count; n++) {
    if (reads[n] === 0) placeStore[n] = UNREAD
    else if (reads[n] === writes[n] && reads[n] === adjacent[n]) placeStore[n] = ON_STACK
    else {
      placeStore[n] = 0
      wanted[homes[n]!] = 1
    }
  }
  const groups: [number, ValueType][] = []
  const indexes = new Int32Array(count)
  let next = first
  for (let n = 0; n < count; n++) {
    if (wanted[n] === 0) continue
    const type = types[n]!
    if (groups.some((group) => group[1] === type)) continue
    let members = 0
    for (let m = n; m < count; m++) {
      if (wanted[m] === 0 || types[m] !== type) continue
      indexes[m] = next++
      members++
    }
    groups.push([members, type])
  }
  for (let n = 0; n < count; n++) if (placeStore[n] === 0) placeStore[n] = indexes[homes[n]!]!
  places = placeStore
  return groups
}

// --- bytes --------------------------------------------------------------------------------------------------------

const IF = 0x04
/** Bytes that an instruction has at most, tables of branches left aside. */
const INSTRUCTION_BYTES = 32

let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1 << 16)
let at = 0
/** Blocks around the place that is being written. */
let depth = 0
/** End of a `local.set` that was just written, where it starts, and its local. */
let setEnd = -1
let setStart = 0
let setLocal = -1

function reserve(more: number): void {
  if (at + more <= bytes.length) return
  const larger = new Uint8Array(Math.max(bytes.length * 2, at + more))
  larger.set(bytes)
  bytes = larger
}

function putUnsigned(value: number): void {
  let rest = value >>> 0
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[at++] = rest
}
function putSigned(value: number): void {
  let rest = value
  while (rest < -0x40 || rest > 0x3f) {
    bytes[at++] = (rest & 0x7f) | 0x80
    rest >>= 7
  }
  bytes[at++] = rest & 0x7f
}
function putBytes(list: readonly number[]): void {
  reserve(list.length)
  for (let i = 0; i < list.length; i++) bytes[at++] = list[i]!
}

function put(code: Code): void {
  if (at + INSTRUCTION_BYTES > bytes.length) reserve(INSTRUCTION_BYTES)
  if (typeof code === 'number') {
    bytes[at++] = code
    return
  }
  if (Array.isArray(code)) {
    for (let i = 0; i < code.length; i++) put(code[i] as Code)
    return
  }
  const node = code as Node
  switch (node.kind) {
    case KIND.CONST32:
      bytes[at++] = 0x41
      putSigned(node.n)
      return
    case KIND.CONST64:
      bytes[at++] = 0x42
      if (node.more === undefined) putSigned(node.n)
      else putBytes(signedLeb(node.more as bigint))
      return
    case KIND.GET:
      putGet(node.n)
      return
    case KIND.SET:
    case KIND.TEE:
      putSet(node)
      return
    case KIND.UNARY:
      put(node.a)
      break
    case KIND.BINARY:
      put(node.a)
      put(node.b)
      break
    case KIND.SELECT:
      put(node.a)
      put(node.b)
      put(node.c)
      break
    case KIND.LOAD:
      put(node.a)
      putAccess(node)
      return
    case KIND.STORE:
      put(node.a)
      put(node.b)
      putAccess(node)
      return
    case KIND.BLOCK:
      putBlock(node)
      return
    case KIND.BRANCH:
      put(node.a)
      reserve(INSTRUCTION_BYTES)
      bytes[at++] = node.op
      putTarget(node.more as Label)
      return
    case KIND.TABLE: {
      put(node.a)
      const targets = node.more as readonly Label[]
      reserve((targets.length + 2) * 5)
      bytes[at++] = node.op
      putUnsigned(targets.length - 1)
      for (let i = 0; i < targets.length; i++) putTarget(targets[i]!)
      return
    }
    default:
      put(node.a)
      putBytes(node.more as readonly number[])
      return
  }
  if (at === bytes.length) reserve(1)
  bytes[at++] = node.op
}

function putAccess(node: Node): void {
  reserve(INSTRUCTION_BYTES)
  bytes[at++] = node.op
  bytes[at++] = 0
  putUnsigned(node.n)
}

/** The index of a local in the binary, or ON_STACK or UNREAD. */
function placeOf(local: number): number {
  return places === undefined || local < parameters ? local : places[local - parameters]!
}

function putGet(local: number): void {
  const place = placeOf(local)
  if (place < 0) return
  if (setEnd === at && setLocal === place) {
    // It was set just before.
    bytes[setStart] = 0x22
    setEnd = -1
    return
  }
  bytes[at++] = 0x20
  putUnsigned(place)
}

function putSet(node: Node): void {
  const place = placeOf(node.n)
  const tee = node.kind === KIND.TEE
  if (place === UNREAD && !tee && pure(node.a)) return
  put(node.a)
  reserve(INSTRUCTION_BYTES)
  if (place < 0) {
    if (place === UNREAD && !tee) bytes[at++] = 0x1a
    return
  }
  const start = at
  bytes[at++] = node.op
  putUnsigned(place)
  if (tee) return
  setStart = start
  setEnd = at
  setLocal = place
}

/** Computing it does nothing else, and never traps. */
function pure(code: Code): boolean {
  if (typeof code === 'number') return false
  if (Array.isArray(code)) return code.every(pure)
  const { kind, op, a, b, c } = code as Node
  switch (kind) {
    case KIND.CONST32:
    case KIND.CONST64:
    case KIND.GET:
      return true
    case KIND.UNARY:
      // Truncations of floats trap.
      return (op < 0xa8 || op > 0xb1 || op === 0xac || op === 0xad) && pure(a)
    case KIND.BINARY:
      // Divisions trap.
      return !((op >= 0x6d && op <= 0x70) || (op >= 0x7f && op <= 0x82)) && pure(a) && pure(b)
    case KIND.SELECT:
      return pure(a) && pure(b) && pure(c)
    default:
      return false
  }
}

function putBlock(outer: Node): void {
  const nest = spineOf(outer)
  const before: number[] = []
  for (const { a, op, n, more } of nest) {
    put(a)
    reserve(INSTRUCTION_BYTES)
    bytes[at++] = op
    bytes[at++] = n
    if (more !== undefined) {
      before.push((more as Label).depth)
      ;(more as Label).depth = depth
    }
    depth++
  }
  setEnd = -1
  for (let i = nest.length - 1; i >= 0; i--) {
    const { b, c, more } = nest[i]!
    if (i === nest.length - 1) put(b)
    else for (let j = 1; j < (b as readonly Code[]).length; j++) put((b as readonly Code[])[j]!)
    const other = c as readonly Code[]
    if (other.length !== 0) {
      reserve(INSTRUCTION_BYTES)
      bytes[at++] = 0x05
      setEnd = -1
      put(other)
    }
    depth--
    if (more !== undefined) (more as Label).depth = before.pop()!
    reserve(INSTRUCTION_BYTES)
    bytes[at++] = 0x0b
    setEnd = -1
  }
}

function putTarget({ depth: target }: Label): void {
  if (target < 0) throw new RangeError('a branch to a label that is not around it')
  putUnsigned(depth - 1 - target)
}

/** Appends the locals and the body of a function, as the code section has them behind their size. */
export function flattenFunction(code: Code, locals: Locals, out: ByteSink): void {
  const groups = planLocals(code, locals)
  at = 0
  depth = 0
  setEnd = -1
  putUnsigned(groups.length)
  for (const [count, type] of groups) {
    putUnsigned(count)
    bytes[at++] = type
  }
  put(code)
  reserve(1)
  bytes[at++] = 0x0b
  places = undefined
  out.append(bytes.subarray(0, at))
}
