import { type EventMap, type GuestFault, VirtkitError } from '../contracts/index.js'
import {
  checkInterruptGate,
  checkInterruptTarget,
  checkTableLimit,
  DESC_TYPE_TASK_GATE,
  decodeDescriptor,
  descriptorAttr,
  descriptorLimit,
  EFER_LMA,
  ERROR_EXT,
  gateOffset32,
  gateSelector,
  type InterruptTarget,
  idtErrorCode,
  isCanonicalHigh,
  isConforming,
  isNullSelector,
  makeFault,
  type SegmentCache,
  selectorIndex,
  toGuestFault,
} from '../mmu/index.js'
import { EventHub } from './event-hub.js'
import { describeDescriptor, segmentationUnit } from './explain-segmentation.js'
import { type ExplainValue, type Explanation, exceptionName, faultText, hex, StepList } from './explanation.js'
import {
  catchPageFault,
  type ExplainSource,
  is8086,
  type ProcessorView,
  processorView,
  TablePageFault,
  TableReader,
} from './processor-view.js'

/** Options of {@link explainInterrupt}. */
export interface InterruptExplainOptions {
  /**
   * True for INT n, INT3 and INTO, which the gate's DPL can refuse. Default false: an external interrupt or an
   * exception.
   */
  readonly software?: boolean
}

/** Vector of #GP. */
const VECTOR_GP = 13

const NOTES: readonly string[] = [
  "the gate's selector may name the LDT as well as the GDT.",
  'a task gate has no offset: the new task starts where its TSS says.',
  'entries are 4 bytes in real-address mode, 8 in protected mode, 16 in long mode.',
]

/**
 * How a handler's address is found (course topic X11), in three steps: the entry in the table that IDTR names, the code
 * segment that its selector names,
 * base + offset. In the mode that the processor is in: vector table, IDT, or IDT of long mode. Nothing in the machine
 * changes.
 *
 * Whether the stack has room, and what an exception's delivery pushes, is not part of it. In virtual-8086 mode INT n is
 * taken to go through the IDT: IOPL 3, no redirection bitmap.
 * @throws VirtkitError `bad-argument` for a vector outside 0–255
 */
export function explainInterrupt(
  source: ExplainSource,
  vector: number,
  options: InterruptExplainOptions = {},
): Explanation {
  if (!Number.isInteger(vector) || vector < 0 || vector > 255) {
    throw new VirtkitError('bad-argument', `an interrupt vector is 0 to 255, got ${vector}`)
  }
  const view = processorView(source)
  const software = options.software ?? false
  const kind = software ? `INT ${hex(vector)}` : vector < 32 ? exceptionName(vector) : 'external interrupt'
  const title = `Interrupt: vector ${hex(vector, 2)} (${kind}) at CPL ${view.cpl}`
  if (is8086(view) && !view.v86) return explainReal(view, title, vector)
  const explanation =
    (view.efer & EFER_LMA) !== 0
      ? explainLong(view, title, vector, software)
      : explainProtected(view, title, vector, software)
  return software || explanation.ok ? explanation : withExtBit(explanation)
}

/** Faults while an external interrupt or an exception is delivered have EXT set in their error code. */
function withExtBit(explanation: Explanation): Explanation {
  const { vector, errorCode } = explanation.result
  if (typeof vector !== 'number' || typeof errorCode !== 'number' || vector < 10 || vector > VECTOR_GP)
    return explanation
  const fault = { vector, errorCode: errorCode | ERROR_EXT }
  return {
    ...explanation,
    outcome: `the processor raises ${faultText(fault)} while it delivers this one (bit 0: EXT)`,
    result: fault,
  }
}

