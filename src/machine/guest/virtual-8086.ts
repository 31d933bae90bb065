/** A virtual-8086 task and the small monitor that emulates what it may not do itself. */

/** Assembly text; the 8086 program is 16-bit and is copied to its own page. */
export const VIRTUAL_8086: string = `
; ---- virtual-8086 mode ---------------------------------------------------------------------------------------------
v86_stage:
        STAGE "virtual 8086"
        mov esi, v86_program
        mov edi, V86_AREA
        mov ecx, v86_end - v86_program
        rep movsb
        mov dword [0x60 * 4], (V86_AREA / 16 << 16) + v86_handler - v86_program
        mov dword [handlers + 13 * 4], v86_monitor
        xor eax, eax
        mov edx, 2 + VM                 ; IOPL 0: sensitive instructions trap
        call enter_v86
        cmp eax, 0x0600
        CHECK e, "the 8086 program's result"
        cmp dword [trapped_cli], 1
        CHECK e, "CLI trapped"
        cmp dword [trapped_sti], 1
        CHECK e, "STI trapped"
        cmp dword [trapped_pushf], 2
        CHECK e, "PUSHF trapped"
        cmp dword [trapped_popf], 1
        CHECK e, "POPF trapped"
        cmp dword [trapped_int], 1
        CHECK e, "INT n trapped"
        cmp dword [trapped_iret], 1
        CHECK e, "IRET trapped"
        cmp dword [trapped_in], 1
        CHECK e, "IN trapped, but only where the bitmap denies it"
        mov eax, v86_free - v86_program
        mov edx, 2 + VM + 0x3000        ; IOPL 3: nothing traps but INT, which goes through the IDT
        call enter_v86
        cmp eax, 0x0800
        CHECK e, "the 8086 program with IOPL 3"
        cmp dword [trapped_cli], 1
        CHECK e, "CLI does not trap with IOPL 3"
        cmp dword [trapped_pushf], 2
        CHECK e, "PUSHF does not trap with IOPL 3"
        mov dword [handlers + 13 * 4], expected_fault
        PASS "8086 addressing, IOPL traps, monitor, interrupt reflection"
        jmp dma_stage

enter_v86:                              ; at V86_AREA:EAX with flags EDX; AX of the program comes back in EAX
        pushad
        mov [kernel_esp], esp
        mov [TSS_MAIN + 4], esp
        push dword 0x1111               ; GS, FS, DS, ES: all kinds of numbers, since they are not selectors
        push dword 0x2222
        push dword 0x3333
        push dword 0x4444
        push dword V86_AREA / 16        ; SS:SP at the end of the page
        push dword 0x0ffe
        push edx
        push dword V86_AREA / 16
        push eax
        iretd

; System call from virtual-8086 mode: only with IOPL 3.
v86_call:
        add eax, 16
        cmp eax, [TSS_MAIN + 4]
        CHECK e, "the stack holds the 8086 data segments"
        cmp dword [ebp + FRAME_CS], V86_AREA / 16
        CHECK e, "CS of the 8086 program"
        cmp dword [ebp + V86_DS], 0x3333
        CHECK e, "DS of the 8086 program"
        cmp dword [ebp + FRAME_DS], 0
        CHECK e, "DS is null on the way in"
        movzx ecx, word [ebp + FRAME_EAX]
        jmp return_to_kernel

; #GP while in virtual-8086 mode: look at the instruction, and do for it what the program meant.
v86_monitor:
        test dword [ebp + FRAME_FLAGS], VM
        jz expected_fault
        cmp dword [ebp + FRAME_ERROR], 0
        CHECK e, "the error code of an IOPL trap"
        mov esi, [ebp + FRAME_CS]
        shl esi, 4
        add esi, [ebp + FRAME_EIP]      ; ESI: the instruction
        mov edi, [ebp + FRAME_SS]
        shl edi, 4
        add edi, [ebp + FRAME_ESP]      ; EDI: its stack
        mov al, [esi]
        inc dword [ebp + FRAME_EIP]
        cmp al, 0xfa
        je .cli
        cmp al, 0xfb
        je .sti
        cmp al, 0x9c
        je .pushf
        cmp al, 0x9d
        je .popf
        cmp al, 0xcd
        je .int
        cmp al, 0xcf
        je .iret
        cmp al, 0xe4
        je .in
        cmp al, 0xf4
        je .hlt
        call fail
        db 'the monitor does not know this instruction', 0
.cli:   inc dword [trapped_cli]
        mov dword [virtual_if], 0
        ret
.sti:   inc dword [trapped_sti]
        mov dword [virtual_if], IF
        ret
.pushf: inc dword [trapped_pushf]
        call .flags
        sub dword [ebp + FRAME_ESP], 2
        mov [edi - 2], ax
        ret
.popf:  inc dword [trapped_popf]
        movzx eax, word [edi]
        add dword [ebp + FRAME_ESP], 2
        jmp .load
.int:   inc dword [trapped_int]
        inc dword [ebp + FRAME_EIP]
        call .flags
        mov [edi - 2], ax
        mov ax, [ebp + FRAME_CS]
        mov [edi - 4], ax
        mov ax, [ebp + FRAME_EIP]
        mov [edi - 6], ax
        sub dword [ebp + FRAME_ESP], 6
        mov dword [virtual_if], 0
        movzx eax, byte [esi + 1]       ; the 8086's own vector table, at address 0
        movzx ecx, word [eax * 4]
        mov [ebp + FRAME_EIP], ecx
        movzx ecx, word [eax * 4 + 2]
        mov [ebp + FRAME_CS], ecx
        ret
.iret:  inc dword [trapped_iret]
        movzx eax, word [edi]
        mov [ebp + FRAME_EIP], eax
        movzx eax, word [edi + 2]
        mov [ebp + FRAME_CS], eax
        movzx eax, word [edi + 4]
        add dword [ebp + FRAME_ESP], 6
.load:  mov ecx, eax                    ; flags: IF stays virtual, VM and IOPL ours
        and ecx, IF
        mov [virtual_if], ecx
        and eax, ARITH + DF
        and dword [ebp + FRAME_FLAGS], 0xffffffff - ARITH - DF
        or [ebp + FRAME_FLAGS], eax
        ret
.in:    inc dword [trapped_in]
        cmp byte [esi + 1], 0x21
        CHECK e, "the port that was denied"
        inc dword [ebp + FRAME_EIP]
        mov byte [ebp + FRAME_EAX], 0x5c
        ret
.hlt:   movzx ecx, word [ebp + FRAME_EAX]
        jmp return_to_kernel
.flags: mov eax, [ebp + FRAME_FLAGS]    ; what the program should see
        and eax, 0xffff - IF
        or eax, [virtual_if]
        ret
virtual_if      dd IF
trapped_cli     dd 0
trapped_sti     dd 0
trapped_pushf   dd 0
trapped_popf    dd 0
trapped_int     dd 0
trapped_iret    dd 0
trapped_in      dd 0

bits 16
; AX counts what works; the result must be 6 (in AH).
v86_program:
        mov bx, ds                      ; segments as they were given: plain numbers
        cmp bx, 0x3333
        jne .end
        mov ax, cs
        mov ds, ax
        inc ax
        mov es, ax
        mov ax, 0x0000
        mov word [v86_word - v86_program], 0x1234
        cmp word [es:v86_word - v86_program - 16], 0x1234
        jne .end
        mov ah, 1                       ; addresses are segment * 16 + offset
        cli
        pushf
        pop bx
        test bx, IF
        jnz .end
        mov ah, 2                       ; CLI was emulated
        sti
        pushf
        pop bx
        test bx, IF
        jz .end
        mov ah, 3                       ; STI too
        mov bx, 0x21
        stc
        int 0x60
        jnc .end
        cmp bx, 0x1221
        jne .end
        mov ah, 4                       ; the interrupt went to our own handler and back
        push word CF + 2
        popf
        jnc .end
        mov ah, 5
        mov cl, ah
        in al, 0x21                     ; emulated
        cmp al, 0x5c
        jne .end
        in al, 0x80                     ; allowed
        mov ah, cl
        inc ah
        mov al, 0
.end:   hlt
v86_handler:
        add bx, 0x1200
        iret
v86_free:
        mov ax, 0x0700
        cli
        sti
        cli
        pushf
        pop bx
        test bx, IF
        jnz .end
        push bx
        popf
        mov ah, 8
.end:   int 0x80
        hlt
v86_word        dw 0
v86_end:
bits 32
`
