/**
 * Names that the source may use for what the instruction table knows under one mnemonic: condition codes, sizes in
 * the name, synonyms.
 */

/** What a source mnemonic stands for. */
export interface Meaning {
  /** Mnemonic in the instruction table. */
  readonly mnemonic: string
  /** Condition 0–15, or -1. */
  readonly condition: number
  /** Operand size that the name demands, or 0. */
  readonly opSize: number
  /** Address size that the name demands (JECXZ), or 0. */
  readonly addrSize: number
  /** Element size of a string instruction, or 0. */
  readonly element: number
  /** WAIT (9B) goes before it: FINIT is WAIT + FNINIT. */
  readonly wait: boolean
  /** Immediate that the name implies (CMPEQPS), or -1. */
  readonly predicate: number
}

/** Names of the sixteen conditions in encoding order; the first is the one usually printed. */
export const CONDITIONS: readonly (readonly string[])[] = [
  ['o'],
  ['no'],
  ['b', 'c', 'nae'],
  ['ae', 'nb', 'nc'],
  ['e', 'z'],
  ['ne', 'nz'],
  ['be', 'na'],
  ['a', 'nbe'],
  ['s'],
  ['ns'],
  ['p', 'pe'],
  ['np', 'po'],
  ['l', 'nge'],
  ['ge', 'nl'],
  ['le', 'ng'],
  ['g', 'nle'],
]

const SIZE_LETTERS: readonly (readonly [string, number])[] = [
  ['b', 1],
  ['w', 2],
  ['d', 4],
  ['q', 8],
]

/** name → [table mnemonic, operand size, address size] */
const SYNONYMS: readonly (readonly [string, string, number, number])[] = [
  ['cbw', 'cbw', 2, 0],
  ['cwde', 'cbw', 4, 0],
  ['cdqe', 'cbw', 8, 0],
  ['cwd', 'cwd', 2, 0],
  ['cdq', 'cwd', 4, 0],
  ['cqo', 'cwd', 8, 0],
  ['jcxz', 'jcxz', 0, 2],
  ['jecxz', 'jcxz', 0, 4],
  ['jrcxz', 'jcxz', 0, 8],
  ['loopz', 'loope', 0, 0],
  ['loopnz', 'loopne', 0, 0],
  ['sal', 'shl', 0, 0],
  ['xlatb', 'xlat', 0, 0],
  ['icebp', 'int1', 0, 0],
  ['int01', 'int1', 0, 0],
  ['int03', 'int3', 0, 0],
  ['fwait', 'wait', 0, 0],
  ['retn', 'ret', 0, 0],
  ['ud2a', 'ud2', 0, 0],
  ['sysretq', 'sysret', 8, 0],
  ['sysexitq', 'sysexit', 8, 0],
  ['fxsave64', 'fxsave', 8, 0],
  ['fxrstor64', 'fxrstor', 8, 0],
  ['xsave64', 'xsave', 8, 0],
  ['xsaveopt64', 'xsaveopt', 8, 0],
  ['xrstor64', 'xrstor', 8, 0],
]

const STRINGS: readonly (readonly [string, readonly number[]])[] = [
  ['movs', [1, 2, 4, 8]],
  ['cmps', [1, 2, 4, 8]],
  ['stos', [1, 2, 4, 8]],
  ['lods', [1, 2, 4, 8]],
  ['scas', [1, 2, 4, 8]],
  ['ins', [1, 2, 4]],
  ['outs', [1, 2, 4]],
]

const SIZED = ['pusha', 'popa', 'pushf', 'popf', 'iret', 'ret', 'retn', 'retf']

/** x87 instructions that exist with and without a WAIT before them. */
const WAITED = ['clex', 'init', 'save', 'stcw', 'stenv', 'stsw', 'disi', 'eni', 'setpm']
const PREDICATES = ['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord']

function meaning(mnemonic: string, part: Partial<Meaning> = {}): Meaning {
  return { mnemonic, condition: -1, opSize: 0, addrSize: 0, element: 0, wait: false, predicate: -1, ...part }
}

/** Every name that is not simply a mnemonic of the table. */
export const SYNONYM_TABLE: ReadonlyMap<string, Meaning> = /* @__PURE__ */ buildSynonyms()

function buildSynonyms(): Map<string, Meaning> {
  const map = new Map<string, Meaning>()
  for (const [name, mnemonic, opSize, addrSize] of SYNONYMS) map.set(name, meaning(mnemonic, { opSize, addrSize }))
  for (const stem of ['j', 'set', 'cmov']) {
    CONDITIONS.forEach((names, condition) => {
      for (const name of names) map.set(stem + name, meaning(stem, { condition }))
    })
  }
  for (const [stem, sizes] of STRINGS) {
    for (const [letter, size] of SIZE_LETTERS) {
      if (sizes.includes(size)) map.set(stem + letter, meaning(stem, { element: size }))
    }
  }
  for (const stem of SIZED) {
    const mnemonic = stem === 'retn' ? 'ret' : stem
    for (const [letter, size] of SIZE_LETTERS) {
      if (size > 1 && !(size === 8 && (stem === 'pusha' || stem === 'popa'))) {
        map.set(stem + letter, meaning(mnemonic, { opSize: size }))
      }
    }
  }
  for (const name of WAITED) map.set(`f${name}`, meaning(`fn${name}`, { wait: true }))
  PREDICATES.forEach((name, predicate) => {
    for (const type of ['ps', 'pd', 'ss', 'sd']) map.set(`cmp${name}${type}`, meaning(`cmp${type}`, { predicate }))
  })
  return map
}

/** What a name means that the table knows directly. */
export function plainMeaning(mnemonic: string): Meaning {
  return meaning(mnemonic)
}

/** Mnemonics of the table that cannot be written without more: their names carry a condition or a size. */
export const INCOMPLETE: ReadonlySet<string> = new Set([
  'j',
  'set',
  'cmov',
  'invalid',
  ...STRINGS.map(([stem]) => stem),
])
