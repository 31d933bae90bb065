/** Hardware task switches, virtual-8086 mode, debug exceptions. */
import type { XCase } from './case.js'
import { suite } from './suite.js'

/** Fills TSSB so that it runs `to` in ring 0. */
const taskB = (to: string): string => `mov dword [TSSB + 0x20], ${to}
mov dword [TSSB + 0x24], 2
mov dword [TSSB + 0x28], 0xaaaa
mov dword [TSSB + 0x38], STACK0 - 0x40
mov dword [TSSB + 0x3c], 0xbbbb
mov dword [TSSB + 0x48], DATA0
mov dword [TSSB + 0x4c], CODE0
mov dword [TSSB + 0x50], DATA0
mov dword [TSSB + 0x54], DATA0
mov dword [TSSB + 0x58], 0x23
mov dword [TSSB + 0x60], LDT_SEL
`
const task16 = (to: string): string => `mov word [TSS16B + 14], ${to}
mov word [TSS16B + 16], 2
mov word [TSS16B + 18], 0xaaaa
mov word [TSS16B + 26], STACK0 - 0x40
mov word [TSS16B + 34], DATA0
mov word [TSS16B + 36], CODE0
mov word [TSS16B + 38], DATA0
mov word [TSS16B + 40], DATA0
mov word [TSS16B + 42], LDT_SEL
`
const look = `mov ebx, [TSSA + 0x20]
mov ecx, [TSSA + 0x24]
mov edx, [TSSB]
mov esi, [GDT + TSSA_SEL + 4]
mov edi, [GDT + TSSB_SEL + 4]
mov ebp, [TSSA + 0x38]
`

