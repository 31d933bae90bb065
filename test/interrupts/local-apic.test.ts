import { describe, expect, test } from 'vitest'
import type { Clock } from '../../src/contracts/clock.js'
import { VirtkitError } from '../../src/contracts/errors.js'
import type { EventMap, EventSink } from '../../src/contracts/events.js'
import { ApicBus } from '../../src/interrupts/apic-bus.js'
import * as R from '../../src/interrupts/apic-registers.js'
import { LocalApic } from '../../src/interrupts/local-apic.js'
import type { LocalApicOptions, LocalApicState } from '../../src/interrupts/local-apic-types.js'
import { PicPair } from '../../src/interrupts/pic-pair.js'
import { ManualClock } from '../manual-clock.js'

const BSP = 0xfee00900n
const X2APIC = 0xfee00d00n

/** A local APIC of one tick per nanosecond with a core that keeps a diary. */
function make(options: Partial<LocalApicOptions> = {}) {
  const clock = new ManualClock()
  const bus = options.bus ?? new ApicBus()
  const diary: string[] = []
  const tscOffset = { value: 1000n }
  const apic = new LocalApic({
    id: 0,
    clock,
    bus,
    frequency: 1e9,
    bootstrap: true,
    core: {
      nmi: () => diary.push('nmi'),
      smi: () => diary.push('smi'),
      init: () => diary.push('init'),
      startUp: (vector) => diary.push(`start-up ${vector.toString(16)}`),
    },
    // Two counts per nanosecond.
    tsc: {
      readTsc: () => BigInt(Math.floor(clock.now() * 2)) + tscOffset.value,
      timeOfTsc: (value) => Number(value - tscOffset.value) / 2,
    },
    ...options,
  })
  const read = (offset: number): number => apic.readMmio(offset, 4)
  const write = (offset: number, value: number): void => apic.writeMmio(offset, 4, value)
  return { apic, bus, clock, diary, read, write, tscOffset }
}

/** The same, enabled by software. */
function enabled(options: Partial<LocalApicOptions> = {}) {
  const parts = make(options)
  parts.write(R.APIC_SVR, 0x1ff)
  return parts
}

/** A wire and interrupt source in one, as an 8259A is one. */
function external() {
  return { pending: false, acknowledged: 0, acknowledge: () => 0x68 }
}

describe('state after reset (SDM, "Local APIC State After Power-Up or Reset")', () => {
  test('registers', () => {
    const { apic, read } = make({ id: 5 })
    expect(read(R.APIC_ID)).toBe(0x05000000)
    expect(read(R.APIC_VERSION)).toBe(0x01050014)
    for (const offset of [R.APIC_TPR, R.APIC_APR, R.APIC_PPR, R.APIC_LDR, R.APIC_ESR, R.APIC_ICR, R.APIC_ICR_HIGH])
      expect(read(offset)).toBe(0)
    for (const offset of [R.APIC_TIMER_INITIAL, R.APIC_TIMER_CURRENT, R.APIC_TIMER_DIVIDE]) expect(read(offset)).toBe(0)
    for (let n = 0; n < 24; n++) expect(read(R.APIC_ISR + n * 16)).toBe(0)
    expect(read(R.APIC_DFR)).toBe(0xffffffff)
    expect(read(R.APIC_SVR)).toBe(0xff)
    for (let offset = R.APIC_LVT_TIMER; offset <= R.APIC_LVT_ERROR; offset += 16) expect(read(offset)).toBe(0x10000)
    expect(apic.readMsr(R.MSR_APIC_BASE)).toBe(BSP)
    expect(make({ bootstrap: false }).apic.readMsr(R.MSR_APIC_BASE)).toBe(0xfee00800n)
    expect(apic.mode).toBe('xapic')
    expect(apic.baseAddress).toBe(0xfee00000)
    expect(apic.pending).toBe(false)
  })

  test('INIT keeps the ID and IA32_APIC_BASE, reset does not', () => {
    const { apic, read, write } = enabled({ id: 3 })
    write(R.APIC_ID, 0x42000000)
    write(R.APIC_LVT_LINT0, 0x700)
    write(R.APIC_TPR, 0x55)
    apic.accept(R.APIC_DELIVERY.FIXED, 0x77, false)
    expect(apic.writeMsr(R.MSR_APIC_BASE, 0x12345900n)).toBe(true)
    apic.init()
    expect(read(R.APIC_ID)).toBe(0x42000000)
    expect(apic.baseAddress).toBe(0x12345000)
    expect([read(R.APIC_TPR), read(R.APIC_LVT_LINT0), read(R.APIC_SVR)]).toEqual([0, 0x10000, 0xff])
    expect(apic.requested).toEqual([])
    apic.reset()
    expect(read(R.APIC_ID)).toBe(0x03000000)
    expect(apic.baseAddress).toBe(0xfee00000)
  })

  test('INIT in x2APIC mode stays there', () => {
    const { apic } = make({ id: 0x1234 })
    apic.writeMsr(R.MSR_APIC_BASE, X2APIC)
    apic.init()
    expect(apic.mode).toBe('x2apic')
    expect(apic.readMsr(0x80d)).toBe(0x01230010n)
  })
})

