/**
 * x87 programs on the reference and the translated engine: loops of several blocks whose stack is deep, shallow, full or faulty, with every control word,
 * numbers of every kind, exceptions that are not masked and operands that fault. The whole state must be the same, wherever a run is cut.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MODELS } from '../../src/cpu/index.js'
import { OFF_FCW, OFF_FIP, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87 } from '../../src/cpu/layout.js'
import { assemble } from '../../src/isa/index.js'
import { runs } from '../runs.js'
import { EqualityBoard, RAM_BYTES } from './equality-board.js'
import { Random } from './equality-random.js'
import { differences, same } from './lockstep.js'

const CODE = 0x20000
const PAGE_DIRECTORY = 0x40000
const PAGE_TABLE = 0x41000
/** 256 slots of 16 bytes to read; a page to write; one that is absent, one that must not be written. */
const DATA = 0x30000
const OUT = 0x31000
const ABSENT = 0x32000
const PROTECTED = 0x33000
const HANDLERS = 0x9000

/** Instructions on registers: `i` is a number from 1 to 7. What they need, and what they change about the depth of the stack. */
const REGISTERS: readonly (readonly [text: string, needs: number | 'i', change: number])[] = [
  ...['fadd', 'fmul', 'fsub', 'fsubr', 'fdiv', 'fdivr'].flatMap((name) => [
    [`${name} st0, sti`, 'i', 0] as const,
    [`${name} sti, st0`, 'i', 0] as const,
    [`${name}p sti, st0`, 'i', -1] as const,
    [`${name} st0, st0`, 1, 0] as const,
  ]),
  ['fcomi st0, sti', 'i', 0],
  ['fucomi st0, sti', 'i', 0],
  ['fcomip st0, sti', 'i', -1],
  ['fucomip st0, sti', 'i', -1],
  ['fcom sti', 'i', 0],
  ['fcomp sti', 'i', -1],
  ['fucom sti', 'i', 0],
  ['fucomp sti', 'i', -1],
  ['fcompp', 2, -2],
  ['fucompp', 2, -2],
  ['fld sti', 'i', 1],
  ['fld sti', 'i', 1],
  ['fld st0', 1, 1],
  ['fst sti', 'i', 0],
  ['fstp sti', 'i', -1],
  ['fstp st0', 1, -1],
  ['fxch st0, sti', 'i', 0],
  ['fxch st0, sti', 'i', 0],
  ['fchs', 1, 0],
  ['fabs', 1, 0],
  ['fld1', 0, 1],
  ['fldz', 0, 1],
  ['fldpi', 0, 1],
  ['fsqrt', 1, 0],
  ['fabs\nfsqrt', 1, 0],
  ['frndint', 1, 0],
  ['ftst', 1, 0],
  ['fxam', 1, 0],
  ['fnstsw ax', 0, 0],
  ['fwait', 0, 0],
]
const LOADS = ['fld dword', 'fld qword', 'fld tword', 'fild word', 'fild dword', 'fild qword']
const STORES = ['fstp dword', 'fstp qword', 'fstp tword', 'fistp word', 'fistp dword', 'fistp qword', 'fisttp dword']
const KEEPING_STORES = ['fst dword', 'fst qword', 'fist word', 'fist dword']
const OPERATIONS = ['add', 'mul', 'sub', 'subr', 'div', 'divr', 'com'].flatMap((name) => [
  `f${name} dword`,
  `f${name} qword`,
  `fi${name} word`,
  `fi${name} dword`,
])
const OTHERS = [
  'fnclex',
  'fninit\nfldcw [ebp]',
  'fincstp',
  'fdecstp',
  'ffree st3',
  'emms',
  'movq mm2, [ebx]\npaddd mm1, mm2',
  'movq2dq xmm1, mm3',
  'addsd xmm0, xmm1',
  'mulpd xmm2, xmm3',
  `fnstenv [${OUT + 0x100}]\nfldcw [ebp]`,
  `fnstenv [${OUT + 0x100}]\nfldenv [${OUT + 0x100}]`,
  `fnsave [${OUT + 0x180}]\nfrstor [${OUT + 0x180}]`,
  `fxsave [${OUT + 0x200}]`,
  `mov esi, ${DATA}\nmov edi, ${OUT + 0x400}\nmovsd`,
  `push ecx\nmov ecx, 3\nmov esi, ${DATA}\nmov edi, ${OUT + 0x400}\nrep movsd\npop ecx`,
  'cpuid\nmov ebx, eax\nand ebx, 0xff0\nadd ebx, 0x30000\nmov ecx, edx\nand ecx, 3\nor ecx, 1',
  'fcmove st0, st1',
]

