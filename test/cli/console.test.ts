import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { command } from '../../src/cli/command.js'
import { EscapeFilter, type InputStream } from '../../src/cli/console.js'
import { Progress, progressText, SILENCE_MS } from '../../src/cli/progress.js'
import { run } from '../../src/cli/run.js'
import { Pc } from '../../src/machine/index.js'
import { runs } from '../runs.js'
import { kernel, temporaryFolder } from './guest.js'

const { path, write } = temporaryFolder()
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (string: string): Uint8Array => new TextEncoder().encode(string)

describe('commands among the keys', () => {
  it.each([
    ['ls\r', 'ls\r', false, false],
    ['a\x01\x01b', 'a\x01b', false, false],
    ['a\x01xb', 'a', true, false],
    ['\x01X', '', true, false],
    ['\x01ha', 'a', false, true],
    // No monitor, and no other command: dropped.
    ['\x01ca', 'a', false, false],
    ['\x03\x04', '\x03\x04', false, false],
  ])('%j', (keys, toGuest, quit, help) => {
    const result = new EscapeFilter().feed(bytes(keys))
    expect([text(result.bytes), result.quit, result.help]).toEqual([toGuest, quit, help])
  })

  it('may be cut anywhere', () => {
    const key = fc.constantFrom('a', '\x01', 'h', 'c', '\r')
    fc.assert(
      fc.property(fc.array(key, { maxLength: 12 }), fc.nat(12), (keys, cut) => {
        const whole = new EscapeFilter().feed(bytes(keys.join('')))
        const filter = new EscapeFilter()
        const first = filter.feed(bytes(keys.slice(0, cut).join('')))
        const second = filter.feed(bytes(keys.slice(cut).join('')))
        expect(text(first.bytes) + text(second.bytes)).toBe(text(whole.bytes))
        expect(first.help || second.help).toBe(whole.help)
      }),
      { numRuns: runs(100) },
    )
  })
})

/** Standard input as tests play it. */
class FakeInput extends EventEmitter {
  readonly modes: boolean[] = []
  paused = false
  readonly isTTY: boolean

  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }

  setRawMode(mode: boolean): this {
    this.modes.push(mode)
    return this
  }

  pause(): this {
    this.paused = true
    return this
  }

  resume(): this {
    this.paused = false
    return this
  }

  get stream(): InputStream {
    return this as unknown as InputStream
  }
}

/** Sends back what it gets, by interrupt; ends at '!'. */
const ECHO = kernel(`
    lidt [idt_pointer]
    lgdt [gdt_pointer]
    jmp 8:flat
  flat:
    mov eax, handler
    mov [idt + 36 * 8], ax
    mov word [idt + 36 * 8 + 2], 8
    mov word [idt + 36 * 8 + 4], 0x8e00
    shr eax, 16
    mov [idt + 36 * 8 + 6], ax
    mov al, 0x11
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0xef
    out 0x21, al
    mov dx, 0x3f9
    mov al, 1
    out dx, al
    mov dx, 0x3fc
    mov al, 0x0b
    out dx, al
    sti
  sleep:
    hlt
    jmp sleep
  handler:
    mov dx, 0x3f8
    in al, dx
    cmp al, 33
    je power_off
    out dx, al
    mov al, 0x20
    out 0x20, al
    iret
  gdt:
    dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
  gdt_pointer:
    dw 23
    dd gdt
  idt_pointer:
    dw 511
    dd idt
  idt:
    times 512 db 0`)