function explainReal(view: ProcessorView, title: string, vector: number): Explanation {
  const steps = new StepList()
  const { base, limit } = view.idtr
  const address = base + 4 * vector
  if (4 * vector + 3 > limit) {
    steps.add('Find the entry', `${vector} × 4 + 3 is beyond IDTR's limit ${hex(limit)}`, { base, limit })
    return fail(title, steps, { vector: VECTOR_GP, errorCode: undefined })
  }
  const reader = new TableReader(view)
  const offset = reader.read16(address)
  const selector = reader.read16(address + 2)
  steps.add('Find the entry', `IDTR base ${hex(base, 5)} + ${vector} × 4 = ${hex(address, 5)} in the vector table`, {
    base,
    address,
  })
  const segment = selector * 16
  steps.add(
    'Read segment and offset',
    `${hex(selector, 4)}:${hex(offset, 4)}: the segment's base is ${hex(selector, 4)} × 16 = ${hex(segment, 5)}`,
    {
      selector,
      offset,
      base: segment,
    },
  )
  const linear = segment + offset
  steps.add('Add base and offset', `${hex(segment, 5)} + ${hex(offset, 4)} = ${hex(linear, 5)}`, { linear })
  return succeed(title, steps, { kind: 'interrupt', selector, offset, linear, privilege: 0 })
}

function explainProtected(view: ProcessorView, title: string, vector: number, software: boolean): Explanation {
  const steps = new StepList()
  const hub = new EventHub()
  const unit = segmentationUnit(view, hub)
  const events: EventMap['translation'][] = []
  let ldtSelector = 0
  // A view that gives only LDTR's selector: what LLDT would have done before.
  if (typeof view.ldtr === 'number') {
    ldtSelector = view.ldtr
    unit.cpl = 0
    const ldt = catchPageFault(() => unit.lldt(ldtSelector))
    if (ldt !== undefined) unit.ldtr = { selector: ldtSelector, base: 0, limit: 0, attr: 0 }
    unit.cpl = view.cpl
  }
  hub.on('translation', (event) => events.push(event))
  const found = catchPageFault(() => unit.resolveInterrupt(vector, software))
  const get = (step: string): EventMap['translation']['detail'] | undefined =>
    events.find((event) => event.step === step)?.detail
  const gate = get('gate')
  const { base: idt, limit } = view.idtr
  let fault: GuestFault | undefined
  if (found instanceof TablePageFault) fault = { vector: 14, errorCode: found.errorCode }
  else if (!('kind' in found)) fault = found
  if (gate === undefined) {
    const why =
      fault?.vector === 14
        ? 'the page of the IDT cannot be read'
        : `${vector} × 8 + 7 is beyond IDTR's limit ${hex(limit)}`
    steps.add('Find the gate', why, { base: idt, limit })
    return fail(title, steps, fault!)
  }
  const address = Number(gate.address)
  const lo = unitRead(view, address)
  const hi = unitRead(view, address + 4)
  const described = `IDTR base ${hex(idt, 8)} + ${vector} × 8 = ${hex(address, 8)}: ${describeDescriptor(lo, hi)}`
  const table = get('table')
  const descriptor = get('descriptor')
  const selector = Number(gate.selector)
  const gateValues = { address, selector, type: gate.type!, dpl: gate.dpl! }
  const task = found instanceof TablePageFault ? false : 'kind' in found && found.kind === 'task'
  if (table === undefined && !task) {
    // The gate itself was refused: wrong type, privilege, not present, or a null selector.
    steps.add('Find the gate', `${described}\nit cannot be used: ${faultText(fault!)}`, gateValues)
    return fail(title, steps, fault!)
  }
  steps.add('Find the gate', described, gateValues)
  if (task) {
    steps.add('Find the TSS', `selector ${hex(selector, 4)} names the TSS of the task that handles it`, { selector })
    steps.add('No offset', 'the task switch takes CS and EIP from that TSS', {})
    return succeed(title, steps, found as InterruptTarget)
  }
  const name = String(table!.table)
  const from = `selector ${hex(selector, 4)}: ${name} base ${hex(Number(table!.base), 8)} + ${selectorIndex(selector)} × 8`
  if (descriptor === undefined) {
    steps.add('Find the code segment', `${from} is beyond the table: ${faultText(fault!)}`, { selector })
    return fail(title, steps, fault!)
  }
  const codeLo = Number(descriptor.lo)
  const codeHi = Number(descriptor.hi)
  // The unit has no virtual-8086 mode; from there only handlers at ring 0 are allowed.
  if (view.v86 && fault === undefined) {
    const refused = checkInterruptTarget(selector, descriptorAttr(codeHi), 3, false, true)
    if (refused !== 0) fault = toGuestFault(refused)
  }
  const code = `${from} = ${hex(Number(descriptor.address), 8)}: ${describeDescriptor(codeLo, codeHi)}`
  const codeValues = { selector, table: name, address: descriptor.address!, lo: codeLo, hi: codeHi }
  if (fault !== undefined) {
    steps.add('Find the code segment', `${code}\nno handler can run there: ${faultText(fault)}`, codeValues)
    return fail(title, steps, fault)
  }
  steps.add('Find the code segment', code, codeValues)
  const handler = get('handler')!
  const offset = Number(handler.offset)
  const codeLimit = descriptorLimit(codeLo, codeHi)
  if (offset > codeLimit) {
    fault = { vector: VECTOR_GP, errorCode: 0 }
    steps.add('Check the offset', `offset ${hex(offset, 8)} is beyond the limit ${hex(codeLimit)}: #GP`, {
      offset,
      limit: codeLimit,
    })
    return fail(title, steps, fault)
  }
  steps.add(
    'Add base and offset',
    `base ${hex(Number(handler.base), 8)} + offset ${hex(offset, 8)} = ${hex(Number(handler.linear), 8)}`,
    handler,
  )
  return succeed(title, steps, found as InterruptTarget)
}

