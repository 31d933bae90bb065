import { describe, expect, test } from 'vitest'
import type { EventMap, EventSink } from '../../src/contracts/events.js'
import { PicPair } from '../../src/interrupts/pic-pair.js'
import {
  ICW1_ADI,
  ICW1_INIT,
  ICW1_SNGL,
  ICW4_AEOI,
  ICW4_SFNM,
  ICW4_UPM,
  MCS80_CALL,
  OCW2_EOI,
  OCW2_ROTATE_AEOI_SET,
  OCW2_ROTATE_EOI,
  OCW2_SET_PRIORITY,
  OCW2_SPECIFIC_EOI,
  OCW3,
  OCW3_ESMM,
  OCW3_P,
  OCW3_RIS,
  OCW3_RR,
  OCW3_SMM,
  PIC_ACTION,
  POLL_I,
} from '../../src/interrupts/pic-registers.js'
import { Pic8259 } from '../../src/interrupts/pic8259.js'

class Recorder implements EventSink {
  readonly events: EventMap['pic'][] = []
  wants(): boolean {
    return true
  }
  emit(_name: string, event: unknown): void {
    this.events.push(event as EventMap['pic'])
  }
  get actions(): string[] {
    return this.events.map((e) => `${e.chip} ${e.action}${e.line === undefined ? '' : ` ${e.line}`}`)
  }
}

