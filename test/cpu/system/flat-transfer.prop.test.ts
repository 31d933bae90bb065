/**
 * Event delivery, IRET and the fast system calls between flat segments take a short way (cpu/flat-transfer.ts). A listener to the TLB closes that way, so a
 * processor that has one does everything as the manual's pseudo-code says: both must end in the same state.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CPU_MEMORY_SIZE, Cpu, MODELS } from '../../../src/cpu/index.js'
import { referenceExecutor } from '../../../src/engine/index.js'
import { FLAG_AC, FLAG_TF } from '../../../src/isa/index.js'
import { AddressSpace } from '../../../src/memory/index.js'
import { CR0_AM } from '../../../src/mmu/index.js'
import { runs } from '../../runs.js'

const RAM = 0x40000
const GDT = 0x1000
const IDT = 0x2000
const TSS = 0x3000
const CODE = 0x8000
const HANDLER = 0x9000
const TABLES = 0x10000
const STACKS = [0x20000, 0x22000, 0x24000, 0x26000] as const

interface Pair {
  readonly short: Cpu
  readonly long: Cpu
}

function make(observed: boolean): Cpu {
  const space = new AddressSpace({ size: RAM, reserved: CPU_MEMORY_SIZE })
  return new Cpu({
    space,
    offset: 0,
    model: MODELS['x86-64-v2'],
    executor: referenceExecutor,
    ports: { read: () => 0, write: () => {} },
    interrupts: { pending: false, acknowledge: () => 0 },
    ...(observed ? { events: { wants: (name: string) => name === 'tlb', emit: () => {} } } : {}),
  })
}

let pair: Pair | undefined

function memory(cpu: Cpu): Uint8Array {
  const at = cpu.space.readOffset(0)
  return cpu.space.bytes.subarray(at, at + RAM)
}

/** Descriptors from the ordinary to the odd: code and data of all levels, absent, not accessed, conforming, 16-bit, with a base, with a limit. */
const FLAT_CODE32 = 0x00cf9b000000ffffn
const FLAT_CODE64 = 0x00af9b000000ffffn
const FLAT_DATA = 0x00cf93000000ffffn

const oddity = fc.oneof(
  { weight: 60, arbitrary: fc.constant(0n) },
  // One bit or one field other than it should be.
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      1n << 40n,
      1n << 41n,
      1n << 42n,
      1n << 43n,
      1n << 44n,
      1n << 45n,
      1n << 46n,
      1n << 47n,
      1n << 52n,
      1n << 53n,
      1n << 54n,
      1n << 55n,
      1n,
      1n << 16n,
      1n << 32n,
      1n << 56n,
    ),
  },
)

const scene = fc.record({
  long: fc.boolean(),
  paging: fc.boolean(),
  cpl: fc.constantFrom(0, 0, 3, 3, 1),
  what: fc.constantFrom(
    'int',
    'int',
    'int3',
    'ud2',
    'iret',
    'iret',
    'iret',
    'sysenter',
    'sysexit',
    'syscall',
    'sysret',
    'fetch',
  ),
  vector: fc.constantFrom(0x20, 0x21, 0x80),
  oddities: fc.array(oddity, { minLength: 8, maxLength: 8 }),
  gate: fc.record({
    type: fc.constantFrom(0xe, 0xe, 0xe, 0xf, 0xf, 0xf, 0x6, 0xc),
    dpl: fc.constantFrom(3, 3, 0),
    present: fc.constantFrom(1, 1, 1, 1, 1, 1, 1, 0),
    selector: fc.constantFrom(0x08, 0x08, 0x08, 0x08, 0x08, 0x0b, 0x18, 0x18, 0x00, 0x0c, 0x88, 0x28),
    ist: fc.constantFrom(0, 0, 0, 1, 7),
  }),
  warm: fc.constantFrom(true, true, true, false),
  stackSelectors: fc.array(fc.constantFrom(0x10, 0x10, 0x10, 0x10, 0x10, 0x13, 0x00, 0x20), {
    minLength: 3,
    maxLength: 3,
  }),
  pointer: fc.constantFrom(0x800, 0x804, 0x808, 0x80c, 0x802, 0x1000, 0x1008, 0x10, 0x14, 0),
  flags: fc.constantFrom(0x2, 0x202, 0x246, 0xad7, 0x3202, 0x40202, 0x302, 0x4002, 0x10202, 0x200202),
  frame: fc.record({
    segments: fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom([0x08, 0x10], [0x1b, 0x23], [0x08, 0], [0x1b, 3]),
      },
      {
        weight: 1,
        arbitrary: fc.tuple(
          fc.constantFrom(0x08, 0x1b, 0x2b, 0x33, 0x09, 0x00, 0x0c, 0x18),
          fc.constantFrom(0x10, 0x23, 0x00, 0x03, 0x01, 0x20),
        ),
      },
    ),
    flags: fc.constantFrom(
      0x2,
      0x202,
      0x246,
      0xad7,
      0x3202,
      0x40202,
      0x302,
      0x4002,
      0x10202,
      0x20202,
      0x200202,
      0x1b0202,
    ),
    high: fc.constantFrom(0, 0, 0, 0xffff8000, 0x8000, 0x12345678),
    offset: fc.constantFrom(0x9000, 0x9000, 0xfffffff0),
  }),
  shortLimit: fc.constantFrom(false, false, false, true),
})

