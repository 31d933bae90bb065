/** Counts, on a run, what was executed: rows of the instruction table and delivered vectors, by the mode the processor was in. */

import type { EventMap } from '../../src/contracts/index.js'
import { DECODE, Instruction } from '../../src/isa/instruction.js'
import { ROWS } from '../../src/isa/table.js'
import type { BoardObserver, EqualityBoard } from './equality-board.js'
import { decoderFor } from './equality-rows.js'
import { MODES, type ModeName } from './equality-tables.js'

/** Index into {@link MODES} of the mode that a processor is in. */
export function modeOf(board: EqualityBoard): number {
  const { s, cpl } = board.cpu
  let name: ModeName
  if ((s.cr0 & 1) === 0) name = 'real'
  else if (s.v86) name = 'virtual-8086'
  else {
    const ring = cpl === 3 ? 3 : 0
    const attr = s.segAttr(1)
    if (s.longMode) name = attr & 0x2000 ? `long-${ring}` : `compatibility-${ring}`
    else name = attr & 0x4000 ? `protected32-${ring}` : `protected16-${ring}`
  }
  return MODES.indexOf(name)
}

export class Coverage implements BoardObserver {
  /** Executions: row × mode. */
  readonly rows: Uint32Array = new Uint32Array(ROWS.length * MODES.length)
  /** Exceptions delivered: vector × mode of the interrupted code. */
  readonly exceptions: Uint32Array = new Uint32Array(32 * MODES.length)
  /** External interrupts, NMI, SMI and software interrupts, by mode. */
  readonly external: Uint32Array = new Uint32Array(MODES.length)
  readonly software: Uint32Array = new Uint32Array(MODES.length)
  instructions = 0
  private mode = 0
  private readonly decoded = new Instruction()

  instruction(board: EqualityBoard): void {
    const { cpu } = board
    const { s } = cpu
    this.instructions++
    this.mode = modeOf(board)
    const bits = (s.mode & 3) === 2 ? 64 : (s.mode & 3) === 1 ? 32 : 16
    const linear = bits === 64 ? s.rip : (s.segBase(1) + s.rip) >>> 0
    const at = cpu.mem.fetchDirect(linear)
    let instruction = this.decoded
    if (at >= 0 && (linear & 0xfff) <= 4096 - 15) {
      if (decoderFor(cpu.model)(board.space.bytes, at, 15, bits, instruction) !== DECODE.ok) return
    } else {
      // At the end of a page the front end has just decoded it, or keeps it.
      instruction = cpu.frontend.instruction
      if (cpu.frontend.length !== instruction.length) return
    }
    this.rows[instruction.row * MODES.length + this.mode]!++
  }

  delivery(event: EventMap['interrupt']): void {
    if (event.kind === 'external') this.external[this.mode]!++
    else if (event.kind === 'software' && event.vector > 4) this.software[this.mode]!++
    else if (event.vector < 32) this.exceptions[event.vector * MODES.length + this.mode]!++
  }
}
