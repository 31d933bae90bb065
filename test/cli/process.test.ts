/** The command as a process: its streams, signals and status. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { kernel, temporaryFolder } from './guest.js'

const { path, write } = temporaryFolder()
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes))
  const ended = once(child, 'close').then(([status, signal]) => ({
    status: status as number | null,
    signal: signal as string | null,
    out: Buffer.concat(out),
    err: Buffer.concat(err).toString(),
  }))
  return { child, ended }
}

describe('virtkit as a process', () => {
  it('gives the serial port on stdout byte for byte, and the status of the guest', async () => {
    const guest = kernel(`
      xor ecx, ecx
      mov dx, 0x3f8
    next:
      mov al, cl
      out dx, al
      inc cl
      jnz next
      mov al, 16
      out 0xf4, al
      jmp $`)
    const { status, out, err } = await start('run', '--kernel', write('bytes.bin', guest)).ended
    expect([...out]).toEqual(Array.from({ length: 256 }, (_, i) => i))
    expect({ status, err }).toEqual({ status: 33, err: '' })
  })

  it('says one line on stderr when it cannot start', async () => {
    const { status, out, err } = await start('run', '--kernel', path('nowhere')).ended
    expect({ status, out: out.length }).toEqual({ status: 4, out: 0 })
    expect(err).toMatch(/^virtkit: run: kernel '.*nowhere' cannot be read: no such file or folder\n$/)
  })

  it('ends with status 130 at Ctrl-C', async () => {
    const guest = write('loop.bin', kernel(`mov esi, text\n call print\n jmp $\n text: db 'ready', 10, 0`))
    const { child, ended } = start('run', '--kernel', guest)
    await once(child.stdout, 'data')
    child.kill('SIGINT')
    const { status, err } = await ended
    expect({ status, err }).toEqual({ status: 130, err: 'virtkit: interrupted\n' })
  })

  it('ends when the reader of its output goes away', async () => {
    const guest = write(
      'chatter.bin',
      kernel(`again: mov esi, text\n call print\n jmp again\n text: db 'chatter', 10, 0`),
    )
    const { child, ended } = start('run', '--kernel', guest)
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const { status, err } = await ended
    expect({ status, err }).toEqual({
      status: 4,
      err: 'virtkit: run: standard output cannot be written: its reader has gone\n',
    })
  })
})