describe('priorities (SDM, "Interrupt, Task, and Processor Priority")', () => {
  test('higher classes preempt, the task priority holds its class and those below', () => {
    const { apic, read, write } = enabled()
    apic.accept(0, 0x41, false)
    apic.accept(0, 0x45, false)
    expect(apic.acknowledge()).toBe(0x45)
    // 41h is of the class in service.
    expect(apic.pending).toBe(false)
    expect(read(R.APIC_PPR)).toBe(0x40)
    apic.accept(0, 0x50, false)
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0x50)
    expect(apic.inService).toEqual([0x45, 0x50])
    expect(read(R.APIC_ISR + 0x20)).toBe(0x10020)
    write(R.APIC_EOI, 0)
    expect(apic.inService).toEqual([0x45])
    write(R.APIC_EOI, 0)
    expect(apic.acknowledge()).toBe(0x41)
    write(R.APIC_EOI, 0)
    write(R.APIC_EOI, 0)
    write(R.APIC_TPR, 0x4f)
    apic.accept(0, 0x4f, false)
    expect(apic.pending).toBe(false)
    expect(read(R.APIC_PPR)).toBe(0x4f)
    apic.accept(0, 0x50, false)
    expect(apic.pending).toBe(true)
  })

  test('CR8 is bits 7–4 of the task priority', () => {
    const { apic, read, write } = enabled()
    write(R.APIC_TPR, 0x9c)
    expect(apic.taskPriority).toBe(9)
    apic.taskPriority = 3
    expect(read(R.APIC_TPR)).toBe(0x30)
  })

  test('a request that the task priority overtakes gives the spurious vector and no ISR bit', () => {
    const { apic, write } = enabled()
    write(R.APIC_SVR, 0x1e7)
    apic.accept(0, 0x80, false)
    write(R.APIC_TPR, 0xf0)
    expect(apic.acknowledge()).toBe(0xe7)
    expect(apic.inService).toEqual([])
    expect(apic.requested).toEqual([0x80])
  })

  test('the arbitration priority follows the formula of the manual', () => {
    const { apic, read, write } = enabled()
    write(R.APIC_TPR, 0x35)
    expect(read(R.APIC_APR)).toBe(0x35)
    apic.accept(0, 0x61, false)
    expect(read(R.APIC_APR)).toBe(0x60)
    apic.acknowledge()
    // TPR 3, ISR 6, IRR 0: the greater of 3 AND 6, and 0.
    expect(read(R.APIC_APR)).toBe(0x20)
  })

  test('only a level-triggered vector ends with a message, unless it is suppressed', () => {
    const bus = new ApicBus()
    const ended: number[] = []
    bus.attachIoApic({ endOfInterrupt: (vector) => ended.push(vector), retry: () => {} })
    const { apic, read, write } = enabled({ bus })
    const serve = (level: boolean): void => {
      apic.accept(0, 0x91, level)
      apic.acknowledge()
      write(R.APIC_EOI, 0)
    }
    serve(false)
    expect(ended).toEqual([])
    serve(true)
    expect(read(R.APIC_TMR + 0x40)).toBe(1 << 0x11)
    expect(ended).toEqual([0x91])
    write(R.APIC_SVR, 0x11ff)
    serve(true)
    expect(ended).toEqual([0x91])
    serve(false)
    expect(read(R.APIC_TMR + 0x40)).toBe(0)
  })
})

describe('software disable (SDM, "Local APIC State After It Has Been Software Disabled")', () => {
  test('takes no vectors but NMI, SMI, INIT and start-up; keeps what it has; masks the LVT', () => {
    const { apic, diary, read, write } = enabled()
    write(R.APIC_LVT_LINT0, 0x700)
    apic.accept(0, 0x61, false)
    write(R.APIC_SVR, 0xff)
    expect(read(R.APIC_LVT_LINT0)).toBe(0x10700)
    write(R.APIC_LVT_LINT0, 0x700)
    expect(read(R.APIC_LVT_LINT0)).toBe(0x10700)
    expect(apic.accept(0, 0x62, false)).toBe(false)
    for (const mode of [R.APIC_DELIVERY.NMI, R.APIC_DELIVERY.SMI, R.APIC_DELIVERY.INIT]) {
      expect(apic.accept(mode, 0, false)).toBe(true)
    }
    expect(apic.accept(R.APIC_DELIVERY.START_UP, 0x9f, false)).toBe(true)
    expect(diary).toEqual(['nmi', 'smi', 'init', 'start-up 9f'])
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0x61)
  })

  test('can still send', () => {
    const bus = new ApicBus()
    const one = make({ bus })
    const two = enabled({ bus, id: 1 })
    one.write(R.APIC_ICR_HIGH, 0x01000000)
    one.write(R.APIC_ICR, 0x44)
    expect(two.apic.requested).toEqual([0x44])
  })
})

