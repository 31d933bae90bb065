/** A TLB filled by the walker in WebAssembly and one filled by TypeScript alone stay the same to the last byte, whatever is accessed under whatever page tables. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isThrownFault } from '../../src/cpu/exceptions.js'
import {
  CPU_BLOCK_SIZE,
  DTLB_ENTRIES,
  FILLED_LENGTH,
  OFF_DTLB,
  OFF_ENGINE,
  OFF_WALK,
  TLB_ENTRY_SHIFT,
  TLB_ENTRY_SIZE,
  TLB_TAGGED,
} from '../../src/cpu/layout.js'
import { LinearMemory } from '../../src/cpu/linear-memory.js'
import { MODELS, type ModelName } from '../../src/cpu/models.js'
import { CpuState } from '../../src/cpu/state.js'
import { call, getLocal, I32, I64, i32, i64, ModuleBuilder } from '../../src/engine/wasm-emitter.js'
import { walkBody } from '../../src/engine/wasm-walker.js'
import { FLAG_AC } from '../../src/isa/flags.js'
import { AddressSpace, type Overlay, WATCH_CODE } from '../../src/memory/index.js'
import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
} from '../../src/mmu/index.js'
import { runs } from '../runs.js'

const RAM_PAGES = 0x200
/** More RAM where the table of places does not reach. */
const FAR = 0x8000000
const TABLES = [1, 2, 3, 4, 5, 6]
/** Physical pages that entries name: tables, data, a device, a ROM, a shadowed ROM, an alias, holes, beyond the table of places. */
const TARGETS = [
  ...TABLES,
  2,
  3,
  4,
  5,
  0x10,
  0x11,
  0x12,
  0x110,
  0x20,
  0x21,
  0x22,
  0x23,
  0x1ff,
  0x300,
  FAR / 4096,
  0x100000000,
]
const INDICES = [0, 1, 2, 511]

type Miss = (base: number, linear: bigint, access: number) => number

/** One for each side, for all runs: a host has room for few of them. */
const memories = [makeMemory(), makeMemory()] as const
const walker = makeWalker()
/** The side that the walker works for. */
let current: Side | undefined

function makeMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 64, maximum: 64 })
}

/** The two functions of the walker alone. */
function makeWalker(): { miss: Miss; fetch: (base: number, linear: bigint) => number } {
  const m = new ModuleBuilder()
  const fill = m.importFunction('host', 'fill', [I32, I32, I32], [I32])
  m.importMemory('host', 'memory', 1)
  const low = i32.wrap(getLocal(1))
  const high = i32.wrap(i64.shrS(getLocal(1), i64.const(32)))
  m.exportFunction(
    'miss',
    m.addFunction([I32, I64, I32], [I32], (locals) => walkBody('data', locals, call(fill, low, high, getLocal(2)))),
  )
  m.exportFunction(
    'fetch',
    m.addFunction([I32, I64], [I32], (locals) => walkBody('fetch', locals, i32.const(0))),
  )
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()), {
    host: {
      memory: memories[0],
      fill: (below: number, above: number, access: number): number =>
        current!.left(above * 2 ** 32 + (below >>> 0), access),
    },
  })
  return instance.exports as unknown as { miss: Miss; fetch: (base: number, linear: bigint) => number }
}

class Side {
  readonly space: AddressSpace
  readonly s: CpuState
  readonly mem: LinearMemory
  readonly heard: unknown[] = []
  readonly overlay: Overlay
  /** Accesses that the walker left to TypeScript, and all. */
  slow = 0
  all = 0
  fetched = 0
  private readonly miss: Miss | undefined

  constructor(wasm: boolean, model: ModelName) {
    const memory = wasm ? memories[0] : memories[1]
    new Uint8Array(memory.buffer).fill(0)
    this.space = new AddressSpace({ buffer: memory.buffer, reserved: CPU_BLOCK_SIZE + 4096, placeTable: true })
    this.space.addRam(0, RAM_PAGES * 4096)
    this.space.addRam(FAR, 0x4000)
    const device = { readMmio: () => 0x55, writeMmio: () => {} }
    this.space.addOverlay({ base: 0x20000, size: 0x1000, device })
    this.space.addOverlay({ base: 0x21000, size: 0x1000, rom: new Uint8Array(4096).fill(0x67) })
    this.overlay = this.space.addOverlay({ base: 0x22000, size: 0x1000, rom: new Uint8Array(4096), write: false })
    this.space.addOverlay({ base: 0x23000, size: 0x1000, alias: 0x10000 })
    this.space.onCodeWrite((page, offset, length) => void this.heard.push(page, offset, length))
    this.s = new CpuState(memory.buffer, 4096)
    this.mem = new LinearMemory(this.s, this.space, MODELS[model])
    if (!wasm) return
    current = this
    this.miss = walker.miss
    this.mem.fetchFiller = (base, low, high) => {
      const done = walker.fetch(base, (BigInt(high) << 32n) | BigInt(low >>> 0))
      this.fetched += done
      return done
    }
  }

