/**
 * Programs of loops for the translated engine: graphs of small pieces of code with loops in loops, jumps into the middle of loops, calls and returns, and
 * everything in them that could make a region leave, bail or be dropped. A fault goes on with the next piece, as the handlers of equality-tables.ts do.
 */

import { assemble } from '../../src/isa/index.js'
import { DEVICE_PORT, type EngineName, type EqualityBoard, MMIO_BASE, ROM_BASE } from './equality-board.js'
import { type Prepared, prepare } from './equality-modes.js'
import { contains, cuts, outside } from './equality-program.js'
import { Random } from './equality-random.js'
import { DEFAULT_MODEL } from './equality-rows.js'
import { CODE, DATA, PAGE_TABLE, SLOT, STACK0, STACK3, type Surroundings, VECTOR_CALL } from './equality-tables.js'
import type { Program, Stretch } from './lockstep.js'

/** Modes whose code is translated. */
export const LOOP_MODES = ['protected32-0', 'protected32-3', 'compatibility-3', 'long-0', 'long-3'] as const
export type LoopMode = (typeof LOOP_MODES)[number]

/** What a program is rich in. */
export const FLAVOURS = ['plain', 'memory', 'calls', 'strings', 'system', 'code', 'floats'] as const
export type Flavour = (typeof FLAVOURS)[number]

/** A page among the data for counters and tables of jumps. */
const COUNTERS = DATA + 0xc000
const TABLE = DATA + 0xc800
const PIECES = 40
const LOW = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh']
const WORD = ['ax', 'cx', 'dx', 'bx', 'bp', 'si', 'di', 'dx']
const DOUBLE = ['eax', 'ecx', 'edx', 'ebx', 'ebp', 'esi', 'edi', 'edx']
const QUAD = ['rax', 'rcx', 'rdx', 'rbx', 'rbp', 'rsi', 'rdi', 'r9']
const CONDITIONS = ['o', 'no', 'c', 'nc', 'z', 'nz', 'na', 'a', 's', 'ns', 'p', 'np', 'l', 'nl', 'ng', 'g']
const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test']
const SHIFTS = ['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr']

class LoopGenerator {
  private readonly random: Random
  private readonly around: Surroundings
  private readonly ip: number
  private readonly flavour: Flavour
  private readonly long: boolean
  private piece = 0

  constructor(around: Surroundings, random: Random, ip: number, flavour: Flavour) {
    this.around = around
    this.random = random
    this.ip = ip
    this.flavour = flavour
    this.long = around.bits === 64
  }

  fill(code: Uint8Array): void {
    code.fill(0x90)
    const place = this.ip % CODE
    for (this.piece = 0; this.piece < PIECES; this.piece++) {
      const at = this.address(this.piece)
      let bytes: Uint8Array = new Uint8Array(0)
      for (let tries = 0; tries < 20; tries++) {
        const lines = this.lines()
        bytes = assemble(`bits ${this.around.bits}\norg ${at}\n${lines.join('\n')}`).bytes
        if (bytes.length <= SLOT) break
        bytes = new Uint8Array(0)
      }
      // What is left is jumped over now and then: blocks end at jumps.
      const gap = SLOT - bytes.length
      code.set(bytes, place + this.piece * SLOT)
      if (gap >= 2 && this.random.chance(70)) code.set([0xeb, gap - 2], place + this.piece * SLOT + bytes.length)
    }
    // Round again.
    const end = place + PIECES * SLOT
    code[end] = 0xe9
    new DataView(code.buffer, code.byteOffset).setInt32(end + 1, -PIECES * SLOT - 5, true)
  }

  private address(piece: number): number {
    return this.ip + (piece % PIECES) * SLOT
  }

  private get reg(): string {
    const { random, long } = this
    return random.pick(random.pick(long ? [LOW, WORD, DOUBLE, QUAD, QUAD] : [LOW, WORD, DOUBLE, DOUBLE]))
  }
  /** A register as wide as another one. */
  private like(reg: string): string {
    return this.random.pick([LOW, WORD, DOUBLE, QUAD].find((list) => list.includes(reg))!)
  }
  private size(reg: string): string {
    return LOW.includes(reg) ? 'byte' : WORD.includes(reg) ? 'word' : DOUBLE.includes(reg) ? 'dword' : 'qword'
  }
  private absolute(linear: number): string {
    return this.long ? `[abs ${linear}]` : `[${linear}]`
  }

