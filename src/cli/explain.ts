/** `virtkit explain`. */
import { parseArgs } from 'node:util'
import {
  type AccessKind,
  EXPLAIN_TOPICS,
  type ExplainSource,
  type ExplainTopic,
  type Explanation,
  explainDma,
  explainInterrupt,
  explainPaging,
  explainPic,
  explainSegmentation,
  explainTlb,
  explainTranslation,
  formatExplanation,
  type PageTableMode,
  pagingRegisters,
} from '../debug/index.js'
import { AddressSpace } from '../memory/index.js'
import {
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  SEGMENT_REGISTERS,
  type SegmentCache,
  type TableRegister,
  TLB_POLICIES,
  Tlb,
} from '../mmu/index.js'
import { CommandError, EXIT_USAGE } from './exit-status.js'
import {
  buildPages,
  DESCRIPTOR_SYNTAX,
  GATE_SYNTAX,
  GDT_AT,
  IDT_AT,
  LDT_AT,
  MAP_SYNTAX,
  parseAddress,
  parseDescriptors,
  parseNumber,
  usage,
  writeGate,
  writeTable,
} from './explain-tables.js'

const ABOUT: Readonly<Record<ExplainTopic, string>> = {
  segmentation: 'from a logical to a linear address, through the GDT or an LDT',
  paging: 'from a linear to a physical address, by the page tables',
  tlb: 'the same through a TLB, in six steps',
  translation: 'the whole way: logical, linear, physical address',
  interrupt: "how a handler's address is found, in three steps",
  pic: 'the interrupt sequence of the 8259A, in six steps',
  dma: 'a transfer by the 8237A: request, response, transfer, end',
}

const FLAGS = {
  access: { type: 'string' },
  address: { type: 'string', multiple: true },
  'auto-eoi': { type: 'boolean' },
  autoinitialise: { type: 'boolean' },
  channel: { type: 'string' },
  count: { type: 'string' },
  cpl: { type: 'string' },
  direction: { type: 'string' },
  gate: { type: 'string', multiple: true },
  gdt: { type: 'string' },
  help: { type: 'boolean' },
  'in-service': { type: 'string' },
  irq: { type: 'string' },
  json: { type: 'boolean' },
  ldt: { type: 'string' },
  ldtr: { type: 'string' },
  map: { type: 'string', multiple: true },
  masked: { type: 'boolean' },
  'master-base': { type: 'string' },
  mode: { type: 'string' },
  'no-notes': { type: 'boolean' },
  offset: { type: 'string' },
  policy: { type: 'string' },
  register: { type: 'string' },
  selector: { type: 'string' },
  sets: { type: 'string' },
  size: { type: 'string' },
  'slave-base': { type: 'string' },
  software: { type: 'boolean' },
  user: { type: 'boolean' },
  vector: { type: 'string' },
  ways: { type: 'string' },
  withdraw: { type: 'boolean' },
} as const

type Flag = keyof typeof FLAGS

const SEGMENT_FLAGS: readonly Flag[] = ['selector', 'offset', 'size', 'access', 'register', 'cpl', 'gdt', 'ldt', 'ldtr']

/** Flags of each topic, beside those of all. */
const TOPIC_FLAGS: Readonly<Record<ExplainTopic, readonly Flag[]>> = {
  segmentation: [...SEGMENT_FLAGS, 'mode'],
  paging: ['address', 'access', 'user', 'mode', 'map'],
  tlb: ['address', 'access', 'user', 'mode', 'map', 'sets', 'ways', 'policy'],
  translation: [...SEGMENT_FLAGS, 'user', 'mode', 'map'],
  interrupt: ['vector', 'software', 'cpl', 'mode', 'gate', 'gdt', 'ldt', 'ldtr'],
  pic: ['irq', 'masked', 'auto-eoi', 'in-service', 'withdraw', 'master-base', 'slave-base'],
  dma: ['channel', 'address', 'count', 'direction', 'mode', 'masked', 'autoinitialise'],
}
const COMMON_FLAGS: readonly Flag[] = ['help', 'json', 'no-notes']

