/**
 * Compiles the instruction table into the arrays that the decoder indexes.
 *
 * A slot exists per code size (16/32 or 64), opcode map and opcode byte. Where one slot has several rows, it names a
 * group of 4 by mandatory prefix, and that (or the slot itself) a group of 128 by ModRM: 64 for memory forms, 64 for register forms, by reg and rm.
 */
import type { Row } from './table.js'
import { METHOD, ROWS, WIDTH, type WidthName, widthOf } from './table.js'

/** Which processor is decoded for. */
export interface DecoderOptions {
  /**
   * Says whether a row exists on the modelled processor. Opcodes whose row is refused fall back to the row that older
   * processors had (F3 0F BC is TZCNT, or else BSF) or are invalid. Default: all rows but those with an end (`until`).
   */
  readonly accept?: (row: Row) => boolean
  /** False before the 80386: 64–67 are not prefixes. Default true. */
  readonly prefixes386?: boolean
  /** True before the 80386: LOCK is allowed with every instruction. Default false. */
  readonly lockAnywhere?: boolean
  /** Longest instruction in bytes, 1–15; longer ones are `DECODE.tooLong`. 10 on the 80286. Default 15. */
  readonly maxLength?: number
}

/** Slot or group entry that names a group of 4 entries by mandatory prefix: none, 66, F3, F2. */
export const ENTRY_BY_PREFIX = 0x4000
/** Slot or group entry that names a group of 128 entries by ModRM. */
export const ENTRY_BY_MODRM = 0x8000
/** The number part of an entry: a row, or a group. */
export const ENTRY_NUMBER = 0x3fff

/** Index of a mandatory-prefix class. */
export const CLASS_NONE = 0
export const CLASS_66 = 1
export const CLASS_F3 = 2
export const CLASS_F2 = 3

/** What a byte is before the opcode. 0 = an opcode byte. */
export const LEAD_NONE = 0
export const LEAD_REX = 1
export const LEAD_SEG = 2
/** ES, CS, SS, DS overrides in 64-bit mode. */
export const LEAD_SEG_IGNORED = 3
export const LEAD_OPSIZE = 4
export const LEAD_ADDRSIZE = 5
export const LEAD_LOCK = 6
export const LEAD_REP = 7
export const LEAD_REPNE = 8

/** Bits of `rowFlags`. */
export const ROW_MODRM = 1
export const ROW_LOCK = 2
export const ROW_D64 = 4
export const ROW_F64 = 8
export const ROW_NOCS = 16
export const ROW_W1 = 32
export const ROW_B1 = 64
/** ModRM.mod is ignored: no memory form. */
export const ROW_ANYMOD = 128
export const ROW_CC = 256
/** 66 is part of the opcode. */
export const ROW_66 = 512

/** Stride of one operand size in {@link WIDTH_BYTES}. */
export const WIDTH_STRIDE = 16

/** Operand width in bytes by `log2(opSize) - 1 + (64-bit ? 3 : 0)` and {@link WIDTH} number. */
export const WIDTH_BYTES: Uint8Array = /* @__PURE__ */ widthTable()

function widthTable(): Uint8Array {
  const table = new Uint8Array(6 * WIDTH_STRIDE)
  for (let mode = 0; mode < 2; mode++) {
    for (let size = 0; size < 3; size++) {
      for (const [name, number] of Object.entries(WIDTH)) {
        table[(mode * 3 + size) * WIDTH_STRIDE + number] = widthOf(name as WidthName, 2 << size, mode ? 64 : 32)
      }
    }
  }
  return table
}

/** The arrays of one decoder. */
export interface DecoderTables {
  /** Entry by 64-bit mode (0 / 1024) + map * 256 + opcode. */
  readonly slots: Uint16Array
  readonly byPrefix: Uint16Array
  readonly byModrm: Uint16Array
  /** LEAD_ class by 64-bit mode (0 / 256) + byte. */
  readonly lead: Uint8Array
  readonly rowFlags: Uint16Array
  /** The row to take instead when REX.W or REX.B is set, or 0. */
  readonly rowRex: Uint16Array
  readonly rowMnemonic: Uint16Array
  readonly rowOperands: Uint8Array
  /** Four per row. */
  readonly opMethod: Uint8Array
  readonly opWidth: Uint8Array
  readonly opMemWidth: Uint8Array
  readonly opReg: Uint8Array
  /** 0F leads to the second map. */
  readonly escapes: boolean
  readonly lockAnywhere: boolean
  readonly maxLength: number
}

function leadTable(prefixes386: boolean): Uint8Array {
  const lead = new Uint8Array(512)
  for (const base of [0, 256]) {
    for (const byte of [0x26, 0x2e, 0x36, 0x3e]) lead[base + byte] = base ? LEAD_SEG_IGNORED : LEAD_SEG
    if (prefixes386) {
      lead[base + 0x64] = LEAD_SEG
      lead[base + 0x65] = LEAD_SEG
      lead[base + 0x66] = LEAD_OPSIZE
      lead[base + 0x67] = LEAD_ADDRSIZE
    }
    lead[base + 0xf0] = LEAD_LOCK
    lead[base + 0xf2] = LEAD_REPNE
    lead[base + 0xf3] = LEAD_REP
  }
  lead.fill(LEAD_REX, 256 + 0x40, 256 + 0x50)
  return lead
}

function flagsOf(row: Row): number {
  return (
    (row.modrm ? ROW_MODRM : 0) |
    (row.lock ? ROW_LOCK : 0) |
    (row.default64 ? ROW_D64 : 0) |
    (row.force64 ? ROW_F64 : 0) |
    (row.noCs ? ROW_NOCS : 0) |
    (row.w === 1 ? ROW_W1 : 0) |
    (row.b === 1 ? ROW_B1 : 0) |
    (row.mod === 'ignored' ? ROW_ANYMOD : 0) |
    (row.plus === 'cc' ? ROW_CC : 0) |
    (row.prefix === '66' ? ROW_66 : 0)
  )
}