  private lines(): string[] {
    const { random, flavour } = this
    const list: string[] = []
    for (let n = 1 + random.below(3); n > 0; n--) {
      if (random.chance(flavour === 'plain' ? 10 : 45)) list.push(this.special())
      else list.push(this.ordinary())
    }
    if (random.chance(75)) list.push(this.jump())
    return list
  }

  private ordinary(): string {
    const { random } = this
    const r = this.reg
    switch (random.below(14)) {
      case 0:
      case 1:
      case 2:
        return `${random.pick(ALU)} ${r}, ${this.like(r)}`
      case 3:
        return `${random.pick(ALU)} ${r}, ${random.below(128)}`
      case 4:
        return `${random.pick(SHIFTS)} ${r}, ${random.chance(60) ? random.below(34) : 'cl'}`
      case 5:
        return `${random.pick(['inc', 'dec', 'neg', 'not'])} ${r}`
      case 6:
        return `set${random.pick(CONDITIONS)} ${random.pick(LOW)}`
      case 7:
        return `cmov${random.pick(CONDITIONS)} ${random.pick(DOUBLE)}, ${random.pick(DOUBLE)}`
      case 8:
        return `mov ${r}, ${random.chance(50) ? random.below(100) : this.like(r)}`
      case 9:
        return random.pick(['clc', 'stc', 'cmc', 'cld', 'lahf', 'sahf', 'cdq', 'xchg eax, edx'])
      case 10:
        return `imul ${random.pick(DOUBLE)}, ${random.pick(DOUBLE)}, ${random.below(100)}`
      case 11:
        return `${random.pick(['mul', 'imul', 'div', 'idiv'])} ${random.pick(DOUBLE)}`
      case 12:
        return `${random.pick(['bt', 'bts', 'btr', 'btc'])} ${random.pick(DOUBLE)}, ${random.below(32)}`
      default:
        return `${random.pick(['movzx', 'movsx'])} ${random.pick(DOUBLE)}, ${random.pick(['bl', 'ah', 'dl'])}`
    }
  }

  private special(): string {
    switch (this.flavour) {
      case 'plain':
      case 'memory':
        return this.memory()
      case 'calls':
        return this.random.chance(50) ? this.stack() : this.memory()
      case 'strings':
        return this.strings()
      case 'system':
        return this.system()
      case 'code':
        return this.code()
      case 'floats':
        return this.floats()
    }
  }

  /** An address that is worth an access: data, across pages, a device, read-only memory, a page that is not there. */
  private linear(): number {
    const { random, around } = this
    const kind = random.below(100)
    if (kind < 65) return DATA + random.below(0xc000)
    if (kind < 75) return DATA + random.below(12) * 0x1000 + 0xff8 + random.below(8)
    if (kind < 82) return MMIO_BASE + random.below(0x100)
    if (kind < 86) return ROM_BASE + random.below(0x100)
    if (kind < 93 && around.paging !== 'off') return random.pick([0x200000, 0x400000]) + DATA + random.below(0x3000)
    return CODE + 0x3000 + random.below(0x1000)
  }

