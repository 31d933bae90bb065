/**
 * `npm run guests`: fetches real guests from Debian's packages into `.guests/` and makes a bootable disk of them.
 *
 *     .guests/bios.bin, bios-256k.bin, vgabios-stdvga.bin   SeaBIOS, from `seabios`
 *     .guests/grub.img                                      GRUB 2 with a menu, from `grub-pc-bin`; boots our teaching kernel
 *     .guests/kernel.bin                                    that kernel alone
 *     .guests/linux-686, linux-amd64, initrd-…              Debian's kernels and BusyBox: see linux-guests.ts
 *     .guests/fp-digest-32, -64, ….native.txt               what instructions compute on this machine: see fp-digest.ts
 *     .guests/workloads-686, -amd64, ….cpio.gz              programs to compare machines by: see workloads.ts
 *     .guests/dmesg-qemu-….txt                              their logs in QEMU's pc machine: see dmesg-reference.ts
 *     .guests/linux-disk.img, linux.iso                     disks that boot them through GRUB: see linux-media.ts
 *
 * Installed files are used where they are (not with `--download`); otherwise the packages are downloaded with `apt-get download` and unpacked with
 * `dpkg -x`, neither of which needs root. Exit status: 0 all is there, 3 something cannot be had on this machine.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildKernel } from '../src/machine/guest/kernel.js'
import { GUESTS, Missing } from './debian.js'
import { makeDmesg } from './dmesg-reference.js'
import { buildFat16 } from './fat16.js'
import { makeFpDigest } from './fp-digest.js'
import { makeInstaller, makeLinux, makeMemtest } from './linux-guests.js'
import { LINUX_MENU, linuxMenuFiles, makeLinuxDisc } from './linux-media.js'
import { makeWorkloads } from './workloads.js'

/** Exit status when a package or a tool is not to be had: an absence, not a failure. */
const EXIT_MISSING = 3

const ROOT = join(GUESTS, 'root')
const SECTOR = 512
const PARTITION_START = 2048
const PARTITION_SECTORS = 32768
/** What GRUB needs before it can read its other modules from the partition. */
const CORE_MODULES = ['biosdisk', 'part_msdos', 'fat']
/** What its configuration uses; these and what they depend on are put on the partition. */
const MENU_MODULES = [
  'normal',
  'multiboot',
  'echo',
  'halt',
  'reboot',
  'ls',
  'cat',
  'test',
  'boot',
  'terminal',
  'serial',
]

const GRUB_CFG = `set timeout=-1
set default=0
menuentry "virtkit teaching kernel" {
  multiboot /boot/kernel.bin booted by GRUB
  boot
}
menuentry "Halt" {
  halt
}
menuentry "Reboot" {
  reboot
}
`

const download = process.argv.includes('--download')

/** Unpacks a Debian package under {@link ROOT}. */
function fetchPackage(name: string): void {
  const work = join(GUESTS, 'packages')
  mkdirSync(work, { recursive: true })
  const archive = (): string | undefined => readdirSync(work).find((file) => file.startsWith(`${name}_`))
  if (archive() === undefined) {
    const got = spawnSync('apt-get', ['download', name], { cwd: work, encoding: 'utf8' })
    if (got.error) throw new Missing(`package '${name}': apt-get is not on this machine (Debian or Ubuntu is needed)`)
    if (got.status !== 0 || archive() === undefined) {
      const why = got.stderr.split('\n').find((line) => line.startsWith('E:')) ?? `apt-get ended with ${got.status}`
      throw new Missing(`package '${name}' could not be downloaded: ${why}`)
    }
  }
  const unpacked = spawnSync('dpkg', ['-x', join(work, archive()!), ROOT], { encoding: 'utf8' })
  if (unpacked.error || unpacked.status !== 0) {
    throw new Missing(`package '${name}' could not be unpacked: ${unpacked.error?.message ?? unpacked.stderr.trim()}`)
  }
}

