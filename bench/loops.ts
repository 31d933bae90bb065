/**
 * Guest programs for the speed comparison: 32-bit protected-mode loops in one Multiboot image. The number of instructions each executes
 * follows from how it is written, independent of any emulator. Each loop sends its letter on COM1 when it starts and again when it ends.
 */
import { assemble } from '../src/isa/index.js'

export interface Loop {
  readonly name: string
  readonly what: string
  /** Instructions between the two marks. */
  readonly instructions: number
  readonly source: string
}

const MILLION = 1_000_000

/** `count` rounds of `body`, which is `size` instructions long and keeps ECX. */
function rounds(name: string, what: string, count: number, size: number, body: string): Loop {
  return {
    name,
    what,
    instructions: 1 + count * (size + 2),
    source: `  mov ecx, ${count}\n.round:\n${body}\n  dec ecx\n  jnz .round\n`,
  }
}

/** Instructions of one call of `fib` below: 3 in a leaf, 12 in an inner node. */
function fibInstructions(n: number): number {
  return n < 2 ? 3 : 12 + fibInstructions(n - 1) + fibInstructions(n - 2)
}

const FIB_ROUNDS = 20
const FIB_DEPTH = 24
const SYSTEM_CALLS = 600_000

export const LOOPS: readonly Loop[] = [
  rounds(
    'integer',
    'arithmetic, logic, shifts, multiplication and comparisons in registers',
    6 * MILLION,
    16,
    `  add eax, ecx
  lea ebx, [eax+eax*4+17]
  xor edx, ebx
  rol edx, 7
  imul esi, eax, 1664525
  add esi, 1013904223
  mov edi, esi
  shr edi, 16
  and edi, 0xff
  sub eax, edi
  cmp eax, edx
  setb bl
  movzx ebx, bl
  adc ebp, ebx
  test eax, 1
  cmovz edx, eax`,
  ),
  rounds(
    'memory',
    'loads, stores and read-modify-writes over 256 KiB',
    8 * MILLION,
    10,
    `  mov eax, [0x400000+esi*4]
  add eax, ecx
  mov [0x400000+esi*4], eax
  add esi, 17
  and esi, 0xffff
  xor [0x400000+esi*4], eax
  movzx ebx, byte [0x400000+esi]
  add ebx, [0x440000+ebx*4]
  mov [0x400002+esi*2], bx
  add edx, ebx`,
  ),
  {
    name: 'calls',
    what: 'recursive Fibonacci numbers: calls, returns, pushes, pops',
    instructions: 1 + FIB_ROUNDS * (4 + fibInstructions(FIB_DEPTH)),
    source: `  mov ecx, ${FIB_ROUNDS}
.round:
  mov eax, ${FIB_DEPTH}
  call fib
  dec ecx
  jnz .round
`,
  },
  {
    name: 'system calls',
    what: 'INT 80h from ring 3 to a handler in ring 0 and back by IRET',
    // Entering ring 3 takes 6; the last call 1 + 2 + 4 with the way back.
    instructions: 6 + 1 + SYSTEM_CALLS * (4 + 9) + 2 + 8,
    source: `  push 0x23
  push 0x90000
  push 2
  push 0x1b
  push user
  iret
`,
  },
]

const MARKS = 'abcdefgh'

/** The Multiboot image with every loop in turn; it ends by HLT with interrupts off after the mark `.`. */
export function benchImage(): Uint8Array {
  const mark = (letter: string): string => `  mov dx, 0x3f8\n  mov al, '${letter}'\n  out dx, al\n`
  const body = LOOPS.map((loop, n) => {
    const letter = MARKS[n]!
    return `loop_${n}:\n${mark(letter)}  xor eax, eax\n  xor ebx, ebx\n  xor edx, edx\n  xor esi, esi\n  xor ebp, ebp
${loop.source}\n${loop.name === 'system calls' ? 'system_calls_done:\n' : ''}${mark(letter)}`
  }).join('\n')
  return assemble(
    `
bits 32
org 0x100000
header:
  dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
  dd header, header, image_end, 0, start
start:
  cli
  mov esp, 0x80000
  ; COM1: 115200 baud, 8N1
  mov dx, 0x3fb
  mov al, 0x80
  out dx, al
  mov dx, 0x3f8
  mov al, 1
  out dx, al
  mov dx, 0x3f9
  xor eax, eax
  out dx, al
  mov dx, 0x3fb
  mov al, 3
  out dx, al
  lgdt [gdtr]
  jmp 0x08:reload
reload:
  mov ax, 0x23
  mov ds, ax
  mov es, ax
  mov ax, 0x10
  mov ss, ax
  mov eax, tss
  mov [gdt + 0x28 + 2], ax
  shr eax, 16
  mov [gdt + 0x28 + 4], al
  mov [gdt + 0x28 + 7], ah
  mov ax, 0x28
  ltr ax
  mov eax, system_call
  mov [idt + 0x80 * 8], ax
  mov word [idt + 0x80 * 8 + 2], 8
  mov word [idt + 0x80 * 8 + 4], 0xee00
  shr eax, 16
  mov [idt + 0x80 * 8 + 6], ax
  lidt [idtr]
${body}
${mark('.')}
  cli
  hlt

user:
  mov ecx, ${SYSTEM_CALLS}
.round:
  mov eax, ecx
  int 0x80
  dec ecx
  jnz .round
  mov eax, 0x12345678
  int 0x80

fib:
  cmp eax, 2
  jb .leaf
  push eax
  dec eax
  call fib
  pop edx
  push eax
  lea eax, [edx-2]
  call fib
  pop edx
  add eax, edx
.leaf:
  ret

align 16
system_call:
  push ebx
  push edi
  mov edi, counters
  add [edi], eax
  cmp eax, 0x12345678
  je .leave
  pop edi
  pop ebx
  iret
.leave:
  mov esp, 0x80000
  jmp system_calls_done

; data in pages of its own, as compilers lay it out
align 4096
gdt:
  dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00cffa000000ffff, 0x00cff2000000ffff, 0x0000890000000067
gdtr:
  dw gdtr - gdt - 1
  dd gdt
idtr:
  dw 0x7ff
  dd idt
align 4
counters: dd 0
tss: dd 0, 0x70000, 0x10
  times 23 dd 0
align 8
idt: times 256 dq 0
image_end:
`,
  ).bytes
}