  private memory(): string {
    const { random } = this
    const r = this.reg
    const linear = this.linear()
    let at = this.absolute(linear)
    let before = ''
    const pointer = this.long ? random.pick(['rsi', 'rdi', 'rbx']) : random.pick(['esi', 'edi', 'ebx'])
    if (random.chance(60)) {
      // A pointer that moves through pages.
      const narrow = pointer.replace(/^r/, 'e')
      before = `and ${narrow}, ${random.pick([0xff, 0xfff, 0x3fff, 0x7ffc])}\n`
      at = `[${pointer}${random.chance(20) ? '*2' : ''} + ${linear & ~0x3fff}]`
      if (random.chance(30)) before = `add ${narrow}, ${random.pick([1, 4, 16, 64])}\n${before}`
    }
    const op = random.pick(ALU)
    switch (random.below(8)) {
      case 0:
        return `${before}mov ${r}, ${at}`
      case 1:
        return `${before}mov ${at}, ${r}`
      case 2:
      case 3:
        return op === 'test' ? `${before}test ${at}, ${r}` : `${before}${op} ${r}, ${at}`
      case 4:
        return `${before}${op} ${at}, ${r}`
      case 5:
        return `${before}${random.pick(['inc', 'dec', 'neg', 'not'])} ${this.size(r)} ${at}`
      case 6:
        return `${before}${random.pick(['xchg', 'xadd', 'cmpxchg'])} ${at}, ${r}`
      default:
        return `${before}movzx ${random.pick(DOUBLE)}, byte ${at}`
    }
  }

  private stack(): string {
    const { random, long } = this
    const wide = random.pick(long ? QUAD : DOUBLE)
    const sp = long ? 'rsp' : 'esp'
    switch (random.below(5)) {
      case 0:
        return `push ${wide}\npop ${random.pick(long ? QUAD : DOUBLE)}`
      case 1:
        return `push ${random.below(100)}\nadd ${sp}, ${long ? 8 : 4}`
      case 2:
        return `mov ${random.pick(DOUBLE)}, [${sp}-${8 + random.below(8)}]`
      case 3:
        return `push ${wide}\npushf\npopf\npop ${wide}`
      default:
        return `mov ${sp}, ${this.around.user ? STACK3 : STACK0}`
    }
  }

  private strings(): string {
    const { random, long } = this
    const set: string[] = []
    const reg = (name: string): string => (long && random.chance(50) ? `r${name}` : `e${name}`)
    if (random.chance(70)) set.push(`mov ${reg('di')}, ${DATA + random.below(0xc000)}`)
    if (random.chance(70)) set.push(`mov ${reg('si')}, ${this.linear()}`)
    set.push(`mov ${reg('cx')}, ${random.below(40)}`)
    const width = random.pick(long ? ['b', 'w', 'd', 'q'] : ['b', 'w', 'd'])
    const repeat = random.pick(['', 'rep ', 'rep ', 'rep '])
    const op = random.pick(['movs', 'movs', 'stos', 'lods', 'cmps', 'scas'])
    const both = op === 'cmps' || op === 'scas'
    set.push(`${both && repeat !== '' ? random.pick(['repe ', 'repne ']) : repeat}${op}${width}`)
    if (random.chance(10)) set.push(random.pick(['std', 'cld']))
    return set.slice(-3).join('\n')
  }

  private system(): string {
    const { random, long, around } = this
    const data = this.absolute(DATA + random.below(0x1000))
    const page = this.absolute(PAGE_TABLE + ((DATA >> 12) + random.below(12)) * (around.paging === '32-bit' ? 4 : 8))
    const user = around.user
    const choices = [
      `int ${VECTOR_CALL}`,
      'int3',
      'pushf\npopf',
      'cpuid',
      'rdtsc',
      'lfence',
      'ud2',
      `mov dx, ${DEVICE_PORT + random.pick([0, 4, 12, 12, 13])}\n${random.pick(['in al, dx', 'out dx, al', 'out dx, eax'])}`,
      `mov ${random.pick(DOUBLE)}, ${this.absolute(0x200000 + random.below(0x1000))}`,
      `push ${long ? 'qword ' : 'dword '}${this.absolute(0x7e000000)}`,
    ]
    if (user) choices.push('cli', 'sti', 'hlt', long ? 'syscall' : 'sysenter')
    else {
      choices.push(
        'sti',
        'sti',
        'cli',
        'cli\nnop\nsti',
        'sti\nnop\ncli',
        `push ${around.cr0 & 0x80000000 ? 0x202 : 2}\npopf`,
        'push 0x202\npopf',
        'push 2\npopf',
        'pushf\ncli\npopf',
        'mov ax, ss\nmov ss, ax',
        'mov ax, ss\nmov ds, ax\nmov es, ax',
        'push fs\npop fs',
        long ? 'mov rax, cr3\nmov cr3, rax' : 'mov eax, cr3\nmov cr3, eax',
        long ? 'mov rax, cr0\nxor rax, 0x10000\nmov cr0, rax' : 'mov eax, cr0\nxor eax, 0x10000\nmov cr0, eax',
        `invlpg ${data}`,
        `xor byte ${page}, 2\ninvlpg ${data}`,
        `xor byte ${page}, ${random.pick([1, 0x20, 0x40, 4])}`,
        `and byte ${page}, 0x9f`,
        'hlt',
        'out 0x20, al',
        'stac',
        'clac',
      )
      if (long) choices.push('swapgs', 'swapgs\nlfence\nswapgs', 'mov rax, cr8\nmov cr8, rax')
      if (random.chance(25)) choices.push(this.returning())
    }
    return random.pick(choices)
  }

