import { type EventMap, VirtkitError } from '../contracts/index.js'
import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PSE,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  Mmu,
  PAGING_MODES,
  PageWalker,
  type PagingMode,
  Tlb,
  type WalkStep,
  walk,
} from '../mmu/index.js'
import { EventHub } from './event-hub.js'
import { type Explanation, hex, pageFaultText, StepList } from './explanation.js'
import {
  type AccessKind,
  accessBits,
  type ExplainSource,
  linearAddressOf,
  type ProcessorView,
  pagingOf,
  processorView,
  ScratchMemory,
} from './processor-view.js'

/** Options of {@link explainPaging}. */
export interface PagingExplainOptions {
  /** Default `read`. */
  readonly access?: AccessKind
  /** A user-mode access. Default: CPL 3. */
  readonly user?: boolean
}

/** Options of {@link explainTlb}. */
export interface TlbExplainOptions extends PagingExplainOptions {
  /**
   * The TLB to look into and to fill: keep one over several calls to see hits. Default: an empty one of 16 sets and 4
   * ways.
   */
  readonly tlb?: Tlb
  /** Whether accessed and dirty flags are written to memory, as the processor would. Default false. */
  readonly update?: boolean
}

const MODE_NAMES: Readonly<Record<PagingMode, string>> = {
  [PAGING_MODES.none]: 'no paging',
  [PAGING_MODES.bits32]: '32-bit paging',
  [PAGING_MODES.pae]: 'PAE paging',
  [PAGING_MODES.level4]: '4-level paging',
}
const WALK_MODES = {
  [PAGING_MODES.bits32]: '32-bit',
  [PAGING_MODES.pae]: 'pae',
  [PAGING_MODES.level4]: '4-level',
} as const
const LEVEL_NAMES: readonly string[] = ['', 'PTE', 'PDE', 'PDPTE', 'PML4E']

const NOTES: readonly string[] = [
  'pages are 4 KiB, and with large pages 2 MiB, 4 MiB or 1 GiB: then the walk ends earlier and the offset is longer.',
  'a page fault can also happen with P = 1 (rights, reserved bits); its error code tells.',
  'after the page-fault handler returns, the instruction runs again and translation starts at step 1.',
]

/**
 * From a linear to a physical address by walking the paging structures (course topic X4): one step for each entry.
 * Nothing in memory changes.
 * @throws VirtkitError `bad-argument` for an address that the mode does not have
 */
export function explainPaging(
  source: ExplainSource,
  linear: number | bigint,
  options: PagingExplainOptions = {},
): Explanation {
  const view = processorView(source)
  const { access = 'read', user = view.cpl === 3 } = options
  const steps = new StepList()
  const address = linearAddressOf(view, linear)
  const mode = pagingMode(view)
  const title = `Paging: linear address 0x${BigInt.asUintN(64, BigInt(linear)).toString(16)}, ${user ? 'user' : 'supervisor'} ${access}, ${MODE_NAMES[mode]}`
  if (address === undefined) return notCanonical('paging', title, steps)
  if (mode === PAGING_MODES.none) {
    steps.add('Paging is off', `CR0.PG = 0: the linear address is the physical address ${hex(address, 8)}`, {
      physical: address,
    })
    return done('paging', title, steps, { physical: address }, `physical address ${hex(address, 8)}`, [])
  }
  const registers = pagingOf(view)
  const result = walk(new ScratchMemory(view.memory), view.cr3, address, {
    ...registers,
    mode: WALK_MODES[mode],
    access: accessBits(access, user),
  })
  const leaf = result.steps.at(-1)
  const pageSize = result.pageSize ?? 4096
  steps.add(
    'Split the linear address',
    splitText(address, mode, result.steps, pageSize, result.physical !== undefined),
    {
      linear: address,
      pageSize,
    },
  )
  if (result.badDirectoryPointers) {
    steps.add('Load the directory pointers', 'a present entry has reserved bits set: MOV to CR3 raises #GP(0x0)', {})
    return done('paging', title, steps, { vector: 13, errorCode: 0 }, 'the processor raises #GP(0x0)', NOTES, false)
  }
  for (const step of result.steps) {
    const table =
      step === result.steps[0]
        ? `CR3 names the table at ${hex(step.address - step.index * entrySize(mode), 8)}`
        : 'The table'
    steps.add(
      `Read the ${step.name}`,
      `${table}, entry ${step.index}: at ${hex(step.address, 8)} stands ${entryText(step, mode)} (${flagsText(step, mode)})\nIt ${step.decision}.`,
      { level: step.level, index: step.index, address: step.address, low: step.low, high: step.high },
    )
  }
  if (result.physical === undefined) {
    const code = result.errorCode ?? 0
    steps.add('Page fault', `${pageFaultText(code)}: #PF(${hex(code)}), CR2 = ${hex(address, 8)}`, {
      errorCode: code,
      cr2: address,
    })
    return done(
      'paging',
      title,
      steps,
      { vector: 14, errorCode: code },
      `the processor raises #PF(${hex(code)})`,
      NOTES,
      false,
    )
  }
  const offset = result.physical % pageSize
  const base = result.physical - offset
  const rights = `${result.user ? 'user and supervisor' : 'supervisor only'}, ${result.writable ? 'read/write' : 'read-only'}${result.noExecute ? ', no execute' : ''}`
  steps.add(
    'Put frame and offset together',
    `${leaf!.name}: ${rights}: the access is permitted\nframe ${hex(base / 4096)} and offset ${hex(offset, 3)} make physical address ${hex(result.physical, 8)}`,
    { base, offset, physical: result.physical },
  )
  return done(
    'paging',
    title,
    steps,
    { physical: result.physical },
    `physical address ${hex(result.physical, 8)}`,
    NOTES,
  )
}

