import { describe, expect, test } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import {
  assembleKernel,
  buildKernel,
  isMultiboot,
  KERNEL_LOAD_ADDRESS,
  KERNEL_STAGES,
  kernelSource,
} from '../../src/machine/index.js'
import { guestMachine, runGuest, stateHash } from './guest-tools.js'

describe('the image', () => {
  const image = buildKernel()

  test('is a boot sector with its signature, whole sectors long, below 64 KiB', () => {
    expect(image.length % 512).toBe(0)
    expect([...image.subarray(510, 512)]).toEqual([0x55, 0xaa])
    expect(KERNEL_LOAD_ADDRESS + image.length).toBeLessThanOrEqual(0x10000)
  })

  test('carries a multiboot header, 4-aligned, with addresses', () => {
    expect(isMultiboot(image)).toBe(true)
    expect(assembleKernel().symbols.get('multiboot_header')! % 4).toBe(0)
  })

  test('comes from one source text; fewer checks make it smaller', () => {
    expect(assemble(kernelSource()).bytes).toEqual(image)
    const sizes = (['lenient', 'processor', 'strict'] as const).map((checks) => buildKernel({ checks }).length)
    expect(sizes).toEqual([...sizes].sort((a, b) => a - b))
    expect(() => buildKernel({ checks: 'some' as 'strict' })).toThrow(expect.objectContaining({ code: 'bad-argument' }))
  })
})

describe('the guest', () => {
  const reference = runGuest(guestMachine('reference'))

  test('passes every stage on the reference engine and switches the machine off', () => {
    expect(reference.serial).not.toContain('[FAIL]')
    expect(reference.result.reason).toBe('power-off')
    expect(reference.passed).toHaveLength(KERNEL_STAGES)
    expect(reference.passed.at(-1)).toContain('all stages passed')
    expect(reference.result.instructions).toBeLessThan(5_000_000)
  })

  test('shows on screen what it sends to the serial port', () => {
    const screen = reference.pc.screen.text()
    expect(screen.join('\n').trimEnd()).toBe(reference.serial.trimEnd())
    expect(screen).toHaveLength(25)
  })

  test('runs alike on the threaded engine: text, instruction count, hash of the whole state', () => {
    const threaded = runGuest(guestMachine('threaded'))
    expect(threaded.serial).toBe(reference.serial)
    expect(threaded.pc.screen.text()).toEqual(reference.pc.screen.text())
    expect(threaded.result).toEqual(reference.result)
    expect(stateHash(threaded.pc)).toBe(stateHash(reference.pc))
  })

  test('runs alike when it is cut into odd pieces', () => {
    const pc = guestMachine('threaded')
    let result = pc.runSync(1)
    let n = 0
    while (result.reason === 'budget') result = pc.runSync(1 + ((n += 7919) % 30011))
    expect(result.reason).toBe('power-off')
    expect(pc.serial.text).toBe(reference.serial)
    expect(stateHash(pc)).toBe(stateHash(reference.pc))
  })

  test.each(['reference', 'threaded'] as const)('starts as a multiboot kernel too (%s)', (engine) => {
    const run = runGuest(guestMachine(engine, 'multiboot'))
    expect(run.serial).toBe(reference.serial)
    expect(run.result.reason).toBe('power-off')
  })

  test('exercises what it says: exceptions, interrupts, DMA, TLB', () => {
    const { stats, memory } = reference.pc.cpu
    for (const vector of [0, 1, 5, 6, 7, 10, 11, 12, 13, 14])
      expect(stats.exceptions[vector], `vector ${vector}`).toBeGreaterThan(0)
    for (const vector of [0x20, 0x21, 0x28]) expect(stats.interrupts[vector], `vector ${vector}`).toBeGreaterThan(0)
    expect(reference.pc.board.dma.transfers).toBe(0x200)
    expect(memory.stats.fills).toBeGreaterThan(100)
  })
})