type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never

function install(cpu: Cpu, p: Scene): void {
  const { space, s } = cpu
  cpu.reset()
  memory(cpu).fill(0)
  cpu.frontend.invalidateAll()
  const w32 = (at: number, value: number): void => space.write32(at, value >>> 0)
  const w64 = (at: number, value: bigint): void => {
    w32(at, Number(value & 0xffffffffn))
    w32(at + 4, Number(value >> 32n))
  }
  const level = (n: number): bigint => BigInt(n) << 45n
  const kernelCode = p.long ? FLAT_CODE64 : FLAT_CODE32
  const descriptors = [
    0n,
    kernelCode,
    FLAT_DATA,
    kernelCode | level(3),
    FLAT_DATA | level(3),
    FLAT_CODE32 | level(p.long ? 3 : 1),
    FLAT_DATA | level(1),
  ]
  for (const [n, value] of descriptors.entries()) w64(GDT + n * 8, n === 0 ? 0n : value ^ p.oddities[n]!)
  const { gate } = p
  for (const vector of [3, 6, 8, 10, 11, 12, 13, 14, p.vector]) {
    const size = p.long ? 16 : 8
    // Others than the wanted vector are whole, so that what goes wrong can be told.
    const odd = vector === p.vector || vector === 3 || vector === 6
    const type = odd ? gate.type : 0xe
    const selector = odd ? gate.selector : 0x08
    w32(IDT + vector * size, (selector << 16) | (HANDLER + vector * 16))
    w32(
      IDT + vector * size + 4,
      ((odd ? gate.present : 1) << 15) | ((odd ? gate.dpl : 0) << 13) | (type << 8) | (odd && p.long ? gate.ist : 0),
    )
  }
  for (let at = HANDLER; at < HANDLER + 0x1000; at++) space.write8(at, 0x90)
  for (let n = 0; n < 3; n++) {
    if (p.long) {
      w32(TSS + 4 + n * 8, STACKS[n]! + p.pointer)
      w32(TSS + 8 + n * 8, p.frame.high === 0x12345678 ? 0x12345678 : 0)
    } else {
      w32(TSS + 4 + n * 8, STACKS[n]! + p.pointer)
      w32(TSS + 8 + n * 8, p.stackSelectors[n]! | (n === 0 ? 0 : n))
    }
  }
  for (const ist of [1, 7]) w32(TSS + 0x1c + ist * 8, STACKS[0] + 0xf80 + ist * 8)
  const codes: Readonly<Record<string, readonly number[]>> = {
    int: [0xcd, p.vector],
    int3: [0xcc],
    ud2: [0x0f, 0x0b],
    iret: p.long ? [0x48, 0xcf] : [0xcf],
    sysenter: [0x0f, 0x34],
    sysexit: p.long ? [0x48, 0x0f, 0x35] : [0x0f, 0x35],
    syscall: [0x0f, 0x05],
    sysret: p.long ? [0x48, 0x0f, 0x07] : [0x0f, 0x07],
    fetch: [0x90],
  }
  for (const [n, byte] of codes[p.what]!.entries()) space.write8(CODE + n, byte)

  s.setGdtr(GDT, p.shortLimit ? 0x17 : 0x37)
  s.setIdtr(IDT, p.shortLimit && p.vector === 0x80 ? 0x1ff : 0xfff)
  const ring = BigInt(p.cpl)
  const attr = (value: bigint): number => Number((value >> 40n) & 0xf0ffn)
  s.setSegment(1, 8 | p.cpl, 0, 0xffffffff, attr(kernelCode | (ring << 45n)))
  for (const seg of [0, 2, 3, 4, 5]) s.setSegment(seg, 0x10 | p.cpl, 0, 0xffffffff, attr(FLAT_DATA | (ring << 45n)))
  s.setSegment(7, 0x40, TSS, p.shortLimit ? 0x20 : 0x67, 0x8b)
  s.cr0 = (s.cr0 | 1 | CR0_AM) >>> 0
  if (p.long || p.paging) {
    const size = p.long ? 8 : 4
    const first = p.long ? TABLES + 0x3000 : TABLES + 0x1000
    w32(TABLES, (TABLES + 0x1000) | 7)
    if (p.long) {
      w32(TABLES + 0x1000, (TABLES + 0x2000) | 7)
      w32(TABLES + 0x2000, (TABLES + 0x3000) | 7)
    }
    // One of the stacks may be absent; the page of 8000h sometimes is.
    for (let n = 0; n < RAM >> 12; n++) {
      const absent = (p.pointer === 0 && n === STACKS[1] >> 12) || (p.what === 'fetch' && p.paging && n === CODE >> 12)
      w32(first + n * size, (n << 12) | (absent ? 0 : 7))
    }
    s.cr3 = TABLES
    if (p.long) {
      s.cr4 |= 0x20
      s.efer |= 0x501
    }
    s.cr0 = (s.cr0 | 0x8001_0000) >>> 0
  }
  cpu.writeMsr(0x174, 8n)
  cpu.writeMsr(0x175, BigInt(STACKS[0] + 0x800))
  cpu.writeMsr(0x176, BigInt(HANDLER))
  if (p.long) {
    cpu.writeMsr(0xc0000081, 0x0010_0008_0000_0000n)
    cpu.writeMsr(0xc0000082, BigInt(HANDLER))
    cpu.writeMsr(0xc0000084, BigInt(p.flags & 0x700))
  }
  cpu.setCpl(p.cpl)
  cpu.mem.configurePaging()
  cpu.mem.flushAll()
  cpu.updateMode()
  if (p.what !== 'fetch') {
    // The first instruction that is decoded from a page keeps all stores from the straight way once.
    space.write8(CODE + 0x100, 0x90)
    s.rip = CODE + 0x100
    cpu.run(1)
  }
  s.flags = p.flags | (p.cpl === 1 ? 0x1000 : 0)
  s.setReg64(1, HANDLER, 0)
  s.setReg64(2, HANDLER + 4, 0)
  s.setReg64(11, p.frame.flags, 0)
  const stack = STACKS[3] + p.pointer
  s.setReg64(4, stack, 0)
  const { frame } = p
  const items = [
    [frame.offset, frame.high],
    [frame.segments[0], 0],
    [frame.flags, 0],
    [STACKS[1] + p.pointer, frame.high],
    [frame.segments[1], 0],
  ] as const
  for (const [n, [low, high]] of items.entries()) {
    w32(stack + n * (p.long ? 8 : 4), low)
    if (p.long) w32(stack + n * 8 + 4, high)
  }
  s.rip = CODE
  cpu.updateMode()
  // The short way is open where the TLB is filled.
  if (p.warm) {
    for (const at of [GDT, IDT, IDT + 0x800, TSS]) cpu.mem.lin32(at)
    for (const at of STACKS) {
      if (p.pointer === 0 && at === STACKS[1]) continue
      cpu.mem.setLin32(at - 8 + 0x800, cpu.mem.lin32(at - 8 + 0x800))
      cpu.mem.setLin32(at + 0x1000, cpu.mem.lin32(at + 0x1000))
    }
  }
}

function show(cpu: Cpu): unknown {
  const state = cpu.saveState()
  return {
    ...state,
    registers: Buffer.from(state.registers).toString('hex'),
    tlb: [...state.tlb],
    mode: cpu.s.mode,
    select: cpu.s.tagSelect,
    halted: cpu.halted,
    flat: [...cpu.s.flat],
  }
}

describe('transfers between flat segments', () => {
  it('end as the general ones do', () => {
    pair ??= { short: make(false), long: make(true) }
    const { short, long } = pair
    fc.assert(
      fc.property(scene, (p) => {
        install(short, p)
        install(long, p)
        for (let n = 0; n < 3; n++) {
          short.run(1)
          long.run(1)
          expect(show(short)).toEqual(show(long))
          // What compiled code may not run under. (The other processor steps in any case.)
          const { flags } = short.s
          const steps = (flags & FLAG_TF) !== 0 || (short.cpl === 3 && (flags & FLAG_AC) !== 0)
          expect((short as unknown as { stepping: boolean }).stepping).toBe(steps)
        }
        expect(Buffer.compare(memory(short), memory(long))).toBe(0)
      }),
      { numRuns: runs(1500) },
    )
  })
})
