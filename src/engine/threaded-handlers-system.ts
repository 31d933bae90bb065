/**
 * Handlers of the threaded engine for system instructions that have a common case without any work for the processor's helpers: CLI and STI
 * where the interrupt flag may simply be changed, and loads of a data segment whose descriptor was loaded and checked before. Every other
 * case goes to the helper.
 */

import { HELPER } from '../cpu/helpers.js'
import {
  DTLB_ENTRIES,
  MEMO_FLAT,
  MEMO_KEY,
  MEMO_RAW,
  MODE_CODE_MASK,
  MODE_CODE64,
  MODE_FLAT_DS,
  MODE_FLAT_ES,
  MODE_FLAT_SS,
  MODE_PROTECTED,
  MODE_STACK32,
  OFF_CR4,
  OFF_DTLB,
  OFF_FLAGS_REST,
  OFF_FLAT,
  OFF_GDTR,
  OFF_INTERRUPT_WAITS,
  OFF_MODE,
  OFF_SEG,
  OFF_SEGMENT_MEMO,
  SEG_BASE,
  SEG_LIMIT,
  SEG_READ_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
  SEG_WRITE_LIMIT,
  SEGMENT_MEMO_ENTRIES,
  TLB_ADDEND,
  TLB_TAG_SUPER_READ,
  TSC_AUX,
  TSC_COUNT,
  TSC_KNOWN,
  TSC_OFFSET,
  TSC_RATE,
  TSC_START,
} from '../cpu/layout.js'
import { UOP, UOP_B, UOP_INDEX } from '../cpu/uops.js'
import { FLAG_IF } from '../isa/flags.js'
import { SEG_DS, SEG_ES, SEG_FS, SEG_GS } from '../isa/instruction.js'
import { CR4_TSD } from '../mmu/index.js'
import { base, gpr, type HandlerBuilder, remaining, tlbEntry, WIDTHS } from './threaded-builder.js'
import { defineExchanges, exchangeVariant } from './threaded-handlers-exchange.js'
import { defineFlagInstructions, flagVariant } from './threaded-handlers-flags.js'
import type { HandlerRegistry } from './threaded-registry.js'
import { csRpl, orHelper, ownsInterruptFlag } from './threaded-system-common.js'
import { type Code, getLocal, I32, I64, i32, i64, ifElse, setLocal } from './wasm-emitter.js'
import { f64 } from './wasm-floats.js'

/** Variants of HELPER records. */
const VARIANT_CLI = 1
const VARIANT_STI = 2
const VARIANT_RDTSC = 3
const VARIANT_RDTSCP = 4
/** Plus the number of the segment register. */
const VARIANT_MOV_SEGMENT = 8
const VARIANT_POP_SEGMENT = 16

const LOADABLE: readonly number[] = [SEG_ES, SEG_DS, SEG_FS, SEG_GS]
const RSP = gpr(4)

/** The variant for a HELPER record: helper number, its operands, the block's mode. */
export function helperVariant(helper: number, a: number, b: number, mode: number): number {
  switch (helper) {
    case HELPER.cli:
      return VARIANT_CLI
    case HELPER.sti:
      return VARIANT_STI
    case HELPER.rdtsc:
      return VARIANT_RDTSC
    case HELPER.rdtscp:
      return VARIANT_RDTSCP
    case HELPER.movToSegment:
      return LOADABLE.includes(a) ? VARIANT_MOV_SEGMENT + a : 0
    case HELPER.popSegment: {
      const flat32 = MODE_STACK32 | MODE_FLAT_SS
      const plain = (mode & flat32) === flat32 && (mode & MODE_CODE_MASK) !== MODE_CODE64
      return LOADABLE.includes(a) && b === 4 && plain ? VARIANT_POP_SEGMENT + a : 0
    }
    case HELPER.cmpxchg8b:
    case HELPER.cmpxchg16b:
      return exchangeVariant(helper, b, mode)
    default:
      return flagVariant(helper, a, mode)
  }
}

/** Loads `seg` with the selector in the local `selector` if the memo knows what that gives, then does `done`. */
function loadFromMemo(g: HandlerBuilder, seg: number, selector: number, done: Code): Code {
  const memo = g.local(I32)
  const linear = g.local(I64)
  const entry = g.local(I32)
  const sel = getLocal(selector)
  const at = getLocal(memo)
  const key = i32.or(i32.or(sel, i32.shl(csRpl(), i32.const(16))), i32.const(1 << 31))
  const to = OFF_SEG + seg * SEG_STRIDE
  const copies = [SEG_SELECTOR, SEG_BASE, SEG_LIMIT, SEG_READ_LIMIT, SEG_WRITE_LIMIT].map((offset) =>
    i64.store(base, i64.load(at, OFF_SEGMENT_MEMO + offset), to + offset),
  )
  const bit = seg === SEG_DS ? MODE_FLAT_DS : seg === SEG_ES ? MODE_FLAT_ES : 0
  const mode = i32.load(base, OFF_MODE)
  const flat = i32.load(at, OFF_SEGMENT_MEMO + MEMO_FLAT)
  const updateMode = bit
    ? ifElse(
        i32.ne(i32.and(mode, i32.const(MODE_CODE_MASK)), i32.const(MODE_CODE64)),
        i32.store(base, i32.or(i32.and(mode, i32.const(~bit)), i32.mul(flat, i32.const(bit))), OFF_MODE),
      )
    : []
  const raw = i64.load(i32.add(i32.load(getLocal(entry), OFF_DTLB + TLB_ADDEND), i32.wrap(getLocal(linear))))
  return [
    setLocal(
      memo,
      i32.add(base, i32.shl(i32.and(i32.shrU(sel, i32.const(3)), i32.const(SEGMENT_MEMO_ENTRIES - 1)), i32.const(6))),
    ),
    setLocal(linear, i64.add(i64.load(base, OFF_GDTR), i64.extendU(i32.and(sel, i32.const(0xfff8))))),
    setLocal(entry, tlbEntry(i32.wrap(getLocal(linear)), DTLB_ENTRIES)),
    ifElse(
      i32.and(
        i32.and(
          i32.eq(i32.load(at, OFF_SEGMENT_MEMO + MEMO_KEY), key),
          i32.ne(i32.and(mode, i32.const(MODE_PROTECTED)), i32.const(0)),
        ),
        i32.and(
          i32.leU(i32.or(sel, i32.const(7)), i32.load(base, OFF_GDTR + 8)),
          i32.and(
            i32.leU(i32.and(i32.wrap(getLocal(linear)), i32.const(4095)), i32.const(4088)),
            i64.eq(
              i64.load(getLocal(entry), OFF_DTLB + TLB_TAG_SUPER_READ),
              i64.and(getLocal(linear), i64.const(-4096)),
            ),
          ),
        ),
      ),
      ifElse(i64.eq(raw, i64.load(at, OFF_SEGMENT_MEMO + MEMO_RAW)), [
        copies,
        i32.store8(base, flat, OFF_FLAT + seg),
        updateMode,
        done,
      ]),
    ),
  ]
}

