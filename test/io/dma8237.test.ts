import { describe, expect, test } from 'vitest'
import type { PhysicalBus } from '../../src/contracts/bus.js'
import type { EventMap, EventSink } from '../../src/contracts/events.js'
import { DMA_PRIMARY_PORT, DMA_SECONDARY_PORT, DmaPair } from '../../src/io/dma-pair.js'
import {
  DMA_ACTION,
  DMA_CLEAR_MASK,
  DMA_COMMAND,
  DMA_COMMAND_DREQ_LOW,
  DMA_COMMAND_HOLD,
  DMA_COMMAND_MEMORY,
  DMA_MODE,
  DMA_MODE_AUTOINIT,
  DMA_MODE_BLOCK,
  DMA_MODE_DECREMENT,
  DMA_MODE_DEMAND,
  DMA_MODE_READ,
  DMA_MODE_SINGLE,
  DMA_MODE_WRITE,
  DMA_REQUEST,
  DMA_SINGLE_MASK,
  DMA_STATUS,
  DMA_TEMPORARY,
  type DmaDevice,
} from '../../src/io/dma-registers.js'
import { Dma8237 } from '../../src/io/dma8237.js'
import { PortBus } from '../../src/io/port-bus.js'

class Memory implements PhysicalBus {
  readonly bytes = new Uint8Array(1 << 24)
  read8(a: number): number {
    return this.bytes[a]!
  }
  read16(a: number): number {
    return this.bytes[a]! | (this.bytes[a + 1]! << 8)
  }
  read32(a: number): number {
    return (this.read16(a) | (this.read16(a + 2) << 16)) >>> 0
  }
  write8(a: number, v: number): void {
    this.bytes[a] = v
  }
  write16(a: number, v: number): void {
    this.bytes[a] = v
    this.bytes[a + 1] = v >> 8
  }
  write32(a: number, v: number): void {
    this.write16(a, v)
    this.write16(a + 2, v >>> 16)
  }
}

function program(dma: Dma8237, channel: number, mode: number, address: number, count: number): void {
  dma.writePort(0xc, 1, 0)
  dma.writePort(DMA_MODE, 1, mode | channel)
  for (const [register, value] of [
    [channel * 2, address],
    [channel * 2 + 1, count],
  ] as const) {
    dma.writePort(register, 1, value & 0xff)
    dma.writePort(register, 1, value >> 8)
  }
  dma.writePort(DMA_SINGLE_MASK, 1, channel)
}

const counting = (value = 0): DmaDevice & { taken: number[]; ends: number } => {
  const device = {
    taken: [] as number[],
    ends: 0,
    read: () => value++,
    write: (v: number) => void device.taken.push(v),
    terminalCount: () => void device.ends++,
  }
  return device
}