function unitRead(view: ProcessorView, linear: number): number {
  return new TableReader(view).read32(linear)
}

/** Long mode: 16-byte gates, 64-bit code only, whose base counts as 0. */
function explainLong(view: ProcessorView, title: string, vector: number, software: boolean): Explanation {
  const steps = new StepList()
  const outcome = catchPageFault(() => longSteps(view, steps, vector, software))
  if (outcome instanceof TablePageFault) {
    steps.add('Page fault', `a table's page cannot be read at ${hex(outcome.linear, 16)}`, { linear: outcome.linear })
    return fail(title, steps, { vector: 14, errorCode: outcome.errorCode })
  }
  return 'kind' in outcome ? succeed(title, steps, outcome) : fail(title, steps, outcome)
}

function longSteps(
  view: ProcessorView,
  steps: StepList,
  vector: number,
  software: boolean,
): InterruptTarget | GuestFault {
  const reader = new TableReader(view)
  const { base: idt, limit } = view.idtr
  const refuse = (
    title: string,
    text: string,
    fault: number,
    values: Record<string, ExplainValue> = {},
  ): GuestFault => {
    const result = toGuestFault(fault)
    steps.add(title, `${text}: ${faultText(result)}`, values)
    return result
  }
  if (16 * vector + 15 > limit) {
    return refuse(
      'Find the gate',
      `${vector} × 16 + 15 is beyond IDTR's limit ${hex(limit)}`,
      makeFault(VECTOR_GP, idtErrorCode(vector)),
    )
  }
  const address = idt + 16 * vector
  const lo = reader.read32(address)
  const hi = reader.read32(address + 4)
  const upper = reader.read32(address + 8)
  const selector = gateSelector(lo)
  const offset = (upper | 0) * 2 ** 32 + gateOffset32(lo, hi)
  const gate = decodeDescriptor(lo, hi, upper)
  const ist = 'ist' in gate && gate.ist > 0 ? `, stack IST${gate.ist}` : ''
  const described = `IDTR base ${hex(idt, 16)} + ${vector} × 16 = ${hex(address, 16)}: ${gate.kind.replace('-', ' ')}, selector ${hex(selector, 4)}, offset ${hex(offset, 16)}, DPL ${gate.dpl}${ist}`
  const gateFault = checkInterruptGate(vector, descriptorAttr(hi), view.cpl, software, true)
  if (gateFault !== 0)
    return refuse('Find the gate', `${described}\nit cannot be used`, gateFault, { address, selector })
  steps.add('Find the gate', described, { address, selector, offset, dpl: gate.dpl })
  if (isNullSelector(selector)) {
    return refuse('Find the code segment', 'the selector is null', makeFault(VECTOR_GP, 0), { selector })
  }
  const local = (selector & 4) !== 0
  const table = local ? ldtOf(view) : view.gdtr
  const from = `selector ${hex(selector, 4)}: ${local ? 'LDT' : 'GDT'} base ${hex(table.base, 16)} + ${selectorIndex(selector)} × 8`
  const beyond = local && (ldtOf(view).attr & 0x80) === 0 ? 1 : checkTableLimit(selector, table.limit)
  if (beyond !== 0) {
    return refuse('Find the code segment', `${from} is beyond the table`, makeFault(VECTOR_GP, selector & 0xfffc), {
      selector,
    })
  }
  const at = table.base + (selector & 0xfff8)
  const codeLo = reader.read32(at)
  const codeHi = reader.read32(at + 4)
  const attr = descriptorAttr(codeHi)
  const code = `${from} = ${hex(at, 16)}: ${describeDescriptor(codeLo, codeHi)}`
  const codeFault = checkInterruptTarget(selector, attr, view.cpl, true)
  if (codeFault !== 0)
    return refuse('Find the code segment', `${code}\nno handler can run there`, codeFault, { selector })
  steps.add('Find the code segment', code, { selector, address: at, lo: codeLo, hi: codeHi })
  if (!isCanonicalHigh(upper)) {
    return refuse('Take base 0 and the offset', `${hex(offset, 16)} is not canonical`, makeFault(VECTOR_GP, 0))
  }
  steps.add('Take base 0 and the offset', `64-bit code has base 0: the handler is at ${hex(offset, 16)}`, {
    linear: offset,
  })
  const dpl = (attr >>> 5) & 3
  const type = descriptorAttr(hi) & 15
  return {
    kind: (type & 1) === 1 && type !== DESC_TYPE_TASK_GATE ? 'trap' : 'interrupt',
    selector,
    offset,
    linear: offset,
    privilege: isConforming(attr) ? view.cpl : dpl,
  }
}

