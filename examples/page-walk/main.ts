// One page, mapped in each paging mode: what the processor reads on its way.
import { explainTlb, formatExplanation, PageTableBuilder, pagingRegisters } from 'virtkit/debug'
import { AddressSpace } from 'virtkit/memory'
import { Tlb, walk } from 'virtkit/mmu'

for (const mode of ['32-bit', 'pae', '4-level'] as const) {
  const memory = new AddressSpace({ size: 0x100000 })
  const tables = new PageTableBuilder(memory, mode, 0x10000)
  tables.map(0x00403000, 0x9000)
  const { steps, physical } = walk(memory, tables.cr3, 0x00403abc, { mode })
  console.log(`${mode}:`)
  for (const { name, index, address, decision } of steps) {
    console.log(`  ${name.padEnd(5)} ${String(index).padStart(3)} at 0x${address.toString(16)} ${decision}`)
  }
  console.log(`  physical address 0x${physical?.toString(16)}`)
}

// The same page twice through a TLB: six steps, then three.
const memory = new AddressSpace({ size: 0x100000 })
const tables = new PageTableBuilder(memory, '32-bit', 0x10000)
tables.map(0x00403000, 0x9000)
const machine = { memory, ...pagingRegisters('32-bit'), cr3: tables.cr3 }
const tlb = new Tlb({ sets: 4, ways: 2 })
for (const address of [0x00403abc, 0x00403def, 0x00404000]) {
  console.log()
  console.log(formatExplanation(explainTlb(machine, address, { tlb }), { notes: false }))
}
