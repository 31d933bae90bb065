/**
 * Debian's text installer up to its first question: on i386 in a frame buffer, which the kernel's own driver for the display sets up; on amd64 in VGA text and, as it
 * asks on every console that the kernel was given, on the serial line. That takes 13 and 12.5 thousand million instructions.
 */
import { decode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { Pc } from '../../src/machine/index.js'
import { encodePng } from '../../src/node/index.js'
import { guestFile, needs } from './real-guest.js'

/** How long it may take, in instructions. */
const LIMIT = 25e9
/** What it takes to draw the rest of a screen whose first parts are there. */
const DRAW = 400_000_000

function installer(architecture: 'i386' | 'amd64', commandLine: string): Pc {
  // With 512 MB the one for amd64 speaks of too little memory first.
  const pc = new Pc({ memory: 1 << 30 })
  pc.loadLinux(guestFile(`installer-${architecture}/linux`), {
    initrd: guestFile(`installer-${architecture}/initrd.gz`),
    commandLine,
  })
  return pc
}

interface Picture {
  readonly width: number
  readonly height: number
  readonly data: ArrayLike<number>
}

function pixel({ width, data }: Picture, x: number, y: number): number[] {
  const at = (y * width + x) * 3
  return [data[at]!, data[at + 1]!, data[at + 2]!]
}

describe('Debian installer', () => {
  const i386 = needs('installer-i386/linux', 'installer-i386/initrd.gz')
  it.skipIf(i386.skip)(`asks for the language in a frame buffer, i386${i386.why}`, async () => {
    const pc = installer('i386', 'console=tty0')
    const picture = (): Picture => decode(encodePng(pc.screen.render()))
    let next = 0
    await pc.run({
      instructions: LIMIT,
      until: () => {
        // A picture takes longer than the two million instructions from one question to the next.
        if (pc.instructions < next) return false
        next = pc.instructions + DRAW
        const now = picture()
        return now.width === 1024 && `${pixel(now, 500, 380)}` === '170,0,0'
      },
    })
    const end = picture()
    expect([end.width, end.height]).toEqual([1024, 768])
    // A grey window on blue, with a red bar on the language that is offered.
    expect(pixel(end, 4, 4)).toEqual([0, 0, 170])
    expect(pixel(end, 40, 80)).toEqual([170, 170, 170])
    expect(pixel(end, 500, 380)).toEqual([170, 0, 0])
  })

  const amd64 = needs('installer-amd64/linux', 'installer-amd64/initrd.gz')
  it.skipIf(amd64.skip)(`asks for the language in VGA text and on the serial line, amd64${amd64.why}`, async () => {
    const pc = installer('amd64', 'nomodeset console=ttyS0 console=tty0')
    await pc.waitForText('Select a language', { in: 'serial', instructions: LIMIT })
    await pc.waitForText('Select a language', { in: 'screen', instructions: LIMIT })
    await pc.run({ instructions: DRAW })
    const screen = pc.screen.text()
    expect(screen).toHaveLength(25)
    expect(screen.join('\n')).toMatch(/┤ \[!!\] Select a language ├/)
    expect(screen.join('\n')).toMatch(/English +- +English/)
    expect(screen[24]).toContain('<Tab> moves; <Space> selects; <Enter> activates buttons')
  })
})
