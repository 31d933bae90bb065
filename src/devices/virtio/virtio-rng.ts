import { type Plain, type Stateful, VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'
import { VirtioDevice, type VirtioDeviceOptions } from './virtio-device.js'
import { VIRTIO_TYPE_ENTROPY } from './virtio-registers.js'
import type { ApplyState, Virtqueue } from './virtqueue.js'

/** Most bytes of one answer; a longer buffer is filled in part, as the specification allows. */
export const VIRTIO_RNG_MAX_BYTES = 4096
const BATCH = 16

/** Where random bytes come from. Its state is saved with the device, so that a run can be repeated. */
export interface EntropySource extends Stateful<Plain> {
  /** Fills `target`. */
  fill(target: Uint8Array): void
}

/**
 * A pseudo-random {@link EntropySource}: the same seed gives the same bytes. Good enough to feed a guest, and no secret to
 * anyone who knows the seed.
 *
 * Source: D. Blackman and S. Vigna, "Scrambled Linear Pseudorandom Number Generators" (xoshiro128**).
 */
export class SeededEntropy implements EntropySource {
  readonly #state = new Uint32Array(4)

  /** `seed` is an integer of 32 bits. */
  constructor(seed: number) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
      throw new VirtkitError('bad-argument', `a seed is an integer of 32 bits, not ${seed}`)
    }
    let x = seed
    for (let i = 0; i < 4; i++) {
      // Four outputs of a different generator, never all zero.
      x = (x + 0x9e3779b9) >>> 0
      let z = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      this.#state[i] = (z ^ (z >>> 16)) | (i === 0 ? 1 : 0)
    }
  }

  fill(target: Uint8Array): void {
    for (let i = 0; i < target.length; i += 4) {
      const value = this.next()
      for (let j = 0; j < 4 && i + j < target.length; j++) target[i + j] = value >>> (8 * j)
    }
  }

  saveState(): Plain {
    return { version: 1, words: [...this.#state] }
  }

  loadState(state: Plain): void {
    const reader = new StateReader('seeded entropy', state, 1)
    const words = reader.ints('words', 4, 0, 0xffffffff)
    if (words.every((word) => word === 0)) throw reader.inconsistent('words', 'four words that are not all 0')
    this.#state.set(words)
  }

  /** The next 32 bits, unsigned. */
  next(): number {
    const s = this.#state
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0
    const t = s[1]! << 9
    s[2]! ^= s[0]!
    s[3]! ^= s[1]!
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= t
    s[3] = rotate(s[3]!, 11)
    return result
  }
}

function rotate(value: number, count: number): number {
  return (value << count) | (value >>> (32 - count))
}

/** What a {@link VirtioRng} is built from. */
export interface VirtioRngOptions extends VirtioDeviceOptions {
  readonly source: EntropySource
  /** From a notification to the answer, in nanoseconds. Default 5000. */
  readonly latencyNs?: number
}

/**
 * A virtio entropy device: one queue of device-writable buffers, filled up to {@link VIRTIO_RNG_MAX_BYTES} bytes each. A
 * chain with nothing to write into breaks the rules.
 *
 * Source: VIRTIO 1.2, "Entropy Device".
 */
export class VirtioRng extends VirtioDevice {
  readonly #source: EntropySource
  readonly #latencyNs: number
  readonly #buffer = new Uint8Array(VIRTIO_RNG_MAX_BYTES)

  constructor(options: VirtioRngOptions) {
    const latencyNs = options.latencyNs ?? 5000
    super(options, { type: VIRTIO_TYPE_ENTROPY, queueSizes: [8], features: [], configSize: 0, latencyNs })
    this.#source = options.source
    this.#latencyNs = latencyNs
  }

  protected override serve(index: number, queue: Virtqueue): number {
    const chain = this.chain
    let count = 0
    while (count < BATCH && queue.pop(chain)) {
      if (chain.writable === 0) {
        this.needsReset()
        return 0
      }
      const bytes = this.#buffer.subarray(0, Math.min(chain.writable, VIRTIO_RNG_MAX_BYTES))
      this.#source.fill(bytes)
      chain.write(0, bytes)
      queue.push(chain.head, bytes.length)
      count++
    }
    if (count > 0) this.announce(index)
    return count > 0 ? this.#latencyNs : 0
  }

  protected override saveSpecific(): Plain {
    return { version: 1, source: this.#source.saveState() }
  }

  protected override checkSpecific(state: unknown): ApplyState {
    const source = new StateReader('virtio entropy device', state, 1).nested('source') as Plain
    // The only way to check a source's state is to load it.
    const before = this.#source.saveState()
    this.#source.loadState(source)
    this.#source.loadState(before)
    return () => this.#source.loadState(source)
  }
}
