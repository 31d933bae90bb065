/** The differentiated system description: what an operating system finds on the board. */
import { GPE0_PORT, GPE0_SIZE, HPET_BASE, HPET_SIZE, PIIX_PIRQRCA } from '../../devices/index.js'
import {
  type Aml,
  and,
  arg,
  byteFields,
  device,
  dwordField,
  eisaId,
  give,
  integer,
  method,
  named,
  or,
  pack,
  path,
  processor,
  REGION,
  region,
  scope,
  store,
  text,
  when,
} from './aml.js'
import { type CompleteAcpiConfig, PCI_HIGH_MEMORY_SIZE, PCI_MEMORY_END } from './config.js'
import {
  buses,
  dma,
  io,
  ioWindow,
  irq,
  memory32,
  memoryWindow32,
  memoryWindow64,
  resources,
  sharedInterrupts,
} from './resources.js'

const LINKS = ['A', 'B', 'C', 'D'] as const
const ISA = '\\_SB.PCI0.ISA'
/** Interrupts that the four wires may be routed to. */
const LINK_IRQS = [5, 10, 11] as const
/** Present and enabled, but not shown in a user interface. */
const STA_HIDDEN = 0x0b

/** The routing register of wire 0–3, as an AML name. */
function route(wire: number): string {
  return `PRQ${wire}`
}

/** The body of the DSDT. */
export function dsdtBody(config: CompleteAcpiConfig): Aml {
  const cpus = Array.from({ length: config.cpus }, (_, n) =>
    processor(`C${n.toString(16).toUpperCase().padStart(3, '0')}`, n),
  )
  return [
    // The interrupt mode that the system chose: 0 for 8259As, 1 for APICs. The routing is the same for both, because on this
    // board interrupt request n of the 8259As is input n of the I/O APIC.
    named('\\PICM', integer(0)),
    method('\\_PIC', 1, false, store(arg(0), path('\\PICM'))),
    named('\\_S5', pack(integer(0), integer(0), integer(0), integer(0))),
    scope(
      '\\_SB',
      ...cpus,
      hostBridge(config),
      interruptStatus(),
      interruptResources(),
      ...LINKS.map((letter, wire) => link(letter, wire)),
      sciLink(),
      ...(config.hpet ? [eventTimers()] : []),
    ),
  ].flat()
}

function hostBridge(config: CompleteAcpiConfig): Aml {
  const high = Math.max(2 ** 32, 2 ** 32 + Math.ceil(config.highMemory / PCI_HIGH_MEMORY_SIZE) * PCI_HIGH_MEMORY_SIZE)
  const routes: Aml[] = []
  for (let slot = 0; slot < 32; slot++) {
    for (let pin = 0; pin < 4; pin++) {
      // Power management, function 3 of device 1, interrupts by the SCI and not by a wire.
      const source = slot === 1 && pin === 0 ? 'LNKS' : `LNK${LINKS[(slot + pin + 3) & 3]}`
      routes.push(pack(integer(slot * 0x10000 + 0xffff), integer(pin), path(`\\_SB.${source}`), integer(0)))
    }
  }
  return device(
    'PCI0',
    named('_HID', eisaId('PNP0A03')),
    named('_UID', integer(0)),
    named(
      '_CRS',
      resources(
        buses(0, 0xff),
        io(0xcf8, 8),
        ioWindow(0, 0xcf7),
        ioWindow(0xd00, 0xffff),
        memoryWindow32(0xa0000, 0xbffff, true),
        memoryWindow32(config.lowMemory, PCI_MEMORY_END - 1, false),
        memoryWindow64(high, high + PCI_HIGH_MEMORY_SIZE - 1),
      ),
    ),
    named('_PRT', pack(...routes)),
    isaBridge(config),
    device(
      'GPE0',
      named('_HID', eisaId('PNP0A06')),
      named('_UID', text('GPE0 resources')),
      named('_STA', integer(STA_HIDDEN)),
      named('_CRS', resources(io(GPE0_PORT, GPE0_SIZE))),
    ),
    config.fwCfg
      ? device(
          'FWCF',
          named('_HID', text('QEMU0002')),
          named('_STA', integer(STA_HIDDEN)),
          named('_CRS', resources(io(0x510, 12))),
        )
      : [],
  )
}

