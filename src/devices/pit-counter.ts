import { VirtkitError } from '../contracts/errors.js'
import { StateReader } from '../contracts/state-reader.js'

// Control word. Source: 8254 data sheet, "Control Word Format".

/** Bits 5–4: counter latch command. */
export const PIT_LATCH = 0x00
/** Bits 5–4: least significant byte only. */
export const PIT_LSB = 0x10
/** Bits 5–4: most significant byte only. */
export const PIT_MSB = 0x20
/** Bits 5–4: least, then most significant byte. */
export const PIT_BOTH = 0x30
/** Bit 0: four BCD decades instead of 16 bits. */
export const PIT_BCD = 0x01
/** Bits 7–6: read-back command. */
export const PIT_READ_BACK = 0xc0
/** Read-back: clear to latch counts. */
export const PIT_READ_BACK_NO_COUNT = 0x20
/** Read-back: clear to latch status. */
export const PIT_READ_BACK_NO_STATUS = 0x10
/** Status: level of OUT. */
export const PIT_STATUS_OUT = 0x80
/** Status: the count last written has not yet been loaded. */
export const PIT_STATUS_NULL = 0x40

/** Saved state of one {@link PitCounter}. */
export type PitCounterState = {
  readonly version: 1
  readonly control: number
  readonly reload: number
  readonly element: number
  readonly loaded: number
  readonly flags: number
  readonly firstByte: number
  readonly latched: number
  readonly latchedStatus: number
}

/**
 * One counter of the 8254, without a clock: {@link PitCounter.skip} lets any number of input clocks pass in constant
 * time. Counts are kept as binary numbers in BCD too; a nibble above 9 stands for its value. A count of 1, which the
 * data sheet forbids in modes 2 and 3, keeps OUT high there.
 *
 * Source: 8254 data sheet, "Mode Definitions" and "Operation Common to All Modes".
 */
export class PitCounter {
  /** Bits 5–0 of the last control word. */
  private control = 0x30
  private mode = 0
  private modulus = 0x10000
  /** CR: the count to load, 1 to the modulus. */
  private reload = 0x10000
  /** CE: the counting element, 0 to modulus − 1. */
  private element = 0
  /** The count that CE was last loaded with. */
  private loaded = 0x10000
  private outLevel = false
  private gateLevel = true
  /** A control word has been followed by a whole count. */
  private armed = false
  /** CE has been loaded since the control word. */
  private counting = false
  /** The next clock loads CE. */
  private loadPending = false
  /** The edge-sensitive flip-flop of GATE. */
  private triggered = false
  /** CR holds a count that CE has not got. */
  private nullCount = true
  /** Modes 4 and 5: the strobe is still to come. */
  private strobe = false
  /** The first of two bytes is written; in mode 0 this stops the counter. */
  private firstWritten = false
  private firstByte = 0
  /** The next read is of the high byte. */
  private highNext = false
  /** Latched count, or −1. */
  private latched = -1
  /** Latched status, or −1. */
  private latchedStatus = -1

  /** Level of OUT. Before the first control word it is low, so that power-on makes no edge. */
  get out(): boolean {
    return this.outLevel
  }

  get gate(): boolean {
    return this.gateLevel
  }

  /** The count register (1–65536, in BCD 1–10000). */
  get count(): number {
    return this.reload
  }

  /** Mode 0–5 as it acts (6 and 7 are 2 and 3). */
  get operatingMode(): number {
    return this.mode
  }

  /** Input clocks between two rising edges of OUT if this goes on by itself, else Infinity. */
  get period(): number {
    const periodic = this.mode === 2 || this.mode === 3
    return periodic && this.armed && this.gateLevel && this.reload > 1 ? this.reload : Number.POSITIVE_INFINITY
  }

  // ---- programming

