import fc from 'fast-check'
import {
  ACCESS_AC,
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_USER,
  ACCESS_WRITE,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PGE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  type PagingConfiguration,
} from '../../src/mmu/index.js'
import type { Access, Setting } from './reference-walk.js'

/** The library's form of a setting. */
export function configuration(s: Setting): PagingConfiguration {
  return {
    cr0: CR0_PE | CR0_PG | (s.wp ? CR0_WP : 0),
    cr3: s.cr3,
    cr4:
      (s.pse ? CR4_PSE : 0) |
      (s.mode === '32-bit' ? 0 : CR4_PAE) |
      (s.pge ? CR4_PGE : 0) |
      (s.smep ? CR4_SMEP : 0) |
      (s.smap ? CR4_SMAP : 0) |
      (s.pke ? CR4_PKE : 0),
    efer: (s.mode === '4-level' ? EFER_LME | EFER_LMA : 0) | (s.nxe ? EFER_NXE : 0),
    pkru: s.pkru,
    maxPhysicalBits: s.maxPhysicalBits,
    gigabytePages: s.gigabytePages,
    pse36: s.pse36,
  }
}

/** The library's form of an access. */
export function accessBits(a: Access): number {
  return (
    (a.kind === 'write' ? ACCESS_WRITE : a.kind === 'fetch' ? ACCESS_FETCH : 0) |
    (a.user ? ACCESS_USER : 0) |
    (a.implicit ? ACCESS_IMPLICIT : 0) |
    (a.ac ? ACCESS_AC : 0)
  )
}

/** True one time in twelve. */
export const rarely: fc.Arbitrary<boolean> = fc.nat({ max: 11 }).map((n) => n === 0)
/** False one time in twelve. */
export const mostly: fc.Arbitrary<boolean> = rarely.map((b) => !b)

/** Any paging mode with any features. */
export const setting: fc.Arbitrary<Setting> = fc.record({
  mode: fc.constantFrom('32-bit', 'pae', '4-level'),
  cr3: fc.constantFrom(0, 0x1000, 0x2018, 0x3fe0),
  wp: fc.boolean(),
  pse: mostly,
  pge: fc.boolean(),
  smep: fc.boolean(),
  smap: fc.boolean(),
  pke: fc.boolean(),
  nxe: mostly,
  pkru: fc.nat({ max: 0xffffffff }),
  maxPhysicalBits: fc.constantFrom(32, 36, 39, 40, 46, 52),
  gigabytePages: mostly,
  pse36: mostly,
})

/** Any access. */
export const access: fc.Arbitrary<Access> = fc.record({
  kind: fc.constantFrom('read', 'write', 'fetch'),
  user: fc.boolean(),
  implicit: rarely,
  ac: fc.boolean(),
})
