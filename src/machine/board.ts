/**
 * The board: memory map, buses, interrupt controllers and devices of an i440FX PC, wired together. It knows the CPU only as something
 * with an INT pin, so it can be read, and used, without one.
 */

import {
  type BlockBackend,
  type Clock,
  type EventSink,
  type InterruptSource,
  type IrqLine,
  StateReader,
  VirtkitError,
} from '../contracts/index.js'
import {
  APM_PORT,
  AtaController,
  AtapiCdrom,
  CmosRtc,
  COPROCESSOR_PORT,
  CoprocessorError,
  DebugConsole,
  FloppyController,
  FW_CFG_IRQ0_OVERRIDE,
  FW_CFG_MAX_CPUS,
  FW_CFG_NB_CPUS,
  FW_CFG_NOGRAPHIC,
  FW_CFG_RAM_SIZE,
  FwCfg,
  GPE0_PORT,
  GPE0_SIZE,
  HPET_BASE,
  HPET_SIZE,
  Hpet,
  I440fxHost,
  IdeFunction,
  IrqGate,
  IsaDebugExit,
  PAM_REGIONS,
  PciBus,
  type PciFunction,
  Piix3Isa,
  Piix4Pm,
  Pit8254,
  PostCodePort,
  Ps2Controller,
  ResetControl,
  type SeededEntropy,
  type SmramControl,
  SystemControlA,
  SystemControlB,
  Uart16550,
  Vga,
  VgaFunction,
} from '../devices/index.js'
import { MSI_BASE, MSI_SIZE, PicPair } from '../interrupts/index.js'
import { DmaPair, PortBus } from '../io/index.js'
import { type AddressSpace, type Overlay, PAGE_SIZE } from '../memory/index.js'
import type { AcpiConfig } from './acpi/config.js'
import { addAcpiFiles, placeAcpiTables } from './acpi/deliver.js'
import { Apics, type ProcessorPins } from './apics.js'
import { IrqWiring, TIMER_GSI } from './irq-wiring.js'
import type { MemoryMapEntry } from './multiboot.js'
import { assignPciResources } from './pci-setup.js'
import { SERIAL_QUEUE_SIZE } from './serial-port.js'
import { makeVirtio, type VirtioParts, type VirtioSlots } from './virtio-slots.js'
import type { VirtualClock } from './virtual-clock.js'

/** RAM below 4 GiB ends here at the latest: the rest of the first 4 GiB belongs to devices. */
export const LOW_RAM_LIMIT = 0xc0000000

/** Where the board reports what leaves the machine. */
export interface BoardEvents {
  /** A byte left the first serial port. */
  serialOut?(byte: number): void
  /** A byte on debug port 0x402 (firmware log). */
  firmwareLog?(byte: number): void
  /** A byte on debug port 0xE9. */
  debugOut?(byte: number): void
  /** isa-debug-exit was written: the exit status, odd. */
  exit?(status: number): void
  /** The guest asked for soft-off. */
  powerOff?(): void
  /** A reset line was pulsed. */
  reset?(): void
  /** SMI# was asserted. */
  smi?(): void
}

/** What a {@link Board} is built from. */
export interface BoardOptions {
  readonly space: AddressSpace
  readonly clock: VirtualClock
  /** Bytes of RAM, a multiple of 1 MiB, at least 1 MiB. */
  readonly memory: number
  /** The wires into the processors, the bootstrap processor first. */
  readonly processors: readonly ProcessorPins[]
  /** Index of the processor whose turn it is. */
  readonly current: () => number
  /** What the processors' local APICs are like; undefined for processors without. */
  readonly apic?: { readonly x2apic: boolean; readonly physicalAddressBits: number }
  readonly on: BoardEvents
  readonly events?: EventSink
  readonly bios?: Uint8Array
  readonly vgaBios?: Uint8Array
  readonly drives?: readonly (BlockBackend | undefined)[]
  readonly floppy?: BlockBackend
  /** A disc in a CD-ROM drive, which takes the place of the secondary master. */
  readonly cdrom?: BlockBackend
  /** Boot order for firmware: letters a (floppy), c (disk), d (CD). */
  readonly bootOrder?: string
  /** Milliseconds since 1970 UTC. */
  readonly date?: number
  /** High-precision event timers. Default true where the processors have APICs. */
  readonly hpet?: boolean
  /** Describe the machine by ACPI tables. Default true. */
  readonly acpi?: boolean
  readonly virtio?: VirtioParts
  readonly entropy: SeededEntropy
  /** A frame arrived for network adapter `n`. */
  readonly onFrame: (n: number, frame: Uint8Array) => void
  /** Give the display a font at power-on, for guests that run without a video BIOS. */
  readonly font: boolean
}

