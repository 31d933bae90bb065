/** Selector loads, far transfers, gates and the instructions that look at descriptors, in protected mode. */
import type { XCase } from './case.js'
import { suite } from './suite.js'

// biome-ignore format: a dense list reads better
const SELECTORS = [
  0, 3, 4, 0x08, 0x0b, 0x10, 0x1b, 0x18, 0x23, 0x3b, 0x40, 0x58, 0x68, 0x88, 0x91, 0x99, 0xc8, 0xd0, 0xd8, 0xe0, 0xe8, 0x0f, 0x17, 0x24, 0x44, 0x200,
]

const hex = (n: number): string => `0x${n.toString(16)}`

function everySelector(): XCase[] {
  let text = ''
  for (const s of SELECTORS) {
    const name = hex(s)
    for (const ring of [0, 3]) {
      const e = `entry=prot${ring}`
      text += `== mov ds, ${name} ring ${ring} | ${e}\nmov ax, ${name}\nmov ds, ax\nmov ebx, ds\n`
      text += `== mov ss, ${name} ring ${ring} | ${e}\nmov ax, ${name}\nmov ss, ax\nmov ebx, ss\n`
      if (s !== 0x68) text += `== jmp far ${name} ring ${ring} | ${e}\njmp ${name}:there\nthere: mov ebx, cs\n`
      text += `== retf ${name} ring ${ring} | ${e}\npush 0x23\npush STACK3\npush ${name}\npush there\nretf\nthere: mov ebx, cs\n`
      text += `== rights of ${name} ring ${ring} | ${e}
mov esi, 0x1234
mov edi, 0x5678
mov ecx, ${name}
lar esi, ecx
setz al
lsl edi, ecx
setz ah
verr cx
setz bl
verw cx
setz bh
and esi, 0xfff0ffff ; LAR leaves these four bits undefined
xor ebp, ebp
`
    }
    if (s !== 0x68) text += `== call far ${name}\ncall ${name}:there\nthere: mov ebx, cs\n`
    text += `== iret to ${name}\npush 0x23\npush STACK3\npush 0x2\npush ${name}\npush there\niretd\nthere: mov ebx, cs\n`
    text += `== iret to ss ${name}\npush ${name}\npush STACK3\npush 0x2\npush CODE3\npush there\niretd\nthere: mov ebx, ss\n`
    text += `== interrupt gate to ${name}\nidt 0x42, ${name}, there, 0xee00\nint 0x42\nthere: mov ebx, cs\n`
    text += `== interrupt gate to ${name} from ring 3 | entry=prot3\nidt 0x42, ${name}, there, 0xee00\nint 0x42\nthere: mov ebx, cs\n`
    text += `== call gate to ${name} ring 3 | entry=prot3\ngate FREE, ${name}, there, 0xec, 0\ncall FREE+3:0\nthere: mov ebx, cs\n`
    text += `== lldt ${name}\nmov ax, ${name}\nlldt ax\nsldt ebx\n`
    text += `== ltr ${name}\nmov ax, ${name}\nltr ax\nstr ebx\nmov ecx, [GDT + 0x5c]\nmov edx, [GDT + 0x6c]\n`
    text += `== ring-0 stack ${name} | entry=prot3\nmov word [TSSA + 8], ${name}\nint 0x40\n`
  }
  return suite('selector', '', text)
}

