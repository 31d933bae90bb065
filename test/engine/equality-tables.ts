/**
 * What stands in memory around random code: descriptor tables, page tables, task state segments, handlers, and values that programs find useful. Exception
 * handlers skip to the next slot of code, so that one fault does not end a program.
 */

import type { CpuModel } from '../../src/cpu/index.js'
import { assemble } from '../../src/isa/index.js'
import { encodeGate, encodeSegment, type GateFields, type SegmentFields } from '../../src/mmu/index.js'
import { MMIO_BASE, RAM_BYTES, ROM_BASE } from './equality-board.js'
import { controlImages, floatWords } from './equality-float.js'
import type { Random } from './equality-random.js'

export const GDT = 0x1000
export const IDT = 0x2000
export const LDT = 0x3000
export const TSS = 0x4000
const TSS_B = 0x6800
const TSS_16 = 0x6c00
const TSS_DF = 0x6e00
export const HANDLERS = 0x8000
export const HANDLERS_END = 0x9000
/** Bytes between two handlers. */
const HANDLER_SIZE = 0x40
export const CODE = 0x10000
export const CODE_END = 0x15000
/** Where the first slot begins; slots are {@link SLOT} bytes, and one in 128 crosses a page. */
export const SLOT_START = 23
export const SLOT = 32
/** Slots of code that a program has. */
export const SLOTS = 150
/** Where programs begin, in slots from the start of the code area: three of them cross from one page into the next, and the last of these goes on in another frame when paging is on. */
export const WINDOWS = [0, 60, 300, 430]
export const CROSSED_FRAME = 0x1c
export const DATA = 0x20000
export const STACK3 = 0x3c000
export const STACK0 = 0x3e000
export const STACK_INNER = 0x3f800
export const SMBASE_CODE = 0x38000
export const PAGES = 0x40000
export const PAGE_TABLE = PAGES + 0x3000

// The GDT.
export const SEL = {
  code32: 0x08,
  data: 0x10,
  // SYSENTER and SYSCALL want these four in a row, and so on for privilege 3.
  code32User: 0x1b,
  dataUser: 0x23,
  code64User: 0x2b,
  code64: 0x30,
  data64: 0x38,
  code16: 0x40,
  data16: 0x48,
  code16User: 0x53,
  data16User: 0x5b,
  conforming: 0x60,
  executeOnly: 0x68,
  expandDown: 0x73,
  expandDown16: 0x7b,
  notPresent: 0x83,
  small: 0x8b,
  tss: 0x90,
  // 64-bit TSS and LDT descriptors take two places.
  ldt: 0xa0,
  tssB: 0xb0,
  tss16: 0xb8,
  taskGate: 0xc3,
  callGate32: 0xcb,
  callGate16: 0xd3,
  callGate64: 0xdb,
  readOnly: 0xeb,
  tssDf: 0xf0,
} as const
export const GDT_LIMIT = 0xff

/** The modes in which programs are made. The digit is the privilege level. */
export const MODES = [
  'real',
  'virtual-8086',
  'protected16-0',
  'protected16-3',
  'protected32-0',
  'protected32-3',
  'compatibility-0',
  'compatibility-3',
  'long-0',
  'long-3',
] as const

export type ModeName = (typeof MODES)[number]

/** What the generator has to know of a program's surroundings. */
export interface Surroundings {
  readonly mode: ModeName
  readonly model: CpuModel
  readonly bits: 16 | 32 | 64
  readonly user: boolean
  /** Bases of ES CS SS DS FS GS. */
  readonly bases: readonly number[]
  /** Selector of code in this mode. */
  readonly code: number
  readonly paging: 'off' | '32-bit' | 'pae' | 'long'
  readonly cr0: number
  readonly cr3: number
  readonly cr4: number
  readonly efer: number
}

const assembled = new Map<string, Uint8Array>()

export function code(bits: 16 | 32 | 64, source: string): Uint8Array {
  const key = `${bits} ${source}`
  let bytes = assembled.get(key)
  if (!bytes) {
    bytes = assemble(source, { bits }).bytes
    assembled.set(key, bytes)
  }
  return bytes
}

/** Vectors that push an error code. */
const WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21, 30])
/** Vectors whose handler returns to where it came from. */
const TRAPS = new Set([1, 2, 3, 4])
/** A software interrupt that anybody may call. */
export const VECTOR_CALL = 0x80

