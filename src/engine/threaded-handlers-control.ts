/** Handlers of the threaded engine for branches, branch checks and helper calls, and the tails that handlers share. */

import {
  ITLB_ENTRIES,
  MODE_CODE_MASK,
  MODE_CODE16,
  MODE_FLAT_CS,
  OFF_ITLB,
  OFF_MODE,
  OFF_REMAINING,
  OFF_RIP,
  OFF_SEG,
  OFF_TAG_SELECT,
  SEG_BASE,
  SEG_LIMIT,
  SEG_STRIDE,
  TLB_ADDEND,
} from '../cpu/layout.js'
import { UOP, UOP_A, UOP_B, UOP_C, UOP_EXT, UOP_IMM, UOP_INDEX, UOP_IP, UOP_VALUE } from '../cpu/uops.js'
import { SEG_CS } from '../isa/instruction.js'
import {
  BLOCK_BYTES,
  BLOCK_COUNT,
  BLOCK_HEADER_SIZE,
  BLOCK_MODE,
  BLOCK_PLACE,
  base,
  type Dispatch,
  EXIT_BUDGET,
  EXIT_HOT,
  EXIT_LINK,
  EXIT_LOOKUP,
  EXIT_STOP,
  enterBlock,
  type HandlerBuilder,
  JUMP_CACHE_BITS,
  JUMP_CACHE_MULTIPLIER,
  JUMP_CACHE_SHIFT,
  OFF_JUMP_CACHE,
  pc,
  REMAINING,
  RIP,
  remaining,
  rip,
  type Tail,
  tlbEntry,
  WIDTHS,
  type Width,
} from './threaded-builder.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { type Code, call, getLocal, I32, I64, i32, i64, ifElse, ret, setLocal } from './wasm-emitter.js'

/** How a branch target is truncated: to 16 bits, to 32, or not (64-bit code). */
export const TARGETS = { W16: 0, W32: 1, W64: 2 } as const
export type Target = (typeof TARGETS)[keyof typeof TARGETS]

/** Link fields of a JMP (the first), and of branches that have two ways to go. They overlay operands that handlers are specialised for. */
export const LINK_TAKEN: number = UOP_B
export const LINK_NEXT: number = UOP_EXT
/** Link field of a string operation. */
export const LINK_STRING: number = UOP_VALUE

/** In an indirect jump: the low half of where it went last; 0 = not yet. */
export const LINK_LAST: number = UOP_VALUE

const ONE_WAY: readonly number[] = [LINK_TAKEN]
const TWO_WAYS: readonly number[] = [LINK_TAKEN, LINK_NEXT]
const AGAIN: readonly number[] = [LINK_STRING]
const NO_WAY: readonly number[] = []

/** The link fields of a block's last record, by its kind. */
export function linkFields(kind: number): readonly number[] {
  if (kind === UOP.JMP || kind === UOP.END) return ONE_WAY
  if (kind === UOP.JCC || kind === UOP.LOOP || kind === UOP.JCXZ) return TWO_WAYS
  return kind >= UOP.MOVS && kind <= UOP.SCAS ? AGAIN : NO_WAY
}

const CS_LIMIT = OFF_SEG + SEG_CS * SEG_STRIDE + SEG_LIMIT
const CS_BASE = OFF_SEG + SEG_CS * SEG_STRIDE + SEG_BASE

function truncated(target: Target, value: Code): Code {
  if (target === TARGETS.W64) return value
  return i64.and(value, i64.const(target === TARGETS.W16 ? 0xffff : 0xffffffff))
}

/** RIP ← start + distance, and on to that block. */
export function goTo(g: HandlerBuilder, target: Target, distance: Code, linkField: number): Code {
  if (target !== TARGETS.W16) return [setLocal(RIP, truncated(target, i64.add(g.rip, distance))), g.follow(linkField)]
  // IP wraps at 64 KiB, which takes it out of the page that links stay in.
  const sum = g.local(I64)
  return [
    setLocal(sum, i64.add(g.rip, distance)),
    setLocal(RIP, truncated(target, getLocal(sum))),
    ifElse(i64.ne(rip, getLocal(sum)), g.dispatch.tail('jump')),
    g.follow(linkField),
  ]
}

