/**
 * Pieces of WebAssembly code as the emitter holds them, and how they simplify themselves while they are made: constants are folded, and what the
 * next operation undoes is left out. What may be written is in wasm-emitter.ts.
 *
 * Source: "WebAssembly Core Specification", chapters "Binary Format" (opcodes) and "Execution" (what operations give).
 */

/** What a branch aims at. */
export interface Label {
  /** Blocks around its own while that is being flattened, else −1. */
  depth: number
}

/** A tree of code: a byte, pieces one after the other, or an instruction with its operands. Pieces may be used more than once. */
export type Code = number | readonly Code[] | Node

/** The sorts of {@link Node}, and what each one's fields hold. */
export const KIND = {
  /** The constant is in `n`, or in `more`. */
  CONST32: 1,
  CONST64: 2,
  /** `n` = local; the value to set is `a`. */
  GET: 3,
  SET: 4,
  TEE: 5,
  /** Opcode `op` after the operands `a`, `b`, `c`. */
  UNARY: 6,
  BINARY: 7,
  SELECT: 8,
  /** `op` after address `a` and value `b`; `n` = offset. */
  LOAD: 9,
  STORE: 10,
  /** `op` = block, loop or if; `more` = label, `a` = condition, `b` = body, `c` = else, `n` = type. */
  BLOCK: 11,
  /** `op` after the condition or value `a`, to `more`. */
  BRANCH: 12,
  /** To one of `more`, the last of which is the default; `a` = index. */
  TABLE: 13,
  /** The bytes `more` after the operands `a`. */
  BYTES: 14,
} as const

export const NOTHING: readonly Code[] = []

type More = bigint | Label | readonly Label[] | readonly number[] | undefined

/** One instruction. All have one shape: they are made by the hundred thousand. */
export class Node {
  readonly kind: number
  readonly op: number
  readonly a: Code
  readonly b: Code
  readonly c: Code
  readonly n: number
  readonly more: More

  constructor(kind: number, op: number, a: Code, b: Code, c: Code, n: number, more: More) {
    this.kind = kind
    this.op = op
    this.a = a
    this.b = b
    this.c = c
    this.n = n
    this.more = more
  }
}

/** Opcodes that are named here. Comparisons are EQ NE LT_S LT_U GT_S GT_U LE_S LE_U GE_S GE_U. */
const EQZ32 = 0x45
const EQ32 = 0x46
const GE_U32 = 0x4f
const EQZ64 = 0x50
const EQ64 = 0x51
const GE_U64 = 0x5a
const AND32 = 0x71
const AND64 = 0x83
const LOAD32 = 0x28
const LOAD64 = 0x29
const LOAD32_8_U = 0x2d
const LOAD32_16_U = 0x2f
const LOAD64_8_U = 0x31
const LOAD64_16_U = 0x33
const LOAD64_32_S = 0x34
const LOAD64_32_U = 0x35
const STORE32 = 0x36
const STORE32_8 = 0x3a
const STORE32_16 = 0x3b
const STORE64_32 = 0x3e
const WRAP = 0xa7
const EXTEND_S = 0xac
const EXTEND_U = 0xad

function isUnary(code: Code, op: number): code is Node {
  return (code as Node).kind === KIND.UNARY && (code as Node).op === op
}
function isBinary(code: Code, op: number): code is Node {
  return (code as Node).kind === KIND.BINARY && (code as Node).op === op
}

// --- constants ----------------------------------------------------------------------------------------------------

/** Constants that are kept ready. */
const CONSTANTS_FROM = -256
const CONSTANTS_TO = 4096
function constants(kind: number): Node[] {
  const made: Node[] = []
  for (let n = CONSTANTS_FROM; n < CONSTANTS_TO; n++) made.push(new Node(kind, 0, NOTHING, NOTHING, NOTHING, n, undefined))
  return made
}
const CONSTANTS32 = constants(KIND.CONST32)
const CONSTANTS64 = constants(KIND.CONST64)

