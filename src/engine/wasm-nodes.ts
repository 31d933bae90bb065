/**
 * Pieces of WebAssembly code as the emitter holds them, and how they simplify themselves while they are made: constants are folded, and what the
 * next operation undoes is left out. What may be written is in wasm-emitter.ts.
 *
 * Source: "WebAssembly Core Specification", chapters "Binary Format" (opcodes) and "Execution" (what operations give).
 */

export const I32 = 0x7f
export const I64 = 0x7e
export const F64 = 0x7c
export const F32 = 0x7d
export const V128 = 0x7b
/** The type of a value on the operand stack. */
export type ValueType = typeof I32 | typeof I64 | typeof F64 | typeof F32 | typeof V128

/** What a branch aims at. */
export interface Label {
  /** Blocks around its own while that is being flattened, else −1. */
  depth: number
}

/** A tree of code: a byte, pieces one after the other, or an instruction with its operands. Pieces may be used more than once. */
export type Code = number | readonly Code[] | Node

/** The sorts of {@link Node}, above the opcode in `op`, and what each one's fields hold. */
export const KIND = {
  /** The constant is in `n`, or in `x`. */
  CONST32: 0x100,
  CONST64: 0x200,
  /** `n` = local; the value to set is `a`. */
  GET: 0x300,
  SET: 0x400,
  TEE: 0x500,
  /** The opcode after the operands `a`, `b`, `x`. */
  UNARY: 0x600,
  BINARY: 0x700,
  SELECT: 0x800,
  /** After address `a` and value `b`; `n` = offset. */
  LOAD: 0x900,
  STORE: 0xa00,
  /** Block or loop of type `n` with label `x` and body `b`. */
  BLOCK: 0xb00,
  /** `a` = condition, `b` = body, `x` = else. */
  IF: 0xc00,
  /** After the condition or value `a`, to `x`. */
  BRANCH: 0xd00,
  /** To one of `x`, the last of which is the default; `a` = index. */
  TABLE: 0xe00,
  /** The bytes `x` after the operands `a`. */
  BYTES: 0xf00,
} as const

export const NOTHING: readonly Code[] = []

type Extra = bigint | Label | readonly Label[] | readonly number[] | Code | undefined

/** One instruction. All have one shape: they are made by the hundred thousand. */
export class Node {
  /** A {@link KIND} and an opcode. */
  readonly op: number
  readonly a: Code
  readonly b: Code
  readonly x: Extra
  readonly n: number

  constructor(op: number, a: Code, b: Code, x: Extra, n: number) {
    this.op = op
    this.a = a
    this.b = b
    this.x = x
    this.n = n
  }
}

/** Operations that are named here. Comparisons are EQ NE LT_S LT_U GT_S GT_U LE_S LE_U GE_S GE_U. */
const EQZ32 = KIND.UNARY | 0x45
const EQ32 = KIND.BINARY | 0x46
const GE_U32 = KIND.BINARY | 0x4f
const EQZ64 = KIND.UNARY | 0x50
const EQ64 = KIND.BINARY | 0x51
const GE_U64 = KIND.BINARY | 0x5a
const AND32 = KIND.BINARY | 0x71
const AND64 = KIND.BINARY | 0x83
const LOAD32 = KIND.LOAD | 0x28
const LOAD64 = KIND.LOAD | 0x29
const LOAD32_8_U = KIND.LOAD | 0x2d
const LOAD32_16_U = KIND.LOAD | 0x2f
const LOAD64_8_U = KIND.LOAD | 0x31
const LOAD64_16_U = KIND.LOAD | 0x33
const LOAD64_32_S = KIND.LOAD | 0x34
const LOAD64_32_U = KIND.LOAD | 0x35
const STORE32 = KIND.STORE | 0x36
const STORE32_8 = KIND.STORE | 0x3a
const STORE32_16 = KIND.STORE | 0x3b
const STORE64_32 = KIND.STORE | 0x3e
const WRAP = KIND.UNARY | 0xa7
const EXTEND_S = KIND.UNARY | 0xac
const EXTEND_U = KIND.UNARY | 0xad

function is(code: Code, op: number): code is Node {
  return (code as Node).op === op
}

// --- constants ----------------------------------------------------------------------------------------------------

/** Constants that are kept ready. */
const CONSTANTS_FROM = -256
const CONSTANTS_TO = 4096
function constants(kind: number): Node[] {
  const made: Node[] = []
  for (let n = CONSTANTS_FROM; n < CONSTANTS_TO; n++) made.push(new Node(kind, NOTHING, NOTHING, undefined, n))
  return made
}
const CONSTANTS32 = constants(KIND.CONST32)
const CONSTANTS64 = constants(KIND.CONST64)

