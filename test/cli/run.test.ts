import { mkdirSync, readFileSync } from 'node:fs'
import { decode } from 'fast-png'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { command } from '../../src/cli/command.js'
import { parseSize } from '../../src/cli/run-options.js'
import { parseTyping } from '../../src/cli/typing.js'
import { MODEL_NAMES } from '../../src/cpu/index.js'
import { elf, kernel, temporaryFolder } from './guest.js'

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

/** Runs the command with its serial output in a file. */
async function virtkit(...args: string[]): Promise<{ status: number; serial: string; errors: string[] }> {
  const file = path('serial.txt')
  write('serial.txt', new Uint8Array(0))
  const status = await command(['run', '--memory', '2M', '--serial', file, ...args])
  return { status, serial: readFileSync(file, 'utf8'), errors }
}

const hello = write('hello.bin', kernel(`mov esi, text\n call print\n jmp power_off\n text: db 'hello', 10, 0`))

describe('virtkit run: how a guest ends', () => {
  it.each(['threaded', 'reference'])('0 when it powers off (%s)', async (engine) => {
    const { status, serial } = await virtkit('--kernel', hello, '--engine', engine)
    expect({ status, serial }).toEqual({ status: 0, serial: 'hello\n' })
  })

  it('(value << 1) | 1 through isa-debug-exit', async () => {
    const status = async (value: number) =>
      (await virtkit('--kernel', write('exit.bin', kernel(`mov al, ${value}\n out 0xf4, al\n jmp $`)))).status
    expect(await status(0)).toBe(1)
    expect(await status(0x10)).toBe(33)
    // A process has eight bits of status.
    expect(await status(0x80)).toBe(1)
  })

  it('70 at a triple fault', async () => {
    const { status } = await virtkit('--kernel', write('triple.bin', kernel('lidt [none]\n int3\n none: dw 0, 0, 0')))
    expect(status).toBe(70)
    expect(errors).toEqual(['virtkit: the guest caused a triple fault'])
  })

  it('72 at HLT with interrupts off', async () => {
    const { status } = await virtkit('--kernel', write('halt.bin', kernel('cli\n hlt')))
    expect(status).toBe(72)
    expect(errors).toEqual([expect.stringContaining('halted for good')])
  })

  it('72 as well when it sleeps and nothing is left that could wake it', async () => {
    expect((await virtkit('--kernel', write('sleep.bin', kernel('sti\n hlt')))).status).toBe(72)
    expect(errors).toEqual([expect.stringContaining('nothing is left that could wake it')])
  })

  it('124 when the time is up, whether it spins or sleeps', async () => {
    // The second one sleeps with the timer ticking behind a closed mask.
    const sleeps = `mov al, 0xff\n out 0x21, al\n mov al, 0x34\n out 0x43, al\n out 0x40, al\n out 0x40, al\n sti\n hlt`
    for (const body of ['jmp $', sleeps]) {
      errors = []
      const { status } = await virtkit('--kernel', write('spin.bin', kernel(body)), '--timeout', '0.05')
      expect(status).toBe(124)
      expect(errors).toEqual(['virtkit: the time limit has passed'])
    }
  })

  it('0 at a reset with --no-reboot', async () => {
    const guest = write('reboot.bin', kernel('mov al, 0xfe\n out 0x64, al\n jmp $'))
    expect((await virtkit('--kernel', guest, '--no-reboot', '--timeout', '60')).status).toBe(0)
  })

  it('0 once the text of --until is there', async () => {
    const guest = write('until.bin', kernel(`mov esi, text\n call print\n jmp $\n text: db 'ready', 0`))
    const { status, serial } = await virtkit('--kernel', guest, '--until', 'ready', '--timeout', '60')
    expect({ status, serial }).toEqual({ status: 0, serial: 'ready' })
  })
})

