/**
 * A WebAssembly binary emitter. Code is a tree: every function here returns a small piece of it, operands come first as
 * in the binary format, and branches name a {@link Label} instead of a depth. {@link ModuleBuilder} flattens the trees into a module.
 *
 * ```ts
 * const m = new ModuleBuilder()
 * const f = m.addFunction([I32, I32], [I32], () => i32.add(getLocal(0), getLocal(1)))
 * m.exportFunction('add', f)
 * new WebAssembly.Module(m.toBytes())
 * ```
 *
 * Source: "WebAssembly Core Specification", chapter "Binary Format", and the tail-call proposal. Operations on vectors are in wasm-vectors.ts.
 */

export const I32 = 0x7f
export const I64 = 0x7e
export const F64 = 0x7c
export const F32 = 0x7d
export const V128 = 0x7b
/** The type of a value on the operand stack. */
export type ValueType = typeof I32 | typeof I64 | typeof F64 | typeof F32 | typeof V128

/** What a branch aims at. Make one per block with {@link label}. */
export interface Label {
  readonly label: true
}

/** A tree of code bytes. Pieces may be used more than once. */
export type Code = number | readonly Code[] | BlockCode | BranchCode

interface BlockCode {
  readonly kind: 'block'
  readonly opcode: number
  readonly target: Label | undefined
  readonly condition: Code
  readonly body: Code
  readonly otherwise: Code | undefined
}
interface BranchCode {
  readonly kind: 'branch'
  readonly opcode: number
  /** One, or the cases and then the default of a br_table. */
  readonly targets: readonly Label[]
}

/** A new branch target. */
export function label(): Label {
  return { label: true }
}

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
  if (typeof value === 'number' && value >= 0 && value < 0x40) return SMALL[value]!
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

// --- structured control -------------------------------------------------------------------------------------------

/** Branches to `target` leave the block. */
export function block(target: Label, body: Code): Code {
  return { kind: 'block', opcode: 0x02, target, condition: [], body, otherwise: undefined }
}
/** Branches to `target` start the body again. */
export function loop(target: Label, body: Code): Code {
  return { kind: 'block', opcode: 0x03, target, condition: [], body, otherwise: undefined }
}
/** Statement form: neither arm leaves a value. */
export function ifElse(condition: Code, then: Code, otherwise?: Code): Code {
  return { kind: 'block', opcode: 0x04, target: undefined, condition, body: then, otherwise }
}
export function branch(target: Label): Code {
  return { kind: 'branch', opcode: 0x0c, targets: [target] }
}
export function branchIf(target: Label, condition: Code): Code {
  return [condition, { kind: 'branch', opcode: 0x0d, targets: [target] }]
}
/** Goes to `targets[index]`, or to `otherwise` when there is none. */
export function branchTable(index: Code, targets: readonly Label[], otherwise: Label): Code {
  return [index, { kind: 'branch', opcode: 0x0e, targets: [...targets, otherwise] }]
}
export const unreachable: Code = 0x00
export function ret(...values: readonly Code[]): Code {
  return [values, 0x0f]
}
export function call(func: number, ...args: readonly Code[]): Code {
  return [args, 0x10, unsignedLeb(func)]
}
/** Calls entry `index` of table 0, which must have function type `type`. */
export function callIndirect(type: number, index: Code, ...args: readonly Code[]): Code {
  return [args, index, 0x11, unsignedLeb(type), 0]
}
/** Tail call: the callee replaces this frame. */
export function returnCall(func: number, ...args: readonly Code[]): Code {
  return [args, 0x12, unsignedLeb(func)]
}
export function returnCallIndirect(type: number, index: Code, ...args: readonly Code[]): Code {
  return [args, index, 0x13, unsignedLeb(type), 0]
}
/** condition ≠ 0 ? a : b; all three are evaluated: a, b, then the condition. */
export function select(condition: Code, a: Code, b: Code): Code {
  return [a, b, condition, 0x1b]
}

// --- variables ----------------------------------------------------------------------------------------------------

export function getLocal(index: number): Code {
  return [0x20, unsignedLeb(index)]
}
export function setLocal(index: number, value: Code): Code {
  return [value, 0x21, unsignedLeb(index)]
}
/** Sets and leaves the value. */
export function teeLocal(index: number, value: Code): Code {
  return [value, 0x22, unsignedLeb(index)]
}

