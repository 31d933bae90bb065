import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Code,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  ModuleBuilder,
  select,
  setLocal,
  teeLocal,
} from '../../src/engine/wasm-emitter.js'
import { runs } from '../runs.js'

/**
 * Random functions of two parameters: the emitter simplifies what it is given and keeps values on the stack where it can, an interpreter of the
 * same description does not. Values are bigints without sign.
 */
type Expression =
  | { readonly kind: 'const'; readonly wide: boolean; readonly value: bigint }
  | { readonly kind: 'get'; readonly wide: boolean; readonly local: number }
  | { readonly kind: 'tee'; readonly wide: boolean; readonly local: number; readonly value: Expression }
  | {
      readonly kind: 'binary'
      readonly wide: boolean
      readonly op: Operation
      readonly a: Expression
      readonly b: Expression
    }
  | { readonly kind: 'convert'; readonly wide: boolean; readonly signed: boolean; readonly a: Expression }
  | {
      readonly kind: 'select'
      readonly wide: boolean
      readonly test: Expression
      readonly a: Expression
      readonly b: Expression
    }
type Operation =
  | 'add'
  | 'sub'
  | 'mul'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'shrS'
  | 'shrU'
  | 'eq'
  | 'ne'
  | 'ltS'
  | 'geU'
  | 'eqz'
type Statement =
  | { readonly kind: 'set'; readonly wide: boolean; readonly local: number; readonly value: Expression }
  | {
      readonly kind: 'if'
      readonly test: Expression
      readonly then: readonly Statement[]
      readonly otherwise: readonly Statement[]
    }

const LOCALS = 3
const OPERATIONS: readonly Operation[] = ['add', 'sub', 'mul', 'and', 'or', 'xor', 'shl', 'shrS', 'shrU']
const TESTS: readonly Operation[] = ['eq', 'ne', 'ltS', 'geU', 'eqz']

const constant = fc.oneof(
  fc.constantFrom(0n, 1n, 0xffn, 0xffffn, 0xffffffffn, 0x80000000n, -1n, -4096n),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
)

function expressions(wide: boolean, depth: number): fc.Arbitrary<Expression> {
  const local = fc.integer({ min: 0, max: LOCALS - 1 })
  const leaves: fc.Arbitrary<Expression>[] = [
    constant.map((value) => ({ kind: 'const', wide, value })),
    local.map((n) => ({ kind: 'get', wide, local: n })),
  ]
  if (depth === 0) return fc.oneof(...leaves)
  const same = expressions(wide, depth - 1)
  const other = expressions(!wide, depth - 1)
  const more: fc.Arbitrary<Expression>[] = [
    fc.tuple(fc.constantFrom(...OPERATIONS), same, same).map(([op, a, b]) => ({ kind: 'binary', wide, op, a, b })),
    fc.tuple(fc.boolean(), other).map(([signed, a]) => ({ kind: 'convert', wide, signed, a })),
    fc.tuple(local, same).map(([n, value]) => ({ kind: 'tee', wide, local: n, value })),
    fc.tuple(expressions(false, depth - 1), same, same).map(([test, a, b]) => ({ kind: 'select', wide, test, a, b })),
  ]
  if (!wide)
    more.push(
      fc.tuple(fc.constantFrom(...TESTS), same, same).map(([op, a, b]) => ({ kind: 'binary', wide, op, a, b })),
      fc.tuple(fc.constantFrom(...TESTS), other, other).map(([op, a, b]) => ({ kind: 'binary', wide, op, a, b })),
    )
  return fc.oneof(...leaves, ...more, ...more)
}

function statements(depth: number): fc.Arbitrary<Statement[]> {
  const set: fc.Arbitrary<Statement> = fc
    .boolean()
    .chain((wide) =>
      fc
        .tuple(fc.integer({ min: 0, max: LOCALS - 1 }), expressions(wide, 2))
        .map(([local, value]) => ({ kind: 'set', wide, local, value }) as const),
    )
  if (depth === 0) return fc.array(set, { maxLength: 3 })
  const test: fc.Arbitrary<Statement> = fc
    .tuple(expressions(false, 2), statements(depth - 1), statements(depth - 1))
    .map(([condition, then, otherwise]) => ({ kind: 'if', test: condition, then, otherwise }) as const)
  return fc.array(fc.oneof(set, set, set, test), { maxLength: 6 })
}

/** The width of a binary's operands: comparisons give an i32 of either. */
const wideOperands = (e: Extract<Expression, { kind: 'binary' }>): boolean => e.a.wide

class Model {
  readonly locals: bigint[][] = [new Array<bigint>(LOCALS).fill(0n), new Array<bigint>(LOCALS).fill(0n)]