describe('virtkit run: what it passes in and out', () => {
  it('the command line and modules', async () => {
    const guest = kernel(`
      mov ebp, ebx
      mov esi, [ebp + 16]
      call print
      mov edi, [ebp + 24]
      mov esi, [edi + 8]
      call print
      mov esi, [edi]
      call print
      jmp power_off`)
    const module = write('module.bin', new TextEncoder().encode('<module>\0'))
    const { status, serial } = await virtkit(
      '--kernel',
      write('args.bin', guest),
      '--append',
      'a=1 b',
      '--module',
      `${module}=x=y`,
    )
    expect({ status, serial }).toEqual({ status: 0, serial: 'a=1 bx=y<module>' })
  })

  it('typed keys, after a text was waited for', async () => {
    const guest = kernel(`
      mov esi, prompt
      call print
    next:
      call key
      cmp al, 0xf0            ; a key was released
      jne pressed
      call key
      jmp next
    pressed:
      mov dx, 0x3f8
      add al, 0x20
      out dx, al
      cmp al, 0x7a
      jne next
      jmp power_off
    key:
      in al, 0x64
      test al, 1
      jz key
      in al, 0x60
      ret
      prompt: db 'name?', 0`)
    const { status, serial } = await virtkit(
      '--kernel',
      write('keys.bin', guest),
      '--type',
      '{wait:name?}ab{5}\\n',
      '--timeout',
      '60',
    )
    // Without firmware nobody switched translation on, so this is scan code set 2, plus 20h: A = 1C, B = 32, Enter = 5A.
    expect({ status, serial }).toEqual({ status: 0, serial: 'name?<Rz' })
  })

  it('the screen as a PNG, and statistics on stderr', async () => {
    const guest = kernel(`mov dword [0xb8000], 0x1f421f41\n jmp power_off`)
    const png = path('screen.png')
    expect((await virtkit('--kernel', write('screen.bin', guest), '--display', `png:${png}`, '--stats')).status).toBe(0)
    const picture = decode(readFileSync(png))
    expect([picture.width, picture.height]).toEqual([720, 400])
    // Attribute 1F: a blue background in the corner of the first cell.
    expect([...picture.data.slice(0, 3)]).toEqual([0, 0, 170])
    const table = errors.join('\n')
    expect(table).toMatch(/instructions +\d/)
    expect(table).toMatch(/TLB misses +\d+ {2}\(\d+\.\d+ per 1000 instructions\)/)
    const times = table.slice(table.indexOf('where the time went:')).split('\n')
    const names = times.slice(1).map((line) => /^ {2}(\S.*?) {2,}[\d.]+ s +[\d.]+ %/.exec(line)?.[1])
    expect(names).toEqual([
      ...[
        'compiled code',
        'between blocks',
        'lifting',
        'translation: emission',
        'translation: modules',
        'MMU slow path',
      ],
      ...['helpers', 'single steps', 'interrupts, events', 'devices', 'other: the machine', 'other: the host', 'sum'],
    ])
  })

  it('the firmware log in a file', async () => {
    const guest = kernel(`mov dx, 0x402\n mov al, '!'\n out dx, al\n jmp power_off`)
    expect((await virtkit('--kernel', write('log.bin', guest), '--firmware-log', path('log.txt'))).status).toBe(0)
    expect(readFileSync(path('log.txt'), 'utf8')).toBe('!')
  })

  it.each(MODEL_NAMES.filter((name) => name !== '8086' && name !== '80286'))('runs on --cpu %s', async (cpu) => {
    expect((await virtkit('--kernel', hello, '--cpu', cpu)).status).toBe(0)
  })
})

