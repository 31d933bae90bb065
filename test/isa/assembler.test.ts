import { describe, expect, test } from 'vitest'
import { VirtkitError } from '../../src/contracts/index.js'
import { type AssemblyDiagnostic, assemble, MAX_OUTPUT_BYTES } from '../../src/isa/assembler.js'

function hex(source: string, bits: 16 | 32 | 64 = 16): string {
  return Buffer.from(assemble(source, { bits }).bytes).toString('hex')
}

function faults(source: string, bits: 16 | 32 | 64 = 16): readonly AssemblyDiagnostic[] {
  try {
    assemble(source, { bits })
  } catch (error) {
    if (!(error instanceof VirtkitError)) throw error
    expect(error.code).toBe('bad-syntax')
    return error.cause as readonly AssemblyDiagnostic[]
  }
  return []
}

describe('program structure', () => {
  test('a boot sector: origin, labels, data, padding, signature', () => {
    const { bytes, origin, symbols, listing } = assemble(`
      org 0x7c00
      start:  mov si, message
      .next:  lodsb
              or al, al
              jz .done
              mov ah, 0x0e
              int 0x10
              jmp .next
      .done:  hlt
              jmp .done
      message db 'Hi', 13, 10, 0
      times 510-($-$$) db 0
      dw 0xaa55
    `)
    expect(bytes.length).toBe(512)
    expect(origin).toBe(0x7c00)
    expect(Buffer.from(bytes.subarray(0, 21)).toString('hex')).toBe('be117cac08c07406b40ecd10ebf5f4ebfd48690d0a')
    expect(symbols.get('start')).toBe(0x7c00)
    expect(symbols.get('start.next')).toBe(0x7c03)
    expect(symbols.get('message')).toBe(0x7c11)
    expect(listing[0]).toMatchObject({ line: 3, address: 0x7c00, source: '      start:  mov si, message' })
    expect([...listing[1]!.bytes]).toEqual([0xac])
    expect([...bytes.subarray(510)]).toEqual([0x55, 0xaa])
  })

  test('bits switches the code size, in brackets too', () => {
    expect(hex('inc eax\n[bits 32]\ninc eax\nbits 64\ninc eax\nuse16\ninc ax')).toBe('664040ffc040')
  })

  test('options: origin, code size, defines, includes', () => {
    const include = (name: string): string => (name === 'a.inc' ? 'value equ SIZE * 2' : '')
    const { bytes, origin } = assemble('%include "a.inc"\nhere: dd value, here', {
      org: 0x100,
      bits: 32,
      defines: { SIZE: 21 },
      include,
    })
    expect([...bytes]).toEqual([42, 0, 0, 0, 0, 1, 0, 0])
    expect(origin).toBe(0x100)
    expect(() => assemble('', { org: 0.5 })).toThrow(expect.objectContaining({ code: 'bad-argument' }))
    expect(() => assemble('', { bits: 8 as 16 })).toThrow(expect.objectContaining({ code: 'bad-argument' }))
    expect(() => assemble('', { defines: { A: Number.NaN } })).toThrow(
      expect.objectContaining({ code: 'bad-argument' }),
    )
  })

  test('org takes a constant known by then, and $$ is it', () => {
    expect(hex('LOAD equ 0x600\norg LOAD\ndw $, $$, $-$$')).toBe('000600060000')
  })

  test('alignment counts from the start of the image and fills with NOP or what is asked for', () => {
    expect(hex('db 1\nalign 4\ndb 2\nalign 4, db 0\ndb 3\nalignb 8\ndb 4')).toBe(
      '019090900200000003' + '00'.repeat(7) + '04',
    )
    expect(hex('db 1\nalign 8, 0xcc')).toBe('01' + 'cc'.repeat(7))
  })

  test('reservations are zeros; absolute and struc only count', () => {
    expect(hex('resb 2\nresw 1\nresd 1\nresq 1')).toBe('00'.repeat(16))
    const { symbols, bytes } = assemble(`
      struc point
      .x: resd 1
      .y: resd 2
      endstruc
      mov ax, [bx+point.y]
      absolute 0x500
      buffer: resb 16
      times 3 resw 1
      after:
    `)
    expect(Object.fromEntries(symbols)).toEqual({
      point: 0,
      'point.x': 0,
      'point.y': 4,
      point_size: 12,
      buffer: 0x500,
      after: 0x516,
    })
    expect([...bytes]).toEqual([0x8b, 0x47, 4])
  })

  test('jumps grow only as far as they must, also when one growth causes the next', () => {
    // 0 to 127 bytes away is short. Inserting one byte makes the second jump near, and that makes the first near.
    const chain = (n: number): number =>
      assemble(`a: jmp c\nb: jmp d\ntimes ${n} nop\nc: times 2 nop\nd:`, { bits: 32 }).bytes.length
    expect(chain(125)).toBe(2 + 2 + 125 + 2)
    expect(chain(126)).toBe(5 + 5 + 126 + 2)
  })

  test('alignment that absorbs the growth of a jump leaves no stale distance behind', () => {
    const { bytes, symbols } = assemble(
      'org 0x7c00\njmp x\ntimes 20 nop\nadd cx, x\nalign 16\ntimes 110 nop\nadd si, x\nx:',
    )
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    expect(view.getUint16(3 + 20 + 2, true)).toBe(symbols.get('x'))
    expect(0x7c03 + view.getInt16(1, true)).toBe(symbols.get('x'))
  })

  test('a large program with jumps in both directions settles, and every jump lands', () => {
    const count = 1500
    const source = Array.from(
      { length: count },
      (_, i) => `l${i}: cmp eax, [ebx+${i}]\njne l${(i + 13) % count}\ntimes ${i % 7} nop\njmp l${(i * 7) % count}`,
    )
    const { bytes, symbols, listing } = assemble(source.join('\n'), { bits: 32 })
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (const { source: text, address, bytes: code } of listing) {
      const target = /^j\w+ (l\d+)$/.exec(text)?.[1]
      if (target === undefined) continue
      const end = address + code.length
      const distance = code.length === 2 ? view.getInt8(end - 1) : view.getInt32(end - 4, true)
      expect(end + distance).toBe(symbols.get(target))
      if (code.length > 2) expect(distance < -128 - 3 || distance > 127 - 4).toBe(true)
    }
  })

  test('a chain in which each jump makes the one before it near settles too', () => {
    // Every jump reaches over the next 25 jumps and 75 bytes: exactly 127 as long as all of them are short.
    const jumps = Array.from({ length: 400 }, (_, i) => `l${i}: jmp l${i + 26}\ntimes 3 nop`)
    const tail = Array.from({ length: 26 }, (_, i) => `l${400 + i}: times ${i === 0 ? 9 : 5} nop`)
    const { bytes } = assemble([...jumps, ...tail].join('\n'), { bits: 32 })
    expect(bytes.length).toBeGreaterThan(400 * 8)
  })

  test('forward references shrink immediates and displacements of distances, never of addresses', () => {
    expect(hex('add ax, b-a\nmov ax, [bx+b-a]\na: nop\nb:')).toBe('83c0018b470190')
    expect(hex('add ax, b\nmov ax, [bx+b]\nb:')).toBe('0507008b870700')
  })

  test('equ may refer forward and to other constants', () => {
    expect(hex('dw a, b\na equ b + 1\nb equ c * 2\nc equ 5')).toBe('0b000a00')
  })

  test('default rel makes label addresses RIP-relative in 64-bit code', () => {
    expect(hex('default rel\nmov eax, [x]\nmov eax, [abs x]\nmov eax, [fs:x]\nmov eax, [8]\nx:', 64)).toBe(
      '8b0516000000' + '8b04251c000000' + '648b04251c000000' + '8b042508000000',
    )
    expect(hex('org 0x1000\nmov eax, [rel 0x1006]\n', 64)).toBe('8b0500000000')
  })

  test('local labels belong to the label before; $name escapes; ..@name changes nothing', () => {
    const { symbols } = assemble('a:\n.x: nop\nb:\n.x: nop\njmp a.x\n..@y: nop\n.z:\n$eax: dw $eax')
    expect([...symbols.keys()]).toEqual(['a', 'a.x', 'b', 'b.x', '..@y', 'b.z', 'eax'])
  })
})