  value(e: Expression): bigint {
    const size = e.wide ? 64 : 32
    const U = (v: bigint): bigint => BigInt.asUintN(size, v)
    switch (e.kind) {
      case 'const':
        return U(e.value)
      case 'get':
        return this.locals[Number(e.wide)]![e.local]!
      case 'tee': {
        const value = this.value(e.value)
        this.locals[Number(e.wide)]![e.local] = value
        return value
      }
      case 'convert': {
        const value = this.value(e.a)
        return U(e.wide && e.signed ? BigInt.asIntN(32, value) : value)
      }
      case 'select': {
        const a = this.value(e.a)
        const b = this.value(e.b)
        return this.value(e.test) !== 0n ? a : b
      }
      case 'binary': {
        const bits = wideOperands(e) ? 64 : 32
        const a = this.value(e.a)
        const b = e.op === 'eqz' ? 0n : this.value(e.b)
        const n = b % BigInt(bits)
        const S = (v: bigint): bigint => BigInt.asIntN(bits, v)
        const flag = (v: boolean): bigint => (v ? 1n : 0n)
        const results: Record<Operation, () => bigint> = {
          add: () => a + b,
          sub: () => a - b,
          mul: () => a * b,
          and: () => a & b,
          or: () => a | b,
          xor: () => a ^ b,
          shl: () => a << n,
          shrS: () => S(a) >> n,
          shrU: () => a >> n,
          eq: () => flag(a === b),
          ne: () => flag(a !== b),
          ltS: () => flag(S(a) < S(b)),
          geU: () => flag(a >= b),
          eqz: () => flag(a === 0n),
        }
        return U(results[e.op]())
      }
    }
  }

  run(list: readonly Statement[]): void {
    for (const s of list) {
      if (s.kind === 'set') this.locals[Number(s.wide)]![s.local] = this.value(s.value)
      else this.run(this.value(s.test) !== 0n ? s.then : s.otherwise)
    }
  }
}

/** Locals by width and number. */
type Names = readonly (readonly number[])[]

function codeOf(e: Expression, names: Names): Code {
  const ops = e.wide ? i64 : i32
  switch (e.kind) {
    case 'const':
      return ops.const(e.wide ? e.value : Number(BigInt.asIntN(32, e.value)))
    case 'get':
      return getLocal(names[Number(e.wide)]![e.local]!)
    case 'tee':
      return teeLocal(names[Number(e.wide)]![e.local]!, codeOf(e.value, names))
    case 'convert':
      return e.wide ? (e.signed ? i64.extendS : i64.extendU)(codeOf(e.a, names)) : i32.wrap(codeOf(e.a, names))
    case 'select':
      return select(codeOf(e.test, names), codeOf(e.a, names), codeOf(e.b, names))
    case 'binary': {
      const of = wideOperands(e) ? i64 : i32
      return e.op === 'eqz' ? of.eqz(codeOf(e.a, names)) : of[e.op](codeOf(e.a, names), codeOf(e.b, names))
    }
  }
}
function codeOfAll(list: readonly Statement[], names: Names): Code {
  return list.map((s) =>
    s.kind === 'set'
      ? setLocal(names[Number(s.wide)]![s.local]!, codeOf(s.value, names))
      : ifElse(codeOf(s.test, names), codeOfAll(s.then, names), codeOfAll(s.otherwise, names)),
  )
}

describe('simplification', () => {
  it('changes nothing that a function computes', () => {
    fc.assert(
      fc.property(statements(2), constant, constant, (list, x, y) => {
        const model = new Model()
        model.locals[0]![0] = BigInt.asUintN(32, x)
        model.locals[1]![0] = BigInt.asUintN(64, y)
        model.run(list)
        let expected = 0n
        for (let n = 0; n < LOCALS; n++)
          expected = BigInt.asUintN(64, expected * 31n + (model.locals[0]![n]! ^ (model.locals[1]![n]! << 1n)))

        const m = new ModuleBuilder()
        const f = m.addFunction([I32, I64], [I64], (locals) => {
          const names: Names = [
            [0, locals.add(I32), locals.add(I32)],
            [1, locals.add(I64), locals.add(I64)],
          ]
          let sum: Code = i64.const(0)
          for (let n = 0; n < LOCALS; n++) {
            const one = i64.xor(i64.extendU(getLocal(names[0]![n]!)), i64.shl(getLocal(names[1]![n]!), i64.const(1)))
            sum = i64.add(i64.mul(sum, i64.const(31)), one)
          }
          return [codeOfAll(list, names), sum]
        })
        m.exportFunction('f', f)
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()))
        const result = (exports.f as (a: number, b: bigint) => bigint)(
          Number(BigInt.asIntN(32, x)),
          BigInt.asIntN(64, y),
        )
        expect(BigInt.asUintN(64, result)).toBe(expected)
      }),
      { numRuns: runs(300) },
    )
  })
})
