/** The translated engine around its regions: code that changes, moves or is mapped twice, eviction, single steps, hosts that refuse, several processors. */

import { afterEach, describe, expect, it, vi } from 'vitest'
import { FLAG_TF } from '../../src/isa/flags.js'
import { assemble } from '../../src/isa/index.js'
import { hashState, Pc } from '../../src/machine/index.js'
import { EAGER, ENGINES, EqualityBoard } from './equality-board.js'
import { DEFAULT_MODEL } from './equality-rows.js'
import { agree, expectSame, image, start, statistics } from './translated-boards.js'
import { LOOP_MODES, loopProgram } from './translated-programs.js'

const LOOP = 'again: add eax, ecx\nxor edx, eax\ninc ecx\ntest ecx, 7\njnz again\nadd [0x30000], edx\njmp again'

describe('code that changes', () => {
  it('in the loop that runs', () => {
    const board = agree(
      'again: mov eax, 1\nadd edx, eax\ninc ecx\ntest ecx, 31\njnz again\ninc byte [0x20001]\njmp again',
    )
    expect(statistics(board).dropped).toBeGreaterThan(0)
    expect(board.cpu.s.reg32(2)).toBeGreaterThan(1000)
  })

  it('right before it runs', () => {
    agree('again: inc byte [there+1]\nthere: mov al, 1\nadd edx, eax\ninc ecx\njmp again')
  })

  it('where instructions have no records', () => {
    agree(
      'again: inc ecx\ntest ecx, 63\njnz on\nxor byte [there+1], 1\non: nop\nthere: nop\nnop\nadd edx, eax\njmp again',
    )
  })

  it('through its other mapping', () => {
    agree('again: mov eax, 1\nadd edx, eax\ninc ecx\ntest ecx, 31\njnz again\ninc byte [0x120001]\njmp again')
  })

  it('by string operations over it', () => {
    agree(
      'again: mov ecx, 40\nbody: add edx, 3\ndec ecx\njnz body\nmov edi, body\nmov esi, 0x31000\nlea esi, [body]\nmov ecx, 3\nrep movsb\ninc byte [body+2]\njmp again',
    )
  })
})

describe('code that moves', () => {
  it('runs at two linear addresses', () => {
    // The distance between the mappings is added to the return address each time around.
    agree(
      'again: mov ecx, 30\nbody: add edx, ecx\ncall next\nnext: pop eax\nsub eax, ebx\nxor edx, eax\ndec ecx\njnz body\ncall on\non: pop eax\nxor eax, 0x100000\nadd eax, again-on\njmp eax',
    )
  })

  it('is mapped to another frame, with and without INVLPG', () => {
    const source = `again: mov esi, 0x25000
      mov ecx, 40
    body: call 0x25000
      dec ecx
      jnz body
      xor dword [0x41094], 0x3000
      test edi, 1
      jz without
      invlpg [0x25000]
    without: inc edi
      jmp again`
    const code = assemble('bits 32\norg 0x25000\nmov eax, 3\nlp: add edx, eax\ndec eax\njnz lp\nret').bytes
    const other = assemble('bits 32\norg 0x25000\nmov eax, 5\nlp: xor edx, eax\ndec eax\njnz lp\nret').bytes
    agree(source, {
      instructions: 12_000,
      change: (board) => {
        for (let n = 0; n < code.length; n++) board.space.write8(0x25000 + n, code[n]!)
        for (let n = 0; n < other.length; n++) board.space.write8(0x26000 + n, other[n]!)
      },
    })
  })
})

