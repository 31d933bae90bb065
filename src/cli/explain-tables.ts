/** Tables that are given on the command line of `virtkit explain`. */
import type { PhysicalBus } from '../contracts/index.js'
import { type MapOptions, PageTableBuilder, type PageTableMode } from '../debug/index.js'
import {
  DESC_TYPE_INTERRUPT_GATE16,
  DESC_TYPE_INTERRUPT_GATE32,
  DESC_TYPE_LDT,
  DESC_TYPE_TASK_GATE,
  DESC_TYPE_TRAP_GATE16,
  DESC_TYPE_TRAP_GATE32,
  DESC_TYPE_TSS32_AVAILABLE,
  type DescriptorWords,
  encodeGate,
  encodeSegment,
  type SegmentFields,
} from '../mmu/index.js'
import { CommandError, EXIT_USAGE } from './exit-status.js'

/** Physical addresses at which `explain` puts the tables. */
export const GDT_AT = 0x1000
export const LDT_AT = 0x2000
export const IDT_AT = 0x3000
export const PAGE_TABLES_AT = 0x100000

export function usage(message: string): never {
  throw new CommandError(EXIT_USAGE, `explain: ${message}`)
}

/** A number as C or an assembler writes it; `_` may group digits. */
export function parseNumber(flag: string, text: string, max: number = Number.MAX_SAFE_INTEGER): number {
  const plain = text.replaceAll('_', '')
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(plain)) usage(`${flag}: a number such as 0x10 was expected, got '${text}'`)
  const value = Number(plain)
  if (!(value <= max)) usage(`${flag}: at most 0x${max.toString(16)} was expected, got '${text}'`)
  return value
}

/** A 64-bit address. */
export function parseAddress(flag: string, text: string): bigint {
  const plain = text.replaceAll('_', '')
  if (!/^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(plain))
    usage(`${flag}: an address such as 0x401000 was expected, got '${text}'`)
  return BigInt(plain)
}

const SEGMENT_KINDS: Readonly<Record<string, Partial<SegmentFields> & { readonly type: number }>> = {
  code: { type: 10 },
  code16: { type: 10, big: false },
  code64: { type: 10, long: true, big: false },
  conforming: { type: 14 },
  data: { type: 2 },
  data16: { type: 2, big: false },
  rodata: { type: 0 },
  expanddown: { type: 6 },
  ldt: { type: DESC_TYPE_LDT, s: false },
  tss: { type: DESC_TYPE_TSS32_AVAILABLE, s: false },
}

/** What a descriptor on the command line looks like. */
export const DESCRIPTOR_SYNTAX: string = `KIND:BASE:LIMIT[:DPL][:absent], null, or 16 hexadecimal digits; KIND is ${Object.keys(SEGMENT_KINDS).join(', ')}`

function parseDescriptor(flag: string, text: string): DescriptorWords {
  if (text === 'null') return { lo: 0, hi: 0 }
  const raw = text.replaceAll('_', '')
  if (/^[0-9a-f]{16}$/i.test(raw)) {
    return { hi: Number.parseInt(raw.slice(0, 8), 16), lo: Number.parseInt(raw.slice(8), 16) }
  }
  const words = text.split(':')
  const absent = words.at(-1) === 'absent'
  if (absent) words.pop()
  const [name, base, limit, dpl = '0', ...rest] = words
  const kind = Object.hasOwn(SEGMENT_KINDS, name!) ? SEGMENT_KINDS[name!] : undefined
  if (kind === undefined || base === undefined || limit === undefined || rest.length > 0) {
    return usage(`${flag}: ${DESCRIPTOR_SYNTAX}; got '${text}'`)
  }
  return encodeSegment({
    ...kind,
    base: parseNumber(flag, base, 0xffffffff),
    limit: parseNumber(flag, limit, 0xffffffff),
    dpl: parseNumber(flag, dpl, 3),
    present: !absent,
  })
}

/** Descriptors separated by spaces or commas. */
export function parseDescriptors(flag: string, text: string): DescriptorWords[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  if (words.length === 0 || words.length > 512)
    usage(`${flag}: 1 to 512 descriptors were expected, got ${words.length}`)
  return words.map((word) => parseDescriptor(flag, word))
}

