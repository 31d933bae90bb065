/** Random numbers from a seed (xorshift32), for programs that are too large to be drawn value by value by fast-check. */
export class Random {
  private x: number

  constructor(seed: number) {
    this.x = (Math.imul(seed | 0, 0x9e3779b1) ^ 0x5bd1e995) | 1
    for (let n = 0; n < 4; n++) this.next()
  }

  /** 32 random bits, unsigned. */
  next(): number {
    let x = this.x
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.x = x
    return x >>> 0
  }

  /** 0 … n − 1. */
  below(n: number): number {
    return Math.floor((this.next() / 4294967296) * n)
  }

  /** True in `percent` of a hundred cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }
}
