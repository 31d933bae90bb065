import { describe, expect, it } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import { type EngineName, Pc } from '../../src/machine/index.js'

/** Divides 1 by 0 with the exception unmasked; the handler of IRQ 13 does what a BIOS does, then the program looks what happened. */
const program = (handler: string): Uint8Array =>
  assemble(`
        org 0x7c00
        cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7000
        mov word [0x75*4], irq13
        mov [0x75*4+2], ax
        mov word [0x10*4], fault
        mov [0x10*4+2], ax
        mov al, 0xdf
        out 0xa1, al
        mov al, 0xfb
        out 0x21, al
        fninit
        mov word [0x600], 0x037b
        fldcw [0x600]
        sti
        fld1
        fldz
        fdivp st1, st0
        fnop
        mov word [0x606], 1
        cli
        hlt
irq13:  inc word [0x602]
        ${handler}
        mov al, 0x20
        out 0xa0, al
        out 0x20, al
        iret
fault:  inc word [0x604]
        cli
        hlt
`).bytes

describe.each<EngineName>(['reference', 'threaded'])('an x87 error with CR0.NE clear, on the %s engine', (engine) => {
  it('comes as IRQ 13, which the handler ends by clearing the error', () => {
    const pc = new Pc({ memory: 0x200000, engine })
    pc.loadFlat(program('xor al, al \n out 0xf0, al \n fnclex'))
    expect(pc.runSync(5000).reason).toBe('halted')
    expect([pc.space.read16(0x602), pc.space.read16(0x604), pc.space.read16(0x606)]).toEqual([1, 0, 1])
    expect(pc.board.coprocessor.saveState()).toEqual({ version: 1, ferr: false, requested: false, ignne: false })
  })

  it('is ignored after a write to port F0h, for as long as the error is there', () => {
    const pc = new Pc({ memory: 0x200000, engine })
    pc.loadFlat(program('xor al, al \n out 0xf0, al'))
    expect(pc.runSync(5000).reason).toBe('halted')
    expect([pc.space.read16(0x602), pc.space.read16(0x606)]).toEqual([1, 1])
    expect(pc.board.coprocessor.ignne).toBe(true)
  })
})