/** Any part with a state. */
interface Part {
  saveState(): unknown
  loadState(state: never): void
}

function hasState(part: object | undefined): part is Part {
  return part !== undefined && 'saveState' in part && 'loadState' in part
}

/** Saved state of a {@link Board}. */
export interface BoardState {
  readonly version: 1
  /** What the keyboard controller and port 92h say about the A20 gate. */
  readonly a20: readonly boolean[]
  /** Every part's state, by name. */
  readonly parts: Readonly<Record<string, unknown>>
}

/** An i440FX PC without its processor. Every part is a field, wired as the memory and port maps in the constructor say. */
export class Board {
  readonly space: AddressSpace
  readonly ports: PortBus
  readonly pic: PicPair
  /** Absent where the processors have no local APIC. */
  readonly apics: Apics | undefined
  readonly dma: DmaPair
  readonly pit: Pit8254
  readonly rtc: CmosRtc
  readonly uart: Uart16550
  readonly ps2: Ps2Controller
  readonly vga: Vga
  readonly ata: AtaController
  /** The CD-ROM drive, where there is one. */
  readonly cdrom: AtapiCdrom | undefined
  readonly floppy: FloppyController
  readonly fwCfg: FwCfg
  readonly pci: PciBus
  readonly pm: Piix4Pm
  /** Absent with `hpet: false`, or where there is no I/O APIC. */
  readonly hpet: Hpet | undefined
  readonly postCode: PostCodePort
  readonly coprocessor: CoprocessorError
  readonly virtio: VirtioSlots
  /** RAM and reserved ranges, as firmware would report them. */
  readonly memoryMap: readonly MemoryMapEntry[]
  private readonly piix3: Piix3Isa
  private readonly ide: IdeFunction
  private readonly tables: AcpiConfig | undefined
  private readonly systemA: SystemControlA
  private readonly systemB: SystemControlB
  private readonly functions: PciFunction[] = []
  private readonly disks: readonly (BlockBackend | undefined)[]
  private readonly a20: [boolean, boolean] = [true, false]
  private readonly resetControl: ResetControl
  private readonly vgaWindow: Overlay
  private smram: SmramControl = { enabled: false, open: false, closed: false, locked: false }
  private smm = false

