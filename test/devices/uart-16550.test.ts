import { describe, expect, it } from 'vitest'
import {
  FCR_CLEAR_RX,
  FCR_CLEAR_TX,
  FCR_ENABLE,
  IIR_FIFOS,
  IIR_LINE_STATUS,
  IIR_MODEM_STATUS,
  IIR_NONE,
  IIR_RECEIVED,
  IIR_THR_EMPTY,
  IIR_TIMEOUT,
  LCR_BREAK,
  LSR_BI,
  LSR_DR,
  LSR_FE,
  LSR_FIFO_ERROR,
  LSR_OE,
  LSR_PE,
  LSR_TEMT,
  LSR_THRE,
  MCR_LOOP,
  MCR_OUT1,
  MCR_OUT2,
  Uart16550,
  type Uart16550Options,
} from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { Line } from './helpers.js'

const DATA = 0
const IER = 1
const IIR = 2
const FCR = 2
const LCR = 3
const MCR = 4
const LSR = 5
const MSR = 6
const IDLE = LSR_THRE | LSR_TEMT

function setup(options: Partial<Uart16550Options> = {}) {
  const clock = new ManualClock()
  const irq = new Line()
  const sent: number[] = []
  const log: string[] = []
  const uart = new Uart16550({
    clock,
    irq,
    sink: {
      byte: (byte) => sent.push(byte),
      break: (active) => log.push(`break ${active}`),
      modem: ({ dtr, rts }) => log.push(`${dtr ? 'DTR' : ''}${rts ? 'RTS' : ''}`),
    },
    ...options,
  })
  const get = (register: number): number => uart.readPort(register, 1)
  const put = (register: number, value: number): void => uart.writePort(register, 1, value)
  put(LCR, 0x83)
  put(DATA, 1) // 115200 baud
  put(IER, 0)
  put(LCR, 0x03) // 8N1
  put(MCR, MCR_OUT2)
  log.length = 0
  const char = 10 * ((16 * 1e9) / 1_843_200)
  return { clock, irq, sent, log, uart, get, put, char }
}