class Writer {
  private readonly lines: string[] = []
  private readonly random: Random
  private depth: number
  private labels = 0
  /** Of a hundred instructions, how many do not care about the stack. */
  private readonly careless: number
  private readonly strange: number

  constructor(random: Random, depth: number) {
    this.random = random
    this.depth = depth
    this.careless = random.pick([0, 0, 0, 3, 20])
    this.strange = random.pick([0, 0, 4, 15])
  }

  private address(bytes: number, write: boolean): string {
    const { random } = this
    if (random.chance(this.strange / 2)) {
      const page = random.pick([ABSENT, write ? PROTECTED : ABSENT])
      return `[${page + random.pick([0, 8, -1, -4])}]`
    }
    if (write) return `[${OUT + random.below(16) * 16 + (random.chance(90) ? 0 : bytes - 1)}]`
    const at = DATA + random.below(250) * 16
    return random.pick([`[${at}]`, '[ebx]', '[ebx+16]', `[edx*8+${at}]`, '[ebx+edx*4-16]'])
  }

  private one(): void {
    const { random } = this
    const careless = random.chance(this.careless)
    if (random.chance(this.strange)) {
      this.lines.push(random.pick(OTHERS))
      return
    }
    if (random.chance(6)) {
      this.lines.push(random.pick(['fldcw [ebp]', 'fldcw [ebp+16]', `fnstcw [${OUT}]`, `fnstsw [${OUT + 4}]`]))
      return
    }
    const deep = careless ? 9 : this.depth
    const room = careless ? 1 : 8 - this.depth
    const kind = random.below(10)
    if (kind < 2 && room > 0) {
      this.lines.push(`${random.pick(LOADS)} ${this.address(8, false)}`)
      this.depth++
    } else if (kind === 2 && deep > 0) {
      this.lines.push(`${random.pick(STORES)} ${this.address(8, true)}`)
      this.depth--
    } else if (kind === 3 && deep > 0) {
      this.lines.push(`${random.pick(KEEPING_STORES)} ${this.address(8, true)}`)
    } else if (kind === 4 && deep > 0) {
      this.lines.push(`${random.pick(OPERATIONS)} ${this.address(8, false)}`)
    } else if (kind === 5) {
      this.lines.push(random.pick(['add ebx, 16', 'xor edx, 1', 'mov eax, edx', 'cmp eax, ecx', 'and ebx, 0x30ff0']))
    } else {
      const [text, needs, change] = random.pick(REGISTERS)
      const i = needs === 'i' ? 1 + random.below(careless ? 7 : Math.max(1, deep - 1)) : 0
      const wants = needs === 'i' ? i + 1 : needs
      if (deep < wants || room < change) return
      this.lines.push(text.replaceAll('sti', `st${i}`))
      this.depth += change
    }
    this.depth = Math.max(0, Math.min(8, this.depth))
  }

  /** Brings the stack to a depth. */
  private level(depth: number): void {
    while (this.depth > depth) {
      this.lines.push('fstp st0')
      this.depth--
    }
    while (this.depth < depth) {
      this.lines.push(`fld qword [${DATA + this.random.below(250) * 16}]`)
      this.depth++
    }
  }

