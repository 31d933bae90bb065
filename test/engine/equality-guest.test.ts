/** The embedded guest on whole machines, one per engine, stopped at different places in between. */

import { expect, it } from 'vitest'
import { OFF_FLAG_AUX, OFF_FLAG_RESULT, OFF_REMAINING, SLOT_TEMP, SLOT_ZERO } from '../../src/cpu/layout.js'
import { buildKernel, KERNEL_LOAD_ADDRESS, Pc, type RunResult } from '../../src/machine/index.js'
import { EAGER, type EngineName } from './equality-board.js'

const MEMORY = 8 * 0x100000

function machine(engine: EngineName, kernel: Uint8Array): Pc {
  const pc = new Pc({ memory: MEMORY, engine, translation: EAGER })
  pc.loadFlat(kernel, KERNEL_LOAD_ADDRESS)
  return pc
}

/** Runs to `total` instructions since the start, in turns of `turn`. */
function runTo(pc: Pc, total: number, turn: number): RunResult | undefined {
  let last: RunResult | undefined
  while (pc.instructions < total) {
    last = pc.runSync(Math.min(turn, total - pc.instructions))
    if (last.reason !== 'budget') return last
  }
  return last
}

function ram(pc: Pc): Uint8Array {
  const at = pc.space.readOffset(0)
  // The display's window is not RAM.
  return pc.space.bytes.subarray(at, at + MEMORY)
}

function state(pc: Pc): Record<string, unknown> {
  const { s } = pc.cpu
  const fields: string[] = []
  for (let offset = 0; offset < 0x400; offset += 8) {
    const hidden =
      (offset >= SLOT_TEMP && offset < SLOT_ZERO) || [OFF_REMAINING, OFF_FLAG_RESULT, OFF_FLAG_AUX].includes(offset)
    if (!hidden) fields.push(`${offset.toString(16)}:${s.getBig(offset).toString(16)}`)
  }
  return {
    fields,
    flags: s.flags,
    instructions: pc.instructions,
    time: pc.clock.now(),
    next: pc.clock.nextDeadline,
    pic: pc.board.pic.saveState(),
    pit: pc.board.pit.saveState(),
    uart: pc.board.uart.saveState(),
    serial: pc.serial.text,
    screen: pc.screen.text(),
  }
}

it('the embedded guest goes through the same states on every engine', () => {
  const kernel = buildKernel()
  const a = machine('reference', kernel)
  const others = [machine('threaded', kernel), machine('translated', kernel)]
  try {
    for (let total = 5_003, n = 0; n < 100; total += 20_011, n++) {
      const x = runTo(a, total, 7_919)
      for (const b of others) {
        const y = runTo(b, total, n % 3 === 0 ? 17 + n : 100_000)
        expect(state(b)).toEqual(state(a))
        expect(Buffer.compare(ram(a), ram(b))).toBe(0)
        expect(y?.reason).toBe(x?.reason)
      }
      if (x?.reason !== 'budget') {
        expect(x?.reason).toBe('power-off')
        return
      }
    }
    expect.fail('the guest does not end')
  } finally {
    for (const pc of [a, ...others]) pc.dispose()
  }
})
