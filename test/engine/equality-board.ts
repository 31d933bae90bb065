/**
 * A small board for comparing engines: a CPU, 1 MiB of RAM, a timer behind the two interrupt controllers, and a device whose answers depend on the
 * exact instruction at which it is asked.
 */

import type { EventMap, MmioSize, PortSize } from '../../src/contracts/index.js'
import { CPU_MEMORY_SIZE, Cpu, type CpuModel, type Executor } from '../../src/cpu/index.js'
import { DTLB_ENTRIES, ITLB_ENTRIES, OFF_DTLB, TLB_ENTRY_SIZE } from '../../src/cpu/layout.js'
import { Pit8254 } from '../../src/devices/pit8254.js'
import { type TranslationOptions, threadedEngine, translatedEngineWith } from '../../src/engine/index.js'
import { ReferenceEngine } from '../../src/engine/reference.js'
import { PicPair } from '../../src/interrupts/index.js'
import { PortBus } from '../../src/io/index.js'
import { FLAG_IF } from '../../src/isa/flags.js'
import { VirtualClock } from '../../src/machine/virtual-clock.js'
import { AddressSpace } from '../../src/memory/index.js'

export type EngineName = 'reference' | 'threaded' | 'translated'
/** The reference comes first: what the others are held against. */
export const ENGINES: readonly EngineName[] = ['reference', 'threaded', 'translated']
/** Every block is translated when it is entered for the second time. */
export const EAGER: TranslationOptions = { heat: 1, batch: 1 }
export type BoardStop = 'budget' | 'halted' | 'shutdown'

export const RAM_BYTES = 0x100000
/** A page of device registers. */
export const MMIO_BASE = 0xa0000
/** A page of read-only memory. */
export const ROM_BASE = 0xb0000
/** Sixteen ports of the device. */
export const DEVICE_PORT = 0x300
const STORE_SIZE = 0x200000
const NS_PER_INSTRUCTION = 100
/** Waits of a halted processor in a row after which it is taken to sleep for good. */
const IDLE_LIMIT = 20

/** What may differ between boards. */
export interface BoardOptions {
  /** For the translated engine. Default {@link EAGER}. */
  readonly translation?: TranslationOptions
  /** Bytes for prepared blocks. */
  readonly storeSize?: number
}

/** What hears of every instruction that a board's executor begins, and of every delivery. */
export interface BoardObserver {
  instruction?(board: EqualityBoard): void
  delivery?(event: EventMap['interrupt']): void
}

export class EqualityBoard {
  readonly engine: EngineName
  readonly space: AddressSpace
  readonly cpu: Cpu
  readonly clock: VirtualClock
  readonly pic: PicPair
  pit: Pit8254
  observer: BoardObserver | undefined
  /** Registers of the test device. */
  deviceState = 1
  /** A host error that the device throws at its next access. */
  deviceError: Error | undefined
  private readonly ramAt: number
  private idle = 0

  constructor(engine: EngineName, model: CpuModel, options: BoardOptions = {}) {
    this.engine = engine
    const { storeSize = STORE_SIZE, translation = EAGER } = options
    const reserved = Math.ceil((4096 + CPU_MEMORY_SIZE + storeSize) / 65536) * 65536
    const pages = (reserved + RAM_BYTES) / 65536 + 3
    const wasmMemory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    this.space = new AddressSpace({ buffer: wasmMemory.buffer, reserved, placeTable: engine !== 'reference' })
    this.space.addRam(0, RAM_BYTES)
    this.ramAt = this.space.readOffset(0)
    this.space.addOverlay({
      base: MMIO_BASE,
      size: 0x1000,
      device: {
        readMmio: (offset, size) => this.deviceRead(offset, size),
        writeMmio: (offset, size, value) => this.deviceWrite(offset, size, value),
      },
    })
    const rom = new Uint8Array(0x1000).map((_, n) => (n * 37) & 0xff)
    this.space.addOverlay({ base: ROM_BASE, size: 0x1000, rom })
    this.clock = new VirtualClock({
      nsPerInstruction: NS_PER_INSTRUCTION,
      instructions: () => this.cpu?.instructions ?? 0,
    })
    this.clock.onSchedule = () => this.cpu?.requestStop()
    const ports = new PortBus()
    this.pic = new PicPair({ int: { setLevel: () => this.cpu?.interruptChanged() } })
    this.pit = new Pit8254({ clock: this.clock, irq: this.pic.line(0), minimumInterval: 0 })
    ports.register(0x20, 2, this.pic.master)
    ports.register(0xa0, 2, this.pic.slave)
    ports.register(0x40, 4, {
      readPort: (offset, size) => this.pit.readPort(offset, size),
      writePort: (offset, size, value) => this.pit.writePort(offset, size, value),
    })
    ports.register(
      DEVICE_PORT,
      16,
      {
        readPort: (offset, size) => this.deviceRead(offset, size),
        writePort: (offset, size, value) => this.devicePort(offset, size, value),
      },
      { sizes: [1, 2, 4] },
    )
    this.cpu = new Cpu({
      space: this.space,
      offset: 4096,
      ports,
      interrupts: this.pic,
      executor: (core) => this.observed(new ReferenceEngine(core)),
      ...(engine === 'threaded' ? { engine: threadedEngine } : {}),
      ...(engine === 'translated' ? { engine: translatedEngineWith(translation) } : {}),
      storeSize,
      wasmMemory,
      model,
      events: {
        wants: (name) => name === 'interrupt' && this.observer?.delivery !== undefined,
        emit: (name, event) => {
          if (name === 'interrupt') this.observer?.delivery?.(event as EventMap['interrupt'])
        },
      },
    })
  }

