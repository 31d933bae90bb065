/** Moves, insertions and extractions: what happens to the part of a register that is not moved, and to memory. Source: Intel SDM Vol. 2, each instruction's page. */

import { beforeEach, describe, expect, it } from 'vitest'
import { DATA, SimdUnit } from './unit.js'

const unit = new SimdUnit()
const A = 0x0f0e0d0c_0b0a0908_07060504_03020100n
const B = 0xfffefdfc_fbfaf9f8_f7f6f5f4_f3f2f1f0n
const LOW = (1n << 64n) - 1n
const M = `[abs ${DATA}]`
const { s } = unit.machine.cpu

beforeEach(() => {
  unit.restart()
  unit.setXmm(1, A)
  unit.setXmm(2, B)
  unit.setMm(1, A & LOW)
  unit.setMm(2, B & LOW)
  unit.poke(DATA, 16, B)
  unit.poke(DATA + 16, 16, 0n)
  s.setBig(0, 0x8877_6655_4433_2211n)
  s.setBig(8, 0xaaaa_bbbb_cccc_ddddn)
})

describe('to an XMM register', () => {
  // Instruction, XMM1 afterwards.
  it.each([
    ['movaps xmm1, xmm2', B],
    ['movupd xmm1, xmm2', B],
    [`movdqa xmm1, ${M}`, B],
    [`movntdqa xmm1, ${M}`, B],
    [`lddqu xmm1, [abs ${DATA + 1}]`, B >> 8n],
    ['movss xmm1, xmm2', (A & ~0xffff_ffffn) | (B & 0xffff_ffffn)],
    [`movss xmm1, ${M}`, B & 0xffff_ffffn],
    ['movsd xmm1, xmm2', ((A >> 64n) << 64n) | (B & LOW)],
    [`movsd xmm1, ${M}`, B & LOW],
    ['movq xmm1, xmm2', B & LOW],
    [`movq xmm1, ${M}`, B & LOW],
    ['movq xmm1, rax', 0x8877_6655_4433_2211n],
    ['movd xmm1, eax', 0x4433_2211n],
    [`movd xmm1, ${M}`, B & 0xffff_ffffn],
    ['movhlps xmm1, xmm2', ((A >> 64n) << 64n) | (B >> 64n)],
    ['movlhps xmm1, xmm2', (A & LOW) | ((B & LOW) << 64n)],
    [`movlps xmm1, ${M}`, ((A >> 64n) << 64n) | (B & LOW)],
    [`movhpd xmm1, ${M}`, (A & LOW) | ((B & LOW) << 64n)],
    ['movq2dq xmm1, mm2', B & LOW],
    ['pinsrb xmm1, eax, 0xf5', (A & ~(0xffn << 40n)) | (0x11n << 40n)],
    [`pinsrb xmm1, [abs ${DATA + 2}], 15`, (A & ~(0xffn << 120n)) | (0xf2n << 120n)],
    ['pinsrw xmm1, eax, 0xfa', (A & ~(0xffffn << 32n)) | (0x2211n << 32n)],
    [`pinsrw xmm1, ${M}, 0`, (A & ~0xffffn) | 0xf1f0n],
    ['pinsrd xmm1, eax, 0xfe', (A & ~(0xffff_ffffn << 64n)) | (0x4433_2211n << 64n)],
    ['pinsrq xmm1, rax, 0xff', (A & LOW) | (0x8877_6655_4433_2211n << 64n)],
    // Lane 2 of the source to lane 1, lanes 0 and 3 cleared.
    ['insertps xmm1, xmm2, 0x99', (A & (0xffff_ffffn << 64n)) | (0xfbfaf9f8n << 32n)],
    // From memory there is one number only.
    [`insertps xmm1, ${M}, 0xd0`, (A & ~(0xffff_ffffn << 32n)) | (0xf3f2f1f0n << 32n)],
  ])('%s', (source, wanted) => {
    expect(unit.run(source)).toBe(-1)
    expect(unit.xmm(1)).toBe(wanted)
    expect(unit.xmm(2)).toBe(B)
  })
})

describe('to a general register', () => {
  // Instruction, RAX afterwards: 32-bit results clear the upper half.
  it.each([
    ['movd eax, xmm2', 0xf3f2f1f0n],
    ['movq rax, xmm2', B & LOW],
    ['movd eax, mm2', 0xf3f2f1f0n],
    ['movq rax, mm2', B & LOW],
    ['pextrb eax, xmm2, 0xf3', 0xf3n],
    ['pextrw eax, xmm2, 0xfb', 0xf7f6n],
    ['pextrw eax, mm2, 0xfe', 0xf5f4n],
    ['pextrd eax, xmm2, 0xfd', 0xf7f6f5f4n],
    ['pextrq rax, xmm2, 0xff', B >> 64n],
    ['extractps eax, xmm2, 0xfe', 0xfbfaf9f8n],
    ['pmovmskb eax, xmm2', 0xffffn],
    ['pmovmskb eax, xmm1', 0n],
    ['pmovmskb eax, mm2', 0xffn],
    ['movmskps eax, xmm2', 0xfn],
    ['movmskpd eax, xmm2', 3n],
  ])('%s', (source, wanted) => {
    expect(unit.run(source)).toBe(-1)
    expect(s.getBig(0)).toBe(wanted)
  })
})