  body(size: number, nested = false): void {
    const { random } = this
    for (let n = 0; n < size; n++) {
      if (!nested && random.chance(12)) {
        const label = `l${this.labels++}`
        const { depth } = this
        this.lines.push(random.pick([`test ecx, 1\njz ${label}`, `cmp edx, ecx\njb ${label}`, `ja ${label}`]))
        this.body(1 + random.below(6), true)
        if (!random.chance(this.careless)) this.level(depth)
        this.lines.push(`${label}:`)
      } else if (!nested && random.chance(6)) {
        const label = `l${this.labels++}`
        const { depth } = this
        this.lines.push('push ecx', 'mov ecx, 3', `${label}:`)
        this.body(1 + random.below(6), true)
        if (!random.chance(this.careless)) this.level(depth)
        this.lines.push('dec ecx', `jnz ${label}`, 'pop ecx')
      } else if (!nested && random.chance(5)) {
        this.lines.push('call function')
      } else this.one()
    }
  }

  program(size: number): string {
    const { depth } = this
    this.lines.push(`mov ecx, 7`, 'again:')
    this.body(size)
    if (!this.random.chance(this.careless)) this.level(depth)
    this.lines.push('resume:', 'dec ecx', 'and ecx, 15', 'jnz again', 'mov ecx, 5', 'jmp again', 'function:')
    this.depth = Math.min(5, depth)
    const before = this.depth
    this.body(3, true)
    this.level(before)
    this.lines.push('ret')
    return this.lines.join('\n')
  }
}

/** Significand and exponent of a number, of every kind. */
function float80(random: Random): [lo: number, hi: number, sexp: number] {
  const kind = random.below(20)
  const sign = random.chance(50) ? 0x8000 : 0
  const lo = random.pick([random.next(), 0, random.next() & 0xfffff800, 0xffffffff])
  const hi = (random.next() | 0x80000000) >>> 0
  if (kind === 0) return [0, 0, sign]
  if (kind === 1) return [lo, hi & 0x7fffffff, sign]
  if (kind === 2) return [0, 0x80000000, sign | 0x7fff]
  if (kind === 3) return [lo, random.pick([0xc0000000, 0x80000000, 0x90000000]), sign | 0x7fff]
  if (kind === 4) return [lo, hi, sign | random.below(0x8000)]
  if (kind === 5) return [lo, hi & 0x7fffffff, sign | 0x3fff]
  return [lo, hi, sign | (0x3fff - 40 + random.below(80))]
}

function memory(random: Random, image: Uint8Array): void {
  const view = new DataView(image.buffer)
  const tame = random.chance(60)
  for (let n = 0; n < 256; n++) {
    const at = DATA + n * 16
    const kind = random.below(tame ? 3 : 6)
    const value = (random.next() / 0x10000000) * random.pick([1, 1, -1, 100, 2 ** 20, 2 ** -20])
    if (kind === 0) view.setFloat64(at, value, true)
    else if (kind === 1) view.setFloat32(at, value, true)
    else if (kind === 2) view.setBigInt64(at, BigInt(random.next() | 0), true)
    else if (kind === 3) view.setFloat64(at, random.pick([0, -0, Number.NaN, 1 / 0, -1 / 0, 5e-324, 1e308, 1]), true)
    else if (kind === 4) view.setUint32(at + 4, random.next(), true)
    else {
      const [lo, hi, sexp] = float80(random)
      view.setUint32(at, lo, true)
      view.setUint32(at + 4, hi, true)
      view.setUint16(at + 8, sexp, true)
    }
  }
  const words = [0x37f, 0x37f, 0x37f, 0x27f, 0x07f, 0xf7f, 0xb7f, 0x35f, 0x33f, 0x37e, 0x37b, 0x340, 0x377]
  for (let n = 0; n < 3; n++) view.setUint16(OUT + 0x800 + n * 16, random.pick(words), true)
}

/** Handlers: of #MF one that clears the exceptions, of #PF one that goes on with the next round; of others the same. */
const HANDLER_CODE = (resume: number): string =>
  `fnclex\niretd\nalign 16\nadd esp, 4\nmov dword [esp], ${resume}\niretd\nalign 16\nmov dword [esp], ${resume}\niretd`