  /** What the walker leaves to TypeScript. */
  left(linear: number, access: number): number {
    this.slow++
    return this.fill(linear, access)
  }

  private fill(linear: number, access: number): number {
    return this.mem.fillFast(linear, (access & 1) !== 0) ? 1 : 0
  }

  access(linear: number, write: boolean): number {
    const access = Number(write)
    // As compiled code does it, which asks only where the tag says no.
    const { s } = this
    const page = BigInt(Math.floor(linear / 4096) * 4096)
    const e = s.base + OFF_DTLB + (Number((page >> 12n) & BigInt(DTLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
    if (s.big[(e + s.tagSelect + 8 * access) >> 3] === BigInt.asUintN(64, page)) return 1
    this.all++
    return this.miss ? this.miss(this.s.base, BigInt(linear), access) : this.fill(linear, access)
  }

  /** What an access gives: a number, or the fault's error code. */
  outcome(action: () => number): number | string {
    try {
      return action()
    } catch (error) {
      if (!isThrownFault(error)) throw error
      return `fault ${error.errorCode} at ${this.s.cr2}`
    }
  }

  listen(on: boolean): void {
    this.mem.events = on
      ? { wants: () => true, emit: (name: string, event: unknown) => void this.heard.push(name, event) }
      : undefined
  }

  configure(mode: Mode, c: Controls): void {
    const { s } = this
    const paging = mode === 'none' ? 0 : CR0_PG
    s.cr0 = (CR0_PE | paging | (c.wp ? CR0_WP : 0)) >>> 0
    s.cr3 = c.root * 4096 + (mode === '4-level' ? c.pcid : 0)
    s.cr4 =
      (mode === 'pae' || mode === '4-level' ? CR4_PAE : 0) |
      (c.pse ? CR4_PSE : 0) |
      (c.pge ? CR4_PGE : 0) |
      (c.smep ? CR4_SMEP : 0) |
      (c.smap ? CR4_SMAP : 0) |
      (mode === '4-level' && c.pcide ? CR4_PCIDE : 0) |
      (mode === '4-level' && c.pke ? CR4_PKE : 0)
    s.efer = (mode === '4-level' ? EFER_LMA | EFER_LME : 0) | (c.nxe ? EFER_NXE : 0)
    s.pkru = c.pkru
    s.flagsRest = 2 | (c.ac ? FLAG_AC : 0)
    this.mem.setCpl(c.cpl)
    s.tagSelect = c.cpl === 3 ? 16 : 0
    this.mem.configurePaging()
    if (mode === 'pae') this.mem.loadPdptes(s.cr3)
  }

  /** The walk's parameters, the lists and counters, and the TLB with its tags. */
  get block(): Buffer {
    return Buffer.from(this.s.u8.buffer, this.s.base + OFF_WALK, OFF_ENGINE - OFF_WALK)
  }

  get ram(): Buffer {
    return Buffer.from(this.space.bytes.buffer, this.space.readOffset(0), RAM_PAGES * 4096)
  }
}

const MODE_NAMES = ['none', '32-bit', 'pae', '4-level'] as const
type Mode = (typeof MODE_NAMES)[number]

const often = fc.nat({ max: 19 }).map((n) => n > 0)
const mostly = fc.nat({ max: 9 }).map((n) => n > 1)
const seldom = fc.nat({ max: 15 }).map((n) => n === 0)

const controls = fc.record({
  wp: fc.boolean(),
  root: fc.constantFrom(1, 1, 1, 2),
  pcid: fc.constantFrom(0, 1, 0x18),
  pcide: fc.boolean(),
  pse: often,
  pge: fc.boolean(),
  smep: fc.boolean(),
  smap: fc.boolean(),
  pke: fc.boolean(),
  pkru: fc.constantFrom(0, 0x55555554, 0xc, 0xffffffff),
  nxe: often,
  ac: seldom,
  cpl: fc.constantFrom(0, 3),
})
type Controls = typeof controls extends fc.Arbitrary<infer T> ? T : never

/** A paging-structure entry as two halves; 32-bit paging takes the first. */
const entry = fc
  .record({
    target: fc.nat({ max: TARGETS.length - 1 }),
    p: often,
    rw: often,
    us: often,
    a: often,
    d: fc.boolean(),
    ps: fc.nat({ max: 7 }).map((n) => n === 0),
    // Reserved in the entry of a large page, or address bits 39–32 of a page of 4 MiB.
    above: fc.oneof({ weight: 5, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: fc.bigInt(0n, 0xffn) }),
    g: fc.boolean(),
    nx: seldom,
    key: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 15 }) }),
    odd: fc.oneof({ weight: 20, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) }),
  })
  .map((e) => {
    const page = BigInt(TARGETS[e.target]!)
    // A large page: at the first multiple of its size, mostly.
    const address = e.ps ? ((page >> 18n) << 30n) | (e.above << 13n) : page << 12n
    const low =
      (e.p ? PTE_P : 0) |
      (e.rw ? PTE_RW : 0) |
      (e.us ? PTE_US : 0) |
      (e.a ? PTE_A : 0) |
      (e.d ? PTE_D : 0) |
      (e.ps ? PTE_PS : 0) |
      (e.g ? PTE_G : 0)
    return address | BigInt(low) | (e.nx ? 1n << 63n : 0n) | (BigInt(e.key) << 59n) | e.odd
  })

