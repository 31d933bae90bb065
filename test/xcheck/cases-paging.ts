/** Page faults and their error codes, protection, A and D bits, staleness of the TLB; 32-bit, PAE and 4-level. */
import type { XCase } from './case.js'
import { suite } from './suite.js'

const WP = 0x10000
const SMEP = 0x100000
const SMAP = 0x200000

/** Each access to a page with each permission. The page is DATA2; INT 41h waits in it to be executed. */
function permissions(): XCase[] {
  let text = ''
  const entries: [string, number, boolean][] = [
    ['none', 0, false],
    ['s ro', 1, false],
    ['s rw', 3, false],
    ['u ro', 5, false],
    ['u rw', 7, false],
    ['u rw nx', 7, true],
  ]
  const access: Record<string, string> = {
    read: 'mov eax, [DATA2]',
    write: 'mov [DATA2], eax',
    execute: 'call DATA2',
  }
  for (const paging of ['32', 'pae', '4level'] as const) {
    const long = paging === '4level'
    const table = paging === '32' ? 'PT + 0xb * 4' : 'PT_PAE + 0xb * 8'
    for (const [name, bits, nx] of entries) {
      if (nx && paging === '32') continue
      for (const [what, instruction] of Object.entries(access)) {
        const set = `mov word [DATA2], 0x41cd
mov dword [${table}], 0xb000 | ${bits}
${nx ? `mov dword [${table} + 4], 0x80000000` : ''}
invlpg [DATA2]
`
        const attributes = (cr0: number, cr4: number): string =>
          `entry=${long ? 'long0' : 'prot0'} paging=${paging} efer=${paging === '32' ? 0 : 0x800} cr0=${cr0} cr4=${cr4}`
        for (const [mode, cr0, cr4] of [
          ['', 0, 0],
          ['WP', WP, 0],
          ['WP SMEP SMAP', WP, SMEP | SMAP],
        ] as const) {
          if (long && mode === 'WP') continue
          text += `== ${paging} ${name} ${what} ring 0 ${mode} | ${attributes(cr0, cr4)}\n${set}${instruction}\nmov esi, [${table}]\n`
        }
        const user = long
          ? `push DATA3
push STACK3
push 2
push CODE64_3
push there
o64 iret
`
          : 'push DATA3\npush STACK3\npush 2\npush CODE3\npush there\niretd\n'
        text += `== ${paging} ${name} ${what} ring 3 | ${attributes(WP, SMEP | SMAP)}\n${set}${user}there: ${instruction}\n`
      }
    }
  }
  return suite('page', '', text)
}

