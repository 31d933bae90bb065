// A device of one's own, a counter at port 0x300, put into a PC; a guest program uses it, and a trace shows how.
import type { PortDevice } from 'virtkit/contracts'
import { formatTrace, traceInstructions } from 'virtkit/debug'
import { assemble } from 'virtkit/isa'
import { Pc } from 'virtkit/machine'

class Counter implements PortDevice {
  value = 0

  /** Every read counts up. */
  readPort(): number {
    return this.value++ & 0xff
  }

  /** A write sets the counter. */
  writePort(_offset: number, _size: number, value: number): void {
    this.value = value
  }
}

const counter = new Counter()
const pc = new Pc({ memory: 16 * 1024 * 1024, engine: 'reference' })
pc.board.ports.register(0x300, 1, counter)
const program = assemble(`
  org 0x7c00
  mov dx, 0x300
  mov al, 40
  out dx, al
  in al, dx
  in al, dx
  in al, dx
  mov [0x500], al
  cli
  hlt
`)
pc.loadFlat(program.bytes)
console.log(formatTrace(traceInstructions(pc, 100)))
console.log(`the counter stands at ${counter.value}, memory at 0x500 holds ${pc.space.read8(0x500)}`)