describe('Uart16550', () => {
  it('has the master reset values', () => {
    const uart = new Uart16550({ clock: new ManualClock(), irq: new Line() })
    expect([1, 2, 3, 4, 5, 6].map((i) => uart.readPort(i, 1))).toEqual([0, 1, 0, 0, 0x60, 0xb0])
  })

  it('computes the character time from format and divisor', () => {
    const { uart, put } = setup()
    const bit = (divisor: number) => (divisor * 16e9) / 1_843_200
    expect(uart.characterTime).toBeCloseTo(10 * bit(1))
    put(LCR, 0x80)
    put(DATA, 0x80)
    put(IER, 0x01)
    put(LCR, 0x0c) // 5 data bits, parity, 1.5 stop bits
    expect(uart.characterTime).toBeCloseTo(8.5 * bit(0x180))
    put(LCR, 0x1f) // 8E2
    expect(uart.characterTime).toBeCloseTo(12 * bit(0x180))
  })

  it('sends at the programmed rate without FIFOs', () => {
    const { clock, sent, get, put, char } = setup()
    put(DATA, 0x41)
    expect(get(LSR)).toBe(LSR_THRE) // moved on to the shift register
    put(DATA, 0x42)
    expect(get(LSR)).toBe(0)
    put(DATA, 0x43) // replaces 0x42
    clock.advance(char)
    expect(sent).toEqual([0x41])
    expect(get(LSR)).toBe(LSR_THRE)
    clock.advance(char)
    expect(sent).toEqual([0x41, 0x43])
    expect(get(LSR)).toBe(IDLE)
  })

  it('masks the word length', () => {
    const { clock, sent, put, char } = setup()
    put(LCR, 0x02)
    put(DATA, 0xff)
    clock.advance(char)
    expect(sent).toEqual([0x7f])
  })

  it('fills and drains the transmit FIFO, and loses what does not fit', () => {
    const { clock, sent, get, put, char } = setup()
    put(FCR, FCR_ENABLE)
    for (let i = 0; i < 20; i++) put(DATA, i)
    expect(get(LSR)).toBe(0)
    clock.advance(16 * char)
    expect(get(LSR)).toBe(LSR_THRE)
    clock.advance(char)
    expect(get(LSR)).toBe(IDLE)
    expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
    put(DATA, 1)
    put(DATA, 2)
    put(FCR, FCR_ENABLE | FCR_CLEAR_TX)
    expect(get(LSR)).toBe(LSR_THRE)
    clock.advance(10 * char)
    expect(sent.slice(17)).toEqual([1])
  })

  it('delays the empty indication of a FIFO that held one character', () => {
    const { clock, get, put, char } = setup()
    put(FCR, FCR_ENABLE)
    put(DATA, 1) // the first after FCR0 changed is immediate
    expect(get(LSR) & LSR_THRE).toBe(LSR_THRE)
    clock.advance(2 * char)
    put(DATA, 2)
    expect(get(LSR) & LSR_THRE).toBe(0)
    clock.advance(0.9 * char - 1)
    expect(get(LSR) & LSR_THRE).toBe(0)
    clock.advance(2)
    expect(get(LSR)).toBe(LSR_THRE)
  })

  it('raises THRE once per emptying, and IIR acknowledges it', () => {
    const { clock, irq, get, put, char } = setup()
    put(IER, 2)
    expect(irq.level).toBe(true)
    expect(get(IIR)).toBe(IIR_THR_EMPTY)
    expect(irq.level).toBe(false)
    expect(get(IIR)).toBe(IIR_NONE)
    put(DATA, 1)
    put(DATA, 2)
    get(IIR)
    clock.advance(char)
    expect(irq.level).toBe(true)
    put(DATA, 3) // writing clears it too
    expect(get(IIR)).toBe(IIR_NONE)
  })

  it('receives with overrun: the last wins without FIFOs', () => {
    const { clock, uart, get, char } = setup()
    uart.receive([1, 2])
    clock.advance(char)
    expect(get(LSR)).toBe(IDLE | LSR_DR)
    clock.advance(char)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_OE)
    expect(get(LSR)).toBe(IDLE | LSR_DR)
    expect(get(DATA)).toBe(2)
    expect(get(LSR)).toBe(IDLE)
    expect(get(DATA)).toBe(2)
  })

  it('keeps the oldest sixteen in the FIFO on overrun', () => {
    const { clock, uart, get, put, char } = setup()
    put(FCR, FCR_ENABLE)
    expect(uart.receive(Array.from({ length: 18 }, (_, i) => i))).toBe(18)
    clock.advance(18 * char)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_OE)
    expect(Array.from({ length: 16 }, () => get(DATA))).toEqual(Array.from({ length: 16 }, (_, i) => i))
    expect(get(LSR)).toBe(IDLE)
  })

  it('interrupts at the trigger level and after four character times', () => {
    const { clock, irq, uart, get, put, char } = setup()
    put(FCR, FCR_ENABLE | 0x80) // 8
    put(IER, 1)
    uart.receive([1, 2, 3, 4, 5, 6, 7])
    clock.advance(7 * char)
    expect(irq.level).toBe(false)
    clock.advance(4 * char - 10)
    expect(irq.level).toBe(false)
    clock.advance(20)
    expect(get(IIR)).toBe(IIR_FIFOS | IIR_TIMEOUT)
    get(DATA) // clears the timeout, and starts it again
    expect(get(IIR)).toBe(IIR_FIFOS | IIR_NONE)
    uart.receive([8, 9])
    clock.advance(2 * char)
    expect(get(IIR)).toBe(IIR_FIFOS | IIR_RECEIVED)
    get(DATA)
    expect(irq.level).toBe(false)
    put(FCR, FCR_ENABLE | FCR_CLEAR_RX)
    clock.advance(10 * char)
    expect(irq.level).toBe(false)
    expect(get(LSR)).toBe(IDLE)
  })

  it('shows a character’s errors when it comes to the top', () => {
    const { clock, uart, get, put, char } = setup()
    put(FCR, FCR_ENABLE)
    uart.receive([1])
    uart.receiveError(2, 'parity')
    uart.receiveError(3, 'framing')
    uart.receiveBreak()
    clock.advance(4 * char)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_FIFO_ERROR)
    get(DATA)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_FIFO_ERROR | LSR_PE)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_FIFO_ERROR)
    get(DATA)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_FIFO_ERROR | LSR_FE)
    get(DATA)
    expect(get(LSR)).toBe(IDLE | LSR_DR | LSR_FIFO_ERROR | LSR_BI | LSR_FE)
    expect(get(LSR)).toBe(IDLE | LSR_DR)
    expect(get(DATA)).toBe(0)
  })

  it('orders its interrupts', () => {
    const { clock, uart, get, put, char } = setup()
    uart.setModemLines({ cts: false })
    uart.receiveError(1, 'parity')
    clock.advance(char)
    put(IER, 0x0f)
    expect(get(IIR)).toBe(IIR_LINE_STATUS)
    get(LSR)
    expect(get(IIR)).toBe(IIR_RECEIVED)
    get(DATA)
    expect(get(IIR)).toBe(IIR_THR_EMPTY)
    expect(get(IIR)).toBe(IIR_MODEM_STATUS)
    get(MSR)
    expect(get(IIR)).toBe(IIR_NONE)
  })

  it('lets the interrupt out through OUT2 only', () => {
    const { irq, put } = setup()
    put(IER, 2)
    expect(irq.level).toBe(true)
    put(MCR, 0)
    expect(irq.level).toBe(false)
    put(MCR, MCR_OUT2)
    expect(irq.level).toBe(true)
    put(MCR, MCR_OUT2 | MCR_LOOP)
    expect(irq.level).toBe(false)
  })

  it('latches modem line changes, RI on its trailing edge', () => {
    const { uart, get } = setup()
    uart.setModemLines({ ri: true, dsr: false })
    expect(get(MSR)).toBe(0x80 | 0x40 | 0x10 | 0x02)
    uart.setModemLines({ ri: false })
    expect(get(MSR)).toBe(0x80 | 0x10 | 0x04)
    expect(get(MSR)).toBe(0x90)
  })

  it('loops data, outputs and break back', () => {
    const { clock, sent, log, uart, get, put, char } = setup()
    put(MCR, 0x03)
    expect(log).toEqual(['DTRRTS'])
    put(MCR, MCR_LOOP | MCR_OUT1 | 0x02)
    expect(log).toEqual(['DTRRTS', ''])
    expect(get(MSR) & 0xf0).toBe(0x50) // RTS on CTS, OUT1 on RI
    put(DATA, 0x5a)
    uart.receive([0x33]) // the input pin is disconnected
    clock.advance(char)
    expect(get(DATA)).toBe(0x5a)
    expect(get(LSR) & LSR_DR).toBe(0)
    put(LCR, 0x03 | LCR_BREAK)
    expect(get(LSR) & (LSR_BI | LSR_DR)).toBe(LSR_BI | LSR_DR)
    expect(sent).toEqual([])
    put(LCR, 0x03)
    put(MCR, 0)
    put(LCR, 0x43)
    put(LCR, 0x03)
    expect(log.slice(2)).toEqual(['break true', 'break false'])
  })

  it('instant pacing hands bytes over when they are written', () => {
    const { clock, sent, get, put } = setup({ instant: true })
    put(DATA, 0x41)
    expect(sent).toEqual([0x41])
    expect(get(LSR) & LSR_TEMT).toBe(0)
    clock.advance(200)
    expect(get(LSR)).toBe(IDLE)
  })

  it('holds the sender back when lossless, and bounds the queue', () => {
    const { clock, uart, get, char } = setup({ lossless: true, queueSize: 20 })
    expect(uart.receive(new Uint8Array(30).map((_, i) => i))).toBe(20)
    const seen: number[] = []
    for (let i = 0; i < 20; i++) {
      clock.advance(5 * char)
      seen.push(get(DATA))
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(get(LSR)).toBe(IDLE)
  })

  it('does no work when idle', () => {
    const { clock } = setup()
    expect(clock.scheduled).toBe(0)
  })

  it('refuses damaged state', () => {
    const { uart } = setup()
    const state = uart.saveState()
    expect(() => uart.loadState({ ...state, rx: new Uint8Array(2), rxFlags: new Uint8Array(2) })).toThrowError(/rx/)
    expect(() => uart.loadState({ ...state, divisor: -1 })).toThrowError(/divisor/)
    expect(() => uart.loadState({ ...state, txDeadline: 5 })).toThrowError(/txDeadline/)
  })
})
