// A logical address becomes a linear one, through the GDT and through an LDT; and what happens beyond a limit.
import { explainSegmentation, formatExplanation } from 'virtkit/debug'
import { AddressSpace } from 'virtkit/memory'
import { DESC_TYPE_LDT, type DescriptorWords, encodeSegment, makeSelector } from 'virtkit/mmu'

const DATA = 2 // type: data, writable
const memory = new AddressSpace({ size: 0x100000 })

function writeTable(base: number, descriptors: readonly DescriptorWords[]): void {
  descriptors.forEach(({ lo, hi }, n) => {
    memory.write32(base + 8 * n, lo)
    memory.write32(base + 8 * n + 4, hi)
  })
}

writeTable(0x1000, [
  { lo: 0, hi: 0 },
  encodeSegment({ type: DATA, base: 0x10000, limit: 0xfff }),
  encodeSegment({ type: DESC_TYPE_LDT, s: false, base: 0x2000, limit: 15 }),
])
writeTable(0x2000, [{ lo: 0, hi: 0 }, encodeSegment({ type: DATA, base: 0x50000, limit: 0xff, dpl: 3 })])

const machine = { memory, gdtr: { base: 0x1000, limit: 23 }, ldtr: makeSelector(2) }
console.log(formatExplanation(explainSegmentation(machine, makeSelector(1), 0x123), { notes: false }))
console.log()
console.log(
  formatExplanation(explainSegmentation({ ...machine, cpl: 3 }, makeSelector(1, 3, true), 0x42), { notes: false }),
)
console.log()
console.log(formatExplanation(explainSegmentation(machine, makeSelector(1), 0x1000)))