// --- memory -------------------------------------------------------------------------------------------------------

/** Loads name their alignment hint 0: guest addresses have none. `offset` is an unsigned constant added to `address`. */
export type Load = (address: Code, offset?: number) => Code
export type Store = (address: Code, value: Code, offset?: number) => Code

/** The offset immediate of a load or store. */
export function memoryOffset(offset: number): readonly number[] {
  if (offset < 0) throw new RangeError('memory offsets are unsigned')
  return unsignedLeb(offset)
}
export function loadOp(opcode: number): Load {
  return (address, offset = 0) => [address, opcode, 0, memoryOffset(offset)]
}
export function storeOp(opcode: number): Store {
  return (address, value, offset = 0) => [address, value, opcode, 0, memoryOffset(offset)]
}
export function memoryCopy(target: Code, source: Code, length: Code): Code {
  return [target, source, length, 0xfc, 10, 0, 0]
}
export function memoryFill(target: Code, byte: Code, length: Code): Code {
  return [target, byte, length, 0xfc, 11, 0]
}

// --- numbers ------------------------------------------------------------------------------------------------------

export type Unary = (a: Code) => Code
export type Binary = (a: Code, b: Code) => Code

/** What i32 and i64 have in common. Comparisons give an i32. */
export interface IntegerOps {
  readonly type: ValueType
  /** Bits. */
  readonly size: number
  const(value: number | bigint): Code
  readonly eqz: Unary
  readonly eq: Binary
  readonly ne: Binary
  readonly ltS: Binary
  readonly ltU: Binary
  readonly gtS: Binary
  readonly gtU: Binary
  readonly leS: Binary
  readonly leU: Binary
  readonly geS: Binary
  readonly geU: Binary
  readonly clz: Unary
  readonly ctz: Unary
  readonly popcnt: Unary
  readonly add: Binary
  readonly sub: Binary
  readonly mul: Binary
  readonly divS: Binary
  readonly divU: Binary
  readonly remS: Binary
  readonly remU: Binary
  readonly and: Binary
  readonly or: Binary
  readonly xor: Binary
  readonly shl: Binary
  readonly shrS: Binary
  readonly shrU: Binary
  readonly rotl: Binary
  readonly rotr: Binary
  readonly extend8S: Unary
  readonly extend16S: Unary
  readonly load: Load
  readonly load8S: Load
  readonly load8U: Load
  readonly load16S: Load
  readonly load16U: Load
  readonly store: Store
  readonly store8: Store
  readonly store16: Store
}

const unary =
  (opcode: number): Unary =>
  (a) => [a, opcode]
const binary =
  (opcode: number): Binary =>
  (a, b) => [a, b, opcode]

/** Comparisons from `test`, arithmetic from `math`, narrow loads from `load`, narrow stores from `store`: the opcodes run in parallel. */
function integerOps(wide: boolean, test: number, math: number, load: number, store: number): IntegerOps {
  return {
    type: wide ? I64 : I32,
    size: wide ? 64 : 32,
    const: (value) => [
      wide ? 0x42 : 0x41,
      signedLeb(wide ? (typeof value === 'number' ? value : BigInt.asIntN(64, value)) : Number(value) | 0),
    ],
    eqz: unary(test),
    eq: binary(test + 1),
    ne: binary(test + 2),
    ltS: binary(test + 3),
    ltU: binary(test + 4),
    gtS: binary(test + 5),
    gtU: binary(test + 6),
    leS: binary(test + 7),
    leU: binary(test + 8),
    geS: binary(test + 9),
    geU: binary(test + 10),
    clz: unary(math),
    ctz: unary(math + 1),
    popcnt: unary(math + 2),
    add: binary(math + 3),
    sub: binary(math + 4),
    mul: binary(math + 5),
    divS: binary(math + 6),
    divU: binary(math + 7),
    remS: binary(math + 8),
    remU: binary(math + 9),
    and: binary(math + 10),
    or: binary(math + 11),
    xor: binary(math + 12),
    shl: binary(math + 13),
    shrS: binary(math + 14),
    shrU: binary(math + 15),
    rotl: binary(math + 16),
    rotr: binary(math + 17),
    extend8S: unary(wide ? 0xc2 : 0xc0),
    extend16S: unary(wide ? 0xc3 : 0xc1),
    load: loadOp(wide ? 0x29 : 0x28),
    load8S: loadOp(load),
    load8U: loadOp(load + 1),
    load16S: loadOp(load + 2),
    load16U: loadOp(load + 3),
    store: storeOp(wide ? 0x37 : 0x36),
    store8: storeOp(store),
    store16: storeOp(store + 1),
  }
}

