/** Paging: tables, protection, the translation lookaside buffer, and pages that are filled in on demand. */

/** Assembly text, 32-bit. */
export const MEMORY: string = `
; ---- paging --------------------------------------------------------------------------------------------------------
paging_stage:
        STAGE "paging"
        cld
        mov edi, PAGE_DIR               ; everything absent
        xor eax, eax
        mov ecx, (FRAMES - PAGE_DIR) / 4
        rep stosd
        mov edi, PAGES_LOW              ; the first 4 MiB: linear = physical, present, writable, ring 0 only
        mov eax, 3
        mov ecx, 1024
.low:   stosd
        add eax, 0x1000
        loop .low
        mov ebx, PAGES_LOW              ; ring 3 may use the interrupt vectors of the 8086 (page 0), the page of our image
        or byte [ebx], 4                ; (kernel and user programs share it, to keep the image small),
        mov esi, LOAD / 0x1000
.image: or byte [ebx + esi * 4], 4
        inc esi
        cmp esi, (image_end - boot + LOAD + 0xfff) / 0x1000
        jb .image
        or byte [ebx + (USER_STACK / 0x1000 - 1) * 4], 4        ; its stacks,
        or byte [ebx + (USER_STACK_A / 0x1000 - 1) * 4], 4
        or byte [ebx + (USER_STACK_B / 0x1000 - 1) * 4], 4
        or byte [ebx + V86_AREA / 0x1000 * 4], 4                ; and the 8086 program
        mov dword [PAGE_DIR], PAGES_LOW + 7
        mov dword [PAGE_DIR + HIGH / 0x400000 * 4], PAGES_HIGH + 7
        mov dword [PAGES_HIGH], FRAME_X + 7                     ; HIGH: one frame, mapped a second time
        mov dword [PAGES_HIGH + 4], FRAME_X + 5                 ; HIGH + 0x1000: the same, read-only
        mov dword [PAGES_HIGH + 8], FRAME_Y + 3                 ; HIGH + 0x2000: ring 0 only
        mov eax, PAGE_DIR
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp short .on
.on:    mov eax, cr3
        cmp eax, PAGE_DIR
        CHECK e, "CR3 reads back"
        mov dword [FRAME_X + 0x10], 0x11aa22bb
        cmp dword [HIGH + 0x10], 0x11aa22bb
        CHECK e, "two linear addresses, one frame"
        test dword [PAGES_HIGH], 0x20
        CHECK nz, "reading sets the accessed bit"
        test dword [PAGE_DIR + HIGH / 0x400000 * 4], 0x20
        CHECK nz, "reading sets the directory's accessed bit"
        test dword [PAGES_HIGH], 0x40
        CHECK z, "reading leaves the dirty bit"
        mov dword [HIGH + 0x10], 0x33
        cmp dword [FRAME_X + 0x10], 0x33
        CHECK e, "a write through the second mapping"
        test dword [PAGES_HIGH], 0x40
        CHECK nz, "writing sets the dirty bit"
        FAULTS 14, 0, "#PF for a read", mov eax, [HIGH + 0x5678]
        cmp dword [caught_cr2], HIGH + 0x5678
        CHECK e, "CR2 after a read"
        FAULTS 14, 2, "#PF for a write", mov byte [HIGH + 0x7123], al
        cmp dword [caught_cr2], HIGH + 0x7123
        CHECK e, "CR2 after a write"
        FAULTS 14, 0, "#PF without a page table", mov al, [0x80001000]
        FAULTS 14, 0, "#PF in the second page of an access", mov eax, [HIGH + 0x2ffe]
        cmp dword [caught_cr2], HIGH + 0x3000
        CHECK e, "CR2 is the part that failed"
        LIMIT 14, 2, "#PF for a read-modify-write", add dword [HIGH + 0x9000], 1
        mov dword [resume], .fetched    ; a fetch fails at its target
        mov eax, HIGH + 0xa000
        jmp eax
.fetched:
        call fault_check
        dd HIGH + 0xa000, 0
        db 14, "#PF for a fetch", 0
    mov byte [HIGH + 0x1000], 0x77          ; ring 0 ignores read-only pages until CR0.WP says otherwise
        cmp byte [FRAME_X], 0x77
        CHECK e, "ring 0 writes to a read-only page while WP is off"
        mov eax, cr0
        or eax, 0x10000
        mov cr0, eax
        FAULTS 14, 3, "#PF for a write to a read-only page", mov byte [HIGH + 0x1000], 1
        mov eax, cr0
        and eax, 0xfffeffff
        mov cr0, eax
        PASS "tables, two mappings, A and D bits, #PF codes, WP"

; ---- translation lookaside buffer ----------------------------------------------------------------------------------
        STAGE "TLB"
        mov dword [FRAME_X + 4], 0x1111
        mov dword [FRAME_Y + 4], 0x2222
        cmp dword [HIGH + 4], 0x1111
        CHECK e, "the first frame"
        mov dword [PAGES_HIGH], FRAME_Y + 7     ; the processor may still remember the old entry
        invlpg [HIGH]
        cmp dword [HIGH + 4], 0x2222
        CHECK e, "INVLPG makes a new mapping visible"
        mov dword [PAGES_HIGH], FRAME_X + 7
        mov eax, cr3
        mov cr3, eax
        cmp dword [HIGH + 4], 0x1111
        CHECK e, "loading CR3 makes a new mapping visible"
        mov dword [PAGES_HIGH], 0
        invlpg [HIGH]
        FAULTS 14, 0, "#PF after a page is taken away", mov eax, [HIGH + 4]
        mov dword [PAGES_HIGH], FRAME_X + 7     ; an absent page is never remembered: no flush needed
        cmp dword [HIGH + 4], 0x1111
        CHECK e, "an absent page becomes present without a flush"
        and dword [PAGES_HIGH], 0xffffff9f
        invlpg [HIGH]
        mov eax, [HIGH + 4]
        test dword [PAGES_HIGH], 0x20
        CHECK nz, "the accessed bit is set anew after INVLPG"
        mov dword [HIGH + 4], eax
        test dword [PAGES_HIGH], 0x40
        CHECK nz, "the first write to a clean page sets D"
        PASS "INVLPG, CR3, A and D bits anew"

; ---- demand paging -------------------------------------------------------------------------------------------------
        STAGE "demand"
        mov edi, DEMAND                 ; five pages of a REP: each fault interrupts it, and it goes on
        mov eax, 0x5eed5eed
        mov ecx, 5 * 1024
        rep stosd
        cmp edi, DEMAND + 5 * 4096
        CHECK e, "a REP goes on after page faults"
        cmp dword [demanded], 5
        CHECK e, "one fault a page"
        cmp dword [DEMAND + 4 * 4096 + 0xffc], 0x5eed5eed
        CHECK e, "the last dword"
        mov ebx, DEMAND + 6 * 4096
        add dword [ebx], 3              ; restarted once, done once
        add dword [ebx], 4
        cmp dword [ebx], 7
        CHECK e, "a restarted instruction takes effect once"
        mov eax, 0x01020304             ; across two absent pages: two faults
        mov [DEMAND + 9 * 4096 - 2], eax
        cmp dword [DEMAND + 9 * 4096 - 2], eax
        CHECK e, "an access across two pages"
        cmp dword [demanded], 8
        CHECK e, "two faults for two pages"
        mov dword [DEMAND + 12 * 4096 - 4], 0   ; a ring 0 stack must exist before it is used: the fault itself needs it
        mov edx, esp
        mov esp, DEMAND + 12 * 4096
        push eax
        pop ecx
        mov esp, edx
        cmp ecx, eax
        CHECK e, "a stack in demand pages"
        cmp dword [demand_fault], DEMAND + 12 * 4096 - 4
        CHECK e, "CR2 named the address"
        PASS "pages filled in by the page fault handler"
        jmp ring3_stage

demanded        dd 0
demand_fault    dd 0
next_frame      dd FRAMES

; Vector 14: an absent page of the demand region gets a frame; anything else must have been expected.
page_fault:
        mov eax, cr2
        mov ebx, eax
        sub ebx, DEMAND
        cmp ebx, DEMAND_END - DEMAND
        jae expected_fault
        test dword [ebp + FRAME_ERROR], 1
        jnz expected_fault
%if EXACT
        test dword [ebp + FRAME_ERROR], 2       ; our programs only ever write to a new page
        jz expected_fault
%endif
        mov [demand_fault], eax
        inc dword [demanded]
        mov edi, [next_frame]
        add dword [next_frame], 0x1000
        mov edx, edi
        or edx, 7
        sub eax, HIGH
        shr eax, 12
        mov [PAGES_HIGH + eax * 4], edx
        mov ecx, 1024
        xor eax, eax
        rep stosd
        ret
`
