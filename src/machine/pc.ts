/**
 * A whole PC: one linear memory, a CPU, a board and a virtual clock, and the loop that runs them.
 */

import { type BlockBackend, type EventSink, type Plain, StateReader, VirtkitError } from '../contracts/index.js'
import {
  CPU_MEMORY_SIZE,
  Cpu,
  type CpuModel,
  type CpuPlatform,
  type CpuSavedState,
  type EngineFactory,
  type ExecutorFactory,
  MODELS,
  type ModelName,
  Profiler,
} from '../cpu/index.js'
import { SeededEntropy } from '../devices/index.js'
import { referenceExecutor, type TranslationOptions, threadedEngine, translatedEngineWith } from '../engine/index.js'
import type { LocalApic } from '../interrupts/index.js'
import { AddressSpace, type AddressSpaceState, placeTableRoom } from '../memory/index.js'
import { CR0_ET, CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME } from '../mmu/index.js'
import type { ProcessorPins } from './apics.js'
import { Board, type BoardState } from './board.js'
import { initialiseProcessors } from './firmware.js'
import { type HostInput, HostInputs } from './host-inputs.js'
import { Keyboard, Mouse } from './input.js'
import type { MachineSettings } from './journal.js'
import { LINUX_BOOT_CS, LINUX_BOOT_DS, type LinuxEntry, loadLinux } from './linux.js'
import { loadMultiboot, type MultibootModule } from './multiboot.js'
import { DEFAULT_TURN, Processors, type ProcessorsState } from './processors.js'
import { profileBoard, profileWindows } from './profile.js'
import { Screen } from './screen.js'
import { SERIAL_QUEUE_SIZE, SerialPort } from './serial-port.js'
import type { VirtioParts } from './virtio-slots.js'
import { VirtualClock, type VirtualClockState } from './virtual-clock.js'

/** Sleeps shorter than this are not worth a timer of the host. */
const SHORTEST_SLEEP_NS = 1e6
/** How long the host sleeps at most before it looks around. */
const LONGEST_SLEEP_MS = 500

/** Name of an engine. */
export type EngineName = 'reference' | 'threaded' | 'translated'

const MIB = 0x100000
/** Micro-op store of the threaded engine, in bytes. */
const STORE_SIZE: number = 16 * MIB
/** How often `run` asks `until`, in instructions: the same on every engine, so that what the host does then is deterministic. */
const TURN = 2_000_000
/** Instructions between two breaths of the host: the reference engine is slower. */
const SLICE = { translated: 10_000_000, threaded: 2_000_000, reference: 100_000 } as const
/** What a reset takes from a run's budget: a guest that resets for ever must not hold the host. */
const RESET_COST = 50_000
/** The local APIC IDs that a board of this kind has room for. */
const MOST_CPUS = 32
/** What a jump over halted time takes from a run's budget, so that a guest that sleeps for ever still ends it. */
const IDLE_COST = 50

/** What a {@link Pc} is made of. */
export interface PcOptions {
  /** Bytes of RAM, a multiple of 1 MiB. Default 64 MiB. */
  readonly memory?: number
  /** Default `x86-64-v2`. */
  readonly cpu?: ModelName
  /** Processors, 1 to 32. Default 1. They run in turns of {@link turn} instructions. */
  readonly cpus?: number
  /** Instructions of a turn where there are several processors. Default 5000. */
  readonly turn?: number
  /** Default `threaded` where WebAssembly exists, else `reference`. */
  readonly engine?: EngineName
  /** For the translated engine. */
  readonly translation?: TranslationOptions
  /** Firmware image, mapped at the top of 4 GiB and below 1 MiB. */
  readonly bios?: Uint8Array
  /** Option ROM of the display. */
  readonly vgaBios?: Uint8Array
  /** Disks: primary master, primary slave, secondary master, secondary slave. */
  readonly drives?: readonly (BlockBackend | undefined)[]
  readonly floppy?: BlockBackend
  /** A disc in a CD-ROM drive, which takes the place of the secondary master. */
  readonly cdrom?: BlockBackend
  /** Letters a, c, d in the order in which firmware should try them. */
  readonly bootOrder?: string
  /** Date of the real-time clock at power-on, milliseconds since 1970 UTC. Default 2000-01-01. */
  readonly date?: number
  /** High-precision event timers. Default true where the processor has an APIC. */
  readonly hpet?: boolean
  /** Describe the machine by ACPI tables. Default true. */
  readonly acpi?: boolean
  /** Virtio devices. Default none. */
  readonly virtio?: VirtioParts
  /** Seed of the random numbers that the processor and devices hand out. Default 1. */
  readonly seed?: number
  /** Virtual nanoseconds per instruction. Default 10. */
  readonly nsPerInstruction?: number
  readonly events?: EventSink
  /**
   * Measures by this clock of the host where the machine's time goes: see {@link Pc.profiler}. Costs some time itself, so that the default is not to. A run is the
   * same with and without.
   */
  readonly profile?: HostClock
  /** What a triple fault does: end the run (default), or reset as most boards do. */
  readonly onTripleFault?: 'stop' | 'reset'
}

