/**
 * Arithmetic in real mode: each operation in each size over a square of operands with the flags clear and set. A case prints a hash (EDI) of all
 * results and of the flags that the instruction table does not call undefined.
 */
import { FLAG_AF, FLAG_CF, FLAG_OF, FLAG_PF, FLAG_SF, FLAG_ZF } from '../../src/isa/flags.js'
import { ROWS } from '../../src/isa/table.js'
import type { XCase } from './case.js'
import { suite } from './suite.js'

const ARITHMETIC = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF
// biome-ignore format: a dense list reads better
const VALUES = [0, 1, 0x7f, 0x8080, 0x7fff8001, 0xffffffff, 0x12345678]

/** Flags worth comparing after `mnemonic` with operands that the table spells `operands`. */
function defined(mnemonic: string, operands: string): number {
  const row = ROWS.find((r) => r.mnemonic === mnemonic && r.operands.map((o) => o.text).join(',') === operands)
  if (row === undefined) throw new Error(`no row ${mnemonic} ${operands}`)
  return ARITHMETIC & ~row.flagsUndefined
}

function run(name: string, operation: string, flags: number): string {
  return `== ${name}
mov word [0], divided
mov word [2], 0
xor edi, edi
mov si, values
outer:
mov bp, values
inner:
mov word [DATA], 0x0002
again:
mov eax, [cs:si]
mov ebx, [cs:bp]
mov ecx, ebx
mov edx, 0x3579bd0f
push word [DATA]
popf
${operation}
after:
pushf
pop cx
and cx, ${flags}
rol edi, 5
xor edi, eax
rol edi, 5
add edi, ebx
rol edi, 5
xor edi, edx
rol edi, 5
xor di, cx
add word [DATA], 0x8d5
cmp word [DATA], 0x0900
jb again
add bp, 4
cmp bp, values_end
jb inner
add si, 4
cmp si, values_end
jb outer
xor eax, eax
xor ebx, ebx
xor ecx, ecx
xor edx, edx
xor esi, esi
xor ebp, ebp
done
divided:
add sp, 6
mov eax, 0xdede
mov ebx, 0
push 0
popf
jmp after
values: dd ${VALUES.join(', ')}
values_end:
`
}

const A = ['al', 'ax', '', 'eax']
const B = ['bl', 'bx', '', 'ebx']

function all(): XCase[] {
  let text = ''
  for (const n of [0, 1, 3]) {
    const [a, b, e] = [A[n]!, B[n]!, n === 0 ? 'Eb' : 'Ev']
    const g = n === 0 ? 'Gb' : 'Gv'
    const bits = [8, 16, 0, 32][n]
    for (const m of ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test', 'xadd', 'cmpxchg'])
      text += run(`${m} ${bits}`, `${m} ${a}, ${b}`, defined(m, `${e},${g}`))
    for (const m of ['inc', 'dec', 'neg', 'not']) {
      text += run(`${m} ${bits}`, `${m} ${a}`, defined(m, e))
      text += run(
        `${m} ${bits} in memory`,
        `mov [DATA + 8], eax\n${m} ${['byte', 'word', '', 'dword'][n]} [DATA + 8]\nmov eax, [DATA + 8]`,
        defined(m, e),
      )
    }
    for (const m of ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar']) {
      text += run(`${m} ${bits}, 1`, `${m} ${a}, 1`, defined(m, `${e},1`))
      // The carry of a shift by more than the operand's width is undefined.
      const limit = m[0] === 's' && m !== 'sar' ? `and cl, ${bits! - 1}\n` : ''
      const count = `${limit}push word [DATA]\npopf\n${m} ${a}, cl`
      text += run(`${m} ${bits}, cl`, count, defined(m, `${e},CL`))
      text += run(`${m} ${bits}, 3`, `${m} ${a}, 3`, defined(m, `${e},Ib`))
    }
    for (const m of ['mul', 'imul', 'div', 'idiv']) text += run(`${m} ${bits}`, `${m} ${b}`, defined(m, e))
    text += run(`idiv ${bits} of a small dividend`, `${['cbw', 'cwd', '', 'cdq'][n]}\nidiv ${b}`, defined('idiv', e))
    if (n === 0) continue
    text += run(`imul ${bits}, two operands`, `imul ${a}, ${b}`, defined('imul', 'Gv,Ev'))
    text += run(`imul ${bits}, three operands`, `imul ${a}, ${b}, -3`, defined('imul', 'Gv,Ev,sIb'))
    for (const m of ['shld', 'shrd']) {
      text += run(
        `${m} ${bits}`,
        `and cl, ${bits! - 1}\npush word [DATA]\npopf\n${m} ${a}, ${['', 'dx', '', 'edx'][n]}, cl`,
        defined(m, 'Ev,Gv,CL'),
      )
    }
    for (const m of ['bt', 'bts', 'btr', 'btc']) text += run(`${m} ${bits}`, `${m} ${a}, ${b}`, defined(m, 'Ev,Gv'))
    // With a source of zero the destination is undefined.
    for (const m of ['bsf', 'bsr'])
      text += run(`${m} ${bits}`, `or ${b}, 0x40\npush word [DATA]\npopf\n${m} ${a}, ${b}`, defined(m, 'Gv,Ev'))
  }
  for (const m of ['daa', 'das', 'aaa', 'aas']) text += run(m, m, defined(m, ''))
  text += run('aam', 'aam', defined('aam', 'Ib'))
  text += run('aam 7', 'aam 7', defined('aam', 'Ib'))
  text += run('aad', 'aad', defined('aad', 'Ib'))
  text += run('cbw', 'cbw\ncwd', ARITHMETIC)
  text += run('cwde', 'cwde\ncdq', ARITHMETIC)
  text += run('lahf sahf', 'sahf\nlahf', ARITHMETIC)
  text += run('salc', 'db 0xd6', ARITHMETIC)
  text += run('cmc', 'cmc', ARITHMETIC)
  text += run('bswap', 'bswap eax', ARITHMETIC)
  for (const cc of 'o no b ae e ne be a s ns p np l ge le g'.split(' ')) {
    text += run(`set${cc}`, `cmp ax, bx\nset${cc} dl\nmov bl, 0\nj${cc} .k\nmov bl, 1\n.k: cmov${cc} eax, edx`, 0)
  }
  for (const m of ['movs', 'cmps', 'stos', 'lods', 'scas']) {
    for (const size of ['b', 'w', 'd']) {
      for (const prefix of m === 'cmps' || m === 'scas' ? ['', 'repe', 'repne'] : ['', 'rep']) {
        text += run(
          `${prefix} ${m}${size}`.trim(),
          `push si
push di
${size === 'b' ? 'std' : 'cld'}
mov si, values + 8
mov [DATA + 0x20], eax
mov [DATA + 0x24], ebx
mov di, DATA + 0x22
and cx, 7
${prefix} ${m}${size}
pushf
cld
mov ebx, [DATA + 0x20]
mov edx, [DATA + 0x24]
mov dh, cl
popf
cld
pop di
pop si`,
          ARITHMETIC,
        )
      }
    }
  }
  return suite('alu', 'entry=real', text)
}

export const ALU_CASES: readonly XCase[] = all()
