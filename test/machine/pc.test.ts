import { afterEach, describe, expect, it, vi } from 'vitest'
import type { PortDevice } from '../../src/contracts/index.js'
import { assemble } from '../../src/isa/index.js'
import { type EngineName, MemoryDisk, Pc, type PcOptions } from '../../src/machine/index.js'

const MIB = 1 << 20

/** A machine with 16-bit code at 7C00h; `print` sends AL to the serial port, `bye` powers off. */
function machine(engine: EngineName, body: string, options: PcOptions = {}): Pc {
  const pc = new Pc({ memory: MIB, engine, ...options })
  const { bytes } = assemble(`
    bits 16
    org 0x7c00
    jmp start
    print:
      push dx
      mov dx, 0x3f8
      out dx, al
      pop dx
      ret
    bye:
      mov dx, 0x604
      mov ax, 0x2000
      out dx, ax
      hlt
    start:
      ${body}
  `)
  pc.loadFlat(bytes)
  return pc
}

/** Installs a handler in the interrupt vector table. */
const vector = (number: number, handler: string): string =>
  `mov word [${number} * 4], ${handler}\n mov word [${number} * 4 + 2], 0\n`

afterEach(() => {
  vi.restoreAllMocks()
})

describe.each(['threaded', 'reference'] as const)('Pc on the %s engine', (engine) => {
  describe('run', () => {
    it('says why it ended and how many instructions it took', async () => {
      const pc = machine(engine, 'mov cx, 10\n next: loop next\n jmp bye')
      const result = await pc.run()
      // jmp, mov, 10 × loop, jmp, and three of bye.
      expect(result).toEqual({ reason: 'power-off', instructions: 16 })
      expect(pc.instructions).toBe(16)
    })

    it('stops at its limit, exactly, and goes on from there', async () => {
      const pc = machine(engine, 'xor ax, ax\n next: inc ax\n jmp next')
      expect(await pc.run({ instructions: 1002 })).toEqual({ reason: 'budget', instructions: 1002 })
      expect(pc.cpu.s.reg32(0)).toBe(500)
      expect(pc.runSync(2)).toEqual({ reason: 'budget', instructions: 2 })
      expect(pc.cpu.s.reg32(0)).toBe(501)
    })

    it('gives the host turns, in which it can be aborted and asked', async () => {
      const pc = machine(engine, 'jmp $')
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 5)
      const result = await pc.run({ signal: controller.signal })
      expect(result.reason).toBe('aborted')
      expect(await pc.run({ signal: AbortSignal.abort() })).toEqual({ reason: 'aborted', instructions: 0 })
    })

    it.runIf(engine === 'threaded')('asks every two million instructions whether to go on', async () => {
      const asked: number[] = []
      const pc = machine(engine, 'jmp $')
      const until = () => asked.push(pc.instructions) === 2
      expect(await pc.run({ until })).toEqual({ reason: 'budget', instructions: 4_000_000 })
      expect(asked).toEqual([2_000_000, 4_000_000])
    })

    it('is busy while it runs', async () => {
      const pc = machine(engine, 'jmp $')
      const controller = new AbortController()
      const first = pc.run({ signal: controller.signal })
      await expect(pc.run()).rejects.toMatchObject({ code: 'busy' })
      expect(() => pc.runSync(1)).toThrow(expect.objectContaining({ code: 'busy' }))
      controller.abort()
      await first
      expect(pc.runSync(1).reason).toBe('budget')
    })

    it('refuses limits that are none', async () => {
      const pc = machine(engine, 'jmp $')
      for (const instructions of [0, -1, Number.NaN]) {
        expect(() => pc.runSync(instructions)).toThrow(expect.objectContaining({ code: 'bad-argument' }))
        await expect(pc.run({ instructions })).rejects.toMatchObject({ code: 'bad-argument' })
      }
    })

    it('ends when the machine is disposed of', async () => {
      const pc = machine(engine, 'jmp $')
      const running = pc.run()
      setTimeout(() => pc.dispose(), 5)
      await expect(running).rejects.toMatchObject({ code: 'disposed' })
      expect(() => pc.runSync(1)).toThrow(expect.objectContaining({ code: 'disposed' }))
      expect(() => pc.reset()).toThrow(expect.objectContaining({ code: 'disposed' }))
      expect(() => pc.loadFlat(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'disposed' }))
      await expect(pc.waitForText('x')).rejects.toMatchObject({ code: 'disposed' })
    })
  })

  describe('waitForText', () => {
    it('finds text on the screen and on the serial line', async () => {
      const guest = `mov ax, 0xb800\n mov ds, ax\n mov dword [0], 0x07690748\n mov al, '!'\n call print\n hlt\n jmp $`
      const pc = machine(engine, guest)
      await pc.waitForText('Hi')
      await pc.waitForText(/^!$/, { in: 'serial' })
      await expect(pc.waitForText('!', { in: 'screen' })).rejects.toMatchObject({ code: 'timeout' })
      await expect(machine(engine, 'jmp $').waitForText('Hi', { instructions: 1000 })).rejects.toThrow(
        /Hi did not appear within 1000 instructions \(the run ended: budget\)/,
      )
      await expect(pc.waitForText('x', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' })
    })

    it('says when the machine ended first', async () => {
      await expect(machine(engine, 'jmp bye').waitForText('x')).rejects.toThrow(/the run ended: power-off/)
    })
  })

  describe('HLT', () => {
    const tick = `${vector(8, 'tick')} mov al, 0x34\n out 0x43, al\n mov al, 0xa9\n out 0x40, al\n mov al, 0x04\n out 0x40, al
      mov al, 0xfe\n out 0x21, al\n sti\n mov cx, 100\n sleep: hlt\n loop sleep\n jmp bye
      tick: mov al, 0x20\n out 0x20, al\n iret`

    it('takes no instructions: time jumps to the next tick', () => {
      const pc = machine(engine, tick)
      const result = pc.runSync(100_000)
      expect(result.reason).toBe('power-off')
      expect(result.instructions).toBeLessThan(1000)
      // 100 periods of 1193 counts at 1.193182 MHz.
      expect(pc.clock.now() / 1e6).toBeCloseTo((100 * 1193) / 1193.182, 0)
    })

    it('with interrupts off is the end', () => {
      const pc = machine(engine, 'cli\n hlt\n jmp bye')
      expect(pc.runSync(1000).reason).toBe('halted')
      expect(pc.runSync(1000)).toEqual({ reason: 'halted', instructions: 0 })
    })

    it('with nothing planned is idle until the user does something', () => {
      const pc = machine(
        engine,
        `${vector(9, 'key')} mov al, 0x60\n out 0x64, al\n mov al, 0x41\n out 0x60, al\n sti\n hlt\n jmp $
        key: in al, 0x60\n call print\n jmp bye`,
      )
      expect(pc.runSync(100_000).reason).toBe('idle')
      pc.keyboard.down('KeyA')
      expect(pc.runSync(100_000).reason).toBe('power-off')
      // Scan code set 1, translation being on.
      expect(pc.serial.text).toBe('\x1e')
    })

    it('behind closed masks ends by the budget, not never', async () => {
      const pc = machine(
        engine,
        'mov al, 0xff\n out 0x21, al\n mov al, 0x34\n out 0x43, al\n out 0x40, al\n out 0x40, al\n sti\n hlt',
      )
      expect(pc.runSync(100_000).reason).toBe('budget')
      expect((await pc.run({ instructions: 100_000 })).reason).toBe('budget')
    })
  })

  describe('resets', () => {
    // The byte at 500h counts boots: the first one is reset, the second one says so and powers off.
    const twice = (how: string): string => `inc byte [0x500]\n ${how}\n jmp $`
    // Without firmware there is nothing at the reset vector but RAM.
    const vectorCode = assemble(
      `bits 16\n mov al, [0x500]\n mov dx, 0x3f8\n out dx, al
      ; power-management ports to 0x600, as firmware does
      mov dx, 0xcf8\n mov eax, 0x80000b40\n out dx, eax\n mov dx, 0xcfc\n mov eax, 0x601\n out dx, eax
      mov dx, 0xcf8\n mov eax, 0x80000b80\n out dx, eax\n mov dx, 0xcfc\n mov al, 1\n out dx, al
      mov dx, 0x604\n mov ax, 0x2000\n out dx, ax\n hlt`,
    ).bytes
    const bios = new Uint8Array(65536).fill(0xff)
    bios.set(vectorCode, 0)
    bios.set(assemble('bits 16\n jmp 0xf000:0').bytes, 0xfff0)

    it.each([
      ['the keyboard controller', 'mov al, 0xfe\n out 0x64, al\n cli\n hlt'],
      ['port 92h', 'in al, 0x92\n or al, 1\n out 0x92, al\n cli\n hlt'],
      ['port CF9h, hard', 'mov dx, 0xcf9\n mov al, 2\n out dx, al\n mov al, 6\n out dx, al\n cli\n hlt'],
      ['port CF9h, soft', 'mov dx, 0xcf9\n mov al, 4\n out dx, al\n cli\n hlt'],
      ['a triple fault', 'lidt [none]\n int3\n none: dw 0, 0, 0'],
    ])('by %s', (_, how) => {
      const pc = machine(engine, twice(how), { bios, onTripleFault: 'reset' })
      expect(pc.runSync(1_000_000).reason).toBe('power-off')
      expect(pc.resets).toBe(1)
      // Memory survives a reset.
      expect(pc.serial.text).toBe('\x01')
    })

    it('a triple fault ends the run unless asked otherwise', () => {
      expect(machine(engine, 'lidt [none]\n int3\n none: dw 0, 0, 0').runSync(1000).reason).toBe('triple-fault')
    })

    it('resets for ever are still met by the budget', async () => {
      const forever = new Uint8Array(65536).fill(0xff)
      forever.set(assemble('bits 16\n mov al, 0xfe\n out 0x64, al\n jmp $').bytes, 0xfff0)
      const pc = new Pc({ memory: MIB, engine, bios: forever })
      expect((await pc.run({ instructions: 1_000_000 })).reason).toBe('budget')
      expect(pc.resets).toBe(20)
    })
  })

  describe('input and output', () => {
    it('the mouse reaches the guest through IRQ 12', () => {
      const pc = machine(
        engine,
        `${vector(0x74, 'mouse')}
        mov al, 0x60\n out 0x64, al\n mov al, 0x03\n out 0x60, al       ; both interrupts on
        mov al, 0xd4\n out 0x64, al\n mov al, 0xf4\n out 0x60, al       ; the mouse may report
        xor cx, cx
        sti
        wait_: hlt\n jmp wait_
      mouse:
        in al, 0x60
        call print
        mov al, 0x20\n out 0xa0, al\n out 0x20, al
        inc cx\n cmp cx, 4\n je bye
        iret`,
      )
      expect(pc.runSync(1_000_000).reason).toBe('idle')
      pc.mouse.move(5, 3)
      pc.mouse.button(0, true)
      pc.runSync(1_000_000)
      // The acknowledge, then a packet: X is right, Y is up in the PS/2 protocol. The button comes with it or in the next one.
      const bytes: number[] = []
      for (const character of pc.serial.text) bytes.push(character.codePointAt(0)!)
      expect(bytes).toHaveLength(4)
      expect(pc.serial.text).toContain('\x05')
    })

    it('serial bytes go both ways', () => {
      const pc = machine(
        engine,
        `
        mov dx, 0x3fd
        next: in al, dx\n test al, 1\n jz next
        mov dx, 0x3f8\n in al, dx\n xor al, 0x20\n out dx, al
        mov dx, 0x3fd\n cmp al, 0x2a\n jne next
        jmp bye`,
      )
      const heard: number[] = []
      pc.serial.onByte = (byte) => heard.push(byte)
      expect(pc.serial.write('Abc\n')).toBe(4)
      expect(pc.runSync(10_000_000).reason).toBe('power-off')
      expect(pc.serial.text).toBe('aBC*')
      expect(heard).toEqual([...'aBC*'].map((character) => character.charCodeAt(0)))
      pc.serial.clear()
      expect(pc.serial.text).toBe('')
    })

    it('debug ports, exit and power off', () => {
      const pc = machine(
        engine,
        `mov dx, 0x402\n mov al, 'f'\n out dx, al\n mov al, 'd'\n out 0xe9, al\n mov al, 3\n out 0xf4, al\n jmp bye`,
      )
      expect(pc.runSync(1000)).toMatchObject({ reason: 'exit', status: 7 })
      expect([pc.firmwareLog.text, pc.debugPort.text]).toEqual(['f', 'd'])
      expect(pc.runSync(1000)).toMatchObject({ reason: 'power-off' })
    })

    it('reads a disk sector by sector through the ATA registers', () => {
      const disk = new Uint8Array(1024)
      disk.set([0x12, 0x34], 512)
      const pc = machine(
        engine,
        `
        mov dx, 0x1f6\n mov al, 0xe0\n out dx, al
        mov dx, 0x1f2\n mov al, 1\n out dx, al
        inc dx\n mov al, 1\n out dx, al
        inc dx\n mov al, 0\n out dx, al\n inc dx\n out dx, al
        mov dx, 0x1f7\n mov al, 0x20\n out dx, al
        ready: in al, dx\n and al, 0x88\n cmp al, 0x08\n jne ready
        mov dx, 0x1f0\n in ax, dx
        call print\n mov al, ah\n call print
        jmp bye`,
        { drives: [new MemoryDisk(disk)] },
      )
      expect(pc.runSync(1_000_000).reason).toBe('power-off')
      expect(pc.serial.text).toBe('\x12\x34')
    })
  })

  describe("a device of the user's that throws", () => {
    const failing = (error: unknown): PortDevice & { fails: boolean } => ({
      fails: true,
      readPort() {
        if (this.fails) throw error
        return 0x55
      },
      writePort() {
        if (this.fails) throw error
      },
    })

    it.each([
      ['IN', 'mov cx, 3\n mov dx, 0x300\n in al, dx\n call print\n jmp bye'],
      ['OUT', 'mov cx, 3\n mov dx, 0x300\n out dx, al\n mov al, 0x55\n call print\n jmp bye'],
      [
        'INS',
        'mov cx, 3\n mov dx, 0x300\n push ds\n pop es\n mov di, 0x500\n insb\n mov al, [0x500]\n call print\n jmp bye',
      ],
    ])('surfaces from %s with the CPU before the instruction, and the machine runs on', async (_, guest) => {
      const pc = machine(engine, guest)
      const cause = new Error('out of paper')
      const device = failing(cause)
      pc.board.ports.register(0x300, 1, device)
      await expect(pc.run()).rejects.toMatchObject({
        code: 'device-failed',
        cause,
        message: 'a device failed: out of paper',
      })
      const { rip } = pc.cpu.s
      const count = pc.instructions
      expect(() => pc.runSync(100)).toThrow(expect.objectContaining({ code: 'device-failed' }))
      expect([pc.cpu.s.rip, pc.instructions]).toEqual([rip, count])
      device.fails = false
      expect((await pc.run()).reason).toBe('power-off')
      expect(pc.serial.text).toBe('U')
    })

    it('surfaces from memory-mapped devices too', () => {
      const pc = machine(engine, `mov ax, 0xd000\n mov ds, ax\n mov al, [0]\n call print\n jmp bye`)
      let fails = true
      pc.space.addOverlay({
        base: 0xd0000,
        size: 4096,
        device: {
          readMmio: () => {
            if (fails) throw new Error('bus error')
            return 0x55
          },
          writeMmio: () => {},
        },
      })
      expect(() => pc.runSync(1000)).toThrow(
        expect.objectContaining({ code: 'device-failed', message: 'a device failed: bus error' }),
      )
      fails = false
      expect(pc.runSync(1000).reason).toBe('power-off')
      expect(pc.serial.text).toBe('U')
    })

    it('surfaces from alarms too', () => {
      const pc = machine(engine, 'mov cx, 1000\n next: loop next\n jmp bye')
      pc.clock.schedule(100, () => {
        throw new Error('late')
      })
      expect(() => pc.runSync(10_000)).toThrow(expect.objectContaining({ code: 'device-failed' }))
      expect(pc.runSync(10_000).reason).toBe('power-off')
    })
  })
})

