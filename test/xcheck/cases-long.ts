/** 64-bit and compatibility mode: entry and exit, SYSCALL, canonical addresses, gates, IST. */
import type { XCase } from './case.js'
import { suite } from './suite.js'

const STAR = `mov ecx, 0xc0000081
xor eax, eax
mov edx, 0x00100008
wrmsr
mov ecx, 0xc0000082
mov eax, target
xor edx, edx
wrmsr
mov ecx, 0xc0000084
mov eax, 0x4700
wrmsr
`

export const LONG_CASES: readonly XCase[] = suite(
  'long',
  'entry=long0',
  `
== read at a non-canonical address
mov rax, 0x0000800000000000
mov rbx, [rax]
== push at a non-canonical address
mov rsp, 0x0000800000000008
mov rbp, 0x0000900000000000
mov rax, [rbp]
== quad across the canonical boundary
mov rax, 0x00007ffffffffffc
mov rbx, [rax]
== quad across the top
mov rax, 0xfffffffffffffffc
mov rbx, [rax]
== jmp to a non-canonical address
mov rax, 0x0000800000000000
jmp rax
== call to a non-canonical address
mov rax, 0x0000800000000000
call rax
== ret to a non-canonical address
mov rax, 0x0000800000000000
push rax
ret
== fs base non-canonical
mov ecx, 0xc0000100
mov edx, 0x00008000
xor eax, eax
wrmsr
== lstar non-canonical
mov ecx, 0xc0000082
mov edx, 0x00008000
xor eax, eax
wrmsr
== fs base
mov ecx, 0xc0000100
mov eax, DATA
xor edx, edx
wrmsr
mov qword [DATA + 8], 0x1234567
mov rax, [fs:8]
== ds base is ignored
mov ax, SMALL
mov ds, ax
mov es, ax
mov rax, [0x2000]
== null ss
xor eax, eax
mov ss, ax
push rax
mov ebx, ss
== null ss with RPL 3 in ring 0
mov eax, 3
mov ss, ax
== null ss in ring 3 | entry=long3
mov eax, 3
mov ss, ax
push rax
== hlt in ring 3 | entry=long3
hlt
== removed opcode
db 0x06
== removed pusha
db 0x60
== removed aaa
db 0x37
== removed far jmp
db 0xea, 0, 0, 0, 0, 8, 0
== into
db 0xce
== arpl is movsxd
mov eax, 0x80000000
movsxd rbx, eax
== bound is gone
db 0x62, 0x00
== int 3 from ring 3 | entry=long3
int3
== int n privileged | entry=long3
int 0x20
== lar of a 16-byte descriptor
mov ecx, TSS64_SEL
lar eax, ecx
mov ecx, LDT_SEL
lar ebx, ecx
mov ecx, TSS16A_SEL
lar edx, ecx
setz dl
== lsl of a TSS
mov ecx, TSS64_SEL
lsl eax, ecx
setz bl
== ltr of an available TSS with a non-canonical base
mov dword [GDT + FREE], 0x67
mov dword [GDT + FREE + 4], 0x8900
mov dword [GDT + FREE + 8], 0x00008000
mov ax, FREE
ltr ax
== ltr with a type in the upper half
mov dword [GDT + FREE], 0x67
mov dword [GDT + FREE + 4], 0x8900
mov dword [GDT + FREE + 12], 0x0100
mov ax, FREE
ltr ax
== lldt null
xor eax, eax
lldt ax
sldt eax
== call gate 64
mov dword [GDT + FREE], there | (CODE64 << 16)
mov dword [GDT + FREE + 4], 0x8c00
push 0
push 0
mov dword [DATA], 0
mov word [DATA + 4], FREE
call dword far [DATA]
there: mov rbx, [rsp]
mov rcx, [rsp + 8]
== call gate 64 from ring 3 | entry=long0
mov dword [GDT + FREE], there | (CODE64 << 16)
mov dword [GDT + FREE + 4], 0xec00
mov word [DATA + 4], FREE + 3
push DATA3
push STACK3
push 2
push CODE64_3
push user
iretq
user: call dword far [DATA]
there: mov rbx, [rsp]
mov rcx, [rsp + 8]
mov rdx, [rsp + 16]
mov rsi, [rsp + 24]
mov edi, ss
== call gate to 32-bit code
mov dword [GDT + FREE], there | (CODE0 << 16)
mov dword [GDT + FREE + 4], 0x8c00
mov word [DATA + 4], FREE
call dword far [DATA]
there:
== call gate with a type in the upper half
mov dword [GDT + FREE], there | (CODE64 << 16)
mov dword [GDT + FREE + 4], 0x8c00
mov dword [GDT + FREE + 12], 0x0100
mov word [DATA + 4], FREE
call dword far [DATA]
there:
== call gate non-canonical
mov dword [GDT + FREE], there | (CODE64 << 16)
mov dword [GDT + FREE + 4], 0x8c00
mov dword [GDT + FREE + 8], 0x8000
mov word [DATA + 4], FREE
call dword far [DATA]
there:
== far jmp to compatibility code
mov word [DATA + 4], CODE0
mov dword [DATA], there
jmp dword far [DATA]
bits 32
there: mov ebx, cs
dec eax
inc ecx
bits 64
== far jmp L and D both set
mov dword [GDT + FREE], 0xffff
mov dword [GDT + FREE + 4], 0xef9b00
mov dword [DATA], there
mov word [DATA + 4], FREE
jmp dword far [DATA]
there:
== task gate in the IDT
mov dword [IDT64 + 0x42 * 16 + 4], 0xe500
int 0x42
== 32-bit code in a gate
mov word [IDT64 + 0x42 * 16 + 2], CODE0
int 0x42
== non-canonical gate
mov dword [IDT64 + 0x42 * 16 + 8], 0x8000
int 0x42
== IST
mov byte [IDT64 + 0x42 * 16 + 4], 1
int 0x42
== IST 3 is zero
mov byte [IDT64 + 0x42 * 16 + 4], 3
int 0x42
== IST non-canonical
mov dword [TSS64 + 0x24 + 4], 0x8000
mov byte [IDT64 + 0x42 * 16 + 4], 1
int 0x42
== stack is aligned to 16
sub rsp, 4
int 0x42
== ring-0 stack from ring 3 | entry=long3
sub rsp, 12
int 0x42
== RSP0 non-canonical
mov dword [TSS64 + 8], 0x8000
push DATA3
push STACK3
push 2
push CODE64_3
push user
iretq
user: int 0x42
== iretq pops SS always
push DATA0
push STACK0 - 64
push 2
push CODE64
push there
iretq
there: mov rbx, rsp
mov ecx, ss
== iretq with null SS
push 0
push STACK0
push 2
push CODE64
push there
iretq
there: mov ebx, ss
== iretq with null SS to ring 3
push 3
push STACK3
push 2
push CODE64_3
push there
iretq
there: mov ebx, ss
== iretq to a non-canonical address
push DATA0
push STACK0
push 2
push CODE64
mov rax, 0x800000000000
push rax
iretq
== iretq with NT
push 0x4002
popfq
iretq
== iretq to compatibility mode
push DATA3
push STACK3
push 2
push CODE3
push there
iretq
bits 32
there: mov ebx, cs
int 0x42
bits 64
== iretd keeps 32 bits
mov dword [rsp - 20], there
mov dword [rsp - 16], CODE64
mov dword [rsp - 12], 2
mov dword [rsp - 8], STACK0 - 64
mov dword [rsp - 4], DATA0
sub rsp, 20
iretd
there: mov rbx, rsp
== syscall | efer=1
${STAR}syscall
next: nop
target: mov rbx, rsp
mov esi, cs
mov edi, ss
== syscall from ring 3 | efer=1 flags=0x2
${STAR}push DATA3
push STACK3
push 0x4ed7 & ~0x500
push CODE64_3
push user
iretq
user: syscall
nop
target: mov rbx, rsp
mov esi, cs
mov edi, ss
pushfq
pop rbp
== syscall from compatibility mode | efer=1
${STAR}push DATA3
push STACK3
push 2
push CODE3
push user
iretq
user: db 0x0f, 0x05
nop
target:
== syscall without SCE
syscall
== sysret to 64 bits | efer=1
${STAR}mov ecx, target
mov r11d, 0x3202
o64 sysret
target: mov ebx, cs
mov edx, ss
pushfq
pop rsi
== sysret to 32 bits | efer=1
${STAR}mov ecx, target
mov r11d, 2
sysret
bits 32
target: mov ebx, cs
mov edx, ss
int 0x42
bits 64
== sysret to a non-canonical address | efer=1
${STAR}mov rcx, 0x800000000000
mov r11d, 2
o64 sysret
target:
== sysret in ring 3 | entry=long3 efer=1
sysret
== sysret sets RF and not VM | efer=1
${STAR}mov ecx, target
mov r11, 0x3f7fd7 & ~0x100
o64 sysret
target: pushfq
pop rsi
== swapgs
mov ecx, 0xc0000102
mov eax, 0x77
xor edx, edx
wrmsr
swapgs
mov ecx, 0xc0000102
rdmsr
== swapgs in ring 3 | entry=long3
swapgs
== sysenter in 64-bit mode
mov ecx, 0x174
mov eax, CODE0
xor edx, edx
wrmsr
sysenter
== sysexit to 64 bits
mov ecx, 0x174
mov eax, 0x28
xor edx, edx
wrmsr
mov edx, there
mov ecx, STACK3
o64 sysexit
there: mov ebx, cs
mov edx, ss
== wrfsbase without CR4.FSGSBASE
wrfsbase rax
== wrfsbase | cr4=0x10000
mov eax, DATA
wrfsbase rax
rdfsbase rbx
== wrgsbase non-canonical | cr4=0x10000
mov rax, 0x800000000000
wrgsbase rax
== mov cr8
mov eax, 5
mov cr8, rax
mov rbx, cr8
xor eax, eax
mov cr8, rax
== mov cr8 reserved
mov eax, 0x10
mov cr8, rax
== clear PG in 64-bit mode
mov rax, cr0
and eax, 0x7fffffff
mov cr0, rax
== clear PAE in long mode
xor eax, eax
mov cr4, rax
== change LME while paging
mov ecx, 0xc0000080
xor eax, eax
xor edx, edx
wrmsr
== upper half of cr0
mov rax, 0x100000000
mov rbx, cr0
or rax, rbx
mov cr0, rax
== upper half of dr7
mov rax, 0x100000400
mov dr7, rax
== PCIDE with a PCID in cr3
mov rax, cr3
or rax, 1
mov cr3, rax
mov rax, cr4
or eax, 0x20000
mov cr4, rax
== rdpkru without CR4.PKE
rdpkru
== wrpkru and a protected page | cr4=0x400000
mov dword [PT_PAE + 0xb * 8], 0xb007
mov dword [PT_PAE + 0xb * 8 + 4], 0x28000000
invlpg [DATA2]
mov dword [DATA2], 0x77
mov eax, 0x800
wrpkru
mov ebx, [DATA2]
rdpkru
mov esi, eax
== wrpkru write disable | cr4=0x400000 cr0=0x10000
mov dword [PT_PAE + 0xb * 8], 0xb007
mov dword [PT_PAE + 0xb * 8 + 4], 0x28000000
invlpg [DATA2]
mov eax, 0x800
wrpkru
mov [DATA2], eax
== wrpkru ecx | cr4=0x400000
mov ecx, 1
wrpkru
== wrpkru edx | cr4=0x400000
mov edx, 1
wrpkru
== cmpxchg16b misaligned
cmpxchg16b [DATA + 8]
== cmpxchg16b
mov edx, 0
cmpxchg16b [DATA]
setz sil
== lahf
mov ah, 0xd7
sahf
lahf
== 64-bit limit is not checked for data
mov ax, SMALL
mov gs, ax
mov rax, [gs:0x3000]
== inc with a REX
db 0x40, 0x90
inc r8d
== 67 prefix wraps to 32 bits
mov rax, 0x1ffffffff
mov bl, [eax + DATA + 1]
== double fault
mov word [IDT64 + 13 * 16 + 2], 0
mov rax, 0x800000000000
mov rax, [rax]
== triple fault
mov word [IDT64 + 13 * 16 + 2], 0
mov word [IDT64 + 8 * 16 + 2], 0
mov rax, 0x800000000000
mov rax, [rax]
== limit of compatibility mode | entry=compat3
mov ax, SMALL
mov ds, ax
mov al, [0x1000]
== null ds in compatibility mode | entry=compat3
xor eax, eax
mov ds, ax
mov al, [DATA]
== pusha works in compatibility mode | entry=compat3
pusha
inc eax
== int 42 in compatibility mode | entry=compat3
int 0x42
== far jmp into 64-bit code | entry=compat3
jmp CODE64_3:there
bits 64
there: mov rax, 0x123456789
int 0x42
bits 32
== sysenter in compatibility mode | entry=compat3
sysenter
== mov to a 64-bit register keeps the upper half over a mode change | entry=long0
mov rax, 0x123456789abcdef0
push DATA3
push STACK3
push 2
push CODE3
push there
iretq
bits 32
there: inc eax
int 0x42
bits 64
`,
)