function nextDistance(g: HandlerBuilder): Code {
  return g.field32S(UOP_VALUE)
}

/** The two ways of a conditional branch. Only the one that is taken truncates IP to the operand size. */
export function fork(g: HandlerBuilder, target: Target, condition: Code): Code {
  const next = target === TARGETS.W64 ? TARGETS.W64 : TARGETS.W32
  return ifElse(condition, goTo(g, target, g.field64(UOP_IMM), LINK_TAKEN), goTo(g, next, nextDistance(g), LINK_NEXT))
}

function exceedsCs(offset: Code): Code {
  return i64.gtU(offset, i64.load32U(base, CS_LIMIT))
}

function notCanonical(value: Code): Code {
  return i64.ne(i64.shrS(i64.shl(value, i64.const(16)), i64.const(16)), value)
}

export function branchName(kind: string, target: Target): string {
  return `${kind}~${16 << target}`
}

function defineBranches(registry: HandlerRegistry): void {
  for (const target of Object.values(TARGETS)) {
    registry.define(
      UOP.JMP,
      0,
      target,
      branchName('JMP', target),
      (g) => goTo(g, target, g.field64(UOP_IMM), LINK_TAKEN),
      true,
    )
    for (let code = 0; code < 16; code++) {
      registry.define(
        UOP.JCC,
        0,
        code | (target << 4),
        branchName(`JCC.${code}`, target),
        (g) => fork(g, target, g.condition(code)),
        true,
      )
    }
    // The condition does not matter: a target out of bounds is the reference engine's business either way.
    registry.define(UOP.CHECK_REL, 0, target, branchName('CHECK_REL', target), (g) =>
      g.bailIf(exceedsCs(truncated(target, i64.add(g.rip, g.field64(UOP_IMM))))),
    )
    for (let size = 0; size < 3; size++) defineLoops(registry, target, size)
  }
  // The end of a block without a branch. The block's entry check made sure that IP does not wrap before.
  // Outside 64-bit code EIP wraps at 4 GiB.
  registry.define(UOP.END, 0, 0, 'END', (g) => goTo(g, TARGETS.W32, g.field64(UOP_IMM), LINK_TAKEN), true)
  registry.define(UOP.END, 0, 1, 'END64', (g) => goTo(g, TARGETS.W64, g.field64(UOP_IMM), LINK_TAKEN), true)
  for (const w of WIDTHS) {
    if (w.index === 0) continue
    registry.define(
      UOP.JMP_SLOT,
      w.index,
      0,
      `JMP_SLOT${w.bits}`,
      (g) => {
        const value = g.read(w, UOP_A)
        // Whoever translates the block wants to know where it went.
        const note = i32.store(i32.add(g.pc, i32.const(g.at)), i32.wrap(rip), LINK_LAST)
        return [setLocal(RIP, w.index === 3 ? value : i64.extendU(value)), note, g.dispatch.tail('jump')]
      },
      true,
    )
    registry.alias(UOP.CHECK_IP, w.index, 0, 'NOP')
    if (w.index === 3)
      registry.define(UOP.CHECK_IP, 3, 1, 'CHECK_CANONICAL', (g) => {
        const [set, value] = g.keep(I64, g.read(w, UOP_A))
        return [set, g.bailIf(notCanonical(value))]
      })
    else {
      registry.alias(UOP.CHECK_IP, w.index, 1, 'NOP')
      registry.define(UOP.CHECK_IP, w.index, 2, `CHECK_LIMIT${w.bits}`, (g) =>
        g.bailIf(exceedsCs(i64.extendU(g.read(w, UOP_A)))),
      )
    }
  }
}

