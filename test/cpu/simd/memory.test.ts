/**
 * Sixteen bytes at once: segment limits, page boundaries, devices, breakpoints, alignment checks. What alignment checks do was also tried on a real
 * processor. Source: Intel SDM Vol. 3A, "Alignment Check Exception"; Vol. 3B, "Debug Registers".
 */

import { describe, expect, it } from 'vitest'
import { Machine } from '../system/machine.js'
import { CR4_OSFXSR, DATA, SimdUnit } from './unit.js'

const DB = 1
const SS = 12
const GP = 13
const AC = 17

function protectedMachine(source: string, cpl: 0 | 3 = 0): Machine {
  const m = new Machine()
  m.protect(source, cpl)
  m.handlers()
  m.cpu.s.cr4 |= CR4_OSFXSR
  m.cpu.updateMode()
  return m
}

describe('segments', () => {
  // Instruction, the exception when the segment ends with the byte at DATA + 15.
  it.each([
    [`movups xmm1, [${DATA}]`, -1],
    [`movups xmm1, [${DATA + 1}]`, GP],
    [`movups [${DATA + 1}], xmm1`, GP],
    [`movaps xmm1, [${DATA + 16}]`, GP],
    [`movups xmm1, [ss:${DATA + 1}]`, SS],
    [`movq xmm1, [${DATA + 8}]`, -1],
    [`movq [${DATA + 9}], xmm1`, GP],
    [`movd xmm1, [ss:${DATA + 13}]`, SS],
  ])('%s', (source, wanted) => {
    const m = protectedMachine(source)
    for (const seg of [2, 3]) m.cpu.s.setSegment(seg, 0x10, 0, DATA + 15, 0x4093)
    m.cpu.updateMode()
    m.step()
    expect(m.vector).toBe(wanted)
  })

  it('a write needs a segment that can be written', () => {
    const m = protectedMachine(`movaps [${DATA}], xmm1`)
    m.cpu.s.setSegment(3, 0x10, 0, 0xffffffff, 0xc091)
    m.cpu.updateMode()
    m.step()
    expect(m.vector).toBe(GP)
  })
})

describe('alignment checks at privilege 3', () => {
  it.each([
    [`movups xmm1, [${DATA + 8}]`, AC],
    [`movdqu [${DATA + 4}], xmm1`, AC],
    [`movups xmm1, [${DATA + 16}]`, -1],
    [`movaps xmm1, [${DATA + 8}]`, GP],
    [`movq xmm1, [${DATA + 4}]`, AC],
    [`movq xmm1, [${DATA + 8}]`, -1],
    [`movss xmm1, [${DATA + 4}]`, -1],
  ])('%s', (source, wanted) => {
    const m = protectedMachine(source, 3)
    m.cpu.s.cr0 |= 0x40000
    m.cpu.s.flags |= 0x40000
    m.cpu.updateMode()
    m.step()
    expect(m.vector).toBe(wanted)
  })
})

describe('breakpoints', () => {
  it.each([
    [DATA + 12, true],
    [DATA + 16, false],
    [DATA - 4, false],
  ])('four bytes at %i', (address, hit) => {
    const unit = new SimdUnit()
    const { cpu } = unit.machine
    // DR0 enabled: reads and writes, four bytes.
    cpu.s.setBig(0x360, BigInt(address))
    cpu.s.setBig(0x360 + 7 * 8, 0xf_0401n)
    cpu.updateMode()
    unit.run(`movaps xmm1, [abs ${DATA}]`)
    unit.machine.step()
    expect(cpu.stats.exceptions[DB]).toBe(hit ? 1 : 0)
  })
})

describe('devices', () => {
  const accesses: string[] = []
  const unit = new SimdUnit()
  unit.machine.space.addOverlay({
    base: 0x60000,
    size: 0x1000,
    device: {
      readMmio: (offset, size) => {
        accesses.push(`r${size} ${offset.toString(16)}`)
        return (offset * 0x01010101) >>> (32 - 8 * size)
      },
      writeMmio: (offset, size, value) => {
        accesses.push(`w${size} ${offset.toString(16)} ${value.toString(16)}`)
      },
    },
  })

  it('see four accesses of four bytes', () => {
    accesses.length = 0
    unit.run('movaps xmm1, [abs 0x60040]')
    expect(accesses).toEqual(['r4 40', 'r4 44', 'r4 48', 'r4 4c'])
    expect(unit.xmm(1)).toBe(0x4c4c4c4c_48484848_44444444_40404040n)
    accesses.length = 0
    unit.run('movups [abs 0x60020], xmm1')
    expect(accesses).toEqual(['w4 20 40404040', 'w4 24 44444444', 'w4 28 48484848', 'w4 2c 4c4c4c4c'])
  })

  it('see nothing of an access whose other half faults', () => {
    // The first page is a device, the second is not mapped.
    unit.machine.space.addOverlay({
      base: 0x1ff000,
      size: 0x1000,
      device: {
        readMmio: (offset) => {
          accesses.push(`r ${offset.toString(16)}`)
          return 0
        },
        writeMmio: (offset) => {
          accesses.push(`w ${offset.toString(16)}`)
        },
      },
    })
    accesses.length = 0
    expect(unit.run('movups xmm1, [abs 0x1ffff8]')).toBe(14)
    unit.restart()
    expect(unit.run('movups [abs 0x1ffff8], xmm1')).toBe(14)
    expect(accesses).toEqual([])
  })

  it('see bytes of an access that crosses into them', () => {
    unit.restart()
    unit.poke(0x5fff8, 8, 0x0706050403020100n)
    accesses.length = 0
    unit.run('movups xmm1, [abs 0x5fff8]')
    expect(accesses.length).toBe(8)
    expect(unit.xmm(1) & 0xffff_ffff_ffff_ffffn).toBe(0x0706050403020100n)
  })
})