  /** A control word for this counter, bits 5–0: mode, access and number system, or the latch command. */
  writeControl(word: number): void {
    if ((word & PIT_BOTH) === PIT_LATCH) {
      this.latchCount()
      return
    }
    this.control = word & 0x3f
    const mode = (word >> 1) & 7
    this.mode = mode > 5 ? mode - 4 : mode
    this.modulus = (word & PIT_BCD) !== 0 ? 10_000 : 0x10000
    this.element %= this.modulus
    this.reload = this.modulus
    this.loaded = this.modulus
    this.outLevel = this.mode !== 0
    this.armed = false
    this.counting = false
    this.loadPending = false
    this.triggered = false
    this.nullCount = true
    this.strobe = false
    this.firstWritten = false
    this.highNext = false
    this.latched = -1
    this.latchedStatus = -1
  }

  /** One byte of the count. */
  writeCount(byte: number): void {
    const access = this.control & PIT_BOTH
    if (this.mode === 0) this.outLevel = false
    if (access === PIT_LSB) this.setCount(byte)
    else if (access === PIT_MSB) this.setCount(byte << 8)
    else if (this.firstWritten) {
      this.firstWritten = false
      this.setCount(this.firstByte | (byte << 8))
    } else {
      this.firstWritten = true
      this.firstByte = byte
    }
  }

  private setCount(value: number): void {
    this.reload = this.fromRegister(value)
    this.nullCount = true
    const first = !this.armed
    this.armed = true
    if (this.mode === 0 || this.mode === 4 || (first && (this.mode === 2 || this.mode === 3))) this.loadPending = true
  }

  /** The GATE input. */
  setGate(level: boolean): void {
    if (level === this.gateLevel) return
    this.gateLevel = level
    if (level) this.triggered = true
    else if (this.mode === 2 || this.mode === 3) this.outLevel = true
  }

  // ---- reading

  /** Counter latch command; a latched count stays until it is read. */
  latchCount(): void {
    if (this.latched < 0) this.latched = this.register()
  }

  /** Read-back command for the status; a latched status stays until it is read. */
  latchStatus(): void {
    if (this.latchedStatus < 0) this.latchedStatus = this.status()
  }

  /** The status byte as it is now. */
  status(): number {
    return (this.outLevel ? PIT_STATUS_OUT : 0) | (this.nullCount ? PIT_STATUS_NULL : 0) | this.control
  }

  /** What a read of the counter's port gives: latched status, then latched or running count. */
  read(): number {
    if (this.latchedStatus >= 0) {
      const status = this.latchedStatus
      this.latchedStatus = -1
      return status
    }
    const value = this.latched >= 0 ? this.latched : this.register()
    const access = this.control & PIT_BOTH
    const high = access === PIT_MSB || (access === PIT_BOTH && this.highNext)
    if (access === PIT_BOTH) this.highNext = !this.highNext
    if (!(access === PIT_BOTH && this.highNext)) this.latched = -1
    return high ? value >> 8 : value & 0xff
  }

  /** CE as the bus sees it. */
  register(): number {
    if (this.modulus === 0x10000) return this.element
    let value = 0
    for (let shift = 0, rest = this.element; shift < 16; shift += 4, rest = Math.floor(rest / 10))
      value |= (rest % 10) << shift
    return value
  }

  private fromRegister(value: number): number {
    if (this.modulus === 0x10000) return value === 0 ? 0x10000 : value
    let count = 0
    for (let shift = 12; shift >= 0; shift -= 4) count = count * 10 + ((value >> shift) & 15)
    return count % 10_000 === 0 ? 10_000 : count % 10_000
  }

  // ---- counting