const FLAG_TEXT: Readonly<Record<Flag, string>> = {
  access: '--access read|write|execute  (default read)',
  address: '--address ADDRESS            what to translate (tlb: may be repeated); dma: where in memory',
  'auto-eoi': '--auto-eoi                   automatic end of interrupt',
  autoinitialise: '--autoinitialise             reload address and count at the end',
  channel: '--channel N                  0 to 3 or 5 to 7 (default 2)',
  count: '--count N                    bytes, or words on channels 5 to 7 (default 4)',
  cpl: '--cpl N                      privilege level (default 0)',
  direction: '--direction read|write|verify  write goes to memory (default)',
  gate: `--gate GATE                  may be repeated: ${GATE_SYNTAX}`,
  gdt: `--gdt "DESCRIPTOR …"         ${DESCRIPTOR_SYNTAX}`,
  help: '--help                       this text',
  'in-service': '--in-service N               an IRQ that is being served already',
  irq: '--irq N                      0 to 15 except 2 (default 1)',
  json: '--json                       print the steps as JSON',
  ldt: '--ldt "DESCRIPTOR …"         the same for the LDT, which the GDT must describe at 0x2000',
  ldtr: '--ldtr SELECTOR              in LDTR (default: the first LDT in the GDT)',
  map: `--map PAGE                   may be repeated: ${MAP_SYNTAX}`,
  masked: '--masked                     the mask bit is set',
  'master-base': '--master-base VECTOR         (default 0x20)',
  mode: '--mode MODE                  segmentation: protected or real; interrupt: real, protected or long; paging: 32-bit, pae or 4-level; dma: single, block or demand',
  'no-notes': '--no-notes                   without the notes at the end',
  offset: '--offset OFFSET              (default 0x1234)',
  policy: `--policy NAME                ${TLB_POLICIES.join(', ')}`,
  register: `--register NAME              to load the selector into: ${SEGMENT_REGISTERS.join(', ')}`,
  selector: '--selector SELECTOR          (default 0x10)',
  sets: '--sets N                     of the TLB (default 16)',
  size: '--size N                     bytes accessed (default 1)',
  'slave-base': '--slave-base VECTOR          (default 0x28)',
  software: '--software                   INT n instead of an external interrupt',
  user: '--user                       a user-mode access',
  vector: '--vector N                   (default 0x21)',
  ways: '--ways N                     of the TLB (default 4)',
  withdraw: '--withdraw                   the request falls before it is acknowledged',
}

/** The list of topics. */
export const EXPLAIN_USAGE: string = [
  'Usage: virtkit explain <topic> [options]',
  '',
  ...EXPLAIN_TOPICS.map((topic) => `  ${topic.padEnd(14)}${ABOUT[topic]}`),
  '',
  "Every topic has an example of its own; 'virtkit explain <topic> --help' lists its options.",
].join('\n')

function topicUsage(topic: ExplainTopic): string {
  const flags = [...TOPIC_FLAGS[topic], ...COMMON_FLAGS].map((flag) => `  ${FLAG_TEXT[flag]}`)
  return [`Usage: virtkit explain ${topic} [options]`, '', `  ${ABOUT[topic]}`, '', ...flags].join('\n')
}

type Values = ReturnType<typeof parse>

function parse(topic: ExplainTopic, args: readonly string[]) {
  let parsed: ReturnType<typeof parseAll>
  try {
    parsed = parseAll(args)
  } catch (error) {
    const message = (error instanceof Error ? error.message : String(error)).split('\n')[0]!
    return usage(message.replace(/\.? To specify.*/, ''))
  }
  for (const flag of Object.keys(parsed) as Flag[]) {
    if (!TOPIC_FLAGS[topic].includes(flag) && !COMMON_FLAGS.includes(flag)) {
      usage(`${topic} has no option --${flag}; 'virtkit explain ${topic} --help' lists them`)
    }
  }
  return parsed
}

function parseAll(args: readonly string[]) {
  return parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false }).values
}

function choice<T extends string>(flag: string, value: string | undefined, among: readonly T[], otherwise: T): T {
  if (value === undefined) return otherwise
  if (!among.includes(value as T)) usage(`--${flag}: one of ${among.join(', ')} was expected, got '${value}'`)
  return value as T
}

const ACCESSES: readonly AccessKind[] = ['read', 'write', 'execute']
const PAGING_MODE_NAMES: readonly PageTableMode[] = ['32-bit', 'pae', '4-level']

/** A flat code and data segment, data at 64 KiB, user segments, an LDT. */
const DEFAULT_GDT =
  'null code:0:0xffffffff data:0x10000:0xffff code:0:0xffffffff:3 data:0:0xffffffff:3 ldt:0x2000:0x17 code64:0:0xffffffff'
const DEFAULT_LDT = 'null data:0x20000:0xfff:3 code:0x30000:0xffff:3'

interface Tables {
  readonly memory: AddressSpace
  readonly source: {
    readonly memory: AddressSpace
    readonly gdtr: TableRegister
    /** A selector, as LLDT takes it. */
    readonly ldtr: number
    readonly cpl: number
  }
}

