/** What firmware does with PCI devices before a system is loaded, for guests that start without any. */
import {
  PCI_BAR0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  type PciBus,
  type PciFunction,
  PIRQ_DEFAULTS,
} from '../devices/index.js'
import { PCI_MEMORY_END } from './acpi/config.js'

/** Ports for devices begin here: below are those of the board, which occupy all aliases of the ISA ones. */
const PORTS_START = 0xc000
const PORTS_END = 0x10000
const BARS = 6

interface Request {
  readonly target: PciFunction
  readonly register: number
  readonly size: number
  readonly io: boolean
  readonly wide: boolean
}

/**
 * Gives every window of every function an address, lets it decode, and writes the interrupt line register: ports from C000h
 * upwards, memory downwards from FEC00000h to `memoryStart` (the end of low RAM), the largest windows first, expansion ROMs none.
 * Interrupt lines are those of `Piix3Isa.initialise`. A window for which there is no room stays where it was, undecoded.
 */
export function assignPciResources(bus: PciBus, memoryStart: number): void {
  const requests: Request[] = []
  for (let device = 0; device < 32; device++) {
    for (let number = 0; number < 8; number++) {
      const target = bus.functionAt(device, number)
      if (target === undefined) continue
      requests.push(...requestsOf(target))
      const pin = target.readConfig(PCI_INTERRUPT_PIN, 1)
      if (pin !== 0) target.writeConfig(PCI_INTERRUPT_LINE, 1, PIRQ_DEFAULTS[(device + pin + 2) & 3]!)
    }
  }
  requests.sort((a, b) => b.size - a.size)
  let port = PORTS_START
  let memory = PCI_MEMORY_END
  for (const { target, register, size, io, wide } of requests) {
    let base: number
    if (io) {
      base = Math.ceil(port / size) * size
      if (base + size > PORTS_END) continue
      port = base + size
    } else {
      base = Math.floor((memory - size) / size) * size
      if (base < memoryStart) continue
      memory = base
    }
    target.writeConfig(register, 4, base)
    if (wide) target.writeConfig(register + 4, 4, 0)
    const command = target.readConfig(PCI_COMMAND, 2) | (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)
    target.writeConfig(PCI_COMMAND, 2, command)
  }
}

/** Sizes a function's windows as software does: by writing ones and reading back which bits stay. */
function requestsOf(target: PciFunction): Request[] {
  const requests: Request[] = []
  const command = target.readConfig(PCI_COMMAND, 2)
  target.writeConfig(PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY))
  for (let index = 0; index < BARS; index++) {
    const register = PCI_BAR0 + 4 * index
    const before = target.readConfig(register, 4)
    target.writeConfig(register, 4, 0xffffffff)
    const mask = target.readConfig(register, 4)
    target.writeConfig(register, 4, before)
    if (mask === 0) continue
    const io = (mask & 1) !== 0
    const wide = !io && (mask & 6) === 4
    // Ports have 16 address bits, and a register need not have more.
    const size = io ? (~(mask & 0xfffc) & 0xffff) + 1 : (~(mask & 0xfffffff0) >>> 0) + 1
    requests.push({ target, register, size, io, wide })
    if (wide) index++
  }
  target.writeConfig(PCI_COMMAND, 2, command)
  return requests
}
