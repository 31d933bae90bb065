/**
 * Debian's Linux kernels, initial RAM disks around a static BusyBox, memory tests and installers, for `npm run guests`:
 *
 *     .guests/linux-686, linux-amd64                  kernels (bzImage)
 *     .guests/initrd-686.cpio[.gz], …-amd64…          BusyBox; prints READY and gives a shell on the console
 *     .guests/initrd-686-modules.cpio.gz, …-amd64…    the same with drivers as modules; `load-drivers` loads them
 *     .guests/memtest-ia32, memtest-x64               Memtest86+ (bzImage)
 *     .guests/installer-i386/, installer-amd64/       linux and initrd.gz of Debian's text installer
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { buildCpio, type CpioEntry } from '../src/machine/cpio.js'
import { type DebianArchitecture, download, firstDependency, GUESTS, Missing, unpack } from './debian.js'

/** What Debian calls a kernel for each architecture. */
export const KERNEL_FLAVOURS: Readonly<Record<DebianArchitecture, string>> = { i386: '686', amd64: 'amd64' }

/** What /init prints before the shell. */
export const READY = 'virtkit guest ready'

const INIT = `#!/bin/sh
export PATH=/bin:/sbin HOME=/root TERM=linux
[ -e /bin/ls ] || /bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
hostname virtkit
echo
echo '${READY}'
cd /root
setsid cttyhack sh
poweroff -f
`

const LOAD_DRIVERS = `#!/bin/sh
for name in $(cat /etc/drivers); do modprobe $name || echo "load-drivers: $name failed"; done
`

/** Drivers of what a PC of ours has, and file systems. What they depend on comes along. */
const DRIVERS = [
  ...['ata_piix', 'ata_generic', 'sd_mod', 'sr_mod', 'floppy'],
  ...['crc32c_generic', 'ext4', 'vfat', 'isofs', 'nls_cp437', 'nls_ascii', 'nls_utf8'],
  ...['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'virtio_rng'],
  ...['psmouse', 'evdev', 'button', 'i2c_piix4', 'serio_raw', 'pcspkr'],
]

function modulesBelow(folder: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (entry.endsWith('.ko')) found.set(basename(entry, '.ko').replaceAll('-', '_'), entry)
  }
  return found
}

/** The values of a key in a module's information section. */
function modinfo(module: Uint8Array, key: string): string[] {
  const text = new TextDecoder('latin1').decode(module)
  return [...text.matchAll(new RegExp(`(?<=\\0)${key}=([^\\0]*)\\0`, 'g'))].map((match) => match[1]!)
}

/** The modules, and the two files that modprobe needs. */
function moduleEntries(root: string): CpioEntry[] {
  const base = join(root, 'lib/modules')
  const release = readdirSync(base)[0]
  if (release === undefined) throw new Missing('the kernel package holds no modules')
  const folder = join(base, release)
  const all = modulesBelow(folder)
  const builtin = new Set(
    readFileSync(join(folder, 'modules.builtin'), 'utf8')
      .split('\n')
      .map((line) => basename(line, '.ko').replaceAll('-', '_')),
  )
  const depends = new Map<string, string[]>()
  const contents = new Map<string, Uint8Array>()
  const visit = (name: string): void => {
    if (contents.has(name) || builtin.has(name)) return
    const path = all.get(name)
    if (path === undefined) throw new Missing(`the kernel package holds no module ${name}`)
    const bytes = readFileSync(join(folder, path))
    contents.set(name, bytes)
    const needed = (modinfo(bytes, 'depends')[0] ?? '').split(',').map((other) => other.replaceAll('-', '_'))
    depends.set(
      name,
      needed.filter((other) => other !== '' && !builtin.has(other)),
    )
    for (const other of depends.get(name)!) visit(other)
  }
  for (const name of DRIVERS) visit(name)
  /** What must be there before `name`, nearest first, as depmod writes it. */
  const closure = (name: string): string[] => {
    const order: string[] = []
    const walk = (at: string): void => {
      for (const other of depends.get(at) ?? []) {
        walk(other)
        if (!order.includes(other)) order.push(other)
      }
    }
    walk(name)
    return order.reverse()
  }
  const path = (name: string): string => all.get(name)!
  const dep = [...contents.keys()].map((name) => `${path(name)}: ${closure(name).map(path).join(' ')}`.trimEnd())
  const alias = [...contents].flatMap(([name, bytes]) => modinfo(bytes, 'alias').map((a) => `alias ${a} ${name}`))
  const text = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(`${lines.join('\n')}\n`)
  return [
    ...[...contents].map(([name, data]) => ({ path: `lib/modules/${release}/${path(name)}`, data })),
    { path: `lib/modules/${release}/modules.dep`, data: text(dep) },
    { path: `lib/modules/${release}/modules.alias`, data: text(alias) },
    { path: 'etc/drivers', data: text(DRIVERS.filter((name) => contents.has(name))) },
    { path: 'bin/load-drivers', mode: 0o755, data: new TextEncoder().encode(LOAD_DRIVERS) },
  ]
}

