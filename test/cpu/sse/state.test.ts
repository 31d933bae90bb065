/**
 * Faults of SSE instructions, MXCSR, FXSAVE and XSAVE, through the decoder. Expectations: Intel SDM Vol. 1, "Managing State Using the XSAVE Feature Set",
 * "FXSAVE Area"; Vol. 2, pages of the instructions; Vol. 3A, "Enabling Flag of SSE".
 */

import { beforeEach, describe, expect, it } from 'vitest'
import { type CpuidResult, cpuid } from '../../../src/cpu/cpuid.js'
import {
  OFF_FCS,
  OFF_FCW,
  OFF_FDP,
  OFF_FDS,
  OFF_FIP,
  OFF_FOP,
  OFF_FSW,
  OFF_FTAG,
  OFF_MXCSR,
  OFF_TOP,
  OFF_X87,
  OFF_XCR0,
  OFF_XMM,
} from '../../../src/cpu/layout.js'
import { MODELS } from '../../../src/cpu/models.js'
import { CODE, Machine } from '../system/machine.js'

const UD = 6
const NM = 7
const GP = 13
const PF = 14
const MF = 16
const XM = 19
const NONE = -1

const CR0_MP = 2
const CR0_EM = 4
const CR0_TS = 8
const OSFXSR = 0x200
const OSXMMEXCPT = 0x400
const OSXSAVE = 0x4_0000

const AREA = 0x40000

let m: Machine

