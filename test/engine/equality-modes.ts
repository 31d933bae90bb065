/** Starts programs: draws the registers, segments and tables of a mode, and leaves the code to the caller. */

import { type CpuModel, SEG_LDTR, SEG_TR } from '../../src/cpu/index.js'
import {
  MSR_CSTAR,
  MSR_FMASK,
  MSR_KERNEL_GS_BASE,
  MSR_LSTAR,
  MSR_STAR,
  MSR_SYSENTER_CS,
  MSR_SYSENTER_EIP,
  MSR_SYSENTER_ESP,
} from '../../src/cpu/msr.js'
import type { EqualityBoard } from './equality-board.js'
import { floatState } from './equality-float.js'
import type { Random } from './equality-random.js'
import { DEFAULT_MODEL } from './equality-rows.js'
import {
  CODE,
  CROSSED_FRAME,
  code,
  DATA,
  dataAreas,
  descriptorTable,
  GDT,
  GDT_LIMIT,
  IDT,
  Image,
  interruptTable,
  LDT,
  type ModeName,
  PAGE_P,
  PAGE_RW,
  PAGE_US,
  PAGES,
  pageTables,
  SEL,
  SLOT,
  SLOT_START,
  SMBASE_CODE,
  STACK_INNER,
  STACK0,
  STACK3,
  type Surroundings,
  TSS,
  taskStates,
  WINDOWS,
} from './equality-tables.js'

const MSR_SETUP = [
  MSR_SYSENTER_CS,
  MSR_SYSENTER_ESP,
  MSR_SYSENTER_EIP,
  MSR_STAR,
  MSR_LSTAR,
  MSR_CSTAR,
  MSR_FMASK,
  MSR_KERNEL_GS_BASE,
]

/** A started program: what {@link prepare} returns. */
export interface Prepared {
  readonly around: Surroundings
  readonly image: Uint8Array
  /** Offset of the first slot in the code segment. */
  readonly ip: number
  start(board: EqualityBoard): void
}

