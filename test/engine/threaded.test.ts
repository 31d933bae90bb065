/** The threaded engine around its handlers: memory forms, control flow, the budget, bailing, invalidation, string operations. */

import { describe, expect, it } from 'vitest'
import {
  gprSlot,
  MODE_CODE16,
  MODE_CODE32,
  MODE_FLAT_CS,
  MODE_STACK32,
  OFF_ITLB,
  SLOT_ZERO,
  tempSlot,
} from '../../src/cpu/layout.js'
import { EXT_ADDR_SHIFT, EXT_FLAT, EXT_FOR_WRITE, EXT_SEG_SHIFT, UOP } from '../../src/cpu/uops.js'
import type { DispatchKind } from '../../src/engine/threaded-module.js'
import { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_SS } from '../../src/isa/instruction.js'
import { Harness, RAM, type Uop } from './threaded-harness.js'

const [RAX, RCX, RDX, RBX, RSP, RSI, RDI] = [0, 1, 2, 3, 4, 6, 7].map(gprSlot) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
]
const T0 = tempSlot(0)
const A16 = 0 << EXT_ADDR_SHIFT
const A32 = 1 << EXT_ADDR_SHIFT
const A64 = 2 << EXT_ADDR_SHIFT
const segment = (seg: number): number => seg << EXT_SEG_SHIFT