function busyboxEntries(busybox: string): CpioEntry[] {
  const listed = spawnSync(busybox, ['--list'], { encoding: 'utf8' })
  // Where the host cannot run it, /init makes the links.
  const applets = listed.status === 0 ? listed.stdout.split('\n').filter((name) => /^[\w[\]-]+$/.test(name)) : ['sh']
  const folders = [
    'bin',
    'sbin',
    'dev',
    'etc',
    'mnt',
    'proc',
    'root',
    'sys',
    'tmp',
    'usr',
    'usr/bin',
    'usr/sbin',
    'var',
  ]
  return [
    ...folders.map((path): CpioEntry => ({ path, kind: 'directory', ...(path === 'tmp' ? { mode: 0o1777 } : {}) })),
    { path: 'dev/console', kind: 'character', mode: 0o600, major: 5, minor: 1 },
    { path: 'dev/null', kind: 'character', mode: 0o666, major: 1, minor: 3 },
    { path: 'etc/passwd', data: new TextEncoder().encode('root::0:0:root:/root:/bin/sh\n') },
    { path: 'init', mode: 0o755, data: new TextEncoder().encode(INIT) },
    { path: 'bin/busybox', mode: 0o755, data: readFileSync(busybox) },
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name): CpioEntry => ({ path: `bin/${name}`, kind: 'symlink', target: 'busybox' })),
    { path: 'sbin/modprobe', kind: 'symlink', target: '../bin/busybox' },
  ]
}

/** Unpacks a package of an architecture once; returns its folder. */
function unpacked(name: string, architecture: DebianArchitecture): string {
  const archive = download(name, architecture)
  const folder = join(GUESTS, 'unpacked', basename(archive, '.deb'))
  if (!existsSync(folder)) {
    try {
      unpack(archive, folder)
    } catch (error) {
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }
  return folder
}

/** Fetches the kernel and builds both initial RAM disks of an architecture. */
export function makeLinux(architecture: DebianArchitecture): void {
  const flavour = KERNEL_FLAVOURS[architecture]
  const image = firstDependency(download(`linux-image-${flavour}`, architecture))
  const root = unpacked(image, architecture)
  const kernel = readdirSync(join(root, 'boot')).find((file) => file.startsWith('vmlinuz-'))
  if (kernel === undefined) throw new Missing(`package '${image}' holds no kernel`)
  copyFileSync(join(root, 'boot', kernel), join(GUESTS, `linux-${flavour}`))
  const busybox = join(unpacked('busybox-static', architecture), 'bin/busybox')
  const base = busyboxEntries(busybox)
  const plain = buildCpio(base)
  writeFileSync(join(GUESTS, `initrd-${flavour}.cpio`), plain)
  writeFileSync(join(GUESTS, `initrd-${flavour}.cpio.gz`), gzipSync(plain, { level: 9 }))
  const full = buildCpio([...base, ...moduleEntries(root)])
  writeFileSync(join(GUESTS, `initrd-${flavour}-modules.cpio.gz`), gzipSync(full, { level: 9 }))
}

/** Fetches Memtest86+ for both modes. */
export function makeMemtest(): void {
  const root = unpacked('memtest86+', 'amd64')
  for (const mode of ['ia32', 'x64']) {
    copyFileSync(join(root, `boot/memtest86+${mode}.bin`), join(GUESTS, `memtest-${mode}`))
    const iso = join(root, `usr/lib/memtest86+/memtest86+${mode}.iso`)
    if (existsSync(iso)) copyFileSync(iso, join(GUESTS, `memtest-${mode}.iso`))
  }
}

/** Fetches the kernel and the initial RAM disk of Debian's text installer. */
export function makeInstaller(architecture: DebianArchitecture): void {
  const root = unpacked(`debian-installer-12-netboot-${architecture}`, architecture)
  const from = join(root, `usr/lib/debian-installer/images/12/${architecture}/text/debian-installer/${architecture}`)
  const to = join(GUESTS, `installer-${architecture}`)
  mkdirSync(to, { recursive: true })
  for (const file of ['linux', 'initrd.gz']) {
    if (!existsSync(join(from, file))) throw new Missing(`the installer's package holds no ${file}`)
    copyFileSync(join(from, file), join(to, file))
  }
}