/** The handler of a vector. `next`: where the interrupted code goes on, the start of the slot after the one that faulted. */
function handler(bits: 16 | 32 | 64, vector: number, fpu: boolean): Uint8Array {
  const interrupt = vector >= 0x20
  const reg = bits === 16 ? 'sp' : bits === 32 ? 'esp' : 'rsp'
  const word = bits === 16 ? 'word' : bits === 32 ? 'dword' : 'qword'
  const ret = bits === 16 ? 'iret' : bits === 32 ? 'iretd' : 'iretq'
  if (interrupt) {
    const end =
      vector < 0x30
        ? `push ${bits === 64 ? 'rax' : 'ax'}\nmov al, 0x20\nout 0x20, al\nout 0xa0, al\npop ${bits === 64 ? 'rax' : 'ax'}\n`
        : ''
    return code(bits, `${end}${ret}`)
  }
  const pop = WITH_CODE.has(vector) ? `add ${reg}, ${bits / 8}\n` : ''
  if (TRAPS.has(vector)) {
    // Instruction breakpoints would come again and again without RF.
    const resume = vector === 1 && bits !== 16 ? `or dword [${reg}+${bits / 4}], 0x10000\n` : ''
    return code(bits, `${pop}${resume}${ret}`)
  }
  // What would come again at once: an x87 error that is pending, the flag of a task switch.
  const clear = !fpu ? '' : vector === 16 ? 'fnclex\n' : vector === 7 ? 'clts\n' : ''
  const bump = (at: string): string =>
    `sub ${word} ${at}, ${SLOT_START}\nand ${word} ${at}, -${SLOT}\nadd ${word} ${at}, ${SLOT_START + SLOT}\n`
  if (bits === 16) return code(16, `${clear}${pop}push bp\nmov bp, sp\n${bump('[bp+2]')}pop bp\n${ret}`)
  return code(bits, `${clear}${pop}${bump(`[${reg}]`)}${ret}`)
}

export class Image {
  readonly bytes = new Uint8Array(RAM_BYTES)
  private readonly view = new DataView(this.bytes.buffer)

  u16(at: number, value: number): void {
    this.view.setUint16(at, value, true)
  }
  u32(at: number, value: number): void {
    this.view.setUint32(at, value, true)
  }
  u64(at: number, value: number): void {
    this.u32(at, value)
    this.u32(at + 4, Math.floor(value / 2 ** 32))
  }
  put(at: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, at)
  }
  descriptor(selector: number, fields: SegmentFields): void {
    const { lo, hi } = encodeSegment(fields)
    this.u32(GDT + (selector & 0xf8), lo)
    this.u32(GDT + (selector & 0xf8) + 4, hi)
  }
  gate(at: number, fields: GateFields, long = false): void {
    const { lo, hi } = encodeGate(fields)
    this.u32(at, lo)
    this.u32(at + 4, hi)
    if (long) this.u64(at + 8, 0)
  }
}

