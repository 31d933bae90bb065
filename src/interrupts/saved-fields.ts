import { VirtkitError } from '../contracts/errors.js'

/**
 * Reads saved state field by field, so that a part can validate all of it before it changes anything. Every method
 * throws `bad-state` naming the field when the value is not what was asked for.
 */
export class SavedFields {
  private readonly part: string
  private readonly fields: Readonly<Record<string, unknown>>

  /** `part` names the part in messages; `state` must be an object whose `version` is `version`. */
  constructor(part: string, state: unknown, version: number) {
    this.part = part
    if (typeof state !== 'object' || state === null) throw new VirtkitError('bad-state', `${part}: state is no object`)
    this.fields = state as Record<string, unknown>
    if (this.fields.version !== version)
      throw new VirtkitError('bad-state', `${part}: expected state of version ${version}, got ${this.fields.version}`)
  }

  /** An integer from `min` to `max`. */
  integer(name: string, max: number, min = 0): number {
    const value = this.fields[name]
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw this.bad(name, `an integer from ${min} to ${max}`)
    return value
  }

  boolean(name: string): boolean {
    const value = this.fields[name]
    if (typeof value !== 'boolean') throw this.bad(name, 'a boolean')
    return value
  }

  /** Exactly `count` integers from 0 to `max`. */
  integers(name: string, count: number, max: number): readonly number[] {
    const value = this.fields[name]
    if (!Array.isArray(value) || value.length !== count) throw this.bad(name, `${count} integers`)
    for (const item of value)
      if (typeof item !== 'number' || !Number.isInteger(item) || item < 0 || item > max)
        throw this.bad(name, `${count} integers from 0 to ${max}`)
    return value as number[]
  }

  /** The field as it stands, for a nested part's own validation. */
  nested(name: string): unknown {
    return this.fields[name]
  }

  private bad(name: string, expected: string): VirtkitError {
    return new VirtkitError('bad-state', `${this.part}: field ${name} should be ${expected}`)
  }
}