  /** IRET to the piece that follows or another one, at the same level. */
  private returning(): string {
    const { random, long, around } = this
    const to = this.address(this.piece + 1 + random.below(2))
    const flags = random.pick([2, 0x202, 0x202, 0x10202])
    const frame = `push ${flags}\npush ${around.code}\npush ${to}\n`
    return long ? `mov ecx, esp\npush 0\npush rcx\n${frame}iretq` : `${frame}iretd`
  }

  /** Stores into code: into constants, over instructions, beside them. */
  private code(): string {
    const { random } = this
    const to = this.absolute(this.linearOf(this.piece + random.below(5)) + random.below(8))
    switch (random.below(6)) {
      case 0:
        return `inc byte ${to}`
      case 1:
        return `mov byte ${to}, ${random.pick([0x90, 0xf8, 0xf9, 0x40, 0x48, 0xcc])}`
      case 2:
        // The last byte of a piece is hardly ever code.
        return `inc byte ${this.absolute(this.linearOf(this.piece) + SLOT - 1)}`
      case 3:
        return `mov eax, ${random.below(1000)}\nadd edx, eax`
      case 4:
        return `mov byte ${this.absolute(this.linearOf(this.piece + 1))}, 0x90`
      default:
        return this.memory()
    }
  }

  private linearOf(piece: number): number {
    return this.address(piece) + this.around.bases[1]!
  }

  private floats(): string {
    const { random } = this
    const data = this.absolute(DATA + random.below(0x800) * 8)
    const aligned = this.absolute(DATA + random.below(0x400) * 16)
    const x = `xmm${random.below(8)}`
    const y = `xmm${random.below(8)}`
    return random.pick([
      `fld qword ${data}`,
      `fld dword ${data}`,
      `fild dword ${data}`,
      'fld1',
      'fldpi',
      `f${random.pick(['add', 'sub', 'mul', 'div', 'subr', 'com', 'ucom'])} st${1 + random.below(7)}`,
      'faddp st1',
      'fxch st1',
      'fchs',
      'fnstsw ax\nsahf',
      'fcomip st1',
      `fstp qword ${data}`,
      `fistp dword ${data}`,
      'fninit',
      `movdqu ${x}, ${data}`,
      `movdqu ${data}, ${x}`,
      `${random.pick(['paddd', 'pxor', 'pcmpeqb', 'pand', 'punpcklbw'])} ${x}, ${y}`,
      `paddw ${x}, ${aligned}`,
      `${random.pick(['addsd', 'mulsd', 'subss', 'divss', 'sqrtsd', 'ucomisd', 'cvtss2sd'])} ${x}, ${y}`,
      `cvttsd2si ${random.pick(DOUBLE)}, ${x}`,
      `cvtsi2sd ${x}, ${random.pick(DOUBLE)}`,
      `pmovmskb eax, ${x}`,
    ])
  }