export const i32: IntegerOps & { readonly wrap: Unary } = {
  ...integerOps(false, 0x45, 0x67, 0x2c, 0x3a),
  /** The low half of an i64. */
  wrap: unary(0xa7),
}
export const i64: IntegerOps & {
  readonly extendS: Unary
  readonly extendU: Unary
  readonly extend32S: Unary
  readonly load32S: Load
  readonly load32U: Load
  readonly store32: Store
} = {
  ...integerOps(true, 0x50, 0x79, 0x30, 0x3c),
  /** From i32. */
  extendS: unary(0xac),
  extendU: unary(0xad),
  /** Sign-extends the low half of an i64. */
  extend32S: unary(0xc4),
  load32S: loadOp(0x34),
  load32U: loadOp(0x35),
  store32: storeOp(0x3e),
}

// --- flattening ---------------------------------------------------------------------------------------------------

/** A growing run of bytes. */
export class ByteSink {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256)
  length = 0

  push(byte: number): void {
    if (this.length === this.bytes.length) this.grow(1)
    this.bytes[this.length++] = byte
  }

  append(bytes: ArrayLike<number>): void {
    if (this.length + bytes.length > this.bytes.length) this.grow(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length)
  }

  private grow(more: number): void {
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    larger.set(this.bytes)
    this.bytes = larger
  }
}

/** Work that {@link flatten} still has to do besides code: the brackets of a block. */
interface Bracket {
  readonly kind: 'open' | 'else' | 'close'
  readonly block: BlockCode
}

/** Appends the bytes of `code` to `out`. Without recursion: a dispatch loop nests thousands of blocks. */
export function flatten(code: Code, out: ByteSink): void {
  const scopes: (Label | undefined)[] = []
  const pending: (Code | Bracket)[] = [code]
  for (;;) {
    const item = pending.pop()
    if (item === undefined) return
    if (typeof item === 'number') {
      out.push(item)
    } else if (Array.isArray(item)) {
      for (let i = item.length - 1; i >= 0; i--) pending.push(item[i] as Code)
    } else {
      flattenNode(item as BlockCode | BranchCode | Bracket, out, scopes, pending)
    }
  }
}

function flattenNode(
  node: BlockCode | BranchCode | Bracket,
  out: ByteSink,
  scopes: (Label | undefined)[],
  pending: (Code | Bracket)[],
): void {
  switch (node.kind) {
    case 'block':
      pending.push({ kind: 'close', block: node })
      if (node.otherwise !== undefined) pending.push(node.otherwise, { kind: 'else', block: node })
      pending.push(node.body, { kind: 'open', block: node }, node.condition)
      return
    case 'open':
      out.push(node.block.opcode)
      out.push(0x40)
      scopes.push(node.block.target)
      return
    case 'else':
      out.push(0x05)
      return
    case 'close':
      scopes.pop()
      out.push(0x0b)
      return
    case 'branch':
      out.push(node.opcode)
      if (node.opcode === 0x0e) out.append(unsignedLeb(node.targets.length - 1))
      for (const target of node.targets) {
        const at = scopes.lastIndexOf(target)
        if (at < 0) throw new RangeError('a branch to a label that is not around it')
        out.append(unsignedLeb(scopes.length - 1 - at))
      }
  }
}

// --- modules ------------------------------------------------------------------------------------------------------

/** Hands out the locals of one function while its body is built. */
export class Locals {
  readonly types: ValueType[] = []
  private readonly first: number

  /** `first` = number of parameters. */
  constructor(first: number) {
    this.first = first
  }

  /** The index of a new local, zero at entry. */
  add(type: ValueType): number {
    return this.first + this.types.push(type) - 1
  }
}

interface DefinedFunction {
  readonly type: number
  body: Uint8Array | undefined
}

/** Collects types, imports, functions, one table, one memory, and writes the module. Imports come before functions. */
export class ModuleBuilder {
  private readonly types: string[] = []
  private readonly typeBytes: number[][] = []
  private readonly imports: number[][] = []
  private readonly functions: DefinedFunction[] = []
  private readonly exports: number[][] = []
  private importedFunctions = 0
  private table: readonly number[] | undefined

