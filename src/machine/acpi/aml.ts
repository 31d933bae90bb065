/**
 * An encoder for the part of the ACPI machine language that a PC's tables need. Every function returns encoded bytes; terms nest by
 * passing one's bytes to another.
 *
 * Source: ACPI Specification 6.0, "ACPI Machine Language (AML) Specification".
 */
import { VirtkitError } from '../../contracts/index.js'

/** Encoded AML. */
export type Aml = readonly number[]

// Opcodes. Two-byte ones carry their prefix, 5Bh, in the high byte.
const OP = {
  zero: 0x00,
  one: 0x01,
  name: 0x08,
  byte: 0x0a,
  word: 0x0b,
  dword: 0x0c,
  string: 0x0d,
  qword: 0x0e,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
  method: 0x14,
  rootChar: 0x5c,
  dualName: 0x2e,
  multiName: 0x2f,
  local0: 0x60,
  arg0: 0x68,
  store: 0x70,
  and: 0x7b,
  or: 0x7d,
  createDword: 0x8a,
  if: 0xa0,
  return: 0xa4,
  region: 0x5b80,
  field: 0x5b81,
  device: 0x5b82,
  processor: 0x5b83,
} as const

/** Address spaces of operation regions. */
export const REGION = { memory: 0, io: 1, pciConfig: 2 } as const

function opcode(op: number): Aml {
  return op > 0xff ? [op >> 8, op & 0xff] : [op]
}

/** A package length in front of `body`; the length counts itself. */
function packaged(op: number, body: Aml): Aml {
  const size = body.length
  let prefix: number[]
  if (size + 1 < 0x40) prefix = [size + 1]
  else if (size + 2 < 0x1000) prefix = [0x40 | ((size + 2) & 0xf), (size + 2) >> 4]
  else if (size + 3 < 0x100000) prefix = [0x80 | ((size + 3) & 0xf), ((size + 3) >> 4) & 0xff, (size + 3) >> 12]
  else throw new VirtkitError('bad-argument', 'an AML package of more than 1 MiB')
  return [...opcode(op), ...prefix, ...body]
}

function segment(name: string): Aml {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(name)) throw new VirtkitError('bad-argument', `'${name}' is no ACPI name`)
  return Array.from(name.padEnd(4, '_'), (c) => c.charCodeAt(0))
}

/** A name string: segments of up to four characters with dots between them, after an optional `\` (or nothing but that). */
export function path(text: string): Aml {
  const root = text.startsWith('\\')
  const segments = (root ? text.slice(1) : text).split('.').filter((part) => part !== '')
  const bytes = segments.flatMap((part) => [...segment(part)])
  const count = segments.length
  const prefix = count === 0 ? [0] : count === 1 ? [] : count === 2 ? [OP.dualName] : [OP.multiName, count]
  return [...(root ? [OP.rootChar] : []), ...prefix, ...bytes]
}

/** `size` bytes of `value`, low byte first; exact up to 2^53. */
export function le(value: number, size: number): Aml {
  const bytes: number[] = []
  for (let i = 0, rest = value; i < size; i++, rest = Math.floor(rest / 256)) bytes.push(rest % 256)
  return bytes
}

/** An unsigned integer constant in its shortest form. */
export function integer(value: number): Aml {
  if (value === 0) return [OP.zero]
  if (value === 1) return [OP.one]
  if (value < 0x100) return [OP.byte, value]
  if (value < 0x10000) return [OP.word, ...le(value, 2)]
  if (value < 2 ** 32) return [OP.dword, ...le(value, 4)]
  return [OP.qword, ...le(value, 8)]
}

/** A string constant, ASCII. */
export function text(value: string): Aml {
  return [OP.string, ...Array.from(value, (c) => c.charCodeAt(0) & 0x7f), 0]
}

/** A Plug and Play identifier such as PNP0A03, compressed into a 32-bit integer. */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new VirtkitError('bad-argument', `'${id}' is no EISA identifier`)
  const letter = (i: number): number => id.charCodeAt(i) - 0x40
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2)
  const product = Number.parseInt(id.slice(3), 16)
  return [OP.dword, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff]
}

/** A buffer with contents. */
export function buffer(bytes: Aml): Aml {
  return packaged(OP.buffer, [...integer(bytes.length), ...bytes])
}

/** A package of at most 255 elements. */
export function pack(...elements: readonly Aml[]): Aml {
  if (elements.length > 255) throw new VirtkitError('bad-argument', 'an AML package has at most 255 elements')
  return packaged(OP.package, [elements.length, ...elements.flat()])
}

/** `Name (name, value)`. */
export function named(name: string, value: Aml): Aml {
  return [OP.name, ...path(name), ...value]
}

/** `Scope (name) { body }`. */
export function scope(name: string, ...body: readonly Aml[]): Aml {
  return packaged(OP.scope, [...path(name), ...body.flat()])
}

/** `Device (name) { body }`. */
export function device(name: string, ...body: readonly Aml[]): Aml {
  return packaged(OP.device, [...path(name), ...body.flat()])
}

/** `Processor (name, id, 0, 0) {}`: a processor without a register block. */
export function processor(name: string, id: number): Aml {
  return packaged(OP.processor, [...path(name), id, 0, 0, 0, 0, 0])
}

/** `Method (name, args, NotSerialized or Serialized) { body }`. */
export function method(name: string, args: number, serialized: boolean, ...body: readonly Aml[]): Aml {
  return packaged(OP.method, [...path(name), args | (serialized ? 8 : 0), ...body.flat()])
}

/** `OperationRegion (name, space, offset, length)`. */
export function region(name: string, space: number, offset: number, length: number): Aml {
  return [...opcode(OP.region), ...path(name), space, ...integer(offset), ...integer(length)]
}

/** `Field (region, ByteAcc, NoLock, Preserve) { names, 8 bits each }`. */
export function byteFields(regionName: string, names: readonly string[]): Aml {
  return packaged(OP.field, [...path(regionName), 0x01, ...names.flatMap((name) => [...segment(name), 8])])
}

/** `ArgN`. */
export function arg(n: number): Aml {
  return [OP.arg0 + n]
}

/** `Store (value, target)`. */
export function store(value: Aml, target: Aml): Aml {
  return [OP.store, ...value, ...target]
}

/** `And (a, b, target)`; without a target only a value. */
export function and(a: Aml, b: Aml, target: Aml = [0]): Aml {
  return [OP.and, ...a, ...b, ...target]
}

/** `Or (a, b, target)`. */
export function or(a: Aml, b: Aml, target: Aml): Aml {
  return [OP.or, ...a, ...b, ...target]
}

/** `If (condition) { body }`. */
export function when(condition: Aml, ...body: readonly Aml[]): Aml {
  return packaged(OP.if, [...condition, ...body.flat()])
}

/** `Return (value)`. */
export function give(value: Aml): Aml {
  return [OP.return, ...value]
}

/** `CreateDWordField (source, byte index, name)`. */
export function dwordField(source: Aml, index: number, name: string): Aml {
  return [OP.createDword, ...source, ...integer(index), ...path(name)]
}
