import { describe, expect, it } from 'vitest'
import { disassemble, disassembleBytes, registerName } from '../../src/isa/disassembler.js'
import { Instruction } from '../../src/isa/instruction.js'

function text(hex: string, bits: 16 | 32 | 64, address = 0x1000): string {
  const bytes = Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16))
  return disassembleBytes(bytes, bits, address)
    .map((line) => line.text)
    .join('; ')
}

/** Encodings as NASM 2.16 assembles these lines at 1000h; `rel` with a number it warns about, and takes an absolute address. */
const GOLDEN: readonly (readonly [16 | 32 | 64, string, string])[] = [
  [16, 'b8 34 12', 'mov ax, 0x1234'],
  [16, 'ea 00 7c 00 00', 'jmp word 0x0:0x7c00'],
  [16, '66 ea 00 00 01 00 08 00', 'jmp dword 0x8:0x10000'],
  [16, 'a0 34 12', 'mov al, byte [0x1234]'],
  [16, '67 a1 10 00 00 00', 'a32 mov ax, word [0x10]'],
  [16, '26 8b 47 fe', 'mov ax, word [es:bx-0x2]'],
  [16, '8b 46 02', 'mov ax, word [bp+0x2]'],
  [16, '3e 8b 46 02', 'mov ax, word [ds:bp+0x2]'],
  [16, '66 67 8b 04 4b', 'mov eax, dword [ebx+ecx*2]'],
  [16, 'f3 a5', 'rep movsw'],
  [16, 'f3 66 a5', 'rep movsd'],
  [16, 'f2 ae', 'repne scasb'],
  [16, 'f3 a6', 'repe cmpsb'],
  [16, '2e ac', 'cs lodsb'],
  [16, '9c', 'pushf'],
  [16, '66 9c', 'pushfd'],
  [16, 'cf', 'iret'],
  [16, '66 cf', 'iretd'],
  [16, '66 0f 01 17', 'o32 lgdt [bx]'],
  [16, '0f 22 c0', 'mov cr0, eax'],
  [16, '8e d8', 'mov ds, ax'],
  [16, 'e2 fe', 'loop 0x1000'],
  [16, '67 e3 fd', 'jecxz 0x1000'],
  [16, '66 0f 84 00 10 00 00', 'je near dword 0x2007'],
  [16, 'c8 10 00 01', 'enter 0x10, 0x1'],
  [16, 'd5 0a', 'aad 0xa'],
  [32, '75 fe', 'jne short 0x1000'],
  [32, 'e8 fb ff ff ff', 'call 0x1000'],
  [32, '66 e8 fb ff', 'call word 0xfff'],
  [32, '66 6a 05', 'o16 push byte 0x5'],
  [32, '6a ff', 'push byte -0x1'],
  [32, '68 78 56 34 12', 'push dword 0x12345678'],
  [32, '66 06', 'o16 push es'],
  [32, '83 c0 ff', 'add eax, -0x1'],
  [32, '81 44 24 04 ff 00 00 00', 'add dword [esp+0x4], 0xff'],
  [32, '8d 04 85 00 00 00 00', 'lea eax, [nosplit eax*4]'],
  [32, 'ff 28', 'jmp dword far [eax]'],
  [32, '66 ff 18', 'call word far [eax]'],
  [32, 'ff 20', 'jmp dword [eax]'],
  [32, 'c5 03', 'lds eax, [ebx]'],
  [32, '0f b6 05 00 10 00 00', 'movzx eax, byte [0x1000]'],
  [32, 'f0 0f c7 0e', 'lock cmpxchg8b qword [esi]'],
  [32, 'd8 c3', 'fadd st0, st3'],
  [32, 'dd 40 08', 'fld qword [eax+0x8]'],
  [32, 'db 2b', 'fld tword [ebx]'],
  [32, '0f 6f c1', 'movq mm0, mm1'],
  [32, '66 0f 6f 01', 'movdqa xmm0, [ecx]'],
  [32, 'f2 0f 2a c1', 'cvtsi2sd xmm0, ecx'],
  [32, '66 a7', 'cmpsw'],
  [32, '61', 'popad'],
  [32, '66 61', 'popaw'],
  [32, 'cd 80', 'int 0x80'],
  [32, 'cc', 'int3'],
  [32, '66 98', 'cbw'],
  [32, '99', 'cdq'],
  [64, '48 b8 05 00 00 00 00 00 00 00', 'mov rax, strict qword 0x5'],
  [64, '48 c7 c0 05 00 00 00', 'mov rax, strict dword 0x5'],
  [64, '48 a1 88 77 66 55 44 33 22 11', 'mov rax, qword [qword 0x1122334455667788]'],
  [64, '8b 05 10 00 00 00', 'mov eax, dword [rel 0x1016]'],
  [64, '65 48 8b 04 25 28 00 00 00', 'mov rax, qword [abs gs:0x28]'],
  [64, '8b 04 25 00 00 00 80', 'mov eax, dword [abs -0x80000000]'],
  [64, '41 0f b6 c4', 'movzx eax, r12b'],
  [64, '40 88 f0', 'mov al, sil'],
  [64, '88 f0', 'mov al, dh'],
  [64, '48 cf', 'iretq'],
  [64, '48 cb', 'o64 retf'],
  [64, '48 0f 07', 'o64 sysret'],
  [64, '67 48 8d 40 05', 'lea rax, [eax+0x5]'],
  [64, '4a 8d 04 a5 00 00 00 00', 'lea rax, [nosplit r12*4]'],
  [64, '48 63 c8', 'movsxd rcx, eax'],
  [64, '48 0f ae 00', 'fxsave64 [rax]'],
  [64, '48 99', 'cqo'],
  [64, '9c', 'pushfq'],
  [64, 'f3 0f 1e fa', 'endbr64'],
]