function entrySize(mode: PagingMode): number {
  return mode === PAGING_MODES.bits32 ? 4 : 8
}

function entryText({ low, high }: Pick<WalkStep, 'low' | 'high'>, mode: PagingMode): string {
  return mode === PAGING_MODES.bits32 ? hex(low, 8) : `${hex(high, 8)}_${hex(low, 8).slice(2)}`
}

function flagsText({ low, high, name }: WalkStep, mode: PagingMode): string {
  const pdpte = mode === PAGING_MODES.pae && name === 'PDPTE'
  const flags: string[] = [`P=${low & 1}`]
  if (low & 1 && !pdpte) {
    flags.push(`R/W=${(low >> 1) & 1}`, `U/S=${(low >> 2) & 1}`, `A=${(low >> 5) & 1}`)
    if (name === 'PTE' || low & 0x80) flags.push(`D=${(low >> 6) & 1}`, `G=${(low >> 8) & 1}`)
    if (name !== 'PTE' && low & 0x80) flags.push('PS=1')
    if (mode !== PAGING_MODES.bits32) flags.push(`XD=${high >>> 31}`)
  }
  return flags.join(' ')
}

/** The parts of the address, named as the figures of the manual name them. */
function splitText(
  address: number,
  mode: PagingMode,
  steps: readonly WalkStep[],
  pageSize: number,
  found: boolean,
): string {
  const indexes = steps.map(({ name, index }) => `${name.replace(/E$/, '')} index ${index}`)
  const offset = address - Math.floor(address / pageSize) * pageSize
  const page = `${hex(address, mode === PAGING_MODES.level4 ? 16 : 8)} = `
  return `${page}${[...indexes, ...(found ? [`offset ${hex(offset, 3)}`] : [])].join(', ')}`
}

/**
 * A translation through the TLB in the six steps of a course (X5): 1 match the page number, 2 hit or miss, 3 walk, 4
 * fault, or 5 fill, 6 frame and
 * offset. Steps that do not happen are left out: a hit goes from 2 to 6.
 * @throws VirtkitError `bad-argument` for an address that the mode does not have
 */
export function explainTlb(
  source: ExplainSource,
  linear: number | bigint,
  options: TlbExplainOptions = {},
): Explanation {
  const view = processorView(source)
  const { access = 'read', user = view.cpl === 3 } = options
  const steps = new StepList()
  const address = linearAddressOf(view, linear)
  const mode = pagingMode(view)
  const title = `TLB: linear address 0x${BigInt.asUintN(64, BigInt(linear)).toString(16)}, ${user ? 'user' : 'supervisor'} ${access}, ${MODE_NAMES[mode]}`
  if (address === undefined) return notCanonical('tlb', title, steps)
  const hub = new EventHub()
  const tlb = options.tlb ?? new Tlb({ sets: 16, ways: 4 })
  const mmu = new Mmu(options.update ? view.memory : new ScratchMemory(view.memory), {
    tlb,
    configuration: pagingOf(view),
    events: hub,
  })
  if (mode === PAGING_MODES.pae && view.pdptes !== undefined) mmu.walker.pdptes.set(view.pdptes)
  let found = false
  const recorded = hub.record(['translation'], () => {
    found = mmu.translate(address, accessBits(access, user))
  })
  tlbSteps(
    steps,
    recorded.map(({ event }) => event),
    tlb,
    mode,
  )
  if (mode === PAGING_MODES.none) {
    steps.add('Paging is off', `CR0.PG = 0: no TLB is asked; physical address ${hex(address, 8)}`, {
      physical: address,
    })
  }
  if (!found) {
    const code = mmu.errorCode
    const outcome = `the processor raises #PF(${hex(code)}): ${pageFaultText(code)}`
    return done('tlb', title, steps, { vector: 14, errorCode: code }, outcome, NOTES, false)
  }
  const hit = recorded.some(({ event }) => event.step === '2 hit' && event.detail.rejected === undefined)
  const outcome = `physical address ${hex(mmu.physical, 8)}${mode === PAGING_MODES.none ? '' : hit ? ' (TLB hit)' : ' (TLB miss)'}`
  return done('tlb', title, steps, { physical: mmu.physical, hit }, outcome, NOTES)
}

