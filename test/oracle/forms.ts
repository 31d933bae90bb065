/**
 * Which forms of which instructions the oracle is asked: every row of the integer table, in memory and register form, with every operand size,
 * with and without LOCK and the repeat prefixes; and why some rows are left out.
 */
import { ROWS, type Row } from '../../src/isa/index.js'
import { INTEGER_ROWS } from '../../src/isa/table-integer.js'

/** `integer`: the rows of the integer table; `fp`: x87, MMX and SSE (`forms-fp.ts`). */
export type Suite = 'integer' | 'fp'

/** Code size that a form runs in. */
export type Bits = 16 | 32 | 64

export interface Form {
  /** Names the form in the vectors: opcode and operands of its row, and what distinguishes it from the row's other forms. */
  readonly key: string
  readonly suite: Suite
  readonly row: Row
  readonly bits: Bits
  readonly opSize: 2 | 4 | 8
  readonly memory: boolean
  /** LOCK in front. */
  readonly lock: boolean
  /** F2 or F3 in front of a string instruction, else 0. */
  readonly repeat: number
  /** `edge`: the instruction runs up to, or over, the end of the code page. `long`: redundant prefixes up to and beyond 15 bytes. */
  readonly special: '' | 'edge' | 'long'
  readonly cases: number
}

/** Rows that the oracle does not answer, by mnemonic. */
export const EXCLUDED: Readonly<Record<string, string>> = {
  rdtsc: 'the result is not a function of the state',
  rdtscp: 'the result is not a function of the state',
  rdpid: 'the result is not a function of the state',
  rdrand: 'the result is not a function of the state',
  rdseed: 'the result is not a function of the state',
  cpuid: 'the result is that of another processor',
  rdpkru: 'depends on CR4.PKE; see test/xcheck',
  wrpkru: 'depends on CR4.PKE; see test/xcheck',
  rdpmc: 'depends on CR4.PCE and on counters',
  sgdt: 'UMIP is on, and Linux answers in its place',
  sidt: 'UMIP is on, and Linux answers in its place',
  sldt: 'UMIP is on, and Linux answers in its place',
  str: 'UMIP is on, and Linux answers in its place',
  smsw: 'UMIP is on, and Linux answers in its place',
  syscall: 'enters Linux',
  sysenter: 'enters Linux, or is invalid in long mode, by vendor',
  sysret: 'vendors differ outside 64-bit mode',
  sysexit: 'invalid in long mode on AMD processors',
  monitor: 'depends on an MSR of AMD processors, and MWAIT on the hypervisor',
  mwait: 'depends on an MSR of AMD processors, and MWAIT on the hypervisor',
  xgetbv: 'XCR0 has other bits',
  xsetbv: 'depends on CR4.OSXSAVE',
  xsave: 'in the suite of x87 and SSE',
  xsaveopt: 'in the suite of x87 and SSE',
  xrstor: 'in the suite of x87 and SSE',
  wait: 'in the suite of x87 and SSE',
  ud0: 'has a ModRM byte or not, by vendor',
  int1: 'the recording machine reports its own address, presumably its hypervisor, where the manual says the next one',
  movnti: 'in the suite of x87 and SSE',
}

/** Why a row has no vectors; `undefined` when it has. */
export function excluded(row: Row): string | undefined {
  if (row.until !== '') return 'in no processor since the 80486'
  if (row.feature === 'vmx') return 'VMX is Intel only'
  return EXCLUDED[row.mnemonic]
}

/** Rows of the integer table, without the one for invalid instructions. */
export const INTEGER: readonly Row[] = (() => {
  const count = INTEGER_ROWS.split('\n').filter((line) => line.trim() !== '').length
  return ROWS.slice(1, count + 1)
})()

const SIZED_WIDTHS = new Set(['v', 'z', 'y', 'p', 'a'])
/** Instructions whose operands are not written down but follow the operand size. */
const SIZED = new Set([
  'pusha',
  'popa',
  'pushf',
  'popf',
  'enter',
  'leave',
  'ret',
  'retf',
  'iret',
  'cbw',
  'cwd',
  'call',
  'jmp',
  'j',
  'loop',
  'loope',
  'loopne',
  'jcxz',
  'push',
  'pop',
])

export function sized(row: Row): boolean {
  return SIZED.has(row.mnemonic) || row.operands.some((o) => SIZED_WIDTHS.has(o.width) || SIZED_WIDTHS.has(o.memWidth))
}

