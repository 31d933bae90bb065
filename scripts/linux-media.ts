/**
 * Disks and discs that boot Debian's Linux through firmware and GRUB, for `npm run guests`:
 *
 *     .guests/linux-disk.img   GRUB, both kernels and an empty second partition for the guest to make a file system on
 *     .guests/linux.iso        the same menu on a CD, made with `grub-mkrescue`
 *
 * The menu has a hot key per entry: k the teaching kernel, 6 Linux for i686, a Linux for amd64, d memory test.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { GUESTS, Missing, tool } from './debian.js'
import { KERNEL_FLAVOURS } from './linux-guests.js'

/** GRUB's menu on both. Linux speaks on the serial line, and shows its log on the screen as well. */
export const LINUX_MENU = `set timeout=-1
set default=0
menuentry "virtkit teaching kernel" --hotkey=k {
  multiboot /boot/kernel.bin booted by GRUB
  boot
}
${Object.values(KERNEL_FLAVOURS)
  .map(
    (flavour) => `menuentry "Linux ${flavour}" --hotkey=${flavour[0]} {
  linux /boot/linux-${flavour} console=tty0 console=ttyS0
  initrd /boot/initrd-${flavour}.gz
  boot
}
`,
  )
  .join('')}menuentry "Memory test" --hotkey=d {
  linux16 /boot/memtest
  boot
}
`

/** What the menu names, by its path on the disk. */
export function linuxMenuFiles(): Map<string, Uint8Array> {
  const wanted: [string, string][] = [
    ['/boot/kernel.bin', 'kernel.bin'],
    ['/boot/memtest', 'memtest-ia32'],
    ...Object.values(KERNEL_FLAVOURS).flatMap((flavour): [string, string][] => [
      [`/boot/linux-${flavour}`, `linux-${flavour}`],
      [`/boot/initrd-${flavour}.gz`, `initrd-${flavour}-modules.cpio.gz`],
    ]),
  ]
  return new Map(
    wanted.map(([path, name]) => {
      const file = join(GUESTS, name)
      if (!existsSync(file)) throw new Missing(`.guests/${name} is not there`)
      return [path, readFileSync(file)]
    }),
  )
}

/** Makes the bootable CD. */
export function makeLinuxDisc(): void {
  const folder = join(GUESTS, 'disc')
  rmSync(folder, { recursive: true, force: true })
  for (const [path, contents] of linuxMenuFiles()) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), contents)
  }
  mkdirSync(join(folder, 'boot/grub'), { recursive: true })
  writeFileSync(join(folder, 'boot/grub/grub.cfg'), LINUX_MENU)
  tool('xorriso', ['--version'])
  tool('grub-mkrescue', ['-o', join(GUESTS, 'linux.iso'), folder])
  rmSync(folder, { recursive: true, force: true })
}