const MORE = suite(
  'paging',
  'entry=prot0 paging=32',
  `
== A is set by a read
mov eax, [DATA2]
mov ebx, [PT + 0xb * 4]
mov ecx, [PD]
and ecx, 0x20
== D is set by a write
mov [DATA2], eax
mov ebx, [PT + 0xb * 4]
== a read-modify-write of a read-only page | cr0=0x10000
mov dword [PT + 0xb * 4], 0xb005
invlpg [DATA2]
xor byte [DATA2], 0
== D is not set by a fault | cr0=0x10000
mov dword [PT + 0xb * 4], 0xb001
invlpg [DATA2]
mov dword [IDT + 14 * 8], (CODE0 << 16) | there
mov [DATA2], eax
there: mov ebx, [PT + 0xb * 4]
== PDE not present
mov eax, [0x400000]
== PDE user, PTE supervisor | entry=prot3
mov eax, [SDATA]
== PDE supervisor
mov dword [PD], PT + 3
mov eax, cr3
mov cr3, eax
push DATA3
push STACK3
push 2
push CODE3
push there
iretd
there: nop
== PDE read-only | cr0=0x10000
mov dword [PD + 4], PT + 5
mov [0x40b000], eax
== stale entry stays without INVLPG
mov eax, [DATA2]
mov dword [PT + 0xb * 4], 0x9007
mov dword [DATA], 0x1234
invlpg [DATA2]
mov eax, [DATA2]
== page across two pages, second missing
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov eax, [0xbffe]
== write across two pages, second missing: nothing is written
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov dword [IDT + 14 * 8], (CODE0 << 16) | there
mov eax, 0x12345678
mov [0xbffe], eax
there: movzx ebx, word [0xbffe]
mov word [0xbffe], 0
== write across, first read-only, second missing | cr0=0x10000
mov dword [PT + 0xb * 4], 0xb005
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
invlpg [0xb000]
mov [0xbffe], eax
== fetch runs into a missing page
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov dword [0xbffe], 0x9090
mov ax, 0xbffe
jmp eax
== instruction across into a missing page
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov word [0xbffe], 0x00b8
mov eax, 0xbffe
jmp eax
== 4 MiB page | cr4=0x10
mov dword [PD + 4], 0x87
mov dword [DATA], 0x1234
mov eax, [0x400000 + DATA]
mov [0x400000 + DATA], eax
mov ebx, [PD + 4]
== PS without PSE
mov dword [PD + 4], PT + 0x87
mov eax, [0x400000 + DATA]
mov ebx, [PD + 4]
== 4 MiB page with PSE-36 | cr4=0x10
mov dword [PD + 4], 0x87 | 0x200000
mov eax, [0x400000 + DATA]
== global page survives CR3 | cr4=0x80
mov dword [PT + 0xb * 4], 0xb107
invlpg [DATA2]
mov eax, [DATA2]
mov dword [PT + 0xb * 4], 0
mov eax, cr3
mov cr3, eax
invlpg [DATA2]
mov eax, [DATA2]
== CR4.PGE flushes all | cr4=0x80
mov dword [PT + 0xb * 4], 0xb107
invlpg [DATA2]
mov eax, [DATA2]
mov dword [PT + 0xb * 4], 0
xor eax, eax
mov cr4, eax
mov eax, [DATA2]
== SMAP with AC | cr4=0x200000 flags=0x40002
mov eax, [DATA2]
clac
mov eax, [DATA2]
== SMAP stac
mov eax, 0x200000
mov cr4, eax
stac
mov eax, [DATA2]
pushfd
pop ebx
clac
push dword [DATA2]
== implicit access to the GDT in ring 3 is a supervisor's | entry=prot3 cr4=0x200000
mov ax, 0x23
mov ds, ax
mov ebx, ds
== error code of an instruction fetch without NX
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
jmp DATA2
== fetch fault with SMEP set | cr4=0x100000
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
jmp DATA2
== IDT not present gives a double fault, which is a triple fault
mov dword [PT + 2 * 4], 0
invlpg [IDT]
ud2
== ring-0 stack not present in delivery
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
mov esp, DATA2 + 0x100
idt 8, CODE0, there, 0x8e00
int 0x40
there:
== page fault in delivering a page fault
mov dword [TSSA + 4], DATA2 + 0x100
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
push DATA3
push STACK3
push 2
push CODE3
push there
iretd
there: mov eax, [0x400000]
== GDT not present
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
mov dword [DATA], (DATA2 << 16) | 0xfff
mov word [DATA + 4], 0
lgdt [DATA]
mov ax, DATA0
mov ds, ax
== descriptor's accessed bit in a read-only page | cr0=0x10000
desc FREE, 0, 0xfffff, 0x92, 0xc
mov dword [PT + 4], 0x1001
invlpg [GDT]
mov ax, FREE
mov ds, ax
== rep movs faults half way
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov esi, DATA
mov edi, 0xbff8
mov ecx, 16
rep movsd
== rep stos restarts
mov dword [PT + 0xc * 4], 0
invlpg [0xc000]
mov edi, 0xbffd
mov ecx, 9
mov al, 0x55
rep stosb
== pusha across a missing page
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
mov esp, 0xc008
pusha
== enter touches the final stack
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
mov esp, 0xc008
enter 0x100, 0
== call far pushes nothing on a fault
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
mov esp, 0xc004
call CODE0:there
there:
== cmpxchg writes even when unequal | cr0=0x10000
mov dword [PT + 0xb * 4], 0xb001
invlpg [DATA2]
mov eax, 5
cmpxchg [DATA2], ebx
== xchg of a register with a missing page
mov dword [PT + 0xb * 4], 0
invlpg [DATA2]
xchg [DATA2], ebx
== bts reaches far
mov eax, 0x2000 * 8 + 5
bts [DATA], eax
mov ebx, [DATA + 0x2000]
== clear PG
mov eax, cr0
and eax, 0x7fffffff
mov cr0, eax
jmp short there
there: mov eax, cr0
and eax, 0x80000001
== PAE reserved bit | paging=pae
mov dword [PT_PAE + 0xb * 8 + 4], 0x100000
invlpg [DATA2]
mov eax, [DATA2]
== PAE NX without NXE | paging=pae
mov dword [PT_PAE + 0xb * 8 + 4], 0x80000000
invlpg [DATA2]
mov eax, [DATA2]
== PAE reserved bit by a write from ring 3 | paging=pae
mov dword [PT_PAE + 0xb * 8 + 4], 0x100000
invlpg [DATA2]
push DATA3
push STACK3
push 2
push CODE3
push there
iretd
there: mov [DATA2], eax
== PAE 2 MiB page | paging=pae
mov dword [PD_PAE + 8], 0x87
mov eax, [0x200000 + DATA]
mov [0x200000 + DATA], eax
mov ebx, [PD_PAE + 8]
== PAE 2 MiB page reserved low bit | paging=pae
mov dword [PD_PAE + 8], 0x2087
mov eax, [0x200000 + DATA]
== PDPTE reserved bit | paging=pae
mov dword [PDPT_PAE + 8], 0x1e7
mov eax, cr3
mov cr3, eax
== PDPTE is read by MOV CR3 only | paging=pae
mov dword [PDPT_PAE + 8], PD_PAE + 1
mov eax, [0x40000000 + DATA]
== PDPTE not present | paging=pae
mov eax, [0x80000000]
== 4-level reserved bit in the PML4E | entry=long0 paging=4level
mov dword [PML4 + 8], PDPT + 0x87
mov rax, 0x8000000000
mov rax, [rax]
== 4-level 1 GiB page | entry=long0 paging=4level
mov dword [PDPT + 8], 0x87
mov eax, 0x40000000 + DATA
mov rbx, [rax]
mov rcx, [PDPT + 8]
== 4-level 1 GiB page, reserved low bit | entry=long0 paging=4level
mov dword [PDPT + 8], 0x2087
mov eax, 0x40000000 + DATA
mov rbx, [rax]
== 4-level not present at each level | entry=long0 paging=4level
mov rax, 0xffff800000000000
mov rax, [rax]
== NX in an upper level | entry=long0 paging=4level efer=0x800
mov dword [PD_PAE + 8], PT_PAE + 7
mov dword [PD_PAE + 12], 0x80000000
mov word [DATA2], 0x41cd
mov eax, 0x200000 + DATA2
call rax
== physical address beyond MAXPHYADDR | entry=long0 paging=4level
mov dword [PT_PAE + 0xb * 8 + 4], 0x80000
invlpg [DATA2]
mov eax, [DATA2]
== protection key | entry=long0 paging=4level
mov dword [PT_PAE + 0xb * 8 + 4], 0x08000000
invlpg [DATA2]
mov eax, [DATA2]
`,
)

export const PAGING_CASES: readonly XCase[] = [...permissions(), ...MORE]
