import type { InterruptSource, IrqLine, PortDevice, PortSize } from '../contracts/bus.js'
import { VirtkitError } from '../contracts/errors.js'
import type { EventSink } from '../contracts/events.js'
import type { Stateful } from '../contracts/state.js'
import { StateReader } from '../contracts/state-reader.js'
import {
  ICW1_ADI,
  ICW1_IC4,
  ICW1_INIT,
  ICW1_LTIM,
  ICW1_SNGL,
  ICW4_AEOI,
  ICW4_BUF,
  ICW4_MS,
  ICW4_SFNM,
  ICW4_UPM,
  MCS80_CALL,
  OCW2_EOI,
  OCW2_ROTATE_AEOI_CLEAR,
  OCW2_ROTATE_AEOI_SET,
  OCW2_ROTATE_EOI,
  OCW2_ROTATE_SPECIFIC_EOI,
  OCW2_SET_PRIORITY,
  OCW2_SPECIFIC_EOI,
  OCW3,
  OCW3_ESMM,
  OCW3_P,
  OCW3_RIS,
  OCW3_RR,
  OCW3_SMM,
  PIC_ACTION,
  POLL_I,
} from './pic-registers.js'

/** What {@link Pic8259} is made of; everything is optional. */
export interface Pic8259Options {
  /** The INT output. */
  readonly int?: IrqLine
  /** Level of the SP/EN pin outside buffered mode: a slave takes its identity from ICW3. Default: master. */
  readonly role?: 'master' | 'slave'
  /** Name in events. Default: the role. */
  readonly name?: string
  readonly events?: EventSink
}

/** Saved state of a {@link Pic8259}. */
export type Pic8259State = {
  readonly version: 1
  readonly lines: number
  readonly irr: number
  readonly isr: number
  readonly imr: number
  readonly elcr: number
  readonly icw1: number
  readonly icw2: number
  readonly icw3: number
  readonly icw4: number
  readonly nextIcw: number
  readonly lowest: number
  readonly rotateAeoi: boolean
  readonly specialMask: boolean
  readonly readIsr: boolean
  readonly poll: boolean
  readonly intaPulse: number
  readonly intaLevel: number
  readonly intaSpurious: boolean
}

const NONE = -1

/**
 * An Intel 8259A programmable interrupt controller: eight request inputs, one INT output, registers at offsets 0 and 1.
 *
 * All modes of the data sheet are here: edge and level triggering, cascading, the four kinds of EOI and rotation,
 * special mask, special fully nested, buffered, poll and MCS-80 mode. Three points that surprise:
 * - A masked request still latches in IRR; IMR only keeps it from INT.
 * - An input must stay high until the first INTA, edge-triggered or not. A request whose wire falls earlier is
 *   withdrawn, and an INTA that comes nevertheless reports level 7 (spurious) without setting ISR.
 * - ICW1 resets the edge detectors: a wire that is high must fall and rise again.
 *
 * The data sheet leaves the state at power-on open. Here the chip starts as if initialised in 8086 mode with vector
 * base 0, single, edge-triggered, nothing masked; INT stays low while an initialisation sequence is unfinished.
 *
 * Source: 8259A data sheet, "Interrupt Sequence", "Programming the 8259A", "Priority Resolver", "Edge and Level
 * Triggered Modes". ELCR as in the PIIX3 data sheet, "Edge/Level Control Registers".
 */
export class Pic8259 implements PortDevice, InterruptSource, Stateful<Pic8259State> {
  /** Name used in events. */
  readonly name: string
  private readonly strap: 'master' | 'slave'
  private readonly int: IrqLine | undefined
  private readonly events: EventSink | undefined
  private readonly inputs: readonly IrqLine[]

