/**
 * A page walk written for these tests alone, on BigInt entries and straight from the tables of formats in the manual ("Formats of CR3 and
 * Paging-Structure Entries"), to compare the library's with.
 */
export interface Setting {
  mode: '32-bit' | 'pae' | '4-level'
  cr3: number
  wp: boolean
  pse: boolean
  pge: boolean
  smep: boolean
  smap: boolean
  pke: boolean
  nxe: boolean
  pkru: number
  maxPhysicalBits: number
  gigabytePages: boolean
  pse36: boolean
}

export interface Access {
  kind: 'read' | 'write' | 'fetch'
  user: boolean
  implicit: boolean
  ac: boolean
}

export interface Answer {
  fault: number | undefined
  physical: bigint
  pageSize: number
  user: boolean
  writable: boolean
  noExecute: boolean
  global: boolean
  key: number
  /** Entries to write back: physical address and new value. */
  updates: Map<number, bigint>
}

const bit = (value: bigint, n: number): boolean => ((value >> BigInt(n)) & 1n) === 1n
const bits = (value: bigint, high: number, low: number): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n)

/** Reads of an entry of 4 or 8 bytes. */
export type ReadEntry = (address: number, size: 4 | 8) => bigint

/** Whether a 4-entry PAE directory-pointer table may be loaded. */
export function goodPdptes(s: Setting, read: ReadEntry): boolean {
  const base = Math.floor((s.cr3 % 2 ** 32) / 32) * 32
  for (let i = 0; i < 4; i++) {
    const e = read(base + 8 * i, 8)
    if (!bit(e, 0)) continue
    if (bits(e, 2, 1) !== 0n || bits(e, 8, 5) !== 0n || bits(e, 63, s.maxPhysicalBits) !== 0n) return false
  }
  return true
}

/** The four directory pointers as the processor keeps them. */
export function loadPdptes(s: Setting, read: ReadEntry): bigint[] {
  const base = Math.floor((s.cr3 % 2 ** 32) / 32) * 32
  return [0, 1, 2, 3].map((i) => read(base + 8 * i, 8))
}

export function reference(
  s: Setting,
  linear: number,
  access: Access,
  read: ReadEntry,
  pdptes: readonly bigint[] = [],
): Answer {
  const la = BigInt.asUintN(64, BigInt(linear))
  const M = s.maxPhysicalBits
  const supervisor = !access.user || access.implicit
  const answer: Answer = {
    fault: undefined,
    physical: 0n,
    pageSize: 4096,
    user: true,
    writable: true,
    noExecute: false,
    global: false,
    key: 0,
    updates: new Map(),
  }
  const entries: { address: number; value: bigint; leaf: boolean }[] = []
  const fault = (p: boolean, rsvd: boolean, pk: boolean): Answer => {
    let code = 0
    if (p) code += 1
    if (access.kind === 'write') code += 2
    if (!supervisor) code += 4
    if (rsvd) code += 8
    if (access.kind === 'fetch' && (s.smep || (s.nxe && s.mode !== '32-bit'))) code += 16
    if (pk) code += 32
    return { ...answer, fault: code, updates: new Map() }
  }

  const levels =
    s.mode === '32-bit'
      ? [
          { n: 2, hi: 31, lo: 22, span: 22 },
          { n: 1, hi: 21, lo: 12, span: 12 },
        ]
      : [
          ...(s.mode === '4-level'
            ? [
                { n: 4, hi: 47, lo: 39, span: 39 },
                { n: 3, hi: 38, lo: 30, span: 30 },
              ]
            : [{ n: 3, hi: 31, lo: 30, span: 30 }]),
          { n: 2, hi: 29, lo: 21, span: 21 },
          { n: 1, hi: 20, lo: 12, span: 12 },
        ]
  const wide = s.mode !== '32-bit'
  let table = s.mode === 'pae' ? Math.floor(s.cr3 / 32) * 32 : Math.floor(s.cr3 / 4096) * 4096
  for (const level of levels) {
    const address = table + Number(bits(la, level.hi, level.lo)) * (wide ? 8 : 4)
    const pdpte = s.mode === 'pae' && level.n === 3
    const e = pdpte ? pdptes[Number(bits(la, 31, 30))]! : read(address, wide ? 8 : 4)
    if (!bit(e, 0)) return fault(false, false, false)
    const pageSizeBit = bit(e, 7) && (s.mode !== '32-bit' || s.pse)
    const large = !pdpte && level.n > 1 && pageSizeBit
    let reserved = false
    if (wide && !pdpte) {
      reserved ||= M < 52 && bits(e, 51, M) !== 0n
      reserved ||= s.mode === 'pae' && bits(e, 62, 52) !== 0n
      reserved ||= bit(e, 63) && !s.nxe
      reserved ||= level.n === 4 && bit(e, 7)
      reserved ||= level.n === 3 && bit(e, 7) && !s.gigabytePages
      if (large && level.n === 3) reserved ||= bits(e, 29, 13) !== 0n
      if (large && level.n === 2) reserved ||= bits(e, 20, 13) !== 0n
    } else if (large) {
      // "bits 21:(M–19) reserved", and without PSE-36 all of 21:13.
      const m = s.pse36 ? Math.min(M, 40) : 32
      reserved ||= bits(e, 21, m - 19) !== 0n
    }
    if (reserved) return fault(true, true, false)
    if (!pdpte) {
      if (!bit(e, 1)) answer.writable = false
      if (!bit(e, 2)) answer.user = false
      if (wide && bit(e, 63)) answer.noExecute = true
    }
    const leaf = large || level.n === 1
    if (!pdpte) entries.push({ address, value: e, leaf })
    if (!leaf) {
      table = Number(bits(e, wide ? 51 : 31, 12)) * 4096
      continue
    }
    const offset = la & ((1n << BigInt(level.span)) - 1n)
    const base =
      s.mode === '32-bit' && large
        ? (bits(e, 20, 13) << 32n) | (bits(e, 31, 22) << 22n)
        : bits(e, wide ? 51 : 31, level.span) << BigInt(level.span)
    answer.physical = base | offset
    answer.pageSize = 2 ** level.span
    answer.global = bit(e, 8) && s.pge
    if (s.mode === '4-level') answer.key = Number(bits(e, 62, 59))
    break
  }

  // "Determination of Access Rights", clause by clause.
  let allowed: boolean
  let pk = false
  if (s.pke && s.mode === '4-level' && answer.user && access.kind !== 'fetch') {
    const ad = (s.pkru >>> (2 * answer.key)) & 1
    const wd = (s.pkru >>> (2 * answer.key + 1)) & 1
    pk = ad === 1 || (wd === 1 && access.kind === 'write' && (s.wp || !supervisor))
  }
  if (supervisor) {
    const smapOk = !s.smap || (access.ac && !access.implicit)
    if (access.kind === 'read') allowed = !answer.user || smapOk
    else if (access.kind === 'write') {
      const writeOk = s.wp ? answer.writable : true
      allowed = answer.user ? writeOk && smapOk : writeOk
    } else allowed = answer.user ? !s.smep && !answer.noExecute : !answer.noExecute
  } else if (!answer.user) allowed = false
  else if (access.kind === 'read') allowed = true
  else if (access.kind === 'write') allowed = answer.writable
  else allowed = !answer.noExecute
  if (!allowed || pk) return fault(true, false, pk)
  for (const { address, value, leaf } of entries) {
    const now = answer.updates.get(address) ?? value
    const next = now | 0x20n | (leaf && access.kind === 'write' ? 0x40n : 0n)
    if (next !== now) answer.updates.set(address, next)
  }
  return answer
}
