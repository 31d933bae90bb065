/**
 * The lines that our assembler and NASM are compared on: every row of the instruction table in every code size and
 * operand size, with register and memory operands, and every addressing form. Made from the table, so that a new row
 * comes with its lines; what NASM makes of them is recorded in `golden/` by `record-nasm.ts`.
 */
import { CONDITIONS } from '../../src/isa/assembler-mnemonics.js'
import { type OperandSpec, ROWS, type Row, widthOf } from '../../src/isa/table.js'

/** One line to assemble by itself. `$` is its own address. */
export interface CorpusLine {
  readonly bits: 16 | 32 | 64
  readonly text: string
}

const SIZE_NAMES: Readonly<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  8: 'qword',
  10: 'tword',
  16: 'oword',
}
const NAMES: Readonly<Record<number, readonly string[]>> = {
  1: ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'],
  2: ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'],
  4: ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'],
  8: ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'],
}

/** Addressing forms; in each code size those of the other sizes that exist there as well. */
const ADDRESSES_16: readonly string[] = [
  '[bx+si]',
  '[bx+di+5]',
  '[bp+si-0x80]',
  '[bp+di+0x1234]',
  '[si]',
  '[di+127]',
  '[bp]',
  '[bx+128]',
  '[0x1234]',
  '[es:di]',
  '[cs:bx-1]',
  '[ss:si+bx]',
]
const ADDRESSES_32: readonly string[] = [
  '[ebx]',
  '[ebp]',
  '[esp]',
  '[esp+8]',
  '[eax+127]',
  '[ecx-128]',
  '[edx+128]',
  '[esi+edi]',
  '[edi+esi*2+1]',
  '[eax*4]',
  '[eax*8+0x12345678]',
  '[ebp+ebp*4]',
  '[ebx*2]',
  '[ebx*3]',
  '[ecx*5-4]',
  '[edx*9+400]',
  '[eax+esp]',
  '[esi*1+ebp]',
  '[ebp*1+esi]',
  '[nosplit eax*2]',
  '[dword 0x1234]',
  '[fs:eax]',
  '[gs:ebx+ecx*8-0x1000]',
  '[ds:ebp+4]',
  '[byte eax]',
  '[dword eax+1]',
]
const ADDRESSES_64: readonly string[] = [
  '[rbx]',
  '[rbp]',
  '[rsp]',
  '[r12]',
  '[r13]',
  '[rsp+r12*8]',
  '[r13+rax*4+5]',
  '[rax+127]',
  '[r9-128]',
  '[rdx+0x12345]',
  '[r8*4]',
  '[r9*2]',
  '[r10*9-1]',
  '[r15+r14]',
  '[rax+rsp]',
  '[0x1234]',
  '[rel $]',
  '[rel $+100]',
  '[fs:0x28]',
  '[gs:r9+rcx*2]',
  '[eax+r9d*4]',
  '[r13d+8]',
]

function addresses(bits: number): readonly string[] {
  if (bits === 16) return [...ADDRESSES_16, ...ADDRESSES_32]
  if (bits === 32) return [...ADDRESSES_32, ...ADDRESSES_16.filter((a) => a !== '[0x1234]')]
  return ADDRESSES_64
}

/** Takes the elements of a list in turn, starting where the row's text says: a changed row leaves the others alone. */
class Rotation {
  private count = 0
  constructor(text: string) {
    for (const c of text) this.count = (this.count * 31 + c.charCodeAt(0)) % 10007
  }
  next<T>(list: readonly T[]): T {
    return list[this.count++ % list.length]!
  }
}

function general(size: number, bits: number, turn: Rotation): string {
  const names = NAMES[size]!
  if (bits !== 64) return turn.next(names)
  const n = turn.next([0, 1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 15])
  if (n > 7) return `r${n}${size === 1 ? 'b' : size === 2 ? 'w' : size === 4 ? 'd' : ''}`
  if (size === 1 && n > 3) return ['spl', 'bpl', 'sil', 'dil'][n - 4]!
  return names[n]!
}

const IMMEDIATES: Readonly<Record<number, readonly string[]>> = {
  1: ['5', '-1', '0x7f', '0x80', '0xff'],
  2: ['5', '-1', '0x80', '0x1234', '0xffff', '-129'],
  4: ['5', '-1', '0x80', '0x12345678', '0xffffffff', '-129'],
  8: ['5', '-1', '0x80', '0x12345678', '-0x80000000', '-129'],
}

