import { describe, expect, it } from 'vitest'
import { createDecoder, decode } from '../../src/isa/decoder.js'
import { CPU_FEATURES, CPU_LEVELS, decoderOptionsFor } from '../../src/isa/decoder-models.js'
import {
  DECODE,
  Instruction,
  OPERAND,
  PREFIX_OPSIZE,
  PREFIX_REP,
  PREFIX_REPNE,
  PREFIX_REX,
  PREFIX_REX_W,
  REG_NONE,
  REG_RIP,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from '../../src/isa/instruction.js'
import { MN, MNEMONICS } from '../../src/isa/mnemonics.js'
import { ROWS, rowFeature } from '../../src/isa/table.js'
import { runs } from '../runs.js'
import { encodeRow, seeded } from './cases.js'

type Bits = 16 | 32 | 64

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text.split(' '), (byte) => Number.parseInt(byte, 16))
}

function decoded(text: string, bits: Bits, decoder = decode): Instruction & { status: number } {
  const bytes = bytesOf(text)
  const insn = new Instruction()
  const status = decoder(bytes, 0, bytes.length, bits, insn)
  return Object.assign(insn, { status })
}

function name(text: string, bits: Bits, decoder = decode): string {
  const insn = decoded(text, bits, decoder)
  return insn.status === DECODE.ok ? MNEMONICS[insn.mnemonic]! : Object.keys(DECODE)[insn.status]!
}

describe('instruction table', () => {
  it('has numbered exactly the mnemonics that its rows use', () => {
    expect([...new Set(ROWS.map((row) => row.mnemonic))].sort()).toEqual([...MNEMONICS].sort())
    expect(MN.invalid).toBe(0)
    expect(MNEMONICS[MN.cmpxchg8b]).toBe('cmpxchg8b')
  })

  it('names a known generation or feature in every row', () => {
    const known = new Set<string>([...CPU_LEVELS, ...CPU_FEATURES])
    expect(ROWS.filter((row) => !known.has(row.feature)).map((row) => row.text)).toEqual([])
    expect([...CPU_FEATURES].filter((feature) => !ROWS.some((row) => row.feature === feature))).toEqual([])
    expect(rowFeature(decoded('0f c8', 32).row)).toBe('486')
  })

  it('says which flags an instruction leaves undefined', () => {
    const and = ROWS[decoded('21 d8', 32).row]!
    expect([and.flagsWritten, and.flagsUndefined]).toEqual([0x8c5, 0x10])
    const shl = ROWS[decoded('d3 e0', 32).row]!
    expect(shl.flagsUndefined).toBe(0x810)
  })
})

