/** A set of the 256 interrupt vectors with its highest member at hand: IRR, ISR or TMR of a local APIC. */
export class VectorSet {
  private readonly words: Int32Array = new Int32Array(8)
  /** The highest vector in the set, or −1. */
  highest = -1

  has(vector: number): boolean {
    return ((this.words[vector >> 5]! >> (vector & 31)) & 1) !== 0
  }

  add(vector: number): void {
    this.words[vector >> 5]! |= 1 << (vector & 31)
    if (vector > this.highest) this.highest = vector
  }

  remove(vector: number): void {
    this.words[vector >> 5]! &= ~(1 << (vector & 31))
    if (vector === this.highest) this.search()
  }

  clear(): void {
    this.words.fill(0)
    this.highest = -1
  }

  /** Vectors 32n to 32n + 31 as an unsigned number. */
  word(n: number): number {
    return this.words[n]! >>> 0
  }

  /** The eight words. */
  toList(): number[] {
    return Array.from(this.words, (word) => word >>> 0)
  }

  /** The vectors in the set, ascending. */
  toVectors(): number[] {
    const vectors: number[] = []
    for (let vector = 0; vector <= this.highest; vector++) if (this.has(vector)) vectors.push(vector)
    return vectors
  }

  /** Takes eight words over. */
  setList(words: readonly number[]): void {
    this.words.set(words)
    this.search()
  }

  private search(): void {
    for (let n = 7; n >= 0; n--) {
      const word = this.words[n]!
      if (word !== 0) {
        this.highest = n * 32 + 31 - Math.clz32(word)
        return
      }
    }
    this.highest = -1
  }
}
