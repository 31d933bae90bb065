/** A small reader of ACPI machine language for tests: it checks that terms nest exactly and collects what is named. */

/** Something with a name. */
export interface AmlObject {
  readonly kind: string
  /** Of a Name: number, string, bytes of a buffer, list of a package, or `{ ref }`. Of a method: its argument count. */
  readonly value: AmlValue
}
export type AmlValue = number | string | Uint8Array | readonly AmlValue[] | { readonly ref: string } | undefined

const NAME_START = /[A-Z_]/

export class AmlWalker {
  readonly objects = new Map<string, AmlObject>()
  /** Every name that code refers to, with the scope where it does. */
  readonly references: { readonly scope: string; readonly name: string }[] = []
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.#at = start
    this.#terms(end, '\\')
    if (this.#at !== end) throw new Error(`terms end at ${this.#at}, not ${end}`)
  }

  /** Finds a name as the interpreter does: absolute, relative, or, for single segments, in enclosing scopes. */
  resolve(scope: string, name: string): string | undefined {
    if (name.startsWith('\\')) return this.objects.has(name) ? name : undefined
    for (let at = scope; ; at = at.slice(0, Math.max(1, at.lastIndexOf('.')))) {
      const full = at === '\\' ? `\\${name}` : `${at}.${name}`
      if (this.objects.has(full)) return full
      if (at === '\\' || name.includes('.')) return undefined
      if (!at.includes('.')) {
        const top = `\\${name}`
        return this.objects.has(top) ? top : undefined
      }
    }
  }

  get #peek(): number {
    return this.#bytes[this.#at] ?? -1
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new Error('the table ends inside a term')
    return byte
  }

  #number(size: number): number {
    let value = 0
    for (let i = 0; i < size; i++) value += this.#byte() * 256 ** i
    return value
  }

  #packageEnd(limit: number): number {
    const start = this.#at
    const lead = this.#byte()
    const more = lead >> 6
    let length = more === 0 ? lead & 0x3f : lead & 0x0f
    for (let i = 0; i < more; i++) length += this.#byte() * 16 * 256 ** i
    const end = start + length
    if (end > limit || end < this.#at) throw new Error(`a package of ${length} bytes at ${start} leaves its parent`)
    return end
  }

  #segment(): string {
    const text = String.fromCharCode(this.#byte(), this.#byte(), this.#byte(), this.#byte())
    if (!/^[A-Z_][A-Z0-9_]{3}$/.test(text)) throw new Error(`'${text}' is no name segment`)
    return text
  }

  #name(): string {
    const root = this.#peek === 0x5c
    if (root) this.#at++
    let count = 1
    if (this.#peek === 0x00) {
      this.#at++
      count = 0
    } else if (this.#peek === 0x2e) {
      this.#at++
      count = 2
    } else if (this.#peek === 0x2f) {
      this.#at++
      count = this.#byte()
    }
    const segments = Array.from({ length: count }, () => this.#segment())
    return (root ? '\\' : '') + segments.join('.')
  }

  #define(scope: string, name: string, kind: string, value: AmlValue): string {
    const full = name.startsWith('\\') ? name : scope === '\\' ? `\\${name}` : `${scope}.${name}`
    if (this.objects.has(full)) throw new Error(`${full} is defined twice`)
    this.objects.set(full, { kind, value })
    return full
  }

  #terms(end: number, scope: string): void {
    while (this.#at < end) this.#term(end, scope)
  }

  /** A data object, or any expression (whose value is not followed). */
  #data(limit: number, scope: string): AmlValue {
    const op = this.#peek
    if (op === 0x5c || op === 0x2e || op === 0x2f || NAME_START.test(String.fromCharCode(op))) {
      const name = this.#name()
      this.references.push({ scope, name })
      const target = this.resolve(scope, name)
      const object = target === undefined ? undefined : this.objects.get(target)
      if (object?.kind === 'method') for (let i = 0; i < (object.value as number); i++) this.#data(limit, scope)
      return { ref: name }
    }
    this.#at++
    if (op === 0x00 || op === 0x01) return op
    if (op === 0xff) return 2 ** 32 - 1
    if (op === 0x0a) return this.#number(1)
    if (op === 0x0b) return this.#number(2)
    if (op === 0x0c) return this.#number(4)
    if (op === 0x0e) return this.#number(8)
    if (op === 0x0d) {
      let text = ''
      for (let byte = this.#byte(); byte !== 0; byte = this.#byte()) text += String.fromCharCode(byte)
      return text
    }
    if (op === 0x11) {
      const end = this.#packageEnd(limit)
      const size = this.#data(end, scope)
      const bytes = this.#bytes.slice(this.#at, end)
      if (size !== bytes.length) throw new Error(`a buffer of ${String(size)} holds ${bytes.length}`)
      this.#at = end
      return bytes
    }
    if (op === 0x12) {
      const end = this.#packageEnd(limit)
      const count = this.#byte()
      const list: AmlValue[] = []
      while (this.#at < end) list.push(this.#data(end, scope))
      if (list.length !== count) throw new Error(`a package of ${count} holds ${list.length}`)
      return list
    }
    if (op >= 0x60 && op <= 0x6e) return undefined // LocalN, ArgN
    if (op === 0x7b || op === 0x7d) {
      for (let i = 0; i < 3; i++) this.#data(limit, scope)
      return undefined
    }
    throw new Error(`opcode ${op.toString(16)} at ${this.#at - 1}`)
  }

  #term(limit: number, scope: string): void {
    const op = this.#peek
    const extended = op === 0x5b ? (this.#bytes[this.#at + 1] ?? -1) : -1
    if (op === 0x08) {
      this.#at++
      const name = this.#name()
      this.#define(scope, name, 'name', this.#data(limit, scope))
    } else if (op === 0x10) {
      this.#at++
      const end = this.#packageEnd(limit)
      const name = this.#name()
      this.#terms(end, name.startsWith('\\') ? name : `${scope}.${name}`)
    } else if (op === 0x14) {
      this.#at++
      const end = this.#packageEnd(limit)
      const name = this.#name()
      const flags = this.#byte()
      this.#terms(end, this.#define(scope, name, 'method', flags & 7))
    } else if (op === 0x70) {
      this.#at++
      this.#data(limit, scope)
      this.#data(limit, scope)
    } else if (op === 0x8a) {
      this.#at++
      this.#data(limit, scope)
      this.#data(limit, scope)
      this.#define(scope, this.#name(), 'field', undefined)
    } else if (op === 0xa0) {
      this.#at++
      const end = this.#packageEnd(limit)
      this.#data(end, scope)
      this.#terms(end, scope)
    } else if (op === 0xa4) {
      this.#at++
      this.#data(limit, scope)
    } else if (extended === 0x80) {
      this.#at += 2
      const name = this.#name()
      const space = this.#byte()
      this.#define(scope, name, 'region', [space, this.#data(limit, scope), this.#data(limit, scope)])
    } else if (extended === 0x81) {
      this.#at += 2
      const end = this.#packageEnd(limit)
      this.references.push({ scope, name: this.#name() })
      this.#byte()
      while (this.#at < end) this.#define(scope, this.#segment(), 'field', this.#byte())
    } else if (extended === 0x82 || extended === 0x83) {
      this.#at += 2
      const end = this.#packageEnd(limit)
      const name = this.#name()
      const id = extended === 0x83 ? [this.#byte(), this.#number(4), this.#byte()] : undefined
      this.#terms(end, this.#define(scope, name, extended === 0x83 ? 'processor' : 'device', id))
    } else {
      this.#data(limit, scope)
    }
  }
}
