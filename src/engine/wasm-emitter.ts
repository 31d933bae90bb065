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

import { ByteSink, flattenFunction, Locals, signedLeb, unsignedLeb } from './wasm-flatten.js'
import {
  binaryNode,
  type Code,
  const32,
  const64,
  eqz32,
  eqz64,
  extendNode,
  F32,
  F64,
  I32,
  I64,
  isConstant,
  KIND,
  knownTruth,
  type Label,
  loadNode,
  math32,
  math64,
  NOTHING,
  Node,
  storeNode,
  truth,
  unaryNode,
  V128,
  type ValueType,
  wrapNode,
} from './wasm-nodes.js'

export {
  ByteSink,
  type Code,
  F32,
  F64,
  flattenFunction,
  I32,
  I64,
  isConstant,
  type Label,
  Locals,
  signedLeb,
  unsignedLeb,
  V128,
  type ValueType,
}

/** A new branch target. */
export function label(): Label {
  return { depth: -1 }
}

// --- structured control -------------------------------------------------------------------------------------------

const EMPTY_TYPE = 0x40

/** Branches to `target` leave the block. */
export function block(target: Label, body: Code): Code {
  return new Node(KIND.BLOCK | 0x02, NOTHING, body, target, EMPTY_TYPE)
}
/** A block that leaves a value: its body and every branch to `target` bring one. */
export function blockOf(type: ValueType, target: Label, body: Code): Code {
  return new Node(KIND.BLOCK | 0x02, NOTHING, body, target, type)
}
/** Branches to `target` start the body again. */
export function loop(target: Label, body: Code): Code {
  return new Node(KIND.BLOCK | 0x03, NOTHING, body, target, EMPTY_TYPE)
}
/** Statement form: neither arm leaves a value. */
export function ifElse(condition: Code, then: Code, otherwise: Code = NOTHING): Code {
  const test = truth(condition)
  const known = knownTruth(test)
  if (!Number.isNaN(known)) return known !== 0 ? then : otherwise
  return new Node(KIND.IF | 0x04, test, then, otherwise, EMPTY_TYPE)
}
/** `value`: what the block of the label leaves, if any. */
export function branch(target: Label, value: Code = NOTHING): Code {
  return new Node(KIND.BRANCH | 0x0c, value, NOTHING, target, 0)
}
/** `value`: what the block of the label leaves, if any. */
export function branchIf(target: Label, condition: Code, value?: Code): Code {
  if (value !== undefined) return [value, branchIf(target, condition), 0x1a]
  return new Node(KIND.BRANCH | 0x0d, truth(condition), NOTHING, target, 0)
}
/** Goes to `targets[index]`, or to `otherwise` when there is none. */
export function branchTable(index: Code, targets: readonly Label[], otherwise: Label): Code {
  return new Node(KIND.TABLE | 0x0e, index, NOTHING, [...targets, otherwise], 0)
}
export const unreachable: Code = 0x00
export function ret(...values: readonly Code[]): Code {
  return [values, 0x0f]
}
export function call(func: number, ...args: readonly Code[]): Code {
  return instruction([0x10, ...unsignedLeb(func)], args)
}
/** Calls entry `index` of table 0, which must have function type `type`. */
export function callIndirect(type: number, index: Code, ...args: readonly Code[]): Code {
  return instruction([0x11, ...unsignedLeb(type), 0], [args, index])
}
/** Tail call: the callee replaces this frame. */
export function returnCall(func: number, ...args: readonly Code[]): Code {
  return instruction([0x12, ...unsignedLeb(func)], args)
}
export function returnCallIndirect(type: number, index: Code, ...args: readonly Code[]): Code {
  return instruction([0x13, ...unsignedLeb(type), 0], [args, index])
}
/** condition ≠ 0 ? a : b; all three are evaluated: a, b, then the condition. */
export function select(condition: Code, a: Code, b: Code): Code {
  return new Node(KIND.SELECT | 0x1b, a, b, truth(condition), 0)
}
/** The bytes of an instruction that takes its operands from the stack. */
export function instruction(bytes: readonly number[], operands: Code): Code {
  return new Node(KIND.BYTES, operands, NOTHING, bytes, 0)
}