describe('preprocessor', () => {
  test('define, xdefine, undef, assign', () => {
    expect(hex('%define A 5\n%define B A+1\n%define A 7\ndb A, B*2')).toBe('0709')
    expect(hex('%define A 5\n%xdefine B A\n%define A 7\ndb A, B')).toBe('0705')
    expect(hex('%define f(x, y) (x)*10+y\ndb f(1+1, 3)')).toBe('17')
    expect(hex('%assign n 3\n%assign n n*n\ndb n')).toBe('09')
    expect(hex('%define A 1\n%undef A\n%ifdef A\ndb 1\n%else\ndb 2\n%endif')).toBe('02')
  })

  test('a define that names itself is not expanded again', () => {
    expect(hex('%define a a\na equ 5\ndb a')).toBe('05')
  })

  test('conditions', () => {
    const pick = (condition: string): string => hex(`X equ 3\n%define D 1\n${condition}\ndb 1\n%else\ndb 2\n%endif`)
    expect(pick('%if X > 2 && D')).toBe('01')
    expect(pick('%ifn X = 3')).toBe('02')
    expect(pick('%ifndef D')).toBe('02')
    expect(pick('%ifidn a b, a b')).toBe('01')
    expect(pick('%ifidni A, a')).toBe('01')
    expect(pick('%ifnum 5')).toBe('01')
    expect(pick('%ifnnum eax')).toBe('01')
    expect(pick('%ifid eax')).toBe('01')
    expect(pick('%ifstr "a"')).toBe('01')
    expect(pick('%ifempty')).toBe('01')
    expect(pick('%if 0\n%if 1\ndb 8\n%endif\ndb 9\n%elif 0\ndb 7\n%elif 1\ndb 6\n%elif 1\ndb 5')).toBe('06')
  })

  test('macros: parameters, defaults, local labels, greedy last parameter, overloads, rotation', () => {
    expect(hex('%macro m 2\nmov %1, %2\n%endmacro\nm ax, 5\nm bl, 6')).toBe('b80500b306')
    expect(hex('%macro m 1-3 8, 9\ndb %1, %2, %3, %0\n%endmacro\nm 1\nm 1, 2')).toBe('0108090301020903')
    expect(hex('%macro wait_for 1\n%%again: in al, %1\njmp %%again\n%endmacro\nwait_for 0x60\nwait_for 0x64')).toBe(
      'e460ebfce464ebfc',
    )
    expect(hex('%macro text 1+\ndb %1, 0\n%endmacro\ntext "a", 1, 2')).toBe('61010200')
    expect(hex('%macro m 1\ndb 1\n%endmacro\n%macro m 2\ndb 2\n%endmacro\nm 0\nm 0, 0\nx: m 0')).toBe('010201')
    expect(hex('%macro each 1-*\n%rep %0\ndb %1\n%rotate 1\n%endrep\n%endmacro\neach 4, 5, 6')).toBe('040506')
    expect(hex('%macro j 2\nj%1 %2\n%endmacro\nx: j nz, x')).toBe('75fe')
    expect(hex('%macro m 1\ndb %{1}0\n%endmacro\nm {1, 2}')).toBe('0114')
    expect(hex("%macro m 1\ndb '%1', %1\n%endmacro\nm 5")).toBe('253105')
    expect(hex('%macro outer 1\n%macro_inner_%1:\n%endmacro')).toBe('')
  })

  test('recursive macros end by their condition', () => {
    expect(hex('%macro down 1\ndb %1\n%if %1 > 0\n%assign k %1 - 1\ndown k\n%endif\n%endmacro\ndown 3').length).toBe(8)
  })

  test('rep repeats, nests, and exits', () => {
    expect(hex('%assign i 0\n%rep 3\n%rep 2\ndb i\n%endrep\n%assign i i+1\n%endrep')).toBe('000001010202')
    expect(hex('%assign i 0\n%rep 100\n%if i = 3\n%exitrep\n%endif\ndb i\n%assign i i+1\n%endrep')).toBe('000102')
  })

  test('strings are UTF-8 in every kind of quotes; back quotes have escapes', () => {
    expect(hex('db \'é\', "😀"')).toBe('c3a9f09f9880')
    expect(hex('db `é😀\\n\\xff\\0`')).toBe('c3a9f09f98800aff00')
  })

  test('lines continue after a backslash', () => {
    expect(hex('db 1, \\\n 2, \\\n 3\ndb 4')).toBe('01020304')
  })
})

