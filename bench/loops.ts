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
  /** Shown, but no part of the mean. */
  readonly extra?: boolean
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

const FIB_DEPTH = 24

/** Instructions in straight-line source: its lines that are neither labels nor comments. */
export function countLines(source: string): number {
  return source.split('\n').filter((line) => /^\s*[a-z]/.test(line) && !line.trimEnd().endsWith(':')).length
}

/** 64 bytes from [esi] to [edi] by way of EAX and EDX, as kernels copy short buffers. */
const COPY_64 = Array.from(
  { length: 8 },
  (_, n) => `  mov eax, [esi+${n * 8}]
  mov edx, [esi+${n * 8 + 4}]
  mov [edi+${n * 8}], eax
  mov [edi+${n * 8 + 4}], edx`,
).join('\n')

/** What a process does around its call. */
const CALLER = `  mov eax, 4
  mov ebx, 1
  mov edx, 64
  mov esi, 0x300000
  int 0x80
  test eax, eax
  js .failed
  add edi, eax`

/** Kernel entry: the registers, the data segments, the per-task structure at the bottom of the stack, the checks, the table. */
const ENTRY = `  push eax
  push es
  push ds
  push edi
  push esi
  push edx
  push ecx
  push ebx
  push ebp
  cld
  mov ecx, 0x10
  mov ds, ecx
  mov es, ecx
  sti
  mov ebp, esp
  and ebp, 0xffffe000
  test dword [ebp+8], 0x1c1
  jnz bad_call
  cmp eax, 16
  jae bad_call
  call [call_table+eax*4]
  mov [esp+32], eax
  cli
  mov ecx, [ebp+8]
  test ecx, 0xfe
  jnz bad_call
  pop ebp
  pop ebx
  pop ecx
  pop edx
  pop esi
  pop edi
  pop ds
  pop es
  pop eax
  iret`

/** The service: check the file and the buffer, copy it, count it. */
const SERVICE = `  push ebx
  cmp ebx, 8
  jae bad_call
  mov ecx, [files+ebx*4]
  test ecx, ecx
  jz bad_call
  lea eax, [esi+edx]
  cmp eax, esi
  jb bad_call
  cmp eax, 0xc0000000
  ja bad_call
  mov edi, buffer
${COPY_64}
  mov eax, 64
  add [counters], eax
  adc dword [counters+4], 0
  pop ebx
  ret`

/** A loop in ring 3 whose handler for INT 80h is at `entry` and `handler` instructions long. INT 81h ends it. */
function systemCalls(name: string, what: string, rounds: number, caller: string, handler: number, entry: string): Loop {
  const body = countLines(caller)
  return {
    name,
    what,
    // Gates 9, to ring 3 6, the count 1; INT 81h and the two instructions at its handler.
    instructions: 9 + 6 + 1 + rounds * (body + handler + 2) + 1 + 2,
    source: `  mov eax, ${entry}
  mov [idt + 0x80 * 8], ax
  shr eax, 16
  mov [idt + 0x80 * 8 + 6], ax
  mov eax, .done
  mov [idt + 0x81 * 8], ax
  shr eax, 16
  mov [idt + 0x81 * 8 + 6], ax
  xor eax, eax
  push 0x23
  push 0x90000
  push 0x202
  push 0x1b
  push .user
  iret
.user:
  mov ecx, ${rounds}
.round:
${caller}
  dec ecx
  jnz .round
  int 0x81
.failed:
  hlt
.done:
  mov esp, 0x80000
  cli
`,
  }
}