  constructor(options: BoardOptions) {
    const { space, memory, on } = options
    // Every part has a rank of its own, so that what is due at the same time always runs in the same order.
    let ranks = 0
    const ownClock = (): Clock => options.clock.ranked(ranks++)
    if (!Number.isInteger(memory) || memory < 0x100000 || memory % 0x100000 !== 0) {
      throw new VirtkitError('bad-argument', `memory is a multiple of 1 MiB and at least 1 MiB; got ${memory} bytes`)
    }
    this.space = space
    const events = options.events === undefined ? {} : { events: options.events }
    const low = Math.min(memory, LOW_RAM_LIMIT)
    space.addRam(0, low)
    if (memory > low) space.addRam(0x1_0000_0000, memory - low)
    this.memoryMap = [
      { base: 0, size: Math.min(0x9fc00, low), type: 1 },
      { base: 0x9fc00, size: 0x400, type: 2 },
      { base: 0xf0000, size: 0x10000, type: 2 },
      { base: 0x100000, size: low - 0x100000, type: 1 },
      ...(memory > low ? [{ base: 0x1_0000_0000, size: memory - low, type: 1 }] : []),
    ]

    this.ports = new PortBus(events)
    const pins = options.processors
    this.pic = new PicPair({
      int: {
        setLevel: (level) => {
          if (this.apics !== undefined) this.apics.int.setLevel(level)
          else for (const processor of pins) processor.interruptChanged()
        },
      },
      ...events,
    })
    this.apics =
      options.apic === undefined
        ? undefined
        : new Apics({
            space,
            clock: ownClock,
            processors: pins,
            current: options.current,
            pic: this.pic,
            ...options.apic,
            ...events,
          })
    const { apics } = this
    const wiring = new IrqWiring(this.pic, apics?.io)
    const irq = (n: number): IrqLine => wiring.isa(n)
    const reset = { reset: (): void => on.reset?.() }

    this.dma = new DmaPair({ bus: space, ...events })
    // The event timers can take the places of the timer and the clock.
    const timerGate = new IrqGate(irq(0))
    const clockGate = new IrqGate(irq(8))
    this.pit = new Pit8254({ clock: ownClock(), irq: timerGate })
    this.systemB = new SystemControlB(this.pit)
    this.rtc = new CmosRtc({
      clock: ownClock(),
      irq: clockGate,
      ...(options.date === undefined ? {} : { date: options.date }),
    })
    this.rtc.setMemorySize(low, memory - low)
    this.uart = new Uart16550({
      clock: ownClock(),
      irq: irq(4),
      instant: true,
      lossless: true,
      queueSize: SERIAL_QUEUE_SIZE,
      // Without firmware nobody programs the line: 8 data bits, 1 stop bit.
      lineControl: 0x03,
      sink: { byte: (byte) => on.serialOut?.(byte) },
    })
    const { a20 } = this
    const setA20 = (source: number, enabled: boolean): void => {
      a20[source] = enabled
      space.a20 = a20[0]! || a20[1]!
    }
    this.ps2 = new Ps2Controller({
      clock: ownClock(),
      keyboardIrq: irq(1),
      mouseIrq: irq(12),
      reset,
      onA20: (enabled) => setA20(0, enabled),
    })
    this.systemA = new SystemControlA({ reset, onA20: (enabled) => setA20(1, enabled) })
    this.resetControl = new ResetControl(reset)
    this.postCode = new PostCodePort()
    this.coprocessor = new CoprocessorError(irq(13))

    this.vga = new Vga({ clock: ownClock(), font: options.font })
    this.vgaWindow = space.addOverlay({ base: 0xa0000, size: 0x20000, device: this.vga.window })

    this.ata = new AtaController({ clock: ownClock(), primaryIrq: irq(14), secondaryIrq: irq(15) })
    this.disks = [...(options.drives ?? []), options.floppy]
    options.drives?.forEach((drive, n) => {
      if (n > 3) throw new VirtkitError('bad-argument', 'a PC has four places for ATA disks')
      if (drive) this.ata.attachDisk(n as 0, drive)
    })
    if (options.cdrom) {
      if (options.drives?.[2])
        throw new VirtkitError('bad-argument', 'the CD-ROM drive takes the place of the third disk')
      this.cdrom = new AtapiCdrom(ownClock())
      this.cdrom.insert(options.cdrom)
      this.ata.secondary.plug(0, this.cdrom)
    }
    this.floppy = new FloppyController({
      clock: ownClock(),
      irq: irq(6),
      fast: true,
      dma: { setRequest: (level) => this.dma.setRequest(2, level) },
    })
    this.dma.connect(2, this.floppy)
    if (options.floppy) this.floppy.insert(0, options.floppy)

    this.fwCfg = new FwCfg(space)
    this.describe(options, memory, low)

    const timerGsi = wiring.timerGsi()
    if (timerGsi !== undefined && options.hpet !== false) {
      const lines: (IrqLine | undefined)[] = []
      lines[TIMER_GSI] = timerGsi
      this.hpet = new Hpet({
        clock: ownClock(),
        lines,
        legacyLines: [irq(0), irq(8)],
        onLegacyReplacement: (enabled) => {
          timerGate.setDisconnected(enabled)
          clockGate.setDisconnected(enabled)
        },
      })
      space.addOverlay({ base: HPET_BASE, size: HPET_SIZE, device: this.hpet })
    }
    this.tables =
      options.acpi === false
        ? undefined
        : {
            cpus: pins.length,
            lowMemory: low,
            highMemory: memory - low,
            hpet: this.hpet !== undefined,
            ioApic: apics !== undefined,
            floppy: options.floppy !== undefined,
          }
    if (this.tables !== undefined) addAcpiFiles(this.fwCfg, this.tables)

    // PCI.
    const place = this.portPlacer()
    this.piix3 = new Piix3Isa({ irqLines: Array.from({ length: 16 }, (_, n) => irq(n)) })
    const host = new I440fxHost({
      // The chip counts rows of 8 MiB.
      ramSize: Math.max(0x800000, Math.min(low, 0x40000000) & ~0x7fffff),
      ...this.steering(options.bios),
    })
    this.pci = new PciBus({ router: this.piix3.router, resetControl: this.resetControl })
    this.ide = new IdeFunction({ controller: this.ata, memory: space, ports: place })
    this.plug(0, 0, host)
    this.plug(1, 0, this.piix3)
    this.plug(1, 1, this.ide)
    this.pm = new Piix4Pm({
      clock: ownClock(),
      ports: place,
      sci: irq(9),
      onSmi: () => on.smi?.(),
      onPowerOff: () => on.powerOff?.(),
    })
    this.plug(1, 3, this.pm)
    this.plug(2, 0, this.displayFunction(options.vgaBios))

    this.virtio = makeVirtio(options.virtio ?? {}, {
      space,
      clock: ownClock,
      entropy: options.entropy,
      messages: apics && {
        writeMessage: (address, data) => {
          if (address >= MSI_BASE && address < MSI_BASE + MSI_SIZE) apics.msi.send(address, data)
          else space.write32(address, data)
        },
      },
      onFrame: options.onFrame,
    })
    for (const [n, pciFunction] of this.virtio.functions.entries()) this.plug(3 + n, 0, pciFunction)

    const ports = this.ports
    ports.register(0x000, 16, this.dma.primaryPorts)
    ports.register(0x020, 2, this.pic.master)
    ports.register(0x040, 4, this.pit)
    ports.register(0x060, 1, this.ps2.data)
    ports.register(0x061, 1, this.systemB)
    ports.register(0x064, 1, this.ps2.command)
    ports.register(0x070, 2, this.rtc)
    ports.register(0x080, 16, {
      readPort: (offset, size) => this.dma.pages.readPort(offset, size),
      writePort: (offset, size, value) => {
        if (offset === 0) this.postCode.writePort(0, size, value)
        this.dma.pages.writePort(offset, size, value)
      },
    })
    ports.register(0x092, 1, this.systemA)
    ports.register(0x0a0, 2, this.pic.slave)
    ports.register(APM_PORT, 2, this.pm.apmPorts)
    ports.register(0x0c0, 32, this.dma.secondaryPorts)
    ports.register(COPROCESSOR_PORT, 2, this.coprocessor)
    ports.register(0x0e9, 1, new DebugConsole((byte) => on.debugOut?.(byte)))
    ports.register(0x0f4, 1, new IsaDebugExit((status) => on.exit?.(status)), { sizes: [1, 2, 4] })
    ports.register(0x170, 8, this.ata.secondary.commandBlock, { sizes: [1, 2, 4] })
    ports.register(0x1f0, 8, this.ata.primary.commandBlock, { sizes: [1, 2, 4] })
    ports.register(0x376, 1, this.ata.secondary.controlBlock)
    ports.register(0x3b0, 48, this.vga, { sizes: [1, 2] })
    ports.register(0x1ce, 3, this.vga.dispiPorts, { sizes: [1, 2] })
    ports.register(0x3f0, 6, this.floppy)
    ports.register(0x3f6, 1, this.ata.primary.controlBlock)
    ports.register(0x3f7, 1, this.floppy.changePort)
    ports.register(0x3f8, 8, this.uart)
    ports.register(0x402, 1, new DebugConsole((byte) => on.firmwareLog?.(byte)))
    ports.register(0x4d0, 2, this.pic.elcr)
    ports.register(0x510, 12, this.fwCfg, { sizes: [1, 2, 4] })
    ports.register(0xcf8, 8, this.pci, { sizes: [1, 2, 4] })
    ports.register(GPE0_PORT, GPE0_SIZE, this.pm.gpePorts)
  }

