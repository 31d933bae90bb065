import { describe, expect, it } from 'vitest'
import {
  asTaskFault,
  checkCallGate,
  checkCallGateTarget,
  checkDataLoad,
  checkFarJump,
  checkFarReturn,
  checkInnerStack,
  checkInterruptGate,
  checkInterruptTarget,
  checkLdtLoad,
  checkNullReturnStack,
  checkNullStackLoad,
  checkSegmentAccess,
  checkStackLoad,
  checkTableLimit,
  checkTaskCode,
  checkTaskLdt,
  checkTaskRegisterLoad,
  checkTaskReturnTss,
  checkTaskSwitchTss,
  checkTssAccess,
  checkUpperWord,
  faultErrorCode,
  faultVector,
  larOk,
  limitOk,
  losesDataSegment,
  lslOk,
  makeFault,
  raisesPrivilege,
  SEGMENT_READ,
  SEGMENT_WRITE,
  toGuestFault,
  verrOk,
  verwOk,
  withExt,
} from '../../src/mmu/index.js'

// The reference works on a descriptor as a set of words, in the terms of the manual's prose, and is checked for every access-rights value.

type Kind =
  | 'data-ro'
  | 'data-rw'
  | 'code-xo'
  | 'code-rx'
  | 'conf-xo'
  | 'conf-rx'
  | 'tss16'
  | 'tss16-busy'
  | 'ldt'
  | 'call16'
  | 'task'
  | 'int16'
  | 'trap16'
  | 'tss'
  | 'tss-busy'
  | 'call'
  | 'int'
  | 'trap'
  | 'reserved'

const SYSTEM: Kind[] = [
  'reserved',
  'tss16',
  'ldt',
  'tss16-busy',
  'call16',
  'task',
  'int16',
  'trap16',
  'reserved',
  'tss',
  'reserved',
  'tss-busy',
  'call',
  'reserved',
  'int',
  'trap',
]
const SEGMENTS: Kind[] = [
  'data-ro',
  'data-ro',
  'data-rw',
  'data-rw',
  'data-ro',
  'data-ro',
  'data-rw',
  'data-rw',
  'code-xo',
  'code-xo',
  'code-rx',
  'code-rx',
  'conf-xo',
  'conf-xo',
  'conf-rx',
  'conf-rx',
]

interface Case {
  attr: number
  kind: Kind
  dpl: number
  present: boolean
  l: boolean
  d: boolean
  rpl: number
  cpl: number
  selector: number
  long: boolean
}

function* generate(): Generator<Case> {
  for (let type = 0; type < 16; type++)
    for (const s of [0, 1])
      for (let dpl = 0; dpl < 4; dpl++)
        for (const p of [0, 1])
          for (const ld of [0, 1, 2, 3])
            for (let rpl = 0; rpl < 4; rpl++)
              for (let cpl = 0; cpl < 4; cpl++) {
                const attr = type + 16 * s + 32 * dpl + 128 * p + 0x2000 * ld
                const kind = (s ? SEGMENTS : SYSTEM)[type]!
                const base = { attr, kind, dpl, present: p === 1, l: (ld & 1) === 1, d: ld > 1, rpl, cpl }
                yield { ...base, selector: 0x58 + rpl, long: false }
                yield { ...base, selector: 0x58 + rpl, long: true }
              }
}

const CASES = [...generate()]
const cases = (): readonly Case[] => CASES

const TS = 10
const NP = 11
const SS = 12
const GP = 13
type Verdict = 'ok' | [number, number]
const isCode = (k: Kind) => k.startsWith('code') || k.startsWith('conf')
const conf = (k: Kind) => k.startsWith('conf')
const readable = (k: Kind) => k.startsWith('data') || k.endsWith('rx')

function verdict(fault: number): Verdict {
  return fault === 0 ? 'ok' : [faultVector(fault), faultErrorCode(fault)]
}

/** An assertion cheap enough for a hundred thousand cases. */
function same(got: unknown, expected: unknown, c: Case): void {
  if (String(got) !== String(expected)) expect({ ...c, got }).toEqual({ ...c, got: expected })
}