/** Memory with a GDT and an LDT, and the registers that name them. */
function tables(values: Values, cpl: number): Tables {
  const memory = new AddressSpace({ size: 0x400000 })
  const gdt = parseDescriptors('--gdt', values.gdt ?? DEFAULT_GDT)
  const limit = writeTable(memory, GDT_AT, gdt)
  const found = gdt.findIndex(({ hi }) => (descriptorAttr(hi) & 0x1f) === 2)
  if (values.ldt !== undefined && found < 0) usage('--ldt: the GDT has no LDT descriptor; add ldt:0x2000:LIMIT')
  writeTable(memory, LDT_AT, parseDescriptors('--ldt', values.ldt ?? DEFAULT_LDT))
  const ldtr = values.ldtr === undefined ? Math.max(found, 0) * 8 : parseNumber('--ldtr', values.ldtr, 0xffff)
  return { memory, source: { memory, gdtr: { base: GDT_AT, limit }, ldtr, cpl } }
}

function cplOf(values: Values): number {
  return parseNumber('--cpl', values.cpl ?? '0', 3)
}

function segmentArguments(values: Values) {
  const register = values.register
  if (register !== undefined && !SEGMENT_REGISTERS.includes(register as 'ds')) {
    usage(`--register: one of ${SEGMENT_REGISTERS.join(', ')} was expected, got '${register}'`)
  }
  return {
    selector: parseNumber('--selector', values.selector ?? '0x10', 0xffff),
    offset: parseNumber('--offset', values.offset ?? '0x1234', 0xffffffff),
    options: {
      access: choice('access', values.access, ACCESSES, 'read'),
      size: parseNumber('--size', values.size ?? '1', 64),
      ...(register === undefined ? {} : { register: register as 'ds' }),
    },
  }
}

function segmentation(values: Values): Explanation[] {
  const { selector, offset, options } = segmentArguments(values)
  const real = choice('mode', values.mode, ['protected', 'real'] as const, 'protected') === 'real'
  const { source } = tables(values, real ? 0 : cplOf(values))
  return [explainSegmentation(real ? { ...source, cr0: 0 } : source, selector, offset, options)]
}

/** Pages for the example: three at 4 MiB, of which the third is read-only and for the supervisor. */
const DEFAULT_MAPS: readonly string[] = ['0x400000=0x9000', '0x401000=0x5000', '0x402000=0x6000:rs']

function pagingSource(values: Values): ExplainSource {
  const mode = choice('mode', values.mode, PAGING_MODE_NAMES, '32-bit')
  const memory = new AddressSpace({ size: 0x800000 })
  const { cr3 } = buildPages(memory, mode, values.map ?? DEFAULT_MAPS)
  return { memory, ...pagingRegisters(mode), cr3 }
}

function pagingOptions(values: Values): { access: AccessKind; user: boolean } {
  return { access: choice('access', values.access, ACCESSES, 'read'), user: values.user ?? false }
}

function paging(values: Values): Explanation[] {
  const addresses = values.address ?? ['0x401234']
  const source = pagingSource(values)
  return addresses.map((text) => explainPaging(source, parseAddress('--address', text), pagingOptions(values)))
}

function tlb(values: Values): Explanation[] {
  const addresses = values.address ?? ['0x401234', '0x401238']
  const cache = new Tlb({
    sets: parseNumber('--sets', values.sets ?? '16', 2 ** 22),
    ways: parseNumber('--ways', values.ways ?? '4', 2 ** 22),
    policy: choice('policy', values.policy, TLB_POLICIES, 'lru'),
  })
  const source = pagingSource(values)
  return addresses.map((text) =>
    explainTlb(source, parseAddress('--address', text), { ...pagingOptions(values), tlb: cache, update: true }),
  )
}

function translation(values: Values): Explanation[] {
  const { selector, offset, options } = segmentArguments(values)
  const { memory, source } = tables(values, cplOf(values))
  const mode = choice('mode', values.mode, ['32-bit', 'pae'] as const, '32-bit')
  // The tables themselves are mapped where they are; the example's data segment goes elsewhere.
  const maps = values.map ?? ['0x11000=0x9000', '0x20000=0xa000', '0x401000=0x5000']
  const { cr3 } = buildPages(memory, mode, ['0x1000=0x1000', '0x2000=0x2000', ...maps])
  const user = values.user === undefined ? {} : { user: values.user }
  return [explainTranslation({ ...source, ...pagingRegisters(mode), cr3 }, selector, offset, { ...options, ...user })]
}

