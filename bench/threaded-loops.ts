/**
 * Millions of guest instructions a second of the threaded engine alone, on small endless loops. Times are processor time, so that a busy
 * machine disturbs less. `npx tsx bench/threaded-loops.ts [loop]`
 */

import { assembled, type Bits, makeMachine } from '../test/engine/threaded-machine.js'

const loops: Record<string, readonly [Bits, string]> = {
  integer: [
    32,
    `
    mov ecx, 1
  top:
    mov eax, ecx
    imul eax, eax, 1103515245
    add eax, 12345
    mov edx, eax
    shr edx, 16
    xor ebx, edx
    and edx, 7
    add esi, edx
    lea edi, [edi+edx*4+3]
    rol ebx, 5
    inc ecx
    cmp ecx, 0
    jne top
    hlt`,
  ],
  memory: [
    32,
    `
  outer:
    mov ecx, 1000
    mov esi, 0x100000
    mov edi, 0x110000
  top:
    mov eax, [esi]
    add eax, [esi+4]
    mov [edi+ecx*4], eax
    movzx edx, byte [esi+8]
    add [edi], edx
    add esi, 4
    dec ecx
    jnz top
    jmp outer`,
  ],
  call: [
    32,
    `
  top:
    push ecx
    push 5
    call f
    add esp, 4
    pop ecx
    inc ecx
    jmp top
  f:
    push ebp
    mov ebp, esp
    mov eax, [ebp+8]
    add eax, 3
    call g
    pop ebp
    ret
  g:
    lea eax, [eax+eax]
    ret`,
  ],
  crc: [
    32,
    `
  outer:
    mov esi, 0x100000
    mov edi, 0x120000
    mov ecx, 5000
    mov eax, -1
  top:
    movzx edx, byte [esi]
    xor dl, al
    shr eax, 8
    xor eax, [edi+edx*4]
    inc esi
    dec ecx
    jnz top
    jmp outer`,
  ],
  real: [
    16,
    `
  top:
    mov ax, [0x1000]
    add ax, cx
    mov [0x1000+bx], ax
    inc cx
    push cx
    call f
    pop dx
    cmp dx, 100
    jne top
    jmp top
  f: ret`,
  ],
  long: [
    64,
    `
  outer:
    mov rcx, 1000
    lea rsi, [0x100000]
  top:
    mov rax, [rsi]
    add rax, rcx
    mov [rsi+rcx*8], rax
    shr rax, 3
    xor r8, rax
    call f
    dec rcx
    jnz top
    jmp outer
  f: push rbx
    mov rbx, rax
    pop rbx
    ret`,
  ],
  syscall: [
    32,
    `
    mov ecx, 0x174
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
  user:
    mov ebx, 1
  again:
    mov eax, 20
    mov edx, back
    mov ecx, esp
    sysenter
  back:
    add ebx, eax
    jmp again
  kernel:
    push ecx
    push edx
    push ebx
    cmp eax, 100
    jae bad
    mov ebx, [0x100000+eax*4]
    lea eax, [ebx+7]
    inc dword [0x100200]
  bad:
    pop ebx
    pop edx
    pop ecx
    sysexit`,
  ],
}
const only = process.argv[2]
const WARM = 2_000_000
const MEASURED = 10_000_000
let logs = 0
let measured = 0
for (const [name, [bits, source]] of Object.entries(loops)) {
  if (only !== undefined && only !== name) continue
  const { cpu } = makeMachine('threaded', bits, assembled(bits, source), 0x8000, 0x400000)
  cpu.run(WARM)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage()
    cpu.run(MEASURED)
    best = Math.min(best, process.cpuUsage(before).user)
  }
  const mips = MEASURED / best
  logs += Math.log(mips)
  measured++
  console.log(`${name.padEnd(10)} ${mips.toFixed(0).padStart(5)} MIPS`)
}
console.log(`geometric mean ${Math.exp(logs / measured).toFixed(0)} MIPS`)
