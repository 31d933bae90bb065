/** Runs an image on QEMU and on Bochs. Only the recorder uses this: the tests need neither. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { linesOf } from './lines.js'

function withFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'xcheck-'))
  return body(folder).finally(() => rmSync(folder, { recursive: true, force: true }))
}

function run(
  command: string,
  args: readonly string[],
  seconds: number,
  until: (output: string) => boolean,
): Promise<string> {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString('latin1')
      if (until(output)) child.kill('SIGKILL')
    })
    child.on('close', () => {
      clearTimeout(timer)
      resolve(output)
    })
  })
}

/** QEMU TCG, `-cpu max` as an Intel processor. */
export function runQemu(rom: Uint8Array, seconds = 60): Promise<string[]> {
  return withFolder(async (folder) => {
    const bios = join(folder, 'rom')
    const out = join(folder, 'out')
    writeFileSync(bios, rom)
    // biome-ignore format: a dense list reads better
    await run('qemu-system-x86_64', [
      '-accel', 'tcg', '-cpu', 'max,vendor=GenuineIntel', '-m', '16', '-display', 'none', '-net', 'none',
      '-debugcon', `file:${out}`, '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-bios', bios,
    ], seconds, () => false)
    return linesOf(readFileSync(out, 'latin1'))
  })
}

/** Bochs with a Tiger Lake, which has all that our newest model has. Debian's build has the debugger in it, which stops at a reset and is told to go on. */
export function runBochs(rom: Uint8Array, seconds = 90, model = 'tigerlake'): Promise<string[]> {
  return withFolder(async (folder) => {
    const bios = join(folder, 'rom')
    writeFileSync(bios, rom)
    writeFileSync(join(folder, 'commands'), 'c\n'.repeat(200))
    writeFileSync(
      join(folder, 'rc'),
      `romimage: file=${bios}, address=0x${(0x1_0000_0000 - rom.length).toString(16)}
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
megs: 16
cpu: model=${model}, count=1, ips=50000000, reset_on_triple_fault=1, ignore_bad_msrs=0
port_e9_hack: enabled=1
display_library: rfb, options="timeout=0"
plugin_ctrl: speaker=0, serial=0, parallel=0, gameport=0, e1000=0, iodebug=0, extfpuirq=1, biosdev=0, unmapped=1
sound: driver=dummy
log: ${join(folder, 'log')}
boot: disk
clock: sync=none
`,
    )
    return linesOf(
      await run('bochs', ['-q', '-f', join(folder, 'rc'), '-rc', join(folder, 'commands')], seconds, (output) =>
        /^E$/m.test(output),
      ),
    )
  })
}
