/** The vector handlers of the threaded engine against the operations as cpu/simd.ts defines them, and where they leave the work to the reference engine. */

import { describe, expect, it } from 'vitest'
import type { CpuCore } from '../../src/cpu/cpu-types.js'
import { gprSlot, OFF_FSW, OFF_FTAG, OFF_TOP, OFF_X87, OFF_XMM, SLOT_VTEMP, SLOT_ZERO } from '../../src/cpu/layout.js'
import { LIFT_SIMD } from '../../src/cpu/lift-simd.js'
import { SIMD_OPERATIONS, simdNumber } from '../../src/cpu/simd.js'
import { SIMD_INTEGER } from '../../src/cpu/simd-integer.js'
import { SIMD_MMX } from '../../src/cpu/simd-mmx.js'
import { SIMD_MOVE } from '../../src/cpu/simd-move.js'
import { SIMD_STRING, STRING_WIDE_LENGTHS } from '../../src/cpu/simd-string.js'
import { CpuState } from '../../src/cpu/state.js'
import { EXT_ALIGNED, EXT_FLAT, UOP } from '../../src/cpu/uops.js'
import { hasVectors } from '../../src/engine/threaded-handlers-simd.js'
import { makeRegistry } from '../../src/engine/threaded-module.js'
import { runs } from '../runs.js'
import { Random } from './equality-random.js'
import { Harness, RAM, type Uop } from './threaded-harness.js'

const FLAT_64 = EXT_FLAT | (2 << 8)
const DISPATCHES = ['tail-call', 'br-table'] as const
const NAMES = Object.keys({ ...SIMD_MMX, ...SIMD_MOVE, ...SIMD_INTEGER })
/** Operations whose destination is a general register. */
const TO_GENERAL = /^(pmovmskb|movmsk|pextr)/
const BY_IMMEDIATE = /\.imm|^p?shuf|^pshuf[dhl]|^palignr|^pinsr|^pextr/

const registry = makeRegistry(true)
const handled = (name: string, imm: number): boolean => registry.findSimd(simdNumber(name), imm) !== 0

/** Operands of string comparisons: letters that repeat, ends within them, and lengths of either sign. */
function randomStrings(random: Random, h: Harness): void {
  const { s } = h
  const letters = random.pick([
    [0x61, 0x62],
    [0x61, 0x62, 0x63, 0x7f, 0x80, 0xff],
    [0x61, 0x61, 0x61, 0x61, 0x61, 0x62],
  ])
  const words = random.chance(30)
  for (let r = 0; r < 4; r++) {
    const at = OFF_XMM + r * 16
    for (let n = 0; n < 16; n++) s.u8[at + n] = words && n & 1 ? random.pick([0, 0, 0x61]) : random.pick(letters)
    if (random.chance(50)) s.u16[(at >> 1) + random.below(8)] = 0
    if (random.chance(30)) s.u8[at + random.below(16)] = 0
  }
  for (const register of [0, 2]) {
    const length = random.pick([random.below(18), -random.below(18), random.below(18), 0x80000000, 0x7fffffff])
    s.set32(register * 8, length)
    s.set32(register * 8 + 4, random.pick([length >> 31, 0, -1, random.next()]))
  }
  s.setBig(
    random.pick([0, 16]),
    random.pick([-3n, 3n, 1n << 63n, (1n << 63n) - 1n, -(1n << 32n), BigInt(random.below(9))]),
  )
}

function randomBytes(random: Random, into: Uint8Array): void {
  const kind = random.below(4)
  for (let n = 0; n < into.length; n++) {
    into[n] =
      kind === 0 ? random.pick([0, 1, 0x7f, 0x80, 0xff]) : kind === 1 ? random.below(3) - 1 : random.next() >>> 24
  }
}

