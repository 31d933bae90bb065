/**
 * What a translation allows to whom: one function, used by the page walk and for entries that a TLB holds.
 * Source: Intel SDM Vol. 3A, "Access Rights", "Protection Keys" and "Page-Fault Exceptions".
 */
import { CR0_WP, CR4_PAE, CR4_PKE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE } from './control-registers.js'

/** Access: a write; without ACCESS_WRITE and ACCESS_FETCH it is a read. */
export const ACCESS_WRITE: number = 0x002
/** Access: made at CPL 3. */
export const ACCESS_USER: number = 0x004
/** Access: an instruction fetch. */
export const ACCESS_FETCH: number = 0x010
/** Access: implicit supervisor access (descriptor tables, TSS): supervisor whatever the CPL, and EFLAGS.AC does not help under SMAP. */
export const ACCESS_IMPLICIT: number = 0x100
/** Access: EFLAGS.AC is set, so that explicit supervisor data accesses reach user pages under SMAP. */
export const ACCESS_AC: number = 0x200
/** Access: only asking; neither A nor D is updated. */
export const ACCESS_PROBE: number = 0x400

/** Page-fault error code: the page was present, the fault is one of protection. */
export const PF_P: number = 0x01
/** Page-fault error code: a write. */
export const PF_W: number = 0x02
/** Page-fault error code: a user-mode access. */
export const PF_U: number = 0x04
/** Page-fault error code: a reserved bit was 1 in an entry. */
export const PF_RSVD: number = 0x08
/** Page-fault error code: an instruction fetch. */
export const PF_I: number = 0x10
/** Page-fault error code: a protection key forbade it. */
export const PF_PK: number = 0x20

/** Attribute of a translation: user-mode address (U/S = 1 in every entry). */
export const ATTR_USER: number = 0x01
/** Attribute of a translation: R/W = 1 in every entry. */
export const ATTR_WRITABLE: number = 0x02
/** Attribute of a translation: XD = 1 in some entry, and EFER.NXE = 1. */
export const ATTR_NO_EXECUTE: number = 0x04
/** Attribute of a translation: the D flag in memory is 1, so a write needs no walk. */
export const ATTR_DIRTY: number = 0x08
/** Attribute of a translation: global (G = 1 and CR4.PGE = 1). */
export const ATTR_GLOBAL: number = 0x10
/** Attribute of a translation: a page larger than 4 KiB. */
export const ATTR_LARGE: number = 0x20
/** Attributes carry the protection key in bits 8–11. */
export const ATTR_KEY_SHIFT: number = 8

/** Control bit: CR0.WP. */
export const CONTROL_WP: number = 0x01
/** Control bit: CR4.SMEP. */
export const CONTROL_SMEP: number = 0x02
/** Control bit: CR4.SMAP. */
export const CONTROL_SMAP: number = 0x04
/** Control bit: protection keys apply (CR4.PKE and long mode). */
export const CONTROL_PKE: number = 0x08
/** Control bit: fetches are told apart in error codes (SMEP, or NXE with PAE or 4-level paging). */
export const CONTROL_FETCH_CODE: number = 0x10

/** Packs what {@link accessFault} needs of the control registers into CONTROL_ bits. */
export function pageControls(cr0: number, cr4: number, efer: number): number {
  let controls = 0
  if (cr0 & CR0_WP) controls |= CONTROL_WP
  if (cr4 & CR4_SMEP) controls |= CONTROL_SMEP | CONTROL_FETCH_CODE
  if (cr4 & CR4_SMAP) controls |= CONTROL_SMAP
  if (cr4 & CR4_PKE && efer & EFER_LMA) controls |= CONTROL_PKE
  if (efer & EFER_NXE && cr4 & CR4_PAE) controls |= CONTROL_FETCH_CODE
  return controls
}

/** The W, U and I bits of the error code that a fault of this access reports. */
export function accessErrorCode(access: number, controls: number): number {
  let code = access & ACCESS_WRITE
  if ((access & (ACCESS_USER | ACCESS_IMPLICIT)) === ACCESS_USER) code |= PF_U
  if (access & ACCESS_FETCH && controls & CONTROL_FETCH_CODE) code |= PF_I
  return code
}

/**
 * Whether a present translation with `attributes` (ATTR_ bits) allows `access` (ACCESS_ bits) under `controls` (CONTROL_ bits) and `pkru`.
 * Returns 0 if so, else the complete page-fault error code, which is never 0.
 */
export function accessFault(attributes: number, access: number, controls: number, pkru: number): number {
  const user = (access & (ACCESS_USER | ACCESS_IMPLICIT)) === ACCESS_USER
  const userPage = (attributes & ATTR_USER) !== 0
  let denied = false
  let key = false
  if (user && !userPage) denied = true
  if (access & ACCESS_FETCH) {
    if (attributes & ATTR_NO_EXECUTE) denied = true
    if (!user && userPage && controls & CONTROL_SMEP) denied = true
  } else {
    const write = (access & ACCESS_WRITE) !== 0
    const obeysWrite = user || (controls & CONTROL_WP) !== 0
    if (write && obeysWrite && !(attributes & ATTR_WRITABLE)) denied = true
    if (userPage) {
      const explicitWithAc = (access & (ACCESS_AC | ACCESS_IMPLICIT)) === ACCESS_AC
      if (!user && controls & CONTROL_SMAP && !explicitWithAc) denied = true
      if (controls & CONTROL_PKE) {
        const rights = (pkru >>> (2 * ((attributes >>> ATTR_KEY_SHIFT) & 15))) & 3
        // PKRU: bit 0 of a pair is AD (no access), bit 1 is WD (no writes).
        if (rights & 1 || (rights & 2 && write && obeysWrite)) key = true
      }
    }
  }
  if (!denied && !key) return 0
  return PF_P | accessErrorCode(access, controls) | (key ? PF_PK : 0)
}
