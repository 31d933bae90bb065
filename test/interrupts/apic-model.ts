/**
 * Small models of the APICs for property tests, written from the manuals and not from the implementation: sets of
 * vectors instead of registers, a timer that counts every clock.
 */

export class ModelLocalApic {
  requested: Set<number> = new Set()
  inService: Set<number> = new Set()
  level: Set<number> = new Set()
  tpr = 0
  enabled = false
  suppress = false
  spurious = 0xff
  /** LINT0: an edge- or level-triggered vector. */
  lint0 = { vector: 0, masked: true, level: false, low: false, remote: false }
  wire = false
  errors = 0
  esr = 0
  /** Vectors whose end was announced. */
  ended: number[] = []

  private static top(set: Set<number>): number {
    return set.size === 0 ? -1 : Math.max(...set)
  }

  get ppr(): number {
    const serving = Math.max(0, Math.floor(ModelLocalApic.top(this.inService) / 16))
    return Math.floor(this.tpr / 16) >= serving ? this.tpr : serving * 16
  }

  get pending(): boolean {
    return Math.floor(ModelLocalApic.top(this.requested) / 16) > Math.floor(this.ppr / 16)
  }

  receive(vector: number, level: boolean): boolean {
    if (!this.enabled) return false
    if (vector < 16) {
      this.errors |= 0x40
      return false
    }
    this.requested.add(vector)
    if (level) this.level.add(vector)
    else this.level.delete(vector)
    return true
  }

  selfIpi(vector: number): void {
    if (vector < 16) this.errors |= 0x20
    else this.receive(vector, false)
  }

  acknowledge(): number {
    if (!this.pending) return this.spurious
    const vector = ModelLocalApic.top(this.requested)
    this.requested.delete(vector)
    this.inService.add(vector)
    return vector
  }

  eoi(): void {
    const vector = ModelLocalApic.top(this.inService)
    if (vector < 0) return
    this.inService.delete(vector)
    if (!this.level.has(vector)) return
    if (this.lint0.remote && this.lint0.vector === vector) {
      this.lint0.remote = false
      this.follow()
    }
    if (!this.suppress) this.ended.push(vector)
  }

  setSvr(enabled: boolean, suppress: boolean, spurious: number): void {
    this.enabled = enabled
    this.suppress = suppress
    this.spurious = spurious
    if (!enabled) this.lint0.masked = true
  }

  setLint0(vector: number, masked: boolean, level: boolean, low: boolean): void {
    const remote = level && this.lint0.remote
    this.lint0 = { vector, masked: masked || !this.enabled, level, low, remote }
    this.follow()
  }

  setWire(high: boolean): void {
    if (high === this.wire) return
    this.wire = high
    const { vector, masked, level } = this.lint0
    if (level) this.follow()
    else if (!masked && this.active) this.receive(vector, false)
  }

  writeEsr(): void {
    this.esr = this.errors
    this.errors = 0
  }

  private get active(): boolean {
    return this.lint0.low ? !this.wire : this.wire
  }

  private follow(): void {
    const { vector, masked, level, remote } = this.lint0
    if (!level || masked || remote || !this.active) return
    if (this.receive(vector, true)) this.lint0.remote = true
  }
}

/** The timer, clock by clock. */
export class ModelTimer {
  periodic = false
  masked = true
  divisor = 2
  initial = 0
  count = 0
  /** Input clocks since the divider last put one out. */
  private divided = 0
  /** Interrupts so far. */
  fired = 0

  setInitial(count: number): void {
    this.initial = count
    this.count = count
    this.divided = 0
  }

  setDivisor(divisor: number): void {
    if (divisor !== this.divisor) this.divided = 0
    this.divisor = divisor
  }

  clock(): void {
    if (this.count === 0) return
    if (++this.divided < this.divisor) return
    this.divided = 0
    if (--this.count > 0) return
    if (!this.masked) this.fired++
    if (this.periodic) this.count = this.initial
  }
}

export interface ModelEntry {
  vector: number
  level: boolean
  low: boolean
  masked: boolean
  remote: boolean
  waiting: boolean
}

/** An I/O APIC whose messages are all fixed, and a bus on which they are accepted or not. */
export class ModelIoApic {
  readonly entries: ModelEntry[]
  readonly wires: boolean[]
  accepting = true
  sent: string[] = []

  constructor(pins: number) {
    this.wires = Array.from({ length: pins }, () => false)
    this.entries = Array.from({ length: pins }, () => ({
      vector: 0,
      level: false,
      low: false,
      masked: true,
      remote: false,
      waiting: false,
    }))
  }

  setWire(n: number, high: boolean): void {
    if (this.wires[n] === high) return
    this.wires[n] = high
    const entry = this.entries[n]!
    if (entry.level) this.follow(n)
    else if (!entry.masked && this.active(n)) this.sent.push(`${entry.vector} edge`)
  }

  write(n: number, vector: number, level: boolean, low: boolean, masked: boolean): void {
    const entry = this.entries[n]!
    Object.assign(entry, { vector, level, low, masked })
    if (!level) Object.assign(entry, { remote: false, waiting: false })
    this.follow(n)
  }

  eoi(vector: number): void {
    for (const [n, entry] of this.entries.entries()) {
      if (!entry.remote || entry.vector !== vector) continue
      entry.remote = false
      this.follow(n)
    }
  }

  retry(): void {
    for (const [n, entry] of this.entries.entries()) if (entry.waiting) this.follow(n)
  }

  private active(n: number): boolean {
    return this.wires[n] !== this.entries[n]!.low
  }

  private follow(n: number): void {
    const entry = this.entries[n]!
    if (!entry.level) return
    entry.waiting = false
    if (entry.masked || entry.remote || !this.active(n)) return
    this.sent.push(`${entry.vector} level`)
    if (this.accepting) entry.remote = true
    else entry.waiting = true
  }
}