/** The bits of an entry that name its table, and PS. */
const LEADS = 0x000ffffffffff080n

/** Where an entry goes: one of those that addresses below choose. */
const place = fc.record({
  table: fc.constantFrom(...TABLES),
  index: fc.nat({ max: INDICES.length - 1 }),
})

const address = fc.record({
  indices: fc.array(fc.nat({ max: INDICES.length - 1 }), { minLength: 4, maxLength: 4 }),
  offset: fc.nat({ max: 4095 }),
  odd: seldom,
})
type Address = typeof address extends fc.Arbitrary<infer T> ? T : never

function linearOf(mode: Mode, { indices, offset, odd }: Address): number {
  const index = (n: number): number => INDICES[indices[n]!]!
  if (mode === 'none') return [0x10, 0x20, 0x21, 0x22, 0x23, 0x110, 0x1ff, 0xfffff][index(0) & 7]! * 4096 + offset
  if (mode === '32-bit') {
    const wide = (i: number): number => (i === 511 ? 1023 : i)
    return (((wide(index(0)) << 22) | (wide(index(1)) << 12) | offset) >>> 0) as number
  }
  const low = index(1) * 2 ** 21 + index(2) * 2 ** 12 + offset
  if (mode === 'pae') return (index(0) & 3) * 2 ** 30 + low
  const top = index(0) === 511 ? -1 : index(0)
  // Not canonical, now and then.
  return top * 2 ** 39 + (odd ? 2 ** 47 : 0) + index(3) * 2 ** 30 + low
}

const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('access' as const), address, write: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('fetch' as const), address }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('load' as const), address, user: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('store' as const), address, user: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('entry' as const), place, entry }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('controls' as const), controls }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('cr3' as const), pcid: fc.constantFrom(0, 1, 0x18) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('watch' as const), page: fc.constantFrom(...TARGETS), on: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('flushAll', 'flushNonGlobal', 'flushPage', 'flushPcid', 'a20', 'shadow', 'dirty', 'events'),
      address,
      on: fc.boolean(),
    }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Carries a step out on one side; what comes back must be the same on the other. */
function perform(side: Side, mode: Mode, what: Step): unknown {
  const { mem, space, s } = side
  switch (what.do) {
    case 'access':
      return side.access(linearOf(mode, what.address), what.write)
    case 'fetch':
      return side.outcome(() => mem.translateFetch(linearOf(mode, { ...what.address, odd: false })))
    case 'load':
      return side.outcome(() => mem.lin32(linearOf(mode, { ...what.address, odd: false }), what.user))
    case 'store':
      return side.outcome(() => {
        // To data only: elsewhere it would leave no table to walk.
        const linear = linearOf(mode, { ...what.address, odd: false })
        mem.setLin8(Math.floor(linear / 4096) * 4096 + 0xabc, 0x77, what.user)
        return 0
      })
    case 'entry':
      return write(side, mode, what.place, what.entry)
    case 'controls':
      return side.configure(mode, what.controls)
    case 'cr3':
      s.cr3 = Math.floor(s.cr3 / 4096) * 4096 + (mode === '4-level' ? what.pcid : 0)
      return mem.cr3Changed()
    case 'watch':
      return what.on ? space.setWatch(what.page, WATCH_CODE) : space.clearWatch(what.page, WATCH_CODE)
    case 'flushPage':
      return mem.flushPage(linearOf(mode, { ...what.address, odd: false }))
    case 'flushPcid':
      return mem.flushPcid(what.on ? 1 : 0)
    case 'a20':
      space.a20 = what.on
      return
    case 'shadow':
      return side.overlay.setEnabled({ read: what.on })
    case 'dirty':
      if (!what.on) return space.stopDirtyLog()
      if (space.dirtyLogging) return space.collectDirty()
      return space.startDirtyLog()
    case 'events':
      return side.listen(what.on)
    default:
      return mem[what.do]()
  }
}