describe('access to the page', () => {
  test('parts of a register can be read, writes are dwords', () => {
    const { apic, read, write } = make()
    write(R.APIC_LDR, 0xab123456)
    expect(read(R.APIC_LDR)).toBe(0xab000000)
    expect(apic.readMmio(R.APIC_LDR + 3, 1)).toBe(0xab)
    expect(apic.readMmio(R.APIC_LDR + 2, 2)).toBe(0xab00)
    expect(apic.readMmio(R.APIC_LDR + 4, 4)).toBe(0)
    apic.writeMmio(R.APIC_TPR, 1, 0x30)
    apic.writeMmio(R.APIC_TPR + 4, 4, 0x30)
    expect(read(R.APIC_TPR)).toBe(0)
  })

  test('reserved registers set the illegal-register error; ESR shows errors after a write', () => {
    const { read, write } = enabled()
    expect(read(0x000)).toBe(0)
    expect(read(R.APIC_ESR)).toBe(0)
    write(R.APIC_ESR, 0)
    expect(read(R.APIC_ESR)).toBe(R.APIC_ESR_ILLEGAL_REGISTER)
    write(R.APIC_ESR, 0)
    expect(read(R.APIC_ESR)).toBe(0)
    // SELF IPI and CMCI do not exist here, nor does anything above 3FFh.
    for (const offset of [0x3f0, 0x2f0, 0x290, 0x400, 0xff0]) {
      write(offset, 1)
      write(R.APIC_ESR, 0)
      expect(read(R.APIC_ESR)).toBe(R.APIC_ESR_ILLEGAL_REGISTER)
    }
    // Read-only is not illegal.
    for (const offset of [R.APIC_VERSION, R.APIC_PPR, R.APIC_ISR, R.APIC_IRR + 0x70, R.APIC_TIMER_CURRENT])
      write(offset, ~0)
    write(R.APIC_ESR, 0)
    expect(read(R.APIC_ESR)).toBe(0)
  })

  test('reserved bits stay 0, in every register', () => {
    const { read, write } = enabled()
    const expected: Record<number, number> = {
      [R.APIC_ID]: 0xff000000,
      [R.APIC_TPR]: 0xff,
      [R.APIC_LDR]: 0xff000000,
      [R.APIC_DFR]: 0xffffffff,
      [R.APIC_LVT_TIMER]: 0x700ff,
      [R.APIC_LVT_THERMAL]: 0x107ff,
      [R.APIC_LVT_PERFORMANCE]: 0x107ff,
      [R.APIC_LVT_LINT0]: 0x1a7ff,
      [R.APIC_LVT_LINT1]: 0x1a7ff,
      [R.APIC_LVT_ERROR]: 0x100ff,
      [R.APIC_TIMER_DIVIDE]: 0x0b,
      [R.APIC_ICR_HIGH]: 0xff000000,
      [R.APIC_SVR]: 0x13ff,
    }
    for (const [offset, value] of Object.entries(expected)) {
      write(Number(offset), 0xffffffff)
      expect([offset, read(Number(offset))]).toEqual([offset, value])
    }
  })

  test('without TSC-deadline mode bit 18 of the timer entry is reserved; CMCI is optional', () => {
    const apic = new LocalApic({ id: 0, clock: new ManualClock(), bus: new ApicBus(), frequency: 1e9, cmci: true })
    apic.writeMmio(R.APIC_SVR, 4, 0x1ff)
    apic.writeMmio(R.APIC_LVT_TIMER, 4, 0xffffffff)
    expect(apic.readMmio(R.APIC_LVT_TIMER, 4)).toBe(0x300ff)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBeUndefined()
    expect(apic.writeMsr(R.MSR_TSC_DEADLINE, 1n)).toBe(false)
    expect(apic.readMmio(R.APIC_VERSION, 4)).toBe(0x01060014)
    apic.writeMmio(R.APIC_LVT_CMCI, 4, 0x83)
    apic.correctedMachineCheck()
    expect(apic.acknowledge()).toBe(0x83)
  })
})

describe('errors', () => {
  test('illegal vectors, sent and received, and the error interrupt once per write of ESR', () => {
    const { apic, read, write } = enabled()
    write(R.APIC_LVT_ERROR, 0xfe)
    write(R.APIC_ICR, R.APIC_SHORTHAND_SELF | 0x0f)
    expect(apic.acknowledge()).toBe(0xfe)
    write(R.APIC_EOI, 0)
    expect(apic.accept(0, 0x0f, false)).toBe(false)
    expect(apic.pending).toBe(false)
    write(R.APIC_ESR, 0)
    expect(read(R.APIC_ESR)).toBe(R.APIC_ESR_SEND_ILLEGAL_VECTOR | R.APIC_ESR_RECEIVE_ILLEGAL_VECTOR)
    apic.accept(0, 3, false)
    expect(apic.acknowledge()).toBe(0xfe)
  })

  test('an error entry with an illegal vector of its own ends there', () => {
    const { apic, read, write } = enabled()
    write(R.APIC_LVT_ERROR, 0x05)
    read(0x3d0)
    expect(apic.pending).toBe(false)
    write(R.APIC_ESR, 0)
    expect(read(R.APIC_ESR)).toBe(R.APIC_ESR_ILLEGAL_REGISTER | R.APIC_ESR_RECEIVE_ILLEGAL_VECTOR)
  })
})