export function const32(value: number | bigint): Code {
  const n = typeof value === 'number' ? value | 0 : Number(BigInt.asIntN(32, value))
  if (n >= CONSTANTS_FROM && n < CONSTANTS_TO) return CONSTANTS32[n - CONSTANTS_FROM]!
  return new Node(KIND.CONST32, 0, NOTHING, NOTHING, NOTHING, n, undefined)
}
export function const64(value: number | bigint): Code {
  if (typeof value === 'number' && (value | 0) === value) {
    if (value >= CONSTANTS_FROM && value < CONSTANTS_TO) return CONSTANTS64[value - CONSTANTS_FROM]!
    return new Node(KIND.CONST64, 0, NOTHING, NOTHING, NOTHING, value, undefined)
  }
  const exact = BigInt.asIntN(64, BigInt(value))
  const low = Number(BigInt.asIntN(32, exact))
  if (BigInt(low) === exact) return const64(low)
  return new Node(KIND.CONST64, 0, NOTHING, NOTHING, NOTHING, 0, exact)
}
/** The constant that a piece is, or NaN. */
function known32(code: Code): number {
  return (code as Node).kind === KIND.CONST32 ? (code as Node).n : Number.NaN
}
/** The same of 64 bits, if it fits 32 bits with sign. */
function known64(code: Code): number {
  return (code as Node).kind === KIND.CONST64 && (code as Node).more === undefined ? (code as Node).n : Number.NaN
}
/** The same, whatever its value. */
function knownBig(code: Code): bigint | undefined {
  if ((code as Node).kind !== KIND.CONST64) return undefined
  const { more, n } = code as Node
  return more === undefined ? BigInt(n) : (more as bigint)
}

// --- instructions -------------------------------------------------------------------------------------------------

export function unaryNode(op: number, a: Code): Code {
  return new Node(KIND.UNARY, op, a, NOTHING, NOTHING, 0, undefined)
}
export function binaryNode(op: number, a: Code, b: Code): Code {
  return new Node(KIND.BINARY, op, a, b, NOTHING, 0, undefined)
}
export function loadNode(op: number, address: Code, offset: number): Code {
  if (offset < 0) throw new RangeError('memory offsets are unsigned')
  return new Node(KIND.LOAD, op, address, NOTHING, NOTHING, offset, undefined)
}
/** A store of the bits that fit: what clears or copies others is left out. */
export function storeNode(op: number, address: Code, value: Code, offset: number): Code {
  if (offset < 0) throw new RangeError('memory offsets are unsigned')
  let kept = value
  if (op === STORE32_8 || op === STORE32_16) {
    const mask = op === STORE32_8 ? 0xff : 0xffff
    if (isBinary(kept, AND32) && (known32(kept.b) & mask) === mask) kept = kept.a
  } else if (op === STORE64_32 && (isUnary(kept, EXTEND_U) || isUnary(kept, EXTEND_S)))
    return new Node(KIND.STORE, STORE32, address, kept.a, NOTHING, offset, undefined)
  return new Node(KIND.STORE, op, address, kept, NOTHING, offset, undefined)
}

/** What says the same as `condition` where only zero or not counts. */
export function truth(condition: Code): Code {
  let test = condition
  // Values after code that there is no need for.
  while (Array.isArray(test) && test.length === 2 && Array.isArray(test[0]) && test[0].length === 0) test = test[1] as Code
  while (isUnary(test, EQZ32) && isUnary(test.a, EQZ32)) test = test.a.a
  return test
}
/** Whether a condition is known: NaN if not. */
export const knownTruth: (condition: Code) => number = known32

/** Of a comparison, by its distance from EQ. */
const OPPOSITE: readonly number[] = [1, 0, 8, 9, 6, 7, 4, 5, 2, 3]

export function eqz32(a: Code): Code {
  const known = known32(a)
  if (known === known) return const32(known === 0 ? 1 : 0)
  if ((a as Node).kind === KIND.BINARY) {
    const { op } = a as Node
    const from = op >= EQ32 && op <= GE_U32 ? EQ32 : op >= EQ64 && op <= GE_U64 ? EQ64 : 0
    if (from !== 0) return binaryNode(from + OPPOSITE[op - from]!, (a as Node).a, (a as Node).b)
  }
  return unaryNode(EQZ32, a)
}
export function eqz64(a: Code): Code {
  const known = known64(a)
  if (known === known) return const32(known === 0 ? 1 : 0)
  return isUnary(a, EXTEND_U) || isUnary(a, EXTEND_S) ? eqz32(a.a) : unaryNode(EQZ64, a)
}

