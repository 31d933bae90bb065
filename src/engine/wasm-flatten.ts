/**
 * From trees of code to bytes: what becomes of the locals of a function, and the encoding of its body. A value that is set and read only
 * once, at once, stays on the stack without a local.
 */

import { type Code, isConstant, KIND, type Label, type Node, type ValueType } from './wasm-nodes.js'

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

/** What a local has instead of an index in the binary: nothing yet; or its value stays on the stack so far. */
const UNPLACED = 0
const ON_STACK = -1

/** Number of parameters of the function being flattened, and the locals behind them. */
let parameters = 0
let homes: readonly number[] = []
let types: readonly ValueType[] = []
/** The index in the binary plus one of each local and, at those that others share, of their place; or ON_STACK. */
let places = new Int32Array(1024)
let placesOfHomes = new Int32Array(1024)
/** Types of the locals of the binary. */
let placed: ValueType[] = []
/** Where values stayed on the stack instead of going to a local, in order: places and locals. Who reads one once more makes it a `local.tee` after all. */
let kept = new Int32Array(1024)
let keptCount = 0

function start(locals: Locals): void {
  parameters = locals.first
  homes = locals.homes
  types = locals.types
  const count = types.length
  if (count > places.length) {
    places = new Int32Array(count * 2)
    placesOfHomes = new Int32Array(count * 2)
  } else {
    places.fill(UNPLACED, 0, count)
    placesOfHomes.fill(UNPLACED, 0, count)
  }
  placed = []
  keptCount = 0
  at = 0
  depth = 0
  setEnd = -1
}

/** The index in the binary of a local that needs one. */
function placeOf(local: number): number {
  if (local < parameters) return local
  const n = local - parameters
  const place = places[n]!
  if (place > 0) return place - 1
  const home = homes[n]!
  if (placesOfHomes[home] === UNPLACED) placesOfHomes[home] = parameters + placed.push(types[n]!)
  places[n] = placesOfHomes[home]!
  return places[n]! - 1
}

// --- bytes --------------------------------------------------------------------------------------------------------

/** Bytes that an instruction has at most, tables of branches left aside. */
const INSTRUCTION_BYTES = 32

let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1 << 16)
let at = 0
/** Blocks around the place that is being written. */
let depth = 0
/** End of a `local.set` that was just written, where it starts, its local, and whether that had no place before. */
let setEnd = -1
let setStart = 0
let setLocal = -1
let setFirst = false
/** The value that it was set to, if that is a constant. */
let setValue: Code | undefined

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
  switch (node.op & 0xf00) {
    case KIND.CONST32:
      bytes[at++] = 0x41
      putSigned(node.n)
      return
    case KIND.CONST64:
      bytes[at++] = 0x42
      if (node.x === undefined) putSigned(node.n)
      else putBytes(signedLeb(node.x as bigint))
      return
    case KIND.GET:
      putGet(node.n)
      return
    case KIND.SET:
      // The constant that the local before was set to, once more.
      if (setEnd === at && node.a === setValue) bytes[setStart] = 0x22
      else put(node.a)
      putSet(node.n)
      setValue = isConstant(node.a) ? node.a : undefined
      return
    case KIND.UNARY:
      put(node.a)
      if (at === bytes.length) reserve(1)
      bytes[at++] = node.op
      return
    case KIND.BINARY:
      put(node.a)
      put(node.b)
      if (at === bytes.length) reserve(1)
      bytes[at++] = node.op
      return
    case KIND.LOAD:
      put(node.a)
      putAccess(node)
      return
    case KIND.STORE:
      put(node.a)
      put(node.b)
      putAccess(node)
      return
    case KIND.IF:
      putIf(node)
      return
    case KIND.BLOCK:
      putBlock(node)
      return
    default:
      putOther(node)
  }
}

function putOther(node: Node): void {
  const { op, a, b, x, n } = node
  put(a)
  switch (op & 0xf00) {
    case KIND.TEE:
      reserve(INSTRUCTION_BYTES)
      bytes[at++] = op
      putUnsigned(placeOf(n))
      return
    case KIND.SELECT:
      put(b)
      put(x as Code)
      reserve(1)
      bytes[at++] = op
      return
    case KIND.BRANCH:
      reserve(INSTRUCTION_BYTES)
      bytes[at++] = op
      putTarget(x as Label)
      return
    case KIND.TABLE: {
      const targets = x as readonly Label[]
      reserve((targets.length + 2) * 5)
      bytes[at++] = op
      putUnsigned(targets.length - 1)
      for (let i = 0; i < targets.length; i++) putTarget(targets[i]!)
      return
    }
    default:
      putBytes(x as readonly number[])
  }
}