function write(side: Side, mode: Mode, to: { table: number; index: number }, value: bigint): void {
  const index = INDICES[to.index]!
  const narrow = mode === '32-bit'
  const at = to.table * 4096 + (narrow ? (index === 511 ? 1023 : index) * 4 : index * 8)
  side.space.write32(at, Number(value & 0xffffffffn))
  if (!narrow) side.space.write32(at + 4, Number(value >> 32n))
}

const scenario = fc.record({
  mode: fc.constantFrom(...MODE_NAMES, '32-bit' as const, 'pae' as const, '4-level' as const, '4-level' as const),
  model: fc.constantFrom<ModelName>('x86-64-v2', 'x86-64-v2', 'core2', 'pentium', '80286'),
  controls,
  entries: fc.array(fc.record({ value: entry, down: mostly }), { minLength: 24, maxLength: 24 }),
  steps: fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
})

describe('the page walk in WebAssembly', () => {
  it('does what the walk in TypeScript does, and leaves the rest to it', () => {
    let slow = 0
    let all = 0
    let fetched = 0
    fc.assert(
      fc.property(scenario, ({ mode, model, controls: first, entries, steps }) => {
        const ours = new Side(true, model)
        const theirs = new Side(false, model)
        for (const side of [ours, theirs]) {
          entries.forEach(({ value: given, down }, n) => {
            const table = TABLES[Math.floor(n / INDICES.length)]!
            // Most tables lead on to others, or little would be mapped.
            const next = BigInt(Math.min(table + 1 + (n % 2), 6)) << 12n
            const value = down && table < (mode === '32-bit' ? 3 : 5) ? next | (given & ~LEADS) : given
            // What is loaded with CR3 must be well-formed under PAE paging.
            const pae = mode === 'pae' && table <= 2
            write(side, mode, { table, index: n % 4 }, pae ? value & 0x000000fffffff001n : value)
          })
          if (mode === 'pae') {
            for (const root of TABLES.slice(0, 2)) write(side, mode, { table: root, index: 3 }, 0n)
            side.space.write32(0x1018, 0x3001)
          }
          side.configure(mode, first)
        }
        for (const [n, what] of steps.entries()) {
          expect(perform(ours, mode, what), `step ${n}, ${what.do}`).toEqual(perform(theirs, mode, what))
          const same = Buffer.compare(ours.block, theirs.block) === 0
          if (!same) expect(differences(ours, theirs), `step ${n}, ${JSON.stringify(what, bigs)}`).toEqual([])
        }
        expect(Buffer.compare(ours.ram, theirs.ram)).toBe(0)
        expect(ours.heard).toEqual(theirs.heard)
        expect(ours.space.saveState().dirty).toEqual(theirs.space.saveState().dirty)
        expect(counts(ours)).toEqual(counts(theirs))
        slow += ours.slow
        all += ours.all
        fetched += ours.fetched
      }),
      { numRuns: runs(600) },
    )
    // The test is one only if the walker does a good part of the work.
    expect(all - slow).toBeGreaterThan(all / 10)
    expect(fetched).toBeGreaterThan(all / 100)
  })

  it('takes stock when the list of filled entries is full', () => {
    const sides = [new Side(true, 'x86-64-v2'), new Side(false, 'x86-64-v2')] as const
    for (const { mem, access } of sides.map((side) => ({
      mem: side.mem,
      access: (at: number) => side.access(at, true),
    }))) {
      for (let n = 0; n < 2 * FILLED_LENGTH + 10; n++) {
        // Every page that is emptied and filled again is noted again.
        access(0x10000 + (n % 3) * 4096)
        if (n % 2) mem.flushPage(0x10000 + (n % 3) * 4096)
      }
    }
    expect(differences(...sides)).toEqual([])
    for (const { mem } of sides) mem.flushAll()
    expect(differences(...sides)).toEqual([])
    expect(sides[0].mem.stats.fills).toBeGreaterThan(FILLED_LENGTH)
  })
})

function counts({ mem: { stats } }: Side): readonly number[] {
  return [stats.fills, stats.fetchFills, stats.flushes]
}

function bigs(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value
}

/** Words of the CPU blocks that differ, as [offset, ours, theirs]; but for the notes whether all tags were derived, which change nothing. */
function differences(ours: Side, theirs: Side): unknown[] {
  const found: unknown[] = []
  for (let at = OFF_WALK; at < OFF_ENGINE; at += 4) {
    const [a, b] = [ours.s.get32(at), theirs.s.get32(at)]
    const noted = at >= OFF_DTLB && at % TLB_ENTRY_SIZE === TLB_TAGGED
    if (a !== b && !noted) found.push([at.toString(16), a.toString(16), b.toString(16)])
  }
  return found
}
