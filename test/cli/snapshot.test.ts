import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { command } from '../../src/cli/command.js'
import { kernel, temporaryFolder } from './guest.js'

const { path, write } = temporaryFolder()
let errors: string[] = []

beforeEach(() => {
  errors = []
  vi.spyOn(console, 'error').mockImplementation((line: string) => void errors.push(line))
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
})

async function virtkit(...args: string[]): Promise<{ status: number; serial: string }> {
  const file = path('serial.txt')
  write('serial.txt', new Uint8Array(0))
  const status = await command(['run', '--memory', '2M', '--serial', file, ...args])
  return { status, serial: readFileSync(file, 'utf8') }
}

const twoLines = write(
  'two-lines.bin',
  kernel(`mov esi, one
          call print
          mov ecx, 1500000
          again: dec ecx
          jnz again
          mov esi, two
          call print
          jmp power_off
          one: db 'one', 10, 0
          two: db 'two', 10, 0`),
)

describe('virtkit run --save and --load', () => {
  const saved = path('machine.snapshot')

  it('go on where the first run ended, on any engine', async () => {
    const first = await virtkit('--kernel', twoLines, '--until', 'one', '--save', saved)
    expect(first).toEqual({ status: 0, serial: 'one\n' })
    for (const engine of ['threaded', 'reference']) {
      expect(await virtkit('--load', saved, '--engine', engine), engine).toEqual({ status: 0, serial: 'two\n' })
    }
    expect(errors).toEqual([])
  })

  it('refuse another machine, foreign and truncated files: status 4 and one line', async () => {
    await virtkit('--kernel', twoLines, '--until', 'one', '--save', saved)
    const whole = readFileSync(saved)
    const cases: [string[], RegExp][] = [
      [['--load', saved, '--smp', '2'], /machine: saved cpus/],
      [['--load', saved, '--memory', '3M'], /other RAM ranges/],
      [['--load', saved, '--cpu', '80486'], /state is that of a x86-64-v2/],
      [['--load', write('short.snapshot', whole.subarray(0, whole.length - 9))], /truncated or damaged/],
      [['--load', twoLines], /something else/],
      [['--load', path('missing.snapshot')], /cannot be read/],
    ]
    for (const [args, message] of cases) {
      errors = []
      expect((await virtkit(...args)).status, args.join(' ')).toBe(4)
      expect(errors).toEqual([expect.stringMatching(message)])
    }
  })

  it('refuse a kernel beside a saved machine, and a place that cannot be written', async () => {
    expect((await virtkit('--load', saved, '--kernel', twoLines)).status).toBe(2)
    expect((await virtkit('--kernel', twoLines, '--save', path('no/such/folder'))).status).toBe(4)
  })
})
