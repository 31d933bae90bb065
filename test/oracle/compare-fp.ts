/** Compares x87 and SSE state. */
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import type { Form } from './forms.js'
import { isX87 } from './forms-fp.js'
import { APPROXIMATE, openStatus, pointersKnown, TRANSCENDENTAL, transitionOpen } from './fp-exempt.js'
import { FP_BYTES, FP_FCW, FP_FIP, FP_FOP, FP_FSW, FP_MXCSR, FP_R, FP_TAG, FP_XMM } from './fp-state.js'
import { DATA_BYTES } from './layout.js'
import type { OracleMachine } from './machine.js'

const ours = new DataView(new ArrayBuffer(FP_BYTES))
const memory = new Uint8Array(DATA_BYTES)
const source = new DataView(new ArrayBuffer(4))
const CONTROL = { FCW: FP_FCW, FTAG: FP_TAG } as const

function hex(value: bigint | number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** An extended number as an integer in units of its last place: neighbours differ by 1. */
function ordinal(high: number, low: bigint): bigint {
  // The integer bit is implied by the exponent.
  const magnitude = (BigInt(high & 0x7fff) << 63n) | (low & 0x7fff_ffff_ffff_ffffn)
  return high & 0x8000 ? -magnitude : magnitude
}

function withinUlp(a: DataView, b: DataView, at: number): boolean {
  const x = ordinal(a.getUint16(at + 8, true), a.getBigUint64(at, true))
  const y = ordinal(b.getUint16(at + 8, true), b.getBigUint64(at, true))
  const distance = x - y
  return distance >= -1n && distance <= 1n
}

/** "RCPPS": between these bounds the result may be tiny, and is then zero, or the smallest normal number. */
function mayBeTiny(x: number): boolean {
  return Math.abs(x) >= 2 ** 125 * (2 - 3 * 2 ** -12) && Math.abs(x) <= 2 ** 126 * (1 + 3 * 2 ** -13)
}

/** Is `y` as near to the reciprocal (square root) of `x` as the manual promises? Only asked where the recorded result is an ordinary number. */
function approximates(mnemonic: string, x: number, y: number): boolean {
  const exact = mnemonic.startsWith('rcp') ? 1 / x : 1 / Math.sqrt(x)
  return Math.abs((y - exact) / exact) <= 1.5 * 2 ** -12
}

/** Differences, one line each. */
export function compareFp(machine: OracleMachine, form: Form, c: OracleCase, want: OracleResult): string[] {
  const differences: string[] = []
  machine.saveFp(ours)
  const theirs = new DataView(want.fp!.buffer, want.fp!.byteOffset, FP_BYTES)
  const { mnemonic } = form.row
  const done = want.vector === NO_VECTOR
  const moved = transitionOpen(form, want)
  for (const [name, at] of Object.entries(CONTROL)) {
    if (moved && at === FP_TAG) continue
    const a = ours.getUint16(at, true)
    const b = theirs.getUint16(at, true)
    if (a !== b) differences.push(`${name} ${hex(a, 4)}, recorded ${hex(b, 4)}`)
  }
  const open = (done ? openStatus(form, c, want) : 0) | (moved ? 0x3800 : 0)
  const fsw = ours.getUint16(FP_FSW, true)
  const recorded = theirs.getUint16(FP_FSW, true)
  if (((fsw ^ recorded) & ~open) !== 0) differences.push(`FSW ${hex(fsw, 4)}, recorded ${hex(recorded, 4)}`)
  const mxcsr = ours.getUint32(FP_MXCSR, true)
  const other = theirs.getUint32(FP_MXCSR, true)
  if (mxcsr !== other) differences.push(`MXCSR ${hex(mxcsr, 4)}, recorded ${hex(other, 4)}`)
  const bound = done && TRANSCENDENTAL.test(mnemonic)
  for (let i = 0; i < 8; i++) {
    const at = FP_R + i * 16
    const low = ours.getBigUint64(at, true)
    const high = ours.getUint16(at + 8, true)
    const low2 = theirs.getBigUint64(at, true)
    const high2 = theirs.getUint16(at + 8, true)
    if (low === low2 && high === high2) continue
    if (bound && withinUlp(ours, theirs, at)) continue
    differences.push(`R${i} ${hex(high, 4)}:${hex(low, 16)}, recorded ${hex(high2, 4)}:${hex(low2, 16)}`)
  }
  const approximate = done && APPROXIMATE.test(mnemonic)
  for (let i = 0; i < (form.bits === 64 ? 16 : 8); i++) {
    const at = FP_XMM + i * 16
    if (
      ours.getBigUint64(at, true) === theirs.getBigUint64(at, true) &&
      ours.getBigUint64(at + 8, true) === theirs.getBigUint64(at + 8, true)
    )
      continue
    if (approximate && approximateLanes(machine, form, c, theirs, at)) continue
    const word = (view: DataView): string =>
      hex((view.getBigUint64(at + 8, true) << 64n) | view.getBigUint64(at, true), 32)
    differences.push(`XMM${i} ${word(ours)}, recorded ${word(theirs)}`)
  }
  if (isX87(form.row) && pointersKnown(form, c, want)) {
    const a = ours.getBigUint64(FP_FIP, true)
    const b = theirs.getBigUint64(FP_FIP, true)
    if (a !== b) differences.push(`FIP ${hex(a, 1)}, recorded ${hex(b, 1)}`)
    const fop = ours.getUint16(FP_FOP, true)
    const fop2 = theirs.getUint16(FP_FOP, true)
    if (fop !== fop2) differences.push(`FOP ${hex(fop, 3)}, recorded ${hex(fop2, 3)}`)
  }
  return differences
}

/** Every lane the same, or near enough to the exact result. */
function approximateLanes(machine: OracleMachine, form: Form, c: OracleCase, theirs: DataView, at: number): boolean {
  if (form.memory) machine.before(c, memory)
  for (let lane = 0; lane < 16; lane += 4) {
    if (ours.getUint32(at + lane, true) === theirs.getUint32(at + lane, true)) continue
    for (let i = 0; i < 4; i++) {
      source.setUint8(
        i,
        form.memory ? memory[c.operandByte(lane + i)]! : c.fp!.bytes[FP_XMM + c.rmOperand * 16 + lane + i]!,
      )
    }
    const x = source.getFloat32(0, true)
    const recorded = theirs.getFloat32(at + lane, true)
    if (form.row.mnemonic.startsWith('rcp') && mayBeTiny(x)) continue
    if (!Number.isFinite(recorded) || recorded === 0) return false
    const { mnemonic } = form.row
    if (!approximates(mnemonic, x, ours.getFloat32(at + lane, true)) || !approximates(mnemonic, x, recorded))
      return false
  }
  return true
}
