/** Output on screen and serial line, and how a stage reports that it passed or failed; once for 16-bit and once for 32-bit code. */

/** Assembly text. Both copies come from one macro: the suffix of the names, the ES to use, the screen's offset within it. */
export const CONSOLE: string = `
%macro CONSOLE 2                        ; suffix, offset of the text screen in ES
; AL goes to the serial port and to the screen.
putc%1: pushad
%if %2 = 0
        push es
        push word 0xb800
        pop es
%endif
        mov bl, al
        mov ecx, 100000
        mov dx, COM1 + 5
.wait:  in al, dx                       ; line status: transmitter holding register empty
        test al, 0x20
        loopz .wait
        mov dx, COM1
        mov al, bl
        out dx, al
        mov eax, [cursor]
        cmp bl, 10
        jne .glyph
        mov ecx, 160                    ; to the start of the next row
        xor edx, edx
        div ecx
        inc eax
        mul ecx
        jmp .moved
.glyph: mov bh, [color]
        mov [es:eax + %2], bx
        add eax, 2
.moved: cmp eax, 25 * 160
        jb .store
        mov eax, 24 * 160               ; never past the last row
.store: mov [cursor], eax
%if %2 = 0
        pop es
%endif
        popad
        ret

puts%1: push ax                         ; the text at [ESI] up to its NUL; ESI ends behind it
.next:  mov al, [esi]
        inc esi
        test al, al
        jz .end
        call putc%1
        jmp .next
.end:   pop ax
        ret

; A text follows the CALL: pop its address, and return behind it.
stage%1:
%if %2 = 0
        pop si
        movzx esi, si
%else
        pop esi
%endif
        mov [stage_name], esi
.skip:  cmp byte [esi], 0
        lea esi, [esi + 1]
        jne .skip
%if %2 = 0
        push si
%else
        push esi
%endif
        ret

; "[ok] name       - what was shown"
pass%1:
%if %2 = 0
        pop si
        movzx esi, si
%else
        pop esi
%endif
        inc dword [stages]
        push esi
        mov byte [color], 0x0a
        mov esi, text_ok
        call puts%1
        mov byte [color], 0x0f
        mov esi, [stage_name]
        mov ecx, esi
        call puts%1
        sub ecx, esi
        add ecx, 15
        mov al, ' '
.pad:   call putc%1
        loop .pad
        mov byte [color], 0x07
        pop esi
        call puts%1
        mov al, 10
        call putc%1
%if %2 = 0
        push si
%else
        push esi
%endif
        ret

; "[FAIL] name: what", and the machine ends through isa-debug-exit with status (1 << 1) | 1.
fail%1:
%if %2 = 0
        pop si
        movzx esi, si
%else
        pop esi
%endif
fail_text%1:
%if %2 <> 0
        mov ax, cs
        test al, 3
        jz .kernel
        mov eax, SYS_FAIL               ; ring 3 has no ports: the kernel says it
        int 0x80
.kernel:
%endif
        push esi
        mov byte [color], 0x0c
        mov esi, text_fail
        call puts%1
        mov esi, [stage_name]
        call puts%1
        mov esi, text_colon
        call puts%1
        pop esi
        call puts%1
        mov al, 10
        call putc%1
        mov al, 1
        out DEBUG_EXIT, al
.stop:  cli
        hlt
        jmp .stop
%endmacro
`