/** Where `path` (absolute, as Debian installs it) is: on this system, or unpacked from `packages`. */
function locate(path: string, packages: readonly string[]): string {
  if (!download && existsSync(path)) return path
  const unpacked = join(ROOT, path)
  if (existsSync(unpacked)) return unpacked
  for (const name of packages) fetchPackage(name)
  if (!existsSync(unpacked)) throw new Missing(`${path} is not in ${packages.join(', ')}`)
  return unpacked
}

/** The modules named and all they depend on, from GRUB's moddep.lst. */
function withDependencies(directory: string, names: readonly string[]): string[] {
  const depends = new Map<string, string[]>()
  for (const line of readFileSync(join(directory, 'moddep.lst'), 'utf8').split('\n')) {
    const [name, rest] = line.split(':')
    if (name !== undefined && rest !== undefined) depends.set(name, rest.split(' ').filter(Boolean))
  }
  const all = new Set<string>()
  const visit = (name: string): void => {
    if (all.has(name)) return
    all.add(name)
    for (const other of depends.get(name) ?? []) visit(other)
  }
  for (const name of names) visit(name)
  return [...all].sort()
}

/** Makes GRUB's second stage: it lies between the partition table and the first partition. */
function makeCore(directory: string): Uint8Array {
  const libraries = ['libdevmapper1.02.1', 'libselinux1', 'libudev1', 'libpcre2-8-0', 'liblzma5']
  const tool = locate('/usr/bin/grub-mkimage', ['grub-common'])
  const file = join(GUESTS, 'core.img')
  const args = ['-O', 'i386-pc', '-d', directory, '-p', '(hd0,msdos1)/boot/grub', '-o', file, ...CORE_MODULES]
  const paths = ['usr/lib', 'lib'].map((folder) => join(ROOT, folder, 'x86_64-linux-gnu')).join(':')
  const attempt = () =>
    spawnSync(tool, args, {
      encoding: 'utf8',
      env: tool.startsWith(ROOT) ? { ...process.env, LD_LIBRARY_PATH: paths } : process.env,
    })
  let made = attempt()
  if (made.status === 127 && tool.startsWith(ROOT)) {
    // The unpacked program lacks its libraries.
    for (const name of libraries) fetchPackage(name)
    made = attempt()
  }
  if (made.error || made.status !== 0) {
    throw new Missing(`grub-mkimage does not run here: ${made.error?.message ?? made.stderr.trim().split('\n')[0]}`)
  }
  return readFileSync(file)
}

/** A disk of {@link makeGrubDisk}. */
interface GrubDisk {
  /** The menu. */
  readonly configuration: string
  /** Files besides GRUB's own, by path. */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** Modules that the menu uses. */
  readonly modules: readonly string[]
  /** Size of the partition. */
  readonly sectors: number
  /** Size of a second partition, which stays empty. */
  readonly extraSectors?: number
}

