import { type EventMap, VirtkitError } from '../contracts/index.js'
import { ICW4_AEOI, ICW4_UPM, OCW2_EOI, PIC_ACTION, PIC_CASCADE_LEVEL, PicPair } from '../interrupts/index.js'
import { EventHub } from './event-hub.js'
import { binary8, type ExplainValue, type Explanation, hex, StepList } from './explanation.js'

type PicEvent = EventMap['pic']

/** One interrupt on the pair of 8259As of a PC, for {@link explainPic}. */
export interface PicScenario {
  /** 0–15, but not 2. */
  readonly irq: number
  /** The IRQ's mask bit is set. Default false. */
  readonly masked?: boolean
  /** Automatic end of interrupt. Default false. */
  readonly autoEoi?: boolean
  /** An IRQ that is already in service. */
  readonly inService?: number
  /** The device lets its wire fall before the processor acknowledges: a spurious interrupt. Default false. */
  readonly withdraw?: boolean
  /** Vector of IRQ 0. Default 0x20. */
  readonly masterBase?: number
  /** Vector of IRQ 8. Default 0x28. */
  readonly slaveBase?: number
}

const NOTES: readonly string[] = [
  'a masked request still latches in IRR; IMR only keeps it from INT.',
  'with automatic EOI the ISR bit clears at the second INTA, without a command.',
  'the wire must stay high until the first INTA; if it falls, the controller answers with level 7 (spurious) and sets no ISR bit.',
]

/**
 * Runs one interrupt through a pair of 8259As and tells the six steps of its sequence (course topic X9): request and
 * IRR, priority and INT, first INTA,
 * ISR and IRR, second INTA with the vector, end of interrupt.
 * @throws VirtkitError `bad-argument` for IRQs or vectors out of range
 */
export function explainPic(scenario: PicScenario): Explanation {
  const { irq, masked = false, autoEoi = false, inService, withdraw = false } = scenario
  const { masterBase = 0x20, slaveBase = 0x28 } = scenario
  checkIrq('irq', irq)
  if (inService !== undefined) checkIrq('inService', inService)
  if (irq === inService)
    throw new VirtkitError('bad-argument', `IRQ ${irq} cannot be requested and in service at once here`)
  for (const base of [masterBase, slaveBase]) {
    if (!Number.isInteger(base) || base < 0 || base > 0xff || base & 7) {
      throw new VirtkitError('bad-argument', `a vector base is a multiple of 8 up to 0xf8, got ${base}`)
    }
  }
  const hub = new EventHub()
  const pair = new PicPair({ events: hub })
  const icw4 = ICW4_UPM | (autoEoi ? ICW4_AEOI : 0)
  pair.master.initialise({ base: masterBase, slaves: 1 << PIC_CASCADE_LEVEL, icw4 })
  pair.slave.initialise({ base: slaveBase, id: PIC_CASCADE_LEVEL, icw4 })
  if (inService !== undefined) {
    pair.line(inService).setLevel(true)
    pair.acknowledge()
    pair.line(inService).setLevel(false)
  }
  if (masked) (irq < 8 ? pair.master : pair.slave).writePort(1, 1, 1 << (irq & 7))
  const line = pair.line(irq)
  const events = hub.record(['pic'], () => {
    line.setLevel(true)
    if (!pair.pending) return
    if (withdraw) line.setLevel(false)
    pair.acknowledge()
    line.setLevel(false)
    // A handler that finds no ISR bit set sends no EOI for a spurious level 7.
    if (autoEoi) return
    if (pair.slave.isr !== 0) pair.slave.writePort(0, 1, OCW2_EOI)
    if (pair.master.isr !== 0) pair.master.writePort(0, 1, OCW2_EOI)
  })
  return explainPicEvents(
    events.map(({ event }) => event),
    { title: `8259A: IRQ ${irq}`, autoEoi },
  )
}

function checkIrq(name: string, irq: number): void {
  if (!Number.isInteger(irq) || irq < 0 || irq > 15 || irq === PIC_CASCADE_LEVEL) {
    throw new VirtkitError('bad-argument', `${name}: IRQ 0 to 15 except the cascade's 2 was expected, got ${irq}`)
  }
}

/**
 * Tells the six steps from 'pic' events, which any `Pic8259`, `PicPair` or machine emits: those of one interrupt, from
 * its request on.
 */
