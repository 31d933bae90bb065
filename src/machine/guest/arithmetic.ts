/** The processor's arithmetic, judged by a second way to compute the same thing and by vectors worked out by hand. */

/** Assembly text, 32-bit. */
export const ARITHMETIC: string = `
; ---- eight-bit arithmetic against a wide model ---------------------------------------------------------------------
arithmetic:
        STAGE "arithmetic"
        mov esi, alu_cases
.case:  mov bl, 0                       ; first operand
.first: mov bh, 0                       ; second operand
.second:
        mov dword [carry_in], 0
        call alu_check
        mov dword [carry_in], 1
        call alu_check
        add bh, 17
        jnc .second
        add bl, 85
        jnc .first
        add esi, 12
        cmp dword [esi], 0
        jne .case
        jmp vectors

; kinds: 0 add, 1 subtract, 2 subtract without storing, 3 and, 4 or, 5 xor
alu_cases:
        dd do_add, 0x000, name_add
        dd do_adc, 0x100, name_adc
        dd do_sub, 0x001, name_sub
        dd do_sbb, 0x101, name_sbb
        dd do_cmp, 0x002, name_cmp
        dd do_and, 0x003, name_and
        dd do_or, 0x004, name_or
        dd do_xor, 0x005, name_xor
        dd 0
do_add: add al, dl
        ret
do_adc: adc al, dl
        ret
do_sub: sub al, dl
        ret
do_sbb: sbb al, dl
        ret
do_cmp: cmp al, dl
        ret
do_and: and al, dl
        ret
do_or:  or al, dl
        ret
do_xor: xor al, dl
        ret
name_add        db 'ADD', 0
name_adc        db 'ADC', 0
name_sub        db 'SUB', 0
name_sbb        db 'SBB', 0
name_cmp        db 'CMP', 0
name_and        db 'AND', 0
name_or         db 'OR', 0
name_xor        db 'XOR', 0
carry_in        dd 0
alu_result      dd 0
alu_flags       dd 0

; Runs case ESI on BL and BH, and computes result and flags a second time in 32 bits.
alu_check:
        push esi
        mov al, bl
        mov dl, bh
        push dword [carry_in]
        popfd
        call [esi]
        pushfd
        pop dword [alu_flags]
        mov [alu_result], al

        mov edi, [carry_in]
        cmp byte [esi + 5], 0
        jne .carry
        xor edi, edi
.carry: movzx eax, bl                   ; EAX, ECX: zero-extended; EDX, EBP: sign-extended
        movzx ecx, bh
        movsx edx, bl
        movsx ebp, bh
        cmp byte [esi + 4], 3
        jb .wide
        je .and
        cmp byte [esi + 4], 5
        je .xor
        or eax, ecx
        jmp .logic
.and:   and eax, ecx
        jmp .logic
.xor:   xor eax, ecx
.logic: mov ecx, eax                    ; logic: CF = OF = 0, AF undefined
        xor edi, edi
        jmp .rest
.wide:  cmp byte [esi + 4], 0
        jne .minus
        add eax, ecx
        add eax, edi
        add edx, ebp
        add edx, edi
        jmp .sum
.minus: sub eax, ecx
        sub eax, edi
        sub edx, ebp
        sub edx, edi
.sum:   mov edi, eax                    ; CF: the ninth bit
        shr edi, 8
        and edi, CF
        movsx ebp, al                   ; OF: the signed result does not fit
        cmp ebp, edx
        je .fits
        or edi, OF
.fits:  mov cl, bl                      ; AF: carry into bit 4
        xor cl, bh
        xor cl, al
        and ecx, AF
        or edi, ecx
        mov ecx, eax
.rest:  and ecx, 0xff                   ; ZF, SF, PF of the result
        jnz .some
        or edi, ZF
.some:  mov edx, ecx
        and edx, SF
        or edi, edx
        mov eax, ecx
        mov edx, ecx
        shr edx, 4
        xor eax, edx
        and eax, 15
        mov edx, 0x9669                 ; bit n: n has an even number of ones
        bt edx, eax
        jnc .odd
        or edi, PF
.odd:   cmp byte [esi + 4], 2           ; CMP leaves the first operand
        jne .stored
        movzx ecx, bl
.stored:
        cmp cl, [alu_result]
        jne .wrong
        mov eax, [alu_flags]
        xor eax, edi
        mov edx, ARITH
        cmp byte [esi + 4], 3
        jb .mask
        mov edx, ARITH - AF
.mask:  test eax, edx
        jnz .wrong
        pop esi
        ret
.wrong: mov esi, [esi + 8]
        jmp fail_text

; ---- single cases --------------------------------------------------------------------------------------------------
; name, EAX, EDX, flags before; EAX, EDX, flags after; flags that are defined; instruction (ECX = EDX)
vectors:
        VECTOR "ADD 32", 0x7fffffff, 1, 0, 0x80000000, 1, OF + SF + AF + PF, ARITH, add eax, edx
        VECTOR "ADC 32", 0xffffffff, 0, CF, 0, 0, CF + ZF + AF + PF, ARITH, adc eax, edx
        VECTOR "SBB 32", 0, 0, CF, 0xffffffff, 0, CF + SF + AF + PF, ARITH, sbb eax, edx
        VECTOR "SBB 16", 0x5a5a8000, 0x7fff, CF, 0x5a5a0000, 0x7fff, ZF + PF + OF + AF, ARITH, sbb ax, dx
        VECTOR "NEG", 0x80000000, 0, 0, 0x80000000, 0, CF + OF + SF + PF, ARITH, neg eax
        VECTOR "INC keeps CF", 0x7fffffff, 0, CF, 0x80000000, 0, CF + OF + SF + AF + PF, ARITH, inc eax
        VECTOR "DEC", 0x80000000, 0, 0, 0x7fffffff, 0, OF + AF + PF, ARITH, dec eax
        VECTOR "NOT", 0x0f0f00ff, 0, ARITH, 0xf0f0ff00, 0, ARITH, ARITH, not eax
        VECTOR "SHL by 1", 0xc0000000, 0, OF, 0x80000000, 0, CF + SF + PF, SHIFT, shl eax, 1
        VECTOR "SHL by 33", 1, 33, 0, 2, 33, 0, SHIFT, shl eax, cl
        VECTOR "SHL by 32", 5, 32, CF + OF, 5, 32, CF + OF, ARITH, shl eax, cl
        VECTOR "SHR by 1", 0x80000001, 0, 0, 0x40000000, 0, CF + OF + PF, SHIFT, shr eax, 1
        VECTOR "SHR 8 bits by 9", 0x1ff, 9, CF, 0x100, 9, ZF + PF, ZF + PF + SF, shr al, cl
        VECTOR "SAR", 0x80000018, 4, 0, 0xf8000001, 4, CF + SF, SHIFTN, sar eax, cl
        VECTOR "RCL by 1", 0x40000000, 0, CF, 0x80000001, 0, OF, ARITH, rcl eax, 1
        VECTOR "RCL 8 bits by 9", 0x1a5, 9, CF, 0x1a5, 9, CF, CF, rcl al, cl
        VECTOR "RCL by 4", 0x12345678, 4, CF, 0x23456788, 4, CF, CF, rcl eax, cl
        VECTOR "RCR by 1", 2, 0, CF, 0x80000001, 0, OF, ARITH, rcr eax, 1
        VECTOR "ROL 16", 0x1234, 4, 0, 0x2341, 4, CF, CF, rol ax, cl
        VECTOR "ROR", 0x12345678, 8, CF, 0x78123456, 8, 0, CF, ror eax, cl
        VECTOR "SHLD", 0x12345678, 0x9abcdef0, 0, 0x3456789a, 0x9abcdef0, PF, SHIFTN, shld eax, edx, 8
        VECTOR "SHRD", 0x12345678, 0x9abcdef0, 0, 0xdef01234, 0x9abcdef0, SF, SHIFTN, shrd eax, edx, cl
        VECTOR "IMUL overflow", 0x10000, 0x10000, 0, 0, 0x10000, CF + OF, CF + OF, imul eax, edx
        VECTOR "IMUL small", 0xfffffffd, 5, CF, 0xfffffff1, 5, 0, CF + OF, imul eax, edx
        VECTOR "IMUL immediate", 0, 7, CF, 0xffffffc8, 7, 0, CF + OF, imul eax, edx, -8
        VECTOR "MUL", 0xffffffff, 0xffffffff, 0, 1, 0xfffffffe, CF + OF, CF + OF, mul edx
        VECTOR "IMUL wide", 0xffffffff, 0xffffffff, 0, 1, 0, 0, CF + OF, imul edx
        VECTOR "MUL 8", 0xffffff10, 0x10, 0, 0xffff0100, 0x10, CF + OF, CF + OF, mul dl
        VECTOR "DIV 8", 0xff, 0x10, 0, 0x0f0f, 0x10, 0, 0, div dl
        VECTOR "IDIV rounds towards zero", 0xfff9, 2, 0, 0xfffd, 2, 0, 0, idiv dl
        VECTOR "DIV 32", 7, 1, 0, 0x80000003, 1, 0, 0, div dword [two]
        VECTOR "IDIV 32", 0xfffffff9, 0xffffffff, 0, 0xfffffffd, 0xffffffff, 0, 0, idiv dword [two]
        VECTOR "CDQ", 0x80000000, 0, ARITH, 0x80000000, 0xffffffff, ARITH, ARITH, cdq
        VECTOR "CWDE", 0x12348001, 0, 0, 0xffff8001, 0, 0, 0, cwde
        VECTOR "CBW", 0x1234567f, 0, 0, 0x1234007f, 0, 0, 0, cbw
        VECTOR "DAA", 0x9c, 0, 0, 0x02, 0, CF + AF, ARITH - OF, daa
        VECTOR "DAA after AF", 0x12, 0, AF, 0x18, 0, AF + PF, ARITH - OF, daa
        VECTOR "DAS", 0, 0, CF + AF, 0x9a, 0, CF + AF + SF + PF, ARITH - OF, das
        VECTOR "AAA", 0x000b, 0, 0, 0x0101, 0, CF + AF, CF + AF, aaa
        VECTOR "AAS", 0x020b, 0, 0, 0x0105, 0, CF + AF, CF + AF, aas
        VECTOR "AAM", 123, 0, 0, 0x0c03, 0, PF, ZF + SF + PF, aam
        VECTOR "AAD", 0x0c03, 0, 0, 123, 0, PF, ZF + SF + PF, aad
        VECTOR "BSF", 0, 0x00800100, ZF, 8, 0x00800100, 0, ZF, bsf eax, edx
        VECTOR "BSR", 0, 0x00800100, ZF, 23, 0x00800100, 0, ZF, bsr eax, edx
        VECTOR "BT", 0x80000000, 63, 0, 0x80000000, 63, CF, CF, bt eax, edx
        VECTOR "BTS", 0, 5, CF, 0x20, 5, 0, CF, bts eax, edx
        VECTOR "BTR", 0x20, 5, 0, 0, 5, CF, CF, btr eax, edx
        VECTOR "BTC", 0x20, 4, 0, 0x30, 4, 0, CF, btc eax, edx
        VECTOR "BSWAP", 0x12345678, 0, 0, 0x78563412, 0, 0, 0, bswap eax
        VECTOR "MOVSX", 0, 0x80, 0, 0xffffff80, 0x80, 0, 0, movsx eax, dl
        VECTOR "MOVZX", 0xffffffff, 0xffff8080, 0, 0x8080, 0xffff8080, 0, 0, movzx eax, dx
        VECTOR "XADD", 3, 5, 0, 8, 3, 0, ZF + SF + CF, xadd eax, edx
        VECTOR "CMPXCHG equal", 7, 9, 0, 7, 9, ZF, ZF, cmpxchg [seven], edx
        VECTOR "CMPXCHG other", 7, 1, ZF, 9, 1, 0, ZF, cmpxchg [seven], edx
        VECTOR "XCHG", 1, 2, ARITH, 2, 1, ARITH, ARITH, xchg eax, edx
        VECTOR "LAHF", 0, 0, CF + ZF, 0x4300, 0, CF + ZF, CF + ZF, lahf
        VECTOR "SAHF", 0xd500, 0, OF, 0xd500, 0, ARITH, ARITH, sahf
        VECTOR "CMC", 0, 0, CF, 0, 0, 0, CF, cmc
        VECTOR "SETG", 0, 0, SF + OF, 1, 0, SF + OF, SF + OF, setg al
        VECTOR "SETL", 0, 0, OF, 1, 0, OF, OF, setl al
        VECTOR "SETBE", 0, 0, ZF, 1, 0, ZF, ZF, setbe al
        VECTOR "SETPO", 0xff, 0, PF, 0, 0, PF, PF, setpo al
        VECTOR "LEA", 0x100, 0x20, ARITH, 0x100 + 0x20 * 4 + 3, 0x20, ARITH, ARITH, lea eax, [eax + edx * 4 + 3]
        VECTOR "high byte registers", 0x1200, 0x34, 0, 0x4600, 0x34, 0, ZF + CF, add ah, dl

        mov dword [SCRATCH - 4 + 0x100], 0     ; a bit offset reaches beyond the operand, below it too
        mov edx, -1
        bts [SCRATCH + 0x100], edx
        cmp dword [SCRATCH - 4 + 0x100], 0x80000000
        CHECK e, "BTS with a negative bit offset"
        mov ebx, hex_digits
        mov al, 13
        xlatb
        cmp al, 'd'
        CHECK e, "XLAT"

        ; the stack
        mov ebp, esp
        push esp
        cmp [esp], ebp
        CHECK e, "PUSH ESP pushes the old value"
        pop eax
        push dword 0x11112222
        pop dword [esp - 4]             ; the address is computed after the increment
        cmp dword [esp - 4], 0x11112222
        CHECK e, "POP into the stack"
        push byte -2
        pop eax
        cmp eax, -2
        CHECK e, "PUSH sign-extends"
        mov eax, 1
        mov edi, 8
        pushad
        cmp [esp + 12], ebp
        CHECK e, "PUSHAD pushes the old ESP"
        mov dword [esp + 28], 0x77
        popad
        cmp eax, 0x77
        CHECK e, "POPAD order"
        cmp esp, ebp
        CHECK e, "PUSHAD and POPAD balance"
        mov ebx, ebp
        mov ebp, 0x12345678
        enter 16, 0
        lea eax, [ebp - 16]
        cmp eax, esp
        CHECK e, "ENTER makes room"
        leave
        cmp ebp, 0x12345678
        CHECK e, "LEAVE restores EBP"
        cmp esp, ebx
        CHECK e, "LEAVE restores ESP"
        push dword 0x3000 + ARITH + DF + NT
        popfd
        pushfd
        pop eax
        push dword 2
        popfd
        cmp eax, 0x3002 + ARITH + DF + NT
        CHECK e, "POPFD and PUSHFD, bit 1 set"
        xor eax, eax
        mov ecx, 5
.loop:  add eax, ecx
        loop .loop
        cmp eax, 15
        CHECK e, "LOOP"
        jecxz .zero
        inc eax
.zero:  cmp eax, 15
        CHECK e, "JECXZ"
        PASS "ALU flags against a wide model, 64 instruction vectors"
        jmp strings

two     dd 2
seven   dd 7
hex_digits db '0123456789abcdef'

; After VECTOR: EAX, EDX and flags against what follows the call.
vector_check:
        pushfd
        pop edi
        pop esi
        cmp eax, [esi]
        jne .wrong
        cmp edx, [esi + 4]
        jne .wrong
        xor edi, [esi + 8]
        test edi, [esi + 12]
        jnz .wrong
        add esi, 16
.skip:  cmp byte [esi], 0
        lea esi, [esi + 1]
        jne .skip
        push dword 2                    ; the flags, DF among them, as C would have them
        popfd
        push esi
        ret
.wrong: add esi, 16
        jmp fail_text

; ---- strings -------------------------------------------------------------------------------------------------------
strings:
        STAGE "strings"
        mov edi, SCRATCH
        mov ecx, 64
        xor eax, eax
.fill:  stosb                           ; 0, 1, 2 ... 63
        inc eax
        loop .fill
        cmp edi, SCRATCH + 64
        CHECK e, "STOSB moves EDI"
        mov esi, SCRATCH + 15           ; overlapping, downwards: a true copy
        mov edi, SCRATCH + 19
        mov ecx, 16
        std
        rep movsb
        cld
        cmp esi, SCRATCH - 1
        CHECK e, "DF makes ESI go down"
        cmp dword [SCRATCH + 4], 0x03020100
        CHECK e, "copy downwards"
        cmp dword [SCRATCH + 16], 0x0f0e0d0c
        CHECK e, "copy downwards to its end"
        mov esi, SCRATCH                ; overlapping, upwards: a pattern
        mov edi, SCRATCH + 1
        mov ecx, 7
        mov byte [SCRATCH], 0xaa
        rep movsb
        cmp dword [SCRATCH + 4], 0xaaaaaaaa
        CHECK e, "copy upwards repeats"
        test ecx, ecx
        CHECK z, "REP counts ECX down"
        mov edi, SCRATCH + 32
        mov al, 40
        mov ecx, 32
        repne scasb
        CHECK e, "SCASB finds"
        cmp edi, SCRATCH + 41
        CHECK e, "SCASB stops behind the byte"
        cmp ecx, 23
        CHECK e, "SCASB leaves the rest in ECX"
        mov esi, SCRATCH + 32
        mov edi, SCRATCH + 48
        mov ecx, 4
        repe cmpsd
        CHECK b, "CMPSD compares source with destination"
        cmp ecx, 3
        CHECK e, "CMPSD stops at the difference"
        xor ecx, ecx
        cmp eax, eax
        mov edi, SCRATCH + 64
        rep stosd
        cmp edi, SCRATCH + 64
        CHECK e, "REP with ECX = 0 does nothing"
        mov esi, SCRATCH + 32
        std
        lodsw
        cld
        cmp ax, 0x2120
        CHECK e, "LODSW"
        cmp esi, SCRATCH + 30
        CHECK e, "LODSW steps by two"
        mov edx, COM1 + 7               ; the serial port's scratch register
        mov esi, SCRATCH + 50
        outsb
        mov edi, SCRATCH + 80
        insb
        cmp byte [SCRATCH + 80], 50
        CHECK e, "OUTSB and INSB"
        ; code that changes itself: the new bytes run
        mov byte [.patch + 1], 5
        jmp .patch
.patch: mov al, 1
        cmp al, 5
        CHECK e, "self-modifying code"
        mov ecx, 3
        xor ebx, ebx
.again: mov byte [.count], 0x43         ; INC EBX in place of NOP
.count: nop
        loop .again
        cmp ebx, 3
        CHECK e, "a store into the next instruction"
        PASS "REP, direction flag, self-modifying code"
        jmp segments

; ---- segments ------------------------------------------------------------------------------------------------------
segments:
        STAGE "segments"
        mov ax, SMALL
        mov fs, ax
        mov dword [SCRATCH + 0x20], 0xcafe
        cmp dword [fs:0x20], 0xcafe
        CHECK e, "a base is added"
        mov dword [fs:0xffc], 1
        LIMIT 13, 0, "#GP for the first byte beyond the limit", mov al, [fs:0x1000]
        LIMIT 13, 0, "#GP for a dword that ends beyond the limit", mov eax, [fs:0xffd]
        LIMIT 13, 0, "#GP for a write beyond the limit", mov [fs:0x1000], al
        mov ax, DOWN
        mov gs, ax
        mov dword [gs:0x1000], 2
        cmp dword [SCRATCH + 0x1000], 2
        CHECK e, "expand-down: offsets above the limit"
        LIMIT 13, 0, "#GP in the lower part of an expand-down segment", mov eax, [gs:0xffc]
        mov ax, READONLY
        mov gs, ax
        mov eax, [gs:SCRATCH]
        LIMIT 13, 0, "#GP for a write to a read-only segment", mov [gs:SCRATCH], eax
        mov ax, EXECONLY
        FAULTS 13, EXECONLY, "#GP for loading an execute-only segment", mov gs, ax
        LIMIT 13, 0, "#GP for a write to code", mov [cs:SCRATCH], eax
        xor eax, eax
        mov gs, ax
        LIMIT 13, 0, "#GP through a null selector", mov eax, [gs:SCRATCH]
        FAULTS 13, 0, "#GP for a null SS", mov ss, ax
        mov ax, ABSENT
        FAULTS 11, ABSENT, "#NP for a segment that is not present", mov gs, ax
        FAULTS 12, ABSENT, "#SS for a stack that is not present", mov ss, ax
        mov ax, READONLY
        FAULTS 13, READONLY, "#GP for a read-only stack", mov ss, ax
        mov ax, GDT_END
        FAULTS 13, GDT_END, "#GP for a selector beyond the GDT", mov gs, ax
        mov ax, USER_DATA
        FAULTS 13, USER_DATA - 3, "#GP for a stack of ring 3", mov ss, ax
        mov ax, SEL_TSS
        FAULTS 13, SEL_TSS, "#GP for a TSS in GS", mov gs, ax
        FAULTS 13, DATA32, "#GP for a jump to data", jmp DATA32:0
        mov ecx, esp                    ; a stack segment with its own base and limit
        mov ax, SMALL
        mov ss, ax
        mov esp, 0x1000
        push dword 0x600d
        cmp dword [SCRATCH + 0xffc], 0x600d
        mov ax, DATA32
        mov ss, ax
        mov esp, ecx
        CHECK e, "SS with a base"
        mov ebp, 0x2000                 ; an address through EBP belongs to SS
        mov ebx, esp
        mov ax, SMALL
        mov ss, ax
        mov esp, 0x800
        LIMIT 12, 0, "#SS beyond the limit of the stack", mov eax, [ebp]
        mov ax, DATA32
        mov ss, ax
        mov esp, ebx
        call CONFORMING:.conforming
        jmp .done
.conforming:
        mov ax, cs
        cmp ax, CONFORMING
        CHECK e, "CS of a far call"
        retf
.done:  lfs ebx, [far_pointer]
        mov ax, fs
        cmp ax, SMALL
        CHECK e, "LFS loads the selector"
        cmp ebx, 0x20
        CHECK e, "LFS loads the offset"
        xor eax, eax
        mov fs, ax
        PASS "base, limit, type, null, not present, far calls"
        jmp exceptions
far_pointer     dd 0x20
                dw SMALL

; ---- exceptions ----------------------------------------------------------------------------------------------------
exceptions:
        STAGE "exceptions"
        xor edx, edx
        xor ecx, ecx
        mov eax, 1
        FAULTS 0, 0, "#DE for a division by zero", div ecx
%if EXACT
        test dword [caught_flags], RF
        CHECK nz, "a fault pushes RF, so that a breakpoint there does not strike twice"
%endif
        mov edx, 2
        mov ecx, 2
        FAULTS 0, 0, "#DE for a quotient that does not fit", div ecx
        cmp eax, 1
        CHECK e, "a faulting DIV changes nothing"
        mov eax, 0x80000000
        cdq
        mov ecx, -1
        FAULTS 0, 0, "#DE for the most negative number over -1", idiv ecx
        mov al, 0x7f
        add al, 1
        TRAPS 4, 0, "#OF for INTO", into
        test al, al
        into                            ; OF clear: nothing happens
        mov eax, 11
        FAULTS 5, 0, "#BR above the bounds", bound eax, [bounds]
        mov eax, -11
        FAULTS 5, 0, "#BR below the bounds", bound eax, [bounds]
        mov eax, 10
        bound eax, [bounds]
        FAULTS 6, 0, "#UD for UD2", ud2
        FAULTS 6, 0, "#UD for LOCK on a register", db 0xf0, 0x01, 0xd8
        FAULTS 6, 0, "#UD for MOV to CS", db 0x8e, 0xc8
        FAULTS 6, 0, "#UD for LEA of a register", db 0x8d, 0xc0
        mov eax, cr0
        push eax
        or eax, 8                       ; TS: the coprocessor belongs to another task
        mov cr0, eax
        FAULTS 7, 0, "#NM while TS is set", fninit
        clts
        pop eax
        mov cr0, eax
        mov eax, cr0
        and eax, 0x7ffffffe
        or eax, 0x80000000
        LIMIT 13, 0, "#GP for paging without protection", mov cr0, eax
        mov eax, cr0
        test al, 1
        CHECK nz, "CR0 is as it was"

        mov dword [resume], .stepped    ; single step: #DB after one instruction
        pushfd
        or dword [esp], TF
        popfd
        nop
.one:   nop
.stepped:
        call fault_check
        dd .one, 0
        db 1, "#DB after a single step", 0
        mov eax, dr6
        test eax, 0x4000
        CHECK nz, "DR6.BS"
        xor eax, eax
        mov dr6, eax
        mov eax, .watched
        mov dr0, eax
        mov eax, 0x402                  ; G0: execution of one address
        mov dr7, eax
        mov dword [resume], .behind
        mov eax, 1
.watched:
        mov eax, 2
.behind:
        call fault_check
        dd .watched, 0
        db 1, "#DB at an execution breakpoint", 0
        cmp eax, 1
        CHECK e, "an execution breakpoint comes before its instruction"
        mov eax, 0x400
        mov dr7, eax
        mov eax, dr6
        test al, 1
        CHECK nz, "DR6.B0"
        mov dword [IDT + 0x83 * 8 + 4], 0x0e00
        FAULTS 11, 0x83 * 8 + 2, "#NP for a gate that is not present", int 0x83
        mov dword [IDT + 0x83 * 8], DATA32 << 16
        mov dword [IDT + 0x83 * 8 + 4], 0x8e00
        FAULTS 13, DATA32, "#GP for a gate to data", int 0x83
        PASS "#DE #DB #BP #OF #BR #UD #NM #NP #SS #GP"
        jmp pic_stage
bounds  dd -10, 10
`
