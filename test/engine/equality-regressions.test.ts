/** Differences between the engines that random programs found once, each as small as it gets. */

import { describe, expect, it } from 'vitest'
import { MODELS } from '../../src/cpu/index.js'
import { FLAG_TF } from '../../src/isa/flags.js'
import { assemble } from '../../src/isa/index.js'
import { ENGINES, type EngineName, EqualityBoard, RAM_BYTES } from './equality-board.js'

/** Flat 32-bit protected mode without paging, code at `at`. */
function flat32(engine: EngineName, source: string, at: number): EqualityBoard {
  const board = new EqualityBoard(engine, MODELS['x86-64-v2'])
  const image = new Uint8Array(RAM_BYTES)
  image.set(assemble(source, { bits: 32, org: at }).bytes, at)
  // A GDT: null, flat code, flat data. An interrupt gate for #GP to 9000h.
  const view = new DataView(image.buffer)
  view.setUint32(0x1008, 0x0000ffff, true)
  view.setUint32(0x100c, 0x00cf9b00, true)
  view.setUint32(0x1010, 0x0000ffff, true)
  view.setUint32(0x1014, 0x00cf9300, true)
  view.setUint32(0x2000 + 13 * 8, 0x00089000, true)
  view.setUint32(0x2004 + 13 * 8, 0x00008e00, true)
  board.reset(image)
  const { s } = board.cpu
  s.cr0 |= 1
  s.setGdtr(0x1000, 23)
  s.setIdtr(0x2000, 0x7ff)
  for (let seg = 0; seg < 6; seg++) s.setSegment(seg, seg === 1 ? 8 : 16, 0, 0xffffffff, seg === 1 ? 0xc09b : 0xc093)
  s.setReg32(4, 0x8000)
  s.rip = at
  board.cpu.mem.configurePaging()
  board.cpu.updateMode()
  return board
}

