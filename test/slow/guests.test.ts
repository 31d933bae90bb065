/**
 * Real firmware and a real boot loader, from Debian's packages: SeaBIOS, its VGA BIOS and GRUB 2, which boots our kernel. `npm run guests` puts them
 * into `.guests/`; where it could not, these tests are skipped and say so.
 */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { decode } from 'fast-png'
import { beforeAll, describe, expect, it } from 'vitest'
import { KERNEL_STAGES } from '../../src/machine/guest/kernel.js'
import { type EngineName, MemoryDisk, Pc, type PcOptions } from '../../src/machine/index.js'
import { encodePng } from '../../src/node/index.js'

const place = (name: string): string => fileURLToPath(new URL(`../../.guests/${name}`, import.meta.url))
const NEEDED = ['bios.bin', 'bios-256k.bin', 'vgabios-stdvga.bin', 'grub.img', 'kernel.bin']
const missing = NEEDED.filter((name) => !existsSync(place(name)))
const reason = missing.length === 0 ? '' : ` [skipped: no ${missing.join(', ')}; 'npm run guests' fetches them]`
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(place(name)))

/** A machine as it stood at its menu costs a boot; this is how long one may take, in instructions. */
const BOOT = 200_000_000
/** What GRUB draws last. */
const MENU = '*virtkit teaching kernel'

function machine(engine: EngineName, options: PcOptions = {}): Pc {
  return new Pc({
    memory: 128 << 20,
    engine,
    bios: file('bios.bin'),
    vgaBios: file('vgabios-stdvga.bin'),
    drives: [new MemoryDisk(file('grub.img'))],
    ...options,
  })
}

async function atMenu(engine: EngineName, options: PcOptions = {}): Promise<Pc> {
  const pc = machine(engine, options)
  await pc.waitForText(MENU, { in: 'screen', instructions: BOOT })
  return pc
}

describe.skipIf(missing.length > 0)(`SeaBIOS and GRUB${reason}`, () => {
  const ends: Record<string, string> = {}

  describe.each(['threaded', 'reference'] as const)('%s engine', (engine) => {
    let pc: Pc
    beforeAll(async () => {
      pc = await atMenu(engine)
    })

    it('goes through POST and reports it on port 0x402', () => {
      const log = pc.firmwareLog.text
      expect(log).toContain('SeaBIOS (version ')
      expect(log).toContain('ata0-0: virtkit disk')
      expect(log).toContain('PS2 keyboard initialized')
      expect(log).toContain('Booting from Hard Disk...')
      expect(log).toContain('Booting from 0000:7c00')
    })

    it('finds its PCI devices, its memory and its option ROM', () => {
      const log = pc.firmwareLog.text
      expect(log).toContain('=== PCI device probing ===')
      for (const device of [
        '00:00.0 id=8086:1237',
        '00:01.0 id=8086:7000',
        '00:01.1 id=8086:7010',
        '00:01.3 id=8086:7113',
        '00:02.0 id=1234:1111',
      ]) {
        expect(log).toContain(`PCI: init bdf=${device}`)
      }
      expect(log).toContain('Moving pm_base to 0x600')
      expect(log).toContain('Using pmtimer, ioport 0x608')
      expect(log).toMatch(/e820: addr 0x0{16} len 0x0{8}08000000 \[RAM\]/)
      expect(log).toMatch(/Running option rom at c000:0003/)
    })

    it('shows the menu', () => {
      const screen = pc.screen.text()
      expect(screen.join('\n')).toMatch(/GNU GRUB\s+version 2\./)
      expect(screen.find((row) => row.includes('teaching kernel'))).toMatch(/^ │\*virtkit teaching kernel +│$/)
      expect(screen.some((row) => /^ │ Reboot +│$/.test(row))).toBe(true)
      expect(screen.join('\n')).toContain('Use the ↑ and ↓ keys to select which entry is highlighted.')
      expect(screen.some((row) => /^ ┌─{76}┐$/.test(row))).toBe(true)
    })

    it('gives a picture of it: the highlighted entry is black on grey', () => {
      const { width, height, data } = decode(encodePng(pc.screen.render()))
      expect([width, height]).toEqual([720, 400])
      const row = pc.screen.text().findIndex((line) => line.includes('teaching kernel'))
      // The last column of the bar, where no letter is: VGA colour 7 is AAAAAA after the DAC's 6 bits.
      const at = (row * 16 + 8) * width + 76 * 9
      expect([...data.slice(at * 3, at * 3 + 3)]).toEqual([170, 170, 170])
    })

    it('boots our kernel at Enter, which powers off', async () => {
      pc.keyboard.type('\n')
      const result = await pc.run({ instructions: BOOT })
      expect(result.reason).toBe('power-off')
      expect(pc.serial.text.match(/^\[ok\]/gm)).toHaveLength(KERNEL_STAGES)
      expect(pc.serial.text).not.toContain('[FAIL]')
      ends[engine] = JSON.stringify([pc.instructions, pc.clock.now(), pc.serial.text, pc.screen.text()])
    })
  })

  it('ran alike on both engines, to the instruction', () => {
    expect(ends.threaded).toBe(ends.reference)
  })

  it('starts over when GRUB reboots, and boots again', async () => {
    const pc = await atMenu('threaded')
    pc.keyboard.down('ArrowDown')
    pc.keyboard.up('ArrowDown')
    pc.keyboard.down('ArrowDown')
    pc.keyboard.up('ArrowDown')
    await pc.waitForText('*Reboot', { in: 'screen', instructions: BOOT })
    pc.keyboard.type('\n')
    await pc.run({ until: () => pc.resets > 0, instructions: BOOT })
    expect(pc.resets).toBe(1)
    await pc.waitForText('*virtkit teaching kernel', { in: 'screen', instructions: BOOT })
    expect(pc.firmwareLog.text.match(/SeaBIOS \(version/g)!.length).toBeGreaterThan(1)
  })

  it('boots with the 256 KiB SeaBIOS, on other processors and little memory', async () => {
    for (const cpu of ['pentium', 'core2'] as const) {
      const pc = await atMenu('threaded', { cpu, memory: 16 << 20, bios: file('bios-256k.bin') })
      expect(pc.firmwareLog.text).toMatch(/e820: addr 0x0{16} len 0x0{8}01000000 \[RAM\]/)
    }
  })

  it('boots the kernel as a disk of its own, by its boot sector', async () => {
    const pc = machine('threaded', { drives: [new MemoryDisk(file('kernel.bin'))] })
    expect((await pc.run({ instructions: BOOT })).reason).toBe('power-off')
    expect(pc.serial.text.match(/^\[ok\]/gm)).toHaveLength(KERNEL_STAGES)
  })

  it('boots it from a floppy', async () => {
    const floppy = new Uint8Array(1_474_560)
    floppy.set(file('kernel.bin'))
    const pc = machine('threaded', { drives: [], floppy: new MemoryDisk(floppy), bootOrder: 'a' })
    expect((await pc.run({ instructions: BOOT })).reason).toBe('power-off')
    expect(pc.serial.text.match(/^\[ok\]/gm)).toHaveLength(KERNEL_STAGES)
  })

  it('says what it misses when there is no disk', async () => {
    const pc = machine('threaded', { drives: [] })
    await pc.waitForText('No bootable device', { in: 'screen', instructions: BOOT })
  })
})
