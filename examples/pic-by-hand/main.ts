// A pair of 8259As without a processor: the program plays the devices and the CPU, and the chips say what they do.
import { EventHub, explainPic, formatExplanation } from 'virtkit/debug'
import { OCW2_EOI, PicPair } from 'virtkit/interrupts'

const hub = new EventHub()
const pic = new PicPair({ events: hub })
pic.initialise(0x20, 0x28)
hub.on('pic', ({ chip, action, line }) =>
  console.log(`    ${chip}: ${action}${line === undefined ? '' : ` (level ${line})`}`),
)

console.log('the disk (IRQ 14) asks:')
pic.line(14).setLevel(true)
console.log('the processor acknowledges:')
const disk = pic.acknowledge()
console.log(`  vector 0x${disk.toString(16)}`)

console.log('while it is served, the keyboard (IRQ 1) asks, and has priority:')
pic.line(1).setLevel(true)
console.log(`  INT is ${pic.pending ? 'high' : 'low'}`)
const keyboard = pic.acknowledge()
console.log(`  vector 0x${keyboard.toString(16)}`)

console.log('end of interrupt: the keyboard first, then the disk, on both chips:')
pic.master.writePort(0, 1, OCW2_EOI)
pic.slave.writePort(0, 1, OCW2_EOI)
pic.master.writePort(0, 1, OCW2_EOI)
console.log(`  ISR: master ${pic.master.isr}, slave ${pic.slave.isr}`)

console.log()
console.log(formatExplanation(explainPic({ irq: 3, masked: true })))
