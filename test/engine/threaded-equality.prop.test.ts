/** Random bytes as code in every mode: the other engines must leave exactly the state that the reference engine leaves, however the run is cut. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DTLB_ENTRIES,
  ITLB_ENTRIES,
  OFF_DTLB,
  OFF_FLAG_AUX,
  OFF_FLAG_RESULT,
  OFF_REMAINING,
  SLOT_TEMP,
  SLOT_ZERO,
  TLB_ENTRY_SIZE,
  TLB_FLAGS,
  TLB_LINEAR,
  TLB_PHYSICAL,
} from '../../src/cpu/layout.js'
import { runs } from '../runs.js'
import type { EngineName } from './equality-board.js'
import { assembled, type Bits, type Machine, makeMachine, RAM_BYTES } from './threaded-machine.js'

/** Everything a guest could ever see, and the architectural part of the TLB. */
function snapshot({ cpu, space }: Machine): { registers: string[]; tlb: string[]; memory: number[] } {
  const { s } = cpu
  const registers: string[] = [
    `rip ${s.getBig(0xe0).toString(16)}`,
    `flags ${s.flags.toString(16)}`,
    `instructions ${cpu.instructions}`,
    `stop ${cpu.halted} ${cpu.shutdown} cpl ${cpu.cpl}`,
  ]
  for (let offset = 0; offset < 0x400; offset += 8) {
    const hidden =
      (offset >= SLOT_TEMP && offset < SLOT_ZERO) ||
      offset === OFF_REMAINING ||
      offset === 0xe0 ||
      offset === OFF_FLAG_RESULT ||
      offset === OFF_FLAG_AUX
    if (!hidden) registers.push(`${offset.toString(16)}: ${s.getBig(offset).toString(16)}`)
  }
  const tlb: string[] = []
  for (let n = 0; n < DTLB_ENTRIES + ITLB_ENTRIES; n++) {
    const at = s.base + OFF_DTLB + n * TLB_ENTRY_SIZE
    const flags = s.i32[(at + TLB_FLAGS) >> 2]!
    if (flags) tlb.push(`${n} ${flags} ${s.f64[(at + TLB_LINEAR) >> 3]} ${s.f64[(at + TLB_PHYSICAL) >> 3]}`)
  }
  const memory: number[] = []
  const start = space.readOffset(0)
  let hash = 0
  for (let at = 0; at < RAM_BYTES; at += 4) {
    hash = (Math.imul(hash, 31) + s.i32[(start + at) >> 2]!) | 0
    if ((at & 0xffff) === 0xfffc) memory.push(hash)
  }
  return { registers, tlb, memory }
}

/** Fills the first 64 KiB and sets the registers from a seed; protected modes get an IDT that leads back into the noise. */
function fill(machine: Machine, bits: Bits, seed: number, code: Uint8Array): void {
  const { cpu, space } = machine
  let x = seed | 1
  const next = (): number => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x >>> 0
  }
  for (let i = 0; i < 0x8000; i += 4) space.write32(0x8000 + i, next())
  for (let i = 0; i < code.length; i++) space.write8(0x8000 + i, code[i]!)
  for (let reg = 0; reg < 16; reg++) {
    if (reg === 4) continue
    cpu.s.setReg64(reg, bits === 16 ? next() & 0xffff : next() & 0x1fffff, 0)
  }
  if (bits === 16) {
    for (let i = 0; i < 256; i++) space.write32(i * 4, 0x8000 + (next() & 0xfff))
  } else {
    const size = bits === 64 ? 16 : 8
    for (let i = 0; i < 256; i++) {
      space.write32(0x2000 + i * size, 0x8_0000 | (0x8000 + (next() & 0xfff)))
      space.write32(0x2000 + i * size + 4, 0x0000_8e00)
      if (bits === 64) space.write32(0x2000 + i * size + 8, 0)
    }
    cpu.s.setIdtr(0x2000, 256 * size - 1)
    // GDT: null, flat code, flat data.
    const long = bits === 64 ? 0x00af9b00 : 0x00cf9b00
    for (const [n, low, high] of [
      [1, 0xffff, long],
      [2, 0xffff, 0x00cf9300],
    ] as const) {
      space.write32(0x1000 + n * 8, low)
      space.write32(0x1000 + n * 8 + 4, high)
    }
    cpu.s.setGdtr(0x1000, 23)
  }
}

function compare(bits: Bits, seed: number, code: Uint8Array, cuts: number[]): void {
  const run = (engine: EngineName, budgets: number[]): ReturnType<typeof snapshot> => {
    const machine = makeMachine(engine, bits, code)
    fill(machine, bits, seed, code)
    for (const budget of budgets) machine.cpu.run(budget)
    return snapshot(machine)
  }
  const total = cuts.reduce((sum, n) => sum + n, 0)
  const reference = run('reference', [total])
  // 16-bit code is not translated.
  for (const engine of bits === 16 ? (['threaded'] as const) : (['threaded', 'translated'] as const)) {
    const other = run(engine, cuts)
    expect(other.registers).toEqual(reference.registers)
    expect(other.tlb).toEqual(reference.tlb)
    expect(other.memory).toEqual(reference.memory)
  }
}

const cuts = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 6 })