function boards(source: string, random: Random, depth: number): [EqualityBoard, EqualityBoard] {
  const image = new Uint8Array(RAM_BYTES)
  const view = new DataView(image.buffer)
  memory(random, image)
  const { bytes, symbols } = assemble(source, { bits: 32, org: CODE })
  image.set(bytes, CODE)
  const resume = Number(symbols.get('resume'))
  image.set(assemble(HANDLER_CODE(resume), { bits: 32, org: HANDLERS }).bytes, HANDLERS)
  view.setUint32(0x1008, 0x0000ffff, true)
  view.setUint32(0x100c, 0x00cf9b00, true)
  view.setUint32(0x1010, 0x0000ffff, true)
  view.setUint32(0x1014, 0x00cf9300, true)
  for (let vector = 0; vector < 32; vector++) {
    const handler = HANDLERS + (vector === 16 ? 0 : [8, 10, 11, 12, 13, 14, 17].includes(vector) ? 16 : 32)
    view.setUint32(0x2000 + vector * 8, 0x00080000 | (handler & 0xffff), true)
    view.setUint32(0x2004 + vector * 8, 0x00008e00, true)
  }
  view.setUint32(PAGE_DIRECTORY, PAGE_TABLE | 7, true)
  for (let n = 0; n < 256; n++) view.setUint32(PAGE_TABLE + n * 4, (n << 12) | 7, true)
  view.setUint32(PAGE_TABLE + (ABSENT >> 12) * 4, 0, true)
  view.setUint32(PAGE_TABLE + (PROTECTED >> 12) * 4, PROTECTED | 5, true)
  const registers = Array.from({ length: 8 }, () => float80(random))
  const top = random.below(8)
  const control = view.getUint16(OUT + 0x800, true)
  let tags = 0
  for (let n = 0; n < depth; n++) tags |= 1 << ((top + n) & 7)
  return (['reference', 'translated'] as const).map((engine) => {
    const board = new EqualityBoard(engine, MODELS['x86-64-v2'])
    board.reset(image)
    const { s } = board.cpu
    s.cr0 = (s.cr0 | 0x80010021) & ~0xc
    s.cr3 = PAGE_DIRECTORY
    s.cr4 |= 0x600
    s.setGdtr(0x1000, 23)
    s.setIdtr(0x2000, 0x7ff)
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, seg === 1 ? 8 : 16, 0, 0xffffffff, seg === 1 ? 0xc09b : 0xc093)
    registers.forEach(([lo, hi, sexp], n) => {
      s.set32(OFF_X87 + n * 16, lo)
      s.set32(OFF_X87 + n * 16 + 4, hi)
      s.set32(OFF_X87 + n * 16 + 8, sexp)
    })
    s.set32(OFF_FCW, control)
    s.set32(OFF_FSW, 0)
    s.set32(OFF_FTAG, tags)
    s.set32(OFF_TOP, top)
    s.setNumber(OFF_FIP, 0)
    s.setReg32(3, DATA + 0x100)
    s.setReg32(4, 0x8000)
    s.setReg32(5, OUT + 0x800)
    s.rip = CODE
    board.cpu.mem.configurePaging()
    board.cpu.updateMode()
    return board
  }) as [EqualityBoard, EqualityBoard]
}

describe('x87 programs on the translated engine', () => {
  it('leave what the reference engine leaves', () => {
    fc.assert(
      fc.property(fc.noBias(fc.integer({ min: 1, max: 0x7fffffff })), (seed) => {
        const random = new Random(seed)
        const depth = random.below(9)
        const source = new Writer(random, depth).program(3 + random.below(30))
        const [a, b] = boards(source, random, depth)
        for (let left = 1500; left > 0; ) {
          const budget = random.pick([1 + random.below(20), 1 + random.below(400), 400])
          left -= budget
          const [x, y] = [a.run(budget), b.run(budget)]
          expect(y).toBe(x)
          if (!same(a, b)) expect.fail(`${source}\n\n${differences(a, b).join('\n')}`)
        }
      }),
      { numRuns: runs(60) },
    )
  })
})