function isaBridge(config: CompleteAcpiConfig): Aml {
  const parts: Aml[] = [
    named('_ADR', integer(0x10000)),
    region('PIRQ', REGION.pciConfig, PIIX_PIRQRCA, 4),
    byteFields('PIRQ', [0, 1, 2, 3].map(route)),
    device('RTC', named('_HID', eisaId('PNP0B00')), named('_CRS', resources(io(0x70, 2), irq(8)))),
  ]
  if (config.ps2) {
    parts.push(
      device('KBD', named('_HID', eisaId('PNP0303')), named('_CRS', resources(io(0x60, 1), io(0x64, 1), irq(1)))),
      device('MOU', named('_HID', eisaId('PNP0F13')), named('_CRS', resources(irq(12)))),
    )
  }
  if (config.floppy) {
    parts.push(
      device(
        'FDC0',
        named('_HID', eisaId('PNP0700')),
        named('_CRS', resources(io(0x3f2, 4), io(0x3f7, 1), irq(6), dma(2))),
      ),
    )
  }
  config.serial.forEach((base, n) => {
    parts.push(
      device(
        `COM${n + 1}`,
        named('_HID', eisaId('PNP0501')),
        named('_UID', integer(n + 1)),
        named('_CRS', resources(io(base, 8), irq((base & 0x100) !== 0 ? 4 : 3))),
      ),
    )
  })
  return device('ISA', ...parts)
}

/** `IQST (routing register)`: the status of a link. Bit 7 of the register disconnects it. */
function interruptStatus(): Aml {
  return method('IQST', 1, false, when(and(arg(0), integer(0x80)), give(integer(0x09))), give(integer(STA_HIDDEN)))
}

/** `IQCR (routing register)`: the interrupt that a link uses; 0 while it is disconnected. */
function interruptResources(): Aml {
  return method(
    'IQCR',
    1,
    true,
    named('PRR0', resources(sharedInterrupts(0))),
    dwordField(path('PRR0'), 5, 'PRRI'),
    when(and(arg(0), integer(0x80)), give(path('PRR0'))),
    store(and(arg(0), integer(0x0f)), path('PRRI')),
    give(path('PRR0')),
  )
}

function link(letter: string, wire: number): Aml {
  const register = path(`${ISA}.${route(wire)}`)
  return device(
    `LNK${letter}`,
    named('_HID', eisaId('PNP0C0F')),
    named('_UID', integer(wire)),
    named('_PRS', resources(sharedInterrupts(...LINK_IRQS))),
    method('_STA', 0, false, give([...path('IQST'), ...register])),
    method('_DIS', 0, false, or(register, integer(0x80), register)),
    method('_CRS', 0, false, give([...path('IQCR'), ...register])),
    method('_SRS', 1, false, dwordField(arg(0), 5, 'PRRI'), store(path('PRRI'), register)),
  )
}

/** The SCI as a link that cannot be moved. */
function sciLink(): Aml {
  return device(
    'LNKS',
    named('_HID', eisaId('PNP0C0F')),
    named('_UID', integer(LINKS.length)),
    named('_PRS', resources(sharedInterrupts(9))),
    method('_STA', 0, false, give(integer(STA_HIDDEN))),
    method('_DIS', 0, false),
    method('_CRS', 0, false, give(path('_PRS'))),
    method('_SRS', 1, false),
  )
}

function eventTimers(): Aml {
  return device(
    'HPET',
    named('_HID', eisaId('PNP0103')),
    named('_UID', integer(0)),
    named('_CRS', resources(memory32(HPET_BASE, HPET_SIZE, false))),
  )
}