/** Compares a check with a list of refusals, the first of which that applies gives the fault. */
function compare(check: (c: Case) => number, rules: (c: Case) => [boolean, number][]): void {
  const wrong: unknown[] = []
  for (const c of cases()) {
    const hit = rules(c).find(([applies]) => applies)
    const fault = check(c)
    const good = hit ? fault !== 0 && faultVector(fault) === hit[1] && faultErrorCode(fault) === 0x58 : fault === 0
    if (!good) wrong.push({ ...c, got: verdict(fault), expected: hit ? [hit[1], 0x58] : 'ok' })
  }
  expect(wrong.slice(0, 3)).toEqual([])
}

describe('loads of segment registers', () => {
  it('DS, ES, FS, GS', () => {
    compare(
      (c) => checkDataLoad(c.selector, c.attr, c.cpl),
      (c) => [
        [!readable(c.kind), GP],
        [!conf(c.kind) && (c.rpl > c.dpl || c.cpl > c.dpl), GP],
        [!c.present, NP],
      ],
    )
  })

  it('SS', () => {
    compare(
      (c) => checkStackLoad(c.selector, c.attr, c.cpl),
      (c) => [
        [c.rpl !== c.cpl, GP],
        [c.kind !== 'data-rw', GP],
        [c.dpl !== c.cpl, GP],
        [!c.present, SS],
      ],
    )
    for (let rpl = 0; rpl < 4; rpl++) {
      for (let cpl = 0; cpl < 4; cpl++) {
        expect(verdict(checkNullStackLoad(rpl, cpl, false))).toEqual([GP, 0])
        expect(verdict(checkNullStackLoad(rpl, cpl, true))).toEqual(cpl < 3 && rpl === cpl ? 'ok' : [GP, 0])
      }
    }
    expect([0, 1, 2, 3].map((cpl) => checkNullReturnStack(cpl, true) === 0)).toEqual([true, true, true, false])
    expect(verdict(checkNullReturnStack(0, false))).toEqual([GP, 0])
  })

  it('the inner stack of a TSS', () => {
    compare(
      (c) => checkInnerStack(c.selector, c.attr, c.cpl),
      (c) => [
        [c.rpl !== c.cpl || c.dpl !== c.cpl || c.kind !== 'data-rw', TS],
        [!c.present, SS],
      ],
    )
    expect(verdict(checkInnerStack(2, 0x93, 0))).toEqual([TS, 0])
  })

  it('LDTR and TR', () => {
    compare(
      (c) => checkLdtLoad(c.selector, c.attr),
      (c) => [
        [c.kind !== 'ldt', GP],
        [!c.present, NP],
      ],
    )
    compare(
      (c) => checkTaskRegisterLoad(c.selector, c.attr, c.long),
      (c) => [
        [c.kind !== 'tss' && !(c.kind === 'tss16' && !c.long), GP],
        [!c.present, NP],
      ],
    )
    expect(verdict(checkLdtLoad(0x0c, 0x82))).toEqual([GP, 0x0c])
    expect(verdict(checkTaskRegisterLoad(0x0c, 0x89, false))).toEqual([GP, 0x0c])
    expect(verdict(checkTaskRegisterLoad(3, 0x89, false))).toEqual([GP, 0])
    expect(verdict(checkTaskLdt(0x08, 0x02))).toEqual([TS, 8])
    expect(verdict(checkTaskLdt(0x08, 0x82))).toBe('ok')
  })
})