  private observed(inner: Executor): Executor {
    return {
      execute: (at, end) => {
        this.observer?.instruction?.(this)
        inner.execute(at, end)
      },
      helper: (at) => {
        this.observer?.instruction?.(this)
        inner.helper(at)
      },
    }
  }

  private deviceRead(offset: number, size: PortSize | MmioSize): number {
    if (this.deviceError) throw this.deviceError
    this.deviceState = (Math.imul(this.deviceState + offset, 0x9e3779b1) + this.cpu.instructions) | 0
    return size === 4 ? this.deviceState >>> 0 : this.deviceState & (size === 2 ? 0xffff : 0xff)
  }

  private deviceWrite(offset: number, size: number, value: number): void {
    if (this.deviceError) throw this.deviceError
    this.deviceState = (Math.imul(this.deviceState ^ value, 0x85ebca6b) + offset * 8 + size + this.cpu.instructions) | 0
  }

  /** The device's ports; the last ones pull wires. */
  private devicePort(offset: number, size: number, value: number): void {
    this.deviceWrite(offset, size, value)
    if (offset === 12) this.pic.line(5).setLevel((value & 1) !== 0)
    else if (offset === 13 && (value & 7) === 7) this.cpu.raiseNmi()
    else if (offset === 14 && (value & 7) === 7) this.cpu.raiseSmi()
    else if (offset === 15) this.space.a20 = (value & 3) !== 3
  }

  /** Replaces RAM and resets everything but the clock. */
  reset(image: Uint8Array): void {
    this.cpu.reset()
    this.space.bytes.set(image, this.ramAt)
    this.space.a20 = true
    this.deviceState = 1
    this.deviceError = undefined
    this.idle = 0
    this.pic.line(5).setLevel(false)
    this.pic.line(0).setLevel(false)
    this.pic.initialise(0x20, 0x28)
    this.pic.master.writePort(1, 1, 0)
    this.pic.slave.writePort(1, 1, 0)
    // A stopped timer: mode 0 and no count.
    for (const counter of [0, 1, 2]) this.pit.writePort(3, 1, (counter << 6) | 0x30)
    this.cpu.mem.configurePaging()
    this.cpu.mem.flushAll()
  }

  /** Square waves on IRQ 0 every `ticks` periods of the timer's input clock; 0 leaves it stopped. */
  startTimer(ticks: number): void {
    if (ticks === 0) return
    this.pit.writePort(3, 1, 0x34)
    this.pit.writePort(0, 1, ticks & 0xff)
    this.pit.writePort(0, 1, ticks >> 8)
  }

  /** Runs `budget` instructions, with alarms at their exact instruction; returns early when the processor sleeps for good or shuts down. */
  run(budget: number): BoardStop {
    const { cpu, clock } = this
    const end = cpu.instructions + budget
    while (cpu.instructions < end) {
      clock.runDue()
      const before = cpu.instructions
      const stop = cpu.run(Math.min(end - before, Math.max(1, clock.instructionsToDeadline)))
      if (cpu.instructions !== before) this.idle = 0
      if (stop === 'shutdown') return 'shutdown'
      if (stop === 'halted') {
        const next = clock.nextDeadline
        if ((cpu.s.flagsRest & FLAG_IF) === 0 || next === Number.POSITIVE_INFINITY || ++this.idle > IDLE_LIMIT)
          return 'halted'
        clock.skipTo(next)
      }
    }
    return 'budget'
  }

  get ram(): Uint8Array {
    return this.space.bytes.subarray(this.ramAt, this.ramAt + RAM_BYTES)
  }

  /** The architectural part of the TLB, both halves: a line for each valid entry. */
  tlb(): Int32Array {
    const { s } = this.cpu
    const from = (s.base + OFF_DTLB) >> 2
    return s.i32.subarray(from, from + (((DTLB_ENTRIES + ITLB_ENTRIES) * TLB_ENTRY_SIZE) >> 2))
  }
}
