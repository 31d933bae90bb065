/**
 * Debian's Linux started directly, both kernels, with one and two processors: to the shell, through some commands, to power-off; its log has no
 * complaint that it does not make in QEMU's machine of the same devices, too. And the command line, as a user would type it.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Pc } from '../../src/machine/index.js'
import { guestFile, needs, SerialShell } from './real-guest.js'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const GUESTS = fileURLToPath(new URL('../../.guests/', import.meta.url))
/** To the shell it is some seven thousand million instructions; each processor adds its own waiting. */
const BOOT = 20e9
const LIMIT_MS = 3_000_000
const MIB = 1 << 20

const KERNELS = [
  { flavour: '686', machine: 'i686', entry: '32' },
  { flavour: 'amd64', machine: 'x86_64', entry: '32' },
  { flavour: 'amd64', machine: 'x86_64', entry: '64' },
] as const

/** What QEMU's kernels say because its clocks follow a busy host: no excuse for a machine whose clocks are exact. */
const HOST_NOISE = /tsc|clock|calibrat/i

/** Warnings and worse of a raw kernel log, without times and with numbers that differ from run to run made equal. */
function complaints(log: string): string[] {
  return log
    .replaceAll('\r', '')
    .split('\n')
    .map((line) => /^<([0-9]+)>\[ *[0-9.]+\] (.*)$/.exec(line))
    .filter((match): match is RegExpExecArray => match !== null && (Number(match[1]) & 7) <= 4)
    .map((match) => match[2]!.replaceAll(/0x[0-9a-f]+|\d+(\.\d+)?/g, '#'))
}

const matrix = KERNELS.flatMap((kernel) => [1, 2].map((cpus) => ({ ...kernel, cpus })))

describe.each(matrix)('Linux $flavour, entry $entry, processors: $cpus', ({ flavour, machine, entry, cpus }) => {
  const { skip, why } = needs(`linux-${flavour}`, `initrd-${flavour}.cpio.gz`)
  const log = `dmesg-qemu-${flavour}${cpus === 1 ? '' : `-smp${cpus}`}.txt`

  it.skipIf(skip)(
    `reaches its shell, obeys, complains no more than in QEMU and powers off${why}`,
    { timeout: LIMIT_MS },
    async () => {
      const pc = new Pc({ memory: 256 * MIB, cpus })
      pc.loadLinux(guestFile(`linux-${flavour}`), {
        initrd: guestFile(`initrd-${flavour}.cpio.gz`),
        commandLine: 'console=ttyS0',
        entry,
      })
      const shell = new SerialShell(pc)
      await shell.ready(BOOT)
      expect(await shell.run('uname -m')).toContain(machine)
      expect(await shell.run('nproc')).toMatch(new RegExp(`^${cpus}$`, 'm'))
      expect(await shell.run('echo $((6 * 7)); seq 1 1000 | md5sum')).toContain('53d025127ae99ab79e8502aae2d9bea6')
      const raw = await shell.run('dmesg -r')
      if (!needs(log).skip) {
        const inQemu = complaints(new TextDecoder().decode(guestFile(log)))
        const known = new Set(inQemu.filter((line) => !HOST_NOISE.test(line)))
        expect(complaints(raw).filter((line) => !known.has(line))).toEqual([])
      }
      pc.serial.write('poweroff -f\n')
      expect((await pc.run({ instructions: 2e9 })).reason).toBe('power-off')
    },
  )
})

describe('virtkit run', () => {
  const { skip, why } = needs('linux-686', 'initrd-686.cpio.gz')

  it.skipIf(skip)(
    `starts Linux, gives it commands from a pipe, and ends with 0${why}`,
    { timeout: LIMIT_MS },
    async () => {
      const child = spawn(
        process.execPath,
        [
          ...['--import', 'tsx', MAIN, 'run', '--memory', '256M', '--append', 'console=ttyS0'],
          ...['--kernel', `${GUESTS}linux-686`, '--initrd', `${GUESTS}initrd-686.cpio.gz`],
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      )
      let out = ''
      child.stdout.on('data', (bytes: Buffer) => {
        out += bytes.toString()
      })
      child.stdin.end('uname -sm\npoweroff -f\n')
      const status = await new Promise((resolve) => child.once('close', resolve))
      expect(out).toMatch(/^Linux i686\r?$/m)
      expect(status).toBe(0)
    },
  )
})
