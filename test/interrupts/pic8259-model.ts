/**
 * The 8259A as the data sheet tells it, in lists and booleans: `order` holds the levels from highest to lowest
 * priority. It shares nothing with the implementation.
 */
export class ModelPic {
  wire: boolean[] = Array(8).fill(false)
  requested: boolean[] = Array(8).fill(false)
  inService: boolean[] = Array(8).fill(false)
  masked: boolean[] = Array(8).fill(false)
  elcr: boolean[] = Array(8).fill(false)
  order = [0, 1, 2, 3, 4, 5, 6, 7]
  base = 0
  upm = true
  aeoi = false
  ltim = false
  sfnm = false
  buffered = false
  bufferedMaster = false
  single = true
  wantsIcw4 = false
  icw3 = 0
  expecting: 'none' | 'icw2' | 'icw3' | 'icw4' = 'none'
  rotateInAeoi = false
  smm = false
  readsIsr = false
  polling = false
  readonly slaveStrap: boolean

  constructor(slave = false) {
    this.slaveStrap = slave
  }

  get master(): boolean {
    return this.buffered ? this.bufferedMaster : !this.slaveStrap
  }

  private level(n: number): boolean {
    return this.ltim || this.elcr[n]!
  }

  private rotateToLowest(n: number): void {
    while (this.order[7] !== n) this.order.push(this.order.shift()!)
  }

  private sampleLevels(): void {
    for (let n = 0; n < 8; n++) if (this.level(n)) this.requested[n] = this.wire[n]!
  }

  /** The level that drives INT, by walking down the priorities until one asks or one in service bars the way. */
  winner(): number | undefined {
    if (this.expecting !== 'none') return undefined
    for (const n of this.order) {
      const wants = this.requested[n]! && !this.masked[n]
      const bars = this.inService[n]! && !(this.smm && this.masked[n]!)
      if (bars) {
        const slaveBehind = this.master && !this.single && (this.icw3 & (1 << n)) !== 0
        return wants && this.sfnm && slaveBehind ? n : undefined
      }
      if (wants) return n
    }
    return undefined
  }

  setWire(n: number, high: boolean): void {
    if (high && !this.wire[n]) this.requested[n] = true
    if (!high) this.requested[n] = false
    this.wire[n] = high
  }

  setElcr(bits: number): void {
    for (let n = 0; n < 8; n++) this.elcr[n] = (bits & (1 << n)) !== 0
    this.sampleLevels()
  }

  private serve(n: number): void {
    this.inService[n] = true
    if (!this.level(n)) this.requested[n] = false
  }

  private automaticEnd(n: number): void {
    if (!this.aeoi) return
    this.inService[n] = false
    if (this.rotateInAeoi) this.rotateToLowest(n)
  }

  acknowledge(): { level: number; spurious: boolean } {
    const n = this.winner()
    if (n === undefined) return { level: 7, spurious: true }
    this.serve(n)
    this.automaticEnd(n)
    return { level: n, spurious: false }
  }

  read(a0: number): number {
    const bits = (list: boolean[]): number => list.reduce((sum, b, i) => sum + (b ? 2 ** i : 0), 0)
    if (this.polling) {
      this.polling = false
      const n = this.winner()
      if (n === undefined) return 0
      this.serve(n)
      this.automaticEnd(n)
      return 0x80 + n
    }
    if (a0 === 1) return bits(this.masked)
    return bits(this.readsIsr ? this.inService : this.requested)
  }

  write(a0: number, value: number): void {
    const bit = (n: number): boolean => (value & (1 << n)) !== 0
    if (a0 === 0 && bit(4)) {
      this.wantsIcw4 = bit(0)
      this.single = bit(1)
      this.ltim = bit(3)
      this.requested.fill(false)
      this.inService.fill(false)
      this.masked.fill(false)
      this.order = [0, 1, 2, 3, 4, 5, 6, 7]
      this.rotateInAeoi = this.smm = this.readsIsr = this.polling = false
      this.icw3 = this.slaveStrap ? 7 : 0
      if (!this.wantsIcw4) this.aeoi = this.sfnm = this.buffered = this.bufferedMaster = false
      this.sampleLevels()
      this.expecting = 'icw2'
    } else if (a0 === 0 && bit(3)) {
      if (bit(6)) this.smm = bit(5)
      if (bit(2)) this.polling = true
      else if (bit(1)) this.readsIsr = bit(0)
    } else if (a0 === 0) {
      const rotate = bit(7)
      const specific = bit(6)
      const eoi = bit(5)
      const n = value & 7
      if (eoi && specific) {
        this.inService[n] = false
        if (rotate) this.rotateToLowest(n)
      } else if (eoi) {
        const top = this.order.find((k) => this.inService[k] && !(this.smm && this.masked[k]))
        if (top !== undefined) {
          this.inService[top] = false
          if (rotate) this.rotateToLowest(top)
        }
      } else if (specific) {
        if (rotate) this.rotateToLowest(n)
      } else {
        this.rotateInAeoi = rotate
      }
    } else if (this.expecting === 'icw2') {
      this.base = value & 0xf8
      this.expecting = !this.single ? 'icw3' : this.wantsIcw4 ? 'icw4' : 'none'
    } else if (this.expecting === 'icw3') {
      this.icw3 = value
      this.expecting = this.wantsIcw4 ? 'icw4' : 'none'
    } else if (this.expecting === 'icw4') {
      this.upm = bit(0)
      this.aeoi = bit(1)
      this.bufferedMaster = bit(2)
      this.buffered = bit(3)
      this.sfnm = bit(4)
      this.expecting = 'none'
    } else {
      for (let n = 0; n < 8; n++) this.masked[n] = bit(n)
    }
  }
}