describe('prefixes', () => {
  it('lets the last segment override and the last of F2, F3 win', () => {
    expect(decoded('64 26 8b 07', 32).seg).toBe(SEG_ES)
    expect(decoded('26 64 8b 07', 32).seg).toBe(SEG_FS)
    expect(decoded('f2 f3 a4', 32).prefixes).toBe(PREFIX_REP)
    expect(decoded('f3 f2 a4', 32).prefixes).toBe(PREFIX_REPNE)
    expect(name('f3 f2 0f 10 c1', 32)).toBe('movsd')
    expect(name('f2 f3 0f 10 c1', 32)).toBe('movss')
  })

  it('ignores ES, CS, SS, DS overrides in 64-bit code, also after FS', () => {
    expect(decoded('26 8b 07', 64).seg).toBe(SEG_DS)
    expect(decoded('36 8b 07', 64).seg).toBe(SEG_DS)
    expect(decoded('64 26 8b 07', 64).seg).toBe(SEG_FS)
    expect(decoded('65 8b 07', 64).seg).toBe(SEG_GS)
  })

  it('takes REX only directly before the opcode', () => {
    expect(decoded('48 01 d8', 64).opSize).toBe(8)
    expect(decoded('48 66 01 d8', 64).opSize).toBe(2)
    expect(decoded('48 66 01 d8', 64).prefixes).toBe(PREFIX_OPSIZE)
    expect(decoded('66 48 01 d8', 64).opSize).toBe(8)
    expect(decoded('66 48 01 d8', 64).prefixes).toBe(PREFIX_OPSIZE | PREFIX_REX | PREFIX_REX_W)
    expect(decoded('4f 40 01 d8', 64).opSize).toBe(4)
    expect(name('48', 32)).toBe('dec')
  })

  it('lets F2 and F3 win over 66 as mandatory prefix', () => {
    expect(name('66 f3 0f b8 c1', 32)).toBe('popcnt')
    expect(decoded('66 f3 0f b8 c1', 32).opSize).toBe(2)
    expect(name('66 0f 58 c1', 32)).toBe('addpd')
    expect(name('66 f2 0f 58 c1', 32)).toBe('addsd')
    expect(name('f2 66 0f 58 c1', 32)).toBe('addsd')
    expect(name('66 0f 38 f0 07', 32)).toBe('movbe')
    expect(name('f2 0f 38 f0 07', 32)).toBe('crc32')
    expect(name('f3 0f 38 f0 07', 32)).toBe('invalid')
  })

  it('allows LOCK with a memory destination of the listed instructions only', () => {
    expect(name('f0 01 07', 32)).toBe('add')
    expect(name('f0 01 c7', 32)).toBe('invalid')
    expect(name('f0 03 07', 32)).toBe('invalid')
    expect(name('f0 39 07', 32)).toBe('invalid')
    expect(name('f0 87 07', 32)).toBe('xchg')
    expect(name('f0 0f c7 0f', 32)).toBe('cmpxchg8b')
    expect(name('f0 0f a3 07', 32)).toBe('invalid')
    expect(name('f0 0f ab 07', 32)).toBe('bts')
    expect(name('f0 90', 32)).toBe('invalid')
  })

  it('refuses instructions of more than 15 bytes', () => {
    expect(decoded(`${'66 '.repeat(14)}90`, 32).status).toBe(DECODE.ok)
    expect(decoded(`${'66 '.repeat(15)}90`, 32).status).toBe(DECODE.tooLong)
    expect(decoded('66 '.repeat(15).trim(), 32).status).toBe(DECODE.tooLong)
    expect(decoded('66 '.repeat(14).trim(), 32).status).toBe(DECODE.truncated)
    expect(decoded(`${'2e '.repeat(10)}81 05 00 00 00 00 01 00 00 00`, 32).status).toBe(DECODE.tooLong)
    const short = createDecoder({ maxLength: 10 })
    expect(decoded(`${'2e '.repeat(10)}90`, 16, short).status).toBe(DECODE.tooLong)
  })
})