  /** Lets `clocks` input clocks pass. */
  skip(clocks: number): void {
    if (clocks > 0 && (this.loadPending || this.triggered)) {
      this.first()
      clocks--
    }
    if (clocks <= 0) return
    const running = this.counting && (this.gateLevel || this.mode === 1 || this.mode === 5)
    switch (this.mode) {
      case 0:
        if (running && !this.firstWritten && this.countDown(clocks)) this.outLevel = true
        break
      case 1:
        if (running && this.countDown(clocks)) this.outLevel = true
        break
      case 2:
        if (running) this.rate(clocks)
        break
      case 3:
        if (running) this.square(clocks)
        break
      default: {
        this.outLevel = true // a strobe lasts one clock, whatever GATE does
        if (!running) break
        const left = this.element === 0 ? this.modulus : this.element
        const strobes = this.strobe && clocks >= left
        this.countDown(clocks)
        if (strobes) {
          this.strobe = false
          this.outLevel = clocks !== left
        }
      }
    }
  }

  /** The clock after a count or a trigger. */
  private first(): void {
    const trigger = this.triggered
    this.triggered = false
    const retriggers =
      trigger && this.armed && (this.mode === 1 || this.mode === 2 || this.mode === 3 || this.mode === 5)
    if (this.mode === 0 && this.firstWritten) {
      this.loadPending = false // the count it was for is being replaced
      return
    }
    if (!this.loadPending && !retriggers) {
      this.skip(1) // GATE's edge means nothing in this mode
      return
    }
    this.loadPending = false
    this.load()
    this.outLevel = this.mode !== 0 && this.mode !== 1
    this.strobe = this.mode >= 4
  }

  private load(): void {
    this.loaded = this.reload
    this.nullCount = false
    this.counting = true
    this.element = (this.mode === 3 ? this.loaded - (this.loaded & 1) : this.loaded) % this.modulus
  }

  /** Counts down, wrapping; true when 0 was reached on the way. */
  private countDown(clocks: number): boolean {
    const left = this.element === 0 ? this.modulus : this.element
    const rest = ((left - clocks) % this.modulus) | 0 // never −0
    this.element = rest < 0 ? rest + this.modulus : rest
    return clocks >= left
  }

  private rate(clocks: number): void {
    const left = this.element === 0 ? this.modulus : this.element
    if (clocks < left) {
      this.element = left - clocks
      this.outLevel = this.element !== 1
      return
    }
    this.load()
    const into = (clocks - left) % this.loaded
    this.element = (this.loaded - into) % this.modulus
    this.outLevel = into === 0 || this.element !== 1
  }

  /** Clocks until the half-cycle of mode 3 ends; an odd count spends one more in the high half. */
  private halfLeft(): number {
    if (this.loaded === 1) return 1
    if ((this.loaded & 1) === 0) return (this.element === 0 ? this.modulus : this.element) / 2
    return this.element / 2 + (this.outLevel ? 1 : 0)
  }

  private square(clocks: number): void {
    let left = this.halfLeft()
    if (clocks >= left) {
      clocks -= left
      this.nextHalf()
      // From here on the count is constant, and so whole periods change nothing.
      if (this.loaded === 1) return
      clocks %= this.loaded
      while (clocks >= (left = this.halfLeft())) {
        clocks -= left
        this.nextHalf()
      }
    }
    this.element = (this.element - 2 * clocks + this.modulus) % this.modulus
  }

  private nextHalf(): void {
    const stuck = this.loaded === 1
    this.load()
    this.outLevel = stuck || this.loaded === 1 || !this.outLevel
  }

  // ---- looking ahead

  /** Input clocks (from 1) until OUT changes if nobody touches the counter, else Infinity. */
  nextEdge(): number {
    const never = Number.POSITIVE_INFINITY
    const left = this.element === 0 ? this.modulus : this.element
    const gate = this.gateLevel
    const triggered = this.triggered && this.armed
    const n = this.reload
    switch (this.mode) {
      case 0:
        if (this.outLevel || this.firstWritten || !gate) return never
        return this.loadPending ? 1 + n : this.counting ? left : never
      case 1:
        if (triggered) return this.outLevel ? 1 : 1 + n
        return this.counting && !this.outLevel ? left : never
      case 2:
      case 3: {
        if (this.loadPending || triggered) return !gate || n === 1 ? never : 1 + this.highClocks(n)
        if (!this.counting || !gate) return never
        if (this.loaded === 1) return n === 1 ? never : 1 + this.highClocks(n)
        if (this.mode === 3) return this.outLevel && n === 1 ? never : this.halfLeft()
        return this.outLevel ? left - 1 : 1
      }
      default: {
        if (!this.outLevel) return 1
        const loads = this.mode === 4 ? this.loadPending : triggered
        if (this.mode === 4 && !gate) return never
        if (loads) return 1 + n
        return this.strobe && this.counting ? left : never
      }
    }
  }