export function descriptorTable(image: Image, long: boolean, first: number): void {
  const flat = { base: 0, limit: 0xffffffff }
  const low = { base: CODE, limit: 0xffff, big: false }
  const data16 = { base: DATA, limit: 0xffff, big: false }
  image.descriptor(SEL.code32, { ...flat, type: 10 })
  image.descriptor(SEL.data, { ...flat, type: 2 })
  image.descriptor(SEL.code32User, { ...flat, type: 10, dpl: 3 })
  image.descriptor(SEL.dataUser, { ...flat, type: 2, dpl: 3 })
  image.descriptor(SEL.code64User, { ...flat, type: 10, dpl: 3, long })
  image.descriptor(SEL.code64, { ...flat, type: 10, long })
  image.descriptor(SEL.data64, { ...flat, type: 2 })
  image.descriptor(SEL.code16, { ...low, type: 10 })
  image.descriptor(SEL.data16, { ...data16, type: 2 })
  image.descriptor(SEL.code16User, { ...low, type: 10, dpl: 3 })
  image.descriptor(SEL.data16User, { ...data16, type: 2, dpl: 3 })
  image.descriptor(SEL.conforming, { ...flat, type: 14 })
  image.descriptor(SEL.executeOnly, { ...flat, type: 8 })
  image.descriptor(SEL.expandDown, { base: 0, limit: 0x1ffff, type: 6, dpl: 3 })
  image.descriptor(SEL.expandDown16, { base: DATA, limit: 0x3ff, type: 6, dpl: 3, big: false })
  image.descriptor(SEL.notPresent, { ...flat, type: 2, dpl: 3, present: false })
  image.descriptor(SEL.small, { base: DATA, limit: 0x5ff, type: 2, dpl: 3 })
  image.descriptor(SEL.tss, { base: TSS, limit: 0x2067, type: 11, s: false })
  image.descriptor(SEL.ldt, { base: LDT, limit: 0xff, type: 2, s: false })
  image.descriptor(SEL.tssB, { base: TSS_B, limit: 0x67, type: 9, s: false })
  if (!long) image.descriptor(SEL.tss16, { base: TSS_16, limit: 0x2b, type: 1, s: false })
  image.descriptor(SEL.tssDf, { base: TSS_DF, limit: 0x67, type: 9, s: false })
  image.descriptor(SEL.readOnly, { ...flat, type: 0, dpl: 3 })
  const slot = CODE + SLOT_START + (first + 8) * SLOT
  if (long) {
    image.gate(GDT + (SEL.callGate64 & 0xf8), { type: 12, selector: SEL.code64, offset: slot, dpl: 3 }, true)
  } else {
    image.gate(GDT + (SEL.taskGate & 0xf8), { type: 5, selector: SEL.tssB, dpl: 3 })
    image.gate(GDT + (SEL.callGate32 & 0xf8), { type: 12, selector: SEL.code32, offset: slot, dpl: 3, paramCount: 2 })
    image.gate(GDT + (SEL.callGate16 & 0xf8), {
      type: 4,
      selector: SEL.code16,
      offset: slot - CODE,
      dpl: 3,
      paramCount: 3,
    })
  }
  // The LDT repeats the GDT.
  image.bytes.copyWithin(LDT, GDT, GDT + 0x100)
}

export function taskStates(image: Image, long: boolean, random: Random, first: number): void {
  if (long) {
    for (const [n, at] of [STACK_INNER, STACK_INNER - 0x400, STACK_INNER - 0x800].entries())
      image.u64(TSS + 4 + n * 8, at)
    for (let ist = 1; ist < 8; ist++) image.u64(TSS + 0x24 + (ist - 1) * 8, STACK_INNER - 0x1000 - ist * 0x80)
  } else {
    for (const [n, ss] of [SEL.data, SEL.data + 1, SEL.data + 2].entries()) {
      image.u32(TSS + 4 + n * 8, STACK_INNER - n * 0x400)
      image.u16(TSS + 8 + n * 8, ss)
    }
    for (const [at, eip] of [
      [TSS_B, CODE + SLOT_START + (first + 16) * SLOT],
      [TSS_DF, HANDLERS + 8 * HANDLER_SIZE],
    ] as const) {
      image.u32(at + 4, STACK_INNER - 0x1000)
      image.u16(at + 8, SEL.data)
      image.u32(at + 0x1c, 0)
      image.u32(at + 0x20, eip)
      image.u32(at + 0x24, 2)
      image.u32(at + 0x38, STACK_INNER - 0x1400)
      for (let seg = 0; seg < 6; seg++) image.u32(at + 0x48 + seg * 4, seg === 1 ? SEL.code32 : SEL.data)
      image.u16(at + 0x66, 0x68)
    }
    image.u16(TSS_16 + 0x0e, SLOT_START + (first + 24) * SLOT)
    image.u16(TSS_16 + 0x10, 2)
    image.u16(TSS_16 + 0x1a, 0xf000)
    for (const [n, selector] of [SEL.data16, SEL.code16, SEL.data16, SEL.data16].entries())
      image.u16(TSS_16 + 0x22 + n * 2, selector)
  }
  if (!long) {
    // Faulty task states, for #TS and what follows from it.
    const selectors = Object.values(SEL)
    if (random.chance(40)) image.u16(TSS_B + 0x48 + random.below(6) * 4, random.pick([...selectors, 0, 0x1000]))
    if (random.chance(15)) image.u16(TSS_B + 0x60, random.pick([...selectors, 0x1000]))
    if (random.chance(20)) image.descriptor(SEL.tssB, { base: TSS_B, limit: 0x40, type: 9, s: false })
    if (random.chance(10)) image.u16(TSS + 8, random.pick([...selectors, 0, 0x1000]))
  }
  // The interrupt redirection bitmap of CR4.VME, then the I/O permission bitmap: some ports are open.
  image.u16(TSS + 0x66, 0x88)
  for (let n = 0; n < 32; n++) image.bytes[TSS + 0x68 + n] = random.chance(50) ? 0xff : 0
  for (let n = 0; n < 0x1f80; n++) image.bytes[TSS + 0x88 + n] = (n & 3) === 0 ? 0 : 0xff
  image.bytes[TSS + 0x2067] = 0xff
}

