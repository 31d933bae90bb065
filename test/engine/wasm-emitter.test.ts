import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  block,
  blockOf,
  branch,
  branchIf,
  branchTable,
  type Code,
  callIndirect,
  getLocal,
  I32,
  I64,
  type IntegerOps,
  i32,
  i64,
  ifElse,
  label,
  loop,
  ModuleBuilder,
  ret,
  returnCall,
  returnCallIndirect,
  select,
  setLocal,
  signedLeb,
  teeLocal,
  unreachable,
  unsignedLeb,
  type ValueType,
} from '../../src/engine/wasm-emitter.js'
import { runs } from '../runs.js'

type AnyFunction = (...args: (number | bigint)[]) => number | bigint

/** A module with one exported function. */
function compile(params: ValueType[], result: ValueType, body: (add: (t: ValueType) => number) => Code): AnyFunction {
  const m = new ModuleBuilder()
  m.exportFunction(
    'f',
    m.addFunction(params, [result], (locals) => body((t) => locals.add(t))),
  )
  return new WebAssembly.Instance(new WebAssembly.Module(m.toBytes())).exports.f as AnyFunction
}

/** LEB128 decoded by the book ("Core Specification", "Integers"). */
function decodeLeb(bytes: readonly number[], signed: boolean): bigint {
  let value = 0n
  let shift = 0n
  for (const byte of bytes) {
    value |= BigInt(byte & 0x7f) << shift
    shift += 7n
  }
  return signed && bytes.at(-1)! & 0x40 ? value - (1n << shift) : value
}

describe('LEB128', () => {
  it('decodes to what was encoded, in the fewest bytes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (n) => {
        const bytes = signedLeb(n)
        expect(decodeLeb(bytes, true)).toBe(n)
        expect(bytes.length).toBe(
          Math.floor(
            BigInt.asUintN(64, n < 0n ? ~n : n)
              .toString(2)
              .replace(/^0/, '').length / 7,
          ) + 1,
        )
      }),
      { numRuns: runs(200) },
    )
    fc.assert(
      fc.property(fc.integer({ min: -0x80000000, max: 0x7fffffff }), (n) => {
        expect(signedLeb(n)).toEqual(signedLeb(BigInt(n)))
        expect(decodeLeb(unsignedLeb(n >>> 0), false)).toBe(BigInt(n >>> 0))
      }),
      { numRuns: runs(200) },
    )
  })
})

