/**
 * The x87 in regions. Its registers live in locals, named by their distance from the top of the stack that the region found: where in the stack an
 * instruction works is then known when it is compiled, and loads of registers, exchanges and pushes cost nothing. Tags, control word, status word and
 * the instruction pointer for the environment live in locals, too.
 *
 * All of it is loaded at the first x87 instruction that runs, and stored wherever a region is left or something looks at the state block. The local
 * `live` tells which: 0, or one more than the distance of ST(0) from the top that was found. Each block of instructions is compiled for the
 * distance that one of its predecessors leaves; where control comes with another one, everything is stored and loaded again.
 *
 * The instructions are those of threaded-handlers-x87.ts, on the same conditions; anything else bails.
 */

import { auxForFlags, resultForFlags } from '../cpu/flags.js'
import { OFF_FCW, OFF_FIP, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87 } from '../cpu/layout.js'
import { UOP_A, UOP_B } from '../cpu/uops.js'
import { X87_MEMORY, X87_REGISTER } from '../cpu/x87.js'
import { FLAG_CF, FLAG_ZF } from '../isa/flags.js'
import { type Form, type HandlerBuilder, WIDTHS } from './threaded-builder.js'
import type { X87Functions } from './threaded-x87-functions.js'
import {
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  select,
  setLocal,
  type ValueType,
} from './wasm-emitter.js'
import {
  addNumbers,
  compareNumbers,
  fromBinary,
  fromInteger,
  multiplyNumbers,
  type Number80,
  WORD_INEXACT,
  WORD_STATUS_SHIFT,
  WORD_UP,
  type Work,
} from './x87-arithmetic.js'

/** What {@link RegionX87} needs of the builder of a region. */
export interface X87Region extends HandlerBuilder {
  /** The CPU block's address. */
  readonly cpu: number
  /** Local: RIP where the page starts. */
  readonly origin: number
  /** A local that lives through the whole region. */
  variable(type: ValueType): number
  /** A field of the current record. */
  number16(field: number): number
  /** Byte offset of the current instruction in its page. */
  readonly instructionOffset: number
}

const C1 = 0x200
const ES = 0x80
const EXCEPTIONS = 0x3f
const CONDITIONS = 0x4700
/** Of the control word: rounding control, and the mask of inexact results. */
const ROUNDING = 0xc00
const INEXACT_MASK = 0x20
const TRUNCATE = 3
const ZERO32 = i32.const(0)
const ONE32 = i32.const(1)
const SEVEN = i32.const(7)
const INDEFINITE_BIT = i64.const(-0x8000_0000_0000_0000n)

/** What is known where code is being built. Masks have one bit for each register, by its distance. */
interface Known {
  /** Distance of ST(0). */
  delta: number
  /** Everything is in locals. */
  live: boolean
  full: number
  empty: number
  /** Registers that are zero or normal, if they are not empty. */
  good: number
  /** Rounding is to nearest; inexact results are masked. */
  nearest: boolean
  masked: boolean
}

const nothing = (delta: number): Known => ({
  delta,
  live: false,
  full: 0,
  empty: 0,
  good: 0,
  nearest: false,
  masked: false,
})

interface Locals {
  readonly live: number
  /** {@link Known.delta} plus 1 of the block that loads. */
  readonly wanted: number
  /** Physical register at distance 0. */
  readonly top: number
  /** One bit for each register that is not empty, by distance. */
  readonly tags: number
  readonly control: number
  /** The status word, but for what the next two say: PE in the word of any result since, C1 in that of the last one. */
  readonly status: number
  readonly sticky: number
  readonly last: number
  /** Offset in the page of the last instruction that the environment tells of, or −1. */
  readonly pointer: number
}

type Kind = 'add' | 'mul' | 'sub' | 'subr' | 'div' | 'divr'
type Emit = (x: RegionX87, form: Form) => Code

