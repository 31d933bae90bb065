/** Forms of the x87, MMX and SSE rows, and which are left out. */
import { ROWS, type Row } from '../../src/isa/index.js'
import { type Bits, type Form, form, INTEGER, shapes, sized } from './forms.js'

/** Rows that the oracle does not answer, by mnemonic. */
export const FP_EXCLUDED: Readonly<Record<string, string>> = {}

/** Whose memory operand follows the operand size. */
const ENVIRONMENTS = new Set(['fldenv', 'fnstenv', 'frstor', 'fnsave'])
/** Whose memory operand follows REX.W. */
const IMAGES = new Set(['fxsave', 'fxrstor', 'xsave', 'xsaveopt', 'xrstor'])
/** Rows of the integer table that belong here. */
const OTHERS = new Set(['wait', 'movnti', 'xsave', 'xsaveopt', 'xrstor'])

/** Every row of the suite. */
export const FP_ROWS: readonly Row[] = [
  ...INTEGER.filter((row) => OTHERS.has(row.mnemonic)),
  ...ROWS.slice(1 + INTEGER.length),
]

/** Rows whose results depend on control words and on classes of values. */
export function isFloat(row: Row): boolean {
  return (
    isX87(row) ||
    /^(add|sub|mul|div|sqrt|min|max|cmp|cvt|u?comi|round|h?add|h?sub|addsub|dp)[a-z0-9]*[sp][sd]|^cvt/.test(
      row.mnemonic,
    )
  )
}

export function isX87(row: Row): boolean {
  return row.map === 0 && ((row.opcode >= 0xd8 && row.opcode <= 0xdf) || row.mnemonic === 'wait')
}

function sizes(row: Row, bits: Bits): readonly (2 | 4 | 8)[] {
  const natural = bits === 16 ? 2 : 4
  if (ENVIRONMENTS.has(row.mnemonic)) return [natural, natural === 4 ? 2 : 4]
  if (bits !== 64) return row.mnemonic === 'crc32' && sized(row) && row.opcode === 0xf1 ? [2, 4] : [natural]
  if (IMAGES.has(row.mnemonic)) return [4, 8]
  if (row.w >= 0) return [row.w === 1 ? 8 : 4]
  if (!sized(row)) return [4]
  if (row.mnemonic === 'crc32' && row.opcode === 0xf1) return [2, 4, 8]
  return [4, 8]
}

export function fpForms(bits: Bits): Form[] {
  const list: Form[] = []
  for (const row of FP_ROWS) {
    if (FP_EXCLUDED[row.mnemonic] !== undefined || row.until !== '') continue
    if (bits === 64 ? row.invalid64 : row.only64) continue
    for (const opSize of sizes(row, bits)) {
      for (const memory of shapes(row)) {
        const image = IMAGES.has(row.mnemonic) || row.mnemonic === 'fnsave' || row.mnemonic === 'frstor'
        const cases = image ? 100 : isFloat(row) && bits === 64 ? 240 : 100
        const common = { suite: 'fp' } as const
        list.push(
          form(row, bits, opSize, memory, { ...common, cases }),
          form(row, bits, opSize, memory, { ...common, lock: true, cases: 3 }),
          form(row, bits, opSize, memory, { ...common, special: 'edge', cases: 5 }),
        )
      }
    }
  }
  return list
}
