/**
 * Linux from an ATA disk, the whole way: SeaBIOS, GRUB, Debian's kernel on two processors, its own drivers for disk and CD-ROM; a reset by the guest, after which
 * everything must still be on the disk; power-off by ACPI. And from a CD.
 */
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { KERNEL_STAGES } from '../../src/machine/guest/kernel.js'
import { MemoryDisk, Pc } from '../../src/machine/index.js'
import { FIRMWARE, firmware, guestFile, needs, SerialShell } from './real-guest.js'

/** How long firmware and GRUB may take to the menu, and Linux to its shell, in instructions. */
const MENU = 1e9
const BOOT = 12e9

const MOUNT = 'mkdir -p /mnt/d /mnt/f; mount -t ext4 /dev/sda2 /mnt/d && mount -t vfat /dev/sda1 /mnt/f && echo mounted'

const md5 = (name: string): string => createHash('md5').update(guestFile(name)).digest('hex')

async function atMenu(pc: Pc): Promise<void> {
  await pc.waitForText('*virtkit teaching kernel', { in: 'screen', instructions: MENU })
}