// --- variables ----------------------------------------------------------------------------------------------------

const GETS: Node[] = []
/** Locals whose reads are kept ready. */
const KEPT_GETS = 16384

export function getLocal(index: number): Code {
  if (index >= KEPT_GETS) return new Node(KIND.GET | 0x20, NOTHING, NOTHING, undefined, index)
  while (GETS.length <= index) GETS.push(new Node(KIND.GET | 0x20, NOTHING, NOTHING, undefined, GETS.length))
  return GETS[index]!
}
export function setLocal(index: number, value: Code): Code {
  return new Node(KIND.SET | 0x21, value, NOTHING, undefined, index)
}
/** Sets and leaves the value. */
export function teeLocal(index: number, value: Code): Code {
  return new Node(KIND.TEE | 0x22, value, NOTHING, undefined, index)
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
  return (address, offset = 0) => loadNode(KIND.LOAD | opcode, address, offset)
}
export function storeOp(opcode: number): Store {
  return (address, value, offset = 0) => storeNode(KIND.STORE | opcode, address, value, offset)
}
export function memoryCopy(target: Code, source: Code, length: Code): Code {
  return instruction([0xfc, 10, 0, 0], [target, source, length])
}
export function memoryFill(target: Code, byte: Code, length: Code): Code {
  return instruction([0xfc, 11, 0], [target, byte, length])
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

export function unaryOp(opcode: number): Unary {
  return (a) => unaryNode(KIND.UNARY | opcode, a)
}
export function binaryOp(opcode: number): Binary {
  return (a, b) => binaryNode(KIND.BINARY | opcode, a, b)
}

function arithmetic(wide: boolean, opcode: number): Binary {
  return wide ? (a, b) => math64(KIND.BINARY | opcode, a, b) : (a, b) => math32(KIND.BINARY | opcode, a, b)
}

/** Comparisons from `test`, arithmetic from `math`, narrow loads from `load`, narrow stores from `store`: the opcodes run in parallel. */
function integerOps(wide: boolean, test: number, math: number, load: number, store: number): IntegerOps {
  return {
    type: wide ? I64 : I32,
    size: wide ? 64 : 32,
    const: wide ? const64 : const32,
    eqz: wide ? eqz64 : eqz32,
    eq: binaryOp(test + 1),
    ne: binaryOp(test + 2),
    ltS: binaryOp(test + 3),
    ltU: binaryOp(test + 4),
    gtS: binaryOp(test + 5),
    gtU: binaryOp(test + 6),
    leS: binaryOp(test + 7),
    leU: binaryOp(test + 8),
    geS: binaryOp(test + 9),
    geU: binaryOp(test + 10),
    clz: unaryOp(math),
    ctz: unaryOp(math + 1),
    popcnt: unaryOp(math + 2),
    add: arithmetic(wide, math + 3),
    sub: arithmetic(wide, math + 4),
    mul: arithmetic(wide, math + 5),
    divS: binaryOp(math + 6),
    divU: binaryOp(math + 7),
    remS: binaryOp(math + 8),
    remU: binaryOp(math + 9),
    and: arithmetic(wide, math + 10),
    or: arithmetic(wide, math + 11),
    xor: arithmetic(wide, math + 12),
    shl: arithmetic(wide, math + 13),
    shrS: arithmetic(wide, math + 14),
    shrU: arithmetic(wide, math + 15),
    rotl: binaryOp(math + 16),
    rotr: binaryOp(math + 17),
    extend8S: unaryOp(wide ? 0xc2 : 0xc0),
    extend16S: unaryOp(wide ? 0xc3 : 0xc1),
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
  wrap: wrapNode,
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
  extendS: (a) => extendNode(true, a),
  extendU: (a) => extendNode(false, a),
  /** Sign-extends the low half of an i64. */
  extend32S: unaryOp(0xc4),
  load32S: loadOp(0x34),
  load32U: loadOp(0x35),
  store32: storeOp(0x3e),
}

// --- modules ------------------------------------------------------------------------------------------------------

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
    const bytes = new ByteSink()
    flattenFunction(build(locals), locals, bytes)
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