export class RegionX87 {
  private readonly g: X87Region
  private known: Known = nothing(0)
  /** What is known at the start of blocks that have one predecessor; of others, only the distance counts. */
  private readonly knownAt = new Map<number, Known>()
  private locals: Locals | undefined
  /** Locals of the registers by distance: 0 = none yet. */
  private readonly sigs = new Int32Array(8)
  private readonly sexps = new Int32Array(8)
  /** Some block is entered with several distances. */
  private mixed = false
  /** Filled in by {@link finish}. */
  private readonly storingFirst: Code[] = []
  private readonly loading: Code[] = []
  private readonly storing: Code[] = []

  constructor(g: X87Region) {
    this.g = g
  }

  // --- blocks -------------------------------------------------------------------------------------------------------

  /** Goes on with a block, to which there is one way only if `single`. */
  enter(node: number, single: boolean): void {
    const known = this.knownAt.get(node)
    if (known === undefined) this.knownAt.set(node, nothing(0))
    this.known = known !== undefined && single ? { ...known } : nothing(known?.delta ?? 0)
  }

  /** The current block has an edge to `node`. */
  edge(node: number): void {
    const known = this.knownAt.get(node)
    if (known === undefined) this.knownAt.set(node, { ...this.known })
    else if (known.delta !== this.known.delta) this.mixed = true
  }

  /** Stores everything into the state block, if it is not there. */
  flush(): Code {
    this.known = nothing(this.known.delta)
    return this.storing
  }

  /** After all blocks. */
  finish(): void {
    const { locals } = this
    if (locals === undefined) return
    const { g } = this
    const { live, wanted, top, tags, control, status, sticky, last, pointer } = locals
    const base = ZERO32
    const at = (offset: number): number => g.cpu + offset
    const place = (k: number): Code => i32.shl(i32.and(i32.add(getLocal(top), i32.const(k)), SEVEN), i32.const(4))
    const registers = [...this.sigs.keys()].filter((k) => this.sigs[k] !== 0)
    const tagBits = i32.mul(i32.load8U(base, at(OFF_FTAG)), i32.const(0x101))
    const rotated = i32.shl(getLocal(tags), getLocal(top))
    this.loading.push(
      setLocal(top, i32.and(i32.sub(i32.load8U(base, at(OFF_TOP)), i32.sub(getLocal(wanted), ONE32)), SEVEN)),
      setLocal(tags, i32.and(i32.shrU(tagBits, getLocal(top)), i32.const(0xff))),
      setLocal(control, i32.load16U(base, at(OFF_FCW))),
      setLocal(status, i32.load16U(base, at(OFF_FSW))),
      setLocal(sticky, ZERO32),
      setLocal(last, i32.shl(getLocal(status), i32.const(WORD_STATUS_SHIFT))),
      setLocal(pointer, i32.const(-1)),
      registers.map((k) => [
        setLocal(this.sigs[k]!, i64.load(place(k), at(OFF_X87))),
        setLocal(this.sexps[k]!, i32.load16U(place(k), at(OFF_X87 + 8))),
      ]),
      setLocal(live, getLocal(wanted)),
    )
    if (this.mixed) this.storingFirst.push(this.storing)
    this.storing.push(
      ifElse(getLocal(live), [
        i32.store8(base, this.top(), at(OFF_TOP)),
        i32.store8(base, i32.or(rotated, i32.shrU(rotated, i32.const(8))), at(OFF_FTAG)),
        i32.store16(base, getLocal(control), at(OFF_FCW)),
        i32.store16(base, this.status(), at(OFF_FSW)),
        ifElse(
          i32.geS(getLocal(pointer), ZERO32),
          i64.store(base, i64.add(getLocal(g.origin), i64.extendU(getLocal(pointer))), at(OFF_FIP)),
        ),
        registers.map((k) => [
          i64.store(place(k), getLocal(this.sigs[k]!), at(OFF_X87)),
          i32.store16(place(k), getLocal(this.sexps[k]!), at(OFF_X87 + 8)),
        ]),
        setLocal(live, ZERO32),
      ]),
    )
  }

  /** What stores everything: for every way out of the region. */
  get exit(): Code {
    return this.storing
  }

  /** The current record's code: operation `operation` on registers, or on memory with an address form; undefined if it is not one of those known here. */
  record(operation: number, form: Form | undefined): Code | undefined {
    const emit = form === undefined ? REGISTER_CODE[operation] : MEMORY_CODE[operation]
    return emit?.(this, form ?? 0)
  }