  /** What firmware asks for: CMOS bytes and fw_cfg items. */
  private describe(options: BoardOptions, memory: number, low: number): void {
    const drives = options.drives ?? []
    const letters = options.bootOrder ?? (options.floppy ? 'ac' : 'c')
    const codes = [...letters].map((letter) => ({ a: 1, c: 2, d: 3 })[letter] ?? 0)
    this.rtc.setCmos(0x3d, (codes[0] ?? 0) | ((codes[1] ?? 0) << 4))
    this.rtc.setCmos(0x38, ((codes[2] ?? 0) << 4) | 1)
    // Floppy type: 1.44 MB or 2.88 MB in drive A; equipment: floppy, PS/2 mouse, FPU.
    this.rtc.setCmos(0x10, options.floppy ? (options.floppy.size > 1_474_560 ? 0x50 : 0x40) : 0)
    this.rtc.setCmos(0x14, (options.floppy ? 0x01 : 0) | 0x06)
    this.rtc.setCmos(0x12, (drives[0] ? 0xf0 : 0) | (drives[1] ? 0x0f : 0))
    const fw = this.fwCfg
    fw.addU64(FW_CFG_RAM_SIZE, memory)
    fw.addU16(FW_CFG_NOGRAPHIC, 0)
    fw.addU16(FW_CFG_NB_CPUS, options.processors.length)
    fw.addU16(FW_CFG_MAX_CPUS, options.processors.length)
    fw.addU32(FW_CFG_IRQ0_OVERRIDE, 1)
    this.rtc.setCmos(0x5f, options.processors.length - 1)
    const above = memory - low
    fw.addE820([
      { address: 0, length: low, type: 1 },
      ...(above > 0 ? [{ address: 0x1_0000_0000, length: above, type: 1 as const }] : []),
    ])
  }