describe('disassembler', () => {
  it('leaves out prefixes without effect', () => {
    expect(text('36 8b 46 02', 16)).toBe('mov ax, word [bp+0x2]')
    expect(text('2e 3e 66 8b 07', 64)).toBe('mov ax, word [rdi]')
    expect(text('f3 01 d8', 32)).toBe('add eax, ebx')
  })

  it('prints what NASM assembles to these bytes', () => {
    expect(GOLDEN.map(([bits, hex]) => [bits, hex, text(hex, bits)])).toEqual(GOLDEN)
  })

  it('wraps branch targets as the processor does', () => {
    expect(text('eb 10', 16, 0xfff8)).toBe('jmp short 0xa')
    expect(text('e9 00 00 00 80', 32, 0x9000_0000)).toBe('jmp near 0x10000005')
    expect(text('66 eb 10', 32, 0x1fff0)).toBe('o16 jmp short 0x3')
    const insn = new Instruction()
    expect(disassemble(insn)).toBe('(invalid)')
  })

  it('prints bytes that are no instruction as data and goes on behind them', () => {
    const lines = disassembleBytes(
      Uint8Array.of(0x90, 0x0f, 0x04, 0x90, 0xc5, 0xf8, 0x28, 0xc1, 0x90, 0x81),
      64,
      0x400000,
    )
    expect(lines).toEqual([
      { address: 0x400000, offset: 0, length: 1, text: 'nop' },
      { address: 0x400001, offset: 1, length: 2, text: 'db 0xf, 0x4' },
      { address: 0x400003, offset: 3, length: 1, text: 'nop' },
      { address: 0x400004, offset: 4, length: 4, text: 'db 0xc5, 0xf8, 0x28, 0xc1' },
      { address: 0x400008, offset: 8, length: 1, text: 'nop' },
      { address: 0x400009, offset: 9, length: 1, text: 'db 0x81' },
    ])
  })

  it('names registers of every width', () => {
    expect([0, 4, 8, 16].map((reg) => registerName(reg, 1))).toEqual(['al', 'spl', 'r8b', 'ah'])
    expect([2, 4, 8].map((size) => registerName(9, size))).toEqual(['r9w', 'r9d', 'r9'])
  })
})