export function explainPicEvents(
  events: readonly PicEvent[],
  options: { readonly title?: string; readonly autoEoi?: boolean } = {},
): Explanation {
  const of = (...actions: string[]): PicEvent[] => events.filter(({ action }) => actions.includes(action))
  const steps = new StepList()
  const title = `${options.title ?? '8259A'}: the interrupt sequence`
  const registers = ({ irr, isr, imr }: PicEvent): Record<string, ExplainValue> => ({ irr, isr, imr })

  const latched = of(PIC_ACTION.latch)
  steps.add(
    'Request',
    latched.length === 0
      ? 'no request'
      : latched.map(({ chip, line, irr }) => `${chip}: IR${line} rises and latches, IRR = ${binary8(irr)}`).join('\n'),
    latched[0] ? { line: latched[0].line!, ...registers(latched[0]) } : {},
    1,
  )

  const raised = of(PIC_ACTION.int)
  const resolved = of(PIC_ACTION.resolve)
  const asserted = raised.some(({ chip }) => chip === latched.at(-1)?.chip)
  const last = latched.at(-1)
  const lines = resolved.map(
    ({ chip, line, imr, isr }) =>
      `${chip}: IMR = ${binary8(imr)}, ISR = ${binary8(isr)}: level ${line} wins, ${raised.some((event) => event.chip === chip && event.line === line) ? 'INT rises' : 'INT stays high'}`,
  )
  if (!asserted && last !== undefined) lines.push(`${last.chip}: ${whyNot(last)}`)
  if (lines.length > 0) {
    const at = resolved.at(-1) ?? last!
    steps.add('Mask, priority, INT', lines.join('\n'), { int: asserted, ...registers(at) }, 2)
  }

  const first = of(PIC_ACTION.inta1, PIC_ACTION.spurious)
  const second = of(PIC_ACTION.inta2)
  const withdrawn = of(PIC_ACTION.withdraw).filter(
    (event) => first[0] && events.indexOf(event) < events.indexOf(first[0]),
  )
  const spurious = of(PIC_ACTION.spurious)
  if (first.length > 0) {
    const fell = withdrawn.map(({ chip, line }) => `${chip}: IR${line} fell before; its request is gone\n`).join('')
    steps.add(
      'First INTA',
      `${fell}the processor answers INT with a first INTA pulse (interrupts are enabled: IF = 1)`,
      {},
      3,
    )
    steps.add(
      'Into service',
      first
        .map(({ action, chip, line, irr, isr }) =>
          action === PIC_ACTION.spurious
            ? `${chip}: no request any more: level 7 answers, ISR stays ${binary8(isr)} (spurious)`
            : `${chip}: ISR bit ${line} is set, ISR = ${binary8(isr)}; IRR = ${binary8(irr)}; nothing on the data bus yet`,
        )
        .join('\n'),
      { spurious: spurious.length > 0, ...registers(first.at(-1)!) },
      4,
    )
  }
  // Across a cascade the slave's byte is the vector; the master puts the slave's number on CAS0-2.
  const driver = second.find(({ chip }) => chip === 'slave') ?? second[0]
  if (driver !== undefined) {
    const cascade = second.length > 1 ? 'the master names the slave on CAS0-2; ' : ''
    steps.add(
      'Second INTA: the vector',
      `${cascade}${driver.chip}: vector ${hex(driver.vector!, 2)} on the data bus (base ${hex(driver.vector! & 0xf8, 2)} + level ${driver.line})`,
      { vector: driver.vector!, line: driver.line! },
      5,
    )
    const ended = of(PIC_ACTION.eoi)
    const how = options.autoEoi ? 'automatically at the second INTA' : 'by the EOI command of the handler'
    steps.add(
      'End of interrupt',
      ended.length > 0
        ? ended
            .map(({ chip, line, isr }) => `${chip}: ISR bit ${line} is cleared ${how}, ISR = ${binary8(isr)}`)
            .join('\n')
        : spurious.length > 0
          ? 'none: nothing is in service'
          : 'not yet: levels of the same and lower priority wait',
      ended.length > 0 ? registers(ended.at(-1)!) : {},
      6,
    )
  }
  const ok = driver !== undefined && spurious.length === 0
  return {
    topic: 'pic',
    title,
    steps: steps.steps,
    ok,
    outcome:
      driver === undefined
        ? 'the request waits in IRR; the processor is not interrupted'
        : `the processor gets vector ${hex(driver.vector!, 2)}${spurious.length > 0 ? ', a spurious one' : ''}`,
    result: driver === undefined ? {} : { vector: driver.vector!, spurious: spurious.length > 0 },
    notes: NOTES,
  }
}

/** Why a latched request does not reach INT. */
function whyNot({ line, imr, isr }: PicEvent): string {
  if ((imr >> line!) & 1) return `IMR = ${binary8(imr)}: level ${line} is masked, INT stays low`
  if (isr !== 0) return `ISR = ${binary8(isr)}: a level of the same or higher priority is in service, INT stays low`
  return 'INT stays low: the chip is being initialised, or INT is high already'
}