const TASKS = suite(
  'task',
  'entry=prot0',
  `
== jmp
${taskB('there')}jmp TSSB_SEL:0
there: ${look}
== call
${taskB('there')}call TSSB_SEL:0
there: ${look}
== call and iret
${taskB('there')}call TSSB_SEL:0
${look}done
there: iretd
== call and iret twice goes on behind
${taskB('there')}call TSSB_SEL:0
call TSSB_SEL:0
${look}done
there: iretd
inc dword [DATA]
iretd
== task gate
${taskB('there')}gate FREE, TSSB_SEL, 0, 0x85, 0
call FREE:0
there: ${look}
== task gate from ring 3 | entry=prot3
${taskB('there')}gate FREE, TSSB_SEL, 0, 0xe5, 0
call FREE+3:0
there: ${look}
== TSS directly from ring 3 | entry=prot3
${taskB('there')}call TSSB_SEL:0
there: ${look}
== interrupt through a task gate
${taskB('there')}idt 0x42, TSSB_SEL, 0, 0xe500
int 0x42
there: ${look}
== fault with an error code through a task gate | entry=prot3
${taskB('there')}idt 13, TSSB_SEL, 0, 0x8500
hlt
there: mov eax, [esp]
${look}
== double fault through a task gate
${taskB('there')}idt 8, TSSB_SEL, 0, 0x8500
idt 13, 0, 0, 0x8e00
mov ax, 0x700
mov ds, ax
there: mov eax, [esp]
${look}
== busy
${taskB('there')}jmp TSSA_SEL:0
there:
== not present
${taskB('there')}desc TSSB_SEL, TSSB, 0x67, 9, 0
jmp TSSB_SEL:0
there:
== limit too small
${taskB('there')}desc TSSB_SEL, TSSB, 0x66, 0x89, 0
jmp TSSB_SEL:0
there:
== bad CS of the new task
${taskB('there')}mov dword [TSSB + 0x4c], DATA0
jmp TSSB_SEL:0
there:
== not-present CS of the new task
${taskB('there')}mov dword [TSSB + 0x4c], NOTPRESENT_CODE
jmp TSSB_SEL:0
there:
== bad SS of the new task
${taskB('there')}mov dword [TSSB + 0x50], 0x23
jmp TSSB_SEL:0
there:
== bad DS of the new task
${taskB('there')}mov dword [TSSB + 0x54], EXECONLY
jmp TSSB_SEL:0
there:
== not-present FS of the new task
${taskB('there')}mov dword [TSSB + 0x58], NOTPRESENT
jmp TSSB_SEL:0
there:
== bad LDT of the new task
${taskB('there')}mov dword [TSSB + 0x60], DATA0
jmp TSSB_SEL:0
there:
== EIP beyond the limit
desc FREE, 0, 0xfff, 0x9b, 4
${taskB('there')}mov dword [TSSB + 0x4c], FREE
jmp TSSB_SEL:0
there:
== to ring 3
${taskB('there')}mov dword [TSSB + 0x4c], CODE3
mov dword [TSSB + 0x50], 0x23
mov dword [TSSB + 0x48], 0x23
mov dword [TSSB + 0x54], 0x23
jmp TSSB_SEL:0
there: ${look}
== T bit
${taskB('there')}mov byte [TSSB + 0x64], 1
jmp TSSB_SEL:0
there: ${look}
== iret with NT and a bad back link
push 0x4002
popfd
mov word [TSSA], DATA0
iretd
== iret with NT to a task that is not busy
${taskB('there')}push 0x4002
popfd
mov word [TSSA], TSSB_SEL
iretd
there:
== to a 16-bit TSS
${task16('there')}jmp TSS16B_SEL:0
there: mov ebx, [TSSA + 0x20]
mov esi, [GDT + TSS16B_SEL + 4]
== call a 16-bit TSS and return
${task16('there')}call TSS16B_SEL:0
mov esi, [GDT + TSS16B_SEL + 4]
mov edi, [TSS16B + 14]
done
there: iretd
== from a 16-bit TSS to a 32-bit one
${taskB('there')}mov ax, TSS16A_SEL
ltr ax
mov ecx, 0x12345678
jmp TSSB_SEL:0
there: mov ebx, [TSS16A + 14]
mov ecx, [TSS16A + 20]
== 16-bit TSS limit
${task16('there')}desc TSS16B_SEL, TSS16B, 0x2a, 0x81, 0
jmp TSS16B_SEL:0
there:
== TS is set
${taskB('there')}jmp TSSB_SEL:0
there: fninit
== CR3 of the new task | paging=32
${taskB('there')}mov dword [TSSB + 0x1c], PD
jmp TSSB_SEL:0
there: mov ebx, cr3
== to virtual-8086 mode
${taskB('0')}mov dword [TSSB + 0x24], 0x23002
mov dword [TSSB + 0x4c], 0x900
mov dword [TSSB + 0x50], 0xa00
mov dword [TSSB + 4], STACK0
mov dword [TSSB + 8], DATA0
mov dword [DATA], 0x40cd9090
jmp TSSB_SEL:0
`,
)

let v86 = ''
for (const [mode, attributes] of [
  ['IOPL 0', 'flags=2'],
  ['IOPL 3', 'flags=0x3002'],
  ['VME IOPL 0', 'flags=2 cr4=1'],
  ['VME IOPL 3', 'flags=0x3002 cr4=1'],
  ['VME IOPL 0 VIF', 'flags=0x80002 cr4=1'],
  ['VME IOPL 0 VIP', 'flags=0x100002 cr4=1'],
] as const) {
  for (const [name, code] of [
    ['cli', 'cli\npushf\npop ax'],
    ['sti', 'sti\npushf\npop ax'],
    ['pushf', 'pushf\npop ax'],
    ['pushfd', 'pushfd\npop eax'],
    ['popf', 'push 0x4ed7\npopf\npushf\npop ax'],
    ['popf without IF', 'push 0x0cd7\npopf\npushf\npop ax'],
    ['popfd', 'push dword 0x264cd7\npopfd\npushf\npop ax'],
    ['popf TF', 'push 0x102\npopf\nnop\nnop'],
    ['int 44', 'int 0x44'],
    ['iret', 'push 0x4cd7\npush 0x800\npush there\niret\nthere: pushf\npop ax'],
    ['iret IF', 'push 0x4ed7\npush 0x800\npush there\niret\nthere: pushf\npop ax'],
    ['iretd', 'push dword 0x4ed7\npush dword 0x800\npush dword there\niretd\nthere: pushf\npop ax'],
    ['in', 'in al, 0x80'],
    ['hlt', 'hlt'],
  ])
    v86 += `== ${name}, ${mode} | ${attributes}\n${code}\n`
}
v86 += `
== int redirected
mov ax, 0
== int3 with IOPL 0 | flags=2
int3
== into with IOPL 3 | flags=0x3002
mov al, 0x7f
inc al
into
== mov cr0 | flags=0x3002
mov eax, cr0
== lgdt | flags=0x3002
lgdt [0]
== lldt
lldt ax
== arpl
arpl ax, bx
== lar
lar ax, bx
== smsw
smsw ax
== any segment value
mov ax, 0xffff
mov es, ax
mov fs, ax
mov ax, [es:0x10]
== far call | flags=0x3002
call 0x800:there
there: pop ax
pop bx
== limit 64K
mov eax, 0x10000
mov bx, [eax]
== word at FFFF
mov si, 0xffff
mov ax, [si]
== ud | flags=2
ud2
== out allowed by the bitmap
out 0x90, al
== divide error | flags=0x3002
div cx
`
const V86 = suite('v86', 'entry=v86', v86)

