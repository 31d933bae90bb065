import { VirtkitError } from '../contracts/index.js'
import { PCI_CAP_MSI, PCI_MSI_ENABLE, type PciFunction } from './pci.js'

/**
 * Takes the memory writes that message-signalled interrupts are. The machine leads writes to 0xFEExxxxx to the local
 * APICs, and others to memory, as the host bridge does.
 */
export interface MessageSink {
  /** A 32-bit write of `data` to the physical address `address` (a doubleword boundary, exact up to 2^52). */
  writeMessage(address: number, data: number): void
}

/** Message control: log2 of the vectors that the function asks for, from bit 1 on. */
export const PCI_MSI_MULTIPLE_CAPABLE_SHIFT = 1
/** Message control: log2 of the vectors that it was given, from bit 4 on. */
export const PCI_MSI_MULTIPLE_ENABLE_SHIFT = 4
/** Message control: the address has 64 bits. */
export const PCI_MSI_64BIT = 0x0080
/** Message control: there are mask and pending registers. */
export const PCI_MSI_MASKABLE = 0x0100

/** Shape of an {@link MsiCapability}. */
export interface MsiOptions {
  /** Vectors that the function asks for: 1, 2, 4, 8, 16 or 32. Default 1. */
  readonly vectors?: number
  /** Whether the message address has 64 bits. Default true. */
  readonly wide?: boolean
  /** Whether vectors can be masked one by one. Default false. */
  readonly maskable?: boolean
}

/**
 * The MSI capability of a PCI function: appended to its capability list by the constructor. All of its state lies in
 * configuration space and is saved with it. While it is enabled the function's INTx stays silent.
 *
 * Source: PCI Local Bus Specification 3.0, "MSI Capability Structure".
 */
export class MsiCapability {
  /** Offset of the capability in configuration space. */
  readonly offset: number
  readonly #function: PciFunction
  readonly #sink: MessageSink
  readonly #vectors: number
  readonly #wide: boolean
  /** Offset of the mask register; 0 without one. The pending register follows it. */
  readonly #mask: number

  constructor(pciFunction: PciFunction, sink: MessageSink, options: MsiOptions = {}) {
    const vectors = options.vectors ?? 1
    const log = Math.log2(vectors)
    if (!Number.isInteger(log) || log < 0 || log > 5) {
      throw new VirtkitError('bad-argument', `MSI has 1, 2, 4, 8, 16 or 32 vectors, not ${vectors}`)
    }
    const wide = options.wide ?? true
    const maskable = options.maskable ?? false
    const length = maskable ? (wide ? 24 : 20) : wide ? 14 : 10
    const at = pciFunction.addCapability(PCI_CAP_MSI, length)
    const fixed =
      (log << PCI_MSI_MULTIPLE_CAPABLE_SHIFT) | (wide ? PCI_MSI_64BIT : 0) | (maskable ? PCI_MSI_MASKABLE : 0)
    pciFunction.define(at + 2, 2, fixed, PCI_MSI_ENABLE | (7 << PCI_MSI_MULTIPLE_ENABLE_SHIFT))
    pciFunction.define(at + 4, 4, 0, 0xfffffffc)
    if (wide) pciFunction.define(at + 8, 4, 0, 0xffffffff)
    pciFunction.define(at + (wide ? 12 : 8), 2, 0, 0xffff)
    this.#mask = maskable ? at + (wide ? 16 : 12) : 0
    if (maskable) {
      const implemented = vectors === 32 ? 0xffffffff : (1 << vectors) - 1
      pciFunction.define(this.#mask, 4, 0, implemented)
      pciFunction.define(this.#mask + 4, 4, 0, 0)
      pciFunction.defineLive(this.#mask + 4, 4, implemented)
    }
    this.offset = at
    this.#function = pciFunction
    this.#sink = sink
    this.#vectors = vectors
    this.#wide = wide
    pciFunction.watchConfig(at, length, { written: () => this.#sendPending() })
  }

  /** Whether software has enabled MSI; otherwise the function interrupts by INTx. */
  get enabled(): boolean {
    return (this.#function.config[this.offset + 2]! & PCI_MSI_ENABLE) !== 0
  }

  /** Vectors that software granted: at most those asked for. */
  get granted(): number {
    const log = (this.#function.config[this.offset + 2]! >> PCI_MSI_MULTIPLE_ENABLE_SHIFT) & 7
    return Math.min(1 << log, this.#vectors)
  }

  /**
   * Sends message `vector`, or keeps it pending while it is masked. With fewer vectors granted than asked for, several share a
   * message. Does nothing while MSI is disabled.
   */
  signal(vector = 0): void {
    if (!this.enabled) return
    const number = vector & (this.granted - 1)
    if (this.#mask !== 0 && ((this.#word(this.#mask) >>> number) & 1) !== 0) {
      const register = this.#mask + 4 + (number >> 3)
      this.#function.setLive(register, this.#function.config[register]! | (1 << (number & 7)))
      return
    }
    this.#send(number)
  }

  #word(register: number): number {
    return this.#function.readConfig(register, 4)
  }

  #send(number: number): void {
    const at = this.offset
    const low = this.#word(at + 4)
    const high = this.#wide ? this.#word(at + 8) : 0
    const data = this.#function.readConfig(at + (this.#wide ? 12 : 8), 2)
    // Above 2^52 there is nothing that could take the write, and a function that may not master the bus cannot write.
    if (high >= 0x100000 || !this.#function.busMaster) return
    this.#sink.writeMessage(high * 2 ** 32 + low, (data & ~(this.granted - 1)) | number)
  }

  #sendPending(): void {
    if (this.#mask === 0 || !this.enabled) return
    const ready = this.#word(this.#mask + 4) & ~this.#word(this.#mask)
    if (ready === 0) return
    for (let i = 0; i < 4; i++) {
      const register = this.#mask + 4 + i
      this.#function.setLive(register, this.#function.config[register]! & ~(ready >>> (8 * i)))
    }
    for (let number = 0; number < this.granted; number++) if (((ready >>> number) & 1) !== 0) this.#send(number)
  }
}