  /** Levels on the eight input wires. */
  private lines = 0
  private irrBits = 0
  private isrBits = 0
  private imrBits = 0
  private elcrBits = 0
  private icw1 = ICW1_INIT | ICW1_SNGL | ICW1_IC4
  private icw2 = 0
  private icw3 = 0
  private icw4 = ICW4_UPM
  /** Number of the ICW that the next write to A0 = 1 carries; 0 outside initialisation. */
  private nextIcw = 0
  /** Level of lowest priority; the next one up, cyclically, has the highest. */
  private lowest = 7
  private rotateAeoi = false
  private specialMask = false
  private readIsr = false
  private poll = false
  /** INTA pulses seen of the sequence under way. */
  private intaPulse = 0
  private intaLevel = 0
  private intaSpurious = false
  /** The level that drives INT, or NONE. */
  private candidate = NONE

  constructor(options: Pic8259Options = {}) {
    this.strap = options.role ?? 'master'
    this.name = options.name ?? this.strap
    this.int = options.int
    this.events = options.events
    this.inputs = Array.from({ length: 8 }, (_, n) => ({ setLevel: (level: boolean) => this.setLine(n, level) }))
  }

  /** Interrupt request register: what is asked for, masked or not. */
  get irr(): number {
    return this.irrBits
  }

  /** In-service register: what has been acknowledged and not yet ended. */
  get isr(): number {
    return this.isrBits
  }

  /** Interrupt mask register. */
  get imr(): number {
    return this.imrBits
  }

  /** Edge/level control register: a set bit makes that input level-triggered. */
  get elcr(): number {
    return this.elcrBits
  }

  /** Vector of level 0 in 8086 mode (ICW2, bits 7–3). */
  get vectorBase(): number {
    return this.icw2 & 0xf8
  }

  /** The level of lowest priority at the moment (7 unless rotated). */
  get lowestPriority(): number {
    return this.lowest
  }

  /** True while INT is asserted. */
  get pending(): boolean {
    return this.candidate !== NONE
  }

  /** The level that asserts INT, or undefined. */
  get pendingLevel(): number | undefined {
    return this.candidate === NONE ? undefined : this.candidate
  }

  /** Whether this chip is the master: the SP pin says so, or ICW4 in buffered mode. */
  get isMaster(): boolean {
    return (this.icw4 & ICW4_BUF) !== 0 ? (this.icw4 & ICW4_MS) !== 0 : this.strap === 'master'
  }

  /** The identity (0–7) a slave answers to on the cascade lines; undefined for a master or a single chip. */
  get slaveId(): number | undefined {
    return this.isMaster || (this.icw1 & ICW1_SNGL) !== 0 ? undefined : this.icw3 & 7
  }

  /** Whether a slave sits behind input `level` (ICW3 of a master). */
  hasSlaveAt(level: number): boolean {
    return this.isMaster && (this.icw1 & ICW1_SNGL) === 0 && ((this.icw3 >> level) & 1) !== 0
  }

  /** The request wire IR0–IR7. Throws `bad-argument` for another `n`. */
  line(n: number): IrqLine {
    const line = this.inputs[n]
    if (line === undefined) throw new VirtkitError('bad-argument', `an 8259 has inputs 0 to 7, not ${n}`)
    return line
  }

  /** Writes the edge/level control register; the PIIX keeps it outside the 8259's own two ports. */
  setElcr(value: number): void {
    this.elcrBits = value & 0xff
    this.followLevels()
    this.update()
  }

  /**
   * The ICW sequence in one call: vector `base`, with `slaves` (bit mask, master) or `id` (slave) for a cascade.
   * The same as the port writes, for use without a CPU.
   */
  initialise(options: { base: number; slaves?: number; id?: number; icw4?: number; level?: boolean }): void {
    const cascade = options.slaves !== undefined || options.id !== undefined
    this.writePort(0, 1, ICW1_INIT | ICW1_IC4 | (cascade ? 0 : ICW1_SNGL) | (options.level === true ? ICW1_LTIM : 0))
    this.writePort(1, 1, options.base)
    if (cascade) this.writePort(1, 1, options.slaves ?? options.id ?? 0)
    this.writePort(1, 1, options.icw4 ?? ICW4_UPM)
  }

  // ---- the bus side

  readPort(offset: number, _size: PortSize): number {
    if (this.poll) {
      this.poll = false
      return this.pollRead()
    }
    if ((offset & 1) !== 0) return this.imrBits
    return this.readIsr ? this.isrBits : this.irrBits
  }

