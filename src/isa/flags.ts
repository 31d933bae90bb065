/**
 * The bits of FLAGS, EFLAGS and RFLAGS. Source: Intel SDM Vol. 1, "EFLAGS Register".
 */

/** Carry. */
export const FLAG_CF = 0x0000_0001
/** Always one from the 80286 on. */
export const FLAG_FIXED = 0x0000_0002
/** Parity of the low byte of a result: set when even. */
export const FLAG_PF = 0x0000_0004
/** Auxiliary (decimal) carry out of bit 3. */
export const FLAG_AF = 0x0000_0010
/** Zero. */
export const FLAG_ZF = 0x0000_0040
/** Sign. */
export const FLAG_SF = 0x0000_0080
/** Trap: single step. */
export const FLAG_TF = 0x0000_0100
/** Maskable interrupts enabled. */
export const FLAG_IF = 0x0000_0200
/** Direction of string instructions: set = downwards. */
export const FLAG_DF = 0x0000_0400
/** Signed overflow. */
export const FLAG_OF = 0x0000_0800
/** I/O privilege level: two bits, see {@link FLAG_IOPL_SHIFT}. */
export const FLAG_IOPL = 0x0000_3000
/** Position of the I/O privilege level. */
export const FLAG_IOPL_SHIFT = 12
/** Nested task. */
export const FLAG_NT = 0x0000_4000
/** Bit 15: zero from the 80286 on, one on the 8086. */
export const FLAG_MD = 0x0000_8000
/** Resume: instruction breakpoints are ignored for one instruction. */
export const FLAG_RF = 0x0001_0000
/** Virtual-8086 mode. */
export const FLAG_VM = 0x0002_0000
/** Alignment check; with SMAP also the override of supervisor access prevention. */
export const FLAG_AC = 0x0004_0000
/** Virtual interrupt flag. */
export const FLAG_VIF = 0x0008_0000
/** Virtual interrupt pending. */
export const FLAG_VIP = 0x0010_0000
/** CPUID is available when this bit can be changed. */
export const FLAG_ID = 0x0020_0000

/** The six flags that arithmetic sets. */
export const FLAGS_STATUS: number = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF

/** Name of each flag by bit number; `''` for reserved bits. The two IOPL bits share a name. */
export const FLAG_NAMES: readonly string[] = [
  'CF',
  '',
  'PF',
  '',
  'AF',
  '',
  'ZF',
  'SF',
  'TF',
  'IF',
  'DF',
  'OF',
  'IOPL',
  'IOPL',
  'NT',
  'MD',
  'RF',
  'VM',
  'AC',
  'VIF',
  'VIP',
  'ID',
]

/** Lists the flags set in `flags`, highest bit first, as debuggers do: `'OF ZF PF'`; IOPL as `'IOPL=3'` when not 0. */
export function flagNames(flags: number): string {
  const names: string[] = []
  for (let bit = 21; bit >= 0; bit--) {
    const name = FLAG_NAMES[bit]!
    if (bit === 13) {
      if (flags & FLAG_IOPL) names.push(`IOPL=${(flags & FLAG_IOPL) >> FLAG_IOPL_SHIFT}`)
    } else if (bit !== 12 && name !== '' && flags & (1 << bit)) names.push(name)
  }
  return names.join(' ')
}
