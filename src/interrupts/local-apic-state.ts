import { StateReader } from '../contracts/state-reader.js'
import { APIC_BASE_EN, APIC_MASKED, APIC_REMOTE_IRR, APIC_SVR_ENABLE } from './apic-registers.js'
import { LVT_ENTRIES, LVT_LINT0, lvtWritable } from './local-apic-lvt.js'
import { validateApicTimerState } from './local-apic-timer.js'
import type { LocalApicState } from './local-apic-types.js'
import { type ApicBaseShape, isApicBase } from './x2apic.js'

/** What of an APIC's construction its saved state must fit. */
export interface LocalApicShape extends ApicBaseShape {
  /** The timer has TSC-deadline mode. */
  readonly tscDeadline: boolean
}

const WORD = 0xffffffff

/** Checks saved state of a local APIC; throws `bad-state`. */
export function validateLocalApicState(state: unknown, shape: LocalApicShape): LocalApicState {
  const fields = new StateReader('local-apic', state, 1)
  const bits = (key: string, mask: number, set = 0): number => {
    const value = fields.int(key, 0, WORD)
    if ((value & ~mask) !== 0 || (value & set) !== set) throw fields.inconsistent(key, 'a value of that register')
    return value
  }
  const vectors = (key: string): number[] => {
    const words = fields.ints(key, 8, 0, WORD)
    if ((words[0]! & 0xffff) !== 0) throw fields.inconsistent(key, 'without the vectors 0 to 15')
    return words
  }
  const base = fields.int('base', 0, Number.MAX_SAFE_INTEGER)
  if (!isApicBase(base, shape)) throw fields.inconsistent('base', 'a value of IA32_APIC_BASE')
  const enabled = (base & APIC_BASE_EN) !== 0
  const svr = bits('svr', 0x13ff)
  const lvt = fields.ints('lvt', LVT_ENTRIES, 0, WORD)
  for (const [entry, value] of lvt.entries()) {
    const status = entry === LVT_LINT0 ? APIC_REMOTE_IRR : 0
    const unmasked = (svr & APIC_SVR_ENABLE) === 0 && (value & APIC_MASKED) === 0
    if ((value & ~(lvtWritable(entry, shape.tscDeadline) | status)) !== 0 || unmasked) {
      throw fields.inconsistent('lvt', 'a list of LVT entries')
    }
  }
  const isr = vectors('isr')
  const irr = vectors('irr')
  if (!enabled && [...isr, ...irr].some((word) => word !== 0)) {
    throw fields.inconsistent('irr', 'empty while the APIC is disabled')
  }
  return {
    version: 1,
    base,
    id: fields.int('id', 0, 0xff),
    tpr: fields.int('tpr', 0, 0xff),
    ldr: bits('ldr', 0xff000000),
    dfr: bits('dfr', WORD, 0x0fffffff),
    svr,
    esr: bits('esr', 0xe0),
    errors: bits('errors', 0xe0),
    errorArmed: fields.bool('errorArmed'),
    icrLow: bits('icrLow', 0xccfff),
    icrHigh: fields.int('icrHigh', 0, WORD),
    isr,
    tmr: vectors('tmr'),
    irr,
    lvt,
    lint0: fields.bool('lint0'),
    lint1: fields.bool('lint1'),
    externalLatched: fields.bool('externalLatched'),
    timer: validateApicTimerState(fields.nested('timer')),
  }
}