describe('interrupt command', () => {
  function four() {
    const bus = new ApicBus()
    return [0, 1, 2, 3].map((id) => enabled({ bus, id }))
  }
  const who = (all: ReturnType<typeof four>): number[] =>
    all.flatMap(({ apic }) => (apic.requested.length > 0 ? [apic.id] : []))

  test('shorthands', () => {
    const cases: [number, number[]][] = [
      [R.APIC_SHORTHAND_NONE, [3]],
      [R.APIC_SHORTHAND_SELF, [1]],
      [R.APIC_SHORTHAND_ALL, [0, 1, 2, 3]],
      [R.APIC_SHORTHAND_OTHERS, [0, 2, 3]],
    ]
    for (const [shorthand, expected] of cases) {
      const all = four()
      all[1]!.write(R.APIC_ICR_HIGH, 0x03000000)
      all[1]!.write(R.APIC_ICR, shorthand | 0x55)
      expect(who(all)).toEqual(expected)
      expect(all[1]!.read(R.APIC_ICR)).toBe(shorthand | 0x55)
    }
  })

  test('INIT and start-up to all but self wake the others; the de-assert does nothing', () => {
    const all = four()
    all[0]!.write(R.APIC_ICR, 0xc4500)
    all[0]!.write(R.APIC_ICR, 0xc8500)
    all[0]!.write(R.APIC_ICR, 0xc4608)
    expect(all.map(({ diary }) => diary)).toEqual([[], ...[1, 2, 3].map(() => ['init', 'start-up 8'])])
  })

  test('combinations that the manual calls invalid are not sent', () => {
    const all = four()
    for (const mode of [1, 2, 3, 4, 5, 6, 7])
      for (const shorthand of [R.APIC_SHORTHAND_SELF, R.APIC_SHORTHAND_ALL])
        all[0]!.write(R.APIC_ICR, shorthand | (mode << 8) | 0x4055)
    all[0]!.write(R.APIC_ICR, R.APIC_SHORTHAND_OTHERS | 0x355)
    all[0]!.write(R.APIC_ICR, R.APIC_SHORTHAND_OTHERS | 0x755)
    // Fixed with trigger mode level and no assert.
    all[0]!.write(R.APIC_ICR, R.APIC_SHORTHAND_OTHERS | 0x8055)
    expect(who(all)).toEqual([])
    expect(all.flatMap(({ diary }) => diary)).toEqual([])
  })

  test('an IPI is edge-triggered whatever ICR says, and needs no assert', () => {
    const all = four()
    all[0]!.write(R.APIC_ICR, R.APIC_SHORTHAND_ALL | 0xc066)
    expect(all[2]!.apic.requested).toEqual([0x66])
    expect(all[2]!.read(R.APIC_TMR + 0x30)).toBe(0)
    all[0]!.write(R.APIC_ICR_HIGH, 0x02000000)
    all[0]!.write(R.APIC_ICR, 0x67)
    expect(all[2]!.apic.requested).toEqual([0x66, 0x67])
  })

  test('NMI and SMI to one, by physical and logical destination', () => {
    const all = four()
    all[3]!.write(R.APIC_LDR, 0x10000000)
    all[0]!.write(R.APIC_ICR_HIGH, 0x03000000)
    all[0]!.write(R.APIC_ICR, 0x4400)
    all[0]!.write(R.APIC_ICR_HIGH, 0x30000000)
    all[0]!.write(R.APIC_ICR, 0x4a00)
    expect(all.map(({ diary }) => diary)).toEqual([[], [], [], ['nmi', 'smi']])
  })
})

