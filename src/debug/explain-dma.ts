import { type EventMap, type PhysicalBus, VirtkitError } from '../contracts/index.js'
import {
  DMA_ACTION,
  DMA_CLEAR_FLIP_FLOP,
  DMA_MODE,
  DMA_MODE_AUTOINIT,
  DMA_MODE_BLOCK,
  DMA_MODE_DEMAND,
  DMA_MODE_READ,
  DMA_MODE_SINGLE,
  DMA_MODE_VERIFY,
  DMA_MODE_WRITE,
  DMA_PAGE_OFFSET,
  DMA_SINGLE_MASK,
  DmaPair,
} from '../io/index.js'
import { AddressSpace } from '../memory/index.js'
import { EventHub } from './event-hub.js'
import { type Explanation, hex, StepList } from './explanation.js'

type DmaEvent = EventMap['dma']

/** One transfer on the DMA controllers of a PC, for {@link explainDma}. */
export interface DmaScenario {
  /** 0–3 (bytes) or 5–7 (16-bit words). */
  readonly channel: number
  /** Physical address, below 16 MiB. Default 0x1000. Even on channels 5–7. */
  readonly address?: number
  /** Bytes or words, 1 to 65536. Default 4. */
  readonly count?: number
  /** Default `write`: from the device to memory. `read`: from memory to the device. */
  readonly direction?: 'write' | 'read' | 'verify'
  /** Default `single`. */
  readonly mode?: 'single' | 'block' | 'demand'
  /** The channel's mask bit stays set. Default false. */
  readonly masked?: boolean
  /** Address and count are reloaded at the end. Default false. */
  readonly autoinitialise?: boolean
  /** Memory to use. Default: 16 MiB of its own. */
  readonly memory?: PhysicalBus
}

const NOTES: readonly string[] = [
  'programming the controller (address, count, mode, mask) comes before and is not the request: DREQ of the device is.',
  'the count register holds one less than the number of transfers; terminal count is its step from 0 to 0xffff.',
  'the processor runs on while the device prepares; only the bus cycles of the transfers are taken from it, and it learns of the end by an interrupt or by asking.',
]

/**
 * Runs a transfer through the 8237As of a PC and tells it in four steps (course topic X14): request (DREQ, mask,
 * priority), response (HRQ, HLDA,
 * DACK), transfer, end (terminal count).
 * @throws VirtkitError `bad-argument` for a channel, address or count that the controllers do not have
 */
export function explainDma(scenario: DmaScenario): Explanation {
  const { channel, address = 0x1000, count = 4, direction = 'write', mode = 'single' } = scenario
  const { masked = false, autoinitialise = false } = scenario
  if (!Number.isInteger(channel) || channel < 0 || channel > 7 || channel === 4) {
    throw new VirtkitError('bad-argument', `a DMA channel is 0 to 3 or 5 to 7, got ${channel}`)
  }
  const wide = channel > 3
  if (!Number.isInteger(address) || address < 0 || address > 0xffffff || (wide && address % 2 !== 0)) {
    throw new VirtkitError(
      'bad-argument',
      `a DMA address is below 16 MiB${wide ? ' and even on this channel' : ''}, got ${hex(Number(address) || 0)}`,
    )
  }
  if (!Number.isInteger(count) || count < 1 || count > 0x10000) {
    throw new VirtkitError('bad-argument', `a DMA transfer has 1 to 65536 units, got ${count}`)
  }
  const directions = { write: DMA_MODE_WRITE, read: DMA_MODE_READ, verify: DMA_MODE_VERIFY }
  const modes = { single: DMA_MODE_SINGLE, block: DMA_MODE_BLOCK, demand: DMA_MODE_DEMAND }
  if (!(direction in directions))
    throw new VirtkitError('bad-argument', `a direction is read, write or verify; got '${direction}'`)
  if (!(mode in modes)) throw new VirtkitError('bad-argument', `a mode is single, block or demand; got '${mode}'`)

  const hub = new EventHub()
  const dma = new DmaPair({ bus: scenario.memory ?? new AddressSpace({ size: 0x1000000 }), events: hub })
  dma.initialise()
  let next = 0
  dma.connect(channel, {
    read: () => next++ & 0xff,
    write: () => {},
    terminalCount: () => dma.setRequest(channel, false),
  })
  // Registers of the 16-bit controller are two ports apart.
  const chip = wide ? dma.secondary : dma.primary
  const n = channel & 3
  const write = (register: number, value: number): void => chip.writePort(register, 1, value & 0xff)
  const unit = wide ? address / 2 : address
  write(DMA_SINGLE_MASK, 4 | n)
  write(DMA_MODE, modes[mode] | directions[direction] | (autoinitialise ? DMA_MODE_AUTOINIT : 0) | n)
  write(DMA_CLEAR_FLIP_FLOP, 0)
  write(2 * n, unit)
  write(2 * n, unit >> 8)
  write(2 * n + 1, count - 1)
  write(2 * n + 1, (count - 1) >> 8)
  dma.pages.writePort(DMA_PAGE_OFFSET[channel]!, 1, wide ? (address >> 16) & 0xfe : address >> 16)
  if (!masked) write(DMA_SINGLE_MASK, n)
  const events = hub.record(['dma'], () => dma.setRequest(channel, true), 1_000_000)
  return explainDmaEvents(
    events.map(({ event }) => event),
    {
      title: `8237A: channel ${channel}, ${count} ${wide ? 'word' : 'byte'}${count === 1 ? '' : 's'}, ${direction}, ${mode} mode`,
    },
  )
}