/** Variant of LOOP and JCXZ: address size 0–2, truncation of the target, condition of LOOP. */
export function loopVariant(size: number, target: Target, condition: number): number {
  return (target * 3 + size) * 3 + condition
}

function defineLoops(registry: HandlerRegistry, target: Target, size: number): void {
  const w = WIDTHS[(size + 1) as 1 | 2 | 3]
  const o = w.ops
  const RCX = 1
  const check = (g: HandlerBuilder): Code => {
    const [set, to] = g.keep(I64, truncated(target, i64.add(g.rip, g.field64(UOP_IMM))))
    return [set, g.bailIf(target === TARGETS.W64 ? notCanonical(to) : exceedsCs(to))]
  }
  registry.define(
    UOP.JCXZ,
    0,
    loopVariant(size, target, 0),
    branchName(`JCXZ${w.bits}`, target),
    (g) => [check(g), fork(g, target, o.eqz(g.readRegister(w, RCX)))],
    true,
  )
  for (let condition = 0; condition < 3; condition++) {
    registry.define(
      UOP.LOOP,
      0,
      loopVariant(size, target, condition),
      branchName(`LOOP${w.bits}.${condition}`, target),
      (g) => {
        const [setN, n] = g.keep(o.type, o.sub(g.readRegister(w, RCX), o.const(1)))
        const nonZero = w.index === 1 ? i32.and(n, i32.const(0xffff)) : o.ne(n, o.const(0))
        const taken =
          condition === 0
            ? nonZero
            : i32.and(
                o.ne(w.index === 1 ? i32.and(n, i32.const(0xffff)) : n, o.const(0)),
                g.condition(condition === 1 ? 4 : 5),
              )
        return [check(g), setN, g.writeRegister(w, RCX, n), fork(g, target, taken)]
      },
      true,
    )
  }
}

/** First record of a block under a CS that is not flat: the whole block must lie within CS, and IP must not reach 64 KiB in it or after it. */
export const ENTER_CS = 'ENTER_CS'
/** First record of a block of one instruction that crosses into the next page: that page must be mapped to the place that the record names. */
export const ENTER_CROSSING = 'ENTER_CROSSING'

function defineSpecial(registry: HandlerRegistry): void {
  registry.named(
    ENTER_CS,
    (g) => {
      const header = i32.sub(pc, i32.const(BLOCK_HEADER_SIZE))
      const [set, last] = g.keep(I64, i64.sub(i64.add(rip, i64.load32U(header, BLOCK_BYTES)), i64.const(1)))
      const code16 = i32.eq(i32.and(i32.load(header, BLOCK_MODE), i32.const(MODE_CODE_MASK)), i32.const(MODE_CODE16))
      return [set, g.bailIf(exceedsCs(last)), g.bailIf(i32.and(code16, i64.gtU(last, i64.const(0xfffe))))]
    },
    false,
  )
  registry.named(
    ENTER_CROSSING,
    (g) => {
      const [set, next] = g.keep(I64, i64.add(i64.or(rip, i64.const(4095)), i64.const(1)))
      const [setEntry, entry] = g.keep(I32, tlbEntry(i32.wrap(next), ITLB_ENTRIES))
      return [
        set,
        setEntry,
        g.bailIf(i64.ne(i64.load(i32.add(entry, i32.load(base, OFF_TAG_SELECT)), OFF_ITLB), next)),
        g.bailIf(i32.ne(i32.add(i32.load(entry, OFF_ITLB + TLB_ADDEND), i32.wrap(next)), g.field32(UOP_IMM))),
      ]
    },
    false,
  )
  registry.define(UOP.HELPER, 0, 0, 'HELPER', (g) => g.leaveForHelper(), true)
}

/** Sources of a fused compare: name of the record before the branch. */
const COMPARES = ['CMP', 'CMP_IMM', 'TEST', 'TEST_IMM', 'DEC', 'SUB_IMM'] as const

