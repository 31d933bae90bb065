/**
 * What the paths beside the fast ones cost: nanoseconds (the best of many short runs) per round of a small endless loop around one system instruction (or a pair),
 * on the threaded engine. `npx tsx bench/system-paths.ts [path]`
 */

import { assembled, type Bits, makeMachine } from '../test/engine/threaded-machine.js'

/** Flat segments of rings 0 and 3, a TSS, and an IDT with a gate for INT 80h and one for page faults; CPL 0, stack at 7000h. */
const SYSTEM_32 = `
    lgdt [gdtr]
    lidt [idtr]
    mov eax, tss
    mov [gdt + 0x28 + 2], ax
    shr eax, 16
    mov [gdt + 0x28 + 4], al
    mov ax, 0x28
    ltr ax
    mov eax, on_int80
    mov [idt + 0x400], ax
    mov word [idt + 0x402], 8
    mov word [idt + 0x404], 0xee00
    mov eax, on_fault
    mov [idt + 14 * 8], ax
    mov word [idt + 14 * 8 + 2], 8
    mov word [idt + 14 * 8 + 4], 0x8e00
    mov ax, 0x10
    mov ss, ax
    mov ds, ax
    mov es, ax
    jmp main
on_int80:
    iret
on_fault:
    add dword [esp + 4], 2
    add esp, 4
    iret
    align 4096
gdt: dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00cffa000000ffff, 0x00cff2000000ffff, 0x0000890000000067
gdtr: dw 47
    dd gdt
idtr: dw 0x7ff
    dd idt
tss: dd 0, 0x6000, 0x10
    times 23 dd 0
    align 8
idt: times 256 dq 0
    align 4096
main:
`

/** Identity-mapped page tables at 20000h, paging on. */
const PAGING = `
    mov edi, 0x21000
    mov eax, 3
    mov ecx, 1024
.map:
    mov [edi], eax
    add eax, 0x1000
    add edi, 4
    dec ecx
    jnz .map
    mov dword [0x20000], 0x21003
    mov eax, 0x20000
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
`

const TO_USER = `
    push 0x23
    push 0x5000
    push 2
    push 0x1b
    push user
    iret
user:
`

/** Setup, loop body, instructions in the loop. */
const paths: Record<string, readonly [Bits, string, string, number]> = {
  'empty loop': [32, SYSTEM_32, 'inc ebx', 2],
  'int 80h + iret, same ring': [32, SYSTEM_32, 'int 0x80', 3],
  'int 80h + iret, ring 3 to 0': [32, SYSTEM_32 + TO_USER, 'int 0x80', 3],
  'page fault + iret': [32, SYSTEM_32 + PAGING + 'and dword [0x21000 + 0x40 * 4], ~1\n', 'mov eax, [ebp + 0x40000]', 5],
  'mov cr3': [32, SYSTEM_32 + PAGING, 'mov eax, cr3\nmov cr3, eax', 3],
  invlpg: [32, SYSTEM_32 + PAGING, 'invlpg [0x40000]', 2],
  'mov ds': [32, SYSTEM_32 + 'mov eax, 0x10\n', 'mov ds, ax', 2],
  'push ds, pop ds': [32, SYSTEM_32, 'push ds\npop ds', 3],
  'cli, sti': [32, SYSTEM_32, 'cli\nsti\nnop', 4],
  'pushf, cli, popf': [32, SYSTEM_32, 'pushf\ncli\npopf', 4],
  in: [32, SYSTEM_32 + 'mov dx, 0x3f8\n', 'in al, dx', 2],
  out: [32, SYSTEM_32 + 'mov dx, 0x3f8\n', 'out dx, al', 2],
  'stac, clac': [32, SYSTEM_32, 'stac\nclac', 3],
  pause: [32, SYSTEM_32, 'pause', 2],
  cmpxchg8b: [32, SYSTEM_32, 'cmpxchg8b [0x40000]', 2],
  cpuid: [32, SYSTEM_32, 'xor eax, eax\ncpuid', 3],
  rdtsc: [32, SYSTEM_32, 'rdtsc', 2],
  'far call, retf': [32, SYSTEM_32 + 'jmp go\nf: retf\ngo:\n', 'call 8:f', 3],
  'push es, pop es (16 bits)': [16, '', 'push es\npop es', 3],
  'int, iret (16 bits)': [16, 'mov word [0x80], f\nmov word [0x82], 0\njmp go\nf: iret\ngo:\n', 'int 0x20', 3],
  pusha: [32, '', 'pusha\npopa', 3],
  'rcl, rcr': [32, '', 'rcl eax, 3\nrcr eax, 3', 3],
  'store beside code': [32, 'jmp go\nalign 512\nvariable: dd 0\nalign 512\ngo:\n', 'inc dword [variable]', 2],
  sysenter: [
    32,
    `mov ecx, 0x174
    xor edx, edx
    mov eax, 8
    wrmsr
    mov ecx, 0x175
    mov eax, 0x6000
    wrmsr
    mov ecx, 0x176
    mov eax, kernel
    wrmsr
    mov ecx, 0x7000
    mov edx, user
    sysexit
kernel:
    sysexit
user:
`,
    'mov edx, back\nmov ecx, esp\nsysenter\nback:',
    5,
  ],
  cmpxchg16b: [64, 'mov rbx, 0x40000\n', 'cmpxchg16b [rbx]', 2],
  swapgs: [64, '', 'swapgs', 2],
  'mov cr3 (64 bits)': [64, '', 'mov rax, cr3\nmov cr3, rax', 3],
  'pushf, popf (64 bits)': [64, '', 'pushfq\npopfq', 3],
  'syscall, sysret': [
    64,
    `mov ecx, 0xc0000080
    rdmsr
    or eax, 1
    wrmsr
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, 0x00100008
    wrmsr
    mov ecx, 0xc0000082
    mov eax, kernel
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, 0x200
    wrmsr
    mov dword [0x10000], 0x11007
    mov dword [0x11000], 0x12007
    mov dword [0x12000], 0x87
    mov rcx, user
    mov r11, 2
    sysretq
kernel:
    sysretq
user:
`,
    'syscall',
    3,
  ],
}

const only = process.argv[2]
const INSTRUCTIONS = 20_000
const chosen = Object.entries(paths).filter(([name]) => only === undefined || only === name)
const machines = chosen.map(([name, [bits, setup, body, length]]) => {
  const code = assembled(bits, `${setup}\nagain:\n${body}\njmp again\n`)
  const { cpu } = makeMachine('threaded', bits, code, 0x8000, 0x400000)
  cpu.run(20 * INSTRUCTIONS)
  return { name, cpu, length, best: Number.POSITIVE_INFINITY }
})
// In turns: a disturbance of the host then meets all of them, and what the host learns of one path it must use for all.
const rounds = only === undefined ? 150 : 1000
for (let round = 0; round < rounds; round++) {
  for (const machine of machines) {
    const before = performance.now()
    machine.cpu.run(INSTRUCTIONS)
    machine.best = Math.min(machine.best, performance.now() - before)
  }
}
for (const { name, cpu, length, best } of machines) {
  const nanoseconds = ((best / INSTRUCTIONS) * length * 1e6).toFixed(0)
  console.log(`${name.padEnd(30)} ${cpu.shutdown || cpu.halted ? 'did not run' : `${nanoseconds.padStart(6)} ns`}`)
}