/** `fpu`: handlers of x87 exceptions remove the cause; they must run at privilege 0. */
export function interruptTable(image: Image, bits: 16 | 32 | 64, sixteen: boolean, random: Random, fpu: boolean): void {
  const width = sixteen ? 16 : bits
  for (let vector = 0; vector < 256; vector++) {
    const offset = HANDLERS + Math.min(vector, 0x30) * HANDLER_SIZE
    if (vector <= 0x30) image.put(offset, handler(width, vector, fpu))
    if (bits === 16) {
      image.u32(vector * 4, offset)
      continue
    }
    const open = vector === 3 || vector === 4 || vector === 1 || vector === VECTOR_CALL || vector === 0x83
    const trap = vector >= 0x90 && random.chance(50)
    const fields: GateFields = {
      type: (sixteen ? 6 : 14) + (trap ? 1 : 0),
      selector: sixteen ? SEL.code16 : bits === 64 ? SEL.code64 : SEL.code32,
      offset: sixteen ? offset & 0xffff : offset,
      dpl: open ? 3 : vector > 0x90 ? vector & 3 : 0,
      present: vector !== 0x83,
      ...(bits === 64
        ? {
            ist:
              vector === 8
                ? 1
                : vector === 2
                  ? 2
                  : vector === 0x84
                    ? 3
                    : vector === 12 || vector === 14 || vector === 13
                      ? 4
                      : 0,
          }
        : {}),
    }
    if (bits === 64) image.gate(IDT + vector * 16, fields, true)
    else if (vector === 8 || vector === 0x82) {
      image.gate(IDT + vector * 8, {
        type: 5,
        selector: vector === 8 ? SEL.tssDf : SEL.tssB,
        dpl: vector === 8 ? 0 : 3,
      })
    } else image.gate(IDT + vector * 8, fields)
  }
}

export const PAGE_P = 1
export const PAGE_RW = 2
export const PAGE_US = 4
const PAGE_PS = 0x80
const PAGE_G = 0x100

/** Attributes and frames of the 256 pages of RAM. `nx` is bit 63. */
function pageEntry(page: number, all: number): { frame: number; flags: number; nx: boolean } {
  const supervisor = page < 0x10 || (page >= PAGES >> 12 && page < (PAGES >> 12) + 0x10)
  const entry = { frame: page, flags: supervisor ? PAGE_P | PAGE_RW : all, nx: false }
  switch (page) {
    case (CODE >> 12) + 4:
      entry.frame = CROSSED_FRAME
      break
    case 0x24:
      entry.flags &= ~PAGE_RW
      break
    case 0x25:
      entry.flags &= ~PAGE_US
      break
    case 0x26:
      entry.flags &= ~PAGE_P
      break
    case 0x27:
      entry.nx = true
      break
    case 0x28:
      entry.flags &= ~(PAGE_RW | PAGE_US)
      break
    case 0x29:
      entry.flags |= PAGE_G
      break
    case 0x2a:
      entry.frame = CODE >> 12
      break
    case 0x2b:
      entry.frame = CROSSED_FRAME
      break
    case 0x2c:
      entry.frame = MMIO_BASE >> 12
      break
    case 0x2f:
      entry.frame = ROM_BASE >> 12
      break
  }
  return entry
}