/** Tells the four steps from 'dma' events, which any `Dma8237`, `DmaPair` or machine emits: those of one block. */
export function explainDmaEvents(events: readonly DmaEvent[], options: { readonly title?: string } = {}): Explanation {
  const of = (action: string): DmaEvent[] => events.filter((event) => event.action === action)
  const steps = new StepList()
  const title = `${options.title ?? '8237A'}: a DMA transfer`
  const where = ({ chip, channel }: DmaEvent): string => `${chip} channel ${channel}`
  const unique = (list: readonly DmaEvent[], text: (event: DmaEvent) => string): string[] => [
    ...new Set(list.map(text)),
  ]

  const requests = of(DMA_ACTION.request)
  const masked = of(DMA_ACTION.masked)
  const transfers = of(DMA_ACTION.transfer)
  const held = masked.length > 0 && transfers.length === 0
  steps.add(
    'Request',
    [
      ...unique(requests, (event) => `${where(event)}: DREQ becomes active`),
      ...unique(masked, (event) => `${where(event)}: its mask bit is set, the request waits`),
      ...unique(of(DMA_ACTION.resolve), (event) => `${where(event)}: not masked, and first by priority`),
    ].join('\n') || 'no request',
    { requests: requests.length, masked: held, ...(requests[0] ? { channel: requests[0].channel } : {}) },
    1,
  )
  const response = [
    ...unique(of(DMA_ACTION.hold), ({ chip }) => `${chip}: HRQ asks for the bus`),
    ...unique(of(DMA_ACTION.granted), ({ chip }) => `${chip}: HLDA, the bus is granted`),
    ...unique(
      of(DMA_ACTION.acknowledge),
      (event) => `${where(event)}: DACK tells the device (or the controller behind it)`,
    ),
  ]
  if (response.length > 0) steps.add('Response', response.join('\n'), { tenures: of(DMA_ACTION.granted).length }, 2)
  const first = transfers[0]
  const last = transfers.at(-1)
  if (first !== undefined && last !== undefined) {
    // Every grant of the chip that moves the data is one tenure of the bus.
    const tenures = of(DMA_ACTION.granted).filter(({ chip }) => chip === first.chip).length
    const range =
      transfers.length === 1
        ? `address ${hex(first.address!, 6)}, count ${first.count}`
        : `addresses ${hex(first.address!, 6)} to ${hex(last.address!, 6)}, count from ${first.count} to ${last.count}`
    steps.add(
      'Transfer',
      `${where(first)}: ${transfers.length} transfer${transfers.length === 1 ? '' : 's'} in ${tenures} bus tenure${tenures === 1 ? '' : 's'}: ${range}`,
      { transfers: transfers.length, tenures, first: first.address!, last: last.address! },
      3,
    )
  }
  const terminal = of(DMA_ACTION.terminalCount)
  const ends = [
    ...terminal.map((event) => `${where(event)}: terminal count, TC to the device`),
    ...of(DMA_ACTION.reload).map(
      (event) => `${where(event)}: address and count are reloaded, ready for the next block`,
    ),
    ...unique(of(DMA_ACTION.release), ({ chip }) => `${chip}: the bus goes back`),
  ]
  if (ends.length > 0) steps.add('End', ends.join('\n'), { terminalCount: terminal.length > 0 }, 4)
  const complete = terminal.length > 0
  return {
    topic: 'dma',
    title,
    steps: steps.steps,
    ok: complete,
    outcome: complete
      ? `${transfers.length} transfer${transfers.length === 1 ? '' : 's'}, ended by terminal count`
      : held
        ? 'the mask holds the request back; nothing moves'
        : `${transfers.length} transfers so far, no terminal count`,
    result: { transfers: transfers.length, terminalCount: complete, masked: held },
    notes: NOTES,
  }
}