describe('one 8237A', () => {
  test('tells the steps of a transfer', () => {
    const events: EventMap['dma'][] = []
    const sink: EventSink = { wants: () => true, emit: (_n, e) => void events.push(e as EventMap['dma']) }
    const memory = new Memory()
    const dma = new Dma8237({ bus: memory, events: sink })
    dma.connect(2, counting(0x41))
    program(dma, 2, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0x1234, 1)
    expect(events).toEqual([]) // programming the controller is not the request
    dma.setRequest(2, true)
    expect(events.map((e) => e.action)).toEqual([
      DMA_ACTION.request,
      DMA_ACTION.hold,
      DMA_ACTION.resolve,
      DMA_ACTION.granted,
      DMA_ACTION.acknowledge,
      DMA_ACTION.transfer,
      DMA_ACTION.release,
      DMA_ACTION.resolve,
      DMA_ACTION.granted,
      DMA_ACTION.acknowledge,
      DMA_ACTION.transfer,
      DMA_ACTION.terminalCount,
      DMA_ACTION.release,
    ])
    expect([...memory.bytes.slice(0x1234, 0x1237)]).toEqual([0x41, 0x42, 0])
  })

  test('a masked request waits for the mask; status shows it and then the terminal count, once', () => {
    const dma = new Dma8237({ bus: new Memory() })
    const device = counting()
    dma.connect(1, device)
    program(dma, 1, DMA_MODE_BLOCK | DMA_MODE_READ, 0, 9)
    dma.writePort(DMA_SINGLE_MASK, 1, 5)
    dma.setRequest(1, true)
    expect([dma.readPort(DMA_STATUS, 1), device.taken.length]).toEqual([0x20, 0])
    dma.writePort(DMA_CLEAR_MASK, 1, 0)
    expect([device.taken.length, device.ends]).toEqual([10, 1])
    dma.setRequest(1, false)
    expect([dma.readPort(DMA_STATUS, 1), dma.readPort(DMA_STATUS, 1)]).toEqual([0x02, 0])
    expect(dma.channel(1).masked).toBe(true)
  })

  test('a device that never drops DREQ moves at most 65536 units per trigger, also when it autoinitialises', () => {
    const dma = new Dma8237({ bus: new Memory() })
    const device = counting()
    dma.connect(0, device)
    dma.setRequest(0, true)
    program(dma, 0, DMA_MODE_DEMAND | DMA_MODE_WRITE | DMA_MODE_AUTOINIT, 0, 0xffff)
    expect([dma.transfers, device.ends]).toEqual([0x10000, 1])
    expect(dma.service(100)).toBe(100)
  })

  test('decrementing wraps within the page', () => {
    const memory = new Memory()
    const dma = new Dma8237({ bus: memory, pages: { page: () => 3 } })
    dma.connect(3, counting(1))
    program(dma, 3, DMA_MODE_BLOCK | DMA_MODE_WRITE | DMA_MODE_DECREMENT, 1, 2)
    dma.setRequest(3, true)
    expect([memory.bytes[0x30001], memory.bytes[0x30000], memory.bytes[0x3ffff]]).toEqual([1, 2, 3])
  })

  test('memory-to-memory copies, or fills with the source held', () => {
    const memory = new Memory()
    memory.bytes.set([1, 2, 3, 4], 0x100)
    const dma = new Dma8237({ bus: memory })
    for (const [hold, result] of [
      [0, [1, 2, 3, 4]],
      [DMA_COMMAND_HOLD, [1, 1, 1, 1]],
    ] as const) {
      dma.writePort(DMA_COMMAND, 1, DMA_COMMAND_MEMORY | hold)
      program(dma, 0, DMA_MODE_BLOCK | DMA_MODE_READ, 0x100, 3)
      program(dma, 1, DMA_MODE_BLOCK | DMA_MODE_WRITE, 0x200, 3)
      dma.writePort(DMA_REQUEST, 1, 4)
      expect([...memory.bytes.slice(0x200, 0x204)]).toEqual(result)
      expect(dma.readPort(DMA_STATUS, 1)).toBe(0x02)
    }
    expect(dma.readPort(DMA_TEMPORARY, 1)).toBe(1)
  })

  test('in memory-to-memory channel 0 reloads when its own, shorter count ends', () => {
    const memory = new Memory()
    memory.bytes.set([7, 8, 9], 0x100)
    const dma = new Dma8237({ bus: memory })
    dma.writePort(DMA_COMMAND, 1, DMA_COMMAND_MEMORY)
    program(dma, 0, DMA_MODE_BLOCK | DMA_MODE_READ | DMA_MODE_AUTOINIT, 0x100, 1)
    program(dma, 1, DMA_MODE_BLOCK | DMA_MODE_WRITE, 0x200, 4)
    dma.writePort(DMA_REQUEST, 1, 4)
    expect([...memory.bytes.slice(0x200, 0x206)]).toEqual([7, 8, 7, 8, 7, 0])
    expect(dma.readPort(DMA_STATUS, 1)).toBe(0x02)
  })

  test('terminal counts of several channels collect in status; rotation starts from channel 0 first', () => {
    const dma = new Dma8237({ bus: new Memory(), automatic: false })
    const order: number[] = []
    for (const n of [0, 1, 2]) {
      dma.connect(n, { ...counting(), read: () => order.push(n) })
      program(dma, n, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0, 1)
      dma.setRequest(n, true)
    }
    expect(dma.service(1)).toBe(1) // fixed priority leaves no trace
    dma.writePort(DMA_COMMAND, 1, 0x10)
    dma.service()
    expect(order).toEqual([0, 0, 1, 2, 1, 2])
    expect(dma.readPort(DMA_STATUS, 1) & 0x0f).toBe(7)
  })

  test('software requests need block mode and ignore the mask', () => {
    const dma = new Dma8237({ bus: new Memory() })
    program(dma, 2, DMA_MODE_SINGLE, 0, 4)
    dma.writePort(DMA_SINGLE_MASK, 1, 6)
    dma.writePort(DMA_REQUEST, 1, 6)
    expect(dma.transfers).toBe(0)
    dma.writePort(DMA_MODE, 1, DMA_MODE_BLOCK | 2)
    expect(dma.transfers).toBe(5)
  })

  test('external EOP ends a block', () => {
    const dma = new Dma8237({ bus: new Memory() })
    const device = counting()
    dma.connect(0, {
      ...device,
      read: () => {
        if (dma.channel(0).count === 6) dma.externalEop()
        return 0
      },
    })
    program(dma, 0, DMA_MODE_BLOCK | DMA_MODE_WRITE, 0, 9)
    dma.setRequest(0, true)
    expect([dma.transfers, dma.channel(0).count, dma.channel(0).masked]).toEqual([4, 5, true])
    expect(dma.readPort(DMA_STATUS, 1) & 1).toBe(1)
  })

  test('floating pins never ask, whatever the sense', () => {
    const dma = new Dma8237({ bus: new Memory() })
    dma.writePort(DMA_CLEAR_MASK, 1, 0)
    dma.writePort(DMA_COMMAND, 1, DMA_COMMAND_DREQ_LOW)
    expect(dma.transfers).toBe(0)
    dma.setRequest(1, true)
    expect(dma.transfers).toBe(0)
  })

  test('a device that throws leaves the controller usable', () => {
    const dma = new Dma8237({ bus: new Memory() })
    dma.connect(0, {
      read: () => {
        throw new Error('broken')
      },
      write: () => {},
      terminalCount: () => {},
    })
    program(dma, 0, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0, 3)
    expect(() => dma.setRequest(0, true)).toThrowError('broken')
    dma.connect(0, counting())
    dma.setRequest(0, true)
    expect(dma.transfers).toBe(4)
  })

  test('misuse and bad state are refused', () => {
    const dma = new Dma8237({ bus: new Memory() })
    const other = new Dma8237({ bus: new Memory() })
    const code = (c: string): object => expect.objectContaining({ code: c })
    expect(() => dma.setRequest(4, true)).toThrowError(code('bad-argument'))
    expect(() => dma.service(0)).toThrowError(code('bad-argument'))
    dma.connectCascade(0, other)
    expect(() => other.connectCascade(0, dma)).toThrowError(code('bad-argument'))
    expect(() => dma.connectCascade(1, other)).toThrowError(code('bad-argument'))
    const state = dma.saveState()
    for (const bad of [null, { ...state, version: 2 }, { ...state, tenure: 4 }, { ...state, address: [1, 2, 3] }])
      expect(() => dma.loadState(bad as never)).toThrowError(code('bad-state'))
    expect(dma.saveState()).toEqual(state)
  })
})