  /** ROM at the top of 4 GiB and, steered by PAM, below 1 MiB; SMRAM. */
  private steering(bios: Uint8Array | undefined): ConstructorParameters<typeof I440fxHost>[0] & object {
    const space = this.space
    const low = new Uint8Array(0x40000).fill(0xff)
    if (bios !== undefined) {
      if (bios.length === 0 || bios.length > 0x1000000 || bios.length % PAGE_SIZE !== 0) {
        throw new VirtkitError(
          'bad-image',
          `firmware: a multiple of 4096 bytes up to 16 MiB was expected, got ${bios.length}`,
        )
      }
      space.addRom(0x1_0000_0000 - bios.length, bios)
      const visible = Math.min(bios.length, 0x20000)
      low.set(bios.subarray(bios.length - visible), 0x40000 - visible)
    }
    const regions = PAM_REGIONS.map((region) =>
      // Without firmware the area is plain RAM.
      bios === undefined
        ? undefined
        : space.addOverlay({
            base: region.base,
            size: region.size,
            rom: low.slice(region.base - 0xc0000, region.base - 0xc0000 + region.size),
          }),
    )
    return {
      onPam: (region, { read, write }) => regions[region.index]?.setEnabled({ read: !read, write: !write }),
      onSmram: (control) => {
        this.smram = control
        this.showSmram()
      },
    }
  }

  /**
   * Puts ACPI tables at the end of low RAM, for kernels that are started without firmware. Returns the memory map that goes with them, and the
   * address of the root pointer, undefined when the board has none.
   */
  placeTables(): { readonly memoryMap: readonly MemoryMapEntry[]; readonly acpiRsdp: number | undefined } {
    const { tables, memoryMap } = this
    if (tables === undefined) return { memoryMap, acpiRsdp: undefined }
    const placed = placeAcpiTables(this.space, tables, tables.lowMemory)
    return {
      acpiRsdp: placed.rsdp,
      memoryMap: [
        ...memoryMap.map((range) =>
          range.base < placed.base && range.base + range.size === placed.end
            ? { ...range, size: placed.base - range.base }
            : range,
        ),
        ...placed.ranges,
      ].sort((a, b) => a.base - b.base),
    }
  }

  /** Where processor `n` finds its interrupts. */
  interruptsOf(n: number): InterruptSource {
    return this.apics?.local[n] ?? this.pic
  }

  /** The processor entered or left system-management mode. */
  smmChanged(active: boolean): void {
    this.smm = active
    this.showSmram()
  }

  /** SMRAM lies under the VGA window: it shows while it is open, or in SMM while it is enabled. */
  private showSmram(): void {
    const visible = this.smram.enabled && (this.smram.open || this.smm)
    this.vgaWindow.setEnabled({ read: !visible, write: !visible })
  }

  private portPlacer(): {
    place(base: number, count: number, device: never): void
    remove(base: number, count: number): void
  } {
    return {
      place: (base, count, device) => this.ports.register(base, count, device, { sizes: [1, 2, 4] }),
      remove: (base, count) => this.ports.remove(base, count),
    }
  }

  private displayFunction(rom: Uint8Array | undefined): PciFunction {
    const space = this.space
    const placed = new Map<string, Overlay>()
    const vga = this.vga
    let romSize = 0
    if (rom !== undefined) {
      romSize = 2048
      while (romSize < rom.length) romSize *= 2
    }
    const display: VgaFunction = new VgaFunction(
      vga,
      {
        place: (window, base) => {
          const contents =
            window === 'framebuffer'
              ? { size: vga.memory.length, device: vga.framebuffer }
              : window === 'registers'
                ? { size: 4096, device: display.mmio }
                : { size: Math.max(romSize, PAGE_SIZE), rom: rom! }
          placed.set(window, space.addOverlay({ base, ...contents }))
        },
        remove: (window) => {
          placed.get(window)?.remove()
          placed.delete(window)
        },
      },
      romSize,
    )
    return display
  }

