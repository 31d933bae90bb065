/** Regions of several pages, and instructions of helpers that regions run themselves. */

import { describe, expect, it } from 'vitest'
import { agree as agreeWith, statistics } from './translated-boards.js'

const TRANSLATION = { heat: 20, batch: 1, regionPages: 8 } as const

const agree = (source: string, options: Parameters<typeof agreeWith>[1]): ReturnType<typeof agreeWith> =>
  agreeWith(source, { translation: TRANSLATION, ...options })

/** A loop that calls a function in the next page, which calls one in the page after that. */
const CALLS = (extra: string, inside = ''): string => `
again: inc ecx
call f
add edx, eax
mov ebx, g
call ebx
xor edx, eax
${extra}
jmp again
times 0x1000-($-$$) nop
f: mov eax, 5
add eax, ecx
call g
${inside}
ret
times 0x2000-($-$$) nop
g: mov esi, 3
rol eax, 3
add eax, esi
ret
`

describe('regions of several pages', () => {
  it('keep calls and returns inside', () => {
    const board = agree(CALLS(''), { instructions: 20_000 })
    const { regions } = statistics(board)
    expect(regions).toBeGreaterThan(0)
    const { engine } = (board.cpu as unknown as { engine: { engine: { counters(): Record<string, number> } } }).engine
    const counters = engine.counters()
    // Without them every turn of 16 instructions has six jumps between pages.
    expect(counters['left: jump']).toBeLessThan(2000)
  })

  it('leave when a page is mapped to other code', () => {
    // The function's page and another with other code take turns.
    const turn = `
mov edi, ecx
and edi, 63
jnz stay
xor dword [0x41084], 0x5000
invlpg [0x21000]
stay:`
    const other = 'times 0x4000-($-$$) nop\nmov eax, 7\nsub eax, ecx\nnop\ncall g\nret\n'
    agree(`${CALLS(turn)}${other}`.replace('0x5000', '0x5000'), {
      instructions: 30_000,
      change: (board) => {
        // 21000h xor 5000h = 24000h, where the other code is.
        expect(board.cpu.s.cr3).toBe(0x40000)
      },
    })
  })

  it('leave when a page is gone for the TLB without having been flushed away', () => {
    // 221000h and 21000h share the entry of the instruction TLB.
    const source = CALLS('test ecx, 15\njnz past\ncall 0x221000\npast:')
    agree(source, {
      instructions: 30_000,
      change: (board) => {
        const at = 0x41000 + 0x221 * 4
        board.space.write32(at, 0x21003)
      },
    })
  })

  it('run through another mapping', () => {
    agree(CALLS('test ecx, 127\njnz past\njmp 0x120000+again-$$\npast:'), {
      instructions: 30_000,
      change: (board) => {
        board.space.write32(0x41000 + 0x121 * 4, 0x21003)
        board.space.write32(0x41000 + 0x122 * 4, 0x22003)
      },
    })
  })

  for (const [name, store] of [
    ['a store', 'inc byte [0x21001]'],
    ['a string operation', 'mov edi, 0x21001\nmov esi, 0x31000\npush ecx\nmov ecx, 2\nrep movsb\npop ecx'],
    [
      'a string operation over all of it',
      'mov edi, 0x21100\nmov eax, 0x90909090\npush ecx\nmov ecx, 64\nrep stosd\npop ecx',
    ],
    ['a store through another mapping', 'inc byte [0x121001]'],
  ] as const)
    it(`see ${name} change code of another page`, () => {
      const board = agree(CALLS(`test ecx, 31\njnz past\n${store}\npast:`), {
        instructions: 30_000,
        change: (b) => b.space.write32(0x41000 + 0x121 * 4, 0x21003),
      })
      expect(statistics(board).regions).toBeGreaterThan(0)
    })

  it('see code change behind the call that is on', () => {
    agree(CALLS('', 'test ecx, 31\njnz past\ninc byte [0x20000+17]\npast:'), { instructions: 30_000 })
  })
})

describe('helpers with a short way in regions', () => {
  const loop = (body: string): string =>
    `again: inc ecx\n${body}\ntest ecx, 7\njnz again\nadd [0x30000], edx\njmp again`

  it.each([
    ['RDTSC', 'rdtsc\nadd edx, eax\nrdtsc\nxor edx, eax'],
    ['RDTSCP', 'push ecx\nrdtscp\nadd edx, ecx\npop ecx\nadd edx, eax'],
    ['PAUSE', 'pause\nadd edx, ecx\npause'],
    ['CLI and STI', 'cli\nadd edx, 3\nsti\nadd edx, ecx'],
    ['PUSHF and POPF', 'add edx, ecx\npushfd\nxor eax, edx\npopfd\nadc edx, 1'],
    ['segment loads', 'push ds\nmov ax, 16\nmov es, ax\nadd edx, ecx\nmov fs, ax\npop ds'],
    ['CMPXCHG8B', 'mov eax, [0x30100]\nmov ebx, ecx\nlock cmpxchg8b [0x30100]\nadc edx, eax'],
    ['a null selector in between', 'xor eax, eax\ntest ecx, 15\njnz past\nmov fs, ax\npast: mov gs, ax\nadd edx, ecx'],
  ])('%s', (_, body) => {
    const board = agree(loop(body), { instructions: 12_000, step: 331 })
    expect(statistics(board).regions).toBeGreaterThan(0)
  })

  it('RDTSC after the counter was written, and where only the kernel may read it', () => {
    const wrmsr =
      'test ecx, 31\njnz past\npush ecx\nmov ecx, 0x10\nmov edx, 7\nwrmsr\npop ecx\npast: rdtsc\nadd edx, eax'
    agree(loop(wrmsr), { instructions: 12_000 })
    agree(loop('rdtsc\nadd edx, eax'), {
      instructions: 12_000,
      change: (board) => {
        board.cpu.s.cr4 |= 4
      },
    })
  })
})
