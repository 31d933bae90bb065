import { type EventMap, type GuestFault, VirtkitError } from '../contracts/index.js'
import {
  decodeDescriptor,
  EFER_LMA,
  SEGMENT_REGISTERS,
  SegmentationUnit,
  type SegmentCache,
  type SegmentRegister,
  selectorIndex,
} from '../mmu/index.js'
import { EventHub } from './event-hub.js'
import { type ExplainValue, type Explanation, faultText, hex, StepList } from './explanation.js'
import {
  type AccessKind,
  catchPageFault,
  type ExplainSource,
  is64Bit,
  is8086,
  linearAddressOf,
  type ProcessorView,
  processorView,
  ScratchMemory,
  TablePageFault,
  TableReader,
} from './processor-view.js'

/** Options of {@link explainSegmentation}. */
export interface SegmentationExplainOptions {
  /** Default `read`. */
  readonly access?: AccessKind
  /** Bytes accessed. Default 1. */
  readonly size?: number
  /** The segment register that a selector is loaded into. Default DS, for `execute` CS. */
  readonly register?: SegmentRegister
}

type Detail = EventMap['translation']['detail']
type Event = EventMap['translation']

const NOTES: readonly string[] = [
  'the table is read when the selector is loaded; accesses use the descriptor that the segment register keeps.',
  'an LDT is optional; TI = 1 uses the LDT whose base LDTR keeps since LLDT (or a task switch) loaded it.',
]

/**
 * From a logical to a linear address (course topic X3). `segment` is a selector to be loaded, or the name of a segment
 * register to be used as it is.
 * In protected mode: the selector is taken apart, the table found through GDTR (for the LDT through LDTR first), the
 * descriptor read
 * and checked, base and offset added. Nothing in the machine changes.
 * @throws VirtkitError `bad-argument` for a selector, size or offset out of range
 */
export function explainSegmentation(
  source: ExplainSource,
  segment: number | SegmentRegister,
  offset: number | bigint,
  options: SegmentationExplainOptions = {},
): Explanation {
  const view = processorView(source)
  const { access = 'read', size = 1 } = options
  const named = typeof segment === 'string'
  const register = named ? segment : (options.register ?? (access === 'execute' ? 'cs' : 'ds'))
  if (!SEGMENT_REGISTERS.includes(register)) {
    throw new VirtkitError('bad-argument', `a segment register is ${SEGMENT_REGISTERS.join(', ')}; got '${register}'`)
  }
  if (!named && (!Number.isInteger(segment) || segment < 0 || segment > 0xffff)) {
    throw new VirtkitError('bad-argument', `a selector is 0 to 0xffff, got ${segment}`)
  }
  if (!Number.isInteger(size) || size < 1 || size > 64) {
    throw new VirtkitError('bad-argument', `an access has 1 to 64 bytes, got ${size}`)
  }
  const where = `${named ? register.toUpperCase() : hex(segment, 4)}:${formatOffset(offset)}`
  const title = `Segmentation: ${where}, ${access} of ${size} byte${size === 1 ? '' : 's'} at CPL ${view.cpl}`
  if (is64Bit(view)) return explain64(view, title, register, offset)
  const small = Number(offset)
  if (!Number.isInteger(small) || small < 0 || small > 0xffffffff) {
    throw new VirtkitError('bad-argument', `an offset is 0 to 0xffffffff outside 64-bit mode, got ${offset}`)
  }
  const given = named ? undefined : segment
  if (is8086(view)) return explain8086(view, title, register, given, small, size, access)
  return explainProtected(view, title, register, given, small, size, access)
}

function formatOffset(offset: number | bigint): string {
  return `0x${BigInt.asUintN(64, BigInt(offset)).toString(16)}`
}