export function pageTables(image: Image, kind: Surroundings['paging'], all: number, nx: boolean): void {
  const wide = kind !== '32-bit'
  const put = (at: number, value: number, high = 0): void => {
    image.u32(at, value)
    if (wide) image.u32(at + 4, high)
  }
  const stride = wide ? 8 : 4
  for (let page = 0; page < 256; page++) {
    const { frame, flags, nx: never } = pageEntry(page, all)
    put(PAGE_TABLE + page * stride, (frame << 12) | flags, never && nx ? 0x80000000 : 0)
  }
  const table = PAGE_P | PAGE_RW | PAGE_US
  if (kind === '32-bit') {
    put(PAGES, PAGE_TABLE | table)
    put(PAGES + 4, all | PAGE_PS)
    put(PAGES + 0x300 * 4, PAGE_TABLE | table)
    put(PAGES + 0x3ff * 4, PAGES | PAGE_P | PAGE_RW)
    return
  }
  const directory = PAGES + 0x2000
  const pointers = PAGES + 0x1000
  put(directory, PAGE_TABLE | table)
  put(directory + 8, all | PAGE_PS)
  put(directory + 511 * 8, (PAGES + 0x4000) | table)
  put(PAGES + 0x4000 + 511 * 8, 0x2d000 | all)
  if (kind === 'pae') {
    put(pointers, directory | PAGE_P)
    put(pointers + 3 * 8, directory | PAGE_P)
    return
  }
  put(pointers, directory | table)
  put(pointers + 8, all | PAGE_PS)
  put(pointers + 511 * 8, directory | table)
  for (const n of [0, 255, 256]) put(PAGES + n * 8, pointers | table)
  put(PAGES + 511 * 8, PAGES | PAGE_P | PAGE_RW)
}

/** Values that programs find useful: selectors, far and near pointers, descriptor-table images, noise. See the generator for who uses them. */
export const AREA = {
  /** Four images for FXRSTOR, then values for LDMXCSR, then for FLDCW. */
  images: DATA + 0xc000,
  mxcsr: DATA + 0xc800,
  control: DATA + 0xcc00,
  selectors: DATA + 0xd000,
  near: DATA + 0xd800,
  tables: DATA + 0xdc00,
  far: DATA + 0xe000,
} as const
/** Room for each of the three widths of far pointers. */
export const FAR_STRIDE = 0x400

export function dataAreas(image: Image, random: Random, around: Surroundings, ip: number): void {
  const words = new Uint32Array(image.bytes.buffer, DATA, 0x10000 / 4)
  for (let n = 0; n < words.length; n++) {
    const kind = n & 7
    words[n] =
      kind < 4
        ? random.next()
        : kind === 4
          ? 0
          : kind === 5
            ? 0xffffffff
            : kind === 6
              ? DATA + (random.next() & 0xffff)
              : random.next() & 0xff
  }
  for (let at = 0x8000; at < 0xc000; at += 16) image.put(DATA + at, floatWords(random))
  controlImages(image.bytes.subarray(AREA.images, AREA.selectors), random)
  const selectors = selectorsFor(around)
  for (let n = 0; n < 0x800; n += 2) image.u16(AREA.selectors + n, random.pick(selectors))
  const slot = (): number => ip + random.below(SLOTS) * SLOT
  for (let n = 0; n < 0x400; n += 8) {
    if (around.bits === 16) for (let k = 0; k < 8; k += 2) image.u16(AREA.near + n + k, slot())
    else if (around.bits === 32) for (let k = 0; k < 8; k += 4) image.u32(AREA.near + n + k, slot())
    else image.u64(AREA.near + n, slot())
  }
  for (let n = 0; n < 0x200; n += 32) {
    const idt = n & 32
    image.u16(AREA.tables + n, idt ? (around.bits === 16 ? 0x3ff : 0x7ff) : GDT_LIMIT)
    image.u64(AREA.tables + n + 2, idt ? (around.mode === 'real' ? 0 : IDT) : GDT)
  }
  for (const [n, size] of [2, 4, 8].entries()) {
    for (let at = 0; at < FAR_STRIDE; at += 16) {
      const place = AREA.far + n * FAR_STRIDE + at
      const selector = random.chance(60) ? around.code : random.pick(selectors)
      if (size === 2) image.u16(place, slot())
      else if (size === 4) image.u32(place, slot())
      else image.u64(place, slot())
      image.u16(place + size, selector)
    }
  }
}

/** Selectors that a program of this mode may want. */
export function selectorsFor(around: Surroundings): readonly number[] {
  if (around.mode === 'real' || around.mode === 'virtual-8086')
    return [CODE >> 4, DATA >> 4, DATA >> 4, 0x3000, 0xffff, 0, 0x9ff0]
  return [
    ...Object.values(SEL),
    SEL.notPresent,
    SEL.notPresent,
    SEL.data,
    SEL.dataUser,
    SEL.data16,
    0,
    3,
    0x1004,
    SEL.data | 4,
    SEL.dataUser | 4,
    SEL.code32,
  ]
}