describe.each(DISPATCHES)('operations, %s', (dispatch) => {
  const h = new Harness(dispatch)
  const twin = new CpuState(new ArrayBuffer(h.memory.buffer.byteLength), 0)
  const core = { s: twin } as unknown as CpuCore
  const random = new Random(7)
  let rip = 0x1000

  const check = (name: string, imm: number, prepare?: (random: Random, h: Harness) => void): void => {
    const { s } = h
    randomBytes(random, s.u8.subarray(0, 16 * 8))
    for (let r = 0; r < 4; r++) randomBytes(random, s.u8.subarray(OFF_XMM + r * 16, OFF_XMM + r * 16 + 16))
    // A source that is a small number: a shift count, an index.
    if (random.chance(30)) s.setBig(OFF_XMM + 32, BigInt(random.below(70)))
    prepare?.(random, h)
    s.flags = 2 | (random.chance(50) ? 0x8d5 : 0)
    const general = TO_GENERAL.test(name)
    const xmm = (): number => OFF_XMM + random.below(3) * 16
    const a = general ? gprSlot(random.below(16)) : xmm()
    // A general register can be the source as well.
    const c = random.chance(20) ? gprSlot(random.below(8)) : OFF_XMM + (1 + random.below(3)) * 16
    twin.u8.set(s.u8.subarray(0, 0x700))
    SIMD_OPERATIONS[simdNumber(name)]!(core, a, a, c, imm)
    rip += 8
    h.stepped.length = 0
    h.program(rip, [
      { kind: UOP.SIMD, a, b: a, c, imm, ext: simdNumber(name) },
      { kind: UOP.END, imm: 4, index: 1 },
    ])
    h.run(rip, 1)
    expect(h.stepped, name).not.toContain(rip)
    expect(s.flags, name).toBe(twin.flags)
    expect([...s.u8.subarray(OFF_XMM, OFF_XMM + 256)], `${name} ${imm}`).toEqual([
      ...twin.u8.subarray(OFF_XMM, OFF_XMM + 256),
    ])
    expect([...s.u8.subarray(0, 128)], `${name} ${imm}`).toEqual([...twin.u8.subarray(0, 128)])
    expect([...s.u8.subarray(OFF_X87, OFF_X87 + 128)]).toEqual([...twin.u8.subarray(OFF_X87, OFF_X87 + 128)])
  }

  it('compute what the definition computes', () => {
    let handlers = 0
    for (const name of NAMES) {
      const imms =
        BY_IMMEDIATE.test(name) || name === 'palignr' ? [0, 1, 5, 8, 15, 16, 31, 32, 63, 64, 0x1b, 0xe4, 255] : [0]
      for (const imm of imms) {
        if (!handled(name, imm) || name === 'mmx-check') continue
        handlers++
        for (let n = 0; n < runs(imms.length > 1 ? 2 : 12); n++) check(name, imm)
      }
    }
    expect(handlers).toBeGreaterThan(250)
  })

  it('compare strings in all forms as the definition does', () => {
    for (const name of Object.keys(SIMD_STRING)) {
      expect(handled(name, 0)).toBe(true)
      for (let imm = 0; imm < 2 * STRING_WIDE_LENGTHS; imm++)
        for (let n = 0; n < runs(1); n++) check(name, imm, randomStrings)
    }
  })
})

describe('which instructions stay in WebAssembly', () => {
  it('what string functions and kernels use has handlers', () => {
    for (const name of ['movaps', 'movups', 'movdqa', 'movd', 'movq', 'pxor', 'pcmpeqb', 'pmovmskb']) {
      expect(LIFT_SIMD[name]).toBeDefined()
    }
    // biome-ignore format: a dense list reads better
    const hot = [
      'move.16', 'move.8z', 'move.4z', 'pxor', 'por', 'pand', 'pandn', 'pcmpeqb', 'pcmpeqw', 'pcmpeqd', 'pmovmskb', 'psubb', 'paddb', 'paddd',
      'paddq', 'pminub', 'pmaxub', 'pshufd', 'punpcklbw', 'punpcklwd', 'punpcklqdq', 'pslld.imm', 'psrlq.imm', 'pshufb', 'pmuludq',
    ]
    for (const name of hot) expect([name, handled(name, 4)]).toEqual([name, true])
    for (let by = 1; by < 16; by++)
      for (const name of ['pslldq.imm', 'psrldq.imm', 'palignr']) expect(handled(name, by)).toBe(true)
  })

  it('without vectors only the state changes of MMX remain', () => {
    const bare = makeRegistry(false)
    expect(bare.findSimd(simdNumber('pxor'), 0)).toBe(0)
    expect(bare.findSimd(simdNumber('mmx-done'), 0)).not.toBe(0)
    expect(bare.handlers.length).toBeLessThan(registry.handlers.length)
    expect(hasVectors()).toBe(true)
  })
})