  /** Input clocks (from 1) until the next rising edge in a running mode 2 or 3 whose count stays. */
  nextRise(): number {
    if (this.mode === 2) return this.element === 0 ? this.modulus : this.element
    return this.outLevel ? this.halfLeft() + (this.reload >> 1) : this.halfLeft()
  }

  /** True when modes 2 or 3 run undisturbed with the count they were given. */
  get steady(): boolean {
    return this.counting && !this.loadPending && !this.triggered && this.loaded === this.reload
  }

  private highClocks(count: number): number {
    return this.mode === 2 ? count - 1 : (count + 1) >> 1
  }

  // ---- state

  /** The state as plain data; deadlines in nanoseconds. */
  saveState(): PitCounterState {
    const bits = [
      this.outLevel,
      this.gateLevel,
      this.armed,
      this.counting,
      this.loadPending,
      this.triggered,
      this.nullCount,
      this.strobe,
      this.firstWritten,
      this.highNext,
    ]
    return {
      version: 1,
      control: this.control,
      reload: this.reload,
      element: this.element,
      loaded: this.loaded,
      flags: bits.reduce((sum, bit, i) => sum | (bit ? 1 << i : 0), 0),
      firstByte: this.firstByte,
      latched: this.latched,
      latchedStatus: this.latchedStatus,
    }
  }

  /** Takes a validated state over. */
  loadState(state: PitCounterState): void {
    const s = validateCounterState(state)
    this.writeControl(s.control)
    this.reload = s.reload
    this.element = s.element
    this.loaded = s.loaded
    this.outLevel = (s.flags & 0x001) !== 0
    this.gateLevel = (s.flags & 0x002) !== 0
    this.armed = (s.flags & 0x004) !== 0
    this.counting = (s.flags & 0x008) !== 0
    this.loadPending = (s.flags & 0x010) !== 0
    this.triggered = (s.flags & 0x020) !== 0
    this.nullCount = (s.flags & 0x040) !== 0
    this.strobe = (s.flags & 0x080) !== 0
    this.firstWritten = (s.flags & 0x100) !== 0
    this.highNext = (s.flags & 0x200) !== 0
    this.firstByte = s.firstByte
    this.latched = s.latched
    this.latchedStatus = s.latchedStatus
  }
}

/** Checks saved state of one counter and returns it; throws `bad-state`. */
export function validateCounterState(state: unknown): PitCounterState {
  const f = new StateReader('pit8254 counter', state, 1)
  const control = f.int('control', 0x10, 0x3f)
  const modulus = (control & PIT_BCD) !== 0 ? 10_000 : 0x10000
  const loaded = f.int('loaded', 1, modulus)
  const element = f.int('element', 0, modulus - 1)
  const mode = (control >> 1) & 3
  // In mode 3 CE is even and never above its count; the arithmetic relies on it.
  if (mode === 3 && (f.int('flags', 0, 0x3ff) & 8) !== 0 && ((element & 1) !== 0 || element > loaded))
    throw new VirtkitError('bad-state', 'pit8254 counter: field element does not fit mode 3')
  return {
    version: 1,
    control,
    reload: f.int('reload', 1, modulus),
    element,
    loaded,
    flags: f.int('flags', 0, 0x3ff),
    firstByte: f.int('firstByte', 0, 0xff),
    latched: f.int('latched', -1, 0xffff),
    latchedStatus: f.int('latchedStatus', -1, 0xff),
  }
}
