/** What the handlers of system instructions share: their way on, and their way to the helper where the common case does not hold. */

import { MODE_PROTECTED, OFF_CR0, OFF_MODE, OFF_SEG, SEG_SELECTOR, SEG_STRIDE } from '../cpu/layout.js'
import { UOP_IP, UOP_LENGTH } from '../cpu/uops.js'
import { SEG_CS } from '../isa/instruction.js'
import { base, type HandlerBuilder } from './threaded-builder.js'
import { type Code, getLocal, I64, i32, i64, ifElse, setLocal } from './wasm-emitter.js'

/** CS.RPL: the privilege level in protected mode. */
export function csRpl(): Code {
  return i32.and(i32.load(base, OFF_SEG + SEG_CS * SEG_STRIDE + SEG_SELECTOR), i32.const(3))
}

/** Real mode, or protected mode at CPL 0: IF is the program's own. */
export function ownsInterruptFlag(): Code {
  const mode = i32.load(base, OFF_MODE)
  return i32.or(
    i32.eqz(i32.and(i32.load(base, OFF_CR0), i32.const(1))),
    i32.and(i32.ne(i32.and(mode, i32.const(MODE_PROTECTED)), i32.const(0)), i32.eqz(csRpl())),
  )
}

/** `fast` where RIP needs no care; `next` is the local that it may pass to {@link HandlerBuilder.proceed}. What falls out of it is the helper's. */
export function orHelper(g: HandlerBuilder, fast: (next: number) => Code): Code {
  const next = g.local(I64)
  const step = i32.add(g.field16(UOP_IP), g.field8(UOP_LENGTH))
  return [
    setLocal(next, i64.add(g.rip, i64.extendU(step))),
    // RIP must not wrap.
    ifElse(i64.eq(i64.shrU(getLocal(next), i64.const(32)), i64.shrU(g.rip, i64.const(32))), fast(next)),
    g.leaveForHelper(),
  ]
}
