/**
 * The kernel log of our guests in QEMU's `pc` machine with the devices that ours has: what ours is compared with. One file per kernel and number of processors,
 * `.guests/dmesg-qemu-686.txt`, `-686-smp2.txt` and so on, in the raw form of dmesg, with levels.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseLinux } from '../src/machine/linux.js'
import { type DebianArchitecture, GUESTS, Missing } from './debian.js'
import { KERNEL_FLAVOURS, READY } from './linux-guests.js'

const QEMU = 'qemu-system-x86_64'
const LIMIT_MS = 240_000
const BEGIN = 'dmesg begins'
const END = 'dmesg ends'

/** The file that {@link makeDmesg} writes. */
function dmesgFile(architecture: DebianArchitecture, cpus: number): string {
  return join(GUESTS, `dmesg-qemu-${KERNEL_FLAVOURS[architecture]}${cpus === 1 ? '' : `-smp${cpus}`}.txt`)
}

/** Boots the kernel and its initial RAM disk in QEMU, asks for the log and stores it, unless it is there for this kernel. */
export async function makeDmesg(architecture: DebianArchitecture, cpus: number): Promise<void> {
  const flavour = KERNEL_FLAVOURS[architecture]
  const kernel = join(GUESTS, `linux-${flavour}`)
  if (!existsSync(kernel)) throw new Missing(`there is no ${kernel}`)
  const version = parseLinux(readFileSync(kernel)).version.split(' ')[0]!
  const file = dmesgFile(architecture, cpus)
  if (existsSync(file) && readFileSync(file, 'utf8').includes(`Linux version ${version} `)) return
  if (spawnSync(QEMU, ['--version']).error) throw new Missing(`${QEMU} is not on this machine`)
  const child = spawn(
    QEMU,
    [
      ...['-M', 'pc', '-cpu', 'Nehalem', '-smp', String(cpus), '-m', '256', '-vga', 'std', '-net', 'none'],
      // Time by instructions, so that calibrations do not depend on the host's load; with several processors QEMU does not get far that way.
      ...(cpus === 1 ? ['-icount', 'shift=3,sleep=off'] : []),
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot', '-rtc', 'base=2024-01-01'],
      ...['-kernel', kernel, '-initrd', join(GUESTS, `initrd-${flavour}.cpio.gz`), '-append', 'console=ttyS0'],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const timer = setTimeout(() => child.kill(), LIMIT_MS)
  let out = ''
  let asked = false
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString('latin1')
    const ready = out.indexOf(READY)
    if (asked || ready < 0 || !out.includes('# ', ready)) return
    asked = true
    // The sleep lets the line drain. The words are cut in two so that the echo of the command is not taken for its output.
    const [b, e] = [BEGIN, END].map((text) => text.replace(' ', `' '`))
    child.stdin.write(`stty -echo; echo '${b}'; dmesg -r; echo '${e}'; sleep 3; poweroff -f\n`)
  })
  await new Promise((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  const from = out.indexOf(BEGIN)
  const to = out.indexOf(END, from)
  if (from < 0 || to < 0)
    throw new Error(`${QEMU} did not get to the log; its last line: ${out.trim().split('\n').at(-1)}`)
  writeFileSync(
    file,
    out
      .slice(from + BEGIN.length, to)
      .replaceAll('\r', '')
      .trimStart(),
  )
}