function ldtOf(view: ProcessorView): SegmentCache {
  if (typeof view.ldtr !== 'number') return view.ldtr
  throw new VirtkitError('bad-argument', 'in long mode give LDTR with its base and limit, not only a selector')
}

function fail(title: string, steps: StepList, fault: GuestFault): Explanation {
  return {
    topic: 'interrupt',
    title,
    steps: steps.steps,
    ok: false,
    outcome: `the processor raises ${faultText(fault)} while it delivers this one`,
    result: { vector: fault.vector, ...(fault.errorCode === undefined ? {} : { errorCode: fault.errorCode }) },
    notes: NOTES,
  }
}

function succeed(title: string, steps: StepList, target: InterruptTarget): Explanation {
  const { kind, selector, offset, linear, privilege } = target
  const flags = kind === 'interrupt' ? 'IF is cleared' : kind === 'trap' ? 'IF stays' : 'a task switch'
  return {
    topic: 'interrupt',
    title,
    steps: steps.steps,
    ok: true,
    outcome:
      kind === 'task'
        ? `a task switch through the TSS ${hex(selector, 4)}`
        : `the handler at linear address ${hex(linear, 8)} runs at CPL ${privilege}; ${flags}`,
    result: { kind, selector, offset, linear, privilege },
    notes: NOTES,
  }
}
