/** How the machines that we are compared with are started: each with the options that suit it best. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT: string = fileURLToPath(new URL('..', import.meta.url))

/** Debian's two kernels. */
export type Kernel = '686' | 'amd64'

/** What a guest is started with. */
export interface Guest {
  /** Path of the kernel. */
  readonly kernel: string
  /** Path of the initial RAM disk. */
  readonly disk: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
}

/** Path of a file in `.guests`. */
export function guestFile(name: string): string {
  return join(ROOT, '.guests', name)
}

/** A file in an array of its own. */
export function bytesOf(path: string): Uint8Array<ArrayBuffer> {
  const data = readFileSync(path)
  const copy = new Uint8Array(data.length)
  copy.set(data)
  return copy
}

/** Seconds of processor time of this process with all its threads. */
export function ownProcessor(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Seconds of processor time that a process has used, from `/proc`; where there is none, NaN. */
export function processorOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    // utime and stime, in hundredths of a second.
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return Number.NaN
  }
}

// --- v86 ----------------------------------------------------------------------------------------------------------------

/**
 * v86's options besides the guest, as the report names them. ACPI stays off, as is v86's default: with it this kernel finds another clock and interrupt
 * controllers and needs 1.5 to 2 s more to userspace.
 */
export const V86_OPTIONS = { acpi: false, disable_speaker: true, net_device: { type: 'none' } } as const

/** Boots Linux in v86 in this process. Returns when `done` does. */
export async function runV86(guest: Guest, onByte: (value: number) => void, done: () => boolean): Promise<void> {
  const { V86 } = await import('v86')
  const folder = dirname(createRequire(import.meta.url).resolve('v86'))
  const buffer = (path: string): { buffer: ArrayBuffer } => ({ buffer: bytesOf(path).buffer })
  const options = {
    wasm_path: join(folder, 'v86.wasm'),
    memory_size: guest.memory,
    bios: buffer(guestFile('bios.bin')),
    vga_bios: buffer(guestFile('vgabios-stdvga.bin')),
    bzimage: buffer(guest.kernel),
    initrd: buffer(guest.disk),
    cmdline: guest.commandLine,
    autostart: false,
    ...V86_OPTIONS,
  }
  const emulator = new V86(options as unknown as ConstructorParameters<typeof V86>[0])
  await new Promise<void>((resolve) => {
    emulator.add_listener('serial0-output-byte', (value: number) => {
      onByte(value)
      if (done()) resolve()
    })
    emulator.add_listener('emulator-loaded', () => void emulator.run())
  })
}

/** The version of the package that is installed here. */
export function v86Version(): string {
  const text = readFileSync(join(ROOT, 'node_modules/v86/package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

// --- QEMU ---------------------------------------------------------------------------------------------------------------

/**
 * QEMU's options besides the guest. The processor is its default (qemu32, qemu64): an Intel model of its age makes the 64-bit kernel change page tables at
 * every system call, which costs QEMU a TLB flush.
 */
export const QEMU_OPTIONS: readonly string[] = [
  ...['-M', 'pc', '-accel', 'tcg,thread=single', '-smp', '1', '-display', 'none', '-vga', 'none', '-net', 'none'],
  ...['-no-reboot', '-monitor', 'none', '-serial', 'stdio'],
]

/** The program that emulates a kernel's processor and no more. */
export function qemuName(kernel: Kernel): string {
  return kernel === '686' ? 'qemu-system-i386' : 'qemu-system-x86_64'
}

/** Whether a program runs here. */
export function runs(command: string): boolean {
  return spawnSync(command, ['--version']).status === 0
}

/** Starts QEMU; its standard output is the console. */
export function spawnQemu(kernel: Kernel, guest: Guest): ChildProcess {
  return spawn(
    qemuName(kernel),
    [
      ...[...QEMU_OPTIONS, '-m', String(guest.memory >> 20)],
      ...['-kernel', guest.kernel, '-initrd', guest.disk, '-append', guest.commandLine],
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
}

/** Starts QEMU and returns when `done` does; `pid` is told first. */
export async function runQemu(
  kernel: Kernel,
  guest: Guest,
  onByte: (value: number) => void,
  done: () => boolean,
  onPid: (pid: number) => void,
): Promise<void> {
  const child = spawnQemu(kernel, guest)
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => resolve())
    onPid(child.pid!)
    child.stdout!.on('data', (data: Buffer) => {
      for (const value of data) onByte(value)
      if (done()) resolve()
    })
  }).finally(() => child.kill())
}

/** What a program says of its version. */
export function versionOf(command: string): string {
  const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' })
  return (stdout ?? '').split('\n')[0]!.replace(/^.*version /, '')
}

// --- the machine --------------------------------------------------------------------------------------------------------

/** Where a benchmark ran. */
export interface MachineFacts {
  readonly date: string
  readonly processor: string
  readonly processors: number
  /** GiB. */
  readonly memory: number
  readonly system: string
  readonly node: string
  readonly v86: string
  readonly qemu: string
  /** Load average of the last minute. */
  readonly load: number
}

/** This machine, now. */
export function machineFacts(): MachineFacts {
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model ?? 'unknown processor',
    processors: cpus().length,
    memory: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${arch()}`,
    node: process.version,
    v86: v86Version(),
    qemu: runs(qemuName('686')) ? versionOf(qemuName('686')) : 'not installed',
    load: Number(loadavg()[0]!.toFixed(2)),
  }
}

/** Processors' busy and total hundredths of a second since the machine started; undefined where Linux does not tell. */
export function busyTicks(): { busy: number; total: number } | undefined {
  if (!existsSync('/proc/stat')) return undefined
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1, 9).map(Number)
  const total = fields.reduce((sum, n) => sum + n, 0)
  // The fourth and the fifth are idle and waiting for disks.
  return { busy: total - fields[3]! - fields[4]!, total }
}
