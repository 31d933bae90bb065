import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { demo } from '../../src/cli/demo.js'
import { KERNEL_STAGES } from '../../src/machine/index.js'

describe('virtkit demo', () => {
  const printed: string[] = []
  beforeEach(() => {
    printed.length = 0
    vi.spyOn(console, 'log').mockImplementation((text: string) => {
      printed.push(text)
    })
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })

  test.each(['reference', 'threaded'])('boots the guest and tells what happened (%s)', async (engine) => {
    expect(await demo(['--engine', engine])).toBe(0)
    const text = printed.join('\n')
    expect(text.match(/│ \[ok\] /g)).toHaveLength(KERNEL_STAGES)
    for (const row of [
      'instructions',
      'exceptions',
      'interrupts',
      'TLB hits',
      'TLB misses',
      'port reads',
      'port writes',
    ]) {
      expect(text).toMatch(new RegExp(`^  ${row} +[1-9n]`, 'm'))
    }
    expect(text).toMatch(/^ {2}DMA transfers +512$/m)
  })

  test('--serial and --entry multiboot', async () => {
    expect(await demo(['--serial', '--entry', 'multiboot', '--engine', 'threaded'])).toBe(0)
    expect(printed[0]).toContain('[ok] end')
    expect(printed[0]).not.toContain('│')
  })

  test('explains itself, and refuses what it does not know with status 2', async () => {
    expect(await demo(['--help'])).toBe(0)
    expect(printed[0]).toContain('Usage: virtkit demo')
    for (const args of [['--engine', 'fast'], ['--entry', 'x'], ['--speed'], ['file']]) {
      await expect(demo(args)).rejects.toMatchObject({ status: 2 })
    }
  })
})
