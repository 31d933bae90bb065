/** Interrupt descriptor table, trap entry, interrupt controller and timer. */

/** Assembly text, 32-bit. */
export const INTERRUPTS: string = `
; ---- the interrupt descriptor table --------------------------------------------------------------------------------
interrupts:
        STAGE "IDT"
        mov edi, IDT                    ; 32-bit interrupt gates to sixteen-byte stubs
        mov ecx, 0x90
        mov edx, stubs
        xor eax, eax
.gate:  mov ebx, 0x8e00
        call set_gate
        add edx, 16
        inc eax
        loop .gate
        lidt [idt_register]
        sidt [SCRATCH]
        cmp dword [SCRATCH + 2], IDT
        CHECK e, "SIDT returns the base"

        mov eax, 0x81
        mov edx, gate_probe
        mov ebx, 0x8e00
        call set_gate
        mov eax, 0x82
        mov ebx, 0x8f00
        call set_gate
        mov al, 0xff
        out PIC1 + 1, al
        out PIC2 + 1, al
        mov ebp, esp
        sti
        int 0x81
        pushfd
        pop eax
        test eax, IF
        CHECK nz, "IRET restores IF"
        test dword [probe_inside], IF
        CHECK z, "an interrupt gate clears IF"
        test dword [probe_pushed], IF
        CHECK nz, "the pushed flags have IF"
        int 0x82
        cli
        test dword [probe_inside], IF
        CHECK nz, "a trap gate leaves IF"
        cmp ebp, esp
        CHECK e, "the stack is balanced"
        push dword NT + CF
        popfd
        int 0x81
        pushfd
        pop eax
        push dword 2
        popfd
        and eax, NT + CF
        cmp eax, NT + CF
        CHECK e, "IRET restores NT and CF"
        test dword [probe_inside], NT
        CHECK z, "a gate clears NT"
        FAULTS 13, 0x90 * 8 + 2, "#GP for a vector beyond the table", int 0x90
        TRAPS 3, 0, "#BP reports the next instruction", int3
        PASS "144 gates, interrupt and trap gates"
        jmp arithmetic

gate_probe:
        pushfd
        pop dword [probe_inside]
        push eax
        mov eax, [esp + 12]
        mov [probe_pushed], eax
        pop eax
        iretd
probe_inside    dd 0
probe_pushed    dd 0

; Gate EAX goes to CODE32:EDX; BX: type and DPL in the high byte.
set_gate:
        push edi
        lea edi, [IDT + eax * 8]
        mov [edi], edx
        mov [edi + 4], edx
        mov word [edi + 2], CODE32
        mov [edi + 4], bx
        pop edi
        ret

; One stub a vector makes all frames alike: exceptions without an error code get a zero.
        align 16
stubs:
%assign n 0
%rep 0x90
        align 16
  %if n < 32 && (0x27d00 >> n) & 1
  %else
        push dword 0
  %endif
        push dword n
        jmp near trap_entry
%assign n n + 1
%endrep

trap_entry:
        pushad
        push ds
        push es
        push fs
        push gs
        mov ax, DATA32
        mov ds, ax
        mov es, ax
        cld
        mov ebp, esp                    ; EBP: the frame, laid out as FRAME_... say
        mov eax, [ebp + FRAME_VECTOR]
        call [handlers + eax * 4]
trap_return:
        mov esp, ebp                    ; a handler may have chosen another frame: that is a context switch
        pop gs
        pop fs
        pop es
        pop ds
        popad
        add esp, 8
        iretd

handlers:
        times 14 dd expected_fault
        dd page_fault
        times 17 dd expected_fault
        dd timer_interrupt, keyboard_interrupt, unexpected, unexpected, unexpected, unexpected, unexpected, unexpected
        dd clock_interrupt, unexpected, unexpected, unexpected, unexpected, unexpected, unexpected, unexpected
        times 0x80 - 0x30 dd unexpected
        dd system_call
        times 15 dd unexpected

; An exception that a FAULTS macro waits for: note it, and go on where the macro says.
expected_fault:
        cmp dword [resume], 0
        je unexpected
        mov eax, [ebp + FRAME_VECTOR]
        mov [caught], eax
        mov eax, [ebp + FRAME_ERROR]
        mov [caught_error], eax
        mov eax, [ebp + FRAME_CS]
        mov [caught_cs], eax
        mov eax, [ebp + FRAME_FLAGS]
        mov [caught_flags], eax
        and dword [ebp + FRAME_FLAGS], 0xffffffff - TF
        mov eax, cr2
        mov [caught_cr2], eax
        xor eax, eax
        xchg eax, [resume]
        xchg eax, [ebp + FRAME_EIP]
        mov [caught_eip], eax
        ret

unexpected:
        mov eax, [ebp + FRAME_VECTOR]
        mov edi, .hex
        call put_hex
        mov eax, [ebp + FRAME_ERROR]
        mov edi, .error
        call put_hex
        mov eax, [ebp + FRAME_EIP]
        mov edi, .eip
        call put_hex
        mov esi, .text
        jmp fail_text
.text   db 'unexpected interrupt '
.hex    db '00000000, error code '
.error  db '00000000, EIP '
.eip    db '00000000', 0

put_hex:                                ; EAX as eight digits at EDI
        mov ecx, 8
.digit: rol eax, 4
        mov bl, al
        and bl, 15
        add bl, '0'
        cmp bl, '9'
        jbe .store
        add bl, 'a' - '9' - 1
.store: mov [edi], bl
        inc edi
        loop .digit
        ret

; After FAULTS or TRAPS: the expected address, error code, vector and name follow the call. Changes flags only.
fault_check:
        xchg esi, [esp]
        push eax
        mov dword [resume], 0
        mov eax, [esi]
        cmp eax, [caught_eip]
        jne .wrong
        mov eax, [esi + 4]
        cmp eax, [caught_error]
        jne .wrong
        movzx eax, byte [esi + 8]
        cmp eax, [caught]
        jne .wrong
        mov dword [caught], -1
        mov dword [caught_eip], 0
        add esi, 9
.skip:  cmp byte [esi], 0
        lea esi, [esi + 1]
        jne .skip
        pop eax
        xchg esi, [esp]
        ret
.wrong: add esi, 9
        jmp fail_text

; ---- the interrupt controllers -------------------------------------------------------------------------------------
pic_stage:
        STAGE "8259 PIC"
        mov al, 0x11                    ; ICW1: edge triggered, cascade, ICW4 follows
        out PIC1, al
        out PIC2, al
        mov al, 0x20                    ; ICW2: vectors 0x20 to 0x27, and 0x28 to 0x2f: away from the exceptions
        out PIC1 + 1, al
        mov al, 0x28
        out PIC2 + 1, al
        mov al, 4                       ; ICW3: the slave sits on line 2, and knows its number
        out PIC1 + 1, al
        mov al, 2
        out PIC2 + 1, al
        mov al, 1                       ; ICW4: 8086 mode, EOI by command
        out PIC1 + 1, al
        out PIC2 + 1, al
        mov al, 0xfb
        out PIC1 + 1, al
        mov al, 0xff
        out PIC2 + 1, al
        in al, PIC1 + 1
        cmp al, 0xfb
        CHECK e, "the mask register reads back"

        call keyboard_setup
        call one_shot                   ; a request on a masked line waits in the request register
        mov al, 0x0a
        call pic_register
        test al, 1
        CHECK nz, "IRR shows the timer's request"
        mov al, 0x0b
        call pic_register
        test al, 0xff
        CHECK z, "nothing is in service"
        sti
        nop
        nop
        cli
        cmp dword [ticks], 0
        CHECK e, "a masked line does not interrupt"

        mov dword [handlers + 0x20 * 4], pic_probe
        mov al, 0xf8                    ; timer, keyboard, cascade
        out PIC1 + 1, al
        sti                             ; the instruction after STI still runs without interrupts
        cli
        cmp dword [ticks], 0
        CHECK e, "STI holds interrupts off for one instruction"
        sti
        nop
        cli
        cmp dword [ticks], 1
        CHECK e, "the unmasked request interrupts"
        test byte [probe_isr], 1
        CHECK nz, "ISR shows the timer in service"
        cmp dword [probe_keys], 0
        CHECK e, "a lower line waits while a higher one is in service"
        cmp dword [keys], 1
        CHECK e, "EOI lets the lower line through"
        cmp byte [last_key], 0x55
        CHECK e, "the keyboard's byte"
        mov al, 0x0b
        call pic_register
        test al, 0xff
        CHECK z, "EOI empties the in-service register"
        mov dword [handlers + 0x20 * 4], timer_interrupt
        mov al, 0xfa
        out PIC1 + 1, al
        PASS "remapped to 0x20, masks, priority, EOI"
        jmp pit_stage

pic_probe:                              ; the timer's handler in this stage
        inc dword [ticks]
        mov al, 0x0b
        call pic_register
        mov [probe_isr], al
        mov bl, 0x55                    ; provoke IRQ 1 while IRQ 0 is in service
        call keyboard_inject
        mov ecx, 20000
.wait:  mov al, 0x0a
        call pic_register
        test al, 2
        loopz .wait
        sti
        nop
        nop
        mov eax, [keys]
        mov [probe_keys], eax
        mov al, 0x20                    ; OCW2: non-specific EOI
        out PIC1, al
        mov ecx, 50000
.key:   cmp dword [keys], 0
        loope .key
        cli
        ret
probe_isr       db 0
probe_keys      dd -1

pic_register:                           ; AL: OCW3 0x0a for IRR, 0x0b for ISR
        out PIC1, al
        in al, PIC1
        ret

one_shot:                               ; channel 0 in mode 0: one rising edge after 100 clocks; wait for its request
        mov al, 0x30
        out PIT + 3, al
        mov al, 100
        out PIT, al
        mov al, 0
        out PIT, al
        mov ecx, 50000
.wait:  mov al, 0x0a
        call pic_register
        test al, 1
        loopz .wait
        ret

timer_interrupt:
        inc dword [ticks]
        mov al, 0x20
        out PIC1, al
        jmp preempt

keyboard_interrupt:
        inc dword [keys]
        in al, KBC_DATA
        mov [last_key], al
        mov al, 0x20
        out PIC1, al
        ret

clock_interrupt:
        inc dword [clocks]
        mov al, 0x0c                    ; register C says why, and must be read
        out CMOS, al
        in al, CMOS + 1
        mov [clock_cause], al
        mov al, 0x20
        out PIC2, al
        out PIC1, al
        ret
clock_cause     db 0

; ---- the timer -----------------------------------------------------------------------------------------------------
pit_stage:
        STAGE "8254 PIT"
        mov ecx, 1193                   ; 1193182 Hz / 1193: a tick each millisecond
        call tick_rate
        mov al, 0xe2                    ; read-back command: status of channel 0
        out PIT + 3, al
        in al, PIT
        and al, 0x3f
        cmp al, 0x34
        CHECK e, "status says mode 2, both bytes, binary"
        mov al, 0xb0                    ; channel 2, mode 0, counts 65535 clocks; its gate is bit 0 of port 0x61
        out PIT + 3, al
        in al, 0x61
        and al, 0xfc
        or al, 1
        out 0x61, al
        mov al, 0xff
        out PIT + 2, al
        out PIT + 2, al
        mov dword [ticks], 0
        call wait_tick
        call channel2
        mov esi, eax
        mov ecx, 20
.ticks: call wait_tick
        loop .ticks
        call channel2
        sub esi, eax
        sub esi, 20 * 1193 - TOLERANCE
        cmp esi, 2 * TOLERANCE
        CHECK be, "twenty ticks of channel 0 last 23860 clocks of channel 2"
        cmp dword [ticks], 21
        CHECK e, "HLT wakes once a tick"

        mov ecx, 300                    ; the counter of mode 2 runs from 1193 down to 1
.count: mov al, 0
        out PIT + 3, al
        in al, PIT
        mov ah, al
        in al, PIT
        xchg al, ah
        movzx eax, ax
        dec eax
        cmp eax, 1193
        CHECK b, "mode 2 counts from 1193 to 1"
        loop .count

        mov al, 0xb0                    ; OUT of mode 0 rises at terminal count
        out PIT + 3, al
        mov al, 2000 & 0xff
        out PIT + 2, al
        mov al, 2000 >> 8
        out PIT + 2, al
        in al, 0x61
        test al, 0x20
        CHECK z, "OUT is low while mode 0 counts"
        call wait_tick
        call wait_tick
        call wait_tick
        in al, 0x61
        test al, 0x20
        CHECK nz, "OUT is high after terminal count"
        PASS "IRQ 0 each millisecond, HLT, counters, OUT"
        jmp paging_stage

tick_rate:                              ; CX: divisor of channel 0, mode 2
        mov al, 0x34
        out PIT + 3, al
        mov al, cl
        out PIT, al
        mov al, ch
        out PIT, al
        ret

wait_tick:
        sti
        hlt
        cli
        ret

channel2:                               ; EAX: the count of channel 2, latched
        mov al, 0x80
        out PIT + 3, al
        in al, PIT + 2
        mov ah, al
        in al, PIT + 2
        xchg al, ah
        movzx eax, ax
        ret
`