/** Every access byte of a descriptor for one question each. */
function everyType(): XCase[] {
  let text = ''
  for (let type = 0; type < 32; type += type < 16 ? 1 : 3) {
    const a = hex(0xe0 | type) // present, DPL 3
    text += `== rights of type ${hex(type)}\ndesc FREE, 0x1234, 0xabcd, ${a}, 4
mov ecx, FREE
lar esi, ecx
setz al
lsl edi, ecx
setz ah
verr cx
setz bl
verw cx
setz bh
and esi, 0xfff0ffff ; LAR leaves these four bits undefined
xor ebp, ebp\n`
    text += `== ds of type ${hex(type)}\ndesc FREE, 0, 0xffff, ${a}, 4\nmov ax, FREE\nmov ds, ax\nmov ebx, [cs:GDT + FREE + 4]\n`
    text += `== jmp to type ${hex(type)} ring 3 | entry=prot3\ndesc FREE, 0, 0xffff, ${a}, 4\njmp FREE+3:there\nthere:\n`
    text += `== call to type ${hex(type)}\ngate FREE, CODE0, there, ${a}, 0\ncall FREE:0\nthere:\n`
    text += `== int through type ${hex(type)}\nidt 0x42, CODEM, 0x10, ${hex(((0xe0 | type) << 8) >>> 0)}\nmov word [0x10010], 0x40cd\nint 0x42\nthere:\n`
  }
  return suite('type', '', text)
}