function interrupt(values: Values): Explanation[] {
  const mode = choice('mode', values.mode, ['real', 'protected', 'long'] as const, 'protected')
  const vector = parseNumber('--vector', values.vector ?? '0x21', 255)
  const { memory, source } = tables(values, mode === 'real' ? 0 : cplOf(values))
  const defaults = {
    real: ['0x21=0xf000:0xe987'],
    protected: ['0x21=interrupt:0x08:0x00401000', '0x0e=interrupt:0x08:0x00402000', '0x80=trap:0x08:0x00403000:3'],
    long: ['0x21=interrupt:0x30:0xffffffff81401000', '0x80=trap:0x30:0x403000:3'],
  }
  for (const gate of values.gate ?? defaults[mode]) writeGate(memory, mode, gate)
  const limit = { real: 0x3ff, protected: 0x7ff, long: 0xfff }[mode]
  const idtr = { base: IDT_AT, limit }
  const options = { software: values.software ?? false }
  if (mode === 'real') return [explainInterrupt({ ...source, idtr, cr0: 0 }, vector, options)]
  if (mode === 'protected') return [explainInterrupt({ ...source, idtr }, vector, options)]
  // Long mode needs paging: the first 4 MiB, where everything is.
  const { cr3 } = buildPages(memory, '4-level', ['0=0:l', '0x200000=0x200000:l'])
  const ldtr = ldtCache(memory, source)
  return [explainInterrupt({ ...source, idtr, ldtr, ...pagingRegisters('4-level'), cr3 }, vector, options)]
}

/** LDTR as LLDT would load it. */
function ldtCache(memory: AddressSpace, { ldtr: selector }: Tables['source']): SegmentCache {
  if (selector === 0) return { selector: 0, base: 0, limit: 0, attr: 0 }
  const at = GDT_AT + (selector & 0xfff8)
  const lo = memory.read32(at)
  const hi = memory.read32(at + 4)
  return { selector, base: descriptorBase(lo, hi), limit: descriptorLimit(lo, hi), attr: descriptorAttr(hi) }
}

function pic(values: Values): Explanation[] {
  const number = (flag: 'irq' | 'in-service' | 'master-base' | 'slave-base'): number | undefined =>
    values[flag] === undefined ? undefined : parseNumber(`--${flag}`, values[flag], 255)
  const inService = number('in-service')
  return [
    explainPic({
      irq: number('irq') ?? 1,
      masked: values.masked ?? false,
      autoEoi: values['auto-eoi'] ?? false,
      withdraw: values.withdraw ?? false,
      masterBase: number('master-base') ?? 0x20,
      slaveBase: number('slave-base') ?? 0x28,
      ...(inService === undefined ? {} : { inService }),
    }),
  ]
}

function dma(values: Values): Explanation[] {
  const [address = '0x1000', ...more] = values.address ?? []
  if (more.length > 0) usage('dma: one --address was expected')
  return [
    explainDma({
      channel: parseNumber('--channel', values.channel ?? '2', 7),
      address: parseNumber('--address', address, 0xffffff),
      count: parseNumber('--count', values.count ?? '4', 0x10000),
      direction: choice('direction', values.direction, ['write', 'read', 'verify'] as const, 'write'),
      mode: choice('mode', values.mode, ['single', 'block', 'demand'] as const, 'single'),
      masked: values.masked ?? false,
      autoinitialise: values.autoinitialise ?? false,
    }),
  ]
}

const TOPICS: Readonly<Record<ExplainTopic, (values: Values) => Explanation[]>> = {
  segmentation,
  paging,
  tlb,
  translation,
  interrupt,
  pic,
  dma,
}

/** Explains on stdout; returns the exit status. A fault that the hardware would raise is an answer, not an error. */
export async function explain(args: readonly string[]): Promise<number> {
  const [topic, ...rest] = args
  if (topic === undefined || topic === '--help' || topic === 'help') {
    console.log(EXPLAIN_USAGE)
    return 0
  }
  if (!EXPLAIN_TOPICS.includes(topic as ExplainTopic)) {
    throw new CommandError(
      EXIT_USAGE,
      `explain: there is no topic '${topic}': ${EXPLAIN_TOPICS.join(', ')} were expected`,
    )
  }
  const values = parse(topic as ExplainTopic, rest)
  if (values.help) {
    console.log(topicUsage(topic as ExplainTopic))
    return 0
  }
  const explanations = TOPICS[topic as ExplainTopic](values)
  console.log(
    values.json
      ? JSON.stringify(explanations, null, 2)
      : explanations
          .map((explanation) =>
            formatExplanation(explanation, { notes: !values['no-notes'] && explanation === explanations.at(-1) }),
          )
          .join('\n\n'),
  )
  return 0
}
