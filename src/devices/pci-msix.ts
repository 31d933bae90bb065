import type { MmioDevice, MmioSize, Stateful } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { StateReader } from '../contracts/state-reader.js'
import { PCI_CAP_MSIX, PCI_MSIX_ENABLE, type PciFunction } from './pci.js'
import type { MessageSink } from './pci-msi.js'

/** Message control: masks all vectors. */
export const PCI_MSIX_FUNCTION_MASK = 0x4000
/** Bytes of a table entry: address low, address high, data, vector control. */
export const MSIX_ENTRY_SIZE = 16
/** Vector control: masked. The state after reset. */
export const MSIX_VECTOR_MASKED = 0x1
/** Most vectors of a function. */
export const MSIX_VECTORS_MAX = 2048

/** Shape of an {@link MsixCapability}. */
export interface MsixOptions {
  /** Vectors, 1–{@link MSIX_VECTORS_MAX}. */
  readonly vectors: number
  /** The base address register whose window holds the table and the pending bits. */
  readonly bar: number
  /** Offset of the table in that window, a multiple of 8. Default 0. */
  readonly tableOffset?: number
  /** Offset of the pending bits, a multiple of 8. Default: half the page or, for long tables, behind the table. */
  readonly pendingOffset?: number
}

/** Saved state of an {@link MsixCapability}; its control register is saved with configuration space. */
export interface MsixState {
  readonly version: 1
  readonly table: Uint8Array
  readonly pending: Uint8Array
}

/**
 * The MSI-X capability of a PCI function, its table and its pending bits. The constructor appends it to the capability list. As an
 * `MmioDevice` it answers for the whole window of its base address register when that holds nothing else (`windowSize`
 * bytes); a function that keeps other registers there forwards accesses for which {@link MsixCapability.contains} holds.
 * Accesses narrower than a doubleword, which the specification leaves open, act on their bytes.
 *
 * Source: PCI Local Bus Specification 3.0, "MSI-X Capability and Table Structures".
 */
export class MsixCapability implements MmioDevice, Stateful<MsixState> {
  /** Offset of the capability in configuration space. */
  readonly offset: number
  /** Vectors of the function. */
  readonly vectors: number
  /** Bytes of a window that holds table and pending bits: a power of two, at least 4096. */
  readonly windowSize: number
  readonly #function: PciFunction
  readonly #sink: MessageSink
  readonly #tableOffset: number
  readonly #pendingOffset: number
  readonly #table: Uint8Array
  readonly #view: DataView
  readonly #pending: Uint8Array