describe('integer instructions', () => {
  const U = (n: bigint, size: number): bigint => BigInt.asUintN(size, n)
  const S = (n: bigint, size: number): bigint => BigInt.asIntN(size, n)
  const truncate = (a: bigint, b: bigint): bigint => a / b
  type Model = (a: bigint, b: bigint, n: number) => bigint
  const flag = (value: boolean): bigint => (value ? 1n : 0n)
  const models: Partial<Record<keyof IntegerOps, Model>> = {
    eq: (a, b) => flag(a === b),
    ne: (a, b) => flag(a !== b),
    ltS: (a, b, n) => flag(S(a, n) < S(b, n)),
    ltU: (a, b) => flag(a < b),
    gtS: (a, b, n) => flag(S(a, n) > S(b, n)),
    gtU: (a, b) => flag(a > b),
    leS: (a, b, n) => flag(S(a, n) <= S(b, n)),
    leU: (a, b) => flag(a <= b),
    geS: (a, b, n) => flag(S(a, n) >= S(b, n)),
    geU: (a, b) => flag(a >= b),
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    divU: (a, b) => (b === 0n ? 0n : truncate(a, b)),
    remU: (a, b) => (b === 0n ? 0n : a % b),
    divS: (a, b, n) => (b === 0n ? 0n : truncate(S(a, n), S(b, n))),
    remS: (a, b, n) => (b === 0n ? 0n : S(a, n) % S(b, n)),
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b, n) => a << (b % BigInt(n)),
    shrU: (a, b, n) => a >> (b % BigInt(n)),
    shrS: (a, b, n) => S(a, n) >> (b % BigInt(n)),
    rotl: (a, b, n) => (a << (b % BigInt(n))) | (a >> ((BigInt(n) - (b % BigInt(n))) % BigInt(n))),
    rotr: (a, b, n) => (a >> (b % BigInt(n))) | (a << ((BigInt(n) - (b % BigInt(n))) % BigInt(n))),
    clz: (a, _b, n) => BigInt(n - (a === 0n ? 0 : a.toString(2).length)),
    ctz: (a, _b, n) => (a === 0n ? BigInt(n) : BigInt((a & -a).toString(2).length - 1)),
    popcnt: (a) => BigInt([...a.toString(2)].filter((d) => d === '1').length),
    eqz: (a) => flag(a === 0n),
    extend8S: (a) => S(a, 8),
    extend16S: (a) => S(a, 16),
  }
  const comparisons = /^(eq|ne|lt|gt|le|ge)/
  for (const ops of [i32, i64] as IntegerOps[]) {
    it(`${ops.size} bits: every one computes what the specification says`, () => {
      for (const [name, model] of Object.entries(models) as [keyof IntegerOps, Model][]) {
        const emit = ops[name] as unknown as (...args: Code[]) => Code
        const division = /^(div|rem)/.test(name)
        const value = [getLocal(0), getLocal(1)]
        const binary = emit.length === 2
        const body = binary ? emit(value[0]!, value[1]!) : emit(value[0]!)
        // Division by zero and the one overflow trap.
        const minusOne = ops.eq(getLocal(1), ops.const(-1))
        const guarded = division ? [ifElse(i32.or(ops.eqz(getLocal(1)), minusOne), ret(ops.const(0))), body] : body
        const f = compile([ops.type, ops.type], comparisons.test(name) ? I32 : ops.type, () => guarded)
        fc.assert(
          fc.property(
            fc.bigInt({ min: 0n, max: 2n ** BigInt(ops.size) - 1n }),
            fc.oneof(fc.bigInt({ min: 0n, max: 2n ** BigInt(ops.size) - 1n }), fc.bigInt({ min: 0n, max: 70n })),
            (a, b) => {
              if (division && S(b, ops.size) === -1n) return
              const pass = (n: bigint): number | bigint => (ops.size === 64 ? n : Number(S(n, 32)))
              expect(U(BigInt(f(pass(a), pass(b))), ops.size), name).toBe(U(model(a, b, ops.size), ops.size))
            },
          ),
          { numRuns: runs(25) },
        )
      }
    })
  }
})

