/**
 * What a page walk depends on, as words in memory for a walker that is compiled code: byte offsets from their start. A `PageWalker` that was given
 * such words keeps them true.
 */

/** i32: a value of PAGING_MODES, or {@link WALK_ASK}. */
export const WALK_MODE: number = 0x00
/** In {@link WALK_MODE}: leave every walk to the `PageWalker`, which has an observer. */
export const WALK_ASK: number = -1
/** u32: number of the physical page that CR3 names; the largest value stands for all that do not fit. Not used under PAE paging. */
export const WALK_ROOT: number = 0x04
/** u32: the G bit where CR4.PGE makes it count, else 0. */
export const WALK_GLOBAL: number = 0x08
/** u32: the PS bit where CR4.PSE makes it count in 32-bit paging, else 0. */
export const WALK_LARGE32: number = 0x0c
/** u32: reserved bits in an entry of a 4 MiB page. */
export const WALK_RESERVED_4M: number = 0x10
/** u32: reserved bits in the low half of an entry of a 1 GiB page; PS itself where there are no such pages. */
export const WALK_RESERVED_1G: number = 0x14
/** u64: reserved bits in every entry of the last levels: those beyond MAXPHYADDR, and XD where it is not enabled. */
export const WALK_RESERVED: number = 0x18
/** The four page-directory-pointer-table entries of PAE paging, 8 bytes each. */
export const WALK_PDPTES: number = 0x20
/** Bytes altogether. */
export const WALK_SIZE: number = 0x40