export function const32(value: number | bigint): Code {
  const n = typeof value === 'number' ? value | 0 : Number(BigInt.asIntN(32, value))
  if (n >= CONSTANTS_FROM && n < CONSTANTS_TO) return CONSTANTS32[n - CONSTANTS_FROM]!
  return new Node(KIND.CONST32, NOTHING, NOTHING, undefined, n)
}
export function const64(value: number | bigint): Code {
  if (typeof value === 'number' && (value | 0) === value) {
    if (value >= CONSTANTS_FROM && value < CONSTANTS_TO) return CONSTANTS64[value - CONSTANTS_FROM]!
    return new Node(KIND.CONST64, NOTHING, NOTHING, undefined, value)
  }
  const exact = BigInt.asIntN(64, BigInt(value))
  const low = Number(BigInt.asIntN(32, exact))
  if (BigInt(low) === exact) return const64(low)
  return new Node(KIND.CONST64, NOTHING, NOTHING, exact, 0)
}
/** A piece is a constant integer. */
export function isConstant(code: Code): boolean {
  const { op } = code as Node
  return op === KIND.CONST32 || op === KIND.CONST64
}
/** The constant that a piece is, or NaN. */
function known32(code: Code): number {
  return (code as Node).op === KIND.CONST32 ? (code as Node).n : Number.NaN
}
/** The same of 64 bits, if it fits 32 bits with sign. */
function known64(code: Code): number {
  return (code as Node).op === KIND.CONST64 && (code as Node).x === undefined ? (code as Node).n : Number.NaN
}
/** The same, whatever its value. */
function knownBig(code: Code): bigint | undefined {
  if ((code as Node).op !== KIND.CONST64) return undefined
  const { x, n } = code as Node
  return x === undefined ? BigInt(n) : (x as bigint)
}

// --- instructions -------------------------------------------------------------------------------------------------

/** `op`: with its kind, here and below. */
export function unaryNode(op: number, a: Code): Code {
  return new Node(op, a, NOTHING, undefined, 0)
}
export function binaryNode(op: number, a: Code, b: Code): Code {
  return new Node(op, a, b, undefined, 0)
}
export function loadNode(op: number, address: Code, offset: number): Code {
  if (offset < 0) throw new RangeError('memory offsets are unsigned')
  return new Node(op, address, NOTHING, undefined, offset)
}
/** A store of the bits that fit: what clears or copies others is left out. */
export function storeNode(op: number, address: Code, value: Code, offset: number): Code {
  if (offset < 0) throw new RangeError('memory offsets are unsigned')
  let kept = value
  if (op === STORE32_8 || op === STORE32_16) {
    const mask = op === STORE32_8 ? 0xff : 0xffff
    if (is(kept, AND32) && (known32(kept.b) & mask) === mask) kept = kept.a
  } else if (op === STORE64_32 && (is(kept, EXTEND_U) || is(kept, EXTEND_S)))
    return new Node(STORE32, address, kept.a, undefined, offset)
  return new Node(op, address, kept, undefined, offset)
}

/** What says the same as `condition` where only zero or not counts. */
export function truth(condition: Code): Code {
  let test = condition
  // Values after code that there is no need for.
  while (Array.isArray(test) && test.length === 2 && Array.isArray(test[0]) && test[0].length === 0)
    test = test[1] as Code
  while (is(test, EQZ32) && is(test.a, EQZ32)) test = test.a.a
  return test
}
/** Whether a condition is known: NaN if not. */
export const knownTruth: (condition: Code) => number = known32

/** Of a comparison, by its distance from EQ. */
const OPPOSITE: readonly number[] = [1, 0, 8, 9, 6, 7, 4, 5, 2, 3]

export function eqz32(a: Code): Code {
  const known = known32(a)
  if (!Number.isNaN(known)) return const32(known === 0 ? 1 : 0)
  const { op } = a as Node
  const from = op >= EQ32 && op <= GE_U32 ? EQ32 : op >= EQ64 && op <= GE_U64 ? EQ64 : 0
  if (from !== 0) return binaryNode(from + OPPOSITE[op - from]!, (a as Node).a, (a as Node).b)
  return unaryNode(EQZ32, a)
}
export function eqz64(a: Code): Code {
  const known = known64(a)
  if (!Number.isNaN(known)) return const32(known === 0 ? 1 : 0)
  return is(a, EXTEND_U) || is(a, EXTEND_S) ? eqz32(a.a) : unaryNode(EQZ64, a)
}

export function wrapNode(a: Code): Code {
  switch ((a as Node).op) {
    case EXTEND_U:
    case EXTEND_S:
      return (a as Node).a
    case KIND.CONST64: {
      const { x, n } = a as Node
      return const32(x === undefined ? n : (x as bigint))
    }
    case LOAD64:
    case LOAD64_32_U:
    case LOAD64_32_S:
      return loadNode(LOAD32, (a as Node).a, (a as Node).n)
    case LOAD64_8_U:
      return loadNode(LOAD32_8_U, (a as Node).a, (a as Node).n)
    case LOAD64_16_U:
      return loadNode(LOAD32_16_U, (a as Node).a, (a as Node).n)
    default:
      return unaryNode(WRAP, a)
  }
}
export function extendNode(signed: boolean, a: Code): Code {
  const { n } = a as Node
  switch ((a as Node).op) {
    case KIND.CONST32:
      return const64(signed ? n : n >>> 0)
    case LOAD32:
      return loadNode(signed ? LOAD64_32_S : LOAD64_32_U, (a as Node).a, n)
    case LOAD32_8_U:
      return loadNode(LOAD64_8_U, (a as Node).a, n)
    case LOAD32_16_U:
      return loadNode(LOAD64_16_U, (a as Node).a, n)
    default:
      return unaryNode(signed ? EXTEND_S : EXTEND_U, a)
  }
}