/** A sample of an operand, or undefined if it has none in this code size. */
function sample(
  spec: OperandSpec,
  opSize: number,
  bits: 16 | 32 | 64,
  memory: boolean,
  turn: Rotation,
): string | undefined {
  const width = widthOf(spec.width, opSize, bits)
  const memWidth = widthOf(spec.memWidth, opSize, bits)
  const mem = (): string => {
    const size = spec.memWidth === 'p' ? SIZE_NAMES[opSize]! : (SIZE_NAMES[memWidth] ?? '')
    // NASM refuses the true width of some SSE operands, so those go without.
    const keyword = 'pa'.includes(spec.memWidth) || spec.method === 'Q' || spec.method === 'W' ? '' : size
    return `${keyword} ${turn.next(addresses(bits))}`.trim()
  }
  const high = bits === 64 ? [0, 1, 7, 8, 15] : [0, 3, 7]
  switch (spec.method) {
    case 'E':
      return memory ? mem() : general(width, bits, turn)
    case 'M':
      return mem()
    case 'G':
    case 'R':
    case 'Z':
      return general(width, bits, turn)
    case 'S':
      return turn.next(['es', 'ss', 'ds', 'fs', 'gs'])
    case 'C':
      return turn.next(bits === 64 ? ['cr0', 'cr2', 'cr3', 'cr4', 'cr8'] : ['cr0', 'cr2', 'cr3', 'cr4'])
    case 'D':
      return turn.next(['dr0', 'dr3', 'dr6', 'dr7'])
    case 'T':
      return turn.next(['tr3', 'tr6', 'tr7'])
    case 'I':
      return turn.next(
        IMMEDIATES[spec.width === 'z' ? Math.min(width * (opSize === 8 ? 2 : 1), 8) : width] ?? IMMEDIATES[8]!,
      )
    case 'sI':
      return turn.next(['5', '-128', '127'])
    case 'J':
      return width === 1 ? turn.next(['$', '$+100', '$-100']) : turn.next(['$+1000', 'near $+5', '$-1000'])
    case 'A':
      return `${SIZE_NAMES[opSize]} 0x10:0x2345`
    case 'O':
      return turn.next(bits === 64 ? ['[qword 0x1122334455667788]'] : ['[0x1234]', '[es:0x10]'])
    case 'P':
    case 'N':
      return `mm${turn.next([0, 3, 7])}`
    case 'Q':
      return memory ? mem() : `mm${turn.next([1, 2, 6])}`
    case 'V':
    case 'U':
      return `xmm${turn.next(high)}`
    case 'W':
      return memory ? mem() : `xmm${turn.next(high)}`
    case 'reg':
      return NAMES[width]![spec.reg]!
    case 'sreg':
      return ['es', 'cs', 'ss', 'ds', 'fs', 'gs'][spec.reg]!
    case 'one':
      return '1'
    case 'st0':
      return 'st0'
    case 'sti':
      return `st${turn.next([1, 2, 7])}`
    case 'xmm0':
      return 'xmm0'
    default:
      return undefined
  }
}

const STRING_LETTERS: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'd', 8: 'q' }
const SIZED_NAMES: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  cbw: { 2: 'cbw', 4: 'cwde', 8: 'cdqe' },
  cwd: { 2: 'cwd', 4: 'cdq', 8: 'cqo' },
  iret: { 2: 'iretw', 4: 'iretd', 8: 'iretq' },
  pushf: { 2: 'pushfw', 4: 'pushfd', 8: 'pushfq' },
  popf: { 2: 'popfw', 4: 'popfd', 8: 'popfq' },
  pusha: { 2: 'pushaw', 4: 'pushad' },
  popa: { 2: 'popaw', 4: 'popad' },
}

/** Names under which NASM knows what the table calls otherwise. */
const NASM_NAMES: Readonly<Record<string, string>> = { callf: 'call far', jmpf: 'jmp far', xlat: 'xlatb' }