function explainProtected(
  view: ProcessorView,
  title: string,
  register: SegmentRegister,
  selector: number | undefined,
  offset: number,
  size: number,
  access: AccessKind,
): Explanation {
  const steps = new StepList()
  const hub = new EventHub()
  const unit = segmentationUnit(view, hub)
  const name = register.toUpperCase()
  let fault: GuestFault | undefined
  if (selector !== undefined) {
    const load = traced(hub, () => loadLdtr(unit, view, selector) ?? unit.load(register, selector))
    fault = loadSteps(steps, load, view, unit, selector, name)
  } else {
    const cache = unit.register(register)
    steps.add(
      'Use the cached descriptor',
      `${name} holds selector ${hex(cache.selector, 4)}; its hidden part has base ${hex(cache.base, 8)}, limit ${hex(cache.limit)}\n` +
        'The tables in memory are not read.',
      { register, selector: cache.selector, base: cache.base, limit: cache.limit, attr: cache.attr },
    )
  }
  let linear: number | undefined
  if (fault === undefined) {
    const { events, result } = traced(hub, () => unit.translate(register, offset, size, access))
    const cache = unit.register(register)
    const check = detailOf(events, 'check')
    const values = { base: cache.base, limit: cache.limit, offset, ...(check ? { ok: check.ok! } : {}) }
    if (typeof result === 'number') {
      linear = result
      steps.add(
        'Add base and offset',
        `offset ${hex(offset)} is within the limit ${hex(cache.limit)}, and the type allows to ${access}\n` +
          `base ${hex(cache.base, 8)} + offset ${hex(offset)} = linear address ${hex(linear, 8)}`,
        { ...values, linear },
      )
    } else {
      fault = result
      steps.add(
        'Check limit and rights',
        `offset ${hex(offset)}, ${size} byte${size === 1 ? '' : 's'}, limit ${hex(cache.limit)}: ${accessRefusal(cache, access)}: ${faultText(fault)}`,
        values,
      )
    }
  }
  return finish(title, steps, linear, fault, NOTES)
}

function accessRefusal(cache: SegmentCache, access: AccessKind): string {
  if ((cache.attr & 0x80) === 0) return 'the register holds a null or unusable segment'
  return `beyond the limit, or the type does not allow to ${access}`
}

/** Events of `action`, and what it returned; a page fault on a table as a fault. */
function traced<T>(hub: EventHub, action: () => T): { events: Event[]; result: T | GuestFault } {
  const events: Event[] = []
  const stop = hub.on('translation', (event) => events.push(event))
  const result = catchPageFault(action)
  stop()
  if (result instanceof TablePageFault) {
    events.push({ step: 'page-fault', detail: { linear: result.linear, errorCode: result.errorCode } })
    return { events, result: { vector: 14, errorCode: result.errorCode } }
  }
  return { events, result }
}

function detailOf(events: readonly Event[], step: string): Detail | undefined {
  return events.find((event) => event.step === step)?.detail
}

/** A segmentation unit in the processor's state, on memory that it cannot change. */
export function segmentationUnit(view: ProcessorView, hub: EventHub): SegmentationUnit {
  const memory = new ScratchMemory(view.memory)
  const reader = new TableReader(view, memory)
  // The unit computes with 32 bits. In long mode tables may lie higher; every table lies within one 4 GiB range.
  const uppers = [view.gdtr, typeof view.ldtr === 'number' ? view.gdtr : view.ldtr].map((table) => ({
    start: table.base >>> 0,
    length: table.limit + 1,
    upper: Math.floor(table.base / 2 ** 32) * 2 ** 32,
  }))
  const long = (view.efer & EFER_LMA) !== 0
  const unit = new SegmentationUnit(memory, {
    events: hub,
    linearToPhysical: (linear) => {
      const table = long ? uppers.find(({ start, length }) => linear >= start && linear < start + length) : undefined
      return reader.physical(linear + (table?.upper ?? 0))
    },
  })
  unit.gdtr = view.gdtr
  unit.idtr = view.idtr
  unit.tr = view.tr
  unit.cpl = view.cpl
  if (typeof view.ldtr !== 'number') unit.ldtr = view.ldtr
  for (const name of SEGMENT_REGISTERS) unit.setRegister(name, view.segments[name])
  return unit
}

/** LLDT for views that only give a selector, and only when the LDT is needed. */
function loadLdtr(unit: SegmentationUnit, view: ProcessorView, selector: number): GuestFault | undefined {
  if (typeof view.ldtr !== 'number' || (selector & 4) === 0) return undefined
  const cpl = unit.cpl
  unit.cpl = 0
  const fault = unit.lldt(view.ldtr)
  unit.cpl = cpl
  return fault
}