/** Writes a table; returns its limit. */
export function writeTable(memory: PhysicalBus, base: number, table: readonly DescriptorWords[]): number {
  table.forEach(({ lo, hi }, n) => {
    memory.write32(base + 8 * n, lo)
    memory.write32(base + 8 * n + 4, hi)
  })
  return 8 * table.length - 1
}

const GATE_KINDS: Readonly<Record<string, number>> = {
  interrupt: DESC_TYPE_INTERRUPT_GATE32,
  trap: DESC_TYPE_TRAP_GATE32,
  interrupt16: DESC_TYPE_INTERRUPT_GATE16,
  trap16: DESC_TYPE_TRAP_GATE16,
  task: DESC_TYPE_TASK_GATE,
}

/** What a gate on the command line looks like. */
export const GATE_SYNTAX: string = `VECTOR=KIND:SELECTOR:OFFSET[:DPL][:absent]; KIND is ${Object.keys(GATE_KINDS).join(', ')}, in real mode VECTOR=SEGMENT:OFFSET`

/** Writes one entry of the IDT, in the size that the mode has. */
export function writeGate(memory: PhysicalBus, mode: 'real' | 'protected' | 'long', text: string): void {
  const match = /^([^=]+)=(.+)$/.exec(text)
  if (!match) usage(`--gate: ${GATE_SYNTAX}; got '${text}'`)
  const vector = parseNumber('--gate', match[1]!, 255)
  const words = match[2]!.split(':')
  if (mode === 'real') {
    const [segment, offset, ...rest] = words
    if (segment === undefined || offset === undefined || rest.length > 0) usage(`--gate: ${GATE_SYNTAX}; got '${text}'`)
    memory.write16(IDT_AT + 4 * vector, parseNumber('--gate', offset, 0xffff))
    memory.write16(IDT_AT + 4 * vector + 2, parseNumber('--gate', segment, 0xffff))
    return
  }
  const absent = words.at(-1) === 'absent'
  if (absent) words.pop()
  const [name, selector, offset, dpl = '0', ...rest] = words
  const type = Object.hasOwn(GATE_KINDS, name!) ? GATE_KINDS[name!] : undefined
  if (type === undefined || selector === undefined || offset === undefined || rest.length > 0) {
    usage(`--gate: ${GATE_SYNTAX}; got '${text}'`)
  }
  const address = parseAddress('--gate', offset)
  if (mode === 'protected' && address > 0xffffffffn)
    usage(`--gate: an offset has 32 bits in protected mode, got '${offset}'`)
  const { lo, hi, upper } = encodeGate({
    type,
    selector: parseNumber('--gate', selector, 0xffff),
    offset: type === DESC_TYPE_TASK_GATE ? 0 : Number(address & 0xffffffffn),
    dpl: parseNumber('--gate', dpl, 3),
    present: !absent,
    offsetHigh: Number(address >> 32n),
  })
  const at = IDT_AT + (mode === 'long' ? 16 : 8) * vector
  memory.write32(at, lo)
  memory.write32(at + 4, hi)
  if (mode === 'long') {
    memory.write32(at + 8, upper)
    memory.write32(at + 12, 0)
  }
}

/** What a page on the command line looks like. */
export const MAP_SYNTAX =
  'LINEAR=PHYSICAL[:FLAGS]; FLAGS are letters: r read-only, s supervisor only, g global, x no execute, l large page'

/** Builds page tables from `--map` values. */
export function buildPages(memory: PhysicalBus, mode: PageTableMode, maps: readonly string[]): PageTableBuilder {
  const tables = new PageTableBuilder(memory, mode, PAGE_TABLES_AT)
  for (const text of maps) {
    const match = /^([^=]+)=([^:]+)(?::([a-z]*))?$/i.exec(text)
    if (!match) usage(`--map: ${MAP_SYNTAX}; got '${text}'`)
    const flags = match[3] ?? ''
    const unknown = /[^rsgxl]/.exec(flags)
    if (unknown) usage(`--map: ${MAP_SYNTAX}; got '${text}'`)
    const options: MapOptions = {
      writable: !flags.includes('r'),
      user: !flags.includes('s'),
      global: flags.includes('g'),
      noExecute: flags.includes('x'),
      ...(flags.includes('l') ? { pageSize: mode === '32-bit' ? 0x400000 : 0x200000 } : {}),
    }
    const linear = Number(BigInt.asIntN(64, parseAddress('--map', match[1]!)))
    tables.map(linear, parseNumber('--map', match[2]!), options)
  }
  return tables
}