/** The condition `code` (even) of x − y, or of x & y, straight from the operands; undefined where the stored flags do better. */
function directCondition(
  w: Width,
  code: number,
  logic: boolean,
  x: Code,
  y: Code,
  xs: Code,
  ys: Code,
  r: Code,
): Code | undefined {
  const o = w.ops
  const zero = o.const(0)
  const shifted = w.index <= 1 ? o.shl(r, o.const(32 - w.bits)) : r
  if (logic) {
    switch (code) {
      case 4:
        return o.eqz(shifted)
      case 8:
      case 12:
        return o.ltS(shifted, zero)
      case 14:
        return o.leS(shifted, zero)
      default:
        return undefined
    }
  }
  switch (code) {
    case 2:
      return o.ltU(x, y)
    case 4:
      return o.eq(x, y)
    case 6:
      return o.leU(x, y)
    case 8:
      return o.ltS(shifted, zero)
    case 12:
      return o.ltS(xs, ys)
    case 14:
      return o.leS(xs, ys)
    default:
      return undefined
  }
}

/** A compare and the branch on it, in one step. */
function defineCompareAndBranch(registry: HandlerRegistry): void {
  for (const target of Object.values(TARGETS)) {
    for (const w of WIDTHS) {
      if (w.index === 3 && target !== TARGETS.W64) continue
      for (const name of COMPARES) {
        for (let code = 2; code < 16; code++) {
          if ((code & 14) === 10) continue
          if (name === 'DEC' && (code & 14) !== 4 && (code & 14) !== 8) continue
          if (name === 'SUB_IMM' && (code & 14) !== 4) continue
          const logic = name.startsWith('TEST')
          if (logic && (code & 14) !== 4 && (code & 14) < 8) continue
          registry.fuse([`${name}${w.bits}`, branchName(`JCC.${code}`, target)], (g) =>
            compareBranch(g, w, name, code, target),
          )
        }
      }
    }
  }
}

function compareBranch(g: HandlerBuilder, w: Width, name: string, code: number, target: Target): Code {
  const o = w.ops
  const logic = name.startsWith('TEST')
  const immediate = name.endsWith('_IMM')
  const writes = name === 'DEC' || name === 'SUB_IMM'
  const one = name === 'DEC'
  // Signed and unsigned views of narrow operands differ; at 32 and 64 bits they are the same bits.
  const signed = w.index <= 1 && code >= 12
  const load = (field: number): Code => (signed ? g.readSigned(w, field) : g.read(w, field))
  const [setX, x] = g.keep(o.type, load(UOP_B))
  const [setY, y] = g.keep(o.type, one ? o.const(1) : immediate ? g.immediate(w, signed) : load(UOP_C))
  const [setR, r] = g.keep(o.type, logic ? o.and(x, y) : o.sub(x, y))
  const flags = logic ? g.logicFlags(w, r) : one ? g.stepFlags(w, false, x, r) : g.arithmeticFlags(w, 'sub', x, y, r)
  const positive = directCondition(w, code & 14, logic, x, y, x, y, r)!
  // The operands stay in locals, so the condition may be taken after the result was written.
  const store = writes ? g.write(w, UOP_A, r) : []
  const start = g.at
  g.at = start + 32
  const condition = code & 1 ? i32.eqz(positive) : positive
  const branch = fork(g, target, condition)
  g.at = start
  return [setX, setY, setR, flags, store, branch]
}

/** Adds all handlers of this file. */
export function defineControl(registry: HandlerRegistry): void {
  defineBranches(registry)
  defineSpecial(registry)
  defineCompareAndBranch(registry)
}