  writePort(offset: number, _size: PortSize, value: number): void {
    value &= 0xff
    if ((offset & 1) === 0) {
      if ((value & ICW1_INIT) !== 0) this.writeIcw1(value)
      else if ((value & OCW3) !== 0) this.writeOcw3(value)
      else this.writeOcw2(value)
    } else if (this.nextIcw === 0) {
      this.imrBits = value
    } else {
      this.writeIcw(value)
    }
    this.update()
  }

  private writeIcw1(value: number): void {
    this.icw1 = value
    this.nextIcw = 2
    this.imrBits = 0
    this.isrBits = 0
    this.irrBits = 0
    this.lowest = 7
    this.icw3 = this.strap === 'slave' ? 7 : 0
    this.specialMask = false
    this.readIsr = false
    this.poll = false
    this.rotateAeoi = false
    this.intaPulse = 0
    if ((value & ICW1_IC4) === 0) this.icw4 = 0
    this.followLevels()
    this.emit(PIC_ACTION.initialise, NONE)
  }

  private writeIcw(value: number): void {
    const single = (this.icw1 & ICW1_SNGL) !== 0
    const withIcw4 = (this.icw1 & ICW1_IC4) !== 0
    if (this.nextIcw === 2) {
      this.icw2 = value
      this.nextIcw = single ? (withIcw4 ? 4 : 0) : 3
    } else if (this.nextIcw === 3) {
      this.icw3 = value
      this.nextIcw = withIcw4 ? 4 : 0
    } else {
      this.icw4 = value & 0x1f
      this.nextIcw = 0
    }
  }

  private writeOcw2(value: number): void {
    const level = value & 7
    switch (value & 0xe0) {
      case OCW2_ROTATE_AEOI_CLEAR:
        this.rotateAeoi = false
        break
      case OCW2_ROTATE_AEOI_SET:
        this.rotateAeoi = true
        break
      case OCW2_EOI:
      case OCW2_ROTATE_EOI: {
        // In special mask mode a masked level is invisible to the resolver, hence also to a non-specific EOI.
        const top = this.highest(this.specialMask ? this.isrBits & ~this.imrBits : this.isrBits)
        if (top !== NONE) this.endOfInterrupt(top, (value & OCW2_ROTATE_AEOI_SET) !== 0)
        break
      }
      case OCW2_SPECIFIC_EOI:
        this.endOfInterrupt(level, false)
        break
      case OCW2_ROTATE_SPECIFIC_EOI:
        this.endOfInterrupt(level, true)
        break
      case OCW2_SET_PRIORITY:
        this.lowest = level
        break
      default:
        break
    }
  }

  private writeOcw3(value: number): void {
    if ((value & OCW3_ESMM) !== 0) this.specialMask = (value & OCW3_SMM) !== 0
    if ((value & OCW3_P) !== 0) this.poll = true
    else if ((value & OCW3_RR) !== 0) this.readIsr = (value & OCW3_RIS) !== 0
  }

  private endOfInterrupt(level: number, rotate: boolean): void {
    this.isrBits &= ~(1 << level)
    if (rotate) this.lowest = level
    this.emit(PIC_ACTION.eoi, level)
  }

  /** Poll: the read pulse stands in for the INTA sequence. Without a request the byte is 0. */
  private pollRead(): number {
    const level = this.candidate
    if (level === NONE) {
      this.emit(PIC_ACTION.poll, NONE)
      return 0
    }
    this.takeIntoService(level)
    this.emit(PIC_ACTION.poll, level)
    if ((this.icw4 & ICW4_AEOI) !== 0) this.endOfInterrupt(level, this.rotateAeoi)
    this.update()
    return POLL_I | level
  }

  // ---- the request side

  private setLine(n: number, level: boolean): void {
    const bit = 1 << n
    if (((this.lines & bit) !== 0) === level) return
    if (level) {
      this.lines |= bit
      this.emit(PIC_ACTION.request, n)
      this.irrBits |= bit
      this.emit(PIC_ACTION.latch, n)
    } else {
      this.lines &= ~bit
      const withdrawn = (this.irrBits & bit) !== 0
      this.irrBits &= ~bit
      if (withdrawn) this.emit(PIC_ACTION.withdraw, n)
    }
    this.update()
  }

