/**
 * Accesses across two pages and long string operations in all engines: pages whose frames lie anywhere, are the same, absent, read-only, devices, or share
 * their entry of the TLB; strings in both directions that overlap. The whole state, TLB included, must be the same wherever a run is cut.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MODELS } from '../../src/cpu/index.js'
import { assemble } from '../../src/isa/index.js'
import { runs } from '../runs.js'
import { ENGINES, EqualityBoard, MMIO_BASE, RAM_BYTES } from './equality-board.js'
import { Random } from './equality-random.js'
import { differences, same } from './lockstep.js'

const CODE = 0x20000
const HANDLERS = 0x9000
/** Where the fault handlers go on. */
const RESUME = 0x9800
const PAGE_DIRECTORY = 0x40000
const PAGE_TABLES = 0x41000
const FRAMES = 0x30000
const PAGES = 16
/** Two windows on frames, whose pages have the same entries of the TLB in turn. */
const WINDOWS = [0x400000, 0x800000] as const

/** Linear address, two thirds of them near a boundary between pages. */
function address(random: Random): number {
  const page = random.pick(WINDOWS) + random.below(PAGES - 2) * 0x1000
  return page + (random.chance(67) ? 0x1000 - 18 + random.below(24) : random.below(0x1000))
}

/** What reads and what writes memory at `*`. */
const LOADS = [
  'mov ax, [*]',
  'mov eax, [*]',
  'movzx eax, word [*]',
  'movsx eax, word [*]',
  'add eax, [*]',
  'cmp [*], edx',
  'push dword [*]\npop eax',
  'movups xmm0, [*]',
  'movaps xmm1, [*]',
  'movq xmm2, [*]',
  'movd xmm3, [*]',
  'pcmpistri xmm0, [*], 0x18',
  'pcmpestrm xmm2, [*], 0x44',
  'movq mm0, [*]\nemms',
  'fld qword [*]\nfstp st0',
  'fld tword [*]\nfstp st0',
  'fild word [*]\nfstp st0',
  'mov esp, *\npop eax\nmov esp, 0x8000',
  'mov ebx, *\nmov eax, [ebx]\nadd eax, [ebx+4]\nadd eax, [ebx+8]\nxor [ebx+16], eax',
]
const STORES = [
  'mov [*], ax',
  'mov [*], eax',
  'mov dword [*], 0x12345678',
  'add [*], eax',
  'inc word [*]',
  'movups [*], xmm0',
  'movq [*], xmm1',
  'fld1\nfstp qword [*]',
  'mov esp, *\npush eax\nmov esp, 0x8000',
  'xchg [*], eax',
]

function strings(random: Random): string {
  const width = random.pick(['b', 'w', 'd', 'd'])
  const bytes = width === 'b' ? 1 : width === 'w' ? 2 : 4
  const from = address(random)
  const near = from + random.pick([0, 1, -1, 2, 3, -3, 4, -4, 7, 8, -8, 64, -64, 100, 0x1000, -0xffe])
  const to = random.chance(40) ? near : random.chance(20) ? from ^ 0xc00000 : address(random)
  const op = random.pick([
    'rep movs',
    'rep movs',
    'rep movs',
    'rep stos',
    'movs',
    'stos',
    'rep lods',
    'repe cmps',
    'repne scas',
  ])
  const count = Math.floor(random.pick([3, 20, 40, 300, 300, 5000]) / bytes)
  return [
    random.pick(['cld', 'std']),
    `mov esi, ${from}`,
    `mov edi, ${to}`,
    `mov ecx, ${random.below(count + 1)}`,
    random.chance(30) ? 'mov eax, 0x61616161' : 'nop',
    `${op}${width}`,
  ].join('\n')
}

/** What makes the TLB forget, or page tables change. */
function paging(random: Random): string {
  const entry = PAGE_TABLES + random.below(2) * 0x1000 + random.below(PAGES) * 4
  return random.pick([
    'mov eax, cr3\nmov cr3, eax',
    `invlpg [${address(random)}]`,
    `and byte [${entry}], 0x9f`,
    `xor byte [${entry}], 2\ninvlpg [${address(random)}]`,
  ])
}

function program(random: Random): string {
  const lines = ['again:']
  const size = 3 + random.below(12)
  for (let n = 0; n < size; n++) {
    const kind = random.below(10)
    const text =
      kind < 5 ? strings(random) : kind < 7 ? random.pick(LOADS) : kind < 9 ? random.pick(STORES) : paging(random)
    lines.push(`mov dword [${RESUME}], after${n}`, text.replaceAll('*', String(address(random))), `after${n}:`)
    if (random.chance(15))
      lines.push('mov edx, 3', `l${n}:`, random.pick(LOADS).replaceAll('*', String(address(random))))
    if (lines.at(-2) === `l${n}:`) lines.push('dec edx', `jg l${n}`)
  }
  lines.push('mov esp, 0x8000', 'jmp again')
  return lines.join('\n')
}