describe('to memory', () => {
  const at = `[abs ${DATA + 16}]`
  // Instruction, the 16 bytes there afterwards.
  it.each([
    [`movaps ${at}, xmm1`, A],
    [`movdqu ${at}, xmm1`, A],
    [`movntps ${at}, xmm1`, A],
    [`movntdq ${at}, xmm1`, A],
    [`movss ${at}, xmm1`, A & 0xffff_ffffn],
    [`movsd ${at}, xmm1`, A & LOW],
    [`movq ${at}, xmm1`, A & LOW],
    [`movd ${at}, xmm1`, A & 0xffff_ffffn],
    [`movlps ${at}, xmm1`, A & LOW],
    [`movhps ${at}, xmm1`, A >> 64n],
    [`movq ${at}, mm1`, A & LOW],
    [`movntq ${at}, mm1`, A & LOW],
    [`movnti ${at}, eax`, 0x4433_2211n],
    [`movnti ${at}, rax`, 0x8877_6655_4433_2211n],
    [`pextrb ${at}, xmm1, 7`, 0x07n],
    [`pextrw ${at}, xmm1, 7`, 0x0f0en],
    [`pextrd ${at}, xmm1, 1`, 0x0706_0504n],
    [`pextrq ${at}, xmm1, 1`, A >> 64n],
    [`extractps ${at}, xmm1, 3`, 0x0f0e_0d0cn],
  ])('%s', (source, wanted) => {
    expect(unit.run(source)).toBe(-1)
    expect(unit.peek(DATA + 16, 16)).toBe(wanted)
    expect(unit.peek(DATA, 16)).toBe(B)
  })

  it('MASKMOVDQU writes the bytes whose mask has bit 7, and touches no others', () => {
    // The last mapped byte is the first of the sixteen: 2 MiB are mapped.
    unit.setXmm(2, 0x80n)
    s.setRegNumber(7, 0x1fffff)
    expect(unit.run('maskmovdqu xmm1, xmm2')).toBe(-1)
    expect(unit.peek(0x1fffff, 1)).toBe(0x00n)
    unit.setXmm(2, 0x8000n)
    expect(unit.run('maskmovdqu xmm1, xmm2')).toBe(14)
    unit.restart()
    unit.setXmm(2, 0xff00_0000_7f00_0000_8000_0000_0000_0081n)
    s.setRegNumber(7, DATA)
    unit.run('maskmovdqu xmm1, xmm2')
    expect(unit.peek(DATA, 16)).toBe(
      (B & ~((0xffn << 120n) | (0xffn << 56n) | 0xffn)) | (0x0fn << 120n) | (0x07n << 56n),
    )
  })

  it('MASKMOVQ', () => {
    unit.setMm(2, 0x0000_0080_0000_8000n)
    s.setRegNumber(7, DATA)
    unit.run('maskmovq mm1, mm2')
    expect(unit.peek(DATA, 8)).toBe((B & LOW & ~(0xffn << 32n) & ~(0xffn << 8n)) | (0x04n << 32n) | (0x01n << 8n))
  })

  it('a faulting store of 16 bytes writes none of them', () => {
    unit.poke(0x1ffff8, 8, 0n)
    expect(unit.run('movups [abs 0x1ffff8], xmm1')).toBe(14)
    expect(s.cr2).toBe(0x200000)
    expect(unit.peek(0x1ffff8, 8)).toBe(0n)
    unit.restart()
    expect(unit.run('movups xmm1, [abs 0x1ffff8]')).toBe(14)
    expect(unit.xmm(1)).toBe(A)
  })
})

it('blends by XMM0 and by immediate', () => {
  unit.setXmm(0, 0x80000000_7fffffff_00800000_80ff80ffn)
  unit.setXmm(3, A)
  unit.run('pblendvb xmm3, xmm2')
  expect(unit.xmm(3)).toBe(0xff0e0d0c_0bfaf9f8_07f60504_f3f2f1f0n)
  unit.setXmm(3, A)
  unit.run('blendvps xmm3, xmm2')
  expect(unit.xmm(3)).toBe(0xfffefdfc_0b0a0908_07060504_f3f2f1f0n)
  unit.setXmm(3, A)
  unit.run('blendvpd xmm3, xmm2')
  expect(unit.xmm(3)).toBe(0xfffefdfc_fbfaf9f8_07060504_03020100n)
})

it('PTEST sets ZF and CF and clears the rest', () => {
  const flags = (d: bigint, source: bigint): number => {
    unit.setXmm(3, d)
    unit.setXmm(4, source)
    s.flags = 0x8d7
    unit.run('ptest xmm3, xmm4')
    return s.flags & 0x8d5
  }
  expect(flags(A, 0n)).toBe(0x41)
  expect(flags(0n, 1n << 127n)).toBe(0x40)
  expect(flags(1n << 127n, 1n << 127n)).toBe(1)
  expect(flags(2n, 3n)).toBe(0)
})