/** Cases that let bit 44h of the redirection map be clear: the interrupt goes through the IVT to 0900:0000, where INT 43h ends it. */
const REDIRECT = suite(
  'vme',
  'entry=prot0',
  [0, 0x3000, 0x80000, 0x80000 | 0x4000]
    .map(
      (flags) => `== int redirected, flags ${flags.toString(16)}
mov dword [0x44 * 4], 0x09000000
mov dword [DATA], 0x43cd9c90
mov eax, 1
mov cr4, eax
mov byte [TSSA + 0x68 + 0x45 / 8], 0
mov byte [TSSA + 0x68 + 0x43 / 8], ${flags === 0x3000 ? 8 : 8}
push 0
push 0
push 0x900
push 0x900
push 0xa00
push 0x800
push 0x20002 | ${flags}
push 0x800
push v - 0x8000
iretd
v: db 0xcd, 0x44
`,
    )
    .join(''),
)

const DEBUG = suite(
  'debug',
  'entry=prot0',
  `
== single step
push 0x102
popfd
nop
nop
== single step through iret
push 0x102
push CODE0
push there
iretd
there: inc eax
inc eax
== mov ss hides a step
mov ax, ss
push 0x102
popfd
mov ss, ax
inc ecx
inc ecx
== pop ss hides a step
push ss
push 0x102
popfd
pop ss
inc ecx
inc ecx
== int n does not step
push 0x102
popfd
int 0x42
nop
== a fault beats the step
push 0x102
popfd
ud2
== rep steps each iteration
mov ecx, 3
mov edi, DATA
push 0x102
popfd
rep stosb
nop
== step of a jump
push 0x102
popfd
jmp there
nop
there: nop
== popfd clears TF but steps
push 2
push 0x102
popfd
popfd
nop
== execution breakpoint
mov eax, there
mov dr0, eax
mov eax, 0x401
mov dr7, eax
nop
there: inc ebx
== execution breakpoint with RF
mov eax, there
mov dr0, eax
mov eax, 0x401
mov dr7, eax
push 0x10002
push CODE0
push there
iretd
there: inc ebx
nop
== write breakpoint
mov eax, DATA
mov dr1, eax
mov eax, 0xd00404 | 0x100
mov dr7, eax
mov eax, [DATA]
mov [DATA], eax
inc ebx
== read-write breakpoint of a word
mov eax, DATA
mov dr2, eax
mov eax, 0x7000410
mov dr7, eax
mov al, [DATA + 2]
mov al, [DATA + 1]
inc ebx
== breakpoint that spans
mov eax, DATA + 4
mov dr0, eax
mov eax, 0xf0402
mov dr7, eax
mov eax, [DATA + 1]
inc ebx
== breakpoint without enable sets no bit
mov eax, DATA
mov dr0, eax
mov dr1, eax
mov eax, 0xff0404
mov dr7, eax
mov eax, [DATA]
inc ebx
== io breakpoint | cr4=8
mov eax, 0x80
mov dr0, eax
mov eax, 0x20401
mov dr7, eax
in al, 0x80
inc ebx
== general detect
mov eax, 0x2400
mov dr7, eax
mov eax, dr0
== int1
int1
== dr6 reads back
mov eax, 0
mov dr6, eax
mov ebx, dr6
mov eax, -1
mov dr6, eax
mov ecx, dr6
== dr7 reads back
mov eax, 0xf00
mov dr7, eax
mov ebx, dr7
== dr4 is dr6
mov eax, dr4
== dr4 with DE | cr4=8
mov eax, dr4
== write breakpoint on a push
mov eax, STACK0 - 4
mov dr3, eax
mov eax, 0xd00004c0
mov dr7, eax
mov esp, STACK0
push eax
inc ebx
== rep with a write breakpoint
mov eax, DATA + 2
mov dr0, eax
mov eax, 0x10401
mov dr7, eax
mov edi, DATA
mov ecx, 5
rep stosb
inc ebx
== step in real mode | entry=real
push 0x102
popf
nop
nop
== step of int in real mode | entry=real
push 0x102
popf
int 0x42
`,
)