describe('pins', () => {
  test('virtual wire mode: the 8259A comes through LINT0, with its own vector and without ISR', () => {
    const pic = new PicPair()
    const { apic } = make({ external: pic })
    pic.initialise(0x20, 0x28)
    pic.line(1).setLevel(true)
    expect(apic.pending).toBe(false)
    apic.virtualWire()
    expect(apic.pending).toBe(true)
    apic.taskPriority = 15
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0x21)
    expect(apic.inService).toEqual([])
    expect(apic.pending).toBe(false)
  })

  test('disabled in IA32_APIC_BASE: LINT0 is INTR, LINT1 is NMI', () => {
    const pic = external()
    let changes = 0
    const { apic, diary, clock } = make({ external: pic, bus: new ApicBus() })
    expect(apic.writeMsr(R.MSR_APIC_BASE, 0xfee00100n)).toBe(true)
    expect(apic.mode).toBe('disabled')
    pic.pending = true
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0x68)
    apic.lint1.setLevel(true)
    apic.lint1.setLevel(true)
    expect(diary).toEqual(['nmi'])
    expect(apic.readMmio(R.APIC_ID, 4)).toBe(0xffffffff)
    expect(apic.accept(R.APIC_DELIVERY.NMI, 0, false)).toBe(false)
    const wired = new LocalApic({
      id: 0,
      clock,
      bus: new ApicBus(),
      frequency: 1,
      external: pic,
      core: { interruptChanged: () => changes++ },
    })
    wired.writeMsr(R.MSR_APIC_BASE, 0n)
    changes = 0
    wired.lint0.setLevel(true)
    expect(changes).toBe(1)
  })

  test('a fixed edge: on the rise only, lost while masked, on the fall when active low', () => {
    const { apic, write } = enabled()
    const { lint1 } = apic
    write(R.APIC_LVT_LINT1, 0x10070)
    lint1.setLevel(true)
    write(R.APIC_LVT_LINT1, 0x70)
    expect(apic.requested).toEqual([])
    lint1.setLevel(false)
    expect(apic.requested).toEqual([])
    lint1.setLevel(true)
    expect(apic.requested).toEqual([0x70])
    write(R.APIC_LVT_LINT1, 0x2071)
    lint1.setLevel(false)
    expect(apic.requested).toEqual([0x70, 0x71])
  })

  test('a fixed level on LINT0 asks until it is served and again while it stays', () => {
    const { apic, read, write } = enabled()
    apic.lint0.setLevel(true)
    write(R.APIC_LVT_LINT0, 0x8072)
    expect(read(R.APIC_LVT_LINT0)).toBe(0xc072)
    expect(read(R.APIC_TMR + 0x30)).toBe(1 << 18)
    expect(apic.acknowledge()).toBe(0x72)
    write(R.APIC_EOI, 0)
    expect(apic.acknowledge()).toBe(0x72)
    apic.lint0.setLevel(false)
    write(R.APIC_EOI, 0)
    expect(read(R.APIC_LVT_LINT0)).toBe(0x8072)
    expect(apic.pending).toBe(false)
  })

  test('NMI, SMI and INIT by pin; ExtINT by message', () => {
    const pic = external()
    const { apic, diary, write } = enabled({ external: pic })
    for (const mode of [0x8400, 0x200, 0x500]) {
      write(R.APIC_LVT_LINT0, mode)
      apic.lint0.setLevel(true)
      apic.lint0.setLevel(false)
    }
    expect(diary).toEqual(['nmi', 'smi', 'init'])
    apic.accept(R.APIC_DELIVERY.EXT_INT, 0, false)
    expect(apic.pending).toBe(true)
    expect(apic.acknowledge()).toBe(0x68)
    expect(apic.pending).toBe(false)
  })

  test('thermal sensor and performance counters; the latter mask themselves', () => {
    const { apic, diary, read, write } = enabled()
    write(R.APIC_LVT_THERMAL, 0xfa)
    write(R.APIC_LVT_PERFORMANCE, 0x400)
    apic.thermal()
    apic.performanceCounter()
    apic.performanceCounter()
    expect(diary).toEqual(['nmi'])
    expect(read(R.APIC_LVT_PERFORMANCE)).toBe(0x10400)
    expect(apic.requested).toEqual([0xfa])
  })
})