/** `scale` divides the number of rounds: 1 for measuring, more for checking the counts. */
export function makeLoops(scale = 1): readonly Loop[] {
  const fibRounds = Math.ceil(20 / scale)
  const calls = Math.ceil(600_000 / scale)
  const copies = Math.ceil(2000 / scale)
  const pages = Math.ceil((6 * MILLION) / scale)
  return [
    rounds(
      'integer',
      'arithmetic, logic, shifts, multiplication and comparisons in registers',
      Math.ceil((6 * MILLION) / scale),
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
      Math.ceil((8 * MILLION) / scale),
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
      instructions: 1 + fibRounds * (4 + fibInstructions(FIB_DEPTH)),
      source: `  mov ecx, ${fibRounds}
.round:
  mov eax, ${FIB_DEPTH}
  call fib
  dec ecx
  jnz .round
`,
    },
    systemCalls(
      'system calls',
      'INT 80h from ring 3: save, load segments, check, call through a table, copy 64 bytes, restore, IRET',
      calls,
      CALLER,
      countLines(ENTRY) + countLines(SERVICE),
      'system_call',
    ),
    {
      ...systemCalls('bare system calls', 'INT 80h from ring 3 to an IRET', calls, '  int 0x80', 1, 'bare_call'),
      extra: true,
    },
    {
      name: 'strings',
      what: 'REP STOSD and REP MOVSD of 4 KiB, REP SCASB; every iteration counts as an instruction',
      extra: true,
      instructions: 1 + copies * (9 + 1024 + 1024 + 1024 + 2) + 1,
      source: `  mov ebx, ${copies}
.round:
  mov edi, 0x400000
  mov ecx, 1024
  rep stosd
  mov esi, 0x400000
  mov edi, 0x410000
  mov ecx, 1024
  rep movsd
  mov edi, 0x410000
  mov ecx, 1024
  mov al, 0
  repe scasb
  xor eax, eax
  dec ebx
  jnz .round
`,
    },
    {
      name: 'paged memory',
      what: 'loads and stores under paging, one in each of 4096 pages in turn: beyond the reach of the TLBs',
      extra: true,
      // The tables take 5 per entry.
      instructions: 2 + (8192 + 8) * 5 + 2 + 5 + 2 + pages * 7 + 3,
      source: `  mov edi, 0x1a00000
  mov eax, 7
.map:
  mov [edi], eax
  add edi, 4
  add eax, 0x1000
  cmp eax, 0x2000000
  jb .map
  mov edi, 0x1b00000
  mov eax, 0x1a00007
.directory:
  mov [edi], eax
  add edi, 4
  add eax, 0x1000
  cmp eax, 0x1a08007
  jb .directory
  mov eax, 0x1b00000
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  mov ecx, ${pages}
  xor esi, esi
.round:
  add eax, [0x400000+esi]
  mov [0x400004+esi], eax
  add esi, 0x1040
  and esi, 0xffffff
  xor ebx, eax
  dec ecx
  jnz .round
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
`,
    },
  ]
}

export const LOOPS: readonly Loop[] = makeLoops()

const MARKS = 'abcdefgh'

/** The Multiboot image with every loop in turn; it ends by HLT with interrupts off after the mark `.`. */
export function benchImage(loops: readonly Loop[] = LOOPS): Uint8Array {
  const mark = (letter: string): string => `  mov dx, 0x3f8\n  mov al, '${letter}'\n  out dx, al\n`
  const body = loops
    .map((loop, n) => {
      const letter = MARKS[n]!
      return `loop_${n}:\n${mark(letter)}  xor eax, eax\n  xor ebx, ebx\n  xor edx, edx\n  xor esi, esi\n  xor ebp, ebp
${loop.source}${mark(letter)}`
    })
    .join('\n')
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
  ; no interrupts from devices
  mov al, 0xff
  out 0x21, al
  out 0xa1, al
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
  mov word [idt + 0x80 * 8 + 2], 8
  mov word [idt + 0x80 * 8 + 4], 0xee00
  mov word [idt + 0x81 * 8 + 2], 8
  mov word [idt + 0x81 * 8 + 4], 0xee00
  lidt [idtr]
${body}
${mark('.')}
  cli
  hlt

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
bare_call:
  iret

align 16
system_call:
${ENTRY}

align 16
service:
${SERVICE}

bad_call:
  hlt

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
counters: dd 0, 0
call_table: dd 0, 0, 0, 0, service
  times 11 dd 0
files: dd 1, 1, 1, 0, 0, 0, 0, 0
buffer: times 16 dd 0
tss: dd 0, 0x70000, 0x10
  times 23 dd 0
align 8
idt: times 256 dq 0
image_end:
`,
  ).bytes
}

/** The 64-bit loop, for those that can: an image of its own that goes to long mode first. */
export const LOOP_64: Loop = rounds(
  '64-bit integer',
  'as the integer loop, in 64-bit registers',
  6 * MILLION,
  16,
  `  add rax, rcx
  lea rbx, [rax+rax*4+17]
  xor rdx, rbx
  rol rdx, 7
  imul rsi, rax, 1664525
  add rsi, 1013904223
  mov r8, rsi
  shr r8, 16
  and r8, 0xff
  sub rax, r8
  cmp rax, rdx
  setb bl
  movzx ebx, bl
  adc r9, rbx
  test rax, 1
  cmovz rdx, rax`,
)

/** Its image; marks `a`, `a` and `.`. */
export function bench64Image(): Uint8Array {
  const mark = (letter: string): string => `  mov dx, 0x3f8\n  mov al, '${letter}'\n  out dx, al\n`
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
  mov dword [0x200000], 0x201003
  mov dword [0x200004], 0
  mov dword [0x201000], 0x83
  mov dword [0x201004], 0
  mov dword [0x201000], 0x202003
  mov dword [0x202000], 0x83
  mov dword [0x202004], 0
  mov eax, 0x200000
  mov cr3, eax
  mov eax, cr4
  or eax, 0x20
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x100
  wrmsr
  mov eax, cr0
  or eax, 0x80000001
  mov cr0, eax
  lgdt [gdtr]
  jmp 0x08:long
bits 64
long:
  mov ax, 0x10
  mov ss, ax
${mark('a')}
${LOOP_64.source}
${mark('a')}${mark('.')}
  hlt
align 8
gdt: dq 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdtr: dw gdtr - gdt - 1
  dd gdt
image_end:
`,
  ).bytes
}