  // --- state --------------------------------------------------------------------------------------------------------

  private use(): Locals {
    const { g } = this
    this.locals ??= {
      live: g.variable(I32),
      wanted: g.variable(I32),
      top: g.variable(I32),
      tags: g.variable(I32),
      control: g.variable(I32),
      status: g.variable(I32),
      sticky: g.variable(I32),
      last: g.variable(I32),
      pointer: g.variable(I32),
    }
    return this.locals
  }

  /** Makes sure that everything is in locals, and nothing pends. */
  ready(): Code {
    const { live, wanted } = this.use()
    const { g, known } = this
    if (known.live) return []
    known.live = true
    return ifElse(i32.ne(getLocal(live), i32.const(known.delta + 1)), [
      this.storingFirst,
      g.bailIf(i32.and(i32.load16U(ZERO32, g.cpu + OFF_FSW), i32.const(ES))),
      setLocal(wanted, i32.const(known.delta + 1)),
      this.loading,
    ])
  }

  private distance(i: number): number {
    return (this.known.delta + i) & 7
  }
  private sigLocal(k: number): number {
    if (this.sigs[k] === 0) {
      this.sigs[k] = this.g.variable(I64)
      this.sexps[k] = this.g.variable(I32)
    }
    return this.sigs[k]!
  }
  private sexpLocal(k: number): number {
    this.sigLocal(k)
    return this.sexps[k]!
  }

  /** ST(i). */
  st(i: number): Number80 {
    const k = this.distance(i)
    return {
      sig: getLocal(this.sigLocal(k)),
      sexp: getLocal(this.sexpLocal(k)),
      good: (this.known.good & (1 << k)) !== 0,
    }
  }

  /** ST(i) ← a number, which may be one of the registers. Its tag stays. */
  setSt(i: number, x: Number80): Code {
    const k = this.distance(i)
    if (x.good) this.known.good |= 1 << k
    else this.known.good &= ~(1 << k)
    return [setLocal(this.sigLocal(k), x.sig), setLocal(this.sexpLocal(k), x.sexp)]
  }

  /** Bails if ST(i) is empty. */
  full(i: number): Code {
    const { known, g } = this
    const bit = 1 << this.distance(i)
    if (known.full & bit) return []
    known.full |= bit
    known.empty &= ~bit
    return g.bailIf(i32.eqz(i32.and(getLocal(this.use().tags), i32.const(bit))))
  }

  /** Bails if there is no room for a push. */
  room(): Code {
    const { known, g } = this
    const bit = 1 << this.distance(7)
    if (known.empty & bit) return []
    known.empty |= bit
    known.full &= ~bit
    return g.bailIf(i32.and(getLocal(this.use().tags), i32.const(bit)))
  }

  /** ST(i) is not empty any more. */
  fill(i: number): Code {
    const { known } = this
    const { tags } = this.use()
    const bit = 1 << this.distance(i)
    if (known.full & bit) return []
    known.full |= bit
    known.empty &= ~bit
    return setLocal(tags, i32.or(getLocal(tags), i32.const(bit)))
  }

  private move(by: number): Code {
    this.known.delta = (this.known.delta + by) & 7
    return setLocal(this.use().live, i32.const(this.known.delta + 1))
  }

  /** Pushes a number; there is room. C1 ← 0. */
  push(x: Number80): Code {
    return [this.setSt(7, x), this.fill(7), this.move(-1), this.clearC1()]
  }

  pop(): Code {
    const { known } = this
    const { tags } = this.use()
    const bit = 1 << this.distance(0)
    known.full &= ~bit
    known.empty |= bit
    return [setLocal(tags, i32.and(getLocal(tags), i32.const(0xff & ~bit))), this.move(1)]
  }

  /** Bails unless rounding is to nearest and inexactness is masked. */
  nearest(): Code {
    const { known, g } = this
    if (known.nearest) return []
    known.nearest = true
    known.masked = true
    const bits = i32.and(getLocal(this.use().control), i32.const(ROUNDING | INEXACT_MASK))
    return g.bailIf(i32.ne(bits, i32.const(INEXACT_MASK)))
  }