describe('the console', () => {
  let errors: string[] = []
  beforeEach(() => {
    errors = []
    vi.spyOn(console, 'error').mockImplementation((line: string) => void errors.push(line))
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** Runs the echoing guest with input that `play` sends; its output goes to a file that counts as standard output does. */
  async function session(
    input: FakeInput,
    play: () => void,
    ...more: string[]
  ): Promise<{ status: number; out: string }> {
    const chunks: string[] = []
    const { Output } = await import('../../src/cli/output.js')
    vi.spyOn(Output.prototype, 'flush').mockImplementation(function (this: object) {
      const self = this as unknown as { used: number; bytes: Uint8Array; descriptor: number }
      if (self.descriptor === 1) chunks.push(text(self.bytes.slice(0, self.used)))
      self.used = 0
    })
    setTimeout(play, 30)
    const status = await run(['--memory', '2M', '--kernel', write('echo.bin', ECHO), ...more], { input: input.stream })
    return { status, out: chunks.join('') }
  }

  it('passes what a pipe gives to the guest, which may sleep for it', async () => {
    const input = new FakeInput(false)
    const { status, out } = await session(input, () => {
      input.emit('data', Buffer.from('hello '))
      setTimeout(() => {
        input.emit('data', Buffer.from('world!'))
        input.emit('end')
      }, 30)
    })
    expect({ status, out }).toEqual({ status: 0, out: 'hello world' })
    expect(input.modes).toEqual([])
  })

  it('loses nothing of more than the line can hold', async () => {
    const input = new FakeInput(false)
    const long = 'x'.repeat(66_000)
    let paused = false
    const { status, out } = await session(input, () => {
      input.emit('data', Buffer.from(`${long}!`))
      paused = input.paused
      input.emit('end')
    })
    expect(status).toBe(0)
    expect(out.length).toBe(long.length)
    expect(paused).toBe(true)
  })

  it('ends nothing when the input ends, but a guest that waits for it is halted for good', async () => {
    const input = new FakeInput(false)
    const { status, out } = await session(input, () => {
      input.emit('data', Buffer.from('abc'))
      input.emit('end')
    })
    expect({ status, out }).toEqual({ status: 72, out: 'abc' })
  })

  it('has a terminal in raw mode until Ctrl-A x', async () => {
    const input = new FakeInput(true)
    const { status, out } = await session(input, () => {
      input.emit('data', Buffer.from('a\x03\x01\x01'))
      input.emit('data', Buffer.from('\x01h'))
      setTimeout(() => input.emit('data', Buffer.from('\x01x')), 60)
    })
    expect(status).toBe(0)
    expect(out).toContain('a\x03\x01')
    expect(out).toMatch(/Ctrl-A x {7}end the run\r\n/)
    expect(input.modes).toEqual([true, false])
    expect(input.listenerCount('data')).toBe(0)
  })

  it('gives the terminal back when the run fails', async () => {
    const input = new FakeInput(true)
    vi.spyOn(Pc.prototype, 'run').mockRejectedValue(new Error('broken'))
    await expect(session(input, () => {})).rejects.toThrow('broken')
    expect(input.modes).toEqual([true, false])
  })

  it('is recorded and replayed', async () => {
    const input = new FakeInput(false)
    const journal = path('session.journal')
    const first = await session(
      input,
      () => {
        input.emit('data', Buffer.from('once more'))
        setTimeout(() => input.emit('data', Buffer.from(' and the end!')), 20)
      },
      ...['--journal', journal, '--date', '2024-02-29', '--seed', '7'],
    )
    expect(first).toEqual({ status: 0, out: 'once more and the end' })
    vi.restoreAllMocks()
    const log = path('replayed.txt')
    const args = ['run', '--kernel', path('echo.bin'), '--replay', journal, '--serial', log]
    expect(await command(args)).toBe(0)
    expect(readFileSync(log, 'utf8')).toBe(first.out)
    vi.spyOn(console, 'error').mockImplementation((line: string) => void errors.push(line))
    expect(await command([...args, '--memory', '4M'])).toBe(2)
    expect(errors).toEqual([
      expect.stringMatching(/^virtkit: journal: it was recorded with memory 2097152, this machine has/),
    ])
  })
})

describe('the progress line', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('tells instructions, speed and virtual time', () => {
    expect(progressText(12_300_000, 85e6, 1.25e9)).toBe('[12 million instructions, 85 MIPS, 1.3 s of virtual time]')
    expect(progressText(71e9, 85e6, 710e9)).toMatch(/^\[71\.0 thousand million instructions/)
  })

  it('comes after silence, goes before output, and leaves an unfinished line alone', () => {
    const written: string[] = []
    const pc = { instructions: 0, clock: { now: () => pc.instructions * 10 } }
    const progress = new Progress(pc as unknown as Pc, (line) => void written.push(line))
    const pass = (ms: number, instructions: number): void => {
      for (let n = 0; n < ms; n += 500) {
        pc.instructions += instructions
        vi.advanceTimersByTime(500)
      }
    }
    pass(SILENCE_MS - 500, 1e7)
    expect(written).toEqual([])
    pass(1000, 1e7)
    expect(written.at(-1)).toContain('million instructions, 20 MIPS')
    progress.noteOutput(10)
    expect(written.at(-1)).toBe('\r\x1b[K')
    written.length = 0
    progress.noteOutput(36)
    pass(5000, 1e7)
    expect(written).toEqual([])
    // A guest that sleeps has nothing to tell.
    progress.noteOutput(10)
    pass(5000, 10)
    expect(written).toEqual([])
    progress.close()
    pass(5000, 1e7)
    expect(written).toEqual([])
  })
})