/** Makes numbered steps of an `Mmu`'s events. */
function tlbSteps(steps: StepList, events: readonly EventMap['translation'][], tlb: Tlb, mode: PagingMode): void {
  const walked: string[] = []
  const flushWalk = (): void => {
    if (walked.length > 0) steps.add('Walk the paging structures', walked.join('\n'), { entries: walked.length }, 3)
    walked.length = 0
  }
  for (const { step, detail } of events) {
    const n = (name: string): number => Number(detail[name])
    switch (step) {
      case '1 match':
        steps.add(
          'Match',
          `page number ${hex(n('page'))}, offset ${hex(n('offset'), 3)}: look at set ${((n('page') % tlb.sets) + tlb.sets) % tlb.sets} of ${tlb.sets}, ${tlb.ways} ${tlb.ways === 1 ? 'way' : 'ways'}`,
          detail,
          1,
        )
        break
      case '2 hit':
        steps.add(
          'Hit',
          detail.rejected === undefined
            ? `an entry has this page number: frame ${hex(n('frame'))}, and its rights permit the access`
            : `an entry has this page number, but ${detail.rejected}: walk again`,
          detail,
          2,
        )
        break
      case '2 miss':
        steps.add('Miss', 'no entry has this page number', detail, 2)
        break
      case '3 walk':
        walked.push(
          `${LEVEL_NAMES[n('level')]} ${n('index')} at ${hex(n('address'), 8)}: ${entryText({ low: n('low'), high: n('high') }, mode)}${n('low') & 1 ? '' : ' (not present)'}`,
        )
        break
      case '4 fault':
        flushWalk()
        steps.add(
          'Page fault',
          `${pageFaultText(n('errorCode'))}: #PF(${hex(n('errorCode'))}), CR2 = ${hex(n('linear'), 8)}; the handler decides, then the instruction starts again at step 1`,
          detail,
          4,
        )
        break
      case '5 fill':
        flushWalk()
        steps.add('Fill', `page ${hex(n('page'))} -> frame ${hex(n('frame'))} goes into the TLB`, detail, 5)
        break
      case '6 address':
        flushWalk()
        steps.add(
          'Physical address',
          `frame ${hex(n('frame'))} and offset ${hex(n('offset'), 3)}, put together (not added): ${hex(n('physical'), 8)}`,
          detail,
          6,
        )
        break
      default:
    }
  }
}

/** The paging mode that the registers choose. */
function pagingMode(view: ProcessorView): PagingMode {
  return new PageWalker(view.memory, pagingOf(view)).mode
}

function notCanonical(topic: 'paging' | 'tlb', title: string, steps: StepList): Explanation {
  steps.add('Check the address', 'it is not canonical (bits 63 to 47 differ): #GP(0x0), before paging is asked', {})
  return done(topic, title, steps, { vector: 13, errorCode: 0 }, 'the processor raises #GP(0x0)', [], false)
}

function done(
  topic: 'paging' | 'tlb',
  title: string,
  steps: StepList,
  result: Explanation['result'],
  outcome: string,
  notes: readonly string[],
  ok = true,
): Explanation {
  return { topic, title, steps: steps.steps, ok, outcome, result, notes }
}

/** Register values that select a paging mode by its name. */
export function pagingRegisters(mode: '32-bit' | 'pae' | '4-level'): { cr0: number; cr4: number; efer: number } {
  const cr0 = CR0_PG + CR0_WP + CR0_PE
  if (mode === '32-bit') return { cr0, cr4: CR4_PSE, efer: 0 }
  if (mode === 'pae') return { cr0, cr4: CR4_PAE, efer: EFER_NXE }
  if (mode === '4-level') return { cr0, cr4: CR4_PAE, efer: EFER_LME | EFER_LMA | EFER_NXE }
  throw new VirtkitError('bad-argument', `a paging mode is 32-bit, pae or 4-level; got '${String(mode)}'`)
}