describe.each(['tail-call', 'br-table'] as DispatchKind[])('threaded engine, %s', (dispatch) => {
  const make = (mode?: number, store?: number): Harness => new Harness(dispatch, mode, store)
  const end = (index: number): Uop => ({ kind: UOP.END, imm: index * 4, index })

  it('addresses: base + index · scale + displacement in every form', () => {
    // [mode, ext, base register's value, index register's value, displacement, linear address]
    const flat64 = A64 | EXT_FLAT | segment(SEG_DS)
    const mode32 = MODE_CODE32 | MODE_FLAT_CS
    const cases: [string, number | undefined, number, bigint, bigint, number, number][] = [
      ['flat 64', undefined, flat64 | 2, 0x5000n, 0x10n, -8, 0x5038],
      ['flat 64, wrapping', undefined, flat64, -0x10n, 0n, 0x5010, 0x5000],
      ['flat 32 in 64-bit code', undefined, A32 | EXT_FLAT | segment(SEG_DS), 0xff_ffff_fff0n, 0x5000n, 0x20, 0x5010],
      ['FS base', undefined, A64 | segment(SEG_FS) | 3, 0x100n, 2n, 4, 0x6114],
      ['flat 32', mode32, A32 | EXT_FLAT | segment(SEG_DS) | 1, 0x5000n, 0x100n, 1, 0x5201],
      ['segment, 32-bit offset', mode32, A32 | segment(SEG_FS), 0x20n, 0x30n, 4, 0x6054],
      ['segment, 16-bit offset', MODE_CODE16 | MODE_FLAT_CS, A16 | segment(SEG_FS), 0xfff0n, 0x30n, 4, 0x6024],
    ]
    for (const [name, mode, ext, baseValue, indexValue, imm, linear] of cases) {
      const h = make(mode)
      h.s.setSegment(SEG_FS, 0, 0x6000, 0xffff, 0x93)
      h.s.setBig(RBX, BigInt.asUintN(64, baseValue))
      h.s.setBig(RSI, BigInt.asUintN(64, indexValue))
      const memory = { b: RBX, c: indexValue === 0n ? SLOT_ZERO : RSI, imm, ext }
      for (const width of [0, 1, 2, 3]) {
        const bytes = 1 << width
        const value = 0xf1e2d3c4b5a69788n
        h.view.setBigUint64(RAM + linear, value, true)
        h.s.setBig(RAX, 0x1111_1111_1111_1111n)
        h.s.setBig(RDX, 0x0102030405060708n)
        const block: Uop[] = [
          { kind: UOP.LOAD, width, a: RAX, ...memory },
          ...(width < 3
            ? [
                { kind: UOP.LOAD_ZX, width, a: RCX, ...memory },
                { kind: UOP.LOAD_SX64, width, a: T0, ...memory },
              ]
            : []),
          { kind: UOP.STORE, width, a: RDX, ...memory },
          { kind: UOP.STORE_IMM, width, value: -2, ...memory, imm: imm + 8 },
        ]
        h.program(0x1000, [...block, end(block.length)])
        h.engine.invalidateAll()
        expect(h.run(0x1000, block.length), name).toBe(block.length)
        const part = BigInt.asUintN(8 * bytes, value)
        expect(h.s.getBig(RAX), `${name} LOAD ${width}`).toBe(
          width === 3
            ? value
            : width === 2
              ? part
              : (0x1111_1111_1111_1111n & ~((1n << BigInt(8 * bytes)) - 1n)) | part,
        )
        if (width < 3) {
          expect(h.s.getBig(RCX)).toBe(part)
          expect(h.s.getBig(T0)).toBe(BigInt.asUintN(64, BigInt.asIntN(8 * bytes, value)))
        }
        expect(h.view.getBigUint64(RAM + linear, true)).toBe(
          (width === 3 ? 0n : value & ~((1n << BigInt(8 * bytes)) - 1n)) |
            BigInt.asUintN(8 * bytes, 0x0102030405060708n),
        )
        for (let i = 0; i < bytes; i++) expect(h.view.getUint8(RAM + linear + 8 + i)).toBe(i === 0 ? 0xfe : 0xff)
        expect(h.stepped).toEqual([])
      }
    }
  })

  it('bails before a store that crosses a page, and before an access that meets a device, code, or the end of its segment', () => {
    const flat = A64 | EXT_FLAT | segment(SEG_DS)
    const attempts: [string, (h: Harness) => void, Uop, number?][] = [
      ['crossing', () => {}, { kind: UOP.STORE, width: 2, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x4ffd, ext: flat }],
      [
        'crossing, load for write',
        () => {},
        { kind: UOP.LOAD, width: 2, a: T0, b: RBX, c: SLOT_ZERO, imm: 0x4ffd, ext: flat | EXT_FOR_WRITE },
      ],
      [
        'crossing into a device',
        (h) => h.devicePages.add(5),
        { kind: UOP.LOAD, width: 2, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x4ffd, ext: flat },
      ],
      [
        'device',
        (h) => h.devicePages.add(5),
        { kind: UOP.STORE, width: 0, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x5000, ext: flat },
      ],
      ['code page', () => {}, { kind: UOP.STORE, width: 0, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x1800, ext: flat }],
      [
        'code page, load for write',
        () => {},
        { kind: UOP.LOAD, width: 0, a: T0, b: RBX, c: SLOT_ZERO, imm: 0x1800, ext: flat | EXT_FOR_WRITE },
      ],
      [
        'not canonical',
        () => {},
        { kind: UOP.LOAD, width: 0, a: RAX, b: RBX, c: SLOT_ZERO, imm: 1n << 60n, ext: flat },
      ],
      [
        'limit',
        (h) => h.s.setSegment(SEG_DS, 0, 0, 0x5000, 0x93),
        { kind: UOP.LOAD, width: 1, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x5000, ext: A32 | segment(SEG_DS) },
        MODE_CODE32 | MODE_FLAT_CS,
      ],
      [
        'read-only segment',
        (h) => h.s.setSegment(SEG_DS, 0, 0, 0xffff, 0x91),
        { kind: UOP.STORE, width: 1, a: RAX, b: RBX, c: SLOT_ZERO, imm: 0x5000, ext: A32 | segment(SEG_DS) },
        MODE_CODE32 | MODE_FLAT_CS,
      ],
      ['unknown kind', () => {}, { kind: UOP.SAHF }],
    ]
    for (const [name, prepare, uop, mode] of attempts) {
      const h = make(mode)
      prepare(h)
      h.s.setBig(RCX, 7n)
      h.program(0x1000, [
        { kind: UOP.ADD_IMM, width: 3, a: RCX, b: RCX, imm: 1, index: 0 },
        { ...uop, index: 1 },
        { kind: UOP.ADD_IMM, width: 3, a: RCX, b: RCX, imm: 1, index: 2 },
        { kind: UOP.ADD_IMM, width: 3, a: RCX, b: RCX, imm: 1, index: 3 },
        end(4),
      ])
      expect(h.run(0x1000, 100), name).toBe(1)
      expect([h.stepped, h.s.rip, h.s.getBig(RCX)], name).toEqual([[0x1004], 0x1004, 8n])
      // The flags are those of the instruction before, although a later one overwrites them.
      expect(h.s.flags & 0x10).toBe(0)
      // The host may do the instruction and go on.
      h.stepped.length = 0
      h.onStep = () => {
        h.s.rip += 4
        h.s.remaining--
        return true
      }
      h.program(0x1008, [
        { kind: UOP.ADD_IMM, width: 3, a: RCX, b: RCX, imm: 1 },
        { kind: UOP.JMP, width: 3, imm: 4, index: 1 },
      ])
      h.program(0x100c, [{ kind: UOP.JMP, width: 3, imm: 0 }])
      expect(h.run(0x1000, 5)).toBe(5)
      expect(h.s.getBig(RCX)).toBe(10n)
    }
  })

  it('stops exactly where the budget ends, between blocks of any length', () => {
    const h = make()
    const body = (n: number): Uop[] => Array.from({ length: n }, () => ({ kind: UOP.INC, width: 3, a: RAX, b: RAX }))
    h.program(0x1000, [...body(3), { kind: UOP.JMP, width: 3, imm: 0x2000 }])
    h.program(0x3000, [...body(2), { kind: UOP.JCC, width: 3, imm: -0x2000, value: 12, ext: 5 }])
    h.onStep = () => {
      // A block of four (or three): the step is an INC, or the jump at its end.
      const at = h.s.rip
      if (at === 0x100c) h.s.rip = 0x3000
      else if (at === 0x3008) h.s.rip = 0x1000
      else {
        h.s.setBig(RAX, h.s.getBig(RAX) + 1n)
        h.s.rip += 4
      }
      h.s.remaining--
      return true
    }
    h.s.flags = 2
    for (let budget = 1; budget < 40; budget++) {
      h.s.setBig(RAX, 0n)
      expect(h.run(0x1000, budget)).toBe(budget)
      const rest = budget % 7
      const done = Math.floor(budget / 7) * 5 + (rest <= 3 ? rest : rest === 4 ? 3 : rest - 1)
      expect(Number(h.s.getBig(RAX)), `${budget}`).toBe(done)
    }
  })

  it('follows calls and returns, and looks at the instruction TLB on every way out of the page', () => {
    const h = make()
    const stack = A64 | EXT_FLAT | segment(SEG_SS)
    h.program(0x1000, [
      { kind: UOP.PUSH_RIP, width: 3, imm: 4, ext: stack, index: 0 },
      { kind: UOP.JMP, width: 3, imm: 0x4000, index: 0 },
    ])
    h.program(0x1004, [
      { kind: UOP.INC, width: 3, a: RCX, b: RCX },
      { kind: UOP.JMP, width: 3, imm: -4, index: 1 },
    ])
    h.program(0x5000, [
      { kind: UOP.INC, width: 3, a: RAX, b: RAX, index: 0 },
      { kind: UOP.LOAD_STACK, width: 3, a: T0, ext: stack, index: 1 },
      { kind: UOP.CHECK_IP, width: 3, a: T0, index: 1 },
      { kind: UOP.ADD_SP, width: 3, imm: 8, ext: stack, index: 1 },
      { kind: UOP.JMP_SLOT, width: 3, a: T0, index: 1 },
    ])
    h.s.setBig(RSP, 0x9000n)
    h.run(0x1000, 5000)
    expect([h.s.getBig(RAX), h.s.getBig(RCX), h.s.getBig(RSP)]).toEqual([1000n, 1000n, 0x9000n])
    expect(h.engine.stats.entries).toBeLessThan(12)
    // A page that leaves the instruction TLB is asked for again.
    const entries = h.engine.stats.entries
    h.s.set32(OFF_ITLB + 5 * 64, 1)
    h.run(0x1000, 50)
    expect(h.engine.stats.entries - entries).toBe(2)
    // A return address that is not canonical bails at the RET.
    h.program(
      0x7000,
      h.programs.get(0x5000)!.map((u) => ({ ...u })),
    )
    h.view.setBigUint64(RAM + 0x9000, 1n << 50n, true)
    h.run(0x7000, 10)
    expect(h.stepped).toEqual([0x7004])
    expect(h.s.getBig(RSP)).toBe(0x9000n)
  })

  it('drops the blocks of a page, the running one from its next instruction on', () => {
    const h = make()
    h.program(0x1000, [
      { kind: UOP.INC, width: 3, a: RAX, b: RAX },
      { kind: UOP.HELPER, index: 1 },
    ])
    h.program(0x1008, [
      { kind: UOP.INC, width: 3, a: RAX, b: RAX },
      { kind: UOP.JMP, width: 3, imm: -8, index: 1 },
    ])
    h.run(0x1000, 40)
    expect(h.s.getBig(RAX)).toBe(20n)
    h.program(0x1008, [
      { kind: UOP.DEC, width: 3, a: RAX, b: RAX },
      { kind: UOP.JMP, width: 3, imm: -8, index: 1 },
    ])
    h.run(0x1000, 40)
    expect(h.s.getBig(RAX)).toBe(40n)
    h.engine.invalidate((RAM + 0x1000) >> 12, 0, 4096, new Uint8Array(512))
    h.run(0x1000, 40)
    expect(h.s.getBig(RAX)).toBe(40n)
    expect(h.engine.stats.blocksDropped).toBe(2)
    // From inside: the first fill happens while the block runs.
    const inside = make()
    const original = inside.fill.bind(inside)
    inside.fill = (low, high, write) => {
      inside.engine.invalidate((RAM + 0x1000) >> 12, 0, 4096, new Uint8Array(512))
      return original(low, high, write)
    }
    inside.program(0x1000, [
      { kind: UOP.LOAD, width: 3, a: RCX, b: SLOT_ZERO, c: SLOT_ZERO, imm: 0x5000, ext: A64 | EXT_FLAT },
      { kind: UOP.INC, width: 3, a: RAX, b: RAX },
      { kind: UOP.INC, width: 3, a: RAX, b: RAX },
      end(3),
    ])
    inside.run(0x1000, 3)
    expect(inside.stepped).toEqual([0x1004])
    expect(inside.s.getBig(RAX)).toBe(0n)
  })

  it('empties a full store and goes on', () => {
    const h = make(undefined, 0x40000)
    for (let n = 0; n < 4096; n++)
      h.program(0x1000 + n * 8, [
        { kind: UOP.INC, width: 3, a: RAX, b: RAX },
        { kind: UOP.JMP, width: 3, imm: 8, index: 1 },
      ])
    h.program(0x1000 + 4096 * 8, [{ kind: UOP.JMP, width: 3, imm: -4096 * 8 }])
    for (let round = 1; round <= 3; round++) {
      h.run(0x1000, 8193)
      expect(h.s.getBig(RAX)).toBe(BigInt(round * 4096))
    }
    expect(h.engine.stats.storeResets).toBeGreaterThan(0)
    expect(h.engine.store.used).toBeLessThanOrEqual(0x40000)
  })

  it('REP MOVS and STOS: every iteration counts, whatever cuts the run', () => {
    for (const down of [false, true]) {
      for (const [from, to] of [
        [0x5f00, 0x8f80],
        [0x5000, 0x5001],
        [0x5001, 0x5000],
        [0x5000, 0x5040],
      ] as const) {
        for (const width of [0, 1, 2, 3]) {
          const h = make()
          const step = (down ? -1 : 1) << width
          const count = 300
          const ram = new Uint8Array(h.memory.buffer, RAM, 0x20000)
          for (let i = 0; i < ram.length; i++) ram[i] = (i * 7) ^ (i >> 8)
          const model = ram.slice()
          for (let n = 0; n < count; n++)
            for (let i = 0; i < 1 << width; i++) {
              // Elements move one at a time, whole.
              const chunk = n === -1 ? 0 : i
              if (chunk === 0) model.copyWithin(to + n * step, from + n * step, from + n * step + (1 << width))
            }
          h.program(0x1000, [{ kind: UOP.MOVS, width, b: 1, imm: 4, value: 0, ext: A64 | segment(SEG_DS) }])
          h.program(0x1004, [{ kind: UOP.JMP, width: 3, imm: 0 }])
          h.s.setBig(RSI, BigInt(from))
          h.s.setBig(RDI, BigInt(to))
          h.s.setBig(RCX, BigInt(count))
          h.s.flags = down ? 0x402 : 2
          let left = count
          h.s.rip = 0x1000
          for (const budget of [1, 2, 50, 7, 100]) {
            expect(h.run(h.s.rip, budget)).toBe(budget)
            left -= budget
            expect([h.s.rip, h.s.getBig(RCX)]).toEqual([0x1000, BigInt(left)])
            expect(h.s.getBig(RSI)).toBe(BigInt(from + (count - left) * step))
          }
          expect(h.run(0x1000, left)).toBe(left)
          expect([h.s.rip, h.s.getBig(RCX)]).toEqual([0x1004, 0n])
          expect(Buffer.compare(ram, model)).toBe(0)
          // With rCX = 0 it is one instruction that does nothing.
          h.run(0x1000, 1)
          expect([h.s.rip, h.s.getBig(RCX)]).toEqual([0x1004, 0n])
        }
      }
    }
  })

  it('REP STOS stays inside 16-bit offsets and segment limits', () => {
    const h = make(MODE_CODE16 | MODE_FLAT_CS)
    h.s.setSegment(SEG_ES, 0, 0x4000, 0x1fff, 0x93)
    h.program(0x1000, [{ kind: UOP.STOS, width: 1, b: 1, imm: 4, value: 0, ext: A16 | segment(SEG_ES) }])
    h.s.setBig(RAX, 0xbeefn)
    h.s.setBig(RCX, 0x1200n)
    h.s.setBig(RDI, 0n)
    expect(h.run(0x1000, 0x2000)).toBe(0x1000)
    // The element at the limit's end was the last.
    expect([h.stepped, h.s.getBig(RDI), h.s.getBig(RCX)]).toEqual([[0x1000], 0x2000n, 0x200n])
    expect(h.view.getUint16(RAM + 0x5ffe, true)).toBe(0xbeef)
    expect(h.view.getUint16(RAM + 0x6000, true)).toBe(0)
  })

  it('stack forms: SP, ESP in a segment, ESP flat, RSP', () => {
    for (const [mode, ext, width, sp, linear] of [
      [MODE_CODE16 | MODE_FLAT_CS, A16 | segment(SEG_SS), 1, 0x1234_0000n, 0x5000 + 0xfffe],
      [MODE_CODE32 | MODE_FLAT_CS | MODE_STACK32, A32 | segment(SEG_SS), 2, 0x100n, 0x50fc],
      [MODE_CODE32 | MODE_FLAT_CS | MODE_STACK32, A32 | EXT_FLAT | segment(SEG_SS), 2, 0x7000n, 0x6ffc],
      [undefined, A64 | EXT_FLAT | segment(SEG_SS), 3, 0x7000n, 0x6ff8],
    ] as const) {
      const h = make(mode)
      h.s.setSegment(SEG_SS, 0, 0x5000, 0xffff, 0x93)
      h.s.setBig(RSP, sp)
      h.s.setBig(RAX, 0x8877665544332211n)
      h.program(0x1000, [
        { kind: UOP.PUSH, width, a: RAX, ext },
        { kind: UOP.POP, width, a: RBX, ext },
        { kind: UOP.PUSH_IMM, width, imm: -3, ext },
        { kind: UOP.POP, width, a: RSP, ext },
        end(4),
      ])
      h.s.setBig(RBX, 0n)
      h.run(0x1000, 2)
      // Two of four: the block does not fit the budget, so nothing ran.
      expect(h.stepped).toEqual([0x1000])
      expect(h.run(0x1000, 4)).toBe(4)
      expect(h.s.getBig(RBX)).toBe(BigInt.asUintN(8 << width, 0x8877665544332211n))
      const minusThree = BigInt.asUintN(8 << width, -3n)
      expect(h.s.getBig(RSP)).toBe(width === 1 ? (sp & ~0xffffn) | minusThree : minusThree)
      expect(h.view.getUint16(RAM + linear, true)).toBe(0xfffd)
    }
  })

  it('under a limited CS a block runs only if it ends inside', () => {
    const h = make(MODE_CODE16)
    h.s.setSegment(SEG_CS, 0, 0, 0x1007, 0x9b)
    h.program(0x1000, [
      { kind: UOP.INC, width: 1, a: RAX, b: RAX },
      { kind: UOP.INC, width: 1, a: RAX, b: RAX },
      end(2),
    ])
    h.run(0x1000, 10)
    expect(h.s.getBig(RAX)).toBe(2n)
    expect(h.s.rip).toBe(0x1008)
    h.s.setSegment(SEG_CS, 0, 0, 0x1006, 0x9b)
    h.stepped.length = 0
    h.run(0x1000, 10)
    expect([h.stepped, h.s.getBig(RAX)]).toEqual([[0x1000], 2n])
  })
})
