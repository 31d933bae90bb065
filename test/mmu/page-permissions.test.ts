import { describe, expect, it } from 'vitest'
import {
  ACCESS_AC,
  ACCESS_FETCH,
  ACCESS_IMPLICIT,
  ACCESS_USER,
  ACCESS_WRITE,
  ATTR_KEY_SHIFT,
  ATTR_NO_EXECUTE,
  ATTR_USER,
  ATTR_WRITABLE,
  accessFault,
  CONTROL_FETCH_CODE,
  CONTROL_PKE,
  CONTROL_SMAP,
  CONTROL_SMEP,
  CONTROL_WP,
  CR0_WP,
  CR4_PAE,
  CR4_PKE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  PF_I,
  PF_P,
  PF_PK,
  PF_U,
  PF_W,
  pageControls,
} from '../../src/mmu/index.js'

/**
 * The manual's clauses as a table: who (u: CPL 3, s: supervisor, i: implicit supervisor), what (r, w, x), the page (U/S, R/W, XD),
 * then what must be set (upper case) or clear (lower case) for the access to be allowed: W CR0.WP, P SMEP, A SMAP, C EFLAGS.AC.
 * Several alternatives are separated by a space; * is always, - is never.
 * Source: Intel SDM Vol. 3A, "Determination of Access Rights".
 */
const TABLE: readonly [who: string, what: string, page: string, allowed: string][] = [
  ['s', 'r', 'S??', '*'],
  ['i', 'r', 'S??', '*'],
  ['s', 'r', 'U??', 'a C'],
  ['i', 'r', 'U??', 'a'],
  ['s', 'w', 'SW?', '*'],
  ['i', 'w', 'SW?', '*'],
  ['s', 'w', 'SR?', 'w'],
  ['i', 'w', 'SR?', 'w'],
  ['s', 'w', 'UW?', 'a C'],
  ['i', 'w', 'UW?', 'a'],
  ['s', 'w', 'UR?', 'wa wC'],
  ['i', 'w', 'UR?', 'wa'],
  ['s', 'x', 'S?X', '*'],
  ['s', 'x', 'S?N', '-'],
  ['s', 'x', 'U?X', 'p'],
  ['s', 'x', 'U?N', '-'],
  ['u', '?', 'S??', '-'],
  ['u', 'r', 'U??', '*'],
  ['u', 'w', 'UW?', '*'],
  ['u', 'w', 'UR?', '-'],
  ['u', 'x', 'U?X', '*'],
  ['u', 'x', 'U?N', '-'],
]

const fits = (pattern: string, text: string): boolean => [...pattern].every((c, i) => c === '?' || c === text[i])

describe('accessFault', () => {
  it('allows exactly what the manual allows', () => {
    let cases = 0
    for (const who of ['u', 's', 'i'])
      for (const what of ['r', 'w', 'x'])
        for (const us of ['U', 'S'])
          for (const rw of ['W', 'R'])
            for (const nx of ['X', 'N'])
              for (let state = 0; state < 16; state++) {
                if (who === 'i' && what === 'x') continue
                const rows = TABLE.filter(([w, k, page]) => fits(w, who) && fits(k, what) && fits(page, us + rw + nx))
                expect(rows.length, who + what + us + rw + nx).toBe(1)
                const on = { w: state & 1, p: state & 2, a: state & 4, c: state & 8 }
                const holds = (c: string): boolean => {
                  const value = on[c.toLowerCase() as keyof typeof on] !== 0
                  return c === c.toUpperCase() ? value : !value
                }
                const allowed = rows[0]![3].split(' ').some((a) => a === '*' || (a !== '-' && [...a].every(holds)))
                const attributes =
                  (us === 'U' ? ATTR_USER : 0) | (rw === 'W' ? ATTR_WRITABLE : 0) | (nx === 'N' ? ATTR_NO_EXECUTE : 0)
                // An implicit access is a supervisor one at any CPL.
                for (const cpl3 of who === 'i' ? [0, ACCESS_USER] : [who === 'u' ? ACCESS_USER : 0]) {
                  const access =
                    cpl3 |
                    (who === 'i' ? ACCESS_IMPLICIT : 0) |
                    (what === 'w' ? ACCESS_WRITE : what === 'x' ? ACCESS_FETCH : 0) |
                    (on.c ? ACCESS_AC : 0)
                  const controls =
                    (on.w ? CONTROL_WP : 0) | (on.p ? CONTROL_SMEP : 0) | (on.a ? CONTROL_SMAP : 0) | CONTROL_FETCH_CODE
                  const code = PF_P | (what === 'w' ? PF_W : 0) | (who === 'u' ? PF_U : 0) | (what === 'x' ? PF_I : 0)
                  expect(accessFault(attributes, access, controls, 0xffffffff)).toBe(allowed ? 0 : code)
                  cases++
                }
              }
    expect(cases).toBe(16 * 8 * (3 + 3 + 4))
  })

  it('applies protection keys to data of user pages', () => {
    const key = 5
    const page = ATTR_USER | ATTR_WRITABLE | (key << ATTR_KEY_SHIFT)
    const AD = 1 << (2 * key)
    const WD = 2 << (2 * key)
    const check = (access: number, pkru: number, controls = 0, attributes = page) =>
      accessFault(attributes, access, controls | CONTROL_PKE, pkru)
    expect(check(ACCESS_USER, AD)).toBe(PF_P | PF_U | PF_PK)
    expect(check(0, AD)).toBe(PF_P | PF_PK)
    expect(check(ACCESS_IMPLICIT | ACCESS_USER, AD)).toBe(PF_P | PF_PK)
    expect(check(ACCESS_USER | ACCESS_FETCH, AD | WD)).toBe(0)
    expect(check(ACCESS_USER, WD)).toBe(0)
    expect(check(ACCESS_USER | ACCESS_WRITE, WD)).toBe(PF_P | PF_W | PF_U | PF_PK)
    // Supervisor writes obey WD only with CR0.WP.
    expect(check(ACCESS_WRITE, WD)).toBe(0)
    expect(check(ACCESS_WRITE, WD, CONTROL_WP)).toBe(PF_P | PF_W | PF_PK)
    expect(check(0, ~(AD | WD))).toBe(0)
    expect(check(0, 0xffffffff, 0, page & ~ATTR_USER)).toBe(0)
    // Both reasons at once: the key bit is reported too.
    expect(check(ACCESS_USER | ACCESS_WRITE, AD, 0, page & ~ATTR_WRITABLE)).toBe(PF_P | PF_W | PF_U | PF_PK)
    expect(accessFault(page, ACCESS_USER, 0, AD)).toBe(0)
  })

  it('derives its controls from the registers', () => {
    expect(pageControls(CR0_WP, 0, 0)).toBe(CONTROL_WP)
    expect(pageControls(0, CR4_SMEP, 0)).toBe(CONTROL_SMEP | CONTROL_FETCH_CODE)
    expect(pageControls(0, CR4_SMAP, 0)).toBe(CONTROL_SMAP)
    expect(pageControls(0, CR4_PKE, 0)).toBe(0)
    expect(pageControls(0, CR4_PKE | CR4_PAE, EFER_LMA)).toBe(CONTROL_PKE)
    // NXE counts only where entries have an XD bit.
    expect(pageControls(0, 0, EFER_NXE)).toBe(0)
    expect(pageControls(0, CR4_PAE, EFER_NXE)).toBe(CONTROL_FETCH_CODE)
  })
})