describe.each(ENGINES)('%s', (engine) => {
  // Intel SDM Vol. 2, "LOOP/LOOPcc": EIP is truncated inside IF BranchCond = 1.
  it('truncates EIP to the operand size only for a branch that is taken', () => {
    for (const source of ['mov ecx, 1\ndb 0x66\nloop $+2\nnop', 'mov ecx, 1\ndb 0x66\njecxz $+2\nnop']) {
      const board = flat32(engine, source, 0x20000)
      board.run(3)
      expect(board.cpu.s.rip).toBe(0x20000 + 5 + 3 + 1)
    }
  })

  // Intel SDM Vol. 3A, "Type Checking": no instruction may write into an executable segment.
  it('refuses to store through DS when it holds a flat code segment', () => {
    const board = flat32(engine, 'mov eax, 8\nmov ds, ax\nmov ebx, [0x30000]\nmov dword [0x30000], 5', 0x20000)
    board.run(4)
    expect(board.space.read32(0x30000)).toBe(0)
    expect(board.cpu.s.rip).toBe(0x9000)
    expect(board.cpu.stats.exceptions[13]).toBe(1)
  })

  // An instruction with bytes on two pages is kept by both: a store to either changes it (Intel SDM Vol. 3A, "Self-Modifying Code").
  it('runs a changed instruction that crosses pages', () => {
    const source = [
      'mov ecx, 4',
      'mov edi, 0',
      'again:',
      // 5 bytes from 20FFEh on: the immediate is bytes 20FFFh to 21002h.
      'jmp 0x20ffe',
      'times 0x20ffe-($-$$)-0x20000 nop',
      'mov eax, 0x11111111',
      'add edi, eax',
      'cmp ecx, 3',
      'ja next',
      'je second',
      'mov byte [0x20fff], 0x33',
      'jmp next',
      'second: mov byte [0x21002], 0x22',
      'next: dec ecx',
      'jnz again',
      'hlt',
    ].join('\n')
    const board = flat32(engine, source, 0x20000)
    // The block of the instruction is made when its second page has been fetched once.
    board.run(100)
    expect(board.cpu.s.reg32(7)).toBe((0x11111111 + 0x11111111 + 0x22111111 + 0x22111133) >>> 0)
    expect(board.cpu.halted).toBe(true)
  })

  // Intel SDM Vol. 2, "FCOM/FCOMP/FCOMPP": ST(0) is compared with ST(1). The decoder leaves operands of the instruction before where there are none.
  it('takes no operand of another instruction for one of FCOMPP', () => {
    const board = flat32(engine, 'fninit\nfld1\nfldz\nmov eax, ecx\nfcompp\nfnstsw ax', 0x20000)
    board.run(6)
    expect(board.cpu.s.reg32(0) & 0x4500).toBe(0x0100)
  })

  // A halted processor that a single-step trap wakes is not asleep, wherever the budget ends.
  it('does not report a halt that something pending ends', () => {
    const board = flat32(engine, 'nop\nhlt\nnop', 0x20000)
    board.cpu.s.flagsRest |= FLAG_TF
    board.cpu.updateMode()
    board.space.write32(0x2000 + 8, 0x00089000)
    board.space.write32(0x2004 + 8, 0x00008e00)
    // NOP, its trap, and back at HLT with TF set again.
    expect(board.cpu.run(2)).toBe('budget')
    board.cpu.s.rip = 0x20001
    board.cpu.s.flagsRest |= FLAG_TF
    board.cpu.updateMode()
    expect(board.cpu.run(1)).toBe('budget')
    expect(board.cpu.run(1)).toBe('budget')
    expect(board.cpu.s.rip).toBe(0x9000)
    // Without anything pending a halt is a halt.
    const still = flat32(engine, 'hlt', 0x20000)
    expect(still.cpu.run(1)).toBe('halted')
    expect(still.cpu.run(10)).toBe('halted')
    expect(still.cpu.instructions - 1).toBeGreaterThanOrEqual(0)
  })

  // Intel SDM Vol. 3A, "Interrupt 8—Double Fault Exception": in shutdown the processor waits for NMI, SMI, INIT or reset.
  it('delivers the NMI that ends a shutdown before anything else, wherever the budget ends', () => {
    for (const budgets of [[100], [1, 1, 1, 1, 100]]) {
      const board = flat32(engine, 'ud2', 0x20000)
      // #UD, #GP and #DF have no gate; NMI has, and its handler stays put.
      board.space.write32(0x2004 + 13 * 8, 0)
      board.space.write32(0x2000 + 16, 0x00089000)
      board.space.write32(0x2004 + 16, 0x00008e00)
      board.space.write16(0x9000, 0xfeeb)
      expect(board.cpu.run(10)).toBe('shutdown')
      const before = board.cpu.instructions
      board.cpu.raiseNmi()
      for (const budget of budgets) expect(board.cpu.run(budget)).toBe('budget')
      expect(board.cpu.instructions - before).toBe(budgets.reduce((sum, n) => sum + n, 0))
      expect(board.cpu.s.rip).toBe(0x9000)
      expect(board.cpu.stats.nmis).toBe(1)
    }
  })

  it('wraps EIP at 4 GiB after the last instruction of a block', () => {
    for (const bytes of [
      [0x04, 0x05], // ADD AL, 5
      [0x90, 0xa4], // NOP; MOVSB
    ]) {
      const board = flat32(engine, 'nop', 0x20000)
      // The last page of the linear space shows the RAM page at 20000h.
      board.space.write32(0x40000 + 0x3ff * 4, 0x41003)
      board.space.write32(0x40000, 0x42003)
      for (let n = 0; n < 256; n++) board.space.write32(0x42000 + n * 4, (n << 12) | 3)
      board.space.write32(0x41000 + 0x3ff * 4, 0x20003)
      board.space.write8(0x20ffe, bytes[0]!)
      board.space.write8(0x20fff, bytes[1]!)
      board.space.write8(0, 0xeb)
      board.space.write8(1, 0xfe)
      const { s, mem } = board.cpu
      s.cr3 = 0x40000
      s.cr0 |= 0x80000000
      mem.configurePaging()
      mem.flushAll()
      s.rip = 0xfffffffe
      s.setReg32(6, 0x30000)
      s.setReg32(7, 0x31000)
      board.cpu.run(50)
      expect(s.rip).toBe(0)
      expect(board.cpu.shutdown).toBe(false)
    }
  })
})
