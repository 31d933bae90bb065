import type { PortDevice, PortSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'

// Registers of the type 0 configuration header. Source: PCI Local Bus Specification, "Configuration Space Organization".
export const PCI_VENDOR_ID = 0x00
export const PCI_DEVICE_ID = 0x02
export const PCI_COMMAND = 0x04
export const PCI_STATUS = 0x06
export const PCI_REVISION = 0x08
export const PCI_CLASS = 0x09
export const PCI_CACHE_LINE_SIZE = 0x0c
export const PCI_LATENCY_TIMER = 0x0d
export const PCI_HEADER_TYPE = 0x0e
export const PCI_BAR0 = 0x10
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c
export const PCI_SUBSYSTEM_ID = 0x2e
export const PCI_ROM_BAR = 0x30
export const PCI_CAPABILITIES = 0x34
export const PCI_INTERRUPT_LINE = 0x3c
export const PCI_INTERRUPT_PIN = 0x3d

/** Command: respond to I/O space. */
export const PCI_COMMAND_IO = 0x1
/** Command: respond to memory space. */
export const PCI_COMMAND_MEMORY = 0x2
/** Command: may act as bus master. */
export const PCI_COMMAND_MASTER = 0x4
/** Command: respond to parity errors. */
export const PCI_COMMAND_PARITY = 0x40
/** Command: drive SERR#. */
export const PCI_COMMAND_SERR = 0x100
/** Command: keep INTx# deasserted. */
export const PCI_COMMAND_INTX_DISABLE = 0x400

/** Status: the function's INTx request, whether or not the command register lets it out. */
export const PCI_STATUS_INTERRUPT = 0x8
/** Status: a capabilities list starts at 0x34. */
export const PCI_STATUS_CAPABILITIES = 0x10
/** Status: the write-one-to-clear error bits (15–11 and 8). */
export const PCI_STATUS_ERRORS = 0xf900

/** Header type: the device has several functions. */
export const PCI_HEADER_MULTIFUNCTION = 0x80

/** Capability: message-signalled interrupts. */
export const PCI_CAP_MSI = 0x05
/** Capability: vendor-specific; its third byte is its length. */
export const PCI_CAP_VENDOR = 0x09
/** Capability: message-signalled interrupts with a table in memory. */
export const PCI_CAP_MSIX = 0x11

/** MSI message control: enable. */
export const PCI_MSI_ENABLE = 0x0001
/** MSI-X message control: enable. */
export const PCI_MSIX_ENABLE = 0x8000

/** Who a function says it is. */
export interface PciIdentity {
  /** Vendor ID, 16 bits. */
  readonly vendor: number
  /** Device ID, 16 bits. */
  readonly device: number
  /** Class code, 24 bits: base class, subclass, programming interface. */
  readonly classCode: number
  /** Revision ID. Default 0. */
  readonly revision?: number
  readonly subsystemVendor?: number
  readonly subsystem?: number
  /** Header type 0 with {@link PCI_HEADER_MULTIFUNCTION}. Default false. */
  readonly multiFunction?: boolean
  /** 0 for none, 1–4 for INTA#–INTD#. Default 0. */
  readonly interruptPin?: 0 | 1 | 2 | 3 | 4
  /** Value of the command register after reset. Default 0. */
  readonly command?: number
  /** Bits of the command register that can be written. Default: I/O, memory, master, parity, SERR, INTx disable. */
  readonly commandMask?: number
  /** Value of the status register after reset, capabilities excepted. Default 0x0280: fast back-to-back, medium DEVSEL. */
  readonly status?: number
}

/**
 * A window that a base address register places. `map` and `unmap` are called as the guest enables, moves and disables
 * it; a `map` that throws a `VirtkitError` with code `overlap` or `bad-range` leaves the window without decoding (on
 * the wire, whoever was there first keeps answering), and `unmap` is then not called.
 */
export interface PciBar {
  readonly space: 'io' | 'memory'
  /** Bytes, a power of two: at least 4 for I/O and 16 for memory. */
  readonly size: number
  /** A 64-bit memory BAR; takes the next register as well. Default false. */
  readonly wide?: boolean
  /** Prefetchable memory. Default false. */
  readonly prefetchable?: boolean
  /** The function decodes this range from now on. */
  map(base: number): void
  /** It no longer does. */
  unmap(base: number): void
}

/** Receives the interrupt wires of all functions on a bus. Calls come only when a function's level changes. */
export interface PciInterruptRouter {
  /** `pin` is 0–3 for INTA#–INTD# of device `device` (0–31). */
  setIntx(device: number, pin: number, asserted: boolean): void
}

/** Saved state of a {@link PciFunction}. */
export interface PciFunctionState {
  readonly version: 1
  readonly config: Uint8Array
  readonly intx: boolean
}

/** A part of a function, such as a capability, that follows its registers without being a subclass. */
export interface PciConfigWatcher {
  /** The guest wrote to the watched registers. */
  written(): void
  /** The function was reset: every register has its reset value. */
  reset?(): void
}

interface ConfigWatch {
  readonly first: number
  readonly last: number
  readonly watcher: PciConfigWatcher
}

interface BarSlot {
  readonly bar: PciBar
  /** Offset of the register in configuration space. */
  readonly register: number
  /** True for the expansion ROM register, whose bit 0 is an enable of its own. */
  readonly rom: boolean
  /** Where the window is mapped now; −1 while it is not. */
  base: number
}

/**
 * One function of a PCI device: 256 bytes of configuration space with a write mask and a write-one-to-clear mask per
 * byte, base address registers with sizing, interrupt pin and capabilities. Devices subclass it, describe their own registers
 * with {@link PciFunction.define} and react in {@link PciFunction.onConfigWrite}.
 *
 * Source: PCI Local Bus Specification 2.3, "Configuration Space".
 */
export class PciFunction implements Stateful<PciFunctionState> {
  /** The configuration space as the guest reads it. */
  readonly config: Uint8Array = new Uint8Array(256)
  readonly #resetValues = new Uint8Array(256)
  readonly #writeMask = new Uint8Array(256)
  readonly #clearMask = new Uint8Array(256)
  /** Bits that the device changes by itself: read-only for the guest, yet part of saved state. */
  readonly #liveMask = new Uint8Array(256)
  readonly #bars: BarSlot[] = []
  readonly #watches: ConfigWatch[] = []
  /** Offsets of the MSI and MSI-X capabilities; 0 while there is none. */
  #msi = 0
  #msix = 0
  #router: PciInterruptRouter | undefined
  #slot = -1
  #nextCapability = 0x40
  #lastCapabilityLink = PCI_CAPABILITIES
  #intx = false
  /** What the router was told last. */
  #driven = false

  constructor(identity: PciIdentity) {
    this.define(PCI_VENDOR_ID, 2, identity.vendor, 0)
    this.define(PCI_DEVICE_ID, 2, identity.device, 0)
    const commandMask = identity.commandMask ?? 0x0547
    this.define(PCI_COMMAND, 2, identity.command ?? 0, commandMask)
    this.define(PCI_STATUS, 2, identity.status ?? 0x0280, 0, PCI_STATUS_ERRORS)
    this.define(PCI_REVISION, 1, identity.revision ?? 0, 0)
    this.define(PCI_CLASS, 1, identity.classCode & 0xff, 0)
    this.define(PCI_CLASS + 1, 2, identity.classCode >>> 8, 0)
    this.define(PCI_CACHE_LINE_SIZE, 1, 0, 0xff)
    this.define(PCI_LATENCY_TIMER, 1, 0, 0xf8)
    this.define(PCI_HEADER_TYPE, 1, identity.multiFunction === true ? PCI_HEADER_MULTIFUNCTION : 0, 0)
    this.define(PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendor ?? 0, 0)
    this.define(PCI_SUBSYSTEM_ID, 2, identity.subsystem ?? 0, 0)
    const pin = identity.interruptPin ?? 0
    this.define(PCI_INTERRUPT_LINE, 1, 0, pin === 0 ? 0 : 0xff)
    this.define(PCI_INTERRUPT_PIN, 1, pin, 0)
  }

  /** The command register. */
  get command(): number {
    return this.config[PCI_COMMAND]! | (this.config[PCI_COMMAND + 1]! << 8)
  }

  /** Whether the guest lets this function act as a bus master. */
  get busMaster(): boolean {
    return (this.command & PCI_COMMAND_MASTER) !== 0
  }

  /** The function's own interrupt request, before the command register's INTx disable. */
  get intx(): boolean {
    return this.#intx
  }

  /**
   * Describes the register of `size` bytes at `register`: its value after reset, which bits can be written, and which
   * are cleared by writing one. Takes effect at once; for constructors of subclasses.
   */
  define(register: number, size: PortSize, value: number, writeMask: number, clearMask = 0): void {
    for (let i = 0; i < size; i++) {
      const at = (register + i) & 0xff
      this.#resetValues[at] = value >>> (8 * i)
      this.config[at] = value >>> (8 * i)
      this.#writeMask[at] = writeMask >>> (8 * i)
      this.#clearMask[at] = clearMask >>> (8 * i)
    }
  }

  /**
   * Marks bits of the register at `register` as changed by the device itself with {@link PciFunction.setLive}: they take
   * part in saved state although the guest cannot write them.
   */
  defineLive(register: number, size: PortSize, mask: number): void {
    for (let i = 0; i < size; i++) this.#liveMask[(register + i) & 0xff] = mask >>> (8 * i)
  }

  /** Replaces the live bits of the byte at `register` by those of `value`; other bits stay. */
  setLive(register: number, value: number): void {
    const mask = this.#liveMask[register & 0xff]!
    this.config[register & 0xff] = (this.config[register & 0xff]! & ~mask) | (value & mask)
  }

  /**
   * Tells `watcher` of every guest write that touches `length` bytes from `register` on, and of resets. Loading saved state
   * tells nobody: the parts load their own.
   */
  watchConfig(register: number, length: number, watcher: PciConfigWatcher): void {
    this.#watches.push({ first: register, last: register + length - 1, watcher })
  }

  /** Adds base address register `index` (0–5). A wide one also takes `index + 1`. */
  addBar(index: number, bar: PciBar): void {
    const least = bar.space === 'io' ? 4 : 16
    const wide = bar.wide === true
    if (!Number.isInteger(index) || index < 0 || index + (wide ? 1 : 0) > 5) {
      throw new VirtkitError('bad-argument', `base address register ${index} does not exist`)
    }
    const most = bar.space === 'io' ? 0x10000 : 2 ** 31
    if (!(bar.size >= least && bar.size <= most) || 2 ** Math.round(Math.log2(bar.size)) !== bar.size) {
      throw new VirtkitError('bad-argument', `a ${bar.space} window has a power of two of ${least} to ${most} bytes`)
    }
    if (wide && bar.space === 'io') throw new VirtkitError('bad-argument', 'an I/O window cannot be 64 bits wide')
    const register = PCI_BAR0 + 4 * index
    for (const slot of this.#bars) {
      const end = slot.register + (slot.bar.wide === true ? 8 : 4)
      if (!slot.rom && register < end && slot.register < register + (wide ? 8 : 4)) {
        throw new VirtkitError('overlap', `base address register ${index} is already taken`)
      }
    }
    const kind = bar.space === 'io' ? 1 : (wide ? 4 : 0) | (bar.prefetchable === true ? 8 : 0)
    this.define(register, 4, kind, ~(bar.size - 1))
    if (wide) this.define(register + 4, 4, 0, 0xffffffff)
    this.#bars.push({ bar, register, rom: false, base: -1 })
  }

  /** Adds the expansion ROM base address register. `size` is a power of two of at least 2 KiB. */
  addRom(window: Pick<PciBar, 'size' | 'map' | 'unmap'>): void {
    const { size } = window
    if (!(size >= 2048 && size <= 2 ** 24) || 2 ** Math.round(Math.log2(size)) !== size) {
      throw new VirtkitError('bad-argument', 'an expansion ROM has a power of two of 2 KiB to 16 MiB')
    }
    if (this.#bars.some((slot) => slot.rom)) throw new VirtkitError('overlap', 'the function already has a ROM')
    this.define(PCI_ROM_BAR, 4, 0, ~(size - 1) | 1)
    const bar: PciBar = {
      space: 'memory',
      size,
      map: (base) => window.map(base),
      unmap: (base) => window.unmap(base),
    }
    this.#bars.push({ bar, register: PCI_ROM_BAR, rom: true, base: -1 })
  }

  /**
   * Appends a capability of `length` bytes (its two-byte header included) to the list and returns its offset; its
   * registers are then described with {@link PciFunction.define}. The list is in the order of the calls. MSI and MSI-X are
   * known to the function: while one of them is enabled, INTx stays deasserted. Throws `bad-range` when configuration space is full.
   */
  addCapability(id: number, length: number): number {
    const at = this.#nextCapability
    if (!Number.isInteger(length) || length < 2 || at + length > 0x100) {
      throw new VirtkitError('bad-range', `no room for a capability of ${length} bytes`)
    }
    this.define(at, 1, id, 0)
    this.define(at + 1, 1, 0, 0)
    this.define(this.#lastCapabilityLink, 1, at, 0)
    this.#lastCapabilityLink = at + 1
    if (id === PCI_CAP_MSI) this.#msi = at
    if (id === PCI_CAP_MSIX) this.#msix = at
    this.#nextCapability = (at + length + 3) & ~3
    const status = this.#resetValues[PCI_STATUS]! | PCI_STATUS_CAPABILITIES
    this.#resetValues[PCI_STATUS] = status
    this.config[PCI_STATUS] = this.config[PCI_STATUS]! | PCI_STATUS_CAPABILITIES
    return at
  }

  /** Called by the bus when the function is plugged into a slot. */
  attach(device: number, router: PciInterruptRouter): void {
    if (this.#slot >= 0) throw new VirtkitError('bad-argument', 'the function already sits on a bus')
    this.#slot = device
    this.#router = router
    this.#driveIntx()
  }

  /** Whether interrupts go out as messages: MSI or MSI-X is enabled, and INTx therefore silent. */
  get messageSignalled(): boolean {
    const msi = this.#msi !== 0 && (this.config[this.#msi + 2]! & PCI_MSI_ENABLE) !== 0
    return msi || (this.#msix !== 0 && (this.config[this.#msix + 3]! & (PCI_MSIX_ENABLE >> 8)) !== 0)
  }

  /** Asserts or deasserts the function's interrupt pin. Without a pin this does nothing. */
  setIntx(asserted: boolean): void {
    if (this.config[PCI_INTERRUPT_PIN] === 0) return
    this.#intx = asserted
    this.#driveIntx()
  }

  /** Reads `size` bytes at `register`; bytes beyond 0xff read all ones. */
  readConfig(register: number, size: PortSize): number {
    let value = 0
    for (let i = 0; i < size; i++) value |= (this.config[register + i] ?? 0xff) << (8 * i)
    return value >>> 0
  }

  /** Writes `size` bytes at `register` through the masks, then updates decoding and calls {@link onConfigWrite}. */
  writeConfig(register: number, size: PortSize, value: number): void {
    for (let i = 0; i < size && register + i < 0x100; i++) {
      const at = register + i
      const byte = (value >>> (8 * i)) & 0xff
      const mask = this.#writeMask[at]!
      this.config[at] = ((this.config[at]! & ~mask) | (byte & mask)) & ~(byte & this.#clearMask[at]!)
    }
    this.#updateDecoding()
    this.#driveIntx()
    this.onConfigWrite(register, size)
    for (const watch of this.#watches) {
      if (register <= watch.last && register + size > watch.first) watch.watcher.written()
    }
  }

  /** Puts every register back to its reset value, unmaps all windows and drops the interrupt request. */
  reset(): void {
    this.config.set(this.#resetValues)
    this.#updateDecoding()
    this.#intx = false
    this.#driveIntx()
    this.onConfigReset()
    for (const watch of this.#watches) watch.watcher.reset?.()
  }

  /** Where base address register `index` is decoded now, or −1. */
  barBase(index: number): number {
    for (const slot of this.#bars) if (!slot.rom && slot.register === PCI_BAR0 + 4 * index) return slot.base
    return -1
  }

  saveState(): PciFunctionState {
    return { version: 1, config: this.config.slice(), intx: this.#intx }
  }

  loadState(state: PciFunctionState): void {
    const reader = new StateReader('PCI function', state, 1)
    const config = reader.bytes('config', 256)
    const intx = reader.bool('intx')
    for (let i = 0; i < 256; i++) {
      const fixed = ~(this.#writeMask[i]! | this.#clearMask[i]!)
      // The interrupt status bit follows the request, so it is the one read-only bit that may differ.
      const live = (i === PCI_STATUS ? PCI_STATUS_INTERRUPT : 0) | this.#liveMask[i]! | this.volatileMask(i)
      if (((config[i]! ^ this.#resetValues[i]!) & fixed & ~live & 0xff) !== 0) {
        throw reader.inconsistent('config', 'of this function: a read-only register differs')
      }
    }
    this.config.set(config)
    this.#intx = intx
    this.#updateDecoding()
    this.#driveIntx()
    this.onConfigReset()
  }

  /** Hook: a guest wrote `size` bytes at `register`; `config` already holds the result. */
  protected onConfigWrite(_register: number, _size: PortSize): void {}

  /** Hook: all of `config` was replaced, by a reset or by loading saved state. */
  protected onConfigReset(): void {}

  /** Hook: bits of the byte at `register` that only the device itself changes (status registers); none by default. */
  protected volatileMask(_register: number): number {
    return 0
  }

  #driveIntx(): void {
    const status = this.config[PCI_STATUS]!
    this.config[PCI_STATUS] = this.#intx ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT
    const level = this.#intx && (this.command & PCI_COMMAND_INTX_DISABLE) === 0 && !this.messageSignalled
    if (this.#router === undefined || level === this.#driven) return
    this.#driven = level
    this.#router.setIntx(this.#slot, this.config[PCI_INTERRUPT_PIN]! - 1, level)
  }

  #wantedBase(slot: BarSlot): number {
    const { bar, register } = slot
    const enable = bar.space === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
    if ((this.command & enable) === 0) return -1
    const low = this.readConfig(register, 4)
    if (slot.rom && (low & 1) === 0) return -1
    const lowBase = (low & ~(bar.size - 1)) >>> 0
    // Address 0 means unassigned, and a window that ends with its space is what sizing leaves: neither is decoded.
    if (bar.space === 'io') return lowBase === 0 || lowBase + bar.size > 0x10000 ? -1 : lowBase
    if (bar.wide !== true) return lowBase === 0 || lowBase + bar.size >= 2 ** 32 ? -1 : lowBase
    const base = this.readConfig(register + 4, 4) * 2 ** 32 + lowBase
    return base === 0 || base + bar.size > 2 ** 52 ? -1 : base
  }

  #updateDecoding(): void {
    // First everything leaves its old place, so that two windows may change places in one write.
    for (const slot of this.#bars) {
      if (slot.base < 0 || slot.base === this.#wantedBase(slot)) continue
      const old = slot.base
      slot.base = -1
      slot.bar.unmap(old)
    }
    for (const slot of this.#bars) {
      if (slot.base >= 0) continue
      const base = this.#wantedBase(slot)
      if (base < 0) continue
      try {
        slot.bar.map(base)
        slot.base = base
      } catch (error) {
        if (!(error instanceof VirtkitError) || (error.code !== 'overlap' && error.code !== 'bad-range')) throw error
      }
    }
  }
}

/** Saved state of a {@link PciBus}; its functions save their own. */
export interface PciBusState {
  readonly version: 1
  readonly address: number
}

/** What a {@link PciBus} is connected to. */
export interface PciBusOptions {
  /** Takes the interrupt wires; may also be set later with {@link PciBus.setRouter}. */
  readonly router?: PciInterruptRouter
  /** Answers byte accesses to 0xCF9, which lies inside the address register. */
  readonly resetControl?: PortDevice
}

/**
 * PCI bus 0 with configuration mechanism 1, to be registered at ports 0xCF8–0xCFF with all access widths. CONFIG_ADDRESS
 * takes whole doublewords only; narrower accesses there are ordinary I/O cycles, of which only 0xCF9 has a taker.
 * CONFIG_DATA takes bytes, words and doublewords. A function that is not there reads all ones.
 *
 * Source: PCI Local Bus Specification, "Configuration Mechanism #1".
 */
export class PciBus implements PortDevice, PciInterruptRouter, Stateful<PciBusState> {
  readonly #functions: (PciFunction | undefined)[] = new Array<PciFunction | undefined>(256).fill(undefined)
  readonly #resetControl: PortDevice | undefined
  #router: PciInterruptRouter | undefined
  #address = 0

  constructor(options: PciBusOptions = {}) {
    this.#router = options.router
    this.#resetControl = options.resetControl
  }

  /** Connects the interrupt wires to `router`; to be done before a function asserts one. */
  setRouter(router: PciInterruptRouter): void {
    this.#router = router
  }

  /** Plugs `pciFunction` in as function `number` (0–7) of device `device` (0–31). Throws `overlap` when taken. */
  add(device: number, number: number, pciFunction: PciFunction): void {
    if (
      !(Number.isInteger(device) && device >= 0 && device < 32 && Number.isInteger(number) && number >= 0 && number < 8)
    ) {
      throw new VirtkitError('bad-argument', `PCI device ${device}.${number} does not exist; 0.0 to 31.7 do`)
    }
    const index = device * 8 + number
    if (this.#functions[index] !== undefined) {
      throw new VirtkitError('overlap', `PCI device ${device}.${number} is already taken`)
    }
    pciFunction.attach(device, this)
    this.#functions[index] = pciFunction
  }

  /** The function at `device`.`number`, if there is one. */
  functionAt(device: number, number: number): PciFunction | undefined {
    return this.#functions[device * 8 + number]
  }

  /** Resets the address register and every function (RST#). */
  reset(): void {
    this.#address = 0
    for (const pciFunction of this.#functions) pciFunction?.reset()
  }

  setIntx(device: number, pin: number, asserted: boolean): void {
    this.#router?.setIntx(device, pin, asserted)
  }

  readPort(offset: number, size: PortSize): number {
    if (offset < 4) {
      if (offset === 0 && size === 4) return this.#address
      if (offset === 1 && size === 1 && this.#resetControl !== undefined) return this.#resetControl.readPort(0, 1)
      return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff
    }
    const target = this.#target()
    const within = offset - 4
    const register = (this.#address & 0xfc) + within
    if (within + size <= 4 && target !== undefined) return target.readConfig(register, size)
    let value = 0
    for (let i = 0; i < size; i++) {
      const byte = target !== undefined && within + i < 4 ? target.readConfig(register + i, 1) : 0xff
      value |= byte << (8 * i)
    }
    return value >>> 0
  }

  writePort(offset: number, size: PortSize, value: number): void {
    if (offset < 4) {
      if (offset === 0 && size === 4) this.#address = (value & 0x80fffffc) >>> 0
      else if (offset === 1 && size === 1) this.#resetControl?.writePort(0, 1, value)
      return
    }
    const within = offset - 4
    const target = this.#target()
    if (target === undefined) return
    const register = (this.#address & 0xfc) + within
    if (within + size <= 4) target.writeConfig(register, size, value)
    else
      for (let i = 0; i < size && within + i < 4; i++) target.writeConfig(register + i, 1, (value >>> (8 * i)) & 0xff)
  }

  saveState(): PciBusState {
    return { version: 1, address: this.#address }
  }

  loadState(state: PciBusState): void {
    const address = new StateReader('PCI bus', state, 1).int('address', 0, 0xffffffff)
    this.#address = (address & 0x80fffffc) >>> 0
  }

  #target(): PciFunction | undefined {
    if (this.#address >>> 31 === 0 || ((this.#address >>> 16) & 0xff) !== 0) return undefined
    return this.#functions[(this.#address >>> 8) & 0xff]
  }
}