const REAL = suite(
  'real',
  'entry=real',
  `
== divide error
div cx
== limit
mov ebx, 0x10000
mov ax, [ebx]
== word at FFFF
mov si, 0xffff
mov ax, [si]
== dword at FFFE
mov si, 0xfffe
mov eax, [si]
== push at 1
mov sp, 1
push ax
== push at 0
xor sp, sp
push ax
mov bx, sp
mov sp, STACK0
== arpl
arpl ax, bx
== lldt
lldt ax
== ltr
ltr ax
== str
str ax
== verr
verr ax
== lar
lar ax, bx
== mov cr0 to protected and on
mov eax, cr0
or al, 1
mov cr0, eax
mov bx, ds
mov eax, cr0
and al, 0xfe
mov cr0, eax
== bound
mov word [0x9000], 1
mov word [0x9002], 5
mov ax, 7
bound ax, [0x9000]
== invalid opcode
ud2
== lock
lock mov ax, bx
== int beyond the IVT
int 0x60
== pushf
mov ax, 0x7fd7 & ~0x300
push ax
popf
pushf
pop ax
push 2
popf
== pushfd
push dword 0x247fd7 & ~0x300
popfd
pushfd
pop eax
push 2
popf
== iret
push 0x4002
push 0
push there
iret
there: pushf
pop ax
push 2
popf
== iretd
push dword 0x244002
push dword 0
push dword there
iretd
there: pushfd
pop eax
push 2
popf
== retf
push 0
push there
retf
there: mov bx, sp
== far call
call 0:there
there: pop ax
pop bx
== far jmp with a large offset
mov eax, 0x10000
mov [0x9000], eax
mov word [0x9004], 0
jmp dword far [0x9000]
== call near with a large offset
mov eax, 0x10000
call eax
== wrap of ip
mov ax, 0xffff
jmp ax
== lmsw
mov ax, 0xe
lmsw ax
smsw bx
clts
== lgdt 16
sgdt [0x9000]
mov eax, [0x9002]
== sysenter
sysenter
== syscall
syscall
== rdmsr unknown
mov ecx, 0x55555
rdmsr
== hma
mov ax, 0xffff
mov ds, ax
mov bl, [0x10]
== string wraps
mov si, 0xffff
mov di, 0x9000
mov cx, 2
rep movsb
== string 32-bit address
mov esi, 0x10000
a32 lodsb
== pusha
mov sp, 0x6000
pusha
mov bx, [0x6000 - 10]
== pusha wraps
mov sp, 5
pusha
== enter
mov bp, 0x6000
enter 8, 2
mov bx, [bp - 2]
== aam
mov ax, 0x57
aam
== aad
mov ax, 0x507
aad
== daa
mov al, 0x9a
add al, 0
daa
== cpuid leaf is masked by nothing
xor eax, eax
cpuid
xor eax, eax
mov ecx, 0
mov ebx, 0
mov edx, 0
== x87 with EM
mov eax, 0x14
mov cr0, eax
fninit
== protected mode and back
mov dword [0x9000], 0x100001ff
mov word [0x9004], 0
`,
)

export const TASK_CASES: readonly XCase[] = [...TASKS, ...V86, ...REDIRECT, ...DEBUG, ...REAL]