  /** Bails unless inexactness is masked. */
  masked(): Code {
    const { known, g } = this
    if (known.masked) return []
    known.masked = true
    return g.bailIf(i32.eqz(i32.and(this.control, i32.const(INEXACT_MASK))))
  }

  get control(): Code {
    return getLocal(this.use().control)
  }

  /** C1 and PE become those of a result's word. */
  note(word: Code): Code {
    const { sticky, last } = this.use()
    return [setLocal(sticky, i32.or(getLocal(sticky), word)), setLocal(last, word)]
  }

  clearC1(): Code {
    return setLocal(this.use().last, ZERO32)
  }

  /** The number of the physical register that is ST(0). */
  private top(): Code {
    const { top, live } = this.use()
    return i32.and(i32.sub(i32.add(getLocal(top), getLocal(live)), ONE32), SEVEN)
  }

  /** The status word without TOP. */
  status(): Code {
    const { status, sticky, last } = this.use()
    const results = i32.or(
      i32.and(getLocal(sticky), i32.const(WORD_INEXACT)),
      i32.and(getLocal(last), i32.const(WORD_UP)),
    )
    return i32.or(i32.and(getLocal(status), i32.const(~C1)), i32.shrU(results, i32.const(WORD_STATUS_SHIFT)))
  }

  /** The status word as programs see it. */
  wholeStatus(): Code {
    return i32.or(this.status(), i32.shl(this.top(), i32.const(11)))
  }

  /** FIP ← the instruction. */
  pointer(): Code {
    return setLocal(this.use().pointer, i32.const(this.g.instructionOffset))
  }

  // --- operations ---------------------------------------------------------------------------------------------------

  /** The i in ST(i) of the current record. */
  get i(): number {
    return this.g.number16(UOP_B) & 7
  }

  work(): Work {
    const { g } = this
    return { local: (type) => g.local(type), sig: g.local(I64), word: g.local(I32), fail: g.bail() }
  }

  /** For arithmetic in place: what is rarer is called. */
  private workInPlace(): Work {
    return { ...this.work(), short: this.functions.rounded }
  }

  /** ST(destination) ← x op y; the caller has seen that the operands are there. */
  compute(kind: Kind, destination: number, x: Number80, y: Number80): Code {
    const { g } = this
    const before = this.nearest()
    const negated = (n: Number80): Number80 => ({ ...n, sexp: i32.xor(n.sexp, i32.const(0x8000)) })
    if (kind === 'div' || kind === 'divr') {
      const [a, b] = kind === 'div' ? [x, y] : [y, x]
      const work = this.work()
      return [
        before,
        call(this.functions.quotient, a.sig, a.sexp, b.sig, b.sexp, this.control),
        setLocal(work.word, []),
        setLocal(work.sig, []),
        g.bailIf(i32.ltS(getLocal(work.word), ZERO32)),
        this.result(destination, work),
      ]
    }
    const work = this.workInPlace()
    const code =
      kind === 'mul'
        ? multiplyNumbers(work, this.control, x, y)
        : kind === 'subr'
          ? addNumbers(work, this.control, y, negated(x))
          : addNumbers(work, this.control, x, kind === 'sub' ? negated(y) : y)
    return [before, code, this.result(destination, work)]
  }

  /** ST(destination) and the status word ← a result. */
  private result(destination: number, work: Work): Code {
    const word = getLocal(work.word)
    return [this.setSt(destination, { sig: getLocal(work.sig), sexp: word, good: true }), this.note(word)]
  }

  /** ST(0) ← its square root. */
  root(): Code {
    const before = [this.ready(), this.full(0), this.nearest()]
    const x = this.st(0)
    const { code, work } = this.convert(this.g.dispatch.x87.rootOf, x, this.control)
    return [before, code, this.result(0, work), this.pointer()]
  }

  /** Calls a function on one number; bails if there is no result. */
  convert(index: number, x: Number80, what: Code): { code: Code; work: Work } {
    const work = this.work()
    const code: Code = [
      call(index, x.sig, x.sexp, what),
      setLocal(work.word, []),
      setLocal(work.sig, []),
      this.g.bailIf(i32.ltS(getLocal(work.word), ZERO32)),
    ]
    return { code, work }
  }

