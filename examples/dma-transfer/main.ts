// A device moves four bytes into memory through an 8237A, and the processor only hears of the end.
import { explainDma, formatExplanation } from 'virtkit/debug'
import { DMA_MODE_SINGLE, DMA_MODE_WRITE, DmaPair } from 'virtkit/io'
import { AddressSpace } from 'virtkit/memory'

const memory = new AddressSpace({ size: 0x20000 })
const dma = new DmaPair({ bus: memory })
dma.initialise()

const data = [0x76, 0x69, 0x72, 0x74]
dma.connect(2, {
  read: () => data.shift() ?? 0,
  write: () => {},
  terminalCount() {
    dma.setRequest(2, false)
    console.log('terminal count: the device would raise its interrupt now')
  },
})

// What a driver writes: mode, address and page, count - 1, unmask.
const { primaryPorts: port, pages } = dma
port.writePort(0x0b, 1, DMA_MODE_SINGLE | DMA_MODE_WRITE | 2)
port.writePort(0x0c, 1, 0)
for (const byte of [0x00, 0x80]) port.writePort(0x04, 1, byte)
for (const byte of [0x03, 0x00]) port.writePort(0x05, 1, byte)
pages.writePort(0x1, 1, 0x01)
port.writePort(0x0a, 1, 2)

dma.setRequest(2, true)
const bytes = new Uint8Array(4)
memory.readBytes(0x18000, bytes)
console.log(`memory at 0x18000: ${String.fromCharCode(...bytes)}, ${dma.transfers} transfers`)
console.log()
console.log(formatExplanation(explainDma({ channel: 2, address: 0x18000, count: 4 })))
