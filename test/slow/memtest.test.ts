/**
 * Memtest86+ 6.10 as Debian ships it: a whole pass by the Linux boot protocol, and its CDs by firmware on two processors. A pass takes 21 thousand million
 * instructions on ia32, 14 on x64; a CD 300 million to its fourth test.
 */
import { decode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { MemoryDisk, Pc } from '../../src/machine/index.js'
import { encodePng } from '../../src/node/index.js'
import { FIRMWARE, firmware, guestFile, needs } from './real-guest.js'

/**
 * Nanoseconds per instruction. The tests wait by looking at the time-stamp counter, "Bit fade" for minutes: on a processor of a million instructions a
 * second that costs little.
 */
const SLOW = 1000
/** How long a pass over 16 MB may take, in instructions. */
const PASS = 30e9

const text = (pc: Pc): string => pc.screen.text().join('\n')

describe.each(['ia32', 'x64'] as const)('Memtest86+ %s', (mode) => {
  const kernel = needs(`memtest-${mode}`)
  it.skipIf(kernel.skip)(`completes a pass over 16 MB without an error${kernel.why}`, async () => {
    const pc = new Pc({ memory: 16 << 20, nsPerInstruction: SLOW })
    pc.loadLinux(guestFile(`memtest-${mode}`))
    await pc.waitForText(/Pass: +1 /, { in: 'screen', instructions: PASS })
    const screen = text(pc)
    expect(screen).toContain('Memtest86+ v6.10      │ virtkit x86-64-v2 virtual CPU')
    expect(screen).toContain('CLK/Temp: 1000MHz')
    expect(screen).toMatch(/L1 Cache: +32KB /)
    expect(screen).toMatch(/L2 Cache: +2MB /)
    expect(screen).toMatch(/Memory +: +16MB /)
    expect(screen).toMatch(/CPU: 1 Cores 1 Threads +SMP: Disabled/)
    expect(screen).toMatch(/Pass: +1 +Errors: 0$/m)
    expect(screen).toContain(`6.10.unknown.${mode === 'ia32' ? 'x32' : 'x64'}`)
    // White on blue, its title red on grey, as VGA's palette has them.
    const { width, height, data } = decode(encodePng(pc.screen.render()))
    expect([width, height]).toEqual([720, 400])
    const pixel = (x: number, y: number): number[] => [...data.slice((y * width + x) * 3, (y * width + x) * 3 + 3)]
    expect(pixel(8, 200)).toEqual([0, 0, 170])
    expect(pixel(2, 2)).toEqual([170, 170, 170])
  })

  const disc = needs(...FIRMWARE, `memtest-${mode}.iso`)
  it.skipIf(disc.skip)(`starts from its CD on two processors${disc.why}`, async () => {
    const pc = new Pc({
      memory: 32 << 20,
      cpus: 2,
      nsPerInstruction: SLOW,
      ...firmware(),
      cdrom: new MemoryDisk(guestFile(`memtest-${mode}.iso`)),
      bootOrder: 'd',
    })
    await pc.waitForText(/Test #[3-9]/, { in: 'screen', instructions: 4e9 })
    expect(pc.firmwareLog.text).toContain('Booting from DVD/CD')
    const screen = text(pc)
    expect(screen).toMatch(/CPU: 2S \/ 2C \/ 2T +SMP: 2T \(PAR\)/)
    expect(screen).toMatch(/Memory +: +32MB /)
    expect(screen).toMatch(/Errors: 0$/m)
  })
})