describe('the pair of a PC', () => {
  const make = (): { memory: Memory; pair: DmaPair; ports: PortBus } => {
    const memory = new Memory()
    const pair = new DmaPair({ bus: memory })
    const ports = new PortBus()
    ports.register(DMA_PRIMARY_PORT, 16, pair.primaryPorts)
    ports.register(DMA_SECONDARY_PORT, 32, pair.secondaryPorts)
    ports.register(0x80, 16, pair.pages)
    return { memory, pair, ports }
  }

  test('a floppy read on channel 2 as a BIOS programs it', () => {
    const { memory, pair, ports } = make()
    const device = counting(0)
    pair.connect(2, device)
    for (const [port, value] of [
      [0x0a, 0x06], // mask channel 2
      [0x0c, 0x00],
      [0x0b, 0x46], // single, write, channel 2
      [0x04, 0x00],
      [0x04, 0x7c],
      [0x81, 0x01], // page
      [0x05, 0xff],
      [0x05, 0x01], // 512 bytes
      [0x0a, 0x02],
    ] as const)
      ports.write(port, 1, value)
    pair.setRequest(2, true)
    expect(device.ends).toBe(0) // channel 4 is still masked
    ports.write(0xd6, 1, 0xc0)
    ports.write(0xd4, 1, 0x00)
    expect([device.ends, memory.bytes[0x17c00], memory.bytes[0x17dff], memory.bytes[0x17e00]]).toEqual([1, 0, 0xff, 0])
    expect(ports.read(0x08, 1) & 0x0f).toBe(0x04)
  })

  test('channels 5 to 7 move words in pages of 128 KiB', () => {
    const { memory, pair, ports } = make()
    pair.connect(5, counting(0x1234))
    for (const [port, value] of [
      [0xd8, 0], // flip-flop
      [0xd6, 0x85], // block, write, channel 5
      [0xc4, 0xff],
      [0xc4, 0xff], // word 0xffff
      [0x8b, 0x03], // bit 0 is not used
      [0xc6, 0x01],
      [0xc6, 0x00],
      [0xd4, 0x01],
    ] as const)
      ports.write(port, 1, value)
    pair.setRequest(5, true)
    expect([memory.read16(0x3fffe), memory.read16(0x20000)]).toEqual([0x1234, 0x1235])
  })

  test('channels 0 to 3 come before 5 to 7, and rotate among themselves', () => {
    const { pair } = make()
    const order: number[] = []
    const unit = (n: number): DmaDevice => ({ ...counting(), read: () => order.push(n) })
    for (const n of [0, 1, 6]) pair.connect(n, unit(n))
    pair.secondary.writePort(DMA_COMMAND, 1, 4) // hold everything back
    program(pair.primary, 0, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0, 1)
    program(pair.primary, 1, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0, 1)
    program(pair.secondary, 2, DMA_MODE_SINGLE | DMA_MODE_WRITE, 0, 0)
    pair.primary.writePort(DMA_COMMAND, 1, 0x10)
    pair.secondary.writePort(DMA_MODE, 1, 0xc0)
    pair.secondary.writePort(DMA_SINGLE_MASK, 1, 0)
    for (const n of [6, 1, 0]) pair.setRequest(n, true)
    pair.secondary.writePort(DMA_COMMAND, 1, 0)
    expect(order).toEqual([0, 1, 0, 1, 6])
  })

  test('page registers read back, port 0x80 keeps the POST code', () => {
    const { pair, ports } = make()
    ports.write(0x80, 1, 0x55)
    ports.write(0x8f, 1, 0x66)
    expect([ports.read(0x80, 1), pair.pages.postCode, pair.pages.page(4)]).toEqual([0x55, 0x55, 0x66])
    expect(() => pair.connect(4, counting())).toThrowError(expect.objectContaining({ code: 'bad-argument' }))
  })

  test('state goes round, within a block too', () => {
    const memory = new Memory()
    const pair = new DmaPair({ bus: memory, automatic: false })
    pair.initialise()
    pair.connect(3, counting(1))
    program(pair.primary, 3, DMA_MODE_BLOCK | DMA_MODE_WRITE, 0, 9)
    pair.setRequest(3, true)
    expect(pair.service(4)).toBe(4)
    pair.setRequest(3, false)
    const copy = new DmaPair({ bus: memory, automatic: false })
    copy.loadState(pair.saveState())
    expect(copy.saveState()).toEqual(pair.saveState())
    copy.connect(3, counting(5))
    expect(copy.service()).toBe(6)
    expect([...memory.bytes.slice(0, 11)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0])
  })
})
