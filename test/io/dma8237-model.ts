/** What one channel of the model does; numbers are plain, wrapping is done where it happens. */
interface ModelChannel {
  baseAddress: number
  baseCount: number
  address: number
  count: number
  type: number
  auto: boolean
  down: boolean
  kind: 'demand' | 'single' | 'block' | 'cascade'
  pin: boolean
  masked: boolean
  asked: boolean
  ended: boolean
}

const KINDS = ['demand', 'single', 'block', 'cascade'] as const

/**
 * The 8237A unit by unit, from the data sheet's register descriptions, on a memory of 2^24 bytes kept as a map. It
 * shares nothing with the implementation.
 */
export class ModelDma {
  readonly channels: ModelChannel[] = Array.from({ length: 4 }, () => ({
    baseAddress: 0,
    baseCount: 0,
    address: 0,
    count: 0,
    type: 0,
    auto: false,
    down: false,
    kind: 'demand',
    pin: false,
    masked: true,
    asked: false,
    ended: false,
  }))
  readonly log: string[] = []
  readonly memory = new Map<number, number>()
  order = [0, 1, 2, 3]
  high = false
  command = 0
  temporary = 0
  owner: number | undefined
  /** What devices still want to give or take before they drop DREQ. */
  readonly budget = [0, 0, 0, 0]
  private nextByte = 1

  private bit(n: number): boolean {
    return ((this.command >> n) & 1) === 1
  }

  active(n: number): boolean {
    return this.channels[n]!.pin !== this.bit(6)
  }

  private memoryToMemory(n: number): boolean {
    return n === 0 && this.bit(0) && this.channels[0]!.kind !== 'cascade'
  }

  private blocklike(n: number): boolean {
    return this.channels[n]!.kind === 'block' || this.memoryToMemory(n)
  }

  wants(n: number): boolean {
    if (this.bit(2)) return false
    const c = this.channels[n]!
    if (this.active(n) && !c.masked) return true
    return this.blocklike(n) && (c.asked || this.owner === n)
  }

  private release(n: number): void {
    this.owner = undefined
    if (this.bit(4)) while (this.order[3] !== n) this.order.push(this.order.shift()!)
  }

  private end(n: number): void {
    const c = this.channels[n]!
    c.ended = true
    c.asked = false
    if (c.auto) {
      c.address = c.baseAddress
      c.count = c.baseCount
    } else c.masked = true
  }

  private move(n: number): number {
    const c = this.channels[n]!
    const at = c.address
    c.address = (c.address + (c.down ? 0xffff : 1)) & 0xffff
    return at
  }

  private down(n: number): boolean {
    const c = this.channels[n]!
    const last = c.count === 0
    c.count = last ? 0xffff : c.count - 1
    return last
  }

  peek(address: number): number {
    return this.memory.get(address) ?? 0
  }

  /** Moves up to `max` units, each channel to one terminal count at most. */
  service(max: number): number {
    const done = new Set<number>()
    let moved = 0
    while (moved < max) {
      const able = (n: number): boolean => this.wants(n) && !done.has(n) && this.channels[n]!.kind !== 'cascade'
      if (this.owner !== undefined && !able(this.owner)) this.release(this.owner)
      const n = this.owner ?? this.order.find(able)
      // A cascade channel with nothing behind it takes its turn without a transfer.
      const idle = this.order.find((k) => this.wants(k) && !done.has(k))
      if (this.owner === undefined && idle !== undefined && this.channels[idle]!.kind === 'cascade') {
        done.add(idle)
        this.release(idle)
        continue
      }
      if (n === undefined) break
      this.owner = n
      const c = this.channels[n]!
      moved++
      if (this.memoryToMemory(n)) {
        const from = this.bit(1) ? c.address : this.move(0)
        this.temporary = this.peek(from)
        const to = this.move(1)
        this.memory.set(0x10000 + to, this.temporary)
        this.log.push(`copy ${from} ${to}`)
        if (this.down(0) && c.auto) {
          c.address = c.baseAddress
          c.count = c.baseCount
        }
        if (this.down(1)) {
          this.end(1)
          c.asked = false
          this.log.push('tc 1')
          done.add(0)
          this.release(0)
        }
        continue
      }
      const at = this.move(n) + n * 0x10000
      if (c.type === 1) {
        this.memory.set(at, this.nextByte)
        this.log.push(`in ${n} ${this.nextByte}`)
        this.nextByte = (this.nextByte + 1) & 0xff
        this.used(n)
      } else if (c.type === 2) {
        this.log.push(`out ${n} ${this.peek(at)}`)
        this.used(n)
      }
      if (this.down(n)) {
        this.end(n)
        this.log.push(`tc ${n}`)
        done.add(n)
        this.release(n)
      } else if (c.kind === 'single' || (c.kind === 'demand' && !this.active(n))) this.release(n)
    }
    return moved
  }

  private used(n: number): void {
    if (--this.budget[n]! <= 0) this.channels[n]!.pin = false
  }

  read(register: number): number {
    if (register < 8) {
      const c = this.channels[register >> 1]!
      const word = register % 2 === 0 ? c.address : c.count
      this.high = !this.high
      return this.high ? word & 0xff : word >> 8
    }
    if (register === 8) {
      let status = 0
      this.channels.forEach((c, n) => {
        if (c.ended) status += 1 << n
        if (this.active(n) || c.asked) status += 16 << n
        c.ended = false
      })
      return status
    }
    if (register === 13) return this.temporary
    if (register === 15) return this.channels.reduce((sum, c, n) => sum + (c.masked ? 1 << n : 0), 0)
    return 0xff
  }

  write(register: number, value: number): void {
    const c = this.channels[value & 3]!
    if (register < 8) {
      const target = this.channels[register >> 1]!
      const set = (old: number): number => (this.high ? (old & 0xff) + value * 256 : (old & 0xff00) + value)
      if (register % 2 === 0) {
        target.baseAddress = set(target.baseAddress)
        target.address = set(target.address)
      } else {
        target.baseCount = set(target.baseCount)
        target.count = set(target.count)
      }
      this.high = !this.high
    } else if (register === 8) {
      this.command = value
      if (!this.bit(4)) this.order = [0, 1, 2, 3]
    } else if (register === 9) c.asked = (value & 4) !== 0
    else if (register === 10) c.masked = (value & 4) !== 0
    else if (register === 11) {
      c.type = (value >> 2) & 3
      c.auto = (value & 16) !== 0
      c.down = (value & 32) !== 0
      c.kind = KINDS[(value >> 6) & 3]!
    } else if (register === 12) this.high = false
    else if (register === 13) {
      this.command = this.temporary = 0
      this.high = false
      this.owner = undefined
      this.order = [0, 1, 2, 3]
      for (const each of this.channels) {
        each.asked = each.ended = false
        each.masked = true
      }
    } else if (register === 14) for (const each of this.channels) each.masked = false
    else this.channels.forEach((each, n) => void (each.masked = (value & (1 << n)) !== 0))
  }
}