/** `code` has no other bits than those of `mask`, which is 2^n − 1. */
function within(code: Code, mask: number): boolean {
  const { op } = code as Node
  if (op === LOAD32_8_U) return mask >= 0xff
  if (op === LOAD32_16_U) return mask >= 0xffff
  if (op !== AND32) return false
  const known = known32((code as Node).b)
  return known >= 0 && known <= mask
}

/** Distances from ADD of the operations that constants are folded in; what lies between divides. */
const MATH = { ADD: 0, SUB: 1, MUL: 2, AND: 7, OR: 8, XOR: 9, SHL: 10, SHR_S: 11, SHR_U: 12 } as const
const ADD32 = KIND.BINARY | 0x6a
const ADD64 = KIND.BINARY | 0x7c
/** By distance: the right operand that changes nothing. */
const NEUTRAL: readonly number[] = [0, 0, 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN, -1, 0, 0, 0, 0, 0]
/** By distance: operands may change places and be grouped anew. */
const FREE: readonly boolean[] = [true, false, true, false, false, false, false, true, true, true, false, false, false]

function fold32(math: number, a: number, b: number): number {
  switch (math) {
    case MATH.ADD:
      return a + b
    case MATH.SUB:
      return a - b
    case MATH.MUL:
      return Math.imul(a, b)
    case MATH.AND:
      return a & b
    case MATH.OR:
      return a | b
    case MATH.XOR:
      return a ^ b
    case MATH.SHL:
      return a << b
    case MATH.SHR_S:
      return a >> b
    default:
      return a >>> b
  }
}
/** Of two numbers that fit 32 bits with sign: the result, or NaN if it might need more than a number has. */
function foldSmall64(math: number, a: number, b: number): number {
  switch (math) {
    case MATH.ADD:
      return a + b
    case MATH.SUB:
      return a - b
    case MATH.AND:
      return a & b
    case MATH.OR:
      return a | b
    case MATH.XOR:
      return a ^ b
    default:
      return Number.NaN
  }
}
function foldConstants64(math: number, a: Code, b: Code): Code {
  const small = foldSmall64(math, known64(a), known64(b))
  if (!Number.isNaN(known64(a)) && !Number.isNaN(known64(b)) && !Number.isNaN(small)) return const64(small)
  return const64(fold64(math, knownBig(a)!, knownBig(b)!))
}
function fold64(math: number, a: bigint, b: bigint): bigint {
  switch (math) {
    case MATH.ADD:
      return a + b
    case MATH.SUB:
      return a - b
    case MATH.MUL:
      return a * b
    case MATH.AND:
      return a & b
    case MATH.OR:
      return a | b
    case MATH.XOR:
      return a ^ b
    case MATH.SHL:
      return a << (b & 63n)
    case MATH.SHR_S:
      return a >> (b & 63n)
    default:
      return BigInt.asUintN(64, a) >> (b & 63n)
  }
}

/** An operation of {@link MATH} on i32, simplified. */
export function math32(op: number, a: Code, b: Code): Code {
  const right = known32(b)
  if (Number.isNaN(right)) {
    if ((a as Node).op === KIND.CONST32 && FREE[op - ADD32]!) return math32(op, b, a)
    return binaryNode(op, a, b)
  }
  const math = op - ADD32
  if (right === NEUTRAL[math]) return a
  const left = known32(a)
  if (!Number.isNaN(left)) return const32(fold32(math, left, right))
  if (FREE[math]! && is(a, op)) {
    const inner = known32(a.b)
    if (!Number.isNaN(inner)) return math32(op, a.a, const32(fold32(math, inner, right)))
  }
  if (op === AND32 && right > 0 && (right & (right + 1)) === 0 && within(a, right)) return a
  return binaryNode(op, a, b)
}
/** The same on i64. */
export function math64(op: number, a: Code, b: Code): Code {
  const math = op - ADD64
  if ((b as Node).op !== KIND.CONST64) {
    if ((a as Node).op === KIND.CONST64 && FREE[math]!) return math64(op, b, a)
    return binaryNode(op, a, b)
  }
  if (known64(b) === NEUTRAL[math]) return a
  if ((a as Node).op === KIND.CONST64) return foldConstants64(math, a, b)
  if (op === AND64 && is(a, EXTEND_U) && knownBig(b) === 0xffffffffn) return a
  if (FREE[math]! && is(a, op)) {
    const inner = a.b
    if ((inner as Node).op === KIND.CONST64) return math64(op, a.a, foldConstants64(math, inner, b))
  }
  return binaryNode(op, a, b)
}