  /** The i32 local of the condition codes of a comparison. */
  compare(x: Number80, y: Number80): [Code, Code] {
    const outcome = this.g.local(I32)
    return [compareNumbers(this.work(), x, y, outcome), getLocal(outcome)]
  }

  /** Condition codes ← `outcome`, C1 ← 0. */
  setConditions(outcome: Code): Code {
    const { status } = this.use()
    return [setLocal(status, i32.or(i32.and(getLocal(status), i32.const(~CONDITIONS)), outcome)), this.clearC1()]
  }

  /** The operand in memory at `place` as a number. */
  source(type: Source, place: Code): [Code, Number80] {
    const { g } = this
    const work = this.work()
    const number = { sig: getLocal(work.sig), sexp: getLocal(work.word), good: true }
    const bits = g.local(type === 'm32' ? I32 : I64)
    switch (type) {
      case 'm32':
        return [[setLocal(bits, i32.load(place)), fromBinary(work, getLocal(bits), false)], number]
      case 'm64':
        return [[setLocal(bits, i64.load(place)), fromBinary(work, getLocal(bits), true)], number]
      case 'i16':
        return [[setLocal(bits, i64.extendS(i32.load16S(place))), fromInteger(work, getLocal(bits))], number]
      case 'i32':
        return [[setLocal(bits, i64.load32S(place)), fromInteger(work, getLocal(bits))], number]
      case 'i64':
        return [[setLocal(bits, i64.load(place)), fromInteger(work, getLocal(bits))], number]
    }
  }

  get functions(): X87Functions {
    return this.g.dispatch.x87
  }

  operand(form: Form, bytes: number, write: boolean): [Code, Code] {
    return this.g.operand(form, bytes, write)
  }

  // --- instructions -------------------------------------------------------------------------------------------------

  compareFlags(pops: boolean): Code {
    const { g, i } = this
    const before = [this.ready(), this.full(0), this.full(i)]
    const [set, outcome] = this.compare(this.st(0), this.st(i))
    const equal = i32.eq(outcome, i32.const(0x4000))
    const pick = (of: (flags: number) => number): Code =>
      select(equal, i32.const(of(FLAG_ZF)), select(outcome, i32.const(of(FLAG_CF)), i32.const(of(0))))
    return [
      before,
      set,
      g.flagResult(WIDTHS[2], pick(resultForFlags)),
      g.flagAux(pick(auxForFlags)),
      pops ? this.pop() : [],
      this.pointer(),
    ]
  }

  loadControl(form: Form): Code {
    const { g } = this
    const { control } = this.use()
    const before = this.ready()
    const [find, place] = this.operand(form, 2, false)
    const [setValue, value] = g.keep(I32, i32.or(i32.and(i32.load16U(place), i32.const(0x1f3f)), i32.const(0x40)))
    const code: Code = [
      before,
      find,
      setValue,
      // It would unmask an exception that is noted.
      g.bailIf(i32.and(i32.and(this.status(), i32.const(EXCEPTIONS)), i32.xor(value, i32.const(-1)))),
      setLocal(control, value),
    ]
    this.known.nearest = false
    this.known.masked = false
    return code
  }

  storeStatus(): Code {
    const before = this.ready()
    return [before, this.g.write(WIDTHS[1], UOP_A, this.wholeStatus())]
  }

  exchange(): Code {
    const { g, i } = this
    const before = [this.ready(), this.full(0), this.full(i)]
    const a = this.st(0)
    const b = this.st(i)
    const [holdSig, sig] = g.keep(I64, a.sig)
    const [holdSexp, sexp] = g.keep(I32, a.sexp)
    return [
      before,
      holdSig,
      holdSexp,
      this.setSt(0, b),
      this.setSt(i, { sig, sexp, good: a.good }),
      this.clearC1(),
      this.pointer(),
    ]
  }

  changeSign(change: (sexp: Code) => Code): Code {
    const before = [this.ready(), this.full(0)]
    const x = this.st(0)
    return [before, this.setSt(0, { ...x, sexp: change(x.sexp) }), this.clearC1(), this.pointer()]
  }
}

