/** Boards of every engine, one program: the whole state must be the same at the same instruction, however each run is cut. */

import type { Cpu, CpuModel } from '../../src/cpu/index.js'
import {
  OFF_DTLB,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_REMAINING,
  SLOT_TEMP,
  SLOT_VTEMP,
  SLOT_ZERO,
  TLB_CONTEXT,
  TLB_ENTRY_SHIFT,
  TLB_FLAGS,
  TLB_LINEAR,
  TLB_PHYSICAL,
} from '../../src/cpu/layout.js'
import { disassembleBytes } from '../../src/isa/disassembler.js'
import {
  type BoardOptions,
  type BoardStop,
  ENGINES,
  type EngineName,
  EqualityBoard,
  RAM_BYTES,
} from './equality-board.js'

/** End of the part of a CPU's block that the guest can see. */
const STATE_END = SLOT_VTEMP

/** Registers and their like: everything a guest can see of the processor, by name. */
export function registers(board: EqualityBoard): Map<string, string> {
  const { cpu } = board
  const { s } = cpu
  const map = new Map<string, string>()
  for (let offset = 0; offset < STATE_END; offset += 8) {
    if (offset >= SLOT_TEMP && offset < SLOT_ZERO) continue
    if (offset === OFF_REMAINING || offset === OFF_FLAG_RESULT) continue
    if (offset === OFF_FLAG_AUX) map.set('flags', s.flags.toString(16))
    else map.set(fieldName(offset), s.getBig(offset).toString(16))
  }
  const inner = cpu as unknown as Record<string, unknown>
  for (const name of HIDDEN_FIELDS) map.set(name, String(inner[name]))
  for (const [index, value] of cpu.msr) map.set(`msr ${index.toString(16)}`, value.toString(16))
  map.set('instructions', String(cpu.instructions))
  map.set('time', String(board.clock.now()))
  map.set('device', board.deviceState.toString(16))
  map.set('a20', String(board.space.a20))
  return map
}

/** State of the processor that lives outside its block. */
const HIDDEN_FIELDS: readonly (keyof Cpu | 'shadowNow' | 'nmiPending' | 'smiPending' | 'tscOffset')[] = [
  'cpl',
  'halted',
  'shutdown',
  'nmiBlocked',
  'inSmm',
  'smbase',
  'pendingDebug',
  'shadowNow',
  'nmiPending',
  'smiPending',
  'tscOffset',
]

const GPR_NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ')

function fieldName(offset: number): string {
  if (offset < 0x80) return GPR_NAMES[offset >> 3]!
  if (offset === 0xe0) return 'rip'
  if (offset >= 0x100 && offset < 0x300) {
    const part = ['selector|attr', 'base', 'limit', 'readLimit', 'writeLimit', '', '', ''][(offset & 0x3f) >> 3]!
    return `${'es cs ss ds fs gs ldtr tr'.split(' ')[(offset - 0x100) >> 6]}.${part}`
  }
  return `[${offset.toString(16)}]`
}

/** Whether both boards show the same state. The quick form of {@link differences}. */
export function same(a: EqualityBoard, b: EqualityBoard): boolean {
  const s = a.cpu.s
  const t = b.cpu.s
  if (a.cpu.instructions !== b.cpu.instructions || s.flags !== t.flags) return false
  for (let offset = 0; offset < STATE_END; offset += 8) {
    if (offset >= SLOT_TEMP && offset < SLOT_ZERO) continue
    if (offset === OFF_REMAINING || offset === OFF_FLAG_RESULT || offset === OFF_FLAG_AUX) continue
    const x = (s.base + offset) >> 2
    const y = (t.base + offset) >> 2
    if (s.i32[x] !== t.i32[y] || s.i32[x + 1] !== t.i32[y + 1]) return false
  }
  const inner = a.cpu as unknown as Record<string, unknown>
  const other = b.cpu as unknown as Record<string, unknown>
  for (const name of HIDDEN_FIELDS) if (inner[name] !== other[name]) return false
  if (a.cpu.msr.size !== b.cpu.msr.size) return false
  for (const [index, value] of a.cpu.msr) if (b.cpu.msr.get(index) !== value) return false
  if (a.deviceState !== b.deviceState || a.clock.now() !== b.clock.now() || a.space.a20 !== b.space.a20) return false
  if (!sameTlb(a, b) || Buffer.compare(a.ram, b.ram) !== 0) return false
  return devices(a) === devices(b)
}

function devices(board: EqualityBoard): string {
  return JSON.stringify([board.pic.saveState(), board.pit.saveState(), board.clock.nextDeadline])
}

const TLB_COMPARED = [TLB_FLAGS, TLB_LINEAR, TLB_LINEAR + 4, TLB_PHYSICAL, TLB_PHYSICAL + 4, TLB_CONTEXT].map(
  (n) => n >> 2,
)

