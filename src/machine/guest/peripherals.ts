/** The last stages: DMA controller, real-time clock, keyboard controller, and switching the machine off. */

/** Assembly text, 32-bit. */
export const PERIPHERALS: string = `
; ---- direct memory access ------------------------------------------------------------------------------------------
dma_stage:
        STAGE "8237 DMA"
        mov al, 0
        out 0x0d, al                    ; master clear
        mov al, 0x0f
        out 0x0f, al                    ; all channels masked
        out 0x0c, al                    ; flip-flop: the low byte comes next
        mov al, 0x34                    ; channel 1: address 0x1234, count 0x5678
        out 0x02, al
        mov al, 0x12
        out 0x02, al
        mov al, 0x78
        out 0x03, al
        mov al, 0x56
        out 0x03, al
        in al, 0x02
        mov ah, al
        in al, 0x02
        xchg al, ah
        cmp ax, 0x1234
        CHECK e, "the address reads back, low byte first"
        in al, 0x03
        mov ah, al
        in al, 0x03
        xchg al, ah
        cmp ax, 0x5678
        CHECK e, "the count reads back"
        mov al, 0x5a
        out 0x83, al
        in al, 0x83
        cmp al, 0x5a
        CHECK e, "the page register reads back"
%if BOARD
        mov edi, DMA_SOURCE             ; a pattern, and borders around the target
        mov ecx, 0x200
        mov eax, 7
.fill:  stosb
        add eax, 29
        loop .fill
        mov edi, DMA_TARGET - 16
        mov ecx, 0x220
        mov al, 0xee
        rep stosb
        mov al, 0x01                    ; command: memory to memory, channel 0 to channel 1
        out 0x08, al
        out 0x0c, al
        mov al, DMA_SOURCE & 0xff
        out 0x00, al
        mov al, (DMA_SOURCE >> 8) & 0xff
        out 0x00, al
        mov al, DMA_SOURCE >> 16
        out 0x87, al
        mov al, DMA_TARGET & 0xff
        out 0x02, al
        mov al, (DMA_TARGET >> 8) & 0xff
        out 0x02, al
        mov al, DMA_TARGET >> 16
        out 0x83, al
        mov al, 0xff                    ; 0x200 bytes: the count is one less
        out 0x01, al
        mov al, 0x01
        out 0x01, al
        mov al, 0xff
        out 0x03, al
        mov al, 0x01
        out 0x03, al
        mov al, 0x88                    ; channel 0: block, read; channel 1: block, write
        out 0x0b, al
        mov al, 0x85
        out 0x0b, al
        mov al, 0x04                    ; a software request on channel 0 starts it
        out 0x09, al
        mov ecx, 10000
.wait:  in al, 0x08
        test al, 2
        loopz .wait
        CHECK nz, "channel 1 reaches terminal count"
        mov esi, DMA_SOURCE
        mov edi, DMA_TARGET
        mov ecx, 0x80
        repe cmpsd
        CHECK e, "the block was copied"
        cmp dword [DMA_TARGET - 4], 0xeeeeeeee
        CHECK e, "nothing below the target"
        cmp dword [DMA_TARGET + 0x200], 0xeeeeeeee
        CHECK e, "nothing above the target"
        mov al, 0
        out 0x0c, al
        in al, 0x02
        mov ah, al
        in al, 0x02
        xchg al, ah
        cmp ax, (DMA_TARGET + 0x200) & 0xffff
        CHECK e, "the current address is behind the block"
        in al, 0x03
        mov ah, al
        in al, 0x03
        cmp ax, 0xffff
        CHECK e, "the current count went below zero"
        in al, 0x08
        test al, 2
        CHECK z, "reading the status clears terminal count"
        mov al, 0
        out 0x08, al
%endif
        out 0x0d, al
        PASS "registers, page registers, a block from memory to memory"

; ---- real-time clock -----------------------------------------------------------------------------------------------
        STAGE "RTC"
        mov bl, 0x0d
        call cmos_read
        test al, 0x80
        CHECK nz, "register D says the time is valid"
        mov bl, 0x0a
        call cmos_read
        and al, 0x70
        cmp al, 0x20
        CHECK e, "the 32768 Hz divider runs"
        mov ecx, 100000
.busy:  mov bl, 0x0a                    ; between updates
        call cmos_read
        test al, 0x80
        loopnz .busy
        mov bl, 0
        call cmos_read
        mov ah, 0x59
        call check_bcd
        mov bl, 2
        call cmos_read
        mov ah, 0x59
        call check_bcd
        mov bl, 4
        call cmos_read
        mov ah, 0x23
        call check_bcd
        mov bl, 8
        call cmos_read
        mov ah, 0x12
        call check_bcd
        mov bl, 0x0b
        call cmos_read
        mov bh, al
        mov al, 0x26                    ; 1024 periodic interrupts a second
        mov bl, 0x0a
        call cmos_write
        mov al, bh
        or al, 0x40
        mov bl, 0x0b
        call cmos_write
        mov bl, 0x0c
        call cmos_read                  ; forget what was pending
        mov al, 0xfe                    ; on the slave only line 0
        out PIC2 + 1, al
        call wait_clock
        mov al, 0xb0
        out PIT + 3, al
        mov al, 0xff
        out PIT + 2, al
        out PIT + 2, al
        mov dword [clocks], 0
        mov ecx, 8
.tick:  call wait_clock
        loop .tick
        call channel2
        cmp dword [clocks], 8
        CHECK e, "IRQ 8 through the slave, one by one"
        test byte [clock_cause], 0x40
        CHECK nz, "register C: the periodic flag"
        xor eax, 0xffff                 ; eight periods are 7.8125 ms, 9322 clocks of the timer
        sub eax, 9322 - TOLERANCE
        cmp eax, 2 * TOLERANCE
        CHECK be, "two crystals agree"
        mov al, bh
        mov bl, 0x0b
        call cmos_write
        mov bl, 0x0c
        call cmos_read
        mov al, 0xff
        out PIC1 + 1, al
        out PIC2 + 1, al
        mov al, 0x0b                    ; nothing may be left in service
        call pic_register
        test al, 0xff
        CHECK z, "the master's ISR is empty"
        mov al, 0x0b
        out PIC2, al
        in al, PIC2
        test al, 0xff
        CHECK z, "the slave's ISR is empty"
        PASS "date registers, IRQ 8 through the slave controller"
        jmp keyboard_stage

wait_clock:                             ; until IRQ 8 came; the timer, ten times as slow as it has to be, is the watchdog
        mov eax, [clocks]
        mov edx, [ticks]
        add edx, 20
.wait:  sti
        hlt
        cli
        cmp [clocks], eax
        jne .came
        cmp [ticks], edx
        jb .wait
        call fail
        db 'IRQ 8 does not come', 0
.came:  ret

cmos_read:                              ; register BL to AL
        mov al, bl
        out CMOS, al
        in al, CMOS + 1
        ret
cmos_write:                             ; AL to register BL
        xchg al, bl
        out CMOS, al
        xchg al, bl
        out CMOS + 1, al
        ret
check_bcd:                              ; AL: two decimal digits, at most AH
        cmp al, ah
        CHECK be, "a date field is in its range"
        and al, 15
        cmp al, 9
        CHECK be, "a date field is decimal"
        ret

; ---- keyboard controller -------------------------------------------------------------------------------------------
keyboard_stage:
        STAGE "8042"
        mov al, 0xaa
        call kbc_command
        call kbc_read
        cmp al, 0x55
        CHECK e, "the controller's self-test"
        mov al, 0xab
        call kbc_command
        call kbc_read
        test al, al
        CHECK z, "the keyboard line's test"
        mov al, 0x60
        call kbc_command
        mov al, 0x64
        call kbc_data
        mov al, 0x20
        call kbc_command
        call kbc_read
        cmp al, 0x64
        CHECK e, "the command byte reads back"
        mov al, 0xee
        call kbc_data                   ; to the keyboard itself: echo
        call kbc_read
        cmp al, 0xee
        CHECK e, "the keyboard echoes"
        PASS "self-test, command byte, keyboard echo"
        jmp power_off

kbc_command:
        push eax
        call kbc_idle
        pop eax
        out KBC, al
        ret
kbc_data:
        push eax
        call kbc_idle
        pop eax
        out KBC_DATA, al
        ret
kbc_idle:                               ; until the input buffer is empty
        push ecx
        mov ecx, 100000
.wait:  in al, KBC
        test al, 2
        loopnz .wait
        pop ecx
        ret
kbc_read:                               ; AL: the next byte
        push ecx
        mov ecx, 1000000
.wait:  in al, KBC
        test al, 1
        loopz .wait
        pop ecx
        CHECK nz, "the 8042 answers"
        in al, KBC_DATA
        ret

keyboard_setup:                         ; drop what is left, interrupts of the keyboard on, the mouse off
        push ecx
        mov ecx, 64
.drain: in al, KBC
        test al, 1
        jz .empty
        in al, KBC_DATA
        loop .drain
.empty: pop ecx
        mov al, 0x60
        call kbc_command
        mov al, 0x65
        jmp kbc_data
keyboard_inject:                        ; BL as if the keyboard had sent it
        mov al, 0xd2
        call kbc_command
        mov al, bl
        jmp kbc_data

; ---- the end -------------------------------------------------------------------------------------------------------
power_off:
        STAGE "end"
        cmp dword [stages], 23
        CHECK e, "every stage ran"
        PASS "all stages passed, switching the machine off"
        mov dx, PM1_CONTROL
        mov ax, 0x2000                  ; SLP_EN with sleep type 0, soft off
        out dx, ax
        mov ecx, 1000000                ; it may take a moment
.wait:  loop .wait
        mov al, 0                       ; if that did nothing: another way out, with a status of its own
        out DEBUG_EXIT, al
.stop:  cli
        hlt
        jmp .stop

        times (512 * 64 - 4 - ($ - $$)) %% 512 db 0
        dd 0x21444e45                   ; the boot sector looks for this
image_end:
`