/** What {@link Pc.loadLinux} gives the kernel. */
export interface PcLinuxOptions {
  readonly initrd?: Uint8Array
  readonly commandLine?: string
  /** Default `32`. */
  readonly entry?: '32' | '64'
  /** Physical address of ACPI's root pointer; without it the kernel searches. */
  readonly acpiRsdp?: number
}

/**
 * Why a run ended. `halted`: HLT with interrupts off. `idle`: HLT with interrupts on, while no device has anything planned, so that only the
 * user's input can wake the guest; run on after giving some.
 */
export type StopReason = 'power-off' | 'exit' | 'triple-fault' | 'halted' | 'idle' | 'budget' | 'aborted'

/** How a run went. */
export interface RunResult {
  readonly reason: StopReason
  /** With reason `exit`: the status that isa-debug-exit asked for, odd. */
  readonly status?: number
  /** Instructions retired by this call. */
  readonly instructions: number
}

/** Limits of {@link Pc.run}. */
export interface RunOptions {
  /** Ends the run within milliseconds, with reason `aborted`. */
  readonly signal?: AbortSignal
  /** At most this many instructions; sleeping and resets count as well, see {@link Pc.runSync}. Default: no limit. */
  readonly instructions?: number
  /** Called every two million instructions; returning true ends the run with reason `budget`. */
  readonly until?: () => boolean
  /**
   * How time passes while all processors sleep: `virtual` (default) jumps to the next event; with a clock of the host it passes as fast as that one's, and a machine
   * that only the user could wake waits. Give `{ now: () => performance.now() }` when somebody sits at the console.
   */
  readonly pace?: 'virtual' | HostClock
}

/** A clock of the host. */
export interface HostClock {
  /** Milliseconds since any moment; never goes back. */
  now(): number
}

/** Limits of {@link Pc.waitForText}. */
export interface WaitOptions extends RunOptions {
  /** Where to look. Default: both. */
  readonly in?: 'screen' | 'serial'
}

interface GlobalWithImmediate {
  setImmediate?: (callback: () => void) => unknown
}

/** Lets the host's event loop run once. Browsers slow timers down, but not messages. */
function breathe(): Promise<void> {
  const immediate = (globalThis as GlobalWithImmediate).setImmediate
  return new Promise((resolve) => {
    if (immediate) immediate(() => resolve())
    else {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        port1.close()
        resolve()
      }
      port2.postMessage(null)
    }
  })
}

/** Saved state of a {@link Pc}: what `encodeSnapshot` makes a file of. */
export interface PcState {
  readonly version: 1
  readonly nsPerInstruction: number
  readonly clock: VirtualClockState
  readonly processors: ProcessorsState
  readonly cpus: readonly CpuSavedState[]
  readonly board: BoardState
  readonly random: Plain
  readonly resets: number
  readonly resetRequested: boolean
  readonly space: AddressSpaceState
}

/** A PC with processors, memory and devices. Guest faults never throw; misuse throws a `VirtkitError`. */
export class Pc {
  /** The bootstrap processor. */
  readonly cpu: Cpu
  /** All processors, the bootstrap processor first. */
  readonly cpus: readonly Cpu[]
  readonly board: Board
  readonly clock: VirtualClock
  readonly space: AddressSpace
  readonly screen: Screen
  /** The first serial port. */
  readonly serial: SerialPort
  readonly keyboard: Keyboard
  readonly mouse: Mouse
  /** What the host does to the machine, for recording and replaying. */
  readonly inputs: HostInputs
  /** What decides how a run goes besides images and inputs. */
  readonly settings: MachineSettings
  /** Where RDRAND, RDSEED and entropy devices take their bits from. */
  readonly random: SeededEntropy
  /** What firmware wrote to port 0x402. */
  readonly firmwareLog: SerialPort
  /** What the guest wrote to port 0xE9. */
  readonly debugPort: SerialPort
  /** Where the time since the machine was made has gone, if its options ask for it. */
  readonly profiler: Profiler | undefined
  /** Resets so far. */
  resets = 0
  private readonly onTripleFault: 'stop' | 'reset'
  private readonly engineName: EngineName
  private readonly processors: Processors
  private ending: { reason: StopReason; status?: number } | undefined
  private resetRequested = false
  private deadline = Number.POSITIVE_INFINITY
  private running = false
  /** What the current turn has used of its budget. */
  private spent = 0
  private disposed = false
  /** While idle time passes at the host's pace. */
  private hostClock: HostClock | undefined
  /** The processors sleep at the host's pace until that virtual time. */
  private sleepUntil: number | undefined
  /** Ends the host's sleep. */
  private wake: (() => void) | undefined