  private get levelTriggered(): number {
    return (this.icw1 & ICW1_LTIM) !== 0 ? 0xff : this.elcrBits
  }

  /** IRR bits of level-triggered inputs are the wires themselves. */
  private followLevels(): void {
    const level = this.levelTriggered
    this.irrBits = (this.irrBits & ~level) | (this.lines & level)
  }

  // ---- priority

  /** The level of highest priority among `bits`, or NONE. */
  private highest(bits: number): number {
    if (bits === 0) return NONE
    const first = (this.lowest + 1) & 7
    // Rotate so that bit 0 has the highest priority; the lowest set bit wins.
    const rotated = ((bits | (bits << 8)) >> first) & 0xff
    return (first + 31 - Math.clz32(rotated & -rotated)) & 7
  }

  /** The level that may assert INT now, or NONE. */
  private resolve(): number {
    if (this.nextIcw !== 0) return NONE
    const wanted = this.highest(this.irrBits & ~this.imrBits)
    if (wanted === NONE) return NONE
    const inService = this.highest(this.specialMask ? this.isrBits & ~this.imrBits : this.isrBits)
    if (inService === NONE) return wanted
    if (wanted === inService) return (this.icw4 & ICW4_SFNM) !== 0 && this.hasSlaveAt(wanted) ? wanted : NONE
    const first = (this.lowest + 1) & 7
    return ((wanted - first) & 7) < ((inService - first) & 7) ? wanted : NONE
  }

  private update(): void {
    const before = this.candidate
    const now = this.resolve()
    this.candidate = now
    if (before === now) return
    if (now !== NONE) {
      this.emit(PIC_ACTION.resolve, now)
      if (before === NONE) this.emit(PIC_ACTION.int, now)
    }
    if ((before === NONE) !== (now === NONE)) this.int?.setLevel(now !== NONE)
  }

  // ---- the interrupt sequence

  /** Pulses of one sequence: two in 8086 mode, three in MCS-80 mode. */
  get intaPulses(): number {
    return (this.icw4 & ICW4_UPM) !== 0 ? 2 : 3
  }

  /** The level that the sequence under way serves; meaningful between its first and last INTA pulse. */
  get acknowledgedLevel(): number {
    return this.intaLevel
  }

  /**
   * One INTA pulse. Returns the byte that the chip drives on the data bus, or undefined when it drives none: in 8086
   * mode nothing at the first pulse and the vector at the second; in MCS-80 mode CALL and the two halves of its address.
   */
  inta(): number | undefined {
    const pulse = ++this.intaPulse
    if (pulse === 1) this.firstPulse()
    const last = pulse >= this.intaPulses
    const byte = this.busByte(pulse)
    if (last) {
      this.intaPulse = 0
      this.emit(PIC_ACTION.inta2, this.intaLevel, byte)
      if ((this.icw4 & ICW4_AEOI) !== 0 && !this.intaSpurious) this.endOfInterrupt(this.intaLevel, this.rotateAeoi)
      this.update()
    }
    return byte
  }

  /**
   * The whole INTA sequence. Returns the byte that the CPU takes as the vector, that of the second pulse (in MCS-80
   * mode the low half of the call address). A sequence begun with {@link inta} is carried to its end.
   */
  acknowledge(): number {
    let vector = 0xff
    do {
      const second = this.intaPulse === 1
      const byte = this.inta()
      if (second && byte !== undefined) vector = byte
    } while (this.intaPulse !== 0)
    return vector
  }

  private firstPulse(): void {
    const level = this.candidate
    this.intaSpurious = level === NONE
    this.intaLevel = level === NONE ? 7 : level
    if (this.intaSpurious) {
      this.emit(PIC_ACTION.spurious, 7)
    } else {
      this.takeIntoService(level)
      this.emit(PIC_ACTION.inta1, level)
    }
    this.update()
  }