describe.each([true, false])('memory, vectors %s', (vectors) => {
  const fresh = (): Harness => new Harness('tail-call', undefined, undefined, vectors)
  const load = (at: number, width: number, ext = 0): Uop[] => [
    { kind: UOP.LOAD_V, width, a: OFF_XMM, b: gprSlot(3), c: SLOT_ZERO, imm: at, ext: FLAT_64 | ext },
    { kind: UOP.END, imm: 4, index: 1 },
  ]
  const store = (at: number, width: number, ext = 0): Uop[] => [
    { kind: UOP.STORE_V, width, a: OFF_XMM, b: gprSlot(3), c: SLOT_ZERO, imm: at, ext: FLAT_64 | ext },
    { kind: UOP.END, imm: 4, index: 1 },
  ]
  const low = 0x8877_6655_4433_2211n
  const high = 0xffee_ddcc_bbaa_9988n

  it.each([
    [0, 16],
    [1, 2],
    [2, 4],
    [3, 8],
  ])('width code %i', (width, bytes) => {
    const h = fresh()
    h.view.setBigUint64(RAM + 0x5001, low, true)
    h.view.setBigUint64(RAM + 0x5009, high, true)
    h.s.setBig(OFF_XMM, 1n)
    h.s.setBig(OFF_XMM + 8, 2n)
    h.program(0x1000, load(0x5001, width))
    h.run(0x1000, 1)
    expect(h.stepped.includes(0x1000)).toBe(!vectors)
    if (!vectors) return
    expect(h.s.getBig(OFF_XMM)).toBe(bytes >= 8 ? low : BigInt.asUintN(bytes * 8, low))
    expect(h.s.getBig(OFF_XMM + 8)).toBe(bytes === 16 ? high : 0n)
    h.s.setBig(OFF_XMM, low)
    h.s.setBig(OFF_XMM + 8, high)
    h.program(0x2000, store(0x6003, width))
    h.run(0x2000, 1)
    const written = [...h.s.u8.subarray(RAM + 0x6003, RAM + 0x6003 + 17)]
    expect(written).toEqual([...h.s.u8.slice(OFF_XMM, OFF_XMM + bytes), ...new Array(17 - bytes).fill(0)])
  })

  it('bails where alignment, a store across pages or a device needs care', () => {
    const h = fresh()
    h.devicePages.add(9)
    const bails = (uops: Uop[]): boolean => {
      h.stepped.length = 0
      h.engine.invalidateAll()
      h.program(0x1000, uops)
      h.run(0x1000, 1)
      return h.stepped.includes(0x1000)
    }
    expect(bails(load(0x5008, 0, EXT_ALIGNED))).toBe(true)
    expect(bails(store(0x5008, 0, EXT_ALIGNED))).toBe(true)
    // What is read may lie across pages.
    expect(bails(load(0x5ff8, 0))).toBe(!vectors)
    expect(bails(load(0x8ff8, 0))).toBe(true)
    expect(bails(store(0x5ff1, 0))).toBe(true)
    expect(bails(load(0x9000, 0))).toBe(true)
    expect(bails(load(0x5010, 0, EXT_ALIGNED))).toBe(!vectors)
    expect(bails(load(0x5ff0, 0))).toBe(!vectors)
    expect(bails(store(0x5ff0, 0, EXT_ALIGNED))).toBe(!vectors)
  })

  it('fused with an operation', () => {
    const h = fresh()
    h.view.setBigUint64(RAM + 0x5000, low, true)
    h.view.setBigUint64(RAM + 0x5008, high, true)
    h.s.setBig(OFF_XMM, low ^ 0xff00n)
    h.s.setBig(OFF_XMM + 8, high)
    h.program(0x1000, [
      {
        kind: UOP.LOAD_V,
        a: SLOT_VTEMP + 16,
        b: gprSlot(3),
        c: SLOT_ZERO,
        imm: 0x5000,
        ext: FLAT_64 | EXT_ALIGNED,
        index: 0,
      },
      { kind: UOP.SIMD, a: OFF_XMM, b: OFF_XMM, c: SLOT_VTEMP + 16, ext: simdNumber('pcmpeqb'), index: 0 },
      { kind: UOP.SIMD, a: gprSlot(0), b: gprSlot(0), c: OFF_XMM, ext: simdNumber('pmovmskb'), index: 1 },
      { kind: UOP.END, imm: 8, index: 2 },
    ])
    h.run(0x1000, 2)
    if (!vectors) return
    expect(h.stepped).not.toContain(0x1000)
    expect(h.s.getBig(0)).toBe(0xfffdn)
  })

  it('a register that is loaded and then used by the next instruction', () => {
    const h = fresh()
    for (const at of [0x5000, 0x5008]) h.view.setBigUint64(RAM + at, low, true)
    h.s.setBig(OFF_XMM + 16, low ^ 0xff_0000n)
    h.s.setBig(OFF_XMM + 24, low)
    h.program(0x1000, [
      { kind: UOP.LOAD_V, a: OFF_XMM, b: gprSlot(3), c: SLOT_ZERO, imm: 0x5000, ext: FLAT_64 | EXT_ALIGNED, index: 0 },
      { kind: UOP.SIMD, a: OFF_XMM, b: OFF_XMM, c: OFF_XMM + 16, ext: simdNumber('pcmpeqb'), index: 1 },
      { kind: UOP.SIMD, a: gprSlot(0), b: gprSlot(0), c: OFF_XMM, ext: simdNumber('pmovmskb'), index: 2 },
      { kind: UOP.END, imm: 12, index: 3 },
    ])
    h.run(0x1000, 3)
    if (vectors) expect(h.s.getBig(0)).toBe(0xfffbn)
  })

  it('MMX state changes need no vectors', () => {
    const h = fresh()
    const { s } = h
    s.u8[OFF_TOP] = 5
    s.setBig(OFF_X87 + 16 + 8, 0x1234n)
    h.program(0x1000, [
      { kind: UOP.SIMD, ext: simdNumber('mmx-check'), index: 0 },
      { kind: UOP.SIMD, a: OFF_X87 + 16, ext: simdNumber('mmx-done'), index: 0 },
      { kind: UOP.END, imm: 4, index: 1 },
    ])
    h.run(0x1000, 1)
    expect(h.stepped).not.toContain(0x1000)
    expect([s.u8[OFF_TOP], s.u8[OFF_FTAG], s.getBig(OFF_X87 + 24)]).toEqual([0, 0xff, 0xffffn])
    s.u16[OFF_FSW >> 1] = 0x8080
    s.u8[OFF_TOP] = 5
    h.run(0x1000, 1)
    expect(h.stepped).toContain(0x1000)
    expect(s.u8[OFF_TOP]).toBe(5)
  })
})