describe('timer', () => {
  test('divisors', () => {
    const { clock, read, write } = enabled()
    const divisors: number[] = []
    for (const divide of [0, 1, 2, 3, 8, 9, 10, 11]) {
      write(R.APIC_TIMER_DIVIDE, divide)
      write(R.APIC_TIMER_INITIAL, 1_000_000)
      clock.advance(128_000)
      divisors.push(128_000 / (1_000_000 - read(R.APIC_TIMER_CURRENT)))
    }
    expect(divisors).toEqual([2, 4, 8, 16, 32, 64, 128, 1])
  })

  test('one shot: interrupt at zero, then quiet', () => {
    const { apic, clock, read, write } = enabled()
    write(R.APIC_LVT_TIMER, 0xec)
    write(R.APIC_TIMER_INITIAL, 50)
    clock.advance(99)
    expect([read(R.APIC_TIMER_CURRENT), apic.pending]).toEqual([1, false])
    clock.advance(1)
    expect([read(R.APIC_TIMER_CURRENT), apic.acknowledge()]).toEqual([0, 0xec])
    write(R.APIC_EOI, 0)
    clock.advance(1e6)
    expect(apic.pending).toBe(false)
    expect(clock.scheduled).toBe(0)
    expect(read(R.APIC_TIMER_INITIAL)).toBe(50)
  })

  test('periodic: exact periods; 0 stops', () => {
    const { apic, clock, read, write } = enabled()
    write(R.APIC_TIMER_DIVIDE, 0xb)
    write(R.APIC_LVT_TIMER, 0x200ec)
    write(R.APIC_TIMER_INITIAL, 100)
    const times: number[] = []
    for (let t = 1; t <= 350; t++) {
      clock.advanceTo(t)
      expect(read(R.APIC_TIMER_CURRENT)).toBe(100 - (t % 100))
      if (!apic.pending) continue
      times.push(t)
      apic.acknowledge()
      write(R.APIC_EOI, 0)
    }
    expect(times).toEqual([100, 200, 300])
    write(R.APIC_TIMER_INITIAL, 0)
    clock.advance(1e5)
    expect([apic.pending, read(R.APIC_TIMER_CURRENT)]).toEqual([false, 0])
  })

  test('a frequency that does not divide a second: no drift', () => {
    const { apic, clock, write } = enabled({ frequency: 7_000_003 })
    write(R.APIC_TIMER_DIVIDE, 0xb)
    write(R.APIC_LVT_TIMER, 0x200ec)
    write(R.APIC_TIMER_INITIAL, 7)
    clock.advanceTo(1e7)
    expect(clock.fired).toBe(Math.floor((1e7 * 7_000_003) / 7 / 1e9))
    expect(apic.pending).toBe(true)
  })

  test('masked: it counts without an interrupt, and without an alarm', () => {
    const { apic, clock, read, write } = enabled()
    write(R.APIC_TIMER_DIVIDE, 0xb)
    write(R.APIC_LVT_TIMER, 0x100ec)
    write(R.APIC_TIMER_INITIAL, 100)
    expect(clock.scheduled).toBe(0)
    clock.advance(60)
    expect(read(R.APIC_TIMER_CURRENT)).toBe(40)
    clock.advance(60)
    write(R.APIC_LVT_TIMER, 0xec)
    clock.advance(1000)
    expect([apic.pending, read(R.APIC_TIMER_CURRENT)]).toEqual([false, 0])
  })

  test('a new divisor keeps the count and changes the rate; so does a change between one shot and periodic', () => {
    const { apic, clock, read, write } = enabled()
    write(R.APIC_TIMER_DIVIDE, 0xb)
    write(R.APIC_LVT_TIMER, 0xec)
    write(R.APIC_TIMER_INITIAL, 100)
    clock.advance(50)
    write(R.APIC_TIMER_DIVIDE, 0)
    expect(read(R.APIC_TIMER_CURRENT)).toBe(50)
    clock.advance(20)
    expect(read(R.APIC_TIMER_CURRENT)).toBe(40)
    write(R.APIC_LVT_TIMER, 0x200ec)
    clock.advance(80)
    expect(apic.acknowledge()).toBe(0xec)
    write(R.APIC_EOI, 0)
    expect(read(R.APIC_TIMER_CURRENT)).toBe(100)
    clock.advance(200)
    expect(apic.pending).toBe(true)
  })

  test('an alarm that is late loses nothing, whatever is written before it runs', () => {
    const writes: [number, number][] = [
      [R.APIC_TIMER_INITIAL, 0],
      [R.APIC_TIMER_INITIAL, 500],
      [R.APIC_TIMER_DIVIDE, 0xb],
      [R.APIC_LVT_TIMER, 0x100ed],
      [R.APIC_LVT_TIMER, 0x400ed],
      [R.APIC_SVR, 0xff],
    ]
    for (const [offset, value] of writes)
      for (const entry of [0xec, 0x200ec]) {
        let now = 0
        const clock: Clock = {
          now: () => now,
          schedule: (deadline) => ({ deadline, cancel: () => {} }),
        }
        const { apic, write } = enabled({ clock })
        write(R.APIC_LVT_TIMER, entry)
        write(R.APIC_TIMER_INITIAL, 10)
        now = 45
        write(offset, value)
        expect(apic.requested).toEqual([0xec])
      }
  })

  test('TSC deadline: armed by the MSR, once; 0 disarms; the count registers are dead', () => {
    const { apic, clock, read, write } = enabled()
    write(R.APIC_LVT_TIMER, 0x400ed)
    write(R.APIC_TIMER_INITIAL, 5)
    expect([read(R.APIC_TIMER_INITIAL), read(R.APIC_TIMER_CURRENT)]).toEqual([0, 0])
    // The counter is at 1000 and makes 2 per nanosecond.
    expect(apic.writeMsr(R.MSR_TSC_DEADLINE, 1201n)).toBe(true)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBe(1201n)
    clock.advance(100)
    expect(apic.pending).toBe(false)
    clock.advance(1)
    expect(apic.acknowledge()).toBe(0xed)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBe(0n)
    write(R.APIC_EOI, 0)
    apic.writeMsr(R.MSR_TSC_DEADLINE, 5000n)
    apic.writeMsr(R.MSR_TSC_DEADLINE, 0n)
    clock.advance(1e5)
    expect(apic.pending).toBe(false)
    // A deadline in the past is due at once.
    apic.writeMsr(R.MSR_TSC_DEADLINE, 1n)
    clock.advance(0)
    expect(apic.pending).toBe(true)
  })

  test('TSC deadline: a write of the counter moves it; a change of mode disarms; other modes ignore the MSR', () => {
    const { apic, clock, tscOffset, write } = enabled()
    apic.writeMsr(R.MSR_TSC_DEADLINE, 5n)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBe(0n)
    write(R.APIC_LVT_TIMER, 0x400ed)
    apic.writeMsr(R.MSR_TSC_DEADLINE, 2000n)
    tscOffset.value = 0n
    apic.tscChanged()
    clock.advance(999)
    expect(apic.pending).toBe(false)
    clock.advance(1)
    expect(apic.pending).toBe(true)
    apic.acknowledge()
    write(R.APIC_EOI, 0)
    apic.writeMsr(R.MSR_TSC_DEADLINE, 4000n)
    write(R.APIC_LVT_TIMER, 0xed)
    write(R.APIC_LVT_TIMER, 0x400ed)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBe(0n)
    clock.advance(1e5)
    expect(apic.pending).toBe(false)
    // Masked, it runs out without an interrupt.
    write(R.APIC_LVT_TIMER, 0x500ed)
    apic.writeMsr(R.MSR_TSC_DEADLINE, BigInt(clock.now() * 2 + 10))
    clock.advance(5)
    write(R.APIC_LVT_TIMER, 0x400ed)
    expect(apic.readMsr(R.MSR_TSC_DEADLINE)).toBe(0n)
    clock.advance(10)
    expect(apic.pending).toBe(false)
  })
})

