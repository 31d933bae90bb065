/**
 * The program around the cases. For each case it rebuilds descriptor tables, TSSs, page tables and data from pristine copies, enters the wanted mode with
 * all general registers zero, and prints the state at the first exception or interrupt that reaches a handler (INT 40h ends a case that has no
 * other end). A reset while a case runs is a triple fault and is printed as `R`.
 */
import type { EntryName } from './case.js'

/** Addresses that cases may rely on, as `%define`s of the same names. */
export const LAYOUT = {
  GDT: 0x1000,
  LDT: 0x1800,
  IDT: 0x2000,
  IDT64: 0x3000,
  TSSA: 0x4000,
  TSSB: 0x4800,
  TSS16A: 0x5000,
  TSS16B: 0x5400,
  TSS64: 0x5800,
  /** Supervisor data, zero. */
  SDATA: 0x6000,
  /** Top of the ring-0 stack. */
  STACK0: 0x7e00,
  CODE: 0x8000,
  /** User data, zero. */
  DATA: 0x9000,
  STACK3: 0xa800,
  /** One more user page, zero. */
  DATA2: 0xb000,
  STACK1: 0xc400,
  STACK2: 0xc800,
  IST1: 0xd400,
  IST2: 0xd800,
  DFSTACK: 0xdc00,
  PD: 0x40000,
  PT: 0x41000,
  PDPT_PAE: 0x42000,
  PD_PAE: 0x43000,
  PT_PAE: 0x44000,
  PML4: 0x45000,
  PDPT: 0x46000,
  // selectors
  CODE0: 0x08,
  DATA0: 0x10,
  CODE3: 0x1b,
  DATA3: 0x23,
  CODE16: 0x28,
  DATA16: 0x30,
  CONF: 0x38,
  CODE64: 0x40,
  CODE64_3: 0x4b,
  /** Base 10000h, for 16-bit gates to the monitor. */
  CODEM: 0x50,
  TSSA_SEL: 0x58,
  TSSB_SEL: 0x60,
  TSS16A_SEL: 0x68,
  TSS16B_SEL: 0x70,
  TSS64_SEL: 0x78,
  LDT_SEL: 0x88,
  CODE1: 0x91,
  DATA1: 0x99,
  CODE2: 0xa2,
  DATA2_SEL: 0xaa,
  /** Expand-down, limit FFFh, 32-bit (so 1000h–FFFFFFFFh); the same with B = 0. */
  DOWN: 0xb0,
  DOWN16: 0xb8,
  /** Data with limit 0FFFh from DATA on, byte granular. */
  SMALL: 0xc0,
  READONLY: 0xc8,
  EXECONLY: 0xd0,
  NOTPRESENT: 0xd8,
  NOTPRESENT_CODE: 0xe0,
  /** First of sixteen free descriptors. */
  FREE: 0xe8,
} as const

export const PRELUDE: string = `${Object.entries(LAYOUT)
  .map(([name, value]) => `%define ${name} ${value}`)
  .join('\n')}
%define SYSEXITVECTOR 0x40
%macro done 0
  int 0x40
%endmacro
; desc SELECTOR, BASE, LIMIT, ACCESS, FLAGS: a descriptor in the GDT (32-bit code)
%macro desc 5
  mov dword [GDT + (%1 & 0xfff8)], ((%3) & 0xffff) | (((%2) & 0xffff) << 16)
  mov dword [GDT + (%1 & 0xfff8) + 4], (((%2) >> 16) & 0xff) | ((%4) << 8) | ((%3) & 0xf0000) | ((%5) << 20) | ((%2) & 0xff000000)
%endmacro
; gate SELECTOR, TARGET SELECTOR, OFFSET, ACCESS, COUNT: a gate in the GDT
%macro gate 5
  mov dword [GDT + (%1 & 0xfff8)], ((%3) & 0xffff) | ((%2) << 16)
  mov dword [GDT + (%1 & 0xfff8) + 4], ((%3) & 0xffff0000) | ((%4) << 8) | (%5)
%endmacro
; idt VECTOR, SELECTOR, OFFSET, ACCESS: a gate in the 32-bit IDT
%macro idt 4
  mov dword [IDT + (%1) * 8], ((%3) & 0xffff) | ((%2) << 16)
  mov dword [IDT + (%1) * 8 + 4], ((%3) & 0xffff0000) | ((%4) << 8)
%endmacro
`