function loadSteps(
  steps: StepList,
  { events, result }: { events: Event[]; result: GuestFault | undefined },
  view: ProcessorView,
  unit: SegmentationUnit,
  selector: number,
  register: string,
): GuestFault | undefined {
  const fault = result
  const local = (selector & 4) !== 0
  const rpl = selector & 3
  const index = selectorIndex(selector)
  steps.add(
    'Take the selector apart',
    `${hex(selector, 4)}: index ${index}, TI = ${Number(local)} (${local ? 'LDT' : 'GDT'}), RPL ${rpl}`,
    { selector, index, ti: Number(local), rpl },
  )
  // LLDT's events come before those of the load, which starts with 'selector'.
  const start = events.findIndex((event) => event.step === 'selector')
  const own = start < 0 ? [] : events.slice(start)
  if (detailOf(own, 'null')) {
    steps.add('A null selector', `${register} takes it without reading a table; every access through it will fault`, {
      usable: false,
    })
    return undefined
  }
  if (local) ldtStep(steps, view, unit, start < 0 ? events : events.slice(0, start))
  const table = detailOf(own, 'table')
  const descriptor = detailOf(own, 'descriptor')
  const paged = detailOf(events, 'page-fault')
  if (table === undefined) {
    if (start >= 0 && fault !== undefined) steps.add('Check', `a null selector here: ${faultText(fault)}`, {})
    return fault
  }
  const base = Number(table.base)
  const limit = Number(table.limit)
  if (!local) {
    steps.add('Find the table', `TI = 0: GDTR holds base ${hex(base, 8)}, limit ${hex(limit, 4)}`, {
      table: 'GDT',
      base,
      limit,
    })
  }
  if (descriptor === undefined) {
    const why =
      local && (unit.ldtr.attr & 0x80) === 0 ? 'LDTR is unusable' : `${index} × 8 + 7 is beyond the limit ${hex(limit)}`
    if (fault !== undefined) steps.add('Read the descriptor', `${why}: ${faultText(fault)}`, { index, limit })
    return fault
  }
  const address = Number(descriptor.address)
  if (paged !== undefined) {
    steps.add('Read the descriptor', `its page cannot be read: ${faultText(fault!)}`, { address })
    return fault
  }
  const lo = Number(descriptor.lo)
  const hi = Number(descriptor.hi)
  steps.add(
    'Read the descriptor',
    `at ${hex(base, 8)} + ${index} × 8 = ${hex(address, 8)}: ${hex(hi, 8).slice(2)}_${hex(lo, 8).slice(2)}\n${describeDescriptor(lo, hi)}`,
    { address, lo, hi, ...describeValues(lo, hi) },
  )
  const cached = detailOf(own, 'cached')
  if (fault !== undefined) {
    const paging = fault.vector === 14 ? 'a page fault' : 'type, privilege or presence is not right'
    steps.add('Check it', `${paging}: ${faultText(fault)}`, { cpl: view.cpl, rpl })
  } else if (cached !== undefined) {
    steps.add(
      `Check it and load ${register}`,
      `type, privilege (CPL ${view.cpl}, RPL ${rpl}) and presence are right; ${register} keeps base ${hex(Number(cached.base), 8)} and limit ${hex(Number(cached.limit))}`,
      { cpl: view.cpl, rpl, base: cached.base!, limit: cached.limit!, attr: cached.attr! },
    )
  }
  return fault
}

function ldtStep(steps: StepList, view: ProcessorView, unit: SegmentationUnit, lldt: readonly Event[]): void {
  const { selector, base, limit, attr } = unit.ldtr
  const descriptor = detailOf(lldt, 'descriptor')
  const through =
    descriptor === undefined
      ? `LDTR holds selector ${hex(selector, 4)}, loaded earlier through the GDT`
      : `GDTR base ${hex(view.gdtr.base, 8)} + ${selectorIndex(Number(view.ldtr))} × 8 = ${hex(Number(descriptor.address), 8)}: the LDT's descriptor, which LLDT reads`
  const usable = (attr & 0x80) !== 0
  steps.add(
    'Find the LDT through LDTR',
    usable ? `${through}\nLDT base ${hex(base, 8)}, limit ${hex(limit, 4)}` : `${through}\nno usable LDT`,
    { ldtSelector: selector, base, limit, usable },
  )
}

/** A descriptor in words. */
export function describeDescriptor(lo: number, hi: number): string {
  const d = decodeDescriptor(lo, hi)
  const present = d.present ? '' : ', not present'
  switch (d.kind) {
    case 'code':
      return `code, ${d.bits} bits, ${d.readable ? 'readable' : 'execute-only'}${d.conforming ? ', conforming' : ''}, base ${hex(d.base, 8)}, limit ${hex(d.limit)}, DPL ${d.dpl}${present}`
    case 'data':
      return `data, ${d.writable ? 'writable' : 'read-only'}${d.expandDown ? ', expands down' : ''}, base ${hex(d.base, 8)}, limit ${hex(d.limit)}, DPL ${d.dpl}${present}`
    case 'ldt':
    case 'tss':
      return `${d.kind.toUpperCase()}, base ${hex(d.base, 8)}, limit ${hex(d.limit)}, DPL ${d.dpl}${present}`
    case 'reserved':
      return `reserved system type ${d.type}, DPL ${d.dpl}${present}`
    default:
      return `${d.kind.replace('-', ' ')}, selector ${hex(d.selector, 4)}, offset ${hex(d.offset, 8)}, DPL ${d.dpl}${present}`
  }
}