describe('addresses', () => {
  it('decodes the 16-bit forms with their segments', () => {
    const forms = [
      [3, 6, SEG_DS],
      [3, 7, SEG_DS],
      [5, 6, SEG_SS],
      [5, 7, SEG_SS],
      [6, REG_NONE, SEG_DS],
      [7, REG_NONE, SEG_DS],
      [5, REG_NONE, SEG_SS],
      [3, REG_NONE, SEG_DS],
    ]
    forms.forEach((form, rm) => {
      const insn = decoded(`8b ${(0x40 | rm).toString(16)} fe`, 16)
      expect([insn.base, insn.index, insn.seg, insn.disp]).toEqual([...form, -2])
    })
    const direct = decoded('8b 06 34 12', 16)
    expect([direct.base, direct.index, direct.seg, direct.disp]).toEqual([REG_NONE, REG_NONE, SEG_DS, 0x1234])
  })

  it('decodes SIB with its exceptions', () => {
    const none = decoded('8b 04 24', 32)
    expect([none.base, none.index, none.seg]).toEqual([4, REG_NONE, SEG_SS])
    const noBase = decoded('8b 04 ad 78 56 34 12', 32)
    expect([noBase.base, noBase.index, noBase.scale, noBase.disp, noBase.seg]).toEqual([
      REG_NONE,
      5,
      4,
      0x12345678,
      SEG_DS,
    ])
    const based = decoded('8b 44 ad 10', 32)
    expect([based.base, based.index, based.disp, based.seg]).toEqual([5, 5, 16, SEG_SS])
    const r12 = decoded('42 8b 04 20', 64)
    expect([r12.base, r12.index]).toEqual([0, 12])
    const r13 = decoded('41 8b 45 00', 64)
    expect([r13.base, r13.index, r13.disp]).toEqual([13, REG_NONE, 0])
    const r13Sib = decoded('43 8b 04 25 01 00 00 00', 64)
    expect([r13Sib.base, r13Sib.index]).toEqual([REG_NONE, 12])
  })

  it('decodes RIP-, EIP-relative and absolute addresses', () => {
    const rip = decoded('8b 05 fc ff ff ff', 64)
    expect([rip.base, rip.disp, rip.dispHi, rip.addrSize]).toEqual([REG_RIP, -4, -1, 8])
    const eip = decoded('67 8b 05 fc ff ff ff', 64)
    expect([eip.base, eip.addrSize]).toEqual([REG_RIP, 4])
    expect(decoded('8b 05 fc ff ff ff', 32).base).toBe(REG_NONE)
    const moffs = decoded('48 a1 88 77 66 55 44 33 22 91', 64)
    expect([moffs.disp, moffs.dispHi, moffs.length]).toEqual([0x55667788, 0x91223344 | 0, 10])
    expect(decoded('67 a1 88 77 66 55', 64).length).toBe(6)
    expect(decoded('67 a1 88 77', 32).length).toBe(4)
  })
})

describe('operands', () => {
  it('sizes operands by prefix, REX and mode', () => {
    const table: [string, Bits, number][] = [
      ['50', 64, 8],
      ['66 50', 64, 2],
      ['50', 32, 4],
      ['e8 00 00 00 00', 64, 8],
      ['66 e8 00 00 00 00', 64, 8],
      ['66 e8 00 00', 32, 2],
      ['c3', 64, 8],
      ['cf', 64, 4],
      ['48 cf', 64, 8],
      ['0f 20 c0', 16, 2],
    ]
    for (const [text, bits, size] of table) {
      const insn = decoded(text, bits)
      expect([text, insn.opSize, insn.length]).toEqual([text, size, bytesOf(text).length])
    }
    expect(decoded('0f 20 c0', 16).ops[0].size).toBe(4)
    expect(decoded('0f 20 c0', 64).ops[0].size).toBe(8)
  })

  it('names byte registers by REX', () => {
    expect(decoded('8a e1', 64).ops[0].reg).toBe(16)
    expect(decoded('40 8a e1', 64).ops[0].reg).toBe(4)
    expect(decoded('b7 01', 32).ops[0].reg).toBe(19)
    expect(decoded('41 b7 01', 64).ops[0].reg).toBe(15)
  })

  it('extends immediates as the instruction does', () => {
    expect(decoded('83 c0 80', 32).imm).toBe(-128)
    expect(decoded('cd 80', 32).imm).toBe(128)
    expect(decoded('c2 00 80', 32).imm & 0xffff).toBe(0x8000)
    const wide = decoded('48 b8 01 00 00 00 02 00 00 80', 64)
    expect([wide.imm, wide.immHi]).toEqual([1, 0x80000002 | 0])
    const signed = decoded('48 81 c0 00 00 00 80', 64)
    expect([signed.imm, signed.immHi]).toEqual([-0x80000000, -1])
    const far = decoded('ea 78 56 34 12 cd ab', 32)
    expect([far.imm, far.imm2, far.ops[0].kind]).toEqual([0x12345678, 0xabcd, OPERAND.far])
    const enter = decoded('c8 34 12 05', 32)
    expect([enter.imm, enter.imm2, enter.ops[1].kind]).toEqual([0x1234, 5, OPERAND.imm2])
  })

  it('refuses registers that do not exist', () => {
    for (const text of ['8e c8', '8e f0', '8c f8', '0f 20 c8', '0f 22 e8', '8d c0', 'c6 c8 01', '0f 01 d9']) {
      expect([text, name(text, 32)]).toEqual([text, 'invalid'])
    }
    expect(name('44 0f 20 c0', 64)).toBe('mov')
    expect(decoded('44 0f 20 c0', 64).ops[1].reg).toBe(8)
    expect(name('44 0f 21 c0', 64)).toBe('invalid')
    // ModRM.mod is ignored: a memory form would be two bytes longer.
    expect(decoded('0f 20 44', 32).ops[0].kind).toBe(OPERAND.gpr)
  })

  it('swaps 63, 90, C7 /1 and 6E by mode and REX', () => {
    expect([name('63 c1', 32), name('63 c1', 64)]).toEqual(['arpl', 'movsxd'])
    expect([name('90', 64), name('41 90', 64), name('48 90', 64)]).toEqual(['nop', 'xchg', 'nop'])
    expect([name('f3 90', 64), name('f3 41 90', 64)]).toEqual(['pause', 'xchg'])
    expect([name('0f c7 0f', 64), name('48 0f c7 0f', 64)]).toEqual(['cmpxchg8b', 'cmpxchg16b'])
    expect([name('66 0f 6e c0', 64), name('66 48 0f 6e c0', 64)]).toEqual(['movd', 'movq'])
  })

  it('drops what 64-bit mode dropped', () => {
    for (const text of ['06', '27', '37', '60', '82 c0 01', '9a 0 0 0 0 0 0', 'ce', 'd4 0a', 'd6', 'ea 0 0 0 0 0 0']) {
      expect([text, name(text, 64)]).toEqual([text, 'invalid'])
    }
  })
})