/** Steps one instruction in 32-bit code. */
function run(source: string, cr0 = 0, cr4 = OSFXSR | OSXMMEXCPT | OSXSAVE, cpl: 0 | 3 = 0): number {
  m.protect(source, cpl)
  m.handlers()
  m.cpu.s.cr0 = (m.cpu.s.cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | cr0
  m.cpu.s.cr4 = cr4
  m.cpu.updateMode()
  m.step()
  return m.vector
}

/** Steps one instruction in 64-bit code. */
function run64(source: string): number {
  m.long(source)
  for (let vector = 0; vector < 32; vector++) m.handler64(vector)
  m.cpu.s.cr4 |= OSFXSR | OSXMMEXCPT | OSXSAVE
  m.cpu.updateMode()
  m.step()
  return m.vector
}

const word = (at: number): number => m.space.read32(AREA + at) >>> 0

function setXmm(n: number, lo: number): void {
  for (let k = 0; k < 4; k++) m.cpu.s.set32(OFF_XMM + 16 * n + 4 * k, lo + k)
}

beforeEach(() => {
  m = Machine.reuse('x86-64-v2')
})

describe('availability', () => {
  it.each(['addps xmm0, xmm1', 'cvtsi2sd xmm0, eax', `ldmxcsr [0x40000]`, 'stmxcsr [0x40000]', 'aesenc xmm0, xmm1'])(
    '%s',
    (source) => {
      m.space.write32(AREA, 0x1f80)
      expect(run(source)).toBe(NONE)
      expect(run(source, CR0_TS)).toBe(NM)
      expect(run(source, CR0_EM)).toBe(UD)
      expect(run(source, CR0_EM | CR0_TS)).toBe(UD)
      expect(run(source, 0, 0)).toBe(UD)
      expect(run(source, CR0_TS, 0)).toBe(UD)
      expect(run(source, CR0_MP)).toBe(NONE)
    },
  )

  it('CRC32 uses general registers only', () => {
    expect(run('crc32 eax, bl', CR0_TS | CR0_EM, 0)).toBe(NONE)
  })

  it.each(['fxsave [0x40000]', 'fxrstor [0x40000]'])('%s', (source) => {
    expect(run(source, 0, 0)).toBe(NONE)
    expect(run(source, CR0_TS)).toBe(NM)
    expect(run(source, CR0_EM)).toBe(NM)
  })

  it.each(['xsave [0x40000]', 'xrstor [0x40000]', 'xsaveopt [0x40000]'])('%s', (source) => {
    expect(run(source)).toBe(NONE)
    expect(run(source, CR0_TS)).toBe(NM)
    expect(run(source, CR0_EM)).toBe(NONE)
    expect(run(source, CR0_TS, OSFXSR)).toBe(UD)
  })

  it('older processors do not know them', () => {
    m = Machine.reuse('pentium')
    expect(run('addps xmm0, xmm1', 0, 0)).toBe(UD)
    m = Machine.reuse('core2')
    expect(run('addps xmm0, xmm1', 0, OSFXSR)).toBe(NONE)
    expect(run('roundps xmm0, xmm1, 0', 0, OSFXSR)).toBe(UD)
    expect(run('xgetbv', 0, OSFXSR)).toBe(UD)
  })
})

describe('exceptions', () => {
  it('unmasked ones are #XM, or #UD while the system does not know #XM; nothing but MXCSR changes', () => {
    for (const [cr4, vector] of [
      [OSFXSR | OSXMMEXCPT, XM],
      [OSFXSR, UD],
    ] as const) {
      m.cpu.s.set32(OFF_MXCSR, 0x1d80)
      setXmm(0, 0x3f80_0000)
      for (let n = 0; n < 16; n += 4) m.cpu.s.set32(OFF_XMM + 16 + n, 0)
      expect(run('divps xmm0, xmm1', 0, cr4)).toBe(vector)
      expect(m.cpu.s.get32(OFF_MXCSR)).toBe(0x1d84)
      expect(m.cpu.s.get32(OFF_XMM)).toBe(0x3f80_0000)
      expect(m.stack(0)).toBe(CODE)
    }
  })

  it('a memory operand of 16 bytes is aligned, a smaller one need not be', () => {
    expect(run('addps xmm0, [0x40008]')).toBe(GP)
    expect(run('addss xmm0, [0x40001]')).toBe(NONE)
    expect(run('cvtps2pd xmm0, [0x40001]')).toBe(NONE)
    expect(run('cvtpd2ps xmm0, [0x40008]')).toBe(GP)
  })

  it('conversions to MMX registers: pending x87 errors first, then the change to MMX state', () => {
    const { s } = m.cpu
    s.set32(OFF_FTAG, 0)
    s.set32(OFF_TOP, 3)
    s.set32(OFF_XMM, 0x4040_0000)
    s.set32(OFF_XMM + 4, 0xc040_0000)
    expect(run('cvtps2pi mm1, xmm0')).toBe(NONE)
    expect([s.u8[s.base + OFF_TOP], s.u8[s.base + OFF_FTAG]]).toEqual([0, 0xff])
    expect([s.get32(OFF_X87 + 16), s.get32(OFF_X87 + 20), s.get32(OFF_X87 + 24)]).toEqual([3, -3, 0xffff])
    s.set32(OFF_FTAG, 0)
    // The memory form of CVTPI2PD has nothing to do with MMX; that of CVTPI2PS has.
    expect(run('cvtpi2pd xmm0, [0x40000]')).toBe(NONE)
    expect(s.u8[s.base + OFF_FTAG]).toBe(0)
    expect(run('cvtpi2ps xmm0, [0x40000]')).toBe(NONE)
    expect(s.u8[s.base + OFF_FTAG]).toBe(0xff)
    s.set32(OFF_FCW, 0x37e)
    s.set32(OFF_FSW, 0x8081)
    expect(run('cvtps2pi mm1, xmm0', 0x20)).toBe(MF)
    expect(run('cvtpi2pd xmm0, [0x40000]', 0x20)).toBe(NONE)
  })

  it('an exception leaves x87 and MMX alone', () => {
    const { s } = m.cpu
    s.set32(OFF_FTAG, 0)
    s.set32(OFF_FSW, 0)
    s.set32(OFF_MXCSR, 0x1f00)
    s.set32(OFF_XMM, 0x7fc0_0000)
    expect(run('cvttps2pi mm1, xmm0')).toBe(XM)
    expect([s.u8[s.base + OFF_FTAG], s.get32(OFF_X87 + 16), s.get32(OFF_MXCSR)]).toEqual([0, 0, 0x1f01])
  })
})

describe('MXCSR', () => {
  it('is 1F80h after reset and survives INIT, as XCR0 does', () => {
    expect(m.cpu.s.get32(OFF_MXCSR)).toBe(0x1f80)
    expect(m.cpu.s.get32(OFF_XCR0)).toBe(1)
    m.cpu.s.set32(OFF_MXCSR, 0x1fa0)
    m.cpu.s.set32(OFF_XCR0, 3)
    setXmm(2, 5)
    m.cpu.raiseInit()
    m.step()
    expect([m.cpu.s.get32(OFF_MXCSR), m.cpu.s.get32(OFF_XCR0), m.cpu.s.get32(OFF_XMM + 32)]).toEqual([0x1fa0, 3, 5])
    m.cpu.reset()
    expect([m.cpu.s.get32(OFF_MXCSR), m.cpu.s.get32(OFF_XCR0), m.cpu.s.get32(OFF_XMM + 32)]).toEqual([0x1f80, 1, 0])
  })

  it('LDMXCSR takes bits 15–0', () => {
    for (const [value, vector] of [
      [0xffff, NONE],
      [0, NONE],
      [0x1_0000, GP],
      [0x8000_1f80, GP],
    ] as const) {
      m.space.write32(AREA, value)
      m.cpu.s.set32(OFF_MXCSR, 0x1f80)
      expect(run('ldmxcsr [0x40000]')).toBe(vector)
      expect(m.cpu.s.get32(OFF_MXCSR)).toBe(vector === NONE ? value : 0x1f80)
    }
    m.cpu.s.set32(OFF_MXCSR, 0x7fa5)
    expect(run('stmxcsr [0x40002]')).toBe(NONE)
    expect(m.space.read32(AREA + 2)).toBe(0x7fa5)
  })
})

/** Recognisable contents of everything that FXSAVE stores. */
function fill(): void {
  const { s } = m.cpu
  s.set32(OFF_FCW, 0x27f)
  s.set32(OFF_FSW, 0x4700)
  s.set32(OFF_TOP, 5)
  s.set32(OFF_FTAG, 0xa5)
  s.set32(OFF_FOP, 0x5d9)
  s.u16[(s.base + OFF_FCS) >> 1] = 0x1234
  s.u16[(s.base + OFF_FDS) >> 1] = 0x5678
  s.setBig(OFF_FIP, 0x1111_2222_3333_4444n)
  s.setBig(OFF_FDP, 0x5555_6666_7777_8888n)
  for (let n = 0; n < 8; n++) {
    s.setBig(OFF_X87 + 16 * n, 0x8000_0000_0000_0000n + BigInt(n))
    s.set32(OFF_X87 + 16 * n + 8, 0x4000 + n)
  }
  for (let n = 0; n < 16; n++) setXmm(n, 0x100 * (n + 1))
  s.set32(OFF_MXCSR, 0x1fbf)
}

describe('FXSAVE and FXRSTOR', () => {
  it('32-bit layout', () => {
    fill()
    for (let n = 0; n < 512; n += 4) m.space.write32(AREA + n, 0xdead_beef)
    expect(run('fxsave [0x40000]')).toBe(NONE)
    expect([0, 4, 8, 12, 16, 20, 24, 28].map(word)).toEqual([
      // FSW with TOP, FCW; FOP, abridged tags; FIP, FCS; FDP, FDS; MXCSR and its mask.
      0x6f00_027f, 0x05d9_00a5, 0x3333_4444, 0x1234, 0x7777_8888, 0x5678, 0x1fbf, 0xffff,
    ])
    // ST(0) is R5.
    for (let n = 0; n < 8; n++) {
      const r = (n + 5) & 7
      expect([0, 4, 8, 12].map((k) => word(32 + 16 * n + k))).toEqual([r, 0x8000_0000, 0x4000 + r, 0])
    }
    for (let n = 0; n < 8; n++) expect(word(160 + 16 * n + 12)).toBe(0x100 * (n + 1) + 3)
    // Outside 64-bit mode XMM8–15 have no place, and the end belongs to the program.
    expect([288, 412, 464, 508].map(word)).toEqual([0xdead_beef, 0xdead_beef, 0xdead_beef, 0xdead_beef])
  })

  it('64-bit layout with REX.W, 32-bit pointers without', () => {
    fill()
    expect(run64('fxsave64 [0x40000]')).toBe(NONE)
    expect([8, 12, 16, 20].map(word)).toEqual([0x3333_4444, 0x1111_2222, 0x7777_8888, 0x5555_6666])
    for (let n = 0; n < 16; n++) expect(word(160 + 16 * n)).toBe(0x100 * (n + 1))
    expect(run64('fxsave [0x40000]')).toBe(NONE)
    expect([8, 12, 16, 20].map(word)).toEqual([0x3333_4444, 0x1234, 0x7777_8888, 0x5678])
  })

  it.each(['fxsave', 'fxsave64'])('%s and FXRSTOR bring everything back', (name) => {
    fill()
    const { s } = m.cpu
    expect(run64(`${name} [0x40000]`)).toBe(NONE)
    const before = s.u8.slice(s.base + OFF_X87, s.base + OFF_MXCSR + 4)
    if (name === 'fxsave64') {
      before[OFF_FCS - OFF_X87] = before[OFF_FCS - OFF_X87 + 1] = 0
      before[OFF_FDS - OFF_X87] = before[OFF_FDS - OFF_X87 + 1] = 0
    } else for (const at of [OFF_FIP, OFF_FDP]) before.fill(0, at - OFF_X87 + 4, at - OFF_X87 + 8)
    s.u8.fill(0, s.base + OFF_X87, s.base + OFF_MXCSR + 4)
    expect(run64(`${name.replace('save', 'rstor')} [0x40000]`)).toBe(NONE)
    expect(s.u8.slice(s.base + OFF_X87, s.base + OFF_MXCSR + 4)).toEqual(before)
  })

  it('faults before it changes anything', () => {
    fill()
    expect(run('fxsave [0x40008]')).toBe(GP)
    expect(run('fxsave [0x40000]')).toBe(NONE)
    m.space.write32(AREA + 24, 0x1_0000)
    m.space.write32(AREA, 0x37f)
    m.cpu.s.set32(OFF_FCW, 0x27f)
    expect(run('fxrstor [0x40000]')).toBe(GP)
    expect(m.cpu.s.get32(OFF_FCW)).toBe(0x27f)
    // The area straddles the end of the mapped 2 MiB.
    const at = 0x1f_ff00
    m.space.write32(at, 0x1234_5678)
    expect(run64(`fxsave [0x1fff00]`)).toBe(PF)
    expect(m.cpu.s.cr2).toBe(0x20_00f8)
    expect(m.space.read32(at)).toBe(0x1234_5678)
    expect(run64(`fxrstor [0x1fff00]`)).toBe(PF)
    expect(m.cpu.s.get32(OFF_FCW)).toBe(0x27f)
  })

  it('without CR4.OSFXSR the SSE part takes no part', () => {
    fill()
    m.space.write32(AREA + 24, 0x5555)
    expect(run('fxsave [0x40000]', 0, 0)).toBe(NONE)
    expect([word(24), word(160)]).toEqual([0x5555, 0])
    m.space.write32(AREA + 24, 0xffff_ffff)
    expect(run('fxrstor [0x40000]', 0, 0)).toBe(NONE)
    expect(m.cpu.s.get32(OFF_XMM)).toBe(0x100)
  })

  it('misaligned areas are #GP, not #AC', () => {
    m.protect('fxsave [0x40004]', 3)
    m.handlers()
    m.cpu.s.cr0 |= 0x4_0000
    m.cpu.s.cr4 = OSFXSR
    m.cpu.s.flags |= 0x4_0000
    m.cpu.updateMode()
    m.step()
    expect(m.vector).toBe(GP)
    m.protect('fxsave [0x40010]', 3)
    m.cpu.s.flags |= 0x4_0000
    m.cpu.updateMode()
    m.step()
    expect(m.vector).toBe(NONE)
  })
})

describe('XSAVE', () => {
  const HEADER = 512

  function components(eax: number, xcr0 = 3): void {
    m.cpu.s.set32(OFF_XCR0, xcr0)
    m.cpu.s.setReg32(0, eax)
    m.cpu.s.setReg32(2, 0)
  }

  it('XSETBV and XGETBV', () => {
    const set = (ecx: number, edx: number, eax: number, cpl: 0 | 3 = 0): number => {
      m.cpu.s.setReg32(0, eax)
      m.cpu.s.setReg32(1, ecx)
      m.cpu.s.setReg32(2, edx)
      return run('xsetbv', 0, OSXSAVE, cpl)
    }
    expect(set(0, 0, 3)).toBe(NONE)
    expect(m.cpu.s.get32(OFF_XCR0)).toBe(3)
    expect(set(0, 0, 0x203)).toBe(NONE)
    for (const [ecx, edx, eax] of [
      [0, 0, 2],
      [0, 0, 0],
      [0, 0, 7],
      [0, 1, 3],
      [1, 0, 3],
    ] as const)
      expect(set(ecx, edx, eax)).toBe(GP)
    expect(set(0, 0, 3, 3)).toBe(GP)
    m.cpu.s.setReg32(1, 0)
    m.cpu.s.setReg32(2, 0xffff_ffff)
    expect(run('xgetbv', 0, OSXSAVE, 3)).toBe(NONE)
    expect([m.cpu.s.reg32(0), m.cpu.s.reg32(2)]).toEqual([0x203, 0])
    m.cpu.s.setReg32(1, 1)
    expect(run('xgetbv')).toBe(GP)
    expect(run('xgetbv', 0, 0)).toBe(UD)
    expect(run('xsetbv', 0, 0)).toBe(UD)
  })

  it('writes what is asked for, and keeps the other bits of XSTATE_BV', () => {
    fill()
    m.space.write32(AREA + HEADER, 0xffff_fffc | 1)
    m.space.write32(AREA, 0x9999)
    components(2)
    expect(run('xsave [0x40000]')).toBe(NONE)
    expect([word(0), word(24), word(160), word(HEADER)]).toEqual([0x9999, 0x1fbf, 0x100, 0xffff_ffff])
    components(0xffff_ffff)
    expect(run('xsave [0x40000]')).toBe(NONE)
    expect([word(0), word(HEADER)]).toEqual([0x6f00_027f, 0xffff_ffff])
  })

  it('XSAVEOPT leaves out what is in its initial state', () => {
    components(3)
    const { s } = m.cpu
    s.set32(OFF_FCW, 0x37f)
    s.set32(OFF_FTAG, 0)
    s.set32(OFF_MXCSR, 0x1fa0)
    for (const at of [0, 160]) m.space.write32(AREA + at, 0x7777)
    m.space.write32(AREA + HEADER, 3)
    expect(run('xsaveopt [0x40000]')).toBe(NONE)
    expect([word(0), word(160), word(24), word(HEADER)]).toEqual([0x7777, 0x7777, 0x1fa0, 0])
    // XSAVE writes it all the same.
    expect(run('xsave [0x40000]')).toBe(NONE)
    expect([word(0), word(160), word(HEADER)]).toEqual([0x37f, 0, 0])
    // XMM8–15 do not count outside 64-bit mode.
    s.set32(OFF_XMM + 15 * 16, 1)
    expect(run('xsaveopt [0x40000]')).toBe(NONE)
    expect(word(HEADER)).toBe(0)
    components(3)
    expect(run64('xsaveopt [0x40000]')).toBe(NONE)
    expect(word(HEADER)).toBe(2)
  })

  it('XRSTOR loads, or initialises what the area has not', () => {
    fill()
    components(3)
    expect(run64('xsave64 [0x40000]')).toBe(NONE)
    const { s } = m.cpu
    const before = s.u8.slice(s.base + OFF_XMM, s.base + OFF_XMM + 256)
    s.u8.fill(7, s.base + OFF_XMM, s.base + OFF_XMM + 256)
    s.set32(OFF_FCW, 0x27e)
    m.space.write32(AREA + HEADER, 2)
    m.space.write32(AREA + 24, 0x1f81)
    components(3)
    expect(run64('xrstor64 [0x40000]')).toBe(NONE)
    expect(s.u8.slice(s.base + OFF_XMM, s.base + OFF_XMM + 256)).toEqual(before)
    expect([s.get32(OFF_FCW), s.get32(OFF_FTAG), s.get32(OFF_X87), s.get32(OFF_MXCSR)]).toEqual([0x37f, 0, 0, 0x1f81])
    m.space.write32(AREA + HEADER, 1)
    components(2)
    s.set32(OFF_FCW, 0x27e)
    expect(run64('xrstor [0x40000]')).toBe(NONE)
    // MXCSR comes from memory even when the registers are initialised.
    expect([s.get32(OFF_XMM), s.get32(OFF_XMM + 255 - 3), s.get32(OFF_MXCSR), s.get32(OFF_FCW)]).toEqual([
      0, 0, 0x1f81, 0x27e,
    ])
  })

  it('XRSTOR refuses bad headers and changes nothing', () => {
    const good = (): void => {
      for (let n = 0; n < 576; n += 4) m.space.write32(AREA + n, 0)
      m.space.write32(AREA + 24, 0x1f80)
      m.space.write32(AREA + HEADER, 3)
      components(3)
    }
    const refused = (at: number, value: number): number => {
      good()
      m.space.write32(AREA + at, value)
      m.cpu.s.set32(OFF_FCW, 0x27f)
      const vector = run('xrstor [0x40000]')
      expect(m.cpu.s.get32(OFF_FCW)).toBe(vector === NONE ? 0x40 : 0x27f)
      return vector
    }
    expect(refused(32, 0)).toBe(NONE)
    expect(refused(24, 0x1_0000)).toBe(GP)
    expect(refused(HEADER, 7)).toBe(GP)
    expect(refused(HEADER + 4, 1)).toBe(GP)
    expect(refused(HEADER + 8, 1)).toBe(GP)
    // The compacted form does not exist here.
    expect(refused(HEADER + 12, 0x8000_0000)).toBe(GP)
    expect(refused(HEADER + 20, 1)).toBe(GP)
    expect(refused(HEADER + 24, 1)).toBe(NONE)
    good()
    expect(run('xrstor [0x40010]')).toBe(GP)
    expect(run('xsave [0x40020]')).toBe(GP)
    // A reserved bit of MXCSR matters only when SSE is asked for.
    good()
    m.space.write32(AREA + 24, 0x1_0000)
    components(1)
    expect(run('xrstor [0x40000]')).toBe(NONE)
  })

  it('PKRU is a component of its own', () => {
    m.cpu.s.pkru = 0x5555_5554
    components(0x200, 0x203)
    m.space.write32(AREA + HEADER, 0)
    expect(run('xsave [0x40000]')).toBe(NONE)
    expect([word(832), word(HEADER)]).toEqual([0x5555_5554, 0x200])
    m.cpu.s.pkru = 0
    components(0x200, 0x203)
    expect(run('xrstor [0x40000]')).toBe(NONE)
    expect(m.cpu.s.pkru).toBe(0x5555_5554)
    m.space.write32(AREA + HEADER, 0)
    components(0x200, 0x203)
    expect(run('xrstor [0x40000]')).toBe(NONE)
    expect(m.cpu.s.pkru).toBe(0)
  })

  it('CPUID describes it', () => {
    const out: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 }
    const leaf = (n: number, subleaf = 0, cr4 = 0): number[] => {
      cpuid(MODELS['x86-64-v2'], n, subleaf, cr4, true, out)
      return [out.eax, out.ebx, out.ecx, out.edx]
    }
    expect(leaf(1)[2]! & 0x0c00_0000).toBe(0x0400_0000)
    expect(leaf(1, 0, OSXSAVE)[2]! & 0x0c00_0000).toBe(0x0c00_0000)
    expect(leaf(0xd, 0)).toEqual([0x203, 576, 840, 0])
    expect(leaf(0xd, 1)).toEqual([1, 0, 0, 0])
    expect(leaf(0xd, 2)).toEqual([0, 0, 0, 0])
    expect(leaf(0xd, 9)).toEqual([8, 832, 0, 0])
    m.cpu.s.set32(OFF_XCR0, 0x203)
    m.cpu.s.setReg32(0, 0xd)
    m.cpu.s.setReg32(1, 0)
    run('cpuid')
    expect([m.cpu.s.reg32(0), m.cpu.s.reg32(3), m.cpu.s.reg32(1)]).toEqual([0x203, 840, 840])
    cpuid(MODELS.core2, 0xd, 0, 0, true, out)
    expect(out.ecx).toBe(0)
  })
})