/** Draws the surroundings of a program. `fillCode` writes the code once everything else is there. */
export function prepare(
  mode: ModeName,
  random: Random,
  fillCode: (around: Surroundings, code: Uint8Array, ip: number) => void,
  model: CpuModel = DEFAULT_MODEL,
): Prepared {
  const image = new Image()
  const has = (name: string): boolean => (model.features as ReadonlySet<string>).has(name)
  const long = mode.startsWith('long') || mode.startsWith('compatibility')
  const v86 = mode === 'virtual-8086'
  const real = mode === 'real'
  const user = v86 || mode.endsWith('3')
  const cpl = user ? 3 : 0
  const bits = mode.startsWith('long')
    ? 64
    : mode === 'protected32-0' || mode === 'protected32-3' || (mode.startsWith('compatibility') && random.chance(75))
      ? 32
      : 16
  const paging = real
    ? 'off'
    : long
      ? 'long'
      : random.pick(
          has('pae')
            ? (['off', '32-bit', 'pae'] as const)
            : has('386')
              ? (['off', '32-bit'] as const)
              : (['off'] as const),
        )

  // Control registers.
  let cr0 = has('486') ? 0x10 : 0
  let cr4 = 0
  if (!real) cr0 |= 1
  if (paging !== 'off') cr0 |= 0x80000000
  if (has('486') && random.chance(70)) cr0 |= 0x10000
  if (random.chance(15)) cr0 |= 0x40000 & (has('486') ? -1 : 0)
  if (random.chance(25)) cr0 |= random.pick([2, 4, 8, 10, 10]) & (has('286') ? -1 : 0)
  if (has('pse') && random.chance(80)) cr4 |= 0x10
  if (paging === 'pae' || paging === 'long') cr4 |= 0x20
  if (has('pge') && random.chance(60)) cr4 |= 0x80
  if (has('vme') && random.chance(40)) cr4 |= random.pick([1, 2, 3])
  if (random.chance(10)) cr4 |= 4 & model.cr4Mask
  if (random.chance(20)) cr4 |= 8 & model.cr4Mask
  if (random.chance(40)) cr4 |= 0x100 & model.cr4Mask
  if (random.chance(15)) cr4 |= 0x800 & model.cr4Mask
  if (random.chance(70)) cr4 |= 0x10000 & model.cr4Mask
  // x87 errors are exceptions, not interrupts; SSE is switched on.
  if (has('486') && random.chance(75)) cr0 |= 0x20
  if (random.chance(85)) cr4 |= 0x200 & model.cr4Mask
  if (random.chance(80)) cr4 |= 0x400 & model.cr4Mask
  if (random.chance(50)) cr4 |= 0x40000 & model.cr4Mask
  const guarded = paging !== 'off' && random.chance(20)
  if (guarded) cr4 |= 0x300000 & model.cr4Mask
  if (paging === 'long' && random.chance(25)) cr4 |= 0x420000 & model.cr4Mask
  const nx = has('nx') && random.chance(80)
  const efer = (long ? 0x500 : 0) | (nx ? 0x800 : 0) | (has('syscall') && random.chance(80) ? 1 : 0)
  const all = PAGE_P | PAGE_RW | (guarded && !user ? 0 : PAGE_US)
  const cr3 = paging === 'off' ? 0 : paging === 'pae' ? PAGES + 0x1000 : PAGES

  // Segments.
  const segmented = bits !== 64 && !real && !v86 && random.chance(bits === 16 ? 90 : 35)
  const codeSelector =
    real || v86
      ? CODE >> 4
      : bits === 64
        ? user
          ? SEL.code64User
          : SEL.code64
        : bits === 32
          ? user
            ? SEL.code32User
            : SEL.code32
          : user
            ? SEL.code16User
            : SEL.code16
  const flatData = user ? SEL.dataUser : SEL.data
  const sixteenData = user ? SEL.data16User : SEL.data16
  const choices: readonly number[] = user
    ? [SEL.dataUser, SEL.data16User, SEL.expandDown, SEL.small, SEL.readOnly, SEL.dataUser | 4]
    : [SEL.data, SEL.data16, SEL.expandDown, SEL.expandDown16, SEL.small, SEL.readOnly, SEL.executeOnly]
  const selectors = [0, 1, 2, 3, 4, 5].map((seg) => {
    if (real || v86) return seg === 1 ? CODE >> 4 : seg === 2 ? STACK_SEGMENT : DATA >> 4
    if (seg === 1) return codeSelector
    if (seg === 2) return flatData
    if (!segmented) return flatData
    if (seg === 3) return random.chance(60) ? (bits === 16 ? sixteenData : flatData) : random.pick(choices)
    return random.pick(choices)
  })
  const handlersSixteen = mode.startsWith('protected16') && random.chance(70)
  const first = random.pick(WINDOWS)
  descriptorTable(image, long, first)
  if (handlersSixteen) {
    // The handlers are 16-bit code at offsets below 64 KiB of a segment of their own; see `interruptTable`.
    image.descriptor(SEL.conforming, { base: 0, limit: 0xffff, type: 10, big: false })
  }
  taskStates(image, long, random, first)
  interruptTable(image, real ? 16 : long ? 64 : 32, handlersSixteen, random, has('fpu') && !(handlersSixteen && user))
  if (handlersSixteen) {
    for (let vector = 0; vector < 256; vector++) {
      if (vector !== 8 && vector !== 0x82) image.u16(IDT + vector * 8 + 2, SEL.conforming)
    }
  }
  if (paging !== 'off') pageTables(image, paging, all, nx)
  const ip = (bits === 16 ? 0 : CODE) + SLOT_START + first * SLOT
  const bases = selectors.map((selector) => {
    if (real || v86) return selector * 16
    if (bits === 64) return 0
    const at = ((selector & 4) !== 0 ? LDT : GDT) + (selector & 0xf8)
    const view = new DataView(image.bytes.buffer)
    return ((view.getUint32(at, true) >>> 16) | ((view.getUint8(at + 4) << 16) | (view.getUint8(at + 7) << 24))) >>> 0
  })
  const around: Surroundings = { mode, model, bits, user, bases, code: codeSelector, paging, cr0, cr3, cr4, efer }
  dataAreas(image, random, around, ip)
  // SMM: the handler only returns.
  image.put(SMBASE_CODE, code(16, 'rsm'))
  fillCode(around, image.bytes.subarray(CODE, CODE + 0x5000), ip)
  if (paging !== 'off') image.bytes.copyWithin(CROSSED_FRAME << 12, CODE + 0x4000, CODE + 0x5000)

  let flags = 2
  if (random.chance(80)) flags |= 0x200
  if (random.chance(12)) flags |= 0x100
  if (random.chance(12)) flags |= 0x40000
  if (random.chance(10)) flags |= 0x400
  if (user && random.chance(50)) flags |= random.pick([0x1000, 0x3000])
  if (v86) flags |= 0x20000 | (random.chance(60) ? 0x3000 : 0) | (random.chance(20) ? 0x80000 : 0)
  flags &= model.flagsMask
  const values: number[] = []
  for (let reg = 0; reg < 16; reg++) {
    values.push(random.pick([random.next(), DATA + random.below(0xd000), random.below(0x100), random.below(0xd000)]))
  }
  values[4] = real || v86 ? 0xe000 : user ? STACK3 : STACK0
  const breakpoints = has('386') && random.chance(12)
  const debug = [0, 1, 2, 3].map(() =>
    random.chance(50) ? DATA + (random.below(0x3400) << 2) : CODE + SLOT_START + random.below(40) * SLOT,
  )
  const dr7 = breakpoints ? (random.next() & 0xffff00ff) | 0x400 : 0x400
  const loadFloats = floatState(random)
  const timer = random.pick([0, 0, 2, 5, 13, 40, 200])

  return {
    around,
    image: image.bytes,
    ip,
    start(board) {
      const { cpu } = board
      const { s } = cpu
      s.cr0 = cr0
      s.cr3 = cr3
      s.cr4 = cr4
      s.efer = efer
      s.setGdtr(GDT, GDT_LIMIT)
      s.setIdtr(real ? 0 : IDT, real ? 0x3ff : long ? 0xfff : 0x7ff)
      s.flags = flags | model.flagsOnes
      for (let seg = 0; seg < 6; seg++) {
        const selector = selectors[seg]!
        if (real || v86) s.setSegment(seg, selector, selector * 16, 0xffff, v86 ? 0xf3 : 0x93)
        else {
          const at = GDT + (selector & 0xf8)
          const lo = board.space.read32(at)
          const hi = board.space.read32(at + 4)
          const field = (lo & 0xffff) | (hi & 0xf0000)
          const limit = hi & 0x800000 ? ((field << 12) | 0xfff) >>> 0 : field
          const base = ((lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000)) >>> 0
          s.setSegment(seg, selector, base, limit, ((hi >>> 8) & 0xf0ff) | 1)
        }
      }
      if (!real) {
        s.setSegment(SEG_TR, SEL.tss, TSS, 0x2067, 0x8b)
        s.setSegment(SEG_LDTR, SEL.ldt, LDT, 0xff, 0x82)
      }
      cpu.smbase = SMBASE_CODE - 0x8000
      values.forEach((value, reg) => {
        if (reg < 8 || bits === 64) s.setReg64(reg, value, 0)
      })
      s.rip = ip
      loadFloats(board)
      if (has('sep')) {
        const setup = [
          SEL.code64 - (long ? 0 : 0x28),
          STACK_INNER,
          ip + 40 * SLOT,
          0,
          ip + 48 * SLOT,
          ip + 56 * SLOT,
          0x700,
          0x1234,
        ]
        for (const [n, index] of MSR_SETUP.entries()) cpu.msr.set(index, BigInt(setup[n]!))
        cpu.msr.set(
          MSR_STAR,
          (BigInt(SEL.code32User - 0) << 48n) |
            (BigInt(long ? SEL.code64 : SEL.code32) << 32n) |
            BigInt(ip + 64 * SLOT),
        )
      }
      if (breakpoints) {
        debug.forEach((linear, n) => {
          s.setDr(n, linear)
        })
        s.setDr(7, dr7)
      }
      cpu.setCpl(cpl)
      cpu.mem.configurePaging()
      cpu.mem.flushAll()
      if (paging === 'pae') cpu.mem.loadPdptes(cr3)
      cpu.updateMode()
      board.startTimer(timer)
    },
  }
}

const STACK_SEGMENT = 0x3000