const LIMITS = suite(
  'limit',
  'entry=prot0',
  `
== byte at the limit
mov ax, SMALL
mov ds, ax
mov al, [0xfff]
== byte beyond
mov ax, SMALL
mov ds, ax
mov al, [0x1000]
== word across
mov ax, SMALL
mov ds, ax
mov ax, [0xfff]
== dword across by write
mov ax, SMALL
mov ds, ax
mov [0xffd], eax
== dword at the end
mov ax, SMALL
mov ds, ax
mov [0xffc], eax
== dword that wraps
mov ax, SMALL
mov ds, ax
mov [0xfffffffe], eax
== expand-down below
mov ax, DOWN
mov ds, ax
mov al, [0xfff]
== expand-down at
mov ax, DOWN
mov ds, ax
mov al, [0x1000]
== expand-down word across the limit
mov ax, DOWN
mov ds, ax
mov ax, [0xfff]
== expand-down wraps at the top
mov ax, DOWN
mov ds, ax
mov ax, [0xffffffff]
== expand-down 16 top
mov ax, DOWN16
mov ds, ax
mov al, [0xffff]
== expand-down 16 beyond
mov ax, DOWN16
mov ds, ax
mov al, [0x10000]
== expand-down 16 word at the top
mov ax, DOWN16
mov ds, ax
mov ax, [0xffff]
== expand-down stack overflow
mov ax, DOWN
mov ss, ax
mov esp, 0x1002
push eax
== stack segment limit
mov ax, SMALL & ~3
desc FREE, 0, 0xfff, 0x93, 4
mov ax, FREE
mov ss, ax
mov esp, 0x1004
push eax
== pop beyond the limit
desc FREE, 0, 0xfff, 0x93, 4
mov ax, FREE
mov ss, ax
mov esp, 0xffe
pop eax
== ebp uses ss
desc FREE, 0, 0xfff, 0x93, 4
mov ax, FREE
mov ss, ax
mov ebp, 0x1000
mov eax, [ebp]
== write to read-only
mov ax, READONLY
mov ds, ax
mov [DATA], eax
== write to code
mov [cs:DATA], eax
== read through execute-only | entry=prot3
jmp EXECONLY+3:there
there: mov eax, [cs:DATA]
== null ds
xor eax, eax
mov ds, ax
mov eax, [DATA]
== null es by movs
xor eax, eax
mov es, ax
mov esi, DATA
mov edi, DATA
movsb
== jump beyond the code limit
mov word [DATA], 0x41cd
desc FREE, 0, 0x8fff, 0x9b, 4
jmp FREE:next
next: jmp 0x9000
== conditional jump beyond
mov word [DATA], 0x41cd
desc FREE, 0, 0x8fff, 0x9b, 4
jmp FREE:next
next: stc
jc 0x9000
== call beyond
mov word [DATA], 0x41cd
desc FREE, 0, 0x8fff, 0x9b, 4
jmp FREE:next
next: call 0x9000
== ret beyond
mov word [DATA], 0x41cd
desc FREE, 0, 0x8fff, 0x9b, 4
jmp FREE:next
next: push 0x9000
ret
== fetch runs over the limit
desc FREE, 0, 0x80ff, 0x9b, 4
jmp FREE:0x80fe
times 0x80fe - 0x8000 - ($ - $$) nop
mov eax, 0x12345678
== 16-bit offset wraps | entry=prot16
mov si, 0xffff
mov ax, [si]
== 16-bit sp wraps | entry=prot16
mov sp, 1
push ax
== 16-bit sp zero | entry=prot16
xor sp, sp
push ax
mov bx, sp
mov sp, STACK0
== pusha wraps | entry=prot16
mov sp, 6
pusha
== popa wraps | entry=prot16
mov dword [0xfff8], 0x00020001
mov dword [0xfffc], 0x00040003
mov sp, 0xfff8
popa
== enter | entry=prot0
mov ebp, STACK0 - 0x40
enter 16, 3
== enter beyond | entry=prot0
mov ebp, 0x44
mov esp, 0x40
enter 0xfff0, 0
nop
== instruction too long
times 15 db 0x2e
nop
== fifteen bytes
times 14 db 0x2e
nop
== lock on a register
lock nop
== lock on a read
db 0xf0, 0x8b, 0x03
== bound inside
mov dword [DATA], 5
mov dword [DATA + 4], 10
mov eax, 7
bound eax, [DATA]
== bound outside
mov dword [DATA], 5
mov dword [DATA + 4], 10
mov eax, 11
bound eax, [DATA]
== into
mov al, 0x7f
inc al
into
== int3
int3
== int3 from ring 3 | entry=prot3
int3
== int1 from ring 3 | entry=prot3
int1
== int n beyond the table
int 0x60
== int n privileged | entry=prot3
int 0x20
== divide by zero
div ecx
== divide overflow
mov edx, 2
mov ecx, 1
idiv ecx
== aam 0
mov al, 5
aam 0
== ud2
ud2
== arpl up | entry=prot3
mov ax, 0x10
mov bx, 3
arpl ax, bx
sbb ecx, ecx
setz cl
== arpl same | entry=prot3
mov ax, 0x13
mov bx, 2
arpl ax, bx
setz cl
xor ebx, ebx
== lds
mov dword [DATA], 0x12345678
mov word [DATA + 4], 0x23
lds eax, [DATA]
== les null
les eax, [DATA]
mov edx, es
== lss not writable
mov word [DATA + 4], READONLY
lss eax, [DATA]
== pop ds faults before esp moves
push READONLY | 0x8000
pop ds
== pop es byte of a not-present segment
push NOTPRESENT
pop es
== push fs 16 bits
o16 push fs
== mov cs
db 0x8e, 0xc8
== hlt in ring 3 | entry=prot3
hlt
== cli in ring 3 | entry=prot3
cli
== cli with IOPL 3 | entry=prot3 flags=0x3202
cli
pushfd
pop eax
== sti shadow | flags=0x3002
sti
pushfd
pop eax
cli
== popf in ring 3 | entry=prot3
push 0x3ed7
popfd
pushfd
pop eax
== popf with IOPL 3 | entry=prot3 flags=0x3002
push 0x24ed7 & ~0x100
popfd
pushfd
pop eax
== popf in ring 0
push 0x247ed7 & ~0x100
popfd
pushfd
pop eax
push 2
popfd
== popf 16 in ring 0 | flags=0x240002
o16 push 0x7ed7 & ~0x100
popf
pushfd
pop eax
push 2
popfd
== in without permission | entry=prot3
in al, 0x80
== in with the bitmap | entry=prot3
mov byte [TSSA + 0x88 + 0x10], 0xfd
in al, 0x81
xor eax, eax
in al, 0x80
== word in needs two bits | entry=prot3
mov byte [TSSA + 0x88 + 0x10], 0x02
in ax, 0x80
== in beyond the bitmap | entry=prot3
mov dx, 0x3ff
in al, dx
== bitmap offset beyond the limit | entry=prot3
mov word [TSSA + 0x66], 0x100
in al, 0x80
== iopl 3 allows | entry=prot3 flags=0x3002
out 0x80, al
== lmsw cannot clear PE
mov ax, 0
lmsw ax
smsw eax
and eax, 0x1f
== lmsw sets TS
mov ax, 0xf
lmsw ax
smsw eax
and eax, 0x1f
clts
smsw ebx
and ebx, 0x1f
== mov cr0 PG without PE
mov eax, 0x80000010
mov cr0, eax
== mov cr0 NW without CD
mov eax, 0x20000011
mov cr0, eax
== mov cr4 reserved
mov eax, 0x80000000
mov cr4, eax
== mov cr in ring 3 | entry=prot3
mov eax, cr0
== mov dr in ring 3 | entry=prot3
mov eax, dr7
== cr1
db 0x0f, 0x20, 0xc8
== cr5
db 0x0f, 0x20, 0xe8
== lgdt in ring 3 | entry=prot3
lgdt [DATA]
== sgdt in ring 3 | entry=prot3
sgdt [DATA]
mov eax, [DATA]
mov ebx, [DATA + 4]
== sgdt with UMIP | entry=prot3 cr4=0x800
sgdt [DATA]
== str with UMIP | entry=prot3 cr4=0x800
str eax
== smsw with UMIP | entry=prot3 cr4=0x800
smsw eax
== sidt 16-bit operand
o16 sidt [DATA]
mov eax, [DATA]
mov ebx, [DATA + 4]
== lgdt 16-bit operand has 24 bits of base
mov word [DATA], 0x1ff
mov dword [DATA + 2], 0xaa000000 + GDT
o16 lgdt [DATA]
sgdt [DATA + 8]
mov eax, [DATA + 8]
mov ebx, [DATA + 12]
== ltr busy
mov ax, TSSA_SEL
ltr ax
== invlpg in ring 3 | entry=prot3
invlpg [DATA]
== invlpg of a register
db 0x0f, 0x01, 0xf8
== rdmsr unknown
mov ecx, 0x12345
rdmsr
== rdmsr in ring 3 | entry=prot3
rdmsr
== rdtsc with TSD | entry=prot3 cr4=4
rdtsc
== rdpmc in ring 3 | entry=prot3
rdpmc
== wbinvd in ring 3 | entry=prot3
wbinvd
== wrmsr EFER reserved
mov ecx, 0xc0000080
mov eax, 2
wrmsr
== sysenter without an MSR
sysenter
== sysenter
mov ecx, 0x174
mov eax, CODE0
xor edx, edx
wrmsr
inc ecx
mov eax, STACK0
wrmsr
inc ecx
mov eax, there
wrmsr
sysenter
nop
there: mov ebx, esp
mov ecx, cs
mov edx, ss
== sysexit
mov ecx, 0x174
mov eax, CODE0
xor edx, edx
wrmsr
mov edx, there
mov ecx, STACK3
sysexit
nop
there: mov ebx, cs
== sysexit without an MSR
sysexit
== sysexit in ring 3 | entry=prot3
sysexit
== syscall without SCE
syscall
== align check | entry=prot3 cr0=0x40000 flags=0x40002
mov eax, [DATA + 1]
== align check of a word | entry=prot3 cr0=0x40000 flags=0x40002
mov ax, [DATA + 2]
mov ax, [DATA + 1]
== align check off in ring 0 | cr0=0x40000 flags=0x40002
mov eax, [DATA + 1]
== align check of push | entry=prot3 cr0=0x40000 flags=0x40002
mov esp, STACK3 - 1
push eax
== align check not for a far pointer's tables | entry=prot3 cr0=0x40000 flags=0x40002
mov word [DATA + 6], 0x23
lds eax, [DATA + 2]
== x87 with EM | cr0=4
fninit
== x87 with TS | cr0=8
fninit
== wait with MP and TS | cr0=10
wait
`,
)