/** Operand sizes to ask a row for. */
function sizes(row: Row, bits: Bits): readonly (2 | 4 | 8)[] {
  if (bits !== 64) {
    const natural = bits === 32 ? 4 : 2
    if (row.prefix === '66' || row.prefix === 'NP') return [natural]
    return sized(row) ? [natural, natural === 4 ? 2 : 4] : [natural]
  }
  // 66 on near branches is where AMD (16-bit target) and Intel (ignored) differ.
  if (row.force64) return [8]
  if (!sized(row)) return [row.w === 1 ? 8 : 4]
  if (row.default64) return [8, 2]
  if (row.prefix === '66' || row.prefix === 'NP') return [4, 8]
  // With 66, Intel reads two bytes and AMD four.
  if (row.mnemonic === 'movsxd') return [4, 8]
  // 64-bit offsets in far pointers are Intel's: AMD ignores REX.W there.
  if (row.operands.some((o) => o.width === 'p') || row.mnemonic === 'callf' || row.mnemonic === 'jmpf') return [4, 2]
  if (row.operands.some((o) => o.width === 'z' && /^[iom]|e/.test(row.mnemonic) && o.text === 'eAX')) return [4, 2]
  return [4, 2, 8]
}

/** The row's shapes: with a memory operand, with registers only. */
export function shapes(row: Row): readonly boolean[] {
  if (!row.modrm) return [row.operands.some((o) => o.method === 'O')]
  // AMD processors have no register form of PREFETCH and PREFETCHW.
  if (row.mod === 'mem' || (row.map === 1 && row.opcode === 0x0d)) return [true]
  if (row.mod === 'reg' || row.mod === 'ignored') return [false]
  return [false, true]
}

export function forms(bits: Bits): Form[] {
  const list: Form[] = []
  for (const row of INTEGER) {
    if (excluded(row) !== undefined) continue
    if (bits === 64 ? row.invalid64 : row.only64) {
      // Invalid in this mode: a handful of cases show it.
      if (row.feature === 'lm' && row.opcode === 0x63) continue
      if (bits === 64 && (row.opcode === 0x62 || row.opcode === 0xc4 || row.opcode === 0xc5 || row.opcode === 0xd5)) {
        continue // EVEX, VEX (and REX2) there
      }
      if (bits !== 64 && (row.w === 1 || row.b === 1 || /fsbase|gsbase|swapgs/.test(row.mnemonic) === false)) continue
      if (bits === 64 && INTEGER.some((other) => other !== row && other.only64 && sameOpcode(row, other))) continue
      if (bits === 64 && row.plus === 'r') continue // REX
      list.push(form(row, bits, bits === 16 ? 2 : 4, shapes(row)[0]!, { cases: 8 }))
      continue
    }
    for (const opSize of sizes(row, bits)) {
      for (const memory of shapes(row)) {
        list.push(form(row, bits, opSize, memory, {}))
        if (row.repeat !== '') {
          list.push(
            form(row, bits, opSize, memory, { repeat: 0xf3 }),
            form(row, bits, opSize, memory, { repeat: 0xf2 }),
          )
        }
        if (row.lock && memory) list.push(form(row, bits, opSize, memory, { lock: true }))
        else if (!lockDiffers(row)) list.push(form(row, bits, opSize, memory, { lock: true, cases: 6 }))
        // AMD processors recognise UD1 before its ModRM byte.
        if (row.mnemonic !== 'ud1') list.push(form(row, bits, opSize, memory, { special: 'edge', cases: 12 }))
        if (row.mnemonic !== 'ud1') list.push(form(row, bits, opSize, memory, { special: 'long', cases: 6 }))
      }
    }
  }
  return list
}

/** With LOCK, AMD processors take MOV CR0 for MOV CR8, and do not mind the prefix on VERW. */
function lockDiffers(row: Row): boolean {
  return (row.map === 1 && (row.opcode === 0x20 || row.opcode === 0x22)) || row.mnemonic === 'verw'
}

function sameOpcode(a: Row, b: Row): boolean {
  return a.map === b.map && a.opcode === b.opcode && (a.reg < 0 || b.reg < 0 || a.reg === b.reg)
}

export function form(
  row: Row,
  bits: Bits,
  opSize: 2 | 4 | 8,
  memory: boolean,
  options: { lock?: boolean; repeat?: number; special?: Form['special']; cases?: number; suite?: Suite },
): Form {
  const { lock = false, repeat = 0, special = '', cases = 100, suite = 'integer' } = options
  const [opcode, operands] = row.text.split('|').map((column) => column.trim())
  const extra = [
    row.only64 ? 'o64' : row.invalid64 ? 'i64' : '',
    row.b === 1 ? 'B1' : '',
    row.w >= 0 ? `W${row.w}` : '',
  ]
  const words = [opcode, '|', operands, ...extra, '|', opSize * 8, memory ? 'memory' : 'register']
  if (lock) words.push('lock')
  if (repeat !== 0) words.push(repeat === 0xf3 ? 'rep' : 'repne')
  if (special !== '') words.push(special)
  const key = words.filter((word) => word !== '').join(' ')
  return { key, suite, row, bits, opSize, memory, lock, repeat, special, cases }
}