/** EDX:EAX ← the time-stamp counter, where it is known how that counts and anyone may read it. */
function readTimestamp(g: HandlerBuilder): Code {
  const tsc = g.local(I64)
  const left = i32.add(remaining, g.field8(UOP_INDEX))
  const ticks = f64.mul(f64.sub(f64.load(base, TSC_COUNT), f64.fromI32(left)), f64.load(base, TSC_RATE))
  const forAll = i32.eqz(i32.and(i32.load(base, OFF_CR4), i32.const(CR4_TSD)))
  return [
    g.helperUnless(i32.and(i32.load(base, TSC_KNOWN), forAll)),
    setLocal(tsc, i64.add(f64.toI64(f64.add(f64.load(base, TSC_START), ticks)), i64.load(base, TSC_OFFSET))),
    g.writeRegister(WIDTHS[2], 0, i32.wrap(getLocal(tsc))),
    g.writeRegister(WIDTHS[2], 2, i32.wrap(i64.shrU(getLocal(tsc), i64.const(32)))),
  ]
}

/** Adds all handlers of this file. */
export function defineSystem(registry: HandlerRegistry): void {
  const rest = i32.load(base, OFF_FLAGS_REST)
  registry.define(
    UOP.HELPER,
    0,
    VARIANT_CLI,
    'CLI',
    (g) =>
      orHelper(g, (next) =>
        ifElse(ownsInterruptFlag(), [
          i32.store(base, i32.and(rest, i32.const(~FLAG_IF)), OFF_FLAGS_REST),
          g.proceed(next),
        ]),
      ),
    true,
  )
  // The shadow that STI casts where it opens interrupts cannot be noticed while none waits, except by who looks right behind it.
  registry.define(
    UOP.HELPER,
    0,
    VARIANT_STI,
    'STI',
    (g) =>
      orHelper(g, (next) =>
        ifElse(
          i32.and(
            ownsInterruptFlag(),
            i32.or(
              i32.ne(i32.and(rest, i32.const(FLAG_IF)), i32.const(0)),
              i32.and(
                i32.eqz(i32.load(base, OFF_INTERRUPT_WAITS)),
                i32.gtS(i32.add(remaining, g.field8(UOP_INDEX)), i32.const(1)),
              ),
            ),
          ),
          [i32.store(base, i32.or(rest, i32.const(FLAG_IF)), OFF_FLAGS_REST), g.proceed(next)],
        ),
      ),
    true,
  )
  registry.define(UOP.HELPER, 0, VARIANT_RDTSC, 'RDTSC', readTimestamp, false)
  const readAux = (g: HandlerBuilder): Code => g.writeRegister(WIDTHS[2], 1, i32.load(base, TSC_AUX))
  registry.define(UOP.HELPER, 0, VARIANT_RDTSCP, 'RDTSCP', (g) => [readTimestamp(g), readAux(g)], false)
  for (const seg of LOADABLE) {
    registry.define(
      UOP.HELPER,
      0,
      VARIANT_MOV_SEGMENT + seg,
      `MOV_SEGMENT.${seg}`,
      (g) => {
        const selector = g.local(I32)
        return orHelper(g, (next) => [
          setLocal(selector, i32.load16U(g.slot(UOP_B))),
          loadFromMemo(g, seg, selector, g.proceed(next)),
        ])
      },
      true,
    )
    registry.define(
      UOP.HELPER,
      0,
      VARIANT_POP_SEGMENT + seg,
      `POP_SEGMENT.${seg}`,
      (g) => {
        const selector = g.local(I32)
        const pointer = g.local(I64)
        const place = g.local(I32)
        return orHelper(g, (next) => [
          setLocal(pointer, i64.load32U(base, RSP)),
          g.translate(pointer, place, 4, false),
          setLocal(selector, i32.load16U(getLocal(place))),
          loadFromMemo(g, seg, selector, [
            i64.store(base, i64.and(i64.add(getLocal(pointer), i64.const(4)), i64.const(0xffffffff)), RSP),
            g.proceed(next),
          ]),
        ])
      },
      true,
    )
  }
  defineFlagInstructions(registry)
  defineExchanges(registry)
}