  constructor(options: PcOptions = {}) {
    const memory = options.memory ?? 64 * MIB
    const model = modelOf(options.cpu ?? 'x86-64-v2')
    const hasWasm = typeof WebAssembly === 'object'
    const engine = options.engine ?? (hasWasm ? 'threaded' : 'reference')
    if (engine !== 'reference' && engine !== 'threaded' && engine !== 'translated') {
      throw new VirtkitError(
        'bad-argument',
        `there is no engine '${String(engine)}': reference, threaded or translated`,
      )
    }
    if (!Number.isInteger(memory) || memory < MIB || memory % MIB !== 0) {
      throw new VirtkitError('bad-argument', `memory is a multiple of 1 MiB and at least 1 MiB; got ${memory} bytes`)
    }
    const count = options.cpus ?? 1
    if (!Number.isInteger(count) || count < 1 || count > MOST_CPUS) {
      throw new VirtkitError('bad-argument', `cpus: 1 to ${MOST_CPUS} were expected, got ${count}`)
    }
    const turn = options.turn ?? DEFAULT_TURN
    if (!Number.isInteger(turn) || turn < 1) {
      throw new VirtkitError('bad-argument', `turn: a positive number of instructions was expected, got ${turn}`)
    }
    const storeSize = engine === 'reference' ? 0 : engine === 'translated' && count === 1 ? 2 * STORE_SIZE : STORE_SIZE
    const cpuSize = Math.ceil((CPU_MEMORY_SIZE + storeSize) / 4096) * 4096
    const reserved = align(4096 + count * cpuSize)
    const romSize = align((options.bios?.length ?? 0) * 2 + (options.vgaBios?.length ?? 0) * 2 + 0x80000)
    // Engines fill the TLB with the help of a table.
    const tableSize = engine === 'reference' ? 0 : align(placeTableRoom(reserved + memory + romSize))
    const total = Math.ceil((reserved + memory + romSize + tableSize) / 65536)
    if (total > 65536) {
      throw new VirtkitError(
        'bad-argument',
        `memory: at most ${Math.floor((65536 * 65536 - reserved - romSize - tableSize) / MIB)} MiB fit`,
      )
    }
    const { buffer, wasmMemory } = allocate(total, engine !== 'reference')
    this.space = new AddressSpace({ buffer, reserved, placeTable: engine !== 'reference' })
    const { profile } = options
    this.profiler = profile && new Profiler(() => profile.now())
    if (this.profiler) profileWindows(this.profiler, this.space)
    this.serial = new SerialPort((bytes) => this.inputs.submit({ kind: 'serial', bytes }))
    this.random = new SeededEntropy(options.seed ?? 1)
    this.firmwareLog = new SerialPort()
    this.debugPort = new SerialPort()
    this.engineName = engine
    this.onTripleFault = options.onTripleFault ?? 'stop'
    this.clock = new VirtualClock({
      nsPerInstruction: options.nsPerInstruction ?? 10,
      instructions: () => this.processors?.instructions ?? 0,
    })
    this.clock.onSchedule = (at) => {
      if (at < this.deadline) this.processors?.requestStop()
    }
    this.board = new Board({
      space: this.space,
      clock: this.clock,
      memory,
      processors: Array.from({ length: count }, (_, n) => this.pinsOf(n)),
      current: () => this.processors?.current ?? 0,
      ...(model.features.has('apic')
        ? { apic: { x2apic: model.features.has('x2apic'), physicalAddressBits: model.physicalBits } }
        : {}),
      font: options.bios === undefined,
      on: {
        serialOut: (byte) => this.serial.push(byte),
        firmwareLog: (byte) => this.firmwareLog.push(byte),
        debugOut: (byte) => this.debugPort.push(byte),
        exit: (status) => this.end({ reason: 'exit', status }),
        powerOff: () => this.end({ reason: 'power-off' }),
        smi: () => this.cpu?.raiseSmi(),
        reset: () => {
          this.resetRequested = true
          this.processors?.requestStop()
        },
      },
      entropy: this.random,
      onFrame: (port, frame) => this.inputs.submit({ kind: 'network', port, frame }),
      ...pick(options, [
        'virtio',
        'acpi',
        'events',
        'hpet',
        'bios',
        'vgaBios',
        'drives',
        'floppy',
        'cdrom',
        'bootOrder',
        'date',
      ]),
    })
    this.screen = new Screen(this.board.vga)
    this.inputs = new HostInputs({
      apply: (input) => this.applyInput(input),
      serialRoom: () => SERIAL_QUEUE_SIZE - this.board.uart.queued,
      instructions: () => this.instructions,
      now: () => this.clock.now(),
      settle: () => this.clock.runDue(),
      interrupt: () => this.processors.requestStop(),
    })
    this.keyboard = new Keyboard(this.inputs)
    this.mouse = new Mouse(this.inputs)
    this.settings = {
      memory,
      cpu: options.cpu ?? 'x86-64-v2',
      cpus: count,
      turn,
      date: options.date ?? null,
      seed: options.seed ?? 1,
      acpi: options.acpi ?? true,
      hpet: options.hpet ?? true,
      virtio: virtioSetting(options.virtio),
      bootOrder: options.bootOrder ?? null,
      nsPerInstruction: this.clock.nsPerInstruction,
      onTripleFault: this.onTripleFault,
    }
    const executor: ExecutorFactory = referenceExecutor
    const factory: { engine?: EngineFactory } =
      engine === 'threaded'
        ? { engine: threadedEngine }
        : engine === 'translated'
          ? { engine: translatedEngineWith(options.translation ?? {}) }
          : {}
    this.cpus = Array.from(
      { length: count },
      (_, n) =>
        new Cpu({
          space: this.space,
          offset: 4096 + n * cpuSize,
          ports: this.board.ports,
          interrupts: this.board.interruptsOf(n),
          executor,
          ...factory,
          storeSize,
          model,
          bootstrap: n === 0,
          platform: {
            ...apicPlatform(this.board.apics?.local[n]),
            smmChanged: (active) => this.board.smmChanged(active),
            // The time-stamp counter runs at 1 GHz of virtual time, whatever the processor does.
            timestamp: () => Math.floor(this.clock.now()),
            timeline: this.clock,
            ...(count > 1 && { spins: () => this.processors.spins() }),
            random32: () => this.random.next(),
            ferr: (asserted) => this.board.coprocessor.setFerr(asserted),
            ignne: () => this.board.coprocessor.ignne,
          },
          ...(wasmMemory === undefined ? {} : { wasmMemory }),
          ...(options.events === undefined ? {} : { events: options.events }),
          ...(this.profiler && { profiler: this.profiler }),
        }),
    )
    this.cpu = this.cpus[0]!
    this.processors = new Processors(this.cpus, turn, (cpu) => this.board.smmChanged(cpu.inSmm))
    if (this.profiler) {
      profileBoard(this.profiler, this.board, this.clock, this.inputs)
      this.turn = this.profiler.timed('machine', this.turn)
    }
  }