describe('faults', () => {
  test.each([
    ['unknown mnemonic', 'nop\nmovv ax, 5', 2, "unknown mnemonic 'movv'"],
    ['a lone word', 'clii', 1, "unknown mnemonic 'clii' (a label needs a colon)"],
    ['undefined symbol', 'nop\nnop\njmp nowhere', 3, "undefined symbol 'nowhere'"],
    ['undefined local symbol', 'a:\njmp .b', 2, "undefined symbol 'a.b'"],
    ['duplicate label', 'a:\nnop\na:', 3, "'a' is already defined in line 1"],
    ['short jump', 'jmp short x\ntimes 200 nop\nx:', 1, 'target is 200 bytes away: a short jump reaches -128 to 127'],
    ['loop', 'x: times 200 nop\nloop x', 2, 'target is -202 bytes away: a short jump reaches -128 to 127'],
    ['operand sizes', 'mov ax, bl', 1, "'mov' cannot take ax, bl"],
    ['too many operands', 'hlt ax', 1, "'hlt' cannot take ax: expected no operands"],
    ['no size', 'inc [bx]', 1, 'operation size not specified'],
    ['no size, byte or word', 'mov [bx], 5', 1, 'operation size not specified'],
    ['byte too big', 'mov al, 256', 1, 'value 256 does not fit in 8 bits'],
    ['word too big', 'mov ax, 65536', 1, 'value 65536 does not fit in 16 bits'],
    ['data too big', 'db -129', 1, 'value -129 does not fit in 8 bits'],
    ['address too big', 'mov al, [0x12345]', 1, 'address 74565 does not fit in 16 bits'],
    ['address pair', 'mov al, [ax+bx]', 1, 'no such 16-bit address'],
    ['missing bracket', 'mov al, [bx', 1, "expected ']' after the address, found the end of the line"],
    ['missing operand', 'mov ax,', 1, 'expected an expression, found the end of the line'],
    ['trailing text', 'mov ax, 5 6', 1, "expected ',' or the end of the line, found '6'"],
    ['bad number', 'mov ax, 12z', 1, "'12z' is not a number"],
    ['open string', "db 'abc", 1, "string without its closing '"],
    ['division by zero', 'db 1 / 0', 1, 'division by zero'],
    ['negative times', 'times -1 nop', 1, 'repeat count -1 is negative'],
    ['odd alignment', 'align 3', 1, 'alignment 3 is not a power of two'],
    ['64-bit register in 16-bit code', 'mov rax, 5', 1, "register 'rax' exists only in 64-bit code"],
    ['section', 'section .text', 1, "'section' has no meaning here: the output is one flat image"],
    ['keyword as label', 'loop:', 1, "'loop' is a keyword and cannot be a label: write $loop"],
    ['endif', '%endif', 1, "'%endif' without %if"],
    ['open if', 'nop\n%if 1', 2, '%if without its %endif'],
    ['open macro', '%macro m 0\nnop', 1, "'%macro' without its %endmacro"],
    ['macro arguments', '%macro m 2\n%endmacro\nm 5', 3, "macro 'm' takes 2 arguments, found 1"],
    ['in a macro', '%macro m 1\nmov ax, %1\n%endmacro\nnop\nm bl', 5, 'in macro m'],
    ['unknown directive', '%frobnicate', 1, "unknown directive '%frobnicate'"],
    ['%error', '%error "no"', 1, 'no'],
    ['include', '%include "x"', 1, "cannot include 'x': no include option was given"],
    ['circular equ', 'a equ b\nb equ a', 1, "undefined symbol 'b'"],
    ['early constant', '%if later\n%endif\nlater equ 1', 1, "'later' is not known yet"],
    ['code after absolute', 'absolute 0\nnop', 2, "only reservations (resb …) are possible after 'absolute'"],
    ['second org', 'org 1\norg 2', 2, "second 'org'"],
    ['conflicting address size', 'a16 mov al, [eax]', 1, 'address-size prefix for 16 bits, but registers of 32 bits'],
  ])('%s', (_name, source, line, message) => {
    const list = faults(source)
    expect(list[0]).toBeDefined()
    expect(list[0]!.message).toContain(message)
    expect(list[0]!.line).toBe(line)
  })

  test.each([
    ['high byte and REX', 'mov ah, r8b', "register 'ah' cannot be used together with r8b"],
    ['64-bit immediate', 'add rax, 0x80000000', 'value 2147483648 does not fit in 32 signed bits'],
    ['removed instruction', 'pusha', "'pusha' does not exist in 64-bit code"],
    ['16-bit address', 'mov al, [bx]', '16-bit addresses do not exist in 64-bit code'],
    ['rsp as index', 'mov al, [rsp*2]', 'rsp cannot be the index'],
    ['scale', 'mov al, [rax*6]', 'factor 6'],
    ['push of 32 bits', 'push eax', "'push' cannot take eax"],
    ['out of reach', 'mov eax, [rel 0x100000000]', 'out of reach'],
  ])('in 64-bit code: %s', (_name, source, message) => {
    expect(faults(source, 64)[0]?.message).toContain(message)
  })

  test('the message holds line number, line and reason; several faults come together, at most twenty', () => {
    expect(() => assemble('nop\n  movv ax\nnop\nint 300')).toThrow(/^line 2: unknown mnemonic 'movv'\n {4}movv ax$/)
    expect(() => assemble('mov ax, bl\nmov al, 300')).toThrow(/line 1: [\s\S]*line 2: value 300/)
    expect(faults('bad x\n'.repeat(50)).length).toBe(20)
  })
})