type Source = 'm32' | 'm64' | 'i16' | 'i32' | 'i64'
const SOURCES: readonly (readonly [Source, 2 | 4 | 8])[] = [
  ['m32', 4],
  ['m64', 8],
  ['i16', 2],
  ['i32', 4],
  ['i64', 8],
]
const KINDS: readonly Kind[] = ['add', 'mul', 'sub', 'subr', 'div', 'divr']

/** By operation. */
const REGISTER_CODE: (Emit | undefined)[] = []
const MEMORY_CODE: (Emit | undefined)[] = []

function onRegisters(name: string, emit: Emit): void {
  REGISTER_CODE[X87_REGISTER.get(name)!] = emit
}
function onMemory(name: string, emit: Emit): void {
  MEMORY_CODE[X87_MEMORY.get(name)!] = emit
}

function defineArithmetic(): void {
  for (const kind of KINDS) {
    for (const [suffix, toI, pops] of [
      ['', false, false],
      ['.i', true, false],
      ['p.i', true, true],
    ] as const) {
      onRegisters(`f${kind}${suffix}`, (x) => {
        const { i } = x
        const before = [x.ready(), x.full(0), x.full(i)]
        const [destination, source] = toI ? [i, 0] : [0, i]
        return [before, x.compute(kind, destination, x.st(destination), x.st(source)), pops ? x.pop() : [], x.pointer()]
      })
    }
  }
  for (const [type, bytes] of SOURCES) {
    if (type === 'i64') continue
    const stem = type.startsWith('i') ? 'fi' : 'f'
    for (const kind of KINDS) {
      onMemory(`${stem}${kind}.${bytes}`, (x, form) => {
        const before = [x.ready(), x.full(0), x.nearest()]
        const [find, place] = x.operand(form, bytes, false)
        const [convert, y] = x.source(type, place)
        return [before, find, convert, x.compute(kind, 0, x.st(0), y), x.pointer()]
      })
    }
    for (const pops of [false, true]) {
      onMemory(`${stem}com${pops ? 'p' : ''}.${bytes}`, (x, form) => {
        const before = [x.ready(), x.full(0)]
        const [find, place] = x.operand(form, bytes, false)
        const [convert, y] = x.source(type, place)
        const [compare, outcome] = x.compare(x.st(0), y)
        return [before, find, convert, compare, x.setConditions(outcome), pops ? x.pop() : [], x.pointer()]
      })
    }
  }
  for (const [name, pops] of [
    ['fcom', 0],
    ['fcomp', 1],
    ['fcompp', 2],
    ['fucom', 0],
    ['fucomp', 1],
    ['fucompp', 2],
  ] as const) {
    onRegisters(name, (x) => {
      const before = [x.ready(), x.full(0), x.full(x.i)]
      const [compare, outcome] = x.compare(x.st(0), x.st(x.i))
      return [before, compare, x.setConditions(outcome), pops > 0 ? x.pop() : [], pops > 1 ? x.pop() : [], x.pointer()]
    })
  }
  for (const [name, pops] of [
    ['fcomi', false],
    ['fucomi', false],
    ['fcomip', true],
    ['fucomip', true],
  ] as const)
    onRegisters(name, (x) => x.compareFlags(pops))
  onRegisters('fsqrt', (x) => x.root())
}