function takesPrefix(row: Row, prefixClass: number): boolean {
  switch (row.prefix) {
    case 'any':
      return true
    case 'NP':
      return prefixClass === CLASS_NONE
    case 'NFx':
      return prefixClass <= CLASS_66
    case '66':
      return prefixClass === CLASS_66
    case 'F3':
      return prefixClass === CLASS_F3
    case 'F2':
      return prefixClass === CLASS_F2
  }
}

/** How much a row insists on: of two rows for the same bytes the more specific one is meant. */
function specificity(row: Row): number {
  return (
    (row.prefix === 'any' ? 0 : 16) +
    (row.rm >= 0 ? 8 : 0) +
    (row.reg >= 0 ? 4 : 0) +
    (row.mod === 'mem' || row.mod === 'reg' ? 2 : 0) +
    (row.plus === '' ? 1 : 0)
  )
}

/** Builds the tables of one decoder. */
export function compileTables(options: DecoderOptions = {}): DecoderTables {
  const accept = options.accept ?? ((row: Row): boolean => row.until === '')
  const slots = new Uint16Array(2048)
  const byPrefix: number[] = []
  const byModrm: number[] = []
  const rowRex = new Uint16Array(ROWS.length)
  const known = new Map<string, number>()

  const buckets: Row[][] = Array.from({ length: 1024 }, () => [])
  for (const row of ROWS) {
    if (row.index === 0 || !accept(row)) continue
    const span = row.plus === 'cc' ? 16 : row.plus === 'r' ? 8 : 1
    for (let i = 0; i < span; i++) buckets[row.map * 256 + row.opcode + i]!.push(row)
  }

  /** The row for one exact form; remembers which row REX.W or REX.B turns it into. */
  const pick = (rows: readonly Row[]): number => {
    const best = rows.reduce((top, row) => Math.max(top, specificity(row)), -1)
    const top = rows.filter((row) => row.w === 1 || row.b === 1 || specificity(row) === best)
    const plain = top.filter((row) => row.w !== 1 && row.b !== 1)
    const rex = top.find((row) => row.w === 1 || row.b === 1)
    if (plain.length > 1) throw new Error(`instruction table: "${plain[0]!.text}" and "${plain[1]!.text}" collide`)
    if (!plain[0]) return rex?.index ?? 0
    if (rex) rowRex[plain[0].index] = rex.index
    return plain[0].index
  }

  /** One entry for a set of rows that agree on the prefix: a row or a ModRM group. */
  const byForm = (rows: readonly Row[]): number => {
    if (rows.every((row) => row.mod === 'any' && row.reg < 0 && row.rm < 0)) return pick(rows)
    const key = rows.map((row) => row.index).join()
    const seen = known.get(key)
    if (seen !== undefined) return seen
    const group: number[] = []
    for (let form = 0; form < 128; form++) {
      group.push(
        pick(
          rows.filter(
            (row) =>
              (row.mod === 'any' || row.mod === 'ignored' || row.mod === (form < 64 ? 'mem' : 'reg')) &&
              (row.reg < 0 || row.reg === ((form >> 3) & 7)) &&
              (row.rm < 0 || row.rm === (form & 7)),
          ),
        ),
      )
    }
    if (group.every((row) => row === group[0])) return group[0]!
    const entry = ENTRY_BY_MODRM | (byModrm.length >> 7)
    byModrm.push(...group)
    known.set(key, entry)
    return entry
  }

  for (let mode = 0; mode < 2; mode++) {
    for (let code = 0; code < 1024; code++) {
      const rows = buckets[code]!.filter((row) => (mode ? !row.invalid64 : !row.only64))
      if (rows.length === 0) continue
      const entries = [0, 1, 2, 3].map((prefixClass) => byForm(rows.filter((row) => takesPrefix(row, prefixClass))))
      let entry = entries[0]!
      if (entries.some((other) => other !== entry)) {
        entry = ENTRY_BY_PREFIX | (byPrefix.length >> 2)
        byPrefix.push(...entries)
      }
      slots[mode * 1024 + code] = entry
    }
  }

  const operand = (row: Row, i: number): Row['operands'][number] | undefined => row.operands[i]
  const perOperand = (value: (spec: Row['operands'][number]) => number): Uint8Array =>
    Uint8Array.from({ length: ROWS.length * 4 }, (_, i) => {
      const spec = operand(ROWS[i >> 2]!, i & 3)
      return spec ? value(spec) : 0
    })
  return {
    slots,
    byPrefix: Uint16Array.from(byPrefix),
    byModrm: Uint16Array.from(byModrm),
    lead: leadTable(options.prefixes386 ?? true),
    rowFlags: Uint16Array.from(ROWS, flagsOf),
    rowRex,
    rowMnemonic: Uint16Array.from(ROWS, (row) => row.id),
    rowOperands: Uint8Array.from(ROWS, (row) => row.operands.length),
    opMethod: perOperand((spec) => METHOD[spec.method]),
    opWidth: perOperand((spec) => WIDTH[spec.width]),
    opMemWidth: perOperand((spec) => WIDTH[spec.memWidth]),
    opReg: perOperand((spec) => Math.max(spec.reg, 0)),
    escapes: buckets[0x0f]!.length === 0,
    lockAnywhere: options.lockAnywhere ?? false,
    maxLength: options.maxLength ?? 15,
  }
}