  /** The wires from the board into processor `n`, which is built after it. */
  private pinsOf(n: number): ProcessorPins {
    const cpu = (): Cpu | undefined => this.cpus?.[n]
    return {
      interruptChanged: () => cpu()?.interruptChanged(),
      nmi: () => cpu()?.raiseNmi(),
      smi: () => cpu()?.raiseSmi(),
      init: () => cpu()?.raiseInit(),
      startUp: (vector) => cpu()?.raiseStartUp(vector),
      readTsc: () => cpu()?.readTsc() ?? 0n,
      timeOfTsc: (value) => this.clock.now() + Number(BigInt.asIntN(64, value - (cpu()?.readTsc() ?? 0n))),
    }
  }

  /** Instructions retired since power-on, by all processors. */
  get instructions(): number {
    return this.processors.instructions
  }

  /**
   * Loads a Multiboot 1 kernel and its modules and points the CPU at it, as a boot loader would leave it. Throws `bad-image` for anything else.
   */
  loadMultiboot(
    image: Uint8Array,
    options: { readonly commandLine?: string; readonly modules?: readonly MultibootModule[] } = {},
  ): void {
    this.check()
    const entry = loadMultiboot(this.space, image, { ...options, memoryMap: this.board.memoryMap })
    const { s } = this.cpu
    this.board.initialise()
    this.space.a20 = true
    s.cr0 = (s.cr0 & ~0x80000000) | 0x11
    for (let seg = 0; seg < 6; seg++) {
      s.setSegment(seg, seg === 1 ? 8 : 16, 0, 0xffffffff, seg === 1 ? 0xc09b : 0xc093)
    }
    s.setReg32(0, entry.eax)
    s.setReg32(3, entry.ebx)
    s.flags = 2
    s.rip = entry.entry
    this.cpu.setCpl(0)
    this.cpu.memory.configurePaging()
    this.cpu.memory.flushAll()
    this.cpu.updateMode()
  }