describe('far transfers', () => {
  it('JMP and CALL to code', () => {
    compare(
      (c) => checkFarJump(c.selector, c.attr, c.cpl, c.long),
      (c) => [
        [!isCode(c.kind), GP],
        [c.long && c.l && c.d, GP],
        [conf(c.kind) && c.dpl > c.cpl, GP],
        [!conf(c.kind) && (c.rpl > c.cpl || c.dpl !== c.cpl), GP],
        [!c.present, NP],
      ],
    )
    expect(verdict(checkFarJump(2, 0x9a, 0, false))).toEqual([GP, 0])
  })

  it('RET and IRET', () => {
    compare(
      (c) => checkFarReturn(c.selector, c.attr, c.cpl, c.long),
      (c) => [
        [!isCode(c.kind), GP],
        [c.long && c.l && c.d, GP],
        [c.rpl < c.cpl, GP],
        [conf(c.kind) && c.dpl > c.rpl, GP],
        [!conf(c.kind) && c.dpl !== c.rpl, GP],
        [!c.present, NP],
      ],
    )
    expect(verdict(checkFarReturn(3, 0x9a, 0, false))).toEqual([GP, 0])
    const kept = (c: Case) => conf(c.kind) || c.dpl >= c.cpl
    for (const c of cases()) same(losesDataSegment(c.attr, c.cpl), !kept(c), c)
  })

  it('call gates and what is behind them', () => {
    compare(
      (c) => checkCallGate(c.selector, c.attr, c.cpl),
      (c) => [
        [c.dpl < c.cpl || c.rpl > c.dpl, GP],
        [!c.present, NP],
      ],
    )
    for (const jump of [false, true]) {
      compare(
        (c) => checkCallGateTarget(c.selector, c.attr, c.cpl, jump, c.long),
        (c) => [
          [!isCode(c.kind) || c.dpl > c.cpl, GP],
          [c.long && !(c.l && !c.d), GP],
          [jump && !conf(c.kind) && c.dpl !== c.cpl, GP],
          [!c.present, NP],
        ],
      )
    }
    expect(verdict(checkCallGateTarget(1, 0x9a, 0, false, false))).toEqual([GP, 0])
    for (const c of cases()) same(raisesPrivilege(c.attr, c.cpl), !conf(c.kind) && c.dpl < c.cpl, c)
  })

  it('task switches', () => {
    const available = (k: Kind) => k === 'tss' || k === 'tss16'
    compare(
      (c) => checkTssAccess(c.selector, c.attr, c.cpl),
      (c) => [
        [c.dpl < c.cpl || c.dpl < c.rpl, GP],
        [!available(c.kind), GP],
        [!c.present, NP],
      ],
    )
    compare(
      (c) => checkTaskSwitchTss(c.selector, c.attr),
      (c) => [
        [!available(c.kind), GP],
        [!c.present, NP],
      ],
    )
    compare(
      (c) => checkTaskReturnTss(c.selector, c.attr),
      (c) => [
        [c.kind !== 'tss-busy' && c.kind !== 'tss16-busy', TS],
        [!c.present, NP],
      ],
    )
    compare(
      (c) => checkTaskCode(c.selector, c.attr),
      (c) => [
        [!isCode(c.kind), TS],
        [conf(c.kind) ? c.dpl > c.rpl : c.dpl !== c.rpl, TS],
        [!c.present, NP],
      ],
    )
    expect(verdict(checkTaskSwitchTss(0x5c, 0x89))).toEqual([GP, 0x5c])
    expect(verdict(checkTaskReturnTss(0x5c, 0x8b))).toEqual([TS, 0x5c])
  })
})

describe('interrupts', () => {
  it('gates', () => {
    for (const c of cases()) {
      for (const software of [false, true]) {
        const types: Kind[] = c.long ? ['int', 'trap'] : ['int', 'trap', 'int16', 'trap16', 'task']
        const expected: Verdict =
          !types.includes(c.kind) || (software && c.dpl < c.cpl)
            ? [GP, 0x80 * 8 + 2]
            : c.present
              ? 'ok'
              : [NP, 0x80 * 8 + 2]
        same(verdict(checkInterruptGate(0x80, c.attr, c.cpl, software, c.long)), expected, c)
      }
    }
  })

  it('handlers', () => {
    compare(
      (c) => checkInterruptTarget(c.selector, c.attr, c.cpl, c.long),
      (c) => [
        [!isCode(c.kind) || c.dpl > c.cpl, GP],
        [c.long && !(c.l && !c.d), GP],
        [!c.present, NP],
      ],
    )
    compare(
      (c) => checkInterruptTarget(c.selector, c.attr, 3, false, true),
      (c) => [
        [!isCode(c.kind), GP],
        [!c.present, NP],
        [conf(c.kind) || c.dpl !== 0, GP],
      ],
    )
    expect(verdict(checkInterruptTarget(0, 0x9a, 0, false))).toEqual([GP, 0])
  })
})