describe('limits', () => {
  test.each([
    ['times 1e12', 'times 1000000000000 db 0'],
    ['nested times', 'times 100000 times 100000 nop'],
    ['many empty repetitions', 'times 60000000 times 60000000 times 0 nop'],
    ['reservation', 'resq 0x7fffffffffffffff'],
    ['too much in all', 'resb 0x2000000\nresb 0x2000000\ndb 1'],
    ['alignment', 'db 1\nalign 0x40000000'],
    ['recursive macro', '%macro m 0\nm\n%endmacro\nm'],
    ['doubling macro', '%macro m 0\nm\nm\n%endmacro\nm'],
    ['growing arguments', '%macro m 1\nm {%1 %1 %1 %1}\n%endmacro\nm nop'],
    ['endless rep', '%rep 1000000000000\n%endrep'],
    ['nested rep', '%rep 10000\n%rep 10000\n%endrep\n%endrep'],
    ['include loop', '%include "self"'],
    ['deep parentheses', `db ${'('.repeat(5000)}1${')'.repeat(5000)}`],
    ['deep unary', `db ${'-'.repeat(5000)}1`],
    [
      'doubling defines',
      Array.from({ length: 40 }, (_, i) => `%define a${i + 1} a${i} a${i}`).join('\n') + '\n%define a0\ndb 1 a40',
    ],
    ['sizes that never settle', 'a: times (b - a) % 2 + 1 db 0\nb:'],
  ])('%s is refused', (_name, source) => {
    expect(() => assemble(source, { include: () => '%include "self"' })).toThrow(
      expect.objectContaining({ code: 'bad-syntax' }),
    )
  })

  test('an image of exactly the limit is possible', () => {
    expect(assemble(`times ${MAX_OUTPUT_BYTES} db 0x90`).bytes.length).toBe(MAX_OUTPUT_BYTES)
  })
})
