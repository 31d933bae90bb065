/** Compares what the library's processor did with what the real one did. */
import { FLAG_AC, FLAG_DF, FLAG_ID, FLAG_IF, FLAG_NT, FLAG_RF, FLAGS_STATUS, flagNames } from '../../src/isa/index.js'
import { NO_VECTOR, type OracleCase, type OracleResult } from './case.js'
import { compareFp } from './compare-fp.js'
import type { Form } from './forms.js'
import { memoryExempt } from './fp-exempt.js'
import { DATA_BYTES, USER_CS } from './layout.js'
import type { OracleMachine } from './machine.js'
import { type Undefined, undefinedAfter } from './undefined.js'
import { vendorDifference } from './vendor.js'

const REGISTERS = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ')
const SEGMENTS = 'ES CS SS DS FS GS'.split(' ')
/** TF is how the recording steps; RF is compared where a fault saved it. */
const FLAGS_COMPARED = FLAGS_STATUS | FLAG_DF | FLAG_IF | FLAG_NT | FLAG_AC | FLAG_ID

const NOTHING: Undefined = { flags: 0, register: -1, bits: 0n, memory: false }
const expectedData = new Uint8Array(DATA_BYTES)

function hex(value: bigint | number): string {
  return value.toString(16)
}

/** Linux' return to the program that records turns null selectors with a privilege into 0. */
function unnull(selector: number, seg: number): number {
  return selector < 4 && seg !== 1 && seg !== 2 ? 0 : selector
}

/** Differences between the machine after `machine.run` and the recorded result, one line each; none is agreement. */
export function compare(machine: OracleMachine, form: Form, c: OracleCase, want: OracleResult): string[] {
  const got = machine.run(want.steps)
  const differences: string[] = []
  const different = (what: string, ours: bigint | number, theirs: bigint | number): void => {
    if (ours !== theirs) differences.push(`${what} ${hex(ours)}, recorded ${hex(theirs)}`)
  }
  const narrow = form.bits === 64 ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn
  const exempt = vendorDifference(form, c, want, got.vector, got.cs)
  if (exempt.outcome) return []
  different('vector', got.vector, want.vector)
  if (got.vector !== want.vector) return differences
  if (!exempt.address) {
    different('error code', got.error, want.error)
    different('CR2', got.cr2, want.cr2)
  }
  different('RIP', got.rip & narrow, want.rip & narrow)
  const { s } = machine.cpu
  const completed = want.vector === NO_VECTOR
  const masked = completed ? undefinedAfter(form, c, want.flags) : NOTHING
  for (let i = 0; i < (form.bits === 64 ? 16 : 8); i++) {
    if (exempt.registers && i !== 4) continue
    const value = i === 4 ? got.rsp : s.getBig(i * 8)
    let compared = i === 4 && want.selectors[1] !== USER_CS ? 0xffff_ffffn : narrow
    if (i === masked.register) compared &= ~masked.bits
    different(REGISTERS[i]!, value & compared, want.reg[i]! & compared)
  }
  const mask = (FLAGS_COMPARED | (completed || want.vector < 6 ? 0 : FLAG_RF)) & ~masked.flags & ~(exempt.flags ?? 0)
  if ((got.flags & mask) !== (want.flags & mask)) {
    differences.push(`flags ${flagNames(got.flags & mask)}, recorded ${flagNames(want.flags & mask)}`)
  }
  const selectors = [s.selector(0), got.cs, got.ss, s.selector(3), s.selector(4), s.selector(5)]
  for (let i = 0; i < 6; i++) different(SEGMENTS[i]!, unnull(selectors[i]!, i), unnull(want.selectors[i]!, i))
  if (form.bits === 64) {
    different('FS base', BigInt.asUintN(64, BigInt(s.segBase(4))), want.fsBase)
    different('GS base', BigInt.asUintN(64, BigInt(s.segBase(5))), want.gsBase)
  }
  if (want.fp !== undefined) differences.push(...compareFp(machine, form, c, want))
  machine.before(c, expectedData)
  for (const { offset, bytes } of want.changes) expectedData.set(bytes, offset)
  if (want.fp !== undefined) memoryExempt(form, c, want, machine.data, expectedData)
  if (!masked.memory && !exempt.memory && Buffer.compare(machine.data, expectedData) !== 0) {
    for (let i = 0; i < DATA_BYTES; i++) {
      if (machine.data[i] !== expectedData[i]) {
        differences.push(`data byte ${hex(i)} is ${hex(machine.data[i]!)}, recorded ${hex(expectedData[i]!)}`)
        if (differences.length > 8) break
      }
    }
  }
  return differences
}