  /**
   * Loads a Linux kernel (bzImage), its initial RAM disk and command line, and points the CPU at it, as a boot loader would leave it. The entry is in protected mode by
   * default; `64` enters in 64-bit mode. `acpiRsdp` is the address of ACPI's root pointer. Throws `bad-image`, `bad-argument` or `unsupported` as {@link loadLinux} says, and
   * `unsupported` for a 64-bit entry on a processor without long mode.
   */
  loadLinux(image: Uint8Array, options: PcLinuxOptions = {}): LinuxEntry {
    this.check()
    if (options.entry === '64' && !this.cpu.model.features.has('lm')) {
      throw new VirtkitError('unsupported', 'a 64-bit entry needs a processor with long mode')
    }
    this.space.a20 = true
    const { acpiRsdp, memoryMap } = this.board.placeTables()
    const loaded = loadLinux(this.space, image, {
      ...(acpiRsdp === undefined ? {} : { acpiRsdp }),
      ...options,
      memoryMap,
    })
    const { s } = this.cpu
    const long = loaded.cr3 !== undefined
    this.board.initialise()
    initialiseProcessors(this.cpus)
    this.describeBios()
    if (loaded.cr3 !== undefined) {
      s.cr3 = loaded.cr3
      s.cr4 |= CR4_PAE
      s.efer |= EFER_LME | EFER_LMA
    }
    s.cr0 = (s.cr0 & ~CR0_PG) | CR0_ET | CR0_PE | (long ? CR0_PG : 0)
    for (let seg = 0; seg < 6; seg++) {
      const code = seg === 1
      s.setSegment(seg, code ? LINUX_BOOT_CS : LINUX_BOOT_DS, 0, 0xffffffff, code ? (long ? 0xa09b : 0xc09b) : 0xc093)
    }
    s.setGdtr(loaded.gdtBase, loaded.gdtLimit)
    for (let reg = 0; reg < 8; reg++) s.setRegNumber(reg, reg === 6 ? loaded.bootParams : 0)
    s.flags = 2
    s.rip = loaded.entry
    this.cpu.setCpl(0)
    this.cpu.memory.configurePaging()
    this.cpu.memory.flushAll()
    this.cpu.updateMode()
    return loaded
  }

  /** The words of the BIOS data area that kernels look at: the serial port, the EBDA's segment, and KiB of memory below it. */
  private describeBios(): void {
    this.space.write16(0x400, 0x3f8)
    this.space.write16(0x40e, 0x9fc0)
    this.space.write16(0x413, 639)
  }

