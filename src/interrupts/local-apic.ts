import type { InterruptSource, IrqLine, MmioDevice, MmioSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventMap, EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { APIC_BROADCAST, type ApicBus, type ApicReceiver, X2APIC_BROADCAST } from './apic-bus.js'
import { decodeApicCommand } from './apic-command.js'
import { matchesX2apicLogical, matchesXapicLogical, x2apicLogicalId } from './apic-destination.js'
import { ApicPriority } from './apic-priority.js'
import {
  APIC_ACTION,
  APIC_APR,
  APIC_BASE_BSP,
  APIC_BASE_EN,
  APIC_BASE_EXTD,
  APIC_DEFAULT_BASE,
  APIC_DELIVERY,
  APIC_DFR,
  APIC_DFR_FLAT,
  APIC_EOI,
  APIC_ESR,
  APIC_ESR_ILLEGAL_REGISTER,
  APIC_ESR_RECEIVE_ILLEGAL_VECTOR,
  APIC_ESR_SEND_ILLEGAL_VECTOR,
  APIC_ICR,
  APIC_ICR_HIGH,
  APIC_ID,
  APIC_IRR,
  APIC_ISR,
  APIC_LDR,
  APIC_LVT_CMCI,
  APIC_LVT_LINT0,
  APIC_LVT_LINT1,
  APIC_LVT_TIMER,
  APIC_MASKED,
  APIC_PPR,
  APIC_RRD,
  APIC_SELF_IPI,
  APIC_SHORTHAND_SELF,
  APIC_SVR,
  APIC_SVR_ENABLE,
  APIC_SVR_EOI_SUPPRESSION,
  APIC_SVR_FOCUS_OFF,
  APIC_TIMER_CURRENT,
  APIC_TIMER_DIVIDE,
  APIC_TIMER_INITIAL,
  APIC_TMR,
  APIC_TPR,
  APIC_VERSION,
  APIC_VERSION_EOI_SUPPRESSION,
  APIC_VERSION_XAPIC,
  MSR_APIC_BASE,
  MSR_TSC_DEADLINE,
  MSR_X2APIC_FIRST,
  MSR_X2APIC_LAST,
} from './apic-registers.js'
import {
  LocalVectorTable,
  LVT_CMCI,
  LVT_ERROR,
  LVT_PERFORMANCE,
  LVT_THERMAL,
  LVT_TIMER,
  type LvtSurroundings,
  lvtEntryAt,
  lvtWritable,
  timerModeExists,
} from './local-apic-lvt.js'
import { validateLocalApicState } from './local-apic-state.js'
import { ApicTimer } from './local-apic-timer.js'
import type { LocalApicCore, LocalApicOptions, LocalApicState } from './local-apic-types.js'
import { nextApicBase, x2apicReadable, x2apicWritable } from './x2apic.js'

/** What the data bus shows when no 8259A answers an INTA cycle. */
const FLOATING_BUS = 0xff
/** Bits of the low half of ICR that are kept; delivery status always reads 0. */
const ICR_BITS = 0xccfff

/**
 * A processor's local APIC: xAPIC and x2APIC.
 *
 * To its processor it is an {@link InterruptSource}: `pending` is the INTR pin, `acknowledge()` moves the vector of
 * highest priority from IRR to ISR. The processor shows it in its physical address space while
 * `mode` is `xapic`, 4 KiB at `baseAddress` (its own one: every processor sees its own APIC at the same address), and
 * passes IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h–8FFh to {@link readMsr} and {@link writeMsr}, CR8 to
 * {@link taskPriority}.
 *
 * What is left open by the manual, and how it is here:
 * - Accesses to the page that are not aligned dwords: reads give the bytes of the register (0 in the 12 bytes
 *   behind it), writes do nothing.
 * - Messages arrive at once, so delivery status always reads idle.
 * - IPIs with an undefined combination of shorthand and delivery mode are not sent. Lowest-priority IPIs are; the
 *   manual calls that model-specific. Remote read does not exist.
 * - The 8259A's request (ExtINT) goes before any vector of the APIC, and its vector is not known to ISR.
 * - While disabled by software the APIC still offers what is in IRR, as the manual says; it takes nothing new.
 * - Disabling it in IA32_APIC_BASE resets it. LINT0 is then the processor's INTR and LINT1 its NMI.
 * - Only the first error after a write of ESR causes the error interrupt.
 * - The BSP flag can be written; the xAPIC ID can, too.
 *
 * Source: Intel SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".
 */
export class LocalApic implements MmioDevice, InterruptSource, ApicReceiver, Stateful<LocalApicState> {
  /** Name used in events. */
  readonly name: string
  readonly initialId: number
  /**
   * The pin LINT0. Where `external` is an 8259A, lead its INT here too (to every processor's LINT0): in ExtINT mode
   * the wire tells the core that `pending` may have changed, and in the other delivery modes it is the request.
   */
  readonly lint0: IrqLine
  /** The pin LINT1: NMI on a PC. */
  readonly lint1: IrqLine
  private readonly bus: ApicBus
  private readonly core: LocalApicCore
  private readonly external: InterruptSource | undefined
  private readonly events: EventSink | undefined
  private readonly timer: ApicTimer
  private readonly bootstrap: boolean
  private readonly hasX2apic: boolean
  private readonly hasTscDeadline: boolean
  private readonly hasCmci: boolean
  private readonly physicalAddressBits: number

  /** IA32_APIC_BASE. */
  private base = 0
  /** xAPIC ID, 8 bits. */
  private xapicId = 0
  private ldr = 0
  private dfr = APIC_DFR_FLAT
  private svr = 0xff
  private esr = 0
  /** Errors since the last write of ESR. */
  private errors = 0
  private errorArmed = true
  private icrLow = 0
  private icrHigh = 0
  private readonly vectors = new ApicPriority(() => this.core.interruptChanged?.())
  private readonly table = new LocalVectorTable(this.tableSurroundings())
  /** An ExtINT message arrived, and there was no INTA since. */
  private externalLatched = false

  /** Attaches itself to the bus. Throws `bad-argument` for options out of range, `overlap` for an ID that is taken. */
  constructor(options: LocalApicOptions) {
    const { id, frequency, physicalAddressBits = 40, events } = options
    if (!Number.isInteger(id) || id < 0 || id >= X2APIC_BROADCAST || id === APIC_BROADCAST) {
      throw new VirtkitError('bad-argument', `an APIC ID is 0 to 254 or 256 to 0xfffffffe, not ${id}`)
    }
    if (!(frequency > 0 && frequency < 1e12)) {
      throw new VirtkitError('bad-argument', `the APIC timer's frequency must be positive, not ${frequency}`)
    }
    if (!Number.isInteger(physicalAddressBits) || physicalAddressBits < 32 || physicalAddressBits > 52) {
      throw new VirtkitError('bad-argument', `MAXPHYADDR is 32 to 52, not ${physicalAddressBits}`)
    }
    this.name = options.name ?? `lapic${id}`
    this.initialId = id
    this.bus = options.bus
    this.core = options.core ?? {}
    this.external = options.external
    this.events = events
    this.bootstrap = options.bootstrap ?? false
    this.hasX2apic = options.x2apic ?? true
    this.hasTscDeadline = options.tsc !== undefined
    this.hasCmci = options.cmci ?? false
    this.physicalAddressBits = physicalAddressBits
    const tsc = options.tsc === undefined ? {} : { tsc: options.tsc }
    this.timer = new ApicTimer({ clock: options.clock, frequency, ...tsc, expired: () => this.table.raise(LVT_TIMER) })
    this.lint0 = { setLevel: (level) => this.table.setLint0(level) }
    this.lint1 = { setLevel: (level) => this.table.setLint1(level) }
    this.base = this.resetBase()
    this.xapicId = id & 0xff
    this.bus.attach(this)
  }

  // ---- the processor's side

  /** The INTR pin: a vector above the processor priority, or the 8259A through LINT0. */
  get pending(): boolean {
    return this.vectors.pending || this.externalPending
  }

  /**
   * The processor's acknowledge: returns the vector and moves it into service. The 8259A comes first, with its own INTA
   * sequence. When nothing is pending any more (the task priority was raised meanwhile): the spurious vector, without
   * a change of ISR.
   */
  acknowledge(): number {
    if (this.externalPending) {
      this.externalLatched = false
      return this.acknowledgeExternal()
    }
    if (this.vectors.pending) {
      const vector = this.vectors.dispense()
      this.emit(APIC_ACTION.DELIVER, vector)
      return vector
    }
    if (!this.enabled) return this.acknowledgeExternal()
    const spurious = this.svr & 0xff
    this.emit(APIC_ACTION.SPURIOUS, spurious)
    return spurious
  }

  /** CR8: bits 7–4 of the task priority. Setting it clears bits 3–0. */
  get taskPriority(): number {
    return this.vectors.tpr >> 4
  }

  set taskPriority(value: number) {
    this.vectors.setTpr((value & 15) << 4)
  }

  /** How the APIC is enabled in IA32_APIC_BASE. */
  get mode(): 'disabled' | 'xapic' | 'x2apic' {
    if (!this.enabled) return 'disabled'
    return this.isX2apic ? 'x2apic' : 'xapic'
  }

  /** Enabled in IA32_APIC_BASE: then CPUID has the APIC bit. */
  get enabled(): boolean {
    return (this.base & APIC_BASE_EN) !== 0
  }

  /** Where the page is: a multiple of 4 KiB. */
  get baseAddress(): number {
    return this.base - (this.base % 0x1000)
  }

  /** The APIC ID by which physical messages find it. */
  get id(): number {
    return this.isX2apic ? this.initialId : this.xapicId
  }

  /** Vectors requested, ascending. */
  get requested(): readonly number[] {
    return this.vectors.irr.toVectors()
  }

  /** Vectors in service, ascending. */
  get inService(): readonly number[] {
    return this.vectors.isr.toVectors()
  }

  /** The processor priority, 0–255. */
  get processorPriority(): number {
    return this.vectors.ppr
  }

  /**
   * Power-up or reset: everything, IA32_APIC_BASE and the ID included. The levels on the pins are other parts'
   * business.
   */
  reset(): void {
    this.base = this.resetBase()
    this.xapicId = this.initialId & 0xff
    this.init()
    this.core.baseChanged?.()
  }

  /** What an INIT does: as reset, but IA32_APIC_BASE (with x2APIC mode and BSP flag) and the ID stay. */
  init(): void {
    this.ldr = 0
    this.dfr = APIC_DFR_FLAT
    this.svr = 0xff
    this.esr = 0
    this.errors = 0
    this.errorArmed = true
    this.icrLow = 0
    this.icrHigh = 0
    this.externalLatched = false
    this.timer.reset()
    this.table.reset()
    this.vectors.clear()
  }

  /**
   * What a PC's firmware leaves behind on the bootstrap processor (virtual wire mode): enabled with spurious vector
   * FFh, LINT0 ExtINT, LINT1 NMI. For machines that start without firmware; the same as the register writes.
   */
  virtualWire(): void {
    this.writeRegister(APIC_SVR, APIC_SVR_ENABLE | 0xff)
    this.writeRegister(APIC_LVT_LINT0, APIC_DELIVERY.EXT_INT << 8)
    this.writeRegister(APIC_LVT_LINT1, APIC_DELIVERY.NMI << 8)
  }

  /** The TSC was written or its rate changed. */
  tscChanged(): void {
    this.timer.tscChanged()
  }

  /** The thermal sensor asks for its interrupt. */
  thermal(): void {
    this.table.raise(LVT_THERMAL)
  }

  /** A performance counter overflowed. The LVT entry masks itself. */
  performanceCounter(): void {
    this.table.raise(LVT_PERFORMANCE)
    this.table.entries[LVT_PERFORMANCE]! |= APIC_MASKED
  }

  /** The count of corrected machine checks reached its threshold. */
  correctedMachineCheck(): void {
    if (this.hasCmci) this.table.raise(LVT_CMCI)
  }

  // ---- registers

  /** In x2APIC mode and while disabled the page does not answer: reads give all ones. */
  readMmio(offset: number, size: MmioSize): number {
    const all = size === 4 ? 0xffffffff : (1 << (size * 8)) - 1
    if (this.mode !== 'xapic') return all
    if ((offset & 12) !== 0) return 0
    return ((this.readRegister(offset & 0xff0) >>> ((offset & 3) * 8)) & all) >>> 0
  }

  writeMmio(offset: number, size: MmioSize, value: number): void {
    if (size !== 4 || (offset & 15) !== 0 || this.mode !== 'xapic') return
    this.writeRegister(offset & 0xff0, value >>> 0)
  }

  /** Whether {@link readMsr} and {@link writeMsr} are to be asked about an MSR. */
  ownsMsr(index: number): boolean {
    return (
      index === MSR_APIC_BASE || index === MSR_TSC_DEADLINE || (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST)
    )
  }

  /** RDMSR; undefined means #GP(0). */
  readMsr(index: number): bigint | undefined {
    if (index === MSR_APIC_BASE) return BigInt(this.base)
    if (index === MSR_TSC_DEADLINE) return this.hasTscDeadline ? this.timer.deadline : undefined
    const offset = (index - MSR_X2APIC_FIRST) * 16
    if (!this.isX2apic || !this.hasRegister(offset) || !x2apicReadable(offset)) return undefined
    const low = BigInt(this.readRegister(offset))
    return offset === APIC_ICR ? low | (BigInt(this.icrHigh) << 32n) : low
  }

  /** WRMSR; false means #GP(0), and nothing changed. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR_APIC_BASE) return this.writeBase(value)
    if (index === MSR_TSC_DEADLINE) {
      if (!this.hasTscDeadline) return false
      this.timer.deadline = BigInt.asUintN(64, value)
      return true
    }
    const offset = (index - MSR_X2APIC_FIRST) * 16
    if (!this.isX2apic || !this.hasRegister(offset)) return false
    const allowed = x2apicWritable(offset, this.hasTscDeadline)
    if (allowed === undefined) return false
    const low = Number(BigInt.asUintN(32, value))
    const high = Number(BigInt.asUintN(32, value >> 32n))
    if ((low & ~allowed) !== 0 || (high !== 0 && offset !== APIC_ICR)) return false
    if (offset === APIC_LVT_TIMER && !timerModeExists(low, this.hasTscDeadline)) return false
    if (offset === APIC_ICR) {
      this.icrLow = low & ICR_BITS
      this.icrHigh = high
      this.send(low, high, true)
    } else if (offset === APIC_SELF_IPI) {
      this.send(APIC_SHORTHAND_SELF | low, 0, true)
    } else {
      this.writeRegister(offset, low)
    }
    return true
  }

  private get isX2apic(): boolean {
    return (this.base & APIC_BASE_EXTD) !== 0
  }

  private get softwareEnabled(): boolean {
    return (this.svr & APIC_SVR_ENABLE) !== 0
  }

  private resetBase(): number {
    return APIC_DEFAULT_BASE + APIC_BASE_EN + (this.bootstrap ? APIC_BASE_BSP : 0)
  }

  private hasRegister(offset: number): boolean {
    return offset !== APIC_LVT_CMCI || this.hasCmci
  }

  private writeBase(value: bigint): boolean {
    const { base: from, hasX2apic: x2apic, physicalAddressBits } = this
    const base = nextApicBase(from, value, { physicalAddressBits, x2apic })
    if (base === undefined) return false
    if (base === this.base) return true
    const wasEnabled = this.enabled
    this.base = base
    if (wasEnabled && !this.enabled) {
      this.xapicId = this.initialId & 0xff
      this.init()
    }
    this.table.updateExternal()
    this.core.baseChanged?.()
    this.bus.retry()
    return true
  }

  private readRegister(offset: number): number {
    if (offset >= APIC_ISR && offset < APIC_ESR) {
      const set = offset < APIC_TMR ? this.vectors.isr : offset < APIC_IRR ? this.vectors.tmr : this.vectors.irr
      return set.word((offset >> 4) & 7)
    }
    switch (offset) {
      case APIC_ID:
        return this.isX2apic ? this.initialId : (this.xapicId << 24) >>> 0
      case APIC_VERSION:
        return APIC_VERSION_XAPIC | ((this.hasCmci ? 6 : 5) << 16) | APIC_VERSION_EOI_SUPPRESSION
      case APIC_TPR:
        return this.vectors.tpr
      case APIC_APR:
        return this.arbitrationPriority
      case APIC_PPR:
        return this.processorPriority
      case APIC_LDR:
        return this.isX2apic ? x2apicLogicalId(this.initialId) : this.ldr
      case APIC_DFR:
        return this.dfr
      case APIC_SVR:
        return this.svr
      case APIC_ESR:
        return this.esr
      case APIC_ICR:
        return this.icrLow
      case APIC_ICR_HIGH:
        return this.icrHigh
      case APIC_TIMER_INITIAL:
        return this.timer.initial
      case APIC_TIMER_CURRENT:
        return this.timer.current
      case APIC_TIMER_DIVIDE:
        return this.timer.divide
      case APIC_EOI:
      case APIC_RRD:
        return 0
    }
    const entry = lvtEntryAt(offset)
    if (entry >= 0 && this.hasRegister(offset)) return this.table.entries[entry]!
    this.error(APIC_ESR_ILLEGAL_REGISTER)
    return 0
  }

  private writeRegister(offset: number, value: number): void {
    // ISR, TMR and IRR are read-only.
    if (offset >= APIC_ISR && offset < APIC_ESR) return
    switch (offset) {
      case APIC_ID:
        this.xapicId = value >>> 24
        this.bus.retry()
        return
      case APIC_TPR:
        this.vectors.setTpr(value & 0xff)
        return
      case APIC_EOI:
        this.endOfInterrupt()
        return
      case APIC_LDR:
        this.ldr = (value & 0xff000000) >>> 0
        this.bus.retry()
        return
      case APIC_DFR:
        this.dfr = (value | 0x0fffffff) >>> 0
        this.bus.retry()
        return
      case APIC_SVR:
        this.writeSvr(value)
        return
      case APIC_ESR:
        this.esr = this.errors
        this.errors = 0
        this.errorArmed = true
        return
      case APIC_ICR:
        this.icrLow = value & ICR_BITS
        this.send(value, this.icrHigh >>> 24, false)
        return
      case APIC_ICR_HIGH:
        this.icrHigh = (value & 0xff000000) >>> 0
        return
      case APIC_TIMER_INITIAL:
        this.timer.initial = value
        return
      case APIC_TIMER_DIVIDE:
        this.timer.divide = value
        return
      case APIC_VERSION:
      case APIC_APR:
      case APIC_PPR:
      case APIC_RRD:
      case APIC_TIMER_CURRENT:
        return
    }
    const entry = lvtEntryAt(offset)
    if (entry >= 0 && this.hasRegister(offset)) this.writeLvt(entry, value)
    else this.error(APIC_ESR_ILLEGAL_REGISTER)
  }

  private writeSvr(value: number): void {
    const was = this.softwareEnabled
    this.timer.catchUp()
    this.svr = value & (APIC_SVR_EOI_SUPPRESSION | APIC_SVR_FOCUS_OFF | APIC_SVR_ENABLE | 0xff)
    if (was === this.softwareEnabled) return
    if (was) {
      this.table.maskAll()
      this.timer.configure(this.table.entries[LVT_TIMER]!)
    } else {
      this.bus.retry()
    }
  }

  private writeLvt(entry: number, value: number): void {
    if (entry === LVT_TIMER) this.timer.catchUp()
    // While disabled by software all entries are masked, and stay so.
    this.table.write(entry, value & lvtWritable(entry, this.hasTscDeadline), !this.softwareEnabled)
    if (entry === LVT_TIMER) this.timer.configure(this.table.entries[LVT_TIMER]!)
  }

  // ---- messages from the bus

  /** The arbitration priority that lowest-priority messages are decided by. */
  get arbitrationPriority(): number {
    return this.vectors.apr
  }

  get acceptsVectors(): boolean {
    return this.enabled && this.softwareEnabled
  }

  matches(destination: number, logical: boolean, wide: boolean): boolean {
    if (!this.enabled) return false
    if (destination === (wide ? X2APIC_BROADCAST : APIC_BROADCAST)) return true
    if (!logical) return destination === this.id
    if (this.isX2apic) return matchesX2apicLogical(destination, this.initialId)
    return destination <= 0xff && matchesXapicLogical(destination, this.ldr, this.dfr)
  }

  isFocusOf(vector: number): boolean {
    return (this.svr & APIC_SVR_FOCUS_OFF) === 0 && (this.vectors.irr.has(vector) || this.vectors.isr.has(vector))
  }

  accept(deliveryMode: number, vector: number, level: boolean): boolean {
    if (!this.enabled) return false
    if (deliveryMode === APIC_DELIVERY.FIXED) return this.receive(vector, level)
    if (deliveryMode === APIC_DELIVERY.EXT_INT) {
      if (!this.softwareEnabled) return false
      this.externalLatched = true
    }
    return this.signal(deliveryMode, vector)
  }

  /** Takes a vector into IRR. */
  private receive(vector: number, level: boolean): boolean {
    if (!this.softwareEnabled) return false
    if (vector < 16) {
      this.error(APIC_ESR_RECEIVE_ILLEGAL_VECTOR)
      return false
    }
    this.emit(APIC_ACTION.ACCEPT, vector, { trigger: level ? 'level' : 'edge' })
    this.vectors.request(vector, level)
    return true
  }

  /** What goes past IRR to the core. False for a mode that does not exist. */
  private signal(deliveryMode: number, vector: number): boolean {
    const { core } = this
    switch (deliveryMode) {
      case APIC_DELIVERY.SMI:
      case APIC_DELIVERY.NMI:
      case APIC_DELIVERY.INIT:
      case APIC_DELIVERY.EXT_INT:
        this.emit(APIC_ACTION.SIGNAL, undefined, { deliveryMode })
        break
      case APIC_DELIVERY.START_UP:
        this.emit(APIC_ACTION.SIGNAL, vector, { deliveryMode })
        core.startUp?.(vector)
        return true
      default:
        return false
    }
    if (deliveryMode === APIC_DELIVERY.SMI) core.smi?.()
    else if (deliveryMode === APIC_DELIVERY.NMI) core.nmi?.()
    else if (deliveryMode === APIC_DELIVERY.INIT) core.init?.()
    else core.interruptChanged?.()
    return true
  }

  // ---- messages to the bus

  private send(low: number, destination: number, wide: boolean): void {
    const command = decodeApicCommand(low, destination, wide)
    if (command === undefined) return
    if (command.illegalVector) {
      this.error(APIC_ESR_SEND_ILLEGAL_VECTOR)
      return
    }
    const { target, message } = command
    const { vector, deliveryMode, destinationMode } = message
    this.emit(APIC_ACTION.SEND, vector, { deliveryMode, destination, destinationMode })
    if (target === 'self') this.receive(vector, false)
    else if (target === 'others') this.bus.broadcast(message, this)
    else if (target === 'all') this.bus.broadcast(message)
    else this.bus.deliver(message)
  }

  private endOfInterrupt(): void {
    const vector = this.vectors.end()
    if (vector < 0) return
    this.emit(APIC_ACTION.EOI, vector)
    if (!this.vectors.tmr.has(vector)) return
    this.table.end(vector)
    if ((this.svr & APIC_SVR_EOI_SUPPRESSION) === 0) this.bus.endOfInterrupt(vector)
  }

  // ---- local sources

  private tableSurroundings(): LvtSurroundings {
    const apic = this
    return {
      get enabled() {
        return apic.enabled
      },
      receive: (vector, level) => this.receive(vector, level),
      signal: (deliveryMode, vector) => this.signal(deliveryMode, vector),
      externalChanged: () => this.core.interruptChanged?.(),
      emit: (action, vector, rest) => this.emit(action, vector, rest),
    }
  }

  private get externalPending(): boolean {
    return this.externalLatched || (this.table.externalOpen && this.external?.pending === true)
  }

  private acknowledgeExternal(): number {
    const vector = this.external?.acknowledge() ?? FLOATING_BUS
    this.emit(APIC_ACTION.DELIVER, vector, { deliveryMode: APIC_DELIVERY.EXT_INT })
    return vector
  }

  private error(bit: number): void {
    this.errors |= bit
    this.emit(APIC_ACTION.ERROR)
    if (!this.errorArmed || (this.table.entries[LVT_ERROR]! & APIC_MASKED) !== 0) return
    this.errorArmed = false
    this.table.raise(LVT_ERROR)
  }

  private emit(action: string, vector?: number, rest?: Partial<EventMap['apic']>): void {
    const { events } = this
    if (events?.wants('apic') !== true) return
    events.emit('apic', { chip: this.name, action, ...(vector === undefined ? {} : { vector }), ...rest })
  }

  // ---- state

  saveState(): LocalApicState {
    return {
      version: 1,
      base: this.base,
      id: this.xapicId,
      tpr: this.vectors.tpr,
      ldr: this.ldr,
      dfr: this.dfr,
      svr: this.svr,
      esr: this.esr,
      errors: this.errors,
      errorArmed: this.errorArmed,
      icrLow: this.icrLow,
      icrHigh: this.icrHigh,
      isr: this.vectors.isr.toList(),
      tmr: this.vectors.tmr.toList(),
      irr: this.vectors.irr.toList(),
      lvt: this.table.entries.slice(),
      lint0: this.table.lint0,
      lint1: this.table.lint1,
      externalLatched: this.externalLatched,
      timer: this.timer.saveState(),
    }
  }

  loadState(state: LocalApicState): void {
    const from = validateLocalApicState(state, {
      physicalAddressBits: this.physicalAddressBits,
      x2apic: this.hasX2apic,
      tscDeadline: this.hasTscDeadline,
    })
    this.base = from.base
    this.xapicId = from.id
    this.ldr = from.ldr
    this.dfr = from.dfr
    this.svr = from.svr
    this.esr = from.esr
    this.errors = from.errors
    this.errorArmed = from.errorArmed
    this.icrLow = from.icrLow
    this.icrHigh = from.icrHigh
    for (const [entry, bits] of from.lvt.entries()) this.table.entries[entry] = bits
    this.table.lint0 = from.lint0
    this.table.lint1 = from.lint1
    this.externalLatched = from.externalLatched
    this.timer.restore(from.timer, from.lvt[LVT_TIMER]!)
    this.table.updateExternal()
    this.vectors.restore(from.tpr, from.irr, from.isr, from.tmr)
    this.core.baseChanged?.()
    this.core.interruptChanged?.()
  }
}