describe('virtkit run: bad input', () => {
  mkdirSync(path('folder'))
  const empty = write('empty.bin', new Uint8Array(0))
  const zeros = write('zeros.img', new Uint8Array(8192))
  const bootSector = new Uint8Array(512)
  bootSector.set([0x55, 0xaa], 510)
  const linux = new Uint8Array(4096)
  linux.set(new TextEncoder().encode('HdrS'), 0x202)
  linux.set([0x55, 0xaa], 0x1fe)
  const header = kernel('nop').subarray(0, 32)
  const withHeader = (image: Uint8Array): Uint8Array => {
    // A multiboot header without address fields, behind the ELF file.
    const out = new Uint8Array(((image.length + 3) & ~3) + 12)
    out.set(image)
    new Uint32Array(out.buffer, out.length - 12).set([0x1badb002, 0, -0x1badb002 >>> 0])
    return out
  }
  const code = new Uint8Array(64).fill(0x90)

  const cases: [string, number, RegExp, string[]][] = [
    ['nothing to start', 2, /--kernel FILE, --bios FILE or --load FILE was expected/, []],
    ['an unknown flag', 2, /Unknown option '--kernal'; see 'virtkit help run'/, ['--kernal', hello]],
    ['a flag without its value', 2, /--kernel <value>' argument missing/, ['--kernel']],
    ['a stray word', 2, /Unexpected argument 'x'/, ['--kernel', hello, 'x']],
    [
      'a processor that is none',
      2,
      /--cpu: one of 8086, .* was expected, got 'z80'/,
      ['--kernel', hello, '--cpu', 'z80'],
    ],
    [
      'an engine that is none',
      2,
      /--engine: one of translated, threaded, reference was expected, got 'jit'/,
      ['--kernel', hello, '--engine', 'jit'],
    ],
    [
      'a display that is none',
      2,
      /--display: none, text or png:FILE was expected, got 'png'/,
      ['--kernel', hello, '--display', 'png'],
    ],
    [
      'memory that is no size',
      2,
      /--memory: a size such as 512M was expected, got 'lots'/,
      ['--kernel', hello, '--memory', 'lots'],
    ],
    [
      'no memory',
      2,
      /--memory: a multiple of 1M, at least 1M, was expected, got '0'/,
      ['--kernel', hello, '--memory', '0'],
    ],
    ['odd memory', 2, /--memory: a multiple of 1M/, ['--kernel', hello, '--memory', '1000K']],
    ['more memory than there can be', 2, /memory: at most \d+ MiB fit/, ['--kernel', hello, '--memory', '64G']],
    [
      'a timeout that is none',
      2,
      /--timeout: a positive number of seconds was expected, got '-1'/,
      ['--kernel', hello, '--timeout=-1'],
    ],
    [
      'a date that is none',
      2,
      /--date: a date such as .* was expected, got 'now'/,
      ['--kernel', hello, '--date', 'now'],
    ],
    [
      'a boot order of other letters',
      2,
      /--boot: letters a, c, d were expected, got 'x'/,
      ['--kernel', hello, '--boot', 'x'],
    ],
    ['an empty text to wait for', 2, /--until: a text to wait for was expected/, ['--kernel', hello, '--until', '']],
    ['keys that no keyboard has', 2, /--type: no key of a US keyboard types "é"/, ['--kernel', hello, '--type', 'é']],
    [
      'a brace that means nothing',
      2,
      /--type: \{milliseconds\} or \{wait:TEXT\} was expected, got '\{x\}'/,
      ['--kernel', hello, '--type', '{x}'],
    ],
    ['firmware and a kernel', 2, /either --kernel or --bios was expected/, ['--kernel', hello, '--bios', zeros]],
    ['a command line without a kernel', 2, /--append goes with --kernel/, ['--bios', zeros, '--append', 'x']],
    ['a CD that is not there', 4, /nowhere: no such file/, ['--bios', zeros, '--cdrom', path('nowhere')]],
    [
      'four disks and a CD',
      2,
      /at most three besides --cdrom were expected, got 4/,
      ['--bios', zeros, '--cdrom', zeros, ...['--drive', zeros, '--drive', zeros, '--drive', zeros, '--drive', zeros]],
    ],
    ['a RAM disk without a kernel', 2, /--initrd goes with --kernel/, ['--bios', zeros, '--initrd', zeros]],
    ['a RAM disk for Multiboot', 2, /--initrd is for Linux/, ['--kernel', hello, '--initrd', zeros]],
    ['an entry of Multiboot', 2, /--entry is for Linux/, ['--kernel', hello, '--entry', '64']],
    ['no processors', 2, /--smp: a number from 1 to 32 was expected, got '0'/, ['--kernel', hello, '--smp', '0']],
    ['a pace that is none', 2, /--pace: one of virtual, host/, ['--kernel', hello, '--pace', 'fast']],
    ['a seed that is none', 2, /--seed: a number/, ['--kernel', hello, '--seed', 'x']],
    ['a journal that is none', 2, /journal, line 1/, ['--kernel', hello, '--replay', zeros]],
    [
      'a journal that cannot be written',
      4,
      /journal '.*folder' cannot be written: it is a folder/,
      ['--kernel', hello, '--journal', path('folder')],
    ],
    ['recording a replay', 2, /either --journal or --replay/, ['--kernel', hello, '--journal', 'a', '--replay', 'b']],
    [
      'a drive option that is none',
      2,
      /--drive: 'cow' is not known; readonly was expected/,
      ['--bios', zeros, '--drive', `${zeros},cow`],
    ],
    [
      'five drives',
      2,
      /--drive: at most four were expected, got 5/,
      ['--bios', zeros, ...Array<string[]>(5).fill(['--drive', zeros]).flat()],
    ],

    ['a missing kernel', 4, /kernel '.*nowhere' cannot be read: no such file/, ['--kernel', path('nowhere')]],
    ['a folder as a kernel', 4, /kernel '.*folder': a regular file was expected/, ['--kernel', path('folder')]],
    ['an empty kernel', 4, /kernel '.*empty.bin': the file is empty/, ['--kernel', empty]],
    [
      'zeros as a kernel',
      4,
      /kernel '.*zeros.img': a Linux kernel \(bzImage\), or a Multiboot 1 header in the first 8 KiB, was expected/,
      ['--kernel', zeros],
    ],
    [
      'a boot sector as a kernel',
      4,
      /this is a boot sector: start it with --bios/,
      ['--kernel', write('boot.bin', bootSector)],
    ],
    [
      'Linux as a kernel',
      4,
      /Linux kernel: boot protocol 0.00 is older than 2.02/,
      ['--kernel', write('linux.bin', linux)],
    ],
    [
      'a header with cut address fields',
      4,
      /the address fields are truncated/,
      ['--kernel', write('cut.bin', header.subarray(0, 20))],
    ],
    [
      'an ELF kernel whose segment is cut',
      4,
      /segment 0 is truncated/,
      ['--kernel', write('cut.elf', withHeader(elf(0x100000, [{ at: 0x100000, bytes: code }]).subarray(0, 100)))],
    ],
    [
      'an ELF kernel with overlapping segments',
      4,
      /segments 0 and 1 overlap in memory/,
      [
        '--kernel',
        write(
          'overlap.elf',
          withHeader(
            elf(0x100000, [
              { at: 0x100000, bytes: code },
              { at: 0x100020, bytes: code },
            ]),
          ),
        ),
      ],
    ],
    [
      'an ELF kernel that enters nowhere',
      4,
      /entry point 0x200000 lies in no segment/,
      ['--kernel', write('entry.elf', withHeader(elf(0x200000, [{ at: 0x100000, bytes: code }])))],
    ],
    [
      'a kernel for more memory than there is',
      4,
      /which are not RAM of this machine/,
      ['--kernel', write('high.elf', withHeader(elf(0x4000000, [{ at: 0x4000000, bytes: code }])))],
    ],
    [
      'a kernel with a bss of 4 GiB',
      4,
      /which are not RAM of this machine/,
      ['--kernel', write('bss.elf', withHeader(elf(0x100000, [{ at: 0x100000, bytes: code, memory: 0xffffffff }])))],
    ],
    ['a missing module', 4, /module '.*nowhere' cannot be read/, ['--kernel', hello, '--module', path('nowhere')]],
    ['missing firmware', 4, /firmware '.*nowhere' cannot be read: no such file/, ['--bios', path('nowhere')]],
    [
      'firmware of an odd size',
      4,
      /a multiple of 4096 bytes up to 16 MiB was expected, got 512 bytes/,
      ['--bios', path('boot.bin')],
    ],
    [
      'a video BIOS that is none',
      4,
      /an option ROM of at most 64 KiB that starts with 55 AA was expected/,
      ['--bios', zeros, '--vga-bios', zeros],
    ],
    [
      'a truncated video BIOS',
      4,
      /its header promises 32768 bytes, got 512/,
      [
        '--bios',
        zeros,
        '--vga-bios',
        write(
          'vga.bin',
          Uint8Array.from({ length: 512 }, (_, i) => [0x55, 0xaa, 64][i] ?? 0),
        ),
      ],
    ],
    ['a missing drive', 4, /nowhere: no such file/, ['--bios', zeros, '--drive', path('nowhere')]],
    ['a folder as a drive', 4, /folder: .*regular file/, ['--bios', zeros, '--drive', path('folder')]],
    [
      'an empty drive',
      4,
      /a disk has a multiple of 512 bytes, more than 0; got 0/,
      ['--bios', zeros, '--drive', empty],
    ],
    [
      'a truncated drive',
      4,
      /a multiple of 512 bytes, more than 0; got 32/,
      ['--bios', zeros, '--drive', write('odd.img', header)],
    ],
    [
      'a floppy of no known size',
      4,
      /an image of 160, .* KiB was expected, got 8192 bytes/,
      ['--bios', zeros, '--floppy', zeros],
    ],
    [
      'a picture in no folder',
      4,
      /cannot be written: no such file or folder/,
      ['--kernel', hello, '--display', `png:${path('no/x.png')}`],
    ],
    [
      'a picture that is a folder',
      4,
      /cannot be written: it is a folder/,
      ['--kernel', hello, '--display', `png:${path('folder')}`],
    ],
    [
      'a log that is a folder',
      4,
      /cannot be written: it is a folder/,
      ['--kernel', hello, '--firmware-log', path('folder')],
    ],
  ]

  it.each(cases)('%s: status %i and one line', async (_, expected, message, args) => {
    const { status } = await virtkit(...args)
    expect(errors).toHaveLength(1)
    expect(errors[0]).toMatch(message)
    expect(errors[0]).toMatch(/^virtkit: [^\n]+$/)
    expect(status).toBe(expected)
  })

  it('an unknown command', async () => {
    expect(await command(['boot'])).toBe(2)
    expect(errors).toEqual([`virtkit: there is no command 'boot': run, demo, explain or help was expected`])
  })

  it('help is no error', async () => {
    for (const args of [[], ['help'], ['--help'], ['help', 'run'], ['run', '--help']])
      expect(await command(args)).toBe(0)
    expect(errors).toEqual([])
  })
})

describe('small parsers', () => {
  it('sizes', () => {
    expect(parseSize('1M')).toBe(1048576)
    expect(parseSize('65536k')).toBe(67108864)
    expect(parseSize('2G')).toBe(2147483648)
    expect(parseSize('4194304')).toBe(4194304)
  })

  it('scripts of keys', () => {
    expect(parseTyping('a\\n{250}{wait:b c}\\\\')).toEqual([
      { kind: 'keys', text: 'a\n' },
      { kind: 'pause', ns: 250e6 },
      { kind: 'wait', text: 'b c' },
      { kind: 'keys', text: '\\' },
    ])
  })
})