describe('VEX and EVEX', () => {
  it('gives way to LDS, LES and BOUND outside 64-bit mode', () => {
    expect([name('c5 07', 32), name('c4 07', 32), name('62 07', 32)]).toEqual(['lds', 'les', 'bound'])
    expect(name('c5 f8 28 c1', 32)).toBe('invalid')
  })

  it('knows the length of what it does not decode', () => {
    const lengths: [string, Bits][] = [
      ['c5 f8 77', 64], // vzeroupper
      ['c5 f8 28 c1', 32], // vmovaps xmm0, xmm1
      ['c5 f9 70 c1 1b', 64], // vpshufd xmm0, xmm1, 27
      ['c4 e3 7d 06 c1 01', 64], // vperm2f128
      ['c4 e2 79 18 44 8d 10', 64], // vbroadcastss xmm0, [rbp+rcx*4+16]
      ['62 f1 7c 48 28 05 00 00 00 00', 64], // vmovaps zmm0, [rip]
    ]
    for (const [text, bits] of lengths) {
      const insn = decoded(`${text} 90 90 90`, bits)
      expect([text, insn.status, insn.length]).toEqual([text, DECODE.invalid, bytesOf(text).length])
    }
    expect(decoded('c5 f8', 64).status).toBe(DECODE.truncated)
  })
})

