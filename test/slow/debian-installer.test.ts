/**
 * Debian's text installer up to its first question: on i386 in the frame buffer of the display, by the kernel's own driver, and on the serial line at the same
 * time; on amd64 in VGA text.
 */
import { decode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { Pc } from '../../src/machine/index.js'
import { encodePng } from '../../src/node/index.js'
import { guestFile, needs } from './real-guest.js'

/** How long it may take, in instructions. */
const LIMIT = 25e9
/** What it takes to draw the rest of a screen whose first words are there. */
const DRAW = 400_000_000

async function installer(architecture: 'i386' | 'amd64', commandLine: string, where: 'screen' | 'serial'): Promise<Pc> {
  // With less the amd64 one speaks of too little memory first.
  const pc = new Pc({ memory: 1 << 30 })
  pc.loadLinux(guestFile(`installer-${architecture}/linux`), {
    initrd: guestFile(`installer-${architecture}/initrd.gz`),
    commandLine,
  })
  await pc.waitForText('Select a language', { in: where, instructions: LIMIT })
  await pc.run({ instructions: DRAW })
  return pc
}

describe('Debian installer', () => {
  const i386 = needs('installer-i386/linux', 'installer-i386/initrd.gz')
  it.skipIf(i386.skip)(`asks for the language in a frame buffer and on the serial line, i386${i386.why}`, async () => {
    const pc = await installer('i386', 'console=ttyS0 console=tty0', 'serial')
    expect(pc.serial.text).toMatch(/Choose the language to be used for the installation process/)
    expect(pc.serial.text).toMatch(/English/)
    const { width, height, data } = decode(encodePng(pc.screen.render()))
    expect([width, height]).toEqual([1024, 768])
    const pixel = (x: number, y: number): number[] => [...data.slice((y * width + x) * 3, (y * width + x) * 3 + 3)]
    // A grey window on blue, with a red bar on the language that is offered.
    expect(pixel(4, 4)).toEqual([0, 0, 170])
    expect(pixel(40, 80)).toEqual([170, 170, 170])
    expect(pixel(500, 380)).toEqual([170, 0, 0])
  })

  const amd64 = needs('installer-amd64/linux', 'installer-amd64/initrd.gz')
  it.skipIf(amd64.skip)(`asks for the language in VGA text, amd64${amd64.why}`, async () => {
    const pc = await installer('amd64', 'nomodeset', 'screen')
    const screen = pc.screen.text()
    expect(screen).toHaveLength(25)
    expect(screen[0]).toMatch(/┌─+┤ \[!!\] Select a language ├─+┐/)
    expect(screen.join('\n')).toMatch(/English +- English/)
    expect(screen[24]).toContain('<Tab> moves; <Space> selects; <Enter> activates buttons')
  })
})
