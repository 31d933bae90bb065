/** The guest's memory map, selectors and ports, and the macros with which its stages are written. */

/** Assembly text: constants and macros only, no bytes. */
export const LAYOUT: string = `
; ---- memory map ----------------------------------------------------------------------------------------------------
LOAD            equ 0x7c00          ; where a BIOS puts a boot sector; the whole image follows it
MULTIBOOT_LOAD  equ 0x100000        ; where a multiboot loader puts the image, before it copies itself down
USER_STACK      equ 0x2d000         ; top of a page that ring 3 may write
USER_STACK_A    equ 0x2e000
USER_STACK_B    equ 0x2f000
SCRATCH         equ 0x30000         ; ring 0 only
V86_AREA        equ 0x38000         ; user page with 8086 code; real-mode segment 0x3800
IDT             equ 0x40000
TSS_MAIN        equ 0x41000         ; followed by its I/O bitmap
TSS_TASK        equ 0x42000
TSS_FAULT       equ 0x42400
KERNEL_STACK    equ 0x45000         ; tops of one-page stacks
STACK_A         equ 0x46000
STACK_B         equ 0x47000
TASK_STACK      equ 0x48000
FAULT_STACK     equ 0x49000
PAGE_DIR        equ 0x50000         ; page directory of the kernel
PAGES_LOW       equ 0x51000         ; page table: the first 4 MiB, linear = physical
PAGES_HIGH      equ 0x52000         ; page table: 4 MiB from HIGH
PAGE_DIR_A      equ 0x53000         ; two more address spaces, which differ above HIGH
PAGE_DIR_B      equ 0x54000
PAGES_A         equ 0x55000
PAGES_B         equ 0x56000
FRAMES          equ 0x60000         ; free page frames for demand paging
FRAME_X         equ 0x78000         ; page frames for experiments
FRAME_Y         equ 0x79000
DMA_SOURCE      equ 0x71230
DMA_TARGET      equ 0x84560
HIGH            equ 0x40000000      ; linear addresses from here on exist only through paging
DEMAND          equ 0x40100000      ; a region whose pages are filled in when they are touched
DEMAND_END      equ 0x40110000

; ---- selectors -----------------------------------------------------------------------------------------------------
CODE32          equ 0x08
DATA32          equ 0x10
CODE16          equ 0x18
DATA16          equ 0x20
USER_CODE       equ 0x28 + 3
USER_DATA       equ 0x30 + 3
SEL_TSS         equ 0x38
SEL_TASK        equ 0x40
SEL_FAULT_TASK  equ 0x48
SEL_LDT         equ 0x50
CALL_GATE       equ 0x58
TASK_GATE       equ 0x60
ABSENT          equ 0x68            ; a data segment that is not present
SMALL           equ 0x70            ; data, base SCRATCH, limit 0xfff
DOWN            equ 0x78            ; expand-down data: offsets above 0xfff only
READONLY        equ 0x80
EXECONLY        equ 0x88            ; code that may not be read
CONFORMING      equ 0x90
SHORT_TSS       equ 0x98            ; a TSS descriptor with too small a limit
GDT_END         equ 0xa0
LDT_DATA        equ 0x04            ; table indicator (bit 2) set: entry 0 of the LDT
LDT_SAME        equ 0x14            ; entry 2, which in the GDT is the flat data segment

; ---- flags ---------------------------------------------------------------------------------------------------------
CF              equ 0x0001
PF              equ 0x0004
AF              equ 0x0010
ZF              equ 0x0040
SF              equ 0x0080
TF              equ 0x0100
IF              equ 0x0200
DF              equ 0x0400
OF              equ 0x0800
NT              equ 0x4000
RF              equ 0x10000
VM              equ 0x20000
ARITH           equ CF + PF + AF + ZF + SF + OF
SHIFT           equ CF + PF + ZF + SF + OF          ; shifts leave AF undefined
SHIFTN          equ CF + PF + ZF + SF               ; and OF, unless by one

; ---- ports ---------------------------------------------------------------------------------------------------------
PIC1            equ 0x20
PIC2            equ 0xa0
PIT             equ 0x40
KBC_DATA        equ 0x60
KBC             equ 0x64
CMOS            equ 0x70
COM1            equ 0x3f8
DEBUG_EXIT      equ 0xf4
PM1_CONTROL     equ 0x604

; ---- a trap frame as the common handler sees it, from EBP ----------------------------------------------------------
FRAME_DS        equ 12
FRAME_EAX       equ 44
FRAME_VECTOR    equ 48
FRAME_ERROR     equ 52
FRAME_EIP       equ 56
FRAME_CS        equ 60
FRAME_FLAGS     equ 64
FRAME_ESP       equ 68
FRAME_SS        equ 72
FRAME_SIZE      equ 76              ; coming from an outer ring
V86_DS          equ 80

; ---- system calls: number in EAX, INT 0x80 -------------------------------------------------------------------------
SYS_YIELD       equ 0
SYS_EXIT        equ 1
SYS_FAIL        equ 2               ; ESI: what failed
SYS_DONE        equ 3               ; back to where ring 0 called enter_user
SYS_PID         equ 4

; A stage begins / has passed; a condition that must hold; and the same for 16-bit code.
%macro STAGE 1
        call stage
        db %1, 0
%endmacro
%macro PASS 1
        call pass
        db %1, 0
%endmacro
%macro CHECK 2                      ; condition code, what it means
        j%1 %%good
        call fail
        db %2, 0
%%good:
%endmacro
%macro STAGE16 1
        call stage16
        db %1, 0
%endmacro
%macro PASS16 1
        call pass16
        db %1, 0
%endmacro
%macro CHECK16 2
        j%1 %%good
        call fail16
        db %2, 0
%%good:
%endmacro

; The instruction must raise exactly this exception, with this error code and with its own address on the stack.
%macro FAULTS 4+                    ; vector, error code, what, instruction
        mov dword [resume], %%after
%%at:   %4
%%after:
        call fault_check
        dd %%at, %2
        db %1, %3, 0
%endmacro
; The same for traps, which report the address of the next instruction.
%macro TRAPS 4+
        mov dword [resume], %%after
        %4
%%after:
        call fault_check
        dd %%after, %2
        db %1, %3, 0
%endmacro
; FAULTS for segment limits and other checks that some emulators leave out.
%macro LIMIT 4+
%if EXACT
        FAULTS %1, %2, %3, %4
%endif
%endmacro

; One instruction with given EAX, EDX (also in ECX) and flags must give this EAX, EDX and, under the mask, flags.
%macro VECTOR 9+                    ; name, eax, edx, flags, eax after, edx after, flags after, mask, instruction
        mov eax, %2
        mov edx, %3
        mov ecx, edx
        push dword %4
        popfd
        %9
        call vector_check
        dd %5, %6, %7, %8
        db %1, 0
%endmacro
`