  /** What firmware would have done when a guest is started without any: interrupt controllers at their PC/AT vectors, DMA cascade open. */
  initialise(): void {
    this.pic.initialise()
    this.apics?.initialise()
    this.dma.initialise()
    this.piix3.initialise()
    assignPciResources(
      this.pci,
      this.memoryMap.reduce(
        (end, { base, size }) => (base + size <= LOW_RAM_LIMIT ? Math.max(end, base + size) : end),
        0,
      ),
    )
    // Interrupts that PCI devices share are level-triggered.
    this.pic.elcr.writePort(1, 1, 0x0e)
    this.pm.initialise()
  }

  /** Puts a function on the PCI bus. */
  private plug(device: number, number: number, pciFunction: PciFunction): void {
    this.pci.add(device, number, pciFunction)
    this.functions.push(pciFunction)
  }

  /**
   * Everything that has a state, by name, in the order in which states are loaded: loading a device drives its lines, so interrupt controllers
   * come last.
   */
  private parts(): readonly (readonly [string, Part])[] {
    const parts: (readonly [string, Part | undefined])[] = [
      ...this.disks.map((disk, n) => [`disk${n}`, hasState(disk) ? disk : undefined] as const),
      ['pit', this.pit],
      ['systemB', this.systemB],
      ['rtc', this.rtc],
      ['hpet', this.hpet],
      ['uart', this.uart],
      ['systemA', this.systemA],
      ['resetControl', this.resetControl],
      ['ps2', this.ps2],
      ['postCode', this.postCode],
      ['coprocessor', this.coprocessor],
      ['vga', this.vga],
      ['ata', this.ata],
      ['dma', this.dma],
      ['floppy', this.floppy],
      ['fwCfg', this.fwCfg],
      ['pci', this.pci],
      ...this.functions.map((pciFunction, n) => [`function${n}`, pciFunction] as const),
      ['busMasters', this.ide.busMasters],
      ['pm', this.pm.registers],
      ['ioApic', this.apics?.io],
      ...(this.apics?.local.map((apic, n) => [`localApic${n}`, apic] as const) ?? []),
      ['pic', this.pic],
    ]
    return parts.filter((part): part is readonly [string, Part] => part[1] !== undefined)
  }

  /** The state of every part, by name; memory and processors are saved apart. Disks that are not in memory are not part of it. */
  saveState(): BoardState {
    return {
      version: 1,
      a20: [...this.a20],
      parts: Object.fromEntries(this.parts().map(([name, part]) => [name, part.saveState()])),
    }
  }

  /** Takes the states of all parts over. Throws `bad-state` when one does not fit; the board is then in between: load a good state again. */
  loadState(state: BoardState): void {
    const r = new StateReader('board', state, 1)
    const a20 = r.nested('a20')
    const saved = r.nested('parts')
    if (!Array.isArray(a20) || a20.length !== 2) throw r.inconsistent('a20', 'a list of two')
    if (typeof saved !== 'object' || saved === null) throw r.inconsistent('parts', 'an object')
    const parts = this.parts()
    const known = new Set(parts.map(([name]) => name))
    for (const name of Object.keys(saved)) {
      if (!known.has(name))
        throw new VirtkitError('bad-state', `board: the state has a part '${name}', this board has not`)
    }
    for (const [name, part] of parts) {
      if (!Object.hasOwn(saved, name)) throw new VirtkitError('bad-state', `board: the state has no part '${name}'`)
      part.loadState((saved as Readonly<Record<string, never>>)[name]!)
    }
    this.a20[0] = a20[0] === true
    this.a20[1] = a20[1] === true
    this.space.a20 = this.a20[0] || this.a20[1]
  }

  /** A reset of the board, without memory and without the CPU. */
  reset(): void {
    this.apics?.reset()
    this.hpet?.reset()
    this.pci.reset()
    this.ps2.reset()
    this.systemA.reset()
    this.resetControl.reset()
    this.coprocessor.reset()
    this.uart.reset()
    this.ata.reset()
    this.floppy.reset()
    this.fwCfg.reset()
    this.vga.reset()
    this.rtc.reset()
  }
}