describe('Pc options', () => {
  const refuses = (options: PcOptions, message: RegExp, code = 'bad-argument'): void => {
    expect(() => new Pc(options)).toThrow(message)
    expect(() => new Pc(options)).toThrow(expect.objectContaining({ code }))
  }

  it('are checked', () => {
    refuses({ memory: 0 }, /a multiple of 1 MiB and at least 1 MiB; got 0/)
    refuses({ memory: MIB + 4096 }, /multiple of 1 MiB/)
    refuses({ memory: 2 ** 40 }, /at most \d+ MiB fit/)
    refuses({ cpu: 'z80' as never }, /there is no CPU model 'z80'/)
    refuses({ engine: 'jit' as never }, /there is no engine 'jit'/)
    refuses({ memory: MIB, bios: new Uint8Array(100) }, /multiple of 4096/, 'bad-image')
    refuses({ memory: MIB, bios: new Uint8Array(0) }, /multiple of 4096/, 'bad-image')
    const disk = new MemoryDisk(new Uint8Array(512))
    refuses({ memory: MIB, drives: [disk, disk, disk, disk, disk] }, /four places/)
    refuses({ memory: MIB, nsPerInstruction: 0 }, /nsPerInstruction must be positive/)
    expect(() => new Pc({ memory: MIB }).loadFlat(new Uint8Array(4), 0x9ffff)).toThrow(/does not fit/)
  })
})