/** Number, code size and address of each entry. */
export const ENTRIES: Readonly<
  Record<
    EntryName,
    { readonly number: number; readonly bits: 16 | 32 | 64; readonly org: number; readonly long?: boolean }
  >
> = {
  real: { number: 0, bits: 16, org: 0x8000 },
  prot0: { number: 1, bits: 32, org: 0x8000 },
  prot3: { number: 2, bits: 32, org: 0x8000 },
  prot16: { number: 3, bits: 16, org: 0x8000 },
  v86: { number: 4, bits: 16, org: 0 },
  long0: { number: 5, bits: 64, org: 0x8000, long: true },
  long3: { number: 6, bits: 64, org: 0x8000, long: true },
  compat3: { number: 7, bits: 32, org: 0x8000, long: true },
}

/** The last 512 bytes of the ROM: copies the monitor to 10000h and jumps there in flat protected mode. */
export function ROM_RESET(romBase: number, length: number): string {
  return `
bits 16
org 0xfe00
start:
  cli
  o32 lgdt [cs:gdtr]
  mov eax, cr0
  or al, 1
  and eax, 0x9fffffff
  mov cr0, eax
  jmp dword 0x08:0xffe00 + (flat - start)
bits 32
flat:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 0xff00
  cld
  mov esi, ${romBase}
  mov edi, 0x10000
  mov ecx, ${Math.ceil(length / 4)}
  rep movsd
  mov al, 0xff
  out 0x21, al
  out 0xa1, al
  in al, 0x92
  or al, 2
  and al, 0xfe
  out 0x92, al
  mov eax, [0x10000]
  add eax, 0x10000
  jmp eax
align 8
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: dw 23
  dd 0xffe00 + (gdt - start)
  times 0x1f0 - ($ - $$) db 0xf4
bits 16
  jmp 0xf000:0xfe00
  times 0x200 - ($ - $$) db 0
`
}

const D = (base: number, limit: number, access: number, flags: number): string => {
  const lo = ((limit & 0xffff) | ((base & 0xffff) << 16)) >>> 0
  const hi = (((base >>> 16) & 0xff) | (access << 8) | (limit & 0xf0000) | (flags << 20) | (base & 0xff000000)) >>> 0
  return `dd ${lo}, ${hi}`
}

function gdt(): string {
  const L = LAYOUT
  return [
    'dd 0, 0',
    D(0, 0xfffff, 0x9b, 0xc), // 08
    D(0, 0xfffff, 0x93, 0xc), // 10
    D(0, 0xfffff, 0xfb, 0xc), // 18
    D(0, 0xfffff, 0xf3, 0xc), // 20
    D(0, 0xffff, 0x9b, 0), // 28
    D(0, 0xffff, 0x93, 0), // 30
    D(0, 0xfffff, 0x9f, 0xc), // 38
    D(0, 0xfffff, 0x9b, 0xa), // 40
    D(0, 0xfffff, 0xfb, 0xa), // 48
    D(0x10000, 0xfffff, 0x9b, 0xc), // 50
    D(L.TSSA, 0xff, 0x89, 0), // 58
    D(L.TSSB, 0x67, 0x89, 0), // 60
    D(L.TSS16A, 0x2b, 0x81, 0), // 68
    D(L.TSS16B, 0x2b, 0x81, 0), // 70
    D(L.TSS64, 0x67, 0x89, 0), // 78
    'dd 0, 0', // 80
    D(L.LDT, 0x3f, 0x82, 0), // 88
    D(0, 0xfffff, 0xbb, 0xc), // 90
    D(0, 0xfffff, 0xb3, 0xc), // 98
    D(0, 0xfffff, 0xdb, 0xc), // a0
    D(0, 0xfffff, 0xd3, 0xc), // a8
    D(0, 0xfff, 0x97, 0x4), // b0
    D(0, 0xfff, 0x97, 0x0), // b8
    D(L.DATA, 0xfff, 0xf3, 0x4), // c0
    D(0, 0xfffff, 0xf1, 0xc), // c8
    D(0, 0xfffff, 0xf9, 0xc), // d0
    D(0, 0xfffff, 0x73, 0xc), // d8
    D(0, 0xfffff, 0x7b, 0xc), // e0
  ].join('\n')
}