describe('one 8259A', () => {
  test('tells the steps of an interrupt', () => {
    const events = new Recorder()
    const pic = new Pic8259({ events, name: 'pic' })
    pic.initialise({ base: 0x20 })
    events.events.length = 0
    pic.line(3).setLevel(true)
    expect(pic.inta()).toBeUndefined()
    expect([pic.irr, pic.isr]).toEqual([0, 8])
    expect(pic.inta()).toBe(0x23)
    pic.writePort(0, 1, OCW2_EOI)
    expect(events.events.map((e) => e.action)).toEqual([
      PIC_ACTION.request,
      PIC_ACTION.latch,
      PIC_ACTION.resolve,
      PIC_ACTION.int,
      PIC_ACTION.inta1,
      PIC_ACTION.inta2,
      PIC_ACTION.eoi,
    ])
    expect(events.events.map((e) => [e.irr, e.isr])).toEqual([
      [0, 0],
      [8, 0],
      [8, 0],
      [8, 0],
      [0, 8],
      [0, 8],
      [0, 0],
    ])
    expect(events.events[5]).toMatchObject({ vector: 0x23, line: 3 })
  })

  test('a masked request latches in IRR and reaches INT when the mask goes', () => {
    const pic = new Pic8259()
    pic.writePort(1, 1, 0x10)
    pic.line(4).setLevel(true)
    expect([pic.irr, pic.pending]).toEqual([0x10, false])
    pic.writePort(1, 1, 0)
    expect(pic.pending).toBe(true)
  })

  test('fully nested: only a higher priority interrupts a service', () => {
    const pic = new Pic8259()
    pic.line(4).setLevel(true)
    expect(pic.acknowledge()).toBe(4)
    pic.line(5).setLevel(true)
    expect(pic.pending).toBe(false)
    pic.line(1).setLevel(true)
    expect(pic.acknowledge()).toBe(1)
    expect(pic.isr).toBe(0x12)
    pic.writePort(0, 1, OCW2_EOI)
    expect(pic.isr).toBe(0x10)
    pic.writePort(0, 1, OCW2_SPECIFIC_EOI | 4)
    expect(pic.pendingLevel).toBe(5)
  })

  test('a request that goes before INTA is spurious level 7 and leaves ISR alone', () => {
    const pic = new Pic8259()
    pic.initialise({ base: 0x40 })
    pic.line(2).setLevel(true)
    pic.line(2).setLevel(false)
    expect([pic.irr, pic.pending]).toEqual([0, false])
    expect(pic.acknowledge()).toBe(0x47)
    expect(pic.isr).toBe(0)
  })

  test('ICW1 resets the edge detector but not a level', () => {
    const pic = new Pic8259()
    pic.line(0).setLevel(true)
    pic.initialise({ base: 0x20 })
    expect(pic.irr).toBe(0)
    pic.line(0).setLevel(false)
    pic.line(0).setLevel(true)
    expect(pic.irr).toBe(1)
    pic.initialise({ base: 0x20, level: true })
    expect(pic.irr).toBe(1)
    pic.acknowledge()
    pic.writePort(0, 1, OCW2_EOI)
    expect(pic.pending).toBe(true) // the level is still there
  })

  test('edge triggering asks once per rise', () => {
    const pic = new Pic8259()
    pic.line(6).setLevel(true)
    pic.line(6).setLevel(true)
    pic.acknowledge()
    pic.writePort(0, 1, OCW2_EOI)
    expect(pic.pending).toBe(false)
  })

  test('rotation as in the data sheet: IR4 served, IR6 waiting, then IR5 is highest', () => {
    const pic = new Pic8259()
    pic.line(4).setLevel(true)
    pic.acknowledge()
    pic.line(6).setLevel(true)
    pic.writePort(0, 1, OCW2_ROTATE_EOI)
    expect(pic.lowestPriority).toBe(4)
    pic.line(3).setLevel(true)
    pic.line(5).setLevel(true)
    expect([pic.acknowledge(), pic.isr]).toEqual([5, 0x20])
    pic.writePort(0, 1, OCW2_SET_PRIORITY | 2) // IR3 becomes highest
    expect(pic.pendingLevel).toBe(3)
  })

  test('automatic EOI, with and without rotation', () => {
    const pic = new Pic8259()
    pic.initialise({ base: 8, icw4: ICW4_UPM | ICW4_AEOI })
    pic.line(2).setLevel(true)
    expect(pic.inta()).toBeUndefined()
    expect(pic.isr).toBe(4)
    expect(pic.inta()).toBe(10)
    expect([pic.isr, pic.lowestPriority]).toEqual([0, 7])
    pic.writePort(0, 1, OCW2_ROTATE_AEOI_SET)
    pic.line(3).setLevel(true)
    pic.acknowledge()
    expect(pic.lowestPriority).toBe(3)
  })

  test('special mask mode lets lower levels through, and its masked level survives a non-specific EOI', () => {
    const pic = new Pic8259()
    pic.line(2).setLevel(true)
    pic.acknowledge()
    pic.line(6).setLevel(true)
    pic.writePort(1, 1, 0x04)
    expect(pic.pending).toBe(false)
    pic.writePort(0, 1, OCW3 | OCW3_ESMM | OCW3_SMM)
    expect(pic.acknowledge()).toBe(6)
    pic.writePort(0, 1, OCW2_EOI)
    expect(pic.isr).toBe(0x04)
    pic.writePort(0, 1, OCW2_EOI)
    expect(pic.isr).toBe(0x04)
    pic.writePort(0, 1, OCW2_SPECIFIC_EOI | 2)
    expect(pic.isr).toBe(0)
  })

  test('poll serves without INTA; reads choose IRR or ISR', () => {
    const pic = new Pic8259()
    pic.writePort(0, 1, OCW3 | OCW3_P)
    expect(pic.readPort(0, 1)).toBe(0)
    pic.line(5).setLevel(true)
    expect(pic.readPort(0, 1)).toBe(0x20)
    pic.writePort(0, 1, OCW3 | OCW3_P)
    expect(pic.readPort(1, 1)).toBe(POLL_I | 5)
    expect(pic.readPort(0, 1)).toBe(0)
    pic.writePort(0, 1, OCW3 | OCW3_RR | OCW3_RIS)
    expect(pic.readPort(0, 1)).toBe(0x20)
    pic.writePort(0, 1, OCW3 | OCW3_RR)
    expect(pic.readPort(0, 1)).toBe(0)
  })

  test('MCS-80 mode drives a CALL in three pulses', () => {
    const pic = new Pic8259()
    pic.writePort(0, 1, ICW1_INIT | ICW1_SNGL | ICW1_ADI | 0xa0)
    pic.writePort(1, 1, 0x12)
    pic.line(3).setLevel(true)
    expect([pic.inta(), pic.inta(), pic.inta()]).toEqual([MCS80_CALL, 0xac, 0x12])
    pic.writePort(0, 1, ICW1_INIT | ICW1_SNGL | 0xc0) // interval 8
    pic.writePort(1, 1, 0x34)
    pic.line(1).setLevel(true)
    expect(pic.acknowledge()).toBe(0xc8)
  })

  test('INT stays low until initialisation is complete', () => {
    const pic = new Pic8259()
    pic.writePort(0, 1, 0x13)
    pic.line(1).setLevel(true)
    expect([pic.irr, pic.pending]).toEqual([2, false])
    pic.writePort(1, 1, 0x20)
    pic.writePort(1, 1, ICW4_UPM)
    expect(pic.acknowledge()).toBe(0x21)
  })

  test('misuse and bad state are refused', () => {
    const pic = new Pic8259()
    expect(() => pic.line(8)).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
    const state = pic.saveState()
    for (const bad of [
      {},
      { ...state, version: 0 },
      { ...state, irr: 256 },
      { ...state, irr: 1 },
      { ...state, nextIcw: 1 },
    ])
      expect(() => pic.loadState(bad as never)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
    expect(pic.saveState()).toEqual(state)
  })
})

describe('the cascaded pair', () => {
  const make = (icw4 = ICW4_UPM): PicPair => {
    const pair = new PicPair()
    pair.master.initialise({ base: 0x20, slaves: 4, icw4 })
    pair.slave.initialise({ base: 0x28, id: 2 })
    return pair
  }

  test('a slave request passes the master at IR2 and takes the slave vector', () => {
    const pair = make()
    pair.line(12).setLevel(true)
    expect([pair.pending, pair.master.irr]).toEqual([true, 4])
    expect(pair.acknowledge()).toBe(0x2c)
    expect([pair.master.isr, pair.slave.isr]).toEqual([4, 0x10])
  })

  test('IRQ 2 is IRQ 9, as on the AT', () => {
    const pair = make()
    pair.line(2).setLevel(true)
    expect(pair.acknowledge()).toBe(0x29)
  })

  test('spurious IRQ 15: the master is in service, the slave is not', () => {
    const pair = make()
    pair.line(10).setLevel(true)
    // The wire to the master lags: keep IR2 up while the slave's request has gone.
    pair.slave.line(2).setLevel(false)
    pair.master.line(2).setLevel(true)
    expect(pair.acknowledge()).toBe(0x2f)
    expect([pair.master.isr, pair.slave.isr]).toEqual([4, 0])
  })

  test('special fully nested mode lets a higher slave request through', () => {
    for (const [icw4, through] of [
      [ICW4_UPM, false],
      [ICW4_UPM | ICW4_SFNM, true],
    ] as const) {
      const pair = make(icw4)
      pair.line(12).setLevel(true)
      pair.acknowledge()
      pair.line(9).setLevel(true)
      expect(pair.pending).toBe(through)
      pair.line(3).setLevel(true)
      if (!through) expect(pair.pending).toBe(false)
      else expect(pair.acknowledge()).toBe(0x29)
    }
  })

  test('ELCR keeps timer, keyboard, cascade, RTC and coprocessor edge-triggered', () => {
    const pair = make()
    pair.elcr.writePort(0, 1, 0xff)
    pair.elcr.writePort(1, 1, 0xff)
    expect([pair.elcr.readPort(0, 1), pair.elcr.readPort(1, 1)]).toEqual([0xf8, 0xde])
    pair.line(11).setLevel(true)
    pair.acknowledge()
    pair.slave.writePort(0, 1, OCW2_EOI)
    pair.master.writePort(0, 1, OCW2_EOI)
    expect(pair.acknowledge()).toBe(0x2b)
  })

  test('firmware defaults', () => {
    const pair = new PicPair()
    pair.initialise()
    pair.line(0).setLevel(true)
    expect(pair.acknowledge()).toBe(0x08)
    pair.master.writePort(0, 1, OCW2_EOI)
    pair.line(8).setLevel(true)
    expect(pair.acknowledge()).toBe(0x70)
  })
})