/** The code of a shared tail. It has the handlers' parameters and leaves a result. */
export function tailBody(which: Tail, dispatch: Dispatch): Code {
  const leave = (reason: number): Code => [
    i64.store(base, rip, OFF_RIP),
    i32.store(base, remaining, OFF_REMAINING),
    ret(i32.const(reason)),
  ]
  switch (which) {
    case 'budget':
      return leave(EXIT_BUDGET)
    case 'link':
      return leave(EXIT_LINK)
    case 'hot':
      return leave(EXIT_HOT)
    case 'bail':
      return [
        i64.store(base, i64.add(rip, i64.load16U(pc, UOP_IP)), OFF_RIP),
        i32.store(base, i32.add(remaining, i32.load8U(pc, UOP_INDEX)), OFF_REMAINING),
        ifElse(call(dispatch.step), ret(i32.const(EXIT_STOP))),
        setLocal(RIP, i64.load(base, OFF_RIP)),
        setLocal(REMAINING, i32.load(base, OFF_REMAINING)),
        dispatch.tail('jump'),
      ]
    case 'jump':
      return jumpThroughCache(dispatch, leave)
  }
}

/**
 * Goes to the block at RIP if the jump cache knows it, the instruction TLB still maps its page to the bytes it was made from, and the mode
 * is the one it was made for.
 */
function jumpThroughCache(dispatch: Dispatch, leave: (reason: number) => Code): Code {
  const linear = dispatch.local(I64)
  const low = dispatch.local(I32)
  const entry = dispatch.local(I32)
  const block = dispatch.local(I32)
  const at = getLocal(block)
  return [
    setLocal(linear, rip),
    ifElse(
      i32.eqz(i32.and(i32.load(base, OFF_MODE), i32.const(MODE_FLAT_CS))),
      setLocal(linear, i64.and(i64.add(rip, i64.load(base, CS_BASE)), i64.const(0xffffffff))),
    ),
    setLocal(low, i32.wrap(getLocal(linear))),
    setLocal(
      entry,
      i32.add(
        base,
        i32.shl(
          i32.shrU(i32.mul(getLocal(low), i32.const(JUMP_CACHE_MULTIPLIER)), i32.const(32 - JUMP_CACHE_BITS)),
          i32.const(JUMP_CACHE_SHIFT),
        ),
      ),
    ),
    setLocal(block, i32.load(getLocal(entry), OFF_JUMP_CACHE + 8)),
    ifElse(at, [
      ifElse(i64.eq(i64.load(getLocal(entry), OFF_JUMP_CACHE), getLocal(linear)), [
        setLocal(entry, tlbEntry(getLocal(low), ITLB_ENTRIES)),
        ifElse(
          i64.ne(
            i64.load(i32.add(getLocal(entry), i32.load(base, OFF_TAG_SELECT)), OFF_ITLB),
            i64.and(getLocal(linear), i64.const(-4096)),
          ),
          [
            // The TLB is filled for an instruction that will run, not for one beyond the budget.
            ifElse(i32.leS(remaining, i32.const(0)), leave(EXIT_BUDGET)),
            ifElse(i32.eqz(i32.and(i32.load(base, OFF_MODE), i32.const(MODE_FLAT_CS))), leave(EXIT_LOOKUP)),
            ifElse(i32.eqz(call(dispatch.fetch, base, getLocal(linear))), leave(EXIT_LOOKUP)),
          ],
        ),
        ifElse(
          i32.and(
            i32.eq(i32.load(base, OFF_MODE), i32.load(at, BLOCK_MODE)),
            i32.eq(i32.add(i32.load(getLocal(entry), OFF_ITLB + TLB_ADDEND), getLocal(low)), i32.load(at, BLOCK_PLACE)),
          ),
          [
            ifElse(i32.ltS(remaining, i32.load(at, BLOCK_COUNT)), leave(EXIT_BUDGET)),
            enterBlock(dispatch, at, i32.load(at, BLOCK_COUNT)),
          ],
        ),
      ]),
    ]),
    leave(EXIT_LOOKUP),
  ]
}