  /** The index of a function type; equal types share one. */
  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const bytes = [0x60, ...unsignedLeb(params.length), ...params, ...unsignedLeb(results.length), ...results]
    const key = bytes.join()
    const known = this.types.indexOf(key)
    if (known >= 0) return known
    this.typeBytes.push(bytes)
    return this.types.push(key) - 1
  }

  /** Returns the function's index. */
  importFunction(module: string, name: string, params: readonly ValueType[], results: readonly ValueType[]): number {
    if (this.functions.length > 0) throw new RangeError('imports come before functions')
    this.imports.push([...text(module), ...text(name), 0x00, ...unsignedLeb(this.type(params, results))])
    return this.importedFunctions++
  }

  /** `pages` = minimum size in 64 KiB; `shared` needs the maximum too. */
  importMemory(module: string, name: string, pages: number, shared?: { readonly maximum: number }): void {
    const limits = shared ? [3, ...unsignedLeb(pages), ...unsignedLeb(shared.maximum)] : [0, ...unsignedLeb(pages)]
    this.imports.push([...text(module), ...text(name), 0x02, ...limits])
  }

  /** Reserves an index, so that functions can call each other; give it a body later. */
  declareFunction(params: readonly ValueType[], results: readonly ValueType[]): number {
    this.functions.push({ type: this.type(params, results), body: undefined })
    return this.importedFunctions + this.functions.length - 1
  }

  /** `paramCount` must be that of the declaration. */
  defineFunction(index: number, paramCount: number, build: (locals: Locals) => Code): void {
    const locals = new Locals(paramCount)
    const code = build(locals)
    const bytes = new ByteSink()
    const groups: [number, ValueType][] = []
    for (const type of locals.types) {
      const last = groups.at(-1)
      if (last?.[1] === type) last[0]++
      else groups.push([1, type])
    }
    bytes.append(unsignedLeb(groups.length))
    for (const [count, type] of groups) {
      bytes.append(unsignedLeb(count))
      bytes.push(type)
    }
    flatten(code, bytes)
    bytes.push(0x0b)
    this.functions[index - this.importedFunctions]!.body = bytes.take()
  }

  /** Declares and defines in one step; returns the index. */
  addFunction(params: readonly ValueType[], results: readonly ValueType[], build: (locals: Locals) => Code): number {
    const index = this.declareFunction(params, results)
    this.defineFunction(index, params.length, build)
    return index
  }

  /** The functions that indirect calls reach, by table index. */
  setTable(functions: readonly number[]): void {
    this.table = functions
  }

  /** Exports the table. */
  exportTable(name: string): void {
    this.exports.push([...text(name), 0x01, 0])
  }

  exportFunction(name: string, index: number): void {
    this.exports.push([...text(name), 0x00, ...unsignedLeb(index)])
  }

  /** The module in binary form. */
  toBytes(): Uint8Array<ArrayBuffer> {
    const out = new ByteSink()
    out.append([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    const section = (id: number, entries: readonly (readonly ArrayLike<number>[])[]): void => {
      if (entries.length === 0) return
      const count = unsignedLeb(entries.length)
      let size = count.length
      for (const entry of entries) for (const part of entry) size += part.length
      out.push(id)
      out.append(unsignedLeb(size))
      out.append(count)
      for (const entry of entries) for (const part of entry) out.append(part)
    }
    const whole = (entries: readonly ArrayLike<number>[]): ArrayLike<number>[][] => entries.map((entry) => [entry])
    section(1, whole(this.typeBytes))
    section(2, whole(this.imports))
    section(3, whole(this.functions.map((f) => unsignedLeb(f.type))))
    const table = this.table
    // Without a maximum: whoever gets it as an export may let it grow.
    if (table) section(4, [[[0x70, 0, ...unsignedLeb(table.length)]]])
    section(7, whole(this.exports))
    if (table) section(9, [[[0x00, 0x41, 0, 0x0b], unsignedLeb(table.length), table.flatMap(unsignedLeb)]])
    section(
      10,
      this.functions.map((f, i) => {
        if (!f.body) throw new RangeError(`function ${i} was declared and not defined`)
        return [unsignedLeb(f.body.length), f.body]
      }),
    )
    return out.take()
  }
}

function text(value: string): number[] {
  const bytes = new TextEncoder().encode(value)
  return [...unsignedLeb(bytes.length), ...bytes]
}
