/**
 * Linux from an ATA disk, the whole way: SeaBIOS, GRUB, Debian's kernel on two processors, its own drivers for disk, CD-ROM and virtio; a reset by the guest, after
 * which everything must still be on the disks; power-off by ACPI.
 */
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { MemoryDisk, Pc } from '../../src/machine/index.js'
import { FIRMWARE, firmware, guestFile, needs, SerialShell } from './real-guest.js'

/** How long firmware and GRUB may take to the menu, and Linux from there to its shell, in instructions. */
const MENU = 1e9
const BOOT = 12e9

const FOLDERS = 'mkdir -p /mnt/d /mnt/f /mnt/c /mnt/v'
const MOUNT =
  'mount -t ext4 /dev/sda2 /mnt/d && mount -t vfat /dev/sda1 /mnt/f && mount -t ext4 /dev/vda /mnt/v && echo mounted'

const md5 = (name: string): string => createHash('md5').update(guestFile(name)).digest('hex')

const { skip, why } = needs(...FIRMWARE, 'linux-disk.img', 'linux.iso')
describe.skipIf(skip)(`Linux on an ATA disk${why}`, () => {
  let pc: Pc
  let shell: SerialShell
  let hello = ''

  const boot = async (): Promise<void> => {
    await pc.waitForText('*virtkit teaching kernel', { in: 'screen', instructions: MENU })
    const from = pc.serial.text.length
    pc.keyboard.type('6')
    await shell.ready(BOOT, from)
    expect(await shell.run('load-drivers')).not.toContain('failed')
    await shell.run(FOLDERS)
  }

  beforeAll(async () => {
    pc = new Pc({
      memory: 128 << 20,
      cpus: 2,
      ...firmware(),
      drives: [new MemoryDisk(guestFile('linux-disk.img'))],
      cdrom: new MemoryDisk(guestFile('linux.iso')),
      bootOrder: 'c',
      virtio: {
        disks: [new MemoryDisk(new Uint8Array(16 << 20))],
        entropy: true,
        console: (bytes) => {
          hello += new TextDecoder().decode(bytes)
        },
      },
    })
    shell = new SerialShell(pc)
    await boot()
  })

  it('has two processors, which firmware and kernel find', async () => {
    expect(pc.firmwareLog.text).toContain('Found 2 cpu(s) max supported 2 cpu(s)')
    expect(await shell.run('nproc')).toMatch(/^2$/m)
    const log = await shell.run('dmesg')
    expect(log).toContain('ACPI: Using ACPI (MADT) for SMP configuration information')
    expect(log).toMatch(/smp: Brought up 1 node, 2 CPUs/)
    expect(log).not.toMatch(/Call Trace|BUG:|WARNING:/)
    // Both take interrupts.
    expect(await shell.run('grep LOC: /proc/interrupts')).toMatch(/LOC: +[1-9]\d* +[1-9]\d* /)
  })

  it('drives the disk and the CD-ROM by bus-master DMA', async () => {
    // PIIX3 does not know Ultra DMA.
    const modes = await shell.run('cat /sys/class/ata_device/dev[12].0/dma_mode')
    expect(modes.match(/^XFER_MW_DMA_2$/gm), modes).toHaveLength(2)
    const log = await shell.run('dmesg')
    expect(log).toMatch(/ata1: PATA max MWDMA2 cmd 0x1f0 ctl 0x3f6 bmdma 0xc[0-9a-f]{3} irq 14/)
    expect(log).not.toMatch(/ata\d\.\d\d: (exception|failed|limiting)/)
    expect(await shell.run('mount -t iso9660 -o ro /dev/sr0 /mnt/c; md5sum /mnt/c/boot/linux-686')).toContain(
      md5('linux-686'),
    )
  })

  it('makes file systems and writes files', async () => {
    await shell.run('mke2fs /dev/sda2; mke2fs /dev/vda')
    expect(await shell.run(MOUNT)).toMatch(/^mounted$/m)
    expect(await shell.run('md5sum /mnt/f/boot/memtest')).toContain(md5('memtest-ia32'))
    await shell.run('cp /mnt/f/boot/memtest /mnt/d/copy; cp /mnt/f/boot/memtest /mnt/v/copy; echo kept > /mnt/f/note')
    await shell.run('sync; echo 3 > /proc/sys/vm/drop_caches')
    const sums = await shell.run('md5sum /mnt/d/copy /mnt/v/copy')
    expect(sums.match(new RegExp(md5('memtest-ia32'), 'g'))).toHaveLength(2)
  })

  it('speaks to virtio devices', async () => {
    expect(await shell.run('cat /sys/class/misc/hw_random/rng_available')).toContain('virtio_rng')
    expect(await shell.run('dd if=/dev/hwrng bs=16 count=1 | wc -c')).toMatch(/^16$/m)
    await shell.run('echo hello > /dev/hvc0')
    expect(hello).toBe('hello\r\n')
  })

  it('finds its files after it has reset the machine', async () => {
    const { resets } = pc
    pc.serial.write('reboot -f\n')
    await pc.run({ instructions: BOOT, until: () => pc.resets > resets })
    expect(pc.resets).toBe(resets + 1)
    await boot()
    expect(await shell.run(MOUNT)).toMatch(/^mounted$/m)
    expect(await shell.run('cat /mnt/f/note')).toMatch(/^kept$/m)
    const sums = await shell.run('md5sum /mnt/d/copy /mnt/v/copy')
    expect(sums.match(new RegExp(md5('memtest-ia32'), 'g'))).toHaveLength(2)
  })

  it('powers off', async () => {
    pc.serial.write('poweroff -f\n')
    expect((await pc.run({ instructions: BOOT })).reason).toBe('power-off')
  })
})
