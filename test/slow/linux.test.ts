/**
 * Debian's Linux started directly, both kernels, with one and two processors: to the shell, through some commands, to power-off; its log has no
 * complaint that it does not make in QEMU's machine of the same devices, too. And the command line, as a user would type it.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { KERNELS, linuxAt, linuxNeeds } from './linux-states.js'
import { guestFile, needs, SerialShell } from './real-guest.js'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const GUESTS = fileURLToPath(new URL('../../.guests/', import.meta.url))
const LIMIT_MS = 3_000_000

const MACHINES = { '686': 'i686', amd64: 'x86_64' } as const

/** Warnings and worse of a raw kernel log, without times and with numbers that differ from run to run made equal. */
function complaints(log: string): string[] {
  return log
    .replaceAll('\r', '')
    .split('\n')
    .map((line) => /^<([0-9]+)>\[ *[0-9.]+\] (.*)$/.exec(line))
    .filter((match): match is RegExpExecArray => match !== null && (Number(match[1]) & 7) <= 4)
    .map((match) => match[2]!.replaceAll(/0x[0-9a-f]+|\d+(\.\d+)?/g, '#'))
}

/** What the log says that it does not say in QEMU's machine. */
function newComplaints(raw: string, log: string): string[] {
  const known = new Set(complaints(new TextDecoder().decode(guestFile(log))))
  return complaints(raw).filter((line) => !known.has(line))
}

describe.skipIf(linuxNeeds.skip)(`Linux, started directly${linuxNeeds.why}`, () => {
  it.each(KERNELS)('%s has reached its shell, obeys, complains no more than in QEMU and powers off', async (kernel) => {
    const pc = await linuxAt(kernel, 'shell')
    const shell = new SerialShell(pc)
    expect(await shell.run('uname -m')).toContain(MACHINES[kernel])
    expect(await shell.run('nproc')).toMatch(/^1$/m)
    expect(await shell.run('echo $((6 * 7)); seq 1 1000 | md5sum')).toContain('53d025127ae99ab79e8502aae2d9bea6')
    const raw = await shell.run('dmesg -r')
    const log = `dmesg-qemu-${kernel}.txt`
    if (!needs(log).skip) expect(newComplaints(raw, log)).toEqual([])
    pc.serial.write('poweroff -f\n')
    expect((await pc.run({ instructions: 2e9 })).reason).toBe('power-off')
  })

  it.each([
    ['686', '32'],
    ['amd64', '64'],
  ] as const)(
    'virtkit run starts %s (entry %s) with two processors, gives it commands from a pipe, and ends with 0',
    {
      timeout: LIMIT_MS,
    },
    async (kernel, entry) => {
      const args = [
        ...['--import', 'tsx', MAIN, 'run', '--memory', '256M', '--append', 'console=ttyS0', '--smp', '2'],
        ...['--kernel', `${GUESTS}linux-${kernel}`, '--initrd', `${GUESTS}initrd-${kernel}.cpio.gz`, '--entry', entry],
      ]
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
      let out = ''
      child.stdout.on('data', (bytes: Buffer) => {
        out += bytes.toString()
      })
      child.stdin.end('uname -sm\nnproc\ndmesg -r\npoweroff -f\n')
      const status = await new Promise((resolve) => child.once('close', resolve))
      expect(out).toMatch(new RegExp(`^Linux ${MACHINES[kernel]}\\r?$`, 'm'))
      expect(out).toMatch(/^2\r?$/m)
      expect(status).toBe(0)
      const log = `dmesg-qemu-${kernel}-smp2.txt`
      if (!needs(log).skip) expect(newComplaints(out, log)).toEqual([])
    },
  )
})