describe('processor models', () => {
  it('compiles for every generation, and decodes 8086 code as the 8086 does', () => {
    const i8086 = createDecoder(decoderOptionsFor('8086'))
    expect(name('0f', 16, i8086)).toBe('pop')
    expect(decoded('0f', 16, i8086).ops[0].reg).toBe(1)
    expect(name('8e c8', 16, i8086)).toBe('mov')
    expect([name('60 00', 16, i8086), name('c0 01 00', 16, i8086)]).toEqual(['j', 'ret'])
    expect(decoded('66 00', 16, i8086).cond).toBe(6)
    expect(name('f0 90', 16, i8086)).toBe('nop')
    for (const level of CPU_LEVELS) {
      const decoder = createDecoder(decoderOptionsFor(level))
      expect(name('01 d8', 16, decoder)).toBe('add')
      expect(name('60', 16, decoder)).toBe(level === '8086' ? 'truncated' : 'pusha')
      expect(name('0f a2', 16, decoder) === 'cpuid').toBe(false)
    }
  })

  it('adds instructions generation by generation', () => {
    const has = (text: string, level: (typeof CPU_LEVELS)[number]): boolean => {
      const status = decoded(text, 16, createDecoder(decoderOptionsFor(level))).status
      return status === DECODE.ok
    }
    expect([has('0f 06', '186'), has('0f 06', '286')]).toEqual([false, true])
    expect([has('66 40', '286'), has('66 40', '386')]).toEqual([false, true])
    expect([has('0f c8', '386'), has('0f c8', '486')]).toEqual([false, true])
    expect([has('0f 24 f0', '386'), has('0f 24 f0', '486'), has('0f 24 f0', 'pentium')]).toEqual([true, true, false])
    expect([has('0f 1f c0', 'pentium'), has('0f 1f c0', 'p6')]).toEqual([false, true])
  })

  it('falls back to what older processors make of an opcode', () => {
    const old = createDecoder(decoderOptionsFor('p6'))
    const fresh = createDecoder(decoderOptionsFor('p6', new Set(CPU_FEATURES)))
    expect([name('f3 0f bc c1', 32, old), name('f3 0f bc c1', 32, fresh)]).toEqual(['bsf', 'tzcnt'])
    expect([name('f3 0f 1e fa', 32, old), name('f3 0f 1e fa', 32, fresh)]).toEqual(['nop', 'endbr64'])
    expect([name('f3 90', 32, old), name('f3 90', 32, fresh)]).toEqual(['nop', 'pause'])
    expect([name('f3 0f b8 c1', 32, old), name('f3 0f b8 c1', 32, fresh)]).toEqual(['invalid', 'popcnt'])
  })
})

describe('input that ends', () => {
  it('is truncated at every shorter length and decodes at its own', () => {
    const random = seeded(4)
    const bytes = new Uint8Array(16)
    const whole = new Instruction()
    const part = new Instruction()
    for (const row of ROWS) {
      if (row.index === 0 || row.until !== '') continue
      for (const bits of [16, 32, 64] as const) {
        for (let i = 0; i < runs(4); i++) {
          encodeRow(row, bits, random, bytes, 0)
          if (decode(bytes, 0, 16, bits, whole) !== DECODE.ok) continue
          for (let length = 0; length < whole.length; length++) {
            const status = decode(bytes, 0, length, bits, part)
            if (status !== DECODE.truncated) expect([row.text, bytes.join(), length, status]).toEqual([])
            if (part.length !== length) expect([row.text, bytes.join(), length, part.length]).toEqual([])
          }
          if (decode(bytes, 0, whole.length, bits, part) !== DECODE.ok) expect([row.text, bytes.join()]).toEqual([])
          expect(part.length).toBe(whole.length)
        }
      }
    }
  })

  it('never consumes more than 15 bytes or what is there, whatever the bytes', () => {
    const random = seeded(99)
    const insn = new Instruction()
    for (let i = 0; i < runs(20_000); i++) {
      const bytes = new Uint8Array(random(20)).map(() => random(256))
      for (const bits of [16, 32, 64] as const) {
        const status = decode(bytes, 0, 100, bits, insn)
        const legal = insn.length <= Math.min(15, bytes.length) && (status === DECODE.ok) === (insn.mnemonic !== 0)
        if (!legal) expect([bytes.join(), bits, status, insn.length]).toEqual([])
      }
    }
  })
})