describe('engines agree', () => {
  for (const bits of [16, 32, 64] as const) {
    it(`on noise, ${bits}-bit code`, () => {
      fc.assert(
        fc.property(fc.integer(), fc.uint8Array({ minLength: 16, maxLength: 200 }), cuts, (seed, code, budgets) => {
          compare(bits, seed, code, budgets)
        }),
        { numRuns: runs(12) },
      )
    })

    it(`on loops of random instructions, ${bits}-bit code`, () => {
      const r = (n: number): string =>
        bits === 64
          ? ['rax', 'rcx', 'rdx', 'rbx', 'rsi', 'rdi', 'r8', 'r9'][n & 7]!
          : bits === 32
            ? ['eax', 'ecx', 'edx', 'ebx', 'esi', 'edi', 'eax', 'edx'][n & 7]!
            : ['ax', 'cx', 'dx', 'bx', 'si', 'di', 'ax', 'dx'][n & 7]!
      const low = (n: number): string => ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'][n & 7]!
      const memory = (n: number): string =>
        bits === 16
          ? [`[0x1230+${n & 0xff}]`, '[bx]', `[bx+si+${n & 31}]`, '[bp+di]', '[ss:0x600]', '[es:bx]'][n % 6]!
          : [`[0x10230+${n & 0xff}]`, `[${r(3)}]`, `[${r(4)}+${r(5)}*4+${n & 31}]`, `[${bits === 64 ? 'r8' : 'edi'}]`][
              n % 4
            ]!
      const shifts = ['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr']
      const alu = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test']
      const conditions = ['o', 'no', 'c', 'nc', 'z', 'nz', 'na', 'a', 's', 'ns', 'p', 'np', 'l', 'nl', 'ng', 'g']
      const line = fc
        .tuple(fc.integer({ min: 0, max: 33 }), fc.nat(255), fc.nat(255), fc.nat(65535))
        .map(([kind, a, b, imm]) => {
          const op = alu[b % alu.length]!
          switch (kind) {
            case 0:
            case 1:
              return `${op} ${r(a)}, ${r(b)}`
            case 2:
              return `${op} ${r(a)}, ${imm & 0x7f}`
            case 3:
              return `${op} ${low(a)}, ${low(b)}`
            case 4:
            case 5:
              return `${op} ${r(a)}, ${op === 'test' ? r(b) : memory(imm)}`
            case 6:
            case 7:
              return `${op} ${memory(imm)}, ${r(a)}`
            case 8:
              return `${op} byte ${memory(imm)}, ${a & 0x7f}`
            case 9:
              return `mov ${r(a)}, ${memory(imm)}`
            case 10:
              return `mov ${memory(imm)}, ${r(a)}`
            case 11:
              return `${shifts[b % 7]} ${r(a)}, ${imm & 31}`
            case 12:
              return `${shifts[b % 7]} ${r(a)}, cl`
            case 13:
              return `inc ${r(a)}`
            case 14:
              return `dec ${memory(imm).replace(/^/, bits === 16 ? 'word ' : 'dword ')}`
            case 15:
              return `push ${r(a)}\npop ${r(b)}`
            case 16:
              return `imul ${r(a)}, ${r(b)}`
            case 17:
              return `mul ${r(a)}`
            case 18:
              return `div ${low(a)}`
            case 19:
              return `set${conditions[b & 15]} ${low(a)}`
            case 20:
              return `cmov${conditions[b & 15]} ${r(a)}, ${r(b >> 4)}`
            case 21:
              return `j${conditions[b & 15]} near l${imm % 12}`
            case 22:
              return `cmp ${r(a)}, ${r(b)}\nj${conditions[b & 15]} l${imm % 12}`
            case 23:
              return `movzx ${r(a)}, byte ${memory(imm)}`
            case 24:
              return `movsx ${r(a)}, ${low(b & 3)}`
            case 25:
              return `lea ${r(a)}, ${memory(imm)}`
            case 26:
              return `${bits === 64 ? '' : ''}xchg ${r(a)}, ${memory(imm)}`
            case 27:
              return `bt${['', 's', 'r', 'c'][b & 3]} ${r(a)}, ${r(b >> 2)}`
            case 28:
              return `bsf ${r(a)}, ${r(b)}`
            case 29:
              return `call near l${imm % 12}`
            case 30:
              return `mov ${bits === 16 ? 'cx' : 'ecx'}, ${b & 15}\nmov ${bits === 16 ? 'di' : 'edi'}, 0x${bits === 16 ? '2' : '12'}${(imm & 0xfff).toString(16).padStart(3, '0')}\nmov ${bits === 16 ? 'si' : 'esi'}, 0x${bits === 16 ? '3' : '12'}${((imm >> 4) & 0xfff).toString(16).padStart(3, '0')}\n${['rep movsb', 'rep stosb', 'rep movsd', 'repe cmpsb', 'repne scasb', 'rep stosw', 'lodsb', 'std', 'cld'][a % 9]}`
            case 31:
              return `loop l${imm % 12}`
            case 32:
              return `neg ${r(a)}\nnot ${r(b)}`
            default:
              return `${['clc', 'stc', 'cmc', 'lahf', 'sahf', 'cld', 'cpuid', 'pushf'][a & 7]}`
          }
        })
      fc.assert(
        fc.property(fc.array(line, { minLength: 8, maxLength: 40 }), fc.integer(), cuts, (lines, seed, budgets) => {
          let source = ''
          const used = new Set<string>()
          lines.forEach((text, n) => {
            const label = `l${Math.floor((n * 12) / lines.length)}`
            if (!used.has(label)) {
              used.add(label)
              source += `${label}:\n`
            }
            source += `${text}\n`
          })
          for (let n = 0; n < 12; n++) if (!used.has(`l${n}`)) source += `l${n}:\n`
          source += 'jmp l0\n'
          compare(bits, seed, assembled(bits, source.replace(/^loop (l\d+)$/gm, 'jz near $1')), budgets)
        }),
        { numRuns: runs(12) },
      )
    })
  }
})