describe('translated code and the rest', () => {
  it('is single-stepped now and then', () => {
    const board = agree(
      `${LOOP.replace('jmp again', `pushf\nxor dword [esp], ${FLAG_TF}\ntest ecx, 24\njnz off\npopf\njmp again\noff: add esp, 4\njmp again`)}`,
    )
    expect(board.space.read32(0x30ff0)).toBeGreaterThan(0)
    expect(statistics(board).regions).toBeGreaterThan(0)
  })

  it('keeps to budgets of every length', () => {
    for (let step = 1; step < 20; step++) agree(LOOP, { instructions: 100, step, translation: EAGER })
  })

  it('hears of interrupts in the middle of loops', () => {
    // A square wave on IRQ 0, and the handler of vector 20h.
    const board = agree(`sti\n${LOOP}`, {
      change: (b) => {
        b.space.write32(0x2000 + 0x20 * 8, 0x89100)
        b.space.write32(0x2004 + 0x20 * 8, 0x8e00)
        const handler = assemble(
          'bits 32\norg 0x9100\npush eax\nmov al, 0x20\nout 0x20, al\ninc dword [0x30ff4]\npop eax\niretd',
        )
        handler.bytes.forEach((byte, n) => void b.space.write8(0x9100 + n, byte))
        b.startTimer(7)
      },
    })
    expect(board.space.read32(0x30ff4)).toBeGreaterThan(20)
  })

  it('makes room by evicting single regions', () => {
    const loops = Array.from(
      { length: 12 },
      (_, n) =>
        `l${n}: add eax, ${n}\nsub edx, eax\ndec ecx\njnz l${n}\nmov ecx, 20\njmp near m${n}\ntimes 40 nop\nm${n}:`,
    )
    const board = agree(`again: mov ecx, 20\n${loops.join('\n')}\njmp again`, {
      instructions: 8000,
      translation: { heat: 30, batch: 1, codeBytes: 9000, regionInstructions: 8 },
    })
    expect(statistics(board).evicted).toBeGreaterThan(5)
    const { translator } = (board.cpu as unknown as { engine: { engine: { translator: { size: number } } } }).engine
      .engine
    expect(translator.size).toBeLessThanOrEqual(9000)
  })
})

describe('a host that refuses to compile', () => {
  afterEach(() => vi.restoreAllMocks())

  it('leaves the threaded engine to go on', () => {
    const memory = image(LOOP)
    const boards = ENGINES.map((engine) => new EqualityBoard(engine, DEFAULT_MODEL))
    for (const board of boards) start(board, memory)
    const compile = vi.spyOn(WebAssembly, 'Module').mockImplementation(function refuse() {
      throw new RangeError('out of memory')
    } as never)
    for (const board of boards) board.run(3000)
    expect(compile).toHaveBeenCalled()
    for (const board of boards.slice(1)) expectSame(boards[0]!, board)
    expect(statistics(boards.at(-1)!).modules).toBe(0)
  })
})

it('several processors share code that they change', () => {
  // The first wakes the second, which starts at 8000h; both count in a loop that each of them changes now and then.
  const source = `bits 16
    org 0x7c00
    cli
    xor ax, ax
    mov ds, ax
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:main
    align 8
  gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
  gdtr: dw 23
    dd gdt
    bits 32
  main:
    mov ax, 16
    mov ds, ax
    mov ss, ax
    mov esp, 0x7000
    test dword [0x500], 1
    jnz other
    inc dword [0x500]
    mov dword [0xfee00300], 0x000c4500
    mov dword [0xfee00300], 0x000c4607
  other:
    mov ecx, 200
  body: mov eax, 1
    lock add [0x504], eax
    dec ecx
    jnz body
    inc byte [body+1]
    jmp other`
  const bytes = assemble(source).bytes
  const hashes = ENGINES.map((engine) => {
    const pc = new Pc({ memory: 0x200000, engine, cpus: 2, translation: { heat: 50, batch: 1 } })
    pc.loadFlat(bytes, 0x7c00)
    // Where the start-up IPI leads: a jump to the same code.
    for (const [n, byte] of [0xea, 0x00, 0x7c, 0x00, 0x00].entries()) pc.space.write8(0x7000 + n, byte)
    pc.runSync(300_000)
    const found = [pc.space.read32(0x504), hashState(pc.saveState())]
    pc.dispose()
    return found
  })
  expect(hashes[0]![0]).toBeGreaterThan(10_000)
  for (const other of hashes.slice(1)) expect(other).toEqual(hashes[0])
})

it('programs of loops agree in tiny steps', () => {
  for (const mode of LOOP_MODES) {
    const program = loopProgram(mode, 5, { flavour: 'memory' })
    const boards = ENGINES.map((engine) => new EqualityBoard(engine, DEFAULT_MODEL))
    for (const board of boards) {
      board.reset(program.image)
      program.start(board)
    }
    for (let n = 0; n < 20; n++) {
      for (const board of boards) board.run(1 + (n % 9))
      for (const board of boards.slice(1)) expectSame(boards[0]!, board)
    }
  }
})