  private jump(): string {
    const { random, piece } = this
    const forward = this.address(piece + 1 + random.below(4))
    const back = this.address(Math.max(0, piece - random.below(8)))
    const condition = random.pick(CONDITIONS)
    const counter = `dword ${this.absolute(COUNTERS + piece * 8)}`
    const calls = this.flavour === 'calls'
    switch (random.below(calls ? 12 : 9)) {
      case 0:
      case 1:
        return `j${condition} near ${forward}`
      case 2:
        return `cmp ${random.pick(DOUBLE)}, ${random.pick(DOUBLE)}\nj${condition} near ${forward}`
      case 3:
      case 4:
      case 5: {
        // Back, a few times.
        const times = random.pick([1, 3, 15, 63])
        return `inc ${counter}\ntest ${counter}, ${times}\njnz near ${back}`
      }
      case 6:
        return random.chance(50)
          ? `jmp near ${forward}`
          : `and ecx, ${random.pick([3, 15])}\n${this.loops()} near ${back}`
      case 7:
        return random.chance(60)
          ? `jmp ${this.long ? 'qword' : 'dword'} ${this.absolute(TABLE + random.below(16) * 8)}`
          : `j${condition} near ${forward}`
      case 8:
        return `call near ${forward}\nlea ${this.long ? 'rsp, [rsp+8]' : 'esp, [esp+4]'}`
      case 9:
        return `call near ${forward}`
      case 10:
        return `call ${this.long ? 'qword' : 'dword'} ${this.absolute(TABLE + random.below(16) * 8)}`
      default:
        // To where the calls of the pieces before go on.
        return `cmp ${this.long ? 'rsp' : 'esp'}, ${(this.around.user ? STACK3 : STACK0) - 0x40}\nja near ${forward}\nret`
    }
  }

  private loops(): string {
    return 'dec ecx\njg'
  }

  /** Pieces for indirect jumps. */
  table(): number[] {
    return Array.from({ length: 16 }, () => this.address(this.random.below(PIECES)))
  }
}

export interface LoopProgramOptions {
  readonly flavour: Flavour
  /** Instructions. Default 4000. */
  readonly length?: number
  readonly engines?: readonly EngineName[]
  /** Runs cut at random; else each stretch in one go. Default true. */
  readonly cut?: boolean
}

/** A program of loops. */
export function loopProgram(mode: LoopMode, seed: number, options: LoopProgramOptions): Program {
  const random = new Random(seed ^ 0x10075)
  let table: number[] = []
  const draw = (): Prepared =>
    prepare(mode, random, (around, code, ip) => {
      if (around.bits === 16) return
      const generator = new LoopGenerator(around, random, ip, options.flavour)
      generator.fill(code)
      table = generator.table()
    })
  let prepared = draw()
  while (prepared.around.bits === 16) prepared = draw()
  const { image, around } = prepared
  const view = new DataView(image.buffer, image.byteOffset)
  table.forEach((address, n) => {
    view.setUint32(TABLE + n * 8, address, true)
    view.setUint32(TABLE + n * 8 + 4, 0, true)
  })
  for (let n = 0; n < PIECES; n++) view.setUint32(COUNTERS + n * 8, 0, true)
  const odd = random.chance(10)
  const stretches: Stretch[] = []
  for (let left = options.length ?? 4000; left > 0; ) {
    const instructions = Math.min(left, random.pick([50, 300, 1000, 3000]))
    const before = outside(random)
    stretches.push({
      instructions,
      ...(options.cut !== false && {
        cuts: { reference: [], threaded: cuts(random), translated: cuts(random) },
      }),
      ...(before && { before }),
    })
    left -= instructions
  }
  return {
    name: `loops of ${options.flavour}, ${mode}, seed ${seed}`,
    model: DEFAULT_MODEL,
    image,
    start: (board: EqualityBoard) => {
      prepared.start(board)
      if (odd) return
      // Mostly without the trap flag and breakpoints, under which nothing is translated; segments are flat.
      const { cpu } = board
      cpu.s.flagsRest &= ~0x40100
      if (cpu.s.dr(7) !== 0x400) cpu.s.setDr(7, 0x400)
      if (around.bits !== 64) {
        const [selector, base, limit, attr] = [cpu.s.selector(2), cpu.s.segBase(2), cpu.s.segLimit(2), cpu.s.segAttr(2)]
        for (const seg of [0, 3]) cpu.s.setSegment(seg, selector, base, limit, attr)
      }
      cpu.updateMode()
    },
    contains,
    stretches,
    ...(options.engines && { engines: options.engines }),
  }
}