function sameTlb(a: EqualityBoard, b: EqualityBoard): boolean {
  const x = a.tlb()
  const y = b.tlb()
  for (let at = 0; at < x.length; at += 1 << (TLB_ENTRY_SHIFT - 2)) {
    const flags = at + (TLB_FLAGS >> 2)
    if (x[flags] !== y[flags]) return false
    if (x[flags] === 0) continue
    for (const field of TLB_COMPARED) if (x[at + field] !== y[at + field]) return false
  }
  return true
}

/** Every difference, a line each. Empty: the states are the same. */
export function differences(a: EqualityBoard, b: EqualityBoard): string[] {
  const lines: string[] = []
  const x = registers(a)
  const y = registers(b)
  for (const name of new Set([...x.keys(), ...y.keys()])) {
    if (x.get(name) !== y.get(name)) lines.push(`${name}: ${a.engine} ${x.get(name)}, ${b.engine} ${y.get(name)}`)
  }
  if (devices(a) !== devices(b)) lines.push(`devices: ${devices(a)} / ${devices(b)}`)
  if (!sameTlb(a, b)) {
    const entries = (board: EqualityBoard): string[] => {
      const list: string[] = []
      const { s } = board.cpu
      const words = board.tlb()
      for (let at = 0; at < words.length; at += 16) {
        const e = s.base + OFF_DTLB + at * 4
        const flags = words[at + (TLB_FLAGS >> 2)]!
        const context = words[at + (TLB_CONTEXT >> 2)]
        if (flags)
          list.push(
            `#${at / 16} flags ${flags.toString(16)} page ${s.f64[(e + TLB_LINEAR) >> 3]!.toString(16)} frame ${s.f64[(e + TLB_PHYSICAL) >> 3]!.toString(16)} context ${context}`,
          )
      }
      return list
    }
    const p = entries(a)
    const q = entries(b)
    for (const line of p) if (!q.includes(line)) lines.push(`tlb only ${a.engine}: ${line}`)
    for (const line of q) if (!p.includes(line)) lines.push(`tlb only ${b.engine}: ${line}`)
  }
  for (let at = 0, n = 0; at < RAM_BYTES && n < 16; at++) {
    if (a.ram[at] !== b.ram[at]) {
      n++
      lines.push(
        `memory ${at.toString(16)}: ${a.engine} ${a.ram[at]!.toString(16)}, ${b.engine} ${b.ram[at]!.toString(16)}`,
      )
    }
  }
  return lines
}

/** The next instructions of a board, without touching its TLB; empty where they cannot be seen. */
export function listing(board: EqualityBoard, count: number): string {
  const { s } = board.cpu
  const linear = s.segBase(1) + s.rip
  const at = board.cpu.mem.fetchDirect(s.longMode && s.segAttr(1) & 0x2000 ? s.rip : linear >>> 0)
  if (at < 0) return `(rip ${s.rip.toString(16)} is not in the instruction TLB)`
  const bits = s.segAttr(1) & 0x2000 && s.longMode ? 64 : s.segAttr(1) & 0x4000 ? 32 : 16
  const bytes = board.space.bytes.subarray(at, at + 16 * count)
  return disassembleBytes(bytes, bits, s.rip)
    .slice(0, count)
    .map((line) => `${line.address.toString(16)}: ${line.text}`)
    .join('\n')
}

/** What runs on all boards. */
export interface Program {
  readonly name: string
  readonly model: CpuModel
  /** Contents of RAM. */
  readonly image: Uint8Array
  /** Sets the registers of a board that was just reset. Must depend on nothing but the program. */
  start(board: EqualityBoard): void
  /** Whether the processor is where the program's code is. A program that strays for long is given up. */
  contains?(board: EqualityBoard): boolean
  /** Instructions between two comparisons; each engine cuts them in its own way. */
  readonly stretches: readonly Stretch[]
  /** Engines that are compared. Default: all. */
  readonly engines?: readonly EngineName[]
}

export interface Stretch {
  readonly instructions: number
  /** Budgets for an engine, in turn until the instructions are used up. None: at once. */
  readonly cuts?: Partial<Record<EngineName, readonly number[]>>
  /** Something from outside, on all boards, before the stretch. */
  readonly before?: (board: EqualityBoard) => void
}

/** How programs are compared. */
export interface LockstepOptions extends BoardOptions {
  /** Prepares the boards, which come from a pool. */
  readonly prepare?: (boards: readonly EqualityBoard[]) => void
}

const pool = new Map<string, EqualityBoard>()