  /**
   * Puts flat code at a physical address below 1 MiB and points the CPU at it in real mode, with all segments 0 and the stack below the code: what a
   * boot sector finds. `address` is 0x7C00 by default.
   */
  loadFlat(code: Uint8Array, address = 0x7c00): void {
    this.check()
    if (!Number.isInteger(address) || address < 0 || address + code.length > 0xa0000) {
      throw new VirtkitError('bad-range', `flat code of ${code.length} bytes does not fit at 0x${address.toString(16)}`)
    }
    this.space.writeBytes(address, code)
    const { s } = this.cpu
    this.board.initialise()
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, 0, 0, 0xffff, seg === 1 ? 0x9b : 0x93)
    s.setReg32(4, address)
    s.setReg32(2, 0x80)
    s.rip = address
    this.cpu.updateMode()
  }

  /** A hardware reset: every device and the CPU; memory keeps its contents. */
  reset(): void {
    this.check()
    this.inputs.submit({ kind: 'reset' })
  }

  /** Presses and releases the power button, which an operating system may take as the wish to shut down. */
  powerButton(): void {
    this.check()
    this.inputs.submit({ kind: 'power-button' })
  }

  /** Gives an input to its device. */
  private applyInput(input: HostInput): number {
    const { ps2 } = this.board
    // A sleeping host looks again.
    this.wake?.()
    switch (input.kind) {
      case 'serial':
        return this.board.uart.receive(input.bytes)
      case 'type':
        ps2.type(input.text)
        return 0
      case 'key':
        if (input.down) ps2.keyDown(input.code)
        else ps2.keyUp(input.code)
        return 0
      case 'mouse-move':
        ps2.mouseMove(input.dx, input.dy)
        return 0
      case 'mouse-button':
        ps2.mouseButton(input.button, input.down)
        return 0
      case 'mouse-wheel':
        ps2.wheel(input.detents)
        return 0
      case 'network':
        this.board.virtio.receive(input.port, input.frame)
        return input.frame.length
      case 'power-button':
        this.board.pm.pressPowerButton()
        return 0
      case 'reset':
        this.resetNow()
        return 0
      case 'stop':
        this.end({ reason: 'aborted' })
        return 0
    }
  }

  private resetNow(): void {
    this.resets++
    this.board.reset()
    for (const cpu of this.cpus) cpu.reset()
  }

  /** Asks a running machine to end with the given reason at the next instruction boundary. */
  private end(ending: { reason: StopReason; status?: number }): void {
    this.ending ??= ending
    this.processors?.requestStop()
  }

  private check(): void {
    if (this.disposed) throw new VirtkitError('disposed', 'this machine was disposed of')
  }

  /**
   * The whole machine as plain data: memory, processors, devices, disks that are in memory. Inputs that the host gave and the machine has not taken yet
   * are not part of it, nor is what left the machine. Throws `busy` inside a run.
   */
  saveState(): PcState {
    this.check()
    if (this.running) throw new VirtkitError('busy', 'a running machine cannot be saved: wait for its run to end')
    // What is due now is the first thing that the next run would do.
    this.clock.runDue()
    return { ...this.saveParts(), space: { ...this.space.saveState(), overlays: null } }
  }

  private saveParts(): Omit<PcState, 'space'> {
    return {
      version: 1,
      nsPerInstruction: this.clock.nsPerInstruction,
      clock: this.clock.saveState(),
      processors: this.processors.saveState(),
      cpus: this.cpus.map((cpu) => cpu.saveState()),
      board: this.board.saveState(),
      random: this.random.saveState(),
      resets: this.resets,
      resetRequested: this.resetRequested,
    }
  }

  /**
   * Takes a saved state over; the machine must be made of the same parts (memory, processors, disks, firmware), but may run on another engine. Throws
   * `bad-state`, and changes nothing, when the state is not one of such a machine.
   */
  loadState(state: PcState): void {
    this.check()
    if (this.running) throw new VirtkitError('busy', 'a running machine cannot be loaded: wait for its run to end')
    const before = this.saveParts()
    try {
      this.loadParts(state)
      // Last, as it validates everything before it changes anything.
      this.space.loadState({ ...(state.space as AddressSpaceState), overlays: null })
    } catch (error) {
      this.loadParts(before)
      throw error
    }
  }

  private loadParts(state: Omit<PcState, 'space'>): void {
    const r = new StateReader('machine', state, 1)
    if (state.nsPerInstruction !== this.clock.nsPerInstruction) {
      throw r.inconsistent('nsPerInstruction', `${this.clock.nsPerInstruction}`)
    }
    const { cpus } = state
    if (!Array.isArray(cpus) || cpus.length !== this.cpus.length) {
      throw r.inconsistent('cpus', `a list of ${this.cpus.length}`)
    }
    const resets = r.int('resets', 0, Number.MAX_SAFE_INTEGER)
    const resetRequested = r.bool('resetRequested')
    this.cpus.forEach((cpu, n) => {
      cpu.loadState(cpus[n])
    })
    this.clock.loadState(state.clock)
    this.processors.loadState(state.processors)
    this.random.loadState(state.random)
    this.board.loadState(state.board)
    this.board.smmChanged(this.cpus[this.processors.current]!.inSmm)
    this.resets = resets
    this.resetRequested = resetRequested
    this.ending = undefined
  }

  /**
   * Runs at most `budget` instructions without giving the host a turn. Returns why it ended; `budget` when they were used up. While the
   * processor is halted, time jumps to the next event; each jump takes the place of a few instructions in the budget, a reset that of many. Throws `device-failed`
   * when a device throws: the CPU then stands before the instruction that met it, and the machine can be run on.
   */
  runSync(budget: number): RunResult {
    this.check()
    if (!(budget > 0)) throw new VirtkitError('bad-argument', 'a run needs a positive number of instructions')
    if (this.running) throw new VirtkitError('busy', 'this machine is already running')
    this.running = true
    try {
      return this.turn(budget)
    } finally {
      this.running = false
    }
  }

  private turn(budget: number): RunResult {
    this.spent = 0
    this.inputs.inTurn = true
    const start = this.instructions
    try {
      const ending = this.loop(budget)
      return { ...ending, instructions: this.instructions - start }
    } catch (cause) {
      if (cause instanceof VirtkitError) throw cause
      const message = cause instanceof Error ? cause.message : String(cause)
      throw new VirtkitError('device-failed', `a device failed: ${message}`, { cause })
    } finally {
      this.deadline = Number.POSITIVE_INFINITY
      this.inputs.inTurn = false
    }
  }

  /** Lets the host sleep until the processors' next event or the next input, and virtual time pass with the host's. */
  private async sleep(clock: HostClock, until: number, signal: AbortSignal | undefined): Promise<void> {
    const from = this.clock.now()
    const begun = clock.now()
    const catchUp = (): void =>
      this.clock.skipTo(Math.min(until, Math.floor(from + Math.max(0, clock.now() - begun) * 1e6)))
    this.inputs.onArrival = catchUp
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, Math.min(LONGEST_SLEEP_MS, (until - from) / 1e6))
      function done(): void {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      signal?.addEventListener('abort', done)
      // What was taken may have planned something earlier: time stands still from here.
      this.wake = () => {
        this.inputs.onArrival = undefined
        done()
      }
    })
    this.wake = undefined
    if (this.inputs.onArrival !== undefined) catchUp()
    this.inputs.onArrival = undefined
  }

  private loop(budget: number): { reason: StopReason; status?: number } {
    const { processors, clock, inputs } = this
    while (this.spent < budget) {
      clock.runDue()
      inputs.takeDue()
      if (this.resetRequested) {
        this.resetRequested = false
        this.spent += RESET_COST
        this.resetNow()
      }
      if (this.ending !== undefined) {
        const ending: { reason: StopReason; status?: number } = this.ending
        this.ending = undefined
        return ending
      }
      const cpu = processors.next()
      if (cpu === undefined) {
        const next = Math.min(clock.nextDeadline, inputs.timeHere)
        const asleepForEver = next === Number.POSITIVE_INFINITY || !processors.wakable
        if (asleepForEver && inputs.timeHere === Number.POSITIVE_INFINITY) {
          if (inputs.replaying) inputs.unreachable()
          if (!processors.wakable) return { reason: 'halted' }
        }
        if (this.hostClock !== undefined && !inputs.replaying && next - clock.now() >= SHORTEST_SLEEP_NS) {
          this.sleepUntil = next
          return { reason: 'budget' }
        }
        if (next === Number.POSITIVE_INFINITY) return { reason: 'idle' }
        clock.skipTo(next)
        this.spent += IDLE_COST
        continue
      }
      this.deadline = clock.nextDeadline
      const before = cpu.instructions
      const limit = processors.limit(
        Math.min(budget - this.spent, Math.max(1, clock.instructionsToDeadline), Math.max(1, inputs.distance)),
      )
      const stop = cpu.run(limit)
      const ran = cpu.instructions - before
      this.spent += ran
      processors.used(ran)
      this.deadline = Number.POSITIVE_INFINITY
      if (stop === 'shutdown') {
        if (this.onTripleFault === 'stop') return { reason: 'triple-fault' }
        this.spent += RESET_COST
        this.resetNow()
      }
    }
    return { reason: 'budget' }
  }

  /**
   * Runs until the guest ends it, the caller aborts, or the limit is reached, giving the host's event loop a turn every few million instructions.
   * Throws `device-failed` as {@link runSync} does, and `disposed` when the machine is disposed of meanwhile.
   */
  async run(options: RunOptions = {}): Promise<RunResult> {
    this.check()
    if (this.running) throw new VirtkitError('busy', 'this machine is already running')
    this.running = true
    try {
      let left = options.instructions ?? Number.POSITIVE_INFINITY
      if (!(left > 0)) throw new VirtkitError('bad-argument', 'a run needs a positive number of instructions')
      this.hostClock = options.pace === 'virtual' ? undefined : options.pace
      let total = 0
      let untilNext = TURN
      const slice = SLICE[this.engineName]
      for (;;) {
        if (options.signal?.aborted) return { reason: 'aborted', instructions: total }
        if (!(left > 0)) return { reason: 'budget', instructions: total }
        const result = this.turn(Math.min(left, untilNext, slice))
        total += result.instructions
        left -= this.spent
        untilNext -= this.spent
        const { sleepUntil } = this
        this.sleepUntil = undefined
        if (sleepUntil !== undefined) {
          // Whoever waits for something on a sleeping machine is asked each time it wakes.
          if (options.until?.()) return { reason: 'budget', instructions: total }
          await this.sleep(this.hostClock!, sleepUntil, options.signal)
          this.check()
          continue
        }
        if (result.reason !== 'budget') return { ...result, instructions: total }
        if (untilNext <= 0) {
          untilNext = TURN
          if (options.until?.()) return { reason: 'budget', instructions: total }
        }
        await breathe()
        this.check()
      }
    } finally {
      this.running = false
      this.hostClock = undefined
    }
  }

  /**
   * Runs until `text` appears on the screen or in the serial output. Throws `timeout` when the machine ends or the limit passes first.
   */
  async waitForText(text: string | RegExp, options: WaitOptions = {}): Promise<void> {
    const found = (): boolean => {
      const matches = (haystack: string): boolean =>
        typeof text === 'string' ? haystack.includes(text) : text.test(haystack)
      if (options.in !== 'serial' && matches(this.screen.text().join('\n'))) return true
      return options.in !== 'screen' && matches(this.serial.text)
    }
    if (found()) return
    const result = await this.run({ ...options, until: () => found() || (options.until?.() ?? false) })
    if (found()) return
    if (result.reason === 'aborted') throw new VirtkitError('aborted', `aborted while waiting for ${String(text)}`)
    throw new VirtkitError(
      'timeout',
      `${String(text)} did not appear within ${result.instructions} instructions (the run ended: ${result.reason})`,
    )
  }

  /** Ends the machine's life: any further call throws `disposed`. A run in progress ends at its next turn. */
  dispose(): void {
    this.disposed = true
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / 65536) * 65536
}