function rowLines(row: Row, bits: 16 | 32 | 64, turn: Rotation, out: Set<string>): void {
  const string = row.operands.find((o) => o.method === 'X' || o.method === 'Y')
  const all = bits === 64 ? [2, 4, 8] : [2, 4]
  const plain = bits === 16 ? [2] : bits === 64 && (row.default64 || row.force64) ? [8] : [4]
  const sized = SIZED_NAMES[row.mnemonic]
  const wide = row.operands.some((o) => ['v', 'z', 'p', 'a'].includes(o.width))
  const fixed = row.operands.some((o) => o.width === 'y') ? all.slice(1) : plain
  const sizes = row.w === 1 ? [8] : wide || sized ? all : fixed
  for (const opSize of sizes) {
    if (bits === 64 && row.default64 && opSize === 4) continue
    if (bits === 64 && row.force64 && opSize !== 8) continue
    if (string) {
      const width = widthOf(string.width, opSize, bits)
      const name = row.mnemonic + STRING_LETTERS[width]
      out.add(name)
      out.add(`${row.repeat === 'repz' ? 'repe' : 'rep'} ${name}`)
      if (string.method === 'X' || row.mnemonic === 'movs') out.add(`${bits === 64 ? 'gs' : 'es'} ${name}`)
      out.add(`${bits === 32 ? 'a16' : 'a32'} ${name}`)
      continue
    }
    if (sized) {
      if (sized[opSize]) out.add(sized[opSize])
      continue
    }
    const names =
      row.plus === 'cc'
        ? [turn.next(CONDITIONS), turn.next(CONDITIONS), turn.next(CONDITIONS)].map((c) => row.mnemonic + turn.next(c))
        : [NASM_NAMES[row.mnemonic] ?? row.mnemonic]
    const hasMemory = row.operands.some((o) => 'EQW'.includes(o.method)) && row.mod !== 'reg' && row.mod !== 'ignored'
    const addressForms = hasMemory
      ? [false, true, true]
      : row.operands.some((o) => o.method === 'M')
        ? [true, true]
        : [false]
    const hasImmediate = row.operands.some((o) => o.method === 'I' || o.method === 'sI')
    for (const name of names) {
      for (const memory of hasImmediate ? [...addressForms, true, false] : addressForms) {
        const operands = row.operands.map((spec) => sample(spec, opSize, bits, memory, turn))
        if (operands.some((o) => o === undefined)) continue
        if (row.mnemonic === 'jcxz')
          out.add(`${bits === 64 ? turn.next(['jrcxz', 'jecxz']) : turn.next(['jcxz', 'jecxz'])} ${operands[0]}`)
        else if (row.mnemonic === 'callf' || row.mnemonic === 'jmpf') {
          const [first = ''] = operands
          const far = row.operands[0]!.method === 'M' && opSize < 8 ? `${SIZE_NAMES[opSize]} ` : ''
          out.add(row.operands[0]!.method === 'A' ? `${name.split(' ')[0]} ${first}` : `${name} ${far}${first}`)
        } else out.add(`${name} ${operands.join(', ')}`.trim())
      }
    }
    if (row.lock && hasMemory) {
      const operands = row.operands.map((spec) => sample(spec, opSize, bits, true, turn))
      out.add(`lock ${row.mnemonic} ${operands.join(', ')}`)
    }
  }
}