describe('LAR, LSL, VERR, VERW', () => {
  it('follow the tables of the manual', () => {
    const privileged = (c: Case) => !conf(c.kind) && (c.cpl > c.dpl || c.rpl > c.dpl)
    const lar: Kind[] = ['tss16', 'ldt', 'tss16-busy', 'call16', 'task', 'tss', 'tss-busy', 'call']
    const larLong: Kind[] = ['ldt', 'tss', 'tss-busy', 'call']
    const lsl: Kind[] = ['tss16', 'ldt', 'tss16-busy', 'tss', 'tss-busy']
    const lslLong: Kind[] = ['ldt', 'tss', 'tss-busy']
    for (const c of cases()) {
      const segment = isCode(c.kind) || c.kind.startsWith('data')
      same(
        larOk(c.selector, c.attr, c.cpl, c.long),
        (segment || (c.long ? larLong : lar).includes(c.kind)) && !privileged(c),
        c,
      )
      same(
        lslOk(c.selector, c.attr, c.cpl, c.long),
        (segment || (c.long ? lslLong : lsl).includes(c.kind)) && !privileged(c),
        c,
      )
      same(verrOk(c.selector, c.attr, c.cpl), readable(c.kind) && !privileged(c), c)
      same(verwOk(c.selector, c.attr, c.cpl), c.kind === 'data-rw' && !privileged(c), c)
    }
  })
})

describe('limits', () => {
  it('agree with counting bytes', () => {
    for (const [attr, top] of [
      [0x93, 0],
      [0x97, 0xffff],
      [0x4097, 0xffffffff],
      [0x9b, 0],
      [0x9f, 0],
    ] as const) {
      for (const limit of [0, 1, 0xfff, 0xfffe, 0xffff, 0x10000, 0xfffffffe]) {
        for (const offset of [
          0, 1, 0xffe, 0xfff, 0x1000, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x10001, 0xfffffffd, 0xffffffff,
        ]) {
          for (const size of [1, 2, 4, 8]) {
            const inside = (at: number) => (top === 0 ? at <= limit : at > limit && at <= top)
            const all = Array.from({ length: size }, (_, i) => offset + i).every(inside)
            expect(limitOk(attr, limit, offset, size)).toBe(all)
          }
        }
      }
    }
    expect(limitOk(0x93, 0xffffffff, 0xffffffff, 4)).toBe(true)
  })

  it('and types give #GP(0), or #SS(0) through SS', () => {
    expect(checkSegmentAccess(0x93, 0xff, 0xfc, 4, SEGMENT_WRITE, false)).toBe(0)
    expect(toGuestFault(checkSegmentAccess(0x93, 0xff, 0xfd, 4, SEGMENT_READ, true))).toEqual({
      vector: SS,
      errorCode: 0,
    })
    expect(toGuestFault(checkSegmentAccess(0x91, 0xff, 0, 1, SEGMENT_WRITE, false))).toEqual({
      vector: GP,
      errorCode: 0,
    })
    expect(checkSegmentAccess(0x91, 0xff, 0, 1, SEGMENT_READ, false)).toBe(0)
    expect(checkSegmentAccess(0x99, 0xff, 0, 1, SEGMENT_READ, false)).not.toBe(0)
    expect(checkSegmentAccess(0x9b, 0xff, 0, 1, SEGMENT_READ, false)).toBe(0)
    expect(checkSegmentAccess(0x9b, 0xff, 0, 1, SEGMENT_WRITE, false)).not.toBe(0)
    expect(checkSegmentAccess(0x13, 0xff, 0, 1, SEGMENT_READ, false)).not.toBe(0)
  })

  it('of tables count whole descriptors', () => {
    expect(checkTableLimit(0x0b, 0x0f)).toBe(0)
    expect(verdict(checkTableLimit(0x0f, 0x0e))).toEqual([GP, 0x0c])
    expect(verdict(checkTableLimit(0x08, 0x0f, 16))).toEqual([GP, 0x08])
    expect(verdict(checkUpperWord(0x08, 0x0100))).toEqual([GP, 0x08])
    expect(checkUpperWord(0x08, 0xffffe0ff)).toBe(0)
  })
})

describe('packed faults', () => {
  it('carry vector and error code', () => {
    const fault = makeFault(GP, 0)
    expect(fault).not.toBe(0)
    expect(verdict(withExt(makeFault(NP, 0x58)))).toEqual([NP, 0x59])
    expect(withExt(0)).toBe(0)
    expect(verdict(asTaskFault(makeFault(GP, 8)))).toEqual([TS, 8])
    expect(verdict(asTaskFault(makeFault(SS, 8)))).toEqual([SS, 8])
    expect(asTaskFault(0)).toBe(0)
  })
})
