import { VirtkitError } from './errors.js'

/**
 * Checks saved state field by field before a part takes anything from it. Every method throws a `VirtkitError` with
 * code `bad-state` that names the part and the field; a `loadState` reads all its fields first and assigns afterwards.
 */
export class StateReader {
  readonly #part: string
  readonly #fields: Readonly<Record<string, unknown>>

  /** `state` is untrusted; its `version` field must equal `version`. */
  constructor(part: string, state: unknown, version: number) {
    this.#part = part
    if (typeof state !== 'object' || state === null) throw this.#bad('state', 'an object')
    this.#fields = state as Readonly<Record<string, unknown>>
    if (this.#fields.version !== version) throw this.#bad('version', `${version}`)
  }

  /** An integer of `min` to `max`. */
  int(key: string, min: number, max: number): number {
    const value = this.#fields[key]
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw this.#bad(key, `an integer of ${min} to ${max}`)
    }
    return value
  }

  /** A finite number: a time in nanoseconds, which may have a fraction. */
  time(key: string): number {
    const value = this.#fields[key]
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#bad(key, 'a finite number')
    return value
  }

  /** A time, or `null` where nothing is scheduled. */
  timeOrNull(key: string): number | null {
    return this.#fields[key] === null ? null : this.time(key)
  }

  /** True or false. */
  bool(key: string): boolean {
    const value = this.#fields[key]
    if (typeof value !== 'boolean') throw this.#bad(key, 'true or false')
    return value
  }

  /** A byte array of `min` to `max` bytes; `max` defaults to `min`. The result is a copy. */
  bytes(key: string, min: number, max: number = min): Uint8Array {
    const value = this.#fields[key]
    if (!(value instanceof Uint8Array) || value.length < min || value.length > max) {
      throw this.#bad(key, min === max ? `${min} bytes` : `${min} to ${max} bytes`)
    }
    return value.slice()
  }

  /** A list of exactly `length` integers of `min` to `max`. */
  ints(key: string, length: number, min: number, max: number): number[] {
    const value = this.#fields[key]
    if (!Array.isArray(value) || value.length !== length) throw this.#bad(key, `a list of ${length} integers`)
    for (const item of value as readonly unknown[]) {
      if (typeof item !== 'number' || !Number.isInteger(item) || item < min || item > max) {
        throw this.#bad(key, `${length} integers of ${min} to ${max}`)
      }
    }
    return (value as readonly number[]).slice()
  }

  /** One of a fixed set of strings. */
  oneOf<T extends string>(key: string, values: readonly T[]): T {
    const value = this.#fields[key]
    if (typeof value !== 'string' || !(values as readonly string[]).includes(value)) {
      throw this.#bad(key, `one of ${values.join(', ')}`)
    }
    return value as T
  }

  /** A string of at most `max` characters. */
  text(key: string, max: number): string {
    const value = this.#fields[key]
    if (typeof value !== 'string' || value.length > max) throw this.#bad(key, `a string of at most ${max} characters`)
    return value
  }

  /** A nested object or `null`, unchecked: hand it to another part's `loadState` or to another reader. */
  nested(key: string): unknown {
    return this.#fields[key]
  }

  /** The error to throw when fields contradict each other. */
  inconsistent(key: string, expected: string): VirtkitError {
    return this.#bad(key, expected)
  }

  #bad(key: string, expected: string): VirtkitError {
    return new VirtkitError('bad-state', `${this.#part}: saved ${key} is not ${expected}`)
  }
}
