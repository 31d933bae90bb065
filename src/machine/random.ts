/** Random numbers for a machine: a seeded generator, so that a run can be repeated, with a state that is saved. */

import { StateReader } from '../contracts/index.js'

/** Saved state of a {@link SeededRandom}. */
export interface SeededRandomState {
  readonly version: 1
  readonly words: readonly number[]
}

/**
 * The generator xoshiro128** of Blackman and Vigna ("Scrambled Linear Pseudorandom Number Generators"), seeded through SplitMix32. Good
 * statistics, no secrecy: a guest's keys are as guessable as its seed.
 */
export class SeededRandom {
  private readonly words: Uint32Array = new Uint32Array(4)

  /** `seed`: an integer; its low 32 bits count. */
  constructor(seed: number) {
    let x = seed >>> 0
    for (let n = 0; n < 4; n++) {
      x = (x + 0x9e3779b9) >>> 0
      let z = x
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      this.words[n] = z ^ (z >>> 16)
    }
  }

  /** The next 32 bits, unsigned. */
  next(): number {
    const w = this.words
    const x = Math.imul(w[1]!, 5)
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0
    const shifted = w[1]! << 9
    w[2]! ^= w[0]!
    w[3]! ^= w[1]!
    w[1]! ^= w[2]!
    w[0]! ^= w[3]!
    w[2]! ^= shifted
    w[3] = (w[3]! << 11) | (w[3]! >>> 21)
    return result
  }

  saveState(): SeededRandomState {
    return { version: 1, words: [...this.words] }
  }

  /** Takes a saved state over. */
  loadState(state: SeededRandomState): void {
    const r = new StateReader('random generator', state, 1)
    const words = r.ints('words', 4, 0, 0xffffffff)
    if (words.every((word) => word === 0)) throw r.inconsistent('words', 'not all zero')
    this.words.set(words)
  }
}