function putAccess(node: Node): void {
  if (at + INSTRUCTION_BYTES > bytes.length) reserve(INSTRUCTION_BYTES)
  bytes[at++] = node.op
  bytes[at++] = 0
  putUnsigned(node.n)
}

function putGet(local: number): void {
  if (setEnd === at && setLocal === local) {
    setEnd = -1
    if (!setFirst) {
      bytes[setStart] = 0x22
      return
    }
    keepOnStack(local)
    return
  }
  const place = placeOf(local)
  bytes[at++] = 0x20
  putUnsigned(place)
}

/** Takes back the setting of a local that is read at once, and so far nowhere else. */
function keepOnStack(local: number): void {
  at = setStart
  places[local - parameters] = ON_STACK
  if (keptCount + 2 > kept.length) {
    const larger = new Int32Array(kept.length * 2)
    larger.set(kept)
    kept = larger
  }
  kept[keptCount++] = at
  kept[keptCount++] = local
}

function putSet(local: number): void {
  const first = local >= parameters && places[local - parameters] === UNPLACED
  const place = placeOf(local)
  if (at + INSTRUCTION_BYTES > bytes.length) reserve(INSTRUCTION_BYTES)
  setStart = at
  bytes[at++] = 0x21
  putUnsigned(place)
  setEnd = at
  setLocal = local
  setFirst = first
}

function putIf(node: Node): void {
  put(node.a)
  reserve(INSTRUCTION_BYTES)
  bytes[at++] = node.op
  bytes[at++] = node.n
  depth++
  setEnd = -1
  put(node.b)
  const other = node.x as readonly Code[]
  if (other.length !== 0) {
    reserve(INSTRUCTION_BYTES)
    bytes[at++] = 0x05
    setEnd = -1
    put(other)
  }
  depth--
  reserve(INSTRUCTION_BYTES)
  bytes[at++] = 0x0b
  setEnd = -1
}

/** A block, and the block that its body begins with, and so on: a dispatch loop nests thousands of them, too deep for recursion. */
function putBlock(outer: Node): void {
  const nest: Node[] = []
  const before: number[] = []
  for (let next: Node | undefined = outer; next !== undefined; ) {
    const node: Node = next
    const target = node.x as Label
    reserve(INSTRUCTION_BYTES)
    bytes[at++] = node.op
    bytes[at++] = node.n
    nest.push(node)
    before.push(target.depth)
    target.depth = depth++
    const first: Code | undefined = Array.isArray(node.b) ? (node.b as readonly Code[])[0] : undefined
    next = first !== undefined && ((first as Node).op & 0xf00) === KIND.BLOCK ? (first as Node) : undefined
  }
  setEnd = -1
  for (let i = nest.length - 1; i >= 0; i--) {
    const { b, x } = nest[i]!
    if (i === nest.length - 1) put(b)
    else for (let j = 1; j < (b as readonly Code[]).length; j++) put((b as readonly Code[])[j]!)
    depth--
    ;(x as Label).depth = before[i]!
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
  start(locals)
  put(code)
  const groups: [number, ValueType][] = []
  for (const type of placed) {
    const last = groups.at(-1)
    if (last?.[1] === type) last[0]++
    else groups.push([1, type])
  }
  out.append(unsignedLeb(groups.length))
  for (const [count, type] of groups) {
    out.append(unsignedLeb(count))
    out.push(type)
  }
  // With the values that are wanted once more put where they can be found.
  out.reserve(at + keptCount * 3 + 1)
  const target = out.bytes
  let to = out.length
  let from = 0
  for (let i = 0; i < keptCount; i += 2) {
    const place = places[kept[i + 1]! - parameters]!
    if (place <= 0) continue
    const end = kept[i]!
    while (from < end) target[to++] = bytes[from++]!
    target[to++] = 0x22
    for (let rest = place - 1; ; rest >>>= 7) {
      target[to++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest
      if (rest <= 0x7f) break
    }
  }
  while (from < at) target[to++] = bytes[from++]!
  target[to++] = 0x0b
  out.length = to
}