  private busByte(pulse: number): number | undefined {
    if ((this.icw4 & ICW4_UPM) !== 0) return pulse === 1 ? undefined : this.vectorBase | this.intaLevel
    if (pulse === 1) return MCS80_CALL
    if (pulse === 3) return this.icw2
    return (this.icw1 & ICW1_ADI) !== 0
      ? (this.icw1 & 0xe0) | (this.intaLevel << 2)
      : (this.icw1 & 0xc0) | (this.intaLevel << 3)
  }

  /** ISR is set; an edge-triggered request is used up, a level-triggered one stays as long as its wire. */
  private takeIntoService(level: number): void {
    this.isrBits |= 1 << level
    this.irrBits &= ~(1 << level) | this.levelTriggered
  }

  private emit(action: string, line: number, vector?: number): void {
    const events = this.events
    if (events?.wants('pic') !== true) return
    events.emit('pic', {
      chip: this.name,
      action,
      ...(line === NONE ? {} : { line }),
      ...(vector === undefined ? {} : { vector }),
      irr: this.irrBits,
      isr: this.isrBits,
      imr: this.imrBits,
    })
  }

  // ---- state

  saveState(): Pic8259State {
    return {
      version: 1,
      lines: this.lines,
      irr: this.irrBits,
      isr: this.isrBits,
      imr: this.imrBits,
      elcr: this.elcrBits,
      icw1: this.icw1,
      icw2: this.icw2,
      icw3: this.icw3,
      icw4: this.icw4,
      nextIcw: this.nextIcw,
      lowest: this.lowest,
      rotateAeoi: this.rotateAeoi,
      specialMask: this.specialMask,
      readIsr: this.readIsr,
      poll: this.poll,
      intaPulse: this.intaPulse,
      intaLevel: this.intaLevel,
      intaSpurious: this.intaSpurious,
    }
  }

  /** Throws `bad-state` for state that {@link saveState} cannot have returned. Drives INT to the level it then has. */
  loadState(state: Pic8259State): void {
    const s = validatePicState(state)
    this.lines = s.lines
    this.irrBits = s.irr
    this.isrBits = s.isr
    this.imrBits = s.imr
    this.elcrBits = s.elcr
    this.icw1 = s.icw1
    this.icw2 = s.icw2
    this.icw3 = s.icw3
    this.icw4 = s.icw4
    this.nextIcw = s.nextIcw
    this.lowest = s.lowest
    this.rotateAeoi = s.rotateAeoi
    this.specialMask = s.specialMask
    this.readIsr = s.readIsr
    this.poll = s.poll
    this.intaPulse = s.intaPulse
    this.intaLevel = s.intaLevel
    this.intaSpurious = s.intaSpurious
    this.candidate = this.resolve()
    this.int?.setLevel(this.pending)
  }
}

/** Checks saved state of one chip and returns it; throws `bad-state`. */
export function validatePicState(state: unknown): Pic8259State {
  const f = new StateReader('pic8259', state, 1)
  const nextIcw = f.int('nextIcw', 0, 4)
  if (nextIcw === 1) throw new VirtkitError('bad-state', 'pic8259: field nextIcw should be 0, 2, 3 or 4')
  const lines = f.int('lines', 0, 0xff)
  const irr = f.int('irr', 0, 0xff)
  if ((irr & ~lines) !== 0) throw new VirtkitError('bad-state', 'pic8259: field irr has requests without a wire')
  return {
    version: 1,
    lines,
    irr,
    isr: f.int('isr', 0, 0xff),
    imr: f.int('imr', 0, 0xff),
    elcr: f.int('elcr', 0, 0xff),
    icw1: f.int('icw1', 0, 0xff),
    icw2: f.int('icw2', 0, 0xff),
    icw3: f.int('icw3', 0, 0xff),
    icw4: f.int('icw4', 0, 0x1f),
    nextIcw,
    lowest: f.int('lowest', 0, 7),
    rotateAeoi: f.bool('rotateAeoi'),
    specialMask: f.bool('specialMask'),
    readIsr: f.bool('readIsr'),
    poll: f.bool('poll'),
    intaPulse: f.int('intaPulse', 0, 2),
    intaLevel: f.int('intaLevel', 0, 7),
    intaSpurious: f.bool('intaSpurious'),
  }
}