const GATES = suite(
  'gate',
  'entry=prot3',
  `
== call gate with two parameters
gate FREE, CODE0, there, 0xec, 2
push 0x11112222
push 0x33334444
call FREE+3:0
there:
== call gate 16-bit with three parameters
gate FREE, CODEM, 0x10, 0xe4, 3
mov dword [0x10010], 0x909040cd
o16 push 0x1111
o16 push 0x2222
o16 push 0x3333
call FREE+3:0
== call gate returns
gate FREE, CODE0, there, 0xec, 1
push 0x11112222
call FREE+3:0
mov ecx, esp
done
there: mov eax, [esp + 8]
retf 4
== call gate DPL too small
gate FREE, CODE0, there, 0x8c, 0
call FREE+3:0
there:
== call gate RPL too large
gate FREE, CODE0, there, 0xac, 0
call FREE+3:0
there:
== call gate not present
gate FREE, CODE0, there, 0x6c, 0
call FREE+3:0
there:
== jmp through a gate to ring 0
gate FREE, CODE0, there, 0xec, 0
jmp FREE+3:0
there:
== jmp through a gate, same ring
gate FREE, CODE3, there, 0xec, 0
jmp FREE+3:0
nop
there: mov ebx, cs
== call gate to conforming code
gate FREE, CONF, there, 0xec, 2
call FREE+3:0
there: mov ebx, cs
== call gate to ring 1
gate FREE, 0x90, there, 0xec, 0
call FREE+3:0
there: mov ebx, cs
mov ecx, ss
mov edx, esp
== call gate stack limit
gate FREE, CODE0, there, 0xec, 2
desc FREE+8, 0, 0xf, 0x93, 4
mov dword [TSSA + 4], 8
mov word [TSSA + 8], FREE+8
call FREE+3:0
there:
== ring-0 stack null
mov word [TSSA + 8], 0
gate FREE, CODE0, there, 0xec, 0
call FREE+3:0
there:
== ring-0 stack wrong privilege
mov word [TSSA + 8], 0x23
gate FREE, CODE0, there, 0xec, 0
call FREE+3:0
there:
== ring-0 stack not present
desc FREE+8, 0, 0xfffff, 0x13, 0xc
mov word [TSSA + 8], FREE+8
gate FREE, CODE0, there, 0xec, 0
call FREE+3:0
there:
== ring-1 stack beyond the TSS
desc TSSA_SEL, TSSA, 0xb, 0x8b, 0
gate FREE, 0x90, there, 0xec, 0
call FREE+3:0
there:
== call gate offset beyond the limit
desc FREE+8, 0, 0xfff, 0x9b, 4
gate FREE, FREE+8, there, 0xec, 0
call FREE+3:0
there:
== jmp gate offset beyond the limit
desc FREE+8, 0, 0xfff, 0xfb, 4
gate FREE, FREE+8, there, 0xec, 0
jmp FREE+3:0
there:
== far call pushes on the old stack | entry=prot0
call CODE0:there
there: mov ebx, [esp]
mov ecx, [esp + 4]
== far call 16 | entry=prot0
o16 call CODE0:there
there: mov ebx, [esp]
== far call indirect | entry=prot0
mov dword [DATA], there
mov word [DATA + 4], CODE0
call far [DATA]
there: mov ebx, esp
== far jmp indirect null | entry=prot0
jmp far [DATA]
== retf to an outer ring | entry=prot0
push 0x23
push STACK3
push CODE3
push there
retf 8
there: mov ebx, esp
mov ecx, ds
mov edx, cs
== retf with parameters of both stacks | entry=prot0
push 0x23
push STACK3 - 0x20
push 0
push 0
push CODE3
push there
retf 8
there: mov ebx, esp
== retf nulls data segments | entry=prot0
mov ax, CONF
mov fs, ax
mov ax, DATA3
mov gs, ax
push 0x23
push STACK3
push CODE3
push there
retf
there: mov ebx, fs
mov ecx, gs
mov edx, ds
== trap gate keeps IF | entry=prot0 flags=0x202
idt 0x42, CODE0, there, 0x8f00
cli
push 0x302 & ~0x100
popfd
int 0x42
there: pushfd
cli
pop eax
== interrupt gate clears NT and TF
push 0x4002
popfd
int 0x40
== 16-bit interrupt gate | entry=prot0
idt 0x42, CODEM, 0x10, 0x8600
mov dword [0x10010], 0x909040cd
int 0x42
== 16-bit interrupt gate from ring 3
idt 0x42, CODEM, 0x10, 0xe600
mov dword [0x10010], 0x909040cd
int 0x42
== 16-bit gate of a fault with an error code
idt 13, CODEM, 0x10, 0x8600
mov dword [0x10010], 0x909040cd
hlt
== conforming handler
idt 0x42, CONF, there, 0xee00
int 0x42
there: mov ebx, cs
mov ecx, esp
== gate not present
idt 0x42, CODE0, there, 0x6e00
int 0x42
there:
== gate that is no gate
idt 0x42, CODE0, there, 0xec00
int 0x42
there:
== handler beyond its segment
desc FREE, 0, 0xfff, 0x9b, 4
idt 0x42, FREE, there, 0xee00
int 0x42
there:
== handler null
idt 0x42, 0, there, 0xee00
int 0x42
there:
== fault while a fault is delivered
idt 13, NOTPRESENT_CODE, 0, 0x8e00
hlt
== not present while a divide error is delivered
idt 0, NOTPRESENT_CODE, 0, 0x8e00
div ecx
== page-fault class after #UD is benign
idt 6, NOTPRESENT_CODE, 0, 0x8e00
ud2
== double fault
idt 13, 0, 0, 0x8e00
hlt
== double fault needs its gate
idt 13, 0, 0, 0x8e00
idt 8, 0, 0, 0x8e00
hlt
== stack fault in delivery
desc FREE, 0, 3, 0x93, 4
mov word [TSSA + 8], FREE
mov dword [TSSA + 4], 4
int 0x40
== iret from ring 3
push 2
push CODE3
push there
iretd
there: mov ebx, esp
== iret to an inner ring
push 2
push CODE0
push there
iretd
there:
== iret cannot change IOPL
push 0x3202
push CODE3
push there
iretd
there: pushfd
pop eax
== iret to ring 3 | entry=prot0
push DATA3
push STACK3
push 0x3002
push CODE3
push there
iretd
there: mov ebx, ds
mov ecx, cs
mov edx, ss
== iret 16 | entry=prot0
o16 push 2
o16 push CODE0
o16 push there
o16 iret
there: mov ebx, esp
== iret to ring 3 with a bad stack | entry=prot0
push DATA0
push STACK3
push 2
push CODE3
push there
iretd
there:
== iret beyond the limit | entry=prot0
desc FREE, 0, 0xfff, 0xfb, 4
push DATA3
push STACK3
push 2
push FREE+3
push there
iretd
there:
== iret stack limit | entry=prot0
desc FREE, 0, 0xfff, 0x93, 4
mov ax, FREE
mov ss, ax
mov esp, 0xff8
iretd
== ring-3 stack 16-bit keeps the upper half of esp | entry=prot0
desc FREE, 0, 0xffff, 0xf3, 0
mov esp, STACK0
push FREE+3
push STACK3
push 2
push CODE3
push there
iretd
there: mov ebx, esp
`,
)

export const SEGMENT_CASES: readonly XCase[] = [...everySelector(), ...everyType(), ...LIMITS, ...GATES]
