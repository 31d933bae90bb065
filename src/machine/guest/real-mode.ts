/** The first stages: real mode, the A20 gate, the descriptor table and the switch to protected mode. */

/** Assembly text, 16-bit up to the switch. */
export const REAL_MODE: string = `
bits 16
        CONSOLE 16, 0

; ---- real mode -----------------------------------------------------------------------------------------------------
real_mode:
        mov al, 0xff                    ; nobody serves device interrupts yet
        out PIC1 + 1, al
        out PIC2 + 1, al
        mov dx, COM1 + 1                ; serial line: no interrupts, 115200 bits a second, 8 data bits, FIFO off
        mov al, 0
        out dx, al
        mov dx, COM1 + 3
        mov al, 0x80
        out dx, al
        mov dx, COM1
        mov al, 1
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        dec dx
        mov al, 0
        out dx, al
        mov ax, 0xb800                  ; an empty screen
        mov es, ax
        xor di, di
        mov cx, 80 * 25
        mov ax, 0x0720
        rep stosw
        mov dx, 0x3d4                   ; and no cursor
        mov ax, 0x200a
        out dx, ax
        mov byte [color], 0x0b
        mov esi, text_title
        call puts16
        mov byte [color], 0x07

        STAGE16 "real mode"
        mov ax, SCRATCH / 16            ; an address is segment * 16 + offset
        mov fs, ax
        inc ax
        mov gs, ax
        mov dword [fs:0x10], 0x12345678
        cmp dword [gs:0], 0x12345678
        CHECK16 e, "two segments name one byte"
        mov byte [fs:0], 0x5a           ; a 16-bit offset wraps at 64 KiB
        mov bx, 0xffff
        cmp byte [fs:bx + 1], 0x5a
        CHECK16 e, "offset wraps"

        mov word [0x60 * 4], .handler   ; the interrupt vector table at address 0
        mov word [0x60 * 4 + 2], 0
        mov bp, sp
        sti
        int 0x60
.back:  pushf
        cli
        pop ax
        test ax, IF
        CHECK16 nz, "IRET restores IF"
        cmp sp, bp
        CHECK16 e, "INT and IRET leave SP alone"
        cmp si, .back
        CHECK16 e, "INT pushes the next IP"
        test di, IF
        CHECK16 nz, "INT pushes the flags"
        test dx, IF
        CHECK16 z, "INT clears IF"
        jmp .limit
.handler:
        push bp
        mov bp, sp
        mov si, [bp + 2]
        mov di, [bp + 6]
        pushf
        pop dx
        pop bp
        iret
.limit:
%if EXACT
        mov word [13 * 4], .gp          ; a 32-bit offset beyond 64 KiB: #GP, without an error code
        mov word [13 * 4 + 2], 0
        mov ebx, 0x10000
        xor si, si
.beyond:
        mov al, [ebx]
.after: cmp si, .beyond
        CHECK16 e, "#GP beyond the segment limit"
        jmp .done
.gp:    mov bp, sp
        mov si, [bp]
        mov word [bp], .after
        iret
.done:
%endif
        PASS16 "segment * 16 + offset, interrupt vectors, IRET"

; ---- address line 20 -----------------------------------------------------------------------------------------------
        STAGE16 "A20"
        mov bl, 0xdd                    ; keyboard controller's output port: A20 low, reset line high
        call kbc_output_port
        in al, 0x92                     ; system control port A, bit 1
        and al, 0xfc
        out 0x92, al
        mov ax, 0xffff
        mov gs, ax                      ; FFFF:0510 is 0x100500, or with bit 20 masked 0x500
        xor ax, ax
        mov fs, ax
        mov byte [fs:0x500], 0x11
        mov byte [gs:0x510], 0x22
        cmp byte [fs:0x500], 0x22
        CHECK16 e, "address 0x100500 wraps to 0x500 while A20 is off"
        in al, 0x92
        or al, 2
        out 0x92, al
        mov byte [gs:0x510], 0x33
        cmp byte [fs:0x500], 0x22
        CHECK16 e, "no wrap while A20 is on"
        cmp byte [gs:0x510], 0x33
        CHECK16 e, "the second megabyte can be written"
        mov bl, 0xdf
        call kbc_output_port
        PASS16 "the wrap at 1 MiB, off and on"

; ---- descriptor table and protected mode ---------------------------------------------------------------------------
        STAGE16 "GDT"
        lgdt [gdt_register]
        sgdt [real_scratch]
        mov eax, [real_scratch + 2]
        cmp eax, gdt
        CHECK16 e, "SGDT returns the base"
        cmp word [real_scratch], GDT_END - 1
        CHECK16 e, "SGDT returns the limit"
        test byte [gdt + CODE32 + 5], 1
        CHECK16 z, "not yet accessed"
        PASS16 "19 descriptors loaded"
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp CODE32:protected_mode

real_scratch:
        times 8 db 0

kbc_output_port:                        ; BL to the output port
        call .idle
        mov al, 0xd1
        out KBC, al
        call .idle
        mov al, bl
        out KBC_DATA, al
.idle:  mov cx, 0xffff                  ; until the controller has taken the last byte
.wait:  in al, KBC
        test al, 2
        loopnz .wait
        ret

; ---- protected mode ------------------------------------------------------------------------------------------------
bits 32
protected_mode:
        mov ax, DATA32
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, KERNEL_STACK
        xor eax, eax
        mov fs, ax
        mov gs, ax
        STAGE "protected"
        mov ax, cs
        cmp ax, CODE32
        CHECK e, "CS holds a selector"
        smsw ax
        test al, 1
        CHECK nz, "PE is set"
%if EXACT
        test byte [gdt + CODE32 + 5], 1
        CHECK nz, "loading CS sets the accessed bit"
%endif
        test byte [gdt + DATA32 + 5], 1
        CHECK nz, "loading DS sets the accessed bit"
        lar ebx, [selector_code32]
        CHECK z, "LAR of a code segment"
        and ebx, 0xf0fe00
        cmp ebx, 0xc09a00
        CHECK e, "LAR gives the access rights"
        mov eax, SMALL
        lsl ebx, eax
        CHECK z, "LSL of a data segment"
        cmp ebx, 0xfff
        CHECK e, "LSL counts bytes"
        mov eax, DATA32
        lsl ebx, eax
        cmp ebx, 0xffffffff
        CHECK e, "LSL scales by the granularity"
        mov eax, GDT_END
        lsl ebx, eax
        CHECK nz, "no segment beyond the table"
        mov eax, READONLY
        verr ax
        CHECK z, "a read-only segment is readable"
        verw ax
        CHECK nz, "a read-only segment is not writable"
        mov eax, EXECONLY
        verr ax
        CHECK nz, "an execute-only segment is not readable"
        mov eax, DATA32 + 3             ; RPL 3 against DPL 0
        verr ax
        CHECK nz, "VERR heeds the RPL"
        mov ax, DATA32
        mov dx, USER_DATA
        arpl ax, dx
        CHECK z, "ARPL raises the RPL"
        cmp ax, DATA32 + 3
        CHECK e, "ARPL changes the selector"
        PASS "PE set, 32-bit segments, LAR LSL VERR VERW ARPL"
        jmp interrupts

selector_code32 dw CODE32
color           db 0x07
text_ok         db '[ok] ', 0
text_fail       db '[FAIL] ', 0
text_colon      db ': ', 0
text_title      db 'virtkit guest: an x86 PC from real mode to power off', 10, 0
        CONSOLE , 0xb8000
`