function defineMoves(): void {
  for (const [type, bytes] of SOURCES) {
    onMemory(`${type.startsWith('i') ? 'fild' : 'fld'}.${bytes}`, (x, form) => {
      const before = [x.ready(), x.room()]
      const [find, place] = x.operand(form, bytes, false)
      const [convert, number] = x.source(type, place)
      return [before, find, convert, x.push(number), x.pointer()]
    })
  }
  onMemory('fld.10', (x, form) => {
    const before = [x.ready(), x.room()]
    const [find, place] = x.operand(form, 10, false)
    return [before, find, x.push({ sig: i64.load(place), sexp: i32.load16U(place, 8), good: false }), x.pointer()]
  })
  for (const pops of [false, true]) {
    for (const bytes of [4, 8] as const) {
      onMemory(`fst${pops ? 'p' : ''}.${bytes}`, (x, form) => {
        const before = [x.ready(), x.full(0), x.nearest()]
        const f = x.functions
        const { code, work } = x.convert(bytes === 8 ? f.doubleOf : f.singleOf, x.st(0), ZERO32)
        const [find, place] = x.operand(form, bytes, true)
        return [before, code, find, store(x, bytes, place, work), pops ? x.pop() : [], x.pointer()]
      })
    }
  }
  for (const [name, bytes, pops, truncate] of [
    ['fist.2', 2, false, false],
    ['fist.4', 4, false, false],
    ['fistp.2', 2, true, false],
    ['fistp.4', 4, true, false],
    ['fistp.8', 8, true, false],
    ['fisttp.2', 2, true, true],
    ['fisttp.4', 4, true, true],
    ['fisttp.8', 8, true, true],
  ] as const) {
    onMemory(name, (x, form) => {
      const before = [x.ready(), x.full(0), x.masked()]
      const rounding = truncate ? i32.const(TRUNCATE) : i32.and(i32.shrU(x.control, i32.const(10)), i32.const(TRUNCATE))
      const what = i32.or(rounding, i32.const(bytes << 11))
      const { code, work } = x.convert(x.functions.integerOf, x.st(0), what)
      const [find, place] = x.operand(form, bytes, true)
      return [before, code, find, store(x, bytes, place, work), pops ? x.pop() : [], x.pointer()]
    })
  }
  onMemory('fstp.10', (x, form) => {
    const before = [x.ready(), x.full(0)]
    const { sig, sexp } = x.st(0)
    const [find, place] = x.operand(form, 10, true)
    return [before, find, i64.store(place, sig), i32.store16(place, sexp, 8), x.clearC1(), x.pop(), x.pointer()]
  })
  onRegisters('fld', (x) => {
    const { i } = x
    const before = [x.ready(), x.full(i), x.room()]
    return [before, x.push(x.st(i)), x.pointer()]
  })
  for (const pops of [false, true]) {
    onRegisters(pops ? 'fstp' : 'fst', (x) => {
      const { i } = x
      const before = [x.ready(), x.full(0)]
      return [before, x.setSt(i, x.st(0)), x.fill(i), x.clearC1(), pops ? x.pop() : [], x.pointer()]
    })
  }
  onRegisters('fxch', (x) => x.exchange())
  onRegisters('fchs', (x) => x.changeSign((sexp) => i32.xor(sexp, i32.const(0x8000))))
  onRegisters('fabs', (x) => x.changeSign((sexp) => i32.and(sexp, i32.const(0x7fff))))
  onRegisters('fldz', (x) => constant(x, { sig: i64.const(0), sexp: ZERO32, good: true }))
  onRegisters('fld1', (x) => constant(x, { sig: INDEFINITE_BIT, sexp: i32.const(0x3fff), good: true }))
}

function constant(x: RegionX87, number: Number80): Code {
  return [x.ready(), x.room(), x.push(number), x.pointer()]
}

/** Stores a result of `bytes` bytes, and what it does to the status word. */
function store(x: RegionX87, bytes: 2 | 4 | 8, place: Code, work: Work): Code {
  const value = getLocal(work.sig)
  const put = bytes === 8 ? i64.store(place, value) : (bytes === 4 ? i32.store : i32.store16)(place, i32.wrap(value))
  return [put, x.note(getLocal(work.word))]
}

function defineControl(): void {
  onMemory('fldcw.2', (x, form) => x.loadControl(form))
  onMemory('fnstcw.2', (x, form) => {
    const before = x.ready()
    const [find, place] = x.operand(form, 2, true)
    return [before, find, i32.store16(place, x.control)]
  })
  onMemory('fnstsw.2', (x, form) => {
    const before = x.ready()
    const [find, place] = x.operand(form, 2, true)
    return [before, find, i32.store16(place, x.wholeStatus())]
  })
  onRegisters('fnstsw', (x) => x.storeStatus())
  onRegisters('fwait', (x) => x.ready())
}

defineArithmetic()
defineMoves()
defineControl()