/** Offset of a field of the case table. */
const F = { body: 0, length: 4, entry: 8, paging: 12, flags: 16, cr0: 20, cr4: 24, efer: 28 } as const

const HEX_PAIRS: string = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, '0')).join('')

/** The monitor with `count` cases whose table and bodies are `data`. */
export function monitorSource(count: number, data: string): string {
  const L = LAYOUT
  return `${PRELUDE}
%define MAGIC 0xe00
%define INDEX 0xe04
%define SAVE 0xe10
%define VECTORS 0x48
%define PRISTINE_IVT 0x50000
%define PRISTINE_IDT 0x50200
%define PRISTINE_IDT64 0x50800
%define MON16 0x1f0
%define MONSTACK 0xf800
org 0x10000
bits 32
dd boot - 0x10000
  times 0x3c db 0 ; for cases that need a handler at 10010h

; --- 16-bit code, reached through segment 1000h -------------------------------------------------------------------
bits 16
stub16:
%assign v 0
%rep VECTORS
  push strict word v
  jmp near common16
%assign v v+1
%endrep
hex16: ; AL
  push ax
  shr al, 4
  call nibble16
  pop ax
nibble16:
  and al, 15
  add al, '0'
  cmp al, '9'
  jbe .put
  add al, 'a' - '9' - 1
.put:
  out 0xe9, al
  ret
word16: ; AX
  xchg al, ah
  call hex16
  xchg al, ah
  jmp hex16
dword16: ; EAX
  push eax
  shr eax, 16
  call word16
  pop eax
  call word16
space16:
  mov al, ' '
  out 0xe9, al
  ret
common16:
  pushfd
  pushad
  push ds
  push es
  push fs
  push gs
  mov ax, ss
  mov bp, sp
  mov al, 'r'
  out 0xe9, al
  mov ax, [bp + 44] ; vector
  call hex16
  call space16
  mov si, 7
.regs:
  mov di, si
  shl di, 2
  mov eax, [bp + di + 8]
  cmp si, 3
  jne .notsp
  movzx eax, bp
  add ax, 46 ; SP at the handler's entry
.notsp:
  call dword16
  dec si
  jns .regs
  mov eax, [bp + 40] ; flags in the handler
  call dword16
  mov ax, [bp + 6]
  call word16
  call space16
  mov ax, [bp + 4]
  call word16
  call space16
  mov ax, [bp + 2]
  call word16
  call space16
  mov ax, [bp]
  call word16
  call space16
  mov ax, ss
  call word16
  mov cx, 6
  lea si, [bp + 46]
.words:
  call space16
  mov ax, [ss:si]
  call word16
  add si, 2
  loop .words
  mov eax, cr0
  or al, 1
  cli
  o32 lgdt [cs:gdtr - 0x10000]
  mov cr0, eax
  jmp dword 0x08:finish32

real_entry:
  mov ax, 0
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov sp, STACK0
  xor eax, eax
  xor ebx, ebx
  xor ecx, ecx
  xor edx, edx
  xor esi, esi
  xor edi, edi
  xor ebp, ebp
  push dword 2
  popfd
  movzx esp, sp
  jmp 0:CODE
real_switch: ; 16-bit protected mode, base 10000h
  mov ax, DATA16
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  lidt [cs:ivtr - 0x10000]
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0x1000:real_entry - 0x10000

; --- 32-bit -------------------------------------------------------------------------------------------------------
bits 32
align 16
stub32:
%assign v 0
%rep VECTORS
  push strict dword v
  jmp near common32
%assign v v+1
%endrep
hex: ; AL
  push eax
  push ebx
  movzx ebx, al
  mov bx, [ds:hexpairs + ebx * 2]
  mov al, bl
  out 0xe9, al
  mov al, bh
  out 0xe9, al
  pop ebx
  pop eax
  ret
word32:
  xchg al, ah
  call hex
  xchg al, ah
  call hex
  jmp space
dword32:
  rol eax, 8
  call hex
  rol eax, 8
  call hex
  rol eax, 8
  call hex
  rol eax, 8
  call hex
space:
  push eax
  mov al, ' '
  out 0xe9, al
  pop eax
  ret
common32:
  pushfd
  cld
  pushad
  push ds
  push es
  push fs
  push gs
  jmp 0x08:.flat
.flat:
  mov ebp, esp
  mov eax, ss
  lar eax, eax
  test eax, 0x400000
  jnz .big
  movzx ebp, bp
.big:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov [SAVE], ss
  mov ss, ax
  mov esp, MONSTACK
  mov al, 'p'
  out 0xe9, al
  mov eax, [ds:ebp + 52]
  call hex
  call space
  mov esi, 7
.regs:
  mov eax, [ds:ebp + esi * 4 + 16]
  cmp esi, 3
  jne .notsp
  lea eax, [ebp + 56]
.notsp:
  call dword32
  dec esi
  jns .regs
  mov eax, [ds:ebp + 48]
  call dword32
  mov esi, 3
.segs:
  mov eax, [ds:ebp + esi * 4]
  call word32
  dec esi
  jns .segs
  mov eax, [SAVE]
  call word32
  mov ecx, 10
  lea esi, [ebp + 56]
.words:
  mov eax, [ds:esi]
  call dword32
  add esi, 4
  loop .words
  mov eax, cr0
  and eax, 0x0001002f
  call dword32
  mov eax, cr2
  call dword32
  mov eax, dr6
  call dword32
  str ax
  call word32
finish32: ; anywhere with CS = 08
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov esp, MONSTACK
  mov al, 10
  out 0xe9, al
next:
  inc dword [INDEX]
again:
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  jmp short .off
.off:
  cld
  mov eax, [INDEX]
  cmp eax, ${count}
  jb case
  mov dword [MAGIC], 0
  mov al, 'E'
  out 0xe9, al
  mov al, 10
  out 0xe9, al
  xor eax, eax
  out 0xf4, al
  mov esi, .shutdown
  mov edx, 0x8900
.bye:
  lodsb
  out dx, al
  test al, al
  jnz .bye
  cli
  hlt
  jmp .bye
.shutdown: db 'Shutdown', 0

boot:
  mov esp, MONSTACK
  ; IVT
  mov edi, PRISTINE_IVT
  mov eax, 0x10000000 + stub16 - 0x10000
  mov ecx, VECTORS
.ivt:
  mov [edi], eax
  add edi, 4
  add eax, 6
  loop .ivt
  ; IDT: interrupt gates, DPL 0, those from 40h on DPL 3
  mov edi, PRISTINE_IDT
  mov esi, PRISTINE_IDT64
  mov eax, stub32
  mov edx, stub64
  xor ecx, ecx
.idt:
  mov [edi], ax
  mov word [edi + 2], CODE0
  mov word [edi + 4], 0x8e00
  mov [esi], dx
  mov word [esi + 2], CODE64
  mov word [esi + 4], 0x8e00
  mov dword [esi + 8], 0
  mov dword [esi + 12], 0
  cmp ecx, 0x40
  jb .inner
  mov byte [edi + 5], 0xee
  mov byte [esi + 5], 0xee
.inner:
  rol eax, 16
  mov [edi + 6], ax
  rol eax, 16
  rol edx, 16
  mov [esi + 6], dx
  rol edx, 16
  add edi, 8
  add esi, 16
  add eax, 10
  add edx, 10
  inc ecx
  cmp ecx, VECTORS
  jb .idt
  cmp dword [MAGIC], 0x5ca1ab1e
  jne .fresh
  mov al, 'R'
  out 0xe9, al
  jmp finish32
.fresh:
  mov dword [MAGIC], 0x5ca1ab1e
  mov dword [INDEX], 0
  jmp again

case:
  push 2
  popfd
  shl eax, 5
  lea ebx, [eax + table]
  ; processor state
  mov eax, 0x11
  mov cr0, eax
  xor eax, eax
  mov cr3, eax
  mov cr2, eax
  mov cr4, eax
  mov dr7, eax
  mov dr0, eax
  mov dr1, eax
  mov dr2, eax
  mov dr3, eax
  mov eax, 0xffff0ff0
  mov dr6, eax
  xor eax, eax
  xor edx, edx
  mov ecx, 0xc0000080
  wrmsr
  mov ecx, 0x174
  wrmsr
  mov ecx, 0x175
  wrmsr
  mov ecx, 0x176
  wrmsr
  mov ecx, 0xc0000081
  wrmsr
  mov ecx, 0xc0000082
  wrmsr
  mov ecx, 0xc0000083
  wrmsr
  mov ecx, 0xc0000084
  wrmsr
  mov ecx, 0xc0000100
  wrmsr
  mov ecx, 0xc0000101
  wrmsr
  mov ecx, 0xc0000102
  wrmsr
  ; memory
  xor eax, eax
%macro zero 2
  mov edi, %1
  mov ecx, (%2) / 4
  rep stosd
%endmacro
  zero 0x10004, 0x3c
  zero GDT, 0x200
  zero TSSA, 0x100
  zero TSSB, 0x80
  zero TSS16A, 0x40
  zero TSS16B, 0x40
  zero TSS64, 0x80
  zero SDATA, 0x100
  zero STACK0 - 0x100, 0x200
  zero DATA, 0x100
  zero STACK3 - 0x40, 0x80
  zero DATA2, 0x40
  zero STACK1 - 0x40, 0x80
  zero STACK2 - 0x40, 0x80
  zero IST1 - 0x80, 0xc0
  zero IST2 - 0x80, 0xc0
  zero DFSTACK - 0x80, 0xc0
  mov esi, pristine_gdt
  mov edi, GDT
  mov ecx, (pristine_gdt_end - pristine_gdt) / 4
  rep movsd
  mov esi, pristine_ldt
  mov edi, LDT
  mov ecx, 16
  rep movsd
  mov esi, PRISTINE_IVT
  xor edi, edi
  mov ecx, VECTORS
  rep movsd
  mov esi, PRISTINE_IDT
  mov edi, IDT
  mov ecx, VECTORS * 2
  rep movsd
  mov esi, PRISTINE_IDT64
  mov edi, IDT64
  mov ecx, VECTORS * 4
  rep movsd
  ; task state segments
  mov dword [TSSA + 4], STACK0
  mov dword [TSSA + 8], DATA0
  mov dword [TSSA + 12], STACK1
  mov dword [TSSA + 16], DATA1
  mov dword [TSSA + 20], STACK2
  mov dword [TSSA + 24], DATA2_SEL
  mov dword [TSSA + 0x64], 0x880000 ; I/O map at 88h, below it the redirection map
  mov byte [TSSA + 0xff], 0xff
  mov dword [TSSB + 0x64], 0x680000
  mov word [TSS16A + 2], STACK0
  mov word [TSS16A + 4], DATA16
  mov dword [TSS64 + 4], STACK0
  mov dword [TSS64 + 0x24], IST1
  mov dword [TSS64 + 0x2c], IST2
  mov dword [TSS64 + 0x64], 0x680000
  ; page tables
  cmp dword [ebx + ${F.paging}], 0
  je .nopages
  xor eax, eax
  zero PD, 0x40
  zero PT, 0x180
  zero PDPT_PAE, 0x40
  zero PD_PAE, 0x40
  zero PT_PAE, 0x300
  zero PML4, 0x40
  zero PDPT, 0x40
  mov dword [PD], PT + 7
  mov dword [PDPT_PAE], PD_PAE + 1
  mov dword [PD_PAE], PT_PAE + 7
  mov dword [PML4], PDPT + 7
  mov dword [PDPT], PD_PAE + 7
  xor ecx, ecx
  mov eax, 3
.page:
  mov edx, eax
  cmp ecx, 8
  jb .supervisor
  cmp ecx, 0xb
  ja .supervisor
  or edx, 4
.supervisor:
  mov [PT + ecx * 4], edx
  mov [PT_PAE + ecx * 8], edx
  add eax, 0x1000
  inc ecx
  cmp ecx, 0x50
  jb .page
.nopages:
  ; the case itself
  mov esi, [ebx + ${F.body}]
  mov edi, CODE
  mov ecx, [ebx + ${F.length}]
  rep movsb
  lgdt [gdtr]
  lidt [idtr]
  mov ax, LDT_SEL
  lldt ax
  mov eax, [ebx + ${F.paging}]
  cmp eax, 3
  je .long
  mov cx, TSSA_SEL
  ltr cx
  mov ecx, [ebx + ${F.cr4}]
  cmp eax, 2
  jne .notpae
  or ecx, 0x20
.notpae:
  mov cr4, ecx
  push eax
  mov eax, [ebx + ${F.efer}]
  test eax, eax
  jz .noefer
  xor edx, edx
  mov ecx, 0xc0000080
  wrmsr
.noefer:
  pop eax
  mov ecx, [ebx + ${F.cr0}]
  or ecx, 0x11
  test eax, eax
  jz .cr0
  mov edx, PD
  cmp eax, 1
  je .cr3
  mov edx, PDPT_PAE
.cr3:
  mov cr3, edx
  or ecx, 0x80000000
.cr0:
  mov cr0, ecx
  jmp short .enter
.enter:
  mov eax, [ebx + ${F.entry}]
  cmp eax, 0
  je .real
  cmp eax, 3
  je .prot16
  cmp eax, 1
  je .prot0
  cmp eax, 4
  je .v86
  ; ring 3
  mov ax, DATA3
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  push DATA3
  push STACK3
  push dword [ebx + ${F.flags}]
  push CODE3
  push CODE
  jmp .clear
.v86:
  push 0
  push 0
  push 0x900
  push 0x900
  push 0xa00
  push 0x800
  mov eax, [ebx + ${F.flags}]
  or eax, 0x20000
  push eax
  push 0x800
  push 0
  jmp .clear
.prot16:
  mov ax, DATA16
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov esp, STACK0
  push dword [cs:ebx + ${F.flags}]
  push CODE16
  push CODE
  jmp .clear
.prot0:
  mov esp, STACK0
  push dword [ebx + ${F.flags}]
  push CODE0
  push CODE
.clear:
  xor eax, eax
  xor ebx, ebx
  xor ecx, ecx
  xor edx, edx
  xor esi, esi
  xor edi, edi
  xor ebp, ebp
  iretd
.real:
  jmp MON16:real_switch - 0x10000
.long:
  mov ecx, [ebx + ${F.cr4}]
  or ecx, 0x20
  mov cr4, ecx
  mov eax, PML4
  mov cr3, eax
  mov eax, [ebx + ${F.efer}]
  or eax, 0x100
  xor edx, edx
  mov ecx, 0xc0000080
  wrmsr
  mov eax, [ebx + ${F.cr0}]
  or eax, 0x80000011
  mov cr0, eax
  jmp CODE64:long_entry

bits 64
align 16
stub64:
%assign v 0
%rep VECTORS
  push strict dword v
  jmp near common64
%assign v v+1
%endrep
hex64: ; AL
  push rax
  push rbx
  movzx ebx, al
  mov bx, [hexpairs + rbx * 2]
  mov al, bl
  out 0xe9, al
  mov al, bh
  out 0xe9, al
  pop rbx
  pop rax
  ret
qword64: ; RAX
  push rcx
  mov ecx, 8
.more:
  rol rax, 8
  call hex64
  dec ecx
  jnz .more
  pop rcx
space64:
  push rax
  mov al, ' '
  out 0xe9, al
  pop rax
  ret
word64:
  xchg al, ah
  call hex64
  xchg al, ah
  call hex64
  jmp space64
common64:
  pushfq
  cld
  push r15
  push r14
  push r13
  push r12
  push r11
  push r10
  push r9
  push r8
  push rdi
  push rsi
  push rbp
  push rsp
  push rbx
  push rdx
  push rcx
  push rax
  mov rbp, rsp
  add qword [rbp + 32], 104 ; RSP at the handler's entry
  mov al, 'l'
  out 0xe9, al
  mov eax, [rbp + 136]
  call hex64
  call space64
  xor esi, esi
.regs:
  mov rax, [rbp + rsi * 8]
  call qword64
  inc esi
  cmp esi, 17
  jb .regs
  mov ax, ds
  call word64
  mov ax, es
  call word64
  mov ax, fs
  call word64
  mov ax, gs
  call word64
  mov ax, ss
  call word64
  mov ecx, 7
  lea rsi, [rbp + 144]
.words:
  mov rax, [rsi]
  call qword64
  add rsi, 8
  dec ecx
  jnz .words
  mov rax, cr0
  and eax, 0x0001002f
  call qword64
  mov rax, cr2
  call qword64
  mov rax, dr6
  call qword64
  mov ecx, 0xc0000101
  rdmsr
  call hex64
  mov al, dl
  call hex64
  push .compat
  mov dword [rsp + 4], CODE0
  retf ; of 32 bits
bits 32
.compat:
  mov ax, DATA0
  mov ss, ax
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  jmp short .off
.off:
  mov ecx, 0xc0000080
  xor eax, eax
  xor edx, edx
  wrmsr
  jmp finish32
bits 64
long_entry:
  mov ax, TSS64_SEL
  ltr ax
  lidt [idtr64]
  mov ax, DATA3
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ebx, ebx
  mov eax, [rbx + ${F.entry}]
  mov ecx, CODE64
  mov edx, DATA0
  mov edi, STACK0
  cmp eax, 5
  je .go
  mov edx, DATA3
  mov edi, STACK3
  mov ecx, CODE64_3
  cmp eax, 6
  je .go
  mov ecx, CODE3
.go:
  mov esp, STACK0 ; zero upper half
  push rdx
  push rdi
  mov eax, [rbx + ${F.flags}]
  push rax
  push rcx
  push CODE
  xor eax, eax
  xor ebx, ebx
  xor ecx, ecx
  xor edx, edx
  xor esi, esi
  xor edi, edi
  xor ebp, ebp
  xor r8d, r8d
  xor r9d, r9d
  xor r10d, r10d
  xor r11d, r11d
  xor r12d, r12d
  xor r13d, r13d
  xor r14d, r14d
  xor r15d, r15d
  iretq

hexpairs: db '${HEX_PAIRS}'
align 8
gdtr: dw 0x1ff
  dd GDT
idtr: dw VECTORS * 8 - 1
  dd IDT
ivtr: dw VECTORS * 4 - 1
  dd 0
idtr64: dw VECTORS * 16 - 1
  dq IDT64
align 8
pristine_gdt:
${gdt()}
  times 0x1f0 - ($ - pristine_gdt) db 0
${D(0x10000, 0xffff, 0x9b, 0)}
  dd 0, 0
pristine_gdt_end:
pristine_ldt:
  dd 0, 0
${D(0, 0xfffff, 0xfb, 0xc)}
${D(0, 0xfffff, 0xf3, 0xc)}
${D(L.DATA, 0xff, 0xf3, 0x4)}
${D(0, 0xfffff, 0x93, 0xc)}
  dd 0, 0, 0, 0, 0, 0
align 32
table:
${data}
`
}