function makeBoard(engine: EngineName, program: Program, options: LockstepOptions): EqualityBoard {
  const { translation, storeSize } = options
  return new EqualityBoard(engine, program.model, {
    ...(translation && { translation }),
    ...(storeSize && { storeSize }),
  })
}

function enginesOf(program: Program): readonly EngineName[] {
  return program.engines ?? ENGINES
}

/** Boards for a program. All clocks stand at the same instruction, whatever ran before. */
function boardsFor(program: Program, options: LockstepOptions): EqualityBoard[] {
  const engines = enginesOf(program)
  const keys = engines.map((engine) =>
    JSON.stringify([engine, engines, program.model.name, options.storeSize, options.translation]),
  )
  const [time] = keys.map((key) => pool.get(key)?.cpu.instructions)
  const fresh = keys.some((key) => pool.get(key)?.cpu.instructions !== time)
  return keys.map((key, n) => {
    let board = pool.get(key)
    if (!board || fresh) {
      board = makeBoard(enginesOf(program)[n]!, program, options)
      pool.set(key, board)
    }
    return board
  })
}

function runStretch(board: EqualityBoard, stretch: Stretch, limit: number): BoardStop {
  const cuts = stretch.cuts?.[board.engine] ?? []
  let left = Math.min(limit, stretch.instructions)
  let n = 0
  for (;;) {
    const budget = cuts.length === 0 ? left : Math.min(left, cuts[n++ % cuts.length]!)
    const before = board.cpu.instructions
    const stop = board.run(budget)
    left -= board.cpu.instructions - before
    if (stop !== 'budget' || left <= 0) return stop
  }
}

interface Outcome {
  readonly ran: number
  /** The first stretch after which a board differs from the first one, or -1; and that board. */
  readonly failed: number
  readonly board?: EqualityBoard
}

/** Runs up to `limit` instructions of a program on all boards. */
function runAll(program: Program, boards: readonly EqualityBoard[], limit: number): Outcome {
  const first = boards[0]!
  for (const board of boards) {
    board.reset(program.image)
    program.start(board)
  }
  const start = first.cpu.instructions
  let left = limit
  let lost = 0
  for (let n = 0; n < program.stretches.length && left > 0; n++) {
    const stretch = program.stretches[n]!
    for (const board of boards) stretch.before?.(board)
    const stops = boards.map((board) => runStretch(board, stretch, left))
    left -= stretch.instructions
    const ran = first.cpu.instructions - start
    for (let other = 1; other < boards.length; other++) {
      const board = boards[other]!
      if (stops[other] !== stops[0] || !same(first, board)) return { ran, failed: n, board }
    }
    if (stops[0] === 'shutdown' || (stops[0] === 'halted' && first.cpu.halted)) break
    // Far from its code a program finds little more than zeros.
    lost = program.contains?.(first) === false ? lost + 1 : 0
    if (lost === 2) break
  }
  return { ran: first.cpu.instructions - start, failed: -1 }
}

/** Runs a program on all engines. Returns the instructions it took; throws with a report of the first difference. */
export function lockstep(program: Program, options: LockstepOptions = {}): number {
  const boards = boardsFor(program, options)
  options.prepare?.(boards)
  let outcome: Outcome
  try {
    outcome = runAll(program, boards, Number.POSITIVE_INFINITY)
  } catch (error) {
    pool.clear()
    throw error
  }
  const { ran, board } = outcome
  if (board === undefined) return ran
  const seen = differences(boards[0]!, board)
  pool.clear()
  throw new Error(report(program, options, seen, board.engine))
}

/** Bisects to the first instruction after which the states differ. */
function report(program: Program, options: LockstepOptions, seen: string[], engine: EngineName): string {
  const total = program.stretches.reduce((sum, stretch) => sum + stretch.instructions, 0)
  const fresh = (): EqualityBoard[] => [makeBoard('reference', program, options), makeBoard(engine, program, options)]
  let pair = fresh()
  const title = `${program.name}: reference and ${engine}`
  if (runAll(program, pair, total).failed < 0) return `${title} differ, but not on fresh boards\n${seen.join('\n')}`
  let low = 0
  let high = total
  while (high - low > 1) {
    const middle = (low + high) >> 1
    pair = fresh()
    if (runAll(program, pair, middle).failed < 0) low = middle
    else high = middle
  }
  let before = ''
  if (low > 0) {
    pair = fresh()
    runAll(program, pair, low)
    before = `${listing(pair[0]!, 3)}\n${[...registers(pair[0]!)].map(([name, value]) => `${name}=${value}`).join(' ')}`
  }
  pair = fresh()
  runAll(program, pair, high)
  return `${title} differ after instruction ${high}\nbefore it:\n${before}\ndifferences:\n${differences(pair[0]!, pair[1]!).join('\n')}`
}
