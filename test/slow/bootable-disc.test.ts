/** A CD made with `grub-mkrescue`: SeaBIOS boots it by El Torito, GRUB shows a menu and boots our kernel, and Debian's Linux for amd64 from the same menu. */
import { describe, expect, it } from 'vitest'
import { KERNEL_STAGES } from '../../src/machine/guest/kernel.js'
import { MemoryDisk, Pc } from '../../src/machine/index.js'
import { FIRMWARE, firmware, guestFile, needs, SerialShell } from './real-guest.js'

const MENU = 2e9
const BOOT = 12e9

const { skip, why } = needs(...FIRMWARE, 'linux.iso')
describe.skipIf(skip)(`a bootable CD${why}`, () => {
  const atMenu = async (): Promise<Pc> => {
    const pc = new Pc({
      memory: 256 << 20,
      ...firmware(),
      cdrom: new MemoryDisk(guestFile('linux.iso')),
      bootOrder: 'd',
    })
    await pc.waitForText('*virtkit teaching kernel', { in: 'screen', instructions: MENU })
    expect(pc.firmwareLog.text).toContain('Booting from DVD/CD')
    return pc
  }

  it('boots our kernel', async () => {
    const pc = await atMenu()
    pc.keyboard.type('k')
    expect((await pc.run({ instructions: MENU })).reason).toBe('power-off')
    expect(pc.serial.text.match(/^\[ok\]/gm)).toHaveLength(KERNEL_STAGES)
    expect(pc.serial.text).not.toContain('[FAIL]')
  })

  it('boots Linux for amd64', async () => {
    const pc = await atMenu()
    pc.keyboard.type('a')
    const shell = new SerialShell(pc)
    await shell.ready(BOOT)
    expect(await shell.run('uname -m')).toMatch(/^x86_64$/m)
    pc.serial.write('poweroff -f\n')
    expect((await pc.run({ instructions: BOOT })).reason).toBe('power-off')
  })
})