function describeValues(lo: number, hi: number): Record<string, ExplainValue> {
  const d = decodeDescriptor(lo, hi)
  const common = { kind: d.kind, dpl: d.dpl, present: d.present }
  return 'base' in d ? { ...common, base: d.base, limit: d.limit } : common
}

function explain8086(
  view: ProcessorView,
  title: string,
  register: SegmentRegister,
  selector: number | undefined,
  offset: number,
  size: number,
  access: AccessKind,
): Explanation {
  const steps = new StepList()
  const hub = new EventHub()
  const unit = segmentationUnit(view, hub)
  const held = view.segments[register]
  // A real-mode load changes selector and base only; the limit stays what it was (64 KiB unless protected mode left
  // another).
  const limit = held.limit === 0 ? 0xffff : held.limit
  if (selector !== undefined) unit.setRegister(register, { selector, base: selector * 16, limit, attr: 0x93 })
  const cache = unit.register(register)
  const mode = view.v86 ? 'virtual-8086 mode' : 'real-address mode'
  steps.add('Take the segment value', `${mode}: ${hex(cache.selector, 4)} is a paragraph number; no table is read`, {
    selector: cache.selector,
  })
  const usual = cache.base === cache.selector * 16
  steps.add(
    'Find the base',
    usual
      ? `${hex(cache.selector, 4)} × 16 = ${hex(cache.base, 5)}`
      : `the register keeps base ${hex(cache.base, 8)} from before (it was loaded in another mode, or at reset)`,
    { base: cache.base, limit: cache.limit },
  )
  const result = unit.translate(register, offset, size, access)
  if (typeof result === 'number') {
    steps.add('Add the offset', `${hex(cache.base, 5)} + ${hex(offset, 4)} = linear address ${hex(result, 5)}`, {
      offset,
      linear: result,
    })
    return finish(title, steps, result, undefined, [
      'with the A20 gate closed, bit 20 of the physical address is 0: 0x10ffef becomes 0x0ffef, as on the 8086.',
    ])
  }
  // Limit violations carry no error code in real-address mode.
  const fault: GuestFault = { vector: result.vector, errorCode: view.v86 ? result.errorCode : undefined }
  steps.add(
    'Check the limit',
    `${hex(offset)} and ${size} bytes reach beyond the limit ${hex(cache.limit)}: ${faultText(fault)}`,
    {
      offset,
      limit: cache.limit,
    },
  )
  return finish(title, steps, undefined, fault, [])
}

function explain64(
  view: ProcessorView,
  title: string,
  register: SegmentRegister,
  offset: number | bigint,
): Explanation {
  const steps = new StepList()
  const based = register === 'fs' || register === 'gs'
  const base = based ? view.segments[register].base : 0
  steps.add(
    'Find the base',
    based
      ? `64-bit mode: ${register.toUpperCase()} keeps a 64-bit base (an MSR writes it): ${hex(base)}`
      : `64-bit mode: ${register.toUpperCase()} counts as base 0, without a limit, whatever its descriptor says`,
    { register, base },
  )
  const sum = BigInt.asIntN(64, BigInt(base) + BigInt(offset))
  const linear = linearAddressOf(view, sum)
  if (linear === undefined) {
    const fault: GuestFault = { vector: register === 'ss' ? 12 : 13, errorCode: 0 }
    steps.add('Add the offset', `${formatOffset(sum)} is not canonical (bits 63 to 47 differ): ${faultText(fault)}`, {})
    return finish(title, steps, undefined, fault, [])
  }
  steps.add('Add the offset', `${hex(base)} + ${formatOffset(offset)} = linear address ${hex(linear, 16)}`, { linear })
  return finish(title, steps, linear, undefined, [
    'loading a selector still reads and checks its descriptor in 64-bit mode; only base and limit are not used.',
  ])
}

function finish(
  title: string,
  steps: StepList,
  linear: number | undefined,
  fault: GuestFault | undefined,
  notes: readonly string[],
): Explanation {
  return {
    topic: 'segmentation',
    title,
    steps: steps.steps,
    ok: fault === undefined && linear !== undefined,
    outcome: linear === undefined ? `the processor raises ${faultText(fault!)}` : `linear address ${hex(linear, 8)}`,
    result:
      linear === undefined
        ? { vector: fault!.vector, ...(fault!.errorCode === undefined ? {} : { errorCode: fault!.errorCode }) }
        : { linear },
    notes,
  }
}
