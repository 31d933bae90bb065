import { describe, expect, it } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import { type EngineName, hashState, Pc, type PcOptions } from '../../src/machine/index.js'

const MIB = 0x100000

/**
 * Two processors with paging. The bootstrap processor wakes the other with INIT and a start-up IPI; that one reads linear page 410000h in a loop and
 * notes what it sees. Then the bootstrap processor maps another frame there, waits, and only then asks the other by an IPI to flush its TLB.
 *
 * 600h: processors that came up; 604h: value seen last; 608h: value seen after the remapping, before the IPI; 60Ch: after it; 610h: IPIs taken;
 * 614h: loops of the second processor.
 */
const SHOOTDOWN = assemble(`
        org 0x7c00
        bits 16
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 8:main
trampoline:
        cli
        xor ax, ax
        mov ds, ax
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 8:second
trampoline_end:

        bits 32
setup:  mov ax, 16
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov eax, 0x100000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        lidt [idtr]
        mov dword [0xfee000f0], 0x1ff
        lock inc dword [0x600]
        ret

main:   mov ax, 16
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7000
        mov esi, trampoline
        mov edi, 0x8000
        mov ecx, trampoline_end - trampoline
        rep movsb
        ; one table for the first 4 MiB, one for page 410000h, the devices' 4 MiB as a large page
        mov dword [0x100000], 0x101003
        mov dword [0x100004], 0x102003
        mov dword [0x100000 + 0xfee00000 / 0x400000 * 4], 0xfec00083
        mov eax, cr4
        or al, 0x10
        mov cr4, eax
        mov eax, 3
        mov edi, 0x101000
        mov ecx, 1024
fill:   stosd
        add eax, 4096
        loop fill
        mov dword [0x102040], 0x110003
        mov dword [0x110000], 0xaaaa
        mov dword [0x111000], 0xbbbb
        call setup
        mov dword [0xfee00310], 0x01000000
        mov dword [0xfee00300], 0x00004500
        mov ecx, 2000
w1:     loop w1
        mov dword [0xfee00300], 0x00004608
wait2:  pause
        cmp dword [0x600], 2
        jne wait2
seen:   pause
        cmp dword [0x604], 0xaaaa
        jne seen
        mov dword [0x102040], 0x111003
        mov eax, [0x614]
        add eax, 100
more:   pause
        cmp [0x614], eax
        jb more
        mov eax, [0x604]
        mov [0x608], eax
        mov dword [0xfee00300], 0x00004040
ack:    pause
        cmp dword [0x610], 1
        jne ack
        mov eax, [0x614]
        add eax, 100
more2:  pause
        cmp [0x614], eax
        jb more2
        mov eax, [0x604]
        mov [0x60c], eax
        mov al, 0x20
        out 0xf4, al
        hlt

second: mov ax, 16
        mov ss, ax
        mov esp, 0x6000
        mov eax, cr4
        or al, 0x10
        mov cr4, eax
        call setup
        sti
look:   mov eax, [0x410000]
        mov [0x604], eax
        inc dword [0x614]
        jmp look

flush:  push eax
        invlpg [0x410000]
        inc dword [0x610]
        mov dword [0xfee000b0], 0
        pop eax
        iret

        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw 23
        dd gdt
idtr:   dw 0x41*8-1
        dd idt - 0x40*8
idt:    dw flush, 8, 0x8e00, 0
`).bytes

function start(options: PcOptions): Pc {
  const pc = new Pc({ memory: 4 * MIB, ...options })
  pc.loadFlat(SHOOTDOWN)
  return pc
}

describe.each<EngineName>(['reference', 'threaded'])('two processors on the %s engine', (engine) => {
  it('one wakes the other, and a remapped page is stale there until an IPI flushes it', () => {
    const pc = start({ engine, cpus: 2 })
    expect(pc.runSync(3_000_000)).toMatchObject({ reason: 'exit', status: 0x41 })
    expect(pc.space.read32(0x600)).toBe(2)
    expect(pc.space.read32(0x608)).toBe(0xaaaa)
    expect(pc.space.read32(0x60c)).toBe(0xbbbb)
    expect(pc.space.read32(0x610)).toBe(1)
    expect(pc.cpus[1]!.stats.interrupts[0x40]).toBe(1)
  })

  it('runs the same way each time, whatever the pieces it is run in', () => {
    const whole = start({ engine, cpus: 2, turn: 321 })
    expect(whole.runSync(6500).reason).toBe('budget')
    const pieces = start({ engine, cpus: 2, turn: 321 })
    for (const piece of [1, 320, 321, 322, 3000, 7, 2529]) pieces.runSync(piece)
    expect(hashState(pieces.saveState())).toBe(hashState(whole.saveState()))
  })

  it('has another interleaving with other turns, and the same outcome', () => {
    for (const turn of [1, 50, 100_000]) {
      const pc = start({ engine, cpus: 2, turn })
      expect(pc.runSync(5_000_000).reason).toBe('exit')
      expect(pc.space.read32(0x60c)).toBe(0xbbbb)
    }
  })
})

describe('several processors', () => {
  it('end in the same state on both engines', () => {
    const [a, b] = (['reference', 'threaded'] as const).map((engine) => {
      const pc = start({ engine, cpus: 2 })
      pc.runSync(100_000)
      return hashState(pc.saveState())
    })
    expect(a).toBe(b)
  })

  it('wait for a start-up IPI, all but the first', () => {
    const pc = new Pc({ memory: 2 * MIB, cpus: 4, engine: 'reference' })
    pc.loadFlat(assemble('org 0x7c00 \n l: inc ax \n jmp l').bytes)
    pc.runSync(1000)
    expect(pc.cpus.map((cpu) => cpu.instructions)).toEqual([1000, 0, 0, 0])
    expect(pc.cpus.slice(1).every((cpu) => cpu.asleep)).toBe(true)
  })

  it('share virtual time: the time-stamp counter is the clock, and runs in HLT too', () => {
    const pc = new Pc({ memory: 2 * MIB, cpus: 2, engine: 'reference' })
    pc.loadFlat(assemble('org 0x7c00 \n nop \n rdtsc \n cli \n hlt').bytes)
    pc.runSync(2)
    expect(pc.cpu.s.reg32(0)).toBe(10)
    pc.clock.skipTo(5000)
    expect(pc.cpu.readTsc()).toBe(5000n)
    expect(pc.cpus[1]!.readTsc()).toBe(5000n)
  })

  it('are told apart by CPUID, and refused in impossible numbers', () => {
    const pc = new Pc({ memory: 2 * MIB, cpus: 2, engine: 'reference' })
    expect(pc.board.apics?.local.map((apic) => apic.id)).toEqual([0, 1])
    for (const cpus of [0, 33, 1.5]) {
      expect(() => new Pc({ memory: 2 * MIB, cpus })).toThrow(expect.objectContaining({ code: 'bad-argument' }))
    }
    expect(() => new Pc({ memory: 2 * MIB, turn: 0 })).toThrow(expect.objectContaining({ code: 'bad-argument' }))
  })
})