describe('IA32_APIC_BASE (SDM, "x2APIC State Transitions")', () => {
  test('transitions', () => {
    const values = { disabled: 0xfee00100n, xapic: BSP, x2apic: X2APIC } as const
    const allowed: Record<string, string[]> = {
      disabled: ['disabled', 'xapic'],
      xapic: ['disabled', 'xapic', 'x2apic'],
      x2apic: ['disabled', 'x2apic'],
    }
    for (const from of ['disabled', 'xapic', 'x2apic'] as const)
      for (const to of ['disabled', 'xapic', 'x2apic'] as const) {
        const { apic } = make()
        expect(apic.writeMsr(R.MSR_APIC_BASE, values[from])).toBe(true)
        expect(apic.writeMsr(R.MSR_APIC_BASE, values[to])).toBe(allowed[from]!.includes(to))
        expect(apic.mode).toBe(allowed[from]!.includes(to) ? to : from)
      }
  })

  test('reserved bits and x2APIC without enable are refused', () => {
    const { apic } = make({ physicalAddressBits: 36 })
    for (let bit = 0n; bit < 64n; bit++) {
      const fine = bit === 8n || bit === 10n || bit === 11n || (bit >= 12n && bit < 36n)
      // Bit 11 is set in the base value: clearing it disables, which is fine too.
      if (bit === 10n || bit === 11n) continue
      expect([bit, apic.writeMsr(R.MSR_APIC_BASE, BSP ^ (1n << bit))]).toEqual([bit, fine])
    }
    expect(apic.writeMsr(R.MSR_APIC_BASE, 0xfee00500n)).toBe(false)
    expect(make({ x2apic: false }).apic.writeMsr(R.MSR_APIC_BASE, X2APIC)).toBe(false)
  })

  test('disabling resets', () => {
    const { apic, read, write } = enabled()
    write(R.APIC_ID, 0x09000000)
    apic.accept(0, 0x88, false)
    apic.writeMsr(R.MSR_APIC_BASE, 0n)
    expect([apic.pending, apic.acknowledge()]).toEqual([false, 0xff])
    apic.writeMsr(R.MSR_APIC_BASE, BSP)
    expect([read(R.APIC_SVR), read(R.APIC_ID), read(R.APIC_IRR + 0x40)]).toEqual([0xff, 0, 0])
  })
})

describe('x2APIC registers (SDM, "x2APIC Register Address Space")', () => {
  function x2(options: Partial<LocalApicOptions> = {}) {
    const parts = make(options)
    parts.apic.writeMsr(R.MSR_APIC_BASE, X2APIC)
    parts.apic.writeMsr(0x80f, 0x1ffn)
    return parts
  }

  test('which can be read and written', () => {
    const { apic } = x2()
    const readable: number[] = []
    const writable: number[] = []
    for (let msr = 0x800; msr < 0x900; msr++) {
      if (apic.readMsr(msr) !== undefined) readable.push(msr)
      if (apic.writeMsr(msr, 0n)) writable.push(msr)
    }
    const range = (first: number, last: number): number[] =>
      Array.from({ length: last - first + 1 }, (_, n) => first + n)
    expect(readable).toEqual([
      ...[0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f],
      ...range(0x810, 0x828),
      ...[0x830, ...range(0x832, 0x839), 0x83e],
    ])
    expect(writable).toEqual([0x808, 0x80b, 0x80f, 0x828, 0x830, ...range(0x832, 0x838), 0x83e, 0x83f])
    const xapic = make().apic
    for (let msr = 0x800; msr < 0x900; msr++) {
      expect(xapic.readMsr(msr)).toBeUndefined()
      expect(xapic.writeMsr(msr, 0n)).toBe(false)
    }
  })

  test('reserved bits are refused, and nothing changes', () => {
    const cases: [number, bigint][] = [
      [0x808, 0x100n],
      [0x80b, 1n],
      [0x80f, 0x400n],
      [0x828, 1n],
      [0x830, 0x2000n],
      [0x830, 0x10000n],
      [0x830, 0x100000n],
      [0x832, 0x100n],
      [0x832, 0x60000n],
      [0x832, 0x4000n],
      [0x835, 0x800n],
      [0x837, 0x100n],
      [0x83e, 4n],
      [0x83f, 0x100n],
      [0x808, 1n << 32n],
      [0x838, 1n << 63n],
    ]
    const { apic } = x2()
    const before = apic.saveState()
    for (const [msr, value] of cases) expect([msr, apic.writeMsr(msr, value)]).toEqual([msr, false])
    expect(apic.saveState()).toEqual(before)
    // Read-only status may be written back.
    expect(apic.writeMsr(0x835, 0x15000n)).toBe(true)
    expect(apic.readMsr(0x835)).toBe(0x10000n)
  })

  test('identity, ICR in 64 bits, SELF IPI; the page is gone', () => {
    const bus = new ApicBus()
    const one = x2({ bus, id: 1 })
    const far = x2({ bus, id: 0x12345 })
    expect(far.apic.readMsr(0x802)).toBe(0x12345n)
    expect(far.apic.readMsr(0x80d)).toBe(0x12340020n)
    one.apic.writeMsr(0x830, 0x0001234500000061n)
    expect(far.apic.requested).toEqual([0x61])
    expect(one.apic.readMsr(0x830)).toBe(0x0001234500000061n)
    // Logical: cluster 1234h, members 5 and 6.
    one.apic.writeMsr(0x830, 0x1234006000000862n)
    expect(far.apic.requested).toEqual([0x61, 0x62])
    one.apic.writeMsr(0x830, 0xffffffff00000063n)
    expect(far.apic.requested).toEqual([0x61, 0x62, 0x63])
    expect(one.apic.requested).toEqual([0x63])
    one.apic.writeMsr(0x83f, 0x99n)
    expect(one.apic.acknowledge()).toBe(0x99)
    expect(one.apic.writeMsr(0x80b, 0n)).toBe(true)
    expect(one.apic.inService).toEqual([])
    one.apic.writeMsr(0x83f, 0x9n)
    one.apic.writeMsr(0x828, 0n)
    expect(one.apic.readMsr(0x828)).toBe(BigInt(R.APIC_ESR_SEND_ILLEGAL_VECTOR))
    expect(one.read(R.APIC_ID)).toBe(0xffffffff)
  })

  test('who owns which MSR', () => {
    const { apic } = make()
    expect([0x1b, 0x6e0, 0x800, 0x8ff].every((msr) => apic.ownsMsr(msr))).toBe(true)
    expect([0x1a, 0x6e1, 0x7ff, 0x900].some((msr) => apic.ownsMsr(msr))).toBe(false)
  })
})