/** A disk with GRUB in its master boot record, a FAT16 partition and perhaps an empty one. */
function makeGrubDisk({ configuration, files: own, modules, sectors, extraSectors = 0 }: GrubDisk): Uint8Array {
  const directory = join(locate('/usr/lib/grub/i386-pc/boot.img', ['grub-pc-bin']), '..')
  const boot = readFileSync(join(directory, 'boot.img'))
  const core = makeCore(directory)
  if (core.length > (PARTITION_START - 1) * SECTOR) throw new Error('core.img does not fit before the partition')
  const files = new Map<string, Uint8Array>([['/boot/grub/grub.cfg', new TextEncoder().encode(configuration)], ...own])
  for (const list of [
    'moddep.lst',
    'command.lst',
    'fs.lst',
    'terminal.lst',
    'crypto.lst',
    'partmap.lst',
    'video.lst',
  ]) {
    files.set(`/boot/grub/i386-pc/${list}`, readFileSync(join(directory, list)))
  }
  for (const name of withDependencies(directory, modules)) {
    const file = join(directory, `${name}.mod`)
    if (existsSync(file)) files.set(`/boot/grub/i386-pc/${name}.mod`, readFileSync(file))
  }
  const disk = new Uint8Array((PARTITION_START + sectors + extraSectors) * SECTOR)
  // boot.img loads core.img from sector 1, where its own default points.
  disk.set(boot.subarray(0, 440))
  const partition = (n: number, status: number, type: number, start: number, size: number): void => {
    const entry = new DataView(disk.buffer, 446 + 16 * n, 16)
    entry.setUint8(0, status)
    // Beyond what cylinder, head and sector can say is written as 1023/254/63.
    for (const at of [1, 5]) [0xfe, 0xff, 0xff].forEach((byte, i) => void entry.setUint8(at + i, byte))
    entry.setUint8(4, type)
    entry.setUint32(8, start, true)
    entry.setUint32(12, size, true)
  }
  partition(0, 0x80, 0x0e, PARTITION_START, sectors)
  if (extraSectors > 0) partition(1, 0, 0x83, PARTITION_START + sectors, extraSectors)
  disk.set([0x55, 0xaa], 510)
  disk.set(core, SECTOR)
  disk.set(buildFat16(files, sectors, PARTITION_START), PARTITION_START * SECTOR)
  return disk
}

async function main(): Promise<number> {
  const missing: string[] = []
  const step = async (what: string, action: () => void | Promise<void>): Promise<void> => {
    try {
      await action()
      console.log(`${what}: ready`)
    } catch (error) {
      if (!(error instanceof Missing)) throw error
      missing.push(what)
      console.error(`guests: ${what}: ${error.message}`)
    }
  }
  mkdirSync(GUESTS, { recursive: true })
  const kernel = buildKernel()
  writeFileSync(join(GUESTS, 'kernel.bin'), kernel)
  for (const name of ['bios.bin', 'bios-256k.bin', 'vgabios-stdvga.bin']) {
    await step(`SeaBIOS ${name}`, () =>
      copyFileSync(locate(`/usr/share/seabios/${name}`, ['seabios']), join(GUESTS, name)),
    )
  }
  await step('GRUB disk grub.img', () => {
    const image = join(GUESTS, 'grub.img')
    rmSync(image, { force: true })
    writeFileSync(
      image,
      makeGrubDisk({
        configuration: GRUB_CFG,
        files: new Map([['/boot/kernel.bin', kernel]]),
        modules: MENU_MODULES,
        sectors: PARTITION_SECTORS,
      }),
    )
  })
  for (const architecture of ['i386', 'amd64'] as const) {
    await step(`Linux for ${architecture}`, () => makeLinux(architecture))
  }
  await step('Memtest86+', makeMemtest)
  await step('Linux disk linux-disk.img', () => {
    const image = join(GUESTS, 'linux-disk.img')
    rmSync(image, { force: true })
    writeFileSync(
      image,
      makeGrubDisk({
        configuration: LINUX_MENU,
        files: linuxMenuFiles(),
        modules: [...MENU_MODULES, 'linux', 'linux16'],
        sectors: 65536,
        extraSectors: 32768,
      }),
    )
  })
  await step('Linux disc linux.iso', makeLinuxDisc)
  for (const architecture of ['i386', 'amd64'] as const) {
    await step(`Debian installer for ${architecture}`, () => makeInstaller(architecture))
  }
  await step('Digest of floating point', makeFpDigest)
  for (const kernel of ['686', 'amd64'] as const) {
    await step(`Workloads for linux-${kernel}`, () => makeWorkloads(kernel))
  }
  for (const architecture of ['i386', 'amd64'] as const) {
    for (const cpus of [1, 2]) {
      await step(`Kernel log of ${architecture} in QEMU, processors: ${cpus}`, () => makeDmesg(architecture, cpus))
    }
  }
  return missing.length === 0 ? 0 : EXIT_MISSING
}

process.exitCode = await main()
