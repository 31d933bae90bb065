/** Two ways in: a boot sector (real mode) and a multiboot header (protected mode), which meet in real mode. */

/** Assembly text of the first sectors. */
export const BOOT: string = `
        org LOAD
bits 16
; ---- the boot sector -----------------------------------------------------------------------------------------------
; A BIOS loads 512 bytes to 0000:7C00 and jumps there. The rest of the image may already follow in memory (a loader
; that knows its size), or has to be read from the disk we came from.
boot:
        cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, LOAD
        cmp dword [image_end - 4], 0x21444e45
        je .here
        mov [drive], dl
        mov ah, 8                       ; drive parameters: sectors in CL, last head in DH
        push es
        int 0x13
        pop es
        jc .bad
        and cx, 63
        jz .bad
        mov [sectors], cx
        movzx dx, dh
        inc dx
        mov [heads], dx
        mov si, 1                       ; logical sector
        mov bx, LOAD + 512
.next:  mov ax, si
        xor dx, dx
        div word [sectors]
        mov cl, dl                      ; sectors count from 1
        inc cl
        xor dx, dx
        div word [heads]
        mov dh, dl
        mov ch, al
        mov dl, [drive]
        mov ax, 0x0201                  ; read one sector to ES:BX
        int 0x13
        jc .bad
        inc si
        add bx, 512
        cmp bx, image_end
        jb .next
        cmp dword [image_end - 4], 0x21444e45
        je .here
.bad:   mov ax, 0x0e21                  ; a '!' through the BIOS is all that can be said here
        int 0x10
        cli
        hlt
        jmp .bad
.here:  jmp 0:real_mode

drive   db 0
sectors dw 0
heads   dw 0
        times 0x1b8 - ($ - $$) db 0
        times 510 - ($ - $$) db 0       ; a partition table without partitions
        dw 0xaa55

; ---- the multiboot header ------------------------------------------------------------------------------------------
; A multiboot loader wants the image above 1 MiB and starts it in protected mode. Flag 16: addresses are given here.
        align 4
multiboot_header:
        dd 0x1badb002, 0x00010000, (0 - 0x1badb002 - 0x00010000) & 0xffffffff
        dd multiboot_header - LOAD + MULTIBOOT_LOAD
        dd MULTIBOOT_LOAD, 0, 0
        dd multiboot_entry - LOAD + MULTIBOOT_LOAD

bits 32
; The course begins in real mode, so go back: copy the image to where a BIOS would have put it, load segments with real-mode
; limits, and clear PE.
multiboot_entry:
        cli
        cld
        mov esi, MULTIBOOT_LOAD
        mov edi, LOAD
        mov ecx, (image_end - boot + 3) / 4
        rep movsd
        lgdt [gdt_register]
        jmp CODE16:.code16
bits 16
.code16:
        mov ax, DATA16
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov ss, ax
        lidt [real_idt_register]
        mov eax, cr0
        and eax, 0x7ffffffe
        mov cr0, eax
        jmp 0:.real
.real:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, LOAD
        jmp real_mode

; ---- variables -----------------------------------------------------------------------------------------------------
        align 4
real_idt_register:
        dw 0x3ff
        dd 0
gdt_register:
        dw GDT_END - 1
        dd gdt
idt_register:
        dw 0x90 * 8 - 1
        dd IDT
        align 4
cursor          dd 0                    ; byte offset into the text screen
stage_name      dd 0
stages          dd 0                    ; passed so far
resume          dd 0                    ; where to go on after an expected exception; 0: none is expected
caught          dd -1                   ; its vector, error code, EIP, CS, flags and CR2
caught_error    dd 0
caught_eip      dd 0
caught_cs       dd 0
caught_flags    dd 0
caught_cr2      dd 0
ticks           dd 0                    ; interrupts on IRQ 0
keys            dd 0                    ; interrupts on IRQ 1, and the last byte read
last_key        dd 0
clocks          dd 0                    ; interrupts on IRQ 8

; ---- the global descriptor table -----------------------------------------------------------------------------------
%macro DESCRIPTOR 4                     ; base, limit, access byte, flags (8: 4 KiB granularity, 4: 32-bit)
        dw (%2) & 0xffff, (%1) & 0xffff
        db ((%1) >> 16) & 0xff, %3, (((%2) >> 16) & 15) | ((%4) << 4), ((%1) >> 24) & 0xff
%endmacro
        align 8
gdt:    dq 0                                            ; the null selector
        DESCRIPTOR 0, 0xfffff, 0x9a, 12                 ; CODE32
        DESCRIPTOR 0, 0xfffff, 0x92, 12                 ; DATA32
        DESCRIPTOR 0, 0xffff, 0x9a, 0                   ; CODE16
        DESCRIPTOR 0, 0xffff, 0x92, 0                   ; DATA16
        DESCRIPTOR 0, 0xfffff, 0xfa, 12                 ; USER_CODE
        DESCRIPTOR 0, 0xfffff, 0xf2, 12                 ; USER_DATA
        DESCRIPTOR TSS_MAIN, 0x88, 0x89, 0              ; SEL_TSS: 0x68 bytes, then an I/O bitmap for 256 ports
        DESCRIPTOR TSS_TASK, 0x67, 0x89, 0              ; SEL_TASK
        DESCRIPTOR TSS_FAULT, 0x67, 0x89, 0             ; SEL_FAULT_TASK
        DESCRIPTOR ldt - boot + LOAD, 0x1f, 0x82, 0                   ; SEL_LDT
        dw call_gate_entry, CODE32, 0xec02, 0           ; CALL_GATE: DPL 3, two parameters
        dw 0, SEL_TASK, 0xe500, 0                       ; TASK_GATE: DPL 3
        DESCRIPTOR 0, 0xfffff, 0x12, 12                 ; ABSENT
        DESCRIPTOR SCRATCH, 0xfff, 0x92, 4              ; SMALL
        DESCRIPTOR SCRATCH, 0xfff, 0x96, 4              ; DOWN
        DESCRIPTOR 0, 0xfffff, 0x90, 12                 ; READONLY
        DESCRIPTOR 0, 0xfffff, 0x98, 12                 ; EXECONLY
        DESCRIPTOR 0, 0xfffff, 0x9e, 12                 ; CONFORMING
        DESCRIPTOR TSS_TASK, 0x40, 0x89, 0              ; SHORT_TSS
        align 8
ldt:    DESCRIPTOR SCRATCH, 0xff, 0xf2, 4               ; LDT_DATA: 256 bytes, DPL 3
        dq 0
        DESCRIPTOR SCRATCH + 0x100, 0xff, 0xf2, 4       ; LDT_SAME
        DESCRIPTOR 0, 0xfffff, 0xfa, 12
`
