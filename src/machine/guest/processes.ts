/** Ring 3: privilege checks, system calls, two processes, call gates, the LDT, hardware tasks and the double fault. */

/** Assembly text, 32-bit. */
export const PROCESSES: string = `
; ---- ring 3 --------------------------------------------------------------------------------------------------------
ring3_stage:
        STAGE "ring 3"
        mov edi, TSS_MAIN               ; of a TSS, software switching only needs ring 0's stack and the I/O bitmap
        xor eax, eax
        mov ecx, 0x68 / 4
        rep stosd
        mov dword [TSS_MAIN + 8], DATA32
        mov dword [TSS_MAIN + 0x64], 0x680000           ; the bitmap's offset, 0x68
        mov eax, -1                     ; a set bit denies a port: all but 0x80
        mov ecx, 9
        rep stosd
        and byte [TSS_MAIN + 0x68 + 0x80 / 8], 0xfe
        mov ax, SEL_TSS
        ltr ax
        str cx
        cmp cx, ax
        CHECK e, "STR"
        cmp byte [gdt + SEL_TSS + 5], 0x8b
        CHECK e, "LTR marks the TSS busy"
        FAULTS 13, SEL_TSS, "#GP for LTR of a busy TSS", ltr ax
        mov eax, 0x80                   ; system calls may come from ring 3, and so may the traps of vectors 3 and 4
        mov edx, stubs + 0x80 * 16
        mov ebx, 0xee00
        call set_gate
        mov eax, 3
        mov edx, stubs + 3 * 16
        call set_gate
        mov eax, user_checks
        mov edx, USER_STACK
        call enter_user
        cmp eax, 0x600d
        CHECK e, "the user program's result"
        PASS "system calls, TSS stack, privileges, I/O bitmap, gate DPL"
        jmp switch_stage

; Runs ring 3 code at EAX with stack EDX until it makes the system call SYS_DONE; its EBX comes back in EAX.
enter_user:
        pushad
        mov [kernel_esp], esp
        mov [TSS_MAIN + 4], esp
        push dword USER_DATA
        push edx
        push dword 2
        push dword USER_CODE
        push eax
        mov ax, USER_DATA
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        iretd
kernel_esp      dd 0

; Vector 0x80.
system_call:
        lea eax, [ebp + FRAME_SIZE]
        test dword [ebp + FRAME_FLAGS], VM
        jnz v86_call
        cmp eax, [TSS_MAIN + 4]
        CHECK e, "an inner stack starts at TSS.ESP0"
        mov ax, ss
        cmp ax, DATA32
        CHECK e, "the inner SS is TSS.SS0"
        cmp dword [ebp + FRAME_SS], USER_DATA
        CHECK e, "the user's SS is on the stack"
        cmp dword [ebp + FRAME_CS], USER_CODE
        CHECK e, "the user's CS is on the stack"
        mov eax, [ebp + FRAME_EAX]
        cmp eax, 4
        ja .wrong
        jmp [.table + eax * 4]
.wrong: call fail
        db 'unknown system call', 0
.table  dd sys_yield, sys_exit, sys_fail, sys_done, sys_pid

sys_fail:
        mov esi, [ebp + 20]             ; its ESI
        jmp fail_text
sys_done:
        mov ecx, [ebp + 32]             ; its EBX
return_to_kernel:
        mov esp, [kernel_esp]
        mov [esp + 28], ecx
        popad
        ret

; A user program that tries what it must not do.
user_checks:
        mov ax, cs
        and ax, 3
        cmp ax, 3
        CHECK e, "CPL is 3"
        FAULTS 13, 0, "#GP for CLI", cli
        cmp dword [caught_cs], USER_CODE
        CHECK e, "the fault came from ring 3"
        FAULTS 13, 0, "#GP for STI", sti
        FAULTS 13, 0, "#GP for HLT", hlt
        FAULTS 13, 0, "#GP for CLTS", clts
        FAULTS 13, 0, "#GP for reading CR0", mov eax, cr0
        FAULTS 13, 0, "#GP for writing CR3", mov cr3, eax
        FAULTS 13, 0, "#GP for LGDT", lgdt [gdt_register]
        FAULTS 13, 0, "#GP for LIDT", lidt [idt_register]
        FAULTS 13, 0, "#GP for INVLPG", invlpg [HIGH]
        FAULTS 13, 0, "#GP for a port the bitmap denies", in al, 0x21
        FAULTS 13, 0, "#GP for the ports of a word", in ax, 0x80
        mov dx, COM1
        FAULTS 13, 0, "#GP for a port beyond the bitmap", in al, dx
        in al, 0x80
        FAULTS 13, 0x21 * 8 + 2, "#GP for a gate of DPL 0", int 0x21
        TRAPS 3, 0, "#BP through a gate of DPL 3", int3
        mov ax, DATA32
        FAULTS 13, DATA32, "#GP for a segment of ring 0", mov gs, ax
        FAULTS 13, CODE32, "#GP for a jump to ring 0", jmp CODE32:user_checks
        FAULTS 14, 5, "#PF for reading a page of ring 0", mov eax, [SCRATCH]
        cmp dword [caught_cr2], SCRATCH
        CHECK e, "CR2 of ring 3"
        FAULTS 14, 7, "#PF for writing a page of ring 0", mov [SCRATCH + 4], eax
        FAULTS 14, 7, "#PF for writing a read-only page", mov [HIGH + 0x1000], al
        FAULTS 14, 6, "#PF for writing an absent page", mov [HIGH + 0x8000], al
        mov al, [HIGH + 0x1000]
        mov dword [DEMAND + 14 * 4096], 1       ; filled in on demand for ring 3 too
        push dword IF + 0x3000 + CF     ; POPF in ring 3 changes neither IF nor IOPL
        popfd
        pushfd
        pop eax
        and eax, IF + 0x3000 + CF
        cmp eax, CF
        CHECK e, "POPF leaves IF and IOPL alone"
        mov eax, SYS_PID
        mov ecx, 0x1234
        int 0x80
        cmp eax, -1
        CHECK e, "a system call returns a value"
        cmp ecx, 0x1234
        CHECK e, "a system call keeps registers"
        call CONFORMING:.conforming     ; conforming code runs with the caller's privilege
        jmp .rest
.conforming:
        mov ax, cs
        cmp ax, CONFORMING + 3
        CHECK e, "conforming code keeps CPL 3"
        retf
.rest:  ; a call gate: from ring 3 to ring 0 with two parameters
        push esp
        pop edi
        push dword 0x1111
        push dword 0x2222
        call CALL_GATE:0
        cmp eax, 0x3333
        CHECK e, "the gate's procedure saw its parameters"
        cmp esp, edi
        CHECK e, "RETF n removes the parameters from both stacks"
        mov ax, ss
        cmp ax, USER_DATA
        CHECK e, "SS after RETF"
        mov eax, SYS_DONE
        mov ebx, 0x600d
        int 0x80

; Entered through CALL_GATE: return EIP and CS, the two parameters, then ESP and SS of the caller.
call_gate_entry:
        mov ax, cs
        cmp ax, CODE32
        CHECK e, "a call gate raises the privilege"
        lea eax, [esp + 24]
        cmp eax, [TSS_MAIN + 4]
        CHECK e, "a call gate takes the stack of the TSS"
        cmp dword [esp + 4], USER_CODE
        CHECK e, "a call gate pushes CS"
        mov eax, [esp + 16]             ; it still counts the parameters
        add eax, 8
        cmp eax, edi
        CHECK e, "a call gate pushes the caller's ESP"
        cmp dword [esp + 20], USER_DATA
        CHECK e, "a call gate pushes the caller's SS"
        mov eax, [esp + 8]
        add eax, [esp + 12]
        retf 8

; ---- two processes -------------------------------------------------------------------------------------------------
; Each has its own page directory, and its own frame at PRIVATE. They yield to one another, and the timer takes the
; processor away from the second one, which never gives it back by itself.
PRIVATE         equ HIGH + 0x1000
switch_stage:
        STAGE "processes"
        mov esi, PAGE_DIR               ; two directories: low part shared, high part private
        mov edi, PAGE_DIR_A
        mov ecx, 1024
        rep movsd
        mov esi, PAGE_DIR
        mov ecx, 1024
        rep movsd
        mov dword [PAGE_DIR_A + HIGH / 0x400000 * 4], PAGES_A + 7
        mov dword [PAGE_DIR_B + HIGH / 0x400000 * 4], PAGES_B + 7
        mov dword [PAGES_A + 4], FRAME_X + 7
        mov dword [PAGES_B + 4], FRAME_Y + 7
        mov esi, processes
        mov eax, process_a
        mov edx, USER_STACK_A
        call make_process
        mov esi, processes + 16
        mov eax, process_b
        mov edx, USER_STACK_B
        call make_process
        mov ecx, 119                    ; ten ticks a millisecond
        call tick_rate
        call .run
        cmp dword [yields], 40
        CHECK ae, "processes yielded"
        cmp dword [preemptions], 4
        CHECK ae, "the timer preempted a process"
        cmp dword [FRAME_X], 'A'
        CHECK e, "the frame of the first process"
        cmp dword [FRAME_Y], 'B'
        CHECK e, "the frame of the second process"
        mov ecx, 1193
        call tick_rate
        PASS "two address spaces, yield, preemption by the timer"
        jmp ldt_stage
.run:   pushad
        mov [kernel_esp], esp
        mov esi, processes
        jmp switch_to

; A process: its saved stack pointer, CR3, top of its kernel stack, and whether it lives.
processes:
        dd 0, PAGE_DIR_A, STACK_A, 1
        dd 0, PAGE_DIR_B, STACK_B, 1
current         dd 0
yields          dd 0
preemptions     dd 0
a_done          dd 0

make_process:                           ; process ESI starts at EAX with stack EDX: build the frame of a trap
        mov edi, [esi + 8]
        mov dword [edi - 4], USER_DATA
        mov [edi - 8], edx
        mov dword [edi - 12], IF + 2
        mov dword [edi - 16], USER_CODE
        mov [edi - 20], eax
        sub edi, FRAME_SIZE
        mov [esi], edi
        mov ecx, 4                      ; GS, FS, ES, DS
        mov eax, USER_DATA
        rep stosd
        mov ecx, 10                     ; registers, vector, error code
        xor eax, eax
        rep stosd
        ret

sys_yield:
        inc dword [yields]
other:  mov esi, [current]              ; save where we are, and go on with the other one if it lives
        mov [esi], ebp
        call other_of
        cmp dword [esi + 12], 0
        jne switch_to
        mov esi, [current]
switch_to:
        mov [current], esi
        mov eax, [esi + 4]
        mov cr3, eax
        mov eax, [esi + 8]
        mov [TSS_MAIN + 4], eax
        mov ebp, [esi]
        mov esp, ebp
        jmp trap_return

other_of:                               ; ESI: from one process to the other
        cmp esi, processes
        mov esi, processes
        jne .first
        mov esi, processes + 16
.first: ret

sys_exit:
        mov esi, [current]
        mov dword [esi + 12], 0
        call other_of
        cmp dword [esi + 12], 0
        jne switch_to
        mov dword [current], 0
        mov eax, PAGE_DIR
        mov cr3, eax
        jmp return_to_kernel

sys_pid:
        mov eax, -1
        cmp dword [current], 0
        je .store
        mov eax, [current]
        sub eax, processes
        shr eax, 4
.store: mov [ebp + FRAME_EAX], eax
        ret

preempt:                                ; from the timer
        test byte [ebp + FRAME_CS], 3
        jz .stay
        cmp dword [current], 0
        je .stay
        inc dword [preemptions]
        jmp other
.stay:  ret

%macro PROGRAM 2                        ; letter, process number
        mov dword [PRIVATE], %1
        mov eax, SYS_PID
        int 0x80
        cmp eax, %2
        CHECK e, "process number"
        mov ecx, 30
.yield: mov ebx, %1 * 0x01010101
        mov edx, ebx
        not edx
        lea esi, [ebx + ecx]
        lea edi, [edx + ecx]
        mov ebp, esi
        xor eax, eax                    ; SYS_YIELD
        stc
        int 0x80
        CHECK c, "flags survive a switch"
        cmp ebx, %1 * 0x01010101
        CHECK e, "EBX survives a switch"
        add ebx, edx
        inc ebx
        CHECK z, "EDX survives a switch"
        sub esi, ecx
        cmp esi, %1 * 0x01010101
        CHECK e, "ESI and ECX survive a switch"
        sub edi, ecx
        cmp edi, edx
        CHECK e, "EDI survives a switch"
        sub ebp, ecx
        cmp ebp, esi
        CHECK e, "EBP survives a switch"
        cmp dword [PRIVATE], %1
        CHECK e, "a process sees its own memory"
        dec ecx
        jnz .yield
%endmacro

process_a:
        PROGRAM 'A', 0
        mov ecx, 1000000                ; the second process spins now: only the timer brings us back
.work:  cmp dword [PRIVATE], 'A'
        CHECK e, "memory of a preempted process"
        cmp dword [preemptions], 4
        loopne .work
        CHECK e, "the timer takes the processor away"
        mov dword [a_done], 1
        mov eax, SYS_EXIT
        int 0x80

process_b:
        PROGRAM 'B', 1
        mov ebx, 0x1234567
        xor edx, edx
.spin:  mov eax, edx
        and eax, 0xff
        lea ecx, [eax + ebx]
        sub ecx, eax
        cmp ecx, ebx
        CHECK e, "registers of a preempted process"
        inc edx
        cmp dword [a_done], 1
        jne .spin
        mov eax, SYS_EXIT
        int 0x80

; ---- the local descriptor table ------------------------------------------------------------------------------------
ldt_stage:
        STAGE "LDT"
        xor eax, eax                    ; a null selector: no table
        lldt ax
        mov ax, LDT_DATA
        FAULTS 13, LDT_DATA, "#GP while there is no LDT", mov fs, ax
        mov ax, SEL_LDT
        lldt ax
        sldt cx
        cmp cx, ax
        CHECK e, "SLDT"
        mov dword [SCRATCH], 0x1d7
        mov dword [SCRATCH + 0x100], 0x1d8
        mov ax, LDT_DATA
        mov fs, ax
        cmp dword [fs:0], 0x1d7
        CHECK e, "a segment of the LDT"
        mov ax, LDT_SAME
        mov gs, ax
        cmp dword [gs:0], 0x1d8
        CHECK e, "the table indicator chooses the table"
        lsl ecx, eax
        cmp ecx, 0xff
        CHECK e, "LSL looks into the LDT"
        mov dword [fs:0xfc], 3
        LIMIT 13, 0, "#GP beyond the limit of the LDT's segment", mov eax, [fs:0x100]
        mov ax, 0x24
        FAULTS 13, 0x24, "#GP for a selector beyond the LDT", mov fs, ax
        mov ax, 0x0c                    ; entry 1 is empty
        FAULTS 13, 0x0c, "#GP for an empty entry", mov fs, ax
        mov ax, CODE32
        FAULTS 13, CODE32, "#GP for LLDT of a code segment", lldt ax
        PASS "a table of one's own, limits, table indicator"

; ---- hardware tasks ------------------------------------------------------------------------------------------------
task_stage:
        STAGE "tasks"
        mov edi, TSS_TASK
        mov eax, task
        mov edx, TASK_STACK
        call make_task
        mov edi, TSS_FAULT
        mov eax, fault_task
        mov edx, FAULT_STACK
        call make_task
        mov dword [TSS_MAIN + 0x1c], PAGE_DIR           ; static fields: the processor reads but never writes them
        mov dword [TSS_MAIN + 0x60], SEL_LDT
        mov ebx, 0xb0b0b0b0
        mov esi, 0x51515151
        mov edi, esp
        stc
        call SEL_TASK:0                 ; a nested task
%if EXACT
        CHECK c, "flags come back from a task"
%endif
        cmp esp, edi
        CHECK e, "ESP comes back from a task"
        cmp ebx, 0xb0b0b0b0
        CHECK e, "EBX comes back from a task"
        cmp esi, 0x51515151
        CHECK e, "ESI comes back from a task"
        cmp dword [task_runs], 1
        CHECK e, "the task ran"
        cmp byte [gdt + SEL_TASK + 5], 0x89
        CHECK e, "IRET leaves the nested task available"
        cmp byte [gdt + SEL_TSS + 5], 0x8b
        CHECK e, "the task we are in is busy"
        str ax
        cmp ax, SEL_TSS
        CHECK e, "TR is ours again"
        pushfd
        pop eax
        test eax, NT
        CHECK z, "NT is clear in the outer task"
        cmp dword [TSS_TASK + 0x20], task.again
        CHECK e, "the task's EIP is in its TSS"
        cmp dword [TSS_TASK + 0x3c], 0x7a5c
        CHECK e, "the task's EBP is in its TSS"
        call TASK_GATE:0                ; once more, through a gate
        cmp dword [task_runs], 2
        CHECK e, "the task went on behind its IRET"
        jmp SEL_TASK:0                  ; and by a jump: no nesting
        cmp dword [task_runs], 3
        CHECK e, "the task jumped back"
        cmp byte [gdt + SEL_TASK + 5], 0x89
        CHECK e, "a jump leaves the old task available"
        mov eax, 0x83
        mov dword [IDT + 0x83 * 8], SEL_TASK << 16
        mov dword [IDT + 0x83 * 8 + 4], 0xe500
        int 0x83                        ; and by an interrupt
        cmp dword [task_runs], 4
        CHECK e, "the task served an interrupt"
        clts
        FAULTS 13, SEL_TSS, "#GP for a jump to a busy task", jmp SEL_TSS:0
        FAULTS 10, SHORT_TSS, "#TS for a TSS that is too short", jmp SHORT_TSS:0
        PASS "CALL, JMP, INT and IRET between tasks, busy bits, NT"
        jmp double_stage

make_task:                              ; TSS EDI: start at EAX with stack EDX
        push edi
        push eax
        xor eax, eax
        mov ecx, 0x68 / 4
        rep stosd
        pop eax
        pop edi
        mov dword [edi + 0x1c], PAGE_DIR
        mov [edi + 0x20], eax
        mov dword [edi + 0x24], 2
        mov [edi + 0x38], edx
        mov dword [edi + 0x48], DATA32
        mov dword [edi + 0x4c], CODE32
        mov dword [edi + 0x50], DATA32
        mov dword [edi + 0x54], DATA32
        mov dword [edi + 0x64], 0x680000
        ret

task:   mov eax, cr0                    ; a task switch sets TS
        test al, 8
        CHECK nz, "a task switch sets TS"
        clts
        inc dword [task_runs]
        cmp esp, TASK_STACK
        CHECK e, "a task has its own stack"
        str ax
        cmp ax, SEL_TASK
        CHECK e, "TR in the task"
        cmp byte [gdt + SEL_TASK + 5], 0x8b
        CHECK e, "the task is busy"
        pushfd
        pop eax
        mov ebp, 0x7a5c
        xor ebx, ebx
        xor esi, esi
        test eax, NT
        jz .jumped
        cmp word [TSS_TASK], SEL_TSS
        CHECK e, "the back link"
        cmp byte [gdt + SEL_TSS + 5], 0x8b
        CHECK e, "the outer task stays busy"
        iretd
.again: jmp task
.jumped:
        cmp byte [gdt + SEL_TSS + 5], 0x89
        CHECK e, "a jump leaves the old task"
        jmp SEL_TSS:0
        jmp task
task_runs       dd 0

; ---- double fault --------------------------------------------------------------------------------------------------
double_stage:
        STAGE "double fault"
        mov dword [IDT + 8 * 8], SEL_FAULT_TASK << 16   ; a task of its own: it works whatever the stack looks like
        mov dword [IDT + 8 * 8 + 4], 0x8500
        and byte [IDT + 13 * 8 + 5], 0x7f               ; #GP's gate is absent: #NP while #GP is delivered
        mov edi, esp
        mov ax, GDT_END
.at:    mov fs, ax
.after: or byte [IDT + 13 * 8 + 5], 0x80
        cmp dword [double_faults], 1
        CHECK e, "#GP then #NP make a double fault"
        cmp esp, edi
        CHECK e, "the faulting task's stack is untouched"
        mov esi, esp                    ; a stack that does not exist: #PF while #PF is delivered
        mov dword [double_resume], .back
        mov esp, HIGH + 0x9000
        mov eax, [HIGH + 0x8000]
.back:  mov esp, esi
        cmp dword [double_faults], 2
        CHECK e, "#PF then #PF make a double fault"
        clts
        PASS "through a task gate, #GP + #NP and #PF + #PF"
        jmp v86_stage
double_faults   dd 0
double_resume   dd double_stage.after

fault_task:
        inc dword [double_faults]
        pop eax
        test eax, eax
        CHECK z, "the error code of #DF is 0"
        cmp word [TSS_FAULT], SEL_TSS
        CHECK e, "the back link of #DF"
        mov eax, [double_resume]        ; let the task that failed go on behind the instruction
        mov [TSS_MAIN + 0x20], eax
        iretd
        jmp fault_task
`
