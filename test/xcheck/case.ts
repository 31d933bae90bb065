/** A case of the cross-check: a few instructions in a processor mode, and what the monitor printed when they were done. */

/** How a case is entered; see ENTRIES in monitor.ts. */
export type EntryName =
  | 'real' // real mode, 0000:8000
  | 'prot0' // 32-bit protected mode, ring 0, flat
  | 'prot3' // the same, ring 3
  | 'prot16' // 16-bit protected mode, ring 0, segments at base 0
  | 'v86' // virtual-8086 mode at 0800:0000, SS 0A00, DS = ES = 0900
  | 'long0' // 64-bit mode, ring 0
  | 'long3' // 64-bit mode, ring 3
  | 'compat3' // compatibility mode, 32-bit, ring 3

export interface XCase {
  readonly name: string
  readonly entry: EntryName
  /** Page tables: identity for the first 320 KiB, of which 8000h–BFFFh are the user's. Default: none, in long mode 4-level. */
  readonly paging?: 'none' | '32' | 'pae' | '4level'
  /** EFLAGS at entry. Default 2. */
  readonly flags?: number
  /** Bits set besides PE, ET and PG in CR0, besides PAE in CR4, besides LME in EFER. */
  readonly cr0?: number
  readonly cr4?: number
  readonly efer?: number
  readonly source: string
}