export function wrapNode(a: Code): Code {
  const { kind, op } = a as Node
  switch (kind) {
    case KIND.UNARY:
      if (op === EXTEND_U || op === EXTEND_S) return (a as Node).a
      break
    case KIND.CONST64: {
      const { more, n } = a as Node
      return const32(more === undefined ? n : (more as bigint))
    }
    case KIND.LOAD:
      if (op === LOAD64 || op === LOAD64_32_U || op === LOAD64_32_S) return loadNode(LOAD32, (a as Node).a, (a as Node).n)
      if (op === LOAD64_8_U) return loadNode(LOAD32_8_U, (a as Node).a, (a as Node).n)
      if (op === LOAD64_16_U) return loadNode(LOAD32_16_U, (a as Node).a, (a as Node).n)
      break
    default:
  }
  return unaryNode(WRAP, a)
}
export function extendNode(signed: boolean, a: Code): Code {
  const { kind, op, n } = a as Node
  if (kind === KIND.CONST32) return const64(signed ? n : n >>> 0)
  if (kind === KIND.LOAD) {
    const address = (a as Node).a
    if (op === LOAD32) return loadNode(signed ? LOAD64_32_S : LOAD64_32_U, address, n)
    if (op === LOAD32_8_U) return loadNode(LOAD64_8_U, address, n)
    if (op === LOAD32_16_U) return loadNode(LOAD64_16_U, address, n)
  }
  return unaryNode(signed ? EXTEND_S : EXTEND_U, a)
}

/** `code` has no other bits than those of `mask`, which is 2^n − 1. */
function within(code: Code, mask: number): boolean {
  const { kind, op } = code as Node
  if (kind === KIND.LOAD) return (op === LOAD32_8_U && mask >= 0xff) || (op === LOAD32_16_U && mask >= 0xffff)
  if (kind !== KIND.BINARY || op !== AND32) return false
  const known = known32((code as Node).b)
  return known >= 0 && known <= mask
}

type Fold = (a: number, b: number) => number
type FoldBig = (a: bigint, b: bigint) => bigint
const FOLD: Readonly<Record<string, readonly [Fold, FoldBig]>> = {
  add: [(a, b) => (a + b) | 0, (a, b) => a + b],
  sub: [(a, b) => (a - b) | 0, (a, b) => a - b],
  mul: [Math.imul, (a, b) => a * b],
  and: [(a, b) => a & b, (a, b) => a & b],
  or: [(a, b) => a | b, (a, b) => a | b],
  xor: [(a, b) => a ^ b, (a, b) => a ^ b],
  shl: [(a, b) => a << b, (a, b) => a << (b & 63n)],
  shrS: [(a, b) => a >> b, (a, b) => a >> (b & 63n)],
  shrU: [(a, b) => (a >>> b) | 0, (a, b) => BigInt.asUintN(64, a) >> (b & 63n)],
}

/** An operation with which `neutral` as right operand changes nothing. `free`: operands may change places and be grouped anew. */
export function foldingNode(wide: boolean, name: string, op: number, neutral: number, free: boolean): (a: Code, b: Code) => Code {
  const [fold, foldBig] = FOLD[name]!
  if (wide) return foldingBig(foldBig, op, neutral, free)
  const make = (a: Code, b: Code): Code => {
    const right = known32(b)
    const left = known32(a)
    if (right !== right) return free && left === left ? make(b, a) : binaryNode(op, a, b)
    if (right === neutral) return a
    if (left === left) return const32(fold(left, right))
    if (free && isBinary(a, op)) {
      const inner = known32(a.b)
      if (inner === inner) return make(a.a, const32(fold(inner, right)))
    }
    if (op === AND32 && right > 0 && (right & (right + 1)) === 0 && within(a, right)) return a
    return binaryNode(op, a, b)
  }
  return make
}

function foldingBig(fold: FoldBig, op: number, neutral: number, free: boolean): (a: Code, b: Code) => Code {
  const make = (a: Code, b: Code): Code => {
    if ((b as Node).kind !== KIND.CONST64)
      return free && (a as Node).kind === KIND.CONST64 ? make(b, a) : binaryNode(op, a, b)
    if (known64(b) === neutral) return a
    if ((a as Node).kind === KIND.CONST64) return const64(fold(knownBig(a)!, knownBig(b)!))
    if (op === AND64 && isUnary(a, EXTEND_U) && knownBig(b) === 0xffffffffn) return a
    if (free && isBinary(a, op)) {
      const inner = knownBig(a.b)
      if (inner !== undefined) return make(a.a, const64(fold(inner, knownBig(b)!)))
    }
    return binaryNode(op, a, b)
  }
  return make
}