/** The virtio devices of a machine, in one word. */
function virtioSetting(virtio: VirtioParts = {}): string {
  const { disks = [], networks = [], entropy = false, console } = virtio
  return `disks ${disks.length}, networks ${networks.length}, entropy ${entropy}, console ${console !== undefined}`
}

function modelOf(name: ModelName): CpuModel {
  const model = MODELS[name]
  if (model !== undefined) return model
  throw new VirtkitError('bad-argument', `there is no CPU model '${name}': ${Object.keys(MODELS).join(', ')}`)
}

/** What a processor's local APIC does for it besides interrupts: MSRs, CR8, CPUID, INIT. */
function apicPlatform(apic: LocalApic | undefined): CpuPlatform {
  if (apic === undefined) return {}
  return {
    apic,
    readMsr: (index) => (apic.ownsMsr(index) ? apic.readMsr(index) : undefined),
    writeMsr: (index, value) => apic.ownsMsr(index) && apic.writeMsr(index, value),
    taskPriority: () => apic.taskPriority,
    taskPriorityChanged: (priority) => {
      apic.taskPriority = priority
    },
    timestampWritten: () => apic.tscChanged(),
    initialised: () => apic.init(),
  }
}

function allocate(
  pages: number,
  wasm: boolean,
): { buffer: ArrayBufferLike; wasmMemory: WebAssembly.Memory | undefined } {
  try {
    if (!wasm) return { buffer: new ArrayBuffer(pages * 65536), wasmMemory: undefined }
    const wasmMemory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    return { buffer: wasmMemory.buffer, wasmMemory }
  } catch (cause) {
    throw new VirtkitError('bad-argument', `the host cannot allocate ${Math.ceil(pages / 16)} MiB`, { cause })
  }
}

/** The named options that are present. */
function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): { [P in K]?: NonNullable<T[P]> } {
  const result: { [P in K]?: NonNullable<T[P]> } = {}
  for (const key of keys) if (from[key] !== undefined) result[key] = from[key] as NonNullable<T[K]>
  return result
}