describe('structure', () => {
  it('labels name blocks through any nesting', () => {
    // Sum of 1 … n, leaving the loop from inside two conditionals.
    const f = compile([I32], I32, (local) => {
      const sum = local(I32)
      const out = label()
      const again = label()
      return [
        block(
          out,
          loop(again, [
            ifElse(i32.eqz(getLocal(0)), ifElse(i32.const(1), branch(out))),
            setLocal(sum, i32.add(getLocal(sum), getLocal(0))),
            setLocal(0, i32.sub(getLocal(0), i32.const(1))),
            branchIf(again, i32.const(1)),
          ]),
        ),
        getLocal(sum),
      ]
    })
    expect(f(10)).toBe(55)
  })

  it('br_table picks a case or the default', () => {
    const f = compile([I32], I32, () => {
      const [a, b, other] = [label(), label(), label()]
      return [
        block(other, [
          block(b, [block(a, branchTable(getLocal(0), [a, b], other)), ret(i32.const(10))]),
          ret(i32.const(20)),
        ]),
        i32.const(30),
      ]
    })
    expect([f(0), f(1), f(2), f(-1)]).toEqual([10, 20, 30, 30])
  })

  it('tail calls do not grow the stack, direct and through the table', () => {
    for (const indirect of [false, true]) {
      const m = new ModuleBuilder()
      const type = m.type([I32, I64], [I64])
      const f = m.declareFunction([I32, I64], [I64])
      m.defineFunction(f, 2, () => {
        const args = [i32.sub(getLocal(0), i32.const(1)), i64.add(getLocal(1), i64.extendU(getLocal(0)))] as const
        return [
          ifElse(i32.eqz(getLocal(0)), ret(getLocal(1))),
          indirect ? returnCallIndirect(type, i32.const(0), ...args) : returnCall(f, ...args),
          unreachable,
        ]
      })
      m.setTable([f])
      m.exportFunction('f', f)
      const exports = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes())).exports
      expect((exports.f as AnyFunction)(1_000_000, 0n)).toBe(500000500000n)
    }
  })

  it('calls through the table, selects, tees', () => {
    const m = new ModuleBuilder()
    const type = m.type([I32], [I32])
    const double = m.addFunction([I32], [I32], () => i32.mul(getLocal(0), i32.const(2)))
    const negate = m.addFunction([I32], [I32], () => i32.sub(i32.const(0), getLocal(0)))
    m.setTable([double, negate])
    m.exportFunction(
      'f',
      m.addFunction([I32, I32], [I32], (locals) => {
        const t = locals.add(I32)
        return select(
          i32.gtS(getLocal(t), i32.const(0)),
          teeLocal(t, callIndirect(type, getLocal(0), getLocal(1))),
          i32.const(-100),
        )
      }),
    )
    const f = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes())).exports.f as AnyFunction
    expect([f(0, 21), f(1, 21), f(1, -5)]).toEqual([42, -100, 5])
  })

  it('blocks leave values, brought by branches or by their end', () => {
    const f = compile([I32], I32, () => {
      const out = label()
      return blockOf(I32, out, [
        branchIf(out, i32.eq(getLocal(0), i32.const(1)), i32.const(10)),
        ifElse(i32.eq(getLocal(0), i32.const(2)), branch(out, i32.const(20))),
        i32.const(30),
      ])
    })
    expect([f(1), f(2), f(3)]).toEqual([10, 20, 30])
  })

  it('nests blocks deeper than a host can recurse', () => {
    const f = compile([I32], I32, () => {
      const labels = Array.from({ length: 20_000 }, () => label())
      let nest: Code = branchTable(getLocal(0), labels, labels[0]!)
      labels.forEach((target, n) => {
        nest = [block(target, nest), ret(i32.const(n))]
      })
      return [nest, unreachable]
    })
    expect([f(0), f(7), f(19_999), f(-1)]).toEqual([0, 7, 19_999, 0])
  })

  it('values that are read once more after the first time are kept', () => {
    const f = compile([I32], I32, (local) => {
      const [a, b] = [local(I32), local(I32)]
      return [
        setLocal(a, i32.add(getLocal(0), i32.const(1))),
        setLocal(b, i32.mul(getLocal(a), i32.const(3))),
        ifElse(i32.gtS(getLocal(b), i32.const(100)), ret(i32.sub(getLocal(b), getLocal(a)))),
        getLocal(a),
      ]
    })
    expect([f(1), f(99)]).toEqual([2, 200])
  })

  it('scratch locals that were released give their place to others', () => {
    const m = new ModuleBuilder()
    const f = m.addFunction([I32], [I32], (locals) => {
      const sum = locals.add(I32)
      const code: Code[] = []
      for (let n = 0; n < 200; n++) {
        const one = locals.scratch(I32)
        const two = locals.scratch(I32)
        code.push(
          setLocal(one, i32.add(getLocal(0), i32.const(n))),
          setLocal(two, i32.mul(getLocal(one), getLocal(one))),
          setLocal(sum, i32.add(getLocal(sum), i32.sub(getLocal(two), getLocal(one)))),
        )
        locals.release()
      }
      return [code, getLocal(sum)]
    })
    m.exportFunction('f', f)
    const g = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes())).exports.f as AnyFunction
    let expected = 0
    for (let n = 0; n < 200; n++) expected += (5 + n) ** 2 - (5 + n)
    expect(g(5)).toBe(expected)
  })

  it('refuses branches out of nowhere and functions without a body', () => {
    expect(() => compile([], I32, () => branch(label()))).toThrow(RangeError)
    const m = new ModuleBuilder()
    m.declareFunction([], [])
    expect(() => m.toBytes()).toThrow(RangeError)
  })
})
