import type { Clock, IrqLine, PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { AcpiTimer } from './acpi-timer.js'
import { PCI_COMMAND_IO, PCI_INTERRUPT_LINE, PciFunction } from './pci.js'
import { readSplit, writeSplit } from './port-split.js'
import { SMBUS_PORTS, SmbusHost, type SmbusHostState } from './smbus-host.js'

// Configuration registers. Source: Intel 82371AB (PIIX4) data sheet, "Power Management PCI Configuration Registers".
/** Base of the power-management ports, bits 15–6. */
export const PIIX4_PMBA = 0x40
/** Device activity B, 32 bits. */
export const PIIX4_DEVACTB = 0x58
/** {@link PIIX4_DEVACTB}: writing the APM control port raises SMI#. */
export const PIIX4_DEVACTB_APMC_EN = 0x02000000
/** Miscellaneous power management. */
export const PIIX4_PMREGMISC = 0x80
/** {@link PIIX4_PMREGMISC}: the power-management ports are decoded. */
export const PIIX4_PMIOSE = 0x01
/** Base of the SMBus ports, bits 15–4. */
export const PIIX4_SMBBA = 0x90
/** SMBus host configuration: bit 0 decodes the ports, bits 3–1 choose the interrupt. */
export const PIIX4_SMBHSTCFG = 0xd2
/** {@link PIIX4_SMBHSTCFG}: the host controller is enabled. */
export const PIIX4_SMB_HST_EN = 0x01
/** {@link PIIX4_SMBHSTCFG}: the controller interrupts by IRQ 9; 0 in these bits (3–1) means SMI#. */
export const PIIX4_SMB_IRQ9 = 0x08

// Power-management ports, offsets from the base.
export const PM1_STATUS = 0x00
export const PM1_ENABLE = 0x02
export const PM1_CONTROL = 0x04
export const PM_TIMER = 0x08
export const PM_GP_STATUS = 0x0c
export const PM_GP_ENABLE = 0x0e
export const PM_PROCESSOR_CONTROL = 0x10
export const PM_GLOBAL_STATUS = 0x18
export const PM_DEVICE_STATUS = 0x1c
export const PM_GLOBAL_ENABLE = 0x20
export const PM_GLOBAL_CONTROL = 0x28
export const PM_DEVICE_CONTROL = 0x2c
export const PM_GPI = 0x30
export const PM_GPO = 0x34
/** Bytes of power-management ports. */
export const PM_PORTS = 64

/** The timer's highest bit changed. */
export const PM1_STS_TIMER = 0x0001
/** Firmware released the global lock. */
export const PM1_STS_GLOBAL = 0x0020
export const PM1_STS_POWER_BUTTON = 0x0100
export const PM1_STS_RTC = 0x0400
export const PM1_STS_WAKE = 0x8000
const PM1_STS_MASK = 0x8d31
const PM1_EN_MASK: number = PM1_STS_TIMER | PM1_STS_GLOBAL | PM1_STS_POWER_BUTTON | PM1_STS_RTC
/** Power-management events raise the system control interrupt; while clear, SMI#. */
export const PM1_CNT_SCI_EN = 0x0001
/** Written as 1: tells firmware that the global lock is free. */
export const PM1_CNT_GBL_RLS = 0x0004
export const PM1_CNT_SLP_TYP_SHIFT = 10
/** Written as 1: enter the sleep state of SLP_TYP. */
export const PM1_CNT_SLP_EN = 0x2000
/** The sleep type of S5, soft off. Others would need a processor that loses its clock and are not entered. */
export const SLP_TYP_S5 = 0

/** Global status: {@link PM1_CNT_GBL_RLS} was written. */
export const PM_GLBSTS_BIOS = 0x0001
/** Global status: the APM control port was written while it raises SMI#. */
export const PM_GLBSTS_APM = 0x0020
/** Global enable: {@link PM1_CNT_GBL_RLS} raises SMI#. */
export const PM_GLBEN_BIOS = 0x0002
/** Global control: SMI# is let out. */
export const PM_GLBCTL_SMI_EN = 0x0001
/** Global control: written as 1, sets {@link PM1_STS_GLOBAL}. */
export const PM_GLBCTL_BIOS_RLS = 0x0002

/** First of the two advanced power management ports. */
export const APM_PORT = 0xb2
/** What an operating system writes to the APM control port to take the ACPI registers over, as the FADT says. */
export const ACPI_ENABLE_COMMAND = 0xf1
/** And to give them back. */
export const ACPI_DISABLE_COMMAND = 0xf0

/** First port of the general-purpose event block: two bytes of status, two of enables. */
export const GPE0_PORT = 0xafe0
/** Bytes of the general-purpose event block. */
export const GPE0_SIZE = 4

/** Where firmware for this board, and {@link Piix4Pm.initialise}, put the power-management ports. */
export const PM_DEFAULT_BASE = 0x600
/** Where {@link Piix4Pm.initialise} puts the SMBus ports: where firmware does. */
export const SMBUS_DEFAULT_BASE = 0x700

/** Read/write bits of the power-management ports, 64 bytes. */
const WRITABLE = portMasks([
  [PM1_ENABLE, 2, PM1_EN_MASK],
  [PM1_CONTROL, 2, 0x1c03],
  [PM_GP_ENABLE, 2, 0x0f01],
  [PM_PROCESSOR_CONTROL, 4, 0x00023e1f],
  [PM_GLOBAL_ENABLE, 2, 0x0f03],
  [PM_GLOBAL_CONTROL, 4, 0x0707ff05],
  [PM_DEVICE_CONTROL, 4, 0xffffffff],
  [PM_GPO, 4, 0x7fffffff],
])
/** Write-one-to-clear bits. */
const CLEARABLE = portMasks([
  [PM1_STATUS, 2, PM1_STS_MASK],
  [PM_GP_STATUS, 2, 0x0f81],
  [PM_GLOBAL_STATUS, 2, 0x0d61],
  [PM_DEVICE_STATUS, 4, 0x3fff0fff],
])
const GPO_RESET = 0x7fffbfff

function portMasks(rows: readonly (readonly [offset: number, size: number, mask: number])[]): Uint8Array {
  const masks = new Uint8Array(PM_PORTS)
  for (const [offset, size, mask] of rows) for (let i = 0; i < size; i++) masks[offset + i] = mask >>> (8 * i)
  return masks
}

/** Where movable ports are placed. `place` may throw `overlap` or `bad-range`: the ports are then not decoded. */
export interface Piix4PortPlacer {
  /** Maps `size` ports from `base` on to the device, with all access widths. */
  place(base: number, size: number, ports: PortDevice): void
  /** Takes the mapping away. */
  remove(base: number, size: number): void
}

/** What a {@link Piix4Pm} is connected to. */
export interface Piix4PmOptions {
  readonly clock: Clock
  /** Places the power-management and SMBus ports. */
  readonly ports: Piix4PortPlacer
  /** The system control interrupt, active-high level, IRQ 9; an input of a wired OR. */
  readonly sci?: IrqLine
  /** SMI# was asserted. */
  readonly onSmi?: () => void
  /** Soft off. */
  readonly onPowerOff?: () => void
  /** Bits of the ACPI timer. Default 24, as the chip has; the FADT must say the same. */
  readonly timerBits?: 24 | 32
}

/** Saved state of the registers of a {@link Piix4Pm} outside configuration space. */
export interface Piix4PmRegistersState {
  readonly version: 1
  /** The power-management ports; those of the timer are zero. */
  readonly ports: Uint8Array
  /** General-purpose events: status, then enables. */
  readonly gpe: Uint8Array
  readonly apmControl: number
  readonly apmStatus: number
  readonly smbus: SmbusHostState
}

interface Window {
  readonly size: number
  readonly device: PortDevice
  base: number
}

/**
 * Power-management function of the PIIX4 (8086:7113), function 3 of device 1: the ACPI fixed registers and timer, APM
 * ports with their SMI, the SMBus host controller, and, beside the chip and where QEMU's PC keeps it, a block of
 * general-purpose events that nothing raises.
 *
 * Differences from the chip, in favour of the firmware that runs on this board: SMI# needs no EOS bit between two
 * assertions, and writing {@link ACPI_ENABLE_COMMAND} or {@link ACPI_DISABLE_COMMAND} to the APM control port switches SCI_EN at
 * once. Sleep states other than S5 are not entered; system traps and standby timers only hold what is written.
 *
 * Source: Intel 82371AB (PIIX4) data sheet, "Power Management"; ACPI Specification 6.0, "ACPI Hardware Specification".
 */
export class Piix4Pm extends PciFunction {
  /** Ports 0xB2 and 0xB3, to be registered at {@link APM_PORT}. */
  readonly apmPorts: PortDevice
  /** To be registered at {@link GPE0_PORT}. */
  readonly gpePorts: PortDevice
  /** The registers, whose state is saved apart from configuration space (and loaded after it). */
  readonly registers: Stateful<Piix4PmRegistersState> = {
    saveState: () => this.#save(),
    loadState: (state) => this.#load(state),
  }
  readonly #options: Piix4PmOptions
  readonly #timer: AcpiTimer
  readonly #smbus: SmbusHost
  readonly #ports = new Uint8Array(PM_PORTS)
  readonly #gpe = new Uint8Array(GPE0_SIZE)
  readonly #pmWindow: Window
  readonly #smbusWindow: Window
  #apmControl = 0
  #apmStatus = 0
  #smbusRequest = false
  #smbusSmi = false
  /** Power-management events assert SMI# now (while SCI_EN is clear). */
  #eventSmi = false
  #loading = false

  constructor(options: Piix4PmOptions) {
    super({
      vendor: 0x8086,
      device: 0x7113,
      classCode: 0x068000,
      revision: 0x03,
      commandMask: 0x0001,
      status: 0x0280,
      interruptPin: 1,
    })
    this.#options = options
    this.define(0x0c, 2, 0, 0) // neither cache line size nor latency timer
    this.define(PIIX4_PMBA, 4, 0x00000001, 0xffc0)
    // Counters, activity and resource registers of the standby logic hold what is written.
    for (let register = 0x44; register < 0x80; register += 4) this.define(register, 4, 0, 0xffffffff)
    this.define(PIIX4_PMREGMISC, 1, 0, 0x03)
    this.define(PIIX4_SMBBA, 4, 0x00000001, 0xfff0)
    this.define(PIIX4_SMBHSTCFG, 1, 0, 0x0f)
    this.define(0xd3, 1, 0, 0xff) // SMBus slave command
    this.define(0xd4, 2, 0, 0xffff) // SMBus slave shadow addresses
    this.#timer = new AcpiTimer(options.clock, options.timerBits ?? 24, () => this.#update())
    this.#smbus = new SmbusHost(options.clock, (asserted) => {
      this.#smbusRequest = asserted
      if (!this.#loading) this.#update()
    })
    const pm = {
      readByte: (at: number) => this.#readPm(at),
      writeByte: (at: number, v: number) => this.#writePm(at, v),
    }
    this.#pmWindow = {
      size: PM_PORTS,
      base: -1,
      device: {
        readPort: (offset, size) => this.#readPmPort(offset, size, pm),
        writePort: (offset, size, value) => {
          this.#sampleTimer()
          writeSplit(pm, offset, size, PM_PORTS, value)
          this.#update()
        },
      },
    }
    this.#smbusWindow = { size: SMBUS_PORTS, base: -1, device: this.#smbus }
    const apm = {
      readByte: (offset: number) => (offset === 0 ? this.#apmControl : this.#apmStatus),
      writeByte: (offset: number, value: number) => this.#writeApm(offset, value),
    }
    this.apmPorts = {
      readPort: (offset, size) => readSplit(apm, offset, size, 2),
      writePort: (offset, size, value) => writeSplit(apm, offset, size, 2, value),
    }
    const gpe = {
      readByte: (offset: number) => this.#gpe[offset]!,
      writeByte: (offset: number, value: number) => {
        if (offset >= 2) this.#gpe[offset] = value
        else this.#gpe[offset]! &= ~value
        this.#update()
      },
    }
    this.gpePorts = {
      readPort: (offset, size) => readSplit(gpe, offset, size, GPE0_SIZE),
      writePort: (offset, size, value) => writeSplit(gpe, offset, size, GPE0_SIZE, value),
    }
    this.#clearRegisters()
  }

  /** Where the power-management ports are decoded, or −1. */
  get pmBase(): number {
    return this.#pmWindow.base
  }

  /** Where the SMBus ports are decoded, or −1. */
  get smbusBase(): number {
    return this.#smbusWindow.base
  }

  /** Whether the operating system has the ACPI registers. */
  get sciEnabled(): boolean {
    return (this.#ports[PM1_CONTROL]! & PM1_CNT_SCI_EN) !== 0
  }

  /** The power button was pressed: sets its status, and interrupts if that is enabled. */
  pressPowerButton(): void {
    this.#setStatus(PM1_STS_POWER_BUTTON)
    this.#update()
  }

  /**
   * What firmware would have done when a guest is started without any: power-management ports at {@link PM_DEFAULT_BASE}, SMBus at
   * {@link SMBUS_DEFAULT_BASE}, SCI_EN set and the interrupt line register saying 9. Call it after a reset.
   */
  initialise(): void {
    this.writeConfig(PIIX4_PMBA, 4, PM_DEFAULT_BASE | 1)
    this.writeConfig(PIIX4_PMREGMISC, 1, PIIX4_PMIOSE)
    this.writeConfig(PIIX4_SMBBA, 4, SMBUS_DEFAULT_BASE | 1)
    this.writeConfig(PIIX4_SMBHSTCFG, 1, PIIX4_SMB_HST_EN | PIIX4_SMB_IRQ9)
    this.writeConfig(0x04, 2, PCI_COMMAND_IO)
    this.writeConfig(PCI_INTERRUPT_LINE, 1, 9)
    this.#ports[PM1_CONTROL]! |= PM1_CNT_SCI_EN
    this.#update()
  }

  override reset(): void {
    super.reset()
    this.#clearRegisters()
    this.#smbus.reset()
    this.#update()
  }

  protected override onConfigWrite(): void {
    this.#updateDecoding()
    this.#update()
  }

  protected override onConfigReset(): void {
    this.#updateDecoding()
  }

  #clearRegisters(): void {
    this.#ports.fill(0)
    for (let i = 0; i < 4; i++) this.#ports[PM_GPO + i] = GPO_RESET >>> (8 * i)
    this.#gpe.fill(0)
    this.#apmControl = this.#apmStatus = 0
    this.#timer.restart()
  }

  #readPmPort(offset: number, size: PortSize, bytes: Parameters<typeof readSplit>[0]): number {
    // The timer is one 32-bit register: all its bytes come from one moment.
    if (offset === PM_TIMER && size === 4) return this.#timer.count
    this.#sampleTimer()
    const value = readSplit(bytes, offset, size, PM_PORTS)
    if (offset < PM1_ENABLE) this.#update()
    return value
  }

  #readPm(offset: number): number {
    if (offset >= PM_TIMER && offset < PM_TIMER + 4) return (this.#timer.count >>> (8 * (offset - PM_TIMER))) & 0xff
    return this.#ports[offset]!
  }

  #writePm(offset: number, value: number): void {
    const mask = WRITABLE[offset]!
    this.#ports[offset] = ((this.#ports[offset]! & ~mask) | (value & mask)) & ~(value & CLEARABLE[offset]!)
    if (offset === PM1_CONTROL && (value & PM1_CNT_GBL_RLS) !== 0) {
      this.#ports[PM_GLOBAL_STATUS]! |= PM_GLBSTS_BIOS
      if ((this.#ports[PM_GLOBAL_ENABLE]! & PM_GLBEN_BIOS) !== 0) this.#smi()
    } else if (offset === PM1_CONTROL + 1 && (value & (PM1_CNT_SLP_EN >> 8)) !== 0) {
      if (((value >> (PM1_CNT_SLP_TYP_SHIFT - 8)) & 7) === SLP_TYP_S5) this.#options.onPowerOff?.()
    } else if (offset === PM_GLOBAL_CONTROL && (value & PM_GLBCTL_BIOS_RLS) !== 0) {
      this.#setStatus(PM1_STS_GLOBAL)
    }
  }

  #writeApm(offset: number, value: number): void {
    if (offset === 1) {
      this.#apmStatus = value
      return
    }
    this.#apmControl = value
    if (value === ACPI_ENABLE_COMMAND) this.#ports[PM1_CONTROL]! |= PM1_CNT_SCI_EN
    else if (value === ACPI_DISABLE_COMMAND) this.#ports[PM1_CONTROL]! &= ~PM1_CNT_SCI_EN
    this.#update()
    if ((this.config[PIIX4_DEVACTB + 3]! & (PIIX4_DEVACTB_APMC_EN >>> 24)) !== 0) {
      this.#ports[PM_GLOBAL_STATUS]! |= PM_GLBSTS_APM
      this.#smi()
    }
  }

  #smi(): void {
    if ((this.#ports[PM_GLOBAL_CONTROL]! & PM_GLBCTL_SMI_EN) !== 0) this.#options.onSmi?.()
  }

  #setStatus(bits: number): void {
    this.#ports[PM1_STATUS]! |= bits & 0xff
    this.#ports[PM1_STATUS + 1]! |= bits >> 8
  }

  #sampleTimer(): void {
    if (this.#timer.overflowed()) this.#setStatus(PM1_STS_TIMER)
  }

  /** Drives the SCI, or SMI#, as status and enables say, and watches the timer if its overflow would interrupt. */
  #update(): void {
    this.#sampleTimer()
    const ports = this.#ports
    let events = 0
    for (let i = 0; i < 2; i++) {
      events |= ports[PM1_STATUS + i]! & ports[PM1_ENABLE + i]!
      events |= ports[PM_GP_STATUS + i]! & ports[PM_GP_ENABLE + i]!
      events |= this.#gpe[i]! & this.#gpe[2 + i]!
    }
    const sci = this.sciEnabled
    const smbusIrq = (this.config[PIIX4_SMBHSTCFG]! & 0x0e) === PIIX4_SMB_IRQ9
    this.#options.sci?.setLevel((events !== 0 && sci) || (this.#smbusRequest && smbusIrq))
    const eventSmi = events !== 0 && !sci
    const smbusSmi = this.#smbusRequest && (this.config[PIIX4_SMBHSTCFG]! & 0x0e) === 0
    const rising = (eventSmi && !this.#eventSmi) || (smbusSmi && !this.#smbusSmi)
    this.#eventSmi = eventSmi
    this.#smbusSmi = smbusSmi
    if (rising) this.#smi()
    this.#timer.watch((ports[PM1_ENABLE]! & ~ports[PM1_STATUS]! & PM1_STS_TIMER) !== 0)
  }

  #updateDecoding(): void {
    const config = this.config
    const pm = (config[PIIX4_PMREGMISC]! & PIIX4_PMIOSE) !== 0 ? this.readConfig(PIIX4_PMBA, 2) & 0xffc0 : -1
    const smbusOn = (this.command & PCI_COMMAND_IO) !== 0 && (config[PIIX4_SMBHSTCFG]! & PIIX4_SMB_HST_EN) !== 0
    const smbus = smbusOn ? this.readConfig(PIIX4_SMBBA, 2) & 0xfff0 : -1
    // Both leave their old places first, so that they may change places.
    this.#leave(this.#pmWindow, pm)
    this.#leave(this.#smbusWindow, smbus)
    this.#enter(this.#pmWindow, pm)
    this.#enter(this.#smbusWindow, smbus)
  }

  #leave(window: Window, wanted: number): void {
    if (window.base < 0 || window.base === wanted) return
    this.#options.ports.remove(window.base, window.size)
    window.base = -1
  }

  #enter(window: Window, wanted: number): void {
    // Base 0 means unassigned, as in a base address register.
    if (wanted <= 0 || window.base === wanted) return
    try {
      this.#options.ports.place(wanted, window.size, window.device)
      window.base = wanted
    } catch (error) {
      if (!(error instanceof VirtkitError) || (error.code !== 'overlap' && error.code !== 'bad-range')) throw error
    }
  }

  #save(): Piix4PmRegistersState {
    this.#sampleTimer()
    return {
      version: 1,
      ports: this.#ports.slice(),
      gpe: this.#gpe.slice(),
      apmControl: this.#apmControl,
      apmStatus: this.#apmStatus,
      smbus: this.#smbus.saveState(),
    }
  }

  #load(state: Piix4PmRegistersState): void {
    const reader = new StateReader('power management', state, 1)
    const ports = reader.bytes('ports', PM_PORTS)
    const gpe = reader.bytes('gpe', GPE0_SIZE)
    const apmControl = reader.int('apmControl', 0, 0xff)
    const apmStatus = reader.int('apmStatus', 0, 0xff)
    for (let at = 0; at < PM_PORTS; at++) {
      if ((ports[at]! & ~(WRITABLE[at]! | CLEARABLE[at]!)) !== 0) {
        throw reader.inconsistent('ports', 'free of reserved bits')
      }
    }
    this.#loading = true
    try {
      // What follows can no longer fail once this has not.
      this.#smbus.loadState(reader.nested('smbus') as SmbusHostState)
    } finally {
      this.#loading = false
    }
    this.#ports.set(ports)
    this.#gpe.set(gpe)
    this.#apmControl = apmControl
    this.#apmStatus = apmStatus
    this.#timer.restart()
    // An SMI that these events asserted has been taken: loading must not raise it again.
    this.#eventSmi = this.#smbusSmi = true
    this.#update()
  }
}