/** Lines whose point is the choice between encodings, or syntax. */
const CHOICES: Readonly<Record<16 | 32 | 64, readonly string[]>> = {
  16: [
    'mov eax, [ebx]',
    'rep es movsd',
    'add ax, strict word 5',
    'add ax, word 5',
    'add ax, byte 5',
    'push byte 5',
    'push word 5',
    'push dword 5',
    'push 500',
    'jmp 8:5',
    'jmp dword 8:0x12345',
    'call 0x10:0x20',
    'o32 retf',
    'o32 ret',
    'o32 iret',
    'o32 lgdt [bx]',
    'xchg ax, bx',
    'xchg bx, ax',
    'xchg cx, bx',
    'test [bx], ax',
    'test ax, [bx]',
    'xchg ax, [bx]',
    'shl ax, byte 1',
    'shl ax, 1',
    'imul ax, 5',
    'imul eax, ebx, 5',
    'aam',
    'aad',
    'aam 16',
    'loop $, ecx',
    'mov ax, [dword 0x1234]',
    'mov cs, ax',
    'pop cs',
    'mov ds, eax',
    'mov eax, ds',
    'smsw eax',
    'jmp near $',
    'jmp short $',
    'jmp $',
    'call $',
    'jmp dword $',
    'jc $+2000',
    'jc near $',
    'es mov ax, [bx]',
    'mov ax, [es:bx]',
    'cs lock inc word [si]',
    "mov ax, 'AB'",
    "mov al, 'A'",
    'sal al, 1',
    'wait',
    'retn',
    'retn 4',
    'retw',
    'retd',
    'fstsw ax',
    'finit',
    'fadd',
    'fadd st1',
    'faddp st1',
    'fsub',
    'fxch',
    'fxch st2',
    'fstcw [bx]',
    'int 3',
    'int3',
    'icebp',
    'repne cmpsb',
    'o16 nop',
    'o32 nop',
    'a16 nop',
    'a32 nop',
    'mov [bx], byte 5',
    'mov byte [bx], 5',
    'add byte [si], byte -1',
    'lar eax, bx',
    'mov si, [bx+0xffff]',
    'mov si, [bx+0xff80]',
    'db 5, "ab", -1',
    'dw 5, "abc"',
    'dd 1.5, "ab", 5',
    'dq 1.5, -5',
    'dt 1.5',
    'db `a\\n\\x41`',
    'times 3 db 1, 2',
    'times 2 mov ax, bx',
    'dd 5+3*2, (5+3)*2, 7/2, 7 % 4, 1<<4|1, ~0, !5, -7 // 2',
    'dw 0x10, 10h, 0ah, $0f, 0b101, 101b, 17o, 17q, 0q17, 0d10, 1_000',
    'dd 5 > 3, 5 < 3, 3 = 3, 3 != 3, 1 && 0, 1 || 0, 1 ^^ 1, 5 & 6, 5 ^ 6',
    'dq 0xf000000000000000 >> 60, -8 / 2',
    "dd 'abcd', 'a' + 1",
  ],
  32: [
    'mov eax, [0x1234]',
    'mov [0x1234], al',
    'mov ebx, [0x1234]',
    'add eax, 5',
    'add eax, 500',
    'add eax, strict dword 5',
    'add eax, byte -5',
    'add ebx, 0xffffff80',
    'add ax, 0xffff',
    'add cx, 0xff80',
    'push 5',
    'push 500',
    'push byte 5',
    'push word 5',
    'push dword 5',
    'push strict dword 5',
    'xchg eax, ebx',
    'xchg ebx, eax',
    'xchg ecx, ebx',
    'xchg eax, eax',
    'test eax, [ebx]',
    'test ecx, ebx',
    'inc eax',
    'inc word [eax]',
    'popcnt ax, [bx]',
    'jmp [eax]',
    'call [eax]',
    'call far [eax]',
    'jmp far word [eax]',
    'jmp word 8:5',
    'jmp 8:5',
    'o16 iret',
    'o16 ret',
    'o16 push es',
    'push es',
    'mov eax, cr0',
    'mov ax, ds',
    'mov eax, ds',
    'mov ds, eax',
    'mov [eax], ds',
    'mov word [eax], ds',
    'lock add [eax], ebx',
    'mov eax, [eax+ebx*1]',
    'mov eax, [4*eax+ebx]',
    'mov eax, [ebx+eax+5-2]',
    'mov eax, [eax*2+ebp]',
    'mov eax, [ebp+eax*2]',
    'mov eax, [es:ebx+5]',
    'jecxz $',
    'loop $, cx',
    'loopne $+10',
    'jne near $',
    'jne short $',
    'jne $+200',
    'call $+5',
    'imul ecx, [eax], 500',
    'imul ecx, 5',
    'shld eax, ebx, cl',
    'movzx eax, bx',
    'movzx ax, bl',
    'movsx eax, byte [ebx]',
    'les eax, [ebx]',
    'lss esp, [eax]',
    'movsd',
    'movsd xmm0, [eax]',
    'movsd xmm0, xmm1',
    'cmpsd',
    'cmpsd xmm0, xmm1, 2',
    'cmpltps xmm0, xmm1',
    'cmpneqsd xmm3, [eax]',
    'fld st1',
    'fcomi st1',
    'fsubp',
    'fdivrp st3',
    'fstenv [eax]',
    'fsave [eax]',
    'fclex',
    'enter 0x1234, 31',
    'mov eax, [dword eax+0]',
    'mov ax, [word 0x1234]',
    'mov al, [byte eax+0]',
    'cmpxchg8b [eax]',
    'pblendvb xmm1, xmm2',
  ],
  64: [
    'mov rax, 1',
    'mov rax, -1',
    'mov rax, 0xffffffff',
    'mov rax, 0x100000000',
    'mov rax, 0x8000000000000000',
    'mov rax, strict qword 1',
    'mov rax, strict dword 1',
    'mov rax, dword 5',
    'mov rax, qword 5',
    'mov r9, 5',
    'mov r9d, 5',
    'mov qword [rax], 5',
    'mov eax, [0x1234]',
    'mov rax, [qword 0x1234]',
    'mov [qword 0x1234], al',
    'mov eax, [dword 0x1234]',
    'mov eax, [rel $]',
    'cmp dword [rel $], 5',
    'cmp qword [rel $], 5000',
    'mov eax, [fs:0]',
    'mov eax, [es:rax]',
    'lea rax, [rax*2]',
    'lea rax, [rax*3+5]',
    'lea rax, [rsp+rax]',
    'lea rax, [rax*1+rbx]',
    'lea eax, [rax+127]',
    'lea rax, [eax+ecx*2]',
    'push rax',
    'push r9',
    'push word 5',
    'push dword 5',
    'push qword 5',
    'push 0x7fffffff',
    'push -0x80000000',
    'push fs',
    'push qword [rax]',
    'push word [rax]',
    'pop r10',
    'call rax',
    'call [rax]',
    'jmp r9',
    'jmp qword [rax]',
    'jmp far [rax]',
    'jmp far dword [rax]',
    'call far [rax]',
    'movsx rax, ebx',
    'movsxd rax, ebx',
    'movsxd rax, dword [rbx]',
    'xchg rax, rax',
    'xchg eax, eax',
    'xchg r8, rax',
    'xchg eax, r8d',
    'bswap r9',
    'iretq',
    'o64 retf',
    'o64 sysret',
    'o64 sysexit',
    'a32 movsb',
    'a32 xlatb',
    'jrcxz $',
    'jecxz $',
    'loop $, ecx',
    'in al, dx',
    'mov cr8, rax',
    'mov rax, cr8',
    'movq xmm0, rax',
    'movq rax, xmm9',
    'movq xmm0, [rax]',
    'movd xmm0, eax',
    'cvtsi2sd xmm0, rax',
    'cvtsi2ss xmm0, dword [rax]',
    'fxsave64 [rax]',
    'crc32 eax, byte [rax]',
    'crc32 rax, rbx',
    'nop dword [rax]',
    'nop word [rax+rax]',
    'sub rsp, byte 8',
    'and rax, -16',
    'test rax, 5',
    'imul rax, rbx, 5',
    'shl qword [rax], 1',
    'cmpxchg16b [rax]',
    'pextrw eax, xmm1, 5',
    'pinsrq xmm1, [rax], 5',
    'dq $$-$$, 5',
  ],
}

/** All lines, each once per code size. */
export function corpus(): CorpusLine[] {
  const lines: CorpusLine[] = []
  for (const bits of [16, 32, 64] as const) {
    const texts = new Set<string>()
    for (const row of ROWS) {
      if (row.index === 0 || row.alias || row.until === '8086') continue
      if (bits === 64 ? row.invalid64 : row.only64) continue
      if (row.mnemonic === 'nop' && row.map === 1 && row.opcode !== 0x1f) continue
      rowLines(row, bits, new Rotation(row.text), texts)
    }
    for (const address of addresses(bits)) {
      for (const register of bits === 64 ? ['al', 'ecx', 'r10'] : ['al', 'cx', 'esi']) {
        texts.add(`mov ${register}, ${address}`)
        texts.add(`add ${address}, ${register}`)
      }
      texts.add(`cmp byte ${address}, 5`)
      texts.add(`mov dword ${address}, 0x12345678`)
    }
    for (const text of CHOICES[bits]) texts.add(text)
    for (const text of texts) lines.push({ bits, text })
  }
  return lines
}