const BOARDS = ENGINES.map((engine) => new EqualityBoard(engine, MODELS['x86-64-v2']))

function start(source: string, random: Random): void {
  const image = new Uint8Array(RAM_BYTES)
  const view = new DataView(image.buffer)
  for (let at = FRAMES; at < FRAMES + PAGES * 0x1000; at++) image[at] = random.next() >>> 24
  image.set(assemble(source, { bits: 32, org: CODE }).bytes, CODE)
  // With and without an error code.
  const handlers = `add esp, 4\npush eax\nmov eax, [${RESUME}]\nmov [esp+4], eax\npop eax\nmov esp, esp\niretd`
  image.set(assemble(handlers, { bits: 32, org: HANDLERS }).bytes, HANDLERS)
  image.set(assemble(handlers.slice(handlers.indexOf('push')), { bits: 32, org: HANDLERS + 64 }).bytes, HANDLERS + 64)
  view.setUint32(0x1008, 0x0000ffff, true)
  view.setUint32(0x100c, 0x00cf9b00, true)
  view.setUint32(0x1010, 0x0000ffff, true)
  view.setUint32(0x1014, 0x00cf9300, true)
  for (let vector = 0; vector < 32; vector++) {
    const handler = HANDLERS + ([8, 10, 11, 12, 13, 14, 17].includes(vector) ? 0 : 64)
    view.setUint32(0x2000 + vector * 8, 0x00080000 | handler, true)
    view.setUint32(0x2004 + vector * 8, 0x00008e00, true)
  }
  view.setUint32(PAGE_DIRECTORY, (PAGE_TABLES + 0x2000) | 0x27, true)
  WINDOWS.forEach((window, n) => {
    view.setUint32(PAGE_DIRECTORY + (window >>> 22) * 4, (PAGE_TABLES + n * 0x1000) | 0x27, true)
    for (let page = 0; page < PAGES; page++) {
      const kind = random.below(30)
      const frame =
        kind === 0 ? MMIO_BASE : kind === 1 ? 0xb0000 : kind === 2 ? CODE : FRAMES + random.below(PAGES) * 0x1000
      const rights = random.pick([0x67, 0x67, 0x27, 0x7, 0x7, 0x5, random.chance(30) ? 0 : 0x63])
      view.setUint32(PAGE_TABLES + n * 0x1000 + page * 4, frame | rights, true)
    }
  })
  for (let n = 0; n < 256; n++) view.setUint32(PAGE_TABLES + 0x2000 + n * 4, (n << 12) | 0x67, true)
  for (const board of BOARDS) {
    board.reset(image)
    const { s } = board.cpu
    s.cr0 = (s.cr0 | 0x80010021) & ~0xc
    s.cr3 = PAGE_DIRECTORY
    s.cr4 |= 0x600
    s.setGdtr(0x1000, 23)
    s.setIdtr(0x2000, 0x7ff)
    for (let seg = 0; seg < 6; seg++) s.setSegment(seg, seg === 1 ? 8 : 16, 0, 0xffffffff, seg === 1 ? 0xc09b : 0xc093)
    s.setReg32(4, 0x8000)
    s.rip = CODE
    board.cpu.mem.configurePaging()
    board.cpu.updateMode()
  }
}

describe('accesses across pages and long strings', () => {
  it('leave in all engines what they leave in the reference engine', () => {
    fc.assert(
      fc.property(fc.noBias(fc.integer({ min: 1, max: 0x7fffffff })), (seed) => {
        const random = new Random(seed)
        const source = program(random)
        start(source, random)
        const [a, ...others] = BOARDS as [EqualityBoard, ...EqualityBoard[]]
        for (let left = 8000; left > 0; ) {
          const budget = random.pick([1 + random.below(20), 1 + random.below(400), 2000])
          left -= budget
          const stop = a.run(budget)
          for (const b of others) {
            expect(b.run(budget)).toBe(stop)
            if (left > 0 && random.chance(70)) continue
            if (!same(a, b)) expect.fail(`${source}\n\n${differences(a, b).join('\n')}`)
          }
          if (stop !== 'budget') break
        }
      }),
      { numRuns: runs(60) },
    )
  })
})
