/**
 * One counter of the 8254, clock by clock, straight from the data sheet's mode definitions: registers as 16 wires,
 * BCD borrowed digit by digit. Slow and obvious; it shares nothing with the implementation.
 */
export class ModelCounter {
  control = 0x30
  out = false
  gate = true
  cr = 0
  ce = 0
  nullCount = true
  private lsb = -1
  private haveCount = false
  private running = false
  private writeLoads = false
  private edge = false
  private strobeDue = false
  private odd = false
  private one = false
  private readMsb = false
  private latch: number | undefined
  private statusLatch: number | undefined

  get mode(): number {
    const m = (this.control >> 1) & 7
    return m >= 6 ? m - 4 : m
  }

  get access(): number {
    return (this.control >> 4) & 3
  }

  controlWord(word: number): void {
    if (((word >> 4) & 3) === 0) {
      this.latchCount()
      return
    }
    // What CE holds before the next load is not defined once the number system changes.
    if (((this.control ^ word) & 1) !== 0) this.ce = Number.NaN
    this.control = word & 0x3f
    this.out = this.mode !== 0
    this.nullCount = true
    this.lsb = -1
    this.haveCount = this.running = this.writeLoads = this.edge = this.strobeDue = this.readMsb = false
    this.latch = this.statusLatch = undefined
  }

  write(byte: number): void {
    if (this.mode === 0) this.out = false
    let value: number
    if (this.access === 1) value = byte
    else if (this.access === 2) value = byte << 8
    else if (this.lsb < 0) {
      this.lsb = byte
      if (this.mode === 0) this.writeLoads = false
      return
    } else {
      value = (byte << 8) | this.lsb
      this.lsb = -1
    }
    this.cr = value
    this.nullCount = true
    if ([0, 4].includes(this.mode)) this.writeLoads = true
    if ([2, 3].includes(this.mode) && !this.haveCount) this.writeLoads = true
    this.haveCount = true
  }

  setGate(level: boolean): void {
    if (level && !this.gate) this.edge = true
    if (!level && this.gate && [2, 3].includes(this.mode)) this.out = true
    this.gate = level
  }

  private minusOne(): void {
    if ((this.control & 1) === 0) {
      this.ce = (this.ce - 1) & 0xffff
      return
    }
    for (let digit = 0; digit < 16; digit += 4) {
      const d = (this.ce >> digit) & 15
      this.ce &= ~(15 << digit)
      if (d > 0) {
        this.ce |= (d - 1) << digit
        return
      }
      this.ce |= 9 << digit
    }
  }

  private load(): void {
    this.ce = this.cr
    this.nullCount = false
    this.running = true
    this.one = this.cr === 1
    this.odd = (this.cr & 1) === 1
    if (this.mode === 3 && this.odd) this.ce = this.cr - 1
  }

  clock(): void {
    const trigger = this.edge && this.haveCount
    this.edge = false
    const writeLoads = this.writeLoads
    this.writeLoads = false
    switch (this.mode) {
      case 0:
        if (this.lsb >= 0) break
        if (writeLoads) this.load()
        else if (this.running && this.gate) {
          this.minusOne()
          if (this.ce === 0) this.out = true
        }
        break
      case 1:
        if (trigger) {
          this.load()
          this.out = false
        } else if (this.running) {
          this.minusOne()
          if (this.ce === 0) this.out = true
        }
        break
      case 2:
        if (writeLoads || trigger) {
          this.load()
          this.out = true
        } else if (this.running && this.gate) {
          if (this.ce === 1) {
            this.load()
            this.out = true
          } else {
            this.minusOne()
            if (this.ce === 1) this.out = false
          }
        }
        break
      case 3:
        if (writeLoads || trigger) {
          this.load()
          this.out = true
        } else if (this.running && this.gate) {
          if (this.one) {
            this.load() // illegal count: OUT stays high until another one arrives
          } else if (this.odd && this.out && this.ce === 0) {
            this.load()
            this.out = this.one
          } else {
            this.minusOne()
            this.minusOne()
            if (this.ce === 0 && !(this.odd && this.out)) {
              const level = !this.out
              this.load()
              this.out = level || this.one
            }
          }
        }
        break
      default: {
        this.out = true
        if (this.mode === 4 ? writeLoads : trigger) {
          this.load()
          this.strobeDue = true
        } else if (this.running && (this.gate || this.mode === 5)) {
          this.minusOne()
          if (this.ce === 0 && this.strobeDue) {
            this.out = false
            this.strobeDue = false
          }
        }
      }
    }
  }

  latchCount(): void {
    this.latch ??= this.ce
  }

  latchStatus(): void {
    this.statusLatch ??= this.status()
  }

  status(): number {
    return (this.out ? 0x80 : 0) + (this.nullCount ? 0x40 : 0) + this.control
  }

  read(): number | undefined {
    if (this.statusLatch !== undefined) {
      const s = this.statusLatch
      this.statusLatch = undefined
      return s
    }
    const v = this.latch ?? this.ce
    const defined = !Number.isNaN(v)
    if (this.access === 1) {
      this.latch = undefined
      return defined ? v & 0xff : undefined
    }
    if (this.access === 2) {
      this.latch = undefined
      return defined ? v >> 8 : undefined
    }
    this.readMsb = !this.readMsb
    if (this.readMsb) return defined ? v & 0xff : undefined
    this.latch = undefined
    return defined ? v >> 8 : undefined
  }
}
