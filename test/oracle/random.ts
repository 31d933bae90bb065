/** A small seeded generator and the values that instructions find interesting. */

/** Counter-based 32-bit generator: a Weyl sequence through a mixing function. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed | 0
  }

  /** 32 bits, unsigned. */
  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0
    let z = this.state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }

  /** 0 … n − 1. */
  below(n: number): number {
    return Math.floor((this.next() / 4294967296) * n)
  }

  /** True in `percent` of all cases. */
  chance(percent: number): boolean {
    return this.below(1000) < percent * 10
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  big(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next())
  }

  /** 64 bits: random ones, small ones, powers of two and their neighbours, sign boundaries of every width, under random upper bits or none. */
  value(): bigint {
    const random = this.big()
    const kind = this.below(16)
    if (kind < 5) return random
    const width = 8n << BigInt(this.below(4))
    let low: bigint
    if (kind < 8) low = BigInt(this.below(3)) - 1n
    else if (kind < 11) low = (1n << (width - 1n)) + BigInt(this.below(3) - 1)
    else if (kind < 13) low = (1n << BigInt(this.below(64))) - BigInt(this.below(2))
    else if (kind < 15) low = BigInt(this.below(512) - 256)
    else low = -(1n << BigInt(this.below(64)))
    switch (this.below(3)) {
      case 0:
        return BigInt.asUintN(64, low)
      case 1:
        return BigInt.asUintN(64, BigInt.asIntN(Number(width), low))
      default:
        return (random & ~((1n << width) - 1n)) | BigInt.asUintN(Number(width), low)
    }
  }
}

/** 32-bit FNV-1a. */
export function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}