  constructor(pciFunction: PciFunction, sink: MessageSink, options: MsixOptions) {
    const { vectors, bar } = options
    if (!Number.isInteger(vectors) || vectors < 1 || vectors > MSIX_VECTORS_MAX) {
      throw new VirtkitError('bad-argument', `MSI-X has 1 to ${MSIX_VECTORS_MAX} vectors, not ${vectors}`)
    }
    if (!Number.isInteger(bar) || bar < 0 || bar > 5) {
      throw new VirtkitError('bad-argument', `base address register ${bar} does not exist`)
    }
    const tableSize = vectors * MSIX_ENTRY_SIZE
    const pendingSize = Math.ceil(vectors / 64) * 8
    const tableOffset = options.tableOffset ?? 0
    const pendingOffset = options.pendingOffset ?? tableOffset + Math.max(0x800, tableSize)
    const end = Math.max(tableOffset + tableSize, pendingOffset + pendingSize)
    const apart = tableOffset + tableSize <= pendingOffset || pendingOffset + pendingSize <= tableOffset
    for (const offset of [tableOffset, pendingOffset]) {
      if (!Number.isInteger(offset) || offset < 0 || offset % 8 !== 0 || end > 2 ** 31 || !apart) {
        throw new VirtkitError('bad-argument', 'MSI-X table and pending bits lie apart, at multiples of 8')
      }
    }
    const at = pciFunction.addCapability(PCI_CAP_MSIX, 12)
    pciFunction.define(at + 2, 2, vectors - 1, PCI_MSIX_ENABLE | PCI_MSIX_FUNCTION_MASK)
    pciFunction.define(at + 4, 4, tableOffset | bar, 0)
    pciFunction.define(at + 8, 4, pendingOffset | bar, 0)
    this.offset = at
    this.vectors = vectors
    this.windowSize = Math.max(4096, 2 ** Math.ceil(Math.log2(end)))
    this.#function = pciFunction
    this.#sink = sink
    this.#tableOffset = tableOffset
    this.#pendingOffset = pendingOffset
    this.#table = new Uint8Array(tableSize)
    this.#view = new DataView(this.#table.buffer)
    this.#pending = new Uint8Array(pendingSize)
    this.#clear()
    pciFunction.watchConfig(at + 2, 2, { written: () => this.#sendPending(), reset: () => this.#clear() })
  }

  /** Whether software has enabled MSI-X; otherwise the function interrupts by INTx. */
  get enabled(): boolean {
    return (this.#control & PCI_MSIX_ENABLE) !== 0
  }

  /** Whether the byte at `offset` of the window belongs to the table or to the pending bits. */
  contains(offset: number): boolean {
    const inTable = offset - this.#tableOffset
    const inPending = offset - this.#pendingOffset
    return (inTable >= 0 && inTable < this.#table.length) || (inPending >= 0 && inPending < this.#pending.length)
  }

  /** Sends the message of `vector`, or keeps it pending while it is masked. Does nothing while MSI-X is disabled. */
  signal(vector: number): void {
    if (!this.enabled || !(vector >= 0 && vector < this.vectors)) return
    if (this.#masked(vector)) this.#pending[vector >> 3]! |= 1 << (vector & 7)
    else this.#send(vector)
  }

  /** Whether a message of `vector` waits for its mask to be lifted. */
  isPending(vector: number): boolean {
    return ((this.#pending[vector >> 3] ?? 0) & (1 << (vector & 7))) !== 0
  }

  readMmio(offset: number, size: MmioSize): number {
    let value = 0
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    const first = offset - this.#tableOffset
    for (let i = 0; i < size; i++) {
      const at = first + i
      if (at < 0 || at >= this.#table.length) continue
      const within = at % MSIX_ENTRY_SIZE
      const byte = (value >>> (8 * i)) & 0xff
      // The address is a doubleword's; of vector control only the mask exists.
      this.#table[at] = within === 0 ? byte & 0xfc : within < 12 ? byte : within === 12 ? byte & MSIX_VECTOR_MASKED : 0
    }
    const from = Math.max(0, Math.floor(first / MSIX_ENTRY_SIZE))
    const to = Math.min(this.vectors - 1, Math.floor((first + size - 1) / MSIX_ENTRY_SIZE))
    for (let vector = from; vector <= to; vector++) this.#sendIfReady(vector)
  }

  saveState(): MsixState {
    return { version: 1, table: this.#table.slice(), pending: this.#pending.slice() }
  }

  loadState(state: MsixState): void {
    const reader = new StateReader('MSI-X', state, 1)
    const table = reader.bytes('table', this.#table.length)
    const pending = reader.bytes('pending', this.#pending.length)
    for (let at = 0; at < table.length; at++) {
      const within = at % MSIX_ENTRY_SIZE
      const bits = within === 0 ? 0xfc : within < 12 ? 0xff : within === 12 ? MSIX_VECTOR_MASKED : 0
      if ((table[at]! & ~bits) !== 0) throw reader.inconsistent('table', 'free of reserved bits')
    }
    for (let vector = this.vectors; vector < pending.length * 8; vector++) {
      if ((pending[vector >> 3]! & (1 << (vector & 7))) !== 0) {
        throw reader.inconsistent('pending', 'pending bits of vectors that exist')
      }
    }
    this.#table.set(table)
    this.#pending.set(pending)
  }

  /** A reset of the function masks every vector and drops what is pending. */
  #clear(): void {
    this.#table.fill(0)
    for (let i = 0; i < this.vectors; i++) this.#table[i * MSIX_ENTRY_SIZE + 12] = MSIX_VECTOR_MASKED
    this.#pending.fill(0)
  }

  get #control(): number {
    return this.#function.readConfig(this.offset + 2, 2)
  }

  #masked(vector: number): boolean {
    return (
      (this.#control & PCI_MSIX_FUNCTION_MASK) !== 0 ||
      (this.#table[vector * MSIX_ENTRY_SIZE + 12]! & MSIX_VECTOR_MASKED) !== 0
    )
  }

  #readByte(offset: number): number {
    return this.#table[offset - this.#tableOffset] ?? this.#pending[offset - this.#pendingOffset] ?? 0
  }

  #send(vector: number): void {
    const at = vector * MSIX_ENTRY_SIZE
    const high = this.#view.getUint32(at + 4, true)
    // Above 2^52 there is nothing that could take the write, and a function that may not master the bus cannot write.
    if (high >= 0x100000 || !this.#function.busMaster) return
    this.#sink.writeMessage(high * 2 ** 32 + this.#view.getUint32(at, true), this.#view.getUint32(at + 8, true))
  }

  #sendIfReady(vector: number): void {
    if (!this.isPending(vector) || !this.enabled || this.#masked(vector)) return
    this.#pending[vector >> 3]! &= ~(1 << (vector & 7))
    this.#send(vector)
  }

  #sendPending(): void {
    if (!this.enabled || this.#pending.every((byte) => byte === 0)) return
    for (let vector = 0; vector < this.vectors; vector++) this.#sendIfReady(vector)
  }
}