describe('saved state', () => {
  test('a running timer goes on, on another machine', () => {
    const one = enabled()
    one.write(R.APIC_LVT_TIMER, 0x200ec)
    one.write(R.APIC_TIMER_INITIAL, 1000)
    one.apic.accept(0, 0x31, true)
    one.clock.advance(500)
    const saved = structuredClone(one.apic.saveState())
    const two = make()
    two.clock.advance(500)
    two.apic.loadState(saved)
    expect(two.apic.saveState()).toEqual(saved)
    for (const { clock } of [one, two]) clock.advance(1499)
    expect(two.apic.requested).toEqual([0x31])
    for (const { clock } of [one, two]) clock.advance(1)
    expect(two.apic.requested).toEqual([0x31, 0xec])
    expect(two.apic.saveState()).toEqual(one.apic.saveState())
  })

  test('a single shot that is due but has not run is not lost', () => {
    const one = enabled()
    one.write(R.APIC_LVT_TIMER, 0xec)
    one.write(R.APIC_TIMER_INITIAL, 10)
    const saved = one.apic.saveState()
    const two = make()
    two.clock.advance(100)
    two.apic.loadState(saved)
    two.clock.advance(0)
    expect(two.apic.requested).toEqual([0xec])
  })

  test('damaged state is refused and changes nothing', () => {
    const { apic } = enabled()
    const good = apic.saveState()
    const bad: Partial<Record<keyof LocalApicState, unknown>>[] = [
      { version: 2 },
      { base: 0xfee00400 },
      { base: 2 ** 40 },
      { id: 256 },
      { svr: 0x400 },
      { dfr: 0 },
      { irr: [1, 0, 0, 0, 0, 0, 0, 0] },
      { isr: [0, 0] },
      { lvt: good.lvt.map(() => 0x40000000) },
      { svr: 0xff, lvt: good.lvt.map(() => 0) },
      { base: 0xfee00000, irr: [0, 1, 0, 0, 0, 0, 0, 0] },
      { timer: { ...good.timer, deadline: 'x' } },
      { timer: { ...good.timer, divide: 4 } },
      { timer: { ...good.timer, epoch: 5 } },
      { timer: null },
    ]
    for (const change of bad) {
      expect(() => apic.loadState({ ...good, ...change } as LocalApicState)).toThrow(VirtkitError)
      expect(apic.saveState()).toEqual(good)
    }
  })
})

test('events tell the way of an interrupt', () => {
  const seen: EventMap['apic'][] = []
  const events: EventSink = {
    wants: (name) => name === 'apic',
    emit: (_name, event) => seen.push(event as EventMap['apic']),
  }
  const { apic, write } = enabled({ events })
  write(R.APIC_ICR, R.APIC_SHORTHAND_SELF | 0x40)
  apic.acknowledge()
  write(R.APIC_EOI, 0)
  expect(seen.map(({ chip, action, vector }) => [chip, action, vector])).toEqual([
    ['lapic0', R.APIC_ACTION.SEND, 0x40],
    ['lapic0', R.APIC_ACTION.ACCEPT, 0x40],
    ['lapic0', R.APIC_ACTION.DELIVER, 0x40],
    ['lapic0', R.APIC_ACTION.EOI, 0x40],
  ])
})

test('misuse by the host', () => {
  for (const options of [{ id: 255 }, { id: -1 }, { frequency: 0 }, { physicalAddressBits: 53 }])
    expect(() => make(options)).toThrow(VirtkitError)
  const bus = new ApicBus()
  make({ bus })
  expect(() => make({ bus })).toThrow(/ID 0/)
})
